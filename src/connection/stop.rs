//! A drain as connections see it: nothing yet, then the drain, then the cut of what was there when it began, then the end
//! of everything, which only a signal brings.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Context;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::tunnel::Shutdown;

/// The state of a drain; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many of the first two tokens are cancelled: to ask a token takes a lock that all tunnels share.
    phase: AtomicU8,
    draining: CancellationToken,
    /// Over how long the Closes of a drain are spread, once it has begun.
    spread: OnceLock<Duration>,
    cut: Cut,
    /// Of the connections that came during the drain, which are refused, and not cut while the process stays.
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
    /// A drain begins: no new tunnels, and those that are open are closed in their turn, all within `spread`. Only the
    /// first time counts.
    pub fn drain(&self, spread: Duration) {
        // Before the phase and the token, so that whoever sees either finds it.
        let _ = self.0.spread.set(spread);
        self.0.phase.fetch_max(1, Ordering::Release);
        self.0.draining.cancel();
    }

    /// Cuts off what was there when the drain began, because of `cause`: words for records. Only the first time counts.
    pub fn cut(&self, cause: String) {
        self.drain(Duration::ZERO);
        // Before the phase and the token, so that whoever sees either finds it.
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

    /// For a connection that comes now: when it is cut off.
    #[must_use]
    pub fn cutoff(&self) -> Cutoff {
        Cutoff {
            stop: self.clone(),
            is_late: self.is_draining(),
        }
    }

    /// The same for a tunnel, which can't have come during a drain.
    pub(super) fn tunnel_cutoff(&self) -> Cutoff {
        Cutoff {
            stop: self.clone(),
            is_late: false,
        }
    }

    /// For one tunnel: what a drain asks of it.
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

    /// Whether the connection came during a drain: it gets its refusal and nothing else.
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

/// Sees for one tunnel what the drain asks of it.
#[derive(Debug)]
pub(super) struct DrainWatch {
    stop: Stop,
    /// Of the token that is cancelled next.
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
                // The phase has gone on just now: look at it again.
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
