// A record or a tunnel, opened.
import { askToClose, canClose } from './closing.js'
import { $, button, goTo, group, make, text } from './dom.js'
import { fill, moment, pairs, prose, some } from './fill.js'
import { setFilters } from './filters.js'
import { eventWord, lasting, t, traffic } from './language.js'
import { askAbout, command, copyable, openPanel, panel, peer, quoted, section } from './panel.js'
import { recordKey, state } from './state.js'
import { story } from './story.js'
import { clean, list, obj, objects, str, UNSEEN, when } from './values.js'
import { explained, isTrouble, sentence, writeTodo } from './vocabulary.js'

export async function openByConn(conn) {
  const known = state.records.find(r => r.record.conn === conn && isTrouble(r.record))?.record
  if (known) return openRecord(known)
  const body = openPanel(conn, t('record'))
  body.append(make('p', 'quiet', t('loading')))
  const found = await askAbout(conn)
  if (panel.conn !== conn || !$('panel').open) return
  const record = found?.records.find(isTrouble) ?? found?.records[0]
  if (record) return openRecord(record)
  body.replaceChildren(make('p', '', t(found ? 'notRemembered' : 'loadFailed')), command(conn))
}

export function openRecord(r) {
  const reason = str(r.reason)
  const title = make('span', 'mono', clean(reason || eventWord(r), 100))
  const conn = str(r.conn)
  const body = openPanel(conn, title)
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
  const rest = (found ? found.records : state.records.map(x => x.record).filter(x => x.conn === r.conn)).filter(x => recordKey(x) !== own)
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

export function openTunnel(first) {
  let x = first
  const conn = str(x.conn)
  const body = openPanel(conn, `${t('tunnel')} `, make('bdi', 'mono', clean(x.client, 60)))
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
  if (canClose && conn) body.append(make('div', 'buttons', close))
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
