//! Upstreams that send exactly the bytes that a test wants.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use sha1::{Digest, Sha1};

use super::{PATIENCE, frames};

/// A listening upstream. A function of the test handles each connection in its own thread.
pub struct Upstream {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
    finished: Arc<Mutex<usize>>,
}

/// A connection whose request head was read.
pub struct Call {
    pub socket: TcpStream,
    /// The head as received, including the empty line.
    pub head: String,
}

impl Upstream {
    /// Reads each request head, keeps it, and calls `handle`.
    pub fn start(handle: impl Fn(Call) + Send + Sync + 'static) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST, handle)
    }

    /// The same on another address of this machine.
    pub fn start_on(ip: Ipv4Addr, handle: impl Fn(Call) + Send + Sync + 'static) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let mut upstream = Self::raw_on(ip, move |mut socket| {
            let head = String::from_utf8(head_bytes(&mut socket)).unwrap();
            kept.lock().unwrap().push(head.clone());
            handle(Call { socket, head });
        });
        upstream.heads = heads;
        upstream
    }

    /// Passes each connection to `handle` before anything is read.
    pub fn raw(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::raw_on(Ipv4Addr::LOCALHOST, handle)
    }

    /// The same on another address of this machine.
    pub fn raw_on(ip: Ipv4Addr, handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, finished) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
        let (counted, ended) = (Arc::clone(&connections), Arc::clone(&finished));
        let handle = Arc::new(handle);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.set_nodelay(true).unwrap();
                *counted.lock().unwrap() += 1;
                let (handle, ended) = (Arc::clone(&handle), Arc::clone(&ended));
                std::thread::spawn(move || {
                    handle(socket);
                    *ended.lock().unwrap() += 1;
                });
            }
        });
        Self {
            address,
            heads: Arc::default(),
            connections,
            finished,
        }
    }

    /// Answers every handshake with a correct 101 and echoes every frame.
    pub fn echo() -> Self {
        Self::start(|mut call| {
            call.switch("");
            call.echo();
        })
    }

    /// Answers every request with these bytes, then closes cleanly after the peer has.
    pub fn answering(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self::start(move |mut call| {
            call.socket.write_all(bytes.as_ref()).unwrap();
            call.drain();
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The request heads received so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Waits until every connection so far has been handled. If the handlers read until the peer ends, the proxy has
    /// then closed all connections.
    #[track_caller]
    pub fn all_ended(&self) {
        super::eventually("the end of all upstream connections", || {
            (*self.finished.lock().unwrap() == self.connections()).then_some(())
        });
    }
}

impl Call {
    /// A field's value in the request.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// Writes a correct 101 with `more` field lines.
    pub fn switch(&mut self, more: &str) -> &mut Self {
        let response = switching(&self.head, more);
        self.socket.write_all(response.as_bytes()).unwrap();
        self
    }

    /// Echoes every frame, unmasked, until the end; after a Close frame this side ends first.
    ///
    /// # Panics
    /// As [`more`], and for an unmasked frame.
    pub fn echo(&mut self) {
        match frames::echo(&mut BufReader::new(&self.socket), &mut &self.socket) {
            Ok(()) => {
                // The proxy may already be gone.
                let _ = self.socket.shutdown(Shutdown::Write);
                self.drain();
            }
            Err(error) => expect_in_time(&error),
        }
    }

    /// Reads until the peer ends; gives what arrived.
    pub fn drain(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while let Some(count) = more(&mut self.socket, &mut buffer) {
            all.extend_from_slice(&buffer[..count]);
        }
        all
    }

    /// Writes; a peer that is already gone is not an error.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.socket.write_all(bytes.as_ref());
        self
    }

    /// Reads exactly `count` bytes.
    pub fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.socket.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Closes our sending side cleanly; the peer may still send.
    pub fn finish(&mut self) -> &mut Self {
        self.socket.shutdown(Shutdown::Write).unwrap();
        self
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

/// Some bytes, or `None` at the end or after an error.
///
/// # Panics
/// After [`PATIENCE`]: there was no end, and the caller must not believe that there was.
fn more(socket: &mut TcpStream, buffer: &mut [u8]) -> Option<usize> {
    match socket.read(buffer) {
        Ok(0) => None,
        Ok(count) => Some(count),
        Err(error) => {
            expect_in_time(&error);
            None
        }
    }
}

fn expect_in_time(error: &io::Error) {
    let is_late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    assert!(!is_late, "the proxy neither sent nor ended in {PATIENCE:?}");
}

/// An address of this machine on which nothing listens while this value lives.
pub struct Nobody(socket2::Socket);

impl Nobody {
    pub fn new() -> Self {
        Self::on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// The same on another address of this machine.
    pub fn on(address: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&address.into()).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

/// A listener whose backlog is full: the kernel drops further connection attempts without an answer.
pub struct Full {
    socket: socket2::Socket,
    _waiting: Vec<TcpStream>,
}

impl Full {
    pub fn new() -> Self {
        Self::on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// The same on another address of this machine.
    pub fn on(address: SocketAddr) -> Self {
        let Nobody(socket) = Nobody::on(address);
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        // The backlog accepts a few; the first that gets no answer shows that it is full.
        while let Ok(socket) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(socket);
            assert!(waiting.len() < 64, "this system's backlogs never fill");
        }
        Self {
            socket,
            _waiting: waiting,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap().as_socket().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

/// The value of a field in a raw head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// A correct 101 for a request head, with `more` field lines, each ending in CRLF.
pub fn switching(head: &str, more: &str) -> String {
    let key = field(head, "sec-websocket-key").unwrap();
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// Reads a head as bytes, so the upstream accepts anything that a test wants to inspect.
pub fn head_bytes(socket: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    head
}
