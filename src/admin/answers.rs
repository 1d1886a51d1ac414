//! The answers of the services, by path and method.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};

use super::CONNECTIONS;
use super::events::{self, Events, Streaming};
use super::guard;
use super::page::{self, FILES, File};
use super::process::Process;
use super::query::{Query, decoded};
use super::scrape;
use super::state::{Phase, STREAMS, State};
use super::status;
use crate::metrics::Text;
use crate::record::Asked;
use crate::text::Language;

/// A text, or a stream of events.
pub type Body = Either<Full<Bytes>, Events>;

/// The field with the token of the page.
const TOKEN: HeaderName = HeaderName::from_static("x-wsgate-token");

/// The longest name of an operator in a record, in characters.
const NAME: usize = 64;

/// How many streams an answer lists.
const NAMED: usize = 20;

/// The kinds of service, which answer different paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Health checks and metrics.
    Probes,
    /// Health checks, metrics, what happens now, and drains.
    Admin,
}

/// The known paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Health,
    Ready,
    Metrics,
    File(&'static File),
    Status,
    Events,
    Vocabulary,
    Close,
    Drain,
}

impl Path {
    /// All paths but those of files.
    const NAMED: [Self; 8] = [
        Self::Health,
        Self::Ready,
        Self::Metrics,
        Self::Status,
        Self::Events,
        Self::Vocabulary,
        Self::Close,
        Self::Drain,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
            Self::File(file) => file.path,
            Self::Status => "/status.json",
            Self::Events => "/events",
            Self::Vocabulary => "/vocabulary.json",
            Self::Close => "/close",
            Self::Drain => "/drain",
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Events => "GET",
            Self::Close => "POST",
            Self::Drain => "GET, HEAD, POST",
            _ => "GET, HEAD",
        }
    }

    const fn is_public(self) -> bool {
        matches!(self, Self::Health | Self::Ready | Self::Metrics)
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

    /// The most connections that it has open.
    #[must_use]
    pub const fn connections(self) -> usize {
        match self {
            Self::Probes => CONNECTIONS,
            Self::Admin => CONNECTIONS + STREAMS,
        }
    }

    fn paths(self) -> impl Iterator<Item = Path> {
        let paths = Path::NAMED.into_iter().chain(FILES.iter().map(Path::File));
        paths.filter(move |path| self == Self::Admin || path.is_public())
    }

    /// Answers a request; its body is ignored. `streaming` is that of its connection, and `peer` the sender.
    pub(super) async fn answer<B>(
        self,
        request: &Request<B>,
        state: &State,
        streaming: &Streaming,
        peer: &str,
    ) -> Response<Body> {
        let asked = request.uri().path();
        let path = self.paths().find(|path| path.name() == asked);
        if self == Self::Admin {
            let generation = state.generation();
            let hosts = generation.config.admin.as_ref().map(|admin| &*admin.hosts);
            let is_for_programs = path == Some(Path::Drain);
            if let Err(why) = guard::refusal(request, hosts.unwrap_or_default(), is_for_programs) {
                return text(StatusCode::FORBIDDEN, why);
            }
        }
        let Some(path) = path else {
            return text(StatusCode::NOT_FOUND, self.directory());
        };
        let method = request.method().as_str();
        if !path.methods().split(", ").any(|known| known == method) {
            let allowed = path.methods();
            let mut answer = text(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{} takes {allowed}", path.name()),
            );
            let fields = answer.headers_mut();
            fields.insert(ALLOW, HeaderValue::from_static(allowed));
            return answer;
        }
        match path {
            Path::Health => text(StatusCode::OK, "ok: running"),
            Path::Ready => {
                let status = match state.phase() {
                    Phase::Ready => StatusCode::OK,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                text(status, state.to_string())
            }
            Path::Metrics => {
                made(state, Text::CONTENT_TYPE, |state| {
                    scrape::page(state, &Process::read())
                })
                .await
            }
            Path::File(file) => {
                let mut answer = document(file.content(state.token().as_deref()), file.kind);
                page::confine(answer.headers_mut());
                answer
            }
            Path::Status => match queried(request) {
                Ok(query) => {
                    let make = move |state: &State| status::json(state, &query, 0).0 + "\n";
                    made(state, JSON, make).await
                }
                Err(why) => text(StatusCode::BAD_REQUEST, why),
            },
            Path::Events => stream(request, state, streaming),
            Path::Vocabulary => match parameter(request, "lang").as_deref().map(str::parse) {
                None => document(page::vocabulary(Language::En), JSON),
                Some(Ok(language)) => document(page::vocabulary(language), JSON),
                Some(Err(why)) => text(StatusCode::BAD_REQUEST, format!("lang: {why}")),
            },
            Path::Close => close(request, state, peer),
            Path::Drain if request.method() == Method::POST => {
                let is_first = state.ask().await;
                let status = match state.phase() {
                    Phase::Drained(_) => StatusCode::OK,
                    _ => StatusCode::ACCEPTED,
                };
                let before = if is_first { "" } else { " (asked for before)" };
                text(status, format!("{state}{before}"))
            }
            Path::Drain => text(StatusCode::OK, state.to_string()),
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

const JSON: &str = "application/json";

fn queried<B>(request: &Request<B>) -> Result<Query, String> {
    Query::read(request.uri().query().unwrap_or_default())
}

/// The first parameter of the query with this name.
fn parameter<B>(request: &Request<B>, name: &str) -> Option<String> {
    let mut pairs = request.uri().query()?.split('&');
    let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.map(decoded)
}

fn stream<B>(request: &Request<B>, state: &State, streaming: &Streaming) -> Response<Body> {
    let query = match queried(request) {
        Ok(query) => query,
        Err(why) => return text(StatusCode::BAD_REQUEST, why),
    };
    let Some(events) = events::open(state, query, streaming) else {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "{STREAMS} event streams are open, and there may not be more; close a page, or read /status.json"
            ),
        );
    };
    let mut answer = Response::new(Either::Right(events));
    let kind = HeaderValue::from_static("text/event-stream");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    secured(answer)
}

/// Asks one tunnel to close, for a page that knows the token.
fn close<B>(request: &Request<B>, state: &State, peer: &str) -> Response<Body> {
    let Some(token) = state.token() else {
        return text(
            StatusCode::FORBIDDEN,
            "tunnels can't be closed here, because admin.address is not a loopback address",
        );
    };
    let mut shown = request.headers().get_all(TOKEN).iter();
    let is_known =
        matches!((shown.next(), shown.next()), (Some(one), None) if is_same(one, &token));
    if !is_known {
        return text(
            StatusCode::FORBIDDEN,
            "refused: x-wsgate-token is not the token of this process; load the page again",
        );
    }
    let Some(conn) = parameter(request, "conn").filter(|conn| !conn.is_empty()) else {
        return text(StatusCode::BAD_REQUEST, "the parameter conn is missing");
    };
    let stream_id = match parameter(request, "stream_id").filter(|id| !id.is_empty()) {
        None => None,
        Some(id) => match id.parse() {
            Ok(id) => Some(id),
            Err(_) => {
                let why = format!("stream_id must be a number such as 5, found {id:?}");
                return text(StatusCode::BAD_REQUEST, why);
            }
        },
    };
    let name = parameter(request, "name").unwrap_or_default();
    // Letters of every language, but nothing that could be taken for another part of the record.
    let is_plain = |c: &char| c.is_alphanumeric() || " .-_@'".contains(*c);
    let name: String = name.chars().filter(is_plain).take(NAME).collect();
    let who = match name.trim() {
        "" => format!("asked for on the admin listener by {peer}"),
        name => format!("asked for on the admin listener by {name}, from {peer}"),
    };
    match state.tunnels().close(&conn, stream_id, &who) {
        Asked::Closing => text(StatusCode::ACCEPTED, "the tunnel was asked to close"),
        Asked::Absent => {
            let with = match stream_id {
                None => "this conn",
                Some(_) => "this conn and stream_id",
            };
            let why = format!(
                "there is not an open tunnel with {with}; it may have ended, or opened before admin was configured"
            );
            text(StatusCode::NOT_FOUND, why)
        }
        Asked::Unclear(streams) => text(StatusCode::BAD_REQUEST, unclear(&streams)),
    }
}

/// Says what is missing to close one tunnel of an HTTP/2 connection.
fn unclear(streams: &[u32]) -> String {
    let named: Vec<_> = streams.iter().take(NAMED).map(u32::to_string).collect();
    let more = if streams.len() > NAMED { ", …" } else { "" };
    format!(
        "this conn is an HTTP/2 connection, which may have several tunnels: add stream_id to say which one closes; it has {} {}{more}",
        match streams.len() {
            1 => "a tunnel on stream",
            _ => "tunnels on the streams",
        },
        named.join(", ")
    )
}

/// Compares in a time that does not depend on the content.
fn is_same(shown: &HeaderValue, token: &str) -> bool {
    let (shown, token) = (shown.as_bytes(), token.as_bytes());
    let differences = shown.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b));
    !token.is_empty() && shown.len() == token.len() && differences == 0
}

/// A document that takes long enough to make to delay tunnels, if there are thousands of routes or tunnels.
async fn made(
    state: &State,
    kind: &'static str,
    make: impl FnOnce(&State) -> String + Send + 'static,
) -> Response<Body> {
    let state = state.clone();
    match tokio::task::spawn_blocking(move || make(&state)).await {
        Ok(content) => document(content, kind),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the process is ending"),
    }
}

fn document(content: String, kind: &'static str) -> Response<Body> {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from(content))));
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    secured(answer)
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<Body> {
    let mut body = body.into();
    body.push('\n');
    let mut answer = document(body, "text/plain; charset=utf-8");
    *answer.status_mut() = status;
    answer
}

/// Keeps the answer out of caches, and keeps browsers from guessing its type.
fn secured(mut answer: Response<Body>) -> Response<Body> {
    let fields = answer.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
