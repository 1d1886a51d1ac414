// The story of a connection, from accept to end, as its record tells it.
import { group, make } from './dom.js'
import { fill, moment, pairs, some } from './fill.js'
import { ago, eventWord, lasting, number, PARTIES, party, say, t, traffic } from './language.js'
import { peer } from './panel.js'
import { capital, clean, num, obj, objects, str, when } from './values.js'
import { isTrouble } from './vocabulary.js'

const STAGES = ['accept', 'tls', 'http', 'policy', 'upstream', 'tunnel']
const code = v => { const s = str(v); return s === '1006' ? `1006 (${t('fewCode')})` : s === '1005' ? `1005 (${t('noCode')})` : s }
const isConnected = attempt => attempt.outcome === 'connected' || attempt.outcome === 'reused'

export function story(r) {
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
      [t('sHttp'), peer(line)], [t('stream'), str(r.stream_id)], [t('host'), peer(r.host)], [t('origin'), peer(r.origin)], [t('agent'), peer(r.user_agent)], [t('appId'), peer(r.referer_app_id)]
    ], failedAt === 'http')
  }
  if (stage >= 3 || r.route !== undefined) {
    step(lasting(r.policy_ms), t('sPolicy'), [[t('route'), peer(r.route)], [t('upstream'), peer(r.upstream)], [t('generation'), str(r.generation)]], failedAt === 'policy')
  }
  if (attempts.length || stage >= 4) {
    const connected = attempts.some(isConnected)
    const tries = make('ul')
    for (const a of attempts) {
      const li = make('li')
      const outcome = isConnected(a) ? t(a.outcome) : { bad: clean(a.outcome, 80) }
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
    const rest = STAGES.slice(stage + 1).filter(s => s !== 'tls' || hasTls).map(s => t('s' + capital(s)))
    return group(ol, make('p', 'quiet', say('notReached', { list: rest.join(t('listSep')) })))
  }
  return ol
}
