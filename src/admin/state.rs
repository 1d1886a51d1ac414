//! How far the process is in its life: what the services answer, and how one of them asks for a drain.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::generation::Generation;
use crate::metrics::Metrics;
use crate::text::counted;

/// How long whoever asks for a drain waits until it has begun, which takes a turn of one task.
const BEGINNING: Duration = Duration::from_secs(1);

/// How far the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Ready,
    /// A drain has been asked for.
    Asked,
    /// `shutdown.delay` is running: everything is still served.
    Delay,
    /// New handshakes are refused, and open tunnels get their Close.
    Draining,
    /// Every connection that was there has ended, this many by a cut; the process waits for its signal.
    Drained(usize),
}

/// The phase of the process, and how many connections are open; all clones are one.
#[derive(Clone, Debug)]
pub struct State {
    phase: watch::Sender<Phase>,
    connections: TaskTracker,
    generation: watch::Receiver<Arc<Generation>>,
    metrics: Arc<Metrics>,
}

impl State {
    /// A process that serves with the latest `generation`; `connections` counts each connection that is or may become
    /// a tunnel, and `metrics` is where everything is counted.
    #[must_use]
    pub fn new(
        connections: TaskTracker,
        generation: watch::Receiver<Arc<Generation>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            phase: watch::Sender::new(Phase::Ready),
            connections,
            generation,
            metrics,
        }
    }

    /// Open connections that are a tunnel or may become one.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// What has been counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What it serves with now.
    #[must_use]
    pub fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.generation.borrow())
    }

    /// How far the process is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The process has come to `phase`.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Asks for a drain, and waits until it has begun. Gives whether none had been asked for before.
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
        // One that takes longer has been asked for all the same.
        let _ = tokio::time::timeout(BEGINNING, begun).await;
        is_first
    }

    /// Completes when a drain has been asked for.
    pub async fn asked(&self) {
        let mut phase = self.phase.subscribe();
        // It can't fail, as this is a sender.
        let _ = phase.wait_for(|phase| *phase != Phase::Ready).await;
    }
}

/// One line, whose first word is the phase: `ready`, `draining` or `drained`.
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
