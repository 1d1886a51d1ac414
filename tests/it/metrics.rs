//! What a scrape shows.

/// The documentation compared with a scrape.
mod known;
/// The effect of a reload on metrics.
mod reload;
/// Tunnels, from the 101 to the last byte, and all kinds of ends.
mod tunnels;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::proxy::HOST;
use crate::harness::scrape::{Scrape, until};
use crate::harness::services::{admin, ask, get, probes, start};
use crate::harness::upstream::Nobody;
use crate::harness::{Client, Origin, Setup, Upstream, handshake};

#[test]
fn both_services_answer_in_the_format_of_prometheus() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    for address in [probes(&proxy), admin(&proxy)] {
        let answer = ask(address, "GET", "/metrics");
        assert_eq!(answer.status, 200);
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        assert_eq!(answer.field("content-type"), Some(kind));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        let text = answer.text();
        assert!(text.ends_with('\n') && text.len() < 20_000, "{text}");
        Scrape::read(text);
        let head =
            format!("HEAD /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let mut client = Client::plain(address);
        let said = String::from_utf8(client.send(head).rest()).unwrap();
        assert!(
            said.starts_with("HTTP/1.1 200 ") && said.ends_with("\r\n\r\n"),
            "{said}"
        );
        let refused = ask(address, "POST", "/metrics");
        assert_eq!(
            (refused.status, refused.field("allow")),
            (405, Some("GET, HEAD"))
        );
        assert!(get(address, "/nothing").1.contains("GET, HEAD /metrics"));
    }
    // The admin service protects metrics from web pages too.
    let address = admin(&proxy);
    let page =
        format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nOrigin: https://evil.example\r\n\r\n");
    assert_eq!(Client::plain(address).send(page).response().status, 403);
}

#[test]
fn each_refusal_is_counted_once_by_what_was_wanted() {
    let origin = Origin::echo();
    let routes = "  - path: /api/*\n    http: {}\n    upstream: app\n".to_owned();
    let proxy = start(&Setup {
        routes,
        ..Setup::plain(&origin.url())
    });
    let plain = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let send = |bytes: String| {
        let mut client = Client::plain(proxy.address());
        client.send(bytes).response().status
    };
    assert_eq!(send("GET / HTTP/1.1\r\n broken\r\n\r\n".to_owned()), 400);
    assert_eq!(send(handshake("/nowhere", &[])), 404);
    assert_eq!(
        send(handshake("/ws", &[("Sec-WebSocket-Version", "8")])),
        426
    );
    assert_eq!(send(plain("/nowhere")), 404);
    assert_eq!(send(plain("/ws")), 426);
    assert_eq!(send(plain("/api/x")), 200);
    assert_eq!(send(plain("/api/y")), 200);
    drop(Client::plain(proxy.address()));
    let connection = "wsgate_connections_refused_total";
    until(
        &proxy,
        connection,
        &[("reason", "tcp_probe"), ("by", "client")],
        1.0,
    );
    until(&proxy, connection, &[], 2.0);
    until(
        &proxy,
        "wsgate_handshakes_total",
        &[("outcome", "refused")],
        2.0,
    );
    until(&proxy, "wsgate_requests_total", &[], 4.0);
    let scrape = until(&proxy, "wsgate_requests_failed_total", &[], 2.0);
    let refused = |name, reason| scrape.sum(name, &[("reason", reason)]);
    assert_eq!(refused("wsgate_handshakes_total", "path_not_allowed"), 1.0);
    assert_eq!(
        refused("wsgate_handshakes_total", "ws_version_unsupported"),
        1.0
    );
    assert_eq!(
        refused("wsgate_requests_failed_total", "path_not_allowed"),
        1.0
    );
    assert_eq!(
        refused("wsgate_requests_failed_total", "plain_http_request"),
        1.0
    );
    for (route, status, count) in [
        ("/api/*", "2xx", 2.0),
        ("", "4xx", 1.0),
        ("/ws", "4xx", 1.0),
    ] {
        let labels = [("route", route), ("status", status)];
        assert_eq!(
            scrape.sum("wsgate_requests_total", &labels),
            count,
            "{route}"
        );
    }
    assert_eq!(scrape.one("wsgate_connections_total"), 8.0);
    let responses = scrape.sum(
        "wsgate_stage_duration_seconds_count",
        &[("stage", "response")],
    );
    assert_eq!(responses, 2.0);
    // The records agree.
    let lines = proxy.stop();
    let counts = lines.last().unwrap().0["counts"].as_object().unwrap();
    for (reason, count) in counts {
        let families = [
            connection,
            "wsgate_handshakes_total",
            "wsgate_requests_failed_total",
        ];
        let all = families.map(|name| scrape.sum(name, &[("reason", reason)]));
        assert_eq!(all.iter().sum::<f64>(), count.as_f64().unwrap(), "{reason}");
    }
}

#[test]
fn what_is_below_the_level_is_counted_all_the_same() {
    let proxy = start(&Setup {
        log: "level: error".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    });
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    until(
        &proxy,
        "wsgate_handshakes_total",
        &[("outcome", "opened"), ("reason", "")],
        1.0,
    );
    until(
        &proxy,
        "wsgate_tunnels_open",
        &[("route", "/ws"), ("generation", "1")],
        1.0,
    );
    drop(client);
    until(
        &proxy,
        "wsgate_tunnels_open",
        &[("route", "/ws"), ("generation", "1")],
        0.0,
    );
    let lines = proxy.stop();
    assert!(
        !lines.iter().any(|line| line.text("event") == "closed"),
        "{lines:?}"
    );
}

#[test]
fn upstreams_are_told_by_endpoint() {
    let upstream = Upstream::echo();
    let closed = Nobody::new();
    let setup = Setup {
        endpoints: format!("{}, {}", closed.url(), upstream.url()),
        upstream: ", max_tunnels: 7".to_owned(),
        ..Setup::plain("")
    };
    let proxy = start(&setup);
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    let scrape = until(
        &proxy,
        "wsgate_upstream_tunnels_open",
        &[("upstream", "app")],
        1.0,
    );
    assert_eq!(scrape.one("wsgate_upstream_tunnels_limit"), 7.0);
    for (endpoint, in_use, connected, failed) in [
        (closed.url(), 0.0, 0.0, 1.0),
        (upstream.url(), 1.0, 1.0, 0.0),
    ] {
        let own = [("upstream", "app"), ("endpoint", endpoint.as_str())];
        assert_eq!(scrape.sum("wsgate_upstream_in_use", &own), in_use);
        assert_eq!(scrape.sum("wsgate_upstream_healthy", &own), 1.0);
        let connects = |outcome| {
            let [upstream, endpoint] = own;
            scrape.sum(
                "wsgate_upstream_connects_total",
                &[upstream, endpoint, ("outcome", outcome)],
            )
        };
        assert_eq!(
            (connects("connected"), connects("failed")),
            (connected, failed)
        );
    }
    drop(client);
    until(&proxy, "wsgate_upstream_in_use", &[], 0.0);
}

#[test]
fn an_endpoint_whose_checks_fail_is_unhealthy() {
    let closed = Nobody::new();
    let setup = Setup {
        upstream: ", health_check: { path: /health, interval: 100ms, timeout: 50ms }".to_owned(),
        ..Setup::plain(&closed.url())
    };
    let proxy = start(&setup);
    let endpoint = closed.url();
    proxy.event("upstream_health");
    let labels = [("upstream", "app"), ("endpoint", endpoint.as_str())];
    let scrape = until(&proxy, "wsgate_upstream_healthy", &labels, 0.0);
    assert!(
        scrape.text.contains("wsgate_upstream_healthy{"),
        "a missing series sums up to 0 too"
    );
    assert_eq!(scrape.sum("wsgate_upstream_connects_total", &[]), 0.0);
}

#[test]
fn a_drain_and_its_end_are_told() {
    let silent = Upstream::start(|mut call| {
        call.drain();
    });
    let proxy = start(&Setup {
        shutdown: "drain: 10s, delay: 0s".to_owned(),
        ..Setup::plain(&silent.url())
    });
    let state = |scrape: &Scrape| {
        let phases = ["ready", "delay", "draining", "drained"];
        let all = scrape.sum("wsgate_phase", &[]);
        assert_eq!(all, 1.0, "one of them");
        let now = phases
            .iter()
            .find(|phase| scrape.sum("wsgate_phase", &[("phase", phase)]) == 1.0);
        (*now.unwrap(), scrape.one("wsgate_ready"))
    };
    assert_eq!(state(&Scrape::of(probes(&proxy))), ("ready", 1.0));
    // A handshake without an answer from its upstream holds the drain.
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    until(&proxy, "wsgate_connections_open", &[], 1.0);
    assert_eq!(ask(admin(&proxy), "POST", "/drain").status, 202);
    assert_eq!(state(&Scrape::of(probes(&proxy))), ("draining", 0.0));
    drop(client);
    let scrape = until(&proxy, "wsgate_phase", &[("phase", "drained")], 1.0);
    assert_eq!(state(&scrape), ("drained", 0.0));
    assert_eq!(scrape.one("wsgate_connections_open"), 0.0);
}

#[test]
fn the_process_its_certificates_and_its_configuration_are_told() {
    let before = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let proxy = start(&Setup {
        limits: "connections: 321".to_owned(),
        ..Setup::tls("\"builtin:echo\"")
    });
    let scrape = Scrape::of(probes(&proxy));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let version = ("version", env!("CARGO_PKG_VERSION"));
    assert_eq!(scrape.sum("wsgate_build_info", &[version]), 1.0);
    for name in [
        "process_start_time_seconds",
        "wsgate_config_loaded_timestamp_seconds",
    ] {
        let time = scrape.one(name);
        assert!(
            before - 1.0 < time && time <= now,
            "{name}: {before} {time} {now}"
        );
    }
    assert_eq!(scrape.one("wsgate_config_generation"), 1.0);
    assert_eq!(scrape.one("wsgate_config_last_reload_successful"), 1.0);
    assert_eq!(scrape.one("wsgate_connections_limit"), 321.0);
    // The harness makes certificates that are valid for 90 days.
    let expiry = scrape.one("wsgate_certificate_expiry_timestamp_seconds");
    let days = (expiry - now) / 86_400.0;
    assert!((89.9..=90.0).contains(&days), "{days}");
    let file = proxy.folder().join("good.pem").display().to_string();
    let own = scrape.sum(
        "wsgate_certificate_expiry_timestamp_seconds",
        &[("file", &file)],
    );
    assert_eq!(own, expiry);
    let resident = scrape.one("process_resident_memory_bytes");
    assert!((1e6..1e9).contains(&resident), "{resident}");
    let descriptors = scrape.one("process_open_fds");
    let counted = std::fs::read_dir(format!("/proc/{}/fd", proxy.id()))
        .unwrap()
        .count();
    assert!(
        (descriptors - counted as f64).abs() <= 2.0,
        "{descriptors} {counted}"
    );
    assert!(descriptors <= scrape.one("process_max_fds"));
    assert!(scrape.one("process_cpu_seconds_total") > 0.0);
}
