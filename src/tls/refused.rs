//! Why a handshake with an upstream failed: errors of the TLS library as reasons.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerMisbehaved};

use super::alert::words;
use super::failure::tls_error;
use super::{library_words, validity};
use crate::reason::{Failure, Reason};
use crate::secrets::first_bytes;
use crate::text::peer_list;

/// The failure for an error in the handshake with an upstream that is verified as `name`; `seen` has its first bytes,
/// and `trusts` names the trusted authorities in words.
pub(super) fn refused(error: &io::Error, seen: &[u8], name: &str, trusts: &str) -> Failure {
    let Some(tls) = tls_error(error) else {
        return broke_off(error, seen);
    };
    match tls {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) if !is_record(seen) => {
            Failure::new(Reason::UpstreamTlsToPlainPort, first_bytes(seen))
        }
        Error::InvalidCertificate(problem) => {
            let words = unverified(problem, name, trusts);
            Failure::new(Reason::UpstreamTlsVerifyFailed, words)
        }
        Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
            let detail =
                "the upstream chose a protocol by ALPN that was not offered; offered: http/1.1";
            Failure::new(Reason::UpstreamAlpnH2, detail)
        }
        Error::AlertReceived(alert) => alerted(*alert),
        error => Failure::new(Reason::UpstreamTlsFailed, error.to_string()),
    }
}

/// The failure if TLS ended an upstream's connection after the handshake and before an answer. In TLS 1.3 a server may
/// reject the client's certificate at that time (RFC 8446 section 4.4.2.4).
#[must_use]
pub fn refused_late(error: &io::Error) -> Option<Failure> {
    tls_error(error).map(|error| match error {
        Error::AlertReceived(alert) => alerted(*alert),
        error => Failure::new(Reason::UpstreamTlsFailed, error.to_string()),
    })
}

/// Whether a TLS record has begun: its first byte is the content type, from change_cipher_spec to application_data.
fn is_record(seen: &[u8]) -> bool {
    matches!(seen, [20..=23, 3, ..])
}

fn broke_off(error: &io::Error, seen: &[u8]) -> Failure {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let is_reset = matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    );
    if is_reset && seen.is_empty() {
        let detail = format!("in the TLS handshake: {error}");
        return Failure::new(Reason::UpstreamResetOnConnect, detail);
    }
    let after = if seen.is_empty() {
        "without any answer to the ClientHello".to_owned()
    } else {
        first_bytes(seen)
    };
    let how = match error.kind() {
        io::ErrorKind::UnexpectedEof => "closed in the middle of the TLS handshake".to_owned(),
        _ => format!("broke in the middle of the TLS handshake: {error}"),
    };
    Failure::new(Reason::UpstreamTlsFailed, format!("{how}, {after}"))
}

fn alerted(alert: AlertDescription) -> Failure {
    let detail = format!("the upstream sent alert {}", words(alert));
    match alert {
        AlertDescription::NoApplicationProtocol => {
            Failure::new(Reason::UpstreamAlpnH2, format!("{detail}; offered: http/1.1"))
        }
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => Failure::new(Reason::UpstreamTlsFailed, detail)
            .with_hint(
                "the upstream asks for a client certificate: give it one that it trusts with `upstreams.*.tls.cert` \
                 and `upstreams.*.tls.key`",
            ),
        AlertDescription::UnrecognisedName => Failure::new(Reason::UpstreamTlsFailed, detail)
            .with_hint("the upstream's certificate has another name: write that name as `upstreams.*.tls.server_name`"),
        _ => Failure::new(Reason::UpstreamTlsFailed, detail),
    }
}

/// What is wrong with the upstream's certificate, and what was expected.
fn unverified(problem: &CertificateError, name: &str, trusts: &str) -> String {
    match problem {
        CertificateError::UnknownIssuer => {
            format!(
                "the certificate for {name} is not trusted: no authority of {trusts} has issued it, or an \
                 intermediate is missing in the upstream's chain"
            )
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names = presented
                .iter()
                .map(|name| library_words::presented(name).as_bytes());
            let presented = match presented.is_empty() {
                true => "no name".to_owned(),
                false => peer_list(names, ", "),
            };
            format!(
                "the certificate is for {presented}; expected {}",
                shown(expected)
            )
        }
        CertificateError::NotValidForName => {
            format!("the certificate is not for the expected name {name}")
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate for {name} expired on {}", day(*not_after))
        }
        CertificateError::Expired => format!("the certificate for {name} has expired"),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!(
                "the certificate for {name} is not valid before {}",
                day(*not_before)
            )
        }
        CertificateError::NotValidYet => format!("the certificate for {name} is not valid yet"),
        other if library_words::is_authority(other) => format!(
            "the certificate for {name} is an authority's (CA:TRUE), which a server must not present; create one \
             with basicConstraints CA:FALSE, or let the authority issue one for the server"
        ),
        other => format!("the certificate for {name} can't be verified: {other}"),
    }
}

fn shown(name: &ServerName<'_>) -> String {
    match name {
        ServerName::IpAddress(address) => std::net::IpAddr::from(*address).to_string(),
        name => name.to_str().into_owned(),
    }
}

fn day(time: UnixTime) -> String {
    validity::day(UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}
