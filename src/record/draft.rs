//! The record of a connection from its first byte to its end; it guarantees that the record is written exactly once.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::packed::Packed;
use super::{Event, Record, Sink, Wanted, millis, stamp};
use crate::reason::{Failure, Level, Note, Reason, Stage};
use crate::secrets::redact_query;

/// What a browser reports if no Close frame reached it (RFC 6455 section 7.1.5).
const ABNORMAL: u16 = 1006;

/// An answer that is being sent to the client.
#[derive(Debug)]
pub struct Answering {
    /// Its status, which the client has received.
    pub status: u16,
    /// When its request was passed on.
    pub since: Instant,
    /// How many bytes of its body have arrived; `None` for the proxy's own answers.
    pub bytes: Option<Arc<AtomicU64>>,
}

/// The unfinished record of a connection.
///
/// [`Draft::finish`] ends it. If it is dropped before that, it reports `internal_aborted`.
pub struct Draft {
    sink: Sink,
    stage: Stage,
    /// When the connection was accepted, or when the first byte of a further request arrived.
    begun: Instant,
    opened: Option<Instant>,
    /// The request is plain, although its head can't be read completely.
    is_plain: bool,
    /// The answer that is being sent.
    answering: Option<Box<Answering>>,
    finished: bool,
    /// The peer, or the client that a PROXY header names: the client of every request that does not say otherwise.
    source: Option<IpAddr>,
    /// The number of further requests on the connection.
    repeated: u32,
    number: u64,
    /// What is known so far.
    pub record: Box<Record>,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft")
            .field("stage", &self.stage)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

impl Draft {
    /// Starts the record of a connection from `peer` to `listener` that was accepted at `begun`.
    #[must_use]
    pub fn new(sink: Sink, listener: SocketAddr, peer: Option<SocketAddr>, begun: Instant) -> Self {
        let (number, conn) = sink.next_conn();
        let mut draft = Self {
            stage: Stage::Accept,
            begun,
            opened: None,
            is_plain: false,
            answering: None,
            finished: false,
            source: peer.map(|peer| peer.ip()),
            repeated: 0,
            number,
            record: Box::new(Record {
                conn: Some(conn),
                listener: Some(listener.to_string()),
                peer: peer.and_then(|peer| sink.address(peer.ip(), Some(peer.port()))),
                ..Record::default()
            }),
            sink,
        };
        if let Some(peer) = peer {
            draft.set_client(peer.ip());
        }
        draft
    }

    /// Notes that the connection has reached `stage`.
    pub fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.sink.entered(stage);
    }

    /// The connection's id.
    fn conn(&self) -> &str {
        self.record.conn.as_deref().unwrap_or_default()
    }

    /// The number of this connection in the process, counted from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The stage that the connection has reached.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether something still needs its record.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.finished
    }

    /// An id for a request without one: the connection's id, followed by the request's number if it is not the first.
    #[must_use]
    pub fn own_request_id(&self) -> String {
        match self.repeated {
            0 => self.conn().to_owned(),
            more => format!("{}-{}", self.conn(), more + 1),
        }
    }

    /// An answer is being sent: whatever happens now, the client has received its status.
    pub fn answering(&mut self, answering: Answering) {
        self.answering = Some(Box::new(answering));
    }

    /// Whether an answer is being sent.
    #[must_use]
    pub fn is_answering(&self) -> bool {
        self.answering.is_some()
    }

    /// Writes `request`: a plain request was answered with `status`; `failure` cut the answer off. Nothing is pending
    /// then, until [`Draft::again`].
    pub fn served(&mut self, status: u16, level: Level, failure: Option<Failure>) {
        self.finished = true;
        let mut record = self.record.clone();
        record.level = Some(level);
        if let Some(failure) = failure {
            record.fail(failure, self.stage);
        }
        record.event = Event::Request;
        record.status = Some(status);
        self.sink.emit(*record);
    }

    /// The connection's next request has begun; its first byte arrived at `begun`.
    pub fn again(&mut self, begun: Instant) {
        self.finished = false;
        self.begun = begun;
        self.is_plain = false;
        self.answering = None;
        self.repeated += 1;
        let last = std::mem::take(&mut *self.record);
        *self.record = Record {
            conn: last.conn,
            client: self.source.and_then(|ip| self.sink.address(ip, None)),
            source: self.source,
            peer: last.peer,
            listener: last.listener,
            sni: last.sni,
            tls_version: last.tls_version,
            alpn: last.alpn,
            generation: last.generation,
            ..Record::default()
        };
    }

    /// Sets the generation of the configuration that serves this connection.
    pub fn set_generation(&mut self, number: u64) {
        self.record.generation = Some(number);
    }

    /// Sets the client behind this connection's peer, for all its requests.
    pub fn set_source(&mut self, source: IpAddr) {
        self.source = Some(source);
        self.set_client(source);
    }

    /// Sets the real client, which is the peer unless a trusted proxy says otherwise.
    pub fn set_client(&mut self, client: IpAddr) {
        self.record.source = Some(client);
        self.record.client = self.sink.address(client, None);
    }

    /// An address in the form of records; `None` if they leave it out.
    #[must_use]
    pub fn shown(&self, ip: IpAddr) -> Option<String> {
        self.sink.address(ip, None)
    }

    /// Sets the requested path, with its query redacted as configured.
    pub fn set_path(&mut self, path: &[u8], query: Option<&[u8]>) {
        self.record.path = Some(redact_query(path, query, &self.sink.log().query_keep));
    }

    /// Marks the request as plain although its head can't be read completely.
    pub fn set_plain(&mut self) {
        self.is_plain = true;
    }

    /// The request is refused now: `lasted_ms` does not include the time in which its client reads the answer.
    pub fn refused(&mut self) {
        self.record.lasted_ms = Some(millis(self.begun.elapsed()));
    }

    /// Adds a note.
    pub fn note(&mut self, note: impl Into<Note>) {
        self.record.notes.push(note.into());
    }

    /// Writes `opened`; the rest of the record is about the tunnel.
    pub fn opened(&mut self) {
        self.opened = Some(Instant::now());
        let mut record = self.record.clone();
        record.event = Event::Opened;
        record.stage = Some(Stage::Tunnel);
        record.level = Some(Level::Info);
        record.status = Some(101);
        self.sink.emit(*record);
    }

    /// Writes `closed` if a tunnel was open, `request` if an answer was being sent, otherwise `refused`.
    pub fn finish(mut self, failure: Failure) {
        self.end(failure);
    }

    fn end(&mut self, failure: Failure) {
        self.finished = true;
        let mut record = std::mem::take(&mut self.record);
        record.fail(failure, self.stage);
        record.event = match (self.opened, self.answering.take()) {
            (None, None) => {
                let begun = self.begun;
                record
                    .lasted_ms
                    .get_or_insert_with(|| millis(begun.elapsed()));
                // A refused plain request is not a failed WebSocket.
                if !self.is_plain && record.wanted != Wanted::Answer {
                    record.client_sees.get_or_insert(ABNORMAL);
                }
                Event::Refused
            }
            (None, Some(answering)) => {
                record.status = Some(answering.status);
                record.lasted_ms = Some(millis(answering.since.elapsed()));
                let bytes = answering.bytes.map(|bytes| bytes.load(Ordering::Relaxed));
                record.bytes_upstream_to_client = bytes;
                Event::Request
            }
            (Some(opened), _) => {
                record
                    .lasted_ms
                    .get_or_insert_with(|| millis(opened.elapsed()));
                record.ended_at.get_or_insert_with(|| stamp(Duration::ZERO));
                record.close_wait_ms.get_or_insert(0);
                record.status = Some(101);
                Event::Closed
            }
        };
        self.sink.emit(*record);
    }

    /// Packs the record of an open tunnel into as little memory as possible until the tunnel ends.
    #[must_use]
    pub fn rest(mut self) -> Resting {
        // `Resting` now guarantees the record.
        self.finished = true;
        Resting {
            packed: Some(Packed::new(&self.record)),
            opened: self.opened,
            sink: self.sink.clone(),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished {
            let how = if std::thread::panicking() {
                "panicked"
            } else {
                "was cancelled"
            };
            let detail = format!("the connection's task {how} in stage {}", self.stage.name());
            self.end(Failure::new(Reason::InternalAborted, detail));
        }
    }
}

/// The packed record of an open tunnel. If it is dropped, it reports `internal_aborted`, like a [`Draft`].
#[derive(Debug)]
pub struct Resting {
    /// Taken by `wake`.
    packed: Option<Packed>,
    opened: Option<Instant>,
    sink: Sink,
}

impl Resting {
    /// Unpacks the record, to be finished.
    #[must_use]
    pub fn wake(mut self) -> Draft {
        self.draft()
    }

    fn draft(&mut self) -> Draft {
        let packed = self.packed.take();
        Draft {
            sink: self.sink.clone(),
            stage: Stage::Tunnel,
            begun: Instant::now(),
            opened: self.opened,
            is_plain: false,
            answering: None,
            finished: false,
            source: None,
            repeated: 0,
            number: 0,
            record: Box::new(packed.as_ref().map(Packed::unpack).unwrap_or_default()),
        }
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        if self.packed.is_some() {
            drop(self.draft());
        }
    }
}
