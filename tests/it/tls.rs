//! The TLS stage: every way a handshake can fail.

mod alerts;
mod alpn;
mod certificates;
pub mod client_auth;
mod clients;
mod development;
pub mod hello;
mod hostile;

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::kx_group;
use rustls::{AlertDescription, CertificateError, Error, SignatureScheme};
use wsgate::reason::Reason;

pub use alpn::tls_alpn_no_overlap;
use clients::{Taste, tls_error};
use hello::{Hello, alert, ending, message, only_alert, record};

use crate::harness::certs::{Authority, Kind};
use crate::harness::client::trusting;
use crate::harness::proxy::HOST;
use crate::harness::{Client, Line, Proxy, Setup, Upstream};

const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;
const UNRECOGNIZED_NAME: u8 = 112;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// A proxy with TLS, and an upstream that no client of these tests may reach.
struct Scene {
    upstream: Upstream,
    proxy: Proxy,
}

impl Scene {
    fn new(change: impl FnOnce(&mut Setup)) -> Self {
        Self::with(Kind::Good, change)
    }

    /// The same with a certificate of this kind.
    fn with(kind: Kind, change: impl FnOnce(&mut Setup)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Authority::shared().write(folder.path(), "good", &[HOST, "localhost"], kind);
        let upstream = Upstream::echo();
        let mut setup = Setup::tls(&upstream.url());
        change(&mut setup);
        Self {
            proxy: setup.start_in(folder),
            upstream,
        }
    }

    fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// The next record: a refusal that did not reach the upstream.
    #[track_caller]
    fn refused(&mut self) -> Line {
        let line = self.proxy.terminal();
        assert_eq!(line.text("event"), "refused", "{line:?}");
        assert!(line.text("peer").starts_with("127.0.0.1:"), "{line:?}");
        assert_eq!(line.text("path"), "", "{line:?}");
        assert_eq!(self.upstream.connections(), 0);
        line
    }

    /// The next record, of a client that asked for [`HOST`].
    #[track_caller]
    fn refused_host(&mut self) -> Line {
        let line = self.refused();
        assert_eq!(line.text("sni"), HOST, "{line:?}");
        assert!(line.number("tls_ms").is_some(), "{line:?}");
        line
    }

    /// What a client receives until the end after it has sent `bytes`.
    fn answer(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut client = Client::plain(self.address());
        client.send(bytes);
        ending(&mut client).0
    }
}

/// A client without TLS, such as a browser with `ws://` for this port, gets the reason in plain text.
pub fn tls_plain_http_on_tls_port() -> Line {
    let mut scene = Scene::new(|_| {});
    let mut client = Client::plain(scene.address());
    let request = crate::harness::handshake("/ws", &[]);
    let response = client.send(&request).response();
    assert_eq!(response.status, 400);
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(ending(&mut client), (Vec::new(), false));
    let line = scene.refused();
    let (text, conn) = (response.text(), line.text("conn"));
    assert!(text.contains("tls_plain_http_on_tls_port"), "{text}");
    assert!(
        text.contains("\nuse wss:// or https:// toward this port\n"),
        "{text}"
    );
    assert!(text.contains(&format!("request id: {conn}")), "{text}");
    assert_eq!(response.field("x-request-id"), Some(conn));
    let status = response.field("proxy-status").unwrap();
    assert!(status.contains("tls_plain_http_on_tls_port"), "{status}");

    // HTTP/2 with prior knowledge is HTTP too, and so is an unknown method.
    for begin in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PROPFIND / HTTP/1.1\r\n",
    ] {
        let response = Client::plain(scene.address()).send(begin).response();
        assert_eq!(response.status, 400);
        scene
            .refused()
            .expect(Reason::TlsPlainHttpOnTlsPort)
            .with_detail("first bytes 50 52");
    }
    line.with_detail("first bytes 47 45 54 20 (GET), then 12 more")
}

pub fn tls_not_tls() -> Line {
    let mut scene = Scene::new(|_| {});
    let greetings: [&[u8]; 4] = [
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        // A hello of SSL 2.0, and an alert without a handshake before it.
        b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10\x01\0\x80",
        b"\x15\x03\x03\0\x02\x02\x28",
        b"GE",
    ];
    for greeting in greetings {
        let mut client = Client::plain(scene.address());
        client.send(greeting);
        client.finish();
        assert_eq!(ending(&mut client).0, b"");
        scene.refused().expect(Reason::TlsNotTls);
    }
    assert_eq!(scene.answer("SSH-2.0-OpenSSH_9.2p1\r\n"), b"");
    scene
        .refused()
        .with_detail("first bytes 53 53 48 2d 32 2e 30 2d (SSH-2.0-), then 8 more")
}

/// Silence within the hello, and after it; only in the second case is the name known.
pub fn tls_handshake_timeout() -> Line {
    let mut scene = Scene::new(|setup| setup.limits = "tls_handshake: 300ms".to_owned());
    let hello = Hello::tls12().bytes();
    for part in [1, 5, 40, hello.len() - 1] {
        assert_eq!(scene.answer(&hello[..part]), b"");
        let line = scene
            .refused()
            .expect(Reason::TlsHandshakeTimeout)
            .with_detail(&format!(
                "no complete ClientHello arrived: {part} bytes came in "
            ))
            .with_detail("ms, and the limit is 300ms");
        assert_eq!(line.text("sni"), "");
    }
    let flight = scene.answer(hello);
    assert_eq!(flight.first(), Some(&hello::HANDSHAKE));
    let line = scene
        .refused_host()
        .with_detail(&format!(
            "the ClientHello arrived, but the rest of the handshake did not: {} bytes came in ",
            Hello::tls12().bytes().len()
        ))
        .with_detail("and the limit is 300ms");
    assert!(line.number("tls_ms").unwrap() >= 300, "{line:?}");
    line
}

/// Closed and reset in the middle, before and after the certificate was sent.
pub fn tls_client_closed() -> Line {
    let mut scene = Scene::new(|_| {});
    let hello = Hello::tls12().bytes();
    for part in [1, 20, hello.len() - 1] {
        let mut client = Client::plain(scene.address());
        client.send(&hello[..part]).finish();
        assert_eq!(ending(&mut client).0, b"");
        scene
            .refused()
            .expect(Reason::TlsClientClosed)
            .with_detail("before a complete ClientHello");
    }
    // The whole flight of TLS 1.2 in one record or several; its first byte means that it was written.
    let answered = |scene: &Scene, hello: &Hello| {
        let mut client = Client::plain(scene.address());
        client.send(hello.bytes()).receive(1);
        client
    };
    answered(&scene, &Hello::tls12()).reset();
    scene
        .refused_host()
        .expect(Reason::TlsClientClosed)
        .with_detail("reset by peer");
    // A client without a key share is asked for one, and closes before it sees the certificate.
    answered(&scene, &Hello::tls13()).finish();
    scene.refused_host().expect(Reason::TlsClientClosed);
    // A clean end within the handshake counts as closing, whatever TLS calls it.
    let mut client = answered(&scene, &Hello::tls13());
    client.send(record(hello::ALERT, &[1, 0]));
    scene
        .refused_host()
        .expect(Reason::TlsClientClosed)
        .with_detail("close_notify");
    drop(client);
    answered(&scene, &Hello::tls12()).finish();
    scene
        .refused_host()
        .with_detail("after the answer to the ClientHello")
}

pub fn tls_version_unsupported() -> Line {
    let mut scene = Scene::new(|_| {});
    // From SSL 3.0 to TLS 1.1, as old clients sent them, and as a current client with a limited version does.
    for version in [0x0300, 0x0301, 0x0302] {
        let held_back = Hello {
            legacy_version: version,
            ..Hello::tls12()
        };
        for (old, sni) in [(Hello::old(version), ""), (held_back, HOST)] {
            assert_eq!(only_alert(&scene.answer(old.bytes())), PROTOCOL_VERSION);
            let line = scene
                .refused()
                .expect(Reason::TlsVersionUnsupported)
                .with_detail(
                    "the client offers at most TLS 1.1; the proxy sent alert 70 (protocol_version)",
                );
            assert_eq!(line.text("sni"), sni);
        }
    }
    // The extension overrides the version field, and lists no version that the library supports.
    let only_future = Hello {
        versions: Some(vec![0x0305]),
        ..Hello::tls13()
    };
    assert_eq!(
        only_alert(&scene.answer(only_future.bytes())),
        PROTOCOL_VERSION
    );
    scene
        .refused_host()
        .expect(Reason::TlsVersionUnsupported)
        .with_detail("neither TLS 1.2 nor TLS 1.3");

    let mut scene = Scene::new(|setup| {
        let tls = setup.tls.as_mut().unwrap();
        tls.push_str("\nmin_version: \"1.2\"");
    });
    let client = clients::only(&rustls::version::TLS12);
    assert!(Client::tls_with(scene.address(), HOST, client.clone()).is_ok());
    scene.refused_host().expect(Reason::TlsClosedUnused);

    let mut scene = Scene::new(|setup| {
        let tls = setup.tls.as_mut().unwrap();
        tls.push_str("\nmin_version: \"1.3\"");
    });
    let newer = clients::only(&rustls::version::TLS13);
    assert!(Client::tls_with(scene.address(), HOST, newer).is_ok());
    scene.refused_host().expect(Reason::TlsClosedUnused);
    let error = Client::tls_with(scene.address(), HOST, client).err();
    assert_eq!(
        tls_error(error),
        Error::AlertReceived(AlertDescription::ProtocolVersion)
    );
    scene
        .refused_host()
        .expect(Reason::TlsVersionUnsupported)
        .with_detail("the client does not list TLS 1.3");
    // The same from a client without the extension.
    assert_eq!(
        only_alert(&scene.answer(Hello::tls12().bytes())),
        PROTOCOL_VERSION
    );
    scene
        .refused_host()
        .with_detail("the client offers at most TLS 1.2")
}

#[test]
fn an_old_version_is_told_when_the_hello_comes_in_pieces() {
    let mut scene = Scene::new(|_| {});
    for hello in [
        Hello::old(0x0302),
        Hello {
            legacy_version: 0x0302,
            ..Hello::tls12()
        },
    ] {
        let mut client = Client::plain(scene.address());
        for byte in hello.bytes() {
            client.send([byte]);
        }
        only_alert(&ending(&mut client).0);
        scene.refused().expect(Reason::TlsVersionUnsupported);
    }
    // In records of four bytes the version field is not at its usual place.
    let hello = Hello {
        legacy_version: 0x0302,
        ..Hello::tls12()
    };
    let answer = scene.answer(hello.in_records(4));
    assert_eq!(only_alert(&answer), PROTOCOL_VERSION);
    scene.refused_host().expect(Reason::TlsVersionUnsupported);
}

pub fn tls_no_common_cipher() -> Line {
    let mut scene = Scene::new(|_| {});
    // TLS 1.3 is negotiated, with a suite that few clients have.
    let hello = Hello {
        suites: vec![hello::AES_128_CCM_1_3, hello::ECDHE_ECDSA_AES_128_GCM],
        ..Hello::tls13()
    };
    assert_eq!(only_alert(&scene.answer(hello.bytes())), HANDSHAKE_FAILURE);
    scene.refused_host().expect(Reason::TlsNoCommonCipher);

    // A list of thousands of suites is not shown.
    let hello = Hello {
        suites: (0x7000..0x7800).collect(),
        ..Hello::tls12()
    };
    scene.answer(hello.bytes());
    let line = scene
        .refused_host()
        .expect(Reason::TlsNoCommonCipher)
        .with_detail("and 2024 more");
    assert!(line.text("detail").len() < 1000, "{line:?}");

    let hello = Hello {
        suites: vec![
            hello::ECDHE_RSA_AES_128_CBC,
            hello::RSA_AES_128_CBC,
            // Sent by clients that fall back; it is not a suite.
            0x5600,
        ],
        ..Hello::tls12()
    };
    only_alert(&scene.answer(hello.bytes()));
    scene
        .refused_host()
        .expect(Reason::TlsNoCommonCipher)
        .with_detail("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_128_CBC_SHA");

    // Good suites for a certificate of the other kind: TLS 1.2 ties suites to key types (RFC 5246 section 7.4.2).
    let mut last = None;
    for (kind, suite, key) in [
        (Kind::Good, hello::ECDHE_RSA_AES_128_GCM, "ECDSA"),
        (Kind::Rsa, hello::ECDHE_ECDSA_AES_128_GCM, "RSA"),
    ] {
        let mut scene = Scene::with(kind, |_| {});
        let hello = Hello {
            suites: vec![suite],
            ..Hello::tls12()
        };
        assert_eq!(only_alert(&scene.answer(hello.bytes())), HANDSHAKE_FAILURE);
        let line = scene
            .refused_host()
            .expect(Reason::TlsNoCommonCipher)
            .with_detail(&format!("a certificate key of {key}"))
            .with_detail("the proxy sent alert 40 (handshake_failure)");
        assert!(line.text("hint").contains("of the other kind"), "{line:?}");
        last = Some(line);
    }
    last.unwrap()
}

pub fn tls_no_common_group() -> Line {
    let mut scene = Scene::new(|_| {});
    for hello in [Hello::tls12(), Hello::tls13()] {
        let hello = Hello {
            groups: Some(vec![hello::X448, hello::FFDHE2048]),
            ..hello
        };
        assert_eq!(only_alert(&scene.answer(hello.bytes())), HANDSHAKE_FAILURE);
        scene
            .refused_host()
            .expect(Reason::TlsNoCommonGroup)
            .with_detail("X448");
    }
    // A group that the library has, but this proxy does not offer.
    let client = clients::with_groups(vec![kx_group::SECP256R1MLKEM768]);
    let error = Client::tls_with(scene.address(), HOST, client).err();
    assert_eq!(
        tls_error(error),
        Error::AlertReceived(AlertDescription::HandshakeFailure)
    );
    scene.refused_host().with_detail("offered: ")
}

pub fn tls_no_common_sigalg() -> Line {
    let ecdsa = Taste {
        schemes: Some(vec![SignatureScheme::ECDSA_NISTP256_SHA256]),
        ..Taste::default()
    };
    let rsa = Taste {
        schemes: Some(vec![
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PKCS1_SHA256,
        ]),
        ..Taste::default()
    };
    let mut lines = Vec::new();
    for (kind, taste, offered) in [
        (Kind::Good, rsa, "RSA_PSS_SHA256, RSA_PKCS1_SHA256"),
        (Kind::Rsa, ecdsa, "ECDSA_NISTP256_SHA256"),
    ] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut scene = Scene::with(kind, |_| {});
            let client = taste.clone().speaking(version);
            let error = Client::tls_with(scene.address(), HOST, client).err();
            assert_eq!(
                tls_error(error),
                Error::AlertReceived(AlertDescription::HandshakeFailure)
            );
            let line = scene
                .refused_host()
                .expect(Reason::TlsNoCommonSigalg)
                .with_detail("the proxy sent alert 40 (handshake_failure)");
            lines.push(line.with_detail(&format!("offered: {offered}")));
        }
    }
    let mut scene = Scene::with(Kind::Rsa, |_| {});
    // Only the old form of RSA, which TLS 1.3 does not allow for handshakes (RFC 8446 section 4.2.3).
    let hello = Hello {
        schemes: Some(vec![hello::RSA_PKCS1_SHA256]),
        versions: Some(vec![hello::TLS13]),
        key_share: Some(vec![9; 32]),
        ..Hello::tls13()
    };
    scene.answer(hello.bytes());
    scene.refused_host().expect(Reason::TlsNoCommonSigalg);
    // A client without the extension implies SHA-1 (RFC 5246 section 7.4.1.4.1).
    let silent = Hello {
        schemes: None,
        ..Hello::tls12()
    };
    assert_eq!(only_alert(&scene.answer(silent.bytes())), HANDSHAKE_FAILURE);
    scene
        .refused()
        .expect(Reason::TlsNoCommonSigalg)
        .with_detail("SHA-1");
    lines.pop().unwrap()
}

pub fn tls_sni_unknown() -> Line {
    let mut scene = Scene::new(|_| {});
    let error = Client::tls_with(scene.address(), "other.example.com", trusting()).err();
    assert_eq!(
        tls_error(error),
        Error::AlertReceived(AlertDescription::UnrecognisedName)
    );
    let line = scene.refused();
    assert_eq!(line.text("sni"), "other.example.com");
    // A name that is longer than any certificate's, one label too deep, or in capitals.
    for (name, known) in [
        (format!("{}.example.com", "a".repeat(60)), false),
        (format!("a.{HOST}"), false),
        ("example.com".to_owned(), false),
        (HOST.to_uppercase(), true),
    ] {
        let hello = Hello {
            sni: Some(name.clone()),
            ..Hello::tls12()
        };
        let mut client = Client::plain(scene.address());
        client.send(hello.bytes());
        if known {
            assert_eq!(client.receive(1), [hello::HANDSHAKE]);
            client.finish();
            scene.refused_host().expect(Reason::TlsClientClosed);
        } else {
            assert_eq!(only_alert(&ending(&mut client).0), UNRECOGNIZED_NAME);
            let line = scene.refused().expect(Reason::TlsSniUnknown);
            assert_eq!(line.text("sni"), name);
        }
    }
    line.with_detail("the proxy sent alert 112 (unrecognized_name)")
        .with_detail(&format!("served: {HOST}"))
}

/// The record of a client of each version that ends its handshake with `error`.
fn disliked(mut scene: Scene, taste: &Taste, error: &CertificateError, detail: &str) -> Line {
    let [first, second] = [&rustls::version::TLS12, &rustls::version::TLS13].map(|version| {
        let client = taste.clone().speaking(version);
        let found = tls_error(Client::tls_with(scene.address(), HOST, client).err());
        match found {
            Error::InvalidCertificate(found) => assert!(is_kind(&found, error), "{found:?}"),
            other => panic!("{other}"),
        }
        scene.refused_host().with_detail(detail)
    });
    assert_eq!(first.text("reason"), second.text("reason"));
    second
}

/// The library may add circumstances.
fn is_kind(found: &CertificateError, error: &CertificateError) -> bool {
    let begin = |error: &CertificateError| format!("{error:?}");
    begin(found).starts_with(&begin(error))
}

pub fn tls_alert_unknown_ca() -> Line {
    let taste = Taste {
        authority: Some(Arc::new(Authority::new("another authority"))),
        ..Taste::default()
    };
    let error = CertificateError::UnknownIssuer;
    disliked(Scene::new(|_| {}), &taste, &error, "alert 48 (unknown_ca)")
}

pub fn tls_alert_bad_certificate() -> Line {
    // Served because it is the first; it has other names.
    let folder = tempfile::tempdir().unwrap();
    Authority::shared().write(folder.path(), "good", &["www.example.com"], Kind::Good);
    let upstream = Upstream::echo();
    let mut setup = Setup::tls(&upstream.url());
    setup
        .tls
        .as_mut()
        .unwrap()
        .push_str("\nunknown_sni: default");
    let proxy = setup.start_in(folder);
    let scene = Scene { upstream, proxy };
    let error = CertificateError::NotValidForName;
    let detail = "alert 42 (bad_certificate)";
    disliked(scene, &Taste::default(), &error, detail)
}

pub fn tls_alert_cert_expired() -> Line {
    let detail = "alert 45 (certificate_expired)";
    let taste = Taste::default();
    for (kind, error) in [
        (Kind::Expired, CertificateError::Expired),
        (Kind::NotYetValid, CertificateError::NotValidYet),
    ] {
        disliked(Scene::with(kind, |_| {}), &taste, &error, detail)
            .expect(Reason::TlsAlertCertExpired);
    }
    let error = CertificateError::Expired;
    disliked(Scene::with(Kind::Expired, |_| {}), &taste, &error, detail)
}

pub fn tls_alert_cert_revoked() -> Line {
    let taste = Taste {
        certificate: Some(CertificateError::Revoked),
        ..Taste::default()
    };
    let detail = "alert 44 (certificate_revoked)";
    let error = CertificateError::Revoked;
    disliked(Scene::new(|_| {}), &taste, &error, detail)
}

pub fn tls_alert_other() -> Line {
    let taste = Taste {
        signature: Some(CertificateError::BadSignature),
        ..Taste::default()
    };
    let detail = "alert 51 (decrypt_error)";
    let error = CertificateError::BadSignature;
    disliked(Scene::new(|_| {}), &taste, &error, detail)
}

/// Every alert that a client can send has a reason, in both versions; the detail always has the number.
#[test]
fn each_alert_of_a_client_has_its_reason() {
    let mut scene = Scene::new(|_| {});
    // RFC 8446 section 6, alerts of older versions only, and an unknown one.
    for number in [
        10, 20, 21, 22, 30, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 60, 70, 71, 80, 86, 90,
        100, 109, 110, 111, 112, 113, 114, 115, 116, 120, 200,
    ] {
        let reason = match number {
            42 | 43 | 46 => Reason::TlsAlertBadCertificate,
            44 => Reason::TlsAlertCertRevoked,
            45 => Reason::TlsAlertCertExpired,
            48 => Reason::TlsAlertUnknownCa,
            _ => Reason::TlsAlertOther,
        };
        for hello in [Hello::tls12(), Hello::tls13()] {
            let mut client = Client::plain(scene.address());
            client.send(hello.bytes()).receive(1);
            client.send(alert(number));
            let line = scene
                .refused_host()
                .expect(reason)
                .with_detail(&format!("alert {number} ("));
            // If the alert says less than its reason, the hint must not say more.
            let is_vague = line.text("hint").contains("every fault");
            assert_eq!(is_vague, number == 46, "{line:?}");
        }
    }
}

/// In TLS 1.2 the handshake continues after a warning (RFC 5246 section 7.2.2).
#[test]
fn a_warning_in_tls_1_2_is_not_the_end() {
    let mut scene = Scene::new(|_| {});
    let mut client = Client::plain(scene.address());
    client.send(Hello::tls12().bytes()).receive(1);
    client.send(record(hello::ALERT, &[1, 41]));
    client.finish();
    scene.refused_host().expect(Reason::TlsClientClosed);
}

/// In TLS 1.3 a client may reject something after the handshake is complete on the server's side.
#[test]
fn an_alert_after_the_handshake_is_an_alert_all_the_same() {
    let mut scene = Scene::new(|_| {});
    let mut client = clients::settled(scene.address());
    // The cause of the client's alert does not matter; here it is a record that the client can't decrypt.
    let mut forged = &record(23, &[0; 64])[..];
    client.conn.read_tls(&mut forged).unwrap();
    client.conn.process_new_packets().unwrap_err();
    client.conn.write_tls(&mut client.sock).unwrap();
    let line = scene.refused_host().expect(Reason::TlsAlertOther);
    assert_eq!(line.text("tls_version"), "1.3");
    line.with_detail("alert 20 (bad_record_mac)");
}

pub fn tls_protocol_error() -> Line {
    let mut scene = Scene::new(|_| {});
    let hello = Hello::tls12().message();
    let half = &hello[4..50];
    let trailing = [&hello[..], &[0]].concat();
    for (what, bytes) in [
        ("a record of no known version", vec![0x16; 100]),
        (
            "a message that no client begins with",
            record(22, &message(20, &[0; 12])),
        ),
        (
            "a hello that ends before its end",
            record(22, &message(1, half)),
        ),
        ("something behind the hello", record(22, &trailing)),
        (
            "a record that is too large",
            [vec![22, 3, 1, 0xff, 0xff], vec![0; 0xffff]].concat(),
        ),
        ("empty records", record(22, &[]).repeat(100)),
    ] {
        let mut client = Client::plain(scene.address());
        // The proxy may stop reading before the end.
        let _ = client.write_all(&bytes);
        let (answer, _) = ending(&mut client);
        assert!(
            answer.is_empty() || answer[0] == hello::ALERT,
            "{what}: {answer:02x?}"
        );
        let line = scene.refused().expect(Reason::TlsProtocolError);
        assert!(!line.text("detail").is_empty(), "{what}");
    }
    // After a valid hello: garbage instead of the client's key exchange, in both versions.
    for hello in [Hello::tls12(), Hello::tls13()] {
        let mut client = Client::plain(scene.address());
        client.send(hello.bytes()).receive(1);
        client.send(record(22, &message(16, &[0xff; 40])));
        client.rest();
        scene.refused_host().expect(Reason::TlsProtocolError);
    }
    // After a valid handshake: a record that can't be decrypted.
    let mut client = clients::settled(scene.address());
    client.sock.write_all(&record(23, &[0; 64])).unwrap();
    let line = scene.refused_host();
    assert_eq!(line.text("tls_version"), "1.3");
    line.with_detail("decrypt")
        .with_detail("the proxy sent alert 20 (bad_record_mac)")
}

/// A complete handshake, then the end: clean, without `close_notify`, and as a reset.
pub fn tls_closed_unused() -> Line {
    let mut scene = Scene::new(|_| {});
    let check = |line: Line| {
        assert_eq!(line.text("tls_version"), "1.3", "{line:?}");
        line.expect(Reason::TlsClosedUnused)
    };
    let client = clients::settled(scene.address());
    client.sock.shutdown(Shutdown::Write).unwrap();
    check(scene.refused_host()).with_detail("closed without close_notify");
    Client::Tls(clients::settled(scene.address())).reset();
    check(scene.refused_host()).with_detail("reset by peer");

    let mut client = Client::tls(scene.address());
    client.finish();
    assert_eq!(client.rest(), b"");
    check(scene.refused_host()).with_detail("closed in order")
}
