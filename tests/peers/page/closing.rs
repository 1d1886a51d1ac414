//! One tunnel is closed from the page.

use serde_json::{Value, json};
use wsgate::reason::Reason;

use super::{Visit, fact, opened, text};
use crate::harness::frames::echoes;
use crate::harness::proxy::ORIGIN;
use crate::harness::services::{admin, start};
use crate::harness::{Line, Proxy, Setup, eventually};
use crate::tools::programs::{Client, Kind, Server};

/// A client that waits until somebody closes its tunnel.
#[track_caller]
fn waiting(proxy: &Proxy, kind: Kind, id: &str) -> Client {
    let count = proxy.events("opened");
    let options = json!({ "origin": ORIGIN, "headers": { "X-Request-ID": id }, "cases": ["text", "wait_close"] });
    let client = Client::start(kind, &format!("ws://{}/ws", proxy.address()), options);
    client.did("text");
    proxy.event_number("opened", count + 1);
    client
}

#[track_caller]
fn ended(proxy: &Proxy, id: &str) -> Line {
    proxy.wait(id, |lines| {
        let mut lines = lines.iter();
        lines
            .find(|line| line.text("event") == "closed" && line.text("request_id") == id)
            .cloned()
    })
}

#[test]
fn one_tunnel_is_closed_by_keyboard_or_mouse_and_the_record_has_the_name() {
    let server = Server::start(Kind::Python, json!({}));
    let proxy = start(&Setup::plain(&format!("\"{}\"", server.endpoint())));
    let mut kept = opened(&proxy, "/ws", &[("X-Request-ID", "kept")]);
    let case = |name: &str, id: &str, how: &str, more: Value| {
        let mut case =
            json!({ "name": name, "run": "close", "how": how, "query": format!("?id={id}") });
        for (key, value) in more.as_object().unwrap() {
            case[key] = value.clone();
        }
        case
    };
    let visit = Visit::start(
        &proxy,
        json!([
            case(
                "escape",
                "kept",
                "keyboard",
                json!({ "cancel": "Escape", "as": "nobody" })
            ),
            case(
                "cancel",
                "kept",
                "mouse",
                json!({ "cancel": "button", "as": "nobody" })
            ),
            case("keyboard", "one", "keyboard", json!({ "as": "Ann Müller" })),
            case("mouse", "two", "mouse", json!({ "as": "<b>Bob</b>" })),
        ]),
    );
    // A client does not wait for long.
    visit.at("keyboard", "begin");
    let one = waiting(&proxy, Kind::Node, "one");
    visit.at("mouse", "begin");
    let two = waiting(&proxy, Kind::Python, "two");
    let report = visit.end();
    for (client, id, case, name) in [
        (one, "one", "keyboard", "by Ann Müller, from 127.0.0.1:"),
        // Only letters, digits and a few marks of a name are kept.
        (two, "two", "mouse", "by bBobb, from 127.0.0.1:"),
    ] {
        assert_eq!(client.finish().close(), (1001, "closed_by_operator"));
        let record = ended(&proxy, id)
            .expect(Reason::ClosedByOperator)
            .with_detail(name);
        let seen = report.detail(case).0;
        let question = text(&seen["question"]);
        assert!(question.contains(record.text("client")), "{question}");
        assert!(question.contains("/ws"), "{question}");
        assert_eq!(
            seen["result"],
            "The proxy is closing the tunnel. Its record will say so."
        );
    }
    for case in ["escape", "cancel"] {
        assert_eq!(
            report.detail(case).text("focus"),
            "Close this tunnel",
            "{case}"
        );
    }
    echoes(&mut kept, "still here");
    assert_eq!(proxy.events("closed"), 2);
    drop(kept);
    proxy.stop();
}

#[test]
fn one_stream_of_a_connection_is_shown_and_closed_and_never_its_neighbours() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    let tunnel = |stream: u32| {
        json!({
            "conn": "c0", "stream_id": stream, "request_id": format!("c0-{stream}"), "client": "192.0.2.1",
            "route": "/ws", "opened_at": "2026-01-02T03:04:05.678Z", "age_ms": 60_000, "idle_ms": 0,
        })
    };
    // The connection broke, so all of its streams ended at the same time. All clients chose the same id.
    let record = |stream: u32, reason: &str, route: &str| {
        json!({
            "time": "2026-01-02T03:04:05.678Z", "level": "warn", "event": "closed", "reason": reason, "conn": "c0",
            "stream_id": stream, "request_id": "same", "stage": "tunnel", "by": "client", "client": "192.0.2.1",
            "route": route, "status": 200, "client_sees": 1006, "http_version": "2", "method": "CONNECT", "path": "/ws",
        })
    };
    let case = json!({
        "name": "streams", "run": "streams", "stream": 3, "record": "/seven", "expected": ["503"],
        "tunnels": [tunnel(1), tunnel(3), tunnel(5)],
        "records": [record(7, "client_reset", "/seven"), record(9, "client_reset", "/nine")],
        "closed": record(3, "closed_by_operator", "/ws"),
    });
    let seen = Visit::start(&proxy, json!([case])).end();
    let seen = seen.detail("streams").0;
    assert_eq!(seen["asked"], json!(["/close?conn=c0&stream_id=3"]));
    let question = text(&seen["question"]);
    assert!(question.contains("Only stream 3"), "{question}");
    assert_eq!(fact(&seen["tunnel"]["facts"], "HTTP/2 stream"), "3");
    let shown = text(&seen["tunnel"]["text"]);
    assert!(shown.contains("wsgate find --id c0-3"), "{shown}");
    let ended = seen["ended"].as_array().unwrap();
    assert_eq!(ended.len(), 1, "{seen:#}");
    assert!(text(&ended[0]).ends_with("closed_by_operator HTTP/2 stream 3"));
    let story = &seen["story"];
    assert_eq!(fact(&story["facts"], "HTTP/2 stream"), "7");
    assert_eq!(
        fact(&story["facts"], "The client sees"),
        "1006 (no Close frame)"
    );
    assert!(text(&story["text"]).contains("wsgate find --id c0-7"));
    let others: Vec<_> = seen["others"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    for (other, end) in others.iter().zip([
        "HTTP/2 stream 3",
        "client_reset HTTP/2 stream 9",
        "Open the tunnel HTTP/2 stream 1",
        "Open the tunnel HTTP/2 stream 5",
    ]) {
        assert!(other.ends_with(end), "{others:#?}");
    }
    assert_eq!(others.len(), 4, "{others:#?}");
    proxy.stop();
}

#[test]
fn nothing_can_be_closed_on_an_address_that_others_reach() {
    let setup = Setup {
        extra: "probes: { address: 127.0.0.1:0 }\nadmin: { address: 0.0.0.0:0 }\n".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let proxy = setup.start_bound(setup.folder(), 3);
    let mut client = opened(&proxy, "/ws", &[]);
    let base = format!("http://127.0.0.1:{}/", admin(&proxy).port());
    let seen = Visit::start(&proxy, json!([{ "name": "tunnel", "at": base }])).end();
    let seen = seen.detail("tunnel").0;
    assert_eq!(seen["buttons"], 0);
    assert!(
        text(&seen["text"]).contains("can’t be closed from here"),
        "{seen:#}"
    );
    echoes(&mut client, "still here");
    eventually("no end", || (proxy.events("closed") == 0).then_some(()));
    drop(client);
    proxy.stop();
}
