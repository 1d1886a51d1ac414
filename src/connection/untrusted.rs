//! Finds a hop that was forgotten in `trusted_proxies`: a peer that keeps naming clients, and is not believed.
//!
//! Each peer is reported once, and only a few peers are reported in all. Anybody can send such a field. In private networks,
//! where hops are, a few requests are enough; peers on the internet need many more. The two kinds are counted apart, so that
//! nobody outside can prevent the report about a hop inside.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::request::Parts;
use ipnet::IpNet;

use super::Request;
use crate::config::is_public;
use crate::http::forwarded::claimed;
use crate::reason::Level;
use crate::record::{Event, Record};

/// How many peers of one kind are watched at a time. When there are more, all are forgotten.
const WATCHED: usize = 256;

/// How many peers of one kind are reported while the process runs.
const TOLD: usize = 8;

/// How many requests that name a client make a peer in a private network a hop.
const NEAR: u32 = 5;

/// The same for a peer on the internet, which must also name so many different clients over so much time. A scanner soon
/// comes to the end of its list.
const FAR: u32 = 20;
const FAR_CLIENTS: usize = 5;
const FAR_TIME: Duration = Duration::from_secs(60);

/// How many networks a suggested line repeats. For a longer list only the new item is suggested.
const REPEATED: usize = 8;

/// The peers that name clients and are not trusted.
#[derive(Debug, Default)]
pub struct Claims {
    near: Watch,
    far: Watch,
}

#[derive(Debug, Default)]
struct Watch {
    /// Whether anybody is watched. If not, a request that names nobody takes no lock.
    is_busy: AtomicBool,
    peers: Mutex<Peers>,
}

#[derive(Debug, Default)]
struct Peers {
    watched: HashMap<IpAddr, Watched>,
    told: Vec<IpAddr>,
}

#[derive(Debug)]
struct Watched {
    since: Instant,
    requests: u32,
    clients: Vec<IpAddr>,
}

impl Claims {
    /// Counts a request from `peer`, which names `client` or no client. When the report is due, returns the number of
    /// requests that named a client. A hop always names the client, so a handshake without one shows that `peer` is not
    /// a hop.
    fn next(
        &self,
        peer: IpAddr,
        client: Option<IpAddr>,
        is_handshake: bool,
        now: Instant,
    ) -> Option<u32> {
        let is_far = is_public(peer);
        let watch = if is_far { &self.far } else { &self.near };
        if client.is_none() && !(is_handshake && watch.is_busy.load(Relaxed)) {
            return None;
        }
        // If another connection holds the lock, one request more or less does not matter.
        let mut peers = watch.peers.try_lock().ok()?;
        let key = if is_far { network(peer) } else { peer };
        let told = match client {
            Some(client) => peers.claim(key, client, is_far, now),
            None => {
                peers.watched.remove(&key);
                None
            }
        };
        watch.is_busy.store(!peers.watched.is_empty(), Relaxed);
        told
    }
}

impl Peers {
    fn claim(&mut self, peer: IpAddr, client: IpAddr, is_far: bool, now: Instant) -> Option<u32> {
        if self.told.len() >= TOLD || self.told.contains(&peer) {
            self.watched.clear();
            return None;
        }
        if self.watched.len() >= WATCHED && !self.watched.contains_key(&peer) {
            self.watched.clear();
        }
        let watched = self.watched.entry(peer).or_insert_with(|| Watched {
            since: now,
            requests: 0,
            clients: Vec::new(),
        });
        watched.requests = watched.requests.saturating_add(1);
        if watched.clients.len() < FAR_CLIENTS && !watched.clients.contains(&client) {
            watched.clients.push(client);
        }
        let requests = watched.requests;
        let is_enough = match is_far {
            true => {
                requests >= FAR
                    && watched.clients.len() >= FAR_CLIENTS
                    && now.saturating_duration_since(watched.since) >= FAR_TIME
            }
            false => requests >= NEAR,
        };
        is_enough.then(|| {
            self.watched.remove(&peer);
            self.told.push(peer);
            requests
        })
    }
}

/// The source that is counted: a 64-bit IPv6 network belongs to one host.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

impl Request<'_> {
    /// Reports a peer that keeps naming clients and is not trusted.
    pub(super) fn watch_claims(&self, request: &Parts, is_handshake: bool) {
        let said = claimed(&request.headers);
        let peer = self.connection.peer.ip().to_canonical();
        let client = said.map(|(_, client)| client);
        let Some(requests) = self
            .shared
            .claims
            .next(peer, client, is_handshake, Instant::now())
        else {
            return;
        };
        let field = said.map_or("X-Forwarded-For", |(field, _)| field);
        let identified = self.facts.identified();
        let shown = self.shared.sink.address(peer, None);
        let who = shown.as_deref().unwrap_or("a peer");
        let detail = format!(
            "{who} named the client in {field} in {requests} requests, but is not in trusted_proxies: the field is ignored and removed, and all clients behind this peer count as one client and are recorded with its address"
        );
        self.shared.sink.emit(Record {
            event: Event::UntrustedProxy,
            level: Some(Level::Warn),
            detail: Some(detail),
            hint: Some(remedy(peer, shown, &self.shared.config().trusted_proxies)),
            ..identified
        });
    }
}

/// The remedy, with the line to write.
fn remedy(peer: IpAddr, shown: Option<String>, trusted: &[IpNet]) -> String {
    let quoted = |text: String| match text.contains(':') {
        true => format!("\"{text}\""),
        false => text,
    };
    let what = match shown {
        Some(shown) if shown == peer.to_string() && trusted.len() < REPEATED => {
            let mut line = String::new();
            for network in trusted {
                // Writing to a String cannot fail.
                let _ = write!(line, "{}, ", quoted(network.to_string()));
            }
            format!("write `trusted_proxies: [{line}{}]`", quoted(shown))
        }
        Some(shown) if shown == peer.to_string() => {
            format!("add {} to `trusted_proxies`", quoted(shown))
        }
        // Records must not show whole addresses.
        _ => "add its address to `trusted_proxies`".to_owned(),
    };
    format!(
        "if this peer is your own reverse proxy or load balancer, {what}; if clients connect directly from there (a NAT, or a balancer that only passes TCP on), do not list it, because each client could then claim any address"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4((0xcb00_7100 + number).into()))
    }

    #[test]
    fn a_hop_in_a_private_network_is_reported_once() {
        for peer in ["127.0.0.1", "10.1.2.3", "::1", "fd00::7", "100.64.0.1"] {
            let (claims, now) = (Claims::default(), Instant::now());
            for number in 1..20 {
                // Always the same client, as when one person tries it.
                let told = claims.next(ip(peer), client(1), true, now);
                assert_eq!(told, (number == NEAR).then_some(NEAR), "{peer} {number}");
                // The hop's own health check is not a handshake.
                assert_eq!(claims.next(ip(peer), None, false, now), None);
            }
        }
    }

    #[test]
    fn a_peer_that_also_names_nobody_is_not_a_hop() {
        let (claims, now) = (Claims::default(), Instant::now());
        for _ in 0..20 {
            for _ in 1..NEAR {
                assert_eq!(claims.next(ip("10.0.0.1"), client(1), true, now), None);
            }
            assert_eq!(claims.next(ip("10.0.0.1"), None, true, now), None);
        }
    }

    #[test]
    fn a_peer_on_the_internet_must_name_many_clients_over_time() {
        let begun = Instant::now();
        let told = |clients: u32, each: Duration| {
            let claims = Claims::default();
            let times = (0..100).filter_map(|number| {
                let now = begun + each * number;
                claims.next(ip("203.0.113.1"), client(number % clients), true, now)
            });
            times.collect::<Vec<_>>()
        };
        assert_eq!(
            told(50, Duration::from_millis(100)),
            [0_u32; 0],
            "a scanner in a hurry"
        );
        assert_eq!(
            told(2, Duration::from_secs(10)),
            [0_u32; 0],
            "a scanner with two names"
        );
        assert_eq!(told(50, Duration::from_secs(10)), [FAR]);
        assert_eq!(told(50, Duration::from_secs(1)), [61]);
    }

    #[test]
    fn memory_has_a_bound_however_many_peers_come() {
        let (claims, begun) = (Claims::default(), Instant::now());
        let mut told = 0;
        for number in 0..5000_u32 {
            let peer = IpAddr::V6(((0x2600_u128 << 112) | (u128::from(number) << 64)).into());
            for request in 0..2 * FAR {
                let now = begun + FAR_TIME * request;
                told += usize::from(claims.next(peer, client(request), true, now).is_some());
            }
            let peers = claims.far.peers.lock().unwrap();
            assert!(peers.watched.len() <= WATCHED && peers.told.len() <= TOLD);
        }
        assert_eq!(told, TOLD);
        // One network is one source.
        let claims = Claims::default();
        for number in 0..5000_u32 {
            let peer = ip(&format!("2600::{number:x}"));
            claims.next(peer, client(number), true, begun);
            assert_eq!(claims.far.peers.lock().unwrap().watched.len(), 1);
        }
        // Nobody outside prevents the report about a hop inside.
        for _ in 1..NEAR {
            claims.next(ip("10.0.0.1"), client(1), true, begun);
        }
        assert!(
            claims
                .next(ip("10.0.0.1"), client(1), true, begun)
                .is_some()
        );
    }

    #[test]
    fn the_line_to_write_keeps_what_is_there() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"]
            .map(|net| net.parse().unwrap())
            .into();
        let line = |peer: &str, shown: Option<&str>, trusted: &[IpNet]| {
            remedy(ip(peer), shown.map(str::to_owned), trusted)
        };
        let has = |text: String, part: &str| assert!(text.contains(part), "{text}");
        has(
            line("127.0.0.1", Some("127.0.0.1"), &[]),
            "write `trusted_proxies: [127.0.0.1]`;",
        );
        has(
            line("::1", Some("::1"), &trusted),
            "write `trusted_proxies: [10.0.0.0/8, \"fd00::/8\", \"::1\"]`;",
        );
        has(
            line("10.1.2.3", Some("10.1.2.0"), &[]),
            "add its address to `trusted_proxies`;",
        );
        has(
            line("10.1.2.3", None, &[]),
            "add its address to `trusted_proxies`;",
        );
        let many = vec![trusted[0]; REPEATED];
        has(
            line("10.1.2.3", Some("10.1.2.3"), &many),
            "add 10.1.2.3 to `trusted_proxies`;",
        );
    }
}
