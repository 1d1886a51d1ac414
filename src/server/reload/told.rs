//! Records about the certificates, keys and authorities that a check of the files found.

use std::time::SystemTime;

use super::found::Because;
use super::texts;
use crate::reason::Level;
use crate::record::{Event, Record};
use crate::server::materials::{Outcome, Piece};
use crate::tls::Certificate;

/// Whether a piece needs a record. A signal asks for all pieces that are held back.
pub fn is_told(piece: &Piece, because: Because) -> bool {
    piece.is_new || (piece.is_held_back() && because == Because::Signal)
}

/// The record of a piece.
pub fn record(piece: &Piece, because: Because) -> Record {
    let files: Vec<_> = piece
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let (files, because) = (files.join(", "), because.name());
    let certificate = piece.certificate.as_ref();
    let (event, level, mut detail) = match piece.outcome {
        Outcome::Used => (
            Event::CertificateReloaded,
            match piece.problems.is_empty() {
                true => Level::Info,
                false => Level::Warn,
            },
            format!("{because}: in use now: {files}"),
        ),
        Outcome::Kept | Outcome::Missing => (
            Event::CertificateRefused,
            Level::Warn,
            format!("{because}: can't be used, the last good one stays in use: {files}"),
        ),
        Outcome::Waits(_) => (
            Event::CertificateRefused,
            Level::Warn,
            format!(
                "{because}: not valid now, the previous certificate, which is valid, stays in use: {files}"
            ),
        ),
    };
    if let Some(certificate) = certificate {
        let verb = match piece.outcome {
            Outcome::Used => "",
            _ => "in use: ",
        };
        detail.push_str(&format!("; {verb}{}", named(certificate)));
    }
    let mut record = Record::lifecycle(event, level, detail);
    record.problems = texts(&piece.problems);
    record.hint = match piece.outcome {
        Outcome::Used => None,
        Outcome::Kept | Outcome::Missing => {
            Some("fix the files; they reload automatically".to_owned())
        }
        Outcome::Waits(until) => Some(when(until, certificate)),
    };
    record
}

/// When a waiting certificate will be used.
fn when(until: SystemTime, in_use: Option<&Certificate>) -> String {
    let why = match in_use.is_some_and(|certificate| certificate.expires == until) {
        true => "the certificate in use expires",
        false => "it becomes valid",
    };
    let moment = humantime::format_rfc3339_seconds(until);
    format!(
        "put a certificate that is valid now into these files; this one loads automatically at {moment}, when {why}"
    )
}

/// What distinguishes a certificate from others.
pub fn named(certificate: &Certificate) -> String {
    let leaf = &certificate.leaf.shown;
    format!("serial {}, expires {}", leaf.serial, leaf.expires)
}

/// The certificates among `pieces` that are newly in use, in words for the end of a detail.
pub fn taken(pieces: &[Piece]) -> String {
    let is_taken = |piece: &&Piece| piece.is_new && piece.outcome == Outcome::Used;
    let certificates = pieces.iter().filter(is_taken);
    certificates
        .filter_map(|piece| piece.certificate.as_ref())
        .map(|certificate| {
            let file = certificate.file.display();
            format!("; certificate in {file}: {}", named(certificate))
        })
        .collect()
}
