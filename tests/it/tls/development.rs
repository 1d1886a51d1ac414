//! `self_signed: true`: the certificate that the proxy makes itself.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use wsgate::reason::Reason;

use crate::harness::certs::{Authority, Kind};
use crate::harness::proxy::program;
use crate::harness::{Client, Proxy, Setup};

const CERT: &str = "certs/dev.pem";
const KEY: &str = "certs/dev-key.pem";

fn start(folder: TempDir) -> Proxy {
    let mut setup = Setup::plain("builtin:echo");
    setup.tls = Some("self_signed: true".to_owned());
    setup.start_in(folder)
}

/// A folder with these files, which the proxy would otherwise make.
fn prepared(cert: &str, key: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("certs")).unwrap();
    fs::write(folder.path().join(CERT), cert).unwrap();
    fs::write(folder.path().join(KEY), key).unwrap();
    folder
}

fn files(folder: &Path) -> [String; 2] {
    [CERT, KEY].map(|name| fs::read_to_string(folder.join(name)).unwrap())
}

/// A client that trusts the file's certificate succeeds with each of its names.
fn assert_serves(mut proxy: Proxy) {
    let certificate = CertificateDer::from_pem_file(proxy.folder().join(CERT)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    for name in ["localhost", "127.0.0.1", "::1"] {
        drop(Client::tls_with(proxy.address(), name, config.clone()).unwrap());
        proxy.terminal().expect(Reason::TlsClosedUnused);
    }
}

#[test]
fn a_development_certificate_is_made_with_a_key_that_only_its_user_can_read() {
    let proxy = start(tempfile::tempdir().unwrap());
    let mode = |name| {
        let file = fs::metadata(proxy.folder().join(name)).unwrap();
        file.permissions().mode() & 0o777
    };
    assert_eq!(mode(KEY), 0o600);
    assert_eq!(mode(CERT), 0o644);
    let names = fs::read_dir(proxy.folder().join("certs")).unwrap();
    assert_eq!(names.count(), 2, "nothing else is left behind");
    assert_serves(proxy);
}

#[test]
fn a_good_development_certificate_is_kept() {
    let first = start(tempfile::tempdir().unwrap());
    let [cert, key] = files(first.folder());
    let second = start(prepared(&cert, &key));
    assert_eq!(files(second.folder()), [cert, key]);
    assert_serves(second);
}

#[test]
fn a_development_certificate_that_is_of_no_use_is_made_anew() {
    let authority = Authority::shared();
    let names = ["localhost", "127.0.0.1", "::1"];
    let (expired, its_key) = authority.issue(&names, Kind::Expired);
    let (good, other_key) = authority.issue(&names, Kind::Good);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (what, cert, key) in [
        ("expired", &*expired, &*its_key),
        ("not a certificate", garbage, &*other_key),
        ("empty", "", ""),
        ("of another key", &*good, &*its_key),
    ] {
        let proxy = start(prepared(cert, key));
        let [new_cert, new_key] = files(proxy.folder());
        assert_ne!(new_cert, cert, "{what}");
        assert_ne!(new_key, key, "{what}");
        let file = fs::metadata(proxy.folder().join(KEY)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{what}");
        assert_serves(proxy);
    }
}

/// The output of `check` and of a start in `folder`, for a user other than root.
fn said(folder: &Path) -> [(Option<i32>, String); 2] {
    let copy = folder.join("wsgate");
    [&["check"][..], &[]].map(|arguments| {
        let mut command = Command::new(&copy);
        if rustix::process::geteuid().is_root() {
            // This also drops the supplementary groups.
            command.uid(65534).gid(65534);
        }
        let output = command
            .args(arguments)
            .current_dir(folder)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    })
}

/// `check` and the start must agree, because the start will find the same file and folder.
#[test]
fn what_keeps_a_development_certificate_from_being_there_is_an_error_of_check_and_start() {
    let mut setup = Setup::plain("builtin:echo");
    setup.tls = Some("self_signed: true".to_owned());
    let good = start(tempfile::tempdir().unwrap());
    let [cert, key] = files(good.folder());
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for (what, forbidden, expected) in [
        (
            "its key",
            KEY,
            "can't read the development certificate certs/dev-key.pem",
        ),
        (
            "its certificate",
            CERT,
            "can't read the development certificate certs/dev.pem",
        ),
        (
            "its folder",
            "certs",
            "can't make the development certificate certs/dev",
        ),
        (
            "the folder above",
            ".",
            "can't make the development certificate certs/dev",
        ),
    ] {
        let folder = prepared(&cert, &key);
        fs::write(folder.path().join("proxy.yaml"), setup.yaml()).unwrap();
        mode(&folder.path().join("proxy.yaml"), 0o644);
        mode(&folder.path().join(KEY), 0o644);
        // In a place where that user can run it.
        fs::copy(program(), folder.path().join("wsgate")).unwrap();
        match forbidden {
            "certs" => fs::remove_file(folder.path().join(KEY)).unwrap(),
            "." => fs::remove_dir_all(folder.path().join("certs")).unwrap(),
            _ => {}
        }
        let said = {
            let program = folder.path();
            mode(program, 0o755);
            let forbidden = folder.path().join(forbidden);
            let readable = if forbidden.is_dir() { 0o555 } else { 0 };
            mode(&forbidden, readable);
            said(program)
        };
        mode(folder.path(), 0o755);
        for (code, said) in said {
            assert_eq!(code, Some(2), "{what}: {said}");
            assert!(said.contains(expected), "{what}: {said}");
            assert!(said.contains("Permission denied"), "{what}: {said}");
        }
    }
}

#[test]
fn a_client_that_does_not_trust_it_is_told_so_in_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut proxy = start(folder);
    let distrusting = crate::harness::client::trusting();
    assert!(Client::tls_with(proxy.address(), "localhost", distrusting).is_err());
    let line = proxy.terminal().expect(Reason::TlsAlertUnknownCa);
    assert!(
        line.text("hint")
            .contains("let the client trust certs/dev.pem"),
        "{line:?}"
    );
}
