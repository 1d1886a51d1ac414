//! The bound addresses: which ones a configuration needs, and what each serves.
//!
//! A listener that stays keeps its socket, so that nobody who connects while the configuration changes is refused. One
//! whose address goes is closed some time later, when what was on its way to it has arrived; where a listener of every
//! address (`0.0.0.0`, `[::]`) takes over its port, it stays open and serves what that one serves. Where a service or
//! another listener has its very address next, that one goes on with its socket, and it ends at once.

mod accept;
mod change;
mod error;
mod gate;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::admin::{self, End, Service};
use crate::config::{Config, overlap};
use crate::connection::{Claims, Place, Repeats, Shared, Stop};
use crate::generation::Generation;
use crate::http::via::Pseudonym;
use crate::limits::{Clients, Slots};
use crate::listener::inherited::Inherited;
use crate::listener::{Handle, Listener};
use crate::record::Sink;
use crate::tls;
use crate::upstream::Names;
pub(super) use accept::Fresh;
use change::asks;
pub(super) use change::{Change, FreshService};
pub use error::BindError;
use gate::Gate;

/// What connections share whatever the configuration is.
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
    /// Of upstreams.
    pub names: Names,
}

/// What a configuration needs beside its sockets.
#[derive(Debug)]
pub(super) struct Needs<'a> {
    pub generation: &'a Arc<Generation>,
    pub tls: &'a [Option<Arc<tls::Server>>],
    pub clients: &'a Arc<Clients>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// In the configuration's order.
    listeners: Vec<Open>,
    /// Those that the configuration no longer has, and that are not closed, or not yet.
    others: Vec<Open>,
    services: Vec<OpenService>,
    /// What was bound before the process began.
    inherited: Inherited,
}

#[derive(Clone, Debug)]
struct Open {
    /// As the configuration has it, where the port may be 0.
    configured: SocketAddr,
    bound: SocketAddr,
    place: Arc<Place>,
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

impl Sockets {
    /// None yet.
    pub fn new(inherited: Inherited) -> Self {
        Self {
            inherited,
            ..Self::default()
        }
    }

    /// Sees that every inherited socket has been taken.
    ///
    /// # Errors
    /// One that no key has the address of.
    pub fn leave_none(&self) -> Result<(), BindError> {
        self.inherited
            .left()
            .map_or(Ok(()), |address| Err(BindError::unclaimed(address)))
    }

    /// The bound addresses of the configuration's listeners, in its order.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|open| open.bound)
    }

    /// Those of the services, each with the name of its key.
    pub fn services(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let services = self.services.iter();
        services.map(|open| (open.service.name(), open.bound))
    }

    /// Makes the sockets those of a configuration: what it has new is bound, what it no longer has is left, and all that
    /// connect from now on are served with it.
    ///
    /// # Errors
    /// The first address that can't be bound; everything is as it was then.
    pub fn apply(&mut self, needs: &Needs<'_>, common: &Common) -> Result<Change, BindError> {
        let config = &needs.generation.config;
        self.others.retain(|open| !open.gate.is_gone());
        let mut next = Vec::new();
        let bound = self
            .bind_listeners(config, common, &mut next)
            .and_then(|()| self.bind_services(config));
        let (services, fresh_services) = match bound {
            Ok(bound) => bound,
            Err(error) => {
                for next in next {
                    if let Next::Kept(open, WasLeaving(true)) = next {
                        open.gate.leave();
                    }
                }
                return Err(error);
            }
        };
        // From here on nothing fails.
        let mut change = Change {
            services: fresh_services,
            ..Change::default()
        };
        let mut listeners = Vec::new();
        for (index, (next, settings)) in next.into_iter().zip(&config.listeners).enumerate() {
            let shared = Arc::new(Shared {
                generation: Arc::clone(needs.generation),
                listener: next.bound(),
                tls: needs.tls.get(index).cloned().flatten(),
                redirect_to_https: settings.redirect_to_https,
                proxy_protocol: settings.proxy_protocol,
                sink: common.sink.clone(),
                repeats: Arc::clone(&common.repeats),
                claims: Arc::clone(&common.claims),
                stop: common.stop.clone(),
                tasks: common.tasks.clone(),
                clients: Arc::clone(needs.clients),
                via: Arc::clone(&common.via),
            });
            listeners.push(match next {
                Next::Kept(open, _) => {
                    let before = open.place.current();
                    if before.is_none_or(|before| asks(&before) != asks(&shared)) {
                        change.altered.push(Arc::clone(&shared));
                    }
                    open.place.set(Some(shared));
                    open
                }
                Next::Fresh(listener) => {
                    let open = Open {
                        configured: settings.address,
                        bound: listener.address(),
                        place: Arc::new(Place::new(shared)),
                        gate: Gate::default(),
                        handle: listener.handle(),
                    };
                    change.listeners.push(Fresh {
                        listener,
                        place: Arc::clone(&open.place),
                        gate: open.gate.clone(),
                    });
                    open
                }
            });
        }
        let stays = |open: &Open| {
            listeners
                .iter()
                .any(|other: &Open| other.gate.is(&open.gate))
        };
        let fresh = change
            .listeners
            .iter()
            .map(|fresh| fresh.listener.address());
        let services_too = change.services.iter().map(|fresh| fresh.listener.address());
        let taken_over: Vec<_> = fresh.chain(services_too).collect();
        let is_taken_over = |bound: SocketAddr| taken_over.contains(&bound);
        let before = std::mem::take(&mut self.listeners);
        let others = std::mem::take(&mut self.others);
        let was_served = before.len();
        let all = before.into_iter().chain(others).enumerate();
        for (index, open) in all.filter(|(_, open)| !stays(open)) {
            let heir = listeners.iter().find(|heir| covers(heir.bound, open.bound));
            let serves = heir.and_then(|heir| heir.place.current());
            match serves.is_some() && open.gate.stay() {
                true => open.place.set(serves),
                false => {
                    open.place.set(None);
                    match is_taken_over(open.bound) {
                        true => open.gate.hand_over(),
                        false => open.gate.leave(),
                    }
                    if index < was_served {
                        change.gone.push(open.bound);
                    }
                }
            }
            self.others.push(open);
        }
        self.listeners = listeners;
        for open in &self.services {
            // By what it is: another service may have its address now.
            let is_kept = |next: &OpenService| {
                next.service == open.service && next.configured == open.configured
            };
            if !services.iter().any(is_kept) {
                open.ending
                    .send_replace(Some(match is_taken_over(open.bound) {
                        true => End::HandedOver,
                        false => End::Closed,
                    }));
                change.gone.push(open.bound);
            }
        }
        self.services = services;
        let listened = self.listeners.iter().map(|open| open.bound);
        let served = self.services.iter().map(|open| open.bound);
        let all: Vec<_> = listened.chain(served).collect();
        change.gone.retain(|address| !all.contains(address));
        Ok(change)
    }

    /// For each listener of a configuration the socket that it keeps, or a new one.
    fn bind_listeners(
        &mut self,
        config: &Config,
        common: &Common,
        next: &mut Vec<Next>,
    ) -> Result<(), BindError> {
        for settings in &config.listeners {
            let is_taken = |open: &Open| {
                next.iter()
                    .any(|next| matches!(next, Next::Kept(kept, _) if kept.gate.is(&open.gate)))
            };
            let open = self.listeners.iter().chain(&self.others);
            let kept = open
                .filter(|open| open.configured == settings.address && !is_taken(open))
                .map(|open| (open, open.gate.is_leaving()))
                .find(|(open, _)| open.gate.stay());
            if let Some((open, was_leaving)) = kept {
                next.push(Next::Kept(open.clone(), WasLeaving(was_leaving)));
                continue;
            }
            let slots = common.slots.clone();
            let listener = self.bind(settings.address, slots, config.limits.write_stall);
            let listener = listener.map_err(|cause| BindError {
                key: "listeners[].address".to_owned(),
                address: settings.address,
                cause,
            })?;
            next.push(Next::Fresh(listener));
        }
        Ok(())
    }

    fn bind_services(
        &mut self,
        config: &Config,
    ) -> Result<(Vec<OpenService>, Vec<FreshService>), BindError> {
        let (mut services, mut fresh) = (Vec::new(), Vec::new());
        for (service, address) in [
            (Service::Probes, config.probes),
            (Service::Admin, config.admin),
        ] {
            let Some(address) = address else {
                continue;
            };
            let is_it = |open: &&OpenService| open.service == service && open.configured == address;
            if let Some(open) = self.services.iter().find(is_it) {
                services.push(open.clone());
                continue;
            }
            let listener = self.bind(address, admin::slots(), config.limits.write_stall);
            let listener = listener.map_err(|cause| BindError {
                key: format!("{}.address", service.name()),
                address,
                cause,
            })?;
            let ending = watch::Sender::new(None);
            let listened = ending.subscribe();
            services.push(OpenService {
                service,
                configured: address,
                bound: listener.address(),
                ending: Arc::new(ending),
                handle: listener.handle(),
            });
            fresh.push(FreshService {
                listener,
                service,
                ending: listened,
            });
        }
        Ok((services, fresh))
    }

    /// Takes an address's inherited socket, or binds it, also one that overlaps with another of this process, as when
    /// `127.0.0.1` becomes `0.0.0.0`.
    fn bind(
        &mut self,
        address: SocketAddr,
        slots: Slots,
        write_stall: Duration,
    ) -> io::Result<Listener> {
        let inherited = &mut self.inherited;
        if let Some(listener) = Listener::inherit(address, inherited, slots.clone(), write_stall)? {
            return Ok(listener);
        }
        let listeners = self.listeners.iter().chain(&self.others);
        let listeners = listeners.map(|open| (open.bound, &open.handle));
        let services = self.services.iter();
        let own: Vec<_> = listeners
            .chain(services.map(|open| (open.bound, &open.handle)))
            .collect();
        // Who waits in the queue of what has this very address stays there for the one that takes it over.
        for (_, handle) in own.iter().filter(|(bound, _)| *bound == address) {
            if let Some(listener) = Listener::share(handle, slots.clone(), write_stall)? {
                return Ok(listener);
            }
        }
        let bound = match Listener::bind(address, slots.clone(), write_stall) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && own.iter().any(|(own, _)| overlap(*own, address)) =>
            {
                // What is in the way is this process's own: another's at this very address would have kept it from that one.
                Listener::bind_beside(address, slots, write_stall)
            }
            bound => bound,
        };
        bound.map_err(|error| {
            let mut passed = self.inherited.addresses();
            let in_the_way = passed.find(|passed| overlap(*passed, address));
            match in_the_way.filter(|_| error.kind() == io::ErrorKind::AddrInUse) {
                // The manager keeps it open, and as another user: only a restart of both can change it.
                Some(passed) => io::Error::other(format!(
                    "the inherited socket {passed} has that port; keep its address, or change ListenStream= and \
                     restart the socket unit and the service"
                )),
                None => error,
            }
        })
    }
}

/// A listener of the next configuration.
enum Next {
    Kept(Open, WasLeaving),
    Fresh(Listener),
}

/// Whether the configuration in use had it no more, so that it leaves again where the next one is refused.
struct WasLeaving(bool);

impl Next {
    fn bound(&self) -> SocketAddr {
        match self {
            Self::Kept(open, _) => open.bound,
            Self::Fresh(listener) => listener.address(),
        }
    }
}

/// Whether what connects to `address` reaches a listener on `all` when nobody listens there.
fn covers(all: SocketAddr, address: SocketAddr) -> bool {
    all.ip().is_unspecified() && all.is_ipv4() == address.is_ipv4() && all.port() == address.port()
}
