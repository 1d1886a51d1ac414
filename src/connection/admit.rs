//! Who may pass: a request against the rules of HTTP and of the configuration.

use http::header::{self, HeaderValue};
use http::request::Parts;
use tokio::time::Instant;

use super::Life;
use super::explain::Explanation;
use crate::config::Upstream;
use crate::http::forwarded::Identity;
use crate::http::opening::{self, Kind, Opening};
use crate::policy::{self, Asked, Authority, HostSet, Permit};
use crate::reason::{Failure, Reason, Stage};
use crate::record::{Draft, millis};
use crate::tls;

/// A request that may be handed on, and to whom.
pub(super) struct Admitted<'a> {
    pub permit: Permit<'a>,
    pub opening: Opening,
    pub upstream: &'a Upstream,
    /// For a refusal that the upstream may still bring.
    pub explanation: Option<Explanation>,
}

/// A request that may not.
pub(super) struct Denied {
    pub failure: Failure,
    pub explanation: Option<Explanation>,
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
        self.shared.via.check(&request.headers)?;
        let authority = opening::authority(&request.uri, &request.headers)?;
        let opening = match opening::check(request)? {
            Kind::Opening(opening) => Some(opening),
            Kind::Plain => None,
        };
        if let Some(note) = identity.spoofed(&request.headers) {
            draft.note(note);
        }
        draft.enter(Stage::Policy);
        let asked = opening.as_ref();
        let permit = self.check_policy(request, identity, &authority, asked, has_early, draft);
        draft.record.policy_ms = Some(millis(begun.elapsed()));
        let permit = permit?;
        let name = &permit.route().upstream;
        // The one place where the name is looked up; a configuration in which it is unknown does not load.
        let upstream = self.shared.config.upstreams.get(name).ok_or_else(|| {
            let detail = format!("no upstream is named {name}");
            Failure::new(Reason::InternalAborted, detail)
        })?;
        let opening = opening.ok_or(Reason::PlainHttpRequest)?;
        Ok(Admitted {
            explanation: Explanation::wanted(permit.route(), &opening),
            upstream,
            permit,
            opening,
        })
    }

    fn check_policy(
        &self,
        request: &Parts,
        identity: &Identity,
        authority: &Authority,
        opening: Option<&Opening>,
        has_early: bool,
        draft: &mut Draft,
    ) -> Result<Permit<'_>, Denied> {
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
        let offered = opening
            .map(|opening| opening.subprotocols.as_slice())
            .unwrap_or_default();
        let subprotocols: Vec<&str> = offered.iter().map(String::as_str).collect();
        let asked = Asked {
            secure: identity.secure,
            sni: draft.record.sni.as_deref(),
            certificate_names: self
                .shared
                .tls
                .as_ref()
                .map_or(&no_names, tls::Server::names),
            authority,
            path: request.uri.path().as_bytes(),
            query: request.uri.query().map(str::as_bytes),
            origins: &origins,
            referers: &referers,
            subprotocols: &subprotocols,
        };
        let counted = match opening {
            // All that are whole, so that guessing is no cheaper than being admitted.
            Some(_) => self
                .shared
                .clients
                .handshake(identity.client, Instant::now().into_std()),
            None => Ok(()),
        };
        // A body may follow the head of a plain request; nothing may follow that of an opening handshake.
        if has_early && opening.is_some() {
            return Err(Reason::HttpEarlyData.into());
        }
        let matched = policy::matching(&self.shared.config.routes, &asked);
        if let Err(failure) = counted {
            let route = matched.ok().map(|matched| matched.route);
            draft.record.route = route.map(ToString::to_string);
            return Err(Denied {
                failure,
                explanation: route
                    .zip(opening)
                    .and_then(|(route, opening)| Explanation::wanted(route, opening)),
            });
        }
        let matched = matched?;
        let route = matched.route;
        draft.record.route = Some(route.to_string());
        let Some(opening) = opening else {
            return Err(Reason::PlainHttpRequest.into());
        };
        let denied = |failure| Denied {
            failure,
            explanation: Explanation::wanted(route, opening),
        };
        let permit = policy::check(matched, &asked).map_err(denied)?;
        draft.record.upstream = Some(permit.route().upstream.clone());
        draft.record.referer_app_id = permit.referer_app_id().map(str::to_owned);
        draft.record.notes.extend_from_slice(permit.notes());
        if self.shared.stop.is_draining() {
            return Err(denied(Reason::Draining.into()));
        }
        // Where the peer is a trusted proxy, the client is known only now.
        self.count(identity.client).map_err(denied)?;
        Ok(permit)
    }
}
