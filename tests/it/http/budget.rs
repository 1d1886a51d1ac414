//! What one head may cost: a fixed multiple of its bytes, whichever field it spends them on.
//!
//! The tests compare the process's processor time, not wall-clock time, with that for a head of the same size that is
//! one long field. Other programs on the machine can only increase it, so the least of a few measurements counts.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::proxy::HOST;
use crate::harness::{Client, Proxy, Setup, Upstream, handshake, switching};

/// The largest allowed `limits.header_bytes`, and a head that nearly fills it.
const LIMIT: &str = "1MiB";
const FULL: usize = 1_000_000;

/// The longest request line.
const TARGET: usize = 64_000;

/// How much more than a single long field anything may cost. A debug build, in which each step of a loop is a call,
/// takes up to 15 times as much for a list of one-letter names. The product of the numbers of fields and names would
/// take 60 times as much, and the square of the size thousands of times.
const MOST: u32 = 40;

/// How much more than 16 times as much a head of 16 times the size may cost.
const GROWTH: u32 = 3;

/// The beginning of a Referer of the route's mini program.
const APP: &str = "https://servicewechat.com/wx0123456789abcdef/";

/// The shortest possible name for `index`; all are different.
fn name(mut index: usize) -> String {
    const DIGITS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut name = String::new();
    loop {
        name.push(char::from(DIGITS[index % DIGITS.len()]));
        index /= DIGITS.len();
        if index == 0 {
            return name;
        }
    }
}

/// A list of `size` bytes whose members are all different.
fn different(size: usize) -> String {
    let mut list = name(0);
    for index in 1.. {
        let name = name(index);
        if list.len() + name.len() >= size {
            break;
        }
        list.push(',');
        list.push_str(&name);
    }
    list
}

/// `part` repeated to at most `size` bytes, not ending in a separator.
fn repeated(part: &str, size: usize) -> String {
    let whole = part.repeat(size / part.len());
    whole
        .trim_end_matches([',', ';', '/', '&', '.', ' '])
        .to_owned()
}

/// Names whose search begins at the same place in a `HeaderMap` of up to a hundred fields.
fn colliding(count: usize) -> Vec<String> {
    let hash = |name: &str| {
        // FNV-1a over the discriminant for non-standard names and the name's bytes.
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0].into_iter().chain(name.bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    };
    let wanted = hash("x") % 256;
    let names = (0..).map(|index| format!("x{}", name(index)));
    names
        .filter(|name| hash(name) % 256 == wanted)
        .take(count)
        .collect()
}

/// One field for each name.
fn fields(names: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
    names
        .into_iter()
        .map(|name| (name, "1".to_owned()))
        .collect()
}

/// A request with these fields.
#[derive(Clone)]
struct Ask {
    is_plain: bool,
    target: String,
    fields: Vec<(String, String)>,
    /// Fields that the upstream adds to its answer.
    answer: String,
}

impl Ask {
    fn handshake() -> Self {
        Self {
            is_plain: false,
            target: "/ws".to_owned(),
            fields: Vec::new(),
            answer: String::new(),
        }
    }

    fn plain() -> Self {
        Self {
            is_plain: true,
            target: "/api/a".to_owned(),
            ..Self::handshake()
        }
    }

    fn to(mut self, target: String) -> Self {
        self.target = target;
        self
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    fn and(mut self, fields: Vec<(String, String)>) -> Self {
        self.fields.extend(fields);
        self
    }

    fn answered(mut self, name: &str, value: String) -> Self {
        write!(self.answer, "{name}: {value}\r\n").unwrap();
        self
    }

    fn head(&self) -> String {
        if self.is_plain {
            let mut head = format!("GET {} HTTP/1.1\r\nHost: {HOST}\r\n", self.target);
            for (name, value) in &self.fields {
                write!(head, "{name}: {value}\r\n").unwrap();
            }
            return head + "\r\n";
        }
        let fields: Vec<_> = self
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        handshake(&self.target, &fields)
    }
}

/// A proxy, and an upstream that accepts everything and adds fields to its answer.
struct Bench {
    proxy: Proxy,
    answer: Arc<Mutex<String>>,
    _upstream: Upstream,
}

impl Bench {
    fn start(extra: &str) -> Self {
        let answer = Arc::new(Mutex::new(String::new()));
        let more = Arc::clone(&answer);
        let upstream = Upstream::raw(move |mut socket| serve(&mut socket, &more));
        let setup = Setup {
            limits: format!("header_bytes: {LIMIT}"),
            origins: "[\"https://app.example.com\", wechat]".to_owned(),
            websocket: "wechat_app_ids: [wx0123456789abcdef]".to_owned(),
            routes: "  - path: /api/*\n    http: {}\n    upstream: app\n".to_owned(),
            log: "level: debug, query_keep: [kept]".to_owned(),
            extra: extra.to_owned(),
            ..Setup::plain(&upstream.url())
        };
        Self {
            proxy: setup.start(),
            answer,
            _upstream: upstream,
        }
    }

    /// What a request costs. Its status, or the reason for which it is refused, must be `expected`.
    #[track_caller]
    fn least(&self, ask: &Ask, expected: &str, enough: Duration) -> Duration {
        self.answer.lock().unwrap().clone_from(&ask.answer);
        let head = ask.head();
        assert!(head.len() < 1024 * 1024, "{} bytes", head.len());
        self.proxy.least_time(enough, || {
            let mut client = Client::plain(self.proxy.address());
            let response = client.send(&head).response();
            client.finish();
            client.rest();
            let outcome = match response.status {
                101 | 200 => response.status.to_string(),
                _ => response
                    .text()
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            };
            assert_eq!(outcome, expected, "{head:.100}");
        })
    }

    /// Compares each case with one long field of the same size, and with itself at a sixteenth of the size.
    fn hold(&self, size: usize, cases: &[Case]) {
        let single = |size| Ask::handshake().with("Cookie", "c".repeat(size));
        let whole = self.least(&single(size), "101", Duration::ZERO);
        for Case(what, expected, ask) in cases {
            let cost = self.least(&ask(size), expected, whole * MOST);
            assert!(
                cost <= whole * MOST,
                "{what}: {cost:?} for {size} bytes, where a single field takes {whole:?}"
            );
            let part = self.least(&ask(size / 16), expected, Duration::ZERO);
            let bound = part * 16 * GROWTH;
            let cost = match cost <= bound {
                true => cost,
                false => self.least(&ask(size), expected, bound),
            };
            assert!(
                cost <= bound,
                "{what}: {cost:?} for {size} bytes, where a sixteenth takes {part:?}"
            );
        }
    }
}

/// The name of a case, its outcome, and its request for a given size.
struct Case(&'static str, &'static str, fn(usize) -> Ask);

/// Reads requests one after the other and answers them.
fn serve(socket: &mut TcpStream, more: &Mutex<String>) {
    let mut head = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = socket.read(&mut piece) {
        head.extend_from_slice(&piece[..count]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let more = more.lock().unwrap().clone();
        let answer = match text.contains("upgrade: websocket\r\n")
            || text.contains("Upgrade: websocket\r\n")
        {
            true => switching(&text, &more),
            false => format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{more}\r\n"),
        };
        // The proxy may have ended the connection.
        if socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
        head.clear();
    }
}

#[test]
fn no_field_of_a_handshake_costs_more_than_its_bytes() {
    let bench = Bench::start("");
    bench.hold(
        FULL,
        &[
            Case("subprotocols", "ws_protocol_header_invalid", |size| {
                Ask::handshake().with("Sec-WebSocket-Protocol", different(size))
            }),
            Case(
                "subprotocols in many lines",
                "ws_protocol_header_invalid",
                |size| {
                    let lines = (0..90).map(|line| {
                        let name = "Sec-WebSocket-Protocol".to_owned();
                        (name, format!("{line},") + &different(size / 90))
                    });
                    Ask::handshake().and(lines.collect())
                },
            ),
            Case("long subprotocols", "101", |size| {
                let list = (0..100).map(|index| format!("{index}{}", "p".repeat(size / 110)));
                Ask::handshake().with("Sec-WebSocket-Protocol", list.collect::<Vec<_>>().join(","))
            }),
            Case("extensions", "ws_extensions_header_invalid", |size| {
                Ask::handshake().with("Sec-WebSocket-Extensions", different(size))
            }),
            Case("parameters of an extension", "101", |size| {
                Ask::handshake().with("Sec-WebSocket-Extensions", repeated("a;", size))
            }),
            Case("tokens of Connection", "101", |size| {
                Ask::handshake().with("Connection", "Upgrade,".to_owned() + &different(size))
            }),
            Case("tokens of Connection that name fields", "101", |size| {
                let named = repeated("b,", size);
                Ask::handshake()
                    .with("Connection", format!("Upgrade,{named}"))
                    .and(fields((0..90).map(name)))
            }),
            Case("a name of Connection among equal hashes", "101", |size| {
                let names = colliding(90);
                let named = repeated(&format!("{},", names[89]), size);
                Ask::handshake()
                    .with("Connection", format!("Upgrade,{named}"))
                    .and(fields(names))
            }),
            Case("tokens of Upgrade", "101", |size| {
                Ask::handshake().with("Upgrade", "websocket,".to_owned() + &repeated("a,", size))
            }),
            Case(
                "tokens of Connection without the one",
                "ws_connection_token_missing",
                |size| Ask::handshake().with("Connection", different(size)),
            ),
            Case(
                "tokens of Upgrade without the one",
                "ws_upgrade_not_websocket",
                |size| Ask::handshake().with("Upgrade", repeated("a,", size)),
            ),
            Case("hops in Via", "loop_detected", |size| {
                Ask::handshake().with("Via", different(size))
            }),
            Case("words in Via", "101", |size| {
                Ask::handshake().with("Via", repeated("a ", size))
            }),
            Case("Host", "http_host_invalid", |size| {
                Ask::handshake().with("Host", repeated("a.", size))
            }),
            Case("Origin", "origin_malformed", |size| {
                Ask::handshake().with("Origin", format!("https://{}", repeated("a.", size)))
            }),
            Case(
                "an Origin with names and passwords",
                "origin_malformed",
                |size| Ask::handshake().with("Origin", repeated("://@", size)),
            ),
            Case("many Origins", "origin_multiple", |size| {
                let origin = format!("https://{}", repeated("a.", size / 90));
                Ask::handshake().and(vec![("Origin".to_owned(), origin); 90])
            }),
            Case("Referer", "101", |size| {
                let page = format!("{APP}{}", repeated("a/", size));
                Ask::handshake()
                    .with("Origin", "https://servicewechat.com")
                    .with("Referer", page)
            }),
            Case("many Referers", "referer_appid_mismatch", |size| {
                let own = format!("{APP}{}", repeated("a/", size / 90));
                let foreign = own.replace("0123", "4567");
                Ask::handshake()
                    .with("Origin", "https://servicewechat.com")
                    .and(vec![("Referer".to_owned(), own); 89])
                    .with("Referer", foreign)
            }),
            Case("traceparent", "101", |size| {
                Ask::handshake().with("traceparent", repeated("-", size))
            }),
            Case("X-Request-ID", "101", |size| {
                Ask::handshake().with("X-Request-ID", repeated("a", size))
            }),
            Case("User-Agent", "101", |size| {
                Ask::handshake().with("User-Agent", repeated("\u{e9}", size))
            }),
            Case("Expect", "http_expect_refused", |size| {
                Ask::handshake().with("Expect", repeated("100-continue,", size))
            }),
            Case("Content-Length", "http_body_on_upgrade", |size| {
                Ask::handshake().with("Content-Length", repeated("0", size / 2) + "1")
            }),
            Case("Sec-WebSocket-Key", "ws_key_invalid", |size| {
                Ask::handshake().with("Sec-WebSocket-Key", repeated("AAAA", size))
            }),
            Case("Sec-WebSocket-Version", "ws_version_unsupported", |size| {
                Ask::handshake().with("Sec-WebSocket-Version", repeated("13,", size))
            }),
            Case("fields of hops", "101", |size| {
                let long = repeated("_-", (size / 90).min(60_000));
                let names = (0..90).map(|index| format!("X-Forwarded-{long}{index}"));
                Ask::handshake().and(fields(names))
            }),
            Case("a field that is repeated", "101", |size| {
                let line = ("X-Same".to_owned(), repeated("a,", size / 90));
                Ask::handshake().and(vec![line; 90])
            }),
            Case("fields of equal hashes", "101", |size| {
                let lines = colliding(90).into_iter();
                let lines = lines.map(|name| (name, repeated("a,", size / 90)));
                Ask::handshake().and(lines.collect())
            }),
            Case("lines that are no fields", "http_malformed", |size| {
                let cookie = repeated("a:", size);
                Ask::handshake()
                    .with("Cookie", cookie)
                    .with("no field", "1")
            }),
            Case("more fields than there may be", "http_too_large", |size| {
                Ask::handshake().and(vec![("Host".to_owned(), "a".to_owned()); size / 9])
            }),
        ],
    );
    bench.hold(
        TARGET,
        &[
            Case("a query of nothing", "101", |size| {
                Ask::handshake().to(format!("/ws?{}", "&".repeat(size)))
            }),
            Case("parameters of a query", "101", |size| {
                Ask::handshake().to(format!("/ws?{}", repeated("kept=b&", size)))
            }),
            Case("question marks", "101", |size| {
                Ask::handshake().to(format!("/ws?{}", "?".repeat(size)))
            }),
            Case("segments of a path", "path_not_allowed", |size| {
                Ask::handshake().to(format!("/wx/{}", repeated("a/", size)))
            }),
            Case("dots in a path", "path_ambiguous", |size| {
                Ask::handshake().to(format!("/{}/..", repeated("a/", size)))
            }),
            Case("escapes in a path", "path_ambiguous", |size| {
                Ask::handshake().to(format!("/{}%", repeated("%E4%BD%A0", size)))
            }),
            Case("letters in a path", "path_not_allowed", |size| {
                Ask::handshake().to(format!("/{}", "w".repeat(size)))
            }),
            Case("a host in the target", "http_host_invalid", |size| {
                Ask::handshake().to(format!("http://{}/ws", repeated("a.", size)))
            }),
        ],
    );
}

#[test]
fn no_field_of_a_trusted_hop_costs_more_than_its_bytes() {
    let bench = Bench::start("trusted_proxies: [127.0.0.0/8]\n");
    bench.hold(
        FULL,
        &[
            Case("X-Forwarded-For", "101", |size| {
                Ask::handshake().with("X-Forwarded-For", repeated("127.0.0.1,", size))
            }),
            Case("X-Forwarded-For with no address", "101", |size| {
                Ask::handshake().with("X-Forwarded-For", repeated("a,", size))
            }),
            Case("X-Original-Forwarded-For", "101", |size| {
                Ask::handshake().with("X-Original-Forwarded-For", repeated("::1,", size))
            }),
            Case("many X-Forwarded-For", "101", |size| {
                let value = repeated("127.0.0.1,", size / 90);
                Ask::handshake().and(vec![("X-Forwarded-For".to_owned(), value); 90])
            }),
            Case("Forwarded", "101", |size| {
                Ask::handshake().with("Forwarded", repeated("for=127.0.0.1,", size))
            }),
            Case("parameters of Forwarded", "101", |size| {
                Ask::handshake().with("Forwarded", repeated("a;", size))
            }),
            Case("X-Forwarded-Proto", "101", |size| {
                Ask::handshake().with("X-Forwarded-Proto", repeated("a,", size))
            }),
            Case("X-Forwarded-Host", "101", |size| {
                Ask::handshake().with("X-Forwarded-Host", repeated("a.", size))
            }),
            Case("fields of hops in other spellings", "101", |size| {
                let long = repeated("_-", (size / 90).min(60_000));
                let names = (0..90).map(|index| format!("X_Forwarded-{long}{index}"));
                Ask::handshake().and(fields(names))
            }),
        ],
    );
}

#[test]
fn no_field_of_a_plain_request_costs_more_than_its_bytes() {
    let bench = Bench::start("");
    bench.hold(
        FULL,
        &[
            Case("TE", "200", |size| {
                Ask::plain().with("TE", repeated("a,", size))
            }),
            Case("Trailer", "200", |size| {
                Ask::plain().with("Trailer", different(size))
            }),
            Case("a Trailer of hop-by-hop fields", "200", |size| {
                Ask::plain().with("Trailer", repeated("te,", size))
            }),
            Case("Accept", "200", |size| {
                Ask::plain().with("Accept", repeated("a/b;q=1,", size))
            }),
            Case("Keep-Alive", "200", |size| {
                Ask::plain().with("Keep-Alive", repeated("a=b,", size))
            }),
            Case("tokens of Connection that name fields", "200", |size| {
                let named = repeated("b,", size);
                Ask::plain()
                    .with("Connection", named)
                    .and(fields((0..90).map(name)))
            }),
            Case("Expect", "http_expect_refused", |size| {
                Ask::plain().with("Expect", repeated("a,", size))
            }),
            Case("Upgrade to HTTP/2", "200", |size| {
                Ask::plain().with("Upgrade", format!("{}h2c", "a,".repeat(size / 2)))
            }),
        ],
    );
}

#[test]
fn no_field_of_an_answer_costs_more_than_its_bytes() {
    let bench = Bench::start("");
    // The upstream's choice is looked up among the offered ones; these lists are searched to the end.
    let offering = || {
        let names = (0..100).map(name).collect::<Vec<_>>().join(",");
        Ask::handshake()
            .with("Sec-WebSocket-Protocol", names.clone())
            .with("Sec-WebSocket-Extensions", names)
    };
    let single = Ask::handshake().with("Cookie", "c".repeat(FULL));
    let whole = bench.least(&single, "101", Duration::ZERO);
    let last = name(99);
    for (what, expected, ask) in [
        (
            "extensions that were offered",
            "upstream_extension_unrequested",
            offering().answered(
                "Sec-WebSocket-Extensions",
                repeated(&format!("{last},"), FULL),
            ),
        ),
        (
            "extensions that were not",
            "upstream_extension_unrequested",
            offering().answered("Sec-WebSocket-Extensions", different(FULL)),
        ),
        (
            "parameters of an extension",
            "101",
            offering().answered("Sec-WebSocket-Extensions", last + &";a".repeat(FULL / 2)),
        ),
        (
            "subprotocols",
            "upstream_subprotocol_unrequested",
            offering().answered("Sec-WebSocket-Protocol", different(FULL)),
        ),
        (
            "tokens of Connection that name fields",
            "101",
            (0..90).map(name).fold(
                Ask::handshake().answered("Connection", repeated("b,", FULL)),
                |ask, name| ask.answered(&name, "1".to_owned()),
            ),
        ),
        (
            "tokens of Upgrade",
            "upstream_101_no_upgrade",
            Ask::handshake().answered("Upgrade", different(FULL)),
        ),
        (
            "Trailer and Keep-Alive",
            "200",
            Ask::plain()
                .answered("Trailer", different(FULL / 2))
                .answered("Keep-Alive", repeated("a=b,", FULL / 2)),
        ),
    ] {
        let cost = bench.least(&ask, expected, whole * MOST);
        assert!(
            cost <= whole * MOST,
            "{what}: {cost:?}, where a single field takes {whole:?}"
        );
    }
}
