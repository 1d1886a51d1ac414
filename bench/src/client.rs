//! The peers in front of the proxy: many connections, brought to one stage and held there.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::Failure;
use crate::backend::small_buffers;

/// Connections that are opened or closed at once: enough to keep the proxy busy, too few to be refused.
const AT_ONCE: usize = 32;

/// For one connection to be opened and used, and to be closed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a browser says of itself is kept for the record, so it is part of what a tunnel costs.
const ORIGIN: HeaderValue = HeaderValue::from_static("https://app.example.com");
const USER_AGENT: HeaderValue = HeaderValue::from_static(
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
);
/// Where the tunnels go.
const PATH: &str = "/stream";

/// How far a connection is brought before it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// A TCP connection on which nothing is sent.
    Silent,
    /// TLS is done and no request is sent.
    Tls,
    /// A request was sent and the backend has not answered.
    Pending,
    /// An open tunnel.
    Tunnel,
}

/// What the client does.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The proxy's port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// PEM file with the certificate to trust.
    #[arg(long)]
    certificate: PathBuf,
    /// How far connections are brought.
    #[arg(long)]
    stage: Stage,
    /// How many.
    #[arg(long)]
    connections: usize,
    /// Bytes of each message.
    #[arg(long)]
    size: usize,
    /// Messages that go there and back on each tunnel.
    #[arg(long)]
    messages: usize,
}

/// A connection that is held.
enum Held {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Tunnel(Box<WebSocketStream<TlsStream<TcpStream>>>),
}

/// Opens the connections, prints `open` and the seconds it took, holds them until standard input ends, closes them in
/// order and prints `closed`.
///
/// # Errors
/// The first connection that failed: a table of fewer connections than it says would be wrong.
pub async fn run(options: Options) -> Result<(), Failure> {
    let options = Arc::new(options);
    let tls = connector(&options)?;
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let started = Instant::now();
    let mut opening = JoinSet::new();
    for _ in 0..options.connections {
        let turn = Arc::clone(&turns).acquire_owned().await?;
        let (options, tls) = (Arc::clone(&options), tls.clone());
        opening.spawn(async move {
            let held = timeout(PATIENCE, open(&options, &tls)).await??;
            drop(turn);
            Ok::<_, Failure>(held)
        });
    }
    let mut held = Vec::with_capacity(options.connections);
    while let Some(opened) = opening.join_next().await {
        held.push(opened??);
    }
    println!("open {:.1}", started.elapsed().as_secs_f64());
    crate::input_ended().await;

    let mut closing = JoinSet::new();
    for one in held {
        let turn = Arc::clone(&turns).acquire_owned().await?;
        closing.spawn(async move {
            let closed = timeout(PATIENCE, close(one)).await?;
            drop(turn);
            closed
        });
    }
    while let Some(closed) = closing.join_next().await {
        closed??;
    }
    println!("closed");
    Ok(())
}

/// Full handshakes: what a resumed one costs depends on which connection came before.
fn connector(options: &Options) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&options.certificate)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn open(options: &Options, tls: &TlsConnector) -> Result<Held, Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    if options.stage == Stage::Silent {
        return Ok(Held::Tcp(socket));
    }
    let name = ServerName::try_from("localhost")?;
    let mut stream = tls.connect(name, socket).await?;
    if options.stage == Stage::Tls {
        return Ok(Held::Tls(Box::new(stream)));
    }
    let mut request = format!("wss://localhost:{}{PATH}", options.port).into_client_request()?;
    request.headers_mut().insert(header::ORIGIN, ORIGIN);
    request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
    if options.stage == Stage::Pending {
        let (head, _key) =
            tokio_tungstenite::tungstenite::handshake::client::generate_request(request)?;
        stream.write_all(&head).await?;
        stream.flush().await?;
        return Ok(Held::Tls(Box::new(stream)));
    }
    let (mut tunnel, _answer) =
        tokio_tungstenite::client_async_with_config(request, stream, Some(small_buffers())).await?;
    let payload = Bytes::from(vec![0x5a; options.size]);
    for _ in 0..options.messages {
        tunnel.send(Message::Binary(payload.clone())).await?;
        match tunnel.next().await {
            Some(Ok(Message::Binary(echo))) if echo == payload => {}
            Some(Ok(other)) => {
                return Err(format!("an echo of {} bytes differs", other.len()).into());
            }
            Some(Err(error)) => return Err(error.into()),
            None => return Err("a tunnel ended before its echo".into()),
        }
    }
    Ok(Held::Tunnel(Box::new(tunnel)))
}

/// Closes as a well-behaved peer does, and notices a connection that did not last.
async fn close(held: Held) -> Result<(), Failure> {
    match held {
        Held::Tcp(mut socket) => socket.shutdown().await?,
        Held::Tls(mut stream) => stream.shutdown().await?,
        Held::Tunnel(mut tunnel) => {
            // By its name: SinkExt has a `close` as well, which some features of its crate give the Box.
            WebSocketStream::close(&mut tunnel, None).await?;
            while let Some(message) = tunnel.next().await {
                message?;
            }
        }
    }
    Ok(())
}
