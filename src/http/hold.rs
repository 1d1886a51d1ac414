//! The stream below hyper: gives it one checked request, head and body, and keeps everything after it back.
//!
//! A client must wait for the answer to its opening handshake (RFC 6455 section 4.1). What it sends meanwhile may
//! be the next request of an attacker, so it neither reaches hyper nor, before a verified 101, the upstream; it is
//! held here, bounded. So is what follows a plain request, to be read as a request of its own once this one is
//! answered. Reading on also notices a client that leaves; where nothing may be read on, [`super::Exchange`] watches the
//! socket.
//!
//! Nor does hyper say anything before there is an answer: what it would write by itself about a head that it can't
//! parse lacks the reason and the request's id. And until it has parsed the head it learns of nothing behind it: a
//! client that ends its side at once still gets the answer to what it asked.

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

/// Bytes a client may send ahead of its answer; beyond that its TCP window fills.
const HELD_MAX: usize = 16 * 1024;

/// The same behind a head that is larger than this: head and bytes ahead are bounded together.
const LARGE_HEAD: usize = 4 * 1024;
const HELD_BEHIND_LARGE: u32 = 4 * 1024;

/// How they are read.
const AHEAD_PIECE: usize = 2048;

/// What is agreed between an exchange and the stream below its hyper, which belong to one task.
#[derive(Clone, Debug, Default)]
pub(super) struct Link(Arc<State>);

#[derive(Debug, Default)]
struct State {
    phase: AtomicU8,
    /// Everything of the answer is with hyper.
    handed: AtomicBool,
    /// Everything of the answer is with the stream.
    delivered: AtomicBool,
    /// The client has ended its side, whether or not that was read.
    closing: AtomicBool,
    /// The client has stopped waiting.
    ended: AtomicBool,
    /// The stream took nothing of what was last written or flushed.
    blocked: AtomicBool,
    /// Bytes that the stream took.
    written: AtomicU64,
    /// The answer's body.
    pace: Pace,
    /// The request's body: a piece is on its way until another one is asked for.
    intake: Pace,
}

/// What hyper may do with the stream besides reading the head.
impl Link {
    /// At first, nothing.
    const PARSING: u8 = 0;
    /// Read and write: a request and its answer, both of which may be on their way at once.
    const PASSING: u8 = 1;
    /// Write, and nothing else matters any more.
    const ANSWERING: u8 = 2;
    /// Write, and read what is left of the request, but nothing behind it.
    const REPLYING: u8 = 3;

    /// The request may pass.
    pub fn pass(&self) {
        self.0.phase.store(Self::PASSING, Relaxed);
    }

    /// The answer is known and is the last.
    pub fn answer(&self) {
        self.0.phase.store(Self::ANSWERING, Relaxed);
    }

    /// The answer is the proxy's own and there already: a client that only ends its side still gets it.
    pub fn reply(&self) {
        self.0.phase.store(Self::REPLYING, Relaxed);
    }

    /// Nothing more will come of the answer.
    pub fn handed(&self) {
        self.0.handed.store(true, Relaxed);
    }

    /// The client has ended its side, as its socket says.
    pub fn closing(&self) {
        self.0.closing.store(true, Relaxed);
    }

    /// Whether the client has stopped waiting, or its request can't be read on.
    pub fn is_ended(&self) -> bool {
        self.0.ended.load(Relaxed)
    }

    /// Whether the stream has the whole answer.
    pub fn is_delivered(&self) -> bool {
        self.0.delivered.load(Relaxed)
    }

    /// How much the stream has taken, if it waits for its client to read on.
    pub fn blocked_at(&self) -> Option<u64> {
        let blocked = self.0.blocked.load(Relaxed);
        blocked.then(|| self.0.written.load(Relaxed))
    }

    /// How the answer's body goes to the stream.
    pub fn pace(&self) -> &Pace {
        &self.0.pace
    }

    /// How the request's body comes from the stream.
    pub fn intake(&self) -> &Pace {
        &self.0.intake
    }

    fn phase(&self) -> u8 {
        self.0.phase.load(Relaxed)
    }

    /// Remembers what came of a write or a flush.
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

/// How a client stopped waiting.
#[derive(Debug)]
pub(super) enum End {
    /// In order.
    Left,
    /// Its connection broke.
    Broke(io::Error),
    /// Its body's framing is wrong or too large.
    Misframed(Failure),
}

pub(super) struct Hold {
    stream: ClientStream,
    /// Until hyper has parsed it.
    head: Vec<u8>,
    given: usize,
    /// What of the body came with the head.
    begun: Vec<u8>,
    body: Rest,
    held: Vec<u8>,
    held_since: Option<Instant>,
    link: Link,
    end: Option<End>,
}

impl Hold {
    /// hyper reads `raw.head` and the body; of `raw.early`, what is not the body's is held already.
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
            // Below TLS, which would take a whole record.
            stream.limit(HELD_BEHIND_LARGE);
        }
        // After a small head the memory bound leaves room for a partial record.
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

    /// When the first of the bytes came that are held.
    pub(super) fn held_since(&self) -> Option<Instant> {
        self.held_since
    }

    fn hold(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.held_since.get_or_insert_with(Instant::now);
            if self.held.capacity() < HELD_MAX / 2 {
                self.held.reserve(bytes.len());
            } else {
                // Doubled once more it would be far larger than it can ever have to be.
                let most = HELD_MAX + AHEAD_PIECE;
                self.held
                    .reserve_exact(most.saturating_sub(self.held.len()).max(bytes.len()));
            }
            self.held.extend_from_slice(bytes);
        }
    }

    /// The stream and the head, for a head that hyper refuses.
    pub(super) fn into_refused(mut self) -> (ClientStream, Vec<u8>) {
        self.stream.unlimit();
        self.stream.by_record(false);
        (self.stream, self.head)
    }

    /// The stream, what was held, and whether the request's body has been read to its end.
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

    /// The stream, how its client stopped waiting, and whether that was before the end of its request's body.
    pub(super) fn into_end(mut self) -> (ClientStream, End, bool) {
        self.stream.unlimit();
        self.stream.by_record(false);
        let in_body = !self.body.is_done();
        (self.stream, self.end.unwrap_or(End::Left), in_body)
    }

    fn end(&mut self, end: End) {
        self.end = Some(end);
        self.link.0.ended.store(true, Relaxed);
    }

    fn ended(&mut self, kind: io::ErrorKind, end: End) -> Poll<io::Result<()>> {
        self.end(end);
        Poll::Ready(Err(kind.into()))
    }

    /// The next piece of the request's body; what follows it in the same piece is held.
    ///
    /// A piece may span TLS records: a small piece for the rest of each record would cost as much as a large one.
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
            // The end comes again when there is nothing before it.
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

    /// Holds what comes behind the request; only its end is told.
    ///
    /// When it holds all that it may, it reads on only once the socket says that the client has ended its side. The
    /// rest is thrown away then: this end is the same as one that comes behind fewer bytes.
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
        // Full: the exchange watches the socket and polls again at its end.
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
        // hyper flushes when it has written all that it has.
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
