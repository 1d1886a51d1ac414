//! `wsgate explain`, and the references in English and Chinese, which are generated from the same tables.

mod messages;
mod numbers;
mod recorded;
mod words;

use std::fmt::Write as _;
use std::io;

use super::records::safe;
use super::{OK, WRONG, say};
use crate::reason::{By, NoteCode, Reason, Stage, Status, Trouble};
use crate::text::{Language, shown};

/// Explains what `subject` names: a reason or a note, a close code, an HTTP status, a WeChat device's error, a message, or
/// records.
/// Without a subject, lists all codes.
pub(super) fn explain(subject: Option<&str>, markdown: bool, language: Language) -> u8 {
    let Some(subject) = subject else {
        let all = if markdown { reference } else { list };
        say(io::stdout(), &all(language));
        return OK;
    };
    if subject == "-" {
        return recorded::explain(language);
    }
    let name = plain(subject);
    let explained = numbers::device(subject, language)
        .or_else(|| recorded::text(subject.trim(), language))
        .or_else(|| named(&name, language))
        .or_else(|| among(subject, language));
    if let Some(text) = explained {
        say(io::stdout(), &safe(&text));
        return OK;
    }
    let hint = match nearest(&name).as_slice() {
        [] => String::new(),
        nearest => format!("; did you mean {}?", nearest.join(" or ")),
    };
    let subject = shown(subject, 100);
    say(
        io::stderr(),
        &format!(
            "{subject:?} is not the code of a reason or note, a close code (1000 to 4999) or an HTTP status (100 to \
             599){hint} (wsgate explain lists all codes, and wsgate diagnose URL says why a URL does not work)\n"
        ),
    );
    WRONG
}

/// What people copy has quotes, or the name of its field, or another case.
fn plain(subject: &str) -> String {
    let subject = subject.trim();
    let value = subject.rsplit(['=', ':']).next().unwrap_or_default();
    let is_around = |c: char| c.is_whitespace() || "\"'`,;.()".contains(c);
    let value = value.trim_matches(is_around).to_ascii_lowercase();
    value.replace(['-', ' '], "_")
}

/// The text for the code of a reason, a note or a problem of the process, or for a finding of `wsgate diagnose`.
fn named(code: &str, language: Language) -> Option<String> {
    if let Ok(reason) = code.parse::<Reason>() {
        return Some(one(reason, language));
    }
    if let Ok(trouble) = code.parse::<Trouble>() {
        let words = language.words();
        let (cause, fix) = trouble.texts(language);
        let line =
            |name: &str, value| format!("  {name}{}{}{value}\n", words.colon, words.padding(name));
        let (cause, fix) = (line(words.cause, cause), line(words.fix, fix));
        return Some(format!("{code}{}\n{cause}{fix}", words.is_a_trouble));
    }
    let Some(note) = NoteCode::ALL.iter().find(|note| note.code() == code) else {
        return messages::finding(code, language);
    };
    let words = language.words();
    let meaning = language.meaning(*note);
    Some(format!(
        "{code}{}\n  {}{meaning}\n",
        words.is_a_note, words.meaning
    ))
}

/// The text for a message: the code of a reason in it, a text of another program, or a close code or status, such as
/// `Unexpected server response: 403`.
fn among(message: &str, language: Language) -> Option<String> {
    let is_outside = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let mut words = message.split(is_outside).filter(|word| word.contains('_'));
    words
        .find_map(|word| named(&word.to_ascii_lowercase(), language))
        .or_else(|| messages::known(message, language))
        .or_else(|| {
            let mut numbers = messages::numbers(message).into_iter();
            numbers.find_map(|digits| number(digits, language))
        })
}

/// The text for a close code or an HTTP status.
fn number(text: &str, language: Language) -> Option<String> {
    match text.parse::<u16>().ok()? {
        code @ 1000..=4999 => Some(numbers::close_code(code, language)),
        status @ 100..=599 => Some(numbers::status(status, language)),
        _ => None,
    }
}

/// The codes of reasons and notes that are similar to a text or contain it, the most similar first.
pub(super) fn nearest(text: &str) -> Vec<&'static str> {
    // Codes with a lower score are not similar.
    const ALIKE: f64 = 0.8;
    let score = |code: &str| match text.len() > 2 && code.contains(text) {
        true => 1.0,
        false => strsim::jaro_winkler(code, text),
    };
    let reasons = Reason::ALL.iter().map(|reason| reason.code());
    let notes = NoteCode::ALL.iter().map(|note| note.code());
    let mut alike: Vec<_> = reasons
        .chain(notes)
        .map(|code| (score(code), code))
        .filter(|(alike, _)| *alike >= ALIKE)
        .collect();
    alike.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    alike.into_iter().take(3).map(|(_, code)| code).collect()
}

fn one(reason: Reason, language: Language) -> String {
    let (spec, words) = (reason.spec(), language.words());
    let stage = if reason.is_anywhere() {
        words.anywhere.to_owned()
    } else {
        language.stage(spec.stage)
    };
    let lines = [
        (words.stage, stage),
        (words.by, by(spec.by, language)),
        (words.level, spec.level.name().to_owned()),
        (words.status, status(spec.status, language)),
        (words.cause, reason.cause(language).to_owned()),
        (words.client_sees, language.client_sees(reason)),
        (words.fix, reason.fix(language).to_owned()),
    ];
    let mut text = format!("{}\n", spec.code);
    for (name, value) in lines {
        let _ = writeln!(
            text,
            "  {name}{}{}{value}",
            words.colon,
            words.padding(name)
        );
    }
    text
}

fn list(language: Language) -> String {
    let width = Reason::ALL
        .iter()
        .map(|reason| reason.code().len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for stage in Stage::ALL {
        let _ = writeln!(text, "{}", language.stage(stage));
        for reason in of(stage) {
            let cause = reason.cause(language);
            let _ = writeln!(text, "  {:width$}  {cause}", reason.code());
        }
    }
    text.push_str("notes\n");
    for note in NoteCode::ALL {
        let meaning = language.meaning(*note);
        let _ = writeln!(text, "  {:width$}  {meaning}", note.code());
    }
    text
}

/// The reasons of a stage, in the order of the table.
fn of(stage: Stage) -> impl Iterator<Item = Reason> {
    Reason::ALL
        .iter()
        .copied()
        .filter(move |reason| reason.spec().stage == stage)
}

fn by(by: Option<By>, language: Language) -> String {
    by.map_or_else(|| language.words().either.to_owned(), |by| language.by(by))
}

fn status(status: Status, language: Language) -> String {
    match status {
        Status::None => language.words().no_status.to_owned(),
        Status::Fixed(status) => status.to_string(),
        Status::Stage => language.words().status_varies.to_owned(),
    }
}

/// The text of `docs/reasons.md` or `docs/reasons.zh-CN.md`.
fn reference(language: Language) -> String {
    let words = language.words();
    let colon = words.colon_inline;
    let mut text = words.introduction.to_owned();
    for stage in Stage::ALL {
        let _ = write!(text, "\n## {}\n", language.stage(stage));
        for reason in of(stage) {
            let spec = reason.spec();
            let _ = write!(
                text,
                "\n### {}\n\n{}{}\n\n",
                spec.code,
                capitalized(reason.cause(language)),
                words.full_stop
            );
            if reason.is_anywhere() {
                let _ = writeln!(text, "- {}{colon}{}", words.stage, words.anywhere);
            }
            for (name, value) in [
                (words.by, by(spec.by, language)),
                (words.status, status(spec.status, language)),
                (words.level, spec.level.name().to_owned()),
                (words.client_sees, language.client_sees(reason)),
                (words.fix, reason.fix(language).to_owned()),
            ] {
                let _ = writeln!(text, "- {name}{colon}{value}");
            }
        }
    }
    text.push_str(words.notes);
    for note in NoteCode::ALL {
        let meaning = language.meaning(*note);
        let _ = writeln!(text, "- `{}`{colon}{meaning}", note.code());
    }
    text
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
