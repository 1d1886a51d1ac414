//! TLS toward upstreams: the settings of one upstream from its files, and the handshake as a client.
//!
//! Certificates are always verified (RFC 5280, RFC 9525). Takes a connected socket; gives an encrypting
//! [`UpstreamStream`]; fails with `upstream_tls_…`, `upstream_alpn_h2` and `upstream_reset_on_connect`.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::finding::Finding;
use super::identity;
use super::validity::Certificate;
use super::{ALPN_HTTP11, SEND_BUFFER, refused};
use crate::config::UpstreamTls;
use crate::listener::FIRST_BYTES;
use crate::reason::{Failure, Reason};
use crate::stream::{Beginning, UpstreamStream};

/// One upstream's TLS settings, ready for handshakes.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    /// Replaces the endpoint's host.
    name: Option<String>,
    /// The authorities that it trusts, in words.
    trusts: Arc<str>,
    /// The certificate that it presents.
    certificate: Option<Certificate>,
}

/// Only clones are equal, because the settings themselves can't be compared.
impl PartialEq for Client {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

/// The authorities that the system trusts, as the library found them.
#[derive(Debug)]
pub struct SystemRoots {
    store: Arc<RootCertStore>,
    /// What could not be read.
    errors: Vec<String>,
}

impl SystemRoots {
    /// Loads the authorities from the places that OpenSSL uses on this system, or from `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR`.
    #[must_use]
    pub fn load() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        // Some systems list files that are not certificates; the others are still good.
        store.add_parsable_certificates(found.certs);
        Self {
            store: Arc::new(store),
            errors: found.errors.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Client {
    /// Reads the files that `settings` names; `system` gives the authorities if it names none. Returns a client exactly
    /// if no finding is an error. Findings name the keys `ca`, `cert` and `key`.
    #[must_use]
    pub fn load(
        settings: &UpstreamTls,
        system: impl FnOnce() -> Arc<SystemRoots>,
    ) -> (Option<Self>, Vec<Finding>) {
        let mut findings = Vec::new();
        let mut doubts = Vec::new();
        let roots = match &settings.ca {
            Some(file) => read_roots(file, &mut doubts)
                .map(|roots| (Arc::new(roots), file.display().to_string())),
            None => {
                let system = system();
                system_roots(&system).map(|roots| (roots, "the system".to_owned()))
            }
        };
        let roots = roots.map_err(|finding| findings.push(finding)).ok();
        let own = settings.identity.as_ref().and_then(|files| {
            let chain = identity::read_certificates("cert", &files.cert);
            let key = identity::read_key(&files.key);
            // Both files are read before either result is dropped, so that both problems are reported.
            let chain = chain.map_err(|finding| findings.push(finding)).ok();
            let key = key.map_err(|finding| findings.push(finding)).ok();
            let (chain, key) = (chain?, key?);
            let certificate =
                identity::examine_own(&chain, &files.cert, SystemTime::now(), &mut doubts);
            let certificate = certificate.map_err(|finding| findings.push(finding)).ok()?;
            Some((chain, key, certificate))
        });
        let certificate = own.as_ref().map(|(_, _, certificate)| certificate.clone());
        let is_usable = findings.is_empty();
        let own_key = settings.identity.as_ref().filter(|_| own.is_some());
        doubts.extend(own_key.and_then(|files| identity::open_key(&files.key)));
        findings.extend(doubts);
        let Some((roots, trusts)) = roots.filter(|_| is_usable) else {
            return (None, findings);
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = &[&rustls::version::TLS13, &rustls::version::TLS12];
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map(|builder| builder.with_root_certificates(roots))
            .and_then(|builder| match own {
                Some((chain, key, _)) => builder.with_client_auth_cert(chain, key),
                None => Ok(builder.with_no_client_auth()),
            });
        let mut config = match config {
            Ok(config) => config,
            Err(error) => {
                let finding = match &settings.identity {
                    Some(files) => identity::unusable(files, &error),
                    None => Finding::error("ca", error.to_string()),
                };
                findings.push(finding);
                return (None, findings);
            }
        };
        config.alpn_protocols = vec![ALPN_HTTP11.to_vec()];
        let client = Self {
            config: Arc::new(config),
            name: settings.server_name.clone(),
            trusts: trusts.into(),
            certificate,
        };
        (Some(client), findings)
    }

    /// The same client for an upstream with other `settings` that name the same files.
    #[must_use]
    pub fn asking_for(&self, settings: &UpstreamTls) -> Self {
        Self {
            name: settings.server_name.clone(),
            ..self.clone()
        }
    }

    /// The facts about the certificate that is presented to upstreams, if there is one.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Performs the client's side of a handshake with the endpoint `host`, a name or an address. The caller sets the
    /// deadline. Dropping the future closes the socket.
    ///
    /// # Errors
    /// Why the upstream can't be trusted or did not complete the handshake.
    pub async fn connect(&self, socket: TcpStream, host: &str) -> Result<UpstreamStream, Failure> {
        let name = self.name.as_deref().unwrap_or(host);
        let Ok(server_name) = ServerName::try_from(name.to_owned()) else {
            let detail = format!("{name:?} is not a name that a certificate can have");
            return Err(Failure::new(Reason::UpstreamTlsVerifyFailed, detail));
        };
        let connector = TlsConnector::from(Arc::clone(&self.config));
        // The library does not give back bytes that are not TLS.
        let socket = Beginning::new(FIRST_BYTES, socket);
        let handshake = connector.connect_with(server_name, socket, |tls| {
            tls.set_buffer_limit(Some(SEND_BUFFER));
        });
        match handshake.into_fallible().await {
            Ok(mut stream) => {
                stream.get_mut().0.taken();
                Ok(UpstreamStream::Tls(Box::new(stream)))
            }
            Err((error, mut socket)) => {
                let seen = socket.taken();
                Err(refused::refused(&error, &seen, name, &self.trusts))
            }
        }
    }
}

/// The authorities of a file; `doubts` gets warnings about them.
fn read_roots(file: &Path, doubts: &mut Vec<Finding>) -> Result<RootCertStore, Finding> {
    let mut store = RootCertStore::empty();
    for (index, certificate) in read_authorities(file)?.into_iter().enumerate() {
        if is_server_and_authority(&certificate) {
            let message = format!(
                "certificate {} in {} has the names of a server and says that it is an authority (CA:TRUE): if the \
                 upstream presents this certificate, it is refused; create it again with basicConstraints=critical,CA:FALSE",
                index + 1,
                file.display()
            );
            doubts.push(Finding::warning("ca", message));
        }
        store.add(certificate).map_err(|_| {
            let message = format!(
                "certificate {} in {} is damaged; copy the file again",
                index + 1,
                file.display()
            );
            Finding::error("ca", message)
        })?;
    }
    Ok(store)
}

/// Whether a certificate was probably made for a server by `openssl req -x509`: authorities do not have host names, and
/// a server must not present the certificate of an authority (RFC 5280 section 4.2.1.9).
fn is_server_and_authority(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, found)| {
        let has_names = matches!(found.subject_alternative_name(), Ok(Some(_)));
        found.is_ca() && has_names && found.issuer() == found.subject()
    })
}

fn read_authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, Finding> {
    identity::read_certificates("ca", file)
}

fn system_roots(system: &SystemRoots) -> Result<Arc<RootCertStore>, Finding> {
    if !system.store.is_empty() {
        return Ok(Arc::clone(&system.store));
    }
    let why = match system.errors.first() {
        Some(error) => format!(" ({error})"),
        None => String::new(),
    };
    let message = format!(
        "https:// needs authorities to trust, and this system does not have any{why}; install ca-certificates, or name a file \
         in tls.ca"
    );
    Err(Finding::error("ca", message))
}
