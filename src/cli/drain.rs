//! `wsgate drain`: empties the running proxy without ending it.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::ask::{NoAnswer, Service, Target, ask, reachable};
use super::{FAILED, OK, say};

const ADMIN: Service = Service {
    name: "admin",
    of: |config| config.admin,
    example: "127.0.0.1:9901",
};

/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Between two questions of how far it is.
const EVERY: Duration = Duration::from_millis(100);

/// Beyond the drain's own times: cut connections take a moment to end, and answers to come.
const SPARE: Duration = Duration::from_secs(5);

/// Where no configuration says how long a drain may take: whoever waits for the command has a shorter time.
const LONGEST: Duration = Duration::from_secs(3600);

/// Asks `admin.address`, or `address` in its place, for a drain; with `is_waiting` returns when it is over.
pub(super) fn drain(file: &Path, address: Option<Target>, is_waiting: bool) -> u8 {
    // Not even opened then: it may be anything, such as a pipe that nobody writes to.
    let (address, config) = match address {
        Some(address) => (address, None),
        None => match reachable(file, &ADMIN) {
            Ok(found) => found,
            Err(code) => return code,
        },
    };
    let fail = |said: &str| {
        say(io::stderr(), &format!("http://{address}/drain: {said}\n"));
        FAILED
    };
    match ask(&address, "POST", "/drain", TIMEOUT) {
        Ok(answer) if matches!(answer.status, 200 | 202) => {
            say(io::stdout(), &format!("{}\n", answer.text));
        }
        Ok(answer) => return fail(&format!("{} {}", answer.status, answer.text)),
        Err(error) => return fail(&error.to_string()),
    }
    if !is_waiting {
        return OK;
    }
    let most = config.map_or(LONGEST, |config| {
        config.shutdown.delay + config.shutdown.drain + SPARE
    });
    match wait(&address, most) {
        Ok(said) => {
            say(io::stdout(), &format!("{said}\n"));
            OK
        }
        Err(said) => fail(&said),
    }
}

/// Waits until the drain is over, and gives the words for its end, or for what keeps it from being known.
fn wait(address: &Target, most: Duration) -> Result<String, String> {
    let deadline = Instant::now() + most;
    loop {
        match ask(address, "GET", "/drain", TIMEOUT) {
            Ok(answer) if answer.text.starts_with("drained") => return Ok(answer.text),
            Ok(answer) if Instant::now() >= deadline => return Err(answer.text),
            Err(error) if Instant::now() >= deadline => return Err(error.to_string()),
            // A signal ended the process with its drain.
            Err(NoAnswer::Refused(_)) => {
                return Ok("drained: the proxy has ended".to_owned());
            }
            // An answer that does not come may be one that was on its way when the process ended.
            Ok(_) | Err(_) => std::thread::sleep(EVERY),
        }
    }
}
