//! `wsgate top`: a view of the running proxy in a terminal, from what the admin listener answers.

mod cells;
mod dialog;
mod document;
mod head;
mod keys;
mod known;
mod labels;
mod lenient;
mod opened;
mod paint;
mod panes;
mod poll;
mod screen;
mod snapshot;
mod story;
mod ui;
mod view;
mod wanted;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use clap::Args;

use self::paint::Paint;
use self::ui::Ui;
use self::wanted::Wanted;
use super::ask::{ADMIN, Target, reachable};
use super::{FAILED, Named, OK, say};
use crate::text::Language;

/// The command line of `top`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Ask this address instead of the one in the configuration: HOST:PORT, or unix:/PATH for a socket.
    #[arg(long, value_name = "ADDRESS", value_parser = Target::parse)]
    address: Option<Target>,
    /// How often to ask.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = every)]
    every: Duration,
    /// Print one snapshot as plain text; output that is not a terminal gets this, too.
    #[arg(long)]
    once: bool,
    /// Only this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Only this reason; several are separated by commas, and * stands for any text, as in 'upstream_*'.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Only this client: an address, a network such as 203.0.113.0/24, or the beginning of one.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    /// Only the last minutes: 1 to 60.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=60))]
    minutes: Option<u8>,
    /// The language: en or zh.
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    lang: Language,
    #[command(flatten)]
    pub named: Named,
}

/// Parses how often to ask: from a quarter of a second to an hour.
fn every(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(every) if (Duration::from_millis(250)..=Duration::from_secs(3600)).contains(&every) => {
            Ok(every)
        }
        _ => Err("expected a duration from 250ms to 1h, such as 2s".to_owned()),
    }
}

/// Shows the view, or prints one snapshot. Returns 0 if there was an answer, 1 if not, 2 if the address is not known.
pub(super) fn top(file: &Path, options: &Options) -> u8 {
    let target = match &options.address {
        Some(address) => address.clone(),
        None => match reachable(file, &ADMIN) {
            Ok((address, _)) => address,
            Err(code) => return code,
        },
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let wanted = Wanted {
        route: text(&options.route),
        reason: text(&options.reason),
        client: text(&options.client),
        minutes: options
            .minutes
            .map_or_else(String::new, |minutes| minutes.to_string()),
        ..Wanted::default()
    };
    let fail = |error: &str| {
        say(io::stderr(), &format!("{target}: {error}\n"));
        FAILED
    };
    if options.once || !io::stdout().is_terminal() {
        return match poll::poll(&target, &wanted.path()) {
            Ok(document) => {
                say(
                    io::stdout(),
                    &snapshot::text(&document, options.lang, wanted),
                );
                OK
            }
            Err(error) => fail(&error),
        };
    }
    let paint = Paint {
        is_coloured: std::env::var_os("NO_COLOR").is_none(),
    };
    let name = std::env::var("USER").unwrap_or_default();
    let ui = Ui::new(options.lang, wanted, &name, paint);
    match screen::show(&target, options.every, ui) {
        Ok(()) => OK,
        Err(error) => fail(&format!("the view has ended: {error}")),
    }
}
