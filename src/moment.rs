//! Points in time that take half the space of an [`Instant`]; a tunnel holds a dozen of them.

use std::num::NonZeroU64;
use std::ops::Add;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the first `Moment` was made, plus one; enough for five centuries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(NonZeroU64);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self::after(BEGIN.elapsed())
    }

    /// The time that has passed since then.
    pub fn elapsed(self) -> Duration {
        BEGIN.elapsed().saturating_sub(self.since_begin())
    }

    /// A number for this moment, which can be kept in an atomic.
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// The moment of a number from [`Moment::to_bits`].
    pub fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    /// The same as an instant, for timers.
    pub fn instant(self) -> Instant {
        *BEGIN + self.since_begin()
    }

    fn after(since_begin: Duration) -> Self {
        let nanos = u64::try_from(since_begin.as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    fn since_begin(self) -> Duration {
        Duration::from_nanos(self.0.get() - 1)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::after(self.since_begin().saturating_add(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_an_instant_in_eight_bytes() {
        let (before, moment) = (Instant::now(), Moment::now());
        assert!(before <= moment.instant() && moment.instant() <= Instant::now());
        let later = moment + Duration::from_secs(3);
        assert_eq!(later.instant() - moment.instant(), Duration::from_secs(3));
        assert!(later > moment);
        assert_eq!(later.elapsed(), Duration::ZERO);
        assert_eq!(size_of::<Option<Moment>>(), 8);
    }
}
