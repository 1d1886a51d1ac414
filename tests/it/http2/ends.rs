use std::time::Duration;

use h2::Reason as Code;
use wsgate::reason::Reason;

use super::{open, setup, tunnels};
use crate::harness::frames::{CLOSE, TEXT, closing, masked, read};
use crate::harness::h2::frame::{self, END_HEADERS, END_STREAM, HEADERS};
use crate::harness::h2::{Raw, hpack};
use crate::harness::proxy::HOST;
use crate::harness::{Origin, Setup, Upstream};

/// An upstream that ends the connection as the message says, after it has echoed it.
fn obedient() -> Upstream {
    Upstream::start(|mut call| {
        call.switch("");
        let frame = call.receive(masked(TEXT, "fin").len());
        match &read(&mut &frame[..]).unwrap().1[..] {
            b"fin" => _ = call.finish().drain(),
            _ => call.reset(),
        }
    })
}

#[test]
fn the_end_of_a_stream_and_its_reset_are_told_apart() {
    let (ends, seen) = std::sync::mpsc::channel();
    let upstream = Upstream::start(move |mut call| {
        call.switch("");
        call.receive(masked(TEXT, "hello").len());
        let mut rest = [0; 1];
        let end = std::io::Read::read(&mut call.socket, &mut rest);
        ends.send(end.map_err(|error| error.kind())).unwrap();
    });
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    raw.connect_ws(1, "/ws", &[]);
    assert_eq!(raw.status(1), 200);
    raw.data(1, masked(TEXT, "hello"), 0);
    raw.data(1, "", END_STREAM);
    assert_eq!(seen.recv().unwrap(), Ok(0));
    let line = proxy.terminal().expect(Reason::ClientEofNoClose);
    assert_eq!(line.number("client_sees"), Some(1006));
    raw.connect_ws(3, "/ws", &[]);
    assert_eq!(raw.status(3), 200);
    raw.data(3, masked(TEXT, "hello"), 0);
    raw.reset(3, Code::CANCEL);
    let end = seen.recv().unwrap();
    assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset));
    let line = proxy.terminal().expect(Reason::ClientReset);
    line.with_detail("RST_STREAM with CANCEL");
}

#[test]
fn an_upstream_that_ends_without_a_close_is_told_like_over_http1() {
    let upstream = obedient();
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    for (stream, word, reason) in [
        (1, "fin", Reason::UpstreamEofNoClose),
        (3, "rst", Reason::UpstreamReset),
    ] {
        raw.connect_ws(stream, "/ws", &[]);
        assert_eq!(raw.status(stream), 200);
        raw.data(stream, masked(TEXT, word), 0);
        assert_eq!(raw.ws_frame(stream), (CLOSE, closing(1014, reason.code())));
        raw.data(stream, masked(CLOSE, closing(1014, "")), END_STREAM);
        assert_eq!(raw.rest(stream), (Vec::new(), None));
        let line = proxy.terminal().expect(reason);
        assert_eq!(line.number("client_sees"), Some(1014));
    }
}

#[test]
fn a_transparent_route_passes_the_end_of_the_upstream_on_as_it_was() {
    let upstream = obedient();
    let setup = Setup {
        upstream: ", on_abort: transparent".to_owned(),
        ..setup(&upstream.url())
    };
    let (mut proxy, mut raw) = open(&setup);
    for (stream, word, reset, reason) in [
        (1, "fin", None, Reason::UpstreamEofNoClose),
        (3, "rst", Some(Code::CANCEL), Reason::UpstreamReset),
    ] {
        raw.connect_ws(stream, "/ws", &[]);
        assert_eq!(raw.status(stream), 200);
        raw.data(stream, masked(TEXT, word), 0);
        assert_eq!(raw.rest(stream), (Vec::new(), reset), "{word}");
        if reset.is_none() {
            raw.data(stream, "", END_STREAM);
        }
        proxy.terminal().expect(reason);
    }
}

#[test]
fn the_end_of_a_connection_ends_all_of_its_tunnels() {
    let upstream = Upstream::echo();
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    tunnels(&mut raw, &[1, 3]);
    drop(raw);
    let mut streams: Vec<_> = (0..2)
        .map(|_| {
            let line = proxy.terminal();
            assert!(
                ["client_eof_no_close", "tls_truncated", "client_reset"]
                    .contains(&line.text("reason")),
                "{line:?}"
            );
            line.number("stream_id")
        })
        .collect();
    streams.sort_unstable();
    assert_eq!(streams, [Some(1), Some(3)]);
    upstream.all_ended();
}

#[test]
fn a_violation_is_the_reason_of_every_tunnel_that_it_ends() {
    let upstream = Upstream::echo();
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    tunnels(&mut raw, &[1, 3]);
    // DATA on stream 0.
    raw.send_frame(0, 0, 0, "x");
    assert_eq!(raw.expect_goaway().1, Code::PROTOCOL_ERROR);
    for _ in 0..2 {
        let line = proxy.terminal().expect(Reason::H2ProtocolError);
        assert_eq!(line.text("event"), "closed");
        line.with_detail("PROTOCOL_ERROR");
    }
    upstream.all_ended();
}

/// How a client leaves.
type Leaves = fn(Raw);

#[test]
fn each_stream_of_a_connection_that_ends_at_once_has_its_record() {
    let upstream = Upstream::echo();
    let mut proxy = setup(&upstream.url()).start();
    let block = hpack::block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/hello"),
    ]);
    // A reset would destroy what the proxy has not read.
    let leaves: [(&str, &[u8], Leaves); 2] = [
        // DATA on stream 0.
        (
            "a violation",
            &[0, 0, 1, 0, 0, 0, 0, 0, 0, b'x'],
            |mut raw| {
                raw.ended();
            },
        ),
        ("the end", &[], drop),
    ];
    for (what, last, leave) in leaves {
        let mut raw = Raw::open(proxy.address());
        let mut bytes = Vec::new();
        for index in 0..20 {
            let flags = END_HEADERS | END_STREAM;
            bytes.extend(frame::bytes(HEADERS, flags, 1 + 2 * index, &block));
        }
        bytes.extend(last);
        raw.send(bytes);
        leave(raw);
        let mut streams: Vec<_> = (0..20)
            .map(|_| proxy.terminal().number("stream_id"))
            .collect();
        streams.sort_unstable();
        let all: Vec<_> = (0..20).map(|index| Some(1 + 2 * index)).collect();
        assert_eq!(streams, all, "{what}");
    }
}

#[test]
fn a_violation_is_not_blamed_on_a_slow_upstream() {
    let (reached, there) = std::sync::mpsc::channel();
    let upstream = Origin::start(move |ask| {
        reached.send(()).unwrap();
        ask.drain();
    });
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    raw.get(1, "/api/slow", &[]);
    there.recv().unwrap();
    raw.send_frame(0, 0, 0, "x");
    assert_eq!(raw.expect_goaway().1, Code::PROTOCOL_ERROR);
    let line = proxy.terminal().expect(Reason::H2ProtocolError);
    assert_eq!(line.number("stream_id"), Some(1));
    line.with_detail("GOAWAY with PROTOCOL_ERROR");
}

#[test]
fn a_window_that_overflows_is_a_violation_of_one_stream() {
    let upstream = Upstream::echo();
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    tunnels(&mut raw, &[1, 3]);
    raw.window_update(1, 0x7fff_ffff);
    assert_eq!(raw.expect_reset(1), Code::FLOW_CONTROL_ERROR);
    let line = proxy.terminal().expect(Reason::H2ProtocolError);
    assert_eq!(line.number("stream_id"), Some(1));
    line.with_detail("RST_STREAM with FLOW_CONTROL_ERROR");
    raw.echoes(3, "still there");
}

#[test]
fn a_handshake_that_is_taken_back_is_not_an_upload() {
    let (reached, there) = std::sync::mpsc::channel();
    let upstream = Upstream::start(move |mut call| {
        reached.send(()).unwrap();
        call.drain();
    });
    let (mut proxy, mut raw) = open(&setup(&upstream.url()));
    raw.connect_ws(1, "/ws", &[]);
    there.recv().unwrap();
    raw.reset(1, Code::CANCEL);
    proxy.terminal().expect(Reason::ClientGaveUp);
}

#[test]
fn one_stalled_stream_holds_up_no_other() {
    let upstream = Upstream::start(|mut call| {
        call.switch("");
        if call.head.contains("/ws?deaf") {
            // It reads nothing.
            std::thread::sleep(Duration::from_secs(20));
        }
        call.echo();
    });
    let setup = Setup {
        limits: "write_stall: 1s".to_owned(),
        ..setup(&upstream.url())
    };
    let (mut proxy, mut raw) = open(&setup);
    for (stream, path) in [(1, "/ws?deaf"), (3, "/ws")] {
        raw.connect_ws(stream, path, &[]);
        assert_eq!(raw.status(stream), 200);
    }
    // As much as the window allows, again and again, until the upstream's socket is full.
    let piece = vec![0; 16_000];
    let mut sent = 0_usize;
    raw.send(masked_header(64 * 1024 * 1024, 1));
    while sent < 32 * 1024 * 1024 && raw.room(1) >= piece.len() {
        raw.data(1, &piece, 0);
        sent += piece.len();
        raw.echoes(3, "still");
    }
    let line = proxy.terminal().expect(Reason::UpstreamWriteStalled);
    assert_eq!(line.number("stream_id"), Some(1));
    raw.echoes(3, "after");
}

/// The header of a long binary frame from the client, in a DATA frame.
fn masked_header(length: u64, stream: u32) -> Vec<u8> {
    let mut payload = vec![0x82, 0xff];
    payload.extend(length.to_be_bytes());
    payload.extend([0; 4]);
    frame::bytes(0, 0, stream, payload)
}
