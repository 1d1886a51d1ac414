//! What reading a configuration has found so far.

use std::collections::HashMap;
use std::path::Path;

use super::problem::Severity;
use super::yaml::Aim;

/// Finds the mapping that has the key `name`, which was found at `site`, where it is unknown.
pub type Home = fn(name: &str, site: &str) -> Option<String>;

/// What the reader has found so far, and what it needs to know in addition to the file.
pub struct Report<'e> {
    /// The value of an environment variable, if it is set.
    pub env: &'e dyn Fn(&str) -> Option<String>,
    /// Where relative paths start.
    pub folder: &'e Path,
    /// Where a misplaced key belongs.
    pub home: Home,
    /// In the order in which they were found.
    pub findings: Vec<Finding>,
    /// Values that were skipped because of their keys.
    pub strays: Vec<Stray>,
    remarks: Vec<Remark>,
}

/// A value that the first reading skipped.
#[derive(Debug)]
pub struct Stray {
    /// Steps from the root of the tree.
    pub path: Vec<usize>,
    /// The place in words.
    pub site: String,
    /// The mapping that has the key, as the reference spells it (`routes[].websocket`); `None`: the mapping it is in.
    pub home: Option<String>,
    /// The key that was probably meant.
    pub name: String,
}

/// What may explain an error at the same place.
#[derive(Debug)]
pub struct Remark {
    /// Steps from the root of the tree.
    pub path: Vec<usize>,
    /// The place in words.
    pub site: String,
    /// What was found.
    pub words: String,
    /// Whether it becomes a warning if there is no error.
    pub is_warning: bool,
}

/// A problem with its place in the tree, but not yet in the text.
#[derive(Debug)]
pub struct Finding {
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// Steps from the root of the tree.
    pub path: Vec<usize>,
    /// Whether the last step's key or value is meant.
    pub aim: Aim,
    /// The place in words.
    pub site: String,
    /// What was found and what is allowed.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl<'e> Report<'e> {
    /// An empty report.
    pub fn new(env: &'e dyn Fn(&str) -> Option<String>, folder: &'e Path, home: Home) -> Self {
        Self {
            env,
            folder,
            home,
            findings: Vec::new(),
            strays: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// Adds a remark once: a value may be read twice.
    pub fn remark(&mut self, remark: Remark) {
        let here = self.remarks.iter().rev();
        let mut here = here.take_while(|other| other.path == remark.path);
        if !here.any(|other| other.words == remark.words) {
            self.remarks.push(remark);
        }
    }

    /// All findings, with the remarks that explain them.
    pub fn finish(mut self) -> Vec<Finding> {
        let mut errors = HashMap::new();
        for (index, finding) in self.findings.iter().enumerate() {
            if finding.severity == Severity::Error {
                errors.entry(finding.path.clone()).or_insert(index);
            }
        }
        for remark in self.remarks {
            let error = errors.get(&remark.path).copied();
            match error.and_then(|index| self.findings.get_mut(index)) {
                Some(finding) => {
                    finding.help = Some(match finding.help.take() {
                        Some(help) => format!("{}; {help}", remark.words),
                        None => remark.words,
                    });
                }
                None if remark.is_warning => self.findings.push(Finding {
                    severity: Severity::Warning,
                    path: remark.path,
                    aim: Aim::Value,
                    site: remark.site,
                    message: remark.words,
                    help: None,
                }),
                None => {}
            }
        }
        self.findings
    }

    /// Whether there is an error among the findings.
    pub fn has_errors(&self) -> bool {
        let is_error = |finding: &Finding| finding.severity == Severity::Error;
        self.findings.iter().any(is_error)
    }
}
