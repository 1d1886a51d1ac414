// What the tables of records and of tunnels have in common: rows that can be opened, and staying as they are while someone reads.
import { $, button, make } from './dom.js'

export const panelIsOpen = () => $('panel').open || $('ask').open
// Whether the box is scrolled is remembered, because asking for it after a change makes the browser lay the page out at once.
const scrolled = new Set()
const pointer = matchMedia('(hover: hover)')
export function reading(box) {
  return scrolled.has(box) || panelIsOpen() || (pointer.matches && box.matches(':hover')) || (box !== document.activeElement && box.contains(document.activeElement))
}

// Writes the table anew when the reader has left it.
export function whenLeft(box, run) {
  box.addEventListener('pointerleave', run)
  box.addEventListener('scroll', () => {
    if (box.scrollTop > 4) scrolled.add(box)
    else if (scrolled.delete(box)) run()
  }, { passive: true })
}

export function createRow(classes, className, open) {
  const row = { el: make('tr'), cells: classes.map(c => make('td', c)) }
  const run = () => open(row.item)
  row.open = button(className, run)
  row.cells[0].append(row.open)
  for (const td of row.cells) td.setAttribute('role', 'cell')
  row.el.setAttribute('role', 'row')
  row.el.append(...row.cells)
  row.el.addEventListener('click', e => {
    if (e.target.closest('button') || String(getSelection())) return
    row.open.focus({ preventScroll: true })
    run()
  })
  return row
}

// On a phone the tables are laid out as cards, which would take their meaning away from screen readers.
for (const [selector, role] of [['table', 'table'], ['thead, tbody', 'rowgroup'], ['tr', 'row'], ['th', 'columnheader']]) {
  for (const el of document.querySelectorAll(selector)) el.setAttribute('role', role)
}
