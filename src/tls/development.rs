//! The development certificate of `tls.self_signed`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::identity;
use crate::config::CertificateFiles;

/// Names that the development certificate is made for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Days that it is valid: some clients refuse more than 398.
const DAYS: i64 = 365;

/// What can't be done with a file.
#[derive(Clone, Copy, Debug)]
enum Act {
    Read,
    Make,
}

/// Why there is no development certificate.
#[derive(Debug)]
pub struct DevelopmentCertificateError {
    act: Act,
    path: PathBuf,
    cause: Box<dyn std::error::Error + Send + Sync>,
}

impl DevelopmentCertificateError {
    fn of<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        act: Act,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        move |cause| Self {
            act,
            path: path.to_owned(),
            cause: cause.into(),
        }
    }
}

impl std::fmt::Display for DevelopmentCertificateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { act, path, cause } = self;
        let path = path.display();
        let (act, remedy) = match act {
            Act::Read => ("read", "read it, or remove it"),
            Act::Make => ("make", "write there, or name certificates"),
        };
        write!(
            f,
            "can't {act} the development certificate {path}: {cause}; let the user that wsgate runs as {remedy}"
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
/// When a file is there that can't be read, or can't be written.
pub fn ensure_development_certificate(
    files: &CertificateFiles,
) -> Result<bool, DevelopmentCertificateError> {
    if is_there(files)? {
        return Ok(false);
    }
    let (cert, key) = make().map_err(DevelopmentCertificateError::of(Act::Make, &files.cert))?;
    for (file, content, mode) in [(&files.key, key, 0o600), (&files.cert, cert, 0o644)] {
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        folder
            .and_then(|()| replace(file, &content, mode))
            .map_err(DevelopmentCertificateError::of(Act::Make, file))?;
    }
    Ok(true)
}

/// Whether a development certificate is there that can be used, and nothing is to be said of it. Else the start makes a
/// new one.
///
/// # Errors
/// When the start would fail: a file is there that can't be read, or this user can't write.
pub fn has_development_certificate(
    files: &CertificateFiles,
) -> Result<bool, DevelopmentCertificateError> {
    if is_there(files)? {
        return Ok(true);
    }
    for file in [&files.key, &files.cert] {
        let folders = file.ancestors().skip(1).map(or_here);
        let mut found = folders.map(|folder| access(folder, Access::WRITE_OK | Access::EXEC_OK));
        // A folder that is missing is made in the one above it.
        let nearest = found.find(|found| *found != Err(Errno::NOENT));
        nearest
            .unwrap_or(Ok(()))
            .map_err(DevelopmentCertificateError::of(Act::Make, file))?;
    }
    Ok(false)
}

fn or_here(folder: &Path) -> &Path {
    match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    }
}

fn is_there(files: &CertificateFiles) -> Result<bool, DevelopmentCertificateError> {
    for file in [&files.cert, &files.key] {
        match File::open(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            outcome => drop(outcome.map_err(DevelopmentCertificateError::of(Act::Read, file))?),
        }
    }
    // Whatever else is wrong with it, such as its age, is mended by a new one.
    let (found, findings) = identity::load(files, SystemTime::now());
    Ok(found.is_some() && findings.is_empty())
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
fn replace(path: &Path, content: &str, mode: u32) -> io::Result<()> {
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
