//! The tasks next to the connections: one for each listener, each service, and each upstream's health checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::sockets::{Change, Common};
use crate::admin::{self, State};
use crate::generation::Generation;
use crate::upstream::Group;

/// All these tasks.
pub(super) struct Tasks {
    /// Ends the listeners.
    pub accepting: CancellationToken,
    /// Cancelled when a signal has come that ends the process.
    pub leaving: CancellationToken,
    /// A task for each listener and for each upstream's health checks.
    pub accept: TaskTracker,
    /// The connections that came during a drain.
    pub late: TaskTracker,
    /// The services answer until the process ends.
    pub services: JoinSet<()>,
    pub state: State,
    /// Ends the health checks of each upstream.
    checks: BTreeMap<String, (Arc<Group>, CancellationToken)>,
}

impl Tasks {
    pub fn new(state: State) -> Self {
        Self {
            accepting: CancellationToken::new(),
            leaving: CancellationToken::new(),
            accept: TaskTracker::new(),
            late: TaskTracker::new(),
            services: JoinSet::new(),
            state,
            checks: BTreeMap::new(),
        }
    }

    /// Serves what is new.
    pub fn start(&mut self, change: Change) {
        for fresh in change.listeners {
            let (accepting, leaving) = (self.accepting.clone(), self.leaving.clone());
            self.accept
                .spawn(fresh.accept(self.late.clone(), accepting, leaving));
        }
        for fresh in change.services {
            let state = self.state.clone();
            self.services.spawn(admin::serve(
                fresh.listener,
                fresh.service,
                state,
                fresh.ending,
            ));
        }
        if let Some(fresh) = change.socket {
            let state = self.state.clone();
            self.services
                .spawn(admin::serve_socket(fresh.door, state, fresh.ending));
        }
    }

    /// Checks the upstreams of a generation, and no longer those of the previous one.
    pub fn check(&mut self, generation: &Generation, common: &Common) {
        self.checks.retain(|name, (group, ending)| {
            let is_same = |now: &Arc<Group>| Arc::ptr_eq(now, group);
            let stays = generation.upstreams.get(name).is_some_and(is_same);
            if !stays {
                ending.cancel();
            }
            stays
        });
        for (name, group) in &generation.upstreams {
            if self.checks.contains_key(name) {
                continue;
            }
            let ending = self.accepting.child_token();
            let checks =
                Arc::clone(group).checks(common.sink.clone(), ending.clone().cancelled_owned());
            self.accept.spawn(checks);
            self.checks
                .insert(name.clone(), (Arc::clone(group), ending));
        }
    }
}
