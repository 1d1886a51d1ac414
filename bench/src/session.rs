//! A proxy with its load: starts both on their processors, and lets the load work.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use clap::ValueEnum;

use crate::Failure;
use crate::load::{Extent, Row};
use crate::process::{Started, wait_for_listener};
use crate::processor::{Processors, stay_on};
use crate::proxy::{Family, Proxy, Purpose, Setup, free_port, make_certificate};

/// More than any row opens.
const CONNECTIONS: usize = 4096;

/// Every proxy's threads have started after this time, and what an operation leaves to do is done.
const SETTLE: Duration = Duration::from_millis(200);

impl Row {
    /// Its name on the command line and in tables.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// Whether the proxy can do its work. The floor can't answer plain requests, because it reads none.
    pub fn is_for(self, proxy: &Proxy) -> bool {
        self != Self::Plain || proxy.family != Family::Floor
    }
}

/// What the load does.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// The row.
    pub row: Row,
    /// How long.
    pub extent: Extent,
    /// The time of the same work before it.
    pub warm_up: Duration,
    /// Whether X25519MLKEM768 is offered.
    pub post_quantum: bool,
}

/// What the load has done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// At least one.
    pub operations: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// The delay that 99 % of the operations stay below, if it was measured.
    pub p99: Option<Duration>,
}

/// A proxy and its load. The load is ended first, so that the proxy has no connections left.
pub struct Session {
    load: Started,
    proxy: Started,
}

impl Session {
    /// Starts both, and warms up. If there is a `runner`, such as a profiler with its arguments, it runs the proxy.
    ///
    /// # Errors
    /// If one can't be started, the proxy does not do what is compared, or an operation fails.
    pub fn start(
        folder: &Path,
        proxy: &Proxy,
        work: Work,
        processors: Processors,
        runner: Option<&[OsString]>,
    ) -> Result<Self, Failure> {
        let certificate = make_certificate(folder)?;
        let port = free_port()?;
        let mut load = start_load(proxy, work, port, &certificate)?;
        let backend = load.line()?.parse()?;
        let setup = Setup {
            purpose: Purpose::Speed,
            folder,
            port,
            backend,
            connections: CONNECTIONS,
            admin: None,
            http2: false,
        };
        // A process starts where its parent is, so the proxy sees only one processor from its first instruction.
        stay_on(processors.proxy)?;
        let started = match runner {
            Some([runner, arguments @ ..]) => {
                let mut command = Command::new(runner);
                command.args(arguments).arg(&proxy.program);
                proxy.start_as(command, setup)
            }
            _ => proxy.start(setup),
        };
        stay_on(processors.load)?;
        let mut session = Self {
            load,
            proxy: started?,
        };
        wait_for_listener(&mut session.proxy, port)?;
        sleep(SETTLE);
        session.load.go_on()?;
        session.expect("ready")?;
        sleep(SETTLE);
        Ok(session)
    }

    /// The proxy's process.
    pub fn proxy(&self) -> u32 {
        self.proxy.id()
    }

    /// The load's process.
    pub fn load(&self) -> u32 {
        self.load.id()
    }

    /// Ends both, and checks that the proxy has written records.
    ///
    /// # Errors
    /// If it has not, although it is configured to.
    pub fn end(self, folder: &Path, proxy: &Proxy) -> Result<(), Failure> {
        drop(self);
        let written = fs::metadata(folder.join("records"))?.len();
        match written == 0 && proxy.family != Family::Floor {
            true => Err("the proxy has written no records".into()),
            false => Ok(()),
        }
    }

    /// Lets the load do its work once.
    ///
    /// # Errors
    /// If an operation fails.
    pub fn work(&mut self) -> Result<Done, Failure> {
        self.load.go_on()?;
        let numbers = self.expect("done")?;
        sleep(SETTLE);
        let numbers = numbers.split_whitespace().map(str::parse);
        let numbers = numbers.collect::<Result<Vec<u64>, _>>()?;
        match *numbers.as_slice() {
            [0, ..] => Err("nothing was done".into()),
            [operations, elapsed, ref delay @ ..] => Ok(Done {
                operations,
                elapsed: Duration::from_nanos(elapsed),
                p99: delay.first().copied().map(Duration::from_nanos),
            }),
            _ => Err("the load gave too few numbers".into()),
        }
    }

    /// The rest of the load's next line, which must begin with `word`.
    fn expect(&mut self, word: &str) -> Result<String, Failure> {
        let line = self.load.line()?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            (first, rest) if first == word => Ok(rest.to_owned()),
            ("failed", why) => Err(why.into()),
            _ => Err(format!("the load said {line:?} instead of {word}").into()),
        }
    }
}

fn start_load(
    proxy: &Proxy,
    work: Work,
    port: u16,
    certificate: &Path,
) -> Result<Started, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("load")
        .args(["--port", &port.to_string()])
        .args(["--row", &work.row.name()])
        .args(["--warm-up", &work.warm_up.as_millis().to_string()])
        .arg("--certificate")
        .arg(certificate);
    match work.extent {
        Extent::Time(time) => command.args(["--time", &time.as_millis().to_string()]),
        Extent::Each(each) => command.args(["--each", &each.to_string()]),
    };
    if proxy.family == Family::Floor {
        command.arg("--unchecked");
    }
    if work.post_quantum {
        command.arg("--post-quantum");
    }
    Started::helper(&mut command)
}
