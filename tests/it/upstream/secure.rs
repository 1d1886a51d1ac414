//! Upstreams over TLS: whose certificates are accepted, and every way in which the handshake can fail.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;

use wsgate::reason::Reason;

use super::{ask, attempts, is_own, refused, unconnected};
use crate::harness::certs::{Authority, Kind};
use crate::harness::frames::{self, BINARY, CLOSE, masked, plain};
use crate::harness::proxy::{Proxy, program, run};
use crate::harness::secure::{self, Ending, SecureUpstream, config, config_with};
use crate::harness::upstream::Nobody;
use crate::harness::{Client, Line, Setup, Upstream, eventually, handshake};

/// A plain listener in front of a TLS endpoint whose authority is the shared one; `more` follows `ca`.
fn trusting(endpoint: &str, more: &str) -> Setup {
    Setup {
        upstream: format!(", tls: {{ ca: ca.pem{more} }}"),
        ..Setup::plain(endpoint)
    }
}

/// An open tunnel through `proxy`.
#[track_caller]
fn open(proxy: &Proxy) -> Client {
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    client
}

/// A Close from the client, its answer, and the end; gives the record.
#[track_caller]
fn close(proxy: &mut Proxy, mut client: Client) -> Line {
    client.send(masked(CLOSE, [3, 232]));
    assert_eq!(client.rest(), plain(CLOSE, [3, 232]));
    proxy.terminal().expect(Reason::ClientClose)
}

#[test]
fn frames_pass_over_both_versions_and_end_in_order() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let names = ["127.0.0.1"];
        let config = config_with(Authority::shared(), &names, Kind::Good, &[version], None);
        let upstream = SecureUpstream::start(config);
        let mut proxy = trusting(&upstream.url(), "").start();
        let mut client = open(&proxy);
        frames::echoes(&mut client, "over TLS");
        let large = vec![7; 300 * 1024];
        let back = plain(BINARY, &large);
        client.send(masked(BINARY, &large));
        assert!(client.receive(back.len()) == back);
        close(&mut proxy, client);
        assert_eq!(upstream.endings(1), [Ending::Ended]);
        let seen = upstream.seen();
        // An address is verified, but not sent as a name (RFC 6066 section 3).
        assert_eq!(seen.names, [None]);
        assert_eq!(seen.protocols, [Some(b"http/1.1".to_vec())]);
        let opened = proxy.event("opened");
        assert_eq!(
            attempts(&opened),
            [(upstream.url(), "connected".to_owned())]
        );
    }
}

#[test]
fn the_server_name_is_asked_for_and_verified() {
    let config = config(Authority::shared(), &["app.internal"], Kind::Good);
    let upstream = SecureUpstream::start(config);
    let mut proxy = trusting(&upstream.url(), ", server_name: App.Internal").start();
    let client = open(&proxy);
    close(&mut proxy, client);
    upstream.endings(1);
    assert_eq!(upstream.seen().names, [Some("app.internal".to_owned())]);
}

#[test]
fn a_self_signed_certificate_is_its_own_authority() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(std::sync::Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(
        vec![certificate.der().clone()],
        rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    )
    .unwrap();
    let upstream = SecureUpstream::start(config);
    let setup = Setup {
        upstream: ", tls: { ca: own.pem }".to_owned(),
        ..Setup::plain(&format!("https://localhost:{}", upstream.address().port()))
    };
    let folder = setup.folder();
    std::fs::write(folder.path().join("own.pem"), certificate.pem()).unwrap();
    let mut proxy = setup.start_in(folder);
    let client = open(&proxy);
    close(&mut proxy, client);
}

#[test]
fn without_a_ca_the_system_says_whom_to_trust() {
    let upstream = SecureUpstream::echo();
    let setup = Setup::plain(&upstream.url());
    let folder = setup.folder();
    let mut command = Command::new(program());
    command
        .env("SSL_CERT_FILE", folder.path().join("ca.pem"))
        .env_remove("SSL_CERT_DIR");
    let mut proxy = Proxy::launch(folder, command, 1);
    let client = open(&proxy);
    close(&mut proxy, client);
    drop(proxy);
    // This machine's system does not know the tests' authority.
    let folder = setup.folder();
    let other = Authority::new("another authority");
    std::fs::write(folder.path().join("other.pem"), other.pem()).unwrap();
    let mut command = Command::new(program());
    command
        .env("SSL_CERT_FILE", folder.path().join("other.pem"))
        .env_remove("SSL_CERT_DIR");
    let mut proxy = Proxy::launch(folder, command, 1);
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 502);
    proxy
        .terminal()
        .expect(Reason::UpstreamTlsVerifyFailed)
        .with_detail("no authority of the system has issued it");
}

#[test]
fn a_system_without_authorities_is_told_at_the_start() {
    let setup = Setup::plain("https://127.0.0.1:8443");
    let folder = setup.folder();
    std::fs::write(folder.path().join("none.pem"), "").unwrap();
    let output = Command::new(program())
        .args(["check", "--config"])
        .arg(folder.path().join("proxy.yaml"))
        .env("SSL_CERT_FILE", folder.path().join("none.pem"))
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("upstreams.app.endpoints[0]: https:// needs authorities to trust, and this system does not have any"),
        "{said}"
    );
}

pub fn upstream_tls_verify_failed() -> Line {
    let shared = Authority::shared();
    let other = Authority::new("another authority");
    let cases = [
        (config(&other, &["127.0.0.1"], Kind::Good), "is not trusted"),
        (
            config(shared, &["a.internal", "b.internal"], Kind::Good),
            "the certificate is for a.internal, b.internal; expected 127.0.0.1",
        ),
        (
            config(shared, &["127.0.0.2"], Kind::Good),
            "the certificate is for 127.0.0.2; expected 127.0.0.1",
        ),
        (
            config(shared, &["127.0.0.1"], Kind::NotYetValid),
            "is not valid before 20",
        ),
        (
            config(shared, &["127.0.0.1"], Kind::Expired),
            "the certificate for 127.0.0.1 expired on 20",
        ),
        (
            config(shared, &["127.0.0.1"], Kind::Authority),
            "is an authority's (CA:TRUE)",
        ),
    ];
    let mut last = None;
    for (config, detail) in cases {
        let upstream = SecureUpstream::start(config);
        let setup = trusting(&upstream.url(), "");
        let line = unconnected(&setup, Reason::UpstreamTlsVerifyFailed).with_detail(detail);
        // Nothing of the request was sent.
        upstream.endings(1);
        assert_eq!(upstream.seen().heads, [""; 0]);
        last = Some(line);
    }
    last.unwrap()
}

pub fn upstream_tls_to_plain_port() -> Line {
    let greeting = Upstream::raw(|mut socket| {
        socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    });
    let secure = greeting.url().replace("http:", "https:");
    unconnected(&trusting(&secure, ""), Reason::UpstreamTlsToPlainPort).with_detail("SSH-2.0");
    let http = Upstream::raw(|mut socket| {
        let mut hello = [0; 5];
        socket.read_exact(&mut hello).unwrap();
        socket
            .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            .unwrap();
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    });
    let secure = http.url().replace("http:", "https:");
    unconnected(&trusting(&secure, ""), Reason::UpstreamTlsToPlainPort).with_detail("HTTP/1.1 400")
}

/// An upstream that answers a ClientHello with raw bytes, and then waits for the end.
fn answering_hello(bytes: &'static [u8]) -> Upstream {
    Upstream::raw(move |mut socket| {
        let mut header = [0; 5];
        socket.read_exact(&mut header).unwrap();
        let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        socket.read_exact(&mut hello).unwrap();
        socket.write_all(bytes).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    })
}

fn secure_url(upstream: &Upstream) -> String {
    upstream.url().replace("http:", "https:")
}

pub fn upstream_tls_failed() -> Line {
    for (answer, detail) in [
        // Fatal alerts: handshake_failure, protocol_version, unrecognized_name.
        (&b"\x15\x03\x03\x00\x02\x02\x28"[..], "alert 40"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "alert 70"),
        (b"\x15\x03\x03\x00\x02\x02\x70", "alert 112"),
        (
            b"",
            "closed in the middle of the TLS handshake, without any answer",
        ),
        (b"\x16\x03\x03\x00\x7a\x02", "first bytes 16 03 03 00 7a 02"),
        (b"\x16\x03\x03\x00\x04\x63\x00\x00\x00", ""),
    ] {
        let upstream = answering_hello(answer);
        let setup = trusting(&secure_url(&upstream), "");
        unconnected(&setup, Reason::UpstreamTlsFailed).with_detail(detail);
    }
    // A client certificate is requested: TLS 1.2 says so in the handshake, TLS 1.3 after it.
    let mut last = None;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let shared = Authority::shared();
        let config = config_with(shared, &["127.0.0.1"], Kind::Good, &[version], Some(shared));
        let upstream = SecureUpstream::start(config);
        let (response, line) = ask(&trusting(&upstream.url(), ""));
        is_own(&response, &line);
        let line = line.expect(Reason::UpstreamTlsFailed).with_detail("alert ");
        assert!(
            line.text("hint").contains("asks for a client certificate"),
            "{line:?}"
        );
        last = Some(line);
    }
    last.unwrap()
}

#[test]
fn a_client_certificate_is_shown_to_upstreams_that_want_one() {
    let shared = Authority::shared();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = config_with(shared, &["127.0.0.1"], Kind::Good, &[version], Some(shared));
        let upstream = SecureUpstream::start(config);
        let setup = trusting(&upstream.url(), ", cert: own.pem, key: own-key.pem");
        let folder = setup.folder();
        shared.write(folder.path(), "own", &["wsgate.internal"], Kind::Client);
        let mut proxy = setup.start_in(folder);
        let client = open(&proxy);
        close(&mut proxy, client);
    }
}

pub fn upstream_tls_timeout() -> Line {
    let upstream = Upstream::raw(|mut socket| {
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    });
    let mut setup = trusting(&secure_url(&upstream), "");
    setup.upstream += ", connect_timeout: 200ms";
    let line = unconnected(&setup, Reason::UpstreamTlsTimeout);
    let ms = line.0["attempts"][0]["ms"].as_u64().unwrap();
    assert!(ms >= 190, "{line:?}");
    upstream.all_ended();
    line.with_detail("connected in ")
        .with_detail("the TLS handshake was not complete after ")
}

/// A ServerHello of TLS 1.2 that chooses h2, which was not offered.
const CHOOSES_H2: &[u8] = b"\x16\x03\x03\x00\x3e\x02\x00\x00\x3a\x03\x03\
    0123456789abcdef0123456789abcdef\
    \x00\xc0\x2f\x00\x00\x12\
    \xff\x01\x00\x01\x00\
    \x00\x17\x00\x00\
    \x00\x10\x00\x05\x00\x03\x02h2";

pub fn upstream_alpn_h2() -> Line {
    // It has no common protocol and says so, chooses h2 anyway, or uses it without negotiation.
    let upstream = answering_hello(b"\x15\x03\x03\x00\x02\x02\x78");
    let setup = trusting(&secure_url(&upstream), "");
    unconnected(&setup, Reason::UpstreamAlpnH2).with_detail("alert 120");
    let upstream = answering_hello(CHOOSES_H2);
    let setup = trusting(&secure_url(&upstream), "");
    unconnected(&setup, Reason::UpstreamAlpnH2).with_detail("that was not offered");
    let settings: &[u8] = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64";
    let upstream = Upstream::answering(settings);
    let line = refused(&Setup::plain(&upstream.url()), &upstream).expect(Reason::UpstreamAlpnH2);
    line.with_detail("the upstream sent HTTP/2 frames; first bytes 00 00 06 04");
    let mut config = config(Authority::shared(), &["127.0.0.1"], Kind::Good);
    config.alpn_protocols = Vec::new();
    let upstream = SecureUpstream::handling(config, move |mut stream| {
        stream.write_all(settings)?;
        stream.flush()?;
        let head = secure::read_head(&mut stream)?;
        Ok((head, stream))
    });
    let (response, line) = ask(&trusting(&upstream.url(), ""));
    is_own(&response, &line);
    line.expect(Reason::UpstreamAlpnH2)
        .with_detail("the upstream sent HTTP/2 frames")
}

#[test]
fn a_request_in_clear_to_a_tls_port_is_told_however_the_port_says_it() {
    let upstream = SecureUpstream::echo();
    let clear = upstream.url().replace("https:", "http:");
    let (response, line) = ask(&Setup::plain(&clear));
    is_own(&response, &line);
    line.expect(Reason::UpstreamPlainToTlsPort)
        .with_detail("first bytes 15 03");
    for (body, detail) in [
        (
            "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n",
            "plain HTTP request was sent to HTTPS port",
        ),
        (
            "Client sent an HTTP request to an HTTPS server.\n",
            "Client sent an HTTP request to an HTTPS server",
        ),
        (
            "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n",
            "speaking plain HTTP",
        ),
    ] {
        let answer = format!("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n{body}");
        let upstream = Upstream::start(move |mut call| {
            call.write(&answer).finish().drain();
        });
        refused(&Setup::plain(&upstream.url()), &upstream)
            .expect(Reason::UpstreamPlainToTlsPort)
            .with_detail(&format!("the upstream answered 400: {detail}"));
    }
}

#[test]
fn other_answers_of_400_are_relayed_whole() {
    let body = "x".repeat(100_000);
    for head in [
        format!("Content-Length: {}\r\n", body.len()),
        "Connection: close\r\n".to_owned(),
    ] {
        let answer = format!("HTTP/1.1 400 Bad Request\r\n{head}\r\n{body}");
        let upstream = Upstream::start(move |mut call| {
            call.write(&answer).finish().drain();
        });
        let (response, line) = ask(&Setup::plain(&upstream.url()));
        assert_eq!(response.status, 400);
        assert!(response.text() == body);
        line.expect(Reason::UpstreamBadRequest);
    }
}

#[test]
fn an_endpoint_whose_tls_fails_is_skipped_for_the_next() {
    let stranger = config(
        &Authority::new("another authority"),
        &["127.0.0.1"],
        Kind::Good,
    );
    let (stranger, nobody) = (SecureUpstream::start(stranger), Nobody::new());
    let (plain, good) = (Upstream::echo(), SecureUpstream::echo());
    // Not TLS: it waits for a request that never becomes complete.
    let silent = secure_url(&plain);
    let refusing = nobody.url().replace("http:", "https:");
    let endpoints = [stranger.url(), refusing, silent, good.url()];
    let mut setup = trusting(&endpoints.join(", "), "");
    setup.upstream += ", connect_timeout: 300ms";
    let mut proxy = setup.start();
    let mut client = open(&proxy);
    frames::echoes(&mut client, "the last one");
    let opened = proxy.event("opened");
    assert_eq!(opened.notes(), ["endpoint_skipped"]);
    let outcomes: Vec<_> = attempts(&opened)
        .into_iter()
        .map(|(_, outcome)| outcome)
        .collect();
    let expected = [
        "upstream_tls_verify_failed",
        "upstream_refused",
        "upstream_tls_timeout",
        "connected",
    ];
    assert_eq!(outcomes, expected);
    close(&mut proxy, client);
}

#[test]
fn an_upstream_that_is_cut_off_below_tls_is_told_from_an_end_in_order() {
    let ends = [
        (true, "closed in order"),
        (false, "its TLS stream ended without close_notify"),
    ];
    for (in_order, detail) in ends {
        let config = config(Authority::shared(), &["127.0.0.1"], Kind::Good);
        let upstream = SecureUpstream::handling(config, move |mut stream| {
            let head = secure::switch(&mut stream)?;
            stream.write_all(&plain(BINARY, b"last"))?;
            if in_order {
                stream.conn.send_close_notify();
            }
            stream.flush()?;
            stream.sock.shutdown(Shutdown::Write)?;
            Ok((head, stream))
        });
        let mut proxy = trusting(&upstream.url(), "").start();
        let mut client = open(&proxy);
        let last = plain(BINARY, b"last");
        assert_eq!(client.receive(last.len()), last);
        // The proxy sends the client a Close.
        let rest = client.rest();
        assert!(rest.starts_with(&[CLOSE]), "{rest:?}");
        let line = proxy.terminal().expect(Reason::UpstreamEofNoClose);
        if in_order {
            assert_eq!(line.text("detail"), "");
        } else {
            line.with_detail(detail);
        }
    }
}

#[test]
fn an_upstream_whose_records_break_has_reset_the_tunnel() {
    let config = config(Authority::shared(), &["127.0.0.1"], Kind::Good);
    let upstream = SecureUpstream::handling(config, |mut stream| {
        let head = secure::switch(&mut stream)?;
        // After the 101, not together with it.
        stream.read_exact(&mut [0; 6])?;
        stream
            .sock
            .write_all(b"\x17\x03\x03\x00\x20garbage that nobody has encrypted")?;
        Ok((head, stream))
    });
    let mut proxy = trusting(&upstream.url(), "").start();
    let mut client = open(&proxy);
    client.send(masked(BINARY, []));
    client.rest();
    proxy
        .terminal()
        .expect(Reason::UpstreamReset)
        .with_detail("decrypt");
}

#[test]
fn dead_upstreams_behind_tls_are_found_too() {
    let upstream = SecureUpstream::echo();
    let proxy = trusting(&upstream.url(), "").start();
    let mut client = open(&proxy);
    frames::echoes(&mut client, "alive");
    // The kernel's keepalive timer is set on the proxy's socket toward the upstream.
    let timers = || {
        let text = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let port = format!("{:04X}", upstream.address().port());
        let of_proxy = text.lines().find_map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let remote = columns.get(2)?;
            let is_open = columns.get(3)? == &"01";
            (remote.ends_with(&port) && is_open).then(|| columns[5].to_owned())
        });
        of_proxy.filter(|timer| timer.starts_with("02:"))
    };
    eventually("the keepalive timer", timers);
}

#[test]
fn files_that_can_not_be_used_are_told_with_their_place() {
    let setup = Setup {
        upstream: ", tls: { ca: missing.pem, cert: good.pem, key: other-key.pem }".to_owned(),
        extra: "  other: { endpoints: [\"https://a\"], tls: { ca: garbage.pem } }\n  third: { endpoints: [\"https://a\"], tls: { cert: good.pem, key: good.pem } }\n".to_owned(),
        limits: String::new(),
        shutdown: String::new(),
        log: String::new(),
        ..Setup::plain("https://127.0.0.1:8443")
    };
    let folder = setup.folder();
    let shared = Authority::shared();
    shared.write(folder.path(), "other", &["localhost"], Kind::Good);
    std::fs::write(folder.path().join("garbage.pem"), "nothing").unwrap();
    let (code, out, err) = run(&["check", "--config", "proxy.yaml"], folder.path());
    let said = out + &err;
    assert_eq!(code, 2, "{said}");
    for part in [
        "upstreams.app.tls.ca: can't read missing.pem: ",
        "upstreams.other.tls.ca: garbage.pem holds no certificate",
        "upstreams.third.tls.key: good.pem holds no private key",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let setup = trusting(
        "https://127.0.0.1:8443",
        ", cert: good.pem, key: other-key.pem",
    );
    std::fs::write(folder.path().join("proxy.yaml"), setup.yaml()).unwrap();
    let (code, out, err) = run(&["check", "--config", "proxy.yaml"], folder.path());
    let said = out + &err;
    assert_eq!(code, 2, "{said}");
    let told =
        "upstreams.app.tls.key: other-key.pem is not the key of the first certificate in good.pem";
    assert!(said.contains(told), "{said}");
}

#[test]
fn a_listener_of_its_own_is_no_endpoint_whatever_the_scheme() {
    let yaml = "listeners:\n  - address: 127.0.0.1:8443\n    tls: { certificates: [{ cert: good.pem, key: good-key.pem }] }\n\
                routes:\n  - { path: /ws, websocket: { origins: [https://a.example] }, upstream: app }\n\
                upstreams:\n  app: { endpoints: [\"https://localhost:8443\"], tls: { ca: ca.pem } }\n";
    let folder = Setup::plain("builtin:echo").folder();
    std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let (code, out, err) = run(&["check", "--config", "proxy.yaml"], folder.path());
    let said = out + &err;
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains(
            "upstreams.app.endpoints[0]: found \"https://localhost:8443\", which is listeners[0]"
        ),
        "{said}"
    );
}

#[test]
fn a_client_may_give_up_during_the_tls_handshake() {
    let upstream = Upstream::raw(|mut socket| {
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    });
    let mut setup = trusting(&secure_url(&upstream), "");
    setup.upstream += ", connect_timeout: 30s";
    let mut proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    client.send(handshake("/ws", &[]));
    eventually("the dial", || (upstream.connections() == 1).then_some(()));
    client.finish();
    let line = proxy.terminal().expect(Reason::ClientGaveUp);
    assert!(line.number("status").is_none());
    upstream.all_ended();
}
