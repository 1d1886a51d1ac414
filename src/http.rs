//! The http stage: one HTTP/1.1 request of a connection, read within bounds, checked and answered.
//!
//! Takes a [`ClientStream`]; gives a [`Request`] and, once answered with 101, the bare stream again; fails with the
//! `http_…`, `ws_…` and `h2c_…` reasons (RFC 9112, RFC 6455 section 4.2.1). hyper parses and writes; the raw head is
//! checked before hyper sees it ([`head`]), and what the client sends while it waits is held below hyper.

pub mod fields;
pub mod forwarded;
pub mod glimpse;
pub mod head;
mod hold;
pub mod opening;
pub mod respond;
pub mod via;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request as HttpRequest, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;

use crate::reason::{Failure, Reason};
use crate::stream::ClientStream;
use head::RawHead;
use hold::{Hold, Phase};

/// Smallest buffer that hyper takes.
pub(crate) const HYPER_MIN_BUFFER: usize = 8192;

/// A response body: our own short text, or the upstream's as it comes.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body could not be produced to its end.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A connection whose request waits for its answer.
pub struct Exchange {
    connection: http1::Connection<TokioIo<Hold>, Handover>,
    answer: oneshot::Sender<Response<Body>>,
    phase: Phase,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

/// A connection whose head hyper could not parse, unanswered.
#[derive(Debug)]
pub struct Unparsed {
    /// `http_malformed`, with hyper's words.
    pub failure: Failure,
    /// The head.
    pub head: Vec<u8>,
    /// The stream, no longer hyper's.
    pub stream: ClientStream,
}

/// A client that left while it should have waited.
#[derive(Debug)]
pub struct Gone {
    /// How: in order (`None`) or broken.
    pub error: Option<io::Error>,
}

/// A connection after its answer was written.
#[derive(Debug)]
pub struct Answered {
    /// The stream, no longer hyper's.
    pub stream: ClientStream,
    /// What the client had sent meanwhile.
    pub held: Vec<u8>,
    /// Why the answer could not be written whole.
    pub error: Option<BodyError>,
}

impl Exchange {
    /// Lets hyper parse a checked head.
    ///
    /// # Errors
    /// [`Unparsed`] when hyper refuses what passed our own check.
    pub async fn begin(
        stream: ClientStream,
        raw: RawHead,
        limit: usize,
    ) -> Result<(Parts, Self), Unparsed> {
        let phase = Phase::new();
        let (request_sender, request) = oneshot::channel();
        let (answer, answer_receiver) = oneshot::channel();
        let handover = Handover(Mutex::new(Some((request_sender, answer_receiver))));
        let mut connection = http1::Builder::new()
            .preserve_header_case(true)
            .max_headers(head::MAX_FIELDS)
            .max_buf_size(limit.max(HYPER_MIN_BUFFER))
            .timer(TokioTimer::new())
            // The head is complete already; this only keeps hyper's own default from mattering.
            .header_read_timeout(Duration::from_secs(30))
            .serve_connection(
                TokioIo::new(Hold::new(stream, raw, phase.clone())),
                handover,
            );
        let mut request = pin!(request);
        let begun = poll_fn(|cx| {
            if let Poll::Ready(Ok(request)) = request.as_mut().poll(cx) {
                return Poll::Ready(Ok(request));
            }
            match connection.poll_without_shutdown(cx) {
                // The request may have been handed over in this very poll.
                Poll::Pending => request.as_mut().poll(cx).map_err(|_| malformed(None)),
                Poll::Ready(outcome) => Poll::Ready(Err(malformed(outcome.err()))),
            }
        })
        .await;
        match begun {
            Ok(parts) => Ok((
                parts,
                Self {
                    connection,
                    answer,
                    phase,
                },
            )),
            Err(failure) => {
                let (stream, head) = connection.into_parts().io.into_inner().into_refused();
                Err(Unparsed {
                    failure,
                    head,
                    stream,
                })
            }
        }
    }

    /// Runs `work` while the client waits.
    ///
    /// # Errors
    /// [`Gone`] when the client leaves first; `work` is dropped then.
    pub async fn meanwhile<F: Future>(mut self, work: F) -> Result<(Self, F::Output), Gone> {
        self.phase.wait();
        let mut work = pin!(work);
        let output = poll_fn(|cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            // Without an answer hyper ends only because the client did.
            self.connection.poll_without_shutdown(cx).map(|_| None)
        })
        .await;
        match output {
            Some(output) => Ok((self, output)),
            None => Err(Gone {
                error: self.connection.into_parts().io.into_inner().into_error(),
            }),
        }
    }

    /// Writes the answer and gives the stream back, flushed but not shut down.
    ///
    /// Ends early when writing takes longer than `patience`.
    pub async fn answer(self, response: Response<Body>, patience: Duration) -> Answered {
        let Self {
            mut connection,
            answer,
            phase,
        } = self;
        phase.answer();
        // Refused only when the connection has ended, which the poll below reports.
        let _ = answer.send(response);
        let written =
            tokio::time::timeout(patience, poll_fn(|cx| connection.poll_without_shutdown(cx)))
                .await;
        let (stream, held) = connection.into_parts().io.into_inner().into_parts();
        let error = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.into()),
            Err(_) => Some("the client does not read".into()),
        };
        Answered {
            stream,
            held,
            error,
        }
    }
}

fn malformed(error: Option<hyper::Error>) -> Failure {
    let words = error.map_or_else(
        || "no request in the head".to_owned(),
        |error| error.to_string(),
    );
    Failure::new(Reason::HttpMalformed, words)
}

/// Hands the one request out of hyper and waits for its answer.
struct Handover(Mutex<Option<Places>>);

/// Where the request goes, and where its answer comes from.
type Places = (oneshot::Sender<Parts>, oneshot::Receiver<Response<Body>>);

impl Service<HttpRequest<Incoming>> for Handover {
    type Response = Response<Body>;
    type Error = NoAnswer;
    type Future = Answer;

    fn call(&self, request: HttpRequest<Incoming>) -> Answer {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Answer(places.map(|(sender, receiver)| {
            // Nobody waits when the connection's task is being dropped, and then nothing more is polled.
            let _ = sender.send(request.into_parts().0);
            receiver
        }))
    }
}

/// The answer to come.
struct Answer(Option<oneshot::Receiver<Response<Body>>>);

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
struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no answer for this request")
    }
}

impl std::error::Error for NoAnswer {}
