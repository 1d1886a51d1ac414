use std::collections::BTreeSet;

use serde_json::{Value, json};
use wsgate::reason::Reason;

use super::{Site, h2_version};
use crate::harness::Line;
use crate::harness::proxy::ORIGIN;
use crate::tools::programs::{
    Family, Report, field, fields, node_version, package_version, said, tool,
};

/// The cases of `h2_client.py`.
pub const PYTHON: &[&str] = &[
    "get",
    "head",
    "post",
    "trailers",
    "cookies",
    "upload",
    "download",
    "cancelled",
    "stalled",
    "streams",
    "tunnel",
    "ended_without_close",
    "reset",
    "server_close",
    "server_terminate",
    "server_reset",
    "refused",
];

/// The cases of `h2_client.js`.
pub const NODE: &[&str] = &[
    "get",
    "post",
    "trailers",
    "download",
    "events",
    "both_ways",
    "tunnel",
    "tunnels",
    "reset",
    "refused",
    "server_close",
    "server_terminate",
];

/// The cases of `httpx_client.py`.
pub const HTTPX: &[&str] = &["get", "post", "stream", "many", "left"];

const MIB: u64 = 1024 * 1024;

/// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 section 3).
const CONNECT_PROTOCOL: &str = "8";

#[test]
fn requests_and_tunnels_of_python_share_a_connection() {
    let mut family = Family::new(h2_version());
    let site = Site::open();
    let report = site.visit("h2_client.py", PYTHON);
    family.add(report.passed());
    let open = report.open();
    assert_eq!(open.0["settings"][CONNECT_PROTOCOL], 1, "{open:?}");
    plain_requests(&site, &report);
    tunnels(&site, &report);
    several_at_once(&site, &report);

    // A refusal is an answer in one stream.
    let (refused, record) = (report.detail("refused"), site.record("h2_refused"));
    let record = record.expect(Reason::PathNotAllowed);
    assert_eq!(refused.number("status"), record.number("status"));
    let body = refused.text("body");
    assert!(body.starts_with("path_not_allowed"), "{refused:?}");
    site.answered("h2_after_refused");
    assert!(report.last().0["goaway"].is_null(), "{:?}", report.last());
    site.close("h2_");
    family.finish();
}

fn plain_requests(site: &Site, report: &Report) {
    let record = site.answered("h2_get");
    let stream = report.detail("get").number("stream");
    assert_eq!(record.number("stream_id"), stream, "{record:?}");
    assert_eq!(record.text("method"), "GET");
    assert_eq!(record.text("host"), format!("localhost:{}", site.port()));
    let mark = "/api/json?case=h2_get";
    let seen = site.app.line(mark, |line| line.text("url") == mark);
    assert_eq!(field(&seen, "host"), record.text("host"));
    assert_eq!(field(&seen, "x-forwarded-proto"), "https");
    assert_eq!(field(&seen, "x-request-id"), record.text("request_id"));
    let pseudo = |(name, _): &(&str, &str)| name.starts_with(':');
    assert!(!fields(&seen).iter().any(pseudo), "{seen:?}");

    let trailers = json!({ "x-sum": "abc" });
    assert_eq!(report.detail("post").0, trailers);
    assert_eq!(report.detail("trailers").0, trailers);
    // For HTTP/1.1 they are one field again (RFC 9113 section 8.2.3).
    assert_eq!(report.detail("cookies").0, "a=1; b=2");
    let sent = site.answered("h2_post").number("bytes_client_to_upstream");
    assert_eq!(sent, Some(200_000));
    let sent = site
        .answered("h2_upload")
        .number("bytes_client_to_upstream");
    assert_eq!(sent, Some(8 * MIB));
    let received = site.answered("h2_download");
    let received = received.number("bytes_upstream_to_client");
    assert_eq!(received, Some(8 * MIB));
    let received = site.answered("h2_head").number("bytes_upstream_to_client");
    assert_eq!(received, Some(0));
    for case in ["h2_trailers", "h2_cookies", "h2_stalled", "h2_beside_9"] {
        site.answered(case);
    }
    let left = site.record("h2_cancelled");
    assert_eq!(left.text("reason"), Reason::ClientLeftResponse.code());
    site.answered("h2_after_cancelled");
}

fn tunnels(site: &Site, report: &Report) {
    // The Close went both ways, and the stream ended with END_STREAM.
    let detail = report.detail("tunnel");
    assert_eq!(detail.0["close"], json!({ "code": 4001, "reason": "bye" }));
    expect_end_stream(&detail);
    expect_no_handshake(&detail);
    let record = site.record("h2_tunnel").expect(Reason::ClientClose);
    assert_eq!(record.text("method"), "CONNECT", "{record:?}");
    assert_eq!(record.text("origin"), ORIGIN, "{record:?}");
    assert_eq!(record.number("stream_id"), detail.number("stream"));
    for side in ["close_code_client", "close_code_upstream", "client_sees"] {
        assert_eq!(record.number(side), Some(4001), "{side}: {record:?}");
    }
    // The upstream saw an opening handshake of HTTP/1.1.
    let seen = site.ws.handshake("h2_tunnel");
    assert_eq!(field(&seen, "upgrade"), "websocket");
    assert_eq!(field(&seen, "connection").to_lowercase(), "upgrade");
    assert_eq!(field(&seen, "sec-websocket-version"), "13");
    assert_eq!(field(&seen, "sec-websocket-key").len(), 24);
    assert_eq!(field(&seen, "host"), format!("localhost:{}", site.port()));
    assert_eq!(field(&seen, "origin"), ORIGIN);

    // END_STREAM without a Close is a clean end of the stream, and RST_STREAM is a reset.
    let record = site.record("h2_ended_without_close");
    record.expect(Reason::ClientEofNoClose);
    let record = site.record("h2_reset").expect(Reason::ClientReset);
    assert_eq!(record.number("client_sees"), Some(1006), "{record:?}");
    site.answered("h2_after_reset");

    let closed = report.detail("server_close");
    assert_eq!(closed.0["close"], json!({ "code": 4001, "reason": "bye" }));
    expect_end_stream(&closed);
    site.record("h2_told_close")
        .expect(Reason::UpstreamClosePolicy);
    // The server cut the tunnel, and the proxy says so to the client, as over HTTP/1.1. wsproto does not know the code
    // that it uses, and answers with one of its own.
    for (case, reason) in [
        ("terminate", Reason::UpstreamEofNoClose),
        ("reset", Reason::UpstreamReset),
    ] {
        let told = report.detail(&format!("server_{case}"));
        let close = json!({ "code": 1002, "reason": "CLOSE with unknown reserved code" });
        assert_eq!(told.0["close"], close, "{told:?}");
        expect_end_stream(&told);
        let record = site.record(&format!("h2_told_{case}")).expect(reason);
        assert_eq!(record.number("close_code_proxy"), Some(1014), "{record:?}");
        assert_eq!(record.number("close_code_client"), Some(1002), "{record:?}");
    }
}

/// A tunnel's stream ended cleanly on the side of the proxy.
#[track_caller]
fn expect_end_stream(detail: &Line) {
    assert_eq!(detail.0["ended"], true, "{detail:?}");
}

/// What belongs to the handshake of HTTP/1.1 does not cross (RFC 8441 section 5).
#[track_caller]
fn expect_no_handshake(detail: &Line) {
    for (name, _) in fields(detail) {
        let crossed = [
            "sec-websocket-accept",
            "sec-websocket-key",
            "upgrade",
            "connection",
        ];
        assert!(!crossed.contains(&name), "{detail:?}");
    }
}

/// One tunnel ended while its neighbours went on, and each record is of the right stream.
fn several_at_once(site: &Site, report: &Report) {
    let ids = report.detail("streams");
    let ids: Vec<_> = ids
        .0
        .as_array()
        .unwrap()
        .iter()
        .map(Value::as_u64)
        .collect();
    let records: Vec<_> = (0..5)
        .map(|number| site.record(&format!("h2_many_{number}")))
        .collect();
    for (record, id) in records.iter().zip(&ids) {
        assert_eq!(record.number("stream_id"), *id, "{record:?}");
        assert_eq!(record.text("reason"), Reason::ClientClose.code());
        // `opened` and `closed` are joined by both numbers.
        let opened = site.proxy.wait("opened", |lines| {
            let is = |line: &&Line| {
                line.text("event") == "opened"
                    && line.number("stream_id") == *id
                    && line.text("conn") == record.text("conn")
            };
            lines.iter().find(is).cloned()
        });
        assert_eq!(opened.text("path"), record.text("path"));
    }
    let ended = |record: &Line| record.time("ended_at");
    assert!(
        records
            .iter()
            .all(|record| ended(&records[2]) <= ended(record))
    );
    for number in 0..20 {
        site.answered(&format!("h2_among_{number}"));
    }
}

#[test]
fn requests_and_tunnels_of_node_share_a_connection() {
    let name = format!(
        "node {} http2, ws {}",
        node_version(),
        package_version("ws")
    );
    let mut family = Family::new(name);
    let site = Site::open();
    let report = site.visit("h2_client.js", NODE);
    family.add(report.passed());
    let open = report.open();
    assert_eq!(
        open.0["settings"]["enableConnectProtocol"], true,
        "{open:?}"
    );
    let trailers = json!({ "x-sum": "abc" });
    assert_eq!(report.detail("post").0, trailers);
    assert_eq!(report.detail("trailers").0, trailers);
    assert_eq!(report.detail("both_ways").0, json!({ "grpc-status": "0" }));
    for case in [
        "get",
        "post",
        "trailers",
        "download",
        "both_ways",
        "after_reset",
    ] {
        site.answered(&format!("node_{case}"));
    }
    let left = site.record("node_events");
    assert_eq!(left.text("reason"), Reason::ClientLeftResponse.code());

    let tunnel = report.detail("tunnel");
    assert_eq!(
        (tunnel.number("code"), tunnel.text("reason")),
        (Some(4001), "bye"),
        "{tunnel:?}"
    );
    expect_no_handshake(&tunnel);
    let record = site.record("node_tunnel").expect(Reason::ClientClose);
    assert_eq!(record.number("stream_id"), tunnel.number("stream"));
    let closed = report.detail("server_close");
    assert_eq!(
        (closed.number("code"), closed.text("reason")),
        (Some(4001), "bye")
    );
    let told = report.detail("server_terminate");
    let reason = Reason::UpstreamEofNoClose;
    assert_eq!(
        (told.number("code"), told.text("reason")),
        (Some(1014), reason.code())
    );
    site.record("node_server_terminate").expect(reason);
    // Node sends END_STREAM right before RST_STREAM, and either may be seen first.
    let reset = site.record("node_reset");
    let reasons = [Reason::ClientReset, Reason::ClientEofNoClose].map(Reason::code);
    assert!(reasons.contains(&reset.text("reason")), "{reset:?}");
    assert_eq!(report.detail("refused").number("status"), Some(404));
    site.record("node_refused").expect(Reason::PathNotAllowed);
    let tunnels = site.records("node_tunnels", 10);
    let streams: BTreeSet<_> = tunnels
        .iter()
        .map(|line| line.number("stream_id"))
        .collect();
    assert_eq!(streams.len(), 10, "{tunnels:?}");
    site.close("node_");
    family.finish();
}

#[test]
fn requests_of_httpx_share_a_connection() {
    let name = "import httpx; print(f'httpx {httpx.__version__}')";
    let mut family = Family::new(said(&tool("WSGATE_PYTHON"), &["-c", name]));
    let site = Site::open();
    family.add(site.visit("httpx_client.py", HTTPX).passed());
    let post = site.answered("httpx_post");
    assert_eq!(post.number("bytes_client_to_upstream"), Some(3 * MIB));
    let stream = site.answered("httpx_stream");
    assert_eq!(stream.number("bytes_upstream_to_client"), Some(4 * MIB));
    assert_eq!(site.records("httpx_many", 50).len(), 50);
    let left = site.record("httpx_left");
    assert_eq!(left.text("reason"), Reason::ClientLeftResponse.code());
    site.answered("httpx_after_left");
    site.close("httpx_");
    family.finish();
}
