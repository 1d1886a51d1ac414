//! Why an address is not served, and what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why an address is not served.
#[derive(Debug)]
pub struct BindError {
    /// The key with the address.
    pub(super) key: String,
    /// The address, or the path of a unix socket.
    pub(super) address: String,
    pub(super) cause: io::Error,
}

impl BindError {
    /// The error for an inherited socket that nobody would accept on.
    pub(super) fn unclaimed(address: SocketAddr) -> Self {
        let cause = "a socket with this address was passed to the process, and no listeners[].address, probes.address or \
                     admin.address is the same; add it there, or take its ListenStream= out of the socket unit";
        Self {
            key: "listeners[].address".to_owned(),
            address: address.to_string(),
            cause: io::Error::other(cause),
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        write!(f, "can't listen on {}: {}", self.address, self.cause)?;
        match self.cause.kind() {
            io::ErrorKind::AddrInUse => write!(f, "; stop what listens there, or change {key}"),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "; it is not an address of this machine: change {key}")
            }
            io::ErrorKind::PermissionDenied if self.address.starts_with('/') => {
                write!(
                    f,
                    "; let the proxy's user write to its folder, or change {key}"
                )
            }
            io::ErrorKind::NotFound => write!(f, "; make its folder, or change {key}"),
            io::ErrorKind::PermissionDenied => {
                write!(f, "; ports below 1024 need a privilege: change {key}")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}
