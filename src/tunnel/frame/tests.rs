//! Tests the reader with tables.

mod arbitrary;
pub mod streams;

use super::*;
use streams::{Form, Frame};

const KEY: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// The events, each with the number of bytes before its end.
type Events = Vec<(usize, Event)>;

/// Reads all pieces. A violation comes with the number of bytes that had been read completely.
fn read(reader: &mut Reader, pieces: &[&[u8]]) -> (Events, Option<(usize, Violation)>) {
    let mut events = Vec::new();
    let mut offset = 0;
    for piece in pieces {
        let mut at = 0;
        loop {
            match reader.read(&piece[at..]) {
                Ok((count, event)) => {
                    assert!(count > 0 || event.is_some() || at == piece.len(), "stuck");
                    at += count;
                    let Some(event) = event else { break };
                    events.push((offset + at, event));
                }
                Err(violation) => return (events, Some((offset + at, violation))),
            }
        }
        assert_eq!(at, piece.len());
        offset += at;
    }
    (events, None)
}

fn bytewise(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.chunks(1).collect()
}

/// The violation, and the index of the byte that showed it.
fn wrong(sender: Sender, extensions: Extensions, bytes: &[u8]) -> Option<(usize, Violation)> {
    let (_, one_by_one) = read(&mut Reader::new(sender, extensions), &bytewise(bytes));
    let (_, at_once) = read(&mut Reader::new(sender, extensions), &[bytes]);
    let kind = |found: Option<(usize, Violation)>| found.map(|(_, violation)| violation);
    assert_eq!(kind(one_by_one), kind(at_once), "{bytes:02x?}");
    one_by_one
}

/// Sender, extensions, the bytes before the frame, the frame, and the violation with the place where it shows.
type Case = (
    Sender,
    &'static [Extensions],
    &'static [u8],
    &'static [u8],
    Option<(usize, Violation)>,
);

#[test]
fn violations_show_at_the_first_byte_that_is_wrong() {
    use Extensions::{Deflate, None as Plain, Unknown};
    use Sender::{Client, Server};
    use Violation as V;
    let all = &[Plain, Deflate, Unknown][..];
    let known = &[Plain, Deflate][..];
    let unknown = &[Unknown][..];
    let cases: &[Case] = &[
        // RFC 6455 section 5.2: reserved bits.
        (Server, known, &[], &[0xa1, 0], Some((0, V::ReservedBits))),
        (Server, known, &[], &[0x91, 0], Some((0, V::ReservedBits))),
        (Server, known, &[], &[0xf2, 0], Some((0, V::ReservedBits))),
        (Server, unknown, &[], &[0xf1, 0], None),
        (
            Server,
            &[Plain],
            &[],
            &[0xc1, 0],
            Some((0, V::ReservedBits)),
        ),
        (
            Server,
            &[Plain],
            &[],
            &[0x42, 0],
            Some((0, V::ReservedBits)),
        ),
        (Server, &[Deflate, Unknown], &[], &[0xc1, 0], None),
        (Server, &[Deflate, Unknown], &[], &[0x42, 0], None),
        // RFC 7692 section 6: RSV1 may be set only on the first frame of a message.
        (
            Server,
            known,
            &[1, 0],
            &[0xc0, 0],
            Some((0, V::ReservedBits)),
        ),
        (Server, known, &[], &[0xc9, 0], Some((0, V::ReservedBits))),
        (Server, known, &[], &[0xca, 0], Some((0, V::ReservedBits))),
        (Server, known, &[], &[0xc8, 0], Some((0, V::ReservedBits))),
        (Server, unknown, &[1, 0], &[0xc0, 0], None),
        (Server, unknown, &[], &[0xc9, 0], None),
        // Reserved opcodes.
        (Server, known, &[], &[0x83, 0], Some((0, V::ReservedOpcode))),
        (Server, known, &[], &[0x07, 0], Some((0, V::ReservedOpcode))),
        (Server, known, &[], &[0x8b, 0], Some((0, V::ReservedOpcode))),
        (Server, known, &[], &[0xff, 0], Some((0, V::ReservedOpcode))),
        (Server, unknown, &[], &[0x83, 0], None),
        (Server, unknown, &[], &[0x8f, 0], None),
        // An unknown extension's control frames follow the rules for control frames.
        (
            Server,
            unknown,
            &[],
            &[0x0b, 0],
            Some((0, V::FragmentedControl)),
        ),
        (
            Server,
            unknown,
            &[],
            &[0x8b, 126],
            Some((1, V::LongControl)),
        ),
        // RFC 6455 section 5.5: control frames are not fragmented and are short.
        (
            Server,
            all,
            &[],
            &[0x08, 0],
            Some((0, V::FragmentedControl)),
        ),
        (
            Server,
            all,
            &[],
            &[0x09, 0],
            Some((0, V::FragmentedControl)),
        ),
        (
            Server,
            all,
            &[],
            &[0x0a, 0],
            Some((0, V::FragmentedControl)),
        ),
        (Server, all, &[], &[0x88, 126], Some((1, V::LongControl))),
        (Server, all, &[], &[0x89, 126], Some((1, V::LongControl))),
        (Server, all, &[], &[0x8a, 127], Some((1, V::LongControl))),
        (Client, all, &[], &[0x8a, 0xfe], Some((1, V::LongControl))),
        // Section 5.4: fragments.
        (Server, all, &[], &[0x00, 0], Some((0, V::LoneContinuation))),
        (Server, all, &[], &[0x80, 0], Some((0, V::LoneContinuation))),
        (
            Server,
            all,
            &[0x82, 0],
            &[0x80, 0],
            Some((0, V::LoneContinuation)),
        ),
        (
            Server,
            all,
            &[1, 0, 0x80, 0],
            &[0x80, 0],
            Some((0, V::LoneContinuation)),
        ),
        (
            Server,
            all,
            &[1, 0],
            &[0x81, 0],
            Some((0, V::InterruptedMessage)),
        ),
        (
            Server,
            all,
            &[1, 0, 0, 0],
            &[0x02, 0],
            Some((0, V::InterruptedMessage)),
        ),
        (Server, all, &[1, 0], &[0x89, 0], None),
        (Server, all, &[1, 0, 0x8a, 0], &[0x80, 0], None),
        // Section 5.1: masks.
        (Client, all, &[], &[0x81, 0x00], Some((1, V::Unmasked))),
        (Client, all, &[], &[0x8a, 0x08], Some((1, V::Unmasked))),
        (Client, all, &[], &[0x88, 0x7f], Some((1, V::Unmasked))),
        (Server, all, &[], &[0x81, 0x80], Some((1, V::Masked))),
        (Server, all, &[], &[0x89, 0xfe], Some((1, V::Masked))),
        // Section 5.2: the most significant bit of a long length is 0.
        (
            Server,
            all,
            &[],
            &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            Some((2, V::Length)),
        ),
        (
            Client,
            all,
            &[],
            &[0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            Some((2, V::Length)),
        ),
        (
            Server,
            all,
            &[],
            &[0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255],
            None,
        ),
        (Server, all, &[], &[0x82, 126, 0xff, 0xff], None),
        // Section 5.5.1: a Close has a code of two bytes or is empty.
        (Server, all, &[], &[0x88, 1, 3], Some((1, V::HalfCode))),
        (
            Client,
            all,
            &[],
            &[0x88, 0x81, 1, 2, 3, 4, 3],
            Some((1, V::HalfCode)),
        ),
        (Server, all, &[], &[0x88, 0], None),
        (Server, all, &[], &[0x88, 2, 3, 0xe8], None),
        (Server, all, &[], &[0x89, 1, 3], None),
    ];
    for (sender, extensions, before, frame, expected) in cases {
        for extensions in *extensions {
            let bytes = [*before, *frame].concat();
            let expected = expected.map(|(at, violation)| (before.len() + at, violation));
            let found = wrong(*sender, *extensions, &bytes);
            assert_eq!(found, expected, "{sender:?} {extensions:?} {bytes:02x?}");
        }
    }
}

#[test]
fn every_violation_has_words_of_its_own() {
    use Violation::*;
    let all = [
        ReservedBits,
        ReservedOpcode,
        FragmentedControl,
        LongControl,
        LoneContinuation,
        InterruptedMessage,
        Unmasked,
        Masked,
        Length,
        HalfCode,
    ];
    let words: std::collections::BTreeSet<_> = all.map(Violation::words).into();
    assert_eq!(words.len(), all.len());
}

#[test]
fn lengths_are_read_in_all_forms() {
    // Longer forms than necessary violate section 5.2, but they harm nobody, so they pass.
    for (length, form) in [
        (0, Form::Short),
        (0, Form::Two),
        (0, Form::Eight),
        (1, Form::Two),
        (125, Form::Short),
        (125, Form::Two),
        (125, Form::Eight),
        (126, Form::Two),
        (126, Form::Eight),
        (127, Form::Two),
        (65_535, Form::Two),
        (65_535, Form::Eight),
        (65_536, Form::Eight),
    ] {
        for key in [None, Some(KEY)] {
            let frame = Frame {
                first: 0x82,
                form,
                key,
                payload: vec![7; length],
            };
            let sender = key.map_or(Sender::Server, |_| Sender::Client);
            let bytes = frame.bytes();
            for pieces in [vec![&bytes[..]], bytewise(&bytes)] {
                let mut reader = Reader::new(sender, Extensions::None);
                let (events, found) = read(&mut reader, &pieces);
                let header = Header {
                    opcode: 2,
                    is_final: true,
                    length: length as u64,
                    message: length as u64,
                };
                let ends = (frame.header().len(), bytes.len());
                let expected = [(ends.0, Event::Header(header)), (ends.1, Event::End)];
                assert_eq!((&events[..], found), (&expected[..], None), "{frame:?}");
                assert!(reader.at_boundary());
                assert_eq!(reader.messages(), 1);
            }
        }
    }
}

#[test]
fn the_longest_frames_are_counted_without_overflow() {
    let mut reader = Reader::new(Sender::Server, Extensions::None);
    let most = i64::MAX.unsigned_abs();
    for (first, message) in [(0x02, most), (0x00, most + most), (0x80, u64::MAX)] {
        let header = [&[first, 127][..], &most.to_be_bytes()].concat();
        let (_, event) = reader.read(&header).unwrap();
        let Some(Event::Header(header)) = event else {
            panic!("{event:?}")
        };
        assert_eq!((header.length, header.message), (most, message));
        assert!(!reader.at_boundary());
        reader.left = 0;
        assert_eq!(reader.read(&[]), Ok((0, Some(Event::End))));
    }
    assert_eq!(reader.messages(), 1);
}

#[test]
fn messages_are_counted_when_they_are_whole() {
    let mut reader = Reader::new(Sender::Server, Extensions::None);
    for (bytes, messages, at_boundary) in [
        (&[][..], 0, true),
        (&[0x81], 0, false),
        (&[0x01], 0, false),
        (b"a", 1, true),
        (&[0x02, 0], 1, true),
        (&[0x89, 1, 0], 1, true),
        (&[0x00, 2, 0], 1, false),
        (&[0], 1, true),
        (&[0x80, 0], 2, true),
        (&[0x8a, 0], 2, true),
        (&[0x82, 0, 0x81, 0, 0x01], 4, false),
        (&[0, 0x80], 4, false),
        (&[0], 5, true),
        (&[0x88, 0], 5, true),
    ] {
        assert_eq!(read(&mut reader, &[bytes]).1, None);
        assert_eq!(
            (reader.messages(), reader.at_boundary()),
            (messages, at_boundary),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn close_frames_are_read_from_both_senders() {
    let long = [b'x'; CONTROL_MAX - 2];
    for (payload, code, reason) in [
        (&b""[..], None, &b""[..]),
        (b"\x03\xe8", Some(1000), b""),
        (b"\x03\xe9bye", Some(1001), b"bye"),
        (b"\x0f\xa0\xff\xfe", Some(4000), b"\xff\xfe"),
        (b"\0\0", Some(0), b""),
        (&[&b"\xff\xff"[..], &long].concat(), Some(65_535), &long),
    ] {
        for key in [None, Some(KEY), Some([0; 4])] {
            let sender = key.map_or(Sender::Server, |_| Sender::Client);
            let bytes = Frame::control(CLOSE, payload, key).bytes();
            let close = Close {
                code,
                reason: reason.to_vec(),
            };
            for pieces in [vec![&bytes[..]], bytewise(&bytes)] {
                let mut reader = Reader::new(sender, Extensions::None);
                let (events, found) = read(&mut reader, &pieces);
                let expected = (bytes.len(), Event::Close(close.clone()));
                assert_eq!(
                    (events.last(), found),
                    (Some(&expected), None),
                    "{bytes:02x?}"
                );
                assert!(reader.at_boundary());
            }
        }
    }
}

#[test]
fn codes_that_may_be_sent() {
    for (codes, may) in [
        (0..=999, false),
        (1000..=1003, true),
        (1004..=1006, false),
        (1007..=1014, true),
        (1015..=2999, false),
        (3000..=4999, true),
        (5000..=u16::MAX, false),
    ] {
        for code in codes {
            assert_eq!(may_be_sent(code), may, "{code}");
            let close = Close {
                code: Some(code),
                reason: Vec::new(),
            };
            assert_eq!(close.is_allowed(), may, "{code}");
            assert_eq!(close.shown(), code);
        }
    }
}

#[test]
fn closes_that_browsers_can_read() {
    for (code, reason, is_readable) in [
        (None, &b""[..], true),
        (Some(1000), b"", true),
        (Some(0), b"", true),
        (Some(1004), b"", true),
        (Some(1005), b"", false),
        (Some(1006), b"", false),
        (Some(1014), b"", true),
        (Some(1015), b"", false),
        (Some(65_535), b"", true),
        (Some(1000), "gr\u{fc}n".as_bytes(), true),
        (Some(1000), b"\xff", false),
        (Some(1000), b"cut \xe2\x82", false),
    ] {
        let reason = reason.to_vec();
        let close = Close { code, reason };
        assert_eq!(close.is_readable(), is_readable, "{close:?}");
    }
    let empty = Close {
        code: None,
        reason: Vec::new(),
    };
    assert!(empty.is_allowed());
    assert_eq!(empty.shown(), NO_CODE);
}

#[test]
fn extensions_are_known_by_name() {
    for (names, expected) in [
        (&[][..], Extensions::None),
        (&["permessage-deflate"], Extensions::Deflate),
        (&["Permessage-DEFLATE"], Extensions::Deflate),
        (
            &["permessage-deflate", "permessage-deflate"],
            Extensions::Deflate,
        ),
        (&["x-other"], Extensions::Unknown),
        (&["permessage-deflate", "x-other"], Extensions::Unknown),
        (&["x-other", "permessage-deflate"], Extensions::Unknown),
        (&["permessage-deflate2"], Extensions::Unknown),
    ] {
        assert_eq!(
            Extensions::agreed(names.iter().copied()),
            expected,
            "{names:?}"
        );
    }
}

#[test]
fn control_frames_are_written_as_the_rfc_shows_them() {
    // RFC 6455 section 5.7 has both Pongs.
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let masked = [
        0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(control(PONG, b"Hello", Some(key)), masked);
    assert_eq!(control(PONG, b"Hello", None), b"\x8a\x05Hello");
    assert_eq!(control(PING, b"", None), [0x89, 0]);
    assert_eq!(close(1001, "bye", None), b"\x88\x05\x03\xe9bye");
    // What does not fit is cut off.
    for length in [124, 125, 126, 300] {
        let frame = control(PING, &vec![1; length], None);
        let kept = length.min(CONTROL_MAX);
        assert_eq!((frame.len(), usize::from(frame[1])), (2 + kept, kept));
    }
    assert_eq!(
        close(1000, &"x".repeat(200), Some(KEY)).len(),
        2 + 4 + CONTROL_MAX
    );
}
