//! Reads frames of either side at once and in pieces: the outcome must be the same, and no byte may be lost, invented
//! or read twice.

#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use wsgate::tunnel::frame::{CONTROL_MAX, Event, Extensions, Reader, Sender, Violation};

/// The events, each with the number of bytes before its end, and the violation.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    events: Vec<(usize, Event)>,
    violation: Option<Violation>,
    messages: u64,
}

fn read<'a>(mut reader: Reader, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut offset = 0;
    for piece in pieces {
        let mut rest = piece;
        loop {
            match reader.read(rest) {
                Ok((count, event)) => {
                    let is_last = event.is_none();
                    assert!(count <= rest.len());
                    assert!(!is_last || count == rest.len(), "bytes are left over");
                    let is_empty = matches!(event, Some(Event::End | Event::Close(_)));
                    assert!(count > 0 || is_last || is_empty, "an event of no byte");
                    rest = &rest[count..];
                    offset += count;
                    outcome.events.extend(event.map(|event| (offset, event)));
                    if is_last {
                        break;
                    }
                }
                Err(violation) => {
                    assert!(!violation.words().is_empty());
                    outcome.violation = Some(violation);
                    outcome.messages = reader.messages();
                    return outcome;
                }
            }
        }
    }
    outcome.messages = reader.messages();
    outcome
}

/// Checks what must hold for every sequence of events.
fn check(outcome: &Outcome) {
    let mut payload = None;
    let mut data = 0;
    for (offset, event) in &outcome.events {
        match event {
            Event::Header(header) => {
                assert_eq!(payload, None, "a header inside a frame");
                assert!(header.length <= i64::MAX.unsigned_abs());
                assert!(header.opcode < 8 || header.length <= CONTROL_MAX as u64);
                assert!(header.opcode < 8 || header.is_final);
                let is_data = header.opcode <= 2;
                assert!(!is_data || header.message >= header.length);
                data += u64::from(is_data && header.is_final);
                payload = Some((*offset, header));
            }
            Event::End | Event::Close(_) => {
                let (begin, header) = payload.take().expect("an end of nothing");
                assert_eq!((offset - begin) as u64, header.length);
                if let Event::Close(close) = event {
                    assert_eq!(header.opcode, 8);
                    let code = if close.code.is_some() { 2 } else { 0 };
                    assert_eq!(close.reason.len() as u64 + code, header.length);
                }
            }
        }
    }
    let unfinished = payload.is_some_and(|(_, header)| header.opcode <= 2 && header.is_final);
    assert_eq!(outcome.messages, data - u64::from(unfinished));
}

fuzz_target!(|data: &[u8]| {
    let [settings, first, second, bytes @ ..] = data else {
        return;
    };
    let sender = if settings & 1 == 0 {
        Sender::Client
    } else {
        Sender::Server
    };
    let extensions = match settings >> 1 & 3 {
        0 | 3 => Extensions::None,
        1 => Extensions::Deflate,
        _ => Extensions::Unknown,
    };
    let reader = || Reader::new(sender, extensions);
    let at_once = read(reader(), std::iter::once(bytes));
    check(&at_once);

    let one_by_one = read(reader(), bytes.chunks(1));
    assert_eq!(at_once, one_by_one);
    let in_turn = read(reader(), pieces::in_turn(bytes, *first, *second));
    assert_eq!(at_once, in_turn);
});
