//! What a request says of itself, put into its record.

use std::borrow::Cow;

use http::Version;
use http::header::{self, HeaderValue};
use http::request::Parts;

use crate::http::forwarded::{self, Identity};
use crate::http::glimpse::Glimpse;
use crate::http::trace::trace_id;
use crate::reason::{Failure, Note, NoteCode};
use crate::record::{Draft, Record, millis, stamp};
use crate::secrets::without_secrets;
use crate::text::{peer_list, peer_text};
use crate::tunnel::Closed;
use crate::tunnel::frame::Close;

/// The id that joins this request's records, answers and the upstream's own log; the connection's where none could
/// be read.
pub(super) fn request_id(draft: &mut Draft) -> String {
    let own = draft.own_request_id();
    draft.record.request_id.get_or_insert(own).clone()
}

/// Puts into the record what the request says of itself.
pub(super) fn describe(request: &Parts, identity: &Identity, draft: &mut Draft) {
    let values = |name: header::HeaderName| {
        let values = request.headers.get_all(name).into_iter();
        values.map(HeaderValue::as_bytes).collect::<Vec<_>>()
    };
    let request_id = match forwarded::request_id(&request.headers) {
        Ok(Some(id)) => id.to_owned(),
        Ok(None) => draft.own_request_id(),
        Err(why) => {
            draft.note(Note::new(NoteCode::RequestIdReplaced, why));
            draft.own_request_id()
        }
    };
    draft.set_client(identity.client);
    draft.set_path(
        request.uri.path().as_bytes(),
        request.uri.query().map(str::as_bytes),
    );
    let record = &mut draft.record;
    record.request_id = Some(request_id);
    record.trace_id = trace_id(&request.headers).map(str::to_owned);
    record.http_version = Some(match request.version {
        Version::HTTP_10 => "1.0".into(),
        _ => "1.1".into(),
    });
    record.method = Some(peer_text(request.method.as_str().as_bytes()));
    record.host = match request.uri.authority() {
        Some(authority) => joined(&[authority.as_str().as_bytes()], without_secrets),
        None => joined(&values(header::HOST), without_secrets),
    };
    record.origin = joined(&values(header::ORIGIN), without_secrets);
    record.user_agent = joined(&values(header::USER_AGENT), |value| Cow::Borrowed(value));
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
    record.ended_at = Some(stamp(closed.close_wait));
    record.close_wait_ms = Some(millis(closed.close_wait));
    record.notes.extend(closed.notes);
    closed.failure
}

fn reason(close: &Close) -> Option<String> {
    (!close.reason.is_empty()).then(|| peer_text(&close.reason))
}

/// The same of a head that is refused before it is parsed, as far as it can be told.
pub(super) fn describe_unread(head: &[u8], draft: &mut Draft) {
    let Some(seen) = Glimpse::of(head) else {
        return;
    };
    if let Some(path) = seen.path {
        draft.set_path(path, seen.query);
    }
    if seen.is_plain {
        draft.set_plain();
    }
    let record = &mut draft.record;
    record.http_version = seen.version.map(Cow::Borrowed);
    record.method = Some(peer_text(seen.method));
    record.host = joined(&seen.hosts, without_secrets);
    record.origin = joined(&seen.origins, without_secrets);
    record.user_agent = joined(&seen.user_agents, |value| Cow::Borrowed(value));
}

fn joined(values: &[&[u8]], shown: fn(&[u8]) -> Cow<'_, [u8]>) -> Option<String> {
    let values: Vec<_> = values.iter().map(|value| shown(value)).collect();
    (!values.is_empty()).then(|| peer_list(values.iter().map(AsRef::as_ref), " | "))
}
