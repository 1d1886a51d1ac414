//! What the streams of an HTTP/2 connection share: its slot, and its place among the connections of its client.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use crate::limits::{Clients, Held};
use crate::reason::Failure;

/// A resource that a connection needs once for each of its streams, and of which it has one itself.
#[derive(Debug)]
pub(super) struct Shares<T>(Mutex<Taken<T>>);

#[derive(Debug)]
struct Taken<T> {
    streams: usize,
    /// One less than the number of streams.
    further: Vec<T>,
}

impl<T> Default for Shares<T> {
    fn default() -> Self {
        Self(Mutex::new(Taken {
            streams: 0,
            further: Vec::new(),
        }))
    }
}

impl<T> Shares<T> {
    /// Code that holds the lock can't panic.
    fn lock(&self) -> MutexGuard<'_, Taken<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a stream until the result is dropped. Only the first one uses what the connection has itself.
    ///
    /// # Errors
    /// Those of `take`, which takes another one.
    pub fn share<E>(self: &Arc<Self>, take: impl FnOnce() -> Result<T, E>) -> Result<Share<T>, E> {
        let mut held = self.lock();
        if held.streams > 0 {
            let further = take()?;
            held.further.push(further);
        }
        held.streams += 1;
        Ok(Share(Arc::clone(self)))
    }
}

/// The share of one stream.
#[derive(Debug)]
pub(super) struct Share<T>(Arc<Shares<T>>);

impl<T> Drop for Share<T> {
    fn drop(&mut self) {
        let mut held = self.0.lock();
        held.streams = held.streams.saturating_sub(1);
        if held.further.len() > held.streams.saturating_sub(1) {
            let further = held.further.pop();
            drop(held);
            drop(further);
        }
    }
}

/// What the streams of a connection share.
#[derive(Debug, Default)]
pub(super) struct Multiplexed {
    /// A stream may need a connection to an upstream, so each counts like a connection.
    pub slots: Arc<Shares<OwnedSemaphorePermit>>,
    /// The tunnels of the client that the connection itself is counted for.
    tunnels: Arc<Shares<Option<Box<Held>>>>,
}

/// Counts a tunnel for its client until it is dropped.
#[expect(dead_code, reason = "only their drop matters")]
pub(super) enum TunnelOfClient {
    /// The connection is counted for the same client, and its first tunnel with it.
    Sharing(Share<Option<Box<Held>>>),
    /// The client is behind a hop.
    Alone(Option<Box<Held>>),
}

impl Multiplexed {
    /// Counts a tunnel of `client`. `is_own`: the connection is counted for this client.
    ///
    /// # Errors
    /// `client_conn_limit`.
    pub fn count(
        &self,
        client: IpAddr,
        is_own: bool,
        clients: &Clients,
    ) -> Result<TunnelOfClient, Failure> {
        Ok(match is_own {
            true => TunnelOfClient::Sharing(self.tunnels.share(|| clients.connect(client))?),
            false => TunnelOfClient::Alone(clients.connect(client)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_further_streams_take_more() {
        let shares = Arc::<Shares<Arc<()>>>::default();
        let taken = Arc::new(());
        let take = || Ok::<_, ()>(Arc::clone(&taken));
        let first = shares.share(take).unwrap();
        assert_eq!(Arc::strong_count(&taken), 1);
        let second = shares.share(take).unwrap();
        assert_eq!(Arc::strong_count(&taken), 2);
        assert!(shares.share(|| Err(())).is_err());
        // The one that is left uses what the connection has.
        drop(first);
        assert_eq!(Arc::strong_count(&taken), 1);
        let third = shares.share(take).unwrap();
        assert_eq!(Arc::strong_count(&taken), 2);
        drop((second, third));
        assert_eq!(Arc::strong_count(&taken), 1);
    }
}
