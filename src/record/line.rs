//! The text form of a record, for people. docs/records.md has its grammar, so programs can parse it.

use std::fmt::Write as _;

use serde_json::Value;

use super::Record;

/// The layout of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
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

/// The record as text, without a line end.
pub(super) fn line(record: &Record, layout: Layout) -> String {
    let Ok(Value::Object(fields)) = serde_json::to_value(record) else {
        return String::new();
    };
    let mut text = Text {
        layout,
        line: String::new(),
        width: 0,
    };
    text.positions(record);
    let named = |name: &str| fields.get(name).map(|value| field(name, value));
    let who = match fields.contains_key("client") {
        true => WHO,
        false => ["by", "peer", "route"],
    };
    for name in who {
        if let Some(field) = named(name) {
            text.append(" ", &field);
        }
    }
    for name in WHAT {
        match (fields.get(name), layout) {
            (Some(Value::Array(items)), Layout::Terminal) => text.list(name, items),
            (Some(value), Layout::Terminal) => text.append(INDENT, &field(name, value)),
            (Some(value), Layout::OneLine) => text.append(" ", &field(name, value)),
            (None, _) => {}
        }
    }
    let is_said = |name: &str| {
        POSITIONS.contains(&name)
            || who.contains(&name)
            || WHAT.contains(&name)
            || ALWAYS.contains(&name)
    };
    let rest = fields
        .keys()
        .map(String::as_str)
        .filter(|name| !is_said(name));
    let mut is_first = true;
    for field in rest.chain(ALWAYS).filter_map(named) {
        text.wrap(&field, is_first);
        is_first = false;
    }
    text.line
}

struct Text {
    layout: Layout,
    line: String,
    /// Characters in the last line.
    width: usize,
}

impl Text {
    fn positions(&mut self, record: &Record) {
        let level = record.level.map_or("-", |level| level.name());
        // Writing to a String cannot fail.
        let _ = write!(
            self.line,
            "{} {level:<5} {}",
            record.time,
            record.event.name()
        );
        if let Some(reason) = record.reason {
            self.append(" ", reason.code());
        }
    }

    fn append(&mut self, separator: &str, field: &str) {
        self.line.push_str(separator);
        self.line.push_str(field);
    }

    /// Writes a list, with a line for each item.
    fn list(&mut self, name: &str, items: &[Value]) {
        self.append(INDENT, name);
        self.line.push_str("=[");
        for (index, item) in items.iter().enumerate() {
            let comma = if index + 1 < items.len() { "," } else { "" };
            self.append(INDENT, &format!("  {item}{comma}"));
        }
        self.append(INDENT, "]");
    }

    /// Writes a field after others. On a terminal a line holds as many as fit.
    fn wrap(&mut self, field: &str, is_first: bool) {
        let length = field.chars().count();
        let fits = !is_first && self.width + 1 + length <= WIDTH;
        match (self.layout, fits) {
            (Layout::OneLine, _) | (Layout::Terminal, true) => {
                self.append(" ", field);
                self.width += 1 + length;
            }
            (Layout::Terminal, false) => {
                self.append(INDENT, field);
                self.width = INDENT.len() - 1 + length;
            }
        }
    }
}

/// `name=value` with the value in JSON. A text has no quotes if it can't be mistaken for anything else.
fn field(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) if is_bare(text) => format!("{name}={text}"),
        value => format!("{name}={value}"),
    }
}

fn is_bare(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"=\\".contains(&byte);
    !text.is_empty()
        && text.bytes().all(is_plain)
        && !text.starts_with(['[', '{'])
        && serde_json::from_str::<Value>(text).is_err()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;
    use crate::reason::{Level, Reason};
    use crate::record::Event;

    /// Parses a record with the grammar of docs/records.md.
    fn read(text: &str) -> Map<String, Value> {
        let whole: Vec<_> = text.lines().map(str::trim_start).collect();
        let whole = whole.join(" ");
        let mut rest = whole.as_str();
        let mut fields = Map::new();
        for name in POSITIONS {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            if name == "reason" && word.contains('=') {
                break;
            }
            if word != "-" && !word.is_empty() {
                fields.insert(name.to_owned(), Value::String(word.to_owned()));
            }
            rest = after.trim_start();
        }
        while let Some((name, after)) = rest.split_once('=') {
            let (value, end) = if after.starts_with(['"', '[', '{']) {
                let mut values = serde_json::Deserializer::from_str(after).into_iter();
                (values.next().unwrap().unwrap(), values.byte_offset())
            } else {
                let end = after.find(' ').unwrap_or(after.len());
                let word = after.get(..end).unwrap();
                let value = serde_json::from_str(word);
                (
                    value.unwrap_or_else(|_| Value::String(word.to_owned())),
                    end,
                )
            };
            fields.insert(name.to_owned(), value);
            rest = after.get(end..).unwrap().trim_start();
        }
        assert_eq!(rest, "", "{text}");
        fields
    }

    fn assert_reads_back(record: &Record) {
        let Value::Object(expected) = serde_json::to_value(record).unwrap() else {
            panic!("a record is an object");
        };
        for layout in [Layout::OneLine, Layout::Terminal] {
            let text = line(record, layout);
            assert_eq!(read(&text), expected, "{text}");
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

    proptest! {
        #[test]
        fn any_text_reads_back(text in "\\PC{1,40}", ascii in "[ -~]{1,40}") {
            assert_reads_back(&refused(&text));
            assert_reads_back(&refused(&ascii));
        }
    }
}
