//! Moments as people write them.

use std::time::{Duration, SystemTime};

/// The two ends of a window, each in the form of a record's `time`, in which texts are ordered like moments.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) since: Option<String>,
    pub(super) until: Option<String>,
    /// Whether a day had to be chosen.
    is_chosen: bool,
}

/// Forms that are understood, for messages.
const FORMS: &str = "expected a duration before now such as 15m, a time such as 20:38, or a date with or without a time such \
                     as 2026-01-02T20:38:00+08:00; without an offset a time is UTC";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Window {
    /// Parses both ends. A time without a date is the last one before `now`, but the end is the first one after the
    /// beginning.
    ///
    /// # Errors
    /// What is wrong with an end, and what is expected.
    pub(super) fn parse(
        since: Option<&str>,
        until: Option<&str>,
        now: SystemTime,
    ) -> Result<Self, String> {
        let moment = |name: &str, text: &str| {
            moment(text, now).ok_or_else(|| format!("{name} {text:?} is not a time: {FORMS}"))
        };
        let begin = since.map(|text| moment("--since", text)).transpose()?;
        let is_any = |moment: &Moment| moment.kind == Kind::AnyDay;
        let is_chosen = begin.is_some_and(|begin| is_any(&begin));
        let begin = begin.map(|moment| moment.at);
        let end = until.map(|text| moment("--until", text)).transpose()?;
        let is_chosen = is_chosen || end.is_some_and(|end| is_any(&end));
        let end = match (end, begin) {
            (
                Some(Moment {
                    at,
                    kind: Kind::AnyDay,
                }),
                Some(begin),
            ) => Some(first_after(at, begin)),
            (
                Some(Moment {
                    at,
                    kind: Kind::Day,
                }),
                _,
            ) => at.checked_add(DAY.saturating_sub(Duration::from_millis(1))),
            (end, _) => end.map(|moment| moment.at),
        };
        if let (Some(begin), Some(end)) = (begin, end)
            && end < begin
        {
            return Err(format!(
                "--until {} is before --since {}",
                stamp(end),
                stamp(begin)
            ));
        }
        Ok(Self {
            since: begin.map(stamp),
            until: end.map(stamp),
            is_chosen,
        })
    }

    /// Both ends in words; empty if there are none.
    pub(super) fn words(&self) -> String {
        match (&self.since, &self.until) {
            (None, None) => String::new(),
            (Some(since), None) => format!("since {since}"),
            (None, Some(until)) => format!("until {until}"),
            (Some(since), Some(until)) => format!("from {since} to {until}"),
        }
    }

    /// Whether a time without a date was given, so that its day had to be chosen.
    pub(super) fn is_chosen(&self) -> bool {
        self.is_chosen
    }

    /// Whether a record's `time` is inside.
    pub(super) fn has(&self, time: &str) -> bool {
        self.since.as_deref().is_none_or(|since| time >= since)
            && self.until.as_deref().is_none_or(|until| time <= until)
    }
}

fn stamp(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// The first time of day `at` after `begin`.
fn first_after(at: SystemTime, begin: SystemTime) -> SystemTime {
    let days = |between: Duration| {
        DAY.saturating_mul(u32::try_from(between.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX))
    };
    let found = match at.duration_since(begin) {
        Ok(after) => at.checked_sub(days(after)),
        Err(before) => at.checked_add(days(before.duration()) + DAY),
    };
    found.unwrap_or(at)
}

/// What a text says.
#[derive(Clone, Copy)]
struct Moment {
    at: SystemTime,
    kind: Kind,
}

/// How exact it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    /// A date without a time: its beginning.
    Day,
    /// A time without a date.
    AnyDay,
}

fn moment(text: &str, now: SystemTime) -> Option<Moment> {
    let (at, kind) = read(text, now)?;
    // Others have no form in records.
    let last = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(253_402_300_799))?;
    (SystemTime::UNIX_EPOCH..last)
        .contains(&at)
        .then_some(Moment { at, kind })
}

fn read(text: &str, now: SystemTime) -> Option<(SystemTime, Kind)> {
    let text = text.trim();
    if text == "now" {
        return Some((now, Kind::Exact));
    }
    // M would be months, which nobody means here.
    if let Ok(ago) = humantime::parse_duration(text)
        && !text.contains('M')
    {
        return Some((now.checked_sub(ago)?, Kind::Exact));
    }
    let (text, ahead) = offset(text)?;
    let date = text
        .get(..10)
        .filter(|date| date.as_bytes().get(4) == Some(&b'-'));
    let Some(date) = date else {
        let local = shifted(now, -ahead).filter(|local| *local >= SystemTime::UNIX_EPOCH)?;
        let today = humantime::format_rfc3339_seconds(local).to_string();
        let at = shifted(at(today.get(..10)?, text)?, ahead)?;
        let at = if at > now { at.checked_sub(DAY)? } else { at };
        return Some((at, Kind::AnyDay));
    };
    let (time, kind) = match text.get(10..)?.strip_prefix(['T', 't', ' ']) {
        Some(time) => (time, Kind::Exact),
        None if text.len() == 10 => ("00:00", Kind::Day),
        None => return None,
    };
    Some((shifted(at(date, time)?, ahead)?, kind))
}

/// Splits an offset from the end. The second value is what must be added to the local time, in minutes, to get UTC.
fn offset(text: &str) -> Option<(&str, i64)> {
    if let Some(text) = text.strip_suffix(['Z', 'z']) {
        return Some((text.trim_end(), 0));
    }
    // The hyphens of a date come before its first colon.
    let Some(colon) = text.find(':') else {
        return Some((text, 0));
    };
    let Some(sign) = text.get(colon..)?.find(['+', '-']).map(|at| colon + at) else {
        return Some((text, 0));
    };
    let (local, written) = text.split_at_checked(sign)?;
    let digits: String = written.chars().skip(1).filter(|&c| c != ':').collect();
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = match digits.len() {
        1 | 2 => (digits.parse().ok()?, 0),
        4 => (
            digits.get(..2)?.parse().ok()?,
            digits.get(2..)?.parse().ok()?,
        ),
        _ => return None,
    };
    if hours > 14 || minutes > 59 {
        return None;
    }
    let ahead = hours * 60 + minutes;
    let ahead = if written.starts_with('+') {
        -ahead
    } else {
        ahead
    };
    Some((local.trim_end(), ahead))
}

/// A date and a time of day (`HH:MM`, with or without seconds and fractions) in UTC.
fn at(date: &str, time: &str) -> Option<SystemTime> {
    let time = match time.len() {
        5 => format!("{time}:00"),
        _ => time.to_owned(),
    };
    humantime::parse_rfc3339(&format!("{date}T{time}Z")).ok()
}

fn shifted(at: SystemTime, minutes: i64) -> Option<SystemTime> {
    let by = Duration::from_secs(minutes.unsigned_abs() * 60);
    if minutes < 0 {
        at.checked_sub(by)
    } else {
        at.checked_add(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        humantime::parse_rfc3339("2026-01-02T20:40:30Z").unwrap()
    }

    #[test]
    fn moments_are_written_in_many_ways() {
        for (text, expected) in [
            ("now", "2026-01-02T20:40:30.000Z"),
            ("15m", "2026-01-02T20:25:30.000Z"),
            ("1h 30m", "2026-01-02T19:10:30.000Z"),
            ("20:38", "2026-01-02T20:38:00.000Z"),
            ("20:38:05.250", "2026-01-02T20:38:05.250Z"),
            ("20:38Z", "2026-01-02T20:38:00.000Z"),
            ("20:41", "2026-01-01T20:41:00.000Z"),
            ("04:38+08:00", "2026-01-02T20:38:00.000Z"),
            ("04:45+08", "2026-01-01T20:45:00.000Z"),
            ("15:00-05:00", "2026-01-02T20:00:00.000Z"),
            ("2026-01-02", "2026-01-02T00:00:00.000Z"),
            ("2026-01-02 20:38", "2026-01-02T20:38:00.000Z"),
            ("2026-01-02T20:38:05.678Z", "2026-01-02T20:38:05.678Z"),
            ("2026-01-03T04:38:05+0800", "2026-01-02T20:38:05.000Z"),
            ("2026-01-02T15:38-05:00", "2026-01-02T20:38:00.000Z"),
        ] {
            let window = Window::parse(Some(text), None, now()).unwrap();
            assert_eq!(window.since.as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_moment_is_an_error() {
        for text in [
            "",
            "yesterday",
            "20",
            "25:00",
            "20:38+99:00",
            "20:38+",
            "20:38+8:0",
            "2026-13-01",
            "2026-01-02X20:38",
            "2026-01-02T",
            "例:子",
            "-5m",
            "15M",
            "60y",
            "1970-01-01T00:00+01:00",
            "9999-12-31T23:59-14:00",
        ] {
            let error = Window::parse(Some(text), None, now()).unwrap_err();
            assert!(error.contains("--since") && error.contains("15m"), "{text}");
        }
    }

    #[test]
    fn a_time_without_a_date_ends_after_the_window_begins() {
        let window = Window::parse(Some("20:30"), Some("20:50"), now()).unwrap();
        assert_eq!(window.until.as_deref(), Some("2026-01-02T20:50:00.000Z"));
        let window = Window::parse(Some("23:50"), Some("00:10"), now()).unwrap();
        assert_eq!(window.since.as_deref(), Some("2026-01-01T23:50:00.000Z"));
        assert_eq!(window.until.as_deref(), Some("2026-01-02T00:10:00.000Z"));
        assert!(window.has("2026-01-02T00:00:00.000Z"));
        assert!(!window.has("2026-01-02T00:10:00.001Z"));
        let window = Window::parse(Some("2025-06-01T03:00"), Some("03:01"), now()).unwrap();
        assert_eq!(window.until.as_deref(), Some("2025-06-01T03:01:00.000Z"));
        let window = Window::parse(Some("2025-06-01"), Some("2025-06-01"), now()).unwrap();
        assert_eq!(window.until.as_deref(), Some("2025-06-01T23:59:59.999Z"));
        let error = Window::parse(Some("10m"), Some("20m"), now()).unwrap_err();
        assert!(error.contains("is before"), "{error}");
    }
}
