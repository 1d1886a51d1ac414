//! What a configuration changed about the bound addresses.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::Fresh;
use crate::admin::{End, Service, UnixDoor};
use crate::connection::Shared;
use crate::listener::Listener;
use crate::reason::Level;
use crate::record::{Event, Record, Sink};

/// A service that nobody accepts for yet. It answers until `ending`.
#[derive(Debug)]
pub struct FreshService {
    pub listener: Listener,
    pub service: Service,
    pub ending: watch::Receiver<Option<End>>,
}

/// A unix socket that nobody accepts for yet. It answers until `ending`.
#[derive(Debug)]
pub struct FreshSocket {
    pub door: UnixDoor,
    pub path: PathBuf,
    pub ending: watch::Receiver<Option<End>>,
}

/// What a configuration added and removed.
#[derive(Debug, Default)]
pub struct Change {
    pub listeners: Vec<Fresh>,
    pub services: Vec<FreshService>,
    pub socket: Option<FreshSocket>,
    /// The new settings of kept listeners that now ask something else of clients.
    pub(super) altered: Vec<Arc<Shared>>,
    /// Addresses that the configuration no longer has.
    pub gone: Vec<SocketAddr>,
}

impl Change {
    /// Records the new listeners and services, and the changed ones.
    pub fn tell(&self, sink: &Sink) {
        let told = |address: &dyn Display, what: String, more: &str| {
            let what = what + more;
            let mut record = Record::lifecycle(Event::Listening, Level::Info, what);
            record.listener = Some(address.to_string());
            sink.emit(record);
        };
        for fresh in &self.listeners {
            let Some(shared) = fresh.current.get() else {
                continue;
            };
            told(&shared.listener, asks(&shared), origin(&fresh.listener));
        }
        for shared in &self.altered {
            told(&shared.listener, asks(shared), ", from now on");
        }
        for fresh in &self.services {
            let what = fresh.service.name().to_owned();
            told(&fresh.listener.address(), what, origin(&fresh.listener));
        }
        if let Some(fresh) = &self.socket {
            let what = Service::Admin.name().to_owned();
            told(&format!("unix:{}", fresh.path.display()), what, "");
        }
    }
}

/// What a listener asks of clients, in words.
pub(super) fn asks(shared: &Shared) -> String {
    let mut what = match shared.tls {
        Some(_) => "with TLS",
        None => "without TLS",
    }
    .to_owned();
    if shared.proxy_protocol {
        what.push_str(", behind a PROXY header");
    }
    if shared.redirect_to_https {
        what.push_str(", redirecting to https");
    }
    what
}

/// The origin of the socket, if this process did not bind it.
fn origin(listener: &Listener) -> &'static str {
    match listener.is_inherited() {
        true => ", on an inherited socket",
        false => "",
    }
}
