//! Trouble that goes on: since when, how often, for whom.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::time::Duration;

use super::lately::Lately;
use super::{Class, What};
use crate::reason::{By, Level};
use crate::record::Record;
use crate::record::flood::network;
use crate::record::top::{Frequent, Top};

/// After so much time without another failure of its kind, a run is over.
pub const QUIET: Duration = Duration::from_secs(5 * 60);

/// The time of [`Run::recent`].
const LATELY: Duration = Duration::from_secs(60);

/// An estimate of less than this part of all is left out.
const RARE: u64 = 10;

/// So many different clients of a run are counted.
const CLIENTS: usize = 500;

/// A run of failures of the same class.
#[derive(Clone, Debug)]
pub struct Run {
    /// What they have in common.
    pub class: Class,
    /// When the first of them happened, as the time since 1970.
    pub begun: Duration,
    /// When the last of them happened.
    pub last: Duration,
    /// How many there were.
    pub count: u64,
    /// How many there were in the last minute.
    pub recent: u64,
    /// How many there were of its kind (all handshakes, all ends) in that time, but since its begin. 0: that is not known.
    pub recent_of: u64,
    /// Who caused the last of them.
    pub by: Option<By>,
    /// The highest level among them.
    pub level: Level,
    /// How many clients, an IPv6 /64 counting as one.
    pub different_clients: usize,
    /// Whether there are more than that.
    pub are_more: bool,
    /// The most frequent clients.
    pub clients: Vec<Frequent>,
    /// The most frequent routes.
    pub routes: Vec<Frequent>,
    /// The most frequent upstreams, each with the endpoint that was tried last.
    pub upstreams: Vec<Frequent>,
    /// The most frequent Origins.
    pub origins: Vec<Frequent>,
    /// The most frequent close codes that clients see.
    pub client_sees: Vec<Frequent>,
    /// What to do, from the last record.
    pub hint: Option<String>,
    /// The connection of the last record.
    pub conn: Option<String>,
    /// The stream of the last record, over HTTP/2.
    pub stream_id: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: HashMap<Class, Going>,
    kinds: HashMap<What, Kind>,
    hasher: RandomState,
}

/// How often a kind of thing happened.
#[derive(Debug, Default)]
struct Kind {
    lately: Lately,
    total: u64,
}

/// A run that may go on.
#[derive(Debug)]
struct Going {
    begun: Duration,
    last: Duration,
    count: u64,
    lately: Lately,
    /// How many of its kind there had been before it began.
    before: u64,
    by: Option<By>,
    level: Level,
    /// Hashes with a secret key.
    seen: HashSet<u64>,
    are_more: bool,
    clients: Top,
    routes: Top,
    upstreams: Top,
    origins: Top,
    client_sees: Top,
    hint: Option<String>,
    conn: Option<String>,
    stream_id: Option<u32>,
}

impl Runs {
    /// Counts what happened, whether it failed or not.
    pub fn count(&mut self, now: Duration, what: What) {
        let kind = self.kinds.entry(what).or_default();
        kind.lately.add(now);
        kind.total += 1;
    }

    /// A sum over all things of the kind of a class.
    fn sum(&self, class: Class, each: impl Fn(&Kind) -> u64) -> u64 {
        let Class::End(what, _) = class else {
            return 0;
        };
        let kinds = self.kinds.iter();
        let parts = kinds.filter(|(other, _)| what.is_part_of(**other));
        parts.map(|(_, kind)| each(kind)).sum()
    }

    /// Counts a failure, after [`Runs::count`].
    pub fn add(&mut self, now: Duration, class: Class, record: &Record) {
        let level = record.level.unwrap_or(Level::Info);
        let client = self.client(record);
        let before = self.sum(class, |kind| kind.total).saturating_sub(1);
        let run = self
            .runs
            .entry(class)
            .or_insert_with(|| Going::new(now, level, before));
        if now.saturating_sub(run.last) > QUIET {
            *run = Going::new(now, level, before);
        }
        run.last = run.last.max(now);
        run.count += 1;
        run.lately.add(now);
        run.by = record.by;
        run.level = run.level.max(level);
        if let Some(client) = client {
            if run.seen.len() < CLIENTS {
                run.seen.insert(client);
            } else {
                run.are_more |= !run.seen.contains(&client);
            }
        }
        let sees = record.client_sees.map(|code| code.to_string());
        let tried = record
            .attempts
            .last()
            .map(|attempt| attempt.endpoint.as_str());
        let upstream = record.upstream.as_ref().map(|name| match tried {
            Some(endpoint) => format!("{name} {endpoint}"),
            None => name.clone(),
        });
        for (top, value) in [
            (&mut run.clients, &record.client),
            (&mut run.routes, &record.route),
            (&mut run.upstreams, &upstream),
            (&mut run.origins, &record.origin),
            (&mut run.client_sees, &sees),
        ] {
            if let Some(value) = value {
                top.add(value, None);
            }
        }
    }

    /// Stands for the client of a record.
    fn client(&self, record: &Record) -> Option<u64> {
        // The record of a tunnel's end has only the text.
        let written = || record.client.as_deref()?.parse().ok();
        let address = record.source.or_else(written)?;
        Some(self.hasher.hash_one(network(address)))
    }

    /// Takes from a record what is known only of those that are written.
    pub fn told(&mut self, class: Class, record: &Record) {
        if let Some(run) = self.runs.get_mut(&class) {
            run.hint.clone_from(&record.hint);
            run.conn.clone_from(&record.conn);
            run.stream_id = record.stream_id;
        }
    }

    /// The runs that are not over, in no order. Those that are over are forgotten.
    pub fn going_on(&mut self, now: Duration) -> Vec<Run> {
        self.runs
            .retain(|_, run| now.saturating_sub(run.last) <= QUIET);
        let runs = self.runs.iter().map(|(class, run)| {
            let mut shown = run.shown(*class);
            // Right after its begin, what happened before does not count.
            (shown.recent, shown.recent_of) = match now.saturating_sub(run.begun) < LATELY {
                true => (run.count, self.sum(*class, |kind| kind.total) - run.before),
                false => (
                    run.lately.sum(now),
                    self.sum(*class, |kind| kind.lately.sum(now)),
                ),
            };
            shown
        });
        runs.collect()
    }
}

impl Going {
    fn new(now: Duration, level: Level, before: u64) -> Self {
        Self {
            begun: now,
            last: now,
            count: 0,
            lately: Lately::default(),
            before,
            by: None,
            level,
            seen: HashSet::new(),
            are_more: false,
            clients: Top::default(),
            routes: Top::default(),
            upstreams: Top::default(),
            origins: Top::default(),
            client_sees: Top::default(),
            hint: None,
            conn: None,
            stream_id: None,
        }
    }

    fn shown(&self, class: Class) -> Run {
        Run {
            class,
            begun: self.begun,
            last: self.last,
            count: self.count,
            recent: 0,
            recent_of: 0,
            by: self.by,
            level: self.level,
            different_clients: self.seen.len(),
            are_more: self.are_more,
            clients: frequent(&self.clients, self.count),
            routes: frequent(&self.routes, self.count),
            upstreams: frequent(&self.upstreams, self.count),
            origins: frequent(&self.origins, self.count),
            client_sees: frequent(&self.client_sees, self.count),
            hint: self.hint.clone(),
            conn: self.conn.clone(),
            stream_id: self.stream_id,
        }
    }
}

/// The most frequent of many texts, without those that may be as rare as all others.
fn frequent(top: &Top, count: u64) -> Vec<Frequent> {
    let mut named = top.clone().named();
    named.retain(|one| !one.approximate || one.count.saturating_mul(RARE) > count);
    named
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::reason::Reason;
    use crate::record::memory::What;

    const CLASS: Class = Class::End(What::Refused, Reason::OriginNotAllowed);

    fn refused(client: u32) -> Record {
        let client = Ipv4Addr::from(client);
        Record {
            level: Some(Level::Info),
            by: Some(By::Client),
            client: Some(client.to_string()),
            source: Some(client.into()),
            route: Some("/ws".to_owned()),
            client_sees: Some(1006),
            ..Record::default()
        }
    }

    #[test]
    fn a_run_ends_after_five_quiet_minutes() {
        let at = Duration::from_secs;
        let mut runs = Runs::default();
        for (second, client) in [(1000, 1), (1100, 2), (1400, 1)] {
            runs.add(at(second), CLASS, &refused(client));
        }
        let run = runs.going_on(at(1500)).pop().unwrap();
        assert_eq!((run.begun, run.last, run.count), (at(1000), at(1400), 3));
        assert_eq!((run.different_clients, run.are_more), (2, false));
        assert_eq!(
            (run.clients[0].value.as_str(), run.clients[0].count),
            ("0.0.0.1", 2)
        );
        assert_eq!(run.client_sees[0].value, "1006");
        // Nothing else was counted as a handshake.
        assert_eq!(run.recent, 0);
        // Another one after the gap begins anew.
        runs.add(at(1701), CLASS, &refused(3));
        let run = runs.going_on(at(1701)).pop().unwrap();
        assert_eq!(
            (run.begun, run.count, run.different_clients),
            (at(1701), 1, 1)
        );
        assert!(runs.going_on(at(2002)).is_empty());
        assert!(runs.runs.is_empty());
    }

    #[test]
    fn a_share_is_of_the_last_minute_and_of_what_came_since_the_begin() {
        let at = Duration::from_secs;
        let mut runs = Runs::default();
        let mut happen = |second, what, times: u64| {
            for _ in 0..times {
                runs.count(at(second), what);
                if what == What::Refused {
                    runs.add(at(second), CLASS, &refused(1));
                }
            }
            let run = runs.going_on(at(second)).pop();
            run.map(|run| (run.recent, run.recent_of))
        };
        assert_eq!(happen(1000, What::Opened, 300), None);
        assert_eq!(happen(1000, What::Unread, 70), None);
        assert_eq!(happen(1010, What::Refused, 5), Some((5, 5)));
        assert_eq!(happen(1020, What::Opened, 5), Some((5, 10)));
        assert_eq!(happen(1100, What::Opened, 1), Some((0, 1)));
        assert_eq!(happen(1110, What::Refused, 2), Some((2, 3)));
    }

    #[test]
    fn the_clients_of_ended_tunnels_are_counted_by_what_is_written() {
        let mut runs = Runs::default();
        for client in [1, 2, 2] {
            let mut record = refused(client);
            record.source = None;
            runs.add(Duration::from_secs(1), CLASS, &record);
        }
        let run = runs.going_on(Duration::from_secs(2)).pop().unwrap();
        assert_eq!(run.different_clients, 2);
    }

    #[test]
    fn a_run_names_the_stream_of_its_last_record() {
        let mut runs = Runs::default();
        for stream_id in [Some(1), Some(3), None, Some(1)] {
            let record = Record {
                conn: Some("c".to_owned()),
                stream_id,
                ..refused(1)
            };
            runs.add(Duration::from_secs(1), CLASS, &record);
            runs.told(CLASS, &record);
            let run = runs.going_on(Duration::from_secs(2)).pop().unwrap();
            assert_eq!((run.conn.as_deref(), run.stream_id), (Some("c"), stream_id));
        }
    }

    #[test]
    fn clients_are_counted_up_to_a_bound() {
        let mut runs = Runs::default();
        for client in 0..2000 {
            runs.add(Duration::from_secs(1), CLASS, &refused(client));
        }
        let run = runs.going_on(Duration::from_secs(2)).pop().unwrap();
        assert_eq!((run.different_clients, run.are_more), (CLIENTS, true));
        assert_eq!(run.count, 2000);
    }
}
