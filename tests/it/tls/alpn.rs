//! Which protocol a client gets by ALPN (RFC 7301), and who is refused.

use std::net::SocketAddr;

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, Error, HandshakeKind};
use wsgate::reason::Reason;

use super::clients::{connection, only, tls_error};
use super::hello::{Hello, only_alert};
use super::{NO_APPLICATION_PROTOCOL, Scene};
use crate::harness::client::trusting;
use crate::harness::proxy::HOST;
use crate::harness::{Client, Line, Setup, Upstream, handshake};

/// A scene whose listener has this `alpn`.
fn scene(alpn: &str) -> Scene {
    let key = format!("\nalpn: {alpn}");
    Scene::new(|setup| setup.tls.as_mut().unwrap().push_str(&key))
}

/// `config` with these protocols in its hello.
fn offering(mut config: ClientConfig, protocols: &[&str]) -> ClientConfig {
    let names = protocols.iter().map(|name| name.as_bytes().to_vec());
    config.alpn_protocols = names.collect();
    config
}

/// The protocol that such a client gets, and its connection; empty without ALPN.
#[track_caller]
fn agreed(address: SocketAddr, config: ClientConfig) -> (String, Client) {
    let client = Client::tls_with(address, HOST, config).unwrap();
    let name = connection(&client).alpn_protocol().unwrap_or_default();
    (String::from_utf8(name.to_vec()).unwrap(), client)
}

/// The record of a client that the listener has no protocol for. Both versions of TLS refuse it with the same alert.
#[track_caller]
fn refused(scene: &mut Scene, protocols: &[&str]) -> Line {
    let [_, line] = [&TLS12, &TLS13].map(|version| {
        let config = offering(only(version), protocols);
        let error = Client::tls_with(scene.address(), HOST, config).err();
        assert_eq!(
            tls_error(error),
            Error::AlertReceived(AlertDescription::NoApplicationProtocol)
        );
        scene.refused_host().expect(Reason::TlsAlpnNoOverlap)
    });
    line
}

pub fn tls_alpn_no_overlap() -> Line {
    let mut scene = Scene::new(|_| {});
    let hello = Hello {
        alpn: Some(vec!["http/0.9".to_owned(), "\u{1b}[31m".to_owned()]),
        ..Hello::tls12()
    };
    assert_eq!(
        only_alert(&scene.answer(hello.bytes())),
        NO_APPLICATION_PROTOCOL
    );
    scene
        .refused_host()
        .expect(Reason::TlsAlpnNoOverlap)
        .with_detail("offered: http/0.9 and")
        .with_detail("; supported by this listener: http/1.1, http/1.0");
    refused(&mut scene, &["h2"])
        .with_detail("offered: h2; supported by this listener: http/1.1, http/1.0")
}

/// Each of these clients gets this protocol.
#[track_caller]
fn assert_agreed(alpn: &str, cases: &[(&[&str], &str)]) {
    let mut scene = match alpn {
        "" => Scene::new(|_| {}),
        alpn => scene(alpn),
    };
    for (protocols, expected) in cases {
        for version in [&TLS12, &TLS13] {
            let config = offering(only(version), protocols);
            let (found, client) = agreed(scene.address(), config);
            assert_eq!(found, *expected, "{alpn} {protocols:?}");
            drop(client);
            assert_eq!(
                scene.refused_host().text("alpn"),
                *expected,
                "{protocols:?}"
            );
        }
    }
}

#[test]
fn by_default_every_client_gets_http11() {
    let cases: &[(&[&str], &str)] = &[
        (&["h2", "http/1.1"], "http/1.1"),
        (&["http/1.1"], "http/1.1"),
        (&["http/1.0", "http/1.1"], "http/1.1"),
        (&["http/1.0"], "http/1.0"),
        (&[], ""),
    ];
    assert_agreed("", cases);
    assert_agreed("[http/1.1]", cases);
}

/// The order of the listener counts, not that of the client.
#[test]
fn a_listener_with_both_protocols_gives_each_client_one_that_it_speaks() {
    assert_agreed(
        "[h2, http/1.1]",
        &[
            (&["h2", "http/1.1"], "h2"),
            (&["http/1.1", "h2"], "h2"),
            (&["http/1.0", "h2"], "h2"),
            (&["http/1.1"], "http/1.1"),
            (&["http/1.0"], "http/1.0"),
            (&["h2"], "h2"),
            (&["h3", "h2"], "h2"),
            (&[], ""),
        ],
    );
    assert_agreed(
        "[http/1.1, h2]",
        &[
            (&["h2", "http/1.1"], "http/1.1"),
            (&["http/1.0", "h2"], "h2"),
            (&["h2"], "h2"),
            (&[], ""),
        ],
    );
}

#[test]
fn a_listener_with_both_protocols_still_refuses_what_it_does_not_speak() {
    let mut scene = scene("[h2, http/1.1]");
    refused(&mut scene, &["h3"])
        .with_detail("offered: h3; supported by this listener: h2, http/1.1, http/1.0");
}

#[test]
fn a_listener_with_h2_alone_refuses_all_other_clients() {
    assert_agreed("[h2]", &[(&["h2", "http/1.1"], "h2"), (&["h2"], "h2")]);
    let mut scene = scene("[h2]");
    refused(&mut scene, &["http/1.1"])
        .with_detail("offered: http/1.1; supported by this listener: h2");
    refused(&mut scene, &["http/1.0"]);
    refused(&mut scene, &[]).with_detail(
        "the client sent no ALPN, so it speaks HTTP/1.1; supported by this listener: h2",
    );
}

/// A reload changes what new connections get. It does not end a kept one, and no session is resumed across it.
#[test]
fn a_reload_that_changes_alpn_applies_to_new_connections() {
    let upstream = Upstream::echo();
    let setup = |alpn: &str| {
        let mut setup = Setup::tls(&upstream.url());
        setup.tls.as_mut().unwrap().push_str(alpn);
        setup.routes = "  - path: /well\n    respond: { body: well }\n".to_owned();
        setup
    };
    let proxy = setup("").start();
    let offer = ["h2", "http/1.1"];
    let config = offering(trusting(), &offer);
    let (before, mut kept) = agreed(proxy.address(), config.clone());
    assert_eq!(before, "http/1.1");
    let request = format!("GET /well HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    assert_eq!(kept.send(&request).response().status, 200);
    let (_, resumed) = agreed(proxy.address(), config.clone());
    let kind = |client: &Client| connection(client).handshake_kind();
    assert_eq!(kind(&resumed), Some(HandshakeKind::Resumed));

    proxy.reload(&setup("\nalpn: [h2]"));
    let (after, client) = agreed(proxy.address(), config.clone());
    assert_eq!(after, "h2");
    assert_eq!(kind(&client), Some(HandshakeKind::Full));
    let error = Client::tls_with(proxy.address(), HOST, offering(trusting(), &[])).err();
    assert_eq!(
        tls_error(error),
        Error::AlertReceived(AlertDescription::NoApplicationProtocol)
    );
    assert_eq!(kept.send(&request).response().status, 200);

    proxy.reload(&setup(""));
    let (again, mut client) = agreed(proxy.address(), config);
    assert_eq!(again, "http/1.1");
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
}
