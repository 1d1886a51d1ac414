//! The byte streams that pass between stages, and how their sockets find out that a peer is gone.

mod socket;

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{client, server};

pub use socket::{Socket, Watch};

/// A stream that first gives back bytes that were already read from it.
#[derive(Debug)]
pub struct Replay<S> {
    early: Vec<u8>,
    given: usize,
    counter: Option<Counter>,
    inner: S,
}

/// How many bytes have been read from a stream.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// So many.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl<S> Replay<S> {
    /// `early` comes before what `inner` still has.
    pub fn new(early: Vec<u8>, inner: S) -> Self {
        Self {
            early,
            given: 0,
            counter: None,
            inner,
        }
    }

    /// The same, and a count of the bytes that are read from it.
    pub fn counting(early: Vec<u8>, inner: S) -> (Self, Counter) {
        let counter = Counter::default();
        let mut stream = Self::new(early, inner);
        stream.counter = Some(counter.clone());
        (stream, counter)
    }

    fn count(&self, bytes: usize) {
        if let Some(Counter(read)) = &self.counter {
            read.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// Lets go of the count.
    pub fn stop_counting(&mut self) {
        self.counter = None;
    }

    /// The stream below; early bytes not read yet are gone from its point of view.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let rest = this.early.get(this.given..).unwrap_or_default();
        if rest.is_empty() {
            let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
            this.count(buf.filled().len() - before);
            return polled;
        }
        let count = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..count).unwrap_or_default());
        this.count(count);
        this.given += count;
        if this.given == this.early.len() {
            this.early = Vec::new();
            this.given = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A stream that keeps the first bytes read from it, until they are taken.
#[derive(Debug)]
pub struct Beginning<S> {
    seen: Vec<u8>,
    room: usize,
    inner: S,
}

impl<S> Beginning<S> {
    /// Keeps `most` bytes of what `inner` has.
    pub fn new(most: usize, inner: S) -> Self {
        Self {
            seen: Vec::new(),
            room: most,
            inner,
        }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The bytes kept; none are kept from here on.
    pub fn taken(&mut self) -> Vec<u8> {
        self.room = 0;
        std::mem::take(&mut self.seen)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Beginning<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
        let new = buf.filled().get(before..).unwrap_or_default();
        let kept = new.get(..this.room.min(new.len())).unwrap_or_default();
        this.seen.extend_from_slice(kept);
        this.room -= kept.len();
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Beginning<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
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
    /// The client's side, with or without TLS.
    ClientStream {
        /// On a listener without TLS.
        Plain(Box<Replay<Socket>>),
        /// After the TLS handshake.
        Tls(Box<server::TlsStream<Replay<Socket>>>),
    }
}

either_stream! {
    /// The upstream's side.
    UpstreamStream {
        /// `http://`.
        Tcp(TcpStream),
        /// `https://`.
        Tls(Box<client::TlsStream<Beginning<TcpStream>>>),
        /// `unix:`.
        Unix(UnixStream),
        /// `builtin:echo`.
        Echo(DuplexStream),
    }
}

impl ClientStream {
    /// Watches the socket below for its end.
    #[must_use]
    pub fn watch(&self) -> Watch {
        match self {
            Self::Plain(stream) => stream.get_ref().watch(),
            Self::Tls(stream) => stream.get_ref().0.get_ref().watch(),
        }
    }

    /// Reads no more than so many bytes from the socket, those of TLS itself included: what is behind them waits in the
    /// kernel.
    pub fn limit(&mut self, most: u32) {
        self.socket().limit(most);
    }

    /// Ends [`ClientStream::limit`].
    pub fn unlimit(&mut self) {
        self.socket().limit(u32::MAX);
    }

    fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(stream) => stream.get_mut(),
            Self::Tls(stream) => stream.get_mut().0.get_mut(),
        }
    }
}

impl UpstreamStream {
    /// Whether something of the peer's waits in the socket, its end included, as the kernel sees it now: what a runtime
    /// knows may be older.
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

/// Reads at most so many bytes.
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

/// Silence after which the kernel asks a peer whether it is there, and between two such questions.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// How long a peer may acknowledge nothing, within what the kernel can count: milliseconds of 31 bits.
const SHORTEST_DEAF: Duration = Duration::from_secs(1);
const LONGEST_DEAF: Duration = Duration::from_secs(24 * 24 * 60 * 60);

/// Has the kernel end a connection whose peer is gone without a word, which reading then reports as timed out.
///
/// Linux applies the same limit to a peer that answers and takes nothing (RFC 9293 section 3.8.6.1): it is longer than
/// `write_stall`, so that where the proxy itself has bytes waiting its own limit comes first and says why; and long
/// enough for several questions, as a phone may be out of reach for a while.
pub fn keep_alive(socket: &TcpStream, write_stall: Duration) {
    let socket = SockRef::from(socket);
    let probes = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY);
    let deaf = write_stall
        .saturating_mul(4)
        .clamp(SHORTEST_DEAF, LONGEST_DEAF);
    // Both fail on a dead socket alone, which the next read reports.
    let _ = socket.set_tcp_keepalive(&probes);
    let _ = socket.set_tcp_user_timeout(Some(deaf));
}

/// Bytes of a peer that are read and thrown away at its end: more than a socket holds, and bounded in time anyway.
const LINGER_BYTES: u64 = 16 * 1024 * 1024;

/// Ends a connection so that the peer can still read what was written to it: our side is shut down, what the peer
/// still sends is thrown away, until it ends or `patience` is over. Closing a socket with unread bytes in it makes the
/// kernel send a reset, which destroys what the peer has not read yet.
pub async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin, patience: Duration) {
    // Whatever fails here, the connection is at its end and its record written.
    let _ = tokio::time::timeout(patience, async {
        // It may have been shut down before.
        let _ = stream.shutdown().await;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    })
    .await;
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn an_idle_tunnel_holds_no_more_of_its_upstream_than_a_socket() {
        assert!(size_of::<UpstreamStream>() <= size_of::<TcpStream>() + size_of::<usize>());
    }

    #[tokio::test]
    async fn the_first_bytes_are_kept_at_any_read_size() {
        for size in 1..=8 {
            let mut stream = Beginning::new(5, &b"first and more"[..]);
            let mut piece = vec![0; size];
            let mut all = Vec::new();
            loop {
                match stream.read(&mut piece).await.unwrap() {
                    0 => break,
                    count => all.extend_from_slice(&piece[..count]),
                }
            }
            assert_eq!(all, b"first and more");
            assert_eq!(stream.taken(), b"first");
        }
    }

    #[tokio::test]
    async fn replayed_bytes_come_first_at_any_read_size() {
        for size in 1..=8 {
            let mut stream = Replay::new(b"early".to_vec(), &b" late"[..]);
            let mut all = Vec::new();
            let mut piece = vec![0; size];
            loop {
                match stream.read(&mut piece).await.unwrap() {
                    0 => break,
                    count => all.extend_from_slice(&piece[..count]),
                }
            }
            assert_eq!(all, b"early late");
        }
    }
}
