//! Reads the frame headers in the bytes of an HTTP/2 connection as they pass (RFC 9113 section 4.1).

/// The length of a frame's header.
const HEADER: usize = 9;

/// How many bytes of a payload are kept for the reader: an error code after a stream number.
const KEPT: usize = 8;

/// The types of frames that mean something here (RFC 9113 section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The header of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub length: usize,
    pub kind: u8,
    flags: u8,
    pub stream: u32,
}

impl Frame {
    fn parse(bytes: [u8; HEADER]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        Self {
            length: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    /// Whether the stream's sender ends with this frame.
    pub fn is_end(self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// Whether a header block ends with this frame.
    pub fn is_end_of_headers(self) -> bool {
        matches!(self.kind, HEADERS | CONTINUATION) && self.flags & END_HEADERS != 0
    }

    /// Whether it acknowledges SETTINGS or a PING.
    pub fn is_ack(self) -> bool {
        matches!(self.kind, SETTINGS | PING) && self.flags & ACK != 0
    }
}

/// What passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The header of a frame is complete.
    Begin(Frame),
    /// So many bytes of its payload.
    Payload(Frame, usize),
    /// The whole frame, with the beginning of its payload.
    End(Frame, [u8; KEPT]),
}

/// A place in the bytes of one direction.
#[derive(Debug)]
pub struct Frames {
    header: [u8; HEADER],
    /// How much of the header has come.
    have: usize,
    /// How much of the payload is to come.
    left: usize,
    kept: [u8; KEPT],
    /// How many bytes are not frames: the client's preface.
    preface: usize,
}

impl Frames {
    /// What a client sends first (RFC 9113 section 3.4).
    pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// A direction in which `preface` bytes come before the first frame.
    pub fn after(preface: usize) -> Self {
        Self {
            header: [0; HEADER],
            have: 0,
            left: 0,
            kept: [0; KEPT],
            preface,
        }
    }

    /// Whether the preface has come.
    pub fn has_begun(&self) -> bool {
        self.preface == 0
    }

    /// Reads what passes next.
    pub fn read(&mut self, mut bytes: &[u8], mut seen: impl FnMut(Event)) {
        let skipped = self.preface.min(bytes.len());
        self.preface -= skipped;
        bytes = bytes.get(skipped..).unwrap_or_default();
        while !bytes.is_empty() {
            if self.have < HEADER {
                let room = self.header.get_mut(self.have..).unwrap_or_default();
                let count = room.len().min(bytes.len());
                let (head, rest) = bytes.split_at(count);
                room.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
                self.have += count;
                bytes = rest;
                if self.have < HEADER {
                    return;
                }
                let frame = Frame::parse(self.header);
                self.left = frame.length;
                self.kept = [0; KEPT];
                seen(Event::Begin(frame));
                if self.left > 0 {
                    continue;
                }
            }
            let frame = Frame::parse(self.header);
            let count = self.left.min(bytes.len());
            let (payload, rest) = bytes.split_at(count);
            let done = frame.length - self.left;
            let kept = self.kept.get_mut(done.min(KEPT)..).unwrap_or_default();
            kept.iter_mut()
                .zip(payload)
                .for_each(|(to, from)| *to = *from);
            self.left -= count;
            bytes = rest;
            if count > 0 {
                seen(Event::Payload(frame, count));
            }
            if self.left == 0 {
                self.have = 0;
                seen(Event::End(frame, self.kept));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length.to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn events(frames: &mut Frames, pieces: &[&[u8]]) -> Vec<Event> {
        let mut events = Vec::new();
        for piece in pieces {
            frames.read(piece, |event| match (events.last_mut(), event) {
                (Some(Event::Payload(before, sum)), Event::Payload(frame, count))
                    if *before == frame =>
                {
                    *sum += count;
                }
                _ => events.push(event),
            });
        }
        events
    }

    #[test]
    fn frames_are_read_after_the_preface() {
        let mut bytes = Frames::PREFACE.to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        bytes.extend(frame(RST_STREAM, 0, 0x8000_0003, &8_u32.to_be_bytes()));
        let mut frames = Frames::after(Frames::PREFACE.len());
        let seen = events(&mut frames, &[&bytes]);
        let ends: Vec<_> = seen
            .iter()
            .filter_map(|event| match event {
                Event::End(frame, kept) => Some((frame.kind, frame.stream, kept[3])),
                _ => None,
            })
            .collect();
        // The reserved bit of a stream's number is ignored.
        assert_eq!(ends, [(SETTINGS, 0, 0), (RST_STREAM, 3, 8)]);
        assert!(frames.has_begun());
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_split_does_not_matter(
            payloads in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut bytes = Frames::PREFACE.to_vec();
            for (kind, flags, stream, payload) in &payloads {
                bytes.extend(frame(*kind, *flags, *stream, payload));
            }
            let whole = events(&mut Frames::after(Frames::PREFACE.len()), &[&bytes]);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            let split = events(&mut Frames::after(Frames::PREFACE.len()), &pieces);
            let ends = |events: &[Event]| events.iter().filter(|event| matches!(event, Event::End(..))).count();
            prop_assert_eq!(ends(&whole), payloads.len());
            prop_assert_eq!(whole, split);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut count = 0;
            Frames::after(0).read(&bytes, |event| if let Event::Payload(_, more) = event { count += more; });
            prop_assert!(count <= bytes.len());
        }
    }
}
