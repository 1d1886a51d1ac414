// Reads values that may not be trusted.

// Everything that the proxy sends may hold text of the internet, and any field may be missing.
// It reaches the page only as text, and names from it are never used as keys of plain objects.
export const isObject = v => v !== null && typeof v === 'object' && !Array.isArray(v)

export const num = v => typeof v === 'number' && Number.isFinite(v) ? v : undefined
export const str = v => typeof v === 'string' ? v : num(v) === undefined ? '' : String(v)
export const list = v => Array.isArray(v) ? v : []
export const obj = v => isObject(v) ? v : Object.create(null)
export const objects = v => list(v).filter(isObject)
export const when = v => { const ms = typeof v === 'string' ? Date.parse(v) : NaN; return Number.isNaN(ms) ? undefined : ms }
export const counts = v => Object.entries(obj(v)).map(([k, n]) => [k, num(n) ?? 0]).filter(([, n]) => n > 0)
export const sum = v => counts(v).reduce((a, [, n]) => a + n, 0)

// Characters that change the direction or can't be seen are spelled out.
export const UNSEEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g
export function clean(v, most = Infinity) {
  const s = str(v)
  const cut = s.length > most ? s.slice(0, most) + '…' : s
  return cut.replace(UNSEEN, c => `\\u{${c.codePointAt(0).toString(16)}}`)
}

// The id of a request: that of its connection, or over HTTP/2 of its stream.
export const idOf = x => str(x.conn) && num(x.stream_id) !== undefined ? `${str(x.conn)}-${x.stream_id}` : str(x.conn)

export const unstop = s => s.replace(/[.。]\s*$/, '')
export const capital = s => s.charAt(0).toUpperCase() + s.slice(1)
