use wsgate::reason::Reason;

use super::{open, setup};
use crate::harness::h2::frame::{END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, RST_STREAM};
use crate::harness::h2::{Raw, hpack};
use crate::harness::proxy::HOST;
use crate::harness::{Line, Origin, Setup};

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    /// An answer with this status; the stream is refused and nothing else.
    Status(u16),
    /// RST_STREAM; the other streams go on.
    Reset(h2::Reason),
    /// GOAWAY: what was sent can't be decoded, so no other stream can be read either.
    Goaway(h2::Reason),
}

use Gets::{Goaway, Reset, Status};

const PROTOCOL: h2::Reason = h2::Reason::PROTOCOL_ERROR;

/// A check, the fields that a GET for `/api/x` has in addition (an empty value removes one), and what comes of it.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    Gets,
    &'static str,
);

/// The table of docs/http2.md: each check of the raw HTTP/1.1 head, as it is for HTTP/2.
const CASES: &[Case] = &[
    // Bytes that would end a field or a line in HTTP/1.1.
    (
        "CR in a value",
        &[("x", "a\rb")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    (
        "LF in a value",
        &[("x", "a\nb")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    (
        "NUL in a value",
        &[("x", "a\0b")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    (
        "CR LF and a field",
        &[("x", "a\r\nhost: evil")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    (
        "upper case in a name",
        &[("X-Upper", "a")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    (
        "a space in a name",
        &[("x y", "a")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    (
        "a colon in a name",
        &[("x:y", "a")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    (
        "LF in a name",
        &[("x\ny", "a")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    (
        "an empty name",
        &[("", "a")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    (
        "a space before a value",
        &[("x", " a")],
        Status(400),
        "h2_malformed_request",
    ),
    (
        "a tab after a value",
        &[("x", "a\t")],
        Status(400),
        "h2_malformed_request",
    ),
    (
        "DEL in a value",
        &[("x", "a\x7fb")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    (
        "a control character in a value",
        &[("x", "a\x1bb")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    // Fields of the connection (R31).
    (
        "Connection",
        &[("connection", "keep-alive")],
        Reset(PROTOCOL),
        "h2_connection_header",
    ),
    (
        "Upgrade",
        &[("upgrade", "websocket")],
        Reset(PROTOCOL),
        "h2_connection_header",
    ),
    (
        "Upgrade to h2c",
        &[("upgrade", "h2c")],
        Reset(PROTOCOL),
        "h2_connection_header",
    ),
    (
        "Transfer-Encoding",
        &[("transfer-encoding", "chunked")],
        Reset(PROTOCOL),
        "h2_connection_header",
    ),
    (
        "Keep-Alive",
        &[("keep-alive", "timeout=5")],
        Reset(PROTOCOL),
        "h2_connection_header",
    ),
    (
        "Proxy-Connection",
        &[("proxy-connection", "close")],
        Reset(PROTOCOL),
        "h2_connection_header",
    ),
    (
        "TE with gzip",
        &[("te", "gzip")],
        Reset(PROTOCOL),
        "h2_connection_header",
    ),
    // Pseudo fields.
    (
        "no :method",
        &[(":method", "")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    (
        "no :scheme",
        &[(":scheme", "")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    (
        "no :path",
        &[(":path", "")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    (
        ":status in a request",
        &[(":status", "200")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    (
        "an unknown pseudo field",
        &[(":evil", "a")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    (
        ":protocol without CONNECT",
        &[(":protocol", "websocket")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    (
        "another scheme",
        &[(":scheme", "ftp")],
        Status(400),
        "h2_malformed_request",
    ),
    (
        "a method that is not a token",
        &[(":method", "GE T")],
        Goaway(PROTOCOL),
        "h2_protocol_error",
    ),
    // The path.
    (
        "a path without /",
        &[(":path", "api/x")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    (
        "* as the path",
        &[(":path", "*"), (":method", "OPTIONS")],
        Status(400),
        "http_malformed",
    ),
    (
        "a URL as the path",
        &[(":path", "http://evil.example/api/x")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    (
        "a space in the path",
        &[(":path", "/api/a b")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    (
        "bytes outside ASCII",
        &[(":path", "/api/\u{e9}")],
        Status(400),
        "path_ambiguous",
    ),
    (
        "a path that is encoded",
        &[(":path", "/api/%2e%2e/ws")],
        Status(400),
        "path_ambiguous",
    ),
    (
        "dots in the path",
        &[(":path", "/api/../ws")],
        Status(400),
        "path_ambiguous",
    ),
    (
        "a backslash",
        &[(":path", "/api\\x")],
        Status(400),
        "path_ambiguous",
    ),
    (
        "< in the path",
        &[(":path", "/api/<")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    (
        "a backtick in the path",
        &[(":path", "/api/`")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    (
        "a double quote in the query",
        &[(":path", "/api/x?\"")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    // The host.
    (
        "neither :authority nor Host",
        &[(":authority", "")],
        Status(400),
        "http_host_missing",
    ),
    (
        "Host beside another :authority",
        &[("host", "evil.example")],
        Status(400),
        "http_host_invalid",
    ),
    (
        "userinfo",
        &[(":authority", "user@api.example.com")],
        Status(400),
        "http_host_invalid",
    ),
    (
        "a host that is not one",
        &[(":authority", "a b")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    (
        "a path in :authority",
        &[(":authority", "api.example.com/x")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    // The length.
    (
        "a length that is not a number",
        &[("content-length", "+0")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    (
        "a length without DATA",
        &[("content-length", "5")],
        Reset(PROTOCOL),
        "h2_malformed_request",
    ),
    // What the proxy would pass on.
    (
        "Expect",
        &[("expect", "something")],
        Status(417),
        "http_expect_refused",
    ),
];

/// What came of a stream.
#[track_caller]
fn gets(raw: &mut Raw, stream: u32) -> Gets {
    let is_end = |frame: &Frame| {
        frame.kind == GOAWAY
            || (frame.stream == stream && [HEADERS, RST_STREAM].contains(&frame.kind))
    };
    let frame = raw.wait("the end of a stream", is_end);
    match frame.kind {
        GOAWAY => Goaway(frame.number(4).into()),
        RST_STREAM => Reset(frame.number(0).into()),
        _ => {
            let status = &frame.fields[0].1;
            Status(std::str::from_utf8(status).unwrap().parse().unwrap())
        }
    }
}

#[test]
fn each_check_of_an_http1_head_has_its_counterpart() {
    let nobody = Origin::echo();
    let mut proxy = setup(&nobody.url()).start();
    let mut raw = Raw::open(proxy.address());
    let mut stream = 1;
    let mut wrong = Vec::new();
    for (what, changes, expected, reason) in CASES {
        let mut changes = changes.to_vec();
        if changes.iter().all(|(name, _)| *name != ":path") {
            changes.push((":path", "/api/x"));
        }
        raw.request(stream, &changes, END_HEADERS | END_STREAM);
        let got = gets(&mut raw, stream);
        let line = proxy.terminal();
        if got != *expected || line.text("reason") != *reason {
            wrong.push((what, got, line.text("reason").to_owned()));
        }
        assert_eq!(line.text("http_version"), "2", "{what}: {line:?}");
        assert_eq!(line.number("stream_id"), Some(stream.into()), "{what}");
        if let Goaway(_) = got {
            raw = Raw::open(proxy.address());
            stream = 1;
            continue;
        }
        // No other stream was hurt.
        stream += 2;
        raw.get(stream, "/hello", &[]);
        assert_eq!(raw.response(stream).body, b"hello", "{what}");
        proxy.terminal();
        stream += 2;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(nobody.connections(), 0);
}

#[test]
fn a_field_may_come_only_once_where_it_decides() {
    let nobody = Origin::echo();
    let (mut proxy, mut raw) = open(&setup(&nobody.url()));
    let usual = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/api/x"),
    ];
    let mut stream = 1;
    for (more, expected, reason) in [
        (
            &[("host", HOST), ("host", HOST)][..],
            Status(400),
            Reason::HttpHostInvalid,
        ),
        (
            &[(":path", "/api/y")],
            Reset(PROTOCOL),
            Reason::H2MalformedRequest,
        ),
        (
            &[(":method", "POST")],
            Reset(PROTOCOL),
            Reason::H2MalformedRequest,
        ),
        (
            &[("x", "1"), (":authority", HOST)],
            Reset(PROTOCOL),
            Reason::H2MalformedRequest,
        ),
        (
            &[("content-length", "0"), ("content-length", "1")],
            Reset(PROTOCOL),
            Reason::H2MalformedRequest,
        ),
        (
            &[("content-length", "0"), ("content-length", "0")],
            Status(400),
            Reason::HttpFramingConflict,
        ),
    ] {
        raw.headers(stream, &[&usual, more].concat(), END_HEADERS | END_STREAM);
        assert_eq!(gets(&mut raw, stream), expected, "{more:?}");
        proxy.terminal().expect(reason);
        stream += 2;
    }
    // The same host twice is one host.
    raw.headers(
        stream,
        &[&usual[..3], &[(":path", "/hello"), ("host", HOST)]].concat(),
        END_HEADERS | END_STREAM,
    );
    assert_eq!(raw.status(stream), 200);
    assert_eq!(nobody.connections(), 0);
}

#[test]
fn a_head_is_bounded() {
    let nobody = Origin::echo();
    let (mut proxy, mut raw) = open(&setup(&nobody.url()));
    let long = "x".repeat(8 * 1024);
    raw.request(1, &[(":path", "/api/x"), ("x", &long)], END_STREAM);
    raw.continuation(1, hpack::block(&[("y", &long)]), END_HEADERS);
    assert_eq!(raw.status(1), 431);
    let line = proxy.terminal();
    let line = line.expect(Reason::HttpTooLarge);
    assert_eq!(line.text("path"), "/api/x");
    let names: Vec<_> = (0..101).map(|number| format!("x-{number}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "a")).collect();
    raw.get(3, "/api/x", &fields);
    assert_eq!(raw.status(3), 431);
    proxy.terminal().expect(Reason::HttpTooLarge);
    // What is longer than the library allows has no path in its record.
    let block = |value: &str| {
        let usual = hpack::block(&[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", "/api/x"),
        ]);
        [usual, hpack::block(&[("x", value)])].concat()
    };
    let block = block(&"x".repeat(50_000));
    let (first, rest) = block.split_at(16_000);
    raw.send_frame(1, END_STREAM, 5, first);
    let pieces: Vec<_> = rest.chunks(16_000).collect();
    for (index, piece) in pieces.iter().enumerate() {
        let is_last = index + 1 == pieces.len();
        raw.continuation(5, piece, if is_last { END_HEADERS } else { 0 });
    }
    assert_eq!(raw.status(5), 431);
    let line = proxy.terminal();
    let line = line.expect(Reason::HttpTooLarge);
    assert_eq!(line.number("stream_id"), Some(5));
    raw.get(7, "/hello", &[]);
    assert_eq!(raw.status(7), 200);
    assert_eq!(nobody.connections(), 0);
}

#[test]
fn a_path_that_the_library_cannot_hold_is_refused() {
    let nobody = Origin::echo();
    let setup = Setup {
        limits: "header_bytes: 256KiB".to_owned(),
        ..setup(&nobody.url())
    };
    let (mut proxy, mut raw) = open(&setup);
    let block = hpack::block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", &format!("/api/{}", "x".repeat(66_000))),
    ]);
    let mut pieces = block.chunks(16_000);
    raw.send_frame(HEADERS, END_STREAM, 1, pieces.next().unwrap());
    let count = pieces.len();
    for (index, piece) in pieces.enumerate() {
        let is_last = index + 1 == count;
        raw.continuation(1, piece, if is_last { END_HEADERS } else { 0 });
    }
    assert_eq!(raw.expect_reset(1), PROTOCOL);
    proxy.terminal().expect(Reason::H2MalformedRequest);
    assert_eq!(nobody.connections(), 0);
}

#[test]
fn a_fragment_is_cut_off_before_anything_is_decided() {
    let origin = Origin::echo();
    let (mut proxy, mut raw) = open(&setup(&origin.url()));
    raw.get(1, "/api/x#/../ws", &[]);
    assert_eq!(raw.status(1), 200);
    assert_eq!(proxy.terminal().text("path"), "/api/x");
    let head = origin.head();
    assert!(head.starts_with("GET /api/x HTTP/1.1\r\n"), "{head}");
    // If nothing is left, that is not a path.
    for (stream, path) in [(3, "#"), (5, "#/api/x")] {
        raw.get(stream, path, &[]);
        assert_eq!(raw.status(stream), 400, "{path}");
        let refused = proxy
            .terminal()
            .with_detail("the path does not begin with /");
        assert_eq!(refused.text("reason"), "http_malformed", "{refused:?}");
    }
    raw.connect_ws(7, "#", &[]);
    assert_eq!(raw.status(7), 400);
    proxy
        .terminal()
        .with_detail("the path does not begin with /");
}

#[test]
fn a_length_that_differs_from_the_data_is_refused() {
    let upstream = Origin::echo();
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    let mut stream = 1;
    for (length, flags) in [("3", 0), ("9", END_STREAM)] {
        let changes = [
            (":method", "POST"),
            (":path", "/api/x"),
            ("content-length", length),
        ];
        raw.request(stream, &changes, END_HEADERS);
        raw.data(stream, "12345", flags);
        assert_eq!(raw.expect_reset(stream), PROTOCOL, "{length}");
        let line = proxy.terminal();
        assert_eq!(line.text("reason"), "http_framing_conflict", "{line:?}");
        assert_eq!(line.number("status"), None, "{line:?}");
        stream += 2;
        raw.get(stream, "/hello", &[]);
        assert_eq!(raw.status(stream), 200);
        proxy.terminal();
        stream += 2;
    }
}

/// A field that only HTTP/1.1 allows.
pub fn h2_connection_header() -> Line {
    let nobody = Origin::echo();
    let (mut proxy, mut raw) = open(&setup(&nobody.url()));
    raw.get(1, "/api/x", &[("connection", "upgrade")]);
    assert_eq!(raw.expect_reset(1), PROTOCOL);
    proxy.terminal().expect(Reason::H2ConnectionHeader)
}

/// A pseudo field that is not the first.
pub fn h2_malformed_request() -> Line {
    let nobody = Origin::echo();
    let (mut proxy, mut raw) = open(&setup(&nobody.url()));
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/api/x"),
        ("x", "1"),
        (":authority", HOST),
    ];
    raw.headers(1, &fields, END_HEADERS | END_STREAM);
    assert_eq!(raw.expect_reset(1), PROTOCOL);
    let line = proxy.terminal().expect(Reason::H2MalformedRequest);
    line.with_detail(
        "a pseudo field comes after another field; the client got RST_STREAM with PROTOCOL_ERROR",
    )
}
