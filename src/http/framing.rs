//! Checks how a head says where its body ends. Only one way is allowed.

use http::header::{self, HeaderMap};

use super::body::{Rest, conflict};
use crate::reason::Failure;
use crate::secrets::{self, words};

/// The fields that determine the length of the body (RFC 9112 section 6).
#[derive(Default)]
pub(super) struct Framing<'a> {
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
}

impl<'a> Framing<'a> {
    /// Adds one field of the head.
    ///
    /// # Errors
    /// `http_framing_conflict`.
    pub fn add(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Failure> {
        let place = if name.eq_ignore_ascii_case(b"content-length") {
            &mut self.length
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            &mut self.coding
        } else {
            return Ok(());
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(conflict(format!(
                "{} is repeated",
                String::from_utf8_lossy(name)
            ))),
        }
    }

    /// The body that follows the head.
    ///
    /// # Errors
    /// `http_framing_conflict`.
    pub fn check(&self) -> Result<Rest, Failure> {
        match (self.length, self.coding) {
            (Some(_), Some(_)) => Err(conflict("Content-Length next to Transfer-Encoding")),
            (Some(length), None) => match digits(length) {
                Some(length) => Ok(Rest::length(length)),
                None => Err(conflict(format!(
                    "Content-Length is not a number: found {}",
                    secrets::number(length)
                ))),
            },
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Rest::chunked()),
            (None, Some(coding)) => Err(conflict(format!(
                "Transfer-Encoding is not only chunked: found {}",
                secrets::known(
                    coding.split(|&byte| byte == b',').map(<[u8]>::trim_ascii),
                    &[words::CODINGS]
                )
            ))),
            (None, None) => Ok(Rest::length(0)),
        }
    }
}

/// The length that the fields of a request announce for its body.
///
/// # Errors
/// `http_framing_conflict`.
pub(crate) fn content_length(fields: &HeaderMap) -> Result<Option<u64>, Failure> {
    let mut framing = Framing::default();
    let mut is_announced = false;
    for value in fields.get_all(header::CONTENT_LENGTH) {
        framing.add(header::CONTENT_LENGTH.as_str().as_bytes(), value.as_bytes())?;
        is_announced = true;
    }
    let rest = framing.check()?;
    Ok(is_announced.then_some(rest.announced()).flatten())
}

/// Digits only: `parse` would also accept a sign.
fn digits(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let is_plain = value.iter().all(u8::is_ascii_digit);
    is_plain.then(|| text.parse().ok())?
}
