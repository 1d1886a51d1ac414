//! The notifications to the service manager.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;

use super::{handshaken, is_sent_away};
use crate::harness::frames::echoes;
use crate::harness::proxy::program;
use crate::harness::services::{admin, ask};
use crate::harness::{PATIENCE, Proxy, Setup, eventually};

/// Receives the notifications.
struct Manager {
    socket: UnixDatagram,
    seen: Vec<String>,
}

impl Manager {
    fn new(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let seen = Vec::new();
        Self { socket, seen }
    }

    /// Reads notifications until one contains this line; gives its lines.
    #[track_caller]
    fn until(&mut self, line: &str) -> Vec<String> {
        let mut buffer = [0; 4096];
        loop {
            let count = self.socket.recv(&mut buffer);
            let count =
                count.unwrap_or_else(|error| panic!("{error}; no {line:?} in {:?}", self.seen));
            let message = str::from_utf8(&buffer[..count]).unwrap();
            let lines: Vec<_> = message.lines().map(str::to_owned).collect();
            self.seen.extend(lines.iter().cloned());
            if lines.iter().any(|other| other == line) {
                return lines;
            }
        }
    }

    fn count(&self, line: &str) -> usize {
        self.seen.iter().filter(|other| *other == line).count()
    }
}

/// A proxy with both services, whose drain ends with its last tunnel.
fn setup() -> Setup {
    Setup {
        shutdown: "drain: 60s, spread: 0s".to_owned(),
        extra: "probes: { address: 127.0.0.1:0 }\nadmin: { address: 127.0.0.1:0 }\n".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    }
}

/// Starts the program with a manager at `socket`, which expects a sign of life within `watchdog` microseconds.
fn start(socket: &str, watchdog: Option<&str>) -> Proxy {
    let mut command = Command::new(program());
    command.env("NOTIFY_SOCKET", socket);
    command.envs(watchdog.map(|limit| ("WATCHDOG_USEC", limit)));
    Proxy::launch(setup().folder(), command, 3)
}

#[test]
fn it_is_told_of_the_start_the_tunnels_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut manager = Manager::new(UnixDatagram::bind(&path).unwrap());
    let mut proxy = start(path.to_str().unwrap(), Some("400000"));
    let first = manager.until("READY=1");
    let expected = ["READY=1", "WATCHDOG=1", "STATUS=ready: 0 connections open"];
    assert_eq!(first, expected);

    let (_, mut tunnel) = handshaken(proxy.address());
    echoes(&mut tunnel, "hello");
    manager.until("STATUS=ready: 1 connection open");
    assert_eq!(ask(admin(&proxy), "POST", "/drain").status, 202);
    is_sent_away(&mut tunnel);
    manager.until("STATUS=drained: all connections have ended");
    // The process stays, and the manager must not count the time that stopping takes.
    let before = manager.count("WATCHDOG=1");
    manager.until("WATCHDOG=1");
    manager.until("WATCHDOG=1");
    assert_eq!(manager.count("WATCHDOG=1"), before + 2);
    assert_eq!(manager.count("STOPPING=1"), 0, "{:?}", manager.seen);

    assert_eq!(manager.count("READY=1"), 1, "{:?}", manager.seen);
    proxy.signal("TERM");
    assert!(proxy.ended().success(), "{}", proxy.diagnostics());
    assert!(!proxy.diagnostics().contains("NOTIFY_SOCKET"));
}

#[test]
fn it_is_told_of_a_stop_that_takes_its_time() {
    let name = format!("wsgate-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let mut manager = Manager::new(UnixDatagram::bind_addr(&address).unwrap());
    let mut proxy = start(&format!("@{name}"), None);
    let first = manager.until("READY=1");
    assert_eq!(first, ["READY=1", "STATUS=ready: 0 connections open"]);
    let (_, mut tunnel) = handshaken(proxy.address());
    echoes(&mut tunnel, "hello");
    proxy.signal("TERM");
    // In the first notification after the signal, while the tunnel is still open.
    let stopping = manager.until("STOPPING=1");
    assert_eq!(
        stopping,
        ["STOPPING=1", "STATUS=draining: 1 connection open"]
    );
    is_sent_away(&mut tunnel);
    assert!(proxy.ended().success(), "{}", proxy.diagnostics());
    assert_eq!(manager.count("WATCHDOG=1"), 0);
}

#[test]
fn it_is_told_of_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut manager = Manager::new(UnixDatagram::bind(&path).unwrap());
    let proxy = start(path.to_str().unwrap(), None);
    manager.until("READY=1");
    proxy.signal("HUP");
    let begun = manager.until("RELOADING=1");
    // The manager's clock in microseconds: the notification came after the request.
    let [_, when] = begun.try_into().unwrap();
    let when = when.strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(when.parse::<u64>().unwrap() > 0, "{when}");
    assert_eq!(manager.until("READY=1"), ["READY=1"]);
    proxy.event("reload_unchanged");
    // Also if the configuration is refused: the manager waits for nothing else.
    let file = proxy.folder().join("proxy.yaml");
    std::fs::write(file, "listeners: none\n").unwrap();
    proxy.signal("HUP");
    manager.until("RELOADING=1");
    manager.until("READY=1");
    proxy.event("reload_refused");
    proxy.stop();
}

#[test]
fn one_that_reads_nothing_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let _deaf = UnixDatagram::bind(&path).unwrap();
    let mut proxy = start(path.to_str().unwrap(), Some("20000"));
    eventually("a message that is not taken", || {
        let said = proxy.diagnostics();
        said.contains("it took no message for 1s").then_some(())
    });
    let (status, mut tunnel) = handshaken(proxy.address());
    assert_eq!(status, 101);
    echoes(&mut tunnel, "hello");
    proxy.signal("TERM");
    is_sent_away(&mut tunnel);
    assert!(proxy.ended().success(), "{}", proxy.diagnostics());
}

/// A notification that the manager had no room for arrives later.
#[test]
fn one_that_is_busy_is_told_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut manager = Manager::new(UnixDatagram::bind(&path).unwrap());
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"X=1", &path).is_ok() {}
    let proxy = start(path.to_str().unwrap(), None);
    eventually("a message that is not taken", || {
        let said = proxy.diagnostics();
        said.contains("it took no message for 1s").then_some(())
    });
    let lines = manager.until("READY=1");
    assert!(
        lines.iter().any(|line| line.starts_with("STATUS=")),
        "{lines:?}"
    );
    proxy.stop();
}

#[test]
fn one_that_is_not_there_is_a_warning() {
    let proxy = start("/no/such/socket", None);
    eventually("the warning", || {
        let said = proxy.diagnostics();
        said.contains("\"/no/such/socket\" was not told: No such file")
            .then_some(())
    });
    let (status, tunnel) = handshaken(proxy.address());
    assert_eq!(status, 101);
    drop(tunnel);
    proxy.stop();
}
