//! Upstreams that do exactly what a test wants, with raw bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use sha1::{Digest, Sha1};

use super::PATIENCE;

/// A listening upstream. Each connection is handled by the test's function in a thread of its own.
pub struct Upstream {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

/// A connection whose request head was read.
pub struct Call {
    pub socket: TcpStream,
    /// The head as it came, the empty line included.
    pub head: String,
}

impl Upstream {
    /// Reads each request head, keeps it, and calls `handle`.
    pub fn start(handle: impl Fn(Call) + Send + Sync + 'static) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let mut upstream = Self::raw(move |mut socket| {
            let head = read_head(&mut socket);
            kept.lock().unwrap().push(head.clone());
            handle(Call { socket, head });
        });
        upstream.heads = heads;
        upstream
    }

    /// Calls `handle` with each connection, nothing read.
    pub fn raw(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&connections);
        let handle = Arc::new(handle);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.set_nodelay(true).unwrap();
                *counted.lock().unwrap() += 1;
                let handle = Arc::clone(&handle);
                std::thread::spawn(move || handle(socket));
            }
        });
        Self {
            address,
            heads: Arc::default(),
            connections,
        }
    }

    /// Answers every handshake with a correct 101 and sends back every byte.
    pub fn echo() -> Self {
        Self::start(|mut call| {
            call.switch("");
            call.echo();
        })
    }

    /// Answers every request with these bytes, then closes in order once the peer has.
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

    /// Sends back every byte until the end.
    pub fn echo(&mut self) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = self.socket.read(&mut buffer) {
            if self.socket.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    }

    /// Reads and throws away until the peer ends.
    pub fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while matches!(self.socket.read(&mut buffer), Ok(1..)) {}
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

/// The value of a field in a raw head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// A correct 101 for a request head, with `more` field lines (each ending in CRLF).
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

fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(head).unwrap()
}
