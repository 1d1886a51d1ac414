use serde_json::json;
use wsgate::reason::Reason;

use super::{Gate, Way, clients, expect_closed_noting, expect_refusal};
use crate::tools::programs::{Family, Kind, Server, field, fields};

#[test]
fn messages_and_closes_pass_to_every_server() {
    clients::messages(Kind::Node);
}

#[test]
fn a_refusal_says_why() {
    clients::refusals(Kind::Node);
}

#[test]
fn a_cut_is_told_from_a_close() {
    clients::cuts(Kind::Node);
}

/// What the developer tools, web views and phones send: the sockets of a real device have no Origin, only the Referer
/// that names the mini program.
#[test]
fn wechat_clients_are_told_by_origin_and_referer() {
    const OWN: &str = "wx0123456789abcdef";
    let mut family = Family::new(format!("{}: as WeChat", Kind::Node.version()));
    let server = Server::start(Kind::Node, json!({}));
    let rules = format!("origins: [wechat], wechat_app_ids: [{OWN}]");
    let gate = Gate::open(&[Way::with(clients::STREAM, server.endpoint(), rules)]);
    let referer = |id: &str| format!("https://servicewechat.com/{id}/0/page-frame.html");
    let (own, foreign) = (referer(OWN), referer("wxfedcba9876543210"));
    let elsewhere = "https://evil.example/x".to_owned();
    let web = Some("https://servicewechat.com");
    let game = Some("weapp://wechat-game-runtime");

    let admitted = [
        ("device", None, Some(&own)),
        ("web", web, Some(&own)),
        ("web-bare", web, None),
        ("game", game, Some(&own)),
        ("game-bare", game, None),
    ];
    let refused = [
        ("copy", None, Some(&foreign), Reason::RefererAppidMismatch),
        (
            "copy-web",
            web,
            Some(&foreign),
            Reason::RefererAppidMismatch,
        ),
        (
            "elsewhere",
            web,
            Some(&elsewhere),
            Reason::RefererAppidMismatch,
        ),
        (
            "game-elsewhere",
            game,
            Some(&elsewhere),
            Reason::RefererAppidMismatch,
        ),
        ("bare", None, None, Reason::OriginMissing),
        (
            "other",
            Some("https://servicewechat.com.evil.example"),
            Some(&own),
            Reason::OriginNotAllowed,
        ),
    ];
    let options = |origin: Option<&str>, referer: Option<&String>| {
        let mut headers = json!({ "User-Agent": "MicroMessenger/8.0.49 MiniProgramEnv/android" });
        if let Some(referer) = referer {
            headers["Referer"] = json!(referer);
        }
        json!({ "origin": origin, "headers": headers, "cases": ["text", "binary", "close"] })
    };
    for (case, origin, referer) in admitted {
        let report = gate.visit(Kind::Node, clients::STREAM, case, options(origin, referer));
        family.add(report.passed());
        let (record, seen) = (gate.ended(case), server.handshake(case));
        let notes: &[&str] = match (origin, referer) {
            (Some(_), None) => &["wechat_referer_missing"],
            _ => &[],
        };
        let record = expect_closed_noting(record, Reason::ClientClose, 1000, notes);
        assert_eq!(record.text("origin"), origin.unwrap_or_default());
        let id = referer.map_or("", |_| OWN);
        assert_eq!(record.text("referer_app_id"), id);
        assert!(record.text("user_agent").starts_with("MicroMessenger/"));
        // The upstream gets both as sent, and none that was not sent.
        let has = |name: &str| {
            fields(&seen)
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        assert_eq!(has("origin"), origin.is_some());
        if let Some(referer) = referer {
            assert_eq!(field(&seen, "referer"), referer);
        }
    }
    for (case, origin, referer, reason) in refused {
        let report = gate.visit(Kind::Node, clients::STREAM, case, options(origin, referer));
        expect_refusal(&report, gate.ended(case), reason);
        assert_eq!(report.refusal().number("status"), Some(403));
        family.add(1);
    }
    gate.close(admitted.len() + refused.len());
    family.finish();
}
