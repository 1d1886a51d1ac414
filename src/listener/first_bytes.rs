//! Recognises the protocol that a connection's first bytes suggest.

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::reason::{Failure, Reason};
use crate::secrets;
use crate::stream::read_first;

/// How many bytes of a connection's beginning are enough for the record and to recognise the protocol.
pub(crate) const FIRST_BYTES: usize = 16;

/// Content type of a TLS connection's first record (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Signature of a binary PROXY protocol header (haproxy proxy-protocol.txt section 2.2).
pub(super) const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The protocol that a connection's first bytes suggest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looks {
    /// A TLS handshake record.
    Tls,
    /// An HTTP method and a space.
    Http,
    /// A PROXY protocol header, version 1 or 2.
    Proxy,
    /// Anything else, including too few bytes to tell.
    Other,
}

/// A connection's first bytes, which were read from the socket and must be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstBytes {
    /// Usually [`FIRST_BYTES`] or more; at least 1.
    pub bytes: Vec<u8>,
    /// The protocol that they suggest.
    pub looks: Looks,
}

impl FirstBytes {
    /// The part for records.
    #[must_use]
    pub fn shown(&self) -> &[u8] {
        self.bytes.get(..FIRST_BYTES).unwrap_or(&self.bytes)
    }

    /// Describes the bytes for a record's detail, if they identify a protocol.
    #[must_use]
    pub fn describe(&self) -> String {
        secrets::first_bytes(self.shown())
    }
}

/// Reads until the protocol is known, the peer stops sending, or `deadline`.
///
/// # Errors
/// `tcp_probe` and `tcp_first_byte_timeout` if no byte arrived; `tcp_reset_before_request`.
pub(crate) async fn first_bytes(
    socket: &mut TcpStream,
    deadline: Instant,
) -> Result<FirstBytes, Failure> {
    let mut bytes = Vec::new();
    loop {
        if let Some(looks) = classify(&bytes) {
            return Ok(FirstBytes { bytes, looks });
        }
        match timeout_at(deadline, read_first(socket, &mut bytes)).await {
            Ok(Ok(count)) if count > 0 => {}
            // Reported here because the system reports it only once; the next stage would see a clean end.
            Ok(Err(error)) => {
                return Err(Failure::new(
                    Reason::TcpResetBeforeRequest,
                    error.to_string(),
                ));
            }
            // The next stage can explain better what an end or a timeout after some bytes means.
            _ if !bytes.is_empty() => {
                let looks = match bytes.first() {
                    Some(&TLS_HANDSHAKE) => Looks::Tls,
                    _ => Looks::Other,
                };
                return Ok(FirstBytes { bytes, looks });
            }
            Ok(Ok(_)) => return Err(Reason::TcpProbe.into()),
            Err(_) => return Err(Reason::TcpFirstByteTimeout.into()),
        }
    }
}

/// The protocol, or `None` if more bytes are needed.
pub(super) fn classify(bytes: &[u8]) -> Option<Looks> {
    let first = *bytes.first()?;
    if first == TLS_HANDSHAKE {
        // One byte is enough to recognise TLS, but the TLS stage and the record also need the version in the hello,
        // which may arrive later if a client sends small pieces.
        return (bytes.len() >= FIRST_BYTES).then_some(Looks::Tls);
    }
    let bytes = bytes.get(..FIRST_BYTES).unwrap_or(bytes);
    if let Some(head) = bytes.get(..PROXY_V2.len().min(bytes.len()))
        && PROXY_V2.starts_with(head)
    {
        return (head.len() == PROXY_V2.len()).then_some(Looks::Proxy);
    }
    match bytes.iter().position(|byte| !byte.is_ascii_uppercase()) {
        None if bytes.len() < FIRST_BYTES => None,
        Some(end) if bytes.get(end) == Some(&b' ') && end >= 3 => {
            Some(if bytes.starts_with(b"PROXY ") {
                Looks::Proxy
            } else {
                Looks::Http
            })
        }
        _ => Some(Looks::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_protocol() {
        for (bytes, looks) in [
            (
                &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03random"[..16],
                Some(Looks::Tls),
            ),
            (b"\x16\x03\x01", None),
            (b"GET / HTTP/1.1\r\n", Some(Looks::Http)),
            (b"OPTIONS ", Some(Looks::Http)),
            (b"PRI * HTTP/2.0", Some(Looks::Http)),
            (b"GE", None),
            (b"", None),
            (b"PROXY TCP4 1.2.3", Some(Looks::Proxy)),
            (b"PROXY", None),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Some(Looks::Proxy)),
            (b"\r\n\r\n\0\r\nQUI", None),
            (b"\r\n\r\nGET", Some(Looks::Other)),
            (b"SSH-2.0-OpenSSH", Some(Looks::Other)),
            (b"get / ", Some(Looks::Other)),
            (b"\0\0\0", Some(Looks::Other)),
            (b"AAAAAAAAAAAAAAAA", Some(Looks::Other)),
        ] {
            assert_eq!(classify(bytes), looks, "{}", bytes.escape_ascii());
        }
    }
}
