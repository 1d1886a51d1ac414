//! A client's socket that notices the end of the connection even if nothing reads from it.
//!
//! The proxy stops reading from a client that has sent as much as may be kept. From then on, no read can show that the
//! client has left. The kernel still reports a FIN (`EPOLLRDHUP`) and a reset (`EPOLLERR`), even if unread bytes come
//! before them.

use std::io::{self, IoSlice, Read as _};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The silence after which the kernel asks a peer whether it is still there, and the time between two such probes.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// The bounds of the time for which a peer may acknowledge nothing. The kernel counts it in milliseconds, in 31 bits.
const SHORTEST_DEAF: Duration = Duration::from_secs(1);
const LONGEST_DEAF: Duration = Duration::from_secs(24 * 24 * 60 * 60);

/// Lets the kernel end a connection whose peer disappeared silently. Reading then reports a timeout.
///
/// Linux applies the same limit to a peer that answers but accepts nothing (RFC 9293 section 3.8.6.1). The limit is
/// longer than `write_stall`, so that the proxy's own limit comes first and gives its reason. With the default of
/// `write_stall`, it also leaves time for several probes, because a phone may be unreachable for a while.
pub fn keep_alive<'a>(socket: impl Into<SockRef<'a>>, write_stall: Duration) {
    let socket = socket.into();
    let probes = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY);
    // Both fail only on a dead socket, which the next read reports.
    let _ = socket.set_tcp_keepalive(&probes);
    let _ = socket.set_tcp_user_timeout(Some(deaf(write_stall)));
}

/// Whether [`keep_alive`] was already done, for example by the kernel, which passes the options of a listening socket on.
#[must_use]
pub fn is_kept_alive<'a>(socket: impl Into<SockRef<'a>>, write_stall: Duration) -> bool {
    let socket = socket.into();
    let timeout = socket.tcp_user_timeout().ok().flatten();
    timeout == Some(deaf(write_stall)) && socket.keepalive().unwrap_or(false)
}

fn deaf(write_stall: Duration) -> Duration {
    let deaf = write_stall
        .saturating_mul(4)
        .clamp(SHORTEST_DEAF, LONGEST_DEAF);
    // The kernel counts milliseconds.
    Duration::new(deaf.as_secs(), deaf.subsec_millis() * 1_000_000)
}

/// A TCP socket that can be watched while it is read and written.
#[derive(Debug)]
pub struct Socket {
    tcp: Arc<TcpStream>,
    /// How many bytes may still be read; `u32::MAX` means no limit.
    left: u32,
    /// How many bytes were written, modulo 2^32.
    taken: u32,
}

/// Watches a [`Socket`] for its end.
#[derive(Clone, Debug)]
pub struct Watch(Arc<TcpStream>);

impl Socket {
    /// A socket that is not watched yet.
    #[must_use]
    pub fn new(socket: TcpStream) -> Self {
        Self {
            tcp: Arc::new(socket),
            left: u32::MAX,
            taken: 0,
        }
    }

    /// Watches the socket. While it is watched, reading and writing need a few more system calls.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.tcp))
    }

    /// How many bytes the kernel has taken so far, modulo 2^32.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.taken
    }

    /// Lets at most this many bytes be read from now on; `u32::MAX` means no limit. Once they have been read, no reader
    /// is woken for more.
    pub fn limit(&mut self, most: u32) {
        self.left = most;
    }

    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(socket) = Arc::get_mut(&mut self.tcp) {
            return Pin::new(socket).poll_read(cx, buf);
        }
        let socket = &*self.tcp;
        loop {
            ready!(socket.poll_read_ready(cx))?;
            // The count of a read that took all there was. The runtime learns that from the error, so that it does not
            // need another system call to find out; it does the same in its own reads.
            let mut all = None;
            let read = socket.try_io(Interest::READABLE, || {
                let room = buf.initialize_unfilled();
                let most = room.len();
                let count = (&*SockRef::from(socket)).read(room)?;
                if count == 0 || count == most {
                    return Ok(count);
                }
                all = Some(count);
                Err(io::ErrorKind::WouldBlock.into())
            });
            let count = match (all, read) {
                (Some(count), _) | (None, Ok(count)) => count,
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => continue,
                (None, Err(error)) => return Poll::Ready(Err(error)),
            };
            buf.advance(count);
            return Poll::Ready(Ok(()));
        }
    }
}

impl Watch {
    /// Completes when the peer has ended its side or the connection is broken, even if earlier bytes are still unread.
    pub async fn ended(&self) {
        // The runtime does not report urgent bytes, so "priority" only means the end of the peer's side.
        self.ready(Interest::PRIORITY | Interest::ERROR).await;
    }

    /// Completes when the connection is broken, and returns the error.
    pub async fn broken(&self) -> io::Error {
        self.ready(Interest::ERROR).await;
        let error = self.0.take_error().unwrap_or_else(Some);
        // A read or write may already have reported the error.
        error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
    }

    async fn ready(&self, interest: Interest) {
        if self.0.ready(interest).await.is_err() {
            // The runtime is shutting down, and so is this task.
            std::future::pending::<()>().await;
        }
    }
}

/// How many bytes a write has taken.
pub(super) fn taken_by(written: &Poll<io::Result<usize>>) -> u32 {
    match written {
        // A single write takes far less than 4 GiB.
        Poll::Ready(Ok(count)) => u32::try_from(*count).unwrap_or(u32::MAX),
        _ => 0,
    }
}

/// Does `work` as soon as `ready` allows it.
fn retried<T>(
    mut ready: impl FnMut() -> Poll<io::Result<()>>,
    mut work: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(ready())?;
        match work() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.left == u32::MAX {
            return this.read(cx, buf);
        }
        if this.left == 0 {
            return Poll::Pending;
        }
        // The pieces are small, because each is copied once more.
        let mut piece = [0; 1024];
        let most = buf.remaining().min(piece.len()).min(this.left as usize);
        let mut piece = ReadBuf::new(piece.get_mut(..most).unwrap_or_default());
        ready!(this.read(cx, &mut piece))?;
        buf.put_slice(piece.filled());
        let count = u32::try_from(piece.filled().len()).unwrap_or(u32::MAX);
        this.left = this.left.saturating_sub(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match Arc::get_mut(&mut self.tcp) {
            Some(socket) => Pin::new(socket).poll_write(cx, buf),
            None => retried(|| self.tcp.poll_write_ready(cx), || self.tcp.try_write(buf)),
        };
        self.taken = self.taken.wrapping_add(taken_by(&written));
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match Arc::get_mut(&mut self.tcp) {
            Some(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            None => retried(
                || self.tcp.poll_write_ready(cx),
                || self.tcp.try_write_vectored(bufs),
            ),
        };
        self.taken = self.taken.wrapping_add(taken_by(&written));
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The kernel already has everything that was written.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.tcp).shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_watched_socket_gives_all_that_comes_and_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut peer = TcpStream::connect(address).await.unwrap();
        let mut socket = Socket::new(listener.accept().await.unwrap().0);
        let _watch = socket.watch();
        let mut piece = [0; 8];
        let mut read = async |most: usize| {
            let read = AsyncReadExt::read(&mut socket, &mut piece[..most]);
            let count = timeout(Duration::from_secs(20), read).await;
            piece[..count.unwrap().unwrap()].to_vec()
        };
        // Each of them is less than what fits, so the socket is empty after it.
        for byte in 0..100 {
            peer.write_all(&[byte; 3]).await.unwrap();
            assert_eq!(read(8).await, [byte; 3]);
        }
        peer.write_all(b"exactly8").await.unwrap();
        assert_eq!(read(8).await, b"exactly8");
        peer.write_all(b"in parts").await.unwrap();
        assert_eq!(read(3).await, b"in ");
        assert_eq!(read(8).await, b"parts");
        peer.write_all(b"last").await.unwrap();
        peer.shutdown().await.unwrap();
        assert_eq!(read(8).await, b"last");
        assert_eq!(read(8).await, b"");
        assert_eq!(read(8).await, b"");
    }
}
