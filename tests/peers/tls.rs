//! Real TLS libraries as clients, and the findings of a scanner.

use std::fs;
use std::process::Command;

use serde_json::json;
use wsgate::reason::Reason;

use crate::harness::Setup;
use crate::harness::certs::{Authority, Kind};
use crate::harness::proxy::HOST;
use crate::tools::programs::{file, tool};

/// sslyze.
mod scanner;

/// Python's asyncio rejects a certificate without an alert; `wsgate check` finds nothing wrong with one from a private
/// authority.
#[test]
fn a_client_that_leaves_without_an_alert_is_no_dead_end() {
    let mut proxy = Setup::tls("builtin:echo").start();
    let url = format!("wss://localhost:{}/ws", proxy.address().port());
    let output = Command::new(tool("WSGATE_PYTHON"))
        .arg(file("py_client.py"))
        .arg(url)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("SSLCertVerificationError") || said.contains("CERTIFICATE_VERIFY"),
        "{said}"
    );
    let line = proxy.terminal();
    let hint = line.text("hint");
    assert!(hint.contains("CN=test authority"), "{line:?}");
    assert!(hint.contains("let the client trust it"), "{line:?}");
    assert!(!hint.contains("run `wsgate check`"), "{line:?}");
}

/// The TLS libraries of Node and Python, with a valid certificate, one from a stranger, and none.
#[test]
fn node_and_python_show_certificates() {
    let authority = Authority::new("client authority");
    let mut setup = Setup::tls("\"builtin:echo\"");
    let tls = setup.tls.as_mut().unwrap();
    tls.push_str("\nclient_auth: { ca: clients.pem, mode: required }");
    let clients = setup.folder();
    fs::write(clients.path().join("clients.pem"), authority.pem()).unwrap();
    let mut proxy = setup.start_in(clients);
    let stranger = Authority::new("another authority");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("ca.pem"), Authority::shared().pem()).unwrap();
    authority.write(folder.path(), "good", &["c"], Kind::Client);
    stranger.write(folder.path(), "bad", &["c"], Kind::Client);
    for (program, probe) in [
        ("WSGATE_NODE", "tls_probe.js"),
        ("WSGATE_PYTHON", "tls_probe.py"),
    ] {
        for version in ["TLSv1.2", "TLSv1.3"] {
            for (name, reason) in [
                (Some("good"), Reason::TlsClosedUnused),
                (Some("bad"), Reason::TlsClientCertInvalid),
                (None, Reason::TlsClientCertMissing),
            ] {
                let mut options = json!({
                    "ca": path("ca.pem"), "servername": HOST,
                    "min_version": version, "max_version": version,
                });
                if let Some(name) = name {
                    options["cert"] = json!(path(&format!("{name}.pem")));
                    options["key"] = json!(path(&format!("{name}-key.pem")));
                }
                let address = proxy.address();
                let output = Command::new(tool(program))
                    .arg(file(probe))
                    .args([&address.ip().to_string(), &address.port().to_string()])
                    .arg(options.to_string())
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stdout);
                let expected = format!("\"ok\":{}", reason == Reason::TlsClosedUnused);
                let told = said.replace(' ', "").contains(&expected);
                assert!(told, "{probe} {version} {name:?}: {said}");
                let line = proxy.terminal();
                assert_eq!(
                    line.text("reason"),
                    reason.code(),
                    "{probe} {version}: {line:?}"
                );
            }
        }
    }
}
