//! Plain requests that may pass: handed to the upstream, or answered by the proxy itself.

use std::future::ready;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body::Body as _;
use tokio::time::Instant;

use super::admit::AdmittedPlain;
use super::describe::request_id;
use super::{Asked, Ended, Life, Next};
use crate::http::fields::tokens;
use crate::http::{Body, Delivered, Exchange, RequestBody, Undelivered, respond};
use crate::policy::{Authority, Respond};
use crate::reason::{Failure, Level, Note, NoteCode, Reason, Stage};
use crate::record::{Answering, Draft, millis};
use crate::upstream::{self, BodyOutcome, Served, Upload};

/// The most bytes of an unwanted body that the proxy reads before its answer.
const UNWANTED_MOST: usize = 64 * 1024;

impl Life<'_> {
    /// The upstream stage of a plain request, to the end of its answer.
    pub(super) async fn forward(
        &self,
        asked: Asked,
        body: RequestBody,
        admitted: AdmittedPlain<'_>,
        draft: &mut Draft,
    ) -> Result<Next, Ended> {
        draft.enter(Stage::Upstream);
        let Asked {
            exchange,
            request,
            identity,
        } = asked;
        let AdmittedPlain { permit, target } = admitted;
        let is_last = is_last(&request);
        let upload = Upload::new(body, permit.rules());
        let rebuilt =
            upstream::rebuild_plain(request, &identity, &self.shared.via, &request_id(draft));
        let asking = Instant::now();
        let limit = self.shared.config().limits.header_bytes;
        let work = upstream::forward(
            &target.upstream,
            &permit,
            identity.client,
            rebuilt,
            &upload,
            limit,
            &mut draft.record,
        );
        let answered = exchange.meanwhile(Box::pin(work)).await;
        draft.record.bytes_client_to_upstream = Some(upload.bytes());
        let skipped = draft.record.attempts.len().saturating_sub(1);
        if skipped > 0 {
            draft.note(Note::new(NoteCode::EndpointSkipped, skipped.to_string()));
        }
        let (exchange, served) = match answered {
            Ok((exchange, Ok(served))) => (exchange, served),
            Ok((exchange, Err(failure))) => {
                // A body that nobody reads holds up the answer.
                drop(upload);
                return Err(self.refuse(exchange, failure, None, draft).await);
            }
            Err(gone) => {
                let mut ended = self.gone(gone, asking, draft).await;
                ended.failure = ended.failure.map(impatient);
                return Err(ended);
            }
        };
        let Served {
            response,
            passed,
            notes,
            waited,
        } = served;
        draft.record.notes.extend(notes);
        draft.record.response_ms = Some(millis(waited));
        let delivery = Delivery {
            asking,
            // An answer that does not wait for the whole body leaves the rest of it in the way of another request.
            is_last: is_last || !upload.is_over(),
            from_upstream: Some((&passed, &upload)),
        };
        self.deliver(exchange, response, delivery, draft).await
    }

    /// Answers a request as the configuration says, after its body: a malformed body is refused, and the next request
    /// follows a good one. The connection ends where the body is too long, too slow or not sent.
    pub(super) async fn answer(
        &self,
        asked: Asked,
        body: RequestBody,
        response: Response<Bytes>,
        draft: &mut Draft,
    ) -> Result<Next, Ended> {
        let asking = Instant::now();
        let is_over = body.is_end_stream();
        let discarded = match is_over || asked.request.headers.contains_key(header::EXPECT) {
            // With Expect the body comes after a 100, which is not sent. What came with the head may be malformed already.
            true => {
                drop(body);
                asked.exchange.meanwhile(ready(is_over)).await
            }
            false => {
                let patience = self.shared.config().limits.close_wait;
                asked.exchange.discard(body, UNWANTED_MOST, patience).await
            }
        };
        let (exchange, is_whole) = match discarded {
            Ok(discarded) => discarded,
            Err(gone) => return Err(self.gone(gone, asking, draft).await),
        };
        let delivery = Delivery {
            asking,
            is_last: is_last(&asked.request) || !is_whole,
            from_upstream: None,
        };
        let response = respond::boxed(response);
        self.deliver(exchange, response, delivery, draft).await
    }

    /// Writes an answer to its end, and the request's record.
    async fn deliver(
        &self,
        exchange: Exchange,
        mut response: Response<Body>,
        delivery: Delivery<'_>,
        draft: &mut Draft,
    ) -> Result<Next, Ended> {
        let Delivery {
            asking,
            is_last,
            from_upstream,
        } = delivery;
        respond::set_request_id(response.headers_mut(), &request_id(draft));
        // Asked as late as this: a shutdown may have begun while the upstream was waited for.
        let is_last = is_last
            || self.shared.stop.is_draining()
            || self.place.successor(&self.shared).is_none();
        if is_last {
            close_after(response.headers_mut());
        }
        let status = response.status();
        let patience = self.shared.config().limits.write_stall;
        draft.answering(Answering {
            status: status.as_u16(),
            since: asking.into_std(),
            bytes: from_upstream.map(|(passed, _)| passed.counter()),
        });
        let Delivered {
            stream,
            held,
            begun,
            answered,
            whole,
            error,
        } = exchange
            .deliver(response, from_upstream.is_none(), patience)
            .await;
        let mut cut = None;
        let mut is_answered = answered;
        if let Some((passed, upload)) = from_upstream {
            // A body that fails on its way up ends the answer too, and is why.
            cut = upload.failure().or_else(|| passed.cut().cloned());
            is_answered &= passed.cut().is_none();
            draft.record.bytes_client_to_upstream = Some(upload.bytes());
            draft.record.bytes_upstream_to_client = Some(passed.bytes());
        }
        draft.record.lasted_ms = Some(millis(asking.elapsed()));
        if let Some(Undelivered::Misframed(failure)) = &error {
            // Why the body failed, whoever noticed it first.
            cut = Some(failure.clone());
        }
        let is_cut = cut.is_some();
        let failure = cut.or_else(|| error.map(undelivered));
        let level = match status.is_server_error() && from_upstream.is_some() {
            true => Level::Warn,
            false => Level::Info,
        };
        draft.served(status.as_u16(), level, failure);
        Err(match whole && !is_cut {
            true if !is_last => {
                return Ok(Next::Request {
                    stream,
                    held,
                    begun,
                });
            }
            true => Ended::done(stream),
            // What the client got is no whole answer, and must not look like one: the connection breaks off.
            false if is_cut && !is_answered => Ended {
                failure: None,
                client: None,
            },
            false => Ended::done(stream),
        })
    }
}

/// Whether the client says that no other request follows. In HTTP/1.0 none does, whatever it says.
fn is_last(request: &Parts) -> bool {
    let closes = |token: &[u8]| token.eq_ignore_ascii_case(b"close");
    request.version == Version::HTTP_10 || tokens(&request.headers, &header::CONNECTION).any(closes)
}

/// What goes with an answer on its way.
struct Delivery<'a> {
    /// When the request was handed on.
    asking: Instant,
    is_last: bool,
    from_upstream: Option<(&'a BodyOutcome, &'a Upload)>,
}

/// A client that did not wait: for a plain request it is another deadline that matters.
fn impatient(failure: Failure) -> Failure {
    match failure.reason {
        Reason::ClientGaveUp => failure.with_hint(
            "the upstream took longer than the client waits: compare the waited time in detail with the client's own timeout and with `routes[].http.response_timeout`",
        ),
        _ => failure,
    }
}

fn undelivered(error: Undelivered) -> Failure {
    match error {
        Undelivered::Left(how) => Failure::new(Reason::ClientLeftResponse, how),
        Undelivered::Stalled => Reason::ClientStalledResponse.into(),
        Undelivered::Misframed(failure) => failure,
        Undelivered::Broken(words) => Failure::new(Reason::UpstreamResponseCut, words),
    }
}

fn close_after(fields: &mut HeaderMap) {
    let value = match fields.contains_key(header::CONNECTION) {
        true => "upgrade, close",
        false => "close",
    };
    fields.insert(header::CONNECTION, HeaderValue::from_static(value));
}

/// The answer of a `respond` route; to OPTIONS with what may be asked for in place of the body.
pub(super) fn response(respond: &Respond, method: &Method) -> Response<Bytes> {
    let is_asked_for = method != Method::OPTIONS;
    let body = match is_asked_for {
        true => respond.body.clone(),
        false => String::new(),
    };
    let mut response = Response::new(Bytes::from(body));
    if let Ok(status) = StatusCode::from_u16(respond.status) {
        *response.status_mut() = status;
    }
    let (name, value) = match is_asked_for {
        true => (header::CONTENT_TYPE, respond.content_type.clone()),
        false => (header::ALLOW, Respond::METHODS.join(", ")),
    };
    if let Ok(value) = HeaderValue::from_str(&value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The way to the same place over TLS (RFC 9110 section 15.4.9: the method stays).
pub(super) fn redirect(asked: &Authority, target: &http::Uri) -> Response<Bytes> {
    // Its port is that of this listener. Displayed, as an IPv6 address needs its brackets.
    let host = Authority {
        port: None,
        ..asked.clone()
    };
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(location) = HeaderValue::from_str(&format!("https://{host}{path}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_names_the_host_as_a_url_does() {
        for (host, location) in [
            ("api.example.com:8080", "https://api.example.com/a?b"),
            ("[::1]:8080", "https://[::1]/a?b"),
            ("[2001:DB8::1]", "https://[2001:db8::1]/a?b"),
        ] {
            let asked = Authority::parse(host.as_bytes()).unwrap();
            let response = redirect(&asked, &http::Uri::from_static("/a?b"));
            assert_eq!(response.headers()[header::LOCATION], location);
        }
    }
}
