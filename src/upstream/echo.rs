//! `builtin:echo`: a WebSocket echo server inside the proxy, for a first try without a backend.
//!
//! It is reached through the same request and the same checks as any upstream, over a pipe in place of a socket.

use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderValue, Request, Response};
use tokio::io::DuplexStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Bytes that may wait in the pipe each way.
const PIPE: usize = 16 * 1024;

/// Largest message that is echoed: it is held whole.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;

/// Starts an echo server for one connection; it ends when the other end of the pipe does.
pub(super) fn start() -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    // Not tracked for shutdown: it lives exactly as long as the tunnel, which is.
    tokio::spawn(async move {
        if let Err(error) = serve(theirs).await {
            tracing::debug!(%error, "the echo upstream ended");
        }
    });
    ours
}

async fn serve(stream: DuplexStream) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    use futures_util::{SinkExt as _, StreamExt as _};
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
        .read_buffer_size(PIPE);
    let mut socket =
        tokio_tungstenite::accept_hdr_async_with_config(stream, choose_subprotocol, Some(config))
            .await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        // Pings and Close are answered by the library.
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Agrees to the first offered subprotocol.
#[expect(clippy::result_large_err, reason = "the library's callback type")]
fn choose_subprotocol(
    request: &Request<()>,
    mut response: Response<()>,
) -> Result<Response<()>, Response<Option<String>>> {
    let offered = request
        .headers()
        .get(SEC_WEBSOCKET_PROTOCOL)
        .and_then(|value| value.to_str().ok());
    let first = offered.and_then(|offered| offered.split(',').next());
    if let Some(first) = first.and_then(|first| HeaderValue::from_str(first.trim()).ok()) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, first);
    }
    Ok(response)
}
