//! The upstream stage: a fresh connection per opening handshake, and the upstream's answer verified in full
//! (RFC 6455 section 4.1, as its client).
//!
//! Takes a [`Permit`], without which nothing of a client is dialled for; gives a switched stream, or an answer to relay;
//! fails with the `upstream_…` reasons. Connections are never reused. A [`Group`] knows the endpoints of an upstream.

mod answer;
mod connect;
mod echo;
mod group;
mod health;
mod request;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

pub use connect::{Connected, connect};
pub use group::{Busy, Group, InUse, Member, Place};
pub use request::rebuild;

use crate::config::Upstream;
use crate::http::opening::Opening;
use crate::http::{Body, BodyError, HYPER_MIN_BUFFER};
use crate::listener::{FIRST_BYTES, describe_bytes};
use crate::policy::Permit;
use crate::reason::{Failure, Note, NoteCode, Reason};
use crate::stream::UpstreamStream;

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
    /// Why the body ended before its end, if the upstream is to blame; known once it was read.
    pub cut: Arc<OnceLock<String>>,
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
    permit: &Permit<'_>,
    upstream: &Upstream,
    head_limit: usize,
) -> Result<Answer, Failure> {
    let Connected { stream, busy, .. } = connected;
    let deadline = Instant::now() + upstream.handshake_timeout;
    let is_plain = !matches!(stream, UpstreamStream::Tls(_));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let stream = Tap {
        stream,
        seen: Arc::clone(&seen),
    };
    let conditional = [IF_NONE_MATCH, IF_MODIFIED_SINCE]
        .iter()
        .any(|name| request.headers.contains_key(name));
    let exchange = send(stream, request, head_limit);
    let failed = |error: &hyper::Error| {
        answer::failure(error, &seen.lock().unwrap_or_else(PoisonError::into_inner))
    };
    let (response, connection, interim) = match tokio::time::timeout_at(deadline, exchange).await {
        Ok(outcome) => outcome.map_err(|error| failed(&error))?,
        Err(_) => {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = humantime::format_duration(upstream.handshake_timeout);
            let detail = if seen.is_empty() {
                format!("no byte of an answer in {waited}")
            } else {
                format!("no complete answer in {waited}; {}", describe_bytes(&seen))
            };
            return Err(Failure::new(Reason::UpstreamHandshakeTimeout, detail));
        }
    };
    let (head, body) = response.into_parts();
    let mut notes = Vec::new();
    if !interim.is_empty() {
        let statuses: Vec<_> = interim.iter().map(ToString::to_string).collect();
        notes.push(Note::new(NoteCode::UpstreamInterim, statuses.join(", ")));
    }
    if head.status != http::StatusCode::SWITCHING_PROTOCOLS {
        let failure = answer::refused(&head, conditional)?;
        let cut = Arc::default();
        let mut body = RelayBody {
            body,
            connection: Some(connection),
            first: None,
            deadline: Box::pin(tokio::time::sleep_until(
                Instant::now() + upstream.handshake_timeout,
            )),
            cut: Arc::clone(&cut),
            broken: None,
        };
        if is_plain && head.status == http::StatusCode::BAD_REQUEST {
            answer::check_tls_wanted(&body.peek().await)?;
        }
        let response = Response::from_parts(request::relayed(head), body.boxed_unsync());
        return Ok(Answer::Refused(Box::new(Refused {
            failure,
            response,
            cut,
            notes,
        })));
    }
    let wire = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    answer::verify(&head, &wire, opening, permit)?;
    drop(body);
    let (stream, early) = switched(connection, deadline).await?;
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
    let head = request::relayed(head);
    Ok(Answer::Switched(Box::new(Opened {
        stream,
        busy,
        head,
        extensions,
        early,
        notes,
    })))
}

type Connection = http1::Connection<TokioIo<Tap>, Empty<Bytes>>;

/// Sends a request and drives its connection until the final response head is there. Gives also the statuses of the
/// interim responses before it.
async fn send(
    stream: Tap,
    request: Parts,
    head_limit: usize,
) -> Result<(Response<Incoming>, Connection, Vec<u16>), hyper::Error> {
    // An upstream may send many interim responses; a record needs to show only that it did.
    const INTERIM_SHOWN: usize = 8;
    let (mut sender, mut connection) = http1::Builder::new()
        .preserve_header_case(true)
        .max_buf_size(head_limit.max(HYPER_MIN_BUFFER))
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await?;
    let interim = Arc::new(Mutex::new(Vec::new()));
    let mut request = http::Request::from_parts(request, Empty::new());
    let statuses = Arc::clone(&interim);
    hyper::ext::on_informational(&mut request, move |response| {
        let mut statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
        if statuses.len() < INTERIM_SHOWN {
            statuses.push(response.status().as_u16());
        }
    });
    let mut response = pin!(sender.send_request(request));
    let mut ended = None;
    let response = poll_fn(|cx| {
        if ended.is_none()
            && let Poll::Ready(outcome) = connection.poll_without_shutdown(cx)
        {
            ended = Some(outcome);
        }
        match response.as_mut().poll(cx) {
            Poll::Pending => match ended.take() {
                Some(Err(error)) => Poll::Ready(Err(error)),
                // In order, and the response is on its way through the channel.
                Some(Ok(())) => {
                    ended = Some(Ok(()));
                    Poll::Pending
                }
                None => Poll::Pending,
            },
            ready @ Poll::Ready(_) => ready,
        }
    })
    .await?;
    let interim = interim
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    Ok((response, connection, interim))
}

/// Takes the stream back from hyper after a 101.
async fn switched(
    mut connection: Connection,
    deadline: Instant,
) -> Result<(UpstreamStream, Bytes), Failure> {
    let done =
        tokio::time::timeout_at(deadline, poll_fn(|cx| connection.poll_without_shutdown(cx))).await;
    if !matches!(done, Ok(Ok(()))) {
        return Err(Failure::new(
            Reason::UpstreamMalformedResponse,
            "the 101 did not end the HTTP exchange",
        ));
    }
    let parts = connection.into_parts();
    Ok((parts.io.into_inner().stream, parts.read_buf))
}

/// The stream below hyper; keeps the first bytes that the upstream sent.
struct Tap {
    stream: UpstreamStream,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let new = buf.filled().get(before..).unwrap_or_default();
        if !new.is_empty() {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let room = FIRST_BYTES.saturating_sub(seen.len());
            seen.extend(new.iter().take(room));
        }
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The body of an answer being relayed; drives the connection that it comes from, until a deadline.
struct RelayBody {
    body: Incoming,
    connection: Option<Connection>,
    /// What was looked at ahead.
    first: Option<Bytes>,
    deadline: Pin<Box<Sleep>>,
    cut: Arc<OnceLock<String>>,
    /// What ends the body, held back for one turn.
    broken: Option<BodyError>,
}

impl RelayBody {
    /// The bytes of the body that have come already; they are still given to whoever reads it.
    async fn peek(&mut self) -> Bytes {
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *self).poll_frame(cx))).await;
        if let Poll::Ready(Some(Ok(frame))) = polled
            && let Ok(bytes) = frame.into_data()
        {
            self.first = Some(bytes.clone());
            return bytes;
        }
        Bytes::new()
    }

    /// Fails one turn later: hyper throws away what it has not written yet when a body fails, and writes it when a
    /// body is not ready. Without this a short answer that breaks off would not reach the client at all.
    fn fail(
        &mut self,
        cx: &Context<'_>,
        words: String,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.broken = Some(words.clone().into());
        // Only the first words count, and a body fails once.
        let _ = self.cut.set(words);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl HttpBody for RelayBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(bytes) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(connection) = &mut this.connection
            && connection.poll_without_shutdown(cx).is_ready()
        {
            // What it still had to say comes through the body.
            this.connection = None;
        }
        // First, as a body that is always ready would never let it be looked at.
        if this.deadline.as_mut().poll(cx).is_ready() {
            return this.fail(cx, "the upstream's answer did not end in time".to_owned());
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(error))) => {
                let words = answer::source_words(&error);
                return this.fail(cx, words);
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.first.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + ahead);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead);
        }
        hint
    }
}
