//! Headless Chromium, and the small web server for its pages.
//!
//! A page reports to the server what script saw. One browser does many cases at the same time, each in its own frame: a
//! frame has the Origin of its own document, and a browser takes seconds to start.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::programs::{file, tool};
use crate::harness::{Line, PATIENCE};

/// On a loaded machine the start of a browser takes longer than anything else here.
const BROWSER_PATIENCE: Duration = PATIENCE.saturating_mul(3);

/// How long one step of a page may take, in milliseconds: a browser with many frames opens their connections one after
/// the other. Less than [`BROWSER_PATIENCE`], so that the page's own report comes first.
const STEP_MS: &str = "45000";

type Reports = Arc<(Mutex<HashMap<String, Line>>, Condvar)>;

/// Serves `page.html`, a document with frames, and receives the frames' reports.
pub struct Pages {
    port: u16,
    frames: Arc<Mutex<String>>,
    reports: Reports,
}

impl Pages {
    pub fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pages = Self {
            port: listener.local_addr().unwrap().port(),
            frames: Arc::default(),
            reports: Arc::default(),
        };
        let (frames, reports) = (Arc::clone(&pages.frames), Arc::clone(&pages.reports));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (frames, reports) = (Arc::clone(&frames), Arc::clone(&reports));
                // A browser opens connections in advance and closes them without a request.
                std::thread::spawn(move || answer(socket, &frames, &reports));
            }
        });
        pages
    }

    /// The pages' Origin with this host name of the machine.
    pub fn origin(&self, host: &str) -> String {
        format!("http://{host}:{}", self.port)
    }

    /// Adds a frame from `origin` that opens `url` and does `cases`; its report has the name `name`.
    pub fn add(&self, name: &str, origin: &str, url: &str, protocols: &str, cases: &str) {
        let query: String = [
            ("url", url),
            ("protocols", protocols),
            ("cases", cases),
            ("timeout_ms", STEP_MS),
            ("report", &format!("/report/{name}")),
        ]
        .into_iter()
        .map(|(key, value)| format!("{key}={}&", escaped(value)))
        .collect();
        let frame = format!("<iframe src=\"{origin}/page.html?{query}\"></iframe>\n");
        self.frames.lock().unwrap().push_str(&frame);
    }

    /// Waits for a frame's report.
    #[track_caller]
    pub fn report(&self, name: &str) -> Line {
        let (reports, changed) = &*self.reports;
        let deadline = Instant::now() + BROWSER_PATIENCE;
        let mut reports = reports.lock().unwrap();
        loop {
            if let Some(report) = reports.get(name) {
                return report.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "no report of {name}, only of {:?}",
                reports.keys()
            );
            reports = changed.wait_timeout(reports, left).unwrap().0;
        }
    }
}

/// A value for a query; the result does not contain HTML's `&`.
fn escaped(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Answers one request. If anything fails here, a report is missing.
fn answer(socket: TcpStream, frames: &Mutex<String>, reports: &Reports) -> Option<()> {
    socket.set_read_timeout(Some(BROWSER_PATIENCE)).ok()?;
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let target = first.split(' ').nth(1)?;
    let (status, page) = match target.split('?').next()? {
        "/" => ("200 OK", frames.lock().unwrap().clone()),
        "/page.html" => ("200 OK", fs::read_to_string(file("page.html")).ok()?),
        path => match path.strip_prefix("/report/") {
            Some(name) => {
                let report: Value = serde_json::from_slice(&body).ok()?;
                reports
                    .0
                    .lock()
                    .unwrap()
                    .insert(name.to_owned(), Line(report));
                reports.1.notify_all();
                ("204 No Content", String::new())
            }
            None => ("404 Not Found", String::new()),
        },
    };
    let mut socket = socket;
    write!(
        socket,
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{page}",
        page.len()
    )
    .ok()
}

/// A running browser with its own home folder.
pub struct Browser {
    child: Child,
    /// Removed after the browser has ended.
    _home: TempDir,
}

impl Browser {
    /// Opens a page in a new browser that also trusts `authority` (a PEM file), if there is one.
    pub fn open(page: &str, authority: Option<&Path>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = home.path().join(".pki/nssdb");
        fs::create_dir_all(&store).unwrap();
        let store = format!("sql:{}", store.display());
        certutil(&["-N", "-d", &store, "--empty-password"]);
        if let Some(authority) = authority {
            let authority = authority.to_str().unwrap();
            certutil(&[
                "-A", "-d", &store, "-n", "test", "-t", "C,,", "-i", authority,
            ]);
        }
        let profile = home.path().join("profile");
        let child = Command::new(tool("WSGATE_CHROMIUM"))
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(page)
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its helper processes are in its group and end with it.
            .process_group(0)
            .spawn()
            .unwrap();
        Self { child, _home: home }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        // It may already have ended on its own.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

fn certutil(arguments: &[&str]) {
    let output = Command::new(tool("WSGATE_CERTUTIL"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "certutil {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
