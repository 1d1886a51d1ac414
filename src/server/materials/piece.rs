//! What came of reading one certificate with its key, or one set of authorities.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::config::Problem;
use crate::tls::Certificate;

/// What came of reading one piece.
#[derive(Debug)]
pub struct Piece {
    /// Its files.
    pub files: Vec<PathBuf>,
    pub problems: Vec<Problem>,
    /// Whether its files are not what they were, or are in use only now.
    pub is_new: bool,
    pub outcome: Outcome,
    /// The certificate that is in use.
    pub certificate: Option<Certificate>,
}

/// Whether what the files of a piece hold is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Used,
    /// It can't be used, and there is nothing from before.
    Missing,
    /// It can't be used, and what was good stays.
    Kept,
    /// It is not valid now, and the one from before is. This is when to look again: one of the two changes then.
    Waits(SystemTime),
}

impl Piece {
    /// Whether something else is in use than its files hold.
    pub const fn is_held_back(&self) -> bool {
        matches!(self.outcome, Outcome::Kept | Outcome::Waits(_))
    }

    /// Each set of files once, whoever names them, and each problem of it once.
    pub fn merged(pieces: Vec<Self>) -> Vec<Self> {
        let mut merged: Vec<Self> = Vec::new();
        for piece in pieces {
            let is_same =
                |other: &&mut Self| other.files == piece.files && other.outcome == piece.outcome;
            let Some(same) = merged.iter_mut().find(is_same) else {
                merged.push(piece);
                continue;
            };
            same.is_new |= piece.is_new;
            for problem in piece.problems {
                let is_told = |told: &Problem| {
                    (told.severity, &told.message) == (problem.severity, &problem.message)
                };
                if !same.problems.iter().any(is_told) {
                    same.problems.push(problem);
                }
            }
        }
        merged
    }
}

/// When to look again at a certificate that is to replace the one `before`; `None`: it replaces it at once. One that is
/// valid now is not replaced by one that is not.
pub fn wait(new: &Certificate, before: &Certificate, now: SystemTime) -> Option<SystemTime> {
    let waits = before.is_valid(now) && !new.is_valid(now);
    let begins = Some(new.begins).filter(|begins| *begins > now);
    waits.then(|| begins.map_or(before.expires, |begins| begins.min(before.expires)))
}
