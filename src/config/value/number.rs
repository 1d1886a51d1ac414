//! Durations, sizes and counts.

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::super::cursor::Cursor;
use super::super::problem::quoted;
use super::super::report::Report;
use super::super::yaml::Node;
use super::{Definition, Value, ValueType, Wrong, only};

/// The clock's resolution.
const SHORTEST: Duration = Duration::from_millis(1);

/// Longest duration: sums with the clock stay far from their end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Units of durations.
pub const UNITS: [&str; 5] = ["ms", "s", "m", "h", "d"];

/// A value as it was written, which YAML may take for a number or for text.
#[derive(Debug)]
pub struct Spelled {
    /// As written.
    pub text: String,
    /// Whether YAML took it for a number.
    pub is_number: bool,
}

impl Spelled {
    /// The value in words.
    pub fn found(&self) -> String {
        if self.is_number {
            format!("found the number {}", self.text)
        } else if self.text.is_empty() {
            "found an empty text".to_owned()
        } else {
            format!("found {}", quoted(&self.text))
        }
    }

    /// That something else was expected.
    pub fn wrong(&self, expected: &str) -> Wrong {
        Wrong::new(format!("{}, expected {expected}", self.found()))
    }

    fn is_digits(&self) -> bool {
        self.text.bytes().all(|b| b.is_ascii_digit())
    }

    /// The number, if it is written in digits only.
    pub fn digits<N: std::str::FromStr>(&self) -> Option<N> {
        self.text.parse().ok().filter(|_| self.is_digits())
    }
}

/// A type whose values YAML may take for numbers.
pub trait Literal: ValueType {
    /// What it is read as.
    type Read;

    /// Reads `found`. `off` says whether `off`, which the caller reads, is allowed too.
    ///
    /// # Errors
    /// What is wrong with it.
    fn parse(&self, found: &Spelled, off: bool) -> Result<Self::Read, Wrong>;

    /// How `value`, a default, is written in the file.
    fn written(&self, value: &Self::Read) -> Json;
}

impl<L: Literal> Value for L {
    type Read = L::Read;

    fn read(&self, at: &Cursor<'_>, report: &mut Report<'_>) -> Option<L::Read> {
        let found = spelled(at, &self.expected(), report)?;
        at.accept(self.parse(&found, false), report)
    }

    fn written(&self, value: &L::Read) -> Json {
        Literal::written(self, value)
    }
}

/// A value of another type, or `off`, which is read as `None`.
#[derive(Debug)]
pub struct OrOff<L>(pub L);

impl<L: Literal> ValueType for OrOff<L> {
    fn words(&self) -> String {
        format!("{} or `off`", self.0.words())
    }

    fn expected(&self) -> String {
        or_off(self.0.expected(), true)
    }

    fn choices(&self) -> Vec<Json> {
        let mut choices = vec![only([json!("off")])];
        choices.append(&mut self.0.choices());
        choices
    }
}

impl<L: Literal> Value for OrOff<L> {
    type Read = Option<L::Read>;

    fn read(&self, at: &Cursor<'_>, report: &mut Report<'_>) -> Option<Option<L::Read>> {
        let found = spelled(at, &self.expected(), report)?;
        if found.text == "off" {
            return Some(None);
        }
        at.accept(self.0.parse(&found, true), report).map(Some)
    }

    fn written(&self, value: &Option<L::Read>) -> Json {
        match value {
            Some(value) => Literal::written(&self.0, value),
            None => json!("off"),
        }
    }
}

/// A number or text at `at`.
pub fn spelled(at: &Cursor<'_>, expected: &str, report: &mut Report<'_>) -> Option<Spelled> {
    match at.node {
        Node::Text(text) => {
            let text = at.substituted(text, report)?;
            Some(Spelled {
                text,
                is_number: false,
            })
        }
        Node::Number(text) => Some(Spelled {
            text: text.clone(),
            is_number: true,
        }),
        _ => {
            at.error(report, format!("{}, expected {expected}", at.found()));
            None
        }
    }
}

fn or_off(expected: String, off: bool) -> String {
    match off {
        true => expected + ", or off",
        false => expected,
    }
}

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

    fn choices(&self) -> Vec<Json> {
        let mut choices = vec![Definition::Duration.reference()];
        if matches!(self, Self::MayBeZero) {
            choices.push(Definition::Zero.reference());
        }
        choices
    }
}

impl Literal for Timer {
    type Read = Duration;

    fn parse(&self, found: &Spelled, off: bool) -> Result<Duration, Wrong> {
        let may_be_zero = matches!(self, Self::MayBeZero);
        let unusable = match parse_duration(&found.text) {
            Ok(duration) => return Ok(duration),
            Err(Unusable::Zero) if may_be_zero => return Ok(Duration::ZERO),
            Err(unusable) => unusable,
        };
        Err(match unusable {
            Unusable::Zero => {
                found
                    .wrong("more than zero")
                    .help(if off { "write off" } else { "write 1s" })
            }
            Unusable::TooSmall => found.wrong("at least 1ms"),
            Unusable::TooLarge => found.wrong("at most 365d"),
            Unusable::Unclear(help) => Wrong {
                help: match found.text.as_str() {
                    "off" if may_be_zero => Some("write 0s".to_owned()),
                    "off" => Some("this limit cannot be switched off".to_owned()),
                    _ => help,
                },
                ..found.wrong(&or_off(self.expected(), off))
            },
        })
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

/// A number of bytes within these bounds.
#[derive(Debug)]
pub struct Size(pub RangeInclusive<u64>);

impl ValueType for Size {
    fn words(&self) -> String {
        "size".to_owned()
    }

    fn expected(&self) -> String {
        "a size such as 64KiB, 1MiB or 16384".to_owned()
    }

    fn choices(&self) -> Vec<Json> {
        vec![Definition::Size.reference()]
    }
}

impl Literal for Size {
    type Read = u64;

    fn parse(&self, found: &Spelled, off: bool) -> Result<u64, Wrong> {
        match parse_size(&found.text) {
            Ok(size) if self.0.contains(&size) => Ok(size),
            Ok(_) | Err(Unusable::TooLarge | Unusable::TooSmall | Unusable::Zero) => {
                let bounds = format!("{} to {}", bytes(*self.0.start()), bytes(*self.0.end()));
                Err(found.wrong(&or_off(bounds, off)))
            }
            Err(Unusable::Unclear(help)) => Err(Wrong {
                help,
                ..found.wrong(&or_off(self.expected(), off))
            }),
        }
    }

    fn written(&self, value: &u64) -> Json {
        json!(bytes(*value))
    }
}

/// A size in the largest unit that gives a whole number.
fn bytes(size: u64) -> String {
    let units = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    match units.iter().find(|(_, unit)| size.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", size / unit),
        None if size == 1 => "1 byte".to_owned(),
        None => size.to_string(),
    }
}

/// A whole number from 1 to this one.
#[derive(Debug)]
pub struct Count(pub usize);

impl ValueType for Count {
    fn words(&self) -> String {
        "whole number".to_owned()
    }

    fn expected(&self) -> String {
        format!("a whole number from 1 to {}", self.0)
    }

    fn choices(&self) -> Vec<Json> {
        vec![Definition::Count.reference()]
    }
}

impl Literal for Count {
    type Read = usize;

    fn parse(&self, found: &Spelled, off: bool) -> Result<usize, Wrong> {
        if let Some(count) = found.digits().filter(|count| (1..=self.0).contains(count)) {
            return Ok(count);
        }
        // YAML takes 1e4 and 10_000.0 for fractions.
        let whole = found.text.strip_suffix(".0");
        let whole =
            whole.filter(|whole| found.is_number && whole.bytes().all(|b| b.is_ascii_digit()));
        Err(Wrong {
            help: whole.map(|whole| format!("write {whole}, without a fraction or an exponent")),
            ..found.wrong(&or_off(self.expected(), off))
        })
    }

    fn written(&self, value: &usize) -> Json {
        json!(value)
    }
}

/// Why a text is not a duration or size that can be used.
#[derive(Debug, PartialEq, Eq)]
enum Unusable {
    Zero,
    /// Less than the clock of the proxy can tell.
    TooSmall,
    TooLarge,
    /// With what to write instead.
    Unclear(Option<String>),
}

/// `10s`, `500ms`, `2m`, `1h`, and sums of them such as `1m 30s`.
fn parse_duration(text: &str) -> Result<Duration, Unusable> {
    if let Ok(number) = text.parse::<u64>() {
        // 0 is the only number that humantime takes without a unit.
        return Err(match number {
            0 => Unusable::Zero,
            _ => Unusable::Unclear(Some(format!("write {number}s"))),
        });
    }
    if text.contains(|c: char| c.is_ascii_uppercase()) {
        // To humantime `5M` is five months.
        let lower = text.to_ascii_lowercase();
        let help = parse_duration(&lower)
            .is_ok()
            .then(|| format!("write {lower}"));
        return Err(Unusable::Unclear(help));
    }
    // It knows more of them: to it a `month` is a time, and `us` is one that no timer here can keep.
    let mut units = text
        .split(|c: char| !c.is_alphabetic())
        .filter(|unit| !unit.is_empty());
    let has_other = units.any(|unit| !UNITS.contains(&unit));
    match humantime::parse_duration(text) {
        Ok(_) if has_other => Err(Unusable::Unclear(Some(
            "units are ms, s, m, h and d".to_owned(),
        ))),
        Ok(Duration::ZERO) => Err(Unusable::Zero),
        Ok(duration) if duration < SHORTEST => Err(Unusable::TooSmall),
        Ok(duration) if duration > LONGEST => Err(Unusable::TooLarge),
        Ok(duration) => Ok(duration),
        Err(humantime::DurationError::NumberOverflow) => Err(Unusable::TooLarge),
        Err(_) => Err(Unusable::Unclear(None)),
    }
}

/// `64KiB`, `1MiB`, `1GiB`, or a number of bytes.
fn parse_size(text: &str) -> Result<u64, Unusable> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(Unusable::Unclear(None));
    }
    let unit = unit.trim();
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => {
            // K, KB and kib are meant to be KiB.
            let meant = match unit.chars().next().map(|c| c.to_ascii_lowercase()) {
                Some('k') => Some("KiB"),
                Some('m') => Some("MiB"),
                Some('g') => Some("GiB"),
                _ => None,
            };
            let help = meant.map(|unit| format!("write {number}{unit}"));
            return Err(Unusable::Unclear(help));
        }
    };
    let size = number.parse::<u64>().ok();
    match size.and_then(|size| size.checked_mul(factor)) {
        Some(0) => Err(Unusable::Zero),
        Some(size) => Ok(size),
        None => Err(Unusable::TooLarge),
    }
}
