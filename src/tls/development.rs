//! The development certificate of `tls.self_signed`. A build without the feature `self-signed` serves an existing one,
//! but can't create one.

#[cfg(feature = "self-signed")]
mod make;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::identity;
use crate::config::CertificateFiles;

/// The operation on a file that failed.
#[derive(Clone, Copy, Debug)]
enum Act {
    Read,
    Make,
    /// Creating it, in a build without the feature.
    LeftOut,
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
            Act::Read => (
                "read",
                "let the user that wsgate runs as read it, or remove it",
            ),
            Act::Make => (
                "make",
                "let the user that wsgate runs as write there, or name certificates",
            ),
            Act::LeftOut => (
                "make",
                "name certificates, or build wsgate with the feature `self-signed`",
            ),
        };
        write!(
            f,
            "can't {act} the development certificate {path}: {cause}; {remedy}"
        )
    }
}

impl std::error::Error for DevelopmentCertificateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

/// Creates a certificate for `localhost`, `127.0.0.1` and `::1`, and its key with mode 0600, unless good ones exist.
/// Returns whether it created them.
///
/// # Errors
/// If an existing file can't be read, or a file can't be written.
pub fn ensure_development_certificate(
    files: &CertificateFiles,
) -> Result<bool, DevelopmentCertificateError> {
    if is_there(files)? {
        return Ok(false);
    }
    #[cfg(feature = "self-signed")]
    return make::make(files).map(|()| true);
    #[cfg(not(feature = "self-signed"))]
    Err(left_out(files))
}

/// Whether a usable development certificate exists that needs no warning. Otherwise the start creates a new one.
///
/// # Errors
/// If the start would fail because an existing file can't be read or this user can't write it.
pub fn has_development_certificate(
    files: &CertificateFiles,
) -> Result<bool, DevelopmentCertificateError> {
    if is_there(files)? {
        return Ok(true);
    }
    if cfg!(not(feature = "self-signed")) {
        return Err(left_out(files));
    }
    for file in [&files.key, &files.cert] {
        let folders = file.ancestors().skip(1).map(or_here);
        let mut found = folders.map(|folder| access(folder, Access::WRITE_OK | Access::EXEC_OK));
        // A missing folder is created in its parent.
        let nearest = found.find(|found| *found != Err(Errno::NOENT));
        nearest
            .unwrap_or(Ok(()))
            .map_err(DevelopmentCertificateError::of(Act::Make, file))?;
    }
    Ok(false)
}

/// The message of a build without the feature if the certificate does not exist.
fn left_out(files: &CertificateFiles) -> DevelopmentCertificateError {
    DevelopmentCertificateError::of(Act::LeftOut, &files.cert)("this build leaves that out")
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
    // A new certificate fixes everything else that is wrong, such as its age.
    let (found, findings) = identity::load(files, SystemTime::now());
    Ok(found.is_some() && findings.is_empty())
}
