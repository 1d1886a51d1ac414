//! The body of a request on its way out of hyper, read on demand.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::hold::Link;

/// A request's body. hyper reads the next piece only when it is asked for: otherwise one more piece would wait in hyper
/// for each client whose upstream does not read.
#[derive(Debug)]
pub struct RequestBody {
    body: Incoming,
    link: Link,
}

impl RequestBody {
    pub(super) fn new(body: Incoming, link: Link) -> Self {
        Self { body, link }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                // After the last piece hyper must go on, to notice the client's end.
                let length = match self.body.is_end_stream() {
                    false => frame.data_ref().map_or(0, Bytes::len),
                    true => 0,
                };
                self.link.intake().took(length);
            }
            Poll::Ready(_) => {}
            Poll::Pending => self.link.intake().flushed(cx),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        // Nobody reads the rest; hyper decides what happens to it.
        self.link.intake().took(0);
    }
}
