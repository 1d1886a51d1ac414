// The headline and the problems: whether all is well.
import { openById } from './details.js'
import { $, attr, button, changed, make, show, svg, sync, text } from './dom.js'
import { fill } from './fill.js'
import { hides } from './filters.js'
import { ago, lasting, many, say, t } from './language.js'
import { headline, makeProblem } from './problem.js'
import { now, state } from './state.js'
import { clean, idOf, list, num, obj, objects, str, sum, when } from './values.js'
import { isTrouble } from './vocabulary.js'

const WORDS = { well: 'stateWell', look: 'stateLook', bad: 'stateBad' }
const MARKS = {
  bad: ['M6 1h8l5 5v8l-5 5H6l-5-5V6z', 'M7 7l6 6M13 7l-6 6'],
  look: ['M10 1.5L19 18H1z', 'M10 8v4.5M10 15v.5'],
  well: ['M10 1a9 9 0 100 18 9 9 0 000-18z', 'M6 10.5l3 3 5-6'],
  none: ['M10 1a9 9 0 100 18 9 9 0 000-18z', 'M6 10h.5M10 10h.5M14 10h.5']
}
function mark(level) {
  const el = svg('svg', { viewBox: '0 0 20 20', class: 'mark', 'aria-hidden': 'true' })
  el.append(svg('path', { d: MARKS[level][0], fill: 'currentColor' }),
    svg('path', { d: MARKS[level][1], stroke: 'var(--paper)', 'stroke-width': 2.2, fill: 'none', 'stroke-linecap': 'round' }))
  return el
}

function plain(template, slots) {
  return template.replace(/\{(\w+)\}/g, (m, k) => {
    const v = slots[k]
    return typeof v === 'object' ? clean(v.prose ?? v.mono ?? '', 300).replaceAll('`', '') : str(v)
  })
}

const firstProblem = makeProblem(true)
const otherProblems = new Map()
const calm = { title: make('p', 'headline'), lead: make('p', 'lead'), open: button('', () => openById(calm.id)), id: '' }
calm.el = make('div', 'first', calm.title, calm.lead, make('div', 'buttons', calm.open))
const refusedBox = { title: make('strong'), lead: make('p'), items: make('ul') }
let announced = ''

function levelOf(doc, problems) {
  if (['well', 'look', 'bad'].includes(doc.state)) return doc.state
  return problems.some(p => p.severity === 'bad') ? 'bad' : problems.some(p => p.severity === 'look') ? 'look' : 'well'
}
function swap(parent, el) {
  if (parent.firstElementChild !== el || parent.childElementCount !== 1) parent.replaceChildren(el)
}

export function renderNow() {
  const doc = state.doc
  if (!doc) {
    setState('none', t('stateNone'))
    swap($('first'), calm.el)
    fill(calm.title, t('wait'))
    fill(calm.lead, '')
    show(calm.open, false)
    return
  }
  const problems = objects(doc.problems)
  const level = levelOf(doc, problems)
  const open = num(obj(doc.tunnels).open) ?? 0
  const draining = doc.phase === 'draining' || doc.phase === 'drained'
  const first = level === 'well' ? undefined : problems.find(p => p.severity !== 'note') ?? problems[0]
  const rest = problems.filter(p => p !== first)
  const tunnelCount = many('tunnelsN', open)
  let spoken
  if (first) {
    setState(level, t(WORDS[level]))
    swap($('first'), firstProblem.el)
    firstProblem.update({ p: first })
    spoken = plain(...headline(first))
  } else {
    setState(level, t(draining ? (doc.phase === 'drained' ? 'stateDrained' : 'stateDraining') : WORDS[level]), draining)
    swap($('first'), calm.el)
    spoken = renderCalm(doc, open, draining, tunnelCount)
  }
  attr($('now'), 'data-state', level)
  renderRefused(doc, first && draining ? say('andDraining', { tunnels: tunnelCount }, open) : '')

  show($('others'), rest.length > 0)
  text($('others-title'), many('other', rest.length))
  sync($('others-list'), rest.map(p => ({ key: `${str(p.code)} ${str(p.subject)}`, p })), otherProblems, () => makeProblem(false), (row, item) => row.update(item))

  const key = [level, str(doc.phase), str(first?.code), str(first?.subject), state.lang].join('\u0000')
  if (key !== announced) {
    announced = key
    text($('say'), `${$('state').textContent}. ${spoken}`)
  }
  const instance = clean(doc.instance, 60)
  document.title = [level === 'well' ? '' : '(!)', first ? clean(first.code, 60) : $('state').textContent, instance, 'wsgate'].filter(Boolean).join(' · ').replace('(!) · ', '(!) ')
}
function setState(level, label, draining = false) {
  if (!changed($('state'), `${level} ${label} ${draining}`)) return
  $('state').replaceChildren(mark(draining ? 'none' : level), label)
}
function renderCalm(doc, open, draining, tunnelCount) {
  const minutes = objects(doc.minutes)
  const recent = minutes.slice(-6, -1)
  const handshakes = recent.reduce((a, m) => a + (num(m.opened) ?? 0) + sum(m.refused), 0)
  const f = state.filters
  const filtered = Boolean(f.route || f.reason || f.minutes < 5)
  const last = state.records.find(r => isTrouble(r.record))?.record
  const untouched = !hides(f) && open === 0 && !draining && !state.records.some(r => str(r.record.conn)) &&
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
  calm.id = last ? idOf(last) : ''
  text(calm.open, t('openLast'))
  show(calm.open, calm.id !== '')
  return plain(...said)
}

function renderRefused(doc, extra) {
  const el = $('refused-config')
  const configuration = obj(doc.configuration)
  const refused = configuration.refused
  const is = refused !== null && typeof refused === 'object'
  show(el, is || extra !== '')
  if (!is) { if (extra) text(el, extra); return }
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
