//! Reads the raw head of a request within bounds, and refuses what hyper would hide or accept.
//!
//! hyper accepts bare LF, drops Content-Length next to Transfer-Encoding, cuts fragments off, and itself answers a head
//! that it can't parse. A head that passes this check has only one meaning for hyper.

mod told;

use std::io::{self, ErrorKind};

use bytes::BufMut as _;
use memchr::memchr2;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::body::Rest;
use super::fields::MAX_FIELDS;
use super::framing::Framing;
use super::target::check_target;
use crate::reason::{Failure, Reason};
use crate::secrets;
use crate::stream::read_first;
use crate::text::is_token;
use crate::text::peer_text;
use told::{NOT_A_HEAD, begins_like_a_request, too_large, too_many};

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

/// Why there is no complete head.
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
            match timeout_at(deadline, read_piece(stream, bytes)).await {
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

/// Reads the next bytes.
async fn read_piece(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> io::Result<usize> {
    match bytes.is_empty() {
        true => read_first(stream, bytes).await,
        false => stream.read_buf(&mut bytes.limit(PIECE)).await,
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
    // A CR at the end of what was searched before waits for its LF.
    let mut at = from.saturating_sub(1);
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'\r', b'\n', rest)) {
        at += found;
        match bytes.get(at..) {
            Some([b'\r', b'\n', ..]) => {
                at += 2;
                if bytes
                    .get(..at)
                    .is_some_and(|head| head.ends_with(b"\r\n\r\n"))
                {
                    return Ok(Some(at));
                }
            }
            Some([b'\r', _, ..]) => {
                return Err(malformed(format!(
                    "byte {at} is CR without LF; lines end in CRLF"
                )));
            }
            Some([b'\n', ..]) if at < from => at += 1,
            Some([b'\n', ..]) => {
                return Err(malformed(format!(
                    "byte {at} is LF without CR; lines end in CRLF"
                )));
            }
            _ => break,
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
    let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    // Without an early end, the compiler looks at many bytes at once.
    if !value
        .iter()
        .fold(false, |any, &byte| any | is_control(byte))
    {
        return Ok((name, value));
    }
    match value.iter().find(|&&byte| is_control(byte)) {
        Some(byte) => Err(malformed(format!(
            "line {number}: the value has the control character \\x{byte:02x}"
        ))),
        None => Ok((name, value)),
    }
}

#[cfg(test)]
mod tests;
