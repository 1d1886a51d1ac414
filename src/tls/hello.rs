//! Which certificate a ClientHello gets, or why no handshake is possible.
//!
//! The library's error names the first check that failed in its own order. The hello shows what the client lacks. Only
//! the version is left to the library, because only it sees the client's list of versions.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::ClientHello;
use rustls::{CipherSuite, ProtocolVersion, ServerConfig, SignatureScheme, SupportedCipherSuite};

use super::serving::Order;
use super::{ALPN_HTTP11, Identity, Server};
use crate::reason::{Failure, Reason};
use crate::secrets::{self, words};
use crate::text::peer_text;

/// The most entries of a client's list that a record shows. A hello can have thousands.
const LISTED: usize = 24;

/// The signature schemes for certificate keys, in the proxy's order of preference.
const SCHEMES: [SignatureScheme; 10] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

/// The detail for a client that knows no newer version, whether the proxy or the library notices it.
pub(super) const AT_MOST_TLS11: &str = "the client offers at most TLS 1.1";

/// The certificate and the settings that serve a client.
pub(super) struct Chosen<'s> {
    pub identity: &'s Arc<Identity>,
    pub config: &'s Arc<ServerConfig>,
}

/// Chooses the certificate for a client, and the settings that serve it.
///
/// # Errors
/// What the client lacks. The handshake can then not succeed in any version.
pub(super) fn choose<'s>(
    hello: &ClientHello<'_>,
    server: &'s Server,
) -> Result<Chosen<'s>, Failure> {
    let provider = server.provider();
    let offers = Offers::of(hello, provider);
    if offers.suites.is_empty() {
        let detail = format!("offered: {}", suite_names(hello));
        return Err(Failure::new(Reason::TlsNoCommonCipher, detail));
    }
    let groups = hello.named_groups().unwrap_or_default();
    let is_known = |group| {
        provider.kx_groups.iter().any(|ours| {
            let is_usable = offers.is_tls13 || ours.usable_for_version(ProtocolVersion::TLSv1_2);
            ours.name() == group && is_usable
        })
    };
    if !groups.iter().any(|group| is_known(*group)) {
        let groups = list(groups.iter(), |group| format!("{group:?}"));
        let detail = format!("offered: {groups}");
        return Err(Failure::new(Reason::TlsNoCommonGroup, detail));
    }
    let name = hello.server_name().map(str::to_ascii_lowercase);
    let candidates = || server.identities.candidates(name.as_deref());
    // The library may still choose TLS 1.2 for a client that has suites of TLS 1.3, so certificates that work in both
    // come first.
    let first_where = |fits: &dyn Fn(&Identity) -> bool| {
        let mut all = candidates();
        all.find(|serving| fits(&serving.identity))
    };
    let chosen =
        first_where(&|identity| offers.suit(identity, true) && offers.suit(identity, false))
            .or_else(|| first_where(&|identity| offers.suit(identity, true)))
            .or_else(|| first_where(&|identity| offers.suit(identity, false)));
    let Some(chosen) = chosen else {
        return Err(offers.nothing_fits(hello, candidates().map(|serving| &*serving.identity)));
    };
    if let Some(offered) = without_common_protocol(hello, server.alpn()) {
        let ours = list(server.alpn().iter(), |name| peer_text(name));
        let detail = format!("{offered}; supported by this listener: {ours}");
        return Err(Failure::new(Reason::TlsAlpnNoOverlap, detail));
    }
    let order = Order::wanted_by(hello, &provider.cipher_suites);
    Ok(Chosen {
        identity: &chosen.identity,
        config: chosen.config(order),
    })
}

/// What a client offers by ALPN, in words, if none of it is among `ours`. A client without ALPN speaks HTTP/1.1.
fn without_common_protocol(hello: &ClientHello<'_>, ours: &[Vec<u8>]) -> Option<String> {
    let is_ours = |name: &[u8]| ours.iter().any(|ours| ours == name);
    let Some(mut offered) = hello.alpn() else {
        let is_refused = !is_ours(ALPN_HTTP11);
        return is_refused.then(|| "the client sent no ALPN, so it speaks HTTP/1.1".to_owned());
    };
    if offered.any(is_ours) {
        return None;
    }
    let offered = secrets::known(hello.alpn().into_iter().flatten(), &[words::ALPN]);
    Some(format!("offered: {offered}"))
}

/// The parts of a hello that decide which certificate serves it.
struct Offers<'h> {
    schemes: &'h [SignatureScheme],
    /// The schemes among them that can sign a TLS 1.3 handshake.
    schemes_tls13: Vec<SignatureScheme>,
    /// The common suites of all versions.
    suites: Vec<SupportedCipherSuite>,
    is_tls13: bool,
}

impl<'h> Offers<'h> {
    fn of(hello: &'h ClientHello<'_>, provider: &CryptoProvider) -> Self {
        let ours = provider.cipher_suites.iter().copied();
        let suites: Vec<_> = ours
            .filter(|suite| hello.cipher_suites().contains(&suite.suite()))
            .collect();
        let schemes = hello.signature_schemes();
        let in_tls13 = |scheme: &SignatureScheme| !is_for_certificates_alone(*scheme);
        Self {
            schemes,
            schemes_tls13: schemes.iter().copied().filter(in_tls13).collect(),
            is_tls13: suites.iter().any(|suite| suite.tls13().is_some()),
            suites,
        }
    }

    /// Whether `identity` can sign a handshake of TLS 1.3, or of TLS 1.2.
    fn suit(&self, identity: &Identity, in_tls13: bool) -> bool {
        self.has_suite(identity, in_tls13) && self.has_scheme(identity, in_tls13)
    }

    fn has_suite(&self, identity: &Identity, in_tls13: bool) -> bool {
        let algorithm = identity.key().key.algorithm();
        self.suites.iter().any(|suite| {
            suite.tls13().is_some() == in_tls13 && suite.usable_for_signature_algorithm(algorithm)
        })
    }

    fn has_scheme(&self, identity: &Identity, in_tls13: bool) -> bool {
        let schemes = match in_tls13 {
            true => &self.schemes_tls13,
            false => self.schemes,
        };
        identity.key().key.choose_scheme(schemes).is_some()
    }

    /// Why no certificate for a name is usable.
    fn nothing_fits<'i>(
        &self,
        hello: &ClientHello<'_>,
        candidates: impl Iterator<Item = &'i Identity> + Clone,
    ) -> Failure {
        let mut all = candidates.clone();
        let has_suite =
            all.any(|identity| self.has_suite(identity, true) || self.has_suite(identity, false));
        if has_suite {
            let offered = list(self.schemes.iter(), |scheme| format!("{scheme:?}"));
            let ours = SCHEMES.into_iter().filter(|scheme| {
                let mut all = candidates.clone();
                all.any(|identity| identity.key().key.choose_scheme(&[*scheme]).is_some())
            });
            let ours = list(ours, |scheme| format!("{scheme:?}"));
            let detail = format!("offered: {offered}; supported by the certificates' keys: {ours}");
            return Failure::new(Reason::TlsNoCommonSigalg, detail);
        }
        let mut kinds: Vec<_> = candidates
            .map(|identity| format!("{:?}", identity.key().key.algorithm()))
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        let detail = format!(
            "offered: {}; these do not work with a certificate key of {}",
            suite_names(hello),
            kinds.join(" or ")
        );
        Failure::new(Reason::TlsNoCommonCipher, detail).with_hint(
            "add a certificate of the other kind (RSA next to ECDSA) for the same names to \
             `listeners[].tls.certificates`, or let the client offer suites for the existing kind",
        )
    }
}

/// The schemes that TLS 1.3 allows for certificates but not for handshakes (RFC 8446 section 4.2.3).
fn is_for_certificates_alone(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
            | SignatureScheme::ECDSA_SHA1_Legacy
    )
}

fn suite_names(hello: &ClientHello<'_>) -> String {
    list(hello.cipher_suites().iter(), |suite| suite_name(*suite))
}

/// The failure for a hello without the `signature_algorithms` extension, which the library rejects before everything
/// else. TLS 1.1 does not have the extension; in TLS 1.2 its absence means SHA-1 (RFC 5246 section 7.4.1.4.1).
pub(super) fn without_signature_algorithms(beginning: &[u8]) -> Failure {
    if is_older_than_tls12(beginning) {
        Failure::new(Reason::TlsVersionUnsupported, AT_MOST_TLS11)
    } else {
        let detail = "the client names no signature algorithms, which means SHA-1";
        Failure::new(Reason::TlsNoCommonSigalg, detail)
    }
}

/// Whether a connection begins with a hello whose `legacy_version` is below 1.2 (RFC 8446 section 4.1.2). If the first
/// record is too short to contain it, the hello counts as newer, and the library decides.
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

fn list<T>(items: impl Iterator<Item = T>, name: impl Fn(T) -> String) -> String {
    let mut items = items.fuse();
    let mut shown: Vec<_> = items.by_ref().take(LISTED).map(name).collect();
    let more = items.count();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    if shown.is_empty() {
        "nothing".to_owned()
    } else {
        shown.join(", ")
    }
}
