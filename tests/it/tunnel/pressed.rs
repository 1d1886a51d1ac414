//! Slow peers, and timers that must be fair to them.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use wsgate::reason::Reason;

use super::{Open, closed, open, switching};
use crate::harness::client::trusting;
use crate::harness::frames::{BINARY, CLOSE, PING, PONG, TEXT, closing, masked, plain, read};
use crate::harness::proxy::HOST;
use crate::harness::{Client, PATIENCE, Setup, Upstream, handshake};

/// A client with a small receive window, so the proxy's socket holds little too.
fn narrow(address: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.set_tcp_mss(1000).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    let mut connection = ClientConnection::new(Arc::new(trusting()), name).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    Client::Tls(Box::new(StreamOwned::new(connection, socket)))
}

/// Writes a frame again and again until nothing more fits, with a pause after each piece, so that the proxy flushes.
/// Returns what is left of the last one.
fn fill<'a>(socket: &mut TcpStream, frame: &'a [u8]) -> &'a [u8] {
    let patience = Some(Duration::from_millis(200));
    socket.set_write_timeout(patience).unwrap();
    let mut rest = frame;
    loop {
        match socket.write(rest) {
            Ok(count) if count == rest.len() => rest = frame,
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    rest
}

/// The answer can't be read before what the client does not take.
#[test]
fn an_upstream_whose_answer_is_not_read_is_not_blamed() {
    let (full, is_full) = mpsc::channel();
    let full = Mutex::new(full);
    let upstream = switching(move |mut call| {
        fill(&mut call.socket, &plain(BINARY, [b'x'; 8192]));
        full.lock().unwrap().send(()).unwrap();
        call.drain();
    });
    let setup = Setup {
        limits: "close_wait: 300ms".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let mut proxy = setup.start();
    let mut client = narrow(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    is_full.recv_timeout(PATIENCE).unwrap();
    client.send(masked(CLOSE, closing(1000, "")));
    let line = closed(&mut proxy, Reason::ClientClose);
    assert!(
        line.number("write_stall_client_ms") >= Some(300),
        "{line:?}"
    );
}

/// A TLS stream holds bytes back, so it never runs empty while more arrive than the client reads.
#[test]
fn a_client_that_reads_all_the_time_is_not_stalled_however_slow_it_is() {
    let (full, is_full) = mpsc::channel();
    let full = Mutex::new(full);
    let upstream = switching(move |mut call| {
        let frame = plain(BINARY, [b'x'; 8192]);
        let rest = fill(&mut call.socket, &frame);
        full.lock().unwrap().send(()).unwrap();
        let mut written = call.socket.write_all(rest);
        while written.is_ok() {
            written = call.socket.write_all(&frame);
        }
    });
    let setup = Setup {
        limits: "write_stall: 2s".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let mut proxy = setup.start();
    let mut client = narrow(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    is_full.recv_timeout(PATIENCE).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        client.receive(16 * 1024);
        std::thread::sleep(Duration::from_millis(5));
    }
    client.reset();
    closed(&mut proxy, Reason::ClientReset);
}

fn pinging(upstream: &Upstream) -> Setup {
    Setup {
        websocket: "ping: { interval: 100ms, timeout: 700ms }".to_owned(),
        ..Setup::tls(&upstream.url())
    }
}

/// Answers Pings until a Close arrives.
fn answer(client: &mut Client) -> Vec<u8> {
    loop {
        match read(client).unwrap() {
            (PING, tag) => {
                client.send(masked(PONG, tag));
            }
            (CLOSE, close) => return close,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_client_whose_answers_wait_for_the_upstream_is_not_taken_for_dead() {
    const SIZE: usize = 32 * 1024 * 1024;
    let upstream = switching(|mut call| {
        // Far longer than the interval and the timeout of Pings: the proxy can't read the client in this time.
        std::thread::sleep(Duration::from_secs(4));
        let came = masked(BINARY, vec![b'v'; SIZE]);
        assert!(call.receive(came.len()) == came);
        call.write(plain(CLOSE, closing(1000, ""))).drain();
    });
    // Made before the Pings begin: masking that much takes long, and the client does not answer meanwhile.
    let long = masked(BINARY, vec![b'v'; SIZE]);
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup {
        // Long enough for a client that is scheduled late.
        websocket: "ping: { interval: 100ms, timeout: 2s }".to_owned(),
        ..pinging(&upstream)
    });
    client.send(long);
    let close = answer(&mut client);
    assert_eq!(close, closing(1000, ""));
    client.send(masked(CLOSE, close));
    client.rest();
    closed(&mut proxy, Reason::UpstreamClose);
    upstream.all_ended();
}

/// A peer may answer only the last of several Pings (RFC 6455 section 5.5.3).
#[test]
fn whatever_comes_after_a_ping_shows_that_the_client_is_there() {
    let upstream = switching(|mut call| {
        call.drain();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&pinging(&upstream));
    let mut tags = Vec::new();
    for _ in 0..3 {
        let (first, tag) = read(&mut client).unwrap();
        assert_eq!(first, PING);
        assert!(!tags.contains(&tag));
        tags.push(tag);
        client.send(masked(TEXT, "here"));
    }
    assert_eq!(read(&mut client).unwrap().0, PING);
    // And silence is still detected.
    assert_eq!(
        read(&mut client).unwrap(),
        (CLOSE, closing(1001, "pong_timeout"))
    );
    drop(client);
    let line = closed(&mut proxy, Reason::PongTimeout);
    assert_eq!(line.number("pings"), Some(4));
    assert_eq!(line.number("messages_client_to_upstream"), Some(3));
}

#[test]
fn a_client_that_ended_its_side_does_not_outlive_the_limit() {
    let upstream = switching(|mut call| {
        let tick = plain(TEXT, "tick");
        while call.socket.write_all(&tick).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let setup = Setup {
        websocket: "max_lifetime: 700ms".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    client.finish();
    let (mut ticks, begun) = (0, Instant::now());
    let last = loop {
        assert!(begun.elapsed() < PATIENCE);
        match read(&mut client).unwrap() {
            (TEXT, _) => ticks += 1,
            other => break other,
        }
    };
    assert!(ticks > 0);
    assert_eq!(last, (CLOSE, closing(1001, "max_lifetime")));
    let line = closed(&mut proxy, Reason::MaxLifetime);
    assert_eq!(line.number("client_sees"), Some(1001));
}

#[test]
fn a_refused_client_that_breaks_the_rules_is_not_read_any_longer() {
    let setup = Setup {
        websocket: "explain_refusals: true".to_owned(),
        origins: "[\"https://other.example.com\"]".to_owned(),
        limits: "close_wait: 60s".to_owned(),
        ..Setup::tls("builtin:echo")
    };
    let proxy = setup.start();
    let mut client = Client::tls(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    assert_eq!(read(&mut client).unwrap().0, CLOSE);
    // A Close frame of 2^40 bytes, which must not be collected.
    client.send([0x88, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    assert_eq!(client.rest(), b"", "the proxy ends its side");
}
