//! What another configuration changed about the bound addresses.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::Fresh;
use crate::admin::{End, Service};
use crate::connection::Shared;
use crate::listener::Listener;
use crate::reason::Level;
use crate::record::{Event, Record, Sink};

/// A service that nobody accepts for yet, and that answers until `ending`.
#[derive(Debug)]
pub struct FreshService {
    pub listener: Listener,
    pub service: Service,
    pub ending: watch::Receiver<Option<End>>,
}

/// What a configuration brought that was not there before, and what it took away.
#[derive(Debug, Default)]
pub struct Change {
    pub listeners: Vec<Fresh>,
    pub services: Vec<FreshService>,
    /// What listeners that stay serve with, where they ask clients for something else than before.
    pub(super) altered: Vec<Arc<Shared>>,
    /// Addresses that are no longer the configuration's.
    pub gone: Vec<SocketAddr>,
}

impl Change {
    /// Records what is listened on now.
    pub fn tell(&self, sink: &Sink) {
        let told = |address: SocketAddr, what: String, more: &str| {
            let what = what + more;
            let mut record = Record::lifecycle(Event::Listening, Level::Info, what);
            record.listener = Some(address.to_string());
            sink.emit(record);
        };
        for fresh in &self.listeners {
            let Some(shared) = fresh.current.get() else {
                continue;
            };
            told(shared.listener, asks(&shared), origin(&fresh.listener));
        }
        for shared in &self.altered {
            told(shared.listener, asks(shared), ", from now on");
        }
        for fresh in &self.services {
            let what = fresh.service.name().to_owned();
            told(fresh.listener.address(), what, origin(&fresh.listener));
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

/// Where the socket is from, if not from here.
fn origin(listener: &Listener) -> &'static str {
    match listener.is_inherited() {
        true => ", on an inherited socket",
        false => "",
    }
}
