//! What is known about a connection and about each of its requests, and the records that are made of it.
//!
//! The stages fill in the facts as they become known, so that a timeout or a cancelled task loses none of them. A [`Draft`]
//! guards the facts of one request: it makes exactly one terminal record of them. This is the only place that makes one.

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
use crate::reason::{Failure, Level, Note, NoteCode, Reason, Stage};
use crate::record::{Event, Record, Resting, Served, Sink, Wanted, aborted, millis};
use crate::secrets::redact_query;
use crate::tls;
use crate::upstream;

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
    /// Who dialled, if a connection was there.
    peer: Option<SocketAddr>,
    /// The client of every request that names no other: who dialled, or whom a PROXY header names.
    source: Option<IpAddr>,
    /// What was learned in the TLS handshake.
    pub tls: tls::Facts,
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
    /// The number of the configuration in use.
    pub generation: u64,
    /// How long the TLS handshake took; the first request has it.
    pub tls: Option<Duration>,
    /// The certificate that was served, if the client refused it.
    pub certificate: Option<Box<Served>>,
    /// How long it took until the head was complete.
    pub head: Option<Duration>,
    /// What the request says about itself.
    pub description: Description,
    /// Who asks, as far as it is known.
    client: Option<IpAddr>,
    /// What the request is for.
    pub wanted: Wanted,
    /// How long the policy took.
    pub policy: Option<Duration>,
    /// The route that matched.
    pub route: Option<String>,
    /// The name of its upstream.
    pub upstream: Option<String>,
    /// The WeChat app id in the Referer.
    pub referer_app_id: Option<String>,
    /// What happened on the way to the upstream.
    pub dialling: upstream::Facts,
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
    /// How much of its body has come; `None` for the proxy's own answer.
    pub bytes: Option<Arc<AtomicU64>>,
}

/// The guard of one request's facts. Dropped without a record, it reports `draining` if its connection is cut off, else
/// `internal_aborted`.
#[derive(Debug)]
pub(super) struct Draft {
    sink: Sink,
    cutoff: Cutoff,
    connection: Arc<ConnectionFacts>,
    facts: Box<Facts>,
    is_written: bool,
}

impl ConnectionFacts {
    /// Those of a connection that `peer` made.
    pub fn new(shared: &Shared, peer: Option<SocketAddr>) -> Self {
        let (number, id) = shared.sink.next_conn();
        Self {
            number,
            id,
            listener: shared.listener,
            peer,
            source: peer.map(|peer| peer.ip()),
            tls: tls::Facts::default(),
        }
    }

    /// Whether who dialled is on this machine.
    pub fn is_local(&self) -> bool {
        self.peer.is_some_and(|peer| local::is_local(peer.ip()))
    }
}

impl Draft {
    /// For a request that began at `begun`, after so many others of its connection.
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
            dialling: upstream::Facts::default(),
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

    /// Names who is behind the peer of this connection, for all its requests.
    pub fn set_source(&mut self, source: IpAddr) {
        self.connection_mut().source = Some(source);
        self.set_client(source);
    }

    /// Names the real client, which is the peer unless a trusted proxy says otherwise.
    pub fn set_client(&mut self, client: IpAddr) {
        self.facts.client = Some(client);
    }

    /// Adds what is worth saying.
    pub fn note(&mut self, note: impl Into<Note>) {
        self.notes([note.into()]);
    }

    /// Adds several.
    pub fn notes(&mut self, notes: impl IntoIterator<Item = Note>) {
        let facts = &mut *self.facts;
        // In the order in which they became known.
        facts.notes.append(&mut facts.dialling.notes);
        facts.notes.extend(notes);
    }

    /// The id that joins this request's records, its answers and the upstream's own log: the request's, else the
    /// connection's, and for a further request its number after that.
    pub fn request_id(&mut self) -> String {
        let Self {
            connection, facts, ..
        } = self;
        let own = || match facts.before {
            0 => connection.id.clone(),
            before => format!("{}-{}", connection.id, before + 1),
        };
        let id = &mut facts.description.request_id;
        id.get_or_insert_with(own).clone()
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

    /// An answer is on its way to the client: whatever comes now, the client got its head.
    pub fn answering(&mut self, answering: Answering) {
        self.facts.answering = Some(Box::new(answering));
    }

    /// A record with what identifies the request, for what it reveals about its peer.
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
            client: facts.client.and_then(|ip| address(ip, None)),
            peer: connection
                .peer
                .and_then(|peer| address(peer.ip(), Some(peer.port()))),
            listener: Some(connection.listener.to_string()),
            generation: Some(facts.generation),
            ..Record::default()
        }
    }

    /// The record of what is known so far. Takes the facts out: there is no second one.
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
            referer_app_id: facts.referer_app_id.take(),
            user_agent,
            route: facts.route.take(),
            upstream: facts.upstream.take(),
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

    /// Writes `opened`; gives the record of the tunnel's end, which rests until then.
    #[must_use]
    pub fn opened(mut self) -> Resting {
        let opened = std::time::Instant::now();
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

    /// Why the request ends here though nothing of it failed.
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
            // It is as open as a tunnel, but nothing can be said in it.
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
