use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use wsgate::reason::Reason;

use crate::harness::client::{socket, trusting};
use crate::harness::proxy::HOST;
use crate::harness::upstream::field;
use crate::harness::{Client, Line, Proxy, Setup, Upstream, handshake};
use crate::tls::hello::{Hello, ending};

/// The client that the headers in these tests name, and one over IPv6.
const CLIENT: &str = "192.0.2.1";
const CLIENT_V6: &str = "2001:db8::7";

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 51234 443\r\n";
const V1_V6: &[u8] = b"PROXY TCP6 2001:db8::7 2001:db8::8 51234 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xc8\x22\x01\xbb";
/// With the TLV that says that the client used TLS.
const V2_SSL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\xc0\0\x02\x01\xc0\0\x02\x02\xc8\x22\x01\xbb\x20\0\x05\x01\0\0\0\0";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
const UNSPEC: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0";

/// A listener that requires a header from these peers.
fn wanting(setup: Setup, trusted: &str) -> Setup {
    Setup {
        listener: "proxy_protocol: required".to_owned(),
        extra: format!("trusted_proxies: [{trusted}]\n"),
        ..setup
    }
}

fn both(upstream: &Upstream) -> [Proxy; 2] {
    [Setup::plain(&upstream.url()), Setup::tls(&upstream.url())]
        .map(|setup| wanting(setup, "127.0.0.1").start())
}

/// The next record, which must be about this client.
#[track_caller]
fn refused_of(proxy: &mut Proxy, client: &str) -> Line {
    let line = proxy.terminal();
    assert_eq!(line.text("event"), "refused", "{line:?}");
    assert_eq!(line.text("client"), client, "{line:?}");
    assert!(line.text("peer").starts_with("127.0.0.1:"), "{line:?}");
    line
}

/// Sends bytes that end the connection without an answer.
#[track_caller]
fn refuse(proxy: &mut Proxy, bytes: &[u8], client: &str) -> Line {
    let mut sender = Client::plain(proxy.address());
    // The proxy may end the connection before it has read everything.
    let _ = sender.write_all(bytes);
    let (answer, _) = ending(&mut sender);
    assert_eq!(answer, b"", "what speaks PROXY does not expect an answer");
    refused_of(proxy, client)
}

pub fn proxy_protocol_missing() -> Line {
    let upstream = Upstream::echo();
    let [first, second] = both(&upstream).map(|mut proxy| {
        for (bytes, detail) in [
            (&Hello::tls12().bytes()[..], "first bytes 16 03 0"),
            (
                b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                "first bytes 0d (text of an unknown protocol), then 15 more",
            ),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "(SSH-2.0-)"),
            (
                b"PROXIED",
                "first bytes 50 (text of an unknown protocol), then 6 more",
            ),
        ] {
            refuse(&mut proxy, bytes, "127.0.0.1")
                .expect(Reason::ProxyProtocolMissing)
                .with_detail(detail);
        }
        let line = refuse(&mut proxy, b"GET /?token=secret HTTP/1.1\r\n", "127.0.0.1");
        line.with_detail("first bytes 47 45 54 20 (GET), then 12 more")
    });
    assert_eq!(upstream.connections(), 0);
    first.expect(Reason::ProxyProtocolMissing);
    second
}

pub fn proxy_protocol_invalid() -> Line {
    let upstream = Upstream::echo();
    let [first, second] = both(&upstream).map(|mut proxy| {
        let wrong_sum = [
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13",
            &V2[16..],
            b"\x03\0\x04\0\0\0\0",
        ]
        .concat();
        let endless = [b"PROXY UNKNOWN ", &[b'x'; 4096][..]].concat();
        for (bytes, detail) in [
            (
                &b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"[..],
                "version 1: the protocol is an unknown value",
            ),
            (
                b"PROXY TCP4 2001:db8::7 192.0.2.2 1 2\r\n",
                "version 1: the source address is not IPv4",
            ),
            (
                &endless,
                "version 1: the line does not end within 107 bytes",
            ),
            (
                b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
                "version 2: found the version 3, expected 2",
            ),
            (
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
                "version 2: it announces 65535 bytes, more than 4096",
            ),
            (
                &wrong_sum,
                "version 2: found the checksum 00000000, expected ",
            ),
        ] {
            refuse(&mut proxy, bytes, "127.0.0.1")
                .expect(Reason::ProxyProtocolInvalid)
                .with_detail(detail);
        }
        for (part, taken) in [(&V1[..20], 20), (&V2[..3], 3), (&V2[..27], 27)] {
            let mut client = Client::plain(proxy.address());
            client.send(part).finish();
            assert_eq!(ending(&mut client).0, b"");
            refused_of(&mut proxy, "127.0.0.1")
                .expect(Reason::ProxyProtocolInvalid)
                .with_detail(&format!("the peer closed after {taken} bytes of it"));
        }
        refuse(&mut proxy, b"PROXY TCP4\r\n", "127.0.0.1")
    });
    let mut slow = wanting(Setup::tls(&upstream.url()), "127.0.0.1");
    slow.limits = "tls_handshake: 200ms".to_owned();
    let mut slow = slow.start();
    refuse(&mut slow, &V1[..V1.len() - 1], "127.0.0.1")
        .expect(Reason::ProxyProtocolInvalid)
        .with_detail("the deadline passed after 41 bytes of it");
    // The header does not extend the deadline of the handshake.
    refuse(&mut slow, V1, CLIENT).expect(Reason::TcpFirstByteTimeout);
    assert_eq!(upstream.connections(), 0);
    first.expect(Reason::ProxyProtocolInvalid);
    second
}

pub fn proxy_protocol_untrusted() -> Line {
    let upstream = Upstream::echo();
    let [first, second] =
        [Setup::plain(&upstream.url()), Setup::tls(&upstream.url())].map(|setup| {
            let mut proxy = wanting(setup, "10.0.0.0/8, 127.0.0.2").start();
            // Whether or not it sends a PROXY header.
            refuse(
                &mut proxy,
                b"GET /ws?token=secret HTTP/1.1\r\n\r\n",
                "127.0.0.1",
            )
            .expect(Reason::ProxyProtocolUntrusted)
            .with_detail("(GET), then");
            drop(Client::plain(proxy.address()));
            refused_of(&mut proxy, "127.0.0.1").expect(Reason::TcpProbe);
            refuse(&mut proxy, V1, "127.0.0.1")
                .expect(Reason::ProxyProtocolUntrusted)
                .with_detail("(PROXY TCP4), then");
            refuse(&mut proxy, V2, "127.0.0.1")
        });
    assert_eq!(upstream.connections(), 0);
    first.expect(Reason::ProxyProtocolUntrusted);
    second
}

/// Opens a tunnel after `header`, which is sent in pieces of this size; gives both records and the upstream's head.
#[track_caller]
fn open(
    proxy: &mut Proxy,
    upstream: &Upstream,
    header: &[u8],
    piece: usize,
    fields: &[(&str, &str)],
    is_tls: bool,
) -> (Line, String) {
    let mut raw = socket(proxy.address());
    for piece in header.chunks(piece) {
        raw.write_all(piece).unwrap();
    }
    let mut client = match is_tls {
        true => Client::tls_over(raw, HOST, trusting()).unwrap(),
        false => Client::Plain(raw),
    };
    let response = client.send(handshake("/ws", fields)).response();
    assert_eq!(response.status, 101, "{response:?}");
    client.finish();
    let closed = proxy.terminal().expect(Reason::ClientEofNoClose);
    assert!(closed.text("peer").starts_with("127.0.0.1:"), "{closed:?}");
    (closed, upstream.heads().pop().unwrap())
}

#[test]
fn the_client_is_the_one_that_the_header_names() {
    let upstream = Upstream::echo();
    for (mut proxy, is_tls) in both(&upstream).into_iter().zip([false, true]) {
        for (header, client) in [
            (V1, CLIENT),
            (V1_V6, CLIENT_V6),
            (V2, CLIENT),
            (V2_SSL, CLIENT),
            (LOCAL, "127.0.0.1"),
            (UNKNOWN, "127.0.0.1"),
            (UNSPEC, "127.0.0.1"),
        ] {
            for piece in [1, 7, header.len()] {
                let (closed, head) = open(&mut proxy, &upstream, header, piece, &[], is_tls);
                assert_eq!(closed.text("client"), client);
                assert_eq!(closed.notes(), [""; 0], "{closed:?}");
                assert_eq!(field(&head, "x-forwarded-for"), Some(client));
                let is_secure = is_tls || header == V2_SSL;
                let proto = if is_secure { "https" } else { "http" };
                assert_eq!(field(&head, "x-forwarded-proto"), Some(proto));
            }
        }
        // A client behind a hop that only forwards TCP may not speak for others, whether or not the header names it.
        let spoofed = [
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-WX-OPENID", "someone-else"),
        ];
        for (header, client) in [(V2, CLIENT), (UNKNOWN, "127.0.0.1"), (UNSPEC, "127.0.0.1")] {
            let piece = header.len();
            let (closed, head) = open(&mut proxy, &upstream, header, piece, &spoofed, is_tls);
            assert_eq!(closed.text("client"), client);
            assert_eq!(closed.notes(), ["spoofed_header_stripped"]);
            assert_eq!(field(&head, "x-forwarded-for"), Some(client));
            assert_eq!(field(&head, "x-wx-openid"), None);
            assert!(!format!("{closed:?}").contains("someone-else"));
        }
        // The hop itself may.
        let (closed, _) = open(&mut proxy, &upstream, LOCAL, LOCAL.len(), &spoofed, is_tls);
        assert_eq!(closed.text("client"), "6.6.6.6");
    }
}

#[test]
fn header_and_request_may_come_in_one_piece() {
    let upstream = Upstream::echo();
    let [mut plain, _] = both(&upstream);
    for header in [V1, V2] {
        let mut client = Client::plain(plain.address());
        let request = handshake("/ws", &[]);
        let response = client
            .send([header, request.as_bytes()].concat())
            .response();
        assert_eq!(response.status, 101);
        client.finish();
        assert_eq!(plain.terminal().text("client"), CLIENT);
    }
}

/// Two hops: one that speaks HTTP and, behind it, one that forwards TCP.
#[test]
fn a_trusted_hop_behind_the_header_may_name_the_client() {
    let upstream = Upstream::echo();
    let mut proxy = wanting(Setup::plain(&upstream.url()), "127.0.0.1, 192.0.2.0/24").start();
    let fields = [
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-Proto", "https"),
    ];
    let (closed, head) = open(&mut proxy, &upstream, V2, V2.len(), &fields, false);
    assert_eq!(closed.text("client"), "203.0.113.7");
    assert_eq!(
        field(&head, "x-forwarded-for"),
        Some("203.0.113.7, 192.0.2.1")
    );
    assert_eq!(field(&head, "x-forwarded-proto"), Some("https"));
}

#[test]
fn what_fails_behind_the_header_has_the_client_too() {
    let upstream = Upstream::echo();
    let mut proxies = both(&upstream);
    for (which, behind, reason) in [
        (1, &b"SSH-2.0-OpenSSH"[..], Reason::TlsNotTls),
        (1, b"", Reason::TcpProbe),
        (1, b"\x16\x03\x01", Reason::TlsClientClosed),
        (0, &Hello::tls12().bytes(), Reason::TlsOnPlainPort),
        (0, b"GET /ws HTTP/1.1\r\nHo", Reason::HttpHeadIncomplete),
        (0, b"", Reason::TcpProbe),
    ] {
        let mut client = Client::plain(proxies[which].address());
        client.send([V2, behind].concat()).finish();
        ending(&mut client);
        refused_of(&mut proxies[which], CLIENT).expect(reason);
    }
    for proxy in &mut proxies {
        let line = refuse(proxy, &[V1, V2, b"\x16\x03\x01"].concat(), CLIENT)
            .expect(Reason::ProxyProtocolUnexpected)
            .with_detail("a second header: first bytes 0d 0a 0d 0a");
        assert!(line.text("hint").contains("two hops"), "{line:?}");
    }
    assert_eq!(upstream.connections(), 0);
}

/// A hop that checks the proxy says so, and may end the connection in any way.
#[test]
fn health_checks_with_a_header_are_probes() {
    let upstream = Upstream::echo();
    for mut proxy in both(&upstream) {
        for is_reset in [false, true] {
            let mut client = Client::plain(proxy.address());
            client.send(LOCAL);
            match is_reset {
                true => client.reset(),
                false => client.finish(),
            }
            // A reset can overtake earlier bytes.
            let line = refused_of(&mut proxy, "127.0.0.1");
            match line.text("reason") {
                "tcp_reset_before_request" if is_reset => {}
                _ => drop(line.expect(Reason::TcpProbe)),
            }
        }
    }
    assert_eq!(upstream.connections(), 0);
}

/// The setting for shortened addresses also applies to addresses from headers.
#[test]
fn addresses_of_headers_are_shortened_like_others() {
    let upstream = Upstream::echo();
    let mut setup = wanting(Setup::plain(&upstream.url()), "127.0.0.1");
    setup.log = "level: debug, client_address: truncated".to_owned();
    let mut proxy = setup.start();
    let address: SocketAddr = proxy.address();
    let mut client = Client::plain(address);
    client.send(V2).finish();
    ending(&mut client);
    assert_eq!(proxy.terminal().text("client"), "192.0.2.0");
    let mut client = Client::plain(address);
    client.send(b"PROXY TCP4 192.0.2.77 192.0.2.2 1\r\n");
    ending(&mut client);
    let line = proxy.terminal().expect(Reason::ProxyProtocolInvalid);
    assert!(!format!("{line:?}").contains("192.0.2.77"), "{line:?}");
}

/// The same check as `http::budget` for heads.
#[test]
fn no_header_costs_more_than_its_bytes() {
    /// A header of about `size` bytes.
    fn header(extension: &[u8], size: usize) -> Vec<u8> {
        let extensions = extension.repeat(size / extension.len());
        let length = u16::try_from(12 + extensions.len()).unwrap();
        let fixed = [&V2[..14], &length.to_be_bytes(), &V2[16..28]].concat();
        [fixed, extensions].concat()
    }
    let upstream = Upstream::echo();
    let proxy = wanting(Setup::plain(&upstream.url()), "127.0.0.1").start();
    let least = |header: &[u8], piece: usize, enough| {
        proxy.least_time(enough, || {
            let mut client = Client::plain(proxy.address());
            for piece in header.chunks(piece) {
                client.send(piece);
            }
            client.send("GET /no HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(client.response().status, 404);
            client.finish();
            client.rest();
        })
    };
    const FULL: usize = 4080;
    let long = [&[4, 15, 237][..], &[0; FULL - 3]].concat();
    let whole = least(&header(&long, FULL), FULL, Duration::ZERO);
    let shortest = header(&[4, 0, 0], FULL);
    let enough = whole * 10;
    let cost = least(&shortest, FULL, enough);
    assert!(
        cost <= enough,
        "{cost:?}, where one extension takes {whole:?}"
    );
    // In many pieces, it is not parsed from the beginning for each piece.
    let part = least(&header(&[4, 0, 0], FULL / 16), 8, Duration::ZERO);
    let enough = part * 16 * 3;
    let cost = least(&shortest, 8, enough);
    assert!(cost <= enough, "{cost:?}, where a sixteenth takes {part:?}");
}
