//! `GET /events`: the status again and again, as server-sent events (WHATWG HTML, section 9.2).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::query::Query;
use super::state::State;
use super::status;

/// How often the status is sent.
const EVERY: Duration = Duration::from_secs(2);

/// How long a client may take for one event. Then its connection is cut, so that it does not hold a stream.
const STALL: Duration = Duration::from_secs(10);

/// What a stream means for its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The connection has no stream.
    #[default]
    No,
    /// The stream goes on for as long as the client wants.
    On,
    /// The client takes nothing.
    Stalled,
}

/// Whether a connection has a stream. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Streaming(Arc<watch::Sender<Stage>>);

impl Streaming {
    /// Whether a stream goes on.
    pub fn is_on(&self) -> bool {
        *self.0.borrow() != Stage::No
    }

    /// Completes when no stream goes on.
    pub async fn over(&self) {
        // This can't fail, because `self` holds the sender.
        let _ = self
            .0
            .subscribe()
            .wait_for(|stage| *stage == Stage::No)
            .await;
    }

    /// Completes when the client of the stream takes nothing.
    pub async fn stalled(&self) {
        let mut stage = self.0.subscribe();
        // This can't fail, because `self` holds the sender.
        let _ = stage.wait_for(|stage| *stage == Stage::Stalled).await;
    }
}

/// The body of a stream.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Bytes>,
    streaming: Streaming,
    _slot: OwnedSemaphorePermit,
}

/// Starts a stream on the connection of `streaming`; `None` if there are too many.
pub(super) fn open(state: &State, query: Query, streaming: &Streaming) -> Option<Events> {
    let slot = Arc::clone(state.streams()).try_acquire_owned().ok()?;
    streaming.0.send_replace(Stage::On);
    let (sender, events) = mpsc::channel(1);
    tokio::spawn(send(state.clone(), query, sender, streaming.clone()));
    Some(Events {
        events,
        streaming: streaming.clone(),
        _slot: slot,
    })
}

async fn send(state: State, query: Query, sender: mpsc::Sender<Bytes>, streaming: Streaming) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = 0;
    loop {
        tokio::select! {
            () = sender.closed() => return,
            _ = ticks.tick() => {}
        }
        let (state, query) = (state.clone(), query.clone());
        // With many tunnels this takes long enough to delay them.
        let making = tokio::task::spawn_blocking(move || status::json(&state, &query, last));
        let Ok((json, number)) = making.await else {
            return;
        };
        last = number;
        let event = Bytes::from(format!("event: status\ndata: {json}\n\n"));
        match timeout(STALL, sender.send(event)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                streaming.0.send_if_modified(|stage| {
                    let is_on = *stage == Stage::On;
                    if is_on {
                        *stage = Stage::Stalled;
                    }
                    is_on
                });
                return;
            }
        }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let event = self.events.poll_recv(cx);
        event.map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.streaming.0.send_replace(Stage::No);
    }
}
