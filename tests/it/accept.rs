//! The accept stage: connections that end before a protocol is spoken.

/// PROXY protocol headers on listeners that require them.
pub mod proxy_header;

use std::io::ErrorKind;

use wsgate::reason::Reason;

use crate::harness::client::{socket, trusting, try_socket};
use crate::harness::proxy::HOST;
use crate::harness::{Client, Line, Proxy, Setup, Upstream, eventually, handshake};
use crate::tls::hello::{Hello, ending};

/// Version 1 in text and version 2 in binary, for a TCP connection over IPv4, with the bytes that would follow.
const PROXY_HEADERS: [&[u8]; 2] = [
    b"PROXY TCP4 192.0.2.1 192.0.2.2 51234 443\r\nGET /ws HTTP/1.1\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xc8\x22\x01\xbb\x16\x03\x01",
];

/// A proxy without TLS and one with TLS: most of this happens before TLS matters.
fn both(upstream: &Upstream) -> [Proxy; 2] {
    [Setup::plain(&upstream.url()), Setup::tls(&upstream.url())].map(|setup| setup.start())
}

/// The next record: a refusal that names the peer, but nothing of a request.
#[track_caller]
fn refused(proxy: &mut Proxy) -> Line {
    let line = proxy.terminal();
    assert_eq!(line.text("event"), "refused", "{line:?}");
    assert!(line.text("peer").starts_with("127.0.0.1:"), "{line:?}");
    assert_eq!(line.text("client"), "127.0.0.1", "{line:?}");
    assert_eq!(line.text("listener"), proxy.address().to_string());
    // Only if a request line was read completely.
    let is_asked = !line.text("method").is_empty();
    assert!(is_asked || line.text("path").is_empty(), "{line:?}");
    line
}

/// Opens a tunnel; `None` while connections are still turned away.
fn opens(proxy: &Proxy) -> Option<Client> {
    let mut client = Client::tls_with(proxy.address(), HOST, trusting()).ok()?;
    let response = client.send(handshake("/ws", &[])).response();
    assert_eq!(response.status, 101);
    Some(client)
}

/// Idle connections use up all descriptors: a new client is reset at once. After they have ended, the proxy serves
/// again.
pub fn tcp_accept_failed() -> Line {
    const DESCRIPTORS: usize = 40;
    const MORE: usize = 300;
    let upstream = Upstream::echo();
    let mut setup = Setup::tls(&upstream.url());
    setup.descriptors = Some(DESCRIPTORS as u64);
    let proxy = setup.start();
    // Its reset may arrive before connect() returns.
    let idle: Vec<_> = (0..DESCRIPTORS)
        .map(|_| try_socket(proxy.address()))
        .collect();
    let failed = |lines: &[Line]| {
        let is_failed = |line: &&Line| line.text("reason") == Reason::TcpAcceptFailed.code();
        lines.iter().find(is_failed).cloned()
    };
    let line = proxy
        .wait("a failed accept", failed)
        .with_detail("Too many open files");
    assert_eq!(line.text("event"), "refused");
    assert_eq!(line.text("client"), "127.0.0.1", "{line:?}");
    for _ in 0..MORE {
        if let Ok(socket) = try_socket(proxy.address()) {
            assert_eq!(ending(&mut Client::Plain(socket)), (Vec::new(), true));
        }
    }
    drop(idle);
    let client = eventually("a connection that is served", || opens(&proxy));
    assert_eq!(upstream.connections(), 1);
    drop(client);
    upstream.all_ended();
    // Every client is counted, but not all records of one kind are written.
    let lines = proxy.stop();
    let counts = &lines.last().unwrap().0["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap_or(0);
    let all = count("tcp_probe") + count("tcp_accept_failed");
    assert!(all >= (DESCRIPTORS + MORE) as u64, "{counts}");
    assert!(count("records_suppressed") > 0, "{counts}");
    line
}

/// If not even the reserved descriptor can be used, clients wait, and records are not flooded.
#[test]
fn connections_that_cannot_even_be_reset_wait_and_are_served_later() {
    let upstream = Upstream::echo();
    let proxy = Setup::tls(&upstream.url()).start();
    let process = rustix::process::Pid::from_raw(i32::try_from(proxy.id()).unwrap());
    let allow = |current| {
        let files = rustix::process::Resource::Nofile;
        let new = rustix::process::Rlimit {
            current,
            maximum: rustix::process::getrlimit(files).maximum,
        };
        rustix::process::prlimit(process, files, new).unwrap()
    };
    let before = allow(Some(3));
    let waiting = socket(proxy.address());
    let failed = |lines: &[Line]| {
        let is_failed = |line: &&Line| line.text("reason") == Reason::TcpAcceptFailed.code();
        lines.iter().filter(is_failed).count()
    };
    let begun = std::time::Instant::now();
    proxy.wait("the second record", |lines| {
        (failed(lines) >= 2).then_some(())
    });
    assert!(begun.elapsed() >= std::time::Duration::from_millis(900));
    let line = proxy
        .lines()
        .into_iter()
        .find(|line| !line.text("reason").is_empty());
    assert_eq!(line.unwrap().text("peer"), "", "nobody can be named");
    allow(before.current);
    drop(opens(&proxy).unwrap());
    drop(waiting);
    assert_eq!(upstream.connections(), 1);
}

pub fn tcp_conn_limit() -> Line {
    let upstream = Upstream::echo();
    let mut setup = Setup::tls(&upstream.url());
    setup.limits = "connections: 2".to_owned();
    let mut proxy = setup.start();
    // An idle connection counts like one with a tunnel.
    let idle = Client::plain(proxy.address());
    let open = opens(&proxy).unwrap();
    match try_socket(proxy.address()) {
        Ok(third) => {
            let end = ending(&mut Client::Plain(third));
            assert_eq!(end, (Vec::new(), true), "reset at once");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    let line = refused(&mut proxy);
    assert_eq!(upstream.connections(), 1);
    drop(idle);
    // A slot is free only shortly after the connection's end.
    let next = eventually("a free slot", || opens(&proxy));
    drop((open, next));
    line
}

pub fn tcp_probe() -> Line {
    let upstream = Upstream::echo();
    let [plain, tls] = both(&upstream).map(|mut proxy| {
        // Closed completely, and with the sending side closed first, as some health checks do.
        drop(Client::plain(proxy.address()));
        refused(&mut proxy).expect(Reason::TcpProbe);
        let mut client = Client::plain(proxy.address());
        client.finish();
        assert_eq!(ending(&mut client), (Vec::new(), false));
        refused(&mut proxy)
    });
    assert_eq!(upstream.connections(), 0);
    plain.expect(Reason::TcpProbe);
    tls
}

pub fn tcp_reset_before_request() -> Line {
    let upstream = Upstream::echo();
    let [mut plain, mut tls] = both(&upstream);
    // Before the first byte, in the middle of the method, and in the middle of the head.
    for bytes in ["", "GE", "GET /ws HTTP/1.1\r\nHo"] {
        let mut client = Client::plain(plain.address());
        client.send(bytes);
        client.reset();
        let line = refused(&mut plain)
            .expect(Reason::TcpResetBeforeRequest)
            .with_detail("reset by peer");
        let path = if bytes.contains("\r\n") { "/ws" } else { "" };
        assert_eq!(line.text("path"), path);
    }
    Client::plain(tls.address()).reset();
    assert_eq!(upstream.connections(), 0);
    refused(&mut tls).with_detail("reset by peer")
}

pub fn tcp_first_byte_timeout() -> Line {
    let upstream = Upstream::echo();
    let mut setups = [Setup::plain(&upstream.url()), Setup::tls(&upstream.url())];
    // Each listener has its own deadline; the other one would be too late for this test.
    setups[0].limits = "request_head: 200ms, tls_handshake: 60s".to_owned();
    setups[1].limits = "request_head: 60s, tls_handshake: 200ms".to_owned();
    let [first, second] = setups.map(|setup| {
        let mut proxy = setup.start();
        let mut client = Client::plain(proxy.address());
        assert_eq!(ending(&mut client), (Vec::new(), false));
        refused(&mut proxy)
    });
    assert_eq!(upstream.connections(), 0);
    first.expect(Reason::TcpFirstByteTimeout);
    second
}

pub fn proxy_protocol_unexpected() -> Line {
    let upstream = Upstream::echo();
    let [first, second] = both(&upstream).map(|mut proxy| {
        let [v1, v2] = PROXY_HEADERS.map(|header| {
            let mut client = Client::plain(proxy.address());
            client.send(header);
            let (answer, _) = ending(&mut client);
            assert_eq!(answer, b"", "what speaks PROXY does not expect an answer");
            refused(&mut proxy)
        });
        v2.expect(Reason::ProxyProtocolUnexpected)
            .with_detail("first bytes 0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a (PROXY protocol, version 2), then 4 more");
        v1.with_detail("(PROXY TCP4), then 5 more")
    });
    assert_eq!(upstream.connections(), 0);
    first.expect(Reason::ProxyProtocolUnexpected);
    second
}

#[test]
fn a_proxy_header_is_told_when_it_comes_byte_by_byte() {
    let upstream = Upstream::echo();
    for mut proxy in both(&upstream) {
        for header in PROXY_HEADERS {
            let mut client = Client::plain(proxy.address());
            for byte in &header[..16] {
                // The proxy ends the connection as soon as it knows the protocol.
                if std::io::Write::write_all(&mut client, &[*byte]).is_err() {
                    break;
                }
            }
            refused(&mut proxy).expect(Reason::ProxyProtocolUnexpected);
        }
    }
}

pub fn tls_on_plain_port() -> Line {
    let upstream = Upstream::echo();
    let mut proxy = Setup::plain(&upstream.url()).start();
    let error = Client::tls_with(proxy.address(), HOST, trusting());
    assert!(error.is_err());
    refused(&mut proxy)
        .expect(Reason::TlsOnPlainPort)
        .with_detail("first bytes 16 03 01");

    let mut client = Client::plain(proxy.address());
    client.send(Hello::tls12().bytes());
    let (answer, _) = ending(&mut client);
    assert_eq!(answer, b"", "nothing that a TLS client could misread");
    assert_eq!(upstream.connections(), 0);
    let line = refused(&mut proxy);
    // The record's header and the message's type.
    let shown: Vec<_> = Hello::tls12().bytes()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    line.with_detail(&format!(
        "first bytes {} (TLS ClientHello), then 10 more",
        shown.join(" ")
    ))
}

#[test]
fn a_hello_on_a_plain_port_is_told_when_it_comes_byte_by_byte() {
    let upstream = Upstream::echo();
    let mut proxy = Setup::plain(&upstream.url()).start();
    let mut client = Client::plain(proxy.address());
    for byte in &Hello::tls12().bytes()[..16] {
        client.send([*byte]);
    }
    refused(&mut proxy)
        .expect(Reason::TlsOnPlainPort)
        .with_detail("first bytes 16 03 03 00");
}

#[test]
fn listeners_with_and_without_tls_and_of_both_address_families_stand_side_by_side() {
    let folder = Setup::plain("\"builtin:echo\"").folder();
    let yaml = "\
listeners:
  - { address: '127.0.0.1:0', tls: { certificates: [{ cert: good.pem, key: good-key.pem }] } }
  - { address: '127.0.0.1:0' }
  - { address: '[::1]:0' }
routes:
  - { path: /ws, websocket: { origins: [https://app.example.com] }, upstream: app }
upstreams:
  app: { endpoints: [builtin:echo] }
";
    std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let mut proxy = Proxy::spawn(folder, None, 3);
    let [secure, plain, ipv6] = proxy.addresses() else {
        panic!("{:?}", proxy.addresses())
    };
    let (secure, plain, ipv6) = (*secure, *plain, *ipv6);
    assert!(ipv6.is_ipv6());
    for (mut client, address) in [
        (Client::tls(secure), secure),
        (Client::plain(plain), plain),
        (Client::plain(ipv6), ipv6),
    ] {
        let response = client.send(handshake("/ws", &[])).response();
        assert_eq!(response.status, 101);
        client.finish();
        let closed = proxy.terminal();
        assert_eq!(closed.text("listener"), address.to_string());
        assert_eq!(closed.text("client"), address.ip().to_string());
    }
}
