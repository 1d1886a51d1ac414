//! The end of a pod without a cluster: the real proxy and the real application, and the kubelet's actions in their
//! order. The hooks of all containers run first, at the same time. Then the application gets its SIGTERM. When it has
//! ended, the sidecar gets its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::{containers, hook, proxy_yaml};
use crate::harness::certs::{Authority, Kind};
use crate::harness::proxy::{ORIGIN, is_terminal, program};
use crate::harness::services::get;
use crate::harness::{Proxy, eventually};
use crate::tools::programs::{Client, Family, tool};

use super::super::{STREAM, compose};
use crate::harness::ports::own_port;

/// Tunnels that are open when the pod begins to end.
const TUNNELS: u64 = 60;

/// How many of them send continuously.
const BUSY: u64 = 20;

/// A certificate and its key, for the name that the tests' clients use.
pub fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    Authority::shared().write(folder, "tls", &["localhost"], Kind::Good)
}

/// The pod's containers as processes.
struct Pod {
    proxy: Proxy,
    app: Proxy,
    admin: u16,
}

impl Pod {
    fn start() -> Self {
        let app = Proxy::follow(tempfile::tempdir().unwrap(), compose::node("0"), 0);
        let port = app.event("app_started").number("port").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = certificate(folder.path());
        // Hooks and probes must know their ports in advance.
        let (admin, probes) = (own_port(), own_port());
        let mut yaml = proxy_yaml();
        for (from, to) in [
            ("0.0.0.0:8443", "127.0.0.1:0".to_owned()),
            ("/etc/wsgate-tls/tls.crt", cert.display().to_string()),
            ("/etc/wsgate-tls/tls.key", key.display().to_string()),
            ("127.0.0.1:3000", format!("127.0.0.1:{port}")),
            ("0.0.0.0:9900", format!("127.0.0.1:{probes}")),
            ("127.0.0.1:9901", format!("127.0.0.1:{admin}")),
            (
                "delay: 10s, drain: 20s, spread: 10s",
                "delay: 1s, drain: 18s, spread: 2s".to_owned(),
            ),
        ] {
            assert!(yaml.contains(from), "no {from} in {yaml}");
            yaml = yaml.replace(from, &to);
        }
        fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
        let proxy = Proxy::spawn(folder, None, 3);
        Self { proxy, app, admin }
    }

    /// Runs a hook as written in the manifest, with the ports and programs of this machine.
    fn run(&self, hook: &[String]) -> Child {
        let file = self.proxy.folder().join("proxy.yaml");
        let here = |argument: &String| {
            argument
                .replace("/etc/wsgate/proxy.yaml", file.to_str().unwrap())
                .replace("127.0.0.1:9901", &format!("127.0.0.1:{}", self.admin))
        };
        let (name, arguments) = hook.split_first().unwrap();
        let name = match name.as_str() {
            "/wsgate" => program(),
            "node" => tool("WSGATE_NODE").into(),
            "sh" => name.into(),
            other => panic!("no container has {other}"),
        };
        Command::new(name)
            .args(arguments.iter().map(here))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn clients(&self) -> Client {
        let authority = self.proxy.folder().join("ca.pem");
        fs::write(&authority, Authority::shared().pem()).unwrap();
        let url = format!("wss://localhost:{}{STREAM}", self.proxy.address().port());
        let options = json!({
            "urls": [url], "ca": authority, "origin": ORIGIN, "count": TUNNELS, "busy": BUSY,
        });
        let clients = Client::program("many.js", &options);
        clients.did(&format!("opened {TUNNELS}"));
        clients
    }
}

/// Waits for a hook's end, which must be successful; gives its output.
#[track_caller]
fn passed(mut hook: Child) -> String {
    eventually("the hook's end", || hook.try_wait().unwrap());
    let output = hook.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_client_is_told_before_the_application_goes() {
    let mut family = Family::new("the end of a pod");
    let mut pod = Pod::start();
    let clients = pod.clients();
    let (sidecar, app) = containers();
    let hooks = [pod.run(&hook(&sidecar)), pod.run(&hook(&app))];
    // During the delay the pod is not ready, but it serves.
    let draining = pod.proxy.event("draining");
    let detail = draining.text("detail");
    assert!(detail.starts_with("asked for through the admin listener; "));
    assert_eq!(get(pod.proxy.addresses()[1], "/readyz").0, 503);
    let [waiting, application] = hooks;

    assert_eq!(passed(application), "");
    pod.app.signal("TERM");
    let stopping = pod.app.event("app_stopping");
    assert_eq!(stopping.number("open"), Some(0), "{stopping:?}");
    assert!(pod.app.ended().success(), "{}", pod.app.diagnostics());

    let said = passed(waiting);
    assert!(
        said.ends_with("drained: all connections have ended\n"),
        "{said}"
    );
    pod.proxy.signal("TERM");
    assert!(pod.proxy.ended().success(), "{}", pod.proxy.diagnostics());

    let report = clients.finish();
    assert_eq!(
        report.last().0["ends"],
        json!({ "1012 drain_graceful": TUNNELS })
    );
    let lines = pod.proxy.finished();
    let ends: Vec<_> = lines.iter().filter(|line| is_terminal(line)).collect();
    assert_eq!(ends.len() as u64, TUNNELS);
    for line in ends {
        assert_eq!(line.text("reason"), "drain_graceful", "{line:?}");
        assert_eq!(line.number("client_sees"), Some(1012), "{line:?}");
    }
    family.add(usize::try_from(TUNNELS).unwrap());
    family.finish();
}

#[test]
fn the_hook_without_node_waits_as_well() {
    let page = fs::read_to_string("docs/deploy.md").unwrap();
    let (_, rest) = page.split_once("```sh\nuntil ").unwrap();
    let (command, _) = rest.split_once("\n```").unwrap();
    let mut pod = Pod::start();
    let clients = pod.clients();
    let curl = tool("WSGATE_CURL");
    let path = format!(
        "{}:{}",
        Path::new(&curl).parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let command = format!("PATH={path}\nuntil {command}");
    let hook = ["sh", "-c", &command].map(ToOwned::to_owned);
    assert_eq!(passed(pod.run(&hook)), "");
    pod.proxy.event("drained");
    let report = clients.finish();
    let ends = json!({ "1012 drain_graceful": TUNNELS });
    assert_eq!(report.last().0["ends"], ends);
    pod.proxy.signal("TERM");
    assert!(pod.proxy.ended().success(), "{}", pod.proxy.diagnostics());
}

#[test]
fn without_a_proxy_the_application_waits_for_nothing() {
    let mut pod = Pod::start();
    pod.proxy.signal("TERM");
    assert!(pod.proxy.ended().success(), "{}", pod.proxy.diagnostics());
    let (_, app) = containers();
    assert_eq!(passed(pod.run(&hook(&app))), "");
}
