//! Where a request's body ends in its connection's bytes (RFC 9112 sections 6 and 7.1).
//!
//! hyper decodes the body; this only finds its end, so that what follows is the next request and nothing else. A chunk's
//! framing that could be read in two ways is refused here.

/// Bytes of one chunk's size line, and of the whole trailer section.
const LINE_MAX: usize = 4096;
const TRAILERS_MAX: usize = 16 * 1024;

/// What is still to come of a body.
#[derive(Debug)]
pub(super) struct Rest(Kind);

#[derive(Debug)]
enum Kind {
    Length(u64),
    Chunked(Chunks),
}

impl Rest {
    /// So many bytes.
    pub fn length(bytes: u64) -> Self {
        Self(Kind::Length(bytes))
    }

    /// Chunks, the last of which is empty, and a trailer section.
    pub fn chunked() -> Self {
        Self(Kind::Chunked(Chunks::default()))
    }

    /// Whether it has come whole.
    pub fn is_done(&self) -> bool {
        match &self.0 {
            Kind::Length(left) => *left == 0,
            Kind::Chunked(chunks) => chunks.state == State::Done,
        }
    }

    /// How many of the bytes that came next belong to it.
    ///
    /// # Errors
    /// What is wrong with a chunk's framing.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        match &mut self.0 {
            Kind::Length(left) => {
                let count = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= count as u64;
                Ok(count)
            }
            Kind::Chunked(chunks) => chunks.take(bytes),
        }
    }
}

#[derive(Debug, Default)]
struct Chunks {
    state: State,
    /// The size of the chunk, then what is left of its data.
    size: u64,
    /// Digits of the size, then bytes of its line; then bytes of the trailer section.
    count: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a line of the trailer section.
    Trailer,
    TrailerLine,
    TrailerEnd,
    /// After the CR of the empty line.
    LastLf,
    Done,
}

impl Chunks {
    fn take(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut at = 0;
        while self.state != State::Done {
            let Some(&byte) = bytes.get(at) else {
                break;
            };
            if self.state == State::Data {
                let left = bytes.len() - at;
                let count = usize::try_from(self.size).unwrap_or(usize::MAX).min(left);
                self.size -= count as u64;
                at += count;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            at += 1;
            self.state = self.next(byte)?;
        }
        Ok(at)
    }

    fn next(&mut self, byte: u8) -> Result<State, &'static str> {
        Ok(match (self.state, byte) {
            (State::Size, digit) if digit.is_ascii_hexdigit() => {
                // More digits than a length has; leading zeros count too.
                const DIGITS: usize = 16;
                self.count += 1;
                if self.count > DIGITS {
                    return Err("a chunk's size has more than 16 digits");
                }
                let digit = char::from(digit).to_digit(16).unwrap_or_default();
                self.size = (self.size << 4) | u64::from(digit);
                State::Size
            }
            (State::Size, b';' | b'\r') if self.count == 0 => return Err("a chunk has no size"),
            (State::Size, b';') => State::Extension,
            (State::Size | State::Extension, b'\r') => State::SizeEnd,
            (State::Size, _) => return Err("a chunk's size is not hexadecimal"),
            (State::Extension, byte) => {
                self.line(byte, LINE_MAX, "a chunk's extension is too long")?;
                State::Extension
            }
            (State::SizeEnd, b'\n') => {
                self.count = 0;
                match self.size {
                    0 => State::Trailer,
                    _ => State::Data,
                }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::DataCr | State::DataLf, _) => {
                return Err("a chunk's data is longer than its size");
            }
            (State::Trailer, b'\r') => State::LastLf,
            (State::TrailerLine, b'\r') => State::TrailerEnd,
            (State::Trailer | State::TrailerLine, byte) => {
                self.line(byte, TRAILERS_MAX, "the trailers are too long")?;
                State::TrailerLine
            }
            (State::TrailerEnd, b'\n') => State::Trailer,
            (State::LastLf, b'\n') => State::Done,
            (State::SizeEnd | State::TrailerEnd | State::LastLf, _) => {
                return Err("a line of the chunks ends in CR without LF");
            }
            // Their bytes are counted, not looked at; after the end none is.
            (State::Data | State::Done, _) => self.state,
        })
    }

    /// One more byte of a line that is not kept.
    fn line(&mut self, byte: u8, most: usize, too_long: &'static str) -> Result<(), &'static str> {
        self.count += 1;
        match byte {
            b'\t' | b' '..=b'~' | 0x80.. if self.count <= most => Ok(()),
            b'\t' | b' '..=b'~' | 0x80.. => Err(too_long),
            b'\n' => Err("a line of the chunks ends in LF without CR"),
            _ => Err("a line of the chunks has a control character"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        let mut rest = Rest::chunked();
        let count = rest.take(bytes)?;
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
                Err("a line of the chunks has a control character"),
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
            assert_eq!(read(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn lines_have_bounds() {
        let long = |start: &str, length: usize| [start.as_bytes(), &vec![b'x'; length]].concat();
        assert_eq!(
            read(&long("1;", LINE_MAX + 1)),
            Err("a chunk's extension is too long")
        );
        assert_eq!(
            read(&long("0\r\n", TRAILERS_MAX + 1)),
            Err("the trailers are too long")
        );
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
