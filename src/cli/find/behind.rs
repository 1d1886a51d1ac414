//! Records of what can be read only once: a later record may show that an earlier one is wanted.

use std::collections::{HashMap, VecDeque};

/// How many bytes are kept.
const MOST: usize = 8 << 20;

/// How many records are kept, with the places of those that were taken.
const MOST_RECORDS: usize = 100_000;

/// The last records that were not wanted when they came.
#[derive(Default)]
pub(super) struct Behind {
    /// Each with the id of its connection or stream; `None`: it was taken.
    records: VecDeque<Option<(Box<str>, String)>>,
    /// The number of the first of them, counted from the beginning.
    first: u64,
    /// The numbers of the records of each of these ids.
    numbers: HashMap<Box<str>, VecDeque<u64>>,
    bytes: usize,
    /// Whether records had to be forgotten.
    pub(super) has_forgotten: bool,
}

impl Behind {
    /// Keeps a record.
    pub(super) fn keep(&mut self, id: &str, json: &str) {
        let number = self.first + self.records.len() as u64;
        self.bytes += id.len() + json.len();
        self.numbers.entry(id.into()).or_default().push_back(number);
        self.records.push_back(Some((id.into(), json.to_owned())));
        while (self.bytes > MOST || self.records.len() > MOST_RECORDS)
            && let Some(oldest) = self.records.pop_front()
        {
            self.first += 1;
            if let Some((id, json)) = oldest {
                self.bytes -= id.len() + json.len();
                self.has_forgotten = true;
                self.forget(&id);
            }
        }
    }

    /// Forgets the oldest record of a connection or stream.
    fn forget(&mut self, id: &str) {
        if let Some(numbers) = self.numbers.get_mut(id) {
            numbers.pop_front();
            if numbers.is_empty() {
                self.numbers.remove(id);
            }
        }
    }

    /// Takes the records of a connection or stream.
    pub(super) fn take(&mut self, id: &str) -> Vec<String> {
        let numbers = self.numbers.remove(id).unwrap_or_default();
        let taken = numbers.into_iter().filter_map(|number| {
            let place = usize::try_from(number - self.first).ok()?;
            let (id, json) = self.records.get_mut(place)?.take()?;
            self.bytes -= id.len() + json.len();
            Some(json)
        });
        taken.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_records_are_kept() {
        let mut behind = Behind::default();
        behind.keep("first", "1");
        behind.keep("second", "2");
        behind.keep("first", "3");
        assert_eq!(behind.take("first"), ["1", "3"]);
        assert!(behind.take("first").is_empty());
        for _ in 0..10 {
            behind.keep("large", &"x".repeat(MOST / 4));
        }
        assert!(behind.take("second").is_empty());
        assert_eq!(behind.take("large").len(), 3);
        assert_eq!((behind.bytes, behind.numbers.len()), (0, 0));
    }
}
