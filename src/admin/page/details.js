// A record or a tunnel, opened.
import { askToClose, canClose } from './closing.js'
import { $, button, goTo, group, make, text } from './dom.js'
import { fill, moment, pairs, prose, some } from './fill.js'
import { setFilters } from './filters.js'
import { eventWord, lasting, say, t, traffic } from './language.js'
import { askAbout, command, copyable, openPanel, panel, peer, quoted, section } from './panel.js'
import { recordKey, state } from './state.js'
import { story } from './story.js'
import { clean, idOf, list, num, obj, objects, str, UNSEEN, when } from './values.js'
import { explained, isTrouble, sentence, writeTodo } from './vocabulary.js'

export async function openById(id) {
  const known = state.records.find(r => idOf(r.record) === id && isTrouble(r.record))?.record
  if (known) return openRecord(known)
  const body = openPanel(id, t('record'))
  body.append(make('p', 'quiet', t('loading')))
  const found = await askAbout(id)
  if (panel.id !== id || !$('panel').open) return
  // The other streams of a connection have records of their own.
  const own = found?.records.filter(x => idOf(x) === id) ?? []
  const record = own.find(isTrouble) ?? own[0]
  if (record) return openRecord(record)
  body.replaceChildren(make('p', '', t(found ? 'notRemembered' : 'loadFailed')), command(id))
}

export function openRecord(r) {
  const reason = str(r.reason)
  const title = make('span', 'mono', clean(reason || eventWord(r), 100))
  const conn = str(r.conn), id = idOf(r)
  const body = openPanel(id, title)
  const cause = str(explained(reason)?.cause)
  if (cause) { const p = make('p', 'lead'); prose(p, sentence(cause, state.lang === 'zh')); body.append(p) }
  const todo = make('p'), own = make('p', 'own')
  if (writeTodo(todo, own, reason || str(r.event), str(r.hint))) body.append(make('div', 'todo', make('h3', '', t('fix')), todo, own))
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
      fill(p, '{code} {what} {detail}', { code: { mono: n.code }, what: { prose: str(state.vocabulary.notes.get(str(n.code))) }, detail: { mono: n.detail, most: Infinity } })
      return p
    })))
  }
  const problems = list(r.problems).map(str).filter(Boolean)
  if (problems.length) body.append(section(t('problems'), ...problems.map(p => quoted(p))))

  if (conn) {
    const others = group(make('p', 'quiet', t('loading')))
    body.append(section(t('sameConn'), others), command(id))
    const only = button('', () => { $('panel').close(); setFilters({ id: conn, reason: '', route: '', client: '', all: true }); goTo('records') })
    text(only, t('onlyThis'))
    body.append(make('div', 'buttons', only))
    askAbout(conn).then(found => { if (others.isConnected) writeOthers(others, conn, recordKey(r), found) })
  }
  const details = make('details', '', make('summary', '', t('raw')), copyable(t('raw'), JSON.stringify(r, null, 2).replace(UNSEEN, c => '\\u' + c.codePointAt(0).toString(16).padStart(4, '0'))))
  details.open = true
  body.append(details)
}
const streamOf = x => num(x.stream_id) === undefined ? '' : say('streamN', { n: x.stream_id })
function writeOthers(el, conn, own, found) {
  const rest = (found ? found.records : state.records.map(x => x.record).filter(x => x.conn === conn)).filter(x => recordKey(x) !== own)
  const items = rest.slice(0, 100).map(x => {
    const b = button('rowlink', () => openRecord(x))
    const time = when(x.time)
    fill(b, '{time} {event} {reason} {stream}', { time: moment(time) ?? '?', event: eventWord(x), reason: { mono: x.reason }, stream: streamOf(x) })
    return make('div', '', b)
  })
  for (const x of (found?.tunnels ?? []).filter(x => x.conn === conn)) {
    const b = button('rowlink', () => openTunnel(x))
    text(b, `${t('sNow')}: ${t('openTunnel')} ${streamOf(x)}`.trimEnd())
    items.push(make('div', '', b))
  }
  el.replaceChildren(...(items.length ? items : [make('p', 'quiet', t(found ? 'sameNone' : 'loadFailed'))]))
  if (items.length && !found) el.append(make('p', 'quiet', t('loadFailed')))
}

export function openTunnel(first) {
  let x = first
  const conn = str(x.conn), id = idOf(x)
  const body = openPanel(id, `${t('tunnel')} `, make('bdi', 'mono', clean(x.client, 60)))
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
      [t('generation'), str(x.generation)], ['conn', peer(conn)], [t('stream'), str(x.stream_id)], ['request_id', peer(x.request_id)], ['trace_id', peer(x.trace_id)]
    ]))
  }
  write()
  body.append(facts, says)
  if (canClose && conn) body.append(make('div', 'buttons', close))
  else body.append(make('p', 'quiet', t('closeOff')))
  body.append(others)
  if (conn) body.append(command(id))
  const here = () => $('panel').open && facts.isConnected
  const refresh = async () => {
    const found = document.hidden ? undefined : await askAbout(id)
    if (!here()) return
    const open = found?.tunnels.find(y => idOf(y) === id)
    if (open) { x = open; write() }
    else if (found) {
      close.disabled = true
      if (!$('ask').open) text(says, says.textContent || t('tunnelGone'))
      others.replaceChildren(make('h3', '', t('sameConn')), group())
      writeOthers(others.lastElementChild, conn, '', found)
      return
    }
    panel.timer = setTimeout(refresh, 4000)
  }
  if (conn) panel.timer = setTimeout(refresh, 2000)
  panel.update = doc => {
    const known = objects(obj(doc.tunnels).shown).find(y => idOf(y) === id)
    if (known && here()) { x = known; write() }
  }
}
