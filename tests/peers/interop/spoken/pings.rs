use serde_json::json;
use wsgate::reason::Reason;

use super::{Crowd, family, read_close};
use crate::harness::Line;
use crate::harness::proxy::ORIGIN;
use crate::interop::{Gate, Way, expect_closed, expect_told};
use crate::tools::programs::{Kind, Server};

/// The control frames of a connection that a server's library saw.
fn control_frames(server: &Server, case: &str) -> Vec<Line> {
    let id = server.handshake(case).number("id");
    let lines = server.lines().into_iter();
    let seen = lines
        .filter(|line| line.number("id") == id && matches!(line.text("event"), "ping" | "pong"));
    seen.collect()
}

#[test]
fn pings_are_answered_by_the_client_alone() {
    let mut family = family("pings");
    let node = Server::start(Kind::Node, json!({}));
    let python = Server::start(Kind::Python, json!({}));
    let mut crowd = Crowd::new();
    let way =
        |path, server: &Server, ping| Way::with(path, server.endpoint(), crowd.origins() + ping);
    let often = ", ping: { interval: 200ms }";
    // Twenty messages of the stream: if one is delayed, the client is not silent.
    let seldom = ", ping: { interval: 1s }";
    let gate = Gate::open(&[
        way("/often-node", &node, often),
        way("/often-python", &python, often),
        way("/stream-node", &node, seldom),
        way("/stream-python", &python, seldom),
    ]);
    let servers = [("node", &node), ("python", &python)];
    let mut idle = Vec::new();
    let mut streams = Vec::new();
    for (name, server) in servers {
        let path = format!("/often-{name}");
        // The server ends it when the last Ping has long been answered.
        let cases = ["idle:1500", "text", "tell:stream:50:2"];
        let names = crowd.add(&gate, &path, &path[1..], &cases);
        idle.extend(names.map(|name| (name, server)));
        let path = format!("/stream-{name}");
        let names = crowd.add(&gate, &path, &path[1..], &["tell:stream:50:50"]);
        streams.extend(names.map(|name| (name, server)));
    }
    crowd.browse(&gate);
    let told = crowd.told();
    for told in &told {
        assert_eq!(told.close(), (1000, "all sent"), "{}", told.case);
    }
    for (case, server) in &idle {
        let record = expect_closed(gate.ended(case), Reason::UpstreamClose, 1000);
        let pings = record.number("pings").unwrap();
        // Seven or eight fit in; on a loaded machine some may be late.
        assert!((3..=8).contains(&pings), "{record:?}");
        assert_eq!(record.number("pongs"), Some(pings), "{record:?}");
        assert!(control_frames(server, case).is_empty(), "{case}");
    }
    for (case, server) in &streams {
        let record = expect_closed(gate.ended(case), Reason::UpstreamClose, 1000);
        assert_eq!(record.number("pings"), Some(0), "{record:?}");
        assert_eq!(record.number("pongs"), Some(0), "{record:?}");
        assert_eq!(record.number("messages_upstream_to_client"), Some(50));
        assert!(control_frames(server, case).is_empty(), "{case}");
    }
    family.add(told.len());
    gate.close(told.len());
    family.finish();
}

/// The peers' own Pings and their answers pass, in addition to the proxy's.
#[test]
fn pings_of_the_peers_pass_beside_those_of_the_proxy() {
    let mut family = family("pings of the peers");
    let mut cases = 0;
    for server in [Kind::Node, Kind::Python] {
        let server = Server::start(server, json!({}));
        let rules = format!("origins: [{}], ping: {{ interval: 100ms }}", ORIGIN);
        let gate = Gate::open(&[Way::with("/ws", server.endpoint(), rules)]);
        for (case, kind) in [("node", Kind::Node), ("python", Kind::Python)] {
            let mut list = vec!["idle:400", "ping", "idle:400", "ping"];
            if kind == Kind::Node {
                list.push("server_ping");
            }
            list.push("close");
            let report = gate.visit(kind, "/ws", case, json!({ "cases": list }));
            assert_eq!(report.passed(), list.len());
            let record = expect_closed(gate.ended(case), Reason::ClientClose, 1000);
            assert!(record.number("pings") >= Some(2), "{record:?}");
            assert_eq!(record.number("pongs"), record.number("pings"), "{record:?}");
            let seen: Vec<_> = control_frames(&server, case)
                .iter()
                .map(|line| (line.text("event").to_owned(), line.text("data").to_owned()))
                .collect();
            let ping = ("ping".to_owned(), "from the client".to_owned());
            let mut expected = vec![ping.clone(), ping];
            if kind == Kind::Node {
                expected.push(("pong".to_owned(), "from the server".to_owned()));
            }
            assert_eq!(seen, expected, "{case}");
            cases += 1;
        }
        gate.close(2);
    }
    family.add(cases);
    family.finish();
}

#[test]
fn a_client_that_does_not_answer_is_given_up() {
    let mut family = family("no pongs");
    let servers = [Kind::Node, Kind::Python].map(|kind| Server::start(kind, json!({})));
    let paths = ["/node", "/python"];
    let rules = format!(
        "origins: [{}], ping: {{ interval: 200ms, timeout: 300ms }}",
        ORIGIN
    );
    let ways: Vec<_> = paths
        .iter()
        .zip(&servers)
        .map(|(path, server)| Way::with(path, server.endpoint(), rules.clone()))
        .collect();
    let gate = Gate::open(&ways);
    let reason = Reason::PongTimeout;
    for (path, server) in paths.iter().zip(&servers) {
        let [raw, deaf] = ["raw", "deaf"].map(|client| format!("{client}-{}", &path[1..]));
        let mut raw = gate.raw(path, &raw);
        let (code, words) = read_close(&mut raw);
        drop(raw);
        let options = json!({ "cases": ["wait_close"], "auto_pong": false });
        let report = gate.visit(Kind::Node, path, &deaf, options);
        for (client, told) in [("raw", (code, &*words)), ("deaf", report.close())] {
            let case = &format!("{client}-{}", &path[1..]);
            let record = expect_told(told, gate.ended(case), reason, 1001);
            assert_eq!(record.number("pings"), Some(1), "{record:?}");
            assert_eq!(record.number("pongs"), Some(0), "{record:?}");
            let close = server.event(&server.handshake(case), "close");
            assert_eq!(close.number("code"), Some(1001), "{close:?}");
            assert_eq!(close.text("reason"), reason.code(), "{close:?}");
            assert!(control_frames(server, case).is_empty());
        }
        family.add(2);
    }
    gate.close(4);
    family.finish();
}
