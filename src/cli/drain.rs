//! `wsgate drain`: closes the tunnels of the running proxy without ending the process.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::ask::{ADMIN, NoAnswer, Target, ask, reachable};
use super::{FAILED, OK, say};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often to ask for the progress.
const EVERY: Duration = Duration::from_millis(100);

/// How long to wait beyond the drain's own deadline, for cut connections to end and for answers.
const SPARE: Duration = Duration::from_secs(5);

/// How long to wait if the configuration is not known; callers usually have a shorter limit.
const LONGEST: Duration = Duration::from_secs(3600);

/// Asks `admin.address`, or `address` if given, for a drain. With `is_waiting`, returns when the drain is over.
pub(super) fn drain(file: &Path, address: Option<Target>, is_waiting: bool) -> u8 {
    // The file is not opened: it may be a pipe without a writer, for example.
    let (address, config) = match address {
        Some(address) => (address, None),
        None => match reachable(file, &ADMIN) {
            Ok(found) => found,
            Err(code) => return code,
        },
    };
    let fail = |said: &str| {
        say(
            io::stderr(),
            &format!("{}: {said}\n", address.url("/drain")),
        );
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

/// Waits until the drain is over. Returns the service's last answer, or why there is none.
fn wait(address: &Target, most: Duration) -> Result<String, String> {
    let deadline = Instant::now() + most;
    loop {
        match ask(address, "GET", "/drain", TIMEOUT) {
            Ok(answer) if answer.text.starts_with("drained") => return Ok(answer.text),
            Ok(answer) if Instant::now() >= deadline => return Err(answer.text),
            Err(error) if Instant::now() >= deadline => return Err(error.to_string()),
            // A signal ended both the drain and the process.
            Err(NoAnswer::Refused(_)) => {
                return Ok("drained: the proxy has ended".to_owned());
            }
            // The missing answer may have been under way when the process ended.
            Ok(_) | Err(_) => std::thread::sleep(EVERY),
        }
    }
}
