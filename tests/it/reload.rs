use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use serde_json::Value;
use wsgate::reason::Reason;

use crate::harness::client::try_socket;
use crate::harness::proxy::program;
use crate::harness::{Client, Line, Proxy, Setup, eventually, frames, handshake};

/// The content of the files that the configuration names.
pub(crate) mod certificates;
/// Addresses that are added and removed.
mod listeners;
/// Which certificate is served while others replace it.
mod rotation;
/// What continues during a reload.
mod under_way;

const ECHO: &str = "\"builtin:echo\"";

/// Opens a tunnel; the handshake must succeed.
#[track_caller]
fn open(proxy: &Proxy, path: &str) -> Client {
    let mut client = Client::plain(proxy.address());
    assert_eq!(client.send(handshake(path, &[])).response().status, 101);
    client
}

/// The status of an opening handshake.
fn status(proxy: &Proxy, path: &str) -> u16 {
    let mut client = Client::plain(proxy.address());
    client.send(handshake(path, &[])).response().status
}

/// The problems in a lifecycle record.
fn problems(line: &Line) -> Vec<&str> {
    let problems = line.0.get("problems").and_then(Value::as_array);
    problems
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn at_path(path: &str) -> Setup {
    Setup {
        path: path.to_owned(),
        ..Setup::plain(ECHO)
    }
}

#[test]
fn sighup_takes_up_another_configuration() {
    let mut proxy = at_path("/one").start();
    let mut tunnel = open(&proxy, "/one");
    let opened = proxy.event("opened");
    assert_eq!(opened.number("generation"), Some(1));
    let line = proxy.reload(&at_path("/two"));
    assert_eq!(line.number("generation"), Some(2));
    assert_eq!(line.text("level"), "info");
    assert_eq!(line.text("detail"), "SIGHUP: in use now; changed: routes");
    // It decides on new handshakes, and the tunnel is not affected.
    assert_eq!(status(&proxy, "/one"), 404);
    let refused = proxy.terminal().expect(Reason::PathNotAllowed);
    assert_eq!(refused.number("generation"), Some(2));
    let mut other = open(&proxy, "/two");
    frames::echoes(&mut tunnel, "still here");
    tunnel.finish();
    let closed = proxy.terminal();
    assert_eq!(closed.text("route"), "/one");
    assert_eq!(closed.number("generation"), Some(1));
    other.finish();
    assert_eq!(proxy.terminal().number("generation"), Some(2));
    proxy.stop();
}

#[test]
fn a_file_that_changes_is_taken_up_by_itself() {
    let proxy = at_path("/one").start();
    proxy.write(&at_path("/two").yaml());
    let line = proxy.event("reloaded");
    assert_eq!(
        line.text("detail"),
        "files changed: in use now; changed: routes"
    );
    assert_eq!(status(&proxy, "/two"), 101);
    // Written in place, not replaced.
    fs::write(proxy.folder().join("proxy.yaml"), at_path("/three").yaml()).unwrap();
    proxy.event_number("reloaded", 2);
    assert_eq!(status(&proxy, "/three"), 101);
    proxy.stop();
}

/// A mounted config map or secret: links to a link to a folder, which is switched to another folder.
#[test]
fn a_link_that_is_turned_is_taken_up() {
    let folder = Setup::tls(ECHO).folder();
    let at = |name: &str| folder.path().join(name);
    let mount = |name: &str, path: &str| {
        fs::create_dir(at(name)).unwrap();
        for file in ["good.pem", "good-key.pem"] {
            fs::copy(at(file), at(name).join(file)).unwrap();
        }
        let setup = Setup {
            path: path.to_owned(),
            ..Setup::tls(ECHO)
        };
        fs::write(at(name).join("proxy.yaml"), setup.yaml()).unwrap();
    };
    mount("..2026_1", "/one");
    mount("..2026_2", "/two");
    symlink("..2026_1", at("..data")).unwrap();
    for file in ["proxy.yaml", "good.pem", "good-key.pem"] {
        fs::remove_file(at(file)).unwrap();
        symlink(format!("..data/{file}"), at(file)).unwrap();
    }
    let proxy = Proxy::spawn(folder, None, 1);
    let status = |path| {
        let mut client = Client::tls(proxy.address());
        client.send(handshake(path, &[])).response().status
    };
    assert_eq!(status("/one"), 101);
    symlink("..2026_2", proxy.folder().join("..data_tmp")).unwrap();
    let renamed = ["..data_tmp", "..data"].map(|name| proxy.folder().join(name));
    fs::rename(&renamed[0], &renamed[1]).unwrap();
    let line = proxy.event("reloaded");
    assert_eq!(line.number("generation"), Some(2));
    assert_eq!((status("/two"), status("/one")), (101, 404));
    proxy.stop();
}

/// Reading it to the end would delay the corrected file for minutes.
#[test]
fn files_that_take_for_ever_to_read_are_refused_and_a_mended_one_taken_up() {
    let proxy = at_path("/one").start();
    let half = 512 * 1024;
    for (number, bad) in [
        "[,".repeat(half),
        "[a: ".repeat(5_000) + &"a,".repeat(half - 20_000),
        format!(
            "a: &a {}\nb:\n{}",
            "x".repeat(half),
            "- *a\n".repeat(50_000)
        ),
    ]
    .iter()
    .enumerate()
    {
        proxy.write(bad);
        proxy.signal("HUP");
        proxy.event_number("reload_refused", number + 1);
    }
    proxy.reload(&at_path("/two"));
    assert_eq!((status(&proxy, "/one"), status(&proxy, "/two")), (404, 101));
}

#[test]
fn a_bad_file_is_refused_as_a_whole_and_a_mended_one_taken_up() {
    let proxy = at_path("/one").start();
    let bad = at_path("/two")
        .yaml()
        .replace("upstream: app", "upstream: ap")
        + "limitz: {}\n";
    proxy.write(&bad);
    proxy.signal("HUP");
    let line = proxy.event("reload_refused");
    assert_eq!(line.text("level"), "warn");
    assert_eq!(line.number("generation"), Some(1));
    assert!(
        line.text("detail")
            .contains("the previous configuration stays in use (generation 1)"),
        "{line:?}"
    );
    assert!(line.text("hint").contains("`wsgate check`"), "{line:?}");
    let problems = problems(&line);
    let has = |part: &str| problems.iter().any(|problem| problem.contains(part));
    assert!(
        has("proxy.yaml:7:15: error: routes[0].upstream"),
        "{problems:?}"
    );
    assert!(has("limitz"), "{problems:?}");
    // Exactly the same as `check` reports.
    let (code, out, _) = crate::harness::proxy::run(&["check"], proxy.folder());
    assert_eq!(code, 2);
    let places: Vec<_> = problems
        .iter()
        .map(|problem| problem.split_once("proxy.yaml").unwrap().1)
        .collect();
    let mut lines: Vec<_> = out
        .lines()
        .filter(|line| line.contains(": error: ") || line.contains(": warning: "))
        .map(|line| line.strip_prefix("proxy.yaml").unwrap())
        .collect();
    // What keeps the file from being used comes first.
    lines.sort_by_key(|line| line.contains(": warning: "));
    assert_eq!(places, lines, "{out}");
    assert_eq!((status(&proxy, "/one"), status(&proxy, "/two")), (101, 404));
    // It is reported once, until someone asks again.
    proxy.signal("HUP");
    proxy.event_number("reload_refused", 2);
    // Another fault is reported on its own, also if the file can't be read for the second time.
    let file = proxy.folder().join("proxy.yaml");
    fs::remove_file(&file).unwrap();
    proxy.event_number("reload_refused", 3);
    fs::create_dir(&file).unwrap();
    proxy.event_number("reload_refused", 4);
    fs::remove_dir(&file).unwrap();
    // The corrected file needs no signal.
    proxy.write(&at_path("/two").yaml());
    proxy.event("reloaded");
    assert_eq!(proxy.events("reload_refused"), 4);
    assert_eq!((status(&proxy, "/one"), status(&proxy, "/two")), (404, 101));
    proxy.stop();
}

#[test]
fn what_was_in_use_can_be_put_back_after_a_refusal() {
    let proxy = at_path("/one").start();
    proxy.write("listeners: [");
    proxy.signal("HUP");
    proxy.event("reload_refused");
    // Also without a signal: nobody must think that the file still needs a correction.
    proxy.write(&at_path("/one").yaml());
    let line = proxy.event("reload_unchanged");
    let detail = "files changed: the file no longer has the configuration that was refused; generation 1 stays in use";
    assert_eq!(line.text("detail"), detail);
    fs::remove_file(proxy.folder().join("proxy.yaml")).unwrap();
    let line = proxy.event_number("reload_refused", 2);
    assert!(problems(&line)[0].contains("no such file"), "{line:?}");
    assert_eq!(status(&proxy, "/one"), 101);
    proxy.stop();
}

/// Nobody ever writes to it: a process that opened it would wait forever, and so would all later signals.
#[test]
fn a_named_pipe_holds_up_nothing() {
    let proxy = at_path("/one").start();
    let pipe = |name: &str| {
        let path = proxy.folder().join(name);
        let _ = fs::remove_file(&path);
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    };
    pipe("proxy.yaml");
    proxy.signal("HUP");
    let line = proxy.event("reload_refused");
    assert!(
        problems(&line)[0].contains("not a regular file"),
        "{line:?}"
    );
    pipe("pipe.pem");
    let mut with_tls = at_path("/two");
    with_tls.tls = Some("certificates: [{ cert: pipe.pem, key: pipe.pem }]".to_owned());
    proxy.write(&with_tls.yaml());
    let line = proxy.event_number("reload_refused", 2);
    assert!(
        problems(&line)[0].contains("not a regular file"),
        "{line:?}"
    );
    proxy.reload(&at_path("/three"));
    assert_eq!(status(&proxy, "/three"), 101);
    proxy.stop();
}

/// Like `wsgate --config <(envsubst < template.yaml)`: it can be read once.
#[test]
fn a_configuration_can_come_through_a_pipe() {
    let folder = at_path("/one").folder();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(at_path("/one").yaml().as_bytes()).unwrap();
    drop(writer);
    let mut command = std::process::Command::new("sh");
    command
        .args([
            "-c",
            "exec 3<&0 </dev/null && exec \"$0\" --config /dev/fd/3",
        ])
        .arg(program())
        .stdin(reader);
    let proxy = Proxy::attach(folder, command, 1);
    assert_eq!(status(&proxy, "/one"), 101);
    proxy.signal("HUP");
    proxy.event("reload_unchanged");
    assert_eq!(status(&proxy, "/one"), 101);
    proxy.stop();
}

#[test]
fn equal_content_changes_nothing() {
    let proxy = at_path("/one").start();
    for yaml in [
        at_path("/one").yaml(),
        at_path("/one").yaml() + "# A comment.\n",
    ] {
        let count = proxy.events("reload_unchanged");
        proxy.write(&yaml);
        proxy.signal("HUP");
        let line = proxy.event_number("reload_unchanged", count + 1);
        assert_eq!(line.number("generation"), Some(1));
        assert_eq!(
            line.text("detail"),
            "SIGHUP: nothing to reload; generation 1 stays in use"
        );
    }
    let lines = proxy.stop();
    assert!(lines.iter().all(|line| line.text("event") != "reloaded"));
}

#[test]
fn every_part_of_the_file_takes_effect() {
    let setup = |log: &str, shutdown: &str, connections: usize| Setup {
        log: log.to_owned(),
        shutdown: shutdown.to_owned(),
        limits: format!("connections: {connections}"),
        ..Setup::plain(ECHO)
    };
    let before = setup("level: warn, query_keep: [v]", "drain: 60s, spread: 50s", 2);
    let mut proxy = before.start();
    let mut first = open(&proxy, "/ws?v=1");
    let mut second = open(&proxy, "/ws?v=1");
    // One slot less: no connection is lost, and the next slot that becomes free disappears.
    let after = setup(
        "level: info, client_address: \"off\"",
        "drain: 60s, close_code: 1001, spread: 0s",
        1,
    );
    let line = proxy.reload(&after);
    assert_eq!(
        line.text("detail"),
        "SIGHUP: in use now; changed: limits, shutdown, log"
    );
    frames::echoes(&mut first, "here");
    first.finish();
    let closed = proxy.terminal();
    assert_eq!(closed.text("path"), "/ws?v=1", "what was kept then is kept");
    // The reset may arrive before connect() returns.
    if let Ok(socket) = try_socket(proxy.address()) {
        assert_eq!(Client::Plain(socket).rest(), b"");
    }
    let line = proxy.terminal().expect(Reason::TcpConnLimit);
    assert_eq!(line.text("peer"), "", "addresses are off now: {line:?}");
    // And one more again.
    proxy.reload(&setup(
        "level: info",
        "drain: 60s, spread: 0s, close_code: 1001",
        3,
    ));
    let mut third = open(&proxy, "/ws?v=1");
    let opened = proxy.event("opened");
    assert_eq!(opened.text("path"), "/ws?v=*");
    // The drain has the settings of the current configuration, also for older tunnels: none waits for its old turn.
    proxy.signal("TERM");
    for client in [&mut second, &mut third] {
        let (_, close) = frames::read(client).unwrap();
        assert!([1001_u16, 1012].contains(&u16::from_be_bytes([close[0], close[1]])));
        client.finish();
    }
    proxy.ended();
}

/// A reload works during a drain that does not end the process, and does not drain anything twice.
#[test]
fn a_reload_during_a_drain_lets_nobody_in() {
    let setup = |path: &str| Setup {
        shutdown: "delay: 0s, drain: 60s".to_owned(),
        extra: "admin: { address: '127.0.0.1:0' }\n".to_owned(),
        ..at_path(path)
    };
    let proxy = setup("/one").start();
    let mut tunnel = open(&proxy, "/one");
    let listening = proxy.wait("the admin listener", |lines| {
        lines
            .iter()
            .find(|line| line.text("detail") == "admin")
            .cloned()
    });
    let mut admin = Client::plain(listening.text("listener").parse().unwrap());
    admin.send("POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(admin.response().status, 202);
    proxy.event("draining");
    proxy.reload(&setup("/two"));
    assert_eq!(status(&proxy, "/two"), 503);
    let (_, close) = frames::read(&mut tunnel).unwrap();
    assert_eq!(close[..2], 1012_u16.to_be_bytes());
    tunnel.finish();
    eventually("the end of the drain", || {
        (proxy.events("drained") == 1).then_some(())
    });
    proxy.stop();
}
