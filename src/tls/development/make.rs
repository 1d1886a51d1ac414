//! Creates the development certificate and its key.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use super::{Act, DevelopmentCertificateError};
use crate::config::CertificateFiles;

/// The names in the development certificate.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The days for which it is valid. Some clients reject more than 398.
const DAYS: i64 = 365;

/// Creates both files, and missing folders.
pub(super) fn make(files: &CertificateFiles) -> Result<(), DevelopmentCertificateError> {
    let (cert, key) =
        certificate().map_err(DevelopmentCertificateError::of(Act::Make, &files.cert))?;
    for (file, content, mode) in [(&files.key, key, 0o600), (&files.cert, cert, 0o644)] {
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        folder
            .and_then(|()| replace(file, &content, mode))
            .map_err(DevelopmentCertificateError::of(Act::Make, file))?;
    }
    Ok(())
}

/// A certificate and its key, in PEM.
fn certificate() -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params
        .distinguished_name
        .push(DnType::CommonName, "wsgate development certificate");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = time::OffsetDateTime::now_utc();
    // A client's clock may be slow.
    params.not_before = now - time::Duration::hours(1);
    params.not_after = now + time::Duration::days(DAYS);
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Writes a file next to its final path and moves it there, so that no reader sees a part of it and others can never
/// read a key.
fn replace(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    // A killed process with the same id may have left it.
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
