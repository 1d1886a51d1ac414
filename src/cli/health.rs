//! `wsgate health`: asks whether the proxy runs. For images that contain no other program that could ask.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::ask::{Service, Target, ask, reachable};
use super::{FAILED, OK, say};

const PROBES: Service = Service {
    name: "probes",
    of: |config| config.probes.map(Target::Address),
    example: "127.0.0.1:9900",
};

/// Asks `probes.address`, or `address` if given, whether the process runs or is ready.
pub(super) fn health(
    file: &Path,
    address: Option<Target>,
    is_ready_meant: bool,
    timeout: Duration,
) -> u8 {
    let address = match address {
        Some(address) => address,
        None => match reachable(file, &PROBES) {
            Ok((address, _)) => address,
            Err(code) => return code,
        },
    };
    let path = if is_ready_meant {
        "/readyz"
    } else {
        "/healthz"
    };
    let (code, said) = match ask(&address, "GET", path, timeout) {
        Ok(answer) if answer.status == 200 => (OK, answer.text),
        Ok(answer) => (FAILED, format!("{} {}", answer.status, answer.text)),
        Err(error) => (FAILED, error.to_string()),
    };
    // The health checks of containers keep the output of both streams.
    say(io::stdout(), &format!("{}: {said}\n", address.url(path)));
    code
}
