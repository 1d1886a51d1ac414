//! `wsgate top`, against a server that answers as the admin listener does.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};

use crate::harness::proxy::{program, run};
use crate::harness::terminal::Terminal;
use crate::harness::{between, eventually, signal};

/// What the server answers to the first line of a request and its fields.
type Answers = dyn Fn(&str) -> (u16, String) + Send + Sync;

/// Answers one connection, which is then closed.
fn answer(mut socket: impl Read + Write, answers: &Answers) {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut piece) {
            Ok(count @ 1..) => head.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    let (status, body) = answers(&String::from_utf8(head).unwrap());
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // The command may be gone.
    let _ = socket.write_all((head + &body).as_bytes());
}

/// A server on TCP. Returns its address.
fn serve(answers: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for socket in listener.incoming() {
            answer(socket.unwrap(), &answers);
        }
    });
    address
}

/// A status with one tunnel and one failure.
fn document(state: &str) -> Value {
    json!({
        "schema": 1, "time": "2026-11-30T17:30:00.123Z", "version": "9.9.9", "instance": "voice-7f9c", "phase": "ready",
        "state": state, "since": "2026-11-30T17:21:13.000Z",
        "problems": [{ "severity": state, "code": "upstream_refused", "hint": "start\u{1b}[2J the upstream" }],
        "tunnels": { "open": 1, "matching": 1, "shown": [{ "conn": "c1", "client": "203.0.113.7", "route": "/ws/中文" }] },
        "recent": { "matching": 1, "records": [{ "event": "closed", "reason": "upstream_reset", "conn": "c2",
            "time": "2026-11-30T17:29:00.000Z", "detail": "reset after a ping", "client": "198.51.100.9" }] },
    })
}

fn status(state: &'static str) -> impl Fn(&str) -> (u16, String) + Send + Sync {
    move |_| (200, document(state).to_string())
}

fn top(arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.arg("top").args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

#[track_caller]
fn printed(output: &Output, code: i32) -> (&str, &str) {
    let out = std::str::from_utf8(&output.stdout).unwrap();
    let err = std::str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    (out, err)
}

#[test]
fn a_snapshot_is_plain_text_whatever_the_state() {
    for state in ["well", "look", "bad"] {
        let address = serve(status(state));
        // Output that is not a terminal needs no option.
        for arguments in [
            &["--once", "--address", &address][..],
            &["--address", &address],
        ] {
            let output = top(arguments);
            let (out, err) = printed(&output, 0);
            assert_eq!(err, "");
            assert!(out.starts_with(&format!("{state} ")), "{out}");
            for expected in ["wsgate 9.9.9 voice-7f9c", "/ws/中文", "upstream_reset"] {
                assert!(out.contains(expected), "{out}");
            }
            assert!(
                !out.contains(|c: char| c.is_control() && c != '\n'),
                "{out:?}"
            );
        }
    }
}

#[test]
fn filters_are_asked_of_the_proxy() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let heads = Arc::clone(&seen);
    let address = serve(move |head| {
        heads.lock().unwrap().push(head.to_owned());
        (400, "client: expected an \u{1b}[31maddress\n".to_owned())
    });
    let arguments = [
        "--route",
        "/a b",
        "--reason",
        "upstream_*",
        "--client",
        "x&y",
        "--minutes",
        "5",
    ];
    let output = top(&[&["--once", "--address", &address][..], &arguments].concat());
    let (out, err) = printed(&output, 1);
    assert_eq!(out, "");
    assert_eq!(
        err,
        format!("{address}: the answer is 400: client: expected an \\u{{1b}}[31maddress\n")
    );
    let heads = seen.lock().unwrap();
    assert_eq!(heads.len(), 1);
    let path = between(&heads[0], "GET ", " HTTP/1.1\r\n");
    assert!(
        path.ends_with("&route=/a%20b&reason=upstream_*&client=x%26y&minutes=5"),
        "{path}"
    );
    for wrong in [
        ["--minutes", "0"],
        ["--every", "1ms"],
        ["--lang", "de"],
        ["--address", "unix:a"],
    ] {
        printed(&top(&[&["--once"][..], &wrong].concat()), 2);
    }
}

#[test]
fn what_does_not_answer_or_is_something_else_is_said_to_be_so() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let html = serve(|_| (200, "<html>\u{1b}[2J".to_owned()));
    let old = serve(|_| (200, "{\"tunnels\":[]}".to_owned()));
    let huge = serve(|_| (200, " ".repeat(17 * 1024 * 1024)));
    let deep = serve(|_| (200, "[".repeat(1_000_000)));
    for (address, expected) in [
        (gone, "nothing listens there"),
        (html, "does something else listen there?"),
        (old, "no state"),
        (huge, "longer than 16 MiB"),
        (deep, "does something else listen there?"),
        (
            "unix:/nonexistent/a.sock".to_owned(),
            "nothing listens there",
        ),
    ] {
        let output = top(&["--once", "--address", &address]);
        let (out, err) = printed(&output, 1);
        assert_eq!(out, "");
        assert!(
            err.starts_with(&format!("{address}: ")) && err.contains(expected),
            "{err}"
        );
    }
}

#[test]
fn the_address_is_that_of_the_configuration() {
    let address = serve(status("well"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.yaml");
    std::fs::write(&path, format!("admin: {{ address: {address} }}\n")).unwrap();
    for arguments in [
        &["top", "-c", "proxy.yaml"][..],
        &["-c", "proxy.yaml", "top"],
        &["top"],
    ] {
        let (code, out, err) = run(arguments, folder.path());
        assert_eq!(code, 0, "{err}");
        assert!(out.starts_with("well "), "{out}");
    }
    std::fs::write(&path, "probes: { address: 127.0.0.1:1 }\n").unwrap();
    let (code, _, err) = run(&["top"], folder.path());
    assert_eq!(code, 2, "{err}");
}

#[test]
fn a_socket_in_the_file_system_is_asked_as_localhost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        answer(socket, &|head| {
            assert!(head.contains("\r\nHost: localhost\r\n"), "{head}");
            (200, document("bad").to_string())
        });
    });
    let output = top(&["--once", "--address", &format!("unix:{}", path.display())]);
    assert!(printed(&output, 0).0.starts_with("bad since 17:21:13"));
}

/// What a terminal shows: it knows the few commands that the view uses.
fn shown(bytes: &str, columns: usize, rows: usize) -> String {
    let mut cells = vec![vec![' '; columns]; rows];
    let (mut x, mut y) = (0, 0);
    let mut chars = bytes.chars();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            if let Some(cell) = cells.get_mut(y).and_then(|row| row.get_mut(x)) {
                *cell = c;
            }
            x += if ('\u{2e80}'..'\u{ff61}').contains(&c) {
                2
            } else {
                1
            };
            continue;
        }
        match chars.next() {
            Some('[') => {}
            other => panic!("an unknown command: {other:?} in {bytes:?}"),
        }
        let mut parameters = String::new();
        let command = loop {
            match chars.next() {
                Some(c @ '@'..='~') => break c,
                Some(c) => parameters.push(c),
                // The rest has not come yet.
                None => break ' ',
            }
        };
        match command {
            'H' => {
                let place = parameters.split_once(';').unwrap_or(("1", "1"));
                (y, x) = (
                    place.0.parse::<usize>().unwrap() - 1,
                    place.1.parse::<usize>().unwrap() - 1,
                );
            }
            'J' => cells.iter_mut().for_each(|row| row.fill(' ')),
            _ => {}
        }
    }
    let lines = cells
        .into_iter()
        .map(|row| row.into_iter().collect::<String>());
    lines
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// The view in a terminal.
struct View {
    child: Child,
    keyboard: File,
    /// The program's end, to look at its modes.
    end: File,
    seen: Arc<Mutex<String>>,
}

impl View {
    fn start(arguments: &[&str]) -> Self {
        let terminal = Terminal::open();
        let end = terminal.end();
        let size = Winsize {
            ws_col: 80,
            ws_row: 24,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&end, size).unwrap();
        let child = Command::new(program())
            .arg("top")
            .args(arguments)
            .env("TERM", "xterm")
            .env("USER", "ann")
            .env_remove("NO_COLOR")
            .stdin(terminal.end())
            .stdout(terminal.end())
            .stderr(terminal.end())
            .spawn()
            .unwrap();
        let keyboard = terminal.keyboard();
        let seen: Arc<Mutex<String>> = Arc::default();
        let all = Arc::clone(&seen);
        thread::spawn(move || terminal.watch(|shown| shown.clone_into(&mut all.lock().unwrap())));
        Self {
            child,
            keyboard,
            end,
            seen,
        }
    }

    #[track_caller]
    fn shows(&self, expected: &str) {
        let screen = || shown(&self.seen.lock().unwrap(), 80, 24);
        eventually(expected, || screen().contains(expected).then_some(()));
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end. The terminal is then as it was.
    #[track_caller]
    fn ends(mut self, code: i32) {
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(code));
        let modes = tcgetattr(&self.end).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO));
        eventually("the other screen is left", || {
            let seen = self.seen.lock().unwrap();
            (seen.matches("\u{1b}[?1049h").count() == seen.matches("\u{1b}[?1049l").count()
                && seen.rfind("\u{1b}[?25h") > seen.rfind("\u{1b}[?25l"))
            .then_some(())
        });
    }
}

#[test]
fn keys_lead_through_the_view_and_out_of_it() {
    let closed: Arc<Mutex<Vec<String>>> = Arc::default();
    let heads = Arc::clone(&closed);
    let address = serve(move |head| match head {
        _ if head.starts_with("GET / ") => (
            200,
            "<meta name=\"wsgate-token\" content=\"a1b2\">".to_owned(),
        ),
        _ if head.starts_with("POST ") => {
            heads.lock().unwrap().push(head.to_owned());
            (202, "closing it".to_owned())
        }
        _ if head.contains("reason=none") => (200, json!({ "state": "well" }).to_string()),
        _ => (200, document("bad").to_string()),
    });
    let mut view = View::start(&["--address", &address]);
    view.shows(" BAD  since 17:21:13");
    view.shows("do    start\\u{1b}[2J the upstream");
    view.press("3\r");
    view.shows("in this case     reset after a ping");
    view.press("\u{1b}");
    view.shows("17:29:00 upstream_reset");
    view.press("2c");
    view.shows("your name: ann");
    view.press("e\r");
    view.shows("close it, as anne?");
    view.press("y");
    view.shows("closing it");
    let head = closed.lock().unwrap().concat();
    assert!(
        head.starts_with("POST /close?conn=c1&name=anne HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nX-Wsgate-Token: a1b2\r\n"), "{head}");
    view.press("/\tnone\r");
    view.shows(" WELL ");
    view.shows("reason=none");
    let size = Winsize {
        ws_col: 50,
        ws_row: 10,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&view.end, size).unwrap();
    signal(view.child.id(), "WINCH");
    view.shows("the window has 50x10, but 60x15 are needed");
    view.press("q");
    view.ends(0);
}

#[test]
fn closing_that_is_off_is_said_before_a_name_is_asked_for() {
    let address = serve(|head| match head.starts_with("GET / ") {
        true => (200, "<meta name=\"wsgate-token\" content=\"\">".to_owned()),
        false => (200, document("bad").to_string()),
    });
    let mut view = View::start(&["--address", &address]);
    view.shows("1 Overview");
    view.press("2c");
    view.shows("closing is off, because");
    // Ctrl-C is a key in this mode of the terminal.
    view.press("\u{3}");
    view.ends(0);
}

#[test]
fn a_lost_proxy_is_told_and_its_return_is_noticed() {
    let is_up = Arc::new(Mutex::new(false));
    let up = Arc::clone(&is_up);
    let address = serve(move |_| match *up.lock().unwrap() {
        true => (200, document("look").to_string()),
        false => (503, "not yet".to_owned()),
    });
    let view = View::start(&["--address", &address, "--every", "250ms"]);
    view.shows("NO DATA since");
    view.shows("the answer is 503: not yet");
    *is_up.lock().unwrap() = true;
    view.shows(" LOOK  since");
    *is_up.lock().unwrap() = false;
    view.shows("OLD data of 17:30:00");
    view.shows(" LOOK  since");
    signal(view.child.id(), "TERM");
    view.ends(0);
}
