//! Sends one small HTTP request to the running proxy, for the commands that need it; works without a runtime and
//! without certificates.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket, Type};

use super::check::lines;
use super::{WRONG, say};
use crate::config::{self, Config, Problem, Severity};
use crate::text::shown;

/// The longest short answer that is read.
const LONGEST: usize = 16 * 1024;

/// How much is read at once.
const PIECE: usize = 64 * 1024;

/// What the proxy answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    /// The body on one line.
    pub text: String,
}

/// A service of the running proxy.
pub(super) struct Service {
    /// Its key in the configuration.
    pub name: &'static str,
    pub of: fn(&Config) -> Option<Target>,
    pub example: &'static str,
}

/// What is asked of a service.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub method: &'a str,
    /// With the query.
    pub path: &'a str,
    /// A further field: its name and its value, which have no line end.
    pub field: Option<(&'a str, &'a str)>,
    /// The longest answer that is read, in bytes with its head.
    pub longest: usize,
}

/// The address of a service: an IP address or a name, with a port; or a socket in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Address(SocketAddr),
    /// As the user wrote it.
    Name(String),
    Unix(PathBuf),
}

impl Target {
    /// Reads `127.0.0.1:9900`, `[::1]:9900`, `localhost:9900` or `unix:/run/admin.sock`. The address of all interfaces becomes
    /// loopback.
    ///
    /// # Errors
    /// What was expected, for the command line.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match SockAddr::unix(path) {
                Ok(_) if path.starts_with('/') => Ok(Self::Unix(path.into())),
                Ok(_) => {
                    Err("expected a path from the root, such as unix:/run/admin.sock".to_owned())
                }
                Err(error) => Err(format!("not the path of a socket: {error}")),
            };
        }
        if let Ok(address) = text.parse() {
            return Ok(here(address).into());
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match text.rsplit_once(':') {
            Some((name, port))
                if !name.is_empty()
                    && name.chars().all(is_name)
                    && port.parse::<u16>().is_ok_and(|port| port != 0) =>
            {
                Ok(Self::Name(text.to_owned()))
            }
            _ => Err(
                "expected an IP address or a host name and a port, such as 127.0.0.1:9900 or localhost:9900, or unix:/PATH"
                    .to_owned(),
            ),
        }
    }

    /// The address of a path of the service, in the form that curl takes for TCP.
    pub fn url(&self, path: &str) -> String {
        match self {
            Self::Address(_) | Self::Name(_) => format!("http://{self}{path}"),
            Self::Unix(_) => format!("{self} {path}"),
        }
    }

    /// What the field Host says (RFC 9112 section 3.2). A socket in the file system has no name in the network.
    fn host(&self) -> String {
        match self {
            Self::Address(_) | Self::Name(_) => self.to_string(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Connects before `deadline`, to the first address of several that accepts.
    fn connect(&self, deadline: Instant, timeout: Duration) -> Result<Socket, NoAnswer> {
        let addresses = match self {
            Self::Address(address) => vec![SockAddr::from(*address)],
            Self::Name(name) => {
                let found = look_up(name, deadline)?;
                found.into_iter().map(SockAddr::from).collect()
            }
            Self::Unix(path) => vec![SockAddr::unix(path).map_err(NoAnswer::Failed)?],
        };
        let mut outcome = Err(NoAnswer::Late(timeout));
        for address in addresses {
            outcome = Socket::new(address.domain(), Type::STREAM, None)
                .and_then(|socket| {
                    socket.connect_timeout(&address, left(deadline))?;
                    Ok(socket)
                })
                .map_err(|error| failed(error, timeout));
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

/// All addresses of a name, looked up before `deadline`.
fn look_up(name: &str, deadline: Instant) -> Result<Vec<SocketAddr>, NoAnswer> {
    // The system's look-up has no deadline, so it runs on a thread that may be left behind.
    let (sender, receiver) = mpsc::channel();
    let looked = name.to_owned();
    thread::spawn(move || sender.send(looked.to_socket_addrs().map(Vec::from_iter)));
    match receiver.recv_timeout(left(deadline)) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(Ok(_)) => Err(NoAnswer::Unknown(format!("{name} has no address"))),
        Ok(Err(error)) => Err(NoAnswer::Unknown(error.to_string())),
        Err(_) => Err(NoAnswer::Unknown("the look-up took too long".to_owned())),
    }
}

fn failed(error: io::Error, timeout: Duration) -> NoAnswer {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => NoAnswer::Refused(error),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => NoAnswer::Late(timeout),
        _ => NoAnswer::Failed(error),
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Unix(path) => {
                let path = shown(&path.to_string_lossy(), usize::MAX);
                write!(f, "unix:{path}")
            }
        }
    }
}

/// The address at which `file` says that this machine can reach `service`, and as much of the configuration as could be
/// read. Other errors in the file do not matter here: the proxy may still be serving with the file's previous content.
/// If the address is not known, the reason has been printed, and the exit code is returned.
pub(super) fn reachable(file: &Path, service: &Service) -> Result<(Target, Option<Config>), u8> {
    let outcome = config::read(file);
    let config = outcome.config.or(outcome.draft);
    let Service { name, example, .. } = service;
    let wrong = match config.as_ref().and_then(service.of) {
        Some(Target::Address(listening)) if listening.port() != 0 => {
            return Ok((here(listening).into(), config));
        }
        Some(found @ (Target::Name(_) | Target::Unix(_))) => return Ok((found, config)),
        Some(Target::Address(_)) => format!(
            "{name}.address has port 0, so the port changes with each start; write a fixed one, such as {example}"
        ),
        None => {
            let is_error = |problem: &Problem| problem.severity == Severity::Error;
            let errors: Vec<_> = outcome.problems.into_iter().filter(is_error).collect();
            if !errors.is_empty() {
                say(io::stderr(), &lines(&errors));
                return Err(WRONG);
            }
            format!(
                "the configuration has no {name}; add the line `{name}: {{ address: {example} }}`, which a running proxy reloads automatically"
            )
        }
    };
    say(io::stderr(), &format!("{}: {wrong}\n", file.display()));
    Err(WRONG)
}

/// The admin listener, at its address or else at its unix socket.
pub(super) const ADMIN: Service = Service {
    name: "admin",
    of: |config| {
        let admin = config.admin.as_ref()?;
        let socket = admin.socket.clone().map(Target::Unix);
        admin.address.map(Target::Address).or(socket)
    },
    example: "127.0.0.1:9901",
};

/// The address to connect to for an address that a service listens on.
pub(super) fn here(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

/// Why there was no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The name has no known address.
    Unknown(String),
    /// Nothing listens at the address.
    Refused(io::Error),
    /// It did not arrive in time.
    Late(Duration),
    /// Any other error.
    Failed(io::Error),
    /// It is not an answer of the proxy.
    Foreign,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(error) => write!(f, "the name can't be looked up: {error}"),
            Self::Refused(error) => write!(
                f,
                "nothing listens there ({error}); is the proxy running, and with this configuration?"
            ),
            Self::Late(timeout) => {
                let timeout = humantime::format_duration(*timeout);
                write!(f, "no answer within {timeout}")
            }
            Self::Failed(error) => write!(f, "no answer: {error}"),
            Self::Foreign => f.write_str("the answer is not HTTP; something else listens there"),
        }
    }
}

/// Asks the service at `target` and reads its short answer, all within `timeout`. If the target has several addresses, the
/// first that accepts a connection is asked.
///
/// # Errors
/// Why there was no answer.
pub(super) fn ask(
    target: &Target,
    method: &str,
    path: &str,
    timeout: Duration,
) -> Result<Answer, NoAnswer> {
    let request = Request {
        method,
        path,
        field: None,
        longest: LONGEST,
    };
    parse(&fetch(target, request, timeout)?).ok_or(NoAnswer::Foreign)
}

/// The same, but gives the answer as it came, with its head. Of a longer one than [`Request::longest`], it has at least that
/// much.
///
/// # Errors
/// Why there was no answer.
pub(super) fn fetch(
    target: &Target,
    request: Request<'_>,
    timeout: Duration,
) -> Result<Vec<u8>, NoAnswer> {
    let deadline = Instant::now() + timeout;
    let failed = |error| failed(error, timeout);
    let mut socket = target.connect(deadline, timeout)?;
    let Request { method, path, .. } = request;
    let host = target.host();
    let field = request
        .field
        .map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{field}Connection: close\r\nContent-Length: 0\r\n\r\n"
    );
    socket
        .set_write_timeout(Some(left(deadline)))
        .and_then(|()| socket.write_all(head.as_bytes()))
        .map_err(failed)?;
    let mut bytes = Vec::new();
    let mut piece = vec![0; PIECE.min(request.longest)];
    // A timeout applies to each read, so it is set again each time: otherwise a server that sends single bytes could
    // take forever.
    while bytes.len() < request.longest {
        if Instant::now() >= deadline {
            return Err(NoAnswer::Late(timeout));
        }
        socket
            .set_read_timeout(Some(left(deadline)))
            .map_err(failed)?;
        match socket.read(&mut piece).map_err(failed)? {
            0 => break,
            count => bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    Ok(bytes)
}

/// The time that is left; never zero, which would mean no timeout.
fn left(deadline: Instant) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    left.max(Duration::from_millis(1))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let (status, body) = split(bytes)?;
    let text = one_line(body);
    Some(Answer { status, text })
}

/// The status and the body of an answer. `None` if it is not HTTP.
pub(super) fn split(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let (head, body) = bytes.split_at_checked(end + 4)?;
    let status = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let status = std::str::from_utf8(status).ok()?.parse().ok()?;
    Some((status, body))
}

/// A body on one line.
pub(super) fn one_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<_> = text.split_whitespace().collect();
    shown(&words.join(" "), usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_in_the_file_system_is_named_by_its_path() {
        let target = Target::parse("unix:/run/a b.sock").unwrap();
        assert_eq!(target.to_string(), "unix:/run/a b.sock");
        assert_eq!(target.host(), "localhost");
        let long = format!("unix:/{}", "x".repeat(200));
        for wrong in ["unix:", "unix:run/a.sock", &long] {
            assert!(Target::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn answers_are_told_from_what_is_none() {
        for (bytes, expected) in [
            (
                "HTTP/1.1 200 OK\r\nA: b\r\n\r\nok: running\n",
                Some((200, "ok: running")),
            ),
            (
                "HTTP/1.1 503 x\r\n\r\na\nb\x1b[0m",
                Some((503, "a b\\u{1b}[0m")),
            ),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", None),
            ("HTTP/1.1 2", None),
            ("SSH-2.0-x\r\n\r\n", None),
            ("", None),
        ] {
            let found = parse(bytes.as_bytes());
            let found = found
                .as_ref()
                .map(|found| (found.status, found.text.as_str()));
            assert_eq!(found, expected, "{bytes:?}");
        }
    }
}
