//! Details about a head that is too large, and about bytes that are not a head. Of the bytes they show only the name of
//! a field.

use super::super::fields::MAX_FIELDS;
use crate::reason::{Failure, Reason};
use crate::secrets;

/// The hint when something other than a request arrived.
pub(super) const NOT_A_HEAD: &str = "the client speaks another protocol, or the request before it on this connection had a longer body than \
                          its Content-Length says: compare the two in the client";

/// Whether `bytes` may be the beginning of a request: a complete method and the beginning of a target, or a part of a
/// method.
pub(super) fn begins_like_a_request(bytes: &[u8]) -> bool {
    let letters = bytes.iter().take_while(|byte| byte.is_ascii_uppercase());
    match bytes.get(letters.count()..) {
        Some([]) => true,
        Some([b' ', rest @ ..]) => {
            let target = [&b"/"[..], b"*", b"http://", b"https://"];
            bytes.first() != Some(&b' ')
                && target.iter().any(|begin| {
                    let common = begin.len().min(rest.len());
                    rest.get(..common) == begin.get(..common)
                })
        }
        _ => false,
    }
}

/// The failure of a head that exceeds `limit`; `bytes` is what has arrived.
pub(super) fn too_large(bytes: &[u8], limit: usize) -> Failure {
    let line = bytes
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(bytes.len());
    // If the request line alone is too long, the target is to blame (RFC 9110 section 15.5.15).
    let (what, status) = if line >= limit {
        ("request line", 414)
    } else {
        ("request head", 431)
    };
    let detail = format!(
        "the {what} is over the limit of {limit} bytes: {} came{}",
        bytes.len(),
        largest_field(bytes)
    );
    Failure::new(Reason::HttpTooLarge, detail).with_status(status)
}

/// Describes the largest field of a head, which may be incomplete, as the continuation of a sentence.
fn largest_field(head: &[u8]) -> String {
    let lines = head.split(|&byte| byte == b'\n').skip(1);
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = std::str::from_utf8(line.get(..colon)?).ok()?;
        Some((name, line.trim_ascii_end().len()))
    });
    match fields.max_by_key(|(_, length)| *length) {
        Some((name, length)) => format!(
            "; the largest field is {}, of {length} bytes",
            secrets::field_name(name)
        ),
        None => String::new(),
    }
}

/// The failure of a complete head with more fields than hyper accepts.
pub(super) fn too_many(head: &[u8]) -> Failure {
    let lines = head.split(|&byte| byte == b'\n');
    // Not counted: the request line, the empty line, and the empty piece after it.
    let count = lines.count().saturating_sub(3);
    let detail = format!(
        "over the limit of {MAX_FIELDS} fields: {count} came in a head of {} bytes{}",
        head.len(),
        largest_field(head)
    );
    Failure::new(Reason::HttpTooLarge, detail)
        .with_status(431)
        .with_hint(
            "let the client send fewer fields, or look for a hop in front that adds one each time; \
             `limits.header_bytes` does not change their number",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_told_from_a_body() {
        for (bytes, is_one) in [
            ("G", true),
            ("GET /", true),
            ("GET http:", true),
            ("OPTIONS *", true),
            ("{\"user\":\"bob\"}", false),
            ("user=bob", false),
            (" /", false),
            ("SECRET word", false),
        ] {
            assert_eq!(begins_like_a_request(bytes.as_bytes()), is_one, "{bytes}");
        }
    }

    #[test]
    fn what_is_too_large_is_measured() {
        let token = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln";
        for (head, detail) in [
            (
                format!(
                    "GET / HTTP/1.1\r\nA: b\r\nCookie: {}\r\nHos",
                    "c".repeat(100)
                ),
                "the request head is over the limit of 100 bytes: 135 came; the largest field is Cookie, of 108 bytes",
            ),
            (
                format!("GET / HTTP/1.1\r\n{token}: {}", "c".repeat(100)),
                "the request head is over the limit of 100 bytes: 147 came; the largest field is *, of 131 bytes",
            ),
            (
                format!("GET /{}", "a".repeat(100)),
                "the request line is over the limit of 100 bytes: 105 came",
            ),
        ] {
            let failure = too_large(head.as_bytes(), 100);
            assert_eq!(failure.detail.as_deref(), Some(detail));
        }
    }
}
