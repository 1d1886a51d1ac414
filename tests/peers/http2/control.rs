use serde_json::json;

use crate::harness::frames::{CLOSE, closing, masked};
use crate::harness::h2::Raw;
use crate::harness::h2::frame::{ENABLE_CONNECT_PROTOCOL, END_STREAM};
use crate::harness::proxy::ORIGIN;
use crate::tools::hops::{Hop, haproxy_version};
use crate::tools::programs::{Client, Family, Kind};

use super::{Behind, chromium, libraries, visit};

/// What fails here is not the proxy's fault.
#[test]
fn clients_do_everything_with_another_proxy() {
    let mut family = Family::new(format!(
        "{}: with the clients for HTTP/2",
        haproxy_version()
    ));
    let behind = Behind::start();
    let hop = Hop::haproxy_http(&format!(
        "frontend all\n  bind fd@0 ssl crt {} alpn h2,http/1.1\n  \
         http-request deny deny_status 404 if {{ path /nowhere }}\n  \
         use_backend ws if {{ path /ws }}\n  default_backend app\n\
         backend app\n  server app 127.0.0.1:{}\n\
         backend ws\n  server ws 127.0.0.1:{}\n",
        Behind::certificate(behind.folder.path()).display(),
        behind.app.port(),
        behind.ws.port(),
    ));
    for (program, cases) in [
        ("h2_client.py", libraries::PYTHON),
        ("h2_client.js", libraries::NODE),
        // Not fifty requests at once: HAProxy sometimes refuses one of them.
        ("httpx_client.py", &["get", "post", "stream", "left"]),
    ] {
        let report = visit(&behind.authority, program, hop.address().port(), cases);
        family.add(report.passed());
    }

    let mut raw = Raw::open(hop.address());
    assert_eq!(raw.setting(ENABLE_CONNECT_PROTOCOL), Some(1));
    raw.connect_ws(1, "/ws", &[]);
    raw.get(3, "/api/json", &[("token", "abc")]);
    assert_eq!(raw.status(1), 200);
    raw.echoes(1, "one").echoes(1, "two");
    assert_eq!(raw.response(3).text(), r#"{"token":"abc"}"#);
    raw.data(1, masked(CLOSE, closing(1000, "done")), END_STREAM);
    assert_eq!(raw.ws_frames(1).0, [(CLOSE, closing(1000, "done"))]);
    family.add(3);

    // The other hops and a browser, with this one as their server.
    for (scheme, other) in [
        ("ws", Hop::haproxy_h2(hop.address(), "")),
        ("wss", Hop::envoy_h2(hop.address(), behind.folder.path())),
    ] {
        let port = other.address().port();
        let url = format!("{scheme}://localhost:{port}/ws?case=hop");
        let options = json!({ "ca": behind.authority, "origin": ORIGIN, "deflate": false });
        let report = Client::start(Kind::Node, &url, options).finish();
        family.add(report.passed());
    }
    let page = format!("https://localhost:{}/page.html", hop.address().port());
    let (browser, cases) = chromium::passed(&page, &behind.app, &behind.authority);
    family.add(cases);
    drop(browser);
    drop(hop);
    family.finish();
}
