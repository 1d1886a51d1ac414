use std::path::Path;

use wsgate::reason::Reason;

use super::Site;
use crate::harness::Line;
use crate::tools::browser::Browser;
use crate::tools::programs::{Family, Server, field, said, tool};

/// Opens a page of the application in a browser, and waits until all its cases have passed.
#[track_caller]
pub fn passed(page: &str, app: &Server, authority: &Path) -> (Browser, usize) {
    let browser = Browser::open(page, Some(authority));
    let report = app.line("the report", |line| line.text("event") == "report");
    let cases = report.0["report"]["cases"].as_object().unwrap();
    assert_eq!(cases.len(), 6);
    assert!(cases.values().all(|result| result == "ok"), "{cases:#?}");
    (browser, cases.len())
}

#[track_caller]
fn page(site: &Site) -> (Browser, usize) {
    let page = site.url("/page.html?case=page");
    passed(&page, &site.app, &site.authority)
}

fn version() -> String {
    let line = said(&tool("WSGATE_CHROMIUM"), &["--version"]);
    let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    format!("chromium {}", line.split(' ').find(is_number).unwrap())
}

/// The record of the page's WebSocket.
#[track_caller]
fn tunnel(site: &Site) -> Line {
    let record = site.records("page_ws", 1).remove(0);
    let record = record.expect(Reason::ClientClose);
    assert_eq!(record.text("origin"), site.url(""), "{record:?}");
    assert_eq!(record.number("close_code_client"), Some(1000));
    record
}

#[test]
fn a_browser_opens_its_websocket_on_the_connection_of_its_page() {
    let mut family = Family::new(format!("{}: over HTTP/2", version()));
    let site = Site::open();
    let (browser, cases) = page(&site);
    let (first, tunnel) = (site.answered("page"), tunnel(&site));
    super::expect_h2(&tunnel);
    assert_eq!(tunnel.text("method"), "CONNECT", "{tunnel:?}");
    assert_eq!(tunnel.text("conn"), first.text("conn"), "{tunnel:?}");
    assert!(tunnel.number("stream_id") > first.number("stream_id"));
    for case in ["page_get", "page_post", "page_stream", "page_xhr"] {
        let record = site.answered(case);
        assert_eq!(record.text("conn"), first.text("conn"), "{record:?}");
    }
    let events = site.record("page_events");
    assert_eq!(events.text("reason"), Reason::ClientLeftResponse.code());
    // The application got a handshake of HTTP/1.1.
    let seen = site.app.line("the WebSocket", |line| {
        line.text("event") == "connection" && line.text("url").ends_with("=page_ws")
    });
    assert_eq!(field(&seen, "upgrade"), "websocket");
    assert_eq!(field(&seen, "origin"), site.url(""));
    drop(browser);
    family.add(cases);
    site.proxy.stop();
    family.finish();
}

/// The switch for the case that browsers and WebSockets over HTTP/2 do not get on: all else stays.
#[test]
fn a_browser_falls_back_to_http_1_1_for_its_websocket_if_it_must() {
    let mut family = Family::new(format!("{}: over HTTP/2 without WebSockets", version()));
    let site = Site::open_with("websocket: off");
    let (browser, cases) = page(&site);
    let (first, tunnel) = (site.answered("page"), tunnel(&site));
    assert_eq!(tunnel.text("http_version"), "1.1", "{tunnel:?}");
    assert_eq!(tunnel.text("alpn"), "http/1.1", "{tunnel:?}");
    assert_eq!(tunnel.text("method"), "GET", "{tunnel:?}");
    assert_eq!(tunnel.number("stream_id"), None, "{tunnel:?}");
    assert_ne!(tunnel.text("conn"), first.text("conn"));
    site.answered("page_get");
    drop(browser);
    family.add(cases);
    site.proxy.stop();
    family.finish();
}
