//! The phase of the process: services report it, and one of them can ask for a drain.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::generation::Generation;
use crate::metrics::Metrics;
use crate::record::{Memory, Sink, Tunnels};
use crate::text::counted;

/// How long to wait until a requested drain has begun; it begins as soon as another task runs.
const BEGINNING: Duration = Duration::from_secs(1);

/// Most event streams at a time, in addition to the other connections.
pub const STREAMS: usize = 8;

/// The phase of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Ready,
    /// A drain was requested.
    Asked,
    /// `shutdown.delay` is running: everything is still served.
    Delay,
    /// New handshakes are refused, and open tunnels are closed.
    Draining,
    /// All earlier connections have ended; this many of them were cut off. The process waits for a signal.
    Drained(usize),
}

/// What the services know about the process; clones share it.
#[derive(Clone, Debug)]
pub struct State {
    phase: watch::Sender<Phase>,
    connections: TaskTracker,
    generation: watch::Receiver<Arc<Generation>>,
    sink: Sink,
    /// What a page has to show to close a tunnel; not known to other pages.
    token: Arc<str>,
    streams: Arc<Semaphore>,
}

impl State {
    /// The state of a process that serves. `connections` counts every connection that is or may become a tunnel.
    #[must_use]
    pub fn new(
        connections: TaskTracker,
        generation: watch::Receiver<Arc<Generation>>,
        sink: &Sink,
    ) -> Self {
        Self {
            phase: watch::Sender::new(Phase::Ready),
            connections,
            generation,
            sink: sink.clone(),
            token: token().into(),
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }

    /// The number of open connections that are or may become a tunnel.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// The metrics of the process.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.sink.metrics()
    }

    /// The table of open tunnels.
    #[must_use]
    pub fn tunnels(&self) -> &Tunnels {
        self.sink.tunnels()
    }

    /// What is remembered of the records.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        self.sink.memory()
    }

    /// Where the records go.
    #[must_use]
    pub(super) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// The token that closing a tunnel needs; `None` if that is not allowed, because other machines may reach the service.
    #[must_use]
    pub(super) fn token(&self) -> Option<Arc<str>> {
        let generation = self.generation.borrow();
        let admin = generation.config.admin.as_ref()?;
        admin.is_private().then(|| Arc::clone(&self.token))
    }

    /// The slots for event streams.
    #[must_use]
    pub(super) fn streams(&self) -> &Arc<Semaphore> {
        &self.streams
    }

    /// The current configuration.
    #[must_use]
    pub fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.generation.borrow())
    }

    /// The current phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Changes the phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Requests a drain and waits until it has begun. Returns whether this is the first request.
    pub async fn ask(&self) -> bool {
        let is_first = self.phase.send_if_modified(|phase| {
            let is_first = *phase == Phase::Ready;
            if is_first {
                *phase = Phase::Asked;
            }
            is_first
        });
        let mut phase = self.phase.subscribe();
        let begun = phase.wait_for(|phase| !matches!(phase, Phase::Ready | Phase::Asked));
        // Even if the drain begins later, it has been requested.
        let _ = tokio::time::timeout(BEGINNING, begun).await;
        is_first
    }

    /// Completes when a drain has been requested.
    pub async fn asked(&self) {
        let mut phase = self.phase.subscribe();
        // This can't fail, because `self` holds the sender.
        let _ = phase.wait_for(|phase| *phase != Phase::Ready).await;
    }
}

/// 128 random bits in hexadecimal; empty, which nothing equals, if the system has none.
fn token() -> String {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(_) => String::new(),
    }
}

/// One line whose first word is the phase: `ready`, `draining` or `drained`.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = counted(self.connections(), "connection");
        match self.phase() {
            Phase::Ready => write!(f, "ready: {open} open"),
            Phase::Asked | Phase::Delay => write!(
                f,
                "draining: {open} open; new handshakes are accepted until shutdown.delay is over"
            ),
            Phase::Draining => write!(f, "draining: {open} open"),
            Phase::Drained(0) => write!(f, "drained: all connections have ended"),
            Phase::Drained(1) => write!(f, "drained: 1 connection was cut at the deadline"),
            Phase::Drained(cut) => write!(f, "drained: {cut} connections were cut at the deadline"),
        }
    }
}
