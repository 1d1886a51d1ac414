//! Reading header fields so that a repeated line is never overlooked: `HeaderMap::get` returns only the first.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::head::is_token;

/// The value of a field that must not be repeated.
///
/// # Errors
/// How often it stands there, if more than once.
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

/// The members of a comma-separated list over all lines of a field, without surrounding white space or empty ones
/// (RFC 9110 section 5.6.1).
pub(crate) fn tokens<'a>(
    fields: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    fields
        .get_all(name)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// The members of one line that is a list of tokens without empty members; `None` if it isn't.
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
