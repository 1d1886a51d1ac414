//! Hints about the cause of a tunnel's end, if the end shows more than its reason says.

use super::super::frame::Violation;
use super::super::side::Side;
use crate::secrets;

const REQUEST: &str = "an HTTP message came inside the tunnel: a hop in front that uses the connection for other requests too, or \
                       an attempt at smuggling";

const ANSWER: &str = "the upstream wrote an HTTP message after its 101: a second handler or an error page in the upstream answers on \
                      the same socket";

const CLIENTS_TEXT: &str = "text came instead of frames: the client's program writes to the socket without a \
                            WebSocket library, or bypasses it";

const UPSTREAMS_TEXT: &str = "text came instead of frames: the upstream writes something, such as a log or an error, \
                              to the socket and bypasses its WebSocket library";

const CLIENT_COMPRESSES: &str = "the client compresses its messages, or uses another extension, although the handshake agreed on none: switch that \
                                 off in the client, or look for a hop that removes Sec-WebSocket-Extensions from one side only";

const UPSTREAM_COMPRESSES: &str = "the upstream compresses its messages, or uses another extension, although the handshake agreed on none: switch \
                                   that off there (perMessageDeflate in Node's ws)";

/// A hint for a wrong frame of one side, which begins with `bytes`.
pub(super) fn of_violation(side: Side, violation: Violation, bytes: &[u8]) -> Option<&'static str> {
    let (message, text, compression) = match side {
        Side::Client => (REQUEST, CLIENTS_TEXT, CLIENT_COMPRESSES),
        Side::Upstream => (ANSWER, UPSTREAMS_TEXT, UPSTREAM_COMPRESSES),
    };
    if secrets::is_http(bytes) {
        Some(message)
    } else if secrets::is_text(bytes) {
        Some(text)
    } else {
        (violation == Violation::ReservedBits).then_some(compression)
    }
}

const NOTHING_SENT: &str = "a crash, an out-of-memory kill or a deleted pod, or the upstream cut the connection \
                            itself, although it had received nothing from the client: check the upstream's log and exit status at this time";

/// A hint for an upstream whose connection was reset after `sent` bytes had gone to it.
pub(super) fn of_reset(sent: u64) -> Option<&'static str> {
    // Where nothing was sent, no data can have been left unread.
    (sent == 0).then_some(NOTHING_SENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_told_from_its_bytes_before_its_bits() {
        use Violation::{ReservedBits, ReservedOpcode, Unmasked};
        for (side, violation, bytes, hint) in [
            (
                Side::Upstream,
                ReservedBits,
                &b"HTTP/1.1 500 Internal"[..],
                Some(ANSWER),
            ),
            (
                Side::Client,
                ReservedBits,
                b"GET /a HTTP/1.1",
                Some(REQUEST),
            ),
            (
                Side::Upstream,
                ReservedOpcode,
                b"TypeError: x",
                Some(UPSTREAMS_TEXT),
            ),
            (Side::Client, ReservedBits, b"hello", Some(CLIENTS_TEXT)),
            (
                Side::Upstream,
                ReservedBits,
                b"\xc1\x05abc",
                Some(UPSTREAM_COMPRESSES),
            ),
            (
                Side::Client,
                ReservedBits,
                b"\xc1\x85abc",
                Some(CLIENT_COMPRESSES),
            ),
            (Side::Client, Unmasked, b"\x81\x02hi", None),
        ] {
            assert_eq!(of_violation(side, violation, bytes), hint);
        }
    }
}
