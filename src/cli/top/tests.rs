//! Frames, for documents of all kinds.

use std::time::Duration;

use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::cells::is_plain;
use super::document::Document;
use super::keys::Action;
use super::known::{Failure, Known};
use super::paint::Paint;
use super::snapshot;
use super::ui::{Tab, Ui};
use super::view::draw;
use super::wanted::Wanted;
use crate::text::Language;

/// A document of a proxy whose upstream is down.
fn bad() -> Value {
    let problem = json!({
        "severity": "bad", "code": "upstream_refused", "since": "2026-11-30T17:21:13.000Z",
        "last": "2026-11-30T17:29:59.000Z", "count": 214, "recent": 180, "share": 93, "of": "handshakes",
        "by": "upstream", "different_clients": 87, "at_least": true,
        "clients": [{ "value": "203.0.113.7", "count": 12, "approximate": true }],
        "routes": [{ "value": "/ws", "count": 214 }], "client_sees": [{ "value": "1006", "count": 214 }],
        "cause": "the upstream refused", "hint": "start the upstream", "conn": "c1",
    });
    let tunnel = |n: u32| {
        json!({
            "conn": format!("t{n}"), "client": format!("203.0.113.{n}"), "route": "/voice/中文", "age_ms": 61_000 * n,
            "idle_ms": 1000 * n, "bytes_client_to_upstream": 2048 * n, "generation": 3,
            "endpoint": "http://127.0.0.1:8080", "user_agent": "Mozilla/5.0",
        })
    };
    let record = |n: u32| {
        json!({
            "time": format!("2026-11-30T17:29:{:02}.000Z", 59 - n), "event": "closed", "level": "warn",
            "conn": format!("c{n}"), "by": "upstream", "reason": "upstream_reset", "client": "198.51.100.9",
            "route": "/ws", "client_sees": 1014, "detail": "reset after a ping", "hint": "look at its log",
            "suspect": { "hop": "alb", "timer": "idle_timeout" }, "tls_ms": 12, "head_ms": 3, "policy_ms": 0,
            "connect_ms": 1001, "handshake_ms": 4, "lasted_ms": 1_203_000, "idle_ms": 60_012,
            "attempts": [{ "endpoint": "http://127.0.0.1:8081", "outcome": "upstream_connect_timeout", "ms": 1000 },
                { "endpoint": "http://127.0.0.1:8080", "outcome": "connected", "ms": 1 }],
            "first_close": "client", "close_code_client": 4001, "close_reason_client": "bye",
            "notes": [{ "code": "endpoint_skipped", "detail": "8081" }, { "code": "of_tomorrow" }],
            "ended_at": "2026-11-30T17:29:00.000Z", "close_wait_ms": 7, "field_of_tomorrow": { "a": 1 },
        })
    };
    json!({
        "schema": 1, "time": "2026-11-30T17:30:00.123Z", "version": "0.1.0", "instance": "voice-7f9c",
        "started": "2026-11-30T08:00:00.000Z", "phase": "ready", "state": "bad", "since": "2026-11-30T17:21:13.000Z",
        "problems": [problem, { "severity": "look", "code": "trouble_of_tomorrow", "subject": "x" }],
        "configuration": { "file": "/etc/wsgate/proxy.yaml", "generation": 3, "warnings": ["proxy.yaml:12:5: long"],
            "refused": { "event": "reload_refused", "problems": ["proxy.yaml:1:1: unknown key"] } },
        "connections": { "open": 412, "limit": 8000 },
        "minutes": (0..60).map(|n| json!({ "opened": n, "refused": { "upstream_refused": n / 2 },
            "ended": { "client_close": 2, "upstream_reset": 1 }, "client_sees": { "1000": 2 } })).collect::<Vec<_>>(),
        "totals": { "opened": 1770, "refused": { "upstream_refused": 870 }, "ended": { "client_close": 120 },
            "client_sees": { "1000": 120 } },
        "tunnels": { "open": 400, "matching": 400, "shown": (1..50).map(tunnel).collect::<Vec<_>>() },
        "recent": { "remembered": 300, "matching": 40, "records": (1..40).map(record).collect::<Vec<_>>() },
        "upstreams": [{ "upstream": "app", "endpoint": "http://127.0.0.1:8080", "is_healthy": false }],
        "certificates": [{ "file": "tls.crt", "expires": "2026-12-06T00:00:00.000Z", "days_left": 6 }],
        "routes": ["/ws", "/voice/中文"],
    })
}

fn read(document: &Value) -> Box<Document> {
    Box::new(Document::read(document.to_string().as_bytes()).unwrap())
}

/// A view in a window of some size.
struct Seen {
    ui: Ui,
    known: Known,
    size: (u16, u16),
}

impl Seen {
    fn new(document: &Value) -> Self {
        let ui = Ui::new(
            Language::En,
            Wanted::default(),
            "ann",
            Paint { is_coloured: true },
        );
        let known = Known {
            document: Some(read(document)),
            target: "127.0.0.1:9901".to_owned(),
            every: Duration::from_secs(2),
            ..Known::default()
        };
        Self {
            ui,
            known,
            size: (80, 24),
        }
    }

    fn nothing() -> Self {
        let mut seen = Self::new(&json!({ "state": "x" }));
        seen.known.document = None;
        seen
    }

    fn press(&mut self, code: impl Into<KeyEvent>) -> Action {
        let action = self.ui.key(code.into(), self.known.document.as_deref());
        // The view tells how far can be scrolled.
        self.frame();
        action
    }

    fn keys(&mut self, keys: &str) {
        for key in keys.chars() {
            self.press(KeyCode::Char(key));
        }
    }

    fn frame(&mut self) -> String {
        let mut terminal = Terminal::new(TestBackend::new(self.size.0, self.size.1)).unwrap();
        terminal
            .draw(|frame| draw(frame, &self.known, &mut self.ui))
            .unwrap();
        let buffer = terminal.backend().buffer();
        let mut text = String::new();
        for y in 0..self.size.1 {
            let mut x = 0;
            while x < self.size.0 {
                let symbol = buffer[(x, y)].symbol();
                assert!(symbol.chars().all(is_plain), "{symbol:?}");
                text.push_str(symbol);
                x += u16::try_from(super::cells::width(symbol).max(1)).unwrap();
            }
            text.push('\n');
        }
        text
    }

    #[track_caller]
    fn shows(&mut self, expected: &[&str]) {
        let frame = self.frame();
        for expected in expected {
            assert!(frame.contains(expected), "no {expected:?} in\n{frame}");
        }
    }
}

#[test]
fn the_first_lines_say_what_is_wrong_for_whom_and_what_to_do() {
    let mut seen = Seen::new(&bad());
    let frame = seen.frame();
    let lines: Vec<_> = frame.lines().map(str::trim_end).collect();
    assert_eq!(
        lines[..5],
        [
            "wsgate 0.1.0  voice-7f9c  ready  up 9h30m  412/8000 connections     17:30:00 UTC",
            " BAD  since 17:21:13 (8m47s): upstream_refused and 1 more",
            "what  93% of all handshakes fail, 180 in the last minute: the upstream refused",
            "who   at least 87 clients, see 1006, on /ws, most often 203.0.113.7",
            "do    start the upstream",
        ]
    );
    let mut look = bad();
    look["state"] = json!("look");
    look["problems"] = json!([{ "severity": "look", "code": "certificate_expiring", "subject": "tls.crt", "hint": "renew it" }]);
    Seen::new(&look).shows(&[
        " LOOK  since 17:21:13",
        "certificate_expiring tls.crt",
        "do    renew it",
    ]);
    // A condition that does not say since when.
    look["since"] = json!(null);
    Seen::new(&look).shows(&[" LOOK  certificate_expiring tls.crt"]);
    let mut well = bad();
    well["state"] = json!("well");
    well["problems"] = json!([{ "severity": "note", "code": "origin_not_allowed" }]);
    Seen::new(&well).shows(&[
        " WELL  no problems; 1 thing to know",
        "1770 handshakes opened, 870 refused, 120 tunnels ended",
    ]);
    well["problems"] = json!([]);
    Seen::new(&well).shows(&[" WELL  no problems"]);
    // A state that this version does not know.
    well["state"] = json!("of_tomorrow");
    Seen::new(&well).shows(&["OF_TOMO"]);
}

#[test]
fn a_failed_poll_is_told_and_the_last_data_stays() {
    let failure = || Failure {
        what: "nothing listens there".to_owned(),
        since: "17:30:05".to_owned(),
        lasting: Duration::from_millis(12_900),
    };
    let mut seen = Seen::new(&bad());
    seen.known.failure = Some(failure());
    seen.size = (120, 24);
    seen.shows(&[
        "NO DATA since 17:30:05 (12s), retrying every 2s; OLD data of 17:30:00",
        "127.0.0.1:9901: nothing listens there",
        "upstream_refused",
    ]);
    let mut seen = Seen::nothing();
    seen.shows(&["waiting for 127.0.0.1:9901"]);
    seen.known.failure = Some(failure());
    seen.shows(&[
        "NO DATA since 17:30:05 (12s)",
        "127.0.0.1:9901: nothing listens there",
    ]);
    // Keys need no document.
    seen.keys("jksapc/x");
    seen.press(KeyCode::Enter);
    seen.press(KeyCode::Enter);
}

#[test]
fn every_pane_fits_every_window() {
    for (language, document) in [
        (Language::En, bad()),
        (Language::Zh, bad()),
        (Language::En, json!({ "state": "bad" })),
    ] {
        for size in [(60, 15), (80, 24), (100, 30), (200, 60), (61, 200)] {
            let mut seen = Seen::new(&document);
            seen.ui.language = language;
            seen.size = size;
            for tab in Tab::ALL {
                seen.ui.tab = tab;
                for key in [
                    KeyCode::Down,
                    KeyCode::End,
                    KeyCode::PageUp,
                    KeyCode::Enter,
                    KeyCode::End,
                    KeyCode::Esc,
                ] {
                    seen.press(key);
                }
                seen.keys("?x/");
                seen.press(KeyCode::Esc);
            }
        }
        for size in [(0, 0), (1, 1), (59, 15), (60, 14), (5, 3), (300, 2)] {
            let mut seen = Seen::new(&document);
            seen.size = size;
            let frame = seen.frame();
            if size.0 >= 59 {
                assert!(frame.contains("are needed"), "{frame}");
            }
            seen.keys("jk?x/");
            seen.press(KeyCode::Enter);
        }
    }
}

#[test]
fn hostile_text_never_reaches_the_terminal() {
    fn infect(value: &mut Value) {
        match value {
            Value::String(text) => {
                *text = format!(
                    "\u{1b}]0;x\u{7}\u{1b}[2J\u{9b}1m\u{202e}\u{200b}e\u{301}\r\n中文{text}{}",
                    "x".repeat(3000)
                );
            }
            Value::Array(items) => items.iter_mut().for_each(infect),
            Value::Object(fields) => fields.values_mut().for_each(infect),
            Value::Number(number) => {
                *value = match number.as_i64().unwrap_or(0) % 4 {
                    0 => json!(-1),
                    1 => json!(1e300),
                    2 => json!(u64::MAX),
                    _ => json!([{ "a": null }]),
                };
            }
            _ => {}
        }
    }
    let mut document = bad();
    infect(&mut document);
    let mut seen = Seen::new(&document);
    for size in [(60, 15), (80, 24), (160, 50)] {
        seen.size = size;
        for tab in Tab::ALL {
            seen.ui.tab = tab;
            // Each frame is checked.
            for key in [
                KeyCode::End,
                KeyCode::Enter,
                KeyCode::End,
                KeyCode::Esc,
                KeyCode::Home,
                KeyCode::Enter,
                KeyCode::Esc,
            ] {
                seen.press(key);
            }
        }
    }
    // What was typed on the command line may have been copied from there.
    seen.ui.wanted.route = "\u{1b}[2J\u{202e}".to_owned();
    seen.keys("/");
    seen.press(KeyCode::Esc);
    let document = seen.known.document.as_deref().unwrap();
    let text = snapshot::text(document, Language::Zh, seen.ui.wanted.clone());
    assert!(
        text.lines().all(|line| line.chars().all(is_plain)),
        "{text}"
    );
    assert!(
        text.lines().all(|line| super::cells::width(line) <= 130),
        "{text}"
    );
}

/// Puts something else in the place of one of the values in a document.
fn replace(value: &mut Value, countdown: &mut usize, other: &Value) {
    if *countdown == 0 {
        *value = other.clone();
    }
    *countdown = countdown.wrapping_sub(1);
    match value {
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| replace(item, countdown, other)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| replace(field, countdown, other)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_value_may_stand_in_any_place(
        changes in proptest::collection::vec((0..1000_usize, 0..9_usize, any::<i64>(), any::<String>()), 1..40),
        size in (0..130_u16, 0..40_u16),
    ) {
        let mut document = bad();
        for (place, kind, number, text) in changes {
            let other = match kind {
                0 => json!(null),
                1 => json!(true),
                2 => json!(number),
                3 => json!(number as f64 * 1e200),
                4 => json!([]),
                5 => json!([number, text, [null]]),
                6 => json!({ text.as_str(): number, "value": text }),
                7 => json!(format!("2026-11-30T17:{text}")),
                _ => json!(text),
            };
            replace(&mut document, &mut place.clone(), &other);
        }
        let Ok(document) = Document::read(document.to_string().as_bytes()) else {
            return Ok(());
        };
        let text = snapshot::text(&document, Language::En, Wanted::default());
        prop_assert!(text.lines().all(|line| line.chars().all(is_plain)));
        let mut seen = Seen::nothing();
        seen.ui.sync(&document);
        seen.known.document = Some(Box::new(document));
        seen.size = size;
        for tab in Tab::ALL {
            seen.ui.tab = tab;
            for key in [KeyCode::Enter, KeyCode::Esc, KeyCode::End, KeyCode::Enter, KeyCode::Esc] {
                seen.press(key);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_document_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Document::read(&bytes).is_err());
    }
}

#[test]
fn a_record_tells_its_story_from_begin_to_end() {
    let mut seen = Seen::new(&bad());
    seen.size = (100, 60);
    seen.keys("3j");
    assert_eq!(seen.press(KeyCode::Enter), Action::Look("c2".to_owned()));
    seen.shows(&[
        "closed upstream_reset",
        "in this case     reset after a ping",
        "suspect          alb idle_timeout",
        "what to do       look at its log",
        "TLS handshake    12ms",
        "attempt          http://127.0.0.1:8081 upstream_connect_timeout 1s",
        "upstream's 101   4ms",
        "lasted           20m03s",
        "client's Close   4001 bye",
        "note             endpoint_skipped: a connection to an endpoint failed",
        "of_tomorrow",
        "field_of_tomorrow a=1",
        "client sees      1014",
    ]);
    // It stays although the record is forgotten, and other records of its connection are added.
    seen.known.document = Some(read(&json!({ "state": "well" })));
    let records = json!({ "state": "x", "recent": { "records": [{ "event": "opened", "time": "2026-11-30T17:20:00.000Z" }] } });
    let records = read(&records);
    seen.ui.found("another", &records);
    assert!(!seen.frame().contains("other records"));
    seen.ui.found("c2", &records);
    seen.shows(&[
        "other records of this connection",
        "17:20:00.000     opened",
    ]);
    seen.press(KeyCode::Esc);
    seen.shows(&["no refusal and no abnormal end"]);
    // In Chinese, the English hint stands below the remedy.
    let mut seen = Seen::new(&bad());
    seen.ui.language = Language::Zh;
    seen.size = (100, 60);
    seen.keys("3");
    seen.press(KeyCode::Enter);
    let fix = crate::reason::Reason::UpstreamReset.fix(Language::Zh);
    seen.shows(&[
        "处理办法",
        fix.get(..12).unwrap(),
        "look at its log",
        "客户端看到",
    ]);
}

#[test]
fn a_tunnel_is_followed_to_its_end() {
    let mut seen = Seen::new(&bad());
    seen.size = (100, 40);
    seen.keys("2j");
    assert_eq!(seen.press(KeyCode::Enter), Action::Look("t2".to_owned()));
    seen.shows(&[
        "an open tunnel",
        "open for         2m02s",
        "203.0.113.2",
        "from the client  4.0K",
    ]);
    // It is not in the list any more, because others come first.
    let document = read(&json!({ "state": "well" }));
    let look = Action::Look("t2".to_owned());
    assert_eq!(seen.ui.sync(&document), look);
    seen.known.document = Some(document.clone());
    let open =
        json!({ "state": "x", "tunnels": { "shown": [{ "conn": "t2", "age_ms": 125_000 }] } });
    seen.ui.found("t2", &read(&open));
    seen.shows(&["an open tunnel", "open for         2m05s"]);
    assert_eq!(seen.ui.sync(&document), look);
    seen.ui.found("t2", &document);
    seen.shows(&["a tunnel that has ended; its record is not remembered"]);
    let closed = json!({ "state": "x", "recent": { "records": [{ "event": "closed", "reason": "client_close" }] } });
    seen.ui.found("t2", &read(&closed));
    seen.shows(&["closed client_close"]);
    assert_eq!(seen.ui.sync(&document), Action::Nothing);
}

/// A document with two tunnels on streams of one connection, and the ends of two others that came at the same time.
fn of_streams() -> Value {
    let tunnel = |stream: u32| {
        json!({ "conn": "c", "stream_id": stream, "request_id": format!("c-{stream}"), "client": "203.0.113.1",
            "route": "/ws", "age_ms": 60_000 * stream })
    };
    let record = |stream: u32| {
        json!({ "event": "closed", "reason": "upstream_reset", "conn": "c", "stream_id": stream, "request_id": "same",
            "time": "2026-11-30T17:29:00.000Z", "client": "203.0.113.1", "detail": format!("of {stream}") })
    };
    json!({
        "state": "bad", "time": "2026-11-30T17:30:00.000Z",
        "problems": [{ "severity": "bad", "code": "upstream_reset", "conn": "c", "stream_id": 7 }],
        "tunnels": { "open": 2, "matching": 2, "shown": [tunnel(1), tunnel(3)] },
        "recent": { "matching": 2, "records": [record(5), record(7)] },
    })
}

#[test]
fn streams_of_one_connection_are_told_apart() {
    let document = of_streams();
    let mut seen = Seen::new(&document);
    seen.size = (100, 50);
    seen.keys("2j");
    assert_eq!(seen.press(KeyCode::Enter), Action::Look("c-3".to_owned()));
    seen.shows(&["open for         3m00s", "HTTP/2 stream    3"]);
    // The end of the other stream is not its own.
    let mut first = document.clone();
    first["tunnels"]["shown"].as_array_mut().unwrap().pop();
    assert_eq!(seen.ui.sync(&read(&first)), Action::Look("c-3".to_owned()));
    seen.ui.found("c", &read(&first));
    seen.ui.found("c-1", &read(&first));
    seen.shows(&["an open tunnel", "open for         3m00s"]);
    let closed = json!({ "state": "x", "recent": { "records": [{ "event": "closed", "conn": "c", "stream_id": 3 }] } });
    seen.ui.found("c-3", &read(&closed));
    assert_eq!(seen.ui.sync(&read(&first)), Action::Nothing);
    seen.shows(&["HTTP/2 stream    3"]);
    // The selection follows its stream.
    seen.press(KeyCode::Esc);
    let mut turned = document.clone();
    turned["tunnels"]["shown"].as_array_mut().unwrap().reverse();
    seen.ui.sync(&read(&turned));
    assert_eq!(seen.ui.cursor().at, 0);
    seen.known.document = Some(read(&turned));
    assert_eq!(
        seen.press(KeyCode::Char('c')),
        Action::MayClose("c-3".to_owned())
    );
    seen.ui.may_close("c-1", Ok(()));
    seen.ui.may_close("c-3", Ok(()));
    seen.shows(&["c-3"]);
    seen.press(KeyCode::Enter);
    let closed = Action::Close {
        conn: "c".to_owned(),
        stream_id: Some(3),
        name: "ann".to_owned(),
    };
    assert_eq!(seen.press(KeyCode::Char('y')), closed);
    // A record is shown with those of other streams, also if they came at the same time.
    seen.keys("3");
    assert_eq!(seen.press(KeyCode::Enter), Action::Look("c".to_owned()));
    seen.ui.found("c", &read(&document));
    seen.shows(&[
        "in this case     of 5",
        "other records of this connection",
        "closed upstream_reset (HTTP/2 stream 7) of 7",
    ]);
    // The last record of a problem is that of its stream.
    seen.press(KeyCode::Esc);
    seen.keys("1");
    seen.press(KeyCode::Home);
    assert_eq!(seen.press(KeyCode::Enter), Action::Look("c-7".to_owned()));
    seen.ui.found("c-7", &read(&document));
    seen.shows(&["its last record", "in this case     of 7"]);
}

#[test]
fn what_is_selected_stays_so_while_rows_come_and_go() {
    let mut seen = Seen::new(&bad());
    seen.keys("3jjj");
    assert_eq!(seen.ui.cursor().at, 3);
    let mut document = bad();
    let newer = json!({ "event": "refused", "conn": "new", "reason": "origin_not_allowed" });
    document["recent"]["records"]
        .as_array_mut()
        .unwrap()
        .insert(0, newer);
    let document = read(&document);
    seen.ui.sync(&document);
    seen.known.document = Some(document);
    assert_eq!(seen.ui.cursor().at, 4);
    seen.press(KeyCode::Enter);
    seen.size.1 = 60;
    seen.shows(&["conn             c4"]);
    seen.press(KeyCode::Esc);
    seen.known.document = Some(read(&json!({ "state": "well" })));
    seen.press(KeyCode::Enter);
    assert!(seen.ui.story.is_none());
}

#[test]
fn a_reason_of_the_overview_becomes_a_filter() {
    let mut seen = Seen::new(&bad());
    seen.keys("jj");
    assert_eq!(seen.press(KeyCode::Enter), Action::Poll);
    assert_eq!(seen.ui.wanted.reason, "upstream_refused");
    assert_eq!(seen.ui.tab, Tab::Failures);
    seen.shows(&["reason=upstream_refused"]);
    seen.keys("/");
    seen.press(KeyCode::Down);
    seen.press(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
    seen.shows(&["filter", "a code, or several with commas"]);
    assert_eq!(seen.press(KeyCode::Enter), Action::Poll);
    assert_eq!(seen.ui.wanted, Wanted::default());
}

#[test]
fn a_tunnel_is_closed_only_after_a_name_and_a_confirmation() {
    let mut seen = Seen::new(&bad());
    seen.keys("c");
    seen.shows(&["to close a tunnel, select it"]);
    seen.keys("2j");
    let ask = |seen: &mut Seen| {
        assert_eq!(
            seen.press(KeyCode::Char('c')),
            Action::MayClose("t2".to_owned())
        );
        seen.shows(&["asking whether this is allowed"]);
    };
    ask(&mut seen);
    seen.ui.may_close("t2", Err("closing is off".to_owned()));
    seen.shows(&["closing is off"]);
    ask(&mut seen);
    // Keys that come too early do nothing.
    seen.keys("y");
    seen.press(KeyCode::Enter);
    seen.ui.may_close("t1", Ok(()));
    seen.ui.may_close("t2", Ok(()));
    seen.shows(&["your name: ann"]);
    for _ in 0..3 {
        seen.press(KeyCode::Backspace);
    }
    assert_eq!(seen.press(KeyCode::Enter), Action::Nothing);
    seen.keys("bob\u{202e}");
    seen.press(KeyCode::Enter);
    seen.shows(&["close it, as bob?"]);
    let closed = Action::Close {
        conn: "t2".to_owned(),
        stream_id: None,
        name: "bob".to_owned(),
    };
    assert_eq!(seen.press(KeyCode::Char('y')), closed);
    assert!(seen.ui.dialog.is_none());
    ask(&mut seen);
    seen.ui.may_close("t2", Ok(()));
    seen.press(KeyCode::Enter);
    assert_eq!(seen.press(KeyCode::Char('n')), Action::Nothing);
    assert!(seen.ui.dialog.is_none());
}

#[test]
fn keys_do_what_the_help_says() {
    let mut seen = Seen::new(&bad());
    seen.keys("?");
    seen.shows(&["close the selected tunnel"]);
    seen.keys("?");
    assert_eq!(seen.press(KeyCode::Char('s')), Action::Poll);
    assert_eq!(seen.press(KeyCode::Char('a')), Action::Poll);
    assert!(seen.ui.wanted.path().contains("sort=oldest&all=1"));
    seen.press(KeyCode::Tab);
    seen.shows(&["oldest first; all ends"]);
    seen.press(KeyCode::BackTab);
    seen.press(KeyCode::BackTab);
    assert_eq!(seen.ui.tab, Tab::System);
    seen.shows(&["the file was refused", "UNHEALTHY"]);
    assert_eq!(seen.press(KeyCode::Char('p')), Action::Nothing);
    seen.shows(&["PAUSED for 0ms"]);
    assert_eq!(seen.press(KeyCode::Char('p')), Action::Poll);
    assert_eq!(seen.press(KeyCode::Char('q')), Action::Quit);
    seen.keys("/");
    let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(seen.press(control), Action::Quit);
}

#[test]
fn a_snapshot_begins_with_the_state() {
    let document = read(&bad());
    for (language, first) in [
        (
            Language::En,
            "bad since 17:21:13 (8m47s): upstream_refused and 1 more\n",
        ),
        (
            Language::Zh,
            "bad 始于 17:21:13（8m47s）：upstream_refused，另有 1 个\n",
        ),
    ] {
        let text = snapshot::text(&document, language, Wanted::default());
        assert!(text.starts_with(first), "{text}");
    }
    let empty = read(&json!({ "state": "well" }));
    assert!(
        snapshot::text(&empty, Language::En, Wanted::default()).starts_with("well no problems\n")
    );
}
