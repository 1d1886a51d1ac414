//! The proxies that can be measured, each with the smallest configuration for the same work: one TLS listener, every
//! WebSocket request passed on, one line per connection in a file, and time limits that no measurement reaches.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::process::Started;

/// Another proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Against {
    /// Debian's package `nginx`.
    Nginx,
    /// Debian's package `haproxy`.
    Haproxy,
}

/// A program and how it is configured.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Its name in the table.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// `None`: it is configured by a `proxy.yaml`.
    pub kind: Option<Against>,
}

/// The settings of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The folder for its files; contains `cert.pem` and `key.pem`.
    pub folder: &'a Path,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The backend's port on 127.0.0.1.
    pub backend: u16,
    /// How many connections it must be able to hold.
    pub connections: usize,
}

impl Against {
    /// Finds the installed program.
    ///
    /// # Errors
    /// If it is not installed; the message names the package.
    pub fn find(self) -> Result<Proxy, Failure> {
        let name = match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        };
        // Debian installs them in a folder that is not in every PATH.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let program = folders
            .map(|folder| folder.join(name))
            .find(|program| program.is_file())
            .ok_or_else(|| format!("{name} is not installed; Debian's package is {name}"))?;
        Ok(Proxy {
            name: name.to_owned(),
            program,
            kind: Some(self),
        })
    }
}

impl Proxy {
    /// Starts it in the foreground. Its records go to `records` in the folder, other output to `messages`.
    ///
    /// # Errors
    /// If a file can't be written or the program can't be started.
    pub fn start(&self, setup: Setup<'_>) -> Result<Started, Failure> {
        let folder = setup.folder;
        let mut command = Command::new(&self.program);
        match self.kind {
            None => {
                let config = folder.join("proxy.yaml");
                fs::write(&config, wsgate(setup))?;
                command.arg("--config").arg(config);
            }
            Some(Against::Nginx) => {
                let config = folder.join("nginx.conf");
                fs::write(&config, nginx(setup))?;
                let messages = folder.join("messages");
                command.arg("-e").arg(messages).arg("-c").arg(config);
            }
            Some(Against::Haproxy) => {
                let config = folder.join("haproxy.cfg");
                let mut pem = fs::read(folder.join("cert.pem"))?;
                pem.extend(fs::read(folder.join("key.pem"))?);
                fs::write(folder.join("both.pem"), pem)?;
                fs::write(&config, haproxy(setup))?;
                command.arg("-db").arg("-f").arg(config);
            }
        }
        let messages = File::options()
            .append(true)
            .create(true)
            .open(folder.join("messages"))?;
        let records = File::options()
            .append(true)
            .create(true)
            .open(folder.join("records"))?;
        command
            .stdin(Stdio::null())
            .stdout(records)
            .stderr(messages);
        Started::quiet(&mut command)
    }

    /// How many sockets it needs for one connection: one to the client, and one to the backend once there is a request.
    pub fn sockets(has_request: bool) -> usize {
        1 + usize::from(has_request)
    }
}

fn wsgate(setup: Setup<'_>) -> String {
    let Setup {
        port,
        backend,
        connections,
        ..
    } = setup;
    format!(
        "\
listeners:
  - address: 127.0.0.1:{port}
    tls:
      certificates: [{{ cert: cert.pem, key: key.pem }}]
routes:
  - path: /stream
    websocket: {{ origins: [\"https://app.example.com\"] }}
    upstream: backend
  - path: /plain
    http: {{ methods: [GET, POST], max_body: off, request_timeout: 1h, response_timeout: 1h }}
    upstream: backend
  - path: /kept
    http: {{ methods: [GET], response_timeout: 1h }}
    upstream: both
upstreams:
  both: {{ endpoints: [\"http://127.0.0.1:{backend}\", \"http://127.0.0.2:{backend}\"] }}
  backend: {{ endpoints: [\"http://127.0.0.1:{backend}\"], handshake_timeout: 1h }}
limits: {{ connections: {connections}, tls_handshake: 1h, request_head: 1h, write_stall: 1h }}
"
    )
}

fn nginx(setup: Setup<'_>) -> String {
    let Setup {
        folder,
        port,
        backend,
        connections,
    } = setup;
    let folder = folder.display();
    // A worker counts both sockets of a tunnel and some of its own, and closes connections that wait for a request when
    // only a sixteenth is left. TLS 1.3 is off by default before 1.23.4.
    let sockets = 2 * connections + connections / 4 + 64;
    format!(
        "\
daemon off;
pid {folder}/pid;
events {{ worker_connections {sockets}; }}
http {{
  access_log {folder}/records;
  client_body_temp_path {folder}/client_body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/cert.pem;
    ssl_certificate_key {folder}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    client_header_timeout 1h;
    location / {{
      proxy_pass http://127.0.0.1:{backend};
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_read_timeout 1h;
    }}
  }}
}}
"
    )
}

fn haproxy(setup: Setup<'_>) -> String {
    let Setup {
        folder,
        port,
        backend,
        connections,
    } = setup;
    let folder = folder.display();
    format!(
        "\
global
  maxconn {connections}
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-request 1h
  timeout tunnel 1h
frontend tls
  bind 127.0.0.1:{port} ssl crt {folder}/both.pem
  default_backend app
backend app
  server app 127.0.0.1:{backend}
"
    )
}
