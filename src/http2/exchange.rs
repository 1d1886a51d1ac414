//! A request over HTTP/2 that waits for its answer.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use tokio::time::Sleep;

use super::body::{Body as Received, MALFORMED, Progress};
use super::ended;
use super::request::without_hop_fields;
use crate::http::{Answered, Body, BodyError, Delivered, Gone, Leaving, RequestBody, Undelivered};
use crate::reason::{Failure, Reason};
use crate::stream::{ClientStream, FlowHandle, Http2Stream, poll_room};

/// A request that has arrived on a stream.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// Its head, as it came.
    pub request: Parts,
    /// Whether nothing follows the head.
    pub is_over: bool,
    pub(super) receive: RecvStream,
    pub(super) respond: SendResponse<Bytes>,
    pub(super) flow: FlowHandle,
}

impl Arrived {
    /// The number of its stream.
    pub fn stream(&self) -> u32 {
        self.flow.id()
    }

    /// When its first frame came.
    pub fn begun(&self) -> tokio::time::Instant {
        self.flow.begun()
    }

    /// Refuses the stream, so that the client may try again elsewhere (RFC 9113 section 8.7).
    pub fn turn_away(mut self) {
        self.respond.send_reset(Code::REFUSED_STREAM);
    }

    /// The request, and where its answer goes.
    pub fn begin(self) -> (Parts, Exchange) {
        let Self {
            request,
            is_over,
            receive,
            respond,
            flow,
        } = self;
        let exchange = Exchange {
            respond,
            receive: Some(receive),
            flow,
            is_head: request.method == Method::HEAD,
            waits: !is_over && request.headers.contains_key(header::EXPECT),
            has_body: !is_over,
            progress: Arc::default(),
        };
        (request, exchange)
    }
}

/// A stream whose request waits for its answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    respond: SendResponse<Bytes>,
    /// What follows the head. `None`: it is read as the request's body.
    receive: Option<RecvStream>,
    flow: FlowHandle,
    /// Whether the request asks for the head of an answer only.
    is_head: bool,
    /// Whether the client waits for a 100 before it sends its body.
    waits: bool,
    has_body: bool,
    /// What happened to the body.
    progress: Arc<Progress>,
}

impl Exchange {
    /// The body of a request whose head announces `length` bytes.
    pub fn body(&mut self, length: Option<u64>) -> RequestBody {
        match self.receive.take().filter(|_| self.has_body) {
            Some(receive) => {
                let progress = Arc::clone(&self.progress);
                let body = Received::new(receive, self.flow.clone(), length, progress);
                RequestBody::boxed(body)
            }
            None => RequestBody::none(),
        }
    }

    /// Runs `work` while the client waits. When `work` asks for the body, a client that waits for a 100 gets it.
    ///
    /// # Errors
    /// [`Gone`] if the client resets the stream or its connection ends; `work` is dropped then.
    pub async fn meanwhile<F: Future>(mut self, work: F) -> Result<(Self, F::Output), Gone> {
        let flow = self.flow.clone();
        let (mut work, mut broken) = (pin!(work), pin!(flow.broken()));
        let done = poll_fn(|cx| {
            if let Poll::Ready(error) = broken.as_mut().poll(cx) {
                return Poll::Ready(Err(error));
            }
            let polled = work.as_mut().poll(cx);
            if self.waits && self.progress.is_wanted.load(Relaxed) {
                self.waits = false;
                let mut interim = Response::new(());
                *interim.status_mut() = StatusCode::CONTINUE;
                // This fails only if the stream is over, which the next poll notices.
                let _ = self.respond.send_informational(interim);
            }
            polled.map(Ok)
        })
        .await;
        let error = match done {
            Err(error) => Some(error),
            // The reason has to come from the body.
            Ok(_) if self.progress.is_refused.load(Relaxed) => None,
            Ok(output) => return Ok((self, output)),
        };
        Err(Gone {
            how: self.leaving(error),
            stream: None,
        })
    }

    /// What the client did instead of waiting; `None`: its body is malformed. If it has got RST_STREAM or GOAWAY, it
    /// gets no answer.
    fn leaving(&self, error: Option<io::Error>) -> Leaving {
        let in_body =
            self.receive.is_none() && self.has_body && !self.progress.is_read.load(Relaxed);
        let malformed = || Failure::new(Reason::HttpFramingConflict, MALFORMED).unanswered();
        let Some(error) = error else {
            return Leaving::Misframed(malformed());
        };
        match ended(&error) {
            Some(_) if in_body && error.kind() == io::ErrorKind::InvalidData => {
                Leaving::Misframed(malformed())
            }
            Some(failure) if failure.reason != Reason::ClientReset => {
                Leaving::Misframed(failure.unanswered())
            }
            _ => Leaving::Left {
                error: Some(error),
                in_body,
            },
        }
    }

    /// Whether the stream is over, so that no answer can reach the client.
    pub fn is_over(&self) -> bool {
        self.flow.error().is_some()
    }

    /// Sends the head of an answer.
    fn send_head(
        &mut self,
        mut response: Response<()>,
        is_end: bool,
    ) -> Result<SendStream<Bytes>, BodyError> {
        // RFC 9110 section 6.6.1. Over HTTP/1.1, hyper adds it.
        let date = response.headers_mut().entry(header::DATE);
        date.or_insert_with(now);
        self.respond
            .send_response(response, is_end)
            .map_err(|error| match self.flow.error() {
                Some(error) => error.into(),
                None => error.into(),
            })
    }

    /// Writes an answer as its body arrives.
    ///
    /// Ends early if the client leaves, or accepts nothing for `patience` although bytes wait for it.
    pub async fn deliver(mut self, response: Response<Body>, patience: Duration) -> Delivered {
        let delivered = self.write(response, patience).await;
        Delivered {
            stream: None,
            held: Vec::new(),
            begun: None,
            answered: delivered.is_ok(),
            whole: false,
            error: delivered.err(),
        }
    }

    async fn write(
        &mut self,
        response: Response<Body>,
        patience: Duration,
    ) -> Result<(), Undelivered> {
        let left = |error: BodyError| match error.downcast::<io::Error>() {
            Ok(error) => undelivered(&error),
            Err(error) => Undelivered::Left(error.to_string()),
        };
        let (mut head, body) = response.into_parts();
        without_hop_fields(&mut head.headers);
        let is_end = self.is_head || body.is_end_stream();
        if let Some(length) = body.size_hint().exact().filter(|_| !is_end) {
            let announced = head.headers.entry(header::CONTENT_LENGTH);
            announced.or_insert_with(|| length.into());
        }
        let head = Response::from_parts(head, ());
        let send = self.send_head(head, is_end).map_err(left)?;
        let mut writing = Writing {
            send,
            flow: self.flow.clone(),
            body: (!is_end).then_some(body),
            broken: None,
            is_last: false,
            piece: Bytes::new(),
            given: 0,
            stall: None,
            patience,
        };
        let mut broken = pin!(self.flow.broken());
        poll_fn(|cx| {
            if let Poll::Ready(written) = writing.poll(cx) {
                return Poll::Ready(written);
            }
            broken
                .as_mut()
                .poll(cx)
                .map(|error| Err(undelivered(&error)))
        })
        .await
    }

    /// Writes a short answer. If it is a 101, the client gets a 200, and the stream goes on.
    ///
    /// Ends early if the client leaves, or if writing takes longer than `patience`.
    pub async fn answer(mut self, response: Response<Body>, patience: Duration) -> Answered {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let written = tokio::time::timeout(patience, self.write(response, patience)).await;
            let error = match written {
                Ok(Ok(())) => None,
                Ok(Err(Undelivered::Left(words) | Undelivered::Broken(words))) => {
                    Some(words.into())
                }
                Ok(Err(Undelivered::Stalled | Undelivered::Misframed(_))) | Err(_) => {
                    Some("the client does not read".into())
                }
            };
            return Answered {
                stream: None,
                held: Vec::new(),
                error,
            };
        }
        let (stream, error) = match self.switch(response) {
            Ok(stream) => (Some(stream), None),
            Err(error) => (None, Some(error)),
        };
        Answered {
            stream,
            held: Vec::new(),
            error,
        }
    }

    /// The stream of a tunnel (RFC 8441 section 5).
    fn switch(&mut self, response: Response<Body>) -> Result<ClientStream, BodyError> {
        let (mut head, _) = response.into_parts();
        without_hop_fields(&mut head.headers);
        head.headers.remove(header::CONTENT_LENGTH);
        head.status = StatusCode::OK;
        if let Some(error) = self.flow.error() {
            return Err(error.into());
        }
        let send = self.send_head(Response::from_parts(head, ()), false)?;
        let stream = Http2Stream::new(send, self.receive.take(), self.flow.clone());
        Ok(ClientStream::Http2(Box::new(stream)))
    }
}

/// Why an answer can't be written any more.
fn undelivered(error: &io::Error) -> Undelivered {
    match ended(error) {
        Some(failure) if failure.reason != Reason::ClientReset => Undelivered::Misframed(failure),
        _ => Undelivered::Left(error.to_string()),
    }
}

/// The time in the form of HTTP.
fn now() -> HeaderValue {
    let now = httpdate::fmt_http_date(SystemTime::now());
    HeaderValue::try_from(now).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// An answer that is being written.
struct Writing {
    send: SendStream<Bytes>,
    flow: FlowHandle,
    /// `None` after its end.
    body: Option<Body>,
    /// Why the body ended too early.
    broken: Option<String>,
    /// Whether nothing follows `piece`.
    is_last: bool,
    /// What waits for room.
    piece: Bytes,
    /// How many bytes were handed to HTTP/2.
    given: u64,
    /// Since when nothing went, and how much had gone before.
    stall: Option<(u32, Pin<Box<Sleep>>)>,
    patience: Duration,
}

impl Writing {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Undelivered>> {
        loop {
            if !self.piece.is_empty() {
                let room = poll_room(&mut self.send, self.piece.len(), &self.flow, cx);
                let Poll::Ready(room) = room else {
                    return self.poll_stall(cx);
                };
                let room = room.map_err(|error| undelivered(&error))?;
                let piece = self.piece.split_to(room);
                self.given += piece.len() as u64;
                // A client may leave as soon as it has as much as was announced.
                let is_end = self.piece.is_empty() && self.is_last;
                if is_end {
                    self.body = None;
                }
                self.hand_on(piece, is_end)?;
                continue;
            }
            if let Some(words) = &self.broken {
                // A reset would take back what has not gone.
                if self.flow.poll_gone(cx, self.given, false).is_pending() {
                    return self.poll_stall(cx);
                }
                let words = words.clone();
                // The client must not take a part of an answer for the whole.
                self.send.send_reset(Code::INTERNAL_ERROR);
                return Poll::Ready(Err(Undelivered::Broken(words)));
            }
            let Some(body) = &mut self.body else {
                return match self.flow.poll_gone(cx, self.given, true) {
                    Poll::Ready(gone) => Poll::Ready(gone.map_err(|error| undelivered(&error))),
                    Poll::Pending => self.poll_stall(cx),
                };
            };
            let polled = Pin::new(&mut *body).poll_frame(cx);
            // The time in which the upstream sends nothing is not the client's.
            let has_gone = self.flow.poll_gone(cx, self.given, false).is_ready();
            if has_gone {
                self.stall = None;
            }
            let Poll::Ready(frame) = polled else {
                return match has_gone {
                    true => Poll::Pending,
                    false => self.poll_stall(cx),
                };
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.is_last = body.is_end_stream();
                        self.piece = data;
                    }
                    Err(frame) => {
                        self.body = None;
                        let mut trailers = frame.into_trailers().unwrap_or_default();
                        without_hop_fields(&mut trailers);
                        self.send
                            .send_trailers(trailers)
                            .map_err(|error| self.left(&error))?;
                    }
                },
                Some(Err(error)) => {
                    self.body = None;
                    self.broken = Some(error.to_string());
                }
                None => {
                    self.body = None;
                    self.hand_on(Bytes::new(), true)?;
                }
            }
        }
    }

    fn hand_on(&mut self, piece: Bytes, is_end: bool) -> Result<(), Undelivered> {
        self.send
            .send_data(piece, is_end)
            .map_err(|error| self.left(&error))
    }

    fn left(&self, error: &h2::Error) -> Undelivered {
        match self.flow.error() {
            Some(error) => undelivered(&error),
            None => Undelivered::Left(error.to_string()),
        }
    }

    /// Ready if nothing went for too long.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Undelivered>> {
        let taken = self.flow.taken();
        if self
            .stall
            .as_ref()
            .is_none_or(|(before, _)| *before != taken)
        {
            self.stall = Some((taken, Box::pin(tokio::time::sleep(self.patience))));
        }
        match &mut self.stall {
            Some((_, sleep)) => sleep.as_mut().poll(cx).map(|()| {
                self.send.send_reset(Code::CANCEL);
                Err(Undelivered::Stalled)
            }),
            None => Poll::Pending,
        }
    }
}
