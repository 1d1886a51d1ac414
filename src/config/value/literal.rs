//! Values that YAML may take for numbers: how they are read, and `off` instead of one.

use std::str::FromStr;

use serde_json::{Value as Json, json};

use super::super::cursor::Cursor;
use super::super::problem::{Complaint, quoted};
use super::super::report::Report;
use super::super::yaml::Node;
use super::{Choice, Value, ValueType, only};

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
    pub fn but_expected(&self, expected: &str) -> Complaint {
        Complaint::new(format!("{}, expected {expected}", self.found()))
    }

    fn is_digits(&self) -> bool {
        self.text.bytes().all(|b| b.is_ascii_digit())
    }

    /// The number, if it is written in digits only.
    pub fn digits<N: FromStr>(&self) -> Option<N> {
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
    fn parse(&self, found: &Spelled, off: bool) -> Result<Self::Read, Complaint>;

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

    fn choices(&self) -> Vec<Choice> {
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

/// `expected`, and `off` if that is allowed.
pub(super) fn or_off(expected: String, off: bool) -> String {
    match off {
        true => expected + ", or off",
        false => expected,
    }
}
