//! The beginning of a connection: what the proxy announces, and what it says of a client that does not begin.

use h2::server::Builder;

use super::tap::Sight;
use super::{Settings, budget};
use crate::reason::{Failure, Reason};
use crate::secrets::first_bytes;
use crate::stream::{ClientStream, End, Wire};
use crate::tls;

/// How much a client may send on a stream before the upstream has taken it. It is the initial value of the protocol.
const STREAM_WINDOW: u32 = 65_535;

/// How much of an answer or of a tunnel the library may hold for one stream.
const SEND_BUFFER: usize = 64 * 1024;

/// The library refuses longer heads itself, without a record of their path. So it allows more than `limits.header_bytes`.
const HEAD_ROOM: u32 = 2;

/// How much the library adds to a field (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD: u32 = 32 * 100;

/// A connection that did not begin.
pub(crate) struct NotBegun {
    /// Why.
    pub failure: Failure,
    /// Its stream.
    pub stream: Option<ClientStream>,
}

/// What the proxy announces, and the bounds of the library.
pub(super) fn builder(settings: Settings) -> Builder {
    let Settings {
        websocket,
        max_streams,
        header_bytes,
        ..
    } = settings;
    let header_bytes = u32::try_from(header_bytes).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        // A client whose streams all wait for their upstreams may still send on another one.
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(max_streams.saturating_add(1)))
        .max_concurrent_streams(max_streams)
        .max_header_list_size(
            header_bytes
                .saturating_mul(HEAD_ROOM)
                .saturating_add(FIELD_OVERHEAD),
        )
        .max_send_buffer_size(SEND_BUFFER)
        // They have a budget here.
        .max_pending_accept_reset_streams(budget::MOST_RESETS)
        // It counts over the whole life of a connection. The budgets grow again.
        .max_local_error_reset_streams(None);
    if websocket {
        builder.enable_connect_protocol();
    }
    builder
}

/// Why no preface came.
pub(super) fn no_preface(sight: &Sight, wire: &Wire, error: h2::Error) -> Failure {
    let first = std::mem::take(&mut sight.lock().first);
    let is_broken = matches!(wire.end(), Some(End::Broke(..)));
    match error.into_io() {
        Some(error) if first.is_empty() => tls::unused(is_broken.then_some(&error)),
        Some(error) => tls::broken(&error).unwrap_or_else(|| {
            let detail = format!("in the HTTP/2 preface: {}", tls::ended_words(&error));
            Failure::new(Reason::HttpHeadIncomplete, detail)
        }),
        None => Failure::new(
            Reason::H2ProtocolError,
            format!("no HTTP/2 preface; {}", first_bytes(&first)),
        )
        .with_hint(
            "the client agreed on h2 in the TLS handshake and then spoke another protocol: fix its ALPN setting, or take \
             h2 out of `listeners[].tls.alpn`",
        ),
    }
}
