use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Gate, PATIENT, Way};
use crate::harness::proxy::{ORIGIN, is_terminal};
use crate::harness::upstream::Call;
use crate::harness::{Line, Upstream, frames, switching};
use crate::tools::programs::{Client, Family, Kind, Report, Server};

/// Connections of each client process.
const EACH: u64 = 1000;

/// How many of them send continuously.
const BUSY: u64 = 200;

/// The two programs that open many connections.
const PROGRAMS: [&str; 2] = ["many.js", "many.py"];

/// Starts a program that opens connections, on each of `paths` in turn.
fn open(gate: &Gate, program: &str, paths: &[&str], mut options: Value) -> Client {
    let urls: Vec<_> = paths
        .iter()
        .map(|path| format!("wss://{}{path}", gate.host()))
        .collect();
    options["urls"] = json!(urls);
    options["ca"] = json!(gate.authority);
    options["origin"] = json!(ORIGIN);
    Client::program(program, &options)
}

/// How many connections ended with each code and reason.
fn ends(report: &Report) -> HashMap<String, u64> {
    serde_json::from_value(report.last().0["ends"].clone()).unwrap()
}

fn counted(ends: &[(&str, u64)]) -> HashMap<String, u64> {
    ends.iter()
        .map(|(end, count)| ((*end).to_owned(), *count))
        .collect()
}

/// Terminal records by a field.
fn by(lines: &[Line], field: &str) -> HashMap<String, u64> {
    let mut counts = HashMap::new();
    for line in lines.iter().filter(|line| is_terminal(line)) {
        *counts.entry(line.0[field].to_string()).or_default() += 1;
    }
    counts
}

/// The counts in `stopped`: exactly these reasons, and no lost records.
fn totals(reasons: &[(&str, u64)]) -> Value {
    let mut counts = counted(reasons);
    counts.extend(counted(&[
        ("records_dropped", 0),
        ("records_suppressed", 0),
    ]));
    json!(counts)
}

/// Waits for the end of the process; gives its records.
#[track_caller]
fn ended(mut gate: Gate) -> Vec<Line> {
    let status = gate.proxy.ended();
    assert!(status.success(), "{}", gate.proxy.diagnostics());
    gate.proxy.finished()
}

#[test]
fn thousands_of_clients_are_told_over_the_whole_spread() {
    let mut family = Family::new("a shutdown of 2000 tunnels");
    let options = json!({ "deflate": false, "quiet": true });
    let node = Server::start(Kind::Node, options);
    let ways = [
        Way::new("/node", node.endpoint()),
        Way::new("/echo", "builtin:echo"),
    ];
    let more = format!("{PATIENT}shutdown: {{ drain: 20s, spread: 2s }}\n");
    let gate = Gate::open_with(&ways, &more);
    let begun = Instant::now();
    let clients = PROGRAMS.map(|program| {
        let options = json!({ "count": EACH, "busy": BUSY });
        open(&gate, program, &["/node", "/echo"], options)
    });
    for client in &clients {
        // Each hundred has the full deadline.
        for count in (100..=EACH).step_by(100) {
            client.did(&format!("opened {count}"));
        }
    }
    let (opened, begun) = (begun.elapsed(), Instant::now());
    gate.proxy.signal("TERM");
    let mut latest = Duration::ZERO;
    for client in clients {
        let report = client.finish();
        assert_eq!(ends(&report), counted(&[("1012 drain_graceful", EACH)]));
        let last = report.last();
        // Each has sent something, and the busy ones continued.
        assert!(last.number("echoes") > Some(EACH + BUSY), "{last:?}");
        let spread = last.number("last_ms").unwrap() - last.number("first_ms").unwrap();
        assert!(spread >= 1000, "all within {spread} ms: {last:?}");
        latest = latest.max(begun.elapsed());
    }
    let lines = ended(gate);
    let drained = begun.elapsed();
    let all = 2 * EACH;
    assert_eq!(
        by(&lines, "reason"),
        counted(&[("\"drain_graceful\"", all)])
    );
    assert_eq!(by(&lines, "first_close"), counted(&[("\"proxy\"", all)]));
    for field in ["close_code_proxy", "close_code_client", "client_sees"] {
        assert_eq!(by(&lines, field), counted(&[("1012", all)]), "{field}");
    }
    let stopped = lines.last().unwrap();
    assert_eq!(stopped.text("event"), "stopped");
    assert_eq!(stopped.text("detail"), "all connections have ended");
    assert_eq!(stopped.0["counts"], totals(&[("drain_graceful", all)]));
    // The server's application got its clients' answers.
    let closes = node.lines();
    let closes = closes.iter().filter(|line| line.text("event") == "close");
    let told = closes.filter(|line| line.number("code") == Some(1012));
    assert_eq!(told.count() as u64, EACH);
    println!("opened in {opened:?}, all told after {latest:?}, ended after {drained:?}");
    family.add(usize::try_from(all).unwrap());
    family.finish();
}

/// Half of a message, and then nothing until the proxy ends: a Close can't be sent inside a frame.
fn half_a_message(mut call: Call) {
    let header = frames::Header {
        first: frames::BINARY,
        mask: None,
        length: 1024 * 1024,
    };
    let head = switching(&call.head, "").into_bytes();
    call.write([head, header.bytes()].concat());
    call.write(vec![b'x'; 512 * 1024]);
    call.drain();
}

#[test]
fn only_who_waits_for_the_rest_of_a_frame_is_cut() {
    const STUCK: u64 = 20;
    let mut family = Family::new("a shutdown with tunnels inside a frame");
    let stuck = Upstream::start(half_a_message);
    let gate = Gate::open_with(
        &[
            Way::new("/stuck", stuck.url()),
            Way::new("/echo", "builtin:echo"),
        ],
        "limits: { close_wait: 1s }\nshutdown: { drain: 3s, spread: 500ms }\n",
    );
    let clients = PROGRAMS.map(|program| {
        let options = json!({ "count": 2 * STUCK, "silent": true });
        open(&gate, program, &["/stuck", "/echo"], options)
    });
    for client in &clients {
        client.did(&format!("opened {}", 2 * STUCK));
    }
    gate.proxy.signal("TERM");
    for client in clients {
        let expected = counted(&[("1006 ", STUCK), ("1012 drain_graceful", STUCK)]);
        assert_eq!(ends(&client.finish()), expected);
    }
    stuck.all_ended();
    let lines = ended(gate);
    let cut = 2 * STUCK;
    let expected = counted(&[("\"drain_forced\"", cut), ("\"drain_graceful\"", cut)]);
    assert_eq!(by(&lines, "reason"), expected);
    let expected = counted(&[("1006", cut), ("1012", cut)]);
    assert_eq!(by(&lines, "client_sees"), expected);
    let forced: Vec<_> = lines
        .iter()
        .filter(|line| line.text("reason") == "drain_forced")
        .collect();
    for line in forced {
        assert!(line.text("detail").contains("inside a frame"), "{line:?}");
        assert_eq!(line.text("route"), "/stuck");
    }
    let stopped = lines.last().unwrap();
    assert_eq!(
        stopped.text("detail"),
        format!("{cut} connections were cut after 3s")
    );
    let counts = totals(&[("drain_forced", cut), ("drain_graceful", cut)]);
    assert_eq!(stopped.0["counts"], counts);
    family.add(usize::try_from(2 * cut).unwrap());
    family.finish();
}
