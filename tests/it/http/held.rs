//! What a client sends before its answer: refused if it arrives together with the head, held if it arrives later.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use wsgate::reason::Reason;

use super::guard::Guard;
use crate::harness::client::is_read;
use crate::harness::frames::{BINARY, TEXT, echoes, masked, plain};
use crate::harness::upstream::Call;
use crate::harness::{Client, PATIENCE, Proxy, Setup, Upstream, eventually, handshake};

/// Bytes that arrive together with the head are refused, however they are split.
#[test]
fn bytes_that_come_with_the_head_are_refused() {
    let head = handshake("/ws", &[]);
    let second = handshake("/ws", &[]);
    for mut guard in [Guard::tls(), Guard::plain()] {
        for early in ["x", "\r\n", "\u{81}\u{85}", &*second] {
            guard.refuse(format!("{head}{early}"), Reason::HttpEarlyData);
        }
    }
    // TLS records of their own in one segment, also if the head alone fills the proxy's first read.
    let long = handshake("/ws", &[("X-Pad", &"p".repeat(3000))]);
    let mut guard = Guard::tls();
    for head in [&head, &long] {
        for early in [&["x"][..], &["x", "y", &second]] {
            let mut client = guard.client();
            let Client::Tls(stream) = &mut client else {
                panic!("no TLS")
            };
            let mut writer = stream.conn.writer();
            writer.write_all(head.as_bytes()).unwrap();
            for piece in early {
                writer.write_all(piece.as_bytes()).unwrap();
            }
            stream.conn.write_tls(&mut stream.sock).unwrap();
            assert!(!stream.conn.wants_write(), "it went out in one write");
            guard.refused(client, Reason::HttpEarlyData);
        }
    }
}

/// An upstream that reports a request and answers when it is told to.
struct Slow {
    asked: Receiver<()>,
    answer: Sender<()>,
    /// What arrived after the request head, until the end.
    received: Receiver<Vec<u8>>,
    upstream: Upstream,
}

impl Slow {
    /// `answer` writes the answer. What the proxy then sends is read to its end; [`acknowledged`] is sent after `count`
    /// bytes.
    fn start(count: usize, answer: impl Fn(&mut Call) + Send + Sync + 'static) -> Self {
        let (asked_sender, asked) = channel();
        let (answer_sender, may_answer) = channel::<()>();
        let (sender, received) = channel();
        let may_answer = Mutex::new(may_answer);
        let upstream = Upstream::start(move |mut call| {
            asked_sender.send(()).unwrap();
            may_answer.lock().unwrap().recv().unwrap();
            answer(&mut call);
            let mut bytes = vec![0; count];
            if call.socket.read_exact(&mut bytes).is_err() {
                bytes.clear();
            } else if count > 0 {
                call.socket.write_all(&plain(TEXT, "ok")).unwrap();
            }
            call.socket.read_to_end(&mut bytes).unwrap();
            sender.send(bytes).unwrap();
        });
        Self {
            asked,
            answer: answer_sender,
            received,
            upstream,
        }
    }

    fn asked(&self) {
        self.asked.recv_timeout(PATIENCE).unwrap();
    }

    fn answer(&self) {
        self.answer.send(()).unwrap();
    }

    fn received(&self) -> Vec<u8> {
        self.received.recv_timeout(PATIENCE).unwrap()
    }
}

/// The client receives the upstream's acknowledgement of all bytes.
#[track_caller]
fn acknowledged(client: &mut Client) {
    assert_eq!(client.receive(4), plain(TEXT, "ok"));
}

/// A proxy in front of `slow`, and a client whose handshake has reached the upstream.
fn waiting(slow: &Slow, setup: Setup) -> (Proxy, Client) {
    let proxy = setup.start();
    let mut client = match setup.tls {
        Some(_) => Client::tls(proxy.address()),
        None => Client::plain(proxy.address()),
    };
    client.send(handshake("/ws", &[]));
    slow.asked();
    (proxy, client)
}

#[test]
fn bytes_that_come_later_are_held_and_arrive_after_the_101() {
    let all = ["first", "2nd", "3"]
        .map(|text| masked(TEXT, text))
        .concat();
    // Writes are split at other places than frames, and held bytes end at another place too.
    let ((first, second), third) = (all[..16].split_at(8), &all[16..]);
    for setup in [Setup::tls, Setup::plain] {
        let slow = Slow::start(all.len(), |call| {
            call.switch("");
        });
        let (mut proxy, mut client) = waiting(&slow, setup(&slow.upstream.url()));
        client.send(first).send(second);
        eventually("the proxy to read", || is_read(client.tcp()).then_some(()));
        slow.answer();
        assert_eq!(client.response().status, 101);
        client.send(third);
        acknowledged(&mut client);
        client.finish();
        assert_eq!(slow.received(), all);
        let opened = proxy.event("opened");
        assert_eq!(opened.notes(), ["early_bytes_held"]);
        assert_eq!(opened.0["notes"][0]["detail"], "16 bytes");
        let closed = proxy.terminal().expect(Reason::ClientEofNoClose);
        assert_eq!(
            closed.number("bytes_client_to_upstream"),
            Some(all.len() as u64)
        );
    }
}

/// An upstream without an upgrade listener answers 404 and keeps its connection open for the next request.
#[test]
fn held_bytes_never_reach_an_upstream_that_does_not_switch() {
    let answers: [(&[u8], Reason); 4] = [
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
            Reason::UpstreamNotFound,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nno",
            Reason::Upstream2xxInsteadOf101,
        ),
        (
            b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n",
            Reason::UpstreamUpgradeRequired,
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
            Reason::UpstreamAcceptMismatch,
        ),
    ];
    for (answer, reason) in answers {
        let slow = Slow::start(0, move |call| call.socket.write_all(answer).unwrap());
        let (mut proxy, mut client) = waiting(&slow, Setup::tls(&slow.upstream.url()));
        client.send(handshake("/ws", &[]));
        client.send("GET /internal HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
        eventually("the proxy to read", || is_read(client.tcp()).then_some(()));
        slow.answer();
        let response = client.response();
        let connection = response.field("connection").unwrap();
        assert!(connection.contains("close"), "{response:?}");
        let mut after = Vec::new();
        client.read_to_end(&mut after).unwrap();
        assert_eq!(after, b"", "{reason}: more than one answer");
        assert_eq!(slow.received(), b"", "{reason}");
        let line = proxy.terminal().expect(reason);
        assert_eq!(line.number("status"), Some(response.status.into()));
        assert_eq!(slow.upstream.connections(), 1);
    }
}

/// A client that goes on sending without an answer fills its own window, not the proxy's memory.
#[test]
fn a_client_that_does_not_wait_is_held_back_and_loses_nothing() {
    let payload: Vec<u8> = (0..1024 * 1024)
        .map(|at| u8::try_from(at / 7 % 251).unwrap())
        .collect();
    let all = masked(BINARY, payload);
    let count = all.len();
    for setup in [Setup::tls, Setup::plain] {
        let slow = Slow::start(count, |call| {
            call.switch("");
        });
        let (mut proxy, mut client) = waiting(&slow, setup(&slow.upstream.url()));
        // So that the kernel does not buffer everything for the proxy.
        let socket = socket2::SockRef::from(client.tcp());
        socket.set_send_buffer_size(64 * 1024).unwrap();
        let before = resident(proxy.id());
        let mut sent = 0;
        // If a write blocks this long, nothing is read any more. On a slow machine this may be too short; then less is
        // sent.
        let stall = Duration::from_millis(100);
        client.tcp().set_write_timeout(Some(stall)).unwrap();
        // The TLS library starts reading when a write blocks.
        client.tcp().set_read_timeout(Some(stall)).unwrap();
        while sent < count {
            let piece = &all[sent..count.min(sent + 16 * 1024)];
            match client.write(piece) {
                Ok(taken) => sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(sent < count, "everything was taken");
        let grown = resident(proxy.id()).saturating_sub(before);
        assert!(grown < count, "{grown} bytes more");
        client.tcp().set_write_timeout(Some(PATIENCE)).unwrap();
        client.tcp().set_read_timeout(Some(PATIENCE)).unwrap();
        slow.answer();
        client.send(&all[sent..]);
        assert_eq!(client.response().status, 101);
        acknowledged(&mut client);
        client.finish();
        assert!(slow.received() == all, "bytes were changed");
        let closed = proxy.terminal().expect(Reason::ClientEofNoClose);
        assert_eq!(closed.notes(), ["early_bytes_held"]);
        assert_eq!(
            closed.number("bytes_client_to_upstream"),
            Some(count as u64)
        );
    }
}

/// Interim answers are not the answer, and are not passed on.
#[test]
fn interim_answers_come_before_the_101() {
    let upstream = Upstream::start(|mut call| {
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        call.socket.write_all(hints).unwrap();
        call.switch("");
        call.echo();
    });
    let mut proxy = Setup::tls(&upstream.url()).start();
    let mut client = Client::tls(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    echoes(&mut client, "hi");
    client.finish();
    assert_eq!(client.rest(), b"");
    let closed = proxy.terminal().expect(Reason::ClientEofNoClose);
    assert_eq!(closed.notes(), ["upstream_interim"]);
}

/// Bytes that come with the upstream's 101 belong to the tunnel.
#[test]
fn a_frame_that_comes_with_the_101_arrives() {
    let upstream = Upstream::start(|mut call| {
        let answer = crate::harness::switching(&call.head, "").into_bytes();
        let both = [answer, plain(TEXT, "hi")].concat();
        call.socket.write_all(&both).unwrap();
        call.echo();
    });
    let mut proxy = Setup::tls(&upstream.url()).start();
    let mut client = Client::tls(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    assert_eq!(client.receive(4), b"\x81\x02hi");
    client.finish();
    assert_eq!(client.rest(), b"");
    let closed = proxy.terminal().expect(Reason::ClientEofNoClose);
    assert_eq!(closed.number("bytes_upstream_to_client"), Some(4));
}

/// The resident memory of a process in bytes.
fn resident(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: usize = line
        .unwrap()
        .split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib * 1024
}
