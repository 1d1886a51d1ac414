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

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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
        // The Referer of mini programs is public.
        let is_public = |value: &&str| value.starts_with(wechat::ORIGIN);
        let values = self.request.fields.iter().map(|(_, value)| value.as_str());
        let values = values.filter(|value| !is_public(value));
        let is_between = |c: char| c.is_whitespace() || "=;,&\"".contains(c);
        let offered = self.request.subprotocols.iter().map(String::as_str);
        let offered = offered.filter(|name| secrets::is_token_like(name.as_bytes()));
        let decoded: Vec<_> = values
            .clone()
            .filter_map(|value| value.strip_prefix("Basic "))
            .filter_map(|value| STANDARD.decode(value.trim()).ok())
            // A name and a password.
            .map(|value| String::from_utf8_lossy(&value).replace(':', " "))
            .collect();
        let words: Vec<_> = values
            .chain(decoded.iter().map(String::as_str))
            .flat_map(|value| value.split(is_between))
            .chain(
                query
                    .split('&')
                    .map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value)),
            )
            .chain(offered)
            .flat_map(|word| [word.to_owned(), unescaped(word)])
            // Shorter ones would make the report unreadable, and protect nothing.
            .filter(|word| word.len() >= 4 && !PUBLIC.contains(&word.as_str()))
            .collect();
        without(text, &words, &self.target.host)
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
            let others = self.other_clients(address);
            if let Some(cipher) = others
                .old_cipher
                .filter(|_| main.finding != Finding::TlsTooOld)
            {
                main.finding = Finding::OldCiphers;
                main.detail = format!("{}; a client with TLS 1.2 gets {cipher}", main.detail);
            }
        }
        if self.options.target.is_tls && main.progress() > 2 {
            self.without_sni(address);
            self.http2(address);
            let lost = self.other_clients(address).lost;
            if main.finding == Finding::Works && !lost.is_empty() {
                main.detail = lost.join("; ");
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

/// What stands before a secret, and the transports of Socket.IO in its URLs.
const PUBLIC: [&str; 6] = ["Basic", "Bearer", "Digest", "Token", "websocket", "polling"];

/// The longest part of a secret that may be shown, because other words have it too.
const SHOWN: usize = 8;

/// A text in which `*` stands for each of these words, for longer parts of them, and whatever their case is. `public` is
/// shown although it may be a part of them.
fn without(text: &str, words: &[String], public: &str) -> String {
    let lower = |text: &str| text.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    let seen: Vec<u8> = lower(text);
    let mut is_secret = vec![false; seen.len()];
    for word in words {
        let word: Vec<u8> = lower(word);
        for part in word.windows(word.len().min(SHOWN + 1)) {
            if memchr::memmem::find(public.as_bytes(), part).is_some() {
                continue;
            }
            for at in memchr::memmem::find_iter(&seen, part) {
                let found = is_secret.get_mut(at..at + part.len());
                found.unwrap_or_default().fill(true);
            }
        }
    }
    let mut shown = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match is_secret.get(at) {
            Some(true) if shown.ends_with('*') => {}
            Some(true) => shown.push('*'),
            _ => shown.push(c),
        }
    }
    shown
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_whole_in_part_and_in_any_case() {
        let words = ["eyJhbGciOiJIUzI1NiJ9".to_owned(), "abcd".to_owned()];
        for (text, shown) in [
            ("token eyJhbGciOiJIUzI1NiJ9.", "token *."),
            ("EYJHBGCIO…", "*…"),
            ("xeyJhbGcix", "xeyJhbGcix"),
            ("é ABCD é", "é * é"),
            ("abcdabcd", "*"),
            ("", ""),
        ] {
            assert_eq!(without(text, &words, ""), shown, "{text}");
        }
        let url = ["https://app.example.com".to_owned()];
        let shown = without(
            "for api.example.com, https://app.x",
            &url,
            "api.example.com",
        );
        assert_eq!(shown, "for api.example.com, *x");
    }
}
