//! Text that peers send, made safe to print.

use std::fmt::Write as _;

use crate::secrets::is_token_like;

/// Longest peer text in a record, in bytes.
const PEER_TEXT_MAX: usize = 256;

/// Peer bytes as printable ASCII: everything else as `\xNN`, cut after 256 bytes with the length that was.
///
/// Nothing a peer sends can then forge a line, move a cursor or reverse the reading direction.
#[must_use]
pub fn peer_text(bytes: &[u8]) -> String {
    let shown = bytes.get(..PEER_TEXT_MAX).unwrap_or(bytes);
    let mut text = String::with_capacity(shown.len());
    for &byte in shown {
        if byte == b' ' || byte.is_ascii_graphic() {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if bytes.len() > shown.len() {
        let _ = write!(text, "...({} bytes)", bytes.len());
    }
    text
}

/// Several values of a peer with `separator` between them, each made safe like [`peer_text`]: at most 256 bytes of
/// text, and a count of the values that were left out.
pub fn peer_list<'a>(values: impl Iterator<Item = &'a [u8]>, separator: &str) -> String {
    let mut values = values;
    let mut text = String::new();
    let mut taken = 0;
    while let Some(value) = values.next() {
        let value = peer_text(value);
        if taken > 0 && text.len() + separator.len() + value.len() > PEER_TEXT_MAX {
            let _ = write!(text, "{separator}...({} more)", 1 + values.count());
            break;
        }
        if taken > 0 {
            text.push_str(separator);
        }
        text.push_str(&value);
        taken += 1;
    }
    text
}

/// A request target with the values of its query replaced by `*`, except those of the parameters in `keep`.
///
/// What stands where a name should may itself be a secret (a bare token, base64 with its padding, a token before a
/// second `?`): a name is shown only if it looks like one and has a value.
#[must_use]
pub fn redact_query(path: &[u8], query: Option<&[u8]>, keep: &[String]) -> String {
    let mut text = peer_text(path);
    if let Some(query) = query {
        text.push('?');
        let mut redacted = Vec::with_capacity(query.len());
        for (index, parameter) in query.split(|&byte| byte == b'&').enumerate() {
            if index > 0 {
                redacted.push(b'&');
            }
            let mut halves = parameter.splitn(2, |&byte| byte == b'=');
            let name = halves.next().unwrap_or_default();
            let value = halves.next().unwrap_or_default();
            if keep.iter().any(|kept| kept.as_bytes() == name) {
                redacted.extend_from_slice(parameter);
            } else if is_parameter_name(name) && value.iter().any(|&byte| byte != b'=') {
                redacted.extend_from_slice(name);
                redacted.extend_from_slice(b"=*");
            } else {
                redacted.push(b'*');
            }
        }
        text.push_str(&peer_text(&redacted));
    }
    text
}

fn is_parameter_name(name: &[u8]) -> bool {
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    !name.is_empty() && !is_token_like(name) && name.iter().all(is_usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_text_is_printable_and_bounded() {
        assert_eq!(
            peer_text(b"a\x1b[31m\r\n\xe2\x80\xae"),
            "a\\x1b[31m\\x0d\\x0a\\xe2\\x80\\xae"
        );
        assert_eq!(
            peer_text(&[b'x'; 300]),
            format!("{}...(300 bytes)", "x".repeat(256))
        );
    }

    #[test]
    fn lists_of_a_peer_are_bounded() {
        let list = |values: &[&[u8]]| peer_list(values.iter().copied(), " | ");
        assert_eq!(list(&[]), "");
        assert_eq!(list(&[b"a", b"", b"c\n"]), "a |  | c\\x0a");
        let long = [b'x'; 100];
        assert_eq!(
            list(&[&long, &long, &long, b"y"]),
            format!("{0} | {0} | ...(2 more)", "x".repeat(100))
        );
        assert_eq!(
            list(&[&[b'x'; 300], b"y"]),
            format!("{}...(300 bytes) | ...(1 more)", "x".repeat(256))
        );
        assert!(list(&[&b"v"[..]; 10_000]).len() < 300);
    }

    #[test]
    fn query_values_are_hidden_unless_kept() {
        let keep = ["v".to_owned()];
        for (query, shown) in [
            (&b"token=abc&v=2"[..], "/p?token=*&v=2"),
            (b"secret", "/p?*"),
            (b"", "/p?*"),
            (b"a=1?b=2", "/p?a=*"),
            (b"v=1&v=2", "/p?v=1&v=2"),
            (b"v=&v", "/p?v=&v"),
            (b"c2VjcmV0dG9rZW4=", "/p?*"),
            (b"c2VjcmV0dG9rZQ==", "/p?*"),
            (b"SECRETJWT?v=1", "/p?*"),
            (b"a-1._Z=x&a%20b=x&=x", "/p?a-1._Z=*&*&*"),
            (
                b"nnnnnnnnnnnnnnnnnnnnnnnn=x",
                "/p?nnnnnnnnnnnnnnnnnnnnnnnn=*",
            ),
            (b"nnnnnnnnnnnnnnnnnnnnnnnnn=x", "/p?*"),
            (b"9f8a7b6c5d4e3f2a=x", "/p?*"),
        ] {
            assert_eq!(redact_query(b"/p", Some(query), &keep), shown);
        }
        assert_eq!(redact_query(b"/p", None, &keep), "/p");
    }
}
