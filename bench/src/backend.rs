//! The server behind the proxy: echoes each message, or reads requests and never answers.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::Failure;

/// How the backend behaves.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Read requests, but do not answer them.
    #[arg(long)]
    withhold: bool,
    /// Read only heads; answer GET with an endless body.
    #[arg(long)]
    plain: bool,
    /// Open tunnels, but read nothing from them.
    #[arg(long)]
    deaf: bool,
}

/// The library's default buffer of 128 KiB is too large for thousands of idle connections.
pub fn small_buffers() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
}

/// Serves on every address of this machine until standard input ends.
///
/// # Errors
/// If it can't listen or accept.
pub async fn run(options: Options) -> Result<(), Failure> {
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    println!("{}", listener.local_addr()?.port());
    let serve = async {
        loop {
            let (socket, _) = listener.accept().await?;
            tokio::spawn(connection(socket, options.clone()));
        }
    };
    tokio::select! {
        error = serve => error,
        () = crate::input_ended() => Ok(()),
    }
}

/// Errors are ignored here: the client notices a broken connection and reports it.
async fn connection(mut socket: TcpStream, options: Options) {
    if options.plain {
        return plain(socket).await;
    }
    if options.withhold {
        let mut scratch = [0; 1024];
        while socket.read(&mut scratch).await.is_ok_and(|count| count > 0) {}
        return;
    }
    let handshake = tokio_tungstenite::accept_async_with_config(socket, Some(small_buffers()));
    let Ok(mut stream) = handshake.await else {
        return;
    };
    if options.deaf {
        return std::future::pending().await;
    }
    // The library answers a Close before the stream ends.
    while let Some(Ok(message)) = stream.next().await {
        if message.is_binary() && stream.send(message).await.is_err() {
            return;
        }
    }
}

async fn plain(mut socket: TcpStream) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if !matches!(socket.read_buf(&mut head).await, Ok(count) if count > 0) {
            return;
        }
    }
    if !head.starts_with(b"GET ") {
        return std::future::pending().await;
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
    let mut written = socket.write_all(answer).await;
    while written.is_ok() {
        written = socket.write_all(&[b'y'; 16 * 1024]).await;
    }
}
