//! The order of the checks that admit a request: each decides only if those before it pass.

use crate::harness::{Client, Setup, handshake};
use crate::http::guard::Guard;

/// An opening handshake with every fault; the faults are corrected one by one, in the order of the checks.
#[test]
fn the_checks_of_a_handshake_come_in_their_order() {
    let order = [
        "loop_detected",
        "http_host_invalid",
        "ws_version_unsupported",
        "http_early_data",
        "host_not_allowed",
        "path_not_allowed",
        "origin_not_allowed",
        "subprotocol_not_allowed",
        "allow",
    ];
    let mut guard = Guard::start(|endpoint| Setup {
        websocket: "subprotocols: [voice]".to_owned(),
        ..Setup::tls(endpoint)
    });
    let hops = ["1.1 hop"; 17].join(", ");
    for (mended, expected) in order.iter().enumerate() {
        let has = |fault: &str| order[mended..].contains(&fault);
        let mut changes = Vec::new();
        if has("loop_detected") {
            changes.push(("Via", hops.as_str()));
        }
        if has("http_host_invalid") {
            changes.push(("Host", "api.example.com:port"));
        } else if has("host_not_allowed") {
            changes.push(("Host", "evil.example"));
        }
        if has("ws_version_unsupported") {
            changes.push(("Sec-WebSocket-Version", "12"));
        }
        if has("origin_not_allowed") {
            changes.push(("Origin", "https://evil.example"));
        }
        changes.push(match has("subprotocol_not_allowed") {
            true => ("Sec-WebSocket-Protocol", "chat"),
            false => ("Sec-WebSocket-Protocol", "voice"),
        });
        let path = if has("path_not_allowed") {
            "/nowhere"
        } else {
            "/ws"
        };
        let mut request = handshake(path, &changes);
        if has("http_early_data") {
            request.push('\u{1}');
        }
        assert_eq!(guard.verdict(request), *expected);
    }
}

/// The rate counts every handshake that is well formed, and decides before the routes do.
#[test]
fn the_rate_comes_after_the_rules_of_http_and_before_those_of_the_routes() {
    let proxy = Setup {
        limits: "handshakes_per_client: 1".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    }
    .start();
    let status = |path: &str, changes: &[(&str, &str)]| {
        let mut client = Client::plain(proxy.address());
        client.send(handshake(path, changes)).response().status
    };
    let malformed = ("Sec-WebSocket-Version", "12");
    assert_eq!(status("/ws", &[malformed]), 426);
    assert_eq!(status("/ws", &[]), 101);
    assert_eq!(status("/ws", &[("Host", "evil.example")]), 429);
    assert_eq!(status("/nowhere", &[]), 429);
    assert_eq!(status("/ws", &[("Origin", "https://evil.example")]), 429);
    assert_eq!(status("/ws", &[malformed]), 426);
}

/// A plain request with every fault; the faults are corrected one by one.
#[test]
fn the_checks_of_a_plain_request_come_in_their_order() {
    let order = [
        "loop_detected",
        "http_host_invalid",
        "host_not_allowed",
        "path_not_allowed",
        "http_method_not_allowed",
        "http_body_too_large",
    ];
    let proxy = Setup {
        host: Some("api.example.com".to_owned()),
        routes: "  - { path: /api, host: api.example.com, http: { methods: [GET], max_body: 10 }, upstream: app }\n"
            .to_owned(),
        ..Setup::plain("http://127.0.0.1:9")
    }
    .start();
    let hops = ["1.1 hop"; 17].join(", ");
    for (mended, expected) in order.iter().enumerate() {
        let has = |fault: &str| order[mended..].contains(&fault);
        let via = match has("loop_detected") {
            true => format!("Via: {hops}\r\n"),
            false => String::new(),
        };
        let host = match (has("http_host_invalid"), has("host_not_allowed")) {
            (true, _) => "api.example.com:port",
            (false, true) => "evil.example",
            (false, false) => "api.example.com",
        };
        let path = if has("path_not_allowed") {
            "/nowhere"
        } else {
            "/api"
        };
        let method = if has("http_method_not_allowed") {
            "POST"
        } else {
            "GET"
        };
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{via}Content-Length: 11\r\n\r\n");
        let response = Client::plain(proxy.address()).send(request).response();
        assert_eq!(response.text().lines().next(), Some(*expected));
    }
}
