//! The request as the upstream gets it, and the answer as the client gets it.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Version, response};

use crate::http::fields::MAX_FIELDS;
use crate::http::fields::{named_by_connection, tokens};
use crate::http::forwarded::{Identity, is_identity, is_never_passed_on};
use crate::http::opening::{is_hop_by_hop, is_protected};
use crate::http::respond::X_REQUEST_ID;
use crate::http::target::origin_form;
use crate::http::via::Pseudonym;

/// Rebuilds a permitted opening handshake for the upstream: the received bytes of the path in origin form, the
/// requested Host, no hop-by-hop fields (RFC 9110 section 7.6.1, over all Connection lines), exactly one `Connection:
/// Upgrade` and `Upgrade: websocket`, new forwarded fields, this hop in Via, and Sec-WebSocket-* unchanged.
///
/// Field names keep the letter case in which they came. It travels in the request's extensions.
#[must_use]
pub fn rebuild(request: Parts, identity: &Identity, via: &Pseudonym, request_id: &str) -> Parts {
    let mut request = passed_on(request, identity, via, request_id);
    let fields = &mut request.headers;
    // It is "0" at most, because a body is refused, and an upgrade does not need it.
    fields.remove(header::CONTENT_LENGTH);
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    request
}

/// Rebuilds a permitted plain request for the upstream in the same way. Its trailers are announced as before, except
/// for those that may only come in the head, and only announced trailers are passed on (RFC 9110 section 6.5.1). The
/// proxy itself sends the 100 for its body.
#[must_use]
pub fn rebuild_plain(
    request: Parts,
    identity: &Identity,
    via: &Pseudonym,
    request_id: &str,
) -> Parts {
    let takes_trailers = tokens(&request.headers, &header::TE)
        .any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    // Even a trusted hop may not send these as trailers: no hop does so, and a backend may merge them with the head.
    let trailer = announced(&request.headers, |name| {
        !is_hop_by_hop(name)
            && !is_identity(name)
            && !is_never_passed_on(name)
            && !is_protected(name.as_str().as_bytes())
    });
    let is_chunked = request.headers.contains_key(header::TRANSFER_ENCODING);
    let mut request = passed_on(request, identity, via, request_id);
    let fields = &mut request.headers;
    fields.remove(header::EXPECT);
    if takes_trailers {
        // TE is a field of this hop, and Connection must say so (RFC 9110 section 10.1.4).
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        fields.insert(header::CONNECTION, HeaderValue::from_static("TE"));
    }
    if let Some(trailer) = trailer {
        fields.insert(header::TRAILER, trailer);
    }
    if is_chunked {
        // It is only chunked, because everything else was refused. hyper sends a body with GET only if the head says
        // that there is one.
        fields.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    }
    request
}

/// The part that both kinds of request share.
fn passed_on(mut request: Parts, identity: &Identity, via: &Pseudonym, request_id: &str) -> Parts {
    let mut fields = end_to_end(request.headers, |name| identity.strips(name));
    // In absolute form, the target's host counts instead of Host (RFC 9112 section 3.2.2).
    if let Some(authority) = request.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        fields.insert(header::HOST, host);
    }
    let host = fields
        .get(header::HOST)
        .cloned()
        .unwrap_or(HeaderValue::from_static(""));
    identity.write(&mut fields, &host);
    via.append(&mut fields);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        fields.insert(X_REQUEST_ID, id);
    }
    request.headers = fields;
    request.uri = origin_form(&request.uri);
    request.version = Version::HTTP_11;
    request
}

/// The head of an upstream's answer as the client gets it: end-to-end fields, and the fields that complete the switch,
/// or end the client's connection after its `last` answer.
pub(super) fn relayed(mut head: response::Parts, last: bool) -> response::Parts {
    let trailer = announced(&head.headers, |name| !is_hop_by_hop(name));
    let upgrade = head.headers.remove(header::UPGRADE);
    let mut fields = end_to_end(head.headers, |_| false);
    if let Some(trailer) = trailer {
        fields.insert(header::TRAILER, trailer);
    }
    match head.status.as_u16() {
        101 => {
            fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        // A 426 must say what to upgrade to (RFC 9110 section 15.5.22).
        426 => {
            fields.insert(
                header::UPGRADE,
                upgrade.unwrap_or(HeaderValue::from_static("websocket")),
            );
            let connection = if last { "upgrade, close" } else { "upgrade" };
            fields.insert(header::CONNECTION, HeaderValue::from_static(connection));
        }
        _ if last => {
            fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    head.headers = fields;
    head.version = Version::HTTP_11;
    head
}

/// The trailers that all lines of Trailer announce and that may `stay`. Only the first ones count, because a body with
/// more is not read.
fn announced(fields: &HeaderMap, stay: impl Fn(&HeaderName) -> bool) -> Option<HeaderValue> {
    let names = tokens(fields, &header::TRAILER).take(MAX_FIELDS);
    let names = names.filter(|name| HeaderName::from_bytes(name).is_ok_and(|name| stay(&name)));
    let list = names.collect::<Vec<_>>().join(&b", "[..]);
    // It consists only of valid names.
    HeaderValue::from_bytes(&list)
        .ok()
        .filter(|list| !list.is_empty())
}

/// All fields except the hop-by-hop fields, those that Connection names, and those that `strips` names.
fn end_to_end(fields: HeaderMap, strips: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let named = named_by_connection(&fields);
    let is_kept =
        |name: &HeaderName| !is_hop_by_hop(name) && !named.contains(name) && !strips(name);
    let mut kept = HeaderMap::with_capacity(fields.keys_len() + 8);
    let mut current = None;
    for (name, value) in fields {
        // The further values of a field come without its name.
        if let Some(name) = name {
            current = Some(name).filter(is_kept);
        }
        if let Some(name) = &current {
            kept.append(name, value);
        }
    }
    kept
}
