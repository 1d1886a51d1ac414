'use strict';
// The admin page in headless Chromium.
// node page_client.js OPTIONS
//   base       the page's address, which ends with a slash
//   cases      [{name, run, …}]: `run` is a function below, default `name`; its comment lists its other keys. All of them take
//     query    added to `base`
//     page     options of Browser.page: width, height, phone, dark, language
//     crowded  all streams may be in use
//     expected parts of console messages that the case causes; any other message, exception or dialog fails it
//   rules      a value for --host-resolver-rules
//   timeout_ms for each step, default 15000
// Every case has a page of its own. It prints {"event": "NAME: begin"}, and {"event": "NAME: STEP"} where it waits for the test.

const fs = require('fs');
const http = require('http');
const { log, exitWithStdin } = require('./common');
const { Browser, until } = require('./browser');

const options = JSON.parse(process.argv[2]);
const patience = options.timeout_ms ?? 15_000;

const runs = {
  // Reads everything that the page shows, once it shows `ready`: numbers by id.
  async read(page, { ready = {} }) {
    await opened(page);
    await page.wait(`the numbers ${JSON.stringify(ready)}`, (wanted) =>
      Object.entries(wanted).every(([id, n]) => document.getElementById(id).textContent.includes(n)), ready);
    return page.run(everything);
  },

  // What the page says first, and where that is.
  // says: a part of it; then: [{step, says}] what it must say after each step of the test
  async first(page, { name, says, then = [] }) {
    await opened(page);
    const shown = [];
    for (const { step, says: part } of [{ says }, ...then]) {
      if (step) log({ event: `${name}: ${step}` });
      await page.wait(`a first sentence with ${part}`, (part) => document.getElementById('now').textContent.includes(part), part);
      shown.push(await page.run(firstSentence));
    }
    return { shown, ...(await page.run(everything)) };
  },

  // Records that come while the page is open.
  // before: how many records there are at first
  async live(page, { name, before }) {
    await opened(page);
    await page.run(() => { window.stays = true });
    const rows = (n) => page.wait(`${n} records`, (n) => document.querySelectorAll('#record-table tbody tr').length === n, n);
    await rows(before);
    log({ event: `${name}: open` });
    await rows(before + 1);
    const first = (await page.run(everything)).records[0];

    // While a record is open nothing moves.
    await page.tabTo('#record-table .rowlink');
    await page.run(() => { window.row = document.activeElement });
    await page.key('Enter');
    await panel(page);
    const places = () => page.run(() => {
      const box = document.getElementById('records-scroll').getBoundingClientRect().top;
      return [...document.querySelectorAll('#record-table .rowlink')].map((b) => [b.textContent, b.getBoundingClientRect().top - box]);
    });
    const held = await places();
    log({ event: `${name}: reading` });
    await page.wait('word of two new records', () => /\b2\b/.test(document.getElementById('new').getAttribute('aria-label') ?? ''));
    const still = await places();
    await page.key('Escape');
    const after = await page.wait('the end of the panel', () => !document.getElementById('panel').open && { focus: document.activeElement === window.row, stays: window.stays });
    await page.click('#new');
    await rows(before + 3);
    return { first, held, still, ...after, records: (await page.run(everything)).records };
  },

  // The story of each record, the newest first, opened by keyboard.
  // count: how many there are; most: only the first few
  async records(page, { count, most = count }) {
    await opened(page);
    await page.wait(`${count} records`, (n) => document.querySelectorAll('#record-table tbody tr').length === n, count);
    await page.tabTo('#record-table .rowlink');
    const stories = [];
    for (;;) {
      await page.run(() => { window.row = document.activeElement });
      await page.key('Enter');
      stories.push({ ...(await panel(page)), ...(await page.run(foreign)) });
      if (stories.length % 2) await page.key('Escape');
      else await page.click('#panel-close');
      const focus = await page.wait('the end of the panel', () => !document.getElementById('panel').open && String(document.activeElement === window.row));
      if (focus !== 'true') throw new Error('the focus does not return');
      if (stories.length === most) return { stories, ...(await page.run(foreign)), ...(await page.run(layout)) };
      await page.key('Tab');
    }
  },

  // Closes the only tunnel that the query selects.
  // how: keyboard, mouse; as: the name to enter; cancel: Escape, button: don't close it after all
  async close(page, { how, as, cancel }) {
    await opened(page);
    await page.wait('one tunnel', () => document.querySelectorAll('#tunnel-table tbody tr').length === 1);
    const press = async (selector) => {
      if (how === 'mouse') return page.click(selector);
      await page.tabTo(selector);
      await page.key('Enter');
    };
    await press('#tunnel-table .rowlink');
    await page.wait('the tunnel', () => document.getElementById('panel').open);
    await press('#panel-body button.danger');
    await page.wait('the question', () => document.getElementById('ask').open && document.activeElement.id === 'ask-name');
    const question = await page.run(() => document.getElementById('ask-text').textContent);
    await page.type(as ?? '');
    if (cancel === 'Escape') await page.key('Escape');
    else if (cancel) await press('#ask-cancel');
    else if (how === 'mouse') await page.click('#ask-go');
    else await page.key('Enter');
    await page.wait('the end of the question', () => !document.getElementById('ask').open);
    const result = cancel ? '' : await page.wait('the answer', () => document.querySelector('.result').textContent);
    const focus = await page.run(() => document.activeElement.textContent);
    if (!cancel) {
      await page.wait('the end of the tunnel', () => document.querySelector('#panel-body button.danger').disabled);
      await page.wait('its record', () => [...document.querySelectorAll('#panel-body .rowlink')].some((b) => b.textContent.includes('closed_by_operator')));
    }
    return { question, result, focus };
  },

  // Streams of one HTTP/2 connection, in the documents that a server in front of the proxy changes. Closes the tunnel of one
  // stream and then opens a record.
  // tunnels, records: what the documents have; stream: the one to close; closed: its record; record: the text of the row to open
  async streams(page, { tunnels, records, stream, closed, record }) {
    const asked = [];
    const shown = { tunnels, records };
    const changed = (text, id) => {
      const isIt = (x) => !id || id === x.conn || id === `${x.conn}-${x.stream_id}`;
      const doc = JSON.parse(text);
      const [open, recent] = [shown.tunnels.filter(isIt), shown.records.filter(isIt)];
      doc.tunnels = { open: shown.tunnels.length, matching: open.length, shown: open };
      doc.recent = { remembered: shown.records.length, matching: recent.length, missed: 0, records: recent };
      return JSON.stringify(doc);
    };
    const server = http.createServer((request, answer) => {
      const url = new URL(request.url, options.base);
      if (request.method === 'POST') {
        asked.push(request.url);
        shown.tunnels = shown.tunnels.filter((x) => x.stream_id !== stream);
        shown.records = [closed, ...shown.records];
        return answer.writeHead(202).end('the tunnel was asked to close');
      }
      if (url.pathname === '/events') return answer.writeHead(503).end('only the document is changed');
      http.get(url, async (real) => {
        const parts = [];
        for await (const part of real) parts.push(part);
        const body = Buffer.concat(parts);
        answer.writeHead(real.statusCode, { 'Content-Type': real.headers['content-type'] });
        answer.end(url.pathname === '/status.json' ? changed(body.toString(), url.searchParams.get('id')) : body);
      });
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      page.spec.at = `http://127.0.0.1:${server.address().port}/`;
      await opened(page);
      await page.wait('all tunnels', (n) => document.querySelectorAll('#tunnel-table tbody tr').length === n, tunnels.length);
      const row = tunnels.findIndex((x) => x.stream_id === stream) + 1;
      await page.click(`#tunnel-table tbody tr:nth-child(${row}) .rowlink`);
      const tunnel = await panel(page);
      await page.click('#panel-body button.danger');
      await page.wait('the question', () => document.getElementById('ask').open && document.activeElement.id === 'ask-name');
      const question = await page.run(() => document.getElementById('ask-text').textContent);
      await page.key('Enter');
      await page.wait('the end of the tunnel', () => document.querySelector('#panel-body button.danger').disabled);
      const links = () => page.run(() => [...document.querySelectorAll('#panel-body .rowlink')].map((b) => b.textContent));
      await page.wait('its record', () => document.querySelector('#panel-body .rowlink'));
      const ended = await links();
      await page.click('#panel-close');
      await page.wait('the end of the panel', () => !document.getElementById('panel').open);
      const number = await page.run((record) => [...document.querySelectorAll('#record-table tbody tr')].findIndex((tr) => tr.textContent.includes(record)), record);
      await page.click(`#record-table tbody tr:nth-child(${number + 1}) .rowlink`);
      return { tunnel, question, ended, story: await panel(page), others: await links(), asked };
    } finally {
      server.closeAllConnections();
      server.close();
    }
  },

  // The panel of the only tunnel that the query selects.
  async tunnel(page) {
    await opened(page);
    await page.click('#tunnel-table .rowlink');
    const shown = await panel(page);
    return { ...shown, buttons: await page.run(() => document.querySelectorAll('#panel-body button.danger').length), ...(await page.run(layout)), ...(await page.run(foreign)) };
  },

  // Sets the filters in the form, loads the page again, and goes back.
  // fields: {name: value}
  async filter(page, { fields }) {
    await opened(page);
    if (!(await page.run(() => document.getElementById('filter-details').open))) await page.click('#filter-details summary');
    for (const [field, value] of Object.entries(fields)) {
      const isSelect = await page.run((field, value) => {
        const input = document.getElementById('filters').elements[field];
        input.focus();
        if (input.tagName !== 'SELECT') return input.select();
        input.value = value;
        return input.dispatchEvent(new Event('change', { bubbles: true }));
      }, field, value);
      if (!isSelect) await page.type(value);
    }
    await page.click('#filters button[type=submit]');
    const state = () => page.wait('the filtered page', (fields) => {
      const form = document.getElementById('filters').elements;
      return document.getElementById('link').dataset.link === 'live' && Object.entries(fields).every(([k, v]) => form[k].value === v) &&
        document.getElementById('filter-text').textContent.includes('match') &&
        { search: location.search, says: document.getElementById('filter-text').textContent };
    }, fields);
    const before = await state();
    await page.send('Page.reload');
    const reloaded = await state();
    const shown = await page.run(everything);
    await page.click('#clear');
    await page.wait('the page without filters', () => location.search === '' && document.getElementById('filter-says').hidden);
    await page.run(() => history.back());
    const back = await state();
    const written = await page.run(() => document.getElementById('process').textContent);
    await page.wait('the next event', (before) => document.getElementById('process').textContent !== before, written);
    return { before, reloaded, back, later: await state(), shown };
  },

  // What the page says about itself. says: a part of it
  async notice(page, { says }) {
    await page.go(options.base + (page.spec.query ?? ''));
    const notice = await page.wait(`a notice with ${says}`, (part) => {
      const el = document.getElementById('notice');
      return !el.hidden && el.textContent.includes(part) && el.textContent;
    }, says);
    return { notice, link: await page.run(() => document.getElementById('link').dataset.link), ...(await page.run(everything)), ...(await page.run(foreign)), ...(await page.run(layout)) };
  },

  // The proxy ends, and another one starts at the same address.
  async restart(page, { name }) {
    await opened(page);
    const token = () => document.querySelector('meta[name="wsgate-token"]').content;
    await page.run(() => { window.stays = true });
    const before = await page.run(token);
    log({ event: `${name}: open` });
    const stale = await page.wait('a page that says that it is old', () => document.body.classList.contains('stale') &&
      document.getElementById('link').dataset.link === 'retry' && !document.getElementById('notice').hidden &&
      { notice: document.getElementById('notice').textContent, filter: getComputedStyle(document.getElementById('now')).filter });
    log({ event: `${name}: stale` });
    await page.waitFor('another page', 2 * patience, () => window.stays === undefined && document.getElementById('link').dataset.link === 'live');
    const after = await page.run(token);
    const isStale = await page.run(() => document.body.classList.contains('stale'));
    return { before, after, stale, isStale, closed: await runs.close(page, { how: 'keyboard', as: 'after the restart', stay: true }) };
  },

  // A page whose address has filters that select nothing.
  async strange(page) {
    await opened(page);
    return { says: await page.run(() => document.getElementById('filter-text').textContent), ...(await page.run(foreign)), ...(await page.run(layout)) };
  },

  // What axe-core and the layout say. open: also with a record and with a tunnel and its question open
  async look(page, { open = true }) {
    await opened(page);
    await page.wait('a problem, a record and a tunnel', () => document.getElementById('now').dataset.state === 'bad' &&
      document.querySelector('#record-table .rowlink') && document.querySelector('#tunnel-table .rowlink'));
    const found = [];
    const judge = async (what) => {
      const { violations, wide } = await judged(page);
      for (const v of violations) found.push(`${what}: ${v}`);
      for (const w of wide) found.push(`${what}: wider than the screen: ${w}`);
    };
    await judge('page');
    const { lang, words } = await page.run(ownWords);
    if (open) {
      await page.run(() => { for (const d of document.querySelectorAll('details')) d.open = true });
      await page.click('#record-table .rowlink');
      await panel(page);
      await judge('record');
      await page.key('Escape');
      await page.click('#tunnel-table .rowlink');
      await panel(page);
      await judge('tunnel');
      await page.click('#panel-body button.danger');
      await judge('question');
    }
    const scheme = await page.run(() => getComputedStyle(document.body).backgroundColor);
    return { lang, words, scheme, found };
  },

  // What a page of another origin can do. origin: HOST of that page; token: the real one; conn: an open tunnel
  async other(page, { origin, token, conn }) {
    const server = http.createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end('<!doctype html><link rel=icon href=data:,><title>other</title>'));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      await page.go(`http://${origin}:${server.address().port}/`);
      await page.wait('the other page', () => document.title === 'other');
      return await page.run(attacks, options.base, token, conn);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  },

  // Where a link of another page leads: it opens a window, and the text of that window is reported.
  async link(page, { origin }) {
    const server = http.createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end(`<!doctype html><link rel=icon href=data:,><a href="${options.base}">link</a>`));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      await page.go(`http://${origin}:${server.address().port}/`);
      await page.click('a');
      const text = await page.wait('the page that the link leads to', (base) => location.href === base && document.readyState === 'complete' && document.body.innerText, options.base);
      return { text };
    } finally {
      server.closeAllConnections();
      server.close();
    }
  },

  // The text at an address, typed.
  async text(page, { url }) {
    await page.go(url);
    return { text: await page.wait('a text', () => document.readyState === 'complete' && document.body.innerText) };
  },
};

// Opens the page, and waits until it is live and knows what the codes mean.
async function opened(page) {
  if (!page.spec.stay || !(await page.run(() => location.href)).startsWith('http')) await page.go((page.spec.at ?? options.base) + (page.spec.query ?? ''));
  await page.wait('the live page', () => ['live', 'poll'].includes(document.getElementById('link').dataset.link) && document.getElementById('reasons').childElementCount > 0);
}

// The panel, once the proxy has said what else it knows.
async function panel(page) {
  await page.wait('the panel', () => document.getElementById('panel').open && document.activeElement.id === 'panel-title' &&
    !/Asking the proxy|正在询问代理/.test(document.getElementById('panel-body').textContent));
  return page.run(() => {
    const body = document.getElementById('panel-body');
    const lines = (s) => [...body.querySelectorAll(s)].map((el) => el.textContent);
    return {
      title: document.getElementById('panel-title').textContent,
      // Without the record as JSON, which has everything anyway.
      text: [...body.children].filter((el) => !el.matches('details')).map((el) => el.textContent).join('\n'),
      facts: [...body.querySelectorAll('dt')].map((dt) => [dt.textContent, dt.nextElementSibling.textContent]),
      steps: lines('.story .what'),
      attempts: lines('.story ul li'),
      todo: lines('.todo p')[0] ?? '',
      todoFirst: Boolean(body.querySelector('.todo + section .story')),
      raw: lines('details pre')[0] ?? '',
      wide: body.scrollWidth > body.clientWidth,
    };
  });
}

// ---- These functions run in the page.

function everything() {
  const text = (el) => el?.textContent ?? '';
  const id = (name) => document.getElementById(name);
  const bars = (name) => [...id(name).querySelectorAll('.bar')].map((b) => [text(b.querySelector('.name')), text(b.querySelector('.count'))]);
  const rows = (name) => id(name).hidden ? [] : [...id(name).tBodies[0].rows].map((tr) => [...tr.cells].map(text));
  return {
    state: id('now').dataset.state,
    first: text(id('first')),
    problems: [...document.querySelectorAll('#first dl, #others dl')].map((dl) => [...dl.querySelectorAll('dt')].map((dt) => [text(dt), text(dt.nextElementSibling)])),
    others: [...document.querySelectorAll('#others-list .problem')].map(text),
    configuration: id('refused-config').hidden ? '' : text(id('refused-config')),
    opened: text(id('legend-opened')),
    refused: text(id('legend-refused')),
    bars: { refused: bars('bars-refused'), ends: bars('bars-ends'), codes: bars('bars-codes') },
    records: rows('record-table'),
    remembered: text(id('records-count')),
    tunnels: rows('tunnel-table'),
    tunnelCount: text(id('tunnels-count')),
    upstreams: text(id('upstreams')),
    title: document.title,
  };
}

function firstSentence() {
  const box = (el) => el && { text: el.textContent, bottom: el.getBoundingClientRect().bottom, top: el.getBoundingClientRect().top };
  const part = (selector) => box(document.querySelector(`#now ${selector}`));
  scrollTo(0, 0);
  return {
    state: document.getElementById('now').dataset.state, height: innerHeight,
    title: part('.state'), headline: part('.headline'), lead: part('.lead'), todo: part('.todo p'), button: part('button'),
  };
}

function layout() {
  const root = document.documentElement;
  return { wide: root.scrollWidth > root.clientWidth };
}

function foreign() {
  const own = new Set(['page.js']);
  const elements = [...document.querySelectorAll('*')];
  const bad = elements.filter((el) =>
    ['IMG', 'IFRAME', 'OBJECT', 'EMBED', 'VIDEO', 'AUDIO', 'BASE', 'STYLE', 'FORM'].includes(el.tagName) && !['filters', 'ask-form'].includes(el.getAttribute('id')) ||
    el.tagName === 'SCRIPT' && !own.has(el.getAttribute('src')) ||
    [...el.attributes].some((a) => a.name.startsWith('on') || /^(src|href|action|formaction|xlink:href)$/.test(a.name) && !['page.js', 'page.css', 'data:,'].includes(a.value) && !a.value.startsWith('#')));
  return { bad: bad.map((el) => el.outerHTML.slice(0, 200)), polluted: Object.keys(Object.prototype).concat(({}).polluted ?? []), ran: window.pwned !== undefined };
}

function ownWords() {
  const said = new Set();
  const add = (s) => s && said.add(s.trim());
  for (const el of document.querySelectorAll('[data-t]')) if (!el.closest('#language')) add(el.textContent);
  for (const el of document.querySelectorAll('h2, h3, dt:not(#upstreams dt), summary, button:not(.bar):not(.rowlink):not(#language), .state, .legend span, .quiet:not(bdi), option')) add(el.textContent);
  for (const el of document.querySelectorAll('[aria-label]:not(#language), [placeholder], [title]:not(.bar):not(.rowlink)')) for (const a of ['aria-label', 'placeholder', 'title']) add(el.getAttribute(a));
  return { lang: document.documentElement.lang, words: [...said] };
}

async function attacks(base, token, conn) {
  const done = {};
  const close = `${base}close?conn=${conn}&name=other`;
  const attempt = async (name, run) => {
    const late = new Promise((resolve) => setTimeout(() => resolve('nothing'), 3000));
    done[name] = await Promise.race([run().catch((error) => `failed: ${error.name}`), late]);
  };
  const read = (url, how) => async () => {
    const answer = await fetch(url, how);
    return answer.type === 'opaque' ? 'opaque' : `read: ${(await answer.text()).slice(0, 60)}`;
  };
  const element = (tag, change) => () => new Promise((resolve) => {
    const el = document.createElement(tag);
    el.onload = () => resolve('loaded');
    el.onerror = () => resolve('failed');
    change(el);
    document.body.append(el);
  });
  for (const path of ['', 'status.json', 'events', 'vocabulary.json', 'page.js']) {
    await attempt(`fetch ${path}`, read(base + path));
    await attempt(`fetch ${path} with credentials`, read(base + path, { credentials: 'include' }));
  }
  await attempt('no-cors', read(`${base}status.json`, { mode: 'no-cors' }));
  await attempt('post', read(close, { method: 'POST' }));
  await attempt('post no-cors', read(close, { method: 'POST', mode: 'no-cors' }));
  await attempt('post with the token', read(close, { method: 'POST', headers: { 'X-Wsgate-Token': token } }));
  await attempt('drain', read(`${base}drain`, { method: 'POST' }));
  await attempt('drain no-cors', read(`${base}drain`, { method: 'POST', mode: 'no-cors' }));
  await attempt('drain by beacon', async () => String(navigator.sendBeacon(`${base}drain`)));
  await attempt('script', element('script', (el) => { el.src = `${base}page.js` }));
  await attempt('script of data', element('script', (el) => { el.src = `${base}status.json` }));
  await attempt('style', element('link', (el) => { el.rel = 'stylesheet'; el.href = `${base}page.css` }));
  await attempt('image', element('img', (el) => { el.src = base }));
  await attempt('events', () => new Promise((resolve) => {
    const source = new EventSource(`${base}events`);
    source.addEventListener('status', () => resolve('read'));
    source.onerror = () => { source.close(); resolve('failed') };
  }));
  for (const [name, target] of [['close', close], ['drain', `${base}drain`]]) {
    await attempt(`form ${name}`, () => new Promise((resolve) => {
      const frame = document.createElement('iframe');
      frame.name = `form-${name}`;
      document.body.append(frame);
      const form = document.createElement('form');
      Object.assign(form, { action: target, method: 'POST', target: frame.name });
      document.body.append(form);
      frame.onload = () => resolve('answered');
      form.submit();
    }));
  }
  await attempt('frame', () => new Promise((resolve) => {
    const frame = document.createElement('iframe');
    frame.onload = () => {
      try { resolve(`read: ${frame.contentWindow.document.title}`) } catch { resolve('loaded') }
    };
    frame.src = base;
    document.body.append(frame);
  }));
  await attempt('window', () => new Promise((resolve) => {
    const other = window.open(base);
    const timer = setInterval(() => {
      let title;
      try { title = other.document.readyState === 'complete' && other.location.href !== 'about:blank' ? other.document.title : undefined } catch { title = null }
      if (title === undefined) return;
      clearInterval(timer);
      other.close();
      resolve(title === null ? 'not readable' : `read: ${title}`);
    }, 20);
  }));
  return done;
}

// ---- axe-core

let axe;
async function judged(page) {
  axe ??= fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
  if (!(await page.run(() => Boolean(window.axe)))) await page.send('Runtime.evaluate', { expression: axe });
  return page.run(async () => {
    const { violations } = await axe.run(document, { resultTypes: ['violations'] });
    const list = violations.flatMap((v) => v.nodes.map((n) => `${v.id} (${v.impact}): ${n.target.join(' ')}: ${n.failureSummary.replaceAll('\n', ' ').slice(0, 300)}`));
    const roots = [document.documentElement, document.getElementById('panel-body'), document.getElementById('ask')];
    const wide = roots.filter((el) => el.scrollWidth > el.clientWidth + 1).map((el) => `${el.id || 'page'} ${el.scrollWidth} > ${el.clientWidth}`);
    return { violations: list, wide };
  });
}

// ---- all cases

// The proxy counts the stream of a page that was closed for some seconds more.
async function room() {
  const answer = await fetch(`${options.base}status.json?limit=1`);
  return (await answer.json()).streams.open < 7;
}

async function one(browser, spec) {
  if (!spec.crowded) await until('room for a stream', patience, room);
  const page = await browser.page(spec.page);
  page.spec = spec;
  log({ event: `${spec.name}: begin` });
  let detail;
  try {
    detail = await runs[spec.run ?? spec.name](page, spec);
    const isExpected = (problem) => (spec.expected ?? []).some((part) => problem.includes(part));
    const problems = page.problems.filter((problem) => !isExpected(problem));
    if (problems.length) throw new Error(`the page said: ${problems.join('; ')}`);
    log({ case: spec.name, ok: true, detail });
    return true;
  } catch (error) {
    const shown = await page.run(() => document.body.innerText.slice(0, 3000)).catch(() => '');
    log({ case: spec.name, ok: false, detail: { error: error.stack, problems: page.problems, shown, detail } });
    return false;
  } finally {
    await page.close().catch(() => {});
  }
}

async function main() {
  const browser = await Browser.start({ rules: options.rules, patience });
  let passed = 0;
  for (const spec of options.cases) if (await one(browser, spec)) passed++;
  await browser.end();
  log({ done: true, passed, failed: options.cases.length - passed });
  process.exit(passed === options.cases.length ? 0 : 1);
}

exitWithStdin();
main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
