use wsgate::reason::Reason;

use super::{ABNORMAL, Await, End, Finish, MESSAGE, Pong, Reset, Seen, Send, Step, told};

/// The route on which the proxy sends a Close when the upstream is gone.
pub const TOLD: &str = "/told";

/// The route on which it passes the bare end on.
pub const BARE: &str = "/bare";

/// All cases for Chromium.
pub fn all() -> Vec<End> {
    [
        by_upstream(),
        without_close(),
        by_the_page(),
        faults(),
        after_close(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn end<const N: usize>(
    case: impl Into<String>,
    steps: [Step; N],
    sees: Option<Seen>,
    says: Option<u64>,
    reason: Reason,
) -> End {
    End {
        case: case.into(),
        path: TOLD,
        page: "wait_close",
        at_once: MESSAGE.to_vec(),
        steps: steps.into(),
        sees,
        says,
        reasons: vec![reason],
        has_more: Some(false),
    }
}

/// The same, begun by the page.
fn by_page<const N: usize>(
    page: &'static str,
    case: &str,
    steps: [Step; N],
    sees: Option<Seen>,
    says: u64,
    reason: Reason,
) -> End {
    End {
        page,
        ..end(case, steps, sees, Some(says), reason)
    }
}

/// The same if the proxy adds no Close.
fn bare(end: End) -> End {
    End {
        case: format!("transparent-{}", end.case),
        path: BARE,
        ..end
    }
}

/// An unmasked frame of at most 65535 bytes; `first` is its first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
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

pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = [&code.to_be_bytes()[..], reason.as_ref()].concat();
    frame(0x88, &payload)
}

/// The reason for an upstream's code.
fn reason_of(code: u16) -> Reason {
    match code {
        1000 | 1001 | 3999 => Reason::UpstreamClose,
        1002 | 1003 | 1007 | 1010 | 1011 | 1014 => Reason::UpstreamCloseError,
        1008 | 3000 | 4000 | 4999 => Reason::UpstreamClosePolicy,
        1009 => Reason::UpstreamCloseTooBig,
        1012 | 1013 => Reason::UpstreamCloseRestart,
        0 | 999 | 1004 | 1005 | 1006 | 1015 | 1016 | 1100 | 2999 | 5000 | 65535 => {
            Reason::ReservedCloseCodeOnWire
        }
        _ => panic!("{code} is not in the table"),
    }
}

/// The upstream begins with its own Close. Chromium rejects only the three codes that stand for the absence of a code
/// (RFC 6455, section 7.4.1); they are among the faults.
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
                reason_of(code),
            ));
        }
    }
    let longest: &'static str = "123 bytes are all that a reason can have: the code takes two of the 125 that a \
                                 control frame may carry, and no more.";
    let empty = b"\x88\0".to_vec();
    let restart = Some((1012, "r", true));
    let own = |case: &str, steps: Vec<Step>, sees: Option<Seen>, reason| {
        let says = sees.map(|(code, ..)| code);
        End {
            steps,
            ..end(case, [], sees, says, reason)
        }
    };
    ends.extend([
        own(
            "empty",
            vec![Send(empty.clone()), Await, Finish],
            Some((1005, "", true)),
            Reason::UpstreamClose,
        ),
        own(
            "empty-fin",
            vec![Send(empty.clone()), Finish],
            Some((1005, "", true)),
            Reason::UpstreamClose,
        ),
        // Like express-ws if no route matches.
        End {
            at_once: empty,
            ..own(
                "empty-with-the-101",
                vec![Await, Finish],
                Some((1005, "", true)),
                Reason::UpstreamCloseImmediate,
            )
        },
        own(
            "longest",
            vec![Send(close(4000, longest)), Await, Finish],
            Some((4000, longest, true)),
            Reason::UpstreamClosePolicy,
        ),
        own(
            "close-fin",
            vec![Send(close(1008, "policy")), Finish],
            Some((1008, "policy", true)),
            Reason::UpstreamClosePolicy,
        ),
        // The proxy ends the client's stream cleanly: an RST would keep code and reason, and only make `wasClean`
        // false.
        own(
            "close-rst",
            vec![Send(close(1012, "r")), Await, Reset],
            restart,
            Reason::UpstreamCloseRestart,
        ),
        // Chromium waits two seconds for the end of the stream and then ends it.
        own(
            "close-and-wait",
            vec![Send(close(1012, "r")), Await],
            restart,
            Reason::UpstreamCloseRestart,
        ),
        own(
            "between-fragments",
            vec![
                Send(b"\x01\x03abc".to_vec()),
                Send(close(1012, "r")),
                Await,
                Finish,
            ],
            restart,
            Reason::UpstreamCloseRestart,
        ),
        // The Pings are answered first; otherwise the Close would be.
        own(
            "after-pings",
            vec![
                Send([frame(0x89, b"one"), frame(0x89, b"two"), close(1000, "")].concat()),
                Await,
                Finish,
            ],
            Some((1000, "", true)),
            Reason::UpstreamClose,
        ),
        End {
            at_once: close(1008, "go away"),
            ..own(
                "with-the-101",
                vec![Await, Finish],
                Some((1008, "go away", true)),
                Reason::UpstreamClosePolicy,
            )
        },
    ]);
    ends
}

/// The upstream is gone without a complete Close. If its last frame is complete, the proxy can still send a Close.
fn without_close() -> Vec<End> {
    let eof = Reason::UpstreamEofNoClose;
    let cases: [(&str, &[u8], bool); 7] = [
        ("fin", b"", true),
        ("cut-in-message", b"\x01\x03abc", true),
        ("cut-in-head", b"\x88", false),
        ("cut-in-code", b"\x88\x02\x03", false),
        ("cut-in-reason", b"\x88\x05\x03\xf4ab", false),
        ("cut-in-frame", b"\x82\x32abc", false),
        // The Close is part of the payload.
        ("close-in-frame", b"\x82\x32abc\x88\x03\x03\xf4r", false),
    ];
    let mut ends = Vec::new();
    for (case, bytes, is_whole) in cases {
        let steps = || [Send(bytes.to_vec()), Finish];
        let (sees, says) = match is_whole {
            true => (told(1014, eof), Some(1014)),
            false => (ABNORMAL, None),
        };
        ends.push(end(case, steps(), sees, says, eof));
        ends.push(bare(end(case, steps(), ABNORMAL, None, eof)));
    }
    let reset = Reason::UpstreamReset;
    ends.push(end("rst", [Reset], told(1014, reset), None, reset));
    ends.push(bare(end("rst", [Reset], ABNORMAL, None, reset)));
    ends
}

/// The page begins: it sees what the upstream answers, not its own code.
fn by_the_page() -> Vec<End> {
    let (page, away) = (Reason::ClientClose, Reason::ClientGoingAway);
    let mut ends = vec![
        // Whichever comes first, the other's Close is the answer.
        End {
            at_once: close(4000, "server"),
            reasons: vec![page, Reason::UpstreamClosePolicy],
            ..by_page(
                "close:4000:server",
                "crossing",
                [Await, Finish],
                Some((4000, "server", true)),
                4000,
                page,
            )
        },
        by_page("leave", "leave", [], None, 1001, away),
        by_page(
            "leave",
            "leave-answered",
            [Await, Send(close(1001, "")), Finish],
            None,
            1001,
            away,
        ),
    ];
    for (name, script, says, same) in [
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
            ("fin", vec![Finish], told(1014, Reason::UpstreamEofNoClose)),
            ("rst", vec![Reset], told(1014, Reason::UpstreamReset)),
        ];
        for (how, mut steps, sees) in cases {
            steps.insert(0, Await);
            let mut end = by_page(script, &format!("{name}-{how}"), [], sees, says, page);
            end.steps = steps;
            ends.push(end);
        }
        for (how, last) in [("fin", Finish), ("rst", Reset)] {
            let case = format!("{name}-{how}");
            let steps = [Await, last];
            ends.push(bare(by_page(script, &case, steps, ABNORMAL, says, page)));
        }
    }
    ends
}

/// The upstream violates the protocol.
fn faults() -> Vec<End> {
    // What shows only in a whole message or in the content of a Close is passed on, and fails in the client.
    let passed = |case: &str, bytes: &[u8], reason| {
        let steps = [Send(bytes.to_vec()), Await, Finish];
        end(case, steps, ABNORMAL, Some(1002), reason)
    };
    let reserved = Reason::ReservedCloseCodeOnWire;
    let mut ends = vec![
        passed("no-code", &close(1005, ""), reserved),
        passed("no-close", &close(1006, ""), reserved),
        passed("no-tls", &close(1015, ""), reserved),
        passed("no-close-reason", &close(1006, "why"), reserved),
        passed(
            "close-not-utf8",
            &close(1000, b"a\xff"),
            Reason::UpstreamClose,
        ),
        passed(
            "close-4000-not-utf8",
            &close(4000, b"a\xff"),
            Reason::UpstreamClosePolicy,
        ),
    ];
    for (case, bytes) in [
        ("length-16-too-small", b"\x81\x7e\0\x02hi".as_slice()),
        ("length-64-too-small", b"\x81\x7f\0\0\0\0\0\0\0\x02hi"),
        ("text-not-utf8", b"\x81\x02a\xff"),
        ("text-cut-character", b"\x81\x02a\xe2"),
    ] {
        ends.push(passed(case, bytes, Reason::ClientClose));
    }

    // An invalid frame stops at the proxy.
    let broken = Reason::UpstreamProtocolError;
    let long = [b'p'; 126];
    let long_close = [&4000_u16.to_be_bytes()[..], &long].concat();
    let (ping, pong) = (frame(0x89, &long), frame(0x8a, &long));
    for (case, bytes) in [
        ("close-1-byte", b"\x88\x01\x03".as_slice()),
        ("close-too-long", &frame(0x88, &long_close)),
        ("close-fragment", b"\x08\x02\x0f\xa0"),
        ("masked", b"\x81\x82\x01\x02\x03\x04ik"),
        ("rsv1", b"\xc1\x02hi"),
        ("rsv2", b"\xa1\x02hi"),
        ("rsv3", b"\x91\x02hi"),
        ("opcode-3", b"\x83\x02hi"),
        ("opcode-b", b"\x8b\x02hi"),
        ("ping-too-long", &ping),
        ("pong-too-long", &pong),
        ("ping-fragment", b"\x09\x01p\x80\x01q"),
        ("continuation-first", b"\x80\x02hi"),
        ("text-between-fragments", b"\x01\x01a\x81\x01b"),
        (
            "http",
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        ),
        ("length-64-too-big", b"\x81\x7f\x80\0\0\0\0\0\0\x02hi"),
    ] {
        let steps = [Send(bytes.to_vec()), Await, Finish];
        ends.push(end(case, steps, told(1002, broken), Some(1002), broken));
    }
    // Its first byte has already passed, so the proxy can't begin its own frame.
    for (case, first, rest) in [
        (
            "masked-later",
            b'\x81',
            b"\x82\x01\x02\x03\x04ik".as_slice(),
        ),
        ("close-1-byte-later", b'\x88', b"\x01\x03"),
        ("ping-too-long-later", b'\x89', &ping[1..]),
    ] {
        let begun = [frame(0x89, b"passed"), vec![first]].concat();
        let steps = [Send(begun), Pong, Send(rest.to_vec()), Await, Finish];
        ends.push(end(case, steps, ABNORMAL, Some(1002), broken));
    }
    ends
}

/// What follows a Close is not passed on, so the Close counts. If it were passed on, the page would lose the code:
/// Chromium answers the Close and then fails.
fn after_close() -> Vec<End> {
    [
        ("then-close", close(4001, "two")),
        ("then-text", MESSAGE.to_vec()),
        ("then-ping", frame(0x89, b"hi")),
    ]
    .into_iter()
    .flat_map(|(case, more)| {
        let both = [close(4000, "one"), more.clone()].concat();
        let sees = Some((4000, "one", true));
        let reason = Reason::UpstreamClosePolicy;
        [
            End {
                has_more: Some(true),
                ..end(case, [Send(both), Await, Finish], sees, Some(4000), reason)
            },
            End {
                has_more: None,
                ..end(
                    format!("{case}-later"),
                    [Send(close(4000, "one")), Await, Send(more), Finish],
                    sees,
                    Some(4000),
                    reason,
                )
            },
        ]
    })
    .collect()
}

/// Codes that libraries accept, and codes that they reject.
pub fn for_libraries() -> Vec<End> {
    let good = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ];
    let bad = [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65535,
    ];
    let mut ends = Vec::new();
    for code in good.into_iter().chain(bad) {
        let is_good = good.contains(&code);
        let (sees, says) = match is_good {
            true => (Some((code.into(), "why €", true)), code.into()),
            false => (ABNORMAL, 1002),
        };
        let steps = [Send(close(code, "why €")), Await, Finish];
        let case = format!("code-{code}");
        ends.push(end(case, steps, sees, Some(says), reason_of(code)));
    }
    let empty = [Send(b"\x88\0".to_vec()), Await, Finish];
    ends.push(end(
        "empty",
        empty,
        Some((1005, "", true)),
        Some(1005),
        Reason::UpstreamClose,
    ));
    ends.extend(without_close());
    ends.extend(after_close());
    ends
}
