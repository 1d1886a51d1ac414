use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::harness::certs::Kind;
use crate::harness::secure::{SecureUpstream, config, config_with};

fn server(config: ServerConfig) -> (SecureUpstream, String) {
    let mut config = config;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = SecureUpstream::start(config);
    let url = format!("wss://localhost:{}/ws", server.address().port());
    (server, url)
}

/// A server that presents these certificates.
fn presenting(chain: Vec<CertificateDer<'static>>, key: &str) -> (SecureUpstream, String) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    server(config)
}

/// `localhost` may have an IPv6 address on which nothing listens.
fn to(server: &SecureUpstream) -> [String; 2] {
    ["--connect-to".to_owned(), server.address().to_string()]
}

#[track_caller]
fn refused(server: &(SecureUpstream, String), finding: &str) -> Value {
    let to = to(&server.0);
    let report = verdict(
        &server.1,
        &[&to[0], &to[1]],
        finding,
        "upstream_tls_verify_failed",
    );
    assert_eq!(report["verdict"]["stage"], "tls");
    // A server without a valid certificate gets no request.
    assert!(server.0.seen().heads.is_empty());
    report
}

#[test]
fn a_good_certificate_is_described() {
    let server = server(config(Authority::shared(), &["localhost"], Kind::Good));
    let to = to(&server.0);
    let (code, report) = diagnosed(&server.1, &[&to[0], &to[1]]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["certificates"][0]["names"][0], "localhost");
    assert_eq!(report["certificates"][0]["key"], "EC 256");
    let steps = report["steps"].to_string();
    for part in ["TLS 1.3", "TLS_AES_", "X25519", "http/1.1"] {
        assert!(steps.contains(part), "{part}: {steps}");
    }
    // Its certificate is ECDSA.
    let probe = |name: &str| {
        let all = report["steps"].as_array().unwrap();
        let step = all.iter().find(|step| step["probe"] == name);
        step.unwrap()["detail"].as_str().unwrap().to_owned()
    };
    assert!(
        probe("only_tls12").starts_with("TLS 1.2, TLS_ECDHE_ECDSA"),
        "{report:#}"
    );
    assert!(probe("only_tls13").starts_with("TLS 1.3, "), "{report:#}");
    assert_eq!(probe("only_rsa"), "refused with alert handshake_failure");
    assert!(probe("only_tls10").starts_with("refused with alert "));
    assert_eq!(
        report["verdict"]["detail"],
        "old clients that support only RSA certificates are refused"
    );
    assert!(report["connections"].as_u64().unwrap() <= 24);
}

#[test]
fn each_fault_of_a_certificate_has_its_finding() {
    let shared = Authority::shared();
    refused(
        &server(config(shared, &["localhost"], Kind::Expired)),
        "certificate_expired",
    );
    refused(
        &server(config(shared, &["localhost"], Kind::NotYetValid)),
        "certificate_not_yet_valid",
    );
    let report = refused(
        &server(config(shared, &["other.example"], Kind::Good)),
        "certificate_wrong_name",
    );
    let detail = report["verdict"]["detail"].as_str().unwrap();
    assert!(
        detail.contains("other.example") && detail.contains("localhost"),
        "{detail}"
    );
    refused(
        &server(config(shared, &["localhost"], Kind::Authority)),
        "certificate_of_an_authority",
    );
    // An authority that nobody trusts, with and without its own certificate in the chain.
    let foreign = Authority::new("a foreign authority");
    let (leaf, key) = foreign.issue(&["localhost"], Kind::Good);
    let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap();
    let report = refused(
        &presenting(vec![leaf.clone(), foreign.der()], &key),
        "unknown_authority",
    );
    assert!(
        report["verdict"]["detail"]
            .as_str()
            .unwrap()
            .contains("a foreign authority")
    );
    let report = refused(&presenting(vec![leaf], &key), "missing_intermediate");
    assert!(
        report["verdict"]["detail"]
            .as_str()
            .unwrap()
            .contains("a foreign authority")
    );
    // Signed by its own key.
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let report = presenting(
        vec![own.cert.der().clone()],
        &own.signing_key.serialize_pem(),
    );
    refused(&report, "certificate_self_signed");
}

#[test]
fn an_authority_can_be_trusted_for_once() {
    let foreign = Authority::new("an own authority");
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, foreign.pem()).unwrap();
    let server = server(config(&foreign, &["localhost"], Kind::Good));
    let to = to(&server.0);
    let (code, report) = diagnosed(&server.1, &[&to[0], &to[1], "--ca", ca.to_str().unwrap()]);
    assert_eq!(code, 0, "{report:#}");
}

#[test]
fn a_port_that_speaks_something_else_has_its_finding() {
    let plain = answering("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let address = plain.url().replace("http://", "wss://");
    verdict(
        &address,
        &[],
        "server_speaks_plain_http",
        "upstream_tls_to_plain_port",
    );
    let ssh = Upstream::raw(|mut socket| {
        let _ = socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        let _ = socket.read(&mut [0]);
    });
    verdict(
        &ssh.url().replace("http://", "wss://"),
        &[],
        "not_tls",
        "upstream_tls_to_plain_port",
    );
    let silent = Upstream::raw(|mut socket| {
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    });
    let arguments = ["--timeout", "300ms"];
    verdict(
        &silent.url().replace("http://", "wss://"),
        &arguments,
        "tls_timeout",
        "upstream_tls_timeout",
    );
    let closing = Upstream::raw(|mut socket| {
        let _ = socket.read(&mut [0; 4096]);
    });
    verdict(
        &closing.url().replace("http://", "wss://"),
        &[],
        "tls_closed",
        "upstream_tls_failed",
    );
    // TLS on the other side only.
    let server = server(config(Authority::shared(), &["localhost"], Kind::Good));
    let address = server.1.replace("wss://localhost", "ws://127.0.0.1");
    let (_, report) = diagnosed(&address, &[]);
    let finding = report["verdict"]["finding"].as_str().unwrap().to_owned();
    assert!(
        ["server_requires_tls", "closed_before_answer"].contains(&finding.as_str()),
        "{report:#}"
    );
}

#[test]
fn a_server_that_wants_a_client_certificate_or_only_http2_has_its_finding() {
    let clients = Authority::new("clients");
    let config = config_with(
        Authority::shared(),
        &["localhost"],
        Kind::Good,
        rustls::ALL_VERSIONS,
        Some(&clients),
    );
    let mut only_http2 = config_with(
        Authority::shared(),
        &["localhost"],
        Kind::Good,
        rustls::ALL_VERSIONS,
        None,
    );
    let asking = server(config);
    let way = to(&asking.0);
    verdict(
        &asking.1,
        &[&way[0], &way[1]],
        "client_certificate_required",
        "tls_client_cert_missing",
    );
    only_http2.alpn_protocols = vec![b"h2".to_vec()];
    let http2 = SecureUpstream::start(only_http2);
    let url = format!("wss://localhost:{}/ws", http2.address().port());
    let way = to(&http2);
    verdict(&url, &[&way[0], &way[1]], "only_http2", "upstream_alpn_h2");
}

#[test]
fn it_says_whether_browsers_could_use_http2() {
    for (settings, part) in [
        (
            &b"\0\0\x06\x04\0\0\0\0\0\0\x08\0\0\0\x01"[..],
            "and offers WebSocket over it",
        ),
        (
            b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64",
            "and does not offer WebSocket",
        ),
        (b"\0\0\0\x04\0\0\0\0\0", "and does not offer WebSocket"),
    ] {
        let both = config(Authority::shared(), &["localhost"], Kind::Good);
        let server = SecureUpstream::handling(both, move |mut stream| {
            if stream.conn.alpn_protocol() == Some(b"h2") {
                stream.write_all(settings)?;
                return Ok((String::new(), stream));
            }
            let head = crate::harness::secure::converse(&mut stream)?;
            Ok((head, stream))
        });
        let url = format!("wss://localhost:{}/ws", server.address().port());
        let way = to(&server);
        let (_, report) = diagnosed(&url, &[&way[0], &way[1]]);
        let steps = report["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["probe"] == "http2").unwrap();
        assert!(
            step["detail"].as_str().unwrap().contains(part),
            "{report:#}"
        );
    }
}

/// Someone on the way can stall TLS. What is then asked without it must not hold anything secret.
#[test]
fn nothing_that_may_be_secret_is_sent_without_tls() {
    let seen = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&seen);
    let server = Upstream::raw(move |mut socket| {
        let mut first = [0; 1];
        // A ClientHello gets no answer.
        if socket.read_exact(&mut first).is_ok() && first == *b"G" {
            kept.lock()
                .unwrap()
                .push_str(&read_head(&mut socket).unwrap());
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    });
    let url = format!(
        "{}/path?token=hunter2",
        server.url().replace("http://", "wss://")
    );
    let secrets = [
        "--header",
        "Authorization: hunter2",
        "--subprotocol",
        "hunter2",
    ];
    let arguments = [&secrets[..], &["--timeout", "500ms"]].concat();
    verdict(
        &url,
        &arguments,
        "server_speaks_plain_http",
        "upstream_tls_to_plain_port",
    );
    let seen = seen.lock().unwrap();
    assert!(
        seen.contains("Host: 127.0.0.1") && !seen.contains("hunter2"),
        "{seen}"
    );
}
