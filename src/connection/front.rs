//! The beginning of a connection: who is behind the hop in front, by its PROXY header, and which protocol comes next.

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Life;
use crate::http::forwarded::is_trusted;
use crate::listener::proxy_header::{self, Source};
use crate::listener::{self, FirstBytes, Looks};
use crate::reason::{Failure, Reason};
use crate::record::Draft;

impl Life<'_> {
    /// Reads the PROXY header where the listener wants one, and the first bytes behind it. From then on the client is
    /// the one that the header names.
    ///
    /// # Errors
    /// `tcp_…` and `proxy_protocol_…`, and `draining`.
    pub(super) async fn begin(
        &mut self,
        socket: &mut TcpStream,
        deadline: Instant,
        draft: &mut Draft,
    ) -> Result<FirstBytes, Failure> {
        let source = match self.shared.proxy_protocol {
            true => Some(Box::pin(self.introduce(socket, deadline, draft)).await?),
            false => None,
        };
        let first = self
            .unless_draining(listener::first_bytes(socket, deadline))
            .await
            .map_err(Failure::unanswered)?;
        match (source, first) {
            // The hop looks whether we are there, and may well end that with a reset.
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
        }
    }

    async fn introduce(
        &mut self,
        socket: &mut TcpStream,
        deadline: Instant,
        draft: &mut Draft,
    ) -> Result<Source, Failure> {
        let is_trusted = is_trusted(self.peer.ip(), &self.shared.config().trusted_proxies);
        let told = self
            .unless_draining(proxy_header::read(socket, is_trusted, deadline))
            .await
            .map_err(Failure::unanswered)??;
        match told.source {
            Source::Hop => {}
            // Somebody speaks by way of the hop, and must not be taken for it.
            Source::Unnamed => self.is_unnamed = true,
            Source::Client(client) => {
                self.peer = client;
                draft.set_source(client.ip().to_canonical());
            }
        }
        self.secure |= told.secure;
        // As late as this the client is known; a hop that looks whether we are there is none.
        self.count(self.peer.ip()).map_err(Failure::unanswered)?;
        Ok(told.source)
    }
}
