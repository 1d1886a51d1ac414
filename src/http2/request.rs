//! Checks the head of a request over HTTP/2 (RFC 9113 section 8.3, RFC 8441 section 4), and gives it the form that it would
//! have in HTTP/1.1. The rest of the proxy knows only that form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Uri};

use crate::http::fields::{MAX_FIELDS, only};
use crate::http::framing::content_length;
use crate::http::opening::websocket_field;
use crate::http::target::{check_path, origin_form};
use crate::policy::Authority;
use crate::reason::{Failure, Reason};
use crate::secrets::{self, known};

/// What a field costs beside its name and value, as in the text of an HTTP/1.1 head: a colon, a space and a line end.
const FIELD_COST: usize = 4;

/// The status of a refusal that the client can read.
const BAD_REQUEST: u16 = 400;

/// Whether a request asks for a WebSocket, in the right way or not.
#[must_use]
pub fn is_websocket(request: &Parts) -> bool {
    request.method == Method::CONNECT || websocket_field(&request.headers).is_some()
}

/// Checks a request, and gives it the form of HTTP/1.1: the path alone as its target, the authority as Host, one Cookie,
/// and for an extended CONNECT the fields of an opening handshake, with a key of the proxy's own. Also returns the length that
/// is announced for the body. `is_over`: nothing follows the head. `limit` is in bytes.
///
/// # Errors
/// `http_too_large`, `http_host_missing`, `http_host_invalid`, `http_framing_conflict`, `http_body_on_upgrade`,
/// `http_malformed`, `path_ambiguous` and the `h2_…` reasons of a single request.
pub fn translated(
    mut request: Parts,
    is_over: bool,
    limit: usize,
) -> Result<(Parts, Option<u64>), Failure> {
    check_size(&request, limit)?;
    check_fields(&request.headers)?;
    let is_websocket = check_method(&request)?;
    check_scheme(&request.uri)?;
    let target = origin_form(&request.uri);
    // If nothing is before a `#`, the URI type keeps an empty path, which `as_str` shows as `/`.
    check_path(match request.uri.path_and_query() {
        Some(path) if !target.path().is_empty() => path.as_str(),
        _ => "",
    })?;
    let host = authority(&request)?;
    let length = content_length(&request.headers)?;
    request.uri = target;
    let fields = &mut request.headers;
    join_cookies(fields);
    if let Some(host) = host {
        fields.insert(header::HOST, host);
    }
    if is_websocket {
        opening(&mut request, is_over, length)?;
    } else if !is_over && length.is_none() {
        // A body whose length is not known is chunked in HTTP/1.1.
        fields.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    }
    Ok((request, length))
}

fn malformed(detail: impl Into<String>) -> Failure {
    Failure::new(Reason::H2MalformedRequest, detail.into()).with_status(BAD_REQUEST)
}

/// The size that the head would have as HTTP/1.1.
fn check_size(request: &Parts, limit: usize) -> Result<(), Failure> {
    let fields = &request.headers;
    let line = request.method.as_str().len() + request.uri.to_string().len();
    let cost =
        |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + FIELD_COST;
    let size = fields.iter().map(cost).fold(line, usize::saturating_add);
    let detail = if size > limit {
        format!("the head has {size} bytes, allowed: {limit}")
    } else if fields.len() > MAX_FIELDS {
        format!(
            "the head has {} fields, allowed: {MAX_FIELDS}",
            fields.len()
        )
    } else {
        return Ok(());
    };
    Err(Failure::new(Reason::HttpTooLarge, detail).with_status(431))
}

/// The library refuses the names and values that could end a field. White space around a value would change its meaning
/// in HTTP/1.1 (RFC 9113 section 8.2.1).
fn check_fields(fields: &HeaderMap) -> Result<(), Failure> {
    for (name, value) in fields {
        let value = value.as_bytes();
        if value.trim_ascii().len() != value.len() {
            let name = secrets::field_name(name.as_str());
            return Err(malformed(format!(
                "the value of {name} has white space at its beginning or end"
            )));
        }
    }
    Ok(())
}

/// Returns whether the request is an extended CONNECT for a WebSocket.
fn check_method(request: &Parts) -> Result<bool, Failure> {
    let unknown = |detail: String| Failure::new(Reason::H2ProtocolUnknown, detail);
    let protocol = request.extensions.get::<Protocol>().map(Protocol::as_str);
    match (request.method == Method::CONNECT, protocol) {
        (true, Some(protocol)) if protocol.eq_ignore_ascii_case("websocket") => Ok(true),
        (true, Some(protocol)) => Err(unknown(format!(
            ":protocol is {}",
            known([protocol.as_bytes()], &[PROTOCOLS])
        ))),
        (true, None) => Err(unknown("CONNECT without :protocol".to_owned())),
        // The library refuses :protocol with another method.
        (false, _) => match websocket_field(&request.headers) {
            Some(field) => Err(Failure::new(
                Reason::H2WsUnsupported,
                format!("{} with {field}", method(&request.method)),
            )
            .with_status(BAD_REQUEST)),
            None => Ok(false),
        },
    }
}

/// The values of :protocol that are registered with IANA, and that may be shown.
const PROTOCOLS: &[&str] = &[
    "websocket",
    "connect-udp",
    "connect-ip",
    "connect-ethernet",
    "connect-tcp",
    "webtransport",
];

fn method(method: &Method) -> String {
    known([method.as_str().as_bytes()], &[secrets::words::METHODS])
}

/// A scheme says nothing about the connection to the proxy: a hop in front may pass on the one that its client used.
fn check_scheme(uri: &Uri) -> Result<(), Failure> {
    match uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(malformed(":scheme is neither https nor http")),
    }
}

/// The value that Host has in HTTP/1.1. `None`: as it is.
fn authority(request: &Parts) -> Result<Option<HeaderValue>, Failure> {
    let invalid = |detail: &str| Failure::new(Reason::HttpHostInvalid, detail);
    let host = only(&request.headers, &header::HOST)
        .map_err(|count| Failure::new(Reason::HttpHostInvalid, format!("{count} Host fields")))?;
    // Without :authority, Host says which host is meant.
    let Some(authority) = request.uri.authority() else {
        return match host {
            Some(_) => Ok(None),
            None => Err(Failure::new(
                Reason::HttpHostMissing,
                "neither :authority nor Host",
            )),
        };
    };
    if Authority::parse(authority.as_str().as_bytes()).is_none() {
        return Err(invalid(":authority is not a host with an optional port"));
    }
    match host {
        Some(host)
            if !host
                .as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            Err(invalid("Host differs from :authority"))
        }
        _ => HeaderValue::from_str(authority.as_str())
            .map(Some)
            .map_err(|_| invalid(":authority is not a host with an optional port")),
    }
}

/// A client may split Cookie to compress it better. HTTP/1.1 allows only one (RFC 9113 section 8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let cookies: Vec<_> = fields.get_all(header::COOKIE).iter().collect();
    if cookies.len() < 2 {
        return;
    }
    let joined = cookies
        .iter()
        .map(|cookie| cookie.as_bytes())
        .collect::<Vec<_>>()
        .join(&b"; "[..]);
    // It consists of values that were valid.
    if let Ok(mut joined) = HeaderValue::from_bytes(&joined) {
        joined.set_sensitive(true);
        fields.insert(header::COOKIE, joined);
    }
}

/// Makes an opening handshake of an extended CONNECT. Sec-WebSocket-Key has no meaning over HTTP/2 (RFC 8441 section 5).
fn opening(request: &mut Parts, is_over: bool, length: Option<u64>) -> Result<(), Failure> {
    if let Some(length) = length.filter(|length| *length > 0) {
        let detail = format!("Content-Length: {length}");
        return Err(Failure::new(Reason::HttpBodyOnUpgrade, detail));
    }
    if is_over {
        return Err(malformed(
            "the CONNECT has END_STREAM, so no WebSocket frame could follow it",
        ));
    }
    let key = STANDARD.encode(nonce());
    let key = HeaderValue::try_from(key).map_err(|_| malformed("the key is not valid"))?;
    request.method = Method::GET;
    let fields = &mut request.headers;
    fields.remove(header::CONTENT_LENGTH);
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::SEC_WEBSOCKET_KEY, key);
    Ok(())
}

/// A random number for a key (RFC 6455 section 4.1).
fn nonce() -> [u8; 16] {
    let mut nonce = [0; 16];
    // This fails only on systems without a source of randomness. The key has to differ, but it is not a secret.
    let _ = getrandom::fill(&mut nonce);
    nonce
}

/// Takes out the fields of an answer that HTTP/2 does not allow or that mean nothing there (RFC 9113 section 8.2.2, RFC
/// 8441 section 5).
pub(super) fn without_hop_fields(fields: &mut HeaderMap) {
    for name in [
        header::CONNECTION,
        header::UPGRADE,
        header::TRANSFER_ENCODING,
        header::SEC_WEBSOCKET_ACCEPT,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests;
