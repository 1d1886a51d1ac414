use std::time::Duration;

use h2::Reason as Code;
use wsgate::reason::Reason;

use super::{open, setup};
use crate::harness::h2::frame::{END_HEADERS, END_STREAM, PING, SETTINGS};
use crate::harness::h2::{PREFACE, Raw, hpack};
use crate::harness::proxy::{HOST, spelled};
use crate::harness::{Line, Origin, Proxy, Setup, Upstream};

const SHORT: Duration = Duration::from_secs(1);

/// A proxy whose deadlines are short.
fn impatient(endpoint: &str) -> Setup {
    Setup {
        limits: format!(
            "request_head: {}, keep_alive: {}",
            spelled(SHORT),
            spelled(2 * SHORT)
        ),
        ..setup(endpoint)
    }
}

#[test]
fn a_client_that_sends_nothing_or_half_of_something_has_a_deadline() {
    let nobody = Origin::echo();
    let mut proxy = impatient(&nobody.url()).start();
    let head = hpack::block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/hello"),
    ]);
    type Part<'a> = (&'a str, &'a dyn Fn(&mut Raw), &'a str);
    let parts: [Part<'_>; 6] = [
        ("nothing", &|_| {}, "0 bytes"),
        (
            "half a preface",
            &|raw| _ = raw.send(&PREFACE[..10]),
            "10 bytes",
        ),
        (
            "no SETTINGS",
            &|raw| _ = raw.preface(),
            "the client sent no SETTINGS",
        ),
        (
            "no stream",
            &|raw| _ = raw.preface().settings(&[]),
            "the client opened no stream",
        ),
        (
            "half a header block",
            &|raw| {
                _ = raw
                    .preface()
                    .settings(&[])
                    .send_frame(1, END_STREAM, 1, &head[..5]);
            },
            "a header block has begun",
        ),
        (
            "half a HEADERS frame",
            &|raw| {
                raw.preface().settings(&[]);
                let frame = crate::harness::h2::frame::bytes(1, END_STREAM | END_HEADERS, 1, &head);
                raw.send(&frame[..12]);
            },
            "a header block has begun",
        ),
    ];
    for (what, send, detail) in parts {
        let mut raw = Raw::connect(proxy.address());
        send(&mut raw);
        raw.ended();
        let line = proxy.terminal();
        assert_eq!(
            line.text("reason"),
            "http_header_timeout",
            "{what}: {line:?}"
        );
        // No answer has reached it.
        assert_eq!(line.number("status"), None, "{what}: {line:?}");
        assert!(line.text("detail").contains(detail), "{what}: {line:?}");
    }
    // With SETTINGS, the client is told.
    let mut raw = Raw::open(proxy.address());
    assert_eq!(raw.expect_goaway().1, Code::NO_ERROR);
    assert_eq!(proxy.terminal().text("reason"), "http_header_timeout");
}

#[test]
fn an_idle_connection_ends_without_a_record_and_a_tunnel_keeps_it() {
    let upstream = Upstream::echo();
    let (mut proxy, mut raw) = open(&impatient(&upstream.url()));
    raw.connect_ws(1, "/ws", &[]);
    assert_eq!(raw.status(1), 200);
    std::thread::sleep(3 * SHORT);
    raw.echoes(1, "still there");
    raw.get(3, "/hello", &[]);
    assert_eq!(raw.response(3).status, 200);
    assert_eq!(proxy.terminal().text("event"), "request");
    raw.reset(1, Code::CANCEL);
    proxy.terminal().expect(Reason::ClientReset);
    assert_eq!(raw.expect_goaway().1, Code::NO_ERROR);
    raw.ended();
    let lines = proxy.stop();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.text("event") == "refused")
            .count(),
        0
    );
}

#[test]
fn a_client_that_does_not_speak_http2_is_told_from_one_that_does() {
    let nobody = Origin::echo();
    let mut proxy = setup(&nobody.url()).start();
    let mut raw = Raw::connect(proxy.address());
    raw.send("GET /hello HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    raw.ended();
    let line = proxy.terminal().expect(Reason::H2ProtocolError);
    line.with_detail("no HTTP/2 preface");
    // A client that leaves at once.
    drop(Raw::connect(proxy.address()));
    let line = proxy.terminal();
    assert!(line.text("reason").starts_with("tls_closed"), "{line:?}");
    // And one that leaves after its settings.
    let mut raw = Raw::open(proxy.address());
    raw.goaway(0, Code::NO_ERROR, "");
    drop(raw);
    let line = proxy.terminal();
    assert!(line.text("reason").starts_with("tls_closed"), "{line:?}");
}

/// Sends `frames` until the proxy ends the connection.
#[track_caller]
fn flood(proxy: &mut Proxy, send: impl Fn(&mut Vec<u8>, u32)) -> Line {
    let mut raw = Raw::open(proxy.address());
    let mut stream = 1;
    for _ in 0..400 {
        let mut bytes = Vec::new();
        for _ in 0..50 {
            send(&mut bytes, stream);
            stream += 2;
        }
        if raw.try_send(&bytes).is_err() {
            break;
        }
    }
    // What the proxy sent may be lost with the reset that follows, so only the record counts.
    loop {
        let line = proxy.terminal();
        if line.text("reason") == "h2_flood" {
            return line.expect(Reason::H2Flood);
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    crate::harness::h2::frame::bytes(kind, flags, stream, payload)
}

fn get(stream: u32) -> Vec<u8> {
    let block = hpack::block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/hello"),
    ]);
    frame(1, END_HEADERS | END_STREAM, stream, block)
}

#[test]
fn the_known_floods_end_the_connection() {
    let nobody = Origin::echo();
    let mut proxy = setup(&nobody.url()).start();
    let big = hpack::block(&[("x", &"y".repeat(16_000))]);
    type Flood<'a> = (&'a str, &'a dyn Fn(&mut Vec<u8>, u32));
    let floods: [Flood<'_>; 8] = [
        ("rapid reset", &|bytes, stream| {
            bytes.extend(get(stream));
            bytes.extend(frame(3, 0, stream, 8_u32.to_be_bytes()));
        }),
        ("pings", &|bytes, _| bytes.extend(frame(PING, 0, 0, [0; 8]))),
        ("settings", &|bytes, _| {
            bytes.extend(frame(SETTINGS, 0, 0, []));
        }),
        ("priorities", &|bytes, stream| {
            bytes.extend(frame(2, 0, stream, [0, 0, 0, 0, 1]));
        }),
        ("window updates", &|bytes, _| {
            bytes.extend(frame(8, 0, 0, 1_u32.to_be_bytes()));
        }),
        ("unknown frames", &|bytes, _| {
            bytes.extend(frame(99, 0, 0, []));
        }),
        ("empty continuations", &|bytes, stream| {
            if stream == 1 {
                bytes.extend(frame(1, END_STREAM, stream, []));
            }
            bytes.extend(frame(9, 0, 1, []));
        }),
        ("long continuations", &|bytes, stream| {
            if stream == 1 {
                bytes.extend(frame(1, END_STREAM, stream, []));
            }
            bytes.extend(frame(9, 0, 1, &big));
        }),
    ];
    for (what, send) in floods {
        let line = flood(&mut proxy, send);
        assert!(!line.text("detail").is_empty(), "{what}: {line:?}");
    }
    // It still serves.
    let mut raw = Raw::open(proxy.address());
    raw.get(1, "/hello", &[]);
    assert_eq!(raw.response(1).status, 200);
}

#[test]
fn a_page_that_resets_its_streams_is_not_a_flood() {
    let upstream = Upstream::echo();
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    raw.connect_ws(1, "/ws", &[]);
    assert_eq!(raw.status(1), 200);
    // All in one piece, before the proxy can serve any of them.
    let mut bytes = Vec::new();
    for index in 0..60 {
        let stream = 3 + 2 * index;
        bytes.extend(get(stream));
        bytes.extend(frame(3, 0, stream, 8_u32.to_be_bytes()));
    }
    raw.send(bytes);
    let mut streams: Vec<_> = (0..60)
        .map(|_| proxy.terminal().number("stream_id"))
        .collect();
    streams.sort_unstable();
    let all: Vec<_> = (0..60).map(|index| Some(3 + 2 * index)).collect();
    assert_eq!(streams, all);
    raw.echoes(1, "still there");
}

#[test]
fn the_reset_of_a_stream_that_is_over_is_not_a_flood() {
    let nobody = Origin::echo();
    let (mut proxy, mut raw) = open(&setup(&nobody.url()));
    for index in 0..400 {
        let stream = 1 + 2 * index;
        raw.get(stream, "/hello", &[]);
        assert_eq!(raw.response(stream).body, b"hello");
        proxy.terminal();
        raw.reset(stream, Code::NO_ERROR);
    }
    raw.get(801, "/hello", &[]);
    assert_eq!(raw.response(801).body, b"hello");
}

#[test]
fn a_bomb_of_compressed_fields_is_not_unpacked() {
    let nobody = Origin::echo();
    let mut proxy = setup(&nobody.url()).start();
    let mut raw = Raw::open(proxy.address());
    // One long field goes into the table, and each further byte repeats it.
    let mut block = vec![0x40];
    block.extend([1, b'x', 0x7f, 0xa1, 0x1e]);
    block.extend(vec![b'y'; 4000]);
    block.extend(vec![0xbe; 10_000]);
    raw.send_frame(1, END_HEADERS | END_STREAM, 1, &block);
    let (_, code, debug) = raw.expect_goaway();
    assert_eq!(code, Code::ENHANCE_YOUR_CALM, "{debug}");
    proxy.terminal().expect(Reason::H2Flood);
}

#[test]
fn a_client_that_takes_nothing_has_a_deadline() {
    let big = Origin::start(|ask| ask.ok(vec![0; 4 * 1024 * 1024]));
    let setup = Setup {
        limits: "write_stall: 500ms".to_owned(),
        ..setup(&big.url())
    };
    let (mut proxy, mut raw) = open(&setup);
    // Its windows are never opened again.
    raw.get(1, "/api/x", &[]);
    assert_eq!(raw.status(1), 200);
    let line = proxy.terminal().expect(Reason::ClientStalledResponse);
    assert_eq!(line.number("stream_id"), Some(1));
    assert_eq!(raw.expect_reset(1), Code::CANCEL);
    raw.get(3, "/hello", &[]);
    // The window of the connection is used up, but a head needs none.
    assert_eq!(raw.status(3), 200);
}

/// More pings than anybody needs.
pub fn h2_flood() -> Line {
    let nobody = Origin::echo();
    let mut proxy = setup(&nobody.url()).start();
    flood(&mut proxy, |bytes, _| {
        bytes.extend(frame(PING, 0, 0, [0; 8]));
    })
    .with_detail("PING frames")
}

/// DATA on a stream that was never opened.
pub fn h2_protocol_error() -> Line {
    let nobody = Origin::echo();
    let mut proxy = setup(&nobody.url()).start();
    let mut raw = Raw::open(proxy.address());
    raw.send_frame(0, 0, 7, "x");
    assert_eq!(raw.expect_goaway().1, Code::PROTOCOL_ERROR);
    proxy
        .terminal()
        .expect(Reason::H2ProtocolError)
        .with_detail("PROTOCOL_ERROR")
}
