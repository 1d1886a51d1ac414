//! Values of the blocks, and how they fit together.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::policy::{Enforcement, MissingOrigin, Ping};
use crate::reason::Level;

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
    let http2 = |websocket, max_streams| Http2 {
        websocket,
        max_streams,
    };
    assert_eq!(
        (tls.http2, plain.http2),
        (http2(false, 250), http2(true, 100))
    );
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
    assert_eq!(tls.alpn, [Alpn::H2, Alpn::Http11]);
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
    let admin = config.admin.unwrap();
    assert_eq!(admin.address, Some("[::1]:9901".parse().unwrap()));
}

#[test]
fn websockets_over_http2_are_switched_by_words_and_by_booleans() {
    let config = valid("quiet_http2.yaml");
    let read = config.listeners.iter().map(|listener| {
        let alpn = listener.tls.as_ref().unwrap().alpn.as_slice();
        let http2 = listener.http2;
        (alpn, http2.websocket, http2.max_streams)
    });
    let both = &[Alpn::H2, Alpn::Http11][..];
    let expected = [
        (both, true, 100),
        (both, false, 1000),
        (both, true, 1),
        (both, false, 500),
        (&[Alpn::Http11], true, 100),
    ];
    assert_eq!(Vec::from_iter(read), expected);
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
fn an_ipv4_and_an_ipv6_listener_may_share_a_port() {
    let text = shortest().replace(
        "routes:",
        "  - address: \"[::]:8443\"\ntrusted_proxies: [10.0.0.0/8]\nroutes:",
    );
    let text = text.replace("origins:", "ping: off\n      origins:");
    assert_eq!(lines_of(&text), Vec::<String>::new());
}
