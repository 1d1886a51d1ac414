//! What reads a request and writes its answer: hyper, which is started for each request, and again for a late answer.

use std::time::Duration;

use http::header::TE;
use http::{Method, Request as HttpRequest, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;

use super::fields::{MAX_FIELDS, tokens};
use super::handover::Handover;
use super::hold::Hold;
use super::{Body, HYPER_MIN_BUFFER};

/// What of a request decides how hyper writes the answer to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// Whether it asks for the head of an answer only.
    is_head: bool,
    /// Its version.
    pub version: Version,
    /// Whether trailers may follow the answer's body (RFC 9110 section 6.5.1).
    takes_trailers: bool,
}

impl Kind {
    /// The kind of this request.
    pub fn of<B>(request: &HttpRequest<B>) -> Self {
        let is_trailers = |coding: &[u8]| coding.eq_ignore_ascii_case(b"trailers");
        Self {
            is_head: request.method() == Method::HEAD,
            version: request.version(),
            takes_trailers: tokens(request.headers(), &TE).any(is_trailers),
        }
    }

    /// The head of another request of this kind.
    fn stand_in(self) -> String {
        let method = if self.is_head { "HEAD" } else { "GET" };
        let te = match self.takes_trailers {
            true => "te: trailers\r\n",
            false => "",
        };
        format!("{method} / {:?}\r\nhost: -\r\n{te}\r\n", self.version)
    }
}

/// hyper, for one request. Boxed because it is large and moves from one wait to the next.
pub(super) type Connection = Box<http1::Connection<TokioIo<Hold>, Handover>>;

/// What reads the rest of a request and writes the answer.
pub(super) enum Carrier {
    /// hyper, and where it gets the answer.
    Hyper(Connection, oneshot::Sender<Response<Body>>),
    /// The stream alone. hyper is started again for the answer, with a stand-in for the request.
    Parked(Box<Hold>),
}

impl Carrier {
    /// The stream below hyper.
    pub fn into_hold(self) -> Hold {
        match self {
            Self::Hyper(connection, _) => connection.into_parts().io.into_inner(),
            Self::Parked(hold) => *hold,
        }
    }

    /// hyper, ready for the answer to a request of this kind.
    pub fn revived(self, kind: Kind) -> (Connection, oneshot::Sender<Response<Body>>) {
        match self {
            Self::Hyper(connection, answer) => (connection, answer),
            Self::Parked(mut hold) => {
                hold.give(kind.stand_in().into_bytes());
                let (connection, _, answer) = start(*hold, HYPER_MIN_BUFFER);
                (connection, answer)
            }
        }
    }
}

/// Starts hyper. Returns also where it puts the request and where it gets the answer.
pub(super) fn start(
    hold: Hold,
    limit: usize,
) -> (
    Connection,
    oneshot::Receiver<HttpRequest<Incoming>>,
    oneshot::Sender<Response<Body>>,
) {
    let (request_sender, request) = oneshot::channel();
    let (answer, answer_receiver) = oneshot::channel();
    let handover = Handover::new(request_sender, answer_receiver);
    let connection = http1::Builder::new()
        .preserve_header_case(true)
        .max_headers(MAX_FIELDS)
        .max_buf_size(limit.max(HYPER_MIN_BUFFER))
        .timer(TokioTimer::new())
        // hyper's default must not apply; the head is already complete.
        .header_read_timeout(Duration::from_secs(30))
        .serve_connection(TokioIo::new(hold), handover);
    (Box::new(connection), request, answer)
}
