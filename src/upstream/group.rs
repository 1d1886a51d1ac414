//! An upstream in use: its endpoints, their state, and which one a client gets.
//!
//! Takes a client's address; gives the endpoints in the order in which they are tried. Fails with
//! `upstream_none_healthy` and `upstream_tunnel_limit`.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sha1::{Digest, Sha1};
use tokio::time::Instant;

use super::names::Names;
use super::pool::Idle;
use crate::config::{Balance, Endpoint, Upstream};
use crate::reason::{Failure, Reason};
use crate::tls;

/// How long an endpoint is tried last after a failed connection.
const SHUNNED: Duration = Duration::from_secs(10);

/// One upstream of the configuration, shared by all connections.
#[derive(Debug)]
pub struct Group {
    settings: Arc<Upstream>,
    pub(super) tls: Option<tls::Client>,
    pub(super) names: Names,
    /// `limits.write_stall`, for the sockets.
    pub(super) write_stall: Duration,
    members: Vec<Arc<Member>>,
    turn: AtomicUsize,
    tunnels: Arc<AtomicUsize>,
}

/// One endpoint of a group.
#[derive(Debug)]
pub struct Member {
    /// Its address.
    pub endpoint: Endpoint,
    open: AtomicUsize,
    connected: AtomicU64,
    not_connected: AtomicU64,
    state: Mutex<Condition>,
    /// The turn of callers that wait for room in the backlog of a unix socket.
    pub(super) turn: tokio::sync::Mutex<()>,
    idle: Arc<Idle>,
}

#[derive(Debug, Default)]
struct Condition {
    /// When the last connection failed, unless a later one succeeded.
    failed: Option<Instant>,
    unhealthy_since: Option<SystemTime>,
}

/// Counts a tunnel or a request on its endpoint until dropped.
#[derive(Debug)]
pub struct Busy(Arc<Member>);

/// A slot for a tunnel among those of a group until dropped.
#[derive(Debug)]
pub struct TunnelSlot(Arc<AtomicUsize>);

/// What an open tunnel holds of its upstream until it ends.
#[derive(Debug)]
#[expect(dead_code, reason = "counted until dropped")]
pub struct InUse {
    /// Its slot among the group's tunnels.
    pub slot: TunnelSlot,
    /// The endpoint that the tunnel goes to.
    pub busy: Busy,
}

impl Group {
    /// An upstream whose endpoints are still unknown and count as healthy. `tls` is there if an endpoint needs it;
    /// `names` is shared by all upstreams.
    #[must_use]
    pub fn new(
        settings: Arc<Upstream>,
        tls: Option<tls::Client>,
        write_stall: Duration,
        names: Names,
    ) -> Arc<Self> {
        let member = |endpoint: &Endpoint| {
            Arc::new(Member {
                endpoint: endpoint.clone(),
                open: AtomicUsize::new(0),
                connected: AtomicU64::new(0),
                not_connected: AtomicU64::new(0),
                state: Mutex::default(),
                turn: tokio::sync::Mutex::default(),
                idle: Arc::default(),
            })
        };
        Arc::new(Self {
            members: settings.endpoints.iter().map(member).collect(),
            settings,
            tls,
            names,
            write_stall,
            turn: AtomicUsize::new(0),
            tunnels: Arc::default(),
        })
    }

    /// The same upstream with other settings. Its tunnels still count. An endpoint that stays keeps its state and its
    /// kept connections, unless the TLS settings changed.
    #[must_use]
    pub fn succeeded(
        &self,
        settings: Arc<Upstream>,
        tls: Option<tls::Client>,
        write_stall: Duration,
    ) -> Arc<Self> {
        let mut group = Self::new(settings, tls, write_stall, self.names.clone());
        // Nobody else has it yet.
        if let Some(group) = Arc::get_mut(&mut group) {
            group.tunnels = Arc::clone(&self.tunnels);
            for member in &mut group.members {
                let is_same = |old: &&Arc<Member>| {
                    old.endpoint == member.endpoint
                        && (!old.endpoint.is_tls() || self.tls == group.tls)
                };
                if let Some(old) = self.members.iter().find(is_same) {
                    *member = Arc::clone(old);
                }
            }
        }
        group
    }

    /// Whether a group with these settings would be equal to this one.
    #[must_use]
    pub fn is_made_of(
        &self,
        settings: &Upstream,
        tls: Option<&tls::Client>,
        write_stall: Duration,
    ) -> bool {
        *self.settings == *settings && self.tls.as_ref() == tls && self.write_stall == write_stall
    }

    /// Its settings in the configuration.
    #[must_use]
    pub fn settings(&self) -> &Upstream {
        &self.settings
    }

    /// Its endpoints, in the file's order.
    #[must_use]
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// The number of open tunnels to all endpoints together.
    #[must_use]
    pub fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }

    /// Whether an endpoint may be used. The results of health checks count only while checks are configured, because
    /// nothing else would mark it healthy again.
    #[must_use]
    pub fn is_healthy(&self, member: &Member) -> bool {
        self.settings.health_check.is_none() || member.is_healthy()
    }

    /// A slot for one more tunnel.
    ///
    /// # Errors
    /// `upstream_tunnel_limit` if `max_tunnels` tunnels are open.
    pub fn slot(self: &Arc<Self>) -> Result<TunnelSlot, Failure> {
        let most = self.settings.max_tunnels.unwrap_or(usize::MAX);
        let count = |open: usize| (open < most).then_some(open + 1);
        match self
            .tunnels
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count)
        {
            Ok(_) => Ok(TunnelSlot(Arc::clone(&self.tunnels))),
            Err(open) => {
                let detail = format!("{open} tunnels to {} are open", self.settings.name);
                Err(Failure::new(Reason::UpstreamTunnelLimit, detail))
            }
        }
    }

    /// The endpoints for a client, in the order in which they are tried: by `balance`, with those whose last connection
    /// failed a short time ago at the end, and without unhealthy ones.
    ///
    /// # Errors
    /// `upstream_none_healthy` if none is left.
    pub fn candidates(&self, client: IpAddr) -> Result<Vec<Arc<Member>>, Failure> {
        self.candidates_at(client, Instant::now())
    }

    fn candidates_at(&self, client: IpAddr, now: Instant) -> Result<Vec<Arc<Member>>, Failure> {
        let members = self.members.iter().filter(|member| self.is_healthy(member));
        let mut members: Vec<_> = members.cloned().collect();
        if members.is_empty() {
            let detail = format!(
                "the last health check of every endpoint of {} failed ({})",
                self.settings.name,
                self.members.len()
            );
            return Err(Failure::new(Reason::UpstreamNoneHealthy, detail));
        }
        members.sort_by_cached_key(|member| member.is_shunned(now));
        let shunned = members.partition_point(|member| !member.is_shunned(now));
        let (first, last) = members.split_at_mut(shunned);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for members in [first, last] {
            self.order(members, client, turn);
        }
        Ok(members)
    }

    fn order(&self, members: &mut [Arc<Member>], client: IpAddr, turn: usize) {
        let first = turn.checked_rem(members.len()).unwrap_or_default();
        members.rotate_left(first);
        match self.settings.balance {
            Balance::RoundRobin => {}
            // Among endpoints with equal numbers, the order of turns stays.
            Balance::LeastConnections => members.sort_by_cached_key(|member| member.open()),
            Balance::ClientIp => {
                let client = network(client);
                members.sort_by_cached_key(|member| weight(&client, &member.endpoint));
            }
        }
    }
}

impl Member {
    /// Counts a use of the endpoint until the guard is dropped.
    pub fn busy(self: &Arc<Self>) -> Busy {
        self.open.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// The number of open tunnels and requests.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a connection for a client's request, which succeeded or failed.
    pub(super) fn dialled(&self, worked: bool) {
        let counter = match worked {
            true => &self.connected,
            false => &self.not_connected,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How many connections succeeded, and how many failed.
    #[must_use]
    pub fn connects(&self) -> (u64, u64) {
        let [connected, not] =
            [&self.connected, &self.not_connected].map(|counter| counter.load(Ordering::Relaxed));
        (connected, not)
    }

    /// The connections that wait for another plain request.
    pub(super) fn idle(&self) -> &Arc<Idle> {
        &self.idle
    }

    /// Whether its last health checks succeeded.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.unhealthy_since().is_none()
    }

    /// Since when its health checks have failed, if they have.
    #[must_use]
    pub fn unhealthy_since(&self) -> Option<SystemTime> {
        self.state().unhealthy_since
    }

    /// Sets the result of health checks.
    pub(super) fn set_healthy(&self, is_healthy: bool) {
        let mut state = self.state();
        match is_healthy {
            true => state.unhealthy_since = None,
            false => {
                state.unhealthy_since.get_or_insert_with(SystemTime::now);
            }
        }
    }

    /// When the last connection failed, unless a later one succeeded.
    #[must_use]
    pub fn failed(&self) -> Option<Instant> {
        self.state().failed
    }

    /// Sets the result of a connection.
    pub(super) fn connected(&self, worked: bool) {
        self.state().failed = (!worked).then(Instant::now);
    }

    fn is_shunned(&self, now: Instant) -> bool {
        self.failed()
            .is_some_and(|failed| now.saturating_duration_since(failed) < SHUNNED)
    }

    fn state(&self) -> MutexGuard<'_, Condition> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for TunnelSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The part of an address that identifies a client: all of IPv4, but only the network (/64) of IPv6, because the rest
/// changes often (RFC 8981).
fn network(client: IpAddr) -> Vec<u8> {
    match client.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().into_iter().take(8).collect(),
    }
}

/// The rank of an endpoint for a client: each pair has its own number, which is the same in every process. So an
/// endpoint that comes or goes affects only its own clients (rendezvous hashing).
fn weight(client: &[u8], endpoint: &Endpoint) -> [u8; 20] {
    Sha1::new()
        .chain_update(client)
        .chain_update(endpoint.to_string())
        .finalize()
        .into()
}

#[cfg(test)]
mod tests;
