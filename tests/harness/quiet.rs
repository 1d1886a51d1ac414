//! The real program with a standard output that the test reads late or never.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use super::proxy::{has_not_panicked, program};
use super::{Line, Setup};

/// A running program of which only the first line was read.
pub struct Quiet {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
    diagnostics: Arc<Mutex<String>>,
    /// The first line as received.
    pub first: String,
    _folder: TempDir,
}

impl Quiet {
    pub fn start(setup: &Setup) -> Self {
        Self::launch(setup, Command::new(program()), Stdio::piped())
    }

    /// The same with a standard error that nobody reads, and a limit about which the program must warn.
    pub fn unheard(setup: &Setup) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\""]);
        shell.arg(program());
        Self::launch(setup, shell, writer.into())
    }

    fn launch(setup: &Setup, mut command: Command, stderr: Stdio) -> Self {
        let folder = setup.folder();
        let mut child = command
            .arg("--config")
            .arg(folder.path().join("proxy.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the program starts");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let diagnostics = Arc::new(Mutex::new(String::new()));
        let said = Arc::clone(&diagnostics);
        if let Some(mut stderr) = child.stderr.take() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                    let text = String::from_utf8_lossy(&buffer[..count]);
                    said.lock().unwrap().push_str(&text);
                }
            });
        }
        let mut first = String::new();
        output.read_line(&mut first).unwrap();
        Self {
            child,
            output: Some(output),
            diagnostics,
            first,
            _folder: folder,
        }
    }

    /// The listener's address, which the first line contains in both formats.
    pub fn address(&self) -> SocketAddr {
        let address = match serde_json::from_str::<Value>(&self.first) {
            Ok(line) => Line(line).text("listener").to_owned(),
            Err(_) => {
                let after = self.first.split(" listener=").nth(1).unwrap();
                after.split_whitespace().next().unwrap().to_owned()
            }
        };
        address.parse().unwrap()
    }

    /// Closes our end of the program's standard output.
    pub fn close_output(&mut self) {
        self.output = None;
    }

    /// The output, to continue reading.
    pub fn take_output(&mut self) -> BufReader<ChildStdout> {
        self.output.take().unwrap()
    }

    pub fn signal(&self, name: &str) {
        super::signal(self.child.id(), name);
    }

    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        super::eventually("the program's end", || self.child.try_wait().unwrap())
    }

    /// Ends the program; gives everything that it wrote after the first line.
    #[track_caller]
    pub fn stop(mut self) -> String {
        let mut output = self.take_output();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).map(|_| text)
        });
        self.signal("TERM");
        assert!(
            self.ended().success(),
            "{}",
            self.diagnostics.lock().unwrap()
        );
        reader.join().unwrap().unwrap()
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // It is already gone if the test waited for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let said = self.diagnostics.lock().unwrap();
        has_not_panicked(&said);
    }
}
