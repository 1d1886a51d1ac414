//! The end of a connection whose peer can still read what was written to it.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// The most bytes of a peer that are read and discarded at the end: more than a socket holds. The time is limited, too.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// How many of them at once.
const LINGER_PIECE: usize = 4096;

/// A stream on which nothing more is sent.
#[derive(Debug)]
pub struct Parting<S> {
    /// The stream.
    pub stream: S,
    /// Whether the proxy's side was already shut down.
    pub is_shut_down: bool,
}

impl<S> From<S> for Parting<S> {
    fn from(stream: S) -> Self {
        Self {
            stream,
            is_shut_down: false,
        }
    }
}

/// Ends a connection so that the peer can still read what was written to it: shuts the proxy's side down, and discards
/// what the peer still sends until it ends or `patience` is over. If a socket with unread bytes is closed, the kernel
/// sends a reset, which destroys what the peer has not read yet.
pub async fn linger(parting: Parting<impl AsyncRead + AsyncWrite + Unpin>, patience: Duration) {
    let Parting {
        mut stream,
        is_shut_down,
    } = parting;
    // An error does not matter here: the connection ends, and its record is written.
    let _ = tokio::time::timeout(patience, async {
        if !is_shut_down {
            let _ = stream.shutdown().await;
        }
        let mut left = LINGER_BYTES;
        poll_fn(|cx| {
            while left > 0 {
                let mut piece = [MaybeUninit::uninit(); LINGER_PIECE];
                let mut piece = ReadBuf::uninit(&mut piece);
                ready!(Pin::new(&mut stream).poll_read(cx, &mut piece))?;
                match piece.filled().len() {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
            Poll::Ready(io::Result::Ok(()))
        })
        .await
    })
    .await;
}
