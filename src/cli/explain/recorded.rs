//! `wsgate explain -`: what records on standard input say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use serde_json::Value;

use super::{named, one};
use crate::cli::records::{Lines, Reader, Record, Step, safe};
use crate::cli::{FAILED, OK, WRONG, say};
use crate::reason::Reason;
use crate::text::{Language, shown};

/// How many records are explained one by one.
const MOST: usize = 100;

/// The facts of a case, in the order in which they are shown.
const FACTS: [&str; 28] = [
    "time",
    "conn",
    "stream_id",
    "client",
    "peer",
    "route",
    "host",
    "path",
    "origin",
    "user_agent",
    "upstream",
    "attempts",
    "status",
    "detail",
    "hint",
    "suspect",
    "problems",
    "count",
    "top_clients",
    "first_close",
    "close_code_client",
    "close_reason_client",
    "close_code_upstream",
    "close_reason_upstream",
    "close_code_proxy",
    "client_sees",
    "idle_ms",
    "lasted_ms",
];

/// Explains each record on standard input, and the others only by their number.
pub(super) fn explain(language: Language) -> u8 {
    if io::stdin().is_terminal() {
        say(io::stderr(), "paste a record, and end with Ctrl-D\n");
    }
    let lines = match Lines::of(io::stdin()) {
        Ok(lines) => lines,
        Err(error) => return unreadable(&error),
    };
    let mut reader = Reader::new(lines);
    let (mut explained, mut more) = (0, 0);
    loop {
        match reader.step() {
            Ok(Step::Json) => match text(reader.json(), language) {
                Some(_) if explained == MOST => more += 1,
                Some(text) => {
                    let gap = if explained > 0 { "\n" } else { "" };
                    say(io::stdout(), &format!("{gap}{}", safe(&text)));
                    explained += 1;
                }
                None => {}
            },
            Ok(Step::Foreign) => {}
            Ok(Step::End) => break,
            Err(error) => return unreadable(&error),
        }
    }
    if more > 0 {
        let text =
            format!("note: {more} more records; wsgate find --summary explains many at once\n");
        say(io::stderr(), &text);
    }
    if explained == 0 {
        say(io::stderr(), "there is no record on standard input\n");
        return FAILED;
    }
    OK
}

fn unreadable(error: &io::Error) -> u8 {
    say(io::stderr(), &format!("error: standard input: {error}\n"));
    WRONG
}

/// The facts of a record, and what its reason and its notes mean. `None` if it is not a record.
pub(super) fn text(json: &str, language: Language) -> Option<String> {
    let record = Record::read(json)?;
    let fields: BTreeMap<String, Value> = serde_json::from_str(json).ok()?;
    let mut text = format!("{}\n", record.event);
    for name in FACTS {
        match fields.get(name) {
            Some(Value::String(value)) => {
                let _ = writeln!(text, "  {name}: {}", shown(value, 1000));
            }
            Some(value) => {
                let _ = writeln!(text, "  {name}: {value}");
            }
            None => {}
        }
    }
    match record.reason.parse::<Reason>() {
        Ok(reason) => text.push_str(&one(reason, language)),
        Err(_) if record.reason.is_empty() => {
            let words = language.words();
            let is_of_a_request = ["opened", "closed", "request"].contains(&&*record.event);
            let what = match is_of_a_request {
                true => words.unexplained,
                false => words.of_the_proxy,
            };
            let _ = writeln!(text, "{what}");
        }
        Err(unknown) => {
            let _ = writeln!(text, "{unknown}");
        }
    }
    for note in fields
        .get("notes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let code = note.get("code").and_then(Value::as_str);
        text.push_str(
            &code
                .and_then(|code| named(code, language))
                .unwrap_or_default(),
        );
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_record_is_among_its_facts() {
        let json = |stream: &str| {
            format!(
                r#"{{"time":"2026-01-02T20:38:00.000Z","schema":1,"event":"opened","conn":"c"{stream},"client":"192.0.2.1"}}"#
            )
        };
        let said = |stream| text(&json(stream), Language::En).unwrap();
        assert!(said(r#","stream_id":3"#).contains("\n  conn: c\n  stream_id: 3\n  client: "));
        assert!(said("").contains("\n  conn: c\n  client: "));
    }
}
