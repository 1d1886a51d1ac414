use std::sync::{Arc, Barrier};
use std::time::Duration;

use h2::Reason as Code;
use wsgate::reason::Reason;

use super::{open, setup, tunnels};
use crate::harness::frames::{CLOSE, closing, masked};
use crate::harness::h2::Raw;
use crate::harness::{Line, Origin, Setup, Upstream};

#[test]
fn each_tunnel_of_a_client_counts() {
    let upstream = Upstream::echo();
    let setup = Setup {
        limits: "connections_per_client: 2".to_owned(),
        ..setup(&upstream.url())
    };
    let (mut proxy, mut raw) = open(&setup);
    tunnels(&mut raw, &[1, 3]);
    raw.connect_ws(5, "/ws", &[]);
    assert_eq!(raw.status(5), 429);
    proxy.terminal().expect(Reason::ClientConnLimit);
    // Plain requests are not tunnels.
    raw.get(7, "/hello", &[]);
    assert_eq!(raw.status(7), 200);
    proxy.terminal();
    raw.reset(1, Code::CANCEL);
    proxy.terminal().expect(Reason::ClientReset);
    raw.connect_ws(9, "/ws", &[]);
    assert_eq!(raw.status(9), 200);
    raw.echoes(9, "hello");
}

#[test]
fn each_further_stream_needs_a_place_of_its_own() {
    let upstream = Upstream::echo();
    let setup = Setup {
        limits: "connections: 2".to_owned(),
        ..setup(&upstream.url())
    };
    let (mut proxy, mut raw) = open(&setup);
    tunnels(&mut raw, &[1, 3]);
    raw.connect_ws(5, "/ws", &[]);
    assert_eq!(raw.expect_reset(5), Code::REFUSED_STREAM);
    let line = proxy.terminal().expect(Reason::TcpConnLimit);
    assert_eq!(line.number("stream_id"), Some(5));
    raw.echoes(1, "still there");
}

#[test]
fn a_drain_sends_goaway_and_closes_every_tunnel() {
    let upstream = Upstream::echo();
    let setup = Setup {
        shutdown: "drain: 5s, spread: 0s".to_owned(),
        ..setup(&upstream.url())
    };
    let (mut proxy, mut raw) = open(&setup);
    tunnels(&mut raw, &[1, 3]);
    proxy.signal("TERM");
    assert_eq!(raw.expect_goaway().1, Code::NO_ERROR);
    for stream in [1, 3] {
        assert_eq!(
            raw.ws_frame(stream),
            (CLOSE, closing(1012, "drain_graceful"))
        );
        raw.data(stream, masked(CLOSE, closing(1012, "")), 0);
    }
    for _ in 0..2 {
        let line = proxy.terminal().expect(Reason::DrainGraceful);
        assert_eq!(line.number("client_sees"), Some(1012));
    }
    assert_eq!(proxy.ended().code(), Some(0));
}

#[test]
fn a_drain_waits_for_the_answer_to_a_request() {
    let (ready, go) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (there, may) = (Arc::clone(&ready), Arc::clone(&go));
    let upstream = Origin::start(move |ask| {
        there.wait();
        may.wait();
        ask.ok("late");
    });
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    raw.get(1, "/api/x", &[]);
    ready.wait();
    proxy.signal("TERM");
    assert_eq!(raw.expect_goaway().1, Code::NO_ERROR);
    go.wait();
    assert_eq!(raw.response(1).body, b"late");
    assert_eq!(proxy.terminal().text("event"), "request");
    assert_eq!(proxy.ended().code(), Some(0));
}

#[test]
fn the_next_stream_is_served_with_the_new_configuration() {
    let upstream = Upstream::echo();
    let setup = setup(&upstream.url());
    let (mut proxy, mut raw) = open(&setup);
    raw.connect_ws(1, "/ws", &[]);
    assert_eq!(raw.status(1), 200);
    raw.get(3, "/new", &[]);
    assert_eq!(raw.status(3), 404);
    let routes = format!(
        "{}  - path: /new\n    respond: {{ status: 200, body: new }}\n",
        setup.routes
    );
    let changed = Setup { routes, ..setup };
    proxy.reload_with(&changed.yaml());
    raw.get(5, "/new", &[]);
    assert_eq!(raw.response(5).body, b"new");
    raw.echoes(1, "still there");
    let generations: Vec<_> = (0..2)
        .map(|_| proxy.terminal().number("generation"))
        .collect();
    assert_eq!(generations, [Some(1), Some(2)]);
}

#[test]
fn a_listener_that_offers_http2_no_more_sends_its_clients_away() {
    let upstream = Upstream::echo();
    let setup = setup(&upstream.url());
    let (mut proxy, mut raw) = open(&setup);
    raw.connect_ws(1, "/ws", &[]);
    assert_eq!(raw.status(1), 200);
    let without = setup
        .yaml()
        .replace("alpn: [h2, http/1.1]", "alpn: [http/1.1]");
    proxy.reload_with(&without);
    assert_eq!(raw.expect_goaway().1, Code::NO_ERROR);
    raw.echoes(1, "still there");
    raw.data(1, masked(CLOSE, closing(1000, "")), 0);
    proxy.terminal().expect(Reason::ClientClose);
}

#[test]
fn a_drain_spreads_the_tunnels_of_one_connection() {
    let upstream = Upstream::echo();
    let setup = Setup {
        shutdown: "drain: 20s, spread: 3s".to_owned(),
        ..setup(&upstream.url())
    };
    let (mut proxy, mut raw) = open(&setup);
    let streams: Vec<u32> = (0..20).map(|index| 1 + 2 * index).collect();
    for stream in &streams {
        raw.connect_ws(*stream, "/ws", &[]);
        assert_eq!(raw.status(*stream), 200);
    }
    proxy.signal("TERM");
    for stream in &streams {
        assert_eq!(
            raw.ws_frame(*stream),
            (CLOSE, closing(1012, "drain_graceful"))
        );
        raw.data(*stream, masked(CLOSE, closing(1012, "")), 0);
    }
    let ends: Vec<_> = streams
        .iter()
        .map(|_| proxy.terminal().time("ended_at"))
        .collect();
    let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    assert!(
        last.duration_since(*first).unwrap() > Duration::from_secs(1),
        "{ends:?}"
    );
}

/// More streams at once than are announced.
pub fn h2_stream_limit() -> Line {
    let upstream = Upstream::echo();
    let setup = Setup {
        listener: "http2: { max_streams: 1 }".to_owned(),
        ..setup(&upstream.url())
    };
    let (mut proxy, mut raw) = open(&setup);
    raw.connect_ws(1, "/ws", &[]);
    assert_eq!(raw.status(1), 200);
    raw.connect_ws(3, "/ws", &[]);
    assert_eq!(raw.expect_reset(3), Code::REFUSED_STREAM);
    raw.echoes(1, "hello");
    let line = proxy.terminal().expect(Reason::H2StreamLimit);
    assert_eq!(line.number("stream_id"), Some(3));
    drop(Raw::open(proxy.address()));
    line
}
