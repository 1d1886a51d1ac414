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
            "What is let in and where it goes; at least one. The first route that matches is used.",
        ),
        required(
            "upstreams",
            Kind::Named(&UPSTREAM),
            "Servers by name; letters, digits, `-`, `_` and `.` make a name.",
        ),
        optional(
            "load_balancer",
            Kind::Block(&LOAD_BALANCER),
            "none",
            "What is known of the hop in front of the proxy; nothing is asked of it.",
        ),
        optional(
            "limits",
            Kind::Block(&LIMITS),
            "{}",
            "Bounds on what peers may use.",
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
            "What is written of the records.",
        ),
        optional(
            "probes",
            Kind::Block(&PROBES),
            "none",
            "A listener for health checks and metrics, which answers /healthz, /readyz and /metrics.",
        ),
        optional(
            "admin",
            Kind::Block(&ADMIN),
            "none",
            "A listener for whoever runs the proxy, which takes POST /drain and answers what `probes` does.",
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
            "What it is called in records and hints.",
        ),
        optional(
            "idle_timeout",
            Kind::Value("duration"),
            "none",
            "After how much silence it closes a connection.",
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
            "Where to listen: `0.0.0.0:8443`, or `[::]:8443` for IPv6. Port 0 takes a free port.",
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
            "For a listener without `tls`: plain requests are answered 308 to https://, opening handshakes 426 with words, as their clients follow no redirect.",
        ),
        optional(
            "proxy_protocol",
            Kind::Value("`off` or `required`"),
            "off",
            "Whether each connection begins with a PROXY protocol header (version 1 or 2) that names the client; taken from `trusted_proxies` only.",
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
            "Certificates, chosen by the name that the client asks for; the first when it asks for none. Needed unless `self_signed` is true.",
        ),
        optional(
            "self_signed",
            Kind::Value("true or false"),
            "false",
            "Development only: makes `certs/dev.pem` and `certs/dev-key.pem` for localhost if they are missing. Not beside `certificates`.",
        ),
        optional(
            "min_version",
            Kind::Value("`1.2` or `1.3`"),
            "1.2",
            "The least TLS version.",
        ),
        optional(
            "unknown_sni",
            Kind::Value("`refuse` or `default`"),
            "refuse",
            "What a client gets that asks for a name no certificate covers: an alert, or the first certificate.",
        ),
        optional(
            "client_auth",
            Kind::Block(&CLIENT_AUTH),
            "none",
            "Certificates that clients present. Not for browsers and mini programs, which have no way to.",
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
            "`optional` lets clients without a certificate through; one that is presented must be good all the same.",
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
            "PEM file with the certificate and its chain, the leaf first.",
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
            "Open client connections, from 1 to 1000000.",
        ),
        optional(
            "connections_per_client",
            Kind::Value("whole number or `off`"),
            "off",
            "Open connections of one client address (IPv6: of one /64), from 1 to 1000000.",
        ),
        optional(
            "handshakes_per_client",
            Kind::Value("whole number or `off`"),
            "off",
            "Opening handshakes of one client address (IPv6: of one /64) in a minute, from 1 to 1000000.",
        ),
        optional(
            "header_bytes",
            Kind::Value("size"),
            "16KiB",
            "Size of a request head or of a response head, from 8KiB to 1MiB.",
        ),
        optional(
            "tls_handshake",
            Kind::Value("duration"),
            "10s",
            "From the accepted connection to the end of the TLS handshake.",
        ),
        optional(
            "request_head",
            Kind::Value("duration"),
            "10s",
            "From there to the end of the request head.",
        ),
        optional(
            "keep_alive",
            Kind::Value("duration"),
            "90s",
            "How long a connection may wait for its next request. Longer than the same timer of a load balancer in front, or requests are lost between the two.",
        ),
        optional(
            "write_stall",
            Kind::Value("duration"),
            "30s",
            "How long bytes may wait for a peer that does not read. Four times as long, at least 1s, for one that acknowledges nothing.",
        ),
        optional(
            "close_wait",
            Kind::Value("duration"),
            "5s",
            "How long one side may take to end after the other has, and a refused client to read the answer.",
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
            "How long everything is still accepted and served after the signal.",
        ),
        optional(
            "drain",
            Kind::Value("duration"),
            "20s",
            "From the end of `delay`: how long tunnels, which are closed with `close_code`, may take to end. What is left then is cut.",
        ),
        optional(
            "spread",
            Kind::Value("duration or `0s`"),
            "5s",
            "Over how much of `drain` the Closes to open tunnels are spread. Where it is not written, `drain` less `limits.close_wait` if that is shorter.",
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
            "When the platform kills the process after it asked for its end (`terminationGracePeriodSeconds`, `TimeoutStopSec`, `stop_grace_period`). It changes nothing but the warnings of `wsgate check`.",
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
            "The least level written; records below it are only counted, whatever their event. `warn` and `error` leave out the refusals that clients cause, which are `info`: `wsgate check` warns of that. The lifecycle of the process (start, reload and its certificates, drain, end) is always written.",
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
            "Query parameters whose values are written; all others are left out.",
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
        "Where health checks and scrapes are answered, over plain HTTP; whoever reaches it can read whether the proxy is ready, and its metrics.",
    )],
    planned: &[],
};

/// `admin`.
pub static ADMIN: Block = Block {
    keys: &[required(
        "address",
        Kind::Value("IP:port"),
        "Where a drain can be asked for, over plain HTTP; whoever reaches it can end every tunnel, so keep it on loopback.",
    )],
    planned: &[],
};
