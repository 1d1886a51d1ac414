// What the codes of the proxy mean, and what to do about them.
import { $, options, show } from './dom.js'
import { fill, prose } from './fill.js'
import { t } from './language.js'
import { state } from './state.js'
import { capital, obj, str, unstop } from './values.js'

export const ORDINARY = new Set(['client_close', 'client_going_away', 'upstream_close'])

export function isTrouble(r) {
  if (r.level === 'debug') return false
  if (r.level === 'warn' || r.level === 'error') return true
  return str(r.reason) !== '' && !ORDINARY.has(r.reason)
}

function emptyVocabulary() {
  return { reasons: new Map(), troubles: new Map(), notes: new Map() }
}
export function forgetVocabulary() {
  state.vocabulary = state.english = emptyVocabulary()
}
forgetVocabulary()

export const explained = code => state.vocabulary.reasons.get(code) ?? state.vocabulary.troubles.get(code)
const explainedInEnglish = code => state.english.reasons.get(code) ?? state.english.troubles.get(code)

export async function loadVocabulary(run) {
  const wanted = state.lang
  const get = async name => {
    const answer = await fetch(`vocabulary.json?lang=${name}`)
    if (!answer.ok) throw new Error(String(answer.status))
    const all = obj(await answer.json())
    const found = emptyVocabulary()
    for (const part of Object.keys(found)) for (const [k, v] of Object.entries(obj(all[part]))) found[part].set(k, v)
    return found
  }
  try {
    const [own, english] = await Promise.all([get(wanted), wanted === 'en' ? undefined : get('en')])
    if (wanted !== state.lang) return
    state.vocabulary = own
    state.english = english ?? own
    options($('reasons'), [...own.reasons.keys()].sort().map(c => [c, '']))
    run()
  } catch {
    setTimeout(() => { if (wanted === state.lang) loadVocabulary(run) }, 10000)
  }
}

export function causeOf(code, own) {
  return unstop(str(explained(code)?.cause) || str(own) || code || t('unnamed'))
}
export const sentence = (s, inChinese) => capital(unstop(s)) + (inChinese ? '。' : '.')

// One text for what to do. The record's own hint is English and may be more exact than the vocabulary's.
export function writeTodo(main, own, code, hint) {
  const fix = str(explained(code)?.fix)
  const english = str(explainedInEnglish(code)?.fix)
  const extra = state.lang !== 'en' && fix && hint && unstop(hint) !== unstop(english) ? hint : ''
  const first = state.lang === 'en' ? hint || fix : fix || hint
  prose(main, first && sentence(first, state.lang === 'zh' && fix !== ''))
  show(own, extra !== '')
  if (extra) {
    fill(own, '{a} {b}', { a: t('ownHint'), b: { prose: extra } })
    own.lastElementChild.lang = 'en'
  }
  return first !== ''
}
