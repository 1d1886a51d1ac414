//! The stream below the HTTP/2 library. It reads frame headers in the bytes that pass, so that the proxy knows what the
//! library does not tell: which streams it refused, what has gone to the client, and what the client does too often.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::budget::Budgets;
use super::frames::{self, Event, Frames};
use crate::stream::{ClientStream, End, Wire};
use crate::tls;

/// How many first bytes are kept to say what a client speaks that does not begin with the preface.
const FIRST: usize = 16;

/// What passed on a connection.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The first bytes of the client, until its preface is complete.
    pub first: Vec<u8>,
    /// Whether the client's preface and its SETTINGS have come.
    pub has_settings: bool,
    /// When the header block began that is not complete.
    pub header_block: Option<Instant>,
    /// What came too often.
    pub flood: Option<String>,
    /// The streams that the library refused.
    pub refused: VecDeque<Refused>,
    /// The stream, when the connection is over.
    pub parted: Option<ClientStream>,
}

/// A stream that the library refused before it could be served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub stream: u32,
    /// The code of the RST_STREAM that it sent; `None`: it answered that the head is too large.
    pub code: Option<u32>,
    /// When it began.
    pub begun: Instant,
}

/// What a [`Tap`] has seen; all clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight(Arc<Mutex<Seen>>);

impl Sight {
    /// Code that holds the lock can't panic.
    pub fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client's stream, whose bytes are read on the way.
#[derive(Debug)]
pub(super) struct Tap {
    /// Taken when it is dropped.
    stream: Option<ClientStream>,
    incoming: Frames,
    outgoing: Frames,
    budgets: Budgets,
    /// The highest number of a stream that began.
    highest: u32,
    /// Streams with a higher number are ignored, because of a GOAWAY of the proxy.
    last: u32,
    written: u64,
    wire: Arc<Wire>,
    sight: Sight,
}

impl Tap {
    pub fn new(stream: ClientStream, wire: Arc<Wire>, sight: Sight) -> Self {
        Self {
            stream: Some(stream),
            incoming: Frames::after(Frames::PREFACE.len()),
            outgoing: Frames::after(0),
            budgets: Budgets::new(Instant::now()),
            highest: 0,
            last: u32::MAX,
            written: 0,
            wire,
            sight,
        }
    }

    fn stream(&mut self) -> io::Result<&mut ClientStream> {
        // It is taken only when this is dropped.
        self.stream
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Reads what came from the client.
    fn came(&mut self, bytes: &[u8]) {
        let Self {
            incoming,
            budgets,
            highest,
            last,
            wire,
            sight,
            ..
        } = self;
        let mut seen = sight.lock();
        if !incoming.has_begun() {
            let room = FIRST.saturating_sub(seen.first.len());
            seen.first.extend(bytes.iter().take(room));
        }
        let now = Instant::now();
        incoming.read(bytes, |event| {
            let counted = match event {
                Event::Begin(frame) => {
                    if matches!(frame.kind, frames::HEADERS | frames::CONTINUATION) {
                        seen.header_block.get_or_insert(now);
                    }
                    if frame.kind == frames::HEADERS
                        && frame.stream > *highest
                        && frame.stream <= *last
                    {
                        *highest = frame.stream;
                        wire.begin(frame.stream);
                    }
                    budgets.frame(frame, false, now)
                }
                Event::Payload(..) => Ok(()),
                Event::End(frame, kept) => match frame.kind {
                    frames::SETTINGS => {
                        seen.has_settings = true;
                        Ok(())
                    }
                    frames::RST_STREAM => match wire.reset(frame.stream, first_number(kept)) {
                        Some(false) => budgets.reset(now),
                        Some(true) => Ok(()),
                        None => budgets.idle(frame, now),
                    },
                    _ => {
                        if frame.is_end_of_headers() {
                            seen.header_block = None;
                        }
                        Ok(())
                    }
                },
            };
            if let Err(words) = counted {
                seen.flood.get_or_insert(words);
            }
        });
    }

    /// Reads what was sent to the client.
    fn went(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        let Self {
            outgoing,
            budgets,
            last,
            written,
            wire,
            sight,
            ..
        } = self;
        let now = Instant::now();
        outgoing.read(bytes, |event| match event {
            Event::Begin(frame) => {
                // What the proxy sends can't be too much.
                let _ = budgets.frame(frame, true, now);
            }
            Event::Payload(frame, count) => {
                if frame.kind == frames::DATA {
                    wire.data(frame.stream, count, false, *written);
                }
            }
            Event::End(frame, kept) => match frame.kind {
                frames::HEADERS => {
                    let begun = wire.answered(frame.stream, frame.is_end(), *written);
                    refused(begun, frame.stream, None, budgets, sight);
                }
                frames::DATA if frame.is_end() => wire.data(frame.stream, 0, true, *written),
                frames::RST_STREAM => {
                    let code = first_number(kept);
                    let begun = wire.was_reset(frame.stream, code);
                    refused(begun, frame.stream, Some(code), budgets, sight);
                }
                frames::GOAWAY => *last = first_number(kept) & 0x7fff_ffff,
                _ => {}
            },
        });
    }

    fn sent(&mut self, is_flushed: bool) {
        self.wire.passed(self.written, is_flushed);
    }

    fn broke(&self, error: &io::Error) {
        let words = tls::ended_words(error);
        self.wire.set_end(End::Broke(error.kind(), words));
    }
}

/// Notes a stream that the library refused before anybody served it, if it `begun`.
fn refused(
    begun: Option<Instant>,
    stream: u32,
    code: Option<u32>,
    budgets: &mut Budgets,
    sight: &Sight,
) {
    let Some(begun) = begun else {
        return;
    };
    let mut seen = sight.lock();
    seen.refused.push_back(Refused {
        stream,
        code,
        begun,
    });
    if let Err(words) = budgets.refusal(Instant::now()) {
        seen.flood.get_or_insert(words);
    }
}

/// The number at the beginning of a payload.
fn first_number(kept: [u8; 8]) -> u32 {
    let [a, b, c, d, ..] = kept;
    u32::from_be_bytes([a, b, c, d])
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.sight.lock().flood.is_some() {
            // The connection's task ends it.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(this.stream()?).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) => {
                let new = buf.filled().get(before..).unwrap_or_default();
                match new.is_empty() && buf.remaining() > 0 {
                    true => this.wire.set_end(End::Closed),
                    false => this.came(new),
                }
            }
            Poll::Ready(Err(error)) => this.broke(error),
            Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(this.stream()?).poll_write(cx, buf);
        match &written {
            Poll::Ready(Ok(count)) => {
                this.went(buf.get(..*count).unwrap_or_default());
                this.sent(false);
            }
            Poll::Ready(Err(error)) => this.broke(error),
            Poll::Pending => {}
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(this.stream()?).poll_write_vectored(cx, bufs);
        match &written {
            Poll::Ready(Ok(count)) => {
                let mut left = *count;
                for buf in bufs {
                    let some = left.min(buf.len());
                    this.went(buf.get(..some).unwrap_or_default());
                    left -= some;
                }
                this.sent(false);
            }
            Poll::Ready(Err(error)) => this.broke(error),
            Poll::Pending => {}
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = Pin::new(this.stream()?).poll_flush(cx);
        match &flushed {
            Poll::Ready(Ok(())) => this.sent(true),
            Poll::Ready(Err(error)) => this.broke(error),
            Poll::Pending => {}
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream()?).poll_shutdown(cx)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let stream = self.stream.take();
        self.sight.lock().parted = stream;
    }
}
