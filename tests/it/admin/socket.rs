//! `admin.socket`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{ECHO, open};
use crate::harness::frames::read;
use crate::harness::proxy::run;
use crate::harness::{Line, Setup, between, eventually};

/// The answer to a request, with its head.
#[track_caller]
fn ask(path: &Path, first: &str, fields: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    let head = format!("{first} HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn with(path: &Path) -> Setup {
    Setup {
        extra: format!("admin: {{ socket: {} }}\n", path.display()),
        ..Setup::plain(ECHO)
    }
}

/// A folder with a configuration that has a socket, whose path is the second value.
fn folder() -> (TempDir, PathBuf) {
    let folder = Setup::plain(ECHO).folder();
    let path = folder.path().join("admin.sock");
    fs::write(folder.path().join("proxy.yaml"), with(&path).yaml()).unwrap();
    (folder, path)
}

#[test]
fn a_unix_socket_offers_the_same_to_the_own_user_alone() {
    let (folder, path) = folder();
    // A process that was killed left its file.
    drop(UnixListener::bind(&path).unwrap());
    let proxy = crate::harness::Proxy::spawn(folder, None, 1);
    let listening = proxy.wait("the socket", |lines| {
        let is_it = |line: &&Line| line.text("detail") == "admin";
        lines.iter().find(is_it).cloned()
    });
    assert_eq!(
        listening.text("listener"),
        format!("unix:{}", path.display())
    );
    assert_eq!(path.symlink_metadata().unwrap().mode() & 0o777, 0o600);
    assert!(ask(&path, "GET /readyz", "").starts_with("HTTP/1.1 200 "));
    let mut client = open(&proxy, "/ws", &[]);
    let conn = eventually("the tunnel", || {
        let answer = ask(&path, "GET /status.json", "");
        let status: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        Some(status["tunnels"]["shown"][0]["conn"].as_str()?.to_owned())
    });
    let page = ask(&path, "GET /", "");
    let token = between(&page, "name=\"wsgate-token\" content=\"", "\"");
    let field = format!("X-Wsgate-Token: {token}\r\n");
    let asked = ask(&path, &format!("POST /close?conn={conn}"), &field);
    assert!(asked.starts_with("HTTP/1.1 202 "), "{asked}");
    read(&mut client).unwrap();
    drop(client);
    let detail = proxy.event("closed").text("detail").to_owned();
    assert!(
        detail.contains("by user ") && detail.ends_with(" on this machine"),
        "{detail}"
    );
    let moved = path.with_file_name("moved.sock");
    proxy.reload(&with(&moved));
    eventually("the end of the first socket", || {
        (!path.exists()).then_some(())
    });
    assert!(ask(&moved, "GET /healthz", "").starts_with("HTTP/1.1 200 "));
    proxy.signal("TERM");
    let mut proxy = proxy;
    proxy.ended();
    assert!(!moved.exists());
    proxy.finished();
}

#[test]
fn a_path_that_can_not_be_used_is_said_with_the_remedy() {
    let (folder, path) = folder();
    let start = || {
        let (code, _, said) = run(&["run"], folder.path());
        assert_eq!(code, 1, "{said}");
        said
    };
    let other = UnixListener::bind(&path).unwrap();
    let said = start();
    assert!(
        said.contains("admin.sock") && said.contains("or change admin.socket"),
        "{said}"
    );
    drop(other);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "notes").unwrap();
    let said = start();
    assert!(said.contains("the file is not a socket"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "notes");
    let yaml = with(&path.join("none/admin.sock").with_file_name("x.sock")).yaml();
    fs::remove_file(&path).unwrap();
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let said = start();
    assert!(
        said.contains("make its folder, or change admin.socket"),
        "{said}"
    );
}
