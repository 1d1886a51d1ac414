//! `wsgate run`.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::check::lines;
use super::{FAILED, OK, WRONG, say};
use crate::config::{Config, Endpoint, LogFormat};
use crate::record::{Settings, Sink};
use crate::server::{Plan, Purpose, Server};

/// Descriptors beside those of connections: listeners, standard streams, the runtime's own, a certificate being read.
const OTHER_DESCRIPTORS: u64 = 64;

/// Serves until a signal ends it.
pub(super) fn run(file: &Path) -> u8 {
    start_diagnostics();
    let plan = match Plan::load(file, Purpose::Run) {
        Ok(plan) => plan,
        Err(problems) => {
            say(io::stderr(), &lines(&problems));
            return WRONG;
        }
    };
    say(io::stderr(), &lines(&plan.warnings));
    raise_descriptor_limit(plan.config.limits.connections);
    match serve(plan) {
        Ok(()) => OK,
        Err(error) => {
            tracing::error!("{error}");
            FAILED
        }
    }
}

fn serve(plan: Plan) -> Result<(), Box<dyn std::error::Error>> {
    let config = std::sync::Arc::clone(&plan.config);
    let sink = Sink::start(io::stdout(), settings(&config))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        // Before the listeners, so that a signal that comes while they are being bound is not lost. As process 1 of
        // a container the kernel's default would ignore them.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let server = Server::bind(plan, sink)?;
        say(io::stderr(), &banner(&config, server.addresses()));
        server
            .run(async || next_signal(&mut terminate, &mut interrupt).await)
            .await;
        Ok(())
    });
    // Every connection has ended. What may still run is a look-up in the system's resolver, which can't be cancelled
    // and takes longer than any drain where a name server does not answer.
    runtime.shutdown_background();
    served
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

fn settings(config: &Config) -> Settings {
    let log = &config.log;
    Settings {
        level: log.level,
        text: match log.format {
            LogFormat::Auto => io::stdout().is_terminal(),
            LogFormat::Json => false,
            LogFormat::Text => true,
        },
        query_keep: log.query_keep.clone(),
        client_address: log.client_address,
        instance: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        hook: None,
    }
}

/// The program's own diagnostics go to standard error; `RUST_LOG` chooses which.
fn start_diagnostics() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        // It would say on standard error that standard error is closed, and panic there.
        .log_internal_errors(false)
        .init();
}

/// Every tunnel takes two descriptors: the soft limit is raised to the hard one, and too low a hard one is said.
fn raise_descriptor_limit(connections: usize) {
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
    let needed = (connections as u64)
        .saturating_mul(2)
        .saturating_add(OTHER_DESCRIPTORS);
    if let Some(available) = getrlimit(Resource::Nofile).current
        && available < needed
    {
        let fits = available.saturating_sub(OTHER_DESCRIPTORS) / 2;
        tracing::warn!(
            "limits.connections is {connections}, which needs {needed} descriptors, but the hard limit is {available}: \
             raise nofile, or set limits.connections to {fits} or less"
        );
    }
}

/// What an operator wants to see at the start: where it listens, what it serves, how to try it.
fn banner(config: &Config, addresses: impl Iterator<Item = SocketAddr>) -> String {
    let addresses: Vec<_> = addresses.collect();
    let mut text = format!("wsgate {}\n", env!("CARGO_PKG_VERSION"));
    for (address, listener) in addresses.iter().zip(&config.listeners) {
        let kind = if listener.tls.is_some() { "wss" } else { "ws" };
        let _ = writeln!(text, "  listening on {kind}://{address}");
    }
    for route in config.routes.iter() {
        let endpoints = config.upstreams.get(&route.upstream).map(|upstream| {
            upstream
                .endpoints
                .iter()
                .map(Endpoint::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        });
        let origins: Vec<_> = route
            .websocket
            .origins
            .iter()
            .map(ToString::to_string)
            .collect();
        let endpoints = endpoints.unwrap_or_default();
        let _ = writeln!(
            text,
            "  route {route} to {} ({endpoints}), origins {}",
            route.upstream,
            origins.join(", ")
        );
    }
    if let Some(line) = try_line(config, &addresses) {
        let _ = writeln!(text, "try it:\n  {line}");
    }
    text
}

/// A command to paste: the opening handshake of the first route on the first listener.
fn try_line(config: &Config, addresses: &[SocketAddr]) -> Option<String> {
    let (address, listener) = (addresses.first()?, config.listeners.first()?);
    let route = config.routes.first()?;
    let (scheme, trust, name) = match &listener.tls {
        None => ("http", String::new(), address.ip().to_string()),
        Some(tls) if tls.self_signed => {
            let cert = tls.certificates.first()?.cert.display().to_string();
            ("https", format!("--cacert {cert} "), "localhost".to_owned())
        }
        Some(_) => (
            "https",
            String::new(),
            route.host.as_ref().map(ToString::to_string)?,
        ),
    };
    let origin = route.websocket.origins.first()?;
    let path = route.path.to_string().replace('*', "");
    let port = address.port();
    Some(format!(
        "curl -i -N -m 2 {trust}-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
         -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' -H 'Origin: {origin}' {scheme}://{name}:{port}{path}"
    ))
}
