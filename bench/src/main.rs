//! Measures what the proxy costs. `memory`, `page`, `speed` and `instructions` are the drivers. They start the other commands as separate processes,
//! so that only the proxy is measured.

mod backend;
mod client;
mod floor;
mod instructions;
mod load;
mod memory;
mod page;
mod process;
mod processor;
mod proxy;
mod session;
mod speed;
mod wire;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Any error, with its message.
type Failure = Box<dyn Error + Send + Sync>;

/// Measures what the proxy costs.
#[derive(Debug, Parser)]
#[command(name = "wsgate-bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the memory per idle connection, as a table.
    Memory(memory::Options),
    /// Measure what the admin page costs, as a table.
    Page(page::Options),
    /// Measure the processor time per operation, as a table.
    Speed(speed::Options),
    /// Count instructions per function and per operation, as tables.
    Instructions(instructions::Options),
    /// A WebSocket echo server on a free port, which it prints; ends with its standard input.
    Backend(backend::Options),
    /// Opens connections, says so, holds them until its standard input ends, and closes them.
    Client(client::Options),
    /// The clients and the backend of `speed`, in one thread.
    Load(load::Options),
    /// The least that a TLS terminator on tokio and rustls costs.
    Floor(floor::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Memory(options) => memory::run(&options),
        Command::Page(options) => page::run(&options),
        Command::Speed(options) => speed::run(&options),
        Command::Instructions(options) => instructions::run(&options),
        Command::Backend(options) => block_on(backend::run(options)),
        Command::Client(options) => block_on(client::run(options)),
        Command::Load(options) => block_on(load::run(options)),
        Command::Floor(options) => floor::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wsgate-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Uses one thread, because the proxy needs the cores.
fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// The lines of standard input. They end when the parent process is done or gone.
fn input_lines() -> UnboundedReceiver<String> {
    let (send, lines) = unbounded_channel();
    // A separate thread: a thread of the runtime would keep the process from ending on an error.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Completes when standard input ends.
async fn input_ended() {
    let mut lines = input_lines();
    while lines.recv().await.is_some() {}
}
