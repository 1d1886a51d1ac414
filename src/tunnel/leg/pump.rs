//! Moves bytes from one side to the other.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::{Leg, Outgoing, Over};
use crate::moment::Moment;
use crate::stream::Outlet;
use crate::tls;

/// Bytes read at once from a peer that has not taken everything: the content of the largest TLS record.
const PIECE: usize = 16 * 1024;

/// Bytes read at once from other peers: the content of the largest records that TLS sends with one call.
const LARGE_PIECE: usize = tls::TOGETHER * PIECE;

thread_local! {
    /// The buffer for pieces. It is filled and emptied within one poll, so one per thread is enough and an idle tunnel
    /// needs no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGE_PIECE].into());
}

/// Moves bytes from one side to the other until neither side can do more.
///
/// What one side sends is read only when the other has taken everything before it, so a tunnel holds at most one piece
/// per direction, and at most one of both is large.
pub(in crate::tunnel) fn pump(
    cx: &mut Context<'_>,
    (from, reader): (&mut Leg, &mut (impl AsyncRead + Unpin)),
    (to, writer): (&mut Leg, &mut impl Outlet),
    largest: Option<u64>,
) {
    let most = if from.is_clear() { LARGE_PIECE } else { PIECE };
    let mut scratch = SCRATCH.take();
    if scratch.is_empty() {
        scratch = vec![0; LARGE_PIECE].into();
    }
    let room = scratch.get_mut(..most).unwrap_or_default();
    while let Some(count) = step(cx, (from, reader), (to, writer), room) {
        if count == 0 {
            continue;
        }
        let piece = room.get_mut(..count).unwrap_or_default();
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
    (from, reader): (&mut Leg, &mut (impl AsyncRead + Unpin)),
    (to, writer): (&mut Leg, &mut impl Outlet),
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
        // A peer that has got a Close knows more than a reset says.
        match to.passes_resets && from.has_broken() && to.told.is_none() {
            true => to.abort(writer),
            false => to.end(cx, writer),
        }
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
                from.dangling |= !from.held().is_empty();
                to.waiting.push(&from.take_held());
            }
            // Another round writes and flushes what was held.
            return Some(0);
        }
        Poll::Pending => {}
    }
    // TLS may have something to say of its own, such as the answer to a key update.
    if to.is_open()
        && let Poll::Ready(Err(error)) = to.flush(cx, writer)
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

    /// Writes what waits, and sees to it that the stream holds nothing back. A TLS stream keeps records until it is
    /// flushed.
    fn drain(&mut self, cx: &mut Context<'_>, writer: &mut impl Outlet) -> Poll<io::Result<()>> {
        while self.waiting() > 0 {
            match Pin::new(&mut *writer).poll_write(cx, self.waiting.rest()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    let theirs = self.waiting.advance(count);
                    self.wrote(count, theirs, writer.taken());
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.stall(writer.taken());
                    return Poll::Pending;
                }
            }
        }
        match self.unflushed > 0 && self.is_open() {
            true => self.flush(cx, writer),
            false => Poll::Ready(Ok(())),
        }
    }

    /// Writes a piece of the other peer's bytes after what waits, and keeps what the stream does not accept.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut impl Outlet,
        piece: &[u8],
    ) -> io::Result<()> {
        let mut taken = 0;
        if self.waiting.theirs() == 0 {
            match Pin::new(&mut *writer).poll_write(cx, piece) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    taken = count;
                    self.wrote(count, count, writer.taken());
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => self.stall(writer.taken()),
            }
        }
        self.waiting.push(piece.get(taken..).unwrap_or_default());
        Ok(())
    }

    /// Records that `count` bytes were written, of which `theirs` were the other peer's. The socket has
    /// [taken](Outlet::taken) some or all of them. What only a TLS stream has accepted proves nothing about the peer.
    fn wrote(&mut self, count: usize, theirs: usize, taken: Option<u32>) {
        self.spoken = Moment::now();
        if theirs > 0 {
            self.written += theirs as u64;
            if self.told.is_none() {
                self.active = self.spoken;
            }
        }
        if taken.is_some() {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.unflushed = self.unflushed.saturating_add(count);
        }
        if self.has_taken_more(taken) {
            self.unstalled();
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, writer: &mut impl Outlet) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut *writer).poll_flush(cx);
        match flushed {
            Poll::Ready(Ok(())) => self.flushed(),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.stall(writer.taken()),
        }
        flushed
    }

    fn flushed(&mut self) {
        self.unflushed = 0;
        self.unstalled();
        if self.waiting() == 0
            && let Some(told) = &mut self.told
        {
            told.delivered.get_or_insert_with(Moment::now);
        }
    }

    /// Breaks the connection to the peer.
    fn abort(&mut self, writer: &mut impl Outlet) {
        writer.abort();
        self.unstalled();
        self.unflushed = 0;
        self.is_aborted = true;
        self.set_ended();
    }

    /// Ends the direction toward the peer.
    fn end(&mut self, cx: &mut Context<'_>, writer: &mut impl Outlet) {
        match Pin::new(&mut *writer).poll_shutdown(cx) {
            Poll::Ready(told) => {
                // If this fails, the peer is gone; the next read reports that.
                if told.is_ok() {
                    self.flushed();
                }
                self.unstalled();
                self.unflushed = 0;
                self.set_ended();
            }
            Poll::Pending => self.stall(writer.taken()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWrite;

    use super::super::super::frame::{Extensions, Sender};
    use super::*;

    /// A stream that keeps all bytes until its socket takes them, and never finishes flushing.
    struct NeverEmpty {
        taken: u32,
    }

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

    impl Outlet for NeverEmpty {
        fn taken(&self) -> Option<u32> {
            Some(self.taken)
        }
    }

    #[test]
    fn only_a_socket_that_takes_bytes_ends_a_stall() {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut leg = Leg::new(Sender::Client, Extensions::None, Moment::now());
        let mut stream = NeverEmpty { taken: u32::MAX };
        leg.pass(cx, &mut stream, &vec![0; LARGE_PIECE]).unwrap();
        assert_eq!(leg.stalled_since(), None);
        for _ in 0..3 {
            assert!(leg.flush(cx, &mut stream).is_pending());
            let since = leg.stalled_since();
            assert!(since.is_some());
            // What the stream holds proves nothing about the peer.
            leg.pass(cx, &mut stream, &[0]).unwrap();
            assert!(leg.flush(cx, &mut stream).is_pending());
            assert_eq!(leg.stalled_since(), since);
            stream.taken = stream.taken.wrapping_add(1);
            leg.pass(cx, &mut stream, &[0]).unwrap();
            assert_eq!(leg.stalled_since(), None);
        }
    }

    #[test]
    fn a_stall_begins_again_when_the_socket_has_taken_a_part() {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut leg = Leg::new(Sender::Client, Extensions::None, Moment::now());
        let mut stream = NeverEmpty { taken: 0 };
        leg.pass(cx, &mut stream, &[0; 10]).unwrap();
        assert!(leg.flush(cx, &mut stream).is_pending());
        let before = leg.stalled_since().unwrap();
        let lasts = Duration::from_millis(1);
        while before.elapsed() < lasts {
            std::thread::yield_now();
        }
        stream.taken = 1;
        assert!(leg.flush(cx, &mut stream).is_pending());
        assert!(leg.stalled_since().unwrap() > before);
        assert!(leg.longest_stall() >= lasts);
    }

    #[test]
    fn a_peer_is_read_only_when_the_other_has_taken_everything() {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut from = Leg::new(Sender::Client, Extensions::None, Moment::now());
        let mut to = Leg::new(Sender::Server, Extensions::None, Moment::now());
        let mut messages = vec![0x82, 0xff, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0];
        messages.resize(messages.len() + 128 * 1024, 0);
        let mut reader = &messages[..];
        let mut stream = NeverEmpty { taken: 0 };
        for most in [LARGE_PIECE, PIECE, LARGE_PIECE] {
            from.unflushed = u32::from(most == PIECE);
            let before = to.written;
            for _ in 0..3 {
                let (from, to) = (&mut from, &mut to);
                pump(cx, (from, &mut reader), (to, &mut stream), None);
            }
            let waiting = to.waiting() as u64;
            assert_eq!(to.written - before + waiting, most as u64);
            to.flushed();
        }
    }
}
