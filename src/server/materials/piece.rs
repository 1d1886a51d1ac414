//! The result of reading one certificate with its key, or one set of authorities.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::config::Problem;
use crate::tls::Certificate;

/// The result of reading one piece.
#[derive(Debug)]
pub struct Piece {
    /// Its files.
    pub files: Vec<PathBuf>,
    pub problems: Vec<Problem>,
    /// Whether its files have changed, or were not in use before.
    pub is_new: bool,
    pub outcome: Outcome,
    /// The certificate that is in use.
    pub certificate: Option<Certificate>,
}

/// Whether the content of a piece's files is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Used,
    /// It is unusable, and there is no previous one.
    Missing,
    /// It is unusable, and the previous good one stays.
    Kept,
    /// It is not valid now, and the previous one is. At this time one of the two changes, so look again.
    Waits(SystemTime),
}

impl Piece {
    /// Whether something other than the content of its files is in use.
    pub const fn is_held_back(&self) -> bool {
        matches!(self.outcome, Outcome::Kept | Outcome::Waits(_))
    }

    /// Removes repeated sets of files, and repeated problems of a set.
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

/// When to look again at a certificate that will replace the one `before`; `None`: it replaces it at once. A valid
/// certificate is not replaced by an invalid one.
pub fn wait(new: &Certificate, before: &Certificate, now: SystemTime) -> Option<SystemTime> {
    let waits = before.is_valid(now) && !new.is_valid(now);
    let begins = Some(new.begins).filter(|begins| *begins > now);
    waits.then(|| begins.map_or(before.expires, |begins| begins.min(before.expires)))
}
