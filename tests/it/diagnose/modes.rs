use super::*;
use crate::harness::Line;

const APP: &str = "wx0123456789abcdef";

#[test]
fn two_ways_are_compared() {
    let good = admitting(|_| true);
    let bad = answering("HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n");
    for (one, other, comparison) in [
        (&good, &good, "nowhere"),
        (&bad, &good, "hop"),
        (&good, &bad, "direct"),
        (&bad, &bad, "same"),
    ] {
        let (code, report) = diagnosed(&url(one), &["--compare", &url(other), "--quick"]);
        assert_eq!(report["comparison"], comparison, "{report:#}");
        assert_eq!(code, i32::from(report["report"]["works"] == false));
        assert!(report["direct"]["steps"].is_array());
    }
    let refused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (_, report) = diagnosed(
        &url(&bad),
        &["--compare", &format!("ws://{refused}/"), "--quick"],
    );
    assert_eq!(report["comparison"], "both");
    let said = command(
        &url(&bad),
        &["--compare", &url(&good), "--quick", "--lang", "en"],
    );
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.ends_with("a hop in front of the backend is to blame, at this stage (http)\n"),
        "{said}"
    );
    let wrong = command(&url(&bad), &["--compare", "x"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        String::from_utf8(wrong.stderr)
            .unwrap()
            .contains("--compare: the URL has no scheme")
    );
}

#[test]
fn each_platform_of_wechat_is_tried() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    let server = admitting(move |head| {
        kept.lock().unwrap().push(head.to_owned());
        head.contains("Origin: ")
    });
    let report = verdict(
        &url(&server),
        &["--wechat", APP],
        "wechat_platform_refused",
        "origin_not_allowed",
    );
    let detail = report["verdict"]["detail"].as_str().unwrap();
    assert!(
        detail.contains("wechat_android") && !detail.contains("wechat_ios"),
        "{detail}"
    );
    let heads = heads.lock().unwrap().clone();
    for part in [
        "Android 14",
        "Accept-Language: zh-CN,zh-Hans;q=0.9\r\n",
        "Origin: https://servicewechat.com\r\n",
        "Origin: weapp://wechat-game-runtime\r\n",
    ] {
        assert!(heads.iter().any(|head| head.contains(part)), "{part}");
    }
    let referer = format!("Referer: https://servicewechat.com/{APP}/0/page-frame.html\r\n");
    assert!(
        heads.iter().all(|head| head.contains(&referer)),
        "{heads:#?}"
    );
    // The server is fine, but a device may not use such a URL.
    let server = admitting(|_| true);
    let (code, report) = diagnosed(&url(&server), &["--wechat", APP]);
    assert_eq!(
        (code, &report["verdict"]["finding"]),
        (1, &Value::from("wechat_rule"))
    );
    let wrong = command(&url(&server), &["--wechat", "wx1"]);
    assert!(
        String::from_utf8(wrong.stderr)
            .unwrap()
            .contains("is not an app id")
    );
}

#[test]
fn it_says_what_a_device_would_show() {
    for (status, shown) in [
        ("403 Forbidden", "_code:20 Invalid HTTP status"),
        (
            "101 Switching",
            "_code:21 A required HTTP header is missing",
        ),
    ] {
        let server = answering(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").leak());
        let (_, report) = diagnosed(&url(&server), &["--wechat", APP, "--quick"]);
        assert_eq!(report["verdict"]["wechat_shows"], shown, "{report:#}");
    }
}

/// A refusal of the proxy is repeated from its record.
#[test]
fn what_a_record_says_is_repeated() {
    let proxy = crate::harness::Setup::plain("builtin:echo").start();
    let mut client = crate::harness::Client::plain(proxy.address());
    client.send(crate::harness::handshake(
        "/ws?token=secret",
        &[
            ("Origin", "https://evil.example"),
            ("Host", &proxy.address().to_string()),
            ("User-Agent", "a phone"),
        ],
    ));
    assert_eq!(client.response().status, 403);
    let line = proxy.event("refused");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records");
    std::fs::write(&path, format!("words\n{}\n", line.0)).unwrap();
    let path = path.to_str().unwrap();
    let output = knowing_the_authority()
        .args(["diagnose", "--from-record", path, "--json"])
        .args(["--header", "X-Test: more"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report["verdict"]["reason"], "origin_not_allowed",
        "{report:#}"
    );
    assert_eq!(
        report["url"],
        format!("ws://{}/ws?token=*", proxy.address())
    );
    let notes = String::from_utf8(output.stderr).unwrap();
    let named = format!("go to {}, a host that", proxy.address());
    for part in ["cookies", "values of the query", "without TLS", &named] {
        assert!(notes.contains(part), "{notes}");
    }
    let again = proxy.wait("the record of the repetition", |lines| {
        lines
            .iter()
            .filter(|line| line.text("event") == "refused")
            .nth(1)
            .cloned()
    });
    assert_eq!(again.text("user_agent"), "a phone");
    assert_eq!(again.text("origin"), "https://evil.example");
    // By its conn, on standard input.
    let conn = line.text("conn").to_owned();
    let mut child = knowing_the_authority()
        .args(["diagnose", "--from-record", &conn, "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let record = line.0.to_string();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(record.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"]["reason"], "origin_not_allowed");
    // One stream of an HTTP/2 connection.
    let of_stream = |stream: u32, agent: &str| {
        let mut record = line.0.clone();
        record["stream_id"] = stream.into();
        record["user_agent"] = agent.into();
        format!("{record}\n")
    };
    let records = [of_stream(1, "the one"), of_stream(11, "another")].concat();
    let mut child = knowing_the_authority()
        .args(["diagnose", "--from-record", &format!("{conn}-1")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(records.as_bytes()).unwrap();
    drop(stdin);
    child.wait().unwrap();
    let agents = |line: &Line| line.text("user_agent").to_owned();
    proxy.wait("the record of the repeated stream", |lines| {
        let mut agents = lines.iter().map(agents);
        agents.find(|agent| agent == "the one")
    });
    assert!(proxy.lines().iter().map(agents).all(|it| it != "another"));
    let missing = command("--from-record", &["nosuchconn"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        String::from_utf8(missing.stderr)
            .unwrap()
            .contains("no record on standard input")
    );
    drop(proxy.stop());
}

#[test]
fn a_forged_record_adds_no_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records");
    let server = admitting(|_| true);
    let record = serde_json::json!({
        "time": "2026-01-02T03:04:05.000Z", "schema": 1, "event": "closed", "path": "/",
        "host": server.address().to_string(), "user_agent": "x\r\nX-Injected: yes",
    });
    std::fs::write(&path, record.to_string()).unwrap();
    let output = command("--from-record", &[path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("the user_agent has characters that can't be sent"),
        "{said}"
    );
    assert_eq!(server.connections(), 0);
}
