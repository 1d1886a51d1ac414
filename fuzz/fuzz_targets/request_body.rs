//! The end of a body in chunks: the same in any pieces, and where another parser finds it.

#![no_main]

mod pieces;

use httparse::{EMPTY_HEADER, Status, parse_chunk_size, parse_headers};
use libfuzzer_sys::fuzz_target;
use wsgate::http::body::Rest;
use wsgate::reason::Failure;

/// Whatever, or a valid body around it: few arbitrary bytes are one.
fn around(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let (before, behind): (&[u8], &[u8]) = match kind % 4 {
        0 => (b"", b""),
        1 => (b"3;e=", b"\r\nabc\r\n0\r\n\r\nGET"),
        2 => (b"3\r\nabc\r\n0\r\n", b"\r\n\r\nGET"),
        _ => (b"3\r\nabc\r\n0\r\nName:", b"\r\n\r\nGET"),
    };
    [before, bytes, behind].concat()
}

/// How many bytes belong to the body, and whether its end was reached.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(usize, bool), Failure> {
    let mut rest = Rest::chunked();
    let mut taken = 0;
    for piece in pieces {
        let count = rest.take(piece)?;
        taken += count;
        if rest.is_done() {
            assert_eq!(rest.take(b"0\r\n\r\n"), Ok(0), "nothing follows the end");
            return Ok((taken, true));
        }
        assert_eq!(count, piece.len(), "bytes are left over");
    }
    Ok((taken, false))
}

/// Where the body ends for another parser.
fn end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let Ok(Status::Complete((line, size))) = parse_chunk_size(bytes.get(at..)?) else {
            return None;
        };
        at += line;
        if size == 0 {
            break;
        }
        // The data and the line end behind it.
        at = at
            .checked_add(usize::try_from(size).ok()?)?
            .checked_add(2)?;
    }
    let mut fields = [EMPTY_HEADER; 128];
    match parse_headers(bytes.get(at..)?, &mut fields) {
        Ok(Status::Complete((length, _))) => Some(at + length),
        _ => None,
    }
}

fuzz_target!(|data: &[u8]| {
    let [kind, first, second, bytes @ ..] = data else {
        return;
    };
    let bytes = &around(*kind, bytes)[..];
    let at_once = read(std::iter::once(bytes));
    assert_eq!(at_once, read(bytes.chunks(1)));
    assert_eq!(at_once, read(pieces::in_turn(bytes, *first, *second)));

    match at_once {
        Ok((count, true)) => assert_eq!(end(&bytes[..count]), Some(count)),
        Ok((count, false)) => assert_eq!(count, bytes.len()),
        Err(failure) => {
            let detail = failure.detail.unwrap_or_default();
            assert!(detail.len() < 4096 && !detail.contains(|c: char| c.is_control()));
        }
    }
});
