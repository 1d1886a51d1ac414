//! `${NAME}` in values: it is replaced by the environment variable, and spellings that look like one are explained.

use super::cursor::Cursor;
use super::problem::{Complaint, quoted, shown};
use super::report::Report;
use super::slips::LookAlike;

impl Cursor<'_> {
    /// `text` with each `${NAME}` replaced. The YAML is parsed already, so a variable can't add keys.
    pub fn substituted(&self, text: &str, report: &mut Report<'_>) -> Option<String> {
        // In lower case or as one letter, `$name` may be meant literally: it is mentioned only if the value is wrong.
        let sure = unbraced_variable(text);
        if let Some((written, name)) = sure.or_else(|| possible_variable(text)) {
            let words = format!(
                "{written} is not replaced; write ${{{name}}} for the environment variable"
            );
            self.remark(report, words, sure.is_some());
        }
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        let mut is_whole = true;
        while let Some((before, after)) = rest.split_once("${") {
            result.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                let message = format!("found {}, in which ${{ has no closing }}", quoted(text));
                self.error(report, message);
                return None;
            };
            rest = after;
            if !is_variable(name) {
                let message = format!(
                    "found ${{{}}}, which is not the name of a variable",
                    shown(name, 80)
                );
                let help = Some(match variable_in(name) {
                    Some((name, true)) => {
                        format!("write ${{{name}}} and set {name}: defaults are not supported")
                    }
                    Some((name, false)) => format!("write ${{{name}}}"),
                    None => "a name consists of letters, digits and _".to_owned(),
                });
                self.error(report, Complaint::new(message).maybe(help));
                is_whole = false;
            } else if let Some(value) = (report.env)(name) {
                if value.is_empty() {
                    let words = format!("environment variable {name} is set but empty");
                    self.remark(report, words, true);
                }
                if let Some(slip) = LookAlike::in_line(&value, 1) {
                    let words = format!("in environment variable {name}: {}", slip.words());
                    self.remark(report, words, false);
                }
                result.push_str(&value);
            } else {
                let message = format!("environment variable {name} is not set");
                self.error(report, message);
                is_whole = false;
            }
        }
        result.push_str(rest);
        is_whole.then_some(result)
    }
}

/// A `$NAME` without braces, and its name. Text with white space is prose or a script, in which `$` is literal.
fn unbraced_variable(text: &str) -> Option<(&str, &str)> {
    if text.contains(char::is_whitespace) {
        return None;
    }
    text.match_indices('$').find_map(|(at, _)| {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let after = text.get(at + 1..)?;
        let name = after.split(|c: char| !is_name(c)).next()?;
        let written = text.get(at..=at + name.len())?;
        (name.len() > 1 && is_variable(name)).then_some((written, name))
    })
}

/// What may be a variable as other programs spell it (`$port`, `$P`, `$(PORT)`), and its name.
fn possible_variable(text: &str) -> Option<(&str, &str)> {
    text.match_indices('$').find_map(|(at, _)| {
        let after = text.get(at + 1..)?;
        let (name, length) = match after.strip_prefix('(') {
            Some(inner) => {
                let (name, _) = inner.split_once(')')?;
                (name, name.len() + 2)
            }
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let name = after.split(|c: char| !is_name(c)).next()?;
                (name, name.len())
            }
        };
        let written = text.get(at..=at + length)?;
        is_variable(name).then_some((written, name))
    })
}

/// The variable in braces that contain more than its name, and whether the rest is a default: `PORT:-3000`, `env:PORT`.
fn variable_in(text: &str) -> Option<(&str, bool)> {
    let text = text.trim();
    let text = text.strip_prefix('$').unwrap_or(text);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (name, rest) = text.split_at(text.find(|c: char| !is_name(c)).unwrap_or(text.len()));
    let is_default = [":-", ":=", ":?", ":+"]
        .iter()
        .any(|sign| rest.starts_with(sign));
    if is_default || rest.is_empty() {
        return is_variable(name).then_some((name, is_default));
    }
    let (_, name) = text.rsplit_once([':', '.'])?;
    is_variable(name).then_some((name, false))
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
