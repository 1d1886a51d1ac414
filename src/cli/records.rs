//! Records among the lines of a source: JSON, and both forms of text.

mod input;

use std::borrow::Cow;
use std::io;

use serde::Deserialize;

pub(super) use self::input::{Lines, Source};

use self::input::Line;
use crate::record::{Frequent, line};
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
    pub(super) fn read(json: &'a [u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(json).ok()?;
        let time = record.time.as_bytes();
        let is_time = time.len() == 24 && time.get(10) == Some(&b'T') && time.last() == Some(&b'Z');
        // A forged line must not reach the terminal through the words that are written without quotes.
        let words = [&record.event, &record.level, &record.by, &record.reason];
        let is_plain = is_time
            && is_date(time)
            && !record.event.is_empty()
            && words.into_iter().all(|text| line::is_word(text));
        is_plain.then_some(record)
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
            "closed" => !matches!(
                &*self.reason,
                "client_close" | "client_going_away" | "upstream_close"
            ),
            "request" => !self.reason.is_empty(),
            "opened" | "records_suppressed" => false,
            _ => matches!(&*self.level, "warn" | "error"),
        }
    }
}

fn is_date(time: &[u8]) -> bool {
    time.iter()
        .all(|byte| byte.is_ascii_digit() || b"-:.TZ".contains(byte))
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
    /// Whether `line` follows `text` and has not been looked at.
    is_ahead: bool,
    json: Vec<u8>,
    is_live: bool,
}

impl Reader {
    /// With `is_live`, a record as text is whole as soon as nothing more is there.
    pub(super) fn new(lines: Lines, is_live: bool) -> Self {
        Self {
            lines,
            line: Vec::new(),
            text: String::new(),
            is_ahead: false,
            json: Vec::new(),
            is_live,
        }
    }

    /// The record of the last [`Step::Json`], as JSON.
    pub(super) fn json(&self) -> &[u8] {
        &self.json
    }

    /// Whether the next step may have to wait for the source.
    pub(super) fn may_wait(&self) -> bool {
        !self.is_ahead && !self.lines.has_next()
    }

    /// Reads on.
    ///
    /// # Errors
    /// The source's.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        loop {
            if !self.is_ahead {
                if self.is_live && !self.text.is_empty() && !self.lines.has_next() {
                    return Ok(self.finish());
                }
                match self.lines.next(&mut self.line)? {
                    Line::Whole => {}
                    Line::TooLong => return Ok(Step::Foreign),
                    Line::End if self.text.is_empty() => return Ok(Step::End),
                    Line::End => return Ok(self.finish()),
                }
            }
            self.is_ahead = false;
            if !self.text.is_empty() {
                if let Some(more) = self.line.strip_prefix(b"    ") {
                    self.text.push(' ');
                    self.text
                        .push_str(String::from_utf8_lossy(more).trim_start_matches(' '));
                    if self.text.len() > 1 << 20 {
                        self.text.clear();
                        return Ok(Step::Foreign);
                    }
                    continue;
                }
                self.is_ahead = true;
                return Ok(self.finish());
            }
            if self.line.is_empty() {
                continue;
            }
            match content(&self.line) {
                Some(Content::Json(json)) => {
                    self.json.clear();
                    self.json.extend_from_slice(&json);
                    return Ok(Step::Json);
                }
                Some(Content::Text(text)) => {
                    self.text.clear();
                    self.text.push_str(&text);
                }
                None => return Ok(Step::Foreign),
            }
        }
    }

    /// Makes JSON of a text.
    fn finish(&mut self) -> Step {
        let fields = line::read(&self.text);
        self.text.clear();
        let json = fields.map(|fields| serde_json::to_vec(&fields));
        match json {
            Some(Ok(json)) => {
                self.json = json;
                Step::Json
            }
            Some(Err(_)) | None => Step::Foreign,
        }
    }
}

enum Content<'a> {
    Json(Cow<'a, [u8]>),
    Text(Cow<'a, str>),
}

/// The part of a line that may be a record. Collectors of logs put things in front of it, or wrap it.
fn content(line: &[u8]) -> Option<Content<'_>> {
    const WRAPPED: &[u8] = b"{\"log\":\"";
    const RECORD: &[u8] = b"{\"time\":\"";
    if line.starts_with(WRAPPED) {
        // Docker's json-file.
        #[derive(Deserialize)]
        struct Wrapped {
            log: String,
        }
        let Wrapped { log } = serde_json::from_slice(line).ok()?;
        let log = log.trim_end_matches(['\n', '\r']);
        return match content(log.as_bytes())? {
            Content::Json(json) => Some(Content::Json(Cow::Owned(json.into_owned()))),
            Content::Text(text) => Some(Content::Text(Cow::Owned(text.into_owned()))),
        };
    }
    if line.first() == Some(&b'{') {
        return Some(Content::Json(Cow::Borrowed(line)));
    }
    if let Some(at) = memchr::memmem::find(line, RECORD) {
        return Some(Content::Json(Cow::Borrowed(line.get(at..)?)));
    }
    // The lines of containerd and CRI-O begin with a time of their own; Compose's and kubectl's with a name.
    let mut text = std::str::from_utf8(line).ok()?;
    if let Some((_, rest)) = text.split_once(" stdout F ") {
        text = rest;
    } else if let Some((name, rest)) = text.split_once(" | ")
        && !name.trim_end().contains(' ')
    {
        text = rest.trim_start();
    }
    let is_record = text.len() > 24
        && text.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && text.as_bytes().get(23..25) == Some(b"Z ");
    is_record.then_some(Content::Text(Cow::Borrowed(text)))
}

/// Text that can be printed whatever a file contains. What a terminal could interpret is written as JSON writes it.
pub(super) fn safe(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c == '\n' || !(c.is_control() || text::is_invisible(c));
    if text.is_ascii() && !text.contains('\x7f') || text.chars().all(is_plain) {
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
