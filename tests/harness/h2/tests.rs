//! The client against the server of the `h2` crate.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use ::h2::ext::Protocol;
use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio_rustls::TlsAcceptor;

use super::frame::{
    ACK, DATA, ENABLE_CONNECT_PROTOCOL, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE,
    PADDED, PING, SETTINGS,
};
use super::{Raw, frame, hpack};
use crate::harness::certs::{Authority, Kind};
use crate::harness::{frames, secure};

/// A server of one connection; what it does depends on the path.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let name = super::HOST;
    let config = secure::config(Authority::shared(), &[name], Kind::Good);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            let socket = tokio::net::TcpStream::from_std(socket).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let stream = acceptor.accept(socket).await.unwrap();
            let mut builder = ::h2::server::Builder::new();
            builder.enable_connect_protocol();
            // An error is what some tests provoke.
            let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
                return;
            };
            while let Some(Ok((request, respond))) = connection.accept().await {
                if request.uri().path() == "/goaway" {
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                }
                tokio::spawn(answer(request, respond));
            }
        });
    });
    address
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path();
    if path == "/reset" {
        return respond.send_reset(Reason::REFUSED_STREAM);
    }
    let mut response = Response::builder();
    for (name, value) in &head.headers {
        response = response.header(name, value);
    }
    if let Some(protocol) = head.extensions.get::<Protocol>() {
        response = response.header("x-protocol", protocol.as_str());
    }
    let response = response.body(()).unwrap();
    let mut send = respond.send_response(response, false).unwrap();
    while let Some(bytes) = body.data().await {
        let Ok(bytes) = bytes else {
            return;
        };
        body.flow_control().release_capacity(bytes.len()).unwrap();
        // It unmasks frames of WebSockets, as their server does.
        let bytes = match frames::read(&mut &bytes[..]) {
            Ok((first, payload)) if path == "/ws" => frames::plain(first, payload).into(),
            _ => bytes,
        };
        send.send_data(bytes, false).unwrap();
    }
    if path == "/cut" {
        return send.send_reset(Reason::INTERNAL_ERROR);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-trailer", HeaderValue::from_static("last"));
    send.send_trailers(trailers).unwrap();
}

#[test]
fn streams_are_kept_apart_and_fields_are_decoded() {
    let mut raw = Raw::open(server());
    assert_eq!(raw.setting(ENABLE_CONNECT_PROTOCOL), Some(1));
    let value: String = (33..=126).map(char::from).collect();
    let fields = [("x-value", value.as_str()), ("x-two", "1"), ("x-two", "2")];
    // The second time, they come from the dynamic table.
    raw.get(1, "/", &fields).get(3, "/", &fields);
    for stream in [3, 1] {
        let response = raw.response(stream);
        assert_eq!(response.status, 200);
        assert_eq!(response.field("x-value"), Some(value.as_str()));
        assert_eq!(response.fields_named("x-two"), ["1", "2"]);
        let trailers = raw.fields(stream);
        assert_eq!(trailers, [("x-trailer".to_owned(), "last".to_owned())]);
    }
}

#[test]
fn header_blocks_are_sent_in_parts() {
    let mut raw = Raw::open(server());
    raw.request(1, &[(":path", "/parts")], END_STREAM);
    let field = hpack::literal("x-part", [0xe4, b' ', 0xff]);
    let (one, two) = field.split_at(3);
    raw.continuation(1, one, 0)
        .continuation(1, two, END_HEADERS);
    assert_eq!(raw.response(1).field("x-part"), Some("\u{e4} \u{ff}"));
}

#[test]
fn bodies_respect_the_windows_both_ways() {
    let mut raw = Raw::open_with(server(), &[(INITIAL_WINDOW_SIZE, 100_000)]);
    let body: Vec<u8> = (0..251).cycle().take(300_000).collect();
    raw.request(1, &[(":method", "POST")], END_HEADERS);
    assert_eq!(raw.status(1), 200);
    raw.upload(1, &body[..150_000], 0);
    raw.window_update(0, 1 << 20).window_update(1, 1 << 20);
    raw.upload(1, &body[150_000..], END_STREAM);
    assert!(raw.rest(1) == (body, None));
}

#[test]
fn websockets_echo_and_end_as_they_are_ended() {
    let mut raw = Raw::open(server());
    raw.connect_ws(1, "/ws", &[("origin", ""), ("x-more", "1")]);
    let head = raw.response_head(1);
    assert_eq!((head.status, head.field("x-more")), (200, Some("1")));
    assert_eq!(head.field("x-protocol"), Some("websocket"));
    assert_eq!(head.field("origin"), None);
    raw.echoes(1, "one").echoes(1, "two");
    let closing = frames::closing(1000, "done");
    raw.data(1, frames::masked(frames::CLOSE, &closing), END_STREAM);
    assert_eq!(raw.ws_frames(1), (vec![(frames::CLOSE, closing)], None));

    assert_eq!(raw.connect_ws(3, "/cut", &[]).status(3), 200);
    // The h2 crate drops what it has not sent when it resets a stream, so the head has to come first.
    raw.data(3, [], END_STREAM);
    assert_eq!(raw.ws_frames(3), (Vec::new(), Some(Reason::INTERNAL_ERROR)));
}

#[test]
fn resets_and_the_end_of_a_connection_are_seen() {
    let mut raw = Raw::open(server());
    raw.get(1, "/reset", &[]);
    assert_eq!(raw.expect_reset(1), Reason::REFUSED_STREAM);
    raw.request(3, &[], END_HEADERS).reset(3, Reason::CANCEL);
    raw.get(5, "/goaway", &[]);
    let (last, code, debug) = raw.expect_goaway();
    assert_eq!((last, code), (5, Reason::ENHANCE_YOUR_CALM));
    assert_eq!(debug, "");
    raw.ended();
}

#[test]
fn nothing_is_answered_unless_the_test_does_it() {
    let mut raw = Raw::connect(server());
    raw.preface().settings(&[]).ping(*b"12345678");
    let arrived = [raw.frame(), raw.frame(), raw.frame()];
    let seen = |kind, flags| {
        let is_seen = |frame: &&frame::Frame| (frame.kind, frame.flags) == (kind, flags);
        arrived.iter().find(is_seen)
    };
    assert!(seen(SETTINGS, 0).is_some(), "{arrived:?}");
    assert!(seen(SETTINGS, ACK).is_some(), "{arrived:?}");
    assert_eq!(seen(PING, ACK).unwrap().payload, b"12345678");
    raw.goaway(0, Reason::NO_ERROR, "bye");
    assert!(raw.ended().iter().all(|frame| frame.kind != HEADERS));
}

#[test]
fn what_no_library_sends_arrives() {
    // Upper case, CR and LF, an unknown pseudo field, and padding that is longer than the frame.
    let upper = hpack::literal("X-Upper", "1");
    let lines = hpack::literal("x-lines", "1\r\nx: 2");
    let pseudo = hpack::literal(":unknown", "1");
    for block in [upper, lines, pseudo] {
        let mut raw = Raw::open(server());
        raw.request(1, &[], 0)
            .continuation(1, block, END_HEADERS | END_STREAM);
        raw.try_send(frame::bytes(PING, 0, 0, [0; 8])).unwrap();
        let wrong = raw.wait("an error", |frame| ![HEADERS, DATA].contains(&frame.kind));
        let codes = [Reason::PROTOCOL_ERROR, Reason::COMPRESSION_ERROR];
        assert!(
            codes
                .map(u32::from)
                .contains(&wrong.number(wrong.payload.len() - 4))
        );
    }
    let mut raw = Raw::open(server());
    raw.send_frame(DATA, PADDED, 1, [9, 0]);
    assert_eq!(raw.expect_goaway().1, Reason::PROTOCOL_ERROR);
}
