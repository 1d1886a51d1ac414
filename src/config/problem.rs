//! Problems of a configuration, and how they are reported.

use std::fmt;
use std::path::PathBuf;

pub(super) use crate::text::shown;

/// Most problems in one report: the text is read again to locate each of them.
pub(super) const MOST_PROBLEMS: usize = 200;

/// Whether a configuration with a problem can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is used, but someone should look at it.
    Warning,
}

impl Severity {
    /// The severity's name as reports spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the configuration can be used nevertheless.
    pub severity: Severity,
    /// The file as it was named.
    pub file: PathBuf,
    /// From 1; 1 if the whole file is meant.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Path in the file, such as `routes[1].websocket.origins[0]`; empty if the whole file is meant.
    pub site: String,
    /// What was found and what is allowed.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, .. } = self;
        let file = shown(&self.file.to_string_lossy(), usize::MAX);
        write!(f, "{file}:{line}:{column}: {}: ", self.severity.name())?;
        if !self.site.is_empty() {
            write!(f, "{}: ", shown(&self.site, usize::MAX))?;
        }
        f.write_str(&self.words())
    }
}

impl Problem {
    /// What was found, what is allowed and what to write instead, on one line and without the place.
    #[must_use]
    pub fn words(&self) -> String {
        let message = shown(&self.message, usize::MAX);
        match &self.help {
            Some(help) => format!("{message}; {}", shown(help, usize::MAX)),
            None => message,
        }
    }
}

/// What is said about a place in the file.
#[derive(Debug)]
pub struct Complaint {
    /// What was found and what is allowed.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Complaint {
    /// Without a remedy.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    /// With what to write instead.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With what to write instead, if that is known.
    pub fn maybe(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

impl From<String> for Complaint {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Complaint {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// Most characters of a found text that a message repeats.
const LONGEST_FOUND: usize = 80;

/// `text` in quotes, cut when long.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text, LONGEST_FOUND))
}

/// The one of `allowed` that `found` was probably meant to be.
pub(super) fn nearest<'a>(
    found: &str,
    allowed: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let folded = found.to_lowercase().replace('-', "_");
    // The comparison takes time in proportion to the product of the lengths. A wrong number is not a typing mistake.
    if folded.is_empty() || folded.len() > 64 || folded.parse::<f64>().is_ok() {
        return None;
    }
    let length = folded.chars().count();
    let bearable = (length / 3).max(1).min(length - 1);
    let mut best: Option<(usize, &'a str)> = None;
    for name in allowed {
        let distance = strsim::damerau_levenshtein(&folded, &name.to_lowercase().replace('-', "_"));
        if distance <= bearable && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// The one of `allowed` that contains `found` or is contained in it: `allowed_origins`, `idle`.
pub(super) fn akin<'a>(found: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = found.to_lowercase().replace('-', "_");
    allowed.into_iter().find(|name| {
        folded.len().min(name.len()) >= 3 && (folded.contains(name) || name.contains(&folded))
    })
}
