//! The answers of the services, by path and method, and which requests the admin service refuses.

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::process::Process;
use super::scrape;
use super::state::{Phase, State};
use super::status;
use crate::metrics::Text;

/// A short text.
pub type Body = Full<Bytes>;

/// The kinds of service, which answer different paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Health checks and metrics.
    Probes,
    /// Health checks, metrics, the status and drains.
    Admin,
}

/// The known paths.
#[derive(Clone, Copy)]
enum Path {
    Health,
    Ready,
    Metrics,
    Status,
    Drain,
}

impl Path {
    const ALL: [Self; 5] = [
        Self::Health,
        Self::Ready,
        Self::Metrics,
        Self::Status,
        Self::Drain,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
            Self::Status => "/status.json",
            Self::Drain => "/drain",
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Health | Self::Ready | Self::Metrics | Self::Status => "GET, HEAD",
            Self::Drain => "GET, HEAD, POST",
        }
    }
}

impl Service {
    /// The service's name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Probes => "probes",
            Self::Admin => "admin",
        }
    }

    fn paths(self) -> impl Iterator<Item = Path> {
        let paths = Path::ALL.into_iter();
        paths.filter(move |path| self == Self::Admin || !matches!(path, Path::Status | Path::Drain))
    }

    /// Answers a request; its body is ignored.
    pub(super) async fn answer<B>(self, request: &Request<B>, state: &State) -> Response<Body> {
        if self == Self::Admin
            && let Err(why) = is_from_no_page(request)
        {
            return text(StatusCode::FORBIDDEN, why);
        }
        let asked = request.uri().path();
        let Some(path) = self.paths().find(|path| path.name() == asked) else {
            return text(StatusCode::NOT_FOUND, self.directory());
        };
        match (path, request.method()) {
            (Path::Health, &Method::GET | &Method::HEAD) => text(StatusCode::OK, "ok: running"),
            (Path::Ready, &Method::GET | &Method::HEAD) => {
                let status = match state.phase() {
                    Phase::Ready => StatusCode::OK,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                text(status, state.to_string())
            }
            (Path::Metrics, &Method::GET | &Method::HEAD) => {
                let kind = HeaderValue::from_static(Text::CONTENT_TYPE);
                page(state, kind, |state| scrape::page(state, &Process::read())).await
            }
            (Path::Status, &Method::GET | &Method::HEAD) => {
                let kind = HeaderValue::from_static("application/json");
                page(state, kind, status::json).await
            }
            (Path::Drain, &Method::GET | &Method::HEAD) => text(StatusCode::OK, state.to_string()),
            (Path::Drain, &Method::POST) => {
                let is_first = state.ask().await;
                let status = match state.phase() {
                    Phase::Drained(_) => StatusCode::OK,
                    _ => StatusCode::ACCEPTED,
                };
                let before = if is_first { "" } else { " (asked for before)" };
                text(status, format!("{state}{before}"))
            }
            (path, _) => {
                let allowed = path.methods();
                let mut answer = text(
                    StatusCode::METHOD_NOT_ALLOWED,
                    format!("{} takes {allowed}", path.name()),
                );
                let fields = answer.headers_mut();
                fields.insert(ALLOW, HeaderValue::from_static(allowed));
                answer
            }
        }
    }

    fn directory(self) -> String {
        let mut text = "not found; the paths are:".to_owned();
        for path in self.paths() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {} {}", path.methods(), path.name());
        }
        text
    }
}

/// Refuses requests from web pages: a page in a browser on this machine can reach loopback addresses too. But it can't
/// omit the Origin of a POST, and a page whose name was made to resolve to this machine (DNS rebinding) can't omit that
/// name.
fn is_from_no_page<B>(request: &Request<B>) -> Result<(), String> {
    if request.headers().contains_key(ORIGIN) {
        return Err("refused: the request has an Origin, so it comes from a web page".to_owned());
    }
    let in_target = request.uri().authority().cloned();
    let fields = request.headers().get_all(HOST).iter();
    let in_fields = fields.map(|value| Authority::try_from(value.as_bytes()).ok());
    let mut is_named = false;
    for host in in_target.map(Some).into_iter().chain(in_fields) {
        is_named = true;
        if !host.is_some_and(|host| is_local_name(host.host())) {
            return Err(
                "refused: the Host is neither an IP address nor localhost; call the service by its address"
                    .to_owned(),
            );
        }
    }
    if is_named {
        Ok(())
    } else {
        Err("refused: the request has no Host".to_owned())
    }
}

fn is_local_name(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost") || bare.unwrap_or(host).parse::<IpAddr>().is_ok()
}

/// What `make` says of the state.
async fn page(
    state: &State,
    kind: HeaderValue,
    make: impl FnOnce(&State) -> String + Send + 'static,
) -> Response<Body> {
    let state = state.clone();
    // With thousands of routes or tunnels this takes long enough to delay tunnels.
    let page = tokio::task::spawn_blocking(move || make(&state)).await;
    let Ok(page) = page else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the process is ending");
    };
    let mut answer = Response::new(Full::new(Bytes::from(page)));
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    secured(answer)
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<Body> {
    let mut body = body.into();
    body.push('\n');
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    secured(answer)
}

/// Keeps the answer out of caches, and keeps browsers from guessing its type.
fn secured(mut answer: Response<Body>) -> Response<Body> {
    let fields = answer.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_names_of_this_machine() {
        for (target, fields, is_fine) in [
            ("/drain", &["127.0.0.1:9901"][..], true),
            ("/drain", &["[::1]:9901"], true),
            ("/drain", &["localhost"], true),
            ("/drain", &["LOCALHOST:80"], true),
            ("/drain", &["10.0.0.7:9901"], true),
            ("http://127.0.0.1:9901/drain", &["127.0.0.1:9901"], true),
            ("/drain", &["evil.example.com"], false),
            ("/drain", &["localhost.evil.example.com"], false),
            ("/drain", &["127.0.0.1.evil.example.com"], false),
            ("/drain", &["127.0.0.1", "evil.example.com"], false),
            ("http://evil.example.com/drain", &["127.0.0.1"], false),
            ("/drain", &[""], false),
            ("/drain", &["a b"], false),
            ("/drain", &[], false),
        ] {
            let mut request = Request::post(target);
            for value in fields {
                request = request.header(HOST, *value);
            }
            let request = request.body(()).unwrap();
            let judged = is_from_no_page(&request);
            assert_eq!(judged.is_ok(), is_fine, "{target} {fields:?}");
        }
    }
}
