//! Start and stop: from a configuration file to bound listeners, and from a signal to the last record.

mod drain;
mod upstreams;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Service, State};
use crate::config::{self, Config, Problem, Severity, Shutdown, Source};
use crate::connection::{self, Shared, Stop};
use crate::generation::Generation;
use crate::http::via::Pseudonym;
use crate::limits::Clients;
use crate::listener::Listener;
use crate::policy::HostPattern;
use crate::reason::{Level, Stage};
use crate::record::{Draft, Event, Record, Sink};
use crate::tls;
use drain::Drain;

/// Descriptors that each of the proxy's own services may take.
pub const SERVICE_DESCRIPTORS: usize = admin::CONNECTIONS + 2;

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
    upstream_tls: upstreams::Clients,
    certificates: Vec<tls::Certificate>,
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
        problems.extend(upstreams::own_endpoints(&config, &outcome.source));
        let (upstream_tls, findings) = upstreams::clients(&config, &outcome.source);
        problems.extend(findings);
        problems.extend(uncovered_hosts(&config, &identities, &outcome.source));
        if problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
        {
            return Err(sorted(problems));
        }
        let certificates = certificates(&identities);
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
            upstream_tls,
            certificates,
        })
    }
}

/// Each file once.
fn certificates(identities: &[(config::CertificateFiles, tls::Identity)]) -> Vec<tls::Certificate> {
    let all = identities
        .iter()
        .map(|(_, identity)| identity.certificate());
    let by_file: BTreeMap<_, _> = all
        .map(|certificate| (&certificate.file, certificate))
        .collect();
    by_file.into_values().cloned().collect()
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

/// Why the proxy did not start.
#[derive(Debug)]
pub struct BindError {
    /// The key that has the address.
    key: String,
    address: SocketAddr,
    cause: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        write!(f, "can't listen on {}: {}", self.address, self.cause)?;
        match self.cause.kind() {
            io::ErrorKind::AddrInUse => write!(f, "; stop what listens there, or change {key}"),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "; it is no address of this machine: change {key}")
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "; ports below 1024 need a privilege: change {key}")
            }
            _ => Ok(()),
        }
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
    generation: watch::Sender<Arc<Generation>>,
    services: Vec<(Listener, Service)>,
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
        let Plan {
            config,
            tls,
            upstream_tls,
            certificates,
            ..
        } = plan;
        let generation = Arc::new(Generation {
            number: 1,
            upstreams: upstreams::groups(&config, upstream_tls),
            config: Arc::clone(&config),
            certificates,
        });
        let slots = Arc::new(Semaphore::new(
            config.limits.connections.min(Semaphore::MAX_PERMITS),
        ));
        let stop = Stop::default();
        let repeats = Arc::default();
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
                key: "listeners[].address".to_owned(),
                address: settings.address,
                cause,
            })?;
            let shared = Shared {
                generation: Arc::clone(&generation),
                listener: listener.address(),
                tls,
                redirect_to_https: settings.redirect_to_https,
                proxy_protocol: settings.proxy_protocol,
                sink: sink.clone(),
                settings: config.routes.iter().map(|_| OnceLock::new()).collect(),
                repeats: Arc::clone(&repeats),
                stop: stop.clone(),
                tasks: tasks.clone(),
                clients: Arc::clone(&clients),
                via: Arc::clone(&via),
            };
            listeners.push((listener, Arc::new(shared)));
        }
        // Last, so that whoever can ask whether the proxy is ready is right to be told so.
        let mut services = Vec::new();
        for (service, address) in [
            (Service::Probes, config.probes),
            (Service::Admin, config.admin),
        ] {
            let Some(address) = address else {
                continue;
            };
            let bound = admin::bind(address, config.limits.write_stall);
            let bound = bound.map_err(|cause| BindError {
                key: format!("{}.address", service.name()),
                address,
                cause,
            })?;
            services.push((bound, service));
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
        for (listener, service) in &services {
            let mut record = Record::lifecycle(Event::Listening, Level::Info, service.name());
            record.listener = Some(listener.address().to_string());
            sink.emit(record);
        }
        Ok(Self {
            listeners,
            generation: watch::Sender::new(generation),
            services,
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

    /// The bound addresses of the proxy's own services, each with the name of its key.
    pub fn services(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let services = self.services.iter();
        services.map(|(listener, service)| (service.name(), listener.address()))
    }

    /// Serves until `signal` says so the first time, and for `shutdown.delay` as before; then drains: new handshakes are
    /// refused, open tunnels may finish until `shutdown.drain` is over. What is left then is cut, and when `signal` says
    /// so again all is cut at once. Ends with `stopped`. A drain that was asked for through the admin listener goes the
    /// same way, and ends nothing but the tunnels: what follows it waits for `signal`.
    ///
    /// `signal` gives the name of each one, for the record.
    pub async fn run(self, signal: impl AsyncFnMut() -> &'static str) {
        let accepting = CancellationToken::new();
        let accept_tasks = TaskTracker::new();
        let late = TaskTracker::new();
        for (listener, shared) in self.listeners {
            accept_tasks.spawn(accept(listener, shared, late.clone(), accepting.clone()));
        }
        let generation = self.generation.subscribe();
        let running = Arc::clone(&generation.borrow());
        for group in running.upstreams.values() {
            let checks =
                Arc::clone(group).checks(self.sink.clone(), accepting.clone().cancelled_owned());
            accept_tasks.spawn(checks);
        }
        let metrics = Arc::clone(self.sink.metrics());
        let state = State::new(self.tasks.clone(), generation, metrics);
        // They answer until this function returns.
        let mut services = JoinSet::new();
        for (listener, service) in self.services {
            services.spawn(admin::serve(listener, service, state.clone()));
        }
        let drain = Drain {
            signal,
            settings: self.shutdown,
            sink: self.sink.clone(),
            stop: self.stop,
            state,
            early: self.tasks,
            late,
            accepting,
            accept_tasks,
        };
        let how = drain.run().await;
        // Waiting for the writer blocks a thread, which must not be one that runs connections.
        let sink = self.sink;
        let closed = tokio::task::spawn_blocking(move || sink.close(&how, LAST_WORDS));
        if let Err(error) = closed.await {
            tracing::error!(%error, "the last records may be missing");
        }
    }
}

/// Accepts until `accepting` is cancelled; each connection gets a task of its own before anything is read from it, among
/// `late` if it comes during a drain.
async fn accept(
    mut listener: Listener,
    shared: Arc<Shared>,
    late: TaskTracker,
    accepting: CancellationToken,
) {
    let mut cancelled = std::pin::pin!(accepting.cancelled());
    loop {
        let outcome = tokio::select! {
            // What the kernel holds already is taken, so that it gets its refusal and no reset.
            biased;
            outcome = listener.accept() => outcome,
            () = &mut cancelled => return,
        };
        match outcome {
            Ok(accepted) => {
                let patience = shared.stop.patience();
                let tasks = if patience.is_late() {
                    &late
                } else {
                    &shared.tasks
                };
                let serving = connection::serve(accepted, Arc::clone(&shared), patience.clone());
                tasks.spawn(serving);
            }
            Err(not_accepted) => {
                let mut draft = Draft::new(shared.sink.clone(), shared.listener, not_accepted.peer);
                draft.enter(Stage::Accept);
                draft.finish(not_accepted.failure);
            }
        }
    }
}
