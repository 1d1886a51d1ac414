//! The bound addresses: which ones a configuration needs, and what each serves.
//!
//! A listener that stays keeps its socket, so nobody who connects during a reload is refused. A listener whose address is
//! removed is closed a little later, after the connections on their way to it have arrived. If a listener on all addresses
//! (`0.0.0.0`, `[::]`) takes over its port, it stays open and serves the same as that listener. If a service or another
//! listener takes over exactly its address, that one continues with its socket, and the old one ends at once.

mod accept;
mod bind;
mod change;
mod error;
mod gate;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::admin::{End, Service, SocketFile};
use crate::config;
use crate::connection::{Claims, Current, Repeats, Shared, Stop};
use crate::generation::Generation;
use crate::http::via::Pseudonym;
use crate::limits::{Clients, Slots};
use crate::listener::inherited::Inherited;
use crate::listener::{Handle, Listener};
use crate::record::Sink;
use crate::tls;
use crate::upstream::Names;
pub(super) use accept::Fresh;
use bind::Next;
use change::asks;
pub(super) use change::{Change, FreshService, FreshSocket};
pub use error::BindError;
use gate::Gate;

/// What connections share under every configuration.
#[derive(Debug)]
pub(super) struct Common {
    pub sink: Sink,
    pub repeats: Arc<Repeats>,
    pub claims: Arc<Claims>,
    pub stop: Stop,
    /// Counts all tunnels, and all connections that may still become one.
    pub tasks: TaskTracker,
    pub slots: Slots,
    pub via: Arc<Pseudonym>,
    /// Look-ups of the upstreams' names.
    pub names: Names,
}

/// What a configuration needs in addition to its sockets.
#[derive(Debug)]
pub(super) struct Needs<'a> {
    pub generation: &'a Arc<Generation>,
    pub tls: &'a [Option<Arc<tls::Server>>],
    pub clients: &'a Arc<Clients>,
}

/// All bound addresses.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// In the configuration's order.
    listeners: Vec<Open>,
    /// Those that the configuration no longer has, but that are still open.
    others: Vec<Open>,
    services: Vec<OpenService>,
    socket: Option<OpenSocket>,
    /// Sockets that a service manager passed.
    inherited: Inherited,
}

#[derive(Clone, Debug)]
struct Open {
    /// As in the configuration. The port may be 0.
    configured: SocketAddr,
    bound: SocketAddr,
    current: Arc<Current>,
    gate: Gate,
    handle: Handle,
}

#[derive(Clone, Debug)]
struct OpenService {
    service: Service,
    configured: SocketAddr,
    bound: SocketAddr,
    ending: Arc<watch::Sender<Option<End>>>,
    handle: Handle,
}

/// The unix socket of the admin service.
#[derive(Clone, Debug)]
struct OpenSocket {
    file: Arc<SocketFile>,
    ending: Arc<watch::Sender<Option<End>>>,
}

impl Sockets {
    /// No bound address yet.
    pub fn new(inherited: Inherited) -> Self {
        Self {
            inherited,
            ..Self::default()
        }
    }

    /// Checks that every inherited socket is in use.
    ///
    /// # Errors
    /// An inherited socket whose address is in no key.
    pub fn leave_none(&self) -> Result<(), BindError> {
        self.inherited
            .left()
            .map_or(Ok(()), |address| Err(BindError::unclaimed(address)))
    }

    /// The bound addresses of the configuration's listeners, in the same order.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|open| open.bound)
    }

    /// The bound addresses of the services, each with the name of its key.
    pub fn services(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let services = self.services.iter();
        services.map(|open| (open.service.name(), open.bound))
    }

    /// The path of the admin service's unix socket, if it has one.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_ref().map(|open| open.file.path())
    }

    /// Applies a configuration: binds its new addresses, leaves those that it no longer has, and serves all later
    /// connections with it.
    ///
    /// # Errors
    /// The first address that can't be bound; everything is then as it was before.
    pub fn apply(&mut self, needs: &Needs<'_>, common: &Common) -> Result<Change, BindError> {
        self.others.retain(|open| !open.gate.is_gone());
        let bound = self.bind_all(&needs.generation.config, common)?;
        // From here on nothing fails.
        let mut change = Change {
            services: bound.fresh_services,
            socket: bound.fresh_socket,
            ..Change::default()
        };
        let listeners = serve(bound.listeners, needs, common, &mut change);
        let fresh_listeners = change.listeners.iter().map(|fresh| &fresh.listener);
        let fresh_services = change.services.iter().map(|fresh| &fresh.listener);
        let taken_over: Vec<_> = fresh_listeners
            .chain(fresh_services)
            .map(Listener::address)
            .collect();
        let is_taken_over = |bound: SocketAddr| taken_over.contains(&bound);
        self.retire_listeners(listeners, is_taken_over, &mut change);
        self.retire_services(bound.services, is_taken_over, &mut change);
        let socket = std::mem::replace(&mut self.socket, bound.socket);
        let is_kept = |open: &OpenSocket| {
            let kept = self.socket.as_ref();
            kept.is_some_and(|kept| Arc::ptr_eq(&kept.file, &open.file))
        };
        if let Some(open) = socket.filter(|open| !is_kept(open)) {
            open.ending.send_replace(Some(End::Closed));
        }
        let listened = self.listeners.iter().map(|open| open.bound);
        let served = self.services.iter().map(|open| open.bound);
        let all: Vec<_> = listened.chain(served).collect();
        change.gone.retain(|address| !all.contains(address));
        Ok(change)
    }

    /// Leaves the listeners that the configuration no longer has, unless a listener on all addresses takes over their port.
    fn retire_listeners(
        &mut self,
        next: Vec<Open>,
        is_taken_over: impl Fn(SocketAddr) -> bool,
        change: &mut Change,
    ) {
        let before = std::mem::replace(&mut self.listeners, next);
        let others = std::mem::take(&mut self.others);
        let was_served = before.len();
        for (index, open) in before.into_iter().chain(others).enumerate() {
            if self.listeners.iter().any(|next| next.gate.is(&open.gate)) {
                continue;
            }
            let mut listeners = self.listeners.iter();
            let heir = listeners.find(|heir| covers(heir.bound, open.bound));
            let serves = heir.and_then(|heir| heir.current.get());
            if serves.is_some() && open.gate.stay() {
                open.current.set(serves);
            } else {
                open.current.set(None);
                match is_taken_over(open.bound) {
                    true => open.gate.hand_over(),
                    false => open.gate.leave(),
                }
                if index < was_served {
                    change.gone.push(open.bound);
                }
            }
            self.others.push(open);
        }
    }

    /// Ends the services that the configuration no longer has at their address.
    fn retire_services(
        &mut self,
        next: Vec<OpenService>,
        is_taken_over: impl Fn(SocketAddr) -> bool,
        change: &mut Change,
    ) {
        for open in &self.services {
            // The address is not enough: another service may have it now.
            let is_kept = |next: &OpenService| {
                next.service == open.service && next.configured == open.configured
            };
            if !next.iter().any(is_kept) {
                open.ending
                    .send_replace(Some(match is_taken_over(open.bound) {
                        true => End::HandedOver,
                        false => End::Closed,
                    }));
                change.gone.push(open.bound);
            }
        }
        self.services = next;
    }
}

/// What a listener serves with.
fn shared(
    index: usize,
    bound: SocketAddr,
    settings: &config::Listener,
    needs: &Needs<'_>,
    common: &Common,
) -> Arc<Shared> {
    Arc::new(Shared {
        generation: Arc::clone(needs.generation),
        listener: bound,
        tls: needs.tls.get(index).cloned().flatten(),
        redirect_to_https: settings.redirect_to_https,
        proxy_protocol: settings.proxy_protocol,
        http2: settings.http2,
        slots: common.slots.clone(),
        sink: common.sink.clone(),
        repeats: Arc::clone(&common.repeats),
        claims: Arc::clone(&common.claims),
        stop: common.stop.clone(),
        tasks: common.tasks.clone(),
        clients: Arc::clone(needs.clients),
        via: Arc::clone(&common.via),
    })
}

/// Serves the listeners with the next configuration. `change` gets the new ones, and those that now ask something else of
/// clients.
fn serve(next: Vec<Next>, needs: &Needs<'_>, common: &Common, change: &mut Change) -> Vec<Open> {
    let settings = needs.generation.config.listeners.iter();
    let mut listeners = Vec::new();
    for (index, (next, settings)) in next.into_iter().zip(settings).enumerate() {
        let shared = shared(index, next.bound(), settings, needs, common);
        listeners.push(match next {
            Next::Kept(open, _) => {
                let before = open.current.get();
                if before.is_none_or(|before| asks(&before) != asks(&shared)) {
                    change.altered.push(Arc::clone(&shared));
                }
                open.current.set(Some(shared));
                open
            }
            Next::Fresh(listener) => {
                let open = Open {
                    configured: settings.address,
                    bound: listener.address(),
                    current: Arc::new(Current::new(shared)),
                    gate: Gate::default(),
                    handle: listener.handle(),
                };
                change.listeners.push(Fresh {
                    listener,
                    current: Arc::clone(&open.current),
                    gate: open.gate.clone(),
                });
                open
            }
        });
    }
    listeners
}

/// Whether connections to `address` reach a listener on `all` if nothing else listens there.
fn covers(all: SocketAddr, address: SocketAddr) -> bool {
    all.ip().is_unspecified() && all.is_ipv4() == address.is_ipv4() && all.port() == address.port()
}
