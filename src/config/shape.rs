//! Which keys `proxy.yaml` has: one table for the reader, the reference in `docs/configuration.md` and the hints.

/// A mapping of the file.
#[derive(Debug)]
pub struct Block {
    /// The keys it may have.
    pub keys: &'static [Key],
    /// Keys that are designed and that this version does not have: no typos.
    pub planned: &'static [&'static str],
}

/// A key of a [`Block`].
#[derive(Debug)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// What stands behind it.
    pub kind: Kind,
    /// Whether leaving it out is an error.
    pub required: bool,
    /// What leaving it out means; empty for required keys.
    pub default: &'static str,
    /// One line for the reference.
    pub about: &'static str,
}

/// What stands behind a [`Key`].
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Something without keys of its own, in words.
    Value(&'static str),
    /// A list of such things.
    Values(&'static str),
    /// A mapping.
    Block(&'static Block),
    /// A list of mappings.
    Blocks(&'static Block),
    /// A mapping from names of the operator's choice to mappings.
    Named(&'static Block),
}

impl Kind {
    /// The type as the reference spells it.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Value(words) => words.to_owned(),
            Self::Values(words) => format!("list: {words}"),
            Self::Block(_) => "mapping".to_owned(),
            Self::Blocks(_) => "list of mappings".to_owned(),
            Self::Named(_) => "mapping from names to mappings".to_owned(),
        }
    }

    /// How a path goes on below a key of this kind, and the keys there.
    fn below(self) -> (&'static str, Option<&'static Block>) {
        match self {
            Self::Value(_) => ("", None),
            Self::Values(_) => ("[]", None),
            Self::Block(block) => ("", Some(block)),
            Self::Blocks(block) => ("[]", Some(block)),
            Self::Named(block) => (".*", Some(block)),
        }
    }
}

impl Block {
    /// The key called `name`.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of all keys, for a report.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<_> = self.keys.iter().map(|key| key.name).collect();
        names.join(", ")
    }
}

/// Whether `key_path` is a key of this version: `limits.connections`, `upstreams.*.connect_timeout`,
/// `listeners[].tls.certificates[].cert`. An item of a list (`trusted_proxies[]`) and a named entry
/// (`upstreams.*`) count too.
#[must_use]
pub fn resolves(key_path: &str) -> bool {
    let mut block = Some(&ROOT);
    let mut segments = key_path.split('.').peekable();
    while let Some(segment) = segments.next() {
        let (name, is_item) = match segment.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (segment, false),
        };
        let Some(key) = block.and_then(|block| block.key(name)) else {
            return false;
        };
        let (suffix, inner) = key.kind.below();
        let is_last = segments.peek().is_none();
        let fits = match suffix {
            "[]" => is_item || is_last,
            ".*" => !is_item && (is_last || segments.next() == Some("*")),
            _ => !is_item,
        };
        if !fits {
            return false;
        }
        block = inner;
    }
    true
}

/// Every key's path, in the order of the tables, with the key.
#[must_use]
pub fn keys() -> Vec<(String, &'static Key)> {
    let mut found = Vec::new();
    collect("", &ROOT, &mut found);
    found
}

/// Where else than at hand the key `name` is at home: the path of the first mapping that has it.
#[must_use]
pub fn home(name: &str) -> Option<String> {
    keys().into_iter().find_map(|(path, _)| {
        let (block, last) = path.rsplit_once('.')?;
        (last == name).then(|| block.to_owned())
    })
}

fn collect(prefix: &str, block: &'static Block, found: &mut Vec<(String, &'static Key)>) {
    for key in block.keys {
        let path = format!("{prefix}{}", key.name);
        found.push((path.clone(), key));
        if let (suffix, Some(inner)) = key.kind.below() {
            collect(&format!("{path}{suffix}."), inner, found);
        }
    }
}

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
            "Peers in front of the proxy whose forwarded fields (`X-Forwarded-*`, `Forwarded`) are believed.",
        ),
        required(
            "routes",
            Kind::Blocks(&ROUTE),
            "What is let in and where it goes; at least one. The first route that matches is used.",
        ),
        required(
            "upstreams",
            Kind::Named(&UPSTREAM),
            "WebSocket servers by name; letters, digits, `-`, `_` and `.` make a name.",
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
    ],
    planned: &["load_balancer", "probes", "admin"],
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
    ],
    planned: &["proxy_protocol", "redirect_to_https"],
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
    ],
    planned: &["alpn", "client_auth"],
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
        required(
            "websocket",
            Kind::Block(&WEBSOCKET),
            "What an opening handshake must bring.",
        ),
        required("upstream", Kind::Value("name"), "A name of `upstreams`."),
    ],
    planned: &["http", "respond"],
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
            "How long a tunnel may stay silent in both directions before it is closed.",
        ),
    ],
    planned: &["explain_refusals", "ping", "max_lifetime", "max_message"],
};

/// `upstreams.*`.
pub static UPSTREAM: Block = Block {
    keys: &[
        required(
            "endpoints",
            Kind::Values("`http://host:port` or `builtin:echo`"),
            "Where the server listens; at least one. Without a port it is 80. `builtin:echo` is an echo server inside the proxy.",
        ),
        optional(
            "connect_timeout",
            Kind::Value("duration"),
            "2s",
            "For the name look-up and the TCP connection, per endpoint; the addresses of a name share it.",
        ),
        optional(
            "handshake_timeout",
            Kind::Value("duration"),
            "10s",
            "From the request sent to the head of the answer.",
        ),
    ],
    planned: &["balance", "max_tunnels", "tls", "health_check", "on_abort"],
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
            "write_stall",
            Kind::Value("duration"),
            "30s",
            "How long bytes may wait for a peer that does not read.",
        ),
        optional(
            "close_wait",
            Kind::Value("duration"),
            "5s",
            "How long one side may take to end after the other has, and a refused client to read the answer.",
        ),
    ],
    planned: &["connections_per_client", "handshakes_per_client"],
};

/// `shutdown`.
pub static SHUTDOWN: Block = Block {
    keys: &[optional(
        "drain",
        Kind::Value("duration"),
        "20s",
        "How long open tunnels may take to end.",
    )],
    planned: &["delay", "spread", "close_code"],
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
