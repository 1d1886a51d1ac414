//! The proxy's own services: health checks and metrics on `probes.address`; the page, the status and drains on
//! `admin.address`.
//!
//! Takes a bound [`Listener`] and the [`State`] of the process. Answers short HTTP/1.1 requests with text until the
//! configuration no longer has the address. Connections are few, short and counted separately, so the services answer
//! even if the proxy is full. Event streams last longer; they have a limit of their own. The services leave no records.

mod answers;
mod events;
mod guard;
mod page;
mod problems;
mod process;
mod query;
mod scrape;
mod socket;
mod state;
mod status;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

pub use answers::{Body, Service};
pub use socket::{SocketFile, UnixDoor};
pub use state::{Phase, State};

use crate::limits::Slots;
use crate::listener::{Accepted, Listener};
use events::Streaming;

/// Most open connections of one service: far more than the checks of any platform need at a time. One more ends the
/// oldest and is accepted, so clients that hold connections open can't block a check.
pub const CONNECTIONS: usize = 32;

/// How long a client may take for a request head, and how long a kept connection may wait for the next request.
const HEAD: Duration = Duration::from_secs(5);

/// How long a connection may live at most. If it is still in use after that, `Connection: close` tells the client.
const LIFETIME: Duration = Duration::from_secs(60);

/// How long a request may still take after that time, and how long an ending service waits for its requests.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// How long to wait for a descriptor.
const PAUSE: Duration = Duration::from_millis(50);

/// The smallest buffer that hyper allows.
const HEAD_BYTES: usize = 8192;

/// Most fields in a request; browsers send some 20.
const FIELDS: usize = 64;

/// Why a service ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its address is no longer listened on.
    Closed,
    /// Another listener accepts from its socket.
    HandedOver,
}

/// Answers on `door` as the admin service until `ending` gives a reason to end. If it is dropped, it ends at once.
pub async fn serve_socket(door: UnixDoor, state: State, ending: watch::Receiver<Option<End>>) {
    let mut connections = Connections::default();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = ended(ending.clone()) => break,
            accepted = door.accept() => accepted,
        };
        let Ok((stream, from)) = accepted else {
            // No descriptor is left.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (state, ending) = (state.clone(), ending.clone());
        let answer = |streaming| {
            answer_all(
                (stream, from, streaming),
                Service::Admin,
                state,
                LIFETIME,
                ending,
            )
        };
        connections.add(answer).await;
    }
    drop(door);
    while connections.running.join_next().await.is_some() {}
}

/// Answers on `listener` until `ending` gives a reason to end. Then finishes requests in progress, and answers
/// connections in the kernel's queue if no other listener does. If it is dropped, it ends at once.
pub async fn serve(
    mut listener: Listener,
    service: Service,
    state: State,
    ending: watch::Receiver<Option<End>>,
) {
    let mut connections = Connections::default();
    let answer = |accepted: Accepted, streaming: Streaming| {
        let (state, ending) = (state.clone(), ending.clone());
        async move {
            let peer = accepted.peer.to_string();
            let client = (accepted.socket, peer, streaming);
            answer_all(client, service, state, LIFETIME, ending).await;
            drop(accepted.slot);
        }
    };
    let end = loop {
        let outcome = tokio::select! {
            biased;
            end = ended(ending.clone()) => break end,
            outcome = listener.accept() => outcome,
        };
        // Without a descriptor there is no connection; `accept` has paused, and is tried again.
        if let Ok(accepted) = outcome {
            connections
                .add(|streaming| answer(accepted, streaming))
                .await;
        }
    };
    let waiting = match end {
        End::Closed => CONNECTIONS,
        End::HandedOver => 0,
    };
    for _ in 0..waiting {
        match listener.accept_waiting() {
            Some(Ok(accepted)) => {
                connections
                    .add(|streaming| answer(accepted, streaming))
                    .await;
            }
            Some(Err(_)) => {}
            None => break,
        }
    }
    drop(listener);
    while connections.running.join_next().await.is_some() {}
}

/// Completes when the service must end.
async fn ended(mut ending: watch::Receiver<Option<End>>) -> End {
    let end = ending.wait_for(Option::is_some).await;
    // If the sender is gone, the process is ending.
    end.ok().and_then(|end| *end).unwrap_or(End::Closed)
}

/// The connections of a service, at most [`CONNECTIONS`] in addition to those with an event stream.
#[derive(Debug, Default)]
struct Connections {
    running: JoinSet<()>,
    oldest_first: VecDeque<(AbortHandle, Streaming)>,
}

impl Connections {
    async fn add<F>(&mut self, connection: impl FnOnce(Streaming) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        while self.running.try_join_next().is_some() {}
        self.oldest_first
            .retain(|(connection, _)| !connection.is_finished());
        while self.short_lived().count() >= CONNECTIONS {
            let oldest = self.short_lived().next();
            let Some((oldest, _)) = oldest.and_then(|oldest| self.oldest_first.remove(oldest))
            else {
                break;
            };
            oldest.abort();
            // Waits until it has ended. Otherwise a burst of connections could exceed the limit.
            while !oldest.is_finished() && self.running.join_next().await.is_some() {}
        }
        let streaming = Streaming::default();
        let connection = self.running.spawn(connection(streaming.clone()));
        self.oldest_first.push_back((connection, streaming));
    }

    /// The places of the connections without a stream, the oldest first.
    fn short_lived(&self) -> impl Iterator<Item = usize> {
        let all = self.oldest_first.iter().enumerate();
        all.filter(|(_, (_, streaming))| !streaming.is_on())
            .map(|(place, _)| place)
    }
}

/// Answers the requests of one connection for at most `lifetime` and as long as it has an event stream, and only briefly
/// after `ending`. `peer` is the client's address.
async fn answer_all<S>(
    (stream, peer, streaming): (S, String, Streaming),
    service: Service,
    state: State,
    lifetime: Duration,
    ending: watch::Receiver<Option<End>>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answer = service_fn(|request: Request<Incoming>| {
        let (state, streaming, peer) = (state.clone(), streaming.clone(), peer.clone());
        async move {
            let answer = service.answer(&request, &state, &streaming, &peer).await;
            Ok::<Response<Body>, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(FIELDS)
        // Some checks close their sending side after the request.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    let ended = async {
        ended(ending).await;
        // hyper would close a connection that has not sent anything yet.
        tokio::time::sleep(LAST_ANSWER).await;
    };
    let is_over = async {
        tokio::time::sleep(lifetime).await;
        streaming.over().await;
    };
    // Errors are ignored: a client that gets no answer notices that itself.
    tokio::select! {
        _ = &mut connection => return,
        () = streaming.stalled() => return,
        () = is_over => {}
        () = ended => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
}

/// The slots for the connections of a service; limits of the proxy do not count them.
#[must_use]
pub fn slots(service: Service) -> Slots {
    // One more is accepted before the oldest is ended.
    Slots::new(service.connections() + 1)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use http::Request;
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::net::TcpStream;
    use tokio::sync::watch;
    use tokio::task::JoinHandle;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::generation::Generation;
    use crate::moment::Moment;
    use crate::record::{Record, Resting};

    const CONFIG: &str = "
listeners: [{ address: '127.0.0.1:0' }]
routes: [{ path: /a, websocket: { origins: ['https://a.example'] }, upstream: app }]
upstreams: { app: { endpoints: ['builtin:echo'] } }
";

    fn serving() -> State {
        serving_with(CONFIG)
    }

    fn serving_with(config: &str) -> State {
        let outcome = crate::config::parse(config, "proxy.yaml".as_ref(), &|_| None);
        let generation = Generation {
            number: 1,
            config: Arc::new(outcome.config.unwrap()),
            routes: Vec::new(),
            upstreams: std::collections::BTreeMap::new(),
            certificates: Vec::new(),
            file: "proxy.yaml".into(),
            warnings: Vec::new(),
        };
        let (_, generation) = watch::channel(Arc::new(generation));
        let settings = crate::record::Settings {
            log: generation.borrow().config.log.clone(),
            is_terminal: false,
            instance: String::new(),
            hook: None,
        };
        let sink = crate::record::Sink::start(std::io::sink(), settings).unwrap();
        State::new(TaskTracker::new(), generation, &sink)
    }

    /// A client, and its connection with a short lifetime.
    fn short_lived() -> (DuplexStream, JoinHandle<()>) {
        const LIFETIME: Duration = Duration::from_millis(200);
        let (client, server) = tokio::io::duplex(1024);
        let state = serving();
        let serving = async move {
            let ending = watch::Sender::new(None);
            let client = (server, String::new(), Streaming::default());
            answer_all(client, Service::Probes, state, LIFETIME, ending.subscribe()).await;
        };
        (client, tokio::spawn(serving))
    }

    #[tokio::test]
    async fn tunnels_on_streams_of_one_connection_are_told_apart() {
        let state = serving_with(&format!("{CONFIG}admin: {{ address: '127.0.0.1:0' }}\n"));
        state.tunnels().keep(true);
        let streams = [Some(1), Some(3), Some(13), None];
        let open = streams.map(|stream_id| {
            let conn = if stream_id.is_some() { "a" } else { "b" };
            let record = Record {
                conn: Some(conn.to_owned()),
                stream_id,
                request_id: Some("same".to_owned()),
                ..Record::default()
            };
            Resting::open(record, Moment::now(), state.sink())
        });
        let ask = async |method: &str, target: &str| {
            let request = Request::builder().method(method).uri(target);
            let token = state.token().unwrap();
            let request = request
                .header("Host", "localhost")
                .header("X-Wsgate-Token", &*token);
            let request = request.body(()).unwrap();
            let streaming = Streaming::default();
            let answer = Service::Admin.answer(&request, &state, &streaming, "peer");
            let (head, body) = answer.await.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (
                head.status.as_u16(),
                String::from_utf8(body.to_vec()).unwrap(),
            )
        };
        for (id, expected) in [
            ("a", &streams[..3]),
            ("a-3", &streams[1..2]),
            ("a-5", &[]),
            ("b", &streams[3..]),
            ("b-1", &[]),
            ("same", &streams),
        ] {
            let target = format!("/status.json?sort=oldest&id={id}");
            let status: Value = serde_json::from_str(&ask("GET", &target).await.1).unwrap();
            let shown = status["tunnels"]["shown"].as_array().unwrap();
            let mut found: Vec<_> = shown
                .iter()
                .map(|tunnel| tunnel.get("stream_id").and_then(Value::as_u64))
                .collect();
            let mut expected: Vec<_> = expected.iter().map(|id| id.map(u64::from)).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{id}: {status}");
        }
        for (query, expected, said) in [
            ("conn=a", 400, "add stream_id"),
            ("conn=a&stream_id=", 400, "the streams 1, 3, 13"),
            ("conn=a&stream_id=x", 400, "must be a number such as 5"),
            ("conn=a&stream_id=5", 404, "this conn and stream_id"),
            ("conn=b&stream_id=1", 404, "this conn and stream_id"),
            ("conn=c", 404, "with this conn;"),
            ("conn=a&stream_id=3&name=ann", 202, "asked to close"),
        ] {
            let (status, text) = ask("POST", &format!("/close?{query}")).await;
            assert_eq!(status, expected, "{query}: {text}");
            assert!(text.contains(said), "{query}: {text}");
        }
        let cx = Context::from_waker(Waker::noop());
        let asked = open.each_ref().map(|tunnel| tunnel.asked_to_close(&cx));
        let who = "asked for on the admin listener by ann, from peer".to_owned();
        assert_eq!(asked, [None, Some(who), None, None]);
    }

    #[tokio::test]
    async fn a_client_that_asks_again_and_again_is_ended_all_the_same() {
        let (mut client, serving) = short_lived();
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
    async fn who_waits_and_who_is_asking_is_answered_when_a_service_ends() {
        const WAITING: usize = 3;
        let listener = "127.0.0.1:0".parse().unwrap();
        let listener =
            Listener::bind(listener, slots(Service::Probes), Duration::from_secs(1)).unwrap();
        let address = listener.address();
        let ending = watch::Sender::new(None);
        let listened = ending.subscribe();
        let serving = tokio::spawn(serve(listener, Service::Probes, serving(), listened));
        let mut asking = TcpStream::connect(address).await.unwrap();
        asking
            .write_all(b"GET /healthz HTTP/1.1\r\n")
            .await
            .unwrap();
        // There is one thread: the service runs while this waits, and has read everything before it answers the next
        // request.
        let mut answered = TcpStream::connect(address).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        answered.write_all(request).await.unwrap();
        assert_answered(&mut answered).await;
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let mut client = std::net::TcpStream::connect(address).unwrap();
                client.write_all(request).unwrap();
                client.set_nonblocking(true).unwrap();
                client
            })
            .collect();
        ending.send_replace(Some(End::Closed));
        tokio::task::yield_now().await;
        asking.write_all(b"Host: x\r\n\r\n").await.unwrap();
        assert_answered(&mut asking).await;
        for client in waiting {
            assert_answered(&mut TcpStream::from_std(client).unwrap()).await;
        }
        tokio::time::timeout(HEAD, serving).await.unwrap().unwrap();
    }

    async fn assert_answered(client: &mut TcpStream) {
        let mut answer = String::new();
        let reading = client.read_to_string(&mut answer);
        tokio::time::timeout(HEAD, reading).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    }

    #[tokio::test]
    async fn a_client_that_reads_no_answer_is_ended_too() {
        let (mut client, serving) = short_lived();
        let asking = async {
            let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
            while client.write_all(request).await.is_ok() {}
        };
        tokio::time::timeout(HEAD, asking).await.unwrap();
        serving.await.unwrap();
    }
}
