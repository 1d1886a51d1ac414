//! The http stage: malformed requests, and requests that are not opening handshakes.

/// Where a head ends, and how large and how slow it may be.
mod bounds;
/// What one head may cost.
mod budget;
/// What the upstream learns about the client.
mod forwarded;
/// Tools for these tests and those of the policy.
pub mod guard;
/// What a client sends before its answer.
mod held;
/// Requests that loop.
pub mod loops;
/// Requests that are almost valid.
mod mutated;
/// What is an opening handshake, and what is malformed.
mod requests;
/// What the upstream receives for a valid handshake.
mod rewritten;

use std::time::Duration;

use wsgate::reason::Reason;

use crate::harness::proxy::spelled;
use crate::harness::{Line, Setup, handshake};
use guard::Guard;

/// The usual handshake with `changes`, refused on a TLS listener.
fn refused(changes: &[(&str, &str)], reason: Reason) -> Line {
    refused_head(handshake("/ws", changes), reason)
}

fn refused_head(head: impl AsRef<[u8]>, reason: Reason) -> Line {
    Guard::tls().refuse(head, reason).line
}

/// Half a head, then silence.
pub fn http_header_timeout() -> Line {
    let mut guard = Guard::start(|endpoint| Setup {
        limits: format!("request_head: {}", spelled(Duration::from_millis(200))),
        ..Setup::tls(endpoint)
    });
    let half = "GET /ws HTTP/1.1\r\nHost: api.exa";
    let refused = guard.refuse(half, Reason::HttpHeaderTimeout);
    assert!(refused.line.number("head_ms") >= Some(200));
    refused.line.with_detail("31 bytes came")
}

/// Half a head, then the end: there is no request, so there is no answer.
pub fn http_head_incomplete() -> Line {
    let mut guard = Guard::tls();
    let mut client = guard.client();
    client.send("GET /ws HTTP/1.1\r\nHost: api.exa").finish();
    assert_eq!(client.rest(), b"");
    let line = guard.proxy.terminal();
    guard.expect_untouched();
    assert_eq!(line.number("status"), None);
    line.with_detail("31 bytes came, then the connection ended: they begin like a request")
}

pub fn http_malformed() -> Line {
    refused_head(
        "GET /ws\r\nHost: api.example.com\r\n\r\n",
        Reason::HttpMalformed,
    )
    .with_detail("one space between")
}

pub fn http_too_large() -> Line {
    let cookie = "c".repeat(20 * 1024);
    let line = refused(&[("Cookie", &cookie)], Reason::HttpTooLarge);
    assert_eq!(line.number("status"), Some(431));
    line.with_detail("the request head is over the limit of 16384 bytes: ")
        .with_detail("the largest field is Cookie, of 20488 bytes")
}

pub fn http_version_unsupported() -> Line {
    let head = handshake("/ws", &[]).replace("HTTP/1.1", "HTTP/1.0");
    refused_head(head, Reason::HttpVersionUnsupported).with_detail("HTTP/1.0")
}

pub fn http_host_missing() -> Line {
    refused(&[("Host", "")], Reason::HttpHostMissing)
}

pub fn http_host_invalid() -> Line {
    let twice = [("Host", "api.example.com"), ("host", "api.example.com")];
    refused(&twice, Reason::HttpHostInvalid).with_detail("2 Host fields")
}

pub fn http_framing_conflict() -> Line {
    let both = [("Content-Length", "0"), ("Transfer-Encoding", "chunked")];
    refused(&both, Reason::HttpFramingConflict)
        .with_detail("Content-Length next to Transfer-Encoding")
}

pub fn http_body_on_upgrade() -> Line {
    refused(&[("Content-Length", "5")], Reason::HttpBodyOnUpgrade).with_detail("Content-Length: 5")
}

/// A second request in the same write.
pub fn http_early_data() -> Line {
    let both = handshake("/ws", &[]) + "GET /internal HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    refused_head(both, Reason::HttpEarlyData)
}

pub fn http_expect_refused() -> Line {
    refused(&[("Expect", "100-continue")], Reason::HttpExpectRefused).with_detail("100-continue")
}

pub fn http_connection_protected() -> Line {
    let named = [("Connection", "Upgrade, Authorization")];
    refused(&named, Reason::HttpConnectionProtected).with_detail("names Authorization")
}

pub fn h2c_refused() -> Line {
    let h2c = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ];
    refused(&[("Upgrade", "h2c, websocket")], Reason::H2cRefused).with_detail("found Upgrade: h2c");
    refused(&h2c, Reason::H2cRefused).with_detail("found Upgrade: h2c and HTTP2-Settings")
}

pub fn ws_method_not_get() -> Line {
    let head = handshake("/ws", &[]).replace("GET ", "POST ");
    refused_head(head, Reason::WsMethodNotGet).with_detail("POST")
}

pub fn plain_http_request() -> Line {
    let head = "GET /ws HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    let line = refused_head(head, Reason::PlainHttpRequest);
    assert_eq!(line.text("route"), "/ws");
    line
}

/// Fields that a page or a script has set itself.
pub fn ws_handshake_missing() -> Line {
    let by_hand = [
        ("Upgrade", ""),
        ("Connection", ""),
        ("Sec-WebSocket-Key", ""),
        ("Sec-WebSocket-Version", ""),
        ("Sec-WebSocket-Protocol", "chat"),
    ];
    refused(&by_hand, Reason::WsHandshakeMissing)
        .with_detail("no Upgrade; no Connection; Sec-WebSocket-Protocol")
}

pub fn ws_upgrade_header_missing() -> Line {
    let stripped = [("Upgrade", ""), ("Connection", "keep-alive")];
    let came = "parts of the handshake that arrived: no Upgrade; Connection: keep-alive; Sec-WebSocket-Key; Sec-WebSocket-Version";
    refused(&stripped, Reason::WsUpgradeHeaderMissing).with_detail(came)
}

pub fn ws_connection_token_missing() -> Line {
    refused(
        &[("Connection", "keep-alive")],
        Reason::WsConnectionTokenMissing,
    )
    .with_detail(
        "Upgrade: websocket; Connection: keep-alive; Sec-WebSocket-Key; Sec-WebSocket-Version",
    )
}

pub fn ws_upgrade_not_websocket() -> Line {
    refused(&[("Upgrade", "TLS/1.0")], Reason::WsUpgradeNotWebsocket).with_detail("TLS/1.0")
}

pub fn ws_key_missing() -> Line {
    refused(&[("Sec-WebSocket-Key", "")], Reason::WsKeyMissing)
}

pub fn ws_key_invalid() -> Line {
    let short = [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j")];
    refused(&short, Reason::WsKeyInvalid).with_detail("15 bytes")
}

pub fn ws_version_unsupported() -> Line {
    refused(
        &[("Sec-WebSocket-Version", "8")],
        Reason::WsVersionUnsupported,
    )
    .with_detail("8")
}

pub fn ws_protocol_header_invalid() -> Line {
    refused(
        &[("Sec-WebSocket-Protocol", "chat,,v1")],
        Reason::WsProtocolHeaderInvalid,
    )
    .with_detail("a member of the list is empty or not a token")
}

pub fn ws_extensions_header_invalid() -> Line {
    refused(
        &[("Sec-WebSocket-Extensions", "a; b=")],
        Reason::WsExtensionsHeaderInvalid,
    )
    .with_detail("member 1 of the list is not a name with parameters")
}
