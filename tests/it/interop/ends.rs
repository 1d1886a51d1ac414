//! What a client's application is told of every way in which a tunnel can end. `docs/close-codes.md` says it in words.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::chromium::version;
use super::{Gate, Way};
use crate::harness::browser::{Browser, Pages};
use crate::harness::peers::{Family, Kind};
use crate::harness::proxy::ORIGIN;
use crate::harness::upstream::Call;
use crate::harness::{Line, PATIENCE, Upstream, switching};

/// SWITCH ON with the field `client_sees`: from then on it must be the code that Chromium reported, in every case.
const RECORDS_SAY_WHAT_THE_CLIENT_SEES: bool = false;

/// A text message that comes with the 101, so that every tunnel has carried something.
const MESSAGE: &[u8] = b"\x81\x02hi";

/// What an upstream does.
enum Step {
    Send(Vec<u8>),
    /// Reads until the client's Close frame has come.
    Await,
    /// Ends its stream.
    Finish,
    /// Ends the connection with RST.
    Reset,
}
use Step::{Await, Finish, Reset, Send};

/// One tunnel and its end.
struct End {
    case: String,
    /// What `page.html` does: nothing by itself, mostly.
    page: &'static str,
    /// Sent with the 101, in one write.
    at_once: Vec<u8>,
    /// After the last one, the upstream reads to the end.
    steps: Vec<Step>,
    /// The CloseEvent: code, reason, `wasClean`. `None`: there is no page any more that could get it.
    sees: Option<(u64, &'static str, bool)>,
    /// The code of the first Close frame that reaches the upstream; 1005 stands for one without a code.
    says: Option<u64>,
}

/// What script sees when there was no good Close frame.
const ABNORMAL: Option<(u64, &str, bool)> = Some((1006, "", false));

fn end<const N: usize>(
    case: impl Into<String>,
    steps: [Step; N],
    sees: Option<(u64, &'static str, bool)>,
    says: Option<u64>,
) -> End {
    End {
        case: case.into(),
        page: "wait_close",
        at_once: MESSAGE.to_vec(),
        steps: steps.into(),
        sees,
        says,
    }
}

/// The same, begun by the page.
fn by_page<const N: usize>(
    page: &'static str,
    case: &str,
    steps: [Step; N],
    sees: Option<(u64, &'static str, bool)>,
    says: u64,
) -> End {
    End {
        page,
        ..end(case, steps, sees, Some(says))
    }
}

/// An unmasked frame of at most 65535 bytes; `first` is its first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut frame = vec![first];
    match u8::try_from(length) {
        Ok(short @ 0..=125) => frame.push(short),
        _ => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = [&code.to_be_bytes()[..], reason.as_ref()].concat();
    frame(0x88, &payload)
}

/// The upstream begins, and breaks no rule of framing. Of the codes, Chromium refuses those three alone that stand for
/// the absence of a code (RFC 6455, section 7.4.1): they are among the faults.
fn by_upstream() -> Vec<End> {
    let codes = [
        0, 999, 1000, 1001, 1002, 1003, 1004, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1016,
        1100, 2999, 3000, 3999, 4000, 4999, 5000, 65535,
    ];
    let mut ends = Vec::new();
    for code in codes {
        for (kind, reason) in [("bare", ""), ("reason", "why €")] {
            ends.push(end(
                format!("{kind}-{code}"),
                [Send(close(code, reason)), Await, Finish],
                Some((code.into(), reason, true)),
                Some(code.into()),
            ));
        }
    }
    let longest: &'static str = "123 bytes are all that a reason can have: the code takes two of the 125 that a \
                                 control frame may carry, and no more.";
    let empty = b"\x88\0".to_vec();
    ends.extend([
        end(
            "empty",
            [Send(empty.clone()), Await, Finish],
            Some((1005, "", true)),
            Some(1005),
        ),
        end(
            "empty-fin",
            [Send(empty), Finish],
            Some((1005, "", true)),
            Some(1005),
        ),
        end(
            "longest",
            [Send(close(4000, longest)), Await, Finish],
            Some((4000, longest, true)),
            Some(4000),
        ),
        end(
            "close-fin",
            [Send(close(1008, "policy")), Finish],
            Some((1008, "policy", true)),
            Some(1008),
        ),
        // The proxy ends the client's stream in order: an RST on that side would leave code and reason, and only
        // `wasClean` would be false.
        end(
            "close-rst",
            [Send(close(1012, "r")), Await, Reset],
            Some((1012, "r", true)),
            Some(1012),
        ),
        // Chromium waits two seconds for the end of the stream, and then ends it.
        end(
            "close-and-wait",
            [Send(close(1012, "r")), Await],
            Some((1012, "r", true)),
            Some(1012),
        ),
        end(
            "between-fragments",
            [
                Send(b"\x01\x03abc".to_vec()),
                Send(close(1012, "r")),
                Await,
                Finish,
            ],
            Some((1012, "r", true)),
            Some(1012),
        ),
        // The Pings are answered first: else the Close would be.
        end(
            "after-pings",
            [
                Send([frame(0x89, b"one"), frame(0x89, b"two"), close(1000, "")].concat()),
                Await,
                Finish,
            ],
            Some((1000, "", true)),
            Some(1000),
        ),
        End {
            at_once: close(1008, "go away"),
            ..end(
                "with-the-101",
                [Await, Finish],
                Some((1008, "go away", true)),
                Some(1008),
            )
        },
        end("fin", [Finish], ABNORMAL, None),
        end("rst", [Reset], ABNORMAL, None),
        end(
            "cut-in-head",
            [Send(b"\x88".to_vec()), Finish],
            ABNORMAL,
            None,
        ),
        end(
            "cut-in-code",
            [Send(b"\x88\x02\x03".to_vec()), Finish],
            ABNORMAL,
            None,
        ),
        end(
            "cut-in-reason",
            [Send(b"\x88\x05\x03\xf4ab".to_vec()), Finish],
            ABNORMAL,
            None,
        ),
        end(
            "cut-in-frame",
            [Send(b"\x82\x32abc".to_vec()), Finish],
            ABNORMAL,
            None,
        ),
        end(
            "cut-in-message",
            [Send(b"\x01\x03abc".to_vec()), Finish],
            ABNORMAL,
            None,
        ),
        // These bytes are payload.
        end(
            "close-in-frame",
            [
                Send([b"\x82\x32abc", &close(1012, "r")[..]].concat()),
                Finish,
            ],
            ABNORMAL,
            None,
        ),
    ]);
    ends
}

/// The page begins: what it sees is what the upstream answers, not what it gave itself.
fn by_the_page() -> Vec<End> {
    let mut ends = vec![
        // Whoever is first here, the other's Close is the answer.
        End {
            at_once: close(4000, "server"),
            ..by_page(
                "close:4000:server",
                "crossing",
                [Await, Finish],
                Some((4000, "server", true)),
                4000,
            )
        },
        by_page("leave", "leave", [], None, 1001),
        by_page(
            "leave",
            "leave-answered",
            [Await, Send(close(1001, "")), Finish],
            None,
            1001,
        ),
    ];
    for (name, page, says, same) in [
        ("page-bare", "bare_close", 1005, b"\x88\0".to_vec()),
        ("page-1000", "close:1000:", 1000, close(1000, "")),
        ("page-4001", "close:4001:x", 4001, close(4001, "x")),
    ] {
        let given = match says {
            4001 => (4001, "x", true),
            code => (code, "", true),
        };
        let empty = b"\x88\0".to_vec();
        let cases = [
            ("same", vec![Send(same.clone()), Finish], Some(given)),
            ("same-and-wait", vec![Send(same.clone())], Some(given)),
            (
                "text-and-same",
                vec![Send(MESSAGE.to_vec()), Send(same), Finish],
                Some(given),
            ),
            (
                "other",
                vec![Send(close(1011, "other")), Finish],
                Some((1011, "other", true)),
            ),
            ("empty", vec![Send(empty), Finish], Some((1005, "", true))),
            (
                "cut",
                vec![Send(b"\x88\x02\x03".to_vec()), Finish],
                ABNORMAL,
            ),
            ("fin", vec![Finish], ABNORMAL),
            ("rst", vec![Reset], ABNORMAL),
        ];
        for (how, mut steps, sees) in cases {
            steps.insert(0, Await);
            let mut end = by_page(page, &format!("{name}-{how}"), [], sees, says);
            end.steps = steps;
            ends.push(end);
        }
    }
    ends
}

/// The upstream breaks a rule. A table of its own, as these expectations are of what passes such bytes on: script sees
/// 1006, and Chromium says 1002.
fn faults() -> Vec<End> {
    let fault = |case: &str, bytes: &[u8]| {
        let steps = [Send(bytes.to_vec()), Await, Finish];
        end(case, steps, ABNORMAL, Some(1002))
    };
    let long = [b'p'; 126];
    let long_close = [&4000_u16.to_be_bytes()[..], &long].concat();
    vec![
        fault("no-code", &close(1005, "")),
        fault("no-close", &close(1006, "")),
        fault("no-tls", &close(1015, "")),
        fault("no-close-reason", &close(1006, "why")),
        fault("close-1-byte", b"\x88\x01\x03"),
        fault("close-not-utf8", &close(1000, b"a\xff")),
        fault("close-4000-not-utf8", &close(4000, b"a\xff")),
        fault("close-too-long", &frame(0x88, &long_close)),
        fault("close-fragment", b"\x08\x02\x0f\xa0"),
        fault("masked", b"\x81\x82\x01\x02\x03\x04ik"),
        fault("rsv1", b"\xc1\x02hi"),
        fault("rsv2", b"\xa1\x02hi"),
        fault("rsv3", b"\x91\x02hi"),
        fault("opcode-3", b"\x83\x02hi"),
        fault("opcode-b", b"\x8b\x02hi"),
        fault("ping-too-long", &frame(0x89, &long)),
        fault("pong-too-long", &frame(0x8a, &long)),
        fault("ping-fragment", b"\x09\x01p\x80\x01q"),
        fault("continuation-first", b"\x80\x02hi"),
        fault("text-between-fragments", b"\x01\x01a\x81\x01b"),
        fault(
            "http",
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        ),
        fault("length-16-too-small", b"\x81\x7e\0\x02hi"),
        fault("length-64-too-small", b"\x81\x7f\0\0\0\0\0\0\0\x02hi"),
        fault("length-64-too-big", b"\x81\x7f\x80\0\0\0\0\0\0\x02hi"),
        fault("text-not-utf8", b"\x81\x02a\xff"),
        fault("text-cut-character", b"\x81\x02a\xe2"),
    ]
}

/// Frames after a Close. They cost the page its code: Chromium has answered the Close already, and then fails.
fn after_close() -> Vec<End> {
    [
        ("then-close", close(4001, "two")),
        ("then-text", MESSAGE.to_vec()),
        ("then-ping", frame(0x89, b"hi")),
    ]
    .into_iter()
    .flat_map(|(case, more)| {
        let both = [close(4000, "one"), more.clone()].concat();
        [
            end(case, [Send(both), Await, Finish], ABNORMAL, Some(4000)),
            end(
                format!("{case}-later"),
                [Send(close(4000, "one")), Await, Send(more), Finish],
                ABNORMAL,
                Some(4000),
            ),
        ]
    })
    .collect()
}

/// The payload and first byte of the next frame from a client, or `None` at the end. All are short here.
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

/// Reads to the next Close and gives its code, 1005 if it has none; `None` at the end.
fn next_close(call: &mut Call) -> Option<u64> {
    loop {
        if let (0x88, payload) = next_frame(call)? {
            let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            return Some(code.unwrap_or(1005).into());
        }
    }
}

/// Does each case's steps, and keeps what the first Close of its client said.
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
            // What is gone already needs no end.
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
    let recorded = match end.sees {
        Some((code, ..)) if RECORDS_SAY_WHAT_THE_CLIENT_SEES => Some(code),
        // A page that left sees nothing, whatever the record says.
        None => record.number("client_sees"),
        // Fails as soon as there is the field, for then it must be held against Chromium.
        Some(_) => None,
    };
    let is_right = report.0["opened"] == true
        && report.0["close"] == seen
        && said == end.says
        && record.number("client_sees") == recorded;
    (!is_right).then(|| {
        format!(
            "{}: expected {seen}, answered by {:?}, got {}, answered by {said:?}; {record:?}",
            end.case, end.says, report.0["close"]
        )
    })
}

#[test]
fn chromium_sees_each_end_as_expected() {
    let tables = || {
        [by_upstream(), by_the_page(), faults(), after_close()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
    };
    let ends = tables();
    let mut family = Family::new(format!("{}: ends", version()));
    let pages = Pages::serve();
    let own = pages.origin("127.0.0.1");
    let ender = Ender::start(tables());
    let rules = format!("origins: [\"{own}\"]");
    let gate = Gate::open(&[Way::with("/ends", ender.upstream.url(), rules)]);
    for end in &ends {
        pages.add(&end.case, &own, &gate.url("/ends", &end.case), "", end.page);
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

/// Libraries take the codes that RFC 6455 and its registry know, and treat the others as a fault.
#[test]
fn libraries_take_fewer_codes_than_a_browser() {
    let good = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ];
    let bad = [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65535,
    ];
    let tables = || {
        let mut ends = Vec::new();
        for code in good.into_iter().chain(bad) {
            let is_good = good.contains(&code);
            let (sees, says) = match is_good {
                true => (Some((code.into(), "why €", true)), code.into()),
                false => (ABNORMAL, 1002),
            };
            let steps = [Send(close(code, "why €")), Await, Finish];
            ends.push(end(format!("code-{code}"), steps, sees, Some(says)));
        }
        let empty = [Send(b"\x88\0".to_vec()), Await, Finish];
        ends.push(end("empty", empty, Some((1005, "", true)), Some(1005)));
        ends.push(end("fin", [Finish], ABNORMAL, None));
        ends.push(end("rst", [Reset], ABNORMAL, None));
        // Unlike Chromium, both keep the first Close's code.
        let both = [close(4000, "one"), close(4001, "two")].concat();
        let steps = [Send(both), Await, Finish];
        ends.push(end(
            "then-close",
            steps,
            Some((4000, "one", true)),
            Some(4000),
        ));
        ends
    };
    for kind in [Kind::Node, Kind::Python] {
        let ends = tables();
        let mut family = Family::new(format!("{}: ends", kind.version()));
        let ender = Ender::start(tables());
        let rules = format!("origins: [{ORIGIN}]");
        let gate = Gate::open(&[Way::with("/ends", ender.upstream.url(), rules)]);
        let options = json!({ "cases": ["wait_close"], "deflate": false });
        let clients: Vec<_> = ends
            .iter()
            .map(|end| gate.start(kind, "/ends", &end.case, options.clone()))
            .collect();
        for (end, client) in ends.iter().zip(clients) {
            let report = client.finish();
            let (code, reason, _) = end.sees.unwrap();
            assert_eq!(report.close(), (code, reason), "{kind:?}, {}", end.case);
            gate.ended(&end.case);
        }
        ender.upstream.all_ended();
        let said = ender.said.lock().unwrap();
        for end in &ends {
            assert_eq!(said[&end.case], end.says, "{kind:?}, {}", end.case);
        }
        family.add(ends.len());
        gate.close(ends.len());
        family.finish();
    }
}
