//! The texts that devices with WeChat show.

use super::finding::Finding;

/// What a device shows for a finding at a stage.
pub fn device_error(finding: Finding, stage: &str) -> Option<&'static str> {
    Some(match (finding, stage) {
        (
            Finding::Works | Finding::WechatRule | Finding::PingUnanswered | Finding::EchoMissing,
            _,
        ) => return None,
        (Finding::DnsFailed, _) => "_code:1 Host not found (authoritative)",
        (Finding::Refused, _) => "_code:111 Connection refused",
        (Finding::ConnectTimeout | Finding::NoAnswer, _) => "_code:9 Timer Expired",
        (Finding::TlsTimeout, _) => "_code:5 TLS handshake timed out",
        (Finding::Reset | Finding::ClosedBeforeAnswer, _) | (_, "tcp") => {
            "_code:2 Underlying Transport Error"
        }
        (_, "tls") => "_code:8 TLS handshake failed",
        (_, "http") => "_code:20 Invalid HTTP status",
        (_, "upgrade") => "_code:21 A required HTTP header is missing",
        (
            Finding::ClosedAtOnce
            | Finding::Closed
            | Finding::ClosedByPolicy
            | Finding::ClosedWithError
            | Finding::ClosedTooBig
            | Finding::ClosedRestart,
            _,
        ) => "onClose with the code of the Close frame",
        _ => "onClose with 1006 (abnormal closure); on iOS also 1001 (Stream end encountered)",
    })
}
