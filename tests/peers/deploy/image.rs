use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;
use wsgate::reason::Reason;

use super::open;
use crate::harness::certs::{Authority, Kind};
use crate::harness::frames::echoes;
use crate::harness::ports::own_port;
use crate::harness::proxy::{HOST, ORIGIN};
use crate::harness::{Client, Proxy, Upstream};
use crate::tools::names::{NameServer, Says};

const IMAGE: &str = "localhost/wsgate:test";

/// The largest allowed size of the image.
const MOST_BYTES: u64 = 25 * 1024 * 1024;

/// The options of a cautious operator; `tests/image` explains the others.
const STRICT: &[&str] = &[
    "--network=host",
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    // The defaults exceed the hard limits of some machines.
    "--ulimit=nofile=20000:20000",
    "--ulimit=nproc=4096:4096",
];

/// Builds the image once for all tests.
#[track_caller]
fn build() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        said("tests/image", &["build"]);
    });
}

#[track_caller]
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{out}\n{err}",
        output.status
    );
    out.into_owned()
}

#[track_caller]
fn podman(arguments: &[&str]) -> String {
    said("tests/image", &[&["podman"], arguments].concat())
}

/// The image's configuration, from `podman image inspect`.
fn inspected() -> Value {
    build();
    let text = podman(&["image", "inspect", IMAGE]);
    let mut images: Vec<Value> = serde_json::from_str(&text).unwrap();
    images.remove(0)
}

/// A container with the image, removed when dropped.
struct Container {
    name: String,
    proxy: Proxy,
}

impl Container {
    /// Starts it with further options of `podman run`, and waits for one listener.
    fn start(folder: TempDir, options: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        build();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wsgate-{}-{count}", std::process::id());
        let mut command = Command::new("tests/image");
        command
            .args(["podman", "run", "--rm", "--name", &name])
            .args(STRICT)
            .args(options)
            .arg(IMAGE);
        let proxy = Proxy::follow(folder, command, 1);
        Self { name, proxy }
    }

    /// What the kernel reports about its first process; `file` is one of `/proc/PID`.
    fn kernel(&self, file: &str) -> String {
        let id = podman(&["inspect", "--format", "{{.State.Pid}}", &self.name]);
        fs::read_to_string(Path::new("/proc").join(id.trim()).join(file)).unwrap()
    }

    /// Sends SIGTERM, as a platform does; gives all records until the clean end.
    #[track_caller]
    fn stop(mut self) -> Vec<String> {
        podman(&["kill", "--signal", "TERM", &self.name]);
        let status = self.proxy.ended();
        let lines = self.proxy.finished();
        assert!(status.success(), "{status}: {}", self.proxy.diagnostics());
        lines
            .iter()
            .map(|line| line.text("event").to_owned())
            .collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It is already gone if it ended on its own.
        let _ = Command::new("tests/image")
            .args(["podman", "rm", "--force", "--ignore", "--time=0"])
            .arg(&self.name)
            .output();
    }
}

/// The value of a line `NAME:  VALUE` of `/proc/PID/status`.
#[track_caller]
fn status_of<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.strip_prefix(':')).unwrap().trim()
}

/// The paths of all files below a folder, relative to it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(inside).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found
}

#[test]
fn the_image_is_small_and_says_how_it_is_run() {
    let image = inspected();
    let size = image["Size"].as_u64().unwrap();
    assert!(size < MOST_BYTES, "{size} bytes");
    let config = &image["Config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["WorkingDir"], "/etc/wsgate");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/wsgate"]));
    assert_eq!(config["StopSignal"], "SIGTERM");
    // Podman's versions spell it differently.
    let health = ["HealthCheck", "Healthcheck"];
    let health = health.iter().find_map(|key| image.get(key));
    let command = &health.unwrap_or(&Value::Null)["Test"];
    assert_eq!(*command, serde_json::json!(["CMD", "/wsgate", "health"]));
    let labels = &config["Labels"];
    let version = &labels["org.opencontainers.image.version"];
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
}

#[test]
fn only_what_is_needed_is_in_the_image() {
    build();
    let mounted = podman(&["image", "mount", IMAGE]);
    let root = Path::new(mounted.trim());
    let expected = [
        "etc/ssl/certs/ca-certificates.crt",
        "etc/wsgate/proxy.yaml",
        "usr/share/doc/wsgate/LGPL-2.1",
        "usr/share/doc/wsgate/LICENSE",
        "usr/share/doc/wsgate/THIRD-PARTY-LICENSES",
        "usr/share/doc/wsgate/ca-certificates",
        "usr/share/doc/wsgate/libc6",
        "wsgate",
    ];
    assert_eq!(files(root), expected.map(str::to_owned).into());
    for file in ["LICENSE", "THIRD-PARTY-LICENSES"] {
        let shipped = fs::read(root.join("usr/share/doc/wsgate").join(file)).unwrap();
        assert_eq!(shipped, fs::read(file).unwrap(), "{file}");
    }
    let authorities = fs::read_to_string(root.join(expected[0])).unwrap();
    assert!(authorities.matches("BEGIN CERTIFICATE").count() > 50);
    // The allocator's settings reach the program only if the build read cargo's configuration.
    let settings = fs::read_to_string(".cargo/config.toml").unwrap();
    let settings = settings
        .lines()
        .find_map(|line| line.strip_prefix("JEMALLOC_SYS_WITH_MALLOC_CONF = "))
        .unwrap()
        .trim_matches('"');
    let program = fs::read(root.join("wsgate")).unwrap();
    let names = |text: &str| {
        program
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(names(settings), "the program was built without {settings}");
    // The build's folder is private, and would make each build different. The names of source files are in the program.
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME"));
    let target = std::env::current_dir().unwrap().join("target");
    for folder in [home.unwrap(), target.display().to_string()] {
        assert!(!names(&format!("{folder}/")), "the program names {folder}");
    }
    assert!(names("/cargo/registry/"));
}

#[test]
fn without_any_right_it_serves_an_echo_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let probes = format!("--env=PROBES=127.0.0.1:{}", own_port());
    let container = Container::start(folder, &["--env=LISTEN=127.0.0.1:0", &probes]);
    let status = container.kernel("status");
    assert!(status_of(&status, "NSpid").ends_with("\t1"), "{status}");
    assert_eq!(status_of(&status, "Uid"), "65532\t65532\t65532\t65532");
    assert_eq!(status_of(&status, "Gid"), "65532\t65532\t65532\t65532");
    assert_eq!(status_of(&status, "NoNewPrivs"), "1");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status_of(&status, set), "0000000000000000", "{set}");
    }
    let mounts = container.kernel("mountinfo");
    let root = mounts.lines().find(|line| {
        line.contains(" / / ") || {
            let point = line.split(' ').nth(4);
            point == Some("/")
        }
    });
    let options = root.unwrap().split(' ').nth(5).unwrap();
    assert!(options.split(',').any(|option| option == "ro"), "{mounts}");

    let client = Client::plain(container.proxy.address());
    let page = [
        ("Host", "localhost:8080"),
        ("Origin", "http://localhost:8080"),
    ];
    let mut client = open(client, "/echo", &page);
    echoes(&mut client, "is anybody in there?");
    drop(client);
    container.proxy.event("closed");
    // The image's own HEALTHCHECK, as a container engine runs it.
    podman(&["healthcheck", "run", &container.name]);
    let events = container.stop();
    let expected = [
        "listening",
        "listening",
        "opened",
        "closed",
        "draining",
        "stopped",
    ];
    assert_eq!(events, expected);
}

#[test]
fn the_configuration_in_the_image_passes_its_own_check() {
    build();
    let run = [&["run", "--rm"], STRICT, &[IMAGE, "check"]].concat();
    let report = podman(&run);
    assert!(report.contains("proxy.yaml: ok"), "{report}");
}

#[test]
fn the_health_check_fails_where_nothing_runs() {
    build();
    let probes = format!("--env=PROBES=127.0.0.1:{}", own_port());
    let output = Command::new("tests/image")
        .args(["podman", "run", "--rm"])
        .args(STRICT)
        .args([&probes, IMAGE, "health"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("/healthz: "), "{output:?}");
}

#[test]
fn a_mounted_configuration_with_certificates_works_and_names_are_found() {
    const NAME_SERVER: &str = "127.77.0.53";
    let server = NameServer::start(NAME_SERVER);
    for name in ["backend.test", "short.corp.test"] {
        server.says(name, Says::Address(Ipv4Addr::LOCALHOST));
    }
    let upstream = Upstream::echo();
    let port = upstream.url();
    let port = port.trim_matches('"').rsplit(':').next().unwrap();
    let names = ["localhost", "app.internal", "backend.test", "short"];
    let mut yaml = "listeners:\n  - address: 127.0.0.1:0\n    tls:\n      certificates:\n        \
                    - { cert: certs/good.pem, key: certs/good-key.pem }\nroutes:\n"
        .to_owned();
    for name in names {
        yaml += &format!(
            "  - {{ path: /{name}, websocket: {{ origins: [\"{ORIGIN}\"] }}, upstream: {name} }}\n"
        );
    }
    yaml += "upstreams:\n";
    for name in names {
        yaml += &format!("  {name}: {{ endpoints: [\"http://{name}:{port}\"] }}\n");
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, certs) = (
        folder.path().join("proxy.yaml"),
        folder.path().join("certs"),
    );
    fs::write(&file, yaml).unwrap();
    fs::create_dir(&certs).unwrap();
    let (_, key) = Authority::shared().write(&certs, "good", &[HOST], Kind::Good);
    // Only its owner may read the key, so the owner must be the user of the image.
    std::os::unix::fs::chown(key, Some(65532), Some(65532)).unwrap();

    let file = format!("--volume={}:/etc/wsgate/proxy.yaml:ro", file.display());
    let certs = format!("--volume={}:/etc/wsgate/certs:ro", certs.display());
    let mut container = Container::start(
        folder,
        &[
            &file,
            &certs,
            "--add-host=app.internal:127.0.0.1",
            &format!("--dns={NAME_SERVER}"),
            "--dns-search=corp.test",
        ],
    );
    for name in names {
        let client = Client::tls(container.proxy.address());
        let mut client = open(client, &format!("/{name}"), &[]);
        echoes(&mut client, name);
        drop(client);
        container.proxy.terminal();
    }
    assert_eq!(upstream.heads().len(), names.len());

    // One tunnel is open when the signal arrives, and gets a Close.
    let mut client = open(Client::tls(container.proxy.address()), "/localhost", &[]);
    podman(&["kill", "--signal", "TERM", &container.name]);
    let (first, payload) = crate::harness::frames::read(&mut client).unwrap();
    assert_eq!(
        (first, &payload[..2]),
        (crate::harness::frames::CLOSE, &1012_u16.to_be_bytes()[..])
    );
    client.send(crate::harness::frames::masked(first, payload));
    client.rest();
    container.proxy.terminal().expect(Reason::DrainGraceful);
    assert!(container.proxy.ended().success());
    let lines = container.proxy.finished();
    assert_eq!(lines.last().unwrap().text("event"), "stopped");
}
