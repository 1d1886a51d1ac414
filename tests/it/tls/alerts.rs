//! The alert that is sent or received, the certificate that was shown, and the record of both.

use std::fs;
use std::net::Shutdown;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use wsgate::reason::Reason;
use x509_parser::pem::parse_x509_pem;

use super::clients::{Taste, settled};
use super::hello::{self, HANDSHAKE, Hello, ending, message, only_alert, record};
use super::{HANDSHAKE_FAILURE, Scene, UNRECOGNIZED_NAME};
use crate::harness::certs::{Authority, Kind, write_private};
use crate::harness::proxy::HOST;
use crate::harness::{Client, Line, Proxy, Setup};

const UNEXPECTED_MESSAGE: u8 = 10;
const RECORD_OVERFLOW: u8 = 22;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;

/// The subject, serial number and expiry of the first certificate of a file, in the form of a record.
fn facts(file: &Path) -> Value {
    let text = fs::read(file).unwrap();
    let (_, pem) = parse_x509_pem(&text).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let serial = certificate.serial.to_bytes_be();
    let serial: String = serial.iter().map(|byte| format!("{byte:02X}")).collect();
    let expires = u64::try_from(certificate.validity().not_after.timestamp()).unwrap();
    let expires = UNIX_EPOCH + std::time::Duration::from_secs(expires);
    json!({
        "subject": certificate.subject().to_string(),
        "serial": serial,
        "expires": humantime::format_rfc3339_seconds(expires).to_string(),
    })
}

/// The next record, which must name this certificate.
#[track_caller]
fn shown(proxy: &mut Proxy, reason: Reason, certificate: &Value) -> Line {
    let line = proxy.terminal().expect(reason);
    assert_eq!(&line.0["certificate"], certificate, "{line:?}");
    line
}

/// A proxy with a certificate of each kind: every end of a handshake names the one that was shown.
#[test]
fn a_refusal_names_the_certificate_that_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    for (name, kind) in [("ec", Kind::Good), ("rsa", Kind::Rsa)] {
        Authority::shared().write(folder.path(), name, &[HOST], kind);
    }
    let [ec, rsa] = ["ec.pem", "rsa.pem"].map(|name| facts(&folder.path().join(name)));
    assert_ne!(ec, rsa);
    let mut setup = Setup::plain("builtin:echo");
    setup.tls = Some(
        "certificates: [{ cert: ec.pem, key: ec-key.pem }, { cert: rsa.pem, key: rsa-key.pem }]"
            .to_owned(),
    );
    let mut proxy = setup.start_in(folder);
    let only_rsa = Hello {
        suites: vec![hello::ECDHE_RSA_AES_128_GCM],
        ..Hello::tls12()
    };
    for (hello, certificate) in [(Hello::tls12(), &ec), (only_rsa, &rsa)] {
        let mut client = Client::plain(proxy.address());
        client.send(hello.bytes()).receive(1);
        client.finish();
        shown(&mut proxy, Reason::TlsClientClosed, certificate);
        let mut client = Client::plain(proxy.address());
        client.send(hello.bytes()).receive(1);
        client.send(hello::alert(48));
        shown(&mut proxy, Reason::TlsAlertUnknownCa, certificate)
            .with_detail("the client sent alert 48 (unknown_ca)")
            .with_detail("issued by CN=test authority");
        let mut client = Client::plain(proxy.address());
        client.send(hello.bytes()).receive(1);
        client.send(record(HANDSHAKE, &message(16, &[0xff; 40])));
        client.rest();
        shown(&mut proxy, Reason::TlsProtocolError, certificate)
            .with_detail("the proxy sent alert ");
    }
    // Also after the handshake.
    let client = settled(proxy.address());
    client.sock.shutdown(Shutdown::Write).unwrap();
    shown(&mut proxy, Reason::TlsClosedUnused, &ec);
    // If no certificate was shown, the record has none.
    let mut client = Client::plain(proxy.address());
    let legacy = Hello {
        suites: vec![hello::RSA_AES_128_CBC],
        ..Hello::tls12()
    };
    client.send(legacy.bytes());
    assert_eq!(only_alert(&ending(&mut client).0), HANDSHAKE_FAILURE);
    shown(&mut proxy, Reason::TlsNoCommonCipher, &Value::Null);
}

#[test]
fn a_name_that_is_not_served_is_shown_no_certificate() {
    let mut scene = Scene::new(|_| {});
    for hello in [Hello::tls12(), Hello::tls13()] {
        let hello = Hello {
            sni: Some("other.example.com".to_owned()),
            ..hello
        };
        // If the socket were closed at once, unread bytes would destroy the alert.
        let mut client = Client::plain(scene.address());
        client.send([hello.bytes(), record(23, &[0; 4000])].concat());
        let (answer, is_reset) = ending(&mut client);
        assert_eq!((only_alert(&answer), is_reset), (UNRECOGNIZED_NAME, false));
        let line = scene.refused().expect(Reason::TlsSniUnknown);
        assert_eq!(&line.0["certificate"], &Value::Null);
    }
}

/// Unencrypted refusals, before any certificate: the alert follows the RFCs, and the record names it.
#[test]
fn a_hello_that_breaks_the_rules_gets_the_alert_of_the_rfcs() {
    let mut scene = Scene::new(|_| {});
    let hello = Hello::tls12().message();
    let twice = Hello {
        sni: Some(format!("{HOST}\0")),
        ..Hello::tls12()
    };
    for (what, bytes, expected) in [
        (
            "a message that no client begins with",
            record(HANDSHAKE, &message(20, &[0; 12])),
            UNEXPECTED_MESSAGE,
        ),
        (
            "something behind the hello",
            record(HANDSHAKE, &[&hello[..], &[0]].concat()),
            UNEXPECTED_MESSAGE,
        ),
        (
            "empty records",
            record(HANDSHAKE, &[]).repeat(100),
            DECODE_ERROR,
        ),
        (
            "an alert within the hello",
            [record(HANDSHAKE, &hello[..40]), hello::alert(0)].concat(),
            UNEXPECTED_MESSAGE,
        ),
        (
            "a hello that ends before its end",
            record(HANDSHAKE, &message(1, &hello[4..50])),
            DECODE_ERROR,
        ),
        (
            "a record that is too large",
            vec![22, 3, 1, 0xff, 0xff],
            RECORD_OVERFLOW,
        ),
        ("a name that is none", twice.bytes(), ILLEGAL_PARAMETER),
    ] {
        let sent = only_alert(&scene.answer(&bytes));
        assert_eq!(sent, expected, "{what}");
        let line = scene.refused().expect(Reason::TlsProtocolError);
        line.with_detail(&format!("the proxy sent alert {expected} ("));
    }
}

/// A self-signed certificate for [`HOST`] with its key, in PEM, that expires after this many days.
fn self_signed(days: i64) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(60);
    params.not_after = now + Duration::days(days);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// The record of a client that sends `alert` to a proxy with this certificate, or leaves without one.
fn told(identity: &(String, String), alert: Option<u8>) -> Line {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good.pem"), &identity.0).unwrap();
    write_private(&folder.path().join("good-key.pem"), &identity.1);
    let mut proxy = Setup::tls("builtin:echo").start_in(folder);
    let mut client = Client::plain(proxy.address());
    client.send(Hello::tls12().bytes()).receive(1);
    match alert {
        Some(alert) => {
            client.send(hello::alert(alert));
        }
        None => client.finish(),
    }
    proxy.terminal()
}

#[test]
fn what_is_wrong_with_the_certificate_is_told_whatever_the_client_says() {
    let authority = Authority::new("an authority of our own");
    let expired = authority.issue(&[HOST], Kind::Expired);
    for alert in [Some(48), Some(42), Some(45), None] {
        for (identity, parts) in [
            (self_signed(30), &["it is self-signed"][..]),
            (self_signed(-1), &["it expired on ", "it is self-signed"]),
            (expired.clone(), &["it expired on "]),
        ] {
            let line = told(&identity, alert);
            for part in parts {
                assert!(line.text("detail").contains(part), "{part}: {line:?}");
            }
            let remedy = match parts[0] {
                "it expired on " => "renew the certificate",
                _ => "let each client trust it",
            };
            let hint = line.text("hint");
            assert!(hint.contains(remedy), "{remedy}: {line:?}");
            assert!(!hint.contains("wsgate check"), "{line:?}");
        }
    }
    // This side sees no fault; the certificate's issuer decides the hint.
    let line = told(&authority.issue(&[HOST], Kind::Good), Some(48));
    let hint = line.text("hint");
    assert!(hint.contains("CN=an authority of our own"), "{line:?}");
    assert!(hint.contains("let the client trust it"), "{line:?}");
}

/// Like Chromium for a user without a certificate: the cause is that the listener asks for one.
#[test]
fn a_client_that_leaves_a_listener_with_client_auth_is_told_of_it() {
    for mode in ["required", "optional"] {
        let mut setup = Setup::tls("builtin:echo");
        let tls = setup.tls.as_mut().unwrap();
        tls.push_str(&format!("\nclient_auth: {{ ca: ca.pem, mode: {mode} }}"));
        let mut proxy = setup.start();
        let mut client = Client::plain(proxy.address());
        client.send(Hello::tls12().bytes()).receive(1);
        client.finish();
        let line = proxy.terminal().expect(Reason::TlsClientClosed);
        assert!(
            line.text("hint").contains("`listeners[].tls.client_auth`"),
            "{line:?}"
        );
    }
}

/// A client that uses the wrong name on a listener that serves the first certificate to all.
#[test]
fn a_certificate_for_another_name_is_called_that() {
    let folder = tempfile::tempdir().unwrap();
    Authority::shared().write(folder.path(), "good", &["www.example.com"], Kind::Good);
    let mut setup = Setup::tls("builtin:echo");
    let tls = setup.tls.as_mut().unwrap();
    tls.push_str("\nunknown_sni: default");
    let mut proxy = setup.start_in(folder);
    let config = Taste::default().speaking(&rustls::version::TLS13);
    assert!(Client::tls_with(proxy.address(), HOST, config).is_err());
    let line = proxy.terminal().expect(Reason::TlsAlertBadCertificate);
    let line = line.with_detail("it is not for the requested name");
    assert!(
        line.text("hint").contains("add a certificate for"),
        "{line:?}"
    );
}

/// What a record shows of a certificate is bounded and printable, whatever the certificate contains.
#[test]
fn a_long_subject_is_cut() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let name = "\u{202e}x".repeat(300);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let certificate = params.self_signed(&key).unwrap();
    let line = told(&(certificate.pem(), key.serialize_pem()), Some(48));
    let subject = line.0["certificate"]["subject"].as_str().unwrap();
    assert!(subject.is_ascii(), "{subject}");
    // Each of 256 bytes may take four characters.
    assert!(subject.len() < 1100, "{} bytes", subject.len());
    let detail = line.text("detail");
    assert!(detail.len() < 2000 && detail.is_ascii(), "{line:?}");
}
