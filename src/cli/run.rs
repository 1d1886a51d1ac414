//! `wsgate run`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ask::here;
use super::check::lines;
use super::signals::Signals;
use super::{FAILED, OK, WRONG, say};
use crate::config::{self, Alpn, Config, Endpoint};
use crate::http2;
use crate::policy::{Route, Serves};
use crate::record::{Settings, Sink};
use crate::server::{Inherited, Plan, Purpose, Server, descriptor_shortage};

/// Serves until a signal ends the process.
pub(super) fn run(file: &Path) -> u8 {
    start_diagnostics();
    // It changes the environment, so there must be only one thread.
    let inherited = match Inherited::from_environment() {
        Ok(inherited) => inherited,
        Err(error) => {
            tracing::error!("{error}");
            return FAILED;
        }
    };
    // Before any file is read: a pipe may have no writer, and a network file system may never answer.
    let signals = match Signals::take() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!("can't wait for signals: {error}");
            return FAILED;
        }
    };
    let plan = match Plan::load(file, Purpose::Run) {
        Ok(plan) => plan,
        Err(problems) => {
            say(io::stderr(), &lines(&problems));
            return WRONG;
        }
    };
    say(io::stderr(), &lines(&plan.warnings));
    if config::is_read_once(file) {
        tracing::info!(
            "the configuration was read from {}, which can't be read again: a change needs a restart; certificate files \
             still reload when they change",
            file.display()
        );
    }
    raise_descriptor_limit(&plan.config);
    signals.loaded();
    match serve(plan, inherited, signals) {
        Ok(()) => OK,
        Err(error) => {
            tracing::error!("{error}");
            FAILED
        }
    }
}

fn serve(
    plan: Plan,
    inherited: Inherited,
    mut signals: Signals,
) -> Result<(), Box<dyn std::error::Error>> {
    let config = std::sync::Arc::clone(&plan.config);
    // Without the standard library's buffer, which cuts batches of lines in pieces.
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let sink = Sink::start(output, settings(&config))?;
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let mut hangup = signal(SignalKind::hangup())?;
        let others = [SignalKind::user_defined1(), SignalKind::user_defined2()];
        for (kind, name) in others.into_iter().zip(["SIGUSR1", "SIGUSR2"]) {
            tokio::spawn(ignore(signal(kind)?, name));
        }
        let server = Server::bind(plan, sink, inherited)?;
        signals.allow(server.patience());
        say(io::stderr(), &banner(&config, &server));
        server
            .run(
                async || signals.next().await,
                async || {
                    hangup.recv().await;
                },
            )
            .await;
        Ok(())
    });
    // Every connection has ended. Only the reading of a file may still run; it can't be cancelled, and on a network
    // file system that does not answer it takes longer than any drain.
    runtime.shutdown_background();
    served
}

/// One thread where one processor is available: handing work to a second one would only cost time.
fn runtime() -> io::Result<Runtime> {
    let mut builder = match thread::available_parallelism() {
        Ok(processors) if processors.get() == 1 => Builder::new_current_thread(),
        Ok(_) | Err(_) => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

/// Ignores a signal that has no meaning here. Scripts that rotate logs send such signals, and by default they would end
/// the process, with every tunnel and without a record.
async fn ignore(mut signal: Signal, name: &'static str) {
    while signal.recv().await.is_some() {
        tracing::warn!(
            "{name} is ignored: records go to standard output, so there is no log to open again; SIGHUP reads the \
             configuration"
        );
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        log: config.log.clone(),
        is_terminal: io::stdout().is_terminal(),
        instance: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        hook: None,
    }
}

/// Diagnostics of the program go to standard error; `RUST_LOG` filters them.
fn start_diagnostics() {
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;
    use tracing_subscriber::{EnvFilter, Layer as _, fmt};
    // What the HTTP/2 library warns of, any peer can cause.
    let usual = || EnvFilter::new("info,h2=off");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| usual());
    let shown = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        // Otherwise a closed standard error would be reported on standard error, which panics.
        .log_internal_errors(false)
        .with_filter(filter);
    tracing_subscriber::registry()
        .with(http2::listener())
        .with(shown)
        .init();
}

/// Raises the soft limit of descriptors to the hard limit, because every tunnel needs two, and warns if that is too
/// low.
fn raise_descriptor_limit(config: &Config) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    ) {
        tracing::warn!(%error, ?current, ?maximum, "can't raise the limit of open descriptors");
    }
    if let Some(shortage) = descriptor_shortage(config) {
        tracing::warn!("{shortage}");
    }
}

/// What an operator wants to see at the start: where the proxy listens, what it serves and how to try it.
fn banner(config: &Config, server: &Server) -> String {
    let addresses: Vec<_> = server.addresses().collect();
    let mut text = format!("wsgate {}\n", env!("CARGO_PKG_VERSION"));
    for (address, listener) in addresses.iter().zip(&config.listeners) {
        let (kind, more) = match (listener.redirect_to_https, &listener.tls) {
            (true, _) => ("http", ", redirecting to https"),
            (false, Some(tls)) if !tls.alpn.contains(&Alpn::H2) => ("wss", ""),
            (false, Some(tls)) if tls.alpn.contains(&Alpn::Http11) => ("wss", ", with HTTP/2"),
            (false, Some(_)) => ("wss", ", with HTTP/2 only"),
            (false, None) => ("ws", ""),
        };
        let _ = writeln!(text, "  listening on {kind}://{address}{more}");
    }
    for (name, address) in server.services() {
        let _ = writeln!(text, "  {name} on http://{address}");
    }
    if let Some(path) = server.socket() {
        let _ = writeln!(text, "  admin on unix:{}", path.display());
    }
    for route in config.routes.iter() {
        let _ = writeln!(text, "  route {route}{}", served(config, route));
    }
    if let Some(line) = try_line(config, &addresses) {
        let _ = writeln!(text, "try it:\n  {line}");
    }
    text
}

/// What happens to a request for a route.
fn served(config: &Config, route: &Route) -> String {
    let listed = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    let forward = match &route.serves {
        Serves::Respond(respond) => return format!(" answers {}", respond.status),
        Serves::Forward(forward) => forward,
    };
    let upstream = config.upstreams.get(&forward.upstream);
    let endpoints = upstream.map(|upstream| upstream.endpoints.as_slice());
    let endpoints = listed(
        &mut endpoints
            .unwrap_or_default()
            .iter()
            .map(Endpoint::to_string),
    );
    let mut text = format!(" to {} ({endpoints})", forward.upstream);
    if let Some(rules) = &forward.websocket {
        let origins = listed(&mut rules.origins.iter().map(ToString::to_string));
        text.push_str(&format!(", origins {origins}"));
    }
    if let Some(rules) = &forward.http {
        text.push_str(&format!(", http {}", rules.methods.join(", ")));
    }
    text
}

/// A command to paste, which sends an opening handshake for the first route to the first listener. `None` if a host, an
/// origin or a path is a pattern, or needs quotes in a shell, or if the listener does not speak HTTP/1.1.
fn try_line(config: &Config, addresses: &[SocketAddr]) -> Option<String> {
    let (address, listener) = (addresses.first()?, config.listeners.first()?);
    let route = config.routes.first()?;
    let (_, rules) = route.websocket()?;
    if listener.proxy_protocol || listener.redirect_to_https {
        return None;
    }
    let alpn = listener.tls.as_ref().map(|tls| tls.alpn.as_slice());
    if alpn.is_some_and(|alpn| !alpn.contains(&Alpn::Http11)) {
        return None;
    }
    let reachable = here(*address);
    let scheme = if listener.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let mut options = String::new();
    // curl would choose HTTP/2, in which the fields of this handshake have no meaning.
    if alpn.is_some_and(|alpn| alpn.contains(&Alpn::H2)) {
        options.push_str("--http1.1 ");
    }
    let name = match (&listener.tls, &route.host) {
        (_, Some(host)) => Some(host.to_string()),
        (Some(tls), None) if tls.self_signed => Some("localhost".to_owned()),
        (Some(_), None) => return None,
        (None, None) => None,
    };
    if let Some(tls) = listener.tls.as_ref().filter(|tls| tls.self_signed) {
        let cert = tls.certificates.first()?.cert.display().to_string();
        options.push_str(&format!("--cacert {cert} "));
    }
    let authority = match name {
        None => reachable.to_string(),
        Some(name) => {
            if name != "localhost" {
                // The name may still resolve to the machine that serves it at present, so the command names the
                // address.
                options.push_str(&format!("--connect-to ::{reachable} "));
            }
            format!("{name}:{}", reachable.port())
        }
    };
    let origin = rules.origins.first()?.to_string();
    let path = route.path.to_string();
    let path = path.strip_suffix('*').unwrap_or(&path);
    let plain = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/:.-_[]".contains(&b))
    };
    if !origin.starts_with("http") || ![&origin, &authority, path].into_iter().all(plain) {
        return None;
    }
    Some(format!(
        "curl -i -N -m 2 {options}-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
         -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' -H 'Origin: {origin}' {scheme}://{authority}{path}"
    ))
}
