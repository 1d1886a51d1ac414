//! What the bytes of a peer mean, and which of them are forwarded.

use std::num::NonZeroU64;

use super::super::frame::{self, Event};
use super::{Leg, Over, TAG, Told};

/// A Pong of ours as a client sends it: two bytes, a masking key, the tag.
const OUR_PONG: usize = 2 + 4 + TAG;

/// First byte of an unfragmented Pong.
const PONG_FIRST: u8 = 0x80 | frame::PONG;

impl Leg {
    /// Reads frames in a piece of the peer's bytes, and leaves in front what goes on to the other side; gives its
    /// length.
    ///
    /// A Close that is wanted there is said at the first boundary; nothing goes on behind it.
    pub(super) fn watch(
        &mut self,
        piece: &mut [u8],
        other: &mut Self,
        largest: Option<u64>,
    ) -> usize {
        if self.close.is_some() {
            // RFC 6455 section 5.5.1: nothing may follow a Close, and nobody reads what does.
            self.after_close += piece.len() as u64;
            return 0;
        }
        // A side that broke gets nothing: what is still read is for the Close that is owed.
        self.muted |= !other.is_open();
        // `piece[..kept]` goes on, `piece[from..at]` is of the frame that is being looked at.
        let (mut kept, mut from, mut at) = (0, 0, 0);
        let mut begins_here = false;
        loop {
            if self.frames.at_boundary() {
                if other.wants.is_some() && !self.muted && self.held.is_empty() {
                    other.say_close();
                    self.muted = true;
                }
                (from, begins_here) = (at, true);
            }
            let may_be_ours = self.tag.is_some()
                && (!self.held.is_empty() || (begins_here && piece.get(from) == Some(&PONG_FIRST)));
            let rest = piece.get(at..).unwrap_or_default();
            let (count, event) = match self.frames.read(rest) {
                Ok(read) => read,
                Err(violation) => {
                    if !self.muted {
                        self.dangling = !begins_here && self.held.is_empty();
                    }
                    // Of a frame that began earlier only its header is still known, which is all that is told of it.
                    let begins_here = begins_here && std::mem::take(&mut self.held).is_empty();
                    let seen = match begins_here {
                        true => piece
                            .get(from..)
                            .unwrap_or_default()
                            .iter()
                            .take(16)
                            .copied()
                            .collect(),
                        false => self.frames.header().to_vec(),
                    };
                    self.over = Some(Box::new(Over::Violated(violation, seen)));
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
                    // Held back until its payload is there too.
                    if may_be_ours && header.length == TAG as u64 {
                        continue;
                    }
                }
                Some(Event::End) => {
                    swallowed =
                        may_be_ours && self.is_ours(piece.get(from..at).unwrap_or_default());
                    if swallowed {
                        self.tag = None;
                        self.pongs += 1;
                    }
                    if !self.muted {
                        self.messages = self.frames.messages();
                    }
                }
                Some(Event::Close(close)) => {
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
                    self.close = Some(Box::new(close));
                }
                None if may_be_ours => {
                    // Behind the last byte of the piece: the rest of the frame has not come.
                    self.held
                        .extend_from_slice(piece.get(from..at).unwrap_or_default());
                    return kept;
                }
                None => {}
            }
            // What was held is in front of everything in this piece, and goes the same way.
            let held = std::mem::take(&mut self.held);
            if !self.muted && !swallowed {
                other.waiting.push(&held);
                piece.copy_within(from..at, kept);
                kept += at - from;
            }
            from = at;
            begins_here = false;
            if self.close.is_some() {
                self.after_close += (piece.len() - at) as u64;
                self.muted = true;
                return kept;
            }
            if is_end {
                return kept;
            }
        }
    }

    /// Whether a whole Pong of the peer, the last bytes of which are `end`, answers our Ping.
    fn is_ours(&self, end: &[u8]) -> bool {
        let mut pong = self.held.clone();
        pong.extend_from_slice(end);
        let Ok([_, _, a, b, c, d, payload @ ..]) = <[u8; OUR_PONG]>::try_from(pong) else {
            return false;
        };
        let mut payload: [u8; TAG] = payload;
        frame::mask(&mut payload, [a, b, c, d]);
        self.tag == Some(payload)
    }
}
