//! The accept loop of a listener.

use std::pin::pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::Gate;
use crate::connection::{self, Current, Shared};
use crate::listener::{Accepted, BACKLOG, Listener, NotAccepted};

/// A listener that nobody accepts from yet.
#[derive(Debug)]
pub struct Fresh {
    pub listener: Listener,
    pub current: Arc<Current>,
    pub(super) gate: Gate,
}

impl Fresh {
    /// Accepts until the listener's address is gone or `accepting` is cancelled. Each connection gets its own task
    /// before anything is read from it, among `late` if it comes during a drain. An inherited listener stops as soon as
    /// handshakes are refused and the process is `leaving`: new clients wait for the next process.
    pub async fn accept(
        self,
        late: TaskTracker,
        accepting: CancellationToken,
        leaving: CancellationToken,
    ) {
        let Self {
            mut listener,
            current,
            gate,
        } = self;
        let mut changes = current.changes();
        // There are no settings while the address is being given up.
        let Some(mut shared) = current.get() else {
            return;
        };
        let (stop, is_inherited) = (shared.stop.clone(), listener.is_inherited());
        let handed_over = async {
            leaving.cancelled().await;
            stop.draining().await;
        };
        let mut over = pin!(async {
            tokio::select! {
                biased;
                () = handed_over, if is_inherited => true,
                is_handed_over = gate.gone() => is_handed_over,
                () = accepting.cancelled() => false,
            }
        });
        let is_handed_over = loop {
            let outcome = tokio::select! {
                biased;
                is_handed_over = &mut over => break is_handed_over,
                // A connection must not keep the old generation alive until the next one arrives.
                Ok(()) = changes.changed() => None,
                outcome = listener.accept() => Some(outcome),
            };
            if let Some(now) = current.get().filter(|now| !Arc::ptr_eq(now, &shared)) {
                listener.set_write_stall(now.generation.config.limits.write_stall);
                shared = now;
            }
            if let Some(outcome) = outcome {
                begin(outcome, &shared, &current, &late);
            }
        };
        if is_handed_over {
            return;
        }
        // The connections in the kernel's queue are accepted, so that they get an answer instead of a reset.
        for _ in 0..BACKLOG {
            let Some(outcome) = listener.accept_waiting() else {
                return;
            };
            begin(outcome, &shared, &current, &late);
        }
    }
}

fn begin(
    outcome: Result<Accepted, NotAccepted>,
    shared: &Arc<Shared>,
    current: &Arc<Current>,
    late: &TaskTracker,
) {
    match outcome {
        Ok(accepted) => {
            let cutoff = shared.stop.cutoff();
            let tasks = match cutoff.is_late() {
                true => late,
                false => &shared.tasks,
            };
            // Not `TaskTracker::spawn`: a connection that continues in a second task would count twice in between.
            let counted = tasks.token();
            let (shared, current) = (Arc::clone(shared), Arc::clone(current));
            tokio::spawn(connection::serve(
                counted, accepted, shared, current, cutoff,
            ));
        }
        Err(not_accepted) => connection::turn_away(not_accepted, shared),
    }
}
