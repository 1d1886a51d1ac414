//! The tables of keys, one for each mapping of the file.

mod routes;
mod upstream;

use super::{Block, Key, Kind};
pub use routes::{HTTP, PING, RESPOND, ROUTE, WEBSOCKET};
pub use upstream::{HEALTH_CHECK, UPSTREAM, UPSTREAM_TLS};

const fn required(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key {
        name,
        kind,
        required: true,
        default: "",
        about,
    }
}

const fn optional(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> Key {
    Key {
        name,
        kind,
        required: false,
        default,
        about,
    }
}

/// The whole file.
pub static ROOT: Block = Block {
    keys: &[
        required(
            "listeners",
            Kind::Blocks(&LISTENER),
            "Addresses to accept connections on; at least one.",
        ),
        optional(
            "trusted_proxies",
            Kind::Values("network or address"),
            "[]",
            "Peers in front of the proxy whose forwarded fields (`X-Forwarded-*`, `Forwarded`) and PROXY protocol headers are believed.",
        ),
        required(
            "routes",
            Kind::Blocks(&ROUTE),
            "Which requests are admitted and where they go; at least one. The first route that matches is used.",
        ),
        required(
            "upstreams",
            Kind::Named(&UPSTREAM),
            "The servers by name; a name may have letters, digits, `-`, `_` and `.`.",
        ),
        optional(
            "load_balancer",
            Kind::Block(&LOAD_BALANCER),
            "none",
            "What you know about the hop in front of the proxy. The proxy uses it only for warnings and for hints in records.",
        ),
        optional(
            "limits",
            Kind::Block(&LIMITS),
            "{}",
            "Limits on what peers may use.",
        ),
        optional(
            "shutdown",
            Kind::Block(&SHUTDOWN),
            "{}",
            "How the process stops.",
        ),
        optional(
            "log",
            Kind::Block(&LOG),
            "{}",
            "Which records are written, and how.",
        ),
        optional(
            "probes",
            Kind::Block(&PROBES),
            "none",
            "A listener for health checks and metrics. It answers /healthz, /readyz and /metrics.",
        ),
        optional(
            "admin",
            Kind::Block(&ADMIN),
            "none",
            "A listener for the operator. It accepts POST /drain and answers everything that `probes` answers.",
        ),
    ],
    planned: &[],
};

/// `load_balancer`.
pub static LOAD_BALANCER: Block = Block {
    keys: &[
        optional(
            "name",
            Kind::Value("text"),
            "none",
            "Its name in records and hints.",
        ),
        optional(
            "idle_timeout",
            Kind::Value("duration"),
            "none",
            "After how much silence the hop closes a connection.",
        ),
    ],
    planned: &[],
};

/// `listeners[]`.
pub static LISTENER: Block = Block {
    keys: &[
        required(
            "address",
            Kind::Value("IP:port"),
            "The address to listen on: `0.0.0.0:8443`, or `[::]:8443` for IPv6. With port 0 the system chooses a free port.",
        ),
        optional(
            "tls",
            Kind::Block(&TLS),
            "none",
            "Without it the listener is plain, for use behind a hop that ends TLS.",
        ),
        optional(
            "redirect_to_https",
            Kind::Value("true or false"),
            "false",
            "For a listener without `tls`: plain requests get a 308 to https://. Opening handshakes get a 426 that says why, because their clients do not follow redirects.",
        ),
        optional(
            "proxy_protocol",
            Kind::Value("`off` or `required`"),
            "off",
            "Whether each connection begins with a PROXY protocol header (version 1 or 2) that names the client. Headers are accepted from `trusted_proxies` only.",
        ),
    ],
    planned: &[],
};

/// `listeners[].tls`.
pub static TLS: Block = Block {
    keys: &[
        optional(
            "certificates",
            Kind::Blocks(&CERTIFICATE),
            "none",
            "Certificates, chosen by the name that the client asks for; the first one if the client asks for no name. Required unless `self_signed` is true.",
        ),
        optional(
            "self_signed",
            Kind::Value("true or false"),
            "false",
            "Development only: makes `certs/dev.pem` and `certs/dev-key.pem` for localhost if they are missing. Not allowed together with `certificates`.",
        ),
        optional(
            "min_version",
            Kind::Value("`1.2` or `1.3`"),
            "1.2",
            "The lowest TLS version.",
        ),
        optional(
            "unknown_sni",
            Kind::Value("`refuse` or `default`"),
            "refuse",
            "What a client gets if it asks for a name that no certificate covers: an alert, or the first certificate.",
        ),
        optional(
            "client_auth",
            Kind::Block(&CLIENT_AUTH),
            "none",
            "Asks clients for certificates. Not for browsers and mini programs, which can't present any.",
        ),
    ],
    planned: &["alpn"],
};

/// `listeners[].tls.client_auth`.
pub static CLIENT_AUTH: Block = Block {
    keys: &[
        required(
            "ca",
            Kind::Value("file"),
            "PEM file with the authorities that issue the clients' certificates.",
        ),
        optional(
            "mode",
            Kind::Value("`required` or `optional`"),
            "required",
            "`optional` admits clients without a certificate, but a certificate that is presented must be valid.",
        ),
    ],
    planned: &[],
};

/// `listeners[].tls.certificates[]`.
pub static CERTIFICATE: Block = Block {
    keys: &[
        required(
            "cert",
            Kind::Value("file"),
            "PEM file with the certificate and its chain, leaf first.",
        ),
        required("key", Kind::Value("file"), "PEM file with the private key."),
    ],
    planned: &[],
};

/// `limits`.
pub static LIMITS: Block = Block {
    keys: &[
        optional(
            "connections",
            Kind::Value("whole number"),
            "10000",
            "The most open client connections, from 1 to 1000000.",
        ),
        optional(
            "connections_per_client",
            Kind::Value("whole number or `off`"),
            "off",
            "The most open connections of one client address (IPv6: of one /64), from 1 to 1000000.",
        ),
        optional(
            "handshakes_per_client",
            Kind::Value("whole number or `off`"),
            "off",
            "The most opening handshakes of one client address (IPv6: of one /64) in a minute, from 1 to 1000000.",
        ),
        optional(
            "header_bytes",
            Kind::Value("size"),
            "16KiB",
            "The largest head of a request or of a response, from 8KiB to 1MiB.",
        ),
        optional(
            "tls_handshake",
            Kind::Value("duration"),
            "10s",
            "The time from accepting the connection to the end of the TLS handshake.",
        ),
        optional(
            "request_head",
            Kind::Value("duration"),
            "10s",
            "The time from there to the end of the request head.",
        ),
        optional(
            "keep_alive",
            Kind::Value("duration"),
            "90s",
            "How long a connection may wait for its next request. Must be longer than the same timer of a load balancer in front, or requests are lost between the two.",
        ),
        optional(
            "write_stall",
            Kind::Value("duration"),
            "30s",
            "How long bytes may wait for a peer that does not read. A peer that does not acknowledge anything has four times as long, at least 1s.",
        ),
        optional(
            "close_wait",
            Kind::Value("duration"),
            "5s",
            "How long one side may take to end after the other side has ended, and how long a refused client may take to read the answer.",
        ),
    ],
    planned: &[],
};

/// `shutdown`.
pub static SHUTDOWN: Block = Block {
    keys: &[
        optional(
            "delay",
            Kind::Value("duration or `0s`"),
            "0s",
            "How long the proxy still accepts and serves everything after the signal.",
        ),
        optional(
            "drain",
            Kind::Value("duration"),
            "20s",
            "How long tunnels may take to end, counted from the end of `delay`. They are closed with `close_code`; tunnels that are left after this time are cut.",
        ),
        optional(
            "spread",
            Kind::Value("duration or `0s`"),
            "5s",
            "The time over which the Closes to open tunnels are spread, within `drain`. If this key is not set and `drain` less `limits.close_wait` is shorter than the default, that is used instead.",
        ),
        optional(
            "close_code",
            Kind::Value("1000, 1001, 1012, 1013 or 3000 to 4999"),
            "1012",
            "The status code of the Closes that end open tunnels.",
        ),
        optional(
            "grace_period",
            Kind::Value("duration or `off`"),
            "off",
            "How long after its request to stop the platform kills the process (`terminationGracePeriodSeconds`, `TimeoutStopSec`, `stop_grace_period`). It affects only the warnings of `wsgate check`.",
        ),
    ],
    planned: &[],
};

/// `log`.
pub static LOG: Block = Block {
    keys: &[
        optional(
            "level",
            Kind::Value("`debug`, `info`, `warn` or `error`"),
            "info",
            "The lowest level that is written; records below it are only counted, whatever their event. `warn` and `error` leave out the refusals that clients cause, which are `info`; `wsgate check` warns about that. The lifecycle of the process (start, reload and its certificates, drain, end) is always written.",
        ),
        optional(
            "format",
            Kind::Value("`auto`, `json` or `text`"),
            "auto",
            "`auto` is text on a terminal and JSON otherwise.",
        ),
        optional(
            "query_keep",
            Kind::Values("query parameter"),
            "[]",
            "Query parameters whose values are written; all other values are left out.",
        ),
        optional(
            "client_address",
            Kind::Value("`full`, `truncated` or `off`"),
            "full",
            "How much of a client's address is written, also in `records_suppressed`.",
        ),
    ],
    planned: &[],
};

/// `probes`.
pub static PROBES: Block = Block {
    keys: &[required(
        "address",
        Kind::Value("IP:port"),
        "The address that answers health checks and scrapes, over plain HTTP. Anyone who can reach it can read whether the proxy is ready, and its metrics.",
    )],
    planned: &[],
};

/// `admin`.
pub static ADMIN: Block = Block {
    keys: &[required(
        "address",
        Kind::Value("IP:port"),
        "The address that accepts requests for a drain, over plain HTTP. Anyone who can reach it can end every tunnel, so keep it on loopback.",
    )],
    planned: &[],
};
