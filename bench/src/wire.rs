//! The bytes that clients and the backend exchange. They are written and read by hand, because what is measured must not
//! wait for who measures it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::Failure;

/// The origin of the page that may connect.
pub const ORIGIN: &str = "https://app.example.com";
/// Proxies record a browser's name, so it is part of the cost.
pub const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
/// The path of the tunnels.
pub const STREAM: &str = "/stream";
/// The path of plain requests.
pub const STATE: &str = "/api/state";
/// The answer to a plain request.
pub const JSON: &str =
    r#"{"status":"ok","tunnels":64,"version":"1.4.2","started":"2026-01-05T08:30:00Z"}"#;

/// The example of RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Opcodes (RFC 6455 section 5.2).
pub const BINARY: u8 = 2;
/// Ends a tunnel.
pub const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const FIN: u8 = 0x80;
const MASK: u8 = 0x80;
const LENGTH: u8 = 0x7f;

/// More than any head here.
const LARGEST_HEAD: usize = 64 * 1024;

/// A browser's opening handshake.
pub fn opening(path: &str, origin: Option<&str>) -> Vec<u8> {
    let origin = origin.map_or_else(String::new, |origin| format!("Origin: {origin}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
         User-Agent: {USER_AGENT}\r\nUpgrade: websocket\r\n{origin}Sec-WebSocket-Version: 13\r\n\
         Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )
    .into_bytes()
}

/// A browser's plain request.
pub fn get(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\nUser-Agent: {USER_AGENT}\r\n\
         Accept: application/json\r\nReferer: {ORIGIN}/\r\nAccept-Encoding: gzip, deflate, br\r\n\
         Accept-Language: en-US,en;q=0.9\r\n\r\n"
    )
    .into_bytes()
}

/// The backend's answer to the opening handshake with `key`.
pub fn switching(key: &[u8]) -> Vec<u8> {
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// The backend's answer to a plain request.
pub fn state() -> Vec<u8> {
    let length = JSON.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\r\n{JSON}"
    )
    .into_bytes()
}

/// Checks the answer to [`opening`].
pub fn check_switched(head: &[u8]) -> Result<(), Failure> {
    if status(head) != Some(101) {
        return Err(format!("the handshake was answered with {}", shown(head)).into());
    }
    match field(head, "sec-websocket-accept") {
        Some(accept) if accept == ACCEPT.as_bytes() => Ok(()),
        _ => Err("the 101 has another Sec-WebSocket-Accept".into()),
    }
}

/// The status of an answer.
pub fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ")?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

/// The first line of a head, for a message.
pub fn shown(head: &[u8]) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

/// The value of the first field with this name, which is in lowercase.
pub fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut lines = head.split(|byte| *byte == b'\n');
    lines.find_map(|line| {
        let (found, rest) = line.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b":")?;
        found
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| value.trim_ascii())
    })
}

/// Reads until `bytes` contains a whole head, and returns its length; `None`: the connection ended before its first byte.
pub async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> io::Result<Option<usize>> {
    loop {
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            return Ok(Some(end + 4));
        }
        if bytes.len() > LARGEST_HEAD {
            return Err(io::Error::other("a head is too large"));
        }
        if stream.read_buf(bytes).await? == 0 {
            return match bytes.is_empty() {
                true => Ok(None),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}

/// A whole frame; a client's is masked with `key`.
pub fn frame(opcode: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![FIN | opcode];
    let mask = key.map_or(0, |_| MASK);
    match payload.len() {
        short @ ..126 => frame.push(mask | short as u8),
        middle @ ..65536 => {
            frame.push(mask | 126);
            frame.extend((middle as u16).to_be_bytes());
        }
        long => {
            frame.push(mask | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(key.into_iter().flatten());
    let start = frame.len();
    frame.extend(payload);
    if let (Some(key), Some(payload)) = (key, frame.get_mut(start..)) {
        mask_with(key, payload);
    }
    frame
}

/// Masks or unmasks (RFC 6455 section 5.3), eight bytes at a time.
fn mask_with(key: [u8; 4], payload: &mut [u8]) {
    let [a, b, c, d] = key;
    let twice = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (pieces, rest) = payload.as_chunks_mut::<8>();
    for piece in pieces {
        *piece = (u64::from_ne_bytes(*piece) ^ twice).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The lengths of a client's frame.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// The header without the masking key.
    header: usize,
    /// The header, the masking key and the payload.
    pub whole: usize,
}

/// The lengths of the frame that `bytes` begins with, once its header is complete.
///
/// # Errors
/// If it is not masked.
pub fn lengths(bytes: &[u8]) -> io::Result<Option<Lengths>> {
    let [_, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if second & MASK == 0 {
        return Err(io::Error::other("a client's frame is not masked"));
    }
    let (header, payload) = match (second & LENGTH, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (10, usize::try_from(length).map_err(io::Error::other)?)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (2, usize::from(short)),
    };
    Ok(Some(Lengths {
        header,
        whole: header + 4 + payload,
    }))
}

/// Turns a client's whole frame into the server's answer, in place: an echo, a Pong or a Close. Returns where the answer
/// begins, and whether it is a Close.
///
/// # Errors
/// If it is a frame that no client here sends.
pub fn answer(frame: &mut [u8], lengths: Lengths) -> io::Result<(usize, bool)> {
    let Lengths { header, .. } = lengths;
    let (start, payload) = frame.split_at_mut(header + 4);
    let mut key = [0; 4];
    key.copy_from_slice(&start[header..]);
    mask_with(key, payload);
    // The masking key is left out, so the header moves up to the payload.
    start.copy_within(..header, 4);
    start[5] &= LENGTH;
    let opcode = start[4] & !FIN;
    match opcode {
        PING => start[4] = FIN | PONG,
        BINARY | CLOSE => {}
        _ => return Err(io::Error::other(format!("a frame with opcode {opcode}"))),
    }
    Ok((4, opcode == CLOSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_same_frame_without_a_mask() {
        for size in [0, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
            for opcode in [BINARY, CLOSE] {
                let mut bytes = frame(opcode, &payload, Some([1, 2, 3, 4]));
                let lengths = lengths(&bytes).unwrap().unwrap();
                assert_eq!(lengths.whole, bytes.len());
                let (start, is_close) = answer(&mut bytes, lengths).unwrap();
                assert!(bytes[start..] == frame(opcode, &payload, None));
                assert_eq!(is_close, opcode == CLOSE);
            }
        }
    }

    #[test]
    fn a_header_that_is_not_complete_has_no_length() {
        let bytes = frame(BINARY, &[0; 300], Some([0; 4]));
        assert!(lengths(&bytes[..3]).unwrap().is_none());
        assert!(lengths(&frame(BINARY, b"", None)).is_err());
    }

    #[test]
    fn the_backend_accepts_the_clients_key() {
        let opening = opening(STREAM, Some(ORIGIN));
        let key = field(&opening, "sec-websocket-key").unwrap();
        check_switched(&switching(key)).unwrap();
        assert!(check_switched(b"HTTP/1.1 403 Forbidden\r\n\r\n").is_err());
        assert!(check_switched(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").is_err());
    }
}
