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
    /// In place of the endpoint's host.
    name: Option<String>,
    /// Whom it trusts, in words.
    trusts: Arc<str>,
    /// What it shows.
    certificate: Option<Certificate>,
}

/// One is equal to its clones: what else decides the same can't be told.
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
    /// Looks them up: where OpenSSL on this system would, or in `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    #[must_use]
    pub fn load() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        // Some systems list certificates that are none; the others are good all the same.
        store.add_parsable_certificates(found.certs);
        Self {
            store: Arc::new(store),
            errors: found.errors.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Client {
    /// Reads the files that `settings` name; `system` gives the authorities where they name none. The client is there
    /// exactly if no finding is an error; findings name the keys `ca`, `cert` and `key`.
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
            // Both are read before either is given up, so that both are reported.
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

    /// The same for an upstream with other `settings` that name the same files.
    #[must_use]
    pub fn asking_for(&self, settings: &UpstreamTls) -> Self {
        Self {
            name: settings.server_name.clone(),
            ..self.clone()
        }
    }

    /// What is told of the certificate that upstreams are shown, if there is one.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Does the client's side of a handshake with the endpoint `host`, a name or an address. The caller sets the
    /// deadline; dropped before its end the socket is closed.
    ///
    /// # Errors
    /// The reasons for an upstream that is not what it should be.
    pub async fn connect(&self, socket: TcpStream, host: &str) -> Result<UpstreamStream, Failure> {
        let name = self.name.as_deref().unwrap_or(host);
        let Ok(server_name) = ServerName::try_from(name.to_owned()) else {
            let detail = format!("{name:?} is not a name that a certificate can have");
            return Err(Failure::new(Reason::UpstreamTlsVerifyFailed, detail));
        };
        let connector = TlsConnector::from(Arc::clone(&self.config));
        // The library does not give back what is no TLS.
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

/// The authorities of a file; `doubts` get what is only probably wrong with it.
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

/// Whether a certificate is probably one that `openssl req -x509` made for a server: authorities have no names of hosts,
/// and an authority's certificate is none for a server (RFC 5280 section 4.2.1.9).
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
