//! Metrics: the counters, and the text of a scrape.
//!
//! Takes facts in the vocabulary of `reason`, most of them from records (`record/count.rs`), so that metrics and
//! records agree. Gives counts. Everything is an atomic in a table of fixed size, except the routes, which come from
//! the configuration.

mod histogram;
mod route;
mod table;
mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use histogram::Histogram;
use route::Routes;
pub(crate) use route::{Route, Traffic};
use table::{ByReason, Ended};
pub use text::Text;
pub(crate) use text::{MetricType, seconds};

use crate::reason::{By, Reason};

/// A step whose duration is measured; the comments name the fields of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// `tls_ms`
    Tls,
    /// `head_ms`
    Head,
    /// `policy_ms`
    Policy,
    /// `connect_ms`
    Connect,
    /// `handshake_ms`
    Handshake,
    /// `response_ms`
    Response,
}

impl Step {
    /// All steps, in the order in which a connection passes them.
    pub const ALL: [Self; 6] = [
        Self::Tls,
        Self::Head,
        Self::Policy,
        Self::Connect,
        Self::Handshake,
        Self::Response,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Head => "head",
            Self::Policy => "policy",
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Response => "response",
        }
    }
}

/// What failed before there was a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// A connection, before a complete request was read.
    Connection,
    /// An opening handshake.
    Handshake,
    /// A plain request, with the status that its client received.
    Request(Option<u16>),
}

/// The outcome of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// The new configuration is in use.
    Applied,
    /// It had errors, so the previous configuration stays in use.
    Refused,
    /// It equals the configuration in use. A previous error is therefore gone.
    Unchanged,
}

/// Bounds in milliseconds. Some steps take less than one, and the longest deadlines are 10 seconds.
const STEP_BOUNDS: &[u64] = &[
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000,
];

/// Bounds for the lifetime of tunnels. The timers of common hops are 60, 300, 350, 600 and 3,600 seconds.
const LIFE_BOUNDS: &[u64] = &[
    1_000, 10_000, 30_000, 60_000, 90_000, 120_000, 300_000, 360_000, 600_000, 900_000, 1_800_000,
    3_600_000, 14_400_000, 86_400_000,
];

/// All counters of the process.
#[derive(Debug)]
pub struct Metrics {
    started: SystemTime,
    connections: AtomicU64,
    unread: ByReason,
    opened: AtomicU64,
    refused: ByReason,
    requests: ByReason,
    ended: Ended,
    suppressed: ByReason,
    dropped: AtomicU64,
    steps: [Histogram; Step::ALL.len()],
    lives: Histogram,
    routes: Routes,
    reloads: Reloads,
}

#[derive(Debug)]
struct Reloads {
    applied: AtomicU64,
    refused: AtomicU64,
    is_last_refused: AtomicBool,
    certificates_refused: AtomicU64,
    loaded: Mutex<SystemTime>,
}

impl Default for Metrics {
    fn default() -> Self {
        let started = SystemTime::now();
        Self {
            started,
            connections: AtomicU64::new(0),
            unread: ByReason::default(),
            opened: AtomicU64::new(0),
            refused: ByReason::default(),
            requests: ByReason::default(),
            ended: Ended::default(),
            suppressed: ByReason::default(),
            dropped: AtomicU64::new(0),
            steps: std::array::from_fn(|_| Histogram::new(STEP_BOUNDS)),
            lives: Histogram::new(LIFE_BOUNDS),
            routes: Routes::default(),
            reloads: Reloads {
                applied: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                is_last_refused: AtomicBool::new(false),
                certificates_refused: AtomicU64::new(0),
                loaded: Mutex::new(started),
            },
        }
    }
}

/// Counting.
impl Metrics {
    /// A connection arrived; returns its number, starting from 1.
    pub(crate) fn connection(&self) -> u64 {
        self.connections.fetch_add(1, Relaxed) + 1
    }

    /// A step took `ms` milliseconds.
    pub(crate) fn took(&self, step: Step, ms: u64) {
        if let Some(histogram) = self.steps.get(step as usize) {
            histogram.observe(ms);
        }
    }

    /// Something failed before there was a tunnel. `route` is empty if no route is known.
    pub(crate) fn failed(&self, what: Failed, route: &str, reason: Reason, by: By) {
        match what {
            Failed::Connection => self.unread.add(reason, by),
            Failed::Handshake => self.refused.add(reason, by),
            Failed::Request(status) => {
                self.requests.add(reason, by);
                self.served(route, status);
            }
        }
    }

    /// A plain request was answered with `status`, even if the rest of the answer failed.
    pub(crate) fn served(&self, route: &str, status: Option<u16>) {
        self.routes.get(route).served(status);
    }

    /// A tunnel opened; `generation` admitted it.
    pub(crate) fn opened(&self, route: &str, generation: u64) {
        self.opened.fetch_add(1, Relaxed);
        self.routes.get(route).opened(generation);
    }

    /// A tunnel ended; its client sees `close_code`, if that is known.
    pub(crate) fn closed(
        &self,
        route: &str,
        generation: u64,
        (reason, by, close_code): (Reason, By, Option<u16>),
        lasted_ms: u64,
    ) {
        self.ended.add(reason, by, close_code);
        self.lives.observe(lasted_ms);
        self.routes.get(route).closed(generation);
    }

    /// A refusal was counted, but not written.
    pub(crate) fn suppressed(&self, reason: Reason) {
        self.suppressed.add(reason, By::Proxy);
    }

    /// A record was lost.
    pub(crate) fn dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Relaxed);
    }

    /// A new configuration was read, with this outcome.
    pub(crate) fn reloaded(&self, outcome: Reload) {
        let Reloads {
            applied,
            refused,
            is_last_refused,
            loaded,
            ..
        } = &self.reloads;
        is_last_refused.store(outcome == Reload::Refused, Relaxed);
        match outcome {
            Reload::Applied => {
                applied.fetch_add(1, Relaxed);
                *loaded.lock().unwrap_or_else(PoisonError::into_inner) = SystemTime::now();
            }
            Reload::Refused => {
                refused.fetch_add(1, Relaxed);
            }
            Reload::Unchanged => {}
        }
    }

    /// Sets how many certificates (each with its key) and authorities can't be used as their files are now; their
    /// previous content stays in use.
    pub(crate) fn certificates_refused(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.reloads.certificates_refused.store(count, Relaxed);
    }

    /// The counters of a route, for callers that count often.
    #[must_use]
    pub(crate) fn route(&self, name: &str) -> Arc<Route> {
        self.routes.get(name)
    }
}

/// Reading.
impl Metrics {
    /// When counting began, which is the start of the process.
    #[must_use]
    pub(crate) fn started(&self) -> SystemTime {
        self.started
    }

    /// When the configuration in use was read.
    #[must_use]
    pub(crate) fn loaded(&self) -> SystemTime {
        *self
            .reloads
            .loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the configuration file is one that was refused.
    #[must_use]
    pub(crate) fn is_last_refused(&self) -> bool {
        self.reloads.is_last_refused.load(Relaxed)
    }

    /// How many certificates and authorities can't be used as their files are now.
    #[must_use]
    pub(crate) fn certificates_held_back(&self) -> u64 {
        self.reloads.certificates_refused.load(Relaxed)
    }

    /// How often something failed or ended for a reason, whether that was written or not.
    #[must_use]
    pub(crate) fn total(&self, reason: Reason) -> u64 {
        let tables = [&self.unread, &self.refused, &self.requests];
        let before: u64 = tables.iter().map(|table| table.total(reason)).sum();
        before + self.ended.total(reason)
    }

    /// Refusals that were counted, but not written.
    #[must_use]
    pub(crate) fn suppressed_total(&self) -> u64 {
        let all = Reason::ALL.iter();
        all.map(|reason| self.suppressed.total(*reason)).sum()
    }

    /// Records that were lost.
    #[must_use]
    pub(crate) fn dropped_total(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Writes all metrics. `routes` are those of the current configuration, with whether they serve tunnels. Other
    /// routes are forgotten when nothing counts on them any more.
    pub fn write(&self, text: &mut Text, generation: u64, routes: &BTreeMap<String, bool>) {
        self.write_failures(text);
        self.write_times(text);
        self.routes.write(text, generation, routes);
        self.write_reloads(text);
        let mut family = text.family(
            "wsgate_records_suppressed_total",
            MetricType::Counter,
            "Refusals that were counted but not written, because more than 100 with their reason came within a second.",
        );
        for (reason, _, count) in self.suppressed.iter() {
            family.sample(&[("reason", reason.code())], count);
        }
        text.family(
            "wsgate_records_dropped_total",
            MetricType::Counter,
            "Records that were lost because standard output failed or was blocked.",
        )
        .sample(&[], self.dropped_total());
    }

    fn write_failures(&self, text: &mut Text) {
        text.family(
            "wsgate_connections_total",
            MetricType::Counter,
            "Connections that arrived, including those that were reset immediately.",
        )
        .sample(&[], self.connections.load(Relaxed));
        let mut family = text.family(
            "wsgate_connections_refused_total",
            MetricType::Counter,
            "Connections that were refused or ended before a complete request was read.",
        );
        for (reason, by, count) in self.unread.iter() {
            family.sample(&[("reason", reason.code()), ("by", by.name())], count);
        }
        let mut family = text.family(
            "wsgate_handshakes_total",
            MetricType::Counter,
            "Opening handshakes by outcome.",
        );
        family.sample(
            &[("outcome", "opened"), ("reason", ""), ("by", "")],
            self.opened.load(Relaxed),
        );
        for (reason, by, count) in self.refused.iter() {
            let labels = [
                ("outcome", "refused"),
                ("reason", reason.code()),
                ("by", by.name()),
            ];
            family.sample(&labels, count);
        }
        let mut family = text.family(
            "wsgate_requests_failed_total",
            MetricType::Counter,
            "Plain requests that were refused or whose answer was cut off.",
        );
        for (reason, by, count) in self.requests.iter() {
            family.sample(&[("reason", reason.code()), ("by", by.name())], count);
        }
        let mut family = text.family(
            "wsgate_tunnels_ended_total",
            MetricType::Counter,
            "Tunnels that ended, by reason and by the close code that the client sees.",
        );
        for (reason, by, code, count) in self.ended.iter() {
            let labels = [
                ("reason", reason.code()),
                ("by", by.name()),
                ("close_code", &code),
            ];
            family.sample(&labels, count);
        }
    }

    fn write_times(&self, text: &mut Text) {
        let mut family = text.family(
            "wsgate_stage_duration_seconds",
            MetricType::Histogram,
            "Duration of each step, with the precision of the records (1 ms).",
        );
        for (step, histogram) in Step::ALL.iter().zip(&self.steps) {
            histogram.write(&mut family, Some(("stage", step.name())));
        }
        let mut family = text.family(
            "wsgate_tunnel_duration_seconds",
            MetricType::Histogram,
            "Lifetime of the tunnels that ended.",
        );
        self.lives.write(&mut family, None);
    }

    fn write_reloads(&self, text: &mut Text) {
        let mut family = text.family(
            "wsgate_config_reloads_total",
            MetricType::Counter,
            "Reloads of the configuration by outcome.",
        );
        let reloads = &self.reloads;
        family.sample(&[("outcome", "applied")], reloads.applied.load(Relaxed));
        family.sample(&[("outcome", "refused")], reloads.refused.load(Relaxed));
        let is_refused = reloads.is_last_refused.load(Relaxed);
        text.family(
            "wsgate_config_last_reload_successful",
            MetricType::Gauge,
            "1 if the last reload found no errors in the configuration file, else 0.",
        )
        .sample(&[], u8::from(!is_refused));
        text.family(
            "wsgate_certificates_refused",
            MetricType::Gauge,
            "Certificates and authorities whose files can't be used now; their previous content stays in use.",
        )
        .sample(&[], reloads.certificates_refused.load(Relaxed));
        text.family(
            "wsgate_config_loaded_timestamp_seconds",
            MetricType::Gauge,
            "Time at which the current configuration was read.",
        )
        .sample(&[], seconds(self.loaded()));
    }
}

#[cfg(test)]
mod tests;
