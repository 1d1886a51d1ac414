use super::*;
use crate::harness::terminal::Terminal;

#[test]
fn secrets_and_control_characters_of_either_side_are_not_shown() {
    let seen = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&seen);
    let server = Upstream::raw(move |mut socket| {
        let head = read_head(&mut socket).unwrap_or_default();
        kept.lock().unwrap().push_str(&head);
        let _ = socket.write_all(
            b"HTTP/1.1 301 \x1b[2J\r\nServer: \x1b]0;owned\x07\xe2\x80\xae\r\nLocation: https://x.example/?t=hunter2\r\n\
              Content-Length: 0\r\n\r\n",
        );
        let _ = socket.read(&mut [0]);
    });
    let url = format!("{}?token=hunter2", url(&server));
    let arguments = [
        "--header",
        "Authorization: Bearer hunter2",
        "--header",
        "Cookie: a=hunter2",
    ];
    for more in [&["--json"][..], &["--lang", "zh"], &[]] {
        let output = command(&url, &[&arguments, more].concat());
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()),
            "{text:?}"
        );
        assert!(!text.contains('\u{202e}'));
    }
    // The server got them.
    let seen = seen.lock().unwrap();
    assert!(seen.contains("Authorization: Bearer hunter2") && seen.contains("?token=hunter2"));
}

/// A server may send back what it got, wherever the report shows its words.
#[test]
fn secrets_that_a_server_sends_back_are_not_shown() {
    let close = crate::harness::frames::plain(
        0x88,
        crate::harness::frames::closing(1008, "bad hunter2-secret"),
    );
    let echoing = Upstream::raw(move |mut socket| {
        let head = read_head(&mut socket).unwrap_or_default();
        let more = "Server: Bearer hunter2-secret query-secret\r\n";
        let _ = socket.write_all(switching(&head, more).as_bytes());
        let _ = socket.write_all(&close);
        let _ = socket.read(&mut [0]);
    });
    let redirecting = answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 302 Found\r\nLocation: https://x.example/hunter2-secret/query-secret\r\n\
         Content-Length: 0\r\n\r\n",
    );
    for (server, finding) in [(&echoing, "closed_by_policy"), (&redirecting, "redirect")] {
        let url = format!("{}?token=query%2Dsecret", url(server));
        let arguments = ["--header", "Authorization: Bearer hunter2-secret"];
        let (_, report) = diagnosed(&url, &arguments);
        assert_eq!(report["verdict"]["finding"], finding, "{report:#}");
        let report = report.to_string();
        assert!(
            !report.contains("hunter2") && !report.contains("query-secret"),
            "{report}"
        );
    }
}

/// The body of an answer may be data. The query may be a token without a name.
#[test]
fn what_a_server_says_is_shown_without_tokens() {
    for (status, body, shown) in [
        (
            "404 Not Found",
            "no /ws?bare-token here",
            Some("no /ws?* here"),
        ),
        (
            "403 Forbidden",
            "key abcd1234abcd1234abcd1234",
            Some("key *"),
        ),
        ("200 OK", "for your eyes", None),
    ] {
        let length = body.len();
        let server = answering(
            format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}").leak(),
        );
        let (_, report) = diagnosed(&format!("{}?bare-token", url(&server)), &["--quick"]);
        let detail = report["verdict"]["detail"].as_str().unwrap();
        match shown {
            Some(shown) => assert!(detail.contains(&format!("says \"{shown}\"")), "{detail}"),
            None => assert!(!detail.contains("eyes"), "{detail}"),
        }
        assert!(!report.to_string().contains("bare-token"), "{report:#}");
    }
}

/// A part of a token, another case, and a password behind Base64 are secrets too.
#[test]
fn parts_and_other_forms_of_secrets_are_not_shown() {
    let server = answering(
        "HTTP/1.1 401 Unauthorized\r\nServer: eyJhbGciOiJIU...(cut)\r\nVia: EYJHBGCIOIJIUZI1NIISINR5CCI6\r\n\
         WWW-Authenticate: Basic realm=\"pass-w0rd of alice-the-user\"\r\nContent-Type: text/plain\r\nContent-Length: 27\r\n\r\n\
         no: IsInR5cCI6 YWxpY2UtdGhlL",
    );
    let arguments = [
        "--header",
        "X-Token: eyJhbGciOiJIUzI1NiIsInR5cCI6",
        "--header",
        "Authorization: Basic YWxpY2UtdGhlLXVzZXI6cGFzcy13MHJk",
    ];
    let (_, report) = diagnosed(&url(&server), &arguments);
    let report = report.to_string().to_ascii_lowercase();
    assert!(report.contains(r#"basic realm=\"* of *"#), "{report}");
    for part in ["eyjhbgci", "isinr5cc", "w0rd", "alice", "ywxpy2ut"] {
        assert!(!report.contains(part), "{part}: {report}");
    }
}

#[test]
fn a_wrong_command_line_is_explained_and_exits_with_2() {
    for (arguments, part) in [
        (&["example.com"][..], "no scheme"),
        (&["ftp://example.com"], "not ws or wss"),
        (&["ws://127.0.0.1:1/", "--header", "x"], "NAME: VALUE"),
        (
            &["ws://127.0.0.1:1/", "--header", "Bearer secret:x"],
            "is not the name of a field",
        ),
        (
            &["ws://127.0.0.1:1/", "--header", "Host: x"],
            "has this field already",
        ),
        (
            &["ws://127.0.0.1:1/", "--header", "A: secret\u{1}"],
            "can't be sent",
        ),
        (
            &["ws://127.0.0.1:1/", "--subprotocol", "a b"],
            "not a token",
        ),
        (&["ws://127.0.0.1:1/", "--origin", "a b"], "can't be sent"),
        (
            &["ws://127.0.0.1:1/", "--ca", "missing.pem"],
            "--ca: can't read missing.pem",
        ),
        (
            &["ws://127.0.0.1:1/", "--idle", "0s"],
            "expected a duration",
        ),
        (
            &["ws://127.0.0.1:1/", "--connect-to", "x"],
            "invalid socket address",
        ),
    ] {
        let output = command(arguments[0], &arguments[1..]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said.contains(part), "{arguments:?}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn options_that_hardly_anybody_means_are_told() {
    let server = admitting(|_| true);
    for (arguments, part) in [
        (&["--origin", "app.example.com"][..], "no browser sends"),
        (
            &["--origin", "https://app.example.com/"],
            "no browser sends",
        ),
        (&["--origin", "https://App.example.com"], "no browser sends"),
        (&["--sni", "x.example"], "--sni has no effect"),
        (&["--origin", "https://app.example.com:8443"], ""),
        (&["--origin", "null"], ""),
    ] {
        let output = command(&url(&server), &[arguments, &["--quick"]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(part), "{arguments:?}: {said}");
        assert_eq!(said.is_empty(), part.is_empty(), "{arguments:?}: {said}");
    }
}

#[test]
fn a_terminal_gets_colours_and_a_pipe_does_not() {
    let server = answering("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    let piped = command(&url(&server), &["--quick", "--lang", "en"]);
    let piped = String::from_utf8(piped.stdout).unwrap();
    assert!(piped.contains("at most 1 connection\n"), "{piped}");
    assert!(
        piped.contains("does not work: the server requires a login"),
        "{piped}"
    );
    assert!(
        piped.contains("reason:      upstream_unauthorized"),
        "{piped}"
    );
    let terminal = Terminal::open();
    let mut child = Command::new(crate::harness::proxy::program())
        .args(["diagnose", &url(&server), "--quick"])
        .env("LC_ALL", "zh_CN.UTF-8")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .stdout(terminal.end())
        .spawn()
        .unwrap();
    let shown = terminal.watch(|_| {});
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(
        shown.contains("\u{1b}[1;31m不正常\u{1b}[0m：服务器要求登录"),
        "{shown}"
    );
}

#[test]
fn the_number_of_connections_is_kept() {
    let server = admitting(|_| false);
    let (_, report) = diagnosed(&url(&server), &[]);
    let opened = server.connections();
    assert_eq!(report["connections"], opened);
    assert!(opened <= 8, "{opened}");
    let server = admitting(|_| false);
    diagnosed(&url(&server), &["--quick"]);
    assert_eq!(server.connections(), 1);
}

#[test]
fn an_answer_of_the_proxy_itself_gives_its_reason() {
    let proxy = crate::harness::Setup::plain("builtin:echo").start();
    let url = format!("ws://{}/ws", proxy.address());
    let report = verdict(
        &url,
        &["--origin", "https://evil.example"],
        "forbidden",
        "origin_not_allowed",
    );
    assert_eq!(report["verdict"]["answered_by"], "wsgate");
    drop(proxy.stop());
}
