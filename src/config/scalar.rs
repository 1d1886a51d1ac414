//! Values with a spelling of their own: durations, sizes, counts.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::{Cursor, Report};

/// Longest duration: sums with the clock stay far from their end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const DURATION: &str = "a duration such as 10s, 500ms, 2m or 1h";
const DURATION_OR_OFF: &str = "a duration such as 10s, 500ms, 2m or 1h, or off";
const SIZE: &str = "a size such as 64KiB, 1MiB or 16384";

impl Cursor<'_> {
    /// A duration that is not zero.
    pub fn duration(&self, report: &mut Report<'_>) -> Option<Duration> {
        self.timer(DURATION, "1s", report).flatten()
    }

    /// A duration that is not zero; `None` inside for `off`.
    pub fn duration_or_off(&self, report: &mut Report<'_>) -> Option<Option<Duration>> {
        self.timer(DURATION_OR_OFF, "off", report)
    }

    fn timer(
        &self,
        expected: &str,
        instead_of_zero: &str,
        report: &mut Report<'_>,
    ) -> Option<Option<Duration>> {
        let spelled = self.spelled(expected, report)?;
        let text = spelled.text.as_str();
        let allows_off = expected == DURATION_OR_OFF;
        if text == "off" && allows_off {
            return Some(None);
        }
        let (message, help) = match parse_duration(text) {
            Ok(duration) => return Some(Some(duration)),
            Err(Unusable::Zero) => (
                format!("{}, expected more than zero", spelled.found()),
                Some(format!("write {instead_of_zero}")),
            ),
            Err(Unusable::TooLarge) => {
                (format!("{}, expected at most 365d", spelled.found()), None)
            }
            Err(Unusable::Unclear(help)) => {
                let help = match text {
                    "off" => Some("this limit cannot be switched off".to_owned()),
                    _ => help,
                };
                (format!("{}, expected {expected}", spelled.found()), help)
            }
        };
        self.error_with(report, message, help);
        None
    }

    /// A number of bytes within `bounds`, which are `words` in words.
    pub fn size(
        &self,
        bounds: RangeInclusive<usize>,
        words: &str,
        report: &mut Report<'_>,
    ) -> Option<usize> {
        let spelled = self.spelled(SIZE, report)?;
        match parse_size(&spelled.text) {
            Ok(size) if bounds.contains(&size) => return Some(size),
            Ok(_) | Err(Unusable::TooLarge | Unusable::Zero) => {
                self.error(report, format!("{}, expected {words}", spelled.found()));
            }
            Err(Unusable::Unclear(help)) => {
                let message = format!("{}, expected {SIZE}", spelled.found());
                self.error_with(report, message, help);
            }
        }
        None
    }

    /// A whole number from 1 to `most`.
    pub fn count(&self, most: usize, report: &mut Report<'_>) -> Option<usize> {
        let expected = format!("a whole number from 1 to {most}");
        let spelled = self.spelled(&expected, report)?;
        let is_plain = spelled.text.bytes().all(|b| b.is_ascii_digit());
        match spelled.text.parse::<usize>() {
            Ok(count) if is_plain && (1..=most).contains(&count) => Some(count),
            _ => {
                self.error(report, format!("{}, expected {expected}", spelled.found()));
                None
            }
        }
    }
}

/// Why a text is no duration or size to use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    Zero,
    TooLarge,
    /// With what to write instead.
    Unclear(Option<String>),
}

/// `10s`, `500ms`, `2m`, `1h`, and sums of them such as `1m 30s`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, Unusable> {
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
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err(Unusable::Zero),
        Ok(duration) if duration > LONGEST => Err(Unusable::TooLarge),
        Ok(duration) => Ok(duration),
        Err(humantime::DurationError::NumberOverflow) => Err(Unusable::TooLarge),
        Err(_) => Err(Unusable::Unclear(None)),
    }
}

/// `64KiB`, `1MiB`, or a number of bytes.
pub(super) fn parse_size(text: &str) -> Result<usize, Unusable> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(Unusable::Unclear(None));
    }
    let unit = unit.trim();
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => {
            // K, KB, kib: whatever was meant, KiB is what there is.
            let prefix = unit.chars().next().map(|c| c.to_ascii_lowercase());
            let help = match prefix {
                Some('k') => Some(format!("write {number}KiB")),
                Some('m') => Some(format!("write {number}MiB")),
                _ => None,
            };
            return Err(Unusable::Unclear(help));
        }
    };
    let size = number.parse::<usize>().ok();
    match size.and_then(|size| size.checked_mul(factor)) {
        Some(0) => Err(Unusable::Zero),
        Some(size) => Ok(size),
        None => Err(Unusable::TooLarge),
    }
}
