// The proxy itself: configuration, process, certificates, upstreams.
import { $, text } from './dom.js'
import { moment, pairs, some } from './fill.js'
import { ago, bytes, lasting, many, number, say, share, t } from './language.js'
import { now, state } from './state.js'
import { clean, list, num, obj, objects, str, when } from './values.js'

export function renderProxy() {
  const doc = obj(state.doc)
  text($('instance'), clean(doc.instance, 60))
  const c = obj(doc.configuration)
  const loaded = when(c.loaded)
  const warnings = list(c.warnings).map(str).filter(Boolean)
  pairs($('config'), some([
    [t('file'), { mono: c.file }],
    [t('generation'), str(c.generation)],
    [t('loaded'), loaded === undefined ? undefined : { fill: ['{time}, {ago}', { time: moment(loaded), ago: ago(loaded) }] }],
    ...warnings.slice(0, 50).map(w => [t('warnings'), { mono: w, most: 500 }]),
    ...(warnings.length ? [] : [[t('warnings'), t('noWarnings')]])
  ]))
  const conns = obj(doc.connections), p = obj(doc.process), streams = obj(doc.streams)
  const started = when(doc.started)
  const of = (n, most) => num(n) === undefined ? undefined
    : num(most) ? say('ofLimit', { n: number(n), limit: number(most), share: share(n / most * 100) }) : number(n)
  pairs($('process'), some([
    [t('version'), clean(doc.version, 60)],
    [t('instance'), { mono: doc.instance }],
    [t('phase'), { ready: t('ready'), draining: t('stateDraining'), drained: t('stateDrained') }[str(doc.phase)] ?? clean(doc.phase, 40)],
    [t('uptime'), started === undefined ? undefined : { fill: ['{d} ({time})', { d: lasting(now() - started), time: moment(started) }] }],
    [t('connections'), of(conns.open, conns.limit)],
    [t('memory'), bytes(p.memory_bytes)],
    [t('descriptors'), of(p.descriptors, p.descriptors_limit)],
    [t('cpu'), num(p.cpu_seconds) === undefined ? undefined : lasting(p.cpu_seconds * 1000)],
    [t('viewers'), of(streams.open, streams.limit)]
  ]))
  const certificates = objects(doc.certificates)
  pairs($('certificates'), certificates.map(x => {
    const days = num(x.days_left), expires = when(x.expires)
    const left = days === undefined ? '' : days < 0 || (expires !== undefined && expires < now()) ? t('expired') : many('daysLeft', days)
    const urgent = days !== undefined && days <= 30
    return [str(x.file), { fill: [expires === undefined ? '{left}' : `{left}, ${t('expires')}`, { left: urgent ? { bad: left } : left, time: expires === undefined ? '' : { time: expires } }] }]
  }))
  if (!certificates.length) pairs($('certificates'), [[t('none'), '']])
  const upstreams = objects(doc.upstreams)
  pairs($('upstreams'), upstreams.map(x => {
    const health = x.is_checked === false ? t('unknownHealth') : x.is_healthy === true ? t('healthy') : x.is_healthy === false ? { bad: t('unhealthy') } : t('unknownHealth')
    const failed = num(x.connects_failed) ?? 0
    const fails = `${t('connectsFailed')}: ${number(failed)}`
    return [str(x.upstream) || t('unnamed'), { fill: ['{endpoint} · {health} · {use} · {failed}', {
      endpoint: { mono: x.endpoint }, health, use: `${t('inUse')}: ${number(num(x.in_use) ?? 0)}`, failed: failed ? { bad: fails } : fails
    }] }]
  }))
  if (!upstreams.length) pairs($('upstreams'), [[t('none'), '']])
}
