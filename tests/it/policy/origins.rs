//! The Origin and Referer vectors over the wire.

use std::fmt::Write;
use std::fs;

use super::vectors;
use crate::harness::proxy::run;
use crate::harness::upstream::field;
use crate::harness::{Setup, handshake};
use crate::http::guard::{Changes, Guard};

/// `/ws` allows every kind of origin. The other routes are for `self`, for requests without an Origin, and for WeChat.
fn guard() -> Guard {
    let mut routes = "  - path: /self\n    host: api.example.com\n    upstream: app\n    \
                      websocket: { origins: [self] }\n  \
                      - path: /any\n    upstream: app\n    \
                      websocket: { origins: [https://app.example.com], missing_origin: allow }\n"
        .to_owned();
    for route in vectors::WECHAT_ROUTES {
        let (path, origins, app_ids) = (route.path, route.origins, route.app_ids);
        writeln!(routes, "  - path: {path}\n    upstream: app").unwrap();
        if let Some(host) = route.host {
            writeln!(routes, "    host: {host}").unwrap();
        }
        let rules = format!("{{ origins: {origins:?}, wechat_app_ids: {app_ids:?} }}");
        writeln!(routes, "    websocket: {rules}").unwrap();
    }
    Guard::start(|endpoint| Setup {
        origins: "[https://app.example.com, \"https://*.mini.example.com\", \
                  https://xn--mnchen-3ya.example, \"weapp://wechat-game-runtime\", wechat]"
            .to_owned(),
        websocket: "wechat_app_ids: [wxaaaaaaaaaaaaaaaa]".to_owned(),
        routes,
        ..Setup::tls(endpoint)
    })
}

/// A handshake with these field lines, which may be empty, and no other Origin.
fn with_lines<'a>(path: &str, lines: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut head = handshake(path, &[("Origin", "")]).into_bytes();
    head.truncate(head.len() - 2);
    for (name, value) in lines {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// A handshake with these Origin lines.
fn with_origins(path: &str, lines: &[&[u8]]) -> Vec<u8> {
    with_lines(path, lines.iter().map(|line| ("Origin", *line)))
}

#[test]
fn origins_are_compared_as_tuples_over_the_wire() {
    let mut guard = guard();
    for vector in vectors::ORIGINS {
        let (id, origin, expected) = (vector.id, vector.value, vector.wire);
        let shown = origin.escape_ascii();
        match guard.ask(with_origins("/ws", &[origin])) {
            Ok(admitted) => {
                assert_eq!("allow", expected, "{id} {shown}");
                let received = field(&admitted.head, "origin").unwrap();
                assert_eq!(received.as_bytes(), origin.trim_ascii(), "{id}");
                assert!(admitted.head.starts_with("GET /ws HTTP/1.1\r\n"), "{id}");
            }
            Err(refused) => {
                assert_eq!(refused.line.text("reason"), expected, "{id} {shown}");
            }
        }
    }
}

#[test]
fn exactly_one_origin_field_counts_over_the_wire() {
    let mut guard = guard();
    for (path, table) in [
        ("/ws", vectors::FIELDS),
        ("/any", vectors::FIELDS_IF_NONE_IS_ALLOWED),
    ] {
        for (id, origins, expected) in table {
            let verdict = guard.verdict(with_origins(path, origins));
            assert_eq!(verdict, *expected, "{id} {path} {origins:?}");
        }
    }
    #[rustfmt::skip]
    let table: &[(&str, Changes<'_>, &str)] = &[
        ("O33", &[("Origin", ""), ("Sec-WebSocket-Origin", "https://app.example.com")], "origin_missing"),
        ("O36", &[("Connection", "Upgrade, Origin")], "http_connection_protected"),
        ("O36", &[("Connection", "Upgrade, https://app.example.com")], "allow"),
        ("O21", &[("Origin", "https://evil.com"), ("origin", "https://app.example.com")], "origin_multiple"),
        ("O1", &[("oRIGIN", "https://app.example.com")], "allow"),
    ];
    for (id, changes, expected) in table {
        let verdict = guard.verdict(handshake("/ws", changes));
        assert_eq!(verdict, *expected, "{id} {changes:?}");
    }
}

#[test]
fn self_is_the_routes_host_over_the_wire() {
    let mut guard = guard();
    // A name of ours, but not this route's.
    let other = ("localhost", "https://localhost", "path_not_allowed");
    for (host, origin, expected) in vectors::SELF.iter().chain([&other]) {
        let verdict = guard.verdict(handshake("/self", &[("Host", host), ("Origin", origin)]));
        assert_eq!(verdict, *expected, "{host} {origin}");
    }
}

#[test]
fn a_referer_stands_in_for_an_origin_only_with_a_listed_app_id() {
    let mut guard = guard();
    for (id, route, origin, referers, expected) in vectors::WECHAT {
        let shown = format!("{id} {} {origin:?} {referers:?}", route.path);
        let origins = origin.iter().map(|origin| ("Origin", origin.as_bytes()));
        let fields = referers
            .iter()
            .map(|referer| ("Referer", referer.as_bytes()));
        match guard.ask(with_lines(route.path, origins.chain(fields))) {
            Ok(admitted) => {
                assert_eq!("allow", *expected, "{shown}");
                assert_eq!(field(&admitted.head, "referer"), referers.first().copied());
                let app_id = match referers {
                    [referer] => referer.strip_prefix("https://servicewechat.com/"),
                    _ => None,
                };
                let app_id = app_id.and_then(|page| page.split('/').next());
                let told = admitted.opened.text("referer_app_id");
                assert_eq!(told, app_id.unwrap_or_default(), "{shown}");
                let is_noted = admitted.opened.notes().contains(&"wechat_referer_missing");
                let is_of_wechat = origin.is_some_and(|origin| origin.contains("wechat"));
                let is_unnamed = is_of_wechat && referers.is_empty();
                assert_eq!(is_noted, is_unnamed, "{shown}");
            }
            Err(refused) => assert_eq!(refused.line.text("reason"), *expected, "{shown}"),
        }
    }
}

/// O34 and O18 in the configuration.
#[test]
fn an_origin_that_admits_everybody_is_an_error_at_the_start() {
    for origin in [
        "\"*\"",
        "\"null\"",
        "\"https://*\"",
        "\"https://*.com\"",
        "https://app.example.com/",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.yaml");
        let yaml = format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\n\
             routes: [{{ path: /ws, upstream: app, websocket: {{ origins: [{origin}] }} }}]\n\
             upstreams: {{ app: {{ endpoints: [http://127.0.0.1:1] }} }}\n"
        );
        fs::write(&file, yaml).unwrap();
        for command in [&["check"][..], &["run"]] {
            let arguments = [command, &["--config", file.to_str().unwrap()]].concat();
            let (code, out, err) = run(&arguments, folder.path());
            assert_ne!(code, 0, "{origin}");
            let said = out + &err;
            assert!(said.contains("routes[0].websocket.origins[0]"), "{said}");
        }
    }
}
