//! Where a head ends, how large and how slow it may be, and how it may be split.

use std::io::{Read, Write};
use std::time::Duration;

use wsgate::reason::Reason;

use super::guard::Guard;
use crate::harness::client::try_socket;
use crate::harness::proxy::{is_terminal, spelled};
use crate::harness::{Client, Setup, eventually, handshake};

/// `limits.header_bytes` in these tests: the smallest allowed value.
const LIMIT: usize = 8192;

fn limited() -> Guard {
    Guard::start(|endpoint| Setup {
        limits: format!("header_bytes: {LIMIT}"),
        ..Setup::tls(endpoint)
    })
}

/// The usual handshake, padded to `length` bytes.
fn padded(length: usize) -> String {
    let bare = handshake("/ws", &[("X-Pad", "p")]).len() - 1;
    let head = handshake("/ws", &[("X-Pad", &"p".repeat(length - bare))]);
    assert_eq!(head.len(), length);
    head
}

#[test]
fn a_head_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    let mut guard = limited();
    guard.admit(padded(LIMIT));
    // The limit applies to the head: an empty line before it does not count, and neither do bytes after it.
    guard.admit(format!("\r\n{}", padded(LIMIT)));
    guard.refuse(padded(LIMIT) + "early", Reason::HttpEarlyData);
    let refused = guard.refuse(padded(LIMIT + 1), Reason::HttpTooLarge);
    assert_eq!(refused.response.status, 431);
    // The head may be cut anywhere, or not at all.
    for cut in [1, 2, 3, 4, LIMIT / 2] {
        let whole = padded(LIMIT + 1);
        let (head, tail) = whole.split_at(whole.len() - cut);
        let mut client = guard.client();
        client.send(head).send(tail);
        guard.refused(client, Reason::HttpTooLarge);
    }
    guard.refuse(&padded(2 * LIMIT)[..LIMIT + 1], Reason::HttpTooLarge);
}

#[test]
fn a_target_over_the_limit_is_414() {
    let mut guard = limited();
    let long = format!("/ws?token={}", "t".repeat(LIMIT));
    for head in [handshake(&long, &[]), format!("GET {long}")] {
        let refused = guard.refuse(head, Reason::HttpTooLarge);
        assert_eq!(refused.response.status, 414);
        assert!(!refused.line.0.to_string().contains("ttt"));
    }
}

/// The parser below has a limit of 64 KiB, however large ours is.
#[test]
fn a_target_that_the_parser_cannot_take_is_refused_in_our_words() {
    let mut guard = Guard::start(|endpoint| Setup {
        limits: "header_bytes: 1MiB".to_owned(),
        ..Setup::tls(endpoint)
    });
    let target = |length: usize| format!("/ws?{}", "q".repeat(length - 4));
    guard.admit(handshake(&target(65_534), &[]));
    let refused = guard.refuse(handshake(&target(65_535), &[]), Reason::HttpTooLarge);
    assert_eq!(refused.response.status, 414);
    let long_name = "n".repeat(65_536);
    let refused = guard.refuse(
        handshake("/ws", &[(&long_name, "v")]),
        Reason::HttpMalformed,
    );
    assert_eq!(refused.line.text("path"), "/ws");
    assert_eq!(refused.line.text("host"), "api.example.com");
    guard.admit(handshake("/ws", &[("Cookie", &"c".repeat(500_000))]));
}

#[test]
fn a_hundred_fields_pass_and_one_more_does_not() {
    let mut guard = Guard::tls();
    let own = handshake("/ws", &[]).lines().count() - 2;
    for (fields, expected) in [
        (100, "allow"),
        (101, "http_too_large"),
        (1000, "http_too_large"),
    ] {
        let more = vec![("X-A", "b"); fields - own];
        let verdict = guard.verdict(handshake("/ws", &more));
        assert_eq!(verdict, expected, "{fields} fields");
    }
}

#[test]
fn a_head_may_come_byte_by_byte() {
    for mut guard in [Guard::tls(), Guard::plain()] {
        let mut client = guard.client();
        for byte in handshake("/ws?a=b", &[]).bytes() {
            client.send([byte]);
        }
        let admitted = guard.outcome(client).ok().unwrap();
        assert!(admitted.head.starts_with("GET /ws?a=b HTTP/1.1\r\n"));
    }
}

/// The deadline applies to the whole head: single bytes do not extend it.
#[test]
fn a_head_that_trickles_is_refused_at_the_deadline() {
    let patience = Duration::from_millis(300);
    for secure in [true, false] {
        let mut guard = Guard::start(|endpoint| Setup {
            limits: format!("request_head: {}", spelled(patience)),
            ..if secure {
                Setup::tls(endpoint)
            } else {
                Setup::plain(endpoint)
            }
        });
        let mut client = guard.client();
        client.send("GET /ws HTTP/1.1\r\nX-Slow: ");
        eventually("the proxy to have enough", || {
            client.send("s");
            let lines = guard.proxy.lines();
            lines.iter().any(is_terminal).then_some(())
        });
        let refused = guard.refused(client, Reason::HttpHeaderTimeout);
        assert_eq!(refused.response.status, 408);
        if secure {
            // On a plain port the deadline starts when the connection is accepted, but head_ms does not.
            let took = Duration::from_millis(refused.line.number("head_ms").unwrap());
            assert!(took >= patience, "{took:?}");
        }
    }
}

#[test]
fn half_a_head_and_then_the_end_or_a_reset() {
    for mut guard in [Guard::tls(), Guard::plain()] {
        let head = handshake("/ws?token=hidden", &[("Cookie", "session=hidden")]);
        for cut in [1, 3, 20, 60, head.len() - 1] {
            let mut client = guard.client();
            client.send(&head[..cut]).finish();
            assert_eq!(client.rest(), b"");
            let line = guard.proxy.terminal().expect(Reason::HttpHeadIncomplete);
            let line = line.with_detail(&format!(
                "{cut} bytes came, then the connection ended: they begin like a request"
            ));
            assert!(!line.0.to_string().contains("hidden"), "{line:?}");

            let mut client = guard.client();
            client.send(&head[..cut]);
            // The proxy must have read the bytes before the reset, which could overtake them.
            eventually("the proxy to read", || {
                crate::harness::client::is_read(client.tcp()).then_some(())
            });
            client.reset();
            guard.proxy.terminal().expect(Reason::TcpResetBeforeRequest);
        }
        guard.expect_untouched();
    }
}

/// A client that has closed its sending side still reads its answer.
#[test]
fn a_client_that_half_closes_after_a_bad_request_gets_its_answer() {
    let bad = [
        (
            handshake("/ws", &[]).replace("\r\n", "\n"),
            Reason::HttpMalformed,
        ),
        (handshake("/ws", &[("Origin", "null")]), Reason::OriginNull),
        (
            handshake("/ws", &[("Sec-WebSocket-Key", "")]),
            Reason::WsKeyMissing,
        ),
        (handshake("/nowhere", &[]), Reason::PathNotAllowed),
        (handshake("/ws", &[]) + "x", Reason::HttpEarlyData),
        (
            "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            Reason::HostNotAllowed,
        ),
    ];
    let mut guard = Guard::tls();
    for (head, reason) in &bad {
        let mut client = guard.client();
        client.send(head).finish();
        guard.refused(client, *reason);
    }
    let mut guard = Guard::plain();
    for (head, reason) in &bad[..5] {
        let mut client = guard.client();
        client.send(head).finish();
        guard.refused(client, *reason);
    }
}

/// A reset caused by the client's further bytes must not destroy the answer.
#[test]
fn a_client_that_sends_on_after_a_bad_request_gets_its_answer() {
    for mut guard in [Guard::tls(), Guard::plain()] {
        for (head, reason) in [
            (
                handshake("/ws", &[("Content-Length", "500000")]),
                Reason::HttpBodyOnUpgrade,
            ),
            ("BAD\r\n\r\n".to_owned(), Reason::HttpMalformed),
            (handshake("/nowhere", &[]), Reason::HttpEarlyData),
        ] {
            guard.refuse(head + &"b".repeat(500_000), reason);
        }
    }
}

/// A refused client that does not read its refusal, or that goes on sending, is disconnected.
#[test]
fn a_refused_client_that_stays_is_let_go() {
    let setup = Setup {
        limits: "connections: 1, close_wait: 300ms".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let mut proxy = setup.start();
    let mut stays = Client::plain(proxy.address());
    stays.send(handshake("/nowhere", &[]));
    proxy.terminal().expect(Reason::PathNotAllowed);
    eventually("its place", || {
        // The proxy may already have ended the connection.
        let _ = stays.write_all(b"x");
        let mut next = Client::Plain(try_socket(proxy.address()).ok()?);
        next.write_all(handshake("/ws", &[]).as_bytes()).ok()?;
        let mut first = [0];
        matches!(next.read(&mut first), Ok(1)).then_some(())
    });
}
