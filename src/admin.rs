//! The proxy's own services: health checks and metrics on `probes.address`, a drain to be asked for on `admin.address`.
//!
//! Takes a bound [`Listener`] and the [`State`] of the process; answers short HTTP/1.1 requests in text until it is
//! dropped. Its connections are few, short-lived and counted apart from those of the proxy, so that a full proxy still
//! answers; they leave no records.

mod answers;
mod process;
mod scrape;
mod state;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinSet};

pub use answers::{Body, Service};
pub use state::{Phase, State};

use crate::limits::Slots;
use crate::listener::Listener;

/// Open connections of one service; one more ends the oldest. Far more than the checks of any platform at one time, and
/// as the newest is never turned away, clients that only hold connections open keep no check from its answer.
pub const CONNECTIONS: usize = 32;

/// How long a client may take for a request head, and how long a kept connection may wait for the next request.
const HEAD: Duration = Duration::from_secs(5);

/// How long a connection may live, whatever it does; it is told so with `Connection: close` where it is still in use.
const LIFETIME: Duration = Duration::from_secs(60);

/// What the request under way at the end of that time may still take.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// The smallest that hyper takes.
const HEAD_BYTES: usize = 8192;

/// Fields of a request; browsers send some 20.
const FIELDS: usize = 64;

/// Answers on `listener` until dropped.
pub async fn serve(mut listener: Listener, service: Service, state: State) {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        // Without a descriptor there is nothing to answer on; it has paused, and tries again.
        let Ok(accepted) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        while connections.len() >= CONNECTIONS
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
            // Until it is gone: a burst must not be faster than its end.
            connections.join_next().await;
        }
        let state = state.clone();
        oldest_first.push_back(connections.spawn(async move {
            answer_all(accepted.socket, service, state, LIFETIME).await;
            drop(accepted.slot);
        }));
    }
}

/// The requests of one connection, for `lifetime` at most.
async fn answer_all<S>(stream: S, service: Service, state: State, lifetime: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answer = service_fn(|request: Request<Incoming>| {
        let state = state.clone();
        async move { Ok::<Response<Body>, Infallible>(service.answer(&request, &state).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(FIELDS)
        // Some checks end their side with the request.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    // How it ended is nobody's concern: a check that got no answer says so itself.
    tokio::select! {
        _ = &mut connection => {}
        () = tokio::time::sleep(lifetime) => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
        }
    }
}

/// Places for the connections of a service, which no limit of the proxy counts.
#[must_use]
pub fn slots() -> Slots {
    // One more is accepted before the oldest is ended.
    Slots::new(CONNECTIONS + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::watch;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::generation::Generation;

    const CONFIG: &str = "
listeners: [{ address: '127.0.0.1:0' }]
routes: [{ path: /a, websocket: { origins: ['https://a.example'] }, upstream: app }]
upstreams: { app: { endpoints: ['builtin:echo'] } }
";

    fn serving() -> State {
        let outcome = crate::config::parse(CONFIG, "proxy.yaml".as_ref(), &|_| None);
        let generation = Generation {
            number: 1,
            config: Arc::new(outcome.config.unwrap()),
            upstreams: std::collections::BTreeMap::new(),
            certificates: Vec::new(),
        };
        let (_, generation) = watch::channel(Arc::new(generation));
        State::new(TaskTracker::new(), generation, Arc::default())
    }

    #[tokio::test]
    async fn a_client_that_asks_again_and_again_is_ended_all_the_same() {
        const LIFETIME: Duration = Duration::from_millis(200);
        let (mut client, server) = tokio::io::duplex(1024);
        let state = serving();
        let serving = tokio::spawn(answer_all(server, Service::Probes, state, LIFETIME));
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut answers = 0;
        let mut buffer = [0; 1024];
        let asking = async {
            while client.write_all(request).await.is_ok() {
                match client.read(&mut buffer).await {
                    Ok(1..) => answers += 1,
                    _ => break,
                }
            }
        };
        tokio::time::timeout(HEAD, asking).await.unwrap();
        serving.await.unwrap();
        assert!(answers > 1, "{answers}");
    }

    #[tokio::test]
    async fn a_client_that_reads_no_answer_is_ended_too() {
        const LIFETIME: Duration = Duration::from_millis(200);
        let (mut client, server) = tokio::io::duplex(1024);
        let state = serving();
        let serving = tokio::spawn(answer_all(server, Service::Probes, state, LIFETIME));
        let asking = async {
            let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
            while client.write_all(request).await.is_ok() {}
        };
        tokio::time::timeout(HEAD, asking).await.unwrap();
        serving.await.unwrap();
    }
}
