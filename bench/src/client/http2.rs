//! A connection with tunnels over HTTP/2 (RFC 8441).

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use h2::client::{Builder, SendRequest};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Bytes;
use tokio_tungstenite::tungstenite::http::{Method, Request, Version, header};

use super::Options;
use crate::Failure;
use crate::wire::{self, ORIGIN, STREAM, USER_AGENT};

/// How often to look whether the proxy's settings have come, which the library does not report.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The masking key of all frames. Real ones are random.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The payload of a Close frame: the code 1000.
const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// An open connection and its tunnels.
pub struct Connection {
    requests: SendRequest<Bytes>,
    tunnels: Vec<Tunnel>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// What every tunnel sends, and what has to come back.
struct Exchange {
    message: Bytes,
    echo: Vec<u8>,
    times: usize,
}

struct Tunnel {
    send: SendStream<Bytes>,
    receive: RecvStream,
}

impl Connection {
    /// Opens all tunnels of a connection, each of which echoes its messages.
    ///
    /// # Errors
    /// If the proxy does not offer HTTP/2 or WebSockets over it, a tunnel is refused, or an echo differs.
    pub async fn open(
        stream: TlsStream<TcpStream>,
        options: &Options,
        tunnels: usize,
    ) -> Result<Self, Failure> {
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err("the proxy did not choose h2".into());
        }
        let (requests, connection) = Builder::new().handshake(stream).await?;
        let driver = tokio::spawn(connection);
        while !requests.is_extended_connect_protocol_enabled() {
            if driver.is_finished() {
                driver.await??;
                return Err("the proxy ended a connection without a request".into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let payload = vec![0x5a; options.size];
        let exchange = Arc::new(Exchange {
            message: wire::frame(wire::BINARY, &payload, Some(KEY)).into(),
            echo: wire::frame(wire::BINARY, &payload, None),
            times: options.messages,
        });
        let mut opening = JoinSet::new();
        for _ in 0..tunnels {
            let requests = requests.clone().ready().await?;
            opening.spawn(Tunnel::open(requests, options.port, Arc::clone(&exchange)));
        }
        let mut opened = Vec::with_capacity(tunnels);
        while let Some(tunnel) = opening.join_next().await {
            opened.push(tunnel??);
        }
        Ok(Self {
            requests,
            tunnels: opened,
            driver,
        })
    }

    /// Closes all tunnels, and then the connection.
    ///
    /// # Errors
    /// If a tunnel did not last, or does not end in order.
    pub async fn close(self) -> Result<(), Failure> {
        for tunnel in self.tunnels {
            tunnel.close().await?;
        }
        drop(self.requests);
        Ok(self.driver.await??)
    }
}

impl Tunnel {
    async fn open(
        mut requests: SendRequest<Bytes>,
        port: u16,
        exchange: Arc<Exchange>,
    ) -> Result<Self, Failure> {
        let request = Request::builder()
            .method(Method::CONNECT)
            .version(Version::HTTP_2)
            .uri(format!("https://localhost:{port}{STREAM}"))
            .extension(Protocol::from_static("websocket"))
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::ORIGIN, ORIGIN)
            .header(header::USER_AGENT, USER_AGENT)
            .body(())?;
        let (answer, send) = requests.send_request(request, false)?;
        let answer = answer.await?;
        if answer.status() != 200 {
            return Err(format!("a tunnel was refused with {}", answer.status()).into());
        }
        let receive = answer.into_body();
        let mut tunnel = Self { send, receive };
        for _ in 0..exchange.times {
            tunnel.send(exchange.message.clone()).await?;
            tunnel.expect(&exchange.echo).await?;
        }
        Ok(tunnel)
    }

    /// Sends bytes as the proxy allows them.
    async fn send(&mut self, mut bytes: Bytes) -> Result<(), Failure> {
        while !bytes.is_empty() {
            self.send.reserve_capacity(bytes.len());
            let room = poll_fn(|cx| self.send.poll_capacity(cx)).await;
            let room = room.ok_or("a tunnel ended while it sent")??;
            self.send
                .send_data(bytes.split_to(room.min(bytes.len())), false)?;
        }
        Ok(())
    }

    /// Reads exactly these bytes.
    async fn expect(&mut self, mut wanted: &[u8]) -> Result<(), Failure> {
        while !wanted.is_empty() {
            let piece = self.receive.data().await;
            let piece = piece.ok_or("a tunnel ended before its echo")??;
            wanted = wanted
                .strip_prefix(&piece[..])
                .ok_or("an echo differs from its message")?;
            self.receive.flow_control().release_capacity(piece.len())?;
        }
        Ok(())
    }

    /// Closes like a well-behaved peer.
    async fn close(mut self) -> Result<(), Failure> {
        let close = wire::frame(wire::CLOSE, &NORMAL, Some(KEY));
        self.send(close.into()).await?;
        self.expect(&wire::frame(wire::CLOSE, &NORMAL, None))
            .await?;
        while let Some(piece) = self.receive.data().await {
            if !piece?.is_empty() {
                return Err("something came after the Close".into());
            }
        }
        // HAProxy has reset the stream by now.
        let _ = self.send.send_data(Bytes::new(), true);
        Ok(())
    }
}
