//! Health checks: their answers, and that nothing blocks them.

mod health;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::harness::client::try_socket;
use crate::harness::services::{admin, ask, get, probes, start};
use crate::harness::{Client, PATIENCE, Proxy, Setup, eventually, frames, handshake};

/// Far shorter than the deadline of a head, far longer than an answer takes.
const PROMPTLY: Duration = Duration::from_secs(3);

#[track_caller]
fn open(proxy: &Proxy) -> Client {
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    client
}

#[test]
fn a_proxy_that_serves_is_well_and_ready() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    for address in [probes(&proxy), admin(&proxy)] {
        assert_eq!(get(address, "/healthz"), (200, "ok: running\n".to_owned()));
        let ready = (200, "ready: 0 connections open\n".to_owned());
        assert_eq!(get(address, "/readyz"), ready);
        assert_eq!(get(address, "/readyz?verbose"), ready);
    }
    let tunnel = open(&proxy);
    let ready = (200, "ready: 1 connection open\n".to_owned());
    assert_eq!(get(probes(&proxy), "/readyz"), ready);
    drop(tunnel);
    proxy.event("closed");
    let lines = proxy.stop();
    let said: Vec<_> = lines
        .iter()
        .map(|line| (line.text("event"), line.text("detail")))
        .take(3)
        .collect();
    assert_eq!(
        said,
        [
            ("listening", "without TLS"),
            ("listening", "probes"),
            ("listening", "admin")
        ]
    );
    // Not even at level debug, which the tests use: checks never stop.
    let events: Vec<_> = lines.iter().map(|line| line.text("event")).collect();
    assert_eq!(
        events[3..],
        ["opened", "closed", "draining", "stopped"],
        "{lines:?}"
    );
}

#[test]
fn other_paths_and_methods_are_told_what_there_is() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    let address = probes(&proxy);
    for path in [
        "/",
        "/health",
        "/healthz/",
        "//healthz",
        "/HEALTHZ",
        "/drain",
        "/ws",
    ] {
        let (status, text) = get(address, path);
        assert_eq!(status, 404, "{path}");
        assert!(
            text.contains("/healthz") && text.contains("/readyz") && !text.contains("/drain"),
            "{text}"
        );
    }
    assert!(get(admin(&proxy), "/nothing").1.contains("POST /drain"));
    for (address, path, allowed) in [
        (address, "/healthz", "GET, HEAD"),
        (address, "/readyz", "GET, HEAD"),
        (admin(&proxy), "/drain", "GET, HEAD, POST"),
    ] {
        for method in ["PUT", "OPTIONS", "DELETE"] {
            let response = ask(address, method, path);
            assert_eq!(response.status, 405);
            assert_eq!(response.field("allow"), Some(allowed));
            assert_eq!(response.text(), format!("{path} takes {allowed}\n"));
        }
    }
    assert_eq!(ask(address, "POST", "/readyz").status, 405);
    assert_eq!(get(address, "/readyz").0, 200);
}

#[test]
fn checks_may_ask_without_a_body_again_and_in_old_words() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    let mut client = Client::plain(probes(&proxy));
    for _ in 0..3 {
        let response = client
            .send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .response();
        assert_eq!(response.status, 200);
        assert_eq!(response.field("cache-control"), Some("no-store"));
        assert_eq!(
            response.field("content-type"),
            Some("text/plain; charset=utf-8")
        );
    }
    for (request, end) in [
        (
            "HEAD /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "\r\n\r\n",
        ),
        (
            "GET /readyz HTTP/1.0\r\n\r\n",
            "ready: 0 connections open\n",
        ),
    ] {
        let mut client = Client::plain(probes(&proxy));
        // Some checks close their sending side after the request.
        client.send(request).finish();
        let answer = String::from_utf8(client.rest()).unwrap();
        assert!(answer.contains(" 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-length: 26\r\n"), "{answer}");
        assert!(answer.ends_with(end), "{answer}");
    }
}

#[test]
fn readiness_goes_first_and_health_last() {
    let setup = Setup {
        shutdown: "delay: 2s, drain: 60s".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let mut proxy = start(&setup);
    let address = probes(&proxy);
    let mut tunnel = open(&proxy);
    proxy.signal("TERM");
    proxy.event("draining");
    let (status, text) = get(address, "/readyz");
    assert_eq!(status, 503);
    assert_eq!(
        text,
        "draining: 1 connection open; new handshakes are accepted until shutdown.delay is over\n"
    );
    let mut late = open(&proxy);
    assert_eq!(get(address, "/healthz").0, 200);
    eventually("a refusal", || {
        let mut client = Client::plain(proxy.address());
        let status = client.send(handshake("/ws", &[])).response().status;
        (status == 503).then_some(())
    });
    let drained = eventually("the refused clients' end", || {
        let answer = get(address, "/readyz");
        (answer.1 == "draining: 2 connections open\n").then_some(answer)
    });
    assert_eq!(drained.0, 503);
    assert_eq!(get(address, "/healthz").0, 200);
    for client in [&mut tunnel, &mut late] {
        client.finish();
        assert_eq!(client.rest(), b"");
    }
    assert!(proxy.ended().success());
    let error = try_socket(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_full_proxy_answers() {
    let setup = Setup {
        limits: "connections: 1".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let mut proxy = start(&setup);
    let mut tunnel = open(&proxy);
    // It is reset at once, perhaps before connect() returns.
    if let Ok(refused) = try_socket(proxy.address()) {
        assert_eq!(Client::Plain(refused).rest(), b"");
    }
    assert_eq!(proxy.terminal().text("reason"), "tcp_conn_limit");
    for address in [probes(&proxy), admin(&proxy)] {
        assert_eq!(get(address, "/healthz").0, 200);
        assert_eq!(get(address, "/readyz").0, 200);
    }
    // The checks take no connections from the proxy.
    frames::echoes(&mut tunnel, "still here");
}

#[test]
fn clients_that_only_hold_connections_open_keep_no_check_from_its_answer() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    let address = probes(&proxy);
    let mut silent: Vec<_> = (0..200)
        .map(|index| {
            let mut client = Client::plain(address);
            if index % 2 == 0 {
                client.send("GET /healthz HTTP/1.1\r\nHost: ");
            }
            client
        })
        .collect();
    let since = Instant::now();
    assert_eq!(get(address, "/healthz").0, 200);
    assert!(since.elapsed() < PROMPTLY, "{:?}", since.elapsed());
    // The oldest one was ended to make room; the deadline ends the newest ones.
    assert_eq!(silent.remove(0).rest(), b"");
    assert!(since.elapsed() < PROMPTLY, "{:?}", since.elapsed());
    let newest = silent.pop().unwrap().rest();
    let newest = String::from_utf8(newest).unwrap();
    assert!(
        newest.is_empty() || newest.starts_with("HTTP/1.1 408"),
        "{newest}"
    );
    assert!(since.elapsed() < PATIENCE);
}

#[test]
fn a_slow_head_does_not_last() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    let mut slow = Client::plain(probes(&proxy));
    slow.send("GET /healthz HTTP/1.1\r\nHost: x\r\nA: ");
    let since = Instant::now();
    slow.rest();
    assert!(since.elapsed() >= Duration::from_secs(4));
    assert!(since.elapsed() < PATIENCE);
}

#[test]
fn garbage_is_ended_and_leaves_no_trace() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    let long = format!(
        "GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    for address in [probes(&proxy), admin(&proxy)] {
        for garbage in [
            &b"\x16\x03\x01\x02\x00\x01\0\x01\xfc\x03\x03random"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\0\0\0\0",
            b"GET /healthz HTTP/1.1\r\nbroken\r\n\r\n",
            b"GET /healthz\r\n\r\n",
            long.as_bytes(),
            many.as_bytes(),
        ] {
            let mut client = Client::plain(address);
            // The answer may come before everything was read.
            let _ = std::io::Write::write_all(&mut client, garbage);
            let answer = String::from_utf8(client.rest()).unwrap();
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
                "{answer}"
            );
        }
        assert_eq!(get(address, "/healthz").0, 200);
    }
    let lines = proxy.stop();
    let events: Vec<_> = lines.iter().map(|line| line.text("event")).collect();
    assert_eq!(
        events,
        ["listening", "listening", "listening", "draining", "stopped"]
    );
}

#[test]
fn a_taken_address_is_named_by_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for key in ["probes", "admin"] {
        let setup = Setup {
            extra: format!("{key}: {{ address: {address} }}\n"),
            ..Setup::plain("\"builtin:echo\"")
        };
        let (code, out, said) = crate::harness::proxy::run(&[], setup.folder().path());
        assert_eq!((code, out.as_str()), (1, ""));
        let expected = format!("stop what listens there, or change {key}.address");
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn the_start_says_where_the_services_are() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    for line in [
        format!("  probes on http://{}\n", probes(&proxy)),
        format!("  admin on http://{}\n", admin(&proxy)),
    ] {
        // It takes a different way than the records for which the start waits.
        eventually(&line, || proxy.diagnostics().contains(&line).then_some(()));
    }
}
