//! Real hops in front of the proxy or of a backend: Debian's HAProxy and nginx, and Envoy.
//!
//! HAProxy and nginx get a listening socket as their standard input, so connections made before they are ready wait for
//! them. Envoy says which port it took. So no port is guessed.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::programs::{file, said_in_all, tool};
use crate::harness::{eventually, signal};

/// A running hop, ended when dropped.
pub struct Hop {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Hop {
    /// HAProxy as a TCP relay; `server` are the options of its only server.
    pub fn haproxy(to: SocketAddr, server: &str) -> Self {
        Self::haproxy_with(to, server, "", "")
    }

    /// The same with a section before all others, and with more lines for the relay.
    pub fn haproxy_with(to: SocketAddr, server: &str, global: &str, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("haproxy.cfg");
        let text = format!(
            "{global}defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             listen relay\n  bind fd@0\n  {lines}\n  server proxy {to} {server}\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(tool("WSGATE_HAPROXY"));
        command.arg("-db").arg("-f").arg(config);
        Self::start(folder, listening(), command)
    }

    /// nginx as a hop that speaks HTTP; `location` is what its location contains besides `proxy_pass`.
    pub fn nginx(to: SocketAddr, location: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = listening();
        let path = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {path}/{kind}; "))
            .collect();
        let address = listener.local_addr().unwrap();
        let text = format!(
            "daemon off; worker_processes 1; user root; pid {path}/pid; error_log stderr warn;\n\
             events {{}}\n\
             http {{ access_log off; {temporary}\n\
             server {{ listen {address}; location / {{ proxy_pass http://{to}; {location} }} }} }}\n"
        );
        let config = folder.path().join("nginx.conf");
        fs::write(&config, text).unwrap();
        let mut command = Command::new(tool("WSGATE_NGINX"));
        // Until it has read its configuration, it writes to the path that was compiled in.
        command.args(["-e", "stderr", "-p"]).arg(folder.path());
        command.arg("-c").arg(config).env("NGINX", "0;");
        Self::start(folder, listener, command)
    }

    /// Envoy as a hop that speaks HTTP; `upgrades` are the kinds of upgrade that it passes on.
    pub fn envoy(to: SocketAddr, upgrades: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = |address: SocketAddr| json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } });
        let any = socket(any_port());
        let typed = |name: &str, mut config: Value| {
            config["@type"] = format!("type.googleapis.com/envoy.extensions.filters.{name}").into();
            config
        };
        let connections = "network.http_connection_manager.v3.HttpConnectionManager";
        let upgrades = upgrades.iter().map(|kind| json!({ "upgrade_type": kind }));
        let manager = json!({
            "stat_prefix": "hop",
            "upgrade_configs": upgrades.collect::<Vec<_>>(),
            "route_config": { "virtual_hosts": [{
                "name": "all", "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "to" } }],
            }] },
            "http_filters": [{
                "name": "router", "typed_config": typed("http.router.v3.Router", json!({})),
            }],
        });
        let config = json!({
            "admin": { "address": any },
            "static_resources": {
                "listeners": [{
                    "name": "hop", "address": any,
                    "filter_chains": [{ "filters": [
                        { "name": "http", "typed_config": typed(connections, manager) },
                    ] }],
                }],
                "clusters": [{
                    "name": "to", "type": "STATIC",
                    "load_assignment": { "cluster_name": "to", "endpoints": [
                        { "lb_endpoints": [{ "endpoint": { "address": socket(to) } }] },
                    ] },
                }],
            },
        });
        let path = folder.path().join("envoy.json");
        fs::write(&path, config.to_string()).unwrap();
        let admin = folder.path().join("admin");
        let mut command = Command::new(file(".venv/bin/envoy"));
        command.args([
            "--disable-hot-restart",
            "--concurrency",
            "1",
            "-l",
            "warn",
            "-c",
        ]);
        command.arg(path).arg("--admin-address-path").arg(&admin);
        let mut hop = Self::spawn(folder, any_port(), Stdio::null(), command);
        hop.address = eventually("the port of envoy", || {
            let admin = fs::read_to_string(&admin).ok()?.parse().ok()?;
            listener_of_envoy(admin)
        });
        hop
    }

    fn start(folder: TempDir, listener: TcpListener, command: Command) -> Self {
        let address = listener.local_addr().unwrap();
        let input = Stdio::from(OwnedFd::from(listener));
        Self::spawn(folder, address, input, command)
    }

    fn spawn(folder: TempDir, address: SocketAddr, input: Stdio, mut command: Command) -> Self {
        let errors = fs::File::create(folder.path().join("stderr")).unwrap();
        let child = command
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self {
            child,
            address,
            folder,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        // It must not be killed: nginx ends its worker, which would survive it.
        signal(self.child.id(), "TERM");
        if !std::thread::panicking() {
            eventually("the hop's end", || self.child.try_wait().unwrap());
        }
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = fs::read_to_string(self.folder.path().join("stderr"));
            eprintln!("stderr of the hop:\n{}", said.unwrap_or_default());
        }
    }
}

fn listening() -> TcpListener {
    TcpListener::bind(any_port()).unwrap()
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Where Envoy's only listener is, if it is ready.
fn listener_of_envoy(admin: SocketAddr) -> Option<SocketAddr> {
    let mut socket = TcpStream::connect(admin).ok()?;
    let request = "GET /listeners HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let line = answer.lines().find(|line| line.starts_with("hop::"))?;
    let address: SocketAddr = line.strip_prefix("hop::")?.trim().parse().ok()?;
    (address.port() != 0).then_some(address)
}

/// Such as `nginx 1.22.1`.
pub fn nginx_version() -> String {
    let said = said_in_all(&tool("WSGATE_NGINX"), &["-v"]);
    let version = said.trim().rsplit('/').next().unwrap();
    format!("nginx {version}")
}

/// Such as `haproxy 2.6.12-1+deb12u4`.
pub fn haproxy_version() -> String {
    let said = said_in_all(&tool("WSGATE_HAPROXY"), &["-v"]);
    let version = said.split_ascii_whitespace().nth(2).unwrap();
    format!("haproxy {version}")
}
