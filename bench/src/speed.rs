//! The driver of `speed`: runs each row against each proxy in turn, several times, and compares them.

mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::thread::sleep;
use std::time::Duration;

use clap::ValueEnum;

use crate::Failure;
use crate::load::{BULK_MESSAGE, Row};
use crate::process::{Started, wait_for_listener};
use crate::processor::{Processors, Usage, stay_on};
use crate::proxy::{Build, Family, Proxy, Purpose, Setup, free_port, make_certificate};
use table::Table;

/// More than any row opens.
const CONNECTIONS: usize = 4096;

/// Every proxy's threads have started after this time, and what an operation leaves to do is done.
const SETTLE: Duration = Duration::from_millis(200);

/// A latency needs more samples than a mean.
const LONGER_FOR_LATENCY: u64 = 2;

/// The options of the measurement.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which rows to measure; all if none is named.
    #[arg(long = "row", value_name = "ROW", value_delimiter = ',')]
    rows: Vec<Row>,
    #[command(flatten)]
    build: Build,
    /// The proxies to compare with.
    #[arg(long, value_delimiter = ',', default_value = "floor,nginx,haproxy")]
    against: Vec<Family>,
    /// Another program to compare with, such as another build; may be repeated.
    #[arg(long = "binary", value_name = "NAME=FAMILY:PATH")]
    binaries: Vec<Binary>,
    /// How often each row is measured.
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Milliseconds of each measurement; twice as many for latency.
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    time: u64,
    /// Milliseconds of the same work before each measurement.
    #[arg(long, value_name = "MS", default_value_t = 500)]
    warm_up: u64,
    /// Offer the key exchange X25519MLKEM768 before X25519.
    #[arg(long)]
    post_quantum: bool,
    /// The processor of the proxy, and that of the clients and the backend; the last and the first by default.
    #[arg(long, value_name = "PROXY,REST", value_delimiter = ',')]
    cores: Vec<usize>,
}

/// A program that was named on the command line.
#[derive(Clone, Debug)]
struct Binary(Proxy);

impl FromStr for Binary {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('=')
            .and_then(|(name, rest)| Some((name, rest.split_once(':')?)));
        let (name, (family, path)) = parts.ok_or("expected NAME=FAMILY:PATH")?;
        Ok(Self(Proxy {
            name: name.to_owned(),
            family: Family::from_str(family, false)?,
            program: PathBuf::from(path),
        }))
    }
}

/// One measurement.
struct Measured {
    /// In the row's unit.
    value: f64,
    /// How busy the proxy's processor was with it, from 0 to 1.
    busy: f64,
    /// For how much of the time one of its threads waited for the processor.
    waited: f64,
}

/// Measures and prints the table.
///
/// # Errors
/// If a row could not be measured as requested: a proxy is not installed, or an operation failed.
pub fn run(options: &Options) -> Result<(), Failure> {
    let processors = Processors::choose(&options.cores)?;
    stay_on(processors.load)?;
    let mut proxies = vec![options.build.find()?];
    for against in &options.against {
        proxies.push(against.find()?);
    }
    proxies.extend(options.binaries.iter().map(|Binary(proxy)| proxy.clone()));
    let mut rows = match options.rows.as_slice() {
        [] => Row::value_variants().to_vec(),
        named => named.to_vec(),
    };
    rows.sort_unstable();
    rows.dedup();
    let mut table = Table::new(&proxies, &rows);
    println!("{}", introduction(options, &proxies, processors)?);
    for run in 0..options.runs {
        for row in &rows {
            // Each proxy comes first in some run, so none has the better place.
            for turn in 0..proxies.len() {
                let index = (turn + run) % proxies.len();
                let Some(proxy) = proxies.get(index).filter(|proxy| can(proxy, *row)) else {
                    continue;
                };
                let measured = measure(proxy, *row, options, processors).map_err(|error| {
                    format!("{}, {}, run {}: {error}", row.name(), proxy.name, run + 1)
                })?;
                progress(run, *row, proxy, &measured);
                table.add(*row, index, run, measured.value);
            }
        }
    }
    println!("{table}");
    Ok(())
}

/// Whether the proxy can do the row's work: the floor has only one backend connection for each client, and answers nothing.
fn can(proxy: &Proxy, row: Row) -> bool {
    row != Row::Plain || proxy.family.knows_http()
}

fn progress(run: usize, row: Row, proxy: &Proxy, measured: &Measured) {
    let Measured {
        value,
        busy,
        waited,
    } = measured;
    eprintln!(
        "run {} {:9} {:10} {value:9.2} {} (processor {:.0} % busy, waited {:.1} %)",
        run + 1,
        row.name(),
        proxy.name,
        row.unit(),
        100.0 * busy,
        100.0 * waited,
    );
}

impl Row {
    /// Its name on the command line and in the table.
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// The unit of its numbers.
    fn unit(self) -> &'static str {
        match self {
            Self::Bulk => "s/GB",
            Self::Latency => "µs p99",
            Self::Handshake | Self::Resumed | Self::Echo | Self::Plain => "µs",
        }
    }
}

/// Measures one row once. The folder is kept after a failure, because it contains the proxy's output.
fn measure(
    proxy: &Proxy,
    row: Row,
    options: &Options,
    processors: Processors,
) -> Result<Measured, Failure> {
    let folder = tempfile::tempdir()?;
    let measured = measure_in(folder.path(), proxy, row, options, processors);
    if measured.is_err() {
        eprintln!("wsgate-bench: see {}", folder.keep().display());
    }
    measured
}

fn measure_in(
    folder: &Path,
    proxy: &Proxy,
    row: Row,
    options: &Options,
    processors: Processors,
) -> Result<Measured, Failure> {
    let certificate = make_certificate(folder)?;
    let port = free_port()?;
    // Declared before the load, so that it is ended after it: it then has no connections left.
    let mut running;
    let mut load = start_load(proxy, row, options, port, &certificate)?;
    let backend = load.line()?.parse()?;
    // A process starts where its parent is, so the proxy sees only one processor from its first instruction.
    stay_on(processors.proxy)?;
    let started = proxy.start(Setup {
        purpose: Purpose::Speed,
        folder,
        port,
        backend,
        connections: CONNECTIONS,
    });
    stay_on(processors.load)?;
    running = started?;
    wait_for_listener(&mut running, port)?;
    sleep(SETTLE);
    load.go_on()?;
    expect(&mut load, "ready")?;
    sleep(SETTLE);
    let before = Usage::take(running.id())?;
    load.go_on()?;
    let numbers = expect(&mut load, "done")?;
    sleep(SETTLE);
    let spent = Usage::take(running.id())?.since(&before)?;
    let mut numbers = numbers.split_whitespace().map(str::parse::<u64>);
    let mut number = || numbers.next().ok_or("the load gave too few numbers");
    let operations = number()??;
    let elapsed = Duration::from_nanos(number()??);
    if operations == 0 {
        return Err("nothing was done".into());
    }
    let each = spent.ran.as_secs_f64() / operations as f64;
    let value = match row {
        Row::Handshake | Row::Resumed | Row::Echo | Row::Plain => each * 1e6,
        // Both the message and its echo.
        Row::Bulk => each / (2 * BULK_MESSAGE) as f64 * 1e9,
        Row::Latency => number()?? as f64 / 1e3,
    };
    Ok(Measured {
        value,
        busy: spent.ran.as_secs_f64() / elapsed.as_secs_f64(),
        waited: spent.waited.as_secs_f64() / elapsed.as_secs_f64(),
    })
}

fn start_load(
    proxy: &Proxy,
    row: Row,
    options: &Options,
    port: u16,
    certificate: &Path,
) -> Result<Started, Failure> {
    let longer = match row {
        Row::Latency => LONGER_FOR_LATENCY,
        _ => 1,
    };
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("load")
        .args(["--port", &port.to_string()])
        .args(["--row", &row.name()])
        .args(["--time", &(options.time * longer).to_string()])
        .args(["--warm-up", &options.warm_up.to_string()])
        .arg("--certificate")
        .arg(certificate);
    if !proxy.family.knows_http() {
        command.arg("--unchecked");
    }
    if options.post_quantum {
        command.arg("--post-quantum");
    }
    Started::helper(&mut command)
}

/// The rest of the load's next line, which must begin with `word`.
fn expect(load: &mut Started, word: &str) -> Result<String, Failure> {
    let line = load.line()?;
    match line.split_once(' ').unwrap_or((&line, "")) {
        (first, rest) if first == word => Ok(rest.to_owned()),
        ("failed", why) => Err(why.into()),
        _ => Err(format!("the load said {line:?} instead of {word}").into()),
    }
}

/// The conditions of the measurement, and the versions.
fn introduction(
    options: &Options,
    proxies: &[Proxy],
    processors: Processors,
) -> Result<String, Failure> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let information = fs::read_to_string("/proc/cpuinfo")?;
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let key_exchange = match options.post_quantum {
        true => "X25519MLKEM768 or X25519",
        false => "X25519",
    };
    let Options {
        runs,
        time,
        warm_up,
        ..
    } = options;
    let Processors { proxy, load } = processors;
    let mut text = format!(
        "\
Linux {}, {model}. The proxy on processor {proxy}, clients and backend on processor {load}. {runs} interleaved run(s) of
{time} ms each, after {warm_up} ms of the same work. TLS 1.3, {key_exchange}, AES-128-GCM, ECDSA P-256.\n",
        kernel.trim(),
    );
    for proxy in proxies {
        text.push_str(&format!("\n- {}: {}", proxy.name, proxy.version()?));
    }
    Ok(text)
}
