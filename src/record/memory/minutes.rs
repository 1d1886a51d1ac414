//! How often what happened in each of the last minutes.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::What;
use crate::reason::Reason;
use crate::record::Record;

/// How many minutes are kept.
pub const MINUTES: usize = 60;

/// Most different counts of one minute. A peer chooses close codes, so their number needs a bound.
const MOST: usize = 1000;

/// Most names of routes; reloads can add some again and again.
const ROUTES: usize = 4000;

/// The counts of one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minute {
    /// Its begin, as the time since 1970.
    pub begin: Duration,
    /// What was counted.
    pub counts: Vec<Counts>,
}

/// How often one thing happened on one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// What happened.
    pub what: What,
    /// Why; `None` for what opened.
    pub reason: Option<Reason>,
    /// What the client of a tunnel sees as its close code.
    pub close_code: Option<u16>,
    /// The route; empty if none is known.
    pub route: String,
    /// How often.
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    what: What,
    reason: Option<Reason>,
    close_code: Option<u16>,
    /// Its place in the list of routes.
    route: u16,
}

#[derive(Debug, Default)]
pub(super) struct Minutes {
    /// The number of each minute since 1970, and its counts; those in which nothing happened are left out.
    minutes: VecDeque<(u64, HashMap<Key, u64>)>,
    routes: Vec<String>,
    places: HashMap<String, u16>,
}

impl Minutes {
    pub fn add(&mut self, now: Duration, what: What, record: &Record) {
        let number = now.as_secs() / 60;
        // If the clock was set back, the last minute goes on.
        if self.minutes.back().is_none_or(|(last, _)| *last < number) {
            self.minutes.push_back((number, HashMap::new()));
            let oldest = number.saturating_sub(MINUTES as u64 - 1);
            while self
                .minutes
                .front()
                .is_some_and(|(first, _)| *first < oldest)
            {
                self.minutes.pop_front();
            }
        }
        let mut key = Key {
            what,
            reason: record.reason,
            close_code: record.client_sees.filter(|_| what == What::Ended),
            route: self.place(record.route.as_deref().unwrap_or_default()),
        };
        let Some((_, counts)) = self.minutes.back_mut() else {
            return;
        };
        if counts.len() >= MOST && !counts.contains_key(&key) {
            key.close_code = None;
            key.route = 0;
        }
        *counts.entry(key).or_default() += 1;
    }

    /// The place of a route; 0 is for none, and for those that found no room.
    fn place(&mut self, route: &str) -> u16 {
        if let Some(place) = self.places.get(route) {
            return *place;
        }
        if self.routes.is_empty() {
            self.routes.push(String::new());
            self.places.insert(String::new(), 0);
        }
        let Some(place) = u16::try_from(self.routes.len())
            .ok()
            .filter(|place| usize::from(*place) < ROUTES && !route.is_empty())
        else {
            return 0;
        };
        self.routes.push(route.to_owned());
        self.places.insert(route.to_owned(), place);
        place
    }

    /// The last `most` minutes without gaps, the running one last. Minutes before the first count are left out.
    pub fn last(&self, now: Duration, most: usize) -> Vec<Minute> {
        let now = now.as_secs() / 60;
        let Some((first, _)) = self.minutes.front() else {
            return Vec::new();
        };
        let oldest = now.saturating_sub((most as u64).saturating_sub(1));
        ((*first).max(oldest)..=now)
            .map(|number| {
                let counts = self.minutes.iter().find(|(minute, _)| *minute == number);
                Minute {
                    begin: Duration::from_secs(number * 60),
                    counts: counts
                        .map(|(_, counts)| self.named(counts))
                        .unwrap_or_default(),
                }
            })
            .collect()
    }

    fn named(&self, counts: &HashMap<Key, u64>) -> Vec<Counts> {
        let named = counts.iter().map(|(key, count)| Counts {
            what: key.what,
            reason: key.reason,
            close_code: key.close_code,
            route: self
                .routes
                .get(usize::from(key.route))
                .cloned()
                .unwrap_or_default(),
            count: *count,
        });
        named.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> Duration {
        Duration::from_secs(minute * 60 + 30)
    }

    fn ended(code: u16, route: &str) -> Record {
        Record {
            reason: Some(Reason::ClientClose),
            client_sees: Some(code),
            route: Some(route.to_owned()),
            ..Record::default()
        }
    }

    #[test]
    fn minutes_have_no_gaps_and_an_end() {
        let mut minutes = Minutes::default();
        assert_eq!(minutes.last(at(5), 60), []);
        for minute in [100, 100, 103] {
            minutes.add(at(minute), What::Ended, &ended(1000, "/ws"));
        }
        let counts = |minutes: &Minutes, now, most| -> Vec<(u64, u64)> {
            let last = minutes.last(at(now), most).into_iter();
            last.map(|minute| {
                let count = minute.counts.iter().map(|counts| counts.count).sum();
                (minute.begin.as_secs() / 60, count)
            })
            .collect()
        };
        assert_eq!(
            counts(&minutes, 104, 60),
            [(100, 2), (101, 0), (102, 0), (103, 1), (104, 0)]
        );
        assert_eq!(counts(&minutes, 104, 2), [(103, 1), (104, 0)]);
        let first = &minutes.last(at(103), 1)[0].counts[0];
        assert_eq!(
            (first.route.as_str(), first.close_code),
            ("/ws", Some(1000))
        );
        minutes.add(at(160), What::Opened, &Record::default());
        assert_eq!(counts(&minutes, 160, 60).first(), Some(&(103, 1)));
    }

    #[test]
    fn codes_and_routes_that_peers_or_reloads_make_up_have_a_bound() {
        let mut minutes = Minutes::default();
        for (minute, path) in [(1, "/"), (2, "/more")] {
            for code in 1000..=4999 {
                minutes.add(
                    at(minute),
                    What::Ended,
                    &ended(code, &format!("{path}{code}")),
                );
            }
        }
        let last = minutes.last(at(2), 60);
        for minute in &last {
            assert!(minute.counts.len() <= MOST + 1);
            let all: u64 = minute.counts.iter().map(|counts| counts.count).sum();
            assert_eq!(all, 4000);
        }
        assert!(minutes.routes.len() <= ROUTES);
    }
}
