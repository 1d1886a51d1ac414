//! The page of the admin service in Chromium: what it shows must be what the records say, and what it does must reach the
//! peers. `page_client.js` drives the browser and reports what is on the page; the tests judge.

use serde_json::{Value, json};

use crate::harness::services::{admin, get};
use crate::harness::{Client as RawClient, Line, Proxy, Setup, between, eventually, handshake};
use crate::tools::programs::{Client, Report, said, tool};

/// One tunnel is closed from the page.
mod closing;
/// A problem is said first, and the rest of the page follows.
mod first;
/// What other pages can do with the service.
mod foreign;
/// Text of peers that wants to be markup.
mod hostile;
/// Records that come while somebody reads, and their stories.
mod live;
/// Languages, colours, sizes, and what axe-core finds.
mod looks;
/// Numbers and filters.
mod numbers;
/// More pages than there may be, and a proxy that restarts.
mod streams;

/// A driver with a browser of its own.
struct Visit {
    client: Client,
    cases: Vec<String>,
}

impl Visit {
    /// Opens these cases of `page_client.js` one after the other on the page of a proxy.
    fn start(proxy: &Proxy, cases: Value) -> Self {
        Self::with(proxy, json!({ "cases": cases }))
    }

    /// The same with more options.
    fn with(proxy: &Proxy, mut options: Value) -> Self {
        options["base"] = json!(format!("http://{}/", admin(proxy)));
        let cases = options["cases"].as_array().unwrap().iter();
        let cases = cases
            .map(|case| case["name"].as_str().unwrap().to_owned())
            .collect();
        Self {
            client: Client::program("page_client.js", &options),
            cases,
        }
    }

    /// Waits until a case says that the test may do this step.
    #[track_caller]
    fn at(&self, case: &str, step: &str) {
        let before = self.cases.iter().take_while(|other| *other != case);
        before.for_each(|other| self.client.did(other));
        self.client.said(&format!("{case}: {step}"));
    }

    /// Waits for the end; all cases must have passed.
    #[track_caller]
    fn end(self) -> Report {
        for case in &self.cases {
            self.client.did(case);
        }
        let report = self.client.finish();
        for case in &self.cases {
            let detail = report.detail(case);
            let (error, shown) = (detail.text("error"), detail.text("shown"));
            let problems = &detail.0["problems"];
            assert!(
                error.is_empty(),
                "{case}: {error}\n{problems}\nthe page:\n{shown}"
            );
        }
        report.passed();
        report
    }
}

/// The version of the browser, for the summary.
fn browser() -> String {
    said(&tool("WSGATE_CHROMIUM"), &["--version"])
}

/// A handshake that is refused; gives its record.
#[track_caller]
fn refused(proxy: &Proxy, path: &str, fields: &[(&str, &str)]) -> Line {
    let client = RawClient::plain(proxy.address());
    refused_from(proxy, client, path, fields)
}

/// The same over this connection.
#[track_caller]
fn refused_from(proxy: &Proxy, mut client: RawClient, path: &str, fields: &[(&str, &str)]) -> Line {
    let before = proxy.events("refused");
    let response = client.send(handshake(path, fields)).response();
    assert!(response.status >= 400, "{response:?}");
    client.rest();
    proxy.event_number("refused", before + 1)
}

/// Opens a tunnel over this connection, and waits until the page can know of it.
#[track_caller]
fn opened_from(
    proxy: &Proxy,
    mut client: RawClient,
    path: &str,
    fields: &[(&str, &str)],
) -> RawClient {
    let before = proxy.events("opened");
    let response = client.send(handshake(path, fields)).response();
    assert_eq!(response.status, 101, "{response:?}");
    proxy.event_number("opened", before + 1);
    client
}

#[track_caller]
fn opened(proxy: &Proxy, path: &str, fields: &[(&str, &str)]) -> RawClient {
    opened_from(proxy, RawClient::plain(proxy.address()), path, fields)
}

/// The document that the page reads.
#[track_caller]
fn status(proxy: &Proxy, query: &str) -> Value {
    let (code, text) = get(admin(proxy), &format!("/status.json{query}"));
    assert_eq!(code, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Waits until so many records with a reason can be shown.
#[track_caller]
fn remembered(proxy: &Proxy, count: u64) {
    eventually("the records", || {
        let matching = status(proxy, "?reason=*&all=1")["recent"]["matching"].as_u64();
        (matching >= Some(count)).then_some(())
    });
}

/// The token of the page.
#[track_caller]
fn token(proxy: &Proxy) -> String {
    let page = get(admin(proxy), "/").1;
    between(&page, "name=\"wsgate-token\" content=\"", "\"").to_owned()
}

/// More routes and upstreams for a [`Setup`] whose first upstream is `app`.
struct Ways {
    routes: String,
    upstreams: String,
}

impl Ways {
    fn none() -> Self {
        Self {
            routes: String::new(),
            upstreams: String::new(),
        }
    }

    /// Adds a route to an upstream of its own.
    fn and(mut self, path: &str, name: &str, endpoint: &str) -> Self {
        self.routes += &format!(
            "  - path: {path}\n    websocket: {{ origins: [\"https://app.example.com\"] }}\n    upstream: {name}\n"
        );
        self.upstreams += &format!(" }}\n  {name}: {{ endpoints: [\"{endpoint}\"]");
        self
    }

    /// The configuration with these, and `/ws` to `endpoint`.
    fn before(self, endpoint: &str) -> Setup {
        Setup {
            routes: self.routes,
            upstream: self.upstreams,
            ..Setup::plain(&format!("\"{endpoint}\""))
        }
    }
}

/// A text in a report.
#[track_caller]
fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
}

/// The rows of a table, as lists of texts.
fn rows(value: &Value) -> Vec<Vec<String>> {
    let rows = value.as_array().unwrap().iter();
    rows.map(|row| {
        let cells = row.as_array().unwrap().iter();
        cells.map(|cell| text(cell).to_owned()).collect()
    })
    .collect()
}

/// The value beside a name in a list of facts.
#[track_caller]
fn fact<'v>(facts: &'v Value, name: &str) -> &'v str {
    let found = facts
        .as_array()
        .unwrap()
        .iter()
        .find(|fact| fact[0] == name);
    text(&found.unwrap_or_else(|| panic!("no {name} in {facts:#}"))[1])
}
