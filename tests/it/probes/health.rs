//! `wsgate health`.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::Setup;
use crate::harness::proxy::run;
use crate::harness::services::{probes, start, write_real_ports};

/// A configuration with an address for probes on which the test has something else, or nothing.
fn with_probes(address: impl std::fmt::Display) -> TempDir {
    let setup = Setup {
        extra: format!("probes: {{ address: \"{address}\" }}\n"),
        ..Setup::plain("\"builtin:echo\"")
    };
    setup.folder()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A running proxy continues with the file's previous content, so a bad file does not make it unhealthy.
#[test]
fn a_file_that_went_bad_makes_nobody_unwell() {
    let proxy = start(&Setup::plain("\"builtin:echo\""));
    let real = write_real_ports(&proxy);
    let file = proxy.folder().join(real);
    let health = |more: &[&str]| {
        let arguments = [&["health", "--config", real], more].concat();
        run(&arguments, proxy.folder())
    };
    let good = fs::read_to_string(&file).unwrap();
    let bad = good.replace("websocket:", "websockets:");
    assert_ne!(good, bad);
    fs::write(&file, &bad).unwrap();
    let (code, out, err) = health(&[]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.ends_with("ok: running\n"), "{out}");
    // If the file says nothing, the command line can.
    let address = probes(&proxy).to_string();
    for text in ["listeners: [", ""] {
        fs::write(&file, text).unwrap();
        let (code, _, err) = health(&[]);
        assert_eq!(code, 2);
        assert!(err.contains("real.yaml"), "{err}");
        assert_eq!(health(&["--address", &address]).0, 0);
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(health(&["--ready", "--address", &address]).0, 0);
    // The file is not opened: reading a pipe without a writer would never end.
    assert!(
        Command::new("mkfifo")
            .arg(&file)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(health(&["--address", &address]).0, 0);
    proxy.stop();
}

#[test]
fn it_follows_the_proxy_from_start_to_end() {
    let setup = Setup {
        shutdown: "delay: 60s, drain: 60s".to_owned(),
        ..Setup::plain("\"builtin:echo\"")
    };
    let mut proxy = start(&setup);
    let address = probes(&proxy);
    let real = write_real_ports(&proxy);
    let folder = proxy.folder().to_owned();
    let health = |more: &[&str]| {
        let arguments = [&["health", "--config", real], more].concat();
        let (code, out, err) = run(&arguments, &folder);
        assert_eq!(err, "");
        (code, out)
    };
    let well = (0, format!("http://{address}/healthz: ok: running\n"));
    assert_eq!(health(&[]), well);
    assert_eq!(
        health(&["--ready"]),
        (
            0,
            format!("http://{address}/readyz: ready: 0 connections open\n")
        )
    );
    let by_name = format!("localhost:{}", address.port());
    assert_eq!(
        health(&["--address", &by_name]),
        (0, format!("http://{by_name}/healthz: ok: running\n"))
    );
    proxy.signal("TERM");
    proxy.event("draining");
    assert_eq!(health(&[]), well);
    let (code, said) = health(&["--ready"]);
    assert_eq!(code, 1);
    assert!(
        said.starts_with(&format!("http://{address}/readyz: 503 draining: 0 ")),
        "{said}"
    );
    proxy.signal("TERM");
    assert!(proxy.ended().success());
    let (code, said) = health(&[]);
    assert_eq!(code, 1);
    assert!(
        said.starts_with(&format!(
            "http://{address}/healthz: nothing listens there (Connection refused"
        )),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn an_address_of_all_interfaces_is_asked_on_loopback() {
    let (listener, address) = listener();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket
            .write_all(b"HTTP/1.1 200 OK\r\n\r\nok: it was this one\n")
            .unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        std::io::copy(&mut socket, &mut std::io::sink()).unwrap();
    });
    let port = address.port();
    let folder = with_probes(format_args!("0.0.0.0:{port}"));
    let (code, out, _) = run(&["health"], folder.path());
    let expected = format!("http://127.0.0.1:{port}/healthz: ok: it was this one\n");
    assert_eq!((code, out), (0, expected));
}

#[test]
fn whatever_it_meets_it_ends_in_time() {
    // The kernel accepts, and nothing answers.
    let (_silent, silent) = listener();
    let (slow, slowly) = listener();
    thread::spawn(move || {
        let (mut socket, _) = slow.accept().unwrap();
        // Until the other side has had enough.
        while socket.write_all(b"H").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let (foreign, foreigner) = listener();
    thread::spawn(move || {
        let (mut socket, _) = foreign.accept().unwrap();
        socket.write_all(b"SSH-2.0-OpenSSH\r\n").unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        std::io::copy(&mut socket, &mut std::io::sink()).unwrap();
    });
    for (address, expected) in [
        (silent, "no answer within 300ms"),
        (slowly, "no answer within 300ms"),
        (foreigner, "the answer is not HTTP"),
    ] {
        let folder = with_probes(address);
        let since = Instant::now();
        let (code, out, _) = run(&["health", "--timeout", "300ms"], folder.path());
        assert!(since.elapsed() < Duration::from_secs(8));
        assert_eq!(code, 1);
        assert!(out.contains(expected), "{out}");
    }
}

#[test]
fn what_is_wrong_with_the_configuration_is_said() {
    let without = Setup::plain("\"builtin:echo\"").folder();
    let broken = with_probes("nowhere");
    for (folder, expected) in [
        (
            &without,
            "proxy.yaml: the configuration has no probes; add the line `probes: { address: 127.0.0.1:9900 }`",
        ),
        (&with_probes("127.0.0.1:0"), "probes.address has port 0"),
        (&broken, "error: probes.address: found \"nowhere\""),
    ] {
        let (code, out, err) = run(&["health"], folder.path());
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(expected), "{err}");
    }
    for wrong in ["0s", "x", "2h"] {
        let (code, _, err) = run(&["health", "--timeout", wrong], without.path());
        assert_eq!(code, 2);
        assert!(err.contains("expected a duration of up to 1h"), "{err}");
    }
}

#[test]
fn it_neither_reads_nor_makes_certificates() {
    let (_silent, address) = listener();
    drop(_silent);
    let setup = Setup {
        tls: Some("self_signed: true".to_owned()),
        extra: format!("probes: {{ address: \"{address}\" }}\n"),
        ..Setup::plain("\"builtin:echo\"")
    };
    let folder = setup.folder();
    let (code, out, err) = run(&["health"], folder.path());
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(!folder.path().join("certs").exists());
    let missing = Setup {
        tls: Some("certificates: [{ cert: none.pem, key: none.pem }]".to_owned()),
        ..setup
    };
    fs::write(folder.path().join("proxy.yaml"), missing.yaml()).unwrap();
    let (code, out, _) = run(&["health"], folder.path());
    assert_eq!(code, 1);
    assert!(out.contains("nothing listens there"), "{out}");
}
