//! The life of one connection: the only file that knows the order of the stages.

mod cut;
mod describe;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::{self, HeaderValue};
use http::request::Parts;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use cut::Cut;
use describe::{describe, describe_unread, request_id};

use crate::config::{Config, Upstream};
use crate::http::forwarded::Identity;
use crate::http::head::{self, NoHead, RawHead};
use crate::http::opening::{self, Kind, Opening};
use crate::http::{Answered, Exchange, Gone, Unparsed, respond};
use crate::listener::{self, Accepted, FirstBytes, Looks};
use crate::policy::{self, Asked, Authority, HostSet, Permit};
use crate::reason::{Failure, Note, NoteCode, Reason, Stage};
use crate::record::{Draft, Sink, millis};
use crate::stream::{ClientStream, Replay, UpstreamStream, linger};
use crate::tls;
use crate::tunnel::{self, Ends, Timers};
use crate::upstream::{self, Answer, Opened, Refused};

/// After a shutdown began, how long a connection may still take to ask for something, or to read its refusal: enough
/// for what is on its way, little enough that connections without a tunnel don't hold up the exit.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// What all connections of a listener share.
#[derive(Debug)]
pub struct Shared {
    /// The configuration that admits them.
    pub config: Arc<Config>,
    /// The listener's bound address.
    pub listener: SocketAddr,
    /// Its TLS settings, if it has any.
    pub tls: Option<tls::Server>,
    /// Where records go.
    pub sink: Sink,
    /// A shutdown has begun.
    pub draining: CancellationToken,
    /// It has no more patience.
    pub cut: Cut,
}

impl Shared {
    /// Completes some time after a shutdown began, for what must not hold up the exit.
    async fn drain_patience(&self) {
        self.draining.cancelled().await;
        tokio::time::sleep(DRAIN_PATIENCE).await;
    }
}

/// Carries one connection from its first byte to its record.
pub async fn serve(accepted: Accepted, shared: Arc<Shared>) {
    let Accepted { socket, peer, slot } = accepted;
    let mut draft = Draft::new(shared.sink.clone(), shared.listener, Some(peer));
    draft.enter(Stage::Accept);
    let life = Life {
        shared: &shared,
        peer,
    };
    let ended = tokio::select! {
        biased;
        ended = life.run(socket, &mut draft) => ended,
        () = shared.cut.cancelled() => cut_short(shared.cut.cause(), draft.stage()).into(),
    };
    let Ended {
        failure,
        client,
        upstream,
    } = ended;
    draft.finish(failure);
    let patience = shared.config.limits.close_wait;
    let lingering = async {
        tokio::join!(
            async {
                if let Some(client) = client {
                    linger(client, patience).await;
                }
            },
            async {
                if let Some(upstream) = upstream {
                    linger(upstream, patience).await;
                }
            },
        )
    };
    tokio::select! {
        _ = lingering => {}
        // The record is written: the peers only lose the rest of their time to read.
        () = shared.drain_patience() => {}
        () = shared.cut.cancelled() => {}
    }
    drop(slot);
}

fn cut_short(cause: &str, stage: Stage) -> Failure {
    let detail = format!("{cause} in stage {}", stage.name());
    let failure = Failure::new(Reason::Draining, detail).unanswered();
    if stage != Stage::Upstream {
        return failure;
    }
    failure.with_hint(
        "the upstream had not answered yet: let `shutdown.drain` be longer than `upstreams.*.handshake_timeout`, and \
         the platform's grace period longer than that",
    )
}

/// How a connection ended.
struct Ended {
    failure: Failure,
    /// Still open so that the client can read its refusal, or the last of its tunnel.
    client: Option<ClientStream>,
    /// Still open so that the upstream can read the last of the tunnel.
    upstream: Option<UpstreamStream>,
}

impl Ended {
    /// A connection whose client was answered, or could not be.
    fn answered(failure: Failure, client: Option<ClientStream>) -> Self {
        Self {
            failure,
            client,
            upstream: None,
        }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::answered(failure, None)
    }
}

/// A request that may be handed on, and to whom.
struct Admitted<'a> {
    permit: Permit<'a>,
    opening: Opening,
    upstream: &'a Upstream,
}

struct Life<'a> {
    shared: &'a Shared,
    peer: SocketAddr,
}

impl Life<'_> {
    async fn run(&self, socket: TcpStream, draft: &mut Draft) -> Ended {
        match self.stages(socket, draft).await {
            Ok(ended) | Err(ended) => ended,
        }
    }

    /// accept, tls, http, policy, upstream, tunnel.
    async fn stages(&self, mut socket: TcpStream, draft: &mut Draft) -> Result<Ended, Ended> {
        let limits = &self.shared.config.limits;
        let first_deadline = match self.shared.tls {
            Some(_) => limits.tls_handshake,
            None => limits.request_head,
        };
        let deadline = Instant::now() + first_deadline;
        let first = self
            .unless_draining(listener::first_bytes(&mut socket, deadline))
            .await
            .map_err(Failure::unanswered)??;

        let (stream, deadline) = match &self.shared.tls {
            None => (self.plain(socket, first)?, deadline),
            Some(server) => {
                draft.enter(Stage::Tls);
                let stream = self.secure(socket, first, server, deadline, draft).await?;
                (stream, Instant::now() + limits.request_head)
            }
        };

        draft.enter(Stage::Http);
        let (raw, stream) = self.read_head(stream, deadline, draft).await?;
        let has_early = !raw.early.is_empty();
        let (request, exchange) = match Exchange::begin(stream, raw, limits.header_bytes).await {
            Ok(begun) => begun,
            Err(Unparsed {
                failure,
                head,
                stream,
            }) => {
                describe_unread(&head, draft);
                return Err(self.refuse_unread(stream, failure, draft).await);
            }
        };
        let identity = Identity::read(
            self.peer,
            self.shared.tls.is_some(),
            &request.headers,
            &self.shared.config.trusted_proxies,
        );
        describe(&request, &identity, draft);
        let Admitted {
            permit,
            opening,
            upstream,
        } = match self.admit(&request, &identity, has_early, draft) {
            Ok(admitted) => admitted,
            Err(failure) => return Err(self.refuse(exchange, failure, draft).await),
        };

        draft.enter(Stage::Upstream);
        let request_id = request_id(draft);
        let rebuilt = upstream::rebuild(request, &identity, &request_id);
        let asking = Instant::now();
        let asked = exchange
            .meanwhile(self.ask(&permit, &opening, upstream, rebuilt, draft))
            .await;
        let (exchange, answer) = asked.map_err(|gone| gave_up(&gone, asking))?;
        let opened = match answer {
            Ok(Answer::Switched(opened)) => *opened,
            Ok(Answer::Refused(refused)) => {
                return Err(self.relay(exchange, *refused, upstream, draft).await);
            }
            Err(failure) => return Err(self.refuse(exchange, failure, draft).await),
        };
        let ends = self.switch(exchange, opened, asking, draft).await?;

        let timers = Timers {
            idle: permit.route().websocket.idle_timeout,
            write_stall: limits.write_stall,
            close_wait: limits.close_wait,
        };
        let mut ended = self.tunnel(ends, timers, draft).await;
        if ended.failure.reason == Reason::DrainForced {
            let cause = self.shared.cut.cause().to_owned();
            ended.failure.detail.get_or_insert(cause);
        }
        Ok(ended)
    }

    /// `work`, or a refusal when a shutdown has begun and the client has no request under way.
    async fn unless_draining<F: Future>(&self, work: F) -> Result<F::Output, Failure> {
        tokio::select! {
            biased;
            output = work => Ok(output),
            () = self.shared.drain_patience() => {
                let detail = "no complete request had come when the shutdown began";
                Err(Failure::new(Reason::Draining, detail))
            }
        }
    }

    fn plain(&self, socket: TcpStream, first: FirstBytes) -> Result<ClientStream, Failure> {
        match first.looks {
            Looks::Tls => Err(Failure::new(Reason::TlsOnPlainPort, first.describe())),
            Looks::Proxy => Err(Failure::new(
                Reason::ProxyProtocolUnexpected,
                first.describe(),
            )),
            Looks::Http | Looks::Other => Ok(ClientStream::Plain(Replay::new(first.bytes, socket))),
        }
    }

    async fn secure(
        &self,
        socket: TcpStream,
        first: FirstBytes,
        server: &tls::Server,
        deadline: Instant,
        draft: &mut Draft,
    ) -> Result<ClientStream, Ended> {
        let begun = Instant::now();
        let mut facts = tls::Facts::default();
        let handshake = tls::accept(socket, first, server, deadline, &mut facts);
        let accepted = self.unless_draining(handshake).await;
        draft.record.tls_ms = Some(millis(begun.elapsed()));
        draft.record.sni = facts.sni;
        draft.record.tls_version = facts.version;
        draft.record.alpn = facts.alpn;
        match accepted.map_err(Failure::unanswered)? {
            Ok(stream) => Ok(stream),
            Err(tls::Failed {
                failure,
                plain: None,
            }) => Err(failure.into()),
            Err(tls::Failed {
                failure,
                plain: Some(socket),
            }) => {
                let stream = ClientStream::Plain(Replay::new(Vec::new(), socket));
                Err(self.refuse_unread(stream, failure, draft).await)
            }
        }
    }

    async fn read_head(
        &self,
        mut stream: ClientStream,
        deadline: Instant,
        draft: &mut Draft,
    ) -> Result<(RawHead, ClientStream), Ended> {
        let begun = Instant::now();
        let limit = self.shared.config.limits.header_bytes;
        let mut bytes = Vec::with_capacity(1024);
        let read = self
            .unless_draining(head::read(&mut stream, limit, deadline, &mut bytes))
            .await;
        draft.record.head_ms = Some(millis(begun.elapsed()));
        let failure = match read {
            Ok(Ok(raw)) => return Ok((raw, stream)),
            Ok(Err(NoHead::Unused(error))) if self.shared.tls.is_some() => {
                tls::unused(error.as_ref())
            }
            Ok(Err(NoHead::Unused(None))) => Reason::TcpProbe.into(),
            Ok(Err(NoHead::Unused(Some(error)) | NoHead::Broken(error))) => broken_head(&error),
            Ok(Err(NoHead::Failed(failure))) | Err(failure) => failure,
        };
        describe_unread(&bytes, draft);
        Err(self.refuse_unread(stream, failure, draft).await)
    }

    /// The rest of the http stage, and the policy stage.
    fn admit(
        &self,
        request: &Parts,
        identity: &Identity,
        has_early: bool,
        draft: &mut Draft,
    ) -> Result<Admitted<'_>, Failure> {
        let begun = Instant::now();
        let authority = opening::authority(&request.uri, &request.headers)?;
        let opening = match opening::check(request)? {
            Kind::Opening(opening) => Some(opening),
            Kind::Plain => None,
        };
        if let Some(note) = identity.spoofed(&request.headers) {
            draft.note(note);
        }
        draft.enter(Stage::Policy);
        let asked = opening.as_ref();
        let permit = self.check_policy(request, identity, &authority, asked, has_early, draft);
        draft.record.policy_ms = Some(millis(begun.elapsed()));
        let permit = permit?;
        let name = &permit.route().upstream;
        // The one place where the name is looked up; a configuration in which it is unknown does not load.
        let upstream = self.shared.config.upstreams.get(name).ok_or_else(|| {
            let detail = format!("no upstream is named {name}");
            Failure::new(Reason::InternalAborted, detail)
        })?;
        Ok(Admitted {
            upstream,
            permit,
            opening: opening.ok_or(Reason::PlainHttpRequest)?,
        })
    }

    fn check_policy(
        &self,
        request: &Parts,
        identity: &Identity,
        authority: &Authority,
        opening: Option<&Opening>,
        has_early: bool,
        draft: &mut Draft,
    ) -> Result<Permit<'_>, Failure> {
        let no_names = HostSet::default();
        let values = |name| -> Vec<&[u8]> {
            request
                .headers
                .get_all(name)
                .iter()
                .map(HeaderValue::as_bytes)
                .collect()
        };
        let (origins, referers) = (values(header::ORIGIN), values(header::REFERER));
        let offered = opening
            .map(|opening| opening.subprotocols.as_slice())
            .unwrap_or_default();
        let subprotocols: Vec<&str> = offered.iter().map(String::as_str).collect();
        let asked = Asked {
            secure: identity.secure,
            sni: draft.record.sni.as_deref(),
            certificate_names: self
                .shared
                .tls
                .as_ref()
                .map_or(&no_names, tls::Server::names),
            authority,
            path: request.uri.path().as_bytes(),
            query: request.uri.query().map(str::as_bytes),
            origins: &origins,
            referers: &referers,
            subprotocols: &subprotocols,
        };
        let routes = &self.shared.config.routes;
        if opening.is_none() {
            let matched = policy::matching(routes, &asked)?;
            draft.record.route = Some(matched.route.to_string());
            return Err(Reason::PlainHttpRequest.into());
        }
        // A body may follow the head of a plain request; nothing may follow that of an opening handshake.
        if has_early {
            return Err(Reason::HttpEarlyData.into());
        }
        let permit = policy::check(routes, &asked)?;
        draft.record.route = Some(permit.route().to_string());
        draft.record.upstream = Some(permit.route().upstream.clone());
        draft.record.referer_app_id = permit.referer_app_id().map(str::to_owned);
        draft.record.notes.extend_from_slice(permit.notes());
        if self.shared.draining.is_cancelled() {
            return Err(Reason::Draining.into());
        }
        Ok(permit)
    }

    /// The upstream stage: connect, hand the request on, verify the answer.
    async fn ask(
        &self,
        permit: &Permit<'_>,
        opening: &Opening,
        upstream: &Upstream,
        request: Parts,
        draft: &mut Draft,
    ) -> Result<Answer, Failure> {
        let begun = Instant::now();
        let attempts = &mut draft.record.attempts;
        let stall = self.shared.config.limits.write_stall;
        let connected = upstream::connect(upstream, permit, stall, attempts).await;
        let skipped = attempts
            .iter()
            .filter(|attempt| attempt.outcome != "connected")
            .count();
        draft.record.connect_ms = Some(millis(begun.elapsed()));
        let connected = connected?;
        if skipped > 0 {
            draft.note(Note::new(NoteCode::EndpointSkipped, skipped.to_string()));
        }
        let begun = Instant::now();
        let limit = self.shared.config.limits.header_bytes;
        let answer =
            upstream::handshake(connected, request, opening, permit, upstream, limit).await;
        draft.record.handshake_ms = Some(millis(begun.elapsed()));
        answer
    }

    /// Answers 101 and takes the client's stream back.
    async fn switch(
        &self,
        exchange: Exchange,
        opened: Opened,
        asking: Instant,
        draft: &mut Draft,
    ) -> Result<Ends, Failure> {
        draft.record.notes.extend(opened.notes);
        let mut response = Response::from_parts(opened.head, respond::empty());
        respond::set_request_id(response.headers_mut(), &request_id(draft));
        let patience = self.shared.config.limits.write_stall;
        let Answered {
            stream,
            held,
            error,
        } = exchange.answer(response, patience).await;
        if let Some(error) = error {
            let waited =
                humantime::format_duration(Duration::from_millis(millis(asking.elapsed())));
            let detail = format!("after {waited}, while the 101 was being written: {error}");
            return Err(Failure::new(Reason::ClientGaveUp, detail));
        }
        if !held.is_empty() {
            draft.note(Note::new(
                NoteCode::EarlyBytesHeld,
                format!("{} bytes", held.len()),
            ));
        }
        Ok(Ends {
            client: stream,
            client_early: held,
            upstream: opened.stream,
            upstream_early: opened.early.into(),
        })
    }

    async fn tunnel(&self, ends: Ends, timers: Timers, draft: &mut Draft) -> Ended {
        // First, as the client has its 101: whatever happens from here on, a tunnel was open.
        draft.opened();
        draft.enter(Stage::Tunnel);
        let cut = self.shared.cut.cancelled();
        let (closed, client, upstream) = tunnel::run(ends, timers, cut).await;
        let record = &mut draft.record;
        record.bytes_client_to_upstream = Some(closed.client_to_upstream);
        record.bytes_upstream_to_client = Some(closed.upstream_to_client);
        record.idle_ms = Some(millis(closed.idle));
        record.write_stall_client_ms = Some(millis(closed.write_stall_client));
        record.write_stall_upstream_ms = Some(millis(closed.write_stall_upstream));
        Ended {
            failure: closed.failure,
            client: Some(client),
            upstream: Some(upstream),
        }
    }

    /// Passes on what the upstream answered instead of 101.
    async fn relay(
        &self,
        exchange: Exchange,
        refused: Refused,
        upstream: &Upstream,
        draft: &mut Draft,
    ) -> Ended {
        draft.record.notes.extend(refused.notes);
        let mut response = refused.response;
        respond::identify(&mut response, &request_id(draft), &refused.failure);
        let limits = &self.shared.config.limits;
        let patience = upstream.handshake_timeout + limits.write_stall;
        let answered = exchange.answer(response, patience).await;
        let stream = match (refused.cut.get(), answered.error) {
            (None, None) => Some(answered.stream),
            // Writing fails after it too, which says nothing of the client.
            (Some(words), _) => {
                draft.note(Note::new(NoteCode::RelayCut, words));
                None
            }
            (None, Some(error)) => {
                draft.note(Note::new(NoteCode::ResponseNotDelivered, error.to_string()));
                None
            }
        };
        Ended::answered(refused.failure, stream)
    }

    /// Answers a request with a refusal of our own.
    async fn refuse(&self, exchange: Exchange, failure: Failure, draft: &mut Draft) -> Ended {
        let response = respond::boxed(respond::refusal(&failure, &request_id(draft)));
        let patience = self.shared.config.limits.write_stall;
        let answered = exchange.answer(response, patience).await;
        if let Some(error) = answered.error {
            draft.note(Note::new(NoteCode::ResponseNotDelivered, error.to_string()));
        }
        Ended::answered(failure, Some(answered.stream))
    }

    /// The same where there is no request that hyper could answer; without a status the connection just ends.
    async fn refuse_unread(
        &self,
        mut stream: ClientStream,
        failure: Failure,
        draft: &mut Draft,
    ) -> Ended {
        let answerable = failure.http_status().is_some();
        if answerable {
            let response = respond::refusal(&failure, &request_id(draft));
            let patience = self.shared.config.limits.write_stall;
            if let Err(error) = respond::write(&mut stream, &response, patience).await {
                draft.note(Note::new(NoteCode::ResponseNotDelivered, error.to_string()));
            }
        }
        Ended::answered(failure, answerable.then_some(stream))
    }
}

/// A connection that broke before its head was complete.
fn broken_head(error: &std::io::Error) -> Failure {
    tls::broken(error).unwrap_or_else(|| {
        let reason = if tls::is_truncation(error) {
            Reason::HttpHeadIncomplete
        } else {
            Reason::TcpResetBeforeRequest
        };
        Failure::new(reason, tls::ended_words(error))
    })
}

fn gave_up(gone: &Gone, asking: Instant) -> Failure {
    let waited = humantime::format_duration(Duration::from_millis(millis(asking.elapsed())));
    let how = gone
        .error
        .as_ref()
        .map_or_else(|| "closed in order".to_owned(), tls::ended_words);
    Failure::new(
        Reason::ClientGaveUp,
        format!("left after waiting {waited}: {how}"),
    )
}
