'use strict';
// The stack of the first user: Express with express-ws, and its typical failures.
// node express_ws.js MODE [EXPRESS]     MODE as in the table below, EXPRESS is 5 (default) or 4

const http = require('http');
const expressWs = require('express-ws');
const { log, exitWithStdin, pairs } = require('./common');

const [mode = 'ok', major = '5'] = process.argv.slice(2);
const modes = ['ok', 'no_upgrade_listener', 'unauthorized', 'unknown_path'];
if (!modes.includes(mode)) throw new Error(`MODE must be one of ${modes.join(', ')}`);

const app = require(major === '4' ? 'express4' : 'express')();
expressWs(app);

// express-ws appends its own suffix to the path before Express sees it; the path on the wire is logged.
const wireUrl = (request) => request.wireUrl ?? request.originalUrl;

let connections = 0;
function echo(ws, request) {
  const id = ++connections;
  log({ event: 'connection', id, url: wireUrl(request), headers: pairs(request.rawHeaders) });
  ws.on('message', (data) => {
    log({ event: 'message', id, binary: Buffer.isBuffer(data), bytes: Buffer.byteLength(data) });
    ws.send(data);
  });
  ws.on('close', (code, reason) => log({ event: 'close', id, code, reason }));
  ws.on('error', (error) => log({ event: 'error', id, code: error.code, message: error.message }));
}

app.use((request, response, next) => {
  log({ event: 'request', method: request.method, url: wireUrl(request), headers: pairs(request.rawHeaders) });
  next();
});
app.get('/health', (request, response) => response.send('ok'));
app.get('/api/realtime-voice/history', (request, response) => {
  response.json({ token: request.get('token') ?? null, items: [] });
});

// express-ws answers 101 before any of this runs, so a refusal here reaches the client as an empty Close frame.
if (mode === 'unauthorized') app.use((request, response) => response.status(401).send('no token'));
app.ws(mode === 'unknown_path' ? '/api/other/stream' : '/api/realtime-voice/stream', echo);

// express-ws listens for upgrades on its own server, which only app.listen starts. Any other server has no
// listener for them, and Node then answers the handshake as a plain request: 404, connection kept open.
const server =
  mode === 'no_upgrade_listener'
    ? http.createServer(app).listen(0, '127.0.0.1')
    : app.listen(0, '127.0.0.1');
if (mode !== 'no_upgrade_listener') {
  server.prependListener('upgrade', (request) => (request.wireUrl = request.url));
}
server.on('listening', () => log({ listening: server.address().port }));
exitWithStdin();
