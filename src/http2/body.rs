//! The body of a request over HTTP/2.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::http::BodyError;
use crate::stream::FlowHandle;

/// Why the library resets a stream whose head was good.
pub(super) const MALFORMED: &str =
    "the length of the DATA differs from Content-Length, or the trailers are malformed";

/// What happened to a body.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Whether somebody has asked for it.
    pub is_wanted: AtomicBool,
    /// Whether all of it was read.
    pub is_read: AtomicBool,
    /// Whether the library reset its stream, because it is malformed.
    pub is_refused: AtomicBool,
}

/// The body of a request. The client may send more only when a piece is taken.
#[derive(Debug)]
pub(super) struct Body {
    receive: RecvStream,
    flow: FlowHandle,
    /// How much is to come, if the head says so.
    left: Option<u64>,
    has_data_ended: bool,
    /// For whoever waits for the answer.
    progress: Arc<Progress>,
}

impl Body {
    /// A body of `length` bytes; `None`: it is not known.
    pub fn new(
        receive: RecvStream,
        flow: FlowHandle,
        length: Option<u64>,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            receive,
            flow,
            left: length,
            has_data_ended: false,
            progress,
        }
    }

    /// Why the body ended early. If the library reset the stream, it is malformed: its length is not the one that was
    /// announced (RFC 9113 section 8.1.1), or its trailers are not valid.
    fn poll_failed(&self, cx: &Context<'_>, error: h2::Error) -> Poll<BodyError> {
        if error.is_reset() && error.is_library() {
            self.progress.is_refused.store(true, Relaxed);
            let malformed = io::Error::new(io::ErrorKind::InvalidData, MALFORMED);
            return Poll::Ready(malformed.into());
        }
        self.flow.poll_failed(cx, error).map(BodyError::from)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        this.progress.is_wanted.store(true, Relaxed);
        while !this.has_data_ended {
            match ready!(this.receive.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    // This fails only if the stream is over.
                    let _ = this.receive.flow_control().release_capacity(bytes.len());
                    if bytes.is_empty() {
                        continue;
                    }
                    if this.receive.is_end_stream() {
                        this.progress.is_read.store(true, Relaxed);
                    }
                    this.left = this
                        .left
                        .map(|left| left.saturating_sub(bytes.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => {
                    return this.poll_failed(cx, error).map(|error| Some(Err(error)));
                }
                None => this.has_data_ended = true,
            }
        }
        match ready!(this.receive.poll_trailers(cx)) {
            Ok(trailers) => {
                this.progress.is_read.store(true, Relaxed);
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Err(error) => this.poll_failed(cx, error).map(|error| Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.receive.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
