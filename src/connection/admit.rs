//! Who may pass: a request against the rules of HTTP and of the configuration.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Response, Version};
use tokio::time::Instant;

use super::explain::Explanation;
use super::{Life, plain};
use crate::generation::Target;
use crate::http::forwarded::Identity;
use crate::http::head::too_old;
use crate::http::opening::{self, Opening, RequestKind};
use crate::policy::{
    self, Authority, HostSet, HttpRules, Matched, Permit, Plain, RequestFacts, WebSocketRules,
};
use crate::reason::{Failure, Level, Reason, Stage};
use crate::record::{Draft, Wanted, millis};
use crate::upstream;

/// A request that may pass.
pub(super) enum Admitted<'a> {
    /// An opening handshake.
    Opening(AdmittedOpening<'a>),
    /// A plain request.
    Plain(AdmittedPlain<'a>),
    /// A plain request that the proxy answers.
    Answer(Response<Bytes>),
}

/// An opening handshake that may be handed on, and to whom.
pub(super) struct AdmittedOpening<'a> {
    pub permit: Permit<'a, WebSocketRules>,
    pub opening: Opening,
    pub target: &'a Target,
    /// For a refusal that the upstream may still bring.
    pub explanation: Option<Explanation>,
}

/// A plain request that may be handed on, and to whom.
pub(super) struct AdmittedPlain<'a> {
    pub permit: Permit<'a, HttpRules>,
    pub target: &'a Target,
}

/// A request that may not.
pub(super) struct Denied {
    pub failure: Failure,
    pub explanation: Option<Box<Explanation>>,
}

impl From<Failure> for Denied {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            explanation: None,
        }
    }
}

impl From<Reason> for Denied {
    fn from(reason: Reason) -> Self {
        Failure::from(reason).into()
    }
}

impl Life<'_> {
    /// The rest of the http stage, and the policy stage.
    pub(super) fn admit(
        &self,
        request: &Parts,
        identity: &Identity,
        has_early: bool,
        draft: &mut Draft,
    ) -> Result<Admitted<'_>, Denied> {
        let begun = Instant::now();
        draft.record.wanted = match opening::is_meant(request) {
            true => Wanted::Tunnel,
            false => Wanted::Answer,
        };
        self.shared.via.check(&request.headers)?;
        let authority = opening::authority(request)?;
        let (opening, asks_h2c) = match opening::check(request)? {
            RequestKind::Opening(opening) => (Some(opening), None),
            RequestKind::Plain { asks_h2c } => (None, asks_h2c),
        };
        if let Some(note) = identity.spoofed(&request.headers) {
            draft.note(note);
        }
        if !identity.is_trusted() && !self.is_unnamed {
            self.watch_claims(request, opening.is_some(), draft);
        }
        draft.enter(Stage::Policy);
        // What let this connection in would not do so now; where the listener is gone, nothing asks for more.
        if self.place.asks_otherwise(&self.shared) {
            return Err(Reason::ListenerChanged.into());
        }
        // A body may follow the head of a plain request; nothing may follow that of an opening handshake.
        if has_early && opening.is_some() {
            return Err(Reason::HttpEarlyData.into());
        }
        let admitted = self.check_policy(request, identity, &authority, opening, draft);
        draft.record.policy_ms = Some(millis(begun.elapsed()));
        let admitted = match request.version {
            Version::HTTP_10 => in_old(admitted),
            _ => admitted,
        };
        admitted.map_err(|denied| match (denied.failure.reason, asks_h2c) {
            // Where plain requests are served the wish is ignored; elsewhere it is what is wrong with this one.
            (Reason::PlainHttpRequest, Some(asking)) => opening::h2c_refused(asking).into(),
            _ => denied,
        })
    }

    fn check_policy(
        &self,
        request: &Parts,
        identity: &Identity,
        authority: &Authority,
        opening: Option<Opening>,
        draft: &mut Draft,
    ) -> Result<Admitted<'_>, Denied> {
        let no_names = HostSet::default();
        let values = |name| -> Vec<&[u8]> {
            request
                .headers
                .get_all(name)
                .iter()
                .map(HeaderValue::as_bytes)
                .collect()
        };
        let (origins, referers) = (values(header::ORIGIN), values(header::REFERER));
        let offered = opening.as_ref().map(|opening| opening.subprotocols.clone());
        let offered = offered.unwrap_or_default();
        let subprotocols: Vec<&str> = offered.iter().map(String::as_str).collect();
        let asked = RequestFacts {
            secure: identity.secure,
            sni: draft.record.sni.as_deref(),
            certificate_names: self
                .shared
                .tls
                .as_ref()
                .map_or(&no_names, |server| server.names()),
            authority,
            is_handshake: opening.is_some(),
            path: request.uri.path().as_bytes(),
            query: request.uri.query().map(str::as_bytes),
            origins: &origins,
            referers: &referers,
            subprotocols: &subprotocols,
        };
        let counted = match &opening {
            // All that are whole, so that guessing is no cheaper than being admitted.
            Some(_) => self
                .shared
                .clients
                .handshake(identity.client, std::time::Instant::now()),
            None => Ok(()),
        };
        let routes = &self.shared.generation.routes;
        // Behind a hop that ended TLS there is nowhere to send the client.
        if self.shared.redirect_to_https && !identity.secure {
            policy::check_host(routes, &asked).map_err(|failure| self.searched(failure, &asked))?;
            return match opening {
                _ if request.version == Version::HTTP_10 => {
                    Err(too_old("this listener only redirects").into())
                }
                Some(_) => Err(Reason::RedirectRefused.into()),
                None => Ok(Admitted::Answer(plain::redirect(authority, &request.uri))),
            };
        }
        let matched = policy::matching(routes, &asked);
        if let Err(failure) = counted {
            let route = matched.ok().map(|matched| matched.route);
            draft.record.route = route.map(ToString::to_string);
            let explanation = route
                .zip(opening.as_ref())
                .and_then(|(route, opening)| Explanation::wanted(route, opening));
            return Err(Denied {
                failure,
                explanation: explanation.map(Box::new),
            });
        }
        let matched = matched.map_err(|failure| self.searched(failure, &asked))?;
        let route = matched.route;
        draft.record.route = Some(route.to_string());
        let Some(opening) = opening else {
            return self.check_plain(matched, request, identity, draft);
        };
        let (permit, target) = policy::check(matched, &asked).map_err(|failure| {
            if failure.reason == Reason::PathNearMiss {
                // Another route was meant than the one that matches.
                draft.record.route = None;
            }
            Denied {
                failure: self.searched(failure, &asked),
                explanation: Explanation::wanted(route, &opening).map(Box::new),
            }
        })?;
        permitted(&permit, target, draft);
        let explanation = Explanation::wanted(route, &opening);
        if self.shared.stop.is_draining() {
            return Err(Denied {
                failure: Reason::Draining.into(),
                explanation: explanation.map(Box::new),
            });
        }
        // Where the peer is a trusted proxy, the client is known only now.
        if let Err(failure) = self.count(identity.client) {
            return Err(Denied {
                failure,
                explanation: explanation.map(Box::new),
            });
        }
        Ok(Admitted::Opening(AdmittedOpening {
            target,
            explanation,
            permit,
            opening,
        }))
    }

    /// The same failure, for whose record the routes are searched if it is written.
    fn searched(&self, failure: Failure, asked: &RequestFacts<'_>) -> Failure {
        let Some(search) = policy::Search::after(&failure, asked) else {
            return failure;
        };
        let generation = Arc::clone(&self.shared.generation);
        failure.explained_later(move || search.words(&generation.routes))
    }

    fn check_plain<'a>(
        &'a self,
        matched: Matched<'a, Target>,
        request: &Parts,
        identity: &Identity,
        draft: &mut Draft,
    ) -> Result<Admitted<'a>, Denied> {
        let plain = policy::check_plain(matched, request.method.as_str()).map_err(|failure| {
            let record = &draft.record;
            let words = [record.path.as_deref(), record.user_agent.as_deref()];
            let now = std::time::Instant::now();
            let is_probe = failure.reason == Reason::PlainHttpRequest;
            match is_probe
                && self
                    .shared
                    .repeats
                    .is_repeated(identity.client, &words, now)
            {
                true => failure.at(Level::Debug),
                false => failure,
            }
        })?;
        let (permit, target) = match plain {
            Plain::Respond(respond) => {
                let response = plain::response(respond, &request.method);
                return Ok(Admitted::Answer(response));
            }
            Plain::Forward(..) if request.version == Version::HTTP_10 => {
                return Err(too_old("the route has an upstream").into());
            }
            Plain::Forward(permit, target) => (permit, target),
        };
        permitted(&permit, target, draft);
        let length = request.headers.get(header::CONTENT_LENGTH);
        let announced = length.and_then(|length| length.to_str().ok()?.parse().ok());
        upstream::check_announced(announced, permit.rules().max_body)?;
        Ok(Admitted::Plain(AdmittedPlain { permit, target }))
    }
}

/// What HTTP/1.0 may have is an answer of the proxy's own: it was a check of the proxy's health then.
fn in_old<'a>(admitted: Result<Admitted<'a>, Denied>) -> Result<Admitted<'a>, Denied> {
    admitted.map_err(|denied| match denied.failure.reason {
        Reason::HttpVersionUnsupported => denied,
        reason => {
            let why = format!("no route with respond takes it ({reason})");
            too_old(&why).into()
        }
    })
}

fn permitted<R>(permit: &Permit<'_, R>, target: &Target, draft: &mut Draft) {
    draft.record.upstream = Some(target.upstream.settings().name.clone());
    draft.record.referer_app_id = permit.referer_app_id().map(str::to_owned);
    draft.record.notes.extend_from_slice(permit.notes());
}
