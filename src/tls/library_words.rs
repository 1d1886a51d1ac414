//! What the TLS library says only in words.
//!
//! Everywhere else its errors are matched as values. Each test here makes the library produce its words and fails if a
//! new version changes them.

use rustls::CertificateError;

/// Whether a server presented the certificate of an authority, such as one made by `openssl req -x509`.
pub(super) fn is_authority(problem: &CertificateError) -> bool {
    matches!(problem, CertificateError::Other(_))
        && problem.to_string().contains("CaUsedAsEndEntity")
}

/// A name from `CertificateError::NotValidForNameContext` without the notation around it.
pub(super) fn presented(name: &str) -> &str {
    let inner = name
        .strip_prefix("DnsName(\"")
        .or_else(|| name.strip_prefix("IpAddress("));
    inner.map_or(name, |inner| inner.trim_end_matches([')', '"']))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{Error, RootCertStore};

    use super::*;

    /// What the library says about a self-signed certificate for `localhost` and `127.0.0.1` of the server `name`.
    fn refusal(name: &'static str, is_ca: IsCa) -> CertificateError {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = is_ca;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let certificate = CertificateDer::from(certificate);
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let name = ServerName::try_from(name).unwrap();
        let verified = verifier.build().unwrap().verify_server_cert(
            &certificate,
            &[],
            &name,
            &[],
            UnixTime::now(),
        );
        match verified.unwrap_err() {
            Error::InvalidCertificate(problem) => problem,
            error => panic!("{error:?}"),
        }
    }

    #[test]
    fn an_authority_is_told_from_other_faults() {
        let authority = IsCa::Ca(BasicConstraints::Unconstrained);
        assert!(is_authority(&refusal("localhost", authority)));
        assert!(!is_authority(&refusal("other", IsCa::ExplicitNoCa)));
    }

    #[test]
    fn presented_names_are_shown_without_notation() {
        let CertificateError::NotValidForNameContext {
            presented: names, ..
        } = refusal("other", IsCa::ExplicitNoCa)
        else {
            panic!("the library gives the names in another way");
        };
        let names: Vec<_> = names.iter().map(|name| presented(name)).collect();
        assert_eq!(names, ["localhost", "127.0.0.1"]);
    }
}
