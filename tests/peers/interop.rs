//! Real peers on both sides of the real program, over TLS: what each of the three saw must agree.
//!
//! Every connection asks for `PATH?case=NAME`, and the proxy keeps `case` in its records. So a client's report, a
//! server's log and a record can be matched by the name.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use wsgate::reason::{By, Reason};

use crate::harness::certs::{Authority, Kind as Certificate};
use crate::harness::client::trusting;
use crate::harness::proxy::{ORIGIN, is_terminal};
use crate::harness::{Client as RawClient, Line, Proxy, handshake};
use crate::tools::programs::{Client, Kind, Report, field, fields};

/// Headless Chromium.
mod chromium;
/// What every client library must handle, written once for all of them.
mod clients;
/// A shutdown with thousands of open tunnels.
mod drain;
/// What a client's application learns about every kind of end of a tunnel.
mod ends;
/// Express with express-ws, the first user's stack.
mod express;
/// HAProxy and nginx in front of the proxy.
mod hops;
/// Node's `ws` as the client, and as a substitute for WeChat's clients.
mod node;
/// Python's `websockets` as the client.
mod python;
/// The proxy's own frames in a tunnel.
mod spoken;
/// Node behind TLS, on a unix socket, several at a time, and unhealthy.
mod upstreams;
/// Plain requests of real clients to a real application.
mod web;

const MIB: u64 = 1024 * 1024;

/// On a loaded machine a browser takes a while to answer a Close, but less than tests wait.
const PATIENT: &str = "limits: { close_wait: 15s }\n";

/// More keys of a listener: TLS with the tests' certificate.
const TLS: &str = ", tls: { certificates: [{ cert: good.pem, key: good-key.pem }] }";

/// A running proxy with one route for each upstream.
struct Gate {
    proxy: Proxy,
    authority: PathBuf,
}

/// A route of a [`Gate`].
struct Way<'a> {
    path: &'a str,
    endpoint: String,
    /// The keys under `websocket`, in flow style.
    websocket: String,
    /// More keys of the upstream, in flow style, beginning with a comma.
    upstream: &'static str,
}

impl<'a> Way<'a> {
    /// A route that admits [`ORIGIN`].
    fn new(path: &'a str, endpoint: impl Into<String>) -> Self {
        Self::with(path, endpoint, format!("origins: [{ORIGIN}]"))
    }

    fn with(path: &'a str, endpoint: impl Into<String>, websocket: impl Into<String>) -> Self {
        Self {
            path,
            endpoint: endpoint.into(),
            websocket: websocket.into(),
            upstream: "",
        }
    }

    /// Makes the proxy pass on the end of the upstream without a Close.
    fn transparent(self) -> Self {
        Self {
            upstream: ", on_abort: transparent",
            ..self
        }
    }
}

impl Gate {
    fn open(ways: &[Way<'_>]) -> Self {
        Self::open_with(ways, PATIENT)
    }

    /// The same with other top-level keys than [`PATIENT`].
    fn open_with(ways: &[Way<'_>], more: &str) -> Self {
        Self::open_on(TLS, ways, more)
    }

    /// The same on a listener with other keys than [`TLS`], in flow style, beginning with a comma.
    fn open_on(listener: &str, ways: &[Way<'_>], more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::shared();
        authority.write(folder.path(), "good", &["localhost"], Certificate::Good);
        let path = folder.path().join("ca.pem");
        fs::write(&path, authority.pem()).unwrap();
        let mut yaml =
            format!("listeners:\n  - {{ address: \"127.0.0.1:0\"{listener} }}\nroutes:\n");
        for (number, way) in ways.iter().enumerate() {
            let Way {
                path, websocket, ..
            } = way;
            writeln!(
                yaml,
                "  - {{ path: {path}, websocket: {{ {websocket} }}, upstream: u{number} }}"
            )
            .unwrap();
        }
        yaml += "upstreams:\n";
        for (number, way) in ways.iter().enumerate() {
            let Way {
                endpoint, upstream, ..
            } = way;
            writeln!(
                yaml,
                "  u{number}: {{ endpoints: [\"{endpoint}\"]{upstream} }}"
            )
            .unwrap();
        }
        yaml += more;
        yaml += "log: { level: debug, query_keep: [case] }\n";
        fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
        Self {
            proxy: Proxy::spawn(folder, None, 1),
            authority: path,
        }
    }

    /// The host and port that clients ask for.
    fn host(&self) -> String {
        format!("localhost:{}", self.proxy.address().port())
    }

    fn url(&self, path: &str, case: &str) -> String {
        format!("wss://{}{path}?case={case}", self.host())
    }

    /// Starts a client that trusts the proxy and sends [`ORIGIN`], unless `options` say otherwise.
    fn start(&self, kind: Kind, path: &str, case: &str, options: Value) -> Client {
        let mut all = json!({ "ca": self.authority, "origin": ORIGIN });
        for (name, value) in options.as_object().unwrap() {
            all[name] = value.clone();
        }
        Client::start(kind, &self.url(path, case), all)
    }

    /// Runs a client to its end.
    #[track_caller]
    fn visit(&self, kind: Kind, path: &str, case: &str, options: Value) -> Report {
        self.start(kind, path, case, options).finish()
    }

    /// Opens a tunnel with a client that does nothing on its own.
    #[track_caller]
    fn raw(&self, path: &str, case: &str) -> RawClient {
        let address = self.proxy.address();
        let mut raw = RawClient::tls_with(address, "localhost", trusting()).unwrap();
        let target = format!("{path}?case={case}");
        let response = raw
            .send(handshake(&target, &[("Host", &self.host())]))
            .response();
        assert_eq!(response.status, 101, "{response:?}");
        raw
    }

    /// The `opened` record of a case.
    #[track_caller]
    fn opened(&self, case: &str) -> Line {
        self.record(case, |line| line.text("event") == "opened")
    }

    /// The terminal record of a case.
    #[track_caller]
    fn ended(&self, case: &str) -> Line {
        self.record(case, is_terminal)
    }

    #[track_caller]
    fn record(&self, case: &str, is: impl Fn(&Line) -> bool) -> Line {
        let mark = format!("?case={case}");
        self.proxy.wait(&mark, |lines| {
            lines
                .iter()
                .find(|line| is(line) && line.text("path").ends_with(&mark))
                .cloned()
        })
    }

    /// The record of the first failed TLS handshake.
    #[track_caller]
    fn tls_failure(&self) -> Line {
        self.proxy.wait("a failure of TLS", |lines| {
            lines.iter().find(|line| is_of_tls(line)).cloned()
        })
    }

    /// Ends the proxy: every connection with a case must be in the records exactly once.
    #[track_caller]
    fn close(self, cases: usize) {
        let lines = self.proxy.stop();
        let ends = lines.iter().filter(|line| is_terminal(line));
        let ends: Vec<_> = ends.collect();
        let distinct: HashSet<_> = ends.iter().map(|line| line.text("conn")).collect();
        assert_eq!(distinct.len(), ends.len(), "{ends:?}");
        let asked = ends
            .iter()
            .filter(|line| line.text("path").contains("?case="));
        assert_eq!(asked.count(), cases, "{ends:?}");
    }
}

/// Whether a record is about a TLS handshake.
fn is_of_tls(line: &Line) -> bool {
    line.text("stage") == "tls"
}

/// Compares a refusal by the proxy, as the client saw it, with its record.
#[track_caller]
fn expect_refusal(report: &Report, record: Line, reason: Reason) -> Line {
    let refusal = report.refusal();
    let record = record.expect(reason);
    assert_eq!(record.text("event"), "refused");
    assert_eq!(refusal.number("status"), record.number("status"));
    assert!(
        refusal.text("body").starts_with(reason.code()),
        "{refusal:?}"
    );
    expect_identified(&refusal, &record, reason);
    record
}

/// Checks what the proxy adds to each answer that ends a connection, its own or a relayed one.
#[track_caller]
fn expect_identified(refusal: &Line, record: &Line, reason: Reason) {
    assert_eq!(field(refusal, "connection"), "close");
    assert_eq!(field(refusal, "x-request-id"), record.text("request_id"));
    let status = field(refusal, "proxy-status");
    assert!(status.starts_with("wsgate; error="), "{status}");
    assert!(
        status.ends_with(&format!("details=\"{reason}\"")),
        "{status}"
    );
}

/// Compares the request that the upstream received with what the client sent and with the record.
#[track_caller]
fn expect_forwarded(seen: &Line, record: &Line, host: &str) {
    let names: Vec<_> = fields(seen).into_iter().map(|(name, _)| name).collect();
    // In the client's spelling, each once.
    for (name, value) in [
        ("Host", host),
        ("Origin", ORIGIN),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("X-CaSe-Kept", "As It Came"),
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
        assert_eq!(field(seen, name), value, "{name}");
    }
    assert!(names.contains(&"Sec-WebSocket-Key"), "{names:?}");
    assert_eq!(field(seen, "sec-websocket-key").len(), 24);
    assert_eq!(field(seen, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(field(seen, "x-forwarded-proto"), "https");
    assert_eq!(field(seen, "x-request-id"), record.text("request_id"));
    assert_eq!(record.text("host"), host);
    assert_eq!(record.text("origin"), ORIGIN);
    assert_eq!(record.text("sni"), "localhost");
    // Neither library uses ALPN.
    assert_eq!(record.text("alpn"), "");
    assert_eq!(record.text("tls_version"), "1.3");
}

/// Compares the record of a tunnel that ended after both Close frames with what was seen: `reason` says who began, and
/// the client's application got `code`.
#[track_caller]
fn expect_closed(record: Line, reason: Reason, code: u64) -> Line {
    expect_closed_noting(record, reason, code, &[])
}

/// The same with these notes.
#[track_caller]
fn expect_closed_noting(record: Line, reason: Reason, code: u64, notes: &[&str]) -> Line {
    let record = record.expect(reason);
    assert_eq!(record.text("event"), "closed");
    assert_eq!(record.number("status"), Some(101));
    assert_eq!(record.text("first_close"), record.text("by"), "{record:?}");
    for side in ["close_code_client", "close_code_upstream", "client_sees"] {
        assert_eq!(record.number(side), Some(code), "{side}: {record:?}");
    }
    assert_eq!(record.number("close_code_proxy"), None, "{record:?}");
    assert_eq!(record.notes(), notes, "{record:?}");
    record
}

/// Compares the record of a tunnel that the proxy closed with what the client's application got.
#[track_caller]
fn expect_told(told: (u64, &str), record: Line, reason: Reason, code: u64) -> Line {
    assert_eq!(told, (code, reason.code()), "{record:?}");
    let record = record.expect(reason);
    assert_eq!(record.text("event"), "closed");
    assert_eq!(record.text("first_close"), By::Proxy.name(), "{record:?}");
    for side in ["close_code_proxy", "client_sees"] {
        assert_eq!(record.number(side), Some(code), "{side}: {record:?}");
    }
    record
}

/// Checks the record of a tunnel whose client got no Close.
#[track_caller]
fn expect_cut(record: Line, reason: Reason) -> Line {
    let record = record.expect(reason);
    assert_eq!(record.text("event"), "closed");
    assert_eq!(record.number("client_sees"), Some(1006), "{record:?}");
    for absent in ["first_close", "close_code_client", "close_code_proxy"] {
        assert!(record.0.get(absent).is_none(), "{absent}: {record:?}");
    }
    record
}

/// The bytes of a frame on the wire.
fn frame(payload: u64, masked: bool) -> u64 {
    let length = match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    length + if masked { 4 } else { 0 } + payload
}
