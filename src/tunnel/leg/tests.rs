//! What one side sends and how much of it reaches the other, for arbitrary streams in arbitrary pieces.

mod pumped;
mod swallowed;

use std::collections::VecDeque;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

use super::super::frame::tests::streams::{Frame, Stream, cut, cuts, sender, stream};
use super::super::frame::{CLOSE, PING, PONG};
use super::*;
use crate::stream::Outlet;

/// What a peer sends: pieces of at most 16 KiB, one per read; an empty piece ends the stream; an error breaks it.
#[derive(Debug, Default)]
struct Script(VecDeque<io::Result<Vec<u8>>>);

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.pop_front() {
            None => Poll::Pending,
            Some(piece) => Poll::Ready(piece.map(|piece| buffer.put_slice(&piece))),
        }
    }
}

impl Outlet for Vec<u8> {
    fn taken(&self) -> Option<u32> {
        None
    }
}

/// One direction, toward a peer that accepts everything at once.
#[derive(Debug)]
struct Direction {
    from: Leg,
    to: Leg,
    largest: Option<u64>,
    /// What has come in, and what was passed on.
    fed: Vec<u8>,
    out: Vec<u8>,
}

impl Direction {
    fn new(sender: Sender, extensions: Extensions) -> Self {
        let receiver = match sender {
            Sender::Client => Sender::Server,
            Sender::Server => Sender::Client,
        };
        let leg = |sender| Leg::new(sender, extensions, Moment::now());
        Self {
            from: leg(sender),
            to: leg(receiver),
            largest: None,
            fed: Vec::new(),
            out: Vec::new(),
        }
    }

    fn of(stream: &Stream) -> Self {
        Self::new(stream.sender, stream.extensions)
    }

    fn step(&mut self, outcome: Option<io::Result<Vec<u8>>>) {
        let mut script = Script(outcome.into_iter().collect());
        let cx = &mut Context::from_waker(Waker::noop());
        let (from, to) = (&mut self.from, &mut self.to);
        pump(cx, (from, &mut script), (to, &mut self.out), self.largest);
        // The tunnel's rules for its own Close.
        self.to.drop_words(&self.from);
        if say_close(&mut self.from, &mut self.to) {
            let (from, to) = (&mut self.from, &mut self.to);
            pump(cx, (from, &mut script), (to, &mut self.out), self.largest);
        }
        self.check();
    }

    /// Feeds one piece of what the peer sends.
    fn feed(&mut self, piece: &[u8]) {
        if self.from.over.is_none() {
            self.fed.extend_from_slice(piece);
            self.step(Some(Ok(piece.to_vec())));
        }
    }

    fn feed_all(&mut self, bytes: &[u8], cuts: &[usize]) {
        for piece in cut(bytes, cuts) {
            self.feed(piece);
        }
    }

    /// Ends what the peer sends.
    fn end(&mut self) {
        if self.from.over.is_none() {
            self.step(Some(Ok(Vec::new())));
        }
    }

    /// Asks for a Close, if the rules allow one.
    fn want_close(&mut self) {
        if self.to.can_be_told(&self.from) {
            self.to.wants = Some((CODE, REASON));
        }
        self.step(None);
    }

    /// What must hold at every moment.
    fn check(&self) {
        let Self { from, to, out, .. } = self;
        assert_eq!(to.waiting(), 0, "the peer takes everything");
        assert!(from.held().len() < 2 + 4 + TAG, "held {:02x?}", from.held());
        let (whole, messages) = walk(out);
        assert_eq!(from.messages, messages, "{from:?}");
        if !to.is_open() {
            // Whole or not, nothing follows.
        } else if from.is_whole() {
            assert!(whole, "a frame of ours could go into another: {from:?}");
        } else if from.muted || from.over.is_some() {
            assert!(!whole, "a Close could have been said: {from:?}");
        }
    }
}

const CODE: u16 = 1001;
const REASON: Reason = Reason::IdleTimeout;

/// Reads what was passed on with another implementation: whether it ends with a whole frame, and its complete messages.
fn walk(bytes: &[u8]) -> (bool, u64) {
    let mut cursor = Cursor::new(bytes);
    let mut messages = 0;
    let length = bytes.len() as u64;
    while cursor.position() < length {
        let Ok(Some((header, payload))) = FrameHeader::parse(&mut cursor) else {
            return (false, messages);
        };
        let end = cursor.position().saturating_add(payload);
        if end > length {
            return (false, messages);
        }
        cursor.set_position(end);
        messages += u64::from(header.is_final && u8::from(header.opcode) < CLOSE);
    }
    (true, messages)
}

/// Reads `bytes`, which must be the proxy's own Close; it must be masked only toward a server.
fn own_close(bytes: &[u8], to: Sender) -> Vec<u8> {
    let mut cursor = Cursor::new(bytes);
    let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
    let begin = usize::try_from(cursor.position()).unwrap();
    assert_eq!((u8::from(header.opcode), header.is_final), (CLOSE, true));
    assert_eq!(header.mask.is_some(), to == Sender::Server);
    assert_eq!(begin as u64 + length, bytes.len() as u64, "{bytes:02x?}");
    let key = header.mask.unwrap_or_default();
    let payload = bytes[begin..].iter().enumerate();
    payload.map(|(index, byte)| byte ^ key[index % 4]).collect()
}

fn expected_close() -> Vec<u8> {
    [&CODE.to_be_bytes()[..], REASON.code().as_bytes()].concat()
}

/// The boundaries between the frames of a stream, up to its Close.
fn boundaries(stream: &Stream) -> Vec<usize> {
    let before_close = |frame: &&Frame| frame.opcode() != CLOSE;
    let mut at = 0;
    let frames = stream.frames.iter().take_while(before_close);
    let ends = frames.map(|frame| {
        at += frame.bytes().len();
        at
    });
    std::iter::once(0).chain(ends).collect()
}

/// A frame that its sender may not send at this place, and how many bytes of it show that.
fn invalid(sender: Sender, open: bool, which: u8, key: [u8; 4]) -> (Vec<u8>, usize, Violation) {
    let is_client = sender == Sender::Client;
    let mask = if is_client { 0x80 } else { 0 };
    let start = if open { 0x80 } else { 0x82 };
    let (bytes, shown, violation) = match which {
        0 => (vec![start | 0x20, mask], 1, Violation::ReservedBits),
        1 => (vec![0x83, mask], 1, Violation::ReservedOpcode),
        2 => (vec![0x09, mask], 1, Violation::FragmentedControl),
        3 => (vec![0x8a, mask | 126, 0, 126], 2, Violation::LongControl),
        4 if open => (vec![0x81, mask], 1, Violation::InterruptedMessage),
        4 => (vec![0x80, mask], 1, Violation::LoneContinuation),
        5 if is_client => (vec![0x8a, 8], 2, Violation::Unmasked),
        5 => (vec![0x8a, 0x88], 2, Violation::Masked),
        6 if is_client => (vec![start, 8], 2, Violation::Unmasked),
        6 => (vec![start, 0x88], 2, Violation::Masked),
        7 => (
            vec![start, mask | 127, 0x80, 0, 0, 0, 0, 0, 0, 1],
            3,
            Violation::Length,
        ),
        _ => (vec![0x88, mask | 1], 2, Violation::HalfCode),
    };
    ([&bytes, &key[..], b"and more"].concat(), shown, violation)
}

#[test]
fn a_wrong_pong_that_was_kept_leaves_room_for_a_close() {
    for wrong in [[0x8a, 0x08], [0x8a, 0xfe]] {
        let mut direction = Direction::new(Sender::Client, Extensions::None);
        direction.from.expect(Some([0; TAG]));
        direction.feed_all(&wrong, &[1]);
        assert!(matches!(
            direction.from.over.as_deref(),
            Some(Over::Violated(..))
        ));
        assert_eq!(direction.out, b"");
        direction.want_close();
        assert_eq!(own_close(&direction.out, Sender::Server), expected_close());
    }
}

#[test]
fn a_pong_that_was_kept_when_waiting_ended_leaves_room_for_a_close() {
    let mut direction = Direction::new(Sender::Client, Extensions::None);
    direction.from.expect(Some([0; TAG]));
    direction.feed(&[0x8a]);
    direction.from.give_up();
    direction.want_close();
    assert_eq!(own_close(&direction.out, Sender::Server), expected_close());
}

#[test]
fn no_close_goes_into_a_pong_that_was_kept_until_the_end() {
    let mut direction = Direction::new(Sender::Client, Extensions::None);
    direction.from.expect(Some([0; TAG]));
    direction.feed(&[0x8a]);
    direction.end();
    direction.want_close();
    assert_eq!(direction.out, [0x8a]);
    assert!(direction.to.told.is_none());
}

#[test]
fn no_close_goes_into_the_header_of_a_message_that_is_too_big() {
    let mut direction = Direction::new(Sender::Server, Extensions::None);
    direction.largest = Some(3);
    // The rest of the message, then something invalid.
    for piece in [&[0x82][..], &[4], &[1, 2, 3, 4], &[0xff]] {
        direction.feed(piece);
    }
    assert!(matches!(
        direction.from.over.as_deref(),
        Some(Over::Violated(..))
    ));
    direction.want_close();
    assert_eq!(direction.out, [0x82]);
    assert!(direction.to.told.is_none());
}

#[test]
fn nothing_is_kept_of_what_goes_nowhere() {
    let mut direction = Direction::new(Sender::Client, Extensions::None);
    direction.from.expect(Some([0; TAG]));
    direction.want_close();
    let mut sent = Frame::control(PONG, b"other", Some([0; 4])).bytes();
    sent.extend([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    sent.extend([0; 1000]);
    direction.feed_all(&sent, &[1]);
    assert_eq!(direction.from.held(), b"");
}

#[test]
fn what_a_broken_side_does_not_get_is_neither_kept_nor_counted() {
    let mut direction = Direction::new(Sender::Client, Extensions::None);
    direction.from.expect(Some([0; TAG]));
    // It is still read because it has to answer a Close.
    direction.from.told = Some(Box::new(Told {
        code: None,
        is_ours: true,
        is_readable: true,
        delivered: None,
    }));
    direction.to.break_off(None);
    let message = Frame::control(2, b"message", Some([0; 4])).bytes();
    let pong = Frame::control(PONG, b"other", Some([0; 4])).bytes();
    direction.feed_all(&[message, pong].concat(), &[1]);
    assert_eq!(direction.fed.len(), 13 + 11);
    assert_eq!((direction.to.waiting(), direction.from.messages), (0, 0));
}

/// Streams that are invalid without an unknown extension can't be tested with one.
fn without_unknown() -> impl Strategy<Value = Stream> {
    stream().prop_map(|mut stream| {
        if stream.extensions == Extensions::Unknown {
            stream.extensions = Extensions::None;
            for frame in &mut stream.frames {
                frame.first &= 0x8f;
            }
        }
        stream
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Every byte is passed on at once, with and without a Ping that awaits its answer.
    #[test]
    fn what_comes_goes_on(
        stream in stream(),
        cuts in cuts(),
        tag in proptest::option::of(any::<[u8; TAG]>()),
    ) {
        let bytes = stream.bytes();
        let mut direction = Direction::of(&stream);
        direction.from.expect(tag);
        for piece in cut(&bytes, &cuts) {
            direction.feed(piece);
            let Direction { from, fed, out, .. } = &direction;
            // Only what may become the answer is kept, and only until that is known.
            let passed = fed.len() - from.held().len();
            prop_assert_eq!(&out[..], &fed[..passed]);
        }
        let messages = stream.placed().last().map_or(0, |last| last.messages);
        prop_assert_eq!(direction.from.messages, messages);
        direction.end();
        prop_assert_eq!(&direction.out, &bytes);
        prop_assert_eq!(direction.from.close.is_some(), stream.has_close());
        prop_assert!(direction.from.close.is_none_or(|received| received.after == 0));
        prop_assert_eq!(direction.to.written, bytes.len() as u64);
    }

    /// The end of the stream may cut a frame, but loses nothing that was held back.
    #[test]
    fn an_end_loses_nothing(
        stream in stream(),
        cuts in cuts(),
        place in any::<Index>(),
        tag in proptest::option::of(any::<[u8; TAG]>()),
    ) {
        let mut bytes = stream.bytes();
        bytes.truncate(place.index(bytes.len() + 1));
        let mut direction = Direction::of(&stream);
        direction.from.expect(tag);
        direction.feed_all(&bytes, &cuts);
        direction.end();
        prop_assert_eq!(direction.out, bytes);
    }

    /// Nothing is passed on after a Close.
    #[test]
    fn what_follows_a_close_is_counted_and_dropped(
        stream in stream().prop_filter("with a Close", Stream::has_close),
        garbage in vec(any::<u8>(), 1..300),
        cuts in cuts(),
    ) {
        let bytes = stream.bytes();
        let mut direction = Direction::of(&stream);
        direction.feed_all(&[&bytes[..], &garbage].concat(), &cuts);
        prop_assert_eq!(&direction.out, &bytes);
        prop_assert_eq!(direction.from.close.unwrap().after, garbage.len() as u64);
        prop_assert!(direction.from.over.is_none());
    }

    /// The proxy's own Close comes after the frame in which it was requested, and nothing comes after it.
    #[test]
    fn a_close_is_said_at_the_next_boundary(
        stream in stream(),
        cuts in cuts(),
        moment in any::<Index>(),
        tag in proptest::option::of(any::<[u8; TAG]>()),
    ) {
        let bytes = stream.bytes();
        let pieces = cut(&bytes, &cuts);
        let moment = moment.index(pieces.len() + 1);
        let mut direction = Direction::of(&stream);
        direction.from.expect(tag);
        for piece in &pieces[..moment] {
            direction.feed(piece);
        }
        let wanted = direction.fed.len();
        direction.want_close();
        for piece in &pieces[moment..] {
            direction.feed(piece);
        }
        direction.end();
        let Direction { from, to, out, .. } = direction;
        // If the peer's own Close is on its way, it is the last frame.
        let Some(end) = boundaries(&stream).into_iter().find(|end| *end >= wanted) else {
            prop_assert!(stream.has_close());
            prop_assert!(to.told.is_some_and(|told| !told.is_ours));
            prop_assert_eq!(out, bytes);
            return Ok(());
        };
        prop_assert_eq!(&out[..end], &bytes[..end]);
        prop_assert_eq!(own_close(&out[end..], to.frames.sender()), expected_close());
        prop_assert!(to.told.is_some_and(|told| told.is_ours && told.delivered.is_some()));
        let passed = stream.placed().into_iter().take_while(|placed| placed.end <= end);
        prop_assert_eq!(from.messages, passed.last().map_or(0, |placed| placed.messages));
        prop_assert_eq!(from.close.is_some(), stream.has_close());
        prop_assert_eq!(to.written, end as u64);
    }

    /// Everything before the first message that is too big is passed on, and nothing after it.
    #[test]
    fn a_message_that_is_too_big_does_not_begin(
        stream in stream(),
        cuts in cuts(),
        largest in prop_oneof![0_u64..50, 100_u64..70_000],
        fault in proptest::option::of(0_u8..9),
    ) {
        let bytes = stream.bytes();
        let placed = stream.placed();
        let too_big = placed.iter().find(|placed| placed.message > largest);
        let mut direction = Direction::of(&stream);
        direction.largest = Some(largest);
        direction.feed_all(&bytes, &cuts);
        let found = direction.from.too_big.map(NonZeroU64::get);
        prop_assert_eq!(found, too_big.map(|placed| placed.message));
        let Some(too_big) = too_big else {
            prop_assert_eq!(direction.out, bytes);
            return Ok(());
        };
        // The part of its header that came in an earlier piece has already been passed on.
        let before = piece_before(&bytes, &cuts, too_big.header_end);
        let end = before.max(too_big.start);
        prop_assert_eq!(&direction.out[..], &bytes[..end]);
        prop_assert_eq!(direction.from.is_whole(), end == too_big.start);
        let messages = too_big.messages - u64::from(too_big.frame.is_final());
        prop_assert_eq!(direction.from.messages, messages);

        // Neither more violations nor a request for a Close change what can be sent.
        if let (Some(fault), None) = (fault, &direction.from.close) {
            let (frame, ..) = invalid(stream.sender, false, fault, [0; 4]);
            direction.feed_all(&frame, &cuts);
        }
        direction.want_close();
        direction.end();
        prop_assert_eq!(&direction.out[..end], &bytes[..end]);
        let said = &direction.out[end..];
        if end == too_big.start {
            prop_assert_eq!(own_close(said, direction.to.frames.sender()), expected_close());
        } else {
            prop_assert_eq!(said, b"");
        }
    }

    /// Of an invalid frame, only what came in earlier pieces is passed on.
    #[test]
    fn a_wrong_frame_does_not_begin(
        stream in without_unknown(),
        cuts in cuts(),
        place in any::<Index>(),
        which in 0_u8..9,
        key: [u8; 4],
        tag in proptest::option::of(any::<[u8; TAG]>()),
    ) {
        let boundaries = boundaries(&stream);
        let place = place.index(boundaries.len());
        let start = boundaries[place];
        let data = stream.frames[..place].iter().rfind(|frame| frame.is_data());
        let open = data.is_some_and(|frame| !frame.is_final());
        let (wrong, shown, violation) = invalid(stream.sender, open, which, key);
        let bytes = [&stream.bytes()[..start], &wrong].concat();
        let mut direction = Direction::of(&stream);
        direction.from.expect(tag);
        direction.feed_all(&bytes, &cuts);

        let before = piece_before(&bytes, &cuts, start + shown);
        let mut end = before.max(start);
        // What may be the answer to a Ping is held until the rest arrives.
        if tag.is_some() && wrong[0] == 0x8a {
            end = start;
        }
        prop_assert_eq!(&direction.out[..], &bytes[..end]);
        prop_assert_eq!(direction.from.is_whole(), end == start);
        let Some(Over::Violated(found, seen)) = direction.from.over.as_deref() else {
            return Err(TestCaseError::fail(format!("{:?}", direction.from.over)));
        };
        prop_assert_eq!(*found, violation);
        prop_assert!(seen.len() <= 16 + 2 + 4 + TAG);

        direction.want_close();
        let said = &direction.out[end..];
        if end == start {
            prop_assert_eq!(own_close(said, direction.to.frames.sender()), expected_close());
        } else {
            prop_assert_eq!(said, b"");
        }
    }
}

/// The start of the piece that contains the last of the first `count` bytes.
fn piece_before(bytes: &[u8], cuts: &[usize], count: usize) -> usize {
    let mut begin = 0;
    for piece in cut(bytes, cuts) {
        if begin + piece.len() >= count {
            break;
        }
        begin += piece.len();
    }
    begin
}
