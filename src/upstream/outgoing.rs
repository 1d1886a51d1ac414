//! The head of a request on its way to the upstream.
//!
//! hyper keeps the buffer in which it wrote a head, and the table of its fields, as long as the connection lives. For a
//! large head this would be most of the memory of a waiting client. So such a head is written in advance by a hyper
//! connection that is then dropped. The connection that carries the exchange gets only the fields that hyper acts on, and
//! [`super::line`] sends the written head instead of hyper's own.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http_body::{Body as HttpBody, Frame};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A head with more bytes than this is written in advance. Smaller ones fit in the buffer that hyper allocates anyway.
const LARGE: usize = 4 * 1024;

/// The fields by which hyper decides how a body is framed and whether the connection stays open.
const ACTED_ON: [HeaderName; 6] = [
    CONNECTION,
    CONTENT_LENGTH,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// hyper does not see a longer Trailer field and drops the trailers, as any hop may (RFC 9110 section 6.5.1).
const LONGEST_TRAILER: usize = 1024;

/// The head of a request, which can be sent more than once.
#[derive(Clone)]
pub(super) struct Outgoing {
    /// The head for hyper.
    pub parts: Parts,
    /// The head for the upstream, if it is not the one that hyper writes.
    pub head: Option<Bytes>,
}

impl Outgoing {
    /// Prepares `parts`. `has_body`: a body follows, as its fields say.
    ///
    /// # Errors
    /// hyper's error, if it does not write the head.
    pub async fn new(parts: Parts, has_body: bool) -> Result<Self, hyper::Error> {
        let fields = parts.headers.iter();
        let size: usize = fields
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        let target = parts.uri.path_and_query();
        if size + target.map_or(0, |target| target.as_str().len()) <= LARGE {
            return Ok(Self { parts, head: None });
        }
        let mut small = Request::new(()).into_parts().0;
        small.method = parts.method.clone();
        small.version = parts.version;
        for name in ACTED_ON {
            for value in parts.headers.get_all(&name) {
                if name == TRAILER && value.len() > LONGEST_TRAILER {
                    continue;
                }
                // Values are copied, because each value of a received head keeps the whole head in memory.
                if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                    small.headers.append(name.clone(), value);
                }
            }
        }
        Ok(Self {
            head: Some(written(parts, has_body).await?),
            parts: small,
        })
    }
}

/// The head as hyper writes it.
async fn written(parts: Parts, has_body: bool) -> Result<Bytes, hyper::Error> {
    let (mut sender, mut connection) = http1::Builder::new()
        .handshake(TokioIo::new(Paper::default()))
        .await?;
    let request = Request::from_parts(parts, Later { has_body });
    let answer = sender.try_send_request(request);
    // It writes as much as it can, which is the head. There is neither a body nor an answer.
    let written = poll_fn(|cx| Poll::Ready(connection.poll_without_shutdown(cx))).await;
    if let Poll::Ready(Err(error)) = written {
        return Err(error);
    }
    drop(answer);
    let Paper(head) = connection.into_parts().io.into_inner();
    Ok(head.into())
}

/// Keeps what is written to it; nothing can be read from it.
#[derive(Default)]
struct Paper(Vec<u8>);

impl AsyncRead for Paper {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Paper {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        // No larger than needed, because it stays until the upstream has accepted it.
        self.0.reserve_exact(buf.len());
        self.0.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Replaces the body, of which nothing is sent.
struct Later {
    has_body: bool,
}

impl HttpBody for Later {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        !self.has_body
    }
}
