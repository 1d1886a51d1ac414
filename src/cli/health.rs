//! `wsgate health`: whether the proxy of a configuration runs, for images that hold no other program to ask with.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::ask::{ask, configuration, reachable};
use super::{FAILED, OK, WRONG, say};

/// Asks `probes.address` whether the process runs, or whether it is ready.
pub(super) fn health(file: &Path, is_ready_meant: bool, timeout: Duration) -> u8 {
    let config = match configuration(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let address = match reachable(config.probes, "probes", "127.0.0.1:9900") {
        Ok(address) => address,
        Err(wrong) => {
            say(io::stderr(), &format!("{}: {wrong}\n", file.display()));
            return WRONG;
        }
    };
    let path = if is_ready_meant {
        "/readyz"
    } else {
        "/healthz"
    };
    let (code, said) = match ask(address, "GET", path, timeout) {
        Ok(answer) if answer.status == 200 => (OK, answer.text),
        Ok(answer) => (FAILED, format!("{} {}", answer.status, answer.text)),
        Err(error) => (FAILED, error.to_string()),
    };
    // Health checks of containers keep what is said on either stream.
    say(io::stdout(), &format!("http://{address}{path}: {said}\n"));
    code
}
