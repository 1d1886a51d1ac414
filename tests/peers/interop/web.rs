use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use wsgate::reason::Reason;

use crate::harness::certs::{Authority, Kind as Certificate};
use crate::harness::proxy::is_terminal;
use crate::harness::{Line, Proxy};
use crate::tools::programs::{Client, Report, Server, tool};

/// The requests of a browser's page to its own origin.
mod browser;
/// Node and Python, and Socket.IO.
mod clients;
/// curl.
mod curl;
/// Answers and bodies that are cut off.
mod cut;
/// Many clients at once.
mod load;
/// All requests of the first user's mini program.
mod mini_program;

const STREAM: &str = "/api/realtime-voice/stream";

/// The name that the mini program uses.
const HOST: &str = "api.example.com";

/// Routes to the upstream `app` for everything that `web_server.js` serves.
const ROUTES: &str = "
  - path: /api/realtime-voice/stream
    websocket: { origins: [self], missing_origin: allow }
    host: localhost
    upstream: app
  - path: /api/*
    http: { max_body: 32MiB }
    upstream: app
  - { path: /health, http: {}, upstream: app }
  - { path: /page.html, http: {}, upstream: app }
  - { path: /report, http: {}, upstream: app }
  - path: /socket.io/*
    http: {}
    websocket: { origins: [https://app.example.com], missing_origin: allow }
    upstream: app
";

/// A running proxy with a TLS listener and a plain one.
struct Web {
    proxy: Proxy,
    authority: PathBuf,
}

impl Web {
    /// `routes` are items of a list.
    fn open(routes: &str, app: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::shared();
        let names = ["localhost", "127.0.0.1", HOST];
        authority.write(folder.path(), "good", &names, Certificate::Good);
        let path = folder.path().join("ca.pem");
        fs::write(&path, authority.pem()).unwrap();
        let yaml = format!(
            "listeners:\n  - address: 127.0.0.1:0\n    \
             tls: {{ certificates: [{{ cert: good.pem, key: good-key.pem }}] }}\n  \
             - address: 127.0.0.1:0\nroutes:\n{routes}\n\
             upstreams: {{ app: {{ endpoints: [\"{}\"] }} }}\n\
             limits: {{ close_wait: 15s }}\n\
             log: {{ level: debug, query_keep: [case] }}\n",
            app.endpoint()
        );
        fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
        Self {
            proxy: Proxy::spawn(folder, None, 2),
            authority: path,
        }
    }

    /// The URL of the TLS listener, with a name of the certificate.
    fn secure(&self, host: &str) -> String {
        format!("https://{host}:{}", self.proxy.addresses()[0].port())
    }

    fn plain(&self) -> String {
        format!("http://127.0.0.1:{}", self.proxy.addresses()[1].port())
    }

    /// Starts `web_client.js` without TLS, or `web_client.py` over TLS.
    fn start(&self, program: &str, cases: &[&str], mut more: Value) -> Client {
        more["cases"] = json!(cases);
        more["timeout_ms"] = json!(15_000);
        more["ca"] = json!(self.authority);
        more["url"] = match program.ends_with(".py") {
            true => json!(self.secure("localhost")),
            false => json!(self.plain()),
        };
        Client::program(program, &more)
    }

    #[track_caller]
    fn visit(&self, program: &str, cases: &[&str]) -> Report {
        let client = self.start(program, cases, json!({}));
        for case in cases {
            client.did(case);
        }
        let report = client.finish();
        assert_eq!(report.passed(), cases.len());
        report
    }

    /// Runs curl over TLS; `target` is a path with its query.
    #[track_caller]
    fn curl(&self, arguments: &[&str], targets: &[&str]) -> Curl {
        self.curl_at(&self.secure(HOST), arguments, targets)
    }

    #[track_caller]
    fn curl_at(&self, base: &str, arguments: &[&str], targets: &[&str]) -> Curl {
        let port = self.proxy.addresses()[0].port();
        let mut command = Command::new(tool("WSGATE_CURL"));
        command
            .args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
            .arg(&self.authority)
            .args(["--noproxy", "*"])
            .args(["--resolve", &format!("{HOST}:{port}:127.0.0.1")])
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
            .args(arguments)
            .args(targets.iter().map(|target| format!("{base}{target}")));
        let output = command.output().unwrap();
        Curl {
            code: output.status.code().unwrap(),
            body: output.stdout,
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The records of a case's requests, once there are `count`.
    #[track_caller]
    fn requests(&self, case: &str, count: usize) -> Vec<Line> {
        let of_case = |line: &&Line| is_request(line) && is_of(line, case);
        self.proxy.wait(case, |lines| {
            let found: Vec<_> = lines.iter().filter(of_case).cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// The record of a request that was answered completely.
    #[track_caller]
    fn request(&self, case: &str) -> Line {
        let record = self.requests(case, 1).remove(0);
        assert_eq!(record.text("event"), "request", "{record:?}");
        assert_eq!(record.text("reason"), "", "{record:?}");
        assert_eq!(record.text("level"), level(&record), "{record:?}");
        record
    }

    /// The record of a request that failed.
    #[track_caller]
    fn failed(&self, case: &str, reason: Reason) -> Line {
        let record = self.requests(case, 1).remove(0);
        assert_eq!(record.text("reason"), reason.code(), "{record:?}");
        assert!(!record.text("hint").is_empty(), "{record:?}");
        record
    }

    /// Ends the proxy and compares its records with the application's log: one for each request.
    #[track_caller]
    fn close(self, app: &Server) -> Vec<Line> {
        let lines = self.proxy.stop();
        let counted = |lines: &[Line], is: &dyn Fn(&Line) -> bool, field: &str| {
            let mut counts = HashMap::<String, usize>::new();
            for line in lines.iter().filter(|line| is(line)) {
                if let Some((_, case)) = line.text(field).rsplit_once("case=") {
                    *counts.entry(case.to_owned()).or_default() += 1;
                }
            }
            counts
        };
        // The proxy's own refusals did not reach the application.
        let passed = |line: &Line| line.text("event") == "request";
        let asked = |line: &Line| line.text("event") == "request";
        assert_eq!(
            counted(&lines, &passed, "path"),
            counted(&app.lines(), &asked, "url")
        );
        lines
    }
}

/// The result of curl.
struct Curl {
    code: i32,
    body: Vec<u8>,
    errors: String,
}

impl Curl {
    #[track_caller]
    fn text(&self) -> &str {
        assert_eq!(self.code, 0, "{}", self.errors);
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    fn json(&self) -> Line {
        Line(serde_json::from_str(self.text()).unwrap_or_else(|_| panic!("{}", self.text())))
    }
}

fn is_request(line: &Line) -> bool {
    line.text("event") == "request" || is_terminal(line)
}

fn is_of(line: &Line, case: &str) -> bool {
    let asked = line.text("path").rsplit_once("case=");
    asked.is_some_and(|(_, asked)| asked == case)
}

/// The level for a complete answer.
fn level(record: &Line) -> &'static str {
    match record.number("status") {
        Some(500..) => "warn",
        _ => "info",
    }
}

/// The application's log line about a request's body.
#[track_caller]
fn read(app: &Server, case: &str) -> Line {
    let mark = format!("case={case}");
    app.line(&mark, |line| {
        line.text("event") == "read" && line.text("url").ends_with(&mark)
    })
}

/// The application's log line about the end of an answer.
#[track_caller]
fn answered(app: &Server, case: &str) -> Line {
    let mark = format!("case={case}");
    app.line(&mark, |line| {
        line.text("event") == "answered" && line.text("url").ends_with(&mark)
    })
}
