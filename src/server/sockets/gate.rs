//! Whether an address is still served. If one task keeps it while another one closes it, only one of them succeeds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long a removed address is still served: long enough for clients that have just learned it, and for connections
/// on their way.
const LEAVING: Duration = Duration::from_secs(1);

/// Whether an address is still served. All clones share one state.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<watch::Sender<Standing>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Serving,
    Leaving,
    Gone,
}

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Standing::Serving)))
    }
}

impl Gate {
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub fn is_leaving(&self) -> bool {
        *self.0.borrow() == Standing::Leaving
    }

    pub fn is_gone(&self) -> bool {
        *self.0.borrow() == Standing::Gone
    }

    /// Keeps serving it, unless it is already gone. Returns whether it is served.
    pub fn stay(&self) -> bool {
        self.0.send_if_modified(|standing| {
            let is_leaving = *standing == Standing::Leaving;
            if is_leaving {
                *standing = Standing::Serving;
            }
            is_leaving
        });
        !self.is_gone()
    }

    /// Serves it only a little longer.
    pub fn leave(&self) {
        self.0.send_if_modified(|standing| {
            let is_serving = *standing == Standing::Serving;
            if is_serving {
                *standing = Standing::Leaving;
            }
            is_serving
        });
    }

    /// Someone else accepts from its socket, so it is gone at once.
    pub fn hand_over(&self) {
        self.0.send_replace(Standing::Gone);
    }

    /// Completes when it is gone: some time after it was left for good (`false`), or when it was handed over (`true`).
    pub async fn gone(&self) -> bool {
        let mut changes = self.0.subscribe();
        loop {
            // Neither wait can fail, because the sender is in `self`.
            let _ = changes
                .wait_for(|standing| *standing != Standing::Serving)
                .await;
            if self.is_gone() {
                return true;
            }
            let otherwise = changes.wait_for(|standing| *standing != Standing::Leaving);
            if timeout(LEAVING, otherwise).await.is_ok() {
                continue;
            }
            let is_closed = self.0.send_if_modified(|standing| {
                let is_leaving = *standing == Standing::Leaving;
                if is_leaving {
                    *standing = Standing::Gone;
                }
                is_leaving
            });
            if is_closed {
                return false;
            }
        }
    }
}
