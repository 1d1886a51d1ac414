//! Events while the upstream is handling the handshake.

use std::time::{Duration, Instant};

use wsgate::reason::Reason;

use super::{gate, has_timings};
use crate::harness::frames::{TEXT, masked, plain};
use crate::harness::upstream::Full;
use crate::harness::{Client, Setup, Upstream, handshake};

#[test]
fn each_upgrade_uses_a_connection_of_its_own() {
    let upstream = Upstream::start(|mut call| {
        if call.field("x-refuse").is_some() {
            call.write(
                "HTTP/1.1 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
            );
            assert_eq!(call.drain(), b"", "a second request on the same connection");
        } else {
            call.switch("");
            call.echo();
        }
    });
    let mut proxy = Setup::plain(&upstream.url()).start();
    for (number, refuse) in ["", "yes", "yes", "", ""].into_iter().enumerate() {
        let mut client = Client::plain(proxy.address());
        let response = client
            .send(handshake("/ws", &[("X-Refuse", refuse)]))
            .response();
        assert_eq!(response.status, if refuse.is_empty() { 101 } else { 404 });
        drop(client);
        proxy.terminal();
        assert_eq!(upstream.connections(), number + 1);
    }
    upstream.all_ended();
}

#[test]
fn a_client_that_leaves_is_recorded_with_how_long_it_waited() {
    let waited = Duration::from_millis(150);
    let (gate, keeper) = gate();
    let upstream = Upstream::start(move |mut call| {
        gate.lock().unwrap().pass();
        call.drain();
    });
    let mut proxy = Setup::plain(&upstream.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    keeper.reached();
    keeper.open();
    // The duration itself is tested.
    std::thread::sleep(waited);
    let left = Instant::now();
    client.finish();
    let line = proxy.terminal();
    upstream.all_ended();
    assert!(
        left.elapsed() < Duration::from_secs(5),
        "the upstream's connection must not wait for its deadline"
    );
    let detail = line.text("detail").to_owned();
    let said = detail.split("left after waiting ").nth(1).unwrap();
    let said = said.split(':').next().unwrap();
    assert!(
        humantime::parse_duration(said).unwrap() >= waited,
        "{detail}"
    );
    line.expect(Reason::ClientGaveUp);
}

#[test]
fn a_client_that_resets_its_connection_has_given_up_too() {
    for tls in [false, true] {
        let (gate, keeper) = gate();
        let upstream = Upstream::start(move |mut call| {
            gate.lock().unwrap().pass();
            call.drain();
        });
        let setup = if tls {
            Setup::tls(&upstream.url())
        } else {
            Setup::plain(&upstream.url())
        };
        let mut proxy = setup.start();
        let mut client = if tls {
            Client::tls(proxy.address())
        } else {
            Client::plain(proxy.address())
        };
        client.send(handshake("/ws", &[]));
        keeper.reached();
        keeper.open();
        client.reset();
        let line = proxy.terminal();
        upstream.all_ended();
        line.expect(Reason::ClientGaveUp).with_detail("reset");
    }
}

#[test]
fn a_client_may_give_up_while_the_upstream_is_being_dialled() {
    let full = Full::new();
    let mut proxy = Setup::plain(&full.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    client.finish();
    let line = proxy.terminal();
    has_timings(&line, &["head_ms", "policy_ms"]);
    line.expect(Reason::ClientGaveUp);
}

#[test]
fn a_tls_client_that_is_cut_off_while_it_waits_has_given_up() {
    let (gate, keeper) = gate();
    let upstream = Upstream::start(move |mut call| {
        gate.lock().unwrap().pass();
        call.drain();
    });
    let mut proxy = Setup::tls(&upstream.url()).start();
    let mut client = Client::tls(proxy.address());
    client.send(handshake("/ws", &[]));
    keeper.reached();
    keeper.open();
    client.truncate();
    let line = proxy.terminal();
    upstream.all_ended();
    line.expect(Reason::ClientGaveUp)
        .with_detail("close_notify");
}

#[test]
fn frames_sent_ahead_of_the_101_arrive_behind_it() {
    let (gate, keeper) = gate();
    let upstream = Upstream::start(move |mut call| {
        gate.lock().unwrap().pass();
        call.switch("");
        call.echo();
    });
    let mut proxy = Setup::tls(&upstream.url()).start();
    let mut client = Client::tls(proxy.address());
    client.send(handshake("/ws", &[]));
    keeper.reached();
    let early = masked(TEXT, "early").repeat(2000);
    let back = plain(TEXT, "early").repeat(2000);
    client.send(&early);
    keeper.open();
    assert_eq!(client.response().status, 101);
    assert_eq!(client.receive(back.len()), back);
    client.finish();
    let closed = proxy.terminal().expect(Reason::ClientEofNoClose);
    assert_eq!(
        closed.number("bytes_client_to_upstream"),
        Some(early.len() as u64)
    );
    assert_eq!(
        closed.number("bytes_upstream_to_client"),
        Some(back.len() as u64)
    );
}
