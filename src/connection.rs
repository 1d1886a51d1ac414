//! The life of one connection: the only file that knows the order of the stages.

mod admit;
mod carry;
mod describe;
mod explain;
mod stop;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Response;
use http::request::Parts;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use admit::{Admitted, Denied};
use carry::Carry;
use describe::{describe, describe_unread, request_id};
use explain::Explanation;
pub use stop::Stop;

use crate::config::{Config, Upstream};
use crate::http::forwarded::Identity;
use crate::http::head::{self, NoHead, RawHead};
use crate::http::opening::Opening;
use crate::http::via::Pseudonym;
use crate::http::{Answered, Exchange, Gone, Unparsed, respond};
use crate::limits::{Clients, Held};
use crate::listener::{self, Accepted, FirstBytes, Looks};
use crate::policy::{Permit, Route};
use crate::reason::{Failure, Note, NoteCode, Reason, Stage};
use crate::record::{Draft, Sink, millis};
use crate::stream::{ClientStream, Replay, UpstreamStream, linger};
use crate::tls;
use crate::tunnel::frame::Extensions;
use crate::tunnel::{self, Ends, Tunnel};
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
    /// The settings of the tunnels of each route, made when the first is opened.
    pub settings: Vec<OnceLock<Arc<tunnel::Settings>>>,
    /// Whether a shutdown has begun, and how far it is.
    pub stop: Stop,
    /// All tasks that serve connections.
    pub tasks: TaskTracker,
    /// What one client may use; the same for all listeners.
    pub clients: Arc<Clients>,
    /// The name of this process in Via.
    pub via: Arc<Pseudonym>,
}

impl Shared {
    /// What the configuration says of the tunnels of a route.
    fn tunnel_settings(&self, route: &Route, upstream: &Upstream) -> Arc<tunnel::Settings> {
        let config = &self.config;
        let make = || {
            let rules = &route.websocket;
            Arc::new(tunnel::Settings {
                idle: rules.idle_timeout,
                max_lifetime: rules.max_lifetime,
                max_message: rules.max_message,
                ping: rules.ping,
                on_abort: upstream.on_abort,
                write_stall: config.limits.write_stall,
                close_wait: config.limits.close_wait,
                drain_code: config.shutdown.close_code,
                spread: config.shutdown.spread,
                load_balancer: config.load_balancer.clone(),
            })
        };
        let mut routes = config.routes.iter();
        let place = routes.position(|candidate| std::ptr::eq(candidate, route));
        let shared = place.and_then(|place| self.settings.get(place));
        shared.map_or_else(make, |settings| Arc::clone(settings.get_or_init(make)))
    }

    /// Completes some time after a shutdown began, for what must not hold up the exit.
    async fn drain_patience(&self) {
        self.stop.draining().await;
        tokio::time::sleep(DRAIN_PATIENCE).await;
    }
}

/// Carries one connection from its first byte to its record; a tunnel goes on in a task of its own.
pub async fn serve(accepted: Accepted, shared: Arc<Shared>) {
    let Accepted { socket, peer, slot } = accepted;
    let mut draft = Draft::new(shared.sink.clone(), shared.listener, Some(peer));
    draft.enter(Stage::Accept);
    let life = Life {
        shared: &shared,
        peer,
        held: OnceLock::new(),
    };
    let outcome = tokio::select! {
        biased;
        outcome = life.stages(socket, &mut draft) => outcome,
        () = shared.stop.cancelled() => Err(cut_short(shared.stop.cause(), draft.stage()).into()),
    };
    let held = life.held.into_inner();
    match outcome {
        Ok(tunnel) => {
            // A task keeps the size of what it once held, and a handshake holds far more than a tunnel.
            let tasks = shared.tasks.clone();
            tasks.spawn(Carry::new(tunnel, draft.rest(), shared, slot, held));
        }
        Err(Ended { failure, client }) => {
            draft.finish(failure);
            Box::pin(see_off(client, None, shared)).await;
            drop((slot, held));
        }
    }
}

/// Lets the peers read the last of what was sent to them.
async fn see_off(
    client: Option<ClientStream>,
    upstream: Option<UpstreamStream>,
    shared: Arc<Shared>,
) {
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
        () = shared.stop.cancelled() => {}
    }
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

/// How a connection without a tunnel ended.
struct Ended {
    failure: Failure,
    /// Still open so that the client can read its refusal.
    client: Option<ClientStream>,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            client: None,
        }
    }
}

struct Life<'a> {
    shared: &'a Shared,
    peer: SocketAddr,
    /// This connection among its client's, as soon as the client is known.
    held: OnceLock<Box<Held>>,
}

impl Life<'_> {
    /// Counts this connection among those of `client`, unless it is counted already. A trusted proxy is no client, so
    /// that a connection from one waits for the client that its request names.
    fn count(&self, client: IpAddr) -> Result<(), Failure> {
        if self.held.get().is_none()
            && let Some(held) = self.shared.clients.connect(client)?
        {
            // Nobody else sets it meanwhile: this connection has one task.
            let _ = self.held.set(held);
        }
        Ok(())
    }

    /// accept, tls, http, policy, upstream; what comes next is a tunnel.
    async fn stages(&self, mut socket: TcpStream, draft: &mut Draft) -> Result<Tunnel, Ended> {
        if let Err(failure) = self.count(self.peer.ip()) {
            listener::reset(socket);
            return Err(failure.unanswered().into());
        }
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

        // Each part in a box of its own: a connection that waits for its client's next step is as small as that step.
        let (stream, deadline) = match &self.shared.tls {
            None => (self.plain(socket, first)?, deadline),
            Some(server) => {
                draft.enter(Stage::Tls);
                let secured = Box::pin(self.secure(socket, first, server, deadline, draft));
                (secured.await?, Instant::now() + limits.request_head)
            }
        };

        draft.enter(Stage::Http);
        let (raw, stream) = Box::pin(self.read_head(stream, deadline, draft)).await?;
        Box::pin(self.handle(raw, stream, draft)).await
    }

    /// The rest of http, policy, upstream.
    async fn handle(
        &self,
        raw: RawHead,
        stream: ClientStream,
        draft: &mut Draft,
    ) -> Result<Tunnel, Ended> {
        let limits = &self.shared.config.limits;
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
            explanation,
        } = match self.admit(&request, &identity, has_early, draft) {
            Ok(admitted) => admitted,
            Err(Denied {
                failure,
                explanation,
            }) => return Err(self.refuse(exchange, failure, explanation, draft).await),
        };

        draft.enter(Stage::Upstream);
        let request_id = request_id(draft);
        let rebuilt = upstream::rebuild(request, &identity, &self.shared.via, &request_id);
        let asking = Instant::now();
        let asked = exchange
            .meanwhile(self.ask(&permit, &opening, upstream, rebuilt, draft))
            .await;
        let (exchange, answer) = asked.map_err(|gone| gave_up(&gone, asking))?;
        let opened = match answer {
            Ok(Answer::Switched(opened)) => *opened,
            Ok(Answer::Refused(refused)) => {
                return Err(match explanation {
                    None => self.relay(exchange, *refused, upstream, draft).await,
                    explained => {
                        self.refuse(exchange, refused.failure, explained, draft)
                            .await
                    }
                });
            }
            Err(failure) => return Err(self.refuse(exchange, failure, explanation, draft).await),
        };
        let ends = self.switch(exchange, opened, asking, draft).await?;

        let settings = self.shared.tunnel_settings(permit.route(), upstream);
        let tunnel = Tunnel::new(ends, settings, turn(draft.conn()));
        // At once, as the client has its 101: whatever happens from here on, a tunnel was open.
        draft.opened();
        draft.enter(Stage::Tunnel);
        Ok(tunnel)
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
            Looks::Http | Looks::Other => Ok(ClientStream::Plain(Box::new(Replay::new(
                first.bytes,
                socket,
            )))),
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
        draft.record.tls_version = facts.version.map(Cow::Borrowed);
        draft.record.alpn = facts.alpn;
        match accepted.map_err(Failure::unanswered)? {
            Ok(stream) => Ok(stream),
            Err(tls::Failed {
                failure,
                plain: None,
                told,
            }) => Err(Ended {
                failure,
                client: told.map(|socket| ClientStream::Plain(Box::new(socket))),
            }),
            Err(tls::Failed {
                failure,
                plain: Some(socket),
                ..
            }) => {
                let stream = ClientStream::Plain(Box::new(Replay::new(Vec::new(), socket)));
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
        let extensions = Extensions::agreed(opened.extensions.iter().map(String::as_str));
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
            extensions,
        })
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
        Ended {
            failure: refused.failure,
            client: stream,
        }
    }

    /// Answers a request with a refusal of our own.
    async fn refuse(
        &self,
        exchange: Exchange,
        failure: Failure,
        explanation: Option<Explanation>,
        draft: &mut Draft,
    ) -> Ended {
        if let Some(explanation) = explanation {
            return self.explain(exchange, failure, explanation, draft).await;
        }
        let response = respond::boxed(respond::refusal(&failure, &request_id(draft)));
        let patience = self.shared.config.limits.write_stall;
        let answered = exchange.answer(response, patience).await;
        if let Some(error) = answered.error {
            draft.note(Note::new(NoteCode::ResponseNotDelivered, error.to_string()));
        }
        Ended {
            failure,
            client: Some(answered.stream),
        }
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
        Ended {
            failure,
            client: answerable.then_some(stream),
        }
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

/// Where in the spread of a shutdown this connection's turn is: its number's multiple of the golden ratio, which lies
/// between those of all numbers before it.
fn turn(conn: &str) -> u32 {
    const GOLDEN: u32 = 0x9e37_79b9;
    let number = conn
        .get(8..)
        .and_then(|hex| u32::from_str_radix(hex, 16).ok());
    number.unwrap_or_default().wrapping_mul(GOLDEN)
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
