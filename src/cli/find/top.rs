//! `--top`: the most frequent values of a field.

use std::fmt::Write as _;

use serde_json::json;

use super::Field;
use super::counter::{Counted, Counter};
use super::left::Left;
use crate::cli::records::Record;
use crate::text::{counted, shown};

/// How many different values are kept if there are too many.
const KEPT: usize = 20_000;

/// The most characters of a value.
const WIDE: usize = 160;

/// A request is counted once: when it has ended.
fn is_terminal(record: &Record<'_>) -> bool {
    ["refused", "closed", "request"].contains(&&*record.event)
}

/// The most frequent values of a field.
pub(super) struct Top {
    field: Field,
    limit: usize,
    is_json: bool,
    counter: Counter,
    records: u64,
    unwritten: u64,
}

impl Top {
    pub(super) fn new(field: Field, limit: usize, is_json: bool) -> Self {
        Self {
            field,
            limit,
            is_json,
            counter: Counter::keeping(KEPT),
            records: 0,
            unwritten: 0,
        }
    }

    pub(super) fn add(&mut self, record: &Record<'_>) -> bool {
        if !is_terminal(record) {
            return false;
        }
        match self.field {
            Field::Reason if record.reason.is_empty() => return false,
            Field::Reason => self.counter.add(&record.reason, 1),
            Field::Client => self.counter.add(&record.address(), 1),
            Field::Origin => self.counter.add(&record.origin, 1),
            Field::Path => self.counter.add(record.bare_path(), 1),
        }
        self.records += 1;
        true
    }

    pub(super) fn suppressed(&mut self, record: &Record<'_>) {
        let named = match self.field {
            Field::Reason => {
                self.counter.add(&record.reason, record.count);
                self.unwritten = self.unwritten.saturating_add(record.count);
                return;
            }
            Field::Client => &record.top_clients,
            Field::Origin => &record.top_origins,
            Field::Path => &record.top_paths,
        };
        for frequent in named {
            self.counter.add(&frequent.value, frequent.count);
            self.unwritten = self.unwritten.saturating_add(frequent.count);
        }
    }

    fn name(&self) -> &'static str {
        match self.field {
            Field::Reason => "reason",
            Field::Client => "client",
            Field::Origin => "origin",
            Field::Path => "path",
        }
    }

    /// Whether the counts are not exact.
    fn is_approximate(&self, left: &Left) -> bool {
        self.counter.missing() > 0 || left.dropped > 0 || left.total() > self.unwritten
    }

    /// Whether refusals were counted that no record shows.
    pub(super) fn has_unwritten(&self) -> bool {
        self.unwritten > 0
    }

    pub(super) fn text(&self, left: &Left) -> String {
        let values = self.counter.top(self.limit);
        let (different, are_more) = self.counter.different();
        if self.is_json {
            let report = json!({
                "field": self.name(),
                "records": self.records,
                "suppressed": left.total(),
                "dropped": left.dropped,
                "different": different,
                "approximate": self.is_approximate(left),
                "values": values,
            });
            return format!("{report}\n");
        }
        let mut text = String::new();
        if values.is_empty() {
            return text;
        }
        let _ = writeln!(text, "{:>9}  {}", "count", self.name());
        for Counted { value, count, .. } in &values {
            let value = match value.is_empty() {
                true => "(none)".to_owned(),
                false => shown(value, WIDE),
            };
            let _ = writeln!(text, "{count:>9}  {value}");
        }
        if are_more {
            let _ = writeln!(
                text,
                "{:>9}  and more: over {different} different values",
                ""
            );
        } else if different > values.len() {
            let more = counted(different - values.len(), "value");
            let _ = writeln!(text, "{:>9}  {more} more", "");
        }
        if are_more {
            let _ = writeln!(
                text,
                "the counts are approximate: there are so many different values that each count may be too low by up to {}",
                self.counter.missing()
            );
        }
        let unassigned = left.total().saturating_sub(self.unwritten);
        if unassigned > 0 {
            let _ = writeln!(
                text,
                "the counts are approximate: in a flood, {unassigned} more refusals were only counted, and their {} is not known",
                self.name()
            );
        }
        if left.dropped > 0 {
            let _ = writeln!(
                text,
                "the counts are approximate: {} lines were lost",
                left.dropped
            );
        }
        text
    }
}
