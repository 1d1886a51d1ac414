//! What real clients, browsers and hops do over HTTP/2 (RFC 9113), and WebSockets over it (RFC 8441).
//!
//! Every request asks for `PATH?case=NAME`, and the proxy keeps `case` in its records. So what a client printed, what an
//! application logged and a record can be matched by the name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::harness::certs::{Authority, Kind as Certificate};
use crate::harness::proxy::{HOST, ORIGIN, is_terminal};
use crate::harness::{Line, Proxy};
use crate::tools::programs::{Client, Kind, Report, Server, said, tool};

/// Chromium, which sends a WebSocket over the connection that its page came from.
mod chromium;
/// HAProxy instead of the proxy: the clients themselves are sound.
mod control;
/// HAProxy and Envoy in front of the proxy.
mod hops;
/// Python's and Node's libraries.
mod libraries;
/// curl, nghttp and h2load.
mod tools;

/// A path of `web_server.js` for WebSockets of its page.
const STREAM: &str = "/api/realtime-voice/stream";

/// The two applications, and the folder with the certificate of what is in front of them.
struct Behind {
    app: Server,
    ws: Server,
    folder: tempfile::TempDir,
    authority: PathBuf,
}

impl Behind {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::shared();
        let names = ["localhost", "127.0.0.1", HOST];
        authority.write(folder.path(), "good", &names, Certificate::Good);
        let path = folder.path().join("ca.pem");
        fs::write(&path, authority.pem()).unwrap();
        Self {
            app: Server::program("web_server.js", &["express"]),
            ws: Server::start(Kind::Node, json!({ "deflate": false })),
            folder,
            authority: path,
        }
    }

    /// The certificate and its key in one file, as HAProxy wants them.
    fn certificate(folder: &Path) -> PathBuf {
        let read = |name| fs::read_to_string(folder.join(name)).unwrap();
        let path = folder.join("both.pem");
        fs::write(&path, read("good.pem") + &read("good-key.pem")).unwrap();
        path
    }
}

/// Runs a client of `tests/interop` on one connection to a port of this machine.
#[track_caller]
fn visit(authority: &Path, program: &str, port: u16, cases: &[&str]) -> Report {
    let client = Client::program(
        program,
        &json!({
            "url": format!("https://localhost:{port}"),
            "ca": authority,
            "origin": ORIGIN,
            "cases": cases,
            "timeout_ms": 15_000,
        }),
    );
    for case in cases {
        client.did(case);
    }
    let report = client.finish();
    assert_eq!(report.passed(), cases.len());
    report
}

/// A running proxy that offers HTTP/2.
struct Site {
    proxy: Proxy,
    app: Server,
    ws: Server,
    authority: PathBuf,
}

impl Site {
    fn open() -> Self {
        Self::open_with("websocket: on, max_streams: 100")
    }

    /// The same with these keys of `listeners[0].http2`.
    fn open_with(http2: &str) -> Self {
        let Behind {
            app,
            ws,
            folder,
            authority,
        } = Behind::start();
        let yaml = format!(
            "listeners:\n  - address: 127.0.0.1:0\n    tls:\n      \
             certificates: [{{ cert: good.pem, key: good-key.pem }}]\n      \
             alpn: [h2, http/1.1]\n    http2: {{ {http2} }}\n\
             routes:\n  \
             - {{ path: /ws, websocket: {{ origins: [{ORIGIN}] }}, upstream: ws }}\n  \
             - {{ path: {STREAM}, websocket: {{ origins: [self] }}, host: localhost, upstream: app }}\n  \
             - {{ path: /api/*, http: {{ max_body: 32MiB }}, upstream: app }}\n  \
             - {{ path: /page.html, http: {{}}, upstream: app }}\n  \
             - {{ path: /report, http: {{}}, upstream: app }}\n\
             upstreams:\n  app: {{ endpoints: [\"{}\"] }}\n  ws: {{ endpoints: [\"{}\"] }}\n\
             limits: {{ close_wait: 15s }}\n\
             trusted_proxies: [127.0.0.1]\n\
             log: {{ level: debug, query_keep: [case] }}\n",
            app.endpoint(),
            ws.endpoint()
        );
        fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
        Self {
            proxy: Proxy::spawn(folder, None, 1),
            app,
            ws,
            authority,
        }
    }

    fn port(&self) -> u16 {
        self.proxy.address().port()
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port())
    }

    /// Runs a client of `tests/interop` on one connection.
    #[track_caller]
    fn visit(&self, program: &str, cases: &[&str]) -> Report {
        self.visit_at(program, self.port(), cases)
    }

    /// The same at the port of a hop in front.
    #[track_caller]
    fn visit_at(&self, program: &str, port: u16, cases: &[&str]) -> Report {
        visit(&self.authority, program, port, cases)
    }

    /// The terminal records of a case, once there are `count`.
    #[track_caller]
    fn records(&self, case: &str, count: usize) -> Vec<Line> {
        let mark = format!("case={case}");
        self.proxy.wait(&mark, |lines| {
            let of_case = |line: &&Line| is_terminal(line) && line.text("path").ends_with(&mark);
            let found: Vec<_> = lines.iter().filter(of_case).cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// The only terminal record of a case, which came over HTTP/2.
    #[track_caller]
    fn record(&self, case: &str) -> Line {
        let records = self.records(case, 1);
        let [record] = &records[..] else {
            panic!("{records:?}");
        };
        expect_h2(record);
        record.clone()
    }

    /// The record of a plain request that was answered completely.
    #[track_caller]
    fn answered(&self, case: &str) -> Line {
        let record = self.record(case);
        assert_eq!(record.text("event"), "request", "{record:?}");
        assert_eq!(record.text("reason"), "", "{record:?}");
        record
    }

    /// Ends the proxy: each stream has one terminal record, and the cases of one client have one connection.
    #[track_caller]
    fn close(self, client: &str) {
        let lines = self.proxy.stop();
        let of_client = |line: &&Line| {
            let asked = line.text("path").rsplit_once("case=");
            is_terminal(line) && asked.is_some_and(|(_, case)| case.starts_with(client))
        };
        let ended: Vec<_> = lines.iter().filter(of_client).collect();
        let distinct = |field: &dyn Fn(&Line) -> String| -> usize {
            let values: BTreeSet<_> = ended.iter().map(|line| field(line)).collect();
            values.len()
        };
        assert!(!ended.is_empty());
        assert_eq!(
            distinct(&|line| line.text("conn").to_owned()),
            1,
            "{ended:#?}"
        );
        let streams = distinct(&|line| format!("{:?}", line.number("stream_id")));
        assert_eq!(streams, ended.len(), "{ended:#?}");
        let ids = distinct(&|line| line.text("request_id").to_owned());
        assert_eq!(ids, ended.len(), "{ended:#?}");
    }
}

/// What every record of a stream has.
#[track_caller]
fn expect_h2(record: &Line) {
    assert_eq!(record.text("http_version"), "2", "{record:?}");
    assert_eq!(record.text("alpn"), "h2", "{record:?}");
    assert!(!record.text("conn").is_empty(), "{record:?}");
    // Streams of clients are odd (RFC 9113 section 5.1.1).
    let stream = record.number("stream_id");
    assert!(stream.is_some_and(|stream| stream % 2 == 1), "{record:?}");
}

/// The version of Python's `h2`.
fn h2_version() -> String {
    let program =
        "import h2, wsproto; print(f'python h2 {h2.__version__}, wsproto {wsproto.__version__}')";
    said(&tool("WSGATE_PYTHON"), &["-c", program])
}

/// Runs a program to its end; gives what it printed.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}
