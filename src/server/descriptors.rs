//! How many descriptors a configuration may need.

use rustix::process::{Resource, getrlimit};

use crate::admin::{CONNECTIONS, Service};
use crate::config::Config;

/// The descriptors for everything except connections: listeners, standard streams, the runtime, a certificate that is
/// being read.
const OTHER: usize = 64;

/// The warning if the process may not open enough descriptors for the `limits.connections` of `config`.
#[must_use]
pub fn shortage(config: &Config) -> Option<String> {
    let available = getrlimit(Resource::Nofile).current?;
    let connections = config.limits.connections;
    let probes = config.probes.map(|_| Service::Probes);
    let admin = config.admin.as_ref().map(|_| Service::Admin);
    let both = config
        .admin
        .as_ref()
        .and_then(|admin| admin.address.zip(admin.socket.as_ref()));
    // Event streams have one limit for both.
    let second = both.map(|_| CONNECTIONS);
    let services = probes.into_iter().chain(admin).map(Service::connections);
    // The connections of each, its socket, and one in reserve.
    let services = services.chain(second).map(|connections| connections + 2);
    let other = (OTHER + services.sum::<usize>()) as u64;
    // Every tunnel takes two.
    let needed = (connections as u64).saturating_mul(2).saturating_add(other);
    (available < needed).then(|| {
        let fits = (available.saturating_sub(other) / 2).max(1);
        format!(
            "limits.connections is {connections}, which needs {needed} descriptors, but the hard limit is {available}: \
             raise nofile, or set limits.connections to {fits} or less"
        )
    })
}
