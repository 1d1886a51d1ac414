//! The life of a connection and of each of its requests: the only file that knows the order of the steps.
//!
//! ```text
//! connection: accept ─▶ identify ─▶ secure ─▶ requests ─▶ deliver the last bytes
//! request:    read ─▶ admit ─▶ answer or forward ─▶ deliver
//!                            └▶ open ─▶ tunnel
//! ```
//!
//! Each step takes what the one before it gave, and gives what the next one needs, or an [`Ended`] with the reason. On its way
//! it fills in the facts of its connection or request ([`facts`]), of which the record is made here, when the request ends. A
//! connection that ends before its first request has the record of that request.

mod admit;
mod arrive;
mod carry;
mod describe;
mod explain;
mod facts;
mod local;
mod open;
mod plain;
mod read;
mod refuse;
mod repeat;
mod shared;
mod stop;
mod untrusted;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use admit::Admitted;
use carry::Carry;
use facts::{ConnectionFacts, Draft};
pub use repeat::Repeats;
pub use shared::{Current, Shared};
pub use stop::{Cutoff, Stop};
pub use untrusted::Claims;

use crate::http::head;
use crate::limits::Held;
use crate::listener::{Accepted, NotAccepted};
use crate::reason::{Failure, Level, Stage};
use crate::record::Resting;
use crate::stream::{ClientStream, UpstreamStream, linger};
use crate::tunnel::Tunnel;
use crate::upstream::InUse;

/// Carries one connection from its first byte to its last, unless it is cut off before; a tunnel goes on in a task of its
/// own. It is let in with `shared`; each request is served with what `current` has when its head has come. `counted` counts
/// the connection from here to its last byte and only once; as the first parameter it is dropped last.
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
    let facts = ConnectionFacts::new(&shared, Some(peer));
    let mut connection = Connection {
        current: &current,
        cutoff: cutoff.clone(),
        peer,
        secure: shared.tls.is_some(),
        is_unnamed: false,
        held: OnceLock::new(),
        facts: Arc::new(facts),
        requests: 0,
        shared,
    };
    let after = tokio::select! {
        biased;
        after = connection.live(socket, at) => after,
        () = cutoff.reached() => After::Close(None),
    };
    let Connection { held, shared, .. } = connection;
    let held = held.into_inner();
    match after {
        // A task keeps the size of what it once held, and a handshake holds far more than a tunnel.
        After::Tunnel(opened) => {
            tokio::spawn(Carry::new(*opened, slot, held, counted));
        }
        After::Close(client) => {
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

/// A connection with a client, which its requests share.
struct Connection<'a> {
    /// What its requests are served with next.
    current: &'a Current,
    /// What it is served with.
    shared: Arc<Shared>,
    cutoff: Cutoff,
    /// The hop nearest to us that says anything in HTTP: who dialled, or whom its PROXY header names.
    peer: SocketAddr,
    /// Whether that hop's connection is TLS.
    secure: bool,
    /// Whether somebody whom nothing names speaks by way of the hop, whose fields are not believed then.
    is_unnamed: bool,
    /// This connection among its client's, as soon as the client is known.
    held: OnceLock<Box<Held>>,
    facts: Arc<ConnectionFacts>,
    /// How many requests have begun.
    requests: u32,
}

/// A request, which ends in one record. Several may live on one connection.
struct Request<'a> {
    connection: &'a Connection<'a>,
    /// What it is served with.
    shared: Arc<Shared>,
    facts: Draft,
}

/// A client's stream at the beginning of a request.
struct Unread {
    stream: ClientStream,
    /// What has come of the request.
    held: Vec<u8>,
    /// When its head must be complete.
    deadline: Instant,
}

/// What follows the requests of a connection.
enum After {
    /// A tunnel.
    Tunnel(Box<Opened>),
    /// The end, after the client has read what was written to it.
    Close(Option<ClientStream>),
}

/// A tunnel, and what it holds until it ends.
struct Opened {
    tunnel: Tunnel,
    in_use: InUse,
    record: Resting,
    /// What its request was served with.
    shared: Arc<Shared>,
    /// Whether its peer is on this machine.
    is_local: bool,
}

/// What follows one request.
enum Next {
    /// A tunnel, or the connection's end.
    Last(After),
    /// Another request may follow; its beginning may have come, with its first byte at `begun`.
    Request {
        stream: ClientStream,
        held: Vec<u8>,
        begun: Option<Instant>,
    },
}

/// What a request came to.
enum Done {
    /// A tunnel is open: the client has its 101.
    Opened(Tunnel, InUse),
    /// An answer was delivered, or as much of it as could be.
    Served {
        level: Level,
        failure: Option<Failure>,
        next: Next,
    },
}

/// How a request failed, and what its connection still has to deliver.
struct Ended {
    failure: Failure,
    /// Open while the client may still have to read its answer.
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

impl Connection<'_> {
    /// accept, identify, secure; then one request after the other.
    async fn live(&mut self, socket: TcpStream, accepted: Instant) -> After {
        let mut draft = self.draft(accepted);
        // Each step is in a box of its own: a connection that waits for its client is as small as the step that waits.
        let mut unread = match Box::pin(self.arrive(socket, &mut draft)).await {
            Ok(unread) => unread,
            Err(Ended { failure, client }) => {
                draft.failed(failure);
                return After::Close(client);
            }
        };
        self.facts = Arc::clone(draft.connection());
        loop {
            let request = Request {
                connection: self,
                shared: Arc::clone(&self.shared),
                facts: draft,
            };
            let (stream, held, begun) = match Box::pin(request.live(unread)).await {
                Next::Last(after) => return after,
                Next::Request {
                    stream,
                    held,
                    begun,
                } => (stream, held, begun),
            };
            self.follow();
            unread = match self.next(stream, held).await {
                Ok(unread) => unread,
                Err(stream) => return After::Close(Some(stream)),
            };
            self.follow();
            draft = self.draft(begun.unwrap_or_else(Instant::now));
        }
    }

    /// accept, identify, secure: what comes next is the first request.
    async fn arrive(&mut self, socket: TcpStream, draft: &mut Draft) -> Result<Unread, Ended> {
        let counted = self.accept(socket, draft)?;
        let identified = Box::pin(self.identify(counted, draft)).await?;
        Box::pin(self.secure(identified, draft)).await
    }

    /// Goes on with what its listener serves with now, if that asks for nothing else on the way here.
    fn follow(&mut self) {
        if let Some(shared) = self.current.successor(&self.shared) {
            self.shared = shared;
        }
    }

    /// Waits for a further request; a shutdown ends the wait, because nothing is lost by that.
    ///
    /// # Errors
    /// The stream, if no request follows.
    async fn next(
        &self,
        mut stream: ClientStream,
        mut held: Vec<u8>,
    ) -> Result<Unread, ClientStream> {
        let limits = &self.shared.config().limits;
        let deadline = Instant::now() + limits.keep_alive;
        let is_next = tokio::select! {
            biased;
            begun = head::begun(&mut stream, deadline, &mut held) => begun,
            () = self.current.lost(&self.shared) => false,
            () = self.shared.stop.draining() => false,
        };
        match is_next {
            true => Ok(Unread {
                stream,
                held,
                deadline: Instant::now() + limits.request_head,
            }),
            false => Err(stream),
        }
    }

    /// The guard of the request that began at `begun`.
    fn draft(&mut self, begun: Instant) -> Draft {
        let before = self.requests;
        self.requests += 1;
        let (cutoff, facts) = (self.cutoff.clone(), Arc::clone(&self.facts));
        Draft::new(&self.shared, cutoff, facts, (begun, before))
    }

    /// Counts this connection among those of `client`, unless it is counted already. A trusted proxy is not a client: a
    /// connection from one waits for the client that its request names.
    fn count(&self, client: IpAddr) -> Result<(), Failure> {
        if self.held.get().is_none()
            && let Some(held) = self.shared.clients.connect(client)?
        {
            // Nobody else sets it meanwhile: this connection has one task.
            let _ = self.held.set(held);
        }
        Ok(())
    }
}

impl Request<'_> {
    /// From its head to its record.
    async fn live(mut self, unread: Unread) -> Next {
        let done = self.steps(unread).await;
        let Self {
            connection,
            shared,
            facts,
        } = self;
        match done {
            Ok(Done::Opened(tunnel, in_use)) => {
                // At once, because the client has its 101: whatever happens from here on, a tunnel was open.
                let record = facts.opened();
                shared.sink.entered(Stage::Tunnel);
                Next::Last(After::Tunnel(Box::new(Opened {
                    tunnel,
                    in_use,
                    record,
                    shared,
                    is_local: connection.facts.is_local(),
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
        }
    }

    async fn steps(&mut self, unread: Unread) -> Result<Done, Ended> {
        let head = Box::pin(self.read(unread)).await?;
        let asked = Box::pin(self.parse(head)).await?;
        let generation = Arc::clone(&self.shared.generation);
        match self.admit(&asked, &generation) {
            Ok(Admitted::Answer(response)) => Box::pin(self.answer(asked, response)).await,
            Ok(Admitted::Plain(admitted)) => Box::pin(self.forward(asked, admitted)).await,
            Ok(Admitted::Opening(admitted)) => Box::pin(self.open(asked, admitted)).await,
            Err(denied) => Err(Box::pin(self.deny(asked, denied)).await),
        }
    }
}

/// Lets the peers read the last of what was sent to them.
async fn see_off(
    client: Option<ClientStream>,
    upstream: Option<UpstreamStream>,
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
        // The record is written: the peers only lose the rest of their time to read.
        () = shared.drain_patience() => {}
        () = cutoff.reached() => {}
    }
}
