//! What the bytes of an HTTP/2 connection show about its streams: what has gone out, what was reset, and how the
//! connection ended. The HTTP/2 library tells a stream neither of these exactly.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// More bytes than TLS holds back. Bytes before the last ones of this number have gone to the socket.
const HELD_BACK: u64 = 64 * 1024;

/// An HTTP/2 connection as its streams see it.
#[derive(Debug, Default)]
pub struct Wire {
    /// How many bytes the stream below has accepted.
    written: AtomicU64,
    /// How many of them were there when it last had nothing left to send.
    flushed: AtomicU64,
    flows: Mutex<HashMap<u32, Arc<Flow>>>,
    /// Whether a stream waits for its bytes to go.
    is_awaited: AtomicBool,
    /// How many streams are served.
    served: AtomicUsize,
    end: OnceLock<End>,
    /// The task that drives the connection.
    task: AtomicWaker,
}

/// How an HTTP/2 connection ended.
#[derive(Clone, Debug)]
pub enum End {
    /// The client closed it in order.
    Closed,
    /// It broke. The words are for a detail.
    Broke(io::ErrorKind, String),
    /// It was ended with GOAWAY because of what the client did.
    Refused(Violation),
}

/// What a client did that ended its HTTP/2 connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Whether it was too much, and not merely wrong.
    pub is_flood: bool,
    /// What it was, for a detail.
    pub words: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Violation {}

/// The client reset a stream with this error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamReset(pub u32);

impl fmt::Display for StreamReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(code) = self;
        write!(f, "the client sent RST_STREAM with {}", code_name(*code))
    }
}

impl std::error::Error for StreamReset {}

/// One stream of an HTTP/2 connection. All fields are written by the task of the connection.
#[derive(Debug)]
pub struct Flow {
    id: u32,
    /// When its first frame came.
    begun: tokio::time::Instant,
    /// How many bytes of its DATA frames were written.
    written: AtomicU64,
    /// How much the connection had written after the last of them.
    position: AtomicU64,
    /// Whether the head of its answer was written.
    is_answered: AtomicBool,
    /// Whether its end was written.
    has_ended: AtomicBool,
    /// The error code of the client's RST_STREAM.
    reset: OnceLock<u32>,
    /// The error code of the proxy's own RST_STREAM, because of what the client sent.
    refused: OnceLock<u32>,
    /// Waits until its bytes have gone.
    writer: AtomicWaker,
    /// Waits until it breaks.
    watcher: AtomicWaker,
    /// How many tasks hold it; the last one takes it out of the connection.
    holders: AtomicU32,
}

impl Wire {
    fn flows(&self) -> MutexGuard<'_, HashMap<u32, Arc<Flow>>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes this task when a stream is over.
    pub fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// How many streams are served.
    pub fn served(&self) -> usize {
        self.served.load(Acquire)
    }

    /// How the connection ended, if it has.
    pub fn end(&self) -> Option<&End> {
        self.end.get()
    }

    /// Notes how the connection ended, and tells all streams. The first end counts.
    pub fn set_end(&self, end: End) {
        if self.end.set(end).is_ok() {
            for flow in self.flows().values() {
                flow.wake();
            }
        }
    }

    /// A stream begins.
    pub fn begin(&self, id: u32) {
        self.flows().insert(id, Arc::new(Flow::new(id)));
    }

    /// The library reset the stream with `code` before it was served.
    pub fn set_refused(&self, id: u32, code: u32) {
        if let Some(flow) = self.flows().get(&id) {
            flow.refuse(code);
        }
    }

    /// The streams that nobody serves or will serve, and when they began. They are then forgotten.
    pub fn take_unserved(&self) -> Vec<(u32, tokio::time::Instant)> {
        let mut flows = self.flows();
        let unserved = |flow: &Flow| flow.holders.load(Acquire) == 0;
        let mut taken: Vec<_> = flows
            .values()
            .filter(|flow| unserved(flow))
            .map(|flow| (flow.id, flow.begun))
            .collect();
        flows.retain(|_, flow| !unserved(flow));
        taken.sort_unstable();
        taken
    }

    /// A stream that began is served from now on.
    pub fn serve(self: &Arc<Self>, id: u32) -> FlowHandle {
        let flow = Arc::clone(
            self.flows()
                .entry(id)
                .or_insert_with(|| Arc::new(Flow::new(id))),
        );
        if flow.holders.fetch_add(1, AcqRel) == 0 {
            self.served.fetch_add(1, AcqRel);
        }
        FlowHandle {
            wire: Arc::clone(self),
            flow,
        }
    }

    /// The stream was reset with `code` by the client. Returns whether it had been answered; `None`: it is over already.
    pub fn reset(&self, id: u32, code: u32) -> Option<bool> {
        let flow = self.flows().get(&id).map(Arc::clone)?;
        // Only the first one counts.
        let _ = flow.reset.set(code);
        flow.wake();
        Some(flow.is_answered.load(Acquire))
    }

    /// The proxy reset the stream with `code`. Returns when it began if nobody serves it; it is then forgotten.
    pub fn was_reset(&self, id: u32, code: u32) -> Option<tokio::time::Instant> {
        let mut flows = self.flows();
        let flow = flows.get(&id)?;
        if flow.holders.load(Acquire) > 0 {
            flow.refuse(code);
            return None;
        }
        flows.remove(&id).map(|flow| flow.begun)
    }

    /// The head of an answer was written, and `is_end` says whether the answer is over.
    /// Returns when the stream began if nobody serves it: the library itself has answered it. It is then forgotten.
    pub fn answered(&self, id: u32, is_end: bool, position: u64) -> Option<tokio::time::Instant> {
        let mut flows = self.flows();
        let flow = flows.get(&id)?;
        if flow.holders.load(Acquire) == 0 {
            return flows.remove(&id).map(|flow| flow.begun);
        }
        flow.position.store(position, Relaxed);
        flow.is_answered.store(true, Release);
        flow.wrote(0, is_end);
        None
    }

    /// Bytes of a stream's DATA were written, up to `position`.
    pub fn data(&self, id: u32, bytes: usize, is_end: bool, position: u64) {
        if let Some(flow) = self.flows().get(&id) {
            flow.position.store(position, Relaxed);
            flow.wrote(bytes, is_end);
        }
    }

    /// The stream below has accepted `written` bytes in all, and has sent all of them if it `is_flushed`.
    pub fn passed(&self, written: u64, is_flushed: bool) {
        self.written.store(written, Release);
        if is_flushed {
            self.flushed.store(written, Release);
        }
        if self.is_awaited.swap(false, AcqRel) {
            for flow in self.flows().values() {
                flow.writer.wake();
            }
        }
    }

    fn has_gone(&self, position: u64) -> bool {
        self.flushed.load(Acquire) >= position
            || self.written.load(Acquire) >= position.saturating_add(HELD_BACK)
    }
}

impl Flow {
    fn new(id: u32) -> Self {
        Self {
            id,
            begun: tokio::time::Instant::now(),
            written: AtomicU64::new(0),
            position: AtomicU64::new(0),
            is_answered: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            reset: OnceLock::new(),
            refused: OnceLock::new(),
            writer: AtomicWaker::new(),
            watcher: AtomicWaker::new(),
            holders: AtomicU32::new(0),
        }
    }

    fn wrote(&self, bytes: usize, is_end: bool) {
        self.written.fetch_add(bytes as u64, AcqRel);
        if is_end {
            self.has_ended.store(true, Release);
        }
    }

    fn refuse(&self, code: u32) {
        // Only the first one counts.
        let _ = self.refused.set(code);
        self.wake();
    }

    fn wake(&self) {
        self.writer.wake();
        self.watcher.wake();
    }
}

/// A stream that is served. It counts among the streams of its connection until the last handle is dropped.
#[derive(Debug)]
pub struct FlowHandle {
    wire: Arc<Wire>,
    flow: Arc<Flow>,
}

impl FlowHandle {
    /// The number of the stream.
    pub fn id(&self) -> u32 {
        self.flow.id
    }

    /// When its first frame came.
    pub fn begun(&self) -> tokio::time::Instant {
        self.flow.begun
    }

    /// How many bytes of its DATA frames have been written, modulo 2^32.
    pub fn taken(&self) -> u32 {
        (self.flow.written.load(Acquire) & u64::from(u32::MAX))
            .try_into()
            .unwrap_or(u32::MAX)
    }

    /// Ready when the head of the answer and the first `bytes` of the stream have gone to the socket, and its end too if `is_end`.
    ///
    /// # Errors
    /// [`FlowHandle::error`].
    pub fn poll_gone(&self, cx: &Context<'_>, bytes: u64, is_end: bool) -> Poll<io::Result<()>> {
        // Most callers do not have to wait, and then nobody has to wake them.
        if !self.have_gone(bytes, is_end) {
            self.register(cx);
            self.wire.is_awaited.store(true, Release);
            if !self.have_gone(bytes, is_end) {
                return match self.error() {
                    Some(error) => Poll::Ready(Err(error)),
                    None => Poll::Pending,
                };
            }
        }
        Poll::Ready(Ok(()))
    }

    fn have_gone(&self, bytes: u64, is_end: bool) -> bool {
        let flow = &*self.flow;
        flow.is_answered.load(Acquire)
            && flow.written.load(Acquire) >= bytes
            && (!is_end || flow.has_ended.load(Acquire))
            && self.wire.has_gone(flow.position.load(Acquire))
    }

    /// Wakes this task when bytes of the stream have gone, and when it or its connection ends.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.flow.writer.register(cx.waker());
    }

    /// Completes when the client has reset the stream, or the connection has ended.
    pub async fn broken(&self) -> io::Error {
        poll_fn(|cx| {
            self.flow.watcher.register(cx.waker());
            match self.error() {
                Some(error) => Poll::Ready(error),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Forgets the task that last waited in [`FlowHandle::broken`], whose memory would otherwise be kept.
    pub fn forget_watcher(&self) {
        drop(self.flow.watcher.take());
    }

    /// Whether the connection was closed in order, without the end of this stream.
    pub fn is_closed(&self) -> bool {
        self.flow.reset.get().is_none() && matches!(self.wire.end(), Some(End::Closed))
    }

    /// Why nothing more can be sent, if that is so.
    pub fn error(&self) -> Option<io::Error> {
        if let Some(code) = self.flow.reset.get() {
            let reset = StreamReset(*code);
            return Some(io::Error::new(io::ErrorKind::ConnectionReset, reset));
        }
        if let Some(code) = self.flow.refused.get() {
            let violation = Violation {
                is_flood: false,
                words: format!("the client got RST_STREAM with {}", code_name(*code)),
            };
            return Some(io::Error::new(io::ErrorKind::InvalidData, violation));
        }
        Some(match self.wire.end()? {
            End::Closed => io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the client closed the HTTP/2 connection",
            ),
            End::Broke(kind, words) => io::Error::new(*kind, words.clone()),
            End::Refused(violation) => {
                io::Error::new(io::ErrorKind::ConnectionAborted, violation.clone())
            }
        })
    }
}

impl Clone for FlowHandle {
    fn clone(&self) -> Self {
        self.flow.holders.fetch_add(1, AcqRel);
        Self {
            wire: Arc::clone(&self.wire),
            flow: Arc::clone(&self.flow),
        }
    }
}

impl Drop for FlowHandle {
    fn drop(&mut self) {
        // Under the lock, so that nobody takes the stream for one that was never served.
        let mut flows = self.wire.flows();
        if self.flow.holders.fetch_sub(1, AcqRel) == 1 {
            flows.remove(&self.flow.id);
            drop(flows);
            self.wire.served.fetch_sub(1, AcqRel);
            self.wire.task.wake();
        }
    }
}

/// The name of an error code (RFC 9113 section 7).
pub fn code_name(code: u32) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let index = usize::try_from(code).unwrap_or(usize::MAX);
    NAMES.get(index).map_or_else(
        || format!("the unknown code {code}"),
        |name| (*name).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Wake, Waker};

    use super::*;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_task_that_waits_no_more_can_be_forgotten() {
        let task = Arc::new(Task);
        let waker = Waker::from(Arc::clone(&task));
        let flow = Arc::<Wire>::default().serve(1);
        {
            let mut broken = pin!(flow.broken());
            let polled = broken.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        drop(waker);
        assert_eq!(Arc::strong_count(&task), 2);
        flow.forget_watcher();
        assert_eq!(Arc::strong_count(&task), 1);
    }
}
