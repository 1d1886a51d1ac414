//! `log.level` with every kind of record.

use wsgate::reason::Level;
use wsgate::record::{Event, Record, Sink};

use crate::harness::frames::echoes;
use crate::harness::inside::{Records, settings};
use crate::harness::upstream::Nobody;
use crate::harness::{Client, PATIENCE, Setup, handshake};

const LEVELS: [Level; 4] = [Level::Debug, Level::Info, Level::Warn, Level::Error];

/// The events about the process, according to docs/configuration.md.
const LIFECYCLE: [&str; 10] = [
    "listening",
    "reloaded",
    "reload_unchanged",
    "reload_refused",
    "certificate_reloaded",
    "certificate_refused",
    "certificate_expiring",
    "draining",
    "drained",
    "stopped",
];

/// The events in docs/records.md; another test checks that the list is complete.
fn events() -> Vec<String> {
    let text = std::fs::read_to_string("docs/records.md").unwrap();
    let table = text.split("| event | meaning |").nth(1).unwrap();
    let table = table.split("\n\n").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_event_is_written_from_its_level_on() {
    let events = events();
    assert_eq!(events.len(), 18, "{events:?}");
    for set in LEVELS {
        let records = Records::default();
        let mut settings = settings(None);
        settings.log.level = set;
        let sink = Sink::start(records.clone(), settings).unwrap();
        let mut expected = Vec::new();
        for name in &events {
            let event: Event = serde_json::from_value(name.as_str().into()).unwrap();
            for level in LEVELS {
                sink.emit(Record::lifecycle(event, level, level.name()));
                if level >= set || LIFECYCLE.contains(&name.as_str()) {
                    expected.push((name.clone(), level.name().to_owned()));
                }
            }
        }
        expected.push(("stopped".to_owned(), "info".to_owned()));
        sink.close("a test", PATIENCE);
        let written: Vec<_> = records
            .lines()
            .iter()
            .map(|line| (line.text("event").to_owned(), line.text("level").to_owned()))
            .collect();
        assert_eq!(written, expected, "{set:?}");
    }
}

#[test]
fn what_is_below_the_level_is_counted_and_not_written() {
    let mut counted = Vec::new();
    for level in LEVELS {
        let nobody = Nobody::new();
        let setup = Setup {
            log: format!("level: {}", level.name()),
            routes: "  - path: /echo\n    websocket: { origins: [\"https://app.example.com\"] }\n    upstream: echo\n  \
                     - path: /text\n    respond: { status: 200, body: text }\n"
                .to_owned(),
            upstream: " }\n  echo: { endpoints: [\"builtin:echo\"]".to_owned(),
            ..Setup::plain(&nobody.url())
        };
        let proxy = setup.start();
        let get = "GET /text HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
        let probe = get.replace("/text", "/ws");
        let foreign = handshake("/ws", &[("Origin", "https://evil.example")]);
        for (request, status) in [
            (get, 200),
            (&foreign, 403),
            (&probe, 426),
            (&probe, 426),
            (&handshake("/ws", &[]), 502),
        ] {
            let mut client = Client::plain(proxy.address());
            assert_eq!(client.send(request).response().status, status, "{request}");
        }
        let mut tunnel = Client::plain(proxy.address());
        assert_eq!(tunnel.send(handshake("/echo", &[])).response().status, 101);
        echoes(&mut tunnel, "hello");
        tunnel.finish();
        tunnel.rest();
        let lines = proxy.stop();
        let mut events: Vec<_> = lines
            .iter()
            .filter(|line| !LIFECYCLE.contains(&line.text("event")))
            .map(|line| (line.text("event"), line.text("level")))
            .collect();
        events.sort_unstable();
        let all = [
            ("closed", Level::Info),
            ("opened", Level::Info),
            ("refused", Level::Debug),
            ("refused", Level::Info),
            ("refused", Level::Info),
            ("refused", Level::Warn),
            ("request", Level::Info),
        ];
        let expected: Vec<_> = all
            .iter()
            .filter(|(_, its)| *its >= level)
            .map(|(event, its)| (*event, its.name()))
            .collect();
        assert_eq!(events, expected, "{level:?}");
        let of_life: Vec<_> = lines
            .iter()
            .map(|line| line.text("event"))
            .filter(|event| LIFECYCLE.contains(event))
            .collect();
        assert_eq!(of_life, ["listening", "draining", "stopped"]);
        counted.push(lines.last().unwrap().0["counts"].clone());
    }
    assert_eq!(counted[0]["plain_http_request"], 2);
    assert!(
        counted.iter().all(|counts| *counts == counted[0]),
        "{counted:?}"
    );
}
