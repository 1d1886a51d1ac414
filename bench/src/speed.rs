//! The driver of `speed`: runs each row against each proxy in turn, several times, and compares them.

mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use crate::Failure;
use crate::load::{BULK_MESSAGE, Extent, Row};
use crate::processor::{Processors, Usage, alone, stay_on};
use crate::proxy::{Build, Family, Proxy};
use crate::session::{Session, Work};
use table::Table;

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
    /// For how much of the time the proxy ran, from 0 to 1.
    busy: f64,
    /// For how much of the time one of its threads waited for the processor.
    waited: f64,
    /// For how much of the time the clients and the backend ran.
    load: f64,
}

/// Measures and prints the table.
///
/// # Errors
/// If a row could not be measured as requested: a proxy is not installed, or an operation failed.
pub fn run(options: &Options) -> Result<(), Failure> {
    let _alone = alone()?;
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
                let Some(proxy) = proxies.get(index).filter(|proxy| row.is_for(proxy)) else {
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

fn progress(run: usize, row: Row, proxy: &Proxy, measured: &Measured) {
    let Measured {
        value,
        busy,
        waited,
        load,
    } = measured;
    eprintln!(
        "run {} {:9} {:10} {value:9.2} {} (ran {:.0} %, waited {:.0} %; load ran {:.0} %)",
        run + 1,
        row.name(),
        proxy.name,
        row.unit(),
        100.0 * busy,
        100.0 * waited,
        100.0 * load,
    );
}

impl Row {
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
    let longer = match row {
        Row::Latency => LONGER_FOR_LATENCY,
        _ => 1,
    };
    let work = Work {
        row,
        extent: Extent::Time(Duration::from_millis(options.time * longer)),
        warm_up: Duration::from_millis(options.warm_up),
        post_quantum: options.post_quantum,
    };
    let mut session = Session::start(folder, proxy, work, processors, None)?;
    let before = Usage::take(session.proxy())?;
    let load_before = Usage::take(session.load())?;
    let done = session.work()?;
    let spent = Usage::take(session.proxy())?.since(&before)?;
    let load = Usage::take(session.load())?.processes_since(&load_before);
    session.end(folder, proxy)?;
    let share = |part: Duration| part.as_secs_f64() / done.elapsed.as_secs_f64();
    let each = spent.ran.as_secs_f64() / done.operations as f64;
    let value = match row {
        Row::Handshake | Row::Resumed | Row::Echo | Row::Plain => each * 1e6,
        // Both the message and its echo.
        Row::Bulk => each / (2 * BULK_MESSAGE) as f64 * 1e9,
        Row::Latency => done.p99.ok_or("the load gave no delay")?.as_secs_f64() * 1e6,
    };
    Ok(Measured {
        value,
        busy: share(spent.ran),
        waited: share(spent.waited),
        load: share(load),
    })
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
