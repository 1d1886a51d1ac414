//! Where a configuration is read from: an argument, standard input or a pipe.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{folder, put};
use crate::harness::certs::{Authority, Kind};
use crate::harness::proxy::{Proxy, knowing_the_authority, program, run};

const OK: &str = "ok: 1 listener, 1 route, 1 upstream\n";

/// Runs `check` with these arguments and `text` on its standard input.
fn check_input(arguments: &[&str], text: &[u8], folder: &Path) -> (i32, String) {
    let mut child = spawn(arguments, folder);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text).unwrap();
    drop(stdin);
    said(child)
}

fn spawn(arguments: &[&str], folder: &Path) -> Child {
    knowing_the_authority()
        .arg("check")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

fn said(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), out)
}

#[test]
fn the_file_can_be_named_in_each_usual_way() {
    let folder = folder();
    fs::rename(
        folder.path().join("proxy.yaml"),
        folder.path().join("other.yaml"),
    )
    .unwrap();
    for arguments in [
        &["check", "other.yaml"][..],
        &["check", "-c", "other.yaml"],
        &["check", "--config", "other.yaml"],
        &["check", "--config=other.yaml", "--deny-warnings"],
        &["-c", "other.yaml", "check"],
        &["--config", "other.yaml", "check", "--format", "text"],
        &["--config", "missing.yaml", "check", "-c", "other.yaml"],
    ] {
        let (code, out, err) = run(arguments, folder.path());
        assert_eq!(
            (code, out, err),
            (0, format!("other.yaml: {OK}"), String::new()),
            "{arguments:?}"
        );
    }
    let (code, _, err) = run(&["check", "other.yaml", "-c", "other.yaml"], folder.path());
    assert_eq!(code, 2);
    assert!(err.contains("cannot be used with"), "{err}");
}

#[test]
fn commands_that_read_no_configuration_do_not_offer_one() {
    let folder = folder();
    for command in ["explain", "schema"] {
        let (_, help, _) = run(&[command, "--help"], folder.path());
        assert!(!help.contains("--config"), "{help}");
        let (code, _, err) = run(&[command, "--config", "proxy.yaml"], folder.path());
        assert_eq!(code, 2);
        assert!(err.contains("unexpected argument '--config'"), "{err}");
        let (code, _, err) = run(&["--config", "proxy.yaml", command], folder.path());
        assert_eq!(code, 2);
        assert!(err.contains("reads no configuration"), "{err}");
    }
    for command in ["run", "check", "health", "drain"] {
        let (_, help, _) = run(&[command, "--help"], folder.path());
        assert!(help.contains("-c, --config <FILE>"), "{help}");
    }
}

#[test]
fn standard_input_is_read_to_its_end() {
    let folder = folder();
    let text = fs::read(folder.path().join("proxy.yaml")).unwrap();
    // More than one read gives, and more than a buffered handle would keep.
    let long = [text.clone(), b"# comment\n".repeat(20_000)].concat();
    for name in ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        for arguments in [&[name][..], &["--config", name], &["-c", name]] {
            for text in [&text, &long] {
                let (code, out) = check_input(arguments, text, folder.path());
                assert_eq!((code, out), (0, format!("{name}: {OK}")), "{arguments:?}");
            }
        }
    }
    // Certificates are relative to the working directory.
    let elsewhere = tempfile::tempdir().unwrap();
    let (code, out) = check_input(&["-"], &text, elsewhere.path());
    assert_eq!(code, 2);
    assert!(out.contains("cert.pem"), "{out}");
    // A file is read from its descriptor's position.
    let output = knowing_the_authority()
        .args(["check", "-"])
        .current_dir(folder.path())
        .stdin(File::open(folder.path().join("proxy.yaml")).unwrap())
        .output()
        .unwrap();
    assert_eq!(output.stdout, format!("-: {OK}").into_bytes());
}

#[test]
fn input_that_is_empty_too_long_or_not_text_is_refused() {
    let folder = folder();
    for (text, expected) in [
        (&b""[..], "the input ended without a byte"),
        (
            &b"a: \xff"[..],
            "-:1:4: error: found a byte that is not UTF-8",
        ),
        (&vec![b'#'; 1024 * 1024 + 1], "found more than 1 MiB"),
    ] {
        let mut child = spawn(&["-"], folder.path());
        let mut stdin = child.stdin.take().unwrap();
        // The program may stop reading before everything is written.
        let _ = stdin.write_all(text);
        drop(stdin);
        let (code, out) = said(child);
        assert_eq!(code, 2);
        assert!(out.contains(expected), "{out}");
    }
}

/// As from a slow template engine, and from one that never writes.
#[test]
fn the_first_byte_is_waited_for_but_not_for_ever() {
    let folder = folder();
    let slow =
        "{ sleep 1; cat proxy.yaml; } | { exec 3<&0 </dev/null; exec \"$0\" check /dev/fd/3; }";
    let output = Command::new("sh")
        .args(["-c", slow])
        .arg(program())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(
        out.contains(": ok: 1 listener, 1 route, 1 upstream"),
        "{out}"
    );

    let made = Command::new("mkfifo")
        .arg(folder.path().join("pipe"))
        .status();
    assert!(made.unwrap().success());
    let since = Instant::now();
    let silent = spawn(&["-"], folder.path());
    let unopened = spawn(&["pipe"], folder.path());
    for mut child in [silent, unopened] {
        // Kept open: the end of the input would be a different case.
        let stdin = child.stdin.take();
        let (code, out) = said(child);
        drop(stdin);
        assert_eq!(code, 2);
        assert!(out.contains("no byte came within 5 s"), "{out}");
        assert!(out.contains("other end of the pipe"), "{out}");
    }
    assert!(since.elapsed() >= Duration::from_secs(5));
}

#[test]
fn a_start_from_standard_input_says_that_it_cannot_reload_and_still_reloads_certificates() {
    let folder = folder();
    let mut command = Command::new(program());
    command
        .args(["run", "-c", "-"])
        .current_dir(folder.path())
        .stdin(File::open(folder.path().join("proxy.yaml")).unwrap());
    let proxy = Proxy::attach(folder, command, 1);
    assert!(
        proxy
            .diagnostics()
            .contains("the configuration was read from -, which can't be read again"),
        "{}",
        proxy.diagnostics()
    );
    put(
        proxy.folder(),
        Authority::shared().issue(&["api.example.com"], Kind::Good),
    );
    proxy.event("certificate_reloaded");
    proxy.signal("HUP");
    let line = proxy.event("reload_unchanged");
    assert!(
        line.text("detail").contains("can't be read again"),
        "{line:?}"
    );
    proxy.stop();
}

#[test]
fn a_service_can_be_asked_by_name() {
    let folder = folder();
    for (address, expected) in [
        (
            "localhost",
            "expected an IP address or a host name and a port",
        ),
        (
            "localhost:0",
            "expected an IP address or a host name and a port",
        ),
        (
            "localhost:99999",
            "expected an IP address or a host name and a port",
        ),
        (
            "http://localhost:9900",
            "expected an IP address or a host name and a port",
        ),
    ] {
        for command in ["health", "drain"] {
            let (code, _, err) = run(&[command, "--address", address], folder.path());
            assert_eq!(code, 2, "{address}");
            assert!(err.contains(expected), "{address}: {err}");
        }
    }
    let (code, out, _) = run(&["health", "--address", "name.invalid:9900"], folder.path());
    assert_eq!(code, 1);
    assert!(
        out.contains("http://name.invalid:9900/healthz: the name can't be looked up"),
        "{out}"
    );
}
