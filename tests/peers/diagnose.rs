//! `wsgate diagnose` against real servers and hops that are set up wrongly.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::certs::{Authority, Kind as Made};
use crate::harness::proxy::knowing_the_authority;
use crate::harness::{between, eventually};
use crate::tools::hops::Hop;
use crate::tools::programs::{Kind, Server};

/// What `diagnose` says of a URL.
#[track_caller]
fn diagnosed(url: &str, arguments: &[&str]) -> Value {
    let output = knowing_the_authority()
        .args(["diagnose", url, "--json", "--lang", "en"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[track_caller]
fn expect(url: &str, arguments: &[&str], finding: &str) -> Value {
    let report = diagnosed(url, arguments);
    // With --compare, the first of two reports.
    let first = report.get("report").unwrap_or(&report);
    assert_eq!(first["verdict"]["finding"], finding, "{report:#}");
    report
}

fn address(server: &Server) -> SocketAddr {
    ([127, 0, 0, 1], u16::try_from(server.port()).unwrap()).into()
}

#[test]
fn real_servers_work() {
    for kind in [Kind::Node, Kind::Python] {
        let server = Server::start(kind, json!({}));
        let url = format!("ws://{}/x", address(&server));
        let report = expect(&url, &["--echo", "hello"], "works");
        let steps = report["steps"].to_string();
        assert!(steps.contains("permessage-deflate"), "{steps}");
        assert!(steps.contains("the message came back"), "{steps}");
    }
}

#[test]
fn nginx_without_upgrade_lines_is_the_hop_that_strips_them() {
    let server = Server::start(Kind::Node, json!({}));
    let direct = format!("ws://{}/x", address(&server));
    let bad = Hop::nginx(address(&server), "");
    let url = format!("ws://{}/x", bad.address());
    // The server answers as it answers a plain request.
    expect(&url, &[], "upgrade_ignored");
    let compared = diagnosed(&url, &["--compare", &direct, "--quick"]);
    assert_eq!(compared["comparison"], "hop", "{compared:#}");
    let good = Hop::nginx(
        address(&server),
        "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;",
    );
    let report = expect(&format!("ws://{}/x", good.address()), &[], "works");
    assert!(report["steps"].to_string().contains("server: nginx"));
}

#[test]
fn envoy_without_upgrade_configs_is_the_gateway_that_refuses_upgrades() {
    let server = Server::start(Kind::Node, json!({}));
    let direct = format!("ws://{}/x", address(&server));
    let bad = Hop::envoy(address(&server), &[]);
    let url = format!("ws://{}/x", bad.address());
    let report = expect(&url, &["--compare", &direct], "upgrade_disabled");
    assert_eq!(report["report"]["verdict"]["answered_by"], "Envoy");
    assert_eq!(report["comparison"], "hop", "{report:#}");
    let good = Hop::envoy(address(&server), &["websocket"]);
    expect(&format!("ws://{}/x", good.address()), &[], "works");
}

#[test]
fn a_gateway_without_its_backend_is_told() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let hop = Hop::nginx(nobody, "");
    let report = expect(&format!("ws://{}/x", hop.address()), &[], "gateway_error");
    assert_eq!(report["verdict"]["answered_by"], "nginx");
}

#[test]
fn the_tunnel_timer_of_haproxy_is_measured() {
    let server = Server::start(Kind::Node, json!({}));
    let hop = Hop::haproxy_with(address(&server), "", "", "timeout tunnel 5s");
    let url = format!("ws://{}/x", hop.address());
    let report = expect(&url, &["--idle", "18s"], "idle_cut");
    let detail = report["verdict"]["detail"].as_str().unwrap();
    let seconds = between(detail, "after ", " s of silence: ");
    assert!((4.5..9.0).contains(&seconds.parse().unwrap()), "{detail}");
    assert!(
        detail.ends_with("send a Ping at least every 2 s"),
        "{detail}"
    );
}

#[test]
fn the_traps_of_node_are_told() {
    let server = Server::program("express_ws.js", &["no_upgrade_listener", "5"]);
    let url = format!("ws://{}/api/realtime-voice/stream", address(&server));
    let report = expect(&url, &[], "not_found");
    assert_eq!(report["verdict"]["answered_by"], "Express");
    for mode in ["unknown_path", "unauthorized"] {
        let server = Server::program("express_ws.js", &[mode, "5"]);
        let url = format!("ws://{}/api/realtime-voice/stream", address(&server));
        expect(&url, &[], "closed_at_once");
    }
    let options = json!({ "refuse": { "status": 403, "headers": {}, "body": "no" } });
    let server = Server::start(Kind::Node, options);
    expect(&format!("ws://{}/x", address(&server)), &[], "forbidden");
}

/// A TLS server of OpenSSL, ended when dropped.
struct OpenSsl {
    child: Child,
    port: u16,
}

impl OpenSsl {
    fn start(kind: Made, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = Authority::shared().write(folder.path(), "a", &["localhost"], kind);
        Self::presenting(&cert, &key, options)
    }

    fn presenting(cert: &Path, key: &Path, options: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www", "-cert"])
            .arg(cert)
            .arg("-key")
            .arg(key)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| line.unwrap().rsplit_once(':')?.1.parse().ok())
            .expect("the port");
        // Nobody reads more, and its output must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }

    fn url(&self) -> String {
        format!("wss://localhost:{}/", self.port)
    }

    fn way(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        eventually("the end of openssl", || self.child.try_wait().unwrap());
    }
}

#[test]
fn a_server_that_old_settings_make_useless_is_told() {
    let asking = ["-tls1_2", "-Verify", "1", "-verify_return_error"];
    let old = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"];
    for (options, finding) in [
        (&asking[..], "client_certificate_required"),
        (&old, "tls_old_ciphers"),
    ] {
        let server = OpenSsl::start(Made::Good, options);
        let arguments = ["--connect-to", &server.way()];
        expect(&server.url(), &arguments, finding);
    }
    // A key of 1024 bits, with which the library would not even shake hands.
    let folder = tempfile::tempdir().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:1024",
            "-nodes",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OpenSsl::presenting(&cert, &key, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
        let arguments = ["--connect-to", &server.way()];
        let report = expect(&server.url(), &arguments, "certificate_self_signed");
        assert_eq!(report["certificates"][0]["key"], "RSA 1024");
        let steps = report["steps"].to_string();
        assert!(steps.contains("certificate_weak_key"), "{steps}");
    }
}

#[test]
fn an_old_tls_version_is_told() {
    for version in ["-tls1", "-tls1_1"] {
        let options = [version, "-cipher", "ALL:@SECLEVEL=0"];
        let server = OpenSsl::start(Made::Rsa, &options);
        let report = expect(
            &server.url(),
            &["--connect-to", &server.way()],
            "tls_version_too_old",
        );
        assert_eq!(report["verdict"]["reason"], "upstream_tls_failed");
    }
    let server = OpenSsl::start(Made::Good, &["-tls1_2"]);
    let report = expect(
        &server.url(),
        &["--connect-to", &server.way()],
        "not_upgraded",
    );
    assert!(
        report["steps"].to_string().contains("TLS 1.2"),
        "{report:#}"
    );
}
