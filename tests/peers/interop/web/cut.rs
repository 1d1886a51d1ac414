use serde_json::json;
use wsgate::reason::Reason;

use super::{ROUTES, Web, answered, read};
use crate::tools::programs::{Family, Server};

const HALF: u64 = 512 * 1024;

/// Whoever leaves in the middle: both others notice, and the record says who it was and how far it got.
#[test]
fn what_breaks_off_in_the_middle_is_told() {
    let mut family = Family::new("plain requests that break off");
    let app = Server::program("web_server.js", &["express"]);
    let web = Web::open(ROUTES, &app);

    // An event stream whose client has gone: the application can stop at once.
    family.add(web.visit("web_client.js", &["leave_events"]).passed());
    assert_eq!(answered(&app, "leave_events").0["whole"], false);
    let record = web.failed("leave_events", Reason::ClientLeftResponse);
    assert_eq!(record.number("status"), Some(200));

    family.add(web.visit("web_client.js", &["leave_download"]).passed());
    assert_eq!(answered(&app, "leave_download").0["whole"], false);
    let record = web.failed("leave_download", Reason::ClientLeftResponse);
    assert_eq!(record.number("bytes_upstream_to_client"), Some(HALF));

    family.add(web.visit("web_client.js", &["leave_upload"]).passed());
    let got = read(&app, "leave_upload");
    assert_eq!(got.0["complete"], false, "{got:?}");
    let record = web.failed("leave_upload", Reason::HttpBodyIncomplete);
    assert_eq!(record.number("status"), None, "{record:?}");
    assert_eq!(
        record.number("bytes_client_to_upstream"),
        Some(HALF),
        "{record:?}"
    );

    // The application dies: the client must not take half an answer for a whole one.
    let case = "cut_download";
    let client = web.start("web_client.js", &[case], json!({}));
    client.said("half");
    app.kill();
    let report = client.finish();
    assert_eq!(report.passed(), 1);
    assert!(!report.detail(case).text("error").is_empty());
    let record = web.failed(case, Reason::UpstreamResponseCut);
    assert_eq!(record.text("by"), "upstream");
    assert_eq!(record.number("status"), Some(200));
    assert_eq!(record.number("bytes_upstream_to_client"), Some(HALF));
    family.add(1);
    web.proxy.stop();
    family.finish();
}

/// A shutdown waits for an open event stream and then cuts it; the record says what it was.
#[test]
fn a_stream_of_events_at_a_shutdown() {
    let mut family = Family::new("plain requests at a shutdown");
    let app = Server::program("web_server.js", &["bare"]);
    let mut web = Web::open(ROUTES, &app);
    let client = web.start("web_client.js", &["cut_events"], json!({}));
    client.said("open");
    web.proxy.signal("TERM");
    web.proxy.event("draining");
    web.proxy.signal("TERM");
    let report = client.finish();
    assert_eq!(report.passed(), 1);
    assert!(!report.detail("cut_events").text("error").is_empty());
    web.proxy.ended();
    let record = web.failed("cut_events", Reason::Draining);
    assert_eq!(record.text("stage"), "upstream");
    assert!(
        record.text("hint").contains("was not complete"),
        "{record:?}"
    );
    assert_eq!(answered(&app, "cut_events").0["whole"], false);
    family.add(1);
    family.finish();
}
