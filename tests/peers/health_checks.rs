//! Health checks by real programs: HAProxy in front of listeners, and the client of a standard library.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use crate::harness::services::{self, probes};
use crate::harness::{Origin, Setup, eventually};
use crate::tools::hops::Hop;
use crate::tools::programs::tool;

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

/// HAProxy's result for its one server, such as `("UP", "L7OK", "200")`.
fn checked(socket: &Path) -> (String, String, String) {
    eventually("a check of HAProxy's", || {
        let mut stream = UnixStream::connect(socket).ok()?;
        stream.write_all(b"show stat\n").ok()?;
        let mut table = String::new();
        stream.read_to_string(&mut table).ok()?;
        let mut lines = table
            .lines()
            .map(|line| line.split(',').collect::<Vec<_>>());
        let names = lines.next()?;
        let server = lines.find(|line| line.get(1) == Some(&"proxy"))?;
        let column = |name: &str| {
            let at = names.iter().position(|found| *found == name)?;
            Some((*server.get(at)?).to_owned())
        };
        // Before the first check it counts as UP; `*` precedes the status of a check in progress.
        let found = column("check_status")?;
        let is_done = found.starts_with("L7") || found.starts_with("L6") || found.starts_with("L4");
        is_done.then_some((column("status")?, found, column("check_code")?))
    })
}

fn haproxy_finds(to: SocketAddr, lines: &str, server: &str) -> (String, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("stats");
    let global = format!("global\n  stats socket {}\n", socket.display());
    let server = format!("check inter 200ms fall 1 rise 1 {server}");
    let _hop = Hop::haproxy_with(to, &server, &global, lines);
    checked(&socket)
}

fn found(status: &str, check: &str, code: &str) -> (String, String, String) {
    (status.to_owned(), check.to_owned(), code.to_owned())
}

#[test]
fn haproxy_checks_with_a_bare_httpchk() {
    let origin = Origin::echo();
    let mut proxy = setup(&origin).start();
    let up = found("UP", "L7OK", "200");
    assert_eq!(haproxy_finds(proxy.address(), "option httpchk", ""), up);
    let line = proxy.terminal();
    assert_eq!(
        (
            line.text("method"),
            line.text("path"),
            line.text("http_version")
        ),
        ("OPTIONS", "/", "1.0"),
    );
    assert_eq!(line.text("host"), "");
    for lines in [
        "option httpchk GET /",
        "option httpchk HEAD / HTTP/1.0",
        "option httpchk OPTIONS / HTTP/1.1\n  http-check send hdr Host api.example.com",
        "option httpchk\n  http-check send meth GET uri / ver HTTP/1.1 hdr Host api.example.com",
    ] {
        assert_eq!(haproxy_finds(proxy.address(), lines, ""), up, "{lines}");
    }
    let down = found("DOWN", "L7STS", "503");
    assert_eq!(
        haproxy_finds(proxy.address(), "option httpchk GET /down", ""),
        down
    );
    let refused = found("DOWN", "L7STS", "400");
    assert_eq!(
        haproxy_finds(proxy.address(), "option httpchk GET /ws", ""),
        refused
    );
    assert_eq!(origin.connections(), 0);
}

#[test]
fn haproxy_checks_a_tls_listener() {
    let origin = Origin::echo();
    let plain = setup(&origin);
    let proxy = Setup {
        routes: plain.routes,
        ..Setup::tls(&origin.url())
    }
    .start();
    let up = found("UP", "L7OK", "200");
    for server in [
        "check-ssl verify none",
        "check-ssl verify none check-sni api.example.com",
        "check-ssl verify none check-sni api.example.com check-alpn http/1.1",
        "check-ssl verify none check-alpn http/1.0",
    ] {
        assert_eq!(
            haproxy_finds(proxy.address(), "option httpchk", server),
            up,
            "{server}"
        );
    }
}

#[test]
fn haproxy_checks_behind_a_proxy_header_and_at_probes() {
    let origin = Origin::echo();
    let plain = setup(&origin);
    let proxy = services::start(&Setup {
        listener: "proxy_protocol: required".to_owned(),
        extra: "trusted_proxies: [127.0.0.1]\n".to_owned(),
        ..plain
    });
    let up = found("UP", "L7OK", "200");
    let to = proxy.address();
    let sends = "check-send-proxy";
    assert_eq!(haproxy_finds(to, "option httpchk", sends), up);
    let elsewhere = format!("port {}", probes(&proxy).port());
    assert_eq!(
        haproxy_finds(to, "option httpchk GET /readyz", &elsewhere),
        up
    );
}

/// The client of a standard library, as scripts and platforms use it.
#[test]
fn python_is_answered() {
    let proxy = services::start(&Setup::plain("\"builtin:echo\""));
    let script = "import sys, urllib.request as r\n\
                  answer = r.urlopen(sys.argv[1], timeout=20)\n\
                  print(answer.status, answer.read().decode(), end='')";
    let url = format!("http://{}/readyz", probes(&proxy));
    let asked = Command::new(tool("WSGATE_PYTHON"))
        .args(["-c", script, &url])
        .output()
        .unwrap();
    let said = String::from_utf8(asked.stdout).unwrap();
    assert_eq!(said, "200 ready: 0 connections open\n");
}
