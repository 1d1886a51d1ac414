//! Why a ClientHello can't lead to a handshake, told from the hello itself.
//!
//! The library's error names the first check that failed in its own order; the hello says what the client lacks.
//! Only the version is left to the library, which alone sees the client's list of versions.

use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls::server::ClientHello;
use rustls::{CipherSuite, SupportedCipherSuite};

use super::failure::AT_MOST_TLS11;
use super::{ALPN_HTTP11, Server};
use crate::reason::{Failure, Reason};
use crate::secrets::{self, words};

/// Most entries of a client's list in a record; a hello can hold thousands.
const LISTED: usize = 24;

/// What the client lacks, if the handshake can't succeed for another reason than the version: that one the library
/// tells, as it alone sees the list of versions.
pub(super) fn incompatibility(hello: &ClientHello<'_>, server: &Server) -> Option<Failure> {
    let is_tls13 = offers_tls13(hello);
    let common = |suite: &&SupportedCipherSuite| {
        hello.cipher_suites().contains(&suite.suite()) && suite.tls13().is_some() == is_tls13
    };
    if !ALL_CIPHER_SUITES.iter().any(|suite| common(&suite)) {
        let detail = format!(
            "offered: {}",
            list(hello.cipher_suites().iter().map(|suite| suite_name(*suite)))
        );
        return Some(Failure::new(Reason::TlsNoCommonCipher, detail));
    }
    if let Some(groups) = hello.named_groups()
        && !server
            .config
            .crypto_provider()
            .kx_groups
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
    let offered = secrets::known(hello.alpn()?, &[words::ALPN]);
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

/// A hello without the `signature_algorithms` extension, which the library refuses before it looks at anything else.
/// TLS 1.1 does not know the extension; leaving it out of TLS 1.2 stands for SHA-1 (RFC 5246 section 7.4.1.4.1).
pub(super) fn without_signature_algorithms(beginning: &[u8]) -> Failure {
    if is_older_than_tls12(beginning) {
        Failure::new(Reason::TlsVersionUnsupported, AT_MOST_TLS11)
    } else {
        let detail = "the client names no signature algorithms, which stands for SHA-1";
        Failure::new(Reason::TlsNoCommonSigalg, detail)
    }
}

/// Whether a connection begins with a hello whose `legacy_version` is below 1.2 (RFC 8446 section 4.1.2). A hello cut
/// into records so short that the first does not reach it counts as newer; the library then decides.
fn is_older_than_tls12(beginning: &[u8]) -> bool {
    const CLIENT_HELLO: u8 = 1;
    const HELLO_HEAD: u16 = 6;
    match beginning {
        &[_, _, _, l0, l1, CLIENT_HELLO, _, _, _, v0, v1, ..] => {
            u16::from_be_bytes([l0, l1]) >= HELLO_HEAD && u16::from_be_bytes([v0, v1]) < 0x0303
        }
        _ => false,
    }
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
