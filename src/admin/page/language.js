// The language of the page: its words, numbers, times and amounts.
import { now, state } from './state.js'
import { clean, num, str } from './values.js'
import { words } from './words.js'

export const PARTIES = new Set(['client', 'upstream', 'proxy', 'network'])
// Made anew by setLang.
let format

export function readLang() {
  const wanted = [new URLSearchParams(location.search).get('lang')]
  try { wanted.push(localStorage.getItem('wsgate-lang')) } catch { /* storage may be switched off */ }
  wanted.push(...(navigator.languages ?? []))
  for (const w of wanted) {
    if (/^zh\b/i.test(w ?? '')) return 'zh'
    if (/^en\b/i.test(w ?? '')) return 'en'
  }
  return 'en'
}

export function setLang(name) {
  state.lang = name
  const tag = name === 'zh' ? 'zh-CN' : navigator.languages?.find(l => /^en\b/i.test(l)) ?? 'en'
  document.documentElement.lang = name === 'zh' ? 'zh-CN' : 'en'
  const date = options => new Intl.DateTimeFormat(tag, { hourCycle: 'h23', ...options })
  format = {
    number: new Intl.NumberFormat(tag),
    short: new Intl.NumberFormat(tag, { notation: 'compact', maximumFractionDigits: 1 }),
    one: new Intl.NumberFormat(tag, { maximumFractionDigits: 1 }),
    percent: new Intl.NumberFormat(tag, { style: 'percent', maximumFractionDigits: 0 }),
    plural: new Intl.PluralRules(tag),
    minute: date({ hour: '2-digit', minute: '2-digit' }),
    second: date({ hour: '2-digit', minute: '2-digit', second: '2-digit' }),
    dayMinute: date({ month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' }),
    daySecond: date({ month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' })
  }
}

const has = key => Object.hasOwn(words[state.lang], key)
export function t(key, n) {
  const w = has(key) ? words[state.lang][key] : key
  return Array.isArray(w) ? w[format.plural.select(n ?? 2) === 'one' ? 0 : 1] : w
}
export const say = (key, slots, n) => t(key, n).replace(/\{(\w+)\}/g, (m, k) => Object.hasOwn(slots, k) ? String(slots[k]) : m)
export const many = (key, n) => say(key, { n: number(n) }, n)
export const number = n => format.number.format(n)
export const short = n => format.short.format(n)
export const share = n => format.percent.format(n / 100)
export const party = v => PARTIES.has(v) ? t(v + '_p') : str(v)
export const eventWord = r => has('ev_' + str(r.event)) ? t('ev_' + str(r.event)) : clean(r.event, 40)
export const minute = ms => format.minute.format(ms)

const today = { from: 1, to: 0 }
function isToday(ms) {
  const at = now()
  if (at < today.from || at >= today.to) {
    const d = new Date(at)
    today.from = d.setHours(0, 0, 0, 0)
    today.to = d.setDate(d.getDate() + 1)
  }
  return ms >= today.from && ms < today.to
}
export function clock(ms, seconds = false) {
  const other = !isToday(ms)
  return format[other ? (seconds ? 'daySecond' : 'dayMinute') : (seconds ? 'second' : 'minute')].format(ms)
}
export function ago(ms) {
  const m = Math.floor((now() - ms) / 60000)
  if (m < 1) return t('now')
  if (m < 60) return say('minAgo', { n: m })
  if (m < 2880) return say('hAgo', { n: Math.floor(m / 60) })
  return many('dAgo', Math.floor(m / 1440))
}
export function lasting(v) {
  const ms = num(v)
  if (ms === undefined) return ''
  if (ms < 1000) return say('ms', { n: Math.max(0, Math.round(ms)) })
  if (ms < 60000) return say('s', { n: ms < 10000 ? format.one.format(ms / 1000) : Math.floor(ms / 1000) })
  const m = Math.floor(ms / 60000)
  if (m < 60) return say('min', { n: m })
  if (m < 1440) return say('h', { n: Math.floor(m / 60), m: m % 60 })
  return say('d', { n: Math.floor(m / 1440), h: Math.floor(m % 1440 / 60) }, Math.floor(m / 1440))
}
export function bytes(v) {
  let n = num(v)
  if (n === undefined) return ''
  let unit = 0
  while (n >= 1000 && unit < 4) { n /= 1000; unit++ }
  return `${unit && n < 100 ? format.one.format(n) : number(Math.round(n))} ${['B', 'kB', 'MB', 'GB', 'TB'][unit]}`
}
export function traffic(b, m) {
  const n = num(m)
  return n === undefined ? bytes(b) : `${bytes(b)}, ${many('messages', n)}`
}
