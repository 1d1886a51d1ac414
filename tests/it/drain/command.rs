//! `wsgate drain`.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Instant;

use super::{PATIENT, ends_promptly, is_sent_away, open, setup};
use crate::harness::frames::echoes;
use crate::harness::proxy::run;
use crate::harness::services::{admin, get, probes, start, write_real_ports};
use crate::harness::{Setup, eventually};

#[test]
fn it_asks_and_waits_until_the_last_tunnel_has_gone() {
    let mut proxy = start(&setup("drain: 60s, spread: 0s", "\"builtin:echo\""));
    let real = write_real_ports(&proxy);
    let mut tunnel = open(&proxy);
    echoes(&mut tunnel, "hello");
    let folder = proxy.folder().to_owned();
    let waiting = thread::spawn(move || run(&["drain", "--wait", "--config", real], &folder));
    is_sent_away(&mut tunnel);
    let (code, out, err) = waiting.join().unwrap();
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "draining: 1 connection open\ndrained: all connections have ended\n"
    );
    let (code, out, _) = run(&["drain", "--config", real], proxy.folder());
    let again = "drained: all connections have ended (asked for before)\n";
    assert_eq!((code, out.as_str()), (0, again));
    proxy.signal("TERM");
    ends_promptly(&mut proxy, Instant::now());
    let (code, out, err) = run(&["drain", "--wait", "--config", real], proxy.folder());
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains("/drain: nothing listens there (Connection refused"),
        "{err}"
    );
}

#[test]
fn without_wait_it_returns_at_once() {
    let mut proxy = start(&setup(PATIENT, "\"builtin:echo\""));
    let real = write_real_ports(&proxy);
    let mut tunnel = open(&proxy);
    let (code, out, err) = run(&["drain", "--config", real], proxy.folder());
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, "draining: 1 connection open\n");
    echoes(&mut tunnel, "still here");
    tunnel.finish();
    proxy.event("drained");
    proxy.signal("TERM");
    ends_promptly(&mut proxy, Instant::now());
}

/// A hook must work whatever happened to the file, even if reading it would never end.
#[test]
fn an_address_needs_no_configuration() {
    let proxy = start(&setup(PATIENT, "\"builtin:echo\""));
    let address = admin(&proxy).to_string();
    let pipe = proxy.folder().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for file in ["none.yaml", "pipe"] {
        let arguments = ["drain", "--wait", "--address", &address, "--config", file];
        let (code, out, err) = run(&arguments, proxy.folder());
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains("drained"), "{out}");
    }
    proxy.stop();
}

#[test]
fn waiting_ends_with_the_process() {
    let mut proxy = start(&setup(PATIENT, "\"builtin:echo\""));
    let real = write_real_ports(&proxy);
    let mut tunnel = open(&proxy);
    let folder = proxy.folder().to_owned();
    let waiting = thread::spawn(move || run(&["drain", "--wait", "--config", real], &folder));
    eventually("the drain", || {
        (get(probes(&proxy), "/readyz").0 == 503).then_some(())
    });
    proxy.signal("TERM");
    proxy.wait("the second record", |lines| {
        (super::details(lines, "draining").len() == 2).then_some(())
    });
    tunnel.finish();
    ends_promptly(&mut proxy, Instant::now());
    let (code, out, err) = waiting.join().unwrap();
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "draining: 1 connection open\ndrained: the proxy has ended\n"
    );
}

#[test]
fn what_is_wrong_with_the_configuration_is_said() {
    let with = |admin: &str| {
        let setup = Setup {
            extra: admin.to_owned(),
            ..Setup::plain("\"builtin:echo\"")
        };
        setup.folder()
    };
    for (folder, expected) in [
        (
            with(""),
            "the configuration has no admin; add the line `admin: { address: 127.0.0.1:9901 }`",
        ),
        (
            with("admin: { address: 127.0.0.1:0 }\n"),
            "admin.address has port 0",
        ),
        (with("admin: {}\n"), "missing required key \"address\""),
    ] {
        let (code, out, err) = run(&["drain"], folder.path());
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains(expected), "{err}");
    }
}

#[test]
fn an_admin_listener_that_others_reach_is_a_warning() {
    let folder = Setup::plain("\"builtin:echo\"").folder();
    let file = folder.path().join("proxy.yaml");
    let yaml = fs::read_to_string(&file).unwrap();
    let check = |address: &str| {
        fs::write(
            &file,
            format!("{yaml}admin: {{ address: \"{address}\" }}\n"),
        )
        .unwrap();
        let (code, out, _) = run(&["check"], folder.path());
        assert_eq!(code, 0, "{out}");
        out
    };
    let said = check("0.0.0.0:9901");
    assert!(
        said.contains("warning: admin.address: 0.0.0.0:9901 is not a loopback address"),
        "{said}"
    );
    assert!(said.contains("write 127.0.0.1:9901"), "{said}");
    for fine in ["127.0.0.1:9901", "127.9.9.9:9901", "[::1]:9901"] {
        let said = check(fine);
        assert!(!said.contains("admin"), "{said}");
    }
}

#[test]
fn no_upstream_leads_to_the_services_of_the_proxy_itself() {
    let setup = Setup {
        extra: "probes: { address: 0.0.0.0:9900 }\nadmin: { address: 127.0.0.1:9901 }\n".to_owned(),
        ..Setup::plain(
            "\"http://127.0.0.1:9900\", \"http://localhost:9901\", \"http://[::ffff:127.0.0.1]:9901\", \
             \"http://localhost.:9901\", \"http://ip6-localhost:9901\"",
        )
    };
    let (code, out, _) = run(&["check"], setup.folder().path());
    assert_eq!(code, 2);
    let services = ["probes", "admin", "admin", "admin", "admin"];
    for (index, name) in services.into_iter().enumerate() {
        assert!(
            out.contains(&format!("endpoints[{index}]: found \"http://"))
                && out.contains(&format!("which is {name} of this proxy itself")),
            "{out}"
        );
    }
}
