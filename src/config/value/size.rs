//! Sizes in bytes.

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};

use super::super::problem::Complaint;
use super::literal::or_off;
use super::{Choice, Definition, Literal, Spelled, ValueType};

static SIZE: Definition = Definition {
    name: "size",
    schema: || {
        json!({
            "description": "A number of bytes, or a size such as `64KiB`, `1MiB` or `1GiB`.",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": r"^[0-9]+\s*(B|KiB|MiB|GiB)?\s*$", "not": { "pattern": "^[^1-9]*$" } },
            ],
        })
    },
};

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

    fn choices(&self) -> Vec<Choice> {
        vec![Choice::Defined(&SIZE)]
    }
}

impl Literal for Size {
    type Read = u64;

    fn parse(&self, found: &Spelled, off: bool) -> Result<u64, Complaint> {
        let size = parse(&found.text).map_err(|help| {
            found
                .but_expected(&or_off(self.expected(), off))
                .maybe(help)
        })?;
        if !self.0.contains(&size) {
            let bounds = format!("{} to {}", bytes(*self.0.start()), bytes(*self.0.end()));
            return Err(found.but_expected(&or_off(bounds, off)));
        }
        Ok(size)
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

/// `64KiB`, `1MiB`, `1GiB`, or a number of bytes; what is too large to count is the largest there is.
///
/// # Errors
/// The remedy for a text in another form, if it is known.
fn parse(text: &str) -> Result<u64, Option<String>> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(None);
    }
    let unit = unit.trim();
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => {
            // K, KB and kib are meant to be KiB.
            let meant = match unit.chars().next().map(|c| c.to_ascii_lowercase()) {
                Some('k') => "KiB",
                Some('m') => "MiB",
                Some('g') => "GiB",
                _ => return Err(None),
            };
            return Err(Some(format!("write {number}{meant}")));
        }
    };
    let number = number.parse().unwrap_or(u64::MAX);
    Ok(factor.saturating_mul(number))
}
