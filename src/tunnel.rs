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
mod moment;
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
use crate::metrics::{Passed, Route};
use crate::policy::Ping;
use crate::reason::{By, Failure, Reason};
use crate::stream::{ClientStream, UpstreamStream};
pub use ending::Closed;
use ending::{First, Side};
use frame::{Extensions, Sender};
use leg::{Leg, Outgoing, begin, pump, say_close};
use moment::Moment;

/// What the configuration says of the tunnels of one route.
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
    /// What stands in front of the proxy, if that was said.
    pub load_balancer: Option<Arc<LoadBalancer>>,
    /// Where what passes is counted.
    pub route: Arc<Route>,
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

/// What a shutdown asks of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown<'a> {
    /// Nothing.
    No,
    /// To be closed when its turn comes, as all tunnels within this time.
    Drain(Duration),
    /// To end now, because of this.
    Cut(&'a str),
}

/// Both sides, and what has happened to them.
///
/// [`Tunnel::poll`] carries it. Most tunnels do nothing most of the time and there are many of them, so that what only
/// some have at some time is in boxes.
#[derive(Debug)]
pub struct Tunnel {
    client: Leg,
    upstream: Leg,
    client_stream: ClientStream,
    upstream_stream: UpstreamStream,
    settings: Arc<Settings>,
    opened: Moment,
    /// Where in the spread of a shutdown its turn is, in fractions of 2^32.
    turn: u32,
    /// Whose Close frame came first.
    first_close: Option<By>,
    /// What ended it.
    first: Option<Box<First>>,
    /// When it is to be closed because of a shutdown.
    drain_at: Option<Moment>,
    /// When the Ping was sent that has not been answered.
    pinged: Option<Moment>,
    pings: u32,
    timer: Option<Pin<Box<Sleep>>>,
    /// Sees a client break off that is not read because the upstream takes nothing.
    unread: Option<ReusableBoxFuture<'static, io::Error>>,
}

impl Tunnel {
    /// A tunnel between both ends. `turn` places it in the spread of a shutdown: 0 at its beginning, `u32::MAX` at its
    /// end.
    #[must_use]
    pub fn new(ends: Ends, settings: Arc<Settings>, turn: u32) -> Self {
        let now = Moment::now();
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
        let (client, upstream) = (&mut tunnel.client, &mut tunnel.upstream);
        begin(client, ends.client_early, upstream, largest);
        begin(upstream, ends.upstream_early, client, largest);
        tunnel.count(Passed::default());
        tunnel
    }

    /// Carries frames; ready when both directions have ended, a timer has fired, or `shutdown` cuts.
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

    /// The streams again: what was written to a peer may still be on its way, and is lost if a socket with unread bytes
    /// is closed under it.
    #[must_use]
    pub fn into_streams(self) -> (ClientStream, UpstreamStream) {
        (self.client_stream, self.upstream_stream)
    }

    /// What has passed so far, as the record of its end will say it.
    fn passed(&self) -> Passed {
        Passed {
            bytes: [self.upstream.written, self.client.written],
            messages: [self.client.messages, self.upstream.messages],
        }
    }

    fn count(&self, before: Passed) {
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
        if deadline <= Moment::now() {
            return Poll::Ready(());
        }
        let deadline = deadline.instant();
        // Moved back only when it fires, not with each byte that makes it later.
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        let fired = timer.as_mut().poll(cx);
        if fired.is_ready() {
            self.timer = None;
        }
        fired
    }
}

/// An end that the proxy itself has decided on.
#[derive(Debug)]
struct Farewell {
    /// The codes that the client and the upstream are told.
    codes: (u16, u16),
    /// Whether the upstream gets the client's own answer; else it is told at once, as no answer is to be expected.
    through_client: bool,
    /// How long there is to say it: until the shutdown's own deadline when `None`.
    until: Option<Moment>,
}

/// The code for a side that has done nothing wrong: the other one leaves (RFC 6455 section 7.4.1, as all these).
const GOING_AWAY: u16 = 1001;

/// The code for a side that does not speak WebSocket, and for its client.
const PROTOCOL_ERROR: u16 = 1002;

/// The code for a message above the limit.
const TOO_BIG: u16 = 1009;

/// The code for a client whose upstream is gone: a gateway that got no answer to pass on.
const BAD_GATEWAY: u16 = 1014;

/// What follows from what has happened.
impl Tunnel {
    /// Moves what can be moved and does what follows from it; ready when nothing more can go to either side.
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
    /// passed on, so it is treated as a client that can't be written to. An upstream is not watched in this way: a client
    /// that is only slow must still get its last messages.
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

    /// Does what follows from what has happened; whether there is more to move now.
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
        if let Some(first) = &mut self.first {
            if first.then.is_none() {
                first.then = sides
                    .iter()
                    .find_map(|(side, leg)| ending::broke(*side, leg));
            }
            return;
        }
        let until = Moment::now() + self.settings.close_wait;
        let seen = |(side, leg): &(Side, &Leg)| First::seen(*side, leg, self.opened, until);
        if let Some(first) = sides.iter().find_map(seen) {
            self.end_with(first);
        }
    }

    fn end_with(&mut self, mut first: First) {
        first.idle = self.active().elapsed();
        self.first = Some(Box::new(first));
    }

    /// Ends the tunnel for a reason of the proxy's own.
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

    /// Wants a Close where the rules ask for one.
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
            // The client may have closed before: what it is told of is the upstream all the same.
            client.wants = Some((BAD_GATEWAY, ending::gone(upstream)));
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
