//! Connections that are kept for the upstream's next request, and requests that are sent twice.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wsgate::reason::Reason;

use super::{CHUNKED, get, outcomes, post, request, setup, start};
use crate::harness::upstream::Nobody;
use crate::harness::{Client, Origin, PATIENCE, eventually};

/// Whatever the kind of answer, its connection is used for the next request.
#[test]
fn one_connection_serves_request_after_request() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n2\r\nok\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n0\r\n\r\n"),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n0\r\nX-Sum: 0\r\n\r\n"),
    ];
    let count = answers.len();
    let origin = Origin::start(move |ask| {
        ask.body();
        ask.write(&answers[ask.place.1 % answers.len()]);
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    for number in 0..2 * count {
        client.send(post("/api/a", "hello"));
        let response = client.response_head();
        match response.field("transfer-encoding") {
            Some(_) if number % count == 2 => drop(client.receive(12)),
            Some(_) => drop(client.receive(5)),
            None if number % count == 0 => drop(client.receive(2)),
            None => {}
        }
        let line = proxy.terminal();
        assert_eq!(line.text("event"), "request");
        let expected = if number == 0 { "connected" } else { "reused" };
        assert_eq!(outcomes(&line), [expected], "{number}");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_upstream_that_says_close_is_dialled_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let origin = Origin::answering(answer);
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        for _ in 0..3 {
            client.send(get("/api/a"));
            let response = client.response();
            assert_eq!(response.text(), "ok");
            assert_eq!(response.field("connection"), None);
            assert_eq!(outcomes(&proxy.terminal()), ["connected"]);
        }
        origin.all_ended();
        assert_eq!(origin.connections(), 3);
    }
}

/// NTLM authenticates a connection, not a request: another client's request must not use it.
#[test]
fn a_connection_that_somebody_logged_in_on_is_not_shared() {
    for (asked, answered, is_kept) in [
        ("Authorization: NTLM TlRMTVNTUAAD", "", false),
        ("Authorization: negotiate YII=", "", false),
        ("", "WWW-Authenticate: Negotiate", false),
        ("", "WWW-Authenticate: Basic realm=\"a\", NTLM", false),
        ("Authorization: Bearer NTLM", "", true),
        (
            "Authorization: Basic YTpi",
            "WWW-Authenticate: Basic realm=\"NTLM\"",
            true,
        ),
    ] {
        let line = |field: &str| match field {
            "" => String::new(),
            field => format!("{field}\r\n"),
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\nok",
            line(answered)
        );
        let origin = Origin::start(move |ask| {
            ask.write(&answer);
        });
        let mut proxy = start(&origin, "");
        for _ in 0..2 {
            let mut client = Client::plain(proxy.address());
            client.send(request("GET", "/api/a", &line(asked)));
            assert_eq!(client.response().text(), "ok");
            proxy.terminal();
        }
        let expected = if is_kept { 1 } else { 2 };
        assert_eq!(origin.connections(), expected, "{asked} {answered}");
    }
}

/// The proxy closes it a second before the upstream would, without being asked.
#[test]
fn a_connection_is_given_up_before_the_upstream_does() {
    let (sender, ended) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::start(move |ask| {
        ask.write("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 2\r\n\r\nok");
        let answered = Instant::now();
        ask.drain();
        sender.lock().unwrap().send(answered.elapsed()).unwrap();
    });
    let proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    client.response();
    let kept = ended.recv_timeout(PATIENCE).unwrap();
    assert!(kept >= Duration::from_millis(900), "{kept:?}");
    assert!(kept < Duration::from_millis(1900), "{kept:?}");
}

/// The upstream closed it while it was idle: nothing of the next request was sent there, so any method may be repeated.
#[test]
fn a_kept_connection_that_the_upstream_has_closed() {
    for is_reset in [false, true] {
        let (sockets, waiting) = channel();
        let sockets = Mutex::new(sockets);
        let origin = Origin::start(move |ask| {
            let body = ask.body();
            ask.ok(body);
            let socket = ask.socket.try_clone().unwrap();
            sockets.lock().unwrap().send(socket).unwrap();
        });
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        for _ in 0..5 {
            client.send(post("/api/a", "hello"));
            assert_eq!(client.response().text(), "hello");
            proxy.terminal();
            let socket = waiting.recv_timeout(PATIENCE).unwrap();
            if is_reset {
                let none = Some(Duration::ZERO);
                socket2::SockRef::from(&socket).set_linger(none).unwrap();
            }
            socket.shutdown(std::net::Shutdown::Both).unwrap();
        }
        assert_eq!(origin.heads().len(), 5);
        assert_eq!(origin.connections(), 5);
    }
}

/// The first request on each connection is answered; the second is read and gets nothing.
fn dying() -> Origin {
    Origin::start(|ask| match ask.place {
        (0, 1) => ask.close(),
        _ => {
            let body = ask.body();
            ask.ok(body);
        }
    })
}

/// A request that was sent on a kept connection which then broke is repeated if that changes nothing.
#[test]
fn a_request_that_a_kept_connection_loses() {
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        let origin = dying();
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        client.send(get("/api/a"));
        client.response();
        proxy.terminal();
        client.send(request(method, "/api/b", ""));
        assert_eq!(client.response_head().status, 200, "{method}");
        let line = proxy.terminal();
        assert_eq!(line.text("event"), "request");
        assert_eq!(
            outcomes(&line),
            ["upstream_closed_before_response", "connected"],
            "{method}"
        );
        assert_eq!((origin.heads().len(), origin.connections()), (3, 2));
    }
    for method in ["POST", "PATCH"] {
        let origin = dying();
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        client.send(get("/api/a"));
        client.response();
        proxy.terminal();
        client.send(request(method, "/api/b", "Content-Length: 0\r\n"));
        assert_eq!(client.response().status, 502, "{method}");
        let line = proxy
            .terminal()
            .expect(Reason::UpstreamClosedBeforeResponse);
        assert_eq!(outcomes(&line), ["reused"]);
        assert_eq!(
            (origin.heads().len(), origin.connections()),
            (2, 1),
            "{method}"
        );
    }
}

/// A request whose body was read can't be sent again, whatever its method.
#[test]
fn a_body_is_not_sent_twice() {
    let origin = dying();
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    client.response();
    proxy.terminal();
    client.send(request("PUT", "/api/b", "Content-Length: 5\r\n") + "hello");
    assert_eq!(client.response().status, 502);
    proxy.terminal();
    assert_eq!((origin.heads().len(), origin.connections()), (2, 1));
}

/// Two endpoints; the proxy tries `first` first.
fn pair(first: &Origin, second: &str) -> crate::harness::Setup {
    setup(&format!("{}, {second}", first.url()), "")
}

#[test]
fn another_endpoint_is_asked_where_the_first_resets() {
    for method in ["GET", "POST"] {
        let asked: Arc<Mutex<usize>> = Arc::default();
        let counted = Arc::clone(&asked);
        // The endpoint that is tried first resets.
        let make = move || {
            let counted = Arc::clone(&counted);
            Origin::start(move |ask| {
                let number = {
                    let mut counted = counted.lock().unwrap();
                    *counted += 1;
                    *counted
                };
                match number {
                    1 => ask.reset(),
                    _ => ask.ok("second"),
                }
            })
        };
        let (one, other) = (make(), make());
        let mut proxy = pair(&one, &other.url()).start();
        let mut client = Client::plain(proxy.address());
        client.send(request(method, "/api/a", "Content-Length: 0\r\n"));
        let response = client.response();
        let line = proxy.terminal();
        if method == "GET" {
            assert_eq!(response.text(), "second");
            assert_eq!(outcomes(&line), ["upstream_reset_on_connect", "connected"]);
            assert_eq!(line.notes(), ["endpoint_skipped"]);
        } else {
            assert_eq!(response.status, 502);
            assert_eq!(outcomes(&line), ["connected"]);
        }
        let expected = if method == "GET" { 2 } else { 1 };
        assert_eq!(*asked.lock().unwrap(), expected);
    }
}

/// Nothing was sent to an endpoint that can't be connected to: any request goes to the next one, with its body.
#[test]
fn another_endpoint_is_asked_where_the_first_is_down() {
    let (nobody, origin) = (Nobody::new(), Origin::echo());
    let mut proxy = setup(&format!("{}, {}", nobody.url(), origin.url()), "").start();
    for _ in 0..4 {
        let mut client = Client::plain(proxy.address());
        client.send(post("/api/a", "hello"));
        assert_eq!(client.response().text(), "hello");
        assert_eq!(proxy.terminal().text("event"), "request");
    }
}

#[test]
fn nothing_is_repeated_after_a_byte_of_an_answer() {
    let make = || {
        Origin::start(|ask| {
            ask.write("H");
            ask.close();
        })
    };
    let (one, other) = (make(), make());
    let mut proxy = pair(&one, &other.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    assert_eq!(client.response().status, 502);
    proxy
        .terminal()
        .expect(Reason::UpstreamClosedBeforeResponse);
    assert_eq!(one.heads().len() + other.heads().len(), 1);
}

#[test]
fn kept_connections_are_closed_when_nobody_needs_them() {
    let origin = Origin::echo();
    let proxy = start(&origin, "");
    let mut clients: Vec<_> = (0..8).map(|_| Client::plain(proxy.address())).collect();
    for client in &mut clients {
        client.send(get("/api/a"));
    }
    for client in &mut clients {
        client.response();
    }
    assert!(origin.connections() <= 8);
    let begun = Instant::now();
    origin.all_ended();
    eventually("the end of all", || Some(()));
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
}
