//! Drives the real program over real sockets, and reads the lines that users read.
//!
//! Nothing here sleeps: everything waits for an event until the deadline [`PATIENCE`].

pub mod certs;
pub mod client;
pub mod frames;
pub mod h2;
pub mod handshakes;
pub mod inside;
pub mod origin;
pub mod ports;
pub mod proxy;
pub mod quiet;
pub mod scrape;
pub mod secure;
pub mod services;
pub mod terminal;
pub mod upstream;

use std::process::Command;
use std::time::{Duration, Instant};

pub use client::{Client, Response, handshake};
pub use origin::Origin;
pub use proxy::{Line, Proxy, Setup};
pub use upstream::{Upstream, switching};

/// How long an expected event may take: far longer than on a slow, loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The part of a text between two others.
#[track_caller]
pub fn between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let part = text
        .split_once(begin)
        .and_then(|(_, rest)| rest.split_once(end));
    part.unwrap_or_else(|| panic!("no {begin:?} and {end:?} in {text:?}"))
        .0
}

/// Polls until `ready` gives something.
///
/// # Panics
/// After [`PATIENCE`]; the message names `what`.
pub fn eventually<T>(what: &str, ready: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, ready)
}

/// The same with another deadline, for what takes a known time by itself.
///
/// # Panics
/// After `patience`; the message names `what`.
pub fn within<T>(patience: Duration, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {patience:?} in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a process a signal, such as `TERM`.
#[track_caller]
pub fn signal(process: u32, name: &str) {
    let kill = format!("kill -s {name} {process}");
    let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(sent.success(), "{kill}");
}
