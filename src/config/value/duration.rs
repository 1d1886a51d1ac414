//! Durations.

#[cfg(test)]
mod tests;

use std::time::Duration;

use humantime::DurationError;
use serde_json::{Value as Json, json};

use super::super::problem::Complaint;
use super::literal::or_off;
use super::{Choice, Definition, Literal, Spelled, ValueType};

/// The clock's resolution.
const SHORTEST: Duration = Duration::from_millis(1);

/// Longest duration: sums with the clock stay far from their end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const UNITS: [&str; 5] = ["ms", "s", "m", "h", "d"];

static DURATION: Definition = Definition {
    name: "duration",
    schema: || {
        let units = UNITS.join("|");
        json!({
            "description": "A duration such as `500ms`, `10s`, `2m` or `1h`; not zero, at most 365d.",
            "type": "string",
            "pattern": format!(r"^\s*([0-9]+(\.[0-9]+)?\s*({units})\s*)+$"),
            "not": { "pattern": r"^[^1-9]*$" },
        })
    },
};

static ZERO: Definition = Definition {
    name: "zero",
    schema: || {
        json!({
            "description": "`0s`: no time at all.",
            "anyOf": [{ "const": 0 }, { "type": "string", "pattern": r"^\s*(0+|([0.]+\s*[a-z]+\s*)+)$" }],
        })
    },
};

/// A duration.
#[derive(Debug)]
pub enum Timer {
    /// It is not zero.
    Positive,
    /// It may be zero.
    MayBeZero,
}

impl ValueType for Timer {
    fn words(&self) -> String {
        match self {
            Self::Positive => "duration".to_owned(),
            Self::MayBeZero => "duration or `0s`".to_owned(),
        }
    }

    fn expected(&self) -> String {
        let expected = "a duration such as 10s, 500ms, 2m or 1h";
        match self {
            Self::Positive => expected.to_owned(),
            Self::MayBeZero => format!("{expected}, or 0s"),
        }
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices = vec![Choice::Defined(&DURATION)];
        if matches!(self, Self::MayBeZero) {
            choices.push(Choice::Defined(&ZERO));
        }
        choices
    }
}

impl Literal for Timer {
    type Read = Duration;

    fn parse(&self, found: &Spelled, off: bool) -> Result<Duration, Complaint> {
        let may_be_zero = matches!(self, Self::MayBeZero);
        let duration = parse(&found.text).map_err(|help| {
            let help = match found.text.as_str() {
                "off" if may_be_zero => Some("write 0s".to_owned()),
                "off" => Some("this limit cannot be switched off".to_owned()),
                _ => help,
            };
            found
                .but_expected(&or_off(self.expected(), off))
                .maybe(help)
        })?;
        if duration.is_zero() && !may_be_zero {
            let help = if off { "write off" } else { "write 1s" };
            Err(found.but_expected("more than zero").help(help))
        } else if duration < SHORTEST && !duration.is_zero() {
            Err(found.but_expected("at least 1ms"))
        } else if duration > LONGEST {
            Err(found.but_expected("at most 365d"))
        } else {
            Ok(duration)
        }
    }

    /// In the largest unit that gives a whole number.
    fn written(&self, value: &Duration) -> Json {
        let length = value.as_millis();
        let units = [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
        ];
        let unit = units
            .iter()
            .find(|(_, unit)| length > 0 && length.is_multiple_of(*unit));
        json!(match unit {
            Some((name, unit)) => format!("{}{name}", length / unit),
            None if length == 0 => "0s".to_owned(),
            None => format!("{length}ms"),
        })
    }
}

/// `10s`, `500ms`, `2m`, `1h`, and sums of them such as `1m 30s`; what is too long to count is the longest there is.
///
/// # Errors
/// The remedy for a text in another form, if it is known.
fn parse(text: &str) -> Result<Duration, Option<String>> {
    if let Ok(number) = text.parse::<u64>() {
        // Only zero needs no unit.
        return match number {
            0 => Ok(Duration::ZERO),
            _ => Err(Some(format!("write {number}s"))),
        };
    }
    if text.contains(|c: char| c.is_ascii_uppercase()) {
        // To humantime `5M` is five months.
        let lower = text.to_ascii_lowercase();
        let is_usable = parse(&lower).is_ok_and(|time| (SHORTEST..=LONGEST).contains(&time));
        return Err(is_usable.then(|| format!("write {lower}")));
    }
    // humantime also knows units such as `month`, and `us`, which no timer here can keep.
    let mut units = text.split(|c: char| !c.is_alphabetic());
    let has_other = units.any(|unit| !unit.is_empty() && !UNITS.contains(&unit));
    match humantime::parse_duration(text) {
        Ok(_) if has_other => Err(Some("units are ms, s, m, h and d".to_owned())),
        Ok(duration) => Ok(duration),
        Err(DurationError::NumberOverflow) => Ok(Duration::MAX),
        Err(_) => Err(None),
    }
}
