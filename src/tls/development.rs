//! The development certificate of `tls.self_signed`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use super::identity;
use crate::config::CertificateFiles;

/// Names that the development certificate is made for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Days that it is valid: some clients refuse more than 398.
const DAYS: i64 = 365;

/// Why the development certificate could not be made.
#[derive(Debug)]
pub struct DevelopmentCertificateError {
    path: PathBuf,
    cause: Box<dyn std::error::Error + Send + Sync>,
}

impl std::fmt::Display for DevelopmentCertificateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "can't make the development certificate {}: {}",
            self.path.display(),
            self.cause
        )
    }
}

impl std::error::Error for DevelopmentCertificateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

/// Makes a certificate for `localhost`, `127.0.0.1` and `::1`, and its key with mode 0600, unless good ones are
/// there. Returns whether it made them.
///
/// # Errors
/// When a file can't be written.
pub fn ensure_development_certificate(
    files: &CertificateFiles,
) -> Result<bool, DevelopmentCertificateError> {
    if has_development_certificate(files) {
        return Ok(false);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause: Box<dyn std::error::Error + Send + Sync>| DevelopmentCertificateError {
            path,
            cause,
        }
    };
    let (cert, key) = make().map_err(|error| failed(&files.cert)(error.into()))?;
    if let Some(folder) = files.key.parent() {
        fs::create_dir_all(folder).map_err(|error| failed(folder)(error.into()))?;
    }
    replace(&files.key, &key, 0o600).map_err(|error| failed(&files.key)(error.into()))?;
    replace(&files.cert, &cert, 0o644).map_err(|error| failed(&files.cert)(error.into()))?;
    Ok(true)
}

/// Whether a development certificate is there that can be used and that nothing is to be said of. Without one the start
/// makes a new one, whatever is there.
#[must_use]
pub fn has_development_certificate(files: &CertificateFiles) -> bool {
    let (found, findings) = identity::load(files, SystemTime::now());
    found.is_some() && findings.is_empty()
}

fn make() -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params
        .distinguished_name
        .push(DnType::CommonName, "wsgate development certificate");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = time::OffsetDateTime::now_utc();
    // A client's clock may be a little behind ours.
    params.not_before = now - time::Duration::hours(1);
    params.not_after = now + time::Duration::days(DAYS);
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Writes a file beside its final place and moves it there, so that no reader sees half of it and no key is ever
/// readable by others.
fn replace(path: &Path, content: &str, mode: u32) -> std::io::Result<()> {
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    // Left from a process of the same id that was killed here.
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
