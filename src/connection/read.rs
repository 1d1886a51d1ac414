//! The first steps of a request: its head read and checked, then parsed and described.

use std::pin::pin;
use std::sync::Arc;

use http::request::Parts;
use ipnet::IpNet;
use tokio::time::Instant;

use super::facts::Draft;
use super::refuse::refuse_unread;
use super::{Ended, Exchange, Request, Shared, Unread};
use crate::http::forwarded::Identity;
use crate::http::head::{self, NoHead, RawHead};
use crate::http::{Exchange as Http1, RequestBody, Unparsed};
use crate::reason::{Failure, Reason, Stage};
use crate::stream::ClientStream;
use crate::tls;

/// A request whose head has come and is well formed.
pub(super) struct Head {
    raw: RawHead,
    stream: ClientStream,
}

/// A request that was parsed and described.
pub(super) struct Asked {
    /// Where its answer goes.
    pub exchange: Exchange,
    pub request: Parts,
    pub body: RequestBody,
    pub identity: Identity,
    /// Whether bytes came with the head that are not part of it.
    pub has_early: bool,
}

impl Request<'_> {
    /// Reads the head. Then switches to the listener's current settings ([`super::Current::follow`]).
    ///
    /// # Errors
    /// `http_…`, `tcp_…` and `tls_…` for a head that does not come or is malformed, and `draining`.
    pub(super) async fn read(&mut self, unread: Box<Unread>) -> Result<Head, Ended> {
        let Unread {
            mut stream,
            mut held,
            deadline,
        } = *unread;
        self.facts.enter(Stage::Http);
        let begun = Instant::now();
        let limits = &self.shared.config().limits;
        let read = {
            let reading = head::read(&mut stream, limits.header_bytes, deadline, &mut held);
            self.shared.unless_draining(pin!(reading)).await
        };
        self.facts.head = Some(begun.elapsed());
        let mut failure = match read {
            Ok(Ok(raw)) => {
                self.connection.current.follow(&mut self.shared);
                self.facts.generation = self.shared.generation.number;
                return Ok(Head { raw, stream });
            }
            Ok(Err(NoHead::Unused(error))) if self.shared.tls.is_some() => {
                tls::unused(error.as_ref())
            }
            Ok(Err(NoHead::Unused(None))) => Reason::TcpProbe.into(),
            Ok(Err(NoHead::Unused(Some(error)) | NoHead::Broken(error))) => broken_head(&error),
            Ok(Err(NoHead::Failed(failure))) | Err(failure) => failure,
        };
        failure = explained(failure, &self.shared, &mut self.facts);
        self.facts.describe_unread(&held);
        let patience = limits.write_stall;
        // Boxed, so that a connection that waits for its head does not have room for it.
        let refused = Box::pin(refuse_unread(stream, failure, patience, &mut self.facts));
        Err(refused.await)
    }

    /// The hops whose forwarded fields are trusted.
    pub(super) fn hops(&self) -> &[IpNet] {
        match self.connection.is_unnamed {
            true => &[],
            false => &self.shared.config().trusted_proxies,
        }
    }

    /// Lets hyper parse the head, and notes what the request says about itself.
    ///
    /// # Errors
    /// `http_malformed`, if hyper refuses what passed our own check.
    pub(super) async fn parse(&mut self, head: Head) -> Result<Asked, Ended> {
        let Head { raw, stream } = head;
        let limits = &self.shared.config().limits;
        let has_early = !raw.early.is_empty();
        let begun = Http1::begin(stream, raw, limits.header_bytes).await;
        let (request, exchange) = match begun {
            Ok(begun) => begun,
            Err(Unparsed {
                failure,
                head,
                stream,
            }) => {
                self.facts.describe_unread(&head);
                let patience = limits.write_stall;
                return Err(refuse_unread(stream, failure, patience, &mut self.facts).await);
            }
        };
        let (request, body) = request.into_parts();
        let hop = self.connection;
        let identity = Identity::read(hop.peer, hop.secure, &request.headers, self.hops());
        self.facts.describe(&request, &identity);
        Ok(Asked {
            exchange: Exchange::Http1(Box::new(exchange)),
            request,
            body,
            identity,
            has_early,
        })
    }
}

/// A failure before the first request. If it is one of TLS, it is explained from what is known of the handshake.
pub(super) fn explained(failure: Failure, shared: &Shared, facts: &mut Draft) -> Failure {
    match &shared.tls {
        Some(server) if failure.reason.spec().stage == Stage::Tls => {
            let connection = Arc::clone(facts.connection());
            facts.certificate = connection.tls.shown();
            server.explain(failure, &connection.tls)
        }
        _ => failure,
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
