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
    /// The connections that `id` belongs to.
    story: HashSet<String>,
    shortened: Cell<u64>,
}

/// More connections than this can't have one id; a client that sends the same `X-Request-ID` with every request can.
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

    /// Whether an id is asked for, so that its connections must be found first.
    pub(super) fn is_story(&self) -> bool {
        self.id.is_some()
    }

    /// Remembers the connection of a record that has the id; returns whether it is a new one.
    pub(super) fn learn(&mut self, record: &Record<'_>) -> bool {
        let is_new =
            self.has_id(record) && !record.conn.is_empty() && !self.story.contains(&*record.conn);
        is_new && !self.is_full() && self.story.insert(record.conn.to_string())
    }

    /// Whether there may be more connections with the id than are remembered.
    pub(super) fn is_full(&self) -> bool {
        self.story.len() >= MOST_CONNECTIONS
    }

    /// Whether a record may have the id, without reading it.
    pub(super) fn may_have_id(&self, json: &str) -> bool {
        // Other characters may be escaped.
        let is_simple = |id: &&str| id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let id = self.id.as_deref().filter(is_simple);
        id.is_none_or(|id| memchr::memmem::find(json.as_bytes(), id.as_bytes()).is_some())
    }

    fn has_id(&self, record: &Record<'_>) -> bool {
        self.id
            .as_deref()
            .is_some_and(|id| [&*record.conn, &*record.request_id, &*record.trace_id].contains(&id))
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
            && (self.id.is_none() || self.has_id(record) || self.story.contains(&*record.conn))
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
