//! The opening handshake (RFC 6455 section 4.2.1): checks whether a request is a valid one.

use std::collections::HashSet;

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Version};
use sha1::{Digest as _, Sha1};

use super::fields::{list_tokens, members, only, tokens};
use crate::policy::Authority;
use crate::reason::{Failure, Reason};
use crate::secrets::{self, known, words};
use crate::text::is_token;

/// The kind of a valid request.
#[derive(Debug)]
pub enum RequestKind {
    /// An opening handshake that follows RFC 6455.
    Opening(Opening),
    /// A request without any WebSocket field.
    Plain {
        /// The fields that ask for HTTP/2; a server may ignore them (RFC 9110 section 7.8).
        asks_h2c: Option<&'static str>,
    },
}

/// A checked opening handshake.
#[derive(Debug, PartialEq, Eq)]
pub struct Opening {
    /// `Sec-WebSocket-Key` as received.
    pub key: HeaderValue,
    /// Offered subprotocols, in order.
    pub subprotocols: Vec<String>,
    /// Names of the offered extensions, in order.
    pub extensions: Vec<String>,
}

impl Opening {
    /// The `Sec-WebSocket-Accept` for its key (RFC 6455 section 4.2.2 item 5.4).
    #[must_use]
    pub fn accept(&self) -> String {
        accept_value(self.key.as_bytes())
    }
}

/// The `Sec-WebSocket-Accept` for a key.
#[must_use]
pub fn accept_value(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Appended to the key before hashing (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Most subprotocols that a client may offer. Real clients offer a few. They are kept until the upstream chooses one.
const MOST_SUBPROTOCOLS: usize = 100;

/// Most extensions in an offer and in the answer to it. Browsers offer one.
pub(crate) const MOST_EXTENSIONS: usize = 100;

/// Fields that Connection must not name and that must not come as trailers: both would change who sent the request or
/// what it asks for.
const PROTECTED: [&str; 13] = [
    "host",
    "origin",
    "referer",
    "authorization",
    "cookie",
    "content-length",
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-real-ip",
    "x-request-id",
];

/// The host and port that a request is for: those of a target in absolute form (RFC 9112 section 3.2.2), or else those
/// of the Host field. HTTP/1.0 does not require a Host.
///
/// # Errors
/// `http_host_missing` and `http_host_invalid`.
pub fn authority(request: &Parts) -> Result<Authority, Failure> {
    let host_field = match only(&request.headers, &header::HOST) {
        Ok(Some(value)) => host(value)?,
        Ok(None) if request.version == Version::HTTP_10 => Authority::unnamed(),
        Ok(None) => return Err(Reason::HttpHostMissing.into()),
        Err(count) => {
            return Err(Failure::new(
                Reason::HttpHostInvalid,
                format!("{count} Host fields"),
            ));
        }
    };
    match request.uri.authority() {
        None => Ok(host_field),
        Some(target) => Authority::parse(target.as_str().as_bytes()).ok_or_else(|| {
            Failure::new(
                Reason::HttpHostInvalid,
                "the target's host is not a host with an optional port",
            )
        }),
    }
}

fn host(value: &HeaderValue) -> Result<Authority, Failure> {
    let detail = "the Host field is not a host with an optional port";
    let parsed = Authority::parse(value.as_bytes());
    parsed.ok_or_else(|| Failure::new(Reason::HttpHostInvalid, detail))
}

/// Whether a request has any part of an opening handshake, valid or not: an Upgrade other than to HTTP/2, or a
/// `Sec-WebSocket-*` field.
#[must_use]
pub fn is_meant(request: &Parts) -> bool {
    let fields = &request.headers;
    let upgrades: Vec<_> = tokens(fields, &header::UPGRADE).collect();
    let has_upgrade = !upgrades.is_empty() && asks_h2c(&upgrades, fields).is_none();
    has_upgrade || websocket_field(fields).is_some()
}

/// Names the fields that ask for HTTP/2 without TLS.
fn asks_h2c(upgrades: &[&[u8]], fields: &HeaderMap) -> Option<&'static str> {
    match (
        includes(upgrades, "h2c"),
        fields.contains_key("http2-settings"),
    ) {
        (true, true) => Some("Upgrade: h2c and HTTP2-Settings"),
        (true, false) => Some("Upgrade: h2c"),
        (false, true) => Some("HTTP2-Settings"),
        (false, false) => None,
    }
}

/// The name of a field that only an opening handshake has, if a request has one.
pub(crate) fn websocket_field(fields: &HeaderMap) -> Option<&str> {
    let mut names = fields.keys().map(HeaderName::as_str);
    names.find(|name| name.starts_with("sec-websocket-"))
}

/// Tells an opening handshake from a plain request and checks it.
///
/// # Errors
/// The first matching reason of the http stage.
pub fn check(request: &Parts) -> Result<RequestKind, Failure> {
    let fields = &request.headers;
    check_connection(fields)?;
    let upgrades: Vec<_> = tokens(fields, &header::UPGRADE).collect();
    let asks_h2c = asks_h2c(&upgrades, fields);
    if let Some(asking) = asks_h2c
        && (websocket_field(fields).is_some() || includes(&upgrades, "websocket"))
    {
        return Err(h2c_refused(asking));
    }
    if !is_meant(request) {
        return check_expect(fields).map(|()| RequestKind::Plain { asks_h2c });
    }
    if let Some(length) = fields.get(header::CONTENT_LENGTH)
        && !length.as_bytes().iter().all(|&digit| digit == b'0')
    {
        return Err(Failure::new(
            Reason::HttpBodyOnUpgrade,
            format!("Content-Length: {}", secrets::number(length.as_bytes())),
        ));
    }
    if fields.contains_key(header::TRANSFER_ENCODING) {
        return Err(Failure::new(Reason::HttpBodyOnUpgrade, "Transfer-Encoding"));
    }
    if request.method != Method::GET {
        let method = request.method.as_str().as_bytes();
        let detail = format!("the method is {}", known([method], &[words::METHODS]));
        return Err(Failure::new(Reason::WsMethodNotGet, detail));
    }
    if upgrades.is_empty() {
        // A hop that removes Upgrade leaves these two fields, which every client sends.
        let reason = match is_handshake(fields) {
            true => Reason::WsUpgradeHeaderMissing,
            false => Reason::WsHandshakeMissing,
        };
        return Err(Failure::new(reason, arrived(fields)));
    }
    if !includes(&upgrades, "websocket") {
        let found = known(upgrades.iter().copied(), &[words::UPGRADE]);
        return Err(Failure::new(
            Reason::WsUpgradeNotWebsocket,
            format!("Upgrade: {found}"),
        ));
    }
    let connection: Vec<_> = tokens(fields, &header::CONNECTION).collect();
    if !includes(&connection, "upgrade") {
        return Err(Failure::new(
            Reason::WsConnectionTokenMissing,
            arrived(fields),
        ));
    }
    check_version(fields)?;
    let opening = Opening {
        key: apart(check_key(fields)?),
        subprotocols: check_subprotocols(fields)?,
        extensions: check_extensions(fields)?,
    };
    if let Some(expect) = fields.get(header::EXPECT) {
        return Err(Failure::new(Reason::HttpExpectRefused, expected(expect)));
    }
    Ok(RequestKind::Opening(opening))
}

/// The failure of a request that asks for HTTP/2 without TLS; `asking` names the fields.
pub fn h2c_refused(asking: &str) -> Failure {
    Failure::new(Reason::H2cRefused, format!("found {asking}"))
}

/// Whether a request has a field that every opening handshake has and no other request.
fn is_handshake(fields: &HeaderMap) -> bool {
    fields.contains_key(header::SEC_WEBSOCKET_KEY)
        || fields.contains_key(header::SEC_WEBSOCKET_VERSION)
}

/// Lists the fields of an opening handshake that arrived, for a detail.
fn arrived(fields: &HeaderMap) -> String {
    let list = |name: &'static str, field: &HeaderName, lists: &[&[&str]]| match fields
        .contains_key(field)
    {
        true => format!("{name}: {}", known(tokens(fields, field), lists)),
        false => format!("no {name}"),
    };
    let mut parts = vec![
        list("Upgrade", &header::UPGRADE, &[words::UPGRADE]),
        list(
            "Connection",
            &header::CONNECTION,
            &[words::CONNECTION, words::FIELDS],
        ),
    ];
    let others = [
        ("Sec-WebSocket-Key", header::SEC_WEBSOCKET_KEY),
        ("Sec-WebSocket-Version", header::SEC_WEBSOCKET_VERSION),
        ("Sec-WebSocket-Protocol", header::SEC_WEBSOCKET_PROTOCOL),
        ("Sec-WebSocket-Extensions", header::SEC_WEBSOCKET_EXTENSIONS),
    ];
    let came = others
        .iter()
        .filter(|(_, field)| fields.contains_key(field));
    parts.extend(came.map(|(name, _)| (*name).to_owned()));
    format!("parts of the handshake that arrived: {}", parts.join("; "))
}

/// 100-continue is the only expectation that exists (RFC 9110 section 10.1.1); the proxy itself answers it.
fn check_expect(fields: &HeaderMap) -> Result<(), Failure> {
    match only(fields, &header::EXPECT) {
        Ok(None) => Ok(()),
        Ok(Some(value)) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        Ok(Some(value)) => Err(Failure::new(Reason::HttpExpectRefused, expected(value))),
        Err(count) => {
            let detail = format!("{count} Expect fields");
            Err(Failure::new(Reason::HttpExpectRefused, detail))
        }
    }
}

/// Describes the expectation, for a detail.
fn expected(value: &HeaderValue) -> String {
    let value = value.as_bytes();
    format!("Expect: {}", known([value], &[&["100-continue"]]))
}

fn includes(tokens: &[&[u8]], name: &str) -> bool {
    tokens
        .iter()
        .any(|token| token.eq_ignore_ascii_case(name.as_bytes()))
}

/// RFC 9110 section 7.6.1 lets Connection name any field for removal. Some must not be removed.
fn check_connection(fields: &HeaderMap) -> Result<(), Failure> {
    for token in tokens(fields, &header::CONNECTION) {
        if is_protected(token) {
            let detail = format!("Connection names {}", known([token], &[words::FIELDS]));
            return Err(Failure::new(Reason::HttpConnectionProtected, detail));
        }
    }
    Ok(())
}

/// Whether a field says who sent a request or what it asks for, in any letter case.
pub(crate) fn is_protected(name: &[u8]) -> bool {
    const FAMILY: &[u8] = b"sec-websocket-";
    let start = name.get(..FAMILY.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(FAMILY))
        || PROTECTED
            .iter()
            .any(|protected| name.eq_ignore_ascii_case(protected.as_bytes()))
}

fn check_version(fields: &HeaderMap) -> Result<(), Failure> {
    let detail = match only(fields, &header::SEC_WEBSOCKET_VERSION) {
        Ok(Some(value)) if value == "13" => return Ok(()),
        Ok(Some(value)) => format!(
            "Sec-WebSocket-Version: {}",
            secrets::number(value.as_bytes())
        ),
        Ok(None) => {
            let detail = "Sec-WebSocket-Version is missing";
            return Err(Failure::new(Reason::WsVersionUnsupported, detail).with_hint(
                "the request was made by hand, or a hop in front does not forward Sec-WebSocket-Version",
            ));
        }
        Err(count) => format!("{count} Sec-WebSocket-Version fields"),
    };
    Err(Failure::new(Reason::WsVersionUnsupported, detail))
}

fn check_key(fields: &HeaderMap) -> Result<&HeaderValue, Failure> {
    const NONCE: usize = 16;
    let several = |detail: String| {
        Failure::new(Reason::WsKeyInvalid, detail).with_hint(
            "the client sends Sec-WebSocket-Key more than once, or a hop in front adds another one: one of the two \
             has to stop",
        )
    };
    let detail = match only(fields, &header::SEC_WEBSOCKET_KEY) {
        // Hops join repeated fields in this way.
        Ok(Some(key)) if key.as_bytes().contains(&b',') => {
            return Err(several(
                "several keys in one field, joined by commas".to_owned(),
            ));
        }
        Ok(Some(key)) => match STANDARD.decode(key.as_bytes()) {
            Ok(nonce) if nonce.len() == NONCE => return Ok(key),
            Ok(nonce) => format!("the key decodes to {} bytes", nonce.len()),
            Err(DecodeError::InvalidByte(offset, _)) => {
                format!("the key is not base64: byte {} is not allowed", offset + 1)
            }
            Err(_) => format!(
                "the key is not base64: its {} bytes have a wrong ending; the base64 of 16 bytes ends with two =",
                key.len()
            ),
        },
        Ok(None) => return Err(Reason::WsKeyMissing.into()),
        Err(count) => return Err(several(format!("{count} Sec-WebSocket-Key fields"))),
    };
    Err(Failure::new(Reason::WsKeyInvalid, detail))
}

/// A copy of a value that does not keep the memory of the whole head alive.
fn apart(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// Checks a list of distinct tokens, possibly over several lines (RFC 6455 section 11.3.4).
fn check_subprotocols(fields: &HeaderMap) -> Result<Vec<String>, Failure> {
    let invalid = |detail: String| Failure::new(Reason::WsProtocolHeaderInvalid, detail);
    let count = members(fields, &header::SEC_WEBSOCKET_PROTOCOL);
    if count > MOST_SUBPROTOCOLS {
        return Err(invalid(format!(
            "{count} subprotocols are offered, allowed: {MOST_SUBPROTOCOLS}"
        ))
        .with_hint(
            "real clients offer a few: check the code that builds the client's list of subprotocols",
        ));
    }
    let mut seen = HashSet::new();
    let mut offered = Vec::new();
    for value in fields.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        let names = list_tokens(value.as_bytes())
            // Instead of a name there may be a bearer token, so it is not shown.
            .ok_or_else(|| invalid("a member of the list is empty or not a token".to_owned()))?;
        for name in names {
            if !seen.insert(name.clone()) {
                return Err(invalid(format!(
                    "{} is offered twice",
                    secrets::name(&name)
                )));
            }
            offered.push(name);
        }
    }
    Ok(offered)
}

/// Returns the names in an extension list (RFC 6455 section 9.1). Only the grammar of their parameters is checked.
fn check_extensions(fields: &HeaderMap) -> Result<Vec<String>, Failure> {
    let count = members(fields, &header::SEC_WEBSOCKET_EXTENSIONS);
    if count > MOST_EXTENSIONS {
        return Err(Failure::new(
            Reason::WsExtensionsHeaderInvalid,
            format!("{count} extensions are offered, allowed: {MOST_EXTENSIONS}"),
        )
        .with_hint("real clients offer a few: check the client, or the hop in front that rewrites the offer of extensions"));
    }
    let mut names = Vec::new();
    for value in fields.get_all(header::SEC_WEBSOCKET_EXTENSIONS) {
        let members = value.as_bytes().split(|&byte| byte == b',');
        for (index, member) in members.enumerate() {
            names.push(extension_name(member).ok_or_else(|| {
                // The member may contain a secret, so it is not shown.
                let detail = format!(
                    "member {} of the list is not a name with parameters NAME or NAME=VALUE",
                    index + 1
                );
                Failure::new(Reason::WsExtensionsHeaderInvalid, detail)
            })?);
        }
    }
    Ok(names)
}

/// Parses `extension *( "," extension )`; `None` if it is malformed.
pub(crate) fn extension_names(value: &[u8]) -> Option<Vec<String>> {
    // A quoted parameter value must be a token when unquoted, so it can't contain a comma or semicolon.
    value
        .split(|&byte| byte == b',')
        .map(extension_name)
        .collect()
}

/// Parses `token *( ";" token [ "=" ( token | quoted token ) ] )`; `None` if it is malformed.
fn extension_name(extension: &[u8]) -> Option<String> {
    let mut parts = extension
        .split(|&byte| byte == b';')
        .map(<[u8]>::trim_ascii);
    let name = token(parts.next()?)?;
    for parameter in parts {
        let mut halves = parameter
            .splitn(2, |&byte| byte == b'=')
            .map(<[u8]>::trim_ascii);
        token(halves.next()?)?;
        if let Some(value) = halves.next() {
            let unquoted = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""))
                .unwrap_or(value);
            token(unquoted)?;
        }
    }
    Some(name)
}

fn token(bytes: &[u8]) -> Option<String> {
    let valid = !bytes.is_empty() && bytes.iter().copied().all(is_token);
    valid.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// Whether a field is handled by this module and the upstream's request, and not simply passed on.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "proxy-connection"
            | "keep-alive"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "proxy-authenticate"
            | "proxy-authorization"
    )
}

#[cfg(test)]
mod tests;
