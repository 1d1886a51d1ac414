//! Records: one line for everything that failed, opened or ended.
//!
//! A [`Draft`] travels with a connection and is finished exactly once; dropping it unfinished (a panic, a
//! cancelled task, a forgotten branch) writes [`Reason::InternalAborted`]. Lines pass a bounded queue to a thread
//! of their own, so that a blocked standard output never stalls a connection; what is dropped is counted.

mod sink;
mod text;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

pub use sink::{Settings, Sink};
pub use text::{peer_text, redact_query};

use crate::reason::{By, Failure, Level, Note, Reason, Stage};

/// Version of the record's shape; it changes when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// What a record tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Failed before a tunnel was open.
    #[default]
    Refused,
    /// A verified 101 was sent on.
    Opened,
    /// A tunnel ended.
    Closed,
    /// A listener is bound.
    Listening,
    /// A shutdown began.
    Draining,
    /// The process ends.
    Stopped,
    /// Refusals of one reason were too many to write; `count` says how many.
    RecordsSuppressed,
    /// The output was blocked; `count` says how many lines were lost.
    RecordsDropped,
}

impl Event {
    const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Listening => "listening",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::RecordsSuppressed => "records_suppressed",
            Self::RecordsDropped => "records_dropped",
        }
    }
}

/// One endpoint that was tried, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// The endpoint as the configuration spells it, with the address where a name was resolved.
    pub endpoint: String,
    /// `connected`, or the code of the reason it failed with.
    pub outcome: &'static str,
    /// The system's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// One line. Field names and their order are the schema; absent fields are left out.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(
    missing_docs,
    reason = "docs/records.md describes each field; the names are the schema"
)]
pub struct Record {
    pub time: String,
    pub schema: u32,
    pub version: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub instance: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    pub event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referer_app_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_client_to_upstream: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_upstream_to_client: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasted_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_stall_client_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_stall_upstream_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<BTreeMap<&'static str, u64>>,
}

impl Record {
    /// A record that belongs to no connection.
    #[must_use]
    pub fn lifecycle(event: Event, level: Level, detail: impl Into<String>) -> Self {
        Self {
            event,
            level: Some(level),
            detail: Some(detail.into()),
            ..Self::default()
        }
    }

    /// Fills in what a failure says of a connection that had `reached` a stage.
    fn fail(&mut self, failure: Failure, reached: Stage) {
        let spec = failure.reason.spec();
        self.status = failure.http_status();
        self.stage = Some(if failure.reason.is_anywhere() {
            reached
        } else {
            spec.stage
        });
        self.by = Some(spec.by);
        self.level = Some(spec.level);
        self.reason = Some(failure.reason);
        self.detail = failure.detail;
        self.hint = Some(failure.hint.unwrap_or_else(|| spec.fix.to_owned()));
    }
}

/// Whole milliseconds, saturating.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Called at each stage a connection enters; tests use it to panic or to wait there.
pub type StageHook = dyn Fn(Stage) + Send + Sync;

/// The record of a connection while it is still being written.
///
/// Ended by [`Draft::finish`]; dropped unfinished it reports `internal_aborted`.
pub struct Draft {
    sink: Sink,
    stage: Stage,
    opened: Option<Instant>,
    finished: bool,
    /// What is known so far.
    pub record: Box<Record>,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft")
            .field("stage", &self.stage)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

impl Draft {
    /// Starts the record of a connection that `peer` made to `listener`.
    #[must_use]
    pub fn new(sink: Sink, listener: SocketAddr, peer: Option<SocketAddr>) -> Self {
        let conn = sink.next_conn();
        let mut draft = Self {
            stage: Stage::Accept,
            opened: None,
            finished: false,
            record: Box::new(Record {
                conn: Some(conn),
                listener: Some(listener.to_string()),
                peer: peer.and_then(|peer| sink.address(peer.ip(), Some(peer.port()))),
                ..Record::default()
            }),
            sink,
        };
        if let Some(peer) = peer {
            draft.set_client(peer.ip());
        }
        draft
    }

    /// Says which stage the connection has reached.
    pub fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.sink.entered(stage);
    }

    /// The connection's id.
    #[must_use]
    pub fn conn(&self) -> &str {
        self.record.conn.as_deref().unwrap_or_default()
    }

    /// The stage that the connection has reached.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Names the real client, which is the peer unless a trusted proxy says otherwise.
    pub fn set_client(&mut self, client: IpAddr) {
        self.record.client = self.sink.address(client, None);
    }

    /// Names what was asked for: path with its query redacted as configured.
    pub fn set_path(&mut self, path: &[u8], query: Option<&[u8]>) {
        self.record.path = Some(redact_query(path, query, self.sink.query_keep()));
    }

    /// Adds what is worth saying.
    pub fn note(&mut self, note: impl Into<Note>) {
        self.record.notes.push(note.into());
    }

    /// Writes `opened`; what follows belongs to the tunnel.
    pub fn opened(&mut self) {
        self.opened = Some(Instant::now());
        let mut record = self.record.clone();
        record.event = Event::Opened;
        record.stage = Some(Stage::Tunnel);
        record.level = Some(Level::Info);
        record.status = Some(101);
        self.sink.emit(*record);
    }

    /// Writes `closed` if a tunnel was open, else `refused`.
    pub fn finish(mut self, failure: Failure) {
        self.end(failure);
    }

    fn end(&mut self, failure: Failure) {
        self.finished = true;
        let mut record = std::mem::take(&mut self.record);
        record.fail(failure, self.stage);
        record.event = match self.opened {
            None => Event::Refused,
            Some(opened) => {
                record
                    .lasted_ms
                    .get_or_insert_with(|| millis(opened.elapsed()));
                record.status = Some(101);
                Event::Closed
            }
        };
        self.sink.emit(*record);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished {
            let how = if std::thread::panicking() {
                "panicked"
            } else {
                "was cancelled"
            };
            let detail = format!("the connection's task {how} in stage {}", self.stage.name());
            self.end(Failure::new(Reason::InternalAborted, detail));
        }
    }
}

/// The wall clock as records spell it: RFC 3339 in UTC with milliseconds.
fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
