use serde_json::json;
use wsgate::reason::Reason;

use super::{Behind, Site, libraries};
use crate::harness::proxy::ORIGIN;
use crate::harness::{Client as Raw, Line};
use crate::tools::hops::{Hop, haproxy_version};
use crate::tools::programs::{Client, Family, Kind, field, file, said_in_all};

/// A client of the hop, which speaks HTTP/1.1 to it; the hop speaks HTTP/2 to the proxy.
#[track_caller]
fn visit(site: &Site, hop: &Hop, case: &str) -> usize {
    let url = format!("ws://localhost:{}/ws?case={case}", hop.address().port());
    let cases = ["text", "big_binary", "fragmented", "ping", "close:4001:bye"];
    let options = json!({ "origin": ORIGIN, "cases": cases, "deflate": false });
    let report = Client::start(Kind::Node, &url, options).finish();
    assert_eq!(report.close(), (4001, "bye"));
    let record = site.record(case).expect(Reason::ClientClose);
    assert_eq!(record.text("method"), "CONNECT", "{record:?}");
    assert_eq!(record.number("close_code_client"), Some(4001));
    let seen = site.ws.handshake(case);
    assert_eq!(field(&seen, "origin"), ORIGIN);
    report.passed()
}

/// A plain request through the hop.
#[track_caller]
fn get(site: &Site, hop: &Hop, case: &str) -> Line {
    let request = format!(
        "GET /api/json?case={case} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    let response = Raw::plain(hop.address()).send(request).response();
    assert_eq!(response.text(), r#"{"token":null}"#);
    site.answered(case)
}

#[test]
fn haproxy_sends_websockets_over_http_2() {
    let mut family = Family::new(format!("{}: ws h2", haproxy_version()));
    let site = Site::open();
    let hop = Hop::haproxy_h2(site.proxy.address(), "");
    family.add(visit(&site, &hop, "haproxy_ws"));
    get(&site, &hop, "haproxy_get");
    family.add(1);
    // What the server ends, the client of the hop sees.
    for (command, close, reason) in [
        ("close:4001:bye", (4001, "bye"), Reason::UpstreamClosePolicy),
        (
            "terminate",
            (1014, "upstream_eof_no_close"),
            Reason::UpstreamEofNoClose,
        ),
    ] {
        let case = command.split(':').next().unwrap();
        let url = format!(
            "ws://localhost:{}/ws?case=haproxy_{case}",
            hop.address().port()
        );
        let told = [format!("tell:{command}")];
        let options = json!({ "origin": ORIGIN, "cases": told });
        let report = Client::start(Kind::Node, &url, options).finish();
        assert_eq!(report.close(), close);
        site.record(&format!("haproxy_{case}")).expect(reason);
        family.add(1);
    }
    drop(hop);
    site.proxy.stop();
    family.finish();
}

/// HTTP/2 on both sides of HAProxy, with many streams.
#[test]
fn haproxy_with_http_2_on_both_sides_works() {
    let mut family = Family::new(format!("{}: h2 on both sides", haproxy_version()));
    let site = Site::open();
    let certificate = Behind::certificate(site.proxy.folder());
    let bind = format!("ssl crt {} alpn h2", certificate.display());
    let hop = Hop::haproxy_h2(site.proxy.address(), &bind);
    // What depends on how HAProxy ends streams is not for this test.
    let cases = ["get", "post", "upload", "download", "streams", "refused"];
    assert!(cases.iter().all(|case| libraries::PYTHON.contains(case)));
    let report = site.visit_at("h2_client.py", hop.address().port(), &cases);
    family.add(report.passed());
    for number in 0..5 {
        let record = site.record(&format!("h2_many_{number}"));
        record.expect(Reason::ClientClose);
    }
    drop(hop);
    site.proxy.stop();
    family.finish();
}

/// Envoy and its version.
fn envoy_version() -> String {
    let program = file(".venv/bin/envoy");
    let line = said_in_all(program.to_str().unwrap(), &["--version"]);
    let version = line.split("version: ").nth(1).unwrap();
    format!("envoy {}", version.split('/').nth(1).unwrap())
}

#[test]
fn envoy_with_http_2_on_both_sides_works() {
    let mut family = Family::new(format!("{}: h2 on both sides", envoy_version()));
    let site = Site::open();
    let hop = Hop::envoy_h2(site.proxy.address(), site.proxy.folder());
    let cases = [
        "get",
        "post",
        "trailers",
        "upload",
        "download",
        "cancelled",
        "streams",
        "tunnel",
        "reset",
        "server_close",
        "refused",
    ];
    assert!(cases.iter().all(|case| libraries::PYTHON.contains(case)));
    let report = site.visit_at("h2_client.py", hop.address().port(), &cases);
    family.add(report.passed());
    let record = site.record("h2_tunnel").expect(Reason::ClientClose);
    assert_eq!(record.number("close_code_client"), Some(4001));
    // Envoy passes on how a stream was ended.
    site.record("h2_reset").expect(Reason::ClientReset);
    site.record("h2_told_close")
        .expect(Reason::UpstreamClosePolicy);
    for number in 0..5 {
        let record = site.record(&format!("h2_many_{number}"));
        record.expect(Reason::ClientClose);
    }
    drop(hop);
    site.proxy.stop();
    family.finish();
}

/// Envoy passes Sec-WebSocket-Key on over HTTP/2, and has nothing of its own to answer its client of HTTP/1.1 with. The
/// Accept value does not cross (RFC 8441 section 5), so the client ends the tunnel.
#[test]
fn a_client_of_http_1_1_behind_envoy_misses_the_accept_value() {
    let mut family = Family::new(format!("{}: h1 to h2", envoy_version()));
    let site = Site::open();
    let hop = Hop::envoy_h2(site.proxy.address(), site.proxy.folder());
    let port = hop.address().port();
    let url = format!("wss://localhost:{port}/ws?case=envoy_ws");
    let options = json!({ "ca": site.authority, "origin": ORIGIN, "cases": ["text"] });
    let report = Client::start(Kind::Node, &url, options).finish();
    let message = report.error_message();
    assert_eq!(message, "Invalid Sec-WebSocket-Accept header");
    let record = site.record("envoy_ws");
    assert_eq!(record.text("event"), "closed", "{record:?}");
    family.add(1);
    drop(hop);
    site.proxy.stop();
    family.finish();
}
