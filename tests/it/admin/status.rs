//! `/status.json` of the admin service: it shows what is open now, what happened last, and whether all is well.

use serde_json::{Value, json};

use super::{ECHO, open, request, status};
use crate::harness::frames::{CLOSE, closing, echoes, masked, read};
use crate::harness::services::{admin, ask, get, probes, start};
use crate::harness::upstream::Nobody;
use crate::harness::{Client, Proxy, Setup, eventually, handshake};

/// A handshake that is refused.
#[track_caller]
fn refused(proxy: &Proxy, path: &str, fields: &[(&str, &str)]) {
    let mut client = Client::plain(proxy.address());
    let response = client.send(handshake(path, fields)).response();
    assert!(response.status >= 400, "{response:?}");
    client.rest();
}

/// A tunnel that its client closes with this code.
#[track_caller]
fn closed(proxy: &Proxy, code: u16) {
    let count = proxy.events("closed");
    let mut client = open(proxy, "/ws", &[]);
    client.send(masked(CLOSE, closing(code, "")));
    assert_eq!(read(&mut client).unwrap().0, CLOSE);
    client.rest();
    proxy.event_number("closed", count + 1);
}

/// The field `name` of each shown record.
fn fields<'v>(status: &'v Value, name: &str) -> Vec<&'v str> {
    let records = status["recent"]["records"].as_array().unwrap().iter();
    records
        .map(|record| record[name].as_str().unwrap_or_default())
        .collect()
}

#[test]
fn open_tunnels_are_shown_with_what_has_passed() {
    let proxy = start(&Setup::plain(ECHO));
    let before = status(&proxy, "");
    assert_eq!(before["schema"], 1);
    assert_eq!(
        (&before["phase"], &before["state"]),
        (&json!("ready"), &json!("well"))
    );
    assert_eq!(before["tunnels"]["open"], 0);
    let fields = [("User-Agent", "a phone"), ("X-Request-ID", "r-1")];
    let mut client = open(&proxy, "/ws?token=secret", &fields);
    echoes(&mut client, "hello");
    let shown = eventually("the tunnel with its traffic", || {
        let tunnel = status(&proxy, "")["tunnels"]["shown"][0].clone();
        (tunnel["bytes_upstream_to_client"].as_u64()? > 0).then_some(tunnel)
    });
    let opened = proxy.event("opened");
    for field in [
        "conn",
        "request_id",
        "client",
        "route",
        "upstream",
        "host",
        "path",
        "origin",
    ] {
        assert_eq!(
            shown[field].as_str().unwrap(),
            opened.text(field),
            "{field}"
        );
    }
    assert_eq!(shown["user_agent"], "a phone");
    assert_eq!(shown["endpoint"], "builtin:echo");
    assert_eq!(shown["messages_client_to_upstream"], 1);
    assert_eq!(shown["messages_upstream_to_client"], 1);
    assert_eq!(shown["bytes_client_to_upstream"], 11);
    assert_eq!(shown["bytes_upstream_to_client"], 7);
    assert!(
        shown["idle_ms"].as_u64() <= shown["age_ms"].as_u64(),
        "{shown:#}"
    );
    assert!(!shown.to_string().contains("secret"), "{shown:#}");
    let upstream = &status(&proxy, "")["upstreams"][0];
    assert_eq!(
        (&upstream["is_healthy"], &upstream["in_use"]),
        (&true.into(), &1.into())
    );
    drop(client);
    let closed = proxy.event("closed");
    assert_eq!(closed.text("conn"), shown["conn"].as_str().unwrap());
    eventually("the end of the tunnel", || {
        (status(&proxy, "")["tunnels"]["open"] == 0).then_some(())
    });
    drop(proxy.stop());
}

#[test]
fn tunnels_are_listed_in_the_order_and_selection_that_is_asked_for() {
    let proxy = start(&Setup {
        routes: "  - path: /other\n    websocket: { origins: [\"https://app.example.com\"] }\n    upstream: app\n"
            .to_owned(),
        ..Setup::plain(ECHO)
    });
    let routes = [("/ws", "first"), ("/other", "second"), ("/ws", "third")];
    let mut clients = Vec::new();
    for (path, id) in routes {
        clients.push(open(&proxy, path, &[("X-Request-ID", id)]));
        proxy.event_number("opened", clients.len());
    }
    // Idle times have a precision of 10 ms.
    eventually("some silence", || {
        let all = status(&proxy, "?sort=idle");
        let shown = all["tunnels"]["shown"].as_array()?;
        let is_silent = |tunnel: &Value| tunnel["idle_ms"].as_u64() >= Some(30);
        shown.iter().all(is_silent).then_some(())
    });
    echoes(&mut clients[0], "much");
    let ids = |query: &str| -> Vec<String> {
        let status = status(&proxy, query);
        let shown = status["tunnels"]["shown"].as_array().unwrap().iter();
        shown
            .map(|tunnel| tunnel["request_id"].as_str().unwrap().to_owned())
            .collect()
    };
    eventually("the traffic", || {
        (ids("?sort=bytes&limit=1") == ["first"]).then_some(())
    });
    assert_eq!(ids(""), ["third", "second", "first"]);
    assert_eq!(ids("?sort=oldest"), ["first", "second", "third"]);
    assert_eq!(ids("?sort=idle").last().unwrap(), "first");
    assert_eq!(ids("?route=/other"), ["second"]);
    assert_eq!(ids("?id=third"), ["third"]);
    assert_eq!(ids("?client=127.0.0.1").len(), 3);
    assert_eq!(ids("?client=127.0.0.2").len(), 0);
    assert_eq!(ids("?client=127.0.0.0/8&limit=2").len(), 2);
    let counted = status(&proxy, "?route=/ws&limit=1");
    assert_eq!(counted["tunnels"]["open"], 3);
    assert_eq!(counted["tunnels"]["matching"], 2);
    for (query, said) in [
        ("?sort=up", "sort must be"),
        ("?limit=0", "limit must be"),
        ("?minutes=90", "minutes must be"),
        ("?foo=1", "unknown parameter \"foo\""),
        ("?foo", "unknown parameter \"foo\""),
        (
            "?reason=upstream_refusd",
            "no code is like \"upstream_refusd\"",
        ),
    ] {
        let (status, text) = get(admin(&proxy), &format!("/status.json{query}"));
        assert_eq!(status, 400, "{query}");
        assert!(text.contains(said), "{query}: {text}");
    }
    proxy.stop();
}

#[test]
fn counts_are_those_of_the_records_and_records_are_those_of_the_log() {
    let proxy = start(&Setup::plain(ECHO));
    refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    refused(&proxy, "/elsewhere", &[]);
    closed(&proxy, 1000);
    closed(&proxy, 4001);
    drop(open(&proxy, "/ws", &[]));
    proxy.event_number("closed", 3);
    let all = status(&proxy, "?all=1");
    let totals = &all["totals"];
    assert_eq!(totals["opened"], 3);
    assert_eq!(
        totals["refused"],
        json!({ "origin_not_allowed": 2, "path_not_allowed": 1 })
    );
    assert_eq!(
        totals["ended"],
        json!({ "client_close": 2, "client_eof_no_close": 1 })
    );
    assert_eq!(
        totals["client_sees"],
        json!({ "1000": 1, "1006": 1, "4001": 1 })
    );
    let opened = |minute: &Value| minute["opened"].as_u64().unwrap();
    let minutes = all["minutes"].as_array().unwrap();
    assert_eq!(minutes.iter().map(opened).sum::<u64>(), 3);
    // Each record is the line of the log, and the newest comes first.
    let lines = proxy.lines();
    let is_end = |line: &&crate::harness::Line| ["refused", "closed"].contains(&line.text("event"));
    let mut logged: Vec<_> = lines.iter().filter(is_end).map(|line| &line.0).collect();
    logged.reverse();
    let shown = all["recent"]["records"].as_array().unwrap();
    let shown: Vec<_> = shown
        .iter()
        .filter(|record| record.get("reason").is_some())
        .collect();
    assert_eq!(shown, logged);
    // Without `all`, ordinary ends are left out.
    let failures = status(&proxy, "?reason=*");
    assert_eq!(
        fields(&failures, "reason"),
        [
            "client_eof_no_close",
            "path_not_allowed",
            "origin_not_allowed",
            "origin_not_allowed"
        ]
    );
    // The whole story of one connection.
    let conn = logged.last().unwrap()["conn"].as_str().unwrap();
    let story = status(&proxy, &format!("?id={conn}"));
    assert_eq!(fields(&story, "conn"), [conn]);
    for (query, expected) in [
        ("?reason=origin_*", 2),
        ("?reason=path_not_allowed,client_close&all=1", 3),
        ("?route=/ws&all=1", 5),
        ("?client=127.0.0.1&reason=origin_not_allowed&limit=1", 1),
        ("?client=192.0.2.1", 0),
    ] {
        let found = status(&proxy, query);
        let shown = found["recent"]["records"].as_array().unwrap();
        assert_eq!(shown.len(), expected, "{query}: {shown:#?}");
    }
    let limited = &status(&proxy, "?reason=*&limit=1")["recent"];
    assert_eq!(
        (&limited["matching"], &limited["missed"]),
        (&json!(4), &json!(3))
    );
    let counts = &status(&proxy, "?reason=origin_not_allowed")["totals"];
    assert_eq!(
        (&counts["opened"], &counts["ended"]),
        (&json!(0), &json!({}))
    );
    let of_route = &status(&proxy, "?route=/ws")["totals"];
    assert_eq!(of_route["refused"], json!({ "origin_not_allowed": 2 }));
    proxy.stop();
}

#[test]
fn an_upstream_that_is_down_is_said_first_with_since_when_for_whom_and_what_to_do() {
    let nobody = Nobody::new();
    let proxy = start(&Setup {
        routes: "  - path: /fine\n    websocket: { origins: [\"https://app.example.com\"] }\n    upstream: fine\n"
            .to_owned(),
        extra: String::new(),
        upstream: " }\n  fine: { endpoints: [\"builtin:echo\"]".to_owned(),
        ..Setup::plain(&nobody.url())
    });
    refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    assert_eq!(
        status(&proxy, "")["state"],
        "well",
        "a single refusal is not a problem"
    );
    for _ in 0..3 {
        refused(&proxy, "/ws", &[]);
    }
    let first = proxy.wait("three failures", |lines| {
        let of_upstream = |line: &&crate::harness::Line| line.text("reason") == "upstream_refused";
        let found: Vec<_> = lines.iter().filter(of_upstream).cloned().collect();
        (found.len() == 3).then(|| found[0].clone())
    });
    let bad = status(&proxy, "");
    assert_eq!(bad["state"], "bad");
    let problem = &bad["problems"][0];
    assert_eq!(problem["code"], "upstream_refused");
    assert_eq!(
        (&problem["severity"], &problem["by"]),
        (&json!("bad"), &json!("upstream"))
    );
    assert_eq!(
        (&problem["count"], &problem["recent"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(
        (&problem["share"], &problem["of"]),
        (&json!(100), &json!("handshakes"))
    );
    assert_eq!(problem["different_clients"], 1);
    assert_eq!(
        problem["clients"],
        json!([{ "value": "127.0.0.1", "count": 3 }])
    );
    assert_eq!(problem["routes"], json!([{ "value": "/ws", "count": 3 }]));
    assert_eq!(
        problem["client_sees"],
        json!([{ "value": "1006", "count": 3 }])
    );
    assert_eq!(problem["hint"].as_str().unwrap(), first.text("hint"));
    // The first of them, to the millisecond or so.
    let since = humantime::parse_rfc3339(bad["since"].as_str().unwrap()).unwrap();
    let apart = since
        .duration_since(first.time("time"))
        .unwrap_or_else(|error| error.duration());
    assert!(apart.as_millis() < 1000, "{apart:?}");
    proxy.stop();
}

/// It costs the readers' time, and not that of whoever has to write a record.
#[test]
fn a_query_of_many_patterns_does_not_delay_a_tunnel() {
    let proxy = start(&Setup::plain(ECHO));
    for _ in 0..200 {
        refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    }
    let pattern = "*o*i*g*n*,".repeat(99);
    let (code, _) = get(
        admin(&proxy),
        &format!("/status.json?all=1&reason={pattern}"),
    );
    assert_eq!(code, 200);
    let (code, said) = get(admin(&proxy), &format!("/status.json?reason={pattern}*,*"));
    assert!(
        code == 400 && said.contains("more than 100 codes"),
        "{said}"
    );
    proxy.stop();
}

#[test]
fn conditions_of_the_process_are_problems_too() {
    let setup = Setup {
        limits: "connections: 10".to_owned(),
        ..Setup::plain(ECHO)
    };
    let proxy = start(&setup);
    let codes = |status: &Value| -> Vec<String> {
        let problems = status["problems"].as_array().unwrap().iter();
        problems
            .map(|problem| problem["code"].as_str().unwrap().to_owned())
            .collect()
    };
    let clients: Vec<_> = (0..9).map(|_| open(&proxy, "/ws", &[])).collect();
    let nearly = status(&proxy, "");
    assert_eq!(
        (codes(&nearly), &nearly["state"]),
        (vec!["connections_nearly_full".to_owned()], &json!("look"))
    );
    let last = open(&proxy, "/ws", &[]);
    let full = status(&proxy, "");
    assert_eq!(
        (codes(&full), &full["state"]),
        (vec!["connections_full".to_owned()], &json!("bad"))
    );
    for mut client in clients.into_iter().chain([last]) {
        client.send(masked(CLOSE, closing(1000, "")));
        client.rest();
    }
    proxy.event_number("closed", 10);
    let yaml = std::fs::read_to_string(proxy.folder().join("proxy.yaml")).unwrap();
    proxy.write(&yaml.replace("origins:", "orgins:"));
    let refusal = proxy.event("reload_refused");
    let refused = eventually("the refused configuration", || {
        let status = status(&proxy, "");
        (codes(&status) == ["reload_refused"]).then_some(status)
    });
    assert_eq!(refused["configuration"]["refused"], refusal.0);
    assert_eq!(refused["configuration"]["generation"], 1);
    let since = refused["problems"][0]["since"].as_str().unwrap();
    assert!(since <= refused["time"].as_str().unwrap());
    proxy.write(&yaml);
    eventually("the end of the problem", || {
        let status = status(&proxy, "");
        (status["state"] == "well" && status["configuration"].get("refused").is_none())
            .then_some(())
    });
    proxy.stop();
}

#[test]
fn warnings_of_the_configuration_and_certificates_are_shown() {
    let proxy = start(&Setup::tls(ECHO));
    let before = status(&proxy, "");
    let certificate = &before["certificates"][0];
    assert!(certificate["days_left"].as_i64().unwrap() > 0, "{before:#}");
    assert!(certificate["expires"].as_str().unwrap().ends_with('Z'));
    assert_eq!(before["routes"], json!(["/ws"]));
    let warned = before["configuration"]["warnings"].to_string();
    assert!(!warned.contains("log.level"), "{warned}");
    let file = before["configuration"]["file"].as_str().unwrap();
    assert!(file.ends_with("proxy.yaml"), "{file}");
    let yaml = std::fs::read_to_string(proxy.folder().join("proxy.yaml")).unwrap();
    let reloaded = proxy.reload_with(&yaml.replace("level: debug", "level: error"));
    let after = status(&proxy, "");
    let warnings = after["configuration"]["warnings"].as_array().unwrap();
    assert!(
        warnings
            .iter()
            .any(|warning| warning.to_string().contains("log.level"))
    );
    assert_eq!(warnings, reloaded.0["problems"].as_array().unwrap());
    assert_eq!(after["configuration"]["generation"], 2);
    proxy.stop();
}

#[test]
fn a_flood_is_counted_whole_and_pushes_nothing_else_out() {
    let setup = Setup::plain(ECHO);
    let services =
        "probes: { address: 127.0.0.1:0 }\nadmin: { address: 127.0.0.1:0, history: 64KiB }\n";
    let setup = Setup {
        extra: services.to_owned(),
        ..setup
    };
    let proxy = setup.start_bound(setup.folder(), 3);
    drop(open(&proxy, "/ws", &[]));
    proxy.event("closed");
    for _ in 0..1500 {
        refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    }
    let flooded = status(&proxy, "?reason=*&limit=1000");
    let counted = &flooded["totals"]["refused"];
    assert_eq!(*counted, json!({ "origin_not_allowed": 1500 }));
    let problem = &flooded["problems"][0];
    assert_eq!(
        (&problem["severity"], &problem["count"]),
        (&json!("look"), &json!(1500))
    );
    assert!(fields(&flooded, "reason").contains(&"client_eof_no_close"));
    let bytes = flooded["recent"]["records"].to_string().len();
    assert!(bytes <= 64 << 10, "{bytes}");
    proxy.stop();
}

#[test]
fn what_the_log_leaves_out_because_of_its_level_is_remembered() {
    let proxy = start(&Setup {
        log: "level: warn".to_owned(),
        ..Setup::plain(ECHO)
    });
    refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    let shown = eventually("the refusal", || {
        let status = status(&proxy, "?reason=*");
        let record = status["recent"]["records"].get(0)?.clone();
        Some(record)
    });
    assert_eq!(shown["reason"], "origin_not_allowed");
    assert_eq!(shown["origin"], "https://evil.example");
    assert!(shown["time"].as_str().unwrap().ends_with('Z'));
    proxy.stop();
}

#[test]
fn addresses_of_clients_have_the_form_that_the_log_has() {
    let setup = Setup {
        extra: "probes: { address: 127.0.0.1:0 }\nadmin: { address: 127.0.0.1:0 }\n".to_owned(),
        ..Setup::plain(ECHO)
    };
    let proxy = setup.start_bound(setup.folder(), 3);
    let tunnel = open(&proxy, "/ws", &[]);
    refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    let shown = |query: &str| {
        let status = status(&proxy, query);
        let shown = fields(&status, "client").into_iter().map(str::to_owned);
        shown.collect::<Vec<_>>()
    };
    assert_eq!(shown("?reason=*"), ["127.0.0.1"]);
    // From then on nothing may show more than the log does.
    proxy.reload(&Setup {
        log: "level: debug, client_address: truncated".to_owned(),
        ..setup.clone()
    });
    assert!(shown("?reason=*").is_empty());
    refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    assert_eq!(shown("?client=127.0.0.1"), ["127.0.0.0"]);
    let status_now = status(&proxy, "");
    assert_eq!(
        status_now["problems"][0]["clients"][0]["value"],
        "127.0.0.0"
    );
    // Also of a tunnel that opened before.
    assert_eq!(status_now["tunnels"]["shown"][0]["client"], "127.0.0.0");
    drop(tunnel);
    let closed = proxy.event("closed");
    assert_eq!(
        (closed.text("client"), closed.text("peer")),
        ("127.0.0.0", "127.0.0.0")
    );
    proxy.reload(&Setup {
        log: "level: debug, client_address: off".to_owned(),
        ..setup
    });
    refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    let whole = status(&proxy, "?reason=*").to_string();
    assert!(
        whole.contains("evil.example") && !whole.contains("127.0.0.0"),
        "{whole}"
    );
    proxy.stop();
}

#[test]
fn text_of_peers_stays_text() {
    let proxy = start(&Setup::plain(ECHO));
    let origin = "https://evil.example/</script><img src=x onerror=alert(1)>";
    let fields = [
        ("Origin", origin),
        ("User-Agent", "\u{1b}[31m\u{202e}\"'<b>"),
    ];
    refused(&proxy, "/ws?<script>=1", &fields);
    let response = ask(admin(&proxy), "GET", "/status.json?reason=*");
    assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
    let text = response.text();
    assert!(!text.trim_end().contains(|c: char| c.is_control()));
    assert!(text.is_ascii(), "{text}");
    proxy.stop();
}

#[test]
fn nothing_is_kept_while_there_is_no_admin_service() {
    let plain = Setup::plain(ECHO);
    let proxy = plain.start();
    let before = open(&proxy, "/ws", &[]);
    refused(&proxy, "/ws", &[("Origin", "https://evil.example")]);
    let with_admin = Setup {
        extra: "admin: { address: 127.0.0.1:0 }\n".to_owned(),
        ..plain
    };
    proxy.reload(&with_admin);
    let listening = proxy.wait("the admin listener", |lines| {
        let is_it = |line: &&crate::harness::Line| line.text("detail").starts_with("admin");
        lines
            .iter()
            .find(is_it)
            .map(|line| line.text("listener").to_owned())
    });
    let address = listening.parse().unwrap();
    let read = || -> Value { serde_json::from_str(&get(address, "/status.json").1).unwrap() };
    let first = read();
    assert_eq!(first["tunnels"]["open"], 0, "it opened before");
    assert_eq!(first["totals"]["refused"], json!({}));
    let _second = open(&proxy, "/ws", &[]);
    eventually("the tunnel", || {
        (read()["tunnels"]["open"] == 1).then_some(())
    });
    drop(before);
    proxy.event("closed");
    assert_eq!(
        read()["totals"]["ended"],
        json!({ "client_eof_no_close": 1 })
    );
    proxy.stop();
}

#[test]
fn only_the_operator_may_read_it() {
    let proxy = start(&Setup::plain(ECHO));
    assert_eq!(get(probes(&proxy), "/status.json").0, 404);
    let own = admin(&proxy).to_string();
    let status =
        |host: &str, fields: &[&str]| request(&proxy, "GET /status.json", host, fields).status;
    for field in [
        "Origin: http://127.0.0.1",
        "Origin: https://evil.example",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ] {
        assert_eq!(status(&own, &[field]), 403, "{field}");
    }
    assert_eq!(status("evil.example.com", &[]), 403);
    assert_eq!(status("wsgate.internal", &[]), 403);
    // As through kubectl port-forward or ssh: another port on localhost.
    let forwarded = [
        "Origin: http://localhost:18080",
        "Sec-Fetch-Site: same-origin",
    ];
    assert_eq!(status("localhost:18080", &forwarded), 200);
    assert_eq!(ask(admin(&proxy), "POST", "/status.json").status, 405);
    drop(proxy.stop());
}

#[test]
fn it_answers_for_the_names_that_are_configured() {
    let setup = Setup {
        extra: "admin: { address: 127.0.0.1:0, hosts: [WSgate.internal] }\nprobes: { address: 127.0.0.1:0 }\n"
            .to_owned(),
        ..Setup::plain(ECHO)
    };
    let proxy = setup.start_bound(setup.folder(), 3);
    let origin = ["Origin: http://wsgate.internal:8080"];
    let known = request(&proxy, "GET /status.json", "wsgate.internal:8080", &origin);
    assert_eq!(known.status, 200);
    let other = request(&proxy, "GET /status.json", "x.wsgate.internal", &[]);
    assert_eq!(other.status, 403);
    proxy.stop();
}
