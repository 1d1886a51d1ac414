//! Real hops in front of the proxy or of a backend: Debian's HAProxy and nginx, and Envoy.
//!
//! HAProxy and nginx get a listening socket as their standard input, so connections made before they are ready wait for
//! them. Envoy says which port it took. So no port is guessed.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
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
        let defaults = "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n";
        Self::haproxy_as(&format!(
            "{global}{defaults}listen relay\n  bind fd@0\n  {lines}\n  server proxy {to} {server}\n"
        ))
    }

    /// HAProxy as a hop that speaks HTTP to its clients and HTTP/2 to a server with TLS, for WebSockets too (RFC 8441).
    pub fn haproxy_h2(to: SocketAddr, bind: &str) -> Self {
        Self::haproxy_http(&format!(
            "listen relay\n  bind fd@0 {bind}\n  \
             server proxy {to} ssl verify none sni str(localhost) alpn h2 ws h2\n"
        ))
    }

    /// HAProxy for HTTP with these sections; one of them has `bind fd@0`.
    pub fn haproxy_http(sections: &str) -> Self {
        Self::haproxy_as(&format!(
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
             timeout tunnel 60s\n{sections}"
        ))
    }

    fn haproxy_as(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("haproxy.cfg");
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
        Self::envoy_to(to, upgrades, &json!({}), &json!({}))
    }

    /// Envoy with TLS on both sides. It speaks HTTP/2 to the server, and to the clients that want it; WebSockets too (RFC
    /// 8441). `folder` has its certificate.
    pub fn envoy_h2(to: SocketAddr, folder: &Path) -> Self {
        let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.{name}");
        let tls = |side: &str, more: Value| {
            let mut config = more;
            let name = format!("transport_sockets.tls.v3.{side}TlsContext");
            config["@type"] = kind(&name).into();
            json!({ "name": "envoy.transport_sockets.tls", "typed_config": config })
        };
        let options = "upstreams.http.v3.HttpProtocolOptions";
        let cluster = json!({
            "typed_extension_protocol_options": { (format!("envoy.extensions.{options}")): {
                "@type": kind(options),
                "explicit_http_config": { "http2_protocol_options": { "allow_connect": true } },
            } },
            "transport_socket": tls("Upstream", json!({
                "sni": "localhost", "common_tls_context": { "alpn_protocols": ["h2"] },
            })),
        });
        let file = |name| json!({ "filename": folder.join(name) });
        let chain = json!({
            "transport_socket": tls("Downstream", json!({ "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{
                    "certificate_chain": file("good.pem"), "private_key": file("good-key.pem"),
                }],
            } })),
        });
        Self::envoy_to(to, &["websocket"], &cluster, &chain)
    }

    /// With more keys of the cluster and of the filter chain.
    fn envoy_to(to: SocketAddr, upgrades: &[&str], cluster: &Value, chain: &Value) -> Self {
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
            "http2_protocol_options": { "allow_connect": true },
            "upgrade_configs": upgrades.collect::<Vec<_>>(),
            "route_config": { "virtual_hosts": [{
                "name": "all", "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "to" } }],
            }] },
            "http_filters": [{
                "name": "router", "typed_config": typed("http.router.v3.Router", json!({})),
            }],
        });
        let with = |mut value: Value, more: &Value| {
            let keys = more.as_object().unwrap().clone();
            value.as_object_mut().unwrap().extend(keys);
            value
        };
        let cluster = with(
            json!({
                "name": "to", "type": "STATIC",
                "load_assignment": { "cluster_name": "to", "endpoints": [
                    { "lb_endpoints": [{ "endpoint": { "address": socket(to) } }] },
                ] },
            }),
            cluster,
        );
        let chain = with(
            json!({ "filters": [{ "name": "http", "typed_config": typed(connections, manager) }] }),
            chain,
        );
        let config = json!({
            "admin": { "address": any },
            "static_resources": {
                "listeners": [{ "name": "hop", "address": any, "filter_chains": [chain] }],
                "clusters": [cluster],
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
