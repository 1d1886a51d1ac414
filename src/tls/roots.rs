//! The authorities that this system knows, as an estimate of those that clients know.

use std::sync::OnceLock;

use x509_parser::prelude::{FromDer, X509Certificate};

/// Whether this system knows an authority with the name `subject` (the DER of its distinguished name); `None` if no
/// authorities could be read. They are read once, which is enough for a warning.
pub(super) fn is_known(subject: &[u8]) -> Option<bool> {
    static NAMES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs().certs;
        let name = |certificate: &rustls::pki_types::CertificateDer<'_>| {
            let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
            Some(parsed.subject().as_raw().to_vec())
        };
        let mut names: Vec<_> = found.iter().filter_map(name).collect();
        names.sort_unstable();
        names
    });
    (!names.is_empty()).then(|| {
        names
            .binary_search_by(|name| name.as_slice().cmp(subject))
            .is_ok()
    })
}
