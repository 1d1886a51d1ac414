//! How often something happened in the last minute.

use std::time::Duration;

/// The length of a slot in seconds. A sum covers up to one slot more than a minute.
const SLOT: u64 = 10;

/// The slots of a minute, and the running one, as in [`Lately`].
const SLOTS: u64 = 7;

/// Counts in slots, each with its number since 1970.
#[derive(Clone, Debug, Default)]
pub(super) struct Lately([(u64, u64); 7]);

impl Lately {
    pub fn add(&mut self, now: Duration) {
        let number = now.as_secs() / SLOT;
        let place = usize::try_from(number % SLOTS).unwrap_or_default();
        if let Some((of, count)) = self.0.get_mut(place) {
            if *of != number {
                (*of, *count) = (number, 0);
            }
            *count += 1;
        }
    }

    pub fn sum(&self, now: Duration) -> u64 {
        let oldest = (now.as_secs() / SLOT).saturating_sub(SLOTS - 1);
        let lately = self.0.iter().filter(|(number, _)| *number >= oldest);
        lately.map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_minute_does_not_count() {
        let at = Duration::from_secs;
        let mut lately = Lately::default();
        for second in [1000, 1009, 1030, 1065] {
            lately.add(at(second));
        }
        assert_eq!(lately.sum(at(1065)), 4);
        assert_eq!(lately.sum(at(1070)), 2);
        assert_eq!(lately.sum(at(1129)), 1);
        assert_eq!(lately.sum(at(1130)), 0);
        lately.add(at(1140));
        assert_eq!(lately.sum(at(1140)), 1);
    }
}
