//! Where connections of a listener find what they are served with, and learn that it has changed.

use std::sync::Arc;

use tokio::sync::watch;

use super::Shared;

/// What a listener's connections are served with now: nothing, once the listener is gone.
#[derive(Debug)]
pub struct Place(watch::Sender<Option<Arc<Shared>>>);

impl Place {
    /// A listener that serves with `shared`.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self(watch::Sender::new(Some(shared)))
    }

    /// What a connection that comes now is served with.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Shared>> {
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
        self.current().filter(|now| now.may_follow(since))
    }

    /// Whether the listener is there, and asks for something else on the way to a request than `since` did.
    pub(super) fn asks_otherwise(&self, since: &Arc<Shared>) -> bool {
        self.current().is_some_and(|now| !now.may_follow(since))
    }

    /// Completes when there is no [`Place::successor`].
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

impl Shared {
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
