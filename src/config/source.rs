//! From a file to an [`Outcome`]: reads it, and gives every finding its line.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::awaited::AwaitedFile;
use super::cursor::Cursor;
use super::problem::{MOST_PROBLEMS, Problem, Severity};
use super::report::{Finding, Report};
use super::slips::{self, LookAlike};
use super::syntax::Refusal;
use super::yaml::{self, Aim, Node};
use super::{CertificateFiles, Config, blocks, input, lint, paths, strays};

/// Largest file that a configuration may name: far larger than all authorities of a system.
const LARGEST_NAMED_FILE: u64 = 16 * 1024 * 1024;

/// Most bytes of text that are read again to locate problems: about twenty problems in a file of the largest size, and two
/// hundred in a file a tenth of that.
const MOST_READ_AGAIN: usize = 24 * 1024 * 1024;

/// The result of reading a configuration.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// `None` if there are errors.
    pub config: Option<Config>,
    /// If there are errors: what could be read, with defaults in place of the rest. It serves only to check the files that it
    /// names, so that their problems are reported in the same run.
    pub draft: Option<Config>,
    /// By line.
    pub problems: Vec<Problem>,
    /// Every certificate entry that could be read, even if there are errors.
    pub certificates: Vec<CertificateFiles>,
    /// For locating what other modules find in the same text.
    pub source: Source,
}

/// The text of a configuration, for locating problems in it.
#[derive(Clone, Debug)]
pub struct Source {
    file: PathBuf,
    text: String,
    tree: Node,
    /// Bytes that were read again for other modules.
    read_again: Arc<AtomicUsize>,
}

impl Source {
    /// A problem at `site`, a path such as `listeners[0].tls.certificates[1].cert`, with its line and column. If the site is
    /// not in the file, the nearest mapping or list on the way there is used. If a large file has very many problems, the
    /// later ones have the line 1, but still their site.
    #[must_use]
    pub fn problem(&self, severity: Severity, site: &str, message: impl Into<String>) -> Problem {
        let cursor = Cursor::find(&self.tree, site);
        let (path, aim) = cursor.target();
        let before = self.read_again.fetch_add(self.text.len(), Relaxed);
        let (line, column) = match before < MOST_READ_AGAIN {
            true => self.locate(path, aim),
            false => (1, 1),
        };
        let mut problem = Problem {
            severity,
            file: self.file.clone(),
            line,
            column,
            site: site.to_owned(),
            message: message.into(),
            help: None,
        };
        // For example in the name of a certificate's file.
        if severity == Severity::Error {
            name_look_alike(&self.text, &mut problem);
        }
        problem
    }

    fn locate(&self, path: &[usize], aim: Aim) -> (usize, usize) {
        yaml::locate(&self.text, path, aim).unwrap_or((1, 1))
    }

    fn place(&self, finding: Finding) -> Problem {
        let (line, column) = self.locate(&finding.path, finding.aim);
        Problem {
            severity: finding.severity,
            file: self.file.clone(),
            line,
            column,
            site: finding.site,
            message: finding.message,
            help: finding.help,
        }
    }
}

/// Reads a file that a configuration names: certificates, keys, authorities.
///
/// # Errors
/// Those of the operating system; and if it is not a regular file (reading a named pipe might never end), or has more than
/// 16 MiB.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let _awaited = AwaitedFile::begin(path);
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(LARGEST_NAMED_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_NAMED_FILE {
        return Err(io::Error::other("it has more than 16 MiB"));
    }
    Ok(bytes)
}

/// Reads the configuration at `path` (`-` is standard input) with the environment of the process. A pipe can be read only
/// once, and this waits for its end (see [`input`]).
#[must_use]
pub fn read(path: &Path) -> Outcome {
    match input::text_of(path) {
        Ok(text) => parse(&text, path, &|name| std::env::var(name).ok()),
        Err(problem) => Outcome {
            config: None,
            draft: None,
            problems: vec![*problem],
            certificates: Vec::new(),
            source: Source {
                file: path.to_owned(),
                text: String::new(),
                tree: Node::Null,
                read_again: Arc::default(),
            },
        },
    }
}

/// Reads the configuration in `text`. `file` is what problems name; relative paths start from its folder, or from the
/// working directory if it is not a regular file. `env` gives the values of `${NAME}`.
#[must_use]
pub fn parse(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Outcome {
    // A byte order mark would count as a column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut outcome = Outcome {
        config: None,
        draft: None,
        problems: Vec::new(),
        certificates: Vec::new(),
        source: Source {
            file: file.to_owned(),
            text: text.to_owned(),
            tree: Node::Null,
            read_again: Arc::default(),
        },
    };
    match tree_of(text) {
        Ok(tree) => outcome.source.tree = tree,
        Err(refusal) => {
            outcome.problems.push(Problem {
                severity: Severity::Error,
                file: file.to_owned(),
                line: refusal.line,
                column: refusal.column,
                site: String::new(),
                message: refusal.message,
                help: refusal.help,
            });
            return outcome;
        }
    }
    let folder = match input::is_read_once(file) {
        true => Path::new(""),
        false => file.parent().unwrap_or_else(|| Path::new("")),
    };
    let mut report = Report::new(env, folder, paths::home);
    let root = Cursor::root(&outcome.source.tree);
    let config = blocks::read(&root, &mut outcome.certificates, &mut report);
    if report.has_errors() {
        outcome.draft = config;
    } else if let Some(config) = config {
        report.findings.extend(lint::lint(&config, &root));
        outcome.config = Some(config);
    }
    let of_strays = strays::examine(root.node, &report);
    let mut findings = report.finish();
    findings.extend(of_strays);
    outcome.problems = placed(&outcome.source, findings);
    for problem in &mut outcome.problems {
        explain_look_alike(text, problem);
    }
    outcome
}

/// The tree of a text, or why it is not YAML.
fn tree_of(text: &str) -> Result<Node, Refusal> {
    if let Some(refusal) = slips::merge_conflict(text) {
        return Err(refusal);
    }
    match yaml::parse(text) {
        Ok(tree @ (Node::Text(_) | Node::List(_))) => {
            slips::other_format(text).map_or(Ok(tree), Err)
        }
        Ok(tree) => Ok(tree),
        Err(refusal) => Err(cause(text, refusal)),
    }
}

/// What probably caused a syntax error: another character, another format, or a merge conflict.
fn cause(text: &str, refusal: Refusal) -> Refusal {
    let opened = refusal.opened.map(|(line, _)| line);
    if let Some(slip) = LookAlike::above(text, refusal.line, opened) {
        return Refusal::new((slip.line, slip.column), slip.words());
    }
    let comment = [refusal.line, refusal.line.saturating_sub(1)]
        .into_iter()
        .find_map(|line| {
            let content = text.lines().nth(line.checked_sub(1)?)?;
            Some((line, slips::comment_behind(content)?))
        });
    if let Some(place) = comment {
        return Refusal::new(place, "found a comment of JSON5, expected YAML")
            .help("start a comment with #");
    }
    slips::possible_conflict(text)
        .or_else(|| slips::other_format(text))
        .unwrap_or(refusal)
}

/// Explains an error in a line with a character that only looks right: most often this character is the cause.
fn explain_look_alike(text: &str, problem: &mut Problem) {
    if problem.severity != Severity::Error {
        return;
    }
    if name_look_alike(text, problem) {
        return;
    }
    let Some(slip) = LookAlike::in_line(text, problem.line) else {
        explain_comment(text, problem);
        return;
    };
    add_help(
        problem,
        &format!("column {}: {}", slip.column, slip.words()),
    );
}

/// Replaces an error whose message has such a character, and returns whether it did.
fn name_look_alike(text: &str, problem: &mut Problem) -> bool {
    let Some(slip) = LookAlike::in_message(text, problem.line, &problem.message) else {
        return false;
    };
    problem.column = slip.column;
    problem.message = slip.words();
    problem.help = None;
    true
}

/// Explains an error in a line that ends with a comment of another format.
fn explain_comment(text: &str, problem: &mut Problem) {
    let line = problem
        .line
        .checked_sub(1)
        .and_then(|index| text.lines().nth(index));
    let Some(column) = line.and_then(slips::comment_behind) else {
        return;
    };
    add_help(problem, &format!("column {column}: start a comment with #"));
}

fn add_help(problem: &mut Problem, words: &str) {
    problem.help = Some(match problem.help.take() {
        Some(help) => format!("{help}; {words}"),
        None => words.to_owned(),
    });
}

fn placed(source: &Source, mut findings: Vec<Finding>) -> Vec<Problem> {
    let placeable = MOST_READ_AGAIN / source.text.len().max(1);
    let most = placeable.clamp(1, MOST_PROBLEMS);
    let left_off = findings.len().saturating_sub(most);
    let is_error_left_off = findings
        .iter()
        .skip(most)
        .any(|finding| finding.severity == Severity::Error);
    findings.truncate(most);
    let mut problems: Vec<Problem> = findings
        .into_iter()
        .map(|finding| source.place(finding))
        .collect();
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if left_off > 0 {
        let (line, column) = problems
            .last()
            .map_or((1, 1), |last| (last.line, last.column));
        problems.push(Problem {
            severity: if is_error_left_off {
                Severity::Error
            } else {
                Severity::Warning
            },
            file: source.file.clone(),
            line,
            column,
            site: String::new(),
            message: format!("found {left_off} more problems"),
            help: Some("they are shown when these are fixed".to_owned()),
        });
    }
    problems
}
