//! Dialling an upstream's endpoints in turn.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::echo;
use crate::config::{Endpoint, Upstream};
use crate::policy::Permit;
use crate::reason::{Failure, Reason};
use crate::record::{Attempt, millis};
use crate::stream::{UpstreamStream, keep_alive};

/// A connection to an upstream, on which nothing was sent yet.
#[derive(Debug)]
pub struct Connected {
    pub(super) stream: UpstreamStream,
    /// The endpoint, with the address where a name was resolved.
    pub endpoint: String,
}

/// Connects to the first endpoint that can be; `attempts` gets an entry for each one tried.
/// `write_stall` is `limits.write_stall`, which [`keep_alive`] needs.
///
/// # Errors
/// The reason of the last endpoint when none can be connected to.
pub async fn connect<R>(
    upstream: &Upstream,
    permit: &Permit<'_, R>,
    write_stall: Duration,
    attempts: &mut Vec<Attempt>,
) -> Result<Connected, Failure> {
    let mut last = None;
    for endpoint in &upstream.endpoints {
        match endpoint {
            Endpoint::Echo => {
                attempts.push(Attempt {
                    endpoint: endpoint.to_string(),
                    outcome: "connected".into(),
                    detail: None,
                    ms: 0,
                });
                return Ok(Connected {
                    stream: UpstreamStream::Echo(echo::start(
                        permit
                            .route()
                            .websocket()
                            .map(|(_, rules)| rules.subprotocols.clone())
                            .unwrap_or_default(),
                    )),
                    endpoint: endpoint.to_string(),
                });
            }
            Endpoint::Http { host, port } => {
                match dial(endpoint, host, *port, upstream.connect_timeout, attempts).await {
                    Ok(connected) => {
                        if let UpstreamStream::Tcp(socket) = &connected.stream {
                            keep_alive(socket, write_stall);
                        }
                        return Ok(connected);
                    }
                    Err(failure) => last = Some(failure),
                }
            }
        }
    }
    Err(last
        .unwrap_or_else(|| Failure::new(Reason::UpstreamRefused, "the upstream has no endpoint")))
}

/// Tries every address of one endpoint within one `timeout`: each may take its share of the time that is left, so
/// that one which drops what is sent to it leaves time for those behind it.
async fn dial(
    endpoint: &Endpoint,
    host: &str,
    port: u16,
    timeout: Duration,
    attempts: &mut Vec<Attempt>,
) -> Result<Connected, Failure> {
    let begun = Instant::now();
    let deadline = begun + timeout;
    let mut tried = |shown: String, ms: u64, failure: Option<&Failure>| {
        attempts.push(Attempt {
            endpoint: shown,
            outcome: failure
                .map_or("connected", |failure| failure.reason.code())
                .into(),
            detail: failure.and_then(|failure| failure.detail.clone()),
            ms,
        });
    };
    let addresses: Result<Vec<SocketAddr>, _> =
        match timeout_at(deadline, lookup_host((host, port))).await {
            Ok(Ok(addresses)) => Ok(addresses.collect()),
            Ok(Err(error)) => Err(format!("{host}: {error}")),
            Err(_) => {
                let waited = humantime::format_duration(timeout);
                Err(format!("{host}: no answer from the resolver in {waited}"))
            }
        };
    let mut last = match &addresses {
        Ok(addresses) if !addresses.is_empty() => None,
        Ok(_) => Some(Failure::new(
            Reason::UpstreamDnsFailed,
            format!("{host} has no address"),
        )),
        Err(words) => Some(Failure::new(Reason::UpstreamDnsFailed, words.clone())),
    };
    if let Some(failure) = &last {
        tried(endpoint.to_string(), millis(begun.elapsed()), Some(failure));
    }
    let addresses = addresses.unwrap_or_default();
    for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
        let shown = match endpoint.to_string() {
            spelled if spelled == format!("http://{address}") => spelled,
            spelled => format!("{spelled} ({address})"),
        };
        let begun = Instant::now();
        let share = share(deadline.saturating_duration_since(begun), left);
        let connected = timeout_at(begun + share, TcpStream::connect(address)).await;
        let ms = millis(begun.elapsed());
        let failure = match connected {
            Ok(Ok(socket)) => {
                tried(shown.clone(), ms, None);
                // As on the client's side: small frames must not wait. On a dead socket the next write tells.
                let _ = socket.set_nodelay(true);
                return Ok(Connected {
                    stream: UpstreamStream::Tcp(socket),
                    endpoint: shown,
                });
            }
            Ok(Err(error)) => Failure::new(reason(&error), format!("{address}: {error}")),
            Err(_) => Failure::new(
                Reason::UpstreamConnectTimeout,
                format!("{address}: no answer in {ms}ms"),
            ),
        };
        tried(shown, ms, Some(&failure));
        last = Some(failure);
    }
    Err(last.unwrap_or_else(|| {
        Failure::new(Reason::UpstreamDnsFailed, format!("{host} has no address"))
    }))
}

/// What the next of `addresses` may take of the time that is left.
fn share(left: Duration, addresses: usize) -> Duration {
    left / u32::try_from(addresses.max(1)).unwrap_or(u32::MAX)
}

/// The one place where error numbers of a connection attempt become reasons.
fn reason(error: &io::Error) -> Reason {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNREFUSED) => Reason::UpstreamRefused,
        Some(Errno::TIMEDOUT) => Reason::UpstreamConnectTimeout,
        Some(Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE) => Reason::UpstreamResetOnConnect,
        Some(
            Errno::ADDRNOTAVAIL
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::AGAIN,
        ) => Reason::UpstreamPortsExhausted,
        // No route, a firewall that rejects (EACCES, EPERM), a network that is down: all of them are the path.
        _ => Reason::UpstreamUnreachable,
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn the_time_left_is_shared_by_the_addresses_left() {
        let second = Duration::from_secs(1);
        assert_eq!(share(second, 4), Duration::from_millis(250));
        assert_eq!(share(second, 1), second);
        assert_eq!(share(Duration::ZERO, 2), Duration::ZERO);
    }

    #[test]
    fn error_numbers_have_their_reasons() {
        for (errno, expected) in [
            (Errno::CONNREFUSED, Reason::UpstreamRefused),
            (Errno::TIMEDOUT, Reason::UpstreamConnectTimeout),
            (Errno::CONNRESET, Reason::UpstreamResetOnConnect),
            (Errno::ADDRNOTAVAIL, Reason::UpstreamPortsExhausted),
            (Errno::MFILE, Reason::UpstreamPortsExhausted),
            (Errno::NFILE, Reason::UpstreamPortsExhausted),
            (Errno::HOSTUNREACH, Reason::UpstreamUnreachable),
            (Errno::NETUNREACH, Reason::UpstreamUnreachable),
            (Errno::ACCESS, Reason::UpstreamUnreachable),
        ] {
            assert_eq!(
                reason(&io::Error::from_raw_os_error(errno.raw_os_error())),
                expected,
                "{errno:?}"
            );
        }
    }
}
