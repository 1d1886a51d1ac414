//! Hints about the cause of an answer other than 101, if the answer shows more than its reason says.

use http::header;
use http::response::Parts;

use crate::reason::Failure;

/// What to do if Express answers 404.
const EXPRESS: &str = "the upstream is Express, and no WebSocket handler accepted the request: with express-ws start \
                       the app that it wrapped (app.listen, or expressWs(app, server)), or compare `routes[].path` with the path in app.ws";

/// What to do if Node's ws answers 400.
const NODE_WS: &str = "the answer looks like one of Node's ws: its path option does not match, or two of its servers share one port";

const UNREACHED: &str = "a hop behind the proxy (another proxy, an ingress, a service mesh) answers that it can't \
                         reach the application: check that hop's log, and whether the application is running";

const BUSY: &str = "the upstream, or a hop behind the proxy, says that it can't serve requests now: overload, one of \
                    its limits, a start that has not finished, or maintenance; check its load and its log";

const LOGIN: &str = "the upstream redirects clients that are not logged in to a login page: check whether the \
                     client's handshake has the session's cookie or token, and whether that has expired";

/// A hint for an answer with this head.
pub(super) fn of(head: &Parts) -> Option<&'static str> {
    match head.status.as_u16() {
        300..=399 => of_location(head.headers.get(header::LOCATION)?.as_bytes()),
        400 if is_node_ws(head) => Some(NODE_WS),
        404 if is_express(head) => Some(EXPRESS),
        502 | 504 => Some(UNREACHED),
        503 => Some(BUSY),
        _ => None,
    }
}

/// Whether the head shows that Express made the answer.
fn is_express(head: &Parts) -> bool {
    let by = head.headers.get("x-powered-by");
    by.is_some_and(|by| by.as_bytes().eq_ignore_ascii_case(b"express"))
}

/// Whether Node's ws rejected a handshake without its own reason. It writes the answer to the socket directly, without
/// the fields that Node and web servers add.
fn is_node_ws(head: &Parts) -> bool {
    let is = |name, value: &str| head.headers.get(name).is_some_and(|found| found == value);
    let length = "Bad Request".len().to_string();
    is(header::CONTENT_TYPE, "text/html")
        && is(header::CONTENT_LENGTH, &length)
        && is(header::CONNECTION, "close")
        && !head.headers.contains_key(header::DATE)
        && !head.headers.contains_key(header::SERVER)
}

/// The same for a 404 whose head does not show it: the `beginning` of its body is Express's text.
pub(in crate::upstream) fn express(failure: Failure, beginning: &[u8]) -> Failure {
    const WORDS: &[u8] = b"<pre>Cannot GET /";
    let beginning = beginning.get(..1024).unwrap_or(beginning);
    match beginning.windows(WORDS.len()).any(|window| window == WORDS) {
        true => failure.with_hint(EXPRESS),
        false => failure,
    }
}

/// A hint from the target of a redirect.
fn of_location(location: &[u8]) -> Option<&'static str> {
    const WORDS: [&str; 8] = [
        "login",
        "log-in",
        "signin",
        "sign-in",
        "sign_in",
        "oauth",
        "authorize",
        "sso",
    ];
    // A query may repeat the client's own URL.
    let place = location.split(|byte| b"?#".contains(byte)).next()?;
    let place = place.to_ascii_lowercase();
    let mut words = place.split(|byte| !byte.is_ascii_alphanumeric() && !b"-_".contains(byte));
    let is_login = words.any(|word| WORDS.iter().any(|login| word == login.as_bytes()));
    is_login.then_some(LOGIN)
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn answer(status: u16, name: &str, value: &str) -> Option<&'static str> {
        let response = Response::builder().status(status).header(name, value);
        of(&response.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_hint_is_given_where_the_answer_shows_its_cause() {
        for (status, name, value, hint) in [
            (404, "x-powered-by", "Express", Some(EXPRESS)),
            (404, "x-powered-by", "PHP/8.2", None),
            (404, "server", "nginx", None),
            (302, "location", "/login?next=/ws", Some(LOGIN)),
            (302, "location", "https://sso.example.com/a", Some(LOGIN)),
            (301, "location", "/ws/?from=login", None),
            (301, "location", "/blogging/", None),
            (302, "server", "nginx", None),
            (500, "x-powered-by", "Express", None),
            (502, "server", "nginx", Some(UNREACHED)),
            (503, "server", "nginx", Some(BUSY)),
        ] {
            assert_eq!(
                answer(status, name, value),
                hint,
                "{status} {name}: {value}"
            );
        }
    }

    #[test]
    fn a_400_of_ws_is_known_by_its_fields() {
        let answer = |more: &[(&str, &str)]| {
            let mut response = Response::builder().status(400);
            for (name, value) in more {
                response = response.header(*name, *value);
            }
            of(&response.body(()).unwrap().into_parts().0)
        };
        let ws = [
            ("connection", "close"),
            ("content-type", "text/html"),
            ("content-length", "11"),
        ];
        assert_eq!(answer(&ws), Some(NODE_WS));
        for more in [
            ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("server", "nginx"),
        ] {
            assert_eq!(answer(&[ws.as_slice(), &[more]].concat()), None, "{more:?}");
        }
        assert_eq!(answer(&ws[..2]), None);
        assert_eq!(answer(&[]), None);
    }

    #[test]
    fn the_page_of_express_is_known() {
        use crate::reason::Reason;
        let hint = |page: &[u8]| express(Reason::UpstreamNotFound.into(), page).hint;
        let page = b"<!DOCTYPE html>\n<html><body>\n<pre>Cannot GET /ws</pre>\n</body></html>";
        assert_eq!(hint(page).as_deref(), Some(EXPRESS));
        assert_eq!(hint(b"<h1>Cannot GET</h1>"), None);
    }
}
