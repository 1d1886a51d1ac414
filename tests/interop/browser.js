'use strict';
// Headless Chromium, driven over the DevTools protocol: page_client.js and scripts/screenshot use it.

const { spawn } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const WebSocket = require('ws');

// As in tests/peers/tools/browser.rs.
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];

// Ends the browser's process group and removes its profile once its standard input ends, so also if Node was killed. The
// first line says which group. A process that is about to end may still write files.
const WATCH = `
read group
read nothing
kill -KILL "-$group" 2>/dev/null
for i in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$0" 2>/dev/null && break; sleep 0.1; done
`;

const KEYS = { Tab: 9, Enter: 13, Escape: 27, ' ': 32, ArrowLeft: 37, ArrowUp: 38, ArrowRight: 39, ArrowDown: 40 };

// Asks again and again until `ask` gives something that is true.
async function until(what, patience, ask) {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await ask();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${patience} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

function within(promise, what, patience) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer to ${what} within ${patience} ms`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

class Browser {
  // rules: a value for --host-resolver-rules; patience: for each step, in milliseconds
  static async start({ program = process.env.WSGATE_CHROMIUM ?? 'chromium', rules, patience = 15_000 } = {}) {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), 'wsgate-browser-'));
    const watcher = spawn('sh', ['-c', WATCH, home], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
    watcher.stdin.on('error', () => {});
    const flags = [...FLAGS, '--remote-debugging-port=0', `--user-data-dir=${home}/profile`];
    if (rules) flags.push(`--host-resolver-rules=${rules}`);
    const child = spawn(program, [...flags, 'about:blank'], {
      detached: true,
      env: { ...process.env, HOME: home, TZ: 'UTC' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    watcher.stdin.write(`${child.pid}\n`);
    const browser = new Browser();
    Object.assign(browser, { watcher, patience, next: 1, asked: new Map(), pages: new Map() });
    let said = '';
    // The start of a browser takes longer than anything else on a loaded machine.
    const address = await within(
      new Promise((resolve, reject) => {
        child.on('error', reject);
        child.on('exit', () => reject(new Error(`the browser ended: ${said}`)));
        child.stderr.on('data', (data) => {
          said = (said + data).slice(-4000);
          const found = /DevTools listening on (ws:\S+)/.exec(said);
          if (found) resolve(found[1]);
        });
      }),
      'the start of the browser',
      60_000,
    );
    browser.socket = new WebSocket(address, { perMessageDeflate: false, maxPayload: 256 * 1024 * 1024 });
    await within(new Promise((resolve, reject) => browser.socket.on('open', resolve).on('error', reject)), 'DevTools', patience);
    browser.socket.on('message', (data) => browser.take(JSON.parse(data)));
    return browser;
  }

  take(message) {
    if (message.id === undefined) return this.pages.get(message.sessionId)?.take(message.method, message.params);
    const { resolve, reject } = this.asked.get(message.id);
    this.asked.delete(message.id);
    if (message.error) reject(new Error(message.error.message));
    else resolve(message.result);
  }

  send(method, params = {}, sessionId) {
    const id = this.next++;
    const answer = new Promise((resolve, reject) => this.asked.set(id, { resolve, reject }));
    this.socket.send(JSON.stringify({ id, method, params, sessionId }));
    return within(answer, method, this.patience);
  }

  // A page with storage of its own.
  // width, height; phone: a touch screen; dark; language: what the browser asks for
  async page({ width = 1280, height = 800, phone = false, dark = false, language } = {}) {
    const { browserContextId } = await this.send('Target.createBrowserContext');
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank', browserContextId, width, height });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, { sessionId, targetId, browserContextId });
    this.pages.set(sessionId, page);
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(`${domain}.enable`);
    // Otherwise only one of several pages would be visible.
    await page.send('Emulation.setFocusEmulationEnabled', { enabled: true });
    await page.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: phone });
    if (phone) await page.send('Emulation.setTouchEmulationEnabled', { enabled: true, maxTouchPoints: 5 });
    await page.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
    if (language) {
      const userAgent = await page.run(() => navigator.userAgent);
      await page.send('Network.setUserAgentOverride', { userAgent, acceptLanguage: language });
    }
    return page;
  }

  // Ends the browser and everything that it started.
  async end() {
    const gone = new Promise((resolve) => this.watcher.on('exit', resolve));
    this.watcher.stdin.end();
    await within(gone, 'the end of the browser', this.patience);
  }
}

class Page {
  constructor(browser, ids) {
    Object.assign(this, ids, { browser, problems: [] });
  }

  send(method, params) {
    return this.browser.send(method, params, this.sessionId);
  }

  // Keeps what a page that works does not cause.
  take(method, params) {
    if (method === 'Runtime.exceptionThrown') {
      const { text, exception } = params.exceptionDetails;
      this.problems.push(`exception: ${text} ${exception?.description ?? ''}`);
    } else if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(params.type)) {
      this.problems.push(`console: ${params.args.map((a) => a.value ?? a.description).join(' ')}`);
    } else if (method === 'Log.entryAdded' && ['error', 'warning'].includes(params.entry.level)) {
      this.problems.push(`log: ${params.entry.text} ${params.entry.url ?? ''}`);
    } else if (method === 'Page.javascriptDialogOpening') {
      this.problems.push(`dialog: ${params.message}`);
      this.send('Page.handleJavaScriptDialog', { accept: false }).catch(() => {});
    }
  }

  async go(url) {
    const { errorText } = await this.send('Page.navigate', { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
  }

  // Runs a function in the page.
  async run(fn, ...args) {
    const expression = `(${fn})(...${JSON.stringify(args)})`;
    const answer = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true, userGesture: true });
    const failed = answer.exceptionDetails;
    if (failed) throw new Error(failed.exception?.description ?? failed.text);
    return answer.result.value;
  }

  // Waits until a function in the page gives something that is true. While a page loads there is nothing to ask.
  wait(what, fn, ...args) {
    return this.waitFor(what, this.browser.patience, fn, ...args);
  }

  waitFor(what, patience, fn, ...args) {
    let last;
    const ask = () => this.run(fn, ...args).catch((error) => void (last = error));
    return until(what, patience, ask).catch((error) => {
      throw last ? new Error(`${error.message}; ${last.message}`) : error;
    });
  }

  async key(name, modifiers = 0) {
    const key = { key: name, code: name === ' ' ? 'Space' : name, windowsVirtualKeyCode: KEYS[name], modifiers };
    const text = { Enter: '\r', ' ': ' ' }[name];
    await this.send('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', text, ...key });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...key });
  }

  type(text) {
    return this.send('Input.insertText', { text });
  }

  // Presses Tab until an element that `selector` matches has the focus.
  async tabTo(selector, most = 80) {
    for (let i = 0; i < most; i++) {
      if (await this.run((s) => document.activeElement?.matches(s), selector)) return i;
      await this.key('Tab');
    }
    throw new Error(`Tab does not lead to ${selector}`);
  }

  // The middle of an element that nothing covers and that has stopped moving, once it has been scrolled into view.
  place(selector) {
    return this.wait(`a place to click on ${selector}`, (s) => {
      const el = document.querySelector(s);
      if (!el) return undefined;
      const middle = () => {
        const { x, y, width, height } = el.getBoundingClientRect();
        return { x: x + width / 2, y: y + height / 2, width };
      };
      const hits = ({ x, y, width }) => width > 0 && el.contains(document.elementFromPoint(x, y));
      const frame = () => new Promise(requestAnimationFrame);
      if (!hits(middle())) el.scrollIntoView({ block: 'center', behavior: 'instant' });
      const before = middle();
      return frame().then(frame).then(() => {
        const after = middle();
        return hits(after) && after.x === before.x && after.y === before.y && { x: after.x, y: after.y };
      });
    }, selector);
  }

  async click(selector) {
    const at = await this.place(selector);
    const button = { ...at, button: 'left', clickCount: 1 };
    await this.run((s) => addEventListener('mousedown', (e) => { window.hit = document.querySelector(s).contains(e.target) }, { capture: true, once: true }), selector);
    await this.send('Input.dispatchMouseEvent', { type: 'mouseMoved', ...at });
    await this.send('Input.dispatchMouseEvent', { type: 'mousePressed', ...button });
    await this.send('Input.dispatchMouseEvent', { type: 'mouseReleased', ...button });
    // A click may leave the page, and then nobody knows.
    const hit = await this.run(() => window.hit).catch(() => undefined);
    if (hit === false) throw new Error(`${selector} moved away from the pointer`);
  }

  async png() {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(data, 'base64');
  }

  async close() {
    this.browser.pages.delete(this.sessionId);
    await this.browser.send('Target.disposeBrowserContext', { browserContextId: this.browserContextId });
  }
}

module.exports = { Browser, until };
