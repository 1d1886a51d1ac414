//! Decides which records of a flood of refusals are written: a share for each client, a common share, and a summary of
//! the rest.
//!
//! Shares are atomics, so connections wait for each other only during the few instructions that update a tally, and
//! there are several tallies. A window is one second of the process; counts of earlier seconds are treated as zero.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use super::Record;
use super::top::Top;
use crate::reason::Reason;

/// How many refusals of one reason are written for each client in a second, whatever others do.
pub(super) const OWN_SHARE: u32 = 5;

/// How many more are written for all clients together: enough to see a pattern, and few enough that a scan or a
/// reconnect storm can't fill a disk.
pub(super) const COMMON_SHARE: u64 = 100;

/// How many clients have a share of their own in a second.
const CLIENTS: u64 = 4096;

/// The size of the table for them: twice as many places, so that a free place is found quickly.
const PLACES: usize = 8192;

/// Tallies per reason: a connection that finds one locked uses another.
const TALLIES: usize = 4;

/// Second and count share one number, so that both change atomically.
const SECONDS: u64 = 0xffff_ffff;

/// The floods of all reasons.
#[derive(Debug)]
pub(super) struct Floods {
    clients: Clients,
    reasons: Vec<Flood>,
}

impl Default for Floods {
    fn default() -> Self {
        Self {
            clients: Clients::default(),
            reasons: Reason::ALL.iter().map(|_| Flood::default()).collect(),
        }
    }
}

impl Floods {
    /// Whether one more refusal for `reason` may be written in `second`; `client` is its address, if that is known.
    pub fn admit(&self, reason: Reason, client: Option<IpAddr>, second: u64) -> bool {
        // Empty places have the second 0, so seconds count from 1.
        let second = (second + 1) & SECONDS;
        let flood = self.of(reason);
        let place = client.and_then(|client| self.clients.place(network(client), second));
        place.is_some_and(|place| flood.takes_own(place, second))
            || flood.common.takes(second, COMMON_SHARE)
    }

    /// Counts a refusal that is not written.
    pub fn keep_back(&self, reason: Reason, record: &Record) {
        let flood = self.of(reason);
        flood.tally().get_or_insert_default().add(record);
        flood.is_pending.store(true, Relaxed);
    }

    /// What was not written for `reason` since the last call, if anything.
    pub fn summary(&self, reason: Reason) -> Option<Tally> {
        let flood = self.of(reason);
        if !flood.is_pending.swap(false, Relaxed) {
            return None;
        }
        let taken = flood.tallies.iter().filter_map(|tally| {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.take()
        });
        taken
            .reduce(|mut all, tally| {
                all.merge(*tally);
                all
            })
            .map(|all| *all)
    }

    fn of(&self, reason: Reason) -> &Flood {
        // Reason::ALL is in declaration order, so the discriminant is the index; a test checks this.
        #[expect(clippy::indexing_slicing, reason = "one per reason, made above")]
        &self.reasons[reason as usize]
    }
}

/// The rate of one reason.
#[derive(Debug, Default)]
struct Flood {
    common: Window,
    /// What each client's place has used: the second and, in the lowest three bits, the number of its refusals.
    /// Allocated when the reason first occurs.
    own: OnceLock<Box<[AtomicU32]>>,
    is_pending: AtomicBool,
    tallies: [Mutex<Option<Box<Tally>>>; TALLIES],
}

impl Flood {
    /// Uses one refusal from the share of the client at `place`; returns whether there was one left.
    fn takes_own(&self, place: usize, second: u64) -> bool {
        const COUNT_BITS: u32 = 3;
        let own = self
            .own
            .get_or_init(|| (0..PLACES).map(|_| AtomicU32::new(0)).collect());
        let now = u32::try_from(second & (SECONDS >> COUNT_BITS)).unwrap_or_default();
        let taken = own.get(place).map(|share| {
            share.fetch_update(Relaxed, Relaxed, |share| {
                let count = share & ((1 << COUNT_BITS) - 1);
                match share >> COUNT_BITS == now {
                    false => Some(now << COUNT_BITS | 1),
                    true if count < OWN_SHARE => Some(share + 1),
                    true => None,
                }
            })
        });
        matches!(taken, Some(Ok(_)))
    }

    /// A free tally, or the last one as soon as it is free.
    fn tally(&self) -> MutexGuard<'_, Option<Box<Tally>>> {
        let [.., last] = &self.tallies;
        let free = self
            .tallies
            .iter()
            .find_map(|tally| match tally.try_lock() {
                Ok(free) => Some(free),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            });
        free.unwrap_or_else(|| last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The refusals of one reason that were not written, and the most frequent values among them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub count: u64,
    pub clients: Top,
    pub origins: Top,
    pub paths: Top,
}

impl Tally {
    fn add(&mut self, record: &Record) {
        self.count += 1;
        if let Some(client) = &record.client {
            let address = record.source.map(|source| source.to_canonical());
            match address {
                // The address is written in full. A network counts as one client, and is named if more than one of its
                // addresses occurs.
                Some(IpAddr::V6(v6)) if *client == v6.to_string() => {
                    let network = format!("{}/64", network(v6.into()));
                    self.clients.add(&network, Some(client));
                }
                _ => self.clients.add(client, None),
            }
        }
        if let Some(origin) = &record.origin {
            self.origins.add(origin, None);
        }
        if let Some(path) = &record.path {
            let path = path.split_once('?').map_or(path.as_str(), |(path, _)| path);
            self.paths.add(path, None);
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.clients.merge(other.clients);
        self.origins.merge(other.origins);
        self.paths.merge(other.paths);
    }
}

/// The clients that have a share in the current second.
#[derive(Debug)]
struct Clients {
    /// Has a secret key, so nobody can choose addresses that share a place.
    hasher: RandomState,
    /// The second in the upper half, part of the client's hash in the lower half.
    places: Box<[AtomicU64]>,
    admitted: Window,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            admitted: Window::default(),
        }
    }
}

impl Clients {
    /// The place of `client` in `second`: its own once it has one; `None` if too many others came before.
    fn place(&self, client: IpAddr, second: u64) -> Option<usize> {
        let hash = self.hasher.hash_one(client);
        let own = second << 32 | hash & SECONDS;
        let first = usize::try_from(hash >> 32).unwrap_or_default() % PLACES;
        let (before, behind) = self.places.split_at_checked(first)?;
        // Places are not freed within a second, so the search can end at the first free one.
        let mut is_admitted = false;
        for (index, place) in (first..).zip(behind).chain((0..).zip(before)) {
            let mut tag = place.load(Relaxed);
            while tag >> 32 < second {
                if !is_admitted && !self.admitted.takes(second, CLIENTS) {
                    return None;
                }
                is_admitted = true;
                match place.compare_exchange(tag, own, Relaxed, Relaxed) {
                    Ok(_) => return Some(index),
                    Err(other) => tag = other,
                }
            }
            if tag == own {
                if is_admitted {
                    // Another connection of the same client was faster.
                    self.admitted.gives_back(second);
                }
                return Some(index);
            }
        }
        None
    }
}

/// The second in the upper half, the number of uses in the lower half.
#[derive(Debug, Default)]
struct Window(AtomicU64);

impl Window {
    /// Counts one more in `second` if there were fewer than `most`; returns whether it did.
    fn takes(&self, second: u64, most: u64) -> bool {
        let taken = self
            .0
            .fetch_update(Relaxed, Relaxed, |window| match window >> 32 == second {
                false => Some(second << 32 | 1),
                true if window & SECONDS < most => Some(window + 1),
                true => None,
            });
        taken.is_ok()
    }

    /// Takes back one that was counted in `second`.
    fn gives_back(&self, second: u64) {
        // If the second is over, there is nothing to take back.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |window| {
            (window >> 32 == second && window & SECONDS > 0).then(|| window - 1)
        });
    }
}

/// What counts as one client: an address, or for IPv6 the network that a household or a server gets.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::top::Frequent;
    use super::*;

    const REASON: Reason = Reason::OriginNotAllowed;

    fn v4(number: u32) -> Option<IpAddr> {
        Some(Ipv4Addr::from(0x0a00_0000 + number).into())
    }

    fn admitted(floods: &Floods, client: Option<IpAddr>, second: u64, count: usize) -> usize {
        (0..count)
            .filter(|_| floods.admit(REASON, client, second))
            .count()
    }

    #[test]
    fn each_client_has_its_share_before_the_common_one() {
        let floods = Floods::default();
        assert_eq!(admitted(&floods, v4(1), 0, 300), 105);
        assert_eq!(admitted(&floods, v4(2), 0, 300), 5);
        assert_eq!(admitted(&floods, v4(3), 0, 3), 3);
        assert_eq!(
            admitted(&floods, None, 0, 3),
            0,
            "a refusal without a client has no share of its own"
        );
        // Another reason has its own shares, and so has another second.
        assert!(floods.admit(Reason::PathNotAllowed, v4(1), 0));
        assert_eq!(admitted(&floods, v4(2), 1, 300), 105);
        assert_eq!(admitted(&floods, v4(1), 1, 300), 5);
        assert_eq!(admitted(&floods, v4(1), SECONDS - 1, 300), 105);
        assert_eq!(admitted(&floods, v4(1), SECONDS + 5, 300), 105);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let floods = Floods::default();
        let parse = |text: &str| Some(text.parse().unwrap());
        assert_eq!(admitted(&floods, v4(1), 0, 200), 105);
        assert_eq!(admitted(&floods, parse("2001:db8::1"), 0, 3), 3);
        assert_eq!(admitted(&floods, parse("2001:db8::ffff:0:0:2"), 0, 3), 2);
        assert_eq!(admitted(&floods, parse("2001:db8:0:1::1"), 0, 9), 5);
        // An IPv4 address is the same in IPv6 notation.
        assert_eq!(admitted(&floods, v4(2), 0, 3), 3);
        assert_eq!(admitted(&floods, parse("::ffff:10.0.0.2"), 0, 3), 2);
    }

    #[test]
    fn fewer_clients_than_there_are_shares_never_hide_each_other() {
        let floods = Floods::default();
        for second in 0..3 {
            assert_eq!(admitted(&floods, v4(0), second, 10_000), 105);
            // Different clients in each second: old ones must not keep their places.
            for number in 1..4096 {
                let client = v4(u32::try_from(second).unwrap() * 5000 + number);
                assert_eq!(admitted(&floods, client, second, 6), 5, "{number}");
            }
            // One more client gets only the common share, which is used up.
            assert_eq!(admitted(&floods, v4(90_000), second, 5), 0);
        }
        // And it gets the common share if that is not used up.
        for number in 0..4096 {
            assert!(floods.admit(REASON, v4(number), 9));
        }
        assert_eq!(admitted(&floods, v4(90_000), 9, 300), 100);
        assert!(floods.admit(REASON, v4(4095), 9));
    }

    #[test]
    fn shares_are_exact_among_threads() {
        let floods = Floods::default();
        let written = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..40_000 {
                        let count = u64::from(floods.admit(REASON, v4(number % 4000), 0));
                        written.fetch_add(count, Relaxed);
                    }
                });
            }
        });
        assert_eq!(written.load(Relaxed), 4000 * 5 + COMMON_SHARE);
        assert_eq!(floods.clients.admitted.0.load(Relaxed) & SECONDS, 4000);
    }

    fn refused(client: &str, origin: &str, path: &str) -> Record {
        Record {
            client: Some(client.to_owned()),
            source: client.parse().ok(),
            origin: Some(origin.to_owned()),
            path: Some(path.to_owned()),
            ..Record::default()
        }
    }

    fn shown(top: Top) -> Vec<(String, u64)> {
        let pair = |one: Frequent| (one.value, one.count);
        top.named().into_iter().map(pair).collect()
    }

    fn pairs(values: &[(&str, u64)]) -> Vec<(String, u64)> {
        let pair = |(value, count): &(&str, u64)| ((*value).to_owned(), *count);
        values.iter().map(pair).collect()
    }

    #[test]
    fn a_summary_names_the_most_frequent_once() {
        let floods = Floods::default();
        assert!(floods.summary(REASON).is_none());
        for record in [
            refused("10.0.0.1", "https://a", "/x?token=*"),
            refused("10.0.0.1", "https://a", "/x?keep=1"),
            refused("10.0.0.0", "https://b", "/y"),
            refused("2001:db8::1", "https://a", "/x"),
            refused("2001:db8::2", "https://a", "/x"),
            refused("2001:db8:0:1::1", "https://a", "/x"),
            Record::default(),
        ] {
            floods.keep_back(REASON, &record);
        }
        assert!(floods.summary(Reason::PathNotAllowed).is_none());
        let tally = floods.summary(REASON).unwrap();
        assert_eq!(tally.count, 7);
        assert_eq!(
            shown(tally.clients),
            pairs(&[
                ("10.0.0.1", 2),
                ("2001:db8::/64", 2),
                ("10.0.0.0", 1),
                ("2001:db8:0:1::1", 1),
            ])
        );
        assert_eq!(
            shown(tally.origins),
            pairs(&[("https://a", 5), ("https://b", 1)])
        );
        assert_eq!(shown(tally.paths), pairs(&[("/x", 5), ("/y", 1)]));
        assert!(floods.summary(REASON).is_none());
    }

    #[test]
    fn nothing_that_is_kept_back_is_lost_among_threads() {
        let floods = Floods::default();
        let told = AtomicU64::new(0);
        let tell = || {
            if let Some(tally) = floods.summary(REASON) {
                told.fetch_add(tally.count, Relaxed);
            }
        };
        let record = refused("10.0.0.1", "https://a", "/x");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..5000 {
                        floods.keep_back(REASON, &record);
                        if number % 500 == 0 {
                            tell();
                        }
                    }
                });
            }
        });
        tell();
        assert_eq!(told.load(Relaxed), 20_000);
    }
}
