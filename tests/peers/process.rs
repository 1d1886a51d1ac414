//! The process in a container, and on a file system that does not answer.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::frames::echoes;
use crate::harness::proxy::program;
use crate::harness::{Client, Proxy, Setup, Upstream, eventually, handshake, signal};
use crate::tools::held::Held;

#[test]
fn as_process_one_of_a_namespace_it_ends_on_sigterm() {
    // In a container the program is process 1, for which the kernel ignores signals without a handler.
    let upstream = Upstream::echo();
    let setup = Setup {
        // Longer than a test waits.
        shutdown: "drain: 60s".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child"])
        .arg(program());
    let mut proxy = Proxy::launch(setup.folder(), command, 1);
    let children = format!("/proc/{0}/task/{0}/children", proxy.id());
    let child = fs::read_to_string(&children).unwrap();
    let child = child.trim();
    let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    let ids = status
        .lines()
        .find(|line| line.starts_with("NSpid:"))
        .unwrap();
    assert!(
        ids.ends_with("\t1"),
        "not process 1 of its namespace: {ids}"
    );
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    echoes(&mut client, "still here");
    client.finish();
    proxy.terminal();
    signal(child.parse().unwrap(), "TERM");
    let status = proxy.ended();
    assert_eq!(status.code(), Some(0), "{}", proxy.diagnostics());
    let lines = proxy.finished();
    assert_eq!(lines.last().unwrap().text("event"), "stopped");
}

/// Runs the program as process 1 and signals it when `wait_for_it` says that it reads its configuration. If the signal
/// were ignored, the program would go on waiting and then end with another status.
#[track_caller]
fn ends_while_it_reads<T>(name: &str, folder: &Path, wait_for_it: impl FnOnce() -> T) {
    let child = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child"])
        .arg(program())
        .arg("--config")
        .arg(folder.join("proxy.yaml"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let reading = wait_for_it();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let process = fs::read_to_string(children).unwrap();
    signal(process.trim().parse().unwrap(), name);
    let ended = child.wait_with_output().unwrap();
    drop(reading);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    let expected = format!("SIG{name} arrived before the configuration was read");
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn as_process_one_it_ends_while_it_reads_a_pipe() {
    for signal in ["TERM", "INT", "QUIT"] {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("proxy.yaml");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        ends_while_it_reads(signal, folder.path(), || {
            let mut options = fs::OpenOptions::new();
            // This fails without a reader.
            options
                .write(true)
                .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
            let mut writer = eventually("a reader", || options.open(&pipe).ok());
            writer.write_all(b"listeners:\n").unwrap();
            writer
        });
    }
}

#[test]
fn as_process_one_it_ends_while_a_file_system_does_not_answer() {
    let setup = Setup::tls("\"builtin:echo\"");
    for file in ["proxy.yaml", "good.pem"] {
        let folder = setup.folder();
        let mut held = Held::new(&folder.path().join(file));
        ends_while_it_reads("TERM", folder.path(), || {
            held.is_wanted();
            held
        });
    }
}

/// No change takes effect while a file system does not answer, so the file is named.
#[test]
fn a_file_whose_file_system_does_not_answer_is_named() {
    let proxy = Setup::tls("\"builtin:echo\"").start();
    let file = proxy.folder().join("good.pem");
    let mut held = Held::new(&file);
    proxy.signal("HUP");
    held.is_wanted();
    let named = format!("reading {} has taken longer than 5s", file.display());
    eventually("the file's name", || {
        proxy.diagnostics().contains(&named).then_some(())
    });
    drop(held);
    proxy.event("reload_unchanged");
    let read = "the configuration has been read and checked, which took";
    eventually("the end of the wait", || {
        proxy.diagnostics().contains(read).then_some(())
    });
}
