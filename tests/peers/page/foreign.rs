//! Other pages can neither read nor change anything.

use serde_json::json;

use super::{Visit, opened, status, text, token};
use crate::harness::Setup;
use crate::harness::frames::echoes;
use crate::harness::services::{admin, get, start};

#[test]
fn other_pages_can_neither_read_nor_close_nor_drain() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    let mut client = opened(&proxy, "/ws", &[]);
    let conn = status(&proxy, "")["tunnels"]["shown"][0]["conn"].clone();
    // The same address with another port is another Origin, but the same site.
    let case = |name: &str, origin: &str| {
        json!({
            "name": name, "run": "other", "origin": origin, "token": token(&proxy), "conn": conn,
            "expected": ["CORS", "403", "ERR_FAILED", "ERR_BLOCKED_BY_RESPONSE", "Refused to", "violates", "MIME type", "X-Frame-Options", "Cross-Origin", "event stream", "EventSource"],
        })
    };
    let visit = Visit::start(
        &proxy,
        json!([
            case("same site", "127.0.0.1"),
            case("cross site", "localhost"),
            { "name": "link", "origin": "localhost", "expected": ["403", "favicon.ico"] },
        ]),
    );
    let report = visit.end();
    for name in ["same site", "cross site"] {
        let done = report.detail(name).0;
        let done = done.as_object().unwrap();
        assert_eq!(done.len(), 26, "{done:#?}");
        for (attempt, result) in done {
            let result = text(result);
            assert!(!result.starts_with("read"), "{name}: {attempt}: {result}");
            if attempt.starts_with("script")
                || attempt.starts_with("style")
                || attempt.starts_with("image")
            {
                assert_eq!(result, "failed", "{name}: {attempt}");
            }
        }
        // These were really sent and answered.
        assert_eq!(done["form close"], "answered", "{done:#?}");
        assert_eq!(done["window"], "not readable", "{done:#?}");
    }
    echoes(&mut client, "still here");
    assert_eq!(proxy.events("closed"), 0);
    assert_eq!(proxy.events("draining"), 0);
    assert_eq!(status(&proxy, "")["phase"], "ready");
    assert_eq!(status(&proxy, "")["streams"]["open"], 0);
    let link = report.detail("link").0;
    assert!(
        text(&link["text"]).contains("another page leads here"),
        "{link:#}"
    );
    drop(client);
    proxy.stop();
}

#[test]
fn a_name_that_leads_here_is_refused_unless_it_is_configured() {
    let setup = Setup {
        extra: "probes: { address: 127.0.0.1:0 }\nadmin: { address: 127.0.0.1:0, hosts: [named.example] }\n".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let proxy = setup.start_bound(setup.folder(), 3);
    let client = opened(&proxy, "/ws", &[("X-Request-ID", "one")]);
    let port = admin(&proxy).port();
    let visit = Visit::with(
        &proxy,
        json!({
            "rules": "MAP *.example 127.0.0.1",
            "cases": [
                { "name": "rebound", "run": "text", "url": format!("http://rebound.example:{port}/"), "expected": ["403"] },
                { "name": "rebound data", "run": "text", "url": format!("http://rebound.example:{port}/status.json"), "expected": ["403"] },
                { "name": "named", "run": "close", "how": "mouse", "as": "Ann", "at": format!("http://named.example:{port}/"), "query": "?id=one", "expected": ["Cross-Origin-Opener-Policy"] },
            ],
        }),
    );
    let report = visit.end();
    for case in ["rebound", "rebound data"] {
        let seen = report.detail(case);
        assert!(
            seen.text("text")
                .starts_with("refused: the Host is not an IP address"),
            "{seen:?}"
        );
    }
    assert!(report.detail("named").text("result").contains("is closing"));
    assert_eq!(proxy.event("closed").text("reason"), "closed_by_operator");
    assert_eq!(get(admin(&proxy), "/healthz").0, 200);
    drop(client);
    proxy.stop();
}
