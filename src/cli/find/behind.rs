//! Records of what can be read only once: a later record may show that an earlier one is wanted.

use std::collections::{HashMap, VecDeque};

/// How many bytes are kept.
const MOST: usize = 8 << 20;

/// The last records that were not wanted when they came.
#[derive(Default)]
pub(super) struct Behind {
    /// Each with its connection.
    records: VecDeque<(Box<str>, String)>,
    /// How many there are of each connection.
    counts: HashMap<Box<str>, usize>,
    bytes: usize,
    /// Whether records had to be forgotten.
    pub(super) has_forgotten: bool,
}

impl Behind {
    /// Keeps a record.
    pub(super) fn keep(&mut self, conn: &str, json: &str) {
        self.bytes += conn.len() + json.len();
        *self.counts.entry(conn.into()).or_default() += 1;
        self.records.push_back((conn.into(), json.to_owned()));
        while self.bytes > MOST
            && let Some((conn, json)) = self.records.pop_front()
        {
            self.bytes -= conn.len() + json.len();
            self.has_forgotten = true;
            self.forget(&conn);
        }
    }

    fn forget(&mut self, conn: &str) {
        if let Some(count) = self.counts.get_mut(conn) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(conn);
            }
        }
    }

    /// Takes the records of a connection.
    pub(super) fn take(&mut self, conn: &str) -> Vec<String> {
        // Mostly there are none, and then the others need not be looked at.
        if self.counts.remove(conn).is_none() {
            return Vec::new();
        }
        let mut taken = Vec::new();
        self.records.retain_mut(|(kept, json)| {
            let is_other = **kept != *conn;
            if !is_other {
                self.bytes -= kept.len() + json.len();
                taken.push(std::mem::take(json));
            }
            is_other
        });
        taken
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
        assert_eq!((behind.bytes, behind.counts.len()), (0, 0));
    }
}
