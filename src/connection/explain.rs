//! Refusals for clients that hide the HTTP answer from their application: a 101, then a Close frame with the reason.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Ended, Exchange, Request};
use crate::http::opening::Opening;
use crate::http::{Answered, respond};
use crate::policy::Route;
use crate::reason::{Failure, Note, NoteCode};
use crate::stream::ClientStream;
use crate::tunnel::frame::{self, Event, Extensions, Reader, Sender};

/// The close code of a refusal that will not change (RFC 6455 section 7.4.1).
const POLICY: u16 = 1008;

/// The close code of a refusal after which the client may try again (registered with IANA for RFC 6455).
const TRY_AGAIN_LATER: u16 = 1013;

/// What the answer to an opening handshake needs so that the client accepts it.
#[derive(Debug)]
pub(super) struct Explanation {
    accept: String,
    subprotocol: Option<String>,
}

impl Explanation {
    /// For a route with `explain_refusals`.
    pub fn wanted<U>(route: &Route<U>, opening: &Opening) -> Option<Self> {
        let (_, rules) = route.websocket()?;
        rules.explain_refusals.then(|| Self {
            accept: opening.accept(),
            // Chromium fails if the server chooses none of the offered subprotocols.
            subprotocol: opening.subprotocols.first().cloned(),
        })
    }

    fn response(self) -> Response<crate::http::Body> {
        let mut response = Response::new(respond::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = response.headers_mut();
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        let given = [
            (header::SEC_WEBSOCKET_ACCEPT, Some(self.accept)),
            (header::SEC_WEBSOCKET_PROTOCOL, self.subprotocol),
        ];
        for (name, value) in given {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                fields.insert(name, value);
            }
        }
        response
    }
}

impl Request<'_> {
    /// Answers a failed request with a 101 and a Close frame of the proxy's own.
    pub(super) async fn explain(
        &mut self,
        exchange: Exchange,
        failure: Failure,
        explanation: Explanation,
    ) -> Ended {
        let code = match failure.http_status() {
            Some(429 | 500..) => TRY_AGAIN_LATER,
            _ => POLICY,
        };
        let limits = &self.shared.config().limits;
        // An HTTP/2 client has no 101 (RFC 8441 section 5).
        let status = match exchange {
            Exchange::Http1(_) => StatusCode::SWITCHING_PROTOCOLS,
            Exchange::Http2(_) => StatusCode::OK,
        };
        let status = status.as_u16();
        let mut response = explanation.response();
        respond::set_request_id(response.headers_mut(), &self.facts.request_id());
        let Answered {
            stream,
            held,
            error,
        } = exchange.answer(response, limits.write_stall).await;
        let close = frame::close(code, failure.reason.code(), None);
        let Some(mut stream) = stream else {
            let why = error.map_or_else(String::new, |error| error.to_string());
            self.facts
                .note(Note::new(NoteCode::ResponseNotDelivered, why));
            return failure.unanswered().into();
        };
        let told = match error {
            Some(error) => Err(error.to_string()),
            None => {
                let told = tokio::time::timeout(limits.write_stall, say(&mut stream, &close)).await;
                told.map_err(|_| "the client does not read".to_owned())
                    .and_then(|told| told.map_err(|error| error.to_string()))
            }
        };
        match told {
            Ok(()) => {
                self.facts.close_code = Some(code);
                self.facts.note(Note::new(
                    NoteCode::RefusalExplained,
                    format!("close code {code}"),
                ));
                // The client was told, whether it answers or not.
                let _ = tokio::time::timeout(limits.close_wait, answer(&mut stream, held)).await;
            }
            Err(why) => self
                .facts
                .note(Note::new(NoteCode::ResponseNotDelivered, why)),
        }
        Ended {
            failure: failure.with_status(status),
            client: Some(stream),
        }
    }
}

async fn say(stream: &mut ClientStream, close: &[u8]) -> std::io::Result<()> {
    stream.write_all(close).await?;
    stream.flush().await
}

/// Reads until the client has answered the Close. Everything else is dropped.
async fn answer(stream: &mut ClientStream, held: Vec<u8>) {
    let mut frames = Reader::new(Sender::Client, Extensions::None);
    let mut bytes = held;
    let mut piece = [0; 512];
    loop {
        let mut rest = bytes.as_slice();
        loop {
            match frames.read(rest) {
                Ok((count, Some(Event::Header(_) | Event::End))) => {
                    rest = rest.get(count..).unwrap_or_default();
                }
                Ok((_, None)) => break,
                // Nothing after an invalid frame can be parsed.
                Ok((_, Some(Event::Close(_)))) | Err(_) => return,
            }
        }
        match stream.read(&mut piece).await {
            Ok(count) if count > 0 => bytes = piece.iter().take(count).copied().collect(),
            _ => return,
        }
    }
}
