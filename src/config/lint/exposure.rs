//! Listeners that anyone can reach without TLS, and a shutdown that takes longer than the platform waits.

use std::net::IpAddr;
use std::time::Duration;

use humantime::format_duration;

use super::super::{Config, Endpoint};
use super::Notes;

/// How long `server/drain.rs` waits for the records of tunnels that were cut.
const CUT: Duration = Duration::from_secs(1);

pub(super) fn lint(config: &Config, notes: &mut Notes<'_, '_>) {
    plain(config, notes);
    grace(config, notes);
}

fn plain(config: &Config, notes: &mut Notes<'_, '_>) {
    let is_behind = !config.trusted_proxies.is_empty() || config.load_balancer.is_some();
    // There is nothing to protect if only the echo server is used.
    let is_trial = config.upstreams.values().all(|upstream| {
        upstream
            .endpoints
            .iter()
            .all(|endpoint| *endpoint == Endpoint::Echo)
    });
    if is_behind || is_trial {
        return;
    }
    for (index, listener) in config.listeners.iter().enumerate() {
        let ip = listener.address.ip();
        if listener.tls.is_some() || listener.redirect_to_https || !is_public(ip) {
            continue;
        }
        let loopback = if ip.is_ipv4() { "127.0.0.1" } else { "\"[::1]" };
        let quote = if ip.is_ipv4() { "" } else { "\"" };
        notes.warn(
            &format!("listeners[{index}].address"),
            format!(
                "{} accepts connections without TLS from everywhere: cookies and tokens are not encrypted, and pages \
                 on https can't open ws:// URLs",
                listener.address
            ),
            format!(
                "add tls; if a hop in front ends TLS, list its addresses in trusted_proxies or describe it in \
                 load_balancer; to serve this machine only, write {loopback}:{}{quote}",
                listener.address.port()
            ),
        );
    }
}

/// Whether the internet reaches an address, or may reach it. In private networks TLS often ends elsewhere.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let is_shared = matches!(ip.octets(), [100, 64..=127, ..]);
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared)
        }
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_public(ip.into()),
            None => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
        },
    }
}

fn grace(config: &Config, notes: &mut Notes<'_, '_>) {
    let shutdown = &config.shutdown;
    let needed = shutdown
        .delay
        .saturating_add(shutdown.drain)
        .saturating_add(CUT);
    let Some(grace) = shutdown.grace_period.filter(|grace| *grace < needed) else {
        return;
    };
    let [grace, delay, drain, needed] =
        [grace, shutdown.delay, shutdown.drain, needed].map(format_duration);
    notes.warn(
        "shutdown.grace_period",
        format!(
            "found {grace}, shorter than the sum of shutdown.delay ({delay}), shutdown.drain ({drain}) and 1s for \
             the last records: the platform kills the process first, and tunnels end without a Close or a record"
        ),
        format!("give the process {needed} or more, here and on the platform, or shorten shutdown.drain"),
    );
}
