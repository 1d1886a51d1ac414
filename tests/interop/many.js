'use strict';
// Many connections of one process, on Node's `ws`, and how each of them ended.
// node many.js JSON_OPTIONS
//   urls       opened in turns
//   count      connections
//   at_once    how many handshakes may be in progress, default 50
//   busy       how many of the connections send a message every `every_ms`, continuously
//   every_ms   default 250
//   silent     send nothing: for servers that do not echo
//   ca         PEM file to trust instead of the built-in list
//   origin     value of the Origin header, default none

const fs = require('fs');
const WebSocket = require('ws');
const { log } = require('./common');

const options = JSON.parse(process.argv[2]);
const { urls, count, busy = 0 } = options;
const settings = {
  ca: options.ca && fs.readFileSync(options.ca),
  origin: options.origin,
  perMessageDeflate: false,
};

const result = { opened: 0, echoes: 0, ends: {}, first_ms: null, last_ms: null };
let started = 0;
let ready = 0;
let ended = 0;

function finish() {
  log({ done: true, ...result });
  process.exit(0);
}

function open() {
  if (started === count) return;
  const number = started++;
  const ws = new WebSocket(urls[number % urls.length], [], settings);
  let timer = null;
  let known = false;
  const isOpen = () => {
    if (known) return;
    known = true;
    if (++ready % 100 === 0 || ready === count) log({ case: `opened ${ready}`, ok: true });
    open();
  };
  const more = () => ws.readyState === WebSocket.OPEN && ws.send('more');
  ws.on('open', () => {
    result.opened += 1;
    if (options.silent) return isOpen();
    // Every tunnel carries something, so all of them are known to be open on both sides.
    ws.send('hello');
    if (number < busy) timer = setInterval(more, options.every_ms ?? 250);
  });
  ws.on('message', () => {
    result.echoes += 1;
    isOpen();
  });
  ws.on('error', (error) => log({ error: { code: error.code ?? null, message: error.message } }));
  ws.on('close', (code, reason) => {
    clearInterval(timer);
    const end = `${code} ${reason}`;
    result.ends[end] = (result.ends[end] ?? 0) + 1;
    result.last_ms = Date.now();
    result.first_ms ??= result.last_ms;
    if (++ended === count) finish();
  });
}

for (let i = 0; i < (options.at_once ?? 50); i++) open();
