// The filters: in the address, in the form, and in words.
import { $, options, show } from './dom.js'
import { fill } from './fill.js'
import { many, number, t } from './language.js'
import { KEPT, state } from './state.js'
import { clean, list, num, obj, str } from './values.js'

const SORTS = { newest: 'newest', oldest: 'oldest', idle: 'idleSort', bytes: 'bytesSort' }
const TEXTS = ['route', 'reason', 'client', 'id']
export const PAGE = 100

// What the page does not know stays in the request, so that the proxy says what is wrong with it.
function readFilters() {
  const filters = { route: '', reason: '', client: '', id: '', minutes: 60, all: false, sort: 'newest', limit: PAGE, wrong: [] }
  const upTo = (most, v) => /^\d{1,4}$/.test(v) && v >= 1 && v <= most ? Number(v) : undefined
  const known = new Map([
    ...TEXTS.map(name => [name, v => v]),
    ['minutes', v => upTo(60, v)],
    ['all', v => v === '1' ? true : v === '0' ? false : undefined],
    ['sort', v => Object.hasOwn(SORTS, v) ? v : undefined],
    ['limit', v => upTo(KEPT, v)]
  ])
  for (const [name, v] of [...new URLSearchParams(location.search)].slice(0, 20)) {
    if (name === 'lang' || v === '') continue
    const value = known.get(name)?.(v.slice(0, 300))
    if (value === undefined) filters.wrong.push([name.slice(0, 50), v.slice(0, 300)])
    else filters[name] = value
  }
  return filters
}
// As the end of an address; whatever has its usual value is left out.
export function query(filters = state.filters) {
  const q = new URLSearchParams()
  for (const name of TEXTS) if (filters[name]) q.set(name, filters[name])
  if (filters.minutes && filters.minutes !== 60) q.set('minutes', filters.minutes)
  if (filters.all) q.set('all', '1')
  if (filters.sort && filters.sort !== 'newest') q.set('sort', filters.sort)
  if (filters.limit && filters.limit !== PAGE) q.set('limit', filters.limit)
  for (const [name, v] of filters.wrong ?? []) q.append(name, v)
  const s = q.toString()
  return s ? '?' + s : ''
}
export function setFilters(change) {
  const before = query()
  Object.assign(state.filters, { wrong: [] }, change)
  if (query() === before) return
  const q = new URLSearchParams(query())
  const keep = new URLSearchParams(location.search).get('lang')
  if (keep) q.set('lang', keep)
  const s = q.toString()
  history.pushState(null, '', location.pathname + (s ? '?' + s : ''))
  filtersChanged()
}

const followers = []
export const whenFiltersChange = run => followers.push(run)
function filtersChanged() {
  // First, because the number of matching records is that of the filters before.
  for (const run of followers) run()
  writeForm()
  renderFilters()
}

export const hides = f => Boolean(f.route || f.reason || f.client || f.id || f.minutes !== 60 || f.wrong.length)

export function writeForm() {
  const f = state.filters
  const form = $('filters').elements
  options(form.route, [...new Set(['', ...list(state.doc?.routes).map(str), f.route])].map(v => [v, v ? clean(v, 100) : t('any')]))
  options(form.minutes, [...new Set([5, 15, 60, f.minutes])].sort((a, b) => a - b).map(n => [n, n === 60 ? t('minutesHour') : many('minutesN', n)]))
  options($('sort'), Object.entries(SORTS).map(([v, key]) => [v, t(key)]))
  for (const name of [...TEXTS, 'minutes']) {
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
export function renderFilters() {
  const f = state.filters
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
  for (const [i, [name, v]] of f.wrong.entries()) { parts.push(`{w${i}}`); slots[`w${i}`] = { mono: `${name}=${v}`, most: 100 } }
  const sentences = [t('filterOn').replace('{list}', parts.join(t('listSep')))]
  const remembered = num(obj(state.doc?.recent).remembered)
  if (remembered !== undefined && state.matching !== undefined) {
    sentences.push(t('filterRecords').replace('{n}', '{matching}').replace('{total}', '{remembered}'))
    slots.matching = number(state.matching)
    slots.remembered = number(remembered)
  }
  if (f.client || f.id) sentences.push(t('filterCharts'))
  if (f.reason) sentences.push(t('filterTunnels'))
  if (hides(f)) sentences.push(t('filterState'))
  fill($('filter-text'), sentences.join(t('space')), slots)
}

state.filters = readFilters()
$('filters').addEventListener('submit', e => { e.preventDefault(); readForm() })
$('filters').addEventListener('change', readForm)
$('clear').addEventListener('click', clearFilters)
$('sort').addEventListener('change', () => setFilters({ sort: $('sort').value }))
addEventListener('popstate', () => { state.filters = readFilters(); filtersChanged() })
