//! HTTP/2: what is refused, what passes, and how connections and streams end.

/// Deadlines and floods: what the library does not bring.
mod bounds;
/// Every check of an HTTP/1.1 head has its counterpart.
mod checks;
/// How streams and connections end, and what is said about it.
mod ends;
/// Limits, drains and reloads.
mod limits;
/// Plain requests.
mod plain;
/// WebSockets (RFC 8441).
mod websocket;

use crate::harness::h2::Raw;
use crate::harness::{Proxy, Setup};

pub use bounds::{h2_flood, h2_protocol_error};
pub use checks::{h2_connection_header, h2_malformed_request};
pub use limits::h2_stream_limit;
pub use websocket::{h2_protocol_unknown, h2_ws_unsupported};

/// A listener with HTTP/2 in front of `endpoint`. Its routes are `/ws` for WebSockets and `/api/*` for plain requests.
pub fn setup(endpoint: &str) -> Setup {
    Setup {
        tls: Some(
            "certificates: [{ cert: good.pem, key: good-key.pem }]\nalpn: [h2, http/1.1]"
                .to_owned(),
        ),
        routes: "  - path: /api/*\n    http: { methods: [GET, HEAD, POST, OPTIONS], max_body: 1MiB }\n    upstream: app\n\
                 \x20 - path: /hello\n    respond: { status: 200, body: hello }\n"
            .to_owned(),
        ..Setup::tls(endpoint)
    }
}

/// A proxy and a client that has exchanged settings with it.
fn open(setup: &Setup) -> (Proxy, Raw) {
    let proxy = setup.start();
    let raw = Raw::open(proxy.address());
    (proxy, raw)
}

/// Opens these tunnels to an upstream that echoes.
#[track_caller]
pub fn tunnels(raw: &mut Raw, streams: &[u32]) {
    for stream in streams {
        raw.connect_ws(*stream, "/ws", &[]);
        assert_eq!(raw.status(*stream), 200);
        raw.echoes(*stream, "hello");
    }
}
