'use strict';
// A typical backend: Express, with express-ws for its one WebSocket route. It echoes messages and remembers them.
// PORT and HOST set the address on which it listens; the default is 127.0.0.1:3000.

const express = require('express');
const expressWs = require('express-ws');

// How long a connection may take to end after SIGTERM.
const LAST_CONNECTIONS_MS = 5000;
// How many messages are remembered.
const REMEMBERED = 100;

const app = express();
const { getWss } = expressWs(app);
const history = [];

app.get('/health', (request, response) => response.send('ok'));
app.get('/api/realtime-voice/history', (request, response) => response.json({ items: history }));
app.ws('/api/realtime-voice/stream', (ws) => {
  ws.on('message', (data) => {
    history.push({ at: new Date().toISOString(), bytes: Buffer.byteLength(data) });
    if (history.length > REMEMBERED) history.shift();
    ws.send(data);
  });
  ws.on('error', (error) => console.error(JSON.stringify({ event: 'app_error', message: error.message })));
});

const port = Number(process.env.PORT ?? 3000);
const server = app.listen(port, process.env.HOST ?? '127.0.0.1', (error) => {
  if (error) throw error;
  console.log(JSON.stringify({ event: 'app_started', port: server.address().port }));
});

// As process 1 of a container, Node does not end on SIGTERM automatically. The proxy has already ended its tunnels.
process.on('SIGTERM', () => {
  console.log(JSON.stringify({ event: 'app_stopping', open: getWss().clients.size }));
  server.close();
  server.closeIdleConnections();
  for (const ws of getWss().clients) ws.close(1012, 'restart');
  setTimeout(() => process.exit(1), LAST_CONNECTIONS_MS).unref();
});
