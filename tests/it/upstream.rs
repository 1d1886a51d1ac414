//! The upstream stage: endpoints that fail, and answers that are not a valid 101.

use std::sync::Mutex;
use std::sync::mpsc;

use wsgate::reason::Reason;

use crate::harness::client::KEY;
use crate::harness::handshakes::{ask, ask_with, attempts, echoes, has_timings, is_own, waited};
use crate::harness::upstream::{Call, Full, Nobody, field};
use crate::harness::{Client, Line, PATIENCE, Setup, Upstream, eventually, handshake, switching};

/// What a 101 may contain, and what not.
mod answers;
/// Endpoints in turn.
mod connecting;
/// Several endpoints, and unix sockets.
pub mod groups;
/// Clients that leave while nothing is read from them.
mod leaving;
/// What the client gets of a refusal.
mod relay;
/// Upstreams over TLS.
pub mod secure;
/// Events while the upstream is handling the handshake.
mod waiting;

/// An endpoint that can't be connected to: refused with `reason`, which its only attempt has too.
#[track_caller]
fn unconnected(setup: &Setup, reason: Reason) -> Line {
    let (response, line) = ask(setup);
    is_own(&response, &line);
    assert_eq!(
        attempts(&line),
        [(setup.endpoints.clone(), reason.code().to_owned())]
    );
    assert_eq!(line.number("handshake_ms"), None, "no handshake began");
    line.expect(reason)
}

/// An upstream whose answer the proxy rejects: refused, asked once, and its connection closed.
#[track_caller]
fn refused(setup: &Setup, upstream: &Upstream) -> Line {
    let (response, line) = ask(setup);
    is_own(&response, &line);
    was_asked(upstream, &line);
    line
}

/// The upstream received one rebuilt handshake on one connection, which the proxy has closed.
#[track_caller]
fn was_asked(upstream: &Upstream, line: &Line) {
    assert_eq!(attempts(line), [(upstream.url(), "connected".to_owned())]);
    has_timings(line, &["connect_ms", "handshake_ms"]);
    assert_eq!(upstream.connections(), 1);
    let heads = upstream.heads();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with("GET /ws HTTP/1.1\r\n"), "{}", heads[0]);
    assert_eq!(field(&heads[0], "sec-websocket-key"), Some(KEY));
    assert_eq!(field(&heads[0], "connection"), Some("Upgrade"));
    upstream.all_ended();
}

/// An upstream that answers with a changed 101 and then waits for the end.
fn altering(change: impl Fn(String) -> String + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |mut call| {
        let answer = change(switching(&call.head, ""));
        call.write(answer).drain();
    })
}

/// A changed 101: refused, with the fault in `detail`.
#[track_caller]
fn wrong_101(change: impl Fn(String) -> String + Send + Sync + 'static, reason: Reason) -> Line {
    let upstream = altering(change);
    refused(&Setup::plain(&upstream.url()), &upstream).expect(reason)
}

/// A complete answer that is not a 101: relayed with its status, fields and body.
#[track_caller]
fn relayed(status_line: &str, fields: &str, reason: Reason) -> Line {
    const BODY: &str = "the upstream's own words\n";
    let length = BODY.len();
    let answer = format!(
        "HTTP/1.1 {status_line}\r\nContent-Length: {length}\r\nX-Own: kept\r\n{fields}\r\n{BODY}"
    );
    let upstream = Upstream::answering(answer);
    let (response, line) = ask(&Setup::plain(&upstream.url()));
    assert_eq!(response.line, format!("HTTP/1.1 {status_line}"));
    assert_eq!(response.text(), BODY);
    assert_eq!(response.field("x-own"), Some("kept"));
    assert_eq!(line.number("status"), Some(response.status.into()));
    let told = format!("received-status={}; details=\"{reason}\"", response.status);
    let proxy_status = response.field("proxy-status").unwrap();
    assert!(proxy_status.contains(&told), "{proxy_status}");
    assert_eq!(
        response.field("x-request-id"),
        Some(line.text("request_id"))
    );
    was_asked(&upstream, &line);
    line.expect(reason)
        .with_detail(&format!("the upstream answered {}", response.status))
}

pub fn client_gave_up() -> Line {
    let (asked, is_asked) = mpsc::channel();
    let asked = Mutex::new(asked);
    let upstream = Upstream::start(move |mut call| {
        asked.lock().unwrap().send(()).unwrap();
        call.drain();
    });
    let mut proxy = Setup::tls(&upstream.url()).start();
    let mut client = Client::tls(proxy.address());
    client.send(handshake("/ws", &[]));
    is_asked.recv_timeout(PATIENCE).unwrap();
    client.finish();
    let line = proxy.terminal();
    assert_eq!(line.text("event"), "refused");
    assert_eq!(
        line.number("status"),
        None,
        "nobody was left to be answered"
    );
    assert_eq!(attempts(&line), [(upstream.url(), "connected".to_owned())]);
    has_timings(&line, &["tls_ms", "head_ms", "policy_ms", "connect_ms"]);
    upstream.all_ended();
    line.expect(Reason::ClientGaveUp)
        .with_detail("left after waiting ")
        .with_detail("closed in order")
}

pub fn upstream_dns_failed() -> Line {
    // RFC 6761 section 6.4: this name never resolves.
    let setup = Setup {
        upstream: ", connect_timeout: 10s".to_owned(),
        ..Setup::plain("http://does-not-exist.invalid:80")
    };
    unconnected(&setup, Reason::UpstreamDnsFailed).with_detail("does-not-exist.invalid: ")
}

pub fn upstream_refused() -> Line {
    let nobody = Nobody::new();
    unconnected(&Setup::plain(&nobody.url()), Reason::UpstreamRefused)
        .with_detail(&nobody.address().to_string())
        .with_detail("refused")
}

pub fn upstream_connect_timeout() -> Line {
    let full = Full::new();
    let setup = Setup {
        upstream: ", connect_timeout: 200ms".to_owned(),
        ..Setup::plain(&full.url())
    };
    let line = unconnected(&setup, Reason::UpstreamConnectTimeout);
    let ms = line.0["attempts"][0]["ms"].as_u64().unwrap();
    // Without the time for the look-up, which is short for an address.
    assert!(ms >= 190, "{line:?}");
    assert!(line.number("connect_ms") >= Some(ms));
    let said = waited(line.text("detail"));
    assert!((190..=ms).contains(&said), "{line:?}");
    line
}

pub fn upstream_unreachable() -> Line {
    // The broadcast address of the loopback network: there is no route to it for TCP.
    unconnected(
        &Setup::plain("http://127.255.255.255:80"),
        Reason::UpstreamUnreachable,
    )
    .with_detail("127.255.255.255:80")
}

pub fn upstream_reset_on_connect() -> Line {
    let upstream = Upstream::raw(|socket| {
        Call {
            socket,
            head: String::new(),
        }
        .reset();
    });
    let (response, line) = ask(&Setup::plain(&upstream.url()));
    is_own(&response, &line);
    let tried = attempts(&line);
    assert_eq!(tried.len(), 1);
    assert_eq!(tried[0].0, upstream.url());
    // The reset may be seen by connect() or by the first write.
    assert!(
        matches!(
            tried[0].1.as_str(),
            "connected" | "upstream_reset_on_connect"
        ),
        "{tried:?}"
    );
    line.expect(Reason::UpstreamResetOnConnect)
}

pub fn upstream_ports_exhausted() -> Line {
    const LIMIT: usize = 64;
    let upstream = Upstream::echo();
    let setup = Setup {
        descriptors: Some(LIMIT as u64),
        ..Setup::plain(&upstream.url())
    };
    let mut proxy = setup.start();
    let folder = format!("/proc/{}/fd", proxy.id());
    // Descriptors that the shell inherited may be above the limit.
    let counts = |name: &std::ffi::OsStr| name.to_string_lossy().parse::<usize>().unwrap() < LIMIT;
    let open = || {
        let all = std::fs::read_dir(&folder).unwrap();
        all.filter(|entry| counts(&entry.as_ref().unwrap().file_name()))
            .count()
    };
    // One descriptor is left for the next client, but none for its upstream.
    let mut idle = Vec::new();
    while open() < LIMIT - 1 {
        let before = open();
        idle.push(Client::plain(proxy.address()));
        eventually("the accepted connection", || {
            (open() > before).then_some(())
        });
    }
    let mut client = Client::plain(proxy.address());
    let response = client.send(handshake("/ws", &[])).response();
    assert_eq!(
        response.status,
        503,
        "{} of {LIMIT} descriptors: {:#?}",
        open(),
        proxy.lines()
    );
    assert_eq!(client.rest(), b"");
    let line = proxy.wait("the refusal", |lines| {
        let mut refused = lines.iter().filter(|line| line.text("event") == "refused");
        refused
            .find(|line| line.text("stage") == "upstream")
            .cloned()
    });
    is_own(&response, &line);
    assert_eq!(
        attempts(&line),
        [(upstream.url(), "upstream_ports_exhausted".to_owned())]
    );
    assert_eq!(upstream.connections(), 0);
    // When descriptors are free again, the same proxy serves.
    drop(idle);
    drop(client);
    for _ in 0..LIMIT - 2 {
        if proxy.terminal().text("reason") == "upstream_ports_exhausted" {
            break;
        }
    }
    eventually("free descriptors", || (open() < LIMIT / 2).then_some(()));
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake("/ws", &[])).response().status, 101);
    line.expect(Reason::UpstreamPortsExhausted)
        .with_detail("Too many open files")
}

pub fn upstream_plain_to_tls_port() -> Line {
    // A fatal alert record: unexpected_message.
    let upstream = Upstream::answering(b"\x15\x03\x03\x00\x02\x02\x0a");
    refused(&Setup::plain(&upstream.url()), &upstream)
        .expect(Reason::UpstreamPlainToTlsPort)
        .with_detail("first bytes 15 03 03 00 02 02 0a")
}

pub fn upstream_handshake_timeout() -> Line {
    let upstream = Upstream::start(|mut call| {
        call.drain();
    });
    let setup = Setup {
        upstream: ", handshake_timeout: 200ms".to_owned(),
        ..Setup::plain(&upstream.url())
    };
    let line = refused(&setup, &upstream);
    assert!(line.number("handshake_ms") >= Some(200));
    line.expect(Reason::UpstreamHandshakeTimeout)
        .with_detail("no byte of an answer in 200ms")
}

pub fn upstream_closed_before_response() -> Line {
    let upstream = Upstream::start(|mut call| {
        call.finish().drain();
    });
    refused(&Setup::plain(&upstream.url()), &upstream).expect(Reason::UpstreamClosedBeforeResponse)
}

pub fn upstream_malformed_response() -> Line {
    let upstream = Upstream::answering("SSH-2.0-OpenSSH_9.6\r\n");
    refused(&Setup::plain(&upstream.url()), &upstream)
        .expect(Reason::UpstreamMalformedResponse)
        .with_detail("SSH-2.0-")
}

pub fn upstream_head_too_large() -> Line {
    let cookie = "c".repeat(64 * 1024);
    let upstream = Upstream::start(move |mut call| {
        let answer = switching(&call.head, &format!("Set-Cookie: {cookie}\r\n"));
        call.write(answer).drain();
    });
    refused(&Setup::plain(&upstream.url()), &upstream).expect(Reason::UpstreamHeadTooLarge)
}

pub fn upstream_http10_101() -> Line {
    wrong_101(
        |answer| answer.replace("HTTP/1.1", "HTTP/1.0"),
        Reason::UpstreamHttp10101,
    )
    .with_detail("HTTP/1.0 101")
}

pub fn upstream_bad_request() -> Line {
    relayed("400 Bad Request", "", Reason::UpstreamBadRequest)
}

pub fn upstream_unauthorized() -> Line {
    relayed(
        "401 Unauthorized",
        "WWW-Authenticate: Bearer\r\n",
        Reason::UpstreamUnauthorized,
    )
}

pub fn upstream_forbidden() -> Line {
    relayed("403 Forbidden", "", Reason::UpstreamForbidden)
}

pub fn upstream_not_found() -> Line {
    relayed("404 Not Found", "", Reason::UpstreamNotFound)
}

pub fn upstream_upgrade_required() -> Line {
    relayed(
        "426 Upgrade Required",
        "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n",
        Reason::UpstreamUpgradeRequired,
    )
}

pub fn upstream_redirect() -> Line {
    relayed(
        "302 Found",
        "Location: https://api.example.com/ws/\r\n",
        Reason::UpstreamRedirect,
    )
    .with_detail("Location: https://api.example.com/ws/")
}

pub fn upstream_rate_limited() -> Line {
    relayed(
        "429 Too Many Requests",
        "Retry-After: 7\r\n",
        Reason::UpstreamRateLimited,
    )
}

pub fn upstream_4xx() -> Line {
    for (line, reason) in [
        ("402 Payment Required", Reason::Upstream4xx),
        ("405 Method Not Allowed", Reason::Upstream4xx),
        ("499 Client Closed Request", Reason::Upstream4xx),
    ] {
        relayed(line, "", reason);
    }
    relayed("410 Gone", "", Reason::Upstream4xx)
}

pub fn upstream_5xx() -> Line {
    relayed("500 Internal Server Error", "", Reason::Upstream5xx);
    relayed(
        "503 Service Unavailable",
        "Retry-After: 9\r\n",
        Reason::Upstream5xx,
    )
}

pub fn upstream_2xx_instead_of_101() -> Line {
    relayed(
        "200 OK",
        "Content-Type: text/html\r\n",
        Reason::Upstream2xxInsteadOf101,
    )
}

pub fn upstream_101_no_upgrade() -> Line {
    wrong_101(
        |answer| answer.replace("Upgrade: websocket\r\n", ""),
        Reason::Upstream101NoUpgrade,
    )
    .with_detail("no upgrade")
}

pub fn upstream_101_no_connection() -> Line {
    wrong_101(
        |answer| answer.replace("Connection: Upgrade\r\n", "Connection: keep-alive\r\n"),
        Reason::Upstream101NoConnection,
    )
    .with_detail("connection: keep-alive")
}

pub fn upstream_accept_missing() -> Line {
    wrong_101(
        |answer| answer.replace("Sec-WebSocket-Accept", "X-Accept"),
        Reason::UpstreamAcceptMissing,
    )
}

pub fn upstream_accept_mismatch() -> Line {
    wrong_101(
        |answer| {
            answer.replace(
                "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            )
        },
        Reason::UpstreamAcceptMismatch,
    )
    .with_detail("sec-websocket-accept: 28 bytes, expected ")
    .with_detail("expected s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
}

pub fn upstream_subprotocol_unrequested() -> Line {
    let upstream = Upstream::start(|mut call| {
        call.switch("Sec-WebSocket-Protocol: superchat\r\n").drain();
    });
    let setup = Setup::plain(&upstream.url());
    let (response, line) = ask_with(&setup, &[("Sec-WebSocket-Protocol", "chat, voice")]);
    is_own(&response, &line);
    was_asked(&upstream, &line);
    line.expect(Reason::UpstreamSubprotocolUnrequested)
        .with_detail("sec-websocket-protocol: superchat; offered: chat, voice")
}

pub fn upstream_extension_unrequested() -> Line {
    wrong_101(
        |answer| {
            let more = "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
            format!(
                "{}{more}",
                answer.trim_end_matches("\r\n").to_owned() + "\r\n"
            )
        },
        Reason::UpstreamExtensionUnrequested,
    )
    .with_detail("sec-websocket-extensions: permessage-deflate")
}

pub fn upstream_101_with_body() -> Line {
    wrong_101(
        |answer| {
            answer.replace(
                "Upgrade: websocket",
                "Content-Length: 5\r\nUpgrade: websocket",
            )
        },
        Reason::Upstream101WithBody,
    )
    .with_detail("content-length: 5")
}

pub fn upstream_double_101() -> Line {
    wrong_101(
        |answer| answer + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Reason::UpstreamDouble101,
    )
    .with_detail("after the 101: HTTP/1.1 200")
}

/// A point at which a handler reports and waits, so a test can do something in between.
struct Gate {
    reached: mpsc::Sender<()>,
    go: mpsc::Receiver<()>,
}

/// The test's side of a [`Gate`].
struct Keeper {
    reached: mpsc::Receiver<()>,
    go: mpsc::Sender<()>,
}

fn gate() -> (Mutex<Gate>, Keeper) {
    let (reached, is_reached) = mpsc::channel();
    let (go, may_go) = mpsc::channel();
    let gate = Gate {
        reached,
        go: may_go,
    };
    let keeper = Keeper {
        reached: is_reached,
        go,
    };
    (Mutex::new(gate), keeper)
}

impl Gate {
    /// Reports, and waits for permission to continue.
    fn pass(&self) {
        self.reached.send(()).unwrap();
        self.go.recv_timeout(PATIENCE).unwrap();
    }
}

impl Keeper {
    fn reached(&self) {
        self.reached.recv_timeout(PATIENCE).unwrap();
    }

    fn open(&self) {
        self.go.send(()).unwrap();
    }
}
