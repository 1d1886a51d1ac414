//! The tables of keys under `routes`.

use super::super::{Block, Kind};
use super::{optional, required};

/// `routes[]`.
pub static ROUTE: Block = Block {
    keys: &[
        optional(
            "host",
            Kind::Value("host name"),
            "any",
            "The request's host: an exact name, or `*.example.com` for names with exactly one more label.",
        ),
        required(
            "path",
            Kind::Value("path"),
            "The request's path, compared byte by byte. `/public/*` matches everything below `/public/`. A handshake whose path is close to it (letter case, slashes, or at most 2 edits and a quarter of the length) is refused with `path_near_miss`, and the record names the route.",
        ),
        optional(
            "websocket",
            Kind::Block(&WEBSOCKET),
            "none",
            "The rules for opening handshakes. Without this key the route does not accept any.",
        ),
        optional(
            "http",
            Kind::Block(&HTTP),
            "none",
            "The rules for plain requests; `{}` means the defaults. Without this key the route does not accept any. May be combined with `websocket`.",
        ),
        optional(
            "respond",
            Kind::Block(&RESPOND),
            "none",
            "The proxy answers GET, HEAD and OPTIONS itself, without an upstream. Not allowed together with `websocket`, `http` or `upstream`.",
        ),
        optional(
            "upstream",
            Kind::Value("name"),
            "none",
            "A name in `upstreams`; required with `websocket` and `http`.",
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
            "The methods that are admitted. GET includes HEAD; CONNECT and TRACE are never forwarded.",
        ),
        optional(
            "max_body",
            Kind::Value("size or `off`"),
            "10MiB",
            "The largest body of a request, up to 1TiB.",
        ),
        optional(
            "request_timeout",
            Kind::Value("duration"),
            "5m",
            "The time from the end of a request's head to the end of its body.",
        ),
        optional(
            "response_timeout",
            Kind::Value("duration"),
            "1m",
            "The time from the end of the request to the head of the answer.",
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
            "The whole body, at most 64KiB, sent exactly as written here.",
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
            "Pages that may connect; at least one. `self` means the route's own host, `wechat` the mini programs of `wechat_app_ids`.",
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
            "`report` admits an Origin or Referer that would be refused, and notes it in the record.",
        ),
        optional(
            "subprotocols",
            Kind::Values("token"),
            "[]",
            "Subprotocols that are admitted; if the list is empty, client and upstream may agree on any.",
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
            "How long a tunnel may stay open, even if it is busy.",
        ),
        optional(
            "max_message",
            Kind::Value("size or `off`"),
            "off",
            "The largest message in either direction, from 1 byte to 1GiB: the payload on the wire, summed over its fragments.",
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
