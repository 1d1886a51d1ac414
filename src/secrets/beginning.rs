//! The first bytes of a connection or an answer: only as many as are needed to recognise a protocol.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::words;

/// The known beginning of a protocol that bytes start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beginning {
    /// How many bytes identify it.
    length: usize,
    /// Its name; `None`: the bytes are text and are shown as they are.
    name: Option<&'static str>,
}

/// Beginnings that are text.
const TEXTS: &[&str] = &[
    "GET ",
    "HEAD ",
    "POST ",
    "PUT ",
    "DELETE ",
    "CONNECT ",
    "OPTIONS ",
    "TRACE ",
    "PATCH ",
    "PRI * HTTP/2.0",
    "PROPFIND ",
    "PROXY TCP4 ",
    "PROXY TCP6 ",
    "PROXY UNKNOWN",
    "PROXY ",
    "SSH-2.0-",
    "SSH-1.99-",
    "SSH-",
    "RTSP/1.0 ",
    "SIP/2.0 ",
    "ICY ",
    "RFB 00",
    "AMQP",
    "CONNECT\n",
    "CONNECTED\n",
    "220 ",
    "220-",
    "* OK",
    "+OK",
    "+PONG",
    "-ERR",
    "-NOAUTH",
    "EHLO ",
    "HELO ",
    "<!DOCTYPE",
    "<!doctype",
    "<html",
    "<HTML",
    "<?xml",
    "Error",
    "TypeError",
    "SyntaxError",
    "RangeError",
    "ReferenceError",
    "Traceback (most",
    "panic: ",
];

/// Matches any byte in a pattern.
const ANY: u16 = 0x100;

/// Beginnings that are not text.
const BINARIES: &[(&[u16], &str)] = &[
    (
        &[13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10],
        "PROXY protocol, version 2",
    ),
    // A SETTINGS frame with few entries, which an HTTP/2 server sends first (RFC 9113 section 3.4).
    (&[0, ANY, ANY, 4, 0, 0, 0, 0, 0], "HTTP/2 SETTINGS"),
    (&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f], "PostgreSQL"),
    (&[ANY, ANY, 0, 0, 10], "MySQL"),
    (&[0x10, ANY, 0, 4, 77, 81, 84, 84], "MQTT"),
    (&[3, 0, 0], "RDP"),
    (&[5, 1, 0], "SOCKS 5"),
    (&[0x80, ANY, 1, 0], "SSL 2.0"),
    (&[0x80, ANY, 1, 3], "SSL 2.0"),
    // A brace or bracket followed by a quotation mark or another brace.
    (&[0x7b, 0x22], "JSON"),
    (&[0x5b, 0x7b], "JSON"),
];

/// Recognises a TLS record by its content type, version and length, and the type of the handshake message or the
/// alert's level.
fn tls(bytes: &[u8]) -> Option<Beginning> {
    let (length, name) = match bytes {
        [20, 3, 0..=4, ..] => (5, "TLS change_cipher_spec"),
        [21, 3, 0..=4, _, _, 1 | 2, ..] => (7, "TLS alert"),
        [21, 3, 0..=4, ..] => (5, "TLS alert"),
        [22, 3, 0..=4, _, _, 1, ..] => (6, "TLS ClientHello"),
        [22, 3, 0..=4, _, _, 2, ..] => (6, "TLS ServerHello"),
        [22, 3, 0..=4, ..] => (5, "TLS handshake"),
        [23, 3, 0..=4, ..] => (5, "TLS application data"),
        _ => return None,
    };
    Some(Beginning {
        length: length.min(bytes.len()),
        name: Some(name),
    })
}

/// How many bytes at the beginning look like `HTTP/1.1 200`, if enough do to recognise HTTP.
fn status_line(bytes: &[u8]) -> usize {
    const PATTERN: &[u8] = b"HTTP/#.# ###";
    let fits = |&(&byte, &wanted): &(&u8, &u8)| match wanted {
        b'#' => byte.is_ascii_digit(),
        wanted => byte == wanted,
    };
    let length = bytes.iter().zip(PATTERN).take_while(fits).count();
    if length >= b"HTTP/".len() { length } else { 0 }
}

fn beginning(bytes: &[u8]) -> Option<Beginning> {
    let text = TEXTS.iter().find(|text| bytes.starts_with(text.as_bytes()));
    let length = text.map_or_else(|| status_line(bytes), |text| text.len());
    if length > 0 {
        return Some(Beginning { length, name: None });
    }
    if let Some(tls) = tls(bytes) {
        return Some(tls);
    }
    let fits = |pattern: &[u16]| {
        let mut pairs = pattern.iter().zip(bytes);
        bytes.len() >= pattern.len()
            && pairs.all(|(&wanted, &byte)| wanted == ANY || wanted == u16::from(byte))
    };
    let (pattern, name) = BINARIES.iter().find(|(pattern, _)| fits(pattern))?;
    Some(Beginning {
        length: pattern.len(),
        name: Some(name),
    })
}

/// Whether `bytes` begin like an HTTP/1.x or HTTP/2 request or answer.
#[must_use]
pub fn is_http(bytes: &[u8]) -> bool {
    let is_request = words::METHODS.iter().any(|method| {
        bytes
            .strip_prefix(method.as_bytes())
            .is_some_and(|rest| rest.starts_with(b" "))
    });
    is_request || status_line(bytes) > 0
}

/// The beginning of a status line without its reason phrase, which is free text: `HTTP/1.1 200`.
#[must_use]
pub fn status_of(line: &[u8]) -> String {
    let shown = line.get(..status_line(line)).unwrap_or_default();
    String::from_utf8_lossy(shown).into_owned()
}

/// Describes first bytes for a detail: as many as identify the protocol, in hexadecimal and in words, and how many more
/// there were. If the protocol is unknown, only the first byte is shown, because the others may be a secret.
#[must_use]
pub fn first_bytes(bytes: &[u8]) -> String {
    match beginning(bytes) {
        _ if bytes.is_empty() => "no byte".to_owned(),
        Some(Beginning { length, name }) => told(bytes, length, name),
        None => told(bytes, 1, Some(class(bytes))),
    }
}

/// The same for the beginning of a frame. If it does not begin another protocol, the two bytes of the frame's header
/// (RFC 6455 section 5.2) are shown, since the payload begins after them.
#[must_use]
pub fn frame_bytes(bytes: &[u8]) -> String {
    const HEADER: usize = 2;
    let hex = hexadecimal(bytes.get(..HEADER).unwrap_or(bytes));
    match beginning(bytes).filter(|found| found.length > HEADER) {
        Some(Beginning { length, name }) => told(bytes, length, name),
        None if bytes.is_ascii() => format!("first bytes {hex} ({})", class(bytes)),
        None => format!("first bytes {hex}"),
    }
}

fn told(bytes: &[u8], length: usize, name: Option<&str>) -> String {
    let shown = bytes.get(..length).unwrap_or(bytes);
    let words = match name {
        Some(name) => Cow::Borrowed(name),
        None => String::from_utf8_lossy(shown.trim_ascii_end()),
    };
    let mut text = format!("first bytes {} ({words})", hexadecimal(shown));
    let more = bytes.len() - shown.len();
    if more > 0 {
        let _ = write!(text, ", then {more} more");
    }
    text
}

/// Whether `bytes` are long enough to be recognised as text, and are all printable ASCII or line ends.
#[must_use]
pub fn is_text(bytes: &[u8]) -> bool {
    const ENOUGH: usize = 4;
    bytes.len() >= ENOUGH && bytes.iter().all(is_of_text)
}

fn is_of_text(byte: &u8) -> bool {
    (b' '..=b'~').contains(byte) || b"\r\n\t".contains(byte)
}

fn class(bytes: &[u8]) -> &'static str {
    match bytes.iter().all(is_of_text) {
        true => "text of an unknown protocol",
        false => "an unknown protocol",
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tells_a_protocol_is_shown_of_first_bytes() {
        for (bytes, shown) in [
            (
                &b"GET /secret HTTP"[..],
                "first bytes 47 45 54 20 (GET), then 12 more",
            ),
            (
                b"HTTP/1.1 400 Sec",
                "first bytes 48 54 54 50 2f 31 2e 31 20 34 30 30 (HTTP/1.1 400), then 4 more",
            ),
            (b"HTTP/s", "first bytes 48 54 54 50 2f (HTTP/), then 1 more"),
            (
                b"SSH-2.0-OpenSSH_",
                "first bytes 53 53 48 2d 32 2e 30 2d (SSH-2.0-), then 8 more",
            ),
            (
                b"\x16\x03\x01\x02\x00\x01\x00\x01",
                "first bytes 16 03 01 02 00 01 (TLS ClientHello), then 2 more",
            ),
            (b"\x16\x03\x01", "first bytes 16 03 01 (TLS handshake)"),
            (
                b"\x15\x03\x03\x00\x02\x02\x0a",
                "first bytes 15 03 03 00 02 02 0a (TLS alert)",
            ),
            (
                b"secret",
                "first bytes 73 (text of an unknown protocol), then 5 more",
            ),
            (
                b"\xff\x00",
                "first bytes ff (an unknown protocol), then 1 more",
            ),
            (b"", "no byte"),
        ] {
            assert_eq!(first_bytes(bytes), shown);
        }
    }

    #[test]
    fn of_a_frame_only_its_header_is_shown() {
        for (bytes, shown) in [
            (&b"\x81\x06secret"[..], "first bytes 81 06"),
            (b"GET /a", "first bytes 47 45 54 20 (GET), then 2 more"),
            (b"secret", "first bytes 73 65 (text of an unknown protocol)"),
            (b"\xc1", "first bytes c1"),
        ] {
            assert_eq!(frame_bytes(bytes), shown);
        }
    }
}
