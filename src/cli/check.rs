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
            "{}: ok: {} listeners, {} routes, {} upstreams",
            file.display(),
            config.listeners.len(),
            config.routes.len(),
            config.upstreams.len()
        ),
        None => {
            let errors = problems
                .iter()
                .filter(|problem| problem.severity == Severity::Error)
                .count();
            writeln!(
                text,
                "{}: {errors} errors, {} warnings",
                file.display(),
                problems.len() - errors
            )
        }
    };
    say(io::stdout(), &text);
    if config.is_some() { OK } else { WRONG }
}

/// One line a problem.
pub(super) fn lines(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |mut text, problem| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{problem}");
        text
    })
}
