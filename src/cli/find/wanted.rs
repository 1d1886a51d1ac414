//! Which records are asked for.

use std::cell::Cell;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::SystemTime;

use ipnet::IpNet;

use super::Filters;
use super::when::Window;
use crate::cli::explain::nearest;
use crate::cli::records::Record;
use crate::reason::Reason;
use crate::record::id;
use crate::text::{is_like, peer_text};

/// All conditions; a record has to meet each of them.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) window: Window,
    client: Option<IpNet>,
    reasons: Vec<String>,
    origin: Option<String>,
    path: Option<String>,
    user_agent: Option<String>,
    route: Option<String>,
    id: Option<String>,
    is_failed: bool,
    /// The connections, or streams over HTTP/2, that `id` belongs to.
    story: HashSet<String>,
    shortened: Cell<u64>,
}

/// So many connections and streams of one id are remembered. There may be more if a client sends the same `X-Request-ID`
/// with every request.
const MOST_CONNECTIONS: usize = 100_000;

impl Wanted {
    /// Reads the conditions.
    ///
    /// # Errors
    /// Which option has a value that can't be used, and what is expected.
    pub(super) fn parse(filters: &Filters, now: SystemTime) -> Result<Self, String> {
        for (name, value) in [
            ("--origin", &filters.origin),
            ("--path", &filters.path),
            ("--user-agent", &filters.user_agent),
            ("--route", &filters.route),
            ("--id", &filters.id),
        ] {
            if value.as_deref() == Some("") {
                return Err(format!("{name} is empty; leave it out to find all records"));
            }
        }
        // In records, everything but printable ASCII is escaped.
        let lower = |text: &Option<String>| {
            let text = text.as_deref()?;
            Some(peer_text(text.as_bytes()).to_ascii_lowercase())
        };
        Ok(Self {
            window: Window::parse(filters.since.as_deref(), filters.until.as_deref(), now)?,
            client: filters.client.as_deref().map(client).transpose()?,
            reasons: filters
                .reason
                .iter()
                .map(|code| reason(code))
                .collect::<Result<_, _>>()?,
            origin: lower(&filters.origin),
            path: lower(&filters.path),
            user_agent: lower(&filters.user_agent),
            route: filters.route.clone(),
            id: filters.id.clone(),
            is_failed: filters.failed,
            story: HashSet::new(),
            shortened: Cell::new(0),
        })
    }

    /// Whether an id is asked for, so that its connections and streams must be found first.
    pub(super) fn is_story(&self) -> bool {
        self.id.is_some()
    }

    /// Remembers the connection, or the stream over HTTP/2, of a record that has the id; returns whether it is a new one.
    pub(super) fn learn(&mut self, record: &Record<'_>) -> bool {
        // If the id names the connection or the stream itself, each of its records has that id.
        if record.conn.is_empty() || self.is_named(record) || !self.has_id(record) {
            return false;
        }
        let id = record.id();
        let is_new = !self.story.contains(&*id) && !self.is_full();
        is_new && self.story.insert(id.into_owned())
    }

    /// Whether there may be more connections or streams with the id than are remembered.
    pub(super) fn is_full(&self) -> bool {
        self.story.len() >= MOST_CONNECTIONS
    }

    /// Whether a record may have the id, without reading it.
    pub(super) fn may_have_id(&self, json: &str) -> bool {
        // A record may have the two parts of CONN-STREAM in different fields.
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let conn = |id| match str::rsplit_once(id, '-') {
            Some((conn, stream_id)) if is_number(stream_id) => conn,
            _ => id,
        };
        // Other characters may be escaped.
        let is_simple = |id: &&str| id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let id = self.id.as_deref().map(conn).filter(is_simple);
        id.is_none_or(|id| memchr::memmem::find(json.as_bytes(), id.as_bytes()).is_some())
    }

    fn has_id(&self, record: &Record<'_>) -> bool {
        let has = |id| [&*record.request_id, &*record.trace_id].contains(&id);
        self.id.as_deref().is_some_and(has) || self.is_named(record)
    }

    /// Whether the id is that of the record's connection or stream.
    fn is_named(&self, record: &Record<'_>) -> bool {
        let names = |id| id::names(id, &record.conn, record.stream_id);
        self.id.as_deref().is_some_and(names)
    }

    /// Whether a record meets all conditions.
    pub(super) fn has(&self, record: &Record<'_>) -> bool {
        let has = self.has_all(record);
        let is_exact = self.client.is_none_or(|client| is_in(record.who(), client));
        if has && !is_exact {
            self.shortened.set(self.shortened.get().saturating_add(1));
        }
        has
    }

    /// How many records matched only because their client's address may have been shortened.
    pub(super) fn shortened(&self) -> u64 {
        self.shortened.get()
    }

    fn has_all(&self, record: &Record<'_>) -> bool {
        self.window.has(&record.time)
            && self.has_reason(&record.reason)
            && (!self.is_failed || record.is_failure() || counts_failures(record))
            && self
                .client
                .is_none_or(|client| is_from(record.who(), client))
            && contains(&record.origin, self.origin.as_deref())
            && contains(&record.path, self.path.as_deref())
            && contains(&record.user_agent, self.user_agent.as_deref())
            && self
                .route
                .as_deref()
                .is_none_or(|route| record.route == route)
            && (self.id.is_none() || self.has_id(record) || self.story.contains(&*record.id()))
    }

    /// Whether refusals that were not written may be among those that are asked for. Only their time and reason are known.
    pub(super) fn may_have_suppressed(&self, record: &Record<'_>) -> bool {
        self.window.has(&record.time)
            && self.has_reason(&record.reason)
            && (!self.is_failed || counts_failures(record))
    }

    /// Whether more than time and reason is asked for, so that of suppressed refusals only the most frequent are known.
    pub(super) fn is_narrow(&self) -> bool {
        self.client.is_some()
            || self.id.is_some()
            || self.user_agent.is_some()
            || self.route.is_some()
            || self.origin.is_some()
            || self.path.is_some()
    }

    fn has_reason(&self, reason: &str) -> bool {
        self.reasons.is_empty()
            || !reason.is_empty() && self.reasons.iter().any(|pattern| is_like(reason, pattern))
    }
}

/// Whether it counts refusals that a flood left out. Probes are not failures.
fn counts_failures(record: &Record<'_>) -> bool {
    record.event == "records_suppressed" && record.level != "debug"
}

fn contains(text: &str, wanted: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| text.to_ascii_lowercase().contains(wanted))
}

/// Parses an address, with or without a port, or a prefix.
fn client(text: &str) -> Result<IpNet, String> {
    let address = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = address.parse::<IpAddr>() {
        return Ok(ip.to_canonical().into());
    }
    if let Ok(with_port) = text.parse::<std::net::SocketAddr>() {
        return Ok(with_port.ip().to_canonical().into());
    }
    text.parse::<IpNet>()
        .map(|prefix| prefix.trunc())
        .map_err(|_| {
            format!(
                "--client {text:?} is not an address such as 203.0.113.7 or 2001:db8::7, and not a prefix such as 203.0.113.0/24"
            )
        })
}

/// Parses a reason's code, or a pattern for codes.
fn reason(text: &str) -> Result<String, String> {
    let code = text.trim().to_ascii_lowercase().replace('-', "_");
    if code.contains('*') || code.parse::<Reason>().is_ok() {
        return Ok(code);
    }
    let is_reason = |code: &&&str| code.parse::<Reason>().is_ok();
    let hint = match nearest(&code).iter().find(is_reason) {
        Some(nearest) => format!("; did you mean {nearest}?"),
        None => String::new(),
    };
    Err(format!(
        "--reason {text:?} is not the code of a reason{hint} (wsgate explain lists all, and * stands for any text, as in 'origin_*')"
    ))
}

/// Whether `who`, an address with or without a port or a prefix, is in `wanted` as it stands.
fn is_in(who: &str, wanted: IpNet) -> bool {
    match address(who) {
        Some(ip) => wanted.contains(&ip),
        None => who.parse::<IpNet>().is_ok_and(|net| wanted.contains(&net)),
    }
}

fn address(who: &str) -> Option<IpAddr> {
    let with_port = || who.parse::<std::net::SocketAddr>().map(|both| both.ip());
    let ip = who.parse::<IpAddr>().or_else(|_| with_port());
    Some(ip.ok()?.to_canonical())
}

/// Whether `who` is in `wanted`. A record's address may have been shortened (`log.client_address`): then it has zeros where
/// the client's own address has other bits.
fn is_from(who: &str, wanted: IpNet) -> bool {
    let Some(ip) = address(who) else {
        return who
            .parse::<IpNet>()
            .is_ok_and(|net| net.contains(&wanted.addr()) || wanted.contains(&net.addr()));
    };
    let kept = match ip {
        IpAddr::V4(v4) if v4.octets().last() == Some(&0) => 24,
        IpAddr::V6(v6) if v6.segments().iter().skip(3).all(|&part| part == 0) => 48,
        IpAddr::V4(_) | IpAddr::V6(_) => return wanted.contains(&ip),
    };
    IpNet::new(ip, kept)
        .is_ok_and(|shortened| shortened.contains(&wanted.addr()) || wanted.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_found_by_address_and_prefix() {
        for (who, wanted, is_found) in [
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7:5555", "203.0.113.7", true),
            ("[2001:db8::7]:5555", "2001:db8::7", true),
            ("203.0.113.7", "203.0.113.7:80", true),
            ("203.0.113.7", "203.0.113.99/24", true),
            ("203.0.114.7", "203.0.113.0/24", false),
            ("2001:db8::7", "2001:db8::/32", true),
            ("2001:db8::7", "[2001:db8::7]", true),
            ("203.0.113.7", "::ffff:203.0.113.7", true),
            // Shortened by `log.client_address`.
            ("203.0.113.0", "203.0.113.7", true),
            ("203.0.113.0", "203.0.114.7", false),
            ("2001:db8:1::", "2001:db8:1::7", true),
            ("2001:db8:1::", "2001:db8:2::7", false),
            // In a summary of suppressed refusals.
            ("2001:db8:1:2::/64", "2001:db8:1:2::7", true),
            ("", "203.0.113.7", false),
        ] {
            let net = client(wanted).unwrap();
            assert_eq!(is_from(who, net), is_found, "{who} {wanted}");
        }
        for wrong in ["", "203.0.113", "example.com", "203.0.113.0/33"] {
            assert!(client(wrong).is_err(), "{wrong}");
        }
    }

    /// Which of the interleaved records of two streams an id finds, as find reads them: first to learn, then to search.
    fn found(id: &str) -> Vec<(&'static str, Option<u32>)> {
        let mut wanted = Wanted {
            window: Window::parse(None, None, SystemTime::now()).unwrap(),
            client: None,
            reasons: Vec::new(),
            origin: None,
            path: None,
            user_agent: None,
            route: None,
            id: Some(id.to_owned()),
            is_failed: false,
            story: HashSet::new(),
            shortened: Cell::new(0),
        };
        let lines = [
            ("refused", "c", None, "c"),
            ("opened", "c", Some(1), "of one"),
            ("opened", "c", Some(3), "c-3"),
            ("closed", "c", Some(3), "c-3"),
            // As if it had not been known yet, or was lost.
            ("closed", "c", Some(1), ""),
            ("request", "c", Some(31), "c-31"),
            ("request", "d", None, "d"),
            ("request", "d", None, "d-2"),
        ]
        .map(|(event, conn, stream_id, request_id)| {
            let mut record = serde_json::json!({
                "time": "2026-01-02T20:38:00.000Z", "schema": 1, "event": event, "conn": conn, "request_id": request_id,
            });
            if let Some(stream_id) = stream_id {
                record["stream_id"] = stream_id.into();
            }
            ((event, stream_id), record.to_string())
        });
        let lines = lines.iter();
        for (_, json) in lines.clone() {
            if wanted.may_have_id(json) {
                let _ = wanted.learn(&Record::read(json).unwrap());
            }
        }
        let found = lines.filter(|(_, json)| wanted.has(&Record::read(json).unwrap()));
        found.map(|(what, _)| *what).collect()
    }

    #[test]
    fn an_id_finds_one_stream_or_a_whole_connection() {
        assert_eq!(found("c-3"), [("opened", Some(3)), ("closed", Some(3))]);
        assert_eq!(found("c-1"), [("opened", Some(1)), ("closed", Some(1))]);
        assert_eq!(found("of one"), [("opened", Some(1)), ("closed", Some(1))]);
        assert_eq!(found("c-31"), [("request", Some(31))]);
        assert_eq!(found("c").len(), 6);
        // Over HTTP/1.1 all requests of a connection are one story.
        assert_eq!(found("d-2"), [("request", None), ("request", None)]);
        assert_eq!(found("c-5"), []);
        assert_eq!(found("d-3"), []);
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (text, pattern, is_match) in [
            ("origin_null", "origin_null", true),
            ("origin_null", "origin", false),
            ("origin_null", "origin_*", true),
            ("origin_null", "*null", true),
            ("origin_null", "*i*n*l", true),
            ("origin_null", "*x*", false),
            ("origin_null", "origin_null*", true),
            ("origin_null", "*", true),
            ("aba", "ab*ba", false),
        ] {
            assert_eq!(is_like(text, pattern), is_match, "{text} {pattern}");
        }
    }
}
