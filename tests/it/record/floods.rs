//! More connections than records are written for, and outputs that accept no lines.

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::net::SocketAddr;

use crate::harness::frames::echoes;
use crate::harness::inside::settings;
use crate::harness::proxy::is_terminal;
use crate::harness::quiet::Quiet;
use crate::harness::scrape::Scrape;
use crate::harness::services::{probes, start};
use crate::harness::{Client, Line, PATIENCE, Setup, eventually, handshake};

/// Runs `each` `count` times in total, in several threads.
fn from_many_clients(count: usize, each: impl Fn() + Sync) {
    const THREADS: usize = 8;
    assert_eq!(count % THREADS, 0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..count / THREADS).for_each(|_| each()));
        }
    });
}

/// Opens a tunnel through the echo upstream, uses it, ends it, and waits until the proxy has ended it too, so that a
/// following drain does not end it.
fn use_tunnel(address: SocketAddr) {
    let mut client = Client::plain(address);
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    echoes(&mut client, "hello");
    client.finish();
    client.rest();
}

fn parse(text: &str) -> Vec<Line> {
    text.lines()
        .map(|line| Line(serde_json::from_str(line).unwrap()))
        .collect()
}

fn sum(lines: &[Line], event: &str) -> u64 {
    let counts = lines.iter().filter(|line| line.text("event") == event);
    counts.map(|line| line.number("count").unwrap()).sum()
}

#[test]
fn of_ten_thousand_equal_refusals_not_one_goes_uncounted() {
    const ALL: usize = 10_000;
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    let address = proxy.address();
    let foreign = handshake("/ws", &[("Origin", "https://evil.example")]);
    from_many_clients(ALL, || {
        let mut client = Client::plain(address);
        assert_eq!(client.send(&foreign).response().status, 403);
    });
    let reason = ("reason", "origin_not_allowed");
    let refused = [("outcome", "refused"), ("by", "client"), reason];
    let scrape = eventually("every refusal in the metrics", || {
        let scrape = Scrape::of(probes(&proxy));
        let count = scrape.sum("wsgate_handshakes_total", &refused);
        assert!(count <= ALL as f64, "{count}");
        (count == ALL as f64).then_some(scrape)
    });
    let lines = proxy.stop();
    let written = lines.iter().filter(|line| is_terminal(line)).count() as u64;
    let suppressed = sum(&lines, "records_suppressed");
    assert_eq!(written + suppressed, ALL as u64);
    let kept_back = scrape.sum("wsgate_records_suppressed_total", &[reason]);
    assert_eq!(kept_back, suppressed as f64);
    let counts = &lines.last().unwrap().0["counts"];
    assert_eq!(counts["origin_not_allowed"], ALL);
    assert_eq!(counts["records_suppressed"], suppressed);
    assert_eq!(counts["records_dropped"], 0);
    // The number of records in a second is bounded, and large enough to show the pattern.
    let mut seconds: HashMap<String, u64> = HashMap::new();
    for line in lines.iter().filter(|line| is_terminal(line)) {
        *seconds
            .entry(line.text("time")[..19].to_owned())
            .or_default() += 1;
    }
    // The proxy's seconds begin at other times than the clock's: one second of the clock may touch two of them.
    assert!(seconds.values().all(|count| *count <= 210), "{seconds:?}");
    assert!(written >= 105);
    for line in lines
        .iter()
        .filter(|line| line.text("event") == "records_suppressed")
    {
        assert_eq!(line.text("reason"), "origin_not_allowed");
    }
}

/// Counting alone causes no search, and does not change the reason.
#[test]
fn nobody_looks_for_words_of_a_record_that_is_not_written() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use wsgate::reason::{Failure, Reason, Stage, Words};
    use wsgate::record::{Record, Sink};

    const ALL: u64 = 1000;
    let records = crate::harness::inside::Records::default();
    let sink = Sink::start(records.clone(), settings(None)).unwrap();
    let searches = Arc::new(AtomicU64::new(0));
    for _ in 0..ALL {
        let searches = Arc::clone(&searches);
        let failure = Failure::new(Reason::PathNearMiss, "/wss").explained_later(move || {
            searches.fetch_add(1, Ordering::Relaxed);
            Words {
                detail: Some("the route is /ws".to_owned()),
                hint: None,
            }
        });
        let mut record = Record::default();
        record.fail(failure, Stage::Policy);
        sink.emit(record);
    }
    sink.close("a test", PATIENCE);
    let lines = records.lines();
    let written: Vec<_> = lines.iter().filter(|line| is_terminal(line)).collect();
    assert_eq!(written.len() as u64, searches.load(Ordering::Relaxed));
    assert_eq!(
        written.len() as u64 + sum(&lines, "records_suppressed"),
        ALL
    );
    assert!(written.len() < 1000, "{}", written.len());
    for line in written {
        assert_eq!(line.text("detail"), "the route is /ws");
        assert!(line.text("hint").contains("routes[].path"), "{line:?}");
    }
}

/// A near miss has the same code, status and counters whether its record is written or not.
#[test]
fn a_flood_of_near_misses_is_answered_and_counted_as_one() {
    const ALL: usize = 800;
    let setup = Setup {
        routes: "  - path: /*\n    respond: { status: 200, body: x }\n".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let proxy = start(&setup);
    let address = proxy.address();
    let near = handshake("/WS", &[]);
    from_many_clients(ALL, || {
        let response = Client::plain(address).send(&near).response();
        assert_eq!(response.status, 404);
        assert!(response.text().contains("path_near_miss"), "{response:?}");
    });
    let refused = [("outcome", "refused"), ("reason", "path_near_miss")];
    eventually("every refusal in the metrics", || {
        let scrape = Scrape::of(probes(&proxy));
        (scrape.sum("wsgate_handshakes_total", &refused) == ALL as f64).then_some(())
    });
    let lines = proxy.stop();
    let suppressed = sum(&lines, "records_suppressed");
    assert!(suppressed > 0);
    let written = lines.iter().filter(|line| is_terminal(line)).count() as u64;
    assert_eq!(written + suppressed, ALL as u64);
}

#[test]
fn tunnels_are_never_suppressed() {
    const ALL: usize = 400;
    let proxy = Setup::plain("\"builtin:echo\"").start();
    let address = proxy.address();
    from_many_clients(ALL, || use_tunnel(address));
    let lines = proxy.stop();
    for event in ["opened", "closed"] {
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.text("event") == event)
                .count(),
            ALL
        );
    }
    assert_eq!(sum(&lines, "records_suppressed"), 0);
}

#[test]
fn an_output_that_nobody_reads_stops_no_connection() {
    // Two lines each: more than the pipe and the queue hold together.
    const ALL: usize = 4800;
    let mut proxy = Quiet::start(&Setup::plain("\"builtin:echo\""));
    let address = proxy.address();
    from_many_clients(ALL, || use_tunnel(address));
    // Reading resumes: the number of lost lines is reported, and the sum is complete.
    let mut output = proxy.take_output();
    let mut text = String::new();
    while !text.contains("records_dropped") {
        assert_ne!(output.read_line(&mut text).unwrap(), 0, "the output ended");
    }
    let reader = std::thread::spawn(move || {
        output.read_to_string(&mut text).unwrap();
        text
    });
    use_tunnel(address);
    proxy.signal("TERM");
    assert!(proxy.ended().success());
    let lines = parse(&reader.join().unwrap());
    let dropped = sum(&lines, "records_dropped");
    assert!(dropped > 0);
    let told = ["opened", "closed", "draining"];
    let written = lines
        .iter()
        .filter(|line| told.contains(&line.text("event")))
        .count() as u64;
    assert_eq!(written + dropped, 2 * (ALL as u64 + 1) + 1);
    let stopped = lines.last().unwrap();
    assert_eq!(stopped.text("event"), "stopped");
    assert_eq!(stopped.0["counts"]["records_dropped"], dropped);
    assert_eq!(
        stopped.0["counts"]["client_eof_no_close"],
        ALL as u64 + 1,
        "dropped records are counted by their reason all the same"
    );
}

#[test]
fn an_output_that_is_never_read_does_not_hold_up_the_exit() {
    let mut proxy = Quiet::start(&Setup::plain("\"builtin:echo\""));
    let address = proxy.address();
    // More than a pipe holds, so the writer is blocked.
    from_many_clients(200, || use_tunnel(address));
    proxy.signal("TERM");
    assert!(proxy.ended().success());
}

#[test]
fn an_output_that_was_closed_ends_nothing() {
    let mut proxy = Quiet::start(&Setup::plain("\"builtin:echo\""));
    let address = proxy.address();
    proxy.close_output();
    from_many_clients(40, || use_tunnel(address));
    proxy.signal("TERM");
    assert_eq!(proxy.ended().code(), Some(0));
}

#[test]
fn a_standard_error_that_was_closed_ends_nothing() {
    let mut proxy = Quiet::unheard(&Setup::plain("\"builtin:echo\""));
    use_tunnel(proxy.address());
    proxy.signal("TERM");
    assert_eq!(proxy.ended().code(), Some(0));
}

#[test]
fn a_full_queue_counts_what_it_drops() {
    use std::sync::mpsc;
    use wsgate::reason::Reason;
    use wsgate::record::{Record, Resting, Sink};

    /// Waits for permission before its first line.
    struct Blocked(Option<mpsc::Receiver<()>>, crate::harness::inside::Records);
    impl std::io::Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if let Some(permission) = self.0.take() {
                permission.recv_timeout(PATIENCE).unwrap();
            }
            self.1.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    const ALL: usize = 20_000;
    let (permit, permission) = mpsc::channel();
    let records = crate::harness::inside::Records::default();
    let sink = Sink::start(Blocked(Some(permission), records.clone()), settings(None)).unwrap();
    for _ in 0..ALL {
        let open = Resting::open(Record::default(), wsgate::moment::Moment::now(), &sink);
        open.close(|_| Reason::ClientEofNoClose.into());
    }
    permit.send(()).unwrap();
    let dropped = eventually("the report", || {
        let count = sum(&records.lines(), "records_dropped");
        (count > 0).then_some(count)
    });
    sink.close("a test", PATIENCE);
    let lines = records.lines();
    let written = lines
        .iter()
        .filter(|line| matches!(line.text("event"), "opened" | "closed"))
        .count();
    assert_eq!(written as u64 + dropped, 2 * ALL as u64);
    let counts = &lines.last().unwrap().0["counts"];
    assert_eq!(counts["client_eof_no_close"], ALL);
    assert_eq!(counts["records_dropped"], dropped);
}
