//! Decides whether a request is admitted: checks it against the rules of HTTP and of the configuration.
//!
//! [`Request::keeps_http`] and [`Request::keeps_policy`] call the checks from top to bottom. The first check that fails
//! decides the reason. Most checks are in [`opening::check`] and in [`policy`]. The raw head was already checked when
//! it was read.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, Version};

use super::explain::Explanation;
use super::read::Asked;
use super::{Request, answers};
use crate::generation::{Generation, Target};
use crate::http::forwarded::Identity;
use crate::http::head::too_old;
use crate::http::opening::{self, Opening, RequestKind};
use crate::policy::{
    self, Authority, HostSet, HttpRules, Matched, Permit, Plain, Search, WebSocketRules,
};
use crate::reason::{Failure, Level, Reason, Stage};
use crate::record::Wanted;
use crate::upstream;

/// A request that may pass.
pub(super) enum Admitted<'g> {
    /// An opening handshake.
    Opening(AdmittedOpening<'g>),
    /// A plain request.
    Plain(AdmittedPlain<'g>),
    /// A plain request that the proxy answers.
    Answer(Response<Bytes>),
}

/// An admitted opening handshake, with where it goes.
pub(super) struct AdmittedOpening<'g> {
    pub permit: Permit<'g, WebSocketRules>,
    pub opening: Opening,
    pub target: &'g Target,
    /// Used if the upstream refuses the handshake.
    pub explanation: Option<Explanation>,
}

/// An admitted plain request, with where it goes.
pub(super) struct AdmittedPlain<'g> {
    pub permit: Permit<'g, HttpRules>,
    pub target: &'g Target,
}

/// A request that is refused.
pub(super) struct Denied {
    pub failure: Failure,
    /// Set if the client is told the reason in a Close frame.
    pub explanation: Option<Box<Explanation>>,
}

impl<F: Into<Failure>> From<F> for Denied {
    fn from(failure: F) -> Self {
        Self {
            failure: failure.into(),
            explanation: None,
        }
    }
}

/// A request that follows the rules of HTTP.
struct Candidate<'a> {
    request: &'a Parts,
    identity: &'a Identity,
    authority: Authority,
    /// `None`: a plain request.
    opening: Option<Opening>,
    /// The field by which a plain request asks for HTTP/2, if it does.
    asks_h2c: Option<&'static str>,
}

impl Request<'_> {
    /// Checks the request, and finds where it goes in `generation`, the configuration that serves it.
    pub(super) fn admit<'g>(
        &mut self,
        asked: &Asked,
        generation: &'g Arc<Generation>,
    ) -> Result<Admitted<'g>, Denied> {
        let begun = Instant::now();
        self.facts.wanted = match opening::is_meant(&asked.request) {
            true => Wanted::Tunnel,
            false => Wanted::Answer,
        };
        let candidate = self.keeps_http(asked)?;
        let (version, asks_h2c) = (candidate.request.version, candidate.asks_h2c);
        let admitted = self.keeps_policy(candidate, generation);
        self.facts.policy = Some(begun.elapsed());
        admitted.map_err(|denied| as_asked(denied, version, asks_h2c))
    }

    /// The rules of HTTP and RFC 6455, which hold whatever the configuration says.
    fn keeps_http<'a>(&mut self, asked: &'a Asked) -> Result<Candidate<'a>, Failure> {
        let Asked {
            request, identity, ..
        } = asked;
        self.shared.via.check(&request.headers)?;
        let authority = opening::authority(request)?;
        let (opening, asks_h2c) = match opening::check(request)? {
            RequestKind::Opening(opening) => (Some(opening), None),
            RequestKind::Plain { asks_h2c } => (None, asks_h2c),
        };
        self.watch_identity(request, identity, opening.is_some());
        self.facts.enter(Stage::Policy);
        self.is_let_in_still()?;
        brings_nothing_early(asked.has_early, opening.is_some())?;
        Ok(Candidate {
            request,
            identity,
            authority,
            opening,
            asks_h2c,
        })
    }

    /// The rules of the configuration.
    fn keeps_policy<'g>(
        &mut self,
        candidate: Candidate<'_>,
        generation: &'g Arc<Generation>,
    ) -> Result<Admitted<'g>, Denied> {
        let Candidate {
            request,
            identity,
            authority,
            opening,
            ..
        } = candidate;
        let routes = &generation.routes;
        let (origins, referers) = (
            values(&request.headers, &header::ORIGIN),
            values(&request.headers, &header::REFERER),
        );
        let offered = opening.as_ref().map(|opening| opening.subprotocols.clone());
        let offered = offered.unwrap_or_default();
        let subprotocols: Vec<_> = offered.iter().map(String::as_str).collect();
        let no_names = HostSet::default();
        let tls = self.shared.tls.clone();
        let sni = self.facts.connection().tls.sni.clone();
        let asked = policy::RequestFacts {
            secure: identity.secure,
            sni: sni.as_deref(),
            certificate_names: tls.as_ref().map_or(&no_names, |server| server.names()),
            authority: &authority,
            is_handshake: opening.is_some(),
            path: request.uri.path().as_bytes(),
            query: request.uri.query().map(str::as_bytes),
            origins: &origins,
            referers: &referers,
            subprotocols: &subprotocols,
        };
        let searched = |failure| searched(failure, &asked, generation);

        let rate = self.is_within_rate(identity, opening.is_some());
        if self.is_redirected(identity) {
            policy::check_host(routes, &asked).map_err(searched)?;
            return Ok(Admitted::Answer(redirect(request, &asked)?));
        }
        let matched = policy::matching(routes, &asked);
        let route = matched.as_ref().ok().map(|matched| matched.route);
        self.facts.route = route.map(|route| route.to_string().into());
        let explanation = route
            .zip(opening.as_ref())
            .and_then(|(route, opening)| Explanation::wanted(route, opening));
        let denied = |failure, explanation: Option<Explanation>| Denied {
            failure,
            explanation: explanation.map(Box::new),
        };
        if let Err(failure) = rate {
            return Err(denied(failure, explanation));
        }
        let matched = matched.map_err(searched)?;
        let Some(opening) = opening else {
            return Ok(self.keeps_plain_policy(matched, request, identity)?);
        };
        match self.keeps_opening_policy(matched, &asked, identity) {
            Ok((permit, target)) => Ok(Admitted::Opening(AdmittedOpening {
                permit,
                opening,
                target,
                explanation,
            })),
            Err(failure) => Err(denied(searched(failure), explanation)),
        }
    }

    /// The rules of the route of an opening handshake.
    fn keeps_opening_policy<'g>(
        &mut self,
        matched: Matched<'g, Target>,
        asked: &policy::RequestFacts<'_>,
        identity: &Identity,
    ) -> Result<(Permit<'g, WebSocketRules>, &'g Target), Failure> {
        let (permit, target) = policy::check(matched, asked).inspect_err(|failure| {
            if failure.reason == Reason::PathNearMiss {
                // The client meant a route other than the one that matches.
                self.facts.route = None;
            }
        })?;
        self.note_permit(&permit, target);
        self.is_not_draining()?;
        self.count_tunnel(identity.client)?;
        Ok((permit, target))
    }

    /// The rules of the route of a plain request.
    fn keeps_plain_policy<'g>(
        &mut self,
        matched: Matched<'g, Target>,
        request: &Parts,
        identity: &Identity,
    ) -> Result<Admitted<'g>, Failure> {
        let plain = policy::check_plain(matched, request.method.as_str())
            .map_err(|failure| self.quieter_if_repeated(failure, identity))?;
        let (permit, target) = match plain {
            Plain::Respond(respond) => {
                let response = answers::response(respond, &request.method);
                return Ok(Admitted::Answer(response));
            }
            Plain::Forward(..) if request.version == Version::HTTP_10 => {
                return Err(too_old("the route has an upstream"));
            }
            Plain::Forward(permit, target) => (permit, target),
        };
        self.note_permit(&permit, target);
        upstream::check_announced(announced(&request.headers), permit.rules().max_body)?;
        Ok(Admitted::Plain(AdmittedPlain { permit, target }))
    }

    /// Notes identity fields that the peer may not set.
    fn watch_identity(&mut self, request: &Parts, identity: &Identity, is_handshake: bool) {
        if let Some(note) = identity.spoofed(&request.headers) {
            self.facts.note(note);
        }
        if !identity.is_trusted() && !self.connection.is_unnamed {
            self.watch_claims(request, is_handshake);
        }
    }

    /// Refuses the request if the listener would not admit this connection in the same way now. If the listener is
    /// gone, nothing is refused.
    fn is_let_in_still(&self) -> Result<(), Failure> {
        match self.connection.current.asks_otherwise(&self.shared) {
            true => Err(Reason::ListenerChanged.into()),
            false => Ok(()),
        }
    }

    /// Counts every well-formed handshake, even if it is refused later: otherwise guessing would not be limited.
    fn is_within_rate(&self, identity: &Identity, is_handshake: bool) -> Result<(), Failure> {
        match is_handshake {
            true => self
                .shared
                .clients
                .handshake(identity.client, Instant::now()),
            false => Ok(()),
        }
    }

    /// Counts the tunnel for its client. Over HTTP/2 the connection counts as one of its tunnels.
    fn count_tunnel(&mut self, client: IpAddr) -> Result<(), Failure> {
        match &self.connection.multiplexed {
            // If the peer is a trusted proxy, the client is known only now.
            None => self.connection.count(client, &self.shared.clients),
            Some(multiplexed) => {
                let is_own = client == self.connection.peer.ip().to_canonical();
                let clients = &self.shared.clients;
                self.held = Some(multiplexed.count(client, is_own, clients)?);
                Ok(())
            }
        }
    }

    /// Whether the listener redirects this client to https. A client whose TLS a hop in front terminated already uses
    /// https.
    fn is_redirected(&self, identity: &Identity) -> bool {
        self.shared.redirect_to_https && !identity.secure
    }

    fn is_not_draining(&self) -> Result<(), Failure> {
        match self.shared.stop.is_draining() {
            true => Err(Reason::Draining.into()),
            false => Ok(()),
        }
    }

    fn note_permit<R>(&mut self, permit: &Permit<'_, R>, target: &Target) {
        self.facts.upstream = Some(target.upstream.settings().name.as_str().into());
        self.facts.referer_app_id = permit.referer_app_id().map(Box::from);
        self.facts.notes(permit.notes().iter().cloned());
    }

    /// Lowers the level if a probe repeats a request that was already refused.
    fn quieter_if_repeated(&self, failure: Failure, identity: &Identity) -> Failure {
        let asked = &self.facts.description;
        let words = [asked.path.as_deref(), asked.user_agent.as_deref()];
        let repeats = &self.shared.repeats;
        match failure.reason == Reason::PlainHttpRequest
            && repeats.is_repeated(identity.client, &words, Instant::now())
        {
            true => failure.at(Level::Debug),
            false => failure,
        }
    }
}

/// A body may follow the head of a plain request. Nothing may follow the head of an opening handshake.
fn brings_nothing_early(has_early: bool, is_handshake: bool) -> Result<(), Failure> {
    match has_early && is_handshake {
        true => Err(Reason::HttpEarlyData.into()),
        false => Ok(()),
    }
}

/// The answer of a listener that only redirects.
fn redirect(request: &Parts, asked: &policy::RequestFacts<'_>) -> Result<Response<Bytes>, Failure> {
    if request.version == Version::HTTP_10 {
        return Err(too_old("this listener only redirects"));
    }
    match asked.is_handshake {
        true => Err(Reason::RedirectRefused.into()),
        false => Ok(answers::to_https(asked.authority, &request.uri)),
    }
}

/// The bytes that a request announces for its body.
fn announced(fields: &HeaderMap) -> Option<u64> {
    let length = fields.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

fn values<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Vec<&'a [u8]> {
    let values = fields.get_all(name).iter();
    values.map(HeaderValue::as_bytes).collect()
}

/// Adds a search for the route that was probably meant. It runs only if the record is written.
fn searched(
    failure: Failure,
    asked: &policy::RequestFacts<'_>,
    generation: &Arc<Generation>,
) -> Failure {
    let Some(search) = Search::after(&failure, asked) else {
        return failure;
    };
    let generation = Arc::clone(generation);
    failure.explained_later(move || search.words(&generation.routes))
}

/// Changes the reason if the problem is the HTTP version of the request, or that it asks for HTTP/2.
fn as_asked(denied: Denied, version: Version, asks_h2c: Option<&'static str>) -> Denied {
    match (denied.failure.reason, asks_h2c) {
        (Reason::HttpVersionUnsupported, _) => denied,
        // HTTP/1.0 may have only the proxy's own answer: then it was a check of the proxy's health.
        (reason, _) if version == Version::HTTP_10 => {
            let why = format!("no route with respond takes it ({reason})");
            too_old(&why).into()
        }
        // A route for plain requests ignores that a request asks for HTTP/2. On any other route this is the problem.
        (Reason::PlainHttpRequest, Some(asking)) => opening::h2c_refused(asking).into(),
        _ => denied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(version: Version) -> Parts {
        let request = http::Request::get("/ws?a").version(version);
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_a_handshake_must_have_nothing_behind_it() {
        assert!(brings_nothing_early(true, false).is_ok());
        assert!(brings_nothing_early(false, true).is_ok());
        let failure = brings_nothing_early(true, true).unwrap_err();
        assert_eq!(failure.reason, Reason::HttpEarlyData);
    }

    #[test]
    fn a_listener_that_redirects_sends_on_plain_requests_alone() {
        let authority = Authority::parse(b"api.example.com").unwrap();
        let names = HostSet::default();
        let asked = |is_handshake| policy::RequestFacts {
            secure: false,
            sni: None,
            certificate_names: &names,
            authority: &authority,
            is_handshake,
            path: b"/ws",
            query: None,
            origins: &[],
            referers: &[],
            subprotocols: &[],
        };
        let response = redirect(&parts(Version::HTTP_11), &asked(false)).unwrap();
        let location = &response.headers()[header::LOCATION];
        assert_eq!(location, "https://api.example.com/ws?a");
        for (version, is_handshake, reason) in [
            (Version::HTTP_11, true, Reason::RedirectRefused),
            (Version::HTTP_10, false, Reason::HttpVersionUnsupported),
            (Version::HTTP_10, true, Reason::HttpVersionUnsupported),
        ] {
            let refused = redirect(&parts(version), &asked(is_handshake));
            assert_eq!(refused.unwrap_err().reason, reason);
        }
    }

    #[test]
    fn a_refusal_names_what_was_wrong_before_the_route() {
        for (given, version, h2c, expected) in [
            (
                Reason::PathNotAllowed,
                Version::HTTP_11,
                None,
                Reason::PathNotAllowed,
            ),
            (
                Reason::PathNotAllowed,
                Version::HTTP_11,
                Some("Upgrade: h2c"),
                Reason::PathNotAllowed,
            ),
            (
                Reason::PlainHttpRequest,
                Version::HTTP_11,
                None,
                Reason::PlainHttpRequest,
            ),
            (
                Reason::PlainHttpRequest,
                Version::HTTP_11,
                Some("Upgrade: h2c"),
                Reason::H2cRefused,
            ),
            (
                Reason::PlainHttpRequest,
                Version::HTTP_10,
                None,
                Reason::HttpVersionUnsupported,
            ),
            (
                Reason::PathNotAllowed,
                Version::HTTP_10,
                Some("Upgrade: h2c"),
                Reason::HttpVersionUnsupported,
            ),
        ] {
            let denied = as_asked(given.into(), version, h2c);
            assert_eq!(
                denied.failure.reason, expected,
                "{given} {version:?} {h2c:?}"
            );
        }
    }

    #[test]
    fn the_announced_length_is_what_the_field_says() {
        let mut fields = HeaderMap::new();
        assert_eq!(announced(&fields), None);
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("12"));
        assert_eq!(announced(&fields), Some(12));
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("x"));
        assert_eq!(announced(&fields), None);
    }
}
