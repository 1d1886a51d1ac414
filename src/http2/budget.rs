//! How much a client may send that does no work. Each connection has budgets that fill up again with time.

use tokio::time::Instant;

use super::frames::{self, Frame};

/// How many frames without work may come at once, and per second after that.
const FRAMES: (u32, u32) = (1000, 50);

/// How many streams may be reset before they were answered, at once and per second after that. A page that is closed
/// resets all of its streams.
const RESETS: (u32, u32) = (300, 20);

/// The same number for the library, which counts only streams that it has not handed out.
pub(super) const MOST_RESETS: usize = 300;

/// How many streams the proxy itself may have to reset, at once and per second after that.
const REFUSALS: (u32, u32) = (300, 20);

/// How many frames without work one frame with work allows: a receiver may answer each piece with two window updates,
/// and with a PING to measure the line.
const EARNED: u32 = 3;

/// A SETTINGS frame changes all streams, and has to be acknowledged.
const SETTINGS_COST: u32 = 10;

/// A number that shrinks with use and grows with time.
#[derive(Debug)]
struct Budget {
    left: u32,
    most: u32,
    per_second: u32,
    since: Instant,
}

impl Budget {
    fn new((most, per_second): (u32, u32), now: Instant) -> Self {
        Self {
            left: most,
            most,
            per_second,
            since: now,
        }
    }

    fn earn(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(self.most);
    }

    /// Whether so much is left; it is then used.
    fn spend(&mut self, cost: u32, now: Instant) -> bool {
        if self.left < cost {
            let passed = now.saturating_duration_since(self.since);
            let grown = passed.as_millis() * u128::from(self.per_second) / 1000;
            let grown = u32::try_from(grown).unwrap_or(u32::MAX);
            if grown > 0 {
                self.earn(grown);
                self.since = now;
            }
        } else if self.left == self.most {
            // A full budget does not grow.
            self.since = now;
        }
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// What one connection may still send.
#[derive(Debug)]
pub(super) struct Budgets {
    frames: Budget,
    /// How many frames without work came, by their type.
    counts: [u32; KINDS.len()],
    resets: Budget,
    refusals: Budget,
}

/// The names of the types of frames (RFC 9113 section 6).
const KINDS: [&str; 11] = [
    "empty DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "empty CONTINUATION",
    "unknown",
];

impl Budgets {
    pub fn new(now: Instant) -> Self {
        Self {
            frames: Budget::new(FRAMES, now),
            counts: [0; KINDS.len()],
            resets: Budget::new(RESETS, now),
            refusals: Budget::new(REFUSALS, now),
        }
    }

    /// A frame came from the client, or was sent to it if it `is_ours`.
    ///
    /// # Errors
    /// What came too often, for a detail.
    pub fn frame(&mut self, frame: Frame, is_ours: bool, now: Instant) -> Result<(), String> {
        let does_work = match frame.kind {
            frames::DATA => frame.length > 0 || frame.is_end(),
            frames::HEADERS => true,
            frames::CONTINUATION => frame.length > 0 || frame.is_end_of_headers(),
            // What it costs depends on its stream.
            frames::RST_STREAM => return Ok(()),
            _ => false,
        };
        if does_work {
            self.frames.earn(EARNED);
            return Ok(());
        }
        if is_ours || frame.is_ack() {
            return Ok(());
        }
        self.idle(frame, now)
    }

    /// A frame without work came, such as the reset of a stream that is over already.
    ///
    /// # Errors
    /// The same.
    pub fn idle(&mut self, frame: Frame, now: Instant) -> Result<(), String> {
        let kind = usize::from(frame.kind).min(KINDS.len() - 1);
        if let Some(count) = self.counts.get_mut(kind) {
            *count = count.saturating_add(1);
        }
        let cost = match frame.kind {
            frames::SETTINGS => SETTINGS_COST,
            _ => 1,
        };
        if self.frames.spend(cost, now) {
            return Ok(());
        }
        let most = self
            .counts
            .iter()
            .zip(KINDS)
            .max_by_key(|(count, _)| **count);
        let (count, name) = most.unwrap_or((&0, "unknown"));
        Err(format!("{count} {name} frames"))
    }

    /// The client reset a stream before it was answered.
    ///
    /// # Errors
    /// The same.
    pub fn reset(&mut self, now: Instant) -> Result<(), String> {
        match self.resets.spend(1, now) {
            true => Ok(()),
            false => {
                let (most, per_second) = RESETS;
                Err(format!(
                    "more than {most} streams, and {per_second} a second after that, were reset before they were answered"
                ))
            }
        }
    }

    /// The proxy had to reset a stream.
    ///
    /// # Errors
    /// The same.
    pub fn refusal(&mut self, now: Instant) -> Result<(), String> {
        match self.refusals.spend(1, now) {
            true => Ok(()),
            false => {
                let (most, per_second) = REFUSALS;
                Err(format!(
                    "more than {most} streams, and {per_second} a second after that, had to be refused"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_budget_is_used_up_and_grows_again() {
        let now = Instant::now();
        let mut budget = Budget::new((3, 2), now);
        for _ in 0..3 {
            assert!(budget.spend(1, now));
        }
        assert!(!budget.spend(1, now + Duration::from_millis(400)));
        assert!(budget.spend(1, now + Duration::from_millis(600)));
        assert!(!budget.spend(1, now + Duration::from_millis(700)));
        assert!(budget.spend(3, now + Duration::from_secs(60)));
        assert!(!budget.spend(1, now + Duration::from_secs(60)));
    }
}
