//! Real hops in front of the proxy: Debian's HAProxy and nginx.
//!
//! Each gets a listening socket as its standard input, so connections made before it is ready wait for it, and no port
//! is guessed.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::programs::{said_in_all, tool};
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

    fn start(folder: TempDir, listener: TcpListener, mut command: Command) -> Self {
        let address = listener.local_addr().unwrap();
        let errors = fs::File::create(folder.path().join("stderr")).unwrap();
        let child = command
            .stdin(Stdio::from(OwnedFd::from(listener)))
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
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
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
