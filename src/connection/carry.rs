//! The task of an open tunnel, until its record is written and its last byte is read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::describe::describe_end;
use super::shares::{Share, TunnelOfClient};
use super::stop::DrainWatch;
use super::{OpenTunnel, Shared, local, see_off};
use crate::limits::Held;
use crate::record::Resting;
use crate::tunnel::Tunnel;
use crate::upstream::InUse;

/// The task of a tunnel. It is written by hand, because an `async fn` would hold its arguments twice.
pub(super) struct Carry {
    /// Taken at its end.
    open: Option<(Tunnel, Resting, InUse)>,
    drain: DrainWatch,
    shared: Arc<Shared>,
    is_local: bool,
    /// What comes after the end.
    last: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _kept: Kept,
    /// The last field: when it is dropped, everything else of the connection must be gone.
    _counted: TaskTrackerToken,
}

/// What a tunnel keeps until its end: it counts as long as it has that.
pub(super) enum Kept {
    /// What belongs to its connection, of which it is the last part.
    #[expect(dead_code, reason = "only its drop matters")]
    Connection {
        slot: OwnedSemaphorePermit,
        held: Option<Arc<Held>>,
    },
    /// What belongs to its stream.
    #[expect(dead_code, reason = "only its drop matters")]
    Stream(Box<StreamKept>),
}

/// What a stream of an HTTP/2 connection keeps.
#[expect(dead_code, reason = "only its drop matters")]
pub(super) struct StreamKept {
    pub slot: Share<OwnedSemaphorePermit>,
    pub held: Option<TunnelOfClient>,
}

impl Carry {
    pub fn new(
        open: OpenTunnel,
        shared: Arc<Shared>,
        kept: Kept,
        counted: TaskTrackerToken,
    ) -> Self {
        let OpenTunnel {
            tunnel,
            in_use,
            record,
            is_local,
            held: _,
        } = open;
        Self {
            open: Some((tunnel, record, in_use)),
            drain: shared.stop.watch(),
            shared,
            is_local,
            last: None,
            _kept: kept,
            _counted: counted,
        }
    }
}

impl Future for Carry {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Some((tunnel, record, _)) = &mut this.open {
            let shutdown = this.drain.poll(cx);
            let asked = record.asked_to_close(cx);
            let polled = match asked.and_then(|who| tunnel.ask_to_close(&who)) {
                Some(closed) => Poll::Ready(closed),
                None => tunnel.poll(cx, shutdown),
            };
            record.passed(tunnel.passed());
            let closed = ready!(polled);
            if let Some((tunnel, record, in_use)) = this.open.take() {
                // Dropped before the record, so that its reader finds the slot free.
                drop(in_use);
                record.close(|record| local::told(describe_end(closed, record), this.is_local));
                let (client, upstream) = tunnel.into_streams();
                let shared = Arc::clone(&this.shared);
                let cutoff = shared.stop.tunnel_cutoff();
                this.last = Some(Box::pin(async move {
                    see_off(client, upstream, &shared, cutoff).await;
                }));
            }
        }
        match &mut this.last {
            Some(last) => last.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_of_a_tunnel_takes_768_bytes() {
        // The runtime adds about 100 bytes and rounds up to 128, so one more byte would cost 128.
        assert!(size_of::<Carry>() <= 664, "{}", size_of::<Carry>());
    }
}
