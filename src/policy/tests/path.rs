//! The path vectors.

use super::*;

fn path_outcome(routes: &[Route], path: &[u8]) -> &'static str {
    Request {
        path,
        ..Request::default()
    }
    .outcome(routes)
}

#[test]
fn paths_are_compared_as_raw_bytes() {
    let routes = [route(None, STREAM, &BASE), route(None, "/public/*", &BASE)];
    for vector in vectors::PATHS {
        let mut parts = vector.value.splitn(2, |&byte| byte == b'?');
        let request = Request {
            path: parts.next().unwrap_or_default(),
            query: parts.next(),
            ..Request::default()
        };
        assert_eq!(
            request.outcome(&routes),
            vector.policy,
            "{} {}",
            vector.id,
            vector.value.escape_ascii()
        );
    }
}

#[test]
fn the_query_never_decides() {
    let routes = [route(None, STREAM, &BASE)];
    #[rustfmt::skip]
    let table: &[(&str, Option<&[u8]>, bool)] = &[
        ("P1", None, false),
        ("P1", Some(b"token=x"), false),
        ("P20", Some(b""), false),
        ("P20", Some(b"x=1?y=2"), true),
        ("P20", Some(b"/../admin"), false),
        ("P20", Some(b"a=%2f..%00\\;//"), false),
        ("P20", Some(b"?"), true),
    ];
    for (id, query, is_noted) in table {
        let permit = Request {
            query: *query,
            ..Request::default()
        }
        .check(&routes)
        .unwrap();
        let codes: Vec<_> = permit.notes().iter().map(|note| note.code).collect();
        let expected: &[NoteCode] = if *is_noted {
            &[NoteCode::QuerySecondQuestionMark]
        } else {
            &[]
        };
        assert_eq!(codes, expected, "{id}");
        // A query may hold a token, so it stays out of the notes.
        assert!(permit.notes().iter().all(|note| note.detail.is_none()));
    }
}

#[test]
fn a_changed_path_never_reaches_an_exact_route() {
    let routes = [route(None, STREAM, &BASE)];
    for at in 0..=STREAM.len() {
        for byte in 0..=u8::MAX {
            let mut inserted = STREAM.as_bytes().to_vec();
            inserted.insert(at, byte);
            assert_ne!(
                path_outcome(&routes, &inserted),
                "allow",
                "{}",
                inserted.escape_ascii()
            );
            let mut replaced = STREAM.as_bytes().to_vec();
            if let Some(place) = replaced.get_mut(at) {
                *place = byte;
            }
            let expected = replaced == STREAM.as_bytes();
            assert_eq!(
                path_outcome(&routes, &replaced) == "allow",
                expected,
                "{}",
                replaced.escape_ascii()
            );
        }
    }
}

#[test]
fn long_paths_are_decided_in_linear_time() {
    let routes = vec![route(None, &format!("/{}", "a".repeat(250)), &BASE); 100];
    let mut outcomes = Vec::new();
    #[rustfmt::skip]
    let table = [
        ("P24", "/a".repeat(500_000)),
        ("P24", "/".to_owned() + &"../".repeat(300_000)),
        ("P24", "/".to_owned() + &"%E4%BD%A0".repeat(100_000)),
        ("P24", "/".to_owned() + &"%2e".repeat(300_000)),
    ];
    for (id, path) in table {
        outcomes.push((id, path_outcome(&routes, path.as_bytes())));
    }
    let expected = [
        "path_not_allowed",
        "path_ambiguous",
        "path_not_allowed",
        "path_ambiguous",
    ];
    assert_eq!(outcomes, expected.map(|code| ("P24", code)));
}

#[test]
fn a_near_miss_names_the_route_and_the_change() {
    let routes = [route(None, STREAM, &BASE), route(None, "/exact/", &BASE)];
    #[rustfmt::skip]
    let table = [
        ("/api/realtime-voice/stream/", STREAM, "drop the trailing slash"),
        ("/Api/realtime-voice/stream", STREAM, "use the route's letter case"),
        ("/exact", "/exact/", "add the trailing slash"),
    ];
    for (path, pattern, change) in table {
        let failure = Request {
            path: path.as_bytes(),
            ..Request::default()
        }
        .check(&routes)
        .unwrap_err();
        assert_eq!(failure.reason, Reason::PathNearMiss);
        assert_eq!(failure.detail, Some(format!("the route is {pattern}")));
        let hint = failure.hint.unwrap();
        assert!(hint.contains(change) && hint.contains(pattern), "{hint}");
    }
}

#[test]
fn a_path_that_is_not_near_names_the_nearest_route_of_its_host() {
    let routes = [
        route(Some("api.example.com"), STREAM, &BASE),
        route(Some("other.example.com"), "/chat/rooms", &BASE),
        route(Some("other.example.com"), "/nodns", &BASE),
    ];
    #[rustfmt::skip]
    let table = [
        ("api.example.com", "/api/realtime-voice/stream/v2", Some(STREAM)),
        ("api.example.com", "/api/realtime-voice", Some(STREAM)),
        ("api.example.com", "/chat/room", None),
        ("other.example.com", "/chat/rooms/1234", Some("/chat/rooms")),
        ("other.example.com", "/CHAT/ROOMS/1234", None),
        ("other.example.com", "/nope", None),
        ("api.example.com", "/wp-login.php", None),
    ];
    for (host, path, expected) in table {
        let failure = Request {
            host,
            path: path.as_bytes(),
            ..Request::default()
        }
        .check(&routes)
        .unwrap_err();
        assert_eq!(failure.reason, Reason::PathNotAllowed, "{host} {path}");
        let hint = failure.hint.unwrap_or_default();
        assert_eq!(hint.contains("nearest route"), expected.is_some(), "{hint}");
        assert!(hint.contains(expected.unwrap_or_default()), "{hint}");
    }
}

fn http_route(host: Option<&str>, path: &str) -> Route {
    let mut route = route(host, path, &BASE);
    forward(&mut route).websocket = None;
    route
}

/// A handshake near a WebSocket route means that route, whether or not another route matches the path.
#[test]
fn a_handshake_near_a_websocket_route_is_a_near_miss_behind_any_other_route() {
    let websocket = || route(Some("api.example.com"), STREAM, &BASE);
    let prefix = || route(None, "/rooms/*", &BASE);
    let respond = || Route {
        serves: Serves::Respond(Arc::new(Respond {
            status: 200,
            body: String::new(),
            content_type: "text/plain".to_owned(),
        })),
        ..http_route(None, "/*")
    };
    let here = "api.example.com";
    #[rustfmt::skip]
    let table = [
        ("/api/realtime-voice/stream/", here, Some((STREAM, "drop the trailing slash"))),
        ("/api/realtime-voice/Stream", here, Some((STREAM, "use the route's letter case"))),
        ("/api/realtime-voice/strem", here, Some((STREAM, "correct the spelling"))),
        ("/api/realtime-voice/tsream", here, Some((STREAM, "correct the spelling"))),
        ("/api/realtime/voice/stream", here, Some((STREAM, "correct the spelling"))),
        ("/api/realtime-voice/str/e/a/m", here, Some((STREAM, "use the route's slashes"))),
        ("/Rooms/17", here, Some(("/rooms/*", "use the route's letter case"))),
        ("/roms/17", here, Some(("/rooms/*", "correct the spelling"))),
        ("/rooms", here, Some(("/rooms/*", "add the slash and what follows it"))),
        ("/api/realtime-voice/sream-12", here, None),
        ("/api/users", here, None),
        ("/roomservice", here, None),
        ("/", here, None),
        // The route is for another host.
        ("/api/realtime-voice/strem", "b.example", None),
    ];
    for (path, host, expected) in table {
        for taking in [http_route(None, "/*"), respond()] {
            for routes in [
                [websocket(), prefix(), taking.clone()],
                [taking.clone(), prefix(), websocket()],
            ] {
                let request = Request {
                    host,
                    path: path.as_bytes(),
                    ..Request::default()
                };
                let failure = request.check(&routes).unwrap_err();
                let (detail, hint) = (failure.detail.unwrap(), failure.hint.unwrap_or_default());
                let Some((route, change)) = expected else {
                    assert_eq!(failure.reason, Reason::WebsocketNotAllowed, "{host}{path}");
                    assert_eq!(detail, "the route is /*");
                    continue;
                };
                assert_eq!(failure.reason, Reason::PathNearMiss, "{path}");
                let words =
                    format!("the WebSocket route is {route}, and /* does not accept handshakes");
                assert_eq!(detail, words);
                assert!(hint.contains(change) && hint.contains(route), "{hint}");
            }
        }
        // Without the other route it is the same, except for a prefix without its slash.
        let request = Request {
            host,
            path: path.as_bytes(),
            ..Request::default()
        };
        let is_near = expected.is_some() && path != "/rooms";
        let code = if is_near {
            "path_near_miss"
        } else {
            "path_not_allowed"
        };
        assert_eq!(request.outcome(&[websocket(), prefix()]), code, "{path}");
    }
}

/// The route that matches may be meant for exactly this path, but it still does not accept handshakes.
#[test]
fn a_near_miss_names_the_route_with_the_fewest_edits() {
    let routes = [
        http_route(None, "/api/v2/feed"),
        route(None, "/api/v11/feed", &BASE),
        route(None, "/api/v1/feed", &BASE),
    ];
    let failure = Request {
        path: b"/api/v2/feed",
        ..Request::default()
    }
    .check(&routes)
    .unwrap_err();
    assert_eq!(failure.reason, Reason::PathNearMiss);
    assert_eq!(
        failure.detail.as_deref(),
        Some("the WebSocket route is /api/v1/feed, and /api/v2/feed does not accept handshakes")
    );
}

/// For plain requests only letter case and one trailing slash make near misses, of any route. A handshake never means a
/// route for plain requests.
#[test]
fn plain_requests_are_near_as_ever() {
    let routes = [route(None, STREAM, &BASE), http_route(None, "/api/users/*")];
    #[rustfmt::skip]
    let table = [
        (false, "/api/realtime-voice/stream/", "path_near_miss", Some(STREAM)),
        (false, "/API/users/1", "path_near_miss", Some("/api/users/*")),
        (false, "/api/user/1", "path_not_allowed", Some("/api/users/*")),
        (false, "/api/realtime-voice/strem", "path_not_allowed", Some(STREAM)),
        (true, "/API/users/1", "path_not_allowed", None),
        (true, "/api/user/1", "path_not_allowed", None),
    ];
    for (is_handshake, path, code, named) in table {
        let request = Request {
            is_handshake,
            path: path.as_bytes(),
            ..Request::default()
        };
        let failure = request.check(&routes).unwrap_err();
        assert_eq!(failure.reason.code(), code, "{path}");
        let hint = failure.hint.unwrap_or_default();
        assert_eq!(hint.is_empty(), named.is_none(), "{hint}");
        assert!(hint.contains(named.unwrap_or_default()), "{hint}");
    }
}

#[test]
fn doubled_slashes_are_ambiguous_and_name_the_route() {
    let routes = [route(None, STREAM, &BASE), http_route(None, "/public/*")];
    #[rustfmt::skip]
    let table = [
        ("//api/realtime-voice/stream", Some(STREAM)),
        ("/api//realtime-voice/stream", Some(STREAM)),
        ("/api/realtime-voice/stream//", Some(STREAM)),
        ("/API//realtime-voice///strem", Some(STREAM)),
        ("//x//../api/realtime-voice/stream", None),
        ("//public/a", None),
        ("//nowhere", None),
    ];
    for (path, expected) in table {
        let request = Request {
            path: path.as_bytes(),
            ..Request::default()
        };
        let failure = request.check(&routes).unwrap_err();
        assert_eq!(failure.reason, Reason::PathAmbiguous, "{path}");
        let hint = failure.hint.unwrap_or_default();
        assert_eq!(hint.is_empty(), expected.is_none(), "{path}: {hint}");
        assert!(
            hint.contains(expected.unwrap_or_default()),
            "{path}: {hint}"
        );
    }
}

/// A route without a host matches every Host.
#[test]
fn a_path_of_other_hosts_is_told_as_such() {
    let routes = [
        route(Some("app.example.com"), "/ws", &BASE),
        route(None, "/health", &BASE),
    ];
    let failure = Request {
        host: "www.example.com",
        path: b"/ws",
        ..Request::default()
    }
    .check(&routes)
    .unwrap_err();
    assert_eq!(failure.reason, Reason::PathNotAllowed);
    let detail = failure.detail.unwrap();
    assert!(detail.ends_with("are for app.example.com"), "{detail}");
    assert!(failure.hint.unwrap().contains("`routes[].host`"));
}
