//! The life of a connection and of each of its requests: the only file that knows the order of the steps.
//!
//! ```text
//! connection: accept ─▶ identify ─▶ secure ─▶ requests ─▶ tunnel, or deliver the last bytes
//!                                          └▶ streams over HTTP/2: one request and perhaps one tunnel each
//! request:    read ─▶ parse ─▶ admit ─▶ answer, forward, open or refuse
//! ```
//!
//! Each step takes the result of the step before it. It returns what the next step needs, or an [`Ended`] with the
//! reason. It adds what it learns to the facts of the connection or of the request ([`facts`]). When a request ends,
//! this file has its record made from these facts. A connection that ends before its first request has one record, too.

mod admit;
mod answers;
mod arrive;
mod carry;
mod describe;
mod exchange;
mod explain;
mod facts;
mod local;
mod open;
mod plain;
mod read;
mod refuse;
mod repeat;
mod shared;
mod shares;
mod stop;
mod streams;
mod untrusted;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use admit::{Admitted, Denied};
use carry::{Carry, Kept};
use exchange::Exchange;
use facts::{ConnectionFacts, Draft};
use read::{Asked, Head};
pub use repeat::Repeats;
pub use shared::{Current, Shared};
use shares::{Multiplexed, TunnelOfClient};
pub use stop::{Cutoff, Stop};
pub use untrusted::Claims;

use crate::http::head;
use crate::limits::{Clients, Held};
use crate::listener::{Accepted, NotAccepted};
use crate::reason::{Failure, Level, Stage};
use crate::record::Resting;
use crate::stream::{ClientStream, Parting, UpstreamStream, linger};
use crate::tunnel::Tunnel;
use crate::upstream::InUse;

/// Serves one connection from its first byte to its last, unless it is cut off. A tunnel goes on in another task.
///
/// `shared` admits the connection. Each request is served with the settings that `current` has when the head of the
/// request is complete. `counted` counts the connection until its last byte. It is the first parameter because the
/// first one is dropped last.
pub async fn serve(
    counted: TaskTrackerToken,
    accepted: Accepted,
    shared: Arc<Shared>,
    current: Arc<Current>,
    cutoff: Cutoff,
) {
    let Accepted {
        socket,
        peer,
        slot,
        at,
    } = accepted;
    let facts = Arc::new(ConnectionFacts::new(&shared, Some(peer)));
    let mut connection = Connection {
        current,
        cutoff: cutoff.clone(),
        peer,
        secure: shared.tls.is_some(),
        is_unnamed: false,
        held: OnceLock::new(),
        multiplexed: None,
        tracker: counted.task_tracker().clone(),
        shared,
    };
    let after = tokio::select! {
        biased;
        after = connection.live(socket, at, facts) => after,
        () = cutoff.reached() => After::Close(None),
    };
    let Connection { held, shared, .. } = connection;
    let held = held.into_inner();
    match after {
        // In a new task, because a task never becomes smaller, and a handshake needs far more memory than a tunnel.
        After::Tunnel(open) => {
            let kept = Kept::Connection { slot, held };
            tokio::spawn(Carry::new(*open, shared, kept, counted));
        }
        After::Close(client) => {
            let client = client.map(Parting::from);
            Box::pin(see_off(client, None, &shared, cutoff)).await;
            drop((slot, held));
        }
    }
}

/// Records a connection that could not be accepted.
pub fn turn_away(not_accepted: NotAccepted, shared: &Shared) {
    let NotAccepted { failure, peer } = not_accepted;
    let facts = ConnectionFacts::new(shared, peer);
    let begun = (Instant::now(), 0);
    let mut draft = Draft::new(shared, shared.stop.cutoff(), Arc::new(facts), begun);
    draft.enter(Stage::Accept);
    draft.failed(failure);
}

/// A connection with a client: what its requests share.
#[derive(Clone)]
struct Connection {
    /// Where it gets the settings for its next request.
    current: Arc<Current>,
    /// The settings that serve it now.
    shared: Arc<Shared>,
    cutoff: Cutoff,
    /// The nearest hop that speaks HTTP: the peer of the socket, or the client in its PROXY header.
    peer: SocketAddr,
    /// Whether that hop's connection is TLS.
    secure: bool,
    /// Whether the PROXY header does not name a client. Fields that name the client are then ignored.
    is_unnamed: bool,
    /// Counts this connection for its client, as soon as the client is known.
    held: OnceLock<Arc<Held>>,
    /// What its streams share, if it speaks HTTP/2.
    multiplexed: Option<Arc<Multiplexed>>,
    /// Counts the connections and streams that a drain waits for.
    tracker: TaskTracker,
}

/// A request, which ends in one record. Several may live on one connection.
struct Request<'a> {
    connection: &'a Connection,
    /// The settings that serve it.
    shared: Arc<Shared>,
    facts: Draft,
    /// Counts its tunnel for its client, if the connection alone does not.
    held: Option<TunnelOfClient>,
}

/// A client's stream at the beginning of a request. Boxed, because the futures it passes through would each have room for
/// it.
struct Unread {
    stream: ClientStream,
    /// The bytes of the request that have arrived.
    held: Vec<u8>,
    /// When its head must be complete.
    deadline: Instant,
}

/// What follows the requests of a connection.
enum After {
    /// A tunnel.
    Tunnel(Box<OpenTunnel>),
    /// The end, after the client has read what was written to it.
    Close(Option<ClientStream>),
}

/// A tunnel, and what it holds until it ends.
struct OpenTunnel {
    tunnel: Tunnel,
    in_use: InUse,
    record: Resting,
    /// Whether its peer is on this machine.
    is_local: bool,
    /// Counts it for its client, if the connection alone does not.
    held: Option<TunnelOfClient>,
}

/// What follows one request.
enum Next {
    /// A tunnel, or the connection's end.
    Last(After),
    /// Another request may follow. Its beginning may have arrived, the first byte at `begun`.
    Request {
        stream: ClientStream,
        held: Vec<u8>,
        begun: Option<Instant>,
    },
}

/// How a request succeeded.
enum Done {
    /// A tunnel is open: the client has its 101.
    Opened(Box<(Tunnel, InUse)>),
    /// The client got an answer, or a part of it.
    Served {
        level: Level,
        failure: Option<Failure>,
        next: Next,
    },
}

/// How a request failed.
struct Ended {
    failure: Failure,
    /// The client's stream, if the client may still have to read its answer.
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

impl Connection {
    /// Runs the steps accept, identify and secure, and then one request after the other.
    async fn live(&mut self, socket: TcpStream, at: Instant, facts: Arc<ConnectionFacts>) -> After {
        let mut draft = self.draft(facts, (at, 0));
        // Each step is boxed, so a connection that waits for its client is only as large as the waiting step.
        let mut unread = match Box::pin(self.arrive(socket, &mut draft)).await {
            Ok(unread) => unread,
            Err(Ended { failure, client }) => {
                draft.failed(failure);
                return After::Close(client);
            }
        };
        let facts = Arc::clone(draft.connection());
        if facts.tls.is_h2() {
            return Box::pin(self.multiplex(unread, draft)).await;
        }
        for before in 1.. {
            let request = Request {
                connection: self,
                shared: Arc::clone(&self.shared),
                facts: draft,
                held: None,
            };
            let (next, shared) = Box::pin(request.live(unread)).await;
            self.shared = shared;
            let (mut stream, mut held, begun) = match next {
                Next::Last(after) => return after,
                Next::Request {
                    stream,
                    held,
                    begun,
                } => (stream, held, begun),
            };
            if !Box::pin(self.is_used_again(&mut stream, &mut held)).await {
                return After::Close(Some(stream));
            }
            self.current.follow(&mut self.shared);
            let begun = begun.unwrap_or_else(Instant::now);
            draft = self.draft(Arc::clone(&facts), (begun, before));
            unread = Box::new(Unread {
                stream,
                held,
                deadline: Instant::now() + self.shared.config().limits.request_head,
            });
        }
        // No connection has that many requests.
        After::Close(None)
    }

    /// Runs the steps accept, identify and secure. Returns the stream at the beginning of the first request.
    async fn arrive(&mut self, socket: TcpStream, draft: &mut Draft) -> Result<Box<Unread>, Ended> {
        let counted = self.accept(socket, draft)?;
        let identified = Box::pin(self.identify(counted, draft)).await?;
        Box::pin(self.secure(identified, draft)).await
    }

    /// Waits for a further request. A shutdown ends the wait, because nothing is lost.
    async fn is_used_again(&self, stream: &mut ClientStream, held: &mut Vec<u8>) -> bool {
        let deadline = Instant::now() + self.shared.config().limits.keep_alive;
        tokio::select! {
            biased;
            is_next = head::begun(stream, deadline, held) => is_next,
            () = self.current.lost(&self.shared, |_| false) => false,
            () = self.shared.stop.draining() => false,
        }
    }

    /// The guard of a request. `begun` says when it began, and how many requests came before it.
    fn draft(&self, facts: Arc<ConnectionFacts>, begun: (Instant, u32)) -> Draft {
        Draft::new(&self.shared, self.cutoff.clone(), facts, begun)
    }

    /// Counts this connection among those of `client`, unless it is counted already. A trusted proxy is not a client; its
    /// connections are counted for the client that the request names.
    fn count(&self, client: IpAddr, clients: &Clients) -> Result<(), Failure> {
        if self.held.get().is_none()
            && let Some(held) = clients.connect(client)?.map(Arc::from)
        {
            // Requests of one connection are polled by one task, so nobody else sets it meanwhile.
            let _ = self.held.set(held);
        }
        Ok(())
    }
}

impl Request<'_> {
    /// Serves the request from its head to its record. Also returns the settings that served it.
    async fn live(mut self, unread: Box<Unread>) -> (Next, Arc<Shared>) {
        let done = self.steps(unread).await;
        self.end(done)
    }

    /// Has the record of the request made, or of the beginning of its tunnel.
    fn end(self, done: Result<Done, Ended>) -> (Next, Arc<Shared>) {
        let Self {
            shared,
            facts,
            held,
            ..
        } = self;
        let next = match done {
            Ok(Done::Opened(opened)) => {
                let (tunnel, in_use) = *opened;
                let is_local = facts.connection().is_local();
                // This comes first: the client has its 101, so the tunnel counts as open, whatever happens next.
                let record = facts.opened();
                shared.sink.entered(Stage::Tunnel);
                Next::Last(After::Tunnel(Box::new(OpenTunnel {
                    tunnel,
                    in_use,
                    record,
                    is_local,
                    held,
                })))
            }
            Ok(Done::Served {
                level,
                failure,
                next,
            }) => {
                facts.served(level, failure);
                next
            }
            Err(Ended { failure, client }) => {
                facts.failed(failure);
                Next::Last(After::Close(client))
            }
        };
        (next, shared)
    }

    async fn steps(&mut self, unread: Box<Unread>) -> Result<Done, Ended> {
        let head = Box::pin(self.read(unread)).await?;
        // Boxed, so that a connection without a request does not have room for it.
        Box::pin(self.respond(head)).await
    }

    /// The steps after the head has come.
    async fn respond(&mut self, head: Head) -> Result<Done, Ended> {
        let asked = Box::pin(self.parse(head)).await?;
        self.serve(asked).await
    }

    /// The steps after the head was parsed. They are the same for HTTP/1.1 and HTTP/2.
    async fn serve(&mut self, asked: Asked) -> Result<Done, Ended> {
        let generation = Arc::clone(&self.shared.generation);
        match self.admit(&asked, &generation) {
            Ok(Admitted::Answer(response)) => Box::pin(self.answer(asked, response)).await,
            Ok(Admitted::Plain(admitted)) => Box::pin(self.forward(asked, admitted)).await,
            Ok(Admitted::Opening(admitted)) => Box::pin(self.open(asked, admitted)).await,
            Err(Denied {
                failure,
                explanation,
            }) => {
                // An unread body would delay the answer.
                drop(asked.body);
                let explanation = explanation.map(|explanation| *explanation);
                Err(Box::pin(self.refuse(asked.exchange, failure, explanation)).await)
            }
        }
    }
}

/// Lets the peers read the last bytes that were sent to them.
async fn see_off(
    client: Option<Parting<ClientStream>>,
    upstream: Option<Parting<UpstreamStream>>,
    shared: &Shared,
    cutoff: Cutoff,
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
        // The record is already written. The peers only have less time to read.
        () = shared.drain_patience() => {}
        () = cutoff.reached() => {}
    }
}
