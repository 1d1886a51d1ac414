//! The body of a stream as something to read from.

use std::io::{self, ErrorKind, Read};

use ::h2::Reason;

use super::Raw;
use super::frame::{self, DATA, END_STREAM, Frame, HEADERS, RST_STREAM, WINDOW_UPDATE};

/// Reads the DATA of one stream. RST_STREAM is an error of the kind `ConnectionReset`.
pub struct Body<'r> {
    pub(super) raw: &'r mut Raw,
    pub(super) stream: u32,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { raw, stream } = self;
        let stream = *stream;
        loop {
            let rest = raw.rests.entry(stream).or_default();
            if !rest.is_empty() {
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                rest.drain(..count);
                return Ok(count);
            }
            if raw.over.contains(&stream) {
                return Ok(0);
            }
            let wanted = |frame: &Frame| {
                frame.stream == stream && [DATA, HEADERS, RST_STREAM].contains(&frame.kind)
            };
            let frame = raw.wait("DATA", wanted);
            if frame.kind == RST_STREAM {
                let code = Reason::from(frame.number(0));
                raw.waiting.push_front(frame);
                return Err(io::Error::new(ErrorKind::ConnectionReset, code.to_string()));
            }
            if frame.kind == HEADERS || frame.has(END_STREAM) {
                raw.over.insert(stream);
            }
            if frame.kind == HEADERS {
                // Trailers are for the test.
                raw.waiting.push_front(frame);
                continue;
            }
            let size = u32::try_from(frame.size).unwrap();
            raw.rests.insert(stream, frame.payload);
            if size > 0 {
                // The server may have ended the connection after its last frame.
                let of = |stream| frame::bytes(WINDOW_UPDATE, 0, stream, size.to_be_bytes());
                let _ = raw.try_send([of(0), of(stream)].concat());
                raw.ours.give(0, size);
                raw.ours.give(stream, size);
            }
        }
    }
}
