// Puts the page together.
import { renderBars } from './bars.js'
import { renderChart } from './chart.js'
import { $, attr, text } from './dom.js'
import { renderFilters, writeForm } from './filters.js'
import { readLang, setLang, t } from './language.js'
import { renderLink, start } from './live.js'
import { renderNow } from './now.js'
import { panel } from './panel.js'
import { renderProxy } from './proxy.js'
import { forgetRows, renderRecords, takeRecords } from './records.js'
import { state } from './state.js'
import { renderTunnels } from './tunnels.js'
import { forgetVocabulary, loadVocabulary } from './vocabulary.js'

function render() {
  const keepPlace = !CSS.supports('overflow-anchor', 'auto') && scrollY > 0
    ? [...document.querySelectorAll('main > section')].find(s => s.getBoundingClientRect().bottom > 80) : undefined
  const before = keepPlace?.getBoundingClientRect().top
  renderNow()
  writeForm()
  renderFilters()
  renderChart()
  renderBars()
  renderRecords()
  renderTunnels()
  renderProxy()
  if (state.doc && $('panel').open) panel.update?.(state.doc)
  if (keepPlace) scrollBy(0, keepPlace.getBoundingClientRect().top - before)
}
// For another language or vocabulary.
function renderAnew() {
  forgetRows()
  render()
}
function translate() {
  for (const el of document.querySelectorAll('[data-t]')) text(el, t(el.dataset.t))
  for (const el of document.querySelectorAll('[data-label]')) attr(el, 'aria-label', t(el.dataset.label))
  for (const el of document.querySelectorAll('[data-hint]')) attr(el, 'placeholder', t(el.dataset.hint))
  const other = $('language')
  other.lang = state.lang === 'zh' ? 'en' : 'zh-CN'
  attr(other, 'aria-label', t('languageLabel'))
  renderLink()
}
function switchLang() {
  const name = state.lang === 'zh' ? 'en' : 'zh'
  let stored = true
  try { localStorage.setItem('wsgate-lang', name) } catch { stored = false }
  const q = new URLSearchParams(location.search)
  if (!stored || q.has('lang')) {
    q.set('lang', name)
    history.replaceState(null, '', `${location.pathname}?${q}`)
  }
  setLang(name)
  forgetVocabulary()
  translate()
  renderAnew()
  loadVocabulary(renderAnew)
}

$('language').addEventListener('click', switchLang)

setLang(readLang())
if (matchMedia('(min-width: 60rem)').matches) $('filter-details').open = true
translate()
render()
loadVocabulary(renderAnew)
start(isFirst => {
  takeRecords(isFirst)
  render()
})
