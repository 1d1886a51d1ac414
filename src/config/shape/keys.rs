//! The tables of keys, one for each mapping of the file.

mod upstream;

use super::{Block, Key, Kind};
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
            "A listener for health checks, which answers /healthz and /readyz.",
        ),
        optional(
            "admin",
            Kind::Block(&ADMIN),
            "none",
            "A listener for whoever runs the proxy, which takes POST /drain.",
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

/// `routes[]`.
pub static ROUTE: Block = Block {
    keys: &[
        optional(
            "host",
            Kind::Value("host name"),
            "any",
            "The request's host: an exact name, or `*.example.com` for one label more.",
        ),
        required(
            "path",
            Kind::Value("path"),
            "The request's path, compared byte by byte. `/public/*` matches everything below `/public/`.",
        ),
        optional(
            "websocket",
            Kind::Block(&WEBSOCKET),
            "none",
            "What an opening handshake must bring. Without it the route takes none.",
        ),
        optional(
            "http",
            Kind::Block(&HTTP),
            "none",
            "What a plain request must bring; `{}` takes the defaults. Without it the route takes none. May stand beside `websocket`.",
        ),
        optional(
            "respond",
            Kind::Block(&RESPOND),
            "none",
            "The proxy answers GET and HEAD itself, without an upstream. Not beside `websocket`, `http` and `upstream`.",
        ),
        optional(
            "upstream",
            Kind::Value("name"),
            "none",
            "A name of `upstreams`; needed beside `websocket` and `http`.",
        ),
    ],
    planned: &[],
};

/// `routes[].http`.
pub static HTTP: Block = Block {
    keys: &[
        optional(
            "methods",
            Kind::Values("method"),
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            "The methods let through. GET takes HEAD with it; CONNECT and TRACE are never forwarded.",
        ),
        optional(
            "max_body",
            Kind::Value("size or `off`"),
            "10MiB",
            "The largest body of a request, up to 1TiB.",
        ),
        optional(
            "request_timeout",
            Kind::Value("duration or `off`"),
            "5m",
            "From the end of a request's head to the end of its body.",
        ),
        optional(
            "response_timeout",
            Kind::Value("duration"),
            "1m",
            "From the end of the request to the head of the answer.",
        ),
        optional(
            "idle_timeout",
            Kind::Value("duration or `off`"),
            "5m",
            "How long the upstream may stay silent in the middle of an answer.",
        ),
    ],
    planned: &[],
};

/// `routes[].respond`.
pub static RESPOND: Block = Block {
    keys: &[
        optional(
            "status",
            Kind::Value("200 to 599"),
            "200",
            "The status of the answer.",
        ),
        optional(
            "body",
            Kind::Value("text"),
            "empty",
            "The whole body, at most 64KiB, sent as it stands here.",
        ),
        optional(
            "content_type",
            Kind::Value("media type"),
            "text/plain; charset=utf-8",
            "The Content-Type of the answer.",
        ),
    ],
    planned: &[],
};

/// `routes[].websocket`.
pub static WEBSOCKET: Block = Block {
    keys: &[
        required(
            "origins",
            Kind::Values("origin, `self` or `wechat`"),
            "Pages that may connect; at least one. `self` is the route's own host, `wechat` the mini programs of `wechat_app_ids`.",
        ),
        optional(
            "missing_origin",
            Kind::Value("`refuse` or `allow`"),
            "refuse",
            "What happens to a request without an Origin; browsers always send one.",
        ),
        optional(
            "wechat_app_ids",
            Kind::Values("`wx` and 16 hexadecimal digits"),
            "[]",
            "Mini programs that the origin `wechat` admits.",
        ),
        optional(
            "policy",
            Kind::Value("`enforce` or `report`"),
            "enforce",
            "`report` lets a refused Origin or Referer through and notes it in the record.",
        ),
        optional(
            "subprotocols",
            Kind::Values("token"),
            "[]",
            "Subprotocols to let through; without any, whatever client and upstream agree on.",
        ),
        optional(
            "idle_timeout",
            Kind::Value("duration or `off`"),
            "off",
            "How long a tunnel may stay silent in both directions before it is closed. Only the peers' own frames count.",
        ),
        optional(
            "ping",
            Kind::BlockOrOff(&PING),
            "off",
            "Pings to the client while a tunnel is silent in both directions.",
        ),
        optional(
            "max_lifetime",
            Kind::Value("duration or `off`"),
            "off",
            "How long a tunnel may stay open, however busy.",
        ),
        optional(
            "max_message",
            Kind::Value("size or `off`"),
            "off",
            "The largest message either way, from 1 byte to 1GiB: the payload on the wire, summed over its fragments.",
        ),
        optional(
            "explain_refusals",
            Kind::Value("true or false"),
            "false",
            "For clients that hide HTTP errors: a refused handshake gets a 101 and then a Close with the reason's code.",
        ),
    ],
    planned: &[],
};

/// `routes[].websocket.ping`.
pub static PING: Block = Block {
    keys: &[
        required(
            "interval",
            Kind::Value("duration"),
            "After how much silence in both directions the client gets a Ping.",
        ),
        optional(
            "timeout",
            Kind::Value("duration"),
            "10s",
            "How long the client may stay silent after a Ping.",
        ),
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
            "75s",
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
            "The least level written; records below it are only counted.",
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
            "How much of a client's address is written.",
        ),
    ],
    planned: &[],
};

/// `probes`.
pub static PROBES: Block = Block {
    keys: &[required(
        "address",
        Kind::Value("IP:port"),
        "Where health checks are answered, over plain HTTP; whoever reaches it can read whether the proxy is ready.",
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
