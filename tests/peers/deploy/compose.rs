use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{STREAM, certificate, example, open};
use crate::harness::client::trusting;
use crate::harness::frames::echoes;
use crate::harness::proxy::run;
use crate::harness::{Client, Proxy};
use crate::tools::programs::{file, tool};

const COMPOSE: &str = "deploy/compose.yaml";

/// Parses a file by the Compose specification and prints it as JSON, with all defaults.
const READ: &str = "import sys, compose_spec\n\
    print(compose_spec.PyCompose.from_yaml(sys.stdin.read()).to_json())";

/// A text as the Compose specification reads it.
fn read(text: &str) -> Result<Value, String> {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("compose.yaml");
    fs::write(&input, text).unwrap();
    let output = Command::new(tool("WSGATE_PYTHON"))
        .args(["-c", READ])
        .stdin(fs::File::open(input).unwrap())
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// A duration in a `proxy.yaml`, by its path.
fn duration(yaml: &str, block: &str, key: &str) -> Duration {
    let yaml: Value = serde_yaml::from_str(yaml).unwrap();
    let text = yaml[block][key].as_str().unwrap_or("0s");
    humantime::parse_duration(text).unwrap()
}

#[test]
fn the_compose_file_is_valid_and_strict() {
    let text = fs::read_to_string(COMPOSE).unwrap();
    let compose = read(&text).unwrap();
    let services = compose["services"].as_object().unwrap();
    let names: BTreeSet<_> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["app", "proxy"].into());
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        let options = service["security_opt"].to_string();
        assert!(
            options.contains("no-new-privileges:true"),
            "{name}: {options}"
        );
        assert_eq!(service["healthcheck"]["test"][0], "CMD", "{name}");
        // Only the proxy can be reached from outside.
        assert_eq!(service.get("ports").is_some(), name == "proxy", "{service}");
    }
    let before = services["proxy"]["depends_on"].as_object().unwrap();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["app"]);
    assert_eq!(before["app"]["condition"], "service_healthy");

    // The files that it names exist, except the certificates, which the operator supplies.
    let source: Value = serde_yaml::from_str(&text).unwrap();
    let here = Path::new(COMPOSE).parent().unwrap();
    let build = &source["services"]["proxy"]["build"];
    let context = here.join(build["context"].as_str().unwrap());
    assert!(context.join(build["dockerfile"].as_str().unwrap()).exists());
    let app = source["services"]["app"]["build"].as_str().unwrap();
    assert!(here.join(app).join("Dockerfile").exists());
    let mounts = source["services"]["proxy"]["volumes"].as_array().unwrap();
    let mounts: Vec<_> = mounts
        .iter()
        .map(|mount| mount.as_str().unwrap().split(':').collect::<Vec<_>>())
        .collect();
    assert_eq!(mounts[0][1..], ["/etc/wsgate/proxy.yaml", "ro"]);
    assert!(here.join(mounts[0][0]).exists(), "{mounts:?}");
    assert_eq!(mounts[1][1..], ["/etc/wsgate/certs", "ro"]);
}

#[test]
fn the_time_to_stop_is_enough_for_the_shutdown() {
    let compose: Value = serde_yaml::from_str(&fs::read_to_string(COMPOSE).unwrap()).unwrap();
    let grace = compose["services"]["proxy"]["stop_grace_period"].as_str();
    let grace = humantime::parse_duration(grace.unwrap()).unwrap();
    let proxy = example("express/proxy.yaml", &[]);
    let shutdown = duration(&proxy, "shutdown", "delay") + duration(&proxy, "shutdown", "drain");
    assert!(grace > shutdown, "{grace:?} for {shutdown:?}");
}

#[test]
fn a_wrong_compose_file_is_not_valid() {
    let text = fs::read_to_string(COMPOSE).unwrap();
    for (right, wrong) in [
        ("read_only:", "readonly:"),
        ("service_healthy", "healthy"),
        ("stop_grace_period: 30s", "stop_grace_period: soon"),
    ] {
        assert!(text.contains(right), "{right}");
        assert!(read(&text.replace(right, wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn the_packages_of_the_example_are_those_that_are_tested() {
    let wanted = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        manifest["dependencies"].as_object().unwrap().clone()
    };
    let tested = wanted(&file("package.json"));
    for (name, version) in wanted(Path::new("deploy/express/package.json")) {
        assert_eq!(tested.get(&name), Some(&version), "{name}");
    }
}

/// Starts the example's backend in another folder.
pub(super) fn node(port: &str) -> Command {
    let mut node = Command::new(tool("WSGATE_NODE"));
    node.arg("deploy/express/app.js")
        .env("NODE_PATH", file("node_modules"))
        .env("PORT", port);
    node
}

#[test]
fn the_backend_and_its_proxy_work_together() {
    let mut app = Proxy::follow(tempfile::tempdir().unwrap(), node("0"), 0);
    let started = app.event("app_started");
    let port = started.number("port").unwrap();

    let folder = tempfile::tempdir().unwrap();
    let yaml = example(
        "express/proxy.yaml",
        &[
            ("0.0.0.0:8443", "127.0.0.1:0"),
            ("127.0.0.1:9900", "127.0.0.1:0"),
            ("http://app:3000", &format!("http://127.0.0.1:{port}")),
        ],
    );
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    certificate(folder.path(), "localhost");
    let (code, report, said) = run(&["check"], folder.path());
    assert_eq!(code, 0, "{report}{said}");
    assert!(report.contains("proxy.yaml: ok"), "{report}");

    let mut proxy = Proxy::spawn(folder, None, 1);
    let client = Client::tls_with(proxy.address(), "localhost", trusting()).unwrap();
    let page = [
        ("Host", "localhost:8443"),
        ("Origin", "https://localhost:8443"),
    ];
    let mut client = open(client, STREAM, &page);
    echoes(&mut client, "through both");
    drop(client);
    proxy.terminal();

    // What the backend also serves, over one connection.
    let mut client = Client::tls_with(proxy.address(), "localhost", trusting()).unwrap();
    let mut plain = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:8443\r\n\r\n");
        let response = client.send(request).response();
        let line = proxy.terminal();
        assert_eq!(line.text("event"), "request", "{line:?}");
        assert_eq!(line.number("status"), Some(200), "{line:?}");
        response
    };
    assert_eq!(plain("/health").text(), "ok");
    let history: Value =
        serde_json::from_slice(&plain("/api/realtime-voice/history").body).unwrap();
    assert_eq!(history["items"][0]["bytes"], "through both".len());
    drop(client);
    proxy.stop();
    let backend = || Client::plain(([127, 0, 0, 1], u16::try_from(port).unwrap()).into());

    // A connection that is still open when it stops is closed properly.
    let mut late = open(backend(), STREAM, &[]);
    echoes(&mut late, "still there");
    app.signal("TERM");
    let (first, payload) = crate::harness::frames::read(&mut late).unwrap();
    assert_eq!(first, crate::harness::frames::CLOSE);
    assert_eq!(payload[..2], 1012_u16.to_be_bytes());
    late.send(crate::harness::frames::masked(first, payload));
    assert_eq!(late.rest(), b"");
    drop(late);
    assert_eq!(app.ended().code(), Some(0));
}
