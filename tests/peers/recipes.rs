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

/// The two blocks of commands of the section: those of `wsgate find`, and those of jq.
fn blocks() -> [String; 2] {
    let page = fs::read_to_string("docs/operations.md").unwrap();
    let (_, section) = page.split_once("## Reading the records").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut blocks = section.split("```sh\n").skip(1);
    [(); 2].map(|()| {
        let block = blocks.next().unwrap();
        block.split("```").next().unwrap().to_owned()
    })
}

/// The commands of jq, each with the comment above it.
fn recipes() -> Vec<(String, String)> {
    let [_, block] = blocks();
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
    let recipes = recipes();
    let find = |name: &str, command: &str| -> bool {
        let rows = output(&folder, command);
        match name {
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
    assert_eq!(recipes.len(), 5, "{recipes:?}");
    for (name, command) in &recipes {
        assert!(find(name, command), "nothing is known of {name:?}");
    }
}

#[test]
fn each_command_of_find_is_one_that_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let lines = records();
    let text: String = lines.iter().map(|line| format!("{}\n", line.0)).collect();
    fs::write(folder.path().join("records"), text).unwrap();
    let dies = lines
        .iter()
        .find(|line| line.text("path") == "/app/dies")
        .unwrap();
    let [block, _] = blocks();
    let commands: Vec<_> = block
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        // These wait for more.
        if command.contains("kubectl") || command.contains("--follow") {
            continue;
        }
        let program = crate::harness::proxy::program();
        let command = command
            .replace("wsgate", program.to_str().unwrap())
            .replace("5f2c9a3100000007", dies.text("conn"));
        let output = Command::new("bash")
            .args(["-c", &command])
            .current_dir(folder.path())
            .output()
            .unwrap();
        // Nobody has the addresses and the time of the examples, and no record is of a stream of HTTP/2.
        let is_absent = ["203.0.113.7", "20:30", "-5 records"];
        let found_nothing = is_absent.iter().any(|part| command.contains(part));
        let code = output.status.code();
        assert_eq!(
            code,
            Some(i32::from(found_nothing)),
            "{command}: {output:?}"
        );
        let said = String::from_utf8(output.stdout).unwrap();
        if command.contains("--summary") {
            assert!(said.contains("2  origin_not_allowed"), "{said}");
        }
        if command.contains("explain -") {
            assert!(said.contains("upstream_eof_no_close"), "{said}");
        }
    }
}
