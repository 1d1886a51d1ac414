//! Reads header fields without missing a repeated line: `HeaderMap::get` returns only the first.

use std::collections::{HashMap, HashSet};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::text::is_token;

/// Most fields in a head. It is hyper's own limit; the check here gives it a reason.
pub(crate) const MAX_FIELDS: usize = 100;

/// The value of a field that must not be repeated.
///
/// # Errors
/// How often the field occurs, if more than once.
pub(crate) fn only<'a>(
    fields: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, usize> {
    let mut values = fields.get_all(name).iter();
    let first = values.next();
    match values.count() {
        0 => Ok(first),
        more => Err(more + 1),
    }
}

/// The members of a comma-separated list over all lines of a field, trimmed and without empty ones (RFC 9110 section
/// 5.6.1).
pub(crate) fn tokens<'a>(
    fields: &'a HeaderMap,
    name: &HeaderName,
) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    fields
        .get_all(name)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// The number of members of the lists in all lines of a field, including empty ones.
pub(crate) fn members(fields: &HeaderMap, name: &HeaderName) -> usize {
    let lines = fields.get_all(name).into_iter();
    lines
        .map(|line| line.as_bytes().split(|&byte| byte == b',').count())
        .sum()
}

/// The names of present fields that Connection lists (RFC 9110 section 7.6.1).
///
/// A client chooses both, so each name is looked up once, in a hash table with random keys.
pub(crate) fn named_by_connection(fields: &HeaderMap) -> HashSet<HeaderName> {
    // Most requests list only these, which are never passed on.
    const USUAL: [&[u8]; 3] = [b"keep-alive", b"upgrade", b"te"];
    let is_usual = |token: &[u8]| USUAL.iter().any(|usual| token.eq_ignore_ascii_case(usual));
    if tokens(fields, &header::CONNECTION).all(is_usual) {
        return HashSet::new();
    }
    let present: HashMap<&str, &HeaderName> =
        fields.keys().map(|name| (name.as_str(), name)).collect();
    let mut named = HashSet::new();
    let mut lower = Vec::new();
    for token in tokens(fields, &header::CONNECTION) {
        lower.clear();
        lower.extend_from_slice(token);
        lower.make_ascii_lowercase();
        let name = std::str::from_utf8(&lower).ok();
        let name = name.and_then(|name| present.get(name).copied());
        named.extend(name.cloned());
    }
    named
}

/// The members of one line that must be a list of tokens without empty members; `None` if it is not.
pub(crate) fn list_tokens(value: &[u8]) -> Option<Vec<String>> {
    value
        .split(|&byte| byte == b',')
        .map(|member| {
            let member = member.trim_ascii();
            let valid = !member.is_empty() && member.iter().copied().all(is_token);
            valid.then(|| String::from_utf8_lossy(member).into_owned())
        })
        .collect()
}
