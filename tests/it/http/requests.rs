//! What is an opening handshake and what is malformed, as bytes on the wire.

use wsgate::reason::Reason;

use super::guard::{Changes, Guard};
use crate::harness::client::{ACCEPT, KEY};
use crate::harness::{Setup, handshake};

/// The fields of RFC 6455 section 4.2.1, changed.
#[test]
fn every_missing_or_garbled_field_has_its_code() {
    let mut guard = Guard::tls();
    #[rustfmt::skip]
    let table: &[(&str, Changes<'_>, &str)] = &[
        ("R1", &[], "allow"),
        // Upgrade and Connection: case-insensitive, lists, several lines.
        ("R3", &[("Upgrade", "WebSocket")], "allow"),
        ("R3", &[("Connection", "keep-alive, UPGRADE")], "allow"),
        ("R3", &[("Connection", "keep-alive"), ("connection", "upgrade")], "allow"),
        ("R3", &[("CONNECTION", "uPGRADE"), ("uPGRADE", "WEBSOCKET")], "allow"),
        ("R3", &[("Connection", " ,\t, Upgrade ,")], "allow"),
        ("S9", &[("Connection", "close, Upgrade")], "allow"),
        ("R23", &[("Upgrade", "websocket, TLS/1.0, foo/2")], "allow"),
        ("R23", &[("Upgrade", "foo/2"), ("Upgrade", "websocket")], "allow"),
        ("R1", &[("Connection", "")], "ws_connection_token_missing"),
        ("R1", &[("Connection", "keep-alive")], "ws_connection_token_missing"),
        ("R1", &[("Connection", "close")], "ws_connection_token_missing"),
        ("R1", &[("Connection", "upgraded")], "ws_connection_token_missing"),
        ("R1", &[("Connection", "\"Upgrade\"")], "ws_connection_token_missing"),
        ("R1", &[("Upgrade", "")], "ws_upgrade_header_missing"),
        ("R1", &[("Upgrade", "websocket/13")], "ws_upgrade_not_websocket"),
        ("R1", &[("Upgrade", "web socket")], "ws_upgrade_not_websocket"),
        ("R1", &[("Upgrade", "TLS/1.0")], "ws_upgrade_not_websocket"),
        // Sec-WebSocket-Key: 16 bytes in base64, once.
        ("R4", &[("Sec-WebSocket-Key", "")], "ws_key_missing"),
        ("R4", &[("Sec-WebSocket-Key", " ")], "ws_key_invalid"),
        ("R4", &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j")], "ws_key_invalid"),
        ("R4", &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZWU=")], "ws_key_invalid"),
        ("R4", &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ")], "ws_key_invalid"),
        ("R4", &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=")], "ws_key_invalid"),
        // The last digit has bits beyond the 16 bytes: a second spelling of the same key.
        ("R4", &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZR==")], "ws_key_invalid"),
        ("R4", &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==, x")], "ws_key_invalid"),
        ("R4", &[("Sec-WebSocket-Key", "not base64, not at all!!")], "ws_key_invalid"),
        ("R4", &[("Sec-WebSocket-Key", KEY), ("sec-websocket-key", KEY)], "ws_key_invalid"),
        // Sec-WebSocket-Version: exactly 13, once.
        ("R5", &[("Sec-WebSocket-Version", "")], "ws_version_unsupported"),
        ("R5", &[("Sec-WebSocket-Version", "8")], "ws_version_unsupported"),
        ("R5", &[("Sec-WebSocket-Version", "7")], "ws_version_unsupported"),
        ("R5", &[("Sec-WebSocket-Version", "0")], "ws_version_unsupported"),
        ("R5", &[("Sec-WebSocket-Version", "777")], "ws_version_unsupported"),
        ("R5", &[("Sec-WebSocket-Version", "013")], "ws_version_unsupported"),
        ("R5", &[("Sec-WebSocket-Version", "13, 8")], "ws_version_unsupported"),
        ("R5", &[("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Version", "13")], "ws_version_unsupported"),
        ("R5", &[("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Version", "8")], "ws_version_unsupported"),
        // Offers.
        ("R1", &[("Sec-WebSocket-Protocol", "chat, v1.json")], "allow"),
        ("R1", &[("Sec-WebSocket-Protocol", "chat"), ("Sec-WebSocket-Protocol", "v1")], "allow"),
        ("R1", &[("Sec-WebSocket-Protocol", ",")], "ws_protocol_header_invalid"),
        ("R1", &[("Sec-WebSocket-Protocol", "chat,")], "ws_protocol_header_invalid"),
        ("R1", &[("Sec-WebSocket-Protocol", "chat v1")], "ws_protocol_header_invalid"),
        ("R1", &[("Sec-WebSocket-Protocol", "[\"chat\"]")], "ws_protocol_header_invalid"),
        ("R1", &[("Sec-WebSocket-Protocol", "chat"), ("sec-websocket-protocol", "chat")], "ws_protocol_header_invalid"),
        ("R1", &[("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits, x; y=\"1\"")], "allow"),
        ("R1", &[("Sec-WebSocket-Extensions", "permessage-deflate;")], "ws_extensions_header_invalid"),
        ("R1", &[("Sec-WebSocket-Extensions", "a b")], "ws_extensions_header_invalid"),
        ("R1", &[("Sec-WebSocket-Extensions", "a; b=\"x, y\"")], "ws_extensions_header_invalid"),
        // Host.
        ("R27", &[("Host", "")], "http_host_missing"),
        ("R27", &[("Host", " ")], "http_host_invalid"),
        ("R27", &[("Host", "api.example.com"), ("Host", "evil.example")], "http_host_invalid"),
        ("R27", &[("Host", "api.example.com, evil.example")], "http_host_invalid"),
        ("R27", &[("Host", "user@api.example.com")], "http_host_invalid"),
        ("R27", &[("Host", "api.example.com/ws")], "http_host_invalid"),
        ("R27", &[("Host", "api.example.com:")], "http_host_invalid"),
        ("R27", &[("Host", "api.example.com:99999")], "http_host_invalid"),
        ("R27", &[("Host", "api.example.com:8443")], "allow"),
        ("R27", &[("Host", "API.Example.COM")], "allow"),
        // Fields that must not be removed.
        ("R22", &[("Connection", "Upgrade, Origin")], "http_connection_protected"),
        ("R22", &[("Connection", "Upgrade, x-forwarded-for")], "http_connection_protected"),
        ("R22", &[("Connection", "Upgrade"), ("Connection", "COOKIE")], "http_connection_protected"),
        ("S9", &[("Connection", "Upgrade, Sec-WebSocket-Version")], "http_connection_protected"),
        ("S9", &[("Connection", "Sec-WebSocket-Version")], "http_connection_protected"),
        ("R24", &[("Expect", "100-continue")], "http_expect_refused"),
        // Cleartext HTTP/2, alone and next to websocket.
        ("S5", &[("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "AAMA")], "h2c_refused"),
        ("S5", &[("Upgrade", "websocket, h2c")], "h2c_refused"),
        ("S5", &[("Upgrade", "websocket"), ("Upgrade", "H2C")], "h2c_refused"),
        ("S5", &[("HTTP2-Settings", "AAMA")], "h2c_refused"),
        // Bodies and their framing.
        ("S6", &[("Content-Length", "0")], "allow"),
        ("S6", &[("Content-Length", "1")], "http_body_on_upgrade"),
        ("S6", &[("Transfer-Encoding", "chunked")], "http_body_on_upgrade"),
        ("S6", &[("Transfer-Encoding", "CHUNKED")], "http_body_on_upgrade"),
        ("S6", &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")], "http_framing_conflict"),
        ("S6", &[("Transfer-Encoding", "chunked"), ("Content-Length", "5")], "http_framing_conflict"),
        ("S6", &[("Transfer-Encoding", "xchunked")], "http_framing_conflict"),
        ("S6", &[("Transfer-Encoding", "chunked, identity")], "http_framing_conflict"),
        ("S6", &[("Transfer-Encoding", "\"chunked\"")], "http_framing_conflict"),
        ("S6", &[("Transfer-Encoding", "chunked"), ("transfer-encoding", "identity")], "http_framing_conflict"),
        ("S6", &[("Content-Length", "0"), ("Content-Length", "0")], "http_framing_conflict"),
        ("S6", &[("Content-Length", "5"), ("content-length", "6")], "http_framing_conflict"),
        ("R29", &[("Content-Length", "0, 0")], "http_framing_conflict"),
        ("R29", &[("Content-Length", "-1")], "http_framing_conflict"),
        ("R29", &[("Content-Length", "+0")], "http_framing_conflict"),
        ("R29", &[("Content-Length", "0x0")], "http_framing_conflict"),
        ("R29", &[("Content-Length", "18446744073709551616")], "http_framing_conflict"),
        // No WebSocket field.
        ("R1", &[("Upgrade", ""), ("Connection", ""), ("Sec-WebSocket-Version", ""), ("Sec-WebSocket-Key", "")], "plain_http_request"),
        // Some WebSocket fields, but neither of the two that every handshake has.
        ("R1", &[("Upgrade", ""), ("Sec-WebSocket-Version", ""), ("Sec-WebSocket-Key", ""), ("Sec-WebSocket-Extensions", "a")], "ws_handshake_missing"),
        ("R1", &[("Upgrade", ""), ("Sec-WebSocket-Version", "")], "ws_upgrade_header_missing"),
        ("R1", &[("Upgrade", ""), ("Sec-WebSocket-Key", "")], "ws_upgrade_header_missing"),
    ];
    for (id, changes, expected) in table {
        let verdict = guard.verdict(handshake("/ws", changes));
        assert_eq!(verdict, *expected, "{id} {changes:?}");
    }
}

/// Heads that hyper would forgive, hide or answer in its own words.
#[test]
fn heads_that_could_be_read_in_two_ways_are_malformed() {
    let mut guard = Guard::tls();
    let good = handshake("/ws", &[]);
    let target = |target: &str| handshake(target, &[]);
    let with = |line: &str| good.replace("Upgrade: w", &format!("{line}Upgrade: w"));
    let first = |line: &str| good.replace("GET /ws HTTP/1.1", line);
    #[rustfmt::skip]
    let table: Vec<(&str, String, &str)> = vec![
        ("an empty line before", format!("\r\n{good}"), "allow"),
        ("two empty lines before", format!("\r\n\r\n{good}"), "http_malformed"),
        ("bare LF everywhere", good.replace("\r\n", "\n"), "http_malformed"),
        ("one bare LF", good.replacen("\r\n", "\n", 1), "http_malformed"),
        ("bare LF at the end", good.replace("\r\n\r\n", "\r\n\n"), "http_malformed"),
        ("a bare CR in a value", with("X-A: b\rc\r\n"), "http_malformed"),
        ("a doubled CR", with("X-A: b\r\r\n"), "http_malformed"),
        ("a folded line", with("X-A: b\r\n folded\r\n"), "http_malformed"),
        ("a line folded with a tab", with("X-A: b\r\n\tfolded\r\n"), "http_malformed"),
        ("white space before the first field", first("GET /ws HTTP/1.1\r\n X-A: b"), "http_malformed"),
        ("a space before the colon", with("X-A : b\r\n"), "http_malformed"),
        ("a tab before the colon", with("X-A\t: b\r\n"), "http_malformed"),
        ("no colon", with("X-A b\r\n"), "http_malformed"),
        ("no name", with(": b\r\n"), "http_malformed"),
        ("a name that is no token", with("X(A): b\r\n"), "http_malformed"),
        ("a name outside ASCII", with("X\u{e4}: b\r\n"), "http_malformed"),
        ("NUL in a value", with("X-A: b\0c\r\n"), "http_malformed"),
        ("DEL in a value", with("X-A: b\x7fc\r\n"), "http_malformed"),
        ("obs-text in a value", with("X-A: \u{e4}\r\n"), "allow"),
        ("an empty value", with("X-A:\r\n"), "allow"),
        ("two spaces", first("GET  /ws HTTP/1.1"), "http_malformed"),
        ("a tab", first("GET\t/ws HTTP/1.1"), "http_malformed"),
        ("a space at the end", first("GET /ws HTTP/1.1 "), "http_malformed"),
        ("a space at the beginning", first(" GET /ws HTTP/1.1"), "http_malformed"),
        ("no version", first("GET /ws"), "http_malformed"),
        ("no target", first("GET HTTP/1.1"), "http_malformed"),
        ("a method that is no token", first("G\"T /ws HTTP/1.1"), "http_malformed"),
        ("a version in lower case", first("GET /ws http/1.1"), "http_malformed"),
        ("a version too long", first("GET /ws HTTP/1.11"), "http_malformed"),
        ("another protocol", first("GET /ws RTSP/1.0"), "http_malformed"),
        ("HTTP/1.0", first("GET /ws HTTP/1.0"), "http_version_unsupported"),
        ("HTTP/0.9", first("GET /ws HTTP/0.9"), "http_version_unsupported"),
        ("HTTP/2", first("GET /ws HTTP/2.0"), "http_version_unsupported"),
        ("the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "http_version_unsupported"),
        ("a PROXY header", format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n{good}"), "http_malformed"),
        ("no HTTP", "hello\r\n\r\n".to_owned(), "http_malformed"),
        ("POST", first("POST /ws HTTP/1.1"), "ws_method_not_get"),
        ("get", first("get /ws HTTP/1.1"), "ws_method_not_get"),
        ("CONNECT", first("CONNECT api.example.com:443 HTTP/1.1"), "http_malformed"),
        ("CONNECT with a path", first("CONNECT /ws HTTP/1.1"), "ws_method_not_get"),
        // The proxy also answers in its own words what the parser below refuses.
        ("a raw < in the query", target("/ws?a=<b"), "http_malformed"),
        ("a raw \" in the query", target("/ws?a=\"b\""), "http_malformed"),
        ("a raw ` in the path", target("/w`s"), "http_malformed"),
        ("a URL without a host", target("http:///ws"), "http_malformed"),
        ("a URL with a bad port", target("http://api.example.com:x/ws"), "http_host_invalid"),
    ];
    for (what, head, expected) in table {
        assert_eq!(guard.verdict(head), expected, "{what}");
    }
}

#[test]
fn the_target_of_absolute_form_decides_and_goes_on_in_origin_form() {
    let mut guard = Guard::tls();
    for (id, target, host, received) in [
        (
            "P18",
            "http://api.example.com/ws?a=1",
            "api.example.com",
            "api.example.com",
        ),
        (
            "P18",
            "https://api.example.com/ws",
            "api.example.com",
            "api.example.com",
        ),
        (
            "P18",
            "HTTP://api.example.com/ws",
            "api.example.com",
            "api.example.com",
        ),
        (
            "R27",
            "https://API.example.com:8443/ws",
            "evil.example",
            "API.example.com:8443",
        ),
    ] {
        let admitted = guard.admit(handshake(target, &[("Host", host)]));
        let path = target
            .split_once(".com")
            .unwrap()
            .1
            .split_once('/')
            .unwrap()
            .1;
        let line = format!("GET /{path} HTTP/1.1\r\n");
        assert!(admitted.head.starts_with(&line), "{id} {}", admitted.head);
        let hosts: Vec<_> = admitted
            .head
            .lines()
            .filter_map(|line| line.strip_prefix("Host: "))
            .collect();
        assert_eq!(hosts, [received], "{id}");
        assert_eq!(admitted.opened.text("host"), received, "{id}");
    }
    #[rustfmt::skip]
    let table = [
        ("P18", "http://evil/ws", Reason::HostNotAllowed),
        ("P18", "http://evil/internal", Reason::HostNotAllowed),
        ("P18", "http://api.example.com.evil/ws", Reason::HostNotAllowed),
        ("P18", "https://user@api.example.com/ws", Reason::HttpMalformed),
        ("P18", "https://user:pw@api.example.com/ws", Reason::HttpMalformed),
        ("P18", "https://api.example.com@evil/ws", Reason::HttpMalformed),
        ("P18", "/ws?a=<b>", Reason::HttpMalformed),
        ("P18", "/ws`", Reason::HttpMalformed),
        ("P18", "ws://api.example.com/ws", Reason::HttpMalformed),
        ("P18", "ftp://api.example.com/ws", Reason::HttpMalformed),
        ("P18", "http://api.example.com", Reason::PathNotAllowed),
        ("P18", "http://api.example.com?/ws", Reason::PathNotAllowed),
        ("P18", "http://api.example.com/WS", Reason::PathNearMiss),
        ("P18", "http://api.example.com//ws", Reason::PathAmbiguous),
    ];
    for (id, target, reason) in table {
        let refused = guard.ask(handshake(target, &[])).err();
        let refused = refused.unwrap_or_else(|| panic!("{id} {target} was admitted"));
        assert_eq!(refused.line.text("reason"), reason.code(), "{id} {target}");
    }
    // RFC 9112 section 3.2: a request in absolute form needs a Host field too.
    let without = handshake("http://api.example.com/ws", &[("Host", "")]);
    guard.refuse(without, Reason::HttpHostMissing);
}

/// Bytes after a refused request are not a request on this connection.
#[test]
fn a_refused_connection_carries_no_second_request() {
    let mut guard = Guard::tls();
    let second = handshake("/ws", &[]);
    let internal = "GET /internal HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    let plain = "GET /ws HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    let body = "POST /ws HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\n\r\nhello";
    let chunked =
        "POST /ws HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let tunneled =
        "POST /api/health HTTP/1.1\r\nHost: api.example.com\r\nUpgrade: websocket\r\n\r\n";
    #[rustfmt::skip]
    let table: Vec<(&str, String, &str)> = vec![
        ("S1", handshake("/ws", &[("Sec-WebSocket-Version", "777")]), "ws_version_unsupported"),
        ("S2", tunneled.to_owned(), "ws_method_not_get"),
        ("S5", handshake("/ws", &[("Upgrade", "h2c")]), "h2c_refused"),
        ("S6", handshake("/ws", &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")]), "http_framing_conflict"),
        ("S6", handshake("/ws", &[("Content-Length", "999")]), "http_body_on_upgrade"),
        ("R28", handshake("/ws", &[("X-A ", "b")]), "http_malformed"),
        ("R33", handshake("/ws", &[]), "http_early_data"),
        ("R33", handshake("/nowhere", &[]), "http_early_data"),
        ("R33", plain.to_owned(), "plain_http_request"),
        ("R33", plain.replace("/ws", "/nowhere"), "path_not_allowed"),
        ("R33", body.to_owned(), "plain_http_request"),
        ("R33", chunked.to_owned(), "plain_http_request"),
    ];
    for (id, head, expected) in &table {
        for next in [&*second, internal] {
            // `verdict` reads to the end and accepts exactly one answer.
            assert_eq!(guard.verdict(format!("{head}{next}")), *expected, "{id}");
            if *expected == "http_early_data" {
                // Later these bytes belong to a tunnel, or to a client that waits for its refusal.
                continue;
            }
            let mut client = guard.client();
            client.send(head).send(next);
            let refused = guard.outcome(client).err().unwrap();
            assert_eq!(refused.line.text("reason"), *expected, "{id}");
        }
    }
}

/// An answer to HEAD has the fields of its body and no body (RFC 9110 section 9.3.2).
#[test]
fn head_is_refused_without_a_body() {
    let mut guard = Guard::tls();
    let mut client = guard.client();
    client.send(handshake("/ws", &[]).replace("GET", "HEAD"));
    let answer = String::from_utf8(client.rest()).unwrap();
    guard.proxy.terminal().expect(Reason::WsMethodNotGet);
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(answer.matches("\r\n\r\n").count(), 1, "{answer}");
    guard.expect_untouched();
}

#[test]
fn a_request_that_is_refused_on_a_plain_port_gets_the_same_answers() {
    let mut guard = Guard::plain();
    #[rustfmt::skip]
    let table: Vec<(String, &str)> = vec![
        (handshake("/ws", &[]), "allow"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "http_version_unsupported"),
        (handshake("/ws", &[]).replace("\r\n", "\n"), "http_malformed"),
        ("hello, is there anybody in there?\r\n\r\n".to_owned(), "http_malformed"),
        (handshake("/ws?a=<", &[]), "http_malformed"),
        (handshake("/ws", &[("Sec-WebSocket-Version", "8")]), "ws_version_unsupported"),
        (handshake("/ws", &[]) + "x", "http_early_data"),
        (handshake("/ws", &[("Origin", "null")]), "origin_null"),
        (handshake("/nowhere", &[]), "path_not_allowed"),
        (handshake("http://evil/ws", &[]), "allow"),
    ];
    for (head, expected) in table {
        assert_eq!(guard.verdict(&head), expected, "{head}");
    }
}

/// The client gets the upstream's answer to this very key.
#[test]
fn the_101_is_the_upstreams_with_the_connection_fields_once() {
    let mut guard = Guard::tls();
    let response = guard.admit(handshake("/ws", &[])).response;
    for (name, value) in [
        ("sec-websocket-accept", ACCEPT),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
    ] {
        assert_eq!(response.field(name), Some(value), "{response:?}");
    }
    for name in ["content-length", "transfer-encoding", "proxy-status"] {
        assert_eq!(response.field(name), None, "{response:?}");
    }
}

/// An upstream connection carries one handshake.
#[test]
fn each_tunnel_has_an_upstream_connection_of_its_own() {
    let mut guard = Guard::start(|endpoint| Setup {
        path: "/*".to_owned(),
        ..Setup::tls(endpoint)
    });
    for number in 0..5 {
        let admitted = guard.admit(handshake(&format!("/{number}"), &[]));
        assert!(
            admitted
                .head
                .starts_with(&format!("GET /{number} HTTP/1.1\r\n"))
        );
        guard.expect_untouched();
    }
}
