//! Counts instead of records.

use super::left::Left;
use super::summary::Summary;
use super::top::Top;
use crate::cli::records::Record;

/// What is counted.
pub(super) enum Report {
    Top(Top),
    Summary(Summary),
}

impl Report {
    /// Counts a record; returns whether it counts.
    pub(super) fn add(&mut self, record: &Record<'_>) -> bool {
        match self {
            Self::Top(top) => top.add(record),
            Self::Summary(summary) => summary.add(record),
        }
    }

    /// Counts what was not written.
    pub(super) fn suppressed(&mut self, record: &Record<'_>) {
        match self {
            Self::Top(top) => top.suppressed(record),
            Self::Summary(summary) => summary.suppressed(record),
        }
    }

    /// The result.
    pub(super) fn text(&self, left: &Left) -> String {
        match self {
            Self::Top(top) => top.text(left),
            Self::Summary(summary) => summary.text(left),
        }
    }

    /// Whether something was counted that no record shows.
    pub(super) fn has_suppressed(&self) -> bool {
        match self {
            Self::Top(top) => top.has_unwritten(),
            Self::Summary(summary) => summary.has_unwritten(),
        }
    }
}
