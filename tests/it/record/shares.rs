//! The share of each client in a flood, whatever others do, and the summary of the rest.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use wsgate::reason::{Reason, Stage};
use wsgate::record::{Record, Sink};

use crate::harness::inside::{Records, settings};
use crate::harness::proxy::is_terminal;
use crate::harness::{Client, Line, PATIENCE, Proxy, Setup, handshake};

const EVIL: &str = "https://evil.example";
const SCANNER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// A handshake from a page that is not listed.
fn foreign(target: &str, changes: &[(&str, &str)]) -> String {
    let changes = [&[("Origin", EVIL)], changes].concat();
    handshake(target, &changes)
}

#[track_caller]
fn is_refused(from: Ipv4Addr, address: SocketAddr, request: &str) {
    let response = Client::plain_from(from, address).send(request).response();
    assert_eq!(response.status, 403);
}

/// Refusals from one address, in several threads.
fn scan(from: Ipv4Addr, address: SocketAddr, count: usize, request: &str) {
    const THREADS: usize = 4;
    assert_eq!(count % THREADS, 0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..count / THREADS).for_each(|_| is_refused(from, address, request)));
        }
    });
}

/// Waits until all `count` refusals are written or summed up; gives the summaries.
fn all_told(proxy: &Proxy, count: u64) -> Vec<Line> {
    proxy.wait("all refusals, written or summed up", |lines| {
        let written = lines.iter().filter(|line| is_terminal(line)).count() as u64;
        let summaries = summaries(lines);
        let kept_back: u64 = summaries
            .iter()
            .map(|line| line.number("count").unwrap())
            .sum();
        assert!(written + kept_back <= count, "{written} + {kept_back}");
        (written + kept_back == count).then_some(summaries)
    })
}

fn summaries(lines: &[Line]) -> Vec<Line> {
    let is_summary = |line: &&Line| line.text("event") == "records_suppressed";
    lines.iter().filter(is_summary).cloned().collect()
}

/// The values and counts of `field` in all summaries; they are exact.
fn totals(summaries: &[Line], field: &str) -> Vec<(String, u64)> {
    let mut totals: Vec<(String, u64)> = Vec::new();
    for one in summaries
        .iter()
        .filter_map(|line| line.0[field].as_array())
        .flatten()
    {
        assert!(one.get("approximate").is_none(), "{summaries:?}");
        let (value, count) = (
            one["value"].as_str().unwrap(),
            one["count"].as_u64().unwrap(),
        );
        match totals.iter_mut().find(|(other, _)| other == value) {
            Some((_, total)) => *total += count,
            None => totals.push((value.to_owned(), count)),
        }
    }
    totals
}

#[test]
fn a_scanner_hides_nobody_and_is_named() {
    let proxy = Setup::plain("\"builtin:echo\"").start();
    let address = proxy.address();
    let request = foreign("/ws?token=SECRET&x=1", &[]);
    for (round, user) in [2, 3, 4].into_iter().enumerate() {
        scan(SCANNER, address, 300, &request);
        let id = format!("user-{round}");
        let request = foreign("/ws", &[("X-Request-ID", &id)]);
        is_refused(Ipv4Addr::new(127, 0, 0, user), address, &request);
    }
    // The flood is over, and is summed up without waiting for another one.
    let summaries = all_told(&proxy, 903);
    let lines = proxy.stop();
    for (round, client) in ["127.0.0.2", "127.0.0.3", "127.0.0.4"].iter().enumerate() {
        let id = format!("user-{round}");
        let found: Vec<_> = lines
            .iter()
            .filter(|line| line.text("request_id") == id)
            .collect();
        let [found] = found.as_slice() else {
            panic!("{id}: {found:?}");
        };
        assert_eq!(found.text("reason"), "origin_not_allowed");
        assert_eq!(found.text("client"), *client);
    }
    let kept_back: u64 = summaries
        .iter()
        .map(|line| line.number("count").unwrap())
        .sum();
    assert!(kept_back > 0);
    for line in &summaries {
        assert_eq!(line.text("reason"), "origin_not_allowed");
        assert_eq!(line.text("level"), "info");
    }
    let expected = |value: &str| vec![(value.to_owned(), kept_back)];
    assert_eq!(totals(&summaries, "top_clients"), expected("127.0.0.66"));
    assert_eq!(totals(&summaries, "top_origins"), expected(EVIL));
    // The summary shows the path without its query. The records also show the names of the query's parameters.
    assert_eq!(totals(&summaries, "top_paths"), expected("/ws"));
    assert!(!format!("{lines:?}").contains("SECRET"));
}

/// Behind a balancer each client that it names has a share.
#[test]
fn behind_a_balancer_no_client_hides_another() {
    let setup = Setup {
        extra: "trusted_proxies: [127.0.0.0/8]\n".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let proxy = setup.start();
    let address = proxy.address();
    let of = |client: &str| foreign("/ws", &[("X-Forwarded-For", client)]);
    let balancer = Ipv4Addr::LOCALHOST;
    scan(balancer, address, 400, &of("2001:db8::66"));
    scan(balancer, address, 4, &of("2001:db8::67"));
    let users = ["203.0.113.7", "203.0.113.8", "2001:db8:0:1::1"];
    for user in users {
        is_refused(balancer, address, &of(user));
    }
    let summaries = all_told(&proxy, 407);
    let lines = proxy.stop();
    for user in users {
        let of_user = |line: &&Line| is_terminal(line) && line.text("client") == user;
        assert_eq!(lines.iter().filter(of_user).count(), 1, "{user}");
    }
    let named = totals(&summaries, "top_clients");
    assert!(!named.is_empty());
    for (value, _) in named {
        // One address of a network is named itself; several are named as their network.
        let is_network = ["2001:db8::66", "2001:db8::67", "2001:db8::/64"];
        assert!(is_network.contains(&value.as_str()), "{value}");
    }
}

/// A summary shows as much of an address as a record does.
#[test]
fn a_summary_shows_of_addresses_what_records_show() {
    for (setting, expected) in [("truncated", Some("127.0.0.0")), ("off", None)] {
        let setup = Setup {
            log: format!("client_address: {setting}"),
            ..Setup::plain("\"builtin:echo\"")
        };
        let proxy = setup.start();
        scan(SCANNER, proxy.address(), 400, &foreign("/ws", &[]));
        let summaries = all_told(&proxy, 400);
        let lines = proxy.stop();
        let named = totals(&summaries, "top_clients");
        let values: Vec<_> = named.iter().map(|(value, _)| value.as_str()).collect();
        assert_eq!(values, Vec::from_iter(expected));
        assert!(!format!("{lines:?}").contains("127.0.0.66"));
    }
}

/// Each source has its records while there are fewer than 4,096 of them, even if one of them floods.
#[test]
fn thousands_of_clients_do_not_hide_each_other() {
    const CLIENTS: u32 = 4000;
    let records = Records::default();
    let sink = Sink::start(records.clone(), settings(None)).unwrap();
    let refuse = |client: u32| {
        let client = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + client));
        let mut record = Record {
            client: Some(client.to_string()),
            source: Some(client),
            ..Record::default()
        };
        record.fail(Reason::OriginNotAllowed.into(), Stage::Policy);
        sink.emit(record);
    };
    for client in 1..CLIENTS {
        refuse(client);
        refuse(0);
    }
    sink.close("a test", PATIENCE);
    let lines = records.lines();
    assert_eq!(lines.last().unwrap().0["counts"]["records_dropped"], 0);
    let mut found: Vec<_> = lines
        .iter()
        .filter(|line| is_terminal(line) && line.text("client") != "10.0.0.0")
        .map(|line| line.text("client"))
        .collect();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), CLIENTS as usize - 1);
    let named = totals(&summaries(&lines), "top_clients");
    let values: Vec<_> = named.iter().map(|(value, _)| value.as_str()).collect();
    assert_eq!(values, ["10.0.0.0"]);
}
