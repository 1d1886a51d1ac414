//! Records among the lines of a source: JSON, and both forms of text.

mod input;

use std::borrow::Cow;
use std::io;

use serde::Deserialize;
use serde_json::{Map, Value};

pub(super) use self::input::{Lines, Source};

use self::input::Line;
use crate::reason::Reason;
use crate::record::{Frequent, id, line};
use crate::text;

/// What searches need of a record. Absent texts are empty. Codes are texts, because a later version may have more of them.
#[derive(Debug, Deserialize)]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    pub schema: u32,
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    #[serde(borrow, default)]
    pub level: Cow<'a, str>,
    #[serde(borrow, default)]
    pub conn: Cow<'a, str>,
    #[serde(default)]
    pub stream_id: Option<u32>,
    #[serde(borrow, default)]
    pub request_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub trace_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub by: Cow<'a, str>,
    #[serde(borrow, default)]
    pub reason: Cow<'a, str>,
    #[serde(borrow, default)]
    pub hint: Cow<'a, str>,
    #[serde(borrow, default)]
    pub client: Cow<'a, str>,
    #[serde(borrow, default)]
    pub peer: Cow<'a, str>,
    #[serde(borrow, default)]
    pub origin: Cow<'a, str>,
    #[serde(borrow, default)]
    pub path: Cow<'a, str>,
    #[serde(borrow, default)]
    pub user_agent: Cow<'a, str>,
    #[serde(borrow, default)]
    pub route: Cow<'a, str>,
    #[serde(default)]
    pub client_sees: Option<u16>,
    #[serde(default)]
    pub count: u64,
    #[serde(default)]
    pub top_clients: Vec<Frequent>,
    #[serde(default)]
    pub top_origins: Vec<Frequent>,
    #[serde(default)]
    pub top_paths: Vec<Frequent>,
}

impl<'a> Record<'a> {
    /// Reads a record from JSON. `None` if the line is something else.
    pub(super) fn read(json: &'a str) -> Option<Self> {
        let record: Self = serde_json::from_str(json).ok()?;
        // Texts of this form are ordered like the times.
        let is_time = record.time.len() == 24 && humantime::parse_rfc3339(&record.time).is_ok();
        // A forged line must not reach the terminal through the words that are written without quotes.
        let words = [&record.event, &record.level, &record.by, &record.reason];
        let is_plain = is_time
            && !record.event.is_empty()
            && words.into_iter().all(|text| line::is_word(text));
        is_plain.then_some(record)
    }

    /// The id of its connection, or of its stream over HTTP/2; empty if it has none.
    pub(super) fn id(&self) -> Cow<'_, str> {
        match self.conn.is_empty() {
            true => Cow::Borrowed(""),
            false => id::full(&self.conn, self.stream_id),
        }
    }

    /// Who connected, as far as the record says it.
    pub(super) fn who(&self) -> &str {
        match self.client.is_empty() {
            true => &self.peer,
            false => &self.client,
        }
    }

    /// The address of [`Self::who`], without a port.
    pub(super) fn address(&self) -> String {
        let who = self.who();
        match who.parse::<std::net::SocketAddr>() {
            Ok(with_port) => with_port.ip().to_string(),
            Err(_) => who.to_owned(),
        }
    }

    /// The path without its query.
    pub(super) fn bare_path(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Whether it reports a refusal, an end that was not asked for, or a problem of the proxy itself.
    pub(super) fn is_failure(&self) -> bool {
        match &*self.event {
            "refused" => self.level != "debug",
            "closed" => !Reason::ORDINARY
                .iter()
                .any(|reason| reason.code() == self.reason),
            "request" => !self.reason.is_empty(),
            "opened" | "records_suppressed" => false,
            _ => matches!(&*self.level, "warn" | "error"),
        }
    }
}

/// One step of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// [`Reader::json`] is a record, or at least an object.
    Json,
    /// A line that is not a record.
    Foreign,
    End,
}

/// Reads records one by one.
pub(super) struct Reader {
    lines: Lines,
    /// The last line that was read.
    line: Vec<u8>,
    /// A record as text, of which more lines may come.
    text: String,
    /// What a collector has put in front of its first line, and puts in front of the others.
    prefix: Vec<u8>,
    /// How long `text` must be before it is read again: each reading costs as much as all of it.
    due: usize,
    /// Whether `line` follows `text` and has not been looked at.
    is_ahead: bool,
    json: String,
}

/// Longer records don't exist.
const LONGEST_TEXT: usize = 1 << 20;

impl Reader {
    pub(super) fn new(lines: Lines) -> Self {
        Self {
            lines,
            line: Vec::new(),
            text: String::new(),
            prefix: Vec::new(),
            due: 0,
            is_ahead: false,
            json: String::new(),
        }
    }

    /// The record of the last [`Step::Json`], as JSON.
    pub(super) fn json(&self) -> &str {
        &self.json
    }

    /// Whether the next step may have to wait for the source.
    pub(super) fn may_wait(&self) -> bool {
        !self.lines.has_next()
    }

    /// Reads on.
    ///
    /// # Errors
    /// The source's.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        loop {
            if !self.is_ahead {
                match self.lines.next(&mut self.line)? {
                    Line::Whole => unwrap(&mut self.line),
                    Line::TooLong => return Ok(Step::Foreign),
                    Line::End if self.text.is_empty() => return Ok(Step::End),
                    Line::End => return Ok(self.finish()),
                }
            }
            self.is_ahead = false;
            if !self.text.is_empty() {
                let line = self.line.strip_prefix(self.prefix.as_slice());
                if let Some(more) = line.and_then(|line| line.strip_prefix(b"    ")) {
                    self.text.push(' ');
                    let more = String::from_utf8_lossy(more);
                    self.text.push_str(more.trim_start_matches(' '));
                } else {
                    self.is_ahead = true;
                    return Ok(self.finish());
                }
            } else {
                match content(&self.line) {
                    Some(Content::Json(json)) => {
                        self.json.clear();
                        match std::str::from_utf8(json) {
                            Ok(json) => self.json.push_str(json),
                            Err(_) => self.json.push_str(&String::from_utf8_lossy(json)),
                        }
                        return Ok(Step::Json);
                    }
                    Some(Content::Text(text)) => {
                        self.text.push_str(text);
                        self.due = 0;
                        let prefix = self.line.len().saturating_sub(text.len());
                        self.prefix.clear();
                        self.prefix
                            .extend_from_slice(self.line.get(..prefix).unwrap_or_default());
                    }
                    None if self.line.is_empty() => continue,
                    None => return Ok(Step::Foreign),
                }
            }
            if self.text.len() > LONGEST_TEXT {
                self.text.clear();
                return Ok(Step::Foreign);
            }
            // The instance comes last, so there is nothing to wait for.
            let has_more = memchr::memmem::find(&self.line, b"instance=").is_none();
            if has_more || self.text.len() < self.due {
                continue;
            }
            match line::read(&self.text).filter(|fields| fields.contains_key("instance")) {
                Some(fields) => {
                    self.text.clear();
                    return Ok(self.hold(&fields));
                }
                None => self.due = self.text.len() * 2,
            }
        }
    }

    /// The text so far is all there is.
    fn finish(&mut self) -> Step {
        let fields = line::read(&self.text);
        self.text.clear();
        fields.map_or(Step::Foreign, |fields| self.hold(&fields))
    }

    fn hold(&mut self, fields: &Map<String, Value>) -> Step {
        match serde_json::to_string(fields) {
            Ok(json) => {
                self.json = json;
                Step::Json
            }
            Err(_) => Step::Foreign,
        }
    }
}

enum Content<'a> {
    Json(&'a [u8]),
    Text(&'a str),
}

/// How a record in JSON begins.
const RECORD: &[u8] = b"{\"time\":\"";

/// Takes a line out of the JSON of Docker's json-file or of the journal.
fn unwrap(line: &mut Vec<u8>) {
    // A byte order mark, and what a file has that was emptied while it was written.
    let is_before = |byte: &u8| matches!(byte, 0 | b'\t' | 0xef | 0xbb | 0xbf);
    let before = line.iter().take_while(|byte| is_before(byte)).count();
    line.drain(..before);
    #[derive(Deserialize)]
    struct Wrapped {
        #[serde(alias = "MESSAGE")]
        log: String,
    }
    if line.first() == Some(&b'{')
        && !line.starts_with(RECORD)
        && let Ok(Wrapped { log }) = serde_json::from_slice(line)
    {
        *line = log.trim_end_matches(['\n', '\r']).as_bytes().to_vec();
    }
}

/// The part of a line that may be a record. Collectors of logs put times and names in front of it.
fn content(line: &[u8]) -> Option<Content<'_>> {
    if line.first() == Some(&b'{') {
        return Some(Content::Json(line));
    }
    // A record as text may contain anything in quotes, such as what looks like another record.
    if let Ok(text) = std::str::from_utf8(line)
        && is_text(text)
    {
        return Some(Content::Text(text));
    }
    let start = line.get(..LONGEST_PREFIX).unwrap_or(line);
    let end = start.iter().position(|byte| !is_of_prefix(*byte));
    let prefix = end.map_or(start, |end| start.get(..end).unwrap_or(start));
    if let Some(json) = line
        .get(prefix.len()..)
        .filter(|rest| rest.starts_with(RECORD) && is_of_collector(prefix))
    {
        return Some(Content::Json(json));
    }
    let text = std::str::from_utf8(line).ok()?;
    let starts = text.match_indices(' ').map(|(at, _)| at + 1);
    let mut starts = starts.take_while(|at| *at <= prefix.len());
    let is_record = |at: &usize| {
        let (before, record) = text.split_at_checked(*at).unwrap_or_default();
        is_text(record) && is_of_collector(before.as_bytes())
    };
    let at = starts.find(is_record)?;
    Some(Content::Text(text.get(at..)?))
}

/// The most bytes that a collector puts in front of a record.
const LONGEST_PREFIX: usize = 200;

/// Names, times and brackets, but no quotes: what somebody else chose begins there.
fn is_of_prefix(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" ._:/+-[]()|,".contains(&byte)
}

/// Whether a prefix ends as those of collectors do: the bar of Compose, the mark of containerd, the brackets of kubectl and
/// of the journal, or a time. The log of another program could contain a record that a client chose.
fn is_of_collector(prefix: &[u8]) -> bool {
    let prefix = String::from_utf8_lossy(prefix);
    let mut words = prefix.split(' ').filter(|word| !word.is_empty()).rev();
    let is_time = |word: &str| {
        let is_digit = |at: usize| word.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
        word.len() >= 20 && word.as_bytes().get(10) == Some(&b'T') && is_digit(0) && is_digit(11)
    };
    words.next().is_some_and(|last| {
        matches!(last, "|" | "F" | "wsgate:")
            || last.ends_with(']')
            || last.ends_with("]:")
            || is_time(last)
    })
}

/// Whether a text begins with a record's time and level.
fn is_text(text: &str) -> bool {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let is_time = |word: &str| {
        word.len() == 24
            && word.as_bytes().first().is_some_and(u8::is_ascii_digit)
            && word.ends_with('Z')
    };
    words.next().is_some_and(is_time)
        && words
            .next()
            .is_some_and(|level| ["debug", "info", "warn", "error", "-"].contains(&level))
}

/// Text that can be printed whatever a file contains. What a terminal could interpret is written as JSON writes it.
pub(super) fn safe(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c == '\n' || !(c.is_control() || text::is_invisible(c));
    let is_simple = |byte: &u8| *byte == b'\n' || (b' '..0x7f).contains(byte);
    // Whole pieces are looked at, without a decision at each byte, because that is several times as fast.
    let are_simple = |piece: &[u8]| piece.iter().map(is_simple).fold(true, |all, is| all & is);
    if text.as_bytes().chunks(256).all(are_simple) || text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match is_plain(c) {
            true => safe.push(c),
            false => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    Cow::Owned(safe)
}
