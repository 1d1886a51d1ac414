//! The content of the files next to the configuration: certificates, keys and authorities, of listeners and of
//! upstreams.
//!
//! A piece is what one set of these files contains. If it is unusable, the previous good one stays in use. A valid
//! certificate also stays if the new one is not valid now, even if the new one has another path. An unusable piece
//! without a previous one is an error, and the configuration is rejected.

mod piece;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::files::Contents;
use super::upstreams::{self, Clients};
use crate::config::{CertificateFiles, Config, Listener, Problem, Severity, Source, Tls};
use crate::tls::{self, Authorities, Certificate, Finding, Identity};
pub(super) use piece::{Outcome, Piece};

/// What the files are read for. This decides whether missing development certificates are created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The process will serve with them: missing development certificates are created.
    Run,
    /// The process only reports problems: no file is written.
    Check,
}

/// The pieces, and the content of their files.
#[derive(Clone, Debug, Default)]
pub(super) struct Materials {
    pub identities: Vec<(CertificateFiles, Arc<Identity>)>,
    /// One for each listener.
    pub authorities: Vec<Option<Authorities>>,
    pub clients: Clients,
    pub contents: Contents,
    /// The files whose certificates are not valid now, while the previous ones are; and when to check them again.
    pub waiting: BTreeMap<Vec<PathBuf>, SystemTime>,
}

/// What is known about a certificate that may have to be created first.
enum Development {
    /// It exists, or providing it is the operator's task.
    There,
    /// It is created when the proxy starts.
    Later,
    Failed(String),
}

impl Development {
    fn ensure(files: &CertificateFiles, purpose: Purpose) -> Self {
        if !files.is_development {
            return Self::There;
        }
        let is_there = match purpose {
            Purpose::Check => tls::has_development_certificate(files),
            Purpose::Run => tls::ensure_development_certificate(files).map(|_| true),
        };
        match is_there {
            Ok(true) => Self::There,
            Ok(false) => Self::Later,
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

/// Reads pieces one after the other.
struct Reading<'a> {
    source: &'a Source,
    /// The previous pieces.
    before: &'a Materials,
    now: SystemTime,
    contents: Contents,
    pieces: Vec<Piece>,
}

impl Reading<'_> {
    /// Chooses between the piece that was `loaded` and the one `before`, and notes the outcome. The previous one stays
    /// if its files have the same content, or if the new one is unusable or not valid now. If no piece had the same
    /// files before, `replaced` gives the piece from other files that the new one would replace. `shown` gives the
    /// certificate that a piece presents to others.
    fn settle<T: Clone>(
        &mut self,
        files: Vec<PathBuf>,
        loaded: Option<T>,
        before: Option<&T>,
        replaced: impl FnOnce(&T) -> Option<T>,
        shown: impl Fn(&T) -> Option<&Certificate>,
        problems: Vec<Problem>,
    ) -> Option<T> {
        let is_same = self.contents.are_same(&self.before.contents, &files);
        let has_waited = self.before.waiting.contains_key(&files);
        let wait = |loaded: &T, before: &T| piece::wait(shown(loaded)?, shown(before)?, self.now);
        let (outcome, settled) = match (loaded, before) {
            (Some(_), Some(before)) if is_same && !has_waited => {
                (Outcome::Used, Some(before.clone()))
            }
            (Some(loaded), Some(before)) => match wait(&loaded, before) {
                Some(until) => (Outcome::Waits(until), Some(before.clone())),
                None => (Outcome::Used, Some(loaded)),
            },
            (None, Some(before)) => (Outcome::Kept, Some(before.clone())),
            (Some(loaded), None) => {
                let replaced = replaced(&loaded);
                let until = replaced
                    .as_ref()
                    .and_then(|replaced| wait(&loaded, replaced));
                match until {
                    Some(until) => (Outcome::Waits(until), replaced),
                    None => (Outcome::Used, Some(loaded)),
                }
            }
            (None, None) => (Outcome::Missing, None),
        };
        self.pieces.push(Piece {
            certificate: settled.as_ref().and_then(&shown).cloned(),
            is_new: !is_same || (has_waited && outcome == Outcome::Used),
            files,
            problems,
            outcome,
        });
        settled
    }

    fn problems(
        &self,
        findings: Vec<Finding>,
        site: impl Fn(&'static str) -> String,
    ) -> Vec<Problem> {
        let problem = |finding: Finding| {
            let site = site(finding.field);
            self.source
                .problem(finding.severity, &site, finding.message)
        };
        findings.into_iter().map(problem).collect()
    }

    fn identity(
        &mut self,
        files: &CertificateFiles,
        made: Development,
        served: impl Fn() -> Vec<Arc<Identity>>,
    ) -> Option<(CertificateFiles, Arc<Identity>)> {
        let is_self_signed = files.is_development;
        let names = vec![files.cert.clone(), files.key.clone()];
        let of = |(before, _): &&(CertificateFiles, _)| {
            before.cert == files.cert && before.key == files.key
        };
        let before = self.before.identities.iter().find(of);
        let before = before.map(|(_, identity)| identity);
        match made {
            Development::There => {}
            Development::Later => return None,
            Development::Failed(why) => {
                let problem = self.source.problem(Severity::Error, &files.site, why);
                let identity =
                    self.settle(names, None, before, |_| None, of_identity, vec![problem]);
                return identity.map(|identity| (files.clone(), identity));
            }
        }
        let (identity, findings) = tls::load(files, self.now);
        let problems = self.problems(findings, |field| match is_self_signed {
            true => files.site.clone(),
            false => format!("{}.{field}", files.site),
        });
        let now = self.now;
        let replaced = |loaded: &Arc<Identity>| {
            if loaded.certificate().is_valid(now) {
                return None;
            }
            let valid = served().into_iter();
            valid
                .filter(|identity| identity.certificate().is_valid(now))
                .filter(|identity| identity.shared_names(loaded) > 0)
                .max_by_key(|identity| identity.shared_names(loaded))
        };
        let identity = identity.map(Arc::new);
        let identity = self.settle(names, identity, before, replaced, of_identity, problems);
        identity.map(|identity| (files.clone(), identity))
    }

    fn authorities(
        &mut self,
        config: &Config,
        before: Option<&Config>,
    ) -> Vec<Option<Authorities>> {
        let mut all = Vec::new();
        for (index, listener) in config.listeners.iter().enumerate() {
            let settings = listener.tls.as_ref();
            let Some(settings) = settings.and_then(|settings| settings.client_auth.as_ref()) else {
                all.push(None);
                continue;
            };
            let (loaded, findings) = Authorities::load(settings);
            let problems = self.problems(findings, |field| format!("{}.{field}", settings.site));
            let was = before.and_then(|before| {
                let of = |place: usize| {
                    let authorities = self.before.authorities.get(place)?;
                    let was = before.listeners.get(place)?.tls.as_ref()?;
                    let was = was.client_auth.as_ref()?;
                    let authorities = authorities.as_ref().filter(|_| was.ca == settings.ca);
                    authorities?.asking_for(settings)
                };
                let own = predecessor(config, index, before).and_then(of);
                // The same authorities may have belonged to a listener with another address.
                own.or_else(|| (0..before.listeners.len()).find_map(of))
            });
            let files = vec![settings.ca.clone()];
            all.push(self.settle(files, loaded, was.as_ref(), |_| None, |_| None, problems));
        }
        all
    }

    fn clients(&mut self, config: &Config, before: Option<&Config>) -> Clients {
        let mut clients = BTreeMap::new();
        for (name, loaded) in upstreams::clients(config, self.source) {
            let settings = &loaded.upstream.tls;
            let files = upstreams::files(settings);
            let was = before.and_then(|before| {
                let of = |name: &String| {
                    let was = &before.upstreams.get(name)?.tls;
                    let client = self.before.clients.get(name)?;
                    (upstreams::files(was) == files).then_some(client)
                };
                let others = before.upstreams.keys().filter(|_| !files.is_empty());
                let was = of(name).or_else(|| { others }.find_map(of))?;
                Some(was.asking_for(settings))
            });
            // The client certificate for this upstream may have had another path. If the authorities are others, the
            // new piece is used at once.
            let replaced = |_: &tls::Client| {
                let is_same = before?.upstreams.get(name)?.tls.ca == settings.ca;
                let client = self.before.clients.get(name).filter(|_| is_same)?;
                Some(client.asking_for(settings))
            };
            let shown = tls::Client::certificate;
            let (client, was, problems) = (loaded.client, was.as_ref(), loaded.problems);
            let client = self.settle(files, client, was, replaced, shown, problems);
            clients.extend(client.map(|client| (name.clone(), client)));
        }
        clients
    }
}

/// The index in `before` of the listener that is at `index` in `config`: the one with the same address. If several have
/// the same address, as with port 0, they correspond in their order.
pub(super) fn predecessor(config: &Config, index: usize, before: &Config) -> Option<usize> {
    let address = config.listeners.get(index)?.address;
    let (earlier, _) = config.listeners.split_at(index);
    let nth = earlier
        .iter()
        .filter(|listener| listener.address == address);
    let listeners = before.listeners.iter().enumerate();
    let mut same = listeners.filter(|(_, listener)| listener.address == address);
    same.nth(nth.count()).map(|(place, _)| place)
}

/// What the listeners that name `files` served before.
fn served(
    files: &CertificateFiles,
    config: Option<&Config>,
    before: Option<(&Config, &Materials)>,
) -> Vec<Arc<Identity>> {
    let (Some(config), Some((was, materials))) = (config, before) else {
        return Vec::new();
    };
    let names_it = |(index, listener): (usize, &Listener)| {
        let tls = listener.tls.as_ref()?;
        tls.certificates.contains(files).then_some(index)
    };
    let listeners = config.listeners.iter().enumerate().filter_map(names_it);
    let predecessors = listeners.filter_map(|index| predecessor(config, index, was));
    let settings = predecessors.filter_map(|place| was.listeners.get(place)?.tls.as_ref());
    let of = |settings: &Tls| materials.of(&settings.certificates);
    settings.flat_map(of).collect()
}

fn of_identity(identity: &Arc<Identity>) -> Option<&Certificate> {
    Some(identity.certificate())
}

fn waiting(pieces: &[Piece]) -> BTreeMap<Vec<PathBuf>, SystemTime> {
    let wait = |piece: &Piece| match piece.outcome {
        Outcome::Waits(until) => Some((piece.files.clone(), until)),
        _ => None,
    };
    pieces.iter().filter_map(wait).collect()
}

impl Materials {
    /// Reads the files of `certificates`, and the other files that `config` names. If the configuration has errors,
    /// there may be no `config`; its certificates are read all the same. `before` is what the process serves with now,
    /// if it serves. A piece whose content is the same stays the same object, so that others can see that nothing
    /// changed. Good pieces stay if the new ones are unusable.
    pub fn read(
        config: Option<&Config>,
        certificates: &[CertificateFiles],
        source: &Source,
        purpose: Purpose,
        before: Option<(&Config, &Self)>,
    ) -> (Self, Vec<Piece>) {
        let nothing = Self::default();
        // This comes first, so that a certificate that was just created does not look like a change.
        let made: Vec<_> = certificates
            .iter()
            .map(|files| Development::ensure(files, purpose))
            .collect();
        let listed = certificates.iter();
        let mut files: Vec<_> = listed
            .flat_map(|files| [files.cert.clone(), files.key.clone()])
            .collect();
        if let Some(config) = config {
            let listeners = config
                .listeners
                .iter()
                .filter_map(|listener| listener.tls.as_ref());
            files.extend(
                listeners
                    .filter_map(|tls| tls.client_auth.as_ref())
                    .map(|client_auth| client_auth.ca.clone()),
            );
            let upstreams = config.upstreams.values();
            files.extend(upstreams.flat_map(|upstream| upstreams::files(&upstream.tls)));
        }
        let mut reading = Reading {
            source,
            before: before.map_or(&nothing, |(_, materials)| materials),
            now: SystemTime::now(),
            // This comes before the pieces are loaded. If a file changes in between, the next check sees the change.
            contents: Contents::of(files),
            pieces: Vec::new(),
        };
        let mut identities: Vec<(CertificateFiles, Arc<Identity>)> = Vec::new();
        for (files, made) in certificates.iter().zip(made) {
            let served = || served(files, config, before);
            let Some((files, identity)) = reading.identity(files, made, served) else {
                continue;
            };
            // All listeners that name the same files share one object: a reload compares objects, not their content.
            let mut others = identities.iter();
            let same = others.find(|(of, _)| of.cert == files.cert && of.key == files.key);
            let identity = same.map_or(identity, |(_, same)| Arc::clone(same));
            identities.push((files, identity));
        }
        let old = before.map(|(config, _)| config);
        let authorities = config.map(|config| reading.authorities(config, old));
        let clients = config.map(|config| reading.clients(config, old));
        let materials = Self {
            identities,
            authorities: authorities.unwrap_or_default(),
            clients: clients.unwrap_or_default(),
            contents: reading.contents,
            waiting: waiting(&reading.pieces),
        };
        (materials, reading.pieces)
    }

    /// The certificates that clients and upstreams see, each file once.
    pub fn certificates(&self) -> Vec<Certificate> {
        let own = self.clients.values().filter_map(tls::Client::certificate);
        let served = self.identities.iter();
        let served = served.map(|(_, identity)| identity.certificate());
        let by_file: BTreeMap<_, _> = own
            .chain(served)
            .map(|certificate| (&certificate.file, certificate))
            .collect();
        by_file.into_values().cloned().collect()
    }

    /// When to check the waiting certificates again; `None`: none waits.
    pub fn due(&self) -> Option<SystemTime> {
        self.waiting.values().min().copied()
    }

    /// The identities of a listener, in its order.
    pub fn of(&self, files: &[CertificateFiles]) -> Vec<Arc<Identity>> {
        let find = |files| {
            let mut identities = self.identities.iter();
            identities.find(|(of, _)| of == files)
        };
        let found = files.iter().filter_map(find);
        found.map(|(_, identity)| Arc::clone(identity)).collect()
    }
}
