//! What is known about a connection and about each of its requests, and the records that are made from it.
//!
//! The stages fill in the facts as they become known, so that a timeout or a cancelled task loses none of them. A [`Draft`]
//! guards the facts of one request: it makes exactly one record from them. For a tunnel, [`Resting`] makes the last
//! record.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::request::Parts;
use tokio::time::Instant;

use super::describe::Description;
use super::local;
use super::shared::Shared;
use super::stop::Cutoff;
use crate::http::forwarded::{self, Identity};
use crate::moment::Moment;
use crate::reason::{Failure, Level, Note, NoteCode, Reason, Stage};
use crate::record::{Event, Record, Resting, ServedCertificate, Sink, Wanted, aborted, id, millis};
use crate::secrets::redact_query;
use crate::tls::TlsFacts;
use crate::upstream::Dialling;

/// What a browser reports if no Close frame reached it (RFC 6455 section 7.1.5).
const ABNORMAL: u16 = 1006;

/// What all requests of a connection have in common.
#[derive(Clone, Debug)]
pub(super) struct ConnectionFacts {
    /// How many connections this process has had up to this one.
    pub number: u64,
    /// Its id in records.
    id: String,
    listener: SocketAddr,
    /// The peer of the socket; `None` if no connection could be accepted.
    peer: Option<SocketAddr>,
    /// The client of every request that does not name another one: the peer, or the client in a PROXY header.
    source: Option<IpAddr>,
    /// What was learned in the TLS handshake.
    pub tls: TlsFacts,
}

/// What is known about one request. The first one of a connection begins when the connection is accepted.
#[derive(Debug)]
pub(super) struct Facts {
    /// The stage that was reached.
    stage: Stage,
    /// When the connection was accepted, or when the first byte of a further request came.
    begun: Instant,
    /// How many requests the connection had before.
    before: u32,
    /// Its stream, over HTTP/2.
    stream: Option<u32>,
    /// The number of the configuration in use.
    pub generation: u64,
    /// How long the TLS handshake took; the first request has it.
    pub tls: Option<Duration>,
    /// The certificate that was served, if the client refused it.
    pub certificate: Option<Box<ServedCertificate>>,
    /// The time until the head was complete.
    pub head: Option<Duration>,
    /// What the request says about itself.
    pub description: Description,
    /// The client, if it is known.
    client: Option<IpAddr>,
    /// What the request is for.
    pub wanted: Wanted,
    /// How long the policy took.
    pub policy: Option<Duration>,
    /// The route that matched.
    pub route: Option<Box<str>>,
    /// The name of its upstream.
    pub upstream: Option<Box<str>>,
    /// The WeChat app id in the Referer.
    pub referer_app_id: Option<Box<str>>,
    /// What happened on the way to the upstream.
    pub dialling: Dialling,
    /// How long connecting took.
    pub connect: Option<Duration>,
    /// How long the upstream took to answer the opening handshake.
    pub handshake: Option<Duration>,
    /// How long the upstream took to answer a plain request.
    pub response: Option<Duration>,
    /// Bytes of the request's body that were passed on.
    pub uploaded: Option<u64>,
    /// The answer that is on its way.
    answering: Option<Box<Answering>>,
    /// From `begun` to the decision to refuse the request.
    refused: Option<Duration>,
    /// The code of the Close frame that told the client of its refusal.
    pub close_code: Option<u16>,
    notes: Vec<Note>,
}

/// An answer that is on its way to the client.
#[derive(Debug)]
pub(super) struct Answering {
    /// Its status, which the client got.
    pub status: u16,
    /// When its request was handed on.
    pub since: Instant,
    /// The number of bytes of its body that have arrived; `None` for the proxy's own answer.
    pub bytes: Option<Arc<AtomicU64>>,
}

/// The guard of one request's facts. If it is dropped before its record is written, it writes one with the reason
/// `draining` (if its connection is cut off) or `internal_aborted`.
#[derive(Debug)]
pub(super) struct Draft {
    sink: Sink,
    cutoff: Cutoff,
    connection: Arc<ConnectionFacts>,
    facts: Box<Facts>,
    is_written: bool,
}

impl ConnectionFacts {
    /// The facts of a connection from `peer`.
    pub fn new(shared: &Shared, peer: Option<SocketAddr>) -> Self {
        let (number, id) = shared.sink.next_conn();
        Self {
            number,
            id,
            listener: shared.listener,
            peer,
            source: peer.map(|peer| peer.ip()),
            tls: TlsFacts::default(),
        }
    }

    /// Whether the peer is on this machine.
    pub fn is_local(&self) -> bool {
        self.peer.is_some_and(|peer| local::is_local(peer.ip()))
    }
}

impl Draft {
    /// The guard of a request that began at `begun`; `before` is the number of earlier requests on its connection.
    pub fn new(
        shared: &Shared,
        cutoff: Cutoff,
        connection: Arc<ConnectionFacts>,
        (begun, before): (Instant, u32),
    ) -> Self {
        let facts = Facts {
            stage: Stage::Accept,
            begun,
            before,
            stream: None,
            generation: shared.generation.number,
            tls: None,
            certificate: None,
            head: None,
            description: Description::default(),
            client: connection.source,
            wanted: Wanted::default(),
            policy: None,
            route: None,
            upstream: None,
            referer_app_id: None,
            dialling: Dialling::default(),
            connect: None,
            handshake: None,
            response: None,
            uploaded: None,
            answering: None,
            refused: None,
            close_code: None,
            notes: Vec::new(),
        };
        Self {
            sink: shared.sink.clone(),
            cutoff,
            connection,
            facts: Box::new(facts),
            is_written: false,
        }
    }

    /// The facts of its connection.
    pub fn connection(&self) -> &Arc<ConnectionFacts> {
        &self.connection
    }

    /// The same, to be filled in before there is a request.
    pub fn connection_mut(&mut self) -> &mut ConnectionFacts {
        Arc::make_mut(&mut self.connection)
    }

    /// Says which stage the request has reached.
    pub fn enter(&mut self, stage: Stage) {
        self.facts.stage = stage;
        self.sink.entered(stage);
    }

    /// Sets the client behind the peer of this connection, for all its requests.
    pub fn set_source(&mut self, source: IpAddr) {
        self.connection_mut().source = Some(source);
        self.set_client(source);
    }

    /// Sets the real client: the peer, unless a trusted proxy names another one.
    pub fn set_client(&mut self, client: IpAddr) {
        self.facts.client = Some(client);
    }

    /// Adds a note.
    pub fn note(&mut self, note: impl Into<Note>) {
        self.notes([note.into()]);
    }

    /// Adds several notes.
    pub fn notes(&mut self, notes: impl IntoIterator<Item = Note>) {
        let facts = &mut *self.facts;
        // In the order in which they became known.
        facts.notes.append(&mut facts.dialling.notes);
        facts.notes.extend(notes);
    }

    /// The id that this request's records, its answers and the upstream's own log have in common. It is the id in the
    /// request, or else the id of the connection, followed by the number of its stream over HTTP/2, and by the number of
    /// the request over HTTP/1.1 if it is not the first one.
    pub fn request_id(&mut self) -> String {
        let Self {
            connection, facts, ..
        } = self;
        let own = || match (facts.stream, facts.before) {
            (stream @ Some(_), _) | (stream, 0) => id::full(&connection.id, stream).into_owned(),
            (None, before) => format!("{}-{}", connection.id, before + 1),
        };
        let id = &mut facts.description.request_id;
        id.get_or_insert_with(own).clone()
    }

    /// A number for its tunnel, which differs from those of most others.
    pub fn place(&self) -> u64 {
        // The numbers of a client's streams are odd.
        let stream = self.facts.stream.map_or(0, |stream| u64::from(stream / 2));
        self.connection.number.wrapping_add(stream)
    }

    /// The connection speaks HTTP/2, and the request is on this stream of it; `None`: there is no request.
    pub fn set_stream(&mut self, stream: Option<u32>) {
        self.facts.stream = stream;
        self.facts.description.http_version = Some("2");
    }

    /// Notes what a request says about itself, and who its client is.
    pub fn describe(&mut self, request: &Parts, identity: &Identity) {
        let request_id = forwarded::request_id(&request.headers).unwrap_or_else(|why| {
            self.note(Note::new(NoteCode::RequestIdReplaced, why));
            None
        });
        self.set_client(identity.client);
        let keep = &self.sink.log().query_keep;
        self.facts.description = Description::of(request, request_id, |path, query| {
            redact_query(path, query, keep)
        });
        // If the request has no id, it gets one now.
        self.request_id();
    }

    /// The same for a head that is refused before it is parsed.
    pub fn describe_unread(&mut self, head: &[u8]) {
        let keep = &self.sink.log().query_keep;
        let described = Description::of_unread(head, |path, query| redact_query(path, query, keep));
        if let Some(description) = described {
            self.facts.description = description;
        }
    }

    /// The request is refused now; the time that its client takes to read the answer does not count.
    pub fn refused(&mut self) {
        self.facts.refused = Some(self.facts.begun.elapsed());
    }

    /// An answer is on its way to the client. Whatever happens next, the client has received its head.
    pub fn answering(&mut self, answering: Answering) {
        self.facts.answering = Some(Box::new(answering));
    }

    /// A record with only the fields that identify the request, for a report about its peer.
    pub fn identified(&self) -> Record {
        let Self {
            sink,
            connection,
            facts,
            ..
        } = self;
        let address = |ip, port| sink.address(ip, port);
        Record {
            conn: Some(connection.id.clone()),
            stream_id: facts.stream,
            client: facts.client.and_then(|ip| address(ip, None)),
            peer: connection
                .peer
                .and_then(|peer| address(peer.ip(), Some(peer.port()))),
            listener: Some(connection.listener.to_string()),
            generation: Some(facts.generation),
            ..Record::default()
        }
    }

    /// Makes the record from the facts so far. Takes them, so it can be called only once.
    fn record(&mut self) -> Record {
        self.notes([]);
        let identified = self.identified();
        let ConnectionFacts { tls, .. } = &*self.connection;
        let facts = &mut *self.facts;
        let ms = |took: Option<Duration>| took.map(millis);
        let Description {
            request_id,
            trace_id,
            http_version,
            method,
            host,
            path,
            origin,
            user_agent,
            is_plain: _,
        } = std::mem::take(&mut facts.description);
        Record {
            request_id,
            trace_id,
            notes: std::mem::take(&mut facts.notes),
            sni: tls.sni.clone(),
            tls_version: tls.version.map(Cow::Borrowed),
            alpn: tls.alpn.clone(),
            certificate: facts.certificate.take(),
            http_version: http_version.map(Cow::Borrowed),
            method,
            host,
            path,
            origin,
            referer_app_id: facts.referer_app_id.take().map(String::from),
            user_agent,
            route: facts.route.take().map(String::from),
            upstream: facts.upstream.take().map(String::from),
            attempts: std::mem::take(&mut facts.dialling.attempts),
            tls_ms: ms(facts.tls),
            head_ms: ms(facts.head),
            policy_ms: ms(facts.policy),
            connect_ms: ms(facts.connect),
            handshake_ms: ms(facts.handshake),
            response_ms: ms(facts.response),
            client_sees: facts.close_code,
            bytes_client_to_upstream: facts.uploaded,
            wanted: facts.wanted,
            source: facts.client,
            ..identified
        }
    }

    /// Writes `opened`. Returns the record of the tunnel's end, which is written at that time.
    #[must_use]
    pub fn opened(mut self) -> Resting {
        let opened = Moment::now();
        self.is_written = true;
        let record = self.record();
        Resting::open(record, opened, &self.sink)
    }

    /// Writes `request`: an answer that was delivered, or what went wrong with the rest of it.
    pub fn served(mut self, level: Level, failure: Option<Failure>) {
        self.write(Some(level), failure);
    }

    /// Writes `refused`, or `request` if an answer was on its way.
    pub fn failed(mut self, failure: Failure) {
        self.write(None, Some(failure));
    }

    fn write(&mut self, level: Option<Level>, failure: Option<Failure>) {
        self.is_written = true;
        let stage = self.facts.stage;
        let is_local = self.connection.source.is_some_and(local::is_local);
        let is_plain = self.facts.description.is_plain || self.facts.wanted == Wanted::Answer;
        let mut record = self.record();
        let facts = &mut *self.facts;
        record.level = level;
        if let Some(failure) = failure {
            record.fail(local::told(failure, is_local), stage);
        }
        match facts.answering.take() {
            Some(answering) => {
                record.event = Event::Request;
                record.status = Some(answering.status);
                record.lasted_ms = Some(millis(answering.since.elapsed()));
                let bytes = answering.bytes.map(|bytes| bytes.load(Ordering::Relaxed));
                record.bytes_upstream_to_client = bytes;
            }
            None => {
                record.event = Event::Refused;
                let lasted = facts.refused.unwrap_or_else(|| facts.begun.elapsed());
                record.lasted_ms = Some(millis(lasted));
                // A refused plain request is not a failed WebSocket.
                if !is_plain {
                    record.client_sees.get_or_insert(ABNORMAL);
                }
            }
        }
        self.sink.emit(record);
    }

    /// The failure of a request that was dropped before it ended.
    fn unfinished(&self) -> Failure {
        let stage = self.facts.stage;
        if std::thread::panicking() || !self.cutoff.is_reached() {
            return aborted(stage);
        }
        let detail = format!("{} in stage {}", self.cutoff.cause(), stage.name());
        let failure = Failure::new(Reason::Draining, detail).unanswered();
        if stage != Stage::Upstream {
            return failure;
        }
        failure.with_hint(match self.facts.answering {
            // The answer is as open as a tunnel, but the proxy can't send a Close frame in it.
            Some(_) => "the answer to a plain request was not complete: let the upstream end its streams when it is told to stop, or make `shutdown.drain` longer than the longest answer",
            None => "the request was not complete, or the upstream had not answered yet: make `shutdown.drain` longer than `upstreams.*.handshake_timeout` (for plain requests, than `routes[].http.response_timeout`), and the platform's grace period longer than `shutdown.drain`",
        })
    }
}

impl std::ops::Deref for Draft {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl std::ops::DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_written {
            self.write(None, Some(self.unfinished()));
        }
    }
}
