//! Bodies in both directions: as they arrive, within bounds, and to their end.

use std::fs;
use std::io::{Read as _, Write};
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::{CHUNKED, get, request, start};
use crate::harness::{Client, Origin, PATIENCE, Proxy, eventually};

/// Far more than sockets, proxy and hyper can hold between two ends on this machine.
const LARGE: usize = 256 * 1024 * 1024;

/// The most that may be under way: the socket buffers of both sides, and a little more.
const ON_ITS_WAY: usize = 32 * 1024 * 1024;

/// The program's memory, in bytes.
fn memory(proxy: &Proxy) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: usize = line
        .split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib * 1024
}

/// Writes until nothing more is accepted for a while; gives the number of bytes.
fn write_until_full(socket: &mut std::net::TcpStream) -> usize {
    let timeout = Some(Duration::from_millis(700));
    socket.set_write_timeout(timeout).unwrap();
    let piece = vec![b'x'; 64 * 1024];
    let mut taken = 0;
    while taken < LARGE {
        match socket.write(&piece[..piece.len().min(LARGE - taken)]) {
            Ok(count) => taken += count,
            Err(_) => break,
        }
    }
    taken
}

/// An upstream that does not read holds up the client; when it reads again, everything arrives.
#[test]
fn an_upload_waits_for_the_upstream() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let origin = Origin::start(move |ask| {
        gone.lock().unwrap().recv_timeout(PATIENCE * 3).unwrap();
        let body = ask.body();
        ask.ok(body.len().to_string());
    });
    let mut proxy = start(&origin, "max_body: off");
    let before = memory(&proxy);
    let mut client = Client::plain(proxy.address());
    client.send(request(
        "POST",
        "/api/a",
        &format!("Content-Length: {LARGE}\r\n"),
    ));
    let Client::Plain(socket) = &mut client else {
        unreachable!()
    };
    let taken = write_until_full(socket);
    assert!(taken < ON_ITS_WAY, "{taken}");
    let grown = memory(&proxy).saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "{grown}");
    go.send(()).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&vec![b'x'; LARGE - taken]).unwrap();
    assert_eq!(client.response().text(), LARGE.to_string());
    assert_eq!(
        proxy.terminal().number("bytes_client_to_upstream"),
        Some(LARGE as u64)
    );
}

/// The same the other way.
#[test]
fn a_download_waits_for_the_client() {
    let (sender, taken) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::start(move |ask| {
        ask.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"
        ));
        let taken = write_until_full(&mut ask.socket);
        sender.lock().unwrap().send(taken).unwrap();
        ask.socket.set_write_timeout(Some(PATIENCE)).unwrap();
        ask.write(vec![b'x'; LARGE - taken]);
    });
    let mut proxy = start(&origin, "");
    let before = memory(&proxy);
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    let taken = taken.recv_timeout(PATIENCE * 3).unwrap();
    assert!(taken < ON_ITS_WAY, "{taken}");
    let grown = memory(&proxy).saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "{grown}");
    client.response_head();
    let mut left = LARGE;
    while left > 0 {
        let count = left.min(1024 * 1024);
        client.receive(count);
        left -= count;
    }
    assert_eq!(
        proxy.terminal().number("bytes_upstream_to_client"),
        Some(LARGE as u64)
    );
}

/// Each piece of a stream of events arrives before the next is written.
#[test]
fn pieces_pass_as_they_come() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let origin = Origin::start(move |ask| {
        ask.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{CHUNKED}\r\n"
        ));
        for number in 0..5 {
            ask.write(format!("5\r\npart{number}\r\n"));
            gone.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        ask.write("0\r\n\r\n");
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    client.response_head();
    for number in 0..5 {
        assert_eq!(
            client.receive(10),
            format!("5\r\npart{number}\r\n").as_bytes()
        );
        go.send(()).unwrap();
    }
    assert_eq!(client.receive(5), b"0\r\n\r\n");
    assert_eq!(
        proxy.terminal().number("bytes_upstream_to_client"),
        Some(25)
    );
}

/// The same for an upload, while the answer is also under way.
#[test]
fn a_conversation_in_both_directions() {
    let origin = Origin::start(|ask| {
        ask.write(format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n"));
        for _ in 0..3 {
            let mut chunk = [0; 8];
            std::io::Read::read_exact(&mut ask.socket, &mut chunk).unwrap();
            ask.write(chunk);
        }
        let (body, _) = ask.chunks();
        assert_eq!(body, b"");
        ask.write("0\r\n\r\n");
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(request("POST", "/api/a", CHUNKED));
    let mut is_first = true;
    for piece in ["abc", "def", "ghi"] {
        client.send(format!("3\r\n{piece}\r\n"));
        if std::mem::take(&mut is_first) {
            assert_eq!(client.response_head().status, 200);
        }
        assert_eq!(client.receive(8), format!("3\r\n{piece}\r\n").as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.receive(5), b"0\r\n\r\n");
    let line = proxy.terminal();
    assert_eq!(line.number("bytes_client_to_upstream"), Some(9), "{line:?}");
    assert_eq!(line.number("bytes_upstream_to_client"), Some(9));
}

/// An upstream that begins its answer and continues when the rest of the body arrives.
fn conversing() -> Origin {
    Origin::start(|ask| {
        ask.write(format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n"));
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut (&ask.socket).take(5), &mut rest);
        if rest == b"0\r\n\r\n" {
            ask.write("0\r\n\r\n");
        }
    })
}

/// An upstream that waits for the rest of the client's body is not silent.
#[test]
fn an_upstream_that_waits_for_the_client_is_not_silent() {
    let origin = conversing();
    let mut proxy = start(&origin, "idle_timeout: 300ms");
    let mut client = Client::plain(proxy.address());
    client.send(request("POST", "/api/a", CHUNKED));
    assert_eq!(client.response_head().status, 200);
    std::thread::sleep(Duration::from_millis(1000));
    client.send("0\r\n\r\n");
    assert_eq!(client.receive(5), b"0\r\n\r\n");
    let line = proxy.terminal();
    assert_eq!(line.text("reason"), "", "{line:?}");
}

/// A fault in the rest of a body is reported as such, even after the answer has begun.
#[test]
fn a_wrong_chunk_during_the_answer() {
    let origin = conversing();
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(request("POST", "/api/a", CHUNKED));
    assert_eq!(client.response_head().status, 200);
    client.send("zz\r\n");
    let line = proxy.terminal();
    assert_eq!(line.text("event"), "request", "{line:?}");
    assert_eq!(line.text("reason"), "http_framing_conflict", "{line:?}");
    assert_eq!(line.number("status"), Some(200), "{line:?}");
    assert!(line.text("detail").contains("hexadecimal"), "{line:?}");
    origin.all_ended();
}

/// Their heads may announce a body that does not follow (a 304 may); the next answer shows that none did.
#[test]
fn answers_without_a_body() {
    for (method, head, length) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
            Some("100"),
        ),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            None,
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", None),
        (
            "HEAD",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\n",
            Some("7"),
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", None),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
            None,
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
            None,
        ),
    ] {
        let origin = Origin::answering(head);
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        for _ in 0..2 {
            client.send(request(method, "/api/a", ""));
            let response = client.response_head();
            assert!(head.starts_with(&response.line[..12]), "{response:?}");
            assert_eq!(response.field("content-length"), length, "{head}");
            assert_eq!(proxy.terminal().text("event"), "request");
        }
        assert_eq!(origin.connections(), 1, "{head}");
    }
}

#[test]
fn interim_answers_are_not_the_answer() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(get("/api/a"));
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(proxy.terminal().notes(), ["upstream_interim"]);
}

/// From an HTTP/1.0 server, or one that does not know the length.
#[test]
fn an_answer_that_ends_with_its_connection() {
    for version in ["1.0", "1.1"] {
        let origin = Origin::start(move |ask| {
            ask.write(format!("HTTP/{version} 200 OK\r\n\r\nhello"));
            ask.close();
        });
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        for _ in 0..2 {
            client.send(get("/api/a"));
            let response = client.response();
            assert_eq!(response.field("transfer-encoding"), Some("chunked"));
            assert_eq!(response.text(), "hello");
            assert_eq!(proxy.terminal().text("reason"), "");
        }
    }
}

/// A broken answer must not look complete.
#[test]
fn an_answer_that_breaks_off() {
    for is_reset in [false, true] {
        let origin = Origin::start(move |ask| {
            ask.write(format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n5\r\nhello\r\n"));
            if is_reset { ask.reset() } else { ask.close() }
        });
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        client.send(get("/api/a"));
        assert!(client.response().text().ends_with("<cut>"));
        let line = proxy
            .terminal()
            .expect(wsgate::reason::Reason::UpstreamResponseCut);
        assert_eq!(line.number("status"), Some(200));
        assert_eq!(line.text("level"), "warn");
    }
}

#[test]
fn trailers_pass_both_ways() {
    let (sender, seen) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::start(move |ask| {
        let head = ask.head.clone();
        let came = ask.chunks();
        sender.lock().unwrap().send((head, came.1)).unwrap();
        ask.write(format!(
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\n{CHUNKED}\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\n\r\n"
        ));
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    let fields = format!("Connection: TE\r\nTE: trailers\r\nTrailer: X-Check\r\n{CHUNKED}");
    client.send(request("POST", "/api/a", &fields) + "3\r\nabc\r\n0\r\nX-Check: 3\r\n\r\n");
    let response = client.response_head();
    assert_eq!(response.field("trailer"), Some("X-Sum"));
    let expected = b"2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n";
    assert_eq!(
        client.receive(expected.len()).to_ascii_lowercase(),
        expected
    );
    let (head, trailers) = seen.recv_timeout(PATIENCE).unwrap();
    assert_eq!(trailers.to_ascii_lowercase(), "x-check: 3\r\n\r\n");
    let lower = head.to_ascii_lowercase();
    assert!(
        lower.contains("\r\nte: trailers\r\n") && lower.contains("\r\nconnection: te\r\n"),
        "{head}"
    );
    proxy.terminal();
}

/// Fields that only the head may contain, because a hop in front or the proxy writes them, are not accepted as
/// trailers.
#[test]
fn trailers_say_nothing_of_who_the_client_is() {
    let (sender, seen) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::start(move |ask| {
        let head = ask.head.clone();
        let came = ask.chunks();
        sender.lock().unwrap().send((head, came.1)).unwrap();
        ask.ok("ok");
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    let names = [
        "X-Forwarded-For",
        "X-WX-OPENID",
        "X_Real_IP",
        "X.Forwarded.For",
        "Content~Length",
        "Proxy",
        "X-Envoy-Internal",
        "Cookie",
        "Origin",
        "Via",
        "X-Request-ID",
        "Connection",
        "Sec-WebSocket-Key",
    ];
    let fields = format!(
        "Trailer: {}, X-Check\r\nTrailer: X-Other\r\n{CHUNKED}",
        names.join(", ")
    );
    let mut body = "3\r\nabc\r\n0\r\nX-Check: 3\r\nX-Other: 4\r\n".to_owned();
    for name in names {
        body += &format!("{name}: evil\r\n");
    }
    client.send(request("POST", "/api/a", &fields) + &body + "\r\n");
    let response = client.response();
    assert_eq!(response.text(), "ok");
    // The body is complete, so the connection is kept.
    assert_eq!(response.field("connection"), None);
    let (head, trailers) = seen.recv_timeout(PATIENCE).unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.contains("\r\ntrailer: x-check, x-other\r\n"), "{head}");
    let mut trailers: Vec<_> = trailers.lines().filter(|line| !line.is_empty()).collect();
    trailers.sort_unstable();
    assert_eq!(trailers, ["x-check: 3", "x-other: 4"]);
    proxy.terminal();
}

/// The proxy sends the 100 when the request may pass; a refusal comes without it.
#[test]
fn a_client_that_waits_for_100() {
    let origin = Origin::echo();
    let mut proxy = start(&origin, "methods: [POST], max_body: 10");
    let ask = |method: &str, length: &str| {
        request(
            method,
            "/api/a",
            &format!("Content-Length: {length}\r\nExpect: 100-Continue\r\n"),
        )
    };
    let mut client = Client::plain(proxy.address());
    client.send(ask("POST", "5"));
    assert_eq!(client.response_head().status, 100);
    client.send("hello");
    assert_eq!(client.response().text(), "hello");
    assert!(!origin.head().to_ascii_lowercase().contains("expect"));
    for (method, length, status) in [("POST", "11", 413), ("PUT", "5", 405)] {
        let mut client = Client::plain(proxy.address());
        client.send(ask(method, length));
        assert_eq!(client.response().status, status);
        assert_eq!(client.rest(), b"");
    }
    for _ in 0..3 {
        proxy.terminal();
    }
}

/// The upstream answers before the body arrives and reads none of it; the client gets the answer.
#[test]
fn an_answer_in_the_middle_of_an_upload() {
    let origin = Origin::start(|ask| {
        ask.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        let _ = ask.socket.shutdown(Shutdown::Write);
        ask.drain();
    });
    let mut proxy = start(&origin, "max_body: off");
    let mut client = Client::plain(proxy.address());
    client.send(request("POST", "/api/a", "Content-Length: 1000000000\r\n") + &"x".repeat(100_000));
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (401, "no"));
    assert_eq!(response.field("connection"), Some("close"));
    let line = proxy.terminal();
    assert_eq!(
        (line.text("event"), line.number("status")),
        ("request", Some(401)),
        "{line:?}"
    );
    assert_eq!(line.text("reason"), "", "{line:?}");
    origin.all_ended();
}

/// The deadline applies to the whole body, even if it arrives in small pieces.
#[test]
fn a_body_that_drips_is_refused_at_the_deadline() {
    let origin = Origin::echo();
    let mut proxy = start(&origin, "request_timeout: 500ms");
    let mut client = Client::plain(proxy.address());
    client.send(request("POST", "/api/a", "Content-Length: 100000\r\n"));
    let begun = Instant::now();
    eventually("the end of patience", || {
        let ended = client.write_all(b"x").is_err()
            || !proxy
                .lines()
                .iter()
                .all(|line| line.text("event") != "refused");
        ended.then_some(())
    });
    assert!(begun.elapsed() >= Duration::from_millis(450));
    let line = proxy
        .terminal()
        .expect(wsgate::reason::Reason::HttpBodyTimeout);
    assert!(
        line.number("bytes_client_to_upstream") > Some(0),
        "{line:?}"
    );
    origin.all_ended();
}

/// hyper's memory for a large head is freed before the answer is waited for, without other effects.
#[test]
fn a_large_head_is_sent_as_a_small_one_is() {
    let origin = Origin::start(|ask| {
        let got = match ask.field("transfer-encoding") {
            Some(_) => {
                let (body, trailers) = ask.chunks();
                [&body, trailers.as_bytes()].concat()
            }
            None => ask.body(),
        };
        ask.ok(got);
    });
    let proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    let chunks = "3\r\nabc\r\n0\r\nX-Check: 3\r\n\r\n";
    let trailer = format!("Trailer: X-Check\r\nTE: trailers\r\nConnection: TE\r\n{CHUNKED}");
    for (method, fields, body) in [
        ("GET", "X-oDD: 1\r\nx-odd: 2\r\n", ""),
        ("POST", "cOntent-length: 3\r\nCookie: a=b\r\n", "abc"),
        ("POST", &*trailer, chunks),
        ("GET", &*trailer, chunks),
        ("POST", "Content-Length: 0\r\n", ""),
    ] {
        let mut heads = Vec::new();
        for pad in ["p".to_owned(), "p".repeat(8 * 1024)] {
            let fields = format!("{fields}X-Pad: {pad}\r\n");
            client.send(request(method, "/api/a?b=c", &fields) + body);
            let response = client.response();
            assert_eq!(response.status, 200);
            let got = response.text().to_ascii_lowercase();
            let sent = match body {
                "" => "",
                "abc" => "abc",
                _ => "abcx-check: 3\r\n\r\n",
            };
            assert_eq!(got, sent);
            let head = origin.heads().pop().unwrap();
            assert!(head.contains(&format!("X-Pad: {pad}\r\n")));
            let lines = head.split("\r\n").filter(|line| {
                let line = line.to_ascii_lowercase();
                !line.starts_with("x-pad:") && !line.starts_with("x-request-id:")
            });
            heads.push(lines.map(str::to_owned).collect::<Vec<_>>());
        }
        assert_eq!(heads[0], heads[1]);
    }
    assert_eq!(origin.connections(), 1);
}
