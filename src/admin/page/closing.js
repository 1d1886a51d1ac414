// Asks whether to close a tunnel, and closes it.
import { $, text } from './dom.js'
import { fill } from './fill.js'
import { lasting, say, t } from './language.js'
import { clean, num, str } from './values.js'

const token = document.querySelector('meta[name="wsgate-token"]')?.content ?? ''
export const canClose = token !== ''

let closing
export function askToClose(x, says) {
  const stream = num(x.stream_id)
  closing = { conn: str(x.conn), stream, says }
  const words = stream === undefined ? t('closeWhat') : t('closeWhat') + t('space') + t('closeStream')
  fill($('ask-text'), words, { n: str(stream), client: { mono: str(x.client) || '?', most: 80 }, route: { mono: str(x.route) || '?', most: 80 }, age: lasting(x.age_ms) || '?' })
  text($('ask-says'), '')
  $('ask-go').disabled = false
  $('ask').showModal()
  $('ask-name').focus()
}
async function closeTunnel() {
  const { conn, stream, says } = closing
  const q = new URLSearchParams({ conn })
  if (stream !== undefined) q.set('stream_id', stream)
  const name = $('ask-name').value.trim()
  if (name) q.set('name', name)
  $('ask-go').disabled = true
  text($('ask-says'), t('closing'))
  const limit = new AbortController()
  const timeout = setTimeout(() => limit.abort(), 10000)
  let result
  try {
    const answer = await fetch(`close?${q}`, { method: 'POST', headers: { 'X-Wsgate-Token': token }, signal: limit.signal })
    const said = clean(await answer.text(), 300).trim()
    result = answer.status === 202 ? t('close202')
      : answer.status === 403 ? say('close403', { text: said })
      : answer.status === 404 ? t('close404')
      : say('closeOther', { status: answer.status, text: said })
  } catch { result = t('closeSilent') } finally { clearTimeout(timeout) }
  $('ask').close()
  text(says, result)
}

$('ask-cancel').addEventListener('click', () => $('ask').close())
$('ask-form').addEventListener('submit', e => { e.preventDefault(); closeTunnel() })
