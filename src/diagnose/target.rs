//! The URL that is diagnosed.

use std::net::IpAddr;

/// A ws or wss URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether it needs TLS.
    pub is_tls: bool,
    /// The host, without brackets.
    pub host: String,
    /// The port, with the scheme's default.
    pub port: u16,
    /// Path and query, as they are sent.
    pub path: String,
}

impl Target {
    /// Reads a URL; `https` and `http` mean the same as `wss` and `ws`.
    ///
    /// # Errors
    /// What is wrong, and what is expected.
    pub fn parse(url: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected a URL such as wss://api.example.com/stream";
        let (scheme, rest) = url
            .trim()
            .split_once("://")
            .ok_or_else(|| format!("the URL has no scheme; {EXPECTED}"))?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "wss" | "https" => true,
            "ws" | "http" => false,
            other => return Err(format!("{other:?} is not ws or wss; {EXPECTED}")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(format!(
                "the URL has a user name or password, which WebSocket clients don't send; use --header; {EXPECTED}"
            ));
        }
        // The fragment stays in the client.
        let path = path.split('#').next().unwrap_or_default();
        let path = match path.strip_prefix('?') {
            Some(_) => format!("/{path}"),
            None if path.is_empty() => "/".to_owned(),
            None => path.to_owned(),
        };
        if let Some(bad) = path.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(format!(
                "the path has the character {bad:?}, which must be percent-encoded"
            ));
        }
        let (host, port) = split(authority)?;
        let port = match port {
            Some(port) => port
                .parse::<u16>()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| format!("{port:?} is not a port; {EXPECTED}"))?,
            None if is_tls => 443,
            None => 80,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.parse::<IpAddr>().is_err() && (host.is_empty() || !host.chars().all(is_name)) {
            return Err(format!(
                "{host:?} is not a host; write names with other letters as xn--…; {EXPECTED}"
            ));
        }
        Ok(Self {
            is_tls,
            host: host.to_ascii_lowercase(),
            port,
            path,
        })
    }

    /// The Host field: the port is left out if it is the scheme's own.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The origin of a page on the same host.
    pub fn own_origin(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// The URL without the values of its query, which may be secrets.
    pub fn shown(&self) -> String {
        let scheme = if self.is_tls { "wss" } else { "ws" };
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.path.as_str(), None),
        };
        let path = crate::secrets::redact_query(path.as_bytes(), query.map(str::as_bytes), &[]);
        format!("{scheme}://{}{path}", self.authority())
    }

    /// The address, if the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// The host and the port of an authority.
fn split(authority: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or_else(|| format!("{authority:?} has no closing bracket"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("{after:?} after the address is not a port")),
        };
    }
    match authority.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => {
            Err(format!("write the IPv6 address in brackets: [{authority}]"))
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, is_tls, host, port, path, authority) in [
            (
                "wss://a.example/x?y=1",
                true,
                "a.example",
                443,
                "/x?y=1",
                "a.example",
            ),
            (
                "ws://A.example:8080",
                false,
                "a.example",
                8080,
                "/",
                "a.example:8080",
            ),
            (
                "https://a.example?x#y",
                true,
                "a.example",
                443,
                "/?x",
                "a.example",
            ),
            ("ws://[::1]:81/", false, "::1", 81, "/", "[::1]:81"),
            ("WSS://[::1]", true, "::1", 443, "/", "[::1]"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(
                (
                    target.is_tls,
                    target.host.as_str(),
                    target.port,
                    target.path.as_str()
                ),
                (is_tls, host, port, path),
                "{url}"
            );
            assert_eq!(target.authority(), authority);
        }
        let target = Target::parse("wss://a.example/x?token=secret").unwrap();
        assert_eq!(target.shown(), "wss://a.example/x?token=*");
    }

    #[test]
    fn what_is_not_a_url_is_explained() {
        for (url, part) in [
            ("a.example/x", "no scheme"),
            ("ftp://a.example", "not ws or wss"),
            ("wss://", "not a host"),
            ("wss://a b", "not a host"),
            ("wss://a:0", "not a port"),
            ("wss://a:x", "not a port"),
            ("wss://::1", "brackets"),
            ("wss://[::1", "closing bracket"),
            ("wss://[::1]x", "not a port"),
            ("wss://u:p@a.example", "--header"),
            ("wss://münchen.example", "xn--"),
            ("wss://a.example/\u{1b}", "percent-encoded"),
        ] {
            let error = Target::parse(url).unwrap_err();
            assert!(error.contains(part), "{url}: {error}");
        }
    }
}
