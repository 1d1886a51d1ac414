//! The steps of a connection before its first request: it is counted, its PROXY header is read, and TLS is set up.

use std::pin::pin;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::facts::Draft;
use super::refuse::refuse_unread;
use super::{Connection, Ended, Unread};
use crate::http::forwarded::is_trusted;
use crate::listener::proxy_header::{self, Source};
use crate::listener::{self, FirstBytes, Looks};
use crate::reason::{Failure, Reason, Stage};
use crate::stream::{ClientStream, Replay, Socket};
use crate::tls;

/// A connection whose client is known as far as a PROXY header tells, with its first bytes.
pub(super) struct Identified {
    socket: TcpStream,
    first: FirstBytes,
    /// When the step that the first bytes belong to must be complete.
    deadline: Instant,
}

impl Connection {
    /// Counts the connection, unless a PROXY header is still to name its client.
    ///
    /// # Errors
    /// `client_conn_limit`; the connection is reset.
    pub(super) fn accept(
        &self,
        socket: TcpStream,
        draft: &mut Draft,
    ) -> Result<TcpStream, Failure> {
        draft.enter(Stage::Accept);
        if !self.shared.proxy_protocol
            && let Err(failure) = self.count(self.peer.ip(), &self.shared.clients)
        {
            listener::reset(socket);
            return Err(failure.unanswered());
        }
        Ok(socket)
    }

    /// Reads the PROXY header if the listener wants one, and the first bytes behind it. From then on the client is the one
    /// that the header names.
    ///
    /// # Errors
    /// `tcp_…` and `proxy_protocol_…`, and `draining`.
    pub(super) async fn identify(
        &mut self,
        mut socket: TcpStream,
        draft: &mut Draft,
    ) -> Result<Identified, Failure> {
        let limits = &self.shared.config().limits;
        let deadline = Instant::now()
            + match self.shared.tls {
                Some(_) => limits.tls_handshake,
                None => limits.request_head,
            };
        let source = match self.shared.proxy_protocol {
            true => Some(Box::pin(self.introduce(&mut socket, deadline, draft)).await?),
            false => None,
        };
        let first = {
            let reading = listener::first_bytes(&mut socket, deadline);
            self.shared.unless_draining(pin!(reading)).await
        };
        let first = match (source, first.map_err(Failure::unanswered)?) {
            // The hop only checks whether the proxy is reachable, and may end its check with a reset.
            (Some(Source::Hop), Err(failure))
                if failure.reason == Reason::TcpResetBeforeRequest =>
            {
                Err(Failure {
                    reason: Reason::TcpProbe,
                    ..failure
                })
            }
            (Some(_), Ok(first)) if first.looks == Looks::Proxy => {
                let detail = format!("a second header: {}", first.describe());
                let failure = Failure::new(Reason::ProxyProtocolUnexpected, detail);
                Err(failure.with_hint(
                    "two hops in front write a PROXY header: let the one next to the proxy accept the other's (accept-proxy in HAProxy, listen … proxy_protocol in nginx), or switch one of them off",
                ))
            }
            (_, first) => first,
        }?;
        Ok(Identified {
            socket,
            first,
            deadline,
        })
    }

    async fn introduce(
        &mut self,
        socket: &mut TcpStream,
        deadline: Instant,
        draft: &mut Draft,
    ) -> Result<Source, Failure> {
        let is_trusted = is_trusted(self.peer.ip(), &self.shared.config().trusted_proxies);
        let reading = proxy_header::read(socket, is_trusted, deadline);
        let told = self.shared.unless_draining(pin!(reading)).await;
        let told = told.map_err(Failure::unanswered)??;
        match told.source {
            Source::Hop => {}
            // The bytes come from someone behind the hop, who must not be trusted like the hop itself.
            Source::Unnamed => self.is_unnamed = true,
            Source::Client(client) => {
                self.peer = client;
                draft.set_source(client.ip().to_canonical());
            }
        }
        self.secure |= told.secure;
        // Only now is the client known; health checks are not clients.
        self.count(self.peer.ip(), &self.shared.clients)
            .map_err(Failure::unanswered)?;
        Ok(told.source)
    }

    /// Shakes hands if the listener has TLS: what comes next is the first request.
    ///
    /// # Errors
    /// `tls_…`, the reasons for the wrong protocol on a plain listener, and `draining`.
    pub(super) async fn secure(
        &self,
        identified: Identified,
        draft: &mut Draft,
    ) -> Result<Box<Unread>, Ended> {
        let limits = &self.shared.config().limits;
        let first_deadline = identified.deadline;
        let (stream, deadline) = match &self.shared.tls {
            None => (in_clear(identified)?, first_deadline),
            Some(server) => {
                let stream = self.shake_hands(identified, server, draft).await?;
                (stream, Instant::now() + limits.request_head)
            }
        };
        Ok(Box::new(Unread {
            stream,
            held: Vec::new(),
            deadline,
        }))
    }

    async fn shake_hands(
        &self,
        identified: Identified,
        server: &tls::Server,
        draft: &mut Draft,
    ) -> Result<ClientStream, Ended> {
        draft.enter(Stage::Tls);
        let begun = Instant::now();
        let limits = &self.shared.config().limits;
        let Identified {
            socket,
            first,
            deadline,
        } = identified;
        let facts = &mut draft.connection_mut().tls;
        let handshake = Box::pin(tls::accept(
            socket,
            first,
            server,
            deadline,
            limits.tls_handshake,
            facts,
        ));
        let accepted = self.shared.unless_draining(handshake).await;
        draft.tls = Some(begun.elapsed());
        match accepted.map_err(Failure::unanswered)? {
            Ok(stream) => Ok(stream),
            Err(tls::Failed {
                failure,
                plain: None,
                told,
            }) => {
                draft.certificate = draft.connection().tls.shown();
                Err(Ended {
                    failure,
                    client: told.map(|socket| ClientStream::Plain(Box::new(socket))),
                })
            }
            Err(tls::Failed {
                failure,
                plain: Some(socket),
                ..
            }) => {
                let stream = Replay::new(Vec::new(), Socket::new(socket));
                let stream = ClientStream::Plain(Box::new(stream));
                Err(refuse_unread(stream, failure, limits.write_stall, draft).await)
            }
        }
    }
}

/// The stream of a client that speaks HTTP without TLS.
fn in_clear(identified: Identified) -> Result<ClientStream, Failure> {
    let Identified { socket, first, .. } = identified;
    match first.looks {
        Looks::Tls => Err(Failure::new(Reason::TlsOnPlainPort, first.describe())),
        Looks::Proxy => Err(Failure::new(
            Reason::ProxyProtocolUnexpected,
            first.describe(),
        )),
        Looks::Http | Looks::Other => {
            let stream = Replay::new(first.bytes, Socket::new(socket));
            Ok(ClientStream::Plain(Box::new(stream)))
        }
    }
}
