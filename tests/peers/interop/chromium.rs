use serde_json::json;
use wsgate::reason::Reason;

use super::clients::{STREAM, down};
use super::{Gate, Way, expect_closed, expect_cut, expect_told, is_of_tls};
use crate::harness::Line;
use crate::tools::browser::{Browser, Pages};
use crate::tools::programs::{Family, Kind, Server, field, said, tool};

/// `chromium` and its version, without the distribution's name.
pub fn version() -> String {
    let line = said(&tool("WSGATE_CHROMIUM"), &["--version"]);
    let number = line
        .split(' ')
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    format!("chromium {}", number.unwrap_or(&line))
}

/// How script sees an end.
#[track_caller]
fn expect_close(report: &Line, code: u64, reason: &str, is_clean: bool) {
    let expected = json!({ "code": code, "reason": reason, "was_clean": is_clean });
    assert_eq!(report.0["close"], expected, "{report:?}");
}

/// How script sees any failure before the tunnel: it never learns more.
#[track_caller]
fn expect_bare_failure(report: &Line) {
    let events: Vec<_> = report.0["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["error", "close"], "{report:?}");
    assert_eq!(report.0["opened"], false);
    expect_close(report, 1006, "", false);
}

#[test]
fn a_page_sees_what_the_record_says() {
    let mut family = Family::new(version());
    let pages = Pages::serve();
    let (own, foreign) = (pages.origin("127.0.0.1"), pages.origin("localhost"));
    let node = Server::start(Kind::Node, json!({}));
    let python = Server::start(Kind::Python, json!({ "subprotocols": ["voice.v1"] }));
    let express = Server::program("express_ws.js", &["ok"]);
    let refusing = Server::start(
        Kind::Node,
        json!({ "refuse": { "status": 401, "body": "no token" } }),
    );
    let (_held, down) = down();
    let rules = format!("origins: [\"{own}\"]");
    let way = |path, endpoint| Way::with(path, endpoint, rules.clone());
    let gate = Gate::open(&[
        way("/node", node.endpoint()),
        way("/bare", node.endpoint()).transparent(),
        way("/python", python.endpoint()),
        way(STREAM, express.endpoint()),
        way("/echo", "builtin:echo".to_owned()),
        way("/refusing", refusing.endpoint()),
        way("/down", down),
    ]);

    let all = "text,binary,big_text,big_binary";
    let offer = "voice.v2,voice.v1";
    let frames = [
        (
            "node",
            &own,
            "/node",
            offer,
            format!("{all},server_close:4001:再见"),
        ),
        (
            "python",
            &own,
            "/python",
            offer,
            format!("{all},close:4001:tschüß"),
        ),
        ("express", &own, STREAM, "", format!("{all},close")),
        (
            "echo",
            &own,
            "/echo",
            offer,
            format!("{all},close:4001:done"),
        ),
        ("terminate", &own, "/node", "", "text,terminate".to_owned()),
        ("reset", &own, "/node", "", "text,reset".to_owned()),
        (
            "bare-terminate",
            &own,
            "/bare",
            "",
            "text,terminate".to_owned(),
        ),
        ("bare-reset", &own, "/bare", "", "text,reset".to_owned()),
        ("foreign", &foreign, "/node", "", String::new()),
        ("path", &own, "/nowhere", "", String::new()),
        ("near", &own, "/Node", "", String::new()),
        ("refusing", &own, "/refusing", "", String::new()),
        ("down", &own, "/down", "", String::new()),
        ("left", &own, "/node", "", "text".to_owned()),
    ];
    for (case, origin, path, protocols, cases) in &frames {
        pages.add(case, origin, &gate.url(path, case), protocols, cases);
    }
    let browser = Browser::open(&own, Some(&gate.authority));
    let reports = frames.each_ref().map(|frame| pages.report(frame.0));
    let by_case = |case: &str| {
        let at = frames.iter().position(|frame| frame.0 == case).unwrap();
        &reports[at]
    };

    // Tunnels: (case, server, subprotocol, compressed, close, who closed)
    for (case, server, subprotocol, extensions, (code, reason), whose) in [
        (
            "node",
            Some(&node),
            "voice.v2",
            "permessage-deflate",
            (4001, "再见"),
            Reason::UpstreamClosePolicy,
        ),
        (
            "python",
            Some(&python),
            "voice.v1",
            "permessage-deflate",
            (4001, "tschüß"),
            Reason::ClientClose,
        ),
        (
            "express",
            Some(&express),
            "",
            "",
            (1000, "done"),
            Reason::ClientClose,
        ),
        (
            "echo",
            None,
            "voice.v2",
            "",
            (4001, "done"),
            Reason::ClientClose,
        ),
    ] {
        let (report, record) = (by_case(case), gate.ended(case));
        let record = expect_closed(record, whose, code);
        assert_eq!(report.0["failed"], 0, "{report:?}");
        assert_eq!(report.text("protocol"), subprotocol);
        assert!(report.text("extensions").starts_with(extensions), "{case}");
        assert_eq!(report.text("extensions").is_empty(), extensions.is_empty());
        expect_close(report, code, reason, true);
        expect_page(report, &record, &own);
        family.add(usize::try_from(report.number("passed").unwrap()).unwrap());
        let Some(server) = server else { continue };
        let seen = server.handshake(case);
        assert_eq!(field(&seen, "origin"), own);
        assert_eq!(field(&seen, "host"), gate.host());
        assert_eq!(field(&seen, "connection"), "Upgrade");
        assert_eq!(field(&seen, "upgrade"), "websocket");
        assert_eq!(field(&seen, "user-agent"), report.text("user_agent"));
        let close = server.event(&seen, "close");
        assert_eq!(close.number("code"), Some(code), "{close:?}");
        assert_eq!(close.text("reason"), reason, "{close:?}");
        if case != "express" {
            assert_eq!(seen.text("protocol"), subprotocol);
            // Node's `ws` reports only the name, the others also the parameters.
            assert!(
                report
                    .text("extensions")
                    .starts_with(seen.text("extensions"))
            );
            assert!(!seen.text("extensions").is_empty());
        }
    }

    // Tunnels that the server cut.
    for (case, reason) in [
        ("terminate", Reason::UpstreamEofNoClose),
        ("reset", Reason::UpstreamReset),
    ] {
        let report = by_case(case);
        assert_eq!(report.0["opened"], true);
        expect_close(report, 1014, reason.code(), true);
        let told = (1014, reason.code());
        let record = expect_told(told, gate.ended(case), reason, 1014);
        expect_page(report, &record, &own);
        let case = format!("bare-{case}");
        expect_close(by_case(&case), 1006, "", false);
        expect_cut(gate.ended(&case), reason);
        family.add(2);
    }

    // Refusals: for script they are all the same.
    for (case, origin, reason, status) in [
        ("foreign", &foreign, Reason::OriginNotAllowed, 403),
        ("path", &own, Reason::PathNotAllowed, 404),
        ("near", &own, Reason::PathNearMiss, 404),
        ("refusing", &own, Reason::UpstreamUnauthorized, 401),
        ("down", &own, Reason::UpstreamRefused, 502),
    ] {
        let report = by_case(case);
        expect_bare_failure(report);
        let record = gate.ended(case).expect(reason);
        assert_eq!(record.text("event"), "refused");
        assert_eq!(record.number("status"), Some(status), "{record:?}");
        assert_eq!(record.notes(), [""; 0], "{record:?}");
        expect_page(report, &record, origin);
        family.add(1);
    }

    // A tunnel whose browser has gone.
    let seen = node.handshake("left");
    assert_eq!(by_case("left").0["opened"], true);
    drop(browser);
    gate.ended("left").expect(Reason::TlsTruncated);
    assert_eq!(node.event(&seen, "close").number("code"), Some(1006));
    family.add(1);

    family.add(untrusted(&gate));
    gate.close(frames.len());
    family.finish();
}

/// Checks that the record describes the page.
#[track_caller]
fn expect_page(report: &Line, record: &Line, origin: &str) {
    assert_eq!(record.text("origin"), origin);
    assert_eq!(record.text("user_agent"), report.text("user_agent"));
    assert_eq!(record.text("alpn"), "http/1.1");
    assert_eq!(record.text("sni"), "localhost");
}

/// A browser that does not know the authority ends the handshake with an alert, and tells script nothing.
fn untrusted(gate: &Gate) -> usize {
    assert!(!gate.proxy.lines().iter().any(is_of_tls));
    let pages = Pages::serve();
    let origin = pages.origin("127.0.0.1");
    pages.add(
        "untrusted",
        &origin,
        &gate.url("/node", "untrusted"),
        "",
        "text",
    );
    let _browser = Browser::open(&origin, None);
    expect_bare_failure(&pages.report("untrusted"));
    gate.tls_failure()
        .expect(Reason::TlsAlertBadCertificate)
        .with_detail("alert 46");
    1
}
