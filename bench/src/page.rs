//! The driver that measures what the admin page costs: with many idle tunnels and many refusals, it reads how long the
//! proxy runs and how much memory it has, without the admin service, with it, and with pages that are open.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::process::{Reading, Started, wait_for_listener};
use crate::processor::Usage;
use crate::proxy::{Build, free_port, make_certificate};

/// The options of the measurement.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Open tunnels.
    #[arg(long, value_name = "N", default_value_t = 9000)]
    tunnels: usize,
    /// Refused handshakes in each second.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    refusals: u32,
    /// Open pages, one row for each number.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [0, 1, 8])]
    pages: Vec<usize>,
    /// Seconds that each row is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    build: Build,
}

/// The load on a running proxy; it ends when this value is dropped.
struct Load {
    is_over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Measures and prints the table, row by row.
///
/// # Errors
/// If a row could not be measured as requested.
pub fn run(options: &Options) -> Result<(), Failure> {
    println!(
        "\
{} tunnels, {} refused handshakes a second, {} s for each row. Time on a processor, of the proxy, in each second; Pss in
KiB; bytes that one page received in each second.

| admin | pages | refusals/s | ms/s | Pss | page bytes/s |
|---|---:|---:|---:|---:|---:|",
        options.tunnels, options.refusals, options.seconds
    );
    measure(options, false, &[0])?;
    measure(options, true, &options.pages)
}

fn measure(options: &Options, has_admin: bool, pages: &[usize]) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let certificate = make_certificate(folder)?;
    let own = std::env::current_exe()?;
    let mut backend = Started::helper(Command::new(&own).arg("backend"))?;
    let backend_port = backend.line()?;
    let [tls, plain, admin] = [free_port()?, free_port()?, free_port()?];
    let services = match has_admin {
        true => format!("admin: {{ address: 127.0.0.1:{admin} }}\n"),
        false => String::new(),
    };
    let config = folder.join("proxy.yaml");
    let connections = options.tunnels + 600;
    fs::write(
        &config,
        format!(
            "listeners:\n  - {{ address: 127.0.0.1:{tls}, tls: {{ certificates: [{{ cert: cert.pem, key: key.pem }}] }} }}\n  \
             - {{ address: 127.0.0.1:{plain} }}\nroutes:\n  - {{ path: /stream, websocket: {{ origins: \
             [\"https://app.example.com\"] }}, upstream: backend }}\nupstreams:\n  backend: {{ endpoints: \
             [\"http://127.0.0.1:{backend_port}\"] }}\nlimits: {{ connections: {connections} }}\n{services}"
        ),
    )?;
    let mut command = Command::new(options.build.find()?.program);
    command
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(fs::File::create(folder.join("records"))?)
        .stderr(fs::File::create(folder.join("messages"))?);
    let mut proxy = Started::quiet(&mut command)?;
    wait_for_listener(&mut proxy, tls)?;
    let mut client = client(&own, tls, options, &certificate)?;
    client.line()?;
    let refusing = refuse(plain, options.refusals);
    for pages in pages {
        let reading = read_events(admin, *pages)?;
        // The first events have all records that are remembered.
        sleep(Duration::from_secs(5));
        let row = row(options, proxy.id(), &refusing, &reading)?;
        let word = if has_admin { "on" } else { "off" };
        println!("| {word} | {pages} | {row} |");
    }
    drop(refusing);
    client.end_input();
    client.line()?;
    Ok(())
}

fn client(
    own: &Path,
    port: u16,
    options: &Options,
    certificate: &Path,
) -> Result<Started, Failure> {
    let mut command = Command::new(own);
    command
        .arg("client")
        .args(["--port", &port.to_string()])
        .args(["--stage", "tunnel", "--size", "128", "--messages", "1"])
        .args(["--connections", &options.tunnels.to_string()])
        .arg("--certificate")
        .arg(certificate);
    Started::helper(&mut command)
}

/// The cells of a row.
fn row(options: &Options, proxy: u32, refusing: &Load, reading: &Load) -> Result<String, Failure> {
    let (begun, usage) = (Instant::now(), Usage::take(proxy)?);
    let before = [refusing, reading].map(|load| load.done.load(Relaxed));
    sleep(Duration::from_secs(options.seconds));
    let spent = Usage::take(proxy)?.processes_since(&usage);
    let took = begun.elapsed().as_secs_f64();
    let after = [refusing, reading].map(|load| load.done.load(Relaxed));
    let memory = Reading::take(proxy)?;
    let each = |index: usize| (after[index] - before[index]) as f64 / took;
    let pages = reading.threads.len().max(1) as f64;
    Ok(format!(
        "{:.0} | {:.0} | {} | {:.0}",
        each(0),
        spent.as_secs_f64() * 1000.0 / took,
        memory.pss,
        each(1) / pages
    ))
}

/// Sends this many handshakes with a foreign Origin in each second, each on a connection of its own, from many addresses.
fn refuse(port: u16, rate: u32) -> Load {
    let (is_over, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (ended, counted) = (Arc::clone(&is_over), Arc::clone(&done));
    let thread = spawn(move || {
        let begun = Instant::now();
        let mut sent = 0;
        while !ended.load(Relaxed) && rate > 0 {
            let due = begun + Duration::from_secs(1) * sent / rate;
            sleep(due.saturating_duration_since(Instant::now()));
            sent += 1;
            if handshake(port, sent).is_ok() {
                counted.fetch_add(1, Relaxed);
            }
        }
    });
    Load {
        is_over,
        done,
        threads: vec![thread],
    }
}

fn handshake(port: u16, number: u32) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let head = format!(
        "GET /stream?number={number} HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://evil{}.example\r\n\
         User-Agent: Mozilla/5.0\r\n\r\n",
        number % 50
    );
    stream.write_all(head.as_bytes())?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut answer = [0; 1024];
    stream.read(&mut answer).map(|_| ())
}

/// Reads this many event streams.
fn read_events(port: u16, pages: usize) -> Result<Load, Failure> {
    let (is_over, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut threads = Vec::new();
    for _ in 0..pages {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let (ended, counted) = (Arc::clone(&is_over), Arc::clone(&done));
        threads.push(spawn(move || {
            let mut piece = vec![0; 64 * 1024];
            while !ended.load(Relaxed) {
                // Nothing comes between two events.
                let count = stream.read(&mut piece).unwrap_or_default();
                counted.fetch_add(count as u64, Relaxed);
            }
        }));
    }
    Ok(Load {
        is_over,
        done,
        threads,
    })
}
