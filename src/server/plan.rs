//! A configuration, with everything that can be found out about it without opening a socket. `check` reports it; a
//! start and a reload begin with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::Contents;
use super::materials::{Materials, Outcome, Piece, Purpose, predecessor};
use super::upstreams;
use crate::config::{self, Config, Problem, Severity, Source};
use crate::policy::HostPattern;
use crate::tls;

/// How many routes without a matching certificate, and how many certificates of unknown authorities, are reported one
/// by one. There is a limit because the file is read again to find the place of each.
const MOST_TOLD: usize = 20;

/// A configuration with its certificates loaded.
#[derive(Debug)]
pub struct Plan {
    /// The configuration.
    pub config: Arc<Config>,
    /// Warnings for the operator. The proxy starts in spite of them.
    pub warnings: Vec<Problem>,
    pub(super) materials: Materials,
    pub(super) tls: Vec<Option<Arc<tls::Server>>>,
    pub(super) file: PathBuf,
    /// The content of the configuration file; empty if it can't be read again.
    pub(super) text: Contents,
    source: Arc<Source>,
}

/// A configuration that can't be used.
#[derive(Debug)]
pub(super) struct Refused {
    /// Errors and warnings, in the order of their lines.
    pub problems: Vec<Problem>,
    /// What was read. While it stays the same, the configuration would be refused again.
    pub contents: Contents,
}

impl Plan {
    /// Reads `file` and the certificates that it names.
    ///
    /// # Errors
    /// All problems of the file and the certificates at once, errors and warnings, in the order of their lines.
    pub fn load(file: &Path, purpose: Purpose) -> Result<Self, Vec<Problem>> {
        let read = Self::read(file, purpose, None);
        read.map(|(plan, _)| plan)
            .map_err(|refused| refused.problems)
    }

    /// The same while `before` is in use. A piece whose content is the same stays the same object, so that others can
    /// see that nothing changed. Good pieces stay if their files became unusable. Also returns the outcome for each
    /// piece.
    pub(super) fn read(
        file: &Path,
        purpose: Purpose,
        before: Option<&Self>,
    ) -> Result<(Self, Vec<Piece>), Refused> {
        let text = match before.is_none() && config::is_read_once(file) {
            true => Contents::default(),
            false => Contents::of([file.to_owned()]),
        };
        if before.is_some() && config::is_read_once(file) {
            // Only a reload refuses such a path. At a start, the operator sees it if reading takes long.
            return Err(Refused {
                problems: vec![Problem {
                    severity: Severity::Error,
                    file: file.to_owned(),
                    line: 1,
                    column: 1,
                    site: String::new(),
                    message: "found a path that is not a regular file and can't be read again"
                        .to_owned(),
                    help: Some("put a file in its place".to_owned()),
                }],
                contents: text,
            });
        }
        let outcome = config::read(file);
        let mut problems = outcome.problems;
        let source = &outcome.source;
        let (materials, pieces) = Materials::read(
            // If the configuration is unusable, its files are still checked.
            outcome.config.as_ref().or(outcome.draft.as_ref()),
            &outcome.certificates,
            source,
            purpose,
            before.map(|before| (&*before.config, &before.materials)),
        );
        // If a previous piece stays in use, the problems of the new one do not reject the configuration. They have a
        // record of their own.
        let in_use = pieces.iter().filter(|piece| !piece.is_held_back());
        problems.extend(in_use.flat_map(|piece| piece.problems.iter().cloned()));
        let refused = |problems: Vec<Problem>| Refused {
            problems: sorted(problems),
            contents: text.clone().with(&materials.contents),
        };
        let Some(config) = outcome.config else {
            return Err(refused(problems));
        };
        problems.extend(upstreams::own_endpoints(&config, source));
        problems.extend(upstreams::left_out_endpoints(&config, source));
        problems.extend(uncovered_hosts(&config, &materials.identities, source));
        // A reload does not repeat this: a renewed certificate usually has the same issuer as the previous one.
        if before.is_none() {
            problems.extend(unknown_issuers(&materials.identities, source));
        }
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        if problems.iter().any(is_error) {
            return Err(refused(problems));
        }
        match servers(&config, &materials, before) {
            Ok(tls) => {
                let plan = Self {
                    config: Arc::new(config),
                    warnings: sorted(problems),
                    materials,
                    tls,
                    file: file.to_owned(),
                    text,
                    source: Arc::new(outcome.source),
                };
                Ok((plan, Piece::merged(pieces)))
            }
            Err((index, error)) => {
                let site = format!("listeners[{index}].tls");
                problems.push(source.problem(Severity::Error, &site, error.to_string()));
                Err(refused(problems))
            }
        }
    }

    /// Whether it serves with the same certificates, keys and authorities, on both sides.
    pub(super) fn serves_like(&self, other: &Self) -> bool {
        let same = |(own, other): (&Option<Arc<tls::Server>>, &Option<Arc<tls::Server>>)| {
            own.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr)
        };
        self.tls.len() == other.tls.len()
            && self.tls.iter().zip(&other.tls).all(same)
            && self.materials.clients == other.materials.clients
    }

    /// The same configuration with the current content of its other files. Good pieces stay if their files became
    /// unusable. Also returns the outcome for each piece.
    pub(super) fn renewed(&self) -> (Self, Vec<Piece>) {
        let listeners = self.config.listeners.iter();
        let certificates: Vec<_> = listeners
            .filter_map(|listener| listener.tls.as_ref())
            .flat_map(|tls| tls.certificates.iter().cloned())
            .collect();
        let (mut materials, mut pieces) = Materials::read(
            Some(&self.config),
            &certificates,
            &self.source,
            Purpose::Run,
            Some((&self.config, &self.materials)),
        );
        let tls = match servers(&self.config, &materials, Some(self)) {
            Ok(tls) => {
                self.tell_lost_hosts(&materials, &mut pieces);
                tls
            }
            Err((index, error)) => {
                let site = format!("listeners[{index}].tls");
                let problem = self
                    .source
                    .problem(Severity::Error, &site, error.to_string());
                pieces.push(Piece {
                    files: Vec::new(),
                    problems: vec![problem],
                    is_new: true,
                    outcome: Outcome::Kept,
                    certificate: None,
                });
                materials = Materials {
                    contents: materials.contents,
                    ..self.materials.clone()
                };
                self.tls.clone()
            }
        };
        let renewed = Self {
            config: Arc::clone(&self.config),
            warnings: self.warnings.clone(),
            materials,
            tls,
            file: self.file.clone(),
            text: self.text.clone(),
            source: Arc::clone(&self.source),
        };
        (renewed, Piece::merged(pieces))
    }

    /// Reports hosts of routes that the renewed certificates no longer cover. The certificates are used all the same,
    /// because the proxy can't know whether that is a mistake.
    fn tell_lost_hosts(&self, now: &Materials, pieces: &mut [Piece]) {
        let identities = now.identities.iter();
        let certs: Vec<_> = identities.map(|(files, _)| &files.cert).collect();
        let is_renewed = |piece: &&mut Piece| {
            let mut files = piece.files.iter();
            piece.is_new
                && piece.outcome == Outcome::Used
                && files.any(|file| certs.contains(&file))
        };
        let Some(piece) = pieces.iter_mut().find(is_renewed) else {
            return;
        };
        let uncovered = |materials: &Materials| {
            uncovered_hosts(&self.config, &materials.identities, &self.source)
        };
        let before = uncovered(&self.materials);
        let lost = uncovered(now).into_iter();
        piece
            .problems
            .extend(lost.filter(|problem| !before.contains(problem)));
    }
}

/// The TLS server of each listener that has TLS. If nothing changed, it is the one of `before`, so that clients can
/// resume their sessions. After any change they can't, because a session proves only what was asked when it began.
fn servers(
    config: &Config,
    materials: &Materials,
    before: Option<&Plan>,
) -> Result<Vec<Option<Arc<tls::Server>>>, (usize, tls::Error)> {
    let mut servers = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let Some(settings) = &listener.tls else {
            servers.push(None);
            continue;
        };
        let identities = materials.of(&settings.certificates);
        let authorities = materials.authorities.get(index).and_then(Option::as_ref);
        let same = before.and_then(|before| {
            let place = predecessor(config, index, &before.config)?;
            let was = before.config.listeners.get(place)?.tls.as_ref();
            let server = before.tls.get(place).filter(|_| was == Some(settings))?;
            let is_same = |server: &&Arc<tls::Server>| server.is_made_of(&identities, authorities);
            server.as_ref().filter(is_same)
        });
        servers.push(Some(match same {
            Some(server) => Arc::clone(server),
            None => {
                let server = tls::Server::new(identities, authorities, settings);
                Arc::new(server.map_err(|error| (index, error))?)
            }
        }));
    }
    Ok(servers)
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
}

/// Warns about routes for a host that no certificate of a TLS listener covers: over TLS no client can reach them.
fn uncovered_hosts(
    config: &Config,
    identities: &[(config::CertificateFiles, Arc<tls::Identity>)],
    source: &Source,
) -> Vec<Problem> {
    // Without any certificates, a hop in front terminates TLS.
    if identities.is_empty() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let mut uncovered = 0_usize;
    for (index, route) in config.routes.iter().enumerate() {
        let Some(host) = &route.host else {
            continue;
        };
        if !identities
            .iter()
            .any(|(_, identity)| covers(identity, host))
        {
            uncovered += 1;
            if uncovered > MOST_TOLD {
                continue;
            }
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
    if uncovered > MOST_TOLD {
        let message = format!(
            "no certificate covers the hosts of {} more routes",
            uncovered - MOST_TOLD
        );
        problems.push(source.problem(Severity::Warning, "routes", message));
    }
    problems
}

/// Warns about certificates that probably only the operator's own clients trust.
fn unknown_issuers(
    identities: &[(config::CertificateFiles, Arc<tls::Identity>)],
    source: &Source,
) -> Vec<Problem> {
    let problem = |(files, identity): &(config::CertificateFiles, Arc<tls::Identity>)| {
        let issuer = identity
            .unknown_issuer()
            .filter(|_| !files.is_development)?;
        let message = format!(
            "the chain in {} does not end at a known root, because {issuer} is not an authority that this system knows; append \
             the missing intermediate certificates, or, if it is an authority of your own, install it on each client \
             (phones with WeChat can't)",
            files.cert.display()
        );
        Some(source.problem(Severity::Warning, &format!("{}.cert", files.site), message))
    };
    // The file is read once more to find each place.
    identities
        .iter()
        .filter_map(problem)
        .take(MOST_TOLD)
        .collect()
}

/// Whether a certificate covers a host of a route, or some of the hosts that a wildcard covers.
fn covers(identity: &tls::Identity, host: &HostPattern) -> bool {
    match host {
        HostPattern::Exact(name) => identity.covers(name),
        HostPattern::Wildcard(base) => identity
            .names()
            .any(|name| name.strip_prefix("*.") == Some(base) || host.matches(&name)),
    }
}
