//! What a shutdown does to plain requests.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use wsgate::reason::Reason;

use super::{get, setup, start};
use crate::harness::proxy::is_terminal;
use crate::harness::{Client, Origin, PATIENCE, Setup, handshake};

/// A request in progress is completed, and then its connection ends.
#[test]
fn a_request_under_way_is_answered() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let origin = Origin::start(move |ask| {
        gone.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        ask.ok("late");
    });
    let shutdown = "drain: 15s".to_owned();
    let mut proxy = Setup {
        shutdown,
        ..setup(&origin.url(), "")
    }
    .start();
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    origin.asked(1);
    let begun = Instant::now();
    proxy.signal("TERM");
    proxy.event("draining");
    go.send(()).unwrap();
    let response = client.response();
    assert_eq!(response.text(), "late");
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
    drop(client);
    assert!(proxy.ended().success());
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    let lines = proxy.finished();
    let terminals: Vec<_> = lines.iter().filter(|line| is_terminal(line)).collect();
    assert_eq!(terminals.len(), 1);
    assert_eq!(terminals[0].text("event"), "request");
}

/// If the head arrives during the drain, the request is answered, and the answer says that it is the last.
#[test]
fn a_request_during_the_drain_is_the_last_of_its_connection() {
    let origin = Origin::echo();
    let shutdown = "drain: 15s".to_owned();
    let mut proxy = Setup {
        shutdown,
        ..setup(&origin.url(), "")
    }
    .start();
    // Two clients in the middle of a further request: one plain, one a handshake.
    let mut clients = [0, 1].map(|_| Client::plain(proxy.address()));
    for client in &mut clients {
        client.send(get("/api/a"));
        client.response();
        proxy.terminal();
    }
    let asked = [get("/api/b"), handshake("/ws", &[])];
    for (client, asked) in clients.iter_mut().zip(&asked) {
        client.send(&asked[..10]);
        crate::harness::eventually("the bytes to be read", || {
            crate::harness::client::is_read(client.tcp()).then_some(())
        });
    }
    proxy.signal("TERM");
    proxy.event("draining");
    let [plain, upgrade] = &mut clients;
    plain.send(&asked[0][10..]);
    let response = plain.response();
    assert_eq!(
        (response.status, response.field("connection")),
        (200, Some("close"))
    );
    assert_eq!(plain.rest(), b"");
    upgrade.send(&asked[1][10..]);
    assert_eq!(upgrade.response().status, 503);
    assert_eq!(upgrade.rest(), b"");
    assert_eq!(proxy.terminal().text("event"), "request");
    proxy.terminal().expect(Reason::Draining);
    assert!(proxy.ended().success());
}

/// Idle connections end at once and delay nothing.
#[test]
fn idle_connections_end_at_once() {
    let origin = Origin::echo();
    let shutdown = "drain: 15s".to_owned();
    let mut proxy = Setup {
        shutdown,
        ..setup(&origin.url(), "")
    }
    .start();
    let mut clients: Vec<_> = (0..10).map(|_| Client::plain(proxy.address())).collect();
    for client in &mut clients {
        client.send(get("/api/a"));
        client.response();
        proxy.terminal();
    }
    let begun = Instant::now();
    proxy.signal("TERM");
    for client in &mut clients {
        assert_eq!(client.rest(), b"");
    }
    // The clients do not close their own side.
    assert!(proxy.ended().success());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let lines = proxy.finished();
    assert_eq!(lines.iter().filter(|line| is_terminal(line)).count(), 10);
    origin.all_ended();
}

/// An answer in progress at the end of the drain is cut, and the record says so.
#[test]
fn an_answer_without_an_end_is_cut() {
    let origin = Origin::start(|ask| {
        ask.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        ask.drain();
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    client.response_head();
    client.receive(8);
    proxy.signal("TERM");
    client.rest();
    let line = proxy.terminal();
    assert_eq!(
        (line.text("event"), line.text("reason")),
        ("request", "draining"),
        "{line:?}"
    );
    assert_eq!(
        (line.text("path"), line.number("status")),
        ("/api/a", Some(200))
    );
    assert_eq!(line.number("bytes_upstream_to_client"), Some(3), "{line:?}");
    assert!(line.number("lasted_ms") > Some(0), "{line:?}");
    assert!(line.text("hint").contains("`shutdown.drain`"), "{line:?}");
    origin.all_ended();
}
