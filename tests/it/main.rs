//! Tests that drive the real program, by behaviour. They need only what the build needs; tests that need other programs
//! are in `tests/peers`.

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
/// What the admin service shows, and the tunnels that it closes.
mod admin;
/// The command line, and what `check` reports about certificates.
mod cli;
/// What `diagnose` says of broken servers.
mod diagnose;
/// What the documents promise.
mod docs;
/// Drains that are requested through the admin service.
mod drain;
/// What `find` and `explain` make of records.
mod find;
/// Malformed requests, and requests that are not opening handshakes.
mod http;
/// HTTP/2.
mod http2;
/// Answers that come late.
mod late;
/// A build without the default features.
#[cfg(not(any(feature = "echo", feature = "self-signed")))]
mod lean;
/// What one client may use, and what happens when descriptors run out.
mod limits;
/// How much memory hostile clients can make the proxy use.
mod memory;
/// What a scrape shows.
mod metrics;
/// Plain requests: who may pass, what reaches the upstream, and one record each.
mod plain;
/// Host, path, Origin and subprotocols.
mod policy;
/// Health checks, and `wsgate health`.
mod probes;
/// The table of reasons, and what is generated from it.
mod reasons;
/// Exactly one record for each request and connection, whatever happens.
mod record;
/// A new configuration or new certificates for a running process.
mod reload;
/// The JSON Schema of the configuration for editors.
mod schema;
/// What happens at the end of the process.
mod stop;
/// Socket activation and notifications of a service manager.
mod systemd;
/// What ARCHITECTURE.md says about the source.
mod tidy;
/// Every way a TLS handshake can fail.
mod tls;
/// `wsgate top`, against a server that answers as the admin listener does.
#[cfg(feature = "top")]
mod top;
/// What passes through tunnels, and how they end.
mod tunnel;
/// Endpoints that fail, and answers that are not a valid 101.
mod upstream;
