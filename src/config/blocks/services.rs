//! `probes` and `admin`: the addresses of the proxy's own services, compared with those of the listeners.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::cursor::Cursor;
use super::super::fields::Fields;
use super::super::key::{Block, Is, Key, Nothing, Required, Section, keys};
use super::super::problem::Complaint;
use super::super::report::Report;
use super::super::value::{Address, List, Size, Text, overlap};
use super::Listener;
use super::ROOT;
use crate::policy::HostPattern;

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
        /// The address of the page that shows what happens now, which also accepts requests for a drain, over plain HTTP. Anyone
        /// who can reach it can see who is connected and end every tunnel, so keep it on loopback. Required unless `socket` is
        /// set.
        address: Key<SocketAddr, Nothing> = &Address, Nothing("none");
        /// A unix socket for the same, which only the proxy's user can open. The proxy makes it, and removes it at its end.
        socket: Key<String, Nothing> =
            &Text::parsed("path", "an absolute path such as /run/wsgate/admin.sock", socket), Nothing("none");
        /// Names under which the page may be opened, in addition to IP addresses and `localhost`. Requests for other names are
        /// refused, because a foreign page could have sent them.
        hosts: Key<Vec<String>> =
            &List::of(Text::parsed("host name", "a host name such as wsgate.internal", host)).distinct(),
            Is(Vec::new);
        /// How much memory the last refusals and ends of tunnels may take. Those of the most frequent reason are forgotten first.
        history: Key<u64> = &Size(64 << 10..=1 << 30), Is(|| 4 << 20);
    }
}

/// The listener for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address that it listens on.
    pub address: Option<SocketAddr>,
    /// The path of its unix socket. At least one of both is set.
    pub socket: Option<PathBuf>,
    /// Names for which it answers, in lower case.
    pub hosts: Vec<String>,
    /// The most bytes of remembered records.
    pub history: u64,
}

impl Admin {
    /// Whether only this machine can reach it. A tunnel can be closed only then.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.address
            .is_none_or(|address| address.ip().is_loopback())
    }
}

/// A name without a wildcard.
fn host(text: &str) -> Result<String, Complaint> {
    match HostPattern::parse(text).map_err(Complaint::new)? {
        HostPattern::Exact(name) => Ok(name),
        HostPattern::Wildcard(_) => Err(Complaint::new(format!(
            "found {text:?}, but a wildcard is not allowed here"
        ))
        .help("list each name")),
    }
}

/// The path of a unix socket. The system allows 107 bytes (unix(7)), and the proxy needs some for a second name.
fn socket(text: &str) -> Result<String, Complaint> {
    const LONGEST: usize = 100;
    if !text.starts_with('/') || text.ends_with('/') {
        return Err(Complaint::new(format!(
            "found {text:?}, expected an absolute path such as /run/wsgate/admin.sock"
        )));
    }
    if text.len() > LONGEST {
        let long = format!(
            "{text:?} has {} bytes, and {LONGEST} are allowed",
            text.len()
        );
        return Err(Complaint::new(long).help("choose a shorter path"));
    }
    Ok(text.to_owned())
}

/// The services that are set.
pub(super) struct Services {
    pub probes: Option<SocketAddr>,
    pub admin: Option<Admin>,
}

/// The services; `top` are the fields of the file.
pub(super) fn read(top: &Fields<'_>, listeners: &[Listener], report: &mut Report<'_>) -> Services {
    let listeners = listeners.iter().map(|listener| listener.address);
    let mut taken: Vec<(SocketAddr, &str)> =
        listeners.map(|address| (address, "a listener")).collect();
    let mut check = |own: SocketAddr,
                     section: &Section,
                     cursor: &Cursor<'_>,
                     report: &mut Report<'_>| {
        let other = taken.iter().find(|(other, _)| overlap(own, *other));
        if let Some((other, whose)) = other {
            let message = if *other == own {
                format!("found {own}, the address of {whose}")
            } else {
                format!("found {own}, which overlaps with {other} of {whose}")
            };
            cursor.error(report, Complaint::new(message).help("use another port"));
        } else if section.name == ROOT.admin.name && !own.ip().is_loopback() {
            let message = format!(
                "{own} is not a loopback address: anyone who reaches it can see who is connected and end every tunnel, and the page can't close single tunnels; write 127.0.0.1:{} unless \
                 something else keeps it private",
                own.port()
            );
            cursor.warning(report, message);
        }
        taken.push((own, section.name));
    };
    let probes = top.open(&ROOT.probes, report).and_then(|fields| {
        let address = fields.read(&PROBES.address, report)?;
        check(address, &ROOT.probes, fields.get(&PROBES.address)?, report);
        Some(address)
    });
    let admin = top.open(&ROOT.admin, report).map(|fields| {
        let address = fields.read(&ADMIN.address, report);
        if let (Some(address), Some(cursor)) = (address, fields.get(&ADMIN.address)) {
            check(address, &ROOT.admin, cursor, report);
        }
        let is_reachable = fields.is_meant(&ADMIN.address) || fields.is_meant(&ADMIN.socket);
        if let (false, Some(cursor)) = (is_reachable, top.get(&ROOT.admin)) {
            cursor.error(report, "missing required key \"address\" (or \"socket\")");
        }
        Admin {
            address,
            socket: fields.read(&ADMIN.socket, report).map(PathBuf::from),
            hosts: fields.read(&ADMIN.hosts, report),
            history: fields.read(&ADMIN.history, report),
        }
    });
    Services { probes, admin }
}
