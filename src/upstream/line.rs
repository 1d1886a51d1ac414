//! An HTTP connection to an upstream, for one request or, if it is kept, for several in turn.
//!
//! The task that waits for the answer drives it. An unused connection does nothing: only its next use shows whether the
//! upstream has closed it.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outgoing::Outgoing;
use crate::http::pace::Pace;
use crate::http::{Body, HYPER_MIN_BUFFER, HYPER_PIECE, PARK_AFTER, respond};
use crate::listener::FIRST_BYTES;
use crate::stream::{UpstreamStream, poll_read_at_most, read_first};

/// The most interim responses whose status is kept. An upstream may send many, and a record only needs to show that it
/// did.
const INTERIM_SHOWN: usize = 8;

/// The end of a head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// An open connection.
pub(super) struct Line {
    /// `None` while an answer is late.
    http: Option<Http>,
    head_limit: usize,
    seen: Seen,
    is_tls: bool,
    quiet: Quiet,
    pace: Arc<Pace>,
    head: WrittenHead,
    blocked: Blocked,
}

/// hyper on a connection: the place for requests, and what reads and writes.
type Http = (
    http1::SendRequest<Body>,
    http1::Connection<TokioIo<Tap>, Body>,
);

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

impl From<hyper::Error> for Unanswered {
    /// The failure of a connection that had taken the request.
    fn from(error: hyper::Error) -> Self {
        Self {
            error,
            unsent: false,
        }
    }
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
            first: None,
        };
        Ok(Self {
            http: Some(start(stream, head_limit).await?),
            head_limit,
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
        self.set_head(request.head);
        let interim = Arc::new(Mutex::new(Vec::new()));
        let method = request.parts.method.clone();
        let mut patience = body.is_end_stream().then_some(PARK_AFTER);
        let mut request = Request::from_parts(request.parts, body);
        let mut is_sent = false;
        loop {
            let statuses = Arc::clone(&interim);
            hyper::ext::on_informational(&mut request, move |response| {
                let mut statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
                if statuses.len() < INTERIM_SHOWN {
                    statuses.push(response.status().as_u16());
                }
            });
            let asked = self.ask(request, patience.take()).await;
            let asked = asked.map_err(|failed| Unanswered {
                unsent: failed.unsent && !is_sent,
                ..failed
            });
            if let Some(response) = asked? {
                let interim = interim.lock().unwrap_or_else(PoisonError::into_inner);
                return Ok((response, interim.clone()));
            }
            is_sent = true;
            self.park().await?;
            // The request has been sent, so hyper gets one that is not. For an answer only the method matters.
            self.set_head(Some(Bytes::new()));
            request = Request::new(respond::empty());
            *request.method_mut() = method.clone();
        }
    }

    /// Waits for the head of an answer. `None`: the upstream has accepted the whole request, and nothing of an answer came
    /// in `patience`.
    async fn ask(
        &mut self,
        request: Request<Body>,
        patience: Option<Duration>,
    ) -> Result<Option<Response<Incoming>>, Unanswered> {
        let Some((sender, connection)) = &mut self.http else {
            return Ok(None);
        };
        let mut response = pin!(sender.try_send_request(request));
        let mut park = pin!(patience.map(tokio::time::sleep));
        let mut ended = None;
        poll_fn(|cx| {
            if ended.is_none()
                && let Poll::Ready(outcome) = connection.poll_without_shutdown(cx)
            {
                ended = Some(outcome);
            }
            if let Poll::Ready(outcome) = response.as_mut().poll(cx) {
                return Poll::Ready(outcome.map(Some).map_err(|mut failed| Unanswered {
                    unsent: failed.take_message().is_some(),
                    error: failed.into_error(),
                }));
            }
            match ended.take() {
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                // The connection ended normally, and the response is on its way through the channel.
                Some(Ok(())) => ended = Some(Ok(())),
                None => {}
            }
            let is_late = park.as_mut().as_pin_mut();
            let is_late = is_late.is_some_and(|park| park.poll(cx).is_ready());
            match is_late && ended.is_none() && !self.blocked.load(Relaxed) {
                true if self.seen.lock().is_empty() => Poll::Ready(Ok(None)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Waits for the first bytes of a late answer without hyper, and starts it again.
    async fn park(&mut self) -> Result<(), hyper::Error> {
        if let Some((sender, connection)) = self.http.take() {
            let mut stream = connection.into_parts().io.into_inner();
            drop(sender);
            stream.first = Some(stream.begun().await);
            self.http = Some(start(stream, self.head_limit).await?);
        }
        Ok(())
    }

    fn set_head(&self, head: Option<Bytes>) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
    }

    /// Drives the connection for a body. Ready when it has ended.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        match &mut self.http {
            Some((_, connection)) => connection.poll_without_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Whether another request can be sent: the last answer is complete, the upstream has accepted all of the last
    /// request, and it has neither closed nor sent anything since. Unexpected bytes would count as the next answer, and
    /// a head that was written in advance would overtake what still waits.
    pub fn is_free(&mut self) -> bool {
        self.quiet.store(true, Relaxed);
        let is_free = self.is_idle();
        self.quiet.store(false, Relaxed);
        is_free
    }

    /// The same as far as it is known without asking the kernel.
    pub fn is_idle(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.poll(&mut cx).is_pending()
            && self
                .http
                .as_ref()
                .is_some_and(|(sender, _)| sender.is_ready())
            && !self.blocked.load(Relaxed)
    }

    /// The stream after an answer that ended HTTP on it, and the bytes that followed the answer.
    pub async fn switched(self) -> Option<(UpstreamStream, Bytes)> {
        let (_, mut connection) = self.http?;
        let done = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
        done.ok()?;
        let parts = connection.into_parts();
        Some((parts.io.into_inner().stream, parts.read_buf))
    }
}

async fn start(stream: Tap, head_limit: usize) -> Result<Http, hyper::Error> {
    http1::Builder::new()
        .preserve_header_case(true)
        .max_buf_size(head_limit.max(HYPER_MIN_BUFFER))
        .handshake(TokioIo::new(stream))
        .await
}

impl Seen {
    /// The bytes so far.
    pub fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
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
    /// What came of a late answer before hyper was started again.
    first: Option<io::Result<Vec<u8>>>,
}

impl Tap {
    /// The first bytes that come.
    async fn begun(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        read_first(&mut self.stream, &mut bytes).await?;
        Ok(bytes)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_some() && self.lock_head().is_some() {
            // What comes before hyper has written its request would be unexpected.
            return Poll::Pending;
        }
        match self.first.take() {
            Some(Err(error)) => Poll::Ready(Err(error)),
            Some(Ok(mut bytes)) if !bytes.is_empty() => {
                let rest = bytes.split_off(bytes.len().min(buf.remaining()));
                buf.put_slice(&bytes);
                self.first = (!rest.is_empty()).then_some(Ok(rest));
                Poll::Ready(Ok(()))
            }
            _ => poll_read_at_most(&mut self.stream, HYPER_PIECE, cx, buf),
        }
    }

    fn lock_head(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
        if self.first.is_some() {
            // hyper waits since it tried to read before it wrote.
            cx.waker().wake_by_ref();
        }
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
        let polled = self.poll_next(cx, buf);
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
