//! Which certificate a client gets, and the resumption of sessions.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, HandshakeKind, SignatureScheme};
use wsgate::reason::Reason;

use super::clients::{connection, only, with_schemes, with_suites};
use crate::harness::certs::{Authority, Kind};
use crate::harness::client::trusting;
use crate::harness::proxy::HOST;
use crate::harness::{Client, Proxy, Setup, Upstream, handshake};

/// A proxy with a certificate for each of `all`, named by its number, in this order.
fn serving(all: &[(&[&str], Kind)], keys: &str) -> (Proxy, Vec<CertificateDer<'static>>) {
    let folder = tempfile::tempdir().unwrap();
    let mut certificates = Vec::new();
    let mut yaml = "certificates:".to_owned();
    for (number, (names, kind)) in all.iter().enumerate() {
        let name = number.to_string();
        let (cert, _) = Authority::shared().write(folder.path(), &name, names, *kind);
        certificates.push(CertificateDer::from_pem_file(cert).unwrap());
        yaml += &format!("\n  - {{ cert: {name}.pem, key: {name}-key.pem }}");
    }
    let mut setup = Setup::plain("builtin:echo");
    setup.tls = Some(format!("{yaml}\n{keys}"));
    (setup.start_in(folder), certificates)
}

/// The certificate that a client gets when it asks for `name`.
fn served(proxy: &mut Proxy, name: &str, config: ClientConfig) -> CertificateDer<'static> {
    let has_sni = config.enable_sni;
    let client = Client::tls_with(proxy.address(), name, config).unwrap();
    let chain = connection(&client).peer_certificates().unwrap();
    let leaf = chain[0].clone().into_owned();
    drop(client);
    let line = proxy.terminal().expect(Reason::TlsClosedUnused);
    assert_eq!(line.text("sni"), if has_sni { name } else { "" });
    leaf
}

#[test]
fn the_certificate_is_chosen_by_the_name_asked_for() {
    let (mut proxy, certificates) = serving(
        &[
            (&["first.example.com", "127.0.0.1"], Kind::Good),
            (&["*.wild.example.com"], Kind::Good),
            (&[HOST, "first.example.com"], Kind::Good),
        ],
        "",
    );
    for (name, expected) in [
        (HOST, 2),
        ("a.wild.example.com", 1),
        ("b.wild.example.com", 1),
        // If two certificates cover the name, the first one is used.
        ("first.example.com", 0),
    ] {
        let leaf = served(&mut proxy, name, trusting());
        assert_eq!(leaf, certificates[expected], "{name}");
    }
    // A wildcard stands for exactly one label.
    for name in ["a.b.wild.example.com", "wild.example.com"] {
        assert!(Client::tls_with(proxy.address(), name, trusting()).is_err());
        let line = proxy.terminal().expect(Reason::TlsSniUnknown);
        assert_eq!(line.text("sni"), name);
    }
}

#[test]
fn a_client_that_asks_for_no_name_gets_the_first_certificate() {
    let (mut proxy, certificates) = serving(
        &[
            (&["first.example.com", "127.0.0.1"], Kind::Good),
            (&[HOST], Kind::Good),
        ],
        "",
    );
    let mut nameless = trusting();
    nameless.enable_sni = false;
    let leaf = served(&mut proxy, "first.example.com", nameless);
    assert_eq!(leaf, certificates[0]);
    // An address is never sent as a name (RFC 6066 section 3).
    let mut by_address = trusting();
    by_address.enable_sni = false;
    let leaf = served(&mut proxy, "127.0.0.1", by_address);
    assert_eq!(leaf, certificates[0]);
}

#[test]
fn an_unknown_name_gets_the_first_certificate_where_the_configuration_says_so() {
    let certificates: &[(&[&str], Kind)] =
        &[(&["first.example.com"], Kind::Good), (&[HOST], Kind::Good)];
    let (mut proxy, certificates) = serving(certificates, "unknown_sni: default");
    let error = Client::tls_with(proxy.address(), "other.example.com", trusting()).err();
    assert!(error.unwrap().to_string().contains("not valid for name"));
    // This time the client is at fault, and the record still has the name.
    let line = proxy.terminal().expect(Reason::TlsAlertBadCertificate);
    assert_eq!(line.text("sni"), "other.example.com");
    let leaf = served(&mut proxy, HOST, trusting());
    assert_eq!(leaf, certificates[1], "known names are chosen as always");
}

#[test]
fn a_pair_of_rsa_and_ecdsa_serves_clients_of_either_kind() {
    let rsa = [
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA256,
    ];
    let ecdsa = [SignatureScheme::ECDSA_NISTP256_SHA256];
    for kinds in [[Kind::Rsa, Kind::Good], [Kind::Good, Kind::Rsa]] {
        let (mut proxy, certificates) = serving(&kinds.map(|kind| (&[HOST][..], kind)), "");
        let of = |kind| kinds.iter().position(|other| *other == kind).unwrap();
        let leaf = served(&mut proxy, HOST, with_schemes(&rsa));
        assert_eq!(leaf, certificates[of(Kind::Rsa)]);
        let leaf = served(&mut proxy, HOST, with_schemes(&ecdsa));
        assert_eq!(leaf, certificates[of(Kind::Good)]);
        let leaf = served(&mut proxy, HOST, trusting());
        assert_eq!(leaf, certificates[0], "who takes both gets the first");
    }
}

/// The old form of RSA may sign certificates in TLS 1.3, but not handshakes (RFC 8446 section 4.2.3).
#[test]
fn a_scheme_that_tls_1_3_does_not_take_chooses_no_certificate() {
    let both: [(&[&str], Kind); 2] = [(&[HOST], Kind::Rsa), (&[HOST], Kind::Good)];
    let (mut proxy, certificates) = serving(&both, "");
    let schemes = [
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::ECDSA_NISTP256_SHA256,
    ];
    let leaf = served(&mut proxy, HOST, with_schemes(&schemes));
    assert_eq!(leaf, certificates[1]);
}

/// Scanners object to a server without an order of its own. A client that prefers ChaCha20 has no hardware for AES.
#[test]
fn of_several_suites_our_order_counts_except_for_chacha() {
    use rustls::CipherSuite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    let mut proxy = Setup::tls("builtin:echo").start();
    let (small, large, chacha) = (
        TLS13_AES_128_GCM_SHA256,
        TLS13_AES_256_GCM_SHA384,
        TLS13_CHACHA20_POLY1305_SHA256,
    );
    for (offered, agreed) in [
        (vec![large, chacha, small], small),
        (vec![large, chacha], large),
        (vec![chacha, small, large], chacha),
        (vec![chacha], chacha),
    ] {
        let client = Client::tls_with(proxy.address(), HOST, with_suites(&offered)).unwrap();
        let found = connection(&client).negotiated_cipher_suite().unwrap();
        assert_eq!(found.suite(), agreed, "{offered:?}");
        drop(client);
        proxy.terminal().expect(Reason::TlsClosedUnused);
    }
}

#[test]
fn sessions_are_resumed_and_recorded_like_others() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let upstream = Upstream::echo();
        let mut proxy = Setup::tls(&upstream.url()).start();
        // Clones share their tickets.
        let config = only(version);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = Client::tls_with(proxy.address(), HOST, config.clone()).unwrap();
            let response = client.send(handshake("/ws", &[])).response();
            assert_eq!(response.status, 101);
            assert_eq!(connection(&client).handshake_kind(), Some(kind));
            client.finish();
            client.rest();
            let line = proxy.terminal().expect(Reason::ClientEofNoClose);
            assert_eq!(line.text("sni"), HOST);
            let name = line.text("tls_version");
            assert_eq!(
                format!("TLSv1_{}", &name[2..]),
                format!("{:?}", version.version)
            );
        }
    }
}
