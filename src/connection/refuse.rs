//! Refusals of the proxy's own, as far as there is somebody to read them.

use std::time::Duration;

use tokio::time::Instant;

use super::describe::request_id;
use super::explain::Explanation;
use super::{Ended, Life};
use crate::http::{Exchange, Gone, Leaving, respond};
use crate::reason::{Failure, Note, NoteCode, Reason};
use crate::record::{Draft, millis};
use crate::stream::ClientStream;
use crate::tls;

impl Life<'_> {
    /// Answers a request with a refusal of our own; without a status the connection just ends.
    pub(super) async fn refuse(
        &self,
        exchange: Exchange,
        failure: Failure,
        explanation: Option<Explanation>,
        draft: &mut Draft,
    ) -> Ended {
        draft.refused();
        if let Some(explanation) = explanation {
            return self.explain(exchange, failure, explanation, draft).await;
        }
        if failure.http_status().is_none() {
            return failure.into();
        }
        let exchange = match exchange.into_old() {
            Ok(stream) => return self.refuse_unread(stream, failure, draft).await,
            Err(exchange) => exchange,
        };
        let response = respond::boxed(respond::refusal(&failure, &request_id(draft)));
        let patience = self.shared.config().limits.write_stall;
        let answered = exchange.answer(response, patience).await;
        if let Some(error) = answered.error {
            draft.note(Note::new(NoteCode::ResponseNotDelivered, error.to_string()));
        }
        Ended {
            failure: Some(failure),
            client: Some(answered.stream),
        }
    }

    /// The same where there is no request that hyper could answer; without a status the connection just ends.
    pub(super) async fn refuse_unread(
        &self,
        mut stream: ClientStream,
        failure: Failure,
        draft: &mut Draft,
    ) -> Ended {
        draft.refused();
        let answerable = failure.http_status().is_some();
        if answerable {
            let response = respond::refusal(&failure, &request_id(draft));
            let patience = self.shared.config().limits.write_stall;
            if let Err(error) = respond::write(&mut stream, &response, patience).await {
                draft.note(Note::new(NoteCode::ResponseNotDelivered, error.to_string()));
            }
        }
        Ended {
            failure: Some(failure),
            client: answerable.then_some(stream),
        }
    }

    /// The end of a request whose client did not wait for its answer since `asking`.
    pub(super) async fn gone(&self, gone: Gone, asking: Instant, draft: &mut Draft) -> Ended {
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
        self.refuse_unread(stream, failure, draft).await
    }
}

fn gave_up(how: &str, asking: Instant) -> Failure {
    let waited = humantime::format_duration(Duration::from_millis(millis(asking.elapsed())));
    Failure::new(
        Reason::ClientGaveUp,
        format!("left after waiting {waited}: {how}"),
    )
}
