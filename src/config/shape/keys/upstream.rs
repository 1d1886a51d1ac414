//! The tables of keys under `upstreams`.

use super::super::{Block, Kind};
use super::{optional, required};

/// `upstreams.*`.
pub static UPSTREAM: Block = Block {
    keys: &[
        required(
            "endpoints",
            Kind::Values("`http://host:port`, `https://host:port`, `unix:/path` or `builtin:echo`"),
            "Where the server listens; at least one. The default port is 80, or 443 with `https`. `builtin:echo` is an echo server inside the proxy.",
        ),
        optional(
            "balance",
            Kind::Value("`round_robin`, `least_connections` or `client_ip`"),
            "round_robin",
            "Which endpoint a client gets first.",
        ),
        optional(
            "max_tunnels",
            Kind::Value("whole number or `off`"),
            "off",
            "The most open tunnels to all endpoints together, from 1 to 1000000.",
        ),
        optional(
            "tls",
            Kind::Block(&UPSTREAM_TLS),
            "{}",
            "For `https://` endpoints; their certificates are always verified.",
        ),
        optional(
            "health_check",
            Kind::BlockOrOff(&HEALTH_CHECK),
            "off",
            "A GET that is sent to every endpoint at intervals; endpoints that fail it are not dialled.",
        ),
        optional(
            "connect_timeout",
            Kind::Value("duration"),
            "2s",
            "The time for the name look-up, the TCP connection and the TLS handshake, per endpoint; the addresses of a name share it.",
        ),
        optional(
            "handshake_timeout",
            Kind::Value("duration"),
            "10s",
            "The time from sending the request to the head of the answer.",
        ),
        optional(
            "on_abort",
            Kind::Value("`close_frame` or `transparent`"),
            "close_frame",
            "What the client gets if the upstream ends without a Close: a Close from the proxy, or the same end without a Close.",
        ),
    ],
    planned: &[],
};

/// `upstreams.*.tls`.
pub static UPSTREAM_TLS: Block = Block {
    keys: &[
        optional(
            "ca",
            Kind::Value("path"),
            "none",
            "PEM file with the authorities to trust; without it the system's authorities are trusted.",
        ),
        optional(
            "server_name",
            Kind::Value("host name"),
            "none",
            "The name to ask for, which the upstream's certificate must cover; without it the endpoint's host.",
        ),
        optional(
            "cert",
            Kind::Value("path"),
            "none",
            "PEM chain of the proxy's own certificate, for upstreams that require one; needs `key`.",
        ),
        optional(
            "key",
            Kind::Value("path"),
            "none",
            "PEM file with the private key of `cert`.",
        ),
    ],
    planned: &[],
};

/// `upstreams.*.health_check`.
pub static HEALTH_CHECK: Block = Block {
    keys: &[
        required(
            "path",
            Kind::Value("path"),
            "The path of the GET, with its query; a status in the 200s is a good answer.",
        ),
        optional(
            "interval",
            Kind::Value("duration"),
            "5s",
            "The time from one check of an endpoint to the next.",
        ),
        optional(
            "timeout",
            Kind::Value("duration"),
            "2s",
            "The time from the connection attempt to the head of the answer.",
        ),
    ],
    planned: &[],
};
