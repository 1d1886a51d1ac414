//! Reads the raw head of a request within bounds, and refuses what hyper would hide or forgive.
//!
//! hyper accepts bare LF, drops Content-Length next to Transfer-Encoding, cuts fragments off, and answers what it can't
//! parse by itself. A head that passes this check has only one meaning for hyper.

mod told;

use std::io::{self, ErrorKind};

use bytes::BufMut as _;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::body::Rest;
use super::framing::Framing;
use crate::reason::{Failure, Reason};
use crate::secrets;
use crate::text::peer_text;
use told::{NOT_A_HEAD, begins_like_a_request, too_large, too_many};

/// Most fields in a head. It is hyper's own limit; the check here gives it a reason.
pub(crate) const MAX_FIELDS: usize = 100;

/// Most bytes read at once, so that few bytes after a long head have to be moved for each further request.
const PIECE: usize = 16 * 1024;

/// The longest target that hyper's URI type accepts.
const MAX_TARGET: usize = 65_534;

/// A complete request head as received, including its final empty line, and what arrived right after it.
#[derive(Debug)]
pub struct RawHead {
    /// The head, without an empty line before the request line.
    pub head: Vec<u8>,
    /// Bytes that arrived together with it.
    pub early: Vec<u8>,
    /// Where the request's body ends in the bytes after the head.
    pub(super) body: Rest,
}

/// Why there is not a complete head.
#[derive(Debug)]
pub enum NoHead {
    /// The connection ended cleanly or broke before the first byte.
    Unused(Option<io::Error>),
    /// The connection broke in the middle of the head or right after it.
    Broken(io::Error),
    /// All other failures, which have reasons of their own.
    Failed(Failure),
}

impl From<Failure> for NoHead {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Waits until `deadline` for the first byte of a further request; `bytes` may already contain its beginning. Returns
/// whether one has begun: a connection that is not used again ends without an error.
pub async fn begun(
    stream: &mut (impl AsyncRead + Unpin),
    deadline: Instant,
    bytes: &mut Vec<u8>,
) -> bool {
    !bytes.is_empty()
        || matches!(timeout_at(deadline, stream.read_buf(bytes)).await, Ok(Ok(count)) if count > 0)
}

/// Reads a request head of at most `limit` bytes until `deadline`, and checks its syntax. `bytes` may already contain
/// its beginning; after a failure it contains what was read.
///
/// # Errors
/// [`NoHead`]; its failures are `http_header_timeout`, `http_head_incomplete`, `http_too_large`, and those of the
/// syntax check.
pub async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
    deadline: Instant,
    bytes: &mut Vec<u8>,
) -> Result<RawHead, NoHead> {
    let mut searched = 0;
    let mut begun = false;
    let mut is_given = !bytes.is_empty();
    loop {
        if !std::mem::take(&mut is_given) {
            match timeout_at(deadline, stream.read_buf(&mut bytes.limit(PIECE))).await {
                Ok(Ok(0)) => return Err(ended(bytes, begun)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) if bytes.is_empty() && !begun => {
                    return Err(NoHead::Unused(Some(error)));
                }
                Ok(Err(error)) => return Err(NoHead::Broken(error)),
                Err(_) => return Err(late(bytes, begun).into()),
            }
        }
        // One empty line before the request line is ignored (RFC 9112 section 2.2).
        if !begun && bytes.len() >= 2 {
            begun = true;
            if bytes.starts_with(b"\r\n") {
                bytes.drain(..2);
                searched = 0;
            }
        }
        let end = find_end(bytes, searched)?;
        if end.unwrap_or(bytes.len()) > limit {
            return Err(too_large(bytes, limit).into());
        }
        if let Some(end) = end {
            let body = check(bytes.get(..end).unwrap_or_default())?;
            let mut early = bytes.split_off(end);
            if early.is_empty() {
                take_ready(stream, &mut early)
                    .await
                    .map_err(NoHead::Broken)?;
            }
            let head = std::mem::take(bytes);
            return Ok(RawHead { head, early, body });
        }
        searched = bytes.len();
    }
}

/// The stream ended before the head did. `begun`: an empty line may have come before `bytes`.
fn ended(bytes: &[u8], begun: bool) -> NoHead {
    let detail = match (bytes.is_empty(), begun) {
        (true, false) => return NoHead::Unused(None),
        (true, true) => "an empty line came, then the connection ended".to_owned(),
        (false, _) => {
            let count = bytes.len();
            let what = match begins_like_a_request(bytes) {
                true => "they begin like a request",
                false => "they are not the beginning of a request",
            };
            format!("{count} bytes came, then the connection ended: {what}")
        }
    };
    let failure = Failure::new(Reason::HttpHeadIncomplete, detail);
    match bytes.is_empty() || begins_like_a_request(bytes) {
        true => failure,
        false => failure.with_hint(NOT_A_HEAD),
    }
    .into()
}

fn late(bytes: &[u8], begun: bool) -> Failure {
    let detail = format!("{} bytes came", bytes.len());
    let failure = Failure::new(Reason::HttpHeaderTimeout, detail);
    if bytes.is_empty() && !begun {
        return failure.with_hint(
            "a browser's preconnect, or a connection that a load balancer opened early: nothing to do; \
             the deadline is `limits.request_head`",
        );
    }
    failure
}

/// Reads what has already arrived, without waiting: early bytes may be in a TLS record or a TCP segment of their own.
///
/// # Errors
/// A broken connection, which the system reports only once. The next read reports an end or a TLS error again.
async fn take_ready(stream: &mut (impl AsyncRead + Unpin), early: &mut Vec<u8>) -> io::Result<()> {
    let read = stream.read_buf(early);
    tokio::select! {
        biased;
        read = read => match read {
            Err(error) if !matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => Err(error),
            _ => Ok(()),
        },
        () = std::future::ready(()) => Ok(()),
    }
}

/// Finds the end of the head, searching from `from`. A line end other than CRLF is an error anywhere.
fn find_end(bytes: &[u8], from: usize) -> Result<Option<usize>, Failure> {
    for (offset, &byte) in bytes.iter().enumerate().skip(from) {
        let before = |count: usize| {
            offset
                .checked_sub(count)
                .and_then(|at| bytes.get(at))
                .copied()
        };
        match byte {
            b'\n' if before(1) != Some(b'\r') => {
                return Err(malformed(format!(
                    "byte {offset} is LF without CR; lines end in CRLF"
                )));
            }
            b'\n' if before(2) == Some(b'\n') && before(3) == Some(b'\r') => {
                return Ok(Some(offset + 1));
            }
            b'\n' => {}
            _ if before(1) == Some(b'\r') => {
                return Err(malformed(format!(
                    "byte {} is CR without LF; lines end in CRLF",
                    offset - 1
                )));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn malformed(detail: String) -> Failure {
    Failure::new(Reason::HttpMalformed, detail)
}

/// The failure of an HTTP/1.0 request that can't be answered; `why` completes the sentence.
#[must_use]
pub fn too_old(why: &str) -> Failure {
    let detail = format!("the request says HTTP/1.0, and {why}");
    Failure::new(Reason::HttpVersionUnsupported, detail)
}

/// Checks a complete head, whose lines all end in CRLF: request line, fields, framing.
fn check(head: &[u8]) -> Result<Rest, Failure> {
    let mut lines = head
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let is_old = check_request_line(lines.next().unwrap_or_default())?;
    let mut framing = Framing::default();
    let mut is_handshake = false;
    let mut fields = 0;
    for (number, line) in lines.enumerate() {
        if line.is_empty() {
            break;
        }
        fields += 1;
        if fields > MAX_FIELDS {
            return Err(too_many(head));
        }
        let (name, value) = check_field(line, number + 2)?;
        framing.add(name, value)?;
        is_handshake |= name.eq_ignore_ascii_case(b"upgrade") || is_websocket(name);
    }
    let body = framing.check()?;
    match (is_handshake, body.is_done()) {
        (true, _) if is_old => Err(too_old("asks for an upgrade")),
        (_, false) if is_old => Err(too_old("announces a body")),
        _ => Ok(body),
    }
}

fn is_websocket(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"sec-websocket-";
    name.get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Checks `method SP target SP HTTP/1.1` (RFC 9112 section 3). Returns whether it is an HTTP/1.0 request with a method
/// that health checks use.
fn check_request_line(line: &[u8]) -> Result<bool, Failure> {
    // The detail shows no words of the line: it may be the body of an earlier request, or part of a field.
    let parts: Vec<_> = line.split(|&byte| byte == b' ').collect();
    let [method, target, version] = *parts.as_slice() else {
        let found = match line {
            [] => "an empty line".to_owned(),
            _ => format!("{} bytes with {} spaces", line.len(), parts.len() - 1),
        };
        let failure = malformed(format!(
            "request line: expected method, target and version with one space between, found {found}"
        ));
        return Err(match begins_like_a_request(line) {
            true => failure,
            false => failure.with_hint(NOT_A_HEAD),
        });
    };
    if method.is_empty() {
        return Err(malformed("request line: it begins with a space".to_owned()));
    }
    if let Some((at, byte)) = method
        .iter()
        .enumerate()
        .find(|(_, byte)| !is_token(**byte))
    {
        return Err(malformed(format!(
            "request line: byte {at} of the method is \\x{byte:02x}, which is not allowed in a method"
        )));
    }
    let is_old = match version {
        b"HTTP/1.1" => false,
        // Whether the matching route answers it is decided later.
        b"HTTP/1.0" if matches!(method, b"GET" | b"HEAD" | b"OPTIONS") => true,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            let detail = format!("the request says {}", peer_text(version));
            return Err(Failure::new(Reason::HttpVersionUnsupported, detail));
        }
        _ => {
            let detail = "request line: the text after the target is not an HTTP version";
            return Err(malformed(detail.to_owned()));
        }
    };
    if target.len() > MAX_TARGET {
        let detail = format!(
            "the target is over the limit of {MAX_TARGET} bytes: it has {}",
            target.len()
        );
        return Err(Failure::new(Reason::HttpTooLarge, detail)
            .with_status(414)
            .with_hint(
                "let the client send the data of its URL in messages or in a body instead; `limits.header_bytes` does not make \
                 room for a longer URL",
            ));
    }
    check_target(target)?;
    Ok(is_old)
}

/// Checks that the target is a path or a URL in absolute form (RFC 9112 section 3.2), and that hyper can read it.
fn check_target(target: &[u8]) -> Result<(), Failure> {
    let query = target.iter().position(|&byte| byte == b'?');
    for (at, &byte) in target.iter().enumerate() {
        let is_in_query = query.is_some_and(|query| at > query);
        match byte {
            b'#' => {
                return Err(malformed(format!(
                    "byte {at} of the target is '#': fragments must not be sent to a server"
                )));
            }
            0x80.. => {
                let detail = format!("byte {at} of the target is \\x{byte:02x}, outside ASCII");
                return Err(Failure::new(Reason::PathAmbiguous, detail));
            }
            _ if is_in_target(byte, is_in_query) => {}
            b'!'..=b'~' => {
                return Err(malformed(format!(
                    "byte {at} of the target is {:?}, which must be percent-encoded there",
                    char::from(byte)
                )));
            }
            _ => {
                return Err(malformed(format!(
                    "byte {at} of the target is the control character \\x{byte:02x}"
                )));
            }
        }
    }
    if target.starts_with(b"/") {
        return Ok(());
    }
    let Some((_, rest)) = absolute(target) else {
        let found = match target {
            b"*" => "found *",
            _ if target.windows(3).any(|three| three == b"://") => "found another scheme",
            _ => "found neither / nor http:// at the beginning",
        };
        return Err(malformed(format!(
            "the target is neither a path nor an http URL: {found}"
        )));
    };
    let authority = rest.split(|byte| b"/?".contains(byte)).next();
    if authority.is_some_and(|authority| authority.contains(&b'@')) {
        return Err(malformed("the target has userinfo".to_owned()));
    }
    http::Uri::try_from(target)
        .map(drop)
        .map_err(|error| malformed(format!("the target is not a valid URL: {error}")))
}

/// Accepts what `http::Uri` accepts, which is more than RFC 3986 section 3.3 allows; a test compares the two.
fn is_in_target(byte: u8, is_in_query: bool) -> bool {
    byte.is_ascii_graphic()
        && !b"<>#".contains(&byte)
        && (is_in_query || byte != b'`')
        && (!is_in_query || byte != b'"')
}

/// The scheme and the rest of a target in absolute form. A scheme is case-insensitive (RFC 3986 section 3.1).
pub(super) fn absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .filter_map(|scheme| {
            target
                .split_at_checked(scheme.len())
                .map(|cut| (scheme, cut))
        })
        .find_map(|(scheme, cut)| cut.0.eq_ignore_ascii_case(scheme).then_some(cut))
}

/// Checks `name: value` (RFC 9112 section 5); `number` counts lines from 1.
fn check_field(line: &[u8], number: usize) -> Result<(&[u8], &[u8]), Failure> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err(malformed(format!(
            "line {number} begins with white space (line folding is obsolete)"
        )));
    }
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return Err(malformed(format!("line {number} has no colon")));
    };
    let (name, value) = line.split_at(colon);
    if name.is_empty() {
        return Err(malformed(format!("line {number} has no field name")));
    }
    if let Some(at) = name.iter().position(|&byte| !is_token(byte)) {
        // A broken line may start with a secret, so only a well-known field name is shown.
        let (token, rest) = name.split_at(at);
        let place = match secrets::common_field(token) {
            Some(known) => format!("after {known}"),
            None => format!("as byte {at}"),
        };
        let byte = rest.first().copied().unwrap_or_default();
        return Err(malformed(format!(
            "line {number}: the field name has \\x{byte:02x} {place}"
        )));
    }
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    match value
        .iter()
        .find(|&&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
    {
        Some(byte) => Err(malformed(format!(
            "line {number}: the value has the control character \\x{byte:02x}"
        ))),
        None => Ok((name, value)),
    }
}

/// Whether a byte is a `tchar` (RFC 9110 section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(head: &[u8]) -> Option<&'static str> {
        find_end(head, 0)
            .and_then(|end| check(&head[..end.expect("a whole head")]))
            .err()
            .map(|f| f.reason.code())
    }

    fn with(lines: &str) -> Vec<u8> {
        format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n").into_bytes()
    }

    #[test]
    fn a_request_line_is_a_method_a_target_and_a_version() {
        for (line, expected) in [
            (&b"GET / HTTP/1.1"[..], None),
            (b"get /a?b#c HTTP/1.1", Some("http_malformed")),
            (b"GET /a?x=%23 HTTP/1.1", None),
            (b"GET http://h/a HTTP/1.1", None),
            (b"GET HTTP://h/a HTTP/1.1", None),
            (b"GET hTTpS://h/a HTTP/1.1", None),
            (b"GET http://u:p@h/a HTTP/1.1", Some("http_malformed")),
            (b"GET http://h/@a?@ HTTP/1.1", None),
            (b"GET http:// HTTP/1.1", Some("http_malformed")),
            (b"GET http://[::1/a HTTP/1.1", Some("http_malformed")),
            (b"GET ftp://h/a HTTP/1.1", Some("http_malformed")),
            (b"GET  / HTTP/1.1", Some("http_malformed")),
            (b"GET / HTTP/1.1 ", Some("http_malformed")),
            (b" GET / HTTP/1.1", Some("http_malformed")),
            (b"GET /\tHTTP/1.1", Some("http_malformed")),
            (b"GET /", Some("http_malformed")),
            (b"G@T / HTTP/1.1", Some("http_malformed")),
            (b"GET / HTTP/1.0", None),
            (b"HEAD /a?b HTTP/1.0", None),
            (b"OPTIONS / HTTP/1.0", None),
            (b"GET /a#b HTTP/1.0", Some("http_malformed")),
            (b"OPTIONS * HTTP/1.0", Some("http_malformed")),
            (b"get / HTTP/1.0", Some("http_version_unsupported")),
            (b"POST / HTTP/1.0", Some("http_version_unsupported")),
            (b"GET / HTTP/1.2", Some("http_version_unsupported")),
            (b"GET / HTTP/0.9", Some("http_version_unsupported")),
            (b"PRI * HTTP/2.0", Some("http_version_unsupported")),
            (b"GET / http/1.1", Some("http_malformed")),
            (b"GET / HTTP/1.10", Some("http_malformed")),
            (b"GET * HTTP/1.1", Some("http_malformed")),
            (b"GET evil.com:443 HTTP/1.1", Some("http_malformed")),
            (b"GET \\a HTTP/1.1", Some("http_malformed")),
            (b"GET /\x7f HTTP/1.1", Some("http_malformed")),
            (b"GET /\xef\xbc\x8e HTTP/1.1", Some("path_ambiguous")),
        ] {
            let head = [line, b"\r\n\r\n"].concat();
            assert_eq!(reason(&head), expected, "{}", peer_text(line));
        }
    }

    #[test]
    fn a_field_line_is_a_name_a_colon_and_a_value() {
        for (lines, expected) in [
            ("Host: a", None),
            ("Host:a\r\nX:", None),
            ("Host : a", Some("http_malformed")),
            (" Host: a", Some("http_malformed")),
            ("Host: a\r\n folded", Some("http_malformed")),
            ("Host: a\r\n\tfolded", Some("http_malformed")),
            ("Host", Some("http_malformed")),
            (": a", Some("http_malformed")),
            ("Ho st: a", Some("http_malformed")),
            ("X: a\0b", Some("http_malformed")),
            ("X: a\x0bb", Some("http_malformed")),
            ("X: a\nY: b", Some("http_malformed")),
            ("X: a\rb", Some("http_malformed")),
            ("X: \u{e9}\tb", None),
        ] {
            assert_eq!(reason(&with(lines)), expected, "{lines:?}");
        }
        assert_eq!(
            reason(&with(&vec!["X: 1"; 101].join("\r\n"))),
            Some("http_too_large")
        );
        assert_eq!(reason(&with(&vec!["X: 1"; 100].join("\r\n"))), None);
    }

    #[test]
    fn what_no_request_in_http_1_0_may_have() {
        for (lines, expected) in [
            ("Host: a", None),
            ("Connection: keep-alive, Upgrade", None),
            ("Content-Length: 0", None),
            ("Content-Length: 1", Some("http_version_unsupported")),
            (
                "Transfer-Encoding: chunked",
                Some("http_version_unsupported"),
            ),
            ("Transfer-Encoding: identity", Some("http_framing_conflict")),
            ("UPGRADE: h2c", Some("http_version_unsupported")),
            ("Upgrade:", Some("http_version_unsupported")),
            ("sec-WebSocket-Key: a", Some("http_version_unsupported")),
            ("Sec-WebSocket: a", None),
            ("X : a", Some("http_malformed")),
            ("X: a\r\n folded", Some("http_malformed")),
        ] {
            let head = format!("GET / HTTP/1.0\r\n{lines}\r\n\r\n");
            assert_eq!(reason(head.as_bytes()), expected, "{lines:?}");
        }
        assert_eq!(reason(b"GET / HTTP/1.0\r\n\r\n"), None);
    }

    #[test]
    fn what_passes_is_what_hyper_reads() {
        for byte in b'!'..=b'~' {
            for before in ["/a", "/a?", "http://h/a", "http://h/a?b=c"] {
                let target = [before.as_bytes(), &[byte], b"z"].concat();
                let passes = check_target(&target);
                let reads = http::Uri::try_from(&target[..]).is_ok();
                // `http::Uri` cuts a fragment off without an error.
                let reads = reads && byte != b'#';
                let char = char::from(byte);
                assert_eq!(passes.is_ok(), reads, "{char:?} behind {before}");
                if let Err(failure) = passes
                    && byte != b'#'
                {
                    let detail = failure.detail.unwrap();
                    let place = format!("byte {} of the target is {char:?}", before.len());
                    assert!(detail.starts_with(&place), "{detail}");
                }
            }
        }
    }

    #[test]
    fn what_is_said_of_a_bad_head_repeats_nothing_of_it() {
        for (head, expected) in [
            (
                "{\"user\":\"bob\",\"password\":\"s\"}\r\n\r\n",
                "request line: expected method, target and version with one space between, found 29 bytes with 0 spaces",
            ),
            (
                "Cookie:s\r\n\r\n",
                "request line: expected method, target and version with one space between, found 8 bytes with 0 spaces",
            ),
            (
                "Cookie: s HTTP/1.1\r\n\r\n",
                "request line: byte 6 of the method is \\x3a, which is not allowed in a method",
            ),
            (
                "GET /s s/1\r\n\r\n",
                "request line: the text after the target is not an HTTP version",
            ),
            (
                "GET /#s HTTP/1.1\r\n\r\n",
                "byte 1 of the target is '#': fragments must not be sent to a server",
            ),
            (
                "GET u:pw@h HTTP/1.1\r\n\r\n",
                "the target is neither a path nor an http URL: found neither / nor http:// at the beginning",
            ),
            (
                "GET ftp://u:pw@h HTTP/1.1\r\n\r\n",
                "the target is neither a path nor an http URL: found another scheme",
            ),
            (
                "GET / HTTP/1.1\r\nCookie : s\r\n\r\n",
                "line 2: the field name has \\x20 after cookie",
            ),
            (
                "GET / HTTP/1.1\r\nsecret s: s\r\n\r\n",
                "line 2: the field name has \\x20 as byte 6",
            ),
        ] {
            let failure = check(head.as_bytes()).unwrap_err();
            assert_eq!(failure.detail.as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_length_that_is_ambiguous_is_refused() {
        for (lines, expected) in [
            ("Content-Length: 0", None),
            ("Transfer-Encoding: Chunked", None),
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked",
                Some("http_framing_conflict"),
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5",
                Some("http_framing_conflict"),
            ),
            (
                "Content-Length: 5\r\nContent-Length: 5",
                Some("http_framing_conflict"),
            ),
            (
                "Content-Length: 5\r\ncontent-length: 6",
                Some("http_framing_conflict"),
            ),
            ("Content-Length: 5, 5", Some("http_framing_conflict")),
            ("Content-Length: +5", Some("http_framing_conflict")),
            ("Content-Length: 0x5", Some("http_framing_conflict")),
            ("Content-Length:", Some("http_framing_conflict")),
            (
                "Content-Length: 18446744073709551616",
                Some("http_framing_conflict"),
            ),
            ("Transfer-Encoding: xchunked", Some("http_framing_conflict")),
            (
                "Transfer-Encoding: chunked, identity",
                Some("http_framing_conflict"),
            ),
            (
                "Transfer-Encoding: gzip, chunked",
                Some("http_framing_conflict"),
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                Some("http_framing_conflict"),
            ),
        ] {
            assert_eq!(reason(&with(lines)), expected, "{lines:?}");
        }
    }

    #[tokio::test]
    async fn a_head_is_found_however_it_is_cut() {
        let whole = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nearly";
        for cut in 1..whole.len() {
            let mut stream = (&whole[..cut]).chain(&whole[cut..]);
            let read = read(
                &mut stream,
                8192,
                Instant::now() + std::time::Duration::from_secs(5),
                &mut Vec::new(),
            )
            .await
            .unwrap();
            assert_eq!(read.head, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(b"early".starts_with(&read.early[..]));
        }
    }

    #[tokio::test]
    async fn little_of_what_comes_behind_a_head_is_taken_with_it() {
        let cookie = "c".repeat(270_000);
        let head = format!("GET / HTTP/1.1\r\nCookie: {cookie}\r\n\r\n");
        let behind = "x".repeat(500_000);
        let deadline = Instant::now() + std::time::Duration::from_secs(5);
        let whole = [head.as_bytes(), behind.as_bytes()].concat();
        let mut bytes = Vec::new();
        let read = read(&mut &whole[..], 1 << 20, deadline, &mut bytes).await;
        assert!(read.unwrap().early.len() <= PIECE);
    }

    /// Gives each item once, then the end of the stream.
    struct Script(std::collections::VecDeque<io::Result<&'static [u8]>>);

    impl AsyncRead for Script {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let bytes = self.0.pop_front().unwrap_or(Ok(b""));
            std::task::Poll::Ready(bytes.map(|bytes| buf.put_slice(bytes)))
        }
    }

    #[tokio::test]
    async fn an_error_right_behind_the_head_is_not_lost() {
        let deadline = Instant::now() + std::time::Duration::from_secs(5);
        for (kind, is_told) in [
            (ErrorKind::ConnectionReset, true),
            (ErrorKind::TimedOut, true),
            (ErrorKind::UnexpectedEof, false),
        ] {
            let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
            let mut stream = Script([Ok(&head[..]), Err(kind.into())].into());
            let mut bytes = Vec::new();
            match read(&mut stream, 8192, deadline, &mut bytes).await {
                Err(NoHead::Broken(error)) => {
                    assert!(is_told);
                    assert_eq!((error.kind(), &bytes[..]), (kind, &head[..]));
                }
                other => assert!(other.is_ok() && !is_told, "{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_end_or_silence_before_the_request_line() {
        let soon = || Instant::now() + std::time::Duration::from_millis(20);
        let mut bytes = Vec::new();
        let unused = read(&mut &b""[..], 8192, soon(), &mut bytes).await;
        assert!(matches!(unused, Err(NoHead::Unused(None))));
        let Err(NoHead::Failed(failure)) = read(&mut &b"\r\n"[..], 8192, soon(), &mut bytes).await
        else {
            panic!("an empty line is not silence")
        };
        assert_eq!(failure.reason, Reason::HttpHeadIncomplete);
        for (sent, has_hint) in [(&b""[..], true), (b"\r\n", false), (b"G", false)] {
            let (_open, silent) = tokio::io::duplex(1);
            let mut stream = sent.chain(silent);
            let late = read(&mut stream, 8192, soon(), &mut Vec::new()).await;
            let Err(NoHead::Failed(failure)) = late else {
                panic!("{late:?}")
            };
            assert_eq!(failure.reason, Reason::HttpHeaderTimeout);
            assert_eq!(failure.hint.is_some(), has_hint, "{sent:?}");
        }
    }

    #[test]
    fn too_many_fields_are_counted() {
        let failure = check(&with(&vec!["X: 1"; 101].join("\r\n"))).unwrap_err();
        let detail = "over the limit of 100 fields: 101 came in a head of 624 bytes; the largest field is X, of 4 bytes";
        assert_eq!(failure.detail.as_deref(), Some(detail));
    }

    #[tokio::test]
    async fn a_head_over_the_limit_is_refused_with_the_status_of_its_fault() {
        let deadline = Instant::now() + std::time::Duration::from_secs(5);
        for (head, status) in [
            (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200)), 414),
            (format!("GET /{}", "a".repeat(200)), 414),
            (
                format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "a".repeat(200)),
                431,
            ),
        ] {
            let Err(NoHead::Failed(failure)) =
                read(&mut head.as_bytes(), 100, deadline, &mut Vec::new()).await
            else {
                panic!("{head:.20} passed")
            };
            assert_eq!(
                (failure.reason, failure.status),
                (Reason::HttpTooLarge, Some(status))
            );
        }
    }
}
