//! The accept stage: binding, accepting under a limit, and what the first bytes of a connection are.
//!
//! Takes an address; gives [`Accepted`] connections with their first bytes; fails with the `tcp_…` reasons and
//! those for a protocol that this listener does not speak. Accepting never waits for a connection.

pub mod inherited;
pub mod proxy_header;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::limits::Slots;
use crate::reason::{Failure, Reason};
use crate::secrets;
use crate::stream::keep_alive;
use inherited::Inherited;

/// Connections the kernel may hold ready; more than any burst between two turns of the accept loop.
pub const BACKLOG: i32 = 1024;

/// Pause after accept failed for want of descriptors or memory: long enough not to spin, short enough that
/// connections freed meanwhile are used before clients give up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often it is told that accepting fails and nobody can be named.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How much of a connection's beginning is kept: enough to tell protocols apart and for the record.
pub const FIRST_BYTES: usize = 16;

/// Content type of the record that a TLS connection begins with (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Signature of a binary PROXY protocol header (haproxy proxy-protocol.txt section 2.2).
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    socket: Arc<TcpListener>,
    address: SocketAddr,
    slots: Slots,
    write_stall: Duration,
    is_inherited: bool,
    /// A descriptor held back, with which a connection can be taken and reset when there is no other.
    reserve: Option<File>,
    /// When it was last told that accepting fails.
    told: Option<Instant>,
}

/// A listener's socket, for as long as the listener is there.
#[derive(Clone, Debug)]
pub struct Handle(Weak<TcpListener>);

/// A connection, not yet looked at.
#[derive(Debug)]
pub struct Accepted {
    /// The client's socket.
    pub socket: TcpStream,
    /// Who dialled.
    pub peer: SocketAddr,
    /// Counts toward `limits.connections` while it lives.
    pub slot: OwnedSemaphorePermit,
    /// When it was accepted.
    pub at: Instant,
}

/// Why accepting gave no connection.
#[derive(Debug)]
pub struct NotAccepted {
    /// Why, for the record.
    pub failure: Failure,
    /// Who dialled, if a connection was there.
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
    /// Binds `address`; an IPv6 address takes IPv6 only, so that `0.0.0.0` and `[::]` can stand side by side.
    /// `write_stall` is `limits.write_stall`, which [`keep_alive`] needs.
    ///
    /// # Errors
    /// Those of the operating system: address in use, not of this machine, port not permitted.
    pub fn bind(address: SocketAddr, slots: Slots, write_stall: Duration) -> io::Result<Self> {
        Self::bind_as(address, false, slots, write_stall)
    }

    /// The same, also where a listener of this process has an address that overlaps with `address`: the more specific one
    /// takes what is for both, and of two that are equal each some.
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
        // Only now, so that no other process's address is shared: it lets `bind_beside` bind what overlaps with this.
        socket.set_reuse_port(true)?;
        Self::adopt(socket.into(), slots, write_stall)
    }

    /// The socket among `inherited` that is bound to `address`, if one is.
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

    /// Another listener of the same socket, if it is still open: what waits in its queue is for either, and is not lost when
    /// one of the two ends.
    ///
    /// # Errors
    /// There is no descriptor for it.
    pub fn share(handle: &Handle, slots: Slots, write_stall: Duration) -> io::Result<Option<Self>> {
        let Some(socket) = handle.0.upgrade() else {
            return Ok(None);
        };
        let socket = SockRef::from(&*socket).try_clone()?;
        Self::adopt(socket.into(), slots, write_stall).map(Some)
    }

    /// What [`Listener::share`] takes.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::downgrade(&self.socket))
    }

    /// Takes a socket that listens and does not block.
    fn adopt(
        socket: std::net::TcpListener,
        slots: Slots,
        write_stall: Duration,
    ) -> io::Result<Self> {
        let socket = TcpListener::from_std(socket)?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket: Arc::new(socket),
            address,
            slots,
            write_stall,
            is_inherited: false,
            reserve: reserve(),
            told: None,
        })
    }

    /// Whether the socket stays open without this process, so that its queue is for the next one.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.is_inherited
    }

    /// The bound address, with the real port where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets `limits.write_stall` for the connections to come.
    pub fn set_write_stall(&mut self, write_stall: Duration) {
        self.write_stall = write_stall;
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// `tcp_conn_limit` and `tcp_accept_failed`; the connection has been reset. Where not even that was possible,
    /// nobody can be named, clients wait in the kernel's queue, and it is told once a second.
    pub async fn accept(&mut self) -> Result<Accepted, NotAccepted> {
        let (socket, peer) = loop {
            match self.socket.accept().await {
                Ok(accepted) => break accepted,
                // The client was gone before we came to it; there is no socket, and nothing is wrong here.
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

    /// A connection that the kernel holds already, if there is one: for a listener that is about to be closed, which would
    /// reset it. Asks the kernel itself, as the runtime may not have heard of it yet.
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

    /// A connection that was accepted, unless there is no place for it: then it is reset, and this was its peer.
    fn admit(&mut self, socket: TcpStream, peer: SocketAddr) -> Result<Accepted, SocketAddr> {
        // An inherited IPv6 socket may take IPv4 too. Such a client has one address, not two.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if self.reserve.is_none() {
            self.reserve = reserve();
        }
        match self.slots.take() {
            Some(slot) => {
                // Voice frames are small; waiting to fill a segment only adds delay. It fails on a dead socket
                // alone, which the next read reports.
                let _ = socket.set_nodelay(true);
                keep_alive(&socket, self.write_stall);
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

/// Who waits to be accepted when accepting fails.
enum Waiting {
    /// This client, which knows now that it does not get in, and may try elsewhere.
    Reset(SocketAddr),
    /// Nobody: without a descriptor the kernel fails before it looks.
    Nobody,
    /// That can't be told.
    OutOfReach,
}

impl Listener {
    /// Takes the next connection with the descriptor that was held back for this, and resets it: it would wait for a
    /// descriptor until its patience is over, and by then have nowhere else to go.
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
            // Another thread was faster to take the descriptor, or it is not descriptors that are missing.
            Some(Err(_)) => Waiting::OutOfReach,
            None => Waiting::Nobody,
        };
        self.reserve = reserve();
        waiting
    }
}

/// One descriptor, of a file that is on every system.
fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Ends a connection with RST, so that no state stays behind.
pub fn reset(socket: TcpStream) {
    // Failing means the socket is dead already.
    let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    drop(socket);
}

/// What a connection's first bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// A TLS handshake record.
    Tls,
    /// An HTTP method and a space.
    Http,
    /// A PROXY protocol header, version 1 or 2.
    Proxy,
    /// Anything else, also too little to tell.
    Other,
}

/// A connection's first bytes, read from the socket and to be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstBytes {
    /// At least one, at most [`FIRST_BYTES`].
    pub bytes: Vec<u8>,
    /// What they look like.
    pub looks: Looks,
}

impl FirstBytes {
    /// The bytes for a record's detail, as far as they tell a protocol.
    #[must_use]
    pub fn describe(&self) -> String {
        secrets::first_bytes(&self.bytes)
    }
}

/// Reads until the protocol can be told, the peer stops, or `deadline`.
///
/// # Errors
/// `tcp_probe` and `tcp_first_byte_timeout` when not one byte came; `tcp_reset_before_request`.
pub async fn first_bytes(socket: &mut TcpStream, deadline: Instant) -> Result<FirstBytes, Failure> {
    let mut bytes = Vec::new();
    let mut buffer = [0; FIRST_BYTES];
    loop {
        if let Some(looks) = classify(&bytes) {
            return Ok(FirstBytes { bytes, looks });
        }
        let room = buffer
            .get_mut(..FIRST_BYTES - bytes.len())
            .unwrap_or_default();
        match timeout_at(deadline, socket.read(room)).await {
            Ok(Ok(count)) if count > 0 => {
                bytes.extend_from_slice(room.get(..count).unwrap_or_default());
            }
            // Told here, as the system tells it once: the next stage would meet an orderly end.
            Ok(Err(error)) => {
                return Err(Failure::new(
                    Reason::TcpResetBeforeRequest,
                    error.to_string(),
                ));
            }
            // With a byte in hand the next stage knows better what its end or its silence means.
            _ if !bytes.is_empty() => {
                let looks = match bytes.first() {
                    Some(&TLS_HANDSHAKE) => Looks::Tls,
                    _ => Looks::Other,
                };
                return Ok(FirstBytes { bytes, looks });
            }
            Ok(Ok(_)) => return Err(Reason::TcpProbe.into()),
            Err(_) => return Err(Reason::TcpFirstByteTimeout.into()),
        }
    }
}

/// `None`: more bytes are needed to tell.
fn classify(bytes: &[u8]) -> Option<Looks> {
    let first = *bytes.first()?;
    if first == TLS_HANDSHAKE {
        // One byte would do to tell; the TLS stage and the record need the hello's version too, which a client that
        // sends in small pieces brings late.
        return (bytes.len() == FIRST_BYTES).then_some(Looks::Tls);
    }
    if let Some(head) = bytes.get(..PROXY_V2.len().min(bytes.len()))
        && PROXY_V2.starts_with(head)
    {
        return (head.len() == PROXY_V2.len()).then_some(Looks::Proxy);
    }
    match bytes.iter().position(|byte| !byte.is_ascii_uppercase()) {
        None if bytes.len() < FIRST_BYTES => None,
        Some(end) if bytes.get(end) == Some(&b' ') && end >= 3 => {
            Some(if bytes.starts_with(b"PROXY ") {
                Looks::Proxy
            } else {
                Looks::Http
            })
        }
        _ => Some(Looks::Other),
    }
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

    #[test]
    fn first_bytes_tell_the_protocol() {
        for (bytes, looks) in [
            (
                &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03random"[..16],
                Some(Looks::Tls),
            ),
            (b"\x16\x03\x01", None),
            (b"GET / HTTP/1.1\r\n", Some(Looks::Http)),
            (b"OPTIONS ", Some(Looks::Http)),
            (b"PRI * HTTP/2.0", Some(Looks::Http)),
            (b"GE", None),
            (b"", None),
            (b"PROXY TCP4 1.2.3", Some(Looks::Proxy)),
            (b"PROXY", None),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Some(Looks::Proxy)),
            (b"\r\n\r\n\0\r\nQUI", None),
            (b"\r\n\r\nGET", Some(Looks::Other)),
            (b"SSH-2.0-OpenSSH", Some(Looks::Other)),
            (b"get / ", Some(Looks::Other)),
            (b"\0\0\0", Some(Looks::Other)),
            (b"AAAAAAAAAAAAAAAA", Some(Looks::Other)),
        ] {
            assert_eq!(classify(bytes), looks, "{}", bytes.escape_ascii());
        }
    }
}
