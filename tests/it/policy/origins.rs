//! The Origin and Referer vectors over the wire.

use std::fs;

use super::vectors;
use crate::harness::proxy::run;
use crate::harness::upstream::field;
use crate::harness::{Setup, handshake};
use crate::http::guard::{Changes, Guard};

const OWN: &str = "wxaaaaaaaaaaaaaaaa";
const SECOND: &str = "wxbbbbbbbbbbbbbbbb";
const FOREIGN: &str = "wxeeeeeeeeeeeeeeee";

/// `/ws` allows every kind of origin, the other routes one kind each.
fn guard() -> Guard {
    Guard::start(|endpoint| Setup {
        origins: "[https://app.example.com, \"https://*.mini.example.com\", \
                  https://xn--mnchen-3ya.example, \"weapp://wechat-game-runtime\", wechat]"
            .to_owned(),
        websocket: format!("wechat_app_ids: [{OWN}, {SECOND}]"),
        routes: format!(
            "  - path: /self\n    host: api.example.com\n    upstream: app\n    \
             websocket: {{ origins: [self] }}\n  \
             - path: /any\n    upstream: app\n    \
             websocket: {{ origins: [https://app.example.com], missing_origin: allow }}\n  \
             - path: /listed\n    upstream: app\n    \
             websocket: {{ origins: [https://servicewechat.com] }}\n  \
             - path: /preset\n    host: api.example.com\n    upstream: app\n    \
             websocket: {{ origins: [wechat], wechat_app_ids: [{OWN}] }}\n"
        ),
        ..Setup::tls(endpoint)
    })
}

/// A handshake with these Origin lines.
fn with_origins(path: &str, lines: &[&[u8]]) -> Vec<u8> {
    let mut head = handshake(path, &[("Origin", "")]).into_bytes();
    head.truncate(head.len() - 2);
    for line in lines {
        head.extend_from_slice(b"Origin: ");
        head.extend_from_slice(line);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
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
    let (own, evil): (&[u8], &[u8]) = (b"https://app.example.com", b"https://evil.com");
    #[rustfmt::skip]
    let table: &[(&str, &str, &[&[u8]], &str)] = &[
        ("O19", "/ws", &[], "origin_missing"),
        ("O21", "/ws", &[own, evil], "origin_multiple"),
        ("O21", "/ws", &[evil, own], "origin_multiple"),
        ("O21", "/ws", &[own, own], "origin_multiple"),
        ("O21", "/ws", &[b"", own], "origin_multiple"),
        // A route that admits requests without an Origin does not admit other Origins.
        ("O19", "/any", &[], "allow"),
        ("O20", "/any", &[b""], "origin_malformed"),
        ("O18", "/any", &[b"null"], "origin_null"),
        ("O21", "/any", &[own, evil], "origin_multiple"),
        ("O6", "/any", &[evil], "origin_not_allowed"),
    ];
    for (id, path, origins, expected) in table {
        let verdict = guard.verdict(with_origins(path, origins));
        assert_eq!(verdict, *expected, "{id} {path} {origins:?}");
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

/// O35: a hop that rewrites Host, or a client that sends a false one, changes nothing.
#[test]
fn self_is_the_routes_host_over_the_wire() {
    let mut guard = guard();
    #[rustfmt::skip]
    let table = [
        ("api.example.com", "https://api.example.com", "allow"),
        ("API.example.com", "https://API.example.com:443", "allow"),
        ("api.example.com:8443", "https://api.example.com:8443", "allow"),
        ("api.example.com:8443", "https://api.example.com", "allow"),
        ("api.example.com", "https://api.example.com:8443", "origin_not_allowed"),
        ("api.example.com", "http://api.example.com", "origin_not_allowed"),
        ("api.example.com", "https://evil.com", "origin_not_allowed"),
        ("evil.com", "https://evil.com", "host_not_allowed"),
        // A name of ours, but not this route's.
        ("localhost", "https://localhost", "path_not_allowed"),
    ];
    for (host, origin, expected) in table {
        let verdict = guard.verdict(handshake("/self", &[("Host", host), ("Origin", origin)]));
        assert_eq!(verdict, expected, "{host} {origin}");
    }
}

#[test]
fn a_referer_stands_in_for_an_origin_only_with_a_listed_app_id() {
    let mut guard = guard();
    let page = |id: &str| format!("https://servicewechat.com/{id}/0/page-frame.html");
    let (own, second, foreign) = (page(OWN), page(SECOND), page(FOREIGN));
    let longer = page(&format!("{OWN}B"));
    let evil_host = own.replace(".com/", ".com.evil/");
    let evil_query = format!("https://evil/?{own}");
    let plain = own.replace("https", "http");
    let no_slash = format!("https://servicewechat.com/{OWN}");
    let web = "https://servicewechat.com";
    let game = "weapp://wechat-game-runtime";
    let app = "https://app.example.com";
    #[rustfmt::skip]
    let table: &[(&str, &str, &[&str], &str)] = &[
        // path, Origin (empty: none), Referers, expected
        ("/ws", "", &[&own], "allow"),
        ("/ws", "", &[&second], "allow"),
        ("/ws", "", &[], "origin_missing"),
        ("/ws", "", &[&foreign], "referer_appid_mismatch"),
        ("/ws", "", &[&longer], "referer_appid_mismatch"),
        ("/ws", "", &[&evil_host], "origin_missing"),
        ("/ws", "", &[&evil_query], "origin_missing"),
        ("/ws", "", &[&plain], "origin_missing"),
        ("/ws", "", &[&no_slash], "origin_missing"),
        ("/ws", "", &[&own, &own], "origin_missing"),
        ("/ws", "", &[&own, &foreign], "referer_appid_mismatch"),
        ("/ws", web, &[&own], "allow"),
        ("/ws", web, &[&foreign], "referer_appid_mismatch"),
        ("/ws", web, &[&foreign, &own], "referer_appid_mismatch"),
        ("/ws", game, &[&foreign], "referer_appid_mismatch"),
        ("/ws", web, &["https://evil.example/x"], "referer_appid_mismatch"),
        ("/ws", web, &["https://servicewechat.com/"], "referer_appid_mismatch"),
        ("/ws", web, &[&no_slash], "referer_appid_mismatch"),
        ("/ws", web, &[&evil_host], "referer_appid_mismatch"),
        ("/ws", web, &[&own, &own], "referer_appid_mismatch"),
        ("/ws", web, &[], "allow"),
        ("/ws", game, &["https://evil.example/x"], "referer_appid_mismatch"),
        ("/ws", game, &[&own, &own], "referer_appid_mismatch"),
        ("/ws", game, &[], "allow"),
        ("/preset", web, &["https://evil.example/x"], "referer_appid_mismatch"),
        ("/preset", "https://api.example.com", &["https://evil.example/x"], "allow"),
        ("/listed", web, &["https://evil.example/x"], "allow"),
        ("/ws", app, &[&foreign], "allow"),
        ("/ws", "null", &[&own], "origin_null"),
        ("/ws", "https://evil.com", &[&own], "origin_not_allowed"),
        ("/preset", "", &[&own], "allow"),
        ("/preset", "", &[&second], "referer_appid_mismatch"),
        ("/preset", app, &[&own], "origin_not_allowed"),
        // Older iOS clients send the origin of the URL that they connect to.
        ("/preset", "https://api.example.com", &[&own], "allow"),
        ("/preset", "https://localhost", &[&own], "origin_not_allowed"),
        ("/listed", web, &[&foreign], "allow"),
        ("/listed", "", &[&own], "origin_missing"),
    ];
    for (path, origin, referers, expected) in table {
        let mut changes = vec![("Origin", *origin)];
        changes.extend(referers.iter().map(|referer| ("Referer", *referer)));
        match guard.ask(handshake(path, &changes)) {
            Ok(admitted) => {
                assert_eq!("allow", *expected, "{path} {origin} {referers:?}");
                assert_eq!(field(&admitted.head, "referer"), referers.first().copied());
                let id = referers
                    .first()
                    .and_then(|referer| referer.split('/').nth(3));
                let told = admitted.opened.text("referer_app_id");

                let id = id.filter(|_| {
                    referers
                        .iter()
                        .all(|referer| referer.starts_with("https://servicewechat.com/"))
                });
                assert_eq!(told, id.unwrap_or_default());
                let is_noted = admitted.opened.notes().contains(&"wechat_referer_missing");
                let is_unnamed = [web, game].contains(origin) && referers.is_empty();
                assert_eq!(is_noted, is_unnamed, "{path} {origin} {referers:?}");
            }
            Err(refused) => {
                let found = refused.line.text("reason");
                assert_eq!(found, *expected, "{path} {origin} {referers:?}");
            }
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
