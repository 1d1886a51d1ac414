//! The body of a plain request on its way to the upstream.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};

use super::answer::{is_malformed, source_words};
use crate::http::pace::Pace;
use crate::http::{Body, BodyError, RequestBody, respond};
use crate::policy::HttpRules;
use crate::reason::{Failure, Reason};

/// A request's body, and what happened to it.
#[derive(Clone, Debug)]
pub struct Upload(Arc<Mutex<Progress>>);

#[derive(Debug)]
struct Progress {
    /// `None` after it was read to its end.
    body: Option<RequestBody>,
    /// Bytes that came, without the framing of chunks.
    bytes: u64,
    most: Option<u64>,
    timeout: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Whether any of it was requested.
    is_begun: bool,
    /// Whether the proxy waits for the client.
    is_waiting: bool,
    /// When a piece of it was last passed on, or when the proxy last waited for the client.
    moved: Instant,
    failure: Option<Failure>,
}

impl Upload {
    /// A body within the limits of `rules`, whose time begins now.
    #[must_use]
    pub fn new(body: RequestBody, rules: &HttpRules) -> Self {
        Self(Arc::new(Mutex::new(Progress {
            body: (!body.is_end_stream()).then_some(body),
            bytes: 0,
            most: rules.max_body,
            timeout: rules.request_timeout,
            deadline: Box::pin(tokio::time::sleep(rules.request_timeout)),
            is_begun: false,
            is_waiting: false,
            moved: Instant::now(),
            failure: None,
        })))
    }

    /// The number of bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        lock(&self.0).bytes
    }

    /// Why it ended too early, if the client is the cause: `http_body_too_large`, `http_body_timeout`,
    /// `http_body_incomplete` or `http_framing_conflict`.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        lock(&self.0).failure.clone()
    }

    /// The time since which the proxy waits for the upstream; the current time while it waits for the client.
    pub(super) fn waits_since(&self) -> Instant {
        let state = lock(&self.0);
        match state.is_waiting {
            true => Instant::now(),
            false => state.moved,
        }
    }

    /// Whether it has arrived completely.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let state = lock(&self.0);
        state.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    /// Whether none of it has been read, so that it can be sent to another endpoint.
    pub(super) fn is_whole(&self) -> bool {
        !lock(&self.0).is_begun
    }

    /// The body for a request, at the `pace` of its connection.
    pub(super) fn body(&self, pace: Arc<Pace>) -> Body {
        if lock(&self.0).body.is_none() {
            return respond::empty();
        }
        let state = Arc::clone(&self.0);
        Sent { state, pace }.boxed_unsync()
    }
}

fn lock(state: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sent {
    state: Arc<Mutex<Progress>>,
    pace: Arc<Pace>,
}

impl Progress {
    fn fail(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let words = failure.reason.code();
        self.is_waiting = false;
        self.failure.get_or_insert(failure);
        Poll::Ready(Some(Err(words.into())))
    }

    fn late(&self) -> Failure {
        let timeout = humantime::format_duration(self.timeout);
        let detail = format!("{} bytes came in {timeout}", self.bytes);
        Failure::new(Reason::HttpBodyTimeout, detail)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.is_begun = true;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        self.is_waiting = polled.is_pending();
        self.moved = Instant::now();
        match polled {
            Poll::Ready(None) => {
                self.body = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                if frame.is_trailers() {
                    // Nothing follows them, and hyper does not ask.
                    self.body = None;
                }
                self.bytes += length as u64;
                match self.most.filter(|most| self.bytes > *most) {
                    Some(most) => self.fail(too_large(most)),
                    None => Poll::Ready(Some(Ok(frame))),
                }
            }
            Poll::Ready(Some(Err(error))) => {
                let reason = match is_malformed(error.as_ref()) {
                    true => Reason::HttpFramingConflict,
                    false => Reason::HttpBodyIncomplete,
                };
                let words = source_words(error.as_ref());
                let detail = format!("after {} bytes: {words}", self.bytes);
                self.fail(Failure::new(reason, detail))
            }
            Poll::Pending => {
                if self.deadline.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let failure = self.late();
                self.fail(failure)
            }
        }
    }
}

/// The failure for a body of more than `most` bytes.
fn too_large(most: u64) -> Failure {
    Failure::new(Reason::HttpBodyTooLarge, format!("over {most} bytes"))
}

/// Refuses a request that announces a body of more than `most` bytes, before any of it is read.
///
/// # Errors
/// `http_body_too_large`.
pub fn check_announced(announced: Option<u64>, most: Option<u64>) -> Result<(), Failure> {
    match (announced, most) {
        (Some(length), Some(most)) if length > most => {
            let detail = format!("Content-Length is {length}, over {most} bytes");
            Err(Failure::new(Reason::HttpBodyTooLarge, detail))
        }
        _ => Ok(()),
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = lock(&self.state);
        if self.pace.poll().is_pending() {
            // The upstream has not accepted the last piece.
            state.is_waiting = false;
            return Poll::Pending;
        }
        let polled = state.poll(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.pace.took(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.state)
            .body
            .as_ref()
            .is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let state = lock(&self.state);
        state
            .body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
