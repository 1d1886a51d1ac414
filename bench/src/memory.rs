//! The driver: for each stage it starts a new proxy and reads its memory before the first connection, with many idle
//! connections, and after them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use clap::ValueEnum;

use crate::Failure;
use crate::client::Stage;
use crate::process::{Reading, Started, wait_for_listener};
use crate::proxy::{Build, Family, Proxy, Purpose, Setup, free_port, make_certificate};

/// In addition to the connections that are measured.
const SPARE_CONNECTIONS: usize = 16;

/// The options of the measurement.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Open tunnels.
    #[arg(long, value_name = "N", default_value_t = 5000)]
    tunnels: usize,
    /// Connections of each stage before a tunnel is open.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    early: usize,
    /// Which rows to measure; all if none is named.
    #[arg(long = "stage", value_name = "STAGE", value_delimiter = ',')]
    stages: Vec<Stage>,
    /// Open the tunnels over HTTP/2, so many on each connection; only for the stage `tunnel`.
    #[arg(long, value_name = "STREAMS", value_parser = clap::value_parser!(u16).range(1..=100))]
    http2: Option<u16>,
    /// The proxy has an admin service, which lists the open tunnels.
    #[arg(long)]
    admin: bool,
    /// Bytes in each message.
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024)]
    size: usize,
    /// Messages that each tunnel echoes before it is idle.
    #[arg(long, value_name = "N", default_value_t = 1)]
    messages: usize,
    /// Seconds of quiet before a reading.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    quiet: u64,
    /// Seconds of quiet before the second reading, which shows whether the first was final.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    later: u64,
    #[command(flatten)]
    build: Build,
    /// Other proxies to measure in the same way.
    #[arg(long, value_delimiter = ',')]
    against: Vec<Family>,
}

/// The readings of one row.
struct Row {
    idle: Reading,
    full: Reading,
    later: Reading,
    /// After the last connection was closed, and the same time of quiet.
    after: Reading,
    /// Lines in the proxy's log.
    records: usize,
}

/// Measures and prints the table, row by row.
///
/// # Errors
/// If a row could not be measured as requested: a proxy is not installed, or a connection failed or did not stay open.
pub fn run(options: &Options) -> Result<(), Failure> {
    if options.later < options.quiet {
        return Err(format!(
            "--later {} is before --quiet {}",
            options.later, options.quiet
        )
        .into());
    }
    let own = std::env::current_exe()?;
    let mut proxies = vec![options.build.find()?];
    for against in &options.against {
        proxies.push(against.find()?);
    }
    let stages = match &options.stages[..] {
        [] if options.http2.is_some() => &[Stage::Tunnel],
        [] => Stage::value_variants(),
        named => named,
    };
    if options.http2.is_some() {
        if *stages != [Stage::Tunnel] {
            return Err("--http2 is only for --stage tunnel".into());
        }
        if let Some(proxy) = proxies.iter().find(|proxy| !proxy.family.has_http2()) {
            return Err(format!("{} has no WebSockets over HTTP/2", proxy.name).into());
        }
    }
    println!("{}", introduction(options)?);
    for proxy in &proxies {
        for stage in stages {
            let row = measure(&own, proxy, *stage, options)
                .map_err(|error| format!("{}, {}: {error}", proxy.name, word(*stage)))?;
            println!(
                "{}",
                line(
                    proxy,
                    &shown(*stage, options),
                    connections(options, *stage),
                    &row
                )
            );
        }
    }
    Ok(())
}

fn connections(options: &Options, stage: Stage) -> usize {
    match stage {
        Stage::Tunnel => options.tunnels,
        _ => options.early,
    }
}

/// Measures one row. The folder is kept after a failure, because it contains the proxy's output.
fn measure(own: &Path, proxy: &Proxy, stage: Stage, options: &Options) -> Result<Row, Failure> {
    let folder = tempfile::tempdir()?;
    let row = measure_in(folder.path(), own, proxy, stage, options);
    if row.is_err() {
        eprintln!("wsgate-bench: see {}", folder.keep().display());
    }
    row
}

fn measure_in(
    folder: &Path,
    own: &Path,
    proxy: &Proxy,
    stage: Stage,
    options: &Options,
) -> Result<Row, Failure> {
    let certificate = make_certificate(folder)?;
    let mut command = Command::new(own);
    command.arg("backend");
    match stage {
        Stage::Upload
        | Stage::FieldsUpload
        | Stage::FieldsChunks
        | Stage::UploadDownload
        | Stage::Download
        | Stage::FieldsDownload => {
            command.arg("--plain");
        }
        Stage::TunnelStuck => {
            command.arg("--deaf");
        }
        Stage::TunnelUnread | Stage::TunnelBothStuck => {
            command.args(["--deaf", "--flood"]);
        }
        Stage::Tunnel => {}
        _ => {
            command.arg("--withhold");
        }
    }
    let mut backend = Started::helper(&mut command)?;
    let backend_port = backend.line()?.parse()?;

    let count = connections(options, stage);
    let port = free_port()?;
    let mut running = proxy.start(Setup {
        purpose: Purpose::Memory,
        folder,
        port,
        backend: backend_port,
        connections: count + SPARE_CONNECTIONS,
        admin: options.admin.then(free_port).transpose()?,
        http2: options.http2.is_some(),
    })?;
    wait_for_listener(&mut running, port)?;
    sleep(Duration::from_secs(1)); // workers may start after the socket listens
    let idle = Reading::take(running.id())?;

    let mut command = Command::new(own);
    command
        .arg("client")
        .args(["--port", &port.to_string()])
        .args(["--stage", &word(stage)])
        .args(["--connections", &count.to_string()])
        .args(["--size", &options.size.to_string()])
        .args(["--messages", &options.messages.to_string()])
        .arg("--certificate")
        .arg(certificate);
    if let Some(streams) = options.http2 {
        command.args(["--http2", &streams.to_string()]);
    }
    let mut client = Started::helper(&mut command)?;
    client.line()?;
    sleep(Duration::from_secs(options.quiet));
    let full = Reading::take(running.id())?;
    sleep(Duration::from_secs(options.later - options.quiet));
    let later = Reading::take(running.id())?;
    let to_clients = count.div_ceil(options.http2.map_or(1, usize::from));
    let to_backend = if stage.has_request() { count } else { 0 };
    let wanted = to_clients + to_backend;
    let gained = later.descriptors.saturating_sub(idle.descriptors);
    if gained < wanted {
        return Err(format!("{wanted} sockets should be open, and {gained} are").into());
    }

    client.end_input();
    client.line()?;
    sleep(Duration::from_secs(options.quiet));
    let after = Reading::take(running.id())?;
    drop(running); // writes the last records
    let records = fs::read(folder.join("records"))?;
    Ok(Row {
        idle,
        full,
        later,
        after,
        records: records.iter().filter(|byte| **byte == b'\n').count(),
    })
}

fn word(stage: Stage) -> String {
    stage
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// A stage as it is called in the table.
fn shown(stage: Stage, options: &Options) -> String {
    match options.http2 {
        Some(streams) => format!("{}, HTTP/2, {streams} on each connection", word(stage)),
        None => word(stage),
    }
}

/// The conditions of the measurement, and the table's head.
fn introduction(options: &Options) -> Result<String, Failure> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cores = std::thread::available_parallelism()?;
    let Options {
        size,
        messages,
        quiet,
        later,
        ..
    } = options;
    Ok(format!(
        "\
Linux {}, {cores} cores. Each tunnel carried {messages} message(s) of {size} bytes both ways. Read before the first
connection, after {quiet} s of quiet, after {later} s, and {quiet} s after the last connection was closed. Pss and Rss in
KiB, of the proxy; KiB each: its Pss over the idle process, by connections. Slab and TCP buffers in KiB by connections,
of the whole machine.

| program | stage | connections | idle Pss | Pss | KiB each | Pss later | KiB each later | Rss | Pss after | records | slab each | TCP each |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        kernel.trim(),
    ))
}

fn line(proxy: &Proxy, stage: &str, count: usize, row: &Row) -> String {
    let Row {
        idle,
        full,
        later,
        after,
        records,
    } = row;
    let each = |more: u64, less: u64| format!("{:.2}", (more as f64 - less as f64) / count as f64);
    let cells = [
        proxy.name.clone(),
        stage.to_owned(),
        count.to_string(),
        idle.pss.to_string(),
        full.pss.to_string(),
        each(full.pss, idle.pss),
        later.pss.to_string(),
        each(later.pss, idle.pss),
        later.rss.to_string(),
        after.pss.to_string(),
        records.to_string(),
        each(full.slab, idle.slab),
        each(full.tcp, idle.tcp),
    ];
    format!("| {} |", cells.join(" | "))
}
