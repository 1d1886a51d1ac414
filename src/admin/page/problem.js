// One problem: what is wrong, since when, for whom, and what to do.
import { openById } from './details.js'
import { attr, button, goTo, group, make, show, text } from './dom.js'
import { amount, fill, moment, pairs, some } from './fill.js'
import { setFilters } from './filters.js'
import { ago, many, number, party, share, t } from './language.js'
import { state } from './state.js'
import { capital, clean, idOf, num, objects, str, when } from './values.js'
import { causeOf, writeTodo } from './vocabulary.js'

const KINDS = new Set(['handshakes', 'ends', 'connections', 'requests'])
const shorten = cause => cause.length > 90 ? cause.split(/; |；/)[0] : cause

export function headline(p) {
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
function paragraphOf(el, sentences) {
  fill(el, sentences.map((_, i) => `{s${i}}`).join(t('space')), Object.fromEntries(sentences.map((s, i) => [`s${i}`, { fill: s }])))
}

export function makeProblem(isFirst) {
  const title = make(isFirst ? 'p' : 'span', isFirst ? 'headline' : '')
  const lead = make('p', 'lead')
  const todoTitle = make('h3'), todo = make('p'), own = make('p', 'own')
  const box = make('div', 'todo', todoTitle, todo, own)
  const facts = make('dl')
  let current = {}
  const openLast = button('main', () => openById(idOf(current)))
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
      const upstreams = objects(p.upstreams)
      if (upstreams.length && p.by !== 'client') {
        sentences.push([t(upstreams.length === 1 ? 'theUpstream' : 'theUpstreams'), { upstream: { mono: upstreams[0].value, most: 100 } }])
      }
      paragraphOf(lead, sentences)
      text(todoTitle, t(isFirst ? 'first' : 'fix'))
      show(box, writeTodo(todo, own, code, str(p.hint)))
      text(openLast, t('openLast'))
      show(openLast, str(p.conn) !== '')
      openLast.className = isFirst ? 'main' : ''
      text(listThem, t('showRecords'))
      show(listThem, state.vocabulary.reasons.has(code))
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
        [t('upstreams'), upstreams.length ? { values: upstreams } : undefined],
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
