//! Sockets that were bound before this process started, passed by a service manager (`LISTEN_FDS`, sd_listen_fds(3)).
//!
//! Takes the environment; gives each socket to the key of the configuration that has its address. The service manager
//! keeps the sockets open too. Between two processes, clients wait in the kernel's queue and are not refused.

use std::env;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use socket2::SockRef;

/// The number of the first descriptor, which sd_listen_fds(3) fixes.
const FIRST: usize = 3;

/// A larger number must be a mistake; each descriptor would be examined.
const MOST: usize = 1024;

/// The sockets that were passed, to be taken by their listeners.
#[derive(Debug, Default)]
pub struct Inherited(Vec<PassedSocket>);

#[derive(Debug)]
struct PassedSocket {
    descriptor: usize,
    address: SocketAddr,
    socket: TcpListener,
    is_taken: bool,
}

/// Why the passed sockets can't be used.
#[derive(Debug)]
pub enum Unusable {
    /// `LISTEN_FDS` is not a valid number of sockets.
    Count(String),
    /// A descriptor is not a listening socket.
    Descriptor {
        /// Its number.
        descriptor: usize,
        /// From `LISTEN_FDNAMES`; systemd uses the name of the socket unit by default.
        name: Option<String>,
        /// What is wrong with it.
        cause: io::Error,
    },
    /// Two descriptors have the same address.
    Twice {
        /// Their numbers.
        descriptors: [usize; 2],
        /// The address that both are bound to.
        address: SocketAddr,
    },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(
                f,
                "LISTEN_FDS={count:?} is not a number of sockets from 0 to {MOST}: let the service manager set it, or unset it"
            ),
            Self::Descriptor {
                descriptor,
                name,
                cause,
            } => {
                write!(f, "the inherited descriptor {descriptor}")?;
                if let Some(name) = name {
                    write!(f, " ({name:?})")?;
                }
                write!(
                    f,
                    " is not a listening TCP socket: {cause}; in the socket unit write only addresses and ports as \
                     ListenStream=, and Accept=no"
                )
            }
            Self::Twice {
                descriptors: [one, other],
                address,
            } => write!(
                f,
                "{address} was passed twice, as the inherited descriptors {one} and {other}: remove one of the two \
                 ListenStream= lines from the socket units"
            ),
        }
    }
}

impl std::error::Error for Unusable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Descriptor { cause, .. } => Some(cause),
            Self::Count(_) | Self::Twice { .. } => None,
        }
    }
}

impl Inherited {
    /// The sockets that the environment passes to this process, if `LISTEN_PID` names it (sd_listen_fds(3)). This
    /// changes the environment, so call it at the start, while there is only one thread.
    ///
    /// # Errors
    /// An invalid count, the first descriptor that is not a listening TCP socket, or two descriptors with one address.
    pub fn from_environment() -> Result<Self, Unusable> {
        let Some(count) = env::var_os("LISTEN_FDS") else {
            return Ok(Self::default());
        };
        let process = env::var("LISTEN_PID").unwrap_or_default();
        if process.is_empty() {
            tracing::warn!(
                "LISTEN_FDS={count:?} without LISTEN_PID is not for this process; its sockets are not used"
            );
            return Ok(Self::default());
        }
        if process != std::process::id().to_string() {
            return Ok(Self::default());
        }
        let count = count.to_string_lossy().into_owned();
        if !count.parse().is_ok_and(|count: usize| count <= MOST) {
            return Err(Unusable::Count(count));
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut listen = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..listen.len() {
            let name = names.next().filter(|name| !name.is_empty());
            let descriptor = FIRST + index;
            let passed = passed(&mut listen, index).map_err(|cause| Unusable::Descriptor {
                descriptor,
                name,
                cause,
            })?;
            if let Some(passed) = passed {
                inherited.add(passed)?;
            }
        }
        Ok(inherited)
    }

    fn add(&mut self, passed: PassedSocket) -> Result<(), Unusable> {
        if let Some(other) = self.at(passed.address) {
            return Err(Unusable::Twice {
                descriptors: [other.descriptor, passed.descriptor],
                address: passed.address,
            });
        }
        self.0.push(passed);
        Ok(())
    }

    fn at(&mut self, address: SocketAddr) -> Option<&mut PassedSocket> {
        self.0.iter_mut().find(|passed| {
            (passed.address.ip(), passed.address.port()) == (address.ip(), address.port())
        })
    }

    /// The socket that is bound to `address`. A copy stays here, so that an address which a reload removes can come
    /// back.
    ///
    /// # Errors
    /// If no descriptor is left.
    pub fn take(&mut self, address: SocketAddr) -> io::Result<Option<TcpListener>> {
        let Some(passed) = self.at(address) else {
            return Ok(None);
        };
        let socket = passed.socket.try_clone()?;
        passed.is_taken = true;
        Ok(Some(socket))
    }

    /// The address of a socket that nobody took: its clients would wait forever.
    #[must_use]
    pub fn left(&self) -> Option<SocketAddr> {
        let left = self.0.iter().find(|passed| !passed.is_taken);
        left.map(|passed| passed.address)
    }

    /// The addresses of all sockets.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|passed| passed.address)
    }
}

fn passed(listen: &mut ListenFd, index: usize) -> io::Result<Option<PassedSocket>> {
    let Some(socket) = listen.take_tcp_listener(index)? else {
        return Ok(None);
    };
    if !SockRef::from(&socket).is_listener()? {
        return Err(io::Error::other("it does not listen"));
    }
    Ok(Some(PassedSocket {
        descriptor: FIRST + index,
        address: socket.local_addr()?,
        socket,
        is_taken: false,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_gets_its_socket_as_often_as_it_asks() {
        let mut inherited = Inherited::default();
        let mut addresses = Vec::new();
        for descriptor in [3, 4] {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            addresses.push(address);
            let passed = PassedSocket {
                descriptor,
                address,
                socket,
                is_taken: false,
            };
            inherited.add(passed).unwrap();
        }
        let other = SocketAddr::new([127, 0, 0, 2].into(), addresses[1].port());
        assert!(inherited.take(other).unwrap().is_none());
        for _ in 0..2 {
            let taken = inherited.take(addresses[1]).unwrap().unwrap();
            assert_eq!(taken.local_addr().unwrap(), addresses[1]);
        }
        assert_eq!(inherited.left(), Some(addresses[0]));
        assert!(inherited.take(addresses[0]).unwrap().is_some());
        assert_eq!(inherited.left(), None);
    }
}
