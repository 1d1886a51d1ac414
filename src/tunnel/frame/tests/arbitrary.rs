//! Tests the reader with arbitrary streams, and against another implementation's parser.

use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

use super::streams::{cut, cuts, extensions, sender, stream};
use super::*;

/// A frame as the other implementation reads it: its header, the header's length, and the unmasked payload.
fn parsed(bytes: &[u8]) -> (FrameHeader, usize, Vec<u8>) {
    let mut cursor = Cursor::new(bytes);
    let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
    let begin = usize::try_from(cursor.position()).unwrap();
    let end = begin + usize::try_from(length).unwrap();
    let mut payload = bytes[begin..end].to_vec();
    let key = header.mask.unwrap_or_default();
    for (index, byte) in payload.iter_mut().enumerate() {
        *byte ^= key[index % 4];
    }
    (header, begin, payload)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Events, places and counts do not depend on how the stream is cut.
    #[test]
    fn the_reader_says_what_was_sent_for_any_cut(stream in stream(), cuts in cuts()) {
        let bytes = stream.bytes();
        for pieces in [vec![&bytes[..]], cut(&bytes, &cuts)] {
            let mut reader = Reader::new(stream.sender, stream.extensions);
            let (events, found) = read(&mut reader, &pieces);
            prop_assert_eq!(found, None);
            prop_assert_eq!(&events, &stream.events());
            prop_assert!(reader.at_boundary());
            let messages = stream.placed().last().map_or(0, |last| last.messages);
            prop_assert_eq!(reader.messages(), messages);
        }
    }

    /// The other implementation's parser sees the same frames at the same places.
    #[test]
    fn the_reader_agrees_with_tungstenite(stream in stream()) {
        let bytes = stream.bytes();
        let mut reader = Reader::new(stream.sender, stream.extensions);
        let (mut at, mut messages) = (0, 0);
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (theirs, header_length, payload) = parsed(rest);
            let (count, event) = reader.read(rest).unwrap();
            let Some(Event::Header(ours)) = event else {
                return Err(TestCaseError::fail(format!("{event:?}")));
            };
            prop_assert_eq!(count, header_length);
            prop_assert_eq!(ours.opcode, u8::from(theirs.opcode));
            prop_assert_eq!(ours.is_final, theirs.is_final);
            prop_assert_eq!(ours.length, payload.len() as u64);
            prop_assert_eq!(stream.sender == Sender::Client, theirs.mask.is_some());
            if ours.opcode < CLOSE && theirs.is_final {
                messages += 1;
            }
            let (count, event) = reader.read(&rest[header_length..]).unwrap();
            prop_assert_eq!(count, payload.len());
            if let Some(Event::Close(close)) = event {
                let code = close.code.map(u16::to_be_bytes);
                let shown: Vec<_> = code.into_iter().flatten().chain(close.reason).collect();
                prop_assert_eq!(shown, payload);
            } else {
                prop_assert_eq!(event, Some(Event::End));
            }
            prop_assert_eq!(reader.messages(), messages);
            at += header_length + count;
        }
    }

    /// Both parsers can read what the proxy writes.
    #[test]
    fn own_frames_are_read_back(
        opcode in CLOSE..=PONG,
        payload in vec(any::<u8>(), 0..200),
        key in proptest::option::of(any::<[u8; 4]>()),
    ) {
        // No caller writes half a code.
        prop_assume!(opcode != CLOSE || payload.len() != 1);
        let bytes = control(opcode, &payload, key);
        let payload = &payload[..payload.len().min(CONTROL_MAX)];
        let (header, header_length, shown) = parsed(&bytes);
        prop_assert_eq!(u8::from(header.opcode), opcode);
        prop_assert_eq!((header.is_final, header.rsv1 | header.rsv2 | header.rsv3), (true, false));
        prop_assert_eq!(header.mask, key);
        prop_assert_eq!(&shown[..], payload);
        prop_assert_eq!(header_length + payload.len(), bytes.len());

        let sender = key.map_or(Sender::Server, |_| Sender::Client);
        let (events, found) = read(&mut Reader::new(sender, Extensions::None), &[&bytes]);
        prop_assert_eq!(found, None);
        prop_assert_eq!(events.len(), 2);
        if let Some((_, Event::Close(close))) = events.last() {
            let code = close.code.map(u16::to_be_bytes);
            let shown: Vec<_> = code.into_iter().flatten().chain(close.reason.clone()).collect();
            prop_assert_eq!(&shown[..], payload);
        }
    }

    /// The proxy's own Close frames have the right code and reason.
    #[test]
    fn own_closes_are_read_back(
        code in (0_u16..5000).prop_filter("a code that may be sent", |code| may_be_sent(*code)),
        reason in "[a-z_]{0,40}",
        key in proptest::option::of(any::<[u8; 4]>()),
    ) {
        let bytes = close(code, &reason, key);
        let sender = key.map_or(Sender::Server, |_| Sender::Client);
        let (events, _) = read(&mut Reader::new(sender, Extensions::None), &[&bytes]);
        let reason = reason.into_bytes();
        let expected = Event::Close(Close { code: Some(code), reason });
        prop_assert_eq!(events.last(), Some(&(bytes.len(), expected)));
    }

    /// Arbitrary bytes in arbitrary pieces give the same events and the same violation.
    #[test]
    fn garbage_is_read_alike_for_any_cut(
        sender in sender(),
        extensions in extensions(),
        stream in stream(),
        garbage in vec(any::<u8>(), 0..200),
        cuts in cuts(),
    ) {
        // Also after valid frames, so that the reader has some state.
        for valid in [Vec::new(), stream.bytes()] {
            let bytes = [valid, garbage.clone()].concat();
            let (at_once, fault) = read(&mut Reader::new(sender, extensions), &[&bytes]);
            let (in_pieces, same) =
                read(&mut Reader::new(sender, extensions), &cut(&bytes, &cuts));
            prop_assert_eq!(at_once, in_pieces);
            prop_assert_eq!(fault.map(|(_, fault)| fault), same.map(|(_, fault)| fault));
        }
    }
}
