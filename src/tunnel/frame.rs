//! WebSocket frames (RFC 6455 section 5): a reader of headers as bytes pass, and the few frames that the proxy sends (`sent.rs`).
//!
//! The reader accepts pieces of any size. It keeps only a header (14 bytes at most) and a Close frame's payload (125).

mod sent;

pub use sent::{close, control};

use crate::reason::codes::may_be_sent;

/// Opcode of a continuation frame.
pub const CONTINUATION: u8 = 0x0;
/// Opcode of a Close frame.
pub const CLOSE: u8 = 0x8;
/// Opcode of a Ping frame.
pub const PING: u8 = 0x9;
/// Opcode of a Pong frame.
pub const PONG: u8 = 0xA;

/// What browsers and the records report for a Close frame without a code (RFC 6455 section 7.1.5); never on the wire.
pub const NO_CODE: u16 = 1005;

/// What browsers report for a connection that ended without a Close frame; never on the wire.
pub const ABNORMAL: u16 = 1006;

/// Reserved for a failed TLS handshake (RFC 6455 section 7.4.1); never on the wire.
const TLS_FAILED: u16 = 1015;

/// Longest payload of a control frame (RFC 6455 section 5.5).
pub const CONTROL_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const RSV1: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const MASK: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
/// Most significant bit of an eight-byte length, which must not be set.
const LENGTH_TOP: u8 = 0x80;

/// Longest header: two bytes, a length of eight bytes and a masking key of four.
const HEADER_MAX: usize = 14;

/// Whose frames are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A WebSocket client, which must mask its frames (RFC 6455 section 5.1).
    Client,
    /// A WebSocket server, which must not mask them.
    Server,
}

/// What the agreed extensions allow in a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extensions {
    /// No extension was agreed on: reserved bits and opcodes are errors.
    #[default]
    None,
    /// Only `permessage-deflate`: RSV1 marks the first frame of a compressed message (RFC 7692 section 6).
    Deflate,
    /// An unknown extension, which may give reserved bits and opcodes a meaning.
    Unknown,
}

impl Extensions {
    /// From the extension names in the `Sec-WebSocket-Extensions` of a verified 101.
    pub fn agreed<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names
            .into_iter()
            .fold(Self::None, |known, name| match known {
                Self::None | Self::Deflate if name.eq_ignore_ascii_case("permessage-deflate") => {
                    Self::Deflate
                }
                _ => Self::Unknown,
            })
    }
}

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// One of this module's opcodes, or 1 for text, 2 for binary.
    pub opcode: u8,
    /// Whether it is the last frame of its message.
    pub is_final: bool,
    /// Length of its payload in bytes.
    pub length: u64,
    /// Payload bytes of the message so far, including this frame; 0 for control frames.
    pub message: u64,
}

/// What the reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A complete header; the payload comes next.
    Header(Header),
    /// The end of a frame other than a Close.
    End,
    /// A Close frame.
    Close(Close),
}

/// A Close frame as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Its code; `None` for an empty frame.
    pub code: Option<u16>,
    /// Its reason, unmasked; it should be UTF-8.
    pub reason: Vec<u8>,
}

impl Close {
    /// Whether its code may be on the wire (RFC 6455 section 7.4 and the IANA registry).
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.code.is_none_or(may_be_sent)
    }

    /// Whether browsers accept it as a Close. They fail the connection if the code is one that stands for the absence
    /// of a Close, or if the reason is not UTF-8. They accept all other codes (docs/close-codes.md).
    #[must_use]
    pub fn is_readable(&self) -> bool {
        !matches!(self.code, Some(NO_CODE | ABNORMAL | TLS_FAILED))
            && std::str::from_utf8(&self.reason).is_ok()
    }

    /// The code as browsers report it: 1005 if there is none.
    #[must_use]
    pub fn shown(&self) -> u16 {
        self.code.unwrap_or(NO_CODE)
    }
}

/// Why the bytes are not a valid frame from this sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Reserved bits that no agreed extension uses.
    ReservedBits,
    /// A reserved opcode.
    ReservedOpcode,
    /// A fragmented control frame.
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    LongControl,
    /// A continuation without a message before it.
    LoneContinuation,
    /// A new message before the end of the last one.
    InterruptedMessage,
    /// A client's frame without a mask.
    Unmasked,
    /// A server's frame with a mask.
    Masked,
    /// A length of 2^63 or more.
    Length,
    /// A Close frame with a payload of one byte.
    HalfCode,
}

impl Violation {
    /// In words, for a record's `detail`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bits that no agreed extension uses",
            Self::ReservedOpcode => "a reserved opcode",
            Self::FragmentedControl => "a fragmented control frame",
            Self::LongControl => "a control frame of more than 125 bytes",
            Self::LoneContinuation => "a continuation without a message",
            Self::InterruptedMessage => "a new message inside another",
            Self::Unmasked => "an unmasked frame from a client",
            Self::Masked => "a masked frame from a server",
            Self::Length => "a length of 2^63 or more",
            Self::HalfCode => "a Close frame of one byte",
        }
    }
}

/// Reads the frames of one direction.
#[derive(Debug)]
pub struct Reader {
    sender: Sender,
    extensions: Extensions,
    header: [u8; HEADER_MAX],
    /// How many bytes of the header have arrived.
    have: u8,
    /// Whether the header is complete and its payload is being read.
    in_payload: bool,
    /// Whether a fragmented message is open.
    in_message: bool,
    /// Payload bytes that are still to come.
    left: u64,
    /// Payload bytes of the open message so far.
    message: u64,
    messages: u64,
    /// Payload of the Close frame that is being read.
    #[expect(
        clippy::box_collection,
        reason = "most readers have none, and there are many readers"
    )]
    closing: Option<Box<Vec<u8>>>,
}

impl Reader {
    /// A reader for what `sender` sends after a 101 with these extensions.
    #[must_use]
    pub fn new(sender: Sender, extensions: Extensions) -> Self {
        Self {
            sender,
            extensions,
            header: [0; HEADER_MAX],
            have: 0,
            in_payload: false,
            in_message: false,
            left: 0,
            message: 0,
            messages: 0,
            closing: None,
        }
    }

    /// Whose frames it reads.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender
    }

    /// Whether the bytes so far end at the end of a frame.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.have == 0
    }

    /// The part of the current header that has arrived.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        self.header
            .get(..usize::from(self.have))
            .unwrap_or_default()
    }

    /// How many data messages are complete.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Reads up to the end of the next event; returns how many bytes that took. Without an event it has taken all
    /// bytes.
    ///
    /// Call it until it returns no event, even if no bytes are left: an empty payload ends at once.
    ///
    ///  # Errors
    /// The violation, at the first byte that shows it. The reader can't be used after that.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(usize, Option<Event>), Violation> {
        if self.in_payload {
            return Ok(self.payload(bytes));
        }
        for (index, &byte) in bytes.iter().enumerate() {
            if let Some(place) = self.header.get_mut(usize::from(self.have)) {
                *place = byte;
            }
            self.have += 1;
            self.check()?;
            if self.have >= 2 && self.have == self.header_length() {
                let header = self.complete();
                return Ok((index + 1, Some(Event::Header(header))));
            }
        }
        Ok((bytes.len(), None))
    }

    fn payload(&mut self, bytes: &[u8]) -> (usize, Option<Event>) {
        let count = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let is_close = self.opcode() == CLOSE;
        if is_close {
            // At most 125 bytes: the header was checked.
            let closing = self.closing.get_or_insert_default();
            closing.extend(bytes.iter().take(count));
        }
        self.left -= count as u64;
        if self.left > 0 {
            return (count, None);
        }
        self.in_payload = false;
        self.have = 0;
        if is_close {
            return (count, Some(Event::Close(self.close())));
        }
        if matches!(self.opcode(), 0..=2) && !self.in_message {
            self.messages += 1;
        }
        (count, Some(Event::End))
    }

    fn opcode(&self) -> u8 {
        self.header[0] & OPCODE
    }

    fn is_control(&self) -> bool {
        self.opcode() >= CLOSE
    }

    /// Checks the newest byte of the header, if it can be checked on its own.
    fn check(&self) -> Result<(), Violation> {
        match self.have {
            1 => self.check_first(),
            2 => self.check_second(),
            3 if self.header[1] & LENGTH == LENGTH_64 && self.header[2] & LENGTH_TOP != 0 => {
                Err(Violation::Length)
            }
            _ => Ok(()),
        }
    }

    fn check_first(&self) -> Result<(), Violation> {
        let (first, opcode) = (self.header[0], self.opcode());
        let is_known = matches!(opcode, 0..=2 | CLOSE..=PONG);
        if self.extensions != Extensions::Unknown {
            let begins = matches!(opcode, 1 | 2);
            let allowed = match self.extensions {
                Extensions::Deflate if begins => RSV1,
                _ => 0,
            };
            if !is_known {
                return Err(Violation::ReservedOpcode);
            }
            if first & RESERVED & !allowed != 0 {
                return Err(Violation::ReservedBits);
            }
        }
        if self.is_control() {
            return match first & FIN {
                0 => Err(Violation::FragmentedControl),
                _ => Ok(()),
            };
        }
        match (opcode, self.in_message) {
            (CONTINUATION, false) => Err(Violation::LoneContinuation),
            (1 | 2, true) => Err(Violation::InterruptedMessage),
            _ => Ok(()),
        }
    }

    fn check_second(&self) -> Result<(), Violation> {
        let second = self.header[1];
        match (self.sender, second & MASK) {
            (Sender::Client, 0) => return Err(Violation::Unmasked),
            (Sender::Client, _) | (Sender::Server, 0) => {}
            (Sender::Server, _) => return Err(Violation::Masked),
        }
        if self.is_control() && usize::from(second & LENGTH) > CONTROL_MAX {
            return Err(Violation::LongControl);
        }
        if self.opcode() == CLOSE && second & LENGTH == 1 {
            return Err(Violation::HalfCode);
        }
        Ok(())
    }

    /// The length of the header; needs its first two bytes.
    fn header_length(&self) -> u8 {
        let length = match self.header[1] & LENGTH {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            _ => 0,
        };
        let key = if self.sender == Sender::Client { 4 } else { 0 };
        2 + length + key
    }

    fn complete(&mut self) -> Header {
        let [_, second, rest @ ..] = self.header;
        let [a, b, c, d, e, f, g, h, ..] = rest;
        let length = match second & LENGTH {
            LENGTH_16 => u64::from(u16::from_be_bytes([a, b])),
            LENGTH_64 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        };
        self.left = length;
        self.in_payload = true;
        let is_final = self.header[0] & FIN != 0;
        let mut message = 0;
        // An unknown extension's opcode does not belong to a message.
        if matches!(self.opcode(), 0..=2) {
            let before = if self.in_message { self.message } else { 0 };
            message = before.saturating_add(length);
            self.message = message;
            self.in_message = !is_final;
        }
        Header {
            opcode: self.opcode(),
            is_final,
            length,
            message,
        }
    }

    fn close(&mut self) -> Close {
        let mut payload = self
            .closing
            .take()
            .map_or_else(Vec::new, |closing| *closing);
        if self.sender == Sender::Client {
            // The length of a control frame takes one byte, so its masking key starts at the third.
            let [_, _, a, b, c, d, ..] = self.header;
            mask(&mut payload, [a, b, c, d]);
        }
        match *payload.as_slice() {
            [high, low, ref reason @ ..] => Close {
                code: Some(u16::from_be_bytes([high, low])),
                reason: reason.to_vec(),
            },
            // Empty: the header's check rejected a length of one byte.
            _ => Close {
                code: None,
                reason: Vec::new(),
            },
        }
    }
}

/// Masks or unmasks a whole payload (RFC 6455 section 5.3).
pub fn mask(payload: &mut [u8], key: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
pub(super) mod tests;
