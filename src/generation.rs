//! A configuration in use: the resolved file, and what lives only while the process serves with it.
//!
//! A reload makes the next generation. A tunnel keeps the one that admitted it until it ends, so a reload disturbs nothing.
//! Generations share what outlives a configuration: an upstream's kept connections, its counts, its health.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Config, OnAbort};
use crate::metrics::Metrics;
use crate::policy::{Forward, Route};
use crate::tls::Certificate;
use crate::tunnel;
use crate::upstream::Group;

/// A configuration in use.
#[derive(Debug)]
pub struct Generation {
    /// The number of this configuration in the process, from 1. A renewed certificate does not change it.
    pub number: u64,
    /// What the file says.
    pub config: Arc<Config>,
    /// Its routes, with what each needs at run time.
    pub routes: Vec<Route<Target>>,
    /// Its upstreams, by name.
    pub upstreams: BTreeMap<String, Arc<Group>>,
    /// The certificates that its TLS listeners serve, each file once.
    pub certificates: Vec<Certificate>,
}

/// Where the requests of a route go.
#[derive(Debug)]
pub struct Target {
    /// The route's upstream.
    pub upstream: Arc<Group>,
    /// For the tunnels that its handshakes open.
    pub tunnels: Arc<tunnel::Settings>,
}

impl Generation {
    /// The configuration `number` with its upstreams, by name: one for each upstream of `config`.
    #[must_use]
    pub fn new(
        number: u64,
        config: Arc<Config>,
        upstreams: BTreeMap<String, Arc<Group>>,
        certificates: Vec<Certificate>,
        metrics: &Metrics,
    ) -> Self {
        let bound = |route: &Route| {
            route.bound(|forward| {
                // Every name is known: any other configuration does not load.
                let upstream = Arc::clone(upstreams.get(&forward.upstream)?);
                let settings = upstream.settings();
                let tunnels = tunnels(route, forward, &config, settings.on_abort, metrics);
                Some(Target {
                    upstream,
                    tunnels: Arc::new(tunnels),
                })
            })
        };
        Self {
            number,
            routes: config.routes.iter().filter_map(bound).collect(),
            config,
            upstreams,
            certificates,
        }
    }
}

/// What the configuration says about the tunnels of a route; without `websocket` it has none.
fn tunnels(
    route: &Route,
    forward: &Forward,
    config: &Config,
    on_abort: OnAbort,
    metrics: &Metrics,
) -> tunnel::Settings {
    let rules = forward.websocket.as_ref();
    tunnel::Settings {
        idle: rules.and_then(|rules| rules.idle_timeout),
        max_lifetime: rules.and_then(|rules| rules.max_lifetime),
        max_message: rules.and_then(|rules| rules.max_message),
        ping: rules.and_then(|rules| rules.ping),
        on_abort,
        write_stall: config.limits.write_stall,
        close_wait: config.limits.close_wait,
        drain_code: config.shutdown.close_code,
        load_balancer: config.load_balancer.clone(),
        route: metrics.route(&route.to_string()),
    }
}
