//! A shutdown as connections see it: nothing yet, then the drain, then the cut.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Context;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::tunnel::Shutdown;

/// The state of a shutdown; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many of the two tokens are cancelled: to ask a token takes a lock that all tunnels share.
    phase: AtomicU8,
    draining: CancellationToken,
    cut: CancellationToken,
    cause: OnceLock<String>,
}

impl Stop {
    /// A shutdown begins: no new tunnels, and those that are open are closed in their turn.
    pub fn drain(&self) {
        self.0.phase.fetch_max(1, Ordering::Release);
        self.0.draining.cancel();
    }

    /// It has no more patience, because of `cause`: words for records. Only the first time counts.
    pub fn cut(&self, cause: String) {
        self.drain();
        // Before the token, so that whoever is woken by that finds it.
        let _ = self.0.cause.set(cause);
        self.0.phase.fetch_max(2, Ordering::Release);
        self.0.cut.cancel();
    }

    /// Whether a shutdown has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.phase.load(Ordering::Acquire) > 0
    }

    /// Completes when a shutdown has begun.
    pub async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// Completes when it has no more patience.
    pub async fn cancelled(&self) {
        self.0.cut.cancelled().await;
    }

    /// What ended the patience.
    #[must_use]
    pub fn cause(&self) -> &str {
        self.0
            .cause
            .get()
            .map_or("the shutdown ended", String::as_str)
    }

    /// For one tunnel: what a shutdown asks of it.
    pub(super) fn watch(&self) -> Watch {
        Watch {
            waiting: Box::pin(self.0.draining.clone().cancelled_owned()),
            stop: self.clone(),
            seen: None,
        }
    }
}

/// A tunnel's eye on the shutdown.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Stop,
    /// Of the token that is cancelled next.
    waiting: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The phase when the task was last registered to be woken.
    seen: Option<u8>,
}

impl Watch {
    /// What the shutdown asks for now. The task is woken when that changes.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Shutdown<'_> {
        let phase = self.stop.0.phase.load(Ordering::Acquire);
        if self.seen != Some(phase) {
            if phase == 1 && self.seen != Some(1) {
                self.waiting = Box::pin(self.stop.0.cut.clone().cancelled_owned());
            }
            self.seen = Some(phase);
            if phase < 2 && self.waiting.as_mut().poll(cx).is_ready() {
                // The phase has gone on just now: look at it again.
                cx.waker().wake_by_ref();
                self.seen = None;
            }
        }
        match phase {
            0 => Shutdown::No,
            1 => Shutdown::Drain,
            _ => Shutdown::Cut(self.stop.cause()),
        }
    }
}
