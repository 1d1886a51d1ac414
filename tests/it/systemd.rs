//! The program under a service manager: sockets that were bound before it started, and its notifications.

mod notify;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use wsgate::reason::Reason;

use crate::harness::frames::{CLOSE, echoes, masked, read};
use crate::harness::proxy::program;
use crate::harness::services::{self, admin, ask};
use crate::harness::{Client, Proxy, Setup, eventually, handshake};

/// Makes standard input the first passed socket, as a manager does.
const PASS: &str = "exec 3<&0 </dev/null\n\
    export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web.socket\n\
    exec \"$0\" \"$@\"";

/// A configuration whose listener has this address.
fn at(address: SocketAddr) -> Setup {
    Setup {
        address,
        ..Setup::plain("\"builtin:echo\"")
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(program());
    command
}

/// The program with a socket that a script like [`PASS`] passes to it.
fn passing(script: &str, what: impl Into<OwnedFd>) -> Command {
    let mut command = shell(script);
    command.stdin(Stdio::from(what.into()));
    command
}

/// Starts the program with a socket that stays open here.
fn start(setup: &Setup, socket: &TcpListener, listeners: usize) -> Proxy {
    let folder = setup.folder();
    let mut command = passing(PASS, socket.try_clone().unwrap());
    command
        .arg("--config")
        .arg(folder.path().join("proxy.yaml"));
    Proxy::attach(folder, command, listeners)
}

fn bound(address: &str) -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind(address).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The status of an opening handshake, and its connection.
#[track_caller]
fn handshaken(address: SocketAddr) -> (u16, Client) {
    let mut client = Client::plain(address);
    let status = client.send(handshake("/ws", &[])).response().status;
    (status, client)
}

/// Reads the Close of a shutdown and answers it.
#[track_caller]
fn is_sent_away(client: &mut Client) {
    let (first, payload) = read(client).unwrap();
    assert_eq!((first, &payload[..2]), (CLOSE, &1012_u16.to_be_bytes()[..]));
    client.send(masked(CLOSE, payload));
    assert_eq!(client.rest(), b"");
}

/// Makes one handshake after the other, whatever happens on the other side.
struct Knocking {
    answers: thread::JoinHandle<Vec<u16>>,
    served: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Knocking {
    fn at(address: SocketAddr) -> Self {
        let served = Arc::new(AtomicUsize::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let (count, over) = (Arc::clone(&served), Arc::clone(&is_over));
        let answers = thread::spawn(move || {
            let mut answers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let (status, _) = handshaken(address);
                answers.push(status);
                if status == 101 {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            answers
        });
        Self {
            answers,
            served,
            is_over,
        }
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Waits until some more were served.
    fn goes_on(&self) {
        let before = self.served();
        eventually("more handshakes", || {
            (self.served() > before + 3).then_some(())
        });
    }

    fn answers(self) -> Vec<u16> {
        self.is_over.store(true, Ordering::Relaxed);
        self.answers.join().unwrap()
    }
}

#[test]
fn a_restart_refuses_nobody() {
    let (socket, address) = bound("127.0.0.1:0");
    let setup = Setup {
        shutdown: "drain: 10s, spread: 500ms".to_owned(),
        ..at(address)
    };
    let mut old = start(&setup, &socket, 1);
    assert_eq!(old.address(), address);
    let said = old.event("listening");
    assert_eq!(said.text("detail"), "without TLS, on an inherited socket");
    let (status, mut tunnel) = handshaken(address);
    assert_eq!(status, 101);
    echoes(&mut tunnel, "before");
    let knocking = Knocking::at(address);
    knocking.goes_on();

    old.signal("TERM");
    old.event("draining");
    // New clients wait for the next process, because this one has a tunnel to end.
    let mut late: Vec<_> = (0..5).map(|_| Client::plain(address)).collect();
    for client in &mut late {
        client.send(handshake("/ws", &[]));
    }
    is_sent_away(&mut tunnel);
    assert!(old.ended().success(), "{}", old.diagnostics());
    let lines = old.finished();
    let refused = lines.iter().filter(|line| line.text("event") == "refused");
    // One may have been in progress, and gets an answer.
    let refused: Vec<_> = refused.map(|line| line.text("reason")).collect();
    assert!(refused.len() <= 1, "{refused:?}");
    // Nobody accepts now, but nobody is refused either.
    late.push(Client::plain(address));
    late[5].send(handshake("/ws", &[]));

    let new = start(&setup, &socket, 1);
    for client in &mut late {
        assert_eq!(client.response().status, 101);
        echoes(client, "after");
    }
    knocking.goes_on();
    let mut answers = knocking.answers();
    answers.retain(|status| *status != 101);
    assert!(answers.is_empty() || answers == [503], "{answers:?}");
    drop(late);
    new.stop();
}

#[test]
fn a_drain_that_ends_no_process_still_answers() {
    let (socket, address) = bound("127.0.0.1:0");
    let setup = Setup {
        shutdown: "drain: 60s, spread: 0s".to_owned(),
        extra: "probes: { address: 127.0.0.1:0 }\nadmin: { address: 127.0.0.1:0 }\n".to_owned(),
        ..at(address)
    };
    let mut proxy = start(&setup, &socket, 3);
    let (_, mut tunnel) = handshaken(address);
    assert_eq!(ask(admin(&proxy), "POST", "/drain").status, 202);
    is_sent_away(&mut tunnel);
    proxy.event("drained");
    proxy.terminal().expect(Reason::DrainGraceful);
    let (status, _client) = handshaken(address);
    assert_eq!(status, 503);
    proxy.terminal().expect(Reason::Draining);
    proxy.signal("TERM");
    assert!(proxy.ended().success());
    // After the signal they wait for the next process.
    let mut client = Client::plain(address);
    client.send(handshake("/ws", &[]));
    let next = start(&at(address), &socket, 1);
    assert_eq!(client.response().status, 101);
    drop(client);
    next.stop();
}

#[test]
fn during_the_delay_of_a_shutdown_clients_are_served() {
    let (socket, address) = bound("127.0.0.1:0");
    let setup = Setup {
        shutdown: "delay: 300s, drain: 10s, spread: 0s".to_owned(),
        ..at(address)
    };
    let mut proxy = start(&setup, &socket, 1);
    proxy.signal("TERM");
    proxy.event("draining");
    let (status, mut client) = handshaken(address);
    assert_eq!(status, 101);
    echoes(&mut client, "served");
    proxy.signal("TERM");
    assert!(proxy.ended().success());
}

#[test]
fn ipv4_clients_of_an_ipv6_socket_have_one_address() {
    let (socket, address) = bound("[::]:0");
    let setup = Setup {
        limits: "connections_per_client: 5".to_owned(),
        extra: "trusted_proxies: [127.0.0.1]\n".to_owned(),
        ..at(address)
    };
    let mut proxy = start(&setup, &socket, 1);
    let mut client = Client::plain(([127, 0, 0, 1], address.port()).into());
    let fields = [("X-Forwarded-For", "203.0.113.7")];
    let response = client.send(handshake("/ws", &fields)).response();
    assert_eq!(response.status, 101);
    echoes(&mut client, "hello");
    let from = client.tcp().local_addr().unwrap();
    drop(client);
    let line = proxy.terminal();
    assert_eq!(line.text("peer"), from.to_string());
    // A trusted proxy is recognised by the address in the configuration.
    assert_eq!(line.text("client"), "203.0.113.7");
    proxy.stop();
}

/// Runs the program, which can't start; gives its output.
#[track_caller]
fn fails(mut command: Command, setup: &Setup) -> String {
    let folder = setup.folder();
    command
        .arg("--config")
        .arg(folder.path().join("proxy.yaml"));
    let mut proxy = Proxy::attach(folder, command, 0);
    assert_eq!(proxy.ended().code(), Some(1), "{}", proxy.diagnostics());
    assert_eq!(proxy.finished().len(), 0);
    proxy.diagnostics()
}

#[test]
fn a_socket_that_nobody_would_accept_on_is_an_error() {
    let (socket, address) = bound("127.0.0.1:0");
    let elsewhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let said = fails(passing(PASS, socket), &at(elsewhere));
    assert!(
        said.contains(&format!("can't listen on {address}: ")),
        "{said}"
    );
    assert!(said.contains("ListenStream="), "{said}");
}

#[test]
fn what_is_no_listening_socket_is_an_error() {
    let (socket, address) = bound("127.0.0.1:0");
    let connected = std::net::TcpStream::connect(address).unwrap();
    let stream = passing(PASS, connected);
    let mut file = shell(PASS);
    file.stdin(Stdio::null());
    let mut nothing = shell(&PASS.replace("3<&0", "3<&-"));
    nothing.stdin(Stdio::null());
    for (command, cause) in [
        (stream, "it does not listen"),
        (file, "fd 3 is not a socket"),
        (nothing, "fd 3 is not a socket"),
    ] {
        let said = fails(command, &at(address));
        let expected =
            "the inherited descriptor 3 (\"web.socket\") is not a listening TCP socket: ";
        assert!(said.contains(&format!("{expected}{cause}")), "{said}");
        assert!(said.contains("ListenStream="), "{said}");
    }
    drop(socket);
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let (socket, address) = bound("127.0.0.1:0");
    let setup = at("127.0.0.1:0".parse().unwrap());
    let folder = setup.folder();
    let mut command = passing(&PASS.replace("LISTEN_PID=$$", "LISTEN_PID=1"), socket);
    command
        .arg("--config")
        .arg(folder.path().join("proxy.yaml"));
    let proxy = Proxy::attach(folder, command, 1);
    assert_ne!(proxy.address(), address);
    assert_eq!(proxy.event("listening").text("detail"), "without TLS");
    proxy.stop();
}

#[test]
fn what_says_not_for_whom_it_is_is_left_alone() {
    let (socket, address) = bound("127.0.0.1:0");
    let said = fails(
        passing(&PASS.replace("LISTEN_PID=$$", "LISTEN_PID="), socket),
        &at(address),
    );
    let expected = "LISTEN_FDS=\"1\" without LISTEN_PID is not for this process";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("Address already in use"), "{said}");
}

#[test]
fn a_count_that_is_none_is_an_error() {
    for count in ["2000000000", "-1", "one"] {
        let (socket, address) = bound("127.0.0.1:0");
        let said = fails(
            passing(
                &PASS.replace("LISTEN_FDS=1", &format!("LISTEN_FDS={count}")),
                socket,
            ),
            &at(address),
        );
        let expected = format!("LISTEN_FDS=\"{count}\" is not a number of sockets from 0 to 1024");
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn an_address_that_is_passed_twice_is_an_error() {
    let (socket, address) = bound("127.0.0.1:0");
    let twice = PASS
        .replace("3<&0", "3<&0 4<&0")
        .replace("LISTEN_FDS=1", "LISTEN_FDS=2");
    let said = fails(passing(&twice, socket), &at(address));
    let expected = format!("{address} was passed twice, as the inherited descriptors 3 and 4");
    assert!(said.contains(&expected), "{said}");
}

/// The manager keeps the socket open, so it can't be bound a second time.
#[test]
fn an_inherited_address_that_a_reload_took_away_can_come_back() {
    let (socket, address) = bound("127.0.0.1:0");
    let setup = at(address);
    let proxy = start(&setup, &socket, 1);
    let yaml = fs::read_to_string(proxy.folder().join("proxy.yaml")).unwrap();
    let elsewhere = yaml.replace(&address.to_string(), "127.0.0.1:0");
    assert_ne!(yaml, elsewhere);
    for _ in 0..2 {
        proxy.reload_with(&elsewhere);
        proxy.reload_with(&yaml);
        let (status, mut client) = handshaken(address);
        assert_eq!(status, 101);
        echoes(&mut client, "hello");
    }
    // The listener's address is given to a service: the same socket.
    let admin = format!("{elsewhere}\nadmin: {{ address: '{address}' }}\n");
    proxy.reload_with(&admin);
    eventually("the admin listener to be alone", || {
        // Connections that the listener still accepts get its 404.
        let answers = |_| services::get(address, "/drain").0 == 200;
        (0..20).all(answers).then_some(())
    });
    // The same for an overlapping address.
    let everywhere = yaml.replace(&address.ip().to_string(), "0.0.0.0");
    proxy.write(&everywhere);
    proxy.signal("HUP");
    let line = proxy.event("reload_refused");
    let problem = format!("the inherited socket {address} has that port");
    assert!(line.text("detail").contains(&problem), "{line:?}");
    proxy.stop();
}
