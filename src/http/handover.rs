//! Passes the one request of a hyper connection out of hyper, and its answer in.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request as HttpRequest, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::sync::oneshot;

use super::hold::Link;
use super::{Body, BodyError};

/// The body of an answer. When hyper has all of it, it tells the stream below hyper.
pub(super) struct HandedOver {
    pub body: Body,
    pub link: Link,
}

impl HttpBody for HandedOver {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        ready!(self.link.pace().poll());
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Bytes::len);
            self.link.pace().took(length);
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

impl Drop for HandedOver {
    fn drop(&mut self) {
        // hyper drops a body when it needs no more of it: at its end, or immediately if the answer has no body.
        self.link.handed();
    }
}

/// A hyper service for one request: it passes the request out of hyper and waits for the answer.
pub(super) struct Handover(Mutex<Option<Places>>);

impl Handover {
    /// Sends the request to `request` and takes its answer from `answer`.
    pub fn new(
        request: oneshot::Sender<HttpRequest<Incoming>>,
        answer: oneshot::Receiver<Response<Body>>,
    ) -> Self {
        Self(Mutex::new(Some((request, answer))))
    }
}

/// The sender of the request and the receiver of its answer.
type Places = (
    oneshot::Sender<HttpRequest<Incoming>>,
    oneshot::Receiver<Response<Body>>,
);

impl Service<HttpRequest<Incoming>> for Handover {
    type Response = Response<Body>;
    type Error = NoAnswer;
    type Future = PendingAnswer;

    fn call(&self, request: HttpRequest<Incoming>) -> PendingAnswer {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        PendingAnswer(places.map(|(sender, receiver)| {
            // If the receiver is gone, the connection's task is being dropped, and nothing more is polled.
            let _ = sender.send(request);
            receiver
        }))
    }
}

/// The future of the answer.
pub(super) struct PendingAnswer(Option<oneshot::Receiver<Response<Body>>>);

impl Future for PendingAnswer {
    type Output = Result<Response<Body>, NoAnswer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Some(receiver) => Pin::new(receiver).poll(cx).map_err(|_| NoAnswer),
            None => Poll::Ready(Err(NoAnswer)),
        }
    }
}

/// The error for a request that gets no answer, because the connection already has one.
#[derive(Debug)]
pub(super) struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no answer for this request")
    }
}

impl std::error::Error for NoAnswer {}
