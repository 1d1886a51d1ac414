//! `wsgate check`.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::{OK, WRONG, say};
use crate::config::{Problem, Severity};
use crate::server::{Plan, Purpose};

/// Reports every problem of a configuration on standard output.
pub(super) fn check(file: &Path) -> u8 {
    let (problems, config) = match Plan::load(file, Purpose::Check) {
        Ok(plan) => (plan.warnings, Some(plan.config)),
        Err(problems) => (problems, None),
    };
    let mut text = lines(&problems);
    let _ = match &config {
        Some(config) => writeln!(
            text,
            "{}: ok: {}, {}, {}",
            file.display(),
            counted(config.listeners.len(), "listener"),
            counted(config.routes.len(), "route"),
            counted(config.upstreams.len(), "upstream")
        ),
        None => {
            let errors = problems
                .iter()
                .filter(|problem| problem.severity == Severity::Error)
                .count();
            writeln!(
                text,
                "{}: {}, {}",
                file.display(),
                counted(errors, "error"),
                counted(problems.len() - errors, "warning")
            )
        }
    };
    say(io::stdout(), &text);
    if config.is_some() { OK } else { WRONG }
}

fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// One line a problem.
pub(super) fn lines(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |mut text, problem| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{problem}");
        text
    })
}
