//! A connection that speaks HTTP/2. Each of its streams is a request of its own, with its own task and its own record.

use std::sync::Arc;

use tokio::time::Instant;

use super::carry::{Carry, Kept, StreamKept};
use super::exchange::Exchange;
use super::facts::Draft;
use super::read::{Asked, explained};
use super::{After, Connection, Ended, Next, OpenTunnel, Request, Shared, Unread, see_off};
use crate::config::Http2;
use crate::http::RequestBody;
use crate::http::forwarded::Identity;
use crate::http2::{Arrived, Server, Settings, Turn, is_websocket, translated};
use crate::reason::{Failure, Reason, Stage};
use crate::record::Wanted;
use crate::stream::Parting;

impl Connection {
    /// Serves the streams of a connection until it ends. `draft` is for the first of them.
    pub(super) async fn multiplex(&self, unread: Box<Unread>, mut draft: Draft) -> After {
        let Unread {
            stream, deadline, ..
        } = *unread;
        draft.enter(Stage::Http);
        draft.set_stream(None);
        let begun = {
            let beginning = Box::pin(Server::begin(stream, settings(&self.shared), deadline));
            self.shared.unless_draining(beginning).await
        };
        let server = match begun {
            Ok(Ok(server)) => server,
            Ok(Err(not_begun)) => {
                let failure = explained(not_begun.failure, &self.shared, &mut draft);
                draft.failed(failure);
                return After::Close(not_begun.stream);
            }
            Err(failure) => {
                draft.failed(failure.unanswered());
                return After::Close(None);
            }
        };
        Box::pin(self.streams(server, draft)).await
    }

    async fn streams(&self, mut server: Server, draft: Draft) -> After {
        let connection = Arc::new(Self {
            multiplexed: Some(Arc::default()),
            ..self.clone()
        });
        let mut shared = Arc::clone(&self.shared);
        let facts = Arc::clone(draft.connection());
        let mut first = Some(draft);
        let mut count = 0;
        let mut is_leaving = false;
        let failure = loop {
            let turn = tokio::select! {
                biased;
                () = self.is_to_leave(&shared, server.announces()), if !is_leaving => {
                    is_leaving = true;
                    server.leave();
                    continue;
                }
                turn = server.next(settings(&shared)) => turn,
            };
            self.current.follow(&mut shared);
            if settings(&shared).websocket {
                server.announce_websocket();
            }
            let (stream, begun, turn) = match turn {
                Turn::Stream(arrived) => (arrived.stream(), arrived.begun(), Ok(arrived)),
                Turn::Refused {
                    stream,
                    begun,
                    failure,
                } => (stream, begun, Err(failure)),
                Turn::Over(failure) => break failure,
            };
            // What came before the first stream belongs to it.
            let mut draft = first.take().unwrap_or_else(|| {
                let facts = Arc::clone(&facts);
                Draft::new(&shared, self.cutoff.clone(), facts, (begun, count))
            });
            count += 1;
            draft.set_stream(Some(stream));
            draft.enter(Stage::Http);
            match turn {
                Ok(arrived) => begin_stream(&connection, &shared, draft, *arrived),
                Err(failure) => draft.failed(failure),
            }
        };
        // If streams are open, their records have the failure.
        let has_record = server.served() > 0;
        match (first, failure) {
            (Some(mut draft), failure) => {
                let failure = failure.unwrap_or_else(|| server.unused());
                let failure = explained(failure, &shared, &mut draft);
                draft.failed(failure);
            }
            (None, Some(failure)) if !has_record => {
                let begun = (Instant::now(), count);
                let mut draft = Draft::new(&shared, self.cutoff.clone(), facts, begun);
                draft.enter(Stage::Http);
                draft.set_stream(None);
                draft.failed(failure);
            }
            (None, _) => {}
        }
        After::Close(server.close(shared.config().limits.close_wait).await)
    }

    /// Completes when the client has to open another connection: because of a drain, because the listener would not let
    /// it in like this any more or does not offer HTTP/2 any more, or because WebSockets were announced and are not wanted
    /// any more, which can't be said on an open connection (RFC 8441 section 3).
    async fn is_to_leave(&self, shared: &Arc<Shared>, announces: bool) {
        let is_too_much = |now: &Shared| {
            let offers = now.tls.as_ref().is_some_and(|tls| tls.offers_h2());
            !offers || announces && !settings(now).websocket
        };
        tokio::select! {
            () = self.current.lost(shared, is_too_much) => {}
            () = self.shared.stop.draining() => {}
        }
    }
}

/// How a listener serves HTTP/2.
fn settings(shared: &Shared) -> Settings {
    let Http2 {
        websocket,
        max_streams,
    } = shared.http2;
    let limits = &shared.config().limits;
    let mut routes = shared.generation.routes.iter();
    Settings {
        // A client that is told so opens its WebSockets in no other way.
        websocket: websocket && routes.any(|route| route.websocket().is_some()),
        max_streams,
        header_bytes: limits.header_bytes,
        request_head: limits.request_head,
        keep_alive: limits.keep_alive,
    }
}

/// Starts the task of a stream.
fn begin_stream(
    connection: &Arc<Connection>,
    shared: &Arc<Shared>,
    draft: Draft,
    arrived: Arrived,
) {
    let slots = connection
        .multiplexed
        .as_ref()
        .map(|multiplexed| &multiplexed.slots);
    let slot = slots.and_then(|slots| slots.share(|| shared.slots.take().ok_or(())).ok());
    let Some(slot) = slot else {
        let detail = "each further stream counts like a connection; the client got REFUSED_STREAM";
        draft.failed(Failure::new(Reason::TcpConnLimit, detail));
        arrived.turn_away();
        return;
    };
    let (connection, shared) = (Arc::clone(connection), Arc::clone(shared));
    let counted = connection.tracker.token();
    tokio::spawn(async move {
        let tunnel = Box::pin(serve_stream(&connection, shared, draft, arrived)).await;
        if let Some((mut open, shared)) = tunnel {
            let held = open.held.take();
            let kept = Kept::Stream(Box::new(StreamKept { slot, held }));
            // In a new task, because a task never becomes smaller.
            tokio::spawn(Carry::new(*open, shared, kept, counted));
        }
    });
}

/// Serves a stream up to its end, or up to the beginning of its tunnel.
async fn serve_stream(
    connection: &Connection,
    shared: Arc<Shared>,
    facts: Draft,
    arrived: Arrived,
) -> Option<(Box<OpenTunnel>, Arc<Shared>)> {
    let request = Request {
        connection,
        shared,
        facts,
        held: None,
    };
    let (next, shared) = tokio::select! {
        biased;
        served = request.on_stream(arrived) => served,
        () = connection.cutoff.reached() => return None,
    };
    match next {
        Next::Last(After::Tunnel(open)) => Some((open, shared)),
        Next::Last(After::Close(client)) => {
            let client = client.map(Parting::from);
            see_off(client, None, &shared, connection.cutoff.clone()).await;
            None
        }
        // A stream carries only one.
        Next::Request { .. } => None,
    }
}

impl Request<'_> {
    /// Serves a request that arrived on a stream, from its head to its record.
    async fn on_stream(mut self, arrived: Arrived) -> (Next, Arc<Shared>) {
        self.facts.generation = self.shared.generation.number;
        self.facts.head = Some(arrived.begun().elapsed());
        let done = match Box::pin(self.translate(arrived)).await {
            Ok(asked) => Box::pin(self.serve(asked)).await,
            Err(ended) => Err(ended),
        };
        self.end(done)
    }

    /// Notes what the request says about itself, and gives it the form of HTTP/1.1.
    ///
    /// # Errors
    /// Those of [`translated`]; the client has its answer.
    async fn translate(&mut self, arrived: Arrived) -> Result<Asked, Ended> {
        let is_over = arrived.is_over;
        let (request, mut exchange) = arrived.begin();
        let hop = self.connection;
        let identity = Identity::read(hop.peer, hop.secure, &request.headers, self.hops());
        self.facts.describe(&request, &identity);
        let is_websocket = is_websocket(&request);
        self.facts.wanted = match is_websocket {
            true => Wanted::Tunnel,
            false => Wanted::Answer,
        };
        let limit = self.shared.config().limits.header_bytes;
        let (request, length) = match translated(request, is_over, limit) {
            Ok(translated) => translated,
            Err(failure) => {
                let exchange = Exchange::Http2(Box::new(exchange));
                return Err(self.refuse(exchange, failure, None).await);
            }
        };
        let body = match is_websocket {
            true => RequestBody::none(),
            false => exchange.body(length),
        };
        Ok(Asked {
            exchange: Exchange::Http2(Box::new(exchange)),
            request,
            body,
            identity,
            has_early: false,
        })
    }
}
