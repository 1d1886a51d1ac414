//! Start and stop: from a configuration file to bound listeners, and from a signal to the last record.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::config::{self, Config, Endpoint, Problem, Severity, Shutdown, Source};
use crate::connection::{self, Shared, Stop};
use crate::http::via::Pseudonym;
use crate::limits::Clients;
use crate::listener::Listener;
use crate::policy::HostPattern;
use crate::reason::{Level, Stage};
use crate::record::{Draft, Event, Record, Sink};
use crate::tls;

/// After the shutdown's deadline, how long the tasks that were cut may take to write their records.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// How long a blocked standard output may hold up the exit.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Whether development certificates are made where they are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To serve: yes.
    Run,
    /// To report: no file is written.
    Check,
}

/// A configuration with its certificates loaded: all that can be known without a socket.
#[derive(Debug)]
pub struct Plan {
    /// The configuration.
    pub config: Arc<Config>,
    /// What is worth the operator's attention and keeps nothing from starting.
    pub warnings: Vec<Problem>,
    tls: Vec<Option<tls::Server>>,
}

impl Plan {
    /// Reads `file` and the certificates that it names.
    ///
    /// # Errors
    /// All problems of the file and the certificates at once, errors and warnings, in the order of their lines.
    pub fn load(file: &Path, purpose: Purpose) -> Result<Self, Vec<Problem>> {
        let outcome = config::read(file);
        let mut problems = outcome.problems;
        let mut identities = Vec::new();
        for files in &outcome.certificates {
            let self_signed = files.site.ends_with(".self_signed");
            if self_signed {
                match purpose {
                    Purpose::Check if !files.cert.exists() && !files.key.exists() => continue,
                    Purpose::Check => {}
                    Purpose::Run => {
                        if let Err(error) = tls::ensure_development_certificate(files) {
                            problems.push(outcome.source.problem(
                                Severity::Error,
                                &files.site,
                                error.to_string(),
                            ));
                            continue;
                        }
                    }
                }
            }
            let (identity, findings) = tls::load(files, SystemTime::now());
            for finding in findings {
                let site = if self_signed {
                    files.site.clone()
                } else {
                    format!("{}.{}", files.site, finding.field)
                };
                problems.push(
                    outcome
                        .source
                        .problem(finding.severity, &site, finding.message),
                );
            }
            identities.extend(identity.map(|identity| (files.clone(), identity)));
        }
        let Some(config) = outcome.config else {
            return Err(sorted(problems));
        };
        let mut authorities = Vec::new();
        for listener in &config.listeners {
            let settings = listener.tls.as_ref();
            let client_auth = settings.and_then(|settings| settings.client_auth.as_ref());
            authorities.push(client_auth.and_then(|client_auth| {
                let (loaded, findings) = tls::Authorities::load(client_auth);
                for finding in findings {
                    let site = format!("{}.{}", client_auth.site, finding.field);
                    let source = &outcome.source;
                    problems.push(source.problem(finding.severity, &site, finding.message));
                }
                loaded
            }));
        }
        problems.extend(own_endpoints(&config, &outcome.source));
        problems.extend(uncovered_hosts(&config, &identities, &outcome.source));
        if problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
        {
            return Err(sorted(problems));
        }
        let mut tls = Vec::new();
        let listeners = config.listeners.iter().zip(&authorities);
        for (index, (listener, authorities)) in listeners.enumerate() {
            let Some(settings) = &listener.tls else {
                tls.push(None);
                continue;
            };
            let mut own = Vec::new();
            for files in &settings.certificates {
                if let Some(at) = identities.iter().position(|(of, _)| of == files) {
                    own.push(identities.swap_remove(at).1);
                }
            }
            match tls::Server::new(own, authorities.as_ref(), settings) {
                Ok(server) => tls.push(Some(server)),
                Err(error) => {
                    let site = format!("listeners[{index}].tls");
                    problems.push(outcome.source.problem(
                        Severity::Error,
                        &site,
                        error.to_string(),
                    ));
                    return Err(sorted(problems));
                }
            }
        }
        Ok(Self {
            config: Arc::new(config),
            warnings: sorted(problems),
            tls,
        })
    }
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
}

/// Routes for a host that no TLS listener's certificate is made for: over TLS no client can reach them.
fn uncovered_hosts(
    config: &Config,
    identities: &[(config::CertificateFiles, tls::Identity)],
    source: &Source,
) -> Vec<Problem> {
    // Behind a hop that terminates TLS the certificates are elsewhere.
    if identities.is_empty() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (index, route) in config.routes.iter().enumerate() {
        let Some(host) = &route.host else {
            continue;
        };
        if !identities
            .iter()
            .any(|(_, identity)| covers(identity, host))
        {
            let host = match host {
                HostPattern::Exact(name) => name.clone(),
                HostPattern::Wildcard(base) => format!("*.{base}"),
            };
            let message = format!(
                "no certificate covers {host:?}, so that clients refuse the connection; add one to listeners[].tls.certificates"
            );
            problems.push(source.problem(
                Severity::Warning,
                &format!("routes[{index}].host"),
                message,
            ));
        }
    }
    problems
}

/// Whether a certificate is made for a host of a route, or for some of the hosts that a wildcard stands for.
fn covers(identity: &tls::Identity, host: &HostPattern) -> bool {
    match host {
        HostPattern::Exact(name) => identity.covers(name),
        HostPattern::Wildcard(base) => identity
            .names()
            .any(|name| name.strip_prefix("*.") == Some(base) || host.matches(&name)),
    }
}

/// Endpoints that are a listener of this very proxy: each request would come back to it until nothing is left.
fn own_endpoints(config: &Config, source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for upstream in config.upstreams.values() {
        for (index, endpoint) in upstream.endpoints.iter().enumerate() {
            let Endpoint::Http { host, port } = endpoint else {
                continue;
            };
            let is_own = |listener: &config::Listener| {
                let ip = listener.address.ip();
                let reaches = match host.parse::<IpAddr>() {
                    Ok(dialled) if ip.is_unspecified() => {
                        dialled.is_ipv4() == ip.is_ipv4()
                            && (dialled.is_loopback() || dialled.is_unspecified())
                    }
                    Ok(dialled) => dialled == ip || (dialled.is_unspecified() && ip.is_loopback()),
                    Err(_) => host == "localhost" && (ip.is_loopback() || ip.is_unspecified()),
                };
                *port == listener.address.port() && reaches
            };
            if let Some(own) = config.listeners.iter().position(is_own) {
                let site = format!("upstreams.{}.endpoints[{index}]", upstream.name);
                let message = format!(
                    "found \"{endpoint}\", which is listeners[{own}] of this proxy itself; write the backend's own address"
                );
                problems.push(source.problem(Severity::Error, &site, message));
            }
        }
    }
    problems
}

/// Why the proxy did not start.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    cause: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedy = match self.cause.kind() {
            io::ErrorKind::AddrInUse => "; stop what listens there, or change listeners[].address",
            io::ErrorKind::AddrNotAvailable => {
                "; it is no address of this machine: change listeners[].address"
            }
            io::ErrorKind::PermissionDenied => {
                "; ports below 1024 need a privilege: change listeners[].address"
            }
            _ => "",
        };
        write!(
            f,
            "can't listen on {}: {}{remedy}",
            self.address, self.cause
        )
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Bound listeners, not yet accepting.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<(Listener, Arc<Shared>)>,
    sink: Sink,
    stop: Stop,
    tasks: TaskTracker,
    shutdown: Shutdown,
}

impl Server {
    /// Binds every listener of the plan and records each as `listening`. Needs a Tokio runtime.
    ///
    /// # Errors
    /// The first address that can't be bound.
    pub fn bind(plan: Plan, sink: Sink) -> Result<Self, BindError> {
        let Plan { config, tls, .. } = plan;
        let slots = Arc::new(Semaphore::new(
            config.limits.connections.min(Semaphore::MAX_PERMITS),
        ));
        let stop = Stop::default();
        let tasks = TaskTracker::new();
        let clients = Arc::new(Clients::new(
            config.limits.connections_per_client,
            config.limits.handshakes_per_client,
            &config.trusted_proxies,
        ));
        let via = Arc::new(Pseudonym::new());
        let mut listeners = Vec::new();
        for (settings, tls) in config.listeners.iter().zip(tls) {
            let listener = Listener::bind(
                settings.address,
                Arc::clone(&slots),
                config.limits.write_stall,
            )
            .map_err(|cause| BindError {
                address: settings.address,
                cause,
            })?;
            let shared = Shared {
                config: Arc::clone(&config),
                listener: listener.address(),
                tls,
                sink: sink.clone(),
                settings: config.routes.iter().map(|_| OnceLock::new()).collect(),
                stop: stop.clone(),
                tasks: tasks.clone(),
                clients: Arc::clone(&clients),
                via: Arc::clone(&via),
            };
            listeners.push((listener, Arc::new(shared)));
        }
        for (listener, shared) in &listeners {
            let kind = if shared.tls.is_some() {
                "with TLS"
            } else {
                "without TLS"
            };
            let mut record = Record::lifecycle(Event::Listening, Level::Info, kind);
            record.listener = Some(listener.address().to_string());
            sink.emit(record);
        }
        Ok(Self {
            listeners,
            sink,
            stop,
            tasks,
            shutdown: config.shutdown.clone(),
        })
    }

    /// The bound addresses, in the configuration's order.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners
            .iter()
            .map(|(listener, _)| listener.address())
    }

    /// Serves until `signal` says so the first time, and for `shutdown.delay` as before; then drains: new handshakes are
    /// refused, open tunnels may finish until `shutdown.drain` is over. What is left then is cut, and when `signal` says
    /// so again all is cut at once. Ends with `stopped`.
    ///
    /// `signal` gives the name of each one, for the record.
    pub async fn run(self, mut signal: impl AsyncFnMut() -> &'static str) {
        let Self {
            listeners,
            sink,
            stop,
            tasks: connections,
            shutdown: Shutdown { delay, drain, .. },
        } = self;
        let accepting = TaskTracker::new();
        for (listener, shared) in listeners {
            let stop = stop.clone();
            accepting.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = accept(listener, shared) => {}
                }
            });
        }
        let name = signal().await;
        let open = connections.len();
        let limit = humantime::format_duration(drain);
        let detail = if delay.is_zero() {
            // Whoever reads the record can rely on it: from here on handshakes are refused.
            stop.drain();
            format!("{name}; {open} connections open, at most {limit} to finish")
        } else {
            let delay = humantime::format_duration(delay);
            format!(
                "{name}; {open} connections open; handshakes are accepted for {delay} more, then at most {limit} to \
                 finish"
            )
        };
        sink.emit(Record::lifecycle(Event::Draining, Level::Info, detail));
        let again = tokio::time::timeout(delay, signal()).await.ok();
        stop.drain();
        connections.close();
        let by_signal = |name| {
            let how = format!("by a second signal ({name})");
            (format!("a second signal ({name}) came"), Some(how))
        };
        let (cause, how) = match again {
            Some(name) => by_signal(name),
            None => tokio::select! {
                () = connections.wait() => ("every connection had ended".to_owned(), None),
                () = tokio::time::sleep(drain) => {
                    (format!("the shutdown's deadline ({limit}) passed"), Some(format!("after {limit}")))
                }
                name = signal() => by_signal(name),
            },
        };
        let how = match how {
            None => cause.clone(),
            Some(how) => format!("{} connections were cut {how}", connections.len()),
        };
        stop.cut(cause);
        accepting.close();
        accepting.wait().await;
        // A task that does not end now is stuck in a destructor or a blocking call; its guard still writes.
        if tokio::time::timeout(CUT_GRACE, connections.wait())
            .await
            .is_err()
        {
            tracing::error!(
                left = connections.len(),
                "connections did not end when they were cut"
            );
        }
        let closing = sink.clone();
        // Waiting for the writer blocks a thread, which must not be one that runs connections.
        let closed = tokio::task::spawn_blocking(move || closing.close(&how, LAST_WORDS));
        if let Err(error) = closed.await {
            tracing::error!(%error, "the last records may be missing");
        }
    }
}

/// Accepts until cancelled; each connection gets a task of its own before anything is read from it.
async fn accept(mut listener: Listener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                let serving = connection::serve(accepted, Arc::clone(&shared));
                shared.tasks.spawn(serving);
            }
            Err(not_accepted) => {
                let mut draft = Draft::new(shared.sink.clone(), shared.listener, not_accepted.peer);
                draft.enter(Stage::Accept);
                draft.finish(not_accepted.failure);
            }
        }
    }
}
