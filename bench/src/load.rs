//! The load of `speed`: clients in front of the proxy and the backend behind it. Both are in one thread, because they share
//! a processor, and each switch between two threads would slow the proxy's work down to theirs.
//!
//! The driver and this program speak in lines: see [`run`].

mod checks;
mod connection;
mod latency;
mod workers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{Failure, backend};
use connection::Dialer;
use workers::{Echo, Handshakes, Plain, Worker};

/// How long a phase may take longer than it should.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a number of operations may take, on a proxy that runs fifty times slower under Valgrind.
const FOR_EACH: Duration = Duration::from_secs(120);

/// How many handshakes are under way at a time.
const HANDSHAKES: usize = 16;
/// How many tunnels echo at a time, one message each.
const TUNNELS: usize = 64;
/// The size of a message.
const MESSAGE: usize = 128;
/// How many tunnels echo large messages at a time.
const BULK_TUNNELS: usize = 8;
/// The size of a large message.
pub const BULK_MESSAGE: usize = 64 * 1024;
/// How many connections send plain requests at a time.
const CLIENTS: usize = 32;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Row {
    /// A full TLS handshake, an opening handshake and a Close handshake.
    Handshake,
    /// The same with a resumed TLS session.
    Resumed,
    /// Small messages, echoed through many tunnels.
    Echo,
    /// Large messages, echoed.
    Bulk,
    /// Plain requests on kept connections.
    Plain,
    /// The delay of an echo while others make handshakes.
    Latency,
}

/// The options of the load.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The proxy's port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// PEM file with the certificate to trust.
    #[arg(long)]
    certificate: PathBuf,
    /// What to do.
    #[arg(long)]
    row: Row,
    /// Milliseconds of the measurement.
    #[arg(long, required_unless_present = "each")]
    time: Option<u64>,
    /// How often each client does its operation, instead of a time.
    #[arg(long)]
    each: Option<u64>,
    /// Milliseconds of the same work before it.
    #[arg(long)]
    warm_up: u64,
    /// The proxy checks nothing, so don't check that it does.
    #[arg(long)]
    unchecked: bool,
    /// Offer X25519MLKEM768 first.
    #[arg(long)]
    post_quantum: bool,
}

impl Options {
    fn time(&self) -> Duration {
        Duration::from_millis(self.time.unwrap_or_default())
    }

    fn warm_up(&self) -> Duration {
        Duration::from_millis(self.warm_up)
    }

    /// How long the closed loop works.
    fn extent(&self) -> Extent {
        match self.each {
            Some(each) => Extent::Each(each),
            None => Extent::Time(self.time()),
        }
    }
}

/// How long the load works.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// For this time.
    Time(Duration),
    /// For so many operations of each client.
    Each(u64),
}

/// The driver's side of the conversation.
struct Driver(UnboundedReceiver<String>);

impl Driver {
    /// Waits until the driver says to go on.
    async fn wait(&mut self) -> Result<(), Failure> {
        self.0.recv().await.ok_or("the driver is gone")?;
        Ok(())
    }
}

/// Prints the backend's port, waits for a line (the proxy listens), warms up, prints `ready`, waits for a line, works, prints
/// `done` with its numbers, and ends with standard input. If an operation fails, it prints `failed` and why.
///
/// # Errors
/// If it can't serve, or the driver is gone.
pub async fn run(options: Options) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let mut driver = Driver(crate::input_lines());
    driver.wait().await?;
    let worked = tokio::select! {
        error = backend::serve(listener, backend::Options::default()) => error,
        worked = work(&options, &mut driver) => worked,
    };
    if let Err(error) = worked {
        println!("failed {error}");
    }
    Ok(())
}

async fn work(options: &Options, driver: &mut Driver) -> Result<(), Failure> {
    let dialer = Dialer::new(options)?;
    let verifying = dialer.clone().verifying(&options.certificate)?;
    timeout(PATIENCE, checks::run(&dialer, verifying, options.unchecked))
        .await
        .map_err(|_| "the proxy does not answer the first requests")??;
    match options.row {
        Row::Handshake => {
            let one = |_| Handshakes::new(dialer.clone(), HandshakeKind::Full);
            let workers = (0..HANDSHAKES).map(one).collect();
            closed_loop(workers, options, driver).await
        }
        Row::Resumed => {
            let mut workers = Vec::new();
            for _ in 0..HANDSHAKES {
                // Each has its own tickets, because a client uses a ticket only once.
                let dialer = Dialer::new(options)?.resuming();
                let mut first = Handshakes::new(dialer.clone(), HandshakeKind::Full);
                timeout(PATIENCE, first.operate())
                    .await
                    .map_err(|_| "the first handshake was not finished")??;
                workers.push(Handshakes::new(dialer, HandshakeKind::Resumed));
            }
            closed_loop(workers, options, driver).await
        }
        Row::Echo => {
            let workers = Echo::open(&dialer, TUNNELS, MESSAGE).await?;
            closed_loop(workers, options, driver).await
        }
        Row::Bulk => {
            let workers = Echo::open(&dialer, BULK_TUNNELS, BULK_MESSAGE).await?;
            closed_loop(workers, options, driver).await
        }
        Row::Plain => {
            let workers = Plain::open(&dialer, CLIENTS).await?;
            closed_loop(workers, options, driver).await
        }
        Row::Latency => latency::run(&dialer, options, driver).await,
    }
}

/// Each worker begins its next operation when it has finished the one before.
async fn closed_loop<W: Worker>(
    workers: Vec<W>,
    options: &Options,
    driver: &mut Driver,
) -> Result<(), Failure> {
    let (workers, _) = phase(workers, Extent::Time(options.warm_up())).await?;
    println!("ready");
    driver.wait().await?;
    let started = Instant::now();
    let (_workers, operations) = phase(workers, options.extent()).await?;
    println!("done {operations} {}", started.elapsed().as_nanos());
    // Connections stay open for the driver's last reading.
    while driver.wait().await.is_ok() {}
    Ok(())
}

/// Lets the workers work. Returns them, and how many operations they finished.
async fn phase<W: Worker>(workers: Vec<W>, extent: Extent) -> Result<(Vec<W>, u64), Failure> {
    let started = Instant::now();
    let mut working = JoinSet::new();
    for mut worker in workers {
        working.spawn(async move {
            let mut operations = 0;
            while match extent {
                Extent::Time(time) => started.elapsed() < time,
                Extent::Each(each) => operations < each,
            } {
                worker.operate().await?;
                operations += 1;
            }
            Ok::<_, Failure>((worker, operations))
        });
    }
    let mut workers = Vec::new();
    let mut all = 0;
    let all_done = async {
        while let Some(done) = working.join_next().await {
            let (worker, operations) = done??;
            workers.push(worker);
            all += operations;
        }
        Ok::<_, Failure>(())
    };
    let time = match extent {
        Extent::Time(time) => time,
        Extent::Each(_) => FOR_EACH,
    };
    timeout(time + PATIENCE, all_done)
        .await
        .map_err(|_| "an operation was not finished")??;
    Ok((workers, all))
}
