//! Plain requests that may pass. They are handed to the upstream or answered by the proxy itself.

use std::future::ready;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Response, Version};
use http_body::Body as _;
use tokio::time::Instant;

use super::admit::AdmittedPlain;
use super::facts::Answering;
use super::read::Asked;
use super::{After, Done, Ended, Exchange, Next, Request};
use crate::http::fields::tokens;
use crate::http::{Body, Delivered, Undelivered, respond};
use crate::reason::{Failure, Level, Note, NoteCode, Reason, Stage};
use crate::upstream::{self, BodyOutcome, Served, Upload};

/// The most bytes of an unwanted body that the proxy reads before its answer.
const UNWANTED_MOST: usize = 64 * 1024;

impl Request<'_> {
    /// Hands a plain request to the upstream, and delivers its answer.
    ///
    /// # Errors
    /// The reasons for an answer that does not come or can't be passed on; the client has its answer.
    pub(super) async fn forward(
        &mut self,
        asked: Asked,
        admitted: AdmittedPlain<'_>,
    ) -> Result<Done, Ended> {
        self.facts.enter(Stage::Upstream);
        let request_id = self.facts.request_id();
        let Asked {
            exchange,
            request,
            body,
            identity,
            ..
        } = asked;
        let AdmittedPlain { permit, target } = admitted;
        let is_last = is_last(&request);
        let upload = Upload::new(body, permit.rules());
        let rebuilt = upstream::rebuild_plain(request, &identity, &self.shared.via, &request_id);
        let asking = Instant::now();
        let limit = self.shared.config().limits.header_bytes;
        let work = upstream::forward(
            &target.upstream,
            &permit,
            identity.client,
            rebuilt,
            &upload,
            limit,
            &mut self.facts.dialling,
        );
        let answered = exchange.meanwhile(Box::pin(work)).await;
        self.facts.uploaded = Some(upload.bytes());
        let skipped = self.facts.dialling.attempts.len().saturating_sub(1);
        if skipped > 0 {
            self.facts
                .note(Note::new(NoteCode::EndpointSkipped, skipped.to_string()));
        }
        let (exchange, served) = match answered {
            Ok((exchange, Ok(served))) => (exchange, served),
            Ok((exchange, Err(failure))) => {
                // An unread body would delay the answer.
                drop(upload);
                return Err(self.refuse(exchange, failure, None).await);
            }
            Err(gone) => {
                let ended = self.gone(gone, asking).await;
                return Err(Ended {
                    failure: impatient(ended.failure),
                    ..ended
                });
            }
        };
        let Served {
            response,
            passed,
            notes,
            waited,
        } = served;
        self.facts.notes(notes);
        self.facts.response = Some(waited);
        let delivery = Delivery {
            asking,
            // After an early answer the rest of the body is in the way of another request.
            is_last: is_last || !upload.is_over(),
            from_upstream: Some((&passed, &upload)),
        };
        Ok(self.deliver(exchange, response, delivery).await)
    }

    /// Answers a request as the configuration says, after its body: a malformed body is refused, and the next request
    /// follows a good one. The connection ends if the body is too long, too slow or not sent.
    ///
    /// # Errors
    /// `http_body_…`, and the reasons for a client that leaves.
    pub(super) async fn answer(
        &mut self,
        asked: Asked,
        response: Response<Bytes>,
    ) -> Result<Done, Ended> {
        let asking = Instant::now();
        let Asked {
            exchange,
            request,
            body,
            ..
        } = asked;
        let is_over = body.is_end_stream();
        let discarded = match is_over || request.headers.contains_key(header::EXPECT) {
            // With Expect the client waits for a 100, which is not sent. What came with the head may still be malformed.
            true => {
                drop(body);
                exchange.meanwhile(ready(is_over)).await
            }
            false => {
                let patience = self.shared.config().limits.close_wait;
                exchange.discard(body, UNWANTED_MOST, patience).await
            }
        };
        let (exchange, is_whole) = match discarded {
            Ok(discarded) => discarded,
            Err(gone) => return Err(self.gone(gone, asking).await),
        };
        let delivery = Delivery {
            asking,
            is_last: is_last(&request) || !is_whole,
            from_upstream: None,
        };
        let response = respond::boxed(response);
        Ok(self.deliver(exchange, response, delivery).await)
    }

    /// Writes an answer to its end.
    async fn deliver(
        &mut self,
        exchange: Exchange,
        mut response: Response<Body>,
        delivery: Delivery<'_>,
    ) -> Done {
        let Delivery {
            asking,
            is_last,
            from_upstream,
        } = delivery;
        respond::set_request_id(response.headers_mut(), &self.facts.request_id());
        // Decided only now, because a shutdown may have begun during the wait for the upstream.
        let is_last = is_last
            || self.shared.stop.is_draining()
            || self.connection.current.successor(&self.shared).is_none();
        if is_last {
            close_after(response.headers_mut());
        }
        let status = response.status();
        let patience = self.shared.config().limits.write_stall;
        self.facts.answering(Answering {
            status: status.as_u16(),
            since: asking,
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
            // If the request's body fails, the answer ends too, and the body is the cause.
            cut = upload.failure().or_else(|| passed.cut().cloned());
            is_answered &= passed.cut().is_none();
            self.facts.uploaded = Some(upload.bytes());
        }
        if let Some(Undelivered::Misframed(failure)) = &error {
            // The cause is the body, whoever noticed it first.
            cut = Some(failure.clone());
        }
        let is_cut = cut.is_some();
        let failure = cut.or_else(|| error.map(undelivered));
        let level = match status.is_server_error() && from_upstream.is_some() {
            true => Level::Warn,
            false => Level::Info,
        };
        let next = match (stream, whole && !is_cut) {
            (Some(stream), true) if !is_last => Next::Request {
                stream,
                held,
                begun,
            },
            // The client must not take a part of an answer for the whole: the connection breaks off.
            (_, false) if is_cut && !is_answered => Next::Last(After::Close(None)),
            (stream, _) => Next::Last(After::Close(stream)),
        };
        Done::Served {
            level,
            failure,
            next,
        }
    }
}

/// Whether the client announces that this is its last request. In HTTP/1.0 it always is.
fn is_last(request: &Parts) -> bool {
    let closes = |token: &[u8]| token.eq_ignore_ascii_case(b"close");
    request.version == Version::HTTP_10 || tokens(&request.headers, &header::CONNECTION).any(closes)
}

/// How an answer is delivered.
struct Delivery<'a> {
    /// When the request was handed on.
    asking: Instant,
    is_last: bool,
    from_upstream: Option<(&'a BodyOutcome, &'a Upload)>,
}

/// Gives a client that did not wait the hint for plain requests, which have another deadline.
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
