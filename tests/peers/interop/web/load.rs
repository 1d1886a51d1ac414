use std::collections::HashSet;

use serde_json::json;

use super::{ROUTES, STREAM, Web};
use crate::tools::programs::{Client, Family, Kind, Server};

const CLIENTS: usize = 200;
const REQUESTS: usize = 50;

/// Connections that the proxy keeps for one endpoint.
const KEPT: u64 = 64;

#[test]
fn many_kept_connections_beside_a_tunnel() {
    let mut family = Family::new("plain requests under load");
    let app = Server::program("web_server.js", &["bare"]);
    let web = Web::open(ROUTES, &app);
    let url = web.secure("localhost").replace("https", "wss") + STREAM + "?case=beside";
    let options = json!({
        "ca": web.authority, "cases": ["text", "wait_close"],
    });
    let beside = Client::start(Kind::Node, &url, options);
    beside.did("text");
    let client = web.start(
        "web_client.js",
        &["load"],
        json!({ "clients": CLIENTS, "requests": REQUESTS }),
    );
    let all = CLIENTS * REQUESTS;
    for done in (1000..=all).step_by(1000) {
        client.did(&format!("load {done}"));
    }
    assert_eq!(client.finish().passed(), 1);
    let records = web.requests("load", all);
    assert_eq!(records.len(), all);
    let ids: HashSet<_> = records.iter().map(|line| line.text("request_id")).collect();
    assert_eq!(ids.len(), all);
    let conns: HashSet<_> = records.iter().map(|line| line.text("conn")).collect();
    assert_eq!(conns.len(), CLIENTS);
    assert!(records.iter().all(|line| line.text("reason").is_empty()));

    let count = web.curl(&[], &["/api/connections?case=connections"]).json();
    // In addition to the kept ones: the tunnel's, and the one that asks.
    assert!(count.number("open").unwrap() <= KEPT + 2, "{count:?}");
    // And only few requests needed a new connection.
    assert!(
        count.number("opened").unwrap() < all as u64 / 2,
        "{count:?}"
    );
    family.add(all);
    web.close(&app);
    beside.finish();
    family.finish();
}
