//! The stream below hyper: gives it the checked head and keeps everything after it back.
//!
//! A client must wait for the answer to its opening handshake (RFC 6455 section 4.1). What it sends meanwhile may
//! be the next request of an attacker, so it neither reaches hyper nor, before a verified 101, the upstream; it is
//! held here, bounded. Reading on also notices a client that leaves.
//!
//! Nor does hyper say anything before there is an answer: what it would write by itself about a head that it can't
//! parse lacks the reason and the request's id. And until it has parsed the head it learns of nothing behind it: a
//! client that ends its side at once still gets the answer to what it asked.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::RawHead;
use crate::stream::ClientStream;

/// Bytes a client may send ahead of its answer; beyond that its TCP window fills.
const HELD_MAX: usize = 16 * 1024;

/// What hyper may do with the stream besides reading the head; it goes forward only.
#[derive(Clone, Debug)]
pub(super) struct Phase(Arc<AtomicU8>);

impl Phase {
    /// At first, nothing.
    const PARSING: u8 = 0;
    /// Read, which holds what comes.
    const WAITING: u8 = 1;
    /// Write, and nothing else matters any more.
    const ANSWERING: u8 = 2;

    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(Self::PARSING)))
    }

    /// The request waits for its answer.
    pub(super) fn wait(&self) {
        self.0.store(Self::WAITING, Relaxed);
    }

    /// The answer is known.
    pub(super) fn answer(&self) {
        self.0.store(Self::ANSWERING, Relaxed);
    }

    fn is(&self, phase: u8) -> bool {
        self.0.load(Relaxed) == phase
    }
}

pub(super) struct Hold {
    stream: ClientStream,
    head: Vec<u8>,
    given: usize,
    held: Vec<u8>,
    phase: Phase,
    error: Option<io::Error>,
}

impl Hold {
    /// hyper reads `raw.head`; `raw.early` is held already.
    pub(super) fn new(stream: ClientStream, raw: RawHead, phase: Phase) -> Self {
        Self {
            stream,
            head: raw.head,
            given: 0,
            held: raw.early,
            phase,
            error: None,
        }
    }

    /// The stream and the head, for a head that hyper refuses.
    pub(super) fn into_refused(self) -> (ClientStream, Vec<u8>) {
        (self.stream, self.head)
    }

    /// The stream and what was held.
    pub(super) fn into_parts(self) -> (ClientStream, Vec<u8>) {
        (self.stream, self.held)
    }

    /// What broke the stream, if it did not end in order.
    pub(super) fn into_error(self) -> Option<io::Error> {
        self.error
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
            let count = rest.len().min(buf.remaining());
            buf.put_slice(rest.get(..count).unwrap_or_default());
            this.given += count;
            return Poll::Ready(Ok(()));
        }
        if !this.phase.is(Phase::WAITING) {
            return Poll::Pending;
        }
        let mut scratch = [0; 2048];
        while this.held.len() < HELD_MAX {
            let mut piece = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece)) {
                Ok(()) if piece.filled().is_empty() => return Poll::Ready(Ok(())),
                Ok(()) => this.held.extend_from_slice(piece.filled()),
                Err(error) => {
                    let kind = error.kind();
                    this.error = Some(error);
                    return Poll::Ready(Err(kind.into()));
                }
            }
        }
        // Full: nothing wakes this read again, and the deadlines of the stages above bound the wait.
        Poll::Pending
    }
}

impl AsyncWrite for Hold {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.phase.is(Phase::ANSWERING) {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
