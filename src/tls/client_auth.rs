//! Client certificates: which authorities may issue them, and why one was rejected.

use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, Error, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::finding::Finding;
use super::identity::read_certificates;
use crate::config::{ClientAuth, ClientAuthMode, Severity};
use crate::reason::{Failure, Reason};

/// The rules for the certificates of a listener's clients.
#[derive(Clone, Debug)]
pub struct Authorities {
    roots: Arc<RootCertStore>,
    mode: ClientAuthMode,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Only clones are equal, because the verifiers themselves can't be compared.
impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.verifier, &other.verifier)
    }
}

impl Authorities {
    /// Loads the authorities that `settings` names. Returns them exactly if no finding is an error.
    #[must_use]
    pub fn load(settings: &ClientAuth) -> (Option<Self>, Vec<Finding>) {
        let mut findings = Vec::new();
        let error = |message| Finding {
            severity: Severity::Error,
            field: "ca",
            message,
        };
        let path = settings.ca.display();
        let certificates = match read_certificates("ca", &settings.ca) {
            Ok(certificates) => certificates,
            Err(finding) => return (None, vec![finding]),
        };
        let mut roots = RootCertStore::empty();
        for (index, certificate) in certificates.into_iter().enumerate() {
            // A self-signed certificate that is not an authority's admits only the client that has its key.
            let is_authority = X509Certificate::from_der(&certificate)
                .is_ok_and(|(_, found)| found.is_ca() || found.issuer() == found.subject());
            if roots.add(certificate).is_err() {
                findings.push(error(format!(
                    "certificate {} in {path} is damaged; copy the file again",
                    index + 1
                )));
            } else if !is_authority {
                findings.push(Finding {
                    severity: Severity::Warning,
                    field: "ca",
                    message: format!(
                        "certificate {} in {path} is not an authority's; name the authority that issues the clients' \
                         certificates, not a client's certificate",
                        index + 1
                    ),
                });
            }
        }
        if findings
            .iter()
            .any(|finding| finding.severity == Severity::Error)
        {
            return (None, findings);
        }
        match Self::of(Arc::new(roots), settings.mode) {
            Ok(authorities) => (Some(authorities), findings),
            Err(why) => {
                findings.push(error(format!("{path} can't be used: {why}")));
                (None, findings)
            }
        }
    }

    fn of(roots: Arc<RootCertStore>, mode: ClientAuthMode) -> Result<Self, VerifierBuilderError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider);
        let builder = match mode {
            ClientAuthMode::Required => builder,
            ClientAuthMode::Optional => builder.allow_unauthenticated(),
        };
        Ok(Self {
            verifier: builder.build()?,
            roots,
            mode,
        })
    }

    /// The same authorities for a listener with other `settings` that name the same file; `None` if they are unusable,
    /// which loading has already excluded.
    #[must_use]
    pub fn asking_for(&self, settings: &ClientAuth) -> Option<Self> {
        match settings.mode == self.mode {
            true => Some(self.clone()),
            false => Self::of(Arc::clone(&self.roots), settings.mode).ok(),
        }
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }
}

/// What is wrong with a client's certificate, if the error is about that.
pub(super) fn refused(error: &Error) -> Option<Failure> {
    let error = match error {
        Error::NoCertificatesPresented => {
            let detail = "the client was asked for a certificate but did not send one";
            return Some(Failure::new(Reason::TlsClientCertMissing, detail));
        }
        Error::InvalidCertificate(error) => error,
        _ => return None,
    };
    let detail = match error {
        CertificateError::UnknownIssuer | CertificateError::UnhandledCriticalExtension => {
            format!("untrusted: {error}")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("expired: {error}")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("not valid yet: {error}")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("wrong usage, it needs the extended key usage clientAuth: {error}")
        }
        error => error.to_string(),
    };
    Some(Failure::new(Reason::TlsClientCertInvalid, detail))
}
