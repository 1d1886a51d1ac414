// Fills the places of texts, so that what comes from the proxy stays apart from the words around it.
import { attr, changed, make, text } from './dom.js'
import { clock, number, say, t } from './language.js'
import { state } from './state.js'
import { clean, num, str } from './values.js'

// Texts of the vocabulary mark code with backticks.
export function prose(el, s) {
  const whole = clean(s)
  if (!changed(el, whole)) return
  el.replaceChildren(...whole.split('`').map((part, i) => i % 2 ? make('code', '', part) : part))
}

// What may stand in a place {name}: text, or one of
// { mono } text of a peer, { time } a moment, { prose }, { fill: [template, slots] }, { values: [{ value, count }] }, { bad } a warning.
const slotKind = v => typeof v === 'object' && v !== null ? Object.keys(v)[0] : 'text'
function slotNode(kind) {
  switch (kind) {
    case 'text': return document.createTextNode('')
    case 'mono': return make('bdi', 'mono')
    case 'time': return make('time')
    case 'bad': return make('span', 'abnormal')
    default: return make('span')
  }
}
function setSlot(node, kind, v) {
  switch (kind) {
    case 'text': { const s = str(v); if (node.data !== s) node.data = s; break }
    case 'mono': text(node, clean(v.mono, v.most ?? 200)); break
    case 'time': {
      text(node, clock(v.time, v.seconds))
      const utc = new Date(v.time).toISOString()
      attr(node, 'datetime', utc)
      attr(node, 'title', utc.replace('T', ' ').replace('Z', ' UTC'))
      break
    }
    case 'prose': prose(node, v.prose); break
    case 'bad': text(node, v.bad); break
    case 'fill': fill(node, ...v.fill); break
    case 'values': {
      const items = v.values.slice(0, 8)
      if (!changed(node, JSON.stringify(items) + state.lang)) break
      node.replaceChildren()
      items.forEach((x, i) => {
        if (i) node.append(t('listSep'))
        node.append(make('bdi', 'mono', clean(x.value, 200)))
        const n = num(x.count)
        if (n !== undefined) node.append(` (${x.approximate === true ? say('approx', { n: number(n) }) : number(n)})`)
      })
    }
  }
}
const placesOf = new WeakMap()
export function fill(el, template, slots = {}) {
  const parts = template.split(/\{(\w+)\}/)
  const kinds = parts.map((p, i) => i % 2 ? slotKind(slots[p]) : p).join('\u0000')
  if (changed(el, kinds)) {
    const places = []
    el.replaceChildren(...parts.map((p, i) => {
      if (i % 2 === 0) return p
      const kind = slotKind(slots[p])
      const node = slotNode(kind)
      places.push([p, kind, node])
      return node
    }))
    placesOf.set(el, places)
  }
  for (const [name, kind, node] of placesOf.get(el)) setSlot(node, kind, slots[name])
}

export function pairs(dl, rows) {
  if (changed(dl, rows.map(r => r[0]).join('\u0000'))) {
    dl.classList.add('pairs')
    dl.replaceChildren(...rows.flatMap(([name]) => [make('dt', '', clean(name, 200)), make('dd')]))
  }
  rows.forEach(([, v], i) => fill(dl.children[i * 2 + 1], '{v}', { v }))
}
export const moment = (ms, seconds = true) => ms === undefined ? undefined : { time: ms, seconds }
export const amount = v => num(v) === undefined ? undefined : number(v)
export const some = rows => rows.filter(([, v]) => v !== undefined && v !== '' && !(typeof v === 'object' && 'mono' in v && str(v.mono) === ''))
