//! Remembers refused plain requests, so that a platform's probe that repeats the same one is logged once an hour.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many requests are remembered. When there are more, all are forgotten.
const REMEMBERED: usize = 1024;

/// How long a first request is remembered.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);

/// The requests of the last hour.
#[derive(Debug, Default)]
pub struct Repeats {
    hasher: RandomState,
    /// By a hash with a secret key, so that nobody can make a request look like a repetition.
    seen: Mutex<HashMap<u64, Instant>>,
}

impl Repeats {
    /// Whether `client` sent a request with the same `words` in the last hour. A repetition does not extend that hour.
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
    fn the_first_request_of_an_hour_is_not_a_repetition() {
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
