//! What a chunked body contains besides its data: sizes, extensions and trailers, from clients and from upstreams.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use wsgate::reason::Reason;

use super::{CHUNKED, get, refused, request, setup, start};
use crate::harness::client::{Response, is_read};
use crate::harness::{Client, Origin, PATIENCE, Proxy, Setup, eventually, handshake};

/// Trailers that RFC 9112 section 7.1.2 does not allow in any reading.
const MALFORMED: &[&str] = &[
    "X y: z\r\n\r\n",
    "X : z\r\n\r\n",
    "X\t: z\r\n\r\n",
    " X: z\r\n\r\n",
    "X: y\r\n folded\r\n\r\n",
    "X: y\r\n\tfolded\r\n\r\n",
    ": z\r\n\r\n",
    "X\r\n\r\n",
    "X(: z\r\n\r\n",
    "X\0: z\r\n\r\n",
    "\u{e9}: z\r\n\r\n",
    "X: a\0b\r\n\r\n",
    "X: a\x01b\r\n\r\n",
    "X: a\x7fb\r\n\r\n",
    "X: a\rb\r\n\r\n",
    "X: a\nb\r\n\r\n",
    "X: a\n\r\n",
    "\n",
    "\r\r\n",
    "X: y\r\nGET /api/inner HTTP/1.1\r\n\r\n",
];

/// Too many trailers, too large ones, and too many bytes of extensions, each with its status.
fn oversized() -> Vec<(String, u16)> {
    let extensions = "1;".to_owned() + &"e".repeat(3000) + "\r\nx\r\n";
    vec![
        ("0\r\n".to_owned() + &"X: y\r\n".repeat(101) + "\r\n", 431),
        (format!("0\r\nX: {}\r\n\r\n", "y".repeat(16 * 1024)), 431),
        (format!("0\r\n{}: y\r\n\r\n", "X".repeat(16 * 1024)), 431),
        (
            format!("0\r\nX: {}\r\n\r\n", "y".repeat(16 * 1024 - 7)),
            431,
        ),
        (extensions.repeat(8) + "0\r\n\r\n", 413),
        (
            format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(24 * 1024)),
            413,
        ),
        (format!("0;{}\r\n\r\n", "e".repeat(24 * 1024)), 413),
    ]
}

/// Malformed sizes, chunks and trailers, starting after the data.
fn malformed() -> Vec<String> {
    let trailers = MALFORMED.iter().map(|lines| format!("0\r\n{lines}"));
    let sizes = [
        "-1\r\nx\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        " 1\r\nx\r\n0\r\n\r\n",
        "1 \r\nx\r\n0\r\n\r\n",
        "g\r\n",
        "\r\n",
        ";e\r\n",
        "10000000000000000\r\n",
        "fffffffffffffffff\r\n",
        "1\nx\r\n0\r\n\r\n",
        "1\rx\r\n0\r\n\r\n",
        "1;e\nx\r\n0\r\n\r\n",
        "1;\0\r\nx\r\n0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "1\r\nx0\r\n\r\n",
        "1\r\nx\n0\r\n\r\n",
        "1\r\nx\r0\r\n\r\n",
    ];
    trailers.chain(sizes.map(str::to_owned)).collect()
}

/// All of these, with their reasons and statuses.
fn wrong() -> Vec<(String, Reason, u16)> {
    let malformed = malformed().into_iter();
    let malformed = malformed.map(|end| (end, Reason::HttpFramingConflict, 400));
    let oversized = oversized().into_iter();
    let oversized = oversized.map(|(end, status)| (end, Reason::HttpTooLarge, status));
    malformed.chain(oversized).collect()
}

/// Checks that the proxy itself answered, with a `Proxy-Status` that names the reason in the terms of RFC 9209.
#[track_caller]
fn is_own(response: &Response, reason: Reason, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(
        response.field("proxy-status"),
        Some(&*format!(
            "wsgate; error=http_request_error; details=\"{reason}\""
        )),
    );
    assert_eq!(response.field("connection"), Some("close"));
}

/// An upstream that reads whole bodies, and the bodies and trailers that it received.
fn reading() -> (Origin, Receiver<(Vec<u8>, String)>) {
    let (sender, got) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::start(move |ask| {
        let came = ask.chunks();
        let is_cut = came.1 == "cut";
        sender.lock().unwrap().send(came).unwrap();
        if !is_cut {
            ask.ok("read");
        }
    });
    (origin, got)
}

#[test]
fn a_wrong_body_that_comes_with_its_head_is_not_begun() {
    for end in malformed() {
        let bytes = request("POST", "/api/a", CHUNKED) + "3\r\nabc\r\n" + &end + &get("/api/inner");
        let line = refused("", bytes, Reason::HttpFramingConflict);
        let detail = line.text("detail");
        assert!(!detail.is_empty() && detail.len() < 100, "{line:?}");
    }
}

#[test]
fn what_a_detail_says_of_a_trailer() {
    let body = "0\r\nX-Sum: 1\r\nX-Se cret: SECRET\r\n\r\n";
    let bytes = request("POST", "/api/a", CHUNKED) + body;
    let line = refused("", bytes, Reason::HttpFramingConflict);
    assert_eq!(
        line.text("detail"),
        "trailer 2 has the byte \\x20 in its field name"
    );
    let bytes = request("POST", "/api/a", CHUNKED) + "0\r\n" + &"X: y\r\n".repeat(101);
    let line = refused("", bytes, Reason::HttpTooLarge);
    assert_eq!(
        line.text("detail"),
        "the trailer section: more than 100 fields"
    );
    assert!(
        line.text("hint").ends_with("this limit is fixed"),
        "{line:?}"
    );
}

/// The upstream has already received the first chunk: it never gets the last one, and its connection is not reused.
#[test]
fn a_body_that_goes_wrong_on_its_way_is_cut() {
    let (origin, got) = reading();
    let mut proxy = start(&origin, "");
    for (number, (end, reason, status)) in wrong().into_iter().enumerate() {
        let mut client = Client::plain(proxy.address());
        client.send(request("POST", "/api/a", CHUNKED) + "3\r\nabc\r\n");
        origin.asked(number + 1);
        client.send(end);
        is_own(&client.response(), reason, status);
        assert_eq!(client.rest(), b"");
        let line = proxy.terminal().expect(reason);
        assert_eq!(line.number("status"), Some(status.into()), "{line:?}");
        let (body, trailers) = got.recv_timeout(PATIENCE).unwrap();
        assert!(b"abcxxxxxxxx".starts_with(&body[..]), "{body:?}");
        assert_eq!(trailers, "cut");
        assert_eq!(origin.connections(), number + 1);
    }
    origin.all_ended();
}

/// However it is split.
#[test]
fn a_wrong_trailer_byte_by_byte() {
    let (origin, got) = reading();
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    let bytes = request("POST", "/api/a", CHUNKED) + "3\r\nabc\r\n0\r\nX: y\r\nX : z";
    for byte in bytes.bytes() {
        client.send([byte]);
    }
    is_own(&client.response(), Reason::HttpFramingConflict, 400);
    proxy.terminal().expect(Reason::HttpFramingConflict);
    // Bytes that were sent one by one may arrive together.
    if let Ok((_, trailers)) = got.recv_timeout(PATIENCE) {
        assert_eq!(trailers, "cut");
    }
    origin.all_ended();
}

/// The client waits for its 100 and then sends the invalid trailer.
#[test]
fn a_wrong_trailer_behind_a_100() {
    let (origin, _got) = reading();
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    let fields = format!("Expect: 100-continue\r\n{CHUNKED}");
    client.send(request("POST", "/api/a", &fields));
    assert_eq!(client.response_head().status, 100);
    client.send("3\r\nabc\r\n0\r\nX y: z\r\n\r\n");
    is_own(&client.response(), Reason::HttpFramingConflict, 400);
    assert_eq!(client.rest(), b"");
    proxy.terminal().expect(Reason::HttpFramingConflict);
    origin.all_ended();
}

/// An answer that has begun can't be replaced: it ends and looks cut off.
#[test]
fn a_body_that_goes_wrong_during_the_answer() {
    let origin = Origin::start(|ask| {
        ask.write(format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n5\r\nhello\r\n"));
        if ask.chunks().1 != "cut" {
            ask.write("0\r\n\r\n");
        }
    });
    let mut proxy = start(&origin, "");
    for (end, reason, _) in wrong() {
        let mut client = Client::plain(proxy.address());
        client.send(request("POST", "/api/a", CHUNKED));
        assert_eq!(client.response_head().status, 200);
        assert_eq!(client.receive(10), b"5\r\nhello\r\n");
        client.send(end);
        assert_eq!(client.rest(), b"");
        let line = proxy.terminal();
        assert_eq!(line.text("reason"), reason.code(), "{line:?}");
        assert_eq!(line.text("event"), "request", "{line:?}");
        assert_eq!(line.number("status"), Some(200), "{line:?}");
    }
    origin.all_ended();
}

/// A complete answer stays complete, and its connection ends.
#[test]
fn a_body_that_goes_wrong_after_the_answer() {
    let origin = Origin::start(|ask| {
        ask.ok("early");
        ask.drain();
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    client.send(request("POST", "/api/a", CHUNKED));
    let response = client.response();
    assert_eq!(response.text(), "early");
    assert_eq!(response.field("connection"), Some("close"));
    client.send("0\r\nX y: z\r\n\r\n");
    assert_eq!(client.rest(), b"");
    assert_eq!(proxy.terminal().text("event"), "request");
    origin.all_ended();
}

/// A proxy with a `respond` route.
fn answering(origin: &Origin) -> Proxy {
    let routes = "  - path: /own\n    respond: { status: 200, body: own }\n";
    let setup = setup(&origin.url(), "methods: [GET]");
    let routes = setup.routes.clone() + routes;
    Setup { routes, ..setup }.start()
}

/// On routes where no upstream reads the body.
#[test]
fn a_wrong_body_that_the_proxy_answers_itself() {
    let origin = Origin::echo();
    let mut proxy = answering(&origin);
    for end in malformed() {
        let mut client = Client::plain(proxy.address());
        client.send(request("GET", "/own", CHUNKED) + "3\r\nabc\r\n" + &end + &get("/own"));
        is_own(&client.response(), Reason::HttpFramingConflict, 400);
        assert_eq!(client.rest(), b"");
        proxy.terminal().expect(Reason::HttpFramingConflict);
        // A fault in the head counts first, because nobody waits for a body that can't pass.
        for (method, path, reason, status) in [
            ("GET", "/nowhere", Reason::PathNotAllowed, 404),
            ("POST", "/api/a", Reason::HttpMethodNotAllowed, 405),
            ("GET", "/ws", Reason::PlainHttpRequest, 426),
        ] {
            let mut client = Client::plain(proxy.address());
            client.send(request(method, path, CHUNKED) + "3\r\nabc\r\n" + &end + &get("/own"));
            let response = client.response();
            assert_eq!(response.status, status, "{response:?}");
            assert_eq!(client.rest(), b"");
            proxy.terminal().expect(reason);
        }
    }
    assert_eq!(origin.connections(), 0);
    // A valid body is not a problem.
    let mut client = Client::plain(proxy.address());
    client.send(request("GET", "/own", CHUNKED) + "3\r\nabc\r\n0\r\nX: y\r\n\r\n");
    assert_eq!(client.response().text(), "own");
    assert_eq!(proxy.terminal().text("reason"), "");
}

/// The proxy's own answer waits for the body, so a malformed one is refused. What follows it is not read as a request.
#[test]
fn a_wrong_body_that_comes_before_the_proxys_own_answer() {
    let origin = Origin::echo();
    let mut proxy = answering(&origin);
    for (end, reason, status) in wrong() {
        let mut client = Client::plain(proxy.address());
        client.send(request("GET", "/own", CHUNKED) + "3\r\nabc\r\n");
        eventually("the beginning is read", || {
            is_read(client.tcp()).then_some(())
        });
        client.send(end + &get("/own"));
        is_own(&client.response(), reason, status);
        assert_eq!(client.rest(), b"");
        let line = proxy.terminal().expect(reason);
        assert_eq!(line.number("status"), Some(status.into()), "{line:?}");
    }
    // The client leaves in the middle of its body.
    let mut client = Client::plain(proxy.address());
    client.send(request("GET", "/own", CHUNKED) + "3\r\nabc\r\n");
    client.finish();
    assert_eq!(client.rest(), b"");
    proxy.terminal().expect(Reason::HttpBodyIncomplete);
    // After a valid body the next request is answered, however late the end of the body arrives.
    let mut client = Client::plain(proxy.address());
    client.send(request("GET", "/own", CHUNKED) + "3\r\nabc\r\n");
    eventually("the beginning is read", || {
        is_read(client.tcp()).then_some(())
    });
    client.send("0\r\nX: y\r\n\r\n".to_owned() + &get("/own"));
    for _ in 0..2 {
        let response = client.response();
        assert_eq!(response.text(), "own");
        assert_eq!(response.field("connection"), None);
        assert_eq!(proxy.terminal().text("reason"), "");
    }
    assert_eq!(origin.connections(), 0);
}

/// The largest allowed amount: 100 trailers, and a little less than 16 KiB of extensions.
#[test]
fn large_trailers_and_extensions_that_pass() {
    let (origin, got) = reading();
    let mut proxy = start(&origin, "");
    let extensions = "1;".to_owned() + &"e".repeat(4000) + "\r\nx\r\n";
    for body in [
        "0\r\n".to_owned() + &"X-Sum: y\r\n".repeat(100) + "\r\n",
        format!("0\r\nX-Sum: {}\r\n\r\n", "y".repeat(16 * 1024 - 13)),
        extensions.repeat(4) + "1;" + &"e".repeat(383) + "\r\nx\r\n0\r\nX-Sum: y\r\n\r\n",
    ] {
        let mut client = Client::plain(proxy.address());
        let fields = format!("Trailer: X-Sum\r\n{CHUNKED}");
        client.send(request("POST", "/api/a", &fields) + &body);
        let response = client.response();
        assert_eq!(response.text(), "read");
        let (_, trailers) = got.recv_timeout(PATIENCE).unwrap();
        assert_eq!(trailers.matches('y').count(), body.matches('y').count());
        assert_eq!(proxy.terminal().text("reason"), "");
    }
}

/// Fields that frame or route a message have no meaning in its trailers (RFC 9110 section 6.5.1), in either direction.
#[test]
fn trailers_that_are_not_allowed_there_go_no_further() {
    const NAMES: &str = "Content-Length, Transfer-Encoding, Host, Trailer, Connection, Keep-Alive, TE, Upgrade, \
                         Authorization, Set-Cookie, Cache-Control, Content-Type, Content-Encoding, Content-Range, \
                         Max-Forwards, X-Sum";
    let lines: String = NAMES
        .split(", ")
        .map(|name| format!("{name}: 1\r\n"))
        .collect();
    let (sender, got) = channel();
    let sender = Mutex::new(sender);
    let answer = format!("HTTP/1.1 200 OK\r\nTrailer: {NAMES}\r\n{CHUNKED}\r\n0\r\n{lines}\r\n");
    let origin = Origin::start(move |ask| {
        sender.lock().unwrap().send(ask.chunks().1).unwrap();
        ask.write(&answer);
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    let fields = format!("Connection: TE\r\nTE: trailers\r\nTrailer: {NAMES}\r\n{CHUNKED}");
    for _ in 0..2 {
        client.send(request("POST", "/api/a", &fields) + "0\r\n" + &lines + "\r\n");
        assert_eq!(client.response_head().status, 200);
        let expected = b"0\r\nx-sum: 1\r\n\r\n";
        let came = client.receive(expected.len()).to_ascii_lowercase();
        assert_eq!(came, expected, "{}", came.escape_ascii());
        let trailers = got.recv_timeout(PATIENCE).unwrap();
        assert_eq!(trailers.to_ascii_lowercase(), "x-sum: 1\r\n\r\n");
        assert_eq!(proxy.terminal().text("reason"), "");
    }
}

/// The same from an upstream: the client gets the valid part, and an end that does not look like the end of the answer.
#[test]
fn an_upstream_with_wrong_chunks_or_trailers() {
    // hyper forgives white space after a size and most bytes in an extension; neither is passed on.
    let is_forgiven = |end: &str| end.starts_with("1 \r\n") || end.starts_with("1;\0");
    for end in wrong().into_iter().map(|(end, ..)| end) {
        let answer = format!("HTTP/1.1 200 OK\r\nTrailer: X\r\n{CHUNKED}\r\n3\r\nabc\r\n{end}");
        let origin = Origin::start(move |ask| {
            ask.write(&answer);
            ask.close();
        });
        let mut proxy = start(&origin, "");
        let mut client = Client::plain(proxy.address());
        client.send(request(
            "GET",
            "/api/a",
            "Connection: TE\r\nTE: trailers\r\n",
        ));
        let text = client.response().text();
        let line = proxy.terminal();
        if is_forgiven(&end) {
            assert_eq!(text, "abcx", "{end:?}");
            continue;
        }
        assert!(
            text.starts_with("abc") && text.ends_with("<cut>"),
            "{end:?}: {text}"
        );
        let line = line.expect(Reason::UpstreamResponseCut);
        // An incomplete one might have been the beginning of something valid.
        let is_told = line.text("hint").contains("invalid chunks");
        assert!(
            is_told || line.text("detail").contains("EOF"),
            "{end:?}: {line:?}"
        );
        origin.all_ended();
    }
}

/// Also if the upstream refuses a handshake.
#[test]
fn a_refusal_of_the_upstream_with_wrong_trailers() {
    let origin = Origin::start(|ask| {
        ask.write(format!(
            "HTTP/1.1 403 Forbidden\r\n{CHUNKED}\r\n2\r\nno\r\n0\r\nX y: z\r\n\r\n"
        ));
    });
    let mut proxy = start(&origin, "");
    let mut client = Client::plain(proxy.address());
    let response = client.send(handshake("/ws", &[])).response();
    assert_eq!(
        (response.status, response.text().as_str()),
        (403, "no<cut>")
    );
    let line = proxy.terminal().expect(Reason::UpstreamForbidden);
    assert_eq!(line.notes(), ["relay_cut"]);
    origin.all_ended();
}
