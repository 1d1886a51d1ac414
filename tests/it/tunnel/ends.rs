//! One side ends, and the other continues.

use std::time::Duration;

use wsgate::reason::Reason;

use super::{Open, closed, hold, open, switching, tunnel};
use crate::harness::frames::{BINARY, CLOSE, TEXT, echoes, masked, plain};
use crate::harness::{Client, Setup, Upstream};

#[test]
fn after_the_clients_end_the_upstream_may_still_speak() {
    for tls in [false, true] {
        let upstream = switching(|mut call| {
            assert_eq!(call.drain(), masked(TEXT, "question"));
            call.write(plain(TEXT, "a long answer".repeat(1000)))
                .finish();
        });
        let setup = if tls {
            Setup::tls(&upstream.url())
        } else {
            Setup::plain(&upstream.url())
        };
        let Open {
            mut proxy,
            mut client,
        } = open(&setup);
        client.send(masked(TEXT, "question")).finish();
        assert_eq!(client.rest(), plain(TEXT, "a long answer".repeat(1000)));
        let line = closed(&mut proxy, Reason::ClientEofNoClose);
        assert_eq!(line.number("bytes_client_to_upstream"), Some(14));
        assert_eq!(line.number("bytes_upstream_to_client"), Some(13_004));
    }
}

#[test]
fn after_the_upstreams_end_the_client_may_still_speak() {
    for tls in [false, true] {
        let upstream = switching(|mut call| {
            call.write(plain(TEXT, "question")).finish();
            assert_eq!(call.drain(), masked(TEXT, "a long answer".repeat(1000)));
        });
        let setup = Setup {
            upstream: ", on_abort: transparent".to_owned(),
            ..if tls {
                Setup::tls(&upstream.url())
            } else {
                Setup::plain(&upstream.url())
            }
        };
        let Open {
            mut proxy,
            mut client,
        } = open(&setup);
        assert_eq!(client.rest(), plain(TEXT, "question"));
        client
            .send(masked(TEXT, "a long answer".repeat(1000)))
            .finish();
        let line = closed(&mut proxy, Reason::UpstreamEofNoClose);
        assert_eq!(line.number("bytes_client_to_upstream"), Some(13_008));
        upstream.all_ended();
    }
}

#[test]
fn the_wait_for_the_other_side_begins_with_the_first_ones_end() {
    // The tunnel is idle for longer than `close_wait` before one side ends; the other then needs half of it.
    let quiet = Duration::from_millis(3000);
    let upstream = switching(|mut call| {
        assert_eq!(call.drain(), b"");
        std::thread::sleep(Duration::from_millis(1000));
        call.write(plain(TEXT, "bye")).finish();
    });
    let setup = Setup {
        limits: "close_wait: 2s".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    std::thread::sleep(quiet);
    client.finish();
    assert_eq!(client.rest(), plain(TEXT, "bye"));
    let line = closed(&mut proxy, Reason::ClientEofNoClose);
    assert!(line.number("lasted_ms") >= Some(3000));
}

#[test]
fn the_idle_timeout_does_not_cut_a_tunnel_that_is_ending() {
    let upstream = switching(|mut call| {
        assert_eq!(call.drain(), b"");
        std::thread::sleep(Duration::from_millis(1200));
        call.write(plain(TEXT, "bye")).finish();
    });
    let setup = Setup {
        websocket: "idle_timeout: 2s".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    std::thread::sleep(Duration::from_millis(1200));
    client.finish();
    assert_eq!(client.rest(), plain(TEXT, "bye"));
    closed(&mut proxy, Reason::ClientEofNoClose);
}

#[test]
fn an_upstream_that_ends_is_not_kept_by_a_silent_client() {
    let upstream = switching(|mut call| {
        call.finish().drain();
    });
    let setup = Setup {
        limits: "close_wait: 300ms".to_owned(),
        upstream: ", on_abort: transparent".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    assert_eq!(client.rest(), b"");
    closed(&mut proxy, Reason::HalfCloseTimeout)
        .with_detail("the upstream ended its stream first; the client sent nothing for 300ms");
    upstream.all_ended();
}

#[test]
fn data_after_a_half_close_keeps_the_tunnel() {
    let upstream = switching(|mut call| {
        call.drain();
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(150));
            call.write(plain(TEXT, "still here"));
        }
        call.finish();
    });
    let setup = Setup {
        limits: "close_wait: 1s".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    client.finish();
    assert_eq!(client.rest(), plain(TEXT, "still here").repeat(10));
    closed(&mut proxy, Reason::ClientEofNoClose);
}

#[test]
fn the_idle_timeout_does_not_fire_while_data_flows_one_way() {
    for from_client in [false, true] {
        let upstream = switching(move |mut call| {
            if from_client {
                call.receive(15 * masked(BINARY, "x").len());
            } else {
                for _ in 0..15 {
                    std::thread::sleep(Duration::from_millis(150));
                    call.write(plain(BINARY, "x"));
                }
            }
            call.finish().drain();
        });
        let setup = Setup {
            websocket: "idle_timeout: 1s".to_owned(),
            upstream: ", on_abort: transparent".to_owned(),
            ..Setup::tls(&upstream.url())
        };
        let Open {
            mut proxy,
            mut client,
        } = open(&setup);
        if from_client {
            for _ in 0..15 {
                std::thread::sleep(Duration::from_millis(150));
                client.send(masked(BINARY, "x"));
            }
        } else {
            client.receive(15 * plain(BINARY, "x").len());
        }
        assert_eq!(client.rest(), b"");
        client.finish();
        let line = closed(&mut proxy, Reason::UpstreamEofNoClose);
        assert!(line.number("lasted_ms") >= Some(1500));
    }
}

#[test]
fn the_record_says_who_ended_and_how() {
    #[derive(Clone, Copy, Debug)]
    enum End {
        ClientFin,
        ClientRst,
        ClientTruncates,
        UpstreamFin,
        UpstreamRst,
    }
    for (tls, end, reason) in [
        (false, End::ClientFin, Reason::ClientEofNoClose),
        (true, End::ClientFin, Reason::ClientEofNoClose),
        (false, End::ClientRst, Reason::ClientReset),
        (true, End::ClientRst, Reason::ClientReset),
        (true, End::ClientTruncates, Reason::TlsTruncated),
        (false, End::UpstreamFin, Reason::UpstreamEofNoClose),
        (true, End::UpstreamFin, Reason::UpstreamEofNoClose),
        (false, End::UpstreamRst, Reason::UpstreamReset),
        (true, End::UpstreamRst, Reason::UpstreamReset),
    ] {
        let upstream = switching(move |mut call| match end {
            End::UpstreamFin => {
                call.receive(11);
                call.finish().drain();
            }
            End::UpstreamRst => {
                call.receive(11);
                call.reset();
            }
            _ => {
                call.drain();
            }
        });
        let setup = Setup {
            upstream: ", on_abort: transparent".to_owned(),
            ..if tls {
                Setup::tls(&upstream.url())
            } else {
                Setup::plain(&upstream.url())
            }
        };
        let Open {
            mut proxy,
            mut client,
        } = open(&setup);
        client.send(masked(TEXT, "hello"));
        match end {
            End::ClientFin => end_of(&mut client),
            End::ClientRst => client.reset(),
            End::ClientTruncates => {
                client.truncate();
                client.rest();
            }
            End::UpstreamFin => {
                client.rest();
                client.finish();
            }
            End::UpstreamRst => drop(client.rest()),
        }
        let line = closed(&mut proxy, reason);
        assert_eq!(line.text("event"), "closed", "{end:?}");
        upstream.all_ended();
    }
}

fn end_of(client: &mut Client) {
    client.finish();
    client.rest();
}

#[test]
fn a_side_that_ended_first_is_the_cause_even_if_the_other_then_breaks() {
    let upstream = switching(|mut call| {
        call.drain();
        call.reset();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::plain(&upstream.url()));
    client.finish();
    client.rest();
    closed(&mut proxy, Reason::ClientEofNoClose).with_detail("then upstream_reset");
}

#[test]
fn a_tunnel_without_an_idle_timeout_stays_open() {
    // Shorter timers of other kinds must not end it.
    let upstream = Upstream::echo();
    let setup = Setup {
        limits: "write_stall: 100ms, close_wait: 100ms, request_head: 100ms".to_owned(),
        upstream: ", handshake_timeout: 100ms, connect_timeout: 100ms".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    std::thread::sleep(Duration::from_millis(600));
    echoes(&mut client, "hello");
    client.finish();
    closed(&mut proxy, Reason::ClientEofNoClose);
}

#[test]
fn bytes_for_a_side_that_is_gone_are_not_counted_as_passed_for_ever() {
    let (held, wait) = hold();
    let upstream = switching(move |mut call| {
        call.receive(11);
        call.reset();
        wait();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::plain(&upstream.url()));
    client.send(masked(TEXT, "hello"));
    client.rest();
    let line = closed(&mut proxy, Reason::UpstreamReset);
    assert_eq!(line.number("bytes_client_to_upstream"), Some(11));
    drop(held);
}

#[test]
fn a_lone_end_at_the_time_of_a_known_timer_has_a_suspect() {
    let upstream = Upstream::echo();
    let setup = Setup {
        extra: "load_balancer: { name: edge, idle_timeout: 1s }\n".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let mut proxy = setup.start();
    for reason in [
        Reason::ClientEofNoClose,
        Reason::TlsTruncated,
        Reason::ClientReset,
        Reason::ClientClose,
    ] {
        let mut client = tunnel(&proxy, true);
        echoes(&mut client, "hello");
        match reason {
            Reason::TlsTruncated => client.truncate(),
            Reason::ClientReset => client.reset(),
            Reason::ClientClose => drop(client.send(masked(CLOSE, "")).rest()),
            _ => client.finish(),
        }
        let line = proxy.terminal().expect(reason);
        let suspect = &line.0["suspect"];
        if reason == Reason::ClientClose {
            assert!(suspect.is_null(), "{line:?}");
            continue;
        }
        assert_eq!(suspect["hop"], "possibly edge");
        let timer = suspect["timer"].as_str().unwrap();
        assert!(timer.contains("load_balancer.idle_timeout"), "{timer}");
        // The hint is about this hop and its timer.
        let hint = line.text("hint");
        for part in ["possibly edge", timer, "`routes[].websocket.ping.interval`"] {
            assert!(hint.contains(part), "{hint}");
        }
        assert_ne!(hint, reason.spec().fix);
    }
}
