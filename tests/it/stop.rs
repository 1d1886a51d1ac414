//! Shutdown: what happens to handshakes and tunnels, and how the process ends.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use wsgate::reason::Reason;

use crate::harness::frames;
use crate::harness::proxy::{self, program};
use crate::harness::{Client, Line, Proxy, Setup, Upstream, eventually, handshake};

/// Far longer than an exit that waits for nothing, far shorter than the drains that these tests set.
const PROMPTLY: Duration = Duration::from_secs(8);

/// A setup whose drain no test waits for.
fn patient(endpoint: &str) -> Setup {
    Setup {
        shutdown: "drain: 60s".to_owned(),
        ..Setup::plain(endpoint)
    }
}

#[track_caller]
fn open(proxy: &Proxy) -> Client {
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    client
}

#[track_caller]
fn echoes(client: &mut Client) {
    frames::echoes(client, "still here");
}

/// Waits for the process to end, long before the drain would be over, with status 0 and `stopped` as the last line.
#[track_caller]
fn ends_promptly(mut proxy: Proxy, since: Instant) -> Vec<Line> {
    let status = proxy.ended();
    assert!(since.elapsed() < PROMPTLY, "{:?}", since.elapsed());
    assert_eq!(status.code(), Some(0), "{}", proxy.diagnostics());
    let lines = proxy.finished();
    assert_eq!(lines.last().unwrap().text("event"), "stopped");
    lines
}

pub fn draining() -> Line {
    let upstream = Upstream::echo();
    let mut proxy = patient(&upstream.url()).start();
    let mut tunnel = open(&proxy);
    echoes(&mut tunnel);
    proxy.signal("TERM");
    let began = proxy.event("draining");
    assert!(
        began
            .text("detail")
            .starts_with("SIGTERM; 1 connection open, at most 1m"),
        "{began:?}"
    );
    let mut late = Client::plain(proxy.address());
    let response = late.send(handshake("/ws", &[])).response();
    assert_eq!(response.status, 503);
    assert_eq!(response.field("retry-after"), Some("5"));
    assert_eq!(response.field("connection"), Some("close"));
    assert!(response.text().starts_with("draining\n"), "{response:?}");
    assert_eq!(late.rest(), b"");
    drop(late);
    let line = proxy.terminal();
    assert_eq!(line.text("event"), "refused");
    assert_eq!(
        upstream.connections(),
        1,
        "the upstream is not asked any more"
    );
    // The tunnel continues, and its own end lets the process end.
    echoes(&mut tunnel);
    let since = Instant::now();
    tunnel.finish();
    assert_eq!(tunnel.rest(), b"");
    let lines = ends_promptly(proxy, since);
    let closed = lines
        .iter()
        .find(|line| line.text("event") == "closed")
        .unwrap();
    assert_eq!(closed.text("reason"), "client_eof_no_close");
    assert_eq!(line.text("stage"), "policy");
    line.expect(Reason::Draining)
}

/// An upstream that begins a frame in each tunnel and never ends it, so a Close can't be sent.
fn in_a_frame() -> Upstream {
    Upstream::start(|mut call| {
        call.switch("").write([0x82, 0x7e, 0x10, 0x00]).drain();
    })
}

pub fn drain_forced() -> Line {
    let upstream = in_a_frame();
    let setup = Setup {
        shutdown: "drain: 300ms".to_owned(),
        ..Setup::tls(&upstream.url())
    };
    let mut proxy = setup.start();
    let mut client = Client::tls(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    assert_eq!(client.receive(4), [0x82, 0x7e, 0x10, 0x00]);
    proxy.signal("TERM");
    let line = proxy.terminal();
    assert_eq!(line.text("event"), "closed");
    assert_eq!(line.number("bytes_upstream_to_client"), Some(4));
    assert_eq!(line.number("client_sees"), Some(1006));
    assert_eq!(client.rest(), b"");
    upstream.all_ended();
    let lines = ends_promptly(proxy, Instant::now());
    let stopped = lines.last().unwrap();
    assert_eq!(stopped.text("detail"), "1 connection was cut after 300ms");
    assert_eq!(stopped.0["counts"]["drain_forced"], 1);
    line.expect(Reason::DrainForced)
        .with_detail("the shutdown's deadline (300ms) passed")
}

#[test]
fn without_a_tunnel_a_signal_ends_the_process_at_once() {
    for signal in ["TERM", "INT", "QUIT"] {
        let proxy = patient("\"builtin:echo\"").start();
        let since = Instant::now();
        proxy.signal(signal);
        let lines = ends_promptly(proxy, since);
        let events: Vec<_> = lines.iter().map(|line| line.text("event")).collect();
        assert_eq!(events, ["listening", "draining", "stopped"]);
        let began = lines[1].text("detail");
        assert!(
            began.starts_with(&format!("SIG{signal}; 0 connections open")),
            "{began}"
        );
        assert_eq!(lines[2].text("detail"), "all connections have ended");
    }
}

/// Scripts that rotate logs send such signals. By default they end a process.
#[test]
fn signals_for_others_end_nothing() {
    let mut proxy = patient("\"builtin:echo\"").start();
    let mut client = open(&proxy);
    for signal in ["USR1", "USR2"] {
        proxy.signal(signal);
        let told = format!("SIG{signal} is ignored");
        eventually("its diagnostic", || {
            proxy.diagnostics().contains(&told).then_some(())
        });
    }
    echoes(&mut client);
    client.finish();
    proxy.terminal();
    proxy.stop();
}

#[test]
fn a_second_signal_cuts_what_is_open() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let upstream = Upstream::echo();
        let mut proxy = patient(&upstream.url()).start();
        let mut client = open(&proxy);
        echoes(&mut client);
        proxy.signal(first);
        proxy.event("draining");
        echoes(&mut client);
        let since = Instant::now();
        proxy.signal(second);
        assert_eq!(client.rest(), b"");
        proxy
            .terminal()
            .expect(Reason::DrainForced)
            .with_detail(&format!("a second signal (SIG{second}) arrived"));
        let lines = ends_promptly(proxy, since);
        let how = format!("1 connection was cut by a second signal (SIG{second})");
        assert_eq!(lines.last().unwrap().text("detail"), how);
        upstream.all_ended();
    }
}

#[test]
fn during_the_delay_everything_goes_on() {
    let upstream = Upstream::echo();
    let setup = Setup {
        shutdown: "delay: 2s, drain: 60s".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let proxy = setup.start();
    let mut early = open(&proxy);
    proxy.signal("TERM");
    let began = proxy.event("draining");
    assert_eq!(
        began.text("detail"),
        "SIGTERM; 1 connection open; handshakes are accepted for 2s more, then at most 1m to finish"
    );
    let mut late = open(&proxy);
    echoes(&mut late);
    echoes(&mut early);
    eventually("a refusal", || {
        let mut client = Client::plain(proxy.address());
        let status = client.send(handshake("/ws", &[])).response().status;
        (status == 503).then_some(())
    });
    echoes(&mut late);
    let since = Instant::now();
    for client in [&mut early, &mut late] {
        client.finish();
        assert_eq!(client.rest(), b"");
    }
    ends_promptly(proxy, since);
}

#[test]
fn the_deadline_counts_from_the_end_of_the_delay() {
    let upstream = in_a_frame();
    let setup = Setup {
        shutdown: "delay: 700ms, drain: 800ms".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let mut proxy = setup.start();
    let mut client = open(&proxy);
    let since = Instant::now();
    proxy.signal("TERM");
    assert_eq!(client.rest(), [0x82, 0x7e, 0x10, 0x00]);
    assert!(since.elapsed() >= Duration::from_millis(1500));
    proxy
        .terminal()
        .expect(Reason::DrainForced)
        .with_detail("the shutdown's deadline (800ms) passed");
    ends_promptly(proxy, since);
}

#[test]
fn without_a_connection_the_delay_is_waited_for_all_the_same() {
    let setup = Setup {
        shutdown: "delay: 700ms, drain: 60s".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let proxy = setup.start();
    let since = Instant::now();
    proxy.signal("TERM");
    let lines = ends_promptly(proxy, since);
    assert!(since.elapsed() >= Duration::from_millis(700));
    let how = lines.last().unwrap().text("detail");
    assert_eq!(how, "all connections have ended");
}

#[test]
fn a_second_signal_ends_the_delay_too() {
    let upstream = Upstream::echo();
    let setup = Setup {
        shutdown: "delay: 60s, drain: 60s".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let mut proxy = setup.start();
    let mut client = open(&proxy);
    proxy.signal("TERM");
    proxy.event("draining");
    echoes(&mut client);
    let since = Instant::now();
    proxy.signal("INT");
    assert_eq!(client.rest(), b"");
    proxy
        .terminal()
        .expect(Reason::DrainForced)
        .with_detail("a second signal (SIGINT) arrived");
    ends_promptly(proxy, since);
    upstream.all_ended();
}

#[test]
fn a_handshake_that_waits_for_its_upstream_is_finished_during_the_drain() {
    let (asked, is_asked) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let ends = std::sync::Mutex::new((asked, may_go));
    let upstream = Upstream::start(move |mut call| {
        let ends = ends.lock().unwrap();
        ends.0.send(()).unwrap();
        ends.1.recv_timeout(crate::harness::PATIENCE).unwrap();
        call.switch("");
        call.echo();
    });
    let proxy = patient(&upstream.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    is_asked.recv_timeout(crate::harness::PATIENCE).unwrap();
    proxy.signal("TERM");
    proxy.event("draining");
    go.send(()).unwrap();
    assert_eq!(client.response().status, 101);
    echoes(&mut client);
    let since = Instant::now();
    client.finish();
    ends_promptly(proxy, since);
}

#[test]
fn a_handshake_that_is_cut_while_it_waits_has_one_record_and_no_status() {
    let upstream = Upstream::start(|mut call| {
        call.drain();
    });
    let setup = Setup {
        shutdown: "drain: 200ms".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let mut proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    eventually("the upstream's request", || upstream.heads().pop());
    proxy.signal("TERM");
    assert_eq!(client.rest(), b"");
    is_cut_upstream(
        &proxy.terminal(),
        "the shutdown's deadline (200ms) passed in stage upstream",
    );
    upstream.all_ended();
    let lines = ends_promptly(proxy, Instant::now());
    assert_eq!(
        lines.iter().filter(|line| proxy::is_terminal(line)).count(),
        1
    );
}

#[test]
fn a_handshake_that_a_second_signal_cuts_says_so() {
    let upstream = Upstream::start(|mut call| {
        call.drain();
    });
    let mut proxy = patient(&upstream.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    eventually("the upstream's request", || upstream.heads().pop());
    proxy.signal("TERM");
    proxy.event("draining");
    proxy.signal("INT");
    assert_eq!(client.rest(), b"");
    is_cut_upstream(
        &proxy.terminal(),
        "a second signal (SIGINT) arrived in stage upstream",
    );
    upstream.all_ended();
}

/// A request that was cut while the upstream was handling it.
#[track_caller]
fn is_cut_upstream(line: &Line, detail: &str) {
    assert_eq!(line.text("reason"), "draining", "{line:?}");
    assert_eq!(line.text("stage"), "upstream", "{line:?}");
    assert_eq!(line.text("detail"), detail);
    assert!(line.text("hint").contains("`shutdown.drain`"), "{line:?}");
    assert_eq!(line.number("status"), None, "the client was told nothing");
}

#[test]
fn connections_that_have_not_asked_do_not_hold_up_the_exit() {
    let setup = Setup {
        shutdown: "drain: 60s".to_owned(),
        limits: "tls_handshake: 60s, request_head: 60s".to_owned(),
        ..Setup::tls("\"builtin:echo\"")
    };
    let proxy = setup.start();
    let silent = Client::plain(proxy.address());
    let mut hello = Client::plain(proxy.address());
    // Enough to recognise the protocol, and no more.
    hello.send(b"\x16\x03\x01\x02\x00\x01\0\x01\xfc\x03\x03random");
    let mut unused = Client::tls(proxy.address());
    let mut half = Client::tls(proxy.address());
    half.send("GET /ws HTTP/1.1\r\nHost: ");
    proxy.signal("TERM");
    proxy.event("draining");
    let since = Instant::now();
    for client in [&mut unused, &mut half] {
        assert_eq!(client.response().status, 503);
        assert_eq!(client.rest(), b"");
        client.finish();
    }
    let lines = ends_promptly(proxy, since);
    let refused: Vec<_> = lines
        .iter()
        .filter(|line| proxy::is_terminal(line))
        .map(|line| (line.text("reason"), line.number("status")))
        .collect();
    assert_eq!(refused.len(), 4, "{refused:?}");
    let mut stages: Vec<_> = lines
        .iter()
        .filter(|line| proxy::is_terminal(line))
        .map(|line| line.text("stage"))
        .collect();
    stages.sort_unstable();
    assert_eq!(stages, ["accept", "http", "http", "tls"]);
    assert!(
        refused.iter().all(|(reason, _)| *reason == "draining"),
        "{refused:?}"
    );
    // A client without a finished TLS handshake can't be answered, and the record does not claim that it was.
    let told = refused
        .iter()
        .filter(|(_, status)| *status == Some(503))
        .count();
    let untold = refused
        .iter()
        .filter(|(_, status)| status.is_none())
        .count();
    assert_eq!((told, untold), (2, 2), "{refused:?}");
    drop((silent, hello));
}

#[test]
fn a_request_that_is_on_its_way_when_the_signal_comes_still_gets_its_answer() {
    let proxy = patient("\"builtin:echo\"").start();
    let mut client = Client::plain(proxy.address());
    let request = handshake("/ws", &[]);
    let (begin, rest) = request.split_at(30);
    client.send(begin);
    proxy.signal("TERM");
    proxy.event("draining");
    client.send(rest);
    let response = client.response();
    assert_eq!(
        (response.status, response.field("retry-after")),
        (503, Some("5"))
    );
    client.finish();
    ends_promptly(proxy, Instant::now());
}

#[test]
fn a_kill_is_no_orderly_end() {
    let mut proxy = patient("\"builtin:echo\"").start();
    proxy.signal("KILL");
    assert_eq!(proxy.ended().signal(), Some(9));
    assert!(
        proxy
            .finished()
            .iter()
            .all(|line| line.text("event") == "listening")
    );
}

/// Runs the program with a listener's address that can't be bound.
#[track_caller]
fn cant_listen(address: &str) -> (i32, String) {
    let setup = Setup::plain("\"builtin:echo\"");
    let folder = setup.folder();
    let yaml = setup.yaml().replace("127.0.0.1:0", address);
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let (code, out, err) = proxy::run(&[], folder.path());
    assert_eq!(out, "", "nothing was served, so there is no record");
    (code, err)
}

#[test]
fn an_address_in_use_is_said_and_exits_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = cant_listen(&address);
    assert_eq!(code, 1);
    assert!(
        said.contains(&format!("can't listen on {address}: ")),
        "{said}"
    );
    assert!(
        said.contains("stop what listens there, or change listeners[].address"),
        "{said}"
    );
}

#[test]
fn an_address_of_another_machine_is_said_and_exits_with_1() {
    // RFC 5737: no machine has this address.
    let (code, said) = cant_listen("192.0.2.1:8443");
    assert_eq!(code, 1);
    assert!(said.contains("can't listen on 192.0.2.1:8443: "), "{said}");
    assert!(
        said.contains("it is not an address of this machine"),
        "{said}"
    );
}

#[test]
fn one_address_in_use_keeps_all_listeners_from_serving() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, said) = cant_listen(&format!("127.0.0.1:0\n  - address: {address}"));
    assert_eq!(code, 1);
    assert!(said.contains(&address.to_string()), "{said}");
}

#[test]
fn a_wrong_configuration_exits_with_2_and_binds_nothing() {
    let folder = Setup::plain("\"builtin:echo\"").folder();
    let file = folder.path().join("proxy.yaml");
    let yaml = fs::read_to_string(&file)
        .unwrap()
        .replace("upstream: app", "upstream: ap");
    fs::write(&file, yaml + "listners: []\n").unwrap();
    let (code, out, err) = proxy::run(&[], folder.path());
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("listners") && err.contains("\"ap\""),
        "both problems at once: {err}"
    );
    let (code, _, err) = proxy::run(&["--config", "missing.yaml"], folder.path());
    assert_eq!(code, 2);
    assert!(err.contains("missing.yaml"), "{err}");
    let (code, _, _) = proxy::run(&["--no-such-flag"], Path::new("."));
    assert_eq!(code, 2);
}

/// A program whose only worker is blocked writing to a standard error that nobody reads, together with everything it
/// serves.
struct Stuck {
    proxy: Proxy,
    _tunnel: Client,
    _stderr: fs::File,
}

impl Stuck {
    #[track_caller]
    fn start(shutdown: &str) -> Self {
        let upstream = Upstream::echo();
        let setup = Setup {
            shutdown: shutdown.to_owned(),
            ..Setup::plain(&upstream.url())
        };
        let folder = setup.folder();
        let fifo = folder.path().join("stderr");
        let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        // Opened for reading and writing, so that the program's own open() does not block.
        let mut stderr = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(&fifo)
            .unwrap();
        let mut command = Command::new("sh");
        command
            .env("TOKIO_WORKER_THREADS", "1")
            .args(["-c", &format!("exec \"$0\" \"$@\" 2>{}", fifo.display())])
            .arg(program());
        let proxy = Proxy::launch(folder, command, 1);
        let mut tunnel = open(&proxy);
        echoes(&mut tunnel);
        while stderr.write(&[b'x'; 4096]).is_ok() {}
        while stderr.write(b"x").is_ok() {}
        // It reports that it ignores this one.
        proxy.signal("USR1");
        eventually("a thread that is stuck", || {
            let threads = fs::read_dir(format!("/proc/{}/task", proxy.id())).unwrap();
            let is_stuck = |thread: fs::DirEntry| {
                let at = fs::read_to_string(thread.path().join("wchan")).unwrap_or_default();
                at.contains("pipe_w")
            };
            threads.flatten().any(is_stuck).then_some(())
        });
        Self {
            proxy,
            _tunnel: tunnel,
            _stderr: stderr,
        }
    }
}

#[test]
fn a_second_signal_ends_a_process_that_is_stuck() {
    let mut stuck = Stuck::start("drain: 10m");
    stuck.proxy.signal("TERM");
    stuck.proxy.signal("INT");
    let status = stuck.proxy.ended();
    assert_eq!(status.code(), Some(1), "{status}");
}

#[test]
fn the_end_of_a_drain_ends_a_process_that_is_stuck() {
    let mut stuck = Stuck::start("delay: 200ms, drain: 500ms");
    stuck.proxy.signal("TERM");
    let status = stuck.proxy.ended();
    assert_eq!(status.code(), Some(1), "{status}");
}
