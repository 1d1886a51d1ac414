//! `probes` and `admin`: the addresses of the proxy's own services, compared with those of the listeners.

use std::net::SocketAddr;

use super::super::fields::Fields;
use super::super::key::{Block, Key, Required, Section, keys};
use super::super::problem::Complaint;
use super::super::report::Report;
use super::super::value::{Address, overlap};
use super::Listener;
use super::ROOT;

keys! {
    pub(super) static PROBES: ProbesKeys {
        /// The address that answers health checks and scrapes, over plain HTTP. Anyone who can reach it can read whether
        /// the proxy is ready, and its metrics.
        address: Key<SocketAddr, Required> = &Address, Required;
    } with Block {
        foreign: &[("path paths", "the paths are /healthz and /readyz")],
        ..Block::EMPTY
    }
}

keys! {
    pub(super) static ADMIN: AdminKeys {
        /// The address that shows the open tunnels and accepts requests for a drain, over plain HTTP. Anyone who can reach it
        /// can see who is connected and end every tunnel, so keep it on loopback.
        address: Key<SocketAddr, Required> = &Address, Required;
    }
}

/// The addresses of the services, if they are set.
pub(super) struct Services {
    pub probes: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
}

/// The services; `top` are the fields of the file.
pub(super) fn read(top: &Fields<'_>, listeners: &[Listener], report: &mut Report<'_>) -> Services {
    let listeners = listeners.iter().map(|listener| listener.address);
    let mut taken: Vec<(SocketAddr, &str)> =
        listeners.map(|address| (address, "a listener")).collect();
    let mut service = |section: &Section, key, report: &mut Report<'_>| {
        let fields = top.open(section, report)?;
        let own = fields.read(key, report)?;
        let other = taken.iter().find(|(other, _)| overlap(own, *other));
        let cursor = fields.get(key)?;
        if let Some((other, whose)) = other {
            let message = if *other == own {
                format!("found {own}, the address of {whose}")
            } else {
                format!("found {own}, which overlaps with {other} of {whose}")
            };
            cursor.error(report, Complaint::new(message).help("use another port"));
        } else if section.name == ROOT.admin.name && !own.ip().is_loopback() {
            let message = format!(
                "{own} is not a loopback address: anyone who reaches it can see who is connected and end every tunnel; write 127.0.0.1:{} unless \
                 something else keeps it private",
                own.port()
            );
            cursor.warning(report, message);
        }
        taken.push((own, section.name));
        Some(own)
    };
    Services {
        probes: service(&ROOT.probes, &PROBES.address, report),
        admin: service(&ROOT.admin, &ADMIN.address, report),
    }
}
