//! The upstream's answer: what it means, and whether a 101 conforms to RFC 6455.

pub(super) mod hint;

use std::error::Error;

use http::header::{self, HeaderMap};
use http::{Version, response};

use crate::http::fields::{members, only, tokens};
use crate::http::opening::{MOST_EXTENSIONS, extension_names};
use crate::reason::{Failure, Note, NoteCode, Reason};
use crate::secrets::{self, first_bytes, known, words};
use crate::text::peer_list;
use crate::tls;

/// The failure if no valid response head came; `seen` has the first bytes that came.
pub(super) fn failure(error: &hyper::Error, seen: &[u8]) -> Failure {
    // An alert record is a TLS server's answer to an unencrypted request.
    const TLS_ALERT: [u8; 2] = [0x15, 0x03];
    let words = source_words(error);
    if seen.starts_with(&TLS_ALERT) {
        return Failure::new(Reason::UpstreamPlainToTlsPort, first_bytes(seen));
    }
    if seen.is_empty()
        && let Some(failure) = io_error(error).and_then(tls::refused_late)
    {
        return failure;
    }
    if is_http2(seen) {
        let detail = format!("the upstream sent HTTP/2 frames; {}", first_bytes(seen));
        return Failure::new(Reason::UpstreamAlpnH2, detail);
    }
    if error.is_parse_too_large() {
        return Failure::new(Reason::UpstreamHeadTooLarge, words);
    }
    if error.is_parse() {
        let detail = format!("{words}; {}", first_bytes(seen));
        return match secrets::is_http(seen) {
            true => malformed(detail),
            false => Failure::new(Reason::UpstreamMalformedResponse, detail),
        };
    }
    if seen.is_empty() && is_reset(error) {
        return Failure::new(Reason::UpstreamResetOnConnect, words);
    }
    let detail = if seen.is_empty() {
        words
    } else {
        format!("{words}; {}", first_bytes(seen))
    };
    Failure::new(Reason::UpstreamClosedBeforeResponse, detail)
}

/// Whether an answer begins with the SETTINGS frame that every HTTP/2 server sends first (RFC 9113 section 3.4): a
/// short length, its type, no flags, stream 0.
fn is_http2(seen: &[u8]) -> bool {
    matches!(seen, [0, _, _, 4, 0, 0, 0, 0, 0, ..])
}

fn is_reset(error: &(dyn Error + 'static)) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    io_error(error).is_some_and(|error| {
        matches!(
            error.kind(),
            ConnectionReset | ConnectionAborted | BrokenPipe
        )
    })
}

/// The error of the connection below hyper.
fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a std::io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// Refuses a 400 to an unencrypted request if the `beginning` of its body says that the port wants TLS.
///
/// # Errors
/// `upstream_plain_to_tls_port`.
pub(super) fn check_tls_wanted(beginning: &[u8]) -> Result<(), Failure> {
    // nginx, Go's net/http, Apache.
    const WORDS: [&str; 3] = [
        "plain HTTP request was sent to HTTPS port",
        "Client sent an HTTP request to an HTTPS server",
        "speaking plain HTTP to an SSL-enabled server port",
    ];
    // All of these texts are near the beginning of the body.
    let beginning = beginning.get(..4096).unwrap_or(beginning);
    let said = |words: &&str| {
        beginning
            .windows(words.len())
            .any(|window| window.eq_ignore_ascii_case(words.as_bytes()))
    };
    match WORDS.iter().find(|words| said(words)) {
        None => Ok(()),
        Some(words) => Err(Failure::new(
            Reason::UpstreamPlainToTlsPort,
            format!("the upstream answered 400: {words}"),
        )),
    }
}

/// The detail if an answer did not come in the time `waited`; `seen` has its first bytes.
pub(super) fn nothing(seen: &[u8], waited: &str) -> String {
    if seen.is_empty() {
        format!("no byte of an answer in {waited}")
    } else {
        format!("no complete answer in {waited}; {}", first_bytes(seen))
    }
}

/// The note about the interim responses before an answer.
pub(super) fn interim(statuses: &[u16]) -> Option<Note> {
    let shown: Vec<_> = statuses.iter().map(ToString::to_string).collect();
    (!shown.is_empty()).then(|| Note::new(NoteCode::UpstreamInterim, shown.join(", ")))
}

/// Whether a body was malformed, and not merely cut off.
pub(super) fn is_malformed(error: &(dyn Error + 'static)) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    io_error(error).is_some_and(|error| matches!(error.kind(), InvalidData | InvalidInput))
}

/// An error's message, with the message of the error that caused it.
pub(super) fn source_words(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Checks that the length of an answer is unambiguous and that no transfer coding would be lost.
///
/// # Errors
/// `upstream_malformed_response`.
fn framing(head: &response::Parts) -> Result<(), Failure> {
    let (coded, known) = match only(&head.headers, &header::TRANSFER_ENCODING) {
        Ok(None) => (false, true),
        Ok(Some(coding)) => (true, coding.as_bytes().eq_ignore_ascii_case(b"chunked")),
        Err(_) => (true, false),
    };
    // hyper accepts a list of equal lengths and would pass it on unchanged.
    let ambiguous = match only(&head.headers, &header::CONTENT_LENGTH) {
        Ok(None) => false,
        Ok(Some(length)) => coded || !length.as_bytes().iter().all(u8::is_ascii_digit),
        Err(_) => true,
    };
    if ambiguous || !known {
        let detail = format!(
            "status {} with {}, {}",
            head.status.as_u16(),
            found(&head.headers, "content-length"),
            found(&head.headers, "transfer-encoding")
        );
        return Err(malformed(detail));
    }
    Ok(())
}

/// Checks that an answer to a plain request can be passed on.
///
/// # Errors
/// `upstream_malformed_response` and `upstream_101_unsolicited`.
pub(super) fn plain(head: &response::Parts) -> Result<(), Failure> {
    match head.status.as_u16() {
        101 => Err(Failure::new(
            Reason::Upstream101Unsolicited,
            found(&head.headers, "upgrade"),
        )),
        200..=599 => framing(head),
        status => Err(malformed(format!(
            "status {status}, which RFC 9110 does not define"
        ))),
    }
}

/// The reason for an answer other than 101, which is relayed with its own status.
///
/// # Errors
/// `upstream_malformed_response` if the length is ambiguous (relaying it would mean choosing one reading), if a
/// transfer coding would be lost, or if the status has no meaning here. A 304 is relayed as a redirect only if the
/// request was `conditional`.
pub(super) fn refused(head: &response::Parts, conditional: bool) -> Result<Failure, Failure> {
    framing(head)?;
    let status = head.status.as_u16();
    if status == 304 && !conditional {
        return Err(malformed("304 to a request without conditions"));
    }
    let Some(reason) = Reason::of_answer(status) else {
        let detail = format!("status {status}, which RFC 9110 does not define");
        return Err(malformed(detail));
    };
    let mut detail = format!("the upstream answered {status}");
    if let Some(location) = head.headers.get(header::LOCATION) {
        detail = format!(
            "{detail} with Location: {}",
            secrets::location(location.as_bytes())
        );
    }
    let failure = Failure::new(reason, detail).with_status(status);
    Ok(match hint::of(head) {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    })
}

/// A well-formed answer that has no meaning here.
fn malformed(detail: impl Into<String>) -> Failure {
    Failure::new(Reason::UpstreamMalformedResponse, detail).with_hint(
        "the upstream's HTTP server, or a hop behind the proxy, sends an invalid head: detail says what is wrong",
    )
}

/// What an opening handshake offered, which binds the answer.
#[derive(Clone, Copy, Debug)]
pub struct Offered<'a> {
    /// The `Sec-WebSocket-Accept` for its key.
    pub accept: &'a str,
    /// Its subprotocols.
    pub subprotocols: &'a [String],
    /// The names of its extensions.
    pub extensions: &'a [String],
    /// The subprotocols that may be chosen; empty: all that were offered.
    pub allowed: &'a [String],
}

/// Verifies a 101 (RFC 6455 section 4.1, RFC 9112 section 6.1); `wire` has the first bytes that came.
///
/// # Errors
/// The reason of the first violated rule.
pub fn verify(head: &response::Parts, wire: &[u8], offered: Offered<'_>) -> Result<(), Failure> {
    let fields = &head.headers;
    if head.version != Version::HTTP_11 {
        return Err(Failure::new(Reason::UpstreamHttp10101, first_bytes(wire)));
    }
    let lists = |name, wanted: &str| {
        tokens(fields, name).any(|token| token.eq_ignore_ascii_case(wanted.as_bytes()))
    };
    if tokens(fields, &header::UPGRADE).count() != 1 || !lists(&header::UPGRADE, "websocket") {
        return Err(Failure::new(
            Reason::Upstream101NoUpgrade,
            found(fields, "upgrade"),
        ));
    }
    if !lists(&header::CONNECTION, "upgrade") {
        return Err(Failure::new(
            Reason::Upstream101NoConnection,
            found(fields, "connection"),
        ));
    }
    // Fields that Connection names are not passed on. The client would get a 101 other than the verified one.
    const PROTECTED: &[u8] = b"sec-websocket-";
    let named = tokens(fields, &header::CONNECTION).find(|token| {
        let start = token.get(..PROTECTED.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(PROTECTED))
    });
    if named.is_some() {
        let detail = format!("{}; these fields end here", found(fields, "connection"));
        return Err(
            Failure::new(Reason::UpstreamMalformedResponse, detail).with_hint(
                "let the upstream, or the hop behind the proxy, name only hop-by-hop fields in Connection",
            ),
        );
    }
    let length = fields
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .find(|length| *length != "0");
    if length.is_some() || fields.contains_key(header::TRANSFER_ENCODING) {
        let detail = format!(
            "{}, {}",
            found(fields, "content-length"),
            found(fields, "transfer-encoding")
        );
        return Err(Failure::new(Reason::Upstream101WithBody, detail));
    }
    verify_accept(fields, offered.accept)?;
    verify_subprotocol(fields, offered)?;
    verify_extensions(fields, offered.extensions)
}

fn verify_accept(fields: &HeaderMap, expected: &str) -> Result<(), Failure> {
    match only(fields, &header::SEC_WEBSOCKET_ACCEPT) {
        Ok(Some(accept)) if accept.as_bytes() == expected.as_bytes() => Ok(()),
        Ok(None) => Err(Reason::UpstreamAcceptMissing.into()),
        _ => {
            let detail = format!(
                "{}, expected {expected}",
                found(fields, "sec-websocket-accept")
            );
            Err(Failure::new(Reason::UpstreamAcceptMismatch, detail))
        }
    }
}

fn verify_subprotocol(fields: &HeaderMap, offered: Offered<'_>) -> Result<(), Failure> {
    let refuse = |why: &str| {
        let detail = format!("{}; {why}", found(fields, "sec-websocket-protocol"));
        Err(Failure::new(Reason::UpstreamSubprotocolUnrequested, detail))
    };
    let chosen = match only(fields, &header::SEC_WEBSOCKET_PROTOCOL) {
        Ok(None) => return Ok(()),
        Ok(Some(chosen)) => chosen,
        Err(_) => return refuse("more than one field"),
    };
    let has = |names: &[String]| {
        names
            .iter()
            .any(|name| name.as_bytes() == chosen.as_bytes())
    };
    if !has(offered.subprotocols) {
        return refuse(&format!("offered: {}", listed(offered.subprotocols)));
    }
    if !offered.allowed.is_empty() && !has(offered.allowed) {
        return refuse(&format!("the route allows: {}", offered.allowed.join(", ")));
    }
    Ok(())
}

/// The names of the extensions in a verified 101.
pub fn extensions(fields: &HeaderMap) -> Vec<String> {
    let values = fields.get_all(header::SEC_WEBSOCKET_EXTENSIONS);
    let names = values
        .into_iter()
        .filter_map(|value| extension_names(value.as_bytes()));
    names.flatten().collect()
}

fn verify_extensions(fields: &HeaderMap, extensions: &[String]) -> Result<(), Failure> {
    let refuse = |why: String| {
        let detail = format!("{}; {why}", found(fields, "sec-websocket-extensions"));
        Err(Failure::new(Reason::UpstreamExtensionUnrequested, detail))
    };
    let count = members(fields, &header::SEC_WEBSOCKET_EXTENSIONS);
    if count > MOST_EXTENSIONS {
        return refuse(format!("{count} extensions, allowed: {MOST_EXTENSIONS}"));
    }
    for value in fields.get_all(header::SEC_WEBSOCKET_EXTENSIONS) {
        let chosen = extension_names(value.as_bytes()).unwrap_or_else(|| vec![String::new()]);
        if !chosen.iter().all(|name| extensions.contains(name)) {
            let offered = extensions.iter().map(String::as_bytes);
            let offered = known(offered, &[words::EXTENSIONS]);
            return refuse(format!("offered: {offered}"));
        }
    }
    Ok(())
}

/// Refuses bytes after a 101 that are a second response head instead of frames.
///
/// # Errors
/// `upstream_double_101`.
pub fn check_early(early: &[u8]) -> Result<(), Failure> {
    const STATUS_LINE: &[u8] = b"HTTP/1.";
    let common = early.len().min(STATUS_LINE.len());
    // A response head can't be a valid frame: "H" would be a fragmented control frame with a reserved bit.
    if common > 0 && early.get(..common) == STATUS_LINE.get(..common) {
        // The reason phrase and the rest may be anything, even a cookie.
        return Err(Failure::new(
            Reason::UpstreamDouble101,
            format!("after the 101: {}", secrets::status_of(early)),
        ));
    }
    Ok(())
}

/// The subprotocols that a client offered, for a detail. The list as a whole is cut.
pub(super) fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let shown = names.iter().map(|name| secrets::name(name).as_bytes());
    peer_list(shown, ", ")
}

/// What a detail may say about a field. An upstream may repeat in any field what its client sent.
fn found(fields: &HeaderMap, name: &str) -> String {
    let values: Vec<_> = fields.get_all(name).iter().collect();
    let members = || {
        let lists = values.iter().map(|value| value.as_bytes());
        lists
            .flat_map(|list| list.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
    };
    let said = match (name, values.as_slice()) {
        (_, []) => return format!("no {name}"),
        ("upgrade", _) => known(members(), &[words::UPGRADE]),
        ("connection", _) => known(members(), &[words::CONNECTION, words::FIELDS]),
        ("transfer-encoding", _) => known(members(), &[words::CODINGS]),
        ("sec-websocket-extensions", _) => {
            let names = members().map(|member| {
                let name = member.split(|&byte| byte == b';').next();
                name.unwrap_or_default().trim_ascii()
            });
            known(names, &[words::EXTENSIONS])
        }
        ("sec-websocket-protocol", _) => {
            let shown = members().map(|member| match secrets::is_token_like(member) {
                true => b"*",
                false => member,
            });
            peer_list(shown, ", ")
        }
        ("content-length", [value]) => secrets::number(value.as_bytes()),
        (_, [value]) => format!("{} bytes", value.len()),
        (_, several) => format!("{} fields", several.len()),
    };
    format!("{name}: {said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_repeat_is_cut() {
        let names = vec!["x".repeat(100); 100];
        assert!(listed(&names).len() < 300);
        let mut fields = HeaderMap::new();
        for name in &names {
            let value = header::HeaderValue::from_str(name).expect("a valid value");
            fields.append(header::UPGRADE, value);
        }
        let shown = found(&fields, "upgrade");
        assert!(shown.len() < 300, "{shown}");
    }

    #[test]
    fn a_second_head_is_told_from_frames() {
        for early in [&b"H"[..], b"HTTP", b"HTTP/1.1 200 OK\r\n"] {
            assert!(check_early(early).is_err());
        }
        for early in [&b""[..], b"\x81\x02hi", b"\x88\x00"] {
            assert!(check_early(early).is_ok());
        }
    }
}
