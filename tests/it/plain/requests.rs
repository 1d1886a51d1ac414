//! Many requests on one connection, and their records.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wsgate::reason::Reason;

use super::{CHUNKED, get, outcomes, post, request, setup, start};
use crate::harness::inside::Inside;
use crate::harness::proxy::is_terminal;
use crate::harness::{Client, Origin, PATIENCE, Setup, eventually, handshake, switching};

/// Plain requests, and then a tunnel on the same connection: one record each, with different ids.
#[test]
fn a_connection_becomes_a_tunnel_after_plain_requests() {
    let origin = Origin::start(|ask| {
        if ask.field("upgrade").is_some() {
            let head = switching(&ask.head, "");
            ask.write(head);
            ask.drain();
        } else {
            let body = ask.body();
            ask.ok(body);
        }
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a?b=c"));
    let first = client.response();
    client.send(post("/api/b", "hello"));
    let second = client.response();
    assert_eq!(second.text(), "hello");
    client.send(handshake("/ws", &[]));
    let third = client.response();
    assert_eq!(third.status, 101);
    client.finish();
    client.rest();

    let lines = [proxy.terminal(), proxy.terminal(), proxy.terminal()];
    let conn = lines[0].text("conn").to_owned();
    let ids: Vec<_> = lines.iter().map(|line| line.text("request_id")).collect();
    assert_eq!(
        ids,
        [conn.clone(), format!("{conn}-2"), format!("{conn}-3")]
    );
    for (line, response) in lines.iter().zip([&first, &second, &third]) {
        assert_eq!(line.text("conn"), conn);
        assert_eq!(
            response.field("x-request-id"),
            Some(line.text("request_id"))
        );
        assert_eq!(line.number("status"), Some(response.status.into()));
    }
    let [one, two, three] = &lines;
    for line in [one, two] {
        assert_eq!(line.text("event"), "request");
        assert_eq!(line.text("level"), "info");
        assert_eq!(line.text("route"), "/api/*");
        assert_eq!(line.text("upstream"), "app");
        assert_eq!(line.text("stage"), "", "{line:?}");
        assert_eq!(line.text("reason"), "");
        assert_eq!(line.text("host"), "api.example.com");
        assert_ne!(line.text("client"), "");
        assert_ne!(line.text("peer"), "");
        for field in ["head_ms", "policy_ms", "response_ms", "lasted_ms"] {
            assert!(line.number(field).is_some(), "{field}: {line:?}");
        }
        assert!(line.number("response_ms") <= line.number("lasted_ms"));
    }
    assert_eq!(
        (one.text("method"), one.text("path")),
        ("GET", "/api/a?b=*")
    );
    assert_eq!((two.text("method"), two.text("path")), ("POST", "/api/b"));
    assert_eq!(one.number("bytes_client_to_upstream"), Some(0));
    assert_eq!(two.number("bytes_client_to_upstream"), Some(5));
    assert_eq!(two.number("bytes_upstream_to_client"), Some(5));
    assert_eq!(outcomes(one), ["connected"]);
    assert_eq!(outcomes(two), ["reused"]);
    assert_eq!(
        (three.text("event"), three.text("reason")),
        ("closed", "client_eof_no_close")
    );
    // A handshake never uses a kept connection.
    assert_eq!(outcomes(three), ["connected"]);
    assert_eq!(origin.connections(), 2);
    let lines = proxy.stop();
    assert_eq!(lines.iter().filter(|line| is_terminal(line)).count(), 3);
}

#[test]
fn an_error_of_the_upstreams_passes_with_a_warning() {
    let origin = Origin::start(|ask| {
        let status = ask.head.split(['/', ' ']).nth(3).unwrap().to_owned();
        ask.write(format!(
            "HTTP/1.1 {status} Whatever\r\nContent-Length: 4\r\nX-Own: 1\r\n\r\nbody"
        ));
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    for (status, level) in [
        (500, "warn"),
        (503, "warn"),
        (599, "warn"),
        (404, "info"),
        (302, "info"),
    ] {
        client.send(get(&format!("/api/{status}")));
        let response = client.response();
        assert_eq!(
            (response.status, response.text().as_str()),
            (status, "body")
        );
        assert_eq!(response.field("x-own"), Some("1"));
        let line = proxy.terminal();
        assert_eq!(line.text("event"), "request");
        assert_eq!(line.number("status"), Some(status.into()));
        assert_eq!(line.text("level"), level);
    }
}

#[test]
fn a_client_that_says_close_gets_one_answer() {
    let origin = Origin::echo();
    let mut proxy = start(&origin, "");
    for connection in ["close", "Keep-Alive, CLOSE"] {
        let mut client = Client::plain(proxy.address());
        let closing = request("GET", "/api/a", &format!("Connection: {connection}\r\n"));
        client.send(closing + &get("/api/b"));
        assert_eq!(client.response().field("connection"), Some("close"));
        assert_eq!(client.rest(), b"");
        proxy.terminal();
    }
    let heads = origin.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    for head in heads {
        assert!(!head.to_ascii_lowercase().contains("connection"), "{head}");
    }
    let lines = proxy.stop();
    assert_eq!(lines.iter().filter(|line| is_terminal(line)).count(), 2);
}

/// All in one write, with and without bodies, and more than is held while an answer is under way.
#[test]
fn pipelined_requests_are_answered_in_order() {
    const COUNT: usize = 300;
    let origin = Origin::start(|ask| {
        let path = ask.head.split(' ').nth(1).unwrap().to_owned();
        let body = ask.body();
        ask.ok([path.as_bytes(), b" ", &body].concat());
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    let mut all = String::new();
    for number in 0..COUNT {
        let path = format!("/api/{number}");
        all += &match number % 3 {
            0 => request("GET", &path, &format!("X-Long: {}\r\n", "x".repeat(300))),
            1 => post(
                &path,
                "GET /api/never HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
            ),
            _ => request("PUT", &path, CHUNKED) + "3\r\nabc\r\n0\r\n\r\n",
        };
    }
    assert!(all.len() > 40_000);
    client.send(all);
    for number in 0..COUNT {
        let answer = client.response().text();
        assert!(
            answer.starts_with(&format!("/api/{number} ")),
            "{number}: {answer}"
        );
    }
    for number in 0..COUNT {
        let line = proxy.terminal();
        assert_eq!(line.text("path"), format!("/api/{number}"));
        assert_eq!(line.text("event"), "request");
    }
    assert_eq!(origin.heads().len(), COUNT);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_idle_connection_ends_without_a_record() {
    let origin = Origin::echo();
    let limits = "keep_alive: 300ms".to_owned();
    let mut proxy = Setup {
        limits,
        ..setup(&origin.url(), "")
    }
    .start();
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    client.response();
    let begun = Instant::now();
    assert_eq!(client.rest(), b"");
    assert!(
        begun.elapsed() >= Duration::from_millis(250),
        "{:?}",
        begun.elapsed()
    );
    // A connection that its client ends or breaks is not reported either.
    for is_reset in [false, true] {
        let mut client = Client::plain(proxy.address());
        client.send(get("/api/a"));
        client.response();
        if is_reset {
            client.reset();
        } else {
            client.finish();
            assert_eq!(client.rest(), b"");
        }
    }
    for _ in 0..3 {
        assert_eq!(proxy.terminal().text("event"), "request");
    }
    let lines = proxy.stop();
    assert_eq!(lines.iter().filter(|line| is_terminal(line)).count(), 3);
}

/// Whatever happens to a further request, it has its own record and id.
#[test]
fn a_further_request_that_does_not_come_whole() {
    let origin = Origin::echo();
    let limits = "request_head: 300ms".to_owned();
    let mut proxy = Setup {
        limits,
        ..setup(&origin.url(), "")
    }
    .start();
    for (reason, bytes) in [
        (Reason::HttpHeadIncomplete, "GET /api/b HTTP/1.1\r\nHo"),
        (Reason::HttpHeaderTimeout, "GET /api/b HTTP/1.1\r\nHo"),
        (Reason::HttpHeaderTimeout, "\r\n"),
        (Reason::HttpMalformed, "GET /api/b\r\n\r\n"),
        (
            Reason::PathNotAllowed,
            "GET /other HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ),
    ] {
        let mut client = Client::plain(proxy.address());
        client.send(get("/api/a"));
        client.response();
        let first = proxy.terminal();
        client.send(bytes);
        if reason == Reason::HttpHeadIncomplete {
            client.finish();
        }
        client.rest();
        let second = proxy.terminal().expect(reason);
        let id = format!("{}-2", first.text("conn"));
        assert_eq!(second.text("conn"), first.text("conn"));
        if second.number("status").is_some() {
            assert_eq!(second.text("request_id"), id);
        }
        // Nothing of the first request is in the second record.
        for field in [
            "route",
            "upstream",
            "attempts",
            "response_ms",
            "bytes_upstream_to_client",
        ] {
            assert!(second.0.get(field).is_none(), "{field}: {second:?}");
        }
    }
}

/// A task that is cancelled while its connection waits for a further request has nothing to report.
#[test]
fn a_cancelled_idle_connection_has_no_further_record() {
    let origin = Origin::echo();
    let mut server = Inside::start(&setup(&origin.url(), ""), Arc::new(|_| {}));
    let mut client = Client::plain(server.address());
    client.send(get("/api/a"));
    client.response();
    server.records.terminals(1);
    server.settle();
    server.cancel();
    client.rest();
    let lines = server.ended(1);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(lines[0].text("event"), "request");
}

/// A task that is cancelled while a further request waits for its answer reports only that one.
#[test]
fn a_cancelled_further_request_has_its_record() {
    let origin = Origin::start(|ask| match ask.place.1 {
        0 => ask.ok("first"),
        _ => drop(ask.drain()),
    });
    let mut server = Inside::start(&setup(&origin.url(), ""), Arc::new(|_| {}));
    let mut client = Client::plain(server.address());
    client.send(get("/api/a"));
    client.response();
    client.send(get("/api/b"));
    origin.asked(2);
    server.cancel();
    client.rest();
    let lines = server.ended(2);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let line = lines[1].clone().expect(Reason::InternalAborted);
    assert_eq!(line.text("path"), "/api/b");
}

/// The client's own id is used only for its request.
#[test]
fn a_clients_id_is_kept() {
    let (sender, seen) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::start(move |ask| {
        let id = ask.field("x-request-id").map(str::to_owned);
        sender.lock().unwrap().send(id).unwrap();
        ask.ok("");
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(request("GET", "/api/a", "X-Request-Id: mine\r\n"));
    assert_eq!(client.response().field("x-request-id"), Some("mine"));
    client.send(get("/api/b"));
    let own = client.response().field("x-request-id").unwrap().to_owned();
    assert_eq!(proxy.terminal().text("request_id"), "mine");
    let line = proxy.terminal();
    assert_eq!(own, format!("{}-2", line.text("conn")));
    for expected in ["mine", &own] {
        assert_eq!(
            seen.recv_timeout(PATIENCE).unwrap().as_deref(),
            Some(expected)
        );
    }
}

/// TLS makes no difference, and the facts of the handshake are in each record.
#[test]
fn requests_over_tls_are_served() {
    let origin = Origin::echo();
    let plain = setup(&origin.url(), "");
    let mut proxy = Setup {
        tls: Setup::tls("").tls,
        ..plain
    }
    .start();
    let mut client = Client::tls(proxy.address());
    for number in 0..3 {
        client.send(post("/api/a", "hello"));
        assert_eq!(client.response().text(), "hello");
        let line = proxy.terminal();
        assert_eq!(line.text("sni"), "api.example.com");
        assert_eq!(line.text("tls_version"), "1.3");
        assert_eq!(line.number("tls_ms").is_some(), number == 0, "{line:?}");
    }
    client.finish();
    assert_eq!(client.rest(), b"");
    eventually("forwarded fields", || {
        let heads = origin.heads();
        let is_told = |head: &String| head.to_lowercase().contains("x-forwarded-proto: https");
        heads.iter().all(is_told).then_some(())
    });
    let lines = proxy.stop();
    assert_eq!(lines.iter().filter(|line| is_terminal(line)).count(), 3);
}
