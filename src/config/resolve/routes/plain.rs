//! The settings of a route for plain requests.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::super::problem::quoted;
use super::super::super::reader::{Cursor, Fields};
use super::super::super::report::Report;
use super::super::super::shape;
use super::super::duration;
use super::is_token_byte;
use crate::policy::{HttpRules, METHODS, Respond};

/// Bodies are not kept: any size that an upload may have.
const BODY_BYTES: RangeInclusive<usize> = 1..=1024 * 1024 * 1024 * 1024;

/// The last status that has a meaning (RFC 9110 section 15).
const STATUS_MAX: usize = 599;

/// A number that is read as a status, so that one which is none is told what a status is.
const NUMBER_MAX: usize = 9999;

/// An answer of the proxy's own is kept in memory: for a file there are web servers.
const RESPOND_BYTES: usize = 64 * 1024;

/// `routes[].http`.
pub(super) fn http(cursor: &Cursor<'_>, report: &mut Report<'_>) -> Option<HttpRules> {
    let fields = cursor.fields(&shape::HTTP, report)?;
    let optional = |name, default: Duration, report: &mut Report<'_>| {
        let cursor = fields.get(name);
        let given = cursor.and_then(|cursor| cursor.duration_or_off(report));
        given.unwrap_or(Some(default))
    };
    let max_body = fields
        .get("max_body")
        .and_then(|cursor| cursor.size_or_off(BODY_BYTES, "1 byte to 1TiB, or off", report));
    Some(HttpRules {
        methods: methods(&fields, report),
        max_body: match max_body {
            None => Some(10 * 1024 * 1024),
            Some(given) => given.and_then(|bytes| bytes.try_into().ok()),
        },
        request_timeout: duration(&fields, "request_timeout", Duration::from_secs(300), report),
        response_timeout: duration(&fields, "response_timeout", Duration::from_secs(60), report),
        idle_timeout: optional("idle_timeout", Duration::from_secs(300), report),
    })
}

fn methods(fields: &Fields<'_>, report: &mut Report<'_>) -> Vec<String> {
    const WHAT: &str = "a method such as GET or POST";
    let Some(cursor) = fields.get("methods") else {
        return METHODS.map(str::to_owned).into();
    };
    let mut methods: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for item in cursor.some_items(WHAT, report).unwrap_or_default() {
        let Some(text) = item.text(WHAT, report) else {
            continue;
        };
        let upper = text.to_ascii_uppercase();
        let found = quoted(&text);
        let remove = || Some("remove it".to_owned());
        let (message, help) = match text.as_str() {
            "CONNECT" | "TRACE" => (format!("found {found}, which is never forwarded"), remove()),
            _ if text.is_empty() || !text.bytes().all(is_token_byte) => {
                (format!("found {found}, expected {WHAT}"), None)
            }
            // Methods are case-sensitive (RFC 9110 section 9.1); nobody means `get`.
            _ if METHODS.contains(&upper.as_str()) && upper != text => {
                let help = Some(format!("write {upper}"));
                (format!("found {found}, expected {WHAT}"), help)
            }
            _ if !seen.insert(text.clone()) => (format!("found {found} a second time"), remove()),
            _ => {
                methods.push(text);
                continue;
            }
        };
        item.error_with(report, message, help);
    }
    methods
}

/// `routes[].respond`.
pub(super) fn respond(cursor: &Cursor<'_>, report: &mut Report<'_>) -> Option<Respond> {
    const TYPE: &str = "a media type such as text/plain";
    let fields = cursor.fields(&shape::RESPOND, report)?;
    let status = fields
        .get("status")
        .and_then(|cursor| Some((cursor.count(NUMBER_MAX, report)?, cursor)));
    let status = match status {
        None => 200,
        Some((status @ 200..=STATUS_MAX, _)) => u16::try_from(status).unwrap_or(200),
        Some((status, cursor)) => {
            let message = format!("found {status}, expected a final status: 200 to {STATUS_MAX}");
            cursor.error(report, message);
            200
        }
    };
    let body = fields
        .get("body")
        .map(|cursor| (cursor.text("the text of the answer", report), cursor));
    let body = match body {
        Some((Some(text), cursor)) if text.len() > RESPOND_BYTES => {
            let message = format!("found {} bytes, allowed: {RESPOND_BYTES}", text.len());
            cursor.error(report, message);
            String::new()
        }
        Some((Some(text), cursor)) if matches!(status, 204 | 205 | 304) && !text.is_empty() => {
            let message = format!("found a body, but answers with status {status} have no body");
            let help = Some("remove it, or write another status".to_owned());
            cursor.error_with(report, message, help);
            String::new()
        }
        body => body.and_then(|(text, _)| text).unwrap_or_default(),
    };
    let content_type = fields.get("content_type").and_then(|cursor| {
        let text = cursor.text(TYPE, report)?;
        let is_plain = |b: u8| b.is_ascii_graphic() || b == b' ';
        if !text.contains('/') || !text.bytes().all(is_plain) {
            cursor.error(report, format!("found {}, expected {TYPE}", quoted(&text)));
            return None;
        }
        Some(text)
    });
    Some(Respond {
        status,
        body,
        content_type: content_type.unwrap_or_else(|| "text/plain; charset=utf-8".to_owned()),
    })
}
