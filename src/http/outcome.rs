//! How requests and their answers end.

use std::io;

use super::BodyError;
use crate::reason::Failure;
use crate::stream::ClientStream;

/// A connection whose head hyper could not parse, before any answer.
#[derive(Debug)]
pub(crate) struct Unparsed {
    /// `http_malformed`, with hyper's message.
    pub failure: Failure,
    /// The head.
    pub head: Vec<u8>,
    /// The stream, taken back from hyper.
    pub stream: ClientStream,
}

/// A client that did not wait for its answer.
#[derive(Debug)]
pub(crate) struct Gone {
    /// What it did instead.
    pub how: Leaving,
    /// The stream, taken back from hyper; still open after [`Leaving::Misframed`]. `None`: it was a stream of an HTTP/2
    /// connection, and is over.
    pub stream: Option<ClientStream>,
}

/// What a client did instead of waiting for its answer.
#[derive(Debug)]
pub(crate) enum Leaving {
    /// It left while it was sending the body of its request, or while it should have waited for the answer.
    Left {
        /// How its connection broke; `None`: it was closed cleanly.
        error: Option<io::Error>,
        /// Whether the body was incomplete.
        in_body: bool,
    },
    /// The framing of its request's body is invalid, or the body is too large.
    Misframed(Failure),
}

/// A connection after its answer was written.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The stream, taken back from hyper. `None`: it was a stream of an HTTP/2 connection, and is over.
    pub stream: Option<ClientStream>,
    /// What the client had sent in the meantime.
    pub held: Vec<u8>,
    /// Why the answer was not written completely.
    pub error: Option<BodyError>,
}

/// A connection after the answer to a plain request.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// The stream, taken back from hyper. `None`: it was a stream of an HTTP/2 connection, and is over.
    pub stream: Option<ClientStream>,
    /// What the client had sent after its request.
    pub held: Vec<u8>,
    /// When the first of these bytes arrived.
    pub begun: Option<tokio::time::Instant>,
    /// Whether the whole answer was written.
    pub answered: bool,
    /// Whether the whole request was read as well, so that another one may follow.
    pub whole: bool,
    /// Why the answer was not written completely.
    pub error: Option<Undelivered>,
}

/// Why an answer was not written completely.
#[derive(Debug)]
pub(crate) enum Undelivered {
    /// The client left, or its connection broke.
    Left(String),
    /// The client stopped reading.
    Stalled,
    /// The framing of the rest of its request's body is invalid, or the body is too large.
    Misframed(Failure),
    /// The answer's body failed, in hyper's words.
    Broken(String),
}

impl From<hyper::Error> for Undelivered {
    /// The cause of hyper's failure to write an answer.
    fn from(error: hyper::Error) -> Self {
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            if inner.is::<io::Error>() {
                return Self::Left(inner.to_string());
            }
            cause = inner.source();
        }
        Self::Broken(error.to_string())
    }
}
