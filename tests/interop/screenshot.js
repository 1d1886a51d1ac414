'use strict';
// Makes a picture of the admin page from a run with real peers: clients of two applications come and go, and then one of the
// applications goes down. scripts/screenshot starts it.
// node screenshot.js PROGRAM FILE MINUTES [PAGE_OPTIONS QUERY]

const { spawn } = require('child_process');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const readline = require('readline');
const WebSocket = require('ws');
const { Browser } = require('./browser');

const [program, file, minutes, pageOptions = '{}', query = ''] = process.argv.slice(2);
const MINUTE = 60_000;
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wsgate-screenshot-'));
const children = [];
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  fs.rmSync(folder, { recursive: true, force: true });
});
for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => process.exit(1));

// Starts a program that prints JSON lines, and waits for the first one that `is` true of.
function start(command, args, is) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] });
  children.push(child);
  return new Promise((resolve, reject) => {
    child.on('exit', () => reject(new Error(`${command} ended`)));
    readline.createInterface({ input: child.stdout }).on('line', (line) => {
      const value = JSON.parse(line);
      if (is(value)) resolve({ child, value });
    });
  });
}
const application = () => start(process.execPath, [path.join(__dirname, 'ws_server.js'), '{"quiet":true}'], (line) => line.listening);

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

// The same sequence in each run, so that two pictures can be compared.
let seed = 7;
const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
const pick = (list) => list[Math.floor(random() * list.length)];
const AGENTS = [
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148',
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36',
  'Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0',
];
const ADDRESSES = ['203.0.113.', '198.51.100.', '192.0.2.'];

// One client. It sends now and then, and leaves after some time.
function client(port, route, open, origin = 'https://app.example.com') {
  const address = pick(ADDRESSES) + Math.ceil(random() * 250);
  const headers = { 'X-Forwarded-For': address, 'User-Agent': pick(AGENTS), Host: 'voice.example.com' };
  const socket = new WebSocket(`ws://127.0.0.1:${port}${route}`, { origin, headers, perMessageDeflate: false });
  const timers = [];
  socket.on('open', () => {
    const talk = () => socket.readyState === WebSocket.OPEN && socket.send('x'.repeat(Math.ceil(random() * 900)));
    talk();
    timers.push(setInterval(talk, 1000 + random() * 9000));
    const leave = random();
    timers.push(setTimeout(() => (leave < 0.04 ? socket.terminate() : socket.close(leave < 0.9 ? 1000 : 1001)), open));
  });
  socket.on('error', () => {});
  socket.on('close', () => timers.forEach((timer) => (clearInterval(timer), clearTimeout(timer))));
}

async function main() {
  const [voice, chat] = [await application(), await application()];
  const [port, adminPort] = [await freePort(), await freePort()];
  const config = path.join(folder, 'proxy.yaml');
  fs.writeFileSync(config, `listeners: [{ address: "127.0.0.1:${port}" }]
trusted_proxies: [127.0.0.1]
routes:
  - { path: /voice, websocket: { origins: ["https://app.example.com"] }, upstream: voice }
  - { path: /chat, websocket: { origins: ["https://app.example.com"] }, upstream: chat }
upstreams:
  voice: { endpoints: ["http://127.0.0.1:${voice.value.listening}"] }
  chat: { endpoints: ["http://127.0.0.1:${chat.value.listening}"] }
admin: { address: "127.0.0.1:${adminPort}" }
`);
  await start(program, ['--config', config], (line) => line.event === 'listening');
  const base = `http://127.0.0.1:${adminPort}/`;

  const end = Date.now() + minutes * MINUTE;
  let retries = 0;
  const come = setInterval(() => {
    if (random() < 0.3) return;
    const route = random() < 0.55 ? '/voice' : '/chat';
    client(port, route, 20_000 + random() * 4 * MINUTE, random() < 0.02 ? 'https://staging.example.com' : undefined);
    // Clients of an application that is down try again.
    for (let i = 0; i < retries; i++) client(port, '/voice', MINUTE);
  }, 700);
  // The last minutes have the failure.
  const failure = Math.min(2.5, minutes / 3);
  await new Promise((resolve) => setTimeout(resolve, end - Date.now() - failure * MINUTE));
  voice.child.removeAllListeners('exit');
  voice.child.kill('SIGKILL');
  retries = 2;
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, end - Date.now())));

  const browser = await Browser.start({ patience: 60_000 });
  const page = await browser.page({ width: 1280, height: 1180, ...JSON.parse(pageOptions) });
  await page.go(base + query);
  await page.wait('the upstream that is down', () => document.getElementById('link').dataset.link === 'live' &&
    document.getElementById('now').textContent.includes('upstream_refused') && document.querySelectorAll('#tunnel-table tbody tr').length > 3);
  fs.writeFileSync(file, await page.png());
  clearInterval(come);
  await browser.end();
  process.exit(0);
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
