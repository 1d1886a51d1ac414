use std::sync::{Arc, Barrier};

use h2::Reason as Code;
use wsgate::reason::Reason;

use super::{open, setup};
use crate::harness::Origin;
use crate::harness::h2::frame::{END_HEADERS, END_STREAM};

#[test]
fn a_plain_request_is_handed_on_as_http1() {
    let upstream = Origin::start(|ask| {
        ask.write(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nX-Own: 1\r\n\r\nok",
        );
    });
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    // Several cookies are one in HTTP/1.1.
    raw.get(
        1,
        "/api/x?y=z",
        &[("cookie", "a=1"), ("x-own", "2"), ("te", "trailers")],
    );
    let response = raw.response(1);
    assert_eq!((response.status, &response.body[..]), (200, &b"ok"[..]));
    assert_eq!(response.field("x-own"), Some("1"));
    for field in ["connection", "keep-alive", "transfer-encoding"] {
        assert_eq!(response.field(field), None);
    }
    let head = upstream.head();
    assert!(head.starts_with("GET /api/x?y=z HTTP/1.1\r\n"), "{head}");
    let lower = head.to_lowercase();
    assert!(lower.contains("\r\nhost: api.example.com\r\n"), "{head}");
    assert!(!lower.contains("transfer-encoding"), "{head}");
    let line = proxy.terminal();
    assert_eq!(
        (line.text("event"), line.text("http_version")),
        ("request", "2")
    );
    assert_eq!(line.number("stream_id"), Some(1));
    assert_eq!(line.number("bytes_upstream_to_client"), Some(2));
    raw.headers(
        3,
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "api.example.com"),
            (":path", "/api/x"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        ],
        END_HEADERS | END_STREAM,
    );
    assert_eq!(raw.status(3), 200);
    let head = upstream.heads().pop().unwrap().to_lowercase();
    assert!(head.contains("\r\ncookie: a=1; b=2\r\n"), "{head}");
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    let upstream = Origin::start(|ask| {
        let (body, trailers) = ask.chunks();
        assert_eq!(trailers.to_lowercase(), "x-end: 1\r\n\r\n");
        ask.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
        ask.write(format!("{:x}\r\n", body.len())).write(&body);
        ask.write("\r\n0\r\nX-Sum: 7\r\n\r\n");
    });
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    let body = vec![b'x'; 200_000];
    let changes = [
        (":method", "POST"),
        (":path", "/api/x"),
        ("trailer", "x-end"),
        ("te", "trailers"),
    ];
    raw.request(1, &changes, END_HEADERS);
    raw.upload(1, &body, 0);
    raw.headers(1, &[("x-end", "1")], END_HEADERS | END_STREAM);
    let head = raw.response_head(1);
    assert_eq!(head.status, 200);
    let mut came = Vec::new();
    std::io::Read::read_to_end(&mut raw.body(1), &mut came).unwrap();
    assert_eq!(came, body);
    assert_eq!(raw.fields(1), [("x-sum".to_owned(), "7".to_owned())]);
    let line = proxy.terminal();
    assert_eq!(line.number("bytes_client_to_upstream"), Some(200_000));
    assert_eq!(line.number("bytes_upstream_to_client"), Some(200_000));
}

#[test]
fn a_body_above_the_limit_is_refused_and_the_connection_goes_on() {
    let upstream = Origin::echo();
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    let changes = [
        (":method", "POST"),
        (":path", "/api/x"),
        ("content-length", "2000000"),
    ];
    raw.request(1, &changes, END_HEADERS);
    assert_eq!(raw.status(1), 413);
    proxy.terminal().expect(Reason::HttpBodyTooLarge);
    raw.get(3, "/hello", &[]);
    assert_eq!(raw.response(3).body, b"hello");
}

#[test]
fn a_client_that_resets_its_upload_is_told_from_one_that_does_not_wait() {
    let reached = Arc::new(Barrier::new(2));
    let there = Arc::clone(&reached);
    let upstream = Origin::start(move |ask| {
        if ask.head.starts_with("GET") {
            there.wait();
        }
        ask.drain();
    });
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    raw.request(1, &[(":method", "POST"), (":path", "/api/x")], END_HEADERS);
    raw.data(1, "half", 0);
    raw.reset(1, Code::CANCEL);
    proxy.terminal().expect(Reason::HttpBodyIncomplete);
    raw.get(3, "/api/x", &[]);
    reached.wait();
    raw.reset(3, Code::CANCEL);
    let line = proxy.terminal().expect(Reason::ClientGaveUp);
    line.with_detail("RST_STREAM with CANCEL");
    raw.get(5, "/hello", &[]);
    assert_eq!(raw.status(5), 200);
}

#[test]
fn an_answer_that_breaks_off_is_reset() {
    let upstream = Origin::start(|ask| {
        ask.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        ask.close();
    });
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    raw.get(1, "/api/x", &[]);
    assert_eq!(raw.status(1), 200);
    assert_eq!(raw.rest(1), (b"half".to_vec(), Some(Code::INTERNAL_ERROR)));
    proxy.terminal().expect(Reason::UpstreamResponseCut);
}

#[test]
fn events_arrive_while_the_answer_goes_on() {
    let (go, may) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let waits = Arc::clone(&may);
    let upstream = Origin::start(move |ask| {
        ask.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        ask.write("9\r\ndata: 1\n\n\r\n");
        waits.wait();
        ask.write("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    });
    let (_proxy, mut raw) = open(&setup(&upstream.url()));
    raw.get(1, "/api/events", &[]);
    assert_eq!(raw.status(1), 200);
    let mut first = [0; 9];
    std::io::Read::read_exact(&mut raw.body(1), &mut first).unwrap();
    assert_eq!(&first, b"data: 1\n\n");
    may.wait();
    assert_eq!(raw.rest(1), (b"data: 2\n\n".to_vec(), None));
    drop(go);
}

#[test]
fn a_head_request_gets_a_head_and_options_pass() {
    let upstream = Origin::start(|ask| {
        let body = if ask.head.starts_with("HEAD") {
            ""
        } else {
            "five!"
        };
        ask.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}"
        ));
    });
    let (_proxy, mut raw) = open(&setup(&upstream.url()));
    raw.request(
        1,
        &[(":method", "HEAD"), (":path", "/api/x")],
        END_HEADERS | END_STREAM,
    );
    let response = raw.response(1);
    assert_eq!(
        (response.status, response.field("content-length")),
        (200, Some("5"))
    );
    assert_eq!(response.body, b"");
    raw.get(3, "/api/x", &[]);
    assert_eq!(raw.response(3).body, b"five!");
}

#[test]
fn a_client_that_waits_for_a_100_gets_it() {
    let upstream = Origin::start(|ask| {
        let body = ask.body();
        ask.ok(body);
    });
    let (_proxy, mut raw) = open(&setup(&upstream.url()));
    let changes = [
        (":method", "POST"),
        (":path", "/api/x"),
        ("content-length", "5"),
        ("expect", "100-continue"),
    ];
    raw.request(1, &changes, END_HEADERS);
    assert_eq!(raw.status(1), 100);
    raw.data(1, "12345", END_STREAM);
    assert_eq!(raw.response(1).body, b"12345");
    // Nobody wants the body.
    let changes = [(":path", "/hello"), ("expect", "100-continue")];
    raw.request(3, &changes, END_HEADERS);
    assert_eq!(raw.status(3), 200);
}
