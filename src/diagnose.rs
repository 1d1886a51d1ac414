//! Explains from outside why a WebSocket URL does not work: walks the stages, and changes one thing at a time.
//!
//! Only this file knows the order of the probes. It uses blocking sockets, each with a deadline, and one connection at a time.

mod compare;
mod device;
mod dial;
mod exchange;
mod extra;
mod finding;
mod gateway;
mod hello;
mod judge;
mod report;
mod talk;
mod target;
mod vary;
mod walk;
pub mod wechat;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use compare::Comparison;
pub use device::device_error;
pub use exchange::Request;
pub use finding::Finding;
pub use report::{Outcome, Report, SCHEMA, Step};
pub use target::Target;

use self::dial::{Fault, resolve};
use self::extra::HELLOS;
use self::report::Verdict;
use self::vary::Variant;
use self::walk::{At, Attempt, Walk};
use crate::secrets;
use crate::tls::probe::Trusted;

/// The most connections that a diagnosis opens.
const MOST: usize = 24;

/// The most addresses of a name that are tried, because those that don't answer take long.
const MOST_ADDRESSES: usize = 8;

/// How a diagnosis is done.
#[derive(Clone)]
pub struct Options {
    /// The URL.
    pub target: Target,
    /// The request that is sent first.
    pub request: Request,
    /// The address to connect to instead of those of the name.
    pub connect_to: Option<SocketAddr>,
    /// The name for SNI and for the certificate, if it is not the host.
    pub sni: Option<String>,
    /// The authorities that are trusted.
    pub trusted: Trusted,
    /// How long each step may take.
    pub timeout: Duration,
    /// A text that the server sends back.
    pub echo: Option<String>,
    /// How long to stay silent in the open WebSocket.
    pub idle: Option<Duration>,
    /// Whether to walk only once.
    pub is_quick: bool,
    /// Whether to try what the other platforms of WeChat send.
    pub is_wechat: bool,
}

impl Options {
    /// A text without the values that only the server may see, which it may have sent back.
    fn without_secrets(&self, text: &str) -> String {
        let query = self
            .target
            .path
            .split_once('?')
            .map_or("", |(_, query)| query);
        let values = self.request.fields.iter().map(|(_, value)| value.as_str());
        let is_between = |c: char| c.is_whitespace() || "=;,&\"".contains(c);
        let offered = self.request.subprotocols.iter().map(String::as_str);
        let offered = offered.filter(|name| secrets::is_token_like(name.as_bytes()));
        let mut words: Vec<_> = values
            .flat_map(|value| value.split(is_between))
            .chain(
                query
                    .split('&')
                    .filter_map(|pair| Some(pair.split_once('=')?.1)),
            )
            .chain(offered)
            .flat_map(|word| [word.to_owned(), unescaped(word)])
            // Shorter ones would make the report unreadable, and protect nothing.
            .filter(|word| word.len() >= 4)
            .collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        words.iter().fold(text.to_owned(), |text, word| {
            text.replace(word.as_str(), "*")
        })
    }

    /// The name for SNI and for the certificate.
    fn name(&self) -> &str {
        self.sni.as_deref().unwrap_or(&self.target.host)
    }

    /// The most connections that a diagnosis opens.
    #[must_use]
    pub fn most_connections(&self) -> usize {
        self.most_addresses() + self.further_connections()
    }

    /// The most connections after the walks to all addresses.
    fn further_connections(&self) -> usize {
        let platforms = match self.is_wechat {
            true => wechat::CONNECTIONS,
            false => 0,
        };
        if self.is_quick {
            return platforms;
        }
        // Without SNI, with HTTP/2, and each kind of hello.
        let tls = match self.target.is_tls {
            true => 2 + HELLOS,
            false => 0,
        };
        // The other scheme, each variant of the request, and the first request again.
        platforms + tls + 1 + Variant::ALL.len() + 1
    }

    /// The most addresses of a name that are tried.
    fn most_addresses(&self) -> usize {
        let is_one = self.connect_to.is_some() || self.target.address().is_some();
        match self.is_quick || is_one {
            true => 1,
            false => MOST_ADDRESSES.min(MOST.saturating_sub(self.further_connections())),
        }
    }
}

/// Diagnoses a URL; `watch` gets each step when it is over.
pub fn diagnose(options: &Options, watch: &mut dyn FnMut(&Step)) -> Report {
    let mut walk = Walk {
        options,
        watch,
        steps: Vec::new(),
        certificates: Vec::new(),
        connections: 0,
    };
    let verdict = walk.all();
    let verdict = Verdict {
        detail: options.without_secrets(&verdict.detail),
        ..verdict
    };
    Report {
        url: options.target.shown(),
        steps: walk.steps,
        certificates: walk.certificates,
        connections: walk.connections,
        verdict,
    }
}

impl Walk<'_> {
    fn all(&mut self) -> Verdict {
        let addresses = match self.addresses() {
            Ok(addresses) => addresses,
            Err(fault) => return verdict(Attempt::failed("dns", fault)),
        };
        let mut attempts = Vec::new();
        for &address in addresses.iter().take(self.options.most_addresses()) {
            let attempt = self.walk("walk", address, &self.options.request, true);
            attempts.push((address, attempt));
        }
        let best = attempts
            .iter()
            .enumerate()
            .rev()
            .max_by_key(|(_, (_, attempt))| attempt.progress())
            .map(|(index, _)| index);
        let Some(best) = best else {
            return verdict(Attempt::failed("dns", (Finding::DnsFailed, String::new())));
        };
        let (address, main) = attempts.swap_remove(best);
        if let Some(differing) = differing(&main, &attempts) {
            return differing;
        }
        let untried = addresses.len().saturating_sub(attempts.len() + 1);
        if untried > 0 && !self.options.is_quick {
            let at = At {
                stage: "dns",
                probe: "walk",
                address: None,
                begun: Instant::now(),
            };
            let detail = format!("not tried: {} more of the addresses", untried);
            self.say(&at, Outcome::Note, None, &detail);
        }
        let mut main = match self.options.is_wechat {
            true => self.wechat(main, address),
            false => main,
        };
        if self.options.is_quick {
            return verdict(main);
        }
        let is_refused = matches!(
            main.finding,
            Finding::TlsTooOld | Finding::TlsAlert | Finding::TlsFailed
        );
        if is_refused {
            self.other_clients(address);
        }
        if self.options.target.is_tls && main.progress() > 2 {
            self.without_sni(address);
            self.http2(address);
            let refused = self.other_clients(address);
            if main.finding == Finding::Works && !refused.is_empty() {
                main.detail = refused.join("; ");
            }
        }
        if let Some(finding) = self.other_scheme(&main, address) {
            return verdict(Attempt { finding, ..main });
        }
        match main.status {
            Some(status) if status != 101 => verdict(self.vary(main, address)),
            Some(_) => verdict(main),
            None if main.finding == Finding::ClosedBeforeAnswer => {
                verdict(self.vary(main, address))
            }
            None => verdict(main),
        }
    }

    fn addresses(&mut self) -> Result<Vec<SocketAddr>, Fault> {
        let Options {
            target,
            connect_to,
            timeout,
            ..
        } = self.options;
        if let Some(address) = connect_to {
            return Ok(vec![*address]);
        }
        if let Some(ip) = target.address() {
            return Ok(vec![SocketAddr::new(ip, target.port)]);
        }
        let at = At {
            stage: "dns",
            probe: "walk",
            address: None,
            begun: Instant::now(),
        };
        let found = resolve(&target.host, target.port, *timeout);
        match &found {
            Ok(addresses) => {
                let all: Vec<_> = addresses
                    .iter()
                    .map(|address| address.ip().to_string())
                    .collect();
                self.say(&at, Outcome::Ok, None, &all.join(", "));
            }
            Err(fault) => self.fail(&at, fault),
        }
        found
    }
}

fn verdict(attempt: Attempt) -> Verdict {
    Verdict {
        finding: attempt.finding,
        stage: attempt.stage,
        detail: attempt.detail,
        answered_by: attempt.answered_by,
        told: attempt.told,
    }
}

/// A text with its percent-encoded bytes decoded.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = match byte {
            Some(_) => after.get(2..).unwrap_or_default(),
            None => after,
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The verdict if addresses of the same name behave differently.
fn differing(best: &Attempt, others: &[(SocketAddr, Attempt)]) -> Option<Verdict> {
    if best.finding != Finding::Works {
        return None;
    }
    // A network without IPv6 says nothing about the server.
    let failed = |(address, attempt): &&(SocketAddr, Attempt)| {
        attempt.finding != Finding::Works
            && !(address.is_ipv6() && attempt.finding == Finding::Unreachable)
    };
    let failed: Vec<_> = others.iter().filter(failed).collect();
    let (_, first) = failed.first()?;
    let each: Vec<_> = failed
        .iter()
        .map(|(address, attempt)| {
            format!("{address}: {} ({})", attempt.finding.id(), attempt.detail)
        })
        .collect();
    Some(Verdict {
        finding: Finding::AddressesDiffer,
        stage: first.stage,
        detail: each.join("; "),
        answered_by: None,
        told: None,
    })
}
