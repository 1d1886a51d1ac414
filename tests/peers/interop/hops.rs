use std::fs;

use serde_json::json;
use wsgate::reason::{By, Reason};

use super::clients::STREAM;
use super::{Gate, TLS, Way, expect_closed};
use crate::harness::proxy::ORIGIN;
use crate::harness::{Line, Setup, handshake};
use crate::tools::hops::{Hop, haproxy_version, nginx_version};
use crate::tools::programs::{Client, Family, Kind, Report, Server, field, fields};

/// The address from which the hops connect; clients have another one.
const HOPS: &str = "trusted_proxies: [127.0.0.1]\n";
const CLIENT: &str = "127.0.0.9";

/// A client with its own address, through the hop.
#[track_caller]
fn visit(gate: &Gate, scheme: &str, hop: &Hop, case: &str) -> Report {
    let url = format!(
        "{scheme}://localhost:{}{STREAM}?case={case}",
        hop.address().port()
    );
    let options = json!({
        "ca": gate.authority,
        "origin": ORIGIN,
        "local": CLIENT,
        "headers": { "X-Forwarded-For": "6.6.6.6", "X-WX-OPENID": "someone-else" },
        "cases": ["text", "big_binary", "close"],
    });
    Client::start(Kind::Node, &url, options).finish()
}

/// The client's address is everywhere, and the hop's only where the connection itself is meant.
#[track_caller]
fn expect_client(record: &Line, seen: &Line, chain: &str) {
    assert_eq!(record.text("client"), CLIENT, "{record:?}");
    assert!(record.text("peer").starts_with("127.0.0.1:"), "{record:?}");
    assert_eq!(field(seen, "x-forwarded-for"), chain);
    assert_eq!(field(seen, "x-forwarded-proto"), record_proto(record));
}

fn record_proto(record: &Line) -> &'static str {
    match record.text("tls_version") {
        "" => "http",
        _ => "https",
    }
}

#[test]
fn haproxy_passes_tls_on_and_names_the_client() {
    let mut family = Family::new(haproxy_version());
    let server = Server::start(Kind::Node, json!({}));
    let listener = format!("{TLS}, proxy_protocol: required");
    let way = || [Way::new(STREAM, server.endpoint())];
    for (case, options) in [
        ("v1", "send-proxy"),
        ("v2", "send-proxy-v2"),
        (
            "v2-sum",
            "send-proxy-v2 proxy-v2-options crc32c,ssl,unique-id",
        ),
    ] {
        let gate = Gate::open_on(&listener, &way(), HOPS);
        let hop = Hop::haproxy(gate.proxy.address(), options);
        family.add(visit(&gate, "wss", &hop, case).passed());
        let (record, seen) = (gate.ended(case), server.handshake(case));
        let record = record.expect(Reason::ClientClose);
        assert_eq!(record.text("sni"), "localhost");
        expect_client(&record, &seen, CLIENT);
        // The client may not speak for others, although the hop may.
        assert_eq!(record.notes(), ["spoofed_header_stripped"], "{record:?}");
        let names = fields(&seen);
        assert!(
            names
                .iter()
                .all(|(name, _)| !name.to_ascii_lowercase().starts_with("x-wx-"))
        );
        drop(hop);
        gate.close(1);
    }

    // HAProxy without the option, and a TLS client that rejects the certificate.
    let gate = Gate::open_on(&listener, &way(), HOPS);
    let hop = Hop::haproxy(gate.proxy.address(), "");
    visit(&gate, "wss", &hop, "none").error();
    let none = gate.proxy.wait("the refusal", |lines| {
        let is = |line: &&Line| line.text("event") == "refused";
        lines.iter().find(is).cloned()
    });
    let none = none.expect(Reason::ProxyProtocolMissing);
    assert_eq!(none.text("client"), "127.0.0.1");
    drop(hop);

    let hop = Hop::haproxy(gate.proxy.address(), "send-proxy-v2");
    let foreign = gate.proxy.folder().join("foreign.pem");
    fs::write(
        &foreign,
        crate::harness::certs::Authority::new("another").pem(),
    )
    .unwrap();
    let url = format!("wss://localhost:{}{STREAM}", hop.address().port());
    let options = json!({ "ca": foreign, "local": CLIENT });
    Client::start(Kind::Node, &url, options).finish().error();
    let failure = gate.tls_failure();
    assert_eq!(failure.text("client"), CLIENT, "{failure:?}");
    drop(hop);
    family.add(2);

    // A listener that does not accept headers reports what arrived.
    let plain = Gate::open_on(TLS, &way(), "");
    let hop = Hop::haproxy(plain.proxy.address(), "send-proxy-v2");
    visit(&plain, "wss", &hop, "unexpected").error();
    plain.proxy.wait("the refusal", |lines| {
        let is = |line: &&Line| line.text("reason") == Reason::ProxyProtocolUnexpected.code();
        lines.iter().find(is).cloned()
    });
    drop(hop);
    family.add(1);
    family.finish();
}

/// HAProxy also sends the header in its health checks, and says that these connections are its own.
#[test]
fn haproxys_health_checks_are_its_own() {
    let mut family = Family::new(format!("{}: health checks", haproxy_version()));
    let server = Server::start(Kind::Node, json!({}));
    let listener = format!("{TLS}, proxy_protocol: required");
    let gate = Gate::open_on(&listener, &[Way::new(STREAM, server.endpoint())], HOPS);
    let hop = Hop::haproxy(gate.proxy.address(), "send-proxy-v2 check inter 100ms");
    let probe = gate.proxy.wait("a health check", |lines| {
        let is = |line: &&Line| line.text("event") == "refused";
        lines.iter().find(is).cloned()
    });
    // HAProxy resets them; if the reset overtakes the header, their origin is unknown.
    let known = ["tcp_probe", "tcp_reset_before_request"];
    assert!(known.contains(&probe.text("reason")), "{probe:?}");
    assert_eq!(probe.text("client"), "127.0.0.1", "{probe:?}");
    family.add(visit(&gate, "wss", &hop, "checked").passed());
    assert_eq!(gate.ended("checked").text("client"), CLIENT);
    drop(hop);
    family.add(1);
    family.finish();
}

const UPGRADE: &str =
    "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";";
const FORWARDED: &str =
    "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;";

#[test]
fn nginx_with_its_upgrade_lines_works() {
    let mut family = Family::new(nginx_version());
    let server = Server::start(Kind::Node, json!({}));
    let gate = Gate::open_on("", &[Way::new(STREAM, server.endpoint())], HOPS);
    let location = format!("proxy_http_version 1.1; {UPGRADE} {FORWARDED}");
    let hop = Hop::nginx(gate.proxy.address(), &location);
    family.add(visit(&gate, "ws", &hop, "upgraded").passed());
    let record = expect_closed(gate.ended("upgraded"), Reason::ClientClose, 1000);
    expect_client(
        &record,
        &server.handshake("upgraded"),
        &format!("{CLIENT}, 127.0.0.1"),
    );
    drop(hop);
    gate.close(1);
    family.finish();
}

/// Behind nginx all clients have nginx's address until it is listed: one record says so, with the line to add.
#[test]
fn nginx_that_nobody_listed_is_told_once() {
    let mut family = Family::new(format!("{}: not trusted", nginx_version()));
    let setup = Setup::plain("\"builtin:echo\"");
    let proxy = setup.start();
    let forwarded = FORWARDED.replace("$remote_addr", "$proxy_add_x_forwarded_for");
    let location = format!("proxy_http_version 1.1; {UPGRADE} {forwarded}");
    let hop = Hop::nginx(proxy.address(), &location);
    let visit = |client: &str| {
        let mut visitor = crate::harness::Client::plain(hop.address());
        let request = handshake("/ws", &[("X-Forwarded-For", client)]);
        assert_eq!(visitor.send(request).response().status, 101);
        visitor.finish();
        visitor.rest();
    };
    for number in 0..20 {
        visit(&format!("203.0.113.{number}"));
    }
    let told = proxy.event("untrusted_proxy");
    assert_eq!(told.text("level"), "warn");
    assert_eq!(told.text("client"), "127.0.0.1", "{told:?}");
    assert!(told.text("peer").starts_with("127.0.0.1:"), "{told:?}");
    assert!(
        told.text("detail")
            .contains("127.0.0.1 named the client in X-Forwarded-For")
    );
    let line = told.text("hint").split('`').nth(1).unwrap();
    assert_eq!(line, "trusted_proxies: [127.0.0.1]");
    family.add(1);

    // The line that it recommends works.
    let line = format!("{line}\n");
    proxy.reload(&Setup {
        extra: line,
        ..setup.clone()
    });
    visit("203.0.113.77");
    let last = proxy.wait("the tunnel of a client with a name", |lines| {
        let is = |line: &&Line| line.text("client") == "203.0.113.77";
        lines.iter().find(is).cloned()
    });
    assert_eq!(last.notes(), [""; 0]);
    // It is not reported again after the line is removed.
    proxy.reload(&setup);
    for number in 0..20 {
        visit(&format!("203.0.113.{number}"));
    }
    assert_eq!(proxy.events("untrusted_proxy"), 1);
    drop(hop);
    proxy.stop();
    family.add(1);
    family.finish();
}

/// nginx's defaults: it uses an old HTTP version, or drops the upgrade.
#[test]
fn nginx_without_its_upgrade_lines_is_told() {
    let mut family = Family::new(format!("{}: without the upgrade", nginx_version()));
    let server = Server::start(Kind::Node, json!({}));
    let gate = Gate::open_on("", &[Way::new(STREAM, server.endpoint())], HOPS);
    let (old, eaten) = (
        Reason::HttpVersionUnsupported,
        Reason::WsUpgradeHeaderMissing,
    );
    let cases = [
        ("default", "", &[old, eaten][..]),
        ("old", "proxy_http_version 1.0;", &[old]),
        (
            "old-upgrade",
            &format!("proxy_http_version 1.0; {UPGRADE}"),
            &[old],
        ),
        ("eaten", "proxy_http_version 1.1;", &[eaten]),
        (
            "connection-close",
            "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;",
            &[Reason::WsConnectionTokenMissing],
        ),
    ];
    for (case, location, reasons) in &cases {
        let hop = Hop::nginx(gate.proxy.address(), &format!("{location} {FORWARDED}"));
        let refusal = visit(&gate, "ws", &hop, case).refusal();
        let record = gate.ended(case);
        let reason = reasons
            .iter()
            .find(|reason| reason.code() == record.text("reason"));
        let reason = reason.unwrap_or_else(|| panic!("{case}: {record:?}"));
        let record = record.expect(*reason);
        assert_eq!(record.text("by"), By::Network.name(), "{case}");
        assert!(record.text("hint").contains("nginx"), "{record:?}");
        assert_eq!(refusal.number("status"), record.number("status"), "{case}");
        assert!(
            refusal.text("body").starts_with(reason.code()),
            "{refusal:?}"
        );
        family.add(1);
    }
    assert!(
        server
            .lines()
            .iter()
            .all(|line| line.text("event") != "connection")
    );
    gate.close(cases.len());
    family.finish();
}
