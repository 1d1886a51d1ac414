//! `probes` and `admin`: the addresses of the proxy's own services, compared with those of the listeners.

use std::net::SocketAddr;

use super::super::Listener;
use super::super::reader::Fields;
use super::super::report::Report;
use super::super::shape::{self, Block};
use super::block;
use super::listeners::{address, overlap};

/// Where the services listen that are there.
#[derive(Debug, Default)]
pub struct Services {
    pub probes: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
}

/// The services; `top` are the fields of the file.
pub fn resolve(top: &Fields<'_>, listeners: &[Listener], report: &mut Report<'_>) -> Services {
    let listeners = listeners.iter().map(|listener| listener.address);
    let mut taken: Vec<(SocketAddr, &str)> =
        listeners.map(|address| (address, "a listener")).collect();
    let mut service = |name: &'static str, shape: &'static Block, report: &mut Report<'_>| {
        let fields = block(top, name, shape, report)?;
        let cursor = fields.get("address")?;
        let own = address(cursor, report)?;
        let other = taken.iter().find(|(other, _)| overlap(own, *other));
        if let Some((other, whose)) = other {
            let message = if *other == own {
                format!("found {own}, the address of {whose}")
            } else {
                format!("found {own}, which overlaps with {other} of {whose}")
            };
            cursor.error_with(report, message, Some("use another port".to_owned()));
        } else if name == "admin" && !own.ip().is_loopback() {
            let message = format!(
                "{own} is not a loopback address: anyone who reaches it can end every tunnel; write 127.0.0.1:{} unless \
                 something else keeps it private",
                own.port()
            );
            cursor.warning(report, message);
        }
        taken.push((own, name));
        Some(own)
    };
    Services {
        probes: service("probes", &shape::PROBES, report),
        admin: service("admin", &shape::ADMIN, report),
    }
}
