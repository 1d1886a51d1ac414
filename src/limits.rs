//! What one client may use: open connections, and opening handshakes per minute.
//!
//! Takes the client's address, which the caller knows: that of the peer, or the one that a trusted proxy names. Gives a
//! [`Held`], which counts while it exists, or a [`Failure`] with `client_conn_limit` or `rate_limited`. An IPv6 client
//! is its /64, because whoever has one address of it has all of them. Trusted proxies are not clients, and are never
//! limited.

mod slots;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;

pub use slots::Slots;

use crate::reason::{Failure, Reason};
use crate::text::counted;

/// The time over which a limit on handshakes counts.
const MINUTE: Duration = Duration::from_secs(60);

/// The most clients in one generation of [`Rates`]. There are two generations, which take about 2 MiB: a table of 32768
/// entries holds this many before it grows.
const MOST_CLIENTS: usize = 7 << 12;

/// What all clients use, and what one of them may use.
#[derive(Debug, Default)]
pub struct Clients {
    most_connections: Option<usize>,
    connections: Arc<Connections>,
    handshakes: Option<Arc<Mutex<Rates>>>,
    trusted_proxies: Vec<IpNet>,
}

impl Clients {
    /// The limits per client; `None`: no limit. `handshakes` is per minute, and as many may come at once.
    #[must_use]
    pub fn new(
        connections: Option<usize>,
        handshakes: Option<usize>,
        trusted_proxies: &[IpNet],
    ) -> Self {
        Self::default().succeeded(connections, handshakes, trusted_proxies)
    }

    /// The same clients with other limits. Open connections that were counted still count, and recent handshakes count
    /// while their limit stays.
    #[must_use]
    pub fn succeeded(
        &self,
        connections: Option<usize>,
        handshakes: Option<usize>,
        trusted_proxies: &[IpNet],
    ) -> Self {
        Self {
            most_connections: connections,
            connections: Arc::clone(&self.connections),
            handshakes: handshakes.map(|most| match &self.handshakes {
                Some(rates) if locked(rates).most == most => Arc::clone(rates),
                _ => Arc::new(Mutex::new(Rates::new(most, MOST_CLIENTS, Instant::now()))),
            }),
            trusted_proxies: trusted_proxies.to_vec(),
        }
    }

    /// Counts a connection of `client` until the result is dropped; `None` if nothing is counted.
    ///
    /// # Errors
    /// `client_conn_limit` if the client has as many as allowed.
    pub fn connect(&self, client: IpAddr) -> Result<Option<Box<Held>>, Failure> {
        let Some(most) = self.most_connections else {
            return Ok(None);
        };
        if self.is_proxy(client) {
            return Ok(None);
        }
        let client = Client::of(client);
        let mut open = locked(&self.connections.open);
        let count = open.get(&client).copied().unwrap_or_default();
        if count >= most {
            let detail = format!("this client has {} open", counted(count, "connection"));
            return Err(Failure::new(Reason::ClientConnLimit, detail));
        }
        open.insert(client, count + 1);
        let connections = Arc::clone(&self.connections);
        Ok(Some(Box::new(Held {
            connections,
            client,
        })))
    }

    /// Counts an opening handshake of `client` that came at `now`, whatever its outcome.
    ///
    /// # Errors
    /// `rate_limited`, with the seconds until there is room for one more. This handshake is then not counted.
    pub fn handshake(&self, client: IpAddr, now: Instant) -> Result<(), Failure> {
        let Some(rates) = &self.handshakes else {
            return Ok(());
        };
        if self.is_proxy(client) {
            return Ok(());
        }
        let mut rates = locked(rates);
        rates.take(Client::of(client), now).map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let detail = format!(
                "more than {} handshakes a minute; the next one is allowed in {seconds}s",
                rates.most
            );
            Failure::new(Reason::RateLimited, detail).with_retry_after(seconds)
        })
    }

    fn is_proxy(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(&client))
    }
}

/// Code that holds one of these locks can't panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counts as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    V4(u32),
    /// The upper half of the address.
    V6(u64),
}

impl Client {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                let upper = [a, b, c, d].into_iter().map(u64::from);
                Self::V6(upper.fold(0, |bits, segment| bits << 16 | segment))
            }
        }
    }
}

/// Open connections by client. Clients without a connection are absent, so it is at most as large as
/// `limits.connections`.
#[derive(Debug, Default)]
struct Connections {
    open: Mutex<HashMap<Client, usize>>,
}

/// One connection of a client, until it is dropped.
#[derive(Debug)]
pub struct Held {
    connections: Arc<Connections>,
    client: Client,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = locked(&self.connections.open);
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

/// A token bucket for each client, stored as the time at which it will be full again. A full bucket needs no entry.
/// Every bucket is full after a minute, so clients are forgotten by the minute, without a search. If a generation is
/// full before its minute is over, the one before it is forgotten early: the clients seen longest ago start with a full
/// bucket, so that new ones can be counted.
#[derive(Debug)]
struct Rates {
    most: usize,
    most_clients: usize,
    /// The beginning of time for all entries.
    epoch: Instant,
    /// When the current generation began.
    began: Duration,
    recent: HashMap<Client, Duration>,
    before: HashMap<Client, Duration>,
}

impl Rates {
    fn new(most: usize, most_clients: usize, epoch: Instant) -> Self {
        Self {
            most,
            most_clients,
            epoch,
            began: Duration::ZERO,
            recent: HashMap::new(),
            before: HashMap::new(),
        }
    }

    /// Takes a token, or says how long there is none.
    fn take(&mut self, client: Client, now: Instant) -> Result<(), Duration> {
        let now = now.saturating_duration_since(self.epoch);
        self.forget(now);
        let known = self
            .recent
            .get(&client)
            .or_else(|| self.before.get(&client));
        let full = known.copied().unwrap_or_default().max(now);
        let token = MINUTE / u32::try_from(self.most).unwrap_or(u32::MAX);
        let then = full + token;
        let wait = then.saturating_sub(now + MINUTE);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.recent.insert(client, then);
        Ok(())
    }

    fn forget(&mut self, now: Duration) {
        let age = now.saturating_sub(self.began);
        if age < MINUTE && self.recent.len() < self.most_clients {
            return;
        }
        let recent = std::mem::take(&mut self.recent);
        // After two minutes the older entries are useless, too.
        self.before = if age < 2 * MINUTE {
            recent
        } else {
            HashMap::new()
        };
        self.began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn retry_after(failed: Result<(), Failure>) -> u64 {
        let failure = failed.unwrap_err();
        assert_eq!(failure.reason, Reason::RateLimited);
        failure.retry_after.unwrap()
    }

    #[test]
    fn a_client_is_an_address_or_a_64() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::1", "0.0.0.1", false),
        ] {
            let [one, other] = [one, other].map(|text| Client::of(ip(text)));
            assert_eq!(one == other, same, "{one:?} {other:?}");
        }
    }

    #[test]
    fn connections_count_while_they_are_held() {
        let clients = Clients::new(Some(2), None, &["10.0.0.0/8".parse().unwrap()]);
        let first = clients.connect(ip("2001:db8::1")).unwrap();
        let second = clients.connect(ip("2001:db8::2")).unwrap();
        assert!(first.is_some() && second.is_some());
        let failure = clients.connect(ip("2001:db8::3")).unwrap_err();
        assert_eq!(failure.reason, Reason::ClientConnLimit);
        assert!(clients.connect(ip("2001:db8:0:1::3")).unwrap().is_some());
        drop(first);
        let third = clients.connect(ip("2001:db8::3")).unwrap();
        drop((second, third));
        let open = &clients.connections.open;
        assert!(open.lock().unwrap().is_empty(), "nothing stays behind");
        for _ in 0..10 {
            assert!(clients.connect(ip("::ffff:10.1.2.3")).unwrap().is_none());
        }
    }

    #[test]
    fn under_other_limits_clients_are_who_they_were() {
        let clients = Clients::new(Some(3), Some(2), &[]);
        let now = Instant::now();
        let held: Vec<_> = (0..3).map(|_| clients.connect(ip("192.0.2.1"))).collect();
        clients.handshake(ip("192.0.2.1"), now).unwrap();
        clients.handshake(ip("192.0.2.1"), now).unwrap();
        let fewer = clients.succeeded(Some(2), Some(2), &[]);
        assert!(fewer.connect(ip("192.0.2.1")).is_err());
        retry_after(fewer.handshake(ip("192.0.2.1"), now));
        let more = fewer.succeeded(Some(4), Some(3), &[]);
        let another = more.connect(ip("192.0.2.1")).unwrap();
        assert!(more.connect(ip("192.0.2.1")).is_err());
        more.handshake(ip("192.0.2.1"), now).unwrap();
        drop((held, another));
        assert!(more.connections.open.lock().unwrap().is_empty());
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let clients = Clients::default();
        for _ in 0..1000 {
            assert!(clients.connect(ip("192.0.2.1")).unwrap().is_none());
            clients.handshake(ip("192.0.2.1"), Instant::now()).unwrap();
        }
    }

    #[test]
    fn a_bucket_gives_as_many_as_a_minute_and_then_one_after_the_other() {
        for most in [1, 2, 7, 60, 1000] {
            let clients = Clients::new(None, Some(most), &[]);
            let mut now = Instant::now();
            for _ in 0..most {
                clients.handshake(ip("192.0.2.1"), now).unwrap();
            }
            let wait = retry_after(clients.handshake(ip("192.0.2.1"), now));
            assert!((1..=60).contains(&wait), "{most}: {wait}");
            // Others have their own buckets, and a refused handshake costs nothing.
            clients.handshake(ip("192.0.2.2"), now).unwrap();
            assert_eq!(retry_after(clients.handshake(ip("192.0.2.1"), now)), wait);
            // The advice is right: not earlier than in its last second, and certainly then.
            let early = now + Duration::from_secs(wait - 1);
            if most <= 60 {
                retry_after(clients.handshake(ip("192.0.2.1"), early));
            }
            now += Duration::from_secs(wait);
            clients.handshake(ip("192.0.2.1"), now).unwrap();
            // In the long run the rate is exact, whatever the client tries.
            let mut passed = 0;
            for tenth in 0..6000 {
                let at = now + Duration::from_millis(tenth * 100);
                passed += usize::from(clients.handshake(ip("192.0.2.1"), at).is_ok());
            }
            assert!(passed <= 10 * most + most, "{most}: {passed}");
            assert!(passed >= (9 * most).min(5000), "{most}: {passed}");
        }
    }

    #[test]
    fn a_client_that_was_quiet_for_a_minute_is_as_good_as_new() {
        let clients = Clients::new(None, Some(3), &[]);
        let begin = Instant::now();
        for minutes in [0, 1, 2, 5, 100] {
            let now = begin + minutes * MINUTE;
            for _ in 0..3 {
                clients.handshake(ip("192.0.2.1"), now).unwrap();
            }
            retry_after(clients.handshake(ip("192.0.2.1"), now));
        }
    }

    #[test]
    fn a_flood_of_clients_does_not_grow_the_table() {
        const MOST: usize = 100;
        let begin = Instant::now();
        let mut rates = Rates::new(1, MOST, begin);
        for number in 0..10_000_u64 {
            // All at the same moment: no bucket is full again.
            rates.take(Client::V6(number), begin).unwrap();
            assert!(rates.recent.len() <= MOST && rates.before.len() <= MOST);
        }
        // The last clients are known, and the first ones are forgotten.
        assert!(rates.take(Client::V6(9_999), begin).is_err());
        assert!(rates.take(Client::V6(9_999 - 99), begin).is_err());
        assert!(rates.take(Client::V6(0), begin).is_ok());
        let full = MOST_CLIENTS * 2 * (size_of::<(Client, Duration)>() + 1) * 8 / 7;
        assert!(full < 3 * 1024 * 1024, "{full}");
    }

    #[test]
    fn a_client_that_keeps_coming_is_not_forgotten() {
        let begin = Instant::now();
        let mut rates = Rates::new(2, MOST_CLIENTS, begin);
        let mut passed = 0;
        for second in 0..600 {
            let now = begin + Duration::from_secs(second);
            passed += usize::from(rates.take(Client::V4(1), now).is_ok());
            rates.take(Client::V6(second), now).unwrap();
        }
        assert!((20..=22).contains(&passed), "{passed}");
    }
}
