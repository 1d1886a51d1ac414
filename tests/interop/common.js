'use strict';
// Shared by all Node peers: one JSON object per line on stdout, and an end even if the test is killed.

const fs = require('fs');

function log(line) {
  try {
    // Written synchronously, so that no line is lost when the process ends.
    fs.writeSync(1, JSON.stringify(line) + '\n');
  } catch {
    process.exit(0); // the harness has gone
  }
}

// A server runs as long as the harness holds its stdin open.
function exitWithStdin() {
  process.stdin.on('error', () => process.exit(0));
  process.stdin.on('end', () => process.exit(0));
  process.stdin.resume();
}

// Node's flat list [name, value, name, value] as pairs, because tests check order, letter case and repeats.
function pairs(rawHeaders) {
  const list = [];
  for (let i = 0; i < rawHeaders.length; i += 2) list.push([rawHeaders[i], rawHeaders[i + 1]]);
  return list;
}

// 'close:4000:some: reason' as [4000, 'some: reason'].
function closeArguments(text) {
  const [, code, ...reason] = text.split(':');
  return code ? [Number(code), reason.join(':')] : [];
}

module.exports = { log, exitWithStdin, pairs, closeArguments };
