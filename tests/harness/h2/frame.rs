//! Frames on the wire (RFC 9113 section 4).

use std::fmt;
use std::io::{self, Read};

use super::hpack::{Decoder, Pair};

/// Types of frames.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

const NAMES: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];

/// Flags of frames.
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITY: u8 = 32;

/// Settings.
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// A frame as received. A header block in several frames is one HEADERS frame here.
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    /// Without padding and priority.
    pub payload: Vec<u8>,
    /// The length of the payload on the wire, which flow control counts.
    pub size: usize,
    /// The fields of HEADERS.
    pub fields: Vec<Pair>,
}

impl Frame {
    /// Reads a frame, and the CONTINUATION frames that belong to it.
    pub fn read(from: &mut impl Read, decoder: &mut Decoder) -> io::Result<Self> {
        let mut frame = Self::read_one(from)?;
        if frame.kind == HEADERS {
            while !frame.has(END_HEADERS) {
                let next = Self::read_one(from)?;
                let expected = (CONTINUATION, frame.stream);
                assert_eq!(
                    (next.kind, next.stream),
                    expected,
                    "{frame:?}, then {next:?}"
                );
                frame.flags |= next.flags & END_HEADERS;
                frame.payload.extend(next.payload);
            }
            frame.fields = decoder.decode(&frame.payload);
        }
        Ok(frame)
    }

    fn read_one(from: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; 9];
        from.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let size = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
        let mut payload = vec![0; size];
        from.read_exact(&mut payload)?;
        if [DATA, HEADERS].contains(&kind) && flags & PADDED != 0 {
            let padding = usize::from(payload.remove(0));
            payload.truncate(payload.len() - padding);
        }
        if kind == HEADERS && flags & PRIORITY != 0 {
            payload.drain(..5);
        }
        Ok(Self {
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
            payload,
            size,
            fields: Vec::new(),
        })
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The number of four bytes at a place of the payload.
    pub fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The settings of SETTINGS.
    pub fn settings(&self) -> impl Iterator<Item = (u16, u32)> {
        self.payload.chunks(6).map(|setting| {
            let id = u16::from_be_bytes(setting[..2].try_into().unwrap());
            (id, u32::from_be_bytes(setting[2..].try_into().unwrap()))
        })
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.get(usize::from(self.kind)).unwrap_or(&"unknown");
        write!(f, "{name} of stream {} ({:#x})", self.stream, self.flags)?;
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        for (name, value) in &self.fields {
            write!(f, " {}: {};", text(name), text(value))?;
        }
        if self.fields.is_empty() {
            write!(f, " {}", text(&self.payload[..self.payload.len().min(200)]))?;
        }
        Ok(())
    }
}

/// Any frame on the wire.
pub fn bytes(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    assert_eq!(length[0], 0, "a length has three bytes");
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// The payload of SETTINGS.
pub fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let written = settings
        .iter()
        .map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    written.collect::<Vec<_>>().concat()
}
