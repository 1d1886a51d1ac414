use serde_json::{Value, json};
use wsgate::reason::Reason;

use super::{HOST, STREAM, Web, is_of, is_request};
use crate::harness::Line;
use crate::tools::programs::{Client, Family, Kind, Server};

const ROUTES: &str = "
  - host: api.example.com
    path: /api/realtime-voice/stream
    websocket: { origins: [wechat], wechat_app_ids: [wx0123456789abcdef] }
    upstream: app
  - { host: api.example.com, path: /api/realtime-voice/history, http: { methods: [GET] }, upstream: app }
  - { path: /health, http: { methods: [GET] }, upstream: app }
  - { host: api.example.com, path: /MP_verify_0123456789abcdef.txt, respond: { body: 0123456789abcdef } }
";
const HISTORY: &str = "/api/realtime-voice/history";

fn socket(web: &Web, case: &str, cases: &Value) -> Client {
    let port = web.proxy.addresses()[0].port();
    let options = json!({
        "ca": web.authority,
        "servername": HOST,
        "headers": {
            "Host": format!("{HOST}:{port}"),
            "Referer": "https://servicewechat.com/wx0123456789abcdef/0/page-frame.html",
        },
        "cases": cases,
    });
    let url = format!("wss://localhost:{port}{STREAM}?case={case}");
    Client::start(Kind::Node, &url, options)
}

/// A status and a body.
#[track_caller]
fn get(web: &Web, fields: &[&str], target: &str) -> (u64, String) {
    let mut arguments = vec!["--write-out", "\n%{http_code}"];
    for field in fields {
        arguments.extend(["--header", field]);
    }
    let did = web.curl(&arguments, &[target]);
    let (body, status) = did.text().rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

#[test]
fn the_first_users_application_as_a_whole() {
    let mut family = Family::new("the mini program as a whole");
    let app = Server::program("web_server.js", &["express"]);
    let web = Web::open(ROUTES, &app);
    let port = app.port().to_string();
    let history = |case: &str| format!("{HISTORY}?case={case}");

    let tunnel = socket(&web, "tunnel", &json!(["text", "binary", "wait_close"]));
    tunnel.did("binary");
    let whole = get(&web, &["token: good"], &history("history"));
    assert_eq!(whole, (200, r#"{"items":[1,2,3]}"#.to_owned()));
    assert_eq!(get(&web, &["token: bad"], &history("bad")).0, 401);
    assert_eq!(get(&web, &[], "/health?case=health").0, 200);
    let proof = get(&web, &[], "/MP_verify_0123456789abcdef.txt?case=proof");
    assert_eq!(proof, (200, "0123456789abcdef".to_owned()));
    let probe = get(&web, &[], &format!("{STREAM}?case=probe"));
    assert_eq!(probe.0, 426);
    assert_eq!(get(&web, &[], "/wp-login.php?case=scan").0, 404);
    let posted = web.curl(&["--include", "--data", "x"], &[&history("posted")]);
    assert!(
        posted.text().contains("405 Method Not Allowed"),
        "{}",
        posted.text()
    );
    assert!(posted.text().contains("allow: GET"), "{}", posted.text());

    // What an engineer reads: what happened, who caused it, and what to do.
    for (case, status) in [
        ("history", 200),
        ("bad", 401),
        ("health", 200),
        ("proof", 200),
    ] {
        let record = web.request(case);
        assert_eq!(record.number("status"), Some(status));
        assert_eq!(record.text("host").split(':').next(), Some(HOST));
    }
    assert_eq!(web.request("proof").text("upstream"), "");
    web.failed("probe", Reason::PlainHttpRequest);
    web.failed("scan", Reason::PathNotAllowed);
    let record = web.failed("posted", Reason::HttpMethodNotAllowed);
    assert!(
        record.text("hint").contains("routes[].http.methods"),
        "{record:?}"
    );

    // The backend dies: the tunnel's client is told to reconnect, and requests get the reason.
    app.kill();
    let (code, told) = {
        let report = tunnel.finish();
        let (code, told) = report.close();
        (code, told.to_owned())
    };
    assert_eq!(code, 1014);
    let ended = web.requests("tunnel", 1).remove(0);
    assert_eq!(ended.text("reason"), told);
    assert_eq!(ended.text("by"), "upstream");
    let (status, body) = get(&web, &["token: good"], &history("down"));
    assert_eq!(status, 502);
    assert!(body.starts_with("upstream_refused\n"), "{body}");
    let record = web.failed("down", Reason::UpstreamRefused);
    assert!(
        record.text("hint").contains("upstreams.*.endpoints"),
        "{record:?}"
    );
    let down = socket(&web, "down_socket", &json!([])).finish();
    assert_eq!(down.refusal().number("status"), Some(502));
    web.failed("down_socket", Reason::UpstreamRefused);

    // It is back: nothing of the time without it is left.
    let again = Server::program("web_server.js", &["express", &port]);
    assert_eq!(get(&web, &["token: good"], &history("again")).0, 200);
    let report = socket(&web, "again_socket", &json!(["text", "close"])).finish();
    assert_eq!(report.passed(), 2);
    web.requests("again_socket", 1)
        .remove(0)
        .expect(Reason::ClientClose);
    family.add(14);

    drop(again);
    // The records of everything: one each.
    let lines = web.proxy.stop();
    for case in [
        "history",
        "bad",
        "health",
        "proof",
        "probe",
        "scan",
        "posted",
        "tunnel",
        "down",
        "down_socket",
        "again",
        "again_socket",
    ] {
        let is = |line: &&Line| is_request(line) && is_of(line, case);
        assert_eq!(lines.iter().filter(is).count(), 1, "{case}");
    }
    family.finish();
}
