//! A drain that is requested through the admin service: it ends the tunnels, but not the process.

mod command;

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use wsgate::reason::Reason;

use crate::harness::frames::{CLOSE, closing, echoes, masked, read};
use crate::harness::services::{admin, ask, get, probes, start};
use crate::harness::{Client, Line, Proxy, Response, Setup, Upstream, eventually, handshake};

/// Far longer than an exit that waits for nothing, far shorter than the drains that these tests set.
const PROMPTLY: Duration = Duration::from_secs(8);

/// A drain that no test waits for, and Close frames that come long after the test.
const PATIENT: &str = "drain: 300s, spread: 200s";

fn setup(shutdown: &str, endpoint: &str) -> Setup {
    Setup {
        shutdown: shutdown.to_owned(),
        ..Setup::plain(endpoint)
    }
}

#[track_caller]
fn open(proxy: &Proxy) -> Client {
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    client
}

#[track_caller]
fn refused(proxy: &Proxy) -> Response {
    let mut client = Client::plain(proxy.address());
    let response = client.send(handshake("/ws", &[])).response();
    assert_eq!(response.status, 503);
    assert_eq!(response.field("retry-after"), Some("5"));
    assert!(response.text().starts_with("draining\n"), "{response:?}");
    assert_eq!(client.rest(), b"");
    response
}

/// Reads the drain's Close and answers it.
#[track_caller]
fn is_sent_away(client: &mut Client) {
    let close = closing(1012, "drain_graceful");
    assert_eq!(read(client).unwrap(), (CLOSE, close.clone()));
    client.send(masked(CLOSE, close));
    assert_eq!(client.rest(), b"");
}

/// Waits for the process to end, long before the drain would be over, with status 0.
#[track_caller]
fn ends_promptly(proxy: &mut Proxy, since: Instant) -> Vec<Line> {
    let status = proxy.ended();
    assert!(since.elapsed() < PROMPTLY, "{:?}", since.elapsed());
    assert_eq!(status.code(), Some(0), "{}", proxy.diagnostics());
    proxy.finished()
}

fn details<'l>(lines: &'l [Line], event: &str) -> Vec<&'l str> {
    let of_event = lines.iter().filter(|line| line.text("event") == event);
    of_event.map(|line| line.text("detail")).collect()
}

#[test]
fn tunnels_are_sent_away_and_the_process_stays() {
    let upstream = Upstream::echo();
    let setup = Setup {
        shutdown: "drain: 60s, spread: 0s".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let mut proxy = start(&setup);
    let mut tunnels = [Client::tls(proxy.address()), Client::tls(proxy.address())];
    for tunnel in &mut tunnels {
        assert_eq!(tunnel.send(handshake("/ws", &[])).response().status, 101);
        echoes(tunnel, "before");
    }
    let ready = (200, "ready: 2 connections open\n".to_owned());
    assert_eq!(get(admin(&proxy), "/drain"), ready);
    let begun = ask(admin(&proxy), "POST", "/drain");
    assert_eq!(begun.status, 202);
    assert_eq!(begun.text(), "draining: 2 connections open\n");
    // From the moment of the answer on.
    assert_eq!(get(probes(&proxy), "/readyz").0, 503);
    let mut late = Client::tls(proxy.address());
    let response = late.send(handshake("/ws", &[])).response();
    assert_eq!(response.status, 503);
    assert!(response.text().starts_with("draining\n"), "{response:?}");
    for tunnel in &mut tunnels {
        is_sent_away(tunnel);
    }
    let over = proxy.event("drained");
    assert_eq!(
        over.text("detail"),
        "all connections have ended; handshakes are refused until a signal ends the process"
    );
    let said = "drained: all connections have ended\n".to_owned();
    assert_eq!(get(admin(&proxy), "/drain"), (200, said.clone()));
    assert_eq!(get(probes(&proxy), "/readyz"), (503, said));
    for address in [probes(&proxy), admin(&proxy)] {
        assert_eq!(get(address, "/healthz").0, 200);
    }
    let again = ask(admin(&proxy), "POST", "/drain");
    assert_eq!(again.status, 200);
    assert_eq!(
        again.text(),
        "drained: all connections have ended (asked for before)\n"
    );
    assert_eq!(upstream.connections(), 2, "it is not asked any more");
    upstream.all_ended();
    let since = Instant::now();
    proxy.signal("TERM");
    drop(late);
    let lines = ends_promptly(&mut proxy, since);
    assert_eq!(
        details(&lines, "draining"),
        ["asked for through the admin listener; 2 connections open, at most 1m to finish"]
    );
    assert_eq!(
        details(&lines, "stopped"),
        ["SIGTERM arrived after the drain"]
    );
    let reasons: Vec<_> = lines.iter().map(|line| line.text("reason")).collect();
    let count = |reason: Reason| {
        reasons
            .iter()
            .filter(|found| **found == reason.code())
            .count()
    };
    assert_eq!(count(Reason::DrainGraceful), 2);
    assert_eq!(count(Reason::Draining), 1);
}

#[test]
fn without_a_connection_a_drain_is_over_at_once_and_refuses_for_as_long_as_it_takes() {
    let mut proxy = start(&setup(PATIENT, "\"builtin:echo\""));
    assert!(matches!(
        ask(admin(&proxy), "POST", "/drain").status,
        200 | 202
    ));
    proxy.event("drained");
    for _ in 0..20 {
        refused(&proxy);
    }
    assert!(get(probes(&proxy), "/readyz").1.starts_with("drained"));
    let since = Instant::now();
    proxy.signal("INT");
    let lines = ends_promptly(&mut proxy, since);
    assert_eq!(
        details(&lines, "stopped"),
        ["SIGINT arrived after the drain"]
    );
    assert_eq!(lines.last().unwrap().0["counts"]["draining"], 20);
}

#[test]
fn a_signal_during_a_drain_ends_the_process_with_it() {
    let upstream = Upstream::echo();
    let mut proxy = start(&setup(PATIENT, &upstream.url()));
    let mut tunnel = open(&proxy);
    assert_eq!(ask(admin(&proxy), "POST", "/drain").status, 202);
    let again = ask(admin(&proxy), "POST", "/drain");
    assert_eq!(again.status, 202);
    assert_eq!(
        again.text(),
        "draining: 1 connection open (asked for before)\n"
    );
    echoes(&mut tunnel, "still here");
    proxy.signal("TERM");
    proxy.wait("the second record", |lines| {
        (details(lines, "draining").len() == 2).then_some(())
    });
    echoes(&mut tunnel, "still here");
    refused(&proxy);
    assert_eq!(get(probes(&proxy), "/healthz").0, 200);
    assert_eq!(get(probes(&proxy), "/readyz").0, 503);
    let since = Instant::now();
    tunnel.finish();
    assert_eq!(tunnel.rest(), b"");
    let lines = ends_promptly(&mut proxy, since);
    assert_eq!(
        details(&lines, "draining")[1],
        "SIGTERM; 1 connection open; the current drain continues, and the process ends with it"
    );
    assert_eq!(details(&lines, "drained"), [""; 0]);
    assert_eq!(details(&lines, "stopped"), ["all connections have ended"]);
}

#[test]
fn a_second_signal_during_a_drain_cuts() {
    let upstream = Upstream::echo();
    let mut proxy = start(&setup(PATIENT, &upstream.url()));
    let mut tunnel = open(&proxy);
    assert_eq!(ask(admin(&proxy), "POST", "/drain").status, 202);
    proxy.signal("TERM");
    proxy.wait("the second record", |lines| {
        (details(lines, "draining").len() == 2).then_some(())
    });
    let since = Instant::now();
    proxy.signal("INT");
    assert_eq!(tunnel.rest(), b"");
    proxy
        .terminal()
        .expect(Reason::DrainForced)
        .with_detail("a second signal (SIGINT) arrived");
    let lines = ends_promptly(&mut proxy, since);
    let how = "1 connection was cut by a second signal (SIGINT)";
    assert_eq!(details(&lines, "stopped"), [how]);
    upstream.all_ended();
}

#[test]
fn a_drain_that_is_asked_for_during_a_shutdown_changes_nothing() {
    let mut proxy = start(&setup(PATIENT, "\"builtin:echo\""));
    let mut tunnel = open(&proxy);
    proxy.signal("TERM");
    proxy.event("draining");
    let asked = ask(admin(&proxy), "POST", "/drain");
    assert_eq!(asked.status, 202);
    assert_eq!(
        asked.text(),
        "draining: 1 connection open (asked for before)\n"
    );
    let since = Instant::now();
    tunnel.finish();
    let lines = ends_promptly(&mut proxy, since);
    assert_eq!(details(&lines, "draining").len(), 1);
    assert_eq!(details(&lines, "stopped"), ["all connections have ended"]);
}

/// An upstream that begins a frame in each tunnel and never ends it, so a Close can't be sent.
fn in_a_frame() -> Upstream {
    Upstream::start(|mut call| {
        call.switch("").write([0x82, 0x7e, 0x10, 0x00]).drain();
    })
}

#[test]
fn what_is_left_at_the_deadline_is_cut_and_later_clients_still_get_their_answer() {
    let upstream = in_a_frame();
    let mut proxy = start(&setup("drain: 300ms", &upstream.url()));
    let mut tunnel = open(&proxy);
    assert_eq!(tunnel.receive(4), [0x82, 0x7e, 0x10, 0x00]);
    assert_eq!(ask(admin(&proxy), "POST", "/drain").status, 202);
    assert_eq!(tunnel.rest(), b"");
    proxy
        .terminal()
        .expect(Reason::DrainForced)
        .with_detail("the drain's deadline (300ms) passed");
    let over = proxy.event("drained");
    assert_eq!(
        over.text("detail"),
        "1 connection was cut after 300ms; handshakes are refused until a signal ends the process"
    );
    let said = "drained: 1 connection was cut at the deadline\n".to_owned();
    assert_eq!(get(admin(&proxy), "/drain"), (200, said));
    upstream.all_ended();
    for _ in 0..5 {
        refused(&proxy);
    }
    // Slow clients are not cut either.
    let mut slow = Client::plain(proxy.address());
    let request = handshake("/ws", &[]);
    let (begin, rest) = request.split_at(30);
    slow.send(begin);
    refused(&proxy);
    slow.send(rest);
    assert_eq!(slow.response().status, 503);
    let since = Instant::now();
    proxy.signal("TERM");
    let lines = ends_promptly(&mut proxy, since);
    assert_eq!(
        details(&lines, "stopped"),
        ["SIGTERM arrived after the drain"]
    );
}

#[test]
fn during_the_delay_only_readiness_changes() {
    let mut proxy = start(&setup(
        "delay: 2s, drain: 60s, spread: 0s",
        "\"builtin:echo\"",
    ));
    let mut early = open(&proxy);
    let begun = ask(admin(&proxy), "POST", "/drain");
    assert_eq!(begun.status, 202);
    assert_eq!(
        begun.text(),
        "draining: 1 connection open; new handshakes are accepted until shutdown.delay is over\n"
    );
    assert_eq!(get(probes(&proxy), "/readyz").0, 503);
    assert_eq!(get(probes(&proxy), "/healthz").0, 200);
    let mut late = open(&proxy);
    echoes(&mut late, "hello");
    for tunnel in [&mut early, &mut late] {
        is_sent_away(tunnel);
    }
    proxy.event("drained");
    refused(&proxy);
    proxy.signal("TERM");
    let lines = ends_promptly(&mut proxy, Instant::now());
    assert_eq!(
        details(&lines, "draining"),
        [
            "asked for through the admin listener; 1 connection open; handshakes are accepted for 2s more, then at \
             most 1m to finish"
        ]
    );
}

#[test]
fn a_connection_that_becomes_a_tunnel_is_counted_once() {
    let proxy = start(&setup(PATIENT, "\"builtin:echo\""));
    let question = "GET /drain HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut asking = Client::plain(admin(&proxy));
    let begun = AtomicUsize::new(0);
    let tunnels: Vec<_> = thread::scope(|scope| {
        let opening = scope.spawn(|| {
            let tunnels = (0..1000).map(|_| {
                begun.fetch_add(1, SeqCst);
                open(&proxy)
            });
            tunnels.collect()
        });
        while !opening.is_finished() {
            let said = asking.send(question).response().text();
            let open = said.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
            let most = begun.load(SeqCst);
            assert!(open <= most, "{said} of {most}");
        }
        opening.join().unwrap()
    });
    let said = get(admin(&proxy), "/drain").1;
    assert_eq!(said, format!("ready: {} connections open\n", tunnels.len()));
}

#[test]
fn a_signal_during_the_delay_of_a_drain_ends_the_process_with_it() {
    let mut proxy = start(&setup(
        "delay: 2s, drain: 60s, spread: 0s",
        "\"builtin:echo\"",
    ));
    let mut tunnel = open(&proxy);
    assert_eq!(ask(admin(&proxy), "POST", "/drain").status, 202);
    proxy.signal("TERM");
    proxy.wait("the second record", |lines| {
        (details(lines, "draining").len() == 2).then_some(())
    });
    // The delay is not cut short: clients that still arrive are served.
    let mut late = open(&proxy);
    for tunnel in [&mut tunnel, &mut late] {
        is_sent_away(tunnel);
    }
    let lines = ends_promptly(&mut proxy, Instant::now());
    assert_eq!(details(&lines, "stopped"), ["all connections have ended"]);
}

#[test]
fn connections_that_have_not_asked_do_not_hold_up_a_drain() {
    let setup = Setup {
        limits: "tls_handshake: 60s, request_head: 60s".to_owned(),
        shutdown: PATIENT.to_owned(),
        ..Setup::tls("\"builtin:echo\"")
    };
    let proxy = start(&setup);
    let silent = Client::plain(proxy.address());
    let unused = Client::tls(proxy.address());
    eventually("both connections", || {
        let said = get(admin(&proxy), "/drain").1;
        (said == "ready: 2 connections open\n").then_some(())
    });
    let since = Instant::now();
    assert_eq!(ask(admin(&proxy), "POST", "/drain").status, 202);
    proxy.event("drained");
    assert!(since.elapsed() < PROMPTLY, "{:?}", since.elapsed());
    drop((silent, unused));
    proxy.stop();
}

/// What a page in a browser on the same machine can send: a POST to another site always has its Origin, and a page
/// whose name was made to resolve to loopback has that name as Host.
#[test]
fn pages_are_not_listened_to() {
    let proxy = start(&setup(PATIENT, "\"builtin:echo\""));
    let address = admin(&proxy);
    let send = |head: &str| {
        let mut client = Client::plain(address);
        let response = client
            .send(format!("{head}\r\nConnection: close\r\n\r\n"))
            .response();
        (response.status, response.text())
    };
    for (head, why) in [
        (
            format!("POST /drain HTTP/1.1\r\nHost: {address}\r\nOrigin: https://evil.example.com"),
            "comes from a web page",
        ),
        (
            format!("POST /drain HTTP/1.1\r\nHost: {address}\r\nOrigin: null"),
            "comes from a web page",
        ),
        (
            format!("POST /drain HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}"),
            "comes from a web page",
        ),
        (
            "POST /drain HTTP/1.1\r\nHost: evil.example.com:9901".to_owned(),
            "not an IP address, not localhost",
        ),
        (
            "GET /readyz HTTP/1.1\r\nHost: localhost.evil.example.com".to_owned(),
            "not an IP address, not localhost",
        ),
        (
            format!("POST /drain HTTP/1.1\r\nHost: {address}\r\nHost: evil.example.com"),
            "not an IP address, not localhost",
        ),
        ("POST /drain HTTP/1.1\r\nA: b".to_owned(), "has no Host"),
        (
            format!("POST /drain HTTP/1.1\r\nHost: {address}\r\nSec-Fetch-Site: same-origin"),
            "comes from a web page",
        ),
        (
            format!("GET /drain HTTP/1.1\r\nHost: {address}\r\nSec-Fetch-Site: cross-site"),
            "another page leads here",
        ),
    ] {
        let (status, said) = send(&head);
        assert_eq!(status, 403, "{head}");
        assert!(said.contains(why), "{head}: {said}");
    }
    assert_eq!(get(address, "/readyz").0, 200, "nothing was drained");
    let (status, _) = send("GET /drain HTTP/1.1\r\nHost: localhost:9901");
    assert_eq!(status, 200);
    // Probes reveal nothing that a page could not know, and load balancers may use a name.
    let mut client = Client::plain(probes(&proxy));
    let response = client
        .send("GET /readyz HTTP/1.1\r\nHost: wsgate.internal\r\n\r\n")
        .response();
    assert_eq!(response.status, 200);
}

#[test]
fn a_body_does_not_keep_a_drain_from_its_answer() {
    let proxy = start(&setup(PATIENT, "\"builtin:echo\""));
    let address = admin(&proxy);
    let mut client = Client::plain(address);
    // Like curl -d, but the body never arrives.
    client.send(format!(
        "POST /drain HTTP/1.1\r\nHost: {address}\r\nContent-Length: 5\r\n\r\n"
    ));
    assert!(matches!(client.response().status, 200 | 202));
    proxy.event("drained");
    proxy.stop();
}
