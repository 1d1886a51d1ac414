// Writes into the page. Nodes whose text did not change are left alone, so that focus and selection survive.

export const $ = id => document.getElementById(id)

export function make(tag, className, ...children) {
  const el = document.createElement(tag)
  if (className) el.className = className
  el.append(...children)
  return el
}
export function svg(tag, attributes = {}) {
  const el = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [k, v] of Object.entries(attributes)) el.setAttribute(k, v)
  return el
}
export function text(el, s) {
  const only = el.firstChild
  if (only?.nodeType === 3 && !only.nextSibling) {
    if (only.data !== s) only.data = s
  } else if (only || s) {
    el.textContent = s
  }
}
export function attr(el, name, value) {
  if (value === undefined) el.removeAttribute(name)
  else if (el.getAttribute(name) !== value) el.setAttribute(name, value)
}
export const show = (el, yes) => { if (el.hidden === yes) el.hidden = !yes }
export const group = (...children) => make('div', '', ...children)

export function button(className, run) {
  const el = make('button', className)
  el.type = 'button'
  el.addEventListener('click', run)
  return el
}

const memory = new WeakMap()
export function changed(el, signature) {
  if (memory.get(el) === signature) return false
  memory.set(el, signature)
  return true
}

// Rows by key. A row that is no longer wanted shows a new item instead, at its place if possible.
export function sync(parent, items, rows, create, update) {
  const wanted = new Set()
  const unique = items.filter(i => !wanted.has(i.key) && wanted.add(i.key))
  const free = new Map()
  for (const [key, row] of rows) if (!wanted.has(key)) { rows.delete(key); free.set(row.el, row) }
  let at = parent.firstElementChild
  for (const item of unique) {
    let row = rows.get(item.key)
    if (row) {
      while (free.has(at)) { const gone = at; at = at.nextElementSibling; gone.remove() }
    } else {
      row = free.get(at) ?? free.values().next().value ?? create()
      free.delete(row.el)
      rows.set(item.key, row)
    }
    row.item = item
    update(row, item)
    if (row.el === at) at = at.nextElementSibling
    else parent.insertBefore(row.el, at)
  }
  for (const [el, row] of free) { el.remove(); row.drop?.() }
}

export function options(select, entries) {
  if (!changed(select, JSON.stringify(entries))) return
  select.replaceChildren(...entries.map(([value, label]) => {
    const o = make('option', '', label)
    o.value = value
    return o
  }))
}

export function goTo(id) {
  $(id).scrollIntoView()
  $(id).focus({ preventScroll: true })
}
