'use strict';
// A client on Node's http2, with the WebSockets of `ws` on its streams: one HTTP/2 connection for all cases.
// node h2_client.js JSON_OPTIONS     OPTIONS are those of h2_client.py

const crypto = require('crypto');
const { once } = require('events');
const fs = require('fs');
const http2 = require('http2');
const WebSocket = require('ws');
const { log } = require('./common');

const options = JSON.parse(process.argv[2]);
const timeout = options.timeout_ms ?? 10_000;
const MIB = 1024 * 1024;
const sha256 = (data) => crypto.createHash('sha256').update(data).digest('hex');
const expect = (condition, ...words) => {
  if (!condition) throw new Error(words.map((word) => JSON.stringify(word)).join(' '));
};
const within = (promise, what) => {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), timeout)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

let session;

// Sends the head of a request; the rest is for the case.
function ask(path, fields = {}, more = {}) {
  const stream = session.request({ ':path': path, ...fields }, more);
  stream.on('trailers', (trailers) => (stream.trailers = trailers));
  // A case that does not expect it waits in vain.
  stream.on('error', (error) => (stream.failed = error));
  stream.head = once(stream, 'response').then(([head]) => head);
  stream.head.catch(() => {});
  return stream;
}

async function read(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function get(path, fields) {
  const stream = ask(path, fields);
  const [head, body] = await within(Promise.all([stream.head, read(stream)]), path);
  return { head, body, trailers: stream.trailers };
}

// An extended CONNECT, and on its stream the WebSocket of `ws` in the role of a client.
async function tunnel(name, path = options.ws ?? '/ws') {
  const fields = { ':method': 'CONNECT', ':protocol': 'websocket', 'sec-websocket-version': '13' };
  if (options.origin) fields.origin = options.origin;
  const stream = ask(`${path}?case=node_${name}`, fields, { endStream: false });
  const head = await within(stream.head, 'an answer');
  if (head[':status'] !== 200) return { head, stream };
  const socket = new WebSocket(null, undefined, { closeTimeout: timeout });
  socket._isServer = false; // without an address it takes itself for a server's, and would not mask
  socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 16 * MIB });
  socket.on('error', (error) => (socket.failed = error.message));
  const closed = new Promise((resolve) => socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() })));
  return { head, stream, socket, closed };
}

async function echo(socket, message) {
  const came = once(socket, 'message');
  socket.send(message);
  const [data] = await within(came, 'the echo');
  expect(data.equals(Buffer.from(message)), data.length);
}

// What a tunnel's application learns if the server does as it is told.
async function told(name, command) {
  const { socket, stream, closed } = await tunnel(name);
  socket.send(command);
  return { ...(await within(closed, 'the end')), reset: stream.rstCode };
}

const cases = {
  async get() {
    const { head, body } = await get('/api/json?case=node_get', { token: 'abc' });
    expect(head[':status'] === 200 && JSON.parse(body).token === 'abc', head, body.toString());
  },
  async post() {
    const body = crypto.randomBytes(3 * MIB);
    const fields = { ':method': 'POST', trailer: 'x-sum' };
    const stream = ask('/api/hash?case=node_post', fields, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'abc' }));
    stream.end(body);
    const got = JSON.parse(await within(read(stream), 'the answer'));
    expect(got.bytes === body.length && got.sha256 === sha256(body), got);
    return got.trailers;
  },
  async trailers() {
    const { body, trailers } = await get('/api/trailers?case=node_trailers', { te: 'trailers' });
    expect(body.toString() === 'with trailers', body.toString());
    return { 'x-sum': trailers?.['x-sum'] };
  },
  async download() {
    const { head, body } = await get(`/api/download?bytes=${8 * MIB}&chunked=1&case=node_download`);
    expect(sha256(body) === head['x-digest'], body.length);
  },
  // Each event is sent only after the last one was read here.
  async events() {
    const stream = ask('/api/events?name=node&case=node_events');
    const next = async () => (await within(once(stream, 'data'), 'an event'))[0].toString();
    expect((await next()) === ': open\n\n');
    for (const words of ['one', 'two']) {
      const came = next();
      const teller = ask('/api/tell?name=node&case=node_tell', { ':method': 'POST' });
      teller.end(words);
      expect((await came) === `data: ${words}\n\n`);
      await within(read(teller), 'the answer');
    }
    stream.close(http2.constants.NGHTTP2_CANCEL);
  },
  // Both sides talk at the same time, and trailers have the outcome, as gRPC does it.
  async both_ways() {
    const fields = { ':method': 'POST', te: 'trailers', 'content-type': 'application/grpc' };
    const stream = ask('/api/talk?case=node_both_ways', fields);
    const head = await within(stream.head, 'the head before the body ends');
    expect(head['content-type'] === 'application/grpc', head);
    for (let turn = 0; turn < 20; turn++) {
      const piece = crypto.randomBytes(1000 * (turn + 1));
      stream.write(piece);
      let back = Buffer.alloc(0);
      while (back.length < piece.length) {
        const more = stream.read() ?? (await within(once(stream, 'readable'), 'the echo'), null);
        if (more) back = Buffer.concat([back, more]);
      }
      expect(back.equals(piece), turn);
    }
    const ended = read(stream);
    stream.end();
    await within(ended, 'the end');
    return { 'grpc-status': stream.trailers?.['grpc-status'] };
  },
  async tunnel() {
    const { head, socket, stream, closed } = await tunnel('tunnel');
    for (const size of [1, 125, 126, 65536, MIB]) await echo(socket, crypto.randomBytes(size));
    await echo(socket, 'hello, 世界');
    const pong = once(socket, 'pong');
    socket.ping('from the client');
    expect((await within(pong, 'the Pong'))[0].toString() === 'from the client');
    const { id } = stream; // gone once it is closed
    socket.close(4001, 'bye');
    return { ...(await within(closed, 'the end')), stream: id, headers: Object.entries(head).map(([name, value]) => [name, String(value)]), reset: stream.rstCode };
  },
  async tunnels() {
    const open = await Promise.all(Array.from({ length: 10 }, () => tunnel('tunnels')));
    for (let turn = 0; turn < 10; turn++) {
      await Promise.all([
        ...open.map(({ socket }, number) => echo(socket, `${number} ${turn}`)),
        get('/api/json?case=node_between'),
      ]);
    }
    open.forEach(({ socket }) => socket.close(1000));
    await within(Promise.all(open.map(({ closed }) => closed)), 'the ends');
  },
  async reset() {
    const { socket, stream } = await tunnel('reset');
    await echo(socket, 'one');
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await get('/api/json?case=node_after_reset');
  },
  async refused() {
    const { head } = await tunnel('refused', '/nowhere');
    await get('/api/json?case=node_after_refused');
    return { status: head[':status'] };
  },
  server_close: () => told('server_close', 'close:4001:bye'),
  server_terminate: () => told('server_terminate', 'terminate'),
};

async function main() {
  let failed = 0;
  session = http2.connect(options.url, { ca: options.ca && fs.readFileSync(options.ca) });
  session.on('error', (error) => log({ error: { code: error.code, message: error.message } }));
  session.on('goaway', (code, last) => log({ event: 'goaway', code, last }));
  await within(once(session, 'remoteSettings'), 'the settings');
  log({ event: 'open', settings: session.remoteSettings });
  for (const name of options.cases) {
    try {
      log({ case: name, ok: true, detail: await cases[name]() });
    } catch (error) {
      failed += 1;
      log({ case: name, ok: false, detail: error.message });
    }
  }
  log({ done: true, passed: options.cases.length - failed, failed });
  process.exit(failed ? 1 : 0);
}
main();
