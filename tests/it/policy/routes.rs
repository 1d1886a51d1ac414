//! Hosts, the order of routes and of checks, subprotocols, and what the policy lets through with a note.

use wsgate::reason::Reason;

use crate::harness::client::{Client, trusting};
use crate::harness::{Setup, handshake};
use crate::http::guard::{Changes, Guard};

#[test]
fn report_lets_through_what_the_origin_rules_would_refuse_and_nothing_else() {
    let mut guard = Guard::start(|endpoint| Setup {
        origins: "[https://app.example.com, wechat]".to_owned(),
        websocket: "policy: report\nwechat_app_ids: [wxaaaaaaaaaaaaaaaa]\nsubprotocols: [voice]"
            .to_owned(),
        ..Setup::tls(endpoint)
    });
    let foreign = "https://servicewechat.com/wxeeeeeeeeeeeeeeee/0/page-frame.html";
    #[rustfmt::skip]
    let table: &[(Changes<'_>, Option<&str>)] = &[
        (&[], None),
        (&[("Origin", "https://evil.com")], Some("origin_not_allowed: the Origin is not one of")),
        (&[("Origin", "null")], Some("origin_null: ")),
        (&[("Origin", "")], Some("origin_missing: no Origin")),
        (&[("Origin", "https://evil.com/x")], Some("origin_malformed: ")),
        (&[("Origin", "https://a.com"), ("Origin", "https://b.com")], Some("origin_multiple: 2 Origin fields")),
        (&[("Origin", "https://servicewechat.com"), ("Referer", foreign)], Some("referer_appid_mismatch: app id wxe")),
        (&[("Origin", "https://servicewechat.com"), ("Referer", "https://evil.example/x")], Some("referer_appid_mismatch: the Referer is from a site other")),
    ];
    for (changes, expected) in table {
        let admitted = guard.admit(handshake("/ws", changes));
        for line in [&admitted.opened, &admitted.closed] {
            match expected {
                None => assert_eq!(line.notes(), [""; 0]),
                Some(beginning) => {
                    assert_eq!(line.notes(), ["would_refuse"], "{changes:?}");
                    let detail = line.0["notes"][0]["detail"].as_str().unwrap();
                    assert!(detail.starts_with(beginning), "{detail}");
                }
            }
        }
        // The upstream gets the original Origin and can decide itself.
        for (_, value) in changes
            .iter()
            .filter(|(name, value)| *name == "Origin" && !value.is_empty())
        {
            assert!(admitted.head.contains(&format!("Origin: {value}\r\n")));
        }
    }
    let evil = ("Origin", "https://evil.com");
    let other = ("Sec-WebSocket-Protocol", "chat");
    guard.refuse(handshake("/nowhere", &[evil]), Reason::PathNotAllowed);
    guard.refuse(
        handshake("/ws", &[evil, ("Host", "evil")]),
        Reason::HostNotAllowed,
    );
    guard.refuse(
        handshake("/ws", &[evil, other]),
        Reason::SubprotocolNotAllowed,
    );
}

fn many_routes() -> Guard {
    let route = |host: &str, path: &str, origin: &str| {
        format!(
            "  - host: \"{host}\"\n    path: {path}\n    upstream: app\n    \
             websocket: {{ origins: [\"{origin}\"] }}\n"
        )
    };
    Guard::start(|endpoint| Setup {
        host: Some("api.example.com".to_owned()),
        path: "/a/*".to_owned(),
        origins: "[https://one.example]".to_owned(),
        routes: [
            route("api.example.com", "/a/b", "https://two.example"),
            route("*.example.com", "/a/b", "https://three.example"),
            route("*.b.example.com", "/c", "https://four.example"),
        ]
        .concat(),
        ..Setup::tls(endpoint)
    })
}

#[test]
fn the_first_route_of_host_and_path_decides() {
    let mut guard = many_routes();
    #[rustfmt::skip]
    let table = [
        ("api.example.com", "/a/b", "https://one.example", Ok("api.example.com/a/*")),
        // A later route is not a second chance.
        ("api.example.com", "/a/b", "https://two.example", Err(Reason::OriginNotAllowed)),
        ("x.example.com", "/a/b", "https://three.example", Ok("*.example.com/a/b")),
        ("X.Example.Com:8443", "/a/b", "https://three.example", Ok("*.example.com/a/b")),
        ("x.example.com", "/a/other", "https://three.example", Err(Reason::PathNotAllowed)),
        ("x.example.com", "/a/b", "https://one.example", Err(Reason::OriginNotAllowed)),
        ("x.b.example.com", "/c", "https://four.example", Ok("*.b.example.com/c")),
        // A wildcard stands for one label, and a trailing dot makes a different name.
        ("x.y.example.com", "/a/b", "https://three.example", Err(Reason::HostNotAllowed)),
        ("example.com", "/a/b", "https://three.example", Err(Reason::HostNotAllowed)),
        ("x.example.com.", "/a/b", "https://three.example", Err(Reason::HostNotAllowed)),
        ("api.example.com.evil.com", "/a/b", "https://one.example", Err(Reason::HostNotAllowed)),
        ("evilapi.example.com.", "/a/b", "https://one.example", Err(Reason::HostNotAllowed)),
        ("127.0.0.1", "/a/b", "https://one.example", Err(Reason::HostNotAllowed)),
    ];
    for (host, path, origin, expected) in table {
        let head = handshake(path, &[("Host", host), ("Origin", origin)]);
        let found = match guard.ask(head) {
            Ok(admitted) => {
                let host = format!("Host: {host}\r\n");
                assert!(admitted.head.contains(&host), "{}", admitted.head);
                Ok(admitted.opened.text("route").to_owned())
            }
            Err(refused) => Err(refused.line.text("reason").parse().unwrap()),
        };
        assert_eq!(found, expected.map(str::to_owned), "{host} {path} {origin}");
    }
}

/// RFC 9110 section 7.4: the Host is compared with the name for which the client checked the certificate.
#[test]
fn a_host_other_than_the_tls_name_is_noted_when_both_are_ours_and_refused_otherwise() {
    for (mut guard, is_any_host) in [(Guard::tls(), true), (many_routes(), false)] {
        #[rustfmt::skip]
        let table = [
            // server name (none for an address), Host, expected: with routes for any host, with routes for
            // *.example.com
            ("api.example.com", "api.example.com", "allow", "allow"),
            ("api.example.com", "API.example.com:8443", "allow", "allow"),
            ("api.example.com", "localhost", "sni_host_mismatch", "host_not_allowed"),
            ("localhost", "api.example.com", "sni_host_mismatch", "sni_host_mismatch"),
            ("api.example.com", "x.example.com", "host_not_allowed", "sni_host_mismatch"),
            ("api.example.com", "evil.example", "host_not_allowed", "host_not_allowed"),
            ("api.example.com", "127.0.0.1", "sni_host_mismatch", "host_not_allowed"),
            ("127.0.0.1", "api.example.com", "allow", "allow"),
            ("127.0.0.1", "evil.example", "allow", "host_not_allowed"),
        ];
        for (name, host, any, own) in table {
            let (path, expected) = match is_any_host {
                true => ("/ws", any),
                false => ("/a/b", own),
            };
            let origin = match (is_any_host, host.starts_with("x.")) {
                (true, _) => "https://app.example.com",
                (false, true) => "https://three.example",
                (false, false) => "https://one.example",
            };
            let mut client = Client::tls_with(guard.proxy.address(), name, trusting()).unwrap();
            client.send(handshake(path, &[("Host", host), ("Origin", origin)]));
            let found = match guard.outcome(client) {
                Ok(admitted) => {
                    let notes = admitted.opened.notes();
                    notes.first().map_or("allow", |note| *note).to_owned()
                }
                Err(refused) => {
                    assert_eq!(refused.response.status, 421);
                    refused.line.text("reason").to_owned()
                }
            };
            assert_eq!(found, expected, "{name} {host} {is_any_host}");
        }
    }
}

#[test]
fn the_first_fault_of_a_request_is_the_one_that_is_told() {
    let mut guard = Guard::start(|endpoint| Setup {
        host: Some("api.example.com".to_owned()),
        websocket: "subprotocols: [voice]".to_owned(),
        ..Setup::tls(endpoint)
    });
    // Everything is wrong with it; the faults are corrected one by one, from the outermost.
    let mut head = handshake(
        "/x/../ws",
        &[
            ("Host", "user@evil.example"),
            ("Connection", "Upgrade, Origin"),
            ("Upgrade", "h2c"),
            ("Content-Length", "5"),
            ("Sec-WebSocket-Version", "8"),
            ("Sec-WebSocket-Key", "short"),
            ("Sec-WebSocket-Protocol", "chat,,x"),
            ("Expect", "100-continue"),
            ("Origin", "https://evil.example"),
        ],
    )
    .replace("GET", "PUT")
    .replace("Expect:", "Expect :")
        + "early";
    #[rustfmt::skip]
    let steps = [
        (Reason::HttpMalformed, "Expect :", "Expect:"),
        (Reason::HttpHostInvalid, "user@evil", "evil"),
        (Reason::HttpConnectionProtected, "Upgrade, Origin", "close"),
        (Reason::H2cRefused, "h2c", "TLS/1.0"),
        (Reason::HttpBodyOnUpgrade, "Content-Length: 5", "Content-Length: 0"),
        (Reason::WsMethodNotGet, "PUT", "GET"),
        (Reason::WsUpgradeNotWebsocket, "TLS/1.0", "websocket"),
        (Reason::WsConnectionTokenMissing, "close", "upgrade"),
        (Reason::WsVersionUnsupported, "Version: 8", "Version: 13"),
        (Reason::WsKeyInvalid, "short", crate::harness::client::KEY),
        (Reason::WsProtocolHeaderInvalid, "chat,,x", "chat, x"),
        (Reason::HttpExpectRefused, "Expect: 100-continue", "X-A: b"),
        (Reason::HttpEarlyData, "early", ""),
        (Reason::HostNotAllowed, "evil.example\r\nConnection", "api.example.com\r\nConnection"),
        (Reason::PathAmbiguous, "/x/../ws", "/WS"),
        (Reason::PathNearMiss, "/WS", "/ws"),
        (Reason::OriginNotAllowed, "https://evil.example", "https://app.example.com"),
        (Reason::SubprotocolNotAllowed, "chat, x", "chat, voice"),
    ];
    for (reason, wrong, right) in steps {
        guard.refuse(&head, reason);
        assert_eq!(head.matches(wrong).count(), 1, "{wrong} in {head}");
        head = head.replace(wrong, right);
    }
    guard.admit(head);
}

/// A request without any WebSocket field: unknown paths are refused for everyone, and 426 says what a route is for.
#[test]
fn plain_requests_are_matched_against_host_and_path_first() {
    let mut guard = Guard::start(|endpoint| Setup {
        host: Some("api.example.com".to_owned()),
        ..Setup::tls(endpoint)
    });
    #[rustfmt::skip]
    let table = [
        ("GET /ws HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "plain_http_request"),
        ("GET /ws HTTP/1.1\r\nHost: api.example.com\r\nOrigin: null\r\n\r\n", "plain_http_request"),
        ("GET /ws HTTP/1.1\r\nHost: api.example.com\r\nConnection: upgrade\r\n\r\n", "plain_http_request"),
        ("DELETE /ws HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "plain_http_request"),
        ("POST /ws HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 2\r\n\r\nhi", "plain_http_request"),
        ("POST /ws HTTP/1.1\r\nHost: api.example.com\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", "plain_http_request"),
        ("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "path_not_allowed"),
        ("GET /.env HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "path_not_allowed"),
        ("GET /ws/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "path_near_miss"),
        ("GET /x/../ws HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "path_ambiguous"),
        ("GET /ws HTTP/1.1\r\nHost: evil.example\r\n\r\n", "host_not_allowed"),
        ("OPTIONS * HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "http_malformed"),
    ];
    for (head, expected) in table {
        assert_eq!(guard.verdict(head), expected, "{head}");
    }
}

#[test]
fn subprotocols_need_one_in_common_only_where_a_list_is_set() {
    let mut guard = Guard::start(|endpoint| Setup {
        websocket: "subprotocols: [voice.v1, voice.v2]".to_owned(),
        routes: "  - path: /any\n    upstream: app\n    \
                 websocket: { origins: [https://app.example.com] }\n"
            .to_owned(),
        ..Setup::tls(endpoint)
    });
    #[rustfmt::skip]
    let table: &[(&str, &[&str], &str)] = &[
        ("/any", &["whatever"], "allow"),
        ("/ws", &[], "allow"),
        ("/ws", &["chat, voice.v2"], "allow"),
        ("/ws", &["chat", "voice.v2"], "allow"),
        ("/ws", &["chat"], "subprotocol_not_allowed"),
        ("/ws", &["Voice.V1"], "subprotocol_not_allowed"),
        ("/ws", &["voice.v10, voice"], "subprotocol_not_allowed"),
    ];
    for (path, offers, expected) in table {
        let changes: Vec<_> = offers
            .iter()
            .map(|offer| ("Sec-WebSocket-Protocol", *offer))
            .collect();
        let verdict = guard.verdict(handshake(path, &changes));
        assert_eq!(verdict, *expected, "{path} {offers:?}");
    }
}
