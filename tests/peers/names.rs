//! Look-ups of upstreams' names, with a name server of the test.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use wsgate::reason::Reason;

use crate::harness::handshakes::{ask, attempts, echoes, is_own, waited};
use crate::harness::scrape::Scrape;
use crate::harness::services::{self, get, probes};
use crate::harness::upstream::Full;
use crate::harness::{Client, Line, Proxy, Setup, Upstream, eventually, handshake};
use crate::tools::names::{NameServer, Says};
use crate::tools::system::seeing;

const LOCAL: Says = Says::Address(Ipv4Addr::LOCALHOST);

/// More than tokio's threads for blocking work.
const MANY: u16 = 620;

fn url(name: &str, upstream: &Upstream) -> String {
    format!("http://{name}:{}", upstream.address().port())
}

/// A handshake, its status and its record.
#[track_caller]
fn shakes(proxy: &mut Proxy) -> (u16, Line) {
    let mut client = Client::plain(proxy.address());
    let status = client.send(handshake("/ws", &[])).response().status;
    if status == 101 {
        client.finish();
    }
    client.rest();
    (status, proxy.terminal())
}

/// The detail of the note that a record's addresses are stale, if it has the note.
fn stale(line: &Line) -> Option<&str> {
    let notes = line.0.get("notes")?.as_array()?;
    let of = notes
        .iter()
        .find(|note| note["code"] == "dns_answer_stale")?;
    of["detail"].as_str()
}

/// Many clients whose handshakes all wait for a silent name server.
#[track_caller]
fn outage(server: &NameServer, setup: &Setup) -> (Proxy, Vec<Client>) {
    server.says("backend.test", Says::Nothing);
    let setup = Setup {
        through: seeing(&server.system("")),
        upstream: ", connect_timeout: 60s".to_owned(),
        ..setup.clone()
    };
    let proxy = services::start(&setup);
    let waiting: Vec<_> = (0..MANY)
        .map(|_| {
            let mut client = Client::plain(proxy.address());
            client.send(handshake("/ws", &[]));
            client
        })
        .collect();
    all_wait(&proxy, MANY);
    (proxy, waiting)
}

/// Waits until this many requests wait for a connection to their endpoint.
#[track_caller]
fn all_wait(proxy: &Proxy, count: u16) {
    eventually("all requests to wait for their upstream", || {
        let waiting = Scrape::of(probes(proxy)).sum("wsgate_upstream_in_use", &[]);
        (waiting >= f64::from(count)).then_some(())
    });
}

#[test]
fn an_outage_holds_up_neither_scrapes_nor_reloads_and_a_name_is_asked_for_once() {
    let (server, upstream) = (NameServer::start("127.0.53.11"), Upstream::echo());
    let setup = Setup::plain(&url("backend.test", &upstream));
    let (proxy, waiting) = outage(&server, &setup);
    assert_eq!(get(probes(&proxy), "/healthz").0, 200);
    let file = proxy.folder().join("proxy.yaml");
    let yaml = fs::read_to_string(&file).unwrap();
    proxy.write(&yaml.replace("drain: 2s", "drain: 3s"));
    proxy.signal("HUP");
    let reloaded = proxy.event("reloaded");
    assert!(reloaded.text("detail").contains("shutdown"), "{reloaded:?}");
    assert_eq!(server.asked("backend.test"), 1);
    server.says("backend.test", LOCAL);
    for mut client in waiting {
        assert_eq!(client.response().status, 101);
    }
    assert_eq!(server.asked("backend.test"), 1);
}

#[test]
fn an_outage_does_not_hold_up_the_end_of_a_drain() {
    let (server, upstream) = (NameServer::start("127.0.53.12"), Upstream::echo());
    let setup = Setup {
        shutdown: "drain: 1s".to_owned(),
        ..Setup::plain(&url("backend.test", &upstream))
    };
    let (proxy, _waiting) = outage(&server, &setup);
    let lines = proxy.stop();
    let last = lines.last().unwrap();
    assert_eq!(last.text("event"), "stopped");
    assert_eq!(
        last.text("detail"),
        format!("{MANY} connections were cut after 1s")
    );
}

#[test]
fn an_outage_does_not_hold_up_a_second_signal() {
    let (server, upstream) = (NameServer::start("127.0.53.13"), Upstream::echo());
    let setup = Setup {
        shutdown: "drain: 10m".to_owned(),
        ..Setup::plain(&url("backend.test", &upstream))
    };
    let (proxy, _waiting) = outage(&server, &setup);
    proxy.signal("TERM");
    proxy.event("draining");
    let lines = proxy.stop();
    let detail = lines.last().unwrap().text("detail");
    assert!(
        detail.ends_with("cut by a second signal (SIGTERM)"),
        "{detail}"
    );
}

#[test]
fn a_good_answer_serves_the_look_up_that_fetched_it_only() {
    let server = NameServer::start("127.0.53.14");
    let [first, second] = ["127.0.0.2", "127.0.0.3"].map(|ip| ip.parse::<Ipv4Addr>().unwrap());
    let upstream = Upstream::start_on(second, |mut call| {
        call.switch("").drain();
    });
    server.says("backend.test", Says::Address(first));
    let setup = Setup {
        through: seeing(&server.system("")),
        ..Setup::plain(&url("backend.test", &upstream))
    };
    let mut proxy = setup.start();
    let (status, line) = shakes(&mut proxy);
    assert_eq!(status, 502);
    line.expect(Reason::UpstreamRefused)
        .with_detail("127.0.0.2");
    server.says("backend.test", Says::Address(second));
    let (status, line) = shakes(&mut proxy);
    assert_eq!((status, stale(&line)), (101, None));
    assert_eq!(server.asked("backend.test"), 2);
}

#[test]
fn the_last_good_answer_serves_an_outage_and_no_name_that_is_gone() {
    let (server, upstream) = (NameServer::start("127.0.53.15"), Upstream::echo());
    let setup = Setup {
        through: seeing(&server.system("")),
        upstream: ", connect_timeout: 4s".to_owned(),
        ..Setup::plain(&url("backend.test", &upstream))
    };
    let mut proxy = setup.start();
    server.says("backend.test", LOCAL);
    let (status, line) = shakes(&mut proxy);
    assert_eq!((status, stale(&line)), (101, None));

    server.says("backend.test", Says::Nothing);
    let (status, line) = shakes(&mut proxy);
    assert_eq!(status, 101);
    let said = stale(&line).unwrap();
    assert!(said.starts_with("backend.test: "), "{said}");
    assert!(
        said.ends_with("s old; no answer from the resolver in 2s"),
        "{said}"
    );

    // The silent look-up may still be running and is shared until it ends; then a new one starts.
    server.says("backend.test", Says::Failure);
    let line = eventually("another look-up", || {
        let (status, line) = shakes(&mut proxy);
        assert_eq!(status, 101);
        let said = stale(&line).unwrap();
        assert!(said.contains("s old; "), "{said}");
        said.contains("Temporary failure").then_some(line)
    });
    let notes = line.notes().len();
    assert_eq!(notes, 1, "{line:?}");

    server.says("backend.test", Says::NoSuchName);
    for says in [Says::NoSuchName, Says::Failure] {
        server.says("backend.test", says);
        let (status, line) = shakes(&mut proxy);
        assert_eq!((status, stale(&line)), (502, None));
        line.expect(Reason::UpstreamDnsFailed);
    }
}

#[test]
fn names_that_hang_leave_the_others_a_clear_reason() {
    let (server, upstream) = (NameServer::start("127.0.53.16"), Upstream::echo());
    let names: Vec<_> = (1..=9).map(|number| format!("n{number}.test")).collect();
    let (mut routes, mut upstreams) = (String::new(), String::new());
    for name in &names {
        server.says(name, Says::Nothing);
        routes += &format!("  - {{ path: /{name}, http: {{}}, upstream: {name} }}\n");
        let endpoint = url(name, &upstream);
        let timeout = if name == "n9.test" { "300ms" } else { "60s" };
        upstreams +=
            &format!(" }}\n  {name}: {{ endpoints: [\"{endpoint}\"], connect_timeout: {timeout}");
    }
    let mut proxy = services::start(&Setup {
        through: seeing(&server.system("")),
        routes,
        upstream: upstreams,
        ..Setup::plain(&upstream.url())
    });
    let address = proxy.address();
    let asks = |name: &str| {
        let mut client = Client::plain(address);
        client.send(format!("GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n"));
        client
    };
    let mut hanging = Vec::new();
    for name in &names[..8] {
        hanging.push(asks(name));
        eventually("the name to be asked for", || {
            (server.asked(name) == 1).then_some(())
        });
    }
    let mut last = asks("n9.test");
    assert_eq!(last.response().status, 502);
    let line = proxy.terminal();
    assert!(line.text("hint").contains("/etc/resolv.conf"), "{line:?}");
    line.expect(Reason::UpstreamDnsFailed).with_detail(
        "n9.test: its look-up could not start within 300ms, because 8 others have no answer yet, the one for n1.test after ",
    );
    assert_eq!(server.asked("n9.test"), 0);
    // A look-up that gets its answer frees its place.
    server.says("n1.test", LOCAL);
    let _next = asks("n9.test");
    eventually("the last name to be asked for", || {
        (server.asked("n9.test") == 1).then_some(())
    });
}

#[test]
fn hosts_search_domains_and_ndots_count() {
    let (server, upstream) = (NameServer::start("127.0.53.18"), Upstream::echo());
    server.says("short.corp.test", LOCAL);
    server.says("two.dots.corp.test", LOCAL);
    let mut system = server.system("search none.test corp.test\noptions ndots:2\n");
    system.push((
        "/etc/hosts",
        "127.0.0.1 localhost app.internal\n".to_owned(),
    ));
    let names = ["app.internal", "short", "two.dots"];
    for name in names {
        let setup = Setup {
            through: seeing(&system),
            ..Setup::plain(&url(name, &upstream))
        };
        let mut proxy = setup.start();
        assert_eq!(shakes(&mut proxy).0, 101, "{name}");
    }
    assert_eq!(server.asked("app.internal"), 0);
    // A name with more dots than ndots would be tried as it is first.
    assert_eq!(server.asked("two.dots"), 0);
    assert_eq!(server.asked("two.dots.none.test"), 1);
}

#[test]
fn health_checks_share_the_look_up_of_a_name() {
    let (server, upstream) = (NameServer::start("127.0.53.19"), Upstream::echo());
    server.says("backend.test", Says::Nothing);
    let check = "health_check: { path: /, interval: 3s, timeout: 2s }";
    let endpoint = url("backend.test", &upstream);
    let setup = Setup {
        through: seeing(&server.system("")),
        upstream: format!(", {check} }}\n  other: {{ endpoints: [\"{endpoint}\"], {check}"),
        ..Setup::plain(&endpoint)
    };
    let proxy = setup.start();
    for count in 1..=2 {
        let ill = proxy.event_number("upstream_health", count);
        let detail = ill.text("detail");
        assert!(
            detail.contains("upstream_dns_failed: backend.test: no answer from the resolver in 2s"),
            "{detail}"
        );
    }
    assert_eq!(server.asked("backend.test"), 1);
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
        through: seeing(&[("/etc/hosts", hosts)]),
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
        through: seeing(&[("/etc/hosts", hosts)]),
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

/// The order in which this system's resolver gives the two addresses of `backend.test` in `hosts`.
fn resolver_order(hosts: &str) -> (Ipv4Addr, Ipv4Addr) {
    let through = seeing(&[("/etc/hosts", hosts.to_owned())]);
    let output = Command::new(&through[0])
        .args(&through[1..])
        .args(["getent", "ahostsv4", "backend.test"])
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

/// A name server that never answers, and the `/etc/resolv.conf` that names it. Port 53 needs root.
fn deaf_resolver(ip: &str) -> (UdpSocket, Vec<(&'static str, String)>) {
    let socket = UdpSocket::bind((ip, 53)).expect("port 53 of a loopback address; needs root");
    let settings = format!("nameserver {ip}\noptions timeout:30 attempts:1\n");
    (socket, vec![("/etc/resolv.conf", settings)])
}

#[test]
fn a_resolver_that_does_not_answer_is_given_up_in_time() {
    let (_resolver, system) = deaf_resolver("127.0.53.1");
    let setup = Setup {
        through: seeing(&system),
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
        through: seeing(&system),
        upstream: ", connect_timeout: 200ms".to_owned(),
        ..Setup::plain("http://backend.test:80")
    };
    let mut proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 502);
    drop(client);
    proxy.terminal();
    // The look-up itself continues for half a minute, which is longer than `ended` waits.
    let lines = proxy.stop();
    assert_eq!(lines.last().unwrap().text("event"), "stopped");
}
