//! `routes[].respond`: an answer of the proxy itself.

use serde_json::{Value as Json, json};

use super::super::super::fields::Fields;
use super::super::super::key::{Is, Key, Nothing, keys};
use super::super::super::problem::{Complaint, quoted};
use super::super::super::report::Report;
use super::super::super::value::{Choice, Count, Literal, Spelled, Text, ValueType, range};
use super::ROUTE;
use crate::policy::Respond;

/// The answer is kept in memory; web servers are for files.
const MOST_BYTES: usize = 64 * 1024;

keys! {
    pub(super) static RESPOND: RespondKeys {
        /// The status of the answer.
        status: Key<u16> = &Status, Is(|| 200);
        /// The whole body, at most 64KiB, sent exactly as written here.
        body: Key<String, Nothing> = &Text::any("text", "the text of the answer"), Nothing("empty");
        /// The Content-Type of the answer.
        content_type: Key<String> =
            &Text::parsed("media type", TYPE, content_type), Is(|| "text/plain; charset=utf-8".to_owned());
    }
}

const TYPE: &str = "a media type such as text/plain";

/// The answer of the route with these fields, if it has one.
pub(super) fn read(route: &Fields<'_>, report: &mut Report<'_>) -> Option<Respond> {
    let fields = route.open(&ROUTE.respond, report)?;
    let status = fields.read(&RESPOND.status, report);
    Some(Respond {
        status,
        body: body(&fields, status, report).unwrap_or_default(),
        content_type: fields.read(&RESPOND.content_type, report),
    })
}

fn body(fields: &Fields<'_>, status: u16, report: &mut Report<'_>) -> Option<String> {
    let text = fields.read(&RESPOND.body, report)?;
    let cursor = fields.get(&RESPOND.body)?;
    if text.len() > MOST_BYTES {
        let message = format!("found {} bytes, allowed: {MOST_BYTES}", text.len());
        cursor.error(report, message);
        return None;
    }
    if matches!(status, 204 | 205 | 304) {
        let message = format!("found a body, but answers with status {status} have no body");
        let help = "remove it, or write another status";
        cursor.error(report, Complaint::new(message).help(help));
        return None;
    }
    Some(text)
}

fn content_type(text: &str) -> Result<String, Complaint> {
    let is_plain = |b: u8| b.is_ascii_graphic() || b == b' ';
    match text.contains('/') && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err(Complaint::new(format!(
            "found {}, expected {TYPE}",
            quoted(text)
        ))),
    }
}

/// A status that ends an exchange (RFC 9110 section 15).
struct Status;

impl ValueType for Status {
    fn words(&self) -> String {
        "200 to 599".to_owned()
    }

    fn expected(&self) -> String {
        // Any number of four digits is read, to say what a status is.
        Count(9999).expected()
    }

    fn choices(&self) -> Vec<Choice> {
        range(200, 599).into()
    }
}

impl Literal for Status {
    type Read = u16;

    fn parse(&self, found: &Spelled, off: bool) -> Result<u16, Complaint> {
        let number = Count(9999).parse(found, off)?;
        let status = u16::try_from(number).ok();
        let status = status.filter(|status| (200..=599).contains(status));
        status.ok_or_else(|| {
            let message = format!("found {number}, expected a final status: 200 to 599");
            Complaint::new(message)
        })
    }

    fn written(&self, value: &u16) -> Json {
        json!(value)
    }
}
