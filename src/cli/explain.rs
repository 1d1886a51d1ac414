//! `wsgate explain`, and the reference that is generated from the same source.

use std::fmt::Write as _;
use std::io;

use super::{OK, WRONG, say};
use crate::reason::{By, NoteCode, Reason, Stage, Status};

/// The stage of a reason that has none of its own.
const ANYWHERE: &str = "wherever the connection was";

/// Explains one code, or lists all.
pub(super) fn explain(code: Option<&str>, markdown: bool) -> u8 {
    let Some(code) = code else {
        say(io::stdout(), &if markdown { reference() } else { list() });
        return OK;
    };
    if let Ok(reason) = code.parse::<Reason>() {
        say(io::stdout(), &one(reason));
        return OK;
    }
    if let Some(note) = NoteCode::ALL.iter().find(|note| note.code() == code) {
        say(
            io::stdout(),
            &format!(
                "{code} is a note: it ended nothing.\n  meaning: {}\n",
                note.meaning()
            ),
        );
        return OK;
    }
    // Below this two words have little more in common than their letters.
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

fn one(reason: Reason) -> String {
    let spec = reason.spec();
    format!(
        "{code}\n  stage:       {stage}\n  by:          {by}\n  level:       {level}\n  status:      {status}\n  \
         cause:       {cause}\n  client sees: {sees}\n  what to do:  {fix}\n",
        code = spec.code,
        stage = if reason.is_anywhere() {
            ANYWHERE
        } else {
            spec.stage.name()
        },
        by = by(spec.by),
        level = spec.level.name(),
        status = status(spec.status),
        cause = spec.cause,
        sees = reason.client_sees(),
        fix = spec.fix,
    )
}

fn list() -> String {
    let width = Reason::ALL
        .iter()
        .map(|reason| reason.code().len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for stage in Stage::ALL {
        let _ = writeln!(text, "{}", stage.name());
        for reason in Reason::ALL
            .iter()
            .filter(|reason| reason.spec().stage == stage)
        {
            let _ = writeln!(text, "  {:width$}  {}", reason.code(), reason.spec().cause);
        }
    }
    text
}

fn by(by: Option<By>) -> &'static str {
    by.map_or("client or upstream", By::name)
}

fn status(status: Status) -> String {
    match status {
        Status::None => "none".to_owned(),
        Status::Fixed(status) => status.to_string(),
        Status::Stage => "varies".to_owned(),
    }
}

/// `docs/reasons.md`.
#[must_use]
pub(super) fn reference() -> String {
    let mut text = String::from(
        "# Reasons\n\n\
         Every refused handshake and every ended tunnel has one of these codes in the field `reason` of its record.\n\
         `stage` says how far the connection had come, `by` whose doing the end was, `status` what HTTP status the\n\
         client was answered with, if any. A code keeps its meaning for ever.\n\n\
         This page is written by `wsgate explain --markdown`; `wsgate explain CODE` prints one entry.\n",
    );
    for stage in Stage::ALL {
        let _ = write!(text, "\n## {}\n", stage.name());
        for reason in Reason::ALL
            .iter()
            .filter(|reason| reason.spec().stage == stage)
        {
            let spec = reason.spec();
            let stage = if reason.is_anywhere() {
                format!("- stage: {ANYWHERE}\n")
            } else {
                String::new()
            };
            let _ = write!(
                text,
                "\n### {}\n\n{}.\n\n{stage}- by: {}\n- status: {}\n- level: {}\n- client sees: {}\n- what to do: {}\n",
                spec.code,
                capitalized(spec.cause),
                by(spec.by),
                status(spec.status),
                spec.level.name(),
                reason.client_sees(),
                spec.fix,
            );
        }
    }
    text.push_str(
        "\n## Notes\n\nA record's `notes` say what is worth knowing and ended nothing.\n\n",
    );
    for note in NoteCode::ALL {
        let _ = writeln!(text, "- `{}`: {}", note.code(), note.meaning());
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
