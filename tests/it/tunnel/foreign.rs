//! Traffic in a tunnel that is not WebSocket.

use std::sync::{Mutex, mpsc};

use wsgate::reason::Reason;

use super::{Open, closed, open, switching};
use crate::harness::frames::{CLOSE, TEXT, closing, masked, plain, read};
use crate::harness::{Line, PATIENCE, Setup};

/// A client that sends a valid message and then `bytes`; gives what the upstream received, and the record.
#[track_caller]
fn from_client(bytes: &[u8], words: &str) -> Line {
    let (hand_over, got) = mpsc::channel();
    let hand_over = Mutex::new(hand_over);
    let upstream = switching(move |mut call| {
        hand_over.lock().unwrap().send(call.drain()).unwrap();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup {
        // The client does not answer the Close.
        limits: "close_wait: 500ms".to_owned(),
        ..Setup::tls(&upstream.url())
    });
    let good = masked(TEXT, "good");
    client.send([&good[..], bytes].concat());
    let told = closing(1002, "client_protocol_error");
    assert_eq!(read(&mut client).unwrap(), (CLOSE, told));
    assert_eq!(client.rest(), b"");
    let came = got.recv_timeout(PATIENCE).unwrap();
    let mut rest = came.strip_prefix(&good[..]).unwrap();
    assert_eq!(
        read(&mut rest).unwrap(),
        (CLOSE, closing(1001, "client_protocol_error"))
    );
    assert_eq!(rest, b"", "nothing of it reaches the upstream");
    let line = closed(&mut proxy, Reason::ClientProtocolError).with_detail(words);
    assert_eq!(line.number("client_sees"), Some(1002));
    assert_eq!(line.number("messages_client_to_upstream"), Some(1));
    line
}

pub fn client_protocol_error() -> Line {
    from_client(
        b"GET /internal HTTP/1.1\r\nHost: app\r\n\r\n",
        "a reserved opcode; first bytes 47 45 54 20",
    )
}

#[test]
fn a_client_may_send_nothing_but_its_frames() {
    for (bytes, words) in [
        (&b"\x81\x02hi"[..], "an unmasked frame from a client"),
        (b"\xc1\x80\0\0\0\0", "reserved bits"),
        (b"\x91\x80\0\0\0\0", "reserved bits"),
        (b"\x83\x80\0\0\0\0", "a reserved opcode"),
        (b"\x8b\x80\0\0\0\0", "a reserved opcode"),
        (b"\x09\x80\0\0\0\0", "a fragmented control frame"),
        (
            b"\x89\xfe\0\x7e\0\0\0\0",
            "a control frame of more than 125",
        ),
        (b"\x80\x80\0\0\0\0", "a continuation without a message"),
        (b"\x88\x81\0\0\0\0x", "a Close frame of one byte"),
        (
            b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
            "a length of 2^63",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "reserved"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc", "reserved"),
        (b"SSH-2.0-OpenSSH", "reserved"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "reserved"),
    ] {
        from_client(bytes, words);
    }
}

#[test]
fn a_wrong_frame_in_pieces_gets_no_further_than_its_first_byte() {
    let (hand_over, got) = mpsc::channel();
    let hand_over = Mutex::new(hand_over);
    let upstream = switching(move |mut call| {
        let mut first = call.receive(1);
        // The client continues only now, so the two bytes arrive separately.
        call.write(plain(TEXT, "go on"));
        first.extend(call.drain());
        hand_over.lock().unwrap().send(first).unwrap();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::plain(&upstream.url()));
    client.send(b"\x81");
    assert_eq!(read(&mut client).unwrap(), (TEXT, b"go on".to_vec()));
    client.send(b"\x02hi and more");
    let told = closing(1002, "client_protocol_error");
    assert_eq!(read(&mut client).unwrap(), (CLOSE, told));
    assert_eq!(client.rest(), b"");
    // Inside a frame, where a Close can't be sent.
    assert_eq!(got.recv_timeout(PATIENCE).unwrap(), b"\x81");
    closed(&mut proxy, Reason::ClientProtocolError).with_detail("unmasked");
}

#[track_caller]
fn from_upstream(bytes: &'static [u8], words: &str) -> Line {
    let upstream = switching(move |mut call| {
        call.write([&plain(TEXT, "good")[..], bytes].concat());
        assert_eq!(
            read(&mut call.socket).unwrap(),
            (CLOSE, closing(1002, "upstream_protocol_error"))
        );
        call.drain();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls(&upstream.url()));
    assert_eq!(read(&mut client).unwrap(), (TEXT, b"good".to_vec()));
    let told = closing(1002, "upstream_protocol_error");
    assert_eq!(read(&mut client).unwrap(), (CLOSE, told.clone()));
    client.send(masked(CLOSE, told));
    assert_eq!(client.rest(), b"");
    let line = closed(&mut proxy, Reason::UpstreamProtocolError).with_detail(words);
    assert_eq!(line.number("client_sees"), Some(1002));
    upstream.all_ended();
    line
}

pub fn upstream_protocol_error() -> Line {
    from_upstream(
        b"HTTP/1.1 500 Internal Server Error\r\n\r\n",
        "first bytes 48 54 54 50",
    )
}

#[test]
fn an_upstream_may_send_nothing_but_its_frames() {
    for (bytes, words) in [
        (&b"\x81\x82\0\0\0\0hi"[..], "a masked frame from a server"),
        (b"\xc1\x00", "reserved bits"),
        (b"\x84\x00", "a reserved opcode"),
        (b"\x88\x7e\x00\x7e", "a control frame of more than 125"),
        (b"\x08\x00", "a fragmented control frame"),
        (b"\x00\x00", "a continuation without a message"),
        (b"\x88\x01x", "a Close frame of one byte"),
        (b"TypeError: x is undefined\n", "a reserved opcode"),
    ] {
        from_upstream(bytes, words);
    }
}
