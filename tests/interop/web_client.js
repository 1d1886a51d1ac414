'use strict';
// A client of plain requests on Node: fetch (undici) and http.Agent.
// node web_client.js JSON_OPTIONS
//   url        the proxy, without a path
//   cases      see README.md
//   clients, requests   for the case `load`
//   timeout_ms for each step, default 10000

const crypto = require('crypto');
const http = require('http');
const { log } = require('./common');

const options = JSON.parse(process.argv[2]);
const { url } = options;
const timeout = options.timeout_ms ?? 10_000;
const MIB = 1024 * 1024;
const sha256 = (data) => crypto.createHash('sha256').update(data).digest('hex');
const expect = (condition, ...words) => {
  if (!condition) throw new Error(words.map((word) => JSON.stringify(word)).join(' '));
};
const ask = (path, more = {}) => fetch(url + path, { redirect: 'manual', signal: AbortSignal.timeout(timeout), ...more });

// One request through an agent.
function get(agent, path, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.get(url + path, { agent, timeout, headers }, (response) => {
      const body = [];
      response.on('data', (piece) => body.push(piece));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode, body: Buffer.concat(body).toString(), trailers: response.trailers }));
    });
    request.on('timeout', () => request.destroy(new Error('nothing came')));
    request.on('error', reject);
  });
}

// How a body is cut off; a complete body is an error.
async function broken(reader) {
  const end = await reader.read().then(({ done }) => ({ done }), (error) => ({ error: error.cause?.code ?? error.message }));
  expect(end.error, end);
  return end;
}

const cases = {
  async json() {
    const got = await (await ask('/api/json?case=json', { headers: { token: 'abc' } })).json();
    expect(got.token === 'abc', got);
    const body = JSON.stringify({ name: '世界', list: [1, 2] });
    const headers = { 'content-type': 'application/json' };
    const posted = await ask('/api/json?case=posted', { method: 'POST', headers, body });
    expect((await posted.text()) === body);
  },
  async upload() {
    const body = crypto.randomBytes(20 * MIB);
    const got = await (await ask('/api/hash?case=upload', { method: 'PUT', body })).json();
    expect(got.bytes === body.length && got.sha256 === sha256(body), got);
  },
  async upload_stream() {
    const pieces = Array.from({ length: 50 }, () => crypto.randomBytes(10_000));
    const body = new ReadableStream({ pull: (to) => (pieces.length ? to.enqueue(pieces.pop()) : to.close()) });
    const all = sha256(Buffer.concat([...pieces].reverse()));
    const got = await (await ask('/api/hash?case=upload_stream', { method: 'POST', body, duplex: 'half' })).json();
    expect(got.bytes === 500_000 && got.sha256 === all, got);
  },
  async download() {
    for (const how of ['', '&chunked=1']) {
      const response = await ask(`/api/download?bytes=${20 * MIB}${how}&case=download${how ? '_chunked' : ''}`);
      const body = Buffer.from(await response.arrayBuffer());
      expect(body.length === 20 * MIB && sha256(body) === response.headers.get('x-digest'), body.length);
    }
  },
  async head() {
    const response = await ask('/api/json?case=head', { method: 'HEAD' });
    expect(response.status === 200 && Number(response.headers.get('content-length')) > 0);
    expect((await response.text()) === '');
  },
  async etag() {
    const first = await ask('/api/etag?case=etag');
    expect(first.status === 200 && first.headers.get('etag') === '"v1"');
    await first.text();
    // fetch would add Cache-Control: no-cache, which Express honours with 200.
    const again = await get(undefined, '/api/etag?case=not_modified', { 'If-None-Match': '"v1"' });
    expect(again.status === 304 && again.body === '', again);
  },
  async cookies() {
    const response = await ask('/api/cookies?case=cookies', { headers: { cookie: 'x=1; y=2' } });
    const set = response.headers.getSetCookie();
    expect(set.join('|') === 'a=1; Path=/; HttpOnly|b=2, 3; Secure|c="4"; SameSite=Lax', set);
    expect((await response.json()).cookie === 'x=1; y=2');
  },
  async gzip() {
    const response = await ask('/api/gzip?case=gzip');
    expect(response.headers.get('content-encoding') === 'gzip' && (await response.text()).startsWith('the same words'));
  },
  async redirect() {
    const response = await ask('/api/redirect?case=redirect');
    const location = response.headers.get('location');
    expect(response.status === 302 && location === 'http://127.0.0.1:1/elsewhere?token=secret', location);
    await response.text();
  },
  async errors() {
    const missing = await ask('/api/nothing?case=missing');
    expect(missing.status === 404 && (await missing.text()).includes('Cannot GET'));
    const failed = await ask('/api/error?case=error');
    expect(failed.status === 500 && (await failed.text()).includes('Internal Server Error'));
  },
  async trailers() {
    const got = await get(undefined, '/api/trailers?case=trailers', { Connection: 'TE', TE: 'trailers' });
    expect(got.body === 'with trailers' && got.trailers['x-sum'] === 'abc', got);
  },
  async upload_trailers() {
    const answer = await new Promise((resolve, reject) => {
      const headers = { 'Transfer-Encoding': 'chunked', Trailer: 'X-Sum' };
      const path = '/api/hash?case=upload_trailers';
      const request = http.request(url + path, { method: 'POST', headers, timeout }, (response) => {
        response.on('data', (piece) => resolve(JSON.parse(piece)));
      });
      request.on('error', reject);
      request.write('some');
      request.addTrailers({ 'X-Sum': 'abc' });
      request.end();
    });
    expect(answer.text === 'some' && answer.trailers['x-sum'] === 'abc', answer);
  },
  // The server sends the next event only after this client has reported the last one.
  async events() {
    const response = await ask('/api/events?name=node&case=events');
    expect(response.headers.get('content-type') === 'text/event-stream');
    const reader = response.body.getReader();
    let text = '';
    const until = async (words) => {
      while (!text.includes(words)) {
        const { value, done } = await reader.read();
        expect(!done, 'ended before', words);
        text += Buffer.from(value).toString();
      }
    };
    await until(': open');
    for (const event of ['one', 'two', 'three']) {
      await (await ask('/api/tell?name=node&case=tell', { method: 'POST', body: event })).text();
      await until(`data: ${event}\n\n`);
    }
    await (await ask('/api/tell?name=node&case=tell', { method: 'POST', body: 'end' })).text();
    expect((await reader.read()).done);
  },
  async kept() {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; i < 20; i += 1) expect((await get(agent, '/api/json?case=kept')).status === 200);
    agent.destroy();
  },
  async load() {
    let all = 0;
    const one = async () => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      for (let i = 0; i < options.requests; i += 1) {
        const { status } = await get(agent, '/api/json?case=load');
        expect(status === 200, status);
        if (++all % 1000 === 0) log({ case: `load ${all}`, ok: true });
      }
      agent.destroy();
    };
    await Promise.all(Array.from({ length: options.clients }, one));
  },
  // Leaves an open event stream.
  async leave_events() {
    const leaving = new AbortController();
    const response = await fetch(`${url}/api/events?name=left&case=leave_events`, { signal: leaving.signal });
    await response.body.getReader().read();
    leaving.abort();
  },
  // Leaves a download in the middle: the server holds back the rest.
  async leave_download() {
    const leaving = new AbortController();
    const path = `/api/download?bytes=${MIB}&hold=1&case=leave_download`;
    const reader = (await fetch(url + path, { signal: leaving.signal })).body.getReader();
    for (let got = 0; got < MIB / 2; ) got += (await reader.read()).value.length;
    leaving.abort();
  },
  // Leaves an upload in the middle, after its first bytes have reached the server.
  async leave_upload() {
    const path = '/api/hash?case=leave_upload';
    const request = http.request(url + path, {
      method: 'POST',
      headers: { 'Content-Length': MIB },
    });
    request.on('error', () => {});
    request.write(crypto.randomBytes(MIB / 2));
    await (await ask(`/api/begun?url=${encodeURIComponent(path)}&case=begun`)).text();
    request.destroy();
  },
  // Another party leaves in the middle: what this client's application learns.
  async cut_download() {
    const response = await fetch(`${url}/api/download?bytes=${MIB}&hold=1&case=cut_download`);
    const reader = response.body.getReader();
    for (let got = 0; got < MIB / 2; ) got += (await reader.read()).value.length;
    log({ event: 'half' });
    return broken(reader);
  },
  async cut_events() {
    const reader = (await fetch(`${url}/api/events?name=cut&case=cut_events`)).body.getReader();
    await reader.read();
    log({ event: 'open' });
    return broken(reader);
  },
  // Long polling first, then the same session over a WebSocket.
  async socketio() {
    const { io } = require('socket.io-client');
    const socket = io(url, { path: '/socket.io/', reconnection: false, timeout });
    const event = (from, name) => new Promise((resolve, reject) => {
      from.once(name, resolve);
      socket.once('connect_error', reject);
      setTimeout(() => reject(new Error(`no ${name}`)), timeout).unref();
    });
    await event(socket, 'connect');
    // It may have upgraded already; the proxy's records show that it began with polling.
    if (socket.io.engine.transport.name !== 'websocket') await event(socket.io.engine, 'upgrade');
    const said = await socket.timeout(timeout).emitWithAck('say', 'hello');
    expect(said.text === 'hello' && said.transport === 'websocket', said);
    const closed = event(socket.io.engine, 'close');
    socket.disconnect();
    await closed;
  },
  async socketio_polling() {
    const { io } = require('socket.io-client');
    const socket = io(url, { path: '/socket.io/', reconnection: false, transports: ['polling'], timeout });
    const said = await socket.timeout(timeout).emitWithAck('say', 'hello');
    expect(said.text === 'hello' && said.transport === 'polling', said);
    socket.disconnect();
  },
};

async function main() {
  let failed = 0;
  for (const name of options.cases) {
    try {
      log({ case: name, ok: true, detail: await cases[name]() });
    } catch (error) {
      failed += 1;
      log({ case: name, ok: false, detail: `${error.message} ${error.cause?.message ?? ''}` });
    }
  }
  log({ done: true, passed: options.cases.length - failed, failed });
  process.exit(failed ? 1 : 0);
}
main();
