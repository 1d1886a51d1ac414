//! The tunnels that are open now, for whoever looks at the running process or closes one of them.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use futures_util::task::AtomicWaker;

use super::Record;
use super::packed::Packed;
use crate::metrics::Traffic;
use crate::moment::Moment;

/// The precision of the time of the last traffic: it fits 32 bits for more than a year.
const TICK: Duration = Duration::from_millis(10);

/// An open tunnel. Only its own task writes, so whoever reads wakes no task.
#[derive(Debug)]
pub(super) struct Live {
    packed: Packed,
    opened: Moment,
    /// The bytes in each direction.
    bytes: [AtomicU64; 2],
    /// The messages in each direction; more than 32 bits can hold are not counted.
    messages: [AtomicU32; 2],
    /// When something last passed, in [`TICK`]s since it opened.
    last: AtomicU32,
    /// Whether somebody asked to close it.
    is_asked: AtomicBool,
    /// Its task.
    task: AtomicWaker,
}

impl Live {
    fn new(packed: Packed, opened: Moment) -> Self {
        Self {
            packed,
            opened,
            bytes: Default::default(),
            messages: Default::default(),
            last: AtomicU32::new(0),
            is_asked: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }
    }

    /// Notes what has passed so far.
    pub fn passed(&self, traffic: Traffic) {
        let mut is_new = false;
        for (place, count) in self.bytes.iter().zip(traffic.bytes) {
            if place.load(Relaxed) != count {
                place.store(count, Relaxed);
                is_new = true;
            }
        }
        if is_new {
            for (place, count) in self.messages.iter().zip(traffic.messages) {
                place.store(u32::try_from(count).unwrap_or(u32::MAX), Relaxed);
            }
            let ticks = self.opened.elapsed().as_millis() / TICK.as_millis();
            let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
            self.last.store(ticks, Relaxed);
        }
    }

    fn idle(&self) -> Duration {
        let last = TICK.saturating_mul(self.last.load(Relaxed));
        self.opened.elapsed().saturating_sub(last)
    }

    fn sum(&self) -> u64 {
        let bytes = self.bytes.iter().map(|bytes| bytes.load(Relaxed));
        bytes.fold(0, u64::saturating_add)
    }

    fn see(&self) -> Seen {
        Seen {
            record: self.packed.unpack(),
            age: self.opened.elapsed(),
            idle: self.idle(),
            traffic: Traffic {
                bytes: self.bytes.each_ref().map(|bytes| bytes.load(Relaxed)),
                messages: self
                    .messages
                    .each_ref()
                    .map(|messages| messages.load(Relaxed).into()),
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
    /// How long nothing of a peer has passed, with a precision of 10 ms.
    pub idle: Duration,
    /// What has passed.
    pub traffic: Traffic,
}

/// The order in which tunnels are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those that opened last come first.
    #[default]
    Newest,
    /// Those that opened first come first.
    Oldest,
    /// Those with the longest silence come first.
    Idle,
    /// Those with the most bytes come first.
    Bytes,
}

/// Tunnels that met a condition.
#[derive(Debug)]
pub struct Listed {
    /// The number of all open tunnels.
    pub open: usize,
    /// How many of them meet the condition.
    pub matching: usize,
    /// The first of these.
    pub shown: Vec<Seen>,
}

/// What came of asking a tunnel to close.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// It closes.
    Closing,
    /// There is not such a tunnel.
    Absent,
    /// The connection has tunnels on these streams, and none of them was named.
    Unclear(Vec<u32>),
}

/// A place in the table. A tunnel is found by its address in memory, which no other has at the same time.
#[derive(Debug)]
struct Place(Arc<Live>);

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        key(&self.0).hash(state);
    }
}

/// The table of the open tunnels.
#[derive(Debug, Default)]
pub struct Tunnels {
    is_kept: AtomicBool,
    open: Mutex<HashSet<Place>>,
    /// Who asked to close a tunnel, until its task has read it.
    asked: Mutex<HashMap<usize, String>>,
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
        let live = Arc::new(Live::new(packed, opened));
        self.table().insert(Place(Arc::clone(&live)));
        Kept::Listed(live)
    }

    /// Removes a tunnel that has ended.
    pub(super) fn remove(&self, kept: &Kept) {
        let Kept::Listed(live) = kept else {
            return;
        };
        let mut table = self.table();
        table.remove(&Place(Arc::clone(live)));
        // After a wave of tunnels, the table gives its memory back.
        if table.capacity() > 64 && table.len() < table.capacity() / 3 {
            table.shrink_to_fit();
        }
        drop(table);
        self.asked().remove(&key(live));
    }

    /// The first `most` of the listed tunnels in this order that meet the condition; `None` is met by all, at less cost.
    pub fn list(
        &self,
        order: Order,
        most: usize,
        wanted: Option<&dyn Fn(&Record) -> bool>,
    ) -> Listed {
        let mut all = self.all();
        let open = all.len();
        if let Some(wanted) = wanted {
            all.retain(|live| wanted(&live.packed.unpack()));
        }
        match order {
            Order::Newest => all.sort_by_key(|live| std::cmp::Reverse(live.opened)),
            Order::Oldest => all.sort_by_key(|live| live.opened),
            Order::Idle => all.sort_by_cached_key(|live| std::cmp::Reverse(live.idle())),
            Order::Bytes => all.sort_by_cached_key(|live| std::cmp::Reverse(live.sum())),
        }
        Listed {
            open,
            matching: all.len(),
            shown: all.iter().take(most).map(|live| live.see()).collect(),
        }
    }

    /// Asks the tunnel of a connection, or over HTTP/2 of one of its streams, to close; `who` is for its record.
    pub fn close(&self, conn: &str, stream_id: Option<u32>, who: &str) -> Asked {
        let mut streams = Vec::new();
        let mut found = None;
        for live in self.all() {
            // Unpacking all of them would take tens of milliseconds.
            if !live.packed.may_contain(conn) {
                continue;
            }
            let record = live.packed.unpack();
            if record.conn.as_deref() != Some(conn) {
                continue;
            }
            if record.stream_id == stream_id {
                found = Some(live);
                break;
            }
            streams.extend(record.stream_id);
        }
        let Some(live) = found else {
            // Even if there is only one left, it need not be the one that was meant.
            if stream_id.is_none() && !streams.is_empty() {
                streams.sort_unstable();
                return Asked::Unclear(streams);
            }
            return Asked::Absent;
        };
        self.asked().insert(key(&live), who.to_owned());
        // Set before the task is woken, because it reads this.
        live.is_asked.store(true, Release);
        live.task.wake();
        if !self.table().contains(&Place(Arc::clone(&live))) {
            // It ended meanwhile, and has removed nothing.
            self.asked().remove(&key(&live));
            return Asked::Absent;
        }
        Asked::Closing
    }

    /// The listed tunnels. They are copied, so that others can open and end meanwhile.
    fn all(&self) -> Vec<Arc<Live>> {
        let table = self.table();
        table.iter().map(|place| Arc::clone(&place.0)).collect()
    }

    /// Who asked to close this tunnel, once. Its task is woken when somebody does.
    pub(super) fn asked_to_close(&self, live: &Arc<Live>, cx: &Context<'_>) -> Option<String> {
        live.task.register(cx.waker());
        if !live.is_asked.load(Acquire) {
            return None;
        }
        self.asked().remove(&key(live))
    }

    fn table(&self) -> MutexGuard<'_, HashSet<Place>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<usize, String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(live: &Arc<Live>) -> usize {
    Arc::as_ptr(live).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn packed(conn: &str) -> Packed {
        on_stream(conn, None)
    }

    fn on_stream(conn: &str, stream_id: Option<u32>) -> Packed {
        Packed::new(&Record {
            conn: Some(conn.to_owned()),
            stream_id,
            ..Record::default()
        })
    }

    fn listed(tunnels: &Tunnels, kept: &Kept) -> Arc<Live> {
        let Kept::Listed(live) = kept else {
            panic!("it is listed");
        };
        assert!(tunnels.table().contains(&Place(Arc::clone(live))));
        Arc::clone(live)
    }

    fn conns(tunnels: &Tunnels, order: Order, most: usize) -> (usize, Vec<String>) {
        let Listed { open, shown, .. } = tunnels.list(order, most, None);
        let conns = shown.into_iter().map(|seen| seen.record.conn.unwrap());
        (open, conns.collect())
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
        listed(&tunnels, &open[1]).passed(Traffic {
            bytes: [10, 20],
            messages: [1, 2],
        });
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(conns(&tunnels, Order::Newest, 2), (3, words(&["2", "1"])));
        assert_eq!(conns(&tunnels, Order::Oldest, 2), (3, words(&["0", "1"])));
        assert_eq!(conns(&tunnels, Order::Bytes, 1), (3, words(&["1"])));
        let is_one = |record: &Record| record.conn.as_deref() == Some("1");
        let found = tunnels.list(Order::Newest, 9, Some(&is_one));
        assert_eq!((found.open, found.matching), (3, 1));
        let traffic = &found.shown[0].traffic;
        assert_eq!((traffic.bytes, traffic.messages), ([10, 20], [1, 2]));
        // They stay listed, but new ones are not.
        tunnels.keep(false);
        assert!(!is_listed(&tunnels.add(packed("after"), Moment::now())));
        for kept in &open {
            tunnels.remove(kept);
        }
        assert_eq!(conns(&tunnels, Order::Newest, 9), (0, Vec::new()));
    }

    #[test]
    fn one_tunnel_is_asked_to_close_and_learns_who_asked() {
        let tunnels = Tunnels::default();
        tunnels.keep(true);
        let open = ["a", "b"].map(|conn| tunnels.add(packed(conn), Moment::now()));
        let [a, b] = open.each_ref().map(|kept| listed(&tunnels, kept));
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let cx = Context::from_waker(&waker);
        assert_eq!(tunnels.asked_to_close(&a, &cx), None);
        assert_eq!(
            tunnels.asked_to_close(&b, &Context::from_waker(std::task::Waker::noop())),
            None
        );
        assert_eq!(tunnels.close("c", None, "nobody"), Asked::Absent);
        assert_eq!(tunnels.close("a", Some(1), "nobody"), Asked::Absent);
        assert_eq!(tunnels.close("a", None, "alice"), Asked::Closing);
        assert_eq!(woken.0.load(Relaxed), 1);
        assert_eq!(tunnels.asked_to_close(&b, &cx), None);
        assert_eq!(tunnels.asked_to_close(&a, &cx).as_deref(), Some("alice"));
        assert_eq!(tunnels.asked_to_close(&a, &cx), None);
        // One that ends before its task has read who asked leaves nothing behind.
        assert_eq!(tunnels.close("b", None, "bob"), Asked::Closing);
        tunnels.remove(&open[1]);
        assert!(tunnels.asked().is_empty());
        assert_eq!(tunnels.close("b", None, "bob"), Asked::Absent);
    }

    #[test]
    fn one_stream_is_closed_and_never_its_neighbours() {
        let tunnels = Tunnels::default();
        tunnels.keep(true);
        let streams = [1, 3, 13];
        let open = streams.map(|id| tunnels.add(on_stream("a", Some(id)), Moment::now()));
        let other = tunnels.add(on_stream("b", Some(3)), Moment::now());
        let all = || open.iter().chain([&other]);
        let asked = || {
            let cx = Context::from_waker(std::task::Waker::noop());
            all()
                .map(|kept| tunnels.asked_to_close(&listed(&tunnels, kept), &cx))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            tunnels.close("a", None, "alice"),
            Asked::Unclear(streams.to_vec())
        );
        assert_eq!(tunnels.close("a", Some(5), "alice"), Asked::Absent);
        assert_eq!(asked(), [None, None, None, None]);
        assert_eq!(tunnels.close("a", Some(3), "alice"), Asked::Closing);
        assert_eq!(asked(), [None, Some("alice".to_owned()), None, None]);
        tunnels.remove(&open[1]);
        assert_eq!(tunnels.close("a", Some(3), "alice"), Asked::Absent);
        // The last one of a connection is not closed either if it was not named.
        assert_eq!(tunnels.close("b", None, "bob"), Asked::Unclear(vec![3]));
        assert_eq!(tunnels.close("b", Some(3), "bob"), Asked::Closing);
    }

    #[test]
    fn a_tunnel_takes_96_bytes_and_its_place_in_the_table() {
        // The counts of an Arc come before it. A place takes 9 bytes, and the table has fewer than
        // 32 / 9 places for each tunnel, or it is small.
        assert!(size_of::<Live>() + 16 <= 96, "{}", size_of::<Live>());
        assert_eq!(size_of::<Place>(), 8);
        assert_eq!(size_of::<Kept>(), size_of::<Packed>());
    }
}
