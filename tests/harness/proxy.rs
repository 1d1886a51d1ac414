//! The real program, its configuration and its records.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use wsgate::reason::{Reason, Stage};

use super::PATIENCE;
use super::certs::{Authority, Kind};

/// The Origin that [`Setup`]'s route admits.
pub const ORIGIN: &str = "https://app.example.com";
/// The name in [`Setup`]'s certificate, in addition to `localhost` and `127.0.0.1`.
pub const HOST: &str = "api.example.com";

/// The shipped configurations.
pub const SHIPPED: [&str; 4] = [
    "proxy.yaml",
    "deploy/proxy.yaml",
    "deploy/express/proxy.yaml",
    "deploy/one-image/proxy.yaml",
];

/// The shipped configuration, on free ports.
pub fn shipped() -> String {
    let yaml = fs::read_to_string("proxy.yaml").unwrap();
    ["127.0.0.1:8443", "127.0.0.1:9901"]
        .iter()
        .fold(yaml, |yaml, address| yaml.replace(address, "127.0.0.1:0"))
}

/// A configuration with one listener, one route `/ws` and one upstream; each field is YAML for its place.
#[derive(Clone)]
pub struct Setup {
    /// `listeners[0].address`.
    pub address: SocketAddr,
    /// Under `listeners[0].tls`; `None`: a plain listener.
    pub tls: Option<String>,
    /// More keys of `listeners[0]`, each line indented by the harness.
    pub listener: String,
    /// More keys of `routes[0].websocket`, each line indented by the harness.
    pub websocket: String,
    /// Origins of the route.
    pub origins: String,
    /// More routes, as list items at indentation 2.
    pub routes: String,
    /// `routes[0].path`.
    pub path: String,
    /// `routes[0].host`, if any.
    pub host: Option<String>,
    /// Items of `upstreams.app.endpoints`.
    pub endpoints: String,
    /// More keys of `upstreams.app`, flow style, comma first.
    pub upstream: String,
    /// Keys of `limits`, flow style.
    pub limits: String,
    /// Keys of `shutdown`, flow style.
    pub shutdown: String,
    /// Keys of `log`, flow style.
    pub log: String,
    /// More top-level YAML.
    pub extra: String,
    /// A hard limit of descriptors for the process.
    pub descriptors: Option<u64>,
    /// The command that starts the program, if it is not started directly.
    pub through: Vec<String>,
}

impl Setup {
    /// A TLS listener with a good certificate, in front of `endpoint`.
    pub fn tls(endpoint: &str) -> Self {
        Self {
            tls: Some("certificates: [{ cert: good.pem, key: good-key.pem }]".to_owned()),
            ..Self::plain(endpoint)
        }
    }

    /// A listener without TLS, in front of `endpoint`.
    pub fn plain(endpoint: &str) -> Self {
        Self {
            address: ([127, 0, 0, 1], 0).into(),
            tls: None,
            listener: String::new(),
            websocket: String::new(),
            origins: format!("[{ORIGIN}]"),
            routes: String::new(),
            path: "/ws".to_owned(),
            host: None,
            endpoints: endpoint.to_owned(),
            upstream: String::new(),
            limits: String::new(),
            shutdown: "drain: 2s".to_owned(),
            log: "level: debug".to_owned(),
            extra: String::new(),
            descriptors: None,
            through: Vec::new(),
        }
    }

    /// The configuration file's text.
    pub fn yaml(&self) -> String {
        let indented = |text: &str, by: usize| -> String {
            text.lines()
                .map(|line| format!("{}{line}\n", " ".repeat(by)))
                .collect()
        };
        // Without quotes the brackets of IPv6 would start a list.
        let address = match self.address {
            SocketAddr::V4(address) => address.to_string(),
            SocketAddr::V6(address) => format!("\"{address}\""),
        };
        let mut yaml = format!("listeners:\n  - address: {address}\n");
        if let Some(tls) = &self.tls {
            yaml += &format!("    tls:\n{}", indented(tls, 6));
        }
        yaml += &indented(&self.listener, 4);
        yaml += &format!("routes:\n  - path: {}\n", self.path);
        if let Some(host) = &self.host {
            yaml += &format!("    host: {host}\n");
        }
        yaml += &format!("    websocket:\n      origins: {}\n", self.origins);
        yaml += &indented(&self.websocket, 6);
        yaml += "    upstream: app\n";
        yaml += &self.routes;
        yaml += &format!(
            "upstreams:\n  app: {{ endpoints: [{}]{} }}\n",
            self.endpoints, self.upstream
        );
        for (name, keys) in [
            ("limits", &self.limits),
            ("shutdown", &self.shutdown),
            ("log", &self.log),
        ] {
            if !keys.is_empty() {
                yaml += &format!("{name}: {{ {keys} }}\n");
            }
        }
        yaml + &self.extra
    }

    /// A folder with this configuration as `proxy.yaml`, its certificate, and the authority of both in `ca.pem`.
    pub fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::shared();
        authority.write(
            folder.path(),
            "good",
            &[HOST, "localhost", "127.0.0.1"],
            Kind::Good,
        );
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        fs::write(folder.path().join("proxy.yaml"), self.yaml()).unwrap();
        folder
    }

    /// Starts the program with this configuration.
    pub fn start(&self) -> Proxy {
        self.start_in(self.folder())
    }

    /// The same in a folder that the test has prepared.
    pub fn start_in(&self, folder: TempDir) -> Proxy {
        fs::write(folder.path().join("proxy.yaml"), self.yaml()).unwrap();
        self.start_bound(folder, 1)
    }

    /// The same if the test has also written the configuration; `listeners` addresses are bound.
    pub fn start_bound(&self, folder: TempDir, listeners: usize) -> Proxy {
        let Some((first, arguments)) = self.through.split_first() else {
            return Proxy::spawn(folder, self.descriptors, listeners);
        };
        let mut command = Command::new(first);
        command.args(arguments).arg(program());
        Proxy::launch(folder, command, listeners)
    }
}

/// One line of the program's standard output.
#[derive(Clone, Debug)]
pub struct Line(pub Value);

impl Line {
    /// A field as text; empty if absent.
    pub fn text(&self, field: &str) -> &str {
        self.0
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A field as a number.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.0.get(field).and_then(Value::as_u64)
    }

    /// The codes of the record's notes.
    pub fn notes(&self) -> Vec<&str> {
        let notes = self.0.get("notes").and_then(Value::as_array);
        notes
            .into_iter()
            .flatten()
            .filter_map(|note| note.get("code")?.as_str())
            .collect()
    }

    /// Checks the record against everything that is fixed for its reason.
    #[track_caller]
    pub fn expect(self, reason: Reason) -> Self {
        let spec = reason.spec();
        assert_eq!(self.text("reason"), spec.code, "{self:?}");
        let at = |stage: &Stage| stage.name() == self.text("stage");
        if reason.is_anywhere() {
            assert!(Stage::ALL.iter().any(at), "{self:?}");
        } else {
            assert!(at(&spec.stage), "{self:?}");
        }
        match spec.by {
            Some(by) => assert_eq!(self.text("by"), by.name(), "{self:?}"),
            None => assert!(
                ["client", "upstream"].contains(&self.text("by")),
                "{self:?}"
            ),
        }
        // Repeated probes get level debug.
        let is_repeated = reason == Reason::PlainHttpRequest && self.text("level") == "debug";
        assert!(
            is_repeated || self.text("level") == spec.level.name(),
            "{self:?}"
        );
        assert!(!self.text("hint").is_empty(), "{self:?}");
        if let wsgate::reason::Status::Fixed(status) = spec.status {
            let switched = if self.text("http_version") == "2" {
                200
            } else {
                101
            };
            let explained = self.notes().contains(&"refusal_explained");
            let explained = explained.then_some(switched);
            let status = explained.unwrap_or(status);
            assert_eq!(self.number("status"), Some(status.into()), "{self:?}");
        }
        self.has_its_times();
        self
    }

    /// Checks that the times of a terminal record are consistent.
    #[track_caller]
    fn has_its_times(&self) {
        let is_closed = self.text("event") == "closed";
        assert!(self.number("lasted_ms").is_some(), "{self:?}");
        let waited = self.number("close_wait_ms");
        assert_eq!(waited.is_some(), is_closed, "{self:?}");
        let Some(waited) = waited else {
            return;
        };
        let since_end = self
            .time("time")
            .duration_since(self.time("ended_at"))
            .expect("a tunnel ends before its record");
        // Each value is truncated to milliseconds.
        assert!(since_end.as_millis() + 1 >= waited.into(), "{self:?}");
        assert!(self.number("lasted_ms") >= Some(waited), "{self:?}");
    }

    /// A field with a point in time.
    #[track_caller]
    pub fn time(&self, field: &str) -> SystemTime {
        humantime::parse_rfc3339(self.text(field)).unwrap()
    }

    /// Checks that the detail contains `part`.
    #[track_caller]
    pub fn with_detail(self, part: &str) -> Self {
        assert!(
            self.text("detail").contains(part),
            "no {part:?} in {self:?}"
        );
        self
    }
}

#[derive(Default)]
struct Output {
    lines: Vec<Line>,
    ended: bool,
}

/// A running program.
pub struct Proxy {
    child: Child,
    folder: TempDir,
    output: Arc<(Mutex<Output>, Condvar)>,
    readers: Vec<JoinHandle<()>>,
    diagnostics: Arc<Mutex<String>>,
    addresses: Vec<SocketAddr>,
    terminals_taken: usize,
}

/// The program's path.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_wsgate"))
}

impl Proxy {
    /// Starts the program on `folder/proxy.yaml` and waits for `listeners` bound addresses.
    pub fn spawn(folder: TempDir, descriptors: Option<u64>, listeners: usize) -> Self {
        let command = match descriptors {
            None => Command::new(program()),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args([
                    "-c",
                    &format!("ulimit -n {limit} && exec \"$0\" \"$@\""),
                    program().to_str().unwrap(),
                ]);
                shell
            }
        };
        Self::launch(folder, command, listeners)
    }

    /// The same with another command, which runs the program with the arguments that are added here.
    pub fn launch(folder: TempDir, mut command: Command, listeners: usize) -> Self {
        command
            .arg("--config")
            .arg(folder.path().join("proxy.yaml"));
        Self::follow(folder, command, listeners)
    }

    /// The same with a command to which nothing is added.
    pub fn follow(folder: TempDir, mut command: Command, listeners: usize) -> Self {
        command.stdin(Stdio::null());
        Self::attach(folder, command, listeners)
    }

    /// The same with a command whose standard input is already set.
    pub fn attach(folder: TempDir, mut command: Command, listeners: usize) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let output = Arc::new((Mutex::new(Output::default()), Condvar::new()));
        let diagnostics = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            read_lines(child.stdout.take().unwrap(), Arc::clone(&output)),
            read_diagnostics(child.stderr.take().unwrap(), Arc::clone(&diagnostics)),
        ];
        let mut proxy = Self {
            child,
            folder,
            output,
            readers,
            diagnostics,
            addresses: Vec::new(),
            terminals_taken: 0,
        };
        let bound = proxy.wait("the listeners", |lines| {
            let bound: Vec<_> = lines
                .iter()
                .filter(|line| line.text("event") == "listening")
                // A unix socket has no address.
                .filter(|line| !line.text("listener").starts_with("unix:"))
                .collect();
            (bound.len() >= listeners).then(|| {
                bound
                    .iter()
                    .map(|line| line.text("listener").parse().unwrap())
                    .collect::<Vec<_>>()
            })
        });
        proxy.addresses = bound;
        proxy
    }

    /// The bound address of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The bound addresses, in the configuration's order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The folder of the configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until `found` finds something in the lines so far.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, found: impl Fn(&[Line]) -> Option<T>) -> T {
        let (output, changed) = &*self.output;
        let deadline = Instant::now() + PATIENCE;
        let mut output = output.lock().unwrap();
        loop {
            if let Some(found) = found(&output.lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || output.ended {
                let (ended, lines) = (output.ended, output.lines.clone());
                // A panic while the lock is held would make `drop` panic too, and hide this message.
                drop(output);
                let said = self.diagnostics();
                panic!("{what} did not come; ended: {ended}\nlines: {lines:#?}\nstderr: {said}");
            }
            output = changed.wait_timeout(output, left).unwrap().0;
        }
    }

    /// Waits for the next `refused`, `closed` or `request` that was not yet taken.
    #[track_caller]
    pub fn terminal(&mut self) -> Line {
        let index = self.terminals_taken;
        self.terminals_taken += 1;
        self.wait("a terminal record", |lines| {
            lines
                .iter()
                .filter(|line| is_terminal(line))
                .nth(index)
                .cloned()
        })
    }

    /// Waits for an event of this name.
    #[track_caller]
    pub fn event(&self, name: &str) -> Line {
        self.wait(name, |lines| {
            lines
                .iter()
                .find(|line| line.text("event") == name)
                .cloned()
        })
    }

    /// Waits for `count` events of this name; gives the last of these.
    #[track_caller]
    pub fn event_number(&self, name: &str, count: usize) -> Line {
        self.wait(&format!("{name} number {count}"), |lines| {
            let mut events = lines.iter().filter(|line| line.text("event") == name);
            events.nth(count - 1).cloned()
        })
    }

    /// How many events of this name there are so far.
    pub fn events(&self, name: &str) -> usize {
        let lines = self.lines();
        lines
            .iter()
            .filter(|line| line.text("event") == name)
            .count()
    }

    /// Makes `setup` the configuration of the running program, sends SIGHUP, and waits until it is in use.
    #[track_caller]
    pub fn reload(&self, setup: &Setup) -> Line {
        self.reload_with(&setup.yaml())
    }

    /// The same with the text of a configuration.
    #[track_caller]
    pub fn reload_with(&self, yaml: &str) -> Line {
        let count = self.events("reloaded");
        self.write(yaml);
        self.signal("HUP");
        self.event_number("reloaded", count + 1)
    }

    /// Replaces the configuration file atomically, as careful editors and tools do.
    pub fn write(&self, yaml: &str) {
        let [next, file] =
            ["proxy.yaml.next", "proxy.yaml"].map(|name| self.folder.path().join(name));
        fs::write(&next, yaml).unwrap();
        fs::rename(next, file).unwrap();
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.output.0.lock().unwrap().lines.clone()
    }

    /// The program's standard error so far.
    pub fn diagnostics(&self) -> String {
        self.diagnostics.lock().unwrap().clone()
    }

    /// The program's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The processor time of the program's threads, once all of them sleep: the kernel adds a thread's time when it
    /// yields.
    #[track_caller]
    pub fn processor_time(&self) -> Duration {
        let folder = format!("/proc/{}/task", self.id());
        super::eventually("the program to have nothing to do", || {
            let mut sum = Duration::ZERO;
            for thread in fs::read_dir(&folder).unwrap() {
                let of = |name| fs::read_to_string(thread.as_ref().unwrap().path().join(name));
                // A thread that has just ended can't be read.
                let (Ok(stat), Ok(times)) = (of("stat"), of("schedstat")) else {
                    return None;
                };
                // After the name, which may contain anything.
                let (_, state) = stat.rsplit_once(") ").unwrap();
                if !state.starts_with('S') {
                    return None;
                }
                let used = times.split_whitespace().next().unwrap();
                sum += Duration::from_nanos(used.parse().unwrap());
            }
            Some(sum)
        })
    }

    /// The least processor time of a few runs of `work`, as soon as it is at most `enough`: other programs on the
    /// machine can only increase it.
    pub fn least_time(&self, enough: Duration, mut work: impl FnMut()) -> Duration {
        let mut least = Duration::MAX;
        for _ in 0..4 {
            let before = self.processor_time();
            work();
            least = least.min(self.processor_time().saturating_sub(before));
            if least <= enough {
                break;
            }
        }
        least
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        super::signal(self.id(), name);
    }

    /// Waits for the program to end on its own.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        super::eventually("the program's end", || self.child.try_wait().unwrap())
    }

    /// Asks the program to end and waits for it; gives all its lines.
    #[track_caller]
    pub fn stop(mut self) -> Vec<Line> {
        self.signal("TERM");
        let status = self.ended();
        let lines = self.finished();
        assert!(status.success(), "{status}: {}", self.diagnostics());
        lines
    }

    /// All lines of a program that has ended.
    #[track_caller]
    pub fn finished(&mut self) -> Vec<Line> {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.lines()
    }
}

/// Fails if the program panicked; of a test that fails it prints what the program said.
pub fn has_not_panicked(said: &str) {
    if std::thread::panicking() {
        eprintln!("stderr of the program:\n{said}");
    } else {
        assert!(
            !said.contains("panicked at"),
            "the program panicked:\n{said}"
        );
    }
}

/// Whether a line is the final one of a connection or of a request.
pub fn is_terminal(line: &Line) -> bool {
    matches!(line.text("event"), "refused" | "closed" | "request")
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It is already gone after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let said = self.diagnostics.lock().unwrap();
        has_not_panicked(&said);
    }
}

fn read_lines(
    from: impl Read + Send + 'static,
    output: Arc<(Mutex<Output>, Condvar)>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let line = line.unwrap();
            let value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            output.0.lock().unwrap().lines.push(Line(value));
            output.1.notify_all();
        }
        output.0.lock().unwrap().ended = true;
        output.1.notify_all();
    })
}

fn read_diagnostics(from: impl Read + Send + 'static, text: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut text = text.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    })
}

/// The program on a system that knows only the tests' authority.
pub fn knowing_the_authority() -> Command {
    static ROOTS: OnceLock<PathBuf> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let name = format!("authority-{}.pem", std::process::id());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&file, Authority::shared().pem()).unwrap();
        file
    });
    let mut command = Command::new(program());
    command
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR");
    command
}

/// Runs the program to its end; gives its status, standard output and standard error.
pub fn run(arguments: &[&str], folder: &Path) -> (i32, String, String) {
    let mut child = knowing_the_authority()
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let err = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        text
    });
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let status = super::eventually("the program's end", || child.try_wait().unwrap());
    (status.code().unwrap_or(-1), text, err.join().unwrap())
}

/// A duration in milliseconds, in the form of the configuration.
pub fn spelled(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
