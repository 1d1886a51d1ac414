//! Clients that are slow, broken or malicious.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use wsgate::reason::Reason;

use super::Scene;
use super::hello::{
    self, CHANGE_CIPHER_SPEC, ECDHE_ECDSA_AES_128_GCM, ECDSA_P256_SHA256, HANDSHAKE, Hello, X25519,
    ending, message, only_alert, record,
};
use crate::harness::client::{socket, trusting};
use crate::harness::proxy::{HOST, is_terminal};
use crate::harness::{Client, Setup, eventually};

/// The first flight of a current client.
fn todays_hello() -> Vec<u8> {
    let name = HOST.try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(trusting()), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn a_handshake_succeeds_when_it_comes_byte_by_byte() {
    let mut scene = Scene::new(|_| {});
    let name = HOST.try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(trusting()), name).unwrap();
    let mut socket = socket(scene.address());
    while connection.is_handshaking() {
        let mut flight = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut flight).unwrap();
        }
        for byte in flight {
            socket.write_all(&[byte]).unwrap();
        }
        if connection.is_handshaking() {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            connection.read_tls(&mut &byte[..]).unwrap();
            connection.process_new_packets().unwrap();
        }
    }
    // The last flight, with the client's Finished.
    while connection.wants_write() {
        connection.write_tls(&mut socket).unwrap();
    }
    drop(socket);
    let line = scene.refused_host().expect(Reason::TlsClosedUnused);
    assert_eq!(line.text("tls_version"), "1.3");
}

/// The deadline applies to the whole handshake: single bytes do not extend it.
#[test]
fn a_hello_that_trickles_ends_at_the_deadline() {
    let mut scene = Scene::new(|setup| setup.limits = "tls_handshake: 300ms".to_owned());
    let hello = Hello {
        padding: 60_000,
        ..Hello::tls12()
    };
    let mut client = Client::plain(scene.address());
    let mut bytes = hello.bytes().into_iter();
    eventually("the proxy to have enough", || {
        // The proxy may have ended the connection in the meantime.
        let _ = client.write_all(&[bytes.next().unwrap()]);
        let lines = scene.proxy.lines();
        lines.iter().any(is_terminal).then_some(())
    });
    scene
        .refused()
        .expect(Reason::TlsHandshakeTimeout)
        .with_detail("no complete ClientHello");
}

#[test]
fn clients_that_stall_do_not_delay_others() {
    let mut scene = Scene::new(|setup| setup.limits = "tls_handshake: 60s".to_owned());
    let hello = Hello::tls12().bytes();
    let stalled: Vec<_> = (0..20)
        .map(|number| {
            let mut client = Client::plain(scene.address());
            // Nothing at all, the first bytes, half a hello, and a hello that waits for its answer.
            let part = [0, 3, hello.len() / 2, hello.len()][number % 4];
            client.send(&hello[..part]);
            client
        })
        .collect();
    // If it had to wait for one of them, it would wait longer than the reads in this test.
    drop(Client::tls(scene.address()));
    scene.refused_host().expect(Reason::TlsClosedUnused);
    assert!(
        !scene
            .proxy
            .lines()
            .iter()
            .filter(|line| is_terminal(line))
            .any(|line| { line.text("reason") != Reason::TlsClosedUnused.code() })
    );
    drop(stalled);
}

#[test]
fn a_hello_as_large_as_may_be_is_read_and_a_larger_one_is_not() {
    let mut scene = Scene::new(|setup| setup.limits = "tls_handshake: 300ms".to_owned());
    // In records of the largest size and in very small ones; each record has a cost.
    for size in [16 * 1024, 100] {
        let large = Hello {
            padding: 60_000,
            ..Hello::tls12()
        };
        let mut client = Client::plain(scene.address());
        client.send(large.in_records(size));
        assert_eq!(client.receive(1), [HANDSHAKE]);
        client.finish();
        scene.refused_host().expect(Reason::TlsClientClosed);
    }
    // A message that announces 16 MiB is refused before they arrive; one that announces 64 KiB has to send them.
    let mut endless = message(1, &[]);
    endless[1..4].copy_from_slice(&[0xff, 0xff, 0xff]);
    assert_eq!(only_alert(&scene.answer(record(HANDSHAKE, &endless))), 50);
    scene.refused().expect(Reason::TlsProtocolError);
    endless[1..4].copy_from_slice(&[0, 0xff, 0xff]);
    assert_eq!(scene.answer(record(HANDSHAKE, &endless)), b"");
    scene.refused().expect(Reason::TlsHandshakeTimeout);
}

/// A hello with additional extensions of these kinds and contents.
fn extended(hello: &Hello, more: impl IntoIterator<Item = (u16, Vec<u8>)>) -> Vec<u8> {
    let mut message = hello.message();
    // Type and length, version, random, session, suites, compression.
    let at = 4 + 2 + 32 + 1 + 2 + 2 * hello.suites.len() + 2;
    for (kind, content) in more {
        let length = u16::try_from(content.len()).unwrap();
        message.extend([kind.to_be_bytes(), length.to_be_bytes()].concat());
        message.extend(content);
    }
    let extensions = u16::try_from(message.len() - at - 2).unwrap();
    message[at..at + 2].copy_from_slice(&extensions.to_be_bytes());
    let length = u32::try_from(message.len() - 4).unwrap();
    message[1..4].copy_from_slice(&length.to_be_bytes()[1..]);
    message
}

/// The same check as `http::budget` for heads.
#[test]
fn no_list_of_a_hello_costs_more_than_its_bytes() {
    /// A list of unknown numbers, followed by a known one.
    fn numbers(size: usize, last: u16) -> Vec<u16> {
        let unknown = (0x2000..0x9000).cycle().take(size / 2);
        unknown.chain([last]).collect()
    }
    type Sized = fn(usize) -> Vec<u8>;
    const FULL: usize = 60_000;
    let scene = Scene::new(|_| {});
    let least = |message: Sized, size, record_size, enough: Duration| {
        let bytes: Vec<u8> = message(size)
            .chunks(record_size)
            .flat_map(|piece| record(HANDSHAKE, piece))
            .collect();
        scene.proxy.least_time(enough, || {
            let mut client = Client::plain(scene.address());
            client.send(&bytes).finish();
            // What is too large for the library in records of one byte is refused before it is complete.
            let answer = client.rest();
            assert!(record_size == 1 || !answer.is_empty());
        })
    };
    let padding: Sized = |size| {
        let hello = Hello {
            padding: size,
            ..Hello::tls12()
        };
        hello.message()
    };
    let cases: [(&str, Sized); 8] = [
        ("one extension", padding),
        ("suites", |size| {
            let suites = numbers(size, ECDHE_ECDSA_AES_128_GCM);
            Hello {
                suites,
                ..Hello::tls12()
            }
            .message()
        }),
        ("groups", |size| {
            let groups = Some(numbers(size, X25519));
            Hello {
                groups,
                ..Hello::tls12()
            }
            .message()
        }),
        ("schemes", |size| {
            let schemes = Some(numbers(size, ECDSA_P256_SHA256));
            Hello {
                schemes,
                ..Hello::tls12()
            }
            .message()
        }),
        ("protocols", |size| {
            let mut protocols = vec!["a".to_owned(); size / 2];
            protocols.push("http/1.1".to_owned());
            let alpn = Some(protocols);
            Hello {
                alpn,
                ..Hello::tls12()
            }
            .message()
        }),
        ("a server name", |size| {
            let sni = Some("a.".repeat(size / 2) + "a");
            Hello {
                sni,
                ..Hello::tls12()
            }
            .message()
        }),
        ("extensions", |size| {
            let kinds = (0x2000..0x9000).take(size / 4);
            extended(&Hello::tls12(), kinds.map(|kind| (kind, Vec::new())))
        }),
        ("key shares", |size| {
            let shares = (0x2000_u16..0x9000).take(size / 5);
            let shares = shares.flat_map(|group| [&group.to_be_bytes()[..], &[0, 1, 7]].concat());
            let shares: Vec<u8> = shares.collect();
            let length = u16::try_from(shares.len()).unwrap();
            let hello = Hello {
                key_share: None,
                ..Hello::tls13()
            };
            let content = [&length.to_be_bytes()[..], &shares].concat();
            extended(&hello, [(51, content)])
        }),
    ];
    for record_size in [16 * 1024, 100, 1] {
        let whole = least(padding, FULL, record_size, Duration::ZERO);
        for (what, message) in cases {
            let enough = whole * 40;
            let cost = least(message, FULL, record_size, enough);
            assert!(
                cost <= enough,
                "{what} in records of {record_size}: {cost:?}, where one extension takes {whole:?}"
            );
            let part = least(message, FULL / 16, record_size, Duration::ZERO);
            let bound = part * 16 * 3;
            let cost = match cost <= bound {
                true => cost,
                false => least(message, FULL, record_size, bound),
            };
            assert!(
                cost <= bound,
                "{what} in records of {record_size}: {cost:?}, where a sixteenth takes {part:?}"
            );
        }
    }
}

#[test]
fn messages_without_end_are_cut_off() {
    let mut scene = Scene::new(|setup| setup.limits = "tls_handshake: 2s".to_owned());
    let before = Vec::new();
    let hello = Hello::tls12().bytes();
    let retried = Hello::tls13().bytes();
    for (what, begin, again) in [
        ("empty records", &before, record(HANDSHAKE, &[])),
        ("a hello again and again", &hello, hello.clone()),
        (
            "change_cipher_spec after the hello",
            &retried,
            record(CHANGE_CIPHER_SPEC, &[1]),
        ),
        (
            "warnings after the hello",
            &hello,
            record(hello::ALERT, &[1, 90]),
        ),
    ] {
        let mut client = Client::plain(scene.address());
        client.send(begin);
        // It is refused long before it has sent all this.
        let sent = (0..100_000).take_while(|_| client.write_all(&again).is_ok());
        let sent = sent.count();
        assert!(sent < 100_000, "{what}: {sent} were taken");
        let line = scene.refused();
        let reason = line.text("reason");
        assert_eq!(reason, Reason::TlsProtocolError.code(), "{what}: {line:?}");
    }
}

/// Pseudo-random numbers that are the same in each run (Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// A hello, usually with something wrong.
fn mutated(hello: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = hello.to_vec();
    for _ in 0..=numbers.below(4) {
        // Most of what matters is at the beginning, in the headers and lists.
        let near = [16, 100, bytes.len()][numbers.below(3)].min(bytes.len());
        let at = numbers.below(near.max(1));
        match numbers.below(6) {
            _ if bytes.is_empty() => {}
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = [0, 0x7f, 0xff][numbers.below(3)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, u8::try_from(numbers.below(256)).unwrap()),
            4 => {
                bytes.remove(at);
            }
            _ => {
                let piece = bytes[at..(at + 20).min(bytes.len())].to_vec();
                let to = numbers.below(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

#[test]
fn any_hello_ends_in_one_record_and_never_in_a_panic() {
    const CONNECTIONS: u64 = 2000;
    let proxy = Setup::tls("builtin:echo").start();
    let hellos = [
        todays_hello(),
        Hello::tls12().bytes(),
        Hello::tls13().bytes(),
        Hello {
            alpn: Some(vec!["h2".to_owned(), "http/1.1".to_owned()]),
            padding: 300,
            key_share: Some(vec![9; 32]),
            ..Hello::tls13()
        }
        .in_records(50),
    ];
    let mut numbers = Numbers(20_261_122);
    for number in 0..CONNECTIONS {
        let hello = &hellos[usize::try_from(number).unwrap() % hellos.len()];
        let mut client = socket(proxy.address());
        // The proxy may have ended the connection before either of these.
        let _ = client.write_all(&mutated(hello, &mut numbers));
        let _ = client.shutdown(Shutdown::Write);
        ending(&mut Client::Plain(client));
    }
    let lines = proxy.stop();
    let terminals: Vec<_> = lines.iter().filter(|line| is_terminal(line)).collect();
    let conns: HashSet<_> = terminals.iter().map(|line| line.text("conn")).collect();
    assert_eq!(conns.len(), terminals.len(), "a connection has two records");
    let counts = lines.last().unwrap().0["counts"].as_object().unwrap();
    let count = |name: &str| counts.get(name).map_or(0, |count| count.as_u64().unwrap());
    // In a flood, some are only counted.
    let written = u64::try_from(terminals.len()).unwrap();
    assert_eq!(written + count("records_suppressed"), CONNECTIONS);
    let total: u64 = Reason::ALL.iter().map(|reason| count(reason.code())).sum();
    assert_eq!(total, CONNECTIONS, "{counts:?}");
    assert_eq!(count("records_dropped"), 0);
    assert_eq!(count(Reason::InternalAborted.code()), 0, "{counts:?}");
    // The mutations reach far enough.
    for reason in [
        Reason::TlsProtocolError,
        Reason::TlsClientClosed,
        Reason::TlsNotTls,
    ] {
        assert!(count(reason.code()) > 50, "{counts:?}");
    }
}
