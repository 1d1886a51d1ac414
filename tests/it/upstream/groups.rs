//! Several endpoints: their order, health checks and the limit of tunnels; and unix sockets.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use wsgate::reason::Reason;

use super::{ask, attempts, is_own, unconnected};
use crate::harness::certs::Authority;
use crate::harness::frames::{self, CLOSE, masked, plain};
use crate::harness::scrape::Scrape;
use crate::harness::secure::{self, SecureUpstream, config};
use crate::harness::services;
use crate::harness::upstream::{Call, Nobody, field};
use crate::harness::{Client, Line, PATIENCE, Proxy, Setup, Upstream, eventually, handshake};

/// An open tunnel through `proxy`, for the client that `X-Forwarded-For` names.
#[track_caller]
fn open_for(proxy: &Proxy, client: &str) -> Client {
    let mut connection = Client::plain(proxy.address());
    let request = handshake("/ws", &[("X-Forwarded-For", client)]);
    assert_eq!(connection.send(request).response().status, 101);
    connection
}

#[track_caller]
fn open(proxy: &Proxy) -> Client {
    open_for(proxy, "192.0.2.1")
}

/// Ends a tunnel in order and takes its record.
#[track_caller]
fn close(proxy: &mut Proxy, mut client: Client) {
    client.send(masked(CLOSE, [3, 232]));
    assert_eq!(client.rest(), plain(CLOSE, [3, 232]));
    proxy.terminal().expect(Reason::ClientClose);
}

fn urls(upstreams: &[Upstream]) -> String {
    let urls: Vec<_> = upstreams.iter().map(Upstream::url).collect();
    urls.join(", ")
}

fn connections(upstreams: &[Upstream]) -> Vec<usize> {
    upstreams.iter().map(Upstream::connections).collect()
}

fn three() -> [Upstream; 3] {
    [Upstream::echo(), Upstream::echo(), Upstream::echo()]
}

#[test]
fn endpoints_take_turns() {
    let upstreams = three();
    let proxy = Setup::plain(&urls(&upstreams)).start();
    let _tunnels: Vec<_> = (0..6).map(|_| open(&proxy)).collect();
    assert_eq!(connections(&upstreams), [2, 2, 2]);
}

#[test]
fn the_endpoint_with_the_fewest_tunnels_is_next() {
    let upstreams = three();
    let setup = Setup {
        upstream: ", balance: least_connections".to_owned(),
        ..Setup::plain(&urls(&upstreams))
    };
    let mut proxy = setup.start();
    let mut tunnels: Vec<_> = (0..6).map(|_| open(&proxy)).collect();
    assert_eq!(connections(&upstreams), [2, 2, 2]);
    // Both tunnels to the first endpoint end, so it gets the next two.
    let to = |line: &Line| attempts(line)[0].0.clone();
    let opened = proxy.wait("all tunnels", |lines| {
        let opened = lines.iter().filter(|line| line.text("event") == "opened");
        let opened: Vec<_> = opened.map(to).collect();
        (opened.len() == 6).then_some(opened)
    });
    let emptied = opened[0].clone();
    let mut kept = Vec::new();
    for (index, tunnel) in tunnels.drain(..).enumerate() {
        if opened[index] == emptied {
            close(&mut proxy, tunnel);
        } else {
            kept.push(tunnel);
        }
    }
    kept.extend((0..2).map(|_| open(&proxy)));
    let counts = upstreams.iter().map(|upstream| {
        let expected = if upstream.url() == emptied { 4 } else { 2 };
        (upstream.connections(), expected)
    });
    for (count, expected) in counts {
        assert_eq!(count, expected);
    }
}

#[test]
fn a_client_keeps_its_endpoint() {
    let upstreams = three();
    let setup = Setup {
        upstream: ", balance: client_ip".to_owned(),
        extra: "trusted_proxies: [127.0.0.1]\n".to_owned(),
        ..Setup::plain(&urls(&upstreams))
    };
    let home = |proxy: &Proxy, client: &str| {
        let before = connections(&upstreams);
        let _tunnel = open_for(proxy, client);
        let after = connections(&upstreams);
        (0..3).find(|index| after[*index] > before[*index]).unwrap()
    };
    // The order of endpoints for a client depends on their ports, so there are enough clients for every endpoint.
    let clients: Vec<_> = (1..=40).map(|last| format!("203.0.113.{last}")).collect();
    let proxy = setup.start();
    let homes: Vec<_> = clients.iter().map(|client| home(&proxy, client)).collect();
    drop(proxy);
    // Another process chooses the same.
    let proxy = setup.start();
    for (client, expected) in clients.iter().zip(&homes) {
        for _ in 0..2 {
            assert_eq!(home(&proxy, client), *expected, "{client}");
        }
    }
    assert!((0..3).all(|index| homes.contains(&index)), "{homes:?}");
}

#[test]
fn an_endpoint_that_failed_is_tried_last_for_a_while() {
    let (nobody, good) = (Nobody::new(), Upstream::echo());
    let mut proxy = Setup::plain(&format!("{}, {}", nobody.url(), good.url())).start();
    let tried = |proxy: &Proxy, index: usize| {
        let opened = proxy.wait("an opened tunnel", |lines| {
            let mut opened = lines.iter().filter(|line| line.text("event") == "opened");
            opened.nth(index).cloned()
        });
        attempts(&opened).len()
    };
    for index in 0..6 {
        let tunnel = open(&proxy);
        assert_eq!(tried(&proxy, index), if index == 0 { 2 } else { 1 });
        close(&mut proxy, tunnel);
    }
    assert_eq!(good.connections(), 6);
}

#[test]
fn a_handshake_that_was_sent_goes_to_no_other_endpoint() {
    let resetting = Upstream::start(Call::reset);
    let other = Upstream::echo();
    let setup = Setup::plain(&format!("{}, {}", resetting.url(), other.url()));
    let (response, line) = ask(&setup);
    is_own(&response, &line);
    assert_eq!(resetting.heads().len(), 1);
    assert_eq!(other.connections(), 0);
}

pub fn upstream_tunnel_limit() -> Line {
    let upstreams = [Upstream::echo(), Upstream::echo()];
    let setup = Setup {
        upstream: ", max_tunnels: 2".to_owned(),
        ..Setup::plain(&urls(&upstreams))
    };
    let mut proxy = setup.start();
    let first = open(&proxy);
    let second = open(&proxy);
    let mut client = Client::plain(proxy.address());
    let response = client.send(handshake("/ws", &[])).response();
    let line = proxy.terminal();
    assert_eq!(response.status, 503);
    assert_eq!(response.field("retry-after"), Some("5"));
    assert_eq!(attempts(&line), []);
    assert_eq!(connections(&upstreams), [1, 1]);
    let line = line
        .expect(Reason::UpstreamTunnelLimit)
        .with_detail("2 tunnels to app are open");
    // A tunnel that ended frees its place, whoever ended it; a refused handshake takes none.
    close(&mut proxy, first);
    let third = open(&proxy);
    second.reset();
    proxy.terminal();
    close(&mut proxy, third);
    let _both = [open(&proxy), open(&proxy)];
    line
}

/// A server that answers every `GET /health` with this status, and echoes otherwise.
fn ailing(status: &Arc<AtomicU16>) -> Upstream {
    let status = Arc::clone(status);
    Upstream::start(move |mut call| {
        if call.head.starts_with("GET /health ") {
            let status = status.load(Ordering::Relaxed);
            let answer = format!("HTTP/1.1 {status} Own Word\r\nContent-Length: 2\r\n\r\nok");
            call.write(answer).drain();
        } else {
            call.switch("");
            call.echo();
        }
    })
}

/// Waits for the `count`th change of health.
#[track_caller]
fn change(proxy: &Proxy, count: usize) -> Line {
    proxy.wait("a change of health", |lines| {
        let mut changes = lines
            .iter()
            .filter(|line| line.text("event") == "upstream_health");
        changes.nth(count - 1).cloned()
    })
}

const CHECKED: &str = ", health_check: { path: /health, interval: 100ms, timeout: 1s }";

fn statuses<const N: usize>() -> [Arc<AtomicU16>; N] {
    std::array::from_fn(|_| Arc::new(AtomicU16::new(200)))
}

#[test]
fn an_unhealthy_endpoint_is_not_dialled_until_it_is_healthy_again() {
    let states = statuses::<2>();
    let upstreams = [ailing(&states[0]), ailing(&states[1])];
    let setup = Setup {
        upstream: CHECKED.to_owned(),
        ..Setup::plain(&urls(&upstreams))
    };
    let mut proxy = setup.start();
    let checks = |upstream: &Upstream| {
        let heads = upstream.heads();
        heads
            .iter()
            .filter(|head| head.starts_with("GET /health "))
            .count()
    };
    let tunnels = |upstream: &Upstream| upstream.heads().len() - checks(upstream);
    eventually("checks", || (checks(&upstreams[0]) >= 2).then_some(()));
    let head = upstreams[0].heads()[0].clone();
    assert!(head.starts_with("GET /health HTTP/1.1\r\n"), "{head}");
    let host = upstreams[0].address().to_string();
    assert_eq!(field(&head, "host"), Some(host.as_str()));
    assert_eq!(field(&head, "user-agent"), Some("wsgate health check"));

    // Its answer makes it unhealthy, even if it is a redirect.
    for (count, status) in [(1, 503), (3, 301)] {
        states[0].store(status, Ordering::Relaxed);
        let down = change(&proxy, count);
        assert_eq!(down.text("level"), "warn");
        assert_eq!(down.text("upstream"), "app");
        let said = format!(
            "{} is unhealthy: answered {status} (GET /health)",
            upstreams[0].url()
        );
        assert_eq!(down.text("detail"), said);
        let before = tunnels(&upstreams[0]);
        for _ in 0..4 {
            let tunnel = open(&proxy);
            close(&mut proxy, tunnel);
        }
        assert_eq!(tunnels(&upstreams[0]), before);
        states[0].store(204, Ordering::Relaxed);
        let up = change(&proxy, count + 1);
        assert_eq!(up.text("level"), "info");
        up.with_detail("is healthy: answered 204");
        for _ in 0..2 {
            let tunnel = open(&proxy);
            close(&mut proxy, tunnel);
        }
        assert_eq!(tunnels(&upstreams[0]), before + 1);
    }
    // Without a healthy endpoint no connection is made, and after the shutdown began there are no checks.
    let lines = proxy.stop();
    assert_eq!(lines.last().unwrap().text("event"), "stopped");
    let asked = checks(&upstreams[0]);
    upstreams[0].all_ended();
    assert_eq!(checks(&upstreams[0]), asked);
}

pub fn upstream_none_healthy() -> Line {
    let nobody = Nobody::new();
    let setup = Setup {
        upstream: CHECKED.to_owned(),
        ..Setup::plain(&nobody.url())
    };
    let mut proxy = setup.start();
    // The first check decides on its own.
    change(&proxy, 1).with_detail("is unhealthy: upstream_refused: ");
    let mut client = Client::plain(proxy.address());
    let response = client.send(handshake("/ws", &[])).response();
    assert_eq!(response.status, 503);
    assert_eq!(response.field("retry-after"), Some("5"));
    let line = proxy.terminal();
    assert_eq!(attempts(&line), []);
    line.expect(Reason::UpstreamNoneHealthy)
        .with_detail("the last health check of every endpoint of app failed (1)")
}

#[test]
fn checks_meet_silence_with_their_timeout() {
    let silent = Upstream::start(|mut call| {
        call.drain();
    });
    let setup = Setup {
        upstream: ", health_check: { path: /health, interval: 100ms, timeout: 150ms }".to_owned(),
        ..Setup::plain(&silent.url())
    };
    let proxy = setup.start();
    change(&proxy, 1).with_detail("is unhealthy: no answer in 150ms");
    drop(proxy);
    silent.all_ended();
}

#[test]
fn checks_go_over_tls_and_unix_sockets_too() {
    let answering = |mut stream: secure::SecureStream| {
        let head = secure::read_head(&mut stream)?;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        stream.flush()?;
        Ok((head, stream))
    };
    let names = ["127.0.0.1"];
    let kind = crate::harness::certs::Kind::Good;
    let good = SecureUpstream::handling(config(Authority::shared(), &names, kind), answering);
    let strange = Authority::new("another authority");
    let stranger = SecureUpstream::handling(config(&strange, &names, kind), answering);
    let setup = Setup {
        upstream: format!("{CHECKED}, tls: {{ ca: ca.pem }}"),
        ..Setup::plain(&format!(
            "{}, {}, \"unix:app.sock\"",
            good.url(),
            stranger.url()
        ))
    };
    let folder = setup.folder();
    let listener = UnixListener::bind(folder.path().join("app.sock")).unwrap();
    let asked = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = secure::read_head(&mut socket).unwrap();
        socket
            .write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        let _ = socket.read(&mut [0]);
        head
    });
    let proxy = setup.start_in(folder);
    eventually("a check over TLS", || {
        (!good.seen().heads.is_empty()).then_some(())
    });
    let head = asked.join().unwrap();
    assert_eq!(field(&head, "host"), Some("localhost"));
    let details: Vec<_> = (1..=2)
        .map(|count| change(&proxy, count).text("detail").to_owned())
        .collect();
    let said = |part: &str| details.iter().any(|detail| detail.contains(part));
    assert!(
        said("is unhealthy: upstream_tls_verify_failed: "),
        "{details:?}"
    );
    assert!(said("/app.sock is unhealthy: answered 500"), "{details:?}");
    assert_eq!(stranger.seen().heads, [""; 0]);
}

#[test]
fn a_unix_socket_is_an_endpoint_beside_the_file() {
    let setup = Setup::plain("\"unix:app.sock\"");
    let folder = setup.folder();
    let path = folder.path().join("app.sock");
    secure::echo_on_unix(&path);
    let mut proxy = setup.start_in(folder);
    let mut client = open(&proxy);
    frames::echoes(&mut client, "through a file");
    let opened = proxy.event("opened");
    let shown = format!("unix:{}", path.display());
    assert_eq!(attempts(&opened), [(shown, "connected".to_owned())]);
    close(&mut proxy, client);
}

#[test]
fn a_unix_socket_that_is_not_there_is_refused() {
    let (response, line) = ask(&Setup::plain("\"unix:/nowhere/app.sock\""));
    is_own(&response, &line);
    let line = line
        .expect(Reason::UpstreamRefused)
        .with_detail("/nowhere/app.sock: No such file or directory");
    assert!(
        line.text("hint").contains("has not made its socket"),
        "{line:?}"
    );
    // A socket file on which nothing listens any more.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.sock");
    drop(UnixListener::bind(&path).unwrap());
    let setup = Setup::plain(&format!("unix:{}", path.display()));
    unconnected(&setup, Reason::UpstreamRefused);
}

/// A unix socket at `path` whose backlog is full, and the connections that fill it.
fn full(path: &Path) -> (socket2::Socket, Vec<UnixStream>) {
    let address = socket2::SockAddr::unix(path).unwrap();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&address).unwrap();
    socket.listen(0).unwrap();
    // One more than the backlog is said to hold.
    let mut waiting = vec![UnixStream::connect(path).unwrap()];
    let full = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    full.set_nonblocking(true).unwrap();
    if full.connect(&address).is_ok() {
        waiting.push(std::os::fd::OwnedFd::from(full).into());
    }
    (socket, waiting)
}

#[test]
fn clients_that_wait_for_a_full_backlog_get_room_in_their_order() {
    const WAITING: usize = 30;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full.sock");
    let (socket, filled) = full(&path);
    let setup = Setup {
        upstream: ", connect_timeout: 60s".to_owned(),
        ..Setup::plain(&format!("unix:{}", path.display()))
    };
    let proxy = services::start(&setup);
    let clients: Vec<_> = (1..=WAITING)
        .map(|number| {
            let mut client = Client::plain(proxy.address());
            let id = format!("client-{number:02}");
            client.send(handshake("/ws", &[("X-Request-ID", &id)]));
            eventually("the client to wait for the upstream", || {
                let scrape = Scrape::of(services::probes(&proxy));
                (scrape.sum("wsgate_upstream_in_use", &[]) == number as f64).then_some(())
            });
            client
        })
        .collect();
    let listener = UnixListener::from(std::os::fd::OwnedFd::from(socket));
    for _ in filled {
        drop(listener.accept().unwrap());
    }
    for number in 1..=WAITING {
        let (mut socket, _) = listener.accept().unwrap();
        let head = secure::switch(&mut socket).unwrap();
        let id = format!("client-{number:02}");
        assert_eq!(field(&head, "x-request-id"), Some(id.as_str()));
    }
    for mut client in clients {
        assert_eq!(client.response().status, 101);
    }
}

#[test]
fn a_unix_socket_with_a_full_backlog_is_waited_for_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full.sock");
    let (socket, waiting) = full(&path);
    let setup = Setup {
        upstream: ", connect_timeout: 200ms".to_owned(),
        ..Setup::plain(&format!("unix:{}", path.display()))
    };
    unconnected(&setup, Reason::UpstreamConnectTimeout).with_detail("no room in its backlog for ");
    // Room that appears before the deadline is used.
    let setup = Setup {
        upstream: ", connect_timeout: 20s".to_owned(),
        ..setup
    };
    let proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    let listener = UnixListener::from(std::os::fd::OwnedFd::from(socket));
    for _ in waiting {
        drop(listener.accept().unwrap());
    }
    let (mut socket, _) = listener.accept().unwrap();
    secure::switch(&mut socket).unwrap();
    assert_eq!(client.response().status, 101);
}
