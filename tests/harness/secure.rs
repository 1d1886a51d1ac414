//! Upstreams with TLS and on unix sockets.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::certs::{Authority, Kind};
use super::upstream::switching;
use super::{PATIENCE, frames};

/// The TLS stream of a connection to a [`SecureUpstream`].
pub type SecureStream = StreamOwned<ServerConnection, TcpStream>;

/// How a connection to an upstream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The handshake failed or no request arrived.
    Failed(String),
    /// The proxy ended it cleanly, in TLS by close_notify.
    Ended,
    /// It ended without close_notify.
    Cut(String),
}

/// What an upstream has seen on its connections.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The server names that clients asked for.
    pub names: Vec<Option<String>>,
    /// The protocols that ALPN selected.
    pub protocols: Vec<Option<Vec<u8>>>,
    pub heads: Vec<String>,
    pub endings: Vec<Ending>,
}

/// An echo server with TLS.
pub struct SecureUpstream {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// A server configuration with a certificate of `authority` for `names`.
pub fn config(authority: &Authority, names: &[&str], kind: Kind) -> ServerConfig {
    config_with(authority, names, kind, rustls::ALL_VERSIONS, None)
}

/// The same with these versions, and with the authority whose certificates clients must have.
pub fn config_with(
    authority: &Authority,
    names: &[&str],
    kind: Kind,
    versions: &[&'static rustls::SupportedProtocolVersion],
    clients: Option<&Authority>,
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (chain, key) = authority.issue(names, kind);
    let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

impl SecureUpstream {
    /// Echoes, with a good certificate for `127.0.0.1`.
    pub fn echo() -> Self {
        Self::start(config(Authority::shared(), &["127.0.0.1"], Kind::Good))
    }

    /// Echoes with this configuration.
    pub fn start(config: ServerConfig) -> Self {
        Self::handling(config, |mut stream| {
            let head = converse(&mut stream)?;
            Ok((head, stream))
        })
    }

    /// Passes each connection to `handle`, which returns the request's head; then waits for its end.
    pub fn handling(
        config: ServerConfig,
        handle: impl Fn(SecureStream) -> io::Result<(String, SecureStream)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let kept = Arc::clone(&seen);
        let (config, handle) = (Arc::new(config), Arc::new(handle));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (config, handle) = (Arc::clone(&config), Arc::clone(&handle));
                let seen = Arc::clone(&kept);
                std::thread::spawn(move || {
                    let ending = serve(socket.unwrap(), config, &*handle, &seen);
                    seen.lock().unwrap().endings.push(ending);
                });
            }
        });
        Self { address, seen }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until `count` connections have ended; gives how they ended.
    #[track_caller]
    pub fn endings(&self, count: usize) -> Vec<Ending> {
        super::eventually("the end of the upstream's connections", || {
            let endings = self.seen().endings;
            (endings.len() >= count).then_some(endings)
        })
    }
}

fn serve(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    handle: &(impl Fn(SecureStream) -> io::Result<(String, SecureStream)> + ?Sized),
    seen: &Mutex<Seen>,
) -> Ending {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    while stream.conn.is_handshaking() {
        if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
            return Ending::Failed(error.to_string());
        }
    }
    {
        let mut seen = seen.lock().unwrap();
        seen.names
            .push(stream.conn.server_name().map(str::to_owned));
        seen.protocols
            .push(stream.conn.alpn_protocol().map(<[u8]>::to_vec));
    }
    let (head, mut stream) = match handle(stream) {
        Ok(handled) => handled,
        Err(error) => return Ending::Failed(error.to_string()),
    };
    seen.lock().unwrap().heads.push(head);
    match io::copy(&mut stream, &mut io::sink()) {
        Ok(_) => Ending::Ended,
        Err(error) => Ending::Cut(error.to_string()),
    }
}

/// Reads a request head, answers 101, echoes all frames including a Close, and ends this side. Gives the head.
pub fn converse(stream: &mut (impl Read + Write)) -> io::Result<String> {
    let head = switch(stream)?;
    let both = RefCell::new(stream);
    frames::echo(&mut Half(&both), &mut Half(&both))?;
    both.into_inner().flush()?;
    Ok(head)
}

/// Reads a request head and answers 101.
pub fn switch(stream: &mut (impl Read + Write)) -> io::Result<String> {
    let head = read_head(stream)?;
    stream.write_all(switching(&head, "").as_bytes())?;
    stream.flush()?;
    Ok(head)
}

/// Reads a request head.
pub fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head).unwrap())
}

/// The reading half or the writing half of one stream.
struct Half<'a, S>(&'a RefCell<S>);

impl<S: Read> Read for Half<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

impl<S: Write> Write for Half<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

/// Echoes on a unix socket at `path`.
pub fn echo_on_unix(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            std::thread::spawn(move || {
                // The record says how it ended.
                if converse(&mut socket).is_ok() {
                    let _ = io::copy(&mut socket, &mut io::sink());
                }
            });
        }
    });
}
