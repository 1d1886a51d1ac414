//! `shutdown`: its times, compared with each other and with `limits.close_wait`, and its close code.

use humantime::format_duration;

use super::super::reader::{Cursor, Fields};
use super::super::report::Report;
use super::super::shape;
use super::super::{Limits, Shutdown};
use super::block;

const CODE: &str = "1000, 1001, 1012, 1013 or 3000 to 4999";

/// The settings; what is wrong takes its default. `top` are the fields of the file.
pub fn resolve(top: &Fields<'_>, limits: &Limits, report: &mut Report<'_>) -> Shutdown {
    let mut shutdown = Shutdown::default();
    let fields = block(top, "shutdown", &shape::SHUTDOWN, report);
    let get = |name| fields.as_ref().and_then(|fields| fields.get(name));
    if let Some(delay) = get("delay") {
        shutdown.delay = delay.duration_or_zero(report).unwrap_or(shutdown.delay);
    }
    if let Some(code) = get("close_code") {
        shutdown.close_code = close_code(code, report).unwrap_or(shutdown.close_code);
    }
    if let Some(grace) = get("grace_period") {
        shutdown.grace_period = grace.duration_or_off(report).flatten();
    }
    let drain = get("drain").map(|cursor| cursor.duration(report));
    let spread = get("spread").map(|cursor| cursor.duration_or_zero(report));
    // What can't be read can't be held against anything.
    if drain == Some(None) || spread == Some(None) {
        return shutdown;
    }
    shutdown.drain = drain.flatten().unwrap_or(shutdown.drain);
    let left = shutdown.drain.saturating_sub(limits.close_wait);
    shutdown.spread = spread
        .flatten()
        .unwrap_or_else(|| shutdown.spread.min(left));
    if shutdown.spread.saturating_add(limits.close_wait) <= shutdown.drain {
        return shutdown;
    }
    // The defaults fit, so that one of these is written.
    let written = get("spread").or_else(|| get("drain"));
    let Some(cursor) = written.or_else(|| top.get("limits")) else {
        return shutdown;
    };
    let (spread, drain) = (
        format_duration(shutdown.spread),
        format_duration(shutdown.drain),
    );
    if shutdown.spread > shutdown.drain {
        let message = format!(
            "found {spread}, longer than shutdown.drain ({drain}), after which every tunnel is cut"
        );
        cursor.error(report, message);
    } else {
        let wait = format_duration(limits.close_wait);
        let message = format!(
            "shutdown.spread ({spread}) and limits.close_wait ({wait}) take longer than shutdown.drain ({drain}), \
             which may cut tunnels before they have answered their Close"
        );
        cursor.warning(report, message);
    }
    shutdown
}

/// A status code that an endpoint may send and that fits a shutdown.
fn close_code(cursor: &Cursor<'_>, report: &mut Report<'_>) -> Option<u16> {
    let spelled = cursor.spelled(CODE, report)?;
    let is_plain = spelled.text.bytes().all(|b| b.is_ascii_digit());
    let code = spelled.text.parse::<u16>().ok().filter(|_| is_plain);
    let why = match code {
        Some(code @ (1000 | 1001 | 1012 | 1013 | 3000..=4999)) => return Some(code),
        Some(1004 | 1005 | 1006 | 1015) => ", which is never sent (RFC 6455 section 7.4.1)",
        Some(1002..=1014) => ", which means a fault, not a shutdown",
        Some(_) => ", which programs may not send (RFC 6455 section 7.4.2)",
        None => "",
    };
    cursor.error(report, format!("{}{why}, expected {CODE}", spelled.found()));
    None
}
