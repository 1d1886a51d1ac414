//! `shutdown`: its times, compared with each other and with `limits.close_wait`, and its close code.

use std::time::Duration;

use humantime::format_duration;
use serde_json::{Value as Json, json};

use super::super::fields::Fields;
use super::super::key::{Is, Key, keys};
use super::super::problem::Complaint;
use super::super::report::Report;
use super::super::value::{Choice, Literal, OrOff, Spelled, Timer, ValueType, only, range};
use super::ROOT;
use super::limits::Limits;

/// How the process stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long everything is still accepted and served after the signal; may be zero.
    pub delay: Duration,
    /// From the end of `delay`: how long open tunnels may take to end.
    pub drain: Duration,
    /// Over how much of `drain` the Closes are spread; may be zero, never longer than `drain`.
    pub spread: Duration,
    /// Status code of these Closes: a code that may be sent (RFC 6455 section 7.4).
    pub close_code: u16,
    /// When the platform kills the process after its request to stop; `None`: not known. Only for warnings.
    pub grace_period: Option<Duration>,
}

keys! {
    pub(super) static SHUTDOWN: ShutdownKeys {
        /// How long the proxy still accepts and serves everything after the signal.
        delay: Key<Duration> = &Timer::MayBeZero, Is(|| Duration::ZERO);
        /// How long tunnels may take to end, counted from the end of `delay`. They are closed with `close_code`; tunnels
        /// that are left after this time are cut.
        drain: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(20));
        /// The time over which the Closes to open tunnels are spread, within `drain`. If this key is not set and `drain`
        /// less `limits.close_wait` is shorter than the default, that is used instead.
        spread: Key<Duration> = &Timer::MayBeZero, Is(|| Duration::from_secs(5));
        /// The status code of the Closes that end open tunnels.
        close_code: Key<u16> = &CloseCode, Is(|| 1012);
        /// How long after its request to stop the platform kills the process (`terminationGracePeriodSeconds`,
        /// `TimeoutStopSec`, `stop_grace_period`). It affects only the warnings of `wsgate check`.
        grace_period: Key<Option<Duration>> = &OrOff(Timer::Positive), Is(|| None);
    }
}

/// The settings; what is wrong takes its default. `top` are the fields of the file.
pub(super) fn read(top: &Fields<'_>, limits: &Limits, report: &mut Report<'_>) -> Shutdown {
    let fields = top.open(&ROOT.shutdown, report).unwrap_or_default();
    let drain = fields.given(&SHUTDOWN.drain, report);
    let spread = fields.given(&SHUTDOWN.spread, report);
    let is_unreadable = drain == Some(None) || spread == Some(None);
    let drain = drain.flatten().unwrap_or_else(|| SHUTDOWN.drain.default());
    let left = drain.saturating_sub(limits.close_wait);
    let spread = spread.flatten();
    let spread = spread.unwrap_or_else(|| SHUTDOWN.spread.default().min(left));
    if !is_unreadable {
        compare(drain, spread, limits, top, &fields, report);
    }
    Shutdown {
        delay: fields.read(&SHUTDOWN.delay, report),
        drain,
        spread,
        close_code: fields.read(&SHUTDOWN.close_code, report),
        grace_period: fields.read(&SHUTDOWN.grace_period, report),
    }
}

/// Reports times that do not fit in each other.
fn compare(
    drain: Duration,
    spread: Duration,
    limits: &Limits,
    top: &Fields<'_>,
    fields: &Fields<'_>,
    report: &mut Report<'_>,
) {
    // The defaults fit, so one of these is in the file.
    let written = fields
        .get(&SHUTDOWN.spread)
        .or_else(|| fields.get(&SHUTDOWN.drain));
    let Some(cursor) = written.or_else(|| top.get(&ROOT.limits)) else {
        return;
    };
    let words = [drain, spread, limits.close_wait].map(format_duration);
    let [drain_words, spread_words, wait] = words;
    if spread > drain {
        let message = format!(
            "found {spread_words}, longer than shutdown.drain ({drain_words}), after which every tunnel is cut"
        );
        cursor.error(report, message);
    } else if spread.saturating_add(limits.close_wait) > drain {
        let message = format!(
            "shutdown.spread ({spread_words}) and limits.close_wait ({wait}) take longer than shutdown.drain \
             ({drain_words}), which may cut tunnels before they have answered their Close"
        );
        cursor.warning(report, message);
    }
}

/// A status code that an endpoint may send and that fits a shutdown.
struct CloseCode;

impl ValueType for CloseCode {
    fn words(&self) -> String {
        "1000, 1001, 1012, 1013 or 3000 to 4999".to_owned()
    }

    fn expected(&self) -> String {
        self.words()
    }

    fn choices(&self) -> Vec<Choice> {
        let codes = [1000, 1001, 1012, 1013];
        let codes = codes
            .iter()
            .flat_map(|code| [json!(code), json!(code.to_string())]);
        let [number, text] = range(3000, 4999);
        vec![only(codes), number, text]
    }
}

impl Literal for CloseCode {
    type Read = u16;

    fn parse(&self, found: &Spelled, _: bool) -> Result<u16, Complaint> {
        let why = match found.digits() {
            Some(code @ (1000 | 1001 | 1012 | 1013 | 3000..=4999)) => return Ok(code),
            Some(1004 | 1005 | 1006 | 1015) => ", which is never sent (RFC 6455 section 7.4.1)",
            Some(1002..=1014) => ", which means a fault, not a shutdown",
            Some(_) => ", which programs may not send (RFC 6455 section 7.4.2)",
            None => "",
        };
        let message = format!("{}{why}, expected {}", found.found(), self.expected());
        Err(Complaint::new(message))
    }

    fn written(&self, value: &u16) -> Json {
        json!(value)
    }
}
