//! The command line.

mod ask;
mod check;
mod drain;
mod explain;
mod health;
mod run;
mod schema;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// The configuration that is read when none is named.
const DEFAULT_CONFIG: &str = "proxy.yaml";

/// The proxy ended as it was asked to, or the command did what it should.
const OK: u8 = 0;
/// The proxy could not start, or not go on; or it is not there, or not well.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
const WRONG: u8 = 2;

/// A sidecar for WebSocket backends that says why every handshake failed and every tunnel ended.
#[derive(Debug, Parser)]
#[command(name = "wsgate", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG, global = true)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default).
    Run,
    /// Report every problem of the configuration and its certificates; exits with 2 when there is an error.
    Check {
        /// How: lines for people, or one JSON document.
        #[arg(long, value_enum, value_name = "FORMAT", default_value_t = check::Format::Text)]
        format: check::Format,
        /// Exit with 1 when there are warnings and no errors.
        #[arg(long)]
        deny_warnings: bool,
    },
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Ask the running proxy whether it is well, at probes.address; exits with 0 if it is and 1 if not.
    Health {
        /// Ask whether it is ready for new connections, which it is not during a drain.
        #[arg(long)]
        ready: bool,
        /// How long to wait for the answer.
        #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = timeout)]
        timeout: Duration,
        /// Ask there, whatever the configuration says.
        #[arg(long, value_name = "IP:PORT")]
        address: Option<SocketAddr>,
    },
    /// Let the running proxy send its tunnels away without ending, through admin.address.
    Drain {
        /// Return when the last connection has ended or shutdown.drain is over.
        #[arg(long)]
        wait: bool,
        /// Ask there, whatever the configuration says.
        #[arg(long, value_name = "IP:PORT")]
        address: Option<SocketAddr>,
    },
    /// Say what a reason code of a record means and what to do; without a code, list all.
    Explain {
        /// Such as origin_not_allowed.
        code: Option<String>,
        /// Print the whole reference as Markdown.
        #[arg(long, conflicts_with = "code")]
        markdown: bool,
        /// The language to say it in: en or zh.
        #[arg(
            long,
            value_name = "LANGUAGE",
            default_value = "en",
            hide_possible_values = true
        )]
        lang: explain::Language,
    },
}

/// A duration that is not zero and not beyond an hour.
fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(timeout) if !timeout.is_zero() && timeout <= Duration::from_secs(3600) => Ok(timeout),
        _ => Err("expected a duration of up to 1h, such as 2s".to_owned()),
    }
}

/// Runs the command line of this process. Returns 0 when done as asked, 1 when the proxy could not start or is not well,
/// 2 when the command line or the configuration is wrong.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    ExitCode::from(match arguments.command.unwrap_or(Command::Run) {
        Command::Run => run::run(&arguments.config),
        Command::Check {
            format,
            deny_warnings,
        } => check::check(&arguments.config, format, deny_warnings),
        Command::Schema => schema::schema(),
        Command::Health {
            ready,
            timeout,
            address,
        } => health::health(&arguments.config, address, ready, timeout),
        Command::Drain { wait, address } => drain::drain(&arguments.config, address, wait),
        Command::Explain {
            code,
            markdown,
            lang,
        } => explain::explain(code.as_deref(), markdown, lang),
    })
}

/// Writes what a command has to say. A reader that closed the pipe has seen what it wanted.
fn say(mut to: impl Write, text: &str) {
    let _: io::Result<()> = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}
