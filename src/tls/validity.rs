//! What certificates say: their names, their dates, and who sees them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::X509Certificate;

use super::finding::Finding;
use super::host_names;
use crate::record;
use crate::text::peer_text;

/// The facts about a certificate that the proxy presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its file, with its resolved path.
    pub file: PathBuf,
    /// When all certificates of its chain have become valid.
    pub begins: SystemTime,
    /// The earliest expiry in its chain.
    pub expires: SystemTime,
    /// Who sees it.
    pub shown_to: ShownTo,
    /// What the first certificate of its chain says.
    pub leaf: Leaf,
}

/// What a certificate says about itself. Each text is printable ASCII and at most 256 bytes; a longer one says that it
/// was cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaf {
    /// The part that records show.
    pub shown: record::ServedCertificate,
    /// The name of the issuer.
    pub issuer: String,
    /// Whether the issuer is the subject itself.
    pub is_self_signed: bool,
    /// Whether the chain has no certificate of an issuer.
    pub is_alone: bool,
}

impl Certificate {
    /// The facts about a parsed chain from `file`, leaf first; `None` for an empty chain.
    pub(super) fn of(
        chain: &[X509Certificate<'_>],
        file: &Path,
        shown_to: ShownTo,
    ) -> Option<Self> {
        let leaf = chain.first()?;
        let times = || chain.iter().map(validity);
        let subject = match leaf.subject().to_string() {
            // Today's authorities leave the subject empty. The host names are in the extension for alternative names.
            empty if empty.is_empty() => host_names::names(leaf).names().next().unwrap_or_default(),
            subject => subject,
        };
        let issuer = leaf.issuer().to_string();
        let is_self_signed = leaf.issuer().as_raw() == leaf.subject().as_raw();
        Some(Self {
            file: file.to_owned(),
            begins: times().map(|(begins, _)| begins).max()?,
            expires: times().map(|(_, ends)| ends).min()?,
            shown_to,
            leaf: Leaf {
                shown: record::ServedCertificate {
                    subject: peer_text(subject.as_bytes()),
                    serial: peer_text(hexadecimal(leaf.raw_serial()).as_bytes()),
                    expires: day(validity(leaf).1),
                },
                issuer: peer_text(issuer.as_bytes()),
                is_self_signed,
                is_alone: chain.len() == 1,
            },
        })
    }

    /// Whether all of its chain is valid at `now`.
    #[must_use]
    pub fn is_valid(&self, now: SystemTime) -> bool {
        (self.begins..=self.expires).contains(&now)
    }
}

/// A serial number as `openssl x509 -serial` prints it.
fn hexadecimal(bytes: &[u8]) -> String {
    let significant = match bytes {
        // A leading zero byte only says that the number is not negative.
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    significant
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

/// A time in the form that records use, in whole seconds.
pub(super) fn day(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// To whom the proxy presents a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownTo {
    /// Clients of a listener.
    Clients,
    /// Upstreams that ask for a certificate.
    Upstreams,
}

impl fmt::Display for ShownTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clients => "clients",
            Self::Upstreams => "upstreams",
        })
    }
}

/// Finds problems with the dates of a chain.
pub(super) fn check(
    parsed: &[X509Certificate<'_>],
    file: &Path,
    shown_to: ShownTo,
    now: SystemTime,
    findings: &mut Vec<Finding>,
) {
    let path = file.display();
    for (index, certificate) in parsed.iter().enumerate() {
        let which = match index {
            0 => format!("the certificate in {path}"),
            _ => format!(
                "certificate {} ({}) in {path}",
                index + 1,
                certificate.subject()
            ),
        };
        check_dates(certificate, &which, shown_to, now, findings);
    }
}

fn check_dates(
    certificate: &X509Certificate<'_>,
    which: &str,
    shown_to: ShownTo,
    now: SystemTime,
    findings: &mut Vec<Finding>,
) {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    let (begins, ends) = validity(certificate);
    if now < begins {
        findings.push(Finding::warning(
            "cert",
            format!(
                "{which} is not valid before {}; {shown_to} refuse it until then",
                day(begins)
            ),
        ));
    }
    match ends.duration_since(now) {
        Err(_) => findings.push(Finding::warning(
            "cert",
            format!(
                "{which} expired on {}; {shown_to} refuse it: renew it",
                day(ends)
            ),
        )),
        Ok(left) if left < SOON => findings.push(Finding::warning(
            "cert",
            format!(
                "{which} expires on {}, in {} days; renew it",
                day(ends),
                left.as_secs() / DAY.as_secs()
            ),
        )),
        Ok(_) => {}
    }
}

/// The time from which, and until which, a certificate is valid.
pub(super) fn validity(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let validity = certificate.validity();
    let since = |timestamp: i64| {
        u64::try_from(timestamp)
            .map(Duration::from_secs)
            .unwrap_or_default()
    };
    (
        UNIX_EPOCH + since(validity.not_before.timestamp()),
        UNIX_EPOCH + since(validity.not_after.timestamp()),
    )
}
