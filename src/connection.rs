//! The life of one connection: the only file that knows the order of the stages.

mod admit;
mod carry;
mod describe;
mod explain;
mod front;
mod local;
mod open;
mod place;
mod plain;
mod refuse;
mod repeat;
mod stop;
mod untrusted;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::request::Parts;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use admit::{Admitted, Denied};
use carry::Carry;
use describe::{describe, describe_unread};
pub use place::Place;
pub use repeat::Repeats;
pub use stop::{Patience, Stop};
pub use untrusted::Claims;

use crate::config::Config;
use crate::generation::Generation;
use crate::http::forwarded::Identity;
use crate::http::head::{self, NoHead, RawHead};
use crate::http::via::Pseudonym;
use crate::http::{Exchange, Unparsed};
use crate::limits::{Clients, Held};
use crate::listener::{self, Accepted, FirstBytes, Looks};
use crate::reason::{Failure, Reason, Stage};
use crate::record::{Draft, Sink, millis};
use crate::stream::{ClientStream, Replay, Socket, UpstreamStream, linger};
use crate::tls;
use crate::tunnel::Tunnel;
use crate::upstream::InUse;

/// After a shutdown began, how long a connection may still take to ask for something, or to read its refusal: enough
/// for what is on its way, little enough that connections without a tunnel don't hold up the exit.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// What all connections of a listener share.
#[derive(Debug)]
pub struct Shared {
    /// The configuration that admits them.
    pub generation: Arc<Generation>,
    /// The listener's bound address.
    pub listener: SocketAddr,
    /// Its TLS settings, if it has any.
    pub tls: Option<Arc<tls::Server>>,
    /// Whether it only sends clients to the same place over TLS.
    pub redirect_to_https: bool,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Where records go.
    pub sink: Sink,
    /// Who asked lately what is no use to ask.
    pub repeats: Arc<Repeats>,
    /// Who says who the client is and is not trusted.
    pub claims: Arc<Claims>,
    /// Whether a drain has begun, and how far it is.
    pub stop: Stop,
    /// Counts all tunnels, and all connections that may still become one.
    pub tasks: TaskTracker,
    /// What one client may use; the same for all listeners.
    pub clients: Arc<Clients>,
    /// The name of this process in Via.
    pub via: Arc<Pseudonym>,
}

impl Shared {
    fn config(&self) -> &Config {
        &self.generation.config
    }

    /// Completes some time after a shutdown began, for what must not hold up the exit.
    async fn drain_patience(&self) {
        self.stop.draining().await;
        tokio::time::sleep(DRAIN_PATIENCE).await;
    }
}

/// Carries one connection from its first byte to its record, unless `patience` ends before; a tunnel goes on in a task of
/// its own. It is let in with `shared`; each request is served with what `place` has when its head has come. `counted` is
/// what the connection is counted by, from here to its last byte and only once; as the first parameter it is dropped last.
pub async fn serve(
    counted: TaskTrackerToken,
    accepted: Accepted,
    shared: Arc<Shared>,
    place: Arc<Place>,
    patience: Patience,
) {
    let Accepted {
        socket,
        peer,
        slot,
        at,
    } = accepted;
    let mut draft = Draft::new(
        shared.sink.clone(),
        shared.listener,
        Some(peer),
        at.into_std(),
    );
    draft.set_generation(shared.generation.number);
    draft.enter(Stage::Accept);
    let mut life = Life {
        peer,
        secure: shared.tls.is_some(),
        tls: tls::Facts::default(),
        is_unnamed: false,
        held: OnceLock::new(),
        shared,
        place: &place,
    };
    let outcome = tokio::select! {
        biased;
        outcome = life.stages(socket, &mut draft) => outcome,
        () = patience.over() => Err(Ended {
            failure: draft.is_pending().then(|| cut_short(patience.cause(), &draft)),
            client: None,
        }),
    };
    let Life {
        held, shared, peer, ..
    } = life;
    let held = held.into_inner();
    match outcome {
        Ok(opened) => {
            let (tunnel, in_use) = *opened;
            // A task keeps the size of what it once held, and a handshake holds far more than a tunnel.
            let resting = draft.rest();
            tokio::spawn(Carry::new(
                tunnel, in_use, resting, shared, slot, held, counted,
            ));
        }
        Err(Ended { failure, client }) => {
            match failure {
                Some(failure) => draft.finish(local::told(failure, peer.ip())),
                None => drop(draft),
            }
            Box::pin(see_off(client, None, shared, patience)).await;
            drop((slot, held));
        }
    }
}

/// Lets the peers read the last of what was sent to them.
async fn see_off(
    client: Option<ClientStream>,
    upstream: Option<UpstreamStream>,
    shared: Arc<Shared>,
    patience: Patience,
) {
    let close_wait = shared.config().limits.close_wait;
    let lingering = async {
        tokio::join!(
            async {
                if let Some(client) = client {
                    linger(client, close_wait).await;
                }
            },
            async {
                if let Some(upstream) = upstream {
                    linger(upstream, close_wait).await;
                }
            },
        )
    };
    tokio::select! {
        _ = lingering => {}
        // The record is written: the peers only lose the rest of their time to read.
        () = shared.drain_patience() => {}
        () = patience.over() => {}
    }
}

fn cut_short(cause: &str, draft: &Draft) -> Failure {
    let stage = draft.stage();
    let detail = format!("{cause} in stage {}", stage.name());
    let failure = Failure::new(Reason::Draining, detail).unanswered();
    if stage != Stage::Upstream {
        return failure;
    }
    failure.with_hint(if draft.is_answering() {
        // It is as open as a tunnel, but there is nothing that could be said in it.
        "the answer to a plain request was not complete: let the upstream end its streams when it is told to stop, or make `shutdown.drain` longer than the longest answer"
    } else {
        "the request was not complete, or the upstream had not answered yet: make `shutdown.drain` longer than `upstreams.*.handshake_timeout` (for plain requests, than `routes[].http.response_timeout`), and the platform's grace period longer than `shutdown.drain`"
    })
}

/// How a connection without a tunnel ended.
struct Ended {
    /// Why its last request failed; `None`: all of them have their records.
    failure: Option<Failure>,
    /// Still open so that the client can read its answer.
    client: Option<ClientStream>,
}

impl Ended {
    /// In order, after an answer.
    fn done(client: ClientStream) -> Self {
        Self {
            failure: None,
            client: Some(client),
        }
    }
}

/// What a connection goes on with after a request.
enum Next {
    /// A tunnel, and what it holds of its upstream.
    Tunnel(Box<(Tunnel, InUse)>),
    /// Another request, the beginning of which may have come, and then its first byte at `begun`.
    Request {
        stream: ClientStream,
        held: Vec<u8>,
        begun: Option<Instant>,
    },
}

/// A request that was read and described.
struct Asked {
    exchange: Exchange,
    request: Parts,
    identity: Identity,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self {
            failure: Some(failure),
            client: None,
        }
    }
}

struct Life<'a> {
    shared: Arc<Shared>,
    /// Where its successor comes from.
    place: &'a Place,
    /// The hop nearest to us that says anything in HTTP: who dialled, or whom its PROXY header names.
    peer: SocketAddr,
    /// Whether that hop's connection is TLS.
    secure: bool,
    /// What was learned in its handshake.
    tls: tls::Facts,
    /// Whether somebody whom nothing names speaks by way of the hop, whose fields are not believed then.
    is_unnamed: bool,
    /// This connection among its client's, as soon as the client is known.
    held: OnceLock<Box<Held>>,
}

impl Life<'_> {
    /// Whose fields are believed.
    fn hops(&self) -> &[IpNet] {
        match self.is_unnamed {
            true => &[],
            false => &self.shared.config().trusted_proxies,
        }
    }

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
    async fn stages(
        &mut self,
        mut socket: TcpStream,
        draft: &mut Draft,
    ) -> Result<Box<(Tunnel, InUse)>, Ended> {
        // Where a header is still to name the client, it is counted then.
        if !self.shared.proxy_protocol
            && let Err(failure) = self.count(self.peer.ip())
        {
            listener::reset(socket);
            return Err(failure.unanswered().into());
        }
        let limits = self.shared.config().limits.clone();
        let first_deadline = match self.shared.tls {
            Some(_) => limits.tls_handshake,
            None => limits.request_head,
        };
        let deadline = Instant::now() + first_deadline;
        let first = self.begin(&mut socket, deadline, draft).await?;

        // Each part in a box of its own: a connection that waits for its client's next step is as small as that step.
        let (stream, deadline) = match &self.shared.tls {
            None => (self.plain(socket, first)?, deadline),
            Some(server) => {
                draft.enter(Stage::Tls);
                let secured = Box::pin(self.secure(socket, first, server, deadline, draft));
                let (stream, facts) = secured.await?;
                self.tls = facts;
                (stream, Instant::now() + limits.request_head)
            }
        };

        let (mut stream, mut deadline) = (stream, deadline);
        let mut ahead = Vec::with_capacity(1024);
        loop {
            draft.enter(Stage::Http);
            let (raw, read) = Box::pin(self.read_head(stream, deadline, ahead, draft)).await?;
            self.follow(draft);
            let begun;
            (stream, ahead, begun) = match Box::pin(self.handle(raw, read, draft)).await? {
                Next::Tunnel(opened) => return Ok(opened),
                Next::Request {
                    stream,
                    held,
                    begun,
                } => (stream, held, begun),
            };
            if !self.is_used_again(&mut stream, &mut ahead).await {
                return Err(Ended::done(stream));
            }
            draft.again(begun.unwrap_or_else(Instant::now).into_std());
            self.follow(draft);
            deadline = Instant::now() + self.shared.config().limits.request_head;
        }
    }

    /// Goes on with what its listener serves with now, if that asks for nothing more on the way here.
    fn follow(&mut self, draft: &mut Draft) {
        if let Some(shared) = self.place.successor(&self.shared) {
            draft.set_generation(shared.generation.number);
            self.shared = shared;
        }
    }

    /// Waits for a further request; a shutdown ends the wait, as nothing is lost by it.
    async fn is_used_again(&self, stream: &mut ClientStream, ahead: &mut Vec<u8>) -> bool {
        let deadline = Instant::now() + self.shared.config().limits.keep_alive;
        tokio::select! {
            biased;
            begun = head::begun(stream, deadline, ahead) => begun,
            () = self.place.lost(&self.shared) => false,
            () = self.shared.stop.draining() => false,
        }
    }

    /// The rest of http, policy, upstream.
    async fn handle(
        &self,
        raw: RawHead,
        stream: ClientStream,
        draft: &mut Draft,
    ) -> Result<Next, Ended> {
        let limits = &self.shared.config().limits;
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
        let (request, body) = request.into_parts();
        let identity = Identity::read(self.peer, self.secure, &request.headers, self.hops());
        describe(&request, &identity, draft);
        let admitted = match self.admit(&request, &identity, has_early, draft) {
            Ok(admitted) => admitted,
            Err(Denied {
                failure,
                explanation,
            }) => {
                // A body that nobody reads holds up the answer.
                drop(body);
                let explanation = explanation.map(|explanation| *explanation);
                return Err(self.refuse(exchange, failure, explanation, draft).await);
            }
        };
        let asked = Asked {
            exchange,
            request,
            identity,
        };
        match admitted {
            Admitted::Opening(opening) => {
                let opened = Box::pin(self.open(asked, opening, draft)).await?;
                Ok(Next::Tunnel(Box::new(opened)))
            }
            Admitted::Plain(forwarded) => {
                Box::pin(self.forward(asked, body, forwarded, draft)).await
            }
            Admitted::Answer(response) => Box::pin(self.answer(asked, body, response, draft)).await,
        }
    }

    /// `work`, or a refusal when a shutdown has begun and the client has no request under way.
    async fn unless_draining<F: Future>(&self, work: F) -> Result<F::Output, Failure> {
        tokio::select! {
            biased;
            output = work => Ok(output),
            () = self.shared.drain_patience() => {
                let detail = "no complete request had arrived when the shutdown began";
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
                Socket::new(socket),
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
    ) -> Result<(ClientStream, tls::Facts), Ended> {
        let begun = Instant::now();
        let limit = self.shared.config().limits.tls_handshake;
        let mut facts = tls::Facts::default();
        // Boxed, like all that goes through a generic wait, which holds it twice.
        let handshake = Box::pin(tls::accept(
            socket, first, server, deadline, limit, &mut facts,
        ));
        let accepted = self.unless_draining(handshake).await;
        draft.record.tls_ms = Some(millis(begun.elapsed()));
        draft.record.sni = facts.sni.clone();
        draft.record.tls_version = facts.version.map(Cow::Borrowed);
        draft.record.alpn = facts.alpn.clone();
        match accepted.map_err(Failure::unanswered)? {
            Ok(stream) => Ok((stream, facts)),
            Err(tls::Failed {
                failure,
                plain: None,
                told,
            }) => {
                draft.record.certificate = facts.shown();
                Err(Ended {
                    failure: Some(failure),
                    client: told.map(|socket| ClientStream::Plain(Box::new(socket))),
                })
            }
            Err(tls::Failed {
                failure,
                plain: Some(socket),
                ..
            }) => {
                let stream =
                    ClientStream::Plain(Box::new(Replay::new(Vec::new(), Socket::new(socket))));
                Err(self.refuse_unread(stream, failure, draft).await)
            }
        }
    }

    async fn read_head(
        &self,
        mut stream: ClientStream,
        deadline: Instant,
        mut bytes: Vec<u8>,
        draft: &mut Draft,
    ) -> Result<(RawHead, ClientStream), Ended> {
        let begun = Instant::now();
        let limit = self.shared.config().limits.header_bytes;
        let read = self
            .unless_draining(head::read(&mut stream, limit, deadline, &mut bytes))
            .await;
        draft.record.head_ms = Some(millis(begun.elapsed()));
        let mut failure = match read {
            Ok(Ok(raw)) => return Ok((raw, stream)),
            Ok(Err(NoHead::Unused(error))) if self.shared.tls.is_some() => {
                tls::unused(error.as_ref())
            }
            Ok(Err(NoHead::Unused(None))) => Reason::TcpProbe.into(),
            Ok(Err(NoHead::Unused(Some(error)) | NoHead::Broken(error))) => broken_head(&error),
            Ok(Err(NoHead::Failed(failure))) | Err(failure) => failure,
        };
        if let Some(server) = &self.shared.tls
            && failure.reason.spec().stage == Stage::Tls
        {
            failure = server.explain(failure, &self.tls);
            draft.record.certificate = self.tls.shown();
        }
        describe_unread(&bytes, draft);
        Err(self.refuse_unread(stream, failure, draft).await)
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
