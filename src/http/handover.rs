//! The one request of a hyper connection on its way out, and its answer on the way in.

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

/// The body of an answer, which tells the stream below hyper when hyper has all of it.
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
        // hyper lets go of a body when it needs no more of it: at its end, or at once where an answer has none.
        self.link.handed();
    }
}

/// Hands the one request out of hyper and waits for its answer.
pub(super) struct Handover(Mutex<Option<Places>>);

impl Handover {
    /// The request goes to the first, its answer comes from the second.
    pub fn new(
        request: oneshot::Sender<HttpRequest<Incoming>>,
        answer: oneshot::Receiver<Response<Body>>,
    ) -> Self {
        Self(Mutex::new(Some((request, answer))))
    }
}

/// Where the request goes, and where its answer comes from.
type Places = (
    oneshot::Sender<HttpRequest<Incoming>>,
    oneshot::Receiver<Response<Body>>,
);

impl Service<HttpRequest<Incoming>> for Handover {
    type Response = Response<Body>;
    type Error = NoAnswer;
    type Future = Answer;

    fn call(&self, request: HttpRequest<Incoming>) -> Answer {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Answer(places.map(|(sender, receiver)| {
            // Nobody waits when the connection's task is being dropped, and then nothing more is polled.
            let _ = sender.send(request);
            receiver
        }))
    }
}

/// The answer to come.
pub(super) struct Answer(Option<oneshot::Receiver<Response<Body>>>);

impl Future for Answer {
    type Output = Result<Response<Body>, NoAnswer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Some(receiver) => Pin::new(receiver).poll(cx).map_err(|_| NoAnswer),
            None => Poll::Ready(Err(NoAnswer)),
        }
    }
}

/// A request that gets no answer: a second one on a connection that carries one.
#[derive(Debug)]
pub(super) struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no answer for this request")
    }
}

impl std::error::Error for NoAnswer {}
