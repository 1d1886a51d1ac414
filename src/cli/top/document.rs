//! What `GET /status.json` answers, as far as the view shows it. Every field may be absent or of another type.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::lenient::{Counts, Fact, Flag, List, Number, Part, Text};
use crate::record::id;

/// The newest form of the document that this program knows.
pub(super) const SCHEMA: i64 = 1;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    pub schema: Number,
    pub time: Text,
    pub version: Text,
    pub instance: Text,
    pub started: Text,
    pub phase: Text,
    /// `well`, `look` or `bad`.
    pub state: Text,
    pub since: Text,
    pub problems: List<Part<Problem>>,
    pub configuration: Part<Configuration>,
    pub connections: Part<Usage>,
    pub process: Part<Process>,
    pub minutes: List<Part<Minute>>,
    pub totals: Part<Minute>,
    pub tunnels: Part<Tunnels>,
    pub recent: Part<Recent>,
    pub upstreams: List<Part<Upstream>>,
    pub certificates: List<Part<Certificate>>,
    pub routes: List<Text>,
    pub streams: Part<Usage>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    /// `bad`, `look` or `note`.
    pub severity: Text,
    pub code: Text,
    /// What a trouble is about; a reason has none.
    pub subject: Text,
    pub since: Text,
    pub last: Text,
    pub count: Number,
    pub recent: Number,
    /// In percent.
    pub share: Number,
    /// What the share is of.
    pub of: Text,
    pub by: Text,
    pub different_clients: Number,
    pub at_least: Flag,
    pub clients: List<Part<Frequent>>,
    pub routes: List<Part<Frequent>>,
    pub upstreams: List<Part<Frequent>>,
    pub origins: List<Part<Frequent>>,
    pub client_sees: List<Part<Frequent>>,
    pub cause: Text,
    pub hint: Text,
    pub conn: Text,
    pub stream_id: Number,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Frequent {
    pub value: Text,
    pub count: Number,
    pub approximate: Flag,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Configuration {
    pub file: Text,
    pub generation: Number,
    pub loaded: Text,
    pub warnings: List<Text>,
    pub refused: Option<Fact>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    pub open: Number,
    pub limit: Number,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Process {
    pub memory_bytes: Number,
    pub cpu_seconds: Number,
    pub descriptors: Number,
    pub descriptors_limit: Number,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Minute {
    pub opened: Number,
    pub refused: Counts,
    pub unread: Counts,
    pub requests: Counts,
    pub ended: Counts,
    pub client_sees: Counts,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tunnels {
    pub open: Number,
    pub matching: Number,
    pub shown: List<Part<Tunnel>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tunnel {
    pub conn: Text,
    pub stream_id: Number,
    pub request_id: Text,
    pub trace_id: Text,
    pub client: Text,
    pub route: Text,
    pub upstream: Text,
    pub endpoint: Text,
    pub host: Text,
    pub path: Text,
    pub origin: Text,
    pub user_agent: Text,
    pub generation: Number,
    pub opened_at: Text,
    pub age_ms: Number,
    pub idle_ms: Number,
    pub bytes_client_to_upstream: Number,
    pub bytes_upstream_to_client: Number,
    pub messages_client_to_upstream: Number,
    pub messages_upstream_to_client: Number,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Recent {
    pub remembered: Number,
    pub oldest: Text,
    pub matching: Number,
    /// As in the log, the newest first.
    pub records: List<Fact>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Upstream {
    pub upstream: Text,
    pub endpoint: Text,
    pub is_healthy: Flag,
    pub is_checked: Flag,
    pub in_use: Number,
    pub connects_failed: Number,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Certificate {
    pub file: Text,
    pub expires: Text,
    pub days_left: Number,
}

impl Document {
    /// Reads the body of an answer.
    ///
    /// # Errors
    /// Why it is not a status of wsgate. The text is made safe before it is shown.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice::<Part<Self>>(body) {
            Ok(Part(document)) if !document.state.is_empty() => Ok(document),
            Ok(_) => Err(
                "the answer has no state: an older wsgate, or something else, listens there"
                    .to_owned(),
            ),
            Err(error) => Err(format!(
                "the answer is not the status of wsgate, or was cut off ({error}); does something else listen there?"
            )),
        }
    }

    /// How long before the document's own time another time was, in milliseconds.
    pub(super) fn ago(&self, time: &str) -> Option<i64> {
        let now = moment(&self.time)?;
        let then = moment(time)?;
        let passed = now.checked_sub(then)?;
        i64::try_from(passed.as_millis()).ok()
    }

    /// A time as people read it: without the date if that is today's.
    pub(super) fn clock(&self, time: &str) -> String {
        let (Some(date), Some(clock)) = (time.get(..10), time.get(11..19)) else {
            return time.to_owned();
        };
        match moment(time) {
            None => time.to_owned(),
            Some(_) if self.time.get(..10) == Some(date) => clock.to_owned(),
            Some(_) => format!("{} {clock}", date.get(5..).unwrap_or(date)),
        }
    }
}

/// The time since 1970.
fn moment(time: &str) -> Option<Duration> {
    let time = humantime::parse_rfc3339(time).ok()?;
    time.duration_since(SystemTime::UNIX_EPOCH).ok()
}

impl Problem {
    /// The id of the connection or stream of its last record; empty if it has none.
    pub(super) fn id(&self) -> String {
        id_of(&self.conn, self.stream_id.0)
    }
}

impl Tunnel {
    /// The id of its connection or stream; empty if it has none.
    pub(super) fn id(&self) -> String {
        id_of(&self.conn, self.stream_id.0)
    }
}

/// The id of a record's connection or stream; empty if it has none.
pub(super) fn id(record: &Fact) -> String {
    id_of(record.text("conn"), record.number("stream_id"))
}

fn id_of(conn: &str, stream_id: Option<i64>) -> String {
    let stream_id = stream_id.and_then(|id| u32::try_from(id).ok());
    match conn.is_empty() {
        true => String::new(),
        false => id::full(conn, stream_id).into_owned(),
    }
}

/// The id of a record's row, which stays the same while newer records come.
pub(super) fn key(record: &Fact) -> String {
    let [request_id, time, event, reason] =
        ["request_id", "time", "event", "reason"].map(|name| record.text(name));
    [&id(record), request_id, time, event, reason].join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_a_field_the_rest_is_read() {
        let all = r#"{"schema":"x","time":5,"state":"bad","problems":[1,"x",{"count":-5,"share":1e300,"clients":{"a":[1]}}],
            "configuration":[1,[2]],"minutes":"no","totals":{"opened":99999999999999999999,"refused":{"a":1,"b":"x","c":7}},
            "tunnels":{"shown":[null,{"age_ms":"12","conn":{"x":1}}]},"recent":{"records":[7,{"event":"closed"}]},
            "unknown":{"deep":[[[{}]]]},"routes":[1,true,"/a"],"upstreams":null,"streams":true,"process":1.5}"#;
        let document = Document::read(all.as_bytes()).unwrap();
        assert_eq!(&*document.state, "bad");
        assert_eq!(&*document.time, "5");
        assert_eq!(document.problems.len(), 3);
        assert_eq!(document.problems[2].count.0, Some(-5));
        assert_eq!(document.problems[2].share.0, Some(i64::MAX));
        assert_eq!(document.totals.opened.0, Some(i64::MAX));
        assert_eq!(
            document.totals.refused.0,
            [("c".to_owned(), 7), ("a".to_owned(), 1)]
        );
        assert_eq!(document.tunnels.shown[1].age_ms.0, Some(12));
        assert_eq!(document.recent.records[1].text("event"), "closed");
        assert_eq!(
            document
                .routes
                .iter()
                .map(|route| &**route)
                .collect::<Vec<_>>(),
            ["1", "", "/a"]
        );
    }

    #[test]
    fn what_is_no_status_is_said_to_be_none() {
        for (body, expected) in [
            ("", "cut off"),
            ("<html>", "cut off"),
            ("{\"state\":\"ok\"", "cut off"),
            ("{}", "no state"),
            ("[]", "no state"),
            ("\"x\"", "no state"),
            ("{\"state\":5e999}", "cut off"),
            (&"[".repeat(100_000), "cut off"),
        ] {
            let error = Document::read(body.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{body:.20}: {error}");
        }
    }

    #[test]
    fn times_are_told_from_what_is_none() {
        let document =
            Document::read(br#"{"state":"well","time":"2026-11-30T17:30:00.123Z"}"#).unwrap();
        assert_eq!(document.clock("2026-11-30T17:21:13.000Z"), "17:21:13");
        assert_eq!(document.clock("2026-11-29T17:21:13.000Z"), "11-29 17:21:13");
        assert_eq!(
            document.clock("yesterday at noon or so"),
            "yesterday at noon or so"
        );
        assert_eq!(document.ago("2026-11-30T17:29:00.123Z"), Some(60_000));
        assert_eq!(document.ago("2027-11-30T17:29:00.123Z"), None);
        assert_eq!(document.ago("中文中文中文中文"), None);
    }
}
