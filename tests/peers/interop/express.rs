use serde_json::json;
use wsgate::reason::Reason;

use super::clients::STREAM;
use super::{Gate, Way, expect_closed, expect_identified, expect_refusal, frame};
use crate::harness::client::trusting;
use crate::harness::proxy::ORIGIN;
use crate::harness::{Client as RawClient, Line, eventually, handshake};
use crate::tools::programs::{Client, Family, Kind, Server, field, node_version, package_version};

#[test]
fn express_5_works_and_its_traps_are_told() {
    all("express", "5");
}

#[test]
fn express_4_works_and_its_traps_are_told() {
    all("express4", "4");
}

fn all(package: &str, major: &str) {
    let mut family = Family::new(format!(
        "node {}, express {}, express-ws {}",
        node_version(),
        package_version(package),
        package_version("express-ws")
    ));
    family.add(works(major));
    family.add(spellings_that_express_forgives(major));
    family.add(no_upgrade_listener(major));
    family.add(refused_after_the_101(major, "unauthorized"));
    family.add(refused_after_the_101(major, "unknown_path"));
    family.finish();
}

fn stack(mode: &str, major: &str) -> (Server, Gate) {
    let server = Server::program("express_ws.js", &[mode, major]);
    let gate = Gate::open(&[Way::new(STREAM, server.endpoint())]);
    (server, gate)
}

fn works(major: &str) -> usize {
    let (server, gate) = stack("ok", major);
    let mut passed = 0;
    for (case, kind) in [("node", Kind::Node), ("python", Kind::Python)] {
        let cases = ["text", "binary", "big_text", "big_binary", "close"];
        let report = gate.visit(kind, STREAM, case, json!({ "cases": cases }));
        passed += report.passed();
        expect_closed(gate.ended(case), Reason::ClientClose, 1000);
        let seen = server.handshake(case);
        assert_eq!(field(&seen, "host"), gate.host());
        assert_eq!(field(&seen, "origin"), ORIGIN);
        assert_eq!(field(&seen, "connection"), "Upgrade");
        assert_eq!(field(&seen, "upgrade"), "websocket");
        assert_eq!(server.event(&seen, "close").number("code"), Some(1000));
    }
    gate.close(2);
    passed
}

/// Express ignores letter case and a trailing slash; the path list does not.
fn spellings_that_express_forgives(major: &str) -> usize {
    let (server, gate) = stack("ok", major);
    let spellings = [
        ("case", "/API/Realtime-Voice/stream".to_owned()),
        ("slash", format!("{STREAM}/")),
    ];
    for (case, path) in &spellings {
        let report = gate.visit(Kind::Node, path, case, json!({}));
        let record = expect_refusal(&report, gate.ended(case), Reason::PathNearMiss);
        assert_eq!(record.number("status"), Some(404));
        assert!(record.text("hint").contains(STREAM), "{record:?}");
    }
    let handled = |line: &Line| !line.text("event").is_empty();
    assert!(!server.lines().iter().any(handled), "{:?}", server.lines());
    for (case, path) in &spellings {
        let url = format!("ws://127.0.0.1:{}{path}?case={case}", server.port());
        let report = Client::start(Kind::Node, &url, json!({ "cases": ["text", "close"] }));
        assert_eq!(report.finish().passed(), 2);
    }
    gate.close(spellings.len());
    spellings.len()
}

/// Node answers the handshake like a plain request and keeps the connection; that is not a tunnel.
fn no_upgrade_listener(major: &str) -> usize {
    let (server, gate) = stack("no_upgrade_listener", major);
    let kinds = [("node", Kind::Node), ("python", Kind::Python)];
    for (case, kind) in kinds {
        let report = gate.visit(kind, STREAM, case, json!({}));
        let (refusal, reason) = (report.refusal(), Reason::UpstreamNotFound);
        let record = gate.ended(case).expect(reason);
        assert_eq!(record.number("status"), Some(404));
        assert_eq!(record.text("event"), "refused");
        assert!(record.text("hint").contains("express-ws"), "{record:?}");
        assert_eq!(refusal.number("status"), Some(404));
        // Express's own text, with its own fields.
        let body = refusal.text("body");
        assert!(body.contains(&format!("Cannot GET {STREAM}")), "{body}");
        assert_eq!(field(&refusal, "x-powered-by"), "Express");
        assert!(field(&refusal, "proxy-status").contains("; received-status=404;"));
        expect_identified(&refusal, &record, reason);
    }
    // Express would keep the connection for more requests; the proxy ends the client's.
    let stream = format!("{STREAM}?case=raw");
    let mut raw = RawClient::tls_with(gate.proxy.address(), "localhost", trusting()).unwrap();
    let response = raw
        .send(handshake(&stream, &[("Host", &gate.host())]))
        .response();
    assert_eq!(response.status, 404);
    assert_eq!(raw.rest(), b"");
    gate.ended("raw").expect(Reason::UpstreamNotFound);

    // The server's log may be read a little later than the proxy's record.
    eventually("a log line for each request", || {
        let lines = server.lines();
        let requests = lines.iter().filter(|line| line.text("event") == "request");
        (requests.count() == kinds.len() + 1).then_some(())
    });
    gate.close(kinds.len() + 1);
    kinds.len() + 1
}

/// express-ws answers 101 before any code of the application runs: what would have been 401 or 404 is an empty Close.
fn refused_after_the_101(major: &str, mode: &str) -> usize {
    let (server, gate) = stack(mode, major);
    let kinds = [("node", Kind::Node), ("python", Kind::Python)];
    for (case, kind) in kinds {
        let report = gate.visit(kind, STREAM, case, json!({ "cases": ["wait_close"] }));
        assert_eq!(report.passed(), 1);
        // "No status received": the code for a Close frame without one.
        assert_eq!(report.close(), (1005, ""), "{mode} {case}");
        assert_eq!(gate.opened(case).number("status"), Some(101));
        let record = gate.ended(case);
        // On a very slow machine it may come later than a quarter of a second, and is then a Close like any other.
        let reason = match record.number("lasted_ms") {
            Some(250..) if record.text("reason") == "upstream_close" => Reason::UpstreamClose,
            _ => Reason::UpstreamCloseImmediate,
        };
        let record = expect_closed(record, reason, 1005);
        assert_eq!(
            record.number("bytes_upstream_to_client"),
            Some(frame(0, false))
        );
        assert_eq!(
            record.number("bytes_client_to_upstream"),
            Some(frame(0, true))
        );
    }
    let lines = server.lines();
    assert!(lines.iter().all(|line| line.text("event") != "connection"));
    gate.close(kinds.len());
    kinds.len()
}
