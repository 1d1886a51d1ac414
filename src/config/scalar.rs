//! Single values: texts with `${NAME}` replaced, keywords, durations, sizes and counts.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::{akin, nearest, quoted, shown};
use super::reader::Cursor;
use super::report::Report;
use super::slips::LookAlike;
use super::yaml::Node;

/// The clock's resolution.
const SHORTEST: Duration = Duration::from_millis(1);

/// Units of durations.
pub(super) const UNITS: [&str; 5] = ["ms", "s", "m", "h", "d"];

/// Longest duration: sums with the clock stay far from their end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const DURATION: &str = "a duration such as 10s, 500ms, 2m or 1h";
const DURATION_OR_OFF: &str = "a duration such as 10s, 500ms, 2m or 1h, or off";
const DURATION_OR_ZERO: &str = "a duration such as 10s, 500ms, 2m or 1h, or 0s";
const SIZE_OR_OFF: &str = "a size such as 64KiB, 1MiB or 16384, or off";
const SIZE: &str = "a size such as 64KiB, 1MiB or 16384";

impl Cursor<'_> {
    /// A text that is not empty, `${NAME}` replaced; `what` says what it stands for.
    pub fn text(&self, what: &str, report: &mut Report<'_>) -> Option<String> {
        match self.node {
            Node::Text(text) => {
                let text = self.substituted(text, report)?;
                if text.is_empty() {
                    self.error(report, format!("found an empty text, expected {what}"));
                    return None;
                }
                Some(text)
            }
            Node::Number(_) | Node::Bool(_) => {
                let help = Some("write it in quotes".to_owned());
                self.error_with(report, self.found(), help);
                None
            }
            _ => {
                let help = self
                    .is_list_in_list()
                    .then(|| "put its items directly into the outer list".to_owned());
                self.error_with(report, format!("{}, expected {what}", self.found()), help);
                None
            }
        }
    }

    /// One of a few words.
    pub fn word<T: Copy>(&self, words: &[(&str, T)], report: &mut Report<'_>) -> Option<T> {
        let text = match self.node {
            Node::Text(text) => self.substituted(text, report)?,
            Node::Number(text) => text.clone(),
            _ => String::new(),
        };
        let found = words.iter().find(|(word, _)| *word == text);
        if let Some((_, value)) = found {
            return Some(*value);
        }
        let names = || words.iter().map(|(word, _)| *word);
        let allowed = names().collect::<Vec<_>>().join(", ");
        let help = nearest(&text, names())
            .or_else(|| akin(&text, names()))
            .map(|near| format!("did you mean \"{near}\"?"));
        let found = match self.node {
            Node::Text(_) if !text.is_empty() => format!("found {}", quoted(&text)),
            _ => self.found(),
        };
        self.error_with(report, format!("{found}, allowed: {allowed}"), help);
        None
    }

    /// `true` or `false`.
    pub fn flag(&self, report: &mut Report<'_>) -> Option<bool> {
        match self.node {
            Node::Bool(value) => Some(*value),
            // Words of YAML 1.1, which are text since YAML 1.2.
            Node::Text(text) if let Some(meant) = old_flag(text) => {
                let message = format!("found {}, allowed: true, false", quoted(text));
                self.error_with(report, message, Some(format!("write {meant}")));
                None
            }
            // What comes from the environment is text.
            _ => self.word(&[("true", true), ("false", false)], report),
        }
    }

    /// `text` with each `${NAME}` replaced. It happens after YAML is read: a value cannot bring keys with it.
    fn substituted(&self, text: &str, report: &mut Report<'_>) -> Option<String> {
        // In lower case, or as one letter, it may stand for itself: that is told only where the value can't be used.
        let sure = unbraced_variable(text);
        if let Some((written, name)) = sure.or_else(|| possible_variable(text)) {
            let words = format!(
                "{written} is not replaced; write ${{{name}}} for the environment variable"
            );
            self.remark(report, words, sure.is_some());
        }
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        let mut is_whole = true;
        while let Some((before, after)) = rest.split_once("${") {
            result.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                let message = format!("found {}, in which ${{ has no closing }}", quoted(text));
                self.error(report, message);
                return None;
            };
            rest = after;
            if !is_variable(name) {
                let message = format!(
                    "found ${{{}}}, which is not the name of a variable",
                    shown(name, 80)
                );
                let help = Some(match variable_in(name) {
                    Some((name, true)) => {
                        format!("write ${{{name}}} and set {name}: defaults are not supported")
                    }
                    Some((name, false)) => format!("write ${{{name}}}"),
                    None => "a name consists of letters, digits and _".to_owned(),
                });
                self.error_with(report, message, help);
                is_whole = false;
            } else if let Some(value) = (report.env)(name) {
                if value.is_empty() {
                    let words = format!("environment variable {name} is set but empty");
                    self.remark(report, words, true);
                }
                if let Some(slip) = LookAlike::in_line(&value, 1) {
                    let words = format!("in environment variable {name}: {}", slip.words());
                    self.remark(report, words, false);
                }
                result.push_str(&value);
            } else {
                let message = format!("environment variable {name} is not set");
                self.error(report, message);
                is_whole = false;
            }
        }
        result.push_str(rest);
        is_whole.then_some(result)
    }

    /// A number or text as text, for values that have a spelling of their own; `expected` says which.
    pub fn spelled(&self, expected: &str, report: &mut Report<'_>) -> Option<Spelled> {
        match self.node {
            Node::Text(text) => {
                let text = self.substituted(text, report)?;
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
                self.error(report, format!("{}, expected {expected}", self.found()));
                None
            }
        }
    }

    /// A duration that is not zero.
    pub fn duration(&self, report: &mut Report<'_>) -> Option<Duration> {
        self.timer(DURATION, "1s", report).flatten()
    }

    /// A duration that is not zero; `None` inside for `off`.
    pub fn duration_or_off(&self, report: &mut Report<'_>) -> Option<Option<Duration>> {
        self.timer(DURATION_OR_OFF, "off", report)
    }

    /// A duration that may be zero.
    pub fn duration_or_zero(&self, report: &mut Report<'_>) -> Option<Duration> {
        self.timer(DURATION_OR_ZERO, "0s", report).flatten()
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
            Err(Unusable::Zero) if expected == DURATION_OR_ZERO => {
                return Some(Some(Duration::ZERO));
            }
            Err(Unusable::Zero) => (
                format!("{}, expected more than zero", spelled.found()),
                Some(format!("write {instead_of_zero}")),
            ),
            Err(Unusable::TooSmall) => {
                (format!("{}, expected at least 1ms", spelled.found()), None)
            }
            Err(Unusable::TooLarge) => {
                (format!("{}, expected at most 365d", spelled.found()), None)
            }
            Err(Unusable::Unclear(help)) => {
                let help = match text {
                    "off" if expected == DURATION_OR_ZERO => Some("write 0s".to_owned()),
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
        self.bounded(&spelled, bounds, words, SIZE, report)
    }

    /// The same; `None` inside for `off`.
    pub fn size_or_off(
        &self,
        bounds: RangeInclusive<usize>,
        words: &str,
        report: &mut Report<'_>,
    ) -> Option<Option<usize>> {
        let spelled = self.spelled(SIZE_OR_OFF, report)?;
        if spelled.text == "off" {
            return Some(None);
        }
        self.bounded(&spelled, bounds, words, SIZE_OR_OFF, report)
            .map(Some)
    }

    fn bounded(
        &self,
        spelled: &Spelled,
        bounds: RangeInclusive<usize>,
        words: &str,
        expected: &str,
        report: &mut Report<'_>,
    ) -> Option<usize> {
        match parse_size(&spelled.text) {
            Ok(size) if bounds.contains(&size) => return Some(size),
            Ok(_) | Err(Unusable::TooLarge | Unusable::TooSmall | Unusable::Zero) => {
                self.error(report, format!("{}, expected {words}", spelled.found()));
            }
            Err(Unusable::Unclear(help)) => {
                let message = format!("{}, expected {expected}", spelled.found());
                self.error_with(report, message, help);
            }
        }
        None
    }

    /// A whole number from 1 to `most`; `None` inside for `off`.
    pub fn count_or_off(&self, most: usize, report: &mut Report<'_>) -> Option<Option<usize>> {
        let expected = format!("a whole number from 1 to {most}, or off");
        let spelled = self.spelled(&expected, report)?;
        match spelled.text.as_str() {
            "off" => Some(None),
            _ => self.counted(&spelled, most, &expected, report).map(Some),
        }
    }

    /// A whole number from 1 to `most`.
    pub fn count(&self, most: usize, report: &mut Report<'_>) -> Option<usize> {
        let expected = format!("a whole number from 1 to {most}");
        let spelled = self.spelled(&expected, report)?;
        self.counted(&spelled, most, &expected, report)
    }

    fn counted(
        &self,
        spelled: &Spelled,
        most: usize,
        expected: &str,
        report: &mut Report<'_>,
    ) -> Option<usize> {
        let is_plain = spelled.text.bytes().all(|b| b.is_ascii_digit());
        match spelled.text.parse::<usize>() {
            Ok(count) if is_plain && (1..=most).contains(&count) => Some(count),
            _ => {
                // YAML takes 1e4 and 10_000.0 for fractions, which are told as such.
                let whole = spelled
                    .text
                    .strip_suffix(".0")
                    .filter(|whole| spelled.is_number && whole.bytes().all(|b| b.is_ascii_digit()));
                let help =
                    whole.map(|whole| format!("write {whole}, without a fraction or an exponent"));
                let message = format!("{}, expected {expected}", spelled.found());
                self.error_with(report, message, help);
                None
            }
        }
    }
}

/// A value that is not plain text.
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
}

/// What YAML 1.1 takes `text` for, if it is one of its words for true and false.
fn old_flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" => Some(true),
        "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// The name in a `$NAME` without braces. Text with white space is prose or a script, whose `$` means itself.
fn unbraced_variable(text: &str) -> Option<(&str, &str)> {
    if text.contains(char::is_whitespace) {
        return None;
    }
    text.match_indices('$').find_map(|(at, _)| {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let after = text.get(at + 1..)?;
        let name = after.split(|c: char| !is_name(c)).next()?;
        let written = text.get(at..=at + name.len())?;
        (name.len() > 1 && is_variable(name)).then_some((written, name))
    })
}

/// What may be a variable in the spelling of another program: `$port`, `$P`, `$(PORT)`. As it is written, and its name.
fn possible_variable(text: &str) -> Option<(&str, &str)> {
    text.match_indices('$').find_map(|(at, _)| {
        let after = text.get(at + 1..)?;
        let (name, length) = match after.strip_prefix('(') {
            Some(inner) => {
                let (name, _) = inner.split_once(')')?;
                (name, name.len() + 2)
            }
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let name = after.split(|c: char| !is_name(c)).next()?;
                (name, name.len())
            }
        };
        let written = text.get(at..=at + length)?;
        is_variable(name).then_some((written, name))
    })
}

/// The variable in braces that hold more than its name, and whether the rest is a default: `PORT:-3000`, `env:PORT`.
fn variable_in(text: &str) -> Option<(&str, bool)> {
    let text = text.trim();
    let text = text.strip_prefix('$').unwrap_or(text);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (name, rest) = text.split_at(text.find(|c: char| !is_name(c)).unwrap_or(text.len()));
    let is_default = [":-", ":=", ":?", ":+"]
        .iter()
        .any(|sign| rest.starts_with(sign));
    if is_default || rest.is_empty() {
        return is_variable(name).then_some((name, is_default));
    }
    let (_, name) = text.rsplit_once([':', '.'])?;
    is_variable(name).then_some((name, false))
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Why a text is no duration or size to use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    Zero,
    /// Less than the clock of the proxy can tell.
    TooSmall,
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
        "GiB" => 1024 * 1024 * 1024,
        _ => {
            // K, KB, kib: whatever was meant, KiB is what there is.
            let prefix = unit.chars().next().map(|c| c.to_ascii_lowercase());
            let help = match prefix {
                Some('k') => Some(format!("write {number}KiB")),
                Some('m') => Some(format!("write {number}MiB")),
                Some('g') => Some(format!("write {number}GiB")),
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
