//! Answers that come late. The proxy gives up hyper's buffers while it waits, and nobody may notice.

use std::io::Write;
use std::time::Duration;

use wsgate::reason::Reason;

use crate::harness::certs::{Authority, Kind};
use crate::harness::client::{Response, is_read};
use crate::harness::frames::{self, CLOSE, TEXT, closing, echoes, masked};
use crate::harness::secure::{self, SecureUpstream};
use crate::harness::{Client, Line, Origin, Setup, Upstream, eventually, handshake, switching};
use crate::plain::{CHUNKED, get, outcomes, post, request, setup, start};

/// How refusals, tunnels and clients end.
mod ends;

/// Longer than hyper is kept for a request that waits for its answer.
const LATE: Duration = Duration::from_millis(150);

/// When an upstream answers, or when a client does something else than to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    AtOnce,
    Late,
}

impl When {
    const BOTH: [Self; 2] = [Self::AtOnce, Self::Late];

    fn wait(self) {
        if self == Self::Late {
            std::thread::sleep(LATE);
        }
    }
}

/// The result of `case`, which must not depend on when the answer comes.
#[track_caller]
fn whenever<T: PartialEq + std::fmt::Debug>(case: impl Fn(When) -> T) -> T {
    let [at_once, late] = When::BOTH.map(case);
    assert_eq!(late, at_once);
    late
}

/// An upstream that gives one answer to all requests.
fn answering(when: When, answer: impl AsRef<[u8]> + Send + Sync + 'static) -> Origin {
    Origin::start(move |ask| {
        ask.body();
        when.wait();
        ask.write(&answer);
    })
}

/// The parts of a head that are the same for all answers to the same request.
fn head(response: &Response) -> (String, Vec<(String, String)>) {
    let differs = |name: &str| ["date", "x-request-id"].contains(&name);
    let mut fields = response.fields.clone();
    fields.retain(|(name, _)| !differs(&name.to_ascii_lowercase()));
    (response.line.clone(), fields)
}

/// The lines of an answer that are the same for all answers to the same request.
fn lines(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).unwrap();
    let differs = |line: &&str| {
        let line = line.to_ascii_lowercase();
        ["date:", "x-request-id:", "request id:"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    let lines = text.lines().filter(|line| !differs(line));
    lines.map(str::to_owned).collect()
}

/// The fields of a record that are the same for all that happens in the same way.
fn told(line: &Line) -> Vec<String> {
    let texts = ["event", "reason", "stage", "by", "level", "hint"];
    let numbers = ["status", "client_sees", "bytes_upstream_to_client"];
    let texts = texts.map(|field| format!("{field}={}", line.text(field)));
    let numbers = numbers.map(|field| format!("{field}={:?}", line.number(field)));
    let mut told = [texts.as_slice(), numbers.as_slice()].concat();
    told.push(format!("{:?} {:?}", line.notes(), outcomes(line)));
    told
}

const TE: &str = "Connection: TE\r\nTE: trailers\r\n";

/// On one connection on either side: a byte too many or too few would spoil the next answer.
#[test]
fn a_late_answer_is_the_same_as_one_that_comes_at_once() {
    let ok = "HTTP/1.1 200 OK\r\nX-a: b\r\nContent-Length: 2\r\n\r\nok".to_owned();
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\n{CHUNKED}\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\n\r\n"
    );
    let head_chunked = format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n");
    let cases = [
        ("GET", "", ok.clone(), "ok"),
        (
            "GET",
            TE,
            chunked.clone(),
            "2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n",
        ),
        ("GET", "", chunked, "2\r\nok\r\n0\r\n\r\n"),
        (
            "GET",
            "",
            "HTTP/1.1 404 Gone away\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "",
        ),
        (
            "HEAD",
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n".to_owned(),
            "",
        ),
        ("HEAD", TE, head_chunked, ""),
        (
            "HEAD",
            "",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".to_owned(),
            "",
        ),
        ("GET", "", "HTTP/1.1 204 No Content\r\n\r\n".to_owned(), ""),
        (
            "GET",
            "If-None-Match: \"a\"\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".to_owned(),
            "",
        ),
        (
            "DELETE",
            "",
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            "",
        ),
        ("OPTIONS", "", ok.clone(), "ok"),
        ("POST", "Content-Length: 0\r\n", ok.clone(), "ok"),
        ("GET", "Connection: keep-alive\r\n", ok.clone(), "ok"),
        ("GET", "Connection: close\r\n", ok, "ok"),
    ];
    whenever(|when| {
        let answers: Vec<_> = cases
            .iter()
            .map(|(_, _, answer, _)| answer.clone())
            .collect();
        let origin = Origin::start(move |ask| {
            when.wait();
            ask.write(&answers[ask.place.1]);
        });
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        let mut heads = Vec::new();
        for (number, (method, fields, _, body)) in cases.iter().enumerate() {
            client.send(request(method, "/api/a", fields));
            heads.push(head(&client.response_head()));
            let came = client.receive(body.len()).to_ascii_lowercase();
            assert_eq!(
                came.escape_ascii().to_string(),
                body.as_bytes().escape_ascii().to_string()
            );
            let line = proxy.terminal();
            assert_eq!(line.text("reason"), "", "{line:?}");
            let expected = if number == 0 { "connected" } else { "reused" };
            assert_eq!(outcomes(&line), [expected], "{number}");
        }
        assert_eq!(client.rest(), b"");
        assert_eq!(origin.connections(), 1);
        heads
    });
}

#[test]
fn a_late_answer_that_lasts_until_the_upstream_closes_is_whole() {
    whenever(|when| {
        let origin = Origin::start(move |ask| {
            when.wait();
            ask.write("HTTP/1.0 200 OK\r\n\r\nuntil the end").close();
        });
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        let response = client.send(get("/api/a")).response();
        assert_eq!(response.text(), "until the end");
        (head(&response), told(&proxy.terminal()))
    });
}

#[test]
fn interim_responses_before_a_late_answer_are_noted() {
    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let moments = [
        [When::AtOnce, When::AtOnce],
        [When::AtOnce, When::Late],
        [When::Late, When::AtOnce],
        [When::Late, When::Late],
    ];
    let seen = moments.map(|[first, second]| {
        let origin = Origin::start(move |ask| {
            first.wait();
            ask.write(HINTS);
            second.wait();
            ask.write(HINTS);
            ask.write(OK);
        });
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        let response = client.send(get("/api/a")).response();
        assert_eq!(response.text(), "ok");
        let line = proxy.terminal();
        assert_eq!(line.notes(), ["upstream_interim"]);
        let note = line.0["notes"][0]["detail"].clone();
        assert_eq!(note, "103, 103", "{line:?}");
        (head(&response), told(&line))
    });
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
}

#[test]
fn a_request_with_a_body_is_answered_late_too() {
    whenever(|when| {
        let origin = Origin::start(move |ask| {
            let body = ask.body();
            when.wait();
            ask.ok(body);
        });
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        let chunked = request("POST", "/api/a", CHUNKED) + "5\r\nhello\r\n0\r\n\r\n";
        [post("/api/a", "hello"), chunked, post("/api/a", "again")].map(|asked| {
            let response = client.send(&asked).response();
            assert_eq!(response.text().len(), 5);
            let line = proxy.terminal();
            assert_eq!(line.number("bytes_client_to_upstream"), Some(5));
            (head(&response), told(&line))
        })
    });
}

/// Written in advance, the head must not be sent again when hyper is started again. Behind it, less is held.
#[test]
fn a_request_with_a_large_head_is_sent_once_and_answered_late() {
    let large = format!("X-Large: {}\r\n", "x".repeat(8000));
    for is_tls in [false, true] {
        whenever(|when| {
            let origin = answering(when, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            let tls = Setup::tls("").tls.filter(|_| is_tls);
            let setup = Setup {
                tls,
                ..setup(&origin.url(), "")
            };
            let mut proxy = setup.start();
            let mut client = match is_tls {
                true => Client::tls(proxy.address()),
                false => Client::plain(proxy.address()),
            };
            let asked = request("GET", "/api/a", &large);
            client.send(asked.repeat(3) + &get("/api/b"));
            for _ in 0..4 {
                assert_eq!(client.response().text(), "ok");
                assert_eq!(outcomes(&proxy.terminal()).len(), 1);
            }
            let heads = origin.heads();
            assert_eq!(heads.len(), 4);
            for head in &heads[..3] {
                assert!(head.starts_with("GET /api/a ") && head.contains(&large));
            }
            assert!(heads[3].starts_with("GET /api/b "), "{}", heads[3]);
            assert_eq!(origin.connections(), 1);
        });
    }
}

#[test]
fn a_request_that_is_sent_ahead_is_answered_after_a_late_answer() {
    let echo = |when: When| {
        Origin::start(move |ask| {
            when.wait();
            let path = ask.head.split(' ').nth(1).unwrap().to_owned();
            ask.ok(path);
        })
    };
    // With the first request, and while the proxy waits for the first answer.
    for when in When::BOTH {
        let origin = echo(When::Late);
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        match when {
            When::AtOnce => drop(client.send(get("/api/a") + &get("/api/b") + &get("/api/c"))),
            When::Late => {
                client.send(get("/api/a"));
                origin.asked(1);
                // In the middle of the wait.
                std::thread::sleep(LATE * 2 / 3);
                client.send(get("/api/b") + &get("/api/c"));
            }
        }
        for path in ["/api/a", "/api/b", "/api/c"] {
            assert_eq!(client.response().text(), path);
            assert_eq!(proxy.terminal().text("path"), path);
        }
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn the_connection_of_a_late_answer_serves_another_client() {
    let origin = Origin::start(|ask| {
        let body = ask.body();
        if ask.place.1 == 0 {
            When::Late.wait();
        }
        ask.ok(body);
    });
    let mut proxy = start(&origin, "");
    for (asked, expected) in [
        (get("/api/a"), "connected"),
        (post("/api/b", "hello"), "reused"),
        (get("/api/c"), "reused"),
    ] {
        let mut client = Client::plain(proxy.address());
        assert_eq!(client.send(asked).response().status, 200);
        assert_eq!(outcomes(&proxy.terminal()), [expected]);
    }
    assert_eq!(origin.connections(), 1);
}

/// The first byte comes alone. hyper is started for it.
#[test]
fn a_late_answer_may_come_byte_by_byte() {
    whenever(|when| {
        let origin = Origin::start(move |ask| {
            when.wait();
            ask.write("H");
            when.wait();
            for byte in b"TTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello" {
                ask.write([*byte]);
            }
        });
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        let asked = [0, 1].map(|_| {
            let response = client.send(get("/api/a")).response();
            assert_eq!(response.text(), "hello");
            (head(&response), outcomes(&proxy.terminal()).join(" "))
        });
        assert_eq!(origin.connections(), 1);
        asked
    });
}

/// Serves requests without a body over TLS, each with this answer.
fn secure(when: When, answer: Vec<u8>) -> SecureUpstream {
    let config = secure::config(Authority::shared(), &["127.0.0.1"], Kind::Good);
    SecureUpstream::handling(config, move |mut stream| {
        let first = secure::read_head(&mut stream)?;
        loop {
            when.wait();
            stream.write_all(&answer)?;
            stream.flush()?;
            if secure::read_head(&mut stream).is_err() {
                return Ok((first, stream));
            }
        }
    })
}

/// A listener with TLS in front of an upstream with TLS.
fn encrypted(upstream: &SecureUpstream) -> Setup {
    let tls = ", tls: { ca: ca.pem }".to_owned();
    Setup {
        tls: Setup::tls("").tls,
        upstream: tls,
        ..setup(&upstream.url(), "")
    }
}

#[test]
fn a_late_answer_may_be_large() {
    let body: Vec<u8> = (0..251).cycle().take(300_000).collect();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let length = [head.as_bytes(), &body].concat();
    let head = format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n{:x}\r\n", body.len());
    let chunked = [head.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    for answer in [length, chunked] {
        let origin = answering(When::Late, answer.clone());
        let plain = start(&origin, "");
        let upstream = secure(When::Late, answer);
        let tls = encrypted(&upstream).start();
        let clients = [Client::plain(plain.address()), Client::tls(tls.address())];
        for (mut client, mut proxy) in clients.into_iter().zip([plain, tls]) {
            for expected in ["connected", "reused"] {
                let response = client.send(get("/api/a")).response();
                assert!(response.body == body, "{} bytes", response.body.len());
                let line = proxy.terminal();
                assert_eq!(outcomes(&line), [expected]);
                assert_eq!(line.number("bytes_upstream_to_client"), Some(300_000));
            }
        }
    }
}

/// Some answers come before hyper is given up, some after it, and some at the same time.
#[test]
fn an_answer_may_come_at_any_moment() {
    let origin = Origin::start(|ask| {
        let micros = ask.field("x-wait").unwrap().parse().unwrap();
        std::thread::sleep(Duration::from_micros(micros));
        ask.ok(micros.to_string());
    });
    let proxy = start(&origin, "");
    std::thread::scope(|scope| {
        for number in 0..16_u64 {
            let mut client = Client::plain(proxy.address());
            scope.spawn(move || {
                for round in 0..16 {
                    let wait = 46_000 + 500 * number + 31 * round;
                    client.send(request("GET", "/api/a", &format!("X-Wait: {wait}\r\n")));
                    assert_eq!(client.response().text(), wait.to_string());
                }
            });
        }
    });
    assert_eq!(origin.heads().len(), 16 * 16);
}
