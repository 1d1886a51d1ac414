//! The tunnel stage: bytes both ways after a verified 101.
//!
//! Takes both streams and what came early on each; gives [`Closed`]: who ended first and how, and what passed. One
//! task and two fixed buffers per tunnel. TCP half-close is respected: one side's end is passed on, and the other
//! may still speak for `close_wait` after its last byte.

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

/// Carries bytes until both sides have ended, one breaks, a timer fires, or `cut` completes.
pub async fn run(mut ends: Ends, timers: Timers, cut: impl Future<Output = ()>) -> Closed {
    let now = Instant::now();
    let mut to_upstream = Flow::new(std::mem::take(&mut ends.client_early), now);
    let mut to_client = Flow::new(std::mem::take(&mut ends.upstream_early), now);
    let mut first = None;
    let mut cut = pin!(cut);
    let mut timer = pin!(tokio::time::sleep_until(next_deadline(
        &to_upstream,
        &to_client,
        timers
    )));
    let failure = poll_fn(|cx| {
        loop {
            let polled = poll_flows(cx, &mut ends, &mut to_upstream, &mut to_client, &mut first);
            if let Poll::Ready(failure) = polled {
                return Poll::Ready(failure);
            }
            if cut.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Reason::DrainForced.into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(failure) = expired(&to_upstream, &to_client, timers) {
                return Poll::Ready(failure);
            }
            // Bytes have passed since the timer was set: it is moved only when it fires, not with each of them.
            timer
                .as_mut()
                .reset(next_deadline(&to_upstream, &to_client, timers));
        }
    })
    .await;
    let last = to_upstream.last_activity().max(to_client.last_activity());
    Closed {
        failure,
        client_to_upstream: to_upstream.passed(),
        upstream_to_client: to_client.passed(),
        idle: last.elapsed(),
        write_stall_client: to_client.longest_stall(),
        write_stall_upstream: to_upstream.longest_stall(),
    }
}

/// Moves what can be moved. Ready with the end of the tunnel: the first side's end, once both have ended.
fn poll_flows(
    cx: &mut Context<'_>,
    ends: &mut Ends,
    to_upstream: &mut Flow,
    to_client: &mut Flow,
    first: &mut Option<Failure>,
) -> Poll<Failure> {
    match to_upstream.poll(cx, &mut ends.client, &mut ends.upstream) {
        Poll::Ready(Stop::Ended) => {
            first.get_or_insert_with(|| Reason::ClientEof.into());
        }
        Poll::Ready(Stop::Truncated) => {
            first.get_or_insert_with(|| Reason::TlsTruncated.into());
        }
        Poll::Ready(Stop::ReadFailed(error)) => {
            return Poll::Ready(broken(first.take(), client_broke(&error)));
        }
        Poll::Ready(Stop::WriteFailed(error)) => {
            return Poll::Ready(broken(first.take(), upstream_broke(&error)));
        }
        Poll::Pending => {}
    }
    match to_client.poll(cx, &mut ends.upstream, &mut ends.client) {
        Poll::Ready(Stop::Ended | Stop::Truncated) => {
            first.get_or_insert_with(|| Reason::UpstreamEof.into());
        }
        Poll::Ready(Stop::ReadFailed(error)) => {
            return Poll::Ready(broken(first.take(), upstream_broke(&error)));
        }
        Poll::Ready(Stop::WriteFailed(error)) => {
            return Poll::Ready(broken(first.take(), client_broke(&error)));
        }
        Poll::Pending => {}
    }
    if to_upstream.is_done() && to_client.is_done() {
        return Poll::Ready(
            first
                .take()
                .unwrap_or_else(|| Reason::InternalAborted.into()),
        );
    }
    Poll::Pending
}

/// What ended the tunnel when a side breaks: a side that had ended in order before is the cause, and the break its
/// echo.
fn broken(first: Option<Failure>, broke: Failure) -> Failure {
    match first {
        None => broke,
        Some(mut first) => {
            let then = broke.detail.unwrap_or_default();
            first.detail = Some(format!("then {}: {then}", broke.reason.code()));
            first
        }
    }
}

fn client_broke(error: &io::Error) -> Failure {
    match tls::record_error(error) {
        Some(words) => Failure::new(Reason::TlsRecordError, words),
        None => Failure::new(Reason::ClientReset, error.to_string()),
    }
}

fn upstream_broke(error: &io::Error) -> Failure {
    Failure::new(Reason::UpstreamReset, error.to_string())
}

/// The soonest moment at which a timer could fire if nothing moved.
fn next_deadline(to_upstream: &Flow, to_client: &Flow, timers: Timers) -> Instant {
    // Looked at again at least this often: a stall or an end may begin while the timer waits for something later.
    let mut wait = timers.write_stall.min(timers.close_wait);
    if let Some(idle) = timers.idle {
        wait = wait.min(idle);
    }
    let base = to_upstream.last_activity().max(to_client.last_activity());
    let half_closed = half_closed(to_upstream, to_client, base);
    let soonest = [
        timers
            .idle
            .filter(|_| half_closed.is_none())
            .map(|idle| base + idle),
        to_upstream
            .stalled_since()
            .map(|since| since + timers.write_stall),
        to_client
            .stalled_since()
            .map(|since| since + timers.write_stall),
        half_closed.map(|since| since + timers.close_wait),
    ];
    let later = Instant::now() + wait;
    soonest.into_iter().flatten().fold(later, Instant::min)
}

/// Since when one side has ended and nothing has come from the other; `last` is the last byte either way.
fn half_closed(to_upstream: &Flow, to_client: &Flow, last: Instant) -> Option<Instant> {
    let ended = to_upstream.ended().or_else(|| to_client.ended())?;
    // A tunnel may have been quiet for long before that end: the other side's time begins with it.
    Some(ended.max(last))
}

/// The timer that has fired, if any has.
fn expired(to_upstream: &Flow, to_client: &Flow, timers: Timers) -> Option<Failure> {
    let now = Instant::now();
    let since = |from: Instant| now.saturating_duration_since(from);
    let shown = humantime::format_duration;
    for (flow, reason) in [
        (to_client, Reason::ClientWriteStalled),
        (to_upstream, Reason::UpstreamWriteStalled),
    ] {
        if flow
            .stalled_since()
            .is_some_and(|from| since(from) >= timers.write_stall)
        {
            let detail = format!(
                "{} bytes waited {}",
                flow.waiting(),
                shown(timers.write_stall)
            );
            return Some(Failure::new(reason, detail));
        }
    }
    let last = to_upstream.last_activity().max(to_client.last_activity());
    if let Some(from) = half_closed(to_upstream, to_client, last) {
        // From here on it is the other side that is waited for, and the idle timeout has no say.
        let (ended, silent) = if to_upstream.is_done() {
            ("client", "upstream")
        } else {
            ("upstream", "client")
        };
        let wait = shown(timers.close_wait);
        let detail = format!(
            "the {ended} ended its stream first; the {silent} sent nothing for {wait} and did not end"
        );
        let is_over = since(from) >= timers.close_wait;
        return is_over.then(|| Failure::new(Reason::HalfCloseTimeout, detail));
    }
    let idle = timers.idle.filter(|idle| since(last) >= *idle)?;
    Some(Failure::new(
        Reason::IdleTimeout,
        format!("no byte either way for {}", shown(idle)),
    ))
}
