//! Numbers on the page are those of the records, with and without filters.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{Visit, Ways, fact, opened_from, refused_from, remembered, rows, status, text};
use crate::harness::frames::echoes;
use crate::harness::services::start;
use crate::harness::upstream::Nobody;
use crate::harness::{Client as RawClient, Line, Proxy, eventually};
use crate::tools::programs::{Client, Family, Kind, Server};

/// Ends that are not failures.
const ORDINARY: [&str; 3] = ["client_close", "client_going_away", "upstream_close"];

fn from(proxy: &Proxy, last: u8) -> RawClient {
    RawClient::plain_from(Ipv4Addr::new(127, 0, 0, last), proxy.address())
}

/// The terminal records that a filter selects.
fn ends<'l>(lines: &'l [Line], event: &str, is: impl Fn(&Line) -> bool) -> Vec<&'l Line> {
    let of_event = lines.iter().filter(|line| line.text("event") == event);
    of_event.filter(|line| is(line)).collect()
}

/// How often each value of a field occurs, as the page writes it: the most frequent first.
fn counted(lines: &[&Line], field: &str) -> Vec<Vec<String>> {
    let mut counts = BTreeMap::<String, u64>::new();
    for line in lines {
        let value = line
            .number(field)
            .map_or_else(|| line.text(field).to_owned(), |number| number.to_string());
        *counts.entry(value).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let row = |(value, count): (String, u64)| vec![value, count.to_string()];
    counts.into_iter().map(row).collect()
}

/// The rows of the list of records, the newest first, without the cause.
fn listed(lines: &[Line], is: impl Fn(&Line) -> bool) -> Vec<[String; 6]> {
    let shown = lines
        .iter()
        .filter(|line| ["refused", "closed"].contains(&line.text("event")));
    let mut shown: Vec<_> = shown
        .filter(|line| is(line))
        .map(|line| {
            let saw = match line.number("status") {
                Some(101) => line.number("client_sees").unwrap().to_string(),
                status => format!("HTTP {}", status.unwrap()),
            };
            let [reason, by, client, route] =
                ["reason", "by", "client", "route"].map(|field| line.text(field).to_owned());
            let event = match line.text("event") {
                "refused" => "Refused",
                _ => "Ended",
            };
            // The time without its fraction.
            let time = line.text("time")[11..19].to_owned();
            [time, format!("{reason} {event}"), by, client, route, saw]
        })
        .collect();
    shown.reverse();
    shown
}

#[track_caller]
fn expect_list(seen: &Value, expected: Vec<[String; 6]>) {
    let seen = rows(&seen["records"]);
    assert_eq!(seen.len(), expected.len(), "{seen:#?}");
    for (seen, expected) in seen.iter().zip(&expected) {
        // Near midnight the page adds the day.
        assert!(seen[0].ends_with(&expected[0]), "{seen:?} {expected:?}");
        assert_eq!(seen[1..6], expected[1..], "{seen:?}");
        assert!(!seen[6].is_empty(), "no cause: {seen:?}");
    }
}

/// Compares the charts with the records.
#[track_caller]
fn expect_counts(seen: &Value, lines: &[Line], is: impl Fn(&Line) -> bool) {
    let opened = ends(lines, "opened", &is).len();
    let refused = ends(lines, "refused", &is);
    let ended = ends(lines, "closed", &is);
    assert_eq!(text(&seen["opened"]), format!("opened {opened}"));
    assert_eq!(text(&seen["refused"]), format!("refused {}", refused.len()));
    let bars = &seen["bars"];
    assert_eq!(rows(&bars["refused"]), counted(&refused, "reason"));
    assert_eq!(rows(&bars["ends"]), counted(&ended, "reason"));
    assert_eq!(rows(&bars["codes"]), counted(&ended, "client_sees"));
}

/// Bytes as the page writes them.
fn bytes(count: u64) -> String {
    match count {
        0..1000 => format!("{count} B"),
        _ => {
            let thousands = format!("{:.1}", count as f64 / 1000.0);
            format!("{} kB", thousands.trim_end_matches(".0"))
        }
    }
}

fn traffic(line: &Line, direction: &str) -> String {
    let number = |what: &str| line.number(&format!("{what}_{direction}")).unwrap();
    let messages = match number("messages") {
        1 => "1 message".to_owned(),
        count => format!("{count} messages"),
    };
    format!("{}, {messages}", bytes(number("bytes")))
}

#[test]
fn numbers_are_those_of_the_records_with_and_without_filters() {
    let node = Server::start(Kind::Node, json!({}));
    let python = Server::start(Kind::Python, json!({}));
    let nobody = Nobody::new();
    let proxy = start(
        &Ways::none()
            .and("/python", "python", &python.endpoint())
            .and("/down", "down", &nobody.url())
            .before(&node.endpoint()),
    );
    // Ends by either side, with ordinary and other codes, and without one.
    let url = |path: &str| format!("ws://{}{path}", proxy.address());
    let mut closed = 0;
    for (kind, path, cases) in [
        (Kind::Node, "/ws", json!(["text", "close"])),
        (Kind::Python, "/ws", json!(["binary", "close:4000:enough"])),
        (Kind::Node, "/python", json!(["server_close:1011:broken"])),
        (Kind::Python, "/python", json!(["server_close:1000:bye"])),
        (Kind::Node, "/ws", json!(["reset"])),
        (Kind::Node, "/ws", json!(["cut"])),
    ] {
        let options = json!({ "origin": "https://app.example.com", "cases": cases });
        Client::start(kind, &url(path), options).finish().passed();
        closed += 1;
        proxy.event_number("closed", closed);
    }
    // Refusals of three kinds, from three addresses.
    for (last, path, origin) in [
        (2, "/down", ""),
        (2, "/down", ""),
        (3, "/down", ""),
        (3, "/ws", "https://evil.example"),
        (3, "/python", "https://evil.example"),
        (4, "/nowhere", ""),
    ] {
        let fields = [("Origin", origin)];
        let fields = if origin.is_empty() { &[][..] } else { &fields };
        refused_from(&proxy, from(&proxy, last), path, fields);
    }
    // Tunnels that stay open, with traffic.
    let waiting = json!({ "origin": "https://app.example.com", "cases": ["text", "big_text", "wait_close"], "local": "127.0.0.2" });
    let client = Client::start(Kind::Node, &url("/python"), waiting);
    client.did("big_text");
    let mut raw = opened_from(&proxy, from(&proxy, 3), "/ws", &[]);
    echoes(&mut raw, "hello");
    echoes(&mut raw, "again");
    remembered(&proxy, 12);
    eventually("the traffic", || {
        let all = status(&proxy, "?sort=oldest");
        let shown = all["tunnels"]["shown"].as_array()?;
        let has = |n: usize, count: u64| shown[n]["messages_upstream_to_client"] == count;
        (shown.len() == 2 && has(0, 2) && has(1, 2)).then_some(())
    });
    let lines = proxy.lines();

    let read = |name: &str, query: &str| json!({ "name": name, "run": "read", "query": query });
    let visit = Visit::start(
        &proxy,
        json!([
            read("plain", ""),
            read("all", "?all=1&sort=oldest&reason=*"),
            read("route", "?route=/python&all=1"),
            read("reason", "?reason=origin_*,upstream_refused"),
            read("client", "?client=127.0.0.3"),
            read("id", &format!("?id={}", ends(&lines, "closed", |_| true)[1].text("conn"))),
            { "name": "form", "run": "filter", "expected": ["503"], "fields": { "route": "/down", "reason": "upstream_*", "client": "127.0.0.0/8", "minutes": "15" } },
            { "name": "wrong", "run": "notice", "query": "?minutes=90", "says": "minutes must be a number from 1 to 60", "expected": ["400"] },
        ]),
    );
    let report = visit.end();
    let seen = |case: &str| report.detail(case).0;

    let is_failure = |line: &Line| !ORDINARY.contains(&line.text("reason"));
    let everything = |_: &Line| true;
    let plain = seen("plain");
    expect_counts(&plain, &lines, everything);
    // Here the events of the process may be listed, too.
    let with_reason = rows(&plain["records"]);
    let with_reason = with_reason
        .iter()
        .filter(|row| row[1].contains('_'))
        .count();
    assert_eq!(with_reason, listed(&lines, is_failure).len());
    let all = seen("all");
    expect_counts_of_reasons(&all, &lines);
    expect_list(&all, listed(&lines, everything));

    let of_route = |line: &Line| line.text("route") == "/python";
    expect_counts(&seen("route"), &lines, of_route);
    expect_list(&seen("route"), listed(&lines, of_route));
    let of_reason =
        |line: &Line| ["origin_not_allowed", "upstream_refused"].contains(&line.text("reason"));
    let by_reason = seen("reason");
    expect_list(&by_reason, listed(&lines, of_reason));
    let refused = ends(&lines, "refused", of_reason);
    assert_eq!(
        rows(&by_reason["bars"]["refused"]),
        counted(&refused, "reason")
    );
    assert_eq!(by_reason["bars"]["ends"], json!([]));
    let of_client = |line: &Line| line.text("client") == "127.0.0.3" && is_failure(line);
    expect_list(&seen("client"), listed(&lines, of_client));
    // Counts are not kept for each client.
    expect_counts(&seen("client"), &lines, everything);
    let conn = ends(&lines, "closed", everything)[1]
        .text("conn")
        .to_owned();
    expect_list(
        &seen("id"),
        listed(&lines, |line| line.text("conn") == conn),
    );

    expect_problem(
        &plain,
        &ends(&lines, "refused", |line| {
            line.text("reason") == "upstream_refused"
        }),
        // A share is that of all handshakes since the first of these.
        lines
            .iter()
            .skip_while(|line| line.text("reason") != "upstream_refused")
            .filter(|line| ["opened", "refused"].contains(&line.text("event")))
            .count(),
    );

    let form = seen("form");
    let search = "?route=%2Fdown&reason=upstream_*&client=127.0.0.0%2F8&minutes=15";
    for when in ["before", "reloaded", "back", "later"] {
        assert_eq!(form[when]["search"], search, "{when}");
        let says = text(&form[when]["says"]);
        let filtered =
            "route /down, reason upstream_*, client 127.0.0.0/8, the last 15 minutes. 3 of ";
        assert!(says.contains(filtered), "{when}: {says}");
    }
    expect_list(
        &form["shown"],
        listed(&lines, |line| line.text("reason") == "upstream_refused"),
    );

    // What the page showed of the open tunnels is what their records say when they have ended.
    client.kill();
    drop(raw);
    proxy.event_number("closed", closed + 2);
    let lines = proxy.lines();
    let ended = ends(&lines, "closed", everything);
    let tunnels = rows(&all["tunnels"]);
    assert_eq!(tunnels.len(), 2);
    assert_eq!(text(&all["tunnelCount"]), "2 of 2 shown");
    assert_eq!(rows(&seen("route")["tunnels"]).len(), 1);
    assert_eq!(rows(&seen("client")["tunnels"]).len(), 1);
    assert_eq!(
        text(&seen("client")["tunnelCount"]),
        "1 of 1 shown that match the filters; 2 are open"
    );
    for tunnel in tunnels {
        let record = ended
            .iter()
            .rev()
            .find(|line| line.text("route") == tunnel[1])
            .unwrap();
        assert_eq!(tunnel[0], record.text("client"));
        assert!(tunnel[2].starts_with(record.text("upstream")), "{tunnel:?}");
        assert_eq!(
            tunnel[5],
            traffic(record, "client_to_upstream"),
            "{record:?}"
        );
        assert_eq!(
            tunnel[6],
            traffic(record, "upstream_to_client"),
            "{record:?}"
        );
    }
    proxy.stop();
    let mut family = Family::new(format!("page in {}", super::browser()));
    family.add(8);
    family.finish();
}

/// With a filter for reasons, only what has one is counted.
#[track_caller]
fn expect_counts_of_reasons(seen: &Value, lines: &[Line]) {
    let refused = ends(lines, "refused", |_| true);
    let ended = ends(lines, "closed", |_| true);
    assert_eq!(text(&seen["refused"]), format!("refused {}", refused.len()));
    assert_eq!(rows(&seen["bars"]["ends"]), counted(&ended, "reason"));
    assert_eq!(text(&seen["opened"]), "opened 0");
}

/// Compares the first problem with its records; `handshakes` is the number of all.
#[track_caller]
fn expect_problem(seen: &Value, records: &[&Line], handshakes: usize) {
    let facts = &seen["problems"][0];
    let count = records.len().to_string();
    let first = text(&seen["first"]);
    let counted_in_words = format!("{count} handshakes failed in the last minute: ");
    assert!(first.starts_with(&counted_in_words), "{first}");
    assert_eq!(fact(facts, "Code"), records[0].text("reason"));
    assert_eq!(fact(facts, "Caused by"), records[0].text("by"));
    for name in ["Since it began", "In the last minute"] {
        assert_eq!(fact(facts, name), count, "{name}");
    }
    let share = format!("{}%", records.len() * 100 / handshakes);
    assert_eq!(fact(facts, "Share in the last minute"), share);
    for (name, field) in [
        ("Clients", "client"),
        ("Routes", "route"),
        ("The client sees", "client_sees"),
    ] {
        let values = counted(records, field).into_iter();
        let values: Vec<_> = values
            .map(|row| format!("{} ({})", row[0], row[1]))
            .collect();
        assert_eq!(fact(facts, name), values.join(", "), "{name}");
    }
}
