//! Streams that remember: one gives bytes again that were already read, the other keeps the first ones.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::poll_read_at_most;
use super::records::Records;
use super::socket::taken_by;

/// A stream that first gives bytes that were already read from it.
#[derive(Debug)]
pub struct Replay<S> {
    early: Vec<u8>,
    given: usize,
    counter: Option<Counter>,
    /// Where the next read starts among the TLS records. It means nothing if the stream is not TLS.
    records: Records,
    /// Whether each read stops at the end of a TLS record or of its header.
    pub(super) by_record: bool,
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
    pub(super) taken: u32,
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

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
