//! Kept connections that wait for the next plain request, per endpoint.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderName};
use tokio::time::{Instant, sleep_until};

use super::line::Line;
use crate::http::fields::tokens;

/// The most connections that are kept for one endpoint: more than a sidecar's backend serves at the same time.
const KEPT_MAX: usize = 64;

/// How long a connection is kept if the upstream does not say how long it keeps its end. This is shorter than the
/// shortest common default (5 s, Node), because a request that crosses with the upstream's close is lost.
const KEPT_FOR: Duration = Duration::from_secs(4);

/// The longest time that an upstream can ask for.
const LONGEST: Duration = Duration::from_secs(60);

/// How much earlier than the upstream the proxy closes a connection.
const MARGIN: Duration = Duration::from_secs(1);

/// The waiting connections of one endpoint. The one used last is at the end.
#[derive(Default)]
pub(super) struct Idle(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    waiting: Vec<(Instant, Line)>,
    is_watched: bool,
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").finish_non_exhaustive()
    }
}

impl Idle {
    /// The connection used last that can carry another request.
    pub fn take(&self) -> Option<Line> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((until, mut line)) = state.waiting.pop() {
            if until > Instant::now() && line.is_free() {
                return Some(line);
            }
        }
        None
    }

    /// Keeps a connection for `lifetime`.
    pub fn keep(self: &Arc<Self>, line: Line, lifetime: Duration) {
        let until = Instant::now() + lifetime;
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waiting.len() >= KEPT_MAX {
            state.waiting.remove(0);
        }
        state.waiting.push((until, line));
        if !std::mem::replace(&mut state.is_watched, true) {
            let idle = Arc::downgrade(self);
            tokio::spawn(async move {
                let mut next = until;
                loop {
                    sleep_until(next).await;
                    match idle.upgrade().and_then(|idle| idle.sweep()) {
                        Some(instant) => next = instant,
                        None => return,
                    }
                }
            });
        }
    }

    /// Drops expired connections; returns when the next one expires.
    fn sweep(&self) -> Option<Instant> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state
            .waiting
            .retain_mut(|(until, line)| *until > now && line.is_free());
        let next = state.waiting.iter().map(|(until, _)| *until).min();
        state.is_watched = next.is_some();
        next
    }
}

/// Whether a request's Authorization or an answer's WWW-Authenticate is part of a login for the whole connection
/// instead of one request (RFC 4559 section 6 and NTLM, both against RFC 9110 section 11.6.2). The next client on such
/// a connection would be logged in as the first one.
pub(super) fn is_login(fields: &HeaderMap, name: &HeaderName) -> bool {
    tokens(fields, name).any(|member| {
        let scheme = member
            .split(|&byte| byte == b' ')
            .next()
            .unwrap_or_default();
        let is = |scheme_of_connections: &str| {
            scheme.eq_ignore_ascii_case(scheme_of_connections.as_bytes())
        };
        is("NTLM") || is("Negotiate")
    })
}

/// How long a connection may wait for its next request, according to the upstream's answer; `None`: not at all.
/// `Keep-Alive: timeout=5` is what Node, Apache and others send next to Connection. `asked_login`: the request
/// [`is_login`].
pub(super) fn lifetime(asked_login: bool, fields: &HeaderMap) -> Option<Duration> {
    if asked_login || is_login(fields, &WWW_AUTHENTICATE) {
        return None;
    }
    let name = HeaderName::from_static("keep-alive");
    let said = tokens(fields, &name).find_map(|member| {
        let member = std::str::from_utf8(member).ok()?;
        let (name, value) = member.split_once('=')?;
        let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
        is_timeout.then(|| value.trim().parse().ok())?
    });
    match said {
        None => Some(KEPT_FOR),
        Some(seconds) => Duration::from_secs(seconds)
            .min(LONGEST)
            .checked_sub(MARGIN)
            .filter(|left| !left.is_zero()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstreams_own_timeout_is_kept_below() {
        for (said, expected) in [
            (None, Some(4)),
            (Some("timeout=5"), Some(4)),
            (Some("max=100, Timeout = 20"), Some(19)),
            (Some("timeout=3600"), Some(59)),
            (Some("timeout=1"), None),
            (Some("timeout=0"), None),
            (Some("timeout=soon"), Some(4)),
        ] {
            let mut fields = HeaderMap::new();
            if let Some(said) = said {
                fields.insert("keep-alive", said.parse().unwrap());
            }
            assert_eq!(
                lifetime(false, &fields),
                expected.map(Duration::from_secs),
                "{said:?}"
            );
        }
    }
}
