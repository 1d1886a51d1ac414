use super::*;

/// Records that differ in one field each.
fn various() -> String {
    [
        refused(1, &json!({})),
        refused(2, &json!({"client": "198.51.100.1", "reason": "origin_null", "origin": "null"})),
        refused(3, &json!({"path": "/other", "route": "/other"})),
        refused(4, &json!({"user_agent": "curl/8", "client": "2001:db8::7"})),
        refused(5, &json!({"event": "closed", "reason": "upstream_reset", "conn": "c1", "level": "warn"})),
        refused(6, &json!({"event": "closed", "reason": "client_close", "origin": "https://app.example.com"})),
        refused(7, &json!({"event": "opened", "reason": null})).replace("\"reason\":null,", ""),
        refused(8, &json!({"event": "request", "status": 200})).replace("\"reason\":\"origin_not_allowed\",", ""),
        refused(9, &json!({"event": "request", "reason": "upstream_response_cut", "status": 200})),
        refused(10, &json!({"level": "debug", "reason": "tcp_probe"})),
        "{\"time\":\"2026-01-02T20:38:11.000Z\",\"schema\":1,\"level\":\"warn\",\"event\":\"reload_refused\",\"problems\":[\"x\"]}\n".to_owned(),
        "{\"time\":\"2026-01-02T20:38:12.000Z\",\"schema\":1,\"level\":\"info\",\"event\":\"listening\"}\n".to_owned(),
    ]
    .concat()
}

#[test]
fn each_condition_selects() {
    let records = various();
    for (arguments, expected) in [
        (&["--reason", "origin_null"][..], &[2][..]),
        (&["--reason", "Origin-Null,upstream_reset"], &[2, 5]),
        (&["--reason", "upstream_*"], &[5, 9]),
        (&["--client", "198.51.100.1"], &[2]),
        (&["--client", "198.51.100.0/24"], &[2]),
        (&["--client", "2001:db8::/32"], &[4]),
        (&["--origin", "APP.example"], &[6]),
        (&["--path", "/other"], &[3]),
        (&["--route", "/other"], &[3]),
        (&["--user-agent", "CURL"], &[4]),
        (&["--failed"], &[1, 2, 3, 4, 5, 9, 11]),
        (&["--id", "r4"], &[4]),
        (&["--id", "t3"], &[3]),
        // The whole story of the connection, also if the id is only on its last record.
        (&["--id", "r5"], &[1, 5]),
        (&["--id", "c1"], &[1, 5]),
        (&["--since", "2026-01-02T20:38:11Z"], &[11, 12]),
        (&["--until", "2026-01-02T20:38:02Z"], &[1, 2]),
        (
            &[
                "--since",
                "2026-01-03 04:38:03+08:00",
                "--until",
                "2026-01-02T20:38:04.000Z",
            ],
            &[3, 4],
        ),
        (
            &["--failed", "--client", "203.0.113.7", "--reason", "*reset"],
            &[5],
        ),
        (&["--reason", "loop_detected"], &[]),
    ] {
        let found = find(arguments, &records);
        assert_eq!(seconds(&found), expected, "{arguments:?}: {}", err(&found));
        let code = if expected.is_empty() { 1 } else { 0 };
        assert_eq!(found.status.code(), Some(code), "{arguments:?}");
        // The same from a file.
        let folder = files(&[("records", records.as_bytes())]);
        let found = find_in(folder.path(), &[arguments, &["records"]].concat(), b"");
        assert_eq!(seconds(&found), expected, "{arguments:?}");
    }
}

#[test]
fn nothing_found_says_what_was_read() {
    let found = find(&["--client", "192.0.2.1"], &various());
    assert_eq!((found.status.code(), out(&found)), (Some(1), ""));
    assert_eq!(
        err(&found),
        "note: none of the 12 records from 2026-01-02T20:38:01.000Z to 2026-01-02T20:38:12.000Z matches\n"
    );
    let found = find(&[], "");
    assert_eq!((found.status.code(), out(&found)), (Some(1), ""));
    assert_eq!(err(&found), "note: there are no records\n");
}

#[test]
fn wrong_conditions_are_errors_that_say_what_is_expected() {
    for (arguments, part) in [
        (&["--since", "noon"][..], "--since \"noon\" is not a time"),
        (&["--since", "5m", "--until", "10m"], "is before --since"),
        (&["--client", "example.com"], "is not an address"),
        (
            &["--reason", "origin_not_alowed"],
            "did you mean origin_not_allowed?",
        ),
        (
            &["--top", "color"],
            "possible values: reason, client, origin, path",
        ),
        (&["--top", "reason", "--summary"], "cannot be used with"),
        (&["--limit", "0"], "1..=1000"),
        (&["--limit", "5"], "for --top and --summary"),
        (&["--follow", "--until", "12:00"], "cannot be used with"),
        (&["-", "-"], "named more than once"),
        (&["--follow", "a", "b"], "--follow reads one file"),
    ] {
        let found = find(arguments, &various());
        assert_eq!(found.status.code(), Some(2), "{arguments:?}");
        assert_eq!(out(&found), "");
        assert!(err(&found).contains(part), "{}", err(&found));
    }
}

fn counts(arguments: &[&str], records: &str) -> Value {
    let found = find(&[arguments, &["--format", "json"]].concat(), records);
    serde_json::from_str(out(&found)).unwrap()
}

#[test]
fn the_most_frequent_are_counted() {
    let records = various();
    let top = counts(&["--top", "reason"], &records);
    assert_eq!(
        top["values"][0],
        json!({"value": "origin_not_allowed", "count": 3})
    );
    assert_eq!(
        (&top["field"], &top["approximate"]),
        (&json!("reason"), &json!(false))
    );
    // A tunnel counts once.
    let top = counts(&["--top", "client"], &records);
    assert_eq!(
        top["values"][0],
        json!({"value": "203.0.113.7", "count": 7})
    );
    let top = counts(&["--top", "path", "--limit", "1"], &records);
    assert_eq!(
        top["values"],
        json!([{"value": "/voice/stream", "count": 8}])
    );
    assert_eq!(top["different"], 2);
    let found = find(&["--top", "origin", "--failed"], &records);
    assert_eq!(
        out(&found),
        "    count  origin\n        5  https://evil.example\n        1  null\n"
    );
}

#[test]
fn too_many_values_make_the_counts_approximate_and_this_is_said() {
    let mut records = String::new();
    for n in 0..60_000 {
        let client = format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
        records.push_str(&refused(1, &json!({"client": client, "hint": ""})));
        if n % 4 == 0 {
            records.push_str(&refused(1, &json!({"hint": ""})));
        }
    }
    let top = counts(&["--top", "client"], &records);
    assert_eq!(top["values"][0]["value"], "203.0.113.7");
    assert_eq!(top["different"], 40_000);
    assert_eq!(top["values"][0]["approximate"], true);
    assert_eq!(top["approximate"], true);
    let found = find(&["--top", "client"], &records);
    assert!(
        out(&found).contains("the counts are approximate"),
        "{}",
        out(&found)
    );
}

/// What a flood leaves in the records.
fn flood() -> String {
    let suppressed = json!({
        "event": "records_suppressed", "count": 1000,
        "top_clients": [{"value": "198.51.100.9", "count": 900}, {"value": "2001:db8:1:2::/64", "count": 100}],
        "top_origins": [{"value": "https://evil.example", "count": 1000}],
        "top_paths": [{"value": "/ws", "count": 1000}],
    });
    [
        refused(1, &json!({"client": "198.51.100.9"})),
        refused(2, &suppressed),
        refused(
            3,
            &json!({"event": "records_dropped", "count": 5, "level": "warn"}),
        )
        .replace("\"reason\":\"origin_not_allowed\",", ""),
    ]
    .concat()
}

#[test]
fn suppressed_and_lost_records_are_told() {
    let found = find(&["--reason", "origin_not_allowed"], &flood());
    let said = err(&found);
    assert!(
        said.contains(
            "1000 more refusals were counted instead of written (origin_not_allowed 1000)"
        ),
        "{said}"
    );
    assert!(said.contains("5 lines were lost"), "{said}");
    // Who follows the records sees how many there are, without waiting for the end.
    let found = find(&["--failed"], &flood());
    assert_eq!(seconds(&found), [1, 2, 3], "{}", err(&found));
    let top = counts(&["--top", "reason"], &flood());
    assert_eq!(top["values"][0]["count"], 1001);
    assert_eq!(
        (&top["suppressed"], &top["dropped"]),
        (&json!(1000), &json!(5))
    );
    let top = counts(&["--top", "client"], &flood());
    assert_eq!(
        top["values"][0],
        json!({"value": "198.51.100.9", "count": 901})
    );
    let larger = flood().replace("\"count\":1000", "\"count\":1300");
    let top = find(&["--top", "client"], &larger);
    for part in ["300 more refusals were only counted", "5 lines were lost"] {
        assert!(out(&top).contains(part), "{}", out(&top));
    }
    // Outside the window, or of another reason, they are not.
    for arguments in [
        &["--until", "2026-01-02T20:38:01Z"][..],
        &["--reason", "origin_null"],
    ] {
        let found = find(arguments, &flood());
        assert!(!err(&found).contains("more refusals"), "{}", err(&found));
    }
    // Of one client's, the number is not known.
    let found = find(&["--client", "198.51.100.9"], &flood());
    assert!(err(&found).contains("is not known"), "{}", err(&found));
}

#[test]
fn a_summary_counts_many_clients_exactly_and_says_when_it_can_not() {
    let of = |clients: u32, times: usize| -> String {
        let all = (0..clients).map(|n| format!("10.0.{}.{}", n / 250, n % 250 + 1));
        let records = all.map(|client| refused(1, &json!({ "client": client })));
        records.collect::<String>().repeat(times)
    };
    let frequent = refused(2, &json!({"client": "198.51.100.9"})).repeat(40);
    // More than are kept at first.
    let found = counts(&["--summary"], &format!("{}{frequent}", of(300, 3)));
    let failure = &found["failures"][0];
    assert_eq!(failure["different_clients"], 301);
    assert_eq!(
        failure["clients"][0],
        json!({"value": "198.51.100.9", "count": 40})
    );
    assert_eq!(failure["approximate"], Value::Null);
    assert_ne!(failure["cause"], "");
    // More than there is room for.
    let many = format!("{}{frequent}", of(60_000, 1));
    let found = counts(&["--summary"], &many);
    assert_eq!(found["failures"][0]["approximate"], true);
    let text = out(&find(&["--summary"], &many)).to_owned();
    assert!(text.contains("clients: over "), "{text}");
    assert!(!text.contains("10.0."), "{text}");
}

#[test]
fn notes_say_what_was_searched_and_what_may_be_of_others() {
    let record = refused(1, &json!({"client": "203.0.113.0"}));
    let found = find(&["--client", "203.0.113.7"], &record);
    assert_eq!(seconds(&found), [1]);
    assert!(
        err(&found).contains("1 of them may be of another client"),
        "{}",
        err(&found)
    );
    let found = find(&["--client", "203.0.113.0/24"], &record);
    assert_eq!(err(&found), "");
    let found = find(&["--since", "2026-01-03T00:00Z"], &record);
    assert!(
        err(&found).contains("the search was for records since 2026-01-03T00:00:00.000Z"),
        "{}",
        err(&found)
    );
    let found = find(&["--until", "12:00"], &record);
    assert!(
        err(&found).contains("the search was for records until 2"),
        "{}",
        err(&found)
    );
    // Records without a reason have none that a star could stand for.
    let opened =
        refused(1, &json!({"event": "opened"})).replace("\"reason\":\"origin_not_allowed\",", "");
    let found = find(&["--reason", "*"], &opened);
    assert_eq!(found.status.code(), Some(1), "{}", out(&found));
    for name in ["--origin", "--path", "--user-agent", "--route", "--id"] {
        let found = find(&[name, ""], &record);
        assert_eq!(found.status.code(), Some(2), "{name}");
        assert!(err(&found).contains("is empty"), "{}", err(&found));
    }
    let found = find(&["--since", "-15m"], &record);
    assert!(err(&found).contains("such as 15m"), "{}", err(&found));
}

#[test]
fn forged_counts_do_no_harm() {
    let most = json!({"event": "records_suppressed", "count": u64::MAX, "top_clients": [{"value": "a", "count": u64::MAX}]});
    let dropped = json!({"event": "records_dropped", "count": u64::MAX});
    let records = [
        refused(1, &most),
        refused(2, &most),
        refused(3, &dropped),
        refused(4, &dropped),
    ]
    .concat();
    for arguments in [
        &[][..],
        &["--summary"],
        &["--top", "reason"],
        &["--top", "client"],
    ] {
        let found = find(arguments, &records);
        assert!(
            err(&found).contains("18446744073709551615"),
            "{arguments:?}: {}",
            err(&found)
        );
        assert!(!err(&found).contains("panicked"), "{}", err(&found));
    }
}

#[test]
fn suppressed_probes_are_not_failures() {
    let probes = refused(
        1,
        &json!({"event": "records_suppressed", "level": "debug", "reason": "tcp_probe", "count": 300}),
    );
    let records = [probes, refused(2, &json!({}))].concat();
    let summary = find(&["--summary"], &records);
    assert!(!out(&summary).contains("tcp_probe"), "{}", out(&summary));
    let failed = find(
        &["--failed", "--reason", "tcp_probe", "--top", "reason"],
        &records,
    );
    assert_eq!(failed.status.code(), Some(1), "{}", out(&failed));
}

#[test]
fn text_that_records_escape_is_found() {
    let record = refused(
        1,
        &json!({"user_agent": "\\xe5\\xbe\\xae\\xe4\\xbf\\xa1 x"}),
    );
    let found = find(&["--user-agent", "微信"], &record);
    assert_eq!(seconds(&found), [1], "{}", err(&found));
}

#[test]
fn a_summary_says_what_went_wrong_since_when_for_whom_and_what_to_do() {
    let found = find(&["--summary"], &various());
    let text = out(&found);
    for part in [
        "2026-01-02T20:38:01.000Z to 2026-01-02T20:38:12.000Z: 12 records; 1 tunnel opened, 2 closed, 2 plain requests, 5 refusals",
        "3  origin_not_allowed  since 2026-01-02T20:38:01.000Z, last 2026-01-02T20:38:04.000Z",
        "cause: the Origin is not in the route's list",
        "clients: 2, 203.0.113.7 (2), 2001:db8::7 (1)",
        "paths: /voice/stream (2), /other (1)",
        "client sees: 1006",
        "what to do: list it",
        "1  reload_refused",
        "1  upstream_reset",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert!(
        !text.contains("tcp_probe") && !text.contains("client_close"),
        "{text}"
    );
    let summary = counts(&["--summary"], &various());
    assert_eq!(summary["failures"][0]["reason"], "origin_not_allowed");
    assert_eq!(summary["failures"][0]["count"], 3);
    assert_eq!(summary["failures"][0]["first"], "2026-01-02T20:38:01.000Z");
    // Refusals that were not written count, with the general advice.
    let text = find(
        &["--summary"],
        &flood().lines().nth(1).unwrap().replace("list it", ""),
    );
    assert!(
        out(&text).contains("1000  origin_not_allowed"),
        "{}",
        out(&text)
    );
    assert!(
        out(&text).contains("routes[].websocket.origins"),
        "{}",
        out(&text)
    );
    let fine = find(
        &["--summary"],
        &refused(1, &json!({"event": "closed", "reason": "client_close"})),
    );
    assert!(out(&fine).contains("nothing went wrong"), "{}", out(&fine));
}

/// What `explain` says of `subject`.
fn explained(subject: &str, input: &str) -> Output {
    command(Path::new("."), "explain", &[subject], input.as_bytes())
}

#[test]
fn explain_takes_what_people_have_in_hand() {
    for (subject, part) in [
        (
            "ORIGIN_NOT_ALLOWED",
            "the Origin is not in the route's list",
        ),
        (
            "origin-not-allowed",
            "the Origin is not in the route's list",
        ),
        (
            "\"reason\":\"origin_not_allowed\",",
            "the Origin is not in the route's list",
        ),
        (
            "reason=origin_not_allowed",
            "the Origin is not in the route's list",
        ),
        ("endpoint_skipped", "is a note"),
        ("1006", "never sent"),
        ("1006", "upstream_eof_no_close"),
        ("1014", "upstream_reset"),
        ("1005", "upstream_close_immediate"),
        ("1008", "explain_refusals"),
        ("4001", "of the application"),
        ("3999", "registered with IANA"),
        ("2999", "reserved_close_code_on_wire"),
        ("403", "upstream_forbidden"),
        ("403", "origin_not_allowed"),
        ("426", "upstream_upgrade_required"),
        ("431", "http_too_large"),
        ("Unexpected server response: 403", "upstream_forbidden"),
        ("HTTP/1.1 404 Not Found", "upstream_not_found"),
        (
            "websocket: close 1006 (abnormal closure): unexpected EOF",
            "never sent",
        ),
        ("_code:8", "intermediate certificate"),
        (
            "open fail: _code:20,_msg:Invalid HTTP status.",
            "was not 101",
        ),
        ("299", "upstream_2xx_instead_of_101"),
        // Messages with other numbers in them.
        ("connect ECONNREFUSED 127.0.0.1:3000", "nothing listens"),
        (
            "2026-11-30 13:00:00 WebSocket closed with code 1006",
            "never sent",
        ),
        (
            "Expected HTTP 101 response but was '403 Forbidden'",
            "upstream_forbidden",
        ),
        ("Close 1008 origin_not_allowed", "not in the route's list"),
        ("closed, code:1006", "never sent"),
        ("net::ERR_CERT_DATE_INVALID", "certificate_expired"),
        ("missing_intermediate", "a finding of wsgate diagnose"),
        (
            r#"{"time":"2026-01-02T03:04:05.678Z","schema":1,"event":"refused","reason":"origin_null"}"#,
            "origin_null",
        ),
    ] {
        let said = explained(subject, "");
        assert!(said.status.success(), "{subject}");
        assert!(out(&said).contains(part), "{subject}: {}", out(&said));
    }
    for (subject, part) in [
        ("origin_not_alowed", "did you mean origin_not_allowed"),
        ("subprotocol", "subprotocol_not_allowed"),
        ("99", "is not the code"),
        ("5000", "is not the code"),
        ("", "is not the code"),
        ("\u{1b}[2J", "is not the code"),
    ] {
        let said = explained(subject, "");
        assert_eq!(said.status.code(), Some(2), "{subject}");
        assert!(err(&said).contains(part), "{subject}: {}", err(&said));
        assert!(!err(&said).contains('\u{1b}'));
    }
    let evil = r#"{"time":"2026-01-02T03:04:05.678Z","schema":1,"event":"refused","problems":["\u009b31m\u202e"]}"#;
    let said = explained(evil, "");
    assert!(
        !out(&said).contains(['\u{9b}', '\u{202e}']),
        "{}",
        out(&said)
    );
    let chinese = command(Path::new("."), "explain", &["1006", "--lang", "zh"], b"");
    assert!(out(&chinese).contains("异常关闭"), "{}", out(&chinese));
}

#[test]
fn explain_reads_records_from_standard_input() {
    let record = refused(
        1,
        &json!({"detail": "of this case", "notes": [{"code": "endpoint_skipped"}]}),
    );
    let text = find(&[], &record);
    for input in [&record, out(&text)] {
        let said = explained("-", input);
        for part in [
            "of this case",
            "list it",
            "the Origin is not in the route's list",
            "endpoint_skipped is a note",
        ] {
            assert!(out(&said).contains(part), "{part}: {}", out(&said));
        }
    }
    let fine =
        refused(1, &json!({"event": "opened"})).replace("\"reason\":\"origin_not_allowed\",", "");
    assert!(out(&explained("-", &fine)).contains("nothing failed"));
    let reload = "{\"time\":\"2026-01-02T20:38:03.000Z\",\"schema\":1,\"event\":\"reload_refused\",\"problems\":[\"p.yaml:3\"]}\n";
    let said = explained("-", reload);
    assert!(
        out(&said).contains("p.yaml:3") && out(&said).contains("about the proxy itself"),
        "{}",
        out(&said)
    );
    let later = refused(1, &json!({"reason": "of_tomorrow"}));
    assert!(out(&explained("-", &later)).contains("no reason has the code \"of_tomorrow\""));
    let many = explained("-", &record.repeat(150));
    assert!(err(&many).contains("50 more records"), "{}", err(&many));
    let nothing = explained("-", "words\n");
    assert_eq!(nothing.status.code(), Some(1));
    assert!(err(&nothing).contains("no record"), "{}", err(&nothing));
}
