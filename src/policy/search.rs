//! Finds the route that was probably meant by a request that no route accepts.
//!
//! Whether a path is a near miss decides the reason. Therefore every request is checked for it, with bounded work.
//! Everything else is text for the record, and is searched for only when a record is written.

use std::collections::BTreeSet;

use super::path::{ambiguity, compared, nearest};
use super::{PathPattern, RequestFacts, Route};
use crate::reason::{Failure, Reason, Words};
use crate::text::enumerated;

/// The patterns of the routes for `host` (lower case); for a handshake only those of WebSocket routes.
pub(super) fn patterns<'r, U>(
    routes: &'r [Route<U>],
    host: &str,
    is_handshake: bool,
) -> impl Iterator<Item = &'r PathPattern> {
    routes
        .iter()
        .filter(move |route| {
            route.takes_host(host) && (!is_handshake || route.websocket().is_some())
        })
        .map(|route| &route.path)
}

/// Whether `path` is near one of `patterns`.
///
/// A prefix without its slash counts only if another route matches the path (`is_taken`), because there is then nothing
/// better to say. Otherwise it lies outside the boundary that the prefix sets.
pub(super) fn is_near<'p>(
    patterns: impl Iterator<Item = &'p PathPattern>,
    path: &[u8],
    is_taken: bool,
) -> bool {
    compared(patterns, path).any(|pattern| {
        pattern
            .near(path)
            .is_some_and(|near| is_taken || !near.is_above())
    })
}

/// A search for the hint that a refusal does not have yet.
#[derive(Debug)]
pub struct Search {
    reason: Reason,
    host: String,
    path: Vec<u8>,
    is_handshake: bool,
}

impl Search {
    /// The search for words about `failure`, if the routes may give any.
    #[must_use]
    pub fn after(failure: &Failure, asked: &RequestFacts<'_>) -> Option<Self> {
        let is_searched = matches!(
            failure.reason,
            Reason::HostNotAllowed
                | Reason::PathNotAllowed
                | Reason::PathNearMiss
                | Reason::PathAmbiguous
                | Reason::WebsocketNotAllowed
        );
        // An existing hint fits better.
        (is_searched && failure.hint.is_none()).then(|| Self {
            reason: failure.reason,
            host: asked.authority.host.clone(),
            path: asked.path.to_vec(),
            is_handshake: asked.is_handshake,
        })
    }

    /// Searches `routes`. The work is linear in the number of routes, and bounded for each byte of the path.
    #[must_use]
    pub fn words<U>(&self, routes: &[Route<U>]) -> Words {
        match self.reason {
            Reason::HostNotAllowed => self.hosts(routes),
            Reason::PathNearMiss => self.near_miss(routes),
            Reason::PathAmbiguous => self.doubled_slashes(routes),
            Reason::WebsocketNotAllowed => Words::hint(self.nearest(routes).map(|pattern| {
                format!(
                    "the nearest route that accepts handshakes is {pattern}: correct the client's URL, or add `routes[].websocket` to the route"
                )
            })),
            _ => self.elsewhere(routes).unwrap_or_else(|| {
                Words::hint(self.nearest(routes).map(|pattern| {
                    format!(
                        "the nearest route is {pattern}: correct the client's URL, or add a route with this `routes[].path`"
                    )
                }))
            }),
        }
    }

    fn patterns<'r, U>(&self, routes: &'r [Route<U>]) -> impl Iterator<Item = &'r PathPattern> {
        patterns(routes, &self.host, self.is_handshake)
    }

    fn nearest<'r, U>(&self, routes: &'r [Route<U>]) -> Option<&'r PathPattern> {
        nearest(self.patterns(routes), &self.path)
    }

    fn hosts<U>(&self, routes: &[Route<U>]) -> Words {
        let own: BTreeSet<_> = routes
            .iter()
            .filter_map(|route| route.host.as_ref())
            .map(ToString::to_string)
            .collect();
        Words {
            detail: Some(format!("the Host is not one of {}", enumerated(own))),
            hint: None,
        }
    }

    fn near_miss<U>(&self, routes: &[Route<U>]) -> Words {
        let path = self.path.as_slice();
        let is_here = |route: &&Route<U>| route.takes_host(&self.host) && route.path.matches(path);
        let taken = routes.iter().find(is_here);
        let near = |pattern: &PathPattern| match self.is_handshake {
            true => pattern
                .near(path)
                .filter(|near| taken.is_some() || !near.is_above()),
            false => pattern.respelled(path),
        };
        let found = compared(self.patterns(routes), path)
            .filter_map(|pattern| Some((near(pattern)?, pattern)))
            .min_by_key(|(near, _)| *near);
        let Some((near, pattern)) = found else {
            return Words::default();
        };
        let detail = match taken {
            Some(taken) => {
                format!("the WebSocket route is {pattern}, and {taken} does not accept handshakes")
            }
            None => format!("the route is {pattern}"),
        };
        let hint = format!(
            "in the client's URL {}, as in {pattern}, or change `routes[].path`; handshakes are never redirected",
            near.change()
        );
        Words {
            detail: Some(detail),
            hint: Some(hint),
        }
    }

    /// Words for a path that is ambiguous only because of doubled slashes.
    fn doubled_slashes<U>(&self, routes: &[Route<U>]) -> Words {
        let mut single = self.path.clone();
        single.dedup_by(|next, before| (*next, *before) == (b'/', b'/'));
        if single.len() == self.path.len() || ambiguity(&single).is_some() {
            return Words::default();
        }
        let found = compared(self.patterns(routes), &single)
            .find(|pattern| pattern.matches(&single))
            .or_else(|| nearest(self.patterns(routes), &single));
        Words::hint(found.map(|pattern| {
            format!(
                "in the client's URL write a single slash instead of several, as in {pattern}: a base URL that ends with a slash often doubles it; `routes[].path` has no empty segments"
            )
        }))
    }

    /// The hint for a request whose path has a route, but only for another Host.
    fn elsewhere<U>(&self, routes: &[Route<U>]) -> Option<Words> {
        let matching = routes.iter().filter(|route| route.path.matches(&self.path));
        let hosts: BTreeSet<_> = matching
            .filter_map(|route| Some(route.host.as_ref()?.to_string()))
            .collect();
        if hosts.is_empty() {
            return None;
        }
        let detail = format!("the routes with this path are for {}", enumerated(hosts));
        let hint = "if clients may use this Host, add a route with it as `routes[].host`; otherwise correct the client's URL, \
                    DNS, or the Host that the load balancer sends";
        Some(Words {
            detail: Some(detail),
            hint: Some(hint.to_owned()),
        })
    }
}
