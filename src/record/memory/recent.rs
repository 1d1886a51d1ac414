//! The last records, in bounded memory. Each class of records loses its oldest when it takes the most of it, so a flood of
//! one kind does not push out the others.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Class;

/// What a record takes beside its text, in bytes.
const OVERHEAD: usize = 128;

/// A remembered record.
#[derive(Clone, Debug)]
pub struct Kept {
    /// When it was written, as the time since 1970.
    pub at: Duration,
    /// What it has in common with others.
    pub class: Class,
    /// Whether it reports something that went wrong.
    pub is_failure: bool,
    /// The record as JSON, on one line.
    pub json: Arc<str>,
}

/// Remembered records that met a condition.
#[derive(Debug)]
pub struct Selected {
    /// The newest first.
    pub records: Vec<Kept>,
    /// The number of the last record of all.
    pub last: u64,
    /// How many records are remembered.
    pub remembered: usize,
    /// When the oldest of them was written, as the time since 1970.
    pub oldest: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct Recent {
    /// By their numbers, which start at 1.
    records: BTreeMap<u64, Kept>,
    classes: HashMap<Class, Share>,
    bytes: usize,
    last: u64,
}

/// What one class takes.
#[derive(Debug, Default)]
struct Share {
    /// The numbers of its records, the oldest first.
    numbers: VecDeque<u64>,
    bytes: usize,
}

fn size(kept: &Kept) -> usize {
    kept.json.len() + OVERHEAD
}

impl Recent {
    /// Adds a record; all together take at most `most` bytes.
    pub fn add(&mut self, kept: Kept, most: usize) {
        let size = size(&kept);
        self.last += 1;
        let share = self.classes.entry(kept.class).or_default();
        share.numbers.push_back(self.last);
        share.bytes += size;
        self.bytes += size;
        self.records.insert(self.last, kept);
        self.shrink(most);
    }

    /// Forgets until the rest takes at most `most` bytes.
    pub fn shrink(&mut self, most: usize) {
        while self.bytes > most {
            let Some((class, share)) = self.classes.iter_mut().max_by_key(|(_, share)| share.bytes)
            else {
                return;
            };
            let class = *class;
            let oldest = share.numbers.pop_front();
            let gone = oldest.and_then(|number| self.records.remove(&number));
            let freed = gone.as_ref().map_or(0, size);
            share.bytes -= freed;
            self.bytes -= freed;
            if share.numbers.is_empty() {
                self.classes.remove(&class);
            }
        }
    }

    /// An empty one that continues the numbers.
    pub fn emptied(&self) -> Self {
        Self {
            last: self.last,
            ..Self::default()
        }
    }

    pub fn select(&self, after: u64, wanted: impl Fn(&Kept) -> bool) -> Selected {
        let newer = self.records.range(after.saturating_add(1)..);
        let records = newer.rev().map(|(_, kept)| kept);
        Selected {
            records: records.filter(|kept| wanted(kept)).cloned().collect(),
            last: self.last,
            remembered: self.records.len(),
            oldest: self.records.first_key_value().map(|(_, kept)| kept.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;
    use crate::record::memory::What;

    fn kept(reason: Reason, text: &str) -> Kept {
        Kept {
            at: Duration::from_secs(1),
            class: Class::End(What::Refused, reason),
            is_failure: true,
            json: text.into(),
        }
    }

    fn texts(recent: &Recent, after: u64) -> Vec<String> {
        let selected = recent.select(after, |_| true);
        let texts = selected.records.iter().map(|kept| kept.json.to_string());
        texts.collect()
    }

    #[test]
    fn a_flood_of_one_reason_does_not_push_out_another() {
        let most = 10 * (OVERHEAD + 3);
        let mut recent = Recent::default();
        recent.add(kept(Reason::UpstreamReset, "one"), most);
        for number in 100..1000 {
            recent.add(kept(Reason::OriginNotAllowed, &number.to_string()), most);
        }
        let all = texts(&recent, 0);
        assert_eq!(
            (all.len(), all[0].as_str(), all[9].as_str()),
            (10, "999", "one")
        );
        assert!(recent.bytes <= most);
        assert_eq!(texts(&recent, 900), ["999"]);
        // Two floods share the memory.
        for number in 100..1000 {
            recent.add(kept(Reason::OriginNotAllowed, &number.to_string()), most);
            recent.add(kept(Reason::PathNotAllowed, &number.to_string()), most);
        }
        let of = |reason| {
            let is_it = |kept: &Kept| kept.class == Class::End(What::Refused, reason);
            recent.select(0, is_it).records.len()
        };
        assert_eq!(of(Reason::UpstreamReset), 1);
        assert!(of(Reason::OriginNotAllowed) >= 4 && of(Reason::PathNotAllowed) >= 4);
    }

    #[test]
    fn a_record_that_is_larger_than_all_memory_is_not_kept() {
        let mut recent = Recent::default();
        recent.add(kept(Reason::UpstreamReset, "long"), 100);
        assert!(texts(&recent, 0).is_empty() && recent.classes.is_empty());
        assert_eq!(recent.bytes, 0);
        recent.add(kept(Reason::UpstreamReset, "a"), 1000);
        let emptied = recent.emptied();
        assert_eq!((emptied.last, emptied.records.len()), (2, 0));
    }
}
