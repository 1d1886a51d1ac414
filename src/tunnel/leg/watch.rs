//! Reads the frames in the bytes of a peer, and decides which bytes are passed on.

use std::num::NonZeroU64;

use super::super::frame::{self, Close, Event, Violation};
use super::{Leg, Over, Received, TAG, Told};

/// Length of a client's answer to our Ping: two bytes, a masking key, the tag.
const OUR_PONG: usize = 2 + 4 + TAG;

/// Most bytes of an invalid frame that are kept for the record.
const SHOWN: usize = 16;

/// First byte of an unfragmented Pong.
const PONG_FIRST: u8 = 0x80 | frame::PONG;

impl Leg {
    /// Reads frames in a piece of the peer's bytes. Moves what is to be passed on to the front of `piece` and returns
    /// its length.
    ///
    /// If the other side is waiting for our Close, it is sent at the first frame boundary, and nothing is passed on
    /// after it.
    pub(super) fn watch(
        &mut self,
        piece: &mut [u8],
        other: &mut Self,
        largest: Option<u64>,
    ) -> usize {
        if let Some(received) = &mut self.close {
            // RFC 6455 section 5.5.1: nothing may follow a Close, and nobody reads it.
            received.after += piece.len() as u64;
            return 0;
        }
        // A broken side gets nothing. The peer is still read because it has to answer a Close.
        self.muted |= !other.is_open();
        // `piece[..kept]` is passed on; `piece[from..at]` is the frame that is being read.
        let (mut kept, mut from, mut at) = (0, 0, 0);
        let mut begins_here = false;
        loop {
            if self.frames.at_boundary() {
                if other.wants.is_some() && !self.muted && self.held().is_empty() {
                    other.say_close();
                    self.muted = true;
                }
                (from, begins_here) = (at, true);
            }
            let may_be_ours = self.tag().is_some()
                && (!self.held().is_empty()
                    || (begins_here && piece.get(from) == Some(&PONG_FIRST)));
            let rest = piece.get(at..).unwrap_or_default();
            let (count, event) = match self.frames.read(rest) {
                Ok(read) => read,
                Err(violation) => {
                    let frame = piece.get(from..).filter(|_| begins_here);
                    self.violated(violation, frame);
                    return kept;
                }
            };
            at += count;
            let is_end = event.is_none();
            let mut swallowed = false;
            match event {
                Some(Event::Header(header)) => {
                    if largest.is_some_and(|largest| header.message > largest) && !self.muted {
                        self.too_big = NonZeroU64::new(header.message);
                        self.dangling = !begins_here;
                        self.muted = true;
                    }
                    // Held back until its payload has arrived.
                    if may_be_ours && header.length == TAG as u64 {
                        continue;
                    }
                }
                Some(Event::End) => {
                    swallowed =
                        may_be_ours && self.swallows(piece.get(from..at).unwrap_or_default());
                    if !self.muted {
                        self.messages = self.frames.messages();
                    }
                }
                Some(Event::Close(close)) => self.closed(close, other),
                None if may_be_ours => {
                    // The piece ends inside the frame.
                    let held = &mut self.answer.get_or_insert_default().held;
                    held.extend_from_slice(piece.get(from..at).unwrap_or_default());
                    return kept;
                }
                None => {}
            }
            // The held bytes come before this piece. Both are passed on, or neither is.
            let held = self.take_held();
            if !self.muted && !swallowed {
                other.waiting.push(&held);
                if from != kept {
                    piece.copy_within(from..at, kept);
                }
                kept += at - from;
            }
            from = at;
            begins_here = false;
            if let Some(received) = &mut self.close {
                received.after += (piece.len() - at) as u64;
                self.muted = true;
                return kept;
            }
            if is_end {
                return kept;
            }
        }
    }

    /// Ends this direction at an invalid frame; `frame` has the frame's bytes if it begins in the current piece.
    fn violated(&mut self, violation: Violation, frame: Option<&[u8]>) {
        if !self.muted {
            self.dangling = frame.is_none() && self.held().is_empty();
        }
        let seen = match frame {
            Some(frame) => frame.get(..SHOWN).unwrap_or(frame),
            // The beginning of a frame from an earlier piece is gone, so only its header can be reported.
            None => self.frames.header(),
        };
        self.over = Some(Box::new(Over::Violated(violation, seen.to_vec())));
    }

    /// Remembers the peer's Close. Unless this side is muted, it goes to the other side.
    fn closed(&mut self, close: Close, other: &mut Self) {
        if !self.muted {
            other.told.get_or_insert_with(|| {
                Box::new(Told {
                    code: close.code,
                    is_ours: false,
                    is_readable: close.is_readable(),
                    delivered: None,
                })
            });
            other.wants = None;
        }
        self.close = Some(Box::new(Received { close, after: 0 }));
    }

    /// Counts the Pong that ends with `end`, if it answers our Ping. Returns whether it does.
    fn swallows(&mut self, end: &[u8]) -> bool {
        let is_ours = self.is_ours(end);
        if is_ours {
            self.expect(None);
            self.pongs += 1;
        }
        is_ours
    }

    /// Whether a complete Pong from the peer, which ends with `end`, answers our Ping.
    fn is_ours(&self, end: &[u8]) -> bool {
        let mut pong = self.held().to_vec();
        pong.extend_from_slice(end);
        let Ok([_, _, a, b, c, d, payload @ ..]) = <[u8; OUR_PONG]>::try_from(pong) else {
            return false;
        };
        let mut payload: [u8; TAG] = payload;
        frame::mask(&mut payload, [a, b, c, d]);
        self.tag() == Some(payload)
    }
}
