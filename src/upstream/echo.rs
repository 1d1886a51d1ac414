//! `builtin:echo`: a WebSocket echo server inside the proxy, for a first try without a backend.
//!
//! It gets the same request and the same checks as every upstream, over a pipe instead of a socket.

use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::DuplexStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::http::fields::tokens;

/// The most bytes that wait in the pipe in each direction.
const PIPE: usize = 16 * 1024;

/// The largest message that is echoed, because it is kept in memory as a whole.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;

/// Starts an echo server for one connection, which agrees to a subprotocol in `allowed` (empty: to any). It ends with
/// the other end of the pipe.
pub(super) fn start(allowed: Vec<String>) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    // A shutdown does not wait for this task: it ends with the tunnel, for which the shutdown waits.
    tokio::spawn(async move {
        if let Err(error) = serve(theirs, &allowed).await {
            tracing::debug!(%error, "the echo upstream ended");
        }
    });
    ours
}

async fn serve(
    stream: DuplexStream,
    allowed: &[String],
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    use futures_util::{SinkExt as _, StreamExt as _};
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
        .read_buffer_size(PIPE);
    #[expect(clippy::result_large_err, reason = "the library's callback type")]
    let agree = |request: &Request<()>, mut response: Response<()>| {
        if let Some(chosen) = choose_subprotocol(request.headers(), allowed) {
            response
                .headers_mut()
                .insert(SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        Ok(response)
    };
    let mut socket =
        tokio_tungstenite::accept_hdr_async_with_config(stream, agree, Some(config)).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        // The library answers Pings and Close frames.
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// The first offered subprotocol that the route allows. The proxy would refuse any other as not requested.
fn choose_subprotocol(fields: &HeaderMap, allowed: &[String]) -> Option<HeaderValue> {
    let mut offered = tokens(fields, &SEC_WEBSOCKET_PROTOCOL);
    let may_be = |name: &[u8]| {
        allowed.is_empty() || allowed.iter().any(|allowed| allowed.as_bytes() == name)
    };
    let chosen = offered.find(|name| may_be(name))?;
    HeaderValue::from_bytes(chosen).ok()
}
