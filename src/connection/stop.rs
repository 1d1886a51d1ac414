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

/// The end of patience with some connections, and why it ended.
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

    /// There is no more patience with what was there when the drain began, because of `cause`: words for records. Only
    /// the first time counts.
    pub fn cut(&self, cause: String) {
        self.drain(Duration::ZERO);
        // Before the phase and the token, so that whoever sees either finds it.
        let _ = self.0.cut.cause.set(cause);
        self.0.phase.fetch_max(2, Ordering::Release);
        self.0.cut.token.cancel();
    }

    /// There is no more patience with anything, because of `cause`.
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

    /// How long a connection that comes now is borne with.
    #[must_use]
    pub fn patience(&self) -> Patience {
        Patience {
            stop: self.clone(),
            is_late: self.is_draining(),
        }
    }

    /// The same for a tunnel, which can't have come during a drain.
    pub(super) fn tunnel_patience(&self) -> Patience {
        Patience {
            stop: self.clone(),
            is_late: false,
        }
    }

    /// For one tunnel: what a drain asks of it.
    pub(super) fn watch(&self) -> Watch {
        Watch {
            waiting: Box::pin(self.0.draining.clone().cancelled_owned()),
            stop: self.clone(),
            seen: None,
        }
    }
}

/// How long one connection is borne with.
#[derive(Clone, Debug)]
pub struct Patience {
    stop: Stop,
    is_late: bool,
}

impl Patience {
    fn cut(&self) -> &Cut {
        let Inner { cut, end, .. } = &*self.stop.0;
        if self.is_late { end } else { cut }
    }

    /// Whether the connection came during a drain: it gets its refusal and nothing else.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.is_late
    }

    /// Completes when there is no more.
    pub async fn over(&self) {
        self.cut().token.cancelled().await;
    }

    /// What ended it.
    #[must_use]
    pub fn cause(&self) -> &str {
        self.cut().cause()
    }
}

/// A tunnel's eye on the drain.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Stop,
    /// Of the token that is cancelled next.
    waiting: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The phase when the task was last registered to be woken.
    seen: Option<u8>,
}

impl Watch {
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
