//! One side of a tunnel: what its peer sends, read as frames, and what is sent to it.

mod pump;
mod waiting;
mod watch;

use std::io;
use std::num::NonZeroU64;
use std::time::Duration;

use super::frame::{self, Close, Extensions, Reader, Sender, Violation};
use crate::moment::Moment;
use crate::reason::Reason;
#[cfg(doc)]
use crate::stream::Outlet;
use crate::stream::Parting;
pub(in crate::tunnel) use pump::{begin, pump};
use waiting::Waiting;

/// Length of the payload of the proxy's Pings.
pub(super) const TAG: usize = 8;

/// How a peer stopped sending.
#[derive(Debug)]
pub(super) enum Over {
    /// Its stream ended cleanly.
    Ended,
    /// Its TCP stream ended without a TLS close_notify.
    Truncated,
    /// The connection broke.
    Broke(io::Error),
    /// It sent something that is not WebSocket, with these first bytes.
    Violated(Violation, Vec<u8>),
    /// It did not answer a Close in time, so the proxy no longer waits for it.
    GivenUp,
}

/// The state of the direction toward a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// Bytes may follow.
    Open,
    /// Only the waiting bytes are still written; then the stream is ended.
    Ending,
    /// The stream was ended, or the connection broke.
    Ended,
}

/// A Close frame on its way to a peer.
#[derive(Debug)]
pub(super) struct Told {
    /// Its code; `None`: the frame has no code.
    pub code: Option<u16>,
    /// Whether it is the proxy's own.
    pub is_ours: bool,
    /// Whether browsers accept it as a Close.
    pub is_readable: bool,
    /// When the last byte of it was handed to the system.
    pub delivered: Option<Moment>,
}

/// A Close frame of a peer.
#[derive(Debug)]
pub(super) struct Received {
    pub close: Close,
    /// How many bytes came after it.
    pub after: u64,
}

/// A time in which the peer takes nothing.
#[derive(Debug)]
struct Stall {
    since: Moment,
    /// What its socket [had taken](Outlet::taken) before.
    taken: u32,
}

/// What is expected of a peer after our Ping.
#[derive(Debug, Default)]
struct Answer {
    /// The payload of our Ping whose answer must be swallowed.
    tag: Option<[u8; TAG]>,
    /// The beginning of a frame that may be this answer.
    held: Vec<u8>,
}

/// One side. There are many and most are idle, so what few of them need at a time is boxed.
#[derive(Debug)]
pub(super) struct Leg {
    frames: Reader,
    answer: Option<Box<Answer>>,
    pub pongs: u32,
    /// `None` while the peer may still send.
    pub over: Option<Box<Over>>,
    /// The peer's Close frame.
    pub close: Option<Box<Received>>,
    /// The size of the message that was too big.
    pub too_big: Option<NonZeroU64>,
    /// What the peer sends is read, but not passed on.
    muted: bool,
    /// What was passed on ends inside a frame, and the rest will not follow.
    dangling: bool,
    pub messages: u64,
    /// When the peer last sent anything.
    pub heard: Moment,
    /// When bytes of either peer last passed here; our Pings and their answers do not count.
    pub active: Moment,

    waiting: Waiting,
    pub outgoing: Outgoing,
    ended: Option<Moment>,
    /// The Close that the proxy wants to send at the next opportunity.
    pub wants: Option<(u16, Reason)>,
    /// The Close that was sent or is on its way.
    pub told: Option<Box<Told>>,
    /// How many bytes of the other peer were written.
    pub written: u64,
    /// When anything was last written, including Pings.
    pub spoken: Moment,
    /// The error of a failed write, after which nothing can be sent to the peer.
    pub write_error: Option<io::Error>,
    /// How many bytes a TLS stream accepted since it was last empty.
    unflushed: u32,
    stall: Option<Box<Stall>>,
    /// In milliseconds.
    longest_stall: u32,
    /// Whether the peer's connection is broken, and not ended, if the other one broke.
    pub passes_resets: bool,
    /// Whether that was done.
    is_aborted: bool,
}

impl Leg {
    pub fn new(sender: Sender, extensions: Extensions, now: Moment) -> Self {
        Self {
            frames: Reader::new(sender, extensions),
            answer: None,
            pongs: 0,
            over: None,
            close: None,
            too_big: None,
            muted: false,
            dangling: false,
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
            unflushed: 0,
            stall: None,
            longest_stall: 0,
            passes_resets: false,
            is_aborted: false,
        }
    }

    /// Whether the bytes passed on so far are whole frames, so that a frame of the proxy may follow.
    pub fn is_whole(&self) -> bool {
        if self.muted || self.over.is_some() {
            !self.dangling
        } else {
            self.frames.at_boundary() && self.held().is_empty()
        }
    }

    /// The payload of our Ping whose answer must be swallowed.
    pub fn tag(&self) -> Option<[u8; TAG]> {
        self.answer.as_ref()?.tag
    }

    /// Expects an answer with this payload, or none.
    pub fn expect(&mut self, tag: Option<[u8; TAG]>) {
        match &mut self.answer {
            Some(answer) if tag.is_some() || !answer.held.is_empty() => answer.tag = tag,
            none => {
                *none = tag.map(|tag| {
                    Box::new(Answer {
                        tag: Some(tag),
                        held: Vec::new(),
                    })
                });
            }
        }
    }

    /// The beginning of a frame that may be the answer to our Ping.
    fn held(&self) -> &[u8] {
        self.answer.as_ref().map_or(&[], |answer| &answer.held)
    }

    /// The same, which is then no longer held.
    fn take_held(&mut self) -> Vec<u8> {
        let Some(answer) = &mut self.answer else {
            return Vec::new();
        };
        let held = std::mem::take(&mut answer.held);
        if answer.tag.is_none() {
            self.answer = None;
        }
        held
    }

    /// Whether nothing has happened here that ends a tunnel, and no Close is on its way to the peer.
    pub fn is_undisturbed(&self) -> bool {
        self.over.is_none()
            && self.close.is_none()
            && self.told.is_none()
            && self.too_big.is_none()
            && self.write_error.is_none()
    }

    /// Whether more bytes can be sent to the peer.
    pub fn is_open(&self) -> bool {
        self.outgoing == Outgoing::Open
    }

    /// Whether the proxy may still send the peer its own Close, now or at the next frame boundary.
    pub fn can_be_told(&self, other: &Self) -> bool {
        self.is_open() && self.told.is_none() && self.wants.is_none() && !other.dangling
    }

    /// Gives up a Close that can't be sent, because the other side's last frame will never be complete.
    pub fn drop_words(&mut self, other: &Self) {
        if other.dangling {
            self.wants = None;
        }
    }

    /// Whether nothing will be sent to the peer after the waiting bytes. If the proxy itself ends the tunnel, this is
    /// also true for a peer that can't get a Close.
    pub fn is_finished(&self, other: &Self, is_farewell: bool) -> bool {
        if self.wants.is_some() {
            return false;
        }
        match &self.told {
            // The stream stays open for the peer's answer; after a forwarded Close, only until its sender ends.
            Some(told) => {
                self.close.is_some()
                    || self.over.is_some()
                    || (!told.is_ours && other.over.is_some())
            }
            None => other.over.is_some() || (is_farewell && other.dangling),
        }
    }

    /// When the direction toward the peer ended.
    pub fn ended(&self) -> Option<Moment> {
        self.ended
    }

    /// Whether the peer was sent a Close that it can still answer.
    pub fn owes_close(&self) -> bool {
        self.told.is_some() && self.close.is_none() && self.over.is_none()
    }

    /// When that Close was handed to the system.
    pub fn owes_close_since(&self) -> Option<Moment> {
        self.told
            .as_ref()
            .filter(|_| self.owes_close())
            .and_then(|told| told.delivered)
    }

    /// Whether the peer's connection broke.
    fn has_broken(&self) -> bool {
        matches!(self.over.as_deref(), Some(Over::Broke(_)))
    }

    /// Whether a Close was handed to the system for the peer.
    pub fn is_told(&self) -> bool {
        self.told
            .as_ref()
            .is_some_and(|told| told.delivered.is_some())
    }

    /// How many bytes have not gone to the peer, at most. A TLS stream does not tell how many it still holds.
    pub fn unsent(&self) -> usize {
        self.waiting() + self.unflushed as usize
    }

    /// How many bytes wait for room in the stream.
    pub fn waiting(&self) -> usize {
        self.waiting.rest().len()
    }

    /// Whether the peer's socket has taken everything.
    pub fn is_clear(&self) -> bool {
        self.unsent() == 0
    }

    /// Sends a Ping. The other side must be [whole](Leg::is_whole), and nothing may wait.
    pub fn ping(&mut self, tag: [u8; TAG]) {
        self.waiting
            .push_own(&frame::control(frame::PING, &tag, None));
        self.expect(Some(tag));
    }

    /// Sends the Close that is wanted. The other side must be [whole](Leg::is_whole).
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
        self.stall.as_ref().map(|stall| stall.since)
    }

    /// The longest stall so far, including one that still lasts.
    pub fn longest_stall(&self) -> Duration {
        let lasting = self.stalled_since().map(Moment::elapsed);
        Duration::from_millis(self.longest_stall.into()).max(lasting.unwrap_or_default())
    }

    /// Begins a stall, unless one lasts in which the socket has taken nothing.
    fn stall(&mut self, taken: Option<u32>) {
        if taken.is_some() && self.has_taken_more(taken) {
            self.unstalled();
        }
        self.stall.get_or_insert_with(|| {
            Box::new(Stall {
                since: Moment::now(),
                taken: taken.unwrap_or_default(),
            })
        });
    }

    /// Whether the socket has taken bytes since the stall began.
    fn has_taken_more(&self, taken: Option<u32>) -> bool {
        let before = self.stall.as_ref().map(|stall| stall.taken);
        taken.is_none() || taken != before
    }

    /// Ends a stall.
    fn unstalled(&mut self) {
        if let Some(stall) = self.stall.take() {
            let lasted = u32::try_from(stall.since.elapsed().as_millis()).unwrap_or(u32::MAX);
            self.longest_stall = self.longest_stall.max(lasted);
        }
    }

    /// Ends the direction toward the peer at once.
    pub fn break_off(&mut self, error: Option<io::Error>) {
        self.unstalled();
        self.set_ended();
        self.write_error = error;
        self.waiting = Waiting::default();
        self.unflushed = 0;
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

    /// The peer's stream at the end; `None` if it can be closed, because the peer has ended it as well or nothing can reach
    /// the peer.
    pub fn parting<S>(&self, stream: S) -> Option<Parting<S>> {
        let is_shut_down = self.outgoing == Outgoing::Ended && self.write_error.is_none();
        let is_shut_down = is_shut_down && !self.has_broken();
        let has_ended = matches!(self.over.as_deref(), Some(Over::Ended));
        (!(self.is_aborted || is_shut_down && has_ended)).then_some(Parting {
            stream,
            is_shut_down,
        })
    }

    fn stop_reading(&mut self, over: Over) {
        if !self.muted {
            self.dangling = !self.frames.at_boundary() && self.held().is_empty();
        }
        self.over = Some(Box::new(over));
    }
}

/// Sends the wanted Close to `to` if `from` has sent only whole frames so far. Returns whether the Close was sent.
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
