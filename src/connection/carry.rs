//! An open tunnel, to its record and its last byte.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::describe::describe_end;
use super::stop::Watch;
use super::{Shared, local, see_off};
use crate::limits::Held;
use crate::record::Resting;
use crate::tunnel::Tunnel;
use crate::upstream::InUse;

/// The task of a tunnel. Written out, as an `async fn` would hold what it is given twice.
pub(super) struct Carry {
    /// Taken at its end.
    open: Option<(Tunnel, Resting, InUse)>,
    stop: Watch,
    shared: Arc<Shared>,
    /// What comes after the end.
    last: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _slot: OwnedSemaphorePermit,
    _held: Option<Box<Held>>,
    /// The last field, as whoever waits for the end of all connections relies on what is dropped before.
    _counted: TaskTrackerToken,
}

impl Carry {
    pub fn new(
        tunnel: Tunnel,
        in_use: InUse,
        resting: Resting,
        shared: Arc<Shared>,
        slot: OwnedSemaphorePermit,
        held: Option<Box<Held>>,
        counted: TaskTrackerToken,
    ) -> Self {
        Self {
            open: Some((tunnel, resting, in_use)),
            stop: shared.stop.watch(),
            shared,
            last: None,
            _slot: slot,
            _held: held,
            _counted: counted,
        }
    }
}

impl Future for Carry {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Some((tunnel, ..)) = &mut this.open {
            let shutdown = this.stop.poll(cx);
            let closed = ready!(tunnel.poll(cx, shutdown));
            if let Some((tunnel, resting, in_use)) = this.open.take() {
                // Before the record, so that whoever reads it finds the room that the tunnel made.
                drop(in_use);
                let mut draft = resting.wake();
                let failure = describe_end(closed, &mut draft.record);
                let peer = draft.record.peer.as_deref();
                let peer = peer.and_then(|peer| peer.parse::<SocketAddr>().ok());
                draft.finish(match peer {
                    Some(peer) => local::told(failure, peer.ip()),
                    None => failure,
                });
                let (client, upstream) = tunnel.into_streams();
                let shared = Arc::clone(&this.shared);
                let patience = shared.stop.tunnel_patience();
                let last = see_off(Some(client), Some(upstream), shared, patience);
                this.last = Some(Box::pin(last));
            }
        }
        match &mut this.last {
            Some(last) => last.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}
