use std::io::{BufRead, BufReader};
use std::process::ChildStdout;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::harness::PATIENCE;
use crate::harness::terminal::Terminal;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn all_forms_of_a_record_hold_the_same() {
    let json = recorded("json");
    let text = recorded("text");
    for records in [&json, &text] {
        let found = find(
            &["--reason", "origin_not_allowed", "--format", "json"],
            records,
        );
        assert!(found.status.success(), "{}", err(&found));
        let record: Value = serde_json::from_str(out(&found)).unwrap();
        assert_eq!(record["origin"], "https://evil.example");
        assert_eq!(record["status"], 403);
        let found = find(&["--failed"], records);
        assert_eq!(out(&found).lines().count(), 2, "{}", out(&found));
        assert_eq!(err(&found), "");
        // Everything is a record, and text that is read back is the same text.
        let all = find(&[], records);
        assert_eq!(out(&all).lines().count(), records.lines().count());
        let again = find(&[], out(&all));
        assert_eq!(out(&again), out(&all));
    }
    // The text of the program itself is what `find` makes of JSON.
    assert_eq!(out(&find(&[], &text)), text);
    let as_json = find(&["--format", "json"], &json);
    assert_eq!(out(&as_json), json);
    // The form for terminals.
    let shown = on_a_terminal(&json);
    assert!(shown.contains("\n    detail="), "{shown}");
    let back = find(&["--format", "json"], &shown);
    assert_eq!(out(&back).lines().count(), json.lines().count());
    let sorted = |line: &str| -> std::collections::BTreeMap<String, Value> {
        serde_json::from_str(line).unwrap()
    };
    for (one, other) in out(&back).lines().zip(json.lines()) {
        assert_eq!(sorted(one), sorted(other));
    }
}

/// What `find` prints of records on a terminal.
fn on_a_terminal(records: &str) -> String {
    let folder = files(&[("records", records.as_bytes())]);
    let terminal = Terminal::open();
    let mut child = Command::new(program())
        .args(["find", "records"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(terminal.end())
        .spawn()
        .unwrap();
    let text = terminal.watch(|_| {});
    assert!(child.wait().unwrap().success());
    text
}

#[test]
fn compressed_and_rotated_files_are_read_in_the_order_of_time() {
    let line = |second| refused(second, &json!({}));
    let two = gzip(&line(1));
    // A file to which a second archive was appended.
    let two = [two, gzip(&line(2))].concat();
    let three = zstd::encode_all(line(3).as_bytes(), 3).unwrap();
    let three = [three, zstd::encode_all(line(4).as_bytes(), 19).unwrap()].concat();
    let folder = files(&[
        ("records", line(5).as_bytes()),
        ("records.1", &three),
        ("records.2.gz", &two),
        ("empty", b""),
    ]);
    let found = find_in(
        folder.path(),
        &["records", "empty", "records.1", "records.2.gz", "-"],
        line(6).as_bytes(),
    );
    assert_eq!(seconds(&found), [1, 2, 3, 4, 5, 6]);
    assert_eq!(err(&found), "");
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_the_others_are_read() {
    let cut = gzip(&refused(1, &json!({})).repeat(500));
    let folder = files(&[
        ("good", refused(2, &json!({})).as_bytes()),
        ("cut.gz", &cut[..cut.len() - 20]),
    ]);
    for (name, part) in [
        ("missing", "missing: No such file"),
        (".", ".: this is a folder"),
        ("cut.gz", "cut.gz: "),
    ] {
        let found = find_in(folder.path(), &[name, "good"], b"");
        assert_eq!(found.status.code(), Some(2), "{name}");
        assert!(err(&found).contains(part), "{}", err(&found));
        assert!(seconds(&found).contains(&2), "{name}");
    }
}

#[test]
fn what_collectors_of_logs_add_is_taken_off() {
    let record = refused(1, &json!({}));
    let record = record.trim_end();
    let text = find(&[], record);
    let text = out(&text).trim_end();
    let docker = |log: &str| json!({"log": format!("{log}\n"), "stream": "stdout", "time": "x"});
    for (name, line) in [
        ("docker, JSON", docker(record).to_string()),
        ("docker, text", docker(text).to_string()),
        (
            "containerd, JSON",
            format!("2026-01-02T20:38:59.123456789Z stdout F {record}"),
        ),
        (
            "containerd, text",
            format!("2026-01-02T20:38:59.123456789+08:00 stdout F {text}"),
        ),
        (
            "journalctl -o json",
            json!({"PRIORITY": "6", "MESSAGE": record}).to_string(),
        ),
        ("kubectl --prefix, text", format!("[pod/a/wsgate] {text}")),
        (
            "docker logs -t, text",
            format!("2026-01-02T20:38:59.123456789Z {text}"),
        ),
        (
            "journalctl, text",
            format!("Jan 02 20:38:59 host wsgate[12]: {text}"),
        ),
        ("compose, JSON", format!("wsgate-1  | {record}")),
        ("compose, text", format!("wsgate-1  | {text}")),
        ("kubectl --prefix", format!("[pod/a/wsgate] {record}")),
        (
            "journalctl",
            format!("Jan 02 20:38:59 host wsgate[1]: {record}"),
        ),
        (
            "compose, terminal",
            [
                "2026-01-02T20:38:01.000Z info  refused origin_not_allowed by=client",
                "    detail=\"a b\"",
                "    schema=1 instance=host",
            ]
            .map(|line| format!("wsgate-1  | {line}"))
            .join("\n"),
        ),
        ("a byte order mark", format!("\u{feff}{record}")),
        ("an emptied file", format!("\0\0\0{record}")),
        ("a tab", format!("\t{text}")),
        ("Windows line ends", format!("{record}\r")),
    ] {
        let found = find(&["--reason", "origin_not_allowed"], &format!("{line}\n"));
        assert_eq!(seconds(&found), [1], "{name}: {}", err(&found));
        assert_eq!(err(&found), "", "{name}");
    }
}

#[test]
fn other_lines_are_counted_and_skipped() {
    let record = refused(1, &json!({}));
    let cut = &record[..record.len() / 2];
    let forged = [
        // A field of another type.
        refused(2, &json!({"client": 7})),
        // Words that are written without quotes must not carry anything else.
        refused(3, &json!({"reason": "a\u{1b}[2Jb"})),
        refused(4, &json!({"event": "refused\nforged"})),
        refused(5, &json!({"time": "2026-01-02T20:38\u{1b}[2JZ"})),
        refused(5, &json!({"time": "9999-99-99T99:99:99.999Z"})),
    ];
    let said = format!("user said {}", record.trim_end());
    let said_as_text = format!("user said {}", out(&find(&[], &record)).trim_end());
    let mut lines = vec![
        "plain words",
        "{\"time\":\"2026-01-02T20:38:01.000Z\",\"msg\":\"of the application\"}",
        "{\"log\":7}",
        "{\"time\":\"",
        "[1]",
        "2026-01-02T20:38:01.000Z info not a=\"record",
        "2026-01-02T20:38:01.000Z info refused x=1",
        // The log of another program, with what a client chose.
        &said,
        &said_as_text,
        "x    an indented line",
        cut,
    ];
    lines.extend(forged.iter().map(|line| line.trim_end()));
    let long = format!("{{\"time\":\"{}\"}}", "x".repeat(3 << 20));
    let mut input = lines.join("\n").into_bytes();
    input.extend_from_slice(b"\n\xff\xfe\n\n\n");
    input.extend_from_slice(long.as_bytes());
    input.push(b'\n');
    input.extend_from_slice(record.trim_end().as_bytes());
    let found = find_in(Path::new("."), &[], &input);
    assert_eq!(seconds(&found), [1]);
    assert_eq!(
        err(&found),
        format!(
            "note: {} lines are not records and were skipped\n",
            lines.len() + 2
        )
    );
}

#[test]
fn nothing_in_a_record_reaches_the_terminal_unescaped() {
    let evil = "\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\u{7f}\r\nforged";
    let record = refused(
        1,
        &json!({"origin": evil, "hint": evil, "client": evil, "user_agent": evil, "reason": "origin_null", "\u{1b}[2J": 1}),
    );
    let summary = refused(
        2,
        &json!({"event": "records_suppressed", "count": 3, "top_clients": [{"value": evil, "count": 3}], "reason": "origin_null"}),
    );
    let returns = "{\"time\":\"2026-01-02T20:38:03.000Z\",\"schema\":1,\"event\":\"refused\",\r\t\"client\":\"x\"}\n";
    let input = format!("{record}{summary}{returns}");
    for arguments in [
        &[][..],
        &["--format", "json"],
        &["--top", "origin"],
        &["--top", "client"],
        &["--summary"],
        &["--summary", "--format", "json"],
        &["--top", "client", "--format", "json"],
    ] {
        let found = find(arguments, &input);
        let is_safe = |c: char| c == '\n' || !c.is_control() && c != '\u{202e}';
        let shown = format!("{}{}", out(&found), err(&found));
        assert!(shown.chars().all(is_safe), "{arguments:?}: {shown:?}");
        assert!(!shown.contains("\nforged"), "{arguments:?}: {shown:?}");
        assert!(!shown.is_empty());
    }
    let explained = command(Path::new("."), "explain", &["-"], input.as_bytes());
    let is_safe = |c: char| c == '\n' || !c.is_control();
    assert!(
        out(&explained).chars().all(is_safe),
        "{:?}",
        out(&explained)
    );
}

#[test]
fn a_later_version_is_read_and_said() {
    let record = refused(
        1,
        &json!({"schema": 2, "reason": "of_tomorrow", "new": {"a": [1]}}),
    );
    let found = find(&[], &record);
    assert!(
        out(&found).contains("refused of_tomorrow"),
        "{}",
        out(&found)
    );
    assert!(out(&found).contains("new={\"a\":[1]}"), "{}", out(&found));
    assert!(err(&found).contains("schema 2"), "{}", err(&found));
}

struct Following {
    child: std::process::Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Following {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(program())
            .arg("find")
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout: ChildStdout = child.stdout.take().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    #[track_caller]
    fn expect(&self, second: u8) {
        let line = self.lines.recv_timeout(PATIENCE).unwrap();
        assert!(line.contains(&format!("20:38:{second:02}")), "{line}");
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_file_is_followed_through_rotation() {
    let folder = files(&[("records", refused(1, &json!({})).as_bytes())]);
    let path = folder.path().join("records");
    let append = |second| {
        let mut file = fs::File::options()
            .append(true)
            .create(true)
            .open(&path)
            .unwrap();
        file.write_all(refused(second, &json!({})).as_bytes())
            .unwrap();
    };
    let following = Following::start(folder.path(), &["--follow", "records"]);
    following.expect(1);
    append(2);
    following.expect(2);
    // Half a line is not a record yet.
    let line = refused(3, &json!({}));
    let (half, rest) = line.split_at(40);
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    file.write_all(rest.as_bytes()).unwrap();
    following.expect(3);
    // Renamed, and a new one made.
    fs::rename(&path, folder.path().join("records.1")).unwrap();
    append(4);
    following.expect(4);
    // Copied and emptied.
    fs::write(&path, refused(5, &json!({"hint": ""}))).unwrap();
    following.expect(5);
    // Records as text are shown as soon as they are there.
    let text = find(&[], &refused(6, &json!({"instance": "host"})));
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    file.write_all(&text.stdout).unwrap();
    following.expect(6);
}

#[test]
fn a_pipe_is_read_as_it_comes() {
    let changes = json!({"instance": "host"});
    let as_text = |second| find(&[], &refused(second, &changes)).stdout;
    for arguments in [&["--failed"][..], &[]] {
        for is_text in [false, true] {
            let mut following = Following::start(Path::new("."), arguments);
            let mut stdin = following.child.stdin.take().unwrap();
            for second in 1..4 {
                let line = match is_text {
                    true => as_text(second),
                    false => refused(second, &changes).into_bytes(),
                };
                stdin.write_all(&line).unwrap();
                following.expect(second);
            }
        }
    }
}

#[test]
fn the_story_of_a_connection_is_found_in_what_can_be_read_only_once() {
    let first = refused(1, &json!({"conn": "c", "request_id": "first"}));
    let other = refused(2, &json!({}));
    let second = refused(3, &json!({"conn": "c", "request_id": "second"}));
    let records = [first, other, second].concat();
    // It comes while the pipe is still open.
    let mut following = Following::start(Path::new("."), &["--id", "second"]);
    let mut stdin = following.child.stdin.take().unwrap();
    stdin.write_all(records.as_bytes()).unwrap();
    following.expect(1);
    following.expect(3);
    drop(stdin);
    let found = find(&["--id", "second", "/dev/stdin"], &records);
    assert_eq!(seconds(&found), [1, 3], "{}", err(&found));
    let folder = files(&[("records", records.as_bytes())]);
    let fifo = folder.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let writer = std::thread::spawn(move || fs::write(fifo, records));
    let output = find_in(folder.path(), &["--id", "second", "fifo"], b"");
    writer.join().unwrap().unwrap();
    assert_eq!(seconds(&output), [1, 3], "{}", err(&output));
}

#[test]
fn one_stream_of_a_connection_is_found_among_the_others() {
    let of = |second, event: &str, stream: u32, request_id: &str| {
        let changes =
            json!({"event": event, "conn": "c", "stream_id": stream, "request_id": request_id});
        refused(second, &changes)
    };
    let records = [
        of(1, "opened", 1, "c-1"),
        // As if its id had become known later.
        of(2, "opened", 3, ""),
        of(3, "closed", 3, "chosen"),
        of(4, "closed", 1, "c-1"),
        refused(5, &json!({"conn": "c", "request_id": "c"})),
    ]
    .concat();
    let folder = files(&[("records", records.as_bytes())]);
    for (id, expected) in [
        ("c", &[1, 2, 3, 4, 5][..]),
        ("c-1", &[1, 4]),
        ("c-3", &[2, 3]),
        ("chosen", &[2, 3]),
        ("c-5", &[]),
    ] {
        let from_file = find_in(folder.path(), &["--id", id, "records"], b"");
        assert_eq!(seconds(&from_file), expected, "{id} {}", err(&from_file));
        let from_pipe = find(&["--id", id], &records);
        let mut found = seconds(&from_pipe);
        found.sort_unstable();
        assert_eq!(found, expected, "{id} {}", err(&from_pipe));
    }
}

#[test]
fn line_ends_in_a_wrapped_record_lose_nothing() {
    let record = refused(1, &json!({}));
    let spread = record
        .trim_end()
        .replacen(',', ",\n", 3)
        .replacen(',', ",\r\n", 1);
    let wrapped = json!({ "log": spread }).to_string();
    for format in ["text", "json"] {
        let found = find(&["--format", format], &wrapped);
        assert_eq!(out(&found).lines().count(), 1, "{}", out(&found));
        assert!(
            out(&found).contains("origin_not_allowed"),
            "{}",
            out(&found)
        );
    }
}

/// Each further line costs what it has itself, and not all lines before it.
#[test]
fn a_long_text_is_not_read_again_with_each_line() {
    let first = format!(
        "2026-01-02T20:38:01.000Z info refused a=\" instance={}\n",
        "x".repeat(500_000)
    );
    let input = first + &"    instance=\n".repeat(40_000);
    let found = find(&[], &input);
    assert!(
        err(&found).contains("there are no records"),
        "{}",
        err(&found)
    );
}

/// Of what can be read only once, only so much is remembered.
#[test]
fn a_story_whose_beginning_may_be_forgotten_is_told() {
    let first = refused(1, &json!({"conn": "c", "request_id": "first"}));
    let long = refused(2, &json!({"detail": "x".repeat(100_000)})).repeat(100);
    let second = refused(3, &json!({"conn": "c", "request_id": "second"}));
    let found = find(&["--id", "second"], &[first, long, second].concat());
    assert_eq!(seconds(&found), [3]);
    assert!(
        err(&found).contains("earlier records of this connection may be missing"),
        "{}",
        err(&found)
    );
}

/// What clients choose is in quotes. It must neither hide its record nor stand for another one.
#[test]
fn a_client_cannot_forge_a_record_through_its_own() {
    let forged = "2026-11-30T08:00:00.000Z info  closed client_close client=6.6.6.6 schema=1";
    for agent in [
        format!("x stdout F {forged}"),
        format!("x | {forged}"),
        forged.to_owned(),
        "x instance=forged".to_owned(),
        "x\" instance=forged".to_owned(),
        format!("x {}", refused(9, &json!({})).trim_end()),
    ] {
        let record = refused(1, &json!({"user_agent": agent, "instance": "host"}));
        for layout in ["line", "terminal"] {
            let text = match layout {
                "line" => String::from_utf8(find(&[], &record).stdout).unwrap(),
                _ => on_a_terminal(&record),
            };
            let found = find(&["--format", "json"], &text);
            let read: Value = serde_json::from_str(out(&found)).unwrap();
            let expected: Value = serde_json::from_str(&record).unwrap();
            assert_eq!(read, expected, "{layout}: {agent}");
            assert_eq!(err(&found), "", "{layout}: {agent}");
        }
    }
    // In the line of another program, too.
    let line = format!(
        "203.0.113.9 - - \"GET / HTTP/1.1\" 200 \"{}\"\n",
        refused(1, &json!({})).trim_end()
    );
    let found = find(&[], &line);
    assert_eq!(out(&found), "");
    assert!(
        err(&found).contains("1 line is not a record"),
        "{}",
        err(&found)
    );
}

#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    let records = refused(1, &json!({})).repeat(100);
    let folder = files(&[("records", records.as_bytes())]);
    for options in ["", "--summary", "--top client"] {
        let run = format!("{} find {options} records > /dev/full", program().display());
        let output = Command::new("sh")
            .args(["-c", &run])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{options}");
        assert!(
            err(&output).contains("the output is not complete"),
            "{}",
            err(&output)
        );
    }
}

#[test]
fn what_cannot_be_unpacked_or_followed_is_told() {
    let folder = files(&[
        ("a.xz", b"\xfd7zXZ\0rest"),
        ("a.gz", &gzip(&refused(1, &json!({})))),
    ]);
    let found = find_in(folder.path(), &["a.xz"], b"");
    assert_eq!(found.status.code(), Some(2));
    assert!(
        err(&found).contains("a.xz: xz is not supported"),
        "{}",
        err(&found)
    );
    let found = find_in(folder.path(), &["--follow", "a.gz"], b"");
    assert_eq!(found.status.code(), Some(2));
    assert!(err(&found).contains("can't be followed"), "{}", err(&found));
    // The same file twice is one file.
    let found = find_in(folder.path(), &["a.gz", "a.gz"], b"");
    assert_eq!(seconds(&found), [1]);
}

#[test]
fn a_reader_that_leaves_is_not_an_error() {
    let records = refused(1, &json!({})).repeat(10_000);
    let folder = files(&[("records", records.as_bytes())]);
    let run = format!("{} find records | head -n 1", program().display());
    let output = Command::new("sh")
        .args(["-c", &run])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(seconds(&output), [1]);
    assert_eq!(err(&output), "");
}
