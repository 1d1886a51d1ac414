//! Whole decisions, as tables: the ids are those of the published bypass vectors (O: Origin, P: path).

mod origin;
mod path;
mod vectors;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::reason::Words;

const BASE: [&str; 5] = [
    "https://app.example.com",
    "https://*.mini.example.com",
    "https://xn--mnchen-3ya.example",
    "weapp://wechat-game-runtime",
    "https://servicewechat.com",
];

const STREAM: &str = "/api/realtime-voice/stream";

fn route(host: Option<&str>, path: &str, origins: &[&str]) -> Route {
    Route {
        host: host.map(|host| HostPattern::parse(host).unwrap()),
        path: PathPattern::parse(path).unwrap(),
        serves: Serves::Forward(Forward {
            upstream: "app".to_owned(),
            websocket: Some(Arc::new(WebSocketRules {
                origins: origins
                    .iter()
                    .map(|text| OriginRule::parse(text).unwrap())
                    .collect(),
                missing_origin: MissingOrigin::Refuse,
                wechat_app_ids: Vec::new(),
                enforcement: Enforcement::Enforce,
                subprotocols: Vec::new(),
                idle_timeout: None,
                ping: None,
                max_lifetime: None,
                max_message: None,
                explain_refusals: false,
            })),
            http: None,
        }),
    }
}

fn forward(route: &mut Route) -> &mut Forward {
    match &mut route.serves {
        Serves::Forward(forward) => forward,
        Serves::Respond(_) => panic!("a route without an upstream"),
    }
}

fn rules(route: &mut Route) -> &mut WebSocketRules {
    Arc::make_mut(forward(route).websocket.as_mut().unwrap())
}

fn wechat_route(host: Option<&str>, origins: &[&str]) -> Route {
    let mut route = route(host, STREAM, origins);
    rules(&mut route).wechat_app_ids = vec!["wxAAA".to_owned(), "wxBBB".to_owned()];
    route
}

/// A request in which each test changes what it is about.
#[derive(Clone)]
struct Request<'a> {
    secure: bool,
    sni: Option<&'a str>,
    names: HostSet,
    host: &'a str,
    path: &'a [u8],
    is_handshake: bool,
    query: Option<&'a [u8]>,
    origins: Vec<&'a [u8]>,
    referers: Vec<&'a [u8]>,
    subprotocols: Vec<&'a str>,
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            secure: true,
            sni: None,
            names: HostSet::default(),
            host: "api.example.com",
            path: STREAM.as_bytes(),
            is_handshake: true,
            query: None,
            origins: vec![b"https://app.example.com"],
            referers: Vec::new(),
            subprotocols: Vec::new(),
        }
    }
}

impl Request<'_> {
    fn check<'r>(&self, routes: &'r [Route]) -> Result<Permit<'r, WebSocketRules>, Failure> {
        self.admitted(routes).map(|(permit, _)| permit)
    }

    /// The permit, and the upstream's name.
    fn admitted<'r>(
        &self,
        routes: &'r [Route],
    ) -> Result<(Permit<'r, WebSocketRules>, &'r String), Failure> {
        let asked = RequestFacts {
            secure: self.secure,
            sni: self.sni,
            certificate_names: &self.names,
            authority: &Authority::parse(self.host.as_bytes()).unwrap(),
            path: self.path,
            is_handshake: self.is_handshake,
            query: self.query,
            origins: &self.origins,
            referers: &self.referers,
            subprotocols: &self.subprotocols,
        };
        let result = matching(routes, &asked).and_then(|matched| check(matched, &asked));
        // As the record has it.
        let result = result.map_err(|mut failure| {
            if let Some(search) = Search::after(&failure, &asked) {
                let Words { detail, hint } = search.words(routes);
                failure.detail = detail.or(failure.detail);
                failure.hint = hint.or(failure.hint);
            }
            failure
        });
        if let Err(failure) = &result {
            assert_presentable(failure);
        }
        result
    }

    /// `allow` or the code of the refusal.
    fn outcome(&self, routes: &[Route]) -> &'static str {
        match self.check(routes) {
            Ok(_) => "allow",
            Err(failure) => failure.reason.code(),
        }
    }
}

/// What the record of every refusal needs: its stage, a bounded detail, and a hint whose words in backticks are keys.
fn assert_presentable(failure: &Failure) {
    assert_eq!(failure.reason.spec().stage, crate::reason::Stage::Policy);
    let detail = failure.detail.as_ref().expect("every refusal has a detail");
    assert!(detail.len() < 1024, "{detail}");
    assert!(!detail.chars().any(char::is_control), "{detail:?}");
    let hint = failure.hint.as_deref().unwrap_or_default();
    assert!(hint.len() < 1024, "{hint}");
    for key in hint.split('`').skip(1).step_by(2) {
        let keys = [
            "routes[].host",
            "routes[].path",
            "routes[].websocket",
            "routes[].websocket.origins",
            "routes[].websocket.wechat_app_ids",
            "listeners[].tls.certificates",
        ];
        assert!(keys.contains(&key), "{hint}");
    }
}

#[test]
fn a_handshake_that_an_earlier_route_took_is_told_which_one_was_meant() {
    let plain = |host, path| {
        let mut plain = route(host, path, &BASE);
        forward(&mut plain).websocket = None;
        plain
    };
    let ws = "/api/ws";
    let request = Request {
        path: ws.as_bytes(),
        ..Request::default()
    };
    for (routes, meant) in [
        (
            vec![plain(None, "/api/*"), route(None, ws, &BASE)],
            Some("/api/ws accepts handshakes, but /api/* comes before it"),
        ),
        (
            vec![
                plain(None, "/api/*"),
                plain(None, ws),
                route(Some("b.example"), ws, &BASE),
                route(Some("api.example.com"), "/*", &BASE),
            ],
            Some("api.example.com/* accepts handshakes, but /api/* comes before it"),
        ),
        // Another path, or another host.
        (
            vec![
                plain(None, "/api/*"),
                route(None, "/other", &BASE),
                route(Some("b.example"), ws, &BASE),
            ],
            None,
        ),
        (vec![plain(None, ws)], None),
    ] {
        let failure = request.check(&routes).unwrap_err();
        assert_eq!(failure.reason, Reason::WebsocketNotAllowed);
        match (meant, failure.hint.as_deref()) {
            (None, None) => {}
            (Some(meant), Some(hint)) => assert!(hint.starts_with(meant), "{hint}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_route_takes_all_of_another_one_only_where_nothing_is_left() {
    let pattern =
        |(host, path): (&str, &str)| route(Some(host).filter(|host| *host != "-"), path, &BASE);
    for (first, then, expected) in [
        (("-", "/*"), ("a.example", "/x"), true),
        (("-", "/a/*"), ("-", "/a/b"), true),
        (("-", "/a/*"), ("-", "/a/b/*"), true),
        (("-", "/a/*"), ("-", "/a/"), true),
        (("-", "/a/*"), ("-", "/a"), false),
        (("-", "/a/*"), ("-", "/ab"), false),
        (("-", "/a/b"), ("-", "/a/*"), false),
        (("-", "/a"), ("-", "/a"), true),
        (("-", "/a"), ("-", "/A"), false),
        (("a.b.example", "/*"), ("-", "/x"), false),
        (("*.b.example", "/*"), ("a.b.example", "/x"), true),
        (("*.b.example", "/*"), ("*.b.example", "/x"), true),
        (("*.b.example", "/*"), ("b.example", "/x"), false),
        (("*.b.example", "/*"), ("x.a.b.example", "/x"), false),
        (("a.b.example", "/*"), ("*.b.example", "/x"), false),
    ] {
        let (earlier, later) = (pattern(first), pattern(then));
        let mut shadows = Shadows::default();
        assert_eq!(shadows.add(0, &earlier), None);
        let takes = shadows.add(1, &later);
        assert_eq!(takes, expected.then_some(0), "{first:?} {then:?}");
    }
}

/// Compares each pair of patterns by their text.
fn leaves_nothing((host, path): (&str, &str), (later_host, later_path): (&str, &str)) -> bool {
    let is_below = |base: &str| {
        let rest = later_host.split_once('.');
        rest.is_some_and(|(label, rest)| label != "*" && rest == base)
    };
    let takes_hosts =
        host == "-" || host == later_host || host.strip_prefix("*.").is_some_and(is_below);
    takes_hosts
        && match path.strip_suffix('*') {
            Some(path) => later_path.trim_end_matches('*').starts_with(path),
            None => path == later_path,
        }
}

proptest! {
    #[test]
    fn the_first_route_that_leaves_nothing_is_found(
        routes in prop::collection::vec(
            (
                prop::sample::select(vec!["-", "b.example", "a.b.example", "c.b.example", "*.b.example", "192.0.2.1"]),
                prop::sample::select(vec!["/", "/*", "/a", "/a/", "/a/*", "/a/b", "/a/b/*", "/ab", "/b/a/*", "/b/a/c"]),
            ),
            0..30,
        ),
    ) {
        let all: Vec<_> = routes
            .iter()
            .map(|(host, path)| route(Some(*host).filter(|host| *host != "-"), path, &BASE))
            .collect();
        let mut shadows = Shadows::default();
        for (index, own) in all.iter().enumerate() {
            let expected = (0..index).find(|first| leaves_nothing(routes[*first], routes[index]));
            prop_assert_eq!(shadows.add(index, own), expected);
        }
    }
}

#[test]
fn host_must_be_a_routes() {
    let by_host = || {
        vec![
            route(Some("api.example.com"), STREAM, &BASE),
            route(Some("*.b.example"), STREAM, &BASE),
        ]
    };
    let any = || vec![route(None, STREAM, &BASE)];
    let mixed = || {
        vec![
            route(Some("api.example.com"), STREAM, &BASE),
            route(None, "/other", &BASE),
        ]
    };
    #[rustfmt::skip]
    let table = [
        ("P18", by_host(), "api.example.com", "allow"),
        ("P18", by_host(), "API.EXAMPLE.COM:8443", "allow"),
        ("P18", by_host(), "evil", "host_not_allowed"),
        ("P18", by_host(), "api.example.com.", "host_not_allowed"),
        ("P18", by_host(), "api.example.com.evil.com", "host_not_allowed"),
        ("P18", by_host(), "evilapi.example.com", "host_not_allowed"),
        ("-", by_host(), "a.b.example", "allow"),
        ("-", by_host(), "b.example", "host_not_allowed"),
        ("-", by_host(), "a.a.b.example", "host_not_allowed"),
        ("-", any(), "whatever.example", "allow"),
        ("-", any(), "[::1]:80", "allow"),
        ("-", mixed(), "evil", "path_not_allowed"),
        ("-", Vec::new(), "api.example.com", "host_not_allowed"),
    ];
    for (id, routes, host, expected) in table {
        assert_eq!(
            Request {
                host,
                ..Request::default()
            }
            .outcome(&routes),
            expected,
            "{id} {host}"
        );
    }
}

#[test]
fn a_host_other_than_the_tls_name_needs_both_to_be_ours() {
    let mut names = HostSet::default();
    names.insert("a.example.com");
    names.insert("*.wild.example.com");
    let routes = [
        route(Some("r.example.com"), STREAM, &BASE),
        route(None, STREAM, &BASE),
    ];
    #[rustfmt::skip]
    let table = [
        (None, "anything.example", "allow"),
        (Some("unknown.example"), "unknown.example", "allow"),
        (Some("a.example.com"), "A.example.com:8443", "allow"),
        (Some("A.example.com"), "a.example.com", "allow"),
        (Some("a.example.com"), "x.wild.example.com", "sni_host_mismatch"),
        (Some("a.example.com"), "r.example.com", "sni_host_mismatch"),
        (Some("r.example.com"), "a.example.com", "sni_host_mismatch"),
        (Some("a.example.com"), "evil.example", "host_not_allowed"),
        (Some("evil.example"), "a.example.com", "host_not_allowed"),
        (Some("a.example.com"), "a.example.com.", "host_not_allowed"),
        (Some("a.example.com"), "x.y.wild.example.com", "host_not_allowed"),
    ];
    for (sni, host, expected) in table {
        let request = Request {
            sni,
            host,
            names: names.clone(),
            ..Request::default()
        };
        let outcome = match request.check(&routes) {
            Ok(permit) => permit
                .notes()
                .first()
                .map_or("allow", |note| note.code.code()),
            Err(failure) => failure.reason.code(),
        };
        assert_eq!(outcome, expected, "{sni:?} {host}");
    }
}

#[test]
fn the_first_refusal_wins() {
    let mut strict = route(Some("api.example.com"), STREAM, &BASE);
    rules(&mut strict).subprotocols = vec!["voice.v1".to_owned()];
    let routes = [strict];
    let wrong = Request {
        sni: Some("other.example"),
        host: "evil.example",
        path: b"/a/../b",
        origins: vec![b"https://evil.com"],
        subprotocols: vec!["chat"],
        ..Request::default()
    };
    let mut request = wrong;
    assert_eq!(request.outcome(&routes), "host_not_allowed");
    request.host = "api.example.com";
    assert_eq!(request.outcome(&routes), "host_not_allowed");
    request.sni = None;
    assert_eq!(request.outcome(&routes), "path_ambiguous");
    request.path = b"/unknown";
    assert_eq!(request.outcome(&routes), "path_not_allowed");
    request.path = STREAM.as_bytes();
    assert_eq!(request.outcome(&routes), "origin_not_allowed");
    request.origins = vec![b"https://app.example.com"];
    assert_eq!(request.outcome(&routes), "subprotocol_not_allowed");
    request.subprotocols.push("voice.v1");
    assert_eq!(request.outcome(&routes), "allow");
}

#[test]
fn the_first_matching_route_decides() {
    let mut routes = [
        route(
            Some("api.example.com"),
            "/public/*",
            &["https://a.example.com"],
        ),
        route(None, "/public/x", &["https://b.example.com"]),
        route(None, "/*", &["https://c.example.com"]),
    ];
    for (route, name) in routes.iter_mut().zip(["one", "two", "three"]) {
        forward(route).upstream = name.to_owned();
    }
    #[rustfmt::skip]
    let table = [
        ("api.example.com", "/public/x", "https://a.example.com", Ok("one")),
        // Later routes are not tried.
        ("api.example.com", "/public/x", "https://b.example.com", Err(Reason::OriginNotAllowed)),
        ("other.example", "/public/x", "https://b.example.com", Ok("two")),
        ("other.example", "/", "https://c.example.com", Ok("three")),
    ];
    for (host, path, origin, expected) in table {
        let request = Request {
            host,
            path: path.as_bytes(),
            origins: vec![origin.as_bytes()],
            ..Request::default()
        };
        let upstream = request
            .admitted(&routes)
            .map(|(_, upstream)| upstream.as_str());
        assert_eq!(
            upstream.map_err(|failure| failure.reason),
            expected,
            "{host} {path} {origin}"
        );
    }
}

#[test]
fn subprotocols_need_one_in_common_only_where_a_list_is_set() {
    #[rustfmt::skip]
    let table = [
        (&[][..], &["anything"][..], "allow"),
        (&[], &[], "allow"),
        (&["voice.v1", "voice.v2"], &[], "allow"),
        (&["voice.v1", "voice.v2"], &["chat", "voice.v2"], "allow"),
        (&["voice.v1", "voice.v2"], &["chat"], "subprotocol_not_allowed"),
        (&["voice.v1"], &["Voice.V1"], "subprotocol_not_allowed"),
        (&["voice.v1"], &["voice.v10", "voice"], "subprotocol_not_allowed"),
    ];
    for (allowed, offered, expected) in table {
        let mut route = route(None, STREAM, &BASE);
        rules(&mut route).subprotocols = allowed.iter().map(|name| (*name).to_owned()).collect();
        let request = Request {
            subprotocols: offered.to_vec(),
            ..Request::default()
        };
        assert_eq!(
            request.outcome(&[route]),
            expected,
            "{allowed:?} {offered:?}"
        );
    }
}

#[test]
fn no_input_is_too_strange() {
    // A fixed generator: the same inputs each time.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let pieces: [&[u8]; 24] = [
        b"https://",
        b"null",
        b"app.example.com",
        b"[",
        b"]",
        b"::1",
        b":",
        b"443",
        b"/",
        b"//",
        b".",
        b"..",
        b"%",
        b"%2",
        b"%2e",
        b"%E4",
        b"%BD",
        b"\xff",
        b"\0",
        b"@",
        b"?",
        b"servicewechat.com",
        b"wxAAA/",
        b"*",
    ];
    let routes = [
        wechat_route(None, &["wechat", "self", "https://*.app.example.com"]),
        route(None, "/*", &BASE),
    ];
    for _ in 0..20_000 {
        let mut piece = || {
            let count = next() % 9;
            (0..count)
                .flat_map(|_| pieces[usize::try_from(next() % 24).unwrap()])
                .copied()
                .collect::<Vec<u8>>()
        };
        let (origin, referer, path, host) = (piece(), piece(), piece(), piece());
        let request = Request {
            origins: vec![&origin],
            referers: vec![&referer],
            path: &path,
            ..Request::default()
        };
        request.outcome(&routes);
        if let Some(authority) = Authority::parse(&host) {
            assert_eq!(
                Authority::parse(authority.to_string().as_bytes()),
                Some(authority)
            );
        }
        let text = String::from_utf8_lossy(&origin);
        if let Ok(rule) = OriginRule::parse(&text) {
            assert_eq!(OriginRule::parse(&rule.to_string()), Ok(rule));
        }
        let text = String::from_utf8_lossy(&host);
        if let Ok(pattern) = HostPattern::parse(&text) {
            assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern));
        }
        let text = String::from_utf8_lossy(&path);
        if let Ok(pattern) = PathPattern::parse(&text) {
            assert_eq!(PathPattern::parse(&pattern.to_string()), Ok(pattern));
        }
    }
}
