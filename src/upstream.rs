//! The upstream stage: a fresh connection per opening handshake, and the upstream's answer verified in full
//! (RFC 6455 section 4.1, as its client); plain requests, over connections that are kept for the next one.
//!
//! Takes a [`Permit`], without which nothing of a client is dialled for; gives a switched stream, or an answer to relay;
//! fails with the `upstream_…` reasons. A [`Group`] knows the endpoints of an upstream.

mod answer;
mod connect;
#[cfg(feature = "echo")]
mod echo;
mod forward;
mod group;
mod health;
mod line;
mod names;
mod outgoing;
mod pool;
mod relay;
mod request;
mod upload;

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

pub use connect::{Connected, connect};
pub use forward::{Served, forward};
pub use group::{Busy, Group, InUse, Member, TunnelSlot};
pub use names::Names;
pub use relay::BodyOutcome;
pub use request::{rebuild, rebuild_plain};
pub use upload::{Upload, check_announced};

use crate::config::Upstream;
use crate::http::opening::Opening;
use crate::http::{Body, respond};
use crate::policy::{Permit, WebSocketRules};
use crate::reason::{Failure, Note, NoteCode, Reason};
use crate::stream::UpstreamStream;
use line::{Line, Seen};
use outgoing::Outgoing;
use relay::{BodyDeadline, RelayBody};

/// The upstream's answer to an opening handshake.
pub enum Answer {
    /// A verified 101.
    Switched(Box<Opened>),
    /// Anything else, to be relayed as it came.
    Refused(Box<Refused>),
}

/// An upstream that switched protocols.
pub struct Opened {
    /// The connection, no longer HTTP.
    pub stream: UpstreamStream,
    /// Counts it on its endpoint.
    pub busy: Busy,
    /// The head of the 101.
    pub head: http::response::Parts,
    /// The names of the extensions that were agreed on.
    pub extensions: Vec<String>,
    /// Bytes that came with the 101.
    pub early: Bytes,
    /// What is worth saying.
    pub notes: Vec<Note>,
}

/// An upstream that answered something else.
pub struct Refused {
    /// Its reason.
    pub failure: Failure,
    /// Its answer.
    pub response: Response<Body>,
    /// What becomes of its body.
    pub passed: Arc<BodyOutcome>,
    /// What is worth saying.
    pub notes: Vec<Note>,
}

/// Sends the rebuilt request and verifies the answer, within the upstream's `handshake_timeout`.
///
/// # Errors
/// The reasons for an answer that does not come, is not HTTP/1.1, or is a wrong 101; the connection is closed then.
pub async fn handshake(
    connected: Connected,
    request: Parts,
    opening: &Opening,
    permit: &Permit<'_, WebSocketRules>,
    upstream: &Upstream,
    head_limit: usize,
) -> Result<Answer, Failure> {
    let Connected { stream, busy, .. } = connected;
    let deadline = Instant::now() + upstream.handshake_timeout;
    let seen = Seen::default();
    let conditional = [IF_NONE_MATCH, IF_MODIFIED_SINCE]
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
    let mut notes: Vec<_> = answer::interim(&interim).into_iter().collect();
    if head.status != http::StatusCode::SWITCHING_PROTOCOLS {
        let mut failure = answer::refused(&head, conditional)?;
        let patience = BodyDeadline::Until(Instant::now() + upstream.handshake_timeout);
        let is_tls = line.is_tls();
        let (mut body, passed) = RelayBody::new(body, line, patience, None, None);
        if !is_tls && head.status == http::StatusCode::BAD_REQUEST {
            answer::check_tls_wanted(&body.peek().await)?;
        }
        if head.status == http::StatusCode::NOT_FOUND {
            failure = answer::hint::express(failure, &body.peek().await);
        }
        let head = request::relayed(head, true);
        let response = Response::from_parts(head, body.boxed_unsync());
        return Ok(Answer::Refused(Box::new(Refused {
            failure,
            response,
            passed,
            notes,
        })));
    }
    let wire = seen.lock().clone();
    answer::verify(&head, &wire, opening, permit)?;
    drop(body);
    let Ok(Some((stream, early))) = timeout_at(deadline, line.switched()).await else {
        return Err(Failure::new(
            Reason::UpstreamMalformedResponse,
            "the 101 did not end the HTTP exchange",
        ));
    };
    answer::check_early(&early)?;
    if !opening.subprotocols.is_empty()
        && !head
            .headers
            .contains_key(http::header::SEC_WEBSOCKET_PROTOCOL)
    {
        notes.push(Note::new(
            NoteCode::UpstreamSubprotocolIgnored,
            answer::listed(&opening.subprotocols),
        ));
    }
    let extensions = answer::extensions(&head.headers);
    let head = request::relayed(head, true);
    Ok(Answer::Switched(Box::new(Opened {
        stream,
        busy,
        head,
        extensions,
        early,
        notes,
    })))
}
