//! The server behind the proxy: echoes each message and answers plain requests, or reads requests and never answers.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Failure, wire};

/// How the backend behaves.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Read requests, but do not answer them.
    #[arg(long)]
    withhold: bool,
    /// Read only heads; answer GET and PUT with an endless body.
    #[arg(long)]
    plain: bool,
    /// Open tunnels, but read nothing from them.
    #[arg(long)]
    deaf: bool,
    /// Send messages through such tunnels without an end.
    #[arg(long, requires = "deaf")]
    flood: bool,
}

/// Serves on every address of this machine until standard input ends.
///
/// # Errors
/// If it can't listen or accept.
pub async fn run(options: Options) -> Result<(), Failure> {
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    println!("{}", listener.local_addr()?.port());
    tokio::select! {
        error = serve(listener, options) => error,
        () = crate::input_ended() => Ok(()),
    }
}

/// Serves forever.
///
/// # Errors
/// If it can't accept.
pub async fn serve(listener: TcpListener, options: Options) -> Result<(), Failure> {
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(connection(socket, options.clone()));
    }
}

/// Errors are ignored here: the client notices a broken connection and reports it.
async fn connection(mut socket: TcpStream, options: Options) {
    if options.withhold {
        let mut scratch = [0; 1024];
        while socket.read(&mut scratch).await.is_ok_and(|count| count > 0) {}
        return;
    }
    let _: io::Result<()> = match options.plain {
        true => endless(socket).await,
        false => requests(socket, &options).await,
    };
}

async fn endless(mut socket: TcpStream) -> io::Result<()> {
    let mut bytes = Vec::new();
    if wire::read_head(&mut socket, &mut bytes).await?.is_none() {
        return Ok(());
    }
    if bytes.starts_with(b"POST ") {
        return std::future::pending().await;
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
    socket.write_all(answer).await?;
    loop {
        socket.write_all(&[b'y'; 16 * 1024]).await?;
    }
}

/// Answers plain requests until an opening handshake.
async fn requests(mut socket: TcpStream, options: &Options) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let state = wire::state();
    let mut bytes = Vec::with_capacity(2048);
    while let Some(end) = wire::read_head(&mut socket, &mut bytes).await? {
        let key = bytes
            .get(..end)
            .and_then(|head| wire::field(head, "sec-websocket-key"));
        if let Some(key) = key {
            socket.write_all(&wire::switching(key)).await?;
            bytes.drain(..end);
            if options.flood {
                let message = wire::frame(2, &[b'y'; 16 * 1024], None);
                loop {
                    socket.write_all(&message).await?;
                }
            }
            if options.deaf {
                return std::future::pending().await;
            }
            return echo(socket, bytes).await;
        }
        socket.write_all(&state).await?;
        bytes.drain(..end);
    }
    Ok(())
}

/// Echoes messages until a Close, answers it, and ends the connection as a server must (RFC 6455 section 7.1.1).
async fn echo(mut socket: TcpStream, mut bytes: Vec<u8>) -> io::Result<()> {
    loop {
        let lengths = wire::lengths(&bytes)?;
        let whole = lengths.map_or(0, |lengths| lengths.whole);
        let (Some(lengths), Some(frame)) = (lengths, bytes.get_mut(..whole)) else {
            bytes.reserve(whole.saturating_sub(bytes.len()));
            if socket.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let (start, is_close) = wire::answer(frame, lengths)?;
        socket
            .write_all(frame.get(start..).unwrap_or_default())
            .await?;
        if is_close {
            return socket.shutdown().await;
        }
        bytes.drain(..whole);
    }
}
