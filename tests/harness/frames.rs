//! WebSocket frames (RFC 6455 section 5.2), as peers write them and tests read them.

use std::io::{self, Read, Write};

use super::Client;

/// First bytes of unfragmented frames.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

/// First bytes of a binary message's first and last fragment.
pub const BINARY_BEGINS: u8 = 0x02;
pub const MESSAGE_ENDS: u8 = 0x80;

/// The default mask. All its bytes differ, so a shift is noticed.
const MASK: [u8; 4] = [1, 2, 3, 4];

/// The part of a frame before its payload.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub first: u8,
    pub mask: Option<[u8; 4]>,
    /// Length of the payload in bytes.
    pub length: u64,
}

impl Header {
    /// The header on the wire, in the shortest of the three forms.
    pub fn bytes(&self) -> Vec<u8> {
        let bit = if self.mask.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length @ 0..=125), _) => bytes.push(bit | length),
            (_, Ok(length)) => {
                bytes.push(bit | 126);
                bytes.extend(length.to_be_bytes());
            }
            _ => {
                bytes.push(bit | 127);
                bytes.extend(self.length.to_be_bytes());
            }
        }
        bytes.extend(self.mask.into_iter().flatten());
        bytes
    }

    /// Reads a header; the end of the stream is an error.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let [first, second] = exactly(from)?;
        let length = match second & 0x7f {
            126 => u16::from_be_bytes(exactly(from)?).into(),
            127 => u64::from_be_bytes(exactly(from)?),
            short => short.into(),
        };
        let mask = match second & 0x80 {
            0 => None,
            _ => Some(exactly(from)?),
        };
        Ok(Self {
            first,
            mask,
            length,
        })
    }
}

/// A client's frame, masked.
pub fn masked(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked_with(MASK, first, payload)
}

/// The same with another mask.
pub fn masked_with(mask: [u8; 4], first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut payload = payload.as_ref().to_vec();
    let length = payload.len() as u64;
    apply(mask, 0, &mut payload);
    let mask = Some(mask);
    let header = Header {
        first,
        mask,
        length,
    };
    [header.bytes(), payload].concat()
}

/// A server's frame, unmasked.
pub fn plain(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let header = Header {
        first,
        mask: None,
        length: payload.len() as u64,
    };
    [&header.bytes(), payload].concat()
}

/// The payload of a Close frame (RFC 6455 section 5.5.1).
pub fn closing(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// Reads a whole frame: its first byte, and its unmasked payload.
pub fn read(from: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let header = Header::read(from)?;
    let mut payload = vec![0; usize::try_from(header.length).unwrap()];
    from.read_exact(&mut payload)?;
    apply(header.mask.unwrap_or_default(), 0, &mut payload);
    Ok((header.first, payload))
}

/// Sends a text through a tunnel to an upstream that echoes, and reads it back.
#[track_caller]
pub fn echoes(client: &mut Client, text: &str) {
    let back = plain(TEXT, text);
    let came = client.send(masked(TEXT, text)).receive(back.len());
    assert_eq!(came, back);
}

/// Sends every frame of a client back unmasked, in pieces as they arrive, until a Close frame was sent back. An earlier
/// end of the stream is an error.
///
/// # Panics
/// For an unmasked frame, which a proxy must not let through.
pub fn echo(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let header = Header::read(from)?;
        let mask = header.mask.expect("a client masks its frames");
        let mut ready = Header {
            mask: None,
            ..header
        }
        .bytes();
        let mut done = 0;
        while done < header.length {
            let room = usize::try_from(header.length - done).unwrap_or(usize::MAX);
            let room = room.min(buffer.len());
            let count = from.read(&mut buffer[..room])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            apply(mask, done, &mut buffer[..count]);
            ready.extend_from_slice(&buffer[..count]);
            to.write_all(&ready)?;
            ready.clear();
            done += count as u64;
        }
        to.write_all(&ready)?;
        if header.first == CLOSE {
            return Ok(());
        }
    }
}

/// Masks or unmasks a part of a payload, after `done` earlier bytes.
fn apply(mask: [u8; 4], done: u64, bytes: &mut [u8]) {
    let skip = usize::try_from(done % 4).unwrap();
    for (byte, mask) in bytes.iter_mut().zip(mask.iter().cycle().skip(skip)) {
        *byte ^= mask;
    }
}

fn exactly<const COUNT: usize>(from: &mut impl Read) -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn frames_are_written_as_the_rfc_shows_them() {
    // RFC 6455 section 5.7.
    assert_eq!(plain(TEXT, "Hello"), b"\x81\x05Hello");
    assert_eq!(
        masked_with([0x37, 0xfa, 0x21, 0x3d], TEXT, "Hello"),
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
    );
    assert_eq!(plain(BINARY, [0; 256])[..4], *b"\x82\x7e\x01\x00");
    let large = plain(BINARY, vec![0; 65536]);
    assert_eq!(large[..10], *b"\x82\x7f\0\0\0\0\0\x01\0\0");
    assert_eq!(plain(CLOSE, closing(1000, "ok")), b"\x88\x04\x03\xe8ok");
}

/// Gives a few bytes at a time, so a payload is split at other places than the mask.
struct Few<'a>(&'a [u8]);

impl Read for Few<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = buf.len().min(7);
        self.0.read(&mut buf[..count])
    }
}

#[test]
fn an_echo_ends_with_its_close_frame_and_loses_nothing() {
    let payloads = [0, 1, 125, 126, 65535, 65536, 200_000].map(|size| {
        let numbers = (0..251).cycle().take(size);
        numbers.collect::<Vec<u8>>()
    });
    let mut sent: Vec<u8> = Vec::new();
    for payload in &payloads {
        sent.extend(masked(BINARY, payload));
    }
    sent.extend(masked(CLOSE, closing(1001, "away")));
    let mut back = Vec::new();
    echo(&mut Few(&sent), &mut back).unwrap();
    let mut back = &back[..];
    for payload in payloads {
        assert!(read(&mut back).unwrap() == (BINARY, payload));
    }
    assert_eq!(read(&mut back).unwrap(), (CLOSE, closing(1001, "away")));
    assert_eq!(back, b"");
    let cut = &masked(TEXT, "Hello")[..9];
    let error = echo(&mut Few(cut), &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}
