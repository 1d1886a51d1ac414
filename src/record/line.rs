//! The text form of a record, for people. docs/records.md has its grammar, so programs can parse it.

use serde::de::IgnoredAny;
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

/// Starts each further line.
const INDENT: &str = "\n    ";

/// The most characters in a line on a terminal, if its fields allow it.
const WIDTH: usize = 100;

/// The fields of a record in JSON, in their order. serde_json would take twice as long to find them. `None` if it is not an
/// object; other mistakes in the JSON are not found.
fn fields(json: &str) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::with_capacity(64);
    let mut rest = json.trim_ascii_start().strip_prefix('{')?;
    loop {
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_ascii_start();
        if rest.starts_with('}') {
            return Some(fields);
        }
        let (name, after) = rest.split_at_checked(end_of_text(rest)?)?;
        let name = name.get(1..name.len() - 1)?;
        let value = after.trim_ascii_start().strip_prefix(':')?;
        let value = value.trim_ascii_start();
        let (value, after) = value.split_at_checked(end_of_value(value)?)?;
        fields.push(Field { name, value });
        rest = after.trim_ascii_start();
    }
}

/// The length of the text, in quotes, with which `json` begins.
fn end_of_text(json: &str) -> Option<usize> {
    let bytes = json.as_bytes();
    let mut at = 1;
    bytes.first().filter(|first| **first == b'"')?;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes.get(at) {
            Some(b'"') => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// The length of the value with which `json` begins.
fn end_of_value(json: &str) -> Option<usize> {
    let bytes = json.as_bytes();
    match bytes.first()? {
        b'"' => end_of_text(json),
        b'{' | b'[' => {
            let (mut at, mut depth) = (0, 0_usize);
            loop {
                at += match bytes.get(at)? {
                    b'"' => end_of_text(json.get(at..)?)?,
                    b'{' | b'[' => {
                        depth += 1;
                        1
                    }
                    b'}' | b']' if depth == 1 => return Some(at + 1),
                    b'}' | b']' => {
                        depth -= 1;
                        1
                    }
                    _ => 1,
                };
            }
        }
        _ => {
            let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
            bytes.iter().position(is_end)
        }
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
    let fields = fields(json)?;
    let has_client = fields.iter().any(|field| field.name == "client");
    let mut placed = [None; PLACES];
    let mut others = Vec::with_capacity(fields.len());
    for field in fields {
        let place = place(field.name, has_client);
        match place.and_then(|place| placed.get_mut(place)) {
            Some(place) => *place = Some(field),
            None if is_word(field.name) => others.push(field),
            // It could not be read back.
            None => {}
        }
    }
    let [time, level, event, reason, placed @ ..] = placed;
    let [by, who, route, placed @ ..] = placed;
    let [detail, hint, suspect, problems, always @ ..] = placed;
    let mut text = Text {
        layout,
        line: String::with_capacity(json.len()),
        width: 0,
    };
    text.positions([time, level, event, reason]);
    for field in [by, who, route].into_iter().flatten() {
        text.append(" ", field);
    }
    for field in [detail, hint, suspect, problems].into_iter().flatten() {
        match layout {
            Layout::OneLine => text.append(" ", field),
            Layout::Terminal => match serde_json::from_str::<Vec<&RawValue>>(field.value) {
                Ok(items) => text.list(field.name, &items),
                Err(_) => text.append(INDENT, field),
            },
        }
    }
    let mut is_first = true;
    for field in others.into_iter().chain(always.into_iter().flatten()) {
        text.wrap(field, is_first);
        is_first = false;
    }
    Some(text.line)
}

/// How many fields have a place of their own.
const PLACES: usize = 14;

/// The place of a field: first those that are written without a name; then who the record is about; then what happened and
/// what to do, each with a line of its own on a terminal; and at the end those that are the same in all records of a
/// process. The others stand before these, in their own order.
fn place(name: &str, has_client: bool) -> Option<usize> {
    Some(match name {
        "time" => 0,
        "level" => 1,
        "event" => 2,
        "reason" => 3,
        "by" => 4,
        "client" => 5,
        "peer" if !has_client => 5,
        "route" => 6,
        "detail" => 7,
        "hint" => 8,
        "suspect" => 9,
        "problems" => 10,
        "schema" => 11,
        "version" => 12,
        "instance" => 13,
        _ => return None,
    })
}

struct Text {
    layout: Layout,
    line: String,
    /// Characters in the last line.
    width: usize,
}

impl Text {
    fn positions(&mut self, fields: [Option<Field<'_>>; 4]) {
        let words = fields.map(|field| Some(field?.value.trim_matches('"')));
        let [time, level, event, reason] = words;
        self.line.push_str(time.unwrap_or("-"));
        self.line.push(' ');
        // The events stand below each other.
        let level = level.unwrap_or("-");
        self.line.push_str(level);
        let missing = "error".len().saturating_sub(level.len());
        self.line.extend(std::iter::repeat_n(' ', missing + 1));
        self.line.push_str(event.unwrap_or("-"));
        if let Some(reason) = reason {
            self.line.push(' ');
            self.line.push_str(reason);
        }
    }

    fn append(&mut self, separator: &str, field: Field<'_>) {
        self.line.push_str(separator);
        self.line.push_str(field.name);
        self.line.push('=');
        self.line.push_str(field.shown());
    }

    /// Writes a list, with a line for each item.
    fn list(&mut self, name: &str, items: &[&RawValue]) {
        for part in [INDENT, name, "=["] {
            self.line.push_str(part);
        }
        for (index, item) in items.iter().enumerate() {
            let comma = if index + 1 < items.len() { "," } else { "" };
            for part in [INDENT, "  ", item.get(), comma] {
                self.line.push_str(part);
            }
        }
        self.line.push_str(INDENT);
        self.line.push(']');
    }

    /// Writes a field after others. On a terminal a line holds as many as fit.
    fn wrap(&mut self, field: Field<'_>, is_first: bool) {
        if self.layout == Layout::OneLine {
            return self.append(" ", field);
        }
        let characters = |text: &str| text.chars().count();
        let length = characters(field.name) + 1 + characters(field.shown());
        if !is_first && self.width + 1 + length <= WIDTH {
            self.append(" ", field);
            self.width += 1 + length;
        } else {
            self.append(INDENT, field);
            self.width = INDENT.len() - 1 + length;
        }
    }
}

/// A field with its value in JSON.
#[derive(Clone, Copy)]
struct Field<'a> {
    name: &'a str,
    value: &'a str,
}

impl<'a> Field<'a> {
    /// The value as it is written. A text has no quotes if it can't be mistaken for anything else.
    fn shown(self) -> &'a str {
        let inner = self.value.strip_prefix('"');
        let inner = inner.and_then(|rest| rest.strip_suffix('"'));
        inner.filter(|text| is_bare(text)).unwrap_or(self.value)
    }
}

fn is_bare(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
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
    fn a_stream_stands_beside_its_connection() {
        let record = Record {
            conn: Some("4a075b1400000001".to_owned()),
            stream_id: Some(5),
            ..refused("a")
        };
        for layout in [Layout::OneLine, Layout::Terminal] {
            let text = line(&record, layout);
            let both = "conn=4a075b1400000001 stream_id=5 ";
            assert!(text.contains(both), "{text}");
        }
        assert_reads_back(&record);
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

    #[test]
    fn fields_are_found_in_any_json_object() {
        let json = r#" { "a" : "b\"c\\" , "b":[{"x":"]\""},[]], "c" :-1.5e3,"d":null ,"\u0065":1,"f":{} } "#;
        let found: Vec<_> = fields(json)
            .unwrap()
            .iter()
            .map(|field| (field.name, field.value))
            .collect();
        let expected = [
            ("a", r#""b\"c\\""#),
            ("b", r#"[{"x":"]\""},[]]"#),
            ("c", "-1.5e3"),
            ("d", "null"),
            (r"\u0065", "1"),
            ("f", "{}"),
        ];
        assert_eq!(found, expected);
        for wrong in [
            "",
            "1",
            "{",
            r#"{"a"#,
            r#"{"a":"#,
            r#"{"a":["#,
            r#"{"a":"\"#,
            r#"{"a":1"#,
        ] {
            assert!(fields(wrong).is_none(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_fields_or_not(text in "\\PC{0,40}", json in "[{}\\[\\]\":,a\\\\ 1é]{0,40}") {
            let _ = (fields(&text), fields(&json));
        }

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
