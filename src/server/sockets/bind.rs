//! Finds the socket of every address that a configuration needs: one that is open already, an inherited one, or a new one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{BindError, Common, FreshService, FreshSocket, Open, OpenService, OpenSocket, Sockets};
use crate::admin::{self, Service, SocketFile};
use crate::config::{Config, overlap};
use crate::limits::Slots;
use crate::listener::Listener;

/// The sockets of a configuration that is not in use yet.
pub(super) struct Bound {
    /// In the configuration's order.
    pub listeners: Vec<Next>,
    pub services: Vec<OpenService>,
    /// Those of `services` that nobody accepts for yet.
    pub fresh_services: Vec<FreshService>,
    /// The unix socket, and the same if nobody accepts for it yet.
    pub socket: Option<OpenSocket>,
    pub fresh_socket: Option<FreshSocket>,
}

/// A listener of the next configuration.
pub(super) enum Next {
    Kept(Open, WasLeaving),
    Fresh(Listener),
}

/// Whether the listener is new. A new listener is removed again if the next configuration is rejected.
pub(super) struct WasLeaving(bool);

impl Next {
    pub fn bound(&self) -> SocketAddr {
        match self {
            Self::Kept(open, _) => open.bound,
            Self::Fresh(listener) => listener.address(),
        }
    }
}

impl Sockets {
    /// Binds the new addresses of `config`.
    ///
    /// # Errors
    /// The first address that can't be bound; everything is then as it was before.
    pub(super) fn bind_all(
        &mut self,
        config: &Config,
        common: &Common,
    ) -> Result<Bound, BindError> {
        let mut listeners = Vec::new();
        let bound = self
            .bind_listeners(config, common, &mut listeners)
            .and_then(|()| Ok((self.bind_services(config)?, self.bind_socket(config)?)));
        match bound {
            Ok(((services, fresh_services), (socket, fresh_socket))) => Ok(Bound {
                listeners,
                services,
                fresh_services,
                socket,
                fresh_socket,
            }),
            Err(error) => {
                for next in listeners {
                    if let Next::Kept(open, WasLeaving(true)) = next {
                        open.gate.leave();
                    }
                }
                Err(error)
            }
        }
    }

    /// Gives each listener of a configuration the socket that it keeps, or a new one.
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
                address: settings.address.to_string(),
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
            (
                Service::Admin,
                config.admin.as_ref().and_then(|admin| admin.address),
            ),
        ] {
            let Some(address) = address else {
                continue;
            };
            let is_it = |open: &&OpenService| open.service == service && open.configured == address;
            if let Some(open) = self.services.iter().find(is_it) {
                services.push(open.clone());
                continue;
            }
            let listener = self.bind(address, admin::slots(service), config.limits.write_stall);
            let listener = listener.map_err(|cause| BindError {
                key: format!("{}.address", service.name()),
                address: address.to_string(),
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

    /// The unix socket of a configuration, which stays as long as its path is the same.
    fn bind_socket(
        &self,
        config: &Config,
    ) -> Result<(Option<OpenSocket>, Option<FreshSocket>), BindError> {
        let wanted = config
            .admin
            .as_ref()
            .and_then(|admin| admin.socket.as_ref());
        let Some(path) = wanted else {
            return Ok((None, None));
        };
        if let Some(open) = self
            .socket
            .as_ref()
            .filter(|open| open.file.path() == path && open.file.is_there())
        {
            return Ok((Some(open.clone()), None));
        }
        let (file, door) = SocketFile::bind(path).map_err(|cause| BindError {
            key: "admin.socket".to_owned(),
            address: path.display().to_string(),
            cause,
        })?;
        let ending = watch::Sender::new(None);
        let fresh = FreshSocket {
            door,
            path: path.clone(),
            ending: ending.subscribe(),
        };
        let open = OpenSocket {
            file: Arc::new(file),
            ending: Arc::new(ending),
        };
        Ok((Some(open), Some(fresh)))
    }

    /// Takes an address's inherited socket, or binds the address. It may overlap with another address of this process, for
    /// example when `127.0.0.1` becomes `0.0.0.0`.
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
        // If a socket has exactly this address, its queue goes to the one that takes it over.
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
                // The socket in the way is this process's own: it could not be bound if another process had this address.
                Listener::bind_beside(address, slots, write_stall)
            }
            bound => bound,
        };
        bound.map_err(|error| {
            let mut passed = self.inherited.addresses();
            let in_the_way = passed.find(|passed| overlap(*passed, address));
            match in_the_way.filter(|_| error.kind() == io::ErrorKind::AddrInUse) {
                // The manager keeps it open, as another user, so only a restart of both can change it.
                Some(passed) => io::Error::other(format!(
                    "the inherited socket {passed} has that port; keep its address, or change ListenStream= and \
                     restart the socket unit and the service"
                )),
                None => error,
            }
        })
    }
}
