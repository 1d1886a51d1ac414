//! The answer to the proxy's own Ping, frames that only look like it, and arbitrary events in any order.

use super::*;

/// A frame that could be taken for the answer to a Ping with `tag`.
fn look_alike(which: u8, tag: [u8; TAG], key: [u8; 4]) -> Frame {
    let mut other = tag;
    other[usize::from(which) % TAG] ^= 1 << (which % 8);
    let (opcode, payload) = match which % 6 {
        0 => (PING, &tag[..]),
        1 => (PONG, &tag[..TAG - 1]),
        2 => (PONG, &[&tag[..], b"x"].concat()[..]),
        3 => (PONG, &[][..]),
        _ => (PONG, &other[..]),
    };
    Frame::control(opcode, payload, Some(key))
}

/// What can happen to a direction.
#[derive(Clone, Debug)]
enum Act {
    Bytes(Vec<u8>),
    Ping,
    WantClose,
    GiveUp,
    End,
    Break,
    /// The other side's connection breaks.
    BreakOther,
}

fn act() -> impl Strategy<Value = Act> {
    let tags = prop_oneof![Just([0; TAG]), any::<[u8; TAG]>()];
    let alike = (any::<u8>(), tags, any::<[u8; 4]>());
    // Beginnings of valid and invalid frames.
    let first = prop_oneof![
        Just(0x8a_u8),
        Just(0x81),
        Just(0x01),
        Just(0x80),
        Just(0x88),
        any::<u8>()
    ];
    let second = prop_oneof![
        Just(0x80_u8),
        Just(0x84),
        Just(0x88),
        Just(0xfe),
        any::<u8>()
    ];
    let begin = (first, second, vec(any::<u8>(), 0..24));
    prop_oneof![
        6 => begin.prop_map(|(a, b, rest)| Act::Bytes([&[a, b][..], &rest].concat())),
        6 => alike.prop_map(|(which, tag, key)| Act::Bytes(look_alike(which, tag, key).bytes())),
        3 => any::<[u8; 4]>()
            .prop_map(|key| Act::Bytes(Frame::control(PONG, &[0; TAG], Some(key)).bytes())),
        3 => vec(any::<u8>(), 1..40).prop_map(Act::Bytes),
        2 => Just(Act::Ping),
        1 => Just(Act::WantClose),
        1 => Just(Act::GiveUp),
        1 => Just(Act::End),
        1 => Just(Act::Break),
        1 => Just(Act::BreakOther),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    /// The answer, and only the answer, does not reach the other side.
    #[test]
    fn only_the_answer_is_swallowed(
        stream in stream(),
        alikes in vec((any::<Index>(), any::<u8>(), any::<[u8; 4]>()), 0..4),
        answer in any::<Index>(),
        again in proptest::option::of(any::<Index>()),
        pinged in any::<Index>(),
        tag: [u8; TAG],
        key: [u8; 4],
        cuts in cuts(),
    ) {
        let mut stream = Stream { sender: Sender::Client, ..stream };
        for frame in &mut stream.frames {
            frame.key.get_or_insert(key);
        }
        let answers = Frame::control(PONG, &tag, Some(key));
        let close = usize::from(stream.has_close());
        let mut insert = |place: Index, frame| {
            let count = stream.frames.len() - close;
            stream.frames.insert(place.index(count + 1), frame);
        };
        for (place, which, key) in alikes {
            insert(place, look_alike(which, tag, key));
        }
        insert(answer, answers.clone());
        if let Some(again) = again {
            insert(again, answers.clone());
        }

        let bytes = stream.bytes();
        let pieces = cut(&bytes, &cuts);
        let pinged = pinged.index(pieces.len());
        let mut direction = Direction::of(&stream);
        for piece in &pieces[..pinged] {
            direction.feed(piece);
        }
        let asked = direction.fed.len();
        direction.from.expect(Some(tag));
        for piece in &pieces[pinged..] {
            direction.feed(piece);
        }
        direction.end();

        // A Pong that was under way before the Ping was sent is not its answer, and neither is a second one.
        let placed = stream.placed();
        let swallowed = placed.iter().find(|placed| *placed.frame == answers && placed.start >= asked);
        let expected = match swallowed {
            Some(pong) => [&bytes[..pong.start], &bytes[pong.end..]].concat(),
            None => bytes.clone(),
        };
        prop_assert_eq!(&direction.out, &expected);
        prop_assert_eq!(direction.from.pongs, u32::from(swallowed.is_some()));
        prop_assert_eq!(direction.from.tag().is_none(), swallowed.is_some());
    }

    /// In any order of events there is no panic, nothing grows, and no frame is put inside another.
    #[test]
    fn nothing_breaks_a_frame_or_grows(
        sender in sender(),
        is_deflate: bool,
        largest in proptest::option::of(0_u64..30),
        acts in vec(act(), 0..30),
        cuts in cuts(),
    ) {
        let extensions = if is_deflate { Extensions::Deflate } else { Extensions::None };
        let mut direction = Direction::new(sender, extensions);
        direction.largest = largest;
        let is_over = |direction: &Direction| direction.from.over.is_some();
        for act in acts {
            match act {
                Act::Bytes(bytes) => direction.feed_all(&bytes, &cuts),
                Act::Ping if direction.from.tag().is_none() => direction.from.expect(Some([0; TAG])),
                Act::Ping => {}
                Act::WantClose => direction.want_close(),
                Act::GiveUp if !is_over(&direction) => direction.from.give_up(),
                Act::End => direction.end(),
                Act::Break if !is_over(&direction) => {
                    direction.step(Some(Err(io::ErrorKind::ConnectionReset.into())));
                }
                Act::GiveUp | Act::Break => {}
                Act::BreakOther => {
                    // The peer is still read because it has to answer a Close.
                    direction.from.told.get_or_insert_with(|| Box::new(Told {
                        code: None,
                        is_ours: true,
                        is_readable: true,
                        delivered: None,
                    }));
                    direction.to.break_off(None);
                }
            }
            direction.check();
        }
    }
}
