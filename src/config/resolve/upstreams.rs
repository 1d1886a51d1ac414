//! `upstreams`: names, endpoints and time limits.

mod endpoint;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::http::uri::PathAndQuery;

use super::super::problem::{nearest, quoted, shown};
use super::super::reader::{Cursor, Fields};
use super::super::report::Report;
use super::super::shape;
use super::super::{
    Balance, CertificateFiles, Endpoint, HealthCheck, OnAbort, Upstream, UpstreamTls,
};
use super::listeners::file;
use super::{duration, word};
use endpoint::{ENDPOINT, endpoint, is_host};

/// Far beyond what one process is given descriptors for.
const MOST_TUNNELS: usize = 1_000_000;

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
    known: HashSet<&'t str>,
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
                    "found no route that uses this upstream",
                    "remove it, or name it in a route",
                );
            }
        }
    }
}

/// The upstreams that could be read, and the names of all.
pub fn resolve<'t>(cursor: &Cursor<'t>, folder: &Path, report: &mut Report<'_>) -> Upstreams<'t> {
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
        if let Some(upstream) = upstream(name, cursor, folder, report) {
            upstreams
                .resolved
                .insert((*name).to_owned(), Arc::new(upstream));
        }
    }
    upstreams.known = names.iter().map(|(name, _)| *name).collect();
    upstreams.names = names;
    upstreams
}

fn upstream(
    name: &str,
    cursor: &Cursor<'_>,
    folder: &Path,
    report: &mut Report<'_>,
) -> Option<Upstream> {
    const ON_ABORT: [(&str, OnAbort); 2] = [
        ("close_frame", OnAbort::CloseFrame),
        ("transparent", OnAbort::Transparent),
    ];
    const BALANCE: [(&str, Balance); 3] = [
        ("round_robin", Balance::RoundRobin),
        ("least_connections", Balance::LeastConnections),
        ("client_ip", Balance::ClientIp),
    ];
    let fields = cursor.fields(&shape::UPSTREAM, report)?;
    let mut all_read = fields.get("endpoints").is_some();
    let endpoints = fields.get("endpoints");
    let items = endpoints.and_then(|endpoints| endpoints.some_items(ENDPOINT, report));
    all_read &= items.is_some();
    let mut endpoints = Vec::new();
    for item in items.unwrap_or_default() {
        let Some(spelled) = item.spelled(ENDPOINT, report) else {
            all_read = false;
            continue;
        };
        match endpoint(&spelled.text, folder) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err((message, help)) => {
                all_read = false;
                // A report is passed around: it repeats no password.
                let found = match spelled.text.rsplit_once('@') {
                    Some((_, address)) => format!("found \"…@{}\"", shown(address, 80)),
                    None => spelled.found(),
                };
                item.error_with(report, format!("{found}, {message}"), help);
            }
        }
    }
    let is_tls = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Https { .. });
    if let Some(cursor) = fields.get("tls")
        && all_read
        && !endpoints.iter().any(is_tls)
    {
        cursor.key_error(
            report,
            "found tls, but no endpoint uses it",
            Some("write https:// in endpoints, or remove tls".to_owned()),
        );
    }
    let tls = fields.get("tls");
    let health_check = fields.get("health_check");
    let max_tunnels = fields.get("max_tunnels");
    Some(Upstream {
        name: name.to_owned(),
        endpoints,
        balance: word(&fields, "balance", &BALANCE, Balance::RoundRobin, report),
        max_tunnels: max_tunnels
            .and_then(|cursor| cursor.count_or_off(MOST_TUNNELS, report))
            .flatten(),
        tls: tls
            .and_then(|cursor| upstream_tls(cursor, folder, report))
            .unwrap_or_default(),
        health_check: health_check.and_then(|cursor| self::health_check(cursor, report)),
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

fn upstream_tls(
    cursor: &Cursor<'_>,
    folder: &Path,
    report: &mut Report<'_>,
) -> Option<UpstreamTls> {
    let fields = cursor.fields(&shape::UPSTREAM_TLS, report)?;
    let ca = file(&fields, "ca", report).map(|ca| folder.join(ca));
    let server_name = fields.get("server_name");
    let server_name = server_name.and_then(|cursor| self::server_name(cursor, report));
    let (cert, key) = (file(&fields, "cert", report), file(&fields, "key", report));
    for (here, there) in [("cert", "key"), ("key", "cert")] {
        if let Some(cursor) = fields.get(here)
            && !fields.is_meant(there)
        {
            let message = format!("found {here} without {there}, allowed: both or neither");
            let help = format!("add {there}, the PEM file that belongs to it");
            cursor.key_error(report, message, Some(help));
        }
    }
    let identity = cert.zip(key).map(|(cert, key)| CertificateFiles {
        cert: folder.join(cert),
        key: folder.join(key),
        site: cursor.site.clone(),
        is_development: false,
    });
    Some(UpstreamTls {
        ca,
        server_name,
        identity,
    })
}

fn server_name(cursor: &Cursor<'_>, report: &mut Report<'_>) -> Option<String> {
    const WHAT: &str = "a host name such as app.internal";
    let name = cursor.text(WHAT, report)?;
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        let message = format!("found the address {}, expected {WHAT}", quoted(&name));
        let help = "remove server_name: certificates are checked against the IP address in endpoints, and a client can't ask for an IP address by server name";
        cursor.error_with(report, message, Some(help.to_owned()));
        return None;
    }
    if !is_host(&name) {
        let host = name
            .split_once("://")
            .map_or(name.as_str(), |(_, rest)| rest);
        let host = host.split([':', '/']).next().unwrap_or_default();
        let help = (host != name && is_host(host)).then(|| format!("write {host}"));
        cursor.error_with(
            report,
            format!("found {}, expected {WHAT}", quoted(&name)),
            help,
        );
        return None;
    }
    Some(name.to_ascii_lowercase())
}

fn health_check(cursor: &Cursor<'_>, report: &mut Report<'_>) -> Option<HealthCheck> {
    let fields = cursor.fields_or_off(&shape::HEALTH_CHECK, report)??;
    let interval = duration(&fields, "interval", Duration::from_secs(5), report);
    let timeout = duration(&fields, "timeout", Duration::from_secs(2), report);
    let path = health_path(&fields, report)?;
    Some(HealthCheck {
        path,
        interval,
        timeout,
    })
}

fn health_path(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<String> {
    const WHAT: &str = "a path such as /health";
    let cursor = fields.get("path")?;
    let path = cursor.text(WHAT, report)?;
    let is_path = |path: &str| {
        path.starts_with('/') && !path.contains('#') && path.parse::<PathAndQuery>().is_ok()
    };
    if is_path(&path) {
        return Some(path);
    }
    let rest = path
        .split_once("://")
        .map_or(path.as_str(), |(_, rest)| rest);
    let from_slash = match path.contains("://") {
        true => rest
            .find('/')
            .and_then(|at| rest.get(at..))
            .map(str::to_owned),
        false => Some(format!("/{path}")),
    };
    let help = from_slash
        .filter(|path| is_path(path))
        .map(|path| format!("write {path}"));
    cursor.error_with(
        report,
        format!("found {}, expected {WHAT}", quoted(&path)),
        help,
    );
    None
}
