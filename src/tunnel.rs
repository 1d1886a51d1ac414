//! The tunnel stage: passes frames in both directions after a verified 101 (RFC 6455), and sends the proxy's own Close
//! frames and Pings.
//!
//! Takes both streams and the bytes that arrived on them early. Gives [`Closed`]: who ended first and how, and what
//! passed. There is one task per tunnel. While it is idle, it holds no buffer.
//!
//! Bytes pass unchanged. One [`frame::Reader`] per direction reads the headers on the way, so the proxy recognises a
//! Close frame and puts its own frames only between two others. `leg.rs` moves and reads bytes, this file has the
//! rules for received frames, `timers.rs` has the timers, and `ending.rs` describes the end.

mod ending;
pub mod frame;
mod leg;
mod side;
mod suspect;
mod timers;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;
use tokio_util::sync::ReusableBoxFuture;

use crate::config::{LoadBalancer, OnAbort};
use crate::metrics::{Route, Traffic};
use crate::moment::Moment;
use crate::policy::Ping;
use crate::reason::{By, Failure, Reason};
use crate::record::Suspect;
use crate::stream::{ClientStream, Parting, UpstreamStream};
use crate::tls;
pub(crate) use ending::Closed;
use ending::First;
use frame::{Extensions, Sender};
use leg::{Leg, Outgoing, begin, pump, say_close};
use side::Side;

/// The hop whose timer possibly ended a tunnel after this much silence.
#[must_use]
pub fn suspected(silence: Duration) -> Option<Suspect> {
    suspect::suspect(Side::Client, silence, silence, None).map(|guess| guess.suspect)
}

/// The settings of the tunnels of one route.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How long no bytes of either peer may pass; `None`: no limit.
    pub idle: Option<Duration>,
    /// How long a tunnel may stay open after the 101; `None`: no limit.
    pub max_lifetime: Option<Duration>,
    /// The largest payload of a message, in bytes on the wire; `None`: no limit.
    pub max_message: Option<u64>,
    /// Pings to the client; `None`: the proxy sends no Pings.
    pub ping: Option<Ping>,
    /// What the client is told when the upstream ends without a Close.
    pub on_abort: OnAbort,
    /// How long bytes may wait for a side that does not read.
    pub write_stall: Duration,
    /// How long to wait for the answer to a Close, and for more from one side after the other has ended.
    pub close_wait: Duration,
    /// The close code at a shutdown.
    pub drain_code: u16,
    /// The load balancer in front of the proxy, if one is configured.
    pub load_balancer: Option<Arc<LoadBalancer>>,
    /// Counts what passes.
    pub route: Arc<Route>,
}

/// Both ends of a tunnel.
#[derive(Debug)]
pub(crate) struct Ends {
    /// The client's side.
    pub client: ClientStream,
    /// What the client sent before the 101; it is passed on first.
    pub client_early: Vec<u8>,
    /// The upstream's side.
    pub upstream: UpstreamStream,
    /// What the upstream sent together with the 101; it is passed on first.
    pub upstream_early: Vec<u8>,
    /// The extensions that were agreed on.
    pub extensions: Extensions,
}

/// What a shutdown asks of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shutdown<'a> {
    /// Nothing.
    No,
    /// Close when its turn comes; the turns of all tunnels are spread over this time.
    Drain(Duration),
    /// End now, for this reason.
    Cut(&'a str),
}

/// Both sides, and what has happened to them; [`Tunnel::poll`] drives it.
///
/// There are many tunnels and most are idle, so fields that few tunnels need at a time are boxed.
#[derive(Debug)]
pub(crate) struct Tunnel {
    client: Leg,
    upstream: Leg,
    client_stream: ClientStream,
    upstream_stream: UpstreamStream,
    settings: Arc<Settings>,
    opened: Moment,
    /// Its place in the spread of a shutdown, in fractions of 2^32.
    turn: u32,
    /// Whose Close frame came first.
    first_close: Option<By>,
    /// What ended the tunnel.
    first: Option<Box<First>>,
    /// When to close it because of a shutdown.
    drain_at: Option<Moment>,
    /// When the last Ping was due, answered or not.
    pinged: Option<Moment>,
    pings: u32,
    timer: Option<Pin<Box<Sleep>>>,
    /// Notices a reset by a client that is not being read because the upstream accepts nothing.
    unread: Option<ReusableBoxFuture<'static, io::Error>>,
}

impl Tunnel {
    /// A tunnel between both ends. `turn` is its place in the spread of a shutdown: 0 is first, `u32::MAX` is last.
    #[must_use]
    pub fn new(mut ends: Ends, settings: Arc<Settings>, turn: u32) -> Self {
        let now = Moment::now();
        ends.client.widen(tls::TUNNEL_SEND_BUFFER);
        ends.upstream.widen(tls::TUNNEL_SEND_BUFFER);
        let mut tunnel = Self {
            client: Leg::new(Sender::Client, ends.extensions, now),
            upstream: Leg::new(Sender::Server, ends.extensions, now),
            client_stream: ends.client,
            upstream_stream: ends.upstream,
            settings,
            opened: now,
            turn,
            first_close: None,
            first: None,
            drain_at: None,
            pinged: None,
            pings: 0,
            timer: None,
            unread: None,
        };
        let largest = tunnel.settings.max_message;
        let passes_resets = tunnel.client_stream.is_http2();
        let (client, upstream) = (&mut tunnel.client, &mut tunnel.upstream);
        client.passes_resets = passes_resets;
        upstream.passes_resets = passes_resets;
        begin(client, ends.client_early, upstream, largest);
        begin(upstream, ends.upstream_early, client, largest);
        tunnel.count(Traffic::default());
        tunnel
    }

    /// Passes frames on. Ready when both directions have ended, a timer ends the tunnel, or `shutdown` cuts it.
    pub fn poll(&mut self, cx: &mut Context<'_>, shutdown: Shutdown<'_>) -> Poll<Closed> {
        loop {
            let before = self.passed();
            let carried = self.carry(cx);
            self.count(before);
            if carried.is_ready() {
                return Poll::Ready(self.closed(self.verdict()));
            }
            match shutdown {
                Shutdown::No => {}
                Shutdown::Drain(spread) => self.set_turn(spread),
                Shutdown::Cut(cause) => return Poll::Ready(self.closed(self.cut(cause))),
            }
            if self.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(failure) = self.expired() {
                return Poll::Ready(self.closed(failure));
            }
        }
    }

    /// Begins to close the tunnel because an operator asked for it; `who` is for the record. Returns its end if nobody can
    /// be told. If its end has begun, it has a deadline already.
    pub fn ask_to_close(&mut self, who: &str) -> Option<Closed> {
        let failure = Failure::new(Reason::ClosedByOperator, who.to_owned());
        let failure = self.leave_early(failure)?;
        Some(self.closed(failure))
    }

    /// Gives the streams back, except one whose peer has ended, too. The caller must linger on them: closing a socket
    /// with unread bytes loses what is still on its way to the peer.
    #[must_use]
    pub fn into_streams(
        self,
    ) -> (
        Option<Parting<ClientStream>>,
        Option<Parting<UpstreamStream>>,
    ) {
        (
            self.client.parting(self.client_stream),
            self.upstream.parting(self.upstream_stream),
        )
    }

    /// What has passed so far, as the closing record reports it.
    #[must_use]
    pub fn passed(&self) -> Traffic {
        Traffic {
            bytes: [self.upstream.written, self.client.written],
            messages: [self.client.messages, self.upstream.messages],
        }
    }

    fn count(&self, before: Traffic) {
        self.settings.route.passed(before, self.passed());
    }

    fn set_turn(&mut self, spread: Duration) {
        let share = f64::from(self.turn) / f64::from(u32::MAX);
        let after = spread.mul_f64(share);
        self.drain_at.get_or_insert_with(|| Moment::now() + after);
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.next_deadline() else {
            self.timer = None;
            return Poll::Pending;
        };
        let at = deadline.instant();
        // A deadline that moves back is set only when the timer fires, not with each byte.
        let timer = match &mut self.timer {
            Some(timer) if timer.deadline() <= at => timer,
            _ if deadline <= Moment::now() => return Poll::Ready(()),
            Some(timer) => {
                timer.as_mut().reset(at);
                timer
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(at))),
        };
        let fired = timer.as_mut().poll(cx);
        if fired.is_ready() {
            self.timer = None;
        }
        fired
    }
}

/// An end that the proxy decided on, and which Close frames it sends.
#[derive(Debug)]
struct Farewell {
    /// The close codes for the client and the upstream.
    codes: (u16, u16),
    /// Whether the upstream gets the client's own answer. If not, no answer is expected and the upstream is told at
    /// once.
    through_client: bool,
    /// When to stop trying to send the Close; `None`: at the deadline of the shutdown.
    until: Option<Moment>,
}

/// For a side that did nothing wrong, when the other side leaves (RFC 6455 section 7.4.1 defines most of these codes).
const GOING_AWAY: u16 = 1001;

/// For a side that does not speak WebSocket, and for the client of such an upstream.
const PROTOCOL_ERROR: u16 = 1002;

/// For a message above the limit.
const TOO_BIG: u16 = 1009;

/// For a client whose upstream is gone.
const BAD_GATEWAY: u16 = 1014;

/// The rules for what follows from an event.
impl Tunnel {
    /// Moves what can be moved and applies the rules. Ready when nothing more can go to either side.
    fn carry(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let largest = self.settings.max_message;
        loop {
            let (from, to) = (&mut self.client, &mut self.upstream);
            let (reader, writer) = (&mut self.client_stream, &mut self.upstream_stream);
            pump(cx, (from, reader), (to, writer), largest);
            self.poll_unread(cx);
            self.notice();
            let (from, to) = (&mut self.upstream, &mut self.client);
            let (reader, writer) = (&mut self.upstream_stream, &mut self.client_stream);
            pump(cx, (from, reader), (to, writer), largest);
            self.notice();
            if self.client.ended().is_some() && self.upstream.ended().is_some() {
                return Poll::Ready(());
            }
            if !self.settle() {
                return Poll::Pending;
            }
        }
    }

    /// Checks whether a client has reset the connection while its bytes wait for the upstream. These bytes may still be
    /// passed on, so the client counts as one that can't be written to. An upstream is not watched in this way: a
    /// client that is only slow must still get its last messages.
    fn poll_unread(&mut self, cx: &mut Context<'_>) {
        if self.upstream.stalled_since().is_none() || self.client.ended().is_some() {
            self.unread = None;
            return;
        }
        let unread = self.unread.get_or_insert_with(|| {
            let watch = self.client_stream.watch();
            ReusableBoxFuture::new(async move { watch.broken().await })
        });
        if let Poll::Ready(error) = unread.poll(cx) {
            self.unread = None;
            self.client.break_off(Some(error));
        }
    }

    /// Applies the rules; returns whether there is now more to move.
    fn settle(&mut self) -> bool {
        self.choose_words();
        let is_farewell = self.farewell().is_some();
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

    /// Remembers what ended the tunnel, and decides what to tell the peers.
    fn notice(&mut self) {
        if self.first.is_none() && self.client.is_undisturbed() && self.upstream.is_undisturbed() {
            return;
        }
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
        if let Some(first) = &mut self.first {
            if first.then.is_none() {
                first.then = sides
                    .iter()
                    .find_map(|(side, leg)| ending::broke(*side, leg));
            }
            return;
        }
        let (opened, close_wait) = (self.opened, self.settings.close_wait);
        let seen = |(side, leg): &(Side, &Leg)| First::seen(*side, leg, opened, close_wait);
        if let Some(first) = sides.iter().find_map(seen) {
            self.end_with(first);
        }
    }

    fn end_with(&mut self, mut first: First) {
        first.idle = self.active().elapsed();
        self.first = Some(Box::new(first));
    }

    /// Ends the tunnel because the proxy decided to.
    fn leave(&mut self, failure: Failure, codes: (u16, u16), until: Option<Moment>) {
        let through_client = failure.reason != Reason::PongTimeout;
        let farewell = Farewell {
            codes,
            through_client,
            until,
        };
        self.end_with(First::own(failure, farewell));
    }

    fn farewell(&self) -> Option<&Farewell> {
        self.first.as_ref()?.farewell.as_ref()
    }

    /// Decides which side gets a Close from the proxy.
    fn choose_words(&mut self) {
        let Some(first) = &self.first else {
            return;
        };
        let reason = first.failure.reason;
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        if let Some(farewell) = &first.farewell {
            let (to_client, to_upstream) = farewell.codes;
            if client.can_be_told(upstream) {
                client.wants = Some((to_client, reason));
            }
            let is_turn = !farewell.through_client || client.over.is_some();
            if is_turn && upstream.can_be_told(client) {
                upstream.wants = Some((to_upstream, reason));
            }
        } else if self.settings.on_abort == OnAbort::CloseFrame
            && upstream.over.is_some()
            && upstream.close.is_none()
            && client.over.is_none()
            && client.can_be_told(upstream)
        {
            // Even if the client has sent a Close already, it still has to learn that the upstream is gone.
            client.wants = Some((BAD_GATEWAY, ending::gone(upstream)));
        }
    }
}

/// Bytes that a peer can't predict.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // This fails only on systems without a source of randomness; a mask of zeros is still a valid mask.
    let _ = getrandom::fill(&mut bytes);
    bytes
}
