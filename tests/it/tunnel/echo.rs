//! The embedded echo upstream.

use wsgate::reason::Reason;

use super::{Open, closed, open};
use crate::harness::frames::{
    BINARY, CLOSE, PING, PONG, TEXT, closing, echoes, masked, plain, read,
};
use crate::harness::{Client, Setup, handshake};

#[test]
fn it_sends_text_and_binary_messages_back() {
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls("\"builtin:echo\""));
    for (sent, first, payload) in [
        (TEXT, TEXT, &b"hello"[..]),
        (BINARY, BINARY, b"\x01\x02"),
        (PING, PONG, b"ping"),
        (CLOSE, CLOSE, &closing(1000, "")),
    ] {
        let back = plain(first, payload);
        let came = client.send(masked(sent, payload)).receive(back.len());
        assert_eq!(came, back);
    }
    assert_eq!(client.rest(), b"");
    client.finish();
    let line = closed(&mut proxy, Reason::ClientClose);
    assert_eq!(line.0["attempts"][0]["endpoint"], "builtin:echo");
    assert_eq!(line.0["attempts"][0]["outcome"], "connected");
}

#[test]
fn it_agrees_to_the_first_subprotocol_that_is_offered() {
    let proxy = Setup::plain("\"builtin:echo\"").start();
    let mut client = Client::plain(proxy.address());
    let changes = [("Sec-WebSocket-Protocol", "chat, voice")];
    let response = client.send(handshake("/ws", &changes)).response();
    assert_eq!(response.status, 101);
    assert_eq!(response.field("sec-websocket-protocol"), Some("chat"));
    assert_eq!(proxy.event("opened").notes(), [""; 0]);
}

#[test]
fn a_client_that_breaks_the_protocol_ends_the_echo_and_not_the_proxy() {
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::plain("\"builtin:echo\""));
    // Invalid as text, which only a reader of payloads would notice.
    client.send(masked(TEXT, b"\xff\xfe"));
    client.rest();
    client.finish();
    closed(&mut proxy, Reason::UpstreamEofNoClose);
    let mut client = super::tunnel(&proxy, false);
    echoes(&mut client, "hello");
}

#[test]
fn a_large_message_comes_back_whole() {
    const SIZE: usize = 1024 * 1024;
    let Open {
        proxy: _proxy,
        mut client,
    } = open(&Setup::tls("\"builtin:echo\""));
    let payload: Vec<u8> = (0..253).cycle().take(SIZE).collect();
    client.send(masked(BINARY, &payload));
    assert!(read(&mut client).unwrap() == (BINARY, payload));
}
