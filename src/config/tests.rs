//! The files of `tests/config/` and what they must lead to.

mod hops;
mod schema;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::key::{AnyKey, Block, DefaultValue, Form, Shape};
use super::paths::{self, resolves};
use super::yaml::{self, Aim, Node};
use super::*;
use crate::policy::{Enforcement, MissingOrigin, Ping};
use crate::reason::Level;

/// The environment that the files of `tests/config/` are read with.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "PORT" => "8443",
        "HOST" => "app.example.com",
        "IDLE" => "90s",
        "MOST" => "500",
        "KIB" => "32",
        "EMPTY" => "",
        "INJECTED" => "app\n    websocket: {}",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The files of a folder, by name; never none.
fn files(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no file", folder.display());
    files
}

/// What `outcome` is told as.
fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.problems.iter().map(ToString::to_string).collect()
}

fn parse_text(text: &str) -> Outcome {
    parse(text, Path::new("proxy.yaml"), &environment)
}

fn lines_of(text: &str) -> Vec<String> {
    lines(&parse_text(text))
}

/// A file that reads, to be changed for a test.
fn shortest() -> String {
    let (_, text) = files("valid")
        .into_iter()
        .find(|(name, _)| name == "shortest.yaml")
        .unwrap();
    text
}

#[test]
fn every_invalid_file_gets_exactly_its_lines() {
    let files = files("invalid");
    assert!(files.len() >= 30, "only {} files", files.len());
    for (name, text) in files {
        assert!(text.contains("# expect: "), "{name} expects nothing");
        let outcome = parse(&text, Path::new(&name), &environment);
        assert_lines(&name, &text, &outcome);
        let has_errors = outcome
            .problems
            .iter()
            .any(|p| p.severity == Severity::Error);
        assert_eq!(outcome.config.is_none(), has_errors, "{name}");
    }
}

#[test]
fn ten_faults_are_reported_at_once() {
    let (name, text) = files("invalid")
        .into_iter()
        .find(|(name, _)| name == "ten_faults.yaml")
        .unwrap();
    assert_eq!(
        parse(&text, Path::new(&name), &environment).problems.len(),
        10
    );
}

#[test]
fn every_valid_file_is_read_and_gets_no_other_warnings_than_its_own() {
    let files = files("valid");
    assert!(files.len() >= 5, "only {} files", files.len());
    for (name, text) in files {
        let outcome = parse(&text, Path::new(&name), &environment);
        assert_lines(&name, &text, &outcome);
        assert!(outcome.config.is_some(), "{name}");
        assert_eq!(
            name.starts_with("warn_"),
            !outcome.problems.is_empty(),
            "{name}"
        );
    }
}

/// Holds what `outcome` is told as against the lines `# expect: ` of the file.
fn assert_lines(name: &str, text: &str, outcome: &Outcome) {
    let expected: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# expect: "))
        .collect();
    let found = lines(outcome);
    // Not assert_eq: a report is easier to read as lines.
    assert!(
        expected == found,
        "{name}\nexpected:\n{}\nfound:\n{}",
        expected.join("\n"),
        found.join("\n")
    );
}

#[test]
fn shipped_files_get_no_warning() {
    let environment = |name: &str| {
        let value = match name {
            "LISTEN" => "0.0.0.0:8080",
            "PROBES" => "127.0.0.1:9900",
            "PORT" => "80",
            "APP_PORT" => "3000",
            "WX_APP_ID" => "wx0123456789abcdef",
            _ => return None,
        };
        Some(value.to_owned())
    };
    for name in [
        "proxy.yaml",
        "deploy/proxy.yaml",
        "deploy/express/proxy.yaml",
        "deploy/one-image/proxy.yaml",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let outcome = parse(&fs::read_to_string(&path).unwrap(), &path, &environment);
        assert_eq!(lines(&outcome), Vec::<String>::new());
        assert!(outcome.config.is_some(), "{name}");
    }
}

#[test]
fn many_warnings_are_counted() {
    let route = |n| format!("  - {{ path: /api/{n}, respond: {{}} }}\n");
    let text = "listeners: [{ address: 127.0.0.1:0 }]\nupstreams: { a: { endpoints: [builtin:echo] } }\nroutes:\n  - { path: /*, respond: {} }\n";
    let text: String = text.to_owned() + &(0..2000).map(route).collect::<String>();
    let outcome = parse_text(&text);
    let lines = lines(&outcome);
    assert!(
        outcome.config.is_some() && lines.len() == 201,
        "{}",
        lines.len()
    );
    // One more is about the upstream that nothing leads to.
    assert!(
        lines[200].contains("warning: found 1801 more problems"),
        "{}",
        lines[200]
    );
}

fn valid(name: &str) -> Config {
    let path = Path::new("/etc/wsgate").join(name);
    let text = files("valid")
        .into_iter()
        .find(|(file, _)| file == name)
        .unwrap()
        .1;
    parse(&text, &path, &environment).config.unwrap()
}

#[test]
fn every_value_of_a_full_file_arrives() {
    let config = valid("everything.yaml");
    let [tls, plain] = config.listeners.as_slice() else {
        panic!("{:?}", config.listeners);
    };
    assert_eq!(tls.address, "0.0.0.0:8443".parse::<SocketAddr>().unwrap());
    assert_eq!(plain.address, "[::]:8080".parse::<SocketAddr>().unwrap());
    assert!(plain.tls.is_none());
    assert!(tls.proxy_protocol && !plain.proxy_protocol);
    let tls = tls.tls.as_ref().unwrap();
    assert_eq!(
        tls.certificates,
        [
            CertificateFiles {
                cert: PathBuf::from("/etc/wsgate/certs/fullchain.pem"),
                key: PathBuf::from("/etc/wsgate/certs/privkey.pem"),
                site: "listeners[0].tls.certificates[0]".to_owned(),
                is_development: false,
            },
            CertificateFiles {
                cert: PathBuf::from("/etc/wsgate/other.pem"),
                key: PathBuf::from("/etc/wsgate/other-key.pem"),
                site: "listeners[0].tls.certificates[1]".to_owned(),
                is_development: false,
            },
        ]
    );
    assert!(!tls.self_signed);
    assert_eq!(
        (tls.min_version, tls.unknown_sni),
        (TlsVersion::V1_3, UnknownSni::Default)
    );
    let proxies: Vec<_> = config
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(proxies, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
    let [route] = &*config.routes else {
        panic!("{:?}", config.routes);
    };
    let (forward, rules) = route.websocket().unwrap();
    assert_eq!(forward.upstream, "voice.v2");
    assert_eq!(rules.origins.len(), 4);
    assert_eq!(rules.missing_origin, MissingOrigin::Allow);
    assert_eq!(rules.wechat_app_ids, ["wx0123456789abcdef"]);
    assert_eq!(rules.enforcement, Enforcement::Report);
    assert_eq!(rules.subprotocols, ["voice.v2", "voice.v1"]);
    assert_eq!(rules.idle_timeout, Some(Duration::from_secs(90)));
    let ping = Ping {
        interval: Duration::from_secs(20),
        timeout: Duration::from_secs(7),
    };
    assert_eq!(rules.ping, Some(ping));
    assert_eq!(rules.max_lifetime, Some(Duration::from_secs(12 * 3600)));
    assert_eq!(rules.max_message, Some(1024 * 1024 * 1024));
    assert!(rules.explain_refusals);
    let hop = LoadBalancer {
        name: Some("edge-1".to_owned()),
        idle_timeout: Some(Duration::from_secs(60)),
    };
    assert_eq!(config.load_balancer.as_deref(), Some(&hop));
    let upstream = &config.upstreams["voice.v2"];
    let http = |host: &str, port| Endpoint::Http {
        host: host.to_owned(),
        port,
    };
    let https = |host: &str, port| Endpoint::Https {
        host: host.to_owned(),
        port,
    };
    assert_eq!(
        upstream.endpoints,
        [
            http("127.0.0.1", 3000),
            http("::1", 3000),
            http("backend_1.internal", 80),
            https("app.internal", 443),
            https("2001:db8::7", 8443),
            Endpoint::Unix("/run/app.sock".into()),
            Endpoint::Unix("/etc/wsgate/run/app.sock".into()),
        ]
    );
    assert_eq!(upstream.balance, Balance::ClientIp);
    assert_eq!(upstream.max_tunnels, Some(2000));
    let own = CertificateFiles {
        cert: "/etc/wsgate/certs/own.pem".into(),
        key: "/etc/wsgate/own-key.pem".into(),
        site: "upstreams.voice.v2.tls".to_owned(),
        is_development: false,
    };
    let tls = UpstreamTls {
        ca: Some("/etc/wsgate/certs/ca.pem".into()),
        server_name: Some("app.internal".to_owned()),
        identity: Some(own),
    };
    assert_eq!(upstream.tls, tls);
    let check = HealthCheck {
        path: "/health?deep=1".to_owned(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
    };
    assert_eq!(upstream.health_check, Some(check));
    assert_eq!(upstream.connect_timeout, Duration::from_millis(500));
    assert_eq!(upstream.handshake_timeout, Duration::from_secs(120));
    assert_eq!(upstream.on_abort, OnAbort::Transparent);
    assert_eq!(
        config.limits,
        Limits {
            connections: 20_000,
            connections_per_client: Some(50),
            handshakes_per_client: None,
            header_bytes: 64 * 1024,
            tls_handshake: Duration::from_secs(5),
            request_head: Duration::from_secs(6),
            keep_alive: Duration::from_secs(90),
            write_stall: Duration::from_secs(7),
            close_wait: Duration::from_secs(8),
        }
    );
    assert_eq!(
        config.shutdown,
        Shutdown {
            delay: Duration::from_secs(10),
            drain: Duration::from_secs(3600),
            spread: Duration::from_secs(30),
            close_code: 4000,
            grace_period: Some(Duration::from_secs(4000)),
        }
    );
    assert_eq!(
        config.log,
        Log {
            level: Level::Debug,
            format: LogFormat::Json,
            query_keep: vec!["room".to_owned(), "lang".to_owned()],
            client_address: ClientAddress::Truncated,
        }
    );
    assert_eq!(config.probes, Some("0.0.0.0:9900".parse().unwrap()));
    assert_eq!(config.admin, Some("[::1]:9901".parse().unwrap()));
}

/// The shortest file with `more` at its end, and what is said of it without the place.
fn with(more: &str) -> (Option<Config>, Vec<String>) {
    let outcome = parse_text(&(shortest() + more));
    let said = |problem: &Problem| {
        let line = problem.to_string();
        line.splitn(4, ':').nth(3).unwrap().trim().to_owned()
    };
    let said = outcome.problems.iter().map(said).collect();
    (outcome.config, said)
}

#[test]
fn the_times_of_a_shutdown_fit_each_other() {
    // In milliseconds: delay, drain, spread.
    for (keys, times) in [
        ("delay: 0s", (0, 20_000, 5000)),
        ("delay: 0", (0, 20_000, 5000)),
        ("delay: 10s, spread: 0s", (10_000, 20_000, 0)),
        ("spread: 15s", (0, 20_000, 15_000)),
        ("drain: 12s", (0, 12_000, 5000)),
        // What is not written gives way.
        ("drain: 8s", (0, 8000, 3000)),
        ("drain: 5s", (0, 5000, 0)),
    ] {
        let (config, said) = with(&format!("shutdown: {{ {keys} }}\n"));
        assert_eq!(said, Vec::<String>::new(), "{keys}");
        let shutdown = config.unwrap().shutdown;
        let found = [shutdown.delay, shutdown.drain, shutdown.spread];
        let found = found.map(|time| time.as_millis());
        assert_eq!(found, [times.0, times.1, times.2], "{keys}");
    }
    for (more, line) in [
        (
            "shutdown: { spread: 21s }",
            "error: shutdown.spread: found 21s, longer than shutdown.drain (20s), after which every tunnel is cut",
        ),
        (
            "shutdown: { drain: 3s, spread: 4s }",
            "error: shutdown.spread: found 4s, longer than shutdown.drain (3s), after which every tunnel is cut",
        ),
        (
            "shutdown: { spread: 16s }",
            "warning: shutdown.spread: shutdown.spread (16s) and limits.close_wait (5s) take longer than shutdown.drain (20s), which may cut tunnels before they have answered their Close",
        ),
        (
            "shutdown: { drain: 4s }",
            "warning: shutdown.drain: shutdown.spread (0s) and limits.close_wait (5s) take longer than shutdown.drain (4s), which may cut tunnels before they have answered their Close",
        ),
        (
            "limits: { close_wait: 21s }",
            "warning: limits: shutdown.spread (0s) and limits.close_wait (21s) take longer than shutdown.drain (20s), which may cut tunnels before they have answered their Close",
        ),
        (
            "shutdown: { delay: off }",
            "error: shutdown.delay: found \"off\", expected a duration such as 10s, 500ms, 2m or 1h, or 0s; write 0s",
        ),
        (
            "shutdown: { drain: 0s, spread: 30s }",
            "error: shutdown.drain: found \"0s\", expected more than zero; write 1s",
        ),
        (
            "shutdown: { drain: 3s, spread: 5 }",
            "error: shutdown.spread: found the number 5, expected a duration such as 10s, 500ms, 2m or 1h, or 0s; write 5s",
        ),
    ] {
        let (config, said) = with(&format!("{more}\n"));
        assert_eq!(said, [line], "{more}");
        assert_eq!(config.is_some(), line.starts_with("warning"), "{more}");
    }
}

#[test]
fn close_codes_are_those_that_fit_a_shutdown() {
    let with_code = |code: &str| with(&format!("shutdown: {{ close_code: {code} }}\n"));
    for code in [1000, 1001, 1012, 1013, 3000, 4000, 4999] {
        let (config, said) = with_code(&code.to_string());
        assert_eq!(said, Vec::<String>::new(), "{code}");
        assert_eq!(config.unwrap().shutdown.close_code, code);
    }
    let wire = ", which is never sent (RFC 6455 section 7.4.1)";
    let fault = ", which means a fault, not a shutdown";
    let other = ", which programs may not send (RFC 6455 section 7.4.2)";
    for (code, why) in [
        ("1004", wire),
        ("1005", wire),
        ("1006", wire),
        ("1015", wire),
        ("1002", fault),
        ("1003", fault),
        ("1011", fault),
        ("1014", fault),
        ("0", other),
        ("999", other),
        ("1016", other),
        ("2999", other),
        ("5000", other),
        ("65536", ""),
        ("-1", ""),
    ] {
        let (config, said) = with_code(code);
        let line = format!(
            "error: shutdown.close_code: found the number {code}{why}, expected 1000, 1001, 1012, 1013 or 3000 to 4999"
        );
        assert_eq!(said, [line]);
        assert!(config.is_none());
    }
    let (_, said) = with_code("going away");
    assert!(
        said[0].contains("found \"going away\", expected 1000"),
        "{said:?}"
    );
}

#[test]
fn a_ping_comes_before_the_load_balancer_loses_patience() {
    let with = |websocket: &str, hop: &str| {
        let text = shortest().replace(
            "    upstream:",
            &format!("      {websocket}\n    upstream:"),
        );
        let outcome = parse_text(&(text + hop));
        let said = lines(&outcome).join("\n");
        (outcome.config, said)
    };
    let hop = "load_balancer: { idle_timeout: 60s }\n";
    for (websocket, hop) in [
        ("ping: { interval: 59s }", hop),
        (
            "ping: { interval: 60s }",
            "load_balancer: { name: edge, idle_timeout: 2m }\n",
        ),
        ("ping: off", hop),
        ("ping: \"off\"", hop),
    ] {
        let (config, said) = with(websocket, hop);
        assert_eq!(said, "", "{websocket} {hop}");
        let ping = config.unwrap().routes[0].websocket().unwrap().1.ping;
        assert_eq!(ping.is_none(), websocket.contains("off"), "{websocket}");
        if let Some(ping) = ping {
            assert_eq!(ping.timeout, Duration::from_secs(10));
        }
    }
    // A hop of which nothing is said can't be held against anything, and that is said.
    let (_, said) = with("ping: { interval: 59s }", "load_balancer: {}\n");
    assert!(
        said.contains("load_balancer: found neither name nor idle_timeout") && !said.contains('\n'),
        "{said}"
    );
    for (interval, shown) in [("60s", "1m"), ("2m", "2m")] {
        let (config, said) = with(&format!("ping: {{ interval: {interval} }}"), hop);
        let line = format!(
            "warning: routes[0].websocket.ping.interval: found {shown}, not shorter than \
             load_balancer.idle_timeout (1m): a silent tunnel may be closed before its Ping; write 20s"
        );
        assert!(said.ends_with(&line), "{said}");
        assert!(config.is_some(), "a warning leaves it usable");
    }
}

#[test]
fn values_come_from_the_environment() {
    let config = valid("environment.yaml");
    assert_eq!(config.listeners[0].address.port(), 8443);
    assert_eq!(config.limits.connections, 500);
    assert_eq!(config.limits.header_bytes, 32 * 1024);
    assert_eq!(
        config.routes[0].websocket().unwrap().1.idle_timeout,
        Some(Duration::from_secs(90))
    );
    let endpoint = &config.upstreams["app"].endpoints[0];
    assert!(matches!(endpoint, Endpoint::Http { host, .. } if host == "app.example.com"));
}

#[test]
fn the_development_certificate_lies_beside_the_file() {
    let config = valid("development.yaml");
    let tls = config.listeners[0].tls.clone().unwrap();
    assert!(tls.self_signed);
    assert_eq!(
        tls.certificates,
        [CertificateFiles {
            cert: PathBuf::from("/etc/wsgate/certs/dev.pem"),
            key: PathBuf::from("/etc/wsgate/certs/dev-key.pem"),
            site: "listeners[0].tls.self_signed".to_owned(),
            is_development: true,
        }]
    );
    assert_eq!(config.upstreams["echo"].endpoints, [Endpoint::Echo]);
}

#[test]
fn the_defaults_of_the_reference_are_the_ones_in_use() {
    let written_out = files("valid")
        .into_iter()
        .find(|(name, _)| name == "defaults.yaml")
        .unwrap()
        .1;
    for (path, key) in paths::keys() {
        let DefaultValue::Value(default) = key.default() else {
            continue;
        };
        let default = written(&default);
        let is_writable = match path.as_str() {
            // An empty list of app ids is refused: it says nothing.
            "routes[].websocket.wechat_app_ids" => false,
            // By default there is no mapping that it could stand in.
            "routes[].websocket.ping.timeout"
            | "listeners[].tls.client_auth.mode"
            | "upstreams.*.health_check.interval"
            | "upstreams.*.health_check.timeout" => false,
            path if path.starts_with("routes[].http.") => false,
            path if path.starts_with("routes[].respond.") => false,
            _ => default != "{}",
        };
        if is_writable {
            let line = format!("{}: {default}", key.name());
            assert!(
                written_out.lines().any(|found| found.trim_start() == line),
                "{path}: {line}"
            );
        }
    }
    let debug = |name| format!("{:?}", valid(name));
    assert_eq!(debug("defaults.yaml"), debug("shortest.yaml"));
}

#[test]
fn certificates_are_listed_whatever_else_is_wrong() {
    let text = shortest()
        .replace("routes:", "rotues:")
        .replace("0.0.0.0:8443", "nowhere");
    let outcome = parse_text(&text);
    assert!(outcome.config.is_none());
    assert_eq!(outcome.certificates.len(), 1);
    assert_eq!(
        outcome.certificates[0].cert,
        Path::new("certs/fullchain.pem")
    );
}

#[test]
fn a_source_places_what_others_find() {
    let outcome = parse_text(&shortest());
    let at = |site: &str| {
        let problem = outcome
            .source
            .problem(Severity::Error, site, "cannot be read");
        (problem.line, problem.column)
    };
    let site = "listeners[0].tls.certificates[0]";
    assert_eq!(at(site), (5, 11));
    assert_eq!(at(&format!("{site}.cert")), (5, 19));
    assert_eq!(at(&format!("{site}.key")), (5, 45));
    assert_eq!(at(&format!("{site}.chain")), (5, 11));
    assert_eq!(at("listeners[7].tls"), (2, 3));
    assert_eq!(at("nowhere"), (1, 1));
    let problem = outcome
        .source
        .problem(Severity::Error, &format!("{site}.cert"), "is empty");
    assert_eq!(
        problem.to_string(),
        "proxy.yaml:5:19: error: listeners[0].tls.certificates[0].cert: is empty"
    );
}

#[test]
fn a_source_tells_names_with_dots_apart() {
    let text = "upstreams:\n  a: { endpoints: 1 }\n  a.b: { endpoints: 2 }\n";
    let outcome = parse_text(text);
    let problem = outcome
        .source
        .problem(Severity::Warning, "upstreams.a.b.endpoints", "");
    assert_eq!((problem.line, problem.column), (3, 21));
}

#[test]
fn locate_finds_keys_values_and_items() {
    let text = "a: 1\nb:\n  - x\n  - { c: é, d: [y, z] }\n? e\n: &n {f: 2}\ng: *n\n";
    let at = |path: &[usize], aim| yaml::locate(text, path, aim);
    assert_eq!(at(&[], Aim::Value), Some((1, 1)));
    assert_eq!(at(&[0], Aim::Key), Some((1, 1)));
    assert_eq!(at(&[0], Aim::Value), Some((1, 4)));
    assert_eq!(at(&[1], Aim::Key), Some((2, 1)));
    assert_eq!(at(&[1], Aim::Value), Some((3, 3)));
    assert_eq!(at(&[1, 0], Aim::Value), Some((3, 5)));
    assert_eq!(at(&[1, 1], Aim::Value), Some((4, 5)));
    assert_eq!(at(&[1, 1, 1], Aim::Key), Some((4, 13)));
    assert_eq!(at(&[1, 1, 1, 1], Aim::Value), Some((4, 20)));
    assert_eq!(at(&[2], Aim::Key), Some((5, 3)));
    assert_eq!(at(&[3], Aim::Key), Some((7, 1)));
    // What an alias stands for is where it was written.
    assert_eq!(at(&[3, 0], Aim::Value), Some((6, 10)));
}

#[test]
fn the_tree_keeps_what_yaml_says() {
    let text = "a: [1, -2, 1.5, true, ~, 'on', on, \"12\", 0x10, 007]\n12: {}\n";
    let number = |text: &str| Node::Number(text.to_owned());
    let word = |text: &str| Node::Text(text.to_owned());
    let list = vec![
        number("1"),
        number("-2"),
        number("1.5"),
        Node::Bool(true),
        Node::Null,
        word("on"),
        word("on"),
        word("12"),
        number("16"),
        word("007"),
    ];
    assert_eq!(
        yaml::parse(text),
        Ok(Node::Map(vec![
            ("a".to_owned(), Node::List(list)),
            ("12".to_owned(), Node::Map(Vec::new())),
        ]))
    );
}

/// What `work` gives, and the processor's time that it takes.
fn costing<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    use rustix::time::{ClockId, clock_gettime};
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            time.tv_sec.try_into().unwrap(),
            time.tv_nsec.try_into().unwrap(),
        )
    };
    let before = now();
    let done = work();
    (done, now() - before)
}

#[test]
fn hostile_files_end_soon_and_in_words() {
    let plain = format!("a:\n{}", "  - x\n".repeat(90_000));
    let (_, whole) = costing(|| lines_of(&plain));
    let bomb: String = (1..12)
        .map(|n| {
            format!(
                "a{n}: &a{n} [{}]\n",
                vec![format!("*a{}", n - 1); 20].join(", ")
            )
        })
        .collect();
    let bomb = format!("a0: &a0 [x, x, x, x]\n{bomb}");
    let deep = 200_000;
    let large = 1024 * 1024;
    let directives: String = (0..50_000).map(|n| format!("%TAG !a{n}! b\n")).collect();
    let many = |line: fn(usize) -> String| (0..30_000).map(line).collect::<String>();
    let cases = [
        (bomb, "too many values"),
        ("[".repeat(10_000), "nested too deeply"),
        ("[".repeat(large), "too many for a file of this size"),
        ("[,".repeat(large / 2), "too many for a file"),
        ("[a: ".repeat(large / 4), "too many for a file"),
        ("[\n".repeat(large / 2), "too many for a file"),
        ("{a: [".repeat(large / 5), "too many for a file"),
        ("[ #]\n".repeat(large / 5), "too many for a file"),
        (
            format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
            "nested too deeply",
        ),
        (
            "[a: ".repeat(5_000) + &"a,".repeat(400_000),
            "too many for a file",
        ),
        (directives + "--- a", "more than 16 lines that start with %"),
        ("--- a\n".repeat(large / 6), "a second YAML document"),
        ("- ? ".repeat(large / 4), "as a key"),
        (
            format!(
                "a: &a {}\nb:\n{}",
                "x".repeat(large / 2),
                "- *a\n".repeat(50_000)
            ),
            "too much text",
        ),
        (
            format!(
                "a: &a [{}]\nb:\n{}",
                "x,".repeat(1_000),
                "- *a\n".repeat(50_000)
            ),
            "too many values",
        ),
        (many(|n| format!("key_{n}: 1\n")), "more problems"),
        (
            "trusted_proxies:\n".to_owned() + &many(|n| format!("  - {n}.0.0.0/240\n")),
            "more problems",
        ),
        (
            "routes:\n  - path: /a\n    websocket:\n      origins:\n".to_owned()
                + &many(|n| format!("        - https://a{n}.example\n")),
            "missing required key",
        ),
        (
            "routes:\n  - path: /a\n    websocket:\n      subprotocols:\n".to_owned()
                + &many(|n| format!("        - a{n}\n")),
            "missing required key",
        ),
        (
            format!("a: \"{}\"", "x\n ".repeat(large / 4)),
            "unknown key",
        ),
        (format!("a: {}", "x\n ".repeat(large / 4)), "unknown key"),
        (format!("a: |\n{}", " x\n".repeat(large / 4)), "unknown key"),
        ("- ".repeat(deep), "nested too deeply"),
        ("{a: ".repeat(deep / 2), "too many for a file"),
        ("{a: ".repeat(10_000), "nested too deeply"),
        ("? ".repeat(deep), "as a key"),
        ("a: &a [*a]\n".to_owned(), "nested too deeply"),
        ("!a ".repeat(deep / 2), "a YAML tag"),
        ("x: 1\n".repeat(deep / 3), "too many values"),
        ("x: 1\n".repeat(5_000), "more problems"),
        (
            format!("listeners: [{}]", "1, ".repeat(deep)),
            "too many values",
        ),
        (format!("a: {}", "*".repeat(deep)), "reads as an alias"),
        (format!("{}: 1", "k".repeat(deep)), "not valid YAML"),
        (
            format!("routes: \"{}\"", "$".repeat(deep)),
            "expected a list",
        ),
    ];
    for (text, words) in cases {
        let start = text.chars().take(20).collect::<String>();
        let (lines, cost) = costing(|| lines_of(&text));
        assert!(
            lines.iter().any(|line| line.contains(words)),
            "{start}: {lines:?}"
        );
        assert!(
            lines.len() <= 201 && lines.iter().all(|line| line.len() < 1000),
            "{start}"
        );
        assert!(
            cost < whole * 150,
            "{start}: {cost:?}, where an ordinary large file takes {whole:?}"
        );
    }
}

#[test]
fn many_problems_are_counted_when_not_shown() {
    let text: String = (0..300).map(|n| format!("key_{n}: 1\n")).collect();
    let lines = lines_of(&text);
    assert_eq!(lines.len(), 201);
    // 300 unknown keys and 3 missing ones.
    assert_eq!(
        lines[200],
        "proxy.yaml:200:1: error: found 103 more problems; they are shown when these are fixed"
    );
}

#[test]
fn problems_come_by_line() {
    for (name, text) in files("invalid") {
        let problems = parse(&text, Path::new(&name), &environment).problems;
        let places: Vec<_> = problems.iter().map(|p| (p.line, p.column)).collect();
        assert!(places.is_sorted(), "{name}: {places:?}");
    }
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let line = |path: &Path| {
        let outcome = read(path);
        assert!(outcome.config.is_none());
        let lines = lines(&outcome);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].replace(&format!("{}/", folder.path().display()), "")
    };
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    assert_eq!(
        line(&folder.path().join("none.yaml")),
        "none.yaml:1:1: error: found no such file; name the file with --config"
    );
    fs::create_dir(folder.path().join("sub")).unwrap();
    assert_eq!(
        line(&folder.path().join("sub")),
        "sub:1:1: error: found a folder, expected a file; name the file in it with --config"
    );
    assert_eq!(
        line(&write("latin.yaml", b"log:\n  level: caf\xe9\n")),
        "latin.yaml:2:13: error: found a byte that is not UTF-8; save the file as UTF-8"
    );
    assert_eq!(
        line(&write("large.yaml", " ".repeat(1024 * 1024 + 1).as_bytes())),
        "large.yaml:1:1: error: found more than 1 MiB, the limit for a configuration"
    );
    assert_eq!(
        line(&write("empty.yaml", b"")),
        "empty.yaml:1:1: error: the file is empty, expected the keys listeners, routes, upstreams"
    );
}

#[test]
fn a_file_with_a_byte_order_mark_and_other_line_ends_is_read() {
    let text = format!("\u{feff}{}", shortest().replace('\n', "\r\n"));
    assert_eq!(lines_of(&text), Vec::<String>::new());
    let text = text
        .replace("origins", "orgins")
        .replace("listeners", "listener");
    let lines = lines_of(&text);
    assert!(lines[0].starts_with("proxy.yaml:1:1: "), "{lines:?}");
    assert!(lines[1].starts_with("proxy.yaml:9:7: "), "{lines:?}");
}

#[test]
fn an_ipv4_and_an_ipv6_listener_may_share_a_port() {
    let text = shortest().replace(
        "routes:",
        "  - address: \"[::]:8443\"\ntrusted_proxies: [10.0.0.0/8]\nroutes:",
    );
    let text = text.replace("origins:", "ping: off\n      origins:");
    assert_eq!(lines_of(&text), Vec::<String>::new());
}

#[test]
fn key_paths_resolve() {
    let keys = paths::keys();
    assert!(keys.len() > 30);
    for (path, _) in &keys {
        assert!(resolves(path), "{path}");
    }
    for path in [
        "trusted_proxies[]",
        "upstreams.*",
        "listeners[]",
        "routes[].websocket",
        "routes[].websocket.ping",
        "routes[].websocket.ping.interval",
    ] {
        assert!(resolves(path), "{path}");
    }
    for path in [
        "",
        "listener",
        "listeners.address",
        "listeners[].tls[].certificates",
        "listeners[].tls.certificates.cert",
        "listeners[].tls.alpn",
        "routes[].websocket.pong",
        "routes[].websocket.ping[].interval",
        "upstreams.app.connect_timeout",
        "upstreams.connect_timeout",
        "upstreams[]",
        "limits.connections.x",
        "limits.connections[]",
        "limits.",
        "trusted_proxies[].x",
        "log.level ",
    ] {
        assert!(!resolves(path), "{path}");
    }
}

#[test]
fn no_planned_key_is_one_that_this_version_has() {
    fn walk(block: &'static Block) {
        for name in block.planned {
            assert!(block.key(name).is_none(), "{name}");
        }
        for key in block.keys {
            if let Shape::Section(_, inner) = key.shape() {
                walk(inner);
            }
        }
    }
    walk(blocks::RootKeys::BLOCK);
}

/// The row that `docs/configuration.md` has for a key.
fn row(path: &str, key: &dyn AnyKey) -> String {
    let kind = match key.shape() {
        Shape::Value(value) => value.words(),
        Shape::Section(Form::Mapping | Form::OptionalMapping, _) => "mapping".to_owned(),
        Shape::Section(Form::MappingOrOff, _) => "mapping or `off`".to_owned(),
        Shape::Section(Form::List | Form::OptionalList, _) => "list of mappings".to_owned(),
        Shape::Section(Form::Named, _) => "mapping from names to mappings".to_owned(),
    };
    let default = match key.default() {
        DefaultValue::Required => "required".to_owned(),
        DefaultValue::Word(word) => word.to_owned(),
        DefaultValue::Value(value) => format!("`{}`", written(&value)),
    };
    format!("| `{path}` | {kind} | {default} | {} |", key.about())
}

/// How a default is written.
fn written(value: &serde_json::Value) -> String {
    use serde_json::Value as Json;
    match value {
        Json::String(text) => text.clone(),
        Json::Array(items) if !items.is_empty() => {
            let items: Vec<_> = items.iter().map(written).collect();
            items.join(", ")
        }
        other => other.to_string(),
    }
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(path).unwrap();
    let expected: BTreeSet<_> = paths::keys()
        .iter()
        .map(|(path, key)| row(path, *key))
        .collect();
    let found: BTreeSet<_> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(str::to_owned)
        .collect();
    for row in &found {
        let path = row.split('`').nth(1).unwrap();
        assert!(resolves(path), "{path}");
    }
    let missing: Vec<_> = expected.difference(&found).cloned().collect();
    let outdated: Vec<_> = found.difference(&expected).cloned().collect();
    assert!(
        missing.is_empty(),
        "missing:\n{}\nthere:\n{}",
        missing.join("\n"),
        outdated.join("\n")
    );
    assert!(outdated.is_empty(), "{}", outdated.join("\n"));
}

#[test]
fn the_examples_of_the_reference_are_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(path).unwrap();
    let examples: Vec<_> = text
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        assert_eq!(lines_of(example), Vec::<String>::new(), "{example}");
    }
}

#[test]
fn the_report_of_the_reference_is_the_one_that_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(path).unwrap();
    let report: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("proxy.yaml:"))
        .collect();
    assert!(!report.is_empty());
    let faulty = shortest()
        .replace("origins:", "orgins:")
        .replace("upstream: app", "upstream: ap")
        .replace("http://127", "127");
    assert_eq!(report, lines_of(&faulty));
}

#[test]
fn one_module_names_the_yaml_library() {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if fs::read_to_string(&path)
                .unwrap()
                .contains(concat!("serde", "_yaml"))
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    walk(&src, &mut found);
    assert_eq!(found, [src.join("config/yaml.rs")]);
}

/// The processor's time that this thread needs for a configuration, the least of two: what else runs can only add to it.
fn cost(text: &str) -> Duration {
    let used = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap()
    };
    let measured = (0..2).map(|_| {
        let before = used();
        let outcome = parse(text, Path::new("proxy.yaml"), &|_| None);
        let cost = used() - before;
        let is_error = |problem: &&Problem| problem.severity == Severity::Error;
        let error = outcome.problems.iter().find(is_error);
        assert!(error.is_none(), "{error:?}");
        cost
    });
    measured.min().unwrap()
}

/// No rule holds each entry of a list against each other one: eight times as many cost eight times as much, not 64 times.
#[test]
fn a_long_list_costs_in_proportion_to_its_length() {
    const UPSTREAM: &str = "upstreams: { app: { endpoints: [http://127.0.0.1:1] } }\n";
    const LISTENER: &str = "listeners: [{ address: 127.0.0.1:0 }]\n";
    const ROUTE: &str = "routes: [{ path: /a, respond: {} }]\n";
    /// What comes before it, how many, an entry, what comes after it.
    type List = (&'static str, usize, fn(usize) -> String, &'static str);
    let lists: [List; 7] = [
        (
            "listeners:\n",
            2_000,
            |n| format!("  - address: 127.0.0.1:{}\n", n + 1),
            ROUTE,
        ),
        (
            "listeners:\n",
            2_000,
            |n| format!("  - address: 127.1.{}.{}:80\n", n / 256, n % 256),
            ROUTE,
        ),
        (
            "routes:\n",
            1_500,
            |n| format!("  - {{ path: /{n}, respond: {{}} }}\n"),
            LISTENER,
        ),
        (
            "routes:\n",
            1_500,
            |n| format!("  - {{ host: a{n}.example, path: /a, respond: {{}} }}\n"),
            LISTENER,
        ),
        (
            "trusted_proxies:\n",
            4_000,
            |n| format!("  - 10.1.{}.{}\n", n / 256, n % 256),
            "listeners: [{ address: 127.0.0.1:0 }]\nroutes: [{ path: /a, respond: {} }]\n",
        ),
        (
            "routes:\n  - path: /a\n    upstream: app\n    websocket:\n      origins:\n",
            2_000,
            |n| format!("        - https://a{n}.example\n"),
            LISTENER,
        ),
        (
            "routes:\n  - path: /a\n    upstream: app\n    http:\n      methods:\n",
            2_000,
            |n| format!("        - A{n}\n"),
            LISTENER,
        ),
    ];
    for (begin, count, entry, end) in lists {
        let text = |count| {
            let entries = (0..count).map(entry);
            UPSTREAM.to_owned() + begin + &entries.collect::<String>() + end
        };
        let (few, many) = (cost(&text(count)), cost(&text(8 * count)));
        assert!(many < few * 24, "{begin}: {few:?}, then {many:?}");
    }
}

#[test]
fn look_alikes_are_told_in_paths_of_certificates_and_in_variables() {
    let text = shortest().replace("certs/fullchain.pem", "certs/full\u{a0}chain.pem");
    let outcome = parse_text(&text);
    let site = "listeners[0].tls.certificates[0].cert";
    let message = "can't read certs/full\u{a0}chain.pem: No such file";
    let told = outcome
        .source
        .problem(Severity::Error, site, message)
        .to_string();
    assert!(told.contains("found an unusual space (U+00A0)"), "{told}");

    let text = shortest().replace("[http://127.0.0.1:3000]", "[\"http://127.0.0.1:${PORT}\"]");
    let environment = |_: &str| Some("3000\u{200b}".to_owned());
    let outcome = parse(&text, Path::new("proxy.yaml"), &environment);
    let told = lines(&outcome).join("\n");
    assert!(
        told.contains("in environment variable PORT: found an invisible character (U+200B)"),
        "{told}"
    );
}
