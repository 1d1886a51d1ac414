//! Tunnels: what passes, and who ended them how.

use wsgate::reason::Reason;

use crate::harness::client::{ACCEPT, text_frame};
use crate::harness::{Client, Line, Setup, Upstream, handshake};

/// The client closes first, in order.
pub fn client_eof() -> Line {
    let upstream = Upstream::echo();
    let mut proxy = Setup::tls(&upstream.url()).start();
    let mut client = Client::tls(proxy.address());
    let response = client.send(handshake("/ws", &[])).response();
    assert_eq!(response.status, 101);
    assert_eq!(response.field("sec-websocket-accept"), Some(ACCEPT));
    let frame = text_frame("hello");
    assert_eq!(client.send(&frame).receive(frame.len()), frame);
    client.finish();
    assert_eq!(client.rest(), b"");
    let opened = proxy.event("opened");
    assert_eq!(opened.number("status"), Some(101));
    let closed = proxy.terminal();
    assert_eq!(closed.text("event"), "closed");
    assert_eq!(closed.text("conn"), opened.text("conn"));
    assert_eq!(
        closed.number("bytes_client_to_upstream"),
        Some(frame.len() as u64)
    );
    assert_eq!(
        closed.number("bytes_upstream_to_client"),
        Some(frame.len() as u64)
    );
    closed.expect(Reason::ClientEof)
}

#[test]
fn bytes_pass_and_the_record_says_who_ended() {
    client_eof();
}

pub fn client_reset() -> Line {
    todo!()
}

pub fn upstream_eof() -> Line {
    todo!()
}

pub fn upstream_reset() -> Line {
    todo!()
}

pub fn tls_truncated() -> Line {
    todo!()
}

pub fn tls_record_error() -> Line {
    todo!()
}

pub fn half_close_timeout() -> Line {
    todo!()
}

pub fn idle_timeout() -> Line {
    todo!()
}

pub fn client_write_stalled() -> Line {
    todo!()
}

pub fn upstream_write_stalled() -> Line {
    todo!()
}
