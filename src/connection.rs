//! The life of one connection: the only file that knows the order of the stages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Response, header};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::http::forwarded::{self, Identity};
use crate::http::head::{self, NoHead, RawHead};
use crate::http::opening::{self, Kind, Opening};
use crate::http::{Answered, Exchange, Gone, respond};
use crate::listener::{self, Accepted, FirstBytes, Looks};
use crate::policy::{self, Asked, Authority, HostSet, Permit};
use crate::reason::{Failure, Note, NoteCode, Reason, Stage};
use crate::record::{Draft, Sink, millis, peer_text};
use crate::stream::{ClientStream, Replay};
use crate::tls;
use crate::tunnel::{self, Ends, Timers};
use crate::upstream::{self, Answer, Opened, Refused};

/// After a shutdown began, how long a connection that has not asked for anything yet may still do so: enough for a
/// request on its way, little enough that unused connections don't hold up the exit.
const DRAIN_HEAD: Duration = Duration::from_secs(1);

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
    /// Its deadline has passed.
    pub cut: CancellationToken,
}

/// Carries one connection from its first byte to its record.
pub async fn serve(accepted: Accepted, shared: Arc<Shared>) {
    let Accepted { socket, peer, slot } = accepted;
    let mut draft = Draft::new(shared.sink.clone(), shared.listener, Some(peer));
    draft.enter(Stage::Accept);
    let life = Life { shared: &shared, peer };
    let ended = tokio::select! {
        biased;
        ended = life.run(socket, &mut draft) => ended,
        () = shared.cut.cancelled() => Ended::failed(cut_short(&draft)),
    };
    if ended.opened {
        draft.close(ended.failure);
    } else {
        draft.refuse(ended.failure);
    }
    if let Some(stream) = ended.stream {
        respond::linger(stream, shared.config.limits.close_wait).await;
    }
    drop(slot);
}

fn cut_short(draft: &Draft) -> Failure {
    let detail = format!("the shutdown's deadline passed in stage {}", draft.stage().name());
    Failure::new(Reason::Draining, detail)
}

/// How a connection ended.
struct Ended {
    failure: Failure,
    opened: bool,
    /// Still open so that the client can read its refusal.
    stream: Option<ClientStream>,
}

impl Ended {
    fn failed(failure: Failure) -> Self {
        Self {
            failure,
            opened: false,
            stream: None,
        }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::failed(failure)
    }
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
        let first = self.unless_draining(listener::first_bytes(&mut socket, deadline)).await??;

        let (stream, deadline) = match &self.shared.tls {
            None => (self.plain(socket, first)?, deadline),
            Some(server) => {
                draft.enter(Stage::Tls);
                let stream = self.secure(socket, first, server, deadline, draft).await?;
                (stream, Instant::now() + limits.request_head)
            }
        };

        draft.enter(Stage::Http);
        let secured_at = Instant::now();
        let (raw, stream) = self.read_head(stream, deadline, draft).await?;
        draft.record.head_ms = Some(millis(secured_at.elapsed()));
        draft.record.http_version = Some("1.1");
        let (request, exchange) = Exchange::begin(stream, raw, limits.header_bytes).await?;
        let identity =
            Identity::read(self.peer, self.shared.tls.is_some(), &request.headers, &self.shared.config.trusted_proxies);
        describe(&request, &identity, draft);

        let admitted = self.admit(&request, &identity, exchange.has_early(), draft);
        let (permit, opening) = match admitted {
            Ok(admitted) => admitted,
            Err(failure) => return Err(self.refuse(exchange, failure, draft).await),
        };

        draft.enter(Stage::Upstream);
        let request_id = draft.record.request_id.clone().unwrap_or_default();
        let rebuilt = upstream::rebuild(request, &identity, &request_id);
        let asking = Instant::now();
        let (exchange, answer) = match exchange.meanwhile(self.ask(&permit, &opening, rebuilt, draft)).await {
            Ok(answered) => answered,
            Err(gone) => return Err(gave_up(&gone, asking, draft).into()),
        };
        let opened = match answer {
            Ok(Answer::Switched(opened)) => *opened,
            Ok(Answer::Refused(refused)) => return Err(self.relay(exchange, *refused, draft).await),
            Err(failure) => return Err(self.refuse(exchange, failure, draft).await),
        };
        let ends = self.switch(exchange, opened, &request_id, draft).await?;

        draft.enter(Stage::Tunnel);
        let timers = Timers {
            idle: permit.route().websocket.idle_timeout,
            write_stall: limits.write_stall,
            close_wait: limits.close_wait,
        };
        drop(permit);
        Ok(self.tunnel(ends, timers, draft).await)
    }

    /// `work`, or a refusal when a shutdown has begun and the client has nothing under way.
    async fn unless_draining<F: Future>(&self, work: F) -> Result<F::Output, Failure> {
        let patience = async {
            self.shared.draining.cancelled().await;
            tokio::time::sleep(DRAIN_HEAD).await;
        };
        tokio::select! {
            biased;
            output = work => Ok(output),
            () = patience => Err(Failure::new(Reason::Draining, "no complete request had come when the shutdown began")),
        }
    }

    fn plain(&self, socket: TcpStream, first: FirstBytes) -> Result<ClientStream, Failure> {
        match first.looks {
            Looks::Tls => Err(Failure::new(Reason::TlsOnPlainPort, first.describe())),
            Looks::Proxy => Err(Failure::new(Reason::ProxyProtocolUnexpected, first.describe())),
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
        let accepted = self.unless_draining(tls::accept(socket, first, server, deadline, &mut facts)).await;
        draft.record.tls_ms = Some(millis(begun.elapsed()));
        draft.record.sni = facts.sni;
        draft.record.tls_version = facts.version;
        draft.record.alpn = facts.alpn;
        match accepted? {
            Ok(stream) => Ok(stream),
            Err(tls::Failed { failure, plain: None }) => Err(failure.into()),
            Err(tls::Failed { failure, plain: Some(socket) }) => {
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
        let limit = self.shared.config.limits.header_bytes;
        let failure = match self.unless_draining(head::read(&mut stream, limit, deadline)).await {
            Ok(Ok(raw)) => return Ok((raw, stream)),
            Ok(Err(NoHead::Unused(error))) if self.shared.tls.is_some() => tls::unused(error.as_ref()),
            Ok(Err(NoHead::Unused(None))) => Reason::TcpProbe.into(),
            Ok(Err(NoHead::Unused(Some(error)) | NoHead::Broken(error))) => match tls::record_error(&error) {
                Some(words) => Failure::new(Reason::TlsProtocolError, words),
                None if tls::is_truncation(&error) => Failure::new(Reason::HttpHeadIncomplete, error.to_string()),
                None => Failure::new(Reason::TcpResetBeforeRequest, error.to_string()),
            },
            Ok(Err(NoHead::Failed(failure))) | Err(failure) => failure,
        };
        Err(self.refuse_unread(stream, failure, draft).await)
    }

    /// The rest of the http stage and the policy stage.
    fn admit(
        &self,
        request: &Parts,
        identity: &Identity,
        early: bool,
        draft: &mut Draft,
    ) -> Result<(Permit<'_>, Opening), Failure> {
        let begun = Instant::now();
        let authority = opening::authority(&request.uri, &request.headers)?;
        let kind = opening::check(request)?;
        let opening = match kind {
            // Only a plain request may have a body behind its head.
            Kind::Opening(_) if early => return Err(Reason::HttpEarlyData.into()),
            Kind::Opening(opening) => Some(opening),
            Kind::Plain => None,
        };
        draft.enter(Stage::Policy);
        let permit = self.check_policy(request, identity, &authority, opening.as_ref(), draft);
        draft.record.policy_ms = Some(millis(begun.elapsed()));
        let permit = permit?;
        let opening = opening.ok_or(Reason::PlainHttpRequest)?;
        if self.shared.draining.is_cancelled() {
            return Err(Reason::Draining.into());
        }
        Ok((permit, opening))
    }
}
