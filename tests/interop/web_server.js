'use strict';
// An application with plain requests and a WebSocket on one port.
// node web_server.js [KIND] [PORT]     KIND is express (default; with express-ws), bare (node:http with ws) or
//                                      socketio (socket.io on every path, which polls first and then upgrades)

const crypto = require('crypto');
const { EventEmitter, once } = require('events');
const fs = require('fs');
const http = require('http');
const path = require('path');
const zlib = require('zlib');
const { log, exitWithStdin, pairs } = require('./common');

const [kind = 'express', port = '0'] = process.argv.slice(2);
const BLOCK = crypto.randomBytes(64 * 1024);
const WORDS = 'the same words again and again, '.repeat(200);
const streams = new Map(); // open event streams by name
const begun = new Set(); // requests whose body has begun, by path and query
const news = new EventEmitter().setMaxListeners(0);
let connections = 0;
let open = 0;

const sha256 = () => crypto.createHash('sha256');
const json = (response, value, status = 200) => {
  const body = JSON.stringify(value);
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
};

// Reads the body to its end, counts it and hashes it.
function read(request) {
  return new Promise((resolve) => {
    const hash = sha256();
    const start = []; // enough for small bodies to be told in full
    let bytes = 0;
    request.on('data', (piece) => {
      if (bytes < 4096) start.push(piece);
      begun.add(request.url);
      news.emit('begun');
      bytes += piece.length;
      hash.update(piece);
    });
    request.on('error', () => {}); // 'close' says it too
    request.on('close', () => {
      const { trailers, complete } = request;
      const got = { bytes, sha256: hash.digest('hex'), trailers: { ...trailers }, complete };
      log({ event: 'read', method: request.method, url: request.url, connection: request.socket.id, ...got });
      resolve({ ...got, text: bytes < 4096 ? Buffer.concat(start).toString() : null });
    });
  });
}

async function download(request, response, query) {
  const bytes = Number(query.get('bytes'));
  const hash = sha256();
  for (let left = bytes; left > 0; left -= BLOCK.length) hash.update(BLOCK.subarray(0, Math.min(left, BLOCK.length)));
  response.setHeader('X-Digest', hash.digest('hex'));
  response.setHeader('Content-Type', 'application/octet-stream');
  if (!query.has('chunked')) response.setHeader('Content-Length', bytes);
  let sent = 0;
  // If asked to, the second half waits for a command: so a test that cuts in the middle really does.
  const pause = query.has('hold') ? bytes / 2 : Infinity;
  while (sent < bytes && sent < pause && !response.destroyed) {
    const piece = BLOCK.subarray(0, Math.min(bytes - sent, BLOCK.length));
    sent += piece.length;
    if (!response.write(piece)) {
      await new Promise((resolve) => (response.once('drain', resolve), response.once('close', resolve)));
    }
  }
  if (sent === bytes) response.end();
}

const routes = {
  'GET /api/json': (request, response) => json(response, { token: request.headers.token ?? null }),
  'POST /api/json': async (request, response) => json(response, JSON.parse((await read(request)).text)),
  '/api/hash': async (request, response) => json(response, await read(request)),
  'GET /api/download': download,
  // An answer that does not wait for the end of the request.
  'POST /api/impatient': (request, response) => json(response, { error: 'too much' }, 413),
  'GET /api/events': (request, response, query) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.write(': open\n\n');
    streams.set(query.get('name'), response);
  },
  'POST /api/tell': async (request, response, query) => {
    const { text } = await read(request);
    const stream = streams.get(query.get('name'));
    if (text === 'end') stream.end();
    else stream.write(`data: ${text}\n\n`);
    json(response, { told: text });
  },
  // Answers once the body of another request has begun.
  'GET /api/begun': async (request, response, query) => {
    while (!begun.has(query.get('url'))) await once(news, 'begun');
    json(response, {});
  },
  'GET /api/cookies': (request, response) => {
    response.setHeader('Set-Cookie', ['a=1; Path=/; HttpOnly', 'b=2, 3; Secure', 'c="4"; SameSite=Lax']);
    json(response, { cookie: request.headers.cookie ?? null });
  },
  'GET /api/gzip': (request, response) => {
    const body = zlib.gzipSync(WORDS);
    response.writeHead(200, { 'Content-Encoding': 'gzip', Vary: 'Accept-Encoding', 'Content-Length': body.length });
    response.end(body);
  },
  'GET /api/redirect': (request, response) => {
    response.writeHead(302, { Location: 'http://127.0.0.1:1/elsewhere?token=secret', 'Content-Length': 0 });
    response.end();
  },
  'GET /api/etag': (request, response) => {
    const same = request.headers['if-none-match'] === '"v1"';
    response.writeHead(same ? 304 : 200, { ETag: '"v1"' });
    response.end(same ? undefined : WORDS);
  },
  'GET /api/trailers': (request, response) => {
    response.writeHead(200, { Trailer: 'X-Sum', 'Transfer-Encoding': 'chunked' });
    response.write('with trailers');
    response.addTrailers({ 'X-Sum': 'abc' });
    response.end();
  },
  // Answers while the request goes on, and says in trailers how it went.
  'POST /api/talk': (request, response) => {
    const type = request.headers['content-type'];
    response.writeHead(200, { 'Content-Type': type, Trailer: 'Grpc-Status' });
    response.flushHeaders();
    request.on('end', () => {
      response.addTrailers({ 'Grpc-Status': '0' });
      response.end();
    });
    request.pipe(response, { end: false });
  },
  'GET /api/error': () => {
    throw new Error('the application failed');
  },
  'GET /api/connections': (request, response) => json(response, { opened: connections, open }),
  'GET /health': (request, response) => json(response, { status: 'ok' }),
  'GET /api/realtime-voice/history': (request, response) => {
    const { token } = request.headers;
    json(response, token === 'good' ? { items: [1, 2, 3] } : { error: 'no token' }, token === 'good' ? 200 : 401);
  },
  'GET /page.html': (request, response) => {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    fs.createReadStream(path.join(__dirname, 'web_page.html')).pipe(response);
  },
  'POST /report': async (request, response) => {
    const text = [];
    for await (const piece of request) text.push(piece);
    log({ event: 'report', report: JSON.parse(Buffer.concat(text).toString()) });
    json(response, {});
  },
};

function route(request, response, next) {
  const { pathname, searchParams } = new URL(request.originalUrl ?? request.url, 'http://localhost');
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  const handler = routes[`${method} ${pathname}`] ?? routes[pathname];
  if (!handler) return next();
  handler(request, response, searchParams);
}

// The log line of each request, whatever answers it.
function observe(request, response) {
  const { method, url } = request;
  log({ event: 'request', method, url, connection: request.socket.id, headers: pairs(request.rawHeaders) });
  response.on('close', () => log({ event: 'answered', url, status: response.statusCode, whole: response.writableFinished }));
}

function stream(ws, request) {
  const url = request.wireUrl ?? request.url;
  log({ event: 'connection', id: url, url, headers: pairs(request.rawHeaders) });
  ws.on('message', (data, binary) => ws.send(Buffer.isBuffer(data) && binary === false ? data.toString() : data));
  ws.on('close', (code, reason) => log({ event: 'close', id: url, code, reason: reason.toString() }));
}

function express(server) {
  const app = require('express')();
  app.set('env', 'production'); // errors without a stack
  app.use((request, response, next) => (request.wireUrl ? null : observe(request, response), next()));
  require('express-ws')(app, server);
  app.ws('/api/realtime-voice/stream', stream);
  // Express's own text, if there is any.
  const parser = require('express').json();
  app.get('/api/json', (request, response) => response.json({ token: request.get('token') ?? null }));
  app.post('/api/json', parser, (request, response) => response.json(request.body));
  app.get('/api/etag', (request, response) => response.type('text/plain').set('ETag', '"v1"').send(WORDS));
  app.get('/api/redirect', (request, response) => response.redirect('http://127.0.0.1:1/elsewhere?token=secret'));
  app.use(route);
  return app;
}

function bare(server) {
  const { WebSocketServer } = require('ws');
  const sockets = new WebSocketServer({ server, path: '/api/realtime-voice/stream' });
  sockets.on('connection', stream);
  const fail = (response, status, text) => (response.writeHead(status), response.end(text));
  return (request, response) => {
    observe(request, response);
    try {
      route(request, response, () => fail(response, 404, `Cannot ${request.method} ${request.url}`));
    } catch {
      fail(response, 500, 'Internal Server Error');
    }
  };
}

function socketio(server) {
  const { Server } = require('socket.io');
  server.on('request', (request, response) => {
    if (!request.url.startsWith('/socket.io/')) response.writeHead(404).end();
  });
  const io = new Server(server);
  io.on('connection', (socket) => {
    log({ event: 'socket', id: socket.id, transport: socket.conn.transport.name });
    socket.conn.on('upgrade', (transport) => log({ event: 'upgraded', id: socket.id, transport: transport.name }));
    socket.on('say', (text, answer) => answer({ text, transport: socket.conn.transport.name }));
    socket.on('disconnect', (reason) => log({ event: 'gone', id: socket.id, reason }));
  });
}

const server = http.createServer();
server.on('connection', (socket) => {
  socket.id = ++connections;
  open += 1;
  socket.on('close', () => (open -= 1));
});
server.prependListener('upgrade', (request) => (request.wireUrl = request.url));
const handle = { express, bare, socketio }[kind](server);
if (handle) server.on('request', handle);
server.on('checkContinue', (request, response) => {
  log({ event: 'expects', url: request.url });
  response.writeContinue();
  handle(request, response);
});
server.listen(Number(port), '127.0.0.1', () => log({ listening: server.address().port }));
exitWithStdin();
