//! The accept stage: binds addresses, accepts connections under a limit, and recognises their first bytes.
//!
//! Takes an address. Gives [`Accepted`] connections and their first bytes. Fails with the `tcp_…` reasons and those for
//! a protocol that the listener does not speak. Accepting never waits for a connection that was accepted before.

mod first_bytes;
pub(crate) mod inherited;
pub mod proxy_header;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::limits::Slots;
use crate::reason::{Failure, Reason};
use crate::stream::{is_kept_alive, keep_alive};
pub(crate) use first_bytes::{FIRST_BYTES, FirstBytes, Looks, first_bytes};
use inherited::Inherited;

/// How many connections may wait in the kernel's queue; more than any burst between two rounds of the accept loop.
pub(crate) const BACKLOG: i32 = 1024;

/// How long to pause after accepting failed for lack of descriptors or memory: long enough not to spin, short enough to
/// use freed descriptors before clients give up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often to report that accepting fails if no client is known.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A bound address.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Arc<TcpListener>,
    address: SocketAddr,
    slots: Slots,
    write_stall: Duration,
    /// Whether accepted sockets have the options of this one.
    passes_options_on: bool,
    is_inherited: bool,
    /// A descriptor kept in reserve, to accept a connection and reset it when no other descriptor is left.
    reserve: Option<File>,
    /// When a failure without a known client was last reported.
    told: Option<Instant>,
}

/// A reference to a listener's socket; it becomes empty when the listener is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Weak<TcpListener>);

/// A connection from which nothing has been read yet.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The client's socket.
    pub socket: TcpStream,
    /// The address that connected.
    pub peer: SocketAddr,
    /// Counts toward `limits.connections` until it is dropped.
    pub slot: OwnedSemaphorePermit,
    /// When it was accepted.
    pub at: Instant,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct NotAccepted {
    /// The failure, for the record.
    pub failure: Failure,
    /// The address that connected, if a connection was accepted.
    pub peer: Option<SocketAddr>,
}

impl NotAccepted {
    fn full(peer: SocketAddr) -> Self {
        Self {
            failure: Reason::TcpConnLimit.into(),
            peer: Some(peer),
        }
    }
}

impl Listener {
    /// Binds `address`. An IPv6 address accepts only IPv6, so `0.0.0.0` and `[::]` can be bound side by side.
    /// `write_stall` is `limits.write_stall`, which [`keep_alive`] needs.
    ///
    /// # Errors
    /// Those of the operating system: address in use, not an address of this machine, port not permitted.
    pub fn bind(address: SocketAddr, slots: Slots, write_stall: Duration) -> io::Result<Self> {
        Self::bind_as(address, false, slots, write_stall)
    }

    /// Binds `address` even if it overlaps with the address of another listener of this process. The more specific
    /// address gets the connections that match both; two equal addresses share them.
    ///
    /// # Errors
    /// Those of [`Listener::bind`].
    pub fn bind_beside(
        address: SocketAddr,
        slots: Slots,
        write_stall: Duration,
    ) -> io::Result<Self> {
        Self::bind_as(address, true, slots, write_stall)
    }

    fn bind_as(
        address: SocketAddr,
        is_beside: bool,
        slots: Slots,
        write_stall: Duration,
    ) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_port(is_beside)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        // Lets `bind_beside` bind an overlapping address. Only set after binding, so that the address is not shared
        // with another process.
        socket.set_reuse_port(true)?;
        Self::adopt(socket.into(), slots, write_stall)
    }

    /// The listener for the socket among `inherited` that is bound to `address`, if there is one.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn inherit(
        address: SocketAddr,
        inherited: &mut Inherited,
        slots: Slots,
        write_stall: Duration,
    ) -> io::Result<Option<Self>> {
        let Some(socket) = inherited.take(address)? else {
            return Ok(None);
        };
        socket.set_nonblocking(true)?;
        let mut listener = Self::adopt(socket, slots, write_stall)?;
        listener.is_inherited = true;
        Ok(Some(listener))
    }

    /// Another listener for the same socket, if it is still open. Both accept from one queue, so nothing is lost when
    /// one of them ends.
    ///
    /// # Errors
    /// If no descriptor is left.
    pub fn share(handle: &Handle, slots: Slots, write_stall: Duration) -> io::Result<Option<Self>> {
        let Some(socket) = handle.0.upgrade() else {
            return Ok(None);
        };
        let socket = SockRef::from(&*socket).try_clone()?;
        Self::adopt(socket.into(), slots, write_stall).map(Some)
    }

    /// The handle that [`Listener::share`] needs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::downgrade(&self.socket))
    }

    /// Makes a listener from a non-blocking socket that listens.
    fn adopt(
        socket: std::net::TcpListener,
        slots: Slots,
        write_stall: Duration,
    ) -> io::Result<Self> {
        let socket = TcpListener::from_std(socket)?;
        set_up(&socket, write_stall);
        let address = socket.local_addr()?;
        Ok(Self {
            socket: Arc::new(socket),
            address,
            slots,
            write_stall,
            passes_options_on: false,
            is_inherited: false,
            reserve: reserve(),
            told: None,
        })
    }

    /// Whether the socket stays open after this process, so that its queue is served by the next one.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.is_inherited
    }

    /// The bound address; a port 0 is replaced by the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets `limits.write_stall` for new connections.
    pub fn set_write_stall(&mut self, write_stall: Duration) {
        self.write_stall = write_stall;
        self.passes_options_on = false;
        set_up(&*self.socket, write_stall);
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// `tcp_conn_limit` and `tcp_accept_failed`; the connection has been reset. If no connection could be accepted at all, the
    /// clients wait in the kernel's queue, no peer is known, and the failure is reported once a second.
    pub async fn accept(&mut self) -> Result<Accepted, NotAccepted> {
        let (socket, peer) = loop {
            match self.socket.accept().await {
                Ok(accepted) => break accepted,
                // The client has already left; there is no socket and nothing to report.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let failure = Failure::new(Reason::TcpAcceptFailed, error.to_string());
                    match self.turn_away() {
                        Waiting::Reset(peer) => {
                            let peer = Some(peer);
                            return Err(NotAccepted { failure, peer });
                        }
                        Waiting::Nobody => {}
                        Waiting::OutOfReach => {
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                            let now = Instant::now();
                            if self.told.is_none_or(|told| now - told >= TELL_EVERY) {
                                self.told = Some(now);
                                let peer = None;
                                return Err(NotAccepted { failure, peer });
                            }
                        }
                    }
                }
            }
        };
        self.admit(socket, peer).map_err(NotAccepted::full)
    }

    /// Accepts a connection from the kernel's queue, if there is one. A listener that is about to be closed uses this,
    /// because closing would reset the queue. Asks the kernel directly: the runtime may not know about the connection
    /// yet.
    ///
    /// # Errors
    /// `tcp_conn_limit`; the connection has been reset.
    pub fn accept_waiting(&mut self) -> Option<Result<Accepted, NotAccepted>> {
        let (socket, peer) = SockRef::from(&*self.socket).accept().ok()?;
        socket.set_nonblocking(true).ok()?;
        let socket = TcpStream::from_std(socket.into()).ok()?;
        Some(
            self.admit(socket, peer.as_socket()?)
                .map_err(NotAccepted::full),
        )
    }

    /// Gives a connection its slot. If there is no slot left, resets the connection and returns its peer.
    fn admit(&mut self, socket: TcpStream, peer: SocketAddr) -> Result<Accepted, SocketAddr> {
        // An inherited IPv6 socket may also accept IPv4; a client must have the same address in both cases.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if self.reserve.is_none() {
            self.reserve = reserve();
        }
        match self.slots.take() {
            Some(slot) => {
                // Linux passes options on to all connections that come after they were set. Other systems, such as
                // gVisor, pass only some of them on.
                if !self.passes_options_on {
                    self.passes_options_on = is_set_up(&socket, self.write_stall);
                    if !self.passes_options_on {
                        set_up(&socket, self.write_stall);
                    }
                }
                Ok(Accepted {
                    socket,
                    peer,
                    slot,
                    at: Instant::now(),
                })
            }
            None => {
                reset(socket);
                Err(peer)
            }
        }
    }
}

/// Which client is waiting when accepting fails.
enum Waiting {
    /// This one: it was reset, so it can try another server at once.
    Reset(SocketAddr),
    /// None: without a free descriptor, the kernel fails even if nobody is waiting.
    Nobody,
    /// Unknown.
    OutOfReach,
}

impl Listener {
    /// Accepts the next connection with the reserved descriptor and resets it. Otherwise the client would wait until it
    /// times out, and only then try another server.
    fn turn_away(&mut self) -> Waiting {
        let Some(held) = self.reserve.take() else {
            self.reserve = reserve();
            return Waiting::OutOfReach;
        };
        drop(held);
        let accepted = self.socket.accept().now_or_never();
        let waiting = match accepted {
            Some(Ok((socket, peer))) => {
                reset(socket);
                Waiting::Reset(peer)
            }
            // Another thread took the descriptor first, or something other than descriptors is missing.
            Some(Err(_)) => Waiting::OutOfReach,
            None => Waiting::Nobody,
        };
        self.reserve = reserve();
        waiting
    }
}

/// Sets the options of a client's socket, or of the listening socket that passes them on.
fn set_up<'a>(socket: impl Into<SockRef<'a>>, write_stall: Duration) {
    let socket = socket.into();
    // Voice frames are small; waiting for a full segment would only add delay. This fails only on a dead socket, which
    // the next read reports.
    let _ = socket.set_tcp_nodelay(true);
    keep_alive(socket, write_stall);
}

/// Whether a socket has these options.
fn is_set_up(socket: &TcpStream, write_stall: Duration) -> bool {
    socket.nodelay().unwrap_or(false) && is_kept_alive(socket, write_stall)
}

/// A descriptor of a file that exists on every system.
fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Ends a connection with RST, so that the kernel keeps no state of it.
pub(crate) fn reset(socket: TcpStream) {
    // A failure means that the socket is already dead.
    let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    drop(socket);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_listener_is_accepted_by_the_one_that_shares_its_socket() {
        let slots = || Slots::new(2);
        let stall = Duration::from_secs(1);
        let first = Listener::bind("127.0.0.1:0".parse().unwrap(), slots(), stall).unwrap();
        let (address, handle) = (first.address(), first.handle());
        let client = std::net::TcpStream::connect(address).unwrap();
        let mut second = Listener::share(&handle, slots(), stall).unwrap().unwrap();
        drop(first);
        let accepted = second.accept().await.unwrap();
        assert_eq!(accepted.peer, client.local_addr().unwrap());
        assert_eq!(second.address(), address);
        assert!(Listener::share(&handle, slots(), stall).unwrap().is_none());
    }

    #[tokio::test]
    async fn every_accepted_socket_has_the_options_that_hold_now() {
        let stall = |seconds| Duration::from_secs(seconds);
        let address = "127.0.0.1:0".parse().unwrap();
        let mut listener = Listener::bind(address, Slots::new(8), stall(1)).unwrap();
        let address = listener.address();
        let connect = || std::net::TcpStream::connect(address).unwrap();
        let mut clients = vec![connect(), connect()];
        for now in [1, 1, 2, 2, 2] {
            if now == 2 && clients.len() == 2 {
                // One that is in the queue while the options change, and two after it.
                clients.push(connect());
                listener.set_write_stall(stall(2));
                clients.extend([connect(), connect()]);
            }
            let accepted = listener.accept().await.unwrap();
            assert!(is_set_up(&accepted.socket, stall(now)), "{now}");
        }
        assert!(listener.passes_options_on);
    }
}
