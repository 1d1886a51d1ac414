//! Sockets that were bound before this process began: what a service manager passes on (`LISTEN_FDS`, sd_listen_fds(3)).
//!
//! Takes the environment; gives each socket to the key that has its address. The sockets stay open where they were made,
//! so that between two processes clients wait in the kernel's queue and nobody is refused.

use std::env;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use socket2::SockRef;

/// The descriptor of the first one; sd_listen_fds(3) fixes it.
const FIRST: usize = 3;

/// Sockets that wait for whoever is to accept on them.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Waiting>);

#[derive(Debug)]
struct Waiting {
    address: SocketAddr,
    socket: TcpListener,
}

/// A descriptor that was passed and can't be listened on.
#[derive(Debug)]
pub struct Unusable {
    descriptor: usize,
    /// From `LISTEN_FDNAMES`: with systemd the socket unit's name, unless it has another.
    name: Option<String>,
    cause: io::Error,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the inherited descriptor {}", self.descriptor)?;
        if let Some(name) = &self.name {
            write!(f, " ({name:?})")?;
        }
        write!(
            f,
            " is no TCP socket that listens: {}; let the socket unit have ListenStream= with addresses and ports only, \
             and Accept=no",
            self.cause
        )
    }
}

impl std::error::Error for Unusable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl Inherited {
    /// What the environment says was passed to this process, which is nothing where `LISTEN_PID` names another one.
    /// `LISTEN_FDS` and `LISTEN_PID` are removed, so this is for the start, while there is one thread.
    ///
    /// # Errors
    /// The first descriptor that is no listening TCP socket.
    pub fn from_environment() -> Result<Self, Unusable> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let name = names.next().filter(|name| !name.is_empty());
            match waiting(&mut passed, index) {
                Ok(socket) => sockets.extend(socket),
                Err(cause) => {
                    let descriptor = FIRST + index;
                    return Err(Unusable {
                        descriptor,
                        name,
                        cause,
                    });
                }
            }
        }
        Ok(Self(sockets))
    }

    /// The socket that is bound to `address`, for whoever has that address in the configuration; the first where there
    /// are several.
    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |waiting: &Waiting| {
            (waiting.address.ip(), waiting.address.port()) == (address.ip(), address.port())
        };
        let index = self.0.iter().position(is_it)?;
        Some(self.0.remove(index).socket)
    }

    /// The address of a socket that nobody took: whoever connects to it would wait for ever.
    #[must_use]
    pub fn left(&self) -> Option<SocketAddr> {
        self.0.first().map(|waiting| waiting.address)
    }
}

fn waiting(passed: &mut ListenFd, index: usize) -> io::Result<Option<Waiting>> {
    let Some(socket) = passed.take_tcp_listener(index)? else {
        return Ok(None);
    };
    if !SockRef::from(&socket).is_listener()? {
        return Err(io::Error::other("it does not listen"));
    }
    let address = socket.local_addr()?;
    Ok(Some(Waiting { address, socket }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_gets_its_socket_once() {
        let mut inherited = Inherited::default();
        let mut addresses = Vec::new();
        for _ in 0..2 {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            addresses.push(address);
            inherited.0.push(Waiting { address, socket });
        }
        let other = SocketAddr::new([127, 0, 0, 2].into(), addresses[1].port());
        assert!(inherited.take(other).is_none());
        let taken = inherited.take(addresses[1]).unwrap();
        assert_eq!(taken.local_addr().unwrap(), addresses[1]);
        assert!(inherited.take(addresses[1]).is_none());
        assert_eq!(inherited.left(), Some(addresses[0]));
        assert!(inherited.take(addresses[0]).is_some());
        assert_eq!(inherited.left(), None);
    }
}
