//! Who may open a tunnel: host, path, Origin and subprotocol against the routes.
//!
//! Pure: no I/O, no clock. [`check`] is the only maker of a [`Permit`].

pub mod host;
pub mod origin;
pub mod path;

use std::time::Duration;

pub use host::{Authority, HostPattern, HostSet};
pub use origin::OriginRule;
pub use path::PathPattern;

use crate::reason::{Failure, Note};

/// One entry of `routes`.
#[derive(Clone, Debug)]
pub struct Route {
    /// `None`: any host.
    pub host: Option<HostPattern>,
    /// Exact bytes, or a prefix at a segment boundary.
    pub path: PathPattern,
    /// What an opening handshake must bring.
    pub websocket: WebSocketRules,
    /// Name of the upstream.
    pub upstream: String,
}

/// `routes[].websocket`.
#[derive(Clone, Debug)]
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

/// What the policy looks at. All text is as received.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Whether the client's connection is TLS, here or at a trusted hop in front.
    pub secure: bool,
    /// TLS server name, lower case, if the connection ended here and the client sent one.
    pub sni: Option<&'a str>,
    /// Names of this listener's certificates.
    pub certificate_names: &'a HostSet,
    /// The request's host and port (Host field, or the target's in absolute form).
    pub authority: &'a Authority,
    /// The target's bytes before the first `?`.
    pub path: &'a [u8],
    /// The bytes after the first `?`.
    pub query: Option<&'a [u8]>,
    /// The values of all Origin fields.
    pub origins: &'a [&'a [u8]],
    /// The values of all Referer fields.
    pub referers: &'a [&'a [u8]],
    /// Offered subprotocols, in order.
    pub subprotocols: &'a [&'a str],
}

/// Proof that the policy let a request in: only [`check`] makes one.
#[derive(Debug)]
pub struct Permit<'r> {
    route: &'r Route,
    notes: Vec<Note>,
    referer_app_id: Option<String>,
}

impl<'r> Permit<'r> {
    /// The route that matched.
    #[must_use]
    pub fn route(&self) -> &'r Route {
        self.route
    }

    /// What the policy found worth saying.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The WeChat app id in the Referer, if there is one.
    #[must_use]
    pub fn referer_app_id(&self) -> Option<&str> {
        self.referer_app_id.as_deref()
    }
}

/// Host, then path, then Origin, then subprotocols; the first refusal wins.
///
/// # Errors
/// A [`Failure`] with a reason of the policy stage; its hint names the nearest route where there is one.
pub fn check<'r>(routes: &'r [Route], asked: &Asked<'_>) -> Result<Permit<'r>, Failure> {
    let _ = (routes, asked);
    unimplemented!()
}
