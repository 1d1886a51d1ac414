//! The Origin and Referer vectors over the wire. Differences to the tables of the unit tests come from HTTP, which
//! trims white space around a value and refuses control characters in it.

use std::fs;

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
    #[rustfmt::skip]
    let table: &[(&str, &[u8], &str)] = &[
        ("O1", b"https://app.example.com", "allow"),
        ("O2", b"https://app.example.com:443", "allow"),
        ("O3", b"HTTPS://APP.Example.COM", "allow"),
        ("O4", b"http://app.example.com", "origin_not_allowed"),
        ("O4", b"wss://app.example.com", "origin_not_allowed"),
        ("O5", b"https://app.example.com:8443", "origin_not_allowed"),
        ("O6", b"https://app.example.com.evil.com", "origin_not_allowed"),
        ("O7", b"https://evilapp.example.com", "origin_not_allowed"),
        ("O7", b"https://evilexample.com", "origin_not_allowed"),
        ("O8", b"https://appXexample.com", "origin_not_allowed"),
        ("O9", b"https://example.com", "origin_not_allowed"),
        ("O9", b"https://sub.app.example.com", "origin_not_allowed"),
        ("O10", b"https://a.mini.example.com", "allow"),
        ("O11", b"https://mini.example.com", "origin_not_allowed"),
        ("O11", b"https://.mini.example.com", "origin_malformed"),
        ("O12", b"https://a.b.mini.example.com", "origin_not_allowed"),
        ("O13", b"https://evil.com/.mini.example.com", "origin_malformed"),
        ("O13", b"https://evil.com?.mini.example.com", "origin_malformed"),
        ("O13", b"https://evil.com#.mini.example.com", "origin_malformed"),
        ("O14", b"https://evil.com\\.mini.example.com", "origin_malformed"),
        ("O14", b"https://evil.com`.mini.example.com", "origin_malformed"),
        ("O14", b"https://evil.com_.mini.example.com", "origin_not_allowed"),
        ("O14", b"https://evil.com%60.mini.example.com", "origin_malformed"),
        ("O14", b"https://a{.mini.example.com", "origin_malformed"),
        ("O15", b"https://app.example.com@evil.com", "origin_malformed"),
        ("O15", b"https://user:pw@app.example.com", "origin_malformed"),
        ("O16", b"https://app.example.com/", "origin_malformed"),
        ("O16", b"https://app.example.com/x", "origin_malformed"),
        ("O17", b"https://app.example.com.", "origin_not_allowed"),
        ("O18", b"null", "origin_null"),
        ("O18", b"NULL", "origin_malformed"),
        ("O18", b"\"null\"", "origin_malformed"),
        ("O20", b"", "origin_malformed"),
        ("O20", b"   ", "origin_malformed"),
        ("O20", b"\t", "origin_malformed"),
        ("O22", b"https://app.example.com https://evil.com", "origin_malformed"),
        ("O22", b"https://app.example.com, https://evil.com", "origin_malformed"),
        ("O22", b"null, https://app.example.com", "origin_malformed"),
        ("O23", "https://münchen.example".as_bytes(), "origin_malformed"),
        ("O23", b"https://m\xfcnchen.example", "origin_malformed"),
        ("O24", b"https://xn--mnchen-3ya.example", "allow"),
        ("O25", "https://\u{430}pp.example.com".as_bytes(), "origin_malformed"),
        ("O25", b"https://xn--pp-6kc.example.com", "origin_not_allowed"),
        ("O26", b"https://app%2eexample.com", "origin_malformed"),
        ("O26", b"https://app.example.com%00.evil.com", "origin_malformed"),
        // White space around a value does not belong to it (RFC 9112 section 5.1).
        ("O26", b"https://app.example.com\t", "allow"),
        ("O26", b"  https://app.example.com  ", "allow"),
        ("O26", b"https://app.example.com\t.evil.com", "origin_malformed"),
        ("O26", b"https://app.example.com\0", "http_malformed"),
        ("O26", b"https://app.example.com\x0b", "http_malformed"),
        ("O26", b"https://app.example.com\r.evil.com", "http_malformed"),
        ("O27", b"https://[::1]", "origin_not_allowed"),
        ("O27", b"https://127.0.0.1", "origin_not_allowed"),
        ("O27", b"https://2130706433", "origin_not_allowed"),
        ("O27", b"http://localhost", "origin_not_allowed"),
        ("O28", b"weapp://wechat-game-runtime", "allow"),
        ("O29", b"weapp://wechat-game-runtime.evil", "origin_not_allowed"),
        ("O29", b"WEAPP://wechat-game-runtime", "allow"),
        ("O29", b"weapp://WECHAT-game-runtime", "origin_not_allowed"),
        ("O29", b"weapp://x", "origin_not_allowed"),
        ("O30", b"https://servicewechat.com", "allow"),
        ("O31", b"https://servicewechat.com.evil.com", "origin_not_allowed"),
        ("O31", b"http://servicewechat.com", "origin_not_allowed"),
        ("O32", b"file://", "origin_not_allowed"),
        ("O32", b"chrome-extension://abc", "origin_not_allowed"),
        ("O32", b"capacitor://localhost", "origin_not_allowed"),
        ("O32", b"data:", "origin_not_allowed"),
        ("O34", b"*", "origin_malformed"),
        ("O34", b"https://*.mini.example.com", "origin_malformed"),
    ];
    for (id, origin, expected) in table {
        let shown = origin.escape_ascii();
        match guard.ask(with_origins("/ws", &[origin])) {
            Ok(admitted) => {
                assert_eq!("allow", *expected, "{id} {shown}");
                let received = field(&admitted.head, "origin").unwrap();
                assert_eq!(received.as_bytes(), origin.trim_ascii(), "{id}");
                assert!(admitted.head.starts_with("GET /ws HTTP/1.1\r\n"), "{id}");
            }
            Err(refused) => {
                assert_eq!(refused.line.text("reason"), *expected, "{id} {shown}");
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
