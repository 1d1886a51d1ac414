//! The tables of keys under `upstreams`.

use super::super::{Block, Kind};
use super::{optional, required};

/// `upstreams.*`.
pub static UPSTREAM: Block = Block {
    keys: &[
        required(
            "endpoints",
            Kind::Values("`http://host:port`, `https://host:port`, `unix:/path` or `builtin:echo`"),
            "Where the server listens; at least one. Without a port it is 80, or 443 with `https`. `builtin:echo` is an echo server inside the proxy.",
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
            "Open tunnels to all endpoints together, from 1 to 1000000.",
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
            "A GET that every endpoint is asked again and again; one that does not answer well is not dialled.",
        ),
        optional(
            "connect_timeout",
            Kind::Value("duration"),
            "2s",
            "For the name look-up, the TCP connection and the TLS handshake, per endpoint; the addresses of a name share it.",
        ),
        optional(
            "handshake_timeout",
            Kind::Value("duration"),
            "10s",
            "From the request sent to the head of the answer.",
        ),
        optional(
            "on_abort",
            Kind::Value("`close_frame` or `transparent`"),
            "close_frame",
            "What the client gets when the upstream goes without a Close: a Close of the proxy's own, or the same bare end.",
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
            "PEM file with the authorities to trust; without it the system's are.",
        ),
        optional(
            "server_name",
            Kind::Value("host name"),
            "none",
            "The name to ask for, and that the upstream's certificate must be for; without it the endpoint's host.",
        ),
        optional(
            "cert",
            Kind::Value("path"),
            "none",
            "PEM chain of the proxy's own certificate, for upstreams that want one; with `key`.",
        ),
        optional("key", Kind::Value("path"), "none", "Its PEM private key."),
    ],
    planned: &[],
};

/// `upstreams.*.health_check`.
pub static HEALTH_CHECK: Block = Block {
    keys: &[
        required(
            "path",
            Kind::Value("path"),
            "What is asked for, with its query; a status in the 200s is a good answer.",
        ),
        optional(
            "interval",
            Kind::Value("duration"),
            "5s",
            "From one check of an endpoint to the next.",
        ),
        optional(
            "timeout",
            Kind::Value("duration"),
            "2s",
            "From the connection attempt to the head of the answer.",
        ),
    ],
    planned: &[],
};
