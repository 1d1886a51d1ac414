//! Refusals: what the proxy itself answers to a request that it refuses; and the fields that it sets in other answers.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::AsyncWriteExt;

use super::Body;
use crate::reason::{Failure, Reason};
use crate::stream::ClientStream;

/// The proxy's name in `Proxy-Status` (RFC 9209 section 2).
const PROXY_NAME: &str = "wsgate";

/// Seconds until a retry makes sense: long enough to start a replacement and to spread out many clients.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// The field that carries the request id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The answer to a request that failed with `failure`: never a redirect, always the last answer of its connection.
#[must_use]
pub fn refusal(failure: &Failure, request_id: &str) -> Response<Bytes> {
    let reason = failure.reason;
    let status = failure
        .http_status()
        .and_then(|status| StatusCode::from_u16(status).ok());
    let advice = reason
        .client_advice()
        .map(|advice| format!("{advice}\n"))
        .unwrap_or_default();
    let text = format!(
        "{}\n{}\n{advice}request id: {request_id}\n",
        reason.code(),
        reason.spec().cause
    );
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let length = response.body().len().into();
    let fields = response.headers_mut();
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    fields.insert(header::CONTENT_LENGTH, length);
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set_request_id(fields, request_id);
    set_proxy_status(fields, failure, None);
    match failure.http_status() {
        Some(405) => {
            let allow = failure.allow.as_deref().unwrap_or("GET");
            if let Ok(allow) = HeaderValue::from_str(allow) {
                fields.insert(header::ALLOW, allow);
            }
        }
        // A 426 must name the protocol to upgrade to (RFC 9110 section 15.5.22), and Connection must list Upgrade
        // (section 7.8).
        Some(426) => {
            fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            fields.insert(
                header::CONNECTION,
                HeaderValue::from_static("upgrade, close"),
            );
        }
        _ => {}
    }
    if reason == Reason::WsVersionUnsupported {
        fields.insert(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        );
    }
    if let Some(seconds) = failure.retry_after {
        fields.insert(header::RETRY_AFTER, seconds.into());
    } else if reason.is_retryable() {
        fields.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

/// Adds the request id to an answer of the upstream, and the reason why it is not a 101 (RFC 9209).
pub fn identify(response: &mut Response<Body>, request_id: &str, failure: &Failure) {
    let received = response.status().as_u16();
    let fields = response.headers_mut();
    set_request_id(fields, request_id);
    set_proxy_status(fields, failure, Some(received));
}

/// Sets the id that an answer shares with its record.
pub fn set_request_id(fields: &mut HeaderMap, request_id: &str) {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        fields.insert(X_REQUEST_ID, id);
    }
}

fn set_proxy_status(fields: &mut HeaderMap, failure: &Failure, received: Option<u16>) {
    let reason = failure.reason;
    let mut status = PROXY_NAME.to_owned();
    // A reason that never leads to an answer has no error type.
    if !reason.spec().proxy_error.is_empty() {
        status.push_str(&format!("; error={}", reason.spec().proxy_error));
    }
    if let Some(received) = received {
        status.push_str(&format!("; received-status={received}"));
    }
    status.push_str(&format!("; details=\"{reason}\""));
    if let Ok(status) = HeaderValue::from_str(&status) {
        fields.append(PROXY_STATUS, status);
    }
}

/// An empty body, for a 101.
#[must_use]
pub fn empty() -> Body {
    http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// The same answer in the form that hyper writes.
#[must_use]
pub fn boxed(response: Response<Bytes>) -> Response<Body> {
    response.map(|text| {
        Full::new(text)
            .map_err(|never| match never {})
            .boxed_unsync()
    })
}

/// The answer as bytes, for connections without hyper.
#[must_use]
pub fn serialize(response: &Response<Bytes>) -> Vec<u8> {
    let status = response.status();
    let mut bytes = format!(
        "HTTP/1.1 {} {}\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default()
    )
    .into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(response.body());
    bytes
}

/// Writes an answer to a stream without hyper.
///
/// # Errors
/// If the client is gone or does not read within `patience`.
pub async fn write(
    stream: &mut ClientStream,
    response: &Response<Bytes>,
    patience: Duration,
) -> std::io::Result<()> {
    tokio::time::timeout(patience, async {
        stream.write_all(&serialize(response)).await?;
        stream.flush().await
    })
    .await?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a field matches the part of RFC 8941 section 4.2 that `Proxy-Status` uses: an item with parameters.
    fn is_valid(field: &str) -> bool {
        let is_token = |text: &str| {
            let mut bytes = text.bytes();
            bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        };
        let is_string = |text: &str| {
            let inner = text
                .strip_prefix('"')
                .and_then(|text| text.strip_suffix('"'));
            inner.is_some_and(is_token)
        };
        let mut parts = field.split("; ");
        parts.next() == Some("wsgate")
            && parts.all(|part| match part.split_once('=') {
                Some(("error", value)) => is_token(value),
                Some(("received-status", value)) => value.parse::<u16>().is_ok(),
                Some(("details", value)) => is_string(value),
                _ => false,
            })
    }

    /// Also for reasons that never lead to an answer, in case that changes.
    #[test]
    fn proxy_status_is_valid_for_every_reason() {
        assert!(!is_valid("wsgate; error=; details=\"a\""));
        for reason in Reason::ALL {
            let failure = Failure::from(*reason).with_status(502);
            let mut relayed = Response::new(empty());
            identify(&mut relayed, "id", &failure);
            for fields in [refusal(&failure, "id").headers(), relayed.headers()] {
                let values: Vec<_> = fields.get_all(PROXY_STATUS).into_iter().collect();
                let [field] = values[..] else {
                    panic!("{reason}: {values:?}")
                };
                let field = field.to_str().unwrap();
                assert!(is_valid(field), "{reason}: {field}");
                assert!(field.ends_with(&format!("details=\"{reason}\"")), "{field}");
            }
        }
    }
}
