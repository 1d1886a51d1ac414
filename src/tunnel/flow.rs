//! One direction of a tunnel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::tls;

/// Bytes moved at once: a TLS record holds at most 16 KiB, and voice frames are far smaller.
const BUFFER: usize = 8 * 1024;

/// Why a direction moves no more.
#[derive(Debug)]
pub(super) enum Stop {
    /// Its reader ended in order, and the writer was told.
    Ended,
    /// Its reader's TCP stream ended without the TLS end; the writer was told an end.
    Truncated,
    /// Its reader broke.
    ReadFailed(io::Error),
    /// Its writer broke.
    WriteFailed(io::Error),
}

/// Bytes from one side to the other.
#[derive(Debug)]
pub(super) struct Flow {
    buffer: Vec<u8>,
    written: usize,
    /// What the reader's end was, once it has ended and the writer is being told.
    over: Option<Stop>,
    ended: Option<Instant>,
    passed: u64,
    last_activity: Instant,
    stalled: Option<(Instant, Blocked)>,
    longest_stall: Duration,
}

/// What a direction waits for while bytes of it can't leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocked {
    /// Room for more bytes.
    Write,
    /// The peer to take those that the stream holds.
    Flush,
}

impl Flow {
    /// A direction in which `early` goes first.
    pub(super) fn new(early: Vec<u8>, now: Instant) -> Self {
        Self {
            buffer: early,
            written: 0,
            over: None,
            ended: None,
            passed: 0,
            last_activity: now,
            stalled: None,
            longest_stall: Duration::ZERO,
        }
    }

    /// Moves bytes until a side would block. Ready once, when nothing more will move.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Stop> {
        if self.is_done() {
            return Poll::Pending;
        }
        loop {
            while self.waiting() > 0 {
                let rest = self.buffer.get(self.written..).unwrap_or_default();
                match Pin::new(&mut *writer).poll_write(cx, rest) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        self.written += count;
                        self.passed += count as u64;
                        self.last_activity = Instant::now();
                        self.unstalled(Blocked::Write);
                    }
                    Poll::Ready(Ok(_)) => {
                        return self.stop(Stop::WriteFailed(io::ErrorKind::WriteZero.into()));
                    }
                    Poll::Ready(Err(error)) => return self.stop(Stop::WriteFailed(error)),
                    Poll::Pending => {
                        self.stall(Blocked::Write);
                        return Poll::Pending;
                    }
                }
            }
            if self.over.is_some() {
                return self.end(cx, writer);
            }
            match self.fill(cx, reader) {
                Poll::Ready(()) => {}
                Poll::Pending => {
                    // A TLS stream keeps records back until it is flushed; a blocked flush is a stall like a
                    // blocked write.
                    match Pin::new(&mut *writer).poll_flush(cx) {
                        Poll::Ready(Ok(())) => self.unstalled(Blocked::Flush),
                        Poll::Ready(Err(error)) => return self.stop(Stop::WriteFailed(error)),
                        Poll::Pending => self.stall(Blocked::Flush),
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn fill(&mut self, cx: &mut Context<'_>, reader: &mut (impl AsyncRead + Unpin)) -> Poll<()> {
        self.written = 0;
        self.buffer.resize(BUFFER, 0);
        let mut piece = ReadBuf::new(&mut self.buffer);
        let outcome = Pin::new(reader).poll_read(cx, &mut piece);
        let count = piece.filled().len();
        self.buffer.truncate(count);
        match ready!(outcome) {
            Ok(()) if count == 0 => self.over = Some(Stop::Ended),
            Ok(()) => self.last_activity = Instant::now(),
            Err(error) if tls::is_truncation(&error) => self.over = Some(Stop::Truncated),
            Err(error) => self.over = Some(Stop::ReadFailed(error)),
        }
        Poll::Ready(())
    }

    /// Passes the reader's end on, behind all that it had sent.
    fn end(&mut self, cx: &mut Context<'_>, writer: &mut (impl AsyncWrite + Unpin)) -> Poll<Stop> {
        let told = match Pin::new(writer).poll_shutdown(cx) {
            Poll::Ready(told) => told,
            Poll::Pending => {
                self.stall(Blocked::Flush);
                return Poll::Pending;
            }
        };
        let stop = self.over.take().unwrap_or(Stop::Ended);
        match told {
            // The other side is gone already: the end it would have been told is the one it made itself.
            Err(error)
                if error.kind() != io::ErrorKind::NotConnected
                    && !matches!(stop, Stop::ReadFailed(_)) =>
            {
                self.stop(Stop::WriteFailed(error))
            }
            _ => self.stop(stop),
        }
    }

    fn stop(&mut self, stop: Stop) -> Poll<Stop> {
        self.abandon();
        Poll::Ready(stop)
    }

    /// Gives the direction up: a side of it is gone.
    pub(super) fn abandon(&mut self) {
        self.ended.get_or_insert_with(Instant::now);
        self.unstalled(Blocked::Flush);
    }

    fn stall(&mut self, blocked: Blocked) {
        self.stalled
            .get_or_insert_with(|| (Instant::now(), blocked));
    }

    /// Ends a stall by what was achieved: a write that a TLS stream took into its buffer says nothing of the peer
    /// while a flush is blocked.
    fn unstalled(&mut self, done: Blocked) {
        if let Some((since, _)) = self
            .stalled
            .take_if(|(_, blocked)| done == Blocked::Flush || *blocked == done)
        {
            self.longest_stall = self.longest_stall.max(since.elapsed());
        }
    }

    /// Bytes read and not yet passed on.
    pub(super) fn waiting(&self) -> usize {
        self.buffer.len().saturating_sub(self.written)
    }

    pub(super) fn is_done(&self) -> bool {
        self.ended.is_some()
    }

    /// When its end was passed on.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.ended
    }

    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    pub(super) fn last_activity(&self) -> Instant {
        self.last_activity
    }

    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled.map(|(since, _)| since)
    }

    /// The longest stall so far, one that still lasts included.
    pub(super) fn longest_stall(&self) -> Duration {
        let lasting = self
            .stalled_since()
            .map_or(Duration::ZERO, |since| since.elapsed());
        self.longest_stall.max(lasting)
    }
}
