//! The kinds and sizes of certificate keys that clients accept.

use std::path::Path;

use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_DSA, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
    OID_PKCS1_RSASSAPSS, OID_SIG_ED448, Oid,
};
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::finding::Finding;

/// The finding about a key that no client accepts.
pub(super) fn refused(leaf: &X509Certificate<'_>, file: &Path) -> Option<Finding> {
    /// The least size for RSA (CA/Browser Forum baseline requirements, section 6.1.5). rustls accepts no shorter key
    /// either.
    const LEAST_BITS: usize = 2048;
    let key = leaf.public_key();
    let path = file.display();
    let remedy = "have it reissued for an ECDSA P-256 key or an RSA key of 2048 bits";
    if let Some(kind) = refused_kind(key) {
        let message = format!(
            "the certificate in {path} has {kind}, which TLS clients do not accept; {remedy}"
        );
        return Some(Finding::error("cert", message));
    }
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() < LEAST_BITS => {
            let message = format!(
                "the certificate in {path} has an RSA key of {} bits, and clients accept {LEAST_BITS} and more; {remedy}",
                rsa.key_size()
            );
            Some(Finding::error("cert", message))
        }
        _ => None,
    }
}

/// The kind of a key that is unusable at any size.
fn refused_kind(key: &SubjectPublicKeyInfo<'_>) -> Option<&'static str> {
    /// RFC 5480 section 2.1.1.1.
    const CURVES: [Oid<'_>; 3] = [OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521];
    let algorithm = &key.algorithm;
    if algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = algorithm.parameters.as_ref()?.as_oid().ok()?;
        return (!CURVES.contains(&curve))
            .then_some("an ECDSA key on a curve other than P-256, P-384 and P-521");
    }
    let kinds = [
        (OID_SIG_ED448, "an Ed448 key"),
        (OID_KEY_TYPE_DSA, "a DSA key"),
        (OID_PKCS1_RSASSAPSS, "a key for RSA-PSS only"),
    ];
    let found = kinds
        .into_iter()
        .find(|(kind, _)| algorithm.algorithm == *kind);
    found.map(|(_, words)| words)
}
