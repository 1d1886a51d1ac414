//! Connects to an upstream's endpoints in turn.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

#[cfg(feature = "echo")]
use super::echo;
use super::group::{Busy, Group, Member};
use crate::config::Endpoint;
use crate::policy::{Permit, WebSocketRules};
use crate::reason::{Failure, Note, Reason};
use crate::record::{Attempt, Outcome, millis};
use crate::stream::{UpstreamStream, keep_alive};

/// How long to wait before connecting again to a unix socket with a full backlog, because the system does not tell when
/// it has room. One client does this for all that wait.
const FULL_WAIT: Duration = Duration::from_millis(10);

/// What happened while the proxy connected to an upstream, filled in step by step.
#[derive(Clone, Debug, Default)]
pub struct Dialling {
    /// The addresses that were tried.
    pub attempts: Vec<Attempt>,
    /// Notes for the record.
    pub notes: Vec<Note>,
}

/// A connection to an upstream on which nothing was sent except TLS's own messages.
#[derive(Debug)]
pub struct Connected {
    pub(super) stream: UpstreamStream,
    /// Counts the connection on its endpoint.
    pub(super) busy: Busy,
}

/// Connects to the first reachable endpoint among those for `client`. `dialling` gets an attempt for each address, and
/// a note if the addresses of a name are from an earlier look-up.
///
/// # Errors
/// `upstream_none_healthy`, or the reason of the last endpoint if none can be reached.
pub async fn connect(
    group: &Group,
    permit: &Permit<'_, WebSocketRules>,
    client: IpAddr,
    dialling: &mut Dialling,
) -> Result<Connected, Failure> {
    let mut last = None;
    for member in group.candidates(client)? {
        match group
            .dial(&member, permit, &permit.rules().subprotocols, dialling)
            .await
        {
            Ok(connected) => return Ok(connected),
            Err(failure) => last = Some(failure),
        }
    }
    Err(last
        .unwrap_or_else(|| Failure::new(Reason::UpstreamRefused, "the upstream has no endpoint")))
}

impl Group {
    /// Connects to one endpoint, within `connect_timeout`. The echo server may agree to `subprotocols`. `dialling` gets
    /// an attempt for each address that is tried, and a note if the addresses are from an earlier look-up.
    ///
    /// # Errors
    /// The reason of the last address, if none can be reached.
    pub async fn dial<R>(
        &self,
        member: &Arc<Member>,
        _: &Permit<'_, R>,
        subprotocols: &[String],
        dialling: &mut Dialling,
    ) -> Result<Connected, Failure> {
        // The count begins here, so that many clients at the same time do not all choose the same endpoint.
        let busy = member.busy();
        let timeout = self.settings().connect_timeout;
        let dialled = self
            .open(
                &member.endpoint,
                Some(&member.turn),
                subprotocols,
                timeout,
                dialling,
            )
            .await;
        member.dialled(dialled.is_ok());
        match &dialled {
            Ok(_) => member.connected(true),
            // If the proxy has no free port, this says nothing about the endpoint.
            Err(failure) if failure.reason == Reason::UpstreamPortsExhausted => {}
            Err(_) => member.connected(false),
        }
        dialled.map(|stream| Connected { stream, busy })
    }

    /// The same without a permit, for a connection that carries nothing of a client. If a unix socket has no room, a
    /// caller with a `turn` waits in a queue; one without it tries alone. The echo server may agree to `subprotocols`.
    pub(super) async fn open(
        &self,
        endpoint: &Endpoint,
        turn: Option<&Mutex<()>>,
        subprotocols: &[String],
        timeout: Duration,
        dialling: &mut Dialling,
    ) -> Result<UpstreamStream, Failure> {
        let mut trying = Trying {
            dialling,
            timeout,
            deadline: Instant::now() + timeout,
        };
        match endpoint {
            #[cfg(not(feature = "echo"))]
            Endpoint::Echo => unreachable!("{endpoint} with {subprotocols:?} in a plan"),
            #[cfg(feature = "echo")]
            Endpoint::Echo => {
                let stream = UpstreamStream::Echo(echo::start(subprotocols.to_vec()));
                trying.tried(&endpoint.to_string(), Instant::now(), None);
                Ok(stream)
            }
            Endpoint::Unix(path) => trying.unix(endpoint, path, turn).await,
            Endpoint::Http { host, port } | Endpoint::Https { host, port } => {
                self.open_tcp(endpoint, (host, *port), trying).await
            }
        }
    }

    /// Tries every address of an endpoint. Each gets a share of the remaining time, so that an address that does not
    /// answer leaves time for the others. The name is looked up each time.
    async fn open_tcp(
        &self,
        endpoint: &Endpoint,
        (host, port): (&str, u16),
        mut trying: Trying<'_>,
    ) -> Result<UpstreamStream, Failure> {
        let begun = Instant::now();
        let found = self.names.look_up(host, port, trying.timeout).await;
        let found = found.inspect_err(|failure| {
            trying.tried(&endpoint.to_string(), begun, Some(failure));
        })?;
        // Another endpoint may have added the same note.
        if let Some(note) = found.note
            && !trying.dialling.notes.contains(&note)
        {
            trying.dialling.notes.push(note);
        }
        let addresses = found.addresses;
        let mut last = None;
        for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
            let shown = shown(endpoint, address);
            let begun = Instant::now();
            let left = share(trying.deadline.saturating_duration_since(begun), left);
            match self.open_address(endpoint, host, address, left).await {
                Ok(stream) => {
                    trying.tried(&shown, begun, None);
                    return Ok(stream);
                }
                Err(failure) => {
                    trying.tried(&shown, begun, Some(&failure));
                    last = Some(failure);
                }
            }
        }
        Err(last.unwrap_or_else(|| {
            Failure::new(Reason::UpstreamDnsFailed, format!("{host} has no address"))
        }))
    }

    /// Connects by TCP and, for an https endpoint, by TLS, within `patience`.
    async fn open_address(
        &self,
        endpoint: &Endpoint,
        host: &str,
        address: SocketAddr,
        patience: Duration,
    ) -> Result<UpstreamStream, Failure> {
        let begun = Instant::now();
        let deadline = begun + patience;
        let socket = match timeout_at(deadline, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => {
                return Err(Failure::new(reason(&error), format!("{address}: {error}")));
            }
            Err(_) => {
                let ms = millis(begun.elapsed());
                let detail = format!("{address}: no answer in {ms}ms");
                let failure = Failure::new(Reason::UpstreamConnectTimeout, detail);
                return Err(match address.ip().is_loopback() {
                    true => failure.with_hint(
                        "this is not the network: the upstream's backlog is full, because its process is blocked, \
                         stopped or accepts too slowly; the deadline is `upstreams.*.connect_timeout`",
                    ),
                    false => failure,
                });
            }
        };
        // As on the client's side, small frames must not wait. On a dead socket the next write fails.
        let _ = socket.set_nodelay(true);
        keep_alive(&socket, self.write_stall);
        let tls = match (endpoint, &self.tls) {
            (Endpoint::Https { .. }, Some(tls)) => tls,
            (Endpoint::Https { .. }, None) => {
                // Every upstream with such an endpoint has TLS settings.
                let detail = format!("no TLS settings for {endpoint}");
                return Err(Failure::new(Reason::InternalAborted, detail));
            }
            _ => return Ok(UpstreamStream::Tcp(socket)),
        };
        let connected = begun.elapsed();
        match timeout_at(deadline, tls.connect(socket, host)).await {
            Ok(secured) => secured,
            Err(_) => {
                let detail = format!(
                    "{address}: connected in {}ms, but the TLS handshake was not complete after {}ms",
                    millis(connected),
                    millis(begun.elapsed())
                );
                Err(Failure::new(Reason::UpstreamTlsTimeout, detail))
            }
        }
    }
}

/// An attempt at one endpoint.
struct Trying<'a> {
    dialling: &'a mut Dialling,
    timeout: Duration,
    deadline: Instant,
}

impl Trying<'_> {
    fn tried(&mut self, endpoint: &str, begun: Instant, failure: Option<&Failure>) {
        self.dialling.attempts.push(Attempt {
            endpoint: endpoint.to_owned(),
            outcome: failure.map_or(Outcome::Connected, |failure| {
                Outcome::Failed(failure.reason)
            }),
            detail: failure.and_then(|failure| failure.detail.clone()),
            ms: millis(begun.elapsed()),
        });
    }

    async fn unix(
        &mut self,
        endpoint: &Endpoint,
        path: &Path,
        turn: Option<&Mutex<()>>,
    ) -> Result<UpstreamStream, Failure> {
        let begun = Instant::now();
        let shown = endpoint.to_string();
        let asking = when_there_is_room(turn, || UnixStream::connect(path));
        let failure = match timeout_at(self.deadline, asking).await {
            Ok(Ok(socket)) => {
                self.tried(&shown, begun, None);
                return Ok(UpstreamStream::Unix(socket));
            }
            Ok(Err(error)) => unix_failure(path, &error),
            Err(_) => {
                let ms = millis(begun.elapsed());
                let detail = format!("{}: no room in its backlog for {ms}ms", path.display());
                Failure::new(Reason::UpstreamConnectTimeout, detail)
            }
        };
        self.tried(&shown, begun, Some(&failure));
        Err(failure)
    }
}

/// Connects in the order of the callers, and tries again while there is no room. Only one caller tries at a time,
/// however many wait.
async fn when_there_is_room<T, F: Future<Output = io::Result<T>>>(
    turn: Option<&Mutex<()>>,
    mut connect: impl FnMut() -> F,
) -> io::Result<T> {
    let _turn = match turn {
        Some(turn) => Some(turn.lock().await),
        None => None,
    };
    loop {
        match connect().await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_WAIT).await,
            connected => return connected,
        }
    }
}

/// The text of the endpoint, followed by the address unless the text already contains it.
fn shown(endpoint: &Endpoint, address: SocketAddr) -> String {
    let spelled = endpoint.to_string();
    let is_address = spelled
        .split_once("://")
        .is_some_and(|(_, rest)| rest == address.to_string());
    if is_address {
        spelled
    } else {
        format!("{spelled} ({address})")
    }
}

/// The share of the remaining time for the next of `addresses`.
fn share(left: Duration, addresses: usize) -> Duration {
    left / u32::try_from(addresses.max(1)).unwrap_or(u32::MAX)
}

fn unix_failure(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(reason(error), format!("{}: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::PermissionDenied => failure.with_hint(
            "let the proxy's user write to the socket file of `upstreams.*.endpoints` and enter the folders above it",
        ),
        io::ErrorKind::NotFound => failure.with_hint(
            "the upstream has not made its socket: it is down, starting, or listens on a path other than the one in \
             `upstreams.*.endpoints`",
        ),
        io::ErrorKind::ConnectionRefused => failure.with_hint(
            "the socket file was left by an upstream that has ended: start the upstream, or let it listen on the path that \
             `upstreams.*.endpoints` names",
        ),
        _ => failure,
    }
}

/// The only place where error numbers of a connection attempt become reasons.
fn reason(error: &io::Error) -> Reason {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        // If a unix socket does not exist, nothing listens on it.
        Some(Errno::CONNREFUSED | Errno::NOENT) => Reason::UpstreamRefused,
        Some(Errno::TIMEDOUT) => Reason::UpstreamConnectTimeout,
        Some(Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE) => Reason::UpstreamResetOnConnect,
        Some(
            Errno::ADDRNOTAVAIL
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::AGAIN,
        ) => Reason::UpstreamPortsExhausted,
        // No route, a firewall that rejects (EACCES, EPERM), a network that is down: all are failures of the path.
        _ => Reason::UpstreamUnreachable,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn the_time_left_is_shared_by_the_addresses_left() {
        let second = Duration::from_secs(1);
        assert_eq!(share(second, 4), Duration::from_millis(250));
        assert_eq!(share(second, 1), second);
        assert_eq!(share(Duration::ZERO, 2), Duration::ZERO);
    }

    #[tokio::test]
    async fn of_all_that_wait_for_room_one_asks_and_they_get_it_in_their_order() {
        const WAITING: usize = 100;
        /// Often enough that others would have tried, too.
        const OFTEN: usize = 10;
        let turn = Arc::new(Mutex::new(()));
        // Who tried, and how many there is room for.
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let room = Arc::new(AtomicUsize::new(0));
        let mut waiting = Vec::new();
        for number in 0..WAITING {
            let (turn, asked, room) = (Arc::clone(&turn), Arc::clone(&asked), Arc::clone(&room));
            waiting.push(tokio::spawn(async move {
                let connect = || {
                    asked.lock().unwrap().push(number);
                    let taken = room.fetch_update(Relaxed, Relaxed, |room| room.checked_sub(1));
                    std::future::ready(match taken {
                        Ok(_) => Ok(number),
                        Err(_) => Err(io::ErrorKind::WouldBlock.into()),
                    })
                };
                when_there_is_room(Some(&turn), connect).await
            }));
        }
        let asking = async |count: usize| {
            while asked.lock().unwrap().len() < count {
                sleep(Duration::from_millis(1)).await;
            }
        };
        asking(OFTEN).await;
        assert!(asked.lock().unwrap().iter().all(|number| *number == 0));
        // A caller that gives up lets the next one try.
        waiting.remove(0).abort();
        asking(2 * OFTEN + 1).await;
        assert!(asked.lock().unwrap().iter().all(|number| *number < 2));
        room.store(WAITING, Relaxed);
        for (number, connected) in (1..).zip(waiting) {
            assert_eq!(connected.await.unwrap().unwrap(), number);
        }
        let mut order = asked.lock().unwrap().clone();
        assert!(order.is_sorted());
        order.dedup();
        assert_eq!(order.len(), WAITING);
    }

    #[test]
    fn error_numbers_have_their_reasons() {
        for (errno, expected) in [
            (Errno::CONNREFUSED, Reason::UpstreamRefused),
            (Errno::TIMEDOUT, Reason::UpstreamConnectTimeout),
            (Errno::CONNRESET, Reason::UpstreamResetOnConnect),
            (Errno::ADDRNOTAVAIL, Reason::UpstreamPortsExhausted),
            (Errno::MFILE, Reason::UpstreamPortsExhausted),
            (Errno::NFILE, Reason::UpstreamPortsExhausted),
            (Errno::HOSTUNREACH, Reason::UpstreamUnreachable),
            (Errno::NETUNREACH, Reason::UpstreamUnreachable),
            (Errno::ACCESS, Reason::UpstreamUnreachable),
            (Errno::PERM, Reason::UpstreamUnreachable),
            (Errno::NETDOWN, Reason::UpstreamUnreachable),
            (Errno::HOSTDOWN, Reason::UpstreamUnreachable),
            (Errno::CONNABORTED, Reason::UpstreamResetOnConnect),
            (Errno::PIPE, Reason::UpstreamResetOnConnect),
            (Errno::NOBUFS, Reason::UpstreamPortsExhausted),
            (Errno::NOMEM, Reason::UpstreamPortsExhausted),
            (Errno::AGAIN, Reason::UpstreamPortsExhausted),
            (Errno::NOENT, Reason::UpstreamRefused),
        ] {
            assert_eq!(
                reason(&io::Error::from_raw_os_error(errno.raw_os_error())),
                expected,
                "{errno:?}"
            );
        }
    }
}
