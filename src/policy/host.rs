//! Host names: the request's authority, the patterns of `routes[].host`, the names of certificates.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The longest DNS name in text form, with its trailing dot (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 254;

/// A host with an optional port, as in the Host field (RFC 9110 section 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// In lower case, without brackets or port. A trailing dot is kept, because it makes a different name.
    pub host: String,
    /// The port, if there is one.
    pub port: Option<u16>,
}

impl Authority {
    /// The authority of an HTTP/1.0 request without a host. Only routes for any host match it.
    #[must_use]
    pub fn unnamed() -> Self {
        Self {
            host: String::new(),
            port: None,
        }
    }

    /// Parses `host`, `host:port`, `[v6]` or `[v6]:port`.
    ///
    /// This is narrower than the grammar of RFC 3986 section 3.2.2: a name has letters, digits, `-`, `_` and single
    /// dots; a port is 1 to 65535 without leading zeros. `None` for everything else: userinfo, spaces,
    /// percent-encoding, commas, an empty host, a colon without a port.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = str::from_utf8(value).ok()?;
        let (host, rest) = if let Some(bracketed) = text.strip_prefix('[') {
            let (address, rest) = bracketed.split_once(']')?;
            // In the spelling of Ipv6Addr, so that two spellings of one address are equal.
            (address.parse::<Ipv6Addr>().ok()?.to_string(), rest)
        } else {
            let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            (is_name(name).then(|| name.to_ascii_lowercase())?, rest)
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bracketed(&self.host))?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// `routes[].host`: an exact name, or `*.` and a name for one more label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// In lower case; an IPv6 address without brackets.
    Exact(String),
    /// The part after `*.`, in lower case.
    Wildcard(String),
}

impl HostPattern {
    /// Parses `name`, `*.name` or an address, in any letter case.
    ///
    /// # Errors
    /// What is wrong with `text` and what to write instead, in words for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self::Exact(address.to_string()));
        }
        let problem = if text.is_empty() {
            "the host is empty: write a name such as api.example.com, or leave it out for any host"
                .to_owned()
        } else if text == "*" {
            "* is not a host: leave host out to match any host".to_owned()
        } else if text.chars().any(|c| c.is_whitespace() || c == ',') {
            format!("{text:?} is not a single name: write one route for each host")
        } else if !text.is_ascii() {
            format!("{text:?} is not ASCII: write the xn-- form, which is what clients send")
        } else if let Some((_, rest)) = text.split_once("://") {
            format!(
                "{text:?} is a URL: write only the name, {}",
                host_part(rest)
            )
        } else if text.contains('/') {
            format!(
                "{text:?} has a path: write only the name, {}",
                host_part(text)
            )
        } else if text.ends_with('.') {
            format!(
                "{text:?} has a trailing dot, which clients do not send: write {}",
                text.trim_end_matches('.')
            )
        } else if let Some(base) = text.strip_prefix("*.").filter(|base| !base.contains('*')) {
            match Authority::parse(base.as_bytes()) {
                Some(Authority { port: Some(_), .. }) => {
                    format!(
                        "{text:?} has a port: write {}, which covers every port",
                        host_part(text)
                    )
                }
                Some(Authority { host, .. }) if is_wildcard_base(&host) => {
                    return Ok(Self::Wildcard(host));
                }
                Some(_) => wildcard_too_wide(text),
                None => {
                    format!("{text:?} is not a host name: write *. and letters, digits, - and dots")
                }
            }
        } else if text.contains('*') {
            format!("{text:?} has a * that is not the whole first label: write *.example.com")
        } else {
            match Authority::parse(text.as_bytes()) {
                Some(Authority { host, port: None }) => return Ok(Self::Exact(host)),
                Some(Authority { host, .. }) => {
                    format!(
                        "{text:?} has a port: write {}, which covers every port",
                        bracketed(&host)
                    )
                }
                None => format!("{text:?} is not a host name: write letters, digits, - and dots"),
            }
        };
        Err(problem)
    }

    /// Whether `host` (lower case) matches.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Wildcard(base) => below_one_label(host) == Some(base.as_str()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(&bracketed(name)),
            Self::Wildcard(base) => write!(f, "*.{base}"),
        }
    }
}

/// The names that a set of certificates covers (RFC 6125 section 6.4.3: a wildcard stands for one label).
#[derive(Clone, Debug, Default)]
pub struct HostSet {
    // Ordered, so that messages always list them in the same order.
    exact: BTreeSet<String>,
    wildcard: BTreeSet<String>,
}

impl HostSet {
    /// Adds a certificate's name: `name`, `*.name` or an IP address, in any letter case.
    pub fn insert(&mut self, name: &str) {
        if let Ok(address) = name.parse::<IpAddr>() {
            self.exact.insert(address.to_string());
        } else if let Some(base) = name.strip_prefix("*.") {
            self.wildcard.insert(base.to_ascii_lowercase());
        } else {
            self.exact.insert(name.to_ascii_lowercase());
        }
    }

    /// Whether a name of the set covers `host` (lower case, IPv6 without brackets).
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        // A wildcard never covers an address, although its text has dots.
        let is_below = |base| self.wildcard.contains(base) && host.parse::<IpAddr>().is_err();
        self.exact.contains(host) || below_one_label(host).is_some_and(is_below)
    }

    /// Whether the set has no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }

    /// The names as certificates write them: first exact ones, then wildcards, both in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let wildcard = self.wildcard.iter().map(|base| format!("*.{base}"));
        self.exact.iter().cloned().chain(wildcard)
    }
}

/// Whether a wildcard is allowed before `base`: it has at least two labels and is not an address.
pub(super) fn is_wildcard_base(base: &str) -> bool {
    let last = base.rsplit('.').next().unwrap_or_default();
    base.contains('.')
        && !base.contains(':')
        && !base.ends_with('.')
        && !last.bytes().all(|b| b.is_ascii_digit())
}

/// The problem of a wildcard that [`is_wildcard_base`] does not allow.
pub(super) fn wildcard_too_wide(text: &str) -> String {
    format!(
        "{text:?} would cover a whole top-level domain or an address: put at least two labels after *."
    )
}

/// `host` in the form that URLs use.
pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// `host` without its first label, if that label is not empty.
pub(super) fn below_one_label(host: &str) -> Option<&str> {
    host.split_once('.')
        .filter(|(label, _)| !label.is_empty())
        .map(|(_, base)| base)
}

/// The host name in the rest of a URL. It is a guess, and is used only in advice.
fn host_part(rest: &str) -> &str {
    rest.split(['/', ':', '?', '#']).next().unwrap_or_default()
}

fn is_name(name: &str) -> bool {
    let labels = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= LONGEST_NAME && labels.split('.').all(is_label)
}

fn parse_port(text: &str) -> Option<u16> {
    // The parser of u16 also accepts a plus sign and leading zeros, which would be a second spelling of a port.
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_has_one_spelling() {
        let accepted: &[(&str, &str, Option<u16>)] = &[
            ("api.example.com", "api.example.com", None),
            ("API.Example.COM:8443", "api.example.com", Some(8443)),
            ("api.example.com.", "api.example.com.", None),
            ("my_service-1", "my_service-1", None),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]", "::1", None),
            ("[0:0::0001]:65535", "::1", Some(65535)),
        ];
        for (text, host, port) in accepted {
            let parsed = Authority::parse(text.as_bytes());
            assert_eq!(
                parsed,
                Some(Authority {
                    host: (*host).to_owned(),
                    port: *port
                }),
                "{text}"
            );
        }
        let refused: &[&[u8]] = &[
            b"",
            b".",
            b":443",
            b"a:",
            b"a:0",
            b"a:065",
            b"a:65536",
            b"a:+1",
            b"a:1 ",
            b"a:x",
            b"a:1:2",
            b" a",
            b"a b",
            b"a,b",
            b"a%2eb",
            b"user@a",
            b"a/b",
            b"a?b",
            b"a#b",
            b"a\\b",
            b"a..b",
            b".a",
            b"a..",
            b"::1",
            b"[::1",
            b"[]",
            b"[::1]x",
            b"[::1]:",
            b"[fe80::1%25eth0]",
            b"[v1.a]",
            b"*.a",
            b"\xd0\xb0.com",
            b"a\0",
            b"a\t",
        ];
        for bytes in refused {
            assert_eq!(Authority::parse(bytes), None, "{}", bytes.escape_ascii());
        }
        assert_eq!(Authority::parse(&[b'a'; 255]), None);
    }

    #[test]
    fn an_authority_is_written_as_in_a_url() {
        for text in [
            "api.example.com",
            "api.example.com:8443",
            "[::1]",
            "[::1]:80",
        ] {
            let written = Authority::parse(text.as_bytes()).map(|authority| authority.to_string());
            assert_eq!(written.as_deref(), Some(text));
        }
    }

    #[test]
    fn a_host_pattern_reads_back_as_written() {
        for (text, written) in [
            ("api.example.com", "api.example.com"),
            ("API.example.com", "api.example.com"),
            ("*.Example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), written);
        }
    }

    #[test]
    fn a_bad_host_pattern_is_explained() {
        for (text, words) in [
            ("", "leave it out for any host"),
            ("*", "leave host out to match any host"),
            ("a.example b.example", "one route for each"),
            ("a.example,b.example", "one route for each"),
            ("münchen.example", "write the xn-- form"),
            (
                "https://api.example.com/x",
                "write only the name, api.example.com",
            ),
            ("api.example.com/x", "write only the name, api.example.com"),
            (
                "api.example.com:8443",
                "write api.example.com, which covers every port",
            ),
            ("[::1]:8443", "write [::1], which covers every port"),
            (
                "*.example.com:8443",
                "write *.example.com, which covers every port",
            ),
            ("api.example.com.", "trailing dot"),
            ("*.com", "two labels"),
            ("*.0.0.1", "two labels"),
            ("*.*.example.com", "write *.example.com"),
            ("a.*.com", "write *.example.com"),
            ("a*.example.com", "write *.example.com"),
            ("a..example", "letters, digits"),
            ("*.a..example", "letters, digits"),
            ("user@a.example", "letters, digits"),
        ] {
            let problem = HostPattern::parse(text).unwrap_err();
            assert!(problem.contains(words), "{text}: {problem}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let pattern = HostPattern::parse("*.example.com").unwrap();
        let mut set = HostSet::default();
        set.insert("*.Example.com");
        for (host, expected) in [
            ("a.example.com", true),
            ("xn--a.example.com", true),
            ("example.com", false),
            ("a.b.example.com", false),
            (".example.com", false),
            ("aexample.com", false),
            ("a.example.com.", false),
            ("a.example.com.evil", false),
        ] {
            assert_eq!(pattern.matches(host), expected, "{host}");
            assert_eq!(set.covers(host), expected, "{host}");
        }
    }

    #[test]
    fn addresses_of_a_certificate_are_exact_names() {
        let mut set = HostSet::default();
        assert!(set.is_empty());
        for name in [
            "LOCALHOST",
            "127.0.0.1",
            "0:0:0:0:0:0:0:1",
            "*.0.0.2",
            "*.example.com",
        ] {
            set.insert(name);
        }
        assert!(!set.is_empty());
        assert!(set.covers("localhost") && set.covers("127.0.0.1") && set.covers("::1"));
        assert!(!set.covers("127.0.0.2"));
        let names: Vec<_> = set.names().collect();
        assert_eq!(
            names,
            ["127.0.0.1", "::1", "localhost", "*.0.0.2", "*.example.com"]
        );
    }
}
