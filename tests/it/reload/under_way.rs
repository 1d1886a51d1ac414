use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use wsgate::reason::Reason;

use super::{ECHO, status};
use crate::harness::client::is_read;
use crate::harness::{Client, Origin, Setup, Upstream, eventually, frames, handshake};

/// A route for plain requests before `/ws`, to `upstream`.
fn with_plain(path: &str, upstream: &str) -> Setup {
    Setup {
        routes: format!("  - {{ path: {path}, http: {{}}, upstream: app }}\n"),
        ..Setup::plain(upstream)
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
}

/// An origin that answers when it is told to.
fn waiting() -> (Origin, Sender<()>) {
    let (go, gone): (_, Receiver<()>) = channel();
    let gone = Arc::new(Mutex::new(gone));
    let origin = Origin::start(move |ask| {
        gone.lock().unwrap().recv().unwrap();
        ask.ok("done");
    });
    (origin, go)
}

#[test]
fn a_request_whose_route_is_gone_is_answered() {
    let (origin, go) = waiting();
    let mut proxy = with_plain("/slow", &origin.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(get("/slow"));
    origin.asked(1);
    // Nothing of it is left: neither the route, nor the upstream, nor the origin.
    proxy.reload(&Setup::plain(ECHO));
    go.send(()).unwrap();
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "done"));
    let line = proxy.terminal();
    assert_eq!(
        (line.text("event"), line.number("generation")),
        ("request", Some(1))
    );
    // The current configuration decides on the next request of the same connection.
    client.send(get("/slow"));
    assert_eq!(client.response().status, 404);
    let line = proxy.terminal().expect(Reason::PathNotAllowed);
    assert_eq!(line.number("generation"), Some(2));
    proxy.stop();
}

#[test]
fn a_kept_connection_goes_on_through_reload_after_reload() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut proxy = with_plain("/0", &origin.url()).start();
    let mut client = Client::plain(proxy.address());
    for generation in 1..=20_u64 {
        let path = format!("/{}", generation - 1);
        client.send(get(&path));
        assert_eq!(client.response().status, 200);
        let line = proxy.terminal();
        assert_eq!(line.number("generation"), Some(generation));
        assert_eq!(line.text("route"), path);
        proxy.reload(&with_plain(&format!("/{generation}"), &origin.url()));
    }
    assert_eq!(
        origin.connections(),
        1,
        "the upstream's connection was kept as well"
    );
    proxy.stop();
}

/// A connection that was accepted under other rules is not used under the new ones.
#[test]
fn a_kept_connection_ends_where_its_listener_asks_for_something_else_now() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut setup = Setup {
        extra: "trusted_proxies: [127.0.0.1/32]\n".to_owned(),
        ..with_plain("/a", &origin.url())
    };
    let proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    client.send(get("/a"));
    assert_eq!(client.response().status, 200);
    setup.listener = "proxy_protocol: required".to_owned();
    proxy.reload(&setup);
    // An idle connection is closed at once.
    assert_eq!(client.rest(), b"");
    let listening = proxy.event_number("listening", 2);
    assert_eq!(listening.number("generation"), None);
    let detail = "without TLS, behind a PROXY header, from now on";
    assert_eq!(listening.text("detail"), detail);
    proxy.reload(&with_plain("/b", &origin.url()));
    proxy.event_number("listening", 3);
    proxy.stop();
}

/// A first request that is incomplete when the configuration changes.
#[test]
fn a_request_is_judged_by_what_is_in_use_when_its_head_has_come() {
    let mut proxy = super::at_path("/one").start();
    let request = handshake("/one", &[]);
    let mut clients: Vec<_> = ["G", "GET /one HT"]
        .map(|sent| (Client::plain(proxy.address()), sent))
        .into();
    for (client, sent) in &mut clients {
        client.send(*sent);
        eventually("it to be read", || is_read(client.tcp()).then_some(()));
    }
    proxy.reload(&super::at_path("/two"));
    for (client, sent) in &mut clients {
        assert_eq!(client.send(&request[sent.len()..]).response().status, 404);
        let line = proxy.terminal().expect(Reason::PathNotAllowed);
        assert_eq!(line.number("generation"), Some(2));
    }
    proxy.stop();
}

/// The limits on clients are those in use when the head has come, as its route is.
#[test]
fn a_client_is_counted_by_what_is_in_use_when_its_head_has_come() {
    let allowing = |connections: u32| Setup {
        extra: "trusted_proxies: [127.0.0.0/8]\n".to_owned(),
        limits: format!("connections_per_client: {connections}"),
        ..Setup::plain("\"builtin:echo\"")
    };
    let mut proxy = allowing(1).start();
    let request = handshake("/ws", &[("X-Forwarded-For", "203.0.113.7")]);
    let mut first = Client::plain(proxy.address());
    assert_eq!(first.send(&request).response().status, 101);
    let mut second = Client::plain(proxy.address());
    let (begun, rest) = request.split_at(20);
    second.send(begun);
    eventually("it to be read", || is_read(second.tcp()).then_some(()));
    proxy.reload(&allowing(2));
    assert_eq!(second.send(rest).response().status, 101);
    let mut third = Client::plain(proxy.address());
    assert_eq!(third.send(&request).response().status, 429);
    proxy.terminal().expect(Reason::ClientConnLimit);
    drop((first, second));
    proxy.stop();
}

/// The deadline of a further request is the one in use when the request begins.
#[test]
fn a_further_request_has_the_deadline_in_use_when_it_begins() {
    let allowing = |limit: &str| Setup {
        limits: format!("request_head: {limit}"),
        ..Setup::plain("\"builtin:echo\"")
    };
    let mut setup = allowing("10s");
    setup.routes = "  - { path: /health, respond: { body: ok } }\n".to_owned();
    let mut proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(get("/health")).response().status, 200);
    proxy.terminal();
    setup.limits = allowing("1s").limits;
    proxy.reload(&setup);
    client.send("GET /health HTTP/1.1\r\n");
    assert_eq!(client.response().status, 408);
    let line = proxy.terminal().expect(Reason::HttpHeaderTimeout);
    assert_eq!(line.number("generation"), Some(2));
    assert!(line.number("head_ms").unwrap() < 5000, "{line:?}");
    proxy.stop();
}

#[test]
fn an_answer_under_way_is_the_last_where_the_listener_is_gone() {
    let (origin, go) = waiting();
    let mut proxy = with_plain("/slow", &origin.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(get("/slow"));
    origin.asked(1);
    let elsewhere = with_plain("/slow", &origin.url())
        .yaml()
        .replace("127.0.0.1:0", "127.0.0.2:0");
    proxy.reload_with(&elsewhere);
    go.send(()).unwrap();
    let response = client.response();
    assert_eq!(response.text(), "done");
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
    assert_eq!(proxy.terminal().number("generation"), Some(1));
    proxy.stop();
}

/// A handshake that waits for its upstream while the upstream is removed.
#[test]
fn a_handshake_under_way_becomes_a_tunnel() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let upstream = Upstream::start(move |mut call| {
        gone.lock().unwrap().recv().unwrap();
        call.switch("").drain();
    });
    let mut proxy = Setup::plain(&upstream.url()).start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    eventually("the upstream's turn", || {
        (upstream.connections() == 1).then_some(())
    });
    proxy.reload(&Setup {
        path: "/other".to_owned(),
        ..Setup::plain(ECHO)
    });
    go.send(()).unwrap();
    assert_eq!(client.response().status, 101);
    client.finish();
    assert_eq!(proxy.terminal().number("generation"), Some(1));
    proxy.stop();
}

#[test]
fn what_is_counted_of_an_upstream_counts_through_reloads() {
    let upstream = Upstream::echo();
    let setup = |most: usize, wait: &str| Setup {
        upstream: format!(", max_tunnels: {most}, connect_timeout: {wait}"),
        ..Setup::plain(&upstream.url())
    };
    let mut proxy = setup(2, "2s").start();
    let mut tunnels: Vec<_> = (0..2).map(|_| super::open(&proxy, "/ws")).collect();
    proxy.reload(&setup(2, "3s"));
    assert_eq!(status(&proxy, "/ws"), 503);
    proxy.terminal().expect(Reason::UpstreamTunnelLimit);
    proxy.reload(&setup(3, "3s"));
    tunnels.push(super::open(&proxy, "/ws"));
    assert_eq!(status(&proxy, "/ws"), 503);
    proxy.terminal().expect(Reason::UpstreamTunnelLimit);
    for tunnel in &mut tunnels {
        frames::echoes(tunnel, "here");
        tunnel.finish();
        proxy.terminal();
    }
    assert_eq!(status(&proxy, "/ws"), 101);
    proxy.stop();
}

/// A reload that does not concern them keeps the results of health checks, and one that removes the checks forgets
/// them.
#[test]
fn an_unhealthy_endpoint_stays_so_while_it_is_checked() {
    let origin =
        Origin::answering("HTTP/1.1 500 Sick\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let setup = |check: &str, wait: &str| Setup {
        upstream: format!("{check}, connect_timeout: {wait}"),
        ..with_plain("/a", &origin.url())
    };
    const CHECK: &str = ", health_check: { path: /health, interval: 60s }";
    let mut proxy = setup(CHECK, "2s").start();
    proxy.event("upstream_health");
    let mut client = Client::plain(proxy.address());
    client.send(get("/a"));
    assert_eq!(client.response().status, 503);
    proxy.terminal().expect(Reason::UpstreamNoneHealthy);
    proxy.reload(&setup(CHECK, "3s"));
    let mut client = Client::plain(proxy.address());
    client.send(get("/a"));
    assert_eq!(client.response().status, 503);
    proxy.terminal().expect(Reason::UpstreamNoneHealthy);
    // A refused configuration changes nothing, however much of it was read.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut refused = setup("", "3s");
    let address = taken.local_addr().unwrap();
    refused.extra = format!("probes: {{ address: '{address}' }}\n");
    proxy.write(&refused.yaml());
    proxy.signal("HUP");
    proxy.event("reload_refused");
    let mut client = Client::plain(proxy.address());
    client.send(get("/a"));
    assert_eq!(client.response().status, 503);
    proxy.terminal().expect(Reason::UpstreamNoneHealthy);
    proxy.reload(&setup("", "3s"));
    let mut client = Client::plain(proxy.address());
    client.send(get("/a"));
    assert_eq!(client.response().status, 500);
    proxy.stop();
}
