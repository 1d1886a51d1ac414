//! The http stage: reads the HTTP/1.1 requests of a connection one after the other, within bounds, checks them and
//! writes the answers.
//!
//! Takes a [`ClientStream`]. Gives a request and, after its answer, the bare stream again. Fails with the `http_…`,
//! `ws_…` and `h2c_…` reasons (RFC 9112, RFC 6455 section 4.2.1).
//!
//! hyper parses and writes, with a new parser for each request. The raw head is checked before hyper sees it
//! ([`head`]), and what the client sends after the request is held below hyper.

pub mod body;
mod carrier;
pub(crate) mod fields;
pub(crate) mod forwarded;
pub(crate) mod framing;
pub mod glimpse;
mod handover;
pub mod head;
mod hold;
pub(crate) mod opening;
mod outcome;
pub(crate) mod pace;
mod request_body;
pub(crate) mod respond;
pub(crate) mod target;
pub(crate) mod trace;
pub(crate) mod via;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request as HttpRequest, Response, Version};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Sleep;

use crate::reason::{Failure, Reason};
use crate::stream::{ClientStream, Watch};
use carrier::{Carrier, Kind};
use handover::HandedOver;
use head::RawHead;
use hold::{End, Hold, Link};
pub(crate) use outcome::{Answered, Delivered, Gone, Leaving, Undelivered, Unparsed};
pub(crate) use request_body::RequestBody;

/// The smallest buffer that hyper allows.
pub(crate) const HYPER_MIN_BUFFER: usize = 8192;

/// How many bytes hyper gets at once. If they filled its buffer, it would make the next one twice as large.
pub(crate) const HYPER_PIECE: usize = HYPER_MIN_BUFFER - 1;

/// The body of a response: the proxy's own short text, or the upstream's body as it arrives.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ended early.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// How long hyper is kept for a request without a body that waits for its answer. Longer waits come in great numbers
/// when an upstream is slow, and hyper's buffers would be most of their memory.
pub(crate) const PARK_AFTER: Duration = Duration::from_millis(50);

/// A connection whose request waits for its answer.
pub(crate) struct Exchange {
    carrier: Carrier,
    link: Link,
    /// Whether the request has a body.
    has_body: bool,
    kind: Kind,
    /// Notices the end of a client that is not being read.
    watch: Watch,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

impl Exchange {
    /// Lets hyper parse a checked head. Also gives the body, which is read on demand.
    ///
    /// # Errors
    /// [`Unparsed`] if hyper refuses a head that passed our own check.
    pub async fn begin(
        stream: ClientStream,
        raw: RawHead,
        limit: usize,
    ) -> Result<(HttpRequest<RequestBody>, Self), Unparsed> {
        let link = Link::default();
        let watch = stream.watch();
        let has_body = !raw.body.is_done();
        let (mut connection, request, answer) =
            carrier::start(Hold::new(stream, raw, link.clone()), limit);
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
            Ok(request) => {
                let request = request.map(|body| RequestBody::new(body, link.clone()));
                let exchange = Self {
                    carrier: Carrier::Hyper(connection, answer),
                    link,
                    has_body,
                    kind: Kind::of(&request),
                    watch,
                };
                Ok((request, exchange))
            }
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

    /// Runs `work` while the client waits. The request's body is read on demand of `work`, after a 100 if the client
    /// waits for one.
    ///
    /// # Errors
    /// [`Gone`] if the client leaves first; `work` is dropped then.
    pub async fn meanwhile<F: Future>(self, work: F) -> Result<(Self, F::Output), Gone> {
        self.link.pass();
        self.attend(work).await
    }

    /// Reads the rest of the request's body and throws it away, at most `most` bytes and for at most `patience`.
    /// Returns whether its end was reached.
    ///
    /// # Errors
    /// [`Gone`] if the client leaves before that end, or if the body is invalid.
    pub async fn discard(
        self,
        mut body: RequestBody,
        most: usize,
        patience: Duration,
    ) -> Result<(Self, bool), Gone> {
        // A client that only closes its sending side still gets its answer.
        self.link.reply();
        let reading = async {
            let mut left = most;
            while let Some(frame) = body.frame().await {
                let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
                left = left.checked_sub(length)?;
            }
            Some(())
        };
        let whole = async { tokio::time::timeout(patience, reading).await == Ok(Some(())) };
        self.attend(Box::pin(whole)).await
    }

    async fn attend<F: Future>(mut self, work: F) -> Result<(Self, F::Output), Gone> {
        let mut work = pin!(work);
        let mut broken = pin!(broken_off(self.watch.clone(), self.link.clone()));
        let mut park = pin!((!self.has_body).then(|| tokio::time::sleep(PARK_AFTER)));
        let error = loop {
            let event = poll_fn(|cx| {
                // An invalid body also makes `work` fail, but the reason has to come from the body.
                if self.link.is_ended() {
                    return Poll::Ready(Waited::Left(None));
                }
                if let Poll::Ready(output) = work.as_mut().poll(cx) {
                    return Poll::Ready(Waited::Done(output));
                }
                let ended = match &mut self.carrier {
                    // hyper has nothing to do until `work` asks for more of the body, and a poll would make it allocate
                    // a buffer.
                    Carrier::Hyper(..) if self.link.intake().is_taken() => false,
                    Carrier::Hyper(connection, _) => {
                        connection.poll_without_shutdown(cx).is_ready()
                    }
                    Carrier::Parked(hold) => hold.poll_ahead(cx).is_ready(),
                };
                // Before there is an answer, hyper ends only if the client did.
                if ended || self.link.is_ended() {
                    return Poll::Ready(Waited::Left(None));
                }
                if let Poll::Ready(error) = broken.as_mut().poll(cx) {
                    return Poll::Ready(Waited::Left(Some(error)));
                }
                let parks = park.as_mut().as_pin_mut();
                parks.map_or(Poll::Pending, |park| park.poll(cx).map(|()| Waited::Long))
            })
            .await;
            match event {
                Waited::Done(output) => return Ok((self, output)),
                Waited::Left(error) => break error,
                Waited::Long => {
                    park.set(None);
                    self.carrier = Carrier::Parked(Box::new(self.carrier.into_hold()));
                }
            }
        };
        let (stream, end, in_body) = self.carrier.into_hold().into_end();
        let how = match error.map_or(end, End::Broke) {
            End::Left => Leaving::Left {
                error: None,
                in_body,
            },
            End::Broke(error) => Leaving::Left {
                error: Some(error),
                in_body,
            },
            End::Misframed(failure) => Leaving::Misframed(failure),
        };
        Err(Gone {
            how,
            stream: Some(stream),
        })
    }

    /// Writes the answer to a plain request as its body arrives, and gives the stream back, flushed but not shut down.
    /// `is_own`: the answer is the proxy's own and is already complete.
    ///
    /// Ends early if the client leaves, or accepts nothing for `patience` although bytes wait for it.
    pub async fn deliver(
        self,
        response: Response<Body>,
        is_own: bool,
        patience: Duration,
    ) -> Delivered {
        let Self {
            carrier,
            link,
            kind,
            watch,
            ..
        } = self;
        let (mut connection, answer) = carrier.revived(kind);
        match is_own {
            true => link.reply(),
            false => link.pass(),
        }
        let mut response = handed_over(response, &link);
        // For an HTTP/1.0 request hyper might otherwise add keep-alive to an HTTP/1.1 answer.
        *response.version_mut() = kind.version;
        // This fails only if the connection has ended, which the poll below reports.
        let _ = answer.send(response);
        let mut stall: Option<(u64, Pin<Box<Sleep>>)> = None;
        let mut broken_off = pin!(broken_off(watch, link.clone()));
        let ended = poll_fn(|cx| {
            match connection.poll_without_shutdown(cx) {
                Poll::Ready(outcome) => return Poll::Ready(Ok(outcome)),
                Poll::Pending if link.is_delivered() => return Poll::Ready(Ok(Ok(()))),
                Poll::Pending => {}
            }
            if let Poll::Ready(error) = broken_off.as_mut().poll(cx) {
                return Poll::Ready(Err(Undelivered::Left(error.to_string())));
            }
            let Some(written) = link.blocked_at() else {
                stall = None;
                return Poll::Pending;
            };
            if stall.as_ref().is_none_or(|(before, _)| *before != written) {
                stall = Some((written, Box::pin(tokio::time::sleep(patience))));
            }
            match &mut stall {
                Some((_, sleep)) => sleep.as_mut().poll(cx).map(|()| Err(Undelivered::Stalled)),
                None => Poll::Pending,
            }
        })
        .await;
        let is_delivered = link.is_delivered();
        let (hold, leftover) = {
            let parts = connection.into_parts();
            (parts.io.into_inner(), parts.read_buf)
        };
        let left = hold.left();
        let begun = hold.held_since();
        let (stream, held, is_read) = hold.into_parts();
        let error = match ended {
            // A clean end while the last bytes were being written does not matter.
            Ok(_) if is_delivered => left.filter(|how| matches!(how, Undelivered::Misframed(_))),
            Ok(Ok(())) => left,
            Ok(Err(error)) => Some(left.unwrap_or_else(|| error.into())),
            Err(given_up) => Some(given_up),
        };
        Delivered {
            stream: Some(stream),
            held,
            begun,
            answered: is_delivered,
            whole: is_delivered && is_read && leftover.is_empty(),
            error,
        }
    }

    /// Gives back the stream of an HTTP/1.0 request. hyper must not write the answer, because it would say HTTP/1.0 in
    /// it.
    ///
    /// # Errors
    /// The exchange itself, if the request is not HTTP/1.0.
    pub fn into_old(self) -> Result<ClientStream, Self> {
        if self.kind.version != Version::HTTP_10 {
            return Err(self);
        }
        let (stream, ..) = self.carrier.into_hold().into_parts();
        Ok(stream)
    }

    /// Writes the answer and gives the stream back, flushed but not shut down.
    ///
    /// Ends early if the client's connection breaks, or if writing takes longer than `patience`.
    pub async fn answer(self, response: Response<Body>, patience: Duration) -> Answered {
        let Self {
            carrier,
            link,
            kind,
            watch,
            ..
        } = self;
        let (mut connection, answer) = carrier.revived(kind);
        link.answer();
        // This fails only if the connection has ended, which the poll below reports.
        let _ = answer.send(handed_over(response, &link));
        let writing = async {
            tokio::select! {
                biased;
                written = poll_fn(|cx| connection.poll_without_shutdown(cx)) => written.map_err(BodyError::from),
                error = watch.broken() => Err(error.into()),
            }
        };
        let written = tokio::time::timeout(patience, writing).await;
        let (stream, held, _) = connection.into_parts().io.into_inner().into_parts();
        let error = match written {
            Ok(written) => written.err(),
            Err(_) => Some("the client does not read".into()),
        };
        Answered {
            stream: Some(stream),
            held,
            error,
        }
    }
}

/// What a wait brought.
enum Waited<T> {
    /// The result of the work.
    Done(T),
    /// The client left, with the error of its connection if that broke.
    Left(Option<io::Error>),
    /// Nothing for [`PARK_AFTER`].
    Long,
}

fn handed_over(response: Response<Body>, link: &Link) -> Response<Body> {
    let link = link.clone();
    response.map(|body| HandedOver { body, link }.boxed_unsync())
}

/// Waits until the client's connection breaks and returns the error. A clean end is passed on to the stream below
/// hyper, which is then polled.
async fn broken_off(watch: Watch, link: Link) -> io::Error {
    watch.ended().await;
    link.closing();
    tokio::task::yield_now().await;
    watch.broken().await
}

fn malformed(error: Option<hyper::Error>) -> Failure {
    let words = error.map_or_else(
        || "no request in the head".to_owned(),
        |error| error.to_string(),
    );
    Failure::new(Reason::HttpMalformed, words)
}
