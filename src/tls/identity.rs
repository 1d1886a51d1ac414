//! Certificates and keys from PEM files, and the problems that are visible without a client.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::finding::Finding;
use super::host_names::names;
use super::validity::{self, Certificate, ShownTo};
use super::{accepted_keys, chain, pem, roots};
use crate::config::CertificateFiles;
use crate::policy::HostSet;

/// A certificate chain with its key.
#[derive(Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    names: HostSet,
    certificate: Certificate,
}

impl Identity {
    /// Whether the leaf covers `host` (RFC 9525 section 6.3).
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        self.names.covers(host)
    }

    /// The leaf's names.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.names.names()
    }

    /// How many names of each certificate the other one covers, added up; 0 if they have no host in common.
    #[must_use]
    pub fn shared_names(&self, other: &Self) -> usize {
        // A wildcard covers every host that an equal wildcard covers.
        let count = |names: &HostSet, by: &HostSet| {
            let hosts = names.names().map(|name| name.replacen('*', "any", 1));
            hosts.filter(|host| by.covers(host)).count()
        };
        count(&self.names, &other.names) + count(&other.names, &self.names)
    }

    /// The facts about the certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The issuer of the chain's last certificate, if this system does not know it as an authority: an intermediate is
    /// missing, or the operator has a private authority. `None` also if loading has already reported it, or if the
    /// system knows no authorities.
    #[must_use]
    pub fn unknown_issuer(&self) -> Option<String> {
        let parse = |der| {
            X509Certificate::from_der(der)
                .ok()
                .map(|(_, parsed)| parsed)
        };
        let leaf = parse(self.key.cert.first()?)?;
        let last = parse(self.key.cert.last()?)?;
        let is_own_issuer = leaf.issuer().as_raw() == leaf.subject().as_raw();
        let is_told =
            is_own_issuer || (self.key.cert.len() == 1 && chain::issuer_url(&leaf).is_some());
        let is_unknown = roots::is_known(last.issuer().as_raw()) == Some(false);
        (is_unknown && !is_told).then(|| last.issuer().to_string())
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

/// Loads one certificate with its key. Returns an identity if, and only if, no finding is an error.
#[must_use]
pub fn load(files: &CertificateFiles, now: SystemTime) -> (Option<Identity>, Vec<Finding>) {
    let mut findings = Vec::new();
    let chain = read_certificates("cert", &files.cert)
        .map_err(|finding| findings.push(finding))
        .ok();
    let key = read_key(&files.key)
        .map_err(|finding| findings.push(finding))
        .ok();
    if key.is_some() && !files.is_development {
        findings.extend(open_key(&files.key));
    }
    let examined = chain.as_ref().and_then(|chain| {
        examine(chain, files, now, &mut findings)
            .map_err(|finding| findings.push(finding))
            .ok()
    });
    let (Some(chain), Some(key), Some((names, certificate))) = (chain, key, examined) else {
        return (None, findings);
    };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain, key, &provider) {
        Ok(key) => {
            let key = Arc::new(key);
            let identity = Identity {
                key,
                names,
                certificate,
            };
            (Some(identity), findings)
        }
        Err(error) => {
            findings.push(unusable(files, &error));
            (None, findings)
        }
    }
}

/// Why a readable chain and a readable key can't be used together.
pub(super) fn unusable(files: &CertificateFiles, error: &rustls::Error) -> Finding {
    let message = match error {
        rustls::Error::InconsistentKeys(_) => format!(
            "{} is not the key of the first certificate in {}; put the leaf first, or name the key of the leaf",
            files.key.display(),
            files.cert.display()
        ),
        // The library's error says neither which key it is nor what is wrong with it.
        _ => {
            let key = files.key.display();
            format!(
                "{key} can't be used: it is damaged, or it is not a key for RSA, Ed25519, or ECDSA on P-256, P-384 or P-521; \
                 `openssl pkey -in {key} -noout -check` says whether it is damaged"
            )
        }
    };
    Finding::error("key", message)
}

/// The certificates of a PEM file, at least one; `field` is the configuration key that names the file.
pub(super) fn read_certificates(
    field: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Finding> {
    let file = pem::read(path).map_err(|error| unreadable(field, path, &error))?;
    let certificates = file.items.iter().filter_map(|item| match item {
        rustls_pemfile::Item::X509Certificate(certificate) => Some(certificate.clone()),
        _ => None,
    });
    let chain: Vec<_> = certificates.collect();
    if chain.is_empty() {
        let expected = "expected PEM with BEGIN CERTIFICATE";
        return Err(nothing_in(field, path, &file, "certificate", expected));
    }
    Ok(chain)
}

pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Finding> {
    let mut keys = Vec::new();
    let file = pem::read(path).map_err(|error| unreadable("key", path, &error))?;
    for item in &file.items {
        match item {
            rustls_pemfile::Item::Pkcs1Key(key) => keys.push(key.clone_key().into()),
            rustls_pemfile::Item::Pkcs8Key(key) => keys.push(key.clone_key().into()),
            rustls_pemfile::Item::Sec1Key(key) => keys.push(key.clone_key().into()),
            _ => {}
        }
    }
    let count = keys.len();
    match (keys.pop(), count) {
        (Some(key), 1) => Ok(key),
        (None, _) => {
            let expected = "expected PEM with BEGIN PRIVATE KEY, not encrypted";
            Err(nothing_in("key", path, &file, "private key", expected))
        }
        _ => Err(Finding::error(
            "key",
            format!("{} holds {count} private keys; keep one", path.display()),
        )),
    }
}

/// A warning about a private key that every user of the machine can read, or that others can replace. Its group may
/// read it: a process without privileges gets root's key that way, and Kubernetes does so for `fsGroup`.
pub(super) fn open_key(path: &Path) -> Option<Finding> {
    const GROUP_WRITES: u32 = 0o020;
    const OTHERS: u32 = 0o007;
    // Links are followed, because files in Kubernetes volumes are links.
    let file = fs::metadata(path).ok()?;
    let mode = file.permissions().mode() & 0o777;
    if mode & (GROUP_WRITES | OTHERS) == 0 {
        return None;
    }
    let (path, is_link) = (path.display(), is_mounted(path));
    let remedy = match is_link {
        true => "set defaultMode: 0400 for its volume (0440 with fsGroup)".to_owned(),
        false => for_one_user(&path, file.uid(), user()),
    };
    let message = format!(
        "{path} has mode {mode:04o}: users other than the proxy's user and group can access it; {remedy}"
    );
    Some(Finding::warning("key", message))
}

/// The commands after which `user`, and no other user, can read a file of `owner`.
fn for_one_user(path: &impl fmt::Display, owner: u32, user: u32) -> String {
    const ROOT: u32 = 0;
    match user == owner || user == ROOT {
        true => format!("chmod 600 {path}"),
        false => format!("chown {user} {path} && chmod 600 {path}"),
    }
}

/// The user of this process.
fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether Kubernetes fills the file's volume: such files are links to a folder `..data`.
fn is_mounted(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target.starts_with("..data"))
}

/// The finding about a file without `what`, with what it contains instead if that is known.
fn nothing_in(
    field: &'static str,
    path: &Path,
    file: &pem::Pem,
    what: &str,
    expected: &str,
) -> Finding {
    let words = match file.instead(path) {
        Some(instead) => format!("{} holds no {what}: {instead}", path.display()),
        None => format!("{} holds no {what} ({expected})", path.display()),
    };
    Finding::error(field, words)
}

fn unreadable(field: &'static str, path: &Path, error: &io::Error) -> Finding {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => {
            "; relative paths start at the configuration file's folder".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            format!("; let the proxy's user ({}) read it", user())
        }
        _ => String::new(),
    };
    Finding::error(
        field,
        format!("can't read {}: {error}{remedy}", path.display()),
    )
}

fn cert_warning(message: String) -> Finding {
    Finding::warning("cert", message)
}

/// The leaf's names and the facts about the chain; `findings` gets its problems.
fn examine(
    chain: &[CertificateDer<'_>],
    files: &CertificateFiles,
    now: SystemTime,
    findings: &mut Vec<Finding>,
) -> Result<(HostSet, Certificate), Finding> {
    let path = files.cert.display();
    let parsed = parse(chain, &files.cert)?;
    let certificate = described(&parsed, &files.cert, ShownTo::Clients)?;
    let Some(leaf) = parsed.first() else {
        return Err(empty(&files.cert));
    };
    let names = names(leaf);
    if names.is_empty() {
        findings.push(cert_warning(format!(
            "the certificate in {path} has no subject alternative name, and clients ignore the common name; reissue it"
        )));
    }
    if let Some(finding) = accepted_keys::refused(leaf, &files.cert) {
        return Err(finding);
    }
    validity::check(&parsed, &files.cert, ShownTo::Clients, now, findings);
    for (index, pair) in parsed.windows(2).enumerate() {
        if let [subject, issuer] = pair
            && subject.issuer().as_raw() != issuer.subject().as_raw()
        {
            findings.push(cert_warning(format!(
                "certificate {} in {path} is not issued by certificate {}, which follows it; order them leaf first, \
                 each followed by its issuer",
                index + 1,
                index + 2
            )));
        }
    }
    let is_own_issuer = certificate.leaf.is_self_signed;
    if is_own_issuer && !files.is_development {
        findings.push(cert_warning(format!(
            "the certificate in {path} is self-signed: clients refuse it unless it is installed on each of them, and \
             phones with WeChat can't install it; use one from a public authority"
        )));
    }
    let alone = parsed.len() == 1 && !is_own_issuer;
    if alone && chain::issuer_url(leaf).is_some() {
        findings.push(cert_warning(format!(
            "{path} holds only the leaf, and its issuer ({}) is probably an intermediate; append it, because Android \
             and WeChat do not fetch it (tls_alert_unknown_ca)",
            leaf.issuer()
        )));
    }
    Ok((names, certificate))
}

fn described(
    parsed: &[X509Certificate<'_>],
    file: &Path,
    shown_to: ShownTo,
) -> Result<Certificate, Finding> {
    Certificate::of(parsed, file, shown_to).ok_or_else(|| empty(file))
}

fn empty(file: &Path) -> Finding {
    Finding::error("cert", format!("{} holds no certificate", file.display()))
}

/// The facts about a chain that is presented to upstreams; `findings` gets problems with its dates.
///
/// # Errors
/// If a certificate can't be parsed.
pub(super) fn examine_own(
    chain: &[CertificateDer<'_>],
    file: &Path,
    now: SystemTime,
    findings: &mut Vec<Finding>,
) -> Result<Certificate, Finding> {
    let parsed = parse(chain, file)?;
    validity::check(&parsed, file, ShownTo::Upstreams, now, findings);
    described(&parsed, file, ShownTo::Upstreams)
}

fn parse<'c>(
    chain: &'c [CertificateDer<'_>],
    file: &Path,
) -> Result<Vec<X509Certificate<'c>>, Finding> {
    let parse = |(index, certificate): (usize, &'c CertificateDer<'_>)| {
        let parsed = X509Certificate::from_der(certificate);
        parsed.map(|(_, certificate)| certificate).map_err(|_| {
            let path = file.display();
            let message = format!(
                "certificate {} in {path} is damaged; copy the file again",
                index + 1
            );
            Finding::error("cert", message)
        })
    };
    chain.iter().enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a container, a key is often a file of root that everyone may read. After chmod alone, the proxy could not.
    #[test]
    fn the_remedy_for_an_open_key_leaves_it_readable_for_the_proxy() {
        for (owner, user, expected) in [
            (65532, 65532, "chmod 600 key.pem"),
            (65532, 0, "chmod 600 key.pem"),
            (0, 65532, "chown 65532 key.pem && chmod 600 key.pem"),
        ] {
            assert_eq!(for_one_user(&"key.pem", owner, user), expected);
        }
    }
}
