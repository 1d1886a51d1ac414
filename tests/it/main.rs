//! The tests that drive the real program, by behaviour. They need no other program than the build does; those that do are
//! in `tests/peers`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::needless_pass_by_value,
    reason = "tests fail loudly, and nothing outside calls them"
)]

#[path = "../harness/mod.rs"]
mod harness;

/// Connections that end before a protocol is spoken.
mod accept;
/// The command line, and what `check` says of certificates.
mod cli;
/// What the documents promise.
mod docs;
/// Drains that are asked for through the admin listener.
mod drain;
/// Malformed requests, and requests that are no opening handshake.
mod http;
/// A build without the default features.
#[cfg(not(any(feature = "echo", feature = "self-signed")))]
mod lean;
/// What one client may use, and what happens when descriptors run out.
mod limits;
/// What clients that want to cost much cost in memory.
mod memory;
/// What a scrape tells.
mod metrics;
/// Plain requests: who may pass, what reaches the upstream, and one record each.
mod plain;
/// Host, path, Origin and subprotocols.
mod policy;
/// Health checks, and the command that is one.
mod probes;
/// The table of reasons, and what is generated from it.
mod reasons;
/// Exactly one record each, whatever happens.
mod record;
/// Another configuration, and other certificates, for a process that goes on.
mod reload;
/// The JSON Schema of the configuration that is kept for editors.
mod schema;
/// What happens at the end of the process.
mod stop;
/// What a service manager does with the program: sockets that it passes on, and what it is told.
mod systemd;
/// What ARCHITECTURE.md says of the source, held against it.
mod tidy;
/// Every way a TLS handshake can fail.
mod tls;
/// What passes through tunnels, and who ended them how.
mod tunnel;
/// Endpoints that fail, and answers that are not a good 101.
mod upstream;
