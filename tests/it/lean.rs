//! A build without the default features: `cargo test --no-default-features`.

use std::fs;
use std::path::Path;

use crate::harness::certs::{Authority, Kind};
use crate::harness::proxy::{HOST, run};
use crate::harness::{Client, Setup, Upstream, frames, handshake};

#[test]
fn what_the_build_leaves_out_is_named_with_its_place_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy("proxy.yaml", folder.path().join("proxy.yaml")).unwrap();
    for arguments in [&["check"][..], &[]] {
        let (code, out, err) = run(arguments, folder.path());
        assert_eq!(code, 2, "{out}{err}");
        let said = out + &err;
        for expected in [
            "error: listeners[0].tls.self_signed: can't make the development certificate certs/dev.pem: this build leaves \
             that out; name certificates, or build wsgate with the feature `self-signed`",
            "error: upstreams.echo.endpoints[0]: found \"builtin:echo\", which this build leaves out; write the address of \
             a backend, or build wsgate with the feature `echo`",
        ] {
            assert!(said.contains(expected), "{said}");
        }
    }
    assert!(!folder.path().join("certs").exists());
}

#[test]
fn a_development_certificate_that_is_there_is_served() {
    let upstream = Upstream::echo();
    let mut setup = Setup::plain(&upstream.url());
    setup.tls = Some("self_signed: true".to_owned());
    let folder = setup.folder();
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).unwrap();
    let (cert, key) = Authority::shared().write(&certs, "dev", &[HOST], Kind::Good);
    assert_eq!(cert.file_name(), Some(Path::new("dev.pem").as_os_str()));
    assert_eq!(key.file_name(), Some(Path::new("dev-key.pem").as_os_str()));
    let mut proxy = setup.start_in(folder);
    let mut client = Client::tls(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    frames::echoes(&mut client, "hello");
    client.finish();
    proxy.terminal();
    proxy.stop();
}
