//! Errors of the TLS library as reasons.

use std::io;

use rustls::{AlertDescription, Error, PeerIncompatible};

use super::{alert, client_auth, hello};
use crate::config::TlsVersion;
use crate::policy::HostSet;
use crate::reason::{Failure, Reason};
use crate::secrets::first_bytes;

/// The failure for an error before the ClientHello was complete, and the alert that answers it, if any.
pub(super) fn before_hello(
    error: &io::Error,
    beginning: &[u8],
) -> (Failure, Option<AlertDescription>) {
    let failure = unread_hello(error, beginning);
    let alert = match failure.reason {
        Reason::TlsVersionUnsupported => Some(AlertDescription::ProtocolVersion),
        _ => tls_error(error).and_then(alert::wanted),
    };
    (failure, alert)
}

fn unread_hello(error: &io::Error, beginning: &[u8]) -> Failure {
    match tls_error(error) {
        Some(Error::AlertReceived(alert)) => alert_received(*alert),
        // The first record header is invalid, so the peer does not speak TLS, even if its first byte looks like it.
        Some(error @ Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            Failure::new(
                Reason::TlsNotTls,
                format!("{error}; {}", first_bytes(beginning)),
            )
        }
        Some(Error::PeerIncompatible(PeerIncompatible::SignatureAlgorithmsExtensionRequired)) => {
            hello::without_signature_algorithms(beginning)
        }
        Some(error) => Failure::new(Reason::TlsProtocolError, error.to_string()),
        None => Failure::new(
            Reason::TlsClientClosed,
            format!("before a complete ClientHello: {error}"),
        )
        .with_hint(
            "no certificate had been sent yet: a scanner, a health check that does not complete TLS, or a lost \
             network; if there are many, check the hop in front",
        ),
    }
}

/// The failure for an error after the ClientHello; `least` is the minimum version.
pub(super) fn after_hello(error: &io::Error, least: TlsVersion) -> Failure {
    let Some(error) = tls_error(error) else {
        let detail = format!(
            "after the answer to the ClientHello, which usually has the certificate: {error}"
        );
        return Failure::new(Reason::TlsClientClosed, detail);
    };
    let failure = match error {
        Error::AlertReceived(alert) => return alert_received(*alert),
        Error::NoApplicationProtocol | Error::PeerIncompatible(_) => {
            version_unsupported(error, least).unwrap_or_else(|| nothing_in_common(error))
        }
        Error::DecryptError => {
            // The library reports both cases with the same error.
            let detail = format!(
                "{error}; the proxy sent alert {}, or {} if the Finished message was wrong",
                alert::words(AlertDescription::BadRecordMac),
                alert::words(AlertDescription::DecryptError)
            );
            return Failure::new(Reason::TlsProtocolError, detail);
        }
        error => client_auth::refused(error)
            .unwrap_or_else(|| Failure::new(Reason::TlsProtocolError, error.to_string())),
    };
    alert::sent_with(failure, error)
}

/// The failure for an unsupported version. The library checks the version first, so its answer is right even if the
/// hello lacks other things.
pub(super) fn version_unsupported(error: &Error, least: TlsVersion) -> Option<Failure> {
    let detail = match error {
        Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered) => hello::AT_MOST_TLS11,
        Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired) => {
            "the client offers at most TLS 1.2"
        }
        Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled) => match least {
            TlsVersion::V1_2 => "the client lists neither TLS 1.2 nor TLS 1.3",
            TlsVersion::V1_3 => "the client does not list TLS 1.3",
        },
        _ => return None,
    };
    Some(Failure::new(Reason::TlsVersionUnsupported, detail))
}

/// The failure if the hello looks good but the library finds nothing in common. A hello may list suites of a version
/// that was not negotiated.
fn nothing_in_common(error: &Error) -> Failure {
    let reason = match error {
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            Reason::TlsNoCommonCipher
        }
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon) => Reason::TlsNoCommonGroup,
        Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon) => {
            Reason::TlsNoCommonSigalg
        }
        Error::NoApplicationProtocol => Reason::TlsAlpnNoOverlap,
        _ => Reason::TlsProtocolError,
    };
    Failure::new(reason, error.to_string())
}

/// The failure for a server name that no certificate covers.
pub(super) fn unknown_name(names: &HostSet) -> Failure {
    let served: Vec<_> = names.names().take(16).collect();
    Failure::new(
        Reason::TlsSniUnknown,
        format!("served: {}", served.join(", ")),
    )
}

/// Why no request followed a completed handshake.
#[must_use]
pub fn unused(error: Option<&io::Error>) -> Failure {
    match error {
        None => Failure::new(Reason::TlsClosedUnused, "closed in order"),
        Some(error) => broken(error)
            .unwrap_or_else(|| Failure::new(Reason::TlsClosedUnused, ended_words(error))),
    }
}

/// The alert or the invalid record that ended a stream after its handshake, if TLS ended it.
#[must_use]
pub fn broken(error: &io::Error) -> Option<Failure> {
    tls_error(error).map(|error| match error {
        Error::AlertReceived(alert) => alert_received(*alert),
        error => alert::sent_with(
            Failure::new(Reason::TlsProtocolError, error.to_string()),
            error,
        ),
    })
}

/// How a stream ended, in words for a detail.
#[must_use]
pub fn ended_words(error: &io::Error) -> String {
    // The library's own message is meant for programmers and links to its manual.
    if is_truncation(error) {
        "closed without close_notify".to_owned()
    } else {
        error.to_string()
    }
}

/// Whether the peer's TCP stream ended without `close_notify` (RFC 8446 section 6.1).
#[must_use]
pub fn is_truncation(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

pub(super) fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn alert_received(alert: AlertDescription) -> Failure {
    let reason = match alert {
        // A client closes with this alert; it is not an error (RFC 8446 section 6.1).
        AlertDescription::CloseNotify => Reason::TlsClientClosed,
        AlertDescription::UnknownCA => Reason::TlsAlertUnknownCa,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => Reason::TlsAlertBadCertificate,
        AlertDescription::CertificateExpired => Reason::TlsAlertCertExpired,
        AlertDescription::CertificateRevoked => Reason::TlsAlertCertRevoked,
        _ => Reason::TlsAlertOther,
    };
    let detail = format!("the client sent alert {}", alert::words(alert));
    let failure = Failure::new(reason, detail);
    match alert {
        // Measured in docs/tls-clients.md.
        AlertDescription::CertificateUnknown => failure.with_hint(
            "Chromium and browsers like it send this alert for every fault, even if they do not trust the issuer: run \
             `wsgate check` for chain, names and dates, and test with the client's own trust store",
        ),
        _ => failure,
    }
}
