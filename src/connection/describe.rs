//! What a request says about itself, and how its tunnel ended, as records show it.

use std::borrow::Cow;

use http::Version;
use http::header::{self, HeaderValue};
use http::request::Parts;

use crate::http::glimpse::Glimpse;
use crate::http::trace::trace_id;
use crate::reason::Failure;
use crate::record::{Record, millis, stamp};
use crate::secrets::without_secrets;
use crate::text::{peer_list, peer_text};
use crate::tunnel::Closed;
use crate::tunnel::frame::Close;

/// What a request says about itself, without what records may not show. Absent: not said, or not known.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
    pub http_version: Option<&'static str>,
    pub method: Option<String>,
    pub host: Option<String>,
    pub path: Option<String>,
    pub origin: Option<String>,
    pub user_agent: Option<String>,
    /// Whether it is a plain request though its head can't be read whole.
    pub is_plain: bool,
}

impl Description {
    /// The description of a request. `redacted` gives a path and its query in the form that records show.
    pub fn of(
        request: &Parts,
        request_id: Option<&str>,
        redacted: impl Fn(&[u8], Option<&[u8]>) -> String,
    ) -> Self {
        let values = |name: header::HeaderName| {
            let values = request.headers.get_all(name).into_iter();
            values.map(HeaderValue::as_bytes).collect::<Vec<_>>()
        };
        Self {
            request_id: request_id.map(str::to_owned),
            trace_id: trace_id(&request.headers).map(str::to_owned),
            http_version: Some(match request.version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                _ => "1.1",
            }),
            method: Some(peer_text(request.method.as_str().as_bytes())),
            host: match request.uri.authority() {
                Some(authority) => joined(&[authority.as_str().as_bytes()], without_secrets),
                None => joined(&values(header::HOST), without_secrets),
            },
            path: Some(redacted(
                request.uri.path().as_bytes(),
                request.uri.query().map(str::as_bytes),
            )),
            origin: joined(&values(header::ORIGIN), without_secrets),
            user_agent: joined(&values(header::USER_AGENT), |value| Cow::Borrowed(value)),
            is_plain: false,
        }
    }

    /// That of a head which was not parsed, as far as it can be read.
    pub fn of_unread(
        head: &[u8],
        redacted: impl Fn(&[u8], Option<&[u8]>) -> String,
    ) -> Option<Self> {
        let seen = Glimpse::of(head)?;
        Some(Self {
            http_version: seen.version,
            method: Some(peer_text(seen.method)),
            host: joined(&seen.hosts, without_secrets),
            path: seen.path.map(|path| redacted(path, seen.query)),
            origin: joined(&seen.origins, without_secrets),
            user_agent: joined(&seen.user_agents, |value| Cow::Borrowed(value)),
            is_plain: seen.is_plain,
            ..Self::default()
        })
    }
}

/// Puts into the record how its tunnel ended; gives the reason.
pub(super) fn describe_end(closed: Closed, record: &mut Record) -> Failure {
    record.first_close = closed.first_close;
    record.close_code_client = closed.close_client.as_ref().map(Close::shown);
    record.close_reason_client = closed.close_client.as_ref().and_then(reason);
    record.close_code_upstream = closed.close_upstream.as_ref().map(Close::shown);
    record.close_reason_upstream = closed.close_upstream.as_ref().and_then(reason);
    record.close_code_proxy = closed.close_code_proxy;
    record.client_sees = Some(closed.client_sees);
    record.suspect = closed.suspect;
    record.bytes_client_to_upstream = Some(closed.client_to_upstream);
    record.bytes_upstream_to_client = Some(closed.upstream_to_client);
    record.messages_client_to_upstream = Some(closed.messages_client_to_upstream);
    record.messages_upstream_to_client = Some(closed.messages_upstream_to_client);
    record.idle_ms = Some(millis(closed.idle));
    record.pings = Some(closed.pings);
    record.pongs = Some(closed.pongs);
    record.write_stall_client_ms = Some(millis(closed.write_stall_client));
    record.write_stall_upstream_ms = Some(millis(closed.write_stall_upstream));
    record.ended_at = Some(stamp(closed.ended_at));
    record.close_wait_ms = Some(millis(closed.close_wait));
    record.notes.extend(closed.notes);
    closed.failure
}

fn reason(close: &Close) -> Option<String> {
    (!close.reason.is_empty()).then(|| peer_text(&close.reason))
}

fn joined(values: &[&[u8]], shown: fn(&[u8]) -> Cow<'_, [u8]>) -> Option<String> {
    let values: Vec<_> = values.iter().map(|value| shown(value)).collect();
    (!values.is_empty()).then(|| peer_list(values.iter().map(AsRef::as_ref), " | "))
}
