//! The byte streams that pass between stages, and how their sockets notice that a peer has left.

mod parting;
mod records;
mod socket;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{client, server};

pub use parting::{Parting, linger};
use records::Records;
use socket::taken_by;
pub use socket::{Socket, Watch, is_kept_alive, keep_alive};

/// A stream that first gives bytes that were already read from it.
#[derive(Debug)]
pub struct Replay<S> {
    early: Vec<u8>,
    given: usize,
    counter: Option<Counter>,
    /// Where the next read starts among the TLS records. It means nothing if the stream is not TLS.
    records: Records,
    /// Whether each read stops at the end of a TLS record or of its header.
    by_record: bool,
    inner: S,
}

/// How many bytes have been read from a stream.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// The number of bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl<S> Replay<S> {
    /// A stream in which `early` comes before the bytes of `inner`.
    pub fn new(early: Vec<u8>, inner: S) -> Self {
        Self {
            early,
            given: 0,
            counter: None,
            records: Records::default(),
            by_record: false,
            inner,
        }
    }

    /// The same, with a count of the bytes that are read from it.
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

    /// Stops counting.
    pub fn stop_counting(&mut self) {
        self.counter = None;
    }

    /// The stream below. Early bytes are not in it, even if they are still unread.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The stream below, to be changed.
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
            let polled = match this.by_record {
                true => poll_read_at_most(&mut this.inner, this.records.left(), cx, buf),
                false => Pin::new(&mut this.inner).poll_read(cx, buf),
            };
            let new = buf.filled().get(before..).unwrap_or_default();
            this.records.pass(new);
            this.count(new.len());
            return polled;
        }
        let count = rest.len().min(buf.remaining());
        let new = rest.get(..count).unwrap_or_default();
        buf.put_slice(new);
        this.records.pass(new);
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

/// A stream that keeps the first bytes that are read from it, until they are taken.
#[derive(Debug)]
pub struct Beginning<S> {
    seen: Vec<u8>,
    room: usize,
    /// How many bytes were written, modulo 2^32.
    taken: u32,
    inner: S,
}

impl<S> Beginning<S> {
    /// Keeps the first `most` bytes of `inner`.
    pub fn new(most: usize, inner: S) -> Self {
        Self {
            seen: Vec::new(),
            room: most,
            taken: 0,
            inner,
        }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Takes the kept bytes, and keeps no further ones.
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
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.taken = self.taken.wrapping_add(taken_by(&written));
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.taken = self.taken.wrapping_add(taken_by(&written));
        written
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

/// A stream to a peer that tells how much of what was written has gone.
pub trait Outlet: AsyncWrite + Unpin {
    /// How many bytes the socket has taken so far, modulo 2^32. `None`: all that was written, because the stream keeps
    /// nothing back.
    fn taken(&self) -> Option<u32>;
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
    /// Watches the socket below for its end.
    #[must_use]
    pub fn watch(&self) -> Watch {
        match self {
            Self::Plain(stream) => stream.get_ref().watch(),
            Self::Tls(stream) => stream.get_ref().0.get_ref().watch(),
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
    async fn by_record_no_read_goes_over_the_end_of_a_record() {
        let record = |length: u16| {
            let mut record = vec![23, 3, 3];
            record.extend(length.to_be_bytes());
            record.extend(vec![7; length.into()]);
            record
        };
        let lengths = [3, 0, 300, 16 * 1024, 1];
        let all: Vec<u8> = lengths.into_iter().flat_map(record).collect();
        for size in [5, 7, 4096, 64 * 1024] {
            let mut stream = Replay::new(Vec::new(), &all[..]);
            stream.by_record = true;
            let mut piece = vec![0; size];
            let (mut came, mut ends) = (Vec::new(), Vec::new());
            loop {
                match stream.read(&mut piece).await.unwrap() {
                    0 => break,
                    count => came.extend_from_slice(&piece[..count]),
                }
                ends.push(came.len());
            }
            assert_eq!(came, all);
            let mut end = 0;
            for length in lengths {
                end += Records::HEADER + usize::from(length);
                assert!(ends.contains(&end), "{size}: {end} of {ends:?}");
            }
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
