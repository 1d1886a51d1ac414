//! What other programs print when a connection fails: known texts, and the numbers in them.

use std::fmt::Write as _;

use crate::diagnose::Finding;
use crate::text::Language;

/// Parts of messages in lower case, from Node, Python, Go, OpenSSL, Chromium and phones, and what they mean.
const KNOWN: &[(&str, Finding)] = &[
    ("econnrefused", Finding::Refused),
    ("connection refused", Finding::Refused),
    ("connection_refused", Finding::Refused),
    ("enotfound", Finding::DnsFailed),
    ("getaddrinfo", Finding::DnsFailed),
    ("name_not_resolved", Finding::DnsFailed),
    ("no such host", Finding::DnsFailed),
    ("etimedout", Finding::ConnectTimeout),
    ("connection_timed_out", Finding::ConnectTimeout),
    ("ehostunreach", Finding::Unreachable),
    ("address_unreachable", Finding::Unreachable),
    ("econnreset", Finding::Reset),
    ("connection reset", Finding::Reset),
    ("connection_reset", Finding::Reset),
    ("socket hang up", Finding::ClosedBeforeAnswer),
    ("empty_response", Finding::ClosedBeforeAnswer),
    ("cert_date_invalid", Finding::CertificateExpired),
    ("cert_has_expired", Finding::CertificateExpired),
    ("certificate has expired", Finding::CertificateExpired),
    ("self_signed_cert", Finding::CertificateSelfSigned),
    ("self signed certificate", Finding::CertificateSelfSigned),
    ("self-signed certificate", Finding::CertificateSelfSigned),
    ("unable to get local issuer", Finding::MissingIntermediate),
    ("unable_to_get_issuer_cert", Finding::MissingIntermediate),
    (
        "unable to verify the first certificate",
        Finding::MissingIntermediate,
    ),
    (
        "unable_to_verify_leaf_signature",
        Finding::MissingIntermediate,
    ),
    (
        "trust anchor for certification path",
        Finding::MissingIntermediate,
    ),
    ("cert_authority_invalid", Finding::UnknownAuthority),
    ("unknown authority", Finding::UnknownAuthority),
    ("cert_common_name_invalid", Finding::CertificateWrongName),
    (
        "err_tls_cert_altname_invalid",
        Finding::CertificateWrongName,
    ),
    ("hostname mismatch", Finding::CertificateWrongName),
    ("ssl_protocol_error", Finding::PlainOnTlsPort),
    ("wrong version number", Finding::PlainOnTlsPort),
    (
        "first record does not look like a tls",
        Finding::PlainOnTlsPort,
    ),
    ("version_or_cipher_mismatch", Finding::TlsTooOld),
    ("bad_ssl_client_auth_cert", Finding::ClientCertificate),
    ("keepalive ping timeout", Finding::PingUnanswered),
    ("sec-websocket-accept", Finding::AcceptMismatch),
    ("rsv1 must be clear", Finding::ProtocolError),
    ("one or more reserved bits are on", Finding::ProtocolError),
    ("mask must be clear", Finding::ProtocolError),
    ("a server must not mask", Finding::ProtocolError),
];

/// The text for a message with a known part.
pub(super) fn known(message: &str, language: Language) -> Option<String> {
    let message = message.to_ascii_lowercase();
    let (_, finding) = KNOWN.iter().find(|(part, _)| message.contains(part))?;
    Some(finding_text(*finding, language))
}

/// The text for a finding of `wsgate diagnose`, by its name.
pub(super) fn finding(name: &str, language: Language) -> Option<String> {
    let finding = Finding::ALL.iter().find(|finding| finding.id() == name)?;
    Some(finding_text(*finding, language))
}

fn finding_text(finding: Finding, language: Language) -> String {
    let words = language.words();
    let mut text = format!("{}{}\n", finding.id(), words.is_a_finding);
    let reason = finding.reason().map_or("", |reason| reason.code());
    for (name, value) in [
        (words.cause, finding.cause(language)),
        (words.fix, finding.fix(language)),
        (words.same_reason, reason),
    ] {
        if !value.is_empty() {
            let gap = words.padding(name);
            let _ = writeln!(text, "  {name}{}{gap}{value}", words.colon);
        }
    }
    text
}

/// Close codes and HTTP statuses in a message, the most probable one first.
pub(super) fn numbers(message: &str) -> Vec<&str> {
    let is_number = |c: char| c.is_ascii_digit();
    let mut found: Vec<(u8, &str)> = message
        .match_indices(is_number)
        .filter_map(|(at, _)| {
            let (before, rest) = message.split_at_checked(at)?;
            // The rest of a number.
            if before.ends_with(is_number) {
                return None;
            }
            let end = rest.find(|c| !is_number(c)).unwrap_or(rest.len());
            let (digits, after) = rest.split_at_checked(end)?;
            matches!(digits.len(), 3 | 4)
                .then(|| rank(before, after))
                .flatten()
                .map(|rank| (rank, digits))
        })
        .collect();
    // The 101 is what was expected.
    let is_refused = found.iter().any(|(_, digits)| *digits != "101");
    found.retain(|(_, digits)| !is_refused || *digits != "101");
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, digits)| digits).collect()
}

/// How probable it is that a number between these texts is a code; a low rank is more probable. `None` if it is something
/// else: a port, a line, a date, a part of a longer number.
fn rank(before: &str, after: &str) -> Option<u8> {
    const NAMES: [&str; 8] = [
        "code", "status", "response", "http", "was", "close", "closed", "error",
    ];
    let next: Vec<char> = after.chars().take(2).collect();
    let is_longer = match next.as_slice() {
        [first, ..] if first.is_alphanumeric() || *first == '_' => true,
        ['-' | ':' | '.' | '/', second, ..] => second.is_ascii_digit(),
        _ => false,
    };
    let word = before.trim_end_matches(|c: char| !c.is_alphanumeric());
    let word = word
        .rsplit(|c: char| !c.is_ascii_alphabetic())
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let is_named = NAMES.contains(&word.as_str());
    let is_around = |c: char| "\"':".contains(c);
    let key = before.trim_end_matches(is_around);
    let key = key
        .rsplit(|c: char| !(c.is_ascii_alphabetic() || c == '_'))
        .next();
    let is_field = key.is_some_and(|key| key.contains('_'));
    let is_after = match before.chars().next_back() {
        None => true,
        Some(':') => is_named || is_field,
        Some(last) => last.is_whitespace() || "\"'`([=,".contains(last),
    };
    (is_after && !is_longer).then_some(u8::from(!is_named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_from_ports_lines_and_dates() {
        for (message, expected) in [
            ("Unexpected server response: 403", &["403"][..]),
            ("WebSocket closed with code 1006", &["1006"]),
            ("closed: {\"code\":1006}", &["1006"]),
            (
                "2026-11-30 13:00:00 WebSocket closed with code 1006",
                &["1006"],
            ),
            ("app.js:1234 WebSocket connection failed", &[]),
            ("connect ECONNREFUSED 127.0.0.1:3000", &[]),
            ("Error: localhost:443", &[]),
            (
                "Expected HTTP 101 response but was '403 Forbidden'",
                &["403"],
            ),
            ("HTTP 101", &["101"]),
            ("NSURLErrorDomain Code=-1011", &[]),
            ("received 1000 bytes, then status 502", &["502", "1000"]),
            ("HTTP/1.1 502 Bad Gateway", &["502"]),
            ("\"client_sees\":1006", &["1006"]),
            ("close_code_upstream:1011", &["1011"]),
            ("x10060 1006y 10.1006.1", &[]),
            ("", &[]),
            ("é1006", &[]),
            ("(1006)", &["1006"]),
        ] {
            assert_eq!(numbers(message), expected, "{message}");
        }
    }

    #[test]
    fn known_messages_and_findings_are_explained() {
        for (message, part) in [
            ("connect ECONNREFUSED 127.0.0.1:3000", "connection_refused"),
            ("net::ERR_CERT_DATE_INVALID", "certificate_expired"),
            (
                "unable to get local issuer certificate",
                "missing_intermediate",
            ),
        ] {
            let text = known(message, Language::En).unwrap();
            assert!(text.starts_with(part), "{text}");
        }
        assert_eq!(known("nothing known", Language::En), None);
        let text = finding("only_http2", Language::Zh).unwrap();
        assert!(text.contains("ALPN"), "{text}");
    }
}
