//! Records: one line for everything that failed, opened or ended.
//!
//! A bounded queue passes lines to a writing thread, so a blocked standard output never stalls a connection. Lines that find
//! no room are counted and dropped.

mod count;
mod flood;
pub mod id;
pub mod line;
mod live;
pub mod memory;
mod packed;
mod resting;
mod sink;
mod top;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use live::{Asked, Listed, Order, Seen, Tunnels};
pub use memory::Memory;
pub use resting::Resting;
pub use sink::{Settings, Sink, StageHook};
pub use top::Frequent;

use crate::reason::{By, Failure, Later, Level, Note, Reason, Stage, Words};

/// The version of the schema; it changes when a field changes its meaning or is removed.
pub const SCHEMA: u32 = 1;

/// What a record reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something failed before a tunnel was open.
    #[default]
    Refused,
    /// A tunnel opened: a verified 101 was passed on.
    Opened,
    /// A tunnel ended.
    Closed,
    /// A plain request was answered.
    Request,
    /// A listener is bound.
    Listening,
    /// A new configuration is in use.
    Reloaded,
    /// A reload found that the configuration in use has not changed.
    ReloadUnchanged,
    /// A new configuration can't be used; the old one stays in use.
    ReloadRefused,
    /// A new certificate, key or authority is in use.
    CertificateReloaded,
    /// A new certificate, key or authority can't be used; the old one stays in use.
    CertificateRefused,
    /// A certificate expires soon or has expired.
    CertificateExpiring,
    /// The health checks of an endpoint changed its state.
    UpstreamHealth,
    /// A peer that is not trusted keeps sending fields that only a trusted proxy may send.
    UntrustedProxy,
    /// A drain began, or a signal arrived during one.
    Draining,
    /// A drain that does not end the process is complete.
    Drained,
    /// The process ends.
    Stopped,
    /// There were too many refusals of one reason to write them all; `count` is the number of those not written.
    RecordsSuppressed,
    /// The output was blocked; `count` is the number of lost lines.
    RecordsDropped,
}

impl Event {
    /// Whether it is about the process. Such records are written at every level: they are few, and the others can't be
    /// understood without them.
    const fn is_lifecycle(self) -> bool {
        match self {
            Self::Listening
            | Self::Reloaded
            | Self::ReloadUnchanged
            | Self::ReloadRefused
            | Self::CertificateReloaded
            | Self::CertificateRefused
            | Self::CertificateExpiring
            | Self::Draining
            | Self::Drained
            | Self::Stopped => true,
            Self::Refused
            | Self::Opened
            | Self::Closed
            | Self::Request
            | Self::UpstreamHealth
            | Self::UntrustedProxy
            | Self::RecordsSuppressed
            | Self::RecordsDropped => false,
        }
    }
}

/// One endpoint that was tried, with the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The endpoint as written in the configuration, followed by the address if a name was resolved.
    pub endpoint: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The system's error message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The duration in milliseconds.
    pub ms: u64,
}

/// The outcome of an attempt; a record shows `connected`, `reused` or the code of the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new connection.
    Connected,
    /// A connection that was kept after an earlier request.
    Reused,
    /// No connection could be made, or it failed before an answer.
    Failed(Reason),
}

impl Outcome {
    const CONNECTED: &'static str = "connected";
    const REUSED: &'static str = "reused";
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Connected => Self::CONNECTED,
            Self::Reused => Self::REUSED,
            Self::Failed(reason) => reason.code(),
        })
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        match word.as_str() {
            Self::CONNECTED => Ok(Self::Connected),
            Self::REUSED => Ok(Self::Reused),
            code => code.parse().map(Self::Failed).map_err(de::Error::custom),
        }
    }
}

/// A hop that may have ended a tunnel, and the timer that makes it likely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// The hop, in words that begin with "possibly".
    pub hop: String,
    /// Its timer.
    pub timer: String,
}

/// The certificate that a client was shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedCertificate {
    /// Its subject, or its first name if the subject is empty.
    pub subject: String,
    /// Its serial number in hexadecimal, as `openssl x509 -serial` prints it.
    pub serial: String,
    /// When it expires, in RFC 3339 form and UTC.
    pub expires: String,
}

/// What a client wants, as far as its request shows this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// No complete request has arrived.
    #[default]
    Unknown,
    /// A tunnel: the request has a part of an opening handshake.
    Tunnel,
    /// An answer to a plain request.
    Answer,
}

/// One line. Field names and their order are the schema; absent fields are left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(
    missing_docs,
    reason = "docs/records.md describes each field; the names are the schema"
)]
pub struct Record {
    pub time: String,
    pub schema: u32,
    #[serde(skip_deserializing)]
    pub version: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub instance: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    pub event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
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
    pub problems: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspect: Option<Suspect>,
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
    pub tls_version: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Box<ServedCertificate>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_version: Option<Cow<'static, str>>,
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
    pub generation: Option<u64>,
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
    pub response_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_close: Option<By>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_code_client: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_reason_client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_code_upstream: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_reason_upstream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_code_proxy: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_sees: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_client_to_upstream: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_upstream_to_client: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_client_to_upstream: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_upstream_to_client: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasted_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pings: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pongs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_stall_client_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_stall_upstream_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_wait_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top_clients: Vec<Frequent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top_origins: Vec<Frequent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top_paths: Vec<Frequent>,
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    pub counts: Option<BTreeMap<&'static str, u64>>,
    /// For the metrics; not part of the line.
    #[serde(skip)]
    pub wanted: Wanted,
    /// The address behind `client`, which may be shortened or hidden.
    #[serde(skip)]
    pub source: Option<IpAddr>,
    /// A search for better words, which runs if the line is written.
    #[serde(skip)]
    pub later: Option<Later>,
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

    /// Fills in a failure of a connection that had reached stage `reached`.
    pub fn fail(&mut self, failure: Failure, reached: Stage) {
        let spec = failure.reason.spec();
        self.status = failure.http_status();
        self.stage = Some(if failure.reason.is_anywhere() {
            reached
        } else {
            spec.stage
        });
        self.by = spec.by.or(failure.by);
        self.level = Some(failure.level.unwrap_or(spec.level));
        self.reason = Some(failure.reason);
        self.detail = failure.detail;
        self.hint = Some(failure.hint.unwrap_or_else(|| spec.fix.to_owned()));
        self.later = failure.later;
    }

    /// Whether it reports a refusal, an end that was not asked for, or a problem of the proxy itself.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self.event {
            Event::Refused => self.level > Some(Level::Debug),
            Event::Closed => !self.reason.is_some_and(Reason::is_ordinary),
            Event::Request => self.reason.is_some(),
            Event::Opened | Event::RecordsSuppressed => false,
            _ => self.level >= Some(Level::Warn),
        }
    }

    /// Runs the search for better words; only for lines that are written.
    fn complete(&mut self) {
        let Some(later) = self.later.take() else {
            return;
        };
        let Words { detail, hint } = later.words();
        self.detail = detail.or_else(|| self.detail.take());
        self.hint = hint.or_else(|| self.hint.take());
    }
}

/// The failure of a connection in stage `reached` whose task ends before the stage does.
#[must_use]
pub fn aborted(reached: Stage) -> Failure {
    let how = match std::thread::panicking() {
        true => "panicked",
        false => "was cancelled",
    };
    let detail = format!("the connection's task {how} in stage {}", reached.name());
    Failure::new(Reason::InternalAborted, detail)
}

/// Whole milliseconds, saturating.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time in the form of records: RFC 3339 in UTC with milliseconds, cut off and not rounded.
#[must_use]
pub fn stamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time.max(SystemTime::UNIX_EPOCH)).to_string()
}
