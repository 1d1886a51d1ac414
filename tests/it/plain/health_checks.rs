//! Health checks of listeners: `respond` routes in HTTP/1.0, and real HAProxy in front of them.

use wsgate::reason::Reason;

use super::{get, request};
use crate::harness::proxy::HOST;
use crate::harness::{Client, Line, Origin, Proxy, Setup, handshake};

/// A proxy with routes of every kind; it answers `/` and `/down` itself.
fn setup(origin: &Origin) -> Setup {
    let routes = "  - path: /\n    respond: { body: well }\n\
                  \x20 - path: /down\n    respond: { status: 503, body: unwell }\n\
                  \x20 - path: /named\n    host: api.example.com\n    respond: { status: 204 }\n\
                  \x20 - path: /api/*\n    http: {}\n    upstream: app\n";
    Setup {
        routes: routes.to_owned(),
        ..Setup::plain(&origin.url())
    }
}

fn old(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.0\r\n{fields}\r\n")
}

/// The record of a request that is refused in HTTP/1.0.
#[track_caller]
fn is_refused(proxy: &mut Proxy, bytes: &str, reason: Reason) -> Line {
    let mut client = Client::plain(proxy.address());
    let response = client.send(bytes).response();
    assert_eq!(response.status, 400, "{bytes:?}");
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
    let line = proxy.terminal().expect(reason);
    assert_eq!(line.text("event"), "refused");
    line
}

#[test]
fn a_respond_route_answers_http_1_0_and_closes() {
    let origin = Origin::echo();
    let mut proxy = setup(&origin).start();
    let named = format!("Host: {HOST}\r\n");
    for (method, path, fields, status, length, body) in [
        ("GET", "/", "", 200, Some("4"), "well"),
        ("HEAD", "/", "", 200, Some("4"), ""),
        ("OPTIONS", "/", "", 200, Some("0"), ""),
        (
            "GET",
            "/",
            "Connection: keep-alive\r\n",
            200,
            Some("4"),
            "well",
        ),
        (
            "GET",
            "/",
            "Connection: Upgrade\r\n",
            200,
            Some("4"),
            "well",
        ),
        (
            "OPTIONS",
            "/",
            "Connection: Keep-Alive\r\nKeep-Alive: timeout=60\r\n",
            200,
            Some("0"),
            "",
        ),
        (
            "GET",
            "/?a=b",
            "Content-Length: 0\r\nExpect: 100-continue\r\n",
            200,
            Some("4"),
            "well",
        ),
        ("GET", "/", &named, 200, Some("4"), "well"),
        (
            "GET",
            "/",
            "Host: elsewhere.example\r\n",
            200,
            Some("4"),
            "well",
        ),
        ("GET", "http://any.example/", "", 200, Some("4"), "well"),
        ("HEAD", "/down", "", 503, Some("6"), ""),
        ("OPTIONS", "/down", "", 503, Some("0"), ""),
        ("OPTIONS", "/named", &named, 204, None, ""),
        ("GET", "http://api.example.com/named", "", 204, None, ""),
    ] {
        let what = format!("{method} {path} {fields:?}");
        let mut client = Client::plain(proxy.address());
        // What follows is never read.
        client.send(old(method, path, fields) + &old("GET", "/", "") + &get("/api/a"));
        let response = client.response_head();
        assert_eq!(response.status, status, "{what}");
        assert_eq!(response.field("connection"), Some("close"), "{what}");
        assert_eq!(response.field("content-length"), length, "{what}");
        let allow = (method == "OPTIONS").then_some("GET, HEAD, OPTIONS");
        assert_eq!(response.field("allow"), allow, "{what}");
        assert_eq!(response.field("transfer-encoding"), None, "{what}");
        assert_eq!(client.rest(), body.as_bytes(), "{what}");
        let line = proxy.terminal();
        assert_eq!(line.text("event"), "request", "{line:?}");
        assert_eq!(line.number("status"), Some(status.into()), "{line:?}");
        assert_eq!(line.text("http_version"), "1.0", "{line:?}");
        assert_eq!(line.text("method"), method, "{line:?}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn everything_else_in_http_1_0_is_refused() {
    let origin = Origin::echo();
    let mut proxy = setup(&origin).start();
    let named = format!("Host: {HOST}\r\n");
    let version = Reason::HttpVersionUnsupported;
    for (bytes, detail) in [
        (
            old("GET", "/", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n",
            "announces a body",
        ),
        (
            old("OPTIONS", "/", "Content-Length: 3\r\n") + "abc",
            "announces a body",
        ),
        (
            old("GET", "/", "Upgrade: websocket\r\nConnection: Upgrade\r\n"),
            "asks for an upgrade",
        ),
        (old("GET", "/", "Upgrade: h2c\r\n"), "asks for an upgrade"),
        (
            old(
                "GET",
                "/",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ),
            "asks for an upgrade",
        ),
        (
            handshake("/ws", &[]).replace("HTTP/1.1", "HTTP/1.0"),
            "asks for an upgrade",
        ),
        (
            handshake("/", &[]).replace("HTTP/1.1", "HTTP/1.0"),
            "asks for an upgrade",
        ),
        (old("POST", "/", ""), "HTTP/1.0"),
        (old("get", "/", ""), "HTTP/1.0"),
        (old("GET", "/ws", &named), "(plain_http_request)"),
        (old("GET", "/ws", ""), "(plain_http_request)"),
        (
            old("OPTIONS", "/api/a", &named),
            "the route has an upstream",
        ),
        (old("GET", "/api/a", ""), "the route has an upstream"),
        (old("GET", "/nowhere", &named), "(path_not_allowed)"),
        (
            old("GET", "/nowhere", "Connection: keep-alive\r\n"),
            "(path_not_allowed)",
        ),
        (old("GET", "/named", ""), "no route with respond takes it"),
        (
            old("GET", "/named", "Host: other.example\r\n"),
            "no route with respond takes it",
        ),
        (old("GET", "/%2e%2e/", ""), "(path_ambiguous)"),
        ("GET / HTTP/0.9\r\n\r\n".to_owned(), "HTTP/0.9"),
        ("GET / HTTP/1.2\r\n\r\n".to_owned(), "HTTP/1.2"),
    ] {
        let line = is_refused(&mut proxy, &bytes, version).with_detail(detail);
        assert!(line.text("hint").contains("health check"), "{line:?}");
        assert!(line.text("hint").contains("`routes[].respond`"), "{line:?}");
    }
    // The checks of the head are the same.
    for (fields, reason) in [
        ("Host : a\r\n", Reason::HttpMalformed),
        ("X: a\r\n b\r\n", Reason::HttpMalformed),
        ("X: a\0\r\n", Reason::HttpMalformed),
        ("Host: a, b\r\n", Reason::HttpHostInvalid),
        ("Host: a\r\nHost: a\r\n", Reason::HttpHostInvalid),
        ("Host:\r\n", Reason::HttpHostInvalid),
        (
            "Content-Length: 0\r\nContent-Length: 0\r\n",
            Reason::HttpFramingConflict,
        ),
        (
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            Reason::HttpFramingConflict,
        ),
        (
            "Transfer-Encoding: identity\r\n",
            Reason::HttpFramingConflict,
        ),
        ("Connection: host\r\n", Reason::HttpConnectionProtected),
    ] {
        is_refused(&mut proxy, &old("GET", "/", fields), reason);
    }
    assert_eq!(origin.connections(), 0);
    // HTTP/1.1 still needs a Host.
    is_refused(
        &mut proxy,
        "GET / HTTP/1.1\r\n\r\n",
        Reason::HttpHostMissing,
    );
}

#[test]
fn a_listener_that_redirects_refuses_http_1_0() {
    let (mut proxy, _origin) = super::answered::redirecting("");
    for fields in ["", "Host: api.example.com\r\n"] {
        let line = is_refused(
            &mut proxy,
            &old("GET", "/", fields),
            Reason::HttpVersionUnsupported,
        );
        line.with_detail("HTTP/1.0");
    }
}

/// A check may also use HTTP/1.1, repeatedly on one connection.
#[test]
fn options_in_http_1_1() {
    let origin = Origin::echo();
    let mut proxy = setup(&origin).start();
    let mut client = Client::plain(proxy.address());
    for (method, path, status, length, body) in [
        ("OPTIONS", "/", 200, Some("0"), ""),
        ("OPTIONS", "/down", 503, Some("0"), ""),
        ("OPTIONS", "/named", 204, None, ""),
        ("GET", "/", 200, Some("4"), "well"),
    ] {
        client.send(request(method, path, ""));
        let response = client.response_head();
        assert_eq!(response.status, status);
        assert_eq!(response.field("content-length"), length);
        assert_eq!(client.receive(body.len()), body.as_bytes());
        let allow = (method == "OPTIONS").then_some("GET, HEAD, OPTIONS");
        assert_eq!(response.field("allow"), allow);
        assert_eq!(response.field("connection"), None);
        assert_eq!(proxy.terminal().text("http_version"), "1.1");
    }
}
