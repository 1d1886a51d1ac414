//! Endpoints in turn, addresses in turn, and the resolver.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use wsgate::reason::Reason;

use super::{ask, attempts, is_own, waited};
use crate::harness::frames;
use crate::harness::upstream::{Full, Nobody};
use crate::harness::{Client, Line, Setup, Upstream, handshake};

/// A tunnel through `setup` that echoes; gives its `opened`.
#[track_caller]
fn echoes(setup: &Setup) -> Line {
    let proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    frames::echoes(&mut client, "through");
    proxy.event("opened")
}

#[test]
fn an_endpoint_that_refuses_is_skipped_for_the_next() {
    let (nobody, full, upstream) = (Nobody::new(), Full::new(), Upstream::echo());
    let endpoints = format!("{}, {}, {}", nobody.url(), full.url(), upstream.url());
    let setup = Setup {
        upstream: ", connect_timeout: 200ms".to_owned(),
        ..Setup::plain(&endpoints)
    };
    let opened = echoes(&setup);
    assert_eq!(opened.notes(), ["endpoint_skipped"]);
    let tried = [
        (nobody.url(), "upstream_refused".to_owned()),
        (full.url(), "upstream_connect_timeout".to_owned()),
        (upstream.url(), "connected".to_owned()),
    ];
    assert_eq!(attempts(&opened), tried);
}

#[test]
fn the_first_endpoint_that_connects_is_the_one_asked() {
    let (first, second) = (
        Upstream::answering("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
        Upstream::echo(),
    );
    let setup = Setup::plain(&format!("{}, {}", first.url(), second.url()));
    // What it answers is its answer: only failing to connect moves on, or one request could be handled twice.
    let (response, line) = ask(&setup);
    assert_eq!(response.status, 404);
    assert_eq!(attempts(&line), [(first.url(), "connected".to_owned())]);
    assert_eq!(second.connections(), 0);
}

#[test]
fn when_no_endpoint_connects_the_last_one_names_the_reason() {
    let (full, nobody) = (Full::new(), Nobody::new());
    let setup = Setup {
        upstream: ", connect_timeout: 200ms".to_owned(),
        ..Setup::plain(&format!("{}, {}", full.url(), nobody.url()))
    };
    let (response, line) = ask(&setup);
    is_own(&response, &line);
    let outcomes: Vec<_> = attempts(&line)
        .into_iter()
        .map(|(_, outcome)| outcome)
        .collect();
    assert_eq!(outcomes, ["upstream_connect_timeout", "upstream_refused"]);
    assert_eq!(line.notes(), [""; 0]);
    line.expect(Reason::UpstreamRefused);
}

#[test]
fn localhost_reaches_an_upstream_that_listens_on_ipv4_only() {
    let upstream = Upstream::echo();
    let port = upstream.address().port();
    let opened = echoes(&Setup::plain(&format!("http://localhost:{port}")));
    let tried = attempts(&opened);
    let (last, before) = tried.split_last().unwrap();
    let connected = format!("http://localhost:{port} (127.0.0.1:{port})");
    assert_eq!(*last, (connected, "connected".to_owned()));
    // Where the system gives ::1 first, nothing listens there.
    assert!(
        before
            .iter()
            .all(|(endpoint, _)| endpoint.contains("[::1]")),
        "{before:?}"
    );
}

#[test]
fn every_address_of_a_name_is_tried() {
    let hosts = "127.0.0.1 localhost\n127.0.0.2 backend.test\n127.0.0.3 backend.test\n".to_owned();
    let (first, last) = resolver_order(&hosts);
    let upstream = Upstream::start_on(last, |mut call| {
        call.switch("");
        call.echo();
    });
    let port = upstream.address().port();
    let setup = Setup {
        system: vec![("/etc/hosts", hosts)],
        ..Setup::plain(&format!("http://backend.test:{port}"))
    };
    let opened = echoes(&setup);
    let shown = |ip: Ipv4Addr| format!("http://backend.test:{port} ({ip}:{port})");
    let tried = [
        (shown(first), "upstream_refused".to_owned()),
        (shown(last), "connected".to_owned()),
    ];
    assert_eq!(attempts(&opened), tried);
    assert_eq!(opened.notes(), ["endpoint_skipped"]);
}

#[test]
fn an_address_that_drops_leaves_time_for_the_next() {
    let hosts = "127.0.0.1 localhost\n127.0.0.2 backend.test\n127.0.0.3 backend.test\n".to_owned();
    let (first, last) = resolver_order(&hosts);
    let upstream = Upstream::start_on(last, |mut call| {
        call.switch("");
        call.echo();
    });
    let port = upstream.address().port();
    let _full = Full::on((first, port).into());
    let setup = Setup {
        system: vec![("/etc/hosts", hosts)],
        upstream: ", connect_timeout: 600ms".to_owned(),
        ..Setup::plain(&format!("http://backend.test:{port}"))
    };
    let opened = echoes(&setup);
    let outcomes: Vec<_> = attempts(&opened)
        .into_iter()
        .map(|(_, outcome)| outcome)
        .collect();
    assert_eq!(outcomes, ["upstream_connect_timeout", "connected"]);
    let dropped = &opened.0["attempts"][0];
    let ms = dropped["ms"].as_u64().unwrap();
    assert!((200..600).contains(&ms), "half of the time: {dropped}");
    let detail = dropped["detail"].as_str().unwrap();
    assert!(detail.starts_with(&format!("{first}:{port}: no answer in ")));
    assert!((200..=ms).contains(&waited(detail)), "{dropped}");
}

/// In which order this system's resolver gives the two addresses of `backend.test` in `hosts`.
fn resolver_order(hosts: &str) -> (Ipv4Addr, Ipv4Addr) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    std::fs::write(&file, hosts).unwrap();
    let script = format!(
        "mount --bind {} /etc/hosts && getent ahostsv4 backend.test",
        file.display()
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut addresses: Vec<Ipv4Addr> = text
        .lines()
        .filter(|line| line.contains("STREAM"))
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    addresses.dedup();
    assert_eq!(
        addresses.len(),
        2,
        "needs root, for a hosts file of its own: {output:?}"
    );
    (addresses[0], addresses[1])
}

/// A name server that never answers, as `/etc/resolv.conf` names it. Needs root for port 53.
fn deaf_resolver(ip: &str) -> (UdpSocket, Vec<(&'static str, String)>) {
    let socket = UdpSocket::bind((ip, 53)).expect("port 53 of a loopback address; needs root");
    let settings = format!("nameserver {ip}\noptions timeout:30 attempts:1\n");
    (socket, vec![("/etc/resolv.conf", settings)])
}

#[test]
fn a_resolver_that_does_not_answer_is_given_up_in_time() {
    let (_resolver, system) = deaf_resolver("127.0.53.1");
    let setup = Setup {
        system,
        upstream: ", connect_timeout: 200ms".to_owned(),
        ..Setup::plain("http://backend.test:80")
    };
    let (response, line) = ask(&setup);
    is_own(&response, &line);
    line.expect(Reason::UpstreamDnsFailed)
        .with_detail("backend.test: no answer from the resolver in 200ms");
}

#[test]
fn a_resolver_that_does_not_answer_does_not_hold_up_the_exit() {
    let (_resolver, system) = deaf_resolver("127.0.53.2");
    let setup = Setup {
        system,
        upstream: ", connect_timeout: 200ms".to_owned(),
        ..Setup::plain("http://backend.test:80")
    };
    let mut proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 502);
    drop(client);
    proxy.terminal();
    // The look-up itself goes on for half a minute, which is longer than `ended` waits.
    let lines = proxy.stop();
    assert_eq!(lines.last().unwrap().text("event"), "stopped");
}
