//! The bound addresses: which ones a configuration needs, and what each serves.
//!
//! A listener that stays keeps its socket, so that nobody who connects while the configuration changes is refused. One
//! whose address goes is closed some time later, when what was on its way to it has arrived; where a listener of every
//! address (`0.0.0.0`, `[::]`) takes over its port, it stays open and serves what that one serves.

mod accept;
mod error;
mod gate;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Service};
use crate::config::Config;
use crate::connection::{Place, Repeats, Shared, Stop};
use crate::generation::Generation;
use crate::http::via::Pseudonym;
use crate::limits::{Clients, Slots};
use crate::listener::Listener;
use crate::listener::inherited::Inherited;
use crate::reason::Level;
use crate::record::{Event, Record, Sink};
use crate::tls;
pub(super) use accept::Fresh;
pub use error::BindError;
use gate::Gate;

/// What connections share whatever the configuration is.
#[derive(Debug)]
pub(super) struct Common {
    pub sink: Sink,
    pub repeats: Arc<Repeats>,
    pub stop: Stop,
    /// Of all tunnels, and of all connections that may still become one.
    pub tasks: TaskTracker,
    pub slots: Slots,
    pub via: Arc<Pseudonym>,
}

/// What a configuration needs beside its sockets.
#[derive(Debug)]
pub(super) struct Needs<'a> {
    pub generation: &'a Arc<Generation>,
    pub tls: &'a [Option<Arc<tls::Server>>],
    pub clients: &'a Arc<Clients>,
}

/// A service that nobody accepts for yet, and that answers until `ending`.
#[derive(Debug)]
pub(super) struct FreshService {
    pub listener: Listener,
    pub service: Service,
    pub ending: CancellationToken,
}

/// What a configuration brought that was not there before, and what it took away.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub listeners: Vec<Fresh>,
    pub services: Vec<FreshService>,
    /// What listeners that stay serve with, where they ask clients for something else than before.
    altered: Vec<Arc<Shared>>,
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
            let Some(shared) = fresh.place.current() else {
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
fn asks(shared: &Shared) -> String {
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
}

#[derive(Clone, Debug)]
struct OpenService {
    service: Service,
    configured: SocketAddr,
    bound: SocketAddr,
    ending: CancellationToken,
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
            .and_then(|fresh| Ok((fresh, self.bind_services(config)?)));
        let (fresh, (services, fresh_services)) = match bound {
            Ok(bound) => bound,
            Err(error) => {
                let was_leaving = |next: &Next| next.kept.clone().filter(|_| next.was_leaving);
                for open in next.iter().filter_map(was_leaving) {
                    open.gate.leave();
                }
                return Err(error);
            }
        };
        // From here on nothing fails.
        let mut change = Change {
            services: fresh_services,
            ..Change::default()
        };
        let mut fresh = fresh.into_iter();
        let mut listeners = Vec::new();
        for (index, (next, settings)) in next.into_iter().zip(&config.listeners).enumerate() {
            let shared = Arc::new(Shared {
                generation: Arc::clone(needs.generation),
                listener: next.bound,
                tls: needs.tls.get(index).cloned().flatten(),
                redirect_to_https: settings.redirect_to_https,
                proxy_protocol: settings.proxy_protocol,
                sink: common.sink.clone(),
                settings: config.routes.iter().map(|_| OnceLock::new()).collect(),
                repeats: Arc::clone(&common.repeats),
                stop: common.stop.clone(),
                tasks: common.tasks.clone(),
                clients: Arc::clone(needs.clients),
                via: Arc::clone(&common.via),
            });
            listeners.push(match next.kept {
                Some(open) => {
                    let before = open.place.current();
                    if before.is_none_or(|before| asks(&before) != asks(&shared)) {
                        change.altered.push(Arc::clone(&shared));
                    }
                    open.place.set(Some(shared));
                    open
                }
                None => {
                    let place = Arc::new(Place::new(shared));
                    let gate = Gate::default();
                    change.listeners.extend(fresh.next().map(|listener| Fresh {
                        listener,
                        place: Arc::clone(&place),
                        gate: gate.clone(),
                    }));
                    Open {
                        configured: settings.address,
                        bound: next.bound,
                        place,
                        gate,
                    }
                }
            });
        }
        let stays = |open: &Open| {
            listeners
                .iter()
                .any(|other: &Open| other.gate.is(&open.gate))
        };
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
                    open.gate.leave();
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
                open.ending.cancel();
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

    /// For each listener of a configuration the socket that it keeps, or a new one, which is given in their order.
    fn bind_listeners(
        &mut self,
        config: &Config,
        common: &Common,
        next: &mut Vec<Next>,
    ) -> Result<Vec<Listener>, BindError> {
        let mut fresh = Vec::new();
        for settings in &config.listeners {
            let is_taken = |open: &Open| {
                let mut kept = next.iter().filter_map(|next: &Next| next.kept.as_ref());
                kept.any(|kept| kept.gate.is(&open.gate))
            };
            let open = self.listeners.iter().chain(&self.others);
            let kept = open
                .filter(|open| open.configured == settings.address && !is_taken(open))
                .map(|open| (open, open.gate.is_leaving()))
                .find(|(open, _)| open.gate.stay());
            if let Some((open, was_leaving)) = kept {
                next.push(Next {
                    bound: open.bound,
                    kept: Some(open.clone()),
                    was_leaving,
                });
                continue;
            }
            let slots = common.slots.clone();
            let listener = self.bind(settings.address, slots, config.limits.write_stall);
            let listener = listener.map_err(|cause| BindError {
                key: "listeners[].address".to_owned(),
                address: settings.address,
                cause,
            })?;
            next.push(Next {
                bound: listener.address(),
                kept: None,
                was_leaving: false,
            });
            fresh.push(listener);
        }
        Ok(fresh)
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
            let ending = CancellationToken::new();
            services.push(OpenService {
                service,
                configured: address,
                bound: listener.address(),
                ending: ending.clone(),
            });
            fresh.push(FreshService {
                listener,
                service,
                ending,
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
        let mut own = listeners
            .map(|open| open.bound)
            .chain(self.services.iter().map(|open| open.bound));
        let bound = match Listener::bind(address, slots.clone(), write_stall) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && own.any(|own| overlap(own, address)) =>
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
struct Next {
    bound: SocketAddr,
    kept: Option<Open>,
    was_leaving: bool,
}

/// Whether two addresses can't be bound side by side without more ado.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip(), other.ip());
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified())
}

/// Whether what connects to `address` reaches a listener on `all` when nobody listens there.
fn covers(all: SocketAddr, address: SocketAddr) -> bool {
    all.ip().is_unspecified() && all.is_ipv4() == address.is_ipv4() && all.port() == address.port()
}
