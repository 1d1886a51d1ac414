//! The path vectors over the wire, as raw bytes of the request target.

use wsgate::reason::Reason;

use super::vectors;
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
    for vector in vectors::PATHS {
        let (id, target, expected) = (vector.id, vector.value, vector.wire);
        let shown = target.escape_ascii();
        match guard.ask(asking(target)) {
            Ok(admitted) => {
                assert_eq!("allow", expected, "{id} {shown}");
                let line = admitted.head.split("\r\n").next().unwrap();
                let sent = format!("GET {} HTTP/1.1", std::str::from_utf8(target).unwrap());
                assert_eq!(line, sent, "{id}: the same bytes");
                let notes = admitted.opened.notes();
                let is_noted = notes.contains(&"query_second_question_mark");
                let marks = target.iter().filter(|byte| **byte == b'?').count();
                assert_eq!(is_noted, marks > 1, "{id} {notes:?}");
            }
            Err(refused) => {
                assert_eq!(refused.line.text("reason"), expected, "{id} {shown}");
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
