// The connection to the proxy, and what the page says about it.
import { $, show, text } from './dom.js'
import { fill, moment } from './fill.js'
import { query, whenFiltersChange } from './filters.js'
import { say, t } from './language.js'
import { renderNow } from './now.js'
import { now, state } from './state.js'
import { clean, isObject, obj, str, when } from './values.js'

const live = {
  news: undefined, // called with each document
  link: 'wait', stream: undefined, streamWorked: false, asking: undefined, timer: 0, attempt: 0, lastNews: 0,
  paused: false, pausedAt: 0, brokenSince: 0, problem: '', full: false, first: undefined, several: false
}

export function start(news) {
  live.news = news
  connect()
}

function disconnect() {
  live.stream?.close()
  live.stream = undefined
  clearTimeout(live.timer)
  live.asking?.abort()
  live.asking = undefined
}
function connect() {
  disconnect()
  if (document.hidden || live.paused) return
  const mine = new EventSource('events' + query())
  live.stream = mine
  live.streamWorked = false
  live.lastNews = performance.now()
  mine.addEventListener('status', e => {
    if (live.stream !== mine) return
    const isFirst = !live.streamWorked
    live.streamWorked = true
    live.attempt = 0
    arrived(e.data, 'live', isFirst)
  })
  mine.addEventListener('error', () => {
    if (live.stream !== mine) return
    lost()
  })
}
// EventSource does not say why it failed and gives up after any status but 200, so the page finds out and tries again itself.
function lost() {
  const worked = live.streamWorked
  disconnect()
  if (!live.brokenSince) live.brokenSince = Date.now()
  setLink('retry')
  if (worked) live.timer = setTimeout(connect, 500)
  else ask()
}
async function ask() {
  disconnect()
  if (document.hidden || live.paused) return
  const mine = live.asking = new AbortController()
  const limit = setTimeout(() => mine.abort(), 5000)
  try {
    const answer = await fetch('status.json' + query(), { signal: mine.signal, cache: 'no-store' })
    const body = await answer.text()
    if (live.asking !== mine) return
    if (!answer.ok) {
      live.problem = say(answer.status === 400 ? 'badFilter' : 'brokenWhy', { text: clean(body, 300).trim() || answer.status })
      setLink('retry')
      live.timer = setTimeout(connect, 10000)
      return
    }
    if (!arrived(body, 'poll', true)) { live.timer = setTimeout(connect, 10000); return }
    // The proxy may still count a stream that this page has just left.
    live.timer = live.full ? setTimeout(ask, 10000) : setTimeout(connect, Math.min(10000, 1000 * 2 ** live.attempt++))
  } catch {
    if (live.asking !== mine) return
    setLink('retry')
    live.timer = setTimeout(connect, Math.min(10000, 1000 * 2 ** live.attempt++))
  } finally {
    clearTimeout(limit)
  }
}
function arrived(body, link, isFirst) {
  let doc
  try { doc = JSON.parse(body) } catch { /* it is reported below */ }
  if (!isObject(doc)) {
    live.problem = say('brokenWhy', { text: clean(body, 120) })
    renderNotice()
    return false
  }
  if (restarted(doc)) return true
  state.doc = doc
  state.receivedAt = live.lastNews = performance.now()
  state.clockAt = when(doc.time) ?? Date.now()
  live.full = obj(doc.streams).open >= obj(doc.streams).limit
  live.brokenSince = 0
  live.problem = ''
  setLink(link)
  live.news(isFirst)
  return true
}
// A new process has a new token, and perhaps a new page.
function restarted(doc) {
  const id = `${str(doc.version)} ${str(doc.started)}`
  live.first ??= id
  if (id === live.first) return false
  let last = 0
  try { last = Number(sessionStorage.getItem('wsgate-reload')) } catch { /* storage may be switched off */ }
  if (Date.now() - last < 15000) {
    live.several = true
    return false
  }
  try { sessionStorage.setItem('wsgate-reload', String(Date.now())) } catch { /* the same */ }
  disconnect()
  location.reload()
  return true
}
function setPaused(yes) {
  live.paused = yes
  live.pausedAt = yes ? now() : 0
  if (yes) { disconnect(); setLink('paused') }
  else { live.brokenSince = 0; setLink('wait'); connect() }
}
function setLink(link) {
  live.link = link
  renderLink()
}
export function renderLink() {
  const el = $('link')
  el.dataset.link = live.link
  text($('pause'), t(live.paused ? 'resume' : 'pause'))
  switch (live.link) {
    case 'live': fill(el, t('linkLive')); break
    case 'poll': fill(el, t('linkPolling')); break
    case 'paused': fill(el, t('linkPaused'), { time: moment(live.pausedAt) }); break
    case 'retry': fill(el, t('linkRetry'), { time: moment(live.brokenSince || Date.now()) }); break
    default: fill(el, t('linkConnecting'))
  }
  renderNotice()
}
const isStale = () => state.doc !== undefined && !live.paused && !document.hidden &&
  performance.now() - state.receivedAt > (live.link === 'poll' ? 26000 : 7000)

function renderNotice() {
  const el = $('notice')
  const time = moment(state.clockAt)
  const stale = isStale()
  document.body.classList.toggle('stale', stale)
  show(el, true)
  if (live.problem) fill(el, '{text}', { text: live.problem })
  else if (stale) fill(el, t('staleWhy'), { time })
  else if (!state.doc && live.link === 'retry') fill(el, t('neverWhy'))
  else if (live.paused && state.doc) fill(el, t('pausedWhy'), { time: moment(live.pausedAt) })
  else if (live.link === 'poll') fill(el, t(live.full ? 'pollingWhy' : 'pollingBroken'))
  else if (live.several) fill(el, t('reloadWhy'))
  else show(el, false)
}
setInterval(() => {
  if (document.hidden) return
  if (live.stream && performance.now() - live.lastNews > 8000) { live.streamWorked = false; lost() }
  renderNotice()
  if (isStale()) renderNow()
}, 1000)

whenFiltersChange(() => {
  live.problem = ''
  if (live.paused) setPaused(false)
  else connect()
})
$('pause').addEventListener('click', () => setPaused(!live.paused))
document.addEventListener('visibilitychange', () => {
  if (document.hidden) disconnect()
  else if (!live.paused) { live.brokenSince = 0; live.attempt = 0; connect() }
})
addEventListener('pagehide', disconnect)
addEventListener('pageshow', e => { if (e.persisted) connect() })
