//! The configuration: `proxy.yaml` read, checked and resolved into values that are valid by construction.
//!
//! [`read`] reports every problem of a file in one run. It opens no socket and reads only this file. Certificates are
//! listed in [`Outcome::certificates`]: the TLS module loads them, and its findings join the same report.

mod awaited;
pub mod hops;
mod input;
mod lint;
mod problem;
mod reader;
mod report;
mod resolve;
mod scalar;
pub mod shape;
mod slips;
mod source;
mod strays;
mod syntax;
mod upstream;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use awaited::AwaitedFile;
pub use input::is_read_once;
pub(crate) use lint::exposure::is_public;
pub use problem::{Problem, Severity};
pub use resolve::overlap;
pub use source::{Outcome, Source, parse, read, read_file};
pub use upstream::{Balance, Endpoint, HealthCheck, OnAbort, Upstream, UpstreamTls};

use crate::policy::Route;
use crate::reason::Level;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Peers whose forwarded fields and PROXY protocol headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What is known of the hop in front, if there is one.
    pub load_balancer: Option<Arc<LoadBalancer>>,
    /// In the file's order; the first match wins.
    pub routes: Arc<[Route]>,
    /// By name; every name that a route uses is here.
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// Bounds on what peers may use.
    pub limits: Limits,
    /// How the process stops.
    pub shutdown: Shutdown,
    /// What is written of the records.
    pub log: Log,
    /// Where health checks are answered.
    pub probes: Option<SocketAddr>,
    /// Where a drain can be asked for.
    pub admin: Option<SocketAddr>,
}

/// The hop in front of the proxy, as far as the operator tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// What it is called in records and hints.
    pub name: Option<String>,
    /// After how much silence it closes a connection.
    pub idle_timeout: Option<Duration>,
}

/// One bound address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where to bind.
    pub address: SocketAddr,
    /// `None`: plain, for use behind a hop that terminates TLS.
    pub tls: Option<Tls>,
    /// Whether requests are sent to the same place over TLS; only without `tls`.
    pub redirect_to_https: bool,
    /// Whether a connection begins with a PROXY protocol header, and is refused without one; only with trusted proxies.
    pub proxy_protocol: bool,
}

/// TLS settings of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificate and key files, in the file's order; with `self_signed` the development certificate is the only one.
    pub certificates: Vec<CertificateFiles>,
    /// Make `certs/dev.pem` and `certs/dev-key.pem` beside the configuration if they are missing.
    pub self_signed: bool,
    /// The least TLS version.
    pub min_version: TlsVersion,
    /// What a client gets that asks for a name no certificate covers.
    pub unknown_sni: UnknownSni,
    /// Whether clients have certificates.
    pub client_auth: Option<ClientAuth>,
}

/// How clients show who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM file with the authorities that issue their certificates.
    pub ca: PathBuf,
    /// Whether they must.
    pub mode: ClientAuthMode,
    /// Path of this entry in the configuration file, such as `listeners[0].tls.client_auth`.
    pub site: String,
}

/// Whether a client needs a certificate. One that it presents must be good in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthMode {
    /// Without one the handshake fails.
    Required,
    /// Without one it is let through.
    Optional,
}

/// The files of one certificate, absolute or relative to the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM chain, leaf first.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    /// Path of this entry in the configuration file, such as `listeners[0].tls.certificates[1]`.
    pub site: String,
    /// Whether it is the development certificate of `tls.self_signed`.
    pub is_development: bool,
}

/// A TLS protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// What a client gets that asks for a name no certificate covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownSni {
    /// The alert `unrecognized_name`.
    Refuse,
    /// The first certificate.
    Default,
}

/// Bounds on what peers may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections.
    pub connections: usize,
    /// Open connections of one client; `None`: as many as there are.
    pub connections_per_client: Option<usize>,
    /// Opening handshakes of one client in a minute; `None`: any number.
    pub handshakes_per_client: Option<usize>,
    /// Bytes of a request head or of a response head.
    pub header_bytes: usize,
    /// From accept to the end of the TLS handshake.
    pub tls_handshake: Duration,
    /// From the end of the TLS handshake (or accept) to the end of the request head.
    pub request_head: Duration,
    /// Between the answer to a request and the next request of the connection.
    pub keep_alive: Duration,
    /// How long bytes may wait for a peer that does not read.
    pub write_stall: Duration,
    /// How long a side may stay silent after the other ended, and how long a refused client may take to read.
    pub close_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_client: None,
            handshakes_per_client: None,
            header_bytes: 16 * 1024,
            tls_handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(10),
            // Longer than the 60 s after which most balancers give up an unused connection.
            keep_alive: Duration::from_secs(90),
            write_stall: Duration::from_secs(30),
            close_wait: Duration::from_secs(5),
        }
    }
}

/// How the process stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long everything is still accepted and served after the signal; may be zero.
    pub delay: Duration,
    /// From the end of `delay`: how long open tunnels may finish.
    pub drain: Duration,
    /// Over how much of `drain` the Closes are spread; may be zero, never longer than `drain`.
    pub spread: Duration,
    /// Status code of these Closes: one that may be sent (RFC 6455 section 7.4).
    pub close_code: u16,
    /// When the platform kills the process after it asked for the end; `None`: not known. Only for warnings.
    pub grace_period: Option<Duration>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            drain: Duration::from_secs(20),
            spread: Duration::from_secs(5),
            close_code: 1012,
            grace_period: None,
        }
    }
}

/// What is written of the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least level written.
    pub level: Level,
    /// JSON or text.
    pub format: LogFormat,
    /// Query parameters whose values are kept.
    pub query_keep: Vec<String>,
    /// How much of a client's address is written.
    pub client_address: ClientAddress,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: Level::Info,
            format: LogFormat::Auto,
            query_keep: Vec::new(),
            client_address: ClientAddress::Full,
        }
    }
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// One line for people.
    Text,
}

/// How much of a client's address is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// All of it.
    Full,
    /// Without the last byte (IPv4) or the last 80 bits (IPv6).
    Truncated,
    /// Not at all.
    Off,
}
