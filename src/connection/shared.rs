//! What the connections of a listener are served with, and where they learn that it has changed.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::repeat::Repeats;
use super::stop::Stop;
use super::untrusted::Claims;
use crate::config::Config;
use crate::generation::Generation;
use crate::http::via::Pseudonym;
use crate::limits::Clients;
use crate::reason::{Failure, Reason};
use crate::record::Sink;
use crate::tls;

/// After a shutdown began, how long a connection may still take to ask for something, or to read its refusal: enough
/// for what is on its way, and short enough that connections without a tunnel don't hold up the exit.
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
    /// Whether it only sends clients to the same place over TLS.
    pub redirect_to_https: bool,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Where records go.
    pub sink: Sink,
    /// Who asked lately what is no use to ask.
    pub repeats: Arc<Repeats>,
    /// Who says who the client is and is not trusted.
    pub claims: Arc<Claims>,
    /// Whether a drain has begun, and how far it is.
    pub stop: Stop,
    /// Counts all tunnels, and all connections that may still become one.
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

    /// Completes some time after a shutdown began, for what must not hold up the exit.
    pub(super) async fn drain_patience(&self) {
        self.stop.draining().await;
        tokio::time::sleep(DRAIN_PATIENCE).await;
    }

    /// `work`, or a refusal when a shutdown has begun and the client has no request under way.
    pub(super) async fn unless_draining<F: Future>(&self, work: F) -> Result<F::Output, Failure> {
        tokio::select! {
            biased;
            output = work => Ok(output),
            () = self.drain_patience() => {
                let detail = "no complete request had arrived when the shutdown began";
                Err(Failure::new(Reason::Draining, detail))
            }
        }
    }

    /// Whether a connection that `before` has brought to its first request may have its next one served with this: what
    /// was decided on the way there must be decided the same way now.
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

/// What a listener's connections are served with now: nothing, once the listener is gone.
#[derive(Debug)]
pub struct Current(watch::Sender<Option<Arc<Shared>>>);

impl Current {
    /// A listener that serves with `shared`.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self(watch::Sender::new(Some(shared)))
    }

    /// What a connection that comes now is served with.
    #[must_use]
    pub fn get(&self) -> Option<Arc<Shared>> {
        self.0.borrow().clone()
    }

    /// Tells of each change from now on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Option<Arc<Shared>>> {
        self.0.subscribe()
    }

    /// From now on connections are served with `shared`; without it the listener is gone.
    pub fn set(&self, shared: Option<Arc<Shared>>) {
        self.0.send_replace(shared);
    }

    /// What the next request of a connection is served with, which `since` served so far; `None` if none may follow.
    pub(super) fn successor(&self, since: &Arc<Shared>) -> Option<Arc<Shared>> {
        self.get().filter(|now| now.may_follow(since))
    }

    /// Whether the listener is there, and asks for something else on the way to a request than `since` did.
    pub(super) fn asks_otherwise(&self, since: &Arc<Shared>) -> bool {
        self.get().is_some_and(|now| !now.may_follow(since))
    }

    /// Completes when there is no [`Current::successor`].
    pub(super) async fn lost(&self, since: &Arc<Shared>) {
        let mut changes = self.0.subscribe();
        let may_follow = |now: &Option<Arc<Shared>>| {
            let now = now.as_ref();
            now.is_some_and(|now| now.may_follow(since))
        };
        // It can't fail, as this is a sender.
        let _ = changes.wait_for(|now| !may_follow(now)).await;
    }
}
