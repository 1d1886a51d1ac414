import { words } from './words.js'

// Everything that the proxy sends may hold text of the internet, and any field may be missing.
// It reaches the page only as text, and names from it are never used as keys of plain objects.

const ORDINARY = new Set(['client_close', 'client_going_away', 'upstream_close'])
const STAGES = ['accept', 'tls', 'http', 'policy', 'upstream', 'tunnel']
const STAGE_WORD = { accept: 'sAccept', tls: 'sTls', http: 'sHttp', policy: 'sPolicy', upstream: 'sUpstream', tunnel: 'sTunnel' }
const SORTS = { newest: 'newest', oldest: 'oldest', idle: 'idleSort', bytes: 'bytesSort' }
const PARTIES = new Set(['client', 'upstream', 'proxy', 'network'])
const KINDS = new Set(['handshakes', 'ends', 'connections', 'requests'])
const KEPT = 1000
const PAGE = 100

const $ = id => document.getElementById(id)
const token = document.querySelector('meta[name="wsgate-token"]')?.content ?? ''

const num = v => typeof v === 'number' && Number.isFinite(v) ? v : undefined
const str = v => typeof v === 'string' ? v : num(v) === undefined ? '' : String(v)
const list = v => Array.isArray(v) ? v : []
const obj = v => v !== null && typeof v === 'object' && !Array.isArray(v) ? v : Object.create(null)
const objects = v => list(v).filter(x => x !== null && typeof x === 'object' && !Array.isArray(x))
const when = v => { const ms = typeof v === 'string' ? Date.parse(v) : NaN; return Number.isNaN(ms) ? undefined : ms }
const counts = v => Object.entries(obj(v)).map(([k, n]) => [k, num(n) ?? 0]).filter(([, n]) => n > 0)
const sum = v => counts(v).reduce((a, [, n]) => a + n, 0)

// Characters that change the direction or can't be seen are spelled out.
const UNSEEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g
function clean(v, most = Infinity) {
  const s = str(v)
  const cut = s.length > most ? s.slice(0, most) + '…' : s
  return cut.replace(UNSEEN, c => `\\u{${c.codePointAt(0).toString(16)}}`)
}

// ---- language

const lang = { now: 'en' }
let format

function readLang() {
  const wanted = [new URLSearchParams(location.search).get('lang')]
  try { wanted.push(localStorage.getItem('wsgate-lang')) } catch { /* storage may be switched off */ }
  wanted.push(...(navigator.languages ?? []))
  for (const w of wanted) {
    if (/^zh\b/i.test(w ?? '')) return 'zh'
    if (/^en\b/i.test(w ?? '')) return 'en'
  }
  return 'en'
}

function setLang(name) {
  lang.now = name
  const tag = name === 'zh' ? 'zh-CN' : navigator.languages?.find(l => /^en\b/i.test(l)) ?? 'en'
  document.documentElement.lang = name === 'zh' ? 'zh-CN' : 'en'
  const date = options => new Intl.DateTimeFormat(tag, { hourCycle: 'h23', ...options })
  format = {
    number: new Intl.NumberFormat(tag),
    short: new Intl.NumberFormat(tag, { notation: 'compact', maximumFractionDigits: 1 }),
    one: new Intl.NumberFormat(tag, { maximumFractionDigits: 1 }),
    percent: new Intl.NumberFormat(tag, { style: 'percent', maximumFractionDigits: 0 }),
    plural: new Intl.PluralRules(tag),
    minute: date({ hour: '2-digit', minute: '2-digit' }),
    second: date({ hour: '2-digit', minute: '2-digit', second: '2-digit' }),
    dayMinute: date({ month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' }),
    daySecond: date({ month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' })
  }
}

function t(key, n) {
  const w = Object.hasOwn(words[lang.now], key) ? words[lang.now][key] : key
  return Array.isArray(w) ? w[format.plural.select(n ?? 2) === 'one' ? 0 : 1] : w
}
const say = (key, slots, n) => t(key, n).replace(/\{(\w+)\}/g, (m, k) => Object.hasOwn(slots, k) ? String(slots[k]) : m)
const many = (key, n) => say(key, { n: format.number.format(n) }, n)
const number = n => format.number.format(n)
const share = n => format.percent.format(n / 100)
const party = v => PARTIES.has(v) ? t(v + '_p') : str(v)

const today = { from: 1, to: 0 }
function isToday(ms) {
  const at = now()
  if (at < today.from || at >= today.to) {
    const d = new Date(at)
    today.from = d.setHours(0, 0, 0, 0)
    today.to = d.setDate(d.getDate() + 1)
  }
  return ms >= today.from && ms < today.to
}
function clock(ms, seconds = false) {
  const other = !isToday(ms)
  return format[other ? (seconds ? 'daySecond' : 'dayMinute') : (seconds ? 'second' : 'minute')].format(ms)
}
function ago(ms) {
  const m = Math.floor((now() - ms) / 60000)
  if (m < 1) return t('now')
  if (m < 60) return say('minAgo', { n: m })
  if (m < 2880) return say('hAgo', { n: Math.floor(m / 60) })
  return many('dAgo', Math.floor(m / 1440))
}
function lasting(v) {
  const ms = num(v)
  if (ms === undefined) return ''
  if (ms < 1000) return say('ms', { n: Math.max(0, Math.round(ms)) })
  if (ms < 60000) return say('s', { n: ms < 10000 ? format.one.format(ms / 1000) : Math.floor(ms / 1000) })
  const m = Math.floor(ms / 60000)
  if (m < 60) return say('min', { n: m })
  if (m < 1440) return say('h', { n: Math.floor(m / 60), m: m % 60 })
  return say('d', { n: Math.floor(m / 1440), h: Math.floor(m % 1440 / 60) }, Math.floor(m / 1440))
}
function bytes(v) {
  let n = num(v)
  if (n === undefined) return ''
  let unit = 0
  while (n >= 1000 && unit < 4) { n /= 1000; unit++ }
  return `${unit && n < 100 ? format.one.format(n) : number(Math.round(n))} ${['B', 'kB', 'MB', 'GB', 'TB'][unit]}`
}

// ---- writing into the page: nodes whose text did not change are left alone, so that focus and selection survive

function make(tag, className, ...children) {
  const el = document.createElement(tag)
  if (className) el.className = className
  el.append(...children)
  return el
}
function svg(tag, attributes = {}) {
  const el = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [k, v] of Object.entries(attributes)) el.setAttribute(k, v)
  return el
}
function text(el, s) {
  const only = el.firstChild
  if (only?.nodeType === 3 && !only.nextSibling) {
    if (only.data !== s) only.data = s
  } else if (only || s) {
    el.textContent = s
  }
}
function attr(el, name, value) {
  if (value === undefined) el.removeAttribute(name)
  else if (el.getAttribute(name) !== value) el.setAttribute(name, value)
}
const show = (el, yes) => { if (el.hidden === yes) el.hidden = !yes }
const group = (...children) => make('div', '', ...children)

function button(className, run) {
  const el = make('button', className)
  el.type = 'button'
  el.addEventListener('click', run)
  return el
}

const memory = new WeakMap()
function changed(el, signature) {
  if (memory.get(el) === signature) return false
  memory.set(el, signature)
  return true
}

// Texts of the vocabulary mark code with backticks.
function prose(el, s) {
  const whole = clean(s)
  if (!changed(el, whole)) return
  el.replaceChildren(...whole.split('`').map((part, i) => i % 2 ? make('code', '', part) : part))
}

// What may stand in a place {name}: text, or one of
// { mono } text of a peer, { time } a moment, { prose }, { fill: [template, slots] }, { values: [{ value, count }] }, { bad } a warning.
const slotKind = v => typeof v === 'object' && v !== null ? Object.keys(v)[0] : 'text'
function slotNode(kind) {
  switch (kind) {
    case 'text': return document.createTextNode('')
    case 'mono': return make('bdi', 'mono')
    case 'time': return make('time')
    case 'bad': return make('span', 'abnormal')
    default: return make('span')
  }
}
function setSlot(node, kind, v) {
  switch (kind) {
    case 'text': { const s = str(v); if (node.data !== s) node.data = s; break }
    case 'mono': text(node, clean(v.mono, v.most ?? 200)); break
    case 'time': {
      text(node, clock(v.time, v.seconds))
      const utc = new Date(v.time).toISOString()
      attr(node, 'datetime', utc)
      attr(node, 'title', utc.replace('T', ' ').replace('Z', ' UTC'))
      break
    }
    case 'prose': prose(node, v.prose); break
    case 'bad': text(node, v.bad); break
    case 'fill': fill(node, ...v.fill); break
    case 'values': {
      const items = v.values.slice(0, 8)
      if (!changed(node, JSON.stringify(items) + lang.now)) break
      node.replaceChildren()
      items.forEach((x, i) => {
        if (i) node.append(t('listSep'))
        node.append(make('bdi', 'mono', clean(x.value, 200)))
        const n = num(x.count)
        if (n !== undefined) node.append(` (${x.approximate === true ? say('approx', { n: number(n) }) : number(n)})`)
      })
    }
  }
}
function fill(el, template, slots = {}) {
  const parts = template.split(/\{(\w+)\}/)
  const kinds = parts.map((p, i) => i % 2 ? slotKind(slots[p]) : p).join('\u0000')
  let state = memory.get(el)
  if (state?.kinds !== kinds) {
    const places = []
    el.replaceChildren(...parts.map((p, i) => {
      if (i % 2 === 0) return p
      const kind = slotKind(slots[p])
      const node = slotNode(kind)
      places.push([p, kind, node])
      return node
    }))
    memory.set(el, state = { kinds, places })
  }
  for (const [name, kind, node] of state.places) setSlot(node, kind, slots[name])
}

function pairs(dl, rows) {
  if (changed(dl, rows.map(r => r[0]).join('\u0000'))) {
    dl.classList.add('pairs')
    dl.replaceChildren(...rows.flatMap(([name]) => [make('dt', '', clean(name, 200)), make('dd')]))
  }
  rows.forEach(([, v], i) => fill(dl.children[i * 2 + 1], '{v}', { v }))
}
const moment = (ms, seconds = true) => ms === undefined ? undefined : { time: ms, seconds }
const amount = v => num(v) === undefined ? undefined : number(v)
const some = rows => rows.filter(([, v]) => v !== undefined && v !== '' && !(typeof v === 'object' && 'mono' in v && str(v.mono) === ''))

// Rows by key. A row that is no longer wanted shows a new item instead, at its place if possible.
function sync(parent, items, rows, create, update) {
  const wanted = new Set()
  const unique = items.filter(i => !wanted.has(i.key) && wanted.add(i.key))
  const free = new Map()
  for (const [key, row] of rows) if (!wanted.has(key)) { rows.delete(key); free.set(row.el, row) }
  let at = parent.firstElementChild
  for (const item of unique) {
    let row = rows.get(item.key)
    if (row) {
      while (free.has(at)) { const gone = at; at = at.nextElementSibling; gone.remove() }
    } else {
      row = free.get(at) ?? free.values().next().value ?? create()
      free.delete(row.el)
      rows.set(item.key, row)
    }
    row.item = item
    update(row, item)
    if (row.el === at) at = at.nextElementSibling
    else parent.insertBefore(row.el, at)
  }
  for (const [el, row] of free) { el.remove(); row.drop?.() }
}

// ---- state

const view = {
  doc: undefined, receivedAt: 0, clockAt: 0, first: undefined,
  link: 'wait', paused: false, pausedAt: 0, brokenSince: 0, problemText: '',
  vocabulary: emptyVocabulary(), english: emptyVocabulary(),
  filters: readFilters(), full: false, several: false
}
const now = () => view.doc ? view.clockAt + (performance.now() - view.receivedAt) : Date.now()

function emptyVocabulary() {
  return { reasons: new Map(), troubles: new Map(), notes: new Map(), stages: new Map(), parties: new Map() }
}
const explained = code => view.vocabulary.reasons.get(code) ?? view.vocabulary.troubles.get(code)
const explainedInEnglish = code => view.english.reasons.get(code) ?? view.english.troubles.get(code)

async function loadVocabulary() {
  const wanted = lang.now
  const get = async name => {
    const answer = await fetch(`vocabulary.json?lang=${name}`)
    if (!answer.ok) throw new Error(String(answer.status))
    const all = obj(await answer.json())
    const found = emptyVocabulary()
    for (const part of Object.keys(found)) for (const [k, v] of Object.entries(obj(all[part]))) found[part].set(k, v)
    return found
  }
  try {
    const [own, english] = await Promise.all([get(wanted), wanted === 'en' ? undefined : get('en')])
    if (wanted !== lang.now) return
    view.vocabulary = own
    view.english = english ?? own
    options($('reasons'), [...own.reasons.keys()].sort().map(c => [c, '']))
    forgetRows()
    render()
  } catch {
    setTimeout(() => { if (wanted === lang.now) loadVocabulary() }, 10000)
  }
}

// ---- filters

function readFilters() {
  const q = new URLSearchParams(location.search)
  const get = name => (q.get(name) ?? '').slice(0, 300)
  const minutes = Number(q.get('minutes'))
  const limit = Number(q.get('limit'))
  return {
    route: get('route'), reason: get('reason'), client: get('client'), id: get('id'),
    minutes: Number.isInteger(minutes) && minutes >= 1 && minutes <= 60 ? minutes : 60,
    all: q.get('all') === '1',
    sort: Object.hasOwn(SORTS, get('sort')) ? get('sort') : 'newest',
    limit: Number.isInteger(limit) && limit >= 1 && limit <= KEPT ? limit : PAGE
  }
}
function query(filters = view.filters) {
  const q = new URLSearchParams()
  for (const name of ['route', 'reason', 'client', 'id']) if (filters[name]) q.set(name, filters[name])
  if (filters.minutes && filters.minutes !== 60) q.set('minutes', filters.minutes)
  if (filters.all) q.set('all', '1')
  if (filters.sort && filters.sort !== 'newest') q.set('sort', filters.sort)
  if (filters.limit && filters.limit !== PAGE) q.set('limit', filters.limit)
  const s = q.toString()
  return s ? '?' + s : ''
}
function setFilters(change) {
  const before = query()
  Object.assign(view.filters, change)
  if (query() === before) return
  const q = new URLSearchParams(query())
  const keep = new URLSearchParams(location.search).get('lang')
  if (keep) q.set('lang', keep)
  const s = q.toString()
  history.pushState(null, '', location.pathname + (s ? '?' + s : ''))
  filtersChanged()
}
function filtersChanged() {
  records.reset = true
  view.problemText = ''
  tunnels.release = true
  writeForm()
  renderFilters()
  if (view.paused) setPaused(false)
  else connect()
}
const hides = f => Boolean(f.route || f.reason || f.client || f.id || f.minutes !== 60)

function options(select, entries) {
  if (!changed(select, JSON.stringify(entries))) return
  select.replaceChildren(...entries.map(([value, label]) => {
    const o = make('option', '', label)
    o.value = value
    return o
  }))
}
function writeForm() {
  const f = view.filters
  const form = $('filters').elements
  options(form.route, [...new Set(['', ...list(view.doc?.routes).map(str), f.route])].map(v => [v, v ? clean(v, 100) : t('any')]))
  options(form.minutes, [...new Set([5, 15, 60, f.minutes])].sort((a, b) => a - b).map(n => [n, n === 60 ? t('minutesHour') : many('minutesN', n)]))
  options($('sort'), Object.entries(SORTS).map(([v, key]) => [v, t(key)]))
  for (const name of ['route', 'reason', 'client', 'id', 'minutes']) {
    if (document.activeElement !== form[name] || form[name].tagName === 'SELECT') {
      if (form[name].value !== String(f[name])) form[name].value = f[name]
    }
  }
  form.all.checked = f.all
  $('sort').value = f.sort
}
function readForm() {
  const form = $('filters').elements
  setFilters({
    route: form.route.value, reason: form.reason.value.replace(/\s+/g, ''), client: form.client.value.trim(), id: form.id.value.trim(),
    minutes: Number(form.minutes.value) || 60, all: form.all.checked
  })
}
function clearFilters() {
  setFilters({ route: '', reason: '', client: '', id: '', minutes: 60, all: false })
  document.activeElement?.closest('#filters, #filter-says') && $('filter-details').querySelector('summary').focus()
  writeForm()
}
function renderFilters() {
  const f = view.filters
  const on = hides(f) || f.all
  show($('filter-says'), on)
  if (!on) return
  const slots = Object.create(null)
  const parts = []
  const add = (key, v, n) => { parts.push(t(key, n).replace(/\{\w+\}/, `{${key}}`)); slots[key] = v }
  if (f.route) add('fRoute', { mono: f.route })
  if (f.reason) add('fReason', { mono: f.reason })
  if (f.client) add('fClient', { mono: f.client })
  if (f.id) add('fId', { mono: f.id })
  if (f.minutes !== 60) add('fMinutes', number(f.minutes), f.minutes)
  if (f.all) add('fAll', '')
  const sentences = [t('filterOn').replace('{list}', parts.join(t('listSep')))]
  const recent = obj(view.doc?.recent)
  if (num(recent.matching) !== undefined && num(recent.remembered) !== undefined) {
    sentences.push(t('filterRecords').replace('{n}', '{matching}').replace('{total}', '{remembered}'))
    slots.matching = number(recent.matching)
    slots.remembered = number(recent.remembered)
  }
  if (f.client || f.id) sentences.push(t('filterCharts'))
  if (f.reason) sentences.push(t('filterTunnels'))
  if (hides(f)) sentences.push(t('filterState'))
  fill($('filter-text'), sentences.join(t('space')), slots)
}

// ---- the connection to the proxy

let stream, timer = 0, attempt = 0, asking, lastNews = 0, streamWorked = false

function disconnect() {
  stream?.close()
  stream = undefined
  clearTimeout(timer)
  asking?.abort()
  asking = undefined
}
function connect() {
  disconnect()
  if (document.hidden || view.paused) return
  const mine = new EventSource('events' + query())
  stream = mine
  streamWorked = false
  lastNews = performance.now()
  mine.addEventListener('status', e => {
    if (stream !== mine) return
    const isFirst = !streamWorked
    streamWorked = true
    attempt = 0
    arrived(e.data, 'live', isFirst)
  })
  mine.addEventListener('error', () => {
    if (stream !== mine) return
    lost()
  })
}
// EventSource does not say why it failed and gives up after any status but 200, so the page finds out and tries again itself.
function lost() {
  const worked = streamWorked
  disconnect()
  if (!view.brokenSince) view.brokenSince = Date.now()
  setLink('retry')
  if (worked) timer = setTimeout(connect, 500)
  else ask()
}
async function ask() {
  disconnect()
  if (document.hidden || view.paused) return
  const mine = asking = new AbortController()
  const limit = setTimeout(() => mine.abort(), 5000)
  try {
    const answer = await fetch('status.json' + query(), { signal: mine.signal, cache: 'no-store' })
    const body = await answer.text()
    if (asking !== mine) return
    if (!answer.ok) {
      view.problemText = say(answer.status === 400 ? 'badFilter' : 'brokenWhy', { text: clean(body, 300).trim() || answer.status })
      setLink('retry')
      timer = setTimeout(connect, 10000)
      return
    }
    if (!arrived(body, 'poll', true)) { timer = setTimeout(connect, 10000); return }
    timer = setTimeout(view.full ? ask : connect, 10000)
  } catch {
    if (asking !== mine) return
    setLink('retry')
    timer = setTimeout(connect, Math.min(10000, 1000 * 2 ** attempt++))
  } finally {
    clearTimeout(limit)
  }
}
function arrived(body, link, isFirst) {
  let doc
  try { doc = JSON.parse(body) } catch { doc = undefined }
  if (doc === null || typeof doc !== 'object' || Array.isArray(doc)) {
    view.problemText = say('brokenWhy', { text: clean(body, 120) })
    renderNotice()
    return false
  }
  if (restarted(doc)) return true
  view.doc = doc
  view.receivedAt = lastNews = performance.now()
  view.clockAt = when(doc.time) ?? Date.now()
  view.full = obj(doc.streams).open >= obj(doc.streams).limit
  view.brokenSince = 0
  view.problemText = ''
  takeRecords(doc, isFirst)
  setLink(link)
  render()
  return true
}
// A new process has a new token, and perhaps a new page.
function restarted(doc) {
  const id = `${str(doc.version)} ${str(doc.started)}`
  view.first ??= id
  if (id === view.first) return false
  let last = 0
  try { last = Number(sessionStorage.getItem('wsgate-reload')) } catch { /* storage may be switched off */ }
  if (Date.now() - last < 15000) {
    view.several = true
    return false
  }
  try { sessionStorage.setItem('wsgate-reload', String(Date.now())) } catch { /* the same */ }
  disconnect()
  location.reload()
  return true
}
function setPaused(yes) {
  view.paused = yes
  view.pausedAt = yes ? now() : 0
  text($('pause'), t(yes ? 'resume' : 'pause'))
  if (yes) { disconnect(); setLink('paused') }
  else { view.brokenSince = 0; setLink('wait'); connect() }
}
function setLink(link) {
  view.link = link
  const el = $('link')
  el.dataset.link = link
  switch (link) {
    case 'live': fill(el, t('linkLive')); break
    case 'poll': fill(el, t('linkPolling')); break
    case 'paused': fill(el, t('linkPaused'), { time: moment(view.pausedAt) }); break
    case 'retry': fill(el, t('linkRetry'), { time: moment(view.brokenSince || Date.now()) }); break
    default: fill(el, t('linkConnecting'))
  }
  renderNotice()
}
const isStale = () => view.doc !== undefined && !view.paused && !document.hidden &&
  performance.now() - view.receivedAt > (view.link === 'poll' ? 26000 : 7000)

function renderNotice() {
  const el = $('notice')
  const time = moment(view.clockAt)
  const stale = isStale()
  document.body.classList.toggle('stale', stale)
  show(el, true)
  if (view.problemText) fill(el, '{text}', { text: view.problemText })
  else if (stale) fill(el, t('staleWhy'), { time })
  else if (!view.doc && view.link === 'retry') fill(el, t('neverWhy'))
  else if (view.paused && view.doc) fill(el, t('pausedWhy'), { time: moment(view.pausedAt) })
  else if (view.link === 'poll') fill(el, t(view.full ? 'pollingWhy' : 'pollingBroken'))
  else if (view.several) fill(el, t('reloadWhy'))
  else show(el, false)
}
setInterval(() => {
  if (document.hidden) return
  if (stream && performance.now() - lastNews > 8000) { streamWorked = false; lost() }
  renderNotice()
  if (isStale()) renderNow()
}, 1000)

// ---- the state: what is wrong, since when, for whom, what to do

const MARKS = {
  bad: ['M6 1h8l5 5v8l-5 5H6l-5-5V6z', 'M7 7l6 6M13 7l-6 6'],
  look: ['M10 1.5L19 18H1z', 'M10 8v4.5M10 15v.5'],
  well: ['M10 1a9 9 0 100 18 9 9 0 000-18z', 'M6 10.5l3 3 5-6'],
  none: ['M10 1a9 9 0 100 18 9 9 0 000-18z', 'M6 10h.5M10 10h.5M14 10h.5']
}
function mark(state) {
  const el = svg('svg', { viewBox: '0 0 20 20', class: 'mark', 'aria-hidden': 'true' })
  el.append(svg('path', { d: MARKS[state][0], fill: 'currentColor' }),
    svg('path', { d: MARKS[state][1], stroke: 'var(--paper)', 'stroke-width': 2.2, fill: 'none', 'stroke-linecap': 'round' }))
  return el
}

const shorten = cause => cause.length > 90 ? cause.split(/; |；/)[0] : cause
const unstop = s => s.replace(/[.。]\s*$/, '')
const capital = s => s.charAt(0).toUpperCase() + s.slice(1)

function causeOf(code, own) {
  return unstop(str(explained(code)?.cause) || str(own) || code || t('unnamed'))
}
function headline(p) {
  const code = str(p.code)
  const cause = { prose: shorten(causeOf(code, p.cause)) }
  if (!KINDS.has(p.of)) {
    const whole = { prose: capital(cause.prose) }
    return str(p.subject) ? [t('troubleOf'), { cause: whole, subject: { mono: p.subject, most: 100 } }] : [t('sentence'), { cause: whole }]
  }
  const recent = num(p.recent), part = num(p.share)
  if (recent === 0) return [t('past_' + p.of), { cause }]
  if (part === undefined || (recent !== undefined && recent < 5 && part >= 1)) {
    return recent === undefined ? [t('past_' + p.of), { cause }] : [t('count_' + p.of, recent), { cause, n: number(recent) }]
  }
  return [t('share_' + p.of), { cause, share: part >= 100 ? t('allOf') : part < 1 ? t('under1') : share(part) }]
}
function plain(template, slots) {
  return template.replace(/\{(\w+)\}/g, (m, k) => {
    const v = slots[k]
    return typeof v === 'object' ? clean(v.prose ?? v.mono ?? '', 300).replaceAll('`', '') : str(v)
  })
}
function paragraphOf(el, sentences) {
  fill(el, sentences.map((_, i) => `{s${i}}`).join(t('space')), Object.fromEntries(sentences.map((s, i) => [`s${i}`, { fill: s }])))
}

// One text for what to do. The record's own hint is English and may be more exact than the vocabulary's.
function writeTodo(main, own, code, hint) {
  const fix = str(explained(code)?.fix)
  const english = str(explainedInEnglish(code)?.fix)
  const extra = lang.now !== 'en' && fix && hint && unstop(hint) !== unstop(english) ? hint : ''
  const first = lang.now === 'en' ? hint || fix : fix || hint
  prose(main, capital(unstop(first)) + (first ? (lang.now === 'zh' && fix ? '。' : '.') : ''))
  show(own, extra !== '')
  if (extra) {
    fill(own, '{a} {b}', { a: t('ownHint'), b: { prose: extra } })
    own.lastElementChild.lang = 'en'
  }
  return first !== ''
}

function makeProblem(isFirst) {
  const title = make(isFirst ? 'p' : 'span', isFirst ? 'headline' : '')
  const lead = make('p', 'lead')
  const todoTitle = make('h3'), todo = make('p'), own = make('p', 'own')
  const box = make('div', 'todo', todoTitle, todo, own)
  const facts = make('dl')
  let current = {}
  const openLast = button('main', () => openByConn(str(current.conn)))
  const listThem = button('', () => { setFilters({ reason: str(current.code) }); goTo('records') })
  const buttons = make('div', 'buttons', openLast, listThem)
  let el, sev, short
  if (isFirst) {
    const more = make('summary')
    const details = make('details', 'more-facts', more, group(facts))
    el = group(title, lead, box, buttons, details)
    el.className = 'first'
    short = more
  } else {
    sev = make('span', 'sev')
    short = make('span', 'quiet')
    el = make('details', 'problem', make('summary', '', sev, title, ' ', short), group(lead, box, buttons, facts))
  }
  return {
    el,
    update({ p }) {
      current = p
      const code = str(p.code)
      fill(title, ...headline(p))
      const since = when(p.since), last = when(p.last), count = num(p.count)
      const time = { time: since ?? 0 }
      const sentences = []
      if (since !== undefined && count !== undefined && last !== undefined && KINDS.has(p.of)) {
        sentences.push([t('beganCount', count), { time, ago: ago(since), n: number(count), last: ago(last) }])
      } else if (since !== undefined) sentences.push([t('began'), { time, ago: ago(since) }])
      const different = num(p.different_clients)
      const routes = objects(p.routes)
      const where = routes.length === 0 ? '' : { fill: [t(routes.length === 1 ? 'onRoute' : 'onRoutes'), { route: { mono: routes[0].value, most: 60 } }] }
      if (different) sentences.push([p.at_least === true ? t('affectedMore') : t('affected', different), { clients: many('clientsN', different), where }])
      const seen = str(objects(p.client_sees)[0]?.value)
      if (seen) sentences.push([t(/^\d{4}$/.test(seen) ? 'seeCode' : 'seeStatus'), { code: clean(/^[1-5]\d\d$/.test(seen) ? `HTTP ${seen}` : seen, 60) }])
      const origins = objects(p.origins)
      if (origins.length && code.startsWith('origin_')) {
        sentences.push([t(origins.length === 1 ? 'pageOrigin' : 'pageOrigins'), { origin: { mono: origins[0].value, most: 100 }, n: number(num(origins[0].count) ?? 0) }])
      }
      paragraphOf(lead, sentences)
      text(todoTitle, t(isFirst ? 'first' : 'fix'))
      show(box, writeTodo(todo, own, code, str(p.hint)))
      text(openLast, t('openLast'))
      show(openLast, str(p.conn) !== '')
      openLast.className = isFirst ? 'main' : ''
      text(listThem, t('showRecords'))
      show(listThem, view.vocabulary.reasons.has(code))
      show(buttons, !openLast.hidden || !listThem.hidden)
      pairs(facts, some([
        [t('code'), { mono: code }],
        [t('cause'), { prose: causeOf(code, p.cause) }],
        [t('subject'), { mono: p.subject }],
        [t('causedBy'), party(p.by)],
        [t('recent'), amount(p.recent)],
        [t('share'), num(p.share) === undefined || !KINDS.has(p.of) ? undefined : p.share < 1 ? '< ' + share(1) : share(p.share)],
        [t('total'), amount(count)],
        [t('last'), moment(last)],
        [t('clients'), objects(p.clients).length ? { values: objects(p.clients) } : undefined],
        [t('routes'), routes.length ? { values: routes } : undefined],
        [t('origins'), origins.length ? { values: origins } : undefined],
        [t('clientSees'), objects(p.client_sees).length ? { values: objects(p.client_sees) } : undefined]
      ]))
      if (isFirst) text(short, t(different ? 'moreFacts' : 'details'))
      else {
        const s = ['bad', 'look', 'note'].includes(p.severity) ? p.severity : 'note'
        attr(el, 'data-severity', s)
        text(sev, t({ bad: 'sevBad', look: 'sevLook', note: 'sevNote' }[s]))
        fill(short, since === undefined ? '' : '{time}, {ago}', { time, ago: since === undefined ? '' : ago(since) })
      }
    }
  }
}

const firstProblem = makeProblem(true)
const otherProblems = new Map()
const calm = (() => {
  const title = make('p', 'headline'), lead = make('p', 'lead')
  let conn = ''
  const open = button('', () => openByConn(conn))
  const el = group(title, lead, make('div', 'buttons', open))
  el.className = 'first'
  return { el, title, lead, open, setConn: v => { conn = v } }
})()
let announced = ''

function stateOf(doc, problems) {
  if (['well', 'look', 'bad'].includes(doc.state)) return doc.state
  return problems.some(p => p.severity === 'bad') ? 'bad' : problems.some(p => p.severity === 'look') ? 'look' : 'well'
}
function swap(parent, el) {
  if (parent.firstElementChild !== el || parent.childElementCount !== 1) parent.replaceChildren(el)
}

function renderNow() {
  const doc = view.doc
  const section = $('now')
  if (!doc) {
    setState('none', t('stateNone'))
    swap($('first'), calm.el)
    fill(calm.title, t('wait'))
    fill(calm.lead, '')
    show(calm.open, false)
    return
  }
  const problems = objects(doc.problems)
  const state = stateOf(doc, problems)
  const open = num(obj(doc.tunnels).open) ?? 0
  const draining = doc.phase === 'draining' || doc.phase === 'drained'
  const first = state === 'well' ? undefined : problems.find(p => p.severity !== 'note') ?? problems[0]
  const rest = problems.filter(p => p !== first)
  const tunnelCount = many('tunnelsN', open)
  let spoken
  if (first) {
    setState(state, t(state === 'bad' ? 'stateBad' : 'stateLook'))
    swap($('first'), firstProblem.el)
    firstProblem.update({ p: first })
    spoken = plain(...headline(first))
  } else {
    setState(state, t(draining ? (doc.phase === 'drained' ? 'stateDrained' : 'stateDraining') : { well: 'stateWell', look: 'stateLook', bad: 'stateBad' }[state]), draining)
    swap($('first'), calm.el)
    spoken = renderCalm(doc, open, draining, tunnelCount)
  }
  if (changed(section, state)) attr(section, 'data-state', state)
  renderRefused(doc, first && draining ? say('andDraining', { tunnels: tunnelCount }, open) : '')

  show($('others'), rest.length > 0)
  text($('others-title'), many('other', rest.length))
  sync($('others-list'), rest.map(p => ({ key: `${str(p.code)} ${str(p.subject)}`, p })), otherProblems, () => makeProblem(false), (row, item) => row.update(item))

  const key = [state, str(doc.phase), str(first?.code), str(first?.subject), lang.now].join('\u0000')
  if (key !== announced) {
    announced = key
    text($('say'), `${$('state').textContent}. ${spoken}`)
  }
  const instance = clean(doc.instance, 60)
  document.title = [state === 'well' ? '' : '(!)', first ? clean(first.code, 60) : $('state').textContent, instance, 'wsgate'].filter(Boolean).join(' · ').replace('(!) · ', '(!) ')
}
function setState(state, label, draining) {
  if (!changed($('state'), `${state} ${label} ${draining}`)) return
  $('state').replaceChildren(mark(draining ? 'none' : state), label)
}
function renderCalm(doc, open, draining, tunnelCount) {
  const minutes = objects(doc.minutes)
  const recent = minutes.slice(-6, -1)
  const handshakes = recent.reduce((a, m) => a + (num(m.opened) ?? 0) + sum(m.refused), 0)
  const f = view.filters
  const filtered = Boolean(f.route || f.reason || f.minutes < 5)
  const last = records.store.find(r => isTrouble(r.record))?.record
  const untouched = !hides(f) && open === 0 && !draining && !records.store.some(r => str(r.record.conn)) &&
    minutes.every(m => !num(m.opened) && !sum(m.refused) && !sum(m.unread) && !sum(m.requests) && !sum(m.ended))
  let said
  if (doc.phase === 'drained') said = [t('drained'), {}]
  else if (draining) said = open ? [t('draining', open), { tunnels: tunnelCount }] : [t('drainingNone'), {}]
  else if (untouched) said = [t('nothingYet'), { uptime: lasting(now() - (when(doc.started) ?? now())) }]
  else if (filtered || recent.length === 0) said = [t('wellOnly', open), { tunnels: tunnelCount }]
  else if (handshakes === 0) said = [t('wellQuiet', open), { tunnels: tunnelCount }]
  else {
    const rate = Math.max(1, Math.round(handshakes / recent.length))
    said = [t('well', open), { tunnels: tunnelCount, rate: many('handshakesN', rate) }]
  }
  fill(calm.title, ...said)
  const time = when(last?.time)
  if (last && time !== undefined) {
    fill(calm.lead, t(str(last.conn) ? 'lastProblem' : 'lastEvent'),
      { reason: { mono: str(last.reason) || str(last.event), most: 60 }, time: { time }, ago: ago(time) })
  } else fill(calm.lead, t(hides(f) ? 'noProblemFilter' : 'noProblem'))
  calm.setConn(str(last?.conn))
  text(calm.open, t('openLast'))
  show(calm.open, str(last?.conn) !== '')
  return plain(...said)
}
function isTrouble(r) {
  if (r.level === 'debug') return false
  if (r.level === 'warn' || r.level === 'error') return true
  return str(r.reason) !== '' && !ORDINARY.has(r.reason)
}
const refusedBox = { title: make('strong'), lead: make('p'), items: make('ul') }
function renderRefused(doc, extra) {
  const el = $('refused-config')
  const configuration = obj(doc.configuration)
  const refused = configuration.refused
  const is = refused !== null && typeof refused === 'object'
  show(el, is || extra !== '')
  if (!is) { if (extra) { swapText(el, extra) } return }
  if (refusedBox.title.parentNode !== el) el.replaceChildren(refusedBox.title, refusedBox.lead, refusedBox.items)
  fill(refusedBox.title, t('refusedConfig'), { n: str(configuration.generation) || '?' })
  const time = when(refused.time)
  fill(refusedBox.lead, t('refusedConfigAt'), { time: time === undefined ? '?' : { time }, ago: time === undefined ? '?' : ago(time), file: { mono: str(configuration.file) || 'proxy.yaml' } })
  const problems = list(refused.problems).map(str).filter(Boolean)
  if (problems.length === 0 && str(refused.detail)) problems.push(str(refused.detail))
  if (changed(refusedBox.items, JSON.stringify(problems))) {
    refusedBox.items.replaceChildren(...problems.slice(0, 30).map(p => make('li', '', make('bdi', 'mono', clean(p, 600)))))
  }
}
function swapText(el, s) {
  if (el.firstElementChild) el.replaceChildren()
  text(el, s)
}

// ---- charts

const chart = { bars: [], width: 0, height: 0, minutes: [], slots: 60, picked: -1, top: 1 }
function renderCharts() {
  const doc = view.doc
  const f = view.filters
  text($('charts-title'), f.minutes === 60 ? t('charts') : say('chartsN', { n: f.minutes }))
  chart.minutes = objects(doc?.minutes).slice(-60).map(m => ({
    time: when(m.time), opened: num(m.opened) ?? 0, refused: sum(m.refused), unread: sum(m.unread), source: m
  }))
  chart.slots = Math.max(f.minutes, chart.minutes.length)
  drawChart()
  const total = key => chart.minutes.reduce((a, m) => a + m[key], 0)
  text($('legend-opened'), `${t('opened')} ${number(total('opened'))}`)
  text($('legend-refused'), `${t('refused')} ${number(total('refused'))}`)
  const first = chart.minutes.find(m => m.time !== undefined), last = chart.minutes.findLast(m => m.time !== undefined)
  text($('chart-gist'), first ? say('chartGist', {
    from: clock(first.time), to: clock(last.time), opened: number(total('opened')), refused: number(total('refused')),
    max: number(Math.max(...chart.minutes.map(m => m.opened + m.refused)))
  }) : t('chartNone'))

  const totals = obj(doc?.totals)
  const before = new Map()
  for (const part of ['refused', 'unread', 'requests']) for (const [k, n] of counts(totals[part])) before.set(k, (before.get(k) ?? 0) + n)
  bars('bars-refused', [...before], () => false, code => setFilters({ reason: code }), 'barFilter')
  bars('bars-ends', counts(totals.ended), code => ORDINARY.has(code), code => setFilters({ reason: code, all: ORDINARY.has(code) || view.filters.all }), 'barFilter')
  const ended = new Set(counts(totals.ended).map(([k]) => k))
  bars('bars-codes', counts(totals.client_sees), code => code === '1000' || code === '1001' || code === '1005', code => filterByCode(code, ended), 'barCode')
}
function filterByCode(code, ended) {
  const found = new Set(records.store.filter(r => r.record.event === 'closed' && str(r.record.client_sees) === code).map(r => str(r.record.reason)))
  const word = new RegExp(`(^|\\D)${code}(\\D|$)`)
  if (/^\d+$/.test(code)) for (const reason of ended) if (word.test(str(explained(reason)?.client_sees))) found.add(reason)
  if (found.size === 0) for (const reason of ended) if (ORDINARY.has(reason) === (code === '1000' || code === '1001')) found.add(reason)
  if (found.size) setFilters({ reason: [...found].join(), all: view.filters.all || [...found].some(r => ORDINARY.has(r)) })
}

const barRows = new Map()
function bars(id, entries, isCalm, run, label) {
  const ul = $(id)
  const most = 8
  const state = barRows.get(id) ?? { rows: new Map(), order: [] }
  barRows.set(id, state)
  entries.sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
  let shown = entries.slice(0, most)
  const byCode = new Map(entries)
  if (state.order.length && (ul.matches(':hover') || ul.contains(document.activeElement)) && state.order.every(c => byCode.has(c))) {
    shown = state.order.map(c => [c, byCode.get(c)])
  }
  state.order = shown.map(e => e[0])
  const top = Math.max(1, ...shown.map(e => e[1]))
  const items = shown.map(([code, n]) => ({ key: 'c' + code, code, n }))
  if (entries.length > shown.length || shown.length === 0) items.push({ key: 'rest', rest: entries.length - shown.length })
  const notes = items.filter(i => i.rest !== undefined)
  sync(ul, items.filter(i => i.rest === undefined), state.rows, () => {
    const name = make('span', 'name'), fillBar = make('span', 'fill'), count = make('span', 'count')
    const row = { el: undefined, name, fillBar, count }
    row.button = button('bar', () => row.run(row.item.code))
    row.button.append(name, make('span', 'track', fillBar), count)
    row.el = make('li', '', row.button)
    return row
  }, (row, { code, n }) => {
    row.run = run
    text(row.name, clean(code, 60))
    text(row.count, number(n))
    const width = `${(n / top * 100).toFixed(1)}%`
    if (row.fillBar.style.width !== width) row.fillBar.style.width = width
    row.fillBar.classList.toggle('calm', isCalm(code))
    attr(row.button, 'title', say(label, { code: clean(code, 100), n: number(n) }))
  })
  state.note ??= make('li', 'quiet')
  if (notes.length) {
    text(state.note, notes[0].rest ? many('moreBars', notes[0].rest) : t('none'))
    if (ul.lastElementChild !== state.note) ul.append(state.note)
  } else state.note.remove()
}

function niceTop(n) {
  if (n <= 4) return 4
  const unit = 10 ** Math.floor(Math.log10(n))
  return [1, 2, 3, 4, 5, 6, 8, 10].map(f => f * unit).find(f => f >= n)
}
const LEFT = 44, BOTTOM = 20, TOP = 8
function drawChart() {
  const { width, height, minutes, slots } = chart
  if (!width) return
  if (!chart.svg) {
    chart.svg = svg('svg', { 'aria-hidden': 'true' })
    chart.grid = svg('g')
    chart.pick = svg('rect', { class: 'pick', width: 0, height: 0 })
    chart.plot = svg('g')
    chart.tip = make('div', 'tip')
    chart.tip.hidden = true
    chart.svg.append(chart.grid, chart.pick, chart.plot)
    $('chart').append(chart.svg, chart.tip)
  }
  const plotHeight = height - BOTTOM - TOP
  const step = (width - LEFT) / slots
  chart.step = step
  const top = chart.top = niceTop(Math.max(1, ...minutes.map(m => m.opened + m.refused)))
  const y = n => TOP + plotHeight * (1 - n / top)
  const offset = slots - minutes.length

  const every = slots > 30 ? (width < 420 ? 20 : 10) : slots > 8 ? 5 : 1
  const ticks = minutes.map((m, i) => [m, i]).filter(([m]) => m.time !== undefined && new Date(m.time).getMinutes() % every === 0)
  if (changed(chart.grid, [width, height, top, slots, lang.now, ...ticks.map(([m, i]) => `${m.time}@${i}`)].join())) {
    chart.grid.replaceChildren()
    for (const n of [0, top / 2, top]) {
      chart.grid.append(svg('line', { class: 'grid', x1: LEFT, x2: width, y1: y(n), y2: y(n) }))
      const label = svg('text', { x: LEFT - 6, y: y(n) + 4, 'text-anchor': 'end' })
      label.textContent = format.short.format(n)
      chart.grid.append(label)
    }
    for (const [m, i] of ticks) {
      const x = LEFT + (offset + i + 0.5) * step
      const label = svg('text', { x: Math.min(x, width - 18), y: height - 4, 'text-anchor': 'middle' })
      label.textContent = format.minute.format(m.time)
      chart.grid.append(label)
    }
  }
  while (chart.bars.length < minutes.length) {
    const bar = { opened: svg('rect', { class: 'calm' }), refused: svg('rect', { class: 'strong' }) }
    chart.plot.append(bar.opened, bar.refused)
    chart.bars.push(bar)
  }
  while (chart.bars.length > minutes.length) { const bar = chart.bars.pop(); bar.opened.remove(); bar.refused.remove() }
  const place = (rect, x, from, to) => {
    const high = to > from ? Math.max(1, y(from) - y(to)) : 0
    const at = [x + step * 0.1, y(from) - high, step * 0.8, high].map(v => v.toFixed(1))
    if (!changed(rect, at.join())) return
    rect.setAttribute('x', at[0]); rect.setAttribute('y', at[1]); rect.setAttribute('width', at[2]); rect.setAttribute('height', at[3])
  }
  minutes.forEach((m, i) => {
    const x = LEFT + (offset + i) * step
    place(chart.bars[i].opened, x, 0, m.opened)
    place(chart.bars[i].refused, x, m.opened, m.opened + m.refused)
  })
  attr($('chart'), 'aria-valuemax', String(Math.max(0, minutes.length - 1)))
  if (chart.picked >= minutes.length) chart.picked = -1
  pick(chart.picked)
}
function minuteSays(m) {
  return say('minuteSays', { time: m.time === undefined ? '?' : clock(m.time), opened: number(m.opened), refused: number(m.refused) })
}
function pick(i) {
  chart.picked = i
  const m = chart.minutes[i]
  const last = chart.minutes.at(-1)
  attr($('chart'), 'aria-valuenow', String(m ? i : Math.max(0, chart.minutes.length - 1)))
  attr($('chart'), 'aria-valuetext', m ? minuteSays(m) : last ? minuteSays(last) : t('chartNone'))
  if (!chart.tip) return
  show(chart.tip, Boolean(m))
  chart.pick.setAttribute('width', m ? chart.step : 0)
  if (!m) return
  const x = LEFT + (chart.slots - chart.minutes.length + i) * chart.step
  chart.pick.setAttribute('x', x)
  chart.pick.setAttribute('y', TOP)
  chart.pick.setAttribute('height', chart.height - TOP - BOTTOM)
  const lines = [minuteSays(m) + (i === chart.minutes.length - 1 ? ` (${t('running')})` : '')]
  for (const [code, n] of counts(m.source.refused).sort((a, b) => b[1] - a[1]).slice(0, 3)) lines.push(`${clean(code, 50)}: ${number(n)}`)
  if (m.unread) lines.push(many('unreadN', m.unread))
  if (changed(chart.tip, lines.join('\n'))) chart.tip.replaceChildren(...lines.map(l => make('div', '', l)))
  const right = x < chart.width / 2
  chart.tip.style.left = right ? `${x + chart.step + 6}px` : 'auto'
  chart.tip.style.right = right ? 'auto' : `${chart.width - x + 6}px`
}

// ---- records

const records = { store: [], keys: new Set(), shown: [], rows: new Map(), waiting: 0, reset: false, missed: 0, missedSince: 0, page: PAGE, flushed: false }
const recordKey = r => [r.time, r.event, r.conn, r.request_id, r.reason, str(r.detail).slice(0, 80)].map(str).join(' ')

function takeRecords(doc, isFirst) {
  const recent = obj(doc.recent)
  if (records.reset) {
    Object.assign(records, { store: [], keys: new Set(), waiting: 0, reset: false, missed: 0, page: view.filters.limit > PAGE ? 3 * PAGE : PAGE, flushed: false })
    if (!panelIsOpen()) $('records-scroll').scrollTop = 0
  }
  const fresh = []
  for (const record of objects(recent.records)) {
    const key = recordKey(record)
    if (records.keys.has(key)) continue
    records.keys.add(key)
    fresh.push({ key, record })
    if (fresh.length === KEPT) break
  }
  if (fresh.length) {
    records.store = [...fresh, ...records.store]
    for (const { key } of records.store.splice(KEPT)) records.keys.delete(key)
    records.waiting = Math.min(KEPT, records.waiting + fresh.length)
  }
  const missed = isFirst ? 0 : num(recent.missed) ?? 0
  if (missed > 0) {
    if (!records.missed) records.missedSince = now()
    records.missed += missed
  }
}
const panelIsOpen = () => $('panel').open || $('ask').open
// Whether the box is scrolled is remembered, because asking for it after a change makes the browser lay the page out at once.
const scrolled = new Set()
const pointer = matchMedia('(hover: hover)')
function reading(box) {
  return scrolled.has(box) || panelIsOpen() || (pointer.matches && box.matches(':hover')) || (box !== document.activeElement && box.contains(document.activeElement))
}
function renderRecords(force = false) {
  const f = view.filters
  const box = $('records-scroll')
  text($('records-title'), t(f.all ? 'recordsAll' : 'records'))
  if (force || !records.flushed || !reading(box)) {
    records.shown = records.store.slice(0, records.page)
    records.waiting = 0
    records.flushed = view.doc !== undefined
  }
  sync($('record-table').tBodies[0], records.shown, records.rows, createRecordRow, updateRecordRow)
  show($('new'), records.waiting > 0)
  text($('new'), many('newN', records.waiting))
  attr($('new'), 'aria-label', many('newLabel', records.waiting))

  const none = view.doc !== undefined && records.shown.length === 0
  show($('record-table'), !none)
  show($('records-none'), none)
  text($('records-none'), t(hides(f) ? 'recordsNoneFilter' : 'recordsNone'))
  const recent = obj(view.doc?.recent)
  const oldest = when(recent.oldest), remembered = num(recent.remembered)
  if (oldest !== undefined && remembered) fill($('records-count'), t('remembered', remembered), { n: number(remembered), time: moment(oldest, false) })
  else fill($('records-count'), '')
  const canPage = records.store.length > records.shown.length && records.waiting === 0
  const matching = num(recent.matching) ?? 0
  show($('records-more'), canPage || (f.limit < KEPT && matching > records.store.length && records.waiting === 0))
  show($('missed'), records.missed > 0)
  if (records.missed) fill($('missed'), t('missed', records.missed), { n: number(records.missed), time: moment(records.missedSince) })
}
function createRow(classes, className, open) {
  const row = { el: make('tr'), cells: classes.map(c => make('td', c)) }
  const run = () => open(row.item)
  row.open = button(className, run)
  row.cells[0].append(row.open)
  for (const td of row.cells) td.setAttribute('role', 'cell')
  row.el.setAttribute('role', 'row')
  row.el.append(...row.cells)
  row.el.addEventListener('click', e => {
    if (e.target.closest('button') || String(getSelection())) return
    row.open.focus({ preventScroll: true })
    run()
  })
  return row
}
function createRecordRow() {
  const row = createRow(['', '', '', 'mono', 'mono', '', ''], 'rowlink', item => openRecord(item.record))
  row.reason = make('bdi', 'mono')
  row.event = make('span', 'quiet')
  row.cells[1].append(row.reason, ' ', row.event)
  return row
}
function updateRecordRow(row, { key, record: r }) {
  if (row.drawn === key) return
  row.drawn = key
  const time = when(r.time)
  const reason = str(r.reason)
  text(row.open, time === undefined ? '?' : clock(time, true))
  row.open.title = clean(r.time, 40)
  attr(row.open, 'aria-label', `${row.open.textContent} ${clean(reason || eventWord(r), 60)}, ${t('openRecord')}`)
  text(row.reason, clean(reason || eventWord(r), 60))
  row.reason.classList.toggle('abnormal', r.level === 'warn' || r.level === 'error')
  text(row.event, reason ? eventWord(r) : '')
  text(row.cells[2], clean(party(r.by), 20))
  text(row.cells[3], clean(r.client, 60))
  text(row.cells[4], clean(r.route, 60))
  text(row.cells[5], clean(saw(r), 30))
  text(row.cells[6], clean(capital(str(explained(reason)?.cause) ? unstop(explained(reason).cause) : str(r.detail)), 160).replaceAll('`', ''))
}
const eventWord = r => Object.hasOwn(words[lang.now], 'ev_' + str(r.event)) ? t('ev_' + str(r.event)) : clean(r.event, 40)
function saw(r) {
  if (num(r.status) !== undefined && r.status !== 101) return `HTTP ${r.status}`
  return str(r.client_sees)
}

// ---- tunnels

const tunnels = { rows: new Map(), shown: [], release: true, turn: 0 }
function renderTunnels(force = false) {
  const all = obj(view.doc?.tunnels)
  const incoming = objects(all.shown).slice(0, KEPT).map((tunnel, i) => ({ key: str(tunnel.conn) || `#${i}`, tunnel }))
  const box = $('tunnels-scroll')
  const hold = !force && !tunnels.release && reading(box) && tunnels.shown.length > 0
  let differs = false
  if (hold) {
    const byKey = new Map(incoming.map(i => [i.key, i]))
    tunnels.shown = tunnels.shown.map(i => byKey.get(i.key) ?? { ...i, gone: true })
    differs = tunnels.shown.length !== incoming.length || tunnels.shown.some((i, n) => i.key !== incoming[n].key)
  } else {
    tunnels.shown = incoming
    if (view.doc) tunnels.release = false
  }
  sync($('tunnel-table').tBodies[0], tunnels.shown, tunnels.rows, createTunnelRow, updateTunnelRow)
  show($('held'), differs)
  const none = view.doc !== undefined && tunnels.shown.length === 0
  show($('tunnel-table'), !none)
  show($('tunnels-none'), none)
  const open = num(all.open) ?? 0, matching = num(all.matching) ?? open
  text($('tunnels-none'), t(open > 0 ? 'tunnelsNoneFilter' : 'tunnelsNone'))
  const n = number(incoming.length)
  text($('tunnels-count'), !view.doc ? '' : matching !== open
    ? say('tunnelsMatch', { n, matching: number(matching), total: number(open) })
    : open ? say('tunnelsShown', { n, total: number(open) }) : '')
  show($('show-max'), view.filters.limit < KEPT && matching > incoming.length)
}
const TUNNEL_NAMES = ['colAge', 'colIdle', 'colUp', 'colDown', 'colGen']
// With a thousand rows, those in sight are kept up to date, and a tenth of the others each time.
const inSight = new Map()
const watcher = new IntersectionObserver(changes => {
  for (const { target, isIntersecting } of changes) {
    const row = inSight.get(target)
    if (row) row.seen = isIntersecting
    if (row && isIntersecting) writeTraffic(row)
  }
}, { root: $('tunnels-scroll'), rootMargin: '200px' })
function createTunnelRow() {
  const row = createRow(['', 'mono', 'mono', 'n', 'n', 'n', 'n', 'n'], 'rowlink mono', item => openTunnel(item.tunnel))
  inSight.set(row.el, row)
  watcher.observe(row.el)
  row.drop = () => { watcher.unobserve(row.el); inSight.delete(row.el) }
  return row
}
function traffic(b, m) {
  const n = num(m)
  return n === undefined ? bytes(b) : `${bytes(b)}, ${many('messages', n)}`
}
function updateTunnelRow(row, { key, tunnel: x, gone }) {
  const fresh = row.drawn !== key + lang.now
  if (fresh) {
    row.drawn = key + lang.now
    text(row.open, clean(x.client, 60) || t('unnamed'))
    attr(row.open, 'aria-label', `${row.open.textContent}, ${t('openTunnel')}`)
    text(row.cells[1], clean(x.route, 60))
    text(row.cells[2], [clean(x.upstream, 40), clean(x.endpoint, 80)].filter(Boolean).join(' · '))
    text(row.cells[7], str(x.generation))
    TUNNEL_NAMES.forEach((name, i) => { row.cells[i + 3].dataset.name = t(name) })
  }
  row.el.classList.toggle('gone', gone === true)
  if (fresh || row.seen || ++tunnels.turn % 10 === 0) writeTraffic(row)
}
function writeTraffic({ cells, item: { tunnel: x, gone } }) {
  text(cells[3], gone ? t('ended') : lasting(x.age_ms))
  if (gone) return
  text(cells[4], lasting(x.idle_ms))
  text(cells[5], traffic(x.bytes_client_to_upstream, x.messages_client_to_upstream))
  text(cells[6], traffic(x.bytes_upstream_to_client, x.messages_upstream_to_client))
}

// ---- the proxy itself

function renderProxy() {
  const doc = obj(view.doc)
  text($('instance'), clean(doc.instance, 60))
  const c = obj(doc.configuration)
  const loaded = when(c.loaded)
  const warnings = list(c.warnings).map(str).filter(Boolean)
  pairs($('config'), some([
    [t('file'), { mono: c.file }],
    [t('generation'), str(c.generation)],
    [t('loaded'), loaded === undefined ? undefined : { fill: ['{time}, {ago}', { time: moment(loaded), ago: ago(loaded) }] }],
    ...warnings.slice(0, 50).map(w => [t('warnings'), { mono: w, most: 500 }]),
    ...(warnings.length ? [] : [[t('warnings'), t('noWarnings')]])
  ]))
  const conns = obj(doc.connections), p = obj(doc.process), streams = obj(doc.streams)
  const started = when(doc.started)
  const of = (n, most) => num(n) === undefined ? undefined
    : num(most) ? say('ofLimit', { n: number(n), limit: number(most), share: share(n / most * 100) }) : number(n)
  pairs($('process'), some([
    [t('version'), clean(doc.version, 60)],
    [t('instance'), { mono: doc.instance }],
    [t('phase'), { ready: t('ready'), draining: t('stateDraining'), drained: t('stateDrained') }[str(doc.phase)] ?? clean(doc.phase, 40)],
    [t('uptime'), started === undefined ? undefined : { fill: ['{d} ({time})', { d: lasting(now() - started), time: moment(started) }] }],
    [t('connections'), of(conns.open, conns.limit)],
    [t('memory'), bytes(p.memory_bytes)],
    [t('descriptors'), of(p.descriptors, p.descriptors_limit)],
    [t('cpu'), num(p.cpu_seconds) === undefined ? undefined : lasting(p.cpu_seconds * 1000)],
    [t('viewers'), of(streams.open, streams.limit)]
  ]))
  const certificates = objects(doc.certificates)
  pairs($('certificates'), certificates.map(x => {
    const days = num(x.days_left), expires = when(x.expires)
    const left = days === undefined ? '' : days < 0 || (expires !== undefined && expires < now()) ? t('expired') : many('daysLeft', days)
    const urgent = days !== undefined && days <= 30
    return [str(x.file), { fill: [expires === undefined ? '{left}' : `{left}, ${t('expires')}`, { left: urgent ? { bad: left } : left, time: expires === undefined ? '' : { time: expires } }] }]
  }))
  if (!certificates.length) pairs($('certificates'), [[t('none'), '']])
  const upstreams = objects(doc.upstreams)
  pairs($('upstreams'), upstreams.map(x => {
    const health = x.is_healthy === true ? t('healthy') : x.is_healthy === false ? { bad: t('unhealthy') } : t('unknownHealth')
    const failed = num(x.connects_failed) ?? 0
    const fails = `${t('connectsFailed')}: ${number(failed)}`
    return [str(x.upstream) || t('unnamed'), { fill: ['{endpoint} · {health} · {use} · {failed}', {
      endpoint: { mono: x.endpoint }, health, use: `${t('inUse')}: ${number(num(x.in_use) ?? 0)}`, failed: failed ? { bad: fails } : fails
    }] }]
  }))
  if (!upstreams.length) pairs($('upstreams'), [[t('none'), '']])
}

// ---- a record or a tunnel, opened

const panel = { kind: '', conn: '', update: undefined, asking: undefined, timer: 0 }
function openPanel(kind, conn, title) {
  panel.asking?.abort()
  clearTimeout(panel.timer)
  Object.assign(panel, { kind, conn, update: undefined, asking: undefined })
  $('panel-title').replaceChildren(...title)
  $('panel-body').replaceChildren()
  $('panel-body').scrollTop = 0
  if (!$('panel').open) $('panel').showModal()
  $('panel-title').focus()
  return $('panel-body')
}
async function askAbout(conn) {
  panel.asking?.abort()
  const mine = panel.asking = new AbortController()
  const limit = setTimeout(() => mine.abort(), 5000)
  try {
    const answer = await fetch('status.json' + query({ id: conn, all: true, limit: 101 }), { signal: mine.signal, cache: 'no-store' })
    if (!answer.ok) return undefined
    const doc = obj(await answer.json())
    return panel.asking === mine ? { doc, records: objects(obj(doc.recent).records), tunnel: objects(obj(doc.tunnels).shown).find(x => x.conn === conn) } : undefined
  } catch { return undefined } finally { clearTimeout(limit) }
}
async function openByConn(conn) {
  const known = records.store.find(r => r.record.conn === conn && isTrouble(r.record))?.record
  if (known) return openRecord(known)
  const body = openPanel('record', conn, [t('record')])
  body.append(make('p', 'quiet', t('loading')))
  const found = await askAbout(conn)
  if (panel.conn !== conn || !$('panel').open) return
  const record = found?.records.find(isTrouble) ?? found?.records[0]
  if (record) return openRecord(record)
  body.replaceChildren(make('p', '', t(found ? 'notRemembered' : 'loadFailed')), command(conn))
}

function copyable(title, content) {
  const pre = make('pre', '', content)
  pre.tabIndex = 0
  pre.setAttribute('aria-label', title)
  pre.setAttribute('role', 'region')
  const done = make('span', 'quiet')
  done.setAttribute('role', 'status')
  const copy = button('', async () => {
    try {
      await navigator.clipboard.writeText(content)
      text(done, t('copied'))
    } catch {
      getSelection().selectAllChildren(pre)
      text(done, t(document.execCommand('copy') ? 'copied' : 'copyFailed'))
    }
  })
  text(copy, t('copy'))
  copy.setAttribute('aria-label', `${t('copy')}: ${title}`)
  return group(pre, make('div', 'buttons', copy, done))
}
function command(conn) {
  const safe = /^[\w.:-]+$/.test(conn) ? conn : `'${clean(conn).replaceAll("'", "'\\''")}'`
  return section(t('command'), copyable(t('command'), `wsgate find --id ${safe}`))
}
const section = (title, ...content) => make('section', '', make('h3', '', title), ...content)
const quoted = s => make('p', '', make('bdi', 'mono', clean(s)))
const peer = v => str(v) === '' ? undefined : { mono: v, most: Infinity }
const code = v => { const s = str(v); return s === '1006' ? `1006 (${t('fewCode')})` : s === '1005' ? `1005 (${t('noCode')})` : s }

function story(r) {
  const ol = make('ol', 'story')
  const step = (took, title, rows, failed, ...more) => {
    const dl = make('dl')
    pairs(dl, some(rows))
    const li = make('li', failed ? 'failed' : '', make('span', 'took', took || ''), make('div', 'what', title), dl, ...more)
    ol.append(li)
  }
  const stage = STAGES.indexOf(r.stage)
  const failedAt = r.event === 'refused' || r.event === 'request' ? str(r.stage) : ''
  const attempts = objects(r.attempts)
  const hasTls = r.tls_version !== undefined || r.tls_ms !== undefined || r.sni !== undefined || r.stage === 'tls'
  const hasHead = r.path !== undefined || r.method !== undefined || r.host !== undefined || stage >= 2
  const certificate = obj(r.certificate)
  step('', t('sAccept'), [[t('from'), peer(r.peer ?? r.client)], [t('client'), r.peer ? peer(r.client) : undefined], [t('listener'), peer(r.listener)]], failedAt === 'accept')
  if (hasTls) {
    step(lasting(r.tls_ms), str(r.tls_version) ? `TLS ${clean(r.tls_version, 20)}` : t('sTls'), [
      [t('sni'), peer(r.sni)], [t('alpn'), peer(r.alpn)],
      [t('certificate'), peer([certificate.subject, certificate.serial && `${t('serial')} ${str(certificate.serial)}`, certificate.expires].map(str).filter(Boolean).join(', '))]
    ], failedAt === 'tls')
  }
  if (hasHead) {
    const line = [r.method, r.path, str(r.http_version) && `HTTP/${str(r.http_version).replace(/^HTTP\//, '')}`].map(str).filter(Boolean).join(' ')
    step(lasting(r.head_ms), t('sHttp'), [
      [t('sHttp'), peer(line)], [t('host'), peer(r.host)], [t('origin'), peer(r.origin)], [t('agent'), peer(r.user_agent)], [t('appId'), peer(r.referer_app_id)]
    ], failedAt === 'http')
  }
  if (stage >= 3 || r.route !== undefined) {
    step(lasting(r.policy_ms), t('sPolicy'), [[t('route'), peer(r.route)], [t('upstream'), peer(r.upstream)], [t('generation'), str(r.generation)]], failedAt === 'policy')
  }
  if (attempts.length || stage >= 4) {
    const connected = attempts.some(a => a.outcome === 'connected' || a.outcome === 'reused')
    const tries = make('ul')
    for (const a of attempts) {
      const li = make('li')
      const ok = a.outcome === 'connected' || a.outcome === 'reused'
      const outcome = ok ? t(a.outcome) : { bad: clean(a.outcome, 80) }
      fill(li, '{endpoint} · {outcome} · {took}', { endpoint: peer(a.endpoint) ?? '?', outcome, took: lasting(a.ms) })
      if (str(a.detail)) li.append(make('div', 'quiet mono', clean(a.detail)))
      tries.append(li)
    }
    step(lasting(r.connect_ms), t('sUpstream'), [], failedAt === 'upstream' && !connected, tries)
    if (connected || r.handshake_ms !== undefined) step(lasting(r.handshake_ms ?? r.response_ms), t(r.event === 'request' ? 'sAnswer' : 'sHandshake'), [], failedAt === 'upstream' && connected)
  }
  const end = when(r.ended_at) ?? when(r.time)
  if (r.event === 'closed') {
    const opened = end !== undefined && num(r.lasted_ms) !== undefined ? end - r.lasted_ms : undefined
    step('', t('sTunnel'), [[t('colTime'), moment(opened)]])
  }
  if (num(r.bytes_client_to_upstream) !== undefined || num(r.bytes_upstream_to_client) !== undefined) {
    step(r.event === 'closed' ? lasting(r.lasted_ms) : '', t('sTraffic'), [
      [t('toUpstream'), traffic(r.bytes_client_to_upstream, r.messages_client_to_upstream)],
      [t('toClient'), traffic(r.bytes_upstream_to_client, r.messages_upstream_to_client)],
      [t('idle'), lasting(r.idle_ms)],
      [t('pings'), num(r.pings) === undefined && num(r.pongs) === undefined ? undefined : `${number(num(r.pings) ?? 0)} / ${number(num(r.pongs) ?? 0)}`],
      [t('stallC'), lasting(r.write_stall_client_ms)], [t('stallU'), lasting(r.write_stall_upstream_ms)]
    ])
  }
  if (r.event === 'closed') {
    const both = (c, s) => [code(c), str(s)].filter(Boolean).join(' ')
    const first = PARTIES.has(r.first_close) ? say('firstClose', { by: party(r.first_close) }) : t('noClose')
    step('', first, [
      [t('codeClient'), peer(both(r.close_code_client, r.close_reason_client))],
      [t('codeUpstream'), peer(both(r.close_code_upstream, r.close_reason_upstream))],
      [t('codeProxy'), peer(str(r.close_code_proxy))]
    ])
  }
  const title = r.event === 'closed' ? 'sEnd' : r.event === 'refused' ? 'sRefused' : r.event === 'request' ? 'sBroken' : ''
  step('', title ? t(title) : eventWord(r), [
    [t('reason'), peer(r.reason)], [t('causedBy'), clean(party(r.by), 40)],
    [t('status'), num(r.status) === undefined ? '' : str(r.status)], [t('clientSees'), code(r.client_sees)],
    [t('colTime'), end === undefined ? undefined : { fill: ['{time} ({ago})', { time: moment(end), ago: ago(end) }] }],
    [t('lasted'), r.event === 'closed' ? undefined : lasting(r.lasted_ms)],
    [t('closeWait'), lasting(r.close_wait_ms)]
  ], isTrouble(r))
  if (failedAt && stage >= 0 && stage < 5) {
    const rest = STAGES.slice(stage + 1).filter(s => s !== 'tls' || hasTls).map(s => t(STAGE_WORD[s]))
    return group(ol, make('p', 'quiet', say('notReached', { list: rest.join(t('listSep')) })))
  }
  return ol
}

function openRecord(r) {
  const reason = str(r.reason)
  const title = make('span', 'mono', clean(reason || eventWord(r), 100))
  const conn = str(r.conn)
  const body = openPanel('record', conn, [title])
  const cause = str(explained(reason)?.cause)
  if (cause) { const p = make('p', 'lead'); prose(p, capital(unstop(cause)) + (lang.now === 'zh' ? '。' : '.')); body.append(p) }
  if (conn) body.append(section(t('story'), story(r)))
  if (str(r.detail)) body.append(section(t('detail'), quoted(r.detail)))
  const suspect = obj(r.suspect)
  if (str(suspect.hop) || str(suspect.timer)) {
    const p = make('p')
    fill(p, t('suspectIs'), { hop: { mono: str(suspect.hop) || '?' }, timer: { mono: str(suspect.timer) || '?' } })
    body.append(section(t('suspect'), p))
  }
  const notes = list(r.notes).map(n => typeof n === 'string' ? { code: n } : obj(n))
  if (notes.length) {
    body.append(section(t('notes'), ...notes.map(n => {
      const p = make('p')
      fill(p, '{code} {what} {detail}', { code: { mono: n.code }, what: { prose: str(view.vocabulary.notes.get(str(n.code))) }, detail: { mono: n.detail, most: Infinity } })
      return p
    })))
  }
  const problems = list(r.problems).map(str).filter(Boolean)
  if (problems.length) body.append(section(t('problems'), ...problems.map(p => quoted(p))))
  const todo = make('p'), own = make('p', 'own')
  if (writeTodo(todo, own, reason || str(r.event), str(r.hint))) body.append(make('div', 'todo', make('h3', '', t('fix')), todo, own))

  if (conn) {
    const others = group(make('p', 'quiet', t('loading')))
    body.append(section(t('sameConn'), others), command(conn))
    const only = button('', () => { $('panel').close(); setFilters({ id: conn, reason: '', route: '', client: '', all: true }); goTo('records') })
    text(only, t('onlyThis'))
    body.append(make('div', 'buttons', only))
    askAbout(conn).then(found => { if (others.isConnected) writeOthers(others, r, found) })
  }
  const details = make('details', '', make('summary', '', t('raw')), copyable(t('raw'), JSON.stringify(r, null, 2).replace(UNSEEN, c => '\\u' + c.codePointAt(0).toString(16).padStart(4, '0'))))
  details.open = true
  body.append(details)
}
function writeOthers(el, r, found) {
  const own = recordKey(r)
  const rest = (found ? found.records : records.store.map(x => x.record).filter(x => x.conn === r.conn)).filter(x => recordKey(x) !== own)
  const items = rest.slice(0, 100).map(x => {
    const b = button('rowlink', () => openRecord(x))
    const time = when(x.time)
    fill(b, '{time} {event} {reason}', { time: moment(time) ?? '?', event: eventWord(x), reason: { mono: x.reason } })
    return make('div', '', b)
  })
  if (found?.tunnel) {
    const b = button('rowlink', () => openTunnel(found.tunnel))
    text(b, `${t('sNow')}: ${t('openTunnel')}`)
    items.push(make('div', '', b))
  }
  el.replaceChildren(...(items.length ? items : [make('p', 'quiet', t(found ? 'sameNone' : 'loadFailed'))]))
  if (items.length && !found) el.append(make('p', 'quiet', t('loadFailed')))
}

function openTunnel(first) {
  let x = first
  const conn = str(x.conn)
  const body = openPanel('tunnel', conn, [`${t('tunnel')} `, make('bdi', 'mono', clean(x.client, 60))])
  const facts = make('dl'), says = make('p', 'result'), others = group()
  says.setAttribute('role', 'status')
  const close = button('danger', () => askToClose(x, says))
  text(close, t('closeTunnel'))
  const write = () => {
    const opened = when(x.opened_at)
    pairs(facts, some([
      [t('route'), peer(x.route)], [t('upstream'), peer(x.upstream)], [t('endpoint'), peer(x.endpoint)],
      [t('sTunnel'), moment(opened)],
      [t('colAge'), lasting(x.age_ms)], [t('colIdle'), lasting(x.idle_ms)],
      [t('toUpstream'), traffic(x.bytes_client_to_upstream, x.messages_client_to_upstream)],
      [t('toClient'), traffic(x.bytes_upstream_to_client, x.messages_upstream_to_client)],
      [t('client'), peer(x.client)], [t('host'), peer(x.host)], [t('sHttp'), peer(x.path)], [t('origin'), peer(x.origin)], [t('agent'), peer(x.user_agent)],
      [t('generation'), str(x.generation)], ['conn', peer(conn)], ['request_id', peer(x.request_id)], ['trace_id', peer(x.trace_id)]
    ]))
  }
  write()
  body.append(facts, says)
  if (token && conn) body.append(make('div', 'buttons', close))
  else body.append(make('p', 'quiet', t('closeOff')))
  body.append(others)
  if (conn) body.append(command(conn))
  const here = () => $('panel').open && facts.isConnected
  const refresh = async () => {
    const found = document.hidden ? undefined : await askAbout(conn)
    if (!here()) return
    if (found?.tunnel) { x = found.tunnel; write() }
    else if (found) {
      close.disabled = true
      if (!$('ask').open) text(says, says.textContent || t('tunnelGone'))
      others.replaceChildren(make('h3', '', t('sameConn')), group())
      writeOthers(others.lastElementChild, Object.create(null), found)
      return
    }
    panel.timer = setTimeout(refresh, 4000)
  }
  if (conn) panel.timer = setTimeout(refresh, 2000)
  panel.update = doc => {
    const known = objects(obj(doc.tunnels).shown).find(y => y.conn === conn)
    if (known && here()) { x = known; write() }
  }
}

let closing
function askToClose(x, says) {
  closing = { conn: str(x.conn), says }
  fill($('ask-text'), t('closeWhat'), { client: { mono: str(x.client) || '?', most: 80 }, route: { mono: str(x.route) || '?', most: 80 }, age: lasting(x.age_ms) || '?' })
  text($('ask-says'), '')
  $('ask-go').disabled = false
  $('ask').showModal()
  $('ask-name').focus()
}
async function closeTunnel() {
  const { conn, says } = closing
  const q = new URLSearchParams({ conn })
  const name = $('ask-name').value.trim()
  if (name) q.set('name', name)
  $('ask-go').disabled = true
  text($('ask-says'), t('closing'))
  const limit = new AbortController()
  const timeout = setTimeout(() => limit.abort(), 10000)
  let result
  try {
    const answer = await fetch(`close?${q}`, { method: 'POST', headers: { 'X-Wsgate-Token': token }, signal: limit.signal })
    const said = clean(await answer.text(), 300).trim()
    result = answer.status === 202 ? t('close202')
      : answer.status === 403 ? say('close403', { text: said })
      : answer.status === 404 ? t('close404')
      : say('closeOther', { status: answer.status, text: said })
  } catch { result = t('closeSilent') } finally { clearTimeout(timeout) }
  $('ask').close()
  text(says, result)
}

// ---- all together

function render() {
  const keepPlace = !CSS.supports('overflow-anchor', 'auto') && scrollY > 0
    ? [...document.querySelectorAll('main > section')].find(s => s.getBoundingClientRect().bottom > 80) : undefined
  const before = keepPlace?.getBoundingClientRect().top
  renderNow()
  writeForm()
  renderFilters()
  renderCharts()
  renderRecords()
  renderTunnels()
  renderProxy()
  if (view.doc && $('panel').open) panel.update?.(view.doc)
  if (keepPlace) scrollBy(0, keepPlace.getBoundingClientRect().top - before)
}
function forgetRows() {
  for (const row of records.rows.values()) row.drawn = undefined
}
function translate() {
  for (const el of document.querySelectorAll('[data-t]')) text(el, t(el.dataset.t))
  for (const el of document.querySelectorAll('[data-label]')) attr(el, 'aria-label', t(el.dataset.label))
  for (const el of document.querySelectorAll('[data-hint]')) attr(el, 'placeholder', t(el.dataset.hint))
  const other = $('language')
  other.lang = lang.now === 'zh' ? 'en' : 'zh-CN'
  attr(other, 'aria-label', t('languageLabel'))
  text($('pause'), t(view.paused ? 'resume' : 'pause'))
  setLink(view.link)
}
function switchLang() {
  const name = lang.now === 'zh' ? 'en' : 'zh'
  let stored = true
  try { localStorage.setItem('wsgate-lang', name) } catch { stored = false }
  const q = new URLSearchParams(location.search)
  if (!stored || q.has('lang')) {
    q.set('lang', name)
    history.replaceState(null, '', `${location.pathname}?${q}`)
  }
  setLang(name)
  view.vocabulary = emptyVocabulary()
  translate()
  forgetRows()
  render()
  loadVocabulary()
}
function goTo(id) {
  $(id).scrollIntoView()
  $(id).focus({ preventScroll: true })
}

$('filters').addEventListener('submit', e => { e.preventDefault(); readForm() })
$('filters').addEventListener('change', readForm)
$('clear').addEventListener('click', clearFilters)
$('sort').addEventListener('change', () => setFilters({ sort: $('sort').value }))
$('show-max').addEventListener('click', () => setFilters({ limit: KEPT }))
$('pause').addEventListener('click', () => setPaused(!view.paused))
$('language').addEventListener('click', switchLang)
$('new').addEventListener('click', () => {
  $('records-scroll').scrollTop = 0
  renderRecords(true)
  $('records-scroll').focus({ preventScroll: true })
})
$('records-more').addEventListener('click', () => {
  if (records.store.length > records.page) { records.page = Math.min(KEPT, records.page + 200); renderRecords(true) }
  else setFilters({ limit: KEPT })
})
$('held-refresh').addEventListener('click', () => { $('tunnels-scroll').scrollTop = 0; renderTunnels(true) })
for (const [id, run] of [['records-scroll', () => renderRecords()], ['tunnels-scroll', () => renderTunnels()]]) {
  $(id).addEventListener('pointerleave', run)
  $(id).addEventListener('scroll', () => {
    if ($(id).scrollTop > 4) scrolled.add($(id))
    else if (scrolled.delete($(id))) run()
  }, { passive: true })
}
$('panel-close').addEventListener('click', () => $('panel').close())
// The event comes later than the call, when another record may have been opened already.
$('panel').addEventListener('close', () => {
  if ($('panel').open) return
  panel.asking?.abort()
  clearTimeout(panel.timer)
  panel.update = undefined
  $('panel-body').replaceChildren()
})
for (const id of ['panel', 'ask']) $(id).addEventListener('click', e => { if (e.target === $(id)) $(id).close() })
$('ask-cancel').addEventListener('click', () => $('ask').close())
$('ask-form').addEventListener('submit', e => { e.preventDefault(); closeTunnel() })

$('chart').addEventListener('pointermove', e => {
  const i = Math.floor((e.clientX - $('chart').getBoundingClientRect().left - LEFT) / chart.step) - (chart.slots - chart.minutes.length)
  pick(i >= 0 && i < chart.minutes.length ? i : -1)
})
$('chart').addEventListener('pointerleave', () => { if (document.activeElement !== $('chart')) pick(-1) })
$('chart').addEventListener('focus', () => { if ($('chart').matches(':focus-visible') && chart.picked < 0) pick(chart.minutes.length - 1) })
$('chart').addEventListener('blur', () => pick(-1))
$('chart').addEventListener('keydown', e => {
  const last = chart.minutes.length - 1
  const at = chart.picked < 0 ? last : chart.picked
  const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: last, PageDown: at - 10, PageUp: at + 10 }[e.key]
  if (to === undefined) return
  e.preventDefault()
  pick(Math.max(0, Math.min(last, to)))
})
new ResizeObserver(([entry]) => {
  chart.width = Math.floor(entry.contentRect.width)
  chart.height = Math.floor(entry.contentRect.height)
  drawChart()
}).observe($('chart'))

document.addEventListener('visibilitychange', () => {
  if (document.hidden) disconnect()
  else if (!view.paused) { view.brokenSince = 0; attempt = 0; view.receivedAt && (lastNews = performance.now()); connect() }
})
addEventListener('pagehide', disconnect)
addEventListener('pageshow', e => { if (e.persisted) connect() })
addEventListener('popstate', () => { view.filters = readFilters(); filtersChanged() })

// On a phone the tables are laid out as cards, which would take their meaning away from screen readers.
for (const [selector, role] of [['table', 'table'], ['thead, tbody', 'rowgroup'], ['tr', 'row'], ['th', 'columnheader']]) {
  for (const el of document.querySelectorAll(selector)) el.setAttribute('role', role)
}
setLang(readLang())
if (matchMedia('(min-width: 60rem)').matches) $('filter-details').open = true
translate()
render()
loadVocabulary()
connect()
