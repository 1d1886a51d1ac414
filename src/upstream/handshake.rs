//! The opening handshake with an upstream. The proxy is its client and verifies the answer in full (RFC 6455 section
//! 4.1).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::response::Parts as Head;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::answer::Offered;
use super::connect::Connected;
use super::group::Busy;
use super::line::{Line, Seen};
use super::outgoing::Outgoing;
use super::relay::{BodyDeadline, BodyOutcome, RelayBody};
use super::{answer, request};
use crate::config::Upstream;
use crate::http::opening::Opening;
use crate::http::{Body, respond};
use crate::policy::{Permit, WebSocketRules};
use crate::reason::{Failure, Note, NoteCode, Reason};
use crate::stream::UpstreamStream;

/// The upstream's answer to an opening handshake.
pub enum Answer {
    /// A verified 101.
    Switched(Box<Opened>),
    /// Anything else, to be relayed as it came.
    Refused(Box<Refused>),
}

/// The result of a verified 101.
pub struct Opened {
    /// The connection, no longer HTTP.
    pub stream: UpstreamStream,
    /// Counts the tunnel on its endpoint.
    pub busy: Busy,
    /// The head of the 101.
    pub head: Head,
    /// The names of the negotiated extensions.
    pub extensions: Vec<String>,
    /// Bytes that came with the 101.
    pub early: Bytes,
    /// Remarks for the record.
    pub notes: Vec<Note>,
}

/// The result of any other answer.
pub struct Refused {
    /// Why there is no tunnel.
    pub failure: Failure,
    /// The answer to relay.
    pub response: Response<Body>,
    /// What happens to its body.
    pub passed: Arc<BodyOutcome>,
    /// Remarks for the record.
    pub notes: Vec<Note>,
}

/// Sends the rebuilt request and verifies the answer, within the upstream's `handshake_timeout`.
///
/// # Errors
/// The reasons for an answer that does not come, is not HTTP/1.1, or is an invalid 101. The connection is then closed.
pub async fn handshake(
    connected: Connected,
    request: Parts,
    opening: &Opening,
    permit: &Permit<'_, WebSocketRules>,
    upstream: &Upstream,
    head_limit: usize,
) -> Result<Answer, Failure> {
    let Connected { stream, busy } = connected;
    let deadline = Instant::now() + upstream.handshake_timeout;
    let seen = Seen::default();
    let is_conditional = [IF_NONE_MATCH, IF_MODIFIED_SINCE]
        .iter()
        .any(|name| request.headers.contains_key(name));
    let exchange = async {
        let mut line = Line::open(stream, head_limit, &seen).await?;
        let request = Outgoing::new(request, false).await?;
        let answered = line.send(request, respond::empty()).await;
        let (response, interim) = answered.map_err(|failed| failed.error)?;
        Ok((response, interim, line))
    };
    let (response, interim, line) = match timeout_at(deadline, exchange).await {
        Ok(outcome) => {
            outcome.map_err(|error: hyper::Error| answer::failure(&error, &seen.lock()))?
        }
        Err(_) => {
            let waited = humantime::format_duration(upstream.handshake_timeout);
            let detail = answer::nothing(&seen.lock(), &waited.to_string());
            return Err(Failure::new(Reason::UpstreamHandshakeTimeout, detail));
        }
    };
    let (head, body) = response.into_parts();
    let notes = answer::interim(&interim).into_iter().collect();
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        let failure = answer::refused(&head, is_conditional)?;
        let body_deadline = BodyDeadline::Until(Instant::now() + upstream.handshake_timeout);
        return refused(failure, head, body, line, body_deadline, notes).await;
    }
    let wire = seen.lock().clone();
    let offered = Offered {
        accept: &opening.accept(),
        subprotocols: &opening.subprotocols,
        extensions: &opening.extensions,
        allowed: &permit.rules().subprotocols,
    };
    answer::verify(&head, &wire, offered)?;
    drop(body);
    let Ok(Some((stream, early))) = timeout_at(deadline, line.switched()).await else {
        return Err(Failure::new(
            Reason::UpstreamMalformedResponse,
            "the 101 did not end the HTTP exchange",
        ));
    };
    answer::check_early(&early)?;
    Ok(switched(stream, busy, early, head, opening, notes))
}

/// An answer other than a 101, to be relayed. The beginning of its body may show what is wrong.
async fn refused(
    mut failure: Failure,
    head: Head,
    body: Incoming,
    line: Line,
    body_deadline: BodyDeadline,
    notes: Vec<Note>,
) -> Result<Answer, Failure> {
    let is_tls = line.is_tls();
    let (mut body, passed) = RelayBody::new(body, line, body_deadline, None, None);
    if !is_tls && head.status == StatusCode::BAD_REQUEST {
        answer::check_tls_wanted(&body.peek().await)?;
    }
    if head.status == StatusCode::NOT_FOUND {
        failure = answer::hint::express(failure, &body.peek().await);
    }
    let head = request::relayed(head, true);
    Ok(Answer::Refused(Box::new(Refused {
        failure,
        response: Response::from_parts(head, body.boxed_unsync()),
        passed,
        notes,
    })))
}

/// A verified 101 and its stream.
fn switched(
    stream: UpstreamStream,
    busy: Busy,
    early: Bytes,
    head: Head,
    opening: &Opening,
    mut notes: Vec<Note>,
) -> Answer {
    if !opening.subprotocols.is_empty() && !head.headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        notes.push(Note::new(
            NoteCode::UpstreamSubprotocolIgnored,
            answer::listed(&opening.subprotocols),
        ));
    }
    let extensions = answer::extensions(&head.headers);
    Answer::Switched(Box::new(Opened {
        stream,
        busy,
        head: request::relayed(head, true),
        extensions,
        early,
        notes,
    }))
}
