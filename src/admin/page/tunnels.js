// The table of open tunnels.
import { openTunnel } from './details.js'
import { $, attr, show, sync, text } from './dom.js'
import { setFilters, whenFiltersChange } from './filters.js'
import { lasting, number, say, t, traffic } from './language.js'
import { KEPT, state } from './state.js'
import { createRow, reading, whenLeft } from './tables.js'
import { clean, idOf, num, obj, objects, str } from './values.js'

const tunnels = { rows: new Map(), shown: [], release: true, turn: 0 }
export function renderTunnels(force = false) {
  const all = obj(state.doc?.tunnels)
  const incoming = objects(all.shown).slice(0, KEPT).map((tunnel, i) => ({ key: idOf(tunnel) || `#${i}`, tunnel }))
  const box = $('tunnels-scroll')
  const hold = !force && !tunnels.release && reading(box) && tunnels.shown.length > 0
  let differs = false
  if (hold) {
    const byKey = new Map(incoming.map(i => [i.key, i]))
    tunnels.shown = tunnels.shown.map(i => byKey.get(i.key) ?? { ...i, gone: true })
    differs = tunnels.shown.length !== incoming.length || tunnels.shown.some((i, n) => i.key !== incoming[n].key)
  } else {
    tunnels.shown = incoming
    if (state.doc) tunnels.release = false
  }
  sync($('tunnel-table').tBodies[0], tunnels.shown, tunnels.rows, createTunnelRow, updateTunnelRow)
  show($('held'), differs)
  const none = state.doc !== undefined && tunnels.shown.length === 0
  show($('tunnel-table'), !none)
  show($('tunnels-none'), none)
  const open = num(all.open) ?? 0, matching = num(all.matching) ?? open
  text($('tunnels-none'), t(open > 0 ? 'tunnelsNoneFilter' : 'tunnelsNone'))
  const n = number(incoming.length)
  text($('tunnels-count'), !state.doc ? '' : matching !== open
    ? say('tunnelsMatch', { n, matching: number(matching), total: number(open) })
    : open ? say('tunnelsShown', { n, total: number(open) }) : '')
  show($('show-max'), state.filters.limit < KEPT && matching > incoming.length)
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
function updateTunnelRow(row, { key, tunnel: x, gone }) {
  const fresh = row.drawn !== key + state.lang
  if (fresh) {
    row.drawn = key + state.lang
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

whenFiltersChange(() => { tunnels.release = true })
whenLeft($('tunnels-scroll'), () => renderTunnels())
$('show-max').addEventListener('click', () => setFilters({ limit: KEPT }))
$('held-refresh').addEventListener('click', () => { $('tunnels-scroll').scrollTop = 0; renderTunnels(true) })
