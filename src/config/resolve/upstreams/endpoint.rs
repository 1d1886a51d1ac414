//! One endpoint: where an upstream listens.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::super::super::Endpoint;

pub(super) const ENDPOINT: &str = "http://host:port, https://host:port, unix:/path or builtin:echo";

/// The system's structure for an address has 108 bytes for a path and the zero behind it (unix(7)).
const LONGEST_PATH: usize = 107;

/// What is wrong with an endpoint, after "found …, ", and what to write instead.
pub(super) type Wrong = (String, Option<String>);

/// The endpoint that `text` spells; a relative path starts at `folder`.
pub(super) fn endpoint(text: &str, folder: &Path) -> Result<Endpoint, Wrong> {
    if text == "builtin:echo" {
        return Ok(Endpoint::Echo);
    }
    if text.starts_with("builtin:") {
        let help = Some("did you mean \"builtin:echo\"?".to_owned());
        return Err((format!("expected {ENDPOINT}"), help));
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path, folder);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let help = if text.parse::<u16>().is_ok() {
            Some(format!("write http://127.0.0.1:{text}"))
        } else {
            authority(text)
                .is_ok()
                .then(|| format!("write http://{text}"))
        };
        return Err((format!("expected {ENDPOINT}"), help));
    };
    let scheme = scheme.to_ascii_lowercase();
    let default = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        "ws" | "wss" => {
            let plain = scheme.replace("ws", "http");
            let help = authority(rest)
                .is_ok()
                .then(|| format!("write {plain}://{rest}"));
            return Err((format!("expected {ENDPOINT}"), help));
        }
        _ => return Err((format!("expected {ENDPOINT}"), None)),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (address, path) = rest.split_at(end);
    if let Some((_, address)) = address.rsplit_once('@') {
        let message = "expected no user name or password".to_owned();
        return Err((message, Some(format!("write {scheme}://{address}"))));
    }
    if !matches!(path, "" | "/") {
        let message = "expected no path or query: those of the client are forwarded".to_owned();
        return Err((message, Some(format!("write {scheme}://{address}"))));
    }
    let (host, port) = authority(address)?;
    let port = port.unwrap_or(default);
    Ok(match scheme.as_str() {
        "https" => Endpoint::Https { host, port },
        _ => Endpoint::Http { host, port },
    })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn authority(text: &str) -> Result<(String, Option<u16>), Wrong> {
    let wrong = |message: &str| Err((message.to_owned(), None));
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return wrong("expected a ] after the IPv6 address");
        };
        let Ok(address) = address.parse::<Ipv6Addr>() else {
            return wrong("expected an IPv6 address in the brackets");
        };
        (address.to_string(), port)
    } else if text.matches(':').count() > 1 {
        let is_address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
        let help = match text.rsplit_once(':') {
            // It is an address as a whole, too, but hardly meant as one.
            Some((address, port)) if is_address(address) && port.parse::<u16>().is_ok() => {
                Some(format!("write http://[{address}]:{port}"))
            }
            _ => is_address(text).then(|| format!("write http://[{text}]:80")),
        };
        return Err(("expected an IPv6 address in brackets".to_owned(), help));
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        if !is_host(host) {
            return wrong("expected a host name or address before the port");
        }
        (host.to_ascii_lowercase(), port)
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port.strip_prefix(':').unwrap_or_default();
    let is_plain = digits.bytes().all(|b| b.is_ascii_digit());
    match digits.parse::<u16>() {
        Ok(port) if port != 0 && is_plain => Ok((host, Some(port))),
        _ => wrong("expected a port from 1 to 65535"),
    }
}

/// What follows `unix:`.
fn unix(path: &str, folder: &Path) -> Result<Endpoint, Wrong> {
    let expected = "expected unix: and the path of a socket such as unix:/run/app.sock";
    if let Some(bare) = path.strip_prefix("//") {
        let help = Some(format!("write unix:{bare}"));
        return Err((expected.to_owned(), help));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err((expected.to_owned(), None));
    }
    if path.starts_with('@') {
        let message = "expected the path of a socket file: abstract sockets are not supported";
        return Err((message.to_owned(), None));
    }
    let path = folder.join(path);
    if path.as_os_str().len() > LONGEST_PATH {
        let message = format!("expected a path of at most {LONGEST_PATH} bytes");
        return Err((message, None));
    }
    Ok(Endpoint::Unix(path))
}

/// A name that DNS can carry, underscores as container networks use them included, or an IPv4 address.
pub(super) fn is_host(host: &str) -> bool {
    let bare = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last = bare.rsplit('.').next().unwrap_or_default();
    // `127.0.0.1.5` and `300.1.1.1` are neither names nor addresses.
    let is_numeric = last.bytes().all(|b| b.is_ascii_digit());
    bare.len() <= 253
        && bare.split('.').all(is_label)
        && (!is_numeric || host.parse::<Ipv4Addr>().is_ok())
}
