//! Origins (RFC 6454) are compared as tuples, never as substrings.

use std::fmt;

use super::host::{Authority, HostPattern, bracketed, is_wildcard_base, wildcard_too_wide};
use super::wechat;

/// One entry of `routes[].websocket.origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginRule {
    /// `self`: pages of the route's own host.
    SameHost,
    /// `wechat`: WeChat's clients, with the app ids of `routes[].websocket.wechat_app_ids`.
    Wechat,
    /// A written-out origin, perhaps with a wildcard.
    Listed(OriginPattern),
}

impl OriginRule {
    /// Parses `self`, `wechat`, `https://host`, `https://host:port`, `https://*.host`, or an origin of another
    /// scheme such as `weapp://wechat-game-runtime`. Upper case in scheme and host is folded.
    ///
    /// # Errors
    /// What is wrong with `text` and what to write instead, in words for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "self" => Ok(Self::SameHost),
            "wechat" => Ok(Self::Wechat),
            _ => OriginPattern::parse(text).map(Self::Listed),
        }
    }

    /// Whether the rule needs a route with an exact host.
    #[must_use]
    pub fn needs_exact_host(&self) -> bool {
        matches!(self, Self::SameHost)
    }

    /// Whether the rule needs a route that lists WeChat app ids.
    #[must_use]
    pub fn needs_wechat_app_ids(&self) -> bool {
        matches!(self, Self::Wechat)
    }
}

impl fmt::Display for OriginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameHost => f.write_str("self"),
            Self::Wechat => f.write_str("wechat"),
            Self::Listed(pattern) => pattern.fmt(f),
        }
    }
}

/// A written-out origin of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(Pattern);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// `http` or `https`.
    Tuple {
        scheme: String,
        host: HostPattern,
        /// `None`: the scheme's default.
        port: Option<u16>,
    },
    /// Any other scheme: the whole string, with its scheme in lower case.
    Text(String),
}

impl OriginPattern {
    /// The `https` origin of `host` on the default port.
    pub(super) fn https(host: &str) -> Self {
        let host = HostPattern::Exact(host.to_owned());
        Self(Pattern::Tuple {
            scheme: "https".to_owned(),
            host,
            port: None,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(problem) = unusable_as_a_whole(text) {
            return Err(problem);
        }
        let Some((scheme, rest)) = text
            .split_once("://")
            .filter(|(scheme, _)| is_scheme(scheme))
        else {
            let bare = text.trim_matches(['"', '\'']);
            let (scheme, rest) = match bare.split_once(':') {
                // `https:host` and `https:/host`.
                Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
                _ => (
                    "https",
                    bare.split_once("//").map_or(bare, |(_, rest)| rest),
                ),
            };
            return Err(format!(
                "{text:?} has no scheme: write {scheme}://{}",
                authority_part(rest.trim_start_matches('/'))
            ));
        };
        let scheme = scheme.to_ascii_lowercase();
        let authority = authority_part(rest);
        let pattern = match scheme.as_str() {
            "ws" | "wss" => {
                let page = if scheme == "ws" { "http" } else { "https" };
                Err(format!(
                    "{text:?} is the URL of the socket, but an origin is the address of a page: write {page}://{authority}"
                ))
            }
            "http" | "https" => {
                if let Some((_, host)) = authority.rsplit_once('@') {
                    Err(format!("{text:?} has a user name: write {scheme}://{host}"))
                } else if rest.strip_suffix('/') == Some(authority) {
                    Err(format!(
                        "{text:?} has a trailing slash: remove the path, write {scheme}://{authority}"
                    ))
                } else if rest != authority {
                    Err(format!(
                        "{text:?} has more than an origin: remove the path, write {scheme}://{authority}"
                    ))
                } else {
                    let (host, port) = parse_authority(text, &scheme, authority)?;
                    let port = port.filter(|port| Some(*port) != default_port(&scheme));
                    Ok(Pattern::Tuple { scheme, host, port })
                }
            }
            _ if rest.contains('*') => Err(format!(
                "{text:?} has a wildcard, which only http and https allow: write the whole origin"
            )),
            _ => match Origin::parse(text.as_bytes()) {
                Ok(Origin::Text(origin)) => Ok(Pattern::Text(origin)),
                Ok(_) => Err(format!(
                    "{text:?} is not an origin: write it exactly as the client sends it"
                )),
                Err(what) => Err(format!(
                    "{text:?} {what}: write it exactly as the client sends it"
                )),
            },
        };
        pattern.map(Self)
    }

    /// Whether WeChat's clients are known to send it.
    #[must_use]
    pub fn is_wechat(&self) -> bool {
        Origin::parse(self.to_string().as_bytes()).is_ok_and(|origin| origin.is_wechat())
    }

    /// Whether `origin` is this one, or one that the wildcard covers.
    pub(super) fn matches(&self, origin: &Origin) -> bool {
        match (&self.0, origin) {
            (Pattern::Tuple { scheme, host, port }, Origin::Tuple(tuple)) => {
                *scheme == tuple.scheme && host.matches(&tuple.host) && *port == tuple.port
            }
            (Pattern::Text(own), Origin::Text(theirs)) => own == theirs,
            _ => false,
        }
    }

    /// Whether `tuple` has the host of this pattern, with any scheme and port.
    pub(super) fn has_host_of(&self, tuple: &Tuple) -> bool {
        matches!(&self.0, Pattern::Tuple { host, .. } if host.matches(&tuple.host))
    }

    /// The parts in which an origin differs from this one, if everything else is equal.
    pub(super) fn difference(&self, origin: &Origin) -> Option<String> {
        match (&self.0, origin) {
            (Pattern::Tuple { scheme, host, port }, Origin::Tuple(tuple)) => {
                let is_dotted = tuple
                    .host
                    .strip_suffix('.')
                    .is_some_and(|bare| host.matches(bare));
                if !is_dotted && !host.matches(&tuple.host) {
                    return None;
                }
                let parts: Vec<_> = [
                    (*scheme != tuple.scheme).then_some("scheme"),
                    (*port != tuple.port).then_some("port"),
                    is_dotted.then_some("trailing dot"),
                ]
                .into_iter()
                .flatten()
                .collect();
                Some(parts.join(" and "))
            }
            (Pattern::Text(own), Origin::Text(theirs)) => own
                .eq_ignore_ascii_case(theirs)
                .then(|| "letter case".to_owned()),
            _ => None,
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Tuple { scheme, host, port } => {
                write!(f, "{scheme}://{host}")?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
            Pattern::Text(text) => f.write_str(text),
        }
    }
}

/// A well-formed value of an Origin field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// `null`: a page without its own origin.
    Null,
    /// An origin with a scheme of the web.
    Tuple(Tuple),
    /// Any other scheme. It is not a tuple: URL libraries call such an origin opaque, and give `null` for all of them.
    Text(String),
}

/// Scheme, host and port of an origin (RFC 6454 section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tuple {
    /// In lower case.
    pub(super) scheme: String,
    /// In the form of [`Authority`].
    pub(super) host: String,
    /// `None`: the scheme's default port, written out or not.
    pub(super) port: Option<u16>,
}

impl Origin {
    /// Parses the serialisation of RFC 6454 section 6.2. Scheme and host may be in any letter case.
    ///
    /// # Errors
    /// The problem, in words that follow the value.
    pub(super) fn parse(value: &[u8]) -> Result<Self, &'static str> {
        if value == b"null" {
            return Ok(Self::Null);
        }
        if value.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            return Err("is empty");
        }
        let Some(text) = str::from_utf8(value).ok().filter(|text| text.is_ascii()) else {
            return Err("has bytes outside ASCII");
        };
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err("has white space or a control character");
        }
        if text.contains(',') {
            return Err("has a comma, so it looks like a list");
        }
        if text.contains(['%', '\\', '`', '"', '<', '>', '^', '{', '|', '}', '*']) {
            return Err("has a character that is not allowed in an origin");
        }
        let Some((scheme, rest)) = text.split_once(':').filter(|(scheme, _)| is_scheme(scheme))
        else {
            return Err("has no scheme");
        };
        let scheme = scheme.to_ascii_lowercase();
        let default_port = default_port(&scheme);
        let Some(authority) = rest.strip_prefix("//") else {
            return match default_port {
                None if rest.is_empty() => Ok(Self::Text(format!("{scheme}:"))),
                _ => Err("has no // after its scheme"),
            };
        };
        if default_port.is_none() {
            return Ok(Self::Text(format!("{scheme}://{authority}")));
        }
        if authority.contains(['/', '?', '#']) {
            return Err("has more than scheme, host and port");
        }
        if authority.contains('@') {
            return Err("has a user name");
        }
        let Some(Authority { host, port }) = Authority::parse(authority.as_bytes()) else {
            return Err("has an invalid host or port");
        };
        let port = port.filter(|port| Some(*port) != default_port);
        Ok(Self::Tuple(Tuple { scheme, host, port }))
    }

    /// Whether WeChat's clients are known to send it.
    pub(super) fn is_wechat(&self) -> bool {
        [wechat::WEB_ORIGIN, wechat::GAME_ORIGIN]
            .iter()
            .any(|known| Self::parse(known.as_bytes()).as_ref() == Ok(self))
    }
}

/// The default port of `scheme` (lower case); `None` for schemes that are not the web's.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// What is wrong with a configured origin as a whole.
fn unusable_as_a_whole(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    if text.is_empty() {
        return Some(
            "the origin is empty: write https://app.example.com, self or wechat".to_owned(),
        );
    }
    if matches!(lower.as_str(), "*" | "**" | "all" | "any") {
        return Some(format!(
            "{text} would let every website open tunnels on behalf of its visitors: list each origin, \
             or write https://*.example.com for the subdomains of one of yours"
        ));
    }
    if matches!(lower.as_str(), "self" | "wechat") {
        return Some(format!(
            "{text:?} is a keyword in the wrong letter case: write {lower}"
        ));
    }
    if lower == "null" {
        return Some(
            "any sandboxed frame or local file sends null: serve the page from https and list that origin"
                .to_owned(),
        );
    }
    // This comes before regular expressions, because their signs may separate origins:
    // `https://a.example|https://b.example`.
    if lower.matches("://").count() > 1 {
        let parts = text.split(|c: char| c.is_whitespace() || ",;|[]\"'".contains(c));
        let is_origin = |part: &&str| part.contains("://") || matches!(*part, "self" | "wechat");
        let parts: Vec<_> = parts.filter(is_origin).collect();
        if parts.len() > 1 && !is_regular_expression(&parts.join("")) {
            return Some(several(text, &parts));
        }
    }
    if is_regular_expression(text) {
        return Some(format!(
            "{text:?} is a regular expression, but origins are compared as they are written: write each origin, \
             such as https://app.example.com, or https://*.example.com for the subdomains of one of yours"
        ));
    }
    if text.chars().any(|c| c.is_whitespace() || c == ',') {
        let parts = text.split(|c: char| c.is_whitespace() || c == ',');
        let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        return Some(match parts.as_slice() {
            [one] => format!("{text:?} has an extra space or comma: write {one}"),
            parts => several(text, parts),
        });
    }
    if !text.is_ascii() {
        return Some(format!(
            "{text:?} is not ASCII: write the xn-- form of the host, which is what browsers send"
        ));
    }
    None
}

/// The problem of several origins in one entry.
fn several(text: &str, parts: &[&str]) -> String {
    format!(
        "{text:?} is not one origin: write one entry for each, [{}]",
        parts.join(", ")
    )
}

/// Whether a configured text was meant as a pattern of another program.
fn is_regular_expression(text: &str) -> bool {
    const SIGNS: [&str; 9] = [".*", ".+", "[^", "[a-z", "[A-Z", "[0-9", "?.", "?:", "(?"];
    // `*.` is a wildcard, even in a wrong place.
    let bare = text.replace("*.", "");
    let (_, rest) = bare.split_once("://").unwrap_or_default();
    let authority = authority_part(rest);
    let in_braces = authority
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    text.starts_with(['^', '~', '('])
        || SIGNS.iter().any(|sign| bare.contains(sign))
        // Neither hosts nor ports have these characters.
        || bare.contains('\\')
        || authority.contains(['^', '(', ')', '|', '+'])
        || authority.ends_with('$')
        || in_braces.is_some_and(|(inner, _)| inner.contains(','))
}

/// The host and port of a configured http or https origin.
fn parse_authority(
    text: &str,
    scheme: &str,
    authority: &str,
) -> Result<(HostPattern, Option<u16>), String> {
    let (base, is_wildcard) = match authority.strip_prefix("*.") {
        Some(base) => (base, true),
        None => (authority, false),
    };
    if let Some((host, "*")) = authority.rsplit_once(':') {
        return Err(format!(
            "{text:?} has a * for its port, but only the host can have a wildcard: write {scheme}://{host} for the \
             default port, and one entry for each other port, such as {scheme}://{host}:3000"
        ));
    }
    if base.contains('*') {
        return Err(format!(
            "{text:?} has a * that is not the whole first label: write {scheme}://*.example.com"
        ));
    }
    let Some(Authority { host, port }) = Authority::parse(base.as_bytes()) else {
        return Err(format!(
            "{text:?} has an invalid host or port: write {scheme}://host or {scheme}://host:port"
        ));
    };
    if let Some(bare) = host.strip_suffix('.') {
        return Err(format!(
            "{text:?} has a trailing dot, which makes it a different origin: write {scheme}://{}",
            bracketed(bare)
        ));
    }
    match is_wildcard {
        false => Ok((HostPattern::Exact(host), port)),
        true if is_wildcard_base(&host) => Ok((HostPattern::Wildcard(host), port)),
        true => Err(wildcard_too_wide(text)),
    }
}

/// Whether `text` is a scheme (RFC 3986 section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// The part before path, query and fragment.
fn authority_part(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
