//! The closed vocabulary: why a connection was refused or a tunnel ended, at which stage, and who caused it.
//!
//! Every terminal record has exactly one [`Reason`]. A published code is never renamed or reused. A [`Note`] reports
//! something that ended nothing.

pub mod codes;
mod failure;
mod notes;
mod trouble;
pub mod words;
pub mod zh;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use failure::Failure;
pub use notes::{Note, NoteCode};
pub use trouble::Trouble;
pub use words::{Later, Words};

use crate::text::Language;

/// The step of a connection's life in which it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// TCP accept, up to the first bytes.
    Accept,
    /// The TLS handshake (RFC 8446, RFC 5246).
    Tls,
    /// Reading the request and checking that it is an opening handshake (RFC 9112, RFC 6455 section 4.2.1).
    Http,
    /// Checking host, path, Origin and subprotocol against the configuration.
    Policy,
    /// Connecting to the upstream, and the upstream's answer to the opening handshake (RFC 6455 section 4.2.2).
    Upstream,
    /// Bytes in both directions after the verified 101.
    Tunnel,
}

impl Stage {
    /// All stages, in the order in which a connection passes them.
    pub const ALL: [Self; 6] = [
        Self::Accept,
        Self::Tls,
        Self::Http,
        Self::Policy,
        Self::Upstream,
        Self::Tunnel,
    ];

    /// The stage's name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Policy => "policy",
            Self::Upstream => "upstream",
            Self::Tunnel => "tunnel",
        }
    }
}

/// Who caused an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The peer that connected to the proxy, or someone acting for it.
    Client,
    /// The WebSocket server that the proxy connected to.
    Upstream,
    /// The proxy itself: a limit, a timer, a shutdown or a bug.
    Proxy,
    /// A hop in between, or the network.
    Network,
}

impl By {
    /// The party's name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Proxy => "proxy",
            Self::Network => "network",
        }
    }
}

/// The importance of a record. Records below `log.level` are not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For connections that close without a byte.
    Debug,
    /// For normal ends, and refusals by policy.
    Info,
    /// For faults of the upstream, and limits of the proxy.
    Warn,
    /// For bugs of the proxy.
    Error,
}

impl Level {
    /// The level's name in records and in `log.level`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// The HTTP status that the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No HTTP answer is possible: there is no request, or the tunnel is already open.
    None,
    /// Always this status.
    Fixed(u16),
    /// The stage knows it: the upstream's own status, or 414 instead of 431.
    Stage,
}

/// What is fixed about a reason.
#[derive(Debug)]
pub struct Spec {
    /// Stable snake_case name.
    pub code: &'static str,
    /// The stage at which it happens.
    pub stage: Stage,
    /// Who causes it; `None`: the stage decides.
    pub by: Option<By>,
    /// The level of its record.
    pub level: Level,
    /// The HTTP status of the refusal.
    pub status: Status,
    /// The error type in the `Proxy-Status` field (RFC 9209 section 2.3); empty if there is no answer.
    pub proxy_error: &'static str,
    /// What happened, in one line.
    pub cause: &'static str,
    /// What to do, in one line; it names a key, a command or a hop.
    pub fix: &'static str,
}

/// The words for [`Spec::by`] in the table below.
#[expect(
    non_upper_case_globals,
    reason = "they read like the variants they stand for"
)]
mod by {
    use super::By;

    pub const Client: Option<By> = Some(By::Client);
    pub const Upstream: Option<By> = Some(By::Upstream);
    pub const Proxy: Option<By> = Some(By::Proxy);
    pub const Network: Option<By> = Some(By::Network);
    pub const Either: Option<By> = None;
}

macro_rules! reasons {
    ($( $variant:ident = $code:literal, $stage:ident, $by:ident, $level:ident, $status:expr, $proxy_error:literal,
        $cause:literal, $fix:literal; )*) => {
        /// Why a connection was refused or a tunnel ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $( #[doc = $cause] $variant, )* }

        impl Reason {
            /// Every reason, ordered by stage.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// What is fixed about this reason.
            #[must_use]
            pub const fn spec(self) -> &'static Spec {
                match self { $( Self::$variant => &Spec {
                    code: $code,
                    stage: Stage::$stage,
                    by: by::$by,
                    level: Level::$level,
                    status: $status,
                    proxy_error: $proxy_error,
                    cause: $cause,
                    fix: $fix,
                }, )* }
            }
        }
    };
}

use Status::{None as NoStatus, Stage as ByStage};

// Words in backticks in a hint are keys of proxy.yaml or wsgate commands; a test checks each of them.
reasons! {
    // accept
    TcpAcceptFailed = "tcp_accept_failed", Accept, Proxy, Warn, NoStatus, "",
        "the proxy could not serve a connection because it had no free descriptor or no memory; the connection was reset, or it still waits if the record names no peer",
        "raise the nofile limit of the container or unit, or lower `limits.connections` until it fits";
    TcpConnLimit = "tcp_conn_limit", Accept, Proxy, Warn, NoStatus, "",
        "the limit of open connections is reached; this connection was reset",
        "raise `limits.connections`, or look for clients that reconnect without back-off";
    ClientConnLimit = "client_conn_limit", Accept, Proxy, Warn, Status::Fixed(429), "http_request_denied",
        "one client has as many open connections as it is allowed; this connection was reset, or its request was answered with 429 if it came through a trusted proxy",
        "raise `limits.connections_per_client` if many people share one address; if all clients seem to have the same address, list the hop in front in `trusted_proxies`";
    TcpProbe = "tcp_probe", Accept, Client, Debug, NoStatus, "",
        "the client connected and closed without sending a byte, as TCP health checks do",
        "nothing to do; a health check that requests /readyz at `probes.address` leaves no such records, and it notices a drain";
    TcpResetBeforeRequest = "tcp_reset_before_request", Accept, Network, Info, NoStatus, "",
        "the connection was reset before a complete request arrived, or together with it",
        "single resets come from lost mobile networks or scanners; if there are many at once, look at the hop in front: its idle timeout and its restarts";
    TcpFirstByteTimeout = "tcp_first_byte_timeout", Accept, Client, Info, NoStatus, "",
        "the client connected and then sent nothing until the deadline",
        "this is a load balancer that opens connections in advance, or a client that stalls; the deadline is `limits.tls_handshake` with TLS and `limits.request_head` without";
    ProxyProtocolUnexpected = "proxy_protocol_unexpected", Accept, Network, Info, NoStatus, "",
        "the first bytes are a PROXY protocol header, which this listener does not accept",
        "set `listeners[].proxy_protocol`: required and list the load balancer in `trusted_proxies`, or switch PROXY protocol off on the load balancer and let it send X-Forwarded-For";
    ProxyProtocolMissing = "proxy_protocol_missing", Accept, Network, Info, NoStatus, "",
        "this listener requires a PROXY protocol header first, but the hop in front sent something else",
        "switch PROXY protocol (version 1 or 2) on at the load balancer for this port, or remove `listeners[].proxy_protocol`";
    ProxyProtocolInvalid = "proxy_protocol_invalid", Accept, Network, Info, NoStatus, "",
        "the PROXY protocol header is malformed, incomplete or fails its checksum",
        "detail says what is wrong; look at the hop in front that writes the header, and at everything between that hop and the proxy";
    ProxyProtocolUntrusted = "proxy_protocol_untrusted", Accept, Client, Info, NoStatus, "",
        "this listener accepts connections only from trusted proxies, because their PROXY protocol header names the client; this peer is not a trusted proxy",
        "if peer is the load balancer, add its address to `trusted_proxies`; if it is not, block all other peers from this port with a firewall";
    TlsOnPlainPort = "tls_on_plain_port", Accept, Client, Info, NoStatus, "",
        "a TLS ClientHello arrived on a listener without TLS",
        "point wss:// at the TLS port, give this listener `listeners[].tls`, or let the load balancer terminate TLS";

    // tls
    TlsPlainHttpOnTlsPort = "tls_plain_http_on_tls_port", Tls, Client, Info, Status::Fixed(400), "http_protocol_error",
        "plain HTTP arrived on a TLS listener",
        "use wss:// or https:// for this port, or set the load balancer's backend protocol to HTTPS or TCP";
    TlsNotTls = "tls_not_tls", Tls, Client, Info, NoStatus, "",
        "the first bytes are neither TLS nor HTTP",
        "this is usually a scanner; if it is not, the client speaks another protocol on this port: detail shows its first bytes";
    TlsHandshakeTimeout = "tls_handshake_timeout", Tls, Client, Info, NoStatus, "",
        "the client began a TLS handshake and did not finish it before the deadline",
        "detail says how far it came: the client stopped, the network loses packets (large ones first: check the MTU), or a hop in front does not pass them on; the deadline is `limits.tls_handshake`";
    TlsClientClosed = "tls_client_closed", Tls, Client, Info, NoStatus, "",
        "the client closed the connection during the TLS handshake without an alert",
        "if it closed right after the certificate was sent, it usually rejected the certificate: read the client's own error, and test with the client's own trust store; `wsgate check` reports problems of the chain, the names and the dates, but it can't know whom the client trusts";
    TlsVersionUnsupported = "tls_version_unsupported", Tls, Client, Info, NoStatus, "",
        "the client offers no TLS version that this listener supports",
        "update the client's TLS library: it needs TLS 1.2, or more if `listeners[].tls.min_version` requires it";
    TlsNoCommonCipher = "tls_no_common_cipher", Tls, Client, Info, NoStatus, "",
        "the client and the proxy have no cipher suite in common; the proxy offers only ECDHE with AES-GCM or ChaCha20, and in TLS 1.2 only for the certificate's type of key",
        "the client is too old or restricted to legacy suites: update its TLS library, or let a hop in front terminate its TLS";
    TlsNoCommonGroup = "tls_no_common_group", Tls, Client, Info, NoStatus, "",
        "the client and the proxy have no key exchange group in common (X25519MLKEM768, X25519, P-256, P-384)",
        "allow one of these groups in the client's TLS settings";
    TlsNoCommonSigalg = "tls_no_common_sigalg", Tls, Client, Info, NoStatus, "",
        "the client accepts neither the key type nor the signature of any configured certificate",
        "add a certificate of the other key type (RSA in addition to ECDSA) for the same names to `listeners[].tls.certificates`";
    TlsSniUnknown = "tls_sni_unknown", Tls, Client, Info, NoStatus, "",
        "the client asked for a server name that no certificate covers",
        "add a certificate for this name to `listeners[].tls.certificates`, correct DNS, or serve the first certificate with `listeners[].tls.unknown_sni`: default";
    TlsAlpnNoOverlap = "tls_alpn_no_overlap", Tls, Client, Info, NoStatus, "",
        "the client's ALPN list has no protocol that this listener supports, or the client sent no ALPN and the listener supports only h2",
        "let the client (or the load balancer's backend setting) offer one of the protocols that the listener supports, which detail lists, or add http/1.1 or h2 to `listeners[].tls.alpn`; most WebSocket clients need http/1.1";
    TlsAlertUnknownCa = "tls_alert_unknown_ca", Tls, Client, Info, NoStatus, "",
        "the client does not trust the certificate's issuer (alert 48): an intermediate is missing, the certificate is self-signed, or the client does not know its authority",
        "serve the full chain, leaf first, in `listeners[].tls.certificates[].cert`, because Android does not fetch intermediates; if the authority is your own, install it on the client";
    TlsAlertBadCertificate = "tls_alert_bad_certificate", Tls, Client, Info, NoStatus, "",
        "the client rejected the certificate (alert 42, 43 or 46): wrong name, weak signature, unsupported key, or a problem that it does not name",
        "compare the certificate's names with the host that the client connects to: `wsgate check` lists the hosts that are not covered";
    TlsAlertCertExpired = "tls_alert_cert_expired", Tls, Client, Info, NoStatus, "",
        "the client says that the certificate has expired or is not yet valid (alert 45)",
        "renew the file in `listeners[].tls.certificates[].cert`; if its dates are right, the client's clock is wrong";
    TlsAlertCertRevoked = "tls_alert_cert_revoked", Tls, Client, Info, NoStatus, "",
        "the client says that the certificate is revoked (alert 44)",
        "get a new certificate and replace both `listeners[].tls.certificates[].cert` and `listeners[].tls.certificates[].key`";
    TlsAlertOther = "tls_alert_other", Tls, Client, Info, NoStatus, "",
        "the client ended the TLS handshake with an alert that is not about trust or dates",
        "detail has the alert's name; look at the client's TLS library, or at a middlebox between the client and the proxy";
    TlsProtocolError = "tls_protocol_error", Tls, Client, Info, NoStatus, "",
        "the client's TLS messages are malformed or out of order",
        "this is a scanner, a broken TLS library, or a middlebox that alters the stream: see detail, and compare with another network path";
    TlsClosedUnused = "tls_closed_unused", Tls, Client, Info, NoStatus, "",
        "the client completed the TLS handshake and closed the connection without sending a request",
        "this is a TLS health check or a preconnect; a real client does this if it rejects the certificate: run `wsgate check`, and test with the client's own trust store";
    TlsClientCertMissing = "tls_client_cert_missing", Tls, Client, Info, NoStatus, "",
        "this listener requires a client certificate, and the client sent none",
        "give the client a certificate; WeChat mini programs and WebSockets in browsers can't send one, and in Chromium they fail wherever one is requested: give them a listener without `listeners[].tls.client_auth`";
    TlsClientCertInvalid = "tls_client_cert_invalid", Tls, Client, Info, NoStatus, "",
        "the client's certificate was rejected: the configured authority did not issue it, it is not valid now, or it is not a client certificate",
        "detail says which; get a new certificate, or add its issuer to the file in `listeners[].tls.client_auth.ca`";

    // http
    HttpHeaderTimeout = "http_header_timeout", Http, Client, Info, Status::Fixed(408), "http_request_error",
        "the request head was not complete before the deadline",
        "the network is slow, or the client holds connections open on purpose; the deadline is `limits.request_head`";
    HttpHeadIncomplete = "http_head_incomplete", Http, Client, Info, NoStatus, "",
        "the client ended its stream in the middle of the request head",
        "the client gave up while it was sending, or a hop in front cut it off: compare head_ms with that hop's timeouts";
    HttpMalformed = "http_malformed", Http, Client, Info, Status::Fixed(400), "http_request_error",
        "the request head violates the syntax of RFC 9112",
        "this is a scanner, or a client or hop in front that builds requests by hand; detail says what is wrong, and where if it is a single byte or line";
    HttpTooLarge = "http_too_large", Http, Client, Info, ByStage, "http_request_error",
        "the request head, or the chunk sizes, extensions and trailers of a chunked body, are larger than allowed",
        "let the client send smaller cookies, move tokens out of the URL, or raise `limits.header_bytes`";
    HttpVersionUnsupported = "http_version_unsupported", Http, Network, Info, Status::Fixed(400), "http_request_error",
        "the request is in a version that handshakes and routes with an upstream do not accept, such as HTTP/1.0, or HTTP/2 that was not agreed on by ALPN",
        "let a health check in HTTP/1.0 (HAProxy's httpchk and other monitors) use a route with `routes[].respond`, or `probes.address`; if a proxy in front speaks HTTP/1.0 (nginx before 1.29.7), set proxy_http_version 1.1 there; for HTTP/2, add h2 to `listeners[].tls.alpn`, and without TLS let the hop in front speak HTTP/1.1";
    HttpHostMissing = "http_host_missing", Http, Client, Info, Status::Fixed(400), "http_request_error",
        "the request has no Host field",
        "the client builds its requests by hand, or a hop in front drops Host: let that hop pass it on";
    HttpHostInvalid = "http_host_invalid", Http, Client, Info, Status::Fixed(400), "http_request_error",
        "the Host field is repeated, or it is not a host with an optional port",
        "check how the hop in front rewrites Host";
    HttpFramingConflict = "http_framing_conflict", Http, Client, Info, Status::Fixed(400), "http_request_error",
        "the length of the request is ambiguous (Content-Length and Transfer-Encoding contradict each other, repeat or are invalid), or its chunks or trailers are malformed",
        "this is a request smuggling attempt, or a broken client or hop; detail says what is wrong, and the upstream never receives a complete request";
    HttpBodyOnUpgrade = "http_body_on_upgrade", Http, Client, Info, Status::Fixed(400), "http_request_error",
        "the opening handshake announces a body",
        "remove Content-Length and Transfer-Encoding from the client's upgrade request";
    HttpEarlyData = "http_early_data", Http, Client, Info, Status::Fixed(400), "http_request_error",
        "bytes followed the request head immediately; a client must wait for the answer (RFC 6455 section 4.1)",
        "this is a smuggling attempt, or a client that does not wait: fix the client";
    HttpExpectRefused = "http_expect_refused", Http, Client, Info, Status::Fixed(417), "http_request_error",
        "the opening handshake has an Expect field, or a plain request has an Expect field other than 100-continue",
        "remove Expect from the client's request (curl adds it only to requests with a body)";
    HttpBodyTooLarge = "http_body_too_large", Http, Client, Info, Status::Fixed(413), "http_request_error",
        "the request's body is larger than the route allows",
        "let the client send less, or raise `routes[].http.max_body`";
    HttpBodyTimeout = "http_body_timeout", Http, Client, Info, Status::Fixed(408), "http_request_error",
        "the request's body was not complete before the deadline",
        "the network is slow, or the client sends its body slowly on purpose; the deadline is `routes[].http.request_timeout`";
    HttpBodyIncomplete = "http_body_incomplete", Http, Client, Info, NoStatus, "",
        "the client ended its stream in the middle of the request's body",
        "the user left the page, or the app was killed during the upload; if there are many, a hop in front cuts uploads: check its size limit and its timeouts";
    HttpConnectionProtected = "http_connection_protected", Http, Client, Info, Status::Fixed(400), "http_request_error",
        "the Connection field lists a field that a proxy must not remove",
        "this is an attempt to make a proxy drop a security field, or a broken client; detail names the field";
    H2cRefused = "h2c_refused", Http, Client, Info, Status::Fixed(400), "http_request_error",
        "an opening handshake, or a request for a WebSocket route, asks for an upgrade to cleartext HTTP/2",
        "switch HTTP/2 off in the client (curl: --http1.1, Java's HttpClient: version(HTTP_1_1)); otherwise it is a smuggling attempt";
    H2ProtocolError = "h2_protocol_error", Http, Client, Info, NoStatus, "",
        "what the client sent over HTTP/2 violates RFC 9113, so its stream ended with RST_STREAM, or its whole connection with GOAWAY",
        "this is a scanner, or a broken client or hop; detail has the error code and, if it is known, what was wrong; if it is a hop in front, let it speak HTTP/1.1 to this listener, or take h2 out of `listeners[].tls.alpn`";
    H2Flood = "h2_flood", Http, Client, Info, NoStatus, "",
        "the client sent so many HTTP/2 frames that do no work (resets, empty frames, settings, pings, header blocks without an end) that its connection was ended with GOAWAY",
        "this is an attack, or a client that repeats itself in a loop: detail names the frames; limit such clients with `limits.connections_per_client`";
    H2StreamLimit = "h2_stream_limit", Http, Client, Info, NoStatus, "",
        "the client opened more HTTP/2 streams on one connection than this listener announces",
        "a client must wait until one of its streams ends, or open another connection; for a hop in front that carries many clients, raise `listeners[].http2.max_streams`";
    H2MalformedRequest = "h2_malformed_request", Http, Client, Info, ByStage, "http_request_error",
        "the head of a request over HTTP/2 violates RFC 9113 section 8: a pseudo field is missing, repeated, misplaced or not a valid value, or a field is not allowed",
        "this is a scanner, or a client or hop in front that builds requests by hand; detail says what is wrong; other streams of the connection go on";
    H2ConnectionHeader = "h2_connection_header", Http, Network, Info, ByStage, "http_request_error",
        "a request over HTTP/2 has a field that only HTTP/1.1 allows, such as Connection, Upgrade or Transfer-Encoding (RFC 9113 section 8.2.2)",
        "a hop in front passes the fields of an HTTP/1.1 request on over HTTP/2: let it remove them, or let it speak HTTP/1.1 to this proxy";
    H2WsUnsupported = "h2_ws_unsupported", Http, Client, Info, ByStage, "http_request_error",
        "a client asked for a WebSocket over HTTP/2 in a way that does not work: with GET and the fields of HTTP/1.1, or with an extended CONNECT that this connection does not announce",
        "a client must use an extended CONNECT if it was announced (RFC 8441), and otherwise open another connection with HTTP/1.1; set `listeners[].http2.websocket`: on to announce it, or take h2 out of `listeners[].tls.alpn`";
    H2ProtocolUnknown = "h2_protocol_unknown", Http, Client, Info, Status::Fixed(501), "http_request_error",
        "an extended CONNECT over HTTP/2 asks for a protocol other than websocket, or a CONNECT without :protocol asks for a plain tunnel",
        "only websocket is supported in :protocol; no other protocol is forwarded, and this is not a forward proxy";
    WsMethodNotGet = "ws_method_not_get", Http, Client, Info, Status::Fixed(405), "http_request_error",
        "the opening handshake's method is not GET",
        "use GET; with wx.connectSocket, remove the method option from the client's call";
    PlainHttpRequest = "plain_http_request", Http, Client, Info, Status::Fixed(426), "http_request_error",
        "an ordinary HTTP request without any WebSocket field arrived on a WebSocket route",
        "point health checks at /healthz or /readyz at `probes.address`; give the route `routes[].http` if it also serves plain requests; in a browser client, use new WebSocket";
    WsHandshakeMissing = "ws_handshake_missing", Http, Client, Info, Status::Fixed(426), "http_request_error",
        "the request has a Sec-WebSocket field, but neither Upgrade nor Sec-WebSocket-Key nor Sec-WebSocket-Version, so it is not an opening handshake",
        "let a WebSocket library build the client's request instead of setting single fields; if a library did, look for a hop in front that passes only some fields on";
    WsUpgradeHeaderMissing = "ws_upgrade_header_missing", Http, Network, Info, Status::Fixed(426), "http_upgrade_failed",
        "the request has Sec-WebSocket-Key or Sec-WebSocket-Version but no Upgrade: a hop in front removed it",
        "let the hop in front pass Upgrade and Connection on (nginx: proxy_set_header for both), or enable WebSocket on the CDN or load balancer";
    WsConnectionTokenMissing = "ws_connection_token_missing", Http, Network, Info, Status::Fixed(400), "http_upgrade_failed",
        "the request has Upgrade, but its Connection field does not contain upgrade: a hop in front rewrote it",
        "if nginx is in front: proxy_set_header Connection $connection_upgrade (from a map on $http_upgrade)";
    WsUpgradeNotWebsocket = "ws_upgrade_not_websocket", Http, Client, Info, Status::Fixed(400), "http_upgrade_failed",
        "the Upgrade field names a protocol other than websocket",
        "use a WebSocket client; other protocols are not forwarded";
    WsKeyMissing = "ws_key_missing", Http, Client, Info, Status::Fixed(400), "http_upgrade_failed",
        "Sec-WebSocket-Key is missing",
        "the client builds its requests by hand, or a hop in front removes fields that it does not know: let it pass Sec-WebSocket-* on";
    WsKeyInvalid = "ws_key_invalid", Http, Client, Info, Status::Fixed(400), "http_upgrade_failed",
        "Sec-WebSocket-Key is repeated, or it is not 16 bytes in base64",
        "the client builds the key by hand: let its WebSocket library do so, which sends 16 random bytes in base64 once";
    WsVersionUnsupported = "ws_version_unsupported", Http, Client, Info, Status::Fixed(426), "http_upgrade_failed",
        "Sec-WebSocket-Version is missing or is not exactly 13",
        "use a client that supports RFC 6455; other values are a known smuggling trick and are never forwarded";
    WsProtocolHeaderInvalid = "ws_protocol_header_invalid", Http, Client, Info, Status::Fixed(400), "http_upgrade_failed",
        "Sec-WebSocket-Protocol is not a list of distinct tokens",
        "pass the client's subprotocols as an array of names (wx.connectSocket: protocols must be an array)";
    WsExtensionsHeaderInvalid = "ws_extensions_header_invalid", Http, Client, Info, Status::Fixed(400), "http_upgrade_failed",
        "Sec-WebSocket-Extensions violates the grammar of RFC 6455 section 9.1",
        "fix the client, or the hop in front that rewrites the offer of extensions";
    LoopDetected = "loop_detected", Http, Network, Warn, Status::Fixed(508), "proxy_loop_detected",
        "the request has already been through this proxy, or through too many proxies, according to its Via field",
        "an upstream sends requests back to this proxy: let `upstreams.*.endpoints` name the backend itself, not a name or load balancer that leads back here";

    // policy
    HostNotAllowed = "host_not_allowed", Policy, Client, Info, Status::Fixed(421), "http_request_denied",
        "the proxy does not serve this Host, or the Host differs from the name that the TLS connection was made for",
        "add it as `routes[].host`, or correct DNS or the Host that the load balancer sends";
    PathNotAllowed = "path_not_allowed", Policy, Client, Info, Status::Fixed(404), "http_request_denied",
        "no route for this Host matches this path",
        "add a route with this `routes[].path`, or correct the client's URL";
    PathNearMiss = "path_near_miss", Policy, Client, Info, Status::Fixed(404), "http_request_denied",
        "the path differs from a route's path only in letter case, in slashes, or in at most two characters and a quarter of its length",
        "correct the client's URL to the `routes[].path` named here; handshakes are never redirected";
    PathAmbiguous = "path_ambiguous", Policy, Client, Info, Status::Fixed(400), "http_request_denied",
        "the path can be read in two ways: it has dot segments, doubled or encoded slashes, or unnecessary or broken encoding",
        "let the client send the path as `routes[].path` spells it; doubled slashes come from joining a base URL and a path, and the rest comes from URLs built by hand or from attempts to bypass the list of paths";
    OriginMissing = "origin_missing", Policy, Client, Info, Status::Fixed(403), "http_request_denied",
        "the request has no Origin, and the route requires one",
        "the client is not a browser: give native clients a route with a token check and `routes[].websocket.missing_origin`: allow, or use the origin wechat";
    OriginNull = "origin_null", Policy, Client, Info, Status::Fixed(403), "http_request_denied",
        "the Origin is null (a sandboxed frame, a file page or an opaque redirect)",
        "serve the client's page from a real https origin and list that; null can't be allowed";
    OriginMalformed = "origin_malformed", Policy, Client, Info, Status::Fixed(400), "http_request_denied",
        "the Origin is not scheme://host or scheme://host:port",
        "no browser sends this: look at the client, or at a hop in front that rewrites Origin";
    OriginMultiple = "origin_multiple", Policy, Client, Info, Status::Fixed(400), "http_request_denied",
        "the request has more than one Origin field",
        "the client or a hop in front adds a second Origin: remove one of them";
    OriginNotAllowed = "origin_not_allowed", Policy, Client, Info, Status::Fixed(403), "http_request_denied",
        "the Origin is not in the route's list",
        "if the page is yours, add its origin to `routes[].websocket.origins` exactly as the field origin shows it";
    RefererAppidMismatch = "referer_appid_mismatch", Policy, Client, Info, Status::Fixed(403), "http_request_denied",
        "the client has WeChat's Origin or no Origin, and its Referer does not name a WeChat app id that the route lists",
        "if the mini program is yours, add its id to `routes[].websocket.wechat_app_ids`";
    SubprotocolNotAllowed = "subprotocol_not_allowed", Policy, Client, Info, Status::Fixed(400), "http_request_denied",
        "the client offers subprotocols, and none of them is in the route's list",
        "add one of the offered names to `routes[].websocket.subprotocols`, or change the client's offer";
    WebsocketNotAllowed = "websocket_not_allowed", Policy, Client, Info, Status::Fixed(404), "http_request_denied",
        "an opening handshake arrived on a route that serves only plain requests",
        "correct the client's URL, or add `routes[].websocket` to the route";
    HttpMethodNotAllowed = "http_method_not_allowed", Policy, Client, Info, Status::Fixed(405), "http_request_denied",
        "the route does not allow the request's method",
        "add the method to `routes[].http.methods` if the upstream should receive it; OPTIONS from a browser is a CORS preflight";
    RedirectRefused = "redirect_refused", Policy, Client, Info, Status::Fixed(426), "http_request_denied",
        "an opening handshake arrived on a listener that only redirects to https, and WebSocket clients do not follow redirects",
        "let the client connect to wss://; the listener redirects because of `listeners[].redirect_to_https`";
    Draining = "draining", Policy, Proxy, Info, Status::Fixed(503), "http_request_denied",
        "the proxy is shutting down or draining and accepts no new tunnels",
        "the load balancer should have stopped sending clients here: let its health check request /readyz at `probes.address`, and make `shutdown.delay` longer than the check needs to notice; clients reconnect after Retry-After";
    ListenerChanged = "listener_changed", Policy, Proxy, Info, Status::Fixed(503), "http_request_denied",
        "a reload changed what the listener requires (TLS, a client certificate, a PROXY header) after it accepted this connection and before its request came",
        "nothing to do: the current `listeners[].tls.client_auth` and `listeners[].proxy_protocol` decide on the client's next connection";
    RateLimited = "rate_limited", Policy, Proxy, Warn, Status::Fixed(429), "http_request_denied",
        "one client sends more opening handshakes per minute than allowed",
        "a client reconnects without back-off, or many clients share one address: raise `limits.handshakes_per_client`; behind a load balancer, also set `trusted_proxies`";

    // upstream
    ClientGaveUp = "client_gave_up", Upstream, Client, Info, NoStatus, "",
        "the client left while the proxy was waiting for the upstream",
        "the upstream took longer than the client waits: compare the waited time in detail with the client's connect timeout and with `upstreams.*.handshake_timeout`";
    UpstreamDnsFailed = "upstream_dns_failed", Upstream, Upstream, Warn, Status::Fixed(502), "dns_error",
        "the upstream's name could not be resolved",
        "check the name in `upstreams.*.endpoints` and the resolver that this process uses";
    UpstreamRefused = "upstream_refused", Upstream, Upstream, Warn, Status::Fixed(502), "connection_refused",
        "nothing listens on the upstream's address",
        "the upstream is down, is starting, uses another port, or listens only on ::1: compare its listen address with `upstreams.*.endpoints`";
    UpstreamConnectTimeout = "upstream_connect_timeout", Upstream, Network, Warn, Status::Fixed(504), "connection_timeout",
        "the upstream's address did not answer the connection attempt before the deadline",
        "a firewall or security group drops packets, the host is down, or its accept backlog is full; attempts lists each address that was tried; the deadline is `upstreams.*.connect_timeout`";
    UpstreamUnreachable = "upstream_unreachable", Upstream, Network, Warn, Status::Fixed(502), "destination_ip_unroutable",
        "there is no route to the upstream's address",
        "check the container's network and the address in `upstreams.*.endpoints`";
    UpstreamResetOnConnect = "upstream_reset_on_connect", Upstream, Upstream, Warn, Status::Fixed(502), "connection_terminated",
        "the upstream accepted the connection and reset it before it answered",
        "the upstream crashes in a loop, is overloaded, or destroys connections that it does not accept: read its log at this time";
    UpstreamPortsExhausted = "upstream_ports_exhausted", Upstream, Proxy, Warn, Status::Fixed(503), "connection_limit_reached",
        "the proxy has no descriptor or local port left for a connection to the upstream",
        "raise the nofile limit, lower `limits.connections`, or spread the load over several addresses in `upstreams.*.endpoints`";
    UpstreamNoneHealthy = "upstream_none_healthy", Upstream, Upstream, Warn, Status::Fixed(503), "destination_unavailable",
        "the health checks of all endpoints of the upstream fail, so the proxy did not connect to any",
        "the upstream_health records say since when and why; check that the upstream runs and answers `upstreams.*.health_check.path` with a status in the 200s";
    UpstreamTunnelLimit = "upstream_tunnel_limit", Upstream, Proxy, Warn, Status::Fixed(503), "connection_limit_reached",
        "the limit of open tunnels to the upstream is reached",
        "raise `upstreams.*.max_tunnels`, or look for clients that open many tunnels and never close them";
    UpstreamTlsToPlainPort = "upstream_tls_to_plain_port", Upstream, Upstream, Warn, Status::Fixed(502), "tls_protocol_error",
        "the upstream answered the proxy's ClientHello with something that is not TLS: its port does not use TLS",
        "write http:// instead of https:// in `upstreams.*.endpoints`, or write the upstream's TLS port there";
    UpstreamTlsVerifyFailed = "upstream_tls_verify_failed", Upstream, Upstream, Warn, Status::Fixed(502), "tls_certificate_error",
        "the upstream's certificate is not trusted, is for another name, or is not valid now",
        "detail says which: write its issuer's file in `upstreams.*.tls.ca`, write the name that it is for in `upstreams.*.tls.server_name`, or renew it";
    UpstreamTlsFailed = "upstream_tls_failed", Upstream, Upstream, Warn, Status::Fixed(502), "tls_protocol_error",
        "the TLS handshake with the upstream failed for a reason other than its certificate",
        "detail has the alert or the error: compare the TLS versions and cipher suites of the upstream (the proxy supports 1.2 and 1.3), and check whether it requires a certificate (`upstreams.*.tls.cert`)";
    UpstreamTlsTimeout = "upstream_tls_timeout", Upstream, Upstream, Warn, Status::Fixed(504), "connection_timeout",
        "the upstream accepted the connection and did not finish the TLS handshake before the deadline",
        "the upstream's event loop is blocked, or its port does not use TLS and waits for other data; the deadline is `upstreams.*.connect_timeout`, which includes the handshake";
    UpstreamAlpnH2 = "upstream_alpn_h2", Upstream, Upstream, Warn, Status::Fixed(502), "tls_protocol_error",
        "the upstream supports only HTTP/2 on this port, and an upgrade needs HTTP/1.1",
        "let the upstream accept http/1.1 in addition to h2 (Node: allowHTTP1 in http2.createSecureServer), or write its HTTP/1.1 port in `upstreams.*.endpoints`";
    UpstreamPlainToTlsPort = "upstream_plain_to_tls_port", Upstream, Upstream, Warn, Status::Fixed(502), "http_protocol_error",
        "the upstream's port requires TLS and the proxy spoke plain HTTP to it; it answered in TLS, or with an HTTP error that says so",
        "write https:// instead of http:// in `upstreams.*.endpoints`, or write the upstream's plain HTTP port there";
    UpstreamHandshakeTimeout = "upstream_handshake_timeout", Upstream, Upstream, Warn, Status::Fixed(504), "http_response_timeout",
        "the upstream received the opening handshake and did not answer it before the deadline",
        "the upstream's event loop is blocked, or its authentication is slow; the deadline is `upstreams.*.handshake_timeout`";
    UpstreamResponseTimeout = "upstream_response_timeout", Upstream, Upstream, Warn, Status::Fixed(504), "http_response_timeout",
        "the upstream received a plain request and did not answer it before the deadline",
        "find out what the upstream was waiting for; the deadline is `routes[].http.response_timeout`";
    UpstreamClosedBeforeResponse = "upstream_closed_before_response", Upstream, Upstream, Warn, Status::Fixed(502), "http_response_incomplete",
        "the upstream closed the connection without a complete answer",
        "the upstream called socket.destroy(), crashed or restarted while it handled the request: read its log at this time";
    UpstreamMalformedResponse = "upstream_malformed_response", Upstream, Upstream, Warn, Status::Fixed(502), "http_protocol_error",
        "the upstream's answer is not HTTP/1.1, contradicts itself, or can't be passed on",
        "detail shows what came instead of an answer; check that `upstreams.*.endpoints` points at an HTTP port of the upstream";
    UpstreamHeadTooLarge = "upstream_head_too_large", Upstream, Upstream, Warn, Status::Fixed(502), "http_response_header_section_size",
        "the head of the upstream's answer is larger than allowed",
        "let the upstream send smaller cookies and fields, or raise `limits.header_bytes`";
    UpstreamHttp10101 = "upstream_http10_101", Upstream, Upstream, Warn, Status::Fixed(502), "http_protocol_error",
        "the upstream answered 101 in HTTP/1.0, which has no upgrades",
        "let the upstream, or the hop in front of it, speak HTTP/1.1";
    UpstreamBadRequest = "upstream_bad_request", Upstream, Upstream, Warn, ByStage, "http_upgrade_failed",
        "the upstream answered a correct opening handshake with 400",
        "read the relayed body and the upstream's log to see what it rejects";
    UpstreamUnauthorized = "upstream_unauthorized", Upstream, Upstream, Info, ByStage, "http_upgrade_failed",
        "the upstream answered 401",
        "the upstream's authentication rejected the client: check the client's token or cookie";
    UpstreamForbidden = "upstream_forbidden", Upstream, Upstream, Info, ByStage, "http_upgrade_failed",
        "the upstream answered 403",
        "the upstream has its own check of Origin or access: make it agree with `routes[].websocket.origins`";
    UpstreamNotFound = "upstream_not_found", Upstream, Upstream, Warn, ByStage, "http_upgrade_failed",
        "the upstream answered 404: it has no WebSocket handler for this path",
        "compare the path with the routes of the upstream's WebSocket server: it has another path than `routes[].path`, it handles only plain requests there, or a hop behind the proxy has its own routes";
    UpstreamUpgradeRequired = "upstream_upgrade_required", Upstream, Upstream, Warn, ByStage, "http_upgrade_failed",
        "the upstream answered 426: it saw no upgrade, or it requires another version",
        "look for a hop between the proxy and the upstream that removes Upgrade; if there is none, the upstream requires another protocol or version on this path";
    UpstreamRedirect = "upstream_redirect", Upstream, Upstream, Warn, ByStage, "http_upgrade_failed",
        "the upstream answered with a redirect, which WebSocket clients do not follow",
        "detail has the Location: if it is a login page, the client must log in first or send its cookie or token; if it is the same place with another slash or scheme, correct the client's URL or switch the upstream's redirect off";
    UpstreamRateLimited = "upstream_rate_limited", Upstream, Upstream, Info, ByStage, "http_upgrade_failed",
        "the upstream answered 429",
        "the upstream limits its clients: look for clients that reconnect without back-off";
    Upstream4xx = "upstream_4xx", Upstream, Upstream, Warn, ByStage, "http_upgrade_failed",
        "the upstream answered with another status in the 400s",
        "the client received the answer unchanged: read its body and the upstream's log";
    Upstream5xx = "upstream_5xx", Upstream, Upstream, Warn, ByStage, "http_upgrade_failed",
        "the upstream answered with a status in the 500s",
        "500 is an error inside the upstream; 502 and 504 come from a hop behind the proxy that can't reach it; 503 says that it is overloaded, starting or switched off: read its log at this time";
    Upstream2xxInsteadOf101 = "upstream_2xx_instead_of_101", Upstream, Upstream, Warn, ByStage, "http_upgrade_failed",
        "the upstream answered with success but did not switch protocols: a plain HTTP handler served the request",
        "route this path to the upstream's WebSocket server, not to its pages or to the fallback of a single-page application";
    Upstream101NoUpgrade = "upstream_101_no_upgrade", Upstream, Upstream, Warn, Status::Fixed(502), "http_upgrade_failed",
        "the upstream's 101 has no Upgrade: websocket",
        "a hop behind the proxy removes response fields, or the upstream builds its handshake by hand";
    Upstream101NoConnection = "upstream_101_no_connection", Upstream, Upstream, Warn, Status::Fixed(502), "http_upgrade_failed",
        "the upstream's 101 has no Connection: upgrade",
        "the upstream builds its handshake by hand, or a hop behind the proxy rewrites Connection";
    UpstreamAcceptMissing = "upstream_accept_missing", Upstream, Upstream, Warn, Status::Fixed(502), "http_upgrade_failed",
        "the upstream's 101 has no Sec-WebSocket-Accept",
        "the upstream answered 101 without a WebSocket handshake: use a WebSocket library there";
    UpstreamAcceptMismatch = "upstream_accept_mismatch", Upstream, Upstream, Warn, Status::Fixed(502), "http_upgrade_failed",
        "the upstream's Sec-WebSocket-Accept does not match the key that was sent",
        "a cache answered with an old 101, or a hop behind the proxy replaces Sec-WebSocket-Key";
    UpstreamSubprotocolUnrequested = "upstream_subprotocol_unrequested", Upstream, Upstream, Warn, Status::Fixed(502), "http_upgrade_failed",
        "the upstream chose a subprotocol that the client did not offer or that the route does not allow",
        "let the upstream choose only from the client's offer, and only from `routes[].websocket.subprotocols` if that is set";
    UpstreamExtensionUnrequested = "upstream_extension_unrequested", Upstream, Upstream, Warn, Status::Fixed(502), "http_upgrade_failed",
        "the upstream's 101 names an extension that the client did not offer, or an empty one",
        "let the upstream omit Sec-WebSocket-Extensions if none was agreed";
    Upstream101WithBody = "upstream_101_with_body", Upstream, Upstream, Warn, Status::Fixed(502), "http_protocol_error",
        "the upstream's 101 announces a body",
        "the upstream must not send Content-Length or Transfer-Encoding with a 101";
    UpstreamDouble101 = "upstream_double_101", Upstream, Upstream, Warn, Status::Fixed(502), "http_protocol_error",
        "the upstream sent a second HTTP response right after its 101",
        "two upgrade handlers or middlewares in the upstream write to the same socket: keep only one";
    Upstream101Unsolicited = "upstream_101_unsolicited", Upstream, Upstream, Warn, Status::Fixed(502), "http_protocol_error",
        "the upstream answered a plain request with 101 although the request asked for no upgrade",
        "an upgrade handler in the upstream accepts requests without Upgrade; if requests provoke this on purpose, it is an attack";
    UpstreamResponseCut = "upstream_response_cut", Upstream, Upstream, Warn, ByStage, "http_response_incomplete",
        "the upstream's answer to a plain request ended in the middle",
        "the upstream crashed or restarted while it was answering: read its log at this time";
    UpstreamResponseStalled = "upstream_response_stalled", Upstream, Upstream, Warn, ByStage, "http_response_timeout",
        "the upstream stopped sending in the middle of its answer to a plain request",
        "let the upstream send a comment now and then in a stream of events, or raise `routes[].http.idle_timeout`";
    ClientLeftResponse = "client_left_response", Upstream, Client, Info, ByStage, "http_response_incomplete",
        "the client left before the answer to its plain request was complete",
        "usually the client left the page or closed the stream; bytes_upstream_to_client says how much of the answer was sent";
    ClientStalledResponse = "client_stalled_response", Upstream, Client, Info, ByStage, "http_response_incomplete",
        "the client stopped reading the answer to its plain request",
        "the client is out of reach, or it reads slowly on purpose; the deadline for each piece is `limits.write_stall`";

    // tunnel
    ClientClose = "client_close", Tunnel, Client, Info, NoStatus, "",
        "the client sent a Close frame first",
        "this is a normal end; if the client should not have closed, look at its code: close_code_client and close_reason_client are what it sent";
    ClientGoingAway = "client_going_away", Tunnel, Client, Info, NoStatus, "",
        "the client closed with 1001, as browsers do when the user leaves or reloads a page",
        "nothing to do; a client that returns immediately has reloaded the page";
    ClientEofNoClose = "client_eof_no_close", Tunnel, Client, Info, NoStatus, "",
        "the client ended its connection in order but sent no Close frame",
        "the client ended without calling close(): a script that exited, or an app that the phone moved to the background";
    ClientReset = "client_reset", Tunnel, Client, Info, NoStatus, "",
        "the client's connection broke without an orderly end",
        "the network changed, the app was killed, or the idle timeout of a load balancer in front expired: see suspect, and compare idle_ms with that hop's timeouts";
    ClientTimeout = "client_timeout", Tunnel, Client, Info, NoStatus, "",
        "the client's side of the connection stopped acknowledging or accepting data",
        "the phone is out of reach or asleep, or a hop in front forgot the connection: a heartbeat through `routes[].websocket.ping` keeps hops from expiring it and detects this earlier";
    UpstreamClose = "upstream_close", Tunnel, Upstream, Info, NoStatus, "",
        "the upstream sent a Close frame first",
        "this is a normal end; close_code_upstream and close_reason_upstream are what the upstream sent";
    UpstreamCloseImmediate = "upstream_close_immediate", Tunnel, Upstream, Warn, NoStatus, "",
        "the upstream sent an empty Close frame right after its 101, and nothing before it",
        "the upstream accepted the handshake and left at once: it has no handler for this path (express-ws does this), or a check after the upgrade refused the client; compare path with the upstream's routes, and look at its authentication";
    UpstreamClosePolicy = "upstream_close_policy", Tunnel, Upstream, Info, NoStatus, "",
        "the upstream's application refused to continue (1008, 3000, 3003 or one of its own codes from 4000)",
        "read close_reason_upstream, and look the code up in the upstream's application";
    UpstreamCloseTooBig = "upstream_close_too_big", Tunnel, Upstream, Warn, NoStatus, "",
        "the upstream closed because a message was too big for it (1009)",
        "let the client send smaller messages, or raise the upstream's own limit (maxPayload in Node's ws, max_size in Python's websockets)";
    UpstreamCloseError = "upstream_close_error", Tunnel, Upstream, Warn, NoStatus, "",
        "the upstream closed because of an error (1002, 1003, 1007, 1010, 1011 or 1014)",
        "read the upstream's log at this time; 1002 and 1007 mean that it rejected what the client sent, 1011 that its handler failed";
    UpstreamCloseRestart = "upstream_close_restart", Tunnel, Upstream, Info, NoStatus, "",
        "the upstream closed because it is restarting or overloaded (1012, 1013)",
        "if many tunnels end at once, the upstream was deployed; let clients reconnect with back-off and jitter";
    UpstreamEofNoClose = "upstream_eof_no_close", Tunnel, Upstream, Warn, NoStatus, "",
        "the upstream ended its connection in order but sent no Close frame",
        "the upstream called terminate(), destroy() or end() on the socket, or its process exited or was killed: read its log and its exit status; `upstreams.*.on_abort` says what the client is told";
    UpstreamReset = "upstream_reset", Tunnel, Upstream, Warn, NoStatus, "",
        "the upstream's connection broke without an orderly end",
        "the upstream crashed, ran out of memory, or its pod was deleted, or it closed before it had read all of the client's data (terminate() or destroy() in Node): look at its log and exit status at this time";
    UpstreamTimeout = "upstream_timeout", Tunnel, Upstream, Warn, NoStatus, "",
        "the upstream's side of the connection stopped acknowledging or accepting data",
        "the upstream's host or network is down: look at the node that it runs on, and at the network between it and the proxy";
    CloseHandshakeTimeout = "close_handshake_timeout", Tunnel, Either, Info, NoStatus, "",
        "one side sent a Close frame and the other side never answered it",
        "by and detail say which side did not answer; the deadline is `limits.close_wait`";
    HalfCloseTimeout = "half_close_timeout", Tunnel, Proxy, Info, NoStatus, "",
        "one side ended its stream without a Close frame, and the other side then stayed silent",
        "detail says which side ended first and which one never followed; the deadline is `limits.close_wait`";
    IdleTimeout = "idle_timeout", Tunnel, Proxy, Info, NoStatus, "",
        "neither peer sent a frame for the route's idle timeout; both sides were sent Close 1001",
        "let the application send a heartbeat more often than `routes[].websocket.idle_timeout`, or raise that timeout";
    MaxLifetime = "max_lifetime", Tunnel, Proxy, Info, NoStatus, "",
        "the tunnel was open as long as the route allows; both sides were sent Close 1001",
        "clients are expected to reconnect; the limit is `routes[].websocket.max_lifetime`";
    ClosedByOperator = "closed_by_operator", Tunnel, Proxy, Info, NoStatus, "",
        "an operator closed this tunnel through the admin listener; both sides were sent Close 1001",
        "detail says who asked; clients are expected to reconnect";
    PongTimeout = "pong_timeout", Tunnel, Proxy, Info, NoStatus, "",
        "the client sent nothing after a Ping from the proxy",
        "the client is out of reach or asleep, or its library does not answer Pings; the deadline is `routes[].websocket.ping.timeout`";
    MessageTooBig = "message_too_big", Tunnel, Proxy, Warn, NoStatus, "",
        "a message was larger than the route allows; it was not passed on, and the client was sent Close 1009",
        "send smaller messages, or raise `routes[].websocket.max_message`";
    ClientProtocolError = "client_protocol_error", Tunnel, Client, Warn, NoStatus, "",
        "the client sent something that is not a WebSocket frame from a client; it was not passed on",
        "detail says which rule was violated and shows the first bytes: the client's WebSocket library is faulty, or a hop in front inserts other bytes";
    UpstreamProtocolError = "upstream_protocol_error", Tunnel, Upstream, Warn, NoStatus, "",
        "the upstream sent something that is not a WebSocket frame from a server; it was not passed on",
        "detail says which rule was violated and shows the first bytes: the upstream's WebSocket library is faulty, or something else in the upstream writes to the same socket";
    ReservedCloseCodeOnWire = "reserved_close_code_on_wire", Tunnel, Either, Warn, NoStatus, "",
        "a Close frame had a code that must not be sent (such as 1005, 1006 or 1015); it was passed on",
        "by says which application calls close() with this code: use 1000, or a code from 3000 to 4999; the user's client may report 1006 instead";
    TlsTruncated = "tls_truncated", Tunnel, Client, Info, NoStatus, "",
        "the client's TCP stream ended without TLS close_notify and without a Close frame",
        "usually the client was killed; if there are many at once, a hop in front cuts TLS connections";
    TlsRecordError = "tls_record_error", Tunnel, Network, Warn, NoStatus, "",
        "a TLS record from the client could not be decrypted or violates the protocol",
        "a middlebox on the client's network alters the stream, or someone injects data into it: see detail";
    ClientWriteStalled = "client_write_stalled", Tunnel, Client, Warn, NoStatus, "",
        "the client stopped reading, and data for it waited too long",
        "the client's app is suspended or its network is slow: send less to it, or raise `limits.write_stall`";
    UpstreamWriteStalled = "upstream_write_stalled", Tunnel, Upstream, Warn, NoStatus, "",
        "the upstream stopped reading, and data for it waited too long",
        "the upstream's event loop is blocked, or it paused its sockets; the deadline is `limits.write_stall`";
    DrainGraceful = "drain_graceful", Tunnel, Proxy, Info, NoStatus, "",
        "the proxy is shutting down or draining, and the client was sent a Close frame",
        "clients are expected to reconnect; `shutdown.close_code` is the code that they receive, and `shutdown.spread` sets the pace";
    DrainForced = "drain_forced", Tunnel, Proxy, Warn, NoStatus, "",
        "the tunnel ended during a shutdown or a drain before the client could be sent a Close frame: at the deadline, by a second signal, or because a side left first",
        "detail says why; give clients more time with `shutdown.drain`, and let the platform's grace period be longer than that";
    InternalAborted = "internal_aborted", Tunnel, Proxy, Error, NoStatus, "",
        "the proxy's own code ended without giving a reason: this is a bug, or the process was being torn down",
        "report it with the lines on stderr around this time and with the output of `wsgate check`";
}

impl Reason {
    /// What happened, in one line.
    #[must_use]
    pub const fn cause(self, language: Language) -> &'static str {
        match language {
            Language::En => self.spec().cause,
            Language::Zh => zh::cause(self),
        }
    }

    /// What to do, in one line.
    #[must_use]
    pub const fn fix(self, language: Language) -> &'static str {
        match language {
            Language::En => self.spec().fix,
            Language::Zh => zh::fix(self),
        }
    }

    /// The stable snake_case code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.spec().code
    }

    /// Whether a later attempt can succeed. The answer then has `Retry-After`.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self.spec().status, Status::Fixed(429 | 503))
    }

    /// Whether it can happen at more than one stage. Its record then has the stage that the connection had reached.
    #[must_use]
    pub const fn is_anywhere(self) -> bool {
        matches!(
            self,
            Self::Draining
                | Self::InternalAborted
                | Self::ClientConnLimit
                | Self::H2ProtocolError
                | Self::H2Flood
        )
    }

    /// Whether it happens only to plain requests.
    const fn is_plain(self) -> bool {
        matches!(
            self,
            Self::HttpBodyTooLarge
                | Self::HttpBodyTimeout
                | Self::HttpBodyIncomplete
                | Self::HttpMethodNotAllowed
                | Self::PlainHttpRequest
                | Self::UpstreamResponseTimeout
                | Self::Upstream101Unsolicited
                | Self::UpstreamResponseCut
                | Self::UpstreamResponseStalled
                | Self::ClientLeftResponse
                | Self::ClientStalledResponse
        )
    }

    /// What the client can do instead, if anything. It is part of the answer, so it names nothing of the proxy's
    /// configuration.
    #[must_use]
    pub const fn client_advice(self) -> Option<&'static str> {
        match self {
            Self::TlsPlainHttpOnTlsPort => Some("use wss:// or https:// toward this port"),
            Self::PlainHttpRequest | Self::WsHandshakeMissing => Some("use a WebSocket client"),
            Self::HttpVersionUnsupported => Some("use HTTP/1.1"),
            Self::H2cRefused => Some("use HTTP/1.1 from the start, without Upgrade: h2c"),
            Self::RedirectRefused => Some("use wss:// toward this host"),
            Self::WsVersionUnsupported => {
                Some("use a WebSocket client that speaks RFC 6455 (version 13)")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        code.parse().map_err(de::Error::custom)
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(code: &str) -> Result<Self, UnknownReason> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.code() == code)
            .ok_or_else(|| UnknownReason(code.to_owned()))
    }
}

/// A text that is not the code of a reason.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownReason(pub String);

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no reason has the code {:?}", self.0)
    }
}

impl std::error::Error for UnknownReason {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_snake_case_and_unique() {
        let mut seen = HashSet::new();
        let codes = Reason::ALL.iter().map(|reason| reason.code());
        for code in codes.chain(NoteCode::ALL.iter().map(|note| note.code())) {
            assert!(seen.insert(code), "{code} is used twice");
            assert!(
                code.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{code}"
            );
        }
    }

    #[test]
    fn no_two_reasons_share_a_hint_or_a_cause() {
        let hints: HashSet<_> = Reason::ALL.iter().map(|reason| reason.spec().fix).collect();
        let causes: HashSet<_> = Reason::ALL
            .iter()
            .map(|reason| reason.spec().cause)
            .collect();
        assert_eq!(hints.len(), Reason::ALL.len());
        assert_eq!(causes.len(), Reason::ALL.len());
    }

    #[test]
    fn reasons_stand_in_the_order_of_the_stages() {
        let stages: Vec<_> = Reason::ALL
            .iter()
            .map(|reason| reason.spec().stage)
            .collect();
        assert!(stages.is_sorted());
    }

    #[test]
    fn a_client_without_access_is_no_fault_of_the_upstream() {
        for reason in [
            Reason::UpstreamUnauthorized,
            Reason::UpstreamForbidden,
            Reason::UpstreamRateLimited,
        ] {
            assert_eq!(reason.spec().level, Level::Info, "{reason}");
        }
    }

    #[test]
    fn a_code_reads_back_as_its_reason() {
        for reason in Reason::ALL {
            assert_eq!(reason.code().parse(), Ok(*reason));
        }
        assert!("client_vanished".parse::<Reason>().is_err());
    }

    #[test]
    fn answers_name_a_proxy_status_error_and_silent_ends_do_not() {
        for reason in Reason::ALL {
            let spec = reason.spec();
            assert_eq!(
                spec.status == Status::None,
                spec.proxy_error.is_empty(),
                "{reason}"
            );
        }
    }
}
