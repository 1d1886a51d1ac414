//! The tunnel stage: bytes both ways after a verified 101.
//!
//! Takes both streams and what came early on each; gives [`Closed`]: who ended first and how, and what passed. One
//! task and two fixed buffers per tunnel.
//!
//! TCP half-close is respected: one side's end is passed on, and the other may still speak, with pauses of at most
//! `close_wait`. A side that breaks ends the direction toward it; what it had sent before still goes on.

mod flow;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::reason::{Failure, Reason};
use crate::stream::{ClientStream, UpstreamStream};
use crate::tls;
use flow::{Flow, Stop};

/// The timers of a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// No byte in either direction; `None`: no limit.
    pub idle: Option<Duration>,
    /// Bytes waiting for a side that does not read.
    pub write_stall: Duration,
    /// Silence of one side after the other ended.
    pub close_wait: Duration,
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
}

/// How a tunnel ended.
#[derive(Debug)]
pub struct Closed {
    /// Why, with the facts.
    pub failure: Failure,
    /// Bytes passed on.
    pub client_to_upstream: u64,
    /// Bytes passed on.
    pub upstream_to_client: u64,
    /// Since the last byte in either direction.
    pub idle: Duration,
    /// The longest time that bytes waited for the client.
    pub write_stall_client: Duration,
    /// The longest time that bytes waited for the upstream.
    pub write_stall_upstream: Duration,
}

/// Carries bytes until both directions have ended, a timer fires, or `cut` completes. Gives the streams back: what was
/// written to a peer may still be on its way, and is lost if a socket with unread bytes is closed under it.
pub async fn run(
    mut ends: Ends,
    timers: Timers,
    cut: impl Future<Output = ()>,
) -> (Closed, ClientStream, UpstreamStream) {
    let now = Instant::now();
    let mut tunnel = Tunnel {
        to_upstream: Flow::new(std::mem::take(&mut ends.client_early), now),
        to_client: Flow::new(std::mem::take(&mut ends.upstream_early), now),
        first: None,
    };
    let mut cut = pin!(cut);
    let mut timer = pin!(tokio::time::sleep_until(tunnel.next_deadline(timers)));
    let failure = poll_fn(|cx| {
        loop {
            if let Poll::Ready(failure) = tunnel.poll(cx, &mut ends) {
                return Poll::Ready(failure);
            }
            if cut.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Reason::DrainForced.into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(failure) = tunnel.expired(timers) {
                return Poll::Ready(failure);
            }
            // Bytes have passed since the timer was set: it is moved only when it fires, not with each of them.
            timer.as_mut().reset(tunnel.next_deadline(timers));
        }
    })
    .await;
    let closed = Closed {
        failure,
        client_to_upstream: tunnel.to_upstream.passed(),
        upstream_to_client: tunnel.to_client.passed(),
        idle: tunnel.last_activity().elapsed(),
        write_stall_client: tunnel.to_client.longest_stall(),
        write_stall_upstream: tunnel.to_upstream.longest_stall(),
    };
    (closed, ends.client, ends.upstream)
}

/// Both directions, and what ended the first of them.
struct Tunnel {
    to_upstream: Flow,
    to_client: Flow,
    first: Option<First>,
}

/// What happened first.
struct First {
    failure: Failure,
    /// Whether a side broke, so that the other direction is only carried to its end.
    broke: bool,
}

impl Tunnel {
    /// Moves what can be moved. Ready with what ended first, once both directions have ended.
    ///
    /// A side that breaks ends the direction toward it; what it had sent before still goes to the other side.
    fn poll(&mut self, cx: &mut Context<'_>, ends: &mut Ends) -> Poll<Failure> {
        match self
            .to_upstream
            .poll(cx, &mut ends.client, &mut ends.upstream)
        {
            Poll::Ready(Stop::Ended) => self.ended(Reason::ClientEof),
            Poll::Ready(Stop::Truncated) => self.ended(Reason::TlsTruncated),
            Poll::Ready(Stop::ReadFailed(error)) => {
                self.broke(client_broke(&error));
                self.to_client.abandon();
            }
            Poll::Ready(Stop::WriteFailed(error)) => self.broke(upstream_broke(&error)),
            Poll::Pending => {}
        }
        match self
            .to_client
            .poll(cx, &mut ends.upstream, &mut ends.client)
        {
            Poll::Ready(Stop::Ended | Stop::Truncated) => self.ended(Reason::UpstreamEof),
            Poll::Ready(Stop::ReadFailed(error)) => {
                self.broke(upstream_broke(&error));
                self.to_upstream.abandon();
            }
            Poll::Ready(Stop::WriteFailed(error)) => self.broke(client_broke(&error)),
            Poll::Pending => {}
        }
        if !(self.to_upstream.is_done() && self.to_client.is_done()) {
            return Poll::Pending;
        }
        let first = self.first.take().map(|first| first.failure);
        Poll::Ready(first.unwrap_or_else(|| Reason::InternalAborted.into()))
    }

    fn ended(&mut self, reason: Reason) {
        self.first.get_or_insert_with(|| First {
            failure: reason.into(),
            broke: false,
        });
    }

    /// A side that had ended before is the cause, and the break its echo.
    fn broke(&mut self, broke: Failure) {
        match &mut self.first {
            None => {
                self.first = Some(First {
                    failure: broke,
                    broke: true,
                });
            }
            Some(first) => {
                if !first.broke {
                    let words = broke.detail.unwrap_or_default();
                    let then = format!("then {}: {words}", broke.reason.code());
                    first.failure.detail = Some(then);
                }
                first.broke = true;
            }
        }
    }

    fn last_activity(&self) -> Instant {
        self.to_upstream
            .last_activity()
            .max(self.to_client.last_activity())
    }

    /// The soonest moment at which a timer could fire if nothing moved.
    fn next_deadline(&self, timers: Timers) -> Instant {
        // Looked at again at least this often: a stall or an end may begin while the timer waits for something later.
        let mut wait = timers.write_stall.min(timers.close_wait);
        if let Some(idle) = timers.idle {
            wait = wait.min(idle);
        }
        let half_closed = self.half_closed();
        let idle = timers.idle.filter(|_| half_closed.is_none());
        let stalls = [&self.to_upstream, &self.to_client].map(Flow::stalled_since);
        let soonest = [
            idle.map(|idle| self.last_activity() + idle),
            stalls
                .into_iter()
                .flatten()
                .min()
                .map(|since| since + timers.write_stall),
            half_closed.map(|since| since + timers.close_wait),
        ];
        let later = Instant::now() + wait;
        soonest.into_iter().flatten().fold(later, Instant::min)
    }

    /// Since when one direction has ended and nothing has come in the other.
    fn half_closed(&self) -> Option<Instant> {
        let ended = self
            .to_upstream
            .ended()
            .or_else(|| self.to_client.ended())?;
        // A tunnel may have been quiet for long before that end: the other side's time begins with it.
        Some(ended.max(self.last_activity()))
    }

    /// What ends the tunnel because of a timer that has fired, if any has.
    fn expired(&mut self, timers: Timers) -> Option<Failure> {
        let now = Instant::now();
        let since = |from: Instant| now.saturating_duration_since(from);
        let shown = humantime::format_duration;
        for (flow, reason) in [
            (&self.to_client, Reason::ClientWriteStalled),
            (&self.to_upstream, Reason::UpstreamWriteStalled),
        ] {
            let is_over = |from| since(from) >= timers.write_stall;
            if flow.stalled_since().is_some_and(is_over) {
                let (waiting, stall) = (flow.waiting(), shown(timers.write_stall));
                let detail = format!("{waiting} bytes waited {stall}");
                return Some(Failure::new(reason, detail));
            }
        }
        if let Some(from) = self.half_closed() {
            // From here on it is the other side that is waited for, and the idle timeout has no say.
            return (since(from) >= timers.close_wait).then(|| self.never_followed(timers));
        }
        let idle = timers
            .idle
            .filter(|idle| since(self.last_activity()) >= *idle)?;
        let detail = format!("no byte either way for {}", shown(idle));
        Some(Failure::new(Reason::IdleTimeout, detail))
    }

    /// One direction has ended, and the other was silent for too long.
    fn never_followed(&mut self, timers: Timers) -> Failure {
        if let Some(first) = self.first.take_if(|first| first.broke) {
            return first.failure;
        }
        let (ended, silent) = if self.to_upstream.is_done() {
            ("client", "upstream")
        } else {
            ("upstream", "client")
        };
        let wait = humantime::format_duration(timers.close_wait);
        let detail = format!(
            "the {ended} ended its stream first; the {silent} sent nothing for {wait} and did not end"
        );
        Failure::new(Reason::HalfCloseTimeout, detail)
    }
}

fn client_broke(error: &io::Error) -> Failure {
    match tls::broken(error) {
        Some(Failure {
            reason: Reason::TlsProtocolError,
            detail,
            ..
        }) => Failure {
            detail,
            ..Reason::TlsRecordError.into()
        },
        // An alert is the client's own way of giving up.
        Some(Failure { detail, .. }) => Failure {
            detail,
            ..Reason::ClientReset.into()
        },
        None => Failure::new(Reason::ClientReset, tls::ended_words(error)),
    }
}

fn upstream_broke(error: &io::Error) -> Failure {
    Failure::new(Reason::UpstreamReset, error.to_string())
}
