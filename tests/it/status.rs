//! `/status.json` of the admin service: it shows what is open now.

use serde_json::Value;

use crate::harness::frames::echoes;
use crate::harness::services::{admin, ask, get, probes, start};
use crate::harness::{Client, Proxy, Setup, eventually, handshake};

#[track_caller]
fn status(proxy: &Proxy) -> Value {
    let response = ask(admin(proxy), "GET", "/status.json");
    assert_eq!(response.status, 200);
    assert_eq!(response.field("content-type"), Some("application/json"));
    serde_json::from_str(&response.text()).unwrap()
}

#[test]
fn open_tunnels_are_shown_with_what_has_passed() {
    let proxy = start(&Setup::plain("builtin:echo"));
    let before = status(&proxy);
    assert_eq!(before["schema"], 1);
    assert_eq!(before["phase"], "ready");
    assert_eq!(before["tunnels"]["open"], 0);
    let mut client = Client::plain(proxy.address());
    let fields = [("User-Agent", "a phone"), ("X-Request-ID", "r-1")];
    let opening = handshake("/ws?token=secret", &fields);
    assert_eq!(client.send(opening).response().status, 101);
    echoes(&mut client, "hello");
    let shown = eventually("the tunnel with its traffic", || {
        let tunnel = status(&proxy)["tunnels"]["newest"][0].clone();
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
    let upstream = &status(&proxy)["upstreams"][0];
    assert_eq!(
        (&upstream["is_healthy"], &upstream["in_use"]),
        (&true.into(), &1.into())
    );
    drop(client);
    let closed = proxy.event("closed");
    assert_eq!(closed.text("conn"), shown["conn"].as_str().unwrap());
    eventually("the end of the tunnel", || {
        (status(&proxy)["tunnels"]["open"] == 0).then_some(())
    });
    drop(proxy.stop());
}

#[test]
fn certificates_have_their_days_left() {
    let proxy = start(&Setup::tls("builtin:echo"));
    let status = status(&proxy);
    let certificate = &status["certificates"][0];
    assert!(certificate["days_left"].as_i64().unwrap() > 0, "{status:#}");
    assert!(certificate["expires"].as_str().unwrap().ends_with('Z'));
    drop(proxy.stop());
}

#[test]
fn only_the_operator_may_read_it() {
    let proxy = start(&Setup::plain("builtin:echo"));
    assert_eq!(get(probes(&proxy), "/status.json").0, 404);
    let address = admin(&proxy);
    for field in ["Origin: http://127.0.0.1", "Host: evil.example.com"] {
        let host = if field.starts_with("Host") {
            ""
        } else {
            "Host: 127.0.0.1\r\n"
        };
        let request =
            format!("GET /status.json HTTP/1.1\r\n{host}{field}\r\nConnection: close\r\n\r\n");
        let mut client = Client::plain(address);
        assert_eq!(client.send(request).response().status, 403, "{field}");
    }
    assert_eq!(ask(address, "POST", "/status.json").status, 405);
    drop(proxy.stop());
}
