//! What came before: probes of a platform that ask the same wrong thing again and again.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Askers that are remembered; when more come, all are forgotten.
const REMEMBERED: usize = 1024;

/// How long somebody's first time counts.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);

/// Who asked for what not long ago.
#[derive(Debug, Default)]
pub struct Repeats {
    hasher: RandomState,
    /// By a hash with a secret key, so that nobody can hide behind another.
    seen: Mutex<HashMap<u64, Instant>>,
}

impl Repeats {
    /// Whether `client` asked the same with the same `words` in the last hour, not counting what was a repetition.
    pub(super) fn is_repeated(&self, client: IpAddr, words: &[Option<&str>], now: Instant) -> bool {
        let key = self.hasher.hash_one((client, words));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = seen.get(&key)
            && now.saturating_duration_since(*first) < FORGOTTEN_AFTER
        {
            return true;
        }
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        seen.insert(key, now);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_of_an_hour_is_none() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let (one, two) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        assert!(!repeats.is_repeated(one, &[Some("/a"), None], now));
        assert!(repeats.is_repeated(one, &[Some("/a"), None], now));
        assert!(!repeats.is_repeated(two, &[Some("/a"), None], now));
        assert!(!repeats.is_repeated(one, &[Some("/a"), Some("agent")], now));
        let now = now + FORGOTTEN_AFTER;
        assert!(!repeats.is_repeated(one, &[Some("/a"), None], now));
    }

    #[test]
    fn memory_has_a_bound() {
        let repeats = Repeats::default();
        for number in 0..5000_u32 {
            repeats.is_repeated(IpAddr::V4(number.into()), &[], Instant::now());
            assert!(repeats.seen.lock().unwrap().len() <= REMEMBERED);
        }
    }
}
