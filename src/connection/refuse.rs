//! The proxy's own refusals, if the client can still read them.

use std::time::Duration;

use tokio::time::Instant;

use super::explain::Explanation;
use super::facts::Draft;
use super::{Ended, Exchange, Request};
use crate::http::{Gone, Leaving, respond};
use crate::reason::{Failure, Note, NoteCode, Reason};
use crate::record::millis;
use crate::stream::ClientStream;
use crate::tls;

impl Request<'_> {
    /// Answers a request with the proxy's own refusal. If the failure has no status, the connection just ends.
    pub(super) async fn refuse(
        &mut self,
        exchange: Exchange,
        failure: Failure,
        explanation: Option<Explanation>,
    ) -> Ended {
        self.facts.refused();
        if let Some(explanation) = explanation {
            return self.explain(exchange, failure, explanation).await;
        }
        if failure.http_status().is_none() || exchange.is_over() {
            return failure.unanswered().into();
        }
        let exchange = match exchange.into_old() {
            Ok(stream) => return self.refuse_unread(stream, failure).await,
            Err(exchange) => exchange,
        };
        let response = respond::boxed(respond::refusal(&failure, &self.facts.request_id()));
        let patience = self.shared.config().limits.write_stall;
        let answered = exchange.answer(response, patience).await;
        if let Some(error) = answered.error {
            let note = Note::new(NoteCode::ResponseNotDelivered, error.to_string());
            self.facts.note(note);
        }
        Ended {
            failure,
            client: answered.stream,
        }
    }

    /// The same for a connection on which hyper can't write the answer.
    async fn refuse_unread(&mut self, stream: ClientStream, failure: Failure) -> Ended {
        let patience = self.shared.config().limits.write_stall;
        refuse_unread(stream, failure, patience, &mut self.facts).await
    }

    /// Ends a request whose client left. The request was handed on at `asking`.
    pub(super) async fn gone(&mut self, gone: Gone, asking: Instant) -> Ended {
        let Gone { how, stream } = gone;
        let failure = match how {
            Leaving::Left { error, in_body } => {
                let how = error
                    .as_ref()
                    .map_or_else(|| "closed in order".to_owned(), tls::ended_words);
                return match in_body {
                    true => Failure::new(Reason::HttpBodyIncomplete, how).into(),
                    false => gave_up(&how, asking).into(),
                };
            }
            Leaving::Misframed(failure) => failure,
        };
        match stream {
            Some(stream) => self.refuse_unread(stream, failure).await,
            None => failure.into(),
        }
    }
}

/// The same without hyper, within `patience`.
pub(super) async fn refuse_unread(
    mut stream: ClientStream,
    failure: Failure,
    patience: Duration,
    draft: &mut Draft,
) -> Ended {
    draft.refused();
    if failure.http_status().is_none() {
        return failure.into();
    }
    let response = respond::refusal(&failure, &draft.request_id());
    if let Err(error) = respond::write(&mut stream, &response, patience).await {
        draft.note(Note::new(NoteCode::ResponseNotDelivered, error.to_string()));
    }
    Ended {
        failure,
        client: Some(stream),
    }
}

fn gave_up(how: &str, asking: Instant) -> Failure {
    let waited = humantime::format_duration(Duration::from_millis(millis(asking.elapsed())));
    Failure::new(
        Reason::ClientGaveUp,
        format!("left after waiting {waited}: {how}"),
    )
}
