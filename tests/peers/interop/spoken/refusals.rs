use serde_json::json;
use wsgate::reason::Reason;

use super::{Crowd, Told, family};
use crate::harness::Line;
use crate::interop::clients::down;
use crate::interop::{Gate, Way, expect_refusal};
use crate::tools::programs::{Kind, Server};

/// Compares a refusal that came as a tunnel with its record.
#[track_caller]
fn expect_explained(told: &Told, record: Line, reason: Reason, code: u64) {
    assert_eq!(told.close(), (code, reason.code()), "{}", told.case);
    // The first offered one, because a browser fails a connection that chooses none; and no extension.
    assert_eq!(told.protocol, "voice.v2", "{}", told.case);
    assert_eq!(told.extensions, "", "{}", told.case);
    let record = record.expect(reason);
    assert_eq!(record.text("event"), "refused");
    assert_eq!(record.number("status"), Some(101), "{record:?}");
    assert_eq!(record.number("client_sees"), Some(code), "{record:?}");
    assert_eq!(record.notes(), ["refusal_explained"], "{record:?}");
}

#[test]
fn a_refusal_can_be_read_by_script() {
    let mut family = family("explained refusals");
    let (_held, down) = down();
    let node = Server::start(Kind::Node, json!({}));
    let refuse = json!({ "refuse": { "status": 401, "body": "no token" } });
    let refusing = Server::start(Kind::Node, refuse.clone());
    let refusing_too = Server::start(Kind::Python, refuse);
    let mut crowd = Crowd::new();
    crowd.protocols = "voice.v2,voice.v1";
    let (all, none) = (
        crowd.origins() + ", explain_refusals: true",
        "origins: [https://nobody.example.com], explain_refusals: true",
    );
    let gate = Gate::open(&[
        Way::with("/foreign", node.endpoint(), none),
        Way::with("/down", down, all.clone()),
        Way::with("/refusing-node", refusing.endpoint(), all.clone()),
        Way::with("/refusing-python", refusing_too.endpoint(), all),
    ]);
    let rows = [
        ("/foreign", Reason::OriginNotAllowed, 1008),
        ("/down", Reason::UpstreamRefused, 1013),
        ("/refusing-node", Reason::UpstreamUnauthorized, 1008),
        ("/refusing-python", Reason::UpstreamUnauthorized, 1008),
    ];
    let mut expected = Vec::new();
    for (path, reason, code) in rows {
        let names = crowd.add(&gate, path, &path[1..], &["wait_close"]);
        expected.extend(names.map(|name| (name, reason, code)));
    }
    crowd.browse(&gate);
    let told = crowd.told();
    for (case, reason, code) in &expected {
        let told = told.iter().find(|told| told.case == *case).unwrap();
        expect_explained(told, gate.ended(case), *reason, *code);
    }
    for (server, name) in [(&refusing, "node"), (&refusing_too, "python")] {
        for client in super::CLIENTS {
            let seen = server.handshake(&format!("refusing-{name}-{client}"));
            assert_eq!(seen.number("status"), Some(401));
        }
    }
    // A request that matches no route is answered as usual.
    let report = gate.visit(Kind::Node, "/nowhere", "path", json!({}));
    expect_refusal(&report, gate.ended("path"), Reason::PathNotAllowed);
    // Only its port: the refused requests did not reach it.
    assert_eq!(node.lines().len(), 1, "{:?}", node.lines());
    family.add(expected.len() + 1);
    gate.close(expected.len() + 1);
    family.finish();
}

#[test]
fn a_shutdown_sends_late_clients_away_in_words() {
    let mut family = family("explained refusals of a shutdown");
    let node = Server::start(Kind::Node, json!({}));
    let mut crowd = Crowd::new();
    crowd.protocols = "voice.v2,voice.v1";
    let rules = crowd.origins() + ", explain_refusals: true";
    let gate = Gate::open_with(
        &[Way::with("/ws", node.endpoint(), rules)],
        "limits: { close_wait: 60s }\nshutdown: { drain: 60s, spread: 0s }\n",
    );
    // A client that does not answer the Close delays the process.
    let inside = gate.raw("/ws", "inside");
    gate.proxy.signal("TERM");
    gate.proxy.event("draining");
    let cases = crowd.add(&gate, "/ws", "late", &["wait_close"]);
    crowd.browse(&gate);
    for told in crowd.told() {
        let record = gate.ended(&told.case);
        expect_explained(&told, record, Reason::Draining, 1013);
    }
    drop(inside);
    gate.ended("inside").expect(Reason::DrainGraceful);
    let handshakes = node.lines();
    let seen = handshakes
        .iter()
        .filter(|line| line.text("event") == "connection");
    assert_eq!(seen.count(), 1, "{handshakes:?}");
    family.add(cases.len());
    family.finish();
}
