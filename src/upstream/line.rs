//! An HTTP connection to an upstream, for one request or, if it is kept, for several in turn.
//!
//! The task that waits for the answer drives it. An unused connection does nothing: only its next use shows whether the
//! upstream has closed it.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outgoing::Outgoing;
use crate::http::pace::Pace;
use crate::http::{Body, HYPER_MIN_BUFFER, HYPER_PIECE};
use crate::listener::FIRST_BYTES;
use crate::stream::{UpstreamStream, poll_read_at_most};

/// The most interim responses whose status is kept. An upstream may send many, and a record only needs to show that it
/// did.
const INTERIM_SHOWN: usize = 8;

/// The end of a head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// An open connection.
pub(super) struct Line {
    sender: http1::SendRequest<Body>,
    connection: http1::Connection<TokioIo<Tap>, Body>,
    seen: Seen,
    is_tls: bool,
    quiet: Quiet,
    pace: Arc<Pace>,
    head: WrittenHead,
    blocked: Blocked,
}

/// The first bytes of an upstream's answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<u8>>>);

/// Whether the upstream may not send anything now.
type Quiet = Arc<AtomicBool>;

/// Whether the upstream has not yet accepted everything that hyper wrote.
type Blocked = Arc<AtomicBool>;

/// A head that is sent instead of the next one that hyper writes.
type WrittenHead = Arc<Mutex<Option<Bytes>>>;

/// A request that got no answer.
pub(super) struct Unanswered {
    /// hyper's words.
    pub error: hyper::Error,
    /// Whether nothing of it was sent.
    pub unsent: bool,
}

/// The head of an answer, and the statuses of the interim responses before it.
pub(super) type AnswerHead = (Response<Incoming>, Vec<u16>);

impl Line {
    /// Starts HTTP on a new stream. `head_limit` is the most bytes of a response head; `seen` gets the first bytes of
    /// the answer.
    pub async fn open(
        stream: UpstreamStream,
        head_limit: usize,
        seen: &Seen,
    ) -> Result<Self, hyper::Error> {
        let is_tls = matches!(stream, UpstreamStream::Tls(_));
        let quiet = Quiet::default();
        let pace = Arc::<Pace>::default();
        let head = WrittenHead::default();
        let blocked = Blocked::default();
        let stream = Tap {
            stream,
            seen: seen.clone(),
            quiet: Arc::clone(&quiet),
            pace: Arc::clone(&pace),
            head: Arc::clone(&head),
            blocked: Arc::clone(&blocked),
        };
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_buf_size(head_limit.max(HYPER_MIN_BUFFER))
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self {
            sender,
            connection,
            seen: seen.clone(),
            is_tls,
            quiet,
            pace,
            head,
            blocked,
        })
    }

    /// The first bytes of the answer to its request.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The pace at which a request's body is sent on it.
    pub fn pace(&self) -> Arc<Pace> {
        Arc::clone(&self.pace)
    }

    /// Whether it is over TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Sends a request and drives the connection until the final response head has arrived.
    pub async fn send(&mut self, request: Outgoing, body: Body) -> Result<AnswerHead, Unanswered> {
        self.seen.lock().clear();
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = request.head;
        let mut request = Request::from_parts(request.parts, body);
        let interim = Arc::new(Mutex::new(Vec::new()));
        let statuses = Arc::clone(&interim);
        hyper::ext::on_informational(&mut request, move |response| {
            let mut statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
            if statuses.len() < INTERIM_SHOWN {
                statuses.push(response.status().as_u16());
            }
        });
        let mut response = pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        let mut ended = None;
        let response = poll_fn(|cx| {
            if ended.is_none()
                && let Poll::Ready(outcome) = connection.poll_without_shutdown(cx)
            {
                ended = Some(outcome);
            }
            match response.as_mut().poll(cx) {
                Poll::Pending => match ended.take() {
                    Some(Err(error)) => Poll::Ready(Err(Unanswered {
                        error,
                        unsent: false,
                    })),
                    // The connection ended normally, and the response is on its way through the channel.
                    Some(Ok(())) => {
                        ended = Some(Ok(()));
                        Poll::Pending
                    }
                    None => Poll::Pending,
                },
                Poll::Ready(outcome) => Poll::Ready(outcome.map_err(|mut failed| Unanswered {
                    unsent: failed.take_message().is_some(),
                    error: failed.into_error(),
                })),
            }
        })
        .await?;
        let interim = interim
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Ok((response, interim))
    }

    /// Drives the connection for a body. Ready when it has ended.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.connection.poll_without_shutdown(cx)
    }

    /// Whether another request can be sent: the last answer is complete, the upstream has accepted all of the last
    /// request, and it has neither closed nor sent anything since. Unexpected bytes would count as the next answer, and
    /// a head that was written in advance would overtake what still waits.
    pub fn is_free(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.quiet.store(true, Relaxed);
        let is_free = self.poll(&mut cx).is_pending()
            && self.sender.is_ready()
            && !self.blocked.load(Relaxed);
        self.quiet.store(false, Relaxed);
        is_free
    }

    /// The stream after an answer that ended HTTP on it, and the bytes that followed the answer.
    pub async fn switched(mut self) -> Option<(UpstreamStream, Bytes)> {
        let done = poll_fn(|cx| self.connection.poll_without_shutdown(cx)).await;
        done.ok()?;
        let parts = self.connection.into_parts();
        Some((parts.io.into_inner().stream, parts.read_buf))
    }
}

impl Seen {
    /// The bytes so far.
    pub fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream below hyper; keeps the first bytes that the upstream sent.
struct Tap {
    stream: UpstreamStream,
    seen: Seen,
    quiet: Quiet,
    pace: Arc<Pace>,
    head: WrittenHead,
    blocked: Blocked,
}

impl Tap {
    /// Sends the head that was written in advance. Returns how many of hyper's bytes it replaces: those of their head.
    fn poll_head(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut place = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(head) = &mut *place else {
            return Poll::Ready(Ok(0));
        };
        while !head.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, head))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            head.advance(count);
        }
        *place = None;
        // hyper writes a head in one piece, before the body.
        let end = bytes
            .windows(HEAD_END.len())
            .position(|end| end == HEAD_END);
        Poll::Ready(match end {
            Some(at) => Ok(at + HEAD_END.len()),
            None => Err(io::ErrorKind::InvalidInput.into()),
        })
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.quiet.load(Relaxed) && self.stream.has_input() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        let polled = poll_read_at_most(&mut self.stream, HYPER_PIECE, cx, buf);
        let new = buf.filled().get(before..).unwrap_or_default();
        if !new.is_empty() {
            let mut seen = self.seen.lock();
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
    ) -> Poll<io::Result<usize>> {
        let polled = match self.poll_head(cx, buf) {
            Poll::Ready(Ok(0)) => Pin::new(&mut self.stream).poll_write(cx, buf),
            polled => polled,
        };
        self.blocked.store(polled.is_pending(), Relaxed);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.first().map_or(&[][..], |first| first);
        let polled = match self.poll_head(cx, first) {
            Poll::Ready(Ok(0)) => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
            polled => polled,
        };
        self.blocked.store(polled.is_pending(), Relaxed);
        polled
    }

    /// With this, hyper keeps pieces of a body separate and does not copy them after a head.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.blocked.store(polled.is_pending(), Relaxed);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.pace.flushed(cx);
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
