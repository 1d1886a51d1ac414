use wsgate::reason::Reason;

use super::{ROUTES, Web, read};
use crate::tools::programs::{Family, Server, node_version, package_version};

const MIB: u64 = 1024 * 1024;

#[test]
fn node_clients_of_express_are_served() {
    node("express");
}

#[test]
fn node_clients_of_a_bare_server_are_served() {
    node("bare");
}

fn node(kind: &str) {
    let mut family = Family::new(format!("node {}: fetch, http, {kind}", node_version()));
    let app = Server::program("web_server.js", &[kind]);
    let web = Web::open(ROUTES, &app);
    let cases = [
        "json",
        "upload",
        "upload_stream",
        "download",
        "head",
        "etag",
        "cookies",
        "gzip",
        "redirect",
        "errors",
        "trailers",
        "upload_trailers",
        "events",
        "kept",
    ];
    family.add(web.visit("web_client.js", &cases).passed());
    for (case, up, down) in [
        ("upload", 20 * MIB, None),
        ("upload_stream", 500_000, None),
        ("download", 0, Some(20 * MIB)),
        ("download_chunked", 0, Some(20 * MIB)),
        ("head", 0, Some(0)),
        ("not_modified", 0, Some(0)),
    ] {
        let record = web.request(case);
        assert_eq!(
            record.number("bytes_client_to_upstream"),
            Some(up),
            "{case}"
        );
        if let Some(down) = down {
            assert_eq!(
                record.number("bytes_upstream_to_client"),
                Some(down),
                "{case}"
            );
        }
    }
    assert_eq!(read(&app, "upload").number("bytes"), Some(20 * MIB));
    for (case, status) in [
        ("not_modified", 304),
        ("redirect", 302),
        ("missing", 404),
        ("error", 500),
    ] {
        assert_eq!(web.request(case).number("status"), Some(status), "{case}");
    }
    // One connection of the client, with a record and an id for each of its requests.
    let kept = web.requests("kept", 20);
    assert!(
        kept.iter()
            .all(|line| line.text("conn") == kept[0].text("conn"))
    );
    let mut ids: Vec<_> = kept.iter().map(|line| line.text("request_id")).collect();
    ids.dedup();
    assert_eq!(ids.len(), 20, "{ids:?}");
    web.close(&app);
    family.finish();
}

#[test]
fn python_clients_are_served() {
    let mut family = Family::new("python: http.client, urllib");
    let app = Server::program("web_server.js", &["bare"]);
    let web = Web::open(ROUTES, &app);
    family.add(
        web.visit("web_client.py", &["kept", "chunks", "methods", "urls"])
            .passed(),
    );
    let kept = web.requests("py_kept", 10);
    assert!(
        kept.iter()
            .all(|line| line.text("conn") == kept[0].text("conn"))
    );
    assert_eq!(
        web.request("py_chunks").number("bytes_client_to_upstream"),
        Some(30_000)
    );
    for method in ["PUT", "PATCH", "DELETE", "OPTIONS"] {
        let record = web.request(&format!("py_{}", method.to_lowercase()));
        assert_eq!(record.text("method"), method);
    }
    web.close(&app);
    family.finish();
}

/// One path for the polls and for the WebSocket that replaces them.
#[test]
fn socket_io_polls_and_upgrades() {
    let mut family = Family::new(format!("socket.io {}", package_version("socket.io")));
    let app = Server::program("web_server.js", &["socketio"]);
    let web = Web::open(ROUTES, &app);
    family.add(web.visit("web_client.js", &["socketio"]).passed());
    let upgraded = app.line("the upgrade", |line| line.text("event") == "upgraded");
    assert_eq!(upgraded.text("transport"), "websocket");
    let closed = web.proxy.event("closed");
    assert!(closed.text("path").starts_with("/socket.io/"), "{closed:?}");
    closed.expect(Reason::ClientClose);
    let opened = web.proxy.event("opened");
    assert_eq!(opened.text("route"), "/socket.io/*");
    let polls = |lines: &[crate::harness::Line]| {
        let polls = lines.iter().filter(|line| line.text("event") == "request");
        polls.cloned().collect::<Vec<_>>()
    };
    // The session, its first packet, and the poll that the upgrade ends.
    let before = web.proxy.wait("three polls", |lines| {
        Some(polls(lines)).filter(|polls| polls.len() >= 3)
    });
    assert!(
        before.iter().all(|line| line.number("status") == Some(200)),
        "{before:#?}"
    );

    family.add(web.visit("web_client.js", &["socketio_polling"]).passed());
    let lines = web.close(&app);
    assert!(polls(&lines).len() > before.len());
    let opened = lines.iter().filter(|line| line.text("event") == "opened");
    assert_eq!(opened.count(), 1);
    family.finish();
}
