//! What is wrong is said first.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Visit, Ways, opened, refused, refused_from, text};
use crate::harness::services::start;
use crate::harness::upstream::Nobody;
use crate::harness::{Client as RawClient, Line, Proxy, Setup};
use crate::tools::programs::{Kind, Server};

/// A text of the records as the page writes it: without marks of code, as a sentence.
fn sentence(text: &str) -> String {
    let text = text.replace('`', "");
    let mut letters = text.chars();
    let first = letters.next().unwrap().to_uppercase();
    format!("{first}{}.", letters.as_str())
}

/// Whether the page says that something began when a record of it was written. It begins a moment before its record, which
/// may be another minute.
fn begins_with(lead: &str, line: &Line) -> bool {
    let written = line.time("time");
    [written, written - Duration::from_secs(1)]
        .into_iter()
        .any(|time| {
            let time = humantime::format_rfc3339_seconds(time).to_string();
            lead.contains(&format!("began at {}", &time[11..16]))
        })
}

/// A text and the place of an element.
#[track_caller]
fn part<'v>(shown: &'v Value, name: &str) -> &'v str {
    let height = shown["height"].as_f64().unwrap();
    let (top, bottom) = (&shown[name]["top"], &shown[name]["bottom"]);
    assert!(top.as_f64().unwrap() >= 0.0, "{name}: {shown:#}");
    assert!(
        bottom.as_f64().unwrap() <= height,
        "{name} is below the fold: {shown:#}"
    );
    text(&shown[name]["text"])
}

/// A refusal because of the upstream.
fn refuse(proxy: &Proxy, last: u8) -> Line {
    let client = RawClient::plain_from(Ipv4Addr::new(127, 0, 0, last), proxy.address());
    refused_from(proxy, client, "/ws", &[])
}

#[test]
fn an_upstream_that_is_down_is_said_first_on_large_and_small_screens() {
    let nobody = Nobody::new();
    let proxy = start(
        &Ways::none()
            .and("/fine", "fine", "builtin:echo")
            .before(&nobody.url()),
    );
    // Six refusals from two addresses, and two tunnels.
    let first = refuse(&proxy, 2);
    for _ in 0..2 {
        drop(opened(&proxy, "/fine", &[]));
    }
    for last in [2, 3, 2, 3, 3] {
        refuse(&proxy, last);
    }
    let visit = Visit::start(
        &proxy,
        json!([
            { "name": "phone", "run": "first", "says": "75% of the handshakes", "page": { "width": 390, "height": 844, "phone": true } },
            { "name": "desktop", "run": "first", "says": "75% of the handshakes", "then": [
                { "step": "worse", "says": "80% of the handshakes" },
                { "step": "better", "says": "Worth a look" },
            ] },
        ]),
    );
    visit.at("desktop", "worse");
    for _ in 0..2 {
        refused(&proxy, "/ws", &[]);
    }
    visit.at("desktop", "better");
    for _ in 0..33 {
        drop(opened(&proxy, "/fine", &[]));
    }
    let report = visit.end();
    let (phone, desktop) = (report.detail("phone").0, report.detail("desktop").0);
    for shown in [&phone["shown"][0], &desktop["shown"][0]] {
        assert_eq!(shown["state"], "bad");
        assert_eq!(part(shown, "title"), "Something is wrong");
        let headline = part(shown, "headline");
        assert!(
            headline.starts_with(
                "75% of the handshakes fail: nothing listens on the upstream's address."
            ),
            "{headline}"
        );
        let lead = part(shown, "lead");
        assert!(begins_with(lead, &first), "{lead}");
        for said in [
            "has happened 6 times",
            "2 clients are affected, on the route /ws",
            &nobody.url(),
        ] {
            assert!(lead.contains(said), "no {said:?} in {lead}");
        }
        assert_eq!(part(shown, "todo"), sentence(first.text("hint")));
        part(shown, "button");
    }
    let [_, worse, better] = &desktop["shown"].as_array().unwrap()[..] else {
        panic!("{desktop:#}");
    };
    assert!(
        part(worse, "lead").contains("has happened 8 times"),
        "{worse:#}"
    );
    assert_eq!(better["state"], "look");
    assert!(text(&desktop["title"]).starts_with("(!) "), "{desktop:#}");
    proxy.stop();
}

#[test]
fn what_is_over_is_no_longer_said() {
    let node = Server::start(Kind::Node, json!({}));
    let setup = Setup {
        upstream: ", health_check: { path: /health, interval: 200ms, timeout: 5s }".to_owned(),
        ..Setup::plain(&format!("\"{}\"", node.endpoint()))
    };
    let proxy = start(&setup);
    let visit = Visit::start(
        &proxy,
        json!([{ "name": "changes", "run": "first", "says": "All is well", "then": [
            { "step": "sick", "says": "Something is wrong" },
            { "step": "healthy", "says": "All is well" },
            { "step": "mistake", "says": "The configuration file can’t be used" },
            { "step": "mended", "says": "All is well" },
        ] }]),
    );
    let health = |status: &str| {
        let address = node.endpoint()["http://".len()..].parse().unwrap();
        let mut client = RawClient::plain(address);
        client.send(format!(
            "PUT /health HTTP/1.1\r\nHost: node\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{status}"
        ));
        assert_eq!(client.response().status, 200);
    };
    visit.at("changes", "sick");
    health("503");
    visit.at("changes", "healthy");
    health("200");
    visit.at("changes", "mistake");
    let yaml = std::fs::read_to_string(proxy.folder().join("proxy.yaml")).unwrap();
    proxy.write(&yaml.replace("origins:", "orgins:"));
    visit.at("changes", "mended");
    let refusal = proxy.event("reload_refused");
    proxy.write(&yaml);
    let seen = visit.end().detail("changes").0;
    let [well, sick, healthy, mistake, mended] = &seen["shown"].as_array().unwrap()[..] else {
        panic!("{seen:#}");
    };
    for (shown, state) in [
        (well, "well"),
        (sick, "bad"),
        (healthy, "well"),
        (mistake, "look"),
        (mended, "well"),
    ] {
        assert_eq!(shown["state"], state, "{shown:#}");
    }
    let headline = part(sick, "headline");
    assert!(headline.contains(&node.endpoint()), "{headline}");
    assert!(
        headline.contains("all endpoints of an upstream fail"),
        "{headline}"
    );
    // The first record is of the failure, the second of the recovery.
    let failed = proxy.event("upstream_health");
    assert!(begins_with(part(sick, "lead"), &failed), "{sick:#}");
    assert_eq!(seen["configuration"], "");
    assert!(!refusal.0["problems"].as_array().unwrap().is_empty());
    proxy.stop();
}
