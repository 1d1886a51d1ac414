//! A different word in every place that a peer can write to. It may appear in the one field that docs/records.md lists
//! for it, or nowhere.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use rustls::ClientConfig;
use serde_json::Value;

use crate::harness::certs::{Authority, Kind};
use crate::harness::client::trusting;
use crate::harness::frames::{CLOSE, TEXT, closing, masked, plain};
use crate::harness::proxy::{HOST, ORIGIN, program};
use crate::harness::quiet::Quiet;
use crate::harness::scrape::Scrape;
use crate::harness::{Client, Proxy, Setup, Upstream, handshake};

/// How each word begins; no hexadecimal text contains it.
const STEM: &str = "kanari";
const STEM_IN_HEXADECIMAL: &str = "6b 61 6e 61";

/// Places that a client writes to, each with the fields in which its text may appear.
#[rustfmt::skip]
const OF_CLIENTS: &[(&str, &[&str])] = &[
    // Fields for this text.
    ("method", &["method"]),
    ("path", &["path"]),
    ("query name", &["path"]),
    ("host", &["host"]),
    ("origin", &["origin"]),
    ("user agent", &["user_agent"]),
    ("request id", &["request_id"]),
    ("sni", &["sni"]),
    // An upstream may repeat it in its answer.
    ("close reason", &["close_reason_client", "close_reason_upstream"]),
    // Nowhere.
    ("query value", &[]),
    ("bare query", &[]),
    ("second query", &[]),
    ("fragment", &[]),
    ("userinfo", &[]),
    ("password", &[]),
    ("scheme", &[]),
    ("version", &[]),
    ("origin userinfo", &[]),
    ("origin query", &[]),
    ("origin fragment", &[]),
    ("referer", &[]),
    ("referer query", &[]),
    ("cookie name", &[]),
    ("cookie", &[]),
    ("authorization", &[]),
    ("proxy authorization", &[]),
    ("bad request id", &[]),
    ("tracestate", &[]),
    ("openid", &[]),
    ("forwarded for", &[]),
    ("unknown field", &[]),
    ("unknown name", &[]),
    ("key", &[]),
    ("bad key", &[]),
    ("subprotocol", &[]),
    ("bad subprotocol", &[]),
    ("extension", &[]),
    ("extension parameter", &[]),
    ("ws version", &[]),
    ("upgrade", &[]),
    ("connection", &[]),
    ("expect", &[]),
    ("content length", &[]),
    ("coding", &[]),
    ("via", &[]),
    ("folded", &[]),
    ("no colon", &[]),
    ("no space", &[]),
    ("torn name", &[]),
    ("control", &[]),
    ("early", &[]),
    ("pipelined", &[]),
    ("body", &[]),
    ("chunk extension", &[]),
    ("trailer name", &[]),
    ("trailer", &[]),
    ("payload", &[]),
    ("ping payload", &[]),
    ("behind close", &[]),
    ("unmasked", &[]),
    ("foreign", &[]),
    ("raw", &[]),
    ("alpn", &[]),
    ("client certificate", &[]),
    ("tlv", &[]),
    ("proxy protocol", &[]),
    ("proxy port", &[]),
];

/// Places that an upstream writes to. Its answers are passed on to the client, so only records are checked.
#[rustfmt::skip]
const OF_UPSTREAMS: &[(&str, &[&str])] = &[
    ("its close reason", &["close_reason_upstream"]),
    // The detail of upstream_redirect, without query and userinfo.
    ("its location", &["detail"]),
    // Public names: the detail of upstream_tls_verify_failed.
    ("its certificate", &["detail", "attempts.detail"]),
    ("its location query", &[]),
    ("its location userinfo", &[]),
    ("its location token", &[]),
    ("its phrase", &[]),
    ("its status", &[]),
    ("its version", &[]),
    ("its field", &[]),
    ("its cookie", &[]),
    ("its upgrade", &[]),
    ("its connection", &[]),
    ("its accept", &[]),
    ("its subprotocol", &[]),
    ("its extension", &[]),
    ("its coding", &[]),
    ("its length", &[]),
    ("its interim", &[]),
    ("its body", &[]),
    ("its page", &[]),
    ("its chunk extension", &[]),
    ("its trailer", &[]),
    ("its second head", &[]),
    ("its garbage", &[]),
    ("its payload", &[]),
    ("its masked payload", &[]),
    ("its text", &[]),
    ("behind its close", &[]),
    ("its alert", &[]),
];

/// The word for a place.
fn word(place: &str) -> String {
    let all = OF_CLIENTS.iter().chain(OF_UPSTREAMS);
    let number = all
        .into_iter()
        .position(|(name, _)| *name == place)
        .unwrap_or_else(|| panic!("no place is called {place}"));
    format!("{STEM}{number:03}x")
}

/// `text` with the word for each place in braces.
fn filled(text: &str) -> String {
    let mut parts = text.split('<');
    let mut filled = parts.next().unwrap().to_owned();
    for part in parts {
        let (place, rest) = part.split_once('>').unwrap();
        filled += &word(place);
        filled += rest;
    }
    filled
}

/// A word that is long enough to be a token.
fn token(place: &str) -> String {
    [word(place), word(place), word(place)].join(".")
}

/// A valid Sec-WebSocket-Key that contains a word.
fn key() -> String {
    let key = format!("{}{}==", word("key"), "A".repeat(12));
    let nonce = base64::engine::general_purpose::STANDARD.decode(&key);
    assert_eq!(nonce.unwrap().len(), 16);
    key
}

/// Everything that the program outputs in one scene.
struct Said {
    records: Vec<Value>,
    /// The records of a second run, as text.
    text: String,
    /// Standard error and metrics.
    rest: String,
    /// What clients received.
    answers: String,
}

/// Runs a scene with records in JSON, the most verbose standard error, and a scrape at its end; then again with records
/// in text. `visit` returns what a client received.
fn said(setup: &Setup, listeners: usize, visit: impl Fn(SocketAddr) -> Vec<u8>) -> Said {
    let setup = Setup {
        extra: setup.extra.clone() + "probes: { address: 127.0.0.1:0 }\n",
        ..setup.clone()
    };
    let folder = setup.folder();
    std::fs::write(folder.path().join("clients.pem"), Authority::shared().pem()).unwrap();
    let mut command = Command::new(program());
    command.env("RUST_LOG", "trace");
    let proxy = Proxy::launch(folder, command, listeners + 1);
    let mut answers = visit(proxy.address());
    let metrics = Scrape::of(proxy.addresses()[listeners]).text;
    let diagnostics = proxy.diagnostics();
    let records: Vec<_> = proxy.stop().into_iter().map(|line| line.0).collect();
    assert!(
        records
            .iter()
            .all(|record| record["reason"] != "internal_aborted"),
        "{records:#?}"
    );
    let setup = Setup {
        log: "level: debug, format: text".to_owned(),
        tls: setup
            .tls
            .as_ref()
            .map(|tls| tls.replace("clients.pem", "ca.pem")),
        ..setup
    };
    let quiet = Quiet::start(&setup);
    answers.extend(visit(quiet.address()));
    Said {
        records,
        text: quiet.stop(),
        rest: metrics + &diagnostics,
        answers: String::from_utf8_lossy(&answers).into_owned(),
    }
}

/// Each text in a record, with the names of the fields that lead to it.
fn texts(value: &Value, place: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((place.to_owned(), text.to_ascii_lowercase())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, place, found)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            let place = match place {
                "" => name.clone(),
                place => format!("{place}.{name}"),
            };
            // A peer might also choose the name of a field.
            found.push((place.clone(), name.to_ascii_lowercase()));
            texts(value, &place, found);
        }),
        _ => {}
    }
}

impl Said {
    /// Checks every word against the list; `echoed` are the places whose words may be returned to the client.
    #[track_caller]
    fn expect(&self, echoed: &[&str]) -> &Self {
        let mut found = Vec::new();
        for record in &self.records {
            texts(record, "", &mut found);
        }
        for (place, allowed) in OF_CLIENTS.iter().chain(OF_UPSTREAMS) {
            let word = word(place);
            for (field, text) in &found {
                assert!(
                    !text.contains(&word) || allowed.contains(&field.as_str()),
                    "{place} in {field}: {text}"
                );
            }
            let text = self.text.to_ascii_lowercase();
            let line = text.lines().find(|line| line.contains(&word));
            assert!(!allowed.is_empty() || line.is_none(), "{place} in {line:?}");
            let rest = self.rest.to_ascii_lowercase();
            let line = rest.lines().find(|line| line.contains(&word));
            assert!(line.is_none(), "{place} in {line:?}");
        }
        for (place, _) in OF_CLIENTS
            .iter()
            .filter(|(place, _)| !echoed.contains(place))
        {
            let answers = self.answers.to_ascii_lowercase();
            let line = answers.lines().find(|line| line.contains(&word(place)));
            assert!(line.is_none(), "{place} in an answer: {line:?}");
        }
        let all = found.iter().map(|(_, text)| text.as_str());
        for text in all.chain([self.text.as_str(), self.rest.as_str()]) {
            assert!(!text.contains(STEM_IN_HEXADECIMAL), "{text}");
        }
        self
    }

    /// Checks that a record contains a word, so that the scene came far enough.
    #[track_caller]
    fn has(&self, field: &str, place: &str) -> &Self {
        let has = |record: &Value| {
            let text = record.get(field).and_then(Value::as_str);
            text.is_some_and(|text| text.to_ascii_lowercase().contains(&word(place)))
        };
        assert!(self.records.iter().any(has), "{field}: {:#?}", self.records);
        self
    }

    /// Checks that records have these reasons, so that every place was covered.
    #[track_caller]
    fn has_reasons(&self, reasons: &[&str]) -> &Self {
        for reason in reasons {
            let has = |record: &Value| record["reason"] == *reason;
            assert!(
                self.records.iter().any(has),
                "{reason}: {:#?}",
                self.records
            );
        }
        self
    }
}

/// Sends `bytes` on its own connection, as far as they are accepted; gives what was returned.
fn ask(mut client: Client, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    // The proxy may refuse before it has read everything.
    if client.write_all(bytes.as_ref()).is_ok() && client.flush().is_ok() {
        client.finish();
    }
    let mut answer = Vec::new();
    // However it ends: cleanly, with a reset or with an alert.
    let _ = client.read_to_end(&mut answer);
    answer
}

/// A handshake for `target` with a word in each field that may contain any text, and with `changes`.
fn full(target: &str, changes: &[(&str, &str)]) -> String {
    let hidden = [
        (
            "Referer",
            "https://<referer>.example/<referer>?<referer query>",
        ),
        ("User-Agent", "<user agent>"),
        ("Cookie", "<cookie name>=<cookie>"),
        ("Authorization", "Bearer <authorization>"),
        ("Proxy-Authorization", "Basic <proxy authorization>"),
        ("X-Request-ID", "<request id>"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("tracestate", "a=<tracestate>"),
        ("X-WX-OPENID", "<openid>"),
        ("X-Forwarded-For", "<forwarded for>"),
        ("X-Unknown", "<unknown field>"),
        ("X-<unknown name>", "a"),
        ("Via", "1.1 <via>"),
    ];
    let key = key();
    let subprotocol = token("subprotocol");
    let checked = [
        ("Host", "<host>.example"),
        ("Sec-WebSocket-Key", key.as_str()),
        ("Sec-WebSocket-Protocol", subprotocol.as_str()),
        (
            "Sec-WebSocket-Extensions",
            "<extension>; <extension parameter>=<extension parameter>",
        ),
    ];
    let is_changed = |name: &str| {
        changes
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    let kept = hidden.iter().chain(&checked);
    let kept = kept.filter(|(name, _)| !is_changed(name)).copied();
    let fields: Vec<_> = kept.chain(changes.iter().copied()).collect();
    filled(&handshake(target, &fields))
}

const TARGET: &str = "/ws/<path>?<query name>=<query value>&<bare query>&a=1?b=<second query>";

/// Requests that each check of a head refuses.
fn refused() -> Vec<Vec<u8>> {
    let head = full(TARGET, &[]);
    let edited = |from: &str, to: &str| {
        let (from, to) = (filled(from), filled(to));
        assert!(head.contains(&from), "{from}");
        head.replace(&from, &to).into_bytes()
    };
    let padding = "p".repeat(20_000);
    let changed = |changes: &[(&str, &str)]| full(TARGET, changes).into_bytes();
    let plain = |change: &str| {
        filled(&format!(
            "POST /plain/<path> HTTP/1.1\r\nHost: a\r\n{change}"
        ))
        .into_bytes()
    };
    let mut requests = vec![
        // The request line.
        edited("GET ", "<method> "),
        edited("GET ", "<method>{ "),
        edited("GET ", "POST "),
        edited(" HTTP/1.1", " HTTP/1.0"),
        edited(" HTTP/1.1", " HTTP/<version>"),
        edited(" HTTP/1.1", " <version>"),
        edited(" HTTP/1.1", " <version> HTTP/1.1"),
        edited("/ws/", "#<fragment>/ws/"),
        edited("<second query>", "#<fragment>"),
        edited("<second query>", "\u{e9}"),
        edited("<second query>", "\x01<second query>"),
        edited("/ws/", "http://<userinfo>:<password>@<host>.example/ws/"),
        edited("/ws/", "http://<userinfo>:<password>@<host>.example#/ws/"),
        edited("/ws/", "http://<host>.example/nowhere/"),
        edited("/ws/", "<scheme>://<userinfo>@<host>.example/"),
        edited("/ws/", "<userinfo>:<password>@<host>"),
        edited("/ws/", "/nowhere/"),
        edited("/ws/", "/WS/"),
        edited("/ws/", "/ws/../"),
        edited("/ws/", "/ws/%00"),
        // Lines that are not fields.
        edited("\r\nCookie: ", "\r\nCookie "),
        edited("\r\nCookie: <cookie name>", "\r\n<torn name> Cookie: a"),
        edited("\r\nCookie: <cookie name>", "\r\n<torn name>(Cookie: a"),
        edited("\r\nCookie: ", "\r\nCookie : "),
        edited("\r\nCookie: ", "\r\n<folded> Cookie: "),
        edited("\r\nCookie: ", "\r\n<folded>\r\n Cookie: "),
        edited("\r\nCookie: ", "\r\n<no colon>\r\nCookie: "),
        edited("<cookie>", "<cookie>\x02<control>"),
        edited("<cookie>", "<cookie>\r<control>"),
        edited("<cookie>", "<cookie>\n<control>"),
        filled("Authorization:Bearer <no space>\r\n\r\n").into_bytes(),
        filled("Cookie:<no space> HTTP/1.1\r\n\r\n").into_bytes(),
        filled("Authorization: Bearer <no space>\r\n\r\n").into_bytes(),
        head.split_once("\r\n").unwrap().1.as_bytes().to_vec(),
        filled("{\"user\":\"<body>\",\"password\":\"<body>\"}\r\n\r\n").into_bytes(),
        filled("{\"user\":\"<body>\",\"password\":\"<body>\"}").into_bytes(),
        filled("user=<body>&password=<body>").into_bytes(),
        filled("<body>").into_bytes(),
        filled("<body> <body>").into_bytes(),
        filled("<body> /<body> <body>").into_bytes(),
        // Too large.
        changed(&[("X-Pad", &padding), ("X-<unknown name>", "a")]),
        changed(&[("X-Secret", &(word("unknown field") + &padding))]),
        full(&format!("{TARGET}{padding}"), &[]).into_bytes(),
        changed(&[("X", "<unknown field>"); 100]),
        // Fields of the handshake.
        changed(&[("Upgrade", "<upgrade>")]),
        changed(&[("Upgrade", "h2c, <upgrade>")]),
        changed(&[("Upgrade", "")]),
        changed(&[("Connection", "<connection>, close")]),
        changed(&[("Connection", "Upgrade, sec-websocket-<connection>")]),
        changed(&[("Connection", "Upgrade, Cookie")]),
        changed(&[("Sec-WebSocket-Version", "<ws version>")]),
        changed(&[("Sec-WebSocket-Key", "<bad key>")]),
        changed(&[("Sec-WebSocket-Key", "<bad key>,")]),
        changed(&[("Sec-WebSocket-Protocol", "Bearer <bad subprotocol>")]),
        changed(&[("Sec-WebSocket-Protocol", "a, <bad subprotocol>,, b")]),
        changed(&[(
            "Sec-WebSocket-Extensions",
            "<extension>; <extension parameter>=",
        )]),
        changed(&[(
            "Sec-WebSocket-Extensions",
            "<extension> <extension parameter>",
        )]),
        changed(&[("Expect", "<expect>")]),
        changed(&[("Host", "<userinfo>:<password>@a")]),
        changed(&[("Host", "a b?<second query>")]),
        changed(&[("X-Request-ID", "\u{e9}<bad request id>")]),
        changed(&[("X-Request-ID", "<bad request id> <bad request id>")]),
        // Bodies that are not allowed.
        changed(&[("Content-Length", "5")]),
        changed(&[("Content-Length", "<content length>")]),
        changed(&[("Transfer-Encoding", "<coding>")]),
        changed(&[("Transfer-Encoding", "<coding>, chunked")]),
        changed(&[("Transfer-Encoding", "chunked"), ("Content-Length", "5")]),
        [head.as_bytes(), filled("<early>").as_bytes()].concat(),
        [
            head.as_bytes(),
            filled("GET /<pipelined> HTTP/1.1\r\n").as_bytes(),
        ]
        .concat(),
        // Origins.
        changed(&[("Origin", "https://<origin>.example")]),
        changed(&[(
            "Origin",
            "https://<origin userinfo>:<origin userinfo>@<origin>.example",
        )]),
        changed(&[("Origin", "https://<origin>.example/?<origin query>")]),
        changed(&[("Origin", "https://<origin>.example#<origin fragment>")]),
        changed(&[("Origin", "<origin>")]),
        changed(&[
            ("Origin", "https://<origin>.example"),
            ("Origin", "<origin>"),
        ]),
        changed(&[("Origin", "")]),
        // Plain requests and their bodies.
        plain("Content-Length: 5\r\n\r\n12345{\"a\":\"<body>\"}\r\n\r\n"),
        plain("Content-Length: 5\r\n\r\n12345Cookie:<body>"),
        plain("Content-Length: 30\r\n\r\n<body>"),
        plain("Transfer-Encoding: chunked\r\n\r\n<body>\r\n"),
        plain("Transfer-Encoding: chunked\r\n\r\n3;<chunk extension>\r\n<body>\r\n0\r\n\r\n"),
        plain("Transfer-Encoding: chunked\r\n\r\n3;<chunk extension>=\x01\r\nabc\r\n0\r\n\r\n"),
        plain(
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n<trailer name>: <trailer>\r\n\r\n",
        ),
        plain(
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n<trailer name> <trailer>\r\n\r\n",
        ),
        plain(
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n<trailer name>: \x01<trailer>\r\n\r\n",
        ),
        plain("Expect: <expect>\r\n\r\n"),
        filled("<method> /plain/<path> HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
        filled("GET /ws/<path>?<bare query> HTTP/1.1\r\nHost: a\r\nCookie: <cookie>\r\n\r\n")
            .into_bytes(),
        // Not HTTP.
        filled("\x16\x03\x01<raw>").into_bytes(),
        filled("\0<raw><raw>").into_bytes(),
        filled("<raw><raw>\r\n\r\n").into_bytes(),
        filled("PROXY TCP4 <raw> <raw>\r\n").into_bytes(),
        filled("\r\n\r\n\0\r\nQUIT\n<raw>").into_bytes(),
        filled("GE<raw>").into_bytes(),
    ];
    requests.extend(
        (1..head.len())
            .step_by(11)
            .map(|cut| head.as_bytes()[..cut].to_vec()),
    );
    requests
}

fn routes() -> String {
    "  - path: /plain/*\n    http: { methods: [GET, POST] }\n    upstream: app\n".to_owned()
}

fn setup(endpoint: &str) -> Setup {
    Setup {
        path: "/ws/*".to_owned(),
        routes: routes(),
        log: "level: debug".to_owned(),
        limits: "close_wait: 300ms".to_owned(),
        ..Setup::plain(endpoint)
    }
}

#[test]
fn of_refused_requests_words_are_told_in_their_fields_alone() {
    let upstream = Upstream::echo();
    for setup in [
        setup(&upstream.url()),
        // Noted instead of refused; and reported in a Close frame.
        Setup {
            websocket: "policy: report".to_owned(),
            ..setup(&upstream.url())
        },
        Setup {
            websocket: "explain_refusals: true".to_owned(),
            ..setup(&upstream.url())
        },
        Setup {
            websocket: "subprotocols: [v1]".to_owned(),
            host: Some("api.example.com".to_owned()),
            ..setup(&upstream.url())
        },
    ] {
        said(&setup, 1, |address| {
            let requests = refused();
            let answers = requests
                .iter()
                .map(|request| ask(Client::plain(address), request));
            answers.collect::<Vec<_>>().concat()
        })
        // The chosen subprotocol of an explained refusal, and the id, are meant for the client.
        .expect(&["request id", "subprotocol"])
        .has("path", "path")
        .has("method", "method")
        .has("host", "host")
        .has("origin", "origin")
        .has("user_agent", "user agent")
        .has("request_id", "request id")
        .has_reasons(&["http_malformed", "http_head_incomplete", "http_too_large"]);
    }
}

#[test]
fn of_redirected_requests_words_are_told_in_their_fields_alone() {
    let upstream = Upstream::echo();
    let setup = Setup {
        listener: "redirect_to_https: true".to_owned(),
        ..setup(&upstream.url())
    };
    said(&setup, 1, |address| {
        let target = "GET /plain/<path>?<query name>=<query value>&<bare query> HTTP/1.1\r\nHost: <host>\r\n";
        let request = filled(&format!("{target}Cookie: <cookie>\r\n\r\n"));
        let mut answers = ask(Client::plain(address), request);
        answers.extend(ask(Client::plain(address), full(TARGET, &[])));
        answers
    })
    .expect(&["request id", "path", "query name", "query value", "bare query", "host"]);
}

#[test]
fn of_tunnels_words_are_told_in_their_fields_alone() {
    let upstream = Upstream::echo();
    let ends: Vec<Vec<u8>> = vec![
        [
            masked(TEXT, word("payload")),
            masked(0x89, word("ping payload")),
            masked(CLOSE, closing(4000, &word("close reason"))),
            masked(TEXT, word("behind close")),
        ]
        .concat(),
        masked(TEXT, word("payload")),
        // Unmasked, with reserved bits, as a fragmented control frame, with half a code.
        plain(TEXT, word("unmasked")),
        masked(0xc1, word("payload")),
        masked(0xf1, word("payload")),
        masked(0x09, word("payload")),
        masked(CLOSE, "x"),
        plain(0x83, word("unmasked")),
        [b"\x82\xff\xff", word("payload").as_bytes()].concat(),
        [b"\x82\x7f\xff", word("payload").as_bytes()].concat(),
        [b"\x89\xfe", word("payload").as_bytes()].concat(),
        // Another protocol.
        filled("<foreign>").into_bytes(),
        filled("GET /<foreign> HTTP/1.1\r\nCookie: <foreign>\r\n\r\n").into_bytes(),
        filled("{\"token\":\"<foreign>\"}").into_bytes(),
    ];
    let whole = |address, end: &[u8]| {
        let mut client = Client::plain(address);
        let target = "/ws/<path>?<query name>=<query value>";
        let head = client.send(full(target, &[])).response_head();
        assert_eq!(head.status, 101);
        // In one piece, and byte by byte.
        let pieces =
            [end.len(), 1].map(|size| end.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>());
        let mut answers = Vec::new();
        for pieces in pieces {
            let mut client = Client::plain(address);
            client.send(full(target, &[])).response_head();
            for piece in pieces {
                if client.write_all(&piece).is_err() {
                    break;
                }
            }
            client.finish();
            // The upstream echoes what it received.
            answers.extend(client.rest());
        }
        client.finish();
        client.rest();
        answers
    };
    said(&setup(&upstream.url()), 1, |address| {
        for end in &ends {
            whole(address, end);
        }
        Vec::new()
    })
    .expect(&[])
    .has("close_reason_client", "close reason")
    .has("path", "path")
    .has_reasons(&[
        "client_close",
        "client_protocol_error",
        "client_eof_no_close",
    ]);
}

/// Answers of an upstream to a handshake or to a plain request.
fn answers() -> Vec<String> {
    let good = "HTTP/1.1 101 <its phrase>\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: <its field>\r\n\
                Set-Cookie: <its cookie>\r\nSec-WebSocket-Accept: ACCEPT\r\n";
    let with = |line: &str| format!("{good}{line}\r\n\r\n");
    let edited = |from: &str, to: &str| format!("{}\r\n", good.replace(from, to));
    let token = token("its subprotocol");
    let location = "https://<its location userinfo>:a@a.example/<its location>/<its location token>\
                    <its location token><its location token>?<its location query>";
    vec![
        edited("Upgrade: websocket", "Upgrade: <its upgrade>, websocket"),
        edited("Connection: Upgrade", "Connection: <its connection>"),
        edited(
            "Connection: Upgrade",
            "Connection: Upgrade, <its connection>, Sec-WebSocket-<its connection>",
        ),
        edited("ACCEPT", "<its accept>"),
        with(&format!("Sec-WebSocket-Protocol: {token}")),
        with(&format!(
            "Sec-WebSocket-Protocol: {}",
            token_of_the_client()
        )),
        with("Sec-WebSocket-Extensions: <its extension>; <its extension>=<its extension>"),
        with("Content-Length: <its length>"),
        with("Transfer-Encoding: <its coding>"),
        edited("HTTP/1.1", "HTTP/1.0"),
        edited("HTTP/1.1", "HTTP/<its version>"),
        edited("101 ", "<its status> "),
        edited("101 ", "999 "),
        edited("101 ", "600 "),
        format!("HTTP/1.1 103 <its phrase>\r\nLink: <its interim>\r\n\r\n{good}\r\n"),
        with("Bad Name <its field>: a"),
        format!(
            "{good}\r\nHTTP/1.1 200 <its second head>\r\nSet-Cookie: <its second head>\r\n\r\n"
        ),
        format!("HTTP/1.1 302 <its phrase>\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"),
        "HTTP/1.1 400 <its phrase>\r\nContent-Length: 200\r\n\r\n<its body>".to_owned(),
        "HTTP/1.1 500 <its phrase>\r\nTransfer-Encoding: chunked\r\n\r\n\
         4;<its chunk extension>\r\nabcd\r\n0\r\nX: <its trailer>\r\n\r\n"
            .to_owned(),
        "HTTP/1.1 500 <its phrase>\r\nTransfer-Encoding: chunked\r\n\r\n<its body>\r\n".to_owned(),
        "HTTP/1.1 200 <its phrase>\r\nContent-Type: text/html\r\n\r\n<html><its page></html>"
            .replace("<html>", "&html;")
            .replace("</html>", "&/html;"),
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: <its length>\r\n\r\n<its body>"
            .to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: <its coding>\r\n\r\n<its body>".to_owned(),
        "<its garbage> <its garbage>\r\n\r\n".to_owned(),
        "{\"<its garbage>\":1}".to_owned(),
        "<its garbage>".to_owned(),
        "HTTP/1.1 <its garbage>\r\n\r\n".to_owned(),
        "\u{15}\u{3}\u{3}<its alert>".to_owned(),
        "\u{0}\u{0}\u{6}\u{4}\u{0}\u{0}\u{0}\u{0}\u{0}<its garbage>".to_owned(),
        // Tunnels.
        format!("{good}\r\n<its text> <its text>"),
        format!("{good}\r\nTypeError: <its text>\n"),
        format!("{good}\r\nFRAMES"),
        format!("{good}\r\nMASKED"),
        format!("{good}\r\nBROKEN"),
    ]
}

/// An upstream may repeat what the client offered.
fn token_of_the_client() -> String {
    token("subprotocol")
}

/// The bytes of an answer, including frames that are not text.
fn bytes(answer: &str, accept: &str) -> Vec<u8> {
    let answer = filled(
        &answer
            .replace("&html;", "\u{1}html>")
            .replace("&/html;", "\u{1}/html>"),
    );
    let answer = answer.replace('\u{1}', "<").replace("ACCEPT", accept);
    let frames = [
        (
            "FRAMES",
            [
                plain(TEXT, word("its payload")),
                plain(CLOSE, closing(4000, &word("its close reason"))),
                plain(TEXT, word("behind its close")),
            ]
            .concat(),
        ),
        ("MASKED", masked(TEXT, word("its masked payload"))),
        ("BROKEN", plain(0xf1, word("its payload"))),
    ];
    let mut bytes = answer.clone().into_bytes();
    for (name, frame) in frames {
        if let Some(before) = answer.strip_suffix(name) {
            bytes = [before.as_bytes(), &frame].concat();
        }
    }
    bytes
}

#[test]
fn of_answers_words_are_told_in_their_fields_alone() {
    let count = answers().len();
    let upstream = Upstream::start(|mut call| {
        let number = call
            .head
            .split(['/', '?', ' '])
            .nth(3)
            .unwrap()
            .parse::<usize>();
        let accept = match call.head.contains("ebSocket-Key") || call.head.contains("ebsocket-key")
        {
            true => crate::harness::switching(&call.head, ""),
            false => String::new(),
        };
        let accept = accept.split("Accept: ").nth(1).unwrap_or_default();
        let accept = accept.split("\r\n").next().unwrap_or_default();
        let bytes = bytes(&answers()[number.unwrap()], accept);
        call.write(bytes);
        call.finish();
        call.drain();
    });
    said(&setup(&upstream.url()), 1, |address| {
        for number in 0..count {
            let target = format!("/ws/{number}?<query name>=<query value>");
            ask_and_wait(address, full(&target, &[]));
            let plain = format!("GET /plain/{number} HTTP/1.1\r\nHost: a\r\nCookie: <cookie>\r\nConnection: close\r\n\r\n");
            ask_and_wait(address, filled(&plain));
        }
        Vec::new()
    })
    .expect(&[])
    .has("close_reason_upstream", "its close reason")
    .has("detail", "its location")
    .has_reasons(&[
        "upstream_malformed_response",
        "upstream_101_no_upgrade",
        "upstream_101_no_connection",
        "upstream_accept_mismatch",
        "upstream_subprotocol_unrequested",
        "upstream_extension_unrequested",
        "upstream_101_with_body",
        "upstream_http10_101",
        "upstream_double_101",
        "upstream_redirect",
        "upstream_bad_request",
        "upstream_5xx",
        "upstream_2xx_instead_of_101",
        "upstream_plain_to_tls_port",
        "upstream_alpn_h2",
        "upstream_protocol_error",
        "upstream_close_policy",
        "upstream_101_unsolicited",
        "upstream_response_cut",
    ]);
}

/// The same for a client that ends only after the proxy.
fn ask_and_wait(address: SocketAddr, request: String) {
    let mut client = Client::plain(address);
    client.send(request);
    let mut answer = vec![0; 1];
    // The upstream's frames end the tunnel.
    let _ = client.read(&mut answer);
    client.rest();
}

#[test]
fn of_tls_words_are_told_in_their_fields_alone() {
    let upstream = Upstream::echo();
    let setup = Setup {
        tls: Some(
            "certificates: [{ cert: good.pem, key: good-key.pem }]\n\
             client_auth: { ca: clients.pem, mode: optional }"
                .to_owned(),
        ),
        ..setup(&upstream.url())
    };
    let with_alpn = |alpn: &[String]| {
        let mut config: ClientConfig = trusting();
        config.alpn_protocols = alpn.iter().map(|name| name.clone().into_bytes()).collect();
        config
    };
    said(&setup, 1, |address| {
        let name = filled("<sni>.example");
        let mut answers = Vec::new();
        assert!(Client::tls_with(address, &name, trusting()).is_err());
        assert!(
            Client::tls_with(address, HOST, with_alpn(&[word("alpn"), token("alpn")])).is_err()
        );
        let client = Client::tls_with(
            address,
            HOST,
            with_alpn(&[word("alpn"), "http/1.1".to_owned()]),
        );
        answers.extend(ask(
            client.unwrap(),
            full(TARGET, &[("Origin", ORIGIN), ("Upgrade", "<upgrade>")]),
        ));
        for raw in [
            "GET /<path>?<bare query> HTTP/1.1\r\nCookie: <cookie>\r\n\r\n",
            "<raw><raw>",
            "\x16\x03\x01\x01<raw><raw><raw>",
            "\x15\x03\x03\0\x02<raw>",
            "PROXY TCP4 <raw>\r\n",
        ] {
            answers.extend(ask(Client::plain(address), filled(raw)));
        }
        // A certificate from an unknown authority.
        let stranger = Authority::new(&word("client certificate"));
        let (certificate, key) =
            stranger.issue(&[&filled("<client certificate>.example")], Kind::Client);
        if let Ok(client) = Client::tls_with(address, HOST, presenting(&certificate, &key)) {
            answers.extend(ask(client, full(TARGET, &[])));
        }
        answers
    })
    .expect(&["request id"])
    .has("sni", "sni")
    .has_reasons(&[
        "tls_sni_unknown",
        "tls_alpn_no_overlap",
        "tls_plain_http_on_tls_port",
        "tls_not_tls",
        "tls_client_cert_invalid",
        "ws_upgrade_not_websocket",
    ]);
}

/// A client with this certificate and key, in PEM.
fn presenting(certificate: &str, key: &str) -> ClientConfig {
    use rustls::pki_types::pem::PemObject;
    let chain =
        vec![rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(Authority::shared().der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap()
}

#[test]
fn of_a_header_of_the_hop_in_front_words_are_told_nowhere() {
    let upstream = Upstream::echo();
    let setup = Setup {
        listener: "proxy_protocol: required".to_owned(),
        extra: "trusted_proxies: [127.0.0.1]\n".to_owned(),
        ..setup(&upstream.url())
    };
    // ALPN, authority, unique id, namespace, a vendor's own; and the name in a client's certificate.
    let tlv =
        |kind: u8, value: &[u8]| [&[kind, 0, u8::try_from(value.len()).unwrap()], value].concat();
    let word = word("tlv");
    let common_name = tlv(0x22, word.as_bytes());
    let tlvs = [
        tlv(0x01, word.as_bytes()),
        tlv(0x02, word.as_bytes()),
        tlv(0x05, word.as_bytes()),
        tlv(0x30, word.as_bytes()),
        tlv(0xe0, word.as_bytes()),
        tlv(0x20, &[&[1, 0, 0, 0, 0][..], &common_name].concat()),
    ]
    .concat();
    let header = |command: u8, block: &[u8]| {
        let addresses = [192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2];
        let length = u16::try_from(addresses.len() + block.len())
            .unwrap()
            .to_be_bytes();
        let fixed = b"\r\n\r\n\0\r\nQUIT\n";
        [&fixed[..], &[command, 0x11], &length, &addresses, block].concat()
    };
    said(&setup, 1, |address| {
        let bad_origin = full(TARGET, &[("Origin", "https://<origin>.example")]);
        let mut answers = Vec::new();
        for bytes in [
            [&header(0x21, &tlvs)[..], bad_origin.as_bytes()].concat(),
            header(0x21, &tlvs[..tlvs.len() - 3]),
            header(0x21, &tlv(0x03, word.as_bytes())),
            header(0x2f, &tlvs),
            filled("PROXY <proxy protocol> <tlv> <tlv> 1 2\r\n").into_bytes(),
            filled("PROXY UNKNOWN <tlv>\r\n<raw>").into_bytes(),
            filled("PROXY TCP4 <tlv> 192.0.2.1 1 2\r\n").into_bytes(),
            filled("PROXY TCP4 192.0.2.1 192.0.2.1 <proxy port> 2\r\n").into_bytes(),
            filled("PROXY TCP4 192.0.2.1 192.0.2.1 1 2 <tlv>\r\n").into_bytes(),
            filled("<raw><raw>\r\n").into_bytes(),
            full(TARGET, &[]).into_bytes(),
        ] {
            answers.extend(ask(Client::plain(address), bytes));
        }
        answers
    })
    .expect(&["request id"])
    .has("origin", "origin")
    .has_reasons(&[
        "proxy_protocol_invalid",
        "proxy_protocol_missing",
        "origin_not_allowed",
    ]);
}

#[test]
fn of_an_upstreams_certificate_only_its_names_are_told() {
    use crate::harness::secure::{SecureUpstream, config};
    let name = filled("<its certificate>.example");
    let upstream = SecureUpstream::start(config(Authority::shared(), &[&name], Kind::Good));
    let setup = Setup {
        upstream: ", tls: { ca: ca.pem }".to_owned(),
        ..setup(&upstream.url())
    };
    said(&setup, 1, |address| {
        ask_and_wait(address, full("/ws/1", &[]));
        Vec::new()
    })
    .expect(&[])
    .has("detail", "its certificate")
    .has_reasons(&["upstream_tls_verify_failed"]);
}
