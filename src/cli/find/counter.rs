//! Counts many texts in bounded memory (the algorithm of Misra and Gries, 1982, in batches).

use std::collections::HashMap;

use serde::Serialize;

/// The most bytes of a text that are kept.
const LONGEST: usize = 300;

/// Counts texts exactly as long as there are not too many different ones.
#[derive(Debug)]
pub(super) struct Counter {
    counts: HashMap<Box<str>, u64>,
    /// How many are kept when there are too many.
    kept: usize,
    /// How much a count may be too low.
    missing: u64,
}

/// A text and how often it came.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Counted {
    pub(super) value: String,
    pub(super) count: u64,
    /// Whether the count may be too low.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) approximate: bool,
}

impl Counter {
    /// Never misses a text that makes up more than one in `kept` of all.
    pub(super) fn keeping(kept: usize) -> Self {
        Self {
            counts: HashMap::new(),
            kept,
            missing: 0,
        }
    }

    /// Counts a text.
    pub(super) fn add(&mut self, text: &str, count: u64) {
        self.add_within(text, count, &mut 0);
    }

    /// The same, but keeps more texts as long as there is room for them.
    pub(super) fn add_within(&mut self, text: &str, count: u64, room: &mut usize) {
        // The proxy writes less; only forged records have more.
        let text = match text.get(..text.floor_char_boundary(LONGEST)) {
            Some(start) if text.len() > LONGEST => start,
            _ => text,
        };
        if let Some(known) = self.counts.get_mut(text) {
            *known = known.saturating_add(count);
            return;
        }
        let most = self.kept * 2;
        if self.counts.len() >= most {
            match room.checked_sub(most) {
                Some(left) if self.missing == 0 => {
                    *room = left;
                    self.kept = most;
                }
                _ => self.shrink(),
            }
        }
        self.counts.insert(text.into(), count);
    }

    /// Takes the same number from all, so that half of them are left.
    fn shrink(&mut self) {
        let mut all: Vec<u64> = self.counts.values().copied().collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        let least = all.get(self.kept).copied().unwrap_or_default();
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(least);
            *count > 0
        });
        self.missing = self.missing.saturating_add(least);
    }

    /// How many different texts came, and whether there were more.
    pub(super) fn different(&self) -> (usize, bool) {
        match self.missing {
            0 => (self.counts.len(), false),
            _ => (self.kept * 2, true),
        }
    }

    /// How much each count may be too low.
    pub(super) fn missing(&self) -> u64 {
        self.missing
    }

    /// The most frequent texts, in descending order.
    pub(super) fn top(&self, most: usize) -> Vec<Counted> {
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_by(|(a, one), (b, other)| (other, a).cmp(&(one, b)));
        all.truncate(most);
        all.into_iter()
            .map(|(text, count)| Counted {
                value: text.to_string(),
                count: *count,
                approximate: self.missing > 0,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_texts_are_counted_exactly() {
        let mut counter = Counter::keeping(2);
        for (text, count) in [("a", 1), ("b", 5), ("c", 1), ("a", 3)] {
            counter.add(text, count);
        }
        let top: Vec<_> = counter
            .top(2)
            .into_iter()
            .map(|top| (top.value, top.count))
            .collect();
        assert_eq!(top, [("b".to_owned(), 5), ("a".to_owned(), 4)]);
        assert_eq!((counter.different(), counter.missing()), ((3, false), 0));
    }

    #[test]
    fn of_many_texts_the_frequent_ones_are_kept() {
        let mut counter = Counter::keeping(10);
        for n in 0..10_000 {
            counter.add(&format!("rare {n}"), 1);
            if n % 4 == 0 {
                counter.add("frequent", 1);
            }
        }
        let top = counter.top(1).remove(0);
        assert_eq!((top.value.as_str(), top.approximate), ("frequent", true));
        assert!(top.count <= 2500 && top.count + counter.missing() >= 2500);
        assert!(counter.different().0 <= 20);
    }
}
