//! The units: the reports of systemd's own checker, and whether they agree with the configuration next to them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::{certificate, example};
use crate::harness::proxy::{program, run};

const PROGRAM: &str = "/usr/local/bin/wsgate";

/// What the checker calls exposure, from 0 to 10: everything that still counts is the network, which a proxy needs.
const EXPOSURE: f64 = 1.5;

/// The units with the path of the program on this machine, and with `changes` in the service.
fn units(changes: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let program = program();
    let mut all = vec![(PROGRAM, program.to_str().unwrap())];
    all.extend(changes);
    let service = example("systemd/wsgate.service", &all);
    fs::write(folder.path().join("wsgate.service"), service).unwrap();
    fs::copy(
        "deploy/systemd/wsgate.socket",
        folder.path().join("wsgate.socket"),
    )
    .unwrap();
    folder
}

/// Runs systemd-analyze on the units; gives whether it succeeded, and its output.
fn analyze(folder: &Path, arguments: &[&str], units: &[&str]) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .args(units)
        .current_dir(folder)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// The values of a key, in the order of the file.
fn values(file: &str, key: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new("deploy/systemd").join(file)).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value.to_owned())
        .collect()
}

#[track_caller]
fn value(file: &str, key: &str) -> String {
    let [value] = values(file, key).try_into().unwrap();
    value
}

fn proxy() -> Value {
    serde_yaml::from_str(&example("systemd/proxy.yaml", &[])).unwrap()
}

#[test]
fn units_are_clean() {
    let folder = units(&[]);
    let both = ["./wsgate.service", "./wsgate.socket"];
    let (is_content, said) = analyze(folder.path(), &["verify", "--man=no"], &both);
    assert!(is_content && said.is_empty(), "{said}");
    // The checker must be able to find something.
    let folder = units(&[("RestrictRealtime=yes", "RestrictRealtimes=yes")]);
    let (_, said) = analyze(folder.path(), &["verify", "--man=no"], &both);
    assert!(said.contains("RestrictRealtimes"), "{said}");
}

#[test]
fn the_service_has_no_right_too_many() {
    let folder = units(&[]);
    let threshold = format!("--threshold={}", EXPOSURE * 10.0);
    let arguments = ["security", "--offline=true", "--no-pager", &threshold];
    let (is_content, said) = analyze(folder.path(), &arguments, &["./wsgate.service"]);
    assert!(is_content, "{said}");
    let folder = units(&[("CapabilityBoundingSet=\n", "")]);
    let (is_content, said) = analyze(folder.path(), &arguments, &["./wsgate.service"]);
    assert!(!is_content, "{said}");
}

#[test]
fn the_user_is_made_by_the_file_beside_it() {
    // A relative path is looked up in the system's folders.
    let file = fs::canonicalize("deploy/systemd/sysusers.conf").unwrap();
    let output = Command::new("systemd-sysusers")
        .arg("--dry-run")
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = fs::read_to_string("deploy/systemd/sysusers.conf").unwrap();
    let made = text.lines().find(|line| line.starts_with("u ")).unwrap();
    assert_eq!(made.split_whitespace().nth(1), Some("wsgate"));
    assert_eq!(value("wsgate.service", "User"), "wsgate");
    assert_eq!(value("wsgate.service", "Group"), "wsgate");
}

#[test]
fn sockets_are_those_of_the_configuration() {
    let listeners = proxy()["listeners"].as_array().unwrap().clone();
    let listeners: BTreeSet<_> = listeners
        .iter()
        .map(|listener| listener["address"].as_str().unwrap().to_owned())
        .collect();
    let sockets: BTreeSet<_> = values("wsgate.socket", "ListenStream")
        .into_iter()
        .collect();
    assert_eq!(sockets, listeners);
    // Otherwise both kinds of address can't have the same port.
    assert_eq!(value("wsgate.socket", "BindIPv6Only"), "ipv6-only");
}

#[test]
fn the_time_to_stop_is_enough_for_the_shutdown() {
    let shutdown = &proxy()["shutdown"];
    let time = |key: &str| {
        let text = shutdown[key].as_str().unwrap_or("0s");
        humantime::parse_duration(text).unwrap()
    };
    let given = value("wsgate.service", "TimeoutStopSec");
    let given = humantime::parse_duration(&given).unwrap();
    let needed = time("delay") + time("drain");
    assert!(
        given.as_secs() >= needed.as_secs() + 10,
        "{given:?} for {needed:?}"
    );
}

#[test]
fn the_configuration_passes_its_check_and_is_where_the_service_looks() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "app.example.com");
    let yaml = example("systemd/proxy.yaml", &[]);
    fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let (code, report, said) = run(&["check"], folder.path());
    assert_eq!(code, 0, "{report}{said}");
    assert_eq!(report, "proxy.yaml: ok: 2 listeners, 1 route, 1 upstream\n");
    let start = value("wsgate.service", "ExecStart");
    assert_eq!(start, format!("{PROGRAM} --config /etc/wsgate/proxy.yaml"));
    let first = example("systemd/proxy.yaml", &[]);
    assert!(first.starts_with("# /etc/wsgate/proxy.yaml"));
}

#[test]
fn a_later_systemd_sends_the_signal_once() {
    // With this type systemd sends the signal itself, and would also run the service's command.
    assert_eq!(value("notify-reload.conf", "Type"), "notify-reload");
    assert_eq!(value("notify-reload.conf", "ExecReload"), "");
    assert_eq!(value("wsgate.service", "Type"), "notify");
    let command = value("wsgate.service", "ExecReload");
    assert_eq!(command, "/bin/kill -HUP $MAINPID");
}
