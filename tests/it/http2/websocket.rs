use h2::Reason as Code;
use wsgate::reason::Reason;

use super::{open, setup};
use crate::harness::frames::{CLOSE, PING, PONG, TEXT, closing, masked, plain};
use crate::harness::h2::Raw;
use crate::harness::h2::frame::{ENABLE_CONNECT_PROTOCOL, END_HEADERS, END_STREAM};
use crate::harness::proxy::HOST;
use crate::harness::{Line, Setup, Upstream};

#[test]
fn an_extended_connect_becomes_a_handshake_of_our_own() {
    let upstream = Upstream::echo();
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    // R18, R19.
    assert_eq!(raw.setting(ENABLE_CONNECT_PROTOCOL), Some(1));
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    raw.connect_ws(
        1,
        "/ws?a=b",
        &[
            ("sec-websocket-key", key),
            ("cookie", "a=1"),
            ("x-own", "1"),
        ],
    );
    let response = raw.response_head(1);
    // R32.
    assert_eq!(response.status, 200);
    for field in [
        "sec-websocket-accept",
        "sec-websocket-key",
        "upgrade",
        "connection",
    ] {
        assert_eq!(response.field(field), None, "{response:?}");
    }
    raw.echoes(1, "hello");
    let opened = proxy.event("opened");
    assert_eq!(opened.number("stream_id"), Some(1));
    assert_eq!(opened.number("status"), Some(200));
    assert_eq!(
        (opened.text("http_version"), opened.text("method")),
        ("2", "CONNECT")
    );
    assert_eq!(opened.text("alpn"), "h2");
    let head = &upstream.heads()[0];
    assert!(head.starts_with("GET /ws?a=b HTTP/1.1\r\n"), "{head}");
    let lower = head.to_lowercase();
    for line in [
        &format!("host: {HOST}")[..],
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-version: 13",
        "x-own: 1",
        "cookie: a=1",
    ] {
        assert!(lower.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
    // The key is not the client's.
    assert_eq!(lower.matches("sec-websocket-key").count(), 1, "{head}");
    assert!(!head.contains(key), "{head}");
    assert!(!lower.contains(":protocol"), "{head}");
    raw.data(1, masked(CLOSE, closing(1000, "")), 0);
    assert_eq!(raw.ws_frame(1).0, CLOSE);
    let closed = proxy.terminal().expect(Reason::ClientClose);
    assert_eq!(closed.number("stream_id"), Some(1));
    assert_eq!(closed.text("conn"), opened.text("conn"));
    assert_eq!(closed.number("status"), Some(200));
    assert_eq!(closed.number("client_sees"), Some(1000));
}

#[test]
fn the_protocol_is_compared_without_case() {
    let upstream = Upstream::echo();
    let (_proxy, mut raw) = open(&setup(&upstream.url()));
    raw.connect_ws(1, "/ws", &[(":protocol", "WebSocket")]);
    assert_eq!(raw.status(1), 200);
    raw.echoes(1, "hello");
}

#[test]
fn subprotocols_and_extensions_are_agreed_end_to_end() {
    let upstream = Upstream::start(|mut call| {
        call.switch("Sec-WebSocket-Protocol: chat\r\n");
        call.echo();
    });
    let (_proxy, mut raw) = open(&setup(&upstream.url()));
    raw.connect_ws(1, "/ws", &[("sec-websocket-protocol", "superchat, chat")]);
    let response = raw.response_head(1);
    assert_eq!(response.field("sec-websocket-protocol"), Some("chat"));
    raw.echoes(1, "hello");
}

#[test]
fn the_upstream_must_prove_that_it_understood() {
    let upstream = Upstream::answering(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    raw.connect_ws(1, "/ws", &[]);
    let response = raw.response(1);
    assert_eq!(response.status, 502);
    assert!(response.text().starts_with("upstream_accept_mismatch\n"));
    proxy.terminal().expect(Reason::UpstreamAcceptMismatch);
}

#[test]
fn what_an_upstream_answers_instead_is_relayed() {
    let upstream = Upstream::answering(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n",
    );
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    raw.connect_ws(1, "/ws", &[]);
    let response = raw.response(1);
    assert_eq!((response.status, &response.body[..]), (401, &b"no\n"[..]));
    assert_eq!(response.field("www-authenticate"), Some("Bearer"));
    assert_eq!(response.field("connection"), None);
    proxy.terminal().expect(Reason::UpstreamUnauthorized);
}

/// Changes of a CONNECT, more flags of its HEADERS, and what comes of it.
type Case = (&'static [(&'static str, &'static str)], u8, u16, Reason);

#[test]
fn what_is_wrong_with_a_connect_is_refused_and_hurts_no_other_stream() {
    let upstream = Upstream::echo();
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    raw.connect_ws(1, "/ws", &[]);
    assert_eq!(raw.status(1), 200);
    raw.echoes(1, "before");
    let mut stream = 3;
    let cases: &[Case] = &[
        (
            &[(":protocol", "webtransport")],
            0,
            501,
            Reason::H2ProtocolUnknown,
        ),
        (&[(":protocol", "")], 0, 501, Reason::H2ProtocolUnknown),
        (
            &[("content-length", "5")],
            0,
            400,
            Reason::HttpBodyOnUpgrade,
        ),
        (&[], END_STREAM, 400, Reason::H2MalformedRequest),
        (
            &[("sec-websocket-version", "")],
            0,
            426,
            Reason::WsVersionUnsupported,
        ),
        (
            &[("sec-websocket-version", "12")],
            0,
            426,
            Reason::WsVersionUnsupported,
        ),
        (
            &[("origin", "https://evil.example")],
            0,
            403,
            Reason::OriginNotAllowed,
        ),
        (&[("origin", "")], 0, 403, Reason::OriginMissing),
        (&[(":path", "/no")], 0, 404, Reason::PathNotAllowed),
        (&[(":path", "/api/x")], 0, 404, Reason::WebsocketNotAllowed),
        (
            &[("sec-websocket-extensions", "a;;")],
            0,
            400,
            Reason::WsExtensionsHeaderInvalid,
        ),
        (
            &[("sec-websocket-protocol", "a,,b")],
            0,
            400,
            Reason::WsProtocolHeaderInvalid,
        ),
        (&[("http2-settings", "AAMA")], 0, 400, Reason::H2cRefused),
        (
            &[("expect", "100-continue")],
            0,
            417,
            Reason::HttpExpectRefused,
        ),
        // S10.
        (
            &[
                (":method", "GET"),
                (":protocol", ""),
                ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ],
            END_STREAM,
            400,
            Reason::H2WsUnsupported,
        ),
        (
            &[(":method", "GET"), (":protocol", "")],
            END_STREAM,
            400,
            Reason::H2WsUnsupported,
        ),
    ];
    for (changes, flags, status, reason) in cases {
        let mut fields: Vec<(&str, &str)> = vec![
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", "/ws"),
            ("sec-websocket-version", "13"),
            ("origin", "https://app.example.com"),
        ];
        for (name, value) in *changes {
            fields.retain(|(kept, _)| kept != name);
            if !value.is_empty() {
                let place = if name.starts_with(':') {
                    0
                } else {
                    fields.len()
                };
                fields.insert(place, (name, value));
            }
        }
        if changes == &[(":protocol", "")] {
            // A CONNECT without :protocol has neither a scheme nor a path.
            fields.retain(|(name, _)| ![":scheme", ":path"].contains(name));
        }
        raw.headers(stream, &fields, END_HEADERS | flags);
        let response = raw.response(stream);
        let line = proxy.terminal().expect(*reason);
        assert_eq!(
            response.status, *status,
            "{changes:?}: {response:?} {line:?}"
        );
        assert_eq!(line.number("stream_id"), Some(stream.into()), "{line:?}");
        assert_eq!(line.number("client_sees"), Some(1006), "{line:?}");
        stream += 2;
        raw.echoes(1, "after");
    }
    assert_eq!(upstream.heads().len(), 1);
}

#[test]
fn the_websocket_part_can_be_switched_off() {
    let upstream = Upstream::echo();
    let setup = Setup {
        listener: "http2: { websocket: off }".to_owned(),
        ..setup(&upstream.url())
    };
    let (mut proxy, mut raw) = open(&setup);
    assert_ne!(raw.setting(ENABLE_CONNECT_PROTOCOL), Some(1));
    raw.connect_ws(1, "/ws", &[]);
    assert_eq!(raw.expect_reset(1), Code::PROTOCOL_ERROR);
    let line = proxy.terminal().expect(Reason::H2WsUnsupported);
    line.with_detail("which this connection does not announce");
    raw.get(3, "/hello", &[]);
    assert_eq!(raw.status(3), 200);
}

#[test]
fn it_is_announced_only_where_a_route_can_use_it() {
    let upstream = Upstream::echo();
    let setup = setup(&upstream.url());
    let yaml = setup.yaml();
    let without = yaml.replace(
        "    websocket:\n      origins: [https://app.example.com]\n",
        "    http: {}\n",
    );
    assert_ne!(yaml, without);
    let (proxy, mut raw) = open(&setup);
    assert_eq!(raw.setting(ENABLE_CONNECT_PROTOCOL), Some(1));
    proxy.reload_with(&without);
    // What was announced can't be taken back, so the client has to open another connection.
    assert_eq!(raw.expect_goaway().1, Code::NO_ERROR);
    let mut raw = Raw::open(proxy.address());
    assert_ne!(raw.setting(ENABLE_CONNECT_PROTOCOL), Some(1));
    proxy.reload_with(&yaml);
    // It is announced with the next stream.
    raw.get(1, "/hello", &[]);
    assert_eq!(raw.status(1), 200);
    while raw.setting(ENABLE_CONNECT_PROTOCOL) != Some(1) {
        raw.ping([0; 8]);
        raw.frame();
    }
}

#[test]
fn all_that_a_tunnel_can_do_it_does_over_http2() {
    let upstream = Upstream::start(|mut call| {
        call.switch("");
        call.echo();
    });
    let setup = Setup {
        websocket: "ping: { interval: 1s, timeout: 1s }\nmax_message: 10".to_owned(),
        ..setup(&upstream.url())
    };
    let (mut proxy, mut raw) = open(&setup);
    raw.connect_ws(1, "/ws", &[]);
    assert_eq!(raw.status(1), 200);
    let (first, tag) = raw.ws_frame(1);
    assert_eq!(first, PING);
    raw.data(1, masked(PONG, &tag), 0);
    raw.echoes(1, "hello");
    raw.data(1, masked(TEXT, "more than ten bytes"), 0);
    assert_eq!(raw.ws_frame(1), (CLOSE, closing(1009, "message_too_big")));
    let line = proxy.terminal().expect(Reason::MessageTooBig);
    assert_eq!(line.number("pongs"), Some(1));
    assert_eq!(line.number("messages_client_to_upstream"), Some(1));
    // A client that does not answer.
    raw.connect_ws(3, "/ws", &[]);
    assert_eq!(raw.status(3), 200);
    assert_eq!(raw.ws_frame(3).0, PING);
    assert_eq!(raw.ws_frame(3), (CLOSE, closing(1001, "pong_timeout")));
    proxy.terminal().expect(Reason::PongTimeout);
}

#[test]
fn a_refusal_can_be_explained() {
    let upstream = Upstream::echo();
    let setup = Setup {
        websocket: "explain_refusals: true".to_owned(),
        ..setup(&upstream.url())
    };
    let (mut proxy, mut raw) = open(&setup);
    raw.connect_ws(1, "/ws", &[("origin", "https://evil.example")]);
    let response = raw.response_head(1);
    assert_eq!(response.status, 200);
    assert_eq!(response.field("sec-websocket-accept"), None);
    assert_eq!(
        raw.ws_frame(1),
        (CLOSE, closing(1008, "origin_not_allowed"))
    );
    raw.data(1, masked(CLOSE, closing(1008, "")), END_STREAM);
    let line = proxy.terminal().expect(Reason::OriginNotAllowed);
    assert_eq!(line.number("status"), Some(200));
    assert_eq!(raw.rest(1), (Vec::new(), None));
}

#[test]
fn bytes_pass_unchanged_in_any_size() {
    let upstream = Upstream::echo();
    let (_proxy, mut raw) = open(&setup(&upstream.url()));
    for stream in [1, 3, 5] {
        raw.connect_ws(stream, "/ws", &[]);
        assert_eq!(raw.status(stream), 200);
    }
    for size in [0, 1, 125, 126, 65_535, 65_536, 300_000] {
        for stream in [1, 3, 5] {
            raw.echoes(stream, &"x".repeat(size));
        }
    }
}

#[test]
fn what_comes_before_the_answer_is_kept() {
    let upstream = Upstream::echo();
    let (_proxy, mut raw) = open(&setup(&upstream.url()));
    raw.connect_ws(1, "/ws", &[]);
    raw.data(1, masked(TEXT, "early"), 0);
    assert_eq!(raw.status(1), 200);
    assert_eq!(raw.ws_frame(1), (TEXT, b"early".to_vec()));
    assert_eq!(plain(TEXT, "early").len(), 7);
}

/// GET with the fields of HTTP/1.1.
pub fn h2_ws_unsupported() -> Line {
    let upstream = Upstream::echo();
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    raw.get(
        1,
        "/ws",
        &[("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")],
    );
    assert_eq!(raw.status(1), 400);
    let line = proxy.terminal().expect(Reason::H2WsUnsupported);
    assert_eq!(upstream.connections(), 0);
    line.with_detail("GET with sec-websocket-key")
}

/// Another protocol.
pub fn h2_protocol_unknown() -> Line {
    let upstream = Upstream::echo();
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    raw.connect_ws(1, "/ws", &[(":protocol", "connect-udp")]);
    assert_eq!(raw.status(1), 501);
    let line = proxy.terminal().expect(Reason::H2ProtocolUnknown);
    line.with_detail(":protocol is connect-udp")
}
