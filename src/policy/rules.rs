//! The rules of `routes`, as the configuration resolves them.

use std::fmt;
use std::time::Duration;

use super::{HostPattern, OriginRule, PathPattern, RequestFacts};

/// The methods of a plain request that a route takes unless it lists its own (RFC 9110 section 9.3, RFC 5789): all but
/// CONNECT and TRACE, which are never forwarded.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// One entry of `routes`. `U` is what it says of its upstream: a name in the configuration, and in use the upstream itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<U = String> {
    /// `None`: any host.
    pub host: Option<HostPattern>,
    /// Exact bytes, or a prefix at a segment boundary.
    pub path: PathPattern,
    /// What becomes of a request.
    pub serves: Serves<U>,
}

impl<U> Route<U> {
    /// Whether the route is for `host` (lower case).
    pub(super) fn takes_host(&self, host: &str) -> bool {
        self.host
            .as_ref()
            .is_none_or(|pattern| pattern.matches(host))
    }

    /// Whether the route is for the host and the path of `asked`.
    pub(super) fn takes(&self, asked: &RequestFacts<'_>) -> bool {
        self.takes_host(&asked.authority.host) && self.path.matches(asked.path)
    }

    /// What opening handshakes must bring and where they go, if the route takes them.
    #[must_use]
    pub fn websocket(&self) -> Option<(&Forward<U>, &WebSocketRules)> {
        match &self.serves {
            Serves::Forward(forward) => Some((forward, forward.websocket.as_ref()?)),
            Serves::Respond(_) => None,
        }
    }

    /// The same route, for which `upstream` finds what takes the place of its upstream; `None` if it finds nothing.
    pub fn bound<V>(&self, upstream: impl FnOnce(&Forward<U>) -> Option<V>) -> Option<Route<V>> {
        Some(Route {
            host: self.host.clone(),
            path: self.path.clone(),
            serves: match &self.serves {
                Serves::Respond(respond) => Serves::Respond(respond.clone()),
                Serves::Forward(forward) => Serves::Forward(Box::new(Forward {
                    upstream: upstream(forward)?,
                    websocket: forward.websocket.clone(),
                    http: forward.http.clone(),
                })),
            },
        })
    }
}

impl<U> fmt::Display for Route<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}")?;
        }
        write!(f, "{}", self.path)
    }
}

/// What becomes of a request for a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves<U = String> {
    /// It is handed to an upstream.
    Forward(Box<Forward<U>>),
    /// The proxy answers it.
    Respond(Respond),
}

/// `routes[].upstream` and what may go there: at least one of the two kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward<U = String> {
    /// Where requests go.
    pub upstream: U,
    /// What an opening handshake must bring; `None`: there are none on this route.
    pub websocket: Option<WebSocketRules>,
    /// What a plain request must bring; `None`: there are none on this route.
    pub http: Option<HttpRules>,
}

/// `routes[].respond`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// From 200 to 599.
    pub status: u16,
    /// The whole of it.
    pub body: String,
    /// Its media type: a valid field value.
    pub content_type: String,
}

impl Respond {
    /// What may be asked of it. OPTIONS is what a health check of HAProxy's asks with unless it is told otherwise.
    pub const METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
}

/// `routes[].http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRules {
    /// The methods let through, in upper case.
    pub methods: Vec<String>,
    /// Bytes of a request's body, without its chunks' framing; `None`: any number.
    pub max_body: Option<u64>,
    /// From the end of a request's head to the end of its body.
    pub request_timeout: Duration,
    /// From the end of the request to the head of the answer.
    pub response_timeout: Duration,
    /// How long the upstream may stay silent in the middle of an answer; `None`: for ever.
    pub idle_timeout: Option<Duration>,
}

impl HttpRules {
    /// Whether the route takes `method`. Whoever may GET may ask for the head alone (RFC 9110 section 9.3.2).
    #[must_use]
    pub fn allows(&self, method: &str) -> bool {
        let lists = |wanted: &str| self.methods.iter().any(|own| own == wanted);
        lists(method) || (method == "HEAD" && lists("GET"))
    }

    /// The methods that it takes, as the Allow field lists them.
    #[must_use]
    pub fn allowed(&self) -> String {
        let mut methods: Vec<_> = self.methods.iter().map(String::as_str).collect();
        let get = methods.iter().position(|own| *own == "GET");
        if let (Some(get), false) = (get, methods.contains(&"HEAD")) {
            methods.insert(get + 1, "HEAD");
        }
        methods.join(", ")
    }
}

/// `routes[].websocket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketRules {
    /// Admitted origins; at least one.
    pub origins: Vec<OriginRule>,
    /// Admit requests without an Origin field.
    pub missing_origin: MissingOrigin,
    /// WeChat app ids whose Referer stands in for a missing Origin under the `wechat` preset.
    pub wechat_app_ids: Vec<String>,
    /// Whether Origin and Referer refusals are enforced.
    pub enforcement: Enforcement,
    /// Empty: whatever client and upstream agree on.
    pub subprotocols: Vec<String>,
    /// `None`: tunnels may stay silent for ever.
    pub idle_timeout: Option<Duration>,
    /// `None`: the client gets no Pings of the proxy.
    pub ping: Option<Ping>,
    /// `None`: tunnels may stay open for ever.
    pub max_lifetime: Option<Duration>,
    /// Bytes of a message's payload on the wire, in either direction; `None`: any size.
    pub max_message: Option<u64>,
    /// Whether a refused handshake is answered 101 and then closed with the reason's code.
    pub explain_refusals: bool,
}

/// `routes[].websocket.ping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Silence in both directions after which the client gets a Ping.
    pub interval: Duration,
    /// How long the client may stay silent after a Ping.
    pub timeout: Duration,
}

/// `routes[].websocket.missing_origin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingOrigin {
    /// `origin_missing`.
    Refuse,
    /// Let through: for clients that are not browsers and bring a token.
    Allow,
}

/// `routes[].websocket.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Refuse.
    Enforce,
    /// Let through and note what would be refused.
    Report,
}
