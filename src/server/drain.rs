//! Drains: what happens from the request to stop to the last record. A signal ends the process; a request through the
//! admin listener does not.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use humantime::format_duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{Phase, State};
use crate::config::Shutdown;
use crate::connection::Stop;
use crate::generation::Generation;
use crate::reason::Level;
use crate::record::{Event, Record, Sink};
use crate::text::counted;

/// How long tasks that were cut at a deadline may take to write their records.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// How long connections that came during the drain may take at the end: one second to ask, and one to read their
/// refusal.
const LATE_GRACE: Duration = Duration::from_secs(2);

/// What the drain needs.
pub(super) struct Drain<S> {
    /// Gives the name of each signal.
    pub signal: S,
    /// The current generation when the drain begins; its settings apply.
    pub generation: watch::Receiver<Arc<Generation>>,
    pub sink: Sink,
    pub stop: Stop,
    pub state: State,
    /// Tunnels and what may become one: the connections that existed before the drain.
    pub early: TaskTracker,
    /// The connections that came during the drain.
    pub late: TaskTracker,
    /// Ends the listeners.
    pub accepting: CancellationToken,
    /// Cancelled when the process ends after the drain.
    pub leaving: CancellationToken,
    /// A task for each listener.
    pub accept_tasks: TaskTracker,
}

/// How a drain ended.
enum Over {
    /// All connections ended in time.
    Ended,
    /// The rest was cut at `shutdown.drain`.
    Deadline,
    /// A signal after the one that ends the process cut the rest.
    Signal(&'static str),
}

impl<S: AsyncFnMut() -> &'static str> Drain<S> {
    /// Waits for the request, and drains. Returns at the end of the process, with how the drain ended.
    pub async fn run(mut self) -> String {
        let mut leaving = tokio::select! {
            name = (self.signal)() => Some(name),
            () = self.state.asked() => None,
        };
        let settings = self.generation.borrow().config.shutdown.clone();
        self.begin(&settings, leaving);
        let limit = format_duration(settings.drain);
        let whose = match leaving {
            Some(_) => "shutdown",
            None => "drain",
        };
        let deadline = Instant::now() + settings.delay + settings.drain;
        let (cause, how) = match self.wait(&settings, &mut leaving).await {
            // The connections that still exist came during the drain. Their own records say how they end.
            Over::Ended => ("the process ended".to_owned(), None),
            Over::Deadline => (
                format!("the {whose}'s deadline ({limit}) passed"),
                Some(format!("after {limit}")),
            ),
            Over::Signal(name) => {
                let how = format!("by a second signal ({name})");
                (format!("a second signal ({name}) arrived"), Some(how))
            }
        };
        let said = |cut| match &how {
            None => "all connections have ended".to_owned(),
            Some(how) if cut == 1 => format!("1 connection was cut {how}"),
            Some(how) => format!("{cut} connections were cut {how}"),
        };
        if leaving.is_some() {
            let how = said(self.early.len() + self.late.len());
            self.finish(&cause, deadline).await;
            return how;
        }
        // Empty unless the deadline passed.
        let cut = self.early.len();
        if how.is_some() {
            self.stop.cut(cause.clone());
        }
        self.rest(cut, said(cut)).await;
        let name = (self.signal)().await;
        let cause = format!("{name} arrived after the drain");
        self.finish(&cause, Instant::now()).await;
        cause
    }

    /// From now on the proxy is not ready.
    fn begin(&self, settings: &Shutdown, leaving: Option<&'static str>) {
        let delay = settings.delay;
        let by = leaving.unwrap_or("asked for through the admin listener");
        let open = counted(self.early.len(), "connection");
        let limit = format_duration(settings.drain);
        let detail = if delay.is_zero() {
            // Readers of the record can rely on it: from now on handshakes are refused.
            self.refuse(settings);
            format!("{by}; {open} open, at most {limit} to finish")
        } else {
            self.state.enter(Phase::Delay);
            let delay = format_duration(delay);
            format!(
                "{by}; {open} open; handshakes are accepted for {delay} more, then at most {limit} to \
                 finish"
            )
        };
        // The phase is set first, so that whoever sees the cancellation also sees the phase.
        if leaving.is_some() {
            self.leaving.cancel();
        }
        let record = Record::lifecycle(Event::Draining, Level::Info, detail);
        self.sink.emit(record);
    }

    fn refuse(&self, settings: &Shutdown) {
        self.stop.drain(settings.spread);
        self.state.enter(Phase::Draining);
    }

    /// `shutdown.delay` and `shutdown.drain`, or less.
    async fn wait(&mut self, settings: &Shutdown, leaving: &mut Option<&'static str>) -> Over {
        let delay = settings.delay;
        if !delay.is_zero() {
            let delayed = self.unless_cut(sleep(delay), leaving).await;
            self.refuse(settings);
            if let Err(name) = delayed {
                return Over::Signal(name);
            }
        }
        self.early.close();
        let early = self.early.clone();
        let deadline = Instant::now() + settings.drain;
        let ended = timeout_at(deadline, early.wait());
        match self.unless_cut(ended, leaving).await {
            Ok(Ok(())) => Over::Ended,
            Ok(Err(_)) => Over::Deadline,
            Err(name) => Over::Signal(name),
        }
    }

    /// Completes with `work`, unless a signal other than the first one comes.
    async fn unless_cut<T>(
        &mut self,
        work: impl Future<Output = T>,
        leaving: &mut Option<&'static str>,
    ) -> Result<T, &'static str> {
        let mut work = pin!(work);
        loop {
            let name = tokio::select! {
                done = &mut work => return Ok(done),
                name = (self.signal)() => name,
            };
            if leaving.is_some() {
                return Err(name);
            }
            *leaving = Some(name);
            self.leaving.cancel();
            let open = counted(self.early.len(), "connection");
            let detail = format!(
                "{name}; {open} open; the current drain continues, and the process ends with it"
            );
            let record = Record::lifecycle(Event::Draining, Level::Info, detail);
            self.sink.emit(record);
        }
    }

    /// The drain has ended, and the process stays. Connections that were cut have their records before this one.
    async fn rest(&self, cut: usize, how: String) {
        ended(&self.early).await;
        self.state.enter(Phase::Drained(cut));
        let detail = format!("{how}; handshakes are refused until a signal ends the process");
        let record = Record::lifecycle(Event::Drained, Level::Info, detail);
        self.sink.emit(record);
    }

    /// Ends the listeners and every connection. Late plain requests may be answered until `deadline`.
    async fn finish(&mut self, cause: &str, deadline: Instant) {
        self.leaving.cancel();
        self.accepting.cancel();
        ended(&self.accept_tasks).await;
        self.late.close();
        let late = deadline.max(Instant::now() + LATE_GRACE);
        if self.early.is_empty() {
            // The records of connections that are cut then, or by a further signal, say so.
            tokio::select! {
                _ = timeout_at(late, self.late.wait()) => {}
                _ = (self.signal)() => {}
            }
        }
        self.stop.end(cause);
        ended(&self.early).await;
        ended(&self.late).await;
    }
}

/// Waits for tasks that were cut. A task that does not end now is stuck in a destructor or a blocking call; its guard
/// still writes the record.
async fn ended(tasks: &TaskTracker) {
    tasks.close();
    let grace = Instant::now() + CUT_GRACE;
    if timeout_at(grace, tasks.wait()).await.is_err() {
        tracing::error!(
            left = tasks.len(),
            "tasks did not end when they were stopped"
        );
    }
}
