//! Clients that leave while nothing more is read from them: they have sent as many early bytes as the proxy holds, or
//! their upstream does not read their body. Their record must not wait for a deadline, nor blame the upstream.

use std::io::{ErrorKind, Write};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use wsgate::reason::Reason;

use super::{Upstream, gate};
use crate::harness::client::{is_dialled, is_read};
use crate::harness::proxy::HOST;
use crate::harness::upstream::{Call, Full};
use crate::harness::{Client, Line, PATIENCE, Proxy, Setup, eventually, handshake};

/// The most early bytes that are held.
const HELD: usize = 16 * 1024;

/// Longer than a test waits, so no record comes from a deadline.
const FOR_EVER: &str = ", connect_timeout: 5m, handshake_timeout: 5m";

#[derive(Clone, Copy, Debug)]
enum Way {
    Reset,
    /// Cleanly; with TLS, by close_notify first.
    Finished,
    /// The end of TCP without close_notify.
    Truncated,
}

const WAYS: [Way; 3] = [Way::Reset, Way::Finished, Way::Truncated];

impl Way {
    /// Gives what is still open of the client.
    fn leave(self, mut client: Client) -> Option<Client> {
        match self {
            Self::Reset => {
                client.reset();
                return None;
            }
            Self::Finished => client.finish(),
            Self::Truncated => client.truncate(),
        }
        Some(client)
    }

    /// What the detail says about it.
    fn words(self, tls: bool) -> &'static str {
        match (self, tls) {
            (Self::Reset, _) => "reset",
            (Self::Truncated, true) => "close_notify",
            _ => "closed in order",
        }
    }
}

fn setup(tls: bool, url: &str) -> Setup {
    let setup = if tls {
        Setup::tls(url)
    } else {
        Setup::plain(url)
    };
    Setup {
        routes: "  - path: /health\n    respond: { status: 200, body: fine }\n  - path: /*\n    http: { methods: [GET, POST], \
                 max_body: off, response_timeout: 5m, request_timeout: 5m, idle_timeout: 5m }\n    upstream: app\n"
            .to_owned(),
        upstream: FOR_EVER.to_owned(),
        ..setup
    }
}

fn client(tls: bool, proxy: &Proxy) -> Client {
    if tls {
        Client::tls(proxy.address())
    } else {
        Client::plain(proxy.address())
    }
}

/// Sends `ahead` bytes; the proxy reads no more of them than it holds.
fn send_ahead(client: &mut Client, ahead: usize) {
    client.send(vec![b'x'; ahead]);
    if ahead == HELD {
        eventually("the proxy to read", || is_read(client.tcp()).then_some(()));
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
}

/// Runs `request`, which the upstream never answers, with a client that leaves in every way and after more or fewer
/// early bytes; checks the records.
fn leaves_unanswered(request: &str, reason: Reason) {
    for tls in [false, true] {
        let (asked, is_asked) = channel();
        let asked = Mutex::new(asked);
        let upstream = Upstream::start(move |mut call: Call| {
            asked.lock().unwrap().send(()).unwrap();
            call.drain();
        });
        let mut proxy = setup(tls, &upstream.url()).start();
        for ahead in [100, HELD, 3 * HELD] {
            for way in WAYS {
                let mut client = client(tls, &proxy);
                client.send(request);
                is_asked.recv_timeout(PATIENCE).unwrap();
                send_ahead(&mut client, ahead);
                let _open = way.leave(client);
                let line = proxy.terminal().expect(reason);
                assert_eq!(line.text("by"), "client", "{way:?}: {line:?}");
                line.with_detail(way.words(tls));
                upstream.all_ended();
            }
        }
    }
}

#[test]
fn while_the_101_is_waited_for() {
    leaves_unanswered(&handshake("/ws", &[]), Reason::ClientGaveUp);
}

#[test]
fn while_the_answer_to_a_plain_request_is_waited_for() {
    leaves_unanswered(&get("/slow"), Reason::ClientGaveUp);
}

#[test]
fn while_the_upstream_is_being_dialled() {
    let full = Full::new();
    for tls in [false, true] {
        let mut proxy = setup(tls, &full.url()).start();
        for way in WAYS {
            let mut client = client(tls, &proxy);
            client.send(handshake("/ws", &[]));
            eventually("the proxy to dial", || {
                is_dialled(full.address()).then_some(())
            });
            send_ahead(&mut client, 3 * HELD);
            let _open = way.leave(client);
            let line = proxy.terminal().expect(Reason::ClientGaveUp);
            line.with_detail(way.words(tls));
        }
    }
}

/// An answer that has begun and does not continue.
#[test]
fn while_the_answer_pauses() {
    for tls in [false, true] {
        let upstream = Upstream::start(|mut call: Call| {
            call.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\npart");
            call.drain();
        });
        let mut proxy = setup(tls, &upstream.url()).start();
        for way in WAYS {
            let mut client = client(tls, &proxy);
            client.send(get("/events"));
            client.response_head();
            client.receive(4);
            send_ahead(&mut client, HELD);
            let _open = way.leave(client);
            let line = proxy.terminal().expect(Reason::ClientLeftResponse);
            assert_eq!(line.number("bytes_upstream_to_client"), Some(4));
            line.with_detail(way.words(tls));
            upstream.all_ended();
        }
    }
}

/// An upstream's refusal that is relayed and does not continue; nothing is read then, however few early bytes there
/// were.
#[test]
fn while_a_refusal_pauses() {
    for tls in [false, true] {
        let upstream = Upstream::start(|mut call: Call| {
            call.write("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\npart");
            call.drain();
        });
        let mut proxy = setup(tls, &upstream.url()).start();
        let mut client = client(tls, &proxy);
        client.send(handshake("/ws", &[]));
        client.response_head();
        client.receive(4);
        client.reset();
        let line = proxy.terminal().expect(Reason::UpstreamNotFound);
        assert_eq!(line.notes(), ["response_not_delivered"], "{line:?}");
        upstream.all_ended();
    }
}

/// An upstream that does not read a body: nothing of the body is read from the client then.
#[test]
fn while_the_body_waits_for_the_upstream() {
    let (gate, keeper) = gate();
    let upstream = Upstream::start(move |mut call: Call| {
        gate.lock().unwrap().pass();
        call.drain();
    });
    let mut proxy = setup(false, &upstream.url()).start();
    let mut client = client(false, &proxy);
    client.send(format!(
        "POST /up HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n",
        1024 * 1024 * 1024
    ));
    let stall = Duration::from_millis(500);
    client.tcp().set_write_timeout(Some(stall)).unwrap();
    // If a write blocks this long, nothing is read any more.
    let piece = vec![b'x'; 256 * 1024];
    let error = loop {
        if let Err(error) = client.write(&piece) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    keeper.reached();
    client.reset();
    let line = proxy.terminal().expect(Reason::HttpBodyIncomplete);
    assert_eq!(line.text("by"), "client");
    line.with_detail("reset");
    keeper.open();
    upstream.all_ended();
}

/// A client that only closes its sending side after many bytes still gets an answer that the proxy can give at once.
#[test]
fn an_answer_of_the_proxys_own_reaches_a_client_that_half_closed() {
    for tls in [false, true] {
        let mut proxy = setup(tls, "http://127.0.0.1:9").start();
        for ahead in [0, 100, 3 * HELD] {
            let mut client = client(tls, &proxy);
            client.send([get("/health").as_bytes(), &vec![b'x'; ahead]].concat());
            client.finish();
            assert_eq!(client.response().text(), "fine", "{ahead} bytes ahead");
            let line: Line = proxy.terminal();
            assert_eq!(line.text("path"), "/health", "{line:?}");
            drop(client);
            if ahead > 0 {
                proxy.terminal();
            }
        }
    }
}
