//! One endpoint: where an upstream listens.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::super::super::cursor::Cursor;
use super::super::super::problem::{Complaint, shown};
use super::super::super::report::Report;
use super::super::super::value::{Choice, Definition, Value, ValueType, spelled};

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://host:port`; the host is a name or an address without brackets.
    Http {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `https://host:port`; the same over TLS.
    Https {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `unix:/run/app.sock`: a socket of this machine, absolute or relative to the working directory.
    Unix(PathBuf),
    /// `builtin:echo`: an echo server inside the proxy, for a first try.
    Echo,
}

impl Endpoint {
    /// Whether the proxy connects to it over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Https { .. })
    }

    /// Host and port of an endpoint that is reached over TCP.
    #[must_use]
    pub fn address(&self) -> Option<(&str, u16)> {
        match self {
            Self::Http { host, port } | Self::Https { host, port } => Some((host, *port)),
            Self::Unix(_) | Self::Echo => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Http { host, port } => ("http", host, port),
            Self::Https { host, port } => ("https", host, port),
            Self::Unix(path) => return write!(f, "unix:{}", path.display()),
            Self::Echo => return f.write_str("builtin:echo"),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

const EXPECTED: &str = "http://host:port, https://host:port, unix:/path or builtin:echo";

/// The system's structure for an address has 108 bytes for a path and its final zero (unix(7)).
const LONGEST_PATH: usize = 107;

static ENDPOINT: Definition = Definition {
    name: "endpoint",
    schema: || {
        json!({
            "description": "`http://host:port`, `https://host:port`, `unix:/path` or `builtin:echo`.",
            "type": "string",
            "pattern": "^([Hh][Tt][Tt][Pp][Ss]?://[^@?#]+|unix:.+|builtin:echo)$",
        })
    },
};

/// The type of an item of `endpoints`.
pub(super) struct EndpointText;

impl ValueType for EndpointText {
    fn words(&self) -> String {
        "`http://host:port`, `https://host:port`, `unix:/path` or `builtin:echo`".to_owned()
    }

    fn expected(&self) -> String {
        EXPECTED.to_owned()
    }

    fn choices(&self) -> Vec<Choice> {
        vec![Choice::Defined(&ENDPOINT)]
    }
}

impl Value for EndpointText {
    type Read = Endpoint;

    fn read(&self, at: &Cursor<'_>, report: &mut Report<'_>) -> Option<Endpoint> {
        let spelled = spelled(at, EXPECTED, report)?;
        let read = endpoint(&spelled.text, report.folder).map_err(|wrong| {
            // A report is passed around: it must not repeat a password.
            let found = match spelled.text.rsplit_once('@') {
                Some((_, address)) => format!("found \"…@{}\"", shown(address, 80)),
                None => spelled.found(),
            };
            Complaint {
                message: format!("{found}, {}", wrong.message),
                ..wrong
            }
        });
        at.accept(read, report)
    }

    fn written(&self, value: &Endpoint) -> Json {
        json!(value.to_string())
    }
}

/// The endpoint that `text` spells; a relative path starts at `folder`.
///
/// # Errors
/// What was expected instead.
fn endpoint(text: &str, folder: &Path) -> Result<Endpoint, Complaint> {
    let expected = || Complaint::new(format!("expected {EXPECTED}"));
    if text == "builtin:echo" {
        return Ok(Endpoint::Echo);
    }
    if text.starts_with("builtin:") {
        return Err(expected().help("did you mean \"builtin:echo\"?"));
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path, folder);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(if text.parse::<u16>().is_ok() {
            expected().help(format!("write http://127.0.0.1:{text}"))
        } else if authority(text).is_ok() {
            expected().help(format!("write http://{text}"))
        } else {
            expected()
        });
    };
    let scheme = scheme.to_ascii_lowercase();
    let default = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        "ws" | "wss" if authority(rest).is_ok() => {
            let plain = scheme.replace("ws", "http");
            return Err(expected().help(format!("write {plain}://{rest}")));
        }
        _ => return Err(expected()),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (address, path) = rest.split_at(end);
    if let Some((_, address)) = address.rsplit_once('@') {
        let wrong = Complaint::new("expected no user name or password");
        return Err(wrong.help(format!("write {scheme}://{address}")));
    }
    if !matches!(path, "" | "/") {
        let wrong = Complaint::new("expected no path or query: those of the client are forwarded");
        return Err(wrong.help(format!("write {scheme}://{address}")));
    }
    let (host, port) = authority(address)?;
    let port = port.unwrap_or(default);
    Ok(match scheme.as_str() {
        "https" => Endpoint::Https { host, port },
        _ => Endpoint::Http { host, port },
    })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn authority(text: &str) -> Result<(String, Option<u16>), Complaint> {
    let wrong = |message: &str| Err(Complaint::new(message));
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
            // The whole text is an address too, but hardly meant as one.
            Some((address, port)) if is_address(address) && port.parse::<u16>().is_ok() => {
                Some(format!("write http://[{address}]:{port}"))
            }
            _ => is_address(text).then(|| format!("write http://[{text}]:80")),
        };
        let message = "expected an IPv6 address in brackets".to_owned();
        return Err(Complaint { message, help });
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
fn unix(path: &str, folder: &Path) -> Result<Endpoint, Complaint> {
    let expected = "expected unix: and the path of a socket such as unix:/run/app.sock";
    if let Some(bare) = path.strip_prefix("//") {
        return Err(Complaint::new(expected).help(format!("write unix:{bare}")));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(Complaint::new(expected));
    }
    if path.starts_with('@') {
        let message = "expected the path of a socket file: abstract sockets are not supported";
        return Err(Complaint::new(message));
    }
    let path = folder.join(path);
    if path.as_os_str().len() > LONGEST_PATH {
        let message = format!("expected a path of at most {LONGEST_PATH} bytes");
        return Err(Complaint::new(message));
    }
    Ok(Endpoint::Unix(path))
}

/// Whether `host` is an IPv4 address or a name that DNS can carry, with the underscores that container networks use.
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
