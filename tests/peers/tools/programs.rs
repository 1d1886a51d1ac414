//! The real WebSocket programs of `tests/interop`, started on either side of the proxy.
//!
//! They print one JSON object per line, which a test compares with the proxy's records.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Line, PATIENCE};

/// How long one step of a client may take, in milliseconds: less than [`PATIENCE`], so that its own report comes first.
const STEP_MS: u64 = 15_000;

/// A program that `tests/run` found or installed.
///
/// # Panics
/// If the variable is not set: a test without its peers must not pass.
#[track_caller]
pub fn tool(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run tests/run, which sets the peers up");
    })
}

/// A file of `tests/interop`.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/interop")
        .join(name)
}

/// A language with a client and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Node,
    Python,
}

impl Kind {
    /// The name and version of the runtime and of its WebSocket library.
    pub fn version(self) -> String {
        match self {
            Self::Node => format!("node {}, ws {}", node_version(), package_version("ws")),
            Self::Python => said(
                &tool("WSGATE_PYTHON"),
                &[
                    "-c",
                    "import platform, websockets\n\
                     print(f'python {platform.python_version()}, websockets {websockets.__version__}')",
                ],
            ),
        }
    }

    fn client(self) -> &'static str {
        match self {
            Self::Node => "ws_client.js",
            Self::Python => "py_client.py",
        }
    }

    fn server(self) -> &'static str {
        match self {
            Self::Node => "ws_server.js",
            Self::Python => "py_server.py",
        }
    }
}

pub fn node_version() -> String {
    said(&tool("WSGATE_NODE"), &["-p", "process.versions.node"])
}

/// The version of an npm package as installed.
pub fn package_version(name: &str) -> String {
    let manifest = file("node_modules").join(name).join("package.json");
    let manifest: Value = serde_json::from_str(&fs::read_to_string(manifest).unwrap()).unwrap();
    manifest["version"].as_str().unwrap().to_owned()
}

/// The first line that a short program prints.
pub fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().next().unwrap_or_default().to_owned()
}

/// All output of a short program.
pub fn said_in_all(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap()
}

/// The interpreter of a program in `tests/interop`, by the program's extension.
fn interpreter(program: &str) -> Command {
    if program.ends_with(".py") {
        return Command::new(tool("WSGATE_PYTHON"));
    }
    let mut node = Command::new(tool("WSGATE_NODE"));
    // Before Node 20 a client tries only the first address of localhost, and the proxy listens on 127.0.0.1.
    node.env("NODE_OPTIONS", "--dns-result-order=ipv4first");
    node
}

#[derive(Default)]
struct Said {
    lines: Vec<Line>,
    ended: bool,
}

/// A running program, killed when dropped.
struct Process {
    what: String,
    child: Child,
    /// Servers live until it is closed.
    _stdin: ChildStdin,
    said: Arc<(Mutex<Said>, Condvar)>,
    errors: Arc<Mutex<String>>,
}

impl Process {
    fn start(program: &str, arguments: &[String]) -> Self {
        let mut child = interpreter(program)
            .arg(file(program))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let said = Arc::<(Mutex<Said>, Condvar)>::default();
        let errors = Arc::<Mutex<String>>::default();
        read_lines(child.stdout.take().unwrap(), Arc::clone(&said));
        read_errors(child.stderr.take().unwrap(), Arc::clone(&errors));
        Self {
            what: format!("{program} {}", arguments.join(" ")),
            _stdin: child.stdin.take().unwrap(),
            child,
            said,
            errors,
        }
    }

    /// Waits until `found` finds something in the lines so far; its second argument says whether there will be no more.
    #[track_caller]
    fn wait<T>(&self, what: &str, found: impl Fn(&[Line], bool) -> Option<T>) -> T {
        let (said, changed) = &*self.said;
        let deadline = Instant::now() + PATIENCE;
        let mut said = said.lock().unwrap();
        loop {
            if let Some(found) = found(&said.lines, said.ended) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || said.ended {
                panic!(
                    "{}: {what} did not come; ended: {}\nlines: {:#?}\nstderr: {}",
                    self.what,
                    said.ended,
                    said.lines,
                    self.errors.lock().unwrap()
                );
            }
            said = changed.wait_timeout(said, left).unwrap().0;
        }
    }

    fn lines(&self) -> Vec<Line> {
        self.said.0.lock().unwrap().lines.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It is already gone if it ended on its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(from: impl Read + Send + 'static, said: Arc<(Mutex<Said>, Condvar)>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            // A killed program may leave half a line.
            let Some(value) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else {
                break;
            };
            said.0.lock().unwrap().lines.push(Line(value));
            said.1.notify_all();
        }
        said.0.lock().unwrap().ended = true;
        said.1.notify_all();
    });
}

fn read_errors(mut from: impl Read + Send + 'static, errors: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            let text = String::from_utf8_lossy(&piece[..count]);
            errors.lock().unwrap().push_str(&text);
        }
    });
}

/// A server program.
pub struct Server {
    process: Process,
    port: u64,
}

impl Server {
    /// Starts a program and waits until it listens.
    pub fn program(name: &str, arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let process = Process::start(name, &arguments);
        let port = process.wait("its port", |lines, _| {
            lines.iter().find_map(|line| line.number("listening"))
        });
        Self { process, port }
    }

    /// Starts the echo server of a kind.
    pub fn start(kind: Kind, options: Value) -> Self {
        Self::program(kind.server(), &[&options.to_string()])
    }

    pub fn port(&self) -> u64 {
        self.port
    }

    /// Its URL in `proxy.yaml`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its `connection` or `refused` event for the test's case.
    #[track_caller]
    pub fn handshake(&self, case: &str) -> Line {
        let mark = format!("?case={case}");
        self.process.wait(&mark, |lines, _| {
            lines
                .iter()
                .find(|line| {
                    matches!(line.text("event"), "connection" | "refused")
                        && line.text("url").ends_with(&mark)
                })
                .cloned()
        })
    }

    /// An event of a connection.
    #[track_caller]
    pub fn event(&self, connection: &Line, name: &str) -> Line {
        let id = connection.number("id");
        self.process.wait(name, |lines, _| {
            lines
                .iter()
                .find(|line| line.text("event") == name && line.number("id") == id)
                .cloned()
        })
    }

    /// Waits for the first line for which `is` is true.
    #[track_caller]
    pub fn line(&self, what: &str, is: impl Fn(&Line) -> bool) -> Line {
        self.process
            .wait(what, |lines, _| lines.iter().find(|line| is(line)).cloned())
    }

    /// Everything that it has printed.
    pub fn lines(&self) -> Vec<Line> {
        self.process.lines()
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.process.child.kill().unwrap();
    }
}

/// A client program on its one connection.
pub struct Client(Process);

impl Client {
    /// Starts it; the first lines of its file list the `options`.
    pub fn start(kind: Kind, url: &str, mut options: Value) -> Self {
        options["timeout_ms"] = json!(STEP_MS);
        Self(Process::start(
            kind.client(),
            &[url.to_owned(), options.to_string()],
        ))
    }

    /// Starts another program with the same output format.
    pub fn program(name: &str, options: &Value) -> Self {
        Self(Process::start(name, &[options.to_string()]))
    }

    /// Waits until it reports a case.
    #[track_caller]
    pub fn did(&self, case: &str) {
        self.0.wait(case, |lines, _| {
            lines
                .iter()
                .any(|line| line.text("case") == case)
                .then_some(())
        });
    }

    /// Waits for an event that it reports.
    #[track_caller]
    pub fn said(&self, event: &str) {
        self.0.wait(event, |lines, _| {
            lines
                .iter()
                .any(|line| line.text("event") == event)
                .then_some(())
        });
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(self) -> Report {
        let lines = self
            .0
            .wait("its end", |lines, ended| ended.then(|| lines.to_vec()));
        let done = lines.last().is_some_and(|line| line.0["done"] == true);
        assert!(
            done,
            "{} ended early: {lines:#?}\nstderr: {}",
            self.0.what,
            self.0.errors.lock().unwrap()
        );
        Report(lines)
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.0.child.kill().unwrap();
    }
}

/// Everything that a client printed.
#[derive(Debug)]
pub struct Report(Vec<Line>);

impl Report {
    /// How many cases passed; all must have.
    #[track_caller]
    pub fn passed(&self) -> usize {
        let done = self.0.last().unwrap();
        assert_eq!(done.number("failed"), Some(0), "{:#?}", self.0);
        usize::try_from(done.number("passed").unwrap()).unwrap()
    }

    /// The last line: the summary.
    pub fn last(&self) -> &Line {
        self.0.last().unwrap()
    }

    /// The `open` event.
    #[track_caller]
    pub fn open(&self) -> &Line {
        self.find("the open event", |line| line.text("event") == "open")
    }

    /// The code and reason of the end, as the application sees them.
    #[track_caller]
    pub fn close(&self) -> (u64, &str) {
        let line = self.find("the close event", |line| line.text("event") == "close");
        (line.number("code").unwrap(), line.text("reason"))
    }

    /// The answer that was not 101.
    #[track_caller]
    pub fn refusal(&self) -> Line {
        let line = self.find("a refusal", |line| {
            line.0.get("unexpected_response").is_some()
        });
        Line(line.0["unexpected_response"].clone())
    }

    /// The library's error code if there was no answer.
    #[track_caller]
    pub fn error(&self) -> &str {
        let line = self.find("an error", |line| line.0.get("error").is_some());
        line.0["error"]["code"].as_str().unwrap()
    }

    /// The library's words for it.
    #[track_caller]
    pub fn error_message(&self) -> &str {
        let line = self.find("an error", |line| line.0.get("error").is_some());
        line.0["error"]["message"].as_str().unwrap()
    }

    /// The detail of a case.
    #[track_caller]
    pub fn detail(&self, case: &str) -> Line {
        Line(self.find(case, |line| line.text("case") == case).0["detail"].clone())
    }

    #[track_caller]
    fn find(&self, what: &str, is: impl Fn(&Line) -> bool) -> &Line {
        let found = self.0.iter().find(|line| is(line));
        found.unwrap_or_else(|| panic!("{what} is missing: {:#?}", self.0))
    }
}

/// The fields of a head as a peer received them, in order and with their spelling.
#[track_caller]
pub fn fields(line: &Line) -> Vec<(&str, &str)> {
    let pairs = line.0["headers"].as_array().unwrap();
    pairs
        .iter()
        .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        .collect()
}

/// The value of a field that occurs once.
#[track_caller]
pub fn field<'a>(line: &'a Line, name: &str) -> &'a str {
    let found: Vec<_> = fields(line)
        .into_iter()
        .filter(|(other, _)| other.eq_ignore_ascii_case(name))
        .collect();
    match found[..] {
        [(_, value)] => value,
        _ => panic!("{name} is there {} times: {line:?}", found.len()),
    }
}

/// What one family of peers did. It is printed at the end, because the versions with which tests passed are a result
/// too.
pub struct Family {
    name: String,
    cases: usize,
}

impl Family {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            cases: 0,
        }
    }

    pub fn add(&mut self, cases: usize) {
        self.cases += cases;
    }

    /// Prints the family's line, and passes it to `tests/run`, which shows it after everything else.
    pub fn finish(self) {
        let line = format!("{}: {} cases", self.name, self.cases);
        println!("{line}");
        if let Some(path) = env::var_os("WSGATE_SUMMARY") {
            let mut file = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .unwrap();
            // In one write, because families end at the same time.
            file.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
    }
}
