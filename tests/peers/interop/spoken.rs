/// Close frames that the proxy decides on.
mod closes;
/// Pings to the client, and their answers.
mod pings;
/// Refusals with `explain_refusals`.
mod refusals;

use serde_json::json;

use super::Gate;
use super::chromium::version;
use crate::harness::proxy::ORIGIN;
use crate::harness::{Client as RawClient, Line, frames};
use crate::tools::browser::{Browser, Pages};
use crate::tools::programs::{Client, Family, Kind};

/// The client's side of one connection, as its application saw it.
struct Told {
    case: String,
    protocol: String,
    extensions: String,
    code: u64,
    reason: String,
}

impl Told {
    fn close(&self) -> (u64, &str) {
        (self.code, &self.reason)
    }
}

/// Clients of all three kinds that do the same on the same routes. Libraries are one program per connection; a
/// browser's connections are frames, which it opens at the same time.
struct Crowd {
    pages: Pages,
    /// The Origin of a page.
    origin: String,
    /// The subprotocols offered.
    protocols: &'static str,
    framed: Vec<String>,
    programs: Vec<(String, Client)>,
    browser: Option<Browser>,
}

/// The names of the clients, as used in the names of cases.
const CLIENTS: [&str; 3] = ["node", "python", "chromium"];

impl Crowd {
    fn new() -> Self {
        let pages = Pages::serve();
        Self {
            origin: pages.origin("127.0.0.1"),
            pages,
            protocols: "",
            framed: Vec::new(),
            programs: Vec::new(),
            browser: None,
        }
    }

    /// The rule that admits all of them.
    fn origins(&self) -> String {
        format!("origins: [{ORIGIN}, \"{}\"]", self.origin)
    }

    /// Lets a client of each kind do `cases`; gives the names of their cases.
    fn add(&mut self, gate: &Gate, path: &str, name: &str, cases: &[&str]) -> [String; 3] {
        let names = CLIENTS.map(|client| format!("{name}-{client}"));
        for (kind, case) in [Kind::Node, Kind::Python].into_iter().zip(&names) {
            let offered: Vec<_> = self
                .protocols
                .split(',')
                .filter(|p| !p.is_empty())
                .collect();
            let mut options = json!({ "cases": cases });
            if !offered.is_empty() {
                options["protocols"] = json!(offered);
            }
            self.programs
                .push((case.clone(), gate.start(kind, path, case, options)));
        }
        let url = gate.url(path, &names[2]);
        let cases = cases.join(",");
        self.pages
            .add(&names[2], &self.origin, &url, self.protocols, &cases);
        self.framed.push(names[2].clone());
        names
    }

    /// Opens all frames.
    fn browse(&mut self, gate: &Gate) {
        self.browser = Some(Browser::open(&self.origin, Some(&gate.authority)));
    }

    /// What all of them got at the end.
    #[track_caller]
    fn told(self) -> Vec<Told> {
        let mut all = Vec::new();
        for (case, client) in self.programs {
            let report = client.finish();
            let (code, reason) = report.close();
            all.push(Told {
                protocol: report.open().text("protocol").to_owned(),
                extensions: report.open().text("extensions").to_owned(),
                code,
                reason: reason.to_owned(),
                case,
            });
        }
        for case in self.framed {
            let report = self.pages.report(&case);
            let close = Line(report.0["close"].clone());
            assert_eq!(report.0["opened"], true, "{report:?}");
            // Chromium sometimes calls its end unclean if it was still sending a message when the Close arrived.
            if !case.contains("big-up") {
                assert_eq!(close.0["was_clean"], true, "{report:?}");
            }
            all.push(Told {
                protocol: report.text("protocol").to_owned(),
                extensions: report.text("extensions").to_owned(),
                code: close.number("code").unwrap(),
                reason: close.text("reason").to_owned(),
                case,
            });
        }
        all
    }
}

/// Reads to the proxy's Close without answering.
#[track_caller]
fn read_close(client: &mut RawClient) -> (u64, String) {
    loop {
        if let (frames::CLOSE, payload) = frames::read(client).unwrap() {
            let (code, reason) = payload.split_at(2);
            let code = u16::from_be_bytes(code.try_into().unwrap());
            return (code.into(), String::from_utf8(reason.to_vec()).unwrap());
        }
    }
}

fn family(what: &str) -> Family {
    let libraries = [Kind::Node, Kind::Python].map(Kind::version).join(", ");
    Family::new(format!("{libraries}, {}: {what}", version()))
}
