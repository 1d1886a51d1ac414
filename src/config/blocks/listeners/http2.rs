//! HTTP/2 on a listener: `listeners[].tls.alpn` switches it on, and `listeners[].http2` has its settings.

use super::super::super::fields::Fields;
use super::super::super::key::{Block, Is, Key, keys};
use super::super::super::problem::Complaint;
use super::super::super::report::Report;
use super::super::super::value::{Count, Explained, OneOf, Switch};
use super::super::super::yaml::Node;
use super::LISTENER;

/// A protocol that a listener offers by ALPN (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2 (RFC 9113).
    H2,
    /// HTTP/1.1.
    Http11,
}

/// How a listener serves HTTP/2 to clients that negotiate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Whether clients may open WebSockets over HTTP/2 (RFC 8441). Plain requests are served in either case.
    pub websocket: bool,
    /// How many streams a client may have open on one connection, from 1 to 1000.
    pub max_streams: u32,
}

keys! {
    pub(super) static HTTP2: Http2Keys {
        /// Whether clients may open WebSockets over HTTP/2. With `off` they open them over HTTP/1.1, and plain requests
        /// still use HTTP/2.
        websocket: Key<bool> = &Switch, Is(|| true);
        /// How many streams a client may have open on one connection, from 1 to 1000: requests and tunnels together.
        max_streams: Key<usize> = &Count(1000), Is(|| 100);
    } with Block {
        foreign: &[
            ("enable enabled on", "HTTP/2 is switched on by h2 in listeners[].tls.alpn"),
            (
                "allow_connect enable_connect_protocol extended_connect",
                "the key for WebSockets over HTTP/2 is listeners[].http2.websocket",
            ),
        ],
        ..Block::EMPTY
    }
}

/// The settings of the listener with these fields; what is wrong takes its default.
pub(super) fn read(listener: &Fields<'_>, report: &mut Report<'_>) -> Http2 {
    let fields = match listener.get(&LISTENER.http2) {
        Some(at) if !matches!(at.node, Node::Map(_) | Node::Null) => {
            let allowed = Vec::from_iter(Http2Keys::BLOCK.names()).join(", ");
            let message = format!("{}, expected a mapping; allowed: {allowed}", at.found());
            let help = "HTTP/2 is switched on by h2 in tls.alpn, and off without it";
            at.error(report, Complaint::new(message).help(help));
            None
        }
        _ => listener.open(&LISTENER.http2, report),
    };
    let fields = fields.unwrap_or_default();
    let max_streams = fields.read(&HTTP2.max_streams, report);
    Http2 {
        websocket: fields.read(&HTTP2.websocket, report),
        max_streams: u32::try_from(max_streams).unwrap_or(u32::MAX),
    }
}

/// A protocol of `listeners[].tls.alpn`.
pub(super) const PROTOCOL: Explained<Alpn> = Explained(
    OneOf(&[("h2", Alpn::H2), ("http/1.1", Alpn::Http11)]),
    meant,
);

/// What to say about other names of protocols. Some of them are spelled like the name of another protocol.
fn meant(text: &str) -> Option<&'static str> {
    let bare: String = text
        .to_ascii_lowercase()
        .chars()
        .filter(|c| !matches!(c, '/' | ' ' | '-' | '_' | '.'))
        .collect();
    match bare.as_str() {
        "h2" | "http2" | "http20" | "2" | "20" => Some("write h2"),
        "http11" | "http1" | "h1" | "h11" | "1" | "11" => Some("write http/1.1"),
        "http10" | "h10" | "10" => Some("http/1.0 is accepted wherever http/1.1 is listed"),
        "h2c" => Some("h2c is HTTP/2 without TLS, which is not supported; write h2"),
        "h3" | "http3" | "http30" | "3" | "30" | "quic" => {
            Some("HTTP/3 is not supported; the nearest is h2")
        }
        "spdy" | "spdy3" | "spdy31" => Some("SPDY is replaced by HTTP/2; write h2"),
        _ => None,
    }
}
