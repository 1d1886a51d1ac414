//! The server behind the proxy: echoes each message, or takes requests and never answers.

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::Failure;

/// How the backend behaves.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Read requests and answer none.
    #[arg(long)]
    withhold: bool,
}

/// The library's own buffer of 128 KiB is much for thousands of idle connections.
pub fn small_buffers() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
}

/// Serves until standard input ends.
///
/// # Errors
/// When it can't listen or accept.
pub async fn run(options: Options) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let serve = async {
        loop {
            let (socket, _) = listener.accept().await?;
            tokio::spawn(connection(socket, options.withhold));
        }
    };
    tokio::select! {
        error = serve => error,
        () = crate::input_ended() => Ok(()),
    }
}

/// A connection that breaks is missed by the client, which says so.
async fn connection(mut socket: TcpStream, withhold: bool) {
    if withhold {
        let mut scratch = [0; 1024];
        while socket.read(&mut scratch).await.is_ok_and(|count| count > 0) {}
        return;
    }
    let handshake = tokio_tungstenite::accept_async_with_config(socket, Some(small_buffers()));
    let Ok(mut stream) = handshake.await else {
        return;
    };
    // A Close is answered by the library, on the way to the stream's end.
    while let Some(Ok(message)) = stream.next().await {
        if message.is_binary() && stream.send(message).await.is_err() {
            return;
        }
    }
}
