//! The command line.

mod ask;
mod check;
mod diagnose;
mod drain;
mod explain;
mod find;
mod health;
mod records;
mod run;
mod schema;
mod signals;
#[cfg(feature = "top")]
mod top;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::text::Language;

/// The configuration that is read if no file is named.
const DEFAULT_CONFIG: &str = "proxy.yaml";

/// The proxy ended as requested, or the command succeeded.
const OK: u8 = 0;
/// The proxy could not start or failed, or the running proxy is not there or not healthy.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
const WRONG: u8 = 2;

/// A sidecar for WebSocket backends that says why every handshake failed and every tunnel ended.
#[derive(Debug, Parser)]
#[command(name = "wsgate", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    named: Named,
}

/// The configuration file of a command.
#[derive(Debug, Args)]
struct Named {
    /// The configuration file; - is standard input [default: proxy.yaml].
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy (the default).
    Run {
        #[command(flatten)]
        named: Named,
    },
    /// Report every problem in the configuration and its certificates; exits with 2 if there is an error.
    Check {
        /// The configuration file; - is standard input.
        #[arg(value_name = "FILE", conflicts_with = "config")]
        file: Option<PathBuf>,
        #[command(flatten)]
        named: Named,
        /// The output: text for people, or one JSON document.
        #[arg(long, value_enum, value_name = "FORMAT", default_value_t = check::Format::Text)]
        format: check::Format,
        /// Exit with 1 if there are warnings but no errors.
        #[arg(long)]
        deny_warnings: bool,
    },
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Ask the running proxy at probes.address whether it is healthy; exits with 0 if it is and 1 if not.
    Health {
        /// Ask whether it accepts new connections; during a drain it does not.
        #[arg(long)]
        ready: bool,
        /// How long to wait for the answer.
        #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = timeout)]
        timeout: Duration,
        /// Ask this address instead of the one in the configuration.
        #[arg(long, value_name = "HOST:PORT", value_parser = ask::Target::parse)]
        address: Option<ask::Target>,
        #[command(flatten)]
        named: Named,
    },
    /// Ask the running proxy at admin.address to close its tunnels without ending the process.
    Drain {
        /// Wait until the last connection has ended or shutdown.drain is over.
        #[arg(long)]
        wait: bool,
        /// Ask this address instead of the one in the configuration.
        #[arg(long, value_name = "HOST:PORT", value_parser = ask::Target::parse)]
        address: Option<ask::Target>,
        #[command(flatten)]
        named: Named,
    },
    /// Say why a WebSocket URL does not work; exits with 0 if it works, 1 if it does not.
    Diagnose(Box<diagnose::Options>),
    /// Find records, and say what went wrong; exits with 1 if there are none.
    Find(Box<find::Options>),
    /// Show the running proxy at admin.address in the terminal: what is wrong, the open tunnels, the last failures.
    #[cfg(feature = "top")]
    Top(Box<top::Options>),
    /// Explain a code of a reason or note, a close code, an HTTP status or a record; without one, list all codes.
    Explain {
        /// A code such as origin_not_allowed, a close code such as 1006, a status such as 403, or - for records on standard
        /// input.
        #[arg(value_name = "CODE")]
        code: Option<String>,
        /// Print the whole reference as Markdown.
        #[arg(long, conflicts_with = "code")]
        markdown: bool,
        /// The language of the explanation: en or zh.
        #[arg(long, value_name = "LANGUAGE", default_value = "en")]
        lang: Language,
    },
}

/// Parses a duration of more than zero and at most one hour.
fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(timeout) if !timeout.is_zero() && timeout <= Duration::from_secs(3600) => Ok(timeout),
        _ => Err("expected a duration of up to 1h, such as 2s".to_owned()),
    }
}

/// Runs the command line of this process. Returns 0 on success, 1 if the proxy could not start or is not healthy, 2 if
/// the command line or the configuration is wrong.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { command, named } = Arguments::parse();
    // An option after the command wins over the same option before it.
    let before = named.config.as_deref();
    let chosen = |named: &Named| -> PathBuf {
        let chosen = named.config.as_deref().or(before);
        chosen.map_or_else(|| PathBuf::from(DEFAULT_CONFIG), Path::to_owned)
    };
    ExitCode::from(match command {
        None => run::run(&chosen(&named)),
        Some(Command::Run { named }) => run::run(&chosen(&named)),
        Some(Command::Check {
            file,
            named,
            format,
            deny_warnings,
        }) => check::check(
            &file.unwrap_or_else(|| chosen(&named)),
            format,
            deny_warnings,
        ),
        Some(Command::Health {
            ready,
            timeout,
            address,
            named,
        }) => health::health(&chosen(&named), address, ready, timeout),
        Some(Command::Drain {
            wait,
            address,
            named,
        }) => drain::drain(&chosen(&named), address, wait),
        Some(Command::Schema) => {
            reads_no_configuration(before, "schema");
            schema::schema()
        }
        Some(Command::Diagnose(options)) => {
            reads_no_configuration(before, "diagnose");
            diagnose::run(&options)
        }
        Some(Command::Find(options)) => {
            reads_no_configuration(before, "find");
            find::find(&options)
        }
        #[cfg(feature = "top")]
        Some(Command::Top(options)) => top::top(&chosen(&options.named), &options),
        Some(Command::Explain {
            code,
            markdown,
            lang,
        }) => {
            reads_no_configuration(before, "explain");
            explain::explain(code.as_deref(), markdown, lang)
        }
    })
}

/// Ends the process if a configuration was named before a command that does not read one.
fn reads_no_configuration(named: Option<&Path>, command: &str) {
    if named.is_some() {
        let message = format!("'{command}' reads no configuration; leave out --config");
        Arguments::command()
            .error(ErrorKind::ArgumentConflict, message)
            .exit();
    }
}

/// Writes a command's output. It is not an error if the reader has closed the pipe.
fn say(mut to: impl Write, text: &str) {
    let _: io::Result<()> = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}
