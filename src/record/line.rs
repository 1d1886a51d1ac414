//! The text form of a record, for people. docs/records.md has its grammar, so programs can parse it.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Record;

/// The layout of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Everything on one line, for a file or a pipe.
    OneLine,
    /// For a terminal, with indented further lines.
    Terminal,
}

/// The fields at the beginning, which are written without a name.
const POSITIONS: [&str; 4] = ["time", "level", "event", "reason"];

/// Who the record is about; a record without a `client` has the `peer` in its place.
const WHO: [&str; 3] = ["by", "client", "route"];

/// What happened and what to do; on a terminal, each has a line of its own.
const WHAT: [&str; 4] = ["detail", "hint", "suspect", "problems"];

/// Fields that are the same in all records of a process.
const ALWAYS: [&str; 3] = ["schema", "version", "instance"];

/// Starts each further line.
const INDENT: &str = "\n    ";

/// The most characters in a line on a terminal, if its fields allow it.
const WIDTH: usize = 100;

/// The fields of a record in JSON, in their order.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::with_capacity(64);
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    // A name that is not a field's could not be read back.
                    if is_word(&name.0) {
                        fields.push((name.0, value.get()));
                    }
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(All)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let field = self.0.iter().find(|(other, _)| other == name);
        field.map(|(_, value)| *value)
    }
}

/// Whether a text has the form of a code or of a field's name.
#[must_use]
pub fn is_word(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The record as text, without a line end.
pub(super) fn line(record: &Record, layout: Layout) -> String {
    serde_json::to_string(record)
        .ok()
        .and_then(|json| text(&json, layout))
        .unwrap_or_default()
}

/// A record in JSON as text, without a line end. `None` if it is not an object.
#[must_use]
pub fn text(json: &str, layout: Layout) -> Option<String> {
    let fields: Fields<'_> = serde_json::from_str(json).ok()?;
    let mut text = Text {
        layout,
        line: String::with_capacity(json.len()),
        width: 0,
    };
    text.positions(&fields);
    let who = match fields.get("client") {
        Some(_) => WHO,
        None => ["by", "peer", "route"],
    };
    for name in who {
        if let Some(value) = fields.get(name) {
            text.append(" ", &Field { name, value });
        }
    }
    for name in WHAT {
        let Some(value) = fields.get(name) else {
            continue;
        };
        match layout {
            Layout::OneLine => text.append(" ", &Field { name, value }),
            Layout::Terminal => match serde_json::from_str::<Vec<&RawValue>>(value) {
                Ok(items) => text.list(name, &items),
                Err(_) => text.append(INDENT, &Field { name, value }),
            },
        }
    }
    let is_said = |name: &str| {
        POSITIONS.contains(&name)
            || who.contains(&name)
            || WHAT.contains(&name)
            || ALWAYS.contains(&name)
    };
    let mut is_first = true;
    let rest = fields.0.iter().filter(|(name, _)| !is_said(name));
    let rest = rest.map(|(name, value)| Field { name, value });
    let always = ALWAYS
        .into_iter()
        .filter_map(|name| fields.get(name).map(|value| Field { name, value }));
    for field in rest.chain(always) {
        text.wrap(&field, is_first);
        is_first = false;
    }
    Some(text.line)
}

struct Text {
    layout: Layout,
    line: String,
    /// Characters in the last line.
    width: usize,
}

impl Text {
    fn positions(&mut self, fields: &Fields<'_>) {
        let word = |name| fields.get(name).map(|value| value.trim_matches('"'));
        let [time, level, event] = ["time", "level", "event"].map(|name| word(name).unwrap_or("-"));
        // Writing to a String cannot fail.
        let _ = write!(self.line, "{time} {level:<5} {event}");
        if let Some(reason) = word("reason") {
            self.append(" ", &reason);
        }
    }

    fn append(&mut self, separator: &str, field: &impl Display) {
        let _ = write!(self.line, "{separator}{field}");
    }

    /// Writes a list, with a line for each item.
    fn list(&mut self, name: &str, items: &[&RawValue]) {
        self.append(INDENT, &name);
        self.line.push_str("=[");
        for (index, item) in items.iter().enumerate() {
            let comma = if index + 1 < items.len() { "," } else { "" };
            self.append(INDENT, &format_args!("  {item}{comma}"));
        }
        self.append(INDENT, &"]");
    }

    /// Writes a field after others. On a terminal a line holds as many as fit.
    fn wrap(&mut self, field: &Field<'_>, is_first: bool) {
        if self.layout == Layout::OneLine {
            return self.append(" ", field);
        }
        let field = field.to_string();
        let length = field.chars().count();
        if !is_first && self.width + 1 + length <= WIDTH {
            self.append(" ", &field);
            self.width += 1 + length;
        } else {
            self.append(INDENT, &field);
            self.width = INDENT.len() - 1 + length;
        }
    }
}

/// `name=value` with the value in JSON. A text has no quotes if it can't be mistaken for anything else.
struct Field<'a> {
    name: &'a str,
    value: &'a str,
}

impl Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.value.strip_prefix('"');
        let inner = inner.and_then(|rest| rest.strip_suffix('"'));
        let value = inner.filter(|text| is_bare(text)).unwrap_or(self.value);
        f.write_str(self.name)?;
        f.write_str("=")?;
        f.write_str(value)
    }
}

fn is_bare(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"=\\".contains(&byte);
    let may_be_json = || {
        text.starts_with(|first: char| first.is_ascii_digit() || "-tfn".contains(first))
            && serde_json::from_str::<IgnoredAny>(text).is_ok()
    };
    !text.is_empty()
        && text.bytes().all(is_plain)
        && !text.starts_with(['[', '{'])
        && !may_be_json()
}

/// Reads a record that [`text`] has written on one line, with the grammar of docs/records.md. `None` if the line is not such
/// a text.
#[must_use]
pub fn read(line: &str) -> Option<Map<String, Value>> {
    let mut rest = line;
    let mut fields = Map::new();
    for name in POSITIONS {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        if name == "reason" && word.contains('=') {
            break;
        }
        if word != "-" && !word.is_empty() {
            fields.insert(name.to_owned(), Value::String(word.to_owned()));
        }
        rest = after.trim_start_matches(' ');
    }
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, end) = match after.starts_with(['"', '[', '{']) {
            true => {
                let mut values = serde_json::Deserializer::from_str(after).into_iter();
                (values.next()?.ok()?, values.byte_offset())
            }
            false => {
                let word = after.split(' ').next().unwrap_or_default();
                let value = serde_json::from_str(word);
                let value = value.unwrap_or_else(|_| Value::String(word.to_owned()));
                (value, word.len())
            }
        };
        // A later value must not replace what comes first.
        if POSITIONS.contains(&name) || fields.insert(name.to_owned(), value).is_some() {
            return None;
        }
        let after = after.get(end..)?;
        if !after.is_empty() && !after.starts_with(' ') {
            return None;
        }
        rest = after.trim_start_matches(' ');
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reason::{Level, Reason};
    use crate::record::Event;

    fn assert_reads_back(record: &Record) {
        let Value::Object(expected) = serde_json::to_value(record).unwrap() else {
            panic!("a record is an object");
        };
        for layout in [Layout::OneLine, Layout::Terminal] {
            let text = line(record, layout);
            let whole: Vec<_> = text.lines().map(str::trim_start).collect();
            assert_eq!(read(&whole.join(" ")), Some(expected.clone()), "{text}");
            assert!(layout == Layout::Terminal || !text.contains('\n'), "{text}");
            let further = text.lines().skip(1);
            assert!(
                further.into_iter().all(|line| line.starts_with("    ")),
                "{text}"
            );
        }
    }

    fn refused(text: &str) -> Record {
        Record {
            time: "2026-01-02T03:04:05.678Z".to_owned(),
            schema: 1,
            version: "0.1.0",
            instance: text.to_owned(),
            reason: Some(Reason::OriginNotAllowed),
            detail: Some(text.to_owned()),
            hint: Some("add it".to_owned()),
            route: Some("/ws".to_owned()),
            origin: Some(text.to_owned()),
            status: Some(403),
            problems: vec![text.to_owned(), "b c".to_owned()],
            ..Record::lifecycle(Event::Refused, Level::Info, "")
        }
    }

    #[test]
    fn what_matters_comes_first() {
        let mut record = refused("a b");
        record.client = Some("192.0.2.1".to_owned());
        record.problems.clear();
        record.instance = "host".to_owned();
        assert_eq!(
            line(&record, Layout::OneLine),
            "2026-01-02T03:04:05.678Z info  refused origin_not_allowed client=192.0.2.1 route=/ws detail=\"a b\" \
             hint=\"add it\" status=403 origin=\"a b\" schema=1 version=0.1.0 instance=host"
        );
        assert_eq!(
            line(&record, Layout::Terminal),
            "2026-01-02T03:04:05.678Z info  refused origin_not_allowed client=192.0.2.1 route=/ws
    detail=\"a b\"
    hint=\"add it\"
    status=403 origin=\"a b\" schema=1 version=0.1.0 instance=host"
        );
    }

    #[test]
    fn each_problem_has_a_line_of_its_own_on_a_terminal() {
        let record = Record {
            time: "2026-01-02T03:04:05.678Z".to_owned(),
            problems: vec!["a.yaml:1:2: error: b".to_owned(), "c".to_owned()],
            ..Record::lifecycle(Event::ReloadRefused, Level::Warn, "no")
        };
        let text = line(&record, Layout::Terminal);
        assert!(
            text.contains("\n    problems=[\n      \"a.yaml:1:2: error: b\",\n      \"c\"\n    ]"),
            "{text}"
        );
        assert_reads_back(&record);
    }

    #[test]
    fn texts_that_look_like_something_else_read_back() {
        for text in [
            "plain",
            "a b",
            "12",
            "-1",
            "1.5",
            "true",
            "null",
            "[x]",
            "{x",
            "\"q\"",
            "a=b",
            "\\",
            "a\\nb",
            "x reason=forged",
            "refused",
            "\\x0a",
            "例子",
            "\u{3000}",
            "a\nb",
            "-",
            "1e5",
            "10.0.0.1",
        ] {
            assert_reads_back(&refused(text));
        }
    }

    #[test]
    fn other_text_is_not_a_record() {
        for line in [
            "a b c d e",
            "a b c reason x=\"open",
            "a b c x=\"y\"z=1",
            "a b c x=[1",
            "a b c x=1 y",
            "a b c x=1 x=2",
            "a b c d time=1",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_not(line in "\\PC{0,60}", ascii in "[ -~]{0,60}") {
            let _ = (read(&line), read(&ascii));
        }

        #[test]
        fn any_text_reads_back(text in "\\PC{1,40}", ascii in "[ -~]{1,40}") {
            assert_reads_back(&refused(&text));
            assert_reads_back(&refused(&ascii));
        }
    }
}
