//! The clients in front of the proxy: many connections, each brought to one stage and held there.

mod http2;

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
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::Failure;
use crate::wire::{ORIGIN, STREAM, USER_AGENT};

/// How many connections are opened or closed at a time: enough to keep the proxy busy, too few to be refused.
const AT_ONCE: usize = 32;

/// How long opening and using one connection may take, and how long closing it may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The stage to which a connection is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// A TCP connection without a byte.
    Silent,
    /// A finished TLS handshake without a request.
    Tls,
    /// A request that the backend has not answered.
    Pending,
    /// The same, with the largest possible head, in one field.
    Head,
    /// The same, with the largest possible head, in as many fields as possible.
    Fields,
    /// Like `pending`, with 16 KiB sent before the answer.
    Ahead,
    /// Like `head`, with 16 KiB sent before the answer.
    HeadAhead,
    /// Like `fields`, with 16 KiB sent before the answer.
    FieldsAhead,
    /// A plain request with a body that the backend does not read.
    Upload,
    /// The same, with a large head in many fields.
    FieldsUpload,
    /// The same, with a chunked body of which only extensions and trailers arrived, but not the end.
    FieldsChunks,
    /// An unanswered plain request with a large head in many fields, which is kept in case another endpoint has to be
    /// tried.
    Kept,
    /// The same, with 16 KiB sent before the answer.
    KeptAhead,
    /// A plain request with a body that the backend does not read, and with an answer that the client does not read.
    UploadDownload,
    /// A plain request whose answer is not read.
    Download,
    /// The same, with a large head in many fields and 16 KiB sent before the answer.
    FieldsDownload,
    /// A tunnel whose backend reads nothing; as much was sent as the proxy accepted.
    TunnelStuck,
    /// A tunnel whose backend sends as much as the proxy accepts, to a client that reads nothing.
    TunnelUnread,
    /// A tunnel on which both sides send as much as the proxy accepts, and neither reads.
    TunnelBothStuck,
    /// An open tunnel.
    Tunnel,
}

impl Stage {
    /// Whether a request is sent, so that the proxy needs a second socket.
    pub fn has_request(self) -> bool {
        !matches!(self, Self::Silent | Self::Tls)
    }

    /// The request of a client that tries to cost much, and whether it sends early bytes; `None` for the other stages.
    fn hostile(self) -> Option<(Vec<u8>, bool)> {
        let opening = format!(
            "GET {STREAM} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {ORIGIN}\r\n"
        );
        let post =
            "POST /plain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n".to_owned();
        let both =
            "PUT /plain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n".to_owned();
        let chunks = "POST /plain HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n";
        let get = "GET /plain HTTP/1.1\r\nHost: localhost\r\n".to_owned();
        let kept = "GET /kept HTTP/1.1\r\nHost: localhost\r\n".to_owned();
        let (begun, is_one_field, is_full, is_ahead) = match self {
            Self::Head => (opening, true, true, false),
            Self::Fields => (opening, false, true, false),
            Self::Ahead => (opening, true, false, true),
            Self::HeadAhead => (opening, true, true, true),
            Self::FieldsAhead => (opening, false, true, true),
            Self::Upload => (post, true, false, false),
            Self::FieldsUpload => (post, false, true, false),
            Self::FieldsChunks => (chunks.to_owned(), false, true, false),
            Self::Kept => (kept, false, true, false),
            Self::KeptAhead => (kept, false, true, true),
            Self::UploadDownload => (both, true, false, false),
            Self::Download => (get, true, false, false),
            Self::FieldsDownload => (get, false, true, true),
            Self::Silent
            | Self::Tls
            | Self::Pending
            | Self::TunnelStuck
            | Self::TunnelUnread
            | Self::TunnelBothStuck
            | Self::Tunnel => {
                return None;
            }
        };
        let mut head = begun;
        let room = LARGEST_HEAD.saturating_sub(head.len() + "\r\n".len());
        if is_full && is_one_field {
            let value = room.saturating_sub("X-Pad: \r\n".len());
            head.push_str(&format!("X-Pad: {}\r\n", "x".repeat(value)));
        } else if is_full {
            let each = room / FIELDS;
            let value = each.saturating_sub("X-00: \r\n".len());
            for number in 10..10 + FIELDS {
                head.push_str(&format!("X-{number}: {}\r\n", "x".repeat(value)));
            }
        }
        head.push_str("\r\n");
        Some((head.into_bytes(), is_ahead))
    }
}

/// The proxy's default for `limits.header_bytes`.
const LARGEST_HEAD: usize = 16 * 1024;

/// Fields in addition to those of a handshake; a head may have 100.
const FIELDS: usize = 90;

/// The number of early bytes.
const AHEAD: usize = 16 * 1024;

/// If nothing is accepted for this long, nothing more will be.
const UNTAKEN: Duration = Duration::from_millis(500);

/// The largest amount of extensions and trailers that a chunked body may have, without its end.
fn begun_chunks() -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..4 {
        body.extend(format!("1;{}\r\nx\r\n", "e".repeat(4000)).into_bytes());
    }
    body.extend(b"0\r\n");
    for number in 10..10 + FIELDS {
        body.extend(format!("X-{number}: {}\r\n", "t".repeat(160)).into_bytes());
    }
    body
}

/// The options of the client.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The proxy's port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// PEM file with the certificate to trust.
    #[arg(long)]
    certificate: PathBuf,
    /// The stage to which connections are brought.
    #[arg(long)]
    stage: Stage,
    /// How many connections, or tunnels over HTTP/2.
    #[arg(long)]
    connections: usize,
    /// Open the tunnels over HTTP/2, so many on each connection.
    #[arg(long, value_name = "STREAMS")]
    http2: Option<usize>,
    /// Bytes in each message.
    #[arg(long)]
    size: usize,
    /// How many messages each tunnel echoes.
    #[arg(long)]
    messages: usize,
}

/// A connection that is held open.
enum Held {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Has bytes under way, so it can't be closed cleanly.
    Stuck(Box<TlsStream<TcpStream>>),
    Tunnel(Box<WebSocketStream<TlsStream<TcpStream>>>),
    Http2(http2::Connection),
}

/// Opens the connections, prints `open` and the seconds that it took, holds them until standard input ends, closes them
/// cleanly and prints `closed`.
///
/// # Errors
/// If any connection fails: a table for fewer connections than it says would be wrong.
pub async fn run(options: Options) -> Result<(), Failure> {
    let options = Arc::new(options);
    let tls = connector(&options)?;
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let started = Instant::now();
    let mut opening = JoinSet::new();
    let each = options.http2.unwrap_or(1).max(1);
    let mut left = options.connections;
    while left > 0 {
        let tunnels = each.min(left);
        left -= tunnels;
        let places = u32::try_from(tunnels.min(AT_ONCE))?;
        let turn = Arc::clone(&turns).acquire_many_owned(places).await?;
        let (options, tls) = (Arc::clone(&options), tls.clone());
        opening.spawn(async move {
            let held = timeout(PATIENCE, open(&options, &tls, tunnels)).await??;
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

/// Makes full handshakes only: the cost of a resumed one depends on the connections before it.
fn connector(options: &Options) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&options.certificate)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![match options.http2 {
        Some(_) => b"h2".to_vec(),
        None => b"http/1.1".to_vec(),
    }];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The library's default buffer of 128 KiB is too large for thousands of idle connections.
fn small_buffers() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
}

/// Opens a connection; `tunnels` is how many it carries, which is 1 without HTTP/2.
async fn open(options: &Options, tls: &TlsConnector, tunnels: usize) -> Result<Held, Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    if options.stage == Stage::Silent {
        return Ok(Held::Tcp(socket));
    }
    let name = ServerName::try_from("localhost")?;
    let mut stream = tls.connect(name, socket).await?;
    if options.http2.is_some() {
        let connection = http2::Connection::open(stream, options, tunnels).await?;
        return Ok(Held::Http2(connection));
    }
    if options.stage == Stage::Tls {
        return Ok(Held::Tls(Box::new(stream)));
    }
    if let Some((head, is_ahead)) = options.stage.hostile() {
        stream.write_all(&head).await?;
        stream.flush().await?;
        // Early bytes that arrive together with the head would be refused.
        tokio::time::sleep(Duration::from_millis(200)).await;
        if is_ahead {
            stream.write_all(&[b'x'; AHEAD]).await?;
            stream.flush().await?;
        }
        if options.stage == Stage::FieldsChunks {
            stream.write_all(&begun_chunks()).await?;
            stream.flush().await?;
        }
        if matches!(
            options.stage,
            Stage::Upload | Stage::FieldsUpload | Stage::UploadDownload
        ) {
            let piece = [b'x'; 16 * 1024];
            while timeout(UNTAKEN, stream.write_all(&piece))
                .await
                .is_ok_and(|sent| sent.is_ok())
            {}
        }
        return Ok(Held::Stuck(Box::new(stream)));
    }
    let mut request = format!("wss://localhost:{}{STREAM}", options.port).into_client_request()?;
    request
        .headers_mut()
        .insert(header::ORIGIN, HeaderValue::from_static(ORIGIN));
    let agent = HeaderValue::from_static(USER_AGENT);
    request.headers_mut().insert(header::USER_AGENT, agent);
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
    if options.stage == Stage::TunnelUnread {
        return Ok(Held::Stuck(Box::new(tunnel.into_inner())));
    }
    if matches!(options.stage, Stage::TunnelStuck | Stage::TunnelBothStuck) {
        while timeout(UNTAKEN, tunnel.send(Message::Binary(payload.clone())))
            .await
            .is_ok_and(|sent| sent.is_ok())
        {}
        return Ok(Held::Stuck(Box::new(tunnel.into_inner())));
    }
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

/// Closes like a well-behaved peer, and notices if the connection did not last.
async fn close(held: Held) -> Result<(), Failure> {
    match held {
        Held::Tcp(mut socket) => socket.shutdown().await?,
        Held::Tls(mut stream) => stream.shutdown().await?,
        Held::Stuck(stream) => drop(stream),
        Held::Http2(connection) => connection.close().await?,
        Held::Tunnel(mut tunnel) => {
            // Called by its full name, because SinkExt also has a `close`, which some features of its crate implement
            // for Box.
            WebSocketStream::close(&mut tunnel, None).await?;
            while let Some(message) = tunnel.next().await {
                message?;
            }
        }
    }
    Ok(())
}
