//! The tunnel stage: frames both ways after a verified 101 (RFC 6455), and the words that the proxy itself has to say
//! there.
//!
//! Takes both streams and what came early on each; gives [`Closed`]: who ended first and how, and what passed. One
//! task per tunnel, which holds no buffer and sets no timer while it has nothing to do.
//!
//! Bytes pass as they come. A [`frame::Reader`] per direction looks at the headers on the way, so that a Close frame
//! is known, and so that a frame of the proxy's own goes between two others. `leg.rs` moves and reads; here are the
//! rules for what follows from what was read, and the timers; `ending.rs` puts the end into words.

mod ending;
pub mod frame;
mod leg;
mod suspect;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::config::{LoadBalancer, OnAbort};
use crate::policy::Ping;
use crate::reason::{By, Failure, Reason};
use crate::stream::{ClientStream, UpstreamStream};
pub use ending::Closed;
use ending::{First, Side};
use frame::{Extensions, Sender};
use leg::{Leg, Outgoing, pump, say_close};

/// What the configuration says of a tunnel.
#[derive(Clone, Debug)]
pub struct Settings {
    /// No byte of the peers in either direction; `None`: no limit.
    pub idle: Option<Duration>,
    /// From the 101 on; `None`: no limit.
    pub max_lifetime: Option<Duration>,
    /// Bytes of a message's payload as it is on the wire; `None`: no limit.
    pub max_message: Option<u64>,
    /// Pings to the client; `None`: none.
    pub ping: Option<Ping>,
    /// What the client is told when the upstream ended without a Close.
    pub on_abort: OnAbort,
    /// Bytes waiting for a side that does not read.
    pub write_stall: Duration,
    /// For the answer to a Close, and for the silence of one side after the other ended.
    pub close_wait: Duration,
    /// The code of the Close at a shutdown.
    pub drain_code: u16,
    /// When, after a shutdown began, this tunnel's turn comes.
    pub drain_after: Duration,
    /// What stands in front of the proxy, if that was said.
    pub load_balancer: Option<Arc<LoadBalancer>>,
}

/// Both ends of a tunnel.
#[derive(Debug)]
pub struct Ends {
    /// The client's side.
    pub client: ClientStream,
    /// What the client sent before the 101, to go first.
    pub client_early: Vec<u8>,
    /// The upstream's side.
    pub upstream: UpstreamStream,
    /// What the upstream sent with the 101, to go first.
    pub upstream_early: Vec<u8>,
    /// What was agreed on.
    pub extensions: Extensions,
}

/// Carries frames until both directions have ended, a timer fires, or `cut` completes with its cause; when `drain` does, the tunnel's
/// turn to be closed comes soon. Gives the streams back: what was written to a peer may still be on its way, and is
/// lost if a socket with unread bytes is closed under it.
pub async fn run(
    ends: Ends,
    settings: Settings,
    drain: impl Future<Output = ()>,
    cut: impl Future<Output = String>,
) -> (Closed, ClientStream, UpstreamStream) {
    let Ends {
        mut client,
        client_early,
        mut upstream,
        upstream_early,
        extensions,
    } = ends;
    let now = Instant::now();
    let mut tunnel = Tunnel {
        client: Leg::new(Sender::Client, extensions, client_early, now),
        upstream: Leg::new(Sender::Server, extensions, upstream_early, now),
        opened: now,
        settings,
        first: None,
        idle_before: None,
        first_close: None,
        then: None,
        farewell: None,
        drain_at: None,
        pinged: None,
        pings: 0,
    };
    let (mut drain, mut cut) = (pin!(drain), pin!(cut));
    // In a box, as most tunnels have no timer most of the time.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let failure = poll_fn(|cx| {
        loop {
            if tunnel.poll(cx, &mut client, &mut upstream).is_ready() {
                return Poll::Ready(tunnel.verdict());
            }
            if tunnel.drain_at.is_none() && drain.as_mut().poll(cx).is_ready() {
                tunnel.drain_at = Some(Instant::now() + tunnel.settings.drain_after);
            }
            if tunnel.drain_at.is_some()
                && let Poll::Ready(cause) = cut.as_mut().poll(cx)
            {
                return Poll::Ready(tunnel.cut(&cause));
            }
            let Some(deadline) = tunnel.next_deadline() else {
                timer = None;
                return Poll::Pending;
            };
            // Moved back only when it fires, not with each byte that makes it later.
            match &mut timer {
                Some(timer) if timer.deadline() <= deadline => {}
                Some(timer) => timer.as_mut().reset(deadline),
                None => timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
            }
            if let Some(due) = &mut timer {
                if due.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                timer = None;
            }
            if let Some(failure) = tunnel.expired() {
                return Poll::Ready(failure);
            }
        }
    })
    .await;
    (tunnel.closed(failure), client, upstream)
}

/// An end that the proxy itself has decided on.
#[derive(Debug)]
struct Farewell {
    /// The codes that the client and the upstream are told.
    codes: (u16, u16),
    /// The reason's code, in both Close frames.
    words: &'static str,
    /// Whether the upstream gets the client's own answer; else it is told at once, as no answer is to be expected.
    through_client: bool,
    /// How long there is to say it: until the shutdown's own deadline when `None`.
    until: Option<Instant>,
}

/// The code for a side that has done nothing wrong: the other one leaves (RFC 6455 section 7.4.1, as all these).
const GOING_AWAY: u16 = 1001;

/// The code for a side that does not speak WebSocket, and for its client.
const PROTOCOL_ERROR: u16 = 1002;

/// The code for a message above the limit.
const TOO_BIG: u16 = 1009;

/// The code for a client whose upstream is gone: a gateway that got no answer to pass on.
const BAD_GATEWAY: u16 = 1014;

/// Both sides, and what has happened to them.
#[derive(Debug)]
struct Tunnel {
    client: Leg,
    upstream: Leg,
    opened: Instant,
    settings: Settings,
    /// What ended it.
    first: Option<First>,
    /// How long nothing of the peers had passed when that happened.
    idle_before: Option<Duration>,
    /// Whose Close frame came first.
    first_close: Option<By>,
    /// What broke after that.
    then: Option<String>,
    farewell: Option<Farewell>,
    /// When this tunnel is to be closed because of a shutdown.
    drain_at: Option<Instant>,
    /// When the Ping was sent that has not been answered.
    pinged: Option<Instant>,
    pings: u64,
}

impl Tunnel {
    /// Moves what can be moved and does what follows from it; ready when nothing more can go to either side.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut ClientStream,
        upstream: &mut UpstreamStream,
    ) -> Poll<()> {
        loop {
            let largest = self.settings.max_message;
            let (left, right) = (&mut self.client, &mut self.upstream);
            pump(cx, (left, &mut *client), (right, &mut *upstream), largest);
            self.notice();
            let (left, right) = (&mut self.upstream, &mut self.client);
            pump(cx, (left, &mut *upstream), (right, &mut *client), largest);
            self.notice();
            if self.client.ended().is_some() && self.upstream.ended().is_some() {
                return Poll::Ready(());
            }
            if !self.settle() {
                return Poll::Pending;
            }
        }
    }

    /// Does what follows from what has happened; whether there is more to move now.
    fn settle(&mut self) -> bool {
        self.choose_words();
        let is_farewell = self.farewell.is_some();
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let mut has_moved = say_close(upstream, client) | say_close(client, upstream);
        for is_client in [true, false] {
            let (leg, other) = if is_client {
                (&mut *client, &*upstream)
            } else {
                (&mut *upstream, &*client)
            };
            leg.drop_words(other);
            if leg.is_open() && leg.is_finished(other, is_farewell) {
                leg.outgoing = Outgoing::Ending;
                has_moved = true;
            }
        }
        has_moved
    }
}

impl Tunnel {
    /// Remembers what ends the tunnel, and decides what to say of it.
    fn notice(&mut self) {
        let sides = [
            (Side::Client, &self.client),
            (Side::Upstream, &self.upstream),
        ];
        if self.first_close.is_none() {
            let close = sides.iter().find(|(_, leg)| leg.close.is_some());
            let is_own =
                |(_, leg): &(Side, &Leg)| leg.told.as_ref().is_some_and(|told| told.is_ours);
            self.first_close = if sides.iter().any(is_own) {
                Some(By::Proxy)
            } else {
                close.map(|(side, _)| side.by())
            };
        }
        if self.first.is_some() {
            let broke = || {
                sides
                    .iter()
                    .find_map(|(side, leg)| ending::broke(*side, leg))
            };
            self.then = self.then.take().or_else(broke);
            return;
        }
        let seen = |(side, leg): &(Side, &Leg)| First::seen(*side, leg, self.opened);
        if let Some(first) = sides.iter().find_map(seen) {
            self.farewell = first.farewell(Instant::now() + self.settings.close_wait);
            self.end_with(first);
        }
    }

    fn end_with(&mut self, first: First) {
        self.idle_before = Some(self.active().elapsed());
        self.first = Some(first);
    }

    /// Ends the tunnel for a reason of the proxy's own.
    fn leave(&mut self, failure: Failure, codes: (u16, u16), until: Option<Instant>) {
        let through_client = failure.reason != Reason::PongTimeout;
        self.farewell = Some(Farewell {
            codes,
            words: failure.reason.code(),
            through_client,
            until,
        });
        self.end_with(First::own(failure));
    }

    /// Wants a Close where the rules ask for one.
    fn choose_words(&mut self) {
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        if let Some(farewell) = &self.farewell {
            let (to_client, to_upstream) = farewell.codes;
            if client.can_be_told(upstream) {
                client.wants = Some((to_client, farewell.words));
            }
            let is_turn = !farewell.through_client || client.over.is_some();
            if is_turn && upstream.can_be_told(client) {
                upstream.wants = Some((to_upstream, farewell.words));
            }
        } else if let Some(first) = &self.first
            && self.settings.on_abort == OnAbort::CloseFrame
            && upstream.over.is_some()
            && upstream.close.is_none()
            && client.can_be_told(upstream)
        {
            client.wants = Some((BAD_GATEWAY, first.failure.reason.code()));
        }
    }
}

/// The timers.
impl Tunnel {
    /// The soonest moment at which a timer fires if nothing moves; `None`: none ever does.
    fn next_deadline(&self) -> Option<Instant> {
        let Settings {
            write_stall,
            close_wait,
            ..
        } = self.settings;
        let legs = [&self.client, &self.upstream];
        let stalls = legs.map(|leg| leg.stalled_since().map(|since| since + write_stall));
        let answers = legs.map(|leg| leg.owes_close_since().map(|since| since + close_wait));
        let own = if self.first.is_none() {
            [
                self.drain_at,
                self.lifetime(),
                self.idle(),
                self.pong().or_else(|| self.next_ping()),
            ]
        } else {
            [
                self.unsaid(),
                self.half_closed().map(|since| since + close_wait),
                None,
                None,
            ]
        };
        let all = stalls.into_iter().chain(answers).chain(own);
        all.flatten().min()
    }

    fn active(&self) -> Instant {
        self.client.active.max(self.upstream.active)
    }

    fn idle(&self) -> Option<Instant> {
        self.settings.idle.map(|idle| self.active() + idle)
    }

    fn lifetime(&self) -> Option<Instant> {
        self.settings.max_lifetime.map(|most| self.opened + most)
    }

    /// When the answer to a Ping is overdue. Whatever comes from the client shows that it is there.
    fn pong(&self) -> Option<Instant> {
        let ping = self.settings.ping?;
        self.client.tag?;
        Some(self.pinged?.max(self.client.heard) + ping.timeout)
    }

    /// When the next Ping is due: data both ways keeps the hops awake by itself.
    fn next_ping(&self) -> Option<Instant> {
        let ping = self.settings.ping?;
        let quiet = self.client.spoken.max(self.client.heard);
        Some(quiet.max(self.pinged.unwrap_or(quiet)) + ping.interval)
    }

    /// How long a Close that is decided may wait to be said.
    fn unsaid(&self) -> Option<Instant> {
        let farewell = self.farewell.as_ref()?;
        let waits = [&self.client, &self.upstream].iter().any(|leg| {
            let undelivered = leg
                .told
                .as_ref()
                .is_some_and(|told| told.delivered.is_none());
            leg.wants.is_some() || (undelivered && leg.is_open())
        });
        farewell.until.filter(|_| waits)
    }

    /// Since when one direction has ended and nothing has come in the other, where no Close is waited for.
    fn half_closed(&self) -> Option<Instant> {
        let legs = [&self.client, &self.upstream];
        if legs.iter().any(|leg| leg.owes_close()) {
            return None;
        }
        let ended = legs.iter().filter_map(|leg| leg.ended()).min()?;
        // A tunnel may have been quiet for long before that end: the other side's time begins with it.
        Some(ended.max(self.active()))
    }

    /// Does what the timers ask for; gives the failure if that ends the tunnel at once.
    fn expired(&mut self) -> Option<Failure> {
        let now = Instant::now();
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let Settings {
            write_stall,
            close_wait,
            ..
        } = self.settings;
        for (leg, reason) in [
            (&self.client, Reason::ClientWriteStalled),
            (&self.upstream, Reason::UpstreamWriteStalled),
        ] {
            if is_over(leg.stalled_since().map(|since| since + write_stall)) {
                let stalled = ending::stalled(reason, leg.waiting(), write_stall);
                return Some(match &self.first {
                    None => stalled,
                    Some(_) => self.cut(&stalled.detail.unwrap_or_default()),
                });
            }
        }
        for (side, leg) in [
            (Side::Client, &mut self.client),
            (Side::Upstream, &mut self.upstream),
        ] {
            if !is_over(leg.owes_close_since().map(|since| since + close_wait)) {
                continue;
            }
            // Its answer is what the other side waits for, unless the proxy itself asked.
            let is_ours = leg.told.as_ref().is_some_and(|told| told.is_ours);
            if !is_ours && self.farewell.is_none() {
                return Some(ending::never_answered(side, close_wait));
            }
            leg.give_up();
        }
        if self.first.is_some() {
            let is_late = is_over(self.unsaid())
                || is_over(self.half_closed().map(|since| since + close_wait));
            return is_late.then(|| self.verdict_of_silence());
        }
        let shown = humantime::format_duration;
        if is_over(self.drain_at) {
            let code = self.settings.drain_code;
            self.leave(Reason::DrainGraceful.into(), (code, GOING_AWAY), None);
            return None;
        }
        let until = Some(now + close_wait);
        let codes = (GOING_AWAY, GOING_AWAY);
        if let (Some(most), true) = (self.settings.max_lifetime, is_over(self.lifetime())) {
            let detail = format!("open for {}", shown(most));
            self.leave(Failure::new(Reason::MaxLifetime, detail), codes, until);
        } else if let (Some(idle), true) = (self.settings.idle, is_over(self.idle())) {
            let detail = format!("no frame either way for {}", shown(idle));
            self.leave(Failure::new(Reason::IdleTimeout, detail), codes, until);
        } else if let (Some(ping), true) = (self.settings.ping, is_over(self.pong())) {
            let detail = format!(
                "no byte from the client for {} after a Ping",
                shown(ping.timeout)
            );
            self.leave(Failure::new(Reason::PongTimeout, detail), codes, until);
        } else if self.client.tag.is_none() && is_over(self.next_ping()) {
            self.pinged = Some(now);
            if self.upstream.is_whole() && self.client.is_open() && self.client.waiting() == 0 {
                self.client.ping(random());
                self.pings += 1;
            }
        }
        None
    }

    /// The end of a tunnel in which one side has ended and the other does nothing.
    fn verdict_of_silence(&self) -> Failure {
        let has_ended = |leg: &Leg| leg.over.is_some();
        match &self.first {
            Some(first) if first.is_end_in_order() && self.then.is_none() => {
                ending::never_followed(has_ended(&self.client), self.settings.close_wait)
            }
            _ => self.verdict(),
        }
    }

    /// The end when the shutdown's patience is over because of `cause`.
    fn cut(&self, cause: &str) -> Failure {
        let is_told = self
            .client
            .told
            .as_ref()
            .is_some_and(|told| told.delivered.is_some());
        match &self.first {
            Some(first) if is_told || first.failure.reason != Reason::DrainGraceful => {
                self.verdict()
            }
            _ => ending::forced(cause, &self.client, &self.upstream),
        }
    }
}

/// Bytes that a peer can't foresee.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // It fails only on systems without a source of randomness; a mask of zeros is still a mask.
    let _ = getrandom::fill(&mut bytes);
    bytes
}
