//! The timers of a tunnel: what happens when nothing arrives.

use std::time::Duration;

use humantime::format_duration;

use super::ending::{self, First};
use super::leg::Leg;
use super::side::Side;
use super::{GOING_AWAY, Settings, Tunnel, random};
use crate::moment::Moment;
use crate::policy::Ping;
use crate::reason::{Failure, Reason};

impl Tunnel {
    /// The earliest moment at which a timer fires if nothing moves; `None`: no timer is set.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let Settings {
            write_stall,
            close_wait,
            ..
        } = *self.settings;
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
                self.half_lifetime(),
                self.half_drain(),
            ]
        };
        let all = stalls.into_iter().chain(answers).chain(own);
        all.flatten().min()
    }

    pub(super) fn active(&self) -> Moment {
        self.client.active.max(self.upstream.active)
    }

    /// When the idle timeout expires. Pending writes do not count as idle: they have a limit of their own.
    fn idle(&self) -> Option<Moment> {
        let waits = [&self.client, &self.upstream]
            .iter()
            .any(|leg| leg.stalled_since().is_some());
        let idle = self.settings.idle.filter(|_| !waits)?;
        Some(self.active() + idle)
    }

    fn lifetime(&self) -> Option<Moment> {
        self.settings.max_lifetime.map(|most| self.opened + most)
    }

    /// Whether one side's stream has ended cleanly and the other may continue without limit.
    fn is_half(&self) -> bool {
        let is_told = self.client.told.is_some() || self.upstream.told.is_some();
        let in_order = |first: &First| first.is_end_in_order();
        !is_told && self.first.as_deref().is_some_and(in_order)
    }

    /// When the maximum lifetime ends such a tunnel.
    fn half_lifetime(&self) -> Option<Moment> {
        self.lifetime().filter(|_| self.is_half())
    }

    /// When a shutdown sends the client of such a tunnel its Close, if it can.
    fn half_drain(&self) -> Option<Moment> {
        let can_be_told = self.client.can_be_told(&self.upstream);
        self.drain_at.filter(|_| self.is_half() && can_be_told)
    }

    /// The settings for Pings, while the client is read. If the upstream accepts nothing, the answer would not be seen.
    fn pinging(&self) -> Option<Ping> {
        self.settings.ping.filter(|_| self.upstream.is_clear())
    }

    /// When the answer to a Ping is overdue. Any byte from the client proves that it is alive: it may have answered a
    /// later Ping instead of ours (RFC 6455 section 5.5.3).
    fn pong(&self) -> Option<Moment> {
        let ping = self.pinging()?;
        self.client.tag()?;
        let pinged = self.pinged.filter(|pinged| self.client.heard <= *pinged)?;
        Some(pinged + ping.timeout)
    }

    /// When the next Ping is due. Data in either direction also keeps the hops from timing out, so a Ping follows only
    /// silence.
    fn next_ping(&self) -> Option<Moment> {
        let ping = self.pinging()?;
        let quiet = self.client.spoken.max(self.client.heard);
        Some(quiet.max(self.pinged.unwrap_or(quiet)) + ping.interval)
    }

    /// How long the proxy tries to send a Close that it has decided on.
    fn unsaid(&self) -> Option<Moment> {
        let farewell = self.farewell()?;
        let waits = [&self.client, &self.upstream].iter().any(|leg| {
            let undelivered = leg
                .told
                .as_ref()
                .is_some_and(|told| told.delivered.is_none());
            leg.wants.is_some() || (undelivered && leg.is_open())
        });
        farewell.until.filter(|_| waits)
    }

    /// Since when one direction has ended and the other is silent, if no answer to a Close is expected.
    fn half_closed(&self) -> Option<Moment> {
        let legs = [&self.client, &self.upstream];
        if legs.iter().any(|leg| leg.owes_close()) {
            return None;
        }
        let ended = legs.iter().filter_map(|leg| leg.ended()).min()?;
        // Silence before that end does not count.
        Some(ended.max(self.active()))
    }

    /// Does what the expired timers require; returns the failure if that ends the tunnel at once.
    pub(super) fn expired(&mut self) -> Option<Failure> {
        let now = Moment::now();
        if let Some(failure) = self.stalled(now).or_else(|| self.unanswered(now)) {
            return Some(failure);
        }
        if self.first.is_some() {
            return self.ending_expired(now);
        }
        self.open_expired(now);
        None
    }

    /// The failure if one side has not read for too long.
    fn stalled(&self, now: Moment) -> Option<Failure> {
        let limit = self.settings.write_stall;
        for (leg, reason) in [
            (&self.client, Reason::ClientWriteStalled),
            (&self.upstream, Reason::UpstreamWriteStalled),
        ] {
            if is_over(leg.stalled_since().map(|since| since + limit), now) {
                let stalled = ending::stalled(reason, leg.unsent(), limit);
                return Some(match &self.first {
                    None => stalled,
                    Some(_) => self.cut(&stalled.detail.unwrap_or_default()),
                });
            }
        }
        None
    }

    /// Stops waiting for an answer to the proxy's own Close; the failure if the peer's Close was not answered.
    fn unanswered(&mut self, now: Moment) -> Option<Failure> {
        let limit = self.settings.close_wait;
        let is_farewell = self.farewell().is_some();
        for side in [Side::Client, Side::Upstream] {
            let (leg, other) = match side {
                Side::Client => (&mut self.client, &self.upstream),
                Side::Upstream => (&mut self.upstream, &self.client),
            };
            if !is_over(leg.owes_close_since().map(|since| since + limit), now) {
                continue;
            }
            // If the Close is not the proxy's own, its sender waits for this answer.
            let is_ours = leg.told.as_ref().is_some_and(|told| told.is_ours);
            if !is_ours && !is_farewell {
                // While the sender of the Close takes nothing, the answer is not read.
                return Some(match other.stalled_since() {
                    Some(_) => self.verdict(),
                    None => ending::never_answered(side, limit),
                });
            }
            leg.give_up();
        }
        None
    }

    /// The timers of a tunnel whose end has begun.
    fn ending_expired(&mut self, now: Moment) -> Option<Failure> {
        let close_wait = self.settings.close_wait;
        if let (Some(most), true) = (
            self.settings.max_lifetime,
            is_over(self.half_lifetime(), now),
        ) {
            return self.leave_early(outlived(most));
        } else if is_over(self.half_drain(), now) {
            self.drain();
        } else if is_over(self.unsaid(), now)
            || is_over(self.half_closed().map(|since| since + close_wait), now)
        {
            return Some(self.verdict_of_silence());
        }
        None
    }

    /// The timers of a tunnel that is open on both sides.
    fn open_expired(&mut self, now: Moment) {
        let settings = &self.settings;
        if is_over(self.drain_at, now) {
            self.drain();
        } else if let (Some(most), true) = (settings.max_lifetime, is_over(self.lifetime(), now)) {
            self.leave_waiting(outlived(most), now);
        } else if let (Some(idle), true) = (settings.idle, is_over(self.idle(), now)) {
            let shown = format_duration(idle);
            let detail = format!("no frame in either direction for {shown}");
            self.leave_waiting(Failure::new(Reason::IdleTimeout, detail), now);
        } else if let (Some(ping), true) = (settings.ping, is_over(self.pong(), now)) {
            let shown = format_duration(ping.timeout);
            let detail = format!("no byte from the client for {shown} after a Ping");
            self.leave_waiting(Failure::new(Reason::PongTimeout, detail), now);
        } else if self.pong().is_none() && is_over(self.next_ping(), now) {
            self.pinged = Some(now);
            self.client.expect(None);
            if self.upstream.is_whole() && self.client.is_open() && self.client.waiting() == 0 {
                self.client.ping(random());
                self.pings += 1;
            }
        }
    }

    /// Ends the tunnel; both sides get a Close if they can be told within `close_wait`.
    fn leave_waiting(&mut self, failure: Failure, now: Moment) {
        let until = Some(now + self.settings.close_wait);
        self.leave(failure, (GOING_AWAY, GOING_AWAY), until);
    }

    /// Ends a tunnel that may otherwise stay open. Returns the failure if one side has ended and the client can't be told,
    /// so that there is nothing to wait for.
    pub(super) fn leave_early(&mut self, failure: Failure) -> Option<Failure> {
        let can_be_told = self.client.can_be_told(&self.upstream);
        match (&self.first, self.is_half()) {
            (None, _) => self.leave_waiting(failure, Moment::now()),
            (Some(_), true) if can_be_told => self.leave_waiting(failure, Moment::now()),
            (Some(_), true) => return Some(failure),
            (Some(_), false) => {}
        }
        None
    }

    /// Ends the tunnel because of a shutdown, whose own deadline limits the end.
    fn drain(&mut self) {
        let codes = (self.settings.drain_code, GOING_AWAY);
        self.leave(Reason::DrainGraceful.into(), codes, None);
    }

    /// The failure for a tunnel in which one side has ended and the other is silent.
    fn verdict_of_silence(&self) -> Failure {
        let has_ended = |leg: &Leg| leg.over.is_some();
        match &self.first {
            Some(first) if first.is_end_in_order() && first.then.is_none() => {
                ending::never_followed(has_ended(&self.client), self.settings.close_wait)
            }
            _ => self.verdict(),
        }
    }

    /// The failure when a shutdown cuts the tunnel because of `cause`.
    pub(super) fn cut(&self, cause: &str) -> Failure {
        match &self.first {
            Some(first)
                if self.client.is_told() || first.failure.reason != Reason::DrainGraceful =>
            {
                self.verdict()
            }
            _ => ending::forced(cause, &self.client, &self.upstream),
        }
    }
}

fn is_over(deadline: Option<Moment>, now: Moment) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

fn outlived(most: Duration) -> Failure {
    let shown = format_duration(most);
    Failure::new(Reason::MaxLifetime, format!("open for {shown}"))
}
