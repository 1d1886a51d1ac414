//! Starts processes, and reads from the kernel what they use.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;

/// How long a process may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often to poll for conditions without an event.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process that is ended when this value is dropped.
pub struct Started {
    child: Child,
    lines: Option<BufReader<ChildStdout>>,
}

impl Started {
    /// Starts a helper, which ends when its standard input does, and reads its lines.
    ///
    /// # Errors
    /// If the program can't be started.
    pub fn helper(command: &mut Command) -> Result<Self, Failure> {
        let mut started = Self::quiet(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        started.lines = started.child.stdout.take().map(BufReader::new);
        Ok(started)
    }

    /// Starts a program.
    ///
    /// # Errors
    /// If the program can't be started.
    pub fn quiet(command: &mut Command) -> Result<Self, Failure> {
        let program = command.get_program().to_owned();
        let child = command
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self { child, lines: None })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The helper's next line.
    ///
    /// # Errors
    /// If the helper ended; its own message is on standard error.
    pub fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if let Some(lines) = &mut self.lines {
            lines.read_line(&mut line)?;
        }
        if line.is_empty() {
            return Err("a helper ended early".into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Sends the helper a line, which tells it to go on.
    ///
    /// # Errors
    /// If the helper ended.
    pub fn go_on(&mut self) -> Result<(), Failure> {
        if let Some(input) = &mut self.child.stdin {
            input.write_all(b"go\n")?;
        }
        Ok(())
    }

    /// Ends the helper's standard input.
    pub fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Whether it is running.
    ///
    /// # Errors
    /// If that can't be found out.
    pub fn is_running(&mut self) -> Result<bool, Failure> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Asks the process to end and waits for it.
    fn end(&mut self) -> Result<(), Failure> {
        self.end_input();
        let pid = Pid::from_child(&self.child);
        if !self.is_running()? {
            return Ok(());
        }
        kill_process(pid, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.is_running()? {
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                return Err(format!("process {} had to be killed", self.id()).into());
            }
            sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("wsgate-bench: {error}");
        }
    }
}

/// Waits until `process` listens on `port` of 127.0.0.1. It does not connect, because the first connection is measured.
///
/// # Errors
/// If the process ended or took too long.
pub fn wait_for_listener(process: &mut Started, port: u16) -> Result<(), Failure> {
    // proc_pid_net(5): the local address in hexadecimal and host order, the remote one, and the state; 0A is LISTEN.
    let wanted = format!(
        "{:08X}:{port:04X} 00000000:0000 0A",
        u32::from_ne_bytes([127, 0, 0, 1])
    );
    let deadline = Instant::now() + PATIENCE;
    while !fs::read_to_string("/proc/net/tcp")?.contains(&wanted) {
        if !process.is_running()? {
            return Err("the proxy ended instead of listening".into());
        }
        if Instant::now() > deadline {
            return Err(format!("the proxy does not listen on port {port}").into());
        }
        sleep(LOOK_EVERY);
    }
    Ok(())
}

/// One reading of a process with its children, and of the kernel. In KiB, except `descriptors`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Proportional set size: resident pages, with shared pages divided by the number of sharers.
    pub pss: u64,
    /// Resident set size.
    pub rss: u64,
    /// Open files, including sockets.
    pub descriptors: usize,
    /// The kernel's small objects on the whole machine.
    pub slab: u64,
    /// TCP buffers on the whole machine.
    pub tcp: u64,
}

impl Reading {
    /// Takes a reading.
    ///
    /// # Errors
    /// If the process is gone, or the kernel does not report a value.
    pub fn take(process: u32) -> Result<Self, Failure> {
        let mut reading = Self {
            slab: field("/proc/meminfo", "Slab:")?,
            tcp: field("/proc/net/sockstat", "mem")? * rustix::param::page_size() as u64 / 1024,
            ..Self::default()
        };
        for id in family(process)? {
            let memory = format!("/proc/{id}/smaps_rollup");
            reading.pss += field(&memory, "Pss:")?;
            reading.rss += field(&memory, "Rss:")?;
            reading.descriptors += fs::read_dir(format!("/proc/{id}/fd"))?.count();
        }
        Ok(reading)
    }
}

/// The number after `name`.
fn field(file: &str, name: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let mut words = text.split_whitespace();
    let number = words.find(|word| *word == name).and(words.next());
    let number = number.ok_or_else(|| format!("{file} has no {name:?}"))?;
    Ok(number.parse()?)
}

/// A process and all its descendants.
///
/// # Errors
/// If one of them is gone.
pub fn family(root: u32) -> Result<Vec<u32>, Failure> {
    let mut all = vec![root];
    let mut next = 0;
    while let Some(id) = all.get(next).copied() {
        for task in fs::read_dir(format!("/proc/{id}/task"))? {
            // A thread that has ended by now has no children.
            let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                all.push(child.parse()?);
            }
        }
        next += 1;
    }
    Ok(all)
}
