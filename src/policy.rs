//! Decides who is admitted: checks host and path against the routes, then the Origin and subprotocols of an opening
//! handshake or the method of a plain request.
//!
//! Pure: no I/O and no clock. Takes the routes and the facts of a request. Gives a [`Permit`], which only [`check`] and
//! [`check_plain`] can make, or a reason of the policy stage (RFC 6455 sections 4.2.1 and 10.2, RFC 6454, RFC 9110
//! section 7.4). The work is linear in the length of a peer's values, and [`secrets`] decides what is shown of them.

mod admission;
pub mod host;
pub mod origin;
pub mod path;
mod rules;
mod search;
mod shadows;
pub mod wechat;

pub use host::{Authority, HostPattern, HostSet};
pub use origin::OriginRule;
pub use path::PathPattern;
pub use rules::{
    Enforcement, Forward, HttpRules, METHODS, MissingOrigin, Ping, Respond, Route, Serves,
    WebSocketRules,
};
pub use search::Search;
pub use shadows::Shadows;

use crate::reason::{Failure, Note, NoteCode, Reason};
use crate::secrets::{self, words};
use crate::text::enumerated;

/// The detail of a near miss until the route that was meant is searched for.
const NEAR: &str = "the path is nearly that of a route";

/// The facts about a request that the policy checks. All text is as it was received.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Whether the client connects with TLS, here or at a trusted hop in front.
    pub secure: bool,
    /// The TLS server name in lower case, if TLS ends here and the client sent one.
    pub sni: Option<&'a str>,
    /// The names of this listener's certificates.
    pub certificate_names: &'a HostSet,
    /// The request's host and port (Host field, or the target's in absolute form).
    pub authority: &'a Authority,
    /// Whether the request is an opening handshake.
    pub is_handshake: bool,
    /// The target's bytes before the first `?`.
    pub path: &'a [u8],
    /// The bytes after the first `?`.
    pub query: Option<&'a [u8]>,
    /// The values of all Origin fields.
    pub origins: &'a [&'a [u8]],
    /// The values of all Referer fields.
    pub referers: &'a [&'a [u8]],
    /// The offered subprotocols, in order.
    pub subprotocols: &'a [&'a str],
}

/// Proof that the policy permits a request under rules of the kind `R`. Only [`check`] and [`check_plain`] make one.
#[derive(Debug)]
pub struct Permit<'r, R> {
    rules: &'r R,
    notes: Vec<Note>,
    referer_app_id: Option<String>,
}

impl<'r, R> Permit<'r, R> {
    /// The route's rules for requests of this kind.
    #[must_use]
    pub fn rules(&self) -> &'r R {
        self.rules
    }

    /// The notes of the policy.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The WeChat app id in the Referer, if there is one.
    #[must_use]
    pub fn referer_app_id(&self) -> Option<&str> {
        self.referer_app_id.as_deref()
    }
}

/// Checks an opening handshake against the rules of its route: Origin and Referer, then subprotocols. Returns the
/// permit and its upstream.
///
/// # Errors
/// The first reason of the policy stage that applies; `websocket_not_allowed` if the route does not accept handshakes.
pub fn check<'r, U>(
    matched: Matched<'r, U>,
    asked: &RequestFacts<'_>,
) -> Result<(Permit<'r, WebSocketRules>, &'r U), Failure> {
    let Matched {
        route,
        note,
        routes,
        later,
    } = matched;
    let Some((forward, rules)) = route.websocket() else {
        return Err(no_websocket(route, routes, later, asked));
    };
    let mut notes: Vec<_> = note.into_iter().collect();
    match (admission::check(route, rules, asked), rules.enforcement) {
        (Ok(note), _) => notes.extend(note),
        (Err(failure), Enforcement::Enforce) => return Err(failure),
        (Err(failure), Enforcement::Report) => notes.push(would_refuse(&failure)),
    }
    check_subprotocols(rules, asked)?;
    if asked.query.is_some_and(|query| query.contains(&b'?')) {
        notes.push(NoteCode::QuerySecondQuestionMark.into());
    }
    let permit = Permit {
        rules,
        notes,
        referer_app_id: sole_app_id(asked.referers).map(str::to_owned),
    };
    Ok((permit, &forward.upstream))
}

/// Why `route` does not accept handshakes: the client meant another route, or this one lacks a setting.
fn no_websocket<U>(
    route: &Route<U>,
    routes: &[Route<U>],
    later: &[Route<U>],
    asked: &RequestFacts<'_>,
) -> Failure {
    let detail = format!("the route is {route}");
    let is_meant = |later: &&Route<U>| later.takes(asked) && later.websocket().is_some();
    if let Some(meant) = later.iter().find(is_meant) {
        return Failure::new(Reason::WebsocketNotAllowed, detail).with_hint(format!(
            "{meant} accepts handshakes, but {route} comes before it, and the first `routes[].path` that matches is used: move {meant} up"
        ));
    }
    let host = &asked.authority.host;
    if search::is_near(search::patterns(routes, host, true), asked.path, true) {
        return Failure::new(Reason::PathNearMiss, NEAR);
    }
    Failure::new(Reason::WebsocketNotAllowed, detail)
}

/// What happens to a permitted plain request.
#[derive(Debug)]
pub enum Plain<'r, U> {
    /// It may be sent to the route's upstream.
    Forward(Permit<'r, HttpRules>, &'r U),
    /// The proxy answers it.
    Respond(&'r Respond),
}

/// Checks the method of a plain request against the rules of its route.
///
/// # Errors
/// `plain_http_request` if the route accepts only opening handshakes, `http_method_not_allowed`.
pub fn check_plain<'r, U>(matched: Matched<'r, U>, method: &str) -> Result<Plain<'r, U>, Failure> {
    let Matched { route, note, .. } = matched;
    let refused = |allowed: String| {
        let detail = match words::METHODS.contains(&method) {
            true => format!("{method} is not one of {allowed} on route {route}"),
            false => format!("the method is not one of {allowed} on route {route}"),
        };
        Failure::new(Reason::HttpMethodNotAllowed, detail).allowing(allowed)
    };
    match &route.serves {
        Serves::Respond(_) if !Respond::METHODS.contains(&method) => {
            Err(refused(Respond::METHODS.join(", ")))
        }
        Serves::Respond(respond) => Ok(Plain::Respond(respond)),
        Serves::Forward(forward) => match forward.http.as_deref() {
            None => Err(Reason::PlainHttpRequest.into()),
            Some(rules) if !rules.allows(method) => Err(refused(rules.allowed())),
            Some(rules) => {
                let permit = Permit {
                    rules,
                    notes: note.into_iter().collect(),
                    referer_app_id: None,
                };
                Ok(Plain::Forward(permit, &forward.upstream))
            }
        },
    }
}

/// The route for the host and path of a request. Its rules have not been checked yet.
#[derive(Debug)]
pub struct Matched<'r, U> {
    /// The first route that matches.
    pub route: &'r Route<U>,
    /// The note of the host check.
    pub note: Option<Note>,
    /// All routes, to find the one that was meant.
    routes: &'r [Route<U>],
    /// The routes after it in the file.
    later: &'r [Route<U>],
}

/// The first route that matches host and path. Only its rules apply.
///
/// # Errors
/// A [`Failure`] with a reason of the policy stage. [`Search`] adds words when the record is written.
pub fn matching<'r, U>(
    routes: &'r [Route<U>],
    asked: &RequestFacts<'_>,
) -> Result<Matched<'r, U>, Failure> {
    check_host(routes, asked)?;
    let note = check_sni(routes, asked)?;
    let (route, later) = find_route(routes, asked)?;
    Ok(Matched {
        route,
        note,
        routes,
        later,
    })
}

/// Checks that some route is for the request's host.
///
/// # Errors
/// `host_not_allowed`.
pub fn check_host<U>(routes: &[Route<U>], asked: &RequestFacts<'_>) -> Result<(), Failure> {
    let host = &asked.authority.host;
    if routes.iter().any(|route| route.takes_host(host)) {
        return Ok(());
    }
    let detail = "no route has this Host";
    Err(Failure::new(Reason::HostNotAllowed, detail))
}

/// Compares the Host with the name for which the client verified the certificate (RFC 9110 section 7.4).
fn check_sni<U>(routes: &[Route<U>], asked: &RequestFacts<'_>) -> Result<Option<Note>, Failure> {
    let host = asked.authority.host.as_str();
    let differs = |sni: &&str| !host.is_empty() && !sni.eq_ignore_ascii_case(host);
    let Some(sni) = asked.sni.filter(differs) else {
        return Ok(None);
    };
    let is_ours = |name: &str| {
        let is_named = |route: &Route<U>| {
            route
                .host
                .as_ref()
                .is_some_and(|pattern| pattern.matches(name))
        };
        asked.certificate_names.covers(name) || routes.iter().any(is_named)
    };
    let foreign = match (is_ours(host), is_ours(&sni.to_ascii_lowercase())) {
        (true, true) => return Ok(Some(NoteCode::SniHostMismatch.into())),
        (false, _) => "Host",
        (true, false) => "TLS server name",
    };
    let detail = format!(
        "Host and TLS server name differ, and the {foreign} is not one of this proxy's names"
    );
    Err(Failure::new(Reason::HostNotAllowed, detail).with_hint(format!(
        "no certificate of this listener and no route has that {foreign}: if it is yours, add it as `routes[].host` \
         or to `listeners[].tls.certificates`; otherwise check the client, or the hop that rewrites Host"
    )))
}

/// The first route that matches, and the routes after it.
fn find_route<'r, U>(
    routes: &'r [Route<U>],
    asked: &RequestFacts<'_>,
) -> Result<(&'r Route<U>, &'r [Route<U>]), Failure> {
    let path = asked.path;
    if let Some(what) = path::ambiguity(path) {
        return Err(Failure::new(
            Reason::PathAmbiguous,
            format!("the path has {what}"),
        ));
    }
    if let Some(at) = routes.iter().position(|route| route.takes(asked))
        && let Some([route, later @ ..]) = routes.get(at..)
    {
        return Ok((route, later));
    }
    let mut patterns = search::patterns(routes, &asked.authority.host, asked.is_handshake);
    let is_near = match asked.is_handshake {
        true => search::is_near(patterns, path, false),
        // Names of pages often differ from each other by one or two letters.
        false => patterns.any(|pattern| pattern.respelled(path).is_some()),
    };
    Err(match is_near {
        true => Failure::new(Reason::PathNearMiss, NEAR),
        false => Failure::new(
            Reason::PathNotAllowed,
            "no route for this Host has this path",
        ),
    })
}

fn check_subprotocols(rules: &WebSocketRules, asked: &RequestFacts<'_>) -> Result<(), Failure> {
    let allowed = &rules.subprotocols;
    let offered = asked.subprotocols;
    if allowed.is_empty()
        || offered.is_empty()
        || offered
            .iter()
            .any(|name| allowed.iter().any(|own| own == name))
    {
        return Ok(());
    }
    let offered = offered.iter().map(|name| secrets::name(name).to_owned());
    let offered = enumerated(offered);
    let detail = format!(
        "offered {offered}, allowed {}",
        enumerated(allowed.iter().cloned())
    );
    Err(Failure::new(Reason::SubprotocolNotAllowed, detail))
}

fn would_refuse(failure: &Failure) -> Note {
    let code = failure.reason.code();
    let detail = failure
        .detail
        .as_ref()
        .map_or_else(|| code.to_owned(), |detail| format!("{code}: {detail}"));
    Note::new(NoteCode::WouldRefuse, detail)
}

/// The app id in a request's only Referer. If there are several, nobody knows which one WeChat set.
fn sole_app_id<'a>(referers: &[&'a [u8]]) -> Option<&'a str> {
    match referers {
        [referer] => wechat::referer_app_id(referer),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
