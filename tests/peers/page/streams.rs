//! More pages than there may be, and a proxy that restarts.

use serde_json::json;

use super::{Visit, opened, refused, rows, text};
use crate::harness::services::{admin, get, start};
use crate::harness::{Client, Proxy, Setup};

/// A reader of the stream, as a page is one.
fn stream(proxy: &Proxy) -> Client {
    let mut client = Client::plain(admin(proxy));
    let head = "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(client.send(head).response_head().status, 200);
    client
}

#[test]
fn the_ninth_page_says_so_and_still_has_the_data() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    refused(&proxy, "/nowhere", &[]);
    let streams: Vec<_> = (0..8).map(|_| stream(&proxy)).collect();
    let visit = Visit::start(
        &proxy,
        json!([{ "name": "ninth", "run": "notice", "crowded": true, "query": "?reason=*", "says": "as many viewers as it allows", "expected": ["503"] }]),
    );
    let seen = visit.end().detail("ninth").0;
    assert_eq!(seen["link"], "poll");
    assert_eq!(rows(&seen["records"])[0][1], "path_not_allowed Refused");
    assert_eq!(text(&seen["refused"]), "refused 1");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(admin(&proxy), path).0, 200, "{path}");
    }
    drop(streams);
    proxy.stop();
}

#[test]
fn a_restart_makes_the_page_stale_and_then_a_new_one() {
    let first = start(&Setup::plain("\"builtin:echo\""));
    let visit = Visit::start(
        &first,
        json!([{ "name": "restart", "expected": ["ERR_", "net::"] }]),
    );
    visit.at("restart", "open");
    let extra = format!(
        "probes: {{ address: 127.0.0.1:0 }}\nadmin: {{ address: {} }}\n",
        admin(&first)
    );
    first.stop();
    visit.at("restart", "stale");
    let setup = Setup {
        extra,
        ..Setup::plain("\"builtin:echo\"")
    };
    let second = setup.start_bound(setup.folder(), 3);
    let client = opened(&second, "/ws", &[]);
    let seen = visit.end().detail("restart").0;
    let notice = text(&seen["stale"]["notice"]);
    assert!(
        notice.starts_with("The proxy does not answer. Everything below is from"),
        "{notice}"
    );
    assert_eq!(seen["stale"]["filter"], "grayscale(1)");
    assert_eq!(seen["isStale"], false);
    assert_ne!(seen["before"], seen["after"]);
    assert_eq!(text(&seen["after"]).len(), 32);
    let record = second.event("closed");
    assert_eq!(record.text("reason"), "closed_by_operator");
    assert!(
        record.text("detail").contains("by after the restart"),
        "{record:?}"
    );
    drop(client);
    second.stop();
}
