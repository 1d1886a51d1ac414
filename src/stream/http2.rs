//! A stream of an HTTP/2 connection that carries a tunnel (RFC 8441 section 5). The end of the stream is like the end of
//! a TCP connection, and a reset is like a reset.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire::{FlowHandle, Violation, code_name};

/// The most bytes that are handed to HTTP/2 at once.
const PIECE: usize = 16 * 1024;

/// Both directions of a stream. If it is dropped before it was shut down, the client gets RST_STREAM with CANCEL.
#[derive(Debug)]
pub struct Http2Stream {
    send: SendStream<Bytes>,
    /// `None`: nothing is read from it.
    receive: Option<RecvStream>,
    /// Bytes that came and were not read yet.
    rest: Bytes,
    flow: FlowHandle,
    /// How many bytes were handed to HTTP/2.
    given: u64,
    /// Whether the end was handed to HTTP/2.
    has_ended: bool,
}

impl Http2Stream {
    /// The stream of a request after the head of its answer.
    #[must_use]
    pub fn new(send: SendStream<Bytes>, receive: Option<RecvStream>, flow: FlowHandle) -> Self {
        // The task of the request ends now, and the tunnel has its own.
        flow.forget_watcher();
        Self {
            send,
            receive,
            rest: Bytes::new(),
            flow,
            given: 0,
            has_ended: false,
        }
    }

    /// What its connection knows about it.
    #[must_use]
    pub fn flow(&self) -> &FlowHandle {
        &self.flow
    }

    /// Resets the stream with CANCEL, as a broken TCP connection requires (RFC 8441 section 5).
    pub fn abort(&mut self) {
        self.has_ended = true;
        self.send.send_reset(Reason::CANCEL);
    }

    /// Ends the stream in order, unless that was done.
    fn end(&mut self) -> io::Result<()> {
        if !self.has_ended {
            self.has_ended = true;
            self.send
                .send_data(Bytes::new(), true)
                .map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// The error of the stream. What the bytes of the connection show is more exact than what the library says.
    fn failed(&self, error: &h2::Error) -> io::Error {
        let said = || io::Error::new(io::ErrorKind::ConnectionReset, error.to_string());
        self.flow.error().unwrap_or_else(said)
    }
}

/// What a client did, if the HTTP/2 library ended the connection because of it. `words` are more exact than the
/// library's error.
#[must_use]
pub fn violation(error: &h2::Error, words: Option<String>) -> Violation {
    let code = error.reason().map_or(0, u32::from);
    let told = format!("the client got GOAWAY with {}", code_name(code));
    // What GOAWAY says beside the code is between quotation marks.
    let said = error.to_string();
    let said = said.split('"').nth(1).map(str::to_owned);
    Violation {
        is_flood: error.reason() == Some(Reason::ENHANCE_YOUR_CALM),
        words: match words.or(said) {
            Some(words) => format!("{words}; {told}"),
            None => told,
        },
    }
}

impl FlowHandle {
    /// The error of a stream that the library has ended with `error`. Pending until the connection has said why it ended,
    /// if it ended because of what the client did: the library tells its streams first.
    pub fn poll_failed(&self, cx: &Context<'_>, error: h2::Error) -> Poll<io::Error> {
        let is_told_later = error.is_go_away() && error.is_library();
        if self.error().is_none() && is_told_later {
            self.register(cx);
        }
        match self.error() {
            Some(error) => Poll::Ready(error),
            None if is_told_later => Poll::Pending,
            None => Poll::Ready(match error.into_io() {
                Some(error) => error,
                None => io::ErrorKind::ConnectionReset.into(),
            }),
        }
    }
}

/// Waits for room to send `wanted` bytes, and returns how many there is room for, at least 1.
///
/// # Errors
/// The stream's.
pub fn poll_room(
    send: &mut SendStream<Bytes>,
    wanted: usize,
    flow: &FlowHandle,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    send.reserve_capacity(wanted);
    loop {
        let room = send.capacity();
        if room > 0 {
            return Poll::Ready(Ok(room.min(wanted)));
        }
        match ready!(send.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return flow.poll_failed(cx, error).map(Err),
            None => {
                let ended = || io::Error::from(io::ErrorKind::BrokenPipe);
                return Poll::Ready(Err(flow.error().unwrap_or_else(ended)));
            }
        }
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(receive) = &mut this.receive else {
            return Poll::Ready(Ok(()));
        };
        while this.rest.is_empty() {
            match ready!(receive.poll_data(cx)) {
                Some(Ok(bytes)) => this.rest = bytes,
                None => return Poll::Ready(Ok(())),
                // Like the end of a TCP connection.
                Some(Err(_)) if this.flow.is_closed() => return Poll::Ready(Ok(())),
                Some(Err(error)) => return this.flow.poll_failed(cx, error).map(Err),
            }
        }
        let count = this.rest.len().min(buf.remaining());
        buf.put_slice(this.rest.get(..count).unwrap_or_default());
        this.rest.advance(count);
        // Only now may the client send more. This fails only if the stream is over.
        let _ = receive.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let wanted = buf.len().min(PIECE);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let count = ready!(poll_room(&mut this.send, wanted, &this.flow, cx))?;
        let piece = Bytes::copy_from_slice(buf.get(..count).unwrap_or_default());
        this.send
            .send_data(piece, false)
            .map_err(|error| this.failed(&error))?;
        this.given += count as u64;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flow.poll_gone(cx, self.given, false)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end()?;
        self.flow.poll_gone(cx, self.given, true)
    }
}
