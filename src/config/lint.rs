//! Contradictions in a valid configuration, or between it and the known hops around the proxy.
//!
//! Pure: takes the resolved configuration and the tree of its file (for places and for what is written out), and gives
//! warnings, each with its place and what to do. It does not report what is only likely: a warning that the operator
//! can't fix is noise.

pub(super) mod exposure;
mod log;
mod origins;
mod protocols;
mod routes;
mod timers;

use super::Config;
use super::cursor::Cursor;
use super::problem::MOST_PROBLEMS;
use super::problem::Severity;
use super::report::Finding;

/// All warnings about `config`, which was read from `root`.
pub fn lint(config: &Config, root: &Cursor<'_>) -> Vec<Finding> {
    let mut notes = Notes {
        root,
        findings: Vec::new(),
    };
    exposure::lint(config, &mut notes);
    protocols::lint(config, &mut notes);
    routes::lint(config, &mut notes);
    origins::lint(config, &mut notes);
    timers::lint(config, &mut notes);
    log::lint(config, &mut notes);
    notes.findings
}

/// The warnings so far, and the file that they are about.
struct Notes<'r, 't> {
    root: &'r Cursor<'t>,
    findings: Vec<Finding>,
}

impl Notes<'_, '_> {
    /// Adds a warning at `site`, or at the deepest place on the way there that exists; `help` says what to do.
    fn warn(&mut self, site: &str, message: impl Into<String>, help: impl Into<String>) {
        // Later ones are only counted, never shown with their place.
        let cursor = match self.findings.len() < MOST_PROBLEMS {
            true => Cursor::find(self.root.node, site),
            false => self.root.clone(),
        };
        let (path, aim) = cursor.target();
        self.findings.push(Finding {
            severity: Severity::Warning,
            path: path.to_owned(),
            aim,
            site: site.to_owned(),
            message: message.into(),
            help: Some(help.into()),
        });
    }

    /// Whether `site` is written in the file.
    fn is_written(&self, site: &str) -> bool {
        Cursor::find(self.root.node, site).site == site
    }
}
