//! Whole numbers.

use serde_json::{Value as Json, json};

use super::super::problem::Complaint;
use super::literal::or_off;
use super::{Choice, Definition, Literal, Spelled, ValueType};

static COUNT: Definition = Definition {
    name: "count",
    schema: || {
        json!({
            "description": "A whole number, at least 1.",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^0*[1-9][0-9]*$" },
            ],
        })
    },
};

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

    fn choices(&self) -> Vec<Choice> {
        vec![Choice::Defined(&COUNT)]
    }
}

impl Literal for Count {
    type Read = usize;

    fn parse(&self, found: &Spelled, off: bool) -> Result<usize, Complaint> {
        if let Some(count) = found.digits().filter(|count| (1..=self.0).contains(count)) {
            return Ok(count);
        }
        // YAML takes 1e4 and 10_000.0 for fractions.
        let whole = found.text.strip_suffix(".0");
        let whole =
            whole.filter(|whole| found.is_number && whole.bytes().all(|b| b.is_ascii_digit()));
        let help = whole.map(|whole| format!("write {whole}, without a fraction or an exponent"));
        Err(found
            .but_expected(&or_off(self.expected(), off))
            .maybe(help))
    }

    fn written(&self, value: &usize) -> Json {
        json!(value)
    }
}
