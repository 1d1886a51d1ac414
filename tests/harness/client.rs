//! Clients that send arbitrary bytes, with and without TLS.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::certs::Authority;
use super::proxy::{HOST, ORIGIN};

/// The key in RFC 6455's example, and its Accept value.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A connected client.
pub enum Client {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A socket whose reads and writes time out after [`PATIENCE`].
pub fn socket(address: SocketAddr) -> TcpStream {
    try_socket(address).unwrap()
}

/// The same if the proxy may turn the connection away: on a loaded machine its reset can arrive before connect()
/// returns, which then fails.
pub fn try_socket(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// A client configuration that trusts the tests' authority.
pub fn trusting() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(Authority::shared().der()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

impl Client {
    pub fn plain(address: SocketAddr) -> Self {
        Self::Plain(socket(address))
    }

    /// A connection from another address of this machine.
    pub fn plain_from(ip: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::Plain(socket)
    }

    /// A completed TLS handshake for [`HOST`].
    pub fn tls(address: SocketAddr) -> Self {
        Self::tls_with(address, HOST, trusting()).unwrap()
    }

    /// A TLS handshake with this configuration.
    pub fn tls_with(address: SocketAddr, name: &str, config: ClientConfig) -> io::Result<Self> {
        Self::tls_over(try_socket(address)?, name, config)
    }

    /// The same over a connection that has already been used.
    pub fn tls_over(mut socket: TcpStream, name: &str, config: ClientConfig) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, socket))))
    }

    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Writes bytes and flushes them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.write_all(bytes.as_ref()).unwrap();
        self.flush().unwrap();
        self
    }

    /// Reads exactly `count` bytes.
    pub fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads one response: its head, and the body that it announces or that arrives until the end.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        let mut response = self.response_head();
        if response.status != 101 {
            response.body = match response.field("content-length") {
                Some(length) => self.receive(length.parse().unwrap()),
                None if response.field("transfer-encoding") == Some("chunked") => self.chunks(),
                None => self.rest(),
            };
        }
        response
    }

    /// Reads the head of a response.
    #[track_caller]
    pub fn response_head(&mut self) -> Response {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            let count = self.read(&mut byte).unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&head));
            });
            assert_eq!(
                count,
                1,
                "the stream ended after {:?}",
                String::from_utf8_lossy(&head)
            );
            head.push(byte[0]);
        }
        Response::parse(&head)
    }

    /// Reads a chunked body; a body that is cut off has no last chunk and gets [`CUT`] instead.
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                let mut byte = [0];
                if !matches!(self.read(&mut byte), Ok(1)) {
                    body.extend_from_slice(CUT);
                    return body;
                }
                line.push(byte[0]);
            }
            let size = std::str::from_utf8(&line).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            let mut chunk = vec![0; size + 2];
            if self.read_exact(&mut chunk).is_err() {
                body.extend_from_slice(CUT);
                return body;
            }
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Reads until the end; a reset or a truncated TLS stream also counts as the end.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ) => {}
            Err(error) => panic!("{error} after {} bytes", bytes.len()),
        }
        bytes
    }

    /// Closes our sending side cleanly, first in TLS and then in TCP. The other side may still send.
    pub fn finish(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
        match self.tcp().shutdown(Shutdown::Write) {
            // The proxy has reset the connection in the meantime, which is an end too.
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            ended => ended.unwrap(),
        }
    }

    /// Ends TCP without a TLS close_notify.
    pub fn truncate(&self) {
        self.tcp().shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        socket2::SockRef::from(self.tcp())
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

impl Read for Client {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buf),
            Self::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Client {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(buf),
            Self::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Marks the end of a chunked body that ended before its last chunk.
pub const CUT: &[u8] = b"<cut>";

/// A response as received.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// The first line, as received.
    pub line: String,
    /// The head's lines after the first, as received.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    fn parse(head: &[u8]) -> Self {
        let text = std::str::from_utf8(head).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap();
                (name.to_owned(), value.trim().to_owned())
            })
            .collect();
        Self {
            status,
            line,
            fields,
            body: Vec::new(),
        }
    }

    /// The value of a field that occurs once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self
            .fields
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is repeated: {self:?}");
        value
    }

    /// All values of a field, in order.
    pub fn fields_named(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// The opening handshake that [`super::Setup`] admits, with `changes`: each replaces the field of that name, or adds
/// it; an empty value removes it.
pub fn handshake(path: &str, changes: &[(&str, &str)]) -> String {
    let fields = [
        ("Host", HOST),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
        ("Origin", ORIGIN),
    ];
    let mut request = format!("GET {path} HTTP/1.1\r\n");
    let changed = |name: &str| {
        changes
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    for (name, value) in fields.iter().filter(|(name, _)| !changed(name)) {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    for (name, value) in changes.iter().filter(|(_, value)| !value.is_empty()) {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    request + "\r\n"
}

/// Whether the proxy has read everything that was sent on a socket, including its end: both kernel queues are empty.
pub fn is_read(socket: &TcpStream) -> bool {
    let own = socket.local_addr().unwrap();
    let proxy = socket.peer_addr().unwrap();
    let is_empty = |local: SocketAddr, remote: SocketAddr, which: usize| {
        let sizes = kernel_column(local, remote, 4).unwrap();
        sizes.split(':').nth(which).unwrap() == "00000000"
    };
    is_empty(own, proxy, 0) && is_empty(proxy, own, 1)
}

/// The timer that the kernel runs for the socket with these ends, and when it fires.
pub fn kernel_timer(local: SocketAddr, remote: SocketAddr) -> Option<(u8, Duration)> {
    let timer = kernel_column(local, remote, 5)?;
    let (kind, ticks) = timer.split_once(':').unwrap();
    let ticks = u64::from_str_radix(ticks, 16).unwrap();
    // The kernel reports hundredths of a second.
    let left = Duration::from_millis(ticks * 10);
    Some((u8::from_str_radix(kind, 16).unwrap(), left))
}

/// Whether someone is connecting to this address and has no answer.
pub fn is_dialled(to: SocketAddr) -> bool {
    /// `SYN_SENT` in `/proc/net/tcp`.
    const DIALLING: &str = "02";
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let wanted = [hexadecimal(to).as_str(), DIALLING].join(" ");
    sockets.lines().any(|line| line.contains(&wanted))
}

/// A column of `/proc/net/tcp` for the socket with these ends; `None` if there is no such socket.
fn kernel_column(local: SocketAddr, remote: SocketAddr, column: usize) -> Option<String> {
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = format!("{} {}", hexadecimal(local), hexadecimal(remote));
    let line = sockets.lines().find(|line| line.contains(&ends))?;
    let found = line.split_ascii_whitespace().nth(column).unwrap();
    Some(found.to_owned())
}

/// Makes the peer of this socket seem dead: from now on nothing that arrives is seen or acknowledged. The kernel still
/// sends what is written.
pub fn vanish(socket: &TcpStream) {
    // The filter's only instruction: BPF_RET of the constant 0, "keep no byte of this packet".
    const RETURN_CONSTANT: u16 = 0x06;
    let nothing = socket2::SockFilter::new(RETURN_CONSTANT, 0, 0, 0);
    socket2::SockRef::from(socket)
        .attach_filter(&[nothing])
        .unwrap();
}

/// An address in the form of `/proc/net/tcp`: the four bytes as one number in the machine's byte order.
fn hexadecimal(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else {
        panic!("{address} is not IPv4")
    };
    let ip = u32::from_ne_bytes(address.ip().octets());
    format!("{ip:08X}:{:04X}", address.port())
}
