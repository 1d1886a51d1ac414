//! The configuration: `proxy.yaml` read, checked and resolved into values that are valid by construction.
//!
//! [`read`] reports every problem of a file in one run. It opens no socket and reads only this file. Certificates are
//! listed in [`Outcome::certificates`]: the TLS module loads them, and its findings join the same report.

mod awaited;
mod blocks;
mod cursor;
mod fields;
mod foreign;
pub mod hops;
mod input;
mod key;
mod lint;
mod paths;
mod problem;
mod report;
mod schema;
mod slips;
mod source;
mod strays;
mod syntax;
mod value;
mod variables;
mod yaml;

#[cfg(test)]
mod tests;

pub use awaited::AwaitedFile;
pub use blocks::{
    Alpn, Balance, CertificateFiles, ClientAddress, ClientAuth, ClientAuthMode, Config, Endpoint,
    HealthCheck, Http2, Limits, Listener, LoadBalancer, Log, LogFormat, OnAbort, Shutdown, Tls,
    TlsVersion, UnknownSni, Upstream, UpstreamTls,
};
pub use input::is_read_once;
pub(crate) use lint::exposure::is_public;
pub use paths::resolves;
pub use problem::{Problem, Severity};
pub use schema::schema;
pub use source::{Outcome, Source, parse, read, read_file};
pub use value::overlap;
