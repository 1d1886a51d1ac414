//! A body goes to hyper piece by piece: the next one when the stream has handed the last one on.
//!
//! hyper copies pieces behind what waits to be written, up to its largest buffer; so much for each peer that does not
//! read would be most of what a connection costs.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

/// What a body and the stream that it goes to, which belong to one task, agree on.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// A piece is on its way.
    is_taken: AtomicBool,
    /// Another one was asked for meanwhile.
    is_asked: AtomicBool,
}

impl Pace {
    /// Whether a piece is on its way.
    pub fn is_taken(&self) -> bool {
        self.is_taken.load(Relaxed)
    }

    /// Pending while a piece is on its way; the task is woken when it has gone.
    pub fn poll(&self) -> Poll<()> {
        if self.is_taken() {
            self.is_asked.store(true, Relaxed);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// A piece of so many bytes goes to hyper.
    pub fn took(&self, bytes: usize) {
        self.is_taken.store(bytes > 0, Relaxed);
    }

    /// The stream has handed on all that it got.
    pub fn flushed(&self, cx: &Context<'_>) {
        self.is_taken.store(false, Relaxed);
        if self.is_asked.swap(false, Relaxed) {
            cx.waker().wake_by_ref();
        }
    }
}
