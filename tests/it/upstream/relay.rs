//! What the client gets of a refusal.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use wsgate::reason::Reason;

use super::{ask, gate, relayed, was_asked};
use crate::harness::client::CUT;
use crate::harness::proxy::is_terminal;
use crate::harness::{Client, Setup, Upstream, eventually, handshake};

#[test]
fn status_fields_and_body_come_as_they_were() {
    let upstream = Upstream::answering(
        "HTTP/1.1 418 I'm a teapot\r\nX-MiXeD-cAsE: Value, with \"Case\"\r\nSet-Cookie: a=1; Path=/\r\n\
         set-cookie: b=2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: gone\r\nKeep-Alive: timeout=5\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n7;ext=1\r\n and s\0\r\n4\r\ntout\r\n0\r\n\r\n",
    );
    let (response, line) = ask(&Setup::plain(&upstream.url()));
    assert_eq!(response.line, "HTTP/1.1 418 I'm a teapot");
    assert_eq!(response.body, b"short and s\0tout");
    let as_came = ("X-MiXeD-cAsE".to_owned(), "Value, with \"Case\"".to_owned());
    assert!(response.fields.contains(&as_came), "{response:?}");
    assert_eq!(response.fields_named("set-cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(response.field("keep-alive"), None);
    assert_eq!(response.field("x-hop"), None);
    was_asked(&upstream, &line);
    line.expect(Reason::Upstream4xx);
}

#[test]
fn a_large_body_comes_whole() {
    let body: Vec<u8> = (0..251).cycle().take(1024 * 1024).collect();
    for framing in [
        format!("Content-Length: {}\r\n", body.len()),
        "Connection: close\r\n".to_owned(),
    ] {
        let sent = body.clone();
        let by_end = framing.starts_with("Connection");
        let upstream = Upstream::start(move |mut call| {
            call.write(format!(
                "HTTP/1.1 500 Internal Server Error\r\n{framing}\r\n"
            ));
            call.write(&sent);
            if by_end {
                call.finish();
            }
            call.drain();
        });
        let mut proxy = Setup::tls(&upstream.url()).start();
        let mut client = Client::tls(proxy.address());
        let response = client.send(handshake("/ws", &[])).response();
        assert!(response.body == body, "{} bytes came", response.body.len());
        assert_eq!(client.rest(), b"");
        let line = proxy.terminal().expect(Reason::Upstream5xx);
        assert_eq!(line.notes(), [""; 0]);
        upstream.all_ended();
    }
}

#[test]
fn answers_without_a_body_come_without_one() {
    for (line, condition, reason) in [
        ("204 No Content", "", Reason::Upstream2xxInsteadOf101),
        (
            "304 Not Modified",
            "If-None-Match",
            Reason::UpstreamRedirect,
        ),
        (
            "304 Not Modified",
            "If-Modified-Since",
            Reason::UpstreamRedirect,
        ),
    ] {
        let changes = [(condition, "\"tag\"")];
        let changes = if condition.is_empty() {
            &[][..]
        } else {
            &changes
        };
        let upstream = Upstream::answering(format!("HTTP/1.1 {line}\r\nX-Own: kept\r\n\r\n"));
        let mut proxy = Setup::plain(&upstream.url()).start();
        let mut client = Client::plain(proxy.address());
        let response = client.send(handshake("/ws", changes)).response();
        assert_eq!(response.line, format!("HTTP/1.1 {line}"));
        assert_eq!(response.body, b"");
        proxy.terminal().expect(reason);
        upstream.all_ended();
    }
}

#[test]
fn a_body_that_stops_without_an_end_is_cut_in_time() {
    let upstream =
        Upstream::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    let setup = Setup {
        upstream: ", handshake_timeout: 300ms".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let (response, line) = ask(&setup);
    assert_eq!(response.body, [b"first", CUT].concat());
    assert_eq!(line.notes(), ["relay_cut"]);
    was_asked(&upstream, &line);
    line.expect(Reason::Upstream2xxInsteadOf101);
}

#[test]
fn a_body_that_never_ends_is_cut_in_time_however_fast_it_comes() {
    let upstream = Upstream::start(|mut call| {
        call.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let piece = format!("1000\r\n{}\r\n", "x".repeat(0x1000)).repeat(16);
        while call.socket.write_all(piece.as_bytes()).is_ok() {}
    });
    let setup = Setup {
        upstream: ", handshake_timeout: 300ms".to_owned(),
        // Longer than the test waits: this timer must not end the body.
        limits: "write_stall: 60s".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let (response, line) = ask(&setup);
    assert!(response.body.ends_with(CUT));
    assert_eq!(line.notes(), ["relay_cut"]);
    was_asked(&upstream, &line);
    line.expect(Reason::Upstream2xxInsteadOf101);
}

#[test]
fn a_body_that_breaks_off_is_relayed_as_far_as_it_came() {
    let upstream = Upstream::start(|mut call| {
        call.write("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 10\r\n\r\nhalf")
            .finish()
            .drain();
    });
    let mut proxy = Setup::plain(&upstream.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    let all = client.rest();
    assert!(all.starts_with(b"HTTP/1.1 502 Bad Gateway\r\n"));
    assert!(all.ends_with(b"\r\n\r\nhalf"));
    let line = proxy.terminal().expect(Reason::Upstream5xx);
    assert_eq!(line.notes(), ["relay_cut"], "it was not the client");
    let words = line.0["notes"][0]["detail"].as_str().unwrap();
    assert!(words.contains("end of file"), "{words}");
    upstream.all_ended();
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Upstream::echo();
    let location = format!("Location: {}/ws\r\n", elsewhere.url());
    for line in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        relayed(line, &location, Reason::UpstreamRedirect).with_detail(&elsewhere.url());
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn a_redirect_that_repeats_the_query_tells_no_secret() {
    let location = "Location: https://u:SECRET@api.example.com/ws/?token=SECRET#SECRET\r\n";
    let line = relayed("301 Moved Permanently", location, Reason::UpstreamRedirect)
        .with_detail("with Location: https://api.example.com/ws/");
    assert!(!line.0.to_string().contains("SECRET"), "{line:?}");
}

#[test]
fn an_upgrade_required_says_what_to_upgrade_to() {
    let upstream =
        Upstream::answering("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
    let (response, _) = ask(&Setup::plain(&upstream.url()));
    assert_eq!(response.field("upgrade"), Some("websocket"));
    assert_eq!(response.field("connection"), Some("upgrade, close"));
}

#[test]
fn a_request_behind_a_refused_handshake_reaches_nothing() {
    // Node's answer without an upgrade listener: 404, and the connection stays open.
    let (gate, keeper) = gate();
    let leaked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&leaked);
    let upstream = Upstream::start(move |mut call| {
        gate.lock().unwrap().pass();
        call.write(
            "HTTP/1.1 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nnone",
        );
        seen.store(!call.drain().is_empty(), Relaxed);
    });
    let mut proxy = Setup::plain(&upstream.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    keeper.reached();
    // One while it waits, one after the answer.
    client.send("GET /internal HTTP/1.1\r\nHost: upstream\r\n\r\n");
    keeper.open();
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (404, "none"));
    assert_eq!(response.field("connection"), Some("close"));
    // The proxy may already have closed both directions; then this fails.
    let _ = client.write_all(b"GET /internal HTTP/1.1\r\nHost: upstream\r\n\r\n");
    assert_eq!(client.rest(), b"");
    let line = proxy.terminal();
    was_asked(&upstream, &line);
    assert!(
        !leaked.load(Relaxed),
        "the second request reached the upstream"
    );
    line.expect(Reason::UpstreamNotFound);
}

#[test]
fn a_client_that_vanishes_during_the_relay_is_noted() {
    let upstream = Upstream::start(|mut call| {
        call.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let piece = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        while call.socket.write_all(piece.as_bytes()).is_ok() {}
    });
    let mut proxy = Setup::plain(&upstream.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[])).receive(4096);
    client.reset();
    let line = proxy.terminal();
    assert_eq!(line.notes(), ["response_not_delivered"]);
    was_asked(&upstream, &line);
    line.expect(Reason::Upstream2xxInsteadOf101);
}

#[test]
fn a_client_that_does_not_read_its_answer_is_given_up() {
    let upstream = Upstream::start(|mut call| {
        call.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let piece = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        while call.socket.write_all(piece.as_bytes()).is_ok() {}
    });
    let setup = Setup {
        upstream: ", handshake_timeout: 200ms".to_owned(),
        limits: "write_stall: 200ms".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let mut proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    let line = proxy.terminal();
    assert_eq!(line.notes(), ["response_not_delivered"]);
    upstream.all_ended();
    line.expect(Reason::Upstream2xxInsteadOf101);
}

/// Single bytes do not extend the deadline either.
#[test]
fn a_client_that_reads_its_answer_byte_by_byte_is_given_up() {
    let upstream = Upstream::start(|mut call| {
        call.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let piece = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        while call.socket.write_all(piece.as_bytes()).is_ok() {}
    });
    let setup = Setup {
        upstream: ", handshake_timeout: 300ms".to_owned(),
        limits: "write_stall: 300ms".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let mut proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    eventually("the proxy to have enough", || {
        client.receive(1);
        let lines = proxy.lines();
        lines.iter().any(is_terminal).then_some(())
    });
    let line = proxy.terminal();
    assert_eq!(line.notes(), ["response_not_delivered"]);
    upstream.all_ended();
    line.expect(Reason::Upstream2xxInsteadOf101);
}
