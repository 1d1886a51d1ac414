//! A drain as connections see it. It has up to three phases: the drain begins; then the connections that existed at its
//! beginning are cut off; then, only because of a signal, all connections are cut off.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Context;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::tunnel::Shutdown;

/// The state of a drain. All clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many of the first two tokens are cancelled. Asking a token would take a lock that all tunnels share.
    phase: AtomicU8,
    draining: CancellationToken,
    /// The time over which a drain spreads its Close frames; set when it begins.
    spread: OnceLock<Duration>,
    cut: Cut,
    /// For connections that arrived during the drain. They are refused, and not cut off until the process ends.
    end: Cut,
}

/// The cut of some connections, and its cause.
#[derive(Debug, Default)]
struct Cut {
    token: CancellationToken,
    cause: OnceLock<String>,
}

impl Cut {
    fn cause(&self) -> &str {
        self.cause.get().map_or("the drain ended", String::as_str)
    }
}

impl Stop {
    /// Begins a drain: new tunnels are refused, and open ones are closed one after the other within `spread`. Only the first
    /// call counts.
    pub fn drain(&self, spread: Duration) {
        // Set before the phase and the token, because whoever sees those reads it.
        let _ = self.0.spread.set(spread);
        self.0.phase.fetch_max(1, Ordering::Release);
        self.0.draining.cancel();
    }

    /// Cuts off what was there when the drain began. `cause` is the wording for records. Only the first call counts.
    pub fn cut(&self, cause: String) {
        self.drain(Duration::ZERO);
        // Set before the phase and the token, because whoever sees those reads it.
        let _ = self.0.cut.cause.set(cause);
        self.0.phase.fetch_max(2, Ordering::Release);
        self.0.cut.token.cancel();
    }

    /// Cuts off everything, because of `cause`.
    pub fn end(&self, cause: &str) {
        self.cut(cause.to_owned());
        let _ = self.0.end.cause.set(cause.to_owned());
        self.0.end.token.cancel();
    }

    /// Whether a drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.phase.load(Ordering::Acquire) > 0
    }

    /// Completes when a drain has begun.
    pub async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// When a connection that arrives now will be cut off.
    #[must_use]
    pub fn cutoff(&self) -> Cutoff {
        Cutoff {
            stop: self.clone(),
            is_late: self.is_draining(),
        }
    }

    /// The same for a tunnel, which can't have opened during a drain.
    pub(super) fn tunnel_cutoff(&self) -> Cutoff {
        Cutoff {
            stop: self.clone(),
            is_late: false,
        }
    }

    /// What a drain asks of one tunnel.
    pub(super) fn watch(&self) -> DrainWatch {
        DrainWatch {
            waiting: Box::pin(self.0.draining.clone().cancelled_owned()),
            stop: self.clone(),
            seen: None,
        }
    }
}

/// When one connection is cut off.
#[derive(Clone, Debug)]
pub struct Cutoff {
    stop: Stop,
    is_late: bool,
}

impl Cutoff {
    fn cut(&self) -> &Cut {
        let Inner { cut, end, .. } = &*self.stop.0;
        if self.is_late { end } else { cut }
    }

    /// Whether the connection arrived during a drain, and can only be refused.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.is_late
    }

    /// Completes when the connection is cut off.
    pub async fn reached(&self) {
        self.cut().token.cancelled().await;
    }

    /// Whether it is cut off.
    #[must_use]
    pub(super) fn is_reached(&self) -> bool {
        self.cut().token.is_cancelled()
    }

    /// Why it is cut off, in words for a record.
    #[must_use]
    pub fn cause(&self) -> &str {
        self.cut().cause()
    }
}

/// Tells one tunnel what a drain asks of it.
#[derive(Debug)]
pub(super) struct DrainWatch {
    stop: Stop,
    /// Waits for the token that is cancelled next.
    waiting: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The phase when the task was last registered to be woken.
    seen: Option<u8>,
}

impl DrainWatch {
    /// What the drain asks for now. The task is woken when that changes.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Shutdown<'_> {
        let phase = self.stop.0.phase.load(Ordering::Acquire);
        if self.seen != Some(phase) {
            if phase == 1 && self.seen != Some(1) {
                self.waiting = Box::pin(self.stop.0.cut.token.clone().cancelled_owned());
            }
            self.seen = Some(phase);
            if phase < 2 && self.waiting.as_mut().poll(cx).is_ready() {
                // The phase has just changed, so poll again.
                cx.waker().wake_by_ref();
                self.seen = None;
            }
        }
        match phase {
            0 => Shutdown::No,
            1 => Shutdown::Drain(self.stop.0.spread.get().copied().unwrap_or_default()),
            _ => Shutdown::Cut(self.stop.0.cut.cause()),
        }
    }
}
