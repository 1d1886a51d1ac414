//! Applies another configuration to the running process, after SIGHUP or because a file has changed.
//!
//! The configuration file is applied as a whole or not at all. While it stays, the files that it names are checked one
//! by one: a usable certificate replaces the previous one, and an unusable one does not.

mod found;
mod told;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use humantime::format_duration;
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::descriptors;
use super::expiry::Expiry;
use super::files::{Contents, Watch};
use super::materials::Piece;
use super::notify;
use super::plan::{Plan, Refused};
use super::sockets::{BindError, Common, Needs, Sockets};
use super::tasks::Tasks;
use super::upstreams;
use crate::config::{AwaitedFile, Config, Problem, Severity};
use crate::generation::Generation;
use crate::limits::Clients;
use crate::reason::Level;
use crate::record::{Event, Record, Sink};
use crate::upstream::Group;
use found::{Because, File, Found};

/// How often the files are checked. A change is applied at the second check that finds the same content.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long reading the files may take until standard error says which one the proxy is waiting for.
const LONG: Duration = Duration::from_secs(5);

/// What the process serves with, and what it needs to apply another configuration.
#[derive(Debug)]
pub(super) struct Running {
    pub plan: Arc<Plan>,
    pub sockets: Sockets,
    pub common: Common,
    pub clients: Arc<Clients>,
    pub generation: watch::Sender<Arc<Generation>>,
}

/// Applies changes until it is dropped.
pub(super) struct Reloader {
    running: Running,
    tasks: Tasks,
    watch: Watch,
    /// What was rejected last, while the file is still the same.
    refused: Option<Contents>,
    expiry: Expiry,
}

impl Reloader {
    pub fn new(running: Running, tasks: Tasks) -> Self {
        Self {
            running,
            tasks,
            watch: Watch::default(),
            refused: None,
            expiry: Expiry::default(),
        }
    }

    /// Runs until it is dropped; `hangup` completes at each SIGHUP.
    pub async fn run(mut self, mut hangup: impl AsyncFnMut()) -> Infallible {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let plan = &self.running.plan;
        self.watch
            .follow(&plan.text.clone().with(&plan.materials.contents));
        loop {
            tokio::select! {
                () = hangup() => {
                    let is_told = notify::reloading().await;
                    self.look(Because::Signal).await;
                    if !is_told {
                        // Without this, the manager would not recognise the next message as the end of the reload.
                        notify::reloading().await;
                    }
                    notify::ready().await;
                }
                _ = looks.tick() => {
                    self.tell_expiry();
                    let mut watch = std::mem::take(&mut self.watch);
                    let looked = reading(move || {
                        let has_settled = watch.has_settled();
                        (watch, has_settled)
                    });
                    match looked.await {
                        Ok((watch, has_settled)) => {
                            self.watch = watch;
                            if has_settled {
                                self.look(Because::Change).await;
                            } else if self.is_due() && self.watch.is_quiet() {
                                self.look(Because::Time).await;
                            }
                        }
                        Err(error) => tracing::error!(%error, "the configuration's files can't be watched"),
                    }
                }
            }
        }
    }

    /// Applies everything that differs from what is in use. `Because::Signal` also repeats earlier rejections.
    async fn look(&mut self, because: Because) {
        let (plan, refused) = (Arc::clone(&self.running.plan), self.refused.take());
        let was_refused = refused.is_some();
        let looked = reading(move || Found::at(&plan, refused.as_ref(), because)).await;
        let found = match looked {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "the configuration could not be read again");
                return;
            }
        };
        self.watch.follow(&found.looked);
        let mut is_told = true;
        match found.file {
            File::Same if was_refused => {
                self.unchanged(
                    because,
                    "the file no longer has the configuration that was refused",
                );
            }
            File::Same => is_told = false,
            File::StillRefused(contents) => self.refused = Some(contents),
            File::Refused(refused) => self.refuse(because, refused),
            File::New(plan, pieces) => self.replace(because, plan, &pieces),
        }
        if let Some((plan, pieces)) = found.others {
            is_told |= self.renew(because, plan, &pieces);
        }
        if because == Because::Signal && !is_told {
            let is_read_once = self.running.plan.text.files().next().is_none();
            self.unchanged(
                because,
                match is_read_once {
                    true => {
                        "no certificate has changed, and the configuration was read from a pipe or standard input, \
                         which can't be read again; restart the proxy to change it"
                    }
                    false => "nothing to reload",
                },
            );
        }
    }

    fn refuse(&mut self, because: Because, refused: Refused) {
        let detail = format!(
            "{}: {} can't be used; the previous configuration stays in use (generation {})",
            because.name(),
            self.running.plan.file.display(),
            self.number()
        );
        let mut record = Record::lifecycle(Event::ReloadRefused, Level::Warn, detail);
        let mut problems = refused.problems;
        // The problems that reject it come first; the rest stays in the order of the lines.
        problems.sort_by_key(|problem| problem.severity != Severity::Error);
        record.problems = texts(&problems);
        record.hint = Some(
            "fix the file; it reloads automatically; `wsgate check` reports the same problems"
                .to_owned(),
        );
        self.tell(record);
        self.refused = Some(refused.contents);
    }

    fn unchanged(&self, because: Because, why: &str) {
        let detail = format!(
            "{}: {why}; generation {} stays in use",
            because.name(),
            self.number()
        );
        self.tell(Record::lifecycle(
            Event::ReloadUnchanged,
            Level::Info,
            detail,
        ));
    }

    /// Serves with another configuration from now on.
    fn replace(&mut self, because: Because, plan: Arc<Plan>, pieces: &[Piece]) {
        let before = Arc::clone(&self.running.plan);
        let changed = changed(&before.config, &plan.config);
        if changed.is_empty() && plan.serves_like(&before) {
            self.running.plan = plan;
            self.unchanged(because, "nothing to reload");
            self.tell_held_back(because, pieces);
            return;
        }
        let mut warnings = texts(&plan.warnings);
        let limits = &plan.config.limits;
        if limits.connections != before.config.limits.connections {
            warnings.extend(descriptors::shortage(&plan.config));
        }
        match self.apply(Arc::clone(&plan), self.number() + 1) {
            Ok(gone) => {
                let mut detail = format!("{}: in use now", because.name());
                if !changed.is_empty() {
                    detail.push_str(&format!("; changed: {}", changed.join(", ")));
                }
                for address in gone {
                    detail.push_str(&format!("; no longer listening on {address}"));
                }
                detail.push_str(&told::taken(pieces));
                let mut record = Record::lifecycle(Event::Reloaded, Level::Info, detail);
                record.problems = warnings;
                self.tell(record);
                self.tell_held_back(because, pieces);
            }
            Err(error) => {
                let detail = format!(
                    "{}: {error}; the previous configuration stays in use (generation {})",
                    because.name(),
                    self.number()
                );
                let mut record = Record::lifecycle(Event::ReloadRefused, Level::Warn, detail);
                record.hint = Some("send SIGHUP when the address is free".to_owned());
                self.tell(record);
                self.refused = Some(plan.text.clone().with(&plan.materials.contents));
            }
        }
    }

    /// Serves with other certificates from now on, if there are any. Returns whether there was anything to report.
    fn renew(&mut self, because: Because, plan: Plan, pieces: &[Piece]) -> bool {
        if plan.serves_like(&self.running.plan) {
            self.running.plan = Arc::new(plan);
        } else if let Err(error) = self.apply(Arc::new(plan), self.number()) {
            // The addresses are already bound.
            tracing::error!(%error, "certificates could not be reloaded");
        }
        let in_use = pieces.iter().filter(|piece| !piece.is_held_back());
        let mut is_told = false;
        for piece in in_use.filter(|piece| told::is_told(piece, because)) {
            self.tell(told::record(piece, because));
            is_told = true;
        }
        is_told | self.tell_held_back(because, pieces)
    }

    /// Reports and counts the pieces whose files have other content than what is in use. Returns whether there was
    /// anything to report.
    fn tell_held_back(&self, because: Because, pieces: &[Piece]) -> bool {
        let held_back: Vec<_> = pieces.iter().filter(|piece| piece.is_held_back()).collect();
        let metrics = self.running.common.sink.metrics();
        metrics.certificates_refused(held_back.len());
        let mut is_told = false;
        for piece in held_back {
            if told::is_told(piece, because) {
                self.tell(told::record(piece, because));
                is_told = true;
            }
        }
        is_told
    }

    /// Makes the next generation and serves with it. Returns the addresses that it stops serving.
    fn apply(&mut self, plan: Arc<Plan>, number: u64) -> Result<Vec<SocketAddr>, BindError> {
        let running = &mut self.running;
        let generation = Arc::new(running.next(&plan, number));
        let limits = &plan.config.limits;
        let clients = Arc::new(running.clients.succeeded(
            limits.connections_per_client,
            limits.handshakes_per_client,
            &plan.config.trusted_proxies,
        ));
        let needs = Needs {
            generation: &generation,
            tls: &plan.tls,
            clients: &clients,
        };
        let mut change = running.sockets.apply(&needs, &running.common)?;
        running.common.slots.resize(limits.connections);
        running.common.sink.set_log(&plan.config.log);
        remember(&plan.config, &running.common.sink);
        running.plan = plan;
        running.clients = clients;
        running.generation.send_replace(Arc::clone(&generation));
        let gone = std::mem::take(&mut change.gone);
        change.tell(&running.common.sink);
        self.tasks.start(change);
        self.tasks.check(&generation, &running.common);
        Ok(gone)
    }

    fn tell_expiry(&mut self) {
        let generation = Arc::clone(&self.running.generation.borrow());
        for detail in self.expiry.due(&generation.certificates, SystemTime::now()) {
            self.tell(Record::lifecycle(
                Event::CertificateExpiring,
                Level::Warn,
                detail,
            ));
        }
    }

    /// Whether a waiting certificate may be used now.
    fn is_due(&self) -> bool {
        let due = self.running.plan.materials.due();
        due.is_some_and(|due| due <= SystemTime::now())
    }

    fn number(&self) -> u64 {
        self.running.generation.borrow().number
    }

    fn tell(&self, mut record: Record) {
        record.generation = Some(self.number());
        self.running.common.sink.emit(record);
    }
}

/// Runs `work`, which reads files. Nothing can end the wait for a file system that does not answer, so standard error
/// reports it.
async fn reading<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let begun = Instant::now();
    let mut working = spawn_blocking(work);
    if let Ok(done) = timeout(LONG, &mut working).await {
        return done;
    }
    tracing::warn!("{}", slow(AwaitedFile::current().as_deref()));
    let done = working.await;
    let seconds = Duration::from_secs(begun.elapsed().as_secs());
    tracing::info!(
        "the configuration has been read and checked, which took {}",
        format_duration(seconds)
    );
    done
}

/// The message if a check takes long: because of `file`, if one is being read.
fn slow(file: Option<&Path>) -> String {
    let limit = format_duration(LONG);
    let (what, remedy) = match file {
        Some(file) => (
            format!("reading {}", file.display()),
            ": check that its file system answers",
        ),
        None => ("checking the configuration".to_owned(), ""),
    };
    format!(
        "{what} has taken longer than {limit}, and no change takes effect until it is done{remedy}"
    )
}

impl Running {
    /// The generation for `plan`.
    pub fn next(&self, plan: &Plan, number: u64) -> Generation {
        let before = self.generation.borrow();
        generation(plan, number, &before.upstreams, &self.common)
    }
}

/// Lists tunnels and remembers records as long as there is a listener that shows them.
pub(super) fn remember(config: &Config, sink: &Sink) {
    let history = config.admin.as_ref().map_or(0, |admin| admin.history);
    sink.tunnels().keep(config.admin.is_some());
    sink.memory()
        .keep(usize::try_from(history).unwrap_or(usize::MAX));
}

/// The generation for `plan`, with everything that stays from the upstreams `before`.
pub(super) fn generation(
    plan: &Plan,
    number: u64,
    before: &BTreeMap<String, Arc<Group>>,
    common: &Common,
) -> Generation {
    let (config, clients) = (&plan.config, &plan.materials.clients);
    Generation::new(
        number,
        Arc::clone(config),
        upstreams::groups(config, clients, before, &common.names),
        plan.materials.certificates(),
        (plan.file.clone(), texts(&plan.warnings)),
    )
}

/// The top-level keys whose values differ.
fn changed(before: &Config, now: &Config) -> Vec<&'static str> {
    let Config {
        listeners,
        trusted_proxies,
        load_balancer,
        routes,
        upstreams,
        limits,
        shutdown,
        log,
        probes,
        admin,
    } = now;
    let keys = [
        ("listeners", *listeners == before.listeners),
        (
            "trusted_proxies",
            *trusted_proxies == before.trusted_proxies,
        ),
        ("load_balancer", *load_balancer == before.load_balancer),
        ("routes", *routes == before.routes),
        ("upstreams", *upstreams == before.upstreams),
        ("limits", *limits == before.limits),
        ("shutdown", *shutdown == before.shutdown),
        ("log", *log == before.log),
        ("probes", *probes == before.probes),
        ("admin", *admin == before.admin),
    ];
    let changed = keys.into_iter().filter(|(_, is_same)| !is_same);
    changed.map(|(key, _)| key).collect()
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_look_names_the_file_only_where_one_is_being_read() {
        assert_eq!(
            slow(Some(Path::new("/certs/a.pem"))),
            "reading /certs/a.pem has taken longer than 5s, and no change takes effect until it is done: check that its file \
             system answers"
        );
        assert_eq!(
            slow(None),
            "checking the configuration has taken longer than 5s, and no change takes effect until it is done"
        );
    }
}
