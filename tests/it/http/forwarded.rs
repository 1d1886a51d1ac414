//! What the upstream learns about the client, and whom the proxy believes.

use super::guard::{Changes, Guard};
use crate::harness::upstream::field;
use crate::harness::{Client, Setup, handshake};

fn trusting(setup: fn(&str) -> Setup) -> Guard {
    Guard::start(|endpoint| Setup {
        extra: "trusted_proxies: [127.0.0.0/8]\n".to_owned(),
        ..setup(endpoint)
    })
}

/// P23 and the spoofed forms of every field that says who or where the client is.
#[test]
fn an_untrusted_peer_cannot_say_who_it_is_or_what_it_asks() {
    let spoofed = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("x-forwarded-for", "10.0.0.1"),
        ("X-FORWARDED-PROTO", "http"),
        ("X-Forwarded-Host", "evil.example"),
        ("Forwarded", "for=6.6.6.6;host=evil.example;proto=http"),
        ("X-Real-IP", "6.6.6.6"),
        ("X-Forwarded-Prefix", "/admin"),
        ("X-Original-URL", "/admin"),
        ("X-Rewrite-URL", "/admin"),
        ("X-Forwarded-Ssl", "evil"),
        ("X_Forwarded_For", "6.6.6.6"),
        ("X-Forwarded_Proto", "evil"),
        ("X_Real_IP", "6.6.6.6"),
        ("X-Client-IP", "6.6.6.6"),
        ("True-Client-IP", "6.6.6.6"),
        ("CF-Connecting-IP", "6.6.6.6"),
        ("X-Original-Forwarded-For", "6.6.6.6"),
        ("X-WX-OPENID", "evil"),
        ("x-wx-unionid", "evil"),
        ("X_WX_FROM_APPID", "evil"),
        ("Fastly-Client-IP", "6.6.6.6"),
        ("X-Cluster-Client-IP", "6.6.6.6"),
        ("X-Envoy-External-Address", "6.6.6.6"),
        ("X-SSL-Client-Verify", "evil"),
        ("Client-Cert", "evil"),
        ("X.Forwarded.For", "6.6.6.6"),
        ("X~Real~IP", "6.6.6.6"),
        ("X!WX!OPENID", "evil"),
        ("X-Forwarded*Proto", "evil"),
        ("Content_Length", "6.6.6.6"),
        ("X.Request.ID", "evil"),
        ("Sec_WebSocket_Protocol", "evil"),
        ("Proxy", "http://evil.example"),
        ("X-Envoy-Original-Path", "/admin"),
        ("X-Envoy-Internal", "evil"),
        ("X-Accel-Mapping", "/=/admin"),
    ];
    for (mut guard, proto) in [(Guard::tls(), "https"), (Guard::plain(), "http")] {
        // Each one alone, and all together.
        for changes in spoofed
            .iter()
            .map(std::slice::from_ref)
            .chain([&spoofed[..]])
        {
            let admitted = guard.admit(handshake("/ws", changes));
            let opened = &admitted.opened;
            assert_eq!(opened.notes(), ["spoofed_header_stripped"], "{changes:?}");
            let detail = opened.0["notes"][0]["detail"].as_str().unwrap();
            assert!(
                changes
                    .iter()
                    .all(|(name, _)| detail.contains(&name.to_ascii_lowercase()))
                    || detail.ends_with(" more)"),
                "{detail}"
            );
            assert_eq!(opened.text("client"), "127.0.0.1");
            let records = format!("{opened:?}{:?}", admitted.closed);
            assert!(
                !records.contains("6.6.6.6") && !records.contains("evil"),
                "{records}"
            );
            expect_identity(&admitted.head, "127.0.0.1", proto, "api.example.com");
            for gone in ["6.6.6.6", "evil", "/admin", "10.0.0.1"] {
                assert!(!admitted.head.contains(gone), "{}", admitted.head);
            }
        }
        assert_eq!(guard.admit(handshake("/ws", &[])).opened.notes(), [""; 0]);
    }
}

#[test]
fn of_a_trusted_peers_chain_the_rightmost_untrusted_hop_is_the_client() {
    let mut guard = trusting(Setup::tls);
    #[rustfmt::skip]
    let table: &[(Changes<'_>, &str, &str)] = &[
        (&[], "127.0.0.1", "127.0.0.1"),
        (&[("X-Forwarded-For", "203.0.113.7")], "203.0.113.7", "203.0.113.7, 127.0.0.1"),
        (&[("X-Forwarded-For", "6.6.6.6, 203.0.113.7")], "203.0.113.7", "203.0.113.7, 127.0.0.1"),
        (&[("X-Forwarded-For", "6.6.6.6, 203.0.113.7, 127.0.0.9")], "203.0.113.7", "203.0.113.7, 127.0.0.9, 127.0.0.1"),
        (&[("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.7")], "203.0.113.7", "203.0.113.7, 127.0.0.1"),
        (&[("X-Forwarded-For", "203.0.113.7:4711")], "203.0.113.7", "203.0.113.7, 127.0.0.1"),
        (&[("X-Forwarded-For", "[2001:db8::7]:4711")], "2001:db8::7", "2001:db8::7, 127.0.0.1"),
        (&[("X-Forwarded-For", "::ffff:203.0.113.7")], "203.0.113.7", "203.0.113.7, 127.0.0.1"),
        // A value that is not an address ends the believed part.
        (&[("X-Forwarded-For", "203.0.113.7, unknown")], "127.0.0.1", "127.0.0.1"),
        (&[("X-Forwarded-For", "")], "127.0.0.1", "127.0.0.1"),
        (&[("Forwarded", "for=203.0.113.7;proto=http")], "203.0.113.7", "203.0.113.7, 127.0.0.1"),
        (&[("Forwarded", "for=6.6.6.6, For=\"[2001:db8::7]:1\"")], "2001:db8::7", "2001:db8::7, 127.0.0.1"),
        // WeChat's cloud hosting; elsewhere this is what the client itself sent as X-Forwarded-For.
        (&[("X-Original-Forwarded-For", "6.6.6.6, 203.0.113.7")], "203.0.113.7", "203.0.113.7, 127.0.0.1"),
        (&[("X-Original-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.7")], "203.0.113.7", "203.0.113.7, 127.0.0.1"),
        (&[("X-Original-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=203.0.113.7")], "203.0.113.7", "203.0.113.7, 127.0.0.1"),
        // A balancer that writes only one of the fields lets a client's other one through.
        (&[("Forwarded", "for=6.6.6.6"), ("X-Forwarded-For", "203.0.113.7")], "203.0.113.7", "203.0.113.7, 127.0.0.1"),
    ];
    for (changes, client, chain) in table {
        let admitted = guard.admit(handshake("/ws", changes));
        assert_eq!(admitted.opened.text("client"), *client, "{changes:?}");
        assert_eq!(admitted.closed.text("client"), *client, "{changes:?}");
        assert!(
            admitted.opened.text("peer").starts_with("127.0.0.1:"),
            "{changes:?}"
        );
        assert_eq!(admitted.opened.notes(), [""; 0], "{changes:?}");
        expect_identity(&admitted.head, chain, "https", "api.example.com");
    }
}

#[test]
fn what_a_trusted_peer_says_of_scheme_and_host_is_passed_on() {
    let mut guard = trusting(Setup::plain);
    #[rustfmt::skip]
    let table: &[(Changes<'_>, &str, &str)] = &[
        (&[], "http", "api.example.com"),
        (&[("X-Forwarded-Proto", "https")], "https", "api.example.com"),
        (&[("X-Forwarded-Proto", "HTTPS")], "https", "api.example.com"),
        (&[("X-Forwarded-Proto", "http, https")], "https", "api.example.com"),
        (&[("X-Forwarded-Proto", "https, http")], "http", "api.example.com"),
        (&[("Forwarded", "for=203.0.113.7;proto=https")], "https", "api.example.com"),
        (&[("X-Forwarded-Proto", "wss")], "https", "api.example.com"),
        (&[("X-Forwarded-Proto", "ws")], "http", "api.example.com"),
        (&[("X-Forwarded-Host", "www.example.com")], "http", "www.example.com"),
        (&[("X-Forwarded-Host", "www.example.com:8443")], "http", "www.example.com:8443"),
        (&[("X-Forwarded-Host", "6.example, www.example.com")], "http", "api.example.com"),
        (&[("X-Forwarded-Host", "a b\"")], "http", "api.example.com"),
        (&[("X-Forwarded-Host", "user@www.example.com")], "http", "api.example.com"),
        (&[("X-Forwarded-Host", "6.example"), ("X-Forwarded-Host", "www.example.com")], "http", "www.example.com"),
    ];
    for (changes, proto, host) in table {
        let admitted = guard.admit(handshake("/ws", changes));
        let head = &admitted.head;
        assert_eq!(
            field(head, "x-forwarded-proto"),
            Some(*proto),
            "{changes:?}"
        );
        assert_eq!(field(head, "x-forwarded-host"), Some(*host), "{changes:?}");
        // Host is what the proxy was asked for, whatever the first hop was asked for.
        assert_eq!(field(head, "host"), Some("api.example.com"), "{changes:?}");
    }
    // Fields of the trusted hop that the proxy does not write are kept.
    let prefixed = handshake(
        "/ws",
        &[
            ("X-Forwarded-Prefix", "/app"),
            ("X-Real-IP", "203.0.113.7"),
            ("X-WX-OPENID", "oAbC"),
            ("X-Envoy-External-Address", "203.0.113.7"),
        ],
    );
    let head = guard.admit(prefixed).head;
    assert_eq!(field(&head, "x-forwarded-prefix"), Some("/app"));
    assert_eq!(field(&head, "x-wx-openid"), Some("oAbC"));
    assert_eq!(
        field(&head, "x-envoy-external-address"),
        Some("203.0.113.7")
    );
    assert_eq!(field(&head, "x-real-ip"), Some("203.0.113.7"));
    // But not in a spelling that CGI treats as the same: the upstream may see either.
    let underscored = [
        ("X_Forwarded_For", "6.6.6.6"),
        ("X_Real-IP", "6.6.6.6"),
        ("X.Forwarded.For", "6.6.6.6"),
        ("X-Envoy~Internal", "6.6.6.6"),
        // And what programs behind a CGI gateway take for a setting is never passed on.
        ("Proxy", "http://6.6.6.6"),
        ("X-Real-IP", "203.0.113.7"),
    ];
    let head = guard.admit(handshake("/ws", &underscored)).head;
    assert!(!head.contains("6.6.6.6"), "{head}");
    assert_eq!(field(&head, "x-real-ip"), Some("203.0.113.7"));
}

/// The scheme that a trusted hop reports decides what `self` means.
#[test]
fn the_scheme_of_a_trusted_peer_counts_for_self() {
    let setup = |endpoint: &str| Setup {
        host: Some("api.example.com".to_owned()),
        origins: "[self]".to_owned(),
        ..Setup::plain(endpoint)
    };
    let trusted = |endpoint: &str| Setup {
        extra: "trusted_proxies: [127.0.0.0/8]\n".to_owned(),
        ..setup(endpoint)
    };
    for (mut guard, is_trusted) in [(Guard::start(setup), false), (Guard::start(trusted), true)] {
        for (proto, origin, expected) in [
            ("http", "http://api.example.com", "allow"),
            ("https", "https://api.example.com", "allow"),
            ("https", "http://api.example.com", "origin_not_allowed"),
        ] {
            let changes = [("X-Forwarded-Proto", proto), ("Origin", origin)];
            let expected = if is_trusted { expected } else { "allow" };
            let verdict = guard.verdict(handshake("/ws", &changes));
            assert_eq!(verdict, expected, "{is_trusted} {proto} {origin}");
        }
    }
}

/// The fields are passed on as received, valid or not.
#[test]
fn a_trace_is_passed_on_and_named() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut guard = Guard::plain();
    let valid = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let unlike = format!("00-{TRACE}-0000000000000000-01");
    for (parent, trace) in [(valid.as_str(), TRACE), (&unlike, ""), ("Nonsense", "")] {
        let state = "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE";
        let admitted = guard.admit(handshake(
            "/ws",
            &[("traceparent", parent), ("tracestate", state)],
        ));
        assert_eq!(field(&admitted.head, "traceparent"), Some(parent));
        assert_eq!(field(&admitted.head, "tracestate"), Some(state));
        assert_eq!(admitted.opened.text("trace_id"), trace);
        assert_eq!(admitted.closed.text("trace_id"), trace);
        assert_eq!(admitted.opened.notes(), [""; 0]);
    }
}

/// Each forwarding field occurs once, with a new value.
#[track_caller]
fn expect_identity(head: &str, chain: &str, proto: &str, host: &str) {
    let nodes: Vec<_> = chain
        .split(", ")
        .map(|ip| match ip.contains(':') {
            true => format!("for=\"[{ip}]\""),
            false => format!("for={ip}"),
        })
        .collect();
    let (first, rest) = nodes.split_first().unwrap();
    let mut forwarded = vec![format!("{first};host=\"{host}\";proto={proto}")];
    forwarded.extend_from_slice(rest);
    let forwarded = forwarded.join(", ");
    for (name, value) in [
        ("x-forwarded-for", chain),
        ("x-forwarded-proto", proto),
        ("x-forwarded-host", host),
        ("forwarded", &forwarded),
    ] {
        assert_eq!(field(head, name), Some(value), "{name} in {head}");
        let beginning = format!("\n{name}:");
        let lower = head.to_ascii_lowercase();
        assert_eq!(lower.matches(&beginning).count(), 1, "{head}");
    }
}

/// A peer that sends many such fields causes one record. If records must not contain addresses, this one has none.
#[test]
fn a_peer_that_keeps_naming_clients_is_told_of_once() {
    for (log, address) in [
        ("level: debug", Some("127.0.0.1")),
        ("level: debug, client_address: truncated", Some("127.0.0.0")),
        ("level: debug, client_address: off", None),
    ] {
        let proxy = Setup {
            log: log.to_owned(),
            ..Setup::plain("\"builtin:echo\"")
        }
        .start();
        let get = |field: &str| {
            let mut client = Client::plain(proxy.address());
            let request = format!("GET /a HTTP/1.1\r\nHost: api.example.com\r\n{field}\r\n\r\n");
            assert_eq!(client.send(request).response().status, 404);
        };
        for number in 0..200 {
            get(&format!("X-Forwarded-For: 203.0.113.{number}"));
            // A field that names nobody does not suggest a proxy.
            get("X-Forwarded-For: unknown");
            get("X-Forwarded-Host: evil.example");
        }
        let lines = proxy.stop();
        let told: Vec<_> = lines
            .iter()
            .filter(|line| line.text("event") == "untrusted_proxy")
            .collect();
        assert_eq!(told.len(), 1, "{told:#?}");
        let (line, text) = (told[0], told[0].0.to_string());
        let named = line.0.get("client").and_then(|client| client.as_str());
        assert_eq!(named, address);
        assert_eq!(
            text.contains("127.0.0.1 named"),
            log == "level: debug",
            "{text}"
        );
        let is_exact = line.text("hint").contains("`trusted_proxies: [127.0.0.1]`");
        assert_eq!(is_exact, log == "level: debug", "{line:?}");
        assert!(line.text("hint").contains("`trusted_proxies"), "{line:?}");
    }
}

#[test]
fn a_few_requests_that_name_clients_are_no_hop() {
    let proxy = Setup::plain("\"builtin:echo\"").start();
    let visit = |changes: &[(&str, &str)]| {
        let mut client = Client::plain(proxy.address());
        assert_eq!(
            client.send(handshake("/ws", changes)).response().status,
            101
        );
        client.finish();
        client.rest();
    };
    for _ in 0..10 {
        // A proxy would name the client each time.
        for name in [
            "X-Forwarded-For",
            "X-Real-IP",
            "Forwarded",
            "X-Forwarded-For",
        ] {
            visit(&[(name, "203.0.113.1")]);
        }
        visit(&[]);
    }
    let lines = proxy.stop();
    assert!(
        lines
            .iter()
            .all(|line| line.text("event") != "untrusted_proxy"),
        "{lines:#?}"
    );
}

#[test]
fn a_hop_is_noticed_by_each_field_that_names_clients() {
    for (name, value) in [
        ("X-Real-IP", "203.0.113.1"),
        ("Forwarded", "for=\"[2001:db8::1]:80\";proto=https"),
        ("X-Original-Forwarded-For", "203.0.113.1"),
        ("X-Forwarded-For", "evil, 203.0.113.1"),
    ] {
        let proxy = Setup::plain("\"builtin:echo\"").start();
        for _ in 0..10 {
            let mut client = Client::plain(proxy.address());
            client.send(handshake("/ws", &[(name, value)])).response();
        }
        let told = proxy.event("untrusted_proxy");
        assert!(
            told.text("detail").contains(&format!(" in {name} ")),
            "{told:?}"
        );
        assert!(!told.0.to_string().contains("203.0.113"), "{told:?}");
    }
}
