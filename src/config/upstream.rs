//! The settings of upstreams: where they listen, and how they are used.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::CertificateFiles;

/// One named upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in the file.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// Which endpoint a client gets first; the others follow when connecting fails.
    pub balance: Balance,
    /// Open tunnels to all endpoints together; `None`: no limit.
    pub max_tunnels: Option<usize>,
    /// For endpoints with TLS.
    pub tls: UpstreamTls,
    /// `None`: every endpoint counts as healthy.
    pub health_check: Option<HealthCheck>,
    /// Per endpoint: name look-up, TCP connect and TLS handshake.
    pub connect_timeout: Duration,
    /// From the request sent to the final response head.
    pub handshake_timeout: Duration,
    /// What the client gets when this upstream goes without a Close.
    pub on_abort: OnAbort,
}

/// Which endpoint a client gets first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn.
    RoundRobin,
    /// The one with the fewest open tunnels and requests.
    LeastConnections,
    /// The same one for the same client address.
    ClientIp,
}

/// How endpoints with TLS are verified, and what the proxy shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM certificates of the authorities to trust; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The name to ask for and to verify, a host name in lower case; `None`: the endpoint's host.
    pub server_name: Option<String>,
    /// The proxy's own certificate, for upstreams that want one.
    pub identity: Option<CertificateFiles>,
}

/// A question that is asked of every endpoint again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path and query in origin form.
    pub path: String,
    /// From one question to the next.
    pub interval: Duration,
    /// From the connection attempt to the head of the answer.
    pub timeout: Duration,
}

/// What a client gets when the upstream ends a tunnel without a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAbort {
    /// A Close frame of the proxy's own.
    CloseFrame,
    /// The same bare end.
    Transparent,
}

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://host:port`; the host is a name or an address without brackets.
    Http {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `https://host:port`; the same over TLS.
    Https {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `unix:/run/app.sock`: a socket of this machine, absolute or relative to the working directory.
    Unix(PathBuf),
    /// `builtin:echo`: an echo server inside the proxy, for a first try.
    Echo,
}

impl Endpoint {
    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Https { .. })
    }

    /// Host and port of an endpoint that is reached over TCP.
    #[must_use]
    pub fn address(&self) -> Option<(&str, u16)> {
        match self {
            Self::Http { host, port } | Self::Https { host, port } => Some((host, *port)),
            Self::Unix(_) | Self::Echo => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Http { host, port } => ("http", host, port),
            Self::Https { host, port } => ("https", host, port),
            Self::Unix(path) => return write!(f, "unix:{}", path.display()),
            Self::Echo => return f.write_str("builtin:echo"),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}
