//! The proxy's own answers: `respond`, `redirect_to_https`, and probes of a WebSocket route.

use std::fs;

use wsgate::reason::Reason;

use super::{get, post, request, start};
use crate::harness::{Client, Origin, Proxy, Setup, handshake};

/// A proxy whose listener only redirects; `extra` is added to its configuration.
pub fn redirecting(extra: &str) -> (Proxy, Origin) {
    let origin = Origin::echo();
    let setup = Setup {
        host: Some("api.example.com".to_owned()),
        extra: extra.to_owned(),
        ..Setup::plain(&origin.url())
    };
    let folder = setup.folder();
    let from = "address: 127.0.0.1:0\n";
    let yaml = setup
        .yaml()
        .replace(from, &format!("{from}    redirect_to_https: true\n"));
    let yaml = yaml.replace("    websocket:", "    http: {}\n    websocket:");
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    (Proxy::spawn(folder, None, 1), origin)
}

#[test]
fn a_redirect_goes_to_the_same_place_over_tls() {
    let (mut proxy, origin) = redirecting("");
    let mut client = Client::plain(proxy.address());
    for (host, target, location) in [
        (
            "api.example.com",
            "/ws?a=b%20c",
            "https://api.example.com/ws?a=b%20c",
        ),
        (
            "API.example.com:8080",
            "/other/",
            "https://api.example.com/other/",
        ),
        (
            "evil.example",
            "http://api.example.com:80/x",
            "https://api.example.com/x",
        ),
    ] {
        client.send(format!(
            "POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"
        ));
        let response = client.response();
        assert_eq!(response.status, 308);
        assert_eq!(response.field("location"), Some(location));
        let line = proxy.terminal();
        assert_eq!(
            (line.text("event"), line.number("status")),
            ("request", Some(308))
        );
        assert_eq!(line.text("level"), "info");
    }
    client.send("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.field("location")), (421, None));
    proxy.terminal().expect(Reason::HostNotAllowed);
    assert_eq!(origin.connections(), 0);
}

/// A request is served if a trusted hop says that the client used TLS; others are not believed.
#[test]
fn a_trusted_hop_that_ended_tls_is_served() {
    let https = request(
        "GET",
        "/ws",
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n",
    );
    for (extra, status) in [("trusted_proxies: [127.0.0.1]\n", 200), ("", 308)] {
        let (mut proxy, origin) = redirecting(extra);
        let mut client = Client::plain(proxy.address());
        client.send(&https);
        assert_eq!(client.response().status, status);
        assert_eq!(proxy.terminal().number("status"), Some(status.into()));
        assert_eq!(origin.heads().len(), usize::from(status == 200));
    }
}

fn responding(keys: &str) -> (Proxy, Origin) {
    let origin = Origin::echo();
    let routes = format!("  - path: /verify.txt\n    respond: {{ {keys} }}\n");
    let setup = Setup {
        routes,
        ..Setup::plain(&origin.url())
    };
    (setup.start(), origin)
}

#[test]
fn an_answer_of_the_configurations() {
    let (mut proxy, origin) =
        responding("body: \"0123 äöü\", content_type: text/html, status: 404");
    let mut client = Client::plain(proxy.address());
    let length = Some("11");
    client.send(get("/verify.txt?a=b"));
    let response = client.response();
    assert_eq!(
        (response.status, response.text().as_str()),
        (404, "0123 äöü")
    );
    assert_eq!(response.field("content-type"), Some("text/html"));
    assert_eq!(response.field("content-length"), length);
    let line = proxy.terminal();
    assert_eq!(
        (line.text("event"), line.number("status")),
        ("request", Some(404))
    );
    assert_eq!(line.text("route"), "/verify.txt");
    assert_eq!(
        response.field("x-request-id"),
        Some(line.text("request_id"))
    );
    assert_eq!(line.text("upstream"), "");

    // No body follows, as the next answer shows.
    client.send(request("HEAD", "/verify.txt", ""));
    let response = client.response_head();
    assert_eq!(
        (response.status, response.field("content-length")),
        (404, length)
    );
    client.send(get("/verify.txt"));
    assert_eq!(client.response().text(), "0123 äöü");
    for _ in 0..2 {
        assert_eq!(proxy.terminal().text("event"), "request");
    }

    client.send(post("/verify.txt", "abc"));
    let response = client.response();
    assert_eq!(
        (response.status, response.field("allow")),
        (405, Some("GET, HEAD, OPTIONS"))
    );
    proxy.terminal().expect(Reason::HttpMethodNotAllowed);

    let mut client = Client::plain(proxy.address());
    client.send(handshake("/verify.txt", &[]));
    assert_eq!(client.response().status, 404);
    proxy.terminal().expect(Reason::WebsocketNotAllowed);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_respond_route_without_a_body_answers() {
    for (keys, status, length) in [("", 200, Some("0")), ("status: 204", 204, None)] {
        let (mut proxy, _origin) = responding(keys);
        let mut client = Client::plain(proxy.address());
        for _ in 0..2 {
            client.send(get("/verify.txt"));
            let response = client.response_head();
            assert_eq!(
                (response.status, response.field("content-length")),
                (status, length)
            );
            assert_eq!(proxy.terminal().number("status"), Some(status.into()));
        }
    }
}

/// An unwanted body does not become a request.
#[test]
fn a_body_for_an_answer_of_the_configurations() {
    let (mut proxy, _origin) = responding("body: mine");
    let mut client = Client::plain(proxy.address());
    let inner = get("/verify.txt");
    let outer = request(
        "GET",
        "/verify.txt",
        &format!("Content-Length: {}\r\n", inner.len()),
    );
    client.send(outer + &inner);
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "mine"));
    client.send(request("HEAD", "/verify.txt", ""));
    assert_eq!(client.response_head().status, 200);
    for method in ["GET", "HEAD"] {
        assert_eq!(proxy.terminal().text("method"), method);
    }
}

/// The answer does not wait beyond a limit of time and bytes, nor for a body that the client sends only after a 100.
#[test]
fn a_body_that_does_not_end_for_an_answer_of_the_configurations() {
    let origin = Origin::echo();
    let setup = Setup {
        routes: "  - path: /verify.txt\n    respond: { body: mine }\n".to_owned(),
        extra: "limits: { close_wait: 300ms }\n".to_owned(),
        ..Setup::plain(&origin.url())
    };
    let mut proxy = setup.start();
    let long = "Content-Length: 1000000\r\n".to_owned();
    for (fields, sent) in [
        ("Content-Length: 5\r\n".to_owned(), String::new()),
        (long.clone(), "x".repeat(80 * 1024)),
        (long + "Expect: 100-continue\r\n", String::new()),
    ] {
        let mut client = Client::plain(proxy.address());
        client.send(request("GET", "/verify.txt", &fields) + &sent);
        let response = client.response();
        assert_eq!(response.text(), "mine");
        assert_eq!(response.field("connection"), Some("close"));
        let line = proxy.terminal();
        assert_eq!(line.text("event"), "request");
        assert_eq!(line.text("reason"), "");
        assert_eq!(client.rest(), b"");
    }
    assert_eq!(origin.connections(), 0);
}

/// The first probe is recorded, its repetitions are not; another path or client is recorded again.
#[test]
fn a_probe_is_told_once() {
    let origin = Origin::echo();
    let mut proxy = start(&origin, "");
    let mut ask = |fields: &str| {
        let mut client = Client::plain(proxy.address());
        client.send(request("GET", "/ws", fields));
        assert_eq!(client.response().status, 426);
        let line = proxy.terminal().expect(Reason::PlainHttpRequest);
        line.text("level").to_owned()
    };
    let levels = ["", "", "User-Agent: probe\r\n", "", "User-Agent: probe\r\n"].map(&mut ask);
    assert_eq!(levels, ["info", "debug", "info", "debug", "debug"]);
}

#[test]
fn a_probe_of_another_client_or_path_is_told() {
    let origin = Origin::echo();
    let setup = Setup {
        path: "/ws/*".to_owned(),
        extra: "trusted_proxies: [127.0.0.1]\n".to_owned(),
        ..Setup::plain(&origin.url())
    };
    let mut proxy = setup.start();
    let mut ask = |(path, from): (&str, &str)| {
        let mut client = Client::plain(proxy.address());
        client.send(request(
            "GET",
            path,
            &format!("X-Forwarded-For: {from}\r\n"),
        ));
        assert_eq!(client.response().status, 426);
        proxy.terminal().text("level").to_owned()
    };
    let (one, other) = ("192.0.2.1", "192.0.2.2");
    let asked = [
        ("/ws/a", one),
        ("/ws/a", one),
        ("/ws/a", other),
        ("/ws/b", one),
        ("/ws/b", one),
    ];
    assert_eq!(
        asked.map(&mut ask),
        ["info", "debug", "info", "info", "debug"]
    );
}
