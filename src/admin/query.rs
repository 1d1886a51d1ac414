//! What a reader asks for: the query of `/status.json` and `/events`.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use crate::reason::Reason;
use crate::record::memory::{Kept, MINUTES, What};
use crate::record::{Order, Record, Sink, id};
use crate::text::is_like;

/// How many tunnels and records are shown if nothing else is asked for.
const USUAL: usize = 100;

/// The most that may be asked for. More would take megabytes.
const MOST: usize = 1000;

/// All parameters.
const NAMES: [&str; 8] = [
    "route", "reason", "client", "id", "minutes", "all", "sort", "limit",
];

/// Most codes or patterns of reasons, and the most letters of each: each is compared with all reasons.
const PATTERNS: usize = 100;
const LONGEST: usize = 64;

/// What a reader asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub route: Option<String>,
    /// All that were asked for by their code or a pattern.
    reasons: Option<HashSet<Reason>>,
    client: Option<Client>,
    id: Option<String>,
    /// How many of the last minutes.
    pub minutes: usize,
    /// Whether ordinary ends of tunnels are shown, too.
    is_all: bool,
    pub order: Order,
    /// The most tunnels and records.
    pub most: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            route: None,
            reasons: None,
            client: None,
            id: None,
            minutes: MINUTES,
            is_all: false,
            order: Order::Newest,
            most: USUAL,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Client {
    Address(IpAddr),
    Network(IpNet),
    /// The beginning of an address.
    Prefix(String),
}

/// The fields of a record that a query looks at.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Looked {
    conn: Option<String>,
    stream_id: Option<u32>,
    request_id: Option<String>,
    trace_id: Option<String>,
    client: Option<String>,
    route: Option<String>,
}

impl Query {
    /// Reads the query of a request's target.
    ///
    /// # Errors
    /// Which name or value is wrong.
    pub fn read(query: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            read.set(&decoded(name), decoded(value))?;
        }
        Ok(read)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        if !NAMES.contains(&name) {
            let names = NAMES.join(", ");
            return Err(format!(
                "unknown parameter {name:?}; the parameters are {names}"
            ));
        }
        if value.is_empty() {
            // A form sends its empty fields, too.
            return Ok(());
        }
        let number = |most: usize| match value.parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(format!(
                "{name} must be a number from 1 to {most}, found {value:?}"
            )),
        };
        match name {
            "route" => self.route = Some(value),
            "reason" => self.reasons = Some(reasons(&value)?),
            "client" => self.client = Some(client(&value)),
            "id" => self.id = Some(value),
            "minutes" => self.minutes = number(MINUTES)?,
            "limit" => self.most = number(MOST)?,
            "all" => {
                self.is_all = match value.as_str() {
                    "0" => false,
                    "1" => true,
                    _ => return Err(format!("all must be 0 or 1, found {value:?}")),
                }
            }
            _ => {
                self.order = match value.as_str() {
                    "newest" => Order::Newest,
                    "oldest" => Order::Oldest,
                    "idle" => Order::Idle,
                    "bytes" => Order::Bytes,
                    _ => {
                        return Err(format!(
                            "sort must be newest, oldest, idle or bytes, found {value:?}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether counts of this reason are shown.
    pub fn is_counted(&self, what: What, reason: Option<Reason>) -> bool {
        match (&self.reasons, reason) {
            (None, _) => true,
            (Some(asked), Some(reason)) => asked.contains(&reason),
            (Some(_), None) => what != What::Opened,
        }
    }

    /// Whether a record may be shown, as far as that is known without reading it.
    pub fn may_show(&self, kept: &Kept) -> bool {
        let is_asked = match (&self.reasons, kept.class.reason()) {
            (None, Some(_)) => true,
            (Some(asked), Some(reason)) => asked.contains(&reason),
            (reasons, None) => reasons.is_none() && !self.is_for_clients(),
        };
        // The whole story of a connection has its ordinary end, too.
        let is_shown = kept.is_failure || self.is_all || self.id.is_some();
        is_asked && is_shown
    }

    /// Whether the record in `json` is shown. The form of addresses is that of `sink`.
    pub fn shows(&self, json: &str, sink: &Sink) -> bool {
        if !self.is_for_clients() {
            return true;
        }
        let looked: Looked = serde_json::from_str(json).unwrap_or_default();
        self.fits(&looked, sink)
    }

    /// The condition for open tunnels, if there is one.
    pub fn of_tunnels<'q>(&'q self, sink: &'q Sink) -> Option<impl Fn(&Record) -> bool + 'q> {
        self.is_for_clients().then_some(move |record: &Record| {
            let looked = Looked {
                conn: record.conn.clone(),
                stream_id: record.stream_id,
                request_id: record.request_id.clone(),
                trace_id: record.trace_id.clone(),
                client: record.client.clone(),
                route: record.route.clone(),
            };
            self.fits(&looked, sink)
        })
    }

    fn is_for_clients(&self) -> bool {
        self.route.is_some() || self.client.is_some() || self.id.is_some()
    }

    fn fits(&self, looked: &Looked, sink: &Sink) -> bool {
        let Looked {
            conn,
            stream_id,
            request_id,
            trace_id,
            client,
            route,
        } = looked;
        let is_it = self.route.is_none() || self.route == *route;
        let is_id = self.id.as_deref().is_none_or(|asked| {
            let ids = [request_id.as_deref(), trace_id.as_deref()];
            let conn = conn.as_deref().unwrap_or_default();
            ids.contains(&Some(asked)) || id::names(asked, conn, *stream_id)
        });
        is_it
            && is_id
            && self.client.as_ref().is_none_or(|wanted| {
                client
                    .as_ref()
                    .is_some_and(|client| wanted.is(client, sink))
            })
    }
}

impl Client {
    fn is(&self, client: &str, sink: &Sink) -> bool {
        match self {
            Self::Address(address) => sink.address(*address, None).as_deref() == Some(client),
            Self::Network(network) => {
                let address = client.parse::<IpAddr>();
                address.is_ok_and(|address| network.contains(&address))
            }
            Self::Prefix(prefix) => client.starts_with(prefix.as_str()),
        }
    }
}

/// The reasons that a list of codes and patterns names.
fn reasons(list: &str) -> Result<HashSet<Reason>, String> {
    let mut asked = HashSet::new();
    let patterns = list
        .split(',')
        .map(str::trim)
        .filter(|code| !code.is_empty());
    for (number, pattern) in patterns.enumerate() {
        if number == PATTERNS || pattern.len() > LONGEST {
            return Err(format!(
                "reason has more than {PATTERNS} codes, or one with more than {LONGEST} letters"
            ));
        }
        let all = Reason::ALL.iter().copied();
        let named: Vec<_> = all
            .filter(|reason| is_like(reason.code(), pattern))
            .collect();
        if named.is_empty() {
            return Err(format!(
                "reason: no code is like {pattern:?}; wsgate explain lists all"
            ));
        }
        asked.extend(named);
    }
    Ok(asked)
}

fn client(text: &str) -> Client {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Client::Address(address.to_canonical());
    }
    match text.parse::<IpNet>() {
        Ok(network) => Client::Network(network.trunc()),
        Err(_) => Client::Prefix(text.to_ascii_lowercase()),
    }
}

/// Undoes the encoding of forms; what is not such an encoding stays.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        let byte = hex.filter(|hex| !hex.starts_with('+'));
        let byte = byte.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            (other, _) => {
                bytes.push(*other);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_whole_or_refused() {
        let read = Query::read(
            "route=%2Fws+x&reason=origin_not_%2A,client_close&client=203.0.113.0/24&minutes=5&all=1&sort=idle&limit=10&id=",
        );
        let expected = Query {
            route: Some("/ws x".to_owned()),
            reasons: Some(HashSet::from([
                Reason::OriginNotAllowed,
                Reason::ClientClose,
            ])),
            client: Some(Client::Network("203.0.113.0/24".parse().unwrap())),
            id: None,
            minutes: 5,
            is_all: true,
            order: Order::Idle,
            most: 10,
        };
        assert_eq!(read.unwrap(), expected);
        assert_eq!(Query::read("").unwrap(), Query::default());
        let many = format!("reason={}", "*i*g*,".repeat(1500));
        for (wrong, said) in [
            ("minutes=0", "minutes must be a number from 1 to 60"),
            ("minutes=61", "minutes must be"),
            ("limit=1001", "limit must be a number from 1 to 1000"),
            ("limit=-1", "limit must be"),
            ("all=yes", "all must be 0 or 1"),
            ("sort=up", "sort must be newest"),
            ("rout=/ws", "unknown parameter \"rout\""),
            ("rout", "unknown parameter \"rout\""),
            ("reason=upstream_refusd", "reason: no code is like"),
            (many.as_str(), "reason has more than 100"),
        ] {
            assert!(Query::read(wrong).unwrap_err().starts_with(said), "{wrong}");
        }
    }

    #[test]
    fn encodings_are_undone_and_anything_else_stays() {
        for (text, expected) in [
            ("a+b%20c", "a b c"),
            ("%E4%BD%A0", "你"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("%+1", "% 1"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
    }
}
