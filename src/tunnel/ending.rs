//! Describes the end of a tunnel: the reason, whose Close came first, and what the client's library reports.

mod hint;

use std::time::{Duration, SystemTime};

use humantime::format_duration;

use super::frame::{ABNORMAL, Close, NO_CODE};
use super::leg::{Leg, Over, Received};
use super::side::Side;
use super::suspect::{Guess, suspect};
use super::{Farewell, GOING_AWAY, PROTOCOL_ERROR, TOO_BIG, Tunnel};
use crate::config::LoadBalancer;
use crate::http2;
use crate::moment::Moment;
use crate::reason::codes::is_complaint;
use crate::reason::{By, Failure, Note, NoteCode, Reason};
use crate::record::Suspect;
use crate::secrets::frame_bytes;
use crate::tls;

/// A server that sends an empty Close this soon, and nothing before it, does not serve WebSocket at this path.
const IMMEDIATE: Duration = Duration::from_millis(250);

/// What ended a tunnel first.
#[derive(Debug)]
pub(super) struct First {
    pub failure: Failure,
    kind: EndKind,
    /// How long that side had neither sent nor received anything.
    quiet: Duration,
    /// How long the tunnel had been open.
    lasted: Duration,
    /// How long no bytes of the peers had passed in either direction.
    pub idle: Duration,
    /// When it happened.
    pub at: Moment,
    /// The same by the system's clock. It is read here, because a record that is written late would put it later.
    ended_at: SystemTime,
    /// What broke after that.
    pub then: Option<String>,
    /// What the proxy tells the peers about it.
    pub farewell: Option<Farewell>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndKind {
    /// A peer sent a Close frame.
    Closed,
    /// A side's stream ended cleanly, without a Close frame.
    Ended(Side),
    /// A side's connection broke.
    Broke(Side),
    /// A side sent something that is not passed on.
    Refused(Side),
    /// The proxy decided to end it.
    Own,
}

/// How a tunnel ended.
#[derive(Debug)]
pub struct Closed {
    /// Why, with the facts.
    pub failure: Failure,
    /// Whose Close frame came first, a peer's or the proxy's own, if there was one.
    pub first_close: Option<By>,
    /// The client's Close frame.
    pub close_client: Option<Close>,
    /// The upstream's Close frame.
    pub close_upstream: Option<Close>,
    /// The code of the Close frame that the proxy sent to the client.
    pub close_code_proxy: Option<u16>,
    /// What a browser reports as `CloseEvent.code`.
    pub client_sees: u16,
    /// A hop whose timer may have ended it.
    pub suspect: Option<Suspect>,
    /// Bytes passed on to the upstream.
    pub client_to_upstream: u64,
    /// Bytes passed on to the client.
    pub upstream_to_client: u64,
    /// Complete data messages passed on to the upstream.
    pub messages_client_to_upstream: u64,
    /// Complete data messages passed on to the client.
    pub messages_upstream_to_client: u64,
    /// From the last byte of either peer to the event that ended the tunnel.
    pub idle: Duration,
    /// When the event happened that ended the tunnel.
    pub ended_at: SystemTime,
    /// From the event that ended the tunnel to its real end: the wait for the answer to a Close, or for the last bytes
    /// of the other side.
    pub close_wait: Duration,
    /// Pings sent to the client.
    pub pings: u64,
    /// Answers to these Pings.
    pub pongs: u64,
    /// The longest time in which bytes waited for the client and it took none.
    pub write_stall_client: Duration,
    /// The longest time in which bytes waited for the upstream and it took none.
    pub write_stall_upstream: Duration,
    /// Notes for the record.
    pub notes: Vec<Note>,
}

impl First {
    /// An end that the proxy decided on.
    pub fn own(failure: Failure, farewell: Farewell) -> Self {
        Self {
            failure,
            kind: EndKind::Own,
            quiet: Duration::ZERO,
            lasted: Duration::ZERO,
            idle: Duration::ZERO,
            at: Moment::now(),
            ended_at: SystemTime::now(),
            then: None,
            farewell: Some(farewell),
        }
    }

    /// What ended the tunnel on one side, if anything did. The tunnel has been open since `opened`.
    ///
    /// If the proxy sends a Close because of it, it tries for `close_wait`.
    pub fn seen(side: Side, leg: &Leg, opened: Moment, close_wait: Duration) -> Option<Self> {
        let lasted = opened.elapsed();
        let (kind, failure) = Self::found(side, leg, lasted)?;
        let until = Moment::now() + close_wait;
        Some(Self {
            farewell: Self::farewell(kind, failure.reason, until),
            failure,
            kind,
            quiet: leg.heard.max(leg.spoken).elapsed(),
            lasted,
            idle: Duration::ZERO,
            at: Moment::now(),
            ended_at: SystemTime::now(),
            then: None,
        })
    }

    fn found(side: Side, leg: &Leg, lasted: Duration) -> Option<(EndKind, Failure)> {
        if let Some(size) = leg.too_big {
            return Some((EndKind::Refused(side), too_big(side, size.get())));
        }
        if let Some(received) = &leg.close {
            let closed = closed(side, &received.close, leg, lasted);
            return Some((EndKind::Closed, closed));
        }
        let ended = match (leg.over.as_deref(), side) {
            (Some(Over::Violated(violation, bytes)), _) => {
                let reason = match side {
                    Side::Client => Reason::ClientProtocolError,
                    Side::Upstream => Reason::UpstreamProtocolError,
                };
                let detail = format!("{}; {}", violation.words(), frame_bytes(bytes));
                let mut failure = Failure::new(reason, detail);
                failure.hint = hint::of_violation(side, *violation, bytes).map(str::to_owned);
                return Some((EndKind::Refused(side), failure));
            }
            (Some(over @ (Over::Ended | Over::Truncated)), Side::Upstream) => {
                let is_cut = matches!(over, Over::Truncated);
                let detail = is_cut.then(|| "its TLS stream ended without close_notify".to_owned());
                let mut failure = Failure::from(Reason::UpstreamEofNoClose);
                failure.detail = with_half_frame(leg, detail);
                return Some((EndKind::Ended(side), failure));
            }
            (Some(Over::Ended), Side::Client) => Reason::ClientEofNoClose,
            (Some(Over::Truncated), Side::Client) => Reason::TlsTruncated,
            (Some(Over::Broke(_) | Over::GivenUp) | None, _) => {
                let mut failure = broken(side, leg)?;
                if failure.reason == Reason::UpstreamReset {
                    failure.hint = hint::of_reset(leg.written).map(str::to_owned);
                }
                return Some((EndKind::Broke(side), failure));
            }
        };
        Some((EndKind::Ended(side), ended.into()))
    }

    /// A hop whose timer may explain an end without a Close.
    fn suspect(&self, load_balancer: Option<&LoadBalancer>) -> Option<Guess> {
        match self.kind {
            EndKind::Ended(side) | EndKind::Broke(side) => {
                suspect(side, self.quiet, self.lasted, load_balancer)
            }
            EndKind::Closed | EndKind::Refused(_) | EndKind::Own => None,
        }
    }

    fn farewell(kind: EndKind, reason: Reason, until: Moment) -> Option<Farewell> {
        let EndKind::Refused(side) = kind else {
            return None;
        };
        let client = match reason {
            Reason::MessageTooBig => TOO_BIG,
            _ => PROTOCOL_ERROR,
        };
        let upstream = match side {
            Side::Client => GOING_AWAY,
            Side::Upstream => client,
        };
        Some(Farewell {
            codes: (client, upstream),
            through_client: false,
            until: Some(until),
        })
    }

    /// Whether a side's stream ended cleanly and without a Close frame.
    pub fn is_end_in_order(&self) -> bool {
        matches!(self.kind, EndKind::Ended(_))
    }
}

/// The reason for a Close frame from a peer.
fn closed(side: Side, close: &Close, leg: &Leg, lasted: Duration) -> Failure {
    if !close.is_allowed() {
        let code = close.shown();
        let detail = format!("the {} sent close code {code}", side.by().name());
        return Failure::new(Reason::ReservedCloseCodeOnWire, detail).by(side.by());
    }
    if side == Side::Client {
        return match close.code {
            Some(GOING_AWAY) => Reason::ClientGoingAway.into(),
            Some(code) if is_complaint(code) => Failure::from(Reason::ClientClose).with_hint(
                format!(
                    "the client itself failed the connection with {code}, because it rejected what the upstream had \
                     sent: check the upstream's messages (text that is not UTF-8, a message that is too large for \
                     the client, compression)"
                ),
            ),
            _ => Reason::ClientClose.into(),
        };
    }
    let reason = match close.code {
        None if lasted < IMMEDIATE && leg.messages == 0 => Reason::UpstreamCloseImmediate,
        Some(code) => Reason::of_upstream_close(code),
        None => Reason::UpstreamClose,
    };
    reason.into()
}

fn too_big(side: Side, size: u64) -> Failure {
    let sender = side.by().name();
    let detail = format!("the {sender} sends a message of {size} bytes or more");
    Failure::new(Reason::MessageTooBig, detail)
}

/// How a side's connection broke, if it did.
fn broken(side: Side, leg: &Leg) -> Option<Failure> {
    let error = match leg.over.as_deref() {
        Some(Over::Broke(error)) => error,
        _ => leg.write_error.as_ref()?,
    };
    // Keepalive probes or our data were not acknowledged, or a router reported that there is no route.
    let is_timeout = matches!(
        error.kind(),
        std::io::ErrorKind::TimedOut
            | std::io::ErrorKind::HostUnreachable
            | std::io::ErrorKind::NetworkUnreachable
    );
    let words = tls::ended_words(error);
    let words = match side {
        Side::Client => words,
        Side::Upstream => with_half_frame(leg, Some(words.clone())).unwrap_or(words),
    };
    let reason = match (side, is_timeout) {
        (Side::Client, true) => Reason::ClientTimeout,
        (Side::Upstream, true) => Reason::UpstreamTimeout,
        (Side::Upstream, false) => Reason::UpstreamReset,
        (Side::Client, false) => {
            if let Some(failure) = http2::ended(error) {
                return Some(failure);
            }
            return Some(match tls::broken(error) {
                Some(Failure {
                    reason: Reason::TlsProtocolError,
                    detail,
                    ..
                }) => Failure::new(Reason::TlsRecordError, detail.unwrap_or(words)),
                // A TLS alert is how a client aborts.
                Some(Failure { detail, .. }) => {
                    Failure::new(Reason::ClientReset, detail.unwrap_or(words))
                }
                None => Failure::new(Reason::ClientReset, words),
            });
        }
    };
    Some(Failure::new(reason, words))
}

/// What is known about the end of an upstream, and if its client can't get a Close frame, the reason for that.
fn with_half_frame(upstream: &Leg, detail: Option<String>) -> Option<String> {
    const HALF: &str = "it ended inside a frame, after which no Close frame can be sent: the client sees 1006 instead of 1014";
    match (upstream.over.is_none() || upstream.is_whole(), detail) {
        (true, detail) => detail,
        (false, Some(detail)) => Some(format!("{detail}; {HALF}")),
        (false, None) => Some(HALF.to_owned()),
    }
}

/// The reason for an upstream that ended without a Close.
pub(super) fn gone(upstream: &Leg) -> Reason {
    broken(Side::Upstream, upstream).map_or(Reason::UpstreamEofNoClose, |failure| failure.reason)
}

/// What broke after the tunnel's end had begun.
pub(super) fn broke(side: Side, leg: &Leg) -> Option<String> {
    let failure = broken(side, leg)?;
    let words = failure.detail.unwrap_or_default();
    Some(format!("then {}: {words}", failure.reason.code()))
}

/// The failure when bytes have waited too long for a side.
pub(super) fn stalled(reason: Reason, unsent: usize, stall: Duration) -> Failure {
    let stall = format_duration(stall);
    let bytes = match unsent {
        0 => "bytes of TLS itself".to_owned(),
        unsent => format!("up to {unsent} bytes"),
    };
    Failure::new(reason, format!("{bytes} waited for {stall}"))
}

/// The failure when one side does not answer the other's Close.
pub(super) fn never_answered(side: Side, wait: Duration) -> Failure {
    let (silent, closing) = match side {
        Side::Client => ("client", "upstream"),
        Side::Upstream => ("upstream", "client"),
    };
    let wait = format_duration(wait);
    let detail = format!("the {silent} did not answer the {closing}'s Close within {wait}");
    Failure::new(Reason::CloseHandshakeTimeout, detail).by(side.by())
}

/// The failure when one side has ended its stream and the other sent nothing for too long.
pub(super) fn never_followed(client_ended: bool, wait: Duration) -> Failure {
    let (ended, silent) = if client_ended {
        ("client", "upstream")
    } else {
        ("upstream", "client")
    };
    let wait = format_duration(wait);
    let detail = format!(
        "the {ended} ended its stream first; the {silent} sent nothing for {wait} and did not end its stream"
    );
    Failure::new(Reason::HalfCloseTimeout, detail)
}

/// The failure when a shutdown, because of `cause`, ends a tunnel before the client got its Close.
pub(super) fn forced(cause: &str, client: &Leg, upstream: &Leg) -> Failure {
    let why = if !upstream.is_whole() {
        "; the upstream was inside a frame, where no Close can be sent"
    } else if !client.is_clear() {
        "; the client did not read"
    } else {
        ""
    };
    Failure::new(Reason::DrainForced, format!("{cause}{why}"))
}

impl Tunnel {
    /// The reason for the end of a tunnel in which nothing more can move.
    pub(super) fn verdict(&self) -> Failure {
        let Some(first) = &self.first else {
            return Reason::InternalAborted.into();
        };
        if first.failure.reason == Reason::DrainGraceful && !self.client.is_told() {
            return forced("a side went away first", &self.client, &self.upstream);
        }
        let mut failure = first.failure.clone();
        if first.is_end_in_order() {
            failure.detail = failure.detail.or_else(|| first.then.clone());
        }
        failure
    }

    /// The report on the tunnel, to be called once at its end.
    pub(super) fn closed(&self, failure: Failure) -> Closed {
        let (client, upstream) = (&self.client, &self.upstream);
        let load_balancer = self.settings.load_balancer.as_deref();
        let first = self.first.as_deref();
        let guess = first.and_then(|first| first.suspect(load_balancer));
        let (suspect, failure) = match guess {
            Some(Guess { suspect, hint }) => (Some(suspect), failure.with_hint(hint)),
            None => (None, failure),
        };
        let own = client.told.as_ref().filter(|told| told.is_ours);
        let sides = [("client", client), ("upstream", upstream)];
        let after = |(side, leg): (_, &Leg)| Some((side, leg.close.as_ref()?.after));
        let notes = sides.into_iter().filter_map(after);
        let notes = notes.filter(|(_, after)| *after > 0).map(|(side, after)| {
            let detail = format!("{after} bytes from the {side}");
            Note::new(NoteCode::BytesAfterClose, detail)
        });
        let close = |leg: &Leg| leg.close.as_ref().map(|received| received.close.clone());
        Closed {
            first_close: self.first_close,
            close_code_proxy: own.and_then(|told| told.code),
            client_sees: client_sees(client, self.first_close),
            suspect,
            client_to_upstream: upstream.written,
            upstream_to_client: client.written,
            messages_client_to_upstream: client.messages,
            messages_upstream_to_client: upstream.messages,
            idle: first.map_or_else(|| self.active().elapsed(), |first| first.idle),
            ended_at: first.map_or_else(SystemTime::now, |first| first.ended_at),
            close_wait: first.map_or(Duration::ZERO, |first| first.at.elapsed()),
            pings: self.pings.into(),
            pongs: client.pongs.into(),
            write_stall_client: client.longest_stall(),
            write_stall_upstream: upstream.longest_stall(),
            notes: notes.collect(),
            close_client: close(client),
            close_upstream: close(upstream),
            failure,
        }
    }
}

/// The `CloseEvent.code` of a browser (RFC 6455 section 7.1.5; docs/close-codes.md has the measurements).
fn client_sees(client: &Leg, first: Option<By>) -> u16 {
    let is_complaining = |received: &Received| received.close.code.is_some_and(is_complaint);
    // A browser that fails the connection itself reports 1006, whatever code it sent.
    if first == Some(By::Client) && client.close.as_deref().is_some_and(is_complaining) {
        return ABNORMAL;
    }
    match &client.told {
        Some(told) if told.delivered.is_some() && told.is_readable => told.code.unwrap_or(NO_CODE),
        _ => ABNORMAL,
    }
}
