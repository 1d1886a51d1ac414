//! The settings with which a listener's connections are served, and how connections learn that these have changed.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::repeat::Repeats;
use super::stop::Stop;
use super::untrusted::Claims;
use crate::config::{Config, Http2};
use crate::generation::Generation;
use crate::http::via::Pseudonym;
use crate::limits::{Clients, Slots};
use crate::reason::{Failure, Reason};
use crate::record::Sink;
use crate::tls;

/// How long after the beginning of a shutdown a connection may still send its request or read its refusal: long enough for
/// what is on its way, and short enough that connections without a tunnel don't delay the exit.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// What all connections of a listener share.
#[derive(Debug)]
pub struct Shared {
    /// The configuration that admits them.
    pub generation: Arc<Generation>,
    /// The listener's bound address.
    pub listener: SocketAddr,
    /// Its TLS settings, if it has any.
    pub tls: Option<Arc<tls::Server>>,
    /// Whether it only redirects clients to the same place over TLS.
    pub redirect_to_https: bool,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// How HTTP/2 is served, if `tls` offers it.
    pub http2: Http2,
    /// Slots for connections, and for further streams of one.
    pub slots: Slots,
    /// Where records go.
    pub sink: Sink,
    /// Recent requests that probes repeat.
    pub repeats: Arc<Repeats>,
    /// The peers that name clients and are not trusted.
    pub claims: Arc<Claims>,
    /// The state of a drain.
    pub stop: Stop,
    /// Counts the tunnels and the connections that may still become one.
    pub tasks: TaskTracker,
    /// What one client may use; the same for all listeners.
    pub clients: Arc<Clients>,
    /// The name of this process in Via.
    pub via: Arc<Pseudonym>,
}

impl Shared {
    /// What the file says.
    pub(super) fn config(&self) -> &Config {
        &self.generation.config
    }

    /// Completes some time after the beginning of a shutdown, for what must not delay the exit.
    pub(super) async fn drain_patience(&self) {
        self.stop.draining().await;
        tokio::time::sleep(DRAIN_PATIENCE).await;
    }

    /// Runs `work`, for which no complete request has arrived; a shutdown ends it after a while. `work` is a reference or a
    /// box, because it is held twice.
    ///
    /// # Errors
    /// `draining`.
    pub(super) async fn unless_draining<F: Future + Unpin>(
        &self,
        work: F,
    ) -> Result<F::Output, Failure> {
        tokio::select! {
            biased;
            output = work => Ok(output),
            () = self.drain_patience() => {
                let detail = "no complete request had arrived when the shutdown began";
                Err(Failure::new(Reason::Draining, detail))
            }
        }
    }

    /// Whether a connection that was let in with `before` may have its next request served with this. What was decided
    /// before its first request must be decided in the same way now.
    fn may_follow(&self, before: &Self) -> bool {
        if std::ptr::eq(self, before) {
            return true;
        }
        let is_secured_alike = match (&self.tls, &before.tls) {
            (None, None) => true,
            (Some(now), Some(then)) => now.asks_clients_like(then),
            _ => false,
        };
        let (now, then) = (self.config(), before.config());
        is_secured_alike
            && self.proxy_protocol == before.proxy_protocol
            && (!self.proxy_protocol || now.trusted_proxies == then.trusted_proxies)
    }
}

/// What a listener's connections are served with now, or nothing if the listener is gone.
#[derive(Debug)]
pub struct Current(watch::Sender<Option<Arc<Shared>>>);

impl Current {
    /// A listener that serves with `shared`.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self(watch::Sender::new(Some(shared)))
    }

    /// What a connection that arrives now is served with.
    #[must_use]
    pub fn get(&self) -> Option<Arc<Shared>> {
        self.0.borrow().clone()
    }

    /// Receives each change from now on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Option<Arc<Shared>>> {
        self.0.subscribe()
    }

    /// Serves connections with `shared` from now on; `None`: the listener is gone.
    pub fn set(&self, shared: Option<Arc<Shared>>) {
        self.0.send_replace(shared);
    }

    /// The settings for the next request of a connection that `since` has served; `None` if no request may follow.
    pub(super) fn successor(&self, since: &Arc<Shared>) -> Option<Arc<Shared>> {
        self.get().filter(|now| now.may_follow(since))
    }

    /// Switches `shared` to the listener's current settings, if they would have admitted the connection in the same way.
    pub(super) fn follow(&self, shared: &mut Arc<Shared>) {
        if let Some(now) = self.successor(shared) {
            *shared = now;
        }
    }

    /// Whether the listener still exists and would let in connections in another way than `since` did.
    pub(super) fn asks_otherwise(&self, since: &Arc<Shared>) -> bool {
        self.get().is_some_and(|now| !now.may_follow(since))
    }

    /// Completes when there is no [`Current::successor`], or `is_too_much` is true for it.
    pub(super) async fn lost(&self, since: &Arc<Shared>, is_too_much: impl Fn(&Shared) -> bool) {
        let mut changes = self.0.subscribe();
        let may_follow = |now: &Option<Arc<Shared>>| {
            let now = now.as_ref();
            now.is_some_and(|now| now.may_follow(since) && !is_too_much(now))
        };
        // This can't fail while `self`, the sender, exists.
        let _ = changes.wait_for(|now| !may_follow(now)).await;
    }
}
