//! The operations of the rows whose clients wait for one answer before they send the next request.

use std::sync::Arc;

use rustls::HandshakeKind;

use super::connection::{Connection, Dialer};
use crate::{Failure, wire};

/// The masking key of all frames. A client must choose a new one for each, but its value costs a proxy nothing.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The payload of a Close: 1000.
const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// Someone who does one operation after the other.
pub trait Worker: Send + 'static {
    /// Does one operation, and checks it.
    ///
    /// # Errors
    /// If it failed.
    fn operate(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A TLS handshake, an opening handshake and a Close handshake, with the end of the connection.
pub struct Handshakes {
    dialer: Dialer,
    kind: HandshakeKind,
    close: Vec<u8>,
    closed: Vec<u8>,
}

impl Handshakes {
    /// With TLS handshakes of this kind only.
    pub fn new(dialer: Dialer, kind: HandshakeKind) -> Self {
        Self {
            dialer,
            kind,
            close: wire::frame(wire::CLOSE, &NORMAL, Some(KEY)),
            closed: wire::frame(wire::CLOSE, &NORMAL, None),
        }
    }
}

impl Worker for Handshakes {
    async fn operate(&mut self) -> Result<(), Failure> {
        let mut tunnel = self.dialer.tunnel(self.kind).await?;
        tunnel.send(&self.close).await?;
        tunnel.expect(&self.closed, "the answer to a Close").await?;
        tunnel.ended().await
    }
}

/// A message and its echo.
pub struct Echo {
    tunnel: Connection,
    message: Arc<[u8]>,
    echo: Arc<[u8]>,
}

impl Echo {
    /// Opens tunnels for messages of `size` bytes.
    ///
    /// # Errors
    /// If one can't be opened.
    pub async fn open(dialer: &Dialer, tunnels: usize, size: usize) -> Result<Vec<Self>, Failure> {
        let payload: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
        let message: Arc<[u8]> = wire::frame(wire::BINARY, &payload, Some(KEY)).into();
        let echo: Arc<[u8]> = wire::frame(wire::BINARY, &payload, None).into();
        let mut all = Vec::new();
        for _ in 0..tunnels {
            all.push(Self {
                tunnel: dialer.tunnel(HandshakeKind::Full).await?,
                message: Arc::clone(&message),
                echo: Arc::clone(&echo),
            });
        }
        Ok(all)
    }
}

impl Worker for Echo {
    async fn operate(&mut self) -> Result<(), Failure> {
        self.tunnel.send(&self.message).await?;
        self.tunnel.expect(&self.echo, "an echo").await
    }
}

/// A plain request and its answer.
pub struct Plain {
    connection: Connection,
    request: Arc<[u8]>,
}

impl Plain {
    /// Opens connections.
    ///
    /// # Errors
    /// If one can't be opened.
    pub async fn open(dialer: &Dialer, connections: usize) -> Result<Vec<Self>, Failure> {
        let request: Arc<[u8]> = wire::get(wire::STATE).into();
        let mut all = Vec::new();
        for _ in 0..connections {
            all.push(Self {
                connection: dialer.dial(HandshakeKind::Full).await?,
                request: Arc::clone(&request),
            });
        }
        Ok(all)
    }
}

impl Worker for Plain {
    async fn operate(&mut self) -> Result<(), Failure> {
        self.connection.send(&self.request).await?;
        match self.connection.answer(wire::JSON.as_bytes()).await? {
            (Some(200), true) => Ok(()),
            (Some(200), false) => Err("an answer has another body".into()),
            (status, _) => Err(format!("a plain request was answered with {status:?}").into()),
        }
    }
}
