//! The counters of each route.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::text::{MetricType, Text};

/// The classes of status codes, and `none` for a request that got no answer.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// The class of a status.
fn status_class(status: Option<u16>) -> usize {
    match status {
        Some(status @ 100..600) => usize::from(status / 100 - 1),
        _ => CLASSES.len() - 1,
    }
}

/// What passed through tunnels: first toward the upstream, then toward the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of the peers, without the proxy's own frames.
    pub bytes: [u64; 2],
    /// Complete data messages.
    pub messages: [u64; 2],
}

const DIRECTIONS: [&str; 2] = ["client_to_upstream", "upstream_to_client"];

/// The counters of one route.
#[derive(Debug, Default)]
pub struct Route {
    bytes: [AtomicU64; 2],
    messages: [AtomicU64; 2],
    requests: [AtomicU64; CLASSES.len()],
    /// Open tunnels by the generation that admitted them; generations without tunnels are absent.
    open: Mutex<BTreeMap<u64, u64>>,
}

impl Route {
    /// Counts what has passed through a tunnel between `before` and `now`.
    pub fn passed(&self, before: Traffic, now: Traffic) {
        let bytes = self.bytes.iter().zip(before.bytes).zip(now.bytes);
        let messages = self.messages.iter().zip(before.messages).zip(now.messages);
        for ((counter, before), now) in bytes.chain(messages) {
            if now != before {
                counter.fetch_add(now.saturating_sub(before), Relaxed);
            }
        }
    }

    pub(super) fn served(&self, status: Option<u16>) {
        if let Some(counter) = self.requests.get(status_class(status)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn opened(&self, generation: u64) {
        *self.open().entry(generation).or_default() += 1;
    }

    pub(super) fn closed(&self, generation: u64) {
        let mut open = self.open();
        if let Some(count) = open.get_mut(&generation) {
            *count -= 1;
            if *count == 0 {
                open.remove(&generation);
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_used(&self) -> bool {
        !self.open().is_empty()
    }
}

/// All routes on which something has happened. Their names come from the configuration, never from a peer.
#[derive(Debug, Default)]
pub(super) struct Routes(RwLock<HashMap<String, Arc<Route>>>);

impl Routes {
    pub fn get(&self, name: &str) -> Arc<Route> {
        let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = routes.get(name) {
            return Arc::clone(route);
        }
        drop(routes);
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(routes.entry(name.to_owned()).or_default())
    }

    /// The routes of `configured`, used or not, and other routes that are still in use. All others are forgotten.
    fn current(&self, configured: &BTreeMap<String, bool>) -> BTreeMap<String, Arc<Route>> {
        for name in configured.keys() {
            self.get(name);
        }
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|name, route| {
            // Requests that match no route are counted under an empty name.
            let is_configured = name.is_empty() || configured.contains_key(name);
            is_configured || Arc::strong_count(route) > 1 || route.is_used()
        });
        let routes = routes.iter();
        routes
            .map(|(name, route)| (name.clone(), Arc::clone(route)))
            .collect()
    }

    pub fn write(&self, text: &mut Text, generation: u64, configured: &BTreeMap<String, bool>) {
        let routes = self.current(configured);
        let mut family = text.family(
            "wsgate_requests_total",
            MetricType::Counter,
            "Plain requests by the class of the status that their client received.",
        );
        for (name, route) in &routes {
            for (class, counter) in CLASSES.iter().zip(&route.requests) {
                let count = counter.load(Relaxed);
                if count > 0 {
                    family.sample(&[("route", name), ("status", class)], count);
                }
            }
        }
        // A route that never had a tunnel is left out.
        let tunnels: Vec<_> = routes
            .iter()
            .filter_map(|(name, route)| {
                let serves = configured.get(name) == Some(&true);
                let mut open = route.open().clone();
                if serves {
                    open.entry(generation).or_default();
                }
                let has_passed = route.bytes.iter().any(|bytes| bytes.load(Relaxed) > 0);
                (!open.is_empty() || has_passed).then_some((name, route, open))
            })
            .collect();
        let mut family = text.family(
            "wsgate_tunnels_open",
            MetricType::Gauge,
            "Open tunnels by the generation of the configuration that admitted them.",
        );
        for (name, _, open) in &tunnels {
            for (generation, count) in open {
                let generation = generation.to_string();
                family.sample(&[("route", name), ("generation", &generation)], count);
            }
        }
        for (family, help, counters) in [
            (
                "wsgate_tunnel_bytes_total",
                "Bytes of the peers that passed through tunnels, counted as they pass.",
                (|route| &route.bytes) as fn(&Route) -> &[AtomicU64; 2],
            ),
            (
                "wsgate_tunnel_messages_total",
                "Complete data messages that passed through tunnels, counted as they pass.",
                |route| &route.messages,
            ),
        ] {
            let mut family = text.family(family, MetricType::Counter, help);
            for (name, route, _) in &tunnels {
                for (direction, counter) in DIRECTIONS.iter().zip(counters(route)) {
                    let labels = [("route", name.as_str()), ("direction", direction)];
                    family.sample(&labels, counter.load(Relaxed));
                }
            }
        }
    }
}
