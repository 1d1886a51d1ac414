//! The real entrypoint with real processes, on this machine instead of in a container.

use std::fs;
use std::process::Command;

use tempfile::TempDir;
use wsgate::reason::Reason;

use super::{STREAM, compose, example, open};
use crate::harness::client::Client;
use crate::harness::frames::{CLOSE, echoes, masked, read};
use crate::harness::ports::own_port;
use crate::harness::proxy::{program, run};
use crate::harness::{Proxy, eventually, signal};

const APP_ID: &str = "wx0123456789abcdef";

/// The shipped shutdown, and one without a delay.
const SHUTDOWN: &str = "{ delay: 5s, drain: 15s, spread: 5s }";
const AT_ONCE: &str = "{ drain: 15s, spread: 0s }";

/// A folder with the proxy's configuration, which listens only on loopback.
fn folder(shutdown: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let changes = [
        ("0.0.0.0:", "127.0.0.1:"),
        ("127.0.0.1:9900", "127.0.0.1:0"),
        (SHUTDOWN, shutdown),
    ];
    let yaml = example("one-image/proxy.yaml", &changes);
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    folder
}

/// Sets the entrypoint's environment, before its application is named.
fn prepare(command: &mut Command, folder: &TempDir) {
    let bin = program().parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    command
        .env("PATH", path)
        .env("NODE_PATH", crate::tools::programs::file("node_modules"))
        .env("WSGATE_CONFIG", folder.path().join("proxy.yaml"))
        .env("APP_PORT", own_port().to_string())
        .env("PORT", "0")
        .env("WX_APP_ID", APP_ID);
}

/// Starts the entrypoint with the example's application behind `shell`, and waits for the proxy.
fn start(folder: TempDir, shell: &str) -> Proxy {
    let mut command = Command::new("env");
    // bash can't trap a signal that was ignored when it started, and commands in the background ignore this one.
    command.args(["--default-signal=INT", "deploy/one-image/entrypoint"]);
    start_by(command, folder, shell)
}

fn start_by(mut command: Command, folder: TempDir, shell: &str) -> Proxy {
    prepare(&mut command, &folder);
    let node = compose::node("0");
    command
        .args(["sh", "-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(node.get_program())
        .args(node.get_args());
    Proxy::follow(folder, command, 1)
}

/// Runs the entrypoint so that the proxy never serves; gives its status and output.
#[track_caller]
fn fails(folder: TempDir, variables: &[(&str, &str)], application: &[&str]) -> (i32, String) {
    let mut command = Command::new("deploy/one-image/entrypoint");
    prepare(&mut command, &folder);
    command.envs(variables.iter().copied()).args(application);
    let mut ran = Proxy::follow(folder, command, 0);
    let status = ran.ended();
    ran.finished();
    (status.code().unwrap(), ran.diagnostics())
}

/// Opens a tunnel like a mini program.
#[track_caller]
fn tunnel(proxy: &Proxy) -> Client {
    let referer = format!("https://servicewechat.com/{APP_ID}/1/page-frame.html");
    let fields = [
        ("Origin", "https://servicewechat.com"),
        ("Referer", &referer),
    ];
    let mut client = open(Client::plain(proxy.address()), STREAM, &fields);
    echoes(&mut client, "hello");
    client
}

/// Answers the next Close; gives its code.
#[track_caller]
fn closes(client: &mut Client) -> u16 {
    let (first, payload) = read(client).unwrap();
    assert_eq!(first, CLOSE);
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    client.send(masked(CLOSE, payload));
    assert_eq!(client.rest(), b"");
    code
}

/// The processes whose parent is `id`: their ids and names.
fn children(id: u32) -> Vec<(u32, String)> {
    let ids = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    ids.split_whitespace()
        .filter_map(|id| {
            let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
            Some((id.parse().unwrap(), name.trim().to_owned()))
        })
        .collect()
}

/// Sends a signal to the child of this name.
#[track_caller]
fn signal_child(parent: u32, name: &str, sent: &str) {
    let children = children(parent);
    let child = children.iter().find(|(_, other)| other == name);
    let (id, _) = child.unwrap_or_else(|| panic!("no {name} in {children:?}"));
    signal(*id, sent);
}

/// Checks that events of these names are recorded in this order.
#[track_caller]
fn in_order(proxy: &mut Proxy, names: &[&str]) {
    let lines = proxy.finished();
    let places: Vec<_> = names
        .iter()
        .map(|name| {
            let place = lines.iter().position(|line| line.text("event") == *name);
            place.unwrap_or_else(|| panic!("no {name} in {lines:#?}"))
        })
        .collect();
    assert!(places.is_sorted(), "{names:?} stand at {places:?}");
}

#[test]
fn the_configuration_passes_its_check() {
    let folder = folder(SHUTDOWN);
    let (port, app) = (("PORT", "8080"), ("APP_PORT", "3000"));
    let output = Command::new(program())
        .arg("check")
        .current_dir(folder.path())
        .envs([port, app, ("WX_APP_ID", APP_ID)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "proxy.yaml: ok: 1 listener, 3 routes, 1 upstream\n");
    // A service without its app id is reported.
    let (code, report, said) = run(&["check"], folder.path());
    assert_eq!(code, 2, "{said}");
    assert!(report.contains("WX_APP_ID"), "{report}");
}

#[test]
fn as_process_one_the_application_comes_first_and_goes_last() {
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child"])
        .arg("deploy/one-image/entrypoint");
    // What the application leaves behind becomes a child of process 1, which must reap it.
    let mut proxy = start_by(command, folder(AT_ONCE), "(sleep 0.5 & sleep 0.1 & ) ;");
    let (entrypoint, _) = children(proxy.id()).remove(0);
    let status = fs::read_to_string(format!("/proc/{entrypoint}/status")).unwrap();
    assert!(
        status
            .lines()
            .any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"))
    );
    let mut client = tunnel(&proxy);
    eventually("the end of what was left behind", || {
        let names: Vec<_> = children(entrypoint)
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        (names == ["node", "wsgate"]).then_some(())
    });

    signal(entrypoint, "TERM");
    proxy.event("draining");
    assert_eq!(closes(&mut client), 1012);
    proxy.terminal().expect(Reason::DrainGraceful);
    assert_eq!(proxy.ended().code(), Some(0), "{}", proxy.diagnostics());
    in_order(
        &mut proxy,
        &[
            "app_started",
            "listening",
            "draining",
            "closed",
            "stopped",
            "app_stopping",
        ],
    );
    assert!(
        !proxy.diagnostics().contains("entrypoint:"),
        "{}",
        proxy.diagnostics()
    );
}

#[test]
fn the_application_still_serves_while_the_proxy_waits() {
    let mut proxy = start(folder("{ delay: 60s, drain: 60s }"), "");
    let mut client = tunnel(&proxy);
    proxy.signal("INT");
    proxy.event("draining");
    echoes(&mut client, "still there");
    let mut late = tunnel(&proxy);
    echoes(&mut late, "and for new ones");
    // The second signal is passed on like the first, and then nothing is waited for.
    proxy.signal("TERM");
    assert_eq!(client.rest(), b"");
    assert_eq!(proxy.ended().code(), Some(0), "{}", proxy.diagnostics());
    in_order(&mut proxy, &["draining", "stopped", "app_stopping"]);
}

#[test]
fn the_end_of_the_application_ends_the_proxy_in_order() {
    let mut proxy = start(folder(AT_ONCE), "");
    let mut client = tunnel(&proxy);
    signal_child(proxy.id(), "node", "KILL");
    // The proxy sends a Close instead of a bare end.
    assert_eq!(closes(&mut client), 1014);
    assert_eq!(proxy.ended().code(), Some(137));
    let said = proxy.diagnostics();
    assert!(
        said.contains("the application ended with status 137"),
        "{said}"
    );
    in_order(&mut proxy, &["draining", "stopped"]);
}

#[test]
fn an_application_that_ends_in_order_unasked_is_a_failure_too() {
    let mut proxy = start(folder(AT_ONCE), "");
    signal_child(proxy.id(), "node", "TERM");
    assert_eq!(proxy.ended().code(), Some(1), "{}", proxy.diagnostics());
    in_order(&mut proxy, &["app_stopping", "draining", "stopped"]);
}

#[test]
fn the_end_of_the_proxy_ends_the_application() {
    let mut proxy = start(folder(AT_ONCE), "");
    signal_child(proxy.id(), "wsgate", "KILL");
    assert_eq!(proxy.ended().code(), Some(137), "{}", proxy.diagnostics());
    in_order(&mut proxy, &["listening", "app_stopping"]);
}

#[test]
fn an_application_that_ignores_the_signal_is_killed() {
    let folder = folder(AT_ONCE);
    let mut command = Command::new("env");
    command.args(["STOP_SECONDS=1", "deploy/one-image/entrypoint"]);
    prepare(&mut command, &folder);
    let deaf = "process.on('SIGTERM', () => {});\n\
                require('http').createServer().listen(process.env.PORT, '127.0.0.1')";
    command.args([&crate::tools::programs::tool("WSGATE_NODE"), "-e", deaf]);
    let mut proxy = Proxy::follow(folder, command, 1);
    proxy.signal("TERM");
    assert_eq!(proxy.ended().code(), Some(0), "{}", proxy.diagnostics());
    proxy.finished();
    let said = proxy.diagnostics();
    assert!(said.contains("did not end within 1 s"), "{said}");
}

#[test]
fn what_fails_at_the_start_ends_everything() {
    let (code, said) = fails(folder(AT_ONCE), &[], &["sh", "-c", "exit 7"]);
    assert_eq!(code, 7, "{said}");
    assert!(said.contains("status 7 before it listened"), "{said}");
    let (code, said) = fails(folder(AT_ONCE), &[], &["true"]);
    assert_eq!(code, 1, "{said}");
    let (code, said) = fails(folder(AT_ONCE), &[], &["/no/such/program"]);
    assert_eq!(code, 127, "{said}");
    let (code, said) = fails(folder(AT_ONCE), &[], &[]);
    assert_eq!(code, 2, "{said}");
    // It ends without being killed, so nothing keeps the output open.
    let (code, said) = fails(
        folder(AT_ONCE),
        &[("START_SECONDS", "1")],
        &["sleep", "600"],
    );
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("does not listen on 127.0.0.1:"), "{said}");
    // An invalid configuration: the proxy reports what is wrong.
    let wrong = [("WX_APP_ID", "none")];
    let node = compose::node("0");
    let mut application = vec![node.get_program().to_str().unwrap()];
    application.extend(node.get_args().map(|argument| argument.to_str().unwrap()));
    let (code, said) = fails(folder(AT_ONCE), &wrong, &application);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("wechat_app_ids"), "{said}");
    assert!(said.contains("the proxy ended with status 2"), "{said}");
}

#[test]
fn a_signal_while_the_application_starts_ends_it() {
    let folder = folder(AT_ONCE);
    let mut command = Command::new("deploy/one-image/entrypoint");
    prepare(&mut command, &folder);
    let ready = folder.path().join("ready");
    let script = format!("echo > {}; exec sleep 600", ready.display());
    command.args(["sh", "-c", &script]);
    let mut proxy = Proxy::follow(folder, command, 0);
    eventually("the application", || ready.exists().then_some(()));
    proxy.signal("TERM");
    assert_eq!(proxy.ended().code(), Some(0), "{}", proxy.diagnostics());
    assert!(proxy.finished().is_empty(), "the proxy was started");
}
