//! Whether an address is still served: of two that decide at the same time, one that it stays and one that it is closed,
//! only one gets its way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long an address that the configuration no longer has is still served: enough for a client that was told it just
/// now, and for what is on its way.
const LEAVING: Duration = Duration::from_secs(1);

/// Whether an address is still served. All clones are one.
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

    /// It is served, unless it is gone already; gives whether it is.
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

    /// It is served a little longer.
    pub fn leave(&self) {
        self.0.send_if_modified(|standing| {
            let is_serving = *standing == Standing::Serving;
            if is_serving {
                *standing = Standing::Leaving;
            }
            is_serving
        });
    }

    /// Somebody else accepts from its socket: it is gone at once.
    pub fn hand_over(&self) {
        self.0.send_replace(Standing::Gone);
    }

    /// Completes when it is gone: a little after it was left for good, or when it was handed over, which is told.
    pub async fn gone(&self) -> bool {
        let mut changes = self.0.subscribe();
        loop {
            // Neither wait can fail, as this is a sender.
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
