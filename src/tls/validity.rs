//! How long certificates are valid, and for whom.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::X509Certificate;

use super::identity::Finding;

/// What is told of a certificate that the proxy shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its file, as the configuration resolves it.
    pub file: PathBuf,
    /// When the first certificate of its chain ends to be valid.
    pub expires: SystemTime,
    /// Whom it is shown to.
    pub shown_to: ShownTo,
}

/// Who looks at a certificate of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownTo {
    /// Clients of a listener.
    Clients,
    /// Upstreams that ask for one.
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

/// When the first certificate of a chain ends to be valid.
pub(super) fn check(
    parsed: &[X509Certificate<'_>],
    file: &Path,
    shown_to: ShownTo,
    now: SystemTime,
    findings: &mut Vec<Finding>,
) -> SystemTime {
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
    let ends = parsed.iter().map(|certificate| validity(certificate).1);
    ends.min().unwrap_or(UNIX_EPOCH)
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
    let day = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
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

/// From when to when a certificate is valid.
fn validity(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
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
