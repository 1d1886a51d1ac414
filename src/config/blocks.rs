//! The blocks of `proxy.yaml`. The file of a block has its keys, the settings that they fill, and the checks whether
//! its keys fit together. The settings of routes are in `policy/rules.rs`.
//!
//! To add a key: add a field to the settings, describe the key in `keys!`, and read the key into the field.

mod limits;
mod listeners;
mod log;
mod routes;
mod services;
mod shutdown;
mod upstreams;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use limits::Limits;
pub use listeners::{
    Alpn, CertificateFiles, ClientAuth, ClientAuthMode, Http2, Listener, Tls, TlsVersion,
    UnknownSni,
};
pub use log::{ClientAddress, Log, LogFormat};
pub use services::Admin;
pub use shutdown::Shutdown;
pub use upstreams::{Balance, Endpoint, HealthCheck, OnAbort, Upstream, UpstreamTls};

use super::cursor::Cursor;
use super::fields::Fields;
use super::key::{Form, Is, Key, Nothing, Section, keys};
use super::problem::{Complaint, quoted};
use super::report::Report;
use super::value::{List, Text, Timer};
use super::yaml::Node;
use crate::policy::Route;
use limits::LimitsKeys;
use listeners::ListenerKeys;
use log::LogKeys;
use routes::RouteKeys;
use services::{AdminKeys, ProbesKeys};
use shutdown::ShutdownKeys;
use upstreams::UpstreamKeys;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Peers whose forwarded fields and PROXY protocol headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What is known about the hop in front, if there is one.
    pub load_balancer: Option<Arc<LoadBalancer>>,
    /// In the file's order; the first match is used.
    pub routes: Arc<[Route]>,
    /// By name; every name that a route uses is here.
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// Limits on what peers may use.
    pub limits: Limits,
    /// How the process stops.
    pub shutdown: Shutdown,
    /// Which records are written, and how.
    pub log: Log,
    /// Where health checks are answered.
    pub probes: Option<SocketAddr>,
    /// The listener for the operator.
    pub admin: Option<Admin>,
}

/// What the operator knows about the hop in front of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// Its name in records and hints.
    pub name: Option<String>,
    /// How long a connection may be silent before the hop closes it.
    pub idle_timeout: Option<Duration>,
}

// The whole file.
keys! {
    pub static ROOT: RootKeys {
        /// Addresses to accept connections on; at least one.
        listeners: Section = Form::List, ListenerKeys::BLOCK;
        /// Peers in front of the proxy whose forwarded fields (`X-Forwarded-*`, `Forwarded`) and PROXY protocol headers are
        /// believed.
        trusted_proxies: Key<Vec<IpNet>> = &NETWORKS, Is(Vec::new);
        /// Which requests are admitted and where they go; at least one. The first route that matches is used.
        routes: Section = Form::List, RouteKeys::BLOCK;
        /// The servers by name; a name may have letters, digits, `-`, `_` and `.`.
        upstreams: Section = Form::Named, UpstreamKeys::BLOCK;
        /// What you know about the hop in front of the proxy. The proxy uses it only for warnings and for hints in records.
        load_balancer: Section = Form::OptionalMapping, LoadBalancerKeys::BLOCK;
        /// Limits on what peers may use.
        limits: Section = Form::Mapping, LimitsKeys::BLOCK;
        /// How the process stops.
        shutdown: Section = Form::Mapping, ShutdownKeys::BLOCK;
        /// Which records are written, and how.
        log: Section = Form::Mapping, LogKeys::BLOCK;
        /// A listener for health checks and metrics. It answers /healthz, /readyz and /metrics.
        probes: Section = Form::OptionalMapping, ProbesKeys::BLOCK;
        /// A listener for the operator. It shows a page and /status.json, accepts POST /drain, and answers everything that `probes` answers.
        admin: Section = Form::OptionalMapping, AdminKeys::BLOCK;
    }
}

keys! {
    static LOAD_BALANCER: LoadBalancerKeys {
        /// Its name in records and hints.
        name: Key<String, Nothing> = &Text::any("text", "a name"), Nothing("none");
        /// After how much silence the hop closes a connection.
        idle_timeout: Key<Duration, Nothing> = &Timer::Positive, Nothing("none");
    }
}

static NETWORKS: List<Text<IpNet>> = List::of(Text::parsed("network or address", NETWORK, network));

const NETWORK: &str = "a network or address such as 10.0.0.0/8 or 192.0.2.7";

/// Reads the configuration at `root`. A wrong value is reported and replaced by its default, so that the rest is also
/// checked. The result may be used only if the report has no errors. Every certificate that could be read is added to
/// `certificates`.
pub fn read(
    root: &Cursor<'_>,
    certificates: &mut Vec<CertificateFiles>,
    report: &mut Report<'_>,
) -> Option<Config> {
    if *root.node == Node::Null {
        let names = Vec::from_iter(RootKeys::BLOCK.required()).join(", ");
        let message = format!("the file is empty, expected the keys {names}");
        root.error(report, message);
        return None;
    }
    let fields = root.fields(RootKeys::BLOCK, report)?;
    let trusted_proxies = trusted_proxies(&fields, report);
    // A wrong list is reported elsewhere. It counts as not empty, because some proxies were meant to be trusted.
    let has_trusted = match fields.get(&ROOT.trusted_proxies) {
        Some(proxies) => !matches!(proxies.node, Node::List(items) if items.is_empty()),
        None => fields.is_meant(&ROOT.trusted_proxies),
    };
    let listeners = listeners::read(&fields, has_trusted, certificates, report);
    let load_balancer = load_balancer(&fields, report);
    let mut upstreams = upstreams::read(&fields, report);
    let routes = routes::read(&fields, &mut upstreams, report);
    if routes.is_some() {
        upstreams.warn_of_unused(report);
    }
    let undistinguished = if !trusted_proxies.is_empty() {
        None
    } else if load_balancer.is_some() {
        Some("load_balancer is set")
    } else if listeners.iter().any(|listener| listener.tls.is_none()) {
        Some("a listener is without tls")
    } else {
        None
    };
    let limits = limits::read(&fields, undistinguished, report);
    let services = services::read(&fields, &listeners, report);
    Some(Config {
        listeners,
        trusted_proxies,
        load_balancer: load_balancer.map(Arc::new),
        routes: Arc::from(routes.unwrap_or_default()),
        upstreams: upstreams.read,
        shutdown: shutdown::read(&fields, &limits, report),
        limits,
        log: log::read(&fields, report),
        probes: services.probes,
        admin: services.admin,
    })
}

fn trusted_proxies(fields: &Fields<'_>, report: &mut Report<'_>) -> Vec<IpNet> {
    let Some(cursor) = fields.get(&ROOT.trusted_proxies) else {
        return ROOT.trusted_proxies.default();
    };
    let networks = NETWORKS.items(cursor, report).unwrap_or_default();
    for (item, network) in &networks {
        if network.prefix_len() == 0 {
            let message =
                format!("{network} covers every address: any client can claim to be any other");
            item.warning(report, message);
        }
    }
    networks
        .into_iter()
        .map(|(_, network)| network.trunc())
        .collect()
}

fn network(text: &str) -> Result<IpNet, Complaint> {
    let network = text.parse::<IpNet>();
    let network = network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| Complaint::new(format!("found {}, expected {NETWORK}", quoted(text))))
}

fn load_balancer(fields: &Fields<'_>, report: &mut Report<'_>) -> Option<LoadBalancer> {
    let fields = fields.open(&ROOT.load_balancer, report)?;
    Some(LoadBalancer {
        name: fields.read(&LOAD_BALANCER.name, report),
        idle_timeout: fields.read(&LOAD_BALANCER.idle_timeout, report),
    })
}
