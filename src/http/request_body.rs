//! The body of a request on its way to the upstream, read on demand.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::hold::Link;
use super::{Body, BodyError, respond};

/// A request's body.
#[derive(Debug)]
pub struct RequestBody(Kind);

#[derive(Debug)]
enum Kind {
    /// One that hyper reads. hyper reads the next piece only when it is asked for: otherwise one more piece would wait in
    /// hyper for each client whose upstream does not read.
    Hyper { body: Incoming, link: Link },
    /// Any other one.
    Other(Body),
}

impl RequestBody {
    pub(super) fn new(body: Incoming, link: Link) -> Self {
        Self(Kind::Hyper { body, link })
    }

    /// A body that arrives in another way.
    pub(crate) fn boxed(
        body: impl HttpBody<Data = Bytes, Error = BodyError> + Send + 'static,
    ) -> Self {
        Self(Kind::Other(body.boxed_unsync()))
    }

    /// No body.
    pub(crate) fn none() -> Self {
        Self(Kind::Other(respond::empty()))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (body, link) = match &mut self.0 {
            Kind::Hyper { body, link } => (body, link),
            Kind::Other(body) => return Pin::new(body).poll_frame(cx),
        };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                // After the last piece hyper must go on, to notice the client's end.
                let length = match body.is_end_stream() {
                    false => frame.data_ref().map_or(0, Bytes::len),
                    true => 0,
                };
                link.intake().took(length);
            }
            Poll::Ready(_) => {}
            Poll::Pending => link.intake().flushed(cx),
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(BodyError::from)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Hyper { body, .. } => body.is_end_stream(),
            Kind::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Hyper { body, .. } => body.size_hint(),
            Kind::Other(body) => body.size_hint(),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Kind::Hyper { link, .. } = &self.0 {
            // Nobody reads the rest; hyper decides what happens to it.
            link.intake().took(0);
        }
    }
}
