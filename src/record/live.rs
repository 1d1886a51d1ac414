//! The tunnels that are open now, for whoever looks at the running process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Record;
use super::packed::Packed;
use crate::metrics::Traffic;
use crate::moment::Moment;

/// An open tunnel. Only its own task writes, so whoever reads wakes no task.
#[derive(Debug)]
pub(super) struct Live {
    packed: Packed,
    opened: Moment,
    /// The bytes and messages in each direction.
    passed: [AtomicU64; 4],
    /// When something last passed.
    last: AtomicU64,
}

impl Live {
    /// Notes what has passed so far.
    pub fn passed(&self, traffic: Traffic) {
        let mut is_new = false;
        let counts = traffic.bytes.into_iter().chain(traffic.messages);
        for (place, count) in self.passed.iter().zip(counts) {
            if place.load(Relaxed) != count {
                place.store(count, Relaxed);
                is_new = true;
            }
        }
        if is_new {
            self.last.store(Moment::now().to_bits(), Relaxed);
        }
    }

    fn see(&self) -> Seen {
        let [up, down, sent, received] = self.passed.each_ref().map(|count| count.load(Relaxed));
        let last = Moment::from_bits(self.last.load(Relaxed)).unwrap_or(self.opened);
        Seen {
            record: self.packed.unpack(),
            age: self.opened.elapsed(),
            idle: last.elapsed(),
            traffic: Traffic {
                bytes: [up, down],
                messages: [sent, received],
            },
        }
    }
}

/// The record of an open tunnel: its own, or shared with the table. It takes no more memory than the record alone.
#[derive(Debug)]
pub(super) enum Kept {
    Alone(Packed),
    Listed(Arc<Live>),
}

impl Kept {
    /// The record; empty after its end.
    pub fn packed(&self) -> &Packed {
        match self {
            Self::Alone(packed) => packed,
            Self::Listed(live) => &live.packed,
        }
    }
}

/// An open tunnel at the moment at which it was looked at.
#[derive(Debug)]
pub struct Seen {
    /// What its record will say that was known when it opened.
    pub record: Record,
    /// How long it has been open.
    pub age: Duration,
    /// How long nothing of a peer has passed.
    pub idle: Duration,
    /// What has passed.
    pub traffic: Traffic,
}

/// The table of the open tunnels.
#[derive(Debug, Default)]
pub struct Tunnels {
    is_kept: AtomicBool,
    /// By the address of each in memory, which no other has at the same time.
    open: Mutex<HashMap<usize, Arc<Live>>>,
}

impl Tunnels {
    /// Whether tunnels that open from now on are listed. Those that are listed stay until they end.
    pub fn keep(&self, is_kept: bool) {
        self.is_kept.store(is_kept, Relaxed);
    }

    /// Adds a tunnel, if tunnels are listed.
    pub(super) fn add(&self, packed: Packed, opened: Moment) -> Kept {
        if !self.is_kept.load(Relaxed) {
            return Kept::Alone(packed);
        }
        let live = Arc::new(Live {
            packed,
            opened,
            passed: Default::default(),
            last: AtomicU64::new(opened.to_bits()),
        });
        self.table().insert(key(&live), Arc::clone(&live));
        Kept::Listed(live)
    }

    /// Removes a tunnel that has ended.
    pub(super) fn remove(&self, kept: &Kept) {
        let Kept::Listed(live) = kept else {
            return;
        };
        let mut table = self.table();
        table.remove(&key(live));
        // After a wave of tunnels, the table gives its memory back.
        if table.capacity() > 64 && table.len() < table.capacity() / 8 {
            table.shrink_to_fit();
        }
    }

    /// The number of listed tunnels, and the newest of them, at most this many.
    #[must_use]
    pub fn newest(&self, most: usize) -> (usize, Vec<Seen>) {
        // Copied, so that tunnels can open and end meanwhile.
        let mut all: Vec<_> = self.table().values().cloned().collect();
        all.sort_by_key(|live| std::cmp::Reverse(live.opened));
        let seen = all.iter().take(most).map(|live| live.see()).collect();
        (all.len(), seen)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Arc<Live>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(live: &Arc<Live>) -> usize {
    Arc::as_ptr(live).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(conn: &str) -> Packed {
        Packed::new(&Record {
            conn: Some(conn.to_owned()),
            ..Record::default()
        })
    }

    #[test]
    fn tunnels_are_listed_until_they_end() {
        let tunnels = Tunnels::default();
        let is_listed = |kept: &Kept| matches!(kept, Kept::Listed(_));
        assert!(!is_listed(&tunnels.add(packed("before"), Moment::now())));
        tunnels.keep(true);
        let begin = Moment::now();
        let open: Vec<_> = (0..3)
            .map(|n| tunnels.add(packed(&n.to_string()), begin + Duration::from_nanos(n)))
            .collect();
        let Kept::Listed(live) = &open[1] else {
            panic!("it is listed");
        };
        live.passed(Traffic {
            bytes: [10, 20],
            messages: [1, 2],
        });
        let conns = |most| -> (usize, Vec<_>) {
            let (count, seen) = tunnels.newest(most);
            let conns = seen.into_iter().map(|seen| seen.record.conn.unwrap());
            (count, conns.collect())
        };
        assert_eq!(conns(2), (3, vec!["2".to_owned(), "1".to_owned()]));
        let seen = tunnels.newest(2).1.pop().unwrap();
        assert_eq!(
            (seen.traffic.bytes, seen.traffic.messages),
            ([10, 20], [1, 2])
        );
        // They stay listed, but new ones are not.
        tunnels.keep(false);
        assert!(!is_listed(&tunnels.add(packed("after"), Moment::now())));
        for kept in &open {
            tunnels.remove(kept);
        }
        assert_eq!(conns(9), (0, Vec::new()));
    }

    #[test]
    fn a_tunnel_takes_80_bytes_and_its_place_in_the_table() {
        // The counts of an Arc come before it.
        assert!(size_of::<Live>() + 16 <= 80, "{}", size_of::<Live>());
        assert_eq!(size_of::<Kept>(), size_of::<Packed>());
    }
}
