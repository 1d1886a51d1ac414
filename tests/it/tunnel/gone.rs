//! Peers that disappear, as far as the kernel can tell.

use std::io::Write;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use wsgate::reason::Reason;

use super::{Open, closed, hold, open, switching};
use crate::harness::client::{kernel_timer, vanish};
use crate::harness::frames::{BINARY, TEXT, masked};
use crate::harness::{Client, Line, PATIENCE, Setup, Upstream, eventually};

/// Four times the `write_stall` of these tests, after which nothing was acknowledged, plus the delay of the kernel's
/// timers.
const GONE: std::ops::RangeInclusive<Duration> = Duration::from_secs(4)..=Duration::from_secs(10);

fn setup(upstream: &Upstream, tls: bool) -> Setup {
    let limits = "write_stall: 1s".to_owned();
    let setup = match tls {
        true => Setup::tls(&upstream.url()),
        false => Setup::plain(&upstream.url()),
    };
    Setup { limits, ..setup }
}

#[test]
fn both_sockets_of_a_tunnel_are_probed_when_they_are_silent() {
    /// The keepalive timer in `/proc/net/tcp`.
    const KEEPALIVE: u8 = 2;
    let ends = Mutex::new(Vec::new());
    let ends = std::sync::Arc::new(ends);
    let seen = std::sync::Arc::clone(&ends);
    let upstream = switching(move |mut call| {
        let own = call.socket.local_addr().unwrap();
        let proxy = call.socket.peer_addr().unwrap();
        seen.lock().unwrap().push((proxy, own));
        call.drain();
    });
    let Open { proxy, client } = open(&setup(&upstream, true));
    let own = client.tcp().local_addr().unwrap();
    let to_upstream = eventually("the tunnel", || ends.lock().unwrap().pop());
    for (local, remote) in [(proxy.address(), own), to_upstream] {
        // Until the last bytes are acknowledged, the retransmission timer is shown.
        let left = eventually("the keepalive timer", || {
            kernel_timer(local, remote).filter(|(kind, _)| *kind == KEEPALIVE)
        });
        assert!(left.1 <= Duration::from_secs(60), "{left:?}");
        assert!(left.1 > Duration::from_secs(20), "{left:?}");
    }
}

#[test]
fn a_client_that_vanished_is_found_out_by_what_is_sent_to_it() {
    for tls in [false, true] {
        vanished_client(tls);
    }
}

pub fn client_timeout() -> Line {
    vanished_client(true)
}

fn vanished_client(tls: bool) -> Line {
    let (go, may_go) = mpsc::channel::<()>();
    let may_go = Mutex::new(may_go);
    let upstream = switching(move |mut call| {
        may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        call.write(b"\x81\x05hello");
        call.drain();
    });
    let Open { mut proxy, client } = open(&setup(&upstream, tls));
    vanish(client.tcp());
    let since = Instant::now();
    go.send(()).unwrap();
    let line = closed(&mut proxy, Reason::ClientTimeout);
    assert!(GONE.contains(&since.elapsed()), "{:?}", since.elapsed());
    let line = line.with_detail("timed out");
    assert!(
        line.number("bytes_upstream_to_client") == Some(7),
        "{line:?}"
    );
    upstream.all_ended();
    line
}

pub fn upstream_timeout() -> Line {
    let (gone, is_gone) = mpsc::channel();
    let gone = Mutex::new(gone);
    let (held, wait) = hold();
    let upstream = switching(move |call| {
        vanish(&call.socket);
        gone.lock().unwrap().send(()).unwrap();
        wait();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&setup(&upstream, true));
    is_gone.recv_timeout(PATIENCE).unwrap();
    let since = Instant::now();
    client.send(masked(TEXT, "hello"));
    let line = closed(&mut proxy, Reason::UpstreamTimeout);
    assert!(GONE.contains(&since.elapsed()), "{:?}", since.elapsed());
    let line = line.with_detail("timed out");
    assert_eq!(line.number("bytes_client_to_upstream"), Some(11));
    drop(held);
    line
}

#[test]
fn a_client_that_breaks_off_while_the_upstream_takes_nothing_is_told_at_once() {
    for tls in [false, true] {
        let (held, wait) = hold();
        let upstream = switching(move |_call| wait());
        let setup = Setup {
            limits: "write_stall: 1h, close_wait: 300ms".to_owned(),
            ..setup(&upstream, tls)
        };
        let Open {
            mut proxy,
            mut client,
        } = open(&setup);
        fill(&mut client);
        client.reset();
        let line = closed(&mut proxy, Reason::ClientReset).with_detail("reset");
        assert!(
            line.number("bytes_client_to_upstream") > Some(0),
            "{line:?}"
        );
        drop(held);
    }
}

#[test]
fn what_such_a_client_sent_goes_on_to_an_upstream_that_takes_it_after_all() {
    let (resume, resumed) = mpsc::channel::<()>();
    let resumed = Mutex::new(resumed);
    let (told, count) = mpsc::channel();
    let upstream = switching(move |mut call| {
        resumed.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        told.send(call.drain().len() as u64).unwrap();
    });
    let setup = Setup {
        limits: "write_stall: 1h".to_owned(),
        ..setup(&upstream, false)
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    let sent = fill(&mut client);
    client.reset();
    resume.send(()).unwrap();
    let line = closed(&mut proxy, Reason::ClientReset);
    let passed = line.number("bytes_client_to_upstream").unwrap();
    // The client's own socket held the rest, which a reset destroys.
    assert!(passed > 0 && passed <= sent, "{passed} of {sent}");
    assert_eq!(count.recv_timeout(PATIENCE).unwrap(), passed);
}

/// Sends until nothing more is accepted; gives the number of bytes.
fn fill(client: &mut Client) -> u64 {
    let frames = masked(BINARY, [b'x'; 64 * 1024]).repeat(1024);
    client
        .tcp()
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut sent = 0;
    while let Ok(count) = client.write(&frames[sent..]) {
        sent += count;
    }
    sent as u64
}
