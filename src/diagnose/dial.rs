//! Names, addresses and sockets with a deadline.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::finding::Finding;

/// What went wrong, and its facts.
pub type Fault = (Finding, String);

/// All addresses of a name, each once.
///
/// # Errors
/// `dns_failed`.
pub fn resolve(host: &str, port: u16, timeout: Duration) -> Result<Vec<SocketAddr>, Fault> {
    // The system's look-up has no deadline, so it runs on a thread that may be left behind.
    let (sender, receiver) = mpsc::channel();
    let name = host.to_owned();
    thread::spawn(move || sender.send((name.as_str(), port).to_socket_addrs().map(Vec::from_iter)));
    let failed = |detail| Err((Finding::DnsFailed, detail));
    match receiver.recv_timeout(timeout) {
        Ok(Ok(mut addresses)) => {
            let mut seen = Vec::new();
            addresses.retain(|address| {
                let is_new = !seen.contains(address);
                seen.push(*address);
                is_new
            });
            match addresses.is_empty() {
                true => failed(format!("{host} has no address")),
                false => Ok(addresses),
            }
        }
        Ok(Err(error)) => failed(format!("{host}: {error}")),
        Err(_) => failed(format!("{host}: no answer within {timeout:?}")),
    }
}

/// Connects.
///
/// # Errors
/// Why there is no connection.
pub fn dial(address: SocketAddr, timeout: Duration) -> Result<Timed, Fault> {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut,
    };
    match TcpStream::connect_timeout(&address, timeout) {
        Ok(socket) => {
            // Small frames must not wait. On a dead socket the next write fails.
            let _ = socket.set_nodelay(true);
            Ok(Timed {
                socket,
                deadline: Instant::now() + timeout,
            })
        }
        Err(error) => {
            let finding = match error.kind() {
                ConnectionRefused => Finding::Refused,
                ConnectionReset => Finding::Reset,
                TimedOut | io::ErrorKind::WouldBlock => Finding::ConnectTimeout,
                HostUnreachable | NetworkUnreachable => Finding::Unreachable,
                _ => Finding::ConnectFailed,
            };
            Err((finding, format!("{address}: {error}")))
        }
    }
}

/// A socket on which no read or write goes beyond a deadline.
#[derive(Debug)]
pub struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Timed {
    /// Allows this much time from now on.
    pub fn allow(&mut self, time: Duration) {
        self.deadline = Instant::now() + time;
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }
}

/// A socket's own time limit is reported in another way than the deadline.
fn timed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(buffer).map_err(timed)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(buffer).map_err(timed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// A plain or a secured connection.
pub enum Stream {
    /// Plain TCP.
    Plain(Timed),
    /// TLS.
    Secured(Box<crate::tls::probe::Secured<crate::tls::probe::Watched<Timed>>>),
}

impl Stream {
    /// Allows this much time from now on.
    pub fn allow(&mut self, time: Duration) {
        match self {
            Self::Plain(socket) => socket.allow(time),
            Self::Secured(stream) => stream.sock.socket_mut().allow(time),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Secured(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(buffer),
            Self::Secured(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Secured(stream) => stream.flush(),
        }
    }
}
