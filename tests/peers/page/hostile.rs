//! Text of peers stays text.

use serde_json::{Value, json};

use super::{Visit, opened, refused, remembered, text};
use crate::harness::frames::{CLOSE, TEXT, closing, masked, read};
use crate::harness::services::start;
use crate::harness::{Line, Setup};
use crate::tools::programs::{Kind, Server};

/// What a browser would run or load if it were markup.
const MARKUP: [&str; 8] = [
    "<img src=x onerror=window.pwned=1>",
    "\"><svg onload=window.pwned=1>",
    "javascript:window.pwned=1",
    "</script><script>window.pwned=1</script>",
    "'-alert(1)-'",
    "{{constructor.constructor('alert(1)')()}}",
    "__proto__",
    "<iframe srcdoc='<script>parent.pwned=1</script>'>",
];

/// Text that turns the rest around, or speaks to a terminal.
const CONTROLS: &str = "abc\u{202e}fed\u{2066}\u{200b}\u{85}";

#[test]
fn what_peers_send_never_becomes_markup_and_never_breaks_the_layout() {
    let server = Server::start(Kind::Node, json!({}));
    let proxy = start(&Setup {
        websocket: "subprotocols: [chat]".to_owned(),
        ..Setup::plain(&format!("\"{}\"", server.endpoint()))
    });
    let long = "W".repeat(7 * 1024);
    let mut count = 0;
    let texts = MARKUP.into_iter().chain([CONTROLS, &long]);
    for (number, hostile) in texts.enumerate() {
        let id = format!("{number}-__proto__");
        let fields = [
            ("User-Agent", hostile),
            ("Origin", hostile),
            ("X-Request-ID", &id),
            ("Sec-WebSocket-Protocol", "__proto__"),
        ];
        let path = match hostile.is_ascii() && !hostile.contains(['<', '{', '"']) {
            true => format!("/{hostile}"),
            false => "/ws".to_owned(),
        };
        refused(&proxy, &path, &fields);
        count += 1;
    }
    for hostile in [MARKUP[0], MARKUP[6], CONTROLS] {
        refused(&proxy, "/nowhere", &[("Host", hostile)]);
        refused(&proxy, &format!("/{hostile}"), &[]);
        count += 2;
    }
    // Reasons of a Close from both sides.
    let farewell = "<img src=x onerror=window.pwned=1>\u{202e}";
    let mut client = opened(&proxy, "/ws", &[("User-Agent", MARKUP[1])]);
    client.send(masked(CLOSE, closing(4000, farewell)));
    assert_eq!(read(&mut client).unwrap().0, CLOSE);
    client.rest();
    proxy.event_number("closed", 1);
    let mut client = opened(&proxy, "/ws", &[("User-Agent", MARKUP[3])]);
    client.send(masked(TEXT, format!("close:4001:{farewell}")));
    let (first, payload) = read(&mut client).unwrap();
    assert_eq!(first, CLOSE);
    client.send(masked(CLOSE, payload));
    client.rest();
    proxy.event_number("closed", 2);
    count += 2;
    // One that stays open.
    let open = opened(
        &proxy,
        "/ws?%3Cimg+src=x+onerror=window.pwned=1%3E",
        &[("User-Agent", MARKUP[0]), ("X-Request-ID", "open")],
    );
    remembered(&proxy, count);

    let phone = json!({ "width": 390, "height": 844, "phone": true });
    let strange = "?lang=%22%3E%3Csvg+onload=window.pwned=1%3E&route=%3Cimg+src=x+onerror=window.pwned=1%3E&client=constructor&id=javascript:window.pwned=1";
    let visit = Visit::start(
        &proxy,
        json!([
            { "name": "wide", "run": "records", "query": "?reason=*&all=1", "count": count },
            { "name": "narrow", "run": "records", "query": "?reason=*&all=1", "count": count, "most": 5, "page": phone },
            { "name": "tunnel", "query": "?id=open" },
            { "name": "address", "run": "strange", "query": strange },
            { "name": "wrong", "run": "notice", "query": "?reason=%3Cimg+src=x+onerror=window.pwned=1%3E&__proto__=1", "says": "<img src=x", "expected": ["400"] },
        ]),
    );
    let report = visit.end();
    let mut records = proxy.lines();
    records.retain(|line| ["refused", "closed"].contains(&line.text("event")));
    records.reverse();
    assert_eq!(records.len() as u64, count);
    let seen = report.detail("wide").0;
    let stories = seen["stories"].as_array().unwrap();
    assert_eq!(stories.len() as u64, count);
    for (story, record) in stories.iter().zip(&records) {
        expect_text(story, record);
    }
    let narrow = report.detail("narrow").0;
    let narrow = narrow["stories"].as_array().unwrap();
    for story in stories.iter().chain(narrow) {
        expect_no_markup(story);
    }
    for case in ["wide", "narrow", "tunnel", "address", "wrong"] {
        expect_no_markup(&report.detail(case).0);
    }
    let tunnel = report.detail("tunnel").0;
    assert!(text(&tunnel["text"]).contains(MARKUP[0]), "{tunnel:#}");
    let address = report.detail("address").0;
    let says = text(&address["says"]);
    for part in [
        "<img src=x onerror=window.pwned=1>",
        "constructor",
        "javascript:window.pwned=1",
    ] {
        assert!(says.contains(part), "no {part:?} in {says}");
    }
    drop(open);
    proxy.stop();
}

/// Checks what is in the page while something is open, and that nothing is wider than the screen.
#[track_caller]
fn expect_no_markup(seen: &Value) {
    assert_eq!(seen["bad"], json!([]), "{seen:#}");
    assert_eq!(seen["ran"], false, "{seen:#}");
    assert_eq!(seen["polluted"], json!([]), "{seen:#}");
    assert_eq!(seen["wide"], false, "{seen:#}");
}

/// Checks that all texts of a record are in its story, as text.
#[track_caller]
fn expect_text(story: &Value, record: &Line) {
    let all = text(&story["text"]);
    for name in [
        "host",
        "path",
        "origin",
        "user_agent",
        "detail",
        "close_reason_client",
        "close_reason_upstream",
    ] {
        let value = record.text(name);
        assert!(all.contains(value), "{name} {value:?} is missing in {all}");
    }
    let raw: Value = serde_json::from_str(text(&story["raw"])).unwrap();
    assert_eq!(raw, record.0);
    let unseen = |letter: char| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}' | '\u{1b}' | '\u{85}');
    assert!(!all.contains(unseen), "{all:?}");
}
