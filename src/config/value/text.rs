//! Texts, paths of files, words and flags.

use std::fmt::Display;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::super::cursor::Cursor;
use super::super::problem::{Complaint, akin, nearest, quoted};
use super::super::report::Report;
use super::super::yaml::Node;
use super::{Choice, Definition, Value, ValueType, only};

/// A text that is not empty; it may have variables in it.
pub static TEXT: Definition = Definition {
    name: "text",
    schema: || json!({ "type": "string", "minLength": 1 }),
};

/// A text that is not empty.
pub struct Text<T> {
    words: &'static str,
    expected: &'static str,
    parse: fn(&str) -> Result<T, Complaint>,
    presets: &'static [&'static str],
    definition: &'static Definition,
}

impl Text<String> {
    /// Any text; see [`Text::parsed`].
    pub const fn any(words: &'static str, expected: &'static str) -> Self {
        Self::parsed(words, expected, |text| Ok(text.to_owned()))
    }
}

impl<T> Text<T> {
    /// A text that `parse` reads. `words` names the type in the reference, `expected` says in messages what to write.
    pub const fn parsed(
        words: &'static str,
        expected: &'static str,
        parse: fn(&str) -> Result<T, Complaint>,
    ) -> Self {
        Self {
            words,
            expected,
            parse,
            presets: &[],
            definition: &TEXT,
        }
    }

    /// The reference and the schema also name these words, which `parse` reads.
    pub const fn presets(mut self, presets: &'static [&'static str]) -> Self {
        self.presets = presets;
        self
    }

    /// The schema refers to `definition`.
    pub const fn defined_as(mut self, definition: &'static Definition) -> Self {
        self.definition = definition;
        self
    }
}

impl<T> ValueType for Text<T> {
    fn words(&self) -> String {
        let presets = self.presets.iter().map(|preset| format!("`{preset}`"));
        listed([self.words.to_owned()].into_iter().chain(presets))
    }

    fn expected(&self) -> String {
        self.expected.to_owned()
    }

    fn choices(&self) -> Vec<Choice> {
        let presets = self.presets.iter().map(|preset| json!(preset));
        let presets = (!self.presets.is_empty()).then(|| only(presets));
        presets
            .into_iter()
            .chain([Choice::Defined(self.definition)])
            .collect()
    }
}

impl<T: Display> Value for Text<T> {
    type Read = T;

    fn read(&self, at: &Cursor<'_>, report: &mut Report<'_>) -> Option<T> {
        let text = text(at, self.expected, report)?;
        at.accept((self.parse)(&text), report)
    }

    fn written(&self, value: &T) -> Json {
        json!(value.to_string())
    }
}

/// The path of a PEM file, relative to the folder of the configuration.
#[derive(Debug)]
pub struct File;

impl ValueType for File {
    fn words(&self) -> String {
        "file".to_owned()
    }

    fn expected(&self) -> String {
        "the path of a PEM file".to_owned()
    }

    fn choices(&self) -> Vec<Choice> {
        vec![Choice::Defined(&TEXT)]
    }
}

impl Value for File {
    type Read = PathBuf;

    fn read(&self, at: &Cursor<'_>, report: &mut Report<'_>) -> Option<PathBuf> {
        let path = text(at, &self.expected(), report)?;
        if path.starts_with("-----BEGIN") {
            let found = quoted("-----BEGIN …");
            let wrong = Complaint::new(format!("found {found}, expected {}", self.expected()));
            let wrong = wrong.help("put the PEM text into a separate file");
            return at.accept(Err(wrong), report);
        }
        Some(report.folder.join(path))
    }

    fn written(&self, value: &PathBuf) -> Json {
        json!(value)
    }
}

/// One of these words, and what it is read as.
#[derive(Debug)]
pub struct OneOf<T: 'static>(pub &'static [(&'static str, T)]);

impl<T> OneOf<T> {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(word, _)| *word)
    }

    /// The word that `text` was probably meant to be, as a question.
    fn near(&self, text: &str) -> Option<String> {
        let near = nearest(text, self.names()).or_else(|| akin(text, self.names()));
        near.map(|near| format!("did you mean \"{near}\"?"))
    }
}

impl<T: Copy + PartialEq + Sync> OneOf<T> {
    fn value_of(&self, text: &str) -> Option<T> {
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value)
    }

    /// Reports `text`, which stands at `at` and is none of the words.
    fn refuse(&self, at: &Cursor<'_>, text: &str, help: Option<String>, report: &mut Report<'_>) {
        let found = match at.node {
            Node::Text(_) if !text.is_empty() => format!("found {}", quoted(text)),
            _ => at.found(),
        };
        let message = format!("{found}, allowed: {}", self.expected());
        at.error(report, Complaint::new(message).maybe(help));
    }
}

impl<T: Sync> ValueType for OneOf<T> {
    fn words(&self) -> String {
        listed(self.names().map(|word| format!("`{word}`")))
    }

    fn expected(&self) -> String {
        Vec::from_iter(self.names()).join(", ")
    }

    fn choices(&self) -> Vec<Choice> {
        // Without quotes, YAML reads 1.2 as a number. Both forms are accepted.
        let both = |word: &'static str| {
            let number = word.parse::<f64>().ok().map(|number| json!(number));
            [json!(word)].into_iter().chain(number)
        };
        vec![only(self.names().flat_map(both))]
    }
}

impl<T: Copy + PartialEq + Sync> Value for OneOf<T> {
    type Read = T;

    fn read(&self, at: &Cursor<'_>, report: &mut Report<'_>) -> Option<T> {
        let text = word(at, report)?;
        self.value_of(&text).or_else(|| {
            self.refuse(at, &text, self.near(&text), report);
            None
        })
    }

    fn written(&self, value: &T) -> Json {
        let word = self.0.iter().find(|(_, other)| other == value);
        json!(word.map(|(word, _)| word))
    }
}

/// One of these words, and what to say about some of the words that are written instead.
#[derive(Debug)]
pub struct Explained<T: 'static>(pub OneOf<T>, pub fn(&str) -> Option<&'static str>);

impl<T: Sync> ValueType for Explained<T> {
    fn words(&self) -> String {
        self.0.words()
    }

    fn expected(&self) -> String {
        self.0.expected()
    }

    fn choices(&self) -> Vec<Choice> {
        self.0.choices()
    }
}

impl<T: Copy + PartialEq + Sync> Value for Explained<T> {
    type Read = T;

    fn read(&self, at: &Cursor<'_>, report: &mut Report<'_>) -> Option<T> {
        let Self(words, help) = self;
        let text = word(at, report)?;
        words.value_of(&text).or_else(|| {
            let help = help(&text).map(str::to_owned);
            words.refuse(at, &text, help.or_else(|| words.near(&text)), report);
            None
        })
    }

    fn written(&self, value: &T) -> Json {
        self.0.written(value)
    }
}

/// `true` or `false`.
#[derive(Debug)]
pub struct Flag;

/// A flag from the environment is text.
const FLAGS: OneOf<bool> = OneOf(&[("true", true), ("false", false)]);

impl ValueType for Flag {
    fn words(&self) -> String {
        "true or false".to_owned()
    }

    fn expected(&self) -> String {
        FLAGS.expected()
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices = FLAGS.choices();
        choices.push(Choice::Inline(json!({ "type": "boolean" })));
        choices
    }
}

impl Value for Flag {
    type Read = bool;

    fn read(&self, at: &Cursor<'_>, report: &mut Report<'_>) -> Option<bool> {
        match at.node {
            Node::Bool(value) => Some(*value),
            Node::Text(text) if let Some(meant) = old_flag(text) => {
                let message = format!("found {}, allowed: {}", quoted(text), self.expected());
                let complaint = Complaint::new(message).help(format!("write {meant}"));
                at.error(report, complaint);
                None
            }
            _ => FLAGS.read(at, report),
        }
    }

    fn written(&self, value: &bool) -> Json {
        json!(value)
    }
}

/// `on` or `off`. Programs that write YAML 1.1 make `true` and `false` of these words, so both are accepted.
#[derive(Debug)]
pub struct Switch;

const SWITCHES: OneOf<bool> = OneOf(&[("on", true), ("off", false)]);

impl ValueType for Switch {
    fn words(&self) -> String {
        SWITCHES.words()
    }

    fn expected(&self) -> String {
        SWITCHES.expected()
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices = SWITCHES.choices();
        choices.append(&mut Flag.choices());
        choices
    }
}

impl Value for Switch {
    type Read = bool;

    fn read(&self, at: &Cursor<'_>, report: &mut Report<'_>) -> Option<bool> {
        if let Node::Bool(value) = at.node {
            return Some(*value);
        }
        let text = word(at, report)?;
        let value = SWITCHES.value_of(&text);
        value.or_else(|| FLAGS.value_of(&text)).or_else(|| {
            let meant = old_flag(&text).map(|meant| if meant { "write on" } else { "write off" });
            let help = meant.map(str::to_owned);
            SWITCHES.refuse(at, &text, help.or_else(|| SWITCHES.near(&text)), report);
            None
        })
    }

    fn written(&self, value: &bool) -> Json {
        SWITCHES.written(value)
    }
}

/// The meaning of `text` in YAML 1.1, if it is one of the words for true and false. In YAML 1.2 these words are text.
fn old_flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" => Some(true),
        "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// The text or number at `at`, with `${NAME}` replaced; empty for anything else.
fn word(at: &Cursor<'_>, report: &mut Report<'_>) -> Option<String> {
    Some(match at.node {
        Node::Text(text) => at.substituted(text, report)?,
        Node::Number(text) => text.clone(),
        _ => String::new(),
    })
}

/// A text at `at` that is not empty, with `${NAME}` replaced.
fn text(at: &Cursor<'_>, expected: &str, report: &mut Report<'_>) -> Option<String> {
    let (message, help) = match at.node {
        Node::Text(text) => {
            let text = at.substituted(text, report)?;
            if !text.is_empty() {
                return Some(text);
            }
            (format!("found an empty text, expected {expected}"), None)
        }
        Node::Number(_) | Node::Bool(_) => (at.found(), Some("write it in quotes")),
        _ => {
            let help = "put its items directly into the outer list";
            let message = format!("{}, expected {expected}", at.found());
            (message, at.is_list_in_list().then_some(help))
        }
    };
    let help = help.map(str::to_owned);
    at.error(report, Complaint::new(message).maybe(help));
    None
}

/// `a`, `a or b`, `a, b or c`.
pub fn listed(words: impl Iterator<Item = String>) -> String {
    let words: Vec<_> = words.collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
