// The table of records.
import { openRecord } from './details.js'
import { $, attr, make, show, sync, text } from './dom.js'
import { fill, moment } from './fill.js'
import { hides, PAGE, setFilters, whenFiltersChange } from './filters.js'
import { clock, eventWord, many, number, party, t } from './language.js'
import { KEPT, now, recordKey, state } from './state.js'
import { createRow, panelIsOpen, reading, whenLeft } from './tables.js'
import { capital, clean, num, obj, objects, str, unstop, when } from './values.js'
import { explained } from './vocabulary.js'

const records = { keys: new Set(), shown: [], rows: new Map(), waiting: 0, reset: false, missed: 0, missedSince: 0, page: PAGE, flushed: false }

export function takeRecords(isFirst) {
  const recent = obj(state.doc.recent)
  if (records.reset) {
    state.records = []
    Object.assign(records, { keys: new Set(), waiting: 0, reset: false, missed: 0, page: state.filters.limit > PAGE ? 3 * PAGE : PAGE, flushed: false })
    if (!panelIsOpen()) $('records-scroll').scrollTop = 0
  }
  // A later event counts only the records that are new in it.
  state.matching = Math.min(num(recent.remembered) ?? Infinity, (isFirst ? 0 : state.matching ?? 0) + (num(recent.matching) ?? 0))
  const fresh = []
  for (const record of objects(recent.records)) {
    const key = recordKey(record)
    if (records.keys.has(key)) continue
    records.keys.add(key)
    fresh.push({ key, record })
    if (fresh.length === KEPT) break
  }
  if (fresh.length) {
    state.records = [...fresh, ...state.records]
    for (const { key } of state.records.splice(KEPT)) records.keys.delete(key)
    records.waiting = Math.min(KEPT, records.waiting + fresh.length)
  }
  const missed = isFirst ? 0 : num(recent.missed) ?? 0
  if (missed > 0) {
    if (!records.missed) records.missedSince = now()
    records.missed += missed
  }
}
export function renderRecords(force = false) {
  const f = state.filters
  const box = $('records-scroll')
  text($('records-title'), t(f.all ? 'recordsAll' : 'records'))
  if (force || !records.flushed || !reading(box)) {
    records.shown = state.records.slice(0, records.page)
    records.waiting = 0
    records.flushed = state.doc !== undefined
  }
  sync($('record-table').tBodies[0], records.shown, records.rows, createRecordRow, updateRecordRow)
  show($('new'), records.waiting > 0)
  text($('new'), many('newN', records.waiting))
  attr($('new'), 'aria-label', many('newLabel', records.waiting))

  const none = state.doc !== undefined && records.shown.length === 0
  show($('record-table'), !none)
  show($('records-none'), none)
  text($('records-none'), t(hides(f) ? 'recordsNoneFilter' : 'recordsNone'))
  const recent = obj(state.doc?.recent)
  const oldest = when(recent.oldest), remembered = num(recent.remembered)
  if (oldest !== undefined && remembered) fill($('records-count'), t('remembered', remembered), { n: number(remembered), time: moment(oldest, false) })
  else fill($('records-count'), '')
  const canPage = state.records.length > records.shown.length && records.waiting === 0
  const matching = state.matching ?? 0
  show($('records-more'), canPage || (f.limit < KEPT && matching > state.records.length && records.waiting === 0))
  show($('missed'), records.missed > 0)
  if (records.missed) fill($('missed'), t('missed', records.missed), { n: number(records.missed), time: moment(records.missedSince) })
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
  text(row.cells[6], clean(capital(unstop(str(explained(reason)?.cause)) || str(r.detail)), 160).replaceAll('`', ''))
}
function saw(r) {
  if (num(r.status) !== undefined && r.event !== 'closed' && r.event !== 'opened') return `HTTP ${r.status}`
  return str(r.client_sees)
}

// After another language or vocabulary, all rows are to be written anew.
export function forgetRows() {
  for (const row of records.rows.values()) row.drawn = undefined
}

whenFiltersChange(() => {
  records.reset = true
  state.matching = undefined
})
whenLeft($('records-scroll'), () => renderRecords())
$('new').addEventListener('click', () => {
  $('records-scroll').scrollTop = 0
  renderRecords(true)
  $('records-scroll').focus({ preventScroll: true })
})
$('records-more').addEventListener('click', () => {
  if (state.records.length > records.page) { records.page = Math.min(KEPT, records.page + 200); renderRecords(true) }
  else setFilters({ limit: KEPT })
})
