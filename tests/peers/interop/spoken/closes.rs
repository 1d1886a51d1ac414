use serde_json::json;
use wsgate::reason::Reason;

use super::{Crowd, family};
use crate::interop::{Gate, PATIENT, Way, expect_told};
use crate::tools::programs::{Kind, Server};

/// A Close by the proxy, and its cause.
struct Say {
    name: &'static str,
    /// The route's keys, in addition to the origins.
    keys: &'static str,
    /// What the client does.
    cases: &'static [&'static str],
    reason: Reason,
    /// The code that the client's application gets.
    client: u64,
    /// The code that the upstream's application gets.
    upstream: u64,
}

const SAYS: [Say; 5] = [
    Say {
        name: "idle",
        keys: ", idle_timeout: 300ms",
        cases: &["wait_close"],
        reason: Reason::IdleTimeout,
        client: 1001,
        upstream: 1001,
    },
    Say {
        name: "life",
        keys: ", max_lifetime: 300ms",
        cases: &["wait_close"],
        reason: Reason::MaxLifetime,
        client: 1001,
        upstream: 1001,
    },
    // The side that did not send it is not to blame.
    Say {
        name: "big-up",
        keys: ", max_message: 1000",
        cases: &["text", "big_text", "wait_close"],
        reason: Reason::MessageTooBig,
        client: 1009,
        upstream: 1001,
    },
    Say {
        name: "big-down",
        keys: ", max_message: 1000",
        cases: &["text", "tell:big:1001"],
        reason: Reason::MessageTooBig,
        client: 1009,
        upstream: 1009,
    },
    Say {
        name: "abort",
        keys: "",
        cases: &["text", "tell:terminate"],
        reason: Reason::UpstreamEofNoClose,
        client: 1014,
        upstream: 1006,
    },
];

/// Compares what a server's application got with what is expected. A server that cut the connection got nothing.
#[track_caller]
fn expect_server_saw(server: &Server, case: &str, code: u64, reason: Reason) {
    let close = server.event(&server.handshake(case), "close");
    let words = if code == 1006 { "" } else { reason.code() };
    assert_eq!(
        (close.number("code"), close.text("reason")),
        (Some(code), words),
        "{case}"
    );
}

fn servers() -> [(&'static str, Server); 2] {
    // Without compression a message has its own size on the wire.
    let options = json!({ "deflate": false });
    [("node", Kind::Node), ("python", Kind::Python)]
        .map(|(name, kind)| (name, Server::start(kind, options.clone())))
}

#[test]
fn every_client_and_server_is_told_why() {
    let mut family = family("closes of the proxy");
    let servers = servers();
    let mut crowd = Crowd::new();
    let paths = servers
        .each_ref()
        .map(|(name, _)| SAYS.each_ref().map(|say| format!("/{}-{name}", say.name)));
    let mut ways = Vec::new();
    for ((_, server), paths) in servers.iter().zip(&paths) {
        for (say, path) in SAYS.iter().zip(paths) {
            let rules = crowd.origins() + say.keys;
            ways.push(Way::with(path, server.endpoint(), rules));
        }
    }
    let gate = Gate::open(&ways);
    let mut expected = Vec::new();
    for ((_, server), paths) in servers.iter().zip(&paths) {
        for (say, path) in SAYS.iter().zip(paths) {
            let names = crowd.add(&gate, path, &path[1..], say.cases);
            expected.extend(names.map(|name| (name, say, server)));
        }
    }
    crowd.browse(&gate);
    let told = crowd.told();
    for (case, say, server) in &expected {
        let told = told.iter().find(|told| told.case == *case).unwrap();
        let record = gate.ended(case);
        expect_told(told.close(), record, say.reason, say.client);
        expect_server_saw(server, case, say.upstream, say.reason);
    }
    family.add(expected.len());
    gate.close(expected.len());
    family.finish();
}

/// The server's process is gone: it was killed or exited.
#[test]
fn a_gone_server_is_told_as_1014() {
    let mut family = family("a server's process ends");
    let reason = Reason::UpstreamEofNoClose;
    let mut crowd = Crowd::new();
    let servers = [
        ("/kill-node", Kind::Node),
        ("/kill-python", Kind::Python),
        ("/exit-node", Kind::Node),
        ("/exit-python", Kind::Python),
    ]
    .map(|(path, kind)| (path, Server::start(kind, json!({}))));
    let ways = servers
        .each_ref()
        .map(|(path, server)| Way::with(path, server.endpoint(), crowd.origins()));
    let gate = Gate::open(&ways);
    let mut cases = Vec::new();
    for (path, _) in &servers {
        cases.extend(crowd.add(&gate, path, &path[1..], &["text", "wait_close"]));
    }
    crowd.browse(&gate);
    for (path, server) in servers {
        for case in cases.iter().filter(|case| case.starts_with(&path[1..])) {
            // Its message has been answered, so nothing is unread: otherwise the kill would cause a reset.
            server.event(&server.handshake(case), "message");
        }
        if path.starts_with("/kill") {
            server.kill();
        } else {
            let case = format!("teller-{}", &path[1..]);
            let options = json!({ "cases": ["tell:exit"] });
            let report = gate.visit(Kind::Node, path, &case, options);
            expect_told(report.close(), gate.ended(&case), reason, 1014);
            cases.push(case);
        }
    }
    for told in crowd.told() {
        expect_told(told.close(), gate.ended(&told.case), reason, 1014);
    }
    family.add(cases.len());
    gate.close(cases.len());
    family.finish();
}

#[test]
fn a_shutdown_is_told_with_the_code_of_the_configuration() {
    let mut family = family("a shutdown");
    for code in [1012, 4000] {
        let servers = servers();
        let mut crowd = Crowd::new();
        let ways = servers.each_ref().map(|(name, server)| {
            let path = if *name == "node" { "/node" } else { "/python" };
            Way::with(path, server.endpoint(), crowd.origins())
        });
        let more = format!("{PATIENT}shutdown: {{ spread: 0s, close_code: {code} }}\n");
        let gate = Gate::open_with(&ways, &more);
        let mut expected = Vec::new();
        for ((name, server), way) in servers.iter().zip(&ways) {
            let names = crowd.add(&gate, way.path, name, &["text", "wait_close"]);
            expected.extend(names.map(|name| (name, server)));
        }
        crowd.browse(&gate);
        for (case, server) in &expected {
            server.event(&server.handshake(case), "message");
        }
        gate.proxy.signal("TERM");
        let reason = Reason::DrainGraceful;
        for told in crowd.told() {
            expect_told(told.close(), gate.ended(&told.case), reason, code);
        }
        for (case, server) in &expected {
            // The client's own answer.
            expect_server_saw(server, case, code, reason);
        }
        let stopped = gate.proxy.event("stopped");
        let count = u64::try_from(expected.len()).unwrap();
        assert_eq!(stopped.0["counts"]["drain_graceful"], count, "{stopped:?}");
        family.add(expected.len());
    }
    family.finish();
}
