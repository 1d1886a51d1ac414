'use strict';
// An echo server on Node's `ws`.
// node ws_server.js [JSON_OPTIONS]
//   deflate   offer permessage-deflate, default true; every message is compressed, however short
//   cert, key PEM files: serve TLS
//   h2        with them: speak only HTTP/2
//   client_ca PEM file: request client certificates of its authority
//   unix      the path of a socket to listen on, instead of a port
//   refuse    {"status": 403, "headers": {…}, "body": "…"}: answer every handshake with that
//   quiet     log only connections and their ends, default false

const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const https = require('https');
const { WebSocketServer } = require('ws');
const { log, exitWithStdin, pairs, closeArguments } = require('./common');

const options = JSON.parse(process.argv[2] ?? '{}');

// The status for GET /health; the body of a PUT changes it.
let health = 200;

// A plain request is answered with a description of itself.
function answer(request, response) {
  if (request.url === '/health' && request.method === 'GET') {
    response.statusCode = health;
    return response.end('health\n');
  }
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const seen = {
      event: 'request',
      method: request.method,
      url: request.url,
      headers: pairs(request.rawHeaders),
      body: Buffer.concat(chunks).toString('latin1'),
    };
    log(seen);
    if (seen.url === '/health' && seen.method === 'PUT') health = Number(seen.body);
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(seen));
  });
}

function listener() {
  if (!options.cert) return http.createServer(answer);
  const tls = { cert: fs.readFileSync(options.cert), key: fs.readFileSync(options.key) };
  if (options.client_ca) Object.assign(tls, { ca: fs.readFileSync(options.client_ca), requestCert: true });
  return options.h2 ? http2.createSecureServer(tls, answer) : https.createServer(tls, answer);
}

const server = listener();

const sockets = new WebSocketServer({
  noServer: true,
  perMessageDeflate: options.deflate === false ? false : { threshold: 0 },
  handleProtocols: (offered) => [...offered][0],
});

server.on('upgrade', (request, socket, head) => {
  if (options.refuse) {
    const { status, headers = {}, body = '' } = options.refuse;
    log({ event: 'refused', url: request.url, headers: pairs(request.rawHeaders), status });
    const fields = { Connection: 'close', 'Content-Length': Buffer.byteLength(body), ...headers };
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.on('error', () => {});
    socket.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n${body}`);
    return;
  }
  sockets.handleUpgrade(request, socket, head, (ws) => sockets.emit('connection', ws, request));
});

// 'stream:50:20' sends a message every 50 ms, 20 of them, and closes.
function stream(ws, text) {
  let [, every, left] = text.split(':').map(Number);
  const timer = setInterval(() => {
    if (left-- > 0) return ws.send('more');
    clearInterval(timer);
    ws.close(1000, 'all sent');
  }, every);
}

let connections = 0;
sockets.on('connection', (ws, request) => {
  const id = ++connections;
  log({
    event: 'connection',
    id,
    url: request.url,
    headers: pairs(request.rawHeaders),
    protocol: ws.protocol,
    extensions: ws.extensions,
  });
  ws.on('message', (data, binary) => {
    if (!options.quiet) log({ event: 'message', id, binary, bytes: data.length });
    const text = binary || data.length > 200 ? '' : data.toString();
    if (text.startsWith('close:')) ws.close(...closeArguments(text));
    else if (text === 'terminate') ws.terminate();
    else if (text === 'reset') request.socket.resetAndDestroy();
    else if (text === 'ping') ws.ping('from the server');
    else if (text === 'exit') process.exit(0);
    else if (text.startsWith('big:')) ws.send('x'.repeat(Number(text.slice(4))), { compress: false });
    else if (text.startsWith('stream:')) stream(ws, text);
    else ws.send(data, { binary });
  });
  ws.on('ping', (data) => log({ event: 'ping', id, data: data.toString() }));
  ws.on('pong', (data) => log({ event: 'pong', id, data: data.toString() }));
  ws.on('close', (code, reason) => log({ event: 'close', id, code, reason: reason.toString() }));
  ws.on('error', (error) => log({ event: 'error', id, code: error.code, message: error.message }));
});
sockets.on('wsClientError', (error) => log({ event: 'handshake_error', message: error.message }));
server.on('tlsClientError', (error) => log({ event: 'tls_error', code: error.code, message: error.message }));

const said = () => log({ listening: server.address().port ?? 0 });
if (options.unix) server.listen(options.unix, said);
else server.listen(0, '127.0.0.1', said);
exitWithStdin();
