//! From the tree to a [`Config`]: every value is checked, and values that depend on each other are compared.

mod listeners;
mod routes;
mod services;
mod shutdown;
mod upstreams;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::problem::quoted;
use super::reader::{Cursor, Fields};
use super::report::Report;
use super::shape::{self, Block, ROOT};
use super::yaml::Node;
use super::{CertificateFiles, ClientAddress, Config, Limits, LoadBalancer, Log, LogFormat};
use crate::reason::Level;
pub use listeners::overlap;

/// Far beyond what one process is given descriptors for.
const MOST_CONNECTIONS: usize = 1_000_000;

/// hyper's read buffer is never smaller than 8 KiB.
const HEADER_BYTES: RangeInclusive<usize> = 8 * 1024..=1024 * 1024;

/// The configuration that `root` holds. A value that is wrong is reported and takes its default, so that the rest is
/// still looked at: the result is only worth something if the report has no errors.
pub fn resolve(
    root: &Cursor<'_>,
    folder: &Path,
    certificates: &mut Vec<CertificateFiles>,
    report: &mut Report<'_>,
) -> Option<Config> {
    if *root.node == Node::Null {
        let required = ROOT.keys.iter().filter(|key| key.required);
        let names = required.map(|key| key.name).collect::<Vec<_>>().join(", ");
        root.error(
            report,
            format!("the file is empty, expected the keys {names}"),
        );
        return None;
    }
    let fields = root.fields(&ROOT, report)?;
    let trusted_proxies = fields
        .get("trusted_proxies")
        .map(|proxies| trusted_proxies(proxies, report));
    // What is listed there and can't be read is told once.
    let has_trusted = match fields.get("trusted_proxies") {
        Some(proxies) => !matches!(proxies.node, Node::List(items) if items.is_empty()),
        None => fields.is_meant("trusted_proxies"),
    };
    let listeners = fields
        .get("listeners")
        .map(|listeners| listeners::resolve(listeners, folder, has_trusted, certificates, report));
    let load_balancer = load_balancer(&fields, report);
    let upstreams = fields
        .get("upstreams")
        .map(|upstreams| upstreams::resolve(upstreams, folder, report));
    let mut upstreams = upstreams.unwrap_or_default();
    let routes = fields
        .get("routes")
        .map(|routes| routes::resolve(routes, &mut upstreams, report));
    if routes.is_some() {
        upstreams.warn_of_unused(report);
    }
    let listeners = listeners.unwrap_or_default();
    let unseen = match &trusted_proxies {
        Some(proxies) if !proxies.is_empty() => None,
        _ if load_balancer.is_some() => Some("load_balancer is set"),
        _ if listeners.iter().any(|listener| listener.tls.is_none()) => {
            Some("a listener is without tls")
        }
        _ => None,
    };
    let limits = limits(&fields, unseen, report);
    let services = services::resolve(&fields, &listeners, report);
    Some(Config {
        listeners,
        trusted_proxies: trusted_proxies.unwrap_or_default(),
        load_balancer: load_balancer.map(Arc::new),
        routes: Arc::from(routes.unwrap_or_default()),
        upstreams: upstreams.resolved,
        shutdown: shutdown::resolve(&fields, &limits, report),
        limits,
        log: log(&fields, report),
        probes: services.probes,
        admin: services.admin,
    })
}

/// The fields of the mapping behind `name`, if there is one.
fn block<'t>(
    fields: &Fields<'t>,
    name: &str,
    shape: &'static Block,
    report: &mut Report<'_>,
) -> Option<Fields<'t>> {
    fields.get(name)?.fields(shape, report)
}

fn trusted_proxies(cursor: &Cursor<'_>, report: &mut Report<'_>) -> Vec<IpNet> {
    const WHAT: &str = "a network or address such as 10.0.0.0/8 or 192.0.2.7";
    let mut networks = Vec::new();
    for item in cursor.items(WHAT, report).unwrap_or_default() {
        let Some(text) = item.text(WHAT, report) else {
            continue;
        };
        let network = text.parse::<IpNet>().ok();
        let Some(network) = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)) else {
            item.error(report, format!("found {}, expected {WHAT}", quoted(&text)));
            continue;
        };
        if network.prefix_len() == 0 {
            let message =
                format!("{text} covers every address: any client can claim to be any other");
            item.warning(report, message);
        }
        networks.push(network.trunc());
    }
    networks
}

fn load_balancer(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<LoadBalancer> {
    let fields = block(fields, "load_balancer", &shape::LOAD_BALANCER, report)?;
    let name = fields.get("name");
    let idle_timeout = fields.get("idle_timeout");
    Some(LoadBalancer {
        name: name.and_then(|cursor| cursor.text("a name", report)),
        idle_timeout: idle_timeout.and_then(|cursor| cursor.duration(report)),
    })
}

/// `unseen` is the sign of a hop in front whose clients can't be told apart, if there is one.
fn limits(fields: &Fields<'_>, unseen: Option<&str>, report: &mut Report<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(fields) = block(fields, "limits", &shape::LIMITS, report) else {
        return limits;
    };
    let mut set = |name, limit: &mut Duration| {
        *limit = duration(&fields, name, *limit, report);
    };
    set("tls_handshake", &mut limits.tls_handshake);
    set("request_head", &mut limits.request_head);
    set("keep_alive", &mut limits.keep_alive);
    set("write_stall", &mut limits.write_stall);
    set("close_wait", &mut limits.close_wait);
    if let Some(cursor) = fields.get("connections") {
        limits.connections = cursor
            .count(MOST_CONNECTIONS, report)
            .unwrap_or(limits.connections);
    }
    for (name, limit) in [
        ("connections_per_client", &mut limits.connections_per_client),
        ("handshakes_per_client", &mut limits.handshakes_per_client),
    ] {
        let Some(cursor) = fields.get(name) else {
            continue;
        };
        *limit = cursor.count_or_off(MOST_CONNECTIONS, report).flatten();
        if let (Some(sign), Some(_)) = (unseen, &limit) {
            let message = format!(
                "{sign}, and trusted_proxies is empty: if there is a hop in front, all its clients count as one"
            );
            cursor.key_warning(
                report,
                message,
                "list that hop's addresses in trusted_proxies",
            );
        }
    }
    if let Some(cursor) = fields.get("header_bytes") {
        limits.header_bytes = cursor
            .size(HEADER_BYTES, "8KiB to 1MiB", report)
            .unwrap_or(limits.header_bytes);
    }
    limits
}

fn log(fields: &Fields<'_>, report: &mut Report<'_>) -> Log {
    const FORMATS: [(&str, LogFormat); 3] = [
        ("auto", LogFormat::Auto),
        ("json", LogFormat::Json),
        ("text", LogFormat::Text),
    ];
    const ADDRESSES: [(&str, ClientAddress); 3] = [
        ("full", ClientAddress::Full),
        ("truncated", ClientAddress::Truncated),
        ("off", ClientAddress::Off),
    ];
    let levels = [Level::Debug, Level::Info, Level::Warn, Level::Error];
    let levels = levels.map(|level| (level.name(), level));
    let mut log = Log::default();
    let Some(fields) = block(fields, "log", &shape::LOG, report) else {
        return log;
    };
    log.level = word(&fields, "level", &levels, log.level, report);
    log.format = word(&fields, "format", &FORMATS, log.format, report);
    log.client_address = word(
        &fields,
        "client_address",
        &ADDRESSES,
        log.client_address,
        report,
    );
    if let Some(cursor) = fields.get("query_keep") {
        log.query_keep = texts(cursor, "the name of a query parameter", report);
    }
    log
}

/// The duration behind `name`, or `default`.
fn duration(
    fields: &Fields<'_>,
    name: &str,
    default: Duration,
    report: &mut Report<'_>,
) -> Duration {
    let cursor = fields.get(name);
    cursor
        .and_then(|cursor| cursor.duration(report))
        .unwrap_or(default)
}

/// The word behind `name`, or `default`.
fn word<T: Copy>(
    fields: &Fields<'_>,
    name: &str,
    words: &[(&str, T)],
    default: T,
    report: &mut Report<'_>,
) -> T {
    let cursor = fields.get(name);
    cursor
        .and_then(|cursor| cursor.word(words, report))
        .unwrap_or(default)
}

/// The readable items of a list of texts.
fn texts(cursor: &Cursor<'_>, what: &str, report: &mut Report<'_>) -> Vec<String> {
    let items = cursor.items(what, report).unwrap_or_default();
    let texts = items.iter().filter_map(|item| item.text(what, report));
    texts.collect()
}
