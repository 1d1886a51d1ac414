//! The most frequent of many texts, counted in bounded memory (the Space-Saving algorithm of Metwally, Agrawal and El
//! Abbadi, 2005).

use serde::{Deserialize, Serialize};

/// How many texts are counted at a time. If there are n of them, a text that makes up more than 1/n of all is never
/// missed.
const COUNTED: usize = 32;

/// How many texts a record names.
const NAMED: usize = 5;

/// One of the most frequent values of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frequent {
    /// The value in the form of records.
    pub value: String,
    /// How often it occurred.
    pub count: u64,
    /// Whether the number is an estimate, because there were too many values to count exactly.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
}

/// Counts texts.
#[derive(Clone, Debug, Default)]
pub(super) struct Top {
    entries: Vec<Entry>,
    /// The highest possible count of a text that is not in `entries`.
    unlisted: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    /// Shown instead of the key, as long as this is the only text that has come with the key.
    only: Option<String>,
    count: u64,
    is_approximate: bool,
}

impl Top {
    /// Counts `key` once more. `only` is shown instead of it if all calls for the key have the same `only`.
    pub fn add(&mut self, key: &str, only: Option<&str>) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            entry.count += 1;
            if entry.only.as_deref() != only {
                entry.only = None;
            }
            return;
        }
        let mut entry = Entry {
            key: key.to_owned(),
            only: only.map(str::to_owned),
            count: 1,
            is_approximate: false,
        };
        if self.entries.len() < COUNTED {
            self.entries.push(entry);
            return;
        }
        // A new text replaces the rarest one and continues its count, because it may have occurred that often before.
        if let Some(rarest) = self.entries.iter_mut().min_by_key(|entry| entry.count) {
            self.unlisted = self.unlisted.max(rarest.count);
            entry.count += rarest.count;
            entry.is_approximate = true;
            *rarest = entry;
        }
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: Self) {
        let missed = |entry: &mut Entry, unlisted: u64| entry.is_approximate |= unlisted > 0;
        for entry in &mut self.entries {
            match other.entries.iter().find(|theirs| theirs.key == entry.key) {
                Some(theirs) => {
                    entry.count += theirs.count;
                    entry.is_approximate |= theirs.is_approximate;
                    if entry.only != theirs.only {
                        entry.only = None;
                    }
                }
                None => missed(entry, other.unlisted),
            }
        }
        for mut theirs in other.entries {
            if !self.entries.iter().any(|entry| entry.key == theirs.key) {
                missed(&mut theirs, self.unlisted);
                self.entries.push(theirs);
            }
        }
        self.unlisted += other.unlisted;
    }

    /// The most frequent texts, in descending order.
    pub fn named(mut self) -> Vec<Frequent> {
        self.entries
            .sort_by(|one, other| (other.count, &one.key).cmp(&(one.count, &other.key)));
        self.entries.truncate(NAMED);
        let name = |entry: Entry| Frequent {
            value: entry.only.unwrap_or(entry.key),
            count: entry.count,
            approximate: entry.is_approximate,
        };
        self.entries.into_iter().map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(top: Top) -> Vec<String> {
        let word = |one: &Frequent| if one.approximate { "~" } else { "" };
        top.named()
            .iter()
            .map(|one| format!("{} {}{}", one.value, word(one), one.count))
            .collect()
    }

    #[test]
    fn few_texts_are_counted_exactly() {
        let mut top = Top::default();
        for (text, count) in [("a", 3), ("b", 7), ("c", 7), ("d", 1), ("e", 2), ("f", 2)] {
            (0..count).for_each(|_| top.add(text, None));
        }
        assert_eq!(shown(top), ["b 7", "c 7", "a 3", "e 2", "f 2"]);
        assert!(shown(Top::default()).is_empty());
    }

    #[test]
    fn a_frequent_text_is_found_among_any_number_of_others() {
        let mut top = Top::default();
        for number in 0..100_000 {
            top.add(&number.to_string(), None);
            if number % 10 == 0 {
                top.add("often", None);
            }
            assert!(top.entries.len() <= COUNTED);
        }
        let named = top.named();
        assert_eq!(named[0].value, "often");
        // It came before there were too many texts.
        let error = named[0].count.abs_diff(10_000);
        assert!(error <= 110_000 / COUNTED as u64, "{named:?}");
        assert!(named[1].approximate, "{named:?}");
    }

    #[test]
    fn a_key_shows_what_alone_came_with_it() {
        let mut top = Top::default();
        for (key, only) in [("n", Some("n1")), ("m", Some("m1")), ("n", Some("n1"))] {
            top.add(key, only);
        }
        top.add("m", Some("m2"));
        top.add("m", Some("m1"));
        assert_eq!(shown(top), ["m 3", "n1 2"]);
    }

    #[test]
    fn what_was_counted_apart_is_brought_together() {
        let (mut one, mut other) = (Top::default(), Top::default());
        for text in ["a", "a", "b"] {
            one.add(text, Some("x"));
        }
        for text in ["b", "c", "b"] {
            other.add(text, Some("y"));
        }
        one.merge(other);
        assert_eq!(shown(one), ["b 3", "x 2", "y 1"]);

        let (mut full, mut small) = (Top::default(), Top::default());
        (0..1000).for_each(|number| full.add(&number.to_string(), None));
        small.add("small", None);
        full.add("999", None);
        small.merge(full);
        let all = small.entries.iter().all(|entry| entry.is_approximate);
        assert!(all, "what one of two has lost may be any");
    }
}
