//! One configuration as the process serves with it: what was resolved, and what lives only while it is in use.
//!
//! A reload makes the next one. Connections keep the one that admitted them until they end, so that nothing under way is
//! touched. What both have in common (an upstream's kept connections, its counts, its health) is shared.

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
    /// Counts the configurations that this process has served with, from 1. A renewed certificate makes no new number.
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
                // A configuration in which the name is unknown does not load.
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
