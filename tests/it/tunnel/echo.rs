//! The embedded echo upstream.

use wsgate::reason::Reason;

use super::{Open, closed, open};
use crate::harness::client::text_frame;
use crate::harness::{Client, Setup, handshake};

#[test]
fn it_sends_text_and_binary_messages_back() {
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls("\"builtin:echo\""));
    let text = client.send(text_frame("hello")).receive(7);
    assert_eq!(text, b"\x81\x05hello");
    let mut binary = text_frame("\u{1}\u{2}");
    binary[0] = 0x82;
    assert_eq!(client.send(binary).receive(4), b"\x82\x02\x01\x02");
    let mut ping = text_frame("ping");
    ping[0] = 0x89;
    assert_eq!(client.send(ping).receive(6), b"\x8a\x04ping");
    let mut close = text_frame("\u{3}\u{e8}");
    close.splice(0..6, [0x88, 0x82, 1, 2, 3, 4]);
    // 1000, masked.
    close.truncate(6);
    close.extend([0x03 ^ 1, 0xe8 ^ 2]);
    assert_eq!(client.send(close).receive(4), b"\x88\x02\x03\xe8");
    assert_eq!(client.rest(), b"");
    client.finish();
    let line = closed(&mut proxy, Reason::UpstreamEof);
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
    // An unmasked frame.
    client.send(b"\x81\x02hi");
    client.rest();
    client.finish();
    closed(&mut proxy, Reason::UpstreamEof);
    let mut client = super::tunnel(&proxy, false);
    assert_eq!(
        client.send(text_frame("hello")).receive(7),
        b"\x81\x05hello"
    );
}

#[test]
fn a_large_message_comes_back_whole() {
    const SIZE: usize = 1024 * 1024;
    let Open {
        proxy: _proxy,
        mut client,
    } = open(&Setup::tls("\"builtin:echo\""));
    let mut frame = vec![0x82, 0xff];
    frame.extend((SIZE as u64).to_be_bytes());
    // A mask of zeros leaves the payload as it is.
    frame.extend([0; 4]);
    let payload: Vec<u8> = (0..253).cycle().take(SIZE).collect();
    frame.extend(&payload);
    let back = client.send(frame).receive(10 + SIZE);
    assert_eq!(back[..2], [0x82, 0x7f]);
    assert!(back[10..] == payload);
}
