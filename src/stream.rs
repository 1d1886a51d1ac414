//! The byte streams that pass between stages, and how their sockets notice that a peer has left.

mod http2;
mod parting;
mod records;
mod replay;
mod socket;
mod wire;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{client, server};

pub use http2::{Http2Stream, poll_room, violation};
pub use parting::{Parting, linger};
pub use replay::{Beginning, Replay};
pub use socket::{Socket, is_kept_alive, keep_alive};
pub use wire::{End, FlowHandle, StreamReset, Violation, Wire, code_name};

/// A stream to a peer that tells how much of what was written has gone.
pub trait Outlet: AsyncWrite + Unpin {
    /// How many bytes the socket has taken so far, modulo 2^32. `None`: all that was written, because the stream keeps
    /// nothing back.
    fn taken(&self) -> Option<u32>;

    /// Lets the peer see that the connection broke, and not that it ended, if there is such a difference. The stream must
    /// be dropped then.
    fn abort(&mut self) {}
}

macro_rules! either_stream {
    ($(#[$doc:meta])* $name:ident { $( $(#[$variant_doc:meta])* $variant:ident($type:ty) ),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name { $( $(#[$variant_doc])* $variant($type), )* }

        impl AsyncRead for $name {
            fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                match &mut *self { $( Self::$variant(stream) => Pin::new(stream).poll_read(cx, buf), )* }
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match &mut *self { $( Self::$variant(stream) => Pin::new(stream).poll_write(cx, buf), )* }
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match &mut *self { $( Self::$variant(stream) => Pin::new(stream).poll_write_vectored(cx, bufs), )* }
            }

            fn is_write_vectored(&self) -> bool {
                match self { $( Self::$variant(stream) => stream.is_write_vectored(), )* }
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match &mut *self { $( Self::$variant(stream) => Pin::new(stream).poll_flush(cx), )* }
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match &mut *self { $( Self::$variant(stream) => Pin::new(stream).poll_shutdown(cx), )* }
            }
        }
    };
}

either_stream! {
    /// The stream of the client's side, with or without TLS.
    ClientStream {
        /// A stream from a listener without TLS.
        Plain(Box<Replay<Socket>>),
        /// A stream after the TLS handshake.
        Tls(Box<server::TlsStream<Replay<Socket>>>),
        /// One of the streams of an HTTP/2 connection.
        Http2(Box<Http2Stream>),
    }
}

either_stream! {
    /// The stream of the upstream's side.
    UpstreamStream {
        /// `http://`.
        Tcp(TcpStream),
        /// `https://`.
        Tls(Box<client::TlsStream<Beginning<TcpStream>>>),
        /// `unix:`.
        Unix(UnixStream),
        /// `builtin:echo`.
        #[cfg_attr(not(feature = "echo"), expect(dead_code, reason = "nothing makes one"))]
        Echo(DuplexStream),
    }
}

impl ClientStream {
    /// Whether it is a stream of an HTTP/2 connection. Then a connection that broke on one side breaks on the other, too
    /// (RFC 8441 section 5).
    #[must_use]
    pub fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Watches the connection below for its end.
    #[must_use]
    pub fn watch(&self) -> Watch {
        match self {
            Self::Plain(stream) => Watch::Socket(stream.get_ref().watch()),
            Self::Tls(stream) => Watch::Socket(stream.get_ref().0.get_ref().watch()),
            Self::Http2(stream) => Watch::Stream(stream.flow().clone()),
        }
    }

    /// Lets TLS hold `send_buffer` bytes, which it sends with one call.
    pub fn widen(&mut self, send_buffer: usize) {
        if let Self::Tls(stream) = self {
            stream.get_mut().1.set_buffer_limit(Some(send_buffer));
        }
    }

    /// Sets whether TLS reads only one record at a time. It then never keeps bytes that it has not passed on, but each
    /// record costs some more CPU.
    pub fn by_record(&mut self, by_record: bool) {
        if let Self::Tls(stream) = self {
            stream.get_mut().0.by_record = by_record;
        }
    }

    /// Frees the memory of a decrypted record. TLS itself would free it only at the next read.
    pub fn trim(&mut self) {
        if let Self::Tls(stream) = self
            && stream.get_ref().0.by_record
        {
            // TLS frees it at any read, even if there is nothing to read.
            let _ = stream.get_mut().1.read_tls(&mut Nothing);
        }
    }

    /// Reads at most this many bytes from the socket, including those of TLS itself. The rest waits in the kernel.
    pub fn limit(&mut self, most: u32) {
        match self {
            Self::Plain(stream) => stream.get_mut().limit(most),
            Self::Tls(stream) => stream.get_mut().0.get_mut().limit(most),
            // It has a window.
            Self::Http2(_) => {}
        }
    }

    /// Ends [`ClientStream::limit`].
    pub fn unlimit(&mut self) {
        self.limit(u32::MAX);
    }
}

/// Lets the kernel send a reset when the socket is closed.
fn reset(socket: &TcpStream) {
    // If this fails, the peer sees a normal end.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Watches a client's connection for its end.
#[derive(Clone, Debug)]
pub enum Watch {
    /// A connection of its own.
    Socket(socket::Watch),
    /// A stream of an HTTP/2 connection.
    Stream(FlowHandle),
}

impl Watch {
    /// Completes when the peer has ended its side or the connection is broken, even if earlier bytes are still unread.
    /// The end of an HTTP/2 stream is only seen when it is read.
    pub async fn ended(&self) {
        match self {
            Self::Socket(watch) => watch.ended().await,
            Self::Stream(flow) => drop(flow.broken().await),
        }
    }

    /// Completes when the connection is broken, and returns the error.
    pub async fn broken(&self) -> io::Error {
        match self {
            Self::Socket(watch) => watch.broken().await,
            Self::Stream(flow) => flow.broken().await,
        }
    }
}

/// A source that never has anything to read.
struct Nothing;

impl io::Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Outlet for ClientStream {
    fn taken(&self) -> Option<u32> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream.get_ref().0.get_ref().taken()),
            Self::Http2(stream) => Some(stream.flow().taken()),
        }
    }

    fn abort(&mut self) {
        match self {
            Self::Http2(stream) => stream.abort(),
            // The tunnels of HTTP/1.1 end in order.
            Self::Plain(_) | Self::Tls(_) => {}
        }
    }
}

impl Outlet for UpstreamStream {
    fn taken(&self) -> Option<u32> {
        match self {
            Self::Tls(stream) => Some(stream.get_ref().0.taken),
            Self::Tcp(_) | Self::Unix(_) | Self::Echo(_) => None,
        }
    }

    fn abort(&mut self) {
        match self {
            Self::Tcp(socket) => reset(socket),
            Self::Tls(stream) => reset(stream.get_ref().0.get_ref()),
            // There is no reset.
            Self::Unix(_) | Self::Echo(_) => {}
        }
    }
}

impl UpstreamStream {
    /// The same as [`ClientStream::widen`].
    pub fn widen(&mut self, send_buffer: usize) {
        if let Self::Tls(stream) = self {
            stream.get_mut().1.set_buffer_limit(Some(send_buffer));
        }
    }

    /// Whether the kernel has received bytes or the end of the stream. What the runtime knows about this may be out of
    /// date.
    #[must_use]
    pub fn has_input(&self) -> bool {
        let socket = match self {
            Self::Tcp(socket) => SockRef::from(socket),
            Self::Tls(stream) => SockRef::from(stream.get_ref().0.get_ref()),
            Self::Unix(socket) => SockRef::from(socket),
            Self::Echo(_) => return false,
        };
        let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// How much [`read_first`] reads: most ClientHellos and most heads in one piece.
const FIRST_PIECE: usize = 2048;

/// Waits for the next bytes, and appends them to `bytes`. Gives their number. While it waits it holds no buffer, because
/// many connections may wait.
///
/// # Errors
/// The stream's.
pub async fn read_first(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut piece = [MaybeUninit::uninit(); FIRST_PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut piece))?;
        bytes.extend_from_slice(piece.filled());
        Poll::Ready(Ok(piece.filled().len()))
    })
    .await
}

/// Reads at most this many bytes.
///
/// # Errors
/// The stream's.
pub fn poll_read_at_most(
    stream: &mut (impl AsyncRead + Unpin),
    most: usize,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    Pin::new(&mut stream.take(most)).poll_read(cx, buf)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn an_idle_tunnel_holds_no_more_of_its_upstream_than_a_socket() {
        assert!(size_of::<UpstreamStream>() <= size_of::<TcpStream>() + size_of::<usize>());
    }
}
