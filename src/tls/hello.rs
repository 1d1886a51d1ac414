//! Why a ClientHello can't lead to a handshake, told from the hello itself.
//!
//! The library's error names the first check that failed in its own order; the hello says what the client lacks.

use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, ALL_KX_GROUPS};
use rustls::server::ClientHello;
use rustls::{CipherSuite, SupportedCipherSuite};

use super::{ALPN_HTTP11, Server};
use crate::config::TlsVersion;
use crate::reason::{Failure, Reason};
use crate::record::peer_text;

/// Most entries of a client's list in a record; a hello can hold thousands.
const LISTED: usize = 24;

/// What the client lacks, if the handshake can't succeed. `beginning` holds the first bytes of the connection.
pub(super) fn incompatibility(
    hello: &ClientHello<'_>,
    beginning: &[u8],
    server: &Server,
) -> Option<Failure> {
    let version = if offers_tls13(hello) {
        TlsVersion::V1_3
    } else if legacy_version(beginning).is_some_and(|version| version < 0x0303) {
        return Some(Failure::new(
            Reason::TlsVersionUnsupported,
            "the client offers at most TLS 1.1",
        ));
    } else if server.min_version > TlsVersion::V1_2 {
        return Some(Failure::new(
            Reason::TlsVersionUnsupported,
            "the client offers at most TLS 1.2",
        ));
    } else {
        TlsVersion::V1_2
    };
    let common = |suite: &&SupportedCipherSuite| {
        hello.cipher_suites().contains(&suite.suite())
            && suite.tls13().is_some() == (version == TlsVersion::V1_3)
    };
    if !ALL_CIPHER_SUITES.iter().any(|suite| common(&suite)) {
        let detail = format!(
            "offered: {}",
            list(hello.cipher_suites().iter().map(|suite| suite_name(*suite)))
        );
        return Some(Failure::new(Reason::TlsNoCommonCipher, detail));
    }
    if let Some(groups) = hello.named_groups()
        && !ALL_KX_GROUPS
            .iter()
            .any(|ours| groups.contains(&ours.name()))
    {
        let detail = format!(
            "offered: {}",
            list(groups.iter().map(|group| format!("{group:?}")))
        );
        return Some(Failure::new(Reason::TlsNoCommonGroup, detail));
    }
    let name = hello.server_name().map(str::to_ascii_lowercase);
    let usable = server
        .identities
        .candidates(name.as_deref())
        .any(|identity| {
            let key = &identity.key().key;
            key.choose_scheme(hello.signature_schemes()).is_some()
                && ALL_CIPHER_SUITES
                    .iter()
                    .filter(common)
                    .any(|suite| suite.usable_for_signature_algorithm(key.algorithm()))
        });
    if !usable {
        let offered = list(
            hello
                .signature_schemes()
                .iter()
                .map(|scheme| format!("{scheme:?}")),
        );
        return Some(Failure::new(
            Reason::TlsNoCommonSigalg,
            format!("offered: {offered}"),
        ));
    }
    let mut alpn = hello.alpn()?;
    if alpn.any(|protocol| protocol == ALPN_HTTP11) {
        return None;
    }
    let offered = list(hello.alpn()?.map(peer_text));
    Some(Failure::new(
        Reason::TlsAlpnNoOverlap,
        format!("offered: {offered}"),
    ))
}

fn offers_tls13(hello: &ClientHello<'_>) -> bool {
    ALL_CIPHER_SUITES
        .iter()
        .filter(|suite| suite.tls13().is_some())
        .any(|suite| hello.cipher_suites().contains(&suite.suite()))
}

/// `legacy_version` of the hello (RFC 8446 section 4.1.2), after the record's and the message's headers.
fn legacy_version(beginning: &[u8]) -> Option<u16> {
    let bytes = beginning.get(9..11)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn suite_name(suite: CipherSuite) -> String {
    suite
        .as_str()
        .map_or_else(|| format!("{:#06x}", u16::from(suite)), str::to_owned)
}

fn list(names: impl Iterator<Item = String>) -> String {
    let mut names = names.fuse();
    let mut shown: Vec<_> = names.by_ref().take(LISTED).collect();
    let more = names.count();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    if shown.is_empty() {
        "nothing".to_owned()
    } else {
        shown.join(", ")
    }
}
