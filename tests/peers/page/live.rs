//! Records that come while somebody reads, and the story of each.

use serde_json::{Value, json};

use super::{Visit, Ways, fact, opened, refused, remembered, rows, text};
use crate::harness::frames::{CLOSE, closing, echoes, masked, read};
use crate::harness::services::start;
use crate::harness::upstream::Nobody;
use crate::harness::{Line, Proxy, Setup};

/// The terminal records, the newest first, as the page lists them.
fn newest_first(proxy: &Proxy) -> Vec<Line> {
    let mut lines = proxy.lines();
    lines.retain(|line| ["refused", "closed"].contains(&line.text("event")));
    lines.reverse();
    lines
}

#[test]
fn new_records_appear_at_once_but_nothing_moves_while_one_is_read() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    refused(&proxy, "/one", &[]);
    refused(&proxy, "/two", &[]);
    remembered(&proxy, 2);
    let visit = Visit::start(
        &proxy,
        json!([{ "name": "live", "query": "?reason=*", "before": 2 }]),
    );
    visit.at("live", "open");
    let third = refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    visit.at("live", "reading");
    refused(&proxy, "/four", &[]);
    refused(&proxy, "/five", &[]);
    let seen = visit.end().detail("live").0;
    assert!(text(&seen["first"][0]).ends_with(&third.text("time")[11..19]));
    assert_eq!(text(&seen["first"][1]), "origin_not_allowed Refused");
    assert_eq!(seen["held"].as_array().unwrap().len(), 3);
    assert_eq!(seen["held"], seen["still"], "the list moves");
    assert_eq!(seen["focus"], true);
    assert_eq!(seen["stays"], true, "the page was loaded again");
    let reasons: Vec<_> = rows(&seen["records"])
        .into_iter()
        .map(|row| row[1].clone())
        .collect();
    let path = "path_not_allowed Refused";
    assert_eq!(
        reasons,
        [path, path, "origin_not_allowed Refused", path, path]
    );
    proxy.stop();
}

/// Compares a story with its record.
#[track_caller]
fn expect_story(story: &Value, record: &Line) {
    let reason = record.text("reason");
    assert_eq!(story["title"], reason);
    let raw: Value = serde_json::from_str(text(&story["raw"])).unwrap();
    assert_eq!(raw, record.0);
    let all = text(&story["text"]);
    for name in [
        "client",
        "listener",
        "host",
        "path",
        "origin",
        "user_agent",
        "route",
        "upstream",
        "detail",
        "close_reason_client",
        "close_reason_upstream",
        "conn",
    ] {
        let value = record.text(name);
        assert!(
            all.contains(value),
            "{name} {value:?} is missing in the story of {reason}: {all}"
        );
    }
    let facts = &story["facts"];
    assert_eq!(fact(facts, "Reason"), reason);
    assert_eq!(fact(facts, "Caused by"), record.text("by"));
    assert_eq!(
        fact(facts, "HTTP status"),
        record.number("status").unwrap().to_string()
    );
    let hint = record.text("hint").replace('`', "");
    assert_eq!(text(&story["todo"])[1..], format!("{}.", &hint[1..]));
    assert_eq!(story["todoFirst"], true, "what to do comes late");
    let steps: Vec<_> = story["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    if record.text("event") == "closed" {
        let began = match record.text("first_close") {
            "" => "Nobody sent a Close frame.".to_owned(),
            by => format!("The Close of the {by} came first."),
        };
        assert_eq!(steps[steps.len() - 2..], [began.as_str(), "End"]);
        assert!(
            steps.contains(&"Opened") && steps.contains(&"Traffic"),
            "{steps:?}"
        );
        for (name, direction) in [
            ("Client to upstream", "client_to_upstream"),
            ("Upstream to client", "upstream_to_client"),
        ] {
            let [bytes, messages] = ["bytes", "messages"]
                .map(|what| record.number(&format!("{what}_{direction}")).unwrap());
            let shown = fact(facts, name);
            assert!(
                shown.starts_with(&format!("{bytes} B, {messages} message")),
                "{shown}"
            );
        }
    } else {
        assert_eq!(steps.last(), Some(&"Refused"));
        assert!(!steps.contains(&"Opened"), "{steps:?}");
    }
    let attempts = record.0["attempts"].as_array();
    let attempts = attempts.into_iter().flatten();
    let shown = story["attempts"].as_array().unwrap();
    assert_eq!(shown.len(), attempts.clone().count());
    for (attempt, shown) in attempts.zip(shown) {
        for part in ["endpoint", "outcome"] {
            assert!(
                text(shown).contains(text(&attempt[part])),
                "{part}: {shown}"
            );
        }
    }
}

#[test]
fn a_record_opens_by_keyboard_and_has_the_whole_story() {
    let nobody = Nobody::new();
    let proxy = start(
        &Ways::none()
            .and("/down", "down", &nobody.url())
            .before("builtin:echo"),
    );
    refused(&proxy, "/down", &[("User-Agent", "a phone")]);
    refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    for (number, farewell) in [
        (1, Some(closing(4000, "the user left"))),
        (2, Some(closing(1000, ""))),
        (3, None),
    ] {
        let mut client = opened(&proxy, "/ws", &[("User-Agent", "a browser")]);
        echoes(&mut client, "hello");
        if let Some(farewell) = farewell {
            client.send(masked(CLOSE, farewell));
            assert_eq!(read(&mut client).unwrap().0, CLOSE);
            client.rest();
        }
        drop(client);
        proxy.event_number("closed", number);
    }
    remembered(&proxy, 5);
    let records = newest_first(&proxy);
    let visit = Visit::start(
        &proxy,
        json!([{ "name": "records", "query": "?reason=*&all=1", "count": records.len() }]),
    );
    let seen = visit.end().detail("records").0;
    for (story, record) in seen["stories"].as_array().unwrap().iter().zip(&records) {
        expect_story(story, record);
    }
    proxy.stop();
}
