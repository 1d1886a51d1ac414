//! Plain requests: who may pass, what reaches the upstream, and one record each.

/// The proxy's own answers: `respond`, `redirect_to_https`, probes.
mod answered;
/// Bodies in both directions.
mod bodies;
/// Requests and answers that could be read in two ways.
mod framing;
/// Health checks of listeners.
mod health_checks;
/// Connections that are kept for the upstream's next request, and requests that are sent twice.
mod kept;
/// Many requests on one connection, and their records.
mod requests;
/// What a shutdown does to plain requests.
mod stopped;
/// What a chunked body contains besides its data.
mod trailers;

use std::sync::mpsc::channel;
use std::time::Duration;

use wsgate::reason::Reason;

use crate::harness::proxy::HOST;
use crate::harness::{Client, Line, Origin, PATIENCE, Proxy, Setup, eventually, handshake};

/// The usual configuration, and a route `/api/*` for plain requests with these keys, flow style.
pub fn setup(url: &str, http: &str) -> Setup {
    let routes = format!("  - path: /api/*\n    http: {{ {http} }}\n    upstream: app\n");
    Setup {
        routes,
        ..Setup::plain(url)
    }
}

pub fn start(origin: &Origin, http: &str) -> Proxy {
    setup(&origin.url(), http).start()
}

/// A request without a body, with these additional field lines.
pub fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")
}

pub fn get(path: &str) -> String {
    request("GET", path, "")
}

pub fn post(path: &str, body: &str) -> String {
    let length = format!("Content-Length: {}\r\n", body.len());
    request("POST", path, &length) + body
}

pub const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// The outcomes of a record's attempts.
pub fn outcomes(line: &Line) -> Vec<&str> {
    let attempts = line.0["attempts"].as_array();
    let attempts = attempts.into_iter().flatten();
    attempts
        .map(|attempt| attempt["outcome"].as_str().unwrap())
        .collect()
}

/// Sends a request that is refused; nothing of it may reach the upstream, and its connection ends.
#[track_caller]
fn refused(http: &str, bytes: impl AsRef<[u8]>, reason: Reason) -> Line {
    let origin = Origin::echo();
    let mut proxy = start(&origin, http);
    let mut client = Client::plain(proxy.address());
    client.send(bytes);
    let response = client.response();
    let connection = response.field("connection").unwrap_or_default();
    assert!(connection.ends_with("close"), "{response:?}");
    assert_eq!(client.rest(), b"");
    let line = proxy.terminal().expect(reason);
    assert_eq!(line.number("status"), Some(response.status.into()));
    assert_eq!(origin.connections(), 0);
    assert_eq!(line.text("event"), "refused");
    line
}

pub fn http_body_too_large() -> Line {
    let announced = request(
        "POST",
        "/api/a",
        "Content-Length: 11\r\nExpect: 100-continue\r\n",
    );
    refused("max_body: 10", announced, Reason::HttpBodyTooLarge)
        .with_detail("Content-Length is 11, over 10 bytes")
}

/// The end of the body never comes.
pub fn http_body_timeout() -> Line {
    let origin = Origin::echo();
    let mut proxy = start(&origin, "request_timeout: 300ms");
    let mut client = Client::plain(proxy.address());
    client.send(request("POST", "/api/a", "Content-Length: 5\r\n") + "abc");
    origin.asked(1);
    // A single byte before the deadline makes no difference.
    client.send("d");
    assert_eq!(client.response().status, 408);
    assert_eq!(client.rest(), b"");
    proxy.terminal().with_detail("4 bytes came in 300ms")
}

pub fn http_body_incomplete() -> Line {
    let origin = Origin::echo();
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(request("POST", "/api/a", "Content-Length: 5\r\n") + "abc");
    origin.asked(1);
    client.finish();
    client.rest();
    let line = proxy.terminal();
    assert_eq!(line.number("bytes_client_to_upstream"), Some(3), "{line:?}");
    origin.all_ended();
    line
}

pub fn websocket_not_allowed() -> Line {
    refused("", handshake("/api/a", &[]), Reason::WebsocketNotAllowed)
}

pub fn http_method_not_allowed() -> Line {
    refused(
        "methods: [GET]",
        post("/api/a", "abc"),
        Reason::HttpMethodNotAllowed,
    )
    .with_detail("POST")
}

pub fn upstream_response_timeout() -> Line {
    let origin = Origin::start(|ask| drop(ask.drain()));
    let mut proxy = start(&origin, "response_timeout: 200ms");
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    assert_eq!(client.response().status, 504);
    origin.all_ended();
    proxy
        .terminal()
        .with_detail("no byte of an answer in 200ms")
}

pub fn upstream_101_unsolicited() -> Line {
    let origin = Origin::start(|ask| {
        ask.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        );
        ask.drain();
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    assert_eq!(client.response().status, 502);
    assert_eq!(client.rest(), b"");
    origin.all_ended();
    proxy.terminal()
}

pub fn upstream_response_cut() -> Line {
    let origin = Origin::start(|ask| {
        ask.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            .close();
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    assert_eq!(client.response_head().field("content-length"), Some("10"));
    assert_eq!(client.rest(), b"abc");
    let line = proxy.terminal();
    assert_eq!(line.text("event"), "request");
    assert_eq!(line.number("status"), Some(200));
    assert_eq!(line.number("bytes_upstream_to_client"), Some(3));
    line
}

pub fn upstream_response_stalled() -> Line {
    let origin = Origin::start(|ask| {
        ask.write(format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n3\r\nabc\r\n"));
        ask.drain();
    });
    let mut proxy = start(&origin, "idle_timeout: 300ms");
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    let response = client.response();
    assert_eq!(response.text(), "abc<cut>");
    origin.all_ended();
    proxy
        .terminal()
        .with_detail("nothing came for 300ms, after 3 bytes")
}

/// The client leaves during an endless answer.
pub fn client_left_response() -> Line {
    let origin = Origin::start(|ask| {
        ask.write(format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n3\r\nabc\r\n"));
        ask.drain();
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    client.response_head();
    assert_eq!(client.receive(8), b"3\r\nabc\r\n");
    drop(client);
    origin.all_ended();
    let line = proxy.terminal();
    assert_eq!(line.number("bytes_upstream_to_client"), Some(3));
    line
}

pub fn client_stalled_response() -> Line {
    let origin = Origin::start(|ask| {
        ask.write(format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n"));
        let chunk = [b"10000\r\n", &vec![b'x'; 0x10000][..], b"\r\n"].concat();
        while std::io::Write::write_all(&mut ask.socket, &chunk).is_ok() {}
        ask.drain();
    });
    let setup = setup(&origin.url(), "");
    let limits = "write_stall: 300ms".to_owned();
    let mut proxy = Setup { limits, ..setup }.start();
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    client.response_head();
    let line = proxy.terminal();
    origin.all_ended();
    line
}

pub fn redirect_refused() -> Line {
    let (mut proxy, _origin) = answered::redirecting("");
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    assert_eq!(client.response().status, 426);
    proxy.terminal()
}

/// Further tests of these reasons.
mod more_of_them {
    use super::*;

    /// What was sent is sent; the upstream sees that the rest is missing.
    #[test]
    fn a_body_of_chunks_that_grows_too_large() {
        let (sender, came) = channel();
        let origin = Origin::start(move |ask| {
            sender.send(ask.chunks()).unwrap();
            ask.close();
        });
        let mut proxy = start(&origin, "max_body: 10");
        let mut client = Client::plain(proxy.address());
        client.send(request("POST", "/api/a", CHUNKED) + "6\r\nabcdef\r\n");
        origin.asked(1);
        client.send("5\r\nghijk\r\n");
        let response = client.response();
        assert_eq!(response.status, 413);
        let line = proxy.terminal().expect(Reason::HttpBodyTooLarge);
        line.with_detail("over 10 bytes");
        let (body, trailers) = came.recv_timeout(PATIENCE).unwrap();
        assert_eq!((&body[..], &trailers[..]), (&b"abcdef"[..], "cut"));
    }

    #[test]
    fn a_method_that_the_route_does_not_list_is_refused() {
        let allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        for (http, method, expected) in [
            ("", "TRACE", allow),
            ("", "get", allow),
            ("", "PROPFIND", allow),
            ("methods: [GET, PROPFIND]", "OPTIONS", "GET, HEAD, PROPFIND"),
            ("methods: [POST]", "GET", "POST"),
            ("methods: [POST]", "HEAD", "POST"),
        ] {
            let origin = Origin::echo();
            let mut proxy = start(&origin, http);
            let mut client = Client::plain(proxy.address());
            client.send(request(method, "/api/a", ""));
            let response = client.response_head();
            assert_eq!(response.status, 405, "{method}");
            assert_eq!(response.field("allow"), Some(expected), "{method}");
            proxy
                .terminal()
                .expect(Reason::HttpMethodNotAllowed)
                // A word that is not well known appears only in its own field.
                .with_detail(if method == "get" {
                    "the method"
                } else {
                    method
                })
                .with_detail("is not one of");
            assert_eq!(origin.connections(), 0);
        }
    }

    #[test]
    fn a_listed_method_passes_whatever_it_is() {
        let origin = Origin::echo();
        let mut proxy = start(&origin, "methods: [GET, PROPFIND]");
        let mut client = Client::plain(proxy.address());
        for method in ["GET", "PROPFIND"] {
            client.send(request(method, "/api/a", ""));
            assert_eq!(client.response().status, 200);
            assert_eq!(proxy.terminal().text("method"), method);
        }
    }

    /// In the middle of a chunk's framing.
    #[test]
    fn chunks_that_are_none() {
        let origin = Origin::echo();
        let mut proxy = start(&origin, "");
        for (begun, rest) in [
            ("", "zz\r\n"),
            ("3\r\nabc\r\n", "\n0\r\n\r\n"),
            ("3\r\nab", "cd\r\n"),
            ("3\r\nabc\r\n", "0x0\r\n\r\n"),
            ("3\r\nabc\r\n", "3;a\nabc\r\n"),
        ] {
            let asked = origin.heads().len();
            let mut client = Client::plain(proxy.address());
            client.send(request("POST", "/api/a", CHUNKED) + begun);
            origin.asked(asked + 1);
            client.send(rest);
            let response = client.response();
            assert_eq!(response.status, 400, "{rest:?}");
            assert_eq!(client.rest(), b"");
            let line = proxy.terminal().expect(Reason::HttpFramingConflict);
            assert_eq!(line.text("path"), "/api/a", "{line:?}");
        }
        origin.all_ended();
    }

    #[test]
    fn a_client_gives_up_before_its_answer() {
        let origin = Origin::start(|ask| drop(ask.drain()));
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        client.send(get("/api/a"));
        origin.asked(1);
        drop(client);
        let line = proxy.terminal().expect(Reason::ClientGaveUp);
        assert!(
            line.text("hint")
                .contains("`routes[].http.response_timeout`"),
            "{line:?}"
        );
        origin.all_ended();
    }

    /// The deadline starts when the request is complete, even for a small body.
    #[test]
    fn an_upstream_that_has_the_body_and_is_silent() {
        let origin = Origin::start(|ask| {
            ask.body();
            ask.drain();
        });
        let mut proxy = start(&origin, "response_timeout: 1s");
        let mut client = Client::plain(proxy.address());
        let begun = std::time::Instant::now();
        client.send(post("/api/a", "hello"));
        assert_eq!(client.response().status, 504);
        let waited = begun.elapsed();
        assert!(
            waited >= Duration::from_secs(1) && waited < Duration::from_millis(1900),
            "{waited:?}"
        );
        proxy.terminal().expect(Reason::UpstreamResponseTimeout);
    }

    /// While the client is slow with the body, the upstream is not to blame.
    #[test]
    fn a_slow_client_is_no_silent_upstream() {
        let origin = Origin::echo();
        let mut proxy = start(&origin, "response_timeout: 200ms");
        let mut client = Client::plain(proxy.address());
        client.send(request("POST", "/api/a", "Content-Length: 2\r\n") + "a");
        origin.asked(1);
        let begun = std::time::Instant::now();
        eventually("some time", || {
            (begun.elapsed() > Duration::from_millis(500)).then_some(())
        });
        client.send("b");
        assert_eq!(client.response().text(), "ab");
        assert_eq!(proxy.terminal().text("event"), "request");
    }

    /// The same for the answer: if the client pauses, the upstream is not silent.
    #[test]
    fn a_slow_reader_is_no_silent_upstream() {
        const SIZE: usize = 32 * 1024 * 1024;
        let origin = Origin::start(|ask| ask.ok(vec![b'x'; SIZE]));
        let mut proxy = start(&origin, "idle_timeout: 300ms");
        let mut client = Client::plain(proxy.address());
        client.send(get("/api/a"));
        assert_eq!(client.response_head().status, 200);
        let begun = std::time::Instant::now();
        eventually("some time", || {
            (begun.elapsed() > Duration::from_millis(900)).then_some(())
        });
        assert_eq!(client.receive(SIZE).len(), SIZE);
        let line = proxy.terminal();
        assert_eq!(line.text("reason"), "", "{line:?}");
        assert_eq!(line.number("bytes_upstream_to_client"), Some(SIZE as u64));
    }

    /// The answer has already begun when the body turns out to be too large: the client caused it.
    #[test]
    fn a_body_that_fails_after_the_answer_has_begun() {
        let origin = Origin::start(|ask| {
            ask.write(format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n3\r\nabc\r\n"));
            ask.drain();
        });
        let mut proxy = start(&origin, "max_body: 10");
        let mut client = Client::plain(proxy.address());
        client.send(request("POST", "/api/a", CHUNKED) + "6\r\nabcdef\r\n");
        client.response_head();
        assert_eq!(client.receive(8), b"3\r\nabc\r\n");
        client.send("6\r\nabcdef\r\n");
        client.rest();
        let line = proxy.terminal();
        assert_eq!(line.text("reason"), "http_body_too_large", "{line:?}");
        assert_eq!(line.number("status"), Some(200));
    }
}
