use super::super::chromium;
use super::{ROUTES, Web, read};
use crate::tools::browser::Browser;
use crate::tools::programs::{Family, Server};
use wsgate::reason::Reason;

const MIB: u64 = 1024 * 1024;

#[test]
fn a_page_of_the_application_does_everything_through_one_origin() {
    let mut family = Family::new(format!("{}: plain requests", chromium::version()));
    let app = Server::program("web_server.js", &["express"]);
    let web = Web::open(ROUTES, &app);
    let page = format!("{}/page.html?case=page", web.secure("localhost"));
    let browser = Browser::open(&page, Some(&web.authority));
    let report = app.line("the report", |line| line.text("event") == "report");
    let cases = report.0["report"]["cases"].as_object().unwrap();
    assert_eq!(cases.len(), 6);
    assert!(cases.values().all(|result| result == "ok"), "{cases:#?}");
    family.add(cases.len());

    web.request("page");
    for (case, bytes) in [("page_post", MIB), ("page_xhr", 3 * MIB)] {
        assert_eq!(read(&app, case).number("bytes"), Some(bytes));
        let record = web.request(case);
        assert_eq!(record.number("bytes_client_to_upstream"), Some(bytes));
    }
    let stream = web.request("page_stream");
    assert_eq!(stream.number("bytes_upstream_to_client"), Some(4 * MIB));
    let closed = web.requests("page_ws", 1).remove(0);
    closed.expect(Reason::ClientClose);
    // The page closed its stream of events.
    web.failed("page_events", Reason::ClientLeftResponse);
    drop(browser);
    web.close(&app);
    family.finish();
}
