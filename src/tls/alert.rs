//! TLS alerts (RFC 8446 section 6): their names, which one an error requires, and those that the proxy writes itself.

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::reason::Failure;

/// An alert as records spell it: its number, and its name in IANA's registry.
pub(super) fn words(alert: AlertDescription) -> String {
    format!("{} ({})", u8::from(alert), name(u8::from(alert)))
}

/// Adds to the failure's detail that this alert was sent.
pub(super) fn sent(failure: Failure, alert: AlertDescription) -> Failure {
    say(failure, &format!("the proxy sent alert {}", words(alert)))
}

/// Adds to the failure's detail which alert the library has sent with its error, if any.
pub(super) fn sent_with(failure: Failure, error: &Error) -> Failure {
    match sent_by_library(error) {
        Some(alert) => sent(failure, alert),
        None => say(failure, "no alert was sent"),
    }
}

/// Adds something to the failure's detail.
pub(super) fn say(mut failure: Failure, more: &str) -> Failure {
    failure.detail = Some(match failure.detail.take() {
        Some(detail) => format!("{detail}; {more}"),
        None => more.to_owned(),
    });
    failure
}

/// Writes a fatal alert unencrypted, as alerts are before keys are negotiated.
pub(super) async fn write(
    socket: &mut (impl AsyncWrite + Unpin),
    alert: AlertDescription,
) -> std::io::Result<()> {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    socket
        .write_all(&[ALERT, 3, 3, 0, 2, FATAL, alert.into()])
        .await
}

/// The alert that the RFCs require for an error in a client's messages; `None` if they require none.
pub(super) fn wanted(error: &Error) -> Option<AlertDescription> {
    use AlertDescription as Alert;
    Some(match error {
        Error::AlertReceived(_) => return None,
        // RFC 8446 section 5.1, and section 5 for a record type that does not exist.
        Error::PeerSentOversizedRecord | Error::InvalidMessage(InvalidMessage::MessageTooLarge) => {
            Alert::RecordOverflow
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => Alert::UnexpectedMessage,
        Error::InvalidMessage(error) => (*error).into(),
        Error::DecryptError => Alert::BadRecordMac,
        Error::NoApplicationProtocol => Alert::NoApplicationProtocol,
        Error::NoCertificatesPresented => Alert::CertificateRequired,
        Error::InvalidCertificate(error) => error.clone().into(),
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => Alert::ProtocolVersion,
        Error::PeerIncompatible(
            PeerIncompatible::NullCompressionRequired
            | PeerIncompatible::UncompressedEcPointsRequired,
        ) => Alert::IllegalParameter,
        Error::PeerMisbehaved(error) => misbehaved(error),
        _ => Alert::HandshakeFailure,
    })
}

fn misbehaved(error: &PeerMisbehaved) -> AlertDescription {
    use AlertDescription as Alert;
    match error {
        PeerMisbehaved::IllegalMiddleboxChangeCipherSpec
        | PeerMisbehaved::KeyEpochWithPendingFragment
        | PeerMisbehaved::MessageInterleavedWithHandshakeMessage
        | PeerMisbehaved::RejectedEarlyDataInterleavedWithHandshakeMessage
        | PeerMisbehaved::TooManyEmptyFragments
        | PeerMisbehaved::TooMuchEarlyDataReceived => Alert::UnexpectedMessage,
        PeerMisbehaved::MissingPskExtensionInSecondClientHello
        | PeerMisbehaved::MissingPskModesExtension => Alert::MissingExtension,
        PeerMisbehaved::MissingBinderInPskExtension => Alert::DecodeError,
        PeerMisbehaved::IncorrectBinder => Alert::DecryptError,
        PeerMisbehaved::InvalidCertCompression
        | PeerMisbehaved::SelectedUnofferedCertCompression => Alert::BadCertificate,
        _ => Alert::IllegalParameter,
    }
}

/// The alert that the library has sent with an error after the ClientHello; `None` if it sends none.
fn sent_by_library(error: &Error) -> Option<AlertDescription> {
    match error {
        Error::InvalidMessage(
            InvalidMessage::MessageTooLarge | InvalidMessage::InvalidContentType,
        ) => Some(AlertDescription::DecodeError),
        Error::General(_)
        | Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge)
        | Error::PeerMisbehaved(
            PeerMisbehaved::MessageInterleavedWithHandshakeMessage
            | PeerMisbehaved::RejectedEarlyDataInterleavedWithHandshakeMessage
            | PeerMisbehaved::ServerNameDifferedOnRetry
            | PeerMisbehaved::TooManyEmptyFragments
            | PeerMisbehaved::TooManyKeyUpdateRequests
            | PeerMisbehaved::TooManyRenegotiationRequests
            | PeerMisbehaved::TooManyWarningAlertsReceived
            | PeerMisbehaved::UnsolicitedCertExtension,
        ) => None,
        error => wanted(error),
    }
}

/// The name of an alert in IANA's registry.
#[must_use]
pub fn name(code: u8) -> &'static str {
    match code {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        52 => "too_many_cids_requested",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        117 => "general_error",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => "unassigned",
    }
}
