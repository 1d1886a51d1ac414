//! What answers and failures mean: the finding of each.

use super::dial::Fault;
use super::exchange::Answer;
use super::finding::Finding;
use super::gateway;
use super::talk::Silence;
use crate::reason::{Failure, Reason};
use crate::secrets;
use crate::text::counted;
use crate::tls::chain::Fault as ChainFault;

/// The finding for an answer other than 101.
pub(super) fn refused(answer: &Answer, answered_by: Option<&str>) -> Fault {
    let status = answer.status();
    let mut detail = match answer.field("location") {
        Some(location) => format!(
            "{status} with Location: {}",
            secrets::location(location.as_bytes())
        ),
        None => status.to_string(),
    };
    if answer.head.version == http::Version::HTTP_10 {
        detail.push_str(" in HTTP/1.0");
    }
    if answer.is_page() {
        detail.push_str(", with an HTML page");
    }
    if let Some(meaning) = gateway::meaning(status) {
        detail.push_str(&format!(" ({meaning})"));
    }
    for name in ["retry-after", "www-authenticate", "sec-websocket-version"] {
        if let Some(value) = answer.field(name) {
            detail.push_str(&format!(", {name}: {}", crate::text::shown(&value, 60)));
        }
    }
    if let Some(who) = answered_by {
        detail.push_str(&format!(", from {who}"));
    }
    // The first line of an answer of wsgate is its reason.
    if let Some(says) = answer.says().filter(|_| answered_by != Some("wsgate")) {
        detail.push_str(&format!(", which says \"{says}\""));
    }
    let words = answer.words();
    // A server that names other versions has seen the upgrade (RFC 6455 section 4.4).
    let versions = answer.field("sec-websocket-version");
    let lacks_ours = |versions: String| !versions.split(',').any(|one| one.trim() == "13");
    let has_other_version = matches!(status, 400 | 426) && versions.is_some_and(lacks_ours);
    let saw_no_upgrade = matches!(status, 400 | 426) && gateway::saw_no_upgrade(&words);
    let finding = match answer.reason() {
        _ if has_other_version => Finding::VersionRefused,
        _ if saw_no_upgrade => Finding::UpgradeStripped,
        // A hop speaks HTTP/1.0 to the server, as old versions of nginx do unless they are told otherwise.
        _ if status == 505 => Finding::UpgradeStripped,
        _ if matches!(status, 504 | 524) => Finding::GatewayTimeout,
        // Cloudflare's: it can't reach or does not trust the server.
        _ if matches!(status, 520..=527 | 530) => Finding::GatewayError,
        Some(Reason::UpstreamBadRequest)
            if words.contains("no required ssl certificate was sent")
                || words.contains("the ssl certificate error") =>
        {
            Finding::ClientCertificate
        }
        Some(Reason::Upstream2xxInsteadOf101) => Finding::NotUpgraded,
        Some(Reason::UpstreamRedirect) => Finding::Redirect,
        Some(Reason::UpstreamBadRequest)
            if words.contains("https port")
                || words.contains(Reason::TlsPlainHttpOnTlsPort.code()) =>
        {
            Finding::TlsOnPlainPort
        }
        Some(Reason::UpstreamBadRequest) => Finding::BadRequest,
        Some(Reason::UpstreamUnauthorized) => Finding::Unauthorized,
        Some(Reason::UpstreamForbidden) => Finding::Forbidden,
        Some(Reason::UpstreamNotFound) => Finding::NotFound,
        Some(Reason::UpstreamUpgradeRequired) => Finding::UpgradeRequired,
        Some(Reason::UpstreamRateLimited) => Finding::RateLimited,
        Some(Reason::Upstream5xx) if matches!(status, 502 | 503) => Finding::GatewayError,
        Some(Reason::Upstream5xx) => Finding::ServerError,
        Some(_) => Finding::ClientError,
        None => Finding::NotHttp,
    };
    (finding, detail)
}

/// The finding for a 101 that violates a rule.
pub(super) fn invalid(failure: &Failure) -> Fault {
    let finding = match failure.reason {
        Reason::UpstreamHttp10101 => Finding::Http10With101,
        Reason::Upstream101NoUpgrade => Finding::NoUpgradeField,
        Reason::Upstream101NoConnection => Finding::NoConnectionField,
        Reason::Upstream101WithBody => Finding::BodyWith101,
        Reason::UpstreamAcceptMissing => Finding::AcceptMissing,
        Reason::UpstreamAcceptMismatch => Finding::AcceptMismatch,
        Reason::UpstreamSubprotocolUnrequested => Finding::SubprotocolUnrequested,
        Reason::UpstreamExtensionUnrequested => Finding::ExtensionUnrequested,
        Reason::UpstreamDouble101 => Finding::SecondAnswer,
        _ => Finding::NotHttp,
    };
    (finding, failure.detail.clone().unwrap_or_default())
}

/// The finding for a silence in an open WebSocket that did not last.
pub(super) fn cut(silence: &Silence) -> Option<Fault> {
    let (finding, how) = silence.end.clone()?;
    // A Close says by itself why it came.
    if !matches!(finding, Finding::Ended | Finding::TunnelReset) {
        return Some((finding, how));
    }
    let seconds = silence.last.as_secs_f64();
    let (hop, remedy) = match crate::tunnel::suspected(silence.last) {
        Some(suspect) => (
            format!("{} ({}); ", suspect.hop, suspect.timer),
            "if it ends at this age with Pings too, raise the limit of that hop, otherwise ",
        ),
        None => (String::new(), ""),
    };
    let before = match silence.frames {
        0 => String::new(),
        frames => format!(" (the server had sent {} before)", counted(frames, "frame")),
    };
    let detail = format!(
        "after {seconds:.1} s of silence{before}: {} ({how}); {hop}{remedy}send a Ping at least every {} s",
        finding.id(),
        (silence.last.as_secs() * 2 / 5).max(1)
    );
    Some((Finding::IdleCut, detail))
}

/// The finding for a TLS handshake that failed.
pub(super) fn insecure(failure: &Failure) -> Fault {
    let detail = failure.detail.clone().unwrap_or_default();
    let finding = match failure.reason {
        Reason::UpstreamTlsToPlainPort if detail.contains("HTTP") => Finding::PlainOnTlsPort,
        Reason::UpstreamTlsToPlainPort => Finding::NotTls,
        Reason::UpstreamAlpnH2 => Finding::OnlyHttp2,
        Reason::TlsClientCertMissing => Finding::ClientCertificate,
        Reason::UpstreamResetOnConnect => Finding::Reset,
        _ if detail.contains("timed out") => Finding::TlsTimeout,
        _ if detail.contains("unrecognized_name") => Finding::SniUnknown,
        _ if detail.contains("protocol_version") => Finding::TlsTooOld,
        _ if detail.contains("alert") => Finding::TlsAlert,
        _ if detail.contains("closed") => Finding::TlsClosed,
        _ => Finding::TlsFailed,
    };
    (finding, detail)
}

/// The finding for a fault of a chain.
pub(super) fn of_chain(fault: &ChainFault) -> Finding {
    match fault {
        ChainFault::Expired => Finding::CertificateExpired,
        ChainFault::NotYetValid => Finding::CertificateNotYetValid,
        ChainFault::WrongName => Finding::CertificateWrongName,
        ChainFault::SelfSigned => Finding::CertificateSelfSigned,
        ChainFault::Authority => Finding::CertificateOfAuthority,
        ChainFault::MissingIntermediate => Finding::MissingIntermediate,
        ChainFault::UnknownAuthority => Finding::UnknownAuthority,
        ChainFault::WeakKey => Finding::CertificateWeakKey,
        ChainFault::Unreadable
        | ChainFault::Other
        | ChainFault::Order
        | ChainFault::WeakSignature
        | ChainFault::ExpiresSoon => Finding::CertificateUnverified,
    }
}
