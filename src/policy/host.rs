//! Host names: the request's authority and the patterns of `routes[].host`.

use std::collections::HashSet;

/// A host with an optional port, as in the Host field (RFC 9110 section 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Lower case, without brackets or port.
    pub host: String,
    /// The port, if one is named.
    pub port: Option<u16>,
}

impl Authority {
    /// Parses `host`, `host:port`, `[v6]` or `[v6]:port`; userinfo, spaces and an empty host are refused.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let _ = value;
        unimplemented!()
    }
}

/// `routes[].host`: an exact name, or `*.` and a name for one label more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Lower case.
    Exact(String),
    /// The part after `*.`, lower case.
    Wildcard(String),
}

impl HostPattern {
    /// # Errors
    /// What is wrong with `text`, in words for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let _ = text;
        unimplemented!()
    }

    /// Whether `host` (lower case) matches.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let _ = host;
        unimplemented!()
    }
}

/// The names that a set of certificates covers (RFC 6125 section 6.4.3: a wildcard stands for one label).
#[derive(Clone, Debug, Default)]
pub struct HostSet {
    exact: HashSet<String>,
    wildcard: HashSet<String>,
}
