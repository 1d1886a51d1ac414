//! Whether a route admits the Origin and the Referer of a request (RFC 6455 sections 4.2.1 and 10.2).

use super::origin::{Origin, OriginPattern, Tuple};
use super::wechat::{is_of_wechat, referer_app_id};
use super::{HostPattern, MissingOrigin, OriginRule, RequestFacts, Route, WebSocketRules};
use crate::reason::{Failure, Note, NoteCode, Reason};
use crate::text::enumerated;

/// Checks Origin and Referer against the rules of `route`, whether or not they are enforced. Returns a remark about an
/// admitted request.
///
/// # Errors
/// A [`Failure`] with one of the `origin_…` reasons or [`Reason::RefererAppidMismatch`].
pub(super) fn check<U>(
    route: &Route<U>,
    rules: &WebSocketRules,
    asked: &RequestFacts<'_>,
) -> Result<Option<Note>, Failure> {
    let value = match asked.origins {
        [] => return check_missing(rules, asked).map(|()| None),
        [value] => *value,
        several => {
            return Err(Failure::new(
                Reason::OriginMultiple,
                format!("{} Origin fields", several.len()),
            ));
        }
    };
    let origin = match Origin::parse(value) {
        Ok(Origin::Null) => return Err(Failure::new(Reason::OriginNull, "the Origin is null")),
        Ok(origin) => origin,
        Err(what) => {
            return Err(Failure::new(
                Reason::OriginMalformed,
                format!("the Origin {what}"),
            ));
        }
    };
    if !rules
        .origins
        .iter()
        .any(|rule| admits(rule, &origin, route, asked))
    {
        return Err(not_allowed(&origin, route, rules));
    }
    // This also applies if another entry lists the same Origin: a list of app ids means that all others are refused.
    let preset = OriginRule::Wechat;
    if rules.origins.contains(&preset) && admits(&preset, &origin, route, asked) {
        if origin.is_wechat() {
            return check_wechat(rules, asked);
        }
        check_app_ids(rules, asked)?;
    }
    Ok(None)
}

/// Checks the Referer of a request whose Origin all mini programs share. If there is one, it must name a listed app.
fn check_wechat(rules: &WebSocketRules, asked: &RequestFacts<'_>) -> Result<Option<Note>, Failure> {
    check_app_ids(rules, asked)?;
    let detail = match asked.referers {
        [] => return Ok(Some(NoteCode::WechatRefererMissing.into())),
        [referer] if referer_app_id(referer).is_some() => return Ok(None),
        [referer] if is_of_wechat(referer) => {
            "the Referer of WeChat does not name an app id".to_owned()
        }
        [_] => "the Referer is from a site other than WeChat's".to_owned(),
        several => format!("{} Referer fields, but WeChat sends one", several.len()),
    };
    Err(
        Failure::new(Reason::RefererAppidMismatch, detail).with_hint(
            "WeChat's clients send one Referer, https://servicewechat.com/{app id}/…, or do not send it: this is \
             another client with their Origin, or a hop rewrites Referer; if the client is yours, let it send a \
             different Origin and list that in `routes[].websocket.origins`",
        ),
    )
}

fn check_missing(rules: &WebSocketRules, asked: &RequestFacts<'_>) -> Result<(), Failure> {
    if rules.missing_origin == MissingOrigin::Allow {
        return Ok(());
    }
    let app_id = super::sole_app_id(asked.referers);
    if rules.origins.contains(&OriginRule::Wechat) {
        check_app_ids(rules, asked)?;
        if app_id.is_some() {
            return Ok(());
        }
        let found = match asked.referers.len() {
            0 => "no Referer with a WeChat app id",
            1 => "the Referer does not name a WeChat app id",
            _ => "more than one Referer",
        };
        return Err(Failure::new(
            Reason::OriginMissing,
            format!("no Origin, and {found}"),
        ));
    }
    Err(match app_id {
        Some(id) => Failure::new(
            Reason::OriginMissing,
            format!("no Origin; the Referer names the WeChat app id {id}"),
        )
        .with_hint(format!(
            "if the mini program {id} is yours, add wechat to `routes[].websocket.origins` \
                 and its id to `routes[].websocket.wechat_app_ids`"
        )),
        None => Failure::new(Reason::OriginMissing, "no Origin"),
    })
}

/// Refuses a Referer that names an app id which the route does not list.
fn check_app_ids(rules: &WebSocketRules, asked: &RequestFacts<'_>) -> Result<(), Failure> {
    let listed = &rules.wechat_app_ids;
    let is_foreign = |id: &&str| !listed.iter().any(|own| own == id);
    let mut ids = asked
        .referers
        .iter()
        .filter_map(|referer| referer_app_id(referer));
    match ids.find(is_foreign) {
        Some(foreign) => Err(Failure::new(
            Reason::RefererAppidMismatch,
            format!(
                "app id {foreign} is not one of {}",
                enumerated(listed.iter().cloned())
            ),
        )),
        None => Ok(()),
    }
}

fn admits<U>(
    rule: &OriginRule,
    origin: &Origin,
    route: &Route<U>,
    asked: &RequestFacts<'_>,
) -> bool {
    match rule {
        OriginRule::Listed(pattern) => pattern.matches(origin),
        OriginRule::SameHost => is_own(origin, route, asked),
        // Older iOS clients send the origin of the URL that they dial.
        OriginRule::Wechat => origin.is_wechat() || is_own(origin, route, asked),
    }
}

/// Whether `origin` is a page of the route's own host. The request's Host only says on which port: hops rewrite it.
fn is_own<U>(origin: &Origin, route: &Route<U>, asked: &RequestFacts<'_>) -> bool {
    let (Origin::Tuple(tuple), Some(own)) = (origin, own_origin(route)) else {
        return false;
    };
    let Tuple { scheme, port, .. } = tuple;
    let is_scheme = scheme == "https" || (scheme == "http" && !asked.secure);
    // `port` is None for the default port even if it was written out; the authority keeps a default port.
    let is_port = port.is_none_or(|port| Some(port) == asked.authority.port);
    is_scheme && is_port && own.has_host_of(tuple)
}

/// The origin that `self` stands for, if the route has an exact host.
fn own_origin<U>(route: &Route<U>) -> Option<OriginPattern> {
    match &route.host {
        Some(HostPattern::Exact(host)) => Some(OriginPattern::https(host)),
        Some(HostPattern::Wildcard(_)) | None => None,
    }
}

fn not_allowed<U>(origin: &Origin, route: &Route<U>, rules: &WebSocketRules) -> Failure {
    let rules = &rules.origins;
    let own = own_origin(route);
    let written = rules.iter().map(|rule| match (rule, &own) {
        (OriginRule::SameHost, Some(own)) => format!("self ({own})"),
        _ => rule.to_string(),
    });
    let detail = format!("the Origin is not one of {}", enumerated(written));
    let failure = Failure::new(Reason::OriginNotAllowed, detail);
    if origin.is_wechat() {
        return failure.with_hint(
            "this is the Origin of WeChat's clients: add wechat to `routes[].websocket.origins` \
             and your app id to `routes[].websocket.wechat_app_ids`",
        );
    }
    let near = rules.iter().find_map(|rule| {
        let pattern = match rule {
            OriginRule::Listed(pattern) => pattern,
            OriginRule::SameHost | OriginRule::Wechat => own.as_ref()?,
        };
        pattern.difference(origin).map(|parts| (pattern, parts))
    });
    match near {
        Some((pattern, parts)) => failure.with_hint(format!(
            "it differs from {pattern} only in its {parts}: open the page there, or add this origin to \
             `routes[].websocket.origins`"
        )),
        None => failure,
    }
}
