//! The path vectors over the wire, as raw bytes of the request target.

use wsgate::reason::Reason;

use crate::harness::{Setup, handshake};
use crate::http::guard::Guard;

const STREAM: &str = "/api/realtime-voice/stream";

fn guard() -> Guard {
    Guard::start(|endpoint| Setup {
        path: STREAM.to_owned(),
        routes: "  - path: /public/*\n    upstream: app\n    \
                 websocket: { origins: [https://app.example.com] }\n"
            .to_owned(),
        ..Setup::tls(endpoint)
    })
}

/// The usual handshake for a target of any bytes.
fn asking(target: &[u8]) -> Vec<u8> {
    let good = handshake("/", &[]);
    let rest = good.strip_prefix("GET /").unwrap();
    [b"GET ", target, rest.as_bytes()].concat()
}

#[test]
fn paths_are_compared_as_raw_bytes_over_the_wire() {
    let mut guard = guard();
    #[rustfmt::skip]
    let table: &[(&str, &[u8], &str)] = &[
        ("P1", b"/api/realtime-voice/stream", "allow"),
        ("P1", b"/api/realtime-voice/stream?token=x", "allow"),
        ("P2", b"/api/realtime-voice/stream/", "path_near_miss"),
        ("P2", b"/api/realtime-voice/stream/?token=x", "path_near_miss"),
        ("P3", b"/API/Realtime-Voice/Stream", "path_near_miss"),
        ("P4", b"//api/realtime-voice/stream", "path_ambiguous"),
        ("P4", b"/api//realtime-voice/stream", "path_ambiguous"),
        ("P5", b"/api/./realtime-voice/stream", "path_ambiguous"),
        ("P5", b"/x/../api/realtime-voice/stream", "path_ambiguous"),
        ("P5", b"/public/../admin", "path_ambiguous"),
        ("P5", b"/public/..", "path_ambiguous"),
        ("P6", b"/public/%2e%2e/admin", "path_ambiguous"),
        ("P6", b"/public/.%2E/admin", "path_ambiguous"),
        ("P6", b"/%2e/api/realtime-voice/stream", "path_ambiguous"),
        ("P7", b"/public/..%2fadmin", "path_ambiguous"),
        ("P7", b"/public/%2e%2e%2fadmin", "path_ambiguous"),
        ("P7", b"/api%2Frealtime-voice/stream", "path_ambiguous"),
        ("P8", b"/public/..\\admin", "path_ambiguous"),
        ("P8", b"/public/..%5cadmin", "path_ambiguous"),
        ("P8", b"\\api\\realtime-voice\\stream", "http_malformed"),
        ("P9", b"/public/%252e%252e%252fadmin", "path_ambiguous"),
        ("P9", b"/api/%2572ealtime", "path_ambiguous"),
        ("P10", b"/public/%c0%ae%c0%ae/admin", "path_ambiguous"),
        ("P10", b"/public/%c0%af", "path_ambiguous"),
        ("P10", b"/public/%e0%80%af", "path_ambiguous"),
        ("P10", b"/public/%f0%80%80%af", "path_ambiguous"),
        ("P11", b"/public/%u002e%u002e/", "path_ambiguous"),
        ("P11", b"/public/%uff0e", "path_ambiguous"),
        ("P11", "/public/\u{ff0e}\u{ff0e}/".as_bytes(), "path_ambiguous"),
        ("P11", "/public/..\u{ff0f}admin".as_bytes(), "path_ambiguous"),
        ("P11", "/public/..\u{2215}admin".as_bytes(), "path_ambiguous"),
        ("P11", b"/public/%EF%BC%8E%EF%BC%8E/", "path_ambiguous"),
        ("P11", b"/public/..%EF%BC%8Fadmin", "path_ambiguous"),
        ("P11", b"/public/..%E2%88%95admin", "path_ambiguous"),
        ("P12", b"/public/..;/admin", "path_ambiguous"),
        ("P12", b"/public;x/../admin", "path_ambiguous"),
        ("P12", b"/api/realtime-voice/stream;jsessionid=1", "path_ambiguous"),
        ("P12", b"/api/realtime-voice/stream%3b", "path_ambiguous"),
        ("P13", b"/api/realtime-voice/stream%00", "path_ambiguous"),
        ("P13", b"/api/realtime-voice/stream%00.txt", "path_ambiguous"),
        ("P13", b"/public/%0d%0aX:%20y", "path_ambiguous"),
        ("P13", b"/public/%09", "path_ambiguous"),
        ("P13", b"/api/realtime-voice/stream%20", "path_ambiguous"),
        ("P13", b"/public/\0", "http_malformed"),
        ("P13", b"/public/\x01", "http_malformed"),
        ("P13", b"/public/\t", "http_malformed"),
        ("P13", b"/public/ ", "http_malformed"),
        ("P13", b"/public/\x7f", "http_malformed"),
        ("P13", b"/public/\x80", "path_ambiguous"),
        ("P13", b"/public/\xff", "path_ambiguous"),
        ("P14", b"/api/%72ealtime-voice/stream", "path_ambiguous"),
        ("P14", b"/api/realtime%2Dvoice/stream", "path_ambiguous"),
        ("P15", b"/api/realtime-voice/%zz", "path_ambiguous"),
        ("P15", b"/public/%", "path_ambiguous"),
        ("P15", b"/public/%1", "path_ambiguous"),
        ("P16", b"/api/realtime-voice/stream#x", "http_malformed"),
        ("P16", b"/admin#/../public/", "http_malformed"),
        ("P17", b"/publicadmin", "path_not_allowed"),
        ("P17", b"/public", "path_not_allowed"),
        ("P17", b"/public/", "allow"),
        ("P17", b"/public/a/b?c", "allow"),
        // P18 has its own table, next to the other tests of the target.
        ("P19", b"*", "http_malformed"),
        ("P19", b"api/realtime-voice/stream", "http_malformed"),
        ("P19", b"evil.com:443", "http_malformed"),
        ("P19", b"", "http_malformed"),
        ("P20", b"/api/realtime-voice/stream?x=1?y=2", "allow"),
        ("P20", b"/api/realtime-voice/stream?/../admin", "allow"),
        ("P20", b"/api/realtime-voice/stream?a=%2f..%00%zz\\;//", "allow"),
        ("P20", b"/api/realtime-voice/stream?", "allow"),
        ("P21", b"/public/.../admin", "allow"),
        ("P21", b"/public/....//admin", "path_ambiguous"),
        ("P21", b"/public/..././admin", "path_ambiguous"),
        ("P22", b"/api/realtime-voice/stream/.websocket", "path_not_allowed"),
        ("-", b"/public/%E4%BD%A0%E5%A5%BD", "allow"),
        ("-", b"/public/%e4%bd%a0", "allow"),
        ("-", b"/public/a:b@c!$&'()*+,=~-._|^[]{}\"", "allow"),
        ("-", b"/", "path_not_allowed"),
    ];
    for (id, target, expected) in table {
        let shown = target.escape_ascii();
        match guard.ask(asking(target)) {
            Ok(admitted) => {
                assert_eq!("allow", *expected, "{id} {shown}");
                let line = admitted.head.split("\r\n").next().unwrap();
                let sent = format!("GET {} HTTP/1.1", std::str::from_utf8(target).unwrap());
                assert_eq!(line, sent, "{id}: the same bytes");
                let notes = admitted.opened.notes();
                let is_noted = notes.contains(&"query_second_question_mark");
                let marks = target.iter().filter(|byte| **byte == b'?').count();
                assert_eq!(is_noted, marks > 1, "{id} {notes:?}");
            }
            Err(refused) => {
                assert_eq!(refused.line.text("reason"), *expected, "{id} {shown}");
            }
        }
    }
}

/// P24: long targets need little time and little space in records.
#[test]
fn long_targets_are_decided_at_once() {
    let mut guard = Guard::start(|endpoint| Setup {
        limits: "header_bytes: 64KiB".to_owned(),
        path: "/public/*".to_owned(),
        ..Setup::tls(endpoint)
    });
    for (target, reason) in [
        (
            format!("/public/{}", "../".repeat(1000)),
            Reason::PathAmbiguous,
        ),
        (
            format!("/public/{}", "../".repeat(20_000)),
            Reason::PathAmbiguous,
        ),
        (format!("/{}", "a/".repeat(5000)), Reason::PathNotAllowed),
        (
            format!("/public/{}%", "%E4%BD%A0".repeat(7000)),
            Reason::PathAmbiguous,
        ),
        (format!("/{}", "a".repeat(70_000)), Reason::HttpTooLarge),
    ] {
        let refused = guard.refuse(handshake(&target, &[]), reason);
        let size = refused.line.0.to_string().len();
        assert!(size < 3000, "a record of {size} bytes for {target:.20}");
        assert!(refused.line.number("policy_ms").unwrap_or_default() < 1000);
        if reason == Reason::HttpTooLarge {
            assert_eq!(refused.response.status, 414);
        }
    }
    let long = format!("/public/{}", "a".repeat(9000));
    let head = guard.admit(handshake(&long, &[])).head;
    assert!(head.starts_with(&format!("GET {long} HTTP/1.1\r\n")));
}

/// The hint and the record name the route, but the answer does not list routes.
#[test]
fn a_refused_path_tells_its_client_nothing_of_the_others() {
    let mut guard = guard();
    for (path, reason) in [
        ("/api/realtime-voice/stream/v2", Reason::PathNotAllowed),
        ("/api/realtime-voice/streams", Reason::PathNearMiss),
        ("/API/realtime-voice/stream", Reason::PathNearMiss),
        ("/api//realtime-voice/stream", Reason::PathAmbiguous),
    ] {
        let refused = guard.refuse(handshake(path, &[]), reason);
        assert!(refused.line.text("hint").contains(STREAM), "{refused:?}");
        assert!(!refused.response.text().contains(STREAM), "{refused:?}");
    }
}

/// The README's routes: one for WebSockets, and one that serves all other paths for plain requests.
#[test]
fn a_near_miss_is_told_though_another_route_takes_its_path() {
    let mut guard = Guard::start(|endpoint| Setup {
        path: STREAM.to_owned(),
        routes: "  - path: /api/*\n    http: {}\n    upstream: app\n".to_owned(),
        ..Setup::tls(endpoint)
    });
    for path in [
        "/api/realtime-voice/stream/",
        "/api/realtime-voice/Stream",
        "/api/realtime-voice/strem",
        "/api/realtime-voice/stream/?token=x",
    ] {
        let refused = guard.refuse(handshake(path, &[]), Reason::PathNearMiss);
        assert_eq!(refused.response.status, 404);
        let answer = refused.response.text();
        assert!(!answer.contains("realtime"), "{answer}");
        let line = refused.line;
        assert!(line.text("hint").contains(STREAM), "{line:?}");
        let words =
            format!("the WebSocket route is {STREAM}, and /api/* does not accept handshakes");
        let line = line.with_detail(&words);
        assert_eq!(line.text("route"), "", "no route is what the client meant");
    }
    for path in ["/api/users", "/api/realtime-voice/other"] {
        let refused = guard.refuse(handshake(path, &[]), Reason::WebsocketNotAllowed);
        assert_eq!(refused.response.status, 404);
        assert_eq!(refused.line.text("route"), "/api/*");
    }
}
