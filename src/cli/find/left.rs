//! What the records themselves say of those that were not written.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::cli::records::Record;

/// More reasons than any version has.
const REASONS: usize = 500;

/// Records that were not written, as the records themselves say it.
#[derive(Debug, Default)]
pub(super) struct Left {
    suppressed: BTreeMap<String, u64>,
    pub(super) dropped: u64,
}

impl Left {
    /// Counts a record `records_suppressed`.
    pub(super) fn suppress(&mut self, record: &Record<'_>) {
        if self.suppressed.len() < REASONS || self.suppressed.contains_key(&*record.reason) {
            let count = self
                .suppressed
                .entry(record.reason.to_string())
                .or_default();
            *count = count.saturating_add(record.count);
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.suppressed
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What the answer does not contain.
    pub(super) fn note(&self, is_narrow: bool) -> String {
        let mut text = String::new();
        if self.total() > 0 {
            let each: Vec<_> = self
                .suppressed
                .iter()
                .map(|(reason, count)| format!("{reason} {count}"))
                .collect();
            let _ = writeln!(
                text,
                "note: in a flood, {} more refusals were counted instead of written ({})",
                self.total(),
                each.join(", ")
            );
            if is_narrow {
                text.push_str(
                    "note: how many of these meet the conditions is not known; `--top client` without them shows whose they were\n",
                );
            }
        }
        if self.dropped > 0 {
            let _ = writeln!(
                text,
                "note: {} lines were lost, because the output failed or was blocked (records_dropped)",
                self.dropped
            );
        }
        text
    }
}
