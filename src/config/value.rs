//! The types of values. Each reads a value, says what is wrong with one, and describes itself to the reference and to the
//! JSON Schema.

mod address;
mod count;
mod duration;
mod list;
mod literal;
mod size;
mod text;

use serde_json::{Value as Json, json};

pub use address::{Address, overlap};
pub use count::Count;
pub use duration::Timer;
pub use list::List;
pub use literal::{Literal, OrOff, Spelled, spelled};
pub use size::Size;
pub use text::{Explained, File, Flag, OneOf, Switch, TEXT, Text};

use super::cursor::Cursor;
use super::report::Report;

/// How a type of values is described.
pub trait ValueType: Sync {
    /// The type in the reference: "duration or `off`".
    fn words(&self) -> String;

    /// What to write, in messages: "a duration such as 10s".
    fn expected(&self) -> String;

    /// The alternatives that the JSON Schema allows.
    fn choices(&self) -> Vec<Choice>;

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

/// One alternative of a value in the JSON Schema.
pub enum Choice {
    /// A part of the schema that several keys refer to.
    Defined(&'static Definition),
    /// A schema of its own.
    Inline(Json),
}

/// A part of the JSON Schema with a name.
pub struct Definition {
    /// Its name.
    pub name: &'static str,
    /// The part.
    pub schema: fn() -> Json,
}

/// Only these words.
pub fn only(words: impl IntoIterator<Item = Json>) -> Choice {
    Choice::Inline(json!({ "enum": Vec::from_iter(words) }))
}

/// The whole numbers from `least` to `most`; as a text they can't be compared.
pub fn range(least: u64, most: u64) -> [Choice; 2] {
    [
        json!({ "type": "integer", "minimum": least, "maximum": most }),
        json!({ "type": "string", "pattern": "^[0-9]+$" }),
    ]
    .map(Choice::Inline)
}
