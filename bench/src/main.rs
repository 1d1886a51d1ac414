//! Measures what the proxy costs. `memory` is the driver. It starts `backend` and `client` as separate processes, so
//! that only the proxy is measured.

mod backend;
mod client;
mod memory;
mod process;
mod proxy;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// A WebSocket echo server on a free port, which it prints; ends with its standard input.
    Backend(backend::Options),
    /// Opens connections, says so, holds them until its standard input ends, and closes them.
    Client(client::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Memory(options) => memory::run(&options),
        Command::Backend(options) => block_on(backend::run(options)),
        Command::Client(options) => block_on(client::run(options)),
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

/// Completes when standard input ends: the parent process is done or gone.
async fn input_ended() {
    let (end, ended) = tokio::sync::oneshot::channel();
    // A separate thread: a thread of the runtime would keep the process from ending on an error.
    std::thread::spawn(move || {
        let _: std::io::Result<u64> = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _: Result<(), ()> = end.send(());
    });
    let _: Result<(), _> = ended.await;
}
