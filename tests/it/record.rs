//! Records: exactly one each, whatever happens; floods; blocked outputs.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};

use wsgate::reason::{Reason, Stage};

use crate::harness::client::trusting;
use crate::harness::frames::echoes;
use crate::harness::inside::Inside;
use crate::harness::proxy::{HOST, is_terminal};
use crate::harness::{Client, Line, PATIENCE, Setup, Upstream, eventually, handshake};

/// A word in every place that a peer can write to.
mod canaries;
/// More connections than records are written for, and outputs that accept no lines.
mod floods;
/// Formats, addresses, and text that peers send.
mod forms;
/// Which level writes what.
mod levels;
/// The share of each client in a flood, and the summary of the rest.
mod shares;
/// The times in records, and what a refused client sees.
mod times;

/// Takes one connection as far as possible; the server decides how it ends.
fn visit(address: SocketAddr) {
    let Ok(mut client) = Client::tls_with(address, HOST, trusting()) else {
        return;
    };
    if client.write_all(handshake("/ws", &[]).as_bytes()).is_ok() {
        client.rest();
    }
}

/// A server whose connection task panics when it enters `stage`; gives the record of that connection.
#[track_caller]
fn panics_at(stage: Stage) -> Line {
    let upstream = Upstream::echo();
    let armed = Arc::new(AtomicBool::new(true));
    let trigger = Arc::clone(&armed);
    let inside = Inside::start(
        &Setup::tls(&upstream.url()),
        Arc::new(move |entered| {
            assert!(
                entered != stage || !trigger.swap(false, SeqCst),
                "on purpose"
            );
        }),
    );
    visit(inside.address());
    let line = inside.records.terminals(1).remove(0);
    // The server continues normally.
    assert!(!armed.load(SeqCst), "the hook was not called");
    let mut next = Client::tls(inside.address());
    assert_eq!(next.send(handshake("/ws", &[])).response().status, 101);
    echoes(&mut next, "hello");
    next.finish();
    next.rest();
    let lines = inside.stop();
    upstream.all_ended();
    let terminals: Vec<_> = lines.iter().filter(|line| is_terminal(line)).collect();
    assert_eq!(terminals.len(), 2, "one record each: {terminals:#?}");
    assert_eq!(terminals[1].text("reason"), "client_eof_no_close");
    let counts = &lines.last().unwrap().0["counts"];
    assert_eq!(counts["internal_aborted"], 1);
    assert_eq!(line.text("stage"), stage.name(), "{line:?}");
    line.expect(Reason::InternalAborted).with_detail(&format!(
        "the connection's task panicked in stage {}",
        stage.name()
    ))
}

pub fn internal_aborted() -> Line {
    let line = panics_at(Stage::Tunnel);
    assert_eq!(line.text("event"), "closed");
    assert!(line.number("lasted_ms").is_some());
    line
}

#[test]
fn a_panic_at_any_stage_gives_one_record_and_the_server_goes_on() {
    for stage in Stage::ALL {
        let line = panics_at(stage);
        let event = if stage == Stage::Tunnel {
            "closed"
        } else {
            "refused"
        };
        assert_eq!(line.text("event"), event, "{stage:?}");
        assert_eq!(
            line.number("status").is_some(),
            stage == Stage::Tunnel,
            "{line:?}"
        );
    }
}

#[test]
fn a_runtime_that_goes_away_leaves_one_record_of_each_connection() {
    for stage in [
        Stage::Accept,
        Stage::Tls,
        Stage::Http,
        Stage::Upstream,
        Stage::Tunnel,
    ] {
        let upstream = Upstream::start(move |mut call| {
            if stage == Stage::Tunnel {
                call.switch("");
            }
            call.drain();
        });
        let (entered, has_entered) = mpsc::channel();
        let entered = Mutex::new(entered);
        let hook = move |entering| {
            if entering == stage {
                entered.lock().unwrap().send(()).unwrap();
            }
        };
        let mut inside = Inside::start(&Setup::tls(&upstream.url()), Arc::new(hook));
        let mut client = match stage {
            Stage::Accept | Stage::Tls => Client::plain(inside.address()),
            _ => Client::tls(inside.address()),
        };
        match stage {
            Stage::Tls => drop(client.send(b"\x16\x03\x01\x02\x00")),
            Stage::Http => drop(client.send("GET /ws HTTP/1.1\r\n")),
            Stage::Upstream => drop(client.send(handshake("/ws", &[]))),
            Stage::Tunnel => assert_eq!(client.send(handshake("/ws", &[])).response().status, 101),
            _ => {}
        }
        has_entered.recv_timeout(PATIENCE).unwrap();
        if stage == Stage::Upstream {
            eventually("the upstream's request", || upstream.heads().pop());
        }
        inside.settle();
        inside.cancel();
        let lines = inside.ended(1);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let line = lines.into_iter().next().unwrap();
        let event = if stage == Stage::Tunnel {
            "closed"
        } else {
            "refused"
        };
        assert_eq!(line.text("event"), event);
        // A runtime that shuts down may let every timer fire before it drops the tasks; usually it does not.
        if line.text("reason") == "internal_aborted" {
            assert_eq!(line.text("stage"), stage.name(), "{line:?}");
            line.expect(Reason::InternalAborted).with_detail(&format!(
                "the connection's task was cancelled in stage {}",
                stage.name()
            ));
        }
        client.rest();
        upstream.all_ended();
    }
}

#[test]
fn a_runtime_that_goes_away_in_the_middle_of_a_stage_leaves_one_record() {
    // The task holds its worker inside the hook while the runtime shuts down. It is dropped wherever it waits next, or
    // its socket fails. In both cases there is one record.
    for stage in Stage::ALL {
        let upstream = Upstream::echo();
        let (entered, has_entered) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let ends = Mutex::new((entered, may_go));
        let hook = move |entering| {
            if entering == stage {
                let ends = ends.lock().unwrap();
                ends.0.send(()).unwrap();
                ends.1.recv_timeout(PATIENCE).unwrap();
            }
        };
        let mut inside = Inside::start(&Setup::tls(&upstream.url()), Arc::new(hook));
        let address = inside.address();
        let client = std::thread::spawn(move || visit(address));
        has_entered.recv_timeout(PATIENCE).unwrap();
        inside.cancel();
        go.send(()).unwrap();
        let lines = inside.ended(1);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let event = if stage == Stage::Tunnel {
            "closed"
        } else {
            "refused"
        };
        assert_eq!(lines[0].text("event"), event);
        client.join().unwrap();
    }
}
