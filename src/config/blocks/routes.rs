//! `routes`: which requests are accepted. The policy's own types parse the values.

mod http;
mod respond;
mod websocket;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::super::cursor::Cursor;
use super::super::fields::Fields;
use super::super::key::{AnyKey, Form, Key, Nothing, Required, Section, keys};
use super::super::problem::Complaint;
use super::super::report::Report;
use super::super::value::Text;
use super::ROOT;
use super::upstreams::{Endpoint, Upstreams};
use crate::policy::{Forward, HostPattern, PathPattern, Route, Serves};
use http::HttpKeys;
use respond::RespondKeys;
use websocket::WebSocketKeys;

keys! {
    pub(super) static ROUTE: RouteKeys {
        /// The request's host: an exact name, or `*.example.com` for names with exactly one more label.
        host: Key<HostPattern, Nothing> = &Text::parsed("host name", "a host name", host), Nothing("any");
        /// The request's path, compared byte by byte. `/public/*` matches everything below `/public/`. A handshake whose
        /// path is close to it (letter case, slashes, or at most 2 edits and a quarter of the length) is refused with
        /// `path_near_miss`, and the record names the route.
        path: Key<PathPattern, Required> = &Text::parsed("path", "a path such as /stream", path), Required;
        /// The rules for opening handshakes. Without this key the route does not accept any.
        websocket: Section = Form::OptionalMapping, WebSocketKeys::BLOCK;
        /// The rules for plain requests; `{}` means the defaults. Without this key the route does not accept any. May be
        /// combined with `websocket`.
        http: Section = Form::OptionalMapping, HttpKeys::BLOCK;
        /// The proxy answers GET, HEAD and OPTIONS itself, without an upstream. Not allowed together with `websocket`,
        /// `http` or `upstream`.
        respond: Section = Form::OptionalMapping, RespondKeys::BLOCK;
        /// A name in `upstreams`; required with `websocket` and `http`.
        upstream: Key<String, Nothing> = &Text::any("name", "a name of upstreams"), Nothing("none");
    }
}

/// `routes[].host`.
enum Host {
    Any,
    Only(HostPattern),
    Unreadable,
}

/// The routes that could be read, which claim their upstreams; `top` are the fields of the file. `None`: the key is missing.
pub(super) fn read(
    top: &Fields<'_>,
    upstreams: &mut Upstreams<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<Route>> {
    let items = top.get(&ROOT.routes)?.mappings(report);
    let mut routes = Vec::new();
    let mut seen: HashMap<(Option<HostPattern>, String), String> = HashMap::new();
    if items.is_none() {
        upstreams.claim_unclear();
    }
    for item in items.unwrap_or_default() {
        let Some(fields) = item.fields(RouteKeys::BLOCK, report) else {
            upstreams.claim_unclear();
            continue;
        };
        let host = match fields.given(&ROUTE.host, report) {
            None => Host::Any,
            Some(Some(pattern)) => Host::Only(pattern),
            Some(None) => Host::Unreadable,
        };
        let path = fields.read(&ROUTE.path, report);
        let serves = serves(&item, &fields, &host, upstreams, report);
        let known_host = match host {
            Host::Any => Some(None),
            Host::Only(pattern) => Some(Some(pattern)),
            Host::Unreadable => None,
        };
        let Some(path) = path else {
            continue;
        };
        if let Some(host) = known_host.clone() {
            match seen.entry((host, path.to_string())) {
                Entry::Occupied(first) => {
                    let message = format!("found the host and path of {} again", first.get());
                    let help = "the first route that matches is used: put this websocket or http on that route";
                    let cursor = fields.get(&ROUTE.path).unwrap_or(&item);
                    cursor.error(report, Complaint::new(message).help(help));
                }
                Entry::Vacant(place) => {
                    place.insert(item.site.clone());
                }
            }
        }
        routes.extend(serves.map(|serves| Route {
            host: known_host.flatten(),
            path,
            serves,
        }));
    }
    Some(routes)
}

/// What the route does with requests: its keys exclude or need each other.
fn serves(
    item: &Cursor<'_>,
    fields: &Fields<'_>,
    host: &Host,
    upstreams: &mut Upstreams<'_>,
    report: &mut Report<'_>,
) -> Option<Serves> {
    if fields.get(&ROUTE.respond).is_some() {
        let others: [&dyn AnyKey; 3] = [&ROUTE.websocket, &ROUTE.http, &ROUTE.upstream];
        for other in others.iter().filter_map(|key| fields.get(*key)) {
            let message = "found it next to respond, which answers without an upstream";
            other.key_error(
                report,
                Complaint::new(message).help("remove one of the two"),
            );
        }
        let respond = respond::read(fields, report)?;
        return Some(Serves::Respond(Arc::new(respond)));
    }
    let websocket = websocket::read(fields, host, report);
    let http = http::read(fields, report);
    let forwards = fields.is_meant(&ROUTE.websocket) || fields.is_meant(&ROUTE.http);
    if !forwards && !fields.is_meant(&ROUTE.respond) {
        let message = "missing one of the keys \"websocket\", \"http\" and \"respond\"";
        let help = "write websocket for opening handshakes, http for plain requests, both, or respond if the proxy \
                    itself answers";
        item.error(report, Complaint::new(message).help(help));
    }
    let Some((upstream, cursor)) = fields
        .read(&ROUTE.upstream, report)
        .zip(fields.get(&ROUTE.upstream))
    else {
        upstreams.claim_unclear();
        if forwards && !fields.is_meant(&ROUTE.upstream) {
            item.error(report, "missing required key \"upstream\"");
        }
        return None;
    };
    upstreams.claim(cursor, &upstream, report);
    let settings = upstreams.read.get(&upstream);
    let is_echo = settings.is_some_and(|upstream| upstream.endpoints.contains(&Endpoint::Echo));
    if let (Some(cursor), true) = (fields.get(&ROUTE.http), is_echo) {
        let message = format!(
            "found it with upstream {upstream}, whose builtin:echo answers only opening handshakes"
        );
        let help = "name an upstream that speaks HTTP";
        cursor.key_error(report, Complaint::new(message).help(help));
    }
    (websocket.is_some() || http.is_some()).then(|| {
        Serves::Forward(Forward {
            upstream,
            websocket: websocket.map(Arc::new),
            http: http.map(Arc::new),
        })
    })
}

fn host(text: &str) -> Result<HostPattern, Complaint> {
    HostPattern::parse(text).map_err(Complaint::new)
}

fn path(text: &str) -> Result<PathPattern, Complaint> {
    PathPattern::parse(text).map_err(Complaint::new)
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(crate::text::is_token)
}
