//! Tunnels: what passes through them, and how they end.

use std::io::{Read, Write};
use std::sync::{Mutex, mpsc};

use wsgate::reason::Reason;

use crate::harness::client::ACCEPT;
use crate::harness::frames::{BINARY, CLOSE, TEXT, closing, echoes, masked, plain, read};
use crate::harness::upstream::Call;
use crate::harness::{Client, Line, PATIENCE, Proxy, Setup, Upstream, handshake};

/// Close frames of the peers.
pub mod closes;
/// The embedded echo upstream.
mod echo;
/// One side ends, and the other continues.
mod ends;
/// Traffic that is not WebSocket.
pub mod foreign;
/// Peers that disappear.
pub mod gone;
/// The cost of an idle tunnel.
mod idle;
/// What was sent before the end still arrives.
mod last;
/// Slow peers, and timers that must be fair to them.
mod pressed;
/// The proxy's own frames.
pub mod spoken;
/// Much data, slow readers, and exact counts.
mod volume;

/// A running proxy with one open tunnel.
struct Open {
    proxy: Proxy,
    client: Client,
}

/// Opens a tunnel over TLS.
#[track_caller]
fn open(setup: &Setup) -> Open {
    let proxy = setup.start();
    let client = tunnel(&proxy, setup.tls.is_some());
    Open { proxy, client }
}

/// Opens a tunnel through a running proxy.
#[track_caller]
fn tunnel(proxy: &Proxy, tls: bool) -> Client {
    let mut client = if tls {
        Client::tls(proxy.address())
    } else {
        Client::plain(proxy.address())
    };
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    client
}

/// Checks a `closed` record for what every one must have.
#[track_caller]
fn closed(proxy: &mut Proxy, reason: Reason) -> Line {
    let line = proxy.terminal();
    let opened = proxy.event("opened");
    assert_eq!(line.text("event"), "closed");
    assert_eq!(line.text("conn"), opened.text("conn"));
    assert_eq!(opened.number("status"), Some(101));
    assert_eq!(line.number("status"), Some(101));
    for name in [
        "head_ms",
        "policy_ms",
        "connect_ms",
        "handshake_ms",
        "bytes_client_to_upstream",
        "bytes_upstream_to_client",
        "lasted_ms",
        "idle_ms",
        "write_stall_client_ms",
        "write_stall_upstream_ms",
    ] {
        assert!(line.number(name).is_some(), "no {name} in {line:?}");
    }
    assert!(
        line.number("lasted_ms") >= line.number("idle_ms"),
        "{line:?}"
    );
    line.expect(reason)
}

/// An upstream that opens a tunnel and then calls `then`.
fn switching(then: impl Fn(Call) + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |mut call| {
        call.switch("");
        then(call);
    })
}

/// An event for a handler to wait for: it keeps its socket open until the test drops the other end.
fn hold() -> (mpsc::Sender<()>, impl Fn() + Send + Sync) {
    let (held, release) = mpsc::channel();
    let release = Mutex::new(release);
    let wait = move || {
        // Returns an error when the test drops its end, which is the event.
        let _ = release.lock().unwrap().recv_timeout(PATIENCE * 2);
    };
    (held, wait)
}

/// The client closes first, and cleanly.
pub fn client_eof_no_close() -> Line {
    let upstream = Upstream::echo();
    let mut proxy = Setup::tls(&upstream.url()).start();
    let mut client = Client::tls(proxy.address());
    let response = client.send(handshake("/ws", &[])).response();
    assert_eq!(response.status, 101);
    assert_eq!(response.field("sec-websocket-accept"), Some(ACCEPT));
    echoes(&mut client, "hello");
    client.finish();
    assert_eq!(client.rest(), b"");
    let opened = proxy.event("opened");
    assert_eq!(opened.number("status"), Some(101));
    let closed = proxy.terminal();
    assert_eq!(closed.text("event"), "closed");
    assert_eq!(closed.text("conn"), opened.text("conn"));
    // Five bytes of payload, two of the header and four of the mask.
    assert_eq!(closed.number("bytes_client_to_upstream"), Some(11));
    assert_eq!(closed.number("bytes_upstream_to_client"), Some(7));
    closed.expect(Reason::ClientEofNoClose)
}

#[test]
fn bytes_pass_and_the_record_says_who_ended() {
    client_eof_no_close();
}

pub fn client_reset() -> Line {
    let upstream = Upstream::echo();
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls(&upstream.url()));
    echoes(&mut client, "hello");
    client.reset();
    let line = closed(&mut proxy, Reason::ClientReset).with_detail("reset");
    assert_eq!(line.number("bytes_client_to_upstream"), Some(11));
    // There is no network between the two.
    assert!(line.text("hint").contains("on this machine"), "{line:?}");
    upstream.all_ended();
    line
}

pub fn upstream_eof_no_close() -> Line {
    let upstream = switching(|mut call| {
        call.write(plain(TEXT, "bye")).finish();
        let answer = masked(TEXT, "answer");
        assert_eq!(call.drain(), answer, "the client's side stays open");
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls(&upstream.url()));
    assert_eq!(read(&mut client).unwrap(), (TEXT, b"bye".to_vec()));
    let told = closing(1014, "upstream_eof_no_close");
    assert_eq!(read(&mut client).unwrap(), (CLOSE, told));
    client.send(masked(TEXT, "answer")).finish();
    // The end of TCP arrives as the end of TLS: unlike `rest`, `read_to_end` does not accept a truncated stream.
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"");
    let line = closed(&mut proxy, Reason::UpstreamEofNoClose);
    assert_eq!(line.number("bytes_upstream_to_client"), Some(5));
    assert_eq!(line.number("bytes_client_to_upstream"), Some(12));
    assert_eq!(line.text("first_close"), "proxy");
    assert_eq!(line.number("close_code_proxy"), Some(1014));
    assert_eq!(line.number("client_sees"), Some(1014));
    upstream.all_ended();
    line
}

pub fn upstream_reset() -> Line {
    let upstream = switching(|mut call| {
        call.write(plain(TEXT, "last words"));
        call.receive(masked(TEXT, "ok").len());
        call.reset();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls(&upstream.url()));
    assert_eq!(client.receive(12), plain(TEXT, "last words"));
    client.send(masked(TEXT, "ok"));
    let told = closing(1014, "upstream_reset");
    assert_eq!(read(&mut client).unwrap(), (CLOSE, told.clone()));
    client.send(masked(CLOSE, told));
    assert_eq!(client.rest(), b"");
    closed(&mut proxy, Reason::UpstreamReset).with_detail("reset")
}

pub fn tls_truncated() -> Line {
    let upstream = Upstream::echo();
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls(&upstream.url()));
    echoes(&mut client, "hello");
    client.truncate();
    let line = closed(&mut proxy, Reason::TlsTruncated);
    upstream.all_ended();
    line
}

pub fn tls_record_error() -> Line {
    let upstream = Upstream::echo();
    let Open { mut proxy, client } = open(&Setup::tls(&upstream.url()));
    // A record of application data that was not encrypted with this connection's keys.
    let mut record = vec![0x17, 0x03, 0x03, 0x00, 0x20];
    record.extend([0x5a; 32]);
    client.tcp().write_all(&record).unwrap();
    let line = closed(&mut proxy, Reason::TlsRecordError);
    assert!(!line.text("detail").is_empty());
    assert_eq!(line.number("bytes_client_to_upstream"), Some(0));
    upstream.all_ended();
    line
}

pub fn half_close_timeout() -> Line {
    let (held, wait) = hold();
    let upstream = switching(move |mut call| {
        assert_eq!(call.drain(), masked(TEXT, "last words"));
        wait();
    });
    let setup = Setup {
        limits: "close_wait: 300ms".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    client.send(masked(TEXT, "last words")).finish();
    let line = closed(&mut proxy, Reason::HalfCloseTimeout)
        .with_detail("the client ended its stream first; the upstream sent nothing for 300ms");
    assert!(line.number("lasted_ms") >= Some(300));
    assert_eq!(client.rest(), b"");
    drop(held);
    line
}

pub fn idle_timeout() -> Line {
    let upstream = Upstream::echo();
    let setup = Setup {
        websocket: "idle_timeout: 300ms".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    echoes(&mut client, "hello");
    let told = closing(1001, "idle_timeout");
    assert_eq!(read(&mut client).unwrap(), (CLOSE, told.clone()));
    client.send(masked(CLOSE, told));
    assert_eq!(client.rest(), b"");
    let line = closed(&mut proxy, Reason::IdleTimeout)
        .with_detail("no frame in either direction for 300ms");
    assert!(line.number("idle_ms") >= Some(300));
    assert_eq!(line.text("first_close"), "proxy");
    assert_eq!(line.number("client_sees"), Some(1001));
    upstream.all_ended();
    line
}

pub fn client_write_stalled() -> Line {
    let upstream = switching(|mut call| {
        let frame = plain(BINARY, [b'x'; 65536]);
        while call.socket.write_all(&frame).is_ok() {}
    });
    let setup = Setup {
        limits: "write_stall: 300ms".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open { mut proxy, client } = open(&setup);
    // TLS has accepted all of them, and they count nevertheless.
    let line = closed(&mut proxy, Reason::ClientWriteStalled)
        .with_detail("up to ")
        .with_detail(" bytes waited for 300ms");
    assert!(
        line.number("write_stall_client_ms") >= Some(300),
        "{line:?}"
    );
    assert!(line.number("bytes_upstream_to_client") > Some(0));
    upstream.all_ended();
    drop(client);
    line
}

pub fn upstream_write_stalled() -> Line {
    let (held, wait) = hold();
    let upstream = switching(move |_call| wait());
    let setup = Setup {
        limits: "write_stall: 300ms".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    let frame = masked(BINARY, [b'x'; 65536]);
    while client.write_all(&frame).is_ok() {}
    let line = closed(&mut proxy, Reason::UpstreamWriteStalled).with_detail("waited for 300ms");
    assert!(
        line.number("write_stall_upstream_ms") >= Some(300),
        "{line:?}"
    );
    assert!(line.number("bytes_client_to_upstream") > Some(0));
    drop(held);
    line
}
