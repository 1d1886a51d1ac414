//! How many descriptors a configuration may come to need.

use rustix::process::{Resource, getrlimit};

use crate::admin;
use crate::config::Config;

/// Those of each of the proxy's own services: its connections, its socket, and one in reserve.
const SERVICE: usize = admin::CONNECTIONS + 2;

/// Those beside connections: listeners, standard streams, the runtime's own, a certificate being read.
const OTHER: usize = 64;

/// What is to be said where the process may not open as many as `limits.connections` of `config` can take.
#[must_use]
pub fn shortage(config: &Config) -> Option<String> {
    let available = getrlimit(Resource::Nofile).current?;
    let connections = config.limits.connections;
    let services = [config.probes, config.admin].into_iter().flatten().count();
    let other = (OTHER + services * SERVICE) as u64;
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
