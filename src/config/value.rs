//! The types of values. Each reads a value, says what is wrong with one, and describes itself to the reference and to the
//! JSON Schema.

mod address;
mod list;
mod number;
mod text;

use serde_json::{Value as Json, json};

pub use address::{Address, overlap};
pub use list::List;
pub use number::{Count, Literal, OrOff, Size, Spelled, Timer, UNITS, spelled};
pub use text::{File, Flag, OneOf, Text};

use super::cursor::Cursor;
pub use super::problem::Wrong;
use super::report::Report;

/// How a type of values is described.
pub trait ValueType: Sync {
    /// The type in the reference: "duration or `off`".
    fn words(&self) -> String;

    /// What to write, in messages: "a duration such as 10s".
    fn expected(&self) -> String;

    /// The alternatives that the JSON Schema allows.
    fn choices(&self) -> Vec<Json>;

    /// The type of the items, if this is a list.
    fn item(&self) -> Option<&dyn ValueType> {
        None
    }
}

/// How a value of a type is read.
pub trait Value: ValueType {
    /// What it is read as.
    type Read;

    /// The value at `at`. What is wrong with it is reported.
    fn read(&self, at: &Cursor<'_>, report: &mut Report<'_>) -> Option<Self::Read>;

    /// How `value`, a default, is written in the file.
    fn written(&self, value: &Self::Read) -> Json;
}

/// A definition of the JSON Schema that several keys refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definition {
    /// `${NAME}`.
    Variable,
    /// A duration that is not zero.
    Duration,
    /// A duration that is zero.
    Zero,
    /// A number of bytes.
    Size,
    /// A whole number, at least 1.
    Count,
    /// An IP address and a port.
    Address,
    /// Where an upstream listens.
    Endpoint,
    /// The id of a mini program.
    AppId,
    /// A text that is not empty.
    Text,
}

impl Definition {
    /// In the order of the schema.
    pub const ALL: [Self; 9] = [
        Self::Variable,
        Self::Duration,
        Self::Zero,
        Self::Size,
        Self::Count,
        Self::Address,
        Self::Endpoint,
        Self::AppId,
        Self::Text,
    ];

    /// Its name in the schema.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Variable => "variable",
            Self::Duration => "duration",
            Self::Zero => "zero",
            Self::Size => "size",
            Self::Count => "count",
            Self::Address => "address",
            Self::Endpoint => "endpoint",
            Self::AppId => "app_id",
            Self::Text => "text",
        }
    }

    /// A schema that refers to it.
    pub fn reference(self) -> Json {
        json!({ "$ref": format!("#/$defs/{}", self.name()) })
    }
}

/// A schema that allows only `words`.
pub fn only(words: impl IntoIterator<Item = Json>) -> Json {
    json!({ "enum": Vec::from_iter(words) })
}

/// Schemas that allow the whole numbers from `least` to `most`; as a text they can't be compared.
pub fn range(least: u64, most: u64) -> [Json; 2] {
    [
        json!({ "type": "integer", "minimum": least, "maximum": most }),
        json!({ "type": "string", "pattern": "^[0-9]+$" }),
    ]
}
