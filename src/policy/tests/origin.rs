//! The Origin and Referer vectors.

use super::*;

fn origin_outcome(routes: &[Route], origin: &[u8]) -> &'static str {
    Request {
        origins: vec![origin],
        ..Request::default()
    }
    .outcome(routes)
}

#[test]
fn origins_are_compared_as_tuples() {
    let routes = [route(None, STREAM, &BASE)];
    for vector in vectors::ORIGINS {
        assert_eq!(
            origin_outcome(&routes, vector.value),
            vector.policy,
            "{} {}",
            vector.id,
            vector.value.escape_ascii()
        );
    }
}

#[test]
fn a_malformed_origin_is_told_apart_in_words() {
    let routes = [route(None, STREAM, &BASE)];
    #[rustfmt::skip]
    let table: &[(&[u8], &str)] = &[
        (b"", "is empty"),
        (b"https://app.example.com\xff", "outside ASCII"),
        (b"https://a.com https://b.com", "white space"),
        (b"https://a.com,https://b.com", "a comma"),
        (b"https://a%2eb", "a character that is not allowed in an origin"),
        (b"NULL", "no scheme"),
        (b"https:app", "no // after its scheme"),
        (b"https://user@app.example.com", "a user name"),
        (b"https://app.example.com/", "more than scheme, host and port"),
        (b"https://app.example.com:", "an invalid host or port"),
    ];
    for (origin, words) in table {
        let request = Request {
            origins: vec![origin],
            ..Request::default()
        };
        let failure = request.check(&routes).unwrap_err();
        assert_eq!(failure.reason, Reason::OriginMalformed);
        let detail = failure.detail.unwrap_or_default();
        assert!(detail.contains(words), "{detail}");
    }
}

#[test]
fn exactly_one_origin_field_counts() {
    let routes = [route(None, STREAM, &BASE)];
    for (id, origins, expected) in vectors::FIELDS {
        let request = Request {
            origins: origins.to_vec(),
            ..Request::default()
        };
        assert_eq!(request.outcome(&routes), *expected, "{id}");
    }
}

#[test]
fn star_and_null_cannot_be_configured() {
    for (id, text) in [("O34", "*"), ("O18", "null"), ("O11", "https://*.com")] {
        assert!(OriginRule::parse(text).is_err(), "{id}");
    }
}

#[test]
fn self_is_the_routes_own_host_and_not_the_requests() {
    let exact = || route(Some("api.example.com"), STREAM, &["self"]);
    let any = || route(None, STREAM, &["self"]);
    let wildcard = || route(Some("*.example.com"), STREAM, &["self"]);
    #[rustfmt::skip]
    let others = [
        // route, TLS, Host, Origin, expected
        (exact(), false, "api.example.com", "http://api.example.com", "allow"),
        (exact(), false, "api.example.com", "https://api.example.com", "allow"),
        // Without an exact host there is nothing configured to compare with, so the Host would decide.
        (any(), true, "evil.com", "https://evil.com", "origin_not_allowed"),
        (wildcard(), true, "a.example.com", "https://a.example.com", "origin_not_allowed"),
        (route(Some("::1"), STREAM, &["self"]), true, "[::1]:8443", "https://[0::1]:8443", "allow"),
    ];
    let shared = vectors::SELF.iter();
    let shared = shared.map(|(host, origin, expected)| (exact(), true, *host, *origin, *expected));
    for (route, secure, host, origin, expected) in shared.chain(others) {
        let request = Request {
            secure,
            host,
            origins: vec![origin.as_bytes()],
            ..Request::default()
        };
        let outcome = request.outcome(&[route]);
        assert_eq!(outcome, expected, "{secure} {host} {origin}");
    }
}

#[test]
fn wechat_is_admitted_with_a_listed_app_id() {
    let routes = vectors::WECHAT_ROUTES.map(|wechat| {
        let mut route = route(wechat.host, wechat.path, wechat.origins);
        let app_ids = wechat.app_ids.iter();
        rules(&mut route).wechat_app_ids = app_ids.map(|id| (*id).to_owned()).collect();
        route
    });
    for (id, wechat, origin, referers, expected) in vectors::WECHAT {
        let path = wechat.path;
        let request = Request {
            path: path.as_bytes(),
            origins: origin.iter().map(|origin| origin.as_bytes()).collect(),
            referers: referers.iter().map(|referer| referer.as_bytes()).collect(),
            ..Request::default()
        };
        let outcome = request.outcome(&routes);
        assert_eq!(outcome, *expected, "{id} {path} {origin:?} {referers:?}");
    }
}

#[test]
fn a_wechat_client_without_a_referer_is_noted() {
    let mut route = wechat_route(
        Some("api.example.com"),
        &["wechat", "https://app.example.com"],
    );
    let own: &[u8] = b"https://servicewechat.com/wxAAA/0/page-frame.html";
    for enforcement in [Enforcement::Enforce, Enforcement::Report] {
        rules(&mut route).enforcement = enforcement;
        let routes = [route.clone()];
        #[rustfmt::skip]
        let table = [
            ("https://servicewechat.com", None, true),
            ("weapp://wechat-game-runtime", None, true),
            ("https://servicewechat.com", Some(own), false),
            ("weapp://wechat-game-runtime", Some(own), false),
            ("https://app.example.com", None, false),
            ("https://api.example.com", None, false),
        ];
        for (origin, referers, is_noted) in table {
            let request = Request {
                origins: vec![origin.as_bytes()],
                referers: referers.into_iter().collect(),
                ..Request::default()
            };
            let permit = request.check(&routes).unwrap();
            let codes: Vec<_> = permit.notes().iter().map(|note| note.code).collect();
            let expected: &[NoteCode] = match is_noted {
                true => &[NoteCode::WechatRefererMissing],
                false => &[],
            };
            assert_eq!(codes, expected, "{origin}");
        }
    }
}

/// The detail says what is wrong with the Referer and shows no part of it.
#[test]
fn a_wechat_client_with_another_referer_is_told_what_is_wrong() {
    let routes = [wechat_route(None, &["wechat"])];
    let own = "https://servicewechat.com/wxAAA/0/page-frame.html";
    #[rustfmt::skip]
    let table = [
        (vec!["https://evil.example/path-token?query-token"], "the Referer is from a site other than WeChat's"),
        (vec!["https://servicewechat.com/"], "the Referer of WeChat does not name an app id"),
        (vec!["https://servicewechat.com/token"], "the Referer of WeChat does not name an app id"),
        (vec!["https://servicewechat.com.evil/wxAAA/0/"], "the Referer is from a site other than WeChat's"),
        (vec![""], "the Referer is from a site other than WeChat's"),
        (vec![own, own], "2 Referer fields, but WeChat sends one"),
    ];
    for (referers, expected) in table {
        let failure = Request {
            origins: vec![b"https://servicewechat.com"],
            referers: referers.iter().map(|referer| referer.as_bytes()).collect(),
            ..Request::default()
        }
        .check(&routes)
        .unwrap_err();
        assert_eq!(failure.reason, Reason::RefererAppidMismatch);
        assert_eq!(failure.detail.as_deref(), Some(expected));
        assert!(failure.hint.unwrap().contains("a hop rewrites Referer"));
    }
}

#[test]
fn a_missing_origin_passes_where_it_is_allowed_and_only_a_missing_one() {
    let mut route = route(None, STREAM, &["https://app.example.com"]);
    rules(&mut route).missing_origin = MissingOrigin::Allow;
    for (id, origins, expected) in vectors::FIELDS_IF_NONE_IS_ALLOWED {
        let request = Request {
            origins: origins.to_vec(),
            ..Request::default()
        };
        let outcome = request.outcome(std::slice::from_ref(&route));
        assert_eq!(outcome, *expected, "{id} {origins:?}");
    }
}

#[test]
fn a_changed_origin_is_admitted_only_if_it_means_the_same() {
    let own = "https://app.example.com";
    let routes = [route(None, STREAM, &[own])];
    let admitted = |origin: &[u8]| origin_outcome(&routes, origin) == "allow";
    for at in 0..=own.len() {
        for byte in 0..=u8::MAX {
            let mut inserted = own.as_bytes().to_vec();
            inserted.insert(at, byte);
            assert!(!admitted(&inserted), "{}", inserted.escape_ascii());
            let mut replaced = own.as_bytes().to_vec();
            if let Some(place) = replaced.get_mut(at) {
                *place = byte;
            }
            let is_same = replaced.eq_ignore_ascii_case(own.as_bytes());
            assert_eq!(admitted(&replaced), is_same, "{}", replaced.escape_ascii());
        }
        if at < own.len() {
            let mut removed = own.as_bytes().to_vec();
            removed.remove(at);
            assert!(!admitted(&removed), "{}", removed.escape_ascii());
        }
    }
}

#[test]
fn a_wildcard_admits_only_more_of_the_first_label() {
    let own = "https://a.mini.example.com";
    let routes = [route(None, STREAM, &["https://*.mini.example.com"])];
    for at in 0..=own.len() {
        for byte in 0..=u8::MAX {
            let mut inserted = own.as_bytes().to_vec();
            inserted.insert(at, byte);
            let label = inserted
                .strip_prefix(b"https://")
                .and_then(|rest| rest.strip_suffix(b".mini.example.com"));
            let is_label = |label: &[u8]| {
                label
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
            };
            let expected = label.is_some_and(is_label);
            assert_eq!(
                origin_outcome(&routes, &inserted) == "allow",
                expected,
                "{}",
                inserted.escape_ascii()
            );
        }
    }
}

#[test]
fn report_lets_origin_refusals_through_and_notes_them() {
    let mut route = wechat_route(None, &["https://app.example.com", "wechat"]);
    rules(&mut route).enforcement = Enforcement::Report;
    rules(&mut route).subprotocols = vec!["voice.v1".to_owned()];
    let routes = [route];
    let foreign = "https://servicewechat.com/wxEVIL/0/";
    #[rustfmt::skip]
    let table = [
        (vec!["https://app.example.com"], vec![], None),
        (vec![], vec![], Some("origin_missing: ")),
        (vec!["null"], vec![], Some("origin_null: ")),
        (vec!["https://evil.com/"], vec![], Some("origin_malformed: ")),
        (vec!["https://a.com", "https://b.com"], vec![], Some("origin_multiple: ")),
        (vec!["https://evil.com"], vec![], Some("origin_not_allowed: the Origin is not one of https://app.example.com, wechat")),
        (vec![], vec![foreign], Some("referer_appid_mismatch: app id wxEVIL")),
        (vec!["https://servicewechat.com"], vec!["https://evil.example/x"], Some("referer_appid_mismatch: the Referer is from a site other")),
        (vec!["weapp://wechat-game-runtime"], vec![foreign, foreign], Some("referer_appid_mismatch: app id wxEVIL")),
    ];
    for (origins, referers, expected) in table {
        let request = Request {
            origins: origins.iter().map(|origin| origin.as_bytes()).collect(),
            referers: referers.iter().map(|referer| referer.as_bytes()).collect(),
            ..Request::default()
        };
        let permit = request.check(&routes).expect("report lets it through");
        let note = permit.notes().first();
        assert_eq!(
            note.map(|note| note.code),
            expected.map(|_| NoteCode::WouldRefuse)
        );
        let detail = note
            .and_then(|note| note.detail.as_deref())
            .unwrap_or_default();
        assert!(detail.starts_with(expected.unwrap_or_default()), "{detail}");
    }
    let evil = || Request {
        origins: vec![b"https://evil.com"],
        ..Request::default()
    };
    #[rustfmt::skip]
    let table = [
        (Request { path: b"/other", ..evil() }, "path_not_allowed"),
        (Request { path: b"/a/../b", ..evil() }, "path_ambiguous"),
        (Request { sni: Some("other.example"), ..evil() }, "host_not_allowed"),
        (Request { subprotocols: vec!["chat"], ..evil() }, "subprotocol_not_allowed"),
    ];
    for (request, expected) in table {
        assert_eq!(request.outcome(&routes), expected);
    }
}

#[test]
fn the_permit_carries_the_referers_app_id_whatever_the_rules() {
    let routes = [route(None, STREAM, &BASE)];
    let own: &[u8] = b"https://servicewechat.com/wxAAA/0/page-frame.html";
    #[rustfmt::skip]
    let table = [
        (&[][..], None),
        (&[own][..], Some("wxAAA")),
        (&[own, own][..], None),
        (&[&b"https://app.example.com/page"[..]][..], None),
    ];
    for (referers, expected) in table {
        let permit = Request {
            referers: referers.to_vec(),
            ..Request::default()
        }
        .check(&routes)
        .unwrap();
        assert_eq!(permit.referer_app_id(), expected);
    }
}

#[test]
fn a_refused_origin_is_told_what_would_admit_it() {
    #[rustfmt::skip]
    let table = [
        (&["https://app.example.com"][..], "https://servicewechat.com", "add wechat to `routes[].websocket.origins`"),
        (&["self"], "weapp://wechat-game-runtime", "add wechat to `routes[].websocket.origins`"),
        (&["https://app.example.com"], "http://app.example.com", "differs from https://app.example.com only in its scheme"),
        (&["https://app.example.com"], "https://app.example.com:8443", "only in its port"),
        (&["https://app.example.com"], "https://app.example.com.", "only in its trailing dot"),
        (&["capacitor://Local"], "capacitor://local", "differs from capacitor://Local only in its letter case"),
        (&["self"], "http://api.example.com", "differs from https://api.example.com only in its scheme"),
        (&["wechat"], "https://api.example.com:8443", "differs from https://api.example.com only in its port"),
    ];
    for (origins, origin, words) in table {
        let routes = [route(Some("api.example.com"), STREAM, origins)];
        let request = Request {
            origins: vec![origin.as_bytes()],
            ..Request::default()
        };
        let failure = request.check(&routes).unwrap_err();
        assert_eq!(failure.reason, Reason::OriginNotAllowed, "{origin}");
        let hint = failure.hint.unwrap_or_default();
        assert!(hint.contains(words), "{origin}: {hint}");
    }
    let routes = [route(
        Some("api.example.com"),
        STREAM,
        &["self", "https://app.example.com"],
    )];
    let request = Request {
        origins: vec![b"https://evil.com"],
        ..Request::default()
    };
    let failure = request.check(&routes).unwrap_err();
    assert_eq!(
        failure.detail.as_deref(),
        Some("the Origin is not one of self (https://api.example.com), https://app.example.com")
    );
    assert_eq!(failure.hint, None);
}

#[test]
fn a_wechat_client_without_origin_is_told_of_the_preset() {
    let routes = [route(None, STREAM, &BASE)];
    let request = Request {
        origins: Vec::new(),
        referers: vec![b"https://servicewechat.com/wxAAA/0/page-frame.html"],
        ..Request::default()
    };
    let failure = request.check(&routes).unwrap_err();
    assert_eq!(failure.reason, Reason::OriginMissing);
    assert!(
        failure
            .hint
            .unwrap()
            .contains("add wechat to `routes[].websocket.origins`")
    );
}
