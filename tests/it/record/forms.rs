//! Formats, addresses, and text from peers.

use crate::harness::proxy::ORIGIN;
use crate::harness::quiet::Quiet;
use crate::harness::{Client, Setup, Upstream, handshake};

#[test]
fn text_is_for_people() {
    let setup = Setup {
        log: "level: debug, format: text".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let proxy = Quiet::start(&setup);
    assert!(proxy.first.contains(" info  listening "), "{}", proxy.first);
    let mut client = Client::plain(proxy.address());
    let changes = [
        ("Origin", "https://evil.example"),
        ("User-Agent", "two words reason=client_eof \"quoted\""),
    ];
    assert_eq!(
        client.send(handshake("/ws", &changes)).response().status,
        403
    );
    client.finish();
    client.rest();
    let text = proxy.stop();
    let mut lines = text.lines();
    let refused = lines.next().unwrap();
    let (time, rest) = refused.split_once(' ').unwrap();
    assert!(time.ends_with('Z') && time.len() == 24, "{refused}");
    assert!(
        rest.starts_with(
            "info  refused origin_not_allowed by=client client=127.0.0.1 route=/ws detail="
        ),
        "{refused}"
    );
    assert!(rest.contains(" status=403 "), "{refused}");
    assert!(rest.contains(" origin=https://evil.example "), "{refused}");
    // A client's text can't be mistaken for a field.
    let quoted = r#"user_agent="two words reason=client_eof \"quoted\"""#;
    assert!(rest.contains(quoted), "{refused}");
    assert!(rest.contains(" hint=\"if the page is yours"), "{refused}");
    // Except on a terminal, each record is one line.
    assert!(lines.next().unwrap().contains(" draining "), "{text}");
    let last = text.lines().last().unwrap();
    assert!(
        last.contains(" info  stopped ") && last.contains("\"origin_not_allowed\":1"),
        "{last}"
    );
}

#[test]
fn text_of_peers_is_written_as_printable_ascii() {
    let upstream = Upstream::start(|mut call| {
        call.write(
            b"HTTP/1.1 302 Found\r\nLocation: http://x/\x1b]0;title\x07\xe2\x80\xae\xff\r\nContent-Length: 0\r\n\r\n",
        );
        call.drain();
    });
    let garbage = Upstream::answering(b"\x00\x07\x1b[2J\x7f\x9b\xff\r\n\r\n");
    for text in [false, true] {
        let setup = Setup {
            log: format!("level: debug, format: {}", if text { "text" } else { "json" }),
            routes: "  - path: /garbage\n    websocket: { origins: [\"https://app.example.com\"] }\n    upstream: other\n"
                .to_owned(),
            upstream: format!(" }}\n  other: {{ endpoints: [\"{}\"]", garbage.url()),
            ..Setup::plain(&upstream.url())
        };
        let proxy = Quiet::start(&setup);
        let field = |name: &str, value: &[u8]| {
            let head = handshake("/ws?token=a%1b&\"x\"", &[(name, "VALUE")]);
            let at = head.find("VALUE").unwrap();
            [&head.as_bytes()[..at], value, &head.as_bytes()[at + 5..]].concat()
        };
        let nasty: &[u8] = b"\xe2\x80\xae\x80\xc2\x9b31m\tred\xff";
        let requests: Vec<Vec<u8>> = vec![
            field("User-Agent", nasty),
            field("Origin", &[ORIGIN.as_bytes(), nasty].concat()),
            field("Host", nasty),
            field("X-Request-ID", nasty),
            field("Referer", nasty),
            field("Sec-WebSocket-Protocol", nasty),
            field("Sec-WebSocket-Version", nasty),
            field("Sec-WebSocket-Key", nasty),
            field("Upgrade", nasty),
            field("User-Agent", b"a\x1b[31m\r\n forged"),
            field("User-Agent", b"a\0b"),
            handshake("/garbage", &[]).into_bytes(),
            handshake("/\u{202e}/x\u{7f}", &[]).into_bytes(),
            b"\x00\x1b[2J\r\n\r\n".to_vec(),
            b"G\x1bT / HTTP/1.1\r\n\r\n".to_vec(),
            b"GET /\x1b HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        ];
        for request in &requests {
            let mut client = Client::plain(proxy.address());
            client.send(request).finish();
            client.rest();
        }
        let written = proxy.stop();
        let bad = written
            .bytes()
            .find(|byte| *byte != b'\n' && !(b' '..=b'~').contains(byte));
        assert_eq!(bad, None, "{written}");
        let refused = written
            .lines()
            .filter(|line| line.contains("refused"))
            .count();
        assert!(refused >= requests.len(), "{written}");
        // Only the program can begin a line.
        assert!(
            written
                .lines()
                .all(|line| line.starts_with(if text { "20" } else { "{\"time\"" })),
            "{written}"
        );
    }
}

#[test]
fn a_clients_address_is_written_as_far_as_wanted() {
    for (keep, client) in [
        ("full", Some("127.0.0.1")),
        ("truncated", Some("127.0.0.0")),
        ("off", None),
    ] {
        let setup = Setup {
            log: format!("level: debug, client_address: {keep}"),
            ..Setup::plain("\"builtin:echo\"")
        };
        let mut proxy = setup.start();
        let mut socket = Client::plain(proxy.address());
        let changes = [
            ("X-Forwarded-For", "198.51.100.7"),
            ("Origin", "https://evil.example"),
        ];
        assert_eq!(
            socket.send(handshake("/ws", &changes)).response().status,
            403
        );
        let own = socket.tcp().local_addr().unwrap().to_string();
        drop(socket);
        let line = proxy.terminal();
        assert_eq!(
            line.0.get("client").and_then(|client| client.as_str()),
            client
        );
        let peer = line.0.get("peer").and_then(|peer| peer.as_str());
        match keep {
            "full" => assert_eq!(peer, Some(own.as_str())),
            "truncated" => assert_eq!(peer, Some("127.0.0.0"), "the port would tell clients apart"),
            _ => assert_eq!(peer, None),
        }
        let text = line.0.to_string();
        assert_eq!(text.contains(&own), keep == "full", "{text}");
        assert!(
            !text.contains("198.51.100.7"),
            "a client's own claim is not believed: {text}"
        );
    }
}

#[test]
fn a_trusted_proxys_word_for_the_client_is_shortened_too() {
    for (keep, client) in [("full", "2001:db8:1:2::7"), ("truncated", "2001:db8:1::")] {
        let setup = Setup {
            log: format!("level: debug, client_address: {keep}"),
            extra: "trusted_proxies: [127.0.0.1]\n".to_owned(),
            ..Setup::plain("\"builtin:echo\"")
        };
        let mut proxy = setup.start();
        let mut socket = Client::plain(proxy.address());
        let changes = [
            ("X-Forwarded-For", "2001:db8:1:2::7"),
            ("Origin", "https://evil.example"),
        ];
        assert_eq!(
            socket.send(handshake("/ws", &changes)).response().status,
            403
        );
        drop(socket);
        assert_eq!(proxy.terminal().text("client"), client);
    }
}

#[test]
fn a_client_cannot_make_a_record_long() {
    let setup = Setup {
        log: "level: debug".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let mut proxy = setup.start();
    let long = "x".repeat(120);
    let agents = vec![("User-Agent", long.as_str()); 81];
    let upgrades = vec![("Upgrade", "a-protocol-of-the-tests-own"); 81];
    let twice = format!("{0}, {0}", "y".repeat(5000));
    for (changes, field, left_out) in [
        (&agents[..], "user_agent", "| ...(79 more)"),
        (&upgrades[..], "detail", "81 unknown values"),
        (
            &[("Sec-WebSocket-Protocol", twice.as_str())],
            "detail",
            "* is offered twice",
        ),
    ] {
        let bad_origin = ("Origin", "https://evil.example");
        let changes = [changes, &[bad_origin]].concat();
        let mut client = Client::plain(proxy.address());
        client.send(handshake("/ws", &changes)).response();
        drop(client);
        let line = proxy.terminal();
        assert!(line.text(field).contains(left_out), "{line:?}");
        assert!(line.0.to_string().len() < 2500, "{line:?}");
    }
}

#[test]
fn secrets_are_not_written() {
    let setup = Setup {
        log: "level: debug, query_keep: [v]".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let mut proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    let changes = [
        ("Cookie", "session=hunter2"),
        ("Authorization", "Bearer hunter2"),
        ("X-WX-OPENID", "hunter2"),
        ("Sec-WebSocket-Protocol", "chat"),
    ];
    let request = handshake("/ws?token=hunter2&v=3&hunter2", &changes);
    assert_eq!(client.send(request).response().status, 101);
    client.finish();
    client.rest();
    let line = proxy.terminal();
    assert_eq!(line.text("path"), "/ws?token=*&v=3&*");
    for line in proxy.stop() {
        assert!(!line.0.to_string().contains("hunter2"), "{line:?}");
    }
}

#[test]
fn secrets_in_unusual_places_are_not_written() {
    let setup = Setup {
        log: "level: debug".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let mut proxy = setup.start();
    let origin = [("Origin", "https://user:hunter2@app.example.com")];
    let agent = "Mail me@example.com";
    for (head, field, shown) in [
        (
            handshake("http://user:hunter2@localhost/ws", &[]),
            "detail",
            "the target has userinfo",
        ),
        (
            handshake("http://user:hunter2@localhost/ws#a", &[]),
            "detail",
            "byte 32 of the target is '#'",
        ),
        (
            handshake("http://user:hunter2@localhost/ ws", &[]),
            "detail",
            "expected method, target and version with one space between",
        ),
        (
            handshake("user:hunter2@localhost", &[]),
            "detail",
            "neither a path nor an http URL",
        ),
        (
            handshake("/ws", &[("Host", "user:hunter2@localhost")]),
            "host",
            "*@localhost",
        ),
        (handshake("/ws?hunter2=", &origin), "path", "/ws?*"),
        (handshake("/ws?hunter2+?v=1", &origin), "path", "/ws?*"),
        (
            handshake("/ws", &origin),
            "origin",
            "https://*@app.example.com",
        ),
        (
            handshake(
                "/ws",
                &[("Origin", "https://app.example.com/?token=hunter2")],
            ),
            "origin",
            "https://app.example.com/?*",
        ),
        (
            handshake("/ws", &[origin[0], origin[0]]),
            "origin",
            "https://*@app.example.com | https://*@",
        ),
        (
            handshake("/ws", &[("User-Agent", agent), origin[0]]),
            "user_agent",
            agent,
        ),
    ] {
        let mut client = Client::plain(proxy.address());
        client.send(&head).response();
        drop(client);
        let line = proxy.terminal();
        assert!(line.text(field).contains(shown), "{line:?}");
        assert!(!line.0.to_string().contains("hunter2"), "{line:?}");
    }
}

/// Refusals from the raw head also name the route and the hop.
#[test]
fn an_unparsed_request_is_described() {
    let setup = Setup {
        log: "level: debug".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let mut proxy = setup.start();
    let cookie = "c".repeat(20_000);
    let agent = ("User-Agent", "nginx/1.18");
    let good = handshake("/ws?token=hunter2", &[agent]);
    let both = [
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        agent,
    ];
    for (head, reason, version) in [
        (
            good.replace("HTTP/1.1", "HTTP/1.0"),
            "http_version_unsupported",
            "1.0",
        ),
        (
            good.replace("Upgrade: ", "Up grade: "),
            "http_malformed",
            "1.1",
        ),
        (
            handshake("/ws?token=hunter2", &both),
            "http_framing_conflict",
            "1.1",
        ),
        (
            handshake("/ws?token=hunter2", &[agent, ("Cookie", &cookie)]),
            "http_too_large",
            "1.1",
        ),
    ] {
        let mut client = Client::plain(proxy.address());
        client.send(&head).response();
        drop(client);
        let line = proxy.terminal();
        assert_eq!(line.text("reason"), reason);
        for (field, value) in [
            ("http_version", version),
            ("method", "GET"),
            ("path", "/ws?token=*"),
            ("host", "api.example.com"),
            ("origin", ORIGIN),
            ("user_agent", "nginx/1.18"),
        ] {
            assert_eq!(line.text(field), value, "{line:?}");
        }
    }
}

#[test]
fn lines_have_what_every_line_has() {
    let proxy = Setup::plain("\"builtin:echo\"").start();
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    client.finish();
    client.rest();
    drop(client);
    let lines = proxy.stop();
    assert_eq!(lines.len(), 5);
    for line in &lines {
        assert!(
            humantime::parse_rfc3339(line.text("time")).is_ok(),
            "{line:?}"
        );
        assert_eq!(line.number("schema"), Some(1));
        assert_eq!(line.text("version"), env!("CARGO_PKG_VERSION"));
        assert!(!line.text("instance").is_empty());
        assert!(
            matches!(line.text("level"), "debug" | "info" | "warn" | "error"),
            "{line:?}"
        );
        let fields = line.0.as_object().unwrap();
        assert!(
            fields.values().all(|value| !value.is_null()),
            "absent fields are left out: {line:?}"
        );
    }
}

#[test]
fn every_field_is_described() {
    let text = std::fs::read_to_string("docs/records.md").unwrap();
    let proxy = Setup::tls("\"builtin:echo\"").start();
    let mut client = Client::tls(proxy.address());
    let changes = [("User-Agent", "test"), ("Origin", ORIGIN)];
    assert_eq!(
        client.send(handshake("/ws", &changes)).response().status,
        101
    );
    client.finish();
    client.rest();
    drop(client);
    for line in proxy.stop() {
        for name in line.0.as_object().unwrap().keys() {
            assert!(
                text.contains(&format!("`{name}`")),
                "docs/records.md does not describe {name}"
            );
        }
        let event = line.text("event");
        assert!(
            text.contains(&format!("| `{event}` |")),
            "docs/records.md does not describe {event}"
        );
    }
}

#[test]
fn a_token_in_the_place_of_a_subprotocol_is_not_written() {
    const TOKEN: &str = "base64url.bearer.eyJhbGciOiJIUzI1NiJ9.c2VjcmV0";
    // The upstream chooses none of the offered ones.
    let upstream = Upstream::echo();
    let mut setup = Setup::plain(&upstream.url());
    setup.websocket = "subprotocols: [v1]".to_owned();
    let mut proxy = setup.start();
    for (offer, status) in [
        (format!("v1, {TOKEN}"), 101),
        (TOKEN.to_owned(), 400),
        (format!("Bearer {TOKEN}"), 400),
        (format!("{TOKEN}, {TOKEN}"), 400),
    ] {
        let mut client = Client::plain(proxy.address());
        let request = handshake("/ws", &[("Sec-WebSocket-Protocol", &offer)]);
        assert_eq!(client.send(request).response().status, status);
        client.finish();
        proxy.terminal();
    }
    for line in proxy.stop() {
        assert!(!line.0.to_string().contains("eyJhbGci"), "{line:?}");
    }
}
