//! A file whose readers must wait, as on a network file system that does not answer.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::programs::tool;

/// Holds a lease on the file: the kernel lets nobody else open it until the lease is released, or for 45 seconds.
const HOLD: &str = "\
import fcntl, signal, sys
file = open(sys.argv[1], 'r+')
signal.signal(signal.SIGIO, lambda *_: print('wanted', flush=True))
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()
";

/// A file that nobody else can open while this lives.
pub struct Held {
    holder: Child,
    said: BufReader<ChildStdout>,
}

impl Held {
    pub fn new(file: &Path) -> Self {
        let mut holder = Command::new(tool("WSGATE_PYTHON"))
            .args(["-c", HOLD])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(holder.stdout.take().unwrap());
        let mut held = Self { holder, said };
        held.says("held");
        held
    }

    /// Waits until someone tries to open it.
    pub fn is_wanted(&mut self) {
        self.says("wanted");
    }

    #[track_caller]
    fn says(&mut self, word: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), word);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
