//! `upstreams`: names, endpoints and time limits.

mod endpoint;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::http::uri::PathAndQuery;

pub use endpoint::Endpoint;

use super::super::cursor::Cursor;
use super::super::fields::Fields;
use super::super::key::{Block, Form, Is, Key, Nothing, Required, Section, keys};
use super::super::problem::{Complaint, nearest, quoted, shown};
use super::super::report::Report;
use super::super::value::{Count, File, List, OneOf, OrOff, Text, Timer};
use super::CertificateFiles;
use super::ROOT;
use endpoint::{EndpointText, is_host};

/// One named upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in the file.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// Which endpoint a client gets first; the others follow if connecting fails.
    pub balance: Balance,
    /// Open tunnels to all endpoints together; `None`: no limit.
    pub max_tunnels: Option<usize>,
    /// For endpoints with TLS.
    pub tls: UpstreamTls,
    /// `None`: all endpoints count as healthy.
    pub health_check: Option<HealthCheck>,
    /// Per endpoint: name look-up, TCP connect and TLS handshake.
    pub connect_timeout: Duration,
    /// From the sent request to the head of the final response.
    pub handshake_timeout: Duration,
    /// What the client gets if this upstream ends a tunnel without a Close.
    pub on_abort: OnAbort,
}

/// Which endpoint a client gets first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn.
    RoundRobin,
    /// The one with the fewest open tunnels and requests.
    LeastConnections,
    /// The same one for the same client address.
    ClientIp,
}

/// How endpoints with TLS are verified, and which certificate the proxy presents to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM certificates of the authorities to trust; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The name to ask for and to verify, a host name in lower case; `None`: the endpoint's host.
    pub server_name: Option<String>,
    /// The proxy's own certificate, for upstreams that require one.
    pub identity: Option<CertificateFiles>,
}

/// A GET that is sent to every endpoint at intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path and query in origin form.
    pub path: String,
    /// From one check to the next.
    pub interval: Duration,
    /// From the connection attempt to the head of the answer.
    pub timeout: Duration,
}

/// What a client gets if the upstream ends a tunnel without a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAbort {
    /// A Close frame from the proxy.
    CloseFrame,
    /// The same end, without a Close frame.
    Transparent,
}

keys! {
    pub(super) static UPSTREAM: UpstreamKeys {
        /// Where the server listens; at least one. The default port is 80, or 443 with `https`. `builtin:echo` is an echo
        /// server inside the proxy.
        endpoints: Key<Vec<Endpoint>, Required> = &List::of(EndpointText).not_empty(), Required;
        /// Which endpoint a client gets first.
        balance: Key<Balance> = &OneOf(&[
            ("round_robin", Balance::RoundRobin),
            ("least_connections", Balance::LeastConnections),
            ("client_ip", Balance::ClientIp),
        ]), Is(|| Balance::RoundRobin);
        /// The most open tunnels to all endpoints together, from 1 to 1000000.
        // Far more than one process gets descriptors for.
        max_tunnels: Key<Option<usize>> = &OrOff(Count(1_000_000)), Is(|| None);
        /// For `https://` endpoints; their certificates are always verified.
        tls: Section = Form::Mapping, TlsKeys::BLOCK;
        /// A GET that is sent to every endpoint at intervals; endpoints that fail it are not dialled.
        health_check: Section = Form::MappingOrOff, HealthCheckKeys::BLOCK;
        /// The time for the name look-up, the TCP connection and the TLS handshake, per endpoint; the addresses of a name
        /// share it.
        connect_timeout: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(2));
        /// The time from sending the request to the head of the answer.
        handshake_timeout: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(10));
        /// What the client gets if the upstream ends without a Close: a Close from the proxy, or the same end without a
        /// Close.
        on_abort: Key<OnAbort> =
            &OneOf(&[("close_frame", OnAbort::CloseFrame), ("transparent", OnAbort::Transparent)]),
            Is(|| OnAbort::CloseFrame);
    } with Block {
        foreign: &[
            (
                "address addresses host hosts listen port uri",
                "servers are written in endpoints with host and port, such as http://127.0.0.1:3000",
            ),
            (
                "ca cert key server_name sni",
                "the keys for TLS toward an upstream are in upstreams.*.tls: ca, cert, key and server_name",
            ),
            ("timeout", "the keys for times are connect_timeout and handshake_timeout"),
        ],
        ..Block::EMPTY
    }
}

keys! {
    static TLS: TlsKeys {
        /// PEM file with the authorities to trust; without it the system's authorities are trusted.
        ca: Key<PathBuf, Nothing> = &File, Nothing("none");
        /// The name to ask for, which the upstream's certificate must cover; without it the endpoint's host.
        server_name: Key<String, Nothing> = &Text::parsed("host name", NAME, server_name), Nothing("none");
        /// PEM chain of the proxy's own certificate, for upstreams that require one; needs `key`.
        cert: Key<PathBuf, Nothing> = &File, Nothing("none");
        /// PEM file with the private key of `cert`.
        key: Key<PathBuf, Nothing> = &File, Nothing("none");
    } with Block {
        foreign: &[(
            "verify insecure insecure_skip_verify skip_verify ssl_verify reject_unauthorized",
            "certificates are always verified: name the authority that issued it, or a self-signed certificate itself, \
             in ca",
        )],
        ..Block::EMPTY
    }
}

keys! {
    static HEALTH_CHECK: HealthCheckKeys {
        /// The path of the GET, with its query; a status in the 200s is a good answer.
        path: Key<String, Required> = &Text::parsed("path", PATH, health_path), Required;
        /// The time from one check of an endpoint to the next.
        interval: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(5));
        /// The time from the connection attempt to the head of the answer.
        timeout: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(2));
    }
}

const NAME: &str = "a host name such as app.internal";

const PATH: &str = "a path such as /health";

/// How many names a report lists, and how many are compared with a wrong one.
const MOST_NAMES: usize = 20;
const MOST_COMPARED: usize = 200;

/// The upstreams, and what routes need to know about them.
#[derive(Default)]
pub(super) struct Upstreams<'t> {
    /// Those that could be read.
    pub read: BTreeMap<String, Arc<Upstream>>,
    /// All names in the file.
    names: Vec<(&'t str, Cursor<'t>)>,
    known: HashSet<&'t str>,
    used: BTreeSet<String>,
    /// Whether some route's upstream could not be read.
    is_use_unclear: bool,
}

impl Upstreams<'_> {
    /// Reports the text at `cursor`, a route's `upstream`, if it names none of them.
    pub fn claim(&mut self, cursor: &Cursor<'_>, name: &str, report: &mut Report<'_>) {
        // If there are no names, the mapping itself was reported.
        if self.names.is_empty() {
            return;
        }
        if self.known.contains(name) {
            self.used.insert(name.to_owned());
            return;
        }
        let names = || self.names.iter().map(|(name, _)| *name);
        let allowed = names().take(MOST_NAMES).map(|name| shown(name, 80));
        let allowed = allowed.collect::<Vec<_>>();
        let more = if names().nth(MOST_NAMES).is_some() {
            ", …"
        } else {
            ""
        };
        let near = nearest(name, names().take(MOST_COMPARED));
        // The upstream with the name that was meant is not unused.
        self.used.extend(near.map(str::to_owned));
        self.is_use_unclear |= near.is_none();
        let help = near.map(|near| format!("did you mean {}?", quoted(near)));
        let message = format!(
            "found {}, which is not in upstreams; allowed: {}{more}",
            quoted(name),
            allowed.join(", ")
        );
        cursor.error(report, Complaint::new(message).maybe(help));
    }

    /// Notes that a route could not be read: it may lead to any upstream.
    pub fn claim_unclear(&mut self) {
        self.is_use_unclear = true;
    }

    /// Warns about upstreams that no route uses.
    pub fn warn_of_unused(&self, report: &mut Report<'_>) {
        if self.is_use_unclear {
            return;
        }
        for (name, cursor) in &self.names {
            if !self.used.contains(*name) {
                let complaint = Complaint::new("found no route that uses this upstream");
                cursor.key_warning(report, complaint.help("remove it, or name it in a route"));
            }
        }
    }
}

/// The upstreams that could be read, and the names of all; `top` are the fields of the file.
pub(super) fn read<'t>(top: &Fields<'t>, report: &mut Report<'_>) -> Upstreams<'t> {
    let mut upstreams = Upstreams::default();
    let Some(cursor) = top.get(&ROOT.upstreams) else {
        return upstreams;
    };
    let Some(names) = cursor.named(report) else {
        return upstreams;
    };
    if names.is_empty() {
        let message = "found an empty mapping, expected at least one upstream";
        cursor.error(report, message);
    }
    for (name, cursor) in &names {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(is_plain) {
            let name = quoted(name);
            let message = format!("found the name {name}, allowed: letters, digits, -, _ and .");
            cursor.key_error(report, message);
        }
        if let Some(upstream) = upstream(name, cursor, report) {
            upstreams
                .read
                .insert((*name).to_owned(), Arc::new(upstream));
        }
    }
    upstreams.known = names.iter().map(|(name, _)| *name).collect();
    upstreams.names = names;
    upstreams
}

fn upstream(name: &str, cursor: &Cursor<'_>, report: &mut Report<'_>) -> Option<Upstream> {
    let fields = cursor.fields(UpstreamKeys::BLOCK, report)?;
    let endpoints = fields.read(&UPSTREAM.endpoints, report).unwrap_or_default();
    let count = fields
        .get(&UPSTREAM.endpoints)
        .map_or(0, Cursor::item_count);
    let are_all_read = count > 0 && endpoints.len() == count;
    if let Some(cursor) = fields.get(&UPSTREAM.tls)
        && are_all_read
        && !endpoints.iter().any(Endpoint::is_tls)
    {
        let message = "found tls, but no endpoint uses it";
        let help = "write https:// in endpoints, or remove tls";
        cursor.key_error(report, Complaint::new(message).help(help));
    }
    Some(Upstream {
        name: name.to_owned(),
        endpoints,
        balance: fields.read(&UPSTREAM.balance, report),
        max_tunnels: fields.read(&UPSTREAM.max_tunnels, report),
        tls: tls(&fields, report).unwrap_or_default(),
        health_check: health_check(&fields, report),
        connect_timeout: fields.read(&UPSTREAM.connect_timeout, report),
        handshake_timeout: fields.read(&UPSTREAM.handshake_timeout, report),
        on_abort: fields.read(&UPSTREAM.on_abort, report),
    })
}

fn tls(upstream: &Fields<'_>, report: &mut Report<'_>) -> Option<UpstreamTls> {
    let fields = upstream.open(&UPSTREAM.tls, report)?;
    let (cert, key) = (
        fields.read(&TLS.cert, report),
        fields.read(&TLS.key, report),
    );
    for (here, there) in [(&TLS.cert, &TLS.key), (&TLS.key, &TLS.cert)] {
        if let Some(cursor) = fields.get(here)
            && !fields.is_meant(there)
        {
            let (here, there) = (here.name, there.name);
            let message = format!("found {here} without {there}, allowed: both or neither");
            let help = format!("add {there}, the PEM file that belongs to it");
            cursor.key_error(report, Complaint::new(message).help(help));
        }
    }
    let site = &upstream.get(&UPSTREAM.tls)?.site;
    Some(UpstreamTls {
        ca: fields.read(&TLS.ca, report),
        server_name: fields.read(&TLS.server_name, report),
        identity: cert.zip(key).map(|(cert, key)| CertificateFiles {
            cert,
            key,
            site: site.clone(),
            is_development: false,
        }),
    })
}

fn server_name(name: &str) -> Result<String, Complaint> {
    if is_host(name) && name.parse::<IpAddr>().is_err() {
        return Ok(name.to_ascii_lowercase());
    }
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        let wrong = Complaint::new(format!(
            "found the address {}, expected {NAME}",
            quoted(name)
        ));
        return Err(wrong.help(
            "remove server_name: certificates are checked against the IP address in endpoints, and a client can't ask \
             for an IP address by server name",
        ));
    }
    let host = name.split_once("://").map_or(name, |(_, rest)| rest);
    let host = host.split([':', '/']).next().unwrap_or_default();
    let help = (host != name && is_host(host)).then(|| format!("write {host}"));
    Err(Complaint::new(format!("found {}, expected {NAME}", quoted(name))).maybe(help))
}

fn health_check(upstream: &Fields<'_>, report: &mut Report<'_>) -> Option<HealthCheck> {
    let fields = upstream.open(&UPSTREAM.health_check, report)?;
    let interval = fields.read(&HEALTH_CHECK.interval, report);
    let timeout = fields.read(&HEALTH_CHECK.timeout, report);
    Some(HealthCheck {
        path: fields.read(&HEALTH_CHECK.path, report)?,
        interval,
        timeout,
    })
}

fn health_path(path: &str) -> Result<String, Complaint> {
    let is_path = |path: &str| {
        path.starts_with('/') && !path.contains('#') && path.parse::<PathAndQuery>().is_ok()
    };
    if is_path(path) {
        return Ok(path.to_owned());
    }
    let meant = match path.split_once("://") {
        Some((_, rest)) => rest
            .find('/')
            .and_then(|at| rest.get(at..))
            .map(str::to_owned),
        None => Some(format!("/{path}")),
    };
    let meant = meant.filter(|path| is_path(path));
    let help = meant.map(|path| format!("write {path}"));
    Err(Complaint::new(format!("found {}, expected {PATH}", quoted(path))).maybe(help))
}
