//! Gives a body to hyper piece by piece: each piece only when the stream has sent the one before.
//!
//! hyper copies pieces into its largest buffer. For peers that do not read, these copies would be most of the memory of
//! their connections.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

/// The state that a body shares with the stream that it goes to. Both belong to one task.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// A piece is under way.
    is_taken: AtomicBool,
    /// The next piece was asked for in the meantime.
    is_asked: AtomicBool,
}

impl Pace {
    /// Whether a piece is under way.
    pub fn is_taken(&self) -> bool {
        self.is_taken.load(Relaxed)
    }

    /// Pending while a piece is under way; the task is woken when it has been sent.
    pub fn poll(&self) -> Poll<()> {
        if self.is_taken() {
            self.is_asked.store(true, Relaxed);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// A piece of `bytes` bytes goes to hyper.
    pub fn took(&self, bytes: usize) {
        self.is_taken.store(bytes > 0, Relaxed);
    }

    /// The stream has sent everything that it got.
    pub fn flushed(&self, cx: &Context<'_>) {
        self.is_taken.store(false, Relaxed);
        if self.is_asked.swap(false, Relaxed) {
            cx.waker().wake_by_ref();
        }
    }
}
