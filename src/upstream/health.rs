//! Health checks: the same request to every endpoint of a group at regular intervals, and a record when the result
//! changes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::answer::source_words;
use super::connect::Dialling;
use super::group::{Group, Member};
use crate::config::{Endpoint, HealthCheck};
use crate::http::HYPER_MIN_BUFFER;
use crate::reason::Level;
use crate::record::{Event, Record, Sink};
use crate::stream::UpstreamStream;

/// This many failed checks in a row make an endpoint unhealthy. The first check after the start decides alone.
const UNHEALTHY_AFTER: u32 = 2;

/// The first checks are spread over at most this time, so that many proxies that start together do not all ask at once.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// The most bytes of an answer's body that are read, so that the upstream can finish writing.
const BODY_MAX: usize = 64 * 1024;

/// How long the rest of the body may take.
const BODY_WAIT: Duration = Duration::from_millis(250);

/// The request of a check.
const USER_AGENT: HeaderValue = HeaderValue::from_static("wsgate health check");

impl Group {
    /// Checks the endpoints until `stopped` completes. Ends at once if no checks are configured. `sink` gets a record
    /// of each change.
    pub async fn checks(self: Arc<Self>, sink: Sink, stopped: impl Future<Output = ()>) {
        let Some(check) = self.settings().health_check.clone() else {
            return;
        };
        let mut endpoints = JoinSet::new();
        for member in self.members() {
            // The echo server is a part of this process.
            if member.endpoint != Endpoint::Echo {
                let (group, member) = (Arc::clone(&self), Arc::clone(member));
                endpoints.spawn(watch(group, member, check.clone(), sink.clone()));
            }
        }
        // Dropping the set cancels its tasks.
        tokio::select! {
            () = stopped => {}
            Some(Err(error)) = endpoints.join_next() => {
                tracing::error!(%error, "the health checks of an endpoint ended");
            }
        }
    }
}

/// Checks one endpoint forever.
async fn watch(group: Arc<Group>, member: Arc<Member>, check: HealthCheck, sink: Sink) {
    // If checks of an earlier configuration found it unhealthy, it stays unhealthy until it answers.
    let mut history = History {
        is_healthy: (!member.is_healthy()).then_some(false),
        failed: 0,
    };
    sleep(part(check.interval.min(FIRST_WITHIN))).await;
    loop {
        let mut dialling = Dialling::default();
        let outcome = ask(&group, &member, &check, &mut dialling).await;
        if let Some(is_healthy) = history.learn(outcome.is_ok()) {
            member.set_healthy(is_healthy);
            let (level, why) = match &outcome {
                Ok(status) => (Level::Info, format!("healthy: answered {status}")),
                Err(why) => (Level::Warn, format!("unhealthy: {why}")),
            };
            let detail = format!("{} is {why} (GET {})", member.endpoint, check.path);
            let mut record = Record::lifecycle(Event::UpstreamHealth, level, detail);
            record.notes = dialling.notes;
            record.upstream = Some(group.settings().name.clone());
            sink.emit(record);
        }
        // A random pause keeps the checks of many proxies from happening at the same time.
        let tenth = check.interval / 10;
        sleep(check.interval - tenth / 2 + part(tenth)).await;
    }
}

/// A random part of a duration.
fn part(of: Duration) -> Duration {
    // Without randomness nothing is spread, which is harmless.
    let random = getrandom::u32().unwrap_or_default();
    of.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// The results of an endpoint's checks so far.
#[derive(Debug, Default)]
struct History {
    /// `None` before the first check.
    is_healthy: Option<bool>,
    /// The number of failed checks since the last good one.
    failed: u32,
}

impl History {
    /// Adds the result of a check; returns the new state if it changed. An endpoint counts as healthy until its first
    /// check.
    fn learn(&mut self, is_good: bool) -> Option<bool> {
        self.failed = if is_good { 0 } else { self.failed + 1 };
        let before = self.is_healthy.unwrap_or(true);
        let now = match self.is_healthy {
            None => is_good,
            Some(_) if is_good => true,
            Some(before) => before && self.failed < UNHEALTHY_AFTER,
        };
        self.is_healthy = Some(now);
        (now != before).then_some(now)
    }
}

/// One check: the status of a good answer, or what was wrong in words. `dialling` gets the notes.
async fn ask(
    group: &Group,
    member: &Member,
    check: &HealthCheck,
    dialling: &mut Dialling,
) -> Result<StatusCode, String> {
    let deadline = Instant::now() + check.timeout;
    let opened = group.open(&member.endpoint, None, &[], check.timeout, dialling);
    let stream = opened.await.map_err(|failure| {
        let detail = failure.detail.unwrap_or_default();
        format!("{}: {detail}", failure.reason)
    })?;
    let host = match member.endpoint.address() {
        // The default port of the scheme is left out (RFC 9110 section 4.2.3).
        Some((host, port)) => {
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            };
            match (&member.endpoint, port) {
                (Endpoint::Http { .. }, 80) | (Endpoint::Https { .. }, 443) => host,
                _ => format!("{host}:{port}"),
            }
        }
        None => "localhost".to_owned(),
    };
    let request = Request::get(&check.path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let asking = exchange(stream, request);
    let status = match timeout_at(deadline, asking).await {
        Ok(status) => status?,
        Err(_) => {
            let waited = humantime::format_duration(check.timeout);
            return Err(format!("no answer in {waited}"));
        }
    };
    if status.is_success() {
        Ok(status)
    } else {
        Err(format!("answered {}", status.as_u16()))
    }
}

/// Sends a request and returns the status of its answer. Only the part of the body that arrives at once is read.
async fn exchange(
    stream: UpstreamStream,
    request: Request<Empty<Bytes>>,
) -> Result<StatusCode, String> {
    let words = |error: hyper::Error| source_words(&error);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HYPER_MIN_BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(words)?;
    let answering = async {
        let response = sender.send_request(request).await.map_err(words)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_MAX).collect();
        // The status is already known. The body is only read so that the upstream can end normally.
        let _ = tokio::time::timeout(BODY_WAIT, body).await;
        Ok(status)
    };
    let (mut answering, mut connection) = (pin!(answering), pin!(connection));
    let mut is_over = false;
    poll_fn(|cx| {
        if !is_over {
            // The answer's body reports how it ends.
            is_over = connection.as_mut().poll(cx).is_ready();
        }
        answering.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_answer_is_no_illness_but_the_first_one_is() {
        for (answers, changes) in [
            (&[true, true][..], &[None, None][..]),
            (&[false, true, false], &[Some(false), Some(true), None]),
            (&[false, false, true], &[Some(false), None, Some(true)]),
            (&[true, false, true, false], &[None, None, None, None]),
            (
                &[true, false, false, false, true],
                &[None, None, Some(false), None, Some(true)],
            ),
        ] {
            let mut history = History::default();
            let learnt: Vec<_> = answers.iter().map(|good| history.learn(*good)).collect();
            assert_eq!(learnt, changes, "{answers:?}");
        }
    }

    #[test]
    fn a_part_is_no_more_than_the_whole() {
        for _ in 0..1000 {
            assert!(part(Duration::from_secs(1)) <= Duration::from_secs(1));
        }
        assert_eq!(part(Duration::ZERO), Duration::ZERO);
    }
}
