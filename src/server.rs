//! Start and stop: from a configuration file to bound listeners, and from a signal to the last record.

mod upstreams;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::config::{self, Config, Problem, Severity, Shutdown, Source};
use crate::connection::{self, Shared, Stop};
use crate::listener::Listener;
use crate::policy::HostPattern;
use crate::reason::{Level, Stage};
use crate::record::{Draft, Event, Record, Sink};
use crate::tls;
use crate::upstream::Group;

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
    upstream_tls: upstreams::Clients,
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
        let mut tls = Vec::new();
        for (index, listener) in config.listeners.iter().enumerate() {
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
            match tls::Server::new(own, settings) {
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
    upstreams: Arc<BTreeMap<String, Arc<Group>>>,
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
            ..
        } = plan;
        let upstreams = Arc::new(upstreams::groups(&config, upstream_tls));
        let slots = Arc::new(Semaphore::new(
            config.limits.connections.min(Semaphore::MAX_PERMITS),
        ));
        let stop = Stop::default();
        let repeats = Arc::default();
        let tasks = TaskTracker::new();
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
                upstreams: Arc::clone(&upstreams),
                listener: listener.address(),
                tls,
                redirect_to_https: settings.redirect_to_https,
                proxy_protocol: settings.proxy_protocol,
                sink: sink.clone(),
                settings: config.routes.iter().map(|_| OnceLock::new()).collect(),
                repeats: Arc::clone(&repeats),
                stop: stop.clone(),
                tasks: tasks.clone(),
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
            upstreams,
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
            upstreams,
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
        for group in upstreams.values() {
            let (group, stop) = (Arc::clone(group), stop.clone());
            let sink = sink.clone();
            accepting.spawn(async move { group.checks(sink, stop.draining()).await });
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
async fn accept(listener: Listener, shared: Arc<Shared>) {
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
