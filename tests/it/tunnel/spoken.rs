//! The proxy's own frames: Pings, and Close frames between two frames of a peer.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use wsgate::reason::Reason;

use super::{Open, closed, open, switching, tunnel};
use crate::harness::frames::{
    BINARY, CLOSE, Header, PING, PONG, TEXT, closing, echoes, masked, plain, read,
};
use crate::harness::{Client, Line, PATIENCE, Setup, Upstream};

/// Answers a Close of the proxy, which then ends the connection.
#[track_caller]
fn told(client: &mut Client, code: u16, reason: &str) {
    let close = closing(code, reason);
    assert_eq!(read(client).unwrap(), (CLOSE, close.clone()));
    client.send(masked(CLOSE, close));
    assert_eq!(client.rest(), b"");
}

fn is_said_by_proxy(line: &Line, code: u64) {
    assert_eq!(line.text("first_close"), "proxy", "{line:?}");
    assert_eq!(line.number("close_code_proxy"), Some(code));
    assert_eq!(line.number("client_sees"), Some(code));
}

pub fn max_lifetime() -> Line {
    let upstream = Upstream::echo();
    let setup = Setup {
        websocket: "max_lifetime: 400ms".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    echoes(&mut client, "hello");
    told(&mut client, 1001, "max_lifetime");
    let line = closed(&mut proxy, Reason::MaxLifetime).with_detail("open for 400ms");
    assert!(line.number("lasted_ms") >= Some(400));
    is_said_by_proxy(&line, 1001);
    upstream.all_ended();
    line
}

pub fn drain_graceful() -> Line {
    let upstream = Upstream::echo();
    let setup = Setup {
        shutdown: "drain: 20s, spread: 0s, close_code: 4321".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    echoes(&mut client, "hello");
    proxy.signal("TERM");
    // What the client sent before it read the Close is still passed on.
    let close = closing(4321, "drain_graceful");
    assert_eq!(read(&mut client).unwrap(), (CLOSE, close.clone()));
    client.send(masked(BINARY, "on its way"));
    client.send(masked(CLOSE, close));
    assert_eq!(client.rest(), b"");
    let line = closed(&mut proxy, Reason::DrainGraceful);
    is_said_by_proxy(&line, 4321);
    assert_eq!(line.number("messages_client_to_upstream"), Some(2));
    assert_eq!(line.number("close_code_upstream"), Some(4321));
    upstream.all_ended();
    line
}

pub fn message_too_big() -> Line {
    let (hand_over, got) = mpsc::channel();
    let hand_over = Mutex::new(hand_over);
    let upstream = switching(move |mut call| {
        hand_over.lock().unwrap().send(call.drain()).unwrap();
    });
    let setup = Setup {
        websocket: "max_message: 1000".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    let fits = [masked(0x02, [b'a'; 600]), masked(0x80, [b'b'; 400])].concat();
    client.send(&fits);
    client.send([masked(0x02, [b'a'; 600]), masked(0x80, [b'b'; 401])].concat());
    told(&mut client, 1009, "message_too_big");
    let line = closed(&mut proxy, Reason::MessageTooBig)
        .with_detail("the client sends a message of 1001 bytes or more");
    is_said_by_proxy(&line, 1009);
    assert_eq!(line.number("messages_client_to_upstream"), Some(1));
    // The upstream gets what fits, and a Close after the last whole frame.
    let came = got.recv_timeout(PATIENCE).unwrap();
    let begun = masked(0x02, [b'a'; 600]);
    let passed = [fits, begun].concat();
    assert!(came.starts_with(&passed));
    let mut rest = &came[passed.len()..];
    assert_eq!(
        read(&mut rest).unwrap(),
        (CLOSE, closing(1001, "message_too_big"))
    );
    assert_eq!(rest, b"");
    line
}

#[test]
fn a_message_of_the_upstream_can_be_too_big_too() {
    let upstream = switching(|mut call| {
        call.write(plain(TEXT, "fits"));
        call.write(plain(BINARY, [0; 2000]));
        assert_eq!(
            read(&mut call.socket).unwrap(),
            (CLOSE, closing(1009, "message_too_big"))
        );
        call.write(plain(CLOSE, closing(1009, ""))).drain();
    });
    let setup = Setup {
        websocket: "max_message: 1000".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    assert_eq!(read(&mut client).unwrap(), (TEXT, b"fits".to_vec()));
    told(&mut client, 1009, "message_too_big");
    let line = closed(&mut proxy, Reason::MessageTooBig).with_detail("the upstream sends");
    assert_eq!(line.number("close_code_upstream"), Some(1009));
    upstream.all_ended();
}

fn pinging(upstream: &Upstream, more: &str) -> Setup {
    Setup {
        websocket: format!("ping: {{ interval: 100ms, timeout: 500ms }}\n{more}"),
        ..Setup::tls(&upstream.url())
    }
}

pub fn pong_timeout() -> Line {
    let upstream = switching(|mut call| {
        assert_eq!(
            read(&mut call.socket).unwrap(),
            (CLOSE, closing(1001, "pong_timeout"))
        );
        call.write(plain(CLOSE, closing(1001, ""))).drain();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&pinging(&upstream, ""));
    let (first, tag) = read(&mut client).unwrap();
    assert_eq!((first, tag.len()), (PING, 8));
    // A Pong with another payload is not an answer, and is passed on.
    assert_eq!(
        read(&mut client).unwrap(),
        (CLOSE, closing(1001, "pong_timeout"))
    );
    let line = closed(&mut proxy, Reason::PongTimeout)
        .with_detail("no byte from the client for 500ms after a Ping");
    assert_eq!(line.number("pings"), Some(1));
    assert_eq!(line.number("pongs"), Some(0));
    is_said_by_proxy(&line, 1001);
    upstream.all_ended();
    line
}

#[test]
fn answers_to_our_pings_are_swallowed_and_all_others_pass() {
    let (hand_over, got) = mpsc::channel();
    let hand_over = Mutex::new(hand_over);
    let upstream = switching(move |mut call| {
        hand_over.lock().unwrap().send(call.drain()).unwrap();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&pinging(&upstream, "idle_timeout: 2s"));
    let mut expected = Vec::new();
    for round in 0..3 {
        let (first, tag) = read(&mut client).unwrap();
        assert_eq!(first, PING);
        let other = masked(PONG, [&tag[..7], b"?"].concat());
        let answer = masked(PONG, &tag);
        client.send(&other);
        // In pieces, as on a slow network.
        let (begin, end) = answer.split_at(1 + round * 5);
        client.send(begin);
        client.send(end);
        client.send(masked(PONG, &tag));
        expected.extend([other, masked(PONG, &tag)].concat());
    }
    client.send(masked(CLOSE, ""));
    expected.extend(masked(CLOSE, ""));
    client.finish();
    client.rest();
    assert_eq!(got.recv_timeout(PATIENCE).unwrap(), expected);
    let line = closed(&mut proxy, Reason::ClientClose);
    assert_eq!(line.number("pongs"), Some(3));
    assert!(line.number("pings") >= Some(3));
}

#[test]
fn pings_do_not_keep_an_idle_tunnel() {
    let upstream = Upstream::echo();
    let Open {
        mut proxy,
        mut client,
    } = open(&pinging(&upstream, "idle_timeout: 700ms"));
    let mut pings = 0;
    loop {
        match read(&mut client).unwrap() {
            (PING, tag) => {
                pings += 1;
                client.send(masked(PONG, tag));
            }
            (CLOSE, close) => {
                assert_eq!(close, closing(1001, "idle_timeout"));
                client.send(masked(CLOSE, close));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let line = closed(&mut proxy, Reason::IdleTimeout);
    assert!(pings >= 2, "{pings}");
    assert_eq!(line.number("pongs"), Some(pings));
    upstream.all_ended();
}

#[test]
fn no_ping_goes_into_a_frame_or_between_data() {
    let upstream = switching(|mut call| {
        // Continuous data, then a frame with a pause of half a second in it: longer than the Ping's interval.
        for _ in 0..12 {
            call.write(plain(TEXT, "tick"));
            std::thread::sleep(Duration::from_millis(30));
        }
        let header = Header {
            first: BINARY,
            mask: None,
            length: 4,
        };
        call.write(header.bytes()).write("ab");
        std::thread::sleep(Duration::from_millis(500));
        call.write("cd");
        call.drain();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&pinging(&upstream, ""));
    for _ in 0..12 {
        assert_eq!(read(&mut client).unwrap(), (TEXT, b"tick".to_vec()));
    }
    assert_eq!(read(&mut client).unwrap(), (BINARY, b"abcd".to_vec()));
    let (first, tag) = read(&mut client).unwrap();
    assert_eq!(first, PING);
    client.send(masked(PONG, tag));
    client.finish();
    closed(&mut proxy, Reason::ClientEofNoClose);
}

#[test]
fn a_close_waits_for_the_end_of_a_frame() {
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let is_first = AtomicBool::new(true);
    let upstream = switching(move |mut call| {
        if !is_first.swap(false, SeqCst) {
            call.echo();
            return;
        }
        call.write([0x82, 4, b'a', b'b']);
        may_go_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        call.write("cd").write(plain(TEXT, "too late"));
        assert_eq!(read(&mut call.socket).unwrap().0, CLOSE);
        call.write(plain(CLOSE, closing(1012, ""))).drain();
    });
    let setup = Setup {
        shutdown: "drain: 20s, spread: 0s".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    assert_eq!(client.receive(4), [0x82, 4, b'a', b'b']);
    // A tunnel that can be closed shows that the drain has reached both.
    let mut other = tunnel(&proxy, true);
    proxy.signal("TERM");
    told(&mut other, 1012, "drain_graceful");
    proxy.terminal().expect(Reason::DrainGraceful);
    go_on.send(()).unwrap();
    assert_eq!(client.receive(2), b"cd");
    told(&mut client, 1012, "drain_graceful");
    let line = proxy.terminal().expect(Reason::DrainGraceful);
    is_said_by_proxy(&line, 1012);
    assert_eq!(line.number("messages_upstream_to_client"), Some(1));
    upstream.all_ended();
}

#[test]
fn a_client_that_does_not_answer_our_close_is_not_waited_for_long() {
    let upstream = switching(|mut call| {
        // The client does not answer, so the proxy sends the Close itself.
        assert_eq!(
            read(&mut call.socket).unwrap(),
            (CLOSE, closing(1001, "idle_timeout"))
        );
        call.write(plain(CLOSE, closing(1001, ""))).drain();
    });
    let setup = Setup {
        websocket: "idle_timeout: 200ms".to_owned(),
        limits: "close_wait: 300ms".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    assert_eq!(client.rest(), plain(CLOSE, closing(1001, "idle_timeout")));
    let line = closed(&mut proxy, Reason::IdleTimeout);
    is_said_by_proxy(&line, 1001);
    assert_eq!(line.number("close_code_client"), None);
    assert_eq!(line.number("close_code_upstream"), Some(1001));
    upstream.all_ended();
}

#[test]
fn an_upstream_that_dies_inside_a_frame_leaves_no_place_for_a_close() {
    let upstream = switching(|mut call| {
        call.write([0x82, 4, b'a', b'b']).finish().drain();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls(&upstream.url()));
    assert_eq!(client.rest(), [0x82, 4, b'a', b'b']);
    client.finish();
    let line = closed(&mut proxy, Reason::UpstreamEofNoClose)
        .with_detail("ended inside a frame")
        .with_detail("the client sees 1006 instead of 1014");
    assert_eq!(line.number("client_sees"), Some(1006));
    assert_eq!(line.number("close_code_proxy"), None);
    upstream.all_ended();
}

#[test]
fn a_client_that_has_ended_its_side_is_told_of_a_shutdown_too() {
    let (hang_up, hung_up) = mpsc::channel::<()>();
    let hung_up = Mutex::new(hung_up);
    let upstream = switching(move |mut call| {
        assert_eq!(call.drain(), b"");
        call.write(plain(TEXT, "still here"));
        // It continues for longer than the test.
        let _ = hung_up.lock().unwrap().recv_timeout(PATIENCE);
    });
    let setup = Setup {
        shutdown: "drain: 20s, spread: 0s".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    client.finish();
    assert_eq!(read(&mut client).unwrap(), (TEXT, b"still here".to_vec()));
    proxy.signal("TERM");
    assert_eq!(
        read(&mut client).unwrap(),
        (CLOSE, closing(1012, "drain_graceful"))
    );
    let line = closed(&mut proxy, Reason::DrainGraceful);
    is_said_by_proxy(&line, 1012);
    drop(hang_up);
}

#[test]
fn a_client_that_was_not_told_in_a_shutdown_is_counted_as_such() {
    let (hang_up, hung_up) = mpsc::channel::<()>();
    let hung_up = Mutex::new(hung_up);
    let is_first = AtomicBool::new(true);
    let upstream = switching(move |mut call| {
        if !is_first.swap(false, SeqCst) {
            call.echo();
            return;
        }
        call.write([0x82, 4, b'a', b'b']);
        hung_up.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        call.finish().drain();
    });
    let setup = Setup {
        shutdown: "drain: 20s, spread: 0s".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    assert_eq!(client.receive(4), [0x82, 4, b'a', b'b']);
    // A tunnel that can be closed shows that the drain has reached both.
    let mut other = tunnel(&proxy, true);
    proxy.signal("TERM");
    told(&mut other, 1012, "drain_graceful");
    proxy.terminal().expect(Reason::DrainGraceful);
    hang_up.send(()).unwrap();
    assert_eq!(client.rest(), b"");
    let line = proxy
        .terminal()
        .expect(Reason::DrainForced)
        .with_detail("a side went away first; the upstream was inside a frame");
    assert_eq!(line.number("client_sees"), Some(1006));
}
