//! `wsgate explain`, and the references in English and Chinese, which are generated from the same tables.

mod words;

use std::fmt::Write as _;
use std::io;

use super::{OK, WRONG, say};
use crate::reason::{By, NoteCode, Reason, Stage, Status};

pub(super) use words::Language;

/// Explains one code, or lists all codes.
pub(super) fn explain(code: Option<&str>, markdown: bool, language: Language) -> u8 {
    let Some(code) = code else {
        let all = if markdown { reference } else { list };
        say(io::stdout(), &all(language));
        return OK;
    };
    if let Ok(reason) = code.parse::<Reason>() {
        say(io::stdout(), &one(reason, language));
        return OK;
    }
    if let Some(note) = NoteCode::ALL.iter().find(|note| note.code() == code) {
        let words = language.words();
        let text = format!(
            "{code}{}\n  {}{}\n",
            words.is_a_note,
            words.meaning,
            language.meaning(*note)
        );
        say(io::stdout(), &text);
        return OK;
    }
    // Codes with a lower score are not similar.
    const ALIKE: f64 = 0.8;
    let nearest = Reason::ALL
        .iter()
        .map(|reason| (strsim::jaro_winkler(reason.code(), code), reason.code()))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    let hint = nearest
        .map(|(_, nearest)| format!("; did you mean {nearest}?"))
        .unwrap_or_default();
    say(
        io::stderr(),
        &format!("no reason has the code {code:?}{hint} (wsgate explain lists all)\n"),
    );
    WRONG
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
        (words.cause, language.cause(reason).to_owned()),
        (words.client_sees, language.client_sees(reason)),
        (words.fix, language.fix(reason).to_owned()),
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
            let cause = language.cause(reason);
            let _ = writeln!(text, "  {:width$}  {cause}", reason.code());
        }
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
                capitalized(language.cause(reason)),
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
                (words.fix, language.fix(reason).to_owned()),
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
