//! The driver of `instructions`: counts the instructions of functions and of operations with Valgrind's callgrind.
//!
//! The number of a function is the difference of two runs, one with twice as many calls, so nothing else counts. For the whole
//! program, counting begins after the warm-up: the random numbers at its start take millions of instructions, each time another
//! number.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Failure;
use crate::load::{Extent, Row};
use crate::processor::{Processors, stay_on};
use crate::proxy::{Build, Family, Proxy};
use crate::session::{Session, Work};

/// How often a function is called in the shorter run.
const CALLS: u64 = 2000;

/// The functions of `examples/instructions.rs`, what each is, and a function whose instructions don't count.
const FUNCTIONS: [(&str, &str, Option<&str>); 5] = [
    (
        "head-opening",
        "reading and checking the head of an opening handshake",
        None,
    ),
    (
        "head-get",
        "reading and checking the head of a plain request",
        None,
    ),
    ("frames-small", "reading a frame of 128 bytes", None),
    ("frames-large", "reading a frame of 64 KiB", None),
    (
        "record",
        "writing the record of a tunnel's end",
        Some("record-copy"),
    ),
];

/// The rows, and how often each client does its operation.
const ROWS: [(Row, u64); 5] = [
    (Row::Handshake, 20),
    (Row::Resumed, 20),
    (Row::Echo, 50),
    (Row::Bulk, 20),
    (Row::Plain, 50),
];

/// The time of the same work before the count.
const WARM_UP: Duration = Duration::from_millis(500);

/// The options of the count.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    build: Build,
    /// Count only these rows of the whole program.
    #[arg(long = "row", value_name = "ROW", value_delimiter = ',')]
    rows: Vec<Row>,
    /// Count only functions.
    #[arg(long, conflicts_with = "rows")]
    functions: bool,
    /// Count the rows of the floor, too.
    #[arg(long)]
    floor: bool,
    /// Print so many of the proxy's functions for each row, those with the most instructions, callees included.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Keep the profiles of the rows in this folder, for callgrind_annotate.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// Counts and prints the tables.
///
/// # Errors
/// If Valgrind is missing, or an operation fails.
pub fn run(options: &Options) -> Result<(), Failure> {
    let counted = |row: &Row| ROWS.iter().any(|(known, _)| known == row);
    if let Some(row) = options.rows.iter().find(|row| !counted(row)) {
        return Err(format!("{} is a time, which has no instructions", row.name()).into());
    }
    let processors = Processors::choose(&[])?;
    stay_on(processors.load)?;
    if options.rows.is_empty() {
        println!("| function | instructions per call |\n|---|---:|");
        for (name, what, without) in FUNCTIONS {
            let mut count = function(name)?;
            if let Some(without) = without {
                count -= function(without)?;
            }
            println!("| {what} | {count:.0} |");
        }
    }
    if options.functions {
        return Ok(());
    }
    let mut proxies = vec![options.build.find()?];
    if options.floor {
        proxies.push(Family::Floor.find()?);
    }
    println!("\n| program | row | function | instructions per operation |\n|---|---|---|---:|");
    for proxy in &proxies {
        for (row, each) in ROWS {
            let is_asked = options.rows.is_empty() || options.rows.contains(&row);
            if is_asked && row.is_for(proxy) {
                let counts = operation(proxy, row, each, processors, options)
                    .map_err(|error| format!("{}, {}: {error}", row.name(), proxy.name))?;
                for (function, count) in counts {
                    println!(
                        "| {} | {} | {function} | {count:.0} |",
                        proxy.name,
                        row.name()
                    );
                }
            }
        }
    }
    Ok(())
}

/// The instructions of one call of a function.
fn function(name: &str) -> Result<f64, Failure> {
    let program = example()?;
    let count = |calls: u64| {
        let folder = tempfile::tempdir()?;
        let (runner, counted) = callgrind(folder.path());
        let mut arguments = runner.iter();
        let mut command = Command::new(arguments.next().ok_or("no runner")?);
        command
            .args(arguments)
            .arg(&program)
            .args([name, &calls.to_string()]);
        let output = command.output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        total(&counted)
    };
    let more = count(2 * CALLS)? as f64 - count(CALLS)? as f64;
    Ok(more / CALLS as f64)
}

/// Where cargo puts the example next to this program.
fn example() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let program = own.with_file_name("examples").join("instructions");
    match program.is_file() {
        true => Ok(program),
        false => Err("the example is not built; bench/instructions builds it".into()),
    }
}

/// The proxy's instructions for one operation of a row: all of them, and those of its functions.
fn operation(
    proxy: &Proxy,
    row: Row,
    each: u64,
    processors: Processors,
    options: &Options,
) -> Result<Vec<(String, f64)>, Failure> {
    let folder = tempfile::tempdir()?;
    let (mut runner, counted) = callgrind(folder.path());
    runner.push("--instr-atstart=no".into());
    let work = Work {
        row,
        extent: Extent::Each(each),
        warm_up: WARM_UP,
        post_quantum: false,
    };
    let mut session = Session::start(folder.path(), proxy, work, processors, Some(&runner))?;
    tell(session.proxy(), &["instrumentation", "on"])?;
    let operations = session.work()?.operations;
    tell(session.proxy(), &["dump"])?;
    let counted = counted.with_added_extension("1");
    if let Some(keep) = &options.keep {
        fs::create_dir_all(keep)?;
        let name = format!("callgrind.{}.{}", proxy.name, row.name());
        fs::copy(&counted, keep.join(name))?;
    }
    let mut counts = vec![("all".to_owned(), total(&counted)?)];
    counts.extend(functions(&counted)?.into_iter().take(options.top));
    let each = |(name, count)| (name, count as f64 / operations as f64);
    Ok(counts.into_iter().map(each).collect())
}

/// The proxy's own functions in a profile, with their callees. An inlined function is part of its caller.
fn functions(counted: &Path) -> Result<Vec<(String, u64)>, Failure> {
    let mut command = Command::new("callgrind_annotate");
    command
        .args(["--inclusive=yes", "--threshold=100"])
        .arg(counted);
    let text = String::from_utf8(command.output()?.stdout)?;
    // `469,542,023 (92.69%)  ???:wsgate::connection::serve [/path/of/the/program]`
    let functions = text.lines().filter_map(|line| {
        let (count, rest) = line.trim_start().split_once(' ')?;
        let (_, named) = rest.split_once("???:")?;
        let (name, _) = named.rsplit_once(" [")?;
        let count = count.replace(',', "").parse().ok()?;
        let is_own = name.contains("wsgate::") && count > 0;
        is_own.then(|| (name.to_owned(), count))
    });
    Ok(functions.collect())
}

/// Sends a command to callgrind in a process.
fn tell(process: u32, words: &[&str]) -> Result<(), Failure> {
    let mut command = Command::new("vgdb");
    command.arg(format!("--pid={process}")).args(words);
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

/// The command that counts, and the file with the count.
fn callgrind(folder: &Path) -> (Vec<OsString>, PathBuf) {
    let counted = folder.join("counted");
    let mut file = OsString::from("--callgrind-out-file=");
    file.push(&counted);
    let runner = ["valgrind", "--quiet", "--tool=callgrind"].map(OsString::from);
    (runner.into_iter().chain([file]).collect(), counted)
}

/// The sum at the end of callgrind's file.
fn total(counted: &Path) -> Result<u64, Failure> {
    let text = fs::read_to_string(counted)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("callgrind gave no total")?.trim().parse()?)
}
