use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use wsgate::reason::Stage;

use super::until;
use crate::harness::frames::{CLOSE, TEXT, closing, echoes, masked, read};
use crate::harness::inside::Inside;
use crate::harness::scrape::Scrape;
use crate::harness::services::{probes, start};
use crate::harness::{Client, Proxy, Setup, Upstream, eventually, handshake};

const OPEN: &str = "wsgate_tunnels_open";
const ENDED: &str = "wsgate_tunnels_ended_total";

#[track_caller]
fn open(proxy: &Proxy) -> Client {
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    client
}

/// Ends a tunnel from the client's side with this code.
#[track_caller]
fn close(mut client: Client, code: u16) {
    client.send(masked(CLOSE, closing(code, "")));
    assert_eq!(read(&mut client).unwrap(), (CLOSE, closing(code, "")));
    client.finish();
    client.rest();
}

#[test]
fn the_gauge_is_there_from_the_start_and_goes_back_to_0() {
    let upstream = Upstream::echo();
    let routes = "  - path: /other\n    websocket: { origins: [self] }\n    host: a.example\n    upstream: app\n  - \
                  path: /plain\n    respond: { status: 200, body: x }\n";
    let proxy = start(&Setup {
        routes: routes.to_owned(),
        ..Setup::plain(&upstream.url())
    });
    let scrape = Scrape::of(probes(&proxy));
    let routes: Vec<_> = scrape
        .samples
        .iter()
        .filter(|(name, ..)| name == OPEN)
        .map(|(_, labels, value)| {
            (
                labels["route"].as_str(),
                labels["generation"].as_str(),
                *value,
            )
        })
        .collect();
    assert_eq!(routes, [("/ws", "1", 0.0), ("a.example/other", "1", 0.0)]);
    let clients: Vec<_> = (0..3).map(|_| open(&proxy)).collect();
    let own = [("route", "/ws"), ("generation", "1")];
    let scrape = until(&proxy, OPEN, &own, 3.0);
    assert_eq!(scrape.sum(OPEN, &[]), 3.0);
    assert_eq!(scrape.sum(ENDED, &[]), 0.0);
    for (client, code) in clients.into_iter().zip([1000, 4321, 3500]) {
        close(client, code);
    }
    let scrape = until(&proxy, OPEN, &[], 0.0);
    for code in ["1000", "4xxx", "3xxx"] {
        let labels = [
            ("reason", "client_close"),
            ("by", "client"),
            ("close_code", code),
        ];
        assert_eq!(scrape.sum(ENDED, &labels), 1.0, "{code}");
    }
    assert_eq!(scrape.one("wsgate_tunnel_duration_seconds_count"), 3.0);
    assert_eq!(
        scrape.sum("wsgate_tunnel_duration_seconds_bucket", &[("le", "+Inf")]),
        3.0
    );
    for stage in ["head", "policy", "connect", "handshake"] {
        // Once for each tunnel, and not again at its end.
        let count = scrape.sum("wsgate_stage_duration_seconds_count", &[("stage", stage)]);
        assert_eq!(count, 3.0, "{stage}");
    }
}

#[test]
fn bytes_and_messages_are_counted_while_they_pass_and_agree_with_the_records() {
    let upstream = Upstream::echo();
    let proxy = start(&Setup::plain(&upstream.url()));
    let bytes = |direction| [("route", "/ws"), ("direction", direction)];
    let (up, down) = (bytes("client_to_upstream"), bytes("upstream_to_client"));
    let mut first = open(&proxy);
    echoes(&mut first, "hello");
    // The tunnel is still open.
    let scrape = until(&proxy, "wsgate_tunnel_messages_total", &down, 1.0);
    assert_eq!(scrape.sum(OPEN, &[]), 1.0);
    assert_eq!(
        scrape.sum("wsgate_tunnel_bytes_total", &up),
        (2 + 4 + 5) as f64
    );
    assert_eq!(
        scrape.sum("wsgate_tunnel_bytes_total", &down),
        (2 + 5) as f64
    );
    // Bytes that came right after the request, or before the 101, count too.
    let mut second = open(&proxy);
    for size in [1, 125, 126, 70_000] {
        echoes(&mut second, &"x".repeat(size));
    }
    second.send(masked(TEXT, "unanswered"));
    second.reset();
    close(first, 1000);
    let scrape = until(&proxy, OPEN, &[], 0.0);
    let lines = proxy.stop();
    for (field, name, labels) in [
        ("bytes_client_to_upstream", "wsgate_tunnel_bytes_total", &up),
        (
            "bytes_upstream_to_client",
            "wsgate_tunnel_bytes_total",
            &down,
        ),
        (
            "messages_client_to_upstream",
            "wsgate_tunnel_messages_total",
            &up,
        ),
        (
            "messages_upstream_to_client",
            "wsgate_tunnel_messages_total",
            &down,
        ),
    ] {
        let told: u64 = lines
            .iter()
            .filter(|line| line.text("event") == "closed")
            .map(|line| line.number(field).unwrap())
            .sum();
        assert!(told > 0, "{field}");
        assert_eq!(scrape.sum(name, labels), told as f64, "{field}");
    }
}

#[test]
fn a_killed_upstream_is_counted_as_what_its_clients_see() {
    let upstream = Upstream::start(|mut call| {
        call.switch("");
        call.receive(masked(TEXT, "die").len());
        call.reset();
    });
    let proxy = start(&Setup::plain(&upstream.url()));
    let mut clients: Vec<_> = (0..5).map(|_| open(&proxy)).collect();
    until(&proxy, OPEN, &[], 5.0);
    for client in &mut clients {
        client.send(masked(TEXT, "die"));
    }
    let scrape = until(
        &proxy,
        ENDED,
        &[("by", "upstream"), ("close_code", "1014")],
        5.0,
    );
    assert_eq!(scrape.sum(OPEN, &[]), 0.0);
    assert_eq!(scrape.sum(ENDED, &[("reason", "upstream_reset")]), 5.0);
    // A browser reports 1006 for an end without a Close.
    let transparent = start(&Setup {
        upstream: ", on_abort: transparent".to_owned(),
        ..Setup::plain(&upstream.url())
    });
    let mut client = open(&transparent);
    client.send(masked(TEXT, "die"));
    let labels = [("reason", "upstream_reset"), ("close_code", "1006")];
    until(&transparent, ENDED, &labels, 1.0);
}

#[test]
fn a_tunnel_whose_task_panics_or_is_cancelled_does_not_stay_in_the_gauge() {
    for is_panic in [true, false] {
        let upstream = Upstream::echo();
        let armed = Arc::new(AtomicBool::new(is_panic));
        let hook = move |stage| {
            assert!(
                stage != Stage::Tunnel || !armed.swap(false, SeqCst),
                "on purpose"
            );
        };
        let mut inside = Inside::start(&Setup::tls(&upstream.url()), Arc::new(hook));
        let mut client = Client::tls(inside.address());
        assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
        if !is_panic {
            let is_open = || (inside.metrics().sum(OPEN, &[]) == 1.0).then_some(());
            eventually("the tunnel in the gauge", is_open);
            inside.cancel();
        }
        inside.records.terminals(1);
        let scrape = inside.metrics();
        assert_eq!(scrape.sum(OPEN, &[("generation", "1")]), 0.0);
        assert_eq!(
            scrape.sum("wsgate_handshakes_total", &[("outcome", "opened")]),
            1.0
        );
        assert_eq!(scrape.sum(ENDED, &[]), 1.0);
        if is_panic {
            let end = [
                ("reason", "internal_aborted"),
                ("by", "proxy"),
                ("close_code", "unknown"),
            ];
            assert_eq!(scrape.sum(ENDED, &end), 1.0);
        }
    }
}
