//! Moves bytes from one side to the other.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::moment::Moment;
use super::{Blocked, Leg, Outgoing, Over, short};
use crate::tls;

/// Bytes read at once: the content of the largest TLS record.
const PIECE: usize = 16 * 1024;

thread_local! {
    /// The buffer for pieces. It is filled and emptied within one poll, so one per thread is enough and an idle tunnel
    /// needs no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
}

/// Moves bytes from one side to the other until neither side can do more.
pub(in crate::tunnel) fn pump(
    cx: &mut Context<'_>,
    (from, reader): (&mut Leg, &mut (impl AsyncRead + Unpin)),
    (to, writer): (&mut Leg, &mut (impl AsyncWrite + Unpin)),
    largest: Option<u64>,
) {
    let mut scratch = SCRATCH.take();
    if scratch.is_empty() {
        scratch = vec![0; PIECE].into();
    }
    while let Some(count) = step(cx, from, reader, to, writer, &mut scratch) {
        if count == 0 {
            continue;
        }
        let piece = scratch.get_mut(..count).unwrap_or_default();
        from.heard = Moment::now();
        let kept = from.watch(piece, to, largest);
        if kept == 0 {
            continue;
        }
        // A Close ends the activity: the record reports how long the tunnel had been idle before it.
        if from.close.is_none() {
            from.active = from.heard;
        }
        let piece = piece.get(..kept).unwrap_or_default();
        if to.is_open()
            && let Err(error) = to.pass(cx, writer, piece)
        {
            to.break_off(Some(error));
        }
    }
    SCRATCH.set(scratch);
}

/// Reads what a peer sent before the tunnel began.
pub(in crate::tunnel) fn begin(
    from: &mut Leg,
    mut early: Vec<u8>,
    to: &mut Leg,
    largest: Option<u64>,
) {
    if !early.is_empty() {
        let kept = from.watch(&mut early, to, largest);
        to.waiting.push(early.get(..kept).unwrap_or_default());
    }
}

/// Writes what waits, then reads. `None`: nothing more can be done now.
fn step(
    cx: &mut Context<'_>,
    from: &mut Leg,
    reader: &mut (impl AsyncRead + Unpin),
    to: &mut Leg,
    writer: &mut (impl AsyncWrite + Unpin),
    scratch: &mut [u8],
) -> Option<usize> {
    if to.ended().is_none() {
        match to.drain(cx, writer) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => to.break_off(Some(error)),
            Poll::Pending => return None,
        }
    }
    if to.outgoing == Outgoing::Ending {
        to.end(cx, writer);
    }
    // The peer is read if the other side can still receive, or if the peer still has to answer a Close.
    let is_read = from.over.is_none() && (to.is_open() || from.owes_close());
    let read = if is_read {
        from.fill(cx, reader, scratch)
    } else {
        Poll::Pending
    };
    match read {
        Poll::Ready(Ok(count)) if count > 0 => return Some(count),
        Poll::Ready(outcome) => {
            from.ended_with(outcome);
            if !from.muted && to.is_open() {
                from.dangling |= !from.held.is_empty();
                to.waiting.push(&std::mem::take(&mut from.held));
            }
            // Another round writes and flushes what was held.
            return Some(0);
        }
        Poll::Pending => {}
    }
    if to.is_open()
        && let Err(error) = to.flush(cx, writer)
    {
        to.break_off(Some(error));
    }
    None
}

impl Leg {
    /// Reads the peer's next bytes into `scratch`; returns 0 at the end of the stream.
    fn fill(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut (impl AsyncRead + Unpin),
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut piece = ReadBuf::new(scratch);
        let outcome = Pin::new(reader).poll_read(cx, &mut piece);
        outcome.map_ok(|()| piece.filled().len())
    }

    /// Handles the end or the failure of the peer's stream.
    fn ended_with(&mut self, outcome: io::Result<usize>) {
        match outcome {
            Ok(_) => self.stop_reading(Over::Ended),
            Err(error) if tls::is_truncation(&error) => self.stop_reading(Over::Truncated),
            Err(error) => {
                self.stop_reading(Over::Broke(error));
                self.break_off(None);
            }
        }
    }

    /// Writes what waits.
    fn drain(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while self.waiting() > 0 {
            match Pin::new(&mut *writer).poll_write(cx, self.waiting.rest()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    let theirs = self.waiting.advance(count);
                    self.wrote(count, theirs);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.stall(Blocked::Write);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes a piece of the other peer's bytes after what waits, and keeps what the stream does not accept.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut (impl AsyncWrite + Unpin),
        piece: &[u8],
    ) -> io::Result<()> {
        let mut taken = 0;
        if self.waiting.theirs() == 0 {
            match Pin::new(writer).poll_write(cx, piece) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    taken = count;
                    self.wrote(count, count);
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => self.stall(Blocked::Write),
            }
        }
        self.waiting.push(piece.get(taken..).unwrap_or_default());
        Ok(())
    }

    /// Records that `count` bytes were written, of which `theirs` were the other peer's.
    fn wrote(&mut self, count: usize, theirs: usize) {
        self.spoken = Moment::now();
        if theirs > 0 {
            self.written += theirs as u64;
            if self.told.is_none() {
                self.active = self.spoken;
            }
        }
        self.taken = self.taken.saturating_add(short(count));
        // A stream that accepted more than it can hold has sent some of it, even if more keeps coming and it never runs
        // empty.
        if self.taken as usize > tls::SEND_BUFFER {
            self.unstalled(Blocked::Flush);
        } else {
            self.unstalled(Blocked::Write);
        }
    }

    /// Flushes the stream: a TLS stream keeps records back until it is flushed.
    fn flush(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        match Pin::new(writer).poll_flush(cx) {
            Poll::Ready(Ok(())) => self.flushed(),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => self.stall(Blocked::Flush),
        }
        Ok(())
    }

    fn flushed(&mut self) {
        self.unstalled(Blocked::Flush);
        if self.waiting() == 0
            && let Some(told) = &mut self.told
        {
            told.delivered.get_or_insert_with(Moment::now);
        }
    }

    /// Ends the direction toward the peer.
    fn end(&mut self, cx: &mut Context<'_>, writer: &mut (impl AsyncWrite + Unpin)) {
        match Pin::new(writer).poll_shutdown(cx) {
            Poll::Ready(told) => {
                // If this fails, the peer is gone; the next read reports that.
                if told.is_ok() {
                    self.flushed();
                }
                self.unstalled(Blocked::Flush);
                self.set_ended();
            }
            Poll::Pending => self.stall(Blocked::Flush),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::frame::{Extensions, Sender};
    use super::*;

    /// A stream that accepts all bytes and never finishes flushing.
    struct NeverEmpty;

    impl AsyncWrite for NeverEmpty {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[test]
    fn a_stream_that_takes_more_than_it_holds_is_not_stalled() {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut leg = Leg::new(Sender::Client, Extensions::None, Moment::now());
        for _ in 0..3 {
            leg.flush(cx, &mut NeverEmpty).unwrap();
            let since = leg.stalled_since();
            assert!(since.is_some());
            // Bytes that fit into the stream's buffer prove nothing about the peer.
            let held = vec![0; tls::SEND_BUFFER];
            leg.pass(cx, &mut NeverEmpty, &held).unwrap();
            leg.flush(cx, &mut NeverEmpty).unwrap();
            assert_eq!(leg.stalled_since(), since);
            leg.pass(cx, &mut NeverEmpty, &[0]).unwrap();
            assert_eq!(leg.stalled_since(), None);
        }
    }
}
