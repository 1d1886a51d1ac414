//! What a plan must know about upstreams in addition to their configuration: their TLS files, and that they are not
//! this proxy.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Config, Endpoint, Problem, Severity, Source, Upstream, UpstreamTls};
use crate::tls::{self, Finding};
use crate::upstream::{Group, Names};

/// The TLS settings of all upstreams with a TLS endpoint, by name.
pub(super) type Clients = BTreeMap<String, tls::Client>;

/// The result of reading an upstream's TLS settings.
pub(super) struct Loaded<'a> {
    pub upstream: &'a Upstream,
    /// The settings, unless one of the problems is an error.
    pub client: Option<tls::Client>,
    pub problems: Vec<Problem>,
}

/// Reads the TLS files of all upstreams that need them, by the upstream's name. The system's authorities are read at
/// most once.
pub(super) fn clients<'a>(config: &'a Config, source: &Source) -> Vec<(&'a String, Loaded<'a>)> {
    let system = OnceCell::new();
    let mut clients = Vec::new();
    for (name, upstream) in &config.upstreams {
        let Some(first) = upstream.endpoints.iter().position(Endpoint::is_tls) else {
            continue;
        };
        let roots = || Arc::clone(system.get_or_init(|| Arc::new(tls::SystemRoots::load())));
        let (client, findings) = tls::Client::load(&upstream.tls, roots);
        let problem = |finding: Finding| {
            // Without a file, the endpoint needs what is missing.
            let site = match finding.field {
                "ca" if upstream.tls.ca.is_none() => format!("upstreams.{name}.endpoints[{first}]"),
                field => format!("upstreams.{name}.tls.{field}"),
            };
            source.problem(finding.severity, &site, finding.message)
        };
        let loaded = Loaded {
            upstream,
            client,
            problems: findings.into_iter().map(problem).collect(),
        };
        clients.push((name, loaded));
    }
    clients
}

/// The files that an upstream's TLS settings name.
pub(super) fn files(settings: &UpstreamTls) -> Vec<PathBuf> {
    let own = settings.identity.iter();
    let own = own.flat_map(|files| [&files.cert, &files.key]);
    settings.ca.iter().chain(own).cloned().collect()
}

/// The upstreams for connections, by name. Unchanged ones are those of `before`; others keep what stays of them.
pub(super) fn groups(
    config: &Config,
    clients: &Clients,
    before: &BTreeMap<String, Arc<Group>>,
    names: &Names,
) -> BTreeMap<String, Arc<Group>> {
    let stall = config.limits.write_stall;
    let group = |(name, upstream): (&String, &Arc<Upstream>)| {
        let client = clients.get(name);
        let group = match before.get(name) {
            Some(group) if group.is_made_of(upstream, client, stall) => Arc::clone(group),
            Some(group) => group.succeeded(Arc::clone(upstream), client.cloned(), stall),
            None => Group::new(Arc::clone(upstream), client.cloned(), stall, names.clone()),
        };
        (name.clone(), group)
    };
    config.upstreams.iter().map(group).collect()
}

/// Reports endpoints that are a listener of this proxy: each request would come back until nothing is left, or reach
/// what only the operator may use.
pub(super) fn own_endpoints(config: &Config, source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    let listeners = config.listeners.iter().enumerate();
    let mut own: Vec<_> = listeners
        .map(|(index, listener)| (format!("listeners[{index}]"), listener.address))
        .collect();
    own.extend(config.probes.map(|address| ("probes".to_owned(), address)));
    let admin = config.admin.as_ref().and_then(|admin| admin.address);
    own.extend(admin.map(|address| ("admin".to_owned(), address)));
    for upstream in config.upstreams.values() {
        for (index, endpoint) in upstream.endpoints.iter().enumerate() {
            let Some((host, port)) = endpoint.address() else {
                continue;
            };
            let is_own = |address: &SocketAddr| {
                let ip = address.ip().to_canonical();
                // The address may also be mapped to IPv6, and the name may end with a dot.
                let host = host.strip_suffix('.').unwrap_or(host);
                let is_loopback_name = ["localhost", "ip6-localhost", "ip6-loopback"]
                    .iter()
                    .any(|name| host.eq_ignore_ascii_case(name));
                let reaches = match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
                    Ok(dialled) if ip.is_unspecified() => {
                        dialled.is_ipv4() == ip.is_ipv4()
                            && (dialled.is_loopback() || dialled.is_unspecified())
                    }
                    Ok(dialled) => dialled == ip || (dialled.is_unspecified() && ip.is_loopback()),
                    Err(_) => is_loopback_name && (ip.is_loopback() || ip.is_unspecified()),
                };
                port == address.port() && reaches
            };
            if let Some((name, _)) = own.iter().find(|(_, address)| is_own(address)) {
                let site = format!("upstreams.{}.endpoints[{index}]", upstream.name);
                let message = format!(
                    "found \"{endpoint}\", which is {name} of this proxy itself; write the backend's own address"
                );
                problems.push(source.problem(Severity::Error, &site, message));
            }
        }
    }
    problems
}

/// Reports endpoints that need a feature which this build does not have.
pub(super) fn left_out_endpoints(config: &Config, source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    if cfg!(feature = "echo") {
        return problems;
    }
    for upstream in config.upstreams.values() {
        for (index, endpoint) in upstream.endpoints.iter().enumerate() {
            if *endpoint == Endpoint::Echo {
                let site = format!("upstreams.{}.endpoints[{index}]", upstream.name);
                let message = format!(
                    "found \"{endpoint}\", which this build leaves out; write the address of a backend, or build wsgate with the \
                     feature `echo`"
                );
                problems.push(source.problem(Severity::Error, &site, message));
            }
        }
    }
    problems
}
