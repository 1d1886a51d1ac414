//! An opening handshake that may pass: asks the upstream, passes its answer on, and opens the tunnel.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::request::Parts;
use tokio::time::Instant;

use super::admit::AdmittedOpening;
use super::read::Asked;
use super::{Done, Ended, Exchange, Request};
use crate::config::Upstream;
use crate::http::opening::Opening;
use crate::http::{Answered, respond};
use crate::policy::{Permit, WebSocketRules};
use crate::reason::{Failure, Note, NoteCode, Reason, Stage};
use crate::record::{Outcome, millis};
use crate::tunnel::frame::Extensions;
use crate::tunnel::{Ends, Tunnel};
use crate::upstream::{self, Answer, Busy, Group, InUse, Opened, Refused, TunnelSlot};

impl Request<'_> {
    /// Asks the upstream, and opens the tunnel if it agrees.
    ///
    /// # Errors
    /// The upstream's refusal, and the reasons for an answer that does not come or is wrong; the client has its answer.
    pub(super) async fn open(
        &mut self,
        asked: Asked,
        admitted: AdmittedOpening<'_>,
    ) -> Result<Done, Ended> {
        self.facts.enter(Stage::Upstream);
        let request_id = self.facts.request_id();
        let Asked {
            exchange,
            request,
            identity,
            ..
        } = asked;
        let AdmittedOpening {
            permit,
            opening,
            target,
            explanation,
        } = admitted;
        let upstream = &target.upstream;
        let rebuilt = upstream::rebuild(request, &identity, &self.shared.via, &request_id);
        let asking = Instant::now();
        let work = self.ask(&permit, &opening, upstream, identity.client, rebuilt);
        let asked = exchange.meanwhile(Box::pin(work)).await;
        let (exchange, answer) = match asked {
            Ok(answered) => answered,
            Err(gone) => return Err(self.gone(gone, asking).await),
        };
        let (slot, opened) = match answer {
            Ok((slot, Answer::Switched(opened))) => (slot, *opened),
            Ok((_, Answer::Refused(refused))) => {
                return Err(match explanation {
                    None => self.relay(exchange, *refused, upstream.settings()).await,
                    explained => self.refuse(exchange, refused.failure, explained).await,
                });
            }
            Err(failure) => return Err(self.refuse(exchange, failure, explanation).await),
        };
        let (ends, busy) = self.switch(exchange, opened, asking).await?;
        let metrics = self.shared.sink.metrics();
        let settings = target.tunnels(permit.rules(), self.shared.config(), metrics);
        let turn = turn(self.facts.place());
        let tunnel = Tunnel::new(ends, settings, turn);
        let in_use = InUse { slot, busy };
        Ok(Done::Opened(Box::new((tunnel, in_use))))
    }

    /// The upstream stage: connect, hand the request on, verify the answer.
    async fn ask(
        &mut self,
        permit: &Permit<'_, WebSocketRules>,
        opening: &Opening,
        upstream: &Arc<Group>,
        client: IpAddr,
        request: Parts,
    ) -> Result<(TunnelSlot, Answer), Failure> {
        let slot = upstream.slot()?;
        let begun = Instant::now();
        let connected = upstream::connect(upstream, permit, client, &mut self.facts.dialling).await;
        self.facts.connect = Some(begun.elapsed());
        let connected = connected?;
        let skipped = self
            .facts
            .dialling
            .attempts
            .iter()
            .filter(|attempt| attempt.outcome != Outcome::Connected)
            .count();
        if skipped > 0 {
            let skipped = Note::new(NoteCode::EndpointSkipped, skipped.to_string());
            self.facts.note(skipped);
        }
        let begun = Instant::now();
        let limit = self.shared.config().limits.header_bytes;
        let answer = upstream::handshake(
            connected,
            request,
            opening,
            permit,
            upstream.settings(),
            limit,
        )
        .await;
        self.facts.handshake = Some(begun.elapsed());
        Ok((slot, answer?))
    }

    /// Answers 101 and takes the client's stream back.
    async fn switch(
        &mut self,
        exchange: Exchange,
        opened: Opened,
        asking: Instant,
    ) -> Result<(Ends, Busy), Failure> {
        self.facts.notes(opened.notes);
        let extensions = Extensions::agreed(opened.extensions.iter().map(String::as_str));
        let mut response = Response::from_parts(opened.head, respond::empty());
        respond::set_request_id(response.headers_mut(), &self.facts.request_id());
        let patience = self.shared.config().limits.write_stall;
        let Answered {
            stream,
            held,
            error,
        } = exchange.answer(response, patience).await;
        let (Some(stream), None) = (stream, &error) else {
            let error = error.map_or_else(String::new, |error| error.to_string());
            let waited =
                humantime::format_duration(Duration::from_millis(millis(asking.elapsed())));
            let detail = format!("after {waited}, while the 101 was being written: {error}");
            return Err(Failure::new(Reason::ClientGaveUp, detail));
        };
        if !held.is_empty() {
            self.facts.note(Note::new(
                NoteCode::EarlyBytesHeld,
                format!("{} bytes", held.len()),
            ));
        }
        let ends = Ends {
            client: stream,
            client_early: held,
            upstream: opened.stream,
            upstream_early: opened.early.into(),
            extensions,
        };
        Ok((ends, opened.busy))
    }

    /// Passes on the upstream's answer if it is not a 101.
    async fn relay(&mut self, exchange: Exchange, refused: Refused, upstream: &Upstream) -> Ended {
        self.facts.refused();
        self.facts.notes(refused.notes);
        let mut response = refused.response;
        respond::identify(&mut response, &self.facts.request_id(), &refused.failure);
        let limits = &self.shared.config().limits;
        let patience = upstream.handshake_timeout + limits.write_stall;
        let answered = exchange.answer(response, patience).await;
        let stream = match (refused.passed.cut(), answered.error) {
            (None, None) => answered.stream,
            // Then writing fails too, which is not the client's fault.
            (Some(cut), _) => {
                let words = cut.detail.clone().unwrap_or_default();
                self.facts.note(Note::new(NoteCode::RelayCut, words));
                None
            }
            (None, Some(error)) => {
                self.facts
                    .note(Note::new(NoteCode::ResponseNotDelivered, error.to_string()));
                None
            }
        };
        Ended {
            failure: refused.failure,
            client: stream,
        }
    }
}

/// The place of tunnel `number` in the spread of a shutdown. Multiples of the golden ratio fall between those of all
/// smaller numbers, so any set of tunnels is spread evenly.
fn turn(number: u64) -> u32 {
    const GOLDEN: u32 = 0x9e37_79b9;
    let [.., a, b, c, d] = number.to_be_bytes();
    u32::from_be_bytes([a, b, c, d]).wrapping_mul(GOLDEN)
}
