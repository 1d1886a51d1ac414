//! Finds where a request's body ends in the bytes of its connection (RFC 9112 sections 6 and 7.1).
//!
//! hyper decodes the body. This file only finds its end, so that exactly what follows is read as the next request. It
//! refuses chunks and trailers that could be read in two ways, and everything that hyper would refuse in its own words.

use super::fields::MAX_FIELDS;
use crate::reason::{Failure, Reason};
use crate::text::is_token;

/// Longest size line of a chunk, in bytes.
const LINE_MAX: usize = 4096;

/// Most bytes in the extensions of all chunks together, and in the trailer section with its line ends. hyper refuses
/// one byte more.
const EXTENSIONS_MAX: usize = 16 * 1024 - 1;
const TRAILERS_MAX: usize = 16 * 1024 - 1;

/// The part of a body that is still to come.
#[derive(Debug)]
pub struct Rest(Framed);

#[derive(Debug)]
enum Framed {
    Length(u64),
    Chunked(Chunks),
}

impl Rest {
    /// A body of this many bytes.
    pub fn length(bytes: u64) -> Self {
        Self(Framed::Length(bytes))
    }

    /// A body of chunks, of which the last is empty, and a trailer section.
    pub fn chunked() -> Self {
        Self(Framed::Chunked(Chunks::default()))
    }

    /// How many bytes are to come, if that is known.
    pub fn announced(&self) -> Option<u64> {
        match &self.0 {
            Framed::Length(left) => Some(*left),
            Framed::Chunked(_) => None,
        }
    }

    /// Whether the end was reached.
    pub fn is_done(&self) -> bool {
        match &self.0 {
            Framed::Length(left) => *left == 0,
            Framed::Chunked(chunks) => chunks.state == ChunkPart::Done,
        }
    }

    /// How many of the next `bytes` belong to the body.
    ///
    /// # Errors
    /// `http_framing_conflict` for malformed chunks and trailers, `http_too_large` for too many of them.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        match &mut self.0 {
            Framed::Length(left) => {
                let count = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= count as u64;
                Ok(count)
            }
            Framed::Chunked(chunks) => chunks.take(bytes),
        }
    }
}

#[derive(Debug, Default)]
struct Chunks {
    state: ChunkPart,
    /// The size of the chunk; then the part of its data that is still to come.
    size: u64,
    /// Digits of the size; then bytes of its line; then bytes of the trailer section.
    count: usize,
    /// Bytes of the extensions so far.
    extensions: usize,
    /// Lines of the trailer section so far.
    trailers: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkPart {
    #[default]
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line of the trailer section.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    /// After the CR of the empty line.
    LastLf,
    Done,
}

impl Chunks {
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let mut at = 0;
        while self.state != ChunkPart::Done {
            let Some(&byte) = bytes.get(at) else {
                break;
            };
            if self.state == ChunkPart::Data {
                let left = bytes.len() - at;
                let count = usize::try_from(self.size).unwrap_or(usize::MAX).min(left);
                self.size -= count as u64;
                at += count;
                if self.size == 0 {
                    self.state = ChunkPart::DataCr;
                }
                continue;
            }
            at += 1;
            self.state = self.next(byte)?;
        }
        Ok(at)
    }

    fn next(&mut self, byte: u8) -> Result<ChunkPart, Failure> {
        match self.state {
            ChunkPart::Size | ChunkPart::Extension | ChunkPart::SizeEnd => self.in_size(byte),
            ChunkPart::DataCr if byte == b'\r' => Ok(ChunkPart::DataLf),
            ChunkPart::DataLf if byte == b'\n' => Ok(ChunkPart::Size),
            ChunkPart::DataCr | ChunkPart::DataLf => {
                Err(conflict("a chunk's data is longer than its size"))
            }
            // `take` counts the data and stops at the end.
            ChunkPart::Data | ChunkPart::Done => Ok(self.state),
            _ => self.in_trailers(byte),
        }
    }

    fn in_size(&mut self, byte: u8) -> Result<ChunkPart, Failure> {
        Ok(match (self.state, byte) {
            (ChunkPart::Size, digit) if digit.is_ascii_hexdigit() => {
                // Leading zeros count too, so that a size can't be arbitrarily long.
                const DIGITS: usize = 16;
                self.count += 1;
                if self.count > DIGITS {
                    return Err(conflict("a chunk's size has more than 16 digits"));
                }
                let digit = char::from(digit).to_digit(16).unwrap_or_default();
                self.size = (self.size << 4) | u64::from(digit);
                ChunkPart::Size
            }
            (ChunkPart::Size, b';' | b'\r') if self.count == 0 => {
                return Err(conflict("a chunk has no size"));
            }
            (ChunkPart::Size, b';') => ChunkPart::Extension,
            (ChunkPart::Size | ChunkPart::Extension, b'\r') => ChunkPart::SizeEnd,
            (ChunkPart::Size, _) => return Err(conflict("a chunk's size is not hexadecimal")),
            (ChunkPart::Extension, byte) => {
                text(byte)?;
                self.count += 1;
                self.extensions += 1;
                if self.count > LINE_MAX {
                    return Err(too_large(413, "a chunk's extension", LINE_MAX, "bytes"));
                }
                if self.extensions > EXTENSIONS_MAX {
                    let what = "the chunks' extensions";
                    return Err(too_large(413, what, EXTENSIONS_MAX, "bytes"));
                }
                ChunkPart::Extension
            }
            (_, b'\n') => {
                self.count = 0;
                match self.size {
                    0 => ChunkPart::Trailer,
                    _ => ChunkPart::Data,
                }
            }
            _ => return Err(lone_cr()),
        })
    }

    /// The lines of the trailer section; the rules are those for a head.
    fn in_trailers(&mut self, byte: u8) -> Result<ChunkPart, Failure> {
        self.count += 1;
        if self.count > TRAILERS_MAX {
            return Err(too_large(431, "the trailer section", TRAILERS_MAX, "bytes"));
        }
        Ok(match (self.state, byte) {
            (ChunkPart::Trailer, b'\r') => ChunkPart::LastLf,
            (ChunkPart::LastLf, b'\n') => ChunkPart::Done,
            (ChunkPart::TrailerEnd, b'\n') => ChunkPart::Trailer,
            (ChunkPart::LastLf | ChunkPart::TrailerEnd, _) => return Err(lone_cr()),
            (ChunkPart::Trailer, b' ' | b'\t') => {
                let what = "begins with white space (line folding is obsolete)";
                return Err(trailer(self.trailers + 1, what));
            }
            (ChunkPart::Trailer, b':') => {
                return Err(trailer(self.trailers + 1, "has no field name"));
            }
            (ChunkPart::Trailer, byte) => {
                self.trailers += 1;
                if self.trailers > MAX_FIELDS {
                    let what = "the trailer section";
                    return Err(too_large(431, what, MAX_FIELDS, "fields"));
                }
                self.name(byte)?
            }
            (ChunkPart::TrailerName, b':') => ChunkPart::TrailerValue,
            (ChunkPart::TrailerName, b'\r') => {
                return Err(trailer(self.trailers, "has no colon"));
            }
            (ChunkPart::TrailerName, byte) => self.name(byte)?,
            (ChunkPart::TrailerValue, b'\r') => ChunkPart::TrailerEnd,
            _ => {
                text(byte)?;
                ChunkPart::TrailerValue
            }
        })
    }

    fn name(&self, byte: u8) -> Result<ChunkPart, Failure> {
        match byte {
            b'\n' => Err(lone_lf()),
            byte if is_token(byte) => Ok(ChunkPart::TrailerName),
            byte => {
                let what = format!("has the byte \\x{byte:02x} in its field name");
                Err(trailer(self.trailers, &what))
            }
        }
    }
}

/// The failure for a body whose end could be read in two ways.
pub(super) fn conflict(detail: impl Into<String>) -> Failure {
    Failure::new(Reason::HttpFramingConflict, detail)
}

/// A fault in a line of the trailer section; lines count from 1.
fn trailer(number: usize, what: &str) -> Failure {
    conflict(format!("trailer {number} {what}"))
}

/// Checks a byte of an extension or of a trailer's value.
fn text(byte: u8) -> Result<(), Failure> {
    match byte {
        b'\t' | b' '..=b'~' | 0x80.. => Ok(()),
        b'\n' => Err(lone_lf()),
        byte => Err(conflict(format!(
            "a line of the chunks has the control character \\x{byte:02x}"
        ))),
    }
}

fn lone_cr() -> Failure {
    conflict("a line of the chunks ends in CR without LF")
}

fn lone_lf() -> Failure {
    conflict("a line of the chunks ends in LF without CR")
}

/// Refuses more than `most` units of `what`. These limits are fixed.
fn too_large(status: u16, what: &str, most: usize, unit: &str) -> Failure {
    Failure::new(Reason::HttpTooLarge, format!("{what}: more than {most} {unit}"))
        .with_status(status)
        .with_hint(
            "the client, or a hop in front, sends far more chunk extensions or trailers than any known client does: let it send less; \
             this limit is fixed",
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<usize>, String> {
        let mut rest = Rest::chunked();
        let count = rest.take(bytes).map_err(|failure| {
            assert_eq!(failure.reason, Reason::HttpFramingConflict);
            failure.detail.unwrap()
        })?;
        Ok(rest.is_done().then_some(count))
    }

    #[test]
    fn the_end_of_a_chunked_body() {
        for (bytes, expected) in [
            (&b"0\r\n\r\n"[..], Ok(Some(5))),
            (b"0\r\n\r\nGET /", Ok(Some(5))),
            (b"3\r\nabc\r\n0\r\n\r\n", Ok(Some(13))),
            (
                b"3;a=\"b\"\r\n\r\n\r\r\n000\r\nX-A: b\r\n\r\nG",
                Ok(Some(29)),
            ),
            (b"A\r\n0123456789\r\n", Ok(None)),
            (b"0\r\n", Ok(None)),
            (b"\r\n", Err("a chunk has no size")),
            (b";x\r\n", Err("a chunk has no size")),
            (b"0x3\r\n", Err("a chunk's size is not hexadecimal")),
            (b"3 \r\n", Err("a chunk's size is not hexadecimal")),
            (b"-1\r\n", Err("a chunk's size is not hexadecimal")),
            (b"3\nabc", Err("a chunk's size is not hexadecimal")),
            (b"3\rabc", Err("a line of the chunks ends in CR without LF")),
            (
                b"3;\nabc",
                Err("a line of the chunks ends in LF without CR"),
            ),
            (
                b"3;\0\r\n",
                Err("a line of the chunks has the control character \\x00"),
            ),
            (
                b"2\r\nabc\r\n",
                Err("a chunk's data is longer than its size"),
            ),
            (b"2\r\nab\n", Err("a chunk's data is longer than its size")),
            (
                b"0\r\nX: y\n",
                Err("a line of the chunks ends in LF without CR"),
            ),
            (
                b"0\r\n\r\r",
                Err("a line of the chunks ends in CR without LF"),
            ),
            (
                b"00000000000000003\r\n",
                Err("a chunk's size has more than 16 digits"),
            ),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(read(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn trailers_are_as_strict_as_a_head() {
        let lone_lf = "a line of the chunks ends in LF without CR";
        let lone_cr = "a line of the chunks ends in CR without LF";
        for (lines, expected) in [
            (&b"X: y"[..], None),
            (b"X:\r\nX:y\r\nX: \xe4\ty ", None),
            (b"!#$%&'*+-.^_`|~09azAZ: y", None),
            (
                b"X y: z",
                Some("trailer 1 has the byte \\x20 in its field name"),
            ),
            (
                b"X : z",
                Some("trailer 1 has the byte \\x20 in its field name"),
            ),
            (
                b"X\t: z",
                Some("trailer 1 has the byte \\x09 in its field name"),
            ),
            (
                b"X\0: z",
                Some("trailer 1 has the byte \\x00 in its field name"),
            ),
            (
                b"X\xe4: z",
                Some("trailer 1 has the byte \\xe4 in its field name"),
            ),
            (
                b"(X): z",
                Some("trailer 1 has the byte \\x28 in its field name"),
            ),
            (
                b"X: y\r\n folded",
                Some("trailer 2 begins with white space (line folding is obsolete)"),
            ),
            (
                b"X: y\r\n\tfolded",
                Some("trailer 2 begins with white space (line folding is obsolete)"),
            ),
            (
                b" X: y",
                Some("trailer 1 begins with white space (line folding is obsolete)"),
            ),
            (b"X: y\r\n: z", Some("trailer 2 has no field name")),
            (b":", Some("trailer 1 has no field name")),
            (b"X", Some("trailer 1 has no colon")),
            (
                b"X: y\r\nGET / HTTP/1.1",
                Some("trailer 2 has the byte \\x20 in its field name"),
            ),
            (
                b"X: a\0b",
                Some("a line of the chunks has the control character \\x00"),
            ),
            (
                b"X: a\x0bb",
                Some("a line of the chunks has the control character \\x0b"),
            ),
            (
                b"X: a\x7fb",
                Some("a line of the chunks has the control character \\x7f"),
            ),
            (b"X: a\nY: b", Some(lone_lf)),
            (b"X\nY: b", Some(lone_lf)),
            (b"\nX: b", Some(lone_lf)),
            (b"X: a\rY: b", Some(lone_cr)),
        ] {
            let body = [&b"3\r\nabc\r\n0\r\n"[..], lines, b"\r\n\r\n"].concat();
            let expected = match expected {
                None => Ok(Some(body.len())),
                Some(detail) => Err(detail.to_owned()),
            };
            assert_eq!(read(&body), expected, "{}", lines.escape_ascii());
        }
    }

    /// Each limit passes exactly and fails one byte later.
    #[test]
    fn what_is_beside_the_data_has_bounds() {
        let chunk = |length: usize| format!("1;{}\r\nx\r\n", "e".repeat(length));
        let end = |trailers: &str| format!("0\r\n{trailers}\r\n");
        let extensions = |more: usize| chunk(4000).repeat(4) + &chunk(383 + more);
        // A name, its colon and the line end take four bytes, the last line two.
        let trailer = |more: usize| format!("X:{}\r\n", "v".repeat(TRAILERS_MAX - 6 + more));
        for (passes, refused, status) in [
            (chunk(LINE_MAX - 1) + &end(""), chunk(LINE_MAX), 413),
            (extensions(0) + &end(""), extensions(1), 413),
            (end(&trailer(0)), end(&trailer(1)), 431),
            (
                end(&"X: y\r\n".repeat(100)),
                end(&"X: y\r\n".repeat(101)),
                431,
            ),
        ] {
            assert_eq!(read(passes.as_bytes()), Ok(Some(passes.len())));
            let failure = Rest::chunked().take(refused.as_bytes()).unwrap_err();
            assert_eq!(
                (failure.reason, failure.http_status()),
                (Reason::HttpTooLarge, Some(status)),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn a_length_is_counted_down() {
        let mut rest = Rest::length(3);
        assert_eq!(rest.take(b"ab"), Ok(2));
        assert!(!rest.is_done());
        assert_eq!(rest.take(b"cGET"), Ok(1));
        assert!(rest.is_done());
        assert_eq!(rest.take(b"GET"), Ok(0));
    }

    proptest! {
        #[test]
        fn the_end_is_the_same_in_any_pieces(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5),
            cuts in prop::collection::vec(1..7_usize, 1..200),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x};e\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\nT: u\r\n\r\n");
            let length = body.len();
            body.extend_from_slice(b"GET / HTTP/1.1");
            let mut rest = Rest::chunked();
            let (mut at, mut cuts) = (0, cuts.iter().cycle());
            while !rest.is_done() {
                let end = (at + cuts.next().unwrap()).min(body.len());
                at += rest.take(&body[at..end]).unwrap();
            }
            prop_assert_eq!(at, length);
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut rest = Rest::chunked();
            if let Ok(count) = rest.take(&bytes) {
                prop_assert!(count <= bytes.len());
                prop_assert!(rest.is_done() || count == bytes.len());
            }
        }
    }
}
