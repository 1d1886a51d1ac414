// The panel in which a record or a tunnel is opened, and its parts.
import { $, button, group, make, text } from './dom.js'
import { query } from './filters.js'
import { t } from './language.js'
import { clean, obj, objects, str } from './values.js'

export const panel = { id: '', update: undefined, asking: undefined, timer: 0 }
function leave() {
  panel.asking?.abort()
  clearTimeout(panel.timer)
  panel.update = panel.asking = undefined
}
export function openPanel(id, ...title) {
  leave()
  panel.id = id
  $('panel-title').replaceChildren(...title)
  $('panel-body').replaceChildren()
  $('panel-body').scrollTop = 0
  if (!$('panel').open) $('panel').showModal()
  $('panel-title').focus()
  return $('panel-body')
}
// What is remembered of a connection, or over HTTP/2 of one of its streams, and its open tunnels.
export async function askAbout(id) {
  panel.asking?.abort()
  const mine = panel.asking = new AbortController()
  const limit = setTimeout(() => mine.abort(), 5000)
  try {
    const answer = await fetch('status.json' + query({ id, all: true, limit: 101 }), { signal: mine.signal, cache: 'no-store' })
    if (!answer.ok) return undefined
    const doc = obj(await answer.json())
    return panel.asking === mine ? { doc, records: objects(obj(doc.recent).records), tunnels: objects(obj(doc.tunnels).shown) } : undefined
  } catch { return undefined } finally { clearTimeout(limit) }
}
export function copyable(title, content) {
  const pre = make('pre', '', content)
  pre.tabIndex = 0
  pre.setAttribute('aria-label', title)
  pre.setAttribute('role', 'region')
  const done = make('span', 'quiet')
  done.setAttribute('role', 'status')
  const copy = button('', async () => {
    try {
      await navigator.clipboard.writeText(content)
      text(done, t('copied'))
    } catch {
      getSelection().selectAllChildren(pre)
      text(done, t(document.execCommand('copy') ? 'copied' : 'copyFailed'))
    }
  })
  text(copy, t('copy'))
  copy.setAttribute('aria-label', `${t('copy')}: ${title}`)
  return group(pre, make('div', 'buttons', copy, done))
}
export function command(id) {
  const safe = /^[\w.:-]+$/.test(id) ? id : `'${clean(id).replaceAll("'", "'\\''")}'`
  return section(t('command'), copyable(t('command'), `wsgate find --id ${safe}`))
}
export const section = (title, ...content) => make('section', '', make('h3', '', title), ...content)
export const quoted = s => make('p', '', make('bdi', 'mono', clean(s)))
export const peer = v => str(v) === '' ? undefined : { mono: v, most: Infinity }

$('panel-close').addEventListener('click', () => $('panel').close())
// The event comes later than the call, when another record may have been opened already.
$('panel').addEventListener('close', () => {
  if ($('panel').open) return
  leave()
  $('panel-body').replaceChildren()
})
// A click beside a dialog closes it.
for (const id of ['panel', 'ask']) $(id).addEventListener('click', e => { if (e.target === $(id)) $(id).close() })
