//! `wsgate find` and what `wsgate explain` takes: from records, whatever carries them, to the answer.

/// Conditions, counts and summaries.
mod answers;
/// What is read: forms, compression, wrappers, hostile lines, rotation.
mod input;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::proxy::program;
use crate::harness::{Client, Setup, Upstream, handshake};

/// Runs `wsgate find` in `folder` with `input` on standard input.
fn find_in(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    command(folder, "find", arguments, input)
}

fn command(folder: &Path, name: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program())
        .arg(name)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // The command may have ended before it has read everything.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// The same without files.
fn find(arguments: &[&str], input: &str) -> Output {
    find_in(Path::new("."), arguments, input.as_bytes())
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A refusal at a second of a minute, with changes.
fn refused(second: u8, changes: &Value) -> String {
    let mut record = json!({
        "time": format!("2026-01-02T20:38:{second:02}.000Z"),
        "schema": 1,
        "version": "0.1.0",
        "level": "info",
        "event": "refused",
        "conn": format!("c{second}"),
        "request_id": format!("r{second}"),
        "trace_id": format!("t{second}"),
        "stage": "policy",
        "by": "client",
        "reason": "origin_not_allowed",
        "status": 403,
        "hint": "list it",
        "client": "203.0.113.7",
        "peer": "10.0.0.1:5555",
        "path": "/voice/stream?token=*",
        "origin": "https://evil.example",
        "user_agent": "MicroMessenger/8.0 iPhone",
        "route": "/voice/",
        "client_sees": 1006,
    });
    for (name, value) in changes.as_object().unwrap() {
        record[name] = value.clone();
    }
    format!("{record}\n")
}

/// The seconds of the records that were found.
fn seconds(output: &Output) -> Vec<u8> {
    let second = |line: &str| -> Option<u8> {
        let at = line.find("2026-01-02T20:38:")? + 17;
        line[at..at + 2].parse().ok()
    };
    out(output).lines().filter_map(second).collect()
}

/// Records of a proxy in both forms: a refusal, a tunnel, a plain request and what belongs to the process.
fn recorded(format: &str) -> String {
    let upstream = Upstream::echo();
    let setup = Setup {
        log: format!("level: debug, format: {format}"),
        ..Setup::plain(&upstream.url())
    };
    let folder = setup.folder();
    fs::write(folder.path().join("proxy.yaml"), setup.yaml()).unwrap();
    let records = folder.path().join("records");
    let file = fs::File::create(&records).unwrap();
    let mut proxy = Command::new(program())
        .args(["--config", "proxy.yaml"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let address = crate::harness::eventually("the listener", || {
        let text = fs::read_to_string(&records).unwrap();
        let line = text.lines().find(|line| line.contains("listening"))?;
        let at = line.find("127.0.0.1:")?;
        let end = line[at..].find(['"', ' '])?;
        line[at..at + end].parse().ok()
    });
    let mut client = Client::plain(address);
    client.send(handshake("/ws", &[("Origin", "https://evil.example")]));
    assert_eq!(client.response().status, 403);
    let mut client = Client::plain(address);
    client.send(handshake("/ws", &[]));
    assert_eq!(client.response_head().status, 101);
    client.finish();
    client.rest();
    drop(client);
    crate::harness::eventually("the end of the tunnel", || {
        let text = fs::read_to_string(&records).unwrap();
        text.contains("client_eof_no_close").then_some(())
    });
    crate::harness::signal(proxy.id(), "TERM");
    assert!(proxy.wait().unwrap().success());
    fs::read_to_string(&records).unwrap()
}

/// A folder with files.
fn files(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}
