//! Arbitrary streams of frames as RFC 6455 allows them, and arbitrary cuts through them.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{
    CLOSE, CONTINUATION, CONTROL_MAX, Close, Event, Extensions, Header, PING, PONG, Sender,
};

/// How a length is written: in the shortest possible form or in a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    Short,
    Two,
    Eight,
}

/// A frame in parts.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    pub form: Form,
    pub key: Option<[u8; 4]>,
    /// Unmasked.
    pub payload: Vec<u8>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            first,
            form,
            key,
            payload,
        } = self;
        let (length, begin) = (payload.len(), payload.iter().take(16).collect::<Vec<_>>());
        write!(
            f,
            "Frame({first:#04x} {form:?} key {key:02x?} {length} bytes {begin:02x?})"
        )
    }
}

impl Frame {
    pub fn control(opcode: u8, payload: &[u8], key: Option<[u8; 4]>) -> Self {
        Self {
            first: 0x80 | opcode,
            form: Form::Short,
            key,
            payload: payload.to_vec(),
        }
    }

    pub fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    pub fn is_final(&self) -> bool {
        self.first & 0x80 != 0
    }

    pub fn is_data(&self) -> bool {
        self.opcode() < CLOSE
    }

    pub fn header(&self) -> Vec<u8> {
        let length = self.payload.len();
        let least = match length {
            0..=125 => Form::Short,
            126..=0xffff => Form::Two,
            _ => Form::Eight,
        };
        let mask = if self.key.is_some() { 0x80 } else { 0 };
        let mut header = vec![self.first];
        match self.form.max(least) {
            Form::Short => header.push(mask | u8::try_from(length).unwrap()),
            Form::Two => {
                header.push(mask | 126);
                header.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            Form::Eight => {
                header.push(mask | 127);
                header.extend((length as u64).to_be_bytes());
            }
        }
        header.extend(self.key.into_iter().flatten());
        header
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        let key = self.key.unwrap_or_default();
        let masked = self.payload.iter().enumerate();
        bytes.extend(masked.map(|(index, byte)| byte ^ key[index % 4]));
        bytes
    }
}

/// What one peer sends.
#[derive(Clone, Debug)]
pub struct Stream {
    pub sender: Sender,
    pub extensions: Extensions,
    pub frames: Vec<Frame>,
}

/// A frame of a stream with its place in it.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    pub frame: &'a Frame,
    pub start: usize,
    pub header_end: usize,
    pub end: usize,
    /// Payload bytes of its message so far, including this frame; 0 for control frames.
    pub message: u64,
    /// Messages that are complete after it.
    pub messages: u64,
}

impl Stream {
    pub fn bytes(&self) -> Vec<u8> {
        self.frames.iter().flat_map(Frame::bytes).collect()
    }

    pub fn placed(&self) -> Vec<Placed<'_>> {
        let (mut start, mut open, mut messages) = (0, 0, 0);
        let place = |frame: &'_ Frame| {
            let (header, payload) = (frame.header().len(), frame.payload.len());
            if frame.is_data() {
                open += payload as u64;
            }
            let message = if frame.is_data() { open } else { 0 };
            if frame.is_data() && frame.is_final() {
                open = 0;
                messages += 1;
            }
            let placed = (start, start + header, start + header + payload);
            start = placed.2;
            (placed, message, messages)
        };
        let places: Vec<_> = self.frames.iter().map(place).collect();
        let both = self.frames.iter().zip(places);
        both.map(
            |(frame, ((start, header_end, end), message, messages))| Placed {
                frame,
                start,
                header_end,
                end,
                message,
                messages,
            },
        )
        .collect()
    }

    /// The events that a reader must report, and the byte after which it must report them.
    pub fn events(&self) -> Vec<(usize, Event)> {
        let mut events = Vec::new();
        for placed in self.placed() {
            let Placed { frame, message, .. } = placed;
            let header = Header {
                opcode: frame.opcode(),
                is_final: frame.is_final(),
                length: frame.payload.len() as u64,
                message,
            };
            events.push((placed.header_end, Event::Header(header)));
            let end = match (frame.opcode(), frame.payload.as_slice()) {
                (CLOSE, [high, low, reason @ ..]) => Event::Close(Close {
                    code: Some(u16::from_be_bytes([*high, *low])),
                    reason: reason.to_vec(),
                }),
                (CLOSE, _) => Event::Close(Close {
                    code: None,
                    reason: Vec::new(),
                }),
                _ => Event::End,
            };
            events.push((placed.end, end));
        }
        events
    }

    pub fn has_close(&self) -> bool {
        self.frames
            .last()
            .is_some_and(|frame| frame.opcode() == CLOSE)
    }
}

pub fn sender() -> impl Strategy<Value = Sender> {
    prop_oneof![Just(Sender::Client), Just(Sender::Server)]
}

pub fn extensions() -> impl Strategy<Value = Extensions> {
    prop_oneof![
        Just(Extensions::None),
        Just(Extensions::Deflate),
        Just(Extensions::Unknown)
    ]
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        6 => Just(Form::Short),
        1 => Just(Form::Two),
        1 => Just(Form::Eight),
    ]
}

/// Mostly short, and around the lengths at which the form changes.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let filled = |(byte, length)| vec![byte; length];
    prop_oneof![
        30 => vec(any::<u8>(), 0..20),
        6 => (any::<u8>(), 120_usize..132).prop_map(filled),
        1 => (any::<u8>(), 65_530_usize..65_541).prop_map(filled),
    ]
}

fn ping_or_pong() -> impl Strategy<Value = Frame> {
    let payload = prop_oneof![
        4 => vec(any::<u8>(), 0..12),
        1 => vec(any::<u8>(), CONTROL_MAX - 2..=CONTROL_MAX),
    ];
    let opcode = prop_oneof![Just(PING), Just(PONG)];
    (opcode, payload, any::<[u8; 4]>())
        .prop_map(|(opcode, payload, key)| Frame::control(opcode, &payload, Some(key)))
}

fn close() -> impl Strategy<Value = Frame> {
    let worded = (any::<u16>(), vec(any::<u8>(), 0..=CONTROL_MAX - 2));
    let payload = prop_oneof![
        1 => Just(Vec::new()),
        4 => worded.prop_map(|(code, reason)| [&code.to_be_bytes()[..], &reason].concat()),
    ];
    (payload, any::<[u8; 4]>())
        .prop_map(|(payload, key)| Frame::control(CLOSE, &payload, Some(key)))
}

/// A message in fragments, with control frames before each.
fn message() -> impl Strategy<Value = Vec<Frame>> {
    let data = (payload(), form(), any::<[u8; 4]>(), 0_u8..8);
    let fragment = (vec(ping_or_pong(), 0..3), data);
    (1_u8..=2, vec(fragment, 1..5)).prop_map(|(opcode, fragments)| {
        let last = fragments.len() - 1;
        let mut frames = Vec::new();
        for (index, (controls, (payload, form, key, reserved))) in fragments.into_iter().enumerate()
        {
            frames.extend(controls);
            let opcode = if index == 0 { opcode } else { CONTINUATION };
            let is_final = if index == last { 0x80 } else { 0 };
            frames.push(Frame {
                first: is_final | reserved << 4 | opcode,
                form,
                key: Some(key),
                payload,
            });
        }
        frames
    })
}

/// Everything that may be sent: by either side, with each kind of extension, with or without a Close at the end.
pub fn stream() -> impl Strategy<Value = Stream> {
    let messages = vec(message(), 0..6);
    let end = (vec(ping_or_pong(), 0..3), proptest::option::of(close()));
    (sender(), extensions(), messages, end).prop_map(|(sender, extensions, messages, end)| {
        let mut frames = messages.concat();
        frames.extend(end.0);
        frames.extend(end.1);
        for frame in &mut frames {
            if sender == Sender::Server {
                frame.key = None;
            }
            frame.first &= match (extensions, frame.opcode()) {
                (Extensions::Unknown, _) => 0xff,
                (Extensions::Deflate, 1 | 2) => 0xcf,
                _ => 0x8f,
            };
        }
        Stream {
            sender,
            extensions,
            frames,
        }
    })
}

/// Lengths of pieces, to be used in turns.
pub fn cuts() -> impl Strategy<Value = Vec<usize>> {
    let mixed = prop_oneof![1_usize..4, 1_usize..200, 1_usize..16_384];
    prop_oneof![
        1 => Just(vec![1]),
        1 => Just(vec![16_384]),
        4 => vec(1_usize..16, 1..20),
        4 => vec(mixed, 1..20),
    ]
}

/// `bytes` in pieces of these lengths.
pub fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for length in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, others) = rest.split_at(rest.len().min(*length));
        pieces.push(piece);
        rest = others;
    }
    pieces
}
