//! The http stage of a connection that speaks HTTP/2 (RFC 9113): its streams, and the WebSockets in them (RFC 8441).
//!
//! Takes a [`ClientStream`] on which h2 was agreed. Gives one [`Arrived`] after the other, each of which becomes a request in
//! the form of HTTP/1.1 ([`translated`]) and an [`Exchange`] for its answer. Fails with the `h2_…` and `http_…` reasons.
//!
//! The library reads and writes frames. [`tap`] reads their headers below it, because the library does not tell which
//! streams it refused, what has gone to the client, and what the client does too often, and because it waits for ever.

mod body;
mod budget;
mod exchange;
mod frames;
mod request;
mod start;
mod tap;
mod words;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason as Code, RecvStream};
use tokio::time::{Instant, Sleep, timeout_at};

pub(crate) use exchange::{Arrived, Exchange};
pub(crate) use request::{is_websocket, translated};
pub use words::listener;

use crate::reason::{Failure, Reason};
use crate::stream::{ClientStream, End, StreamReset, Violation, Wire, code_name, violation};
use crate::tls;
pub(crate) use start::NotBegun;
use start::{builder, no_preface};
use tap::{Refused, Sight, Tap};
use words::Words;

/// How long a connection without streams is kept after a GOAWAY: long enough for requests that are on their way.
const LEAVING: Duration = Duration::from_secs(1);

/// How a listener serves HTTP/2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Whether an extended CONNECT is announced.
    pub websocket: bool,
    /// How many streams may be open on one connection.
    pub max_streams: u32,
    /// The largest head of a request, in bytes.
    pub header_bytes: usize,
    /// How long a client may take for its preface, its settings, its first stream and each header block.
    pub request_head: Duration,
    /// How long a connection without a stream is kept.
    pub keep_alive: Duration,
}

/// A connection after its preface.
pub(crate) struct Server {
    /// In a box, because the future of a connection would hold it several times.
    connection: Box<Connection<Tap, Bytes>>,
    wire: Arc<Wire>,
    sight: Sight,
    words: Words,
    begun: Instant,
    /// Since when no stream is served; `None`: one is.
    idle_since: Option<Instant>,
    has_served: bool,
    announces: bool,
    /// When a GOAWAY was sent, after which the client opens no further streams.
    left: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Set when no further stream can come.
    over: Option<Option<Failure>>,
    /// Streams that began and were not handed out, when the connection is over.
    unserved: VecDeque<(u32, Instant)>,
    /// Whether their records have the failure of the connection.
    has_told: bool,
}

/// What happens next on a connection.
pub(crate) enum Turn {
    /// A request arrived.
    Stream(Box<Arrived>),
    /// A stream was refused. It began at this moment.
    Refused {
        /// Its number.
        stream: u32,
        /// When its first frame came.
        begun: Instant,
        /// Why.
        failure: Failure,
    },
    /// The connection takes no more streams. A failure has no other record if no stream is open.
    Over(Option<Failure>),
}

impl Server {
    /// Reads the preface until `deadline`.
    ///
    /// # Errors
    /// [`NotBegun`] if another protocol or nothing comes.
    pub async fn begin(
        mut stream: ClientStream,
        settings: Settings,
        deadline: Instant,
    ) -> Result<Self, NotBegun> {
        let (wire, sight) = (Arc::<Wire>::default(), Sight::default());
        stream.widen(tls::TUNNEL_SEND_BUFFER);
        let tap = Tap::new(stream, Arc::clone(&wire), sight.clone());
        let mut words = Words::default();
        let begun = {
            let mut handshake = Box::pin(builder(settings).handshake(tap));
            let handshake = poll_fn(|cx| words.listen(|| handshake.as_mut().poll(cx)));
            timeout_at(deadline, handshake).await
        };
        let failure = match begun {
            Ok(Ok(connection)) => {
                return Ok(Self {
                    connection: Box::new(connection),
                    wire,
                    sight,
                    words,
                    begun: Instant::now(),
                    idle_since: Some(Instant::now()),
                    has_served: false,
                    announces: settings.websocket,
                    left: None,
                    timer: None,
                    over: None,
                    unserved: VecDeque::new(),
                    has_told: false,
                });
            }
            Ok(Err(error)) => no_preface(&sight, &wire, error),
            Err(_) => {
                let detail = format!(
                    "{} bytes of the HTTP/2 preface came",
                    sight.lock().first.len()
                );
                Failure::new(Reason::HttpHeaderTimeout, detail).unanswered()
            }
        };
        let stream = sight.lock().parted.take();
        Err(NotBegun { failure, stream })
    }

    /// How many streams are served.
    pub fn served(&self) -> usize {
        self.wire.served()
    }

    /// Why a connection ended on which no stream was opened.
    pub fn unused(&self) -> Failure {
        match self.wire.end() {
            Some(End::Broke(kind, words)) => {
                let error = std::io::Error::new(*kind, words.clone());
                tls::unused(Some(&error))
            }
            _ => tls::unused(None),
        }
    }

    /// Whether WebSockets are announced.
    pub fn announces(&self) -> bool {
        self.announces
    }

    /// Announces WebSockets from now on.
    pub fn announce_websocket(&mut self) {
        if !self.announces {
            self.announces = self.connection.enable_connect_protocol().is_ok();
        }
    }

    /// Sends GOAWAY. The streams that are open go on.
    pub fn leave(&mut self) {
        if self.left.is_none() {
            self.left = Some(Instant::now());
            self.connection.graceful_shutdown();
        }
    }

    /// Waits for the next event. If it is not called, no stream of the connection moves.
    pub async fn next(&mut self, settings: Settings) -> Turn {
        poll_fn(|cx| self.poll_next(cx, settings)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, settings: Settings) -> Poll<Turn> {
        self.wire.register(cx);
        loop {
            if self.over.is_some() {
                return Poll::Ready(self.last_turn());
            }
            let Self {
                connection, words, ..
            } = self;
            let polled = words.listen(|| connection.poll_accept(cx));
            let flood = self.sight.lock().flood.clone();
            if let Some(words) = flood {
                self.over = Some(Some(self.flooded(words)));
                continue;
            }
            match polled {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    return Poll::Ready(Turn::Stream(Box::new(self.arrived(request, respond))));
                }
                Poll::Ready(Some(Err(error))) => self.over = Some(self.failed(&error)),
                Poll::Ready(None) => self.over = Some(None),
                Poll::Pending => {
                    // Only now: a stream that was reset may still have been handed out.
                    let refused = self.sight.lock().refused.pop_front();
                    if let Some(refused) = refused {
                        cx.waker().wake_by_ref();
                        return Poll::Ready(self.refused(refused));
                    }
                    self.over = Some(ready!(self.poll_deadlines(cx, settings)));
                }
            }
        }
    }

    /// What is left when no further stream can come: those that the library did not hand out.
    fn last_turn(&mut self) -> Turn {
        let refused = self.sight.lock().refused.pop_front();
        if let Some(refused) = refused {
            return self.refused(refused);
        }
        let unserved = self.wire.take_unserved();
        self.unserved.extend(unserved);
        let Some((stream, begun)) = self.unserved.pop_front() else {
            let failure = self.over.take().flatten();
            return Turn::Over(failure.filter(|_| !self.has_told));
        };
        self.has_served = true;
        self.has_told = true;
        let failure = match (&self.over, self.wire.end()) {
            (Some(Some(failure)), _) => failure.clone(),
            _ if self.sight.lock().header_block.is_some() && self.unserved.is_empty() => {
                Reason::HttpHeadIncomplete.into()
            }
            (_, end) => {
                let how = match end {
                    Some(End::Broke(_, words)) => words.as_str(),
                    _ => "closed in order",
                };
                let detail = format!("before the request was read: {how}");
                Failure::new(Reason::ClientGaveUp, detail)
            }
        };
        Turn::Refused {
            stream,
            begun,
            failure: failure.unanswered(),
        }
    }

    fn refused(&mut self, refused: Refused) -> Turn {
        self.has_served = true;
        Turn::Refused {
            stream: refused.stream,
            begun: refused.begun,
            failure: self.words.failure(refused),
        }
    }

    fn arrived(
        &mut self,
        request: http::Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> Arrived {
        self.has_served = true;
        self.idle_since = None;
        let (request, receive) = request.into_parts();
        let stream = respond.stream_id().as_u32();
        let flow = self.wire.serve(stream);
        {
            let refused = &mut self.sight.lock().refused;
            let found = refused.iter().position(|refused| refused.stream == stream);
            if let Some(code) = found.and_then(|found| refused.remove(found)?.code) {
                self.wire.set_refused(stream, code);
            }
        }
        Arrived {
            request,
            is_over: receive.is_end_stream(),
            receive,
            respond,
            flow,
        }
    }

    fn poll_deadlines(
        &mut self,
        cx: &mut Context<'_>,
        settings: Settings,
    ) -> Poll<Option<Failure>> {
        let is_idle = self.wire.served() == 0;
        match is_idle {
            true => _ = self.idle_since.get_or_insert_with(Instant::now),
            false => self.idle_since = None,
        }
        let (has_settings, header_block) = {
            let seen = self.sight.lock();
            (seen.has_settings, seen.header_block)
        };
        let head = settings.request_head;
        let late = |detail: &str| Some(Failure::new(Reason::HttpHeaderTimeout, detail));
        let next = match (has_settings, header_block, self.idle_since) {
            (false, ..) => (self.begun + head, late("the client sent no SETTINGS")),
            (_, Some(since), _) => (
                since + head,
                late("a header block has begun and was not completed"),
            ),
            (_, _, Some(since)) if self.left.is_some() => {
                (self.left.map_or(since, |left| left.max(since)) + LEAVING, None)
            }
            (_, _, Some(since)) if self.has_served => (since + settings.keep_alive, None),
            (_, _, Some(since)) => (
                since + head,
                late("the client opened no stream").map(|failure| {
                    failure.with_hint(
                        "a browser's preconnect, or a connection that a load balancer opened early: nothing to do; \
                         the deadline is `limits.request_head`",
                    )
                }),
            ),
            (_, _, None) => {
                self.timer = None;
                return Poll::Pending;
            }
        };
        let (deadline, failure) = next;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        let code = match (&failure, has_settings) {
            (None, _) => Code::NO_ERROR,
            (Some(_), false) => Code::SETTINGS_TIMEOUT,
            (Some(_), true) if header_block.is_some() => Code::ENHANCE_YOUR_CALM,
            (Some(_), true) => Code::NO_ERROR,
        };
        if let Some(failure) = &failure {
            let detail = failure.detail.clone().unwrap_or_default();
            let code = code_name(code.into());
            self.refuse(
                false,
                format!("{detail}; the client got GOAWAY with {code}"),
            );
        }
        self.connection.abrupt_shutdown(code);
        Poll::Ready(failure.map(Failure::unanswered))
    }

    /// Tells the streams why their connection ends.
    fn refuse(&self, is_flood: bool, words: String) {
        self.wire
            .set_end(End::Refused(Violation { is_flood, words }));
    }

    fn flooded(&mut self, words: String) -> Failure {
        self.refuse(true, words.clone());
        self.connection.abrupt_shutdown(Code::ENHANCE_YOUR_CALM);
        Failure::new(Reason::H2Flood, words)
    }

    /// The connection's own failure; `None` if the client merely left.
    fn failed(&mut self, error: &h2::Error) -> Option<Failure> {
        if !(error.is_go_away() && error.is_library()) {
            return None;
        }
        let violation = violation(error, self.words.last());
        let failure = refused(&violation);
        self.wire.set_end(End::Refused(violation));
        Some(failure)
    }

    /// Sends what is left, for at most `patience`, and gives the stream back.
    pub async fn close(self, patience: Duration) -> Option<ClientStream> {
        let Self {
            mut connection,
            sight,
            ..
        } = self;
        let deadline = Instant::now() + patience;
        // An error does not matter here: the streams have noticed it themselves.
        let _ = timeout_at(deadline, poll_fn(|cx| connection.poll_closed(cx))).await;
        drop(connection);
        sight.lock().parted.take()
    }
}

/// The failure of a connection that ended with GOAWAY because of what the client did.
fn refused(violation: &Violation) -> Failure {
    let reason = match violation.is_flood {
        true => Reason::H2Flood,
        false => Reason::H2ProtocolError,
    };
    Failure::new(reason, violation.words.clone())
}

/// The reason for a stream that the client reset, or that ended because the client violated HTTP/2.
#[must_use]
pub(crate) fn ended(error: &std::io::Error) -> Option<Failure> {
    let error = error.get_ref()?;
    if let Some(violation) = error.downcast_ref::<Violation>() {
        return Some(refused(violation));
    }
    let reset = error.downcast_ref::<StreamReset>()?;
    let failure = Failure::new(Reason::ClientReset, reset.to_string());
    Some(failure.with_hint(
        "the client ended this stream and not its connection: a page was left or reloaded, or the app dropped the \
         socket; if there are many, let the client send a Close frame first",
    ))
}
