//! What records contain of a request, and what they never contain.

use serde_json::Value;
use wsgate::reason::Reason;

use crate::harness::{Client, Line, Proxy, Setup, Upstream, handshake};
use crate::http::guard::Guard;

/// Whatever happens to a request, its secrets appear in no record, no diagnostic and no answer.
#[test]
fn secrets_appear_nowhere() {
    // Each is recognisable even if it is cut or joined with something.
    const SECRETS: [&str; 6] = ["s3cr3t", "c00k1e", "b34r3r", "k33p3r", "0p3n1d", "fr4gm3nt"];
    let hidden = [
        ("Cookie", "session=c00k1e"),
        ("Authorization", "Bearer b34r3r"),
        ("Proxy-Authorization", "Basic k33p3r"),
        ("X-WX-OPENID", "0p3n1d"),
    ];
    let good = |target: &str, changes: &[(&str, &str)]| {
        handshake(target, &[&hidden[..], changes].concat())
    };
    let target = "/ws?token=s3cr3t&s3cr3t&a=1?b=s3cr3t";
    let head = good(target, &[]);
    let edited = |from: &str, to: &str| {
        assert!(head.contains(from), "{from}");
        head.replace(from, to)
    };
    let padding = "p".repeat(20_000);
    let requests = [
        head.clone(),
        edited("/ws?", "/WS?"),
        edited("/ws?", "/nowhere?"),
        edited("/ws?", "/x/../ws?"),
        edited("/ws?", "http://evil/ws?"),
        edited("/ws?", "https://user@api.example.com/ws?"),
        edited("/ws?", "ws?"),
        edited("/ws?", "?"),
        edited("/ws?", "/ws#access_token=fr4gm3nt?"),
        edited("/ws?", "/ws?<"),
        edited("/ws?", "/ws?\u{e4}"),
        edited("/ws?", "/ws?\x01"),
        edited("/ws?", "/ws? "),
        edited(" HTTP/1.1", " HTTP/1.0"),
        edited(" HTTP/1.1", ""),
        edited(" HTTP/1.1", " HTTP/x"),
        edited("GET ", "G(T "),
        edited("GET ", "POST "),
        edited("\r\nCookie:", "\r\nCookie"),
        edited("\r\nCookie:", "\r\n Cookie:"),
        edited("\r\nCookie: session", "\r\nsession"),
        edited("\r\nCookie: ", "\r\nCookie : "),
        edited("session=", "session=\r\n"),
        edited("session=", "session=\x02"),
        edited("Bearer ", "Bearer\r\n "),
        head.replacen("\r\n", "\n", 4),
        // Without its first line, and in the middle of a line.
        head.split_once("\r\n").unwrap().1.to_owned(),
        format!("Cookie: session=c00k1e\r\n{head}"),
        format!("Authorization: Bearer b34r3r\r\n{head}"),
        good(target, &[("Origin", "null")]),
        good(target, &[("Origin", "")]),
        good(target, &[("Host", "evil.example")]),
        good(target, &[("Upgrade", "")]),
        good(target, &[("Connection", "Upgrade, Cookie")]),
        good(target, &[("Connection", "Upgrade, Authorization")]),
        good(target, &[("Content-Length", "5")]),
        good(target, &[("X-Pad", &padding)]),
        good(&format!("{target}{padding}"), &[]),
        head.clone() + &head,
    ];
    for setup in [Setup::tls, Setup::plain] {
        let mut guard = Guard::start(|endpoint| Setup {
            host: Some("api.example.com".to_owned()),
            ..setup(endpoint)
        });
        for request in &requests {
            if let Err(refused) = guard.ask(request) {
                let answer = format!("{:?} {}", refused.response, refused.response.text());
                expect_none(&answer, &SECRETS);
            }
        }
        // Cut anywhere.
        for cut in (1..head.len()).step_by(7) {
            let mut client = guard.client();
            client.send(&head[..cut]).finish();
            client.rest();
            guard.proxy.terminal().expect(Reason::HttpHeadIncomplete);
        }
        expect_told_by_none(guard.proxy, &SECRETS);
    }
    // An answer of another kind, no answer, and a request on the wrong kind of port.
    for answer in [
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        "x",
        "",
    ] {
        let upstream = Upstream::answering(answer);
        let mut proxy = Setup {
            upstream: ", handshake_timeout: 200ms".to_owned(),
            ..Setup::tls(&upstream.url())
        }
        .start();
        let mut client = Client::tls(proxy.address());
        client.send(&head).response();
        drop(client);
        proxy.terminal();
        let mut client = Client::plain(proxy.address());
        client.send(head.replace("/ws?token=", "/?"));
        client.rest();
        drop(client);
        proxy.terminal().expect(Reason::TlsPlainHttpOnTlsPort);
        expect_told_by_none(proxy, &["s3cr3t", "s3cr", "c00k1e", "b34r3r", "0p3n1d"]);
    }
}

#[track_caller]
fn expect_told_by_none(proxy: Proxy, secrets: &[&str]) {
    let said = proxy.diagnostics();
    expect_none(&said, secrets);
    for line in proxy.stop() {
        expect_none(&line.0.to_string(), secrets);
    }
}

#[track_caller]
fn expect_none(text: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} in {text}");
        // Also in hexadecimal, as first bytes are shown.
        let bytes: Vec<_> = secret
            .bytes()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let hexadecimal = bytes.join(" ");
        assert!(!text.contains(&hexadecimal), "{secret} in {text}");
    }
}

#[test]
fn the_values_of_kept_query_parameters_are_told() {
    let mut guard = Guard::start(|endpoint| Setup {
        log: "level: debug, query_keep: [room, v]".to_owned(),
        ..Setup::tls(endpoint)
    });
    #[rustfmt::skip]
    let table = [
        ("/ws", "/ws"),
        ("/ws?", "/ws?*"),
        ("/ws?room=1&token=s3cr3t&v=2", "/ws?room=1&token=*&v=2"),
        ("/ws?room=1&room=2", "/ws?room=1&room=2"),
        ("/ws?ROOM=1&rooms=2&roo=3", "/ws?ROOM=*&rooms=*&roo=*"),
        ("/ws?s3cr3t", "/ws?*"),
        ("/ws?room", "/ws?room"),
        ("/ws?token=room=1", "/ws?token=*"),
        ("/ws?token=s3cr3t;room=1", "/ws?token=*"),
    ];
    for (target, told) in table {
        let admitted = guard.admit(handshake(target, &[]));
        assert_eq!(admitted.opened.text("path"), told);
        assert_eq!(admitted.closed.text("path"), told);
        let refused = guard.refuse(handshake(target, &[("Origin", "null")]), Reason::OriginNull);
        assert_eq!(refused.line.text("path"), told);
    }
}

/// A peer can't forge a line, move the cursor or reverse the reading direction.
#[test]
fn what_peers_send_is_told_as_printable_ascii_and_bounded() {
    let mut guard = Guard::tls();
    let agent = "evil\u{9b}31m \u{202e}txt.exe\t\u{1f600}";
    let admitted = guard.admit(handshake("/ws", &[("User-Agent", agent)]));
    let told = "evil\\xc2\\x9b31m \\xe2\\x80\\xaetxt.exe\\x09\\xf0\\x9f\\x98\\x80";
    assert_eq!(admitted.opened.text("user_agent"), told);
    assert!(admitted.head.contains(&format!("User-Agent: {agent}\r\n")));
    let long = "a".repeat(5000);
    let admitted = guard.admit(handshake("/ws", &[("User-Agent", &long)]));
    let told = format!("{}...(5000 bytes)", "a".repeat(256));
    assert_eq!(admitted.opened.text("user_agent"), told);

    let escape = "\u{1b}[31m";
    let long_path = format!("/{}", "a/".repeat(3000));
    #[rustfmt::skip]
    let table: Vec<(String, Reason, &str, &str)> = vec![
        (handshake("/%1b[31m%0a{\"event\":\"closed\"}", &[]), Reason::PathAmbiguous, "path", "/%1b[31m%0a{\"event\":\"closed\"}"),
        (handshake("/ws", &[("Origin", "https://\u{202e}moc.live")]), Reason::OriginMalformed, "origin", "https://\\xe2\\x80\\xaemoc.live"),
        (handshake("/ws", &[("Origin", "\u{9b}2J")]), Reason::OriginMalformed, "origin", "\\xc2\\x9b2J"),
        (handshake("/ws", &[("Host", "\u{202e}moc.live")]), Reason::HttpHostInvalid, "host", "\\xe2\\x80\\xaemoc.live"),
        (handshake("/ws", &[("Upgrade", "\u{9b}2J")]), Reason::WsUpgradeNotWebsocket, "detail", "Upgrade: an unknown value"),
        (handshake("/ws", &[("Sec-WebSocket-Protocol", "\u{9b}")]), Reason::WsProtocolHeaderInvalid, "detail", ""),
        (handshake("/ws", &[("X-Request-ID", "\u{9b}2J\u{202e}"), ("Origin", "null")]), Reason::OriginNull, "detail", "the Origin is null"),
        // Raw control characters are not HTTP.
        (handshake("/ws", &[("User-Agent", escape)]), Reason::HttpMalformed, "detail", "line 8: the value has the control character \\x1b"),
        (handshake("/ws", &[("Origin", escape)]), Reason::HttpMalformed, "detail", ""),
        (handshake("/ws", &[(escape, "x")]), Reason::HttpMalformed, "detail", ""),
        (handshake(&format!("/{escape}"), &[]), Reason::HttpMalformed, "detail", ""),
        (format!("{escape}\r\n\r\n"), Reason::HttpMalformed, "detail", ""),
        (format!("GET / HTTP/{escape}\r\n\r\n"), Reason::HttpMalformed, "detail", ""),
        (handshake(&long_path, &[]), Reason::PathNotAllowed, "path", ""),
    ];
    for (head, reason, field, told) in table {
        let line = guard.refuse(head, reason).line;
        if !told.is_empty() {
            assert_eq!(line.text(field), told);
        }
    }
    for line in guard.proxy.stop() {
        expect_printable(&line);
    }
}

#[track_caller]
fn expect_printable(line: &Line) {
    let texts = line
        .0
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(name, value)| {
            let notes = value.as_array().into_iter().flatten();
            let details = notes.filter_map(|note| note.get("detail"));
            details
                .chain([value])
                .filter_map(Value::as_str)
                .map(move |text| (name, text))
        });
    for (name, text) in texts {
        // The mark of a cut is ours.
        let is_plain = |c: char| c == '…' || c == ' ' || c.is_ascii_graphic();
        assert!(text.chars().all(is_plain), "{name}: {text:?}");
        assert!(text.len() < 1100, "{name}: {text}");
    }
}
