//! Tests with real peers and tools. `tests/run` installs these; `cargo test` alone does not build the tests.

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

#[allow(dead_code, reason = "tests/it uses all of it")]
#[path = "../harness/mod.rs"]
mod harness;

/// What only these tests need: real programs, and a prepared system.
mod tools;

/// The container image, and the examples of `deploy/`.
mod deploy;
/// Real servers and hops that are set up wrongly, seen from outside.
mod diagnose;
/// The health checks of HAProxy, and the client of a standard library.
mod health_checks;
/// Clients, browsers and hops that speak HTTP/2 to the proxy.
mod http2;
/// Real peers on both sides: Node, Express, Python and Chromium.
mod interop;
/// Names of upstreams, with hosts files and name servers of the tests.
mod names;
/// The page of the admin service in a browser.
mod page;
/// The program as process 1, and on a file system that does not answer.
mod process;
/// Metrics, alerts and the dashboard in Prometheus.
mod prometheus;
/// The commands for records in docs/operations.md.
mod recipes;
/// The JSON Schema of the configuration: a validator compares it with the existing files.
mod schema;
/// Socket activation by systemd.
mod systemd;
/// Real TLS libraries, and a scanner.
mod tls;
