//! `wsgate diagnose` against servers that are broken in one way each.

/// Servers whose answer to the opening handshake is wrong.
mod answers;
/// Servers whose TLS or certificate is wrong.
mod certificates;
/// Comparing two ways, what WeChat sends, and repeating what a record says.
mod modes;
/// Servers that misbehave in the open WebSocket.
mod open;
/// The command line, and what must not be shown.
mod output;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::certs::Authority;
use crate::harness::proxy::knowing_the_authority;
use crate::harness::secure::read_head;
use crate::harness::{Upstream, switching};

/// What `diagnose` says of a URL: its exit code and its JSON.
#[track_caller]
fn diagnosed(url: &str, arguments: &[&str]) -> (i32, Value) {
    let output = command(url, &[arguments, &["--json", "--lang", "en"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let report = serde_json::from_str(&text);
    let report = report.unwrap_or_else(|error| {
        panic!(
            "{error}: {text} {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    (output.status.code().unwrap(), report)
}

fn command(url: &str, arguments: &[&str]) -> std::process::Output {
    knowing_the_authority()
        .args(["diagnose", url])
        .args(arguments)
        .current_dir(Path::new("."))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The verdict of a URL that does not work: its finding and reason.
#[track_caller]
fn verdict(url: &str, arguments: &[&str], finding: &str, reason: &str) -> Value {
    let report = verdict_of(url, arguments, finding);
    assert_eq!(report["verdict"]["reason"], reason, "{report:#}");
    report
}

/// The verdict of a URL that does not work: its finding.
#[track_caller]
fn verdict_of(url: &str, arguments: &[&str], finding: &str) -> Value {
    let (code, report) = diagnosed(url, arguments);
    assert_eq!(report["verdict"]["finding"], finding, "{report:#}");
    assert_eq!(code, 1, "{report:#}");
    assert_eq!(report["works"], false, "{report:#}");
    report
}

/// A plain server that answers each opening handshake with the same bytes.
fn answering(bytes: &'static str) -> Upstream {
    Upstream::raw(move |mut socket| {
        let _ = read_head(&mut socket);
        let _ = socket.write_all(bytes.as_bytes());
        let _ = socket.read(&mut [0]);
    })
}

/// A plain server that admits what `admits` says of the head, and answers 403 otherwise.
fn admitting(admits: impl Fn(&str) -> bool + Send + Sync + 'static) -> Upstream {
    Upstream::raw(move |mut socket| {
        let head = read_head(&mut socket).unwrap_or_default();
        if admits(&head) {
            let _ = socket.write_all(switching(&head, "").as_bytes());
            echo(socket);
        } else {
            let _ = socket.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
            let _ = socket.read(&mut [0]);
        }
    })
}

/// Answers frames until the client closes.
fn echo(socket: TcpStream) {
    let mut reader = socket.try_clone().unwrap();
    let mut writer = socket;
    let _ = crate::harness::frames::echo(&mut reader, &mut writer);
}

/// The URL of a plain server.
fn url(server: &Upstream) -> String {
    format!("{}/ws", server.url().replace("http://", "ws://"))
}

#[test]
fn what_works_is_said_to_work() {
    let server = admitting(|_| true);
    let (code, report) = diagnosed(&url(&server), &["--echo", "hello"]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["verdict"]["finding"], "works");
    assert_eq!(report["verdict"]["reason"], Value::Null);
    assert_eq!(report["schema"], 1);
    let said: Vec<_> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["detail"].as_str().unwrap())
        .collect();
    for part in [
        "connected",
        "the Ping was answered",
        "the message came back",
        "the Close was answered with 1000",
    ] {
        assert!(
            said.iter().any(|said| said.contains(part)),
            "{part}: {said:?}"
        );
    }
    assert_eq!(report["connections"], 1);
}
