//! One side of a tunnel: what its peer sends, read as frames, and what goes to it.

mod pump;
mod watch;

use std::io;
use std::num::NonZeroU64;
use std::time::Duration;

use super::frame::{self, Close, Extensions, Reader, Sender, Violation};
use super::moment::Moment;
use crate::reason::Reason;
pub(in crate::tunnel) use pump::{begin, pump};

/// Bytes of the payload of our own Pings.
pub(super) const TAG: usize = 8;

/// Bytes that wait to be written: the other peer's, and behind them frames of the proxy's own. Holds no memory when
/// empty.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    written: u32,
    /// How many at the end are the proxy's own.
    own: u32,
}

impl Waiting {
    fn push(&mut self, bytes: &[u8]) {
        if self.own == 0 {
            self.bytes.extend_from_slice(bytes);
        } else {
            let at = self.bytes.len().saturating_sub(self.own as usize);
            self.bytes.splice(at..at, bytes.iter().copied());
        }
    }

    fn push_own(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.own += short(frame.len());
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.written as usize..).unwrap_or_default()
    }

    /// How many of them are the other peer's.
    fn theirs(&self) -> usize {
        self.rest().len().saturating_sub(self.own as usize)
    }

    /// Takes bytes away that were written; gives how many of them were the other peer's.
    fn advance(&mut self, count: usize) -> usize {
        let theirs = self.theirs().min(count);
        self.written += short(count);
        self.own = self.own.saturating_sub(short(count - theirs));
        if self.rest().is_empty() {
            *self = Self::default();
        }
        theirs
    }
}

/// The length of some bytes that wait: of a piece, of what came early, of a frame of ours, each of them far smaller.
fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// How a peer stopped sending.
#[derive(Debug)]
pub(super) enum Over {
    /// In order.
    Ended,
    /// Its TCP stream ended without the TLS end.
    Truncated,
    /// The connection broke.
    Broke(io::Error),
    /// What it sends is no WebSocket; with its first bytes.
    Violated(Violation, Vec<u8>),
    /// It did not answer a Close in time, and is not waited for any longer.
    GivenUp,
}

/// The state of what goes to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// Bytes may follow.
    Open,
    /// Nothing follows what waits; the peer is to be told the end.
    Ending,
    /// The end was told, or the connection broke.
    Ended,
}

/// A Close frame on its way to a peer.
#[derive(Debug)]
pub(super) struct Told {
    /// Its code; `None`: the frame has none.
    pub code: Option<u16>,
    /// Whether it is the proxy's own.
    pub is_ours: bool,
    /// Whether a browser takes it for a Close.
    pub is_readable: bool,
    /// When all of it was handed to the system.
    pub delivered: Option<Moment>,
}

/// What a direction waits for while bytes of it can't leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocked {
    /// Room for more bytes.
    Write,
    /// The peer to take those that the stream holds.
    Flush,
}

/// One side.
#[derive(Debug)]
pub(super) struct Leg {
    frames: Reader,
    /// A frame that may be the answer to our Ping, as far as it has come.
    held: Vec<u8>,
    /// The payload of our Ping whose answer is to be swallowed.
    pub tag: Option<[u8; TAG]>,
    pub pongs: u32,
    /// `None` while the peer may still send.
    pub over: Option<Box<Over>>,
    /// The peer's Close frame.
    pub close: Option<Box<Close>>,
    /// Size of the message that was too big.
    pub too_big: Option<NonZeroU64>,
    /// What the peer sends is read and goes nowhere.
    muted: bool,
    /// What was passed on of the peer's bytes ends inside a frame, and nothing more follows.
    dangling: bool,
    /// Bytes that came behind the peer's Close frame.
    pub after_close: u64,
    pub messages: u64,
    /// When anything came from the peer.
    pub heard: Moment,
    /// When something came from the peer that is not the answer to our Ping, or went to it.
    pub active: Moment,

    waiting: Waiting,
    pub outgoing: Outgoing,
    ended: Option<Moment>,
    /// The Close that the proxy wants to send as soon as it may.
    pub wants: Option<(u16, Reason)>,
    /// The Close that is on its way.
    pub told: Option<Box<Told>>,
    /// Bytes of the other peer that were written.
    pub written: u64,
    /// When anything was last written, Pings included.
    pub spoken: Moment,
    /// Why nothing can go to the peer any more, where it was a write that failed.
    pub write_error: Option<io::Error>,
    stalled: Option<Moment>,
    blocked: Blocked,
    /// Bytes that the stream took since a flush is blocked.
    taken: u32,
    /// In milliseconds.
    longest_stall: u32,
}

impl Leg {
    pub fn new(sender: Sender, extensions: Extensions, now: Moment) -> Self {
        Self {
            frames: Reader::new(sender, extensions),
            held: Vec::new(),
            tag: None,
            pongs: 0,
            over: None,
            close: None,
            too_big: None,
            muted: false,
            dangling: false,
            after_close: 0,
            messages: 0,
            heard: now,
            active: now,
            waiting: Waiting::default(),
            outgoing: Outgoing::Open,
            ended: None,
            wants: None,
            told: None,
            written: 0,
            spoken: now,
            write_error: None,
            stalled: None,
            blocked: Blocked::Write,
            taken: 0,
            longest_stall: 0,
        }
    }

    /// Whether what was passed on of the peer's bytes are whole frames, so that one of ours may follow.
    pub fn is_whole(&self) -> bool {
        if self.muted || self.over.is_some() {
            !self.dangling
        } else {
            self.frames.at_boundary() && self.held.is_empty()
        }
    }

    /// Whether bytes can still go to the peer.
    pub fn is_open(&self) -> bool {
        self.outgoing == Outgoing::Open
    }

    /// Whether a Close of the proxy's own may still be sent to the peer, now or at the next boundary.
    pub fn can_be_told(&self, other: &Self) -> bool {
        self.is_open() && self.told.is_none() && self.wants.is_none() && !other.dangling
    }

    /// What is wanted can't be said any more where the other side's last frame stays unfinished.
    pub fn drop_words(&mut self, other: &Self) {
        if other.dangling {
            self.wants = None;
        }
    }

    /// Whether nothing more goes to the peer behind what waits. In a farewell a side that can't be told is one such.
    pub fn is_finished(&self, other: &Self, is_farewell: bool) -> bool {
        if self.wants.is_some() {
            return false;
        }
        match &self.told {
            // Its answer is all that is waited for; where a Close passed, also the end of the side that it came from.
            Some(told) => {
                self.close.is_some()
                    || self.over.is_some()
                    || (!told.is_ours && other.over.is_some())
            }
            None => other.over.is_some() || (is_farewell && other.dangling),
        }
    }

    /// Since when nothing goes to the peer any more.
    pub fn ended(&self) -> Option<Moment> {
        self.ended
    }

    /// Whether a Close went to the peer which it has not answered and still may.
    pub fn owes_close(&self) -> bool {
        self.told.is_some() && self.close.is_none() && self.over.is_none()
    }

    /// When the Close was handed over that the peer has not answered and still may.
    pub fn owes_close_since(&self) -> Option<Moment> {
        self.told
            .as_ref()
            .filter(|_| self.owes_close())
            .and_then(|told| told.delivered)
    }

    /// Whether a Close was handed over to go to the peer.
    pub fn is_told(&self) -> bool {
        self.told
            .as_ref()
            .is_some_and(|told| told.delivered.is_some())
    }

    /// Bytes that wait for the peer.
    pub fn waiting(&self) -> usize {
        self.waiting.rest().len()
    }

    /// Sends a Ping. Only where the other side [`Leg::is_whole`] and nothing waits.
    pub fn ping(&mut self, tag: [u8; TAG]) {
        self.waiting
            .push_own(&frame::control(frame::PING, &tag, None));
        self.tag = Some(tag);
    }

    /// Sends the Close that is wanted. Only where the other side [`Leg::is_whole`].
    fn say_close(&mut self) {
        if let Some((code, reason)) = self.wants.take() {
            let key = match self.frames.sender() {
                Sender::Client => None,
                Sender::Server => Some(super::random()),
            };
            self.waiting
                .push_own(&frame::close(code, reason.code(), key));
            self.told = Some(Box::new(Told {
                code: Some(code),
                is_ours: true,
                is_readable: true,
                delivered: None,
            }));
        }
    }

    pub fn stalled_since(&self) -> Option<Moment> {
        self.stalled
    }

    /// The longest stall so far, one that still lasts included.
    pub fn longest_stall(&self) -> Duration {
        let lasting = self.stalled_since().map(Moment::elapsed);
        Duration::from_millis(self.longest_stall.into()).max(lasting.unwrap_or_default())
    }

    fn stall(&mut self, blocked: Blocked) {
        if self.stalled.is_none() {
            self.stalled = Some(Moment::now());
            self.blocked = blocked;
            self.taken = 0;
        }
    }

    /// Ends a stall by what was achieved: a write that a TLS stream took into its buffer says nothing of the peer
    /// while a flush is blocked.
    fn unstalled(&mut self, done: Blocked) {
        if (done == Blocked::Flush || self.blocked == done)
            && let Some(since) = self.stalled.take()
        {
            let lasted = u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX);
            self.longest_stall = self.longest_stall.max(lasted);
        }
    }

    /// Nothing can go to the peer any more.
    pub fn break_off(&mut self, error: Option<io::Error>) {
        self.unstalled(Blocked::Flush);
        self.set_ended();
        self.write_error = error;
        self.waiting = Waiting::default();
        self.wants = None;
    }

    fn set_ended(&mut self) {
        self.outgoing = Outgoing::Ended;
        self.ended.get_or_insert_with(Moment::now);
    }

    /// Stops waiting for the peer.
    pub fn give_up(&mut self) {
        self.stop_reading(Over::GivenUp);
    }

    fn stop_reading(&mut self, over: Over) {
        if !self.muted {
            self.dangling = !self.frames.at_boundary() && self.held.is_empty();
        }
        self.over = Some(Box::new(over));
    }
}

/// Says the Close that is wanted toward `to`, if what `from` sent so far is whole; whether it did.
pub(super) fn say_close(from: &mut Leg, to: &mut Leg) -> bool {
    if to.wants.is_none() || !to.is_open() || !from.is_whole() {
        return false;
    }
    to.say_close();
    from.muted = true;
    true
}

#[cfg(test)]
mod tests;
