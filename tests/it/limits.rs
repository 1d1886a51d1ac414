//! What one client may use.

use std::io::Read;
use std::net::Ipv4Addr;

use wsgate::reason::Reason;

use crate::harness::client::try_socket;
use crate::harness::frames::{CLOSE, closing, read};
use crate::harness::proxy::run;
use crate::harness::{Client, Line, Proxy, Response, Setup, eventually, handshake};

const TRUSTING: &str = "trusted_proxies: [127.0.0.0/8]\n";

fn start(limits: &str, extra: &str) -> Proxy {
    let setup = Setup {
        limits: limits.to_owned(),
        extra: extra.to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    setup.start()
}

/// A handshake that a balancer forwards for `client`; the connection stays open.
fn for_client(proxy: &Proxy, client: &str) -> (Client, Response) {
    let mut connection = Client::plain(proxy.address());
    let response = connection
        .send(handshake("/ws", &[("X-Forwarded-For", client)]))
        .response();
    (connection, response)
}

fn seconds(response: &Response) -> u64 {
    response.field("retry-after").unwrap().parse().unwrap()
}

/// Behind a balancer the request names the client, and its tunnels count.
pub fn client_conn_limit() -> Line {
    let mut proxy = start("connections_per_client: 2", TRUSTING);
    for (one, same, other) in [
        ("203.0.113.7", "::ffff:203.0.113.7", "203.0.113.8"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
    ] {
        let (first, response) = for_client(&proxy, one);
        assert_eq!(response.status, 101);
        let (second, response) = for_client(&proxy, same);
        assert_eq!(response.status, 101);
        let (_, response) = for_client(&proxy, one);
        assert_eq!(response.status, 429);
        assert_eq!(seconds(&response), 5);
        assert!(response.text().starts_with("client_conn_limit\n"));
        let line = proxy.terminal().expect(Reason::ClientConnLimit);
        assert_eq!(line.text("stage"), "policy");
        assert_eq!(line.text("client"), one);
        // Other clients are not affected, nor are the balancer's own requests and connections.
        for client in [other, "127.0.0.9", "127.0.0.9", "127.0.0.9"] {
            let (client, response) = for_client(&proxy, client);
            assert_eq!(response.status, 101);
            drop(client);
            proxy.terminal();
        }
        drop(first);
        proxy.terminal();
        let again = eventually("a free place", || {
            let (client, response) = for_client(&proxy, one);
            if response.status != 101 {
                proxy.terminal();
                return None;
            }
            Some(client)
        });
        drop((again, second));
        proxy.terminal();
        proxy.terminal();
    }
    let open: Vec<_> = (0..2).map(|_| for_client(&proxy, "192.0.2.1")).collect();
    let (_, response) = for_client(&proxy, "192.0.2.1");
    assert_eq!(response.status, 429);
    drop(open);
    proxy.wait("the refusal", |lines| {
        let refused =
            |line: &&Line| line.text("client") == "192.0.2.1" && line.text("event") == "refused";
        lines.iter().find(refused).cloned()
    })
}

/// Without a balancer the peer is the client, and is reset before it has sent a byte.
#[test]
fn a_peer_with_too_many_connections_is_reset_at_accept() {
    let mut proxy = start("connections_per_client: 2", "");
    let idle = Client::plain(proxy.address());
    let mut open = Client::plain(proxy.address());
    // A field that anyone can write does not change the client.
    let request = handshake("/ws", &[("X-Forwarded-For", "203.0.113.7")]);
    assert_eq!(open.send(&request).response().status, 101);
    if let Ok(mut third) = try_socket(proxy.address()) {
        let end = third.read(&mut [0]).unwrap_err();
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    }
    let line = proxy.terminal();
    assert_eq!(line.text("reason"), "client_conn_limit");
    assert_eq!(line.text("stage"), "accept");
    assert_eq!(line.number("status"), None);
    assert_eq!(line.text("client"), "127.0.0.1");
    let mut other = Client::plain_from(Ipv4Addr::new(127, 0, 0, 2), proxy.address());
    assert_eq!(other.send(handshake("/ws", &[])).response().status, 101);
    drop(idle);
    proxy.terminal().expect(Reason::TcpProbe);
    eventually("a free place", || {
        let mut next = Client::Plain(try_socket(proxy.address()).ok()?);
        std::io::Write::write_all(&mut next, handshake("/ws", &[]).as_bytes()).ok()?;
        matches!(next.read(&mut [0]), Ok(1)).then_some(())
    });
}

pub fn rate_limited() -> Line {
    let mut proxy = start("handshakes_per_client: 3", "");
    let ask = |request: String| {
        let mut client = Client::plain(proxy.address());
        client.send(request).response()
    };
    // Every refused handshake counts; plain requests don't.
    assert_eq!(ask(handshake("/ws", &[])).status, 101);
    assert_eq!(ask(handshake("/ws", &[("Origin", "null")])).status, 403);
    assert_eq!(ask(handshake("/nowhere", &[])).status, 404);
    for _ in 0..5 {
        let plain = "GET /ws HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
        assert_eq!(ask(plain.to_owned()).status, 426);
    }
    for request in [
        handshake("/ws", &[]),
        handshake("/nowhere", &[]),
        handshake("/ws", &[("Origin", "null")]),
    ] {
        let response = ask(request);
        assert_eq!(response.status, 429);
        assert!((1..=20).contains(&seconds(&response)), "{response:?}");
        assert!(response.text().starts_with("rate_limited\n"));
    }
    let mut other = Client::plain_from(Ipv4Addr::new(127, 0, 0, 2), proxy.address());
    assert_eq!(other.send(handshake("/ws", &[])).response().status, 101);
    loop {
        let line = proxy.terminal();
        if line.text("reason") == Reason::RateLimited.code() {
            return line.with_detail("more than 3 handshakes a minute");
        }
    }
}

#[test]
fn behind_a_balancer_each_client_has_a_rate_of_its_own() {
    let proxy = start("handshakes_per_client: 1", TRUSTING);
    for client in ["203.0.113.7", "2001:db8::1"] {
        assert_eq!(for_client(&proxy, client).1.status, 101);
        assert_eq!(for_client(&proxy, client).1.status, 429);
    }
    assert_eq!(for_client(&proxy, "2001:db8::2").1.status, 429);
    assert_eq!(for_client(&proxy, "2001:db8:0:1::2").1.status, 101);
}

/// The advice to come back later is right: shortly after, it works.
#[test]
fn a_client_that_waits_as_told_gets_in() {
    let proxy = start("handshakes_per_client: 60", "");
    let ask = || {
        let mut client = Client::plain(proxy.address());
        client.send(handshake("/ws", &[])).response()
    };
    let refused = eventually("the limit", || {
        let response = ask();
        (response.status == 429).then_some(response)
    });
    assert_eq!(seconds(&refused), 1);
    let begun = std::time::Instant::now();
    eventually("room for one more", || (ask().status == 101).then_some(()));
    assert!(begun.elapsed().as_secs() < 5);
}

#[test]
fn a_client_that_hides_http_is_told_in_a_close_frame() {
    let setup = Setup {
        websocket: "explain_refusals: true".to_owned(),
        limits: "handshakes_per_client: 1".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let mut proxy = setup.start();
    let open = |proxy: &Proxy| {
        let mut client = Client::plain(proxy.address());
        assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
        client
    };
    let first = open(&proxy);
    let mut second = open(&proxy);
    let close = read(&mut second).unwrap();
    assert_eq!(close, (CLOSE, closing(1013, "rate_limited")));
    drop(second);
    proxy.terminal().expect(Reason::RateLimited);
    drop(first);
}

#[test]
fn a_limit_that_would_take_all_clients_for_one_is_a_warning() {
    let check = |change: &dyn Fn(&mut Setup)| {
        let mut setup = Setup::tls("\"builtin:echo\"");
        setup.limits = "connections_per_client: 10, handshakes_per_client: off".to_owned();
        change(&mut setup);
        let folder = setup.folder();
        let (code, out, _) = run(&["check"], folder.path());
        assert_eq!(code, 0, "{out}");
        out
    };
    let with_tls = check(&|_| {});
    assert!(!with_tls.contains("connections_per_client"), "{with_tls}");
    let plain = check(&|setup| setup.tls = None);
    assert!(
        plain.contains("warning: limits.connections_per_client: a listener is without tls"),
        "{plain}"
    );
    assert!(
        !plain.contains("handshakes_per_client"),
        "off is no limit: {plain}"
    );
    let balanced = check(&|setup| {
        setup.limits = "handshakes_per_client: 9".to_owned();
        setup.extra = "load_balancer: { name: edge }\n".to_owned();
    });
    assert!(
        balanced.contains("warning: limits.handshakes_per_client: load_balancer is set"),
        "{balanced}"
    );
    let trusting = check(&|setup| {
        setup.tls = None;
        setup.extra = TRUSTING.to_owned();
    });
    assert!(!trusting.contains("_per_client"), "{trusting}");
}
