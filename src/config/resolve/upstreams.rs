//! `upstreams`: names, endpoints and time limits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::super::problem::{nearest, quoted, shown};
use super::super::reader::{Cursor, Report};
use super::super::shape;
use super::super::{Endpoint, OnAbort, Upstream};
use super::{duration, word};

const ENDPOINT: &str = "http://host:port or builtin:echo";

/// Names that a report lists, and names that are compared with a wrong one.
const MOST_NAMES: usize = 20;
const MOST_COMPARED: usize = 200;

/// The upstreams, and what routes need to know of them.
#[derive(Default)]
pub struct Upstreams<'t> {
    /// Those that could be read.
    pub resolved: BTreeMap<String, Arc<Upstream>>,
    /// Every name of the file.
    names: Vec<(&'t str, Cursor<'t>)>,
    used: BTreeSet<String>,
    /// Whether some route's upstream could not be read.
    is_use_unclear: bool,
}

impl Upstreams<'_> {
    /// Reports the text at `cursor`, a route's `upstream`, if it names none of them.
    pub fn claim(&mut self, cursor: &Cursor<'_>, name: &str, report: &mut Report<'_>) {
        // Without any name, what is wrong with the mapping is already told.
        if self.names.is_empty() {
            return;
        }
        let names = || self.names.iter().map(|(name, _)| *name);
        if names().any(|known| known == name) {
            self.used.insert(name.to_owned());
            return;
        }
        let allowed = names().take(MOST_NAMES).map(|name| shown(name, 80));
        let allowed = allowed.collect::<Vec<_>>();
        let more = if names().nth(MOST_NAMES).is_some() {
            ", …"
        } else {
            ""
        };
        let near = nearest(name, names().take(MOST_COMPARED));
        // A misspelt name is meant: the upstream is not also unused.
        self.used.extend(near.map(str::to_owned));
        self.is_use_unclear |= near.is_none();
        let help = near.map(|near| format!("did you mean {}?", quoted(near)));
        let message = format!(
            "found {}, which is not in upstreams; allowed: {}{more}",
            quoted(name),
            allowed.join(", ")
        );
        cursor.error_with(report, message, help);
    }

    /// A route could not be read: it may lead to any upstream.
    pub fn claim_unclear(&mut self) {
        self.is_use_unclear = true;
    }

    /// Warns of upstreams that nothing leads to.
    pub fn warn_of_unused(&self, report: &mut Report<'_>) {
        if self.is_use_unclear {
            return;
        }
        for (name, cursor) in &self.names {
            if !self.used.contains(*name) {
                cursor.key_warning(
                    report,
                    "found no route with this upstream",
                    "remove it, or name it in a route",
                );
            }
        }
    }
}

/// The upstreams that could be read, and the names of all.
pub fn resolve<'t>(cursor: &Cursor<'t>, report: &mut Report<'_>) -> Upstreams<'t> {
    let mut upstreams = Upstreams::default();
    let Some(names) = cursor.named(report) else {
        return upstreams;
    };
    if names.is_empty() {
        cursor.error(
            report,
            "found an empty mapping, expected at least one upstream",
        );
    }
    for (name, cursor) in &names {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(is_plain) {
            let message = format!(
                "found the name {}, allowed: letters, digits, -, _ and .",
                quoted(name)
            );
            cursor.key_error(report, message, None);
        }
        if let Some(upstream) = upstream(name, cursor, report) {
            upstreams
                .resolved
                .insert((*name).to_owned(), Arc::new(upstream));
        }
    }
    upstreams.names = names;
    upstreams
}

fn upstream(name: &str, cursor: &Cursor<'_>, report: &mut Report<'_>) -> Option<Upstream> {
    const ON_ABORT: [(&str, OnAbort); 2] = [
        ("close_frame", OnAbort::CloseFrame),
        ("transparent", OnAbort::Transparent),
    ];
    let fields = cursor.fields(&shape::UPSTREAM, report)?;
    let endpoints = fields.get("endpoints");
    let items = endpoints.and_then(|endpoints| endpoints.some_items(ENDPOINT, report));
    let mut endpoints = Vec::new();
    for item in items.unwrap_or_default() {
        let Some(spelled) = item.spelled(ENDPOINT, report) else {
            continue;
        };
        match endpoint(&spelled.text) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err((message, help)) => {
                // A report is passed around: it repeats no password.
                let found = match spelled.text.rsplit_once('@') {
                    Some((_, address)) => format!("found \"…@{}\"", shown(address, 80)),
                    None => spelled.found(),
                };
                item.error_with(report, format!("{found}, {message}"), help);
            }
        }
    }
    Some(Upstream {
        name: name.to_owned(),
        endpoints,
        connect_timeout: duration(&fields, "connect_timeout", Duration::from_secs(2), report),
        handshake_timeout: duration(
            &fields,
            "handshake_timeout",
            Duration::from_secs(10),
            report,
        ),
        on_abort: word(&fields, "on_abort", &ON_ABORT, OnAbort::CloseFrame, report),
    })
}

/// What is wrong with an endpoint, after "found …, ", and what to write instead.
type Wrong = (String, Option<String>);

fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    if text == "builtin:echo" {
        return Ok(Endpoint::Echo);
    }
    if text.starts_with("builtin:") {
        let help = Some("did you mean \"builtin:echo\"?".to_owned());
        return Err((format!("expected {ENDPOINT}"), help));
    }
    if text.starts_with("unix:") {
        return Err((
            format!("where unix: is not supported by this version; expected {ENDPOINT}"),
            None,
        ));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let help = if text.parse::<u16>().is_ok() {
            Some(format!("write http://127.0.0.1:{text}"))
        } else {
            authority(text)
                .is_ok()
                .then(|| format!("write http://{text}"))
        };
        return Err((format!("expected {ENDPOINT}"), help));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {}
        "https" | "wss" => {
            let message =
                format!("where {scheme}:// is not supported by this version; expected {ENDPOINT}");
            return Err((message, None));
        }
        "ws" => {
            let help = authority(rest)
                .is_ok()
                .then(|| format!("write http://{rest}"));
            return Err((format!("expected {ENDPOINT}"), help));
        }
        _ => return Err((format!("expected {ENDPOINT}"), None)),
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (address, path) = rest.split_at(end);
    if let Some((_, address)) = address.rsplit_once('@') {
        let message = "expected no user name or password".to_owned();
        return Err((message, Some(format!("write http://{address}"))));
    }
    if !matches!(path, "" | "/") {
        let message = "expected no path or query: the client's own are sent on".to_owned();
        return Err((message, Some(format!("write http://{address}"))));
    }
    let (host, port) = authority(address)?;
    Ok(Endpoint::Http { host, port })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn authority(text: &str) -> Result<(String, u16), Wrong> {
    let wrong = |message: &str| Err((message.to_owned(), None));
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return wrong("expected a ] after the IPv6 address");
        };
        let Ok(address) = address.parse::<Ipv6Addr>() else {
            return wrong("expected an IPv6 address in the brackets");
        };
        (address.to_string(), port)
    } else if text.matches(':').count() > 1 {
        let is_address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
        let help = match text.rsplit_once(':') {
            // It is an address as a whole, too, but hardly meant as one.
            Some((address, port)) if is_address(address) && port.parse::<u16>().is_ok() => {
                Some(format!("write http://[{address}]:{port}"))
            }
            _ => is_address(text).then(|| format!("write http://[{text}]:80")),
        };
        return Err(("expected an IPv6 address in brackets".to_owned(), help));
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        if !is_host(host) {
            return wrong("expected a host name or address before the port");
        }
        (host.to_ascii_lowercase(), port)
    };
    if port.is_empty() {
        return Ok((host, 80));
    }
    let digits = port.strip_prefix(':').unwrap_or_default();
    let is_plain = digits.bytes().all(|b| b.is_ascii_digit());
    match digits.parse::<u16>() {
        Ok(port) if port != 0 && is_plain => Ok((host, port)),
        _ => wrong("expected a port from 1 to 65535"),
    }
}

/// A name that DNS can carry, underscores as container networks use them included, or an IPv4 address.
fn is_host(host: &str) -> bool {
    let bare = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last = bare.rsplit('.').next().unwrap_or_default();
    // `127.0.0.1.5` and `300.1.1.1` are neither names nor addresses.
    let is_numeric = last.bytes().all(|b| b.is_ascii_digit());
    bare.len() <= 253
        && bare.split('.').all(is_label)
        && (!is_numeric || host.parse::<Ipv4Addr>().is_ok())
}
