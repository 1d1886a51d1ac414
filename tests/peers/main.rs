//! Tests with real peers and tools: `tests/run` installs them, and `cargo test` alone does not build these tests.

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

/// What only these tests need: real programs, and a system that is arranged for them.
mod tools;

/// The container image, and the examples of `deploy/`.
mod deploy;
/// The health checks of HAProxy, and a standard library's client at a probe.
mod health_checks;
/// Real peers on both sides: Node, Express, Python and Chromium.
mod interop;
/// Names of upstreams, with hosts files and name servers of the tests' own.
mod names;
/// As process 1, and on a file system that does not answer.
mod process;
/// What Prometheus makes of metrics, alerts and the dashboard.
mod prometheus;
/// The commands of docs/operations.md that read records.
mod recipes;
/// The JSON Schema of the configuration, held by a validator against the files that there are.
mod schema;
/// systemd passes sockets on.
mod systemd;
/// Real TLS libraries, and a scanner.
mod tls;
