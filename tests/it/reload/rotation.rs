//! Certificates that are replaced by others that are not yet valid, or no longer.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::SystemTime;

use time::Duration;
use wsgate::reason::Reason;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificates::{put, renewed, shown};
use super::{ECHO, problems};
use crate::harness::certs::{Authority, Kind};
use crate::harness::client::trusting;
use crate::harness::proxy::HOST;
use crate::harness::scrape::Scrape;
use crate::harness::scrape::until;
use crate::harness::secure::{SecureUpstream, config_with};
use crate::harness::{Client, Line, Proxy, Setup, eventually, handshake};

const REFUSED: &str = "wsgate_certificates_refused";
/// Enough time to check the files on a busy machine.
const SOON: Duration = Duration::seconds(12);

fn day() -> Duration {
    Duration::days(1)
}

fn expired() -> (String, String) {
    Authority::shared().issue(&[HOST], Kind::Expired)
}

/// A valid certificate, and services that report how many are refused.
fn setup() -> Setup {
    Setup {
        extra: "probes: { address: '127.0.0.1:0' }\nadmin: { address: '127.0.0.1:0' }\n".to_owned(),
        ..Setup::tls(ECHO)
    }
}

fn start(setup: &Setup) -> Proxy {
    Proxy::spawn(setup.folder(), None, 3)
}

/// "serial S, expires T" as in a record, for the first certificate of a file.
fn named((certificate, _): &(String, String)) -> String {
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).unwrap();
    let (_, parsed) = X509Certificate::from_der(&pem.contents).unwrap();
    let serial = parsed.serial.to_bytes_be();
    let serial: String = serial.iter().map(|byte| format!("{byte:02X}")).collect();
    let expires = u64::try_from(parsed.validity().not_after.timestamp()).unwrap();
    let expires = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(expires);
    let expires = humantime::format_rfc3339_seconds(expires);
    format!("serial {serial}, expires {expires}")
}

#[track_caller]
fn says(line: &Line, parts: &[&str]) {
    for part in parts {
        assert!(line.text("detail").contains(part), "{part}: {line:?}");
    }
}

#[track_caller]
fn has_problem(line: &Line, part: &str) {
    let problems = problems(line);
    assert!(
        problems.iter().any(|problem| problem.contains(part)),
        "{part}: {line:?}"
    );
}

#[test]
fn an_expired_certificate_does_not_replace_a_valid_one() {
    let proxy = start(&setup());
    let before = shown(&proxy);
    put(proxy.folder(), "good", &expired());
    let line = proxy.event("certificate_refused");
    assert_eq!(line.text("level"), "warn");
    says(
        &line,
        &[
            "files changed: not valid now",
            "good.pem",
            "; in use: serial ",
        ],
    );
    has_problem(&line, "expired on");
    assert!(
        line.text("hint")
            .contains("when the certificate in use expires"),
        "{line:?}"
    );
    until(&proxy, REFUSED, &[], 1.0);
    assert_eq!(shown(&proxy), before);
    proxy.signal("HUP");
    let line = proxy.event_number("certificate_refused", 2);
    says(&line, &["SIGHUP: not valid now"]);
    assert_eq!(shown(&proxy), before);
    let next = renewed();
    put(proxy.folder(), "good", &next);
    let line = proxy.event("certificate_reloaded");
    says(&line, &["good.pem", &named(&next)]);
    until(&proxy, REFUSED, &[], 0.0);
    assert_ne!(shown(&proxy), before);
    proxy.stop();
}

#[test]
fn a_certificate_goes_live_by_itself_when_it_becomes_valid() {
    let proxy = start(&setup());
    let before = shown(&proxy);
    let next = Authority::shared().issue_between(&[HOST], SOON, day());
    put(proxy.folder(), "good", &next);
    proxy.signal("HUP");
    let line = proxy.event("certificate_refused");
    has_problem(&line, "is not valid before");
    assert!(
        line.text("hint").contains("when it becomes valid"),
        "{line:?}"
    );
    assert_eq!(shown(&proxy), before);
    until(&proxy, REFUSED, &[], 1.0);
    let line = proxy.event("certificate_reloaded");
    says(
        &line,
        &["a certificate was due: in use now: ", &named(&next)],
    );
    // A client that verifies it accepts it.
    assert_ne!(shown(&proxy), before);
    until(&proxy, REFUSED, &[], 0.0);
    let lines = proxy.stop();
    let of = |event| {
        lines
            .iter()
            .filter(|line| line.text("event") == event)
            .count()
    };
    assert_eq!(
        (of("certificate_refused"), of("certificate_reloaded")),
        (1, 1)
    );
}

#[test]
fn an_expired_certificate_is_taken_when_the_one_before_expires_too() {
    let setup = setup();
    let folder = setup.folder();
    put(
        folder.path(),
        "good",
        &Authority::shared().issue_for(&[HOST], SOON),
    );
    let proxy = Proxy::spawn(folder, None, 3);
    let next = expired();
    put(proxy.folder(), "good", &next);
    proxy.signal("HUP");
    proxy.event("certificate_refused");
    let line = proxy.event("certificate_reloaded");
    says(
        &line,
        &["a certificate was due: in use now: ", &named(&next)],
    );
    assert_eq!(line.text("level"), "warn");
    has_problem(&line, "expired on");
    until(&proxy, REFUSED, &[], 0.0);
    let refused = Client::tls_with(proxy.address(), HOST, trusting()).map(drop);
    let refused = refused.map_err(|error: io::Error| error.to_string());
    assert!(refused.is_err_and(|error| error.contains("expired")));
    proxy.stop();
}

/// `setup` with these certificates instead of its own, by the names of their files.
fn naming(names: &[&str]) -> Setup {
    let entry = |name: &&str| format!("{{ cert: {name}.pem, key: {name}-key.pem }}");
    let entries: Vec<_> = names.iter().map(entry).collect();
    Setup {
        tls: Some(format!("certificates: [{}]", entries.join(", "))),
        origins: "[https://app.example.com, https://other.example.com]".to_owned(),
        ..setup()
    }
}

/// The expired certificate is configured instead of the valid one, or in addition to it.
#[test]
fn an_expired_certificate_at_another_path_does_not_replace_a_valid_one() {
    for names in [&["next"][..], &["next", "good"]] {
        let proxy = start(&setup());
        let before = shown(&proxy);
        put(proxy.folder(), "next", &expired());
        let line = proxy.reload(&naming(names));
        assert!(!line.text("detail").contains("serial"), "{line:?}");
        let line = proxy.event("certificate_refused");
        says(&line, &["not valid now", "next.pem", "; in use: serial "]);
        has_problem(&line, "expired on");
        until(&proxy, REFUSED, &[], 1.0);
        assert_eq!(shown(&proxy), before);
        let other = "https://other.example.com";
        let request = handshake("/ws", &[]).replace("https://app.example.com", other);
        let mut client = Client::tls(proxy.address());
        assert_eq!(client.send(request).response().status, 101);
        // It stays after the next reload, too.
        let mut edited = naming(names);
        edited.path = "/edited".to_owned();
        proxy.reload(&edited);
        assert_eq!(shown(&proxy), before);
        let next = renewed();
        put(proxy.folder(), "next", &next);
        says(&proxy.event("certificate_reloaded"), &[&named(&next)]);
        until(&proxy, REFUSED, &[], 0.0);
        assert_ne!(shown(&proxy), before);
        proxy.stop();
    }
}

#[test]
fn a_certificate_at_another_path_goes_live_by_itself() {
    let proxy = start(&setup());
    let before = shown(&proxy);
    let next = Authority::shared().issue_between(&[HOST], SOON, day());
    put(proxy.folder(), "next", &next);
    proxy.reload(&naming(&["next"]));
    assert_eq!(shown(&proxy), before);
    let line = proxy.event("certificate_reloaded");
    says(
        &line,
        &["a certificate was due: in use now: ", &named(&next)],
    );
    assert_ne!(shown(&proxy), before);
    proxy.stop();
}

/// It does not replace a valid certificate for its names, so it is used, as it would be at the start.
#[test]
fn an_expired_certificate_for_another_host_is_taken() {
    let proxy = start(&setup());
    let other = Authority::shared().issue(&["other.example.com"], Kind::Expired);
    put(proxy.folder(), "next", &other);
    let line = proxy.reload(&naming(&["good", "next"]));
    says(&line, &[&named(&other)]);
    assert_eq!(proxy.events("certificate_refused"), 0);
    proxy.stop();
}

/// The mode of client authentication can be changed while the authorities' file is bad.
#[test]
fn authorities_that_are_bad_do_not_block_another_mode() {
    let clients = Authority::new("client authority");
    let asking = |mode: &str| Setup {
        tls: Some(format!(
            "certificates: [{{ cert: good.pem, key: good-key.pem }}]\nclient_auth: {{ ca: clients.pem, mode: {mode} }}"
        )),
        ..setup()
    };
    let folder = asking("required").folder();
    fs::write(folder.path().join("clients.pem"), clients.pem()).unwrap();
    let mut proxy = Proxy::spawn(folder, None, 3);
    let without = |proxy: &Proxy| {
        let client = Client::tls_with(proxy.address(), HOST, trusting());
        let mut client = client.map_err(drop)?;
        client
            .write_all(handshake("/ws", &[]).as_bytes())
            .map_err(drop)?;
        client.read(&mut [0; 12]).map_err(drop)
    };
    assert!(without(&proxy).is_err());
    proxy.terminal().expect(Reason::TlsClientCertMissing);
    fs::write(proxy.folder().join("clients.pem"), "nonsense").unwrap();
    proxy.reload(&asking("optional"));
    let line = proxy.event("certificate_refused");
    has_problem(&line, "holds no certificate");
    assert!(without(&proxy).is_ok());
    proxy.terminal();
    proxy.reload(&asking("required"));
    assert!(without(&proxy).is_err());
    proxy.terminal().expect(Reason::TlsClientCertMissing);
    proxy.stop();
}

/// The last good certificate stays while the rest of a new configuration is applied.
#[test]
fn a_bad_certificate_does_not_block_another_configuration() {
    let with = |origin: &str| Setup {
        origins: format!("[https://app.example.com, {origin}]"),
        ..setup()
    };
    let proxy = start(&with("https://one.example.com"));
    let before = shown(&proxy);
    let (certificate, key) = renewed();
    let broken = [
        ((certificate, renewed().1), "is not the key of"),
        (("nonsense".to_owned(), key), "holds no certificate"),
        (expired(), "expired on"),
    ];
    for (count, (bad, word)) in (1..).zip(&broken) {
        put(proxy.folder(), "good", bad);
        let origin = format!("https://n{count}.example.com");
        let line = proxy.reload(&with(&origin));
        assert_eq!(line.number("generation"), Some(count + 1));
        assert!(!line.text("detail").contains("serial"), "{line:?}");
        let line = proxy.event_number("certificate_refused", usize::try_from(count).unwrap());
        has_problem(&line, word);
        assert_eq!(line.number("generation"), Some(count + 1));
        until(&proxy, REFUSED, &[], 1.0);
        assert_eq!(shown(&proxy), before);
        let mut client = Client::tls(proxy.address());
        let request = handshake("/ws", &[]).replace("https://app.example.com", &origin);
        assert_eq!(client.send(request).response().status, 101);
    }
    // Without a signal, and while it stays bad.
    fs::remove_file(proxy.folder().join("good.pem")).unwrap();
    proxy.write(&with("https://last.example.com").yaml());
    proxy.event_number("reloaded", broken.len() + 1);
    let line = proxy.event_number("certificate_refused", broken.len() + 1);
    has_problem(&line, "can't read");
    assert_eq!(shown(&proxy), before);
    let next = renewed();
    put(proxy.folder(), "good", &next);
    says(&proxy.event("certificate_reloaded"), &[&named(&next)]);
    until(&proxy, REFUSED, &[], 0.0);
    assert_ne!(shown(&proxy), before);
    proxy.stop();
}

#[test]
fn a_reload_names_the_certificates_that_it_took() {
    let proxy = setup().start_bound(setup().folder(), 3);
    let before = shown(&proxy);
    let next = renewed();
    put(proxy.folder(), "good", &next);
    let line = proxy.reload(&Setup {
        path: "/other".to_owned(),
        ..setup()
    });
    says(
        &line,
        &[
            "changed: routes; certificate in ",
            "good.pem: ",
            &named(&next),
        ],
    );
    assert_eq!(proxy.events("certificate_reloaded"), 0);
    assert_ne!(shown(&proxy), before);
    proxy.stop();
}

#[test]
fn listeners_that_share_files_report_once() {
    // The probes come after both listeners.
    let count = |proxy: &Proxy| Scrape::of(proxy.addresses()[2]).sum(REFUSED, &[]);
    let yaml = setup().yaml();
    let tls = "tls: { certificates: [{ cert: good.pem, key: good-key.pem }] }";
    let more = format!("  - {{ address: '127.0.0.1:0', {tls} }}\nroutes:");
    let folder = setup().folder();
    fs::write(
        folder.path().join("proxy.yaml"),
        yaml.replacen("routes:", &more, 1),
    )
    .unwrap();
    let proxy = Proxy::spawn(folder, None, 4);
    put(
        proxy.folder(),
        "good",
        &("nonsense".to_owned(), String::new()),
    );
    let line = proxy.event("certificate_refused");
    assert_eq!(problems(&line).len(), 2, "{line:?}");
    eventually("a count", || (count(&proxy) == 1.0).then_some(()));
    put(proxy.folder(), "good", &renewed());
    proxy.event("certificate_reloaded");
    eventually("none", || (count(&proxy) == 0.0).then_some(()));
    let lines = proxy.stop();
    for event in ["certificate_refused", "certificate_reloaded"] {
        let count = lines
            .iter()
            .filter(|line| line.text("event") == event)
            .count();
        assert_eq!(count, 1, "{event}");
    }
}

#[test]
fn upstreams_are_shown_the_valid_certificate_as_well() {
    let shared = Authority::shared();
    let config = config_with(
        shared,
        &["127.0.0.1"],
        Kind::Good,
        rustls::ALL_VERSIONS,
        Some(shared),
    );
    let upstream = SecureUpstream::start(config);
    let mut setup = Setup::plain(&upstream.url());
    setup.upstream = ", tls: { ca: ca.pem, cert: own.pem, key: own-key.pem }".to_owned();
    let folder = setup.folder();
    let put_own = |folder: &Path, kind| put(folder, "own", &shared.issue(&["proxy"], kind));
    put_own(folder.path(), Kind::Client);
    let proxy = setup.start_in(folder);
    assert_eq!(super::status(&proxy, "/ws"), 101);
    put_own(proxy.folder(), Kind::ExpiredClient);
    let line = proxy.event("certificate_refused");
    has_problem(&line, "upstreams refuse it");
    assert_eq!(super::status(&proxy, "/ws"), 101);
    // It also stays with another configuration, even one of this upstream.
    setup.upstream =
        ", tls: { ca: ca.pem, server_name: localhost, cert: own.pem, key: own-key.pem }".to_owned();
    fs::write(proxy.folder().join("own-key.pem"), "nonsense").unwrap();
    proxy.reload(&setup);
    let line = proxy.event_number("certificate_refused", 2);
    has_problem(&line, "holds no private key");
    // It is valid only for 127.0.0.1.
    assert_eq!(super::status(&proxy, "/ws"), 502);
    setup.upstream = ", tls: { ca: ca.pem, cert: own.pem, key: own-key.pem }".to_owned();
    proxy.reload(&setup);
    assert_eq!(super::status(&proxy, "/ws"), 101);
    put(
        proxy.folder(),
        "next",
        &shared.issue(&["proxy"], Kind::ExpiredClient),
    );
    setup.upstream = ", tls: { ca: ca.pem, cert: next.pem, key: next-key.pem }".to_owned();
    proxy.reload(&setup);
    let line = proxy.event_number("certificate_refused", 4);
    says(&line, &["not valid now", "next.pem"]);
    assert_eq!(super::status(&proxy, "/ws"), 101);
    proxy.stop();
}
