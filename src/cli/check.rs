//! `wsgate check`.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{FAILED, OK, WRONG, say};
use crate::config::{Config, Problem, Severity};
use crate::server::{Plan, Purpose};
use crate::text::counted;

/// The format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One line per problem, then a summary.
    Text,
    /// One document.
    Json,
}

/// Reports every problem of a configuration on standard output. Warnings change the exit code only if they are denied.
pub(super) fn check(file: &Path, format: Format, deny_warnings: bool) -> u8 {
    let (problems, config) = match Plan::load(file, Purpose::Check) {
        Ok(plan) => (plan.warnings, Some(plan.config)),
        Err(problems) => (problems, None),
    };
    let code = match config {
        None => WRONG,
        Some(_) if deny_warnings && !problems.is_empty() => FAILED,
        Some(_) => OK,
    };
    let text = match format {
        Format::Json => format!("{:#}\n", document(file, code == OK, &problems)),
        Format::Text => lines(&problems) + &summary(file, config.as_deref(), &problems),
    };
    say(io::stdout(), &text);
    code
}

/// The document for programs. Fields may be added, but not changed or removed.
fn document(file: &Path, ok: bool, problems: &[Problem]) -> Value {
    let problems: Vec<_> = problems
        .iter()
        .map(|problem| {
            json!({
                "severity": problem.severity.name(),
                "line": problem.line,
                "column": problem.column,
                "path": problem.site,
                "message": problem.words(),
            })
        })
        .collect();
    json!({ "file": file.to_string_lossy(), "ok": ok, "problems": problems })
}

fn summary(file: &Path, config: Option<&Config>, problems: &[Problem]) -> String {
    let is_error = |problem: &&Problem| problem.severity == Severity::Error;
    let errors = problems.iter().filter(is_error).count();
    let warnings = counted(problems.len() - errors, "warning");
    let file = file.display();
    let Some(config) = config else {
        return format!("{file}: {}, {warnings}\n", counted(errors, "error"));
    };
    let parts = [
        counted(config.listeners.len(), "listener"),
        counted(config.routes.len(), "route"),
        counted(config.upstreams.len(), "upstream"),
    ];
    let warnings = if problems.is_empty() {
        String::new()
    } else {
        format!("; {warnings}")
    };
    format!("{file}: ok: {}{warnings}\n", parts.join(", "))
}

/// One line per problem.
pub(super) fn lines(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |mut text, problem| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{problem}");
        text
    })
}
