//! The rules of `routes`, as the configuration resolves them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{HostPattern, OriginRule, PathPattern, RequestFacts};

/// The methods that a route accepts if it does not list its own (RFC 9110 section 9.3, RFC 5789): all except CONNECT
/// and TRACE, which are never forwarded.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// One entry of `routes`. `U` is the upstream's name in a configuration, and the upstream itself in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<U = String> {
    /// `None`: any host.
    pub host: Option<HostPattern>,
    /// Exact bytes, or a prefix at a segment boundary.
    pub path: PathPattern,
    /// What happens to a request.
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

    /// The rules for opening handshakes and where they go, if the route accepts them.
    #[must_use]
    pub fn websocket(&self) -> Option<(&Forward<U>, &WebSocketRules)> {
        match &self.serves {
            Serves::Forward(forward) => Some((forward, forward.websocket.as_deref()?)),
            Serves::Respond(_) => None,
        }
    }

    /// The same route with the upstream that `upstream` finds for it; `None` if it finds nothing. Both share the rules.
    pub fn bound<V>(&self, upstream: impl FnOnce(&Forward<U>) -> Option<V>) -> Option<Route<V>> {
        Some(Route {
            host: self.host.clone(),
            path: self.path.clone(),
            serves: match &self.serves {
                Serves::Respond(respond) => Serves::Respond(Arc::clone(respond)),
                Serves::Forward(forward) => Serves::Forward(Forward {
                    upstream: upstream(forward)?,
                    websocket: forward.websocket.clone(),
                    http: forward.http.clone(),
                }),
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

/// What happens to a request for a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves<U = String> {
    /// It is sent to an upstream.
    Forward(Forward<U>),
    /// The proxy answers it.
    Respond(Arc<Respond>),
}

/// `routes[].upstream` and what may go there: at least one of the two kinds of request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward<U = String> {
    /// Where requests go.
    pub upstream: U,
    /// The rules for opening handshakes; `None`: the route does not accept them.
    pub websocket: Option<Arc<WebSocketRules>>,
    /// The rules for plain requests; `None`: the route does not accept them.
    pub http: Option<Arc<HttpRules>>,
}

/// `routes[].respond`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// The status, from 200 to 599.
    pub status: u16,
    /// The whole body.
    pub body: String,
    /// The media type of the body: a valid field value.
    pub content_type: String,
}

impl Respond {
    /// The accepted methods. OPTIONS is the default of HAProxy's health checks.
    pub const METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
}

/// `routes[].http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRules {
    /// The accepted methods, in upper case.
    pub methods: Vec<String>,
    /// The most bytes of a request's body, without the framing of chunks; `None`: no limit.
    pub max_body: Option<u64>,
    /// The time from the end of a request's head to the end of its body.
    pub request_timeout: Duration,
    /// The time from the end of the request to the head of the answer.
    pub response_timeout: Duration,
    /// How long the upstream may stay silent during an answer; `None`: no limit.
    pub idle_timeout: Option<Duration>,
}

impl HttpRules {
    /// Whether the route accepts `method`. GET includes HEAD (RFC 9110 section 9.3.2).
    #[must_use]
    pub fn allows(&self, method: &str) -> bool {
        let lists = |wanted: &str| self.methods.iter().any(|own| own == wanted);
        lists(method) || (method == "HEAD" && lists("GET"))
    }

    /// The accepted methods, as the Allow field lists them.
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
    /// The admitted origins; at least one.
    pub origins: Vec<OriginRule>,
    /// What happens to requests without an Origin field.
    pub missing_origin: MissingOrigin,
    /// WeChat app ids. With `wechat` among the origins, a Referer that names one replaces a missing Origin.
    pub wechat_app_ids: Vec<String>,
    /// Whether Origin and Referer refusals are enforced.
    pub enforcement: Enforcement,
    /// The allowed subprotocols; empty: any.
    pub subprotocols: Vec<String>,
    /// How long a tunnel may stay silent; `None`: no limit.
    pub idle_timeout: Option<Duration>,
    /// `None`: the proxy sends no Pings of its own.
    pub ping: Option<Ping>,
    /// How long a tunnel may stay open; `None`: no limit.
    pub max_lifetime: Option<Duration>,
    /// The most bytes of a message's payload on the wire, in either direction; `None`: no limit.
    pub max_message: Option<u64>,
    /// Whether a refused handshake is answered with 101 and then closed with the reason's code.
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
    /// Refuse the request with `origin_missing`.
    Refuse,
    /// Admit the request: for clients that are not browsers and send a token.
    Allow,
}

/// `routes[].websocket.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Refuse the request.
    Enforce,
    /// Admit the request, and note why it would be refused.
    Report,
}
