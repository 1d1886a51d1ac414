//! Errors of the TLS library as reasons.

use std::io;

use rustls::{AlertDescription, Error, PeerIncompatible};

use crate::listener::describe_bytes;
use crate::policy::HostSet;
use crate::reason::{Failure, Reason};

/// An error before the ClientHello was complete.
pub(super) fn before_hello(error: &io::Error, beginning: &[u8]) -> Failure {
    match tls_error(error) {
        Some(Error::AlertReceived(alert)) => alert_received(*alert),
        // A record header that is not one: the peer does not speak TLS, whatever its first byte was.
        Some(error @ Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            Failure::new(
                Reason::TlsNotTls,
                format!("{error}; {}", describe_bytes(beginning)),
            )
        }
        Some(error) => Failure::new(Reason::TlsProtocolError, error.to_string()),
        None => Failure::new(
            Reason::TlsClientClosed,
            format!("before a complete ClientHello: {error}"),
        ),
    }
}

/// An error after it; `incompatible` is what the hello itself says.
pub(super) fn after_hello(error: &io::Error, incompatible: Option<Failure>) -> Failure {
    match tls_error(error) {
        Some(Error::AlertReceived(alert)) => alert_received(*alert),
        Some(Error::NoApplicationProtocol) => {
            incompatible.unwrap_or_else(|| Reason::TlsAlpnNoOverlap.into())
        }
        // The library found no certificate, or nothing in common.
        Some(error @ (Error::General(_) | Error::PeerIncompatible(_))) => incompatible
            .unwrap_or_else(|| {
                let reason = match error {
                    Error::PeerIncompatible(
                        PeerIncompatible::Tls12NotOffered
                        | PeerIncompatible::Tls12NotOfferedOrEnabled
                        | PeerIncompatible::Tls13RequiredForQuic
                        | PeerIncompatible::SupportedVersionsExtensionRequired,
                    ) => Reason::TlsVersionUnsupported,
                    _ => Reason::TlsProtocolError,
                };
                Failure::new(reason, error.to_string())
            }),
        Some(error) => Failure::new(Reason::TlsProtocolError, error.to_string()),
        None => {
            let detail = format!("after the server's certificate had been sent: {error}");
            Failure::new(Reason::TlsClientClosed, detail)
        }
    }
}

/// A server name that no certificate covers.
pub(super) fn unknown_name(name: &str, names: &HostSet) -> Failure {
    let served: Vec<_> = names.names().take(16).collect();
    Failure::new(
        Reason::TlsSniUnknown,
        format!("asked for {name:?}; served: {}", served.join(", ")),
    )
}

/// How a completed handshake ended when no request followed.
#[must_use]
pub fn unused(error: Option<&io::Error>) -> Failure {
    match error {
        None => Failure::new(Reason::TlsClosedUnused, "closed in order"),
        Some(error) => match tls_error(error) {
            Some(Error::AlertReceived(alert)) => alert_received(*alert),
            Some(error) => Failure::new(Reason::TlsProtocolError, error.to_string()),
            None => Failure::new(Reason::TlsClosedUnused, error.to_string()),
        },
    }
}

/// Whether the peer's TCP stream ended without `close_notify` (RFC 8446 section 6.1).
#[must_use]
pub fn is_truncation(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// The library's words if a stream broke because of its TLS records rather than its TCP connection.
#[must_use]
pub fn record_error(error: &io::Error) -> Option<String> {
    tls_error(error).map(ToString::to_string)
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn alert_received(alert: AlertDescription) -> Failure {
    let reason = match alert {
        AlertDescription::UnknownCA => Reason::TlsAlertUnknownCa,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => Reason::TlsAlertBadCertificate,
        AlertDescription::CertificateExpired => Reason::TlsAlertCertExpired,
        AlertDescription::CertificateRevoked => Reason::TlsAlertCertRevoked,
        _ => Reason::TlsAlertOther,
    };
    Failure::new(
        reason,
        format!("the client sent alert {} ({alert:?})", u8::from(alert)),
    )
}
