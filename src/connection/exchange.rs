//! A request that waits for its answer, over HTTP/1.1 or HTTP/2. The steps of a request are the same for both.

use std::future::{Future, ready};
use std::time::Duration;

use http::Response;
use http_body::Body as _;

use crate::http::{Answered, Body, Delivered, Exchange as Http1, Gone, RequestBody};
use crate::http2::Exchange as Http2;
use crate::stream::ClientStream;

/// Where the answer to a request goes.
pub(super) enum Exchange {
    /// A connection of its own.
    Http1(Box<Http1>),
    /// A stream.
    Http2(Box<Http2>),
}

impl Exchange {
    /// Runs `work` while the client waits.
    ///
    /// # Errors
    /// [`Gone`] if the client leaves first; `work` is dropped then.
    pub async fn meanwhile<F: Future>(self, work: F) -> Result<(Self, F::Output), Gone> {
        match self {
            Self::Http1(exchange) => {
                let (exchange, output) = exchange.meanwhile(work).await?;
                Ok((Self::Http1(Box::new(exchange)), output))
            }
            Self::Http2(exchange) => {
                let (exchange, output) = exchange.meanwhile(work).await?;
                Ok((Self::Http2(Box::new(exchange)), output))
            }
        }
    }

    /// Throws the rest of the request's body away: at most `most` bytes of it, and for at most `patience`. Returns
    /// whether the connection can go on after the answer.
    ///
    /// # Errors
    /// [`Gone`] if the client leaves first, or if the body is invalid.
    pub async fn discard(
        self,
        body: RequestBody,
        most: usize,
        patience: Duration,
    ) -> Result<(Self, bool), Gone> {
        match self {
            Self::Http1(exchange) => {
                let (exchange, is_whole) = exchange.discard(body, most, patience).await?;
                Ok((Self::Http1(Box::new(exchange)), is_whole))
            }
            // The rest of a stream is in nobody's way.
            Self::Http2(_) => {
                let is_over = body.is_end_stream();
                drop(body);
                self.meanwhile(ready(is_over)).await
            }
        }
    }

    /// Writes the answer to a plain request as its body arrives. `is_own`: it is the proxy's own and is complete.
    ///
    /// Ends early if the client leaves, or accepts nothing for `patience` although bytes wait for it.
    pub async fn deliver(
        self,
        response: Response<Body>,
        is_own: bool,
        patience: Duration,
    ) -> Delivered {
        match self {
            Self::Http1(exchange) => exchange.deliver(response, is_own, patience).await,
            Self::Http2(exchange) => exchange.deliver(response, patience).await,
        }
    }

    /// Writes a short answer. After a 101, [`Answered`] has the stream of the tunnel.
    ///
    /// Ends early if the client leaves, or if writing takes longer than `patience`.
    pub async fn answer(self, response: Response<Body>, patience: Duration) -> Answered {
        match self {
            Self::Http1(exchange) => exchange.answer(response, patience).await,
            Self::Http2(exchange) => exchange.answer(response, patience).await,
        }
    }

    /// Whether the client has got RST_STREAM or GOAWAY already, so that no answer can reach it.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(exchange) => exchange.is_over(),
        }
    }

    /// Gives back the stream of an HTTP/1.0 request.
    ///
    /// # Errors
    /// The exchange itself, if the request is not HTTP/1.0.
    pub fn into_old(self) -> Result<ClientStream, Self> {
        match self {
            Self::Http1(exchange) => exchange
                .into_old()
                .map_err(|exchange| Self::Http1(Box::new(exchange))),
            Self::Http2(_) => Err(self),
        }
    }
}
