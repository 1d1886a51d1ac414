use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use time::Duration;
use wsgate::reason::Reason;

use super::{ECHO, problems};
use crate::harness::certs::{Authority, Kind, write_private};
use crate::harness::client::{is_read, trusting};
use crate::harness::proxy::{HOST, run};
use crate::harness::secure::{SecureUpstream, config};
use crate::harness::{Client, Line, Origin, Proxy, Setup, eventually, frames, handshake};

/// The certificate that a new client is shown.
pub(super) fn shown(proxy: &Proxy) -> CertificateDer<'static> {
    let Client::Tls(stream) = Client::tls(proxy.address()) else {
        unreachable!();
    };
    stream.conn.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

/// Replaces `NAME.pem` and `NAME-key.pem` with this certificate and key.
pub(super) fn put(folder: &Path, name: &str, (certificate, key): &(String, String)) {
    for (file, text) in [
        (format!("{name}.pem"), certificate),
        (format!("{name}-key.pem"), key),
    ] {
        let next = folder.join("next");
        write_private(&next, text);
        fs::rename(&next, folder.join(file)).unwrap();
    }
}

pub(super) fn renewed() -> (String, String) {
    Authority::shared().issue(&[HOST, "localhost", "127.0.0.1"], Kind::Good)
}

#[test]
fn a_renewed_certificate_is_served_without_a_signal_and_no_tunnel_ends() {
    let mut proxy = Setup::tls(ECHO).start();
    let mut tunnel = Client::tls(proxy.address());
    assert_eq!(tunnel.send(handshake("/ws", &[])).response().status, 101);
    let before = shown(&proxy);
    proxy.terminal();
    put(proxy.folder(), "good", &renewed());
    let line = proxy.event("certificate_reloaded");
    assert_eq!(line.text("level"), "info");
    assert!(line.text("detail").contains("good.pem"), "{line:?}");
    assert_eq!(
        line.number("generation"),
        Some(1),
        "the configuration is the same"
    );
    assert_ne!(shown(&proxy), before);
    frames::echoes(&mut tunnel, "still here");
    let lines = proxy.stop();
    assert!(lines.iter().all(|line| line.text("event") != "reloaded"));
}

#[test]
fn the_last_good_certificate_stays_where_the_new_one_is_bad() {
    let proxy = Setup::tls(ECHO).start();
    let before = shown(&proxy);
    let (certificate, key) = renewed();
    let another = renewed().1;
    let mut refused = 0;
    for (bad, word) in [
        ((certificate.clone(), another), "is not the key of"),
        (("nonsense".to_owned(), key.clone()), "holds no certificate"),
        ((certificate.clone(), String::new()), "holds no private key"),
    ] {
        put(proxy.folder(), "good", &bad);
        proxy.signal("HUP");
        refused += 1;
        let line = proxy.event_number("certificate_refused", refused);
        assert_eq!(line.text("level"), "warn");
        assert!(!line.text("hint").is_empty());
        assert!(
            problems(&line).iter().any(|problem| problem.contains(word)),
            "{line:?}"
        );
        assert_eq!(shown(&proxy), before);
    }
    fs::remove_file(proxy.folder().join("good.pem")).unwrap();
    proxy.signal("HUP");
    let line = proxy.event_number("certificate_refused", refused + 1);
    assert!(problems(&line)[0].contains("can't read"), "{line:?}");
    assert_eq!(shown(&proxy), before);
    put(proxy.folder(), "good", &(certificate, key));
    proxy.event("certificate_reloaded");
    assert_ne!(shown(&proxy), before);
    proxy.stop();
}

/// One bad file does not block the others.
#[test]
fn certificates_are_renewed_one_by_one() {
    let mut setup = Setup::tls(ECHO);
    setup.tls = Some(
        "certificates: [{ cert: good.pem, key: good-key.pem }, { cert: other.pem, key: other-key.pem }]".to_owned(),
    );
    let folder = setup.folder();
    Authority::shared().write(folder.path(), "other", &["other.example.com"], Kind::Good);
    let proxy = setup.start_in(folder);
    let before = shown(&proxy);
    put(
        proxy.folder(),
        "other",
        &("nonsense".to_owned(), "nonsense".to_owned()),
    );
    put(proxy.folder(), "good", &renewed());
    proxy.signal("HUP");
    proxy.event("certificate_reloaded");
    let line = proxy.event("certificate_refused");
    assert!(line.text("detail").contains("other.pem"), "{line:?}");
    assert_ne!(shown(&proxy), before);
    let other = Client::tls_with(proxy.address(), "other.example.com", trusting());
    assert!(other.is_ok(), "the one from before is still served");
    proxy.stop();
}

/// A bad configuration does not block the renewal of certificates.
#[test]
fn certificates_are_renewed_while_the_file_is_refused() {
    let proxy = Setup::tls(ECHO).start();
    let before = shown(&proxy);
    proxy.write("listeners: [");
    proxy.signal("HUP");
    proxy.event("reload_refused");
    put(proxy.folder(), "good", &renewed());
    proxy.event("certificate_reloaded");
    assert_ne!(shown(&proxy), before);
    proxy.stop();
}

/// A configuration that names a missing certificate is applied when the certificate appears.
#[test]
fn a_missing_certificate_is_waited_for() {
    let proxy = Setup::tls(ECHO).start();
    let mut setup = Setup::tls(ECHO);
    setup.tls = Some("certificates: [{ cert: new.pem, key: new-key.pem }]".to_owned());
    proxy.write(&setup.yaml());
    proxy.signal("HUP");
    let line = proxy.event("reload_refused");
    assert!(problems(&line)[0].contains("can't read"), "{line:?}");
    put(proxy.folder(), "new", &renewed());
    let line = proxy.event("reloaded");
    assert_eq!(line.number("generation"), Some(2));
    shown(&proxy);
    proxy.stop();
}

/// A certificate that the proxy makes itself is not a change, neither at the start nor later.
#[test]
fn a_development_certificate_is_no_change() {
    let setup = |path: &str| Setup {
        tls: Some("self_signed: true".to_owned()),
        path: path.to_owned(),
        ..Setup::plain(ECHO)
    };
    let proxy = setup("/one").start();
    proxy.signal("HUP");
    proxy.event("reload_unchanged");
    fs::remove_file(proxy.folder().join("certs/dev.pem")).unwrap();
    fs::remove_file(proxy.folder().join("certs/dev-key.pem")).unwrap();
    proxy.signal("HUP");
    proxy.event("certificate_reloaded");
    proxy.signal("HUP");
    proxy.event_number("reload_unchanged", 2);
    proxy.reload(&setup("/two"));
    let lines = proxy.stop();
    let renewed = lines
        .iter()
        .filter(|line| line.text("event") == "certificate_reloaded");
    assert_eq!(renewed.count(), 1);
}

/// Whether the second of two handshakes resumed the session of the first, and both were admitted.
fn resumes(proxy: &Proxy, config: &ClientConfig) -> bool {
    let mut client = Client::tls_with(proxy.address(), HOST, config.clone()).unwrap();
    let status = client.send(handshake("/ws", &[])).response().status;
    assert_eq!(status, 101);
    let Client::Tls(stream) = &client else {
        unreachable!();
    };
    stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[test]
fn sessions_go_on_while_nothing_about_tls_changes_and_end_when_it_does() {
    let setup = |origins: &str, tls: &str| Setup {
        origins: format!("[https://app.example.com{origins}]"),
        tls: Some(format!(
            "certificates: [{{ cert: good.pem, key: good-key.pem }}]{tls}"
        )),
        ..Setup::tls(ECHO)
    };
    let proxy = setup("", "").start();
    let config = trusting();
    assert!(!resumes(&proxy, &config));
    assert!(resumes(&proxy, &config));
    proxy.reload(&setup(", https://other.example.com", ""));
    assert!(
        resumes(&proxy, &config),
        "thousands of clients need no full handshake after a reload"
    );
    proxy.reload(&setup("", "\nunknown_sni: default"));
    assert!(!resumes(&proxy, &config));
    proxy.stop();
}

/// Listeners with the same address in the file, whose ports the system chooses.
#[test]
fn listeners_whose_ports_the_system_chooses_stay_who_they_are() {
    let tls = "tls: { certificates: [{ cert: good.pem, key: good-key.pem }] }";
    let setup = |comment: &str| {
        let yaml = Setup::plain(ECHO).yaml();
        let (head, routes) = yaml.split_once("routes:").unwrap();
        let one = format!("  - {{ address: '127.0.0.1:0', {tls} }}\n");
        assert!(head.contains("listeners:"), "{head}");
        format!("{comment}listeners:\n{one}{one}routes:{routes}")
    };
    let folder = Setup::tls(ECHO).folder();
    fs::write(folder.path().join("proxy.yaml"), setup("")).unwrap();
    let proxy = Proxy::spawn(folder, None, 2);
    proxy.write(&setup("# the same\n"));
    proxy.signal("HUP");
    proxy.event("reload_unchanged");
    assert_eq!(proxy.events("reloaded"), 0);
    proxy.stop();
}

/// Old sessions and connections can't avoid a newly required client certificate.
#[test]
fn client_auth_is_not_resumed_around() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let clients = Authority::new("client authority");
        let setup = |client_auth: &str| Setup {
            tls: Some(format!(
                "certificates: [{{ cert: good.pem, key: good-key.pem }}]{client_auth}"
            )),
            routes: "  - { path: /a, http: {}, upstream: app }\n".to_owned(),
            ..Setup::tls(&origin.url())
        };
        let folder = setup("").folder();
        fs::write(folder.path().join("clients.pem"), clients.pem()).unwrap();
        let mut proxy = setup("").start_in(folder);
        let mut roots = RootCertStore::empty();
        roots.add(Authority::shared().der()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::clone(trusting().crypto_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let get = "GET /a HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
        let mut kept = Client::tls_with(proxy.address(), HOST, config.clone()).unwrap();
        assert_eq!(kept.send(get).response().status, 200);
        proxy.terminal();
        let mut secured = Client::tls_with(proxy.address(), HOST, config.clone()).unwrap();
        proxy.reload(&setup("\nclient_auth: { ca: clients.pem, mode: required }"));
        // The open connection has not shown one.
        assert_eq!(kept.rest(), b"");
        // Neither has a connection without a request.
        assert_eq!(secured.send(handshake("/ws", &[])).response().status, 503);
        proxy.terminal().expect(Reason::ListenerChanged);
        let refused = |proxy: &mut Proxy| -> Line {
            if let Ok(mut client) = Client::tls_with(proxy.address(), HOST, config.clone()) {
                // It may be cut off before that.
                let _ = client.write_all(handshake("/ws", &[]).as_bytes());
                assert!(client.read(&mut [0]).is_err());
            }
            proxy.terminal().expect(Reason::TlsClientCertMissing)
        };
        refused(&mut proxy);
        // A session from the time of another authority does not count either.
        let others = Authority::new("another client authority");
        fs::write(proxy.folder().join("clients.pem"), others.pem()).unwrap();
        proxy.event("certificate_reloaded");
        refused(&mut proxy);
        proxy.stop();
    }
}

pub(crate) fn listener_changed() -> Line {
    let mut setup = Setup {
        extra: "trusted_proxies: [127.0.0.1/32]\n".to_owned(),
        ..Setup::plain(ECHO)
    };
    let mut proxy = setup.start();
    let mut client = Client::plain(proxy.address());
    client.send("G");
    eventually("it to be read", || is_read(client.tcp()).then_some(()));
    setup.listener = "proxy_protocol: required".to_owned();
    proxy.reload(&setup);
    let response = client.send(&handshake("/ws", &[])[1..]).response();
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").is_some());
    proxy.terminal()
}

#[test]
fn an_upstream_with_another_authority_is_trusted_without_a_restart() {
    let authority = Authority::new("upstream authority");
    let upstream = SecureUpstream::start(config(&authority, &["127.0.0.1"], Kind::Good));
    let mut setup = Setup::plain(&upstream.url());
    setup.upstream = ", tls: { ca: upstream.pem }".to_owned();
    let folder = setup.folder();
    fs::write(
        folder.path().join("upstream.pem"),
        Authority::shared().pem(),
    )
    .unwrap();
    let mut proxy = setup.start_in(folder);
    let status = |proxy: &Proxy| super::status(proxy, "/ws");
    assert_eq!(status(&proxy), 502);
    proxy.terminal().expect(Reason::UpstreamTlsVerifyFailed);
    fs::write(proxy.folder().join("upstream.pem"), authority.pem()).unwrap();
    proxy.event("certificate_reloaded");
    assert_eq!(status(&proxy), 101);
    proxy.stop();
}

#[test]
fn what_expires_soon_is_told_in_time() {
    let authority = Authority::shared();
    for (left, word) in [
        (Duration::days(29), Some("in 28 days")),
        (Duration::days(6), Some("in 5 days")),
        (Duration::hours(12), Some("in 11 hours")),
        (-Duration::days(1), Some("expired at")),
        (Duration::days(60), None),
    ] {
        let setup = Setup::tls(ECHO);
        let folder = setup.folder();
        put(folder.path(), "good", &authority.issue_for(&[HOST], left));
        let proxy = setup.start_in(folder);
        match word {
            Some(word) => {
                let line = proxy.event("certificate_expiring");
                assert_eq!(line.text("level"), "warn");
                assert!(line.text("detail").contains(word), "{line:?}");
                // A renewed certificate needs no warning.
                put(
                    proxy.folder(),
                    "good",
                    &authority.issue_for(&[HOST], Duration::days(60)),
                );
                proxy.event("certificate_reloaded");
                assert_eq!(proxy.events("certificate_expiring"), 1);
                proxy.stop();
            }
            None => {
                // The first check happens before the first client is served.
                shown(&proxy);
                proxy.signal("HUP");
                proxy.event("reload_unchanged");
                let lines = proxy.stop();
                assert!(
                    lines
                        .iter()
                        .all(|line| line.text("event") != "certificate_expiring")
                );
            }
        }
    }
}

/// Otherwise an operator would learn of a bad one only when an upstream refuses it.
#[test]
fn what_upstreams_are_shown_is_told_as_well() {
    let setup = Setup {
        upstream: ", tls: { ca: good.pem, cert: own.pem, key: own-key.pem }".to_owned(),
        ..Setup::tls("https://127.0.0.1:1")
    };
    let folder = setup.folder();
    let put_own = |folder: &Path, left| {
        put(folder, "own", &Authority::shared().issue_for(&[HOST], left));
    };
    put_own(folder.path(), -Duration::days(1));
    let (code, said, _) = run(&["check"], folder.path());
    assert_eq!(code, 0);
    let place = "warning: upstreams.app.tls.cert: the certificate in ";
    assert!(said.contains(place), "{said}");
    assert!(said.contains("; upstreams refuse it: renew it"), "{said}");
    let proxy = setup.start_in(folder);
    let line = proxy.event("certificate_expiring");
    let detail = line.text("detail");
    assert!(detail.contains("own.pem expired at"), "{detail}");
    assert!(detail.contains("upstreams refuse it"), "{detail}");
    put_own(proxy.folder(), Duration::days(6));
    let line = proxy.event_number("certificate_expiring", 2);
    assert!(line.text("detail").contains("in 5 days"), "{line:?}");
    proxy.stop();
}

/// It is valid, so it is used; but no client of the route can connect with it.
#[test]
fn a_certificate_that_is_renewed_for_another_name_is_warned_of() {
    let setup = Setup {
        host: Some(HOST.to_owned()),
        ..Setup::tls(ECHO)
    };
    let proxy = setup.start();
    let other = Authority::shared().issue(&["other.example"], Kind::Good);
    put(proxy.folder(), "good", &other);
    let line = proxy.event("certificate_reloaded");
    assert_eq!(line.text("level"), "warn");
    let told = problems(&line);
    let expected = format!("routes[0].host: no certificate covers \"{HOST}\"");
    assert!(told[0].contains(&expected), "{told:?}");
    put(proxy.folder(), "good", &renewed());
    let line = proxy.event_number("certificate_reloaded", 2);
    assert_eq!(line.text("level"), "info");
    proxy.stop();
}
