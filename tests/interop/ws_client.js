'use strict';
// A client on Node's `ws` that runs a list of cases on one connection.
// node ws_client.js URL [JSON_OPTIONS]
//   ca         PEM file to trust instead of the built-in list
//   servername name for SNI and certificate check, default the URL's host
//   origin     value of the Origin header, default none
//   protocols  list to offer, default none
//   deflate    offer permessage-deflate, default true; then every message is compressed
//   headers    more request headers
//   local      address to connect from, default the system's choice
//   auto_pong  answer Pings, default true
//   cases      see README.md, default text, binary, big_text, big_binary, close
//   timeout_ms for each step, default 10000

const crypto = require('crypto');
const fs = require('fs');
const WebSocket = require('ws');
const { log, pairs, closeArguments } = require('./common');

const [url, json = '{}'] = process.argv.slice(2);
const options = JSON.parse(json);
const cases = options.cases ?? ['text', 'binary', 'big_text', 'big_binary', 'close'];
const timeout = options.timeout_ms ?? 10_000;
const MIB = 1024 * 1024;

const ws = new WebSocket(url, options.protocols ?? [], {
  ca: options.ca && fs.readFileSync(options.ca),
  servername: options.servername,
  origin: options.origin,
  headers: options.headers,
  localAddress: options.local,
  handshakeTimeout: timeout,
  autoPong: options.auto_pong ?? true,
  perMessageDeflate: options.deflate === false ? false : { threshold: 0 },
});

let passed = 0;
function finish() {
  log({ done: true, passed, failed: cases.length - passed });
  process.exit(passed === cases.length ? 0 : 1);
}

// Rejects after a timeout, and if the connection ends during a step that does not wait for the end.
let ended = null;
const atEnd = [];
function step(start, { untilEnd = false } = {}) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`nothing within ${timeout} ms`)), timeout);
    const end = () => (untilEnd ? resolve(ended) : reject(new Error(`closed with ${ended.code} ${ended.reason}`)));
    const stop = (value) => (clearTimeout(timer), resolve(value));
    if (ended) return clearTimeout(timer), end();
    atEnd.push(() => (clearTimeout(timer), end()));
    start(stop);
  });
}

const sameBytes = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;

async function echo(message, send = (data) => ws.send(data)) {
  const binary = Buffer.isBuffer(message);
  const got = await step((done) => {
    ws.once('message', (data, isBinary) => done({ data, isBinary }));
    send(message);
  });
  if (got.isBinary !== binary) throw new Error(`sent ${binary ? 'binary' : 'text'}, got the other kind`);
  if (!sameBytes(got.data, message)) throw new Error(`the echo differs (${got.data.length} bytes)`);
  return { bytes: got.data.length };
}

async function ending(expected, start) {
  const got = await step(start, { untilEnd: true });
  if (expected && (got.code !== expected[0] || got.reason !== expected[1])) {
    throw new Error(`closed with ${got.code} ${got.reason}`);
  }
  return got;
}

// Does nothing for a while, and counts the Pings, which `ws` answers automatically.
async function idle(ms) {
  let pings = 0;
  const count = () => (pings += 1);
  ws.on('ping', count);
  await step((done) => setTimeout(done, ms));
  ws.off('ping', count);
  return { pings };
}

async function run(name) {
  const [kind] = name.split(':');
  switch (kind) {
    case 'text':
      return echo('hello, 世界');
    case 'binary':
      return echo(Buffer.from([0, 1, 127, 128, 254, 255]));
    case 'big_text':
      return echo('0123456789abcdef'.repeat(MIB / 16));
    case 'big_binary':
      return echo(crypto.randomBytes(MIB)); // random: compression cannot make it small
    case 'fragmented':
      return echo('one two three', () => {
        ws.send('one ', { fin: false });
        ws.send('two ', { fin: false });
        ws.send('three', { fin: true });
      });
    case 'ping': {
      const got = await step((done) => {
        ws.once('pong', (data) => done(data.toString()));
        ws.ping('from the client');
      });
      if (got !== 'from the client') throw new Error(`the Pong says ${got}`);
      return { pong: got };
    }
    case 'server_ping': {
      const got = await step((done) => {
        ws.once('ping', (data) => done(data.toString())); // `ws` answers it by itself
        ws.send('ping');
      });
      if (got !== 'from the server') throw new Error(`the Ping says ${got}`);
      return { ping: got };
    }
    case 'close': {
      const [code = 1000, reason = 'done'] = closeArguments(name);
      return ending([code, reason], () => ws.close(code, reason));
    }
    case 'server_close': {
      const [code = 4001, reason = 'bye'] = closeArguments(name);
      return ending([code, reason], () => ws.send(`close:${code}:${reason}`));
    }
    case 'wait_close':
      return ending(null, () => {}); // whoever ends it, and whenever
    case 'idle':
      return idle(Number(name.split(':')[1]));
    case 'tell':
      return ending(null, () => ws.send(name.slice('tell:'.length)));
    case 'terminate':
    case 'reset':
      return ending(null, () => ws.send(kind)); // the server cuts: what arrives depends on what is in between
    case 'cut':
      return ending(null, () => ws.terminate());
    default:
      throw new Error('no such case');
  }
}

let opened = false;
let answer = null;
ws.on('upgrade', (response) => {
  answer = pairs(response.rawHeaders);
});
ws.on('open', async () => {
  opened = true;
  log({ event: 'open', protocol: ws.protocol, extensions: ws.extensions, headers: answer });
  for (const name of cases) {
    try {
      const detail = await run(name);
      passed += 1;
      log({ case: name, ok: true, detail });
    } catch (error) {
      log({ case: name, ok: false, detail: error.message });
    }
  }
  finish();
});
ws.on('close', (code, reason) => {
  ended = { code, reason: reason.toString() };
  log({ event: 'close', ...ended });
  for (const tell of atEnd) tell();
});

// Without this listener `ws` would reduce every answer other than 101 to an error text.
ws.on('unexpected-response', (request, response) => {
  const chunks = [];
  const report = () => {
    const body = Buffer.concat(chunks).toString();
    const headers = pairs(response.rawHeaders);
    log({ unexpected_response: { status: response.statusCode, headers, body } });
    finish();
  };
  response.on('data', (chunk) => chunks.push(chunk));
  response.on('end', report);
  response.on('error', report);
  setTimeout(report, timeout); // a body that never ends
});
ws.on('error', (error) => {
  log({ error: { code: error.code ?? null, message: error.message } });
  if (!opened) finish();
});
