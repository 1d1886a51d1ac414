use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use tempfile::TempDir;
use wsgate::reason::Reason;

use super::{Gate, Way, clients, expect_closed, expect_refusal};
use crate::harness::PATIENCE;
use crate::harness::certs::{Authority, Kind as Certificate};
use crate::tools::programs::{Family, Kind, Server, field};

/// A Node server behind TLS with a certificate of the shared authority for `localhost`, and the folder of its files.
fn secure(more: Value) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::shared();
    let names = ["localhost"];
    let (cert, key) = authority.write(folder.path(), "server", &names, Certificate::Good);
    let mut options = json!({ "cert": cert, "key": key });
    for (name, value) in more.as_object().unwrap() {
        options[name] = value.clone();
    }
    (Server::start(Kind::Node, options), folder)
}

fn over_tls<'a>(path: &'a str, server: &Server, upstream: &'static str) -> Way<'a> {
    Way {
        upstream,
        ..Way::new(path, format!("https://localhost:{}", server.port()))
    }
}

const CASES: [&str; 7] = [
    "text",
    "binary",
    "big_text",
    "big_binary",
    "fragmented",
    "ping",
    "close",
];

#[test]
fn messages_pass_to_node_behind_tls_and_on_a_unix_socket() {
    let mut family = Family::new(format!(
        "{}: over TLS and unix sockets",
        Kind::Node.version()
    ));
    let (server, _files) = secure(json!({}));
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    let local = Server::start(Kind::Node, json!({ "unix": socket }));
    let gate = Gate::open(&[
        over_tls("/tls", &server, ", tls: { ca: ca.pem }"),
        Way::new("/unix", format!("unix:{}", socket.display())),
    ]);
    for (path, server) in [("/tls", &server), ("/unix", &local)] {
        let case = path.trim_start_matches('/');
        let report = gate.visit(Kind::Node, path, case, json!({ "cases": CASES }));
        family.add(report.passed());
        expect_closed(gate.ended(case), Reason::ClientClose, 1000);
        let seen = server.handshake(case);
        assert_eq!(field(&seen, "host"), gate.host());
        let closed = server.event(&seen, "close");
        assert_eq!(closed.number("code"), Some(1000));
        // The server's own Close and its cut are passed on as well.
        let report = gate.visit(
            Kind::Node,
            path,
            &format!("{case}-server"),
            json!({ "cases": ["server_close:4001:bye"] }),
        );
        assert_eq!(report.close(), (4001, "bye"));
        gate.ended(&format!("{case}-server"))
            .expect(Reason::UpstreamClosePolicy);
        let report = gate.visit(
            Kind::Node,
            path,
            &format!("{case}-cut"),
            json!({ "cases": ["terminate"] }),
        );
        assert_eq!(report.close().0, 1014);
        let cut = gate.ended(&format!("{case}-cut"));
        let reason = cut.text("reason");
        assert!(
            ["upstream_eof_no_close", "upstream_reset"].contains(&reason),
            "{cut:?}"
        );
        family.add(2);
    }
    gate.close(6);
    family.finish();
}

#[test]
fn node_behind_tls_is_refused_for_what_is_wrong() {
    let mut family = Family::new(format!("{}: TLS refused", Kind::Node.version()));
    let (server, files) = secure(json!({}));
    let ca = files.path().join("clients.pem");
    std::fs::write(&ca, Authority::shared().pem()).unwrap();
    let (wanting, _files) = secure(json!({ "client_ca": ca }));
    let (http2, _files) = secure(json!({ "h2": true }));
    let plain = Server::start(Kind::Node, json!({}));
    let clear = format!("http://localhost:{}", server.port());
    let gate = Gate::open(&[
        // The certificate that the proxy shows to clients is not an authority for the upstream's.
        over_tls("/untrusted", &server, ", tls: { ca: good.pem }"),
        over_tls(
            "/misnamed",
            &server,
            ", tls: { ca: ca.pem, server_name: other.internal }",
        ),
        over_tls("/wanting", &wanting, ", tls: { ca: ca.pem }"),
        over_tls("/http2", &http2, ", tls: { ca: ca.pem }"),
        over_tls("/plain", &plain, ", tls: { ca: ca.pem }"),
        Way::new("/clear", clear),
    ]);
    let cases = [
        (
            "untrusted",
            Reason::UpstreamTlsVerifyFailed,
            "is not trusted",
        ),
        (
            "misnamed",
            Reason::UpstreamTlsVerifyFailed,
            "is for localhost; expected other.internal",
        ),
        ("wanting", Reason::UpstreamTlsFailed, "alert 116"),
        ("http2", Reason::UpstreamAlpnH2, ""),
        ("plain", Reason::UpstreamTlsToPlainPort, "HTTP/1.1 400"),
    ];
    for (case, reason, detail) in cases {
        let path = format!("/{case}");
        let report = gate.visit(Kind::Node, &path, case, json!({ "cases": ["text"] }));
        expect_refusal(&report, gate.ended(case), reason).with_detail(detail);
        family.add(1);
    }
    // Node closes a connection that is not TLS without an answer.
    let report = gate.visit(Kind::Node, "/clear", "clear", json!({ "cases": ["text"] }));
    let record = gate.ended("clear");
    let reason: Reason = record.text("reason").parse().unwrap();
    assert!(
        matches!(
            reason,
            Reason::UpstreamPlainToTlsPort
                | Reason::UpstreamClosedBeforeResponse
                | Reason::UpstreamResetOnConnect
        ),
        "{record:?}"
    );
    expect_refusal(&report, record, reason);
    family.add(1);
    gate.close(cases.len() + 1);
    family.finish();
}

#[test]
fn a_server_that_is_killed_leaves_its_clients_to_the_other() {
    let mut family = Family::new(format!("{}: one of two killed", Kind::Node.version()));
    let servers = [
        Server::start(Kind::Node, json!({})),
        Server::start(Kind::Node, json!({})),
    ];
    let both = format!("{}\", \"{}", servers[0].endpoint(), servers[1].endpoint());
    let gate = Gate::open(&[Way::new(clients::STREAM, both)]);
    let endpoint = |case: &str| {
        let opened = gate.opened(case);
        let attempts = opened.0["attempts"].as_array().unwrap().clone();
        let last = attempts.last().unwrap()["endpoint"].as_str().unwrap();
        (last.to_owned(), attempts.len())
    };
    let mut waiting = Vec::new();
    for case in ["first", "second"] {
        let options = json!({ "cases": ["text", "wait_close"] });
        let client = gate.start(Kind::Node, clients::STREAM, case, options);
        client.did("text");
        waiting.push((case, client));
    }
    let [killed, left] = servers;
    assert_eq!(endpoint("first"), (killed.endpoint(), 1));
    assert_eq!(endpoint("second"), (left.endpoint(), 1));
    killed.kill();
    let (case, client) = waiting.remove(0);
    assert_eq!(client.finish().close().0, 1014);
    let record = gate.ended(case);
    assert!(record.text("reason").starts_with("upstream_"), "{record:?}");
    family.add(1);
    // New clients get the other endpoint, the first of them after a failed attempt; the tunnel to it continues.
    for case in ["third", "fourth", "fifth"] {
        let options = json!({ "cases": ["text", "close"] });
        let report = gate.visit(Kind::Node, clients::STREAM, case, options);
        family.add(report.passed());
        assert_eq!(endpoint(case).0, left.endpoint());
        gate.ended(case).expect(Reason::ClientClose);
    }
    let tries: usize = ["third", "fourth", "fifth"]
        .into_iter()
        .map(|case| endpoint(case).1 - 1)
        .sum();
    assert_eq!(tries, 1, "it is dialled once, and then comes last");
    let (case, client) = waiting.remove(0);
    assert!(gate.proxy.lines().iter().all(|line| {
        line.text("event") != "closed" || !line.text("path").ends_with(&format!("?case={case}"))
    }));
    client.kill();
    gate.ended(case);
    gate.close(5);
    family.finish();
}

/// Tells a `ws_server.js` how to answer health checks.
fn set_health(server: &Server, status: u16) {
    let port = u16::try_from(server.port()).unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "PUT /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n\r\n{status}"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn a_server_that_says_it_is_ill_gets_no_clients_until_it_is_well() {
    let mut family = Family::new(format!("{}: health checks", Kind::Node.version()));
    let server = Server::start(Kind::Node, json!({}));
    let gate = Gate::open(&[Way {
        upstream: ", health_check: { path: /health, interval: 100ms }",
        ..Way::new(clients::STREAM, server.endpoint())
    }]);
    let change = |count: usize| {
        gate.proxy.wait("a change of health", |lines| {
            let mut changes = lines
                .iter()
                .filter(|line| line.text("event") == "upstream_health");
            changes.nth(count).cloned()
        })
    };
    let visit = |case: &str| {
        let options = json!({ "cases": ["text", "close"] });
        gate.visit(Kind::Node, clients::STREAM, case, options)
    };
    family.add(visit("well").passed());
    // An open tunnel stays while its server is unhealthy.
    let patient = gate.start(
        Kind::Node,
        clients::STREAM,
        "patient",
        json!({ "cases": ["text", "idle:500", "close"] }),
    );
    patient.did("text");
    set_health(&server, 503);
    change(0).with_detail("is unhealthy: answered 503");
    let report = visit("ill");
    let record = expect_refusal(&report, gate.ended("ill"), Reason::UpstreamNoneHealthy);
    assert_eq!(field(&report.refusal(), "retry-after"), "5");
    assert_eq!(record.0.get("attempts"), None);
    set_health(&server, 200);
    change(1).with_detail("is healthy: answered 200");
    family.add(visit("again").passed() + patient.finish().passed() + 1);
    for case in ["well", "again", "patient"] {
        expect_closed(gate.ended(case), Reason::ClientClose, 1000);
    }
    gate.close(4);
    family.finish();
}
