//! The proxy's memory with clients that try to use much of it (docs/performance.md has the table).

use std::fs;
use std::io::{ErrorKind, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::harness::handshake;
use crate::harness::proxy::HOST;
use crate::harness::upstream::Call;
use crate::harness::{Client, Proxy, Setup, Upstream, eventually, within};

/// The most that a connection may cost while it waits for its upstream, its body or its answer: 96 KiB, so that 10,000
/// of them stay below 1 GiB, and a little more for a debug build.
const MOST: u64 = 100 * 1024;

/// Connections of each kind: enough to make the growth of the process itself negligible.
const MANY: usize = 100;

/// The allocator returns freed memory only after 10 seconds, and looks for it only now and then.
const RETURN: Duration = Duration::from_secs(60);

/// The default of `limits.header_bytes`.
const HEAD: usize = 16 * 1024;

/// What is sent before an answer.
const AHEAD: &[u8] = &[b'x'; 16 * 1024];

/// A configuration whose timers are longer than the test.
fn setup(upstream: &Upstream) -> Setup {
    Setup {
        routes: "  - path: /plain\n    http: { methods: [GET, POST], max_body: off, response_timeout: 5m, \
                 request_timeout: 5m }\n    upstream: app\n"
            .to_owned(),
        upstream: ", handshake_timeout: 5m".to_owned(),
        limits: "write_stall: 5m".to_owned(),
        log: "level: info".to_owned(),
        ..Setup::tls(&upstream.url())
    }
}

/// Answers GET for `/plain` with an endless body, and nothing else; does not read bodies. Closes its connections when
/// the sender is dropped.
fn silent() -> (Upstream, Sender<()>) {
    let (keeper, kept) = channel::<()>();
    let kept = Mutex::new(kept);
    let upstream = Upstream::start(move |mut call: Call| {
        if call.head.starts_with("GET /plain ") {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
            let mut written = call.socket.write_all(answer.as_bytes());
            while written.is_ok() {
                written = call.socket.write_all(&[b'y'; 16 * 1024]);
            }
        } else {
            // Nothing is sent; this returns when the sender is dropped.
            assert!(kept.lock().unwrap().recv().is_err());
        }
    });
    (upstream, keeper)
}

/// The memory of the proxy that it shares with no other process, in bytes.
fn memory(proxy: &Proxy) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", proxy.id())).unwrap();
    let mut lines = rollup.lines();
    let line = lines.find_map(|line| line.strip_prefix("Anonymous:"));
    let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

/// The largest possible head, with this number of fields of equal size.
fn filled(begun: &str, fields: usize) -> Vec<u8> {
    let mut head = begun.strip_suffix("\r\n").unwrap().to_owned();
    let each = (HEAD - head.len() - 2) / fields.max(1);
    for number in 10..10 + fields {
        let value = "v".repeat(each - "X-00: \r\n".len());
        head += &format!("X-{number}: {value}\r\n");
    }
    (head + "\r\n").into_bytes()
}

/// A handshake with as many subprotocols as possible, as long as possible.
fn subprotocols() -> Vec<u8> {
    let names: Vec<_> = (100..200)
        .map(|number| format!("{number}{}", "p".repeat(150)))
        .collect();
    handshake("/ws", &[("Sec-WebSocket-Protocol", &names.join(","))]).into_bytes()
}

fn plain(method: &str, fields: &str) -> String {
    format!("{method} /plain HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")
}

/// What a client does after its request has reached the upstream.
#[derive(Clone, Copy)]
enum Then {
    /// Nothing.
    Wait,
    /// Sends these bytes.
    Send(&'static [u8]),
    /// Sends the beginning of a chunked body: as many extensions and trailers as possible, without their end.
    Chunks,
    /// Sends as much of its body as the proxy reads.
    Stuff,
}

/// Opens this many connections, which send `head`.
fn opened(proxy: &Proxy, upstreams: &[Upstream], head: &[u8]) -> Vec<Client> {
    let heads = || upstreams.iter().map(|one| one.heads().len()).sum::<usize>();
    let before = heads();
    let clients: Vec<_> = (0..MANY)
        .map(|_| {
            let mut client = Client::tls(proxy.address());
            client.send(head);
            client
        })
        .collect();
    eventually("all requests at the upstream", || {
        (heads() == before + MANY).then_some(())
    });
    clients
}

/// Nearly as many extensions and trailers of chunks as possible, without their end.
fn begun_chunks() -> Vec<u8> {
    let mut body = format!("1;{}\r\nx\r\n", "e".repeat(4000)).repeat(4);
    body += "0\r\n";
    for number in 10..100 {
        body += &format!("X-{number}: {}\r\n", "t".repeat(160));
    }
    body.into_bytes()
}

/// Lets the clients do this.
fn go_on(clients: &mut [Client], then: Then) {
    let each = |clients: &mut [Client], bytes: &[u8]| {
        for client in clients {
            client.send(bytes);
        }
    };
    match then {
        Then::Wait => {}
        Then::Send(bytes) => each(clients, bytes),
        Then::Chunks => each(clients, &begun_chunks()),
        Then::Stuff => stuff(clients),
    }
}

/// Sends as much of each client's body as the proxy reads.
fn stuff(clients: &mut [Client]) {
    let piece = [b'x'; 16 * 1024];
    for client in &*clients {
        client.tcp().set_nonblocking(true).unwrap();
    }
    let mut quiet = 0;
    eventually("nobody to take more", || {
        let mut taken = 0;
        for client in &mut *clients {
            loop {
                match client.write(&piece) {
                    Ok(0) => break,
                    Ok(count) => taken += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        quiet = if taken == 0 { quiet + 1 } else { 0 };
        (quiet == 3).then_some(())
    });
}

/// Measures connections of one kind, after a first round in which the process allocates what it needs only once. With
/// two `endpoints` a request is kept until its answer has begun, because the other one might still get it.
fn costs(what: &str, head: &[u8], then: Then, endpoints: usize) {
    let (upstreams, keepers): (Vec<_>, Vec<_>) = (0..endpoints).map(|_| silent()).unzip();
    let urls: Vec<_> = upstreams.iter().map(Upstream::url).collect();
    let proxy = Setup {
        endpoints: urls.join(", "),
        ..setup(&upstreams[0])
    }
    .start();
    let round = || -> Vec<Client> {
        let mut clients = opened(&proxy, &upstreams, head);
        go_on(&mut clients, then);
        clients
    };
    let idle = memory(&proxy);
    // Unsent bytes of a client would keep its end from arriving.
    round().into_iter().for_each(Client::reset);
    // Nothing wakes the proxy: what it does not return on its own, it keeps.
    let allowed = idle + 2 * 1024 * 1024;
    let idle = within(RETURN, "the memory of a burst to go back", || {
        let now = memory(&proxy);
        (now < allowed).then_some(now)
    });
    let clients = round();
    let most = idle + MOST * MANY as u64;
    let mut last = 0;
    within(RETURN, what, || {
        last = memory(&proxy);
        (last < most).then_some(())
    });
    let each = last.saturating_sub(idle) / MANY as u64;
    println!("{what}: {:.1} KiB each", each as f64 / 1024.0);
    drop((clients, proxy, keepers));
}

#[test]
fn a_client_that_waits_for_its_101_costs_little_whatever_its_head_holds() {
    let usual = handshake("/ws", &[]);
    let ahead = Then::Send(AHEAD);
    for (what, head, then) in [
        ("a head of one field", filled(&usual, 1), Then::Wait),
        ("a head of many fields", filled(&usual, 88), Then::Wait),
        ("a head of many subprotocols", subprotocols(), Then::Wait),
        ("bytes ahead", usual.clone().into_bytes(), ahead),
        ("one field and bytes ahead", filled(&usual, 1), ahead),
        ("many fields and bytes ahead", filled(&usual, 88), ahead),
    ] {
        costs(what, &head, then, 1);
    }
}

#[test]
fn a_client_of_a_plain_request_costs_little_whatever_its_head_holds() {
    let post = plain("POST", "Content-Length: 1000000000\r\n");
    costs("a body that is not read", post.as_bytes(), Then::Stuff, 1);
    let head = filled(&post, 90);
    costs("the same behind many fields", &head, Then::Stuff, 1);
    let head = filled(&plain("POST", "Transfer-Encoding: chunked\r\n"), 90);
    costs("chunks without an end", &head, Then::Chunks, 1);
    let get = plain("GET", "");
    costs("an answer not read", get.as_bytes(), Then::Wait, 1);
    let head = filled(&get, 90);
    costs("the same, many fields", &head, Then::Send(AHEAD), 1);
}

#[test]
fn a_request_that_another_endpoint_may_get_costs_little_whatever_its_head_holds() {
    let get = format!("GET /plain?kept HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let head = filled(&get, 90);
    costs("a request that is kept", &head, Then::Send(AHEAD), 2);
}
