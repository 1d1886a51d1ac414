// What the parts of the page share.
import { str } from './values.js'

export const KEPT = 1000

export const state = {
  lang: 'en',
  // The last document of the proxy, the value of performance.now() when it came, and the proxy's own time then.
  doc: undefined,
  receivedAt: 0,
  clockAt: 0,
  // Only filters.js sets them.
  filters: undefined,
  // { key, record }, newest first, at most KEPT.
  records: [],
  // How many remembered records match the filters.
  matching: undefined,
  // What the codes mean in the language of the page, and in English: see vocabulary.js.
  vocabulary: undefined,
  english: undefined
}

export const now = () => state.doc ? state.clockAt + (performance.now() - state.receivedAt) : Date.now()
export const recordKey = r => [r.time, r.event, r.conn, r.stream_id, r.request_id, r.reason, str(r.detail).slice(0, 80)].map(str).join(' ')
