//! `limits`: limits on what peers may use.

use std::time::Duration;

use super::super::fields::Fields;
use super::super::key::{Is, Key, keys};
use super::super::problem::Complaint;
use super::super::report::Report;
use super::super::value::{Count, OrOff, Size, Timer};
use super::ROOT;

/// Limits on what peers may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections.
    pub connections: usize,
    /// Open connections of one client; `None`: no limit.
    pub connections_per_client: Option<usize>,
    /// Opening handshakes of one client in a minute; `None`: no limit.
    pub handshakes_per_client: Option<usize>,
    /// Bytes of a request head or of a response head.
    pub header_bytes: usize,
    /// From accept to the end of the TLS handshake.
    pub tls_handshake: Duration,
    /// From the end of the TLS handshake (or accept) to the end of the request head.
    pub request_head: Duration,
    /// Between the answer to a request and the next request of the connection.
    pub keep_alive: Duration,
    /// How long bytes may wait for a peer that does not read.
    pub write_stall: Duration,
    /// How long a side may stay silent after the other ended, and how long a refused client may take to read.
    pub close_wait: Duration,
}

/// Far more than the number of descriptors that one process can have.
const MOST_CONNECTIONS: usize = 1_000_000;

keys! {
    pub(super) static LIMITS: LimitsKeys {
        /// The most open client connections, from 1 to 1000000.
        connections: Key<usize> = &Count(MOST_CONNECTIONS), Is(|| 10_000);
        /// The most open connections of one client address (IPv6: of one /64), from 1 to 1000000.
        connections_per_client: Key<Option<usize>> = &OrOff(Count(MOST_CONNECTIONS)), Is(|| None);
        /// The most opening handshakes of one client address (IPv6: of one /64) in a minute, from 1 to 1000000.
        handshakes_per_client: Key<Option<usize>> = &OrOff(Count(MOST_CONNECTIONS)), Is(|| None);
        /// The largest head of a request or of a response, from 8KiB to 1MiB.
        // hyper's read buffer is never smaller than 8 KiB.
        header_bytes: Key<u64> = &Size(8 << 10..=1 << 20), Is(|| 16 << 10);
        /// The time from accepting the connection to the end of the TLS handshake.
        tls_handshake: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(10));
        /// The time from there to the end of the request head.
        request_head: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(10));
        /// How long a connection may wait for its next request. Must be longer than the same timer of a load balancer in
        /// front, or requests are lost between the two.
        // Longer than the 60 s after which most balancers close an unused connection.
        keep_alive: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(90));
        /// How long bytes may wait for a peer that does not read. A peer that does not acknowledge anything has four times
        /// as long, at least 1s.
        write_stall: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(30));
        /// How long one side may take to end after the other side has ended, and how long a refused client may take to read
        /// the answer.
        close_wait: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(5));
    }
}

/// The limits; `top` has the fields of the file. `undistinguished` says why the clients behind a hop in front can't be
/// told apart; `None`: they can.
pub(super) fn read(
    top: &Fields<'_>,
    undistinguished: Option<&str>,
    report: &mut Report<'_>,
) -> Limits {
    let fields = top.open(&ROOT.limits, report).unwrap_or_default();
    let mut per_client = |key| {
        let limit = fields.read(key, report);
        if let (Some(reason), Some(_), Some(cursor)) = (undistinguished, limit, fields.get(key)) {
            let message = format!(
                "{reason}, and trusted_proxies is empty: if there is a hop in front, all its clients count as one"
            );
            let help = "list that hop's addresses in trusted_proxies";
            cursor.key_warning(report, Complaint::new(message).help(help));
        }
        limit
    };
    Limits {
        connections_per_client: per_client(&LIMITS.connections_per_client),
        handshakes_per_client: per_client(&LIMITS.handshakes_per_client),
        connections: fields.read(&LIMITS.connections, report),
        header_bytes: fields
            .read(&LIMITS.header_bytes, report)
            .try_into()
            .unwrap_or(usize::MAX),
        tls_handshake: fields.read(&LIMITS.tls_handshake, report),
        request_head: fields.read(&LIMITS.request_head, report),
        keep_alive: fields.read(&LIMITS.keep_alive, report),
        write_stall: fields.read(&LIMITS.write_stall, report),
        close_wait: fields.read(&LIMITS.close_wait, report),
    }
}
