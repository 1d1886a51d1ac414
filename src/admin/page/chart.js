// The chart of the handshakes of each minute.
import { $, attr, changed, make, show, svg, text } from './dom.js'
import { clock, many, minute, number, say, short, t } from './language.js'
import { state } from './state.js'
import { clean, counts, num, objects, sum, when } from './values.js'

const LEFT = 44, BOTTOM = 20, TOP = 8
const chart = { bars: [], width: 0, height: 0, minutes: [], slots: 60, picked: -1 }

export function renderChart() {
  const shown = state.filters.minutes
  text($('charts-title'), shown === 60 ? t('charts') : say('chartsN', { n: shown }))
  chart.minutes = objects(state.doc?.minutes).slice(-60).map(m => ({
    time: when(m.time), opened: num(m.opened) ?? 0, refused: sum(m.refused), unread: sum(m.unread), source: m
  }))
  chart.slots = Math.max(shown, chart.minutes.length)
  drawChart()
  const total = key => chart.minutes.reduce((a, m) => a + m[key], 0)
  text($('legend-opened'), `${t('opened')} ${number(total('opened'))}`)
  text($('legend-refused'), `${t('refused')} ${number(total('refused'))}`)
  const first = chart.minutes.find(m => m.time !== undefined), last = chart.minutes.findLast(m => m.time !== undefined)
  text($('chart-gist'), first ? say('chartGist', {
    from: clock(first.time), to: clock(last.time), opened: number(total('opened')), refused: number(total('refused')),
    max: number(Math.max(...chart.minutes.map(m => m.opened + m.refused)))
  }) : t('chartNone'))
}

function niceTop(n) {
  if (n <= 4) return 4
  const unit = 10 ** Math.floor(Math.log10(n))
  return [1, 2, 3, 4, 5, 6, 8, 10].map(f => f * unit).find(f => f >= n)
}
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
  const top = niceTop(Math.max(1, ...minutes.map(m => m.opened + m.refused)))
  const y = n => TOP + plotHeight * (1 - n / top)
  const offset = slots - minutes.length

  const every = slots > 30 ? (width < 420 ? 20 : 10) : slots > 8 ? 5 : 1
  const ticks = minutes.map((m, i) => [m, i]).filter(([m]) => m.time !== undefined && new Date(m.time).getMinutes() % every === 0)
  if (changed(chart.grid, [width, height, top, slots, state.lang, ...ticks.map(([m, i]) => `${m.time}@${i}`)].join())) {
    chart.grid.replaceChildren()
    for (const n of [0, top / 2, top]) {
      chart.grid.append(svg('line', { class: 'grid', x1: LEFT, x2: width, y1: y(n), y2: y(n) }))
      const label = svg('text', { x: LEFT - 6, y: y(n) + 4, 'text-anchor': 'end' })
      label.textContent = short(n)
      chart.grid.append(label)
    }
    for (const [m, i] of ticks) {
      const x = LEFT + (offset + i + 0.5) * step
      const label = svg('text', { x: Math.min(x, width - 18), y: height - 4, 'text-anchor': 'middle' })
      label.textContent = minute(m.time)
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
