//! A configuration in use: the settings from the file, and the objects that exist only while the process uses them.
//!
//! A reload makes the next generation. A tunnel keeps the one that admitted it until it ends, so a reload disturbs nothing.
//! Generations share what outlives a configuration: the kept connections, the counts and the health of an upstream.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::policy::{Route, WebSocketRules};
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
    /// The file that it was read from.
    pub file: PathBuf,
    /// What `check` warns of.
    pub warnings: Vec<String>,
}

/// Where the requests of a route go.
#[derive(Debug)]
pub struct Target {
    /// The route's upstream.
    pub upstream: Arc<Group>,
    /// The name of the route.
    route: String,
    tunnels: OnceLock<Arc<tunnel::Settings>>,
}

impl Target {
    /// The settings of the tunnels of its route, which has these `rules`. They are made when the first tunnel opens.
    pub fn tunnels(
        &self,
        rules: &WebSocketRules,
        config: &Config,
        metrics: &Metrics,
    ) -> Arc<tunnel::Settings> {
        let make = || {
            Arc::new(tunnel::Settings {
                idle: rules.idle_timeout,
                max_lifetime: rules.max_lifetime,
                max_message: rules.max_message,
                ping: rules.ping,
                on_abort: self.upstream.settings().on_abort,
                write_stall: config.limits.write_stall,
                close_wait: config.limits.close_wait,
                drain_code: config.shutdown.close_code,
                load_balancer: config.load_balancer.clone(),
                route: metrics.route(&self.route),
            })
        };
        Arc::clone(self.tunnels.get_or_init(make))
    }
}

impl Generation {
    /// A generation with this number. `upstreams` has one entry, by name, for each upstream of `config`.
    #[must_use]
    pub fn new(
        number: u64,
        config: Arc<Config>,
        upstreams: BTreeMap<String, Arc<Group>>,
        certificates: Vec<Certificate>,
        (file, warnings): (PathBuf, Vec<String>),
    ) -> Self {
        let bound = |route: &Route| {
            route.bound(|forward| {
                // Every name is known, because a configuration with an unknown name is rejected.
                Some(Target {
                    upstream: Arc::clone(upstreams.get(&forward.upstream)?),
                    route: route.to_string(),
                    tunnels: OnceLock::new(),
                })
            })
        };
        Self {
            number,
            routes: config.routes.iter().filter_map(bound).collect(),
            config,
            upstreams,
            certificates,
            file,
            warnings,
        }
    }
}
