//! What the process remembers of its records, for whoever looks at it while it runs: the last failures and ends, how often
//! what happened in each minute, and which trouble goes on.
//!
//! All of it is bounded, and nothing is kept unless the admin listener is configured.

mod lately;
mod minutes;
mod recent;
mod runs;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use minutes::{Counts, MINUTES, Minute};
pub use recent::{Kept, Selected};
pub use runs::{QUIET, Run};

use super::{Event, Record, Wanted};
use crate::reason::{Level, Reason};
use minutes::Minutes;
use recent::Recent;
use runs::Runs;

/// What a record counts as. The metrics count by the same kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// An opening handshake that opened a tunnel.
    Opened,
    /// An opening handshake that was refused.
    Refused,
    /// A connection that ended before a complete request was read.
    Unread,
    /// A plain request that failed.
    Request,
    /// A tunnel that ended.
    Ended,
}

impl What {
    /// Whether it is one of those of which `self` is a part: all handshakes, all connections, all ends.
    fn is_part_of(self, other: Self) -> bool {
        match self {
            Self::Opened | Self::Refused => matches!(other, Self::Opened | Self::Refused),
            Self::Unread => matches!(other, Self::Opened | Self::Refused | Self::Unread),
            // Requests that succeeded are not counted.
            Self::Request => false,
            Self::Ended => other == Self::Ended,
        }
    }
}

/// What records have in common that are remembered together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The same end of connections, requests or tunnels.
    End(What, Reason),
    /// The same event of the process.
    Process(Event),
}

impl Class {
    /// The class of a record; `None` for records of what opened or succeeded.
    fn of(record: &Record) -> Option<Self> {
        match (record.event, record.reason) {
            (Event::Opened | Event::RecordsSuppressed, _) | (Event::Request, None) => None,
            (Event::Refused | Event::Closed | Event::Request, Some(reason)) => {
                Some(Self::End(what(record), reason))
            }
            (event, _) => Some(Self::Process(event)),
        }
    }

    /// The reason, if it is not an event of the process.
    #[must_use]
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::End(_, reason) => Some(reason),
            Self::Process(_) => None,
        }
    }
}

/// What a record of a connection, request or tunnel counts as.
fn what(record: &Record) -> What {
    match (record.event, record.wanted) {
        (Event::Opened, _) => What::Opened,
        (Event::Closed, _) => What::Ended,
        (Event::Request, _) | (_, Wanted::Answer) => What::Request,
        (_, Wanted::Tunnel) => What::Refused,
        (_, Wanted::Unknown) => What::Unread,
    }
}

/// The memory of a process. It is empty until [`Memory::keep`] gives it a size.
#[derive(Debug, Default)]
pub struct Memory {
    /// The most bytes of records; 0: nothing is remembered or counted.
    most: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    recent: Recent,
    minutes: Minutes,
    runs: Runs,
}

impl Memory {
    /// Remembers records of `most` bytes from now on; with 0, forgets everything.
    pub fn keep(&self, most: usize) {
        self.most.store(most, Relaxed);
        let mut inner = self.inner();
        match most {
            0 => *inner = Inner::default(),
            most => inner.recent.shrink(most),
        }
    }

    /// Whether anything is remembered.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.most.load(Relaxed) > 0
    }

    /// Forgets what names clients, because less of their addresses may be shown from now on.
    pub fn forget_clients(&self) {
        let mut inner = self.inner();
        inner.recent = inner.recent.emptied();
        inner.runs = Runs::default();
    }

    /// Counts a record, whether it is written or not.
    pub(super) fn count(&self, record: &Record) {
        let class = Class::of(record);
        if class.is_none() && record.event != Event::Opened {
            return;
        }
        let now = since_epoch();
        let mut inner = self.inner();
        if !matches!(class, Some(Class::Process(_))) {
            inner.minutes.add(now, what(record), record);
            inner.runs.count(now, what(record));
        }
        if let Some(class) = class.filter(|_| record.is_failure()) {
            inner.runs.add(now, class, record);
        }
    }

    /// Whether a record may be asked for later: those of failures, of ends and of the process.
    pub(super) fn wants(&self, record: &Record) -> bool {
        self.is_kept() && record.level >= Some(Level::Info) && Class::of(record).is_some()
    }

    /// Remembers a record that was counted; `json` is its form in the log.
    pub(super) fn add(&self, record: &Record, json: &[u8]) {
        let (Some(class), Ok(json)) = (Class::of(record), str::from_utf8(json)) else {
            return;
        };
        let kept = Kept {
            at: since_epoch(),
            class,
            is_failure: record.is_failure(),
            json: json.into(),
        };
        let most = self.most.load(Relaxed);
        let mut inner = self.inner();
        inner.runs.told(class, record);
        inner.recent.add(kept, most);
    }

    /// The remembered records after the one with this number that meet the condition, the newest first.
    pub fn recent(&self, after: u64, wanted: impl Fn(&Kept) -> bool) -> Selected {
        self.inner().recent.select(after, wanted)
    }

    /// The counts of the last `minutes` minutes, the running one last.
    #[must_use]
    pub fn minutes(&self, minutes: usize) -> Vec<Minute> {
        self.inner().minutes.last(since_epoch(), minutes)
    }

    /// The trouble that goes on: runs of failures without a longer gap than [`QUIET`].
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        self.inner().runs.going_on(since_epoch())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time since 1970.
fn since_epoch() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default()
}
