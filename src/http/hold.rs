//! The stream below hyper: gives hyper one checked request, head and body, and holds back everything after it.
//!
//! A client must wait for the answer to its opening handshake (RFC 6455 section 4.1). What it sends before the answer
//! may be an attacker's next request. So it reaches neither hyper nor, before a verified 101, the upstream. It is held
//! here, within bounds. What follows a plain request is held too, and is read as the next request after the answer.
//!
//! Reading ahead also notices a client that leaves. If nothing more may be read, [`super::Exchange`] watches the
//! socket.
//!
//! Before there is an answer, hyper may not write: its own answer to a head that it can't parse would lack the reason
//! and the request id. Until hyper has parsed the head, it does not see what follows, not even the end of the stream.
//! So a client that closes its sending side at once still gets its answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::body::Rest;
use super::head::RawHead;
use super::pace::Pace;
use super::{HYPER_PIECE, Undelivered};
use crate::reason::Failure;
use crate::stream::{ClientStream, poll_read_at_most};

/// When this many bytes after a request are held, no more are read, and the client's TCP window fills.
const HELD_MAX: usize = 16 * 1024;

/// After a head that is larger than this, fewer bytes are held, so that both together have a bound.
const LARGE_HEAD: usize = 4 * 1024;
const HELD_BEHIND_LARGE: u32 = 4 * 1024;

/// How many bytes after the request are read at once.
const AHEAD_PIECE: usize = 2048;

/// The state that an exchange shares with the stream below hyper. Both belong to one task.
#[derive(Clone, Debug, Default)]
pub(super) struct Link(Arc<LinkState>);

#[derive(Debug, Default)]
struct LinkState {
    phase: AtomicU8,
    /// Whether hyper has the whole answer.
    handed: AtomicBool,
    /// Whether the stream has the whole answer.
    delivered: AtomicBool,
    /// Whether the client has closed its sending side, even if the end has not been read yet.
    closing: AtomicBool,
    /// Whether the client no longer waits, or the rest of its request can't be read.
    ended: AtomicBool,
    /// Whether the last write or flush has to wait for the client to read.
    blocked: AtomicBool,
    /// How many bytes the stream has accepted.
    written: AtomicU64,
    /// The pace of the answer's body.
    pace: Pace,
    /// The pace of the request's body. Here, a piece is under way until the next one is asked for.
    intake: Pace,
}

/// The phases: what hyper may do with the stream after it has read the head.
impl Link {
    /// Nothing: it is still parsing the head.
    const PARSING: u8 = 0;
    /// Read and write: request and answer may be under way at the same time.
    const PASSING: u8 = 1;
    /// Only write. What the client sends is not read.
    const ANSWERING: u8 = 2;
    /// Write, and read the rest of the request, but nothing after it.
    const REPLYING: u8 = 3;

    /// Lets hyper read the request's body and write the answer.
    pub fn pass(&self) {
        self.0.phase.store(Self::PASSING, Relaxed);
    }

    /// Lets hyper write the last answer.
    pub fn answer(&self) {
        self.0.phase.store(Self::ANSWERING, Relaxed);
    }

    /// Lets hyper write the proxy's own answer, which a client gets even if it has closed its sending side.
    pub fn reply(&self) {
        self.0.phase.store(Self::REPLYING, Relaxed);
    }

    /// Notes that hyper has the whole answer.
    pub fn handed(&self) {
        self.0.handed.store(true, Relaxed);
    }

    /// Notes that the client has closed its sending side, as the socket reports.
    pub fn closing(&self) {
        self.0.closing.store(true, Relaxed);
    }

    /// Whether the client no longer waits, or the rest of its request can't be read.
    pub fn is_ended(&self) -> bool {
        self.0.ended.load(Relaxed)
    }

    /// Whether the stream has the whole answer.
    pub fn is_delivered(&self) -> bool {
        self.0.delivered.load(Relaxed)
    }

    /// How many bytes the stream has accepted, if it is now waiting for the client to read.
    pub fn blocked_at(&self) -> Option<u64> {
        let blocked = self.0.blocked.load(Relaxed);
        blocked.then(|| self.0.written.load(Relaxed))
    }

    /// The pace of the answer's body toward the stream.
    pub fn pace(&self) -> &Pace {
        &self.0.pace
    }

    /// The pace of the request's body from the stream.
    pub fn intake(&self) -> &Pace {
        &self.0.intake
    }

    fn phase(&self) -> u8 {
        self.0.phase.load(Relaxed)
    }

    /// Remembers the outcome of a write or flush.
    fn wrote<T>(
        &self,
        polled: Poll<io::Result<T>>,
        count: impl Fn(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        self.0.blocked.store(polled.is_pending(), Relaxed);
        if let Poll::Ready(Ok(taken)) = &polled {
            self.0.written.fetch_add(count(taken) as u64, Relaxed);
        }
        polled
    }
}

/// Why a client no longer waits.
#[derive(Debug)]
pub(super) enum End {
    /// It closed its sending side.
    Left,
    /// Its connection broke.
    Broke(io::Error),
    /// The framing of its body is invalid, or the body is too large.
    Misframed(Failure),
}

/// The stream that hyper reads and writes.
pub(super) struct Hold {
    stream: ClientStream,
    /// Kept until hyper has parsed it.
    head: Vec<u8>,
    given: usize,
    /// The part of the body that arrived together with the head.
    begun: Vec<u8>,
    body: Rest,
    held: Vec<u8>,
    held_since: Option<Instant>,
    link: Link,
    end: Option<End>,
}

impl Hold {
    /// Gives hyper `raw.head` and the body. What `raw.early` contains after the body is held from the start.
    pub(super) fn new(mut stream: ClientStream, raw: RawHead, link: Link) -> Self {
        let RawHead {
            head,
            early: mut begun,
            mut body,
        } = raw;
        let (count, end) = match body.take(&begun) {
            Ok(count) => (count, None),
            Err(failure) => (0, Some(End::Misframed(failure))),
        };
        link.0.ended.store(end.is_some(), Relaxed);
        if head.len() > LARGE_HEAD && body.is_done() {
            // This limits the socket below TLS, because TLS would otherwise read a whole record.
            stream.limit(HELD_BEHIND_LARGE);
        }
        // After a small head, the bound on memory leaves room for a record that TLS has read only in part.
        stream.by_record(head.len() > LARGE_HEAD);
        let held = begun.split_off(count);
        let held_since = (!held.is_empty()).then(Instant::now);
        Self {
            stream,
            head,
            given: 0,
            begun,
            body,
            held,
            held_since,
            link,
            end,
        }
    }

    /// When the first held bytes arrived.
    pub(super) fn held_since(&self) -> Option<Instant> {
        self.held_since
    }

    fn hold(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.held_since.get_or_insert_with(Instant::now);
            if self.held.capacity() < HELD_MAX / 2 {
                self.held.reserve(bytes.len());
            } else {
                // The vector's own doubling would allocate far more than can ever be held.
                let most = HELD_MAX + AHEAD_PIECE;
                self.held
                    .reserve_exact(most.saturating_sub(self.held.len()).max(bytes.len()));
            }
            self.held.extend_from_slice(bytes);
        }
    }

    /// The stream and the head, if hyper refuses the head.
    pub(super) fn into_refused(mut self) -> (ClientStream, Vec<u8>) {
        self.stream.unlimit();
        self.stream.by_record(false);
        (self.stream, self.head)
    }

    /// The stream, the held bytes, and whether the whole body of the request was read.
    pub(super) fn into_parts(mut self) -> (ClientStream, Vec<u8>, bool) {
        self.stream.unlimit();
        self.stream.by_record(false);
        let is_read = self.begun.is_empty() && self.body.is_done() && self.end.is_none();
        (self.stream, self.held, is_read)
    }

    /// How the client left, if it did.
    pub(super) fn left(&self) -> Option<Undelivered> {
        self.end.as_ref().map(|end| match end {
            End::Left => Undelivered::Left("closed in order".to_owned()),
            End::Broke(error) => Undelivered::Left(error.to_string()),
            End::Misframed(failure) => Undelivered::Misframed(failure.clone()),
        })
    }

    /// The stream, why its client no longer waits, and whether the request's body was still incomplete then.
    pub(super) fn into_end(mut self) -> (ClientStream, End, bool) {
        self.stream.unlimit();
        self.stream.by_record(false);
        let in_body = !self.body.is_done();
        (self.stream, self.end.unwrap_or(End::Left), in_body)
    }

    /// Gives hyper another head, which has no body.
    pub(super) fn give(&mut self, head: Vec<u8>) {
        self.head = head;
        self.given = 0;
    }

    /// Does what hyper's reads do after a request without a body: holds what the client sends. Ready when the client has
    /// left.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.head = Vec::new();
        self.read_ahead(cx)
    }

    fn end(&mut self, end: End) {
        self.end = Some(end);
        self.link.0.ended.store(true, Relaxed);
    }

    fn ended(&mut self, kind: io::ErrorKind, end: End) -> Poll<io::Result<()>> {
        self.end(end);
        Poll::Ready(Err(kind.into()))
    }

    /// Reads the next piece of the request's body. What follows the body in the same read is held.
    ///
    /// A piece may span several TLS records, because a small piece costs hyper as much as a large one.
    fn read_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.link.intake().poll());
        let before = buf.filled().len();
        loop {
            let start = buf.filled().len();
            let most = HYPER_PIECE.saturating_sub(start - before);
            match poll_read_at_most(&mut self.stream, most, cx, buf) {
                Poll::Pending if start > before => break,
                read => {
                    if let Err(error) = ready!(read) {
                        buf.set_filled(before);
                        return self.ended(error.kind(), End::Broke(error));
                    }
                }
            }
            let new = buf.filled().get(start..).unwrap_or_default();
            // If bytes came before the end, the next read reports the end again.
            if new.is_empty() {
                if start == before {
                    self.end(End::Left);
                }
                break;
            }
            match self.body.take(new) {
                Ok(count) => {
                    self.hold(new.get(count..).unwrap_or_default());
                    buf.set_filled(start + count);
                }
                Err(failure) => {
                    buf.set_filled(before);
                    return self.ended(io::ErrorKind::InvalidData, End::Misframed(failure));
                }
            }
            let is_full = buf.remaining() == 0 || buf.filled().len() - before >= HYPER_PIECE;
            if is_full || self.body.is_done() {
                break;
            }
        }
        self.stream.trim();
        Poll::Ready(Ok(()))
    }

    /// Holds what comes after the request, and notices the client's end.
    ///
    /// When all space is used, it goes on only after the socket has reported that the client closed its sending side.
    /// The rest is then discarded.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; AHEAD_PIECE];
        let is_closing = self.link.0.closing.load(Relaxed);
        if is_closing {
            self.stream.unlimit();
        }
        while self.held.len() < HELD_MAX || is_closing {
            let mut piece = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece)) {
                Ok(()) if piece.filled().is_empty() => {
                    self.end(End::Left);
                    return Poll::Ready(Ok(()));
                }
                Ok(()) if self.held.len() < HELD_MAX => self.hold(piece.filled()),
                Ok(()) => {}
                Err(error) => return self.ended(error.kind(), End::Broke(error)),
            }
        }
        self.stream.trim();
        // No space left: the exchange watches the socket and polls again when the client ends.
        Poll::Pending
    }
}

impl AsyncRead for Hold {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = this.head.get(this.given..).unwrap_or_default();
        if !rest.is_empty() {
            let count = rest.len().min(buf.remaining()).min(HYPER_PIECE);
            buf.put_slice(rest.get(..count).unwrap_or_default());
            this.given += count;
            return Poll::Ready(Ok(()));
        }
        let phase = this.link.phase();
        if !matches!(phase, Link::PASSING | Link::REPLYING) {
            return Poll::Pending;
        }
        this.head = Vec::new();
        if let Some(End::Misframed(_)) = this.end {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if !this.begun.is_empty() {
            let count = this.begun.len().min(buf.remaining()).min(HYPER_PIECE);
            buf.put_slice(this.begun.get(..count).unwrap_or_default());
            this.begun.drain(..count);
            if this.begun.is_empty() {
                this.begun = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        match (this.body.is_done(), phase) {
            (false, _) => this.read_body(cx, buf),
            (true, Link::PASSING) => this.read_ahead(cx),
            (true, _) => Poll::Pending,
        }
    }
}

impl AsyncWrite for Hold {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.link.phase() == Link::PARSING {
            return Poll::Ready(Ok(buf.len()));
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.link.wrote(polled, |count| *count)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes after it has written everything that it has.
        let handed = self.link.0.handed.load(Relaxed);
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.link.0.pace.flushed(cx);
            if handed {
                self.link.0.delivered.store(true, Relaxed);
            }
        }
        self.link.wrote(polled, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
