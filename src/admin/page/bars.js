// The bars: how often each reason and each code came.
import { $, attr, button, make, sync, text } from './dom.js'
import { setFilters } from './filters.js'
import { many, number, say, t } from './language.js'
import { state } from './state.js'
import { clean, counts, obj, str } from './values.js'
import { explained, ORDINARY } from './vocabulary.js'

export function renderBars() {
  const totals = obj(state.doc?.totals)
  const before = new Map()
  for (const part of ['refused', 'unread', 'requests']) for (const [k, n] of counts(totals[part])) before.set(k, (before.get(k) ?? 0) + n)
  bars('bars-refused', [...before], () => false, code => setFilters({ reason: code }), 'barFilter')
  bars('bars-ends', counts(totals.ended), code => ORDINARY.has(code), code => setFilters({ reason: code, all: ORDINARY.has(code) || state.filters.all }), 'barFilter')
  const ended = new Set(counts(totals.ended).map(([k]) => k))
  bars('bars-codes', counts(totals.client_sees), code => code === '1000' || code === '1001' || code === '1005', code => filterByCode(code, ended), 'barCode')
}
function filterByCode(code, ended) {
  const found = new Set(state.records.filter(r => r.record.event === 'closed' && str(r.record.client_sees) === code).map(r => str(r.record.reason)))
  const word = new RegExp(`(^|\\D)${code}(\\D|$)`)
  if (/^\d+$/.test(code)) for (const reason of ended) if (word.test(str(explained(reason)?.client_sees))) found.add(reason)
  if (found.size === 0) for (const reason of ended) if (ORDINARY.has(reason) === (code === '1000' || code === '1001')) found.add(reason)
  if (found.size) setFilters({ reason: [...found].join(), all: state.filters.all || [...found].some(r => ORDINARY.has(r)) })
}

const lists = new Map()
function bars(id, entries, isCalm, run, label) {
  const ul = $(id)
  if (!lists.has(id)) lists.set(id, { rows: new Map(), order: [], note: make('li', 'quiet') })
  const { rows, order, note } = lists.get(id)
  entries.sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
  let shown = entries.slice(0, 8)
  const byCode = new Map(entries)
  // No bar moves away from the pointer or the focus.
  if (order.length && (ul.matches(':hover') || ul.contains(document.activeElement)) && order.every(c => byCode.has(c))) {
    shown = order.map(c => [c, byCode.get(c)])
  }
  lists.get(id).order = shown.map(e => e[0])
  const top = Math.max(1, ...shown.map(e => e[1]))
  sync(ul, shown.map(([code, n]) => ({ key: code, code, n })), rows, () => {
    const name = make('span', 'name'), fillBar = make('span', 'fill'), count = make('span', 'count')
    const row = { name, fillBar, count }
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
  const rest = entries.length - shown.length
  if (rest || !shown.length) {
    text(note, rest ? many('moreBars', rest) : t('none'))
    if (ul.lastElementChild !== note) ul.append(note)
  } else note.remove()
}
