//! Listeners that require a client certificate.

use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, ClientConfig, Error, HandshakeKind, RootCertStore};
use tempfile::TempDir;
use wsgate::reason::Reason;

use super::clients::{connection, tls_error};
use crate::harness::certs::{Authority, Kind};
use crate::harness::proxy::{HOST, run};
use crate::harness::{Client, Line, Proxy, Setup, handshake};

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

fn setup(mode: &str) -> Setup {
    let mut setup = Setup::tls("\"builtin:echo\"");
    let tls = setup.tls.as_mut().unwrap();
    tls.push_str(&format!(
        "\nclient_auth: {{ ca: clients.pem, mode: {mode} }}"
    ));
    setup
}

/// A proxy whose client certificates come from an authority of their own.
fn start(mode: &str) -> (Proxy, Authority) {
    let authority = Authority::new("client authority");
    let setup = setup(mode);
    let folder = setup.folder();
    fs::write(folder.path().join("clients.pem"), authority.pem()).unwrap();
    (setup.start_in(folder), authority)
}

/// A client for one TLS version, with this certificate and key in PEM, if any.
fn client(
    version: &'static rustls::SupportedProtocolVersion,
    identity: Option<(String, String)>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(Authority::shared().der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let Some((certificate, key)) = identity else {
        return builder.with_no_client_auth();
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    builder.with_client_auth_cert(chain, key).unwrap()
}

/// The alert that ends a client's handshake, or what the client reads after its request.
#[track_caller]
fn alert(proxy: &Proxy, config: ClientConfig) -> AlertDescription {
    let error = match Client::tls_with(proxy.address(), HOST, config) {
        Err(error) => error,
        Ok(mut client) => {
            // In TLS 1.3 the client finishes before the proxy has checked the certificate.
            let _ = client.write_all(handshake("/ws", &[]).as_bytes());
            client.read(&mut [0]).unwrap_err()
        }
    };
    match tls_error(Some(error)) {
        Error::AlertReceived(alert) => alert,
        other => panic!("{other}"),
    }
}

pub fn tls_client_cert_missing() -> Line {
    let (mut proxy, _) = start("required");
    let [_, last] = VERSIONS.map(|version| {
        let told = alert(&proxy, client(version, None));
        // TLS 1.2 has no alert for this case (RFC 5246 section 7.4.6).
        let expected = [
            AlertDescription::CertificateRequired,
            AlertDescription::HandshakeFailure,
        ];
        assert!(expected.contains(&told), "{told:?}");
        let line = proxy
            .terminal()
            .expect(Reason::TlsClientCertMissing)
            .with_detail(&format!("the proxy sent alert {} (", u8::from(told)));
        assert_eq!(line.text("path"), "", "nothing of a request was looked at");
        line
    });
    last
}

pub fn tls_client_cert_invalid() -> Line {
    let (mut proxy, authority) = start("required");
    let stranger = Authority::new("another authority");
    let mut last = None;
    for version in VERSIONS {
        for (identity, detail, sent) in [
            (stranger.issue(&["c"], Kind::Client), "untrusted: ", 48),
            // The authority of the proxy's own certificate does not count for clients.
            (
                Authority::shared().issue(&["c"], Kind::Client),
                "untrusted: ",
                48,
            ),
            (
                authority.issue(&["c"], Kind::ExpiredClient),
                "expired: ",
                45,
            ),
            (authority.issue(&["c"], Kind::Good), "wrong usage, ", 43),
        ] {
            let told = alert(&proxy, client(version, Some(identity)));
            assert_eq!(u8::from(told), sent, "{detail}");
            let line = proxy
                .terminal()
                .expect(Reason::TlsClientCertInvalid)
                .with_detail(&format!("the proxy sent alert {sent} ("));
            last = Some(line.with_detail(detail));
        }
    }
    last.unwrap()
}

/// Every connection must show the certificate: a session that could be resumed would outlive it.
#[test]
fn a_good_certificate_is_let_in_and_asked_for_each_time() {
    for mode in ["required", "optional"] {
        let (mut proxy, authority) = start(mode);
        for version in VERSIONS {
            let config = client(version, Some(authority.issue(&["c"], Kind::Client)));
            for _ in 0..2 {
                let mut client = Client::tls_with(proxy.address(), HOST, config.clone()).unwrap();
                let response = client.send(handshake("/ws", &[])).response();
                assert_eq!(response.status, 101);
                let kind = connection(&client).handshake_kind();
                assert_ne!(kind, Some(HandshakeKind::Resumed), "{version:?}");
                client.finish();
                proxy.terminal().expect(Reason::ClientEofNoClose);
            }
        }
    }
}

/// A ticket from a listener without client authentication is not accepted by one with it.
#[test]
fn a_session_of_another_listener_is_no_certificate() {
    let authority = Authority::new("client authority");
    let tls = "certificates: [{ cert: good.pem, key: good-key.pem }]";
    let folder = Setup::tls("\"builtin:echo\"").folder();
    fs::write(folder.path().join("clients.pem"), authority.pem()).unwrap();
    let yaml = format!(
        "\
listeners:
  - {{ address: '127.0.0.1:0', tls: {{ {tls} }} }}
  - {{ address: '127.0.0.1:0', tls: {{ {tls}, client_auth: {{ ca: clients.pem }} }} }}
routes:
  - {{ path: /ws, websocket: {{ origins: [https://app.example.com] }}, upstream: app }}
upstreams:
  app: {{ endpoints: ['builtin:echo'] }}
"
    );
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let mut proxy = Proxy::spawn(folder, None, 2);
    let [open, closed] = [0, 1].map(|index| proxy.addresses()[index]);
    for version in VERSIONS {
        let config = client(version, None);
        for _ in 0..2 {
            let mut client = Client::tls_with(open, HOST, config.clone()).unwrap();
            assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
            client.finish();
            proxy.terminal().expect(Reason::ClientEofNoClose);
        }
        if let Ok(mut client) = Client::tls_with(closed, HOST, config) {
            // It may be cut off before that.
            let _ = client.write_all(handshake("/ws", &[]).as_bytes());
            assert!(client.read(&mut [0]).is_err());
        }
        proxy.terminal().expect(Reason::TlsClientCertMissing);
    }
}

#[test]
fn an_optional_certificate_may_be_absent_but_not_bad() {
    let (mut proxy, _) = start("optional");
    let stranger = Authority::new("another authority");
    for version in VERSIONS {
        let mut without = Client::tls_with(proxy.address(), HOST, client(version, None)).unwrap();
        assert_eq!(without.send(handshake("/ws", &[])).response().status, 101);
        without.finish();
        proxy.terminal().expect(Reason::ClientEofNoClose);
        let bad = stranger.issue(&["c"], Kind::Client);
        alert(&proxy, client(version, Some(bad)));
        proxy.terminal().expect(Reason::TlsClientCertInvalid);
    }
}

/// The output of `check` for a CA file with this text; `None`: there is no file.
fn checked(text: Option<String>) -> (i32, String) {
    let folder: TempDir = setup("required").folder();
    if let Some(text) = text {
        fs::write(folder.path().join("clients.pem"), text).unwrap();
    }
    let (code, out, _) = run(&["check"], folder.path());
    (code, out)
}

#[test]
fn what_is_wrong_with_the_authorities_is_told_with_its_place() {
    let authority = Authority::new("client authority");
    let (leaf, _) = authority.issue(&["c"], Kind::Client);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, severity, part) in [
        (None, "error", "can't read "),
        (Some(String::new()), "error", "holds no certificate"),
        (Some(broken.to_owned()), "error", "certificate 1 in "),
        (Some(leaf), "warning", "is not an authority's"),
    ] {
        let (code, out) = checked(text);
        assert_eq!(code, if severity == "error" { 2 } else { 0 }, "{out}");
        let place = format!("proxy.yaml:5:26: {severity}: listeners[0].tls.client_auth.ca: ");
        assert!(out.contains(&place) && out.contains(part), "{part}: {out}");
    }
    assert_eq!(checked(Some(authority.pem())).0, 0);
}
