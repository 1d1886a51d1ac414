//! Endpoints in turn, addresses in turn, and the resolver.

use wsgate::reason::Reason;

use super::{ask, attempts, echoes, is_own};
use crate::harness::upstream::{Full, Nobody};
use crate::harness::{Setup, Upstream};

#[test]
fn an_endpoint_that_refuses_is_skipped_for_the_next() {
    let (nobody, full, upstream) = (Nobody::new(), Full::new(), Upstream::echo());
    let endpoints = format!("{}, {}, {}", nobody.url(), full.url(), upstream.url());
    let setup = Setup {
        upstream: ", connect_timeout: 200ms".to_owned(),
        ..Setup::plain(&endpoints)
    };
    let opened = echoes(&setup);
    assert_eq!(opened.notes(), ["endpoint_skipped"]);
    let tried = [
        (nobody.url(), "upstream_refused".to_owned()),
        (full.url(), "upstream_connect_timeout".to_owned()),
        (upstream.url(), "connected".to_owned()),
    ];
    assert_eq!(attempts(&opened), tried);
}

#[test]
fn the_first_endpoint_that_connects_is_the_one_asked() {
    let (first, second) = (
        Upstream::answering("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
        Upstream::echo(),
    );
    let setup = Setup::plain(&format!("{}, {}", first.url(), second.url()));
    // Its answer counts: only a failed connection leads to another endpoint, or one request could be handled twice.
    let (response, line) = ask(&setup);
    assert_eq!(response.status, 404);
    assert_eq!(attempts(&line), [(first.url(), "connected".to_owned())]);
    assert_eq!(second.connections(), 0);
}

#[test]
fn when_no_endpoint_connects_the_last_one_names_the_reason() {
    let (full, nobody) = (Full::new(), Nobody::new());
    let setup = Setup {
        upstream: ", connect_timeout: 200ms".to_owned(),
        ..Setup::plain(&format!("{}, {}", full.url(), nobody.url()))
    };
    let (response, line) = ask(&setup);
    is_own(&response, &line);
    let outcomes: Vec<_> = attempts(&line)
        .into_iter()
        .map(|(_, outcome)| outcome)
        .collect();
    assert_eq!(outcomes, ["upstream_connect_timeout", "upstream_refused"]);
    assert_eq!(line.notes(), [""; 0]);
    line.expect(Reason::UpstreamRefused);
}

#[test]
fn localhost_reaches_an_upstream_that_listens_on_ipv4_only() {
    let upstream = Upstream::echo();
    let port = upstream.address().port();
    let opened = echoes(&Setup::plain(&format!("http://localhost:{port}")));
    let tried = attempts(&opened);
    let (last, before) = tried.split_last().unwrap();
    let connected = format!("http://localhost:{port} (127.0.0.1:{port})");
    assert_eq!(*last, (connected, "connected".to_owned()));
    // If the system returns ::1 first, nothing listens there.
    assert!(
        before
            .iter()
            .all(|(endpoint, _)| endpoint.contains("[::1]")),
        "{before:?}"
    );
}
