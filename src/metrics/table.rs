//! Counters for every reason, in tables of fixed size.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::reason::{By, Reason};

const BY: [By; 4] = [By::Client, By::Upstream, By::Proxy, By::Network];

/// A counter for each pair of a reason and who caused it.
#[derive(Debug)]
pub(super) struct ByReason(Box<[[AtomicU64; BY.len()]]>);

impl Default for ByReason {
    fn default() -> Self {
        Self(Reason::ALL.iter().map(|_| Default::default()).collect())
    }
}

impl ByReason {
    pub fn add(&self, reason: Reason, by: By) {
        // Reason::ALL is in declaration order, so the discriminant is the index; a test checks this.
        if let Some(counter) = self.row(reason).and_then(|row| row.get(by as usize)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    fn row(&self, reason: Reason) -> Option<&[AtomicU64; BY.len()]> {
        self.0.get(reason as usize)
    }

    pub fn total(&self, reason: Reason) -> u64 {
        let row = self.row(reason).into_iter().flatten();
        row.map(|counter| counter.load(Relaxed)).sum()
    }

    /// All pairs that have occurred.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, By, u64)> {
        let rows = Reason::ALL.iter().zip(&self.0);
        let all = rows.flat_map(|(reason, row)| {
            let row = BY.iter().zip(row);
            row.map(|(by, counter)| (*reason, *by, counter.load(Relaxed)))
        });
        all.filter(|(.., count)| *count > 0)
    }
}

/// Close codes with a meaning in RFC 6455 section 7.4.1 or in the IANA registry of WebSocket close codes.
const REGISTERED: [u16; 18] = [
    1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 3000,
    3003, 3008,
];

/// The labels of all other codes, because a peer may send any. `unknown`: the tunnel's task was aborted, so what its
/// client saw is not known.
const FOLDED: [&str; 4] = ["3xxx", "4xxx", "other", "unknown"];

const CODES: usize = REGISTERED.len() + FOLDED.len();

fn place(code: Option<u16>) -> usize {
    let Some(code) = code else {
        return CODES - 1;
    };
    let known = REGISTERED.iter().position(|known| *known == code);
    known.unwrap_or(match code {
        3000..4000 => REGISTERED.len(),
        4000..5000 => REGISTERED.len() + 1,
        _ => REGISTERED.len() + 2,
    })
}

fn label(place: usize) -> String {
    match REGISTERED.get(place) {
        Some(code) => code.to_string(),
        None => FOLDED
            .get(place - REGISTERED.len())
            .copied()
            .unwrap_or_default()
            .to_owned(),
    }
}

type ByCode = [[AtomicU64; CODES]; BY.len()];

/// Ends of tunnels by reason, who caused them, and the code that the client sees. Most reasons never end a tunnel, so
/// each gets its counters at its first end.
#[derive(Debug)]
pub(super) struct Ended(Box<[OnceLock<Box<ByCode>>]>);

impl Default for Ended {
    fn default() -> Self {
        Self(Reason::ALL.iter().map(|_| OnceLock::new()).collect())
    }
}

impl Ended {
    pub fn add(&self, reason: Reason, by: By, code: Option<u16>) {
        let none = || {
            Box::new(std::array::from_fn(|_| {
                [const { AtomicU64::new(0) }; CODES]
            }))
        };
        let counter = self.0.get(reason as usize).and_then(|counters| {
            counters
                .get_or_init(none)
                .get(by as usize)?
                .get(place(code))
        });
        if let Some(counter) = counter {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub fn total(&self, reason: Reason) -> u64 {
        let counters = self.0.get(reason as usize).and_then(OnceLock::get);
        let all = counters.into_iter().flat_map(|counters| counters.iter());
        all.flatten().map(|counter| counter.load(Relaxed)).sum()
    }

    /// All combinations that have occurred.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, By, String, u64)> {
        let met = Reason::ALL.iter().zip(&self.0);
        let met = met.filter_map(|(reason, counters)| Some((*reason, counters.get()?)));
        met.flat_map(|(reason, counters)| {
            BY.iter().zip(counters.iter()).flat_map(move |(by, row)| {
                row.iter().enumerate().filter_map(move |(place, counter)| {
                    let count = counter.load(Relaxed);
                    (count > 0).then(|| (reason, *by, label(place), count))
                })
            })
        })
    }
}
