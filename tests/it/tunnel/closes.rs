//! Close frames of the peers: whose came first, with which code, and the record of it.

use wsgate::reason::Reason;

use super::{Open, closed, hold, open, switching};
use crate::harness::frames::{BINARY, CLOSE, TEXT, closing, echoes, masked, plain, read};
use crate::harness::{Line, Setup, Upstream};

/// The payload of a Close frame; empty for 1005.
fn payload(code: u16) -> Vec<u8> {
    match code {
        1005 => Vec::new(),
        code => closing(code, "bye"),
    }
}

/// The client closes; the upstream echoes.
#[track_caller]
fn by_client(code: u16, reason: Reason) -> Line {
    let upstream = Upstream::echo();
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls(&upstream.url()));
    echoes(&mut client, "hello");
    client.send(masked(CLOSE, payload(code)));
    assert_eq!(read(&mut client).unwrap(), (CLOSE, payload(code)));
    assert_eq!(client.rest(), b"");
    let line = closed(&mut proxy, reason);
    assert_eq!(line.text("first_close"), "client");
    for side in ["client", "upstream"] {
        assert_eq!(
            line.number(&format!("close_code_{side}")),
            Some(code.into())
        );
        let words = if code == 1005 { "" } else { "bye" };
        assert_eq!(line.text(&format!("close_reason_{side}")), words);
    }
    assert_eq!(line.number("close_code_proxy"), None);
    assert_eq!(line.number("messages_client_to_upstream"), Some(1));
    assert_eq!(line.number("messages_upstream_to_client"), Some(1));
    upstream.all_ended();
    line
}

/// The upstream sends a message and closes; the client echoes.
#[track_caller]
fn by_upstream(code: u16, reason: Reason) -> Line {
    let upstream = switching(move |mut call| {
        call.write(plain(TEXT, "hello"));
        call.write(plain(CLOSE, payload(code)));
        assert_eq!(read(&mut call.socket).unwrap(), (CLOSE, payload(code)));
        call.finish().drain();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls(&upstream.url()));
    assert_eq!(read(&mut client).unwrap(), (TEXT, b"hello".to_vec()));
    assert_eq!(read(&mut client).unwrap(), (CLOSE, payload(code)));
    client.send(masked(CLOSE, payload(code)));
    assert_eq!(client.rest(), b"");
    let line = closed(&mut proxy, reason);
    assert_eq!(line.text("first_close"), "upstream");
    assert_eq!(line.number("close_code_upstream"), Some(code.into()));
    assert_eq!(line.number("close_code_client"), Some(code.into()));
    upstream.all_ended();
    line
}

pub fn client_close() -> Line {
    let line = by_client(1000, Reason::ClientClose);
    assert_eq!(line.number("client_sees"), Some(1000));
    line
}

pub fn client_going_away() -> Line {
    by_client(1001, Reason::ClientGoingAway)
}

pub fn upstream_close() -> Line {
    let line = by_upstream(1000, Reason::UpstreamClose);
    assert_eq!(line.number("client_sees"), Some(1000));
    line
}

pub fn upstream_close_policy() -> Line {
    by_upstream(1008, Reason::UpstreamClosePolicy)
}

pub fn upstream_close_too_big() -> Line {
    by_upstream(1009, Reason::UpstreamCloseTooBig)
}

pub fn upstream_close_error() -> Line {
    by_upstream(1011, Reason::UpstreamCloseError)
}

pub fn upstream_close_restart() -> Line {
    by_upstream(1012, Reason::UpstreamCloseRestart)
}

pub fn reserved_close_code_on_wire() -> Line {
    let line = by_upstream(1006, Reason::ReservedCloseCodeOnWire)
        .with_detail("the upstream sent close code 1006");
    assert_eq!(line.text("by"), "upstream");
    assert_eq!(line.number("client_sees"), Some(1006));
    line
}

#[test]
fn every_code_has_its_reason() {
    for (code, reason) in [
        (1005, Reason::ClientClose),
        (1003, Reason::ClientClose),
        (3000, Reason::ClientClose),
        (4999, Reason::ClientClose),
    ] {
        by_client(code, reason);
    }
    let line = by_client(1015, Reason::ReservedCloseCodeOnWire);
    assert_eq!(line.text("by"), "client");
    for (code, reason) in [
        // A message came before it, so it is not a disguised refusal.
        (1005, Reason::UpstreamClose),
        (1001, Reason::UpstreamClose),
        (3001, Reason::UpstreamClose),
        (3000, Reason::UpstreamClosePolicy),
        (3003, Reason::UpstreamClosePolicy),
        (4000, Reason::UpstreamClosePolicy),
        (4999, Reason::UpstreamClosePolicy),
        (1002, Reason::UpstreamCloseError),
        (1003, Reason::UpstreamCloseError),
        (1007, Reason::UpstreamCloseError),
        (1010, Reason::UpstreamCloseError),
        (1014, Reason::UpstreamCloseError),
        (1013, Reason::UpstreamCloseRestart),
        (999, Reason::ReservedCloseCodeOnWire),
        (1004, Reason::ReservedCloseCodeOnWire),
        (1015, Reason::ReservedCloseCodeOnWire),
        (1016, Reason::ReservedCloseCodeOnWire),
        (2999, Reason::ReservedCloseCodeOnWire),
        (5000, Reason::ReservedCloseCodeOnWire),
    ] {
        let line = by_upstream(code, reason);
        let seen = if code == 1015 { 1006 } else { code };
        assert_eq!(line.number("client_sees"), Some(seen.into()), "{line:?}");
    }
}

pub fn upstream_close_immediate() -> Line {
    let upstream = switching(|mut call| {
        call.write(plain(CLOSE, "")).drain();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls(&upstream.url()));
    assert_eq!(read(&mut client).unwrap(), (CLOSE, Vec::new()));
    client.send(masked(CLOSE, ""));
    assert_eq!(client.rest(), b"");
    let line = closed(&mut proxy, Reason::UpstreamCloseImmediate);
    assert_eq!(line.number("client_sees"), Some(1005));
    line
}

pub fn close_handshake_timeout() -> Line {
    never_answered(true)
}

#[test]
fn a_close_that_the_client_does_not_answer_is_its_doing() {
    never_answered(false);
}

/// One side closes, and the other goes on normally.
fn never_answered(client_closes: bool) -> Line {
    let (held, wait) = hold();
    let upstream = switching(move |mut call| {
        if !client_closes {
            call.write(plain(CLOSE, closing(4001, "")));
        }
        wait();
    });
    let setup = Setup {
        limits: "close_wait: 300ms".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let Open {
        mut proxy,
        mut client,
    } = open(&setup);
    if client_closes {
        client.send(masked(CLOSE, closing(1000, "")));
    }
    let rest = client.rest();
    let line = closed(&mut proxy, Reason::CloseHandshakeTimeout);
    drop(held);
    if client_closes {
        assert_eq!(rest, b"");
        assert_eq!(line.text("by"), "upstream");
        assert_eq!(line.number("client_sees"), Some(1006));
        line.with_detail("the upstream did not answer the client's Close within 300ms")
    } else {
        assert_eq!(rest, plain(CLOSE, closing(4001, "")));
        assert_eq!(line.text("by"), "client");
        assert_eq!(line.number("client_sees"), Some(4001));
        line.with_detail("the client did not answer the upstream's Close within 300ms")
    }
}

#[test]
fn what_follows_a_close_goes_nowhere() {
    let upstream = switching(|mut call| {
        let message = masked(BINARY, "last");
        let close = masked(CLOSE, closing(1000, ""));
        assert_eq!(call.drain(), [message, close].concat());
        call.write(plain(CLOSE, closing(1000, "")));
        call.write(plain(TEXT, "late"));
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls(&upstream.url()));
    let request = b"GET /internal HTTP/1.1\r\n\r\n";
    client.send(masked(BINARY, "last"));
    client.send([&masked(CLOSE, closing(1000, ""))[..], request].concat());
    client.finish();
    assert_eq!(client.rest(), plain(CLOSE, closing(1000, "")));
    let line = closed(&mut proxy, Reason::ClientClose);
    assert!(line.notes().contains(&"bytes_after_close"), "{line:?}");
    assert_eq!(line.0["notes"][0]["detail"], "26 bytes from the client");
    upstream.all_ended();
}

#[test]
fn a_client_that_fails_the_connection_sees_1006() {
    // As browsers do with text that is not UTF-8: they report another code than they send.
    let line = by_client(1007, Reason::ClientClose);
    assert_eq!(line.number("client_sees"), Some(1006));
    assert!(line.text("hint").contains("1007"), "{line:?}");
}

#[test]
fn a_close_between_the_fragments_of_a_message_is_one() {
    let upstream = switching(|mut call| {
        call.write(plain(0x01, "begun"));
        call.write(plain(CLOSE, closing(4000, "")));
        call.drain();
    });
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::plain(&upstream.url()));
    assert_eq!(client.receive(7), plain(0x01, "begun"));
    assert_eq!(read(&mut client).unwrap(), (CLOSE, closing(4000, "")));
    client.send(masked(CLOSE, closing(4000, "")));
    let line = closed(&mut proxy, Reason::UpstreamClosePolicy);
    assert_eq!(line.number("messages_upstream_to_client"), Some(0));
}

#[test]
fn how_long_nothing_had_passed_before_a_close_is_told() {
    let upstream = Upstream::echo();
    let Open {
        mut proxy,
        mut client,
    } = open(&Setup::tls(&upstream.url()));
    echoes(&mut client, "hello");
    std::thread::sleep(std::time::Duration::from_millis(400));
    client.send(masked(CLOSE, closing(1001, "")));
    client.rest();
    let line = closed(&mut proxy, Reason::ClientGoingAway);
    assert!(line.number("idle_ms") >= Some(400), "{line:?}");
}
