use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{ECHO, problems};
use crate::harness::client::try_socket;
use crate::harness::ports::own_port;
use crate::harness::{Client, Proxy, Setup, eventually, frames, handshake, services};

/// A configuration with these listeners, each in flow style, and a route.
fn yaml(listeners: &[String], route: &str) -> String {
    let items: String = listeners
        .iter()
        .map(|listener| format!("  - {{ {listener} }}\n"))
        .collect();
    let routes = format!(
        "{{ path: {route}, websocket: {{ origins: [https://app.example.com] }}, upstream: app }}"
    );
    format!(
        "listeners:\n{items}routes: [{routes}]\nupstreams: {{ app: {{ endpoints: [{ECHO}] }} }}\nlog: {{ level: warn }}\n"
    )
}

fn at(address: &str) -> String {
    format!("address: '{address}'")
}

fn start(yaml: &str, listeners: usize) -> Proxy {
    let folder = Setup::tls(ECHO).folder();
    std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    Proxy::spawn(folder, None, listeners)
}

fn serves(address: SocketAddr, route: &str) -> bool {
    let Ok(socket) = try_socket(address) else {
        return false;
    };
    let mut client = Client::Plain(socket);
    client.send(handshake(route, &[])).response().status == 101
}

/// Clients connect continuously, with and without TLS, while the whole configuration changes a hundred times.
#[test]
fn a_hundred_reloads_refuse_nobody() {
    const RELOADS: usize = 100;
    let [one, two, tls] = [own_port(), own_port(), own_port()];
    let secure = format!(
        "address: '127.0.0.1:{tls}', tls: {{ certificates: [{{ cert: good.pem, key: good-key.pem }}] }}"
    );
    let here = at(&format!("127.0.0.1:{one}"));
    let everywhere = at(&format!("0.0.0.0:{one}"));
    let beside = at(&format!("127.0.0.1:{two}"));
    let plans = [
        yaml(&[here.clone(), secure.clone()], "/ws"),
        yaml(&[everywhere.clone(), secure.clone()], "/ws"),
        yaml(&[secure.clone(), beside.clone(), here.clone()], "/*"),
        yaml(
            &[here.clone(), format!("{secure}, proxy_protocol: off")],
            "/ws",
        ),
        yaml(&[beside, everywhere, secure], "/ws"),
        yaml(
            &[
                here,
                format!(
                    "address: '127.0.0.1:{tls}', tls: {{ min_version: '1.3', certificates: [{{ cert: good.pem, key: good-key.pem }}] }}"
                ),
            ],
            "/*",
        ),
    ];
    let proxy = start(&plans[0], 2);
    let mut tunnel = Client::plain(SocketAddr::from(([127, 0, 0, 1], one)));
    assert_eq!(tunnel.send(handshake("/ws", &[])).response().status, 101);
    let (stop, opened) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = [(one, false), (tls, true)]
        .into_iter()
        .map(|(port, is_tls)| {
            let (stop, opened) = (Arc::clone(&stop), Arc::clone(&opened));
            std::thread::spawn(move || {
                let address = SocketAddr::from(([127, 0, 0, 1], port));
                while !stop.load(Ordering::Relaxed) {
                    let mut client = match is_tls {
                        true => Client::tls(address),
                        false => Client::plain(address),
                    };
                    let response = client.send(handshake("/ws", &[])).response();
                    assert_eq!(response.status, 101, "{response:?}");
                    frames::echoes(&mut client, "hello");
                    opened.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for reload in 1..=RELOADS {
        let before = opened.load(Ordering::Relaxed);
        proxy.reload_with(&plans[reload % plans.len()]);
        // Not faster than clients connect.
        eventually("a client", || {
            (opened.load(Ordering::Relaxed) > before + 1).then_some(())
        });
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    frames::echoes(&mut tunnel, "still here");
    drop(tunnel);
    let lines = proxy.stop();
    assert!(opened.load(Ordering::Relaxed) >= 2 * RELOADS);
    let refused: Vec<_> = lines
        .iter()
        .filter(|line| line.text("event") == "refused")
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    let last = lines
        .iter()
        .rfind(|line| line.text("event") == "reloaded")
        .unwrap();
    assert_eq!(last.number("generation"), Some(RELOADS as u64 + 1));
}

#[test]
fn listeners_come_and_go() {
    let [one, two] = [own_port(), own_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let proxy = start(&yaml(&[at(&one.to_string())], "/ws"), 1);
    let mut tunnel = Client::plain(one);
    assert_eq!(tunnel.send(handshake("/ws", &[])).response().status, 101);
    proxy.reload_with(&yaml(&[at(&one.to_string()), at(&two.to_string())], "/ws"));
    assert!(serves(one, "/ws") && serves(two, "/ws"));
    let line = proxy.reload_with(&yaml(&[at(&two.to_string())], "/ws"));
    let gone = format!("no longer listening on {one}");
    assert!(line.text("detail").contains(&gone), "{line:?}");
    // It is served a little longer, for clients that are already connecting, and then closed.
    eventually("the end of the listener", || {
        try_socket(one).is_err().then_some(())
    });
    frames::echoes(&mut tunnel, "still here");
    assert!(serves(two, "/ws"));
    // It can come back, even while it is being closed.
    for _ in 0..3 {
        proxy.reload_with(&yaml(&[at(&one.to_string()), at(&two.to_string())], "/ws"));
        assert!(serves(one, "/ws") && serves(two, "/ws"));
        proxy.reload_with(&yaml(&[at(&two.to_string())], "/ws"));
        assert!(serves(two, "/ws"));
    }
    proxy.stop();
}

/// The specific address stays open when a listener on all addresses takes its port over, and serves the same.
#[test]
fn every_address_takes_over_from_one_and_back() {
    let port = own_port();
    let [one, other] =
        ["127.0.0.1", "127.0.0.2"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
    let proxy = start(&yaml(&[at(&one.to_string())], "/one"), 1);
    let line = proxy.reload_with(&yaml(&[at(&format!("0.0.0.0:{port}"))], "/two"));
    assert!(!line.text("detail").contains("no longer"), "{line:?}");
    assert!(serves(one, "/two") && serves(other, "/two"));
    proxy.reload_with(&yaml(&[at(&one.to_string())], "/three"));
    assert!(serves(one, "/three"));
    eventually("the end of every address", || {
        try_socket(other).is_err().then_some(())
    });
    assert!(serves(one, "/three"));
    proxy.stop();
}

#[test]
fn an_address_that_is_taken_leaves_everything_as_it_was() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (one, two) = (own_port(), own_port());
    let [one, two] = [one, two].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let before = yaml(&[at(&one.to_string())], "/one");
    let proxy = start(&before, 1);
    let listeners = [two, taken.local_addr().unwrap()].map(|address| at(&address.to_string()));
    let after = yaml(&listeners, "/two");
    proxy.write(&after);
    proxy.signal("HUP");
    let line = proxy.event("reload_refused");
    assert!(line.text("detail").contains("can't listen on"), "{line:?}");
    assert!(line.text("detail").contains("in use"), "{line:?}");
    assert!(problems(&line).is_empty());
    assert!(serves(one, "/one"));
    assert!(
        try_socket(two).is_err(),
        "what was bound already is given back"
    );
    drop(taken);
    proxy.signal("HUP");
    proxy.event("reloaded");
    assert!(serves(two, "/two"));
    proxy.stop();
}

/// A socket of another process is never shared, whatever its options.
#[test]
fn an_address_of_another_wsgate_is_taken() {
    let [one, two] = [own_port(), own_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let other = start(&yaml(&[at(&one.to_string())], "/other"), 1);
    let proxy = start(&yaml(&[at(&two.to_string())], "/ws"), 1);
    proxy.write(&yaml(&[at(&one.to_string())], "/ws"));
    proxy.signal("HUP");
    let line = proxy.event("reload_refused");
    assert!(
        line.text("detail").contains("stop what listens there"),
        "{line:?}"
    );
    assert!(serves(one, "/other") && serves(two, "/ws"));
    other.stop();
    proxy.stop();
}

/// The same if this process has bound the port on another address.
#[test]
fn an_address_of_another_wsgate_is_taken_whatever_else_has_its_port() {
    let port = own_port();
    let [own, others] =
        ["127.0.0.1", "127.0.0.2"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
    let other = start(&yaml(&[at(&others.to_string())], "/other"), 1);
    let proxy = start(&yaml(&[at(&own.to_string())], "/ws"), 1);
    proxy.write(&yaml(&[at(&others.to_string())], "/ws"));
    proxy.signal("HUP");
    let line = proxy.event("reload_refused");
    assert!(
        line.text("detail").contains("stop what listens there"),
        "{line:?}"
    );
    for _ in 0..20 {
        assert!(serves(others, "/other"));
    }
    assert!(serves(own, "/ws"));
    other.stop();
    proxy.stop();
}

/// Far more clients than one turn of a task serves, which connect while the process is stopped. When it continues, the
/// time of their address is over, but all of them are answered before it is closed.
#[test]
fn everybody_in_the_queue_is_answered_when_an_address_goes() {
    const CLIENTS: usize = 400;
    let [one, two] = [own_port(), own_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let proxy = start(
        &yaml(&[at(&one.to_string()), at(&two.to_string())], "/ws"),
        2,
    );
    proxy.reload_with(&yaml(&[at(&two.to_string())], "/ws"));
    proxy.signal("STOP");
    let stopped = std::time::Instant::now();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::plain(one)).collect();
    for client in &mut clients {
        client.send(handshake("/ws", &[]));
    }
    // There is no event for the end of this time; it has to pass.
    let longer_than_it_is_left = std::time::Duration::from_millis(1200);
    std::thread::sleep(longer_than_it_is_left.saturating_sub(stopped.elapsed()));
    proxy.signal("CONT");
    for client in &mut clients {
        assert_eq!(client.response().status, 101);
    }
    drop(clients);
    eventually("the end of the listener", || {
        try_socket(one).is_err().then_some(())
    });
    proxy.stop();
}

#[test]
fn a_service_moves_to_another_address() {
    let [one, two] = [own_port(), own_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let with = |probes: SocketAddr| {
        yaml(&[at("127.0.0.1:0")], "/ws") + &format!("probes: {{ address: '{probes}' }}\n")
    };
    let answers = |address: SocketAddr| {
        let Ok(socket) = try_socket(address) else {
            return false;
        };
        let mut client = Client::Plain(socket);
        client.send("GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.response().status == 200
    };
    let proxy = start(&with(one), 1);
    assert!(answers(one));
    let listener = proxy.address();
    proxy.reload_with(&with(two));
    assert!(answers(two));
    eventually("the end of the old address", || {
        try_socket(one).is_err().then_some(())
    });
    assert!(
        serves(listener, "/ws"),
        "the listener kept its socket, whose port the kernel chose"
    );
    proxy.stop();
}

/// A balancer that asks there must not get the listener's 404 any more.
#[test]
fn an_address_is_at_once_the_service_s_that_takes_it_over() {
    // As many as may be accepted before the listener's task stops. If the address were served for another second there
    // would be hundreds.
    const AT_MOST: usize = 5;
    let [one, two] = [own_port(), own_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let with = |listener: SocketAddr, probes: SocketAddr| {
        let kept = at("127.0.0.1:0");
        yaml(&[kept, at(&listener.to_string())], "/ws")
            + &format!("probes: {{ address: '{probes}' }}\n")
    };
    let proxy = start(&with(one, two), 2);
    for (listener, probes) in [(two, one), (one, two), (two, one)] {
        proxy.reload_with(&with(listener, probes));
        for (address, status) in [(probes, 200), (listener, 404)] {
            let others = (0..300).filter(|_| services::get(address, "/readyz").0 != status);
            let others = others.count();
            assert!(others <= AT_MOST, "{others} of 300 at {address}");
        }
    }
    proxy.stop();
}

/// Each service answers at the other's address, and nothing is left behind.
#[test]
fn services_change_places() {
    let [one, two] = [own_port(), own_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let with = |services: &str| yaml(&[at("127.0.0.1:0")], "/ws") + services;
    let both = |probes: SocketAddr, admin: SocketAddr| {
        with(&format!(
            "probes: {{ address: '{probes}' }}\nadmin: {{ address: '{admin}' }}\n"
        ))
    };
    // Often enough that a second socket at the address would get some of them.
    let all_answer = |address: SocketAddr, status: u16| {
        (0..50).all(|_| services::get(address, "/drain").0 == status)
    };
    let proxy = start(&both(one, two), 1);
    assert_eq!(services::get(two, "/drain").0, 200);
    let line = proxy.reload_with(&both(two, one));
    assert!(!line.text("detail").contains("no longer"), "{line:?}");
    eventually("each to be alone", || {
        (all_answer(two, 404) && all_answer(one, 200)).then_some(())
    });
    let line = proxy.reload_with(&with(""));
    for address in [one, two] {
        let gone = format!("no longer listening on {address}");
        assert!(line.text("detail").contains(&gone), "{line:?}");
        eventually("its end", || try_socket(address).is_err().then_some(()));
    }
    // Nothing in this process keeps the addresses from being bound again.
    proxy.reload_with(&both(one, two));
    assert!(all_answer(one, 404) && all_answer(two, 200));
    proxy.stop();
}
