//! Requests and answers that could be read in two ways.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use wsgate::reason::Reason;

use super::{CHUNKED, get, post, refused, request, start};
use crate::harness::upstream::field;
use crate::harness::{Client, Origin, PATIENCE, handshake};

/// They are refused before anything reaches the upstream, and nothing after them is read.
#[test]
fn framing_that_has_two_readings() {
    let inner = get("/api/inner");
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding:\r\n",
        "transfer-encoding: identity\r\n",
    ] {
        let bytes = request("POST", "/api/a", fields) + "0\r\n\r\n" + &inner;
        refused("", bytes, Reason::HttpFramingConflict);
    }
}

#[test]
fn heads_that_are_malformed() {
    for fields in [
        "Transfer-Encoding : chunked\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n",
        "X: a\r\n\tb\r\n",
        "Transfer-Encoding: chunked\nX: y\r\n",
        "X: a\rTransfer-Encoding: chunked\r\n",
        "X: a\0b\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        ": x\r\n",
        "X\r\n",
    ] {
        refused(
            "",
            request("POST", "/api/a", fields) + "0\r\n\r\n",
            Reason::HttpMalformed,
        );
    }
}

/// A request for HTTP/2 may be ignored (RFC 9110 section 7.8) and is not passed on: Java's HttpClient sends one by
/// default.
#[test]
fn a_wish_for_h2c_ends_here() {
    let origin = Origin::echo();
    let mut proxy = start(&origin, "");
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    ] {
        let mut client = Client::plain(proxy.address());
        let response = client.send(request("GET", "/api/a", fields)).response();
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.field("upgrade"), None, "{response:?}");
        let head = origin.heads().pop().unwrap().to_ascii_lowercase();
        assert!(head.starts_with("get /api/a "), "{head}");
        for gone in ["upgrade", "h2c", "http2-settings"] {
            assert!(!head.contains(gone), "{head}");
        }
        proxy.terminal();
    }
}

#[test]
fn other_ways_past_the_rules() {
    let protected = Reason::HttpConnectionProtected;
    for (method, path, fields, reason) in [
        (
            "GET",
            "/api/a",
            "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n",
            Reason::H2cRefused,
        ),
        (
            "GET",
            "/ws",
            "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
            Reason::H2cRefused,
        ),
        (
            "POST",
            "/api/a",
            "Upgrade: websocket\r\nConnection: Upgrade\r\n",
            Reason::WsMethodNotGet,
        ),
        (
            "GET",
            "/api/a",
            "Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n",
            Reason::WsUpgradeNotWebsocket,
        ),
        (
            "GET",
            "/api/a",
            "Connection: close, X-Forwarded-For\r\n",
            protected,
        ),
        ("GET", "/api/a", "Connection: authorization\r\n", protected),
        ("GET", "/api/a", "Connection: Cookie\r\n", protected),
        ("GET", "/api/a", "Connection: Content-Length\r\n", protected),
        ("GET", "/api/a", "Connection: host\r\n", protected),
        (
            "GET",
            "/api/a",
            "Host: api.example.com\r\n",
            Reason::HttpHostInvalid,
        ),
        ("GET", "/api//a", "", Reason::PathAmbiguous),
        ("GET", "/api/../ws", "", Reason::PathAmbiguous),
        ("GET", "/api/%2e%2e/ws", "", Reason::PathAmbiguous),
        ("GET", "/api/..%2fws", "", Reason::PathAmbiguous),
        ("GET", "/api/..%5cws", "", Reason::PathAmbiguous),
        ("GET", "/api/%252e%252e/ws", "", Reason::PathAmbiguous),
        ("GET", "/api/..;/ws", "", Reason::PathAmbiguous),
        ("GET", "/api/a%00", "", Reason::PathAmbiguous),
        ("GET", "/api/%61", "", Reason::PathAmbiguous),
        ("GET", "/api/%zz", "", Reason::PathAmbiguous),
        ("GET", "/apiadmin", "", Reason::PathNotAllowed),
        ("GET", "/API/a", "", Reason::PathNearMiss),
        ("GET", "/api/a#b", "", Reason::HttpMalformed),
        ("GET", "*", "", Reason::HttpMalformed),
        ("CONNECT", "api.example.com:443", "", Reason::HttpMalformed),
        ("GET", "/ws", "", Reason::PlainHttpRequest),
        (
            "GET",
            "/api/a",
            "Expect: 200-ok\r\n",
            Reason::HttpExpectRefused,
        ),
    ] {
        refused("", request(method, path, fields), reason);
    }
    // The proxy answers 426 to a wrong version, and nothing to what follows.
    let versions = handshake("/ws", &[("Sec-WebSocket-Version", "777")]) + &get("/api/internal");
    refused("", versions, Reason::WsVersionUnsupported);
}

/// The upstream gets one Host, one framing, and no field that was meant for the proxy.
#[test]
fn the_upstream_gets_one_reading() {
    let origin = Origin::echo();
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    let fields = "Transfer-Encoding: CHUNKED\r\nConnection: x-secret, keep-alive\r\nX-Secret: 1\r\n\
                  Keep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\n\
                  TE: gzip;q=1\r\nX-Own: kept\r\nExpect: 100-continue\r\n";
    client.send(
        request("POST", "/api/a?b=%2F", fields) + "5;ext=\"a\"\r\nhello\r\n0\r\nX-T: u\r\n\r\n",
    );
    assert_eq!(client.response_head().status, 100);
    assert_eq!(client.response().text(), "hello");
    let head = origin.head();
    assert!(head.starts_with("POST /api/a?b=%2F HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(field(&head, "x-own"), Some("kept"));
    let lower = head.to_ascii_lowercase();
    assert_eq!(lower.matches("\r\nhost:").count(), 1, "{head}");
    for gone in [
        "\r\nconnection:",
        "x-secret",
        "keep-alive",
        "proxy-",
        "\r\nte:",
        "content-length",
        "expect",
        "trailer",
        "upgrade",
    ] {
        assert!(!lower.contains(gone), "{gone}: {head}");
    }
    proxy.terminal();
}

#[test]
fn in_absolute_form_the_targets_host_counts() {
    let origin = Origin::echo();
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send("GET http://one.example/api/a?b HTTP/1.1\r\nHost: two.example\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let head = origin.head();
    assert!(head.starts_with("GET /api/a?b HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "host"), Some("one.example"));
    assert!(!head.contains("two.example"), "{head}");
    assert_eq!(proxy.terminal().text("host"), "one.example");
}

/// A body that looks like a request is not one, and what follows the body is one.
#[test]
fn what_follows_a_body_is_the_next_request() {
    let origin = Origin::echo();
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    let inner = get("/api/inner");
    client.send(post("/api/a", &inner) + &get("/api/b"));
    assert_eq!(client.response().text(), inner);
    assert_eq!(client.response().text(), "");
    let chunked = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    client.send(request("POST", "/api/c", CHUNKED) + &chunked + &get("/api/d"));
    assert_eq!(client.response().text(), inner);
    assert_eq!(client.response().text(), "");
    let paths: Vec<_> = (0..4)
        .map(|_| proxy.terminal().text("path").to_owned())
        .collect();
    assert_eq!(paths, ["/api/a", "/api/b", "/api/c", "/api/d"]);
    assert_eq!(origin.heads().len(), 4);
    // Bytes that are not a request end the connection with their own record.
    client.send(post("/api/a", "abc") + "junk\r\n\r\n");
    assert_eq!(client.response().text(), "abc");
    assert_eq!(client.response().status, 400);
    assert_eq!(client.rest(), b"");
    assert_eq!(proxy.terminal().text("event"), "request");
    proxy.terminal().expect(Reason::HttpMalformed);
    assert_eq!(origin.heads().len(), 5);
}

/// A GET may have a body, which is passed on.
#[test]
fn a_get_with_a_body() {
    let origin = Origin::echo();
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(request("GET", "/api/a", CHUNKED) + "5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "hello");
    client.send(request("GET", "/api/a", "Content-Length: 5\r\n") + "world");
    assert_eq!(client.response().text(), "world");
    for _ in 0..2 {
        assert_eq!(proxy.terminal().number("bytes_client_to_upstream"), Some(5));
    }
}

/// Answers that could be read in two ways are not passed on, and their connection is not kept.
#[test]
fn answers_that_have_two_readings() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello",
        "HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "<html>\r\n\r\n",
    ] {
        let origin = Origin::answering(head);
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        client.send(get("/api/a"));
        let response = client.response();
        assert_eq!(response.status, 502, "{head}");
        assert_eq!(client.rest(), b"");
        proxy.terminal().expect(Reason::UpstreamMalformedResponse);
        origin.all_ended();
        assert_eq!(origin.heads().len(), 1);
    }
}

#[test]
fn hop_by_hop_fields_of_an_answer_end_here() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nConnection: X-Secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: timeout=60\r\n\
         Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Own: kept\r\nContent-Length: 2\r\n\r\nok",
    );
    let proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    let response = client.response();
    assert_eq!(
        (response.text().as_str(), response.field("x-own")),
        ("ok", Some("kept"))
    );
    for gone in [
        "connection",
        "x-secret",
        "keep-alive",
        "proxy-authenticate",
        "upgrade",
    ] {
        assert_eq!(response.field(gone), None, "{response:?}");
    }
}

/// An upstream that sends more than one answer gets no further request on that connection: its second answer could be
/// taken for another client's.
#[test]
fn an_upstream_that_answers_twice() {
    for is_split in [false, true] {
        let origin = Origin::start(move |ask| {
            let own = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown";
            let second = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond";
            if is_split {
                ask.write(own.to_owned() + "HTTP/1.1 2");
            } else {
                ask.write(own.to_owned() + second);
            }
        });
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        for _ in 0..5 {
            client.send(get("/api/a"));
            assert_eq!(client.response().text(), "own");
            assert_eq!(proxy.terminal().text("event"), "request");
        }
        assert_eq!(origin.connections(), 5);
    }
}

/// The same for bytes that arrive while the connection is idle.
#[test]
fn an_upstream_that_says_something_unasked() {
    let (sockets, waiting) = channel();
    let sockets = Mutex::new(sockets);
    let origin = Origin::start(move |ask| {
        let socket = ask.socket.try_clone().unwrap();
        sockets.lock().unwrap().send(socket).unwrap();
        ask.ok("own");
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    for _ in 0..5 {
        client.send(get("/api/a"));
        assert_eq!(client.response().text(), "own");
        assert_eq!(proxy.terminal().text("event"), "request");
        let mut socket = waiting.recv_timeout(PATIENCE).unwrap();
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            .unwrap();
    }
    assert_eq!(origin.connections(), 5);
}
