//! The times in records, and what a refused client sees.

use std::time::{Duration, Instant, SystemTime};

use wsgate::reason::Reason;

use crate::harness::client::is_read;
use crate::harness::frames::{CLOSE, closing, echoes, masked, read};
use crate::harness::upstream::Nobody;
use crate::harness::{Client, Line, Origin, Setup, Upstream, eventually, handshake};

/// Long enough to be recognised in a record, and twice as long as the record must show, because the proxy may notice
/// late.
const PAUSE: Duration = Duration::from_millis(300);

fn pause() {
    std::thread::sleep(PAUSE);
}

fn millis(duration: Duration) -> Option<u64> {
    duration.as_millis().try_into().ok()
}

#[test]
fn a_tunnel_tells_when_it_ended_and_how_long_it_waited_after_that() {
    let upstream = Upstream::echo();
    let setup = Setup {
        websocket: "idle_timeout: 300ms".to_owned(),
        limits: "close_wait: 700ms".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let mut proxy = setup.start();
    let mut client = Client::tls(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    echoes(&mut client, "hello");
    let told = read(&mut client).unwrap();
    let heard = SystemTime::now();
    assert_eq!(told, (CLOSE, closing(1001, "idle_timeout")));
    // No answer.
    let line = proxy.terminal().expect(Reason::IdleTimeout);
    assert!(line.number("close_wait_ms") >= Some(700), "{line:?}");
    assert!(line.number("lasted_ms") >= Some(1000), "{line:?}");
    // The times in records are truncated to milliseconds.
    let ended = line.time("ended_at");
    assert!(ended <= heard, "{line:?}");
    let opened = proxy.event("opened").time("time");
    assert!(
        ended + Duration::from_millis(1) >= opened + PAUSE,
        "{line:?}"
    );
    assert!(
        line.time("time") >= ended + Duration::from_millis(700),
        "{line:?}"
    );
    drop(client);
    upstream.all_ended();
}

#[test]
fn a_close_that_is_answered_late_is_told_with_its_own_time() {
    let upstream = Upstream::start(|mut call| {
        call.switch("");
        let close = masked(CLOSE, closing(1000, ""));
        call.receive(close.len());
        pause();
        call.write(crate::harness::frames::plain(CLOSE, closing(1000, "")));
    });
    let mut proxy = Setup::plain(&upstream.url()).start();
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    client.send(masked(CLOSE, closing(1000, "")));
    assert_eq!(read(&mut client).unwrap(), (CLOSE, closing(1000, "")));
    let line = proxy.terminal().expect(Reason::ClientClose);
    assert!(line.number("close_wait_ms") >= millis(PAUSE), "{line:?}");
    assert!(line.number("idle_ms") <= line.number("lasted_ms"));
}

/// Sends a request and reads its answer; gives its record, and the longest time that it can have taken.
#[track_caller]
fn ask(
    proxy: &mut crate::harness::Proxy,
    client: &mut Client,
    pieces: &[&str],
) -> (Line, Duration) {
    let begun = Instant::now();
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            eventually("the last piece to be read", || {
                is_read(client.tcp()).then_some(())
            });
            pause();
        }
        client.send(piece);
    }
    client.response();
    let took = begun.elapsed();
    (proxy.terminal(), took)
}

#[test]
fn a_refusal_tells_how_long_its_request_took() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let setup = Setup {
        routes: "  - path: /api/*\n    http: { methods: [GET] }\n    upstream: app\n".to_owned(),
        ..Setup::plain(&origin.url())
    };
    let mut proxy = setup.start();
    let foreign = handshake("/ws", &[("Origin", "https://evil.example")]);
    let (begin, rest) = foreign.split_at(10);

    // From the connection on, however late the first byte comes. A later client's answer shows that this one was
    // accepted.
    let begun = Instant::now();
    let mut client = Client::plain(proxy.address());
    let mut other = Client::plain(proxy.address());
    assert_eq!(other.send(&foreign).response().status, 403);
    proxy.terminal();
    pause();
    client.send(&foreign);
    assert_eq!(client.response().status, 403);
    let took = begun.elapsed();
    let line = proxy.terminal().expect(Reason::OriginNotAllowed);
    assert!(line.number("lasted_ms") >= millis(PAUSE / 2), "{line:?}");
    assert!(line.number("lasted_ms") <= millis(took), "{line:?}");

    // A further request counts from its first byte.
    let mut client = Client::plain(proxy.address());
    let get = "GET /api/a HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    let (line, _) = ask(&mut proxy, &mut client, &[get]);
    assert_eq!(line.text("event"), "request");
    pause();
    pause();
    let (line, took) = ask(&mut proxy, &mut client, &[begin, rest]);
    let line = line.expect(Reason::OriginNotAllowed);
    assert!(line.number("lasted_ms") >= millis(PAUSE / 2), "{line:?}");
    assert!(line.number("lasted_ms") <= millis(took), "{line:?}");
}

#[test]
fn a_request_sent_ahead_of_an_answer_counts_from_its_own_first_byte() {
    let origin = Origin::start(|ask| {
        pause();
        ask.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let setup = Setup {
        routes: "  - path: /api/*\n    http: { methods: [GET] }\n    upstream: app\n".to_owned(),
        ..Setup::plain(&origin.url())
    };
    let mut proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    let get = "GET /api/a HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    let delete = get.replace("GET", "DELETE");
    client.send(format!("{get}{delete}"));
    assert_eq!(client.response().status, 200);
    assert_eq!(client.response().status, 405);
    assert_eq!(proxy.terminal().text("event"), "request");
    let line = proxy.terminal().expect(Reason::HttpMethodNotAllowed);
    assert!(line.number("lasted_ms") >= millis(PAUSE), "{line:?}");
}

#[test]
fn an_explained_refusal_does_not_count_how_long_its_client_takes_to_answer() {
    let upstream = Upstream::echo();
    let setup = Setup {
        websocket: "explain_refusals: true".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let mut proxy = setup.start();
    let begun = Instant::now();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[("Origin", "https://evil.example")]));
    assert_eq!(client.response().status, 101);
    let close = closing(1008, "origin_not_allowed");
    assert_eq!(read(&mut client).unwrap(), (CLOSE, close.clone()));
    let took = begun.elapsed();
    pause();
    client.send(masked(CLOSE, close));
    client.rest();
    let line = proxy.terminal().expect(Reason::OriginNotAllowed);
    assert!(line.number("lasted_ms") <= millis(took), "{line:?}");
    assert_eq!(line.number("client_sees"), Some(1008));
}

#[test]
fn a_refused_handshake_is_1006_and_a_refused_plain_request_is_none() {
    let nobody = Nobody::new();
    let setup = Setup {
        routes: "  - path: /api/*\n    http: { methods: [GET] }\n    upstream: app\n".to_owned(),
        ..Setup::plain(&nobody.url())
    };
    let mut proxy = setup.start();
    let plain = |head: &str| format!("{head}\r\nHost: api.example.com\r\n\r\n");
    for (request, sees) in [
        (
            handshake("/ws", &[("Origin", "https://evil.example")]),
            true,
        ),
        (handshake("/nothing", &[]), true),
        (handshake("/ws", &[]), true),
        (handshake("/ws", &[("Sec-WebSocket-Version", "12")]), true),
        // In a head that can't be parsed, the proxy looks for the fields of a handshake.
        (handshake("/ws", &[]).replace("Host:", "Host :"), true),
        (handshake("/ws", &[]).replace("HTTP/1.1", "HTTP/1.0"), true),
        (plain("GET /ws HTTP/1.1"), false),
        (plain("GET /nothing HTTP/1.1"), false),
        (plain("DELETE /api/a HTTP/1.1"), false),
        (plain("GET /api/a HTTP/1.1"), false),
        (plain("GET /a HTTP/1.1").replace("Host:", "Host :"), false),
        (plain("GET /a HTTP/1.2"), false),
        // These connections end before a head is complete.
        (String::new(), true),
        ("GET /ws HTTP/1.1\r\nHost: a".to_owned(), true),
        ("\x01\x02\x03\r\n\r\n".to_owned(), true),
        ("\x16\x03\x01\x02\0\x01\0\x01\0".to_owned(), true),
    ] {
        let mut client = Client::plain(proxy.address());
        client.send(&request).finish();
        client.rest();
        let line = proxy.terminal();
        assert_eq!(line.text("event"), "refused", "{request:?} {line:?}");
        let expected = sees.then_some(1006);
        assert_eq!(line.number("client_sees"), expected, "{request:?} {line:?}");
        assert!(line.number("lasted_ms").is_some(), "{line:?}");
    }
}
