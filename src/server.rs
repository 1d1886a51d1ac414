//! Start, reload and stop: from a configuration file to bound listeners, from a changed file to a new generation, and
//! from a signal to the last record.

mod descriptors;
mod drain;
mod expiry;
mod files;
mod materials;
pub(crate) mod notify;
mod plan;
mod reload;
mod sockets;
mod tasks;
mod upstreams;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::admin::State;
use crate::connection::Stop;
use crate::http::via::Pseudonym;
use crate::limits::{Clients, Slots};
pub use crate::listener::inherited::Inherited;
use crate::record::Sink;
use crate::upstream::Names;
pub(crate) use descriptors::shortage as descriptor_shortage;
use drain::Drain;
pub use materials::Purpose;
pub use plan::Plan;
use reload::{Reloader, Running, generation, remember};
pub use sockets::BindError;
use sockets::{Change, Common, Needs, Sockets};
use tasks::Tasks;

/// How long a blocked standard output may delay the exit.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The longest time from the cut of the remaining connections to the end of [`Server::run`]: one second each for
/// listeners and for the two kinds of connections, then the last records, and one more second.
pub(crate) const ENDING: Duration = Duration::from_secs(6);

/// Bound listeners, not yet accepting.
#[derive(Debug)]
pub struct Server {
    running: Running,
    change: Change,
}

impl Server {
    /// Binds every listener of the plan, or takes its socket from `inherited`, and records each as `listening`. Needs a
    /// Tokio runtime.
    ///
    /// # Errors
    /// The first address that can't be bound, or an inherited socket whose address is in no key.
    pub fn bind(plan: Plan, sink: Sink, inherited: Inherited) -> Result<Self, BindError> {
        let limits = &plan.config.limits;
        let common = Common {
            sink,
            repeats: Arc::default(),
            claims: Arc::default(),
            stop: Stop::default(),
            tasks: TaskTracker::new(),
            slots: Slots::new(limits.connections),
            via: Arc::new(Pseudonym::new()),
            names: Names::new(),
        };
        let clients = Arc::new(Clients::new(
            limits.connections_per_client,
            limits.handshakes_per_client,
            &plan.config.trusted_proxies,
        ));
        remember(&plan.config, &common.sink);
        let generation = Arc::new(generation(&plan, 1, &BTreeMap::new(), &common));
        let needs = Needs {
            generation: &generation,
            tls: &plan.tls,
            clients: &clients,
        };
        let mut sockets = Sockets::new(inherited);
        let change = sockets.apply(&needs, &common)?;
        sockets.leave_none()?;
        change.tell(&common.sink);
        let running = Running {
            plan: Arc::new(plan),
            sockets,
            common,
            clients,
            generation: watch::Sender::new(generation),
        };
        Ok(Self { running, change })
    }

    /// The bound addresses, in the configuration's order.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.running.sockets.addresses()
    }

    /// The bound addresses of the proxy's own services, each with the name of its key.
    pub fn services(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.running.sockets.services()
    }

    /// The path of the admin service's unix socket, if it has one.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.running.sockets.socket()
    }

    /// How long a shutdown may take with the current configuration, from the first signal to the cut.
    pub fn patience(&self) -> impl Fn() -> Duration + Send + Sync + 'static {
        let generation = self.running.generation.subscribe();
        move || {
            let shutdown = &generation.borrow().config.shutdown;
            shutdown.delay + shutdown.drain
        }
    }

    /// Serves until the first `signal`, and for `shutdown.delay` after it. Then drains: new handshakes are refused, and
    /// open tunnels may finish until `shutdown.drain` is over. The rest is then cut; a further `signal` cuts everything
    /// at once. The last record is `stopped`. A drain from the admin listener goes the same way, but ends only the
    /// tunnels; the process then waits for `signal`.
    ///
    /// `signal` returns the name of each signal for the record. The configuration is read again when `hangup`
    /// completes, and when a file changes.
    pub async fn run(self, signal: impl AsyncFnMut() -> &'static str, hangup: impl AsyncFnMut()) {
        let Self { running, change } = self;
        let common = &running.common;
        let state = State::new(
            common.tasks.clone(),
            running.generation.subscribe(),
            &common.sink,
        );
        let mut tasks = Tasks::new(state.clone());
        tasks.start(change);
        let telling = notify::tell(state.clone(), tasks.leaving.clone());
        tasks.services.spawn(telling);
        tasks.check(&running.generation.borrow(), common);
        let drain = Drain {
            signal,
            generation: running.generation.subscribe(),
            sink: common.sink.clone(),
            stop: common.stop.clone(),
            state,
            early: common.tasks.clone(),
            late: tasks.late.clone(),
            accepting: tasks.accepting.clone(),
            leaving: tasks.leaving.clone(),
            accept_tasks: tasks.accept.clone(),
        };
        let sink = common.sink.clone();
        // The reloader owns the services, so they answer until this function returns.
        let mut reloading = pin!(Reloader::new(running, tasks).run(hangup));
        let how = tokio::select! {
            how = drain.run() => how,
            never = &mut reloading => match never {},
        };
        // This blocks the thread, which has nothing else to do. Another thread may not be available.
        sink.close(&how, LAST_WORDS);
    }
}
