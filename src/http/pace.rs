//! Gives a body to hyper piece by piece. hyper gets a piece only after the stream has sent the one before.
//!
//! hyper copies each piece into a buffer that it never frees. If a peer does not read, this buffer would otherwise take
//! most of the memory of its connection.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

/// The state that a body shares with the stream that it goes to. Both belong to one task.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Whether a piece is under way.
    is_taken: AtomicBool,
    /// Whether the next piece has been asked for meanwhile.
    is_asked: AtomicBool,
}

impl Pace {
    /// Whether a piece is under way.
    pub fn is_taken(&self) -> bool {
        self.is_taken.load(Relaxed)
    }

    /// Pending while a piece is under way. The task is woken when the piece has been sent.
    pub fn poll(&self) -> Poll<()> {
        if self.is_taken() {
            self.is_asked.store(true, Relaxed);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Notes that hyper has got a piece of this many bytes. An empty one is not under way.
    pub fn took(&self, bytes: usize) {
        self.is_taken.store(bytes > 0, Relaxed);
    }

    /// Notes that the stream has sent everything that it got.
    pub fn flushed(&self, cx: &Context<'_>) {
        self.is_taken.store(false, Relaxed);
        if self.is_asked.swap(false, Relaxed) {
            cx.waker().wake_by_ref();
        }
    }
}
