//! What a client's application learns about every kind of end of a tunnel, and what the record says.
//! `docs/close-codes.md` describes the same in words.

/// The table of ends.
mod tables;

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wsgate::reason::Reason;

use super::chromium::version;
use super::{Gate, Way};
use crate::harness::proxy::ORIGIN;
use crate::harness::upstream::Call;
use crate::harness::{Line, PATIENCE, Upstream, switching};
use crate::tools::browser::{Browser, Pages};
use crate::tools::programs::{Family, Kind};

/// A text message that comes with the 101, so every tunnel has carried something.
const MESSAGE: &[u8] = b"\x81\x02hi";

/// What an upstream does.
enum Step {
    Send(Vec<u8>),
    /// Reads until the client's Close frame has arrived.
    Await,
    /// Reads until a Pong from the client has arrived: everything before the Ping has passed the proxy.
    Pong,
    /// Ends its stream.
    Finish,
    /// Ends the connection with RST.
    Reset,
}
use Step::{Await, Finish, Pong, Reset, Send};

/// A CloseEvent: code, reason, `wasClean`.
type Seen = (u64, &'static str, bool);

/// One tunnel and its end.
struct End {
    case: String,
    /// The route: `close_frame` or `transparent`.
    path: &'static str,
    /// What `page.html` does on its own; usually nothing.
    page: &'static str,
    /// Sent together with the 101, in one write.
    at_once: Vec<u8>,
    /// After the last step the upstream reads to the end.
    steps: Vec<Step>,
    /// `None`: the page that could get it is gone.
    sees: Option<Seen>,
    /// The code of the first Close frame that reaches the upstream; 1005 for a Close without a code.
    says: Option<u64>,
    /// The reason in the record; several if two peers are equally fast.
    reasons: Vec<Reason>,
    /// Whether bytes follow the upstream's Close; `None`: they may arrive after the tunnel's end, and then are not
    /// read.
    has_more: Option<bool>,
}

/// What script sees without a valid Close frame.
const ABNORMAL: Option<Seen> = Some((1006, "", false));

/// What script sees when the proxy closes.
fn told(code: u64, reason: Reason) -> Option<Seen> {
    Some((code, reason.code(), true))
}

/// The payload and first byte of the next frame from a client, or `None` at the end. All frames here are short.
fn next_frame(call: &mut Call) -> Option<(u8, Vec<u8>)> {
    let mut read = |bytes: &mut [u8]| match call.socket.read_exact(bytes) {
        Ok(()) => Some(()),
        Err(error) => {
            let is_late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!is_late, "neither a frame nor an end in {PATIENCE:?}");
            None
        }
    };
    let mut head = [0; 6];
    read(&mut head)?;
    let [first, length, mask @ ..] = head;
    let mut payload = vec![0; usize::from(length & 0x7f)];
    read(&mut payload)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Some((first, payload))
}

/// Reads to the next Close; gives its code, 1005 if it has none, or `None` at the end.
fn next_close(call: &mut Call) -> Option<u64> {
    loop {
        if let (0x88, payload) = next_frame(call)? {
            let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            return Some(code.unwrap_or(1005).into());
        }
    }
}

/// Does each case's steps, and keeps the code of the first Close from its client.
struct Ender {
    upstream: Upstream,
    said: Arc<Mutex<HashMap<String, Option<u64>>>>,
}

impl Ender {
    fn start(ends: Vec<End>) -> Self {
        let ends: HashMap<_, _> = ends
            .into_iter()
            .map(|end| (end.case.clone(), end))
            .collect();
        let said = Arc::<Mutex<HashMap<_, _>>>::default();
        let kept = Arc::clone(&said);
        let upstream = Upstream::start(move |call| {
            let target = call.head.split(' ').nth(1).unwrap();
            let case = target.split_once("?case=").unwrap().1.to_owned();
            let close = do_steps(call, &ends[&case]);
            kept.lock().unwrap().insert(case, close);
        });
        Self { upstream, said }
    }
}

fn do_steps(mut call: Call, end: &End) -> Option<u64> {
    let mut first = None;
    let head = [switching(&call.head, "").as_bytes(), &end.at_once].concat();
    call.write(head);
    for step in &end.steps {
        match step {
            Send(bytes) => {
                call.write(bytes);
            }
            Await => first = next_close(&mut call),
            Pong => while next_frame(&mut call).is_some_and(|(first, _)| first != 0x8a) {},
            // A connection that is gone can't be ended again.
            Finish => {
                let _ = call.socket.shutdown(std::net::Shutdown::Write);
            }
            Reset => {
                call.reset();
                return first;
            }
        }
    }
    while let Some(close) = next_close(&mut call) {
        first = first.or(Some(close));
    }
    first
}

/// What is wrong with a case, if anything.
fn difference(end: &End, report: &Line, said: Option<u64>, record: &Line) -> Option<String> {
    let seen = end.sees.map_or(
        Value::Null,
        |(code, reason, is_clean)| json!({ "code": code, "reason": reason, "was_clean": is_clean }),
    );
    // A page that left sees nothing, whatever the record says.
    let recorded = end.sees.map(|(code, ..)| code);
    let is_seen = recorded.is_none() || record.number("client_sees") == recorded;
    // The reason in the proxy's own Close is the code of a reason.
    let own = end
        .sees
        .filter(|(_, words, _)| words.parse::<Reason>().is_ok());
    // A client that fails the connection itself does not read the answer to its Close. Its own end and the upstream's
    // race: if the upstream is slower, the proxy answers instead.
    let is_answered_late = end.says == Some(1002)
        && record.text("reason") == Reason::ClientClose.code()
        && record.number("close_code_proxy") == Some(1014);
    let is_right = report.0["opened"] == true
        && report.0["close"] == seen
        && said == end.says
        && is_seen
        && (record.number("close_code_proxy") == own.map(|(code, ..)| code) || is_answered_late)
        && record.text("first_close") == first_close(record)
        && end.is_told_by(record);
    (!is_right).then(|| {
        format!(
            "{}: expected {seen}, answered by {:?}, {:?}; got {}, answered by {said:?}; {record:?}",
            end.case, end.says, end.reasons, report.0["close"]
        )
    })
}

/// Whose Close came first, according to the reason.
fn first_close(record: &Line) -> &str {
    match record.text("reason") {
        "upstream_eof_no_close" | "upstream_reset" => match record.number("close_code_proxy") {
            Some(_) => "proxy",
            None => "",
        },
        "upstream_protocol_error" => "proxy",
        _ => record.text("by"),
    }
}

impl End {
    /// Whether a record has the reason and the note that belongs to it.
    fn is_told_by(&self, record: &Line) -> bool {
        let is_noted = match record.notes()[..] {
            [] => self.has_more != Some(true),
            ["bytes_after_close"] => self.has_more != Some(false),
            _ => false,
        };
        let mut reasons = self.reasons.iter().map(|reason| reason.code());
        is_noted && reasons.any(|code| code == record.text("reason"))
    }
}

/// A route for each way to tell the client about an upstream's end.
fn gate(ender: &Ender, origin: &str) -> Gate {
    let rules = format!("origins: [\"{origin}\"]");
    let way = |path| Way::with(path, ender.upstream.url(), rules.clone());
    Gate::open(&[way(tables::TOLD), way(tables::BARE).transparent()])
}

#[test]
fn chromium_sees_each_end_as_expected() {
    let ends = tables::all();
    let mut family = Family::new(format!("{}: ends", version()));
    let pages = Pages::serve();
    let own = pages.origin("127.0.0.1");
    let ender = Ender::start(tables::all());
    let gate = gate(&ender, &own);
    for end in &ends {
        pages.add(
            &end.case,
            &own,
            &gate.url(end.path, &end.case),
            "",
            end.page,
        );
    }
    let browser = Browser::open(&own, Some(&gate.authority));
    let reports: Vec<_> = ends.iter().map(|end| pages.report(&end.case)).collect();
    let records: Vec<_> = ends.iter().map(|end| gate.ended(&end.case)).collect();
    ender.upstream.all_ended();
    drop(browser);

    let said = ender.said.lock().unwrap();
    let differences: Vec<_> = ends
        .iter()
        .zip(reports.iter().zip(&records))
        .filter_map(|(end, (report, record))| difference(end, report, said[&end.case], record))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    family.add(ends.len());
    gate.close(ends.len());
    family.finish();
}

/// Libraries accept the codes of RFC 6455 and its registry, and treat the others as errors.
#[test]
fn libraries_take_fewer_codes_than_a_browser() {
    for kind in [Kind::Node, Kind::Python] {
        let ends = tables::for_libraries();
        let mut family = Family::new(format!("{}: ends", kind.version()));
        let ender = Ender::start(tables::for_libraries());
        let gate = gate(&ender, ORIGIN);
        let options = json!({ "cases": ["wait_close"], "deflate": false });
        let clients: Vec<_> = ends
            .iter()
            .map(|end| gate.start(kind, end.path, &end.case, options.clone()))
            .collect();
        for (end, client) in ends.iter().zip(clients) {
            let report = client.finish();
            let (code, reason, _) = end.sees.unwrap();
            assert_eq!(report.close(), (code, reason), "{kind:?}, {}", end.case);
            let record = gate.ended(&end.case);
            assert!(end.is_told_by(&record), "{kind:?}: {record:?}");
            // For codes that libraries reject, the record says how a browser sees them.
            if end.says != Some(1002) || code == 1002 {
                assert_eq!(record.number("client_sees"), Some(code), "{record:?}");
            }
        }
        ender.upstream.all_ended();
        let said = ender.said.lock().unwrap();
        for end in &ends {
            let says = match kind {
                // It accepts a Close between fragments, and rejects it in its answer.
                Kind::Python if end.case == "cut-in-message" => Some(1002),
                _ => end.says,
            };
            assert_eq!(said[&end.case], says, "{kind:?}, {}", end.case);
        }
        family.add(ends.len());
        gate.close(ends.len());
        family.finish();
    }
}
