//! The commands for records in docs/operations.md.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::frames::{self, CLOSE, closing, echoes, masked};
use crate::harness::proxy::is_terminal;
use crate::harness::{Client, Line, Setup, Upstream, handshake};

/// The records that an operator may have: each kind of ending at least once, and a tunnel that is still open.
fn records() -> Vec<Line> {
    let upstream = Upstream::start(|mut call| {
        let path = call.head.split(' ').nth(1).unwrap().to_owned();
        match path.as_str() {
            "/app/slow" => {
                call.drain();
            }
            "/app/dies" => {
                call.switch("").finish().drain();
            }
            "/page" => {
                call.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                call.drain();
            }
            _ => call.switch("").echo(),
        }
    });
    let proxy = Setup {
        path: "/app/*".to_owned(),
        routes: "  - { path: /page, http: {}, upstream: app }\n".to_owned(),
        upstream: ", handshake_timeout: 300ms".to_owned(),
        ..Setup::plain(&upstream.url())
    }
    .start();
    let mut ended = 0;
    let mut wait = || {
        ended += 1;
        proxy.wait("the record", |lines| {
            (lines.iter().filter(|line| is_terminal(line)).count() == ended).then_some(())
        });
    };
    let ask = |path: &str, changes: &[(&str, &str)]| {
        let mut client = Client::plain(proxy.address());
        let status = client.send(handshake(path, changes)).response().status;
        (client, status)
    };

    for (path, origin, status) in [
        ("/app/ws", "https://evil.example", 403),
        ("/app/ws", "https://evil.example", 403),
        ("/elsewhere", crate::harness::proxy::ORIGIN, 404),
        ("/app/slow", crate::harness::proxy::ORIGIN, 504),
    ] {
        assert_eq!(ask(path, &[("Origin", origin)]).1, status);
        wait();
    }
    // Whatever clients send as their own id.
    let same = [("X-Request-ID", "same")];
    let (mut closes, _) = ask("/app/ws", &same);
    echoes(&mut closes, "hello");
    closes.send(masked(CLOSE, closing(1000, "")));
    closes.rest();
    drop(closes);
    wait();
    let (mut leaves, _) = ask("/app/ws", &[]);
    echoes(&mut leaves, "hello");
    leaves.finish();
    leaves.rest();
    wait();
    let (mut loses, _) = ask("/app/dies", &[]);
    assert_eq!(frames::read(&mut loses).unwrap().0, CLOSE);
    loses.send(masked(CLOSE, closing(1014, "")));
    loses.rest();
    drop(loses);
    wait();
    let mut page = Client::plain(proxy.address());
    page.send("GET /page HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n");
    assert_eq!(page.response().status, 200);
    wait();
    let (_stays, _) = ask("/app/stays", &same);
    proxy.wait("the last tunnel", |lines| {
        let opened = lines.iter().filter(|line| line.text("event") == "opened");
        (opened.count() == 4).then_some(())
    });
    proxy.lines()
}

/// The commands of the section, each with the comment above it.
fn recipes() -> Vec<(String, String)> {
    let page = fs::read_to_string("docs/operations.md").unwrap();
    let (_, section) = page.split_once("## Reading the records").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let lines: Vec<_> = block.lines().collect();
    lines
        .chunks(2)
        .map(|pair| {
            let name = pair[0].strip_prefix("# ").expect("a comment above each");
            (name.to_owned(), pair[1].to_owned())
        })
        .collect()
}

/// The output of a command in the folder of the records.
#[track_caller]
fn output(folder: &TempDir, command: &str) -> Vec<Vec<String>> {
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", command])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "{command}: {errors}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

#[test]
fn each_recipe_finds_in_real_records_what_it_is_for() {
    let lines = records();
    let folder = tempfile::tempdir().unwrap();
    let text: String = lines.iter().map(|line| format!("{}\n", line.0)).collect();
    fs::write(folder.path().join("records"), text).unwrap();
    let dies = lines
        .iter()
        .find(|line| line.text("path") == "/app/dies")
        .unwrap();

    let recipes = recipes();
    let find = |name: &str, command: &str| -> bool {
        let command = command.replace("5f2c9a3100000007", dies.text("conn"));
        let rows = output(&folder, &command);
        let first = |row: usize| rows[row].join(" ");
        match name {
            "refusals, the most frequent first" => {
                assert_eq!(first(0), "2 origin_not_allowed");
                let rest: Vec<_> = rows[1..].iter().map(|row| row[1].as_str()).collect();
                assert_eq!(rows.len(), 3, "{rows:?}");
                assert!(rest.contains(&"path_not_allowed"));
                assert!(rest.contains(&"upstream_handshake_timeout"));
            }
            "what to do about each" => {
                assert_eq!(rows.len(), 3, "{rows:?}");
                assert!(first(0).starts_with("origin_not_allowed: if the page is yours"));
            }
            "who ended tunnels how, and whose Close frame came first" => {
                let mut ends: Vec<_> = rows.iter().map(|row| row.join(" ")).collect();
                ends.sort();
                let expected = [
                    "1 client client_close client",
                    "1 client client_eof_no_close -",
                    "1 upstream upstream_eof_no_close proxy",
                ];
                assert_eq!(ends, expected);
            }
            "tunnels whose client reports 1006; if their idle_ms is alike, a timer ended them" => {
                assert_eq!(rows.len(), 1, "{rows:?}");
                assert_eq!(rows[0][2..4], ["client", "client_eof_no_close"]);
                assert!(rows[0][0].ends_with('Z'), "{rows:?}");
                assert!(rows[0][4].parse::<u64>().is_ok());
            }
            "each upstream: handshakes, their median and the slowest, in ms" => {
                assert_eq!(rows.len(), 1, "{rows:?}");
                assert_eq!(rows[0][..2], ["app", "4"]);
                let numbers: Vec<u64> = rows[0][2..].iter().map(|n| n.parse().unwrap()).collect();
                assert!(numbers[0] <= numbers[1] && numbers[1] >= 300, "{rows:?}");
            }
            "the life of one connection" => {
                assert_eq!(rows.len(), 2, "{rows:?}");
                assert_eq!(rows[0][1], "opened");
                assert_eq!(rows[1][1..3], ["closed", "upstream_eof_no_close"]);
            }
            "tunnels by client" => assert_eq!(first(0), "4 127.0.0.1"),
            "tunnels that are open now" => {
                assert_eq!(rows.len(), 1, "{rows:?}");
                assert_eq!(rows[0][1..], ["127.0.0.1", "/app/stays"]);
            }
            "plain requests, the slowest first" => {
                assert_eq!(rows.len(), 1, "{rows:?}");
                assert_eq!(rows[0][2..], ["GET", "/page", "200"]);
            }
            _ => return false,
        }
        true
    };
    assert_eq!(recipes.len(), 9, "{recipes:?}");
    for (name, command) in &recipes {
        assert!(find(name, command), "nothing is known of {name:?}");
    }
}
