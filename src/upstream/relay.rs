//! The body of an upstream's answer on its way to the client.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::answer;
use super::line::Line;
use super::upload::Upload;
use crate::http::BodyError;
use crate::reason::{Failure, Reason};

/// What happened to a body. It is complete once the body has been read.
#[derive(Debug, Default)]
pub struct BodyOutcome {
    bytes: Arc<AtomicU64>,
    cut: OnceLock<Failure>,
}

impl BodyOutcome {
    /// How many bytes have come, without the framing of chunks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// The counter of these bytes, which others can read while it grows.
    #[must_use]
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes)
    }

    /// Why the body ended too early, if the upstream is the cause: `upstream_response_cut` or
    /// `upstream_response_stalled`.
    #[must_use]
    pub fn cut(&self) -> Option<&Failure> {
        self.cut.get()
    }
}

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum BodyDeadline {
    /// The whole body must have come by this moment.
    Until(Instant),
    /// Each piece must come within this time after the one before; `None`: no limit.
    Between(Option<Duration>),
}

/// A body that also drives the connection from which it comes.
pub(super) struct RelayBody {
    body: Incoming,
    /// Its beginning, if [`RelayBody::peek`] has read it.
    first: Option<Bytes>,
    /// `None` after the connection has ended.
    line: Option<Line>,
    patience: BodyDeadline,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Whether the proxy waits for the upstream. Otherwise it waits for the client to read.
    is_waiting: bool,
    /// Whether the end of the body has come.
    is_over: bool,
    /// The request's body, which may still be on its way.
    upload: Option<Upload>,
    passed: Arc<BodyOutcome>,
    /// The error that ends the body. The next poll returns it.
    broken: Option<BodyError>,
    /// Gets the connection if it can carry another request after this body.
    home: Option<Box<dyn FnOnce(Line) + Send>>,
}

impl RelayBody {
    /// `upload` is the request's body: while the proxy waits for the client to send it, the upstream does not count as
    /// silent. `home` gets the connection if it can carry another request after this body.
    pub fn new(
        body: Incoming,
        line: Line,
        patience: BodyDeadline,
        upload: Option<Upload>,
        home: Option<Box<dyn FnOnce(Line) + Send>>,
    ) -> (Self, Arc<BodyOutcome>) {
        let first = match patience {
            BodyDeadline::Until(instant) => Some(instant),
            BodyDeadline::Between(silence) => silence.map(|silence| Instant::now() + silence),
        };
        let passed = Arc::<BodyOutcome>::default();
        let body = Self {
            body,
            first: None,
            line: Some(line),
            patience,
            deadline: first.map(|instant| Box::pin(tokio::time::sleep_until(instant))),
            is_waiting: false,
            is_over: false,
            upload,
            passed: Arc::clone(&passed),
            broken: None,
            home,
        };
        (body, passed)
    }

    /// The bytes of the body that have come so far. They are still given to its reader.
    pub async fn peek(&mut self) -> Bytes {
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *self).poll_frame(cx))).await;
        if let Poll::Ready(Some(Ok(frame))) = polled
            && let Ok(bytes) = frame.into_data()
        {
            self.first = Some(bytes.clone());
            return bytes;
        }
        Bytes::new()
    }

    /// Makes the next poll fail. When a body fails, hyper discards what it has not written yet; while a body is not
    /// ready, hyper writes it. Without the poll in between, a short answer that breaks off would not reach the client
    /// at all.
    fn fail(
        &mut self,
        cx: &Context<'_>,
        failure: Failure,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.broken = Some(failure.detail.clone().unwrap_or_default().into());
        // A body fails only once, and the first error counts.
        let _ = self.passed.cut.set(failure);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn late(&self) -> Failure {
        let detail = match self.patience {
            BodyDeadline::Until(_) => "the upstream's answer did not end in time".to_owned(),
            BodyDeadline::Between(silence) => format!(
                "nothing came for {}, after {} bytes",
                humantime::format_duration(silence.unwrap_or_default()),
                self.passed.bytes()
            ),
        };
        Failure::new(Reason::UpstreamResponseStalled, detail)
    }

    fn came(&self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.passed.bytes.fetch_add(data.len() as u64, Relaxed);
        }
    }

    /// Whether the time is over. Silence is counted from the moment when the client has taken everything, so that a
    /// slow client does not make the upstream look silent.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let begins = !std::mem::replace(&mut self.is_waiting, true);
        let Some(deadline) = &mut self.deadline else {
            return false;
        };
        if let (BodyDeadline::Between(Some(silence)), true) = (self.patience, begins) {
            deadline.as_mut().reset(Instant::now() + silence);
        }
        while deadline.as_mut().poll(cx).is_ready() {
            let (BodyDeadline::Between(Some(silence)), Some(upload)) =
                (self.patience, &self.upload)
            else {
                return true;
            };
            // The upstream may need more of the request for its next piece, so the time in which the client sends it
            // does not count either.
            let until = upload.waits_since() + silence;
            if until <= Instant::now() {
                return true;
            }
            deadline.as_mut().reset(until);
        }
        false
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
        if let Some(line) = &mut this.line
            && line.poll(cx).is_ready()
        {
            // The body still gives what the connection has received.
            this.line = None;
        }
        // The deadline is checked first, because a body that is always ready would never let it be checked.
        if matches!(this.patience, BodyDeadline::Until(_)) && this.is_late(cx) {
            let failure = this.late();
            return this.fail(cx, failure);
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_pending() && this.is_late(cx) {
            let failure = this.late();
            return this.fail(cx, failure);
        }
        this.is_waiting = polled.is_pending();
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.came(&frame);
                // Nothing follows trailers, and hyper does not ask.
                this.is_over = frame.is_trailers();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let words = answer::source_words(&error);
                let failure = Failure::new(Reason::UpstreamResponseCut, words);
                this.fail(cx, match answer::is_malformed(&error) {
                    true => failure.with_hint(
                        "the upstream's HTTP server, or a hop behind the proxy, sends invalid chunks or trailers, or \
                         trailers of more than 16 KiB or 100 fields: the rest was not forwarded",
                    ),
                    false => failure,
                })
            }
            Poll::Ready(None) => {
                this.is_over = true;
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let seen = self.first.as_ref().map_or(0, Bytes::len) as u64;
        match self.body.size_hint().exact() {
            Some(left) => SizeHint::with_exact(left + seen),
            None => SizeHint::default(),
        }
    }
}

impl Drop for RelayBody {
    fn drop(&mut self) {
        // hyper drops the body when it has ended, or at once if the answer has none (HEAD, 204, 304).
        if let (Some(mut line), Some(home)) = (self.line.take(), self.home.take())
            // A chunked body is known to be complete only if its end was read.
            && (self.is_over || self.is_end_stream())
            && line.is_idle()
        {
            home(line);
        }
    }
}
