//! Kinds and sizes of certificate keys that clients accept.

use std::path::Path;

use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::identity::Finding;

/// The finding about a key that no client accepts.
pub(super) fn refused(leaf: &X509Certificate<'_>, file: &Path) -> Option<Finding> {
    /// For RSA (CA/Browser Forum baseline requirements, section 6.1.5). rustls accepts no shorter key either.
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

/// The kind of a key that can't be used, whatever its size.
fn refused_kind(key: &SubjectPublicKeyInfo<'_>) -> Option<&'static str> {
    /// P-256, P-384 and P-521 (RFC 5480 section 2.1.1.1).
    const CURVES: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];
    match key.algorithm.algorithm.to_id_string().as_str() {
        "1.3.101.113" => Some("an Ed448 key"),
        "1.2.840.10040.4.1" => Some("a DSA key"),
        "1.2.840.113549.1.1.10" => Some("a key for RSA-PSS only"),
        "1.2.840.10045.2.1" => {
            let curve = key
                .algorithm
                .parameters
                .as_ref()?
                .as_oid()
                .ok()?
                .to_id_string();
            (!CURVES.contains(&curve.as_str()))
                .then_some("an ECDSA key on a curve other than P-256, P-384 and P-521")
        }
        _ => None,
    }
}
